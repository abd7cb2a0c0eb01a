//! Keys, and where they lead in what is longer than the screen.

use std::ops::Range;

use clearwater::text::is_harmful;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// A key, as far as one means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Esc,
    Tab,
    Backspace,
    F(u8),
    /// A character that is only seen.
    Char(char),
    /// One that was typed with Ctrl.
    Ctrl(char),
}

impl Key {
    /// What a terminal tells; nothing where it means nothing.
    pub(super) fn of(event: KeyEvent) -> Option<Self> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        Some(match event.code {
            KeyCode::Up => Self::Up,
            KeyCode::Down => Self::Down,
            KeyCode::Left => Self::Left,
            KeyCode::Right => Self::Right,
            KeyCode::PageUp => Self::PageUp,
            KeyCode::PageDown => Self::PageDown,
            KeyCode::Home => Self::Home,
            KeyCode::End => Self::End,
            KeyCode::Enter => Self::Enter,
            KeyCode::Esc => Self::Esc,
            KeyCode::Tab => Self::Tab,
            KeyCode::Backspace => Self::Backspace,
            KeyCode::F(number) => Self::F(number),
            KeyCode::Char(c) if event.modifiers.contains(KeyModifiers::CONTROL) => Self::Ctrl(c.to_ascii_lowercase()),
            KeyCode::Char(c) if !is_harmful(c) => Self::Char(c),
            _ => return None,
        })
    }

    /// Where it leads, among lines: as in sngrep, and in vi and less as well.
    pub(super) fn step(self) -> Option<Step> {
        Some(match self {
            Self::Up | Self::Char('k') => Step::Lines(-1),
            Self::Down | Self::Char('j') => Step::Lines(1),
            Self::PageUp | Self::Ctrl('b') => Step::HalfPages(-2),
            Self::PageDown | Self::Ctrl('f') => Step::HalfPages(2),
            Self::Ctrl('u') => Step::HalfPages(-1),
            Self::Ctrl('d') => Step::HalfPages(1),
            Self::Home | Self::Char('g') | Self::Ctrl('a') => Step::First,
            Self::End | Self::Char('G') | Self::Ctrl('e') => Step::Last,
            _ => return None,
        })
    }
}

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Lines(isize),
    HalfPages(isize),
    First,
    Last,
}

impl Step {
    /// The place to which it leads from another, among so many of which so many are seen at once.
    pub(super) fn lead(self, at: usize, length: usize, height: usize) -> usize {
        let last = length.saturating_sub(1);
        let half = isize::try_from(height / 2).unwrap_or(isize::MAX).max(1);
        let to = match self {
            Self::Lines(by) => at.saturating_add_signed(by),
            Self::HalfPages(by) => at.saturating_add_signed(half.saturating_mul(by)),
            Self::First => 0,
            Self::Last => last,
        };
        to.min(last)
    }
}

/// A place among lines, of which some are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) at: usize,
    top: usize,
}

impl Cursor {
    pub(super) fn go(&mut self, step: Step, length: usize, height: usize) {
        self.at = step.lead(self.at, length, height);
        self.settle(length, height);
    }

    /// Puts it among so many lines, and into sight.
    pub(super) fn settle(&mut self, length: usize, height: usize) {
        self.at = self.at.min(length.saturating_sub(1));
        let height = height.max(1);
        self.top = self.top.clamp((self.at + 1).saturating_sub(height), self.at).min(length.saturating_sub(height));
    }

    /// The lines that are seen.
    pub(super) fn seen(&self, length: usize, height: usize) -> Range<usize> {
        self.top.min(length)..self.top.saturating_add(height).min(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_terminals_keys_are_understood() {
        let of = |code, modifiers| Key::of(KeyEvent::new(code, modifiers));
        assert_eq!(of(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Ctrl('c')));
        assert_eq!(of(KeyCode::Char('G'), KeyModifiers::SHIFT), Some(Key::Char('G')));
        assert_eq!(of(KeyCode::F(3), KeyModifiers::NONE), Some(Key::F(3)));
        assert_eq!(of(KeyCode::Char('\u{202e}'), KeyModifiers::NONE), None);
        assert_eq!(of(KeyCode::Insert, KeyModifiers::NONE), None);
        let released = KeyEvent::new_with_kind(KeyCode::Up, KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(Key::of(released), None);
    }

    #[test]
    fn a_page_is_what_is_seen() {
        let mut cursor = Cursor::default();
        for (step, at, seen) in [
            (Step::HalfPages(2), 10, 1..11),
            (Step::HalfPages(-1), 5, 1..11),
            (Step::Last, 99, 90..100),
            (Step::Lines(1), 99, 90..100),
            (Step::HalfPages(-2), 89, 89..99),
            (Step::First, 0, 0..10),
            (Step::Lines(-1), 0, 0..10),
        ] {
            cursor.go(step, 100, 10);
            assert_eq!((cursor.at, cursor.seen(100, 10)), (at, seen), "{step:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_is_always_seen(
            moves in prop::collection::vec((0..4_u8, -5..5_isize, 0..50_usize, 0..20_usize), 0..50)
        ) {
            let mut cursor = Cursor::default();
            for (kind, by, length, height) in moves {
                let step = match kind {
                    0 => Step::Lines(by),
                    1 => Step::HalfPages(by),
                    2 => Step::First,
                    _ => Step::Last,
                };
                cursor.go(step, length, height);
                let seen = cursor.seen(length, height);
                prop_assert!(seen.end <= length && seen.len() <= height);
                prop_assert!(length == 0 || height == 0 || seen.contains(&cursor.at));
                // No line is left empty where there are more.
                prop_assert!(length < height || seen.len() == height);
            }
        }
    }
}
