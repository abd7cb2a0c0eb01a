//! Every text of an event is made printable. Each field is named, so that the compiler tells of one that is added.

use serde_json::{Map, Value};

use super::check::{CheckId, CheckLine, CheckStatus};
use super::command::Command;
use super::dns::DnsStep;
use super::kind::{
    Awaited, CancelReason, Change, Cost, EventKind, Evidence, FailureKind, LogExcerpt, Operation, Outcome, Pending,
    PlannedComponent, PlannedGate, PlannedStep, Repair,
};
use super::stats::{Durations, Hop, RunStats};
use crate::text::{Clean, clean_lines};

/// What holds no text of others.
macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Clean for $type {
            fn clean(&mut self) {}
        }
    )*};
}

macro_rules! all_of {
    ($($type:ident { $($field:ident),* })*) => {$(
        impl Clean for $type {
            fn clean(&mut self) {
                let Self { $($field),* } = self;
                $($field.clean();)*
            }
        }
    )*};
}

macro_rules! every_kind {
    ($type:ident { $($kind:ident { $($field:ident),* })* }) => {
        impl Clean for $type {
            fn clean(&mut self) {
                match self {
                    $(Self::$kind { $($field),* } => { $($field.clean();)* })*
                }
            }
        }
    };
}

plain!(
    u32,
    u64,
    CancelReason,
    CheckId,
    CheckStatus,
    Command,
    Cost,
    Durations,
    FailureKind,
    Operation,
    Outcome,
    RunStats
);

all_of! {
    Awaited { component, state }
    CheckLine { id, title, status, detail, fix }
    Evidence { object, reason, events, logs }
    Hop { component, took }
    LogExcerpt { from, lines }
    Repair { component, object, action, because, cost }
    Pending { component, what, command }
    PlannedComponent { component, gates }
    PlannedGate { on, because }
    PlannedStep { step, expected_seconds, deadline_seconds }
}

impl Clean for Value {
    fn clean(&mut self) {
        match self {
            Self::String(text) => text.clean(),
            Self::Array(all) => all.iter_mut().for_each(Clean::clean),
            Self::Object(all) => all.clean(),
            Self::Null | Self::Bool(_) | Self::Number(_) => {}
        }
    }
}

impl Clean for Map<String, Value> {
    fn clean(&mut self) {
        *self = std::mem::take(self)
            .into_iter()
            .map(|(mut key, mut value)| {
                key.clean();
                value.clean();
                (key, value)
            })
            .collect();
    }
}

impl Clean for Change {
    fn clean(&mut self) {
        let Self { object, component, operation: _, whose: _, diff, restarts: _ } = self;
        object.clean();
        component.clean();
        clean_lines(diff);
    }
}

every_kind! {
    DnsStep {
        Well { servers }
        Kept { object }
        Written { object }
        Waiting { at_most, because }
        Replacing { pod }
        Reloaded { pod, after }
        Verified { pod, questions, after }
        Forgotten { object }
        TakingBack { because }
        Unknown {}
    }
}

every_kind! {
    EventKind {
        RunStarted { command, namespace, order, components }
        Checked { line }
        Planned { changes, pending }
        Waiting { component, awaited, cause, held }
        Applying { component, objects }
        Applied { component, created, changed, kept }
        Pulling { component, pod, cause }
        Starting { component, ready, wanted, cause }
        Settling { component, cause }
        Serving { component, durations, unchecked }
        Unsteady { component, cause }
        Failed { component, failure, causes, fix, evidence }
        Skipped { component, because }
        Repaired { repair }
        Asked { id, loses, repair }
        Removing { component, cause }
        Removed { component, objects, took }
        StepsPlanned { component, from, to, steps, notices }
        StepBegun { component, step, expected_seconds }
        StepEnded { component, step, took }
        RolledOut { component, took }
        MembersChanged { component, members, violation }
        Scaled { component, from, to, took }
        Dns { step }
        Notice { text }
        Progress { component, took, cause }
        CancelRequested { reason }
        RunFinished { outcome, summary, stats, critical_path, pending }
        Unknown { kind, payload }
    }
}
