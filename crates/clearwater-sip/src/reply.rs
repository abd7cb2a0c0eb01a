use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ezk_sip_types::header::typed::FromTo;
use ezk_sip_types::print::AppendCtx;
use ezk_sip_types::{Headers, Name};

/// An answer.
#[derive(Clone)]
pub struct Reply {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) remote: FromTo,
    pub(crate) after: Duration,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("code", &self.code).field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// The status line without the version.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)
    }
}

impl Reply {
    /// The status code (RFC 3261 §21).
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The text behind the code.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The time since the request was sent; where a challenge was answered in between, of both exchanges.
    pub fn after(&self) -> Duration {
        self.after
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_raw(&Name::from(name)).next().map(AsRef::as_ref)
    }

    /// All headers of that name.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.get_raw(&Name::from(name)).map(AsRef::as_ref).collect()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn is_final(&self) -> bool {
        self.code >= 200
    }
}

/// The URI of a From or To.
pub(crate) fn uri_of(header: &FromTo) -> String {
    header.uri.uri.default_print_ctx().to_string()
}

/// A From or To as text, with its tag.
pub(crate) fn written(header: &FromTo) -> String {
    header.default_print_ctx().to_string()
}
