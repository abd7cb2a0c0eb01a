use std::io::Write;

use clearwater::event::{Event, EventKind};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plain::Times;
use super::{Reporter, line, words};
use crate::duration::seconds;
use crate::error::CliError;

/// A line a component, redrawn in place; what stays is printed above.
///
/// The lines come with the first news of a component and go for a question. They change with events only, which come
/// once a second at most for each component: nothing spins.
pub(super) struct Terminal {
    bars: MultiProgress,
    rows: Vec<Row>,
    times: Times,
    style: ProgressStyle,
}

struct Row {
    component: String,
    /// Since its gates are open; empty before.
    time: String,
    text: String,
    done: bool,
    bar: Option<ProgressBar>,
}

impl Row {
    fn draw(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{:>8}  {}", self.time, self.text));
            bar.tick();
        }
    }
}

impl Terminal {
    pub(super) fn new() -> Self {
        Self {
            // Four times a second is calm and quick enough.
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(4)),
            rows: Vec::new(),
            times: Times::default(),
            style: ProgressStyle::default_spinner(),
        }
    }

    fn say(&self, text: &str) {
        self.bars.suspend(|| line(&mut anstream::stderr(), text));
    }

    fn row(&mut self, component: &str) -> Option<&mut Row> {
        self.rows.iter_mut().find(|r| r.component == component)
    }

    /// Puts the rows on the screen where they are not.
    fn show(&mut self) {
        for row in &mut self.rows {
            if row.bar.is_none() {
                let bar = ProgressBar::new_spinner().with_style(self.style.clone()).with_prefix(row.component.clone());
                row.bar = Some(self.bars.add(bar));
                row.draw();
            }
        }
    }

    fn start(&mut self, components: impl Iterator<Item = String>) {
        self.rows = components
            .map(|component| Row { component, time: String::new(), text: String::new(), done: false, bar: None })
            .collect();
        let width = self.rows.iter().map(|r| r.component.len()).max().unwrap_or(0);
        if let Ok(style) = ProgressStyle::with_template(&format!("{{prefix:{width}}}{{wide_msg}}")) {
            self.style = style;
        }
    }

    /// What a component's row tells from now on.
    fn set(&mut self, component: &str, text: String, done: bool) {
        self.show();
        if let Some(row) = self.row(component) {
            row.text = text;
            row.done = done;
            row.draw();
        }
    }

    fn finish(&mut self, well: bool) {
        for row in &mut self.rows {
            if let Some(bar) = row.bar.take() {
                // What came to its end is told by the table; where something did not, the rows say how far all are.
                if well { bar.finish_and_clear() } else { bar.abandon() }
            }
        }
    }
}

fn styled(text: &str) -> String {
    // Without colours the codes are stripped before they reach the terminal.
    let mut out = anstream::AutoStream::new(Vec::new(), anstream::AutoStream::choice(&std::io::stderr()));
    let _ = out.write_all(text.as_bytes());
    String::from_utf8(out.into_inner()).unwrap_or_default()
}

impl Reporter for Terminal {
    fn event(&mut self, event: &Event) -> Result<(), CliError> {
        self.times.take(&event.what);
        match &event.what {
            EventKind::RunStarted { components, .. } => {
                self.start(components.iter().map(|c| c.component.clone()));
                if let Some(text) = words::line(&event.what) {
                    self.say(&text);
                }
            }
            EventKind::RunFinished { .. } => {
                let well = self.rows.iter().all(|r| r.done);
                self.finish(well);
                for text in self.times.table() {
                    line(&mut anstream::stderr(), &text);
                }
                if let Some(text) = words::line(&event.what) {
                    line(&mut anstream::stderr(), &text);
                }
            }
            EventKind::Progress { component, took, .. } => {
                if let Some(row) = self.row(component).filter(|r| !r.done) {
                    row.time = seconds(*took);
                    row.draw();
                }
            }
            EventKind::StepsPlanned { .. } | EventKind::StepEnded { .. } | EventKind::RolledOut { .. } => {
                if let Some(text) = words::line(&event.what) {
                    self.say(&text);
                }
            }
            EventKind::Failed { component, .. } => {
                self.set(component, styled(&format!("{0}failed{0:#}", words::BAD)), false);
                if let Some(text) = words::line(&event.what) {
                    self.say(&text);
                }
            }
            what => {
                let Some(text) = words::line(what) else { return Ok(()) };
                let of_row = |what: &EventKind| !matches!(what, EventKind::Repaired { .. } | EventKind::Asked { .. });
                let row = what.component().filter(|c| of_row(what) && self.rows.iter().any(|r| r.component == *c));
                let Some(component) = row.map(str::to_owned) else {
                    self.say(&text);
                    return Ok(());
                };
                if let EventKind::Serving { durations, .. } = what
                    && let Some(row) = self.row(&component)
                {
                    row.time = seconds(durations.own());
                }
                let done = matches!(
                    what,
                    EventKind::Serving { .. }
                        | EventKind::Scaled { .. }
                        | EventKind::Skipped { .. }
                        | EventKind::Removed { .. }
                );
                let own = words::without_name(&text, &component);
                let first = own.lines().next().unwrap_or_default().to_owned();
                for rest in own.lines().skip(1) {
                    self.say(&format!("{component}:{rest}"));
                }
                self.set(&component, styled(&first), done);
            }
        }
        Ok(())
    }

    fn rest(&mut self) {
        for row in &mut self.rows {
            if let Some(bar) = row.bar.take() {
                bar.finish_and_clear();
                self.bars.remove(&bar);
            }
        }
    }
}
