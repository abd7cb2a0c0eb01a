use clearwater::event::{CancelReason, Command, Outcome};
use clearwater::remedy::{Remedied, Remedy};
use thiserror::Error;

use crate::run::cancelled_as;
use crate::subscribers::SubscriberError;

/// Why nothing could be kept, or put back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Somebody who keeps subscribers could not be asked, or refused.
    #[error(transparent)]
    Subscriber(#[from] SubscriberError),
    /// The backup is of another home domain. Every identity names its own, and digests are of one realm.
    #[error("refused: the backup is of home domain {kept}, and the deployment's is {found}")]
    HomeDomain {
        /// The backup's.
        kept: String,
        /// The deployment's.
        found: String,
    },
    /// Whoever was asked did not agree.
    #[error("not confirmed, nothing was written")]
    NotConfirmed,
    /// It was stopped.
    #[error("interrupted, {state}")]
    Cancelled {
        /// Why.
        reason: CancelReason,
        /// What was done until then.
        state: String,
    },
    /// Not all of it could be put back.
    #[error("{done} of {count} registration sets put back; {}", .problems.join("; "))]
    NotAll {
        /// How many registration sets were.
        done: usize,
        /// How many were to be.
        count: usize,
        /// What was not, each with why: the first of them.
        problems: Vec<String>,
    },
    /// What stands afterwards is not what was kept.
    #[error("after it {count} are not as they were kept, as {}", .some.join("; "))]
    NotEqual {
        /// How many items.
        count: usize,
        /// The first of them.
        some: Vec<String>,
    },
}

impl BackupError {
    /// How a run ends that meets it.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Subscriber(
                SubscriberError::NoProvisioning { .. }
                | SubscriberError::NotReady { .. }
                | SubscriberError::Keys { .. },
            )
            | Self::NotAll { .. }
            | Self::NotEqual { .. } => Outcome::Failed,
            Self::Subscriber(_) => Outcome::CouldNotLook,
            Self::HomeDomain { .. } | Self::NotConfirmed => Outcome::Refused,
            Self::Cancelled { reason, .. } => cancelled_as(*reason),
        }
    }
}

impl Remedied for BackupError {
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Subscriber(error) => error.remedy(),
            Self::HomeDomain { kept, .. } => Some(Remedy::any([
                Remedy::ChooseNamespace,
                format!("set homeDomain: {kept} in the deployment file").into(),
            ])),
            Self::NotConfirmed => None,
            Self::Cancelled { .. } | Self::NotAll { .. } | Self::NotEqual { .. } => {
                Some(Remedy::GoOn(Command::Restore))
            }
        }
    }
}
