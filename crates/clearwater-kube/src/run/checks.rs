//! What was looked at before the first write, told, and whether it lets the run go on.

use clearwater::event::{CheckLine, CheckStatus, EventKind, Outcome};
use clearwater::remedy::Advice;

use super::Emitter;

/// Tells every line. An error is how the run ends where a line forbids to go on; `undone` is what was not done then
/// ("written", "changed").
pub(crate) async fn tell(lines: Vec<CheckLine>, undone: &str, emitter: &mut Emitter) -> Result<(), (Outcome, Advice)> {
    let verdict = verdict(&lines, undone);
    for line in lines {
        emitter.emit(EventKind::Checked { line }).await;
    }
    verdict
}

fn verdict(lines: &[CheckLine], undone: &str) -> Result<(), (Outcome, Advice)> {
    // Of several that are equal the last one would be the greatest.
    let Some(worst) = lines.iter().rev().max_by_key(|l| l.status) else {
        return Ok(());
    };
    let separator = if worst.detail.is_empty() { "" } else { ": " };
    let seen = format!("{}{separator}{}", worst.title, worst.detail);
    match worst.status {
        CheckStatus::Refused => Err((Outcome::Refused, format!("refused, nothing was {undone}: {seen}").into())),
        CheckStatus::Failed => {
            Err((Outcome::PreflightFailed, format!("nothing was {undone}, because a check failed: {seen}").into()))
        }
        CheckStatus::Ok | CheckStatus::Skipped | CheckStatus::Warning => Ok(()),
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
        use CheckStatus::{Failed, Ok as Good, Refused, Warning};
        assert_eq!(verdict(&[], "written"), Ok(()));
        assert_eq!(verdict(&[line("a", Good, ""), line("b", Warning, "x")], "written"), Ok(()));
        let failed = [line("a", Failed, ""), line("b", Failed, "x")];
        let said = "nothing was written, because a check failed: a".into();
        assert_eq!(verdict(&failed, "written"), Err((Outcome::PreflightFailed, said)));
        let refused = [line("a", Failed, ""), line("b", Refused, "x")];
        let said = "refused, nothing was changed: b: x".into();
        assert_eq!(verdict(&refused, "changed"), Err((Outcome::Refused, said)));
    }
}
