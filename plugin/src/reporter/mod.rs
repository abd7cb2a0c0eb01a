//! Reporters: functions of an event, what they remember, and a place to write to. They know nothing but the events, so
//! what they show is what any other program can show.

mod json;
mod plain;
mod terminal;
mod words;

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use clearwater::event::Event;

use crate::error::CliError;

pub(crate) use words::{BAD, DIM, GOOD, WARN, changes, changes_in_full, line as text, plain, summary, waiting};

/// A format for the events of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventFormat {
    /// One event a line, as JSON.
    Json,
}

/// Shows a run.
pub(crate) trait Reporter {
    /// Shows an event.
    fn event(&mut self, event: &Event) -> Result<(), CliError>;

    /// Clears the screen of what moves, for a question or for the end.
    fn rest(&mut self);
}

/// The reporter for a run: JSON where it was asked for, a redrawn display on a terminal, else lines.
pub(crate) fn choose(format: Option<EventFormat>) -> Box<dyn Reporter> {
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb") || std::env::var_os("CI").is_some();
    match format {
        Some(EventFormat::Json) => Box::new(json::Json::new(io::stdout())),
        None if io::stderr().is_terminal() && !dumb => Box::new(terminal::Terminal::new()),
        None => Box::new(plain::Plain::new(anstream::stderr())),
    }
}

/// Writes a line, letting go of what cannot be written: nobody has to read progress.
pub(crate) fn line(out: &mut impl Write, text: &str) {
    let _ = writeln!(out, "{text}");
}
