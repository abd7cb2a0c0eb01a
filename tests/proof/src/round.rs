//! What is measured of one way to deploy, whichever it is.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One way to deploy, once.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Round {
    /// From the command to its end.
    pub(crate) wall: Duration,
    /// What the components needed themselves, by the gates of the policy; none for those who have none.
    pub(crate) path: Option<Duration>,
    /// What the line between the registry and nodes that hold no image needed at the least; none where they hold them.
    pub(crate) transfer: Option<Duration>,
    /// How long the machine's processors were busy, shared among them: a run that takes them all cannot be quicker.
    pub(crate) busy: Duration,
    /// From the command to the first registered phone.
    pub(crate) register: Duration,
    /// Errors in the components' logs.
    pub(crate) errors: u64,
    /// The most memory that `up` held, in kilobytes; zero for other ways.
    pub(crate) resident: u64,
    /// A second `up`: until it knew that nothing is to be changed, and in all.
    pub(crate) again: Option<(Duration, Duration)>,
}

/// The middle one of what rounds have.
pub(crate) fn median(rounds: &[Round], of: impl Fn(&Round) -> Option<Duration>) -> Option<Duration> {
    let mut all: Vec<Duration> = rounds.iter().filter_map(of).collect();
    all.sort();
    all.get(all.len() / 2).copied()
}

/// The kernel's clock ticks a second, for user space, on every architecture that Kubernetes runs on.
const TICKS: u32 = 100;

/// How long the machine's processors were busy since it was started, shared among them (proc_stat(5)).
pub(crate) fn busy() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let processors = text.lines().filter(|l| l.starts_with("cpu")).count().saturating_sub(1).max(1);
    let all = text.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<u64> = all.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; then guests, who are in the first two already.
    let idle = [3, 4].iter().filter_map(|at| fields.get(*at)).sum::<u64>();
    let ticks = fields.iter().take(8).sum::<u64>().saturating_sub(idle);
    Ok(Duration::from_secs(ticks) / TICKS / u32::try_from(processors)?)
}
