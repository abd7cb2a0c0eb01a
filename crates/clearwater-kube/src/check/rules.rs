//! What was seen, judged: every rule is a function of one look. Pure.

mod given;
mod hung;
mod inner;
mod objects;
mod service;

use std::collections::BTreeSet;

use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::Remedy;

use super::facts::Facts;
use crate::apply::checks::{line, with_fix};

/// Everything that there is to say of a look, in the order of the groups.
pub(super) fn lines(facts: &Facts) -> Vec<CheckLine> {
    let mut lines = facts.cluster.clone();
    lines.extend(objects::before(facts));
    lines.extend(objects::lines(facts));
    lines.extend(service::lines(facts));
    lines.extend(inner::lines(facts));
    lines.extend(given::lines(facts));
    in_order(lines)
}

/// The same where nothing is to stand yet.
pub(super) fn before(facts: &Facts) -> Vec<CheckLine> {
    let mut lines = facts.cluster.clone();
    lines.extend(objects::before(facts));
    in_order(lines)
}

pub(super) fn in_order(mut lines: Vec<CheckLine>) -> Vec<CheckLine> {
    lines.sort_by_key(|l| (l.id.group(), l.id));
    lines
}

/// What one rule has to say.
struct Said {
    id: CheckId,
    title: &'static str,
    bad: Vec<CheckLine>,
    /// Why what could not be looked at was not, each once.
    unseen: Vec<String>,
    /// The checks that tell what would have been said here: one fault is told once.
    elsewhere: BTreeSet<CheckId>,
    /// Why nothing is there that could be looked at, and need not be.
    absent: Option<String>,
}

impl Said {
    fn new(id: CheckId, title: &'static str) -> Self {
        Self { id, title, bad: Vec::new(), unseen: Vec::new(), elsewhere: BTreeSet::new(), absent: None }
    }

    /// Something is wrong with a thing, which is named in the title so that it is known again.
    fn wrong(&mut self, status: CheckStatus, of: &str, detail: impl Into<String>, fix: impl Into<Remedy>) {
        let title = if of.is_empty() { self.title.to_owned() } else { format!("{}: {of}", self.title) };
        self.bad.push(with_fix(line(self.id, title, status, detail), fix));
    }

    /// Another check tells it.
    fn told_by(&mut self, id: CheckId) {
        self.elsewhere.insert(id);
    }

    /// There is nothing to look at, and it is meant so.
    fn nothing_there(&mut self, why: &str) {
        self.absent = Some(why.to_owned());
    }

    /// Something could not be seen.
    fn unseen(&mut self, why: impl Into<String>) {
        let why = why.into();
        if !self.unseen.contains(&why) {
            self.unseen.push(why);
        }
    }

    /// The same in the place of what would have been looked through.
    fn nothing<T: Default>(&mut self, why: &str) -> T {
        self.unseen(why);
        T::default()
    }

    /// The lines: what is wrong, one that not all was seen, one that another check tells it, or one that all is well.
    fn lines(self, well: impl Into<String>) -> Vec<CheckLine> {
        let mut lines = self.bad;
        if let [first, others @ ..] = self.unseen.as_slice() {
            let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
            lines.push(line(self.id, self.title, CheckStatus::Skipped, format!("{first}{more}")));
        } else if lines.is_empty() && !self.elsewhere.is_empty() {
            let told: Vec<&str> = self.elsewhere.iter().map(|id| id.name()).collect();
            let detail = format!("what is not well here is told by {}", told.join(" and "));
            lines.push(line(self.id, self.title, CheckStatus::NotApplicable, detail));
        } else if let Some(why) = self.absent.filter(|_| lines.is_empty()) {
            lines.push(line(self.id, self.title, CheckStatus::NotApplicable, why));
        } else if lines.is_empty() {
            lines.push(line(self.id, self.title, CheckStatus::Ok, well));
        }
        lines
    }
}

#[cfg(test)]
mod tests;
