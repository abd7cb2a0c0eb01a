//! Lines of the checks that are made before the first write.

use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::{Remedied, Remedy};

use super::ApplyError;
use crate::cluster::say;

/// A line without a fix.
pub(crate) fn line(id: CheckId, title: impl Into<String>, status: CheckStatus, detail: impl Into<String>) -> CheckLine {
    CheckLine { id, title: title.into(), status, detail: detail.into(), fix: None }
}

/// A line of what could not be looked at; `right` is what it needs.
pub(crate) fn unseen(id: CheckId, title: impl Into<String>, right: &str, error: &kube::Error) -> CheckLine {
    let (status, detail) = match error {
        kube::Error::Api(status) if status.is_forbidden() => (CheckStatus::Skipped, format!("needs {right}")),
        other => (CheckStatus::Unseen, say(other)),
    };
    line(id, title, status, detail)
}

/// Lets a run go on past what it was asked not to heed.
pub(crate) fn heed(lines: &mut [CheckLine], skipped: &[CheckId]) {
    for line in lines.iter_mut().filter(|l| l.status > CheckStatus::Skipped && skipped.contains(&l.id)) {
        line.status = CheckStatus::Skipped;
        let separator = if line.detail.is_empty() { "" } else { ": " };
        line.detail = format!("as asked{separator}{}", line.detail);
    }
}

/// The same line with what to do about it.
pub(crate) fn with_fix(mut line: CheckLine, fix: impl Into<Remedy>) -> CheckLine {
    line.fix = Some(fix.into());
    line
}

/// What is said of an object that the API server would not take.
pub(crate) fn refused(error: &ApplyError) -> CheckLine {
    CheckLine {
        id: CheckId::Objects,
        title: "objects as the API server takes them".to_owned(),
        status: CheckStatus::Failed,
        detail: error.to_string(),
        fix: error.remedy(),
    }
}
