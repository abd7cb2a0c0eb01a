//! What is measured of one way to deploy, whichever it is.

use std::time::Duration;

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
