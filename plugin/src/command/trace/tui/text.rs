//! Text that is longer or wider than the screen.

use unicode_width::UnicodeWidthChar;

use super::key::Key;

/// How wide a character is on a terminal.
fn width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// How many bytes of a line go into so many columns: one character at least.
fn fitting(line: &str, columns: usize) -> usize {
    let mut used = 0;
    for (at, c) in line.char_indices() {
        used += width(c);
        if used > columns && at > 0 {
            return at;
        }
    }
    line.len()
}

/// A line in parts that go into so many columns; at least one.
pub(super) fn wrapped(line: &str, columns: usize) -> Vec<&str> {
    let (mut parts, mut rest) = (Vec::new(), line);
    loop {
        let (part, after) = rest.split_at(fitting(rest, columns));
        parts.push(part);
        if after.is_empty() {
            return parts;
        }
        rest = after;
    }
}

/// The same, parted between words where there are any.
pub(super) fn worded(mut line: &str, columns: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    loop {
        let first = fitting(line, columns);
        let (part, rest) = line.split_at(first);
        if rest.is_empty() {
            parts.push(line);
            return parts;
        }
        // What stands before the first word is no place to part it.
        let between = part.rfind(' ').filter(|blank| !part[..*blank].trim_start().is_empty());
        let end = if rest.starts_with(' ') { first } else { between.map_or(first, |blank| blank + 1) };
        parts.push(line[..end].trim_end());
        line = line[end..].trim_start();
        if line.is_empty() {
            return parts;
        }
    }
}

/// The text, or as much of it as goes into so many columns, with a mark that it was cut.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.chars().map(width).sum::<usize>() <= columns {
        return text.to_owned();
    }
    let mut used = 0;
    let fits = |c: &char| {
        used += width(*c);
        used < columns
    };
    let kept: String = text.chars().take_while(fits).collect();
    if columns == 0 { kept } else { kept + "…" }
}

/// The text in so many columns: cut, or with blanks behind it.
pub(super) fn fitted(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let used: usize = text.chars().map(width).sum();
    text + &" ".repeat(columns.saturating_sub(used))
}

/// A text that takes the whole screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: String,
    lines: Vec<String>,
    /// The lines as they go into the screen.
    rows: Vec<String>,
    columns: usize,
    height: usize,
    /// The first row that is seen.
    top: usize,
}

impl Page {
    pub(super) fn new(title: String, lines: Vec<String>) -> Self {
        Self { title, lines, rows: Vec::new(), columns: usize::MAX, height: 0, top: 0 }
    }

    /// Puts it into so many columns and lines.
    pub(super) fn settle(&mut self, columns: usize, height: usize) {
        if self.columns != columns {
            self.columns = columns;
            self.rows = self.lines.iter().flat_map(|line| worded(line, columns)).map(str::to_owned).collect();
        }
        self.height = height;
        self.top = self.top.min(self.places() - 1);
    }

    /// At how many places the first line that is seen may stand.
    fn places(&self) -> usize {
        self.rows.len().saturating_sub(self.height) + 1
    }

    /// Goes where a key leads.
    pub(super) fn press(&mut self, key: Key) {
        if let Some(step) = key.step() {
            self.top = step.lead(self.top, self.places(), self.height);
        }
    }

    /// The rows that are seen.
    pub(super) fn seen(&self) -> &[String] {
        let top = self.top.min(self.rows.len());
        &self.rows[top..self.rows.len().min(top + self.height)]
    }

    /// How far it is read, for a title.
    pub(super) fn progress(&self) -> String {
        format!("{} of {}", self.rows.len().min(self.top + self.height), self.rows.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_cut_by_what_they_take_on_the_screen() {
        assert_eq!(wrapped("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(wrapped("日本語", 4), ["日本", "語"]);
        assert_eq!(wrapped("日本", 1), ["日", "本"]);
        assert_eq!((wrapped("", 4), wrapped("ab", 0)), (vec![""], vec!["a", "b"]));
        assert_eq!(worded("it failed at once", 9), ["it failed", "at once"]);
        assert_eq!(worded("abcdef gh", 4), ["abcd", "ef", "gh"]);
        assert_eq!(worded("  abcdef", 4), ["  ab", "cdef"]);
        assert_eq!((worded("", 4), worded("ab", 0)), (vec![""], vec!["a", "b"]));
        assert_eq!((cut("abcdef", 4), cut("abcd", 4), cut("日本語", 4)), ("abc…".into(), "abcd".into(), "日…".into()));
        assert_eq!(
            (fitted("ab", 4), fitted("日本語", 4), fitted("ab", 0)),
            ("ab  ".into(), "日… ".into(), String::new())
        );
    }

    proptest! {
        #[test]
        fn nothing_of_a_line_is_lost_and_no_part_is_too_long(line in "\\PC{0,40}", columns in 0..20_usize) {
            let parts = wrapped(&line, columns);
            prop_assert_eq!(parts.concat(), line.clone());
            let wide = |text: &str| text.chars().map(width).sum::<usize>();
            let words = worded(&line, columns).concat();
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(solid(&words), solid(&line));
            prop_assert!(parts.iter().all(|part| wide(part) <= columns || part.chars().filter(|c| width(*c) > 0).count() <= 1));
            prop_assert!(wide(&cut(&line, columns)) <= columns && wide(&fitted(&line, columns)) == columns);
        }
    }
}
