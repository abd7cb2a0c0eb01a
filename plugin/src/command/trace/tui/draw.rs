//! The screen, drawn: nothing but what the state holds decides what is seen.

use anstyle::AnsiColor;
use clearwater::log::{DialogOutcome, LadderStep};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::super::table::{self, HEAD, cells};
use super::areas::Areas;
use super::flow::Flow;
use super::list::List;
use super::state::{State, View};
use super::text::{Page, cut, fitted, worded, wrapped};

/// The bars above and below, and the line that is looked at.
const BAR: Style = Style::new().add_modifier(Modifier::REVERSED);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws everything.
pub(super) fn draw(state: &State, frame: &mut Frame<'_>) {
    let (mut painter, size) = (Painter(frame), state.size);
    let areas = match state.views.last() {
        None => {
            let areas = Areas::of_list(size);
            painter.list(&state.list, areas, state.is_reading);
            areas
        }
        Some(View::Flow(flow)) => {
            let areas = Areas::of_flow(size, flow);
            painter.flow(flow, areas);
            areas
        }
        Some(View::Page(page, _)) => {
            let areas = Areas::of_page(size);
            painter.page(page, areas.body);
            areas
        }
    };
    painter.title(state, areas.title);
    painter.foot(state, areas.foot);
    painter.keys(state.keys(), areas.keys);
}

struct Painter<'p, 'f>(&'p mut Frame<'f>);

impl Painter<'_, '_> {
    /// Writes a line of an area, as far as there is one.
    fn line<'l>(&mut self, line: impl Into<Line<'l>>, area: Rect, row: usize) {
        let Ok(row) = u16::try_from(row) else { return };
        if row < area.height {
            let place = Rect { y: area.y + row, height: 1, ..area }.intersection(self.0.area());
            let line: Line<'l> = line.into();
            self.0.render_widget(line, place);
        }
    }

    fn title(&mut self, state: &State, area: Rect) {
        let mut right = match state.views.last() {
            None => state.list.summary(),
            Some(View::Flow(flow)) => flow.progress(),
            Some(View::Page(page, _)) => page.progress(),
        };
        if state.is_reading {
            right += ", reading";
        }
        let what = match state.views.last() {
            None => format!("trace {}", state.place),
            Some(View::Flow(flow)) => flow.title(),
            Some(View::Page(page, _)) => page.title.clone(),
        };
        let room = usize::from(area.width);
        let right = cut(&right, room.saturating_sub(2));
        let right_columns = Span::raw(right.as_str()).width() + 2;
        let left = fitted(&format!(" {what}"), room.saturating_sub(right_columns));
        self.line(Line::styled(format!("{left} {right} "), BAR), area, 0);
    }

    /// What is typed, or said, or what the view tells of itself.
    fn foot(&mut self, state: &State, area: Rect) {
        let columns = usize::from(area.width);
        if let Some(prompt) = &state.prompt {
            let question = prompt.question();
            // Of a long text the end is seen, where one types.
            let room = columns.saturating_sub(Span::raw(question).width() + 1);
            let shown = wrapped_end(&prompt.text, room);
            let width = Span::raw(question).width() + Span::raw(shown.as_str()).width();
            self.line(Line::from(vec![Span::styled(question, BOLD), Span::raw(shown)]), area, 0);
            if area.height > 0 && width < columns {
                let width = u16::try_from(width).unwrap_or(u16::MAX);
                self.0.set_cursor_position((area.x.saturating_add(width), area.y));
            }
            return;
        }
        let words: Vec<String> = if state.notice.is_empty() {
            match state.views.last() {
                None => state
                    .list
                    .at()
                    .map(|dialog| cells(dialog, true))
                    .map(|cells| {
                        let [began, ending, _, _, method, _, duration, call_id] = cells;
                        format!("{call_id}  {method} at {began}, {duration}: {ending}")
                    })
                    .into_iter()
                    .collect(),
                Some(View::Flow(flow)) => flow.words(),
                Some(View::Page(..)) => Vec::new(),
            }
        } else {
            vec![state.notice.clone()]
        };
        let lines: Vec<_> = words.iter().flat_map(|words| worded(words, columns)).collect();
        let height = usize::from(area.height);
        for (row, line) in lines.iter().take(height).enumerate() {
            let is_cut = row + 1 == height && lines.len() > height;
            let line = if is_cut { cut(&format!("{line} …"), columns) } else { (*line).to_owned() };
            self.line(line, area, row);
        }
    }

    fn keys(&mut self, keys: &[(&str, &str)], area: Rect) {
        let columns = usize::from(area.width);
        let mut line = Line::default();
        for (key, deed) in keys {
            let spans = [Span::styled(format!(" {key} "), BOLD), Span::styled(format!("{deed} "), BAR)];
            if line.width() + spans.iter().map(Span::width).sum::<usize>() > columns {
                break;
            }
            line.spans.extend(spans);
        }
        self.line(line, area, 0);
    }

    fn list(&mut self, list: &List, areas: Areas, is_reading: bool) {
        let widths = widths(areas.body.width.into(), list.has_days());
        let line = |mark: &str, cells: [&str; 8]| -> Vec<String> {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| fitted(cell, *width) + " ");
            std::iter::once(fitted(mark, MARK)).chain(cells).collect()
        };
        self.line(Line::styled(line("", HEAD).concat(), BOLD), areas.head, 0);
        for (row, shown) in list.rows().enumerate() {
            let cells = cells(shown.dialog, list.has_days());
            let mark = if shown.is_marked { "*" } else { "" };
            let cells = line(mark, cells.each_ref().map(String::as_str));
            let style = if shown.is_at { BAR } else { Style::new() };
            let spans = cells.into_iter().enumerate().map(|(n, cell)| match n {
                // The mark, when it began, and how it ended.
                0 => Span::styled(cell, BOLD),
                2 if !shown.is_at => Span::styled(cell, colour(shown.dialog.outcome())),
                _ => Span::raw(cell),
            });
            self.line(Line::from(spans.collect::<Vec<_>>()).style(style), areas.body, row);
        }
        if list.is_empty() {
            let why = if is_reading {
                "no call, registration or message yet"
            } else {
                "no call, registration or message is in these logs"
            };
            self.line(Line::styled(format!("  {why}"), DIM), areas.body, 0);
        } else if list.rows().next().is_none() {
            self.line(
                Line::styled("  none of them is shown: Esc takes the filter away, F7 shows all", DIM),
                areas.body,
                0,
            );
        }
    }

    fn flow(&mut self, flow: &Flow, areas: Areas) {
        self.line(Line::styled(flow.names(), BOLD), areas.head, 0);
        for (row, (text, step, is_at)) in flow.rows().enumerate() {
            let style = match step {
                _ if is_at => BAR,
                Some(LadderStep::Note(_)) if step.is_some_and(|step| flow.is_grave(step)) => Color::Red.into(),
                Some(LadderStep::Note(_)) | None => DIM,
                Some(LadderStep::Hop(_)) => step.and_then(|step| flow.status(step)).map_or(BOLD, of_status),
            };
            let text = if is_at { fitted(&text, areas.body.width.into()) } else { text };
            self.line(Line::styled(text, style), areas.body, row);
        }
        self.panel(flow, areas.panel);
    }

    /// The message that is looked at: beside the drawing, or below it.
    fn panel(&mut self, flow: &Flow, area: Rect) {
        if area.is_empty() {
            return;
        }
        let inner = if area.x > 0 {
            for row in 0..usize::from(area.height) {
                self.line(Line::styled("│", DIM), area, row);
            }
            Rect { x: area.x + 1, width: area.width - 1, ..area }
        } else {
            self.line(Line::styled("─".repeat(area.width.into()), DIM), area, 0);
            Rect { y: area.y + 1, height: area.height - 1, ..area }
        };
        let Some((title, lines)) = flow.message() else { return };
        let columns = usize::from(inner.width);
        let title = worded(&title, columns).into_iter().map(|part| Line::styled(part.to_owned(), BOLD));
        let lines = lines.iter().flat_map(|line| worded(line, columns)).map(|part| Line::raw(part.to_owned()));
        let all: Vec<_> = title.chain(lines).collect();
        let (height, count) = (usize::from(inner.height), all.len());
        for (row, line) in all.into_iter().take(height).enumerate() {
            let is_cut = row + 1 == height && count > height;
            let line = if is_cut { Line::styled(cut("… Enter shows all of it", columns), DIM) } else { line };
            self.line(line, inner, row);
        }
    }

    fn page(&mut self, page: &Page, area: Rect) {
        for (row, line) in page.seen().iter().enumerate() {
            self.line(line.as_str(), area, row);
        }
    }
}

