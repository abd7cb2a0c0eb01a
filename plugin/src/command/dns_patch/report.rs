//! What programs read of a run.

use clearwater_kube::dns::{DnsAction, DnsPlan, Explained, ServerProof};
use schemars::JsonSchema;
use serde::Serialize;

use crate::advice;

/// The version of what `-o json` and `-o yaml` write.
const VERSION: u32 = 1;

/// What `-o json` and `-o yaml` write.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// The version of this format.
    pub(super) v: u32,
    /// The deployment's namespace.
    pub(super) namespace: String,
    /// Put in, or taken out.
    pub(super) action: DnsAction,
    /// The backend; `auto` where none is needed.
    pub(super) backend: String,
    /// Why this one.
    pub(super) because: String,
    /// How it ended.
    pub(super) outcome: PatchOutcome,
    /// What is written to, as kubectl names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<String>,
    /// Who keeps CoreDNS' file, and by what that is known.
    #[serde(rename = "keeper", skip_serializing_if = "Option::is_none")]
    pub(super) managed_by: Option<String>,
    /// The difference as a unified diff.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) diff: String,
    /// Where what was there before is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<String>,
    /// What each server answered.
    pub(super) servers: Vec<ServerProof>,
    /// What is missing or stale.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) problems: Vec<String>,
    /// What is worth knowing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum PatchOutcome {
    /// Nothing had to be written.
    Unchanged,
    /// It was written and proved.
    Written,
    /// Nothing had to be written, and what an earlier run had left was taken away once all was proved.
    Finished,
    /// It would be written.
    DryRun,
    /// Nothing was written, and not every server could be asked that would have to prove it.
    Unasked,
    /// Looked, and all is as it must be.
    Right,
    /// Looked, and nothing is wrong that could be seen; not everybody could be asked.
    Unknown,
    /// Looked, and something is missing or stale.
    Stale,
}

/// What `--explain -o json` writes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExplainReport {
    /// The version of this format.
    pub(super) v: u32,
    /// The deployment's namespace.
    pub(super) namespace: String,
    /// The names.
    #[serde(flatten)]
    pub(super) explained: Explained,
}

impl Report {
    /// What a plan says, before anything was asked.
    pub(super) fn of(plan: &DnsPlan, outcome: PatchOutcome) -> Self {
        Self {
            v: VERSION,
            namespace: plan.namespace.clone(),
            action: plan.action,
            backend: plan.backend_name().to_owned(),
            because: plan.because.clone(),
            outcome,
            object: plan.object.clone(),
            managed_by: plan.kept.as_ref().map(|k| format!("{} ({})", k.by, k.shown_by)),
            diff: plan.diff.clone(),
            kept: None,
            servers: Vec::new(),
            problems: Vec::new(),
            notes: advice::texts(&plan.notes),
        }
    }
}

impl ExplainReport {
    pub(super) fn new(namespace: String, explained: Explained) -> Self {
        Self { v: VERSION, namespace, explained }
    }
}
