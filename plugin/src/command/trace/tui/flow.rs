//! The drawing of one call, or of several: what of it is drawn, and which line is looked at.

use std::collections::BTreeSet;
use std::convert::Infallible;

use clearwater::log::{Ladder, LadderLine, LadderNote, LadderNotes, LadderStep};
use clearwater::text::counted;
use jiff::Timestamp;

use super::super::verdicts;
use super::key::{Cursor, Key};
use super::text::Page;

/// How much of the screen a message has beside the drawing, in percent; and by how much that is changed.
const SHARE: u16 = 40;
const SHARE_STEP: u16 = 5;
const SHARES: std::ops::RangeInclusive<u16> = 15..=80;
/// By how many letters a drawing that is too wide is moved.
const ASIDE: usize = 8;

/// The drawing of one call or of several.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) calls: BTreeSet<String>,
    /// All that is known.
    whole: Ladder,
    /// What of it is drawn.
    seen: Ladder,
    verdicts: Vec<String>,
    notes: LadderNotes,
    with_internal: bool,
    /// As it is drawn: the names of the columns, and then a line each.
    lines: Vec<LadderLine>,
    columns: usize,
    height: usize,
    cursor: Cursor,
    /// How many letters are out of sight on the left.
    left: usize,
    has_panel: bool,
    share: u16,
}

impl Flow {
    pub(super) fn new(calls: BTreeSet<String>, ladder: Ladder) -> Self {
        let mut flow = Self {
            calls,
            whole: Ladder::default(),
            seen: Ladder::default(),
            verdicts: Vec::new(),
            notes: LadderNotes::default(),
            with_internal: false,
            lines: Vec::new(),
            columns: 80,
            height: 0,
            cursor: Cursor::default(),
            left: 0,
            has_panel: true,
            share: SHARE,
        };
        flow.set(ladder);
        flow
    }

    /// Takes what is known by now.
    pub(super) fn set(&mut self, ladder: Ladder) {
        self.verdicts = verdicts(&ladder);
        self.whole = ladder;
        self.look();
    }

    /// Finds what is drawn. What was looked at still is, where it is drawn.
    fn look(&mut self) {
        let was_at = self.step().and_then(|step| self.identity(step));
        self.seen = self.whole.seen(self.notes, self.with_internal);
        self.draw();
        if let Some(was) = was_at {
            let steps = || self.lines().iter().map(|line| line.step.and_then(|step| self.identity(step)));
            let same = steps().position(|step| step.as_ref() == Some(&was));
            let later = || steps().position(|step| step.is_some_and(|(time, _)| time >= was.0));
            self.cursor.at = same.or_else(later).unwrap_or(self.cursor.at);
        }
        self.cursor.settle(self.lines().len(), self.height);
    }

    fn draw(&mut self) {
        self.lines = self.seen.lines(Some(self.columns.max(self.seen.least_width())));
    }

    /// What makes a step the same in another drawing.
    fn identity(&self, step: LadderStep) -> Option<(Timestamp, String)> {
        match step {
            LadderStep::Hop(n) => {
                let hop = self.seen.hops().get(n)?;
                Some((hop.time, format!("{} {} {} {}", hop.from, hop.to, hop.cseq, hop.text)))
            }
            LadderStep::Note(n) => {
                let note = self.seen.notes().get(n)?;
                Some((note.time, format!("{} {}", note.lane, note.text)))
            }
        }
    }

    /// How many letters the drawing needs at least.
    pub(super) fn least_width(&self) -> usize {
        self.seen.least_width()
    }

    /// How much of the screen the message has, in percent.
    pub(super) fn share(&self) -> u16 {
        if self.has_panel { self.share } else { 0 }
    }

    /// Puts it into so many columns and lines.
    pub(super) fn settle(&mut self, columns: usize, height: usize) {
        if self.columns != columns {
            self.columns = columns;
            self.draw();
        }
        self.height = height;
        self.cursor.settle(self.lines().len(), height);
        let longest = self.lines.iter().map(|line| line.text.chars().count()).max().unwrap_or(0);
        self.left = self.left.min(longest.saturating_sub(columns));
    }

