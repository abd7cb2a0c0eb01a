//! What was seen, judged: every rule is a function of one look. Pure.

mod inner;
mod objects;
mod service;

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
    in_order(lines)
}

/// The same where nothing is to stand yet.
pub(super) fn before(facts: &Facts) -> Vec<CheckLine> {
    let mut lines = facts.cluster.clone();
    lines.extend(objects::before(facts));
    in_order(lines)
}

fn in_order(mut lines: Vec<CheckLine>) -> Vec<CheckLine> {
    lines.sort_by_key(|l| (l.id.group(), l.id));
    lines
}

/// What one rule has to say.
struct Said {
    id: CheckId,
    title: &'static str,
    bad: Vec<CheckLine>,
    unseen: Option<String>,
}

impl Said {
    fn new(id: CheckId, title: &'static str) -> Self {
        Self { id, title, bad: Vec::new(), unseen: None }
    }

    /// Something is wrong with a thing, which is named in the title so that it is known again.
    fn wrong(&mut self, status: CheckStatus, of: &str, detail: impl Into<String>, fix: impl Into<Remedy>) {
        let title = if of.is_empty() { self.title.to_owned() } else { format!("{}: {of}", self.title) };
        self.bad.push(with_fix(line(self.id, title, status, detail), fix));
    }

    /// Something could not be seen. The first reason is told.
    fn unseen(&mut self, why: impl Into<String>) {
        self.unseen.get_or_insert_with(|| why.into());
    }

    /// The same in the place of what would have been looked through.
    fn nothing<T: Default>(&mut self, why: &str) -> T {
        self.unseen(why);
        T::default()
    }

    /// The lines: what is wrong, one that not all was seen, or one that all is well.
    fn lines(self, well: impl Into<String>) -> Vec<CheckLine> {
        let mut lines = self.bad;
        if let Some(why) = self.unseen {
            lines.push(line(self.id, self.title, CheckStatus::Skipped, why));
        } else if lines.is_empty() {
            lines.push(line(self.id, self.title, CheckStatus::Ok, well));
        }
        lines
    }
}

#[cfg(test)]
mod tests;
