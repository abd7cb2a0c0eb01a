//! A ladder as text, as a Mermaid diagram and as a picture.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{Ladder, LadderHop, LadderNote, Step};
use crate::log::Level;
use crate::svg::{self, Element, Picture};
use crate::text::Printable;

/// A line of a ladder's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LadderLine {
    /// The line, without its end.
    pub text: String,
    /// What it shows; nothing where it has the names of the columns, or begins a day.
    pub step: Option<LadderStep>,
}

/// What a line of a ladder shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LadderStep {
    /// A message, by its place in [`Ladder::hops`].
    Hop(usize),
    /// What was logged between messages, by its place in [`Ladder::notes`].
    Note(usize),
}

/// The columns of a text: each line begins as the same one, in which an arrow or a note takes the place of a part.
struct Columns<'l> {
    places: HashMap<&'l str, usize>,
    width: usize,
    blank: String,
    /// How long a line may be, the time not counted.
    room: usize,
}

const BAR: char = '│';

/// The longest name of a column that is written out, in letters.
const LONGEST_NAME: usize = 80;
/// The least width of a column: an arrow with a status still goes into it.
const LEAST_COLUMN: usize = 10;
/// How many letters of a note say something.
const FEW_WORDS: usize = 40;
/// What stands before the columns: the time.
const TIME: usize = 14;

/// The text, or as much of it as goes into the room, with a mark that it was cut.
fn cut(text: &str, room: usize) -> Cow<'_, str> {
    if text.chars().count() <= room {
        return Cow::Borrowed(text);
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    Cow::Owned(kept + if room == 0 { "" } else { "…" })
}

impl<'l> Columns<'l> {
    /// As wide as the names ask for, or narrower, so that all go into a screen.
    fn new(lanes: &'l [Printable], screen: Option<usize>) -> Self {
        let longest = lanes.iter().map(|l| l.chars().count()).max().unwrap_or(0);
        let room = screen.map_or(usize::MAX, |screen| screen.saturating_sub(TIME));
        let width = (longest.clamp(20, LONGEST_NAME) + 4).min(room / lanes.len().max(1)).max(LEAST_COLUMN);
        let half = " ".repeat(width / 2);
        let rest = " ".repeat(width - width / 2 - 1);
        let blank = format!("{half}{BAR}{rest}").repeat(lanes.len());
        Self { places: places(lanes), width, blank, room }
    }

    /// Where the line of a column stands, in letters.
    fn at(&self, lane: &Printable) -> usize {
        self.places.get(lane.as_str()).copied().unwrap_or(0) * self.width + self.width / 2
    }

    /// The blank line from one letter to another.
    fn part(&self, from: usize, to: usize) -> &str {
        // Before a letter stand the bars of the columns on its left, each longer than a letter by the same.
        let byte = |letter: usize| {
            let bars = (letter + self.width - self.width / 2 - 1) / self.width;
            (letter + bars * (BAR.len_utf8() - 1)).min(self.blank.len())
        };
        self.blank.get(byte(from)..byte(to)).unwrap_or_default()
    }

    fn letters(&self) -> usize {
        self.places.len() * self.width
    }

    /// Writes what stands in one line.
    fn step(&self, step: &Step<'_>, line: &mut String) {
        match step {
            Step::Hop(hop) if hop.from == hop.to => {
                let from = self.at(&hop.from);
                let room = self.letters() - from;
                let label = hop.label();
                let label = cut(&label, self.room.saturating_sub(from + 2));
                let before = line.len();
                line.push_str(self.part(0, from));
                line.extend("↺ ".chars().chain(label.chars()).chain([' ']));
                let written = label.chars().count() + 3;
                if written < room {
                    line.push_str(self.part(from + written, self.letters()));
                }
                line.truncate(before + line[before..].trim_end().len());
            }
            Step::Hop(hop) => {
                let (a, b) = (self.at(&hop.from), self.at(&hop.to));
                let (low, high) = (a.min(b), a.max(b));
                line.push_str(self.part(0, low + 1));
                arrow(line, hop, high - low - 1, b > a);
                line.push_str(self.part(high, self.letters()).trim_end());
            }
            Step::Note(note) => self.note(note, line),
        }
    }
}

