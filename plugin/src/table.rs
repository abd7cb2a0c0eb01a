//! Tables for a terminal: columns as wide as what stands in them, two blanks between, nothing longer than the screen.

use anstyle::Style;
use console::Term;

/// How wide the screen is; without end where the output is no terminal.
pub(crate) fn screen() -> usize {
    let out = Term::stdout();
    if out.is_term() { out.size_checked().map_or(80, |(_, columns)| columns.into()) } else { usize::MAX }
}

/// A table, row by row. Rows may be written with other lines between.
pub(crate) struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<[String; N]>,
    widths: [usize; N],
    screen: usize,
}

impl<const N: usize> Table<N> {
    /// A table whose lines are cut after `screen` characters.
    pub(crate) fn new(head: [&'static str; N], rows: Vec<[String; N]>, screen: usize) -> Self {
        let longest = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
        let widths = std::array::from_fn(|i| longest(i).max(head[i].chars().count()));
        Self { head, rows, widths, screen }
    }

    /// The table with columns that are at least so wide.
    pub(crate) fn least(mut self, widths: [usize; N]) -> Self {
        self.widths = std::array::from_fn(|i| self.widths[i].max(widths[i]));
        self
    }

    pub(crate) fn head(&self) -> String {
        self.line(&self.head.map(str::to_owned), Style::new())
    }

    /// A row; its second cell takes the style.
    pub(crate) fn row(&self, n: usize, style: Style) -> String {
        self.rows.get(n).map_or_else(String::new, |row| self.line(row, style))
    }

    fn line(&self, cells: &[String; N], style: Style) -> String {
        let mut text = String::new();
        let mut used = 0;
        for (i, (cell, width)) in cells.iter().zip(self.widths).enumerate() {
            let room = self.screen.saturating_sub(used);
            if room == 0 {
                break;
            }
            let padded = if i + 1 == N { cell.clone() } else { format!("{cell:<width$}  ") };
            let shown = if padded.trim_end().chars().count() > room {
                format!("{}…", padded.chars().take(room - 1).collect::<String>())
            } else {
                padded.chars().take(room).collect()
            };
            used += shown.chars().count();
            text += &if i == 1 { format!("{style}{shown}{style:#}") } else { shown };
        }
        text.trim_end().to_owned()
    }
}
