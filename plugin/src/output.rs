use std::fmt::{self, Display};
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use clearwater::text::printable;
use serde::Serialize;

use crate::awaited::Written;
use crate::error::CliError;

/// A format that programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // Documented variants would take six lines of each help page to say nothing.
    Yaml,
    Json,
}

/// Standard output: results, and nothing else. What is written is kept until [`Results::flush`] or a large amount.
#[derive(Debug)]
pub(crate) struct Results(io::BufWriter<io::Stdout>, Written);

/// What is written at once, in bytes.
const LARGE: usize = 64 * 1024;

impl Results {
    pub(crate) fn new() -> Self {
        Self(io::BufWriter::with_capacity(LARGE, io::stdout()), Written::default())
    }

    /// How much was written so far.
    pub(crate) fn written(&self) -> Written {
        self.1.clone()
    }

    /// Writes text as it is.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), CliError> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.1.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(self.0.write_all(bytes)?)
    }

    /// Writes text with colours, which only a terminal gets to see.
    pub(crate) fn styled(&mut self, text: &str) -> Result<(), CliError> {
        let painted = self.painted(text);
        self.text(&painted)
    }

    /// The text with its colours, or without where none are to be seen.
    pub(crate) fn painted(&self, text: &str) -> String {
        match AutoStream::choice(self.0.get_ref()) {
            anstream::ColorChoice::Never => anstream::adapter::strip_str(text).to_string(),
            _ => text.to_owned(),
        }
    }

    /// Writes a value in a format that programs read.
    pub(crate) fn value<T: Serialize>(&mut self, format: Format, value: &T) -> Result<(), CliError> {
        let text = match format {
            Format::Yaml => clearwater::yaml::write_one(value)?,
            Format::Json => serde_json::to_string_pretty(value)? + "\n",
        };
        self.text(&text)
    }

    /// Writes one of many values, as they come: JSON a line, YAML after a mark.
    pub(crate) fn one_of_many<T: Serialize>(&mut self, format: Format, value: &T) -> Result<(), CliError> {
        let text = match format {
            Format::Yaml => format!("---\n{}", clearwater::yaml::write_one(value)?),
            Format::Json => serde_json::to_string(value)? + "\n",
        };
        self.text(&text)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Standard error: what is said beside the result. Nobody has to listen, so failures to write are let go. It may quote what
/// others wrote: what a terminal would obey is shown.
#[derive(Debug)]
pub(crate) struct Talk(Ear);

/// Who hears what is said.
#[derive(Debug)]
enum Ear {
    Stderr(AutoStream<io::Stderr>),
    /// Whoever has the terminal, and says it where and when there is room.
    Other(Sender<Word>),
}

/// A line that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// What it is, where it is more than a line.
    tag: Option<(Style, &'static str)>,
    /// The line, of characters that are only seen.
    text: String,
}

impl Word {
    /// A line as it is.
    fn line(text: &str) -> Self {
        Self { tag: None, text: printable(text).into_owned() }
    }

    /// What is worth knowing.
    pub(crate) fn note(text: &str) -> Self {
        Self { tag: Some((NOTE, "note")), text: printable(text).into_owned() }
    }

    /// Whether it is no more than a line: no note, warning or error.
    pub(crate) fn is_line(&self) -> bool {
        self.tag.is_none()
    }

    /// Without colours.
    pub(crate) fn plain(&self) -> String {
        self.tag.map_or_else(|| self.text.clone(), |(_, tag)| format!("{tag}: {}", self.text))
    }
}

impl Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tag {
            Some((style, tag)) => write!(f, "{style}{tag}:{style:#} {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default().bold();

impl Talk {
    pub(crate) fn new() -> Self {
        Self(Ear::Stderr(anstream::stderr()))
    }

    /// One that is heard by whoever has the terminal.
    pub(crate) fn heard_by(other: Sender<Word>) -> Self {
        Self(Ear::Other(other))
    }

    /// Says why there is no result.
    pub(crate) fn error(&mut self, text: impl Display) {
        self.tagged(ERROR, "error", text);
    }

    /// Says what is likely not meant.
    pub(crate) fn warning(&mut self, text: impl Display) {
        self.tagged(WARNING, "warning", text);
    }

    /// Says what is worth knowing.
    pub(crate) fn note(&mut self, text: impl Display) {
        self.tagged(NOTE, "note", text);
    }

    /// Says something as it is.
    pub(crate) fn line(&mut self, text: impl Display) {
        self.say(Word::line(&text.to_string()));
    }

    /// Says a line.
    pub(crate) fn say(&mut self, word: Word) {
        match &mut self.0 {
            Ear::Stderr(out) => {
                let _ = writeln!(out, "{word}");
            }
            Ear::Other(other) => {
                let _ = other.send(word);
            }
        }
    }

    fn tagged(&mut self, style: Style, tag: &'static str, text: impl Display) {
        for line in text.to_string().lines() {
            self.say(Word { tag: Some((style, tag)), text: printable(line).into_owned() });
        }
    }
}
