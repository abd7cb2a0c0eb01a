#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the time of one component went. All in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Durations {
    /// From the start of the run until its gates were open.
    pub waiting: u64,
    /// What was done for it in that time.
    #[serde(default, skip_serializing_if = "Early::is_empty")]
    pub early: Early,
    /// Applying its objects.
    pub applying: u64,
    /// From the applied objects until the last of its images was there. Zero where no pull was seen.
    pub pulling: u64,
    /// Until every pod's readiness probe passed.
    pub starting: u64,
    /// Until it answered for itself: programs, health questions, store members, names.
    pub settling: u64,
}

impl Durations {
    /// From the start of the run until the component served.
    pub fn total(&self) -> u64 {
        self.waiting + self.own()
    }

    /// The part of waiting in which nothing was done for it.
    pub fn idle(&self) -> u64 {
        self.waiting.saturating_sub(self.early.total())
    }

    /// What the component itself took: everything but waiting.
    pub fn own(&self) -> u64 {
        self.applying + self.pulling + self.starting + self.settling
    }
}

/// What became of a component while it waited, where it was made before its gates opened; in milliseconds, parts of
/// [`Durations::waiting`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Early {
    /// Making its objects and pods. Ends with the first pull that was seen.
    pub making: u64,
    /// Bringing its images to the nodes. Zero where no pull was seen.
    pub pulling: u64,
    /// From the pods with all their images until its gates opened, their programs being held.
    pub held: u64,
}

impl Early {
    /// Whether nothing was done early.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.making + self.pulling + self.held
    }
}

/// One component on the critical path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    /// The component.
    pub component: String,
    /// Milliseconds from its open gate until it served.
    pub took: u64,
}

/// The totals of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RunStats {
    /// Components that serve.
    pub serving: u32,
    /// Components that failed.
    pub failed: u32,
    /// Components that were left out or never reached.
    pub skipped: u32,
    /// Components that were still on their way when the run ended.
    pub unfinished: u32,
    /// Objects created, changed or deleted. Zero means that nothing was written.
    pub writes: u32,
    /// Connections into pods that were opened to ask something.
    pub pod_connections: u32,
}
