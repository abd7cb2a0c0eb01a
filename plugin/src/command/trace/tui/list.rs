//! The list of dialogs: which are shown, which one is looked at, and which are marked.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use clearwater::log::Dialog;
use clearwater::text::{Printable, counted};
use regex::{Regex, RegexBuilder};

use super::super::table::{day, ending, is_failed};
use super::key::{Cursor, Step};

/// No more are drawn together: nobody reads a drawing of more.
const MOST_MARKED: usize = 50;

/// A dialog as it is by now, and its place among those of one Call-ID.
#[derive(Clone, Debug)]
pub(super) struct DialogNews {
    pub(super) place: usize,
    pub(super) dialog: Dialog,
}

/// Which dialogs are shown: a regular expression, or where it is none its letters, in any case.
#[derive(Clone, Debug, Default)]
struct Filter {
    text: String,
    pattern: Option<Regex>,
}

impl Filter {
    fn new(text: &str) -> Self {
        let built = |pattern: &str| RegexBuilder::new(pattern).case_insensitive(true).build().ok();
        let pattern = built(text).or_else(|| built(&regex::escape(text))).filter(|_| !text.is_empty());
        Self { text: text.to_owned(), pattern }
    }

    fn passes(&self, dialog: &Dialog) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        let texts = [&dialog.from, &dialog.to, &dialog.method, &dialog.call_id];
        texts.into_iter().any(|text| pattern.is_match(text)) || pattern.is_match(&ending(dialog))
    }
}

/// What a line of the list shows.
pub(super) struct ListRow<'l> {
    pub(super) dialog: &'l Dialog,
    pub(super) is_marked: bool,
    /// Whether it is the one that is looked at.
    pub(super) is_at: bool,
}

/// The list of dialogs.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    /// All, in the order in which they were told of.
    dialogs: Vec<Dialog>,
    places: HashMap<(Printable, usize), usize>,
    /// Those that are shown, in the order in which they began.
    shown: Vec<usize>,
    cursor: Cursor,
    height: usize,
    marked: BTreeSet<usize>,
    filter: Filter,
    only_failed: bool,
    /// Whether the newest is looked at.
    follows: bool,
    has_days: bool,
}

impl List {
    pub(super) fn new(only_failed: bool) -> Self {
        Self { only_failed, ..Self::default() }
    }

    /// Takes in dialogs that are new, or as they are now.
    pub(super) fn take(&mut self, news: Vec<DialogNews>) {
        for DialogNews { place, dialog } in news {
            let first = self.dialogs.first().map(day);
            self.has_days |= first.is_some_and(|first| first != day(&dialog));
            match self.places.entry((dialog.call_id.clone(), place)) {
                Entry::Occupied(known) => {
                    if let Some(old) = self.dialogs.get_mut(*known.get()) {
                        *old = dialog;
                    }
                }
                Entry::Vacant(new) => {
                    new.insert(self.dialogs.len());
                    self.dialogs.push(dialog);
                }
            }
        }
        self.arrange();
    }

    /// Finds those that are shown. What was looked at still is, where it is among them.
    fn arrange(&mut self) {
        let was_at = self.shown.get(self.cursor.at).copied();
        let is_shown =
            |dialog: &Dialog| (!self.only_failed || is_failed(dialog.outcome())) && self.filter.passes(dialog);
        let all = self.dialogs.iter().enumerate().filter(|(_, dialog)| is_shown(dialog));
        let mut shown: Vec<_> = all.map(|(n, dialog)| (dialog.began, n)).collect();
        shown.sort_unstable();
        self.shown = shown.into_iter().map(|(_, n)| n).collect();
        let at = was_at.and_then(|was| self.shown.iter().position(|n| *n == was));
        self.cursor.at = if self.follows { usize::MAX } else { at.unwrap_or(self.cursor.at) };
        self.settle(self.height);
    }

