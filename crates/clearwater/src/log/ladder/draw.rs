//! A ladder as text, as a Mermaid diagram and as a picture.

use std::fmt::Write as _;

use super::{Ladder, LadderHop, LadderNote, Step};
use crate::log::Level;
use crate::svg::{self, Element, Picture};
use crate::text::Printable;

impl Ladder {
    /// For a terminal.
    pub fn text(&self) -> String {
        let width = self.lanes.iter().map(|l| l.chars().count()).max().unwrap_or(0).max(20) + 4;
        let mut out = String::from("              ");
        for lane in &self.lanes {
            let _ = write!(out, "{lane:^width$}");
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        let at = |lane: &Printable| self.lanes.iter().position(|l| l == lane).unwrap_or(0) * width + width / 2;
        for step in self.steps() {
            let mut line: Vec<char> = vec![' '; self.lanes.len() * width];
            (0..self.lanes.len()).for_each(|n| line[n * width + width / 2] = '│');
            let time = step.time();
            match step {
                Step::Hop(hop) if hop.from == hop.to => {
                    let label: Vec<char> = "↺ ".chars().chain(hop.label().chars()).chain([' ']).collect();
                    let from = at(&hop.from);
                    line.splice(from..line.len().min(from + label.len()), label);
                }
                Step::Hop(hop) => {
                    draw(&mut line, hop, at(&hop.from), at(&hop.to));
                }
                Step::Note(note) => {
                    let x = at(&note.lane);
                    line.truncate(x);
                    line.extend("● ".chars().chain(note.words().chars()));
                }
            }
            let drawn: String = line.into_iter().collect();
            let _ = writeln!(out, "{}  {}", time.strftime("%H:%M:%S%.3f"), drawn.trim_end());
        }
        out
    }

    /// As a Mermaid sequence diagram.
    pub fn mermaid(&self) -> String {
        let mut out = String::from("sequenceDiagram\n");
        for (n, lane) in self.lanes.iter().enumerate() {
            let _ = writeln!(out, "  participant p{n} as {}", entities(lane));
        }
        let number = |lane: &Printable| self.lanes.iter().position(|l| l == lane).unwrap_or(0);
        for step in self.steps() {
            let _ = match step {
                Step::Hop(hop) => {
                    let arrow = if hop.status.is_some() { "-->>" } else { "->>" };
                    writeln!(out, "  p{}{arrow}p{}: {}", number(&hop.from), number(&hop.to), entities(&hop.label()))
                }
                Step::Note(note) => writeln!(out, "  Note over p{}: {}", number(&note.lane), entities(&note.words())),
            };
        }
        out
    }

    /// As an SVG picture.
    pub fn svg(&self) -> String {
        const COLUMN: usize = 200;
        const ROW: usize = 34;
        let steps = self.steps();
        let x = |lane: &Printable| {
            self.lanes.iter().position(|l| l == lane).unwrap_or(0) * COLUMN + TIME_COLUMN + COLUMN / 2
        };
        let columns = self.lanes.len() * COLUMN + TIME_COLUMN;
        // What is written beside a column and has room on no side of it makes the picture wider.
        let needed = steps.iter().map(|step| match step {
            Step::Note(note) => beside((x(&note.lane), NOTE_GAP), &note.words(), columns),
            Step::Hop(hop) if hop.from == hop.to => beside((x(&hop.from), LOOP_GAP), &hop.label(), columns),
            Step::Hop(_) => Beside { x: 0, anchor: "start", end: 0 },
        });
        let wide = needed.map(|b| b.end).max().unwrap_or(0).max(columns);
        let high = steps.len() * ROW + 80;
        let root = Element::new("svg").set("viewBox", format_args!("0 0 {wide} {high}"));
        let mut out = Picture::new(root.set("font-family", "sans-serif").set("font-size", 13));
        let page = Element::new("rect").set("width", wide).set("height", high);
        out.line([page.set("fill", "#fff")]);
        out.line([svg::arrow_head()]);
        for lane in &self.lanes {
            let x = x(lane);
            out.line([svg::text(x, 24, lane).set("text-anchor", "middle").set("font-weight", "bold")]);
            out.line([svg::line(x, 34, x, high - 10).set("stroke", "#999")]);
        }
        for (n, step) in steps.into_iter().enumerate() {
            let y = n * ROW + 64;
            let time = step.time().strftime("%H:%M:%S%.3f").to_string();
            out.line([svg::text(8, y, &time).set("fill", "#666").set("font-size", 11)]);
            match step {
                Step::Note(note) => {
                    let x = x(&note.lane);
                    let grave = note.level.is_some_and(|l| l <= Level::Warning);
                    let colour = if grave { "#c00" } else { "#06c" };
                    let at = beside((x, NOTE_GAP), &note.words(), columns);
                    out.line([Element::new("circle").set("cx", x).set("cy", y).set("r", 4).set("fill", colour)]);
                    let words = svg::text(at.x, y + 4, &note.words()).set("text-anchor", at.anchor);
                    out.line([words.set("font-size", 11).set("fill", colour)]);
                }
                Step::Hop(hop) => svg_arrow(&mut out, hop, (x(&hop.from), x(&hop.to)), y, columns),
            }
        }
        out.finish()
    }
}

impl LadderNote {
    /// The line, with its level where that is grave.
    fn words(&self) -> Printable {
        match self.level {
            Some(level) if level <= Level::Warning => format!("{}: {}", level.name().to_uppercase(), self.text).into(),
            _ => self.text.clone(),
        }
    }
}

/// As Mermaid holds it: entities are written between `#` and `;`, which also ends a statement.
fn entities(text: &Printable) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '#' => out.push_str("#35;"),
            ';' => out.push_str("#59;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            c => out.push(c),
        }
    }
    out
}

