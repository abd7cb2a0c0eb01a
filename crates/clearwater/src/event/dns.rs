#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens while names are put into DNS, or taken out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", tag = "kind")]
#[non_exhaustive]
pub enum DnsStep {
    /// The servers answer as they should before anything is written.
    Well {
        /// How many.
        servers: u32,
    },
    /// What was there before is kept.
    Kept {
        /// Where, as kubectl names it.
        object: String,
    },
    /// The change is written.
    Written {
        /// The object, as kubectl names it.
        object: String,
    },
    /// The servers have not read it yet.
    Waiting {
        /// How long it can take, in milliseconds.
        at_most: u64,
        /// Why so long.
        because: String,
    },
    /// A pod of the cluster's DNS is replaced, because it reads its file at its start only.
    Replacing {
        /// The pod.
        pod: String,
    },
    /// A server has read it.
    Reloaded {
        /// The pod.
        pod: String,
        /// How long after the change was written, in milliseconds.
        after: u64,
    },
    /// A server answers as it must.
    Verified {
        /// The pod.
        pod: String,
        /// How many questions.
        questions: u32,
        /// How long after it had read the change, in milliseconds.
        after: u64,
    },
    /// What an earlier run had left is gone.
    Forgotten {
        /// The object, as kubectl names it.
        object: String,
    },
    /// Something does not work: the change is being taken back.
    TakingBack {
        /// What was seen.
        because: String,
    },
    /// A kind that this version of the format does not know.
    #[serde(other)]
    Unknown,
}

impl DnsStep {
    /// The step in plain words; `None` for one that tells a time, which each program says in its own form.
    pub fn words(&self) -> Option<String> {
        Some(match self {
            Self::Well { servers } => format!("{servers} DNS pods answer as usual"),
            Self::Kept { object } => format!("what was there before is kept in {object}"),
            Self::Written { object } => format!("written: {object}"),
            Self::Replacing { pod } => format!("DNS pod {pod} is replaced"),
            Self::Forgotten { object } => format!("taken away: {object}"),
            Self::TakingBack { because } => format!("taking the change back: {because}"),
            Self::Waiting { .. } | Self::Reloaded { .. } | Self::Verified { .. } | Self::Unknown => return None,
        })
    }
}