    /// Puts it into so many lines.
    pub(super) fn settle(&mut self, height: usize) {
        self.height = height;
        self.cursor.settle(self.shown.len(), height);
    }

    pub(super) fn go(&mut self, step: Step) {
        self.follows = false;
        self.cursor.go(step, self.shown.len(), self.height);
    }

    /// The lines that are seen.
    pub(super) fn rows(&self) -> impl Iterator<Item = ListRow<'_>> {
        let seen = self.cursor.seen(self.shown.len(), self.height);
        seen.filter_map(|place| {
            let n = *self.shown.get(place)?;
            let dialog = self.dialogs.get(n)?;
            Some(ListRow { dialog, is_marked: self.marked.contains(&n), is_at: place == self.cursor.at })
        })
    }

    /// The one that is looked at.
    pub(super) fn at(&self) -> Option<&Dialog> {
        self.shown.get(self.cursor.at).and_then(|n| self.dialogs.get(*n))
    }

    /// The Call-IDs of those that are marked, or else of the one that is looked at.
    pub(super) fn chosen(&self) -> BTreeSet<String> {
        let marked = self.marked.iter().filter_map(|n| self.dialogs.get(*n));
        let chosen: BTreeSet<_> = marked.map(|dialog| dialog.call_id.to_string()).collect();
        if chosen.is_empty() {
            self.at().map(|dialog| dialog.call_id.to_string()).into_iter().collect()
        } else {
            chosen
        }
    }

    /// Marks the one that is looked at, or takes its mark away. An error says why not.
    pub(super) fn mark(&mut self) -> Result<(), String> {
        let Some(n) = self.shown.get(self.cursor.at).copied() else { return Ok(()) };
        if self.marked.remove(&n) {
            return Ok(());
        }
        if self.marked.len() >= MOST_MARKED {
            return Err(format!("no more than {MOST_MARKED} are drawn together"));
        }
        self.marked.insert(n);
        Ok(())
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter.text
    }

    pub(super) fn set_filter(&mut self, text: &str) {
        if text != self.filter.text {
            self.filter = Filter::new(text);
            self.arrange();
        }
    }

    /// Takes marks and filter away; tells whether there were any.
    pub(super) fn clear(&mut self) -> bool {
        let had_marks = !std::mem::take(&mut self.marked).is_empty();
        let had_filter = !self.filter.text.is_empty();
        self.set_filter("");
        had_marks || had_filter
    }

    pub(super) fn toggle_failed(&mut self) {
        self.only_failed = !self.only_failed;
        self.arrange();
    }

    /// Looks at the newest from now on, or does so no more; tells which.
    pub(super) fn toggle_follow(&mut self) -> bool {
        self.follows = !self.follows;
        self.arrange();
        self.follows
    }

    /// Whether dialogs began on several days.
    pub(super) fn has_days(&self) -> bool {
        self.has_days
    }

    pub(super) fn is_empty(&self) -> bool {
        self.dialogs.is_empty()
    }

    /// How many there are, in words.
    pub(super) fn summary(&self) -> String {
        let all = counted(self.dialogs.len(), "dialog");
        let mut text =
            if self.shown.len() == self.dialogs.len() { all } else { format!("{} of {all}", self.shown.len()) };
        if self.only_failed {
            text += ", failed only";
        }
        if !self.filter.text.is_empty() {
            text += &format!(", with {:?}", self.filter.text);
        }
        if !self.marked.is_empty() {
            text += &format!(", {} marked", self.marked.len());
        }
        text
    }

    /// Panics where a place is out of range.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert!(self.shown.is_empty() || self.cursor.at < self.shown.len());
        assert!(self.shown.iter().chain(&self.marked).all(|n| *n < self.dialogs.len()));
        assert!(self.height == 0 || self.shown.is_empty() == self.rows().next().is_none());
        assert!(self.shown.is_empty() || self.height == 0 || self.rows().filter(|row| row.is_at).count() == 1);
    }
}
