use std::time::Duration;

use ezk_sip_types::header::HeaderError;
use thiserror::Error;

/// Why a phone could not do what it was told. An answer that nobody wished for is none: it is a [`Reply`](crate::Reply).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SipError {
    /// Nothing came.
    #[error("{awaited} did not come within {}", seconds(*.within))]
    Silence {
        /// What was waited for.
        awaited: String,
        /// For how long.
        within: Duration,
    },
    /// The way to the proxy is closed, or broke.
    #[error("the way to the proxy: {0}")]
    Broken(#[from] std::io::Error),
    /// What came makes no sense.
    #[error("{0}")]
    Protocol(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SipError {
    /// What makes no sense, or could not be made, with its cause where it has one.
    pub(crate) fn protocol(seen: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Protocol(seen.into())
    }

    /// The same, where it is silence, told as what was really waited for.
    pub(crate) fn awaiting(self, what: &str, whole: Duration) -> Self {
        match self {
            Self::Silence { .. } => Self::Silence { awaited: what.to_owned(), within: whole },
            other => other,
        }
    }
}

impl From<ezk_sip_core::Error> for SipError {
    fn from(error: ezk_sip_core::Error) -> Self {
        use ezk_sip_core::{Error, transaction::consts::T1};
        match error {
            Error::Io(error) => Self::Broken(error),
            Error::Header(error) => error.into(),
            Error::RequestTimedOut => Self::Silence { awaited: "an answer".to_owned(), within: T1 * 64 },
        }
    }
}

impl From<HeaderError> for SipError {
    fn from(error: HeaderError) -> Self {
        Self::protocol(error)
    }
}

pub(crate) fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
