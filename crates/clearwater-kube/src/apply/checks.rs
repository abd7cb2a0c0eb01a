//! Lines of the checks that are made before the first write.

use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::Remedy;

/// A line without a fix.
pub(crate) fn line(id: CheckId, title: impl Into<String>, status: CheckStatus, detail: impl Into<String>) -> CheckLine {
    CheckLine { id, title: title.into(), status, detail: detail.into(), fix: None }
}

/// The same line with what to do about it.
pub(crate) fn with_fix(mut line: CheckLine, fix: impl Into<Remedy>) -> CheckLine {
    line.fix = Some(fix.into());
    line
}
