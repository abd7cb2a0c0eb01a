//! What happens during a run, as types that a program can read without a cluster client.
//!
//! A run is a stream of [`Event`]s. Each is an envelope (format version, number, time, time since the run began) around
//! a [`EventKind`]. The rules a reader may rely on:
//!
//! * The first event is [`EventKind::RunStarted`], with everything that is planned. The last is [`EventKind::RunFinished`], with
//!   the totals; nothing follows it. A stream that ends without it was cut off.
//! * `seq` begins at 0 and grows by one with every event that is sent. A gap means that a [droppable](EventKind::droppable)
//!   event was dropped because the reader was slow; no other event is ever dropped.
//! * A component goes through [`EventKind::Waiting`], [`EventKind::Applying`], [`EventKind::Applied`], [`EventKind::Pulling`] or
//!   [`EventKind::Starting`], [`EventKind::Settling`] and [`EventKind::Serving`]. Steps may be left out where there was nothing to wait
//!   for, and [`EventKind::Failed`] or [`EventKind::Skipped`] may come in the place of any of them. `Waiting`, `Starting` and
//!   `Settling` come again when their cause changes.
//! * A component that is scaled goes through its steps instead: [`EventKind::StepsPlanned`] once, then [`EventKind::StepBegun`] and
//!   [`EventKind::StepEnded`] for each, and [`EventKind::Scaled`] at the end; `Starting` and `Settling` tell what a step waits for.
//! * A change of the cluster's DNS has no components: [`EventKind::Dns`] tells its steps.
//! * Kinds and values may be added to the format without a new version: an old reader sees them as [`EventKind::Unknown`],
//!   which keeps what it does not know, and as `Unknown` in the place of a value. What has another version is refused.
//!
//! In JSON an event is one object on one line; `what.kind` names the kind:
//!
//! ```
//! use clearwater::event::{Event, EventKind};
//!
//! let line = r#"{"v":1,"seq":7,"at":"2026-11-22T10:00:00Z","elapsed":1250,
//!                "what":{"kind":"skipped","component":"ellis","because":"an HSS provides the subscribers"}}"#;
//! let event: Event = serde_json::from_str(line)?;
//! assert!(matches!(event.what, EventKind::Skipped { ref component, .. } if component == "ellis"));
//! # Ok::<(), serde_json::Error>(())
//! ```

mod check;
mod clean;
mod command;
mod dns;
mod kind;
mod stats;

pub use check::{CheckGroup, CheckId, CheckLine, CheckStatus};
pub use command::Command;
pub use dns::DnsStep;
pub use kind::{
    Awaited, CancelReason, Change, Cost, EventKind, Evidence, FailureKind, LogExcerpt, Operation, Outcome, Pending,
    PlannedComponent, PlannedGate, PlannedStep, Repair, Whose,
};
pub use stats::{Durations, Early, Hop, RunStats};

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::component::Component;
use crate::scale::MemberState;
use crate::text::Clean;

/// The version of the event format that this crate writes.
pub const VERSION: u32 = 1;

/// One event of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Event {
    /// The version of the format: [`VERSION`].
    #[serde(deserialize_with = "version")]
    pub v: u32,
    /// The event's number within the run, from 0.
    pub seq: u64,
    /// When it happened, on the clock of the machine that runs the command.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// Milliseconds since the run began, without the time that its question to go on stood open.
    pub elapsed: u64,
    /// What happened.
    pub what: EventKind,
}

impl Event {
    /// An event, with every text in it [`printable`](crate::text::printable): names and messages are quoted from what
    /// others wrote.
    pub fn new(seq: u64, at: Timestamp, elapsed: u64, mut what: EventKind) -> Self {
        what.clean();
        Self { v: VERSION, seq, at, elapsed, what }
    }

    /// The component this is about, where it is about one of Clearwater's; [`EventKind::component`] names others too.
    ///
    /// ```
    /// use clearwater::component::Component;
    /// use clearwater::event::{Event, EventKind};
    ///
    /// let what = EventKind::Skipped { component: "homer".into(), because: "an HSS provides the subscribers".into() };
    /// let event = Event::new(0, jiff::Timestamp::UNIX_EPOCH, 0, what);
    /// assert_eq!(event.component(), Some(Component::Homer));
    /// ```
    pub fn component(&self) -> Option<Component> {
        self.what.component()?.parse().ok()
    }

    /// The states of a store's members by address, where it tells them; without those that are not known.
    pub fn members(&self) -> Option<BTreeMap<IpAddr, MemberState>> {
        let EventKind::MembersChanged { members, .. } = &self.what else { return None };
        Some(members.iter().filter_map(|(at, state)| Some((at.parse().ok()?, state.parse().ok()?))).collect())
    }
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        other => Err(serde::de::Error::custom(format_args!(
            "this is version {other} of the format of events, and version {VERSION} is known here"
        ))),
    }
}

/// The JSON schema of [`Event`], as the `-o json` output of the commands is published.
#[cfg(feature = "schema")]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Event).to_value()
}

#[cfg(test)]
mod tests;