    /// Takes a key that changes no more than this drawing.
    pub(super) fn press(&mut self, key: Key) -> Option<String> {
        match key {
            Key::Left => self.left = self.left.saturating_sub(ASIDE),
            Key::Right => self.left += ASIDE,
            Key::F(3) | Key::Char('t') => self.has_panel = !self.has_panel,
            Key::Char('9') => self.share = (self.share + SHARE_STEP).min(*SHARES.end()),
            Key::Char('0') => self.share = (self.share - SHARE_STEP).max(*SHARES.start()),
            Key::Char('n') => {
                let all = LadderNotes::ALL;
                let next = all.iter().position(|notes| *notes == self.notes).map_or(0, |n| (n + 1) % all.len());
                self.notes = all.get(next).copied().unwrap_or_default();
                self.look();
                return Some(format!("notes: {}", self.notes));
            }
            Key::Char('i') => {
                self.with_internal = !self.with_internal;
                self.look();
                let is_drawn = if self.with_internal { "drawn" } else { "left out" };
                return Some(format!("what stays inside sprout is {is_drawn}"));
            }
            key => self.go(key),
        }
        None
    }

    fn go(&mut self, key: Key) {
        if let Some(step) = key.step() {
            self.cursor.go(step, self.lines().len(), self.height);
        }
    }

    /// The names of the columns.
    pub(super) fn names(&self) -> String {
        self.lines.first().map(|line| self.in_sight(line)).unwrap_or_default()
    }

    /// The lines below the names.
    fn lines(&self) -> &[LadderLine] {
        self.lines.get(1..).unwrap_or_default()
    }

    fn in_sight(&self, line: &LadderLine) -> String {
        line.text.chars().skip(self.left).collect()
    }

    /// The lines that are seen, each with what it shows and whether it is looked at.
    pub(super) fn rows(&self) -> impl Iterator<Item = (String, Option<LadderStep>, bool)> {
        let seen = self.cursor.seen(self.lines().len(), self.height);
        seen.filter_map(|n| {
            let line = self.lines().get(n)?;
            Some((self.in_sight(line), line.step, n == self.cursor.at))
        })
    }

    /// What is looked at.
    fn step(&self) -> Option<LadderStep> {
        self.lines().get(self.cursor.at)?.step
    }

    /// What is looked at, in full: a title, and its lines. Nothing where it is no more than the begin of a day.
    pub(super) fn message(&self) -> Option<(String, Vec<String>)> {
        let time = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
        Some(match self.step()? {
            LadderStep::Hop(n) => {
                let hop = self.seen.hops().get(n)?;
                let to = if hop.function.is_some() { "inside" } else { hop.to.as_str() };
                (format!("{}  {} → {to}: {}", time(hop.time), hop.from, hop.label()), hop.lines().collect())
            }
            LadderStep::Note(n) => {
                let note = self.seen.notes().get(n)?;
                (format!("{}  {}", time(note.time), note.lane), vec![note.words().to_string()])
            }
        })
    }

    /// The same as a page of its own, after a key has led on or back.
    pub(super) fn page(&mut self, key: Option<Key>) -> Page {
        if let Some(key) = key {
            self.go(key);
        }
        let (title, lines) = self.message().unwrap_or_default();
        Page::new(title, lines)
    }

    /// All messages that are drawn, in full.
    pub(super) fn all(&self) -> Page {
        let mut lines = Vec::new();
        let Ok(()) = self.seen.message_lines(|line| {
            lines.extend(line.lines().map(|line| line.trim_end().to_owned()));
            Ok::<_, Infallible>(())
        });
        Page::new(self.title(), lines)
    }

    /// The status of an answer.
    pub(super) fn status(&self, step: LadderStep) -> Option<u16> {
        let LadderStep::Hop(n) = step else { return None };
        self.seen.hops().get(n)?.status
    }

    /// Whether a note is a warning or an error.
    pub(super) fn is_grave(&self, step: LadderStep) -> bool {
        matches!(step, LadderStep::Note(n) if self.seen.notes().get(n).is_some_and(LadderNote::is_grave))
    }

    /// Who broke it, and what short names stand for.
    pub(super) fn words(&self) -> Vec<String> {
        let legend: Vec<_> = self.seen.legend().map(|(lane, whole)| format!("{lane} is {whole}")).collect();
        self.verdicts.iter().cloned().chain((!legend.is_empty()).then(|| legend.join(", "))).collect()
    }

    pub(super) fn title(&self) -> String {
        match self.calls.first() {
            Some(call) if self.calls.len() == 1 => call.clone(),
            _ => counted(self.calls.len(), "call"),
        }
    }

    /// How many lines there are, and where one is, in words.
    pub(super) fn progress(&self) -> String {
        let (at, all) = (self.cursor.at + 1, self.lines().len());
        format!("{} of {all}", at.min(all))
    }

    /// Panics where a place is out of range.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert!(self.lines().is_empty() || self.cursor.at < self.lines().len());
        assert!(self.lines().is_empty() || self.height == 0 || self.rows().filter(|(_, _, is_at)| *is_at).count() == 1);
        assert!(SHARES.contains(&self.share));
    }
}
