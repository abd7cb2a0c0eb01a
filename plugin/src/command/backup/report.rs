//! What programs read of a backup and of its way back.

use std::collections::BTreeMap;
use std::path::Path;

use clearwater::backup::{
    Backup, BackupCounts, BackupManifest, ComparedItem, Comparison, ItemCounts, ItemKind, ItemState,
};
use clearwater::event::Outcome;
use clearwater_kube::backup::Restored;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::spelled;
use crate::table::{Table, screen};

/// The version of what is written.
const VERSION: u32 = 1;

/// What `backup -o json` writes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kept {
    /// The version of this format.
    v: u32,
    /// The deployment's namespace.
    namespace: String,
    /// The file.
    pub(super) file: String,
    /// What the file says of itself.
    manifest: BackupManifest,
    /// Whether the deployment has a note of it, by which `status` tells when the last backup was.
    noted: bool,
}

impl Kept {
    pub(super) fn new(namespace: String, file: &Path, manifest: BackupManifest, noted: bool) -> Self {
        Self { v: VERSION, namespace, file: spelled(file), manifest, noted }
    }
}

/// What `restore -o json` writes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PutBack {
    /// The version of this format.
    v: u32,
    /// The deployment's namespace.
    namespace: String,
    /// The file.
    file: String,
    /// When the backup was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    made: Timestamp,
    /// How much is in it.
    counts: BackupCounts,
    /// How it ended.
    outcome: Outcome,
    /// How many registration sets were put back.
    done: usize,
    /// How what stood compared with the backup.
    before: BTreeMap<ItemKind, ItemCounts>,
    /// How what stands compares with it; left out where nothing was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<BTreeMap<ItemKind, ItemCounts>>,
    /// What was not as it was kept.
    differences: Vec<ComparedItem>,
    /// What was left as it is, each with why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<String>,
}

impl PutBack {
    pub(super) fn new(namespace: String, file: &Path, kept: &Backup, outcome: Outcome, restored: &Restored) -> Self {
        let is_other = |item: &&ComparedItem| item.state != ItemState::Equal;
        Self {
            v: VERSION,
            namespace,
            file: spelled(file),
            made: kept.at,
            counts: kept.holdings.counts(),
            outcome,
            done: restored.done,
            before: restored.before.tally(),
            after: restored.after.as_ref().map(Comparison::tally),
            differences: restored.before.items.iter().filter(is_other).cloned().collect(),
            left: restored.left.clone(),
        }
    }

    /// The same for people: what stands now, kind by kind.
    pub(super) fn table(&self) -> String {
        let now = self.after.as_ref().unwrap_or(&self.before);
        let row = |(kind, tally): (&ItemKind, &ItemCounts)| {
            let ItemCounts { equal, missing, different, beyond } = tally;
            let counts = [equal, missing, different, beyond].map(ToString::to_string);
            let [equal, missing, different, beyond] = counts;
            [kind.words().to_owned(), equal, missing, different, beyond]
        };
        let rows: Vec<_> = now.iter().filter(|(_, tally)| **tally != ItemCounts::default()).map(row).collect();
        let count = rows.len();
        let table = Table::new(["WHAT", "AS KEPT", "MISSING", "OTHERWISE", "NOT IN THE BACKUP"], rows, screen());
        let lines = (0..count).map(|n| table.row(n, anstyle::Style::new()));
        std::iter::once(table.head()).chain(lines).map(|line| line + "\n").collect()
    }
}
