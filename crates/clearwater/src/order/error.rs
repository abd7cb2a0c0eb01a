use std::fmt;

use thiserror::Error;

/// Why a graph could not be ordered or changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OrderError {
    /// A name that no node has.
    #[error("the ordering graph has no node {name:?}{}", .nearest.as_ref().map_or_else(String::new, |n| format!(", did you mean {n:?}?")))]
    UnknownNode {
        /// The name as it was given.
        name: String,
        /// The nearest name that a node has, where one is near enough to be a likely slip.
        nearest: Option<String>,
    },
    /// What was asked for is to be left out as well, or needs what is.
    #[error("{node} was asked for, and {}", .needs.as_ref().map_or_else(|| "is to be left out".to_owned(), |n| format!("it needs {n}, which is to be left out")))]
    LeftOut {
        /// What was asked for.
        node: String,
        /// What of its needs is to be left out; none where it is itself.
        needs: Option<String>,
    },
    /// Edges that gate form a cycle.
    #[error(transparent)]
    Cycle(#[from] Cycle),
}

/// A cycle of edges that would each have to open the next one's gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The edges of the cycle: each dependent is the dependency of the one before, and the last dependency is the
    /// first dependent.
    pub edges: Vec<CycleEdge>,
}

/// One edge of a cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CycleEdge {
    /// The node that waits.
    pub from: String,
    /// The node it waits for.
    pub to: String,
    /// Why.
    pub evidence: String,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ordering graph has a cycle: ")?;
        for edge in &self.edges {
            write!(f, "{} waits for ", edge.from)?;
        }
        f.write_str(self.edges.first().map_or("", |e| e.from.as_str()))?;
        f.write_str("; take out or soften one of: ")?;
        for (i, edge) in self.edges.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} on {}", edge.from, edge.to)?;
            if !edge.evidence.is_empty() {
                write!(f, " ({})", edge.evidence)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Cycle {}
