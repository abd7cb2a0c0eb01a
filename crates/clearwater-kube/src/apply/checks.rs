//! Lines of the checks that are made before the first write.

use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::{Remedied, Remedy};

use super::ApplyError;
use crate::cluster::say;
use crate::judge::policy::alike;

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

/// How many objects a line names.
const NAMED: usize = 3;

/// What is said of objects that the API server would not take. Those that one policy refuses for one reason are one line.
pub(crate) fn refused(errors: &[ApplyError]) -> Vec<CheckLine> {
    let mut faults: Vec<(Option<String>, Vec<&ApplyError>)> = Vec::new();
    for error in errors {
        let kind = alike(&error.to_string());
        match faults.iter_mut().find(|(other, _)| kind.is_some() && *other == kind) {
            Some((_, same)) => same.push(error),
            None => faults.push((kind, vec![error])),
        }
    }
    let of = |(_, same): (_, Vec<&ApplyError>)| {
        let names: Vec<&str> = same.iter().map(|error| error.object()).collect();
        let more = names.len().saturating_sub(NAMED);
        let first = names[..names.len() - more].join(", ");
        let about = match (names.len(), more) {
            (1, _) => String::new(),
            (_, 0) => format!(": {first}"),
            (_, more) => format!(": {first} and {more} more"),
        };
        CheckLine {
            id: CheckId::Objects,
            title: format!("objects as the API server takes them{about}"),
            status: CheckStatus::Failed,
            detail: same[0].to_string(),
            fix: same[0].remedy(),
        }
    };
    faults.into_iter().map(of).collect()
}

/// Adds lines, less those of a refusal that is told already: one policy may refuse objects and pods for one reason.
pub(crate) fn beside(lines: &mut Vec<CheckLine>, more: impl IntoIterator<Item = CheckLine>) {
    let of = |line: &CheckLine| alike(&line.detail).filter(|_| line.status == CheckStatus::Failed);
    let told: Vec<String> = lines.iter().filter_map(of).collect();
    lines.extend(more.into_iter().filter(|line| of(line).is_none_or(|kind| !told.contains(&kind))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_policy_that_refuses_everything_is_one_line() {
        let refused_by = |object: &str, policy: &str, reason: &str| ApplyError::Refused {
            object: object.to_owned(),
            message: format!(
                "{object} is forbidden: ValidatingAdmissionPolicy '{policy}' with binding 'b' denied request: {reason}"
            ),
            forbidden: false,
        };
        let mut errors: Vec<ApplyError> =
            ["a", "b", "c", "d", "e"].map(|name| refused_by(&format!("service/{name}"), "p", "not here")).into();
        errors.insert(1, refused_by("service/f", "other", "not here"));
        errors.push(refused_by("service/g", "p", "for another reason"));
        let lines = refused(&errors);
        let titles: Vec<&str> = lines.iter().map(|line| line.title.as_str()).collect();
        let title = "objects as the API server takes them";
        assert_eq!(titles, [&format!("{title}: service/a, service/b, service/c and 2 more"), title, title]);
        assert!(lines[0].detail.starts_with("service/a: the API server refuses it: ") && lines[0].fix.is_some());
        // Pods that it refuses as well are no other fault.
        let mut all = lines;
        let pods = |reason: &str| {
            let message = format!(
                "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {reason}"
            );
            line(CheckId::Admission, "pods", CheckStatus::Failed, message)
        };
        beside(&mut all, [pods("not here"), pods("no pods")]);
        assert_eq!(all.len(), 4, "{all:?}");
    }
}