impl Columns<'_> {
    /// Writes a note: to the right of its column, or to the left where only that has room for a few words.
    fn note(&self, note: &LadderNote, line: &mut String) {
        let at = self.at(&note.lane);
        let (left, right) = (at.saturating_sub(1), self.room.saturating_sub(at + 2));
        let words = note.words();
        let words = words.trim_end();
        let is_left = right < left.min(FEW_WORDS) && words.chars().count() > right;
        if !is_left {
            line.push_str(self.part(0, at));
            let _ = write!(line, "● {}", cut(words, right));
            return;
        }
        let words = cut(words, left);
        line.push_str(self.part(0, left - words.chars().count()));
        let _ = write!(line, "{words} ●");
        line.push_str(self.part(at + 1, self.letters()).trim_end());
    }
}

/// Writes an arrow of so many letters, with its label in the middle.
fn arrow(line: &mut String, hop: &LadderHop, length: usize, is_right: bool) {
    let room = length.saturating_sub(3);
    // The reason of an answer can be seen from its number; what it is to can not.
    let mut labels = vec![hop.label().to_string()];
    if let (Some(status), Some(method)) = (hop.status, hop.cseq.split_ascii_whitespace().nth(1)) {
        labels.extend([format!("{status} ({method})"), format!("{status} {method}")]);
    } else {
        labels.push(hop.text.to_string());
    }
    let fitting = labels.iter().find(|label| label.chars().count() <= room).or(labels.last());
    let label = cut(fitting.map_or("", String::as_str), room.max(1));
    let letters = label.chars().count();
    let before = 1 + (room - letters) / 2;
    let dashes = |line: &mut String, n: usize| line.extend(std::iter::repeat_n('─', n));
    line.push(if is_right { '─' } else { '◀' });
    dashes(line, before - 1);
    line.push_str(&label);
    dashes(line, length - before - letters - 1);
    line.push(if is_right { '▶' } else { '─' });
}

fn places(lanes: &[Printable]) -> HashMap<&str, usize> {
    lanes.iter().enumerate().map(|(n, lane)| (lane.as_str(), n)).collect()
}

/// Tells where a day begins, in a ladder of several.
struct Days {
    are_told: bool,
    last: Option<Date>,
}

impl Days {
    /// The day of this time, where it is another than that of the time before.
    fn begun(&mut self, time: Timestamp) -> Option<String> {
        let day = self.are_told.then(|| day(time)).filter(|day| self.last != Some(*day));
        self.last = day.or(self.last);
        day.map(|day| day.to_string())
    }
}

