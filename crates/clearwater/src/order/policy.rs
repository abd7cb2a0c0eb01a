use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::graph::{Edge, Need, Origin};
use crate::component::UnknownName;

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

impl Policy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Dependency, Self::Earliest, Self::Article];

    /// The name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dependency => "dependency",
            Self::Earliest => "earliest",
            Self::Article => "article",
        }
    }

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

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Policy {
    type Err = UnknownName;

    fn from_str(s: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|p| p.name() == s)
            .ok_or_else(|| UnknownName::new("policy", s, Self::ALL.iter().map(|p| p.name()).collect()))
    }
}
