//! What was looked at before the first write, told, and whether it lets the run go on.

use clearwater::event::{CheckLine, CheckStatus, EventKind, Outcome};
use clearwater::remedy::{Advice, Remedy};

use super::Emitter;

/// What could not be looked at, where something could not; a run that was only to look ends with it.
pub(crate) type Unseen = Option<String>;

/// Tells every line. An error is how the run ends where a line forbids to go on; `undone` is what was not done then
/// ("written", "changed").
pub(crate) async fn tell(
    lines: Vec<CheckLine>,
    undone: &str,
    emitter: &mut Emitter,
) -> Result<Unseen, (Outcome, Advice)> {
    let verdict = verdict(&lines, undone);
    for line in lines {
        emitter.emit(EventKind::Checked { line }).await;
    }
    verdict
}

/// How a run ends whose time is up before its first write: perhaps for what could not be looked at by then. `undone` is what
/// was not done ("written", "changed").
pub(crate) fn late(undone: &str, unseen: Unseen) -> (Outcome, Advice) {
    let waited = unseen.map_or_else(String::new, |what| format!(": {what}"));
    let reason = format!("the time was up before anything was {undone}{waited}");
    (Outcome::CouldNotLook, Advice::new(reason, Remedy::Longer))
}

fn verdict(lines: &[CheckLine], undone: &str) -> Result<Unseen, (Outcome, Advice)> {
    // Of several that are equal the last one would be the greatest.
    let Some(worst) = lines.iter().rev().max_by_key(|l| l.status) else {
        return Ok(None);
    };
    let said = |line: &CheckLine| {
        let separator = if line.detail.is_empty() { "" } else { ": " };
        format!("{}{separator}{}", line.title, line.detail)
    };
    let seen = said(worst);
    match worst.status {
        CheckStatus::Refused => Err((Outcome::Refused, format!("refused, nothing was {undone}: {seen}").into())),
        CheckStatus::Failed => {
            Err((Outcome::PreflightFailed, format!("nothing was {undone}, because a check failed: {seen}").into()))
        }
        _ => Ok(lines.iter().find(|l| l.status == CheckStatus::Unseen).map(said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearwater::event::CheckId;

    fn line(title: &str, status: CheckStatus, detail: &str) -> CheckLine {
        CheckLine { id: CheckId::Rights, title: title.to_owned(), status, detail: detail.to_owned(), fix: None }
    }

    #[test]
    fn the_first_of_the_worst_lines_ends_the_run() {
        use CheckStatus::{Failed, Ok as Good, Refused, Skipped, Unseen, Warning};
        assert_eq!(verdict(&[], "written"), Ok(None));
        assert_eq!(verdict(&[line("a", Good, ""), line("b", Skipped, "x")], "written"), Ok(None));
        let unseen = [line("a", Unseen, "x"), line("b", Warning, "y"), line("c", Unseen, "z")];
        assert_eq!(verdict(&unseen, "written"), Ok(Some("a: x".to_owned())));
        let failed = [line("a", Failed, ""), line("b", Failed, "x")];
        let said = "nothing was written, because a check failed: a".into();
        assert_eq!(verdict(&failed, "written"), Err((Outcome::PreflightFailed, said)));
        let refused = [line("a", Failed, ""), line("b", Refused, "x")];
        let said = "refused, nothing was changed: b: x".into();
        assert_eq!(verdict(&refused, "changed"), Err((Outcome::Refused, said)));
    }
}
