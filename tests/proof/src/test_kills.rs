//! SIGKILL of `test` at random moments: what it leaves behind, and for how long.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, TEST_LINES, cluster, lines_of, relays_in};
use clearwater_testbed::{Attempt, Kubectl, wait_for};

use crate::common::{gone, now};
use crate::kills::Dice;
use xtask::steps::say;

const LIMIT: Duration = Duration::from_secs(900);
const KILLS: u32 = 10;
/// Within how many milliseconds it is killed.
const WITHIN: u64 = 12_000;
/// Lines are in use for five minutes, and are left alone for one more.
const OVER: Duration = Duration::from_secs(6 * 60 + 15);
/// How long a relay in a pod may outlive the connection that it was started by.
const RELAY: Duration = Duration::from_secs(45);

pub(crate) fn run() -> Result<String> {
    let seed = now()? | 1;
    let mut dice = Dice(seed);
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-test-kills")?;
    let (plugin, kubectl) = (Plugin::new(cluster, namespace.name())?, namespace.kubectl());
    plugin.run_within(LIMIT, &["up", "--yes"])?.expect(0)?;
    let before = objects(kubectl)?;
    let mut page = format!(
        "Each row: `test --repeat 1000`, SIGKILL at a random moment (seed {seed}), and the processes that it started in \
         containers watched until the last has ended. Lines stay until their time is over.\n\n\
         | killed after (s) | lines left | processes left after (s) |\n|---|---|---|\n"
    );
    for n in 1..=KILLS {
        let moment = Duration::from_millis(dice.below(WITHIN));
        say(&format!("==> {n} of {KILLS}: SIGKILL after {moment:.1?}"));
        let mut killed = plugin.spawn(&["test", "--repeat", "1000", "-o", "json"])?;
        thread::sleep(moment);
        killed.kill()?;
        killed.wait()?;
        let dead = Instant::now();
        wait_for("the processes in containers to end", RELAY, || {
            let left = relays(kubectl)?;
            Ok(if left == 0 { Attempt::Done(()) } else { Attempt::not_yet(format!("{left} processes")) })
        })?;
        let ended = dead.elapsed().as_secs_f64();
        writeln!(page, "| {:.1} | {} | {ended:.1} |", moment.as_secs_f64(), lines_of(&plugin, TEST_LINES)?)?;
    }
    let (left, last) = (lines_of(&plugin, TEST_LINES)?, Instant::now());
    say(&format!("==> {left} lines are left; waiting until their time is over"));
    thread::sleep(OVER.saturating_sub(last.elapsed()));
    let next = plugin.run_within(LIMIT, &["test", "--only", "options,register", "--transport", "tcp"])?.expect(0)?;
    ensure!(lines_of(&plugin, TEST_LINES)? == 0, "{} lines are left\n{}", lines_of(&plugin, TEST_LINES)?, next.said());
    let after = objects(kubectl)?;
    ensure!(before == after, "objects: {before} before, {after} after");
    let word = next.err.lines().find(|l| l.contains("left behind")).context("it says nothing of what was left")?;
    writeln!(
        page,
        "\n{left} lines were left. The run after their time said: `{}`. After it there were none.",
        word.trim()
    )?;
    gone(namespace)?;
    Ok(page)
}

/// How many relays run in any container.
fn relays(kubectl: &Kubectl) -> Result<usize> {
    ["ellis", "homestead-prov", "homer", "homestead", "ralf", "sprout", "bono"]
        .iter()
        .map(|workload| relays_in(kubectl, &format!("deploy/{workload}")))
        .sum()
}

/// The objects of the namespace, without events and what the cluster writes by itself.
fn objects(kubectl: &Kubectl) -> Result<String> {
    kubectl.run(["get", "pods,services,configmaps,secrets,deployments,statefulsets,jobs", "--output=name"])
}
