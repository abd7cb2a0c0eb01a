//! What a problem of a component is about.

use crate::observe::finding::Part;

/// What a problem of a component is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// How many pods and endpoints there are, and are ready.
    Pods,
    /// What etcd says of the store's members.
    Members,
    /// One pod, by name.
    Pod(String, Part),
}

impl About {
    /// Whether it is about a program that does not run.
    pub(crate) const fn is_program(&self) -> bool {
        matches!(self, Self::Pod(_, Part::Program(_)))
    }

    /// Whether a pod says it of itself: it tells more than what Kubernetes sees from outside.
    pub(super) const fn is_of_the_pod_itself(&self) -> bool {
        matches!(self, Self::Pod(_, Part::Program(_) | Part::Zone))
    }

    /// Whether two problems of one component can be the same. A pod that is not there or not ready hides what it would
    /// have answered.
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pods, Self::Pod(..)) | (Self::Pod(..), Self::Pods) => true,
            (Self::Pod(one, part), Self::Pod(another, other)) => one == another && part.meets(other),
            _ => self == other,
        }
    }
}
