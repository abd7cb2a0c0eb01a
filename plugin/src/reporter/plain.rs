use std::collections::BTreeMap;
use std::io::Write;

use clearwater::event::{Durations, Event, EventKind};

use super::{Reporter, line, words};
use crate::duration::time;
use crate::error::CliError;

/// A line an event, with the time since the run began.
pub(super) struct Plain<W> {
    out: W,
    times: Times,
}

impl<W: Write> Plain<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, times: Times::default() }
    }
}

impl<W: Write> Reporter for Plain<W> {
    fn event(&mut self, event: &Event) -> Result<(), CliError> {
        self.times.take(&event.what);
        if event.what.is_last() {
            for text in self.times.table() {
                line(&mut self.out, &text);
            }
        }
        if let Some(text) = words::line(&event.what) {
            let dim = words::DIM;
            line(&mut self.out, &format!("{dim}{:>9}{dim:#} {text}", time(event.elapsed)));
        }
        Ok(())
    }

    fn rest(&mut self) {
        let _ = self.out.flush();
    }
}

/// Where the time went, for the table at the end.
#[derive(Default)]
pub(super) struct Times(BTreeMap<String, Durations>, bool);

impl Times {
    pub(super) fn take(&mut self, what: &EventKind) {
        match what {
            EventKind::Serving { component, durations, .. } => {
                self.0.entry(component.clone()).or_insert_with(|| durations.clone());
            }
            EventKind::Applied { created, changed, .. } => self.1 |= created + changed > 0,
            _ => {}
        }
    }

    /// The table; nothing where nothing was started.
    pub(super) fn table(&self) -> Vec<String> {
        if !self.1 {
            return Vec::new();
        }
        let mut rows: Vec<(&String, &Durations)> = self.0.iter().collect();
        rows.sort_by_key(|(_, d)| d.total());
        let titles = ["waiting", "making", "pulling", "held", "starting", "settling", "served at"];
        let line = |name: &str, cells: [String; 7]| {
            let [parts @ .., whole] = cells;
            let parts: Vec<String> = parts.iter().map(|cell| format!("{cell:>9}")).collect();
            format!("{name:<15}{}{whole:>10}", parts.concat())
        };
        let mut table = vec![line("component", titles.map(str::to_owned))];
        for (name, d) in rows {
            let [making, pulling] = [d.early.making + d.applying, d.early.pulling + d.pulling];
            table.push(line(
                name,
                [d.idle(), making, pulling, d.early.held, d.starting, d.settling, d.total()].map(time),
            ));
        }
        table
    }
}
