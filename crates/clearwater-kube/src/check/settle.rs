//! When a look may say that something is wrong. Pure.

use clearwater::event::{CheckLine, CheckStatus};

/// Whether a line says that something is unwell.
pub(super) fn is_bad(line: &CheckLine) -> bool {
    line.status >= CheckStatus::Failed
}

/// Whether a look has to be repeated: something is said to be unwell that the look before did not say.
pub(super) fn is_open(before: &[CheckLine], now: &[CheckLine]) -> bool {
    now.iter().any(|line| is_bad(line) && !said(before, line))
}

fn said(before: &[CheckLine], line: &CheckLine) -> bool {
    before.iter().any(|b| is_bad(b) && (b.id, &b.title) == (line.id, &line.title))
}

/// What the last look may say where there was no other, and why there was none: what was seen once is not known.
pub(super) fn settled(before: &[CheckLine], mut now: Vec<CheckLine>, why: &str) -> Vec<CheckLine> {
    for line in &mut now {
        if is_bad(line) && !said(before, line) {
            line.status = CheckStatus::Unseen;
            line.detail = format!("seen once, and {why}: {}", line.detail);
            line.fix = None;
        }
    }
    now
}

/// What several pods show alike is one fault, and one line that names them all.
pub(super) fn merged(lines: Vec<CheckLine>) -> Vec<CheckLine> {
    let mut all: Vec<CheckLine> = Vec::new();
    for line in lines {
        let named = line.title.split_once(": ");
        let alike = |one: &CheckLine| {
            (one.id, one.status, &one.detail, &one.fix) == (line.id, line.status, &line.detail, &line.fix)
                && one.title.split_once(": ").map(|(title, _)| title) == named.map(|(title, _)| title)
        };
        match (all.iter().position(alike), named) {
            (Some(at), Some((_, of))) => {
                let comma = if of.contains(", ") { "; " } else { ", " };
                all[at].title.push_str(comma);
                all[at].title.push_str(of);
            }
            _ => all.push(line),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clearwater::event::CheckId;
    use proptest::prelude::*;

    use super::*;

    fn line(id: CheckId, title: &str, status: CheckStatus) -> CheckLine {
        CheckLine { id, title: title.to_owned(), status, detail: "x".to_owned(), fix: None }
    }

    fn look() -> impl Strategy<Value = Vec<CheckLine>> {
        let status = prop::sample::select(vec![
            CheckStatus::Ok,
            CheckStatus::Skipped,
            CheckStatus::Warning,
            CheckStatus::Failed,
        ]);
        let one = (prop::sample::select(vec![CheckId::Names, CheckId::Disk]), "[ab]", status);
        prop::collection::vec(one.prop_map(|(id, title, status)| line(id, &title, status)), 0..6)
    }

    #[test]
    fn one_fault_of_several_pods_is_one_line() {
        let of = |pod: &str| line(CheckId::Zone, &format!("a zone is set: {pod}"), CheckStatus::Failed);
        let other = CheckLine { detail: "y".to_owned(), ..of("c") };
        let lines = merged(vec![of("a"), of("b"), other, line(CheckId::Zone, "alone", CheckStatus::Failed)]);
        let titles: Vec<&str> = lines.iter().map(|l| l.title.as_str()).collect();
        assert_eq!(titles, ["a zone is set: a, b", "a zone is set: c", "alone"]);
        let keyed = [
            line(CheckId::Names, "n: a, x", CheckStatus::Failed),
            line(CheckId::Names, "n: b, x", CheckStatus::Failed),
        ];
        assert_eq!(merged(keyed.to_vec())[0].title, "n: a, x; b, x");
    }

    proptest! {
        #[test]
        fn nothing_is_unwell_that_was_not_seen_twice(before in look(), now in look()) {
            let after = settled(&before, now.clone(), "it was late");
            prop_assert_eq!(after.len(), now.len());
            for (line, seen) in after.iter().zip(&now) {
                if is_bad(line) {
                    prop_assert!(before.iter().any(|b| is_bad(b) && b.id == line.id && b.title == line.title));
                } else if is_bad(seen) {
                    prop_assert_eq!(line.status, CheckStatus::Unseen);
                    prop_assert!(line.detail.contains("it was late"));
                } else {
                    prop_assert_eq!(line, seen);
                }
            }
            prop_assert_eq!(is_open(&before, &now), after.iter().zip(&now).any(|(a, n)| is_bad(n) && !is_bad(a)));
        }

        /// No line is lost, and none says another thing than before.
        #[test]
        fn what_is_alike_is_one_line(look in look()) {
            let after = merged(look.clone());
            let said = |lines: &[CheckLine]| -> BTreeSet<_> { lines.iter().map(|l| (l.id, l.status)).collect() };
            prop_assert_eq!(said(&look), said(&after));
            prop_assert!(after.len() <= look.len());
        }

        #[test]
        fn what_stays_wrong_is_said(look in look()) {
            prop_assert!(!is_open(&look, &look));
            prop_assert_eq!(settled(&look, look.clone(), "it was late"), look);
        }
    }
}