/// The end of a text, as much as goes into so many columns.
fn wrapped_end(text: &str, columns: usize) -> String {
    let backwards: String = text.chars().rev().collect();
    wrapped(&backwards, columns).first().map_or_else(String::new, |end| end.chars().rev().collect())
}

/// The column of marks.
const MARK: usize = 2;
/// How wide the columns are at least, and which of them take how many parts of what is left. Those that have no room are left out.
const LEAST: [usize; 8] = [12, 16, 14, 14, 8, 6, 9, 12];
const GROWS: [usize; 8] = [0, 1, 2, 2, 0, 0, 0, 1];
/// How wide the first is with the date.
const WITH_DATE: usize = 23;

/// The widths of the columns that have room.
fn widths(columns: usize, has_days: bool) -> Vec<usize> {
    let mut used = MARK;
    let least = LEAST.iter().enumerate().map(|(n, width)| if n == 0 && has_days { WITH_DATE } else { *width });
    let fits = |width: &usize| {
        used += width + 1;
        used <= columns
    };
    let mut widths: Vec<usize> = least.take_while(fits).collect();
    let taken = MARK + widths.iter().map(|width| width + 1).sum::<usize>();
    let parts = GROWS.iter().take(widths.len()).sum();
    let part = columns.saturating_sub(taken).checked_div(parts).unwrap_or(0);
    for (width, parts) in widths.iter_mut().zip(GROWS) {
        *width += part * parts;
    }
    // The last takes what cannot be shared.
    let taken = MARK + widths.iter().map(|width| width + 1).sum::<usize>();
    if let Some(last) = widths.last_mut() {
        *last += columns.saturating_sub(taken);
    }
    widths
}

/// As the list on the command line has it.
fn colour(outcome: DialogOutcome) -> Style {
    let colour = match table::style(outcome).get_fg_color() {
        Some(anstyle::Color::Ansi(AnsiColor::Green)) => Color::Green,
        Some(anstyle::Color::Ansi(AnsiColor::Red)) => Color::Red,
        _ => return Style::new(),
    };
    colour.into()
}

/// The colour of an answer. A challenge is no failure.
fn of_status(status: u16) -> Style {
    match status / 100 {
        2 => Color::Green.into(),
        3 => Color::Yellow.into(),
        4.. if !matches!(status, 401 | 407) => Color::Red.into(),
        _ => Style::new(),
    }
}