/// Draws an arrow into a line of a terminal.
fn draw(line: &mut [char], hop: &LadderHop, a: usize, b: usize) {
    let (low, high) = (a.min(b), a.max(b));
    let room = high.saturating_sub(low + 4);
    let label: String = hop.text.chars().take(room.max(1)).collect();
    line[low + 1..high].fill('─');
    if b > a {
        line[high - 1] = '▶';
    } else {
        line[low + 1] = '◀';
    }
    let start = low + 2 + (room - label.chars().count()) / 2;
    label.chars().enumerate().for_each(|(n, c)| line[start + n] = c);
}

/// Where the times of a picture end; how far from its column a note, and the label of an arrow to itself, begins; and how
/// wide a letter is at most, nearly. All in units of the picture.
const TIME_COLUMN: usize = 110;
const NOTE_GAP: usize = 8;
const LOOP_GAP: usize = 46;
const LETTER: usize = 7;

/// Where a text beside a column stands.
struct Beside {
    x: usize,
    anchor: &'static str,
    /// Where it ends on the right.
    end: usize,
}

/// To the right of a column where it has room there, else to the left where it does not reach the times, else to the right
/// all the same.
fn beside((x, gap): (usize, usize), text: &Printable, columns: usize) -> Beside {
    let length = text.chars().count() * LETTER;
    let right = x + gap + length;
    if right > columns && x >= TIME_COLUMN + NOTE_GAP + length {
        Beside { x: x - NOTE_GAP, anchor: "end", end: x - NOTE_GAP }
    } else {
        Beside { x: x + gap, anchor: "start", end: right }
    }
}

/// Draws an arrow into a picture: at the height `y`, from column to column or back to its own.
fn svg_arrow(out: &mut Picture, hop: &LadderHop, (from, to): (usize, usize), y: usize, columns: usize) {
    let failed = hop.status.is_some_and(|s| s >= 400 && !matches!(s, 401 | 407));
    let colour = if failed { "#c00" } else { "#000" };
    let (arrow, words, anchor) = if from == to {
        let at = beside((from, LOOP_GAP), &hop.label(), columns);
        let path = Element::new("path").set("d", format_args!("M{from} {} h36 v12 h-36", y - 8));
        (path.set("fill", "none"), svg::text(at.x, y + 2, &hop.label()), at.anchor)
    } else {
        let words = svg::text(usize::midpoint(from, to), y - 5, &hop.label());
        (svg::line(from, y, to, y), words, "middle")
    };
    out.line([arrow.set("stroke", colour).set("marker-end", svg::ARROW)]);
    out.line([words.set("text-anchor", anchor).set("fill", colour)]);
}
