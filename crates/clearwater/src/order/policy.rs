use serde::{Deserialize, Serialize};

use super::graph::{Edge, Need, Origin};
use crate::names::named;

/// Which edges make a node wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Policy {
    /// Nothing is started before what it cannot start or cannot work without is serving.
    #[default]
    Dependency,
    /// Nothing is started before what it cannot start without is serving: least waiting, noisier logs.
    Earliest,
    /// The sequence of the article "Clearwater On Kubernetes", on top of what starting needs. Edges that the embedding
    /// program added gate as under `dependency`.
    Article,
}

named! {
    /// The name used on the command line.
    Policy, "policy" {
        Dependency = "dependency",
        Earliest = "earliest",
        Article = "article",
    }
}

impl Policy {
    /// Whether the edge makes its dependent wait under this policy.
    pub fn gates(self, edge: &Edge<'_>) -> bool {
        match self {
            Self::Dependency => edge.is_hard(),
            Self::Earliest => edge.start == Need::Hard,
            Self::Article => match edge.origin {
                Origin::Article => true,
                Origin::Upstream => edge.start == Need::Hard,
                Origin::Own => edge.is_hard(),
            },
        }
    }
}