fn day(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

impl Ladder {
    /// Its days are told where there are several.
    fn days(&self) -> Days {
        let mut all = self.steps().map(|step| day(step.time()));
        let first = all.next();
        Days { are_told: all.any(|day| Some(day) != first), last: None }
    }

    /// How many letters a line of its text needs at least; in fewer it is not drawn.
    pub fn least_width(&self) -> usize {
        TIME + self.lanes.len() * LEAST_COLUMN
    }

    /// As text, in lines of so many letters where that is asked for, but no fewer than [`least_width`](Self::least_width).
    pub fn text(&self, width: Option<usize>) -> String {
        let mut out = String::new();
        let Ok(()) = self.text_lines(width, |line| {
            out.push_str(line);
            Ok::<_, Infallible>(())
        });
        out
    }

    /// The same, line by line: a long one needs no room.
    ///
    /// # Errors
    /// That of `write`.
    pub fn text_lines<E>(&self, width: Option<usize>, mut write: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        self.each_line(width, |line, _| {
            line.push('\n');
            write(line.as_str())
        })
    }

    /// The same as a list, without line ends and each with what it shows. The first has the names of the columns.
    pub fn lines(&self, width: Option<usize>) -> Vec<LadderLine> {
        let mut lines = Vec::with_capacity(self.hops.len() + self.notes.len() + 1);
        let Ok(()) = self.each_line(width, |line, step| {
            lines.push(LadderLine { text: line.clone(), step });
            Ok::<_, Infallible>(())
        });
        lines
    }

    fn each_line<E>(
        &self,
        width: Option<usize>,
        mut write: impl FnMut(&mut String, Option<LadderStep>) -> Result<(), E>,
    ) -> Result<(), E> {
        let columns = Columns::new(&self.lanes, width);
        let mut line = " ".repeat(TIME);
        for lane in &self.lanes {
            let name = cut(lane, LONGEST_NAME.min(columns.width - 1));
            let _ = write!(line, "{name:^width$}", width = columns.width);
        }
        line.truncate(line.trim_end().len());
        write(&mut line, None)?;
        let mut days = self.days();
        let (mut hops, mut notes) = (0.., 0..);
        for step in self.steps() {
            line.clear();
            if let Some(day) = days.begun(step.time()) {
                let _ = write!(line, "{day:TIME$}{}", columns.blank.trim_end());
                write(&mut line, None)?;
                line.clear();
            }
            let _ = write!(line, "{}  ", step.time().strftime("%H:%M:%S%.3f"));
            columns.step(&step, &mut line);
            let step = match step {
                Step::Hop(_) => hops.next().map(LadderStep::Hop),
                Step::Note(_) => notes.next().map(LadderStep::Note),
            };
            write(&mut line, step)?;
        }
        Ok(())
    }

    /// The whole text of each message that was kept ([`Sketch::with_messages`](super::Sketch::with_messages)), line by line.
    ///
    /// # Errors
    /// That of `write`.
    pub fn message_lines<E>(&self, mut write: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let form = if self.days().are_told { "%Y-%m-%d %H:%M:%S%.3f" } else { "%H:%M:%S%.3f" };
        for hop in &self.hops {
            if hop.message.is_none() {
                continue;
            }
            let time = hop.time.strftime(form);
            let to = if hop.function.is_some() { "inside" } else { hop.to.as_str() };
            write(&format!("\n{time}  {} → {to}: {}\n", hop.from, hop.label()))?;
            for line in hop.lines() {
                write(&format!("{}\n", format!("    {line}").trim_end()))?;
            }
        }
        Ok(())
    }

    /// As a Mermaid sequence diagram.
    pub fn mermaid(&self) -> String {
        let mut out = String::from("sequenceDiagram\n");
        for (n, lane) in self.lanes.iter().enumerate() {
            let _ = writeln!(out, "  participant p{n} as {}", entities(lane));
        }
        let places = places(&self.lanes);
        let number = |lane: &Printable| places.get(lane.as_str()).copied().unwrap_or(0);
        let mut days = self.days();
        for step in self.steps() {
            if let Some(day) = days.begun(step.time()) {
                let over = if self.lanes.len() > 1 { format!("p0,p{}", self.lanes.len() - 1) } else { "p0".to_owned() };
                let _ = writeln!(out, "  Note over {over}: {day}");
            }
            let _ = match step {
                Step::Hop(hop) => {
                    let arrow = if hop.status.is_some() { "-->>" } else { "->>" };
                    writeln!(out, "  p{}{arrow}p{}: {}", number(&hop.from), number(&hop.to), entities(&hop.label()))
                }
                Step::Note(note) => {
                    writeln!(out, "  Note over p{}: {}", number(&note.lane), entities(&note.words()))
                }
            };
        }
        out
    }

    /// As an SVG picture, for light and dark pages.
    pub fn svg(&self) -> String {
        let places = places(&self.lanes);
        let x = |lane: &Printable| places.get(lane.as_str()).copied().unwrap_or(0) * COLUMN + TIME_COLUMN + COLUMN / 2;
        let columns = self.lanes.len() * COLUMN + TIME_COLUMN;
        // What is written beside a column and has room on no side of it makes the picture wider.
        let needed = self.steps().map(|step| match step {
            Step::Note(note) => beside((x(&note.lane), NOTE_GAP), &cut(&note.words(), MOST_WORDS), columns),
            Step::Hop(hop) if hop.from == hop.to => {
                beside((x(&hop.from), LOOP_GAP), &cut(&hop.label(), MOST_WORDS), columns)
            }
            Step::Hop(_) => Beside { x: 0, anchor: "start", end: 0 },
        });
        let wide = needed.map(|b| b.end).max().unwrap_or(0).max(columns);
        let high = (self.hops.len() + self.notes.len()) * ROW + 80;
        let root = Element::new("svg").set("viewBox", format_args!("0 0 {wide} {high}"));
        let mut out = Picture::new(root.set("width", wide).set("height", high));
        out.line([Element::new("style").text(STYLE)]);
        out.line([svg::rect(0, 0, wide, high).set("class", "page")]);
        out.line([svg::arrow_head()]);
        for lane in &self.lanes {
            let x = x(lane);
            let name =
                svg::text(x, 24, &cut(lane, COLUMN / LETTER - 4)).set("text-anchor", "middle").set("class", "lane");
            out.line([name.with(&svg::title(self.whole_name(lane).unwrap_or(lane)))]);
            out.line([svg::line(x, 34, x, high - 10).set("class", "lane")]);
        }
        let mut days = self.days();
        for (n, step) in self.steps().enumerate() {
            let y = n * ROW + 64;
            if let Some(day) = days.begun(step.time()) {
                out.line([svg::text(8, y - 13, &day).set("class", "time")]);
            }
            let time = step.time().strftime("%H:%M:%S%.3f").to_string();
            out.line([svg::text(8, y, &time).set("class", "time")]);
            match step {
                Step::Note(note) => {
                    let x = x(&note.lane);
                    let class = if note.is_grave() { "grave" } else { "note" };
                    let (words, whole) = (note.words(), svg::title(&note.words()));
                    let words = cut(&words, MOST_WORDS);
                    let at = beside((x, NOTE_GAP), &words, columns);
                    out.line([Element::new("circle").set("cx", x).set("cy", y).set("r", 4).set("class", class)]);
                    let words = svg::text(at.x, y + 4, &words).set("text-anchor", at.anchor).set("class", class);
                    out.line([words.with(&whole)]);
                }
                Step::Hop(hop) => svg_arrow(&mut out, hop, (x(&hop.from), x(&hop.to)), y, columns),
            }
        }
        out.finish()
    }
}

/// How many letters of what is written beside a column a picture shows; a title has the rest.
const MOST_WORDS: usize = 100;
/// How far columns stand from each other, and rows.
const COLUMN: usize = 200;
const ROW: usize = 34;

/// What is written over the line of a column has the page's colour around it.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328;stroke:#fff;stroke-width:4px;paint-order:stroke;stroke-linejoin:round}\
.page{fill:#fff}text.lane{font-weight:bold}text.time{font-size:11px;fill:#59636e}\
line,path{stroke:#1f2328;fill:none}line.lane{stroke:#818b98}marker path{fill:#59636e;stroke:none}\
text.note,text.grave{font-size:11px}.note{fill:#0550ae}.grave{fill:#cf222e}\
.failed{stroke:#cf222e}text.failed{fill:#cf222e;stroke:#fff}\
@media(prefers-color-scheme:dark){\
.page{fill:#0d1117}text{fill:#f0f6fc;stroke:#0d1117}text.time{fill:#9198a1}\
line,path{stroke:#f0f6fc}line.lane{stroke:#656c76}marker path{fill:#9198a1;stroke:none}\
.note{fill:#79c0ff}.grave{fill:#ff7b72}\
.failed{stroke:#ff7b72}text.failed{fill:#ff7b72;stroke:#0d1117}}";

impl LadderNote {
    /// The line, with its level where that is grave.
    pub fn words(&self) -> Printable {
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
fn beside((x, gap): (usize, usize), text: &str, columns: usize) -> Beside {
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
    let class = if hop.status.is_some_and(|s| s >= 400 && !matches!(s, 401 | 407)) { "failed" } else { "message" };
    let label = hop.label();
    let (arrow, words, anchor) = if from == to {
        let words = cut(&label, MOST_WORDS);
        let at = beside((from, LOOP_GAP), &words, columns);
        (
            Element::new("path").set("d", format_args!("M{from} {} h36 v12 h-36", y - 8)),
            svg::text(at.x, y + 2, &words),
            at.anchor,
        )
    } else {
        let room = (from.abs_diff(to) - LETTER) / LETTER;
        let words = svg::text(usize::midpoint(from, to), y - 5, &cut(&label, room));
        (svg::line(from, y, to, y), words, "middle")
    };
    out.line([arrow.set("class", class).set("marker-end", svg::ARROW)]);
    out.line([words.set("text-anchor", anchor).set("class", class).with(&svg::title(&label))]);
}
