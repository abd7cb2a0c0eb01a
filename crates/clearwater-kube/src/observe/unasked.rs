//! Why something was not seen: left out with a reason, or it should have been possible.

use std::time::Duration;

use clearwater::event::CheckStatus;
use tokio::time::timeout;

use crate::cluster::{is_forbidden, say};
use crate::deadline::no_answer;
use crate::pod::AskError;

/// Why something was not asked for, or not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// There is nobody to ask, or nothing there that could be asked: it is left out, and said.
    LeftOut(String),
    /// Who runs this may not ask: it is left out, and said with the right that it needs.
    Forbidden(String),
    /// It should have been possible: nothing is known of what would have been seen.
    Failed(String),
}

impl Unasked {
    /// There is nobody to ask.
    pub(crate) fn left_out(why: impl Into<String>) -> Self {
        Self::LeftOut(why.into())
    }

    /// There is no right to.
    pub(crate) fn forbidden(why: impl Into<String>) -> Self {
        Self::Forbidden(why.into())
    }

    /// It should have been possible.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    /// What the API server answers within a time, where that takes this right.
    pub(crate) async fn unless_answered<T>(
        asking: impl Future<Output = kube::Result<T>>,
        right: &str,
        within: Duration,
    ) -> Result<T, Self> {
        match timeout(within, asking).await {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(error)) if is_forbidden(&error) => Err(Self::forbidden(format!("needs {right}"))),
            Ok(Err(error)) => Err(Self::failed(say(&error))),
            Err(_) => Err(Self::failed(no_answer(within))),
        }
    }

    /// A line that says what was not seen, and why.
    pub(crate) fn note(&self, what: &str) -> String {
        match self {
            Self::LeftOut(why) | Self::Forbidden(why) => format!("skipped: {what} ({why})"),
            Self::Failed(why) => format!("{what}: {why}"),
        }
    }

    /// The same, with whom it is about.
    pub(crate) fn of(self, whom: &str) -> Self {
        match self {
            Self::LeftOut(why) => Self::LeftOut(format!("{whom}: {why}")),
            Self::Forbidden(why) => Self::Forbidden(format!("{whom}: {why}")),
            Self::Failed(why) => Self::Failed(format!("{whom}: {why}")),
        }
    }

    /// The reason.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::LeftOut(why) | Self::Forbidden(why) | Self::Failed(why) => why,
        }
    }

    /// How a check ends that needed it.
    pub(crate) fn status(&self) -> CheckStatus {
        match self {
            Self::LeftOut(_) | Self::Forbidden(_) => CheckStatus::Skipped,
            Self::Failed(_) => CheckStatus::Unseen,
        }
    }
}

impl From<AskError> for Unasked {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Forbidden { .. } => Self::Forbidden(error.to_string()),
            _ if error.is_lasting() => Self::LeftOut(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}
