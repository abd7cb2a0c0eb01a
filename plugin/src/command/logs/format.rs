mod frame;
mod json;
mod stamp;
mod template;

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use clearwater::log::{Gap, Level};
use clearwater::text;
use clearwater_kube::logs::{LogEntry, LogOrigin, LogSource};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use regex::bytes::Regex;
use serde_json::json;

use frame::Frame;
use stamp::Second;
use template::{Field, Piece};

pub(super) use stamp::{Stamp, zone};
pub(super) use template::{Template, template};

use super::Filter;
use super::by_source::BySource;
use crate::error::CliError;

/// How records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    #[default]
    Default,
    Raw,
    Json,
    Extjson,
    Ppextjson,
    Typed,
}

impl Form {
    /// Whether what others wrote stands in it as JSON strings, which hold no controls of C0.
    const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Extjson | Self::Ppextjson | Self::Typed)
    }
}

/// When colour is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

/// What of a container a source is, in short.
fn origin(source: &LogSource) -> &str {
    match &source.origin {
        LogOrigin::Output => "stdout",
        LogOrigin::Previous => "previous",
        LogOrigin::File(path) => path,
        _ => "",
    }
}

/// A source by its full name.
pub(super) fn name(source: &LogSource) -> String {
    format!("{} › {} {}", source.pod, source.container, origin(source))
}

/// How a [`Printer`] writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    pub(crate) form: Form,
    pub(crate) template: Option<Template>,
    pub(crate) stamp: Option<Stamp>,
    /// A name of the time zone database, or `Local`.
    pub(crate) zone: String,
    pub(crate) colour: Colour,
    /// Give the containers of a pod colours of their own.
    pub(crate) by_container: bool,
    /// Write the namespace too, where a form has a place for it.
    pub(crate) namespaces: bool,
    /// Show what a terminal would obey instead of writing it.
    pub(crate) harmless: bool,
}

/// Writes records into a buffer of its own.
#[derive(Debug)]
pub(crate) struct Printer {
    look: Look,
    zone: TimeZone,
    colour: bool,
    highlight: Option<Regex>,
    buffer: Vec<u8>,
    second: Second,
    /// What of a line its source decides.
    frames: BySource<Frame>,
}

/// How grave a record is, as a colour: nothing below a warning has one.
fn style_of(level: Option<Level>) -> Style {
    match level {
        Some(Level::Error) => AnsiColor::Red.on_default(),
        Some(Level::Warning) => AnsiColor::Yellow.on_default(),
        Some(Level::Status | Level::Info | Level::Verbose | Level::Debug) | None => Style::new(),
    }
}

/// How a match is coloured: as stern does it.
const MATCH_BEGINS: &[u8] = b"\x1b[31;1m";
const MATCH_ENDS: &[u8] = b"\x1b[0;22m";

impl Printer {
    pub(crate) fn new(look: Look, filter: &Filter) -> Result<Self, CliError> {
        let colour = match look.colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        Ok(Self {
            zone: zone(&look.zone)?,
            look,
            colour,
            highlight: filter.highlight.clone().filter(|_| colour),
            buffer: Vec::new(),
            second: Second::default(),
            frames: BySource::default(),
        })
    }

    /// A record, ready to be written.
    pub(crate) fn record(&mut self, entry: &LogEntry) -> &[u8] {
        let mut out = std::mem::take(&mut self.buffer);
        out.clear();
        if let Some(template) = self.look.template.take() {
            self.templated(&mut out, &template, entry);
            self.look.template = Some(template);
        } else {
            self.formed(&mut out, entry);
            if self.look.harmless && self.look.form.is_json() {
                json::harmless(&mut out);
            }
        }
        self.buffer = out;
        &self.buffer
    }

    fn formed(&mut self, out: &mut Vec<u8>, entry: &LogEntry) {
        let Self { look, colour, second, frames, .. } = self;
        let frame = frames.get(&entry.source, |source| Frame::of(source, look, *colour));
        // A time that nobody knows is not written.
        let stamp = look.stamp.filter(|_| entry.time != Timestamp::UNIX_EPOCH);
        if look.form == Form::Typed {
            out.extend_from_slice(&frame.before);
            typed(out, entry);
            out.extend_from_slice(&frame.after);
            return;
        }
        let is_graded = *colour && look.form == Form::Default;
        let grave = if is_graded { style_of(entry.record.head().level) } else { Style::new() };
        let mut stamped = String::new();
        if let Some(stamp) = stamp {
            second.write(&mut stamped, entry.time, stamp, &self.zone);
            stamped.push(' ');
        }
        for line in lines(entry) {
            out.extend_from_slice(&frame.before);
            let shown = shown(line, self.look.harmless && !self.look.form.is_json());
            let line = &*shown;
            match self.look.form {
                Form::Extjson | Form::Ppextjson if stamped.is_empty() && json::is_json(line) => {
                    out.extend_from_slice(line);
                }
                Form::Json | Form::Extjson | Form::Ppextjson => json::text(out, &[stamped.as_bytes(), line]),
                Form::Default | Form::Raw | Form::Typed => {
                    if entry.late && self.look.form == Form::Default {
                        out.extend_from_slice(b"(late) ");
                    }
                    out.extend_from_slice(stamped.as_bytes());
                    message(out, line, self.highlight.as_ref(), grave);
                }
            }
            out.extend_from_slice(&frame.after);
        }
    }

    /// A gap's own line, in the forms that have one.
    pub(crate) fn gap(&mut self, source: &LogSource, gap: &Gap) -> Option<&[u8]> {
        if self.look.template.is_some() || self.look.form != Form::Typed {
            return None;
        }
        self.buffer.clear();
        let value = json!({"v": 1, "kind": "gap", "component": source.component, "pod": source.pod, "container":
            source.container, "source": origin(source), "after": gap.after, "before": gap.before});
        // Writing into memory does not fail.
        let _ = serde_json::to_writer(&mut self.buffer, &value);
        self.buffer.push(b'\n');
        Some(&self.buffer)
    }

    fn templated(&mut self, out: &mut Vec<u8>, template: &Template, entry: &LogEntry) {
        let (source, head) = (&entry.source, entry.record.head());
        for piece in &template.0 {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Field(field) => match field {
                    Field::Time => {
                        let mut time = String::new();
                        let stamp = self.look.stamp.unwrap_or(Stamp::Default);
                        self.second.write(&mut time, entry.time, stamp, &self.zone);
                        out.extend_from_slice(time.as_bytes());
                    }
                    Field::Component => out.extend_from_slice(source.component.as_bytes()),
                    Field::Pod => out.extend_from_slice(source.pod.as_bytes()),
                    Field::Container => out.extend_from_slice(source.container.as_bytes()),
                    Field::Node => out.extend_from_slice(source.node.as_bytes()),
                    Field::Namespace => out.extend_from_slice(source.namespace.as_bytes()),
                    Field::Source => out.extend_from_slice(origin(source).as_bytes()),
                    Field::Level => out.extend_from_slice(head.level.map_or("-", |l| l.name()).as_bytes()),
                    Field::Thread => out.extend_from_slice(&shown(head.thread.unwrap_or(b"-"), self.look.harmless)),
                    Field::Place => out.extend_from_slice(&shown(head.place.unwrap_or(b"-"), self.look.harmless)),
                    Field::Text => {
                        message(out, &shown(head.text, self.look.harmless), self.highlight.as_ref(), Style::new());
                    }
                    Field::Message => {
                        let text = shown(trim(entry.record.bytes()), self.look.harmless);
                        message(out, &text, self.highlight.as_ref(), Style::new());
                    }
                },
            }
        }
        out.push(b'\n');
    }
}

/// What is written of a text: on a terminal it is harmless.
fn shown(text: &[u8], harmless: bool) -> Cow<'_, [u8]> {
    if harmless { text::harmless(text) } else { Cow::Borrowed(text) }
}

/// Writes a line in a colour, with its matches in theirs.
fn message(out: &mut Vec<u8>, line: &[u8], highlight: Option<&Regex>, style: Style) {
    if style.is_plain() && highlight.is_none() {
        out.extend_from_slice(line);
        return;
    }
    // Writing into memory does not fail.
    let _ = write!(out, "{style}");
    let mut from = 0;
    for found in highlight.into_iter().flat_map(|pattern| pattern.find_iter(line)).filter(|m| !m.is_empty()) {
        out.extend_from_slice(&line[from..found.start()]);
        out.extend_from_slice(MATCH_BEGINS);
        out.extend_from_slice(found.as_bytes());
        out.extend_from_slice(MATCH_ENDS);
        let _ = write!(out, "{style}");
        from = found.end();
    }
    out.extend_from_slice(&line[from..]);
    let _ = write!(out, "{style:#}");
}

/// The members of a typed record that the record itself decides.
fn typed(out: &mut Vec<u8>, entry: &LogEntry) {
    let head = entry.record.head();
    let _ = write!(out, "\"time\":\"{}\",", entry.time);
    if entry.late {
        out.extend_from_slice(b"\"late\":true,");
    }
    if let Some(level) = head.level {
        let _ = write!(out, "\"level\":\"{}\",", level.name());
    }
    if let Some(thread) = head.thread {
        out.extend_from_slice(b"\"thread\":");
        json::text(out, &[thread]);
        out.push(b',');
    }
    if let Some(cut) = entry.record.cut() {
        let _ = write!(out, "\"cut\":{cut},");
    }
    if let Some(place) = head.place {
        out.extend_from_slice(b"\"place\":");
        json::text(out, &[place]);
        out.push(b',');
    }
    out.extend_from_slice(b"\"message\":");
    json::text(out, &[trim(entry.record.bytes())]);
}

/// The lines of a record, without their ends.
fn lines(entry: &LogEntry) -> impl Iterator<Item = &[u8]> {
    entry.record.lines().map(trim)
}

fn trim(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\n").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clearwater::log::{LogGrammar, Record};

    use super::*;

    fn source() -> Arc<LogSource> {
        let labels = |all: &[(&str, &str)]| all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Arc::new(LogSource {
            component: "sprout".to_owned(),
            namespace: "ims".to_owned(),
            pod: "sprout-0".to_owned(),
            node: "n1".to_owned(),
            address: String::new(),
            container: "main".to_owned(),
            labels: labels(&[("b", "2"), ("a", "<1>")]),
            annotations: labels(&[]),
            origin: LogOrigin::Output,
        })
    }

    fn printed(look: Look, lines: &[&[u8]]) -> String {
        let mut printer = Printer::new(Look { zone: "UTC".to_owned(), ..look }, &Filter::default()).unwrap();
        let source = source();
        let mut out = Vec::new();
        for line in lines {
            let entry = LogEntry {
                source: source.clone(),
                time: "2026-11-23T10:00:00.5Z".parse().unwrap(),
                record: Record::new(LogGrammar::Plain, line.to_vec()),
                late: false,
            };
            out.extend_from_slice(printer.record(&entry));
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// What json, extjson and ppextjson of stern 1.34.0 write for these lines, with the same fields; `cargo xtask prove
    /// bench-logs` compares them on a cluster.
    #[test]
    fn lines_are_written_as_stern_writes_them() {
        let lines: [&[u8]; 5] = [
            b"plain <&> \"q\" \\ \x01\t\x7f\n",
            "\u{2028} é \u{1f600}\n".as_bytes(),
            b"bad \xff\xe2\x82 end\r\n",
            b"{\"a\": [1, 2]}\n",
            b"\n",
        ];
        let of = |form: Form| printed(Look { form, ..Look::default() }, &lines);
        let after = ",\"nodeName\":\"n1\",\"namespace\":\"ims\",\"podName\":\"sprout-0\",\"containerName\":\"main\",\"labels\":\
                     {\"a\":\"\\u003c1\\u003e\",\"b\":\"2\"},\"annotations\":null}\n";
        let texts = [
            r#""plain \u003c\u0026\u003e \"q\" \\ \u0001\t"#.to_owned() + "\u{7f}\"",
            r#""\u2028 é 😀""#.to_owned(),
            r#""bad \ufffd\ufffd\ufffd end\r""#.to_owned(),
            r#""{\"a\": [1, 2]}""#.to_owned(),
            "\"\"".to_owned(),
        ];
        let wanted: String = texts.iter().map(|t| format!("{{\"message\":{t}{after}")).collect();
        assert_eq!(of(Form::Json), wanted);
        let objects = [&texts[0], &texts[1], &texts[2], "{\"a\": [1, 2]}", &texts[4]];
        let wanted: String = objects
            .iter()
            .map(|t| format!("{{\"pod\": \"sprout-0\", \"container\": \"main\", \"message\": {t}}}\n"))
            .collect();
        assert_eq!(of(Form::Extjson), wanted);
        let wanted: String = objects
            .iter()
            .map(|t| format!("{{\n  \"pod\": \"sprout-0\",\n  \"container\": \"main\",\n  \"message\": {t}\n}}\n"))
            .collect();
        assert_eq!(of(Form::Ppextjson), wanted);
        assert_eq!(printed(Look::default(), &[b"a\r\n"]), "sprout-0 main a\r\n");
        let stamped = |stamp: Stamp| printed(Look { form: Form::Raw, stamp: Some(stamp), ..Look::default() }, &[b"a"]);
        assert_eq!(stamped(Stamp::Default), "2026-11-23T10:00:00.500000000Z a\n");
        assert_eq!(stamped(Stamp::Short), "11-23 10:00:00 a\n");
        let spaces = Look { namespaces: true, form: Form::Extjson, ..Look::default() };
        assert!(printed(spaces, &[b"1"]).starts_with("{\"namespace\": \"ims\", \"pod\": \"sprout-0\""));
    }

    #[test]
    fn a_terminal_gets_nothing_that_it_would_obey_and_all_others_get_every_byte() {
        let line = "a\tb \u{1b}]0;t\u{7} \u{9b}2J \u{202e}x\r".as_bytes();
        let broken = b"\x9b2J \x1b[1A\rz\r\n";
        let terminal = |form: Form| Look { form, harmless: true, ..Look::default() };
        let raw = "a\tb \\u{1b}]0;t\\u{7} \\u{9b}2J \\u{202e}x\n";
        assert_eq!(printed(terminal(Form::Raw), &[line]), raw);
        assert_eq!(printed(terminal(Form::Default), &[line]), format!("sprout-0 main {raw}"));
        assert_eq!(printed(terminal(Form::Raw), &[broken]), "\\x9b2J \\u{1b}[1A\\rz\n");
        let own = |text: &str| Look { template: Some(template(text).unwrap()), ..terminal(Form::Default) };
        assert_eq!(printed(own("{message}|{text}"), &[line]), format!("{0}|{0}\n", raw.trim_end()));
        for form in [Form::Json, Form::Extjson, Form::Ppextjson, Form::Typed] {
            let text = printed(terminal(form), &[line]);
            assert!(!text.contains(|c| text::is_harmful(c) && c != '\n'), "{text:?}");
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let message = value["message"].as_str().unwrap();
            assert_eq!(message.trim_end().as_bytes(), line.trim_ascii_end(), "JSON says what was written");
        }
        assert_eq!(printed(Look { form: Form::Raw, ..Look::default() }, &[line]).as_bytes(), [line, b"\n"].concat());
        // Colours that are this program's own stay.
        let coloured = Look { colour: Colour::Always, ..terminal(Form::Extjson) };
        assert!(printed(coloured, &["{\r\"a\":\"\u{9b}\"}".as_bytes()]).contains("\u{1b}["));
    }

    #[test]
    fn what_is_grave_has_a_colour_in_the_form_for_eyes_alone() {
        let line = |level: &str| format!("23-11-2026 10:00:00.123 UTC [7f01] {level} a.cpp:1: x\n").into_bytes();
        let of = |form, colour, level: &str| {
            let look = Look { form, colour, zone: "UTC".to_owned(), ..Look::default() };
            let mut printer = Printer::new(look, &Filter::default()).unwrap();
            let record = Record::new(LogGrammar::Cpp, line(level));
            let time = record.head().time.unwrap();
            let entry = LogEntry { source: source(), time, record, late: false };
            String::from_utf8(printer.record(&entry).to_vec()).unwrap()
        };
        let grave = |level| of(Form::Default, Colour::Always, level);
        assert!(grave("Error").ends_with(" \u{1b}[31m23-11-2026 10:00:00.123 UTC [7f01] Error a.cpp:1: x\u{1b}[0m\n"));
        assert!(grave("Warning").contains("\u{1b}[33m23-11"));
        assert!(grave("Info").ends_with(" 23-11-2026 10:00:00.123 UTC [7f01] Info a.cpp:1: x\n"));
        assert!(!of(Form::Raw, Colour::Always, "Error").contains('\u{1b}'));
        assert!(!of(Form::Default, Colour::Never, "Error").contains('\u{1b}'));
    }

    #[test]
    fn typed_records_are_json_whatever_they_hold() {
        let line = b"23-11-2026 10:00:00.123 UTC [7f01] Error a.cpp:1: \"x\" \xff\n";
        let mut printer =
            Printer::new(Look { form: Form::Typed, zone: "UTC".to_owned(), ..Look::default() }, &Filter::default())
                .unwrap();
        let record = Record::new(LogGrammar::Cpp, line.to_vec());
        let time = record.head().time.unwrap();
        let bytes = printer.record(&LogEntry { source: source(), time, record, late: true }).to_vec();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["message"], "23-11-2026 10:00:00.123 UTC [7f01] Error a.cpp:1: \"x\" \u{fffd}");
        assert_eq!(
            [&value["level"], &value["place"], &value["time"], &value["source"], &value["pod"]],
            ["error", "a.cpp:1", "2026-11-23T10:00:00.123Z", "stdout", "sprout-0"]
        );
        assert_eq!((&value["late"], &value["v"]), (&true.into(), &1.into()));
        assert_eq!((&value["thread"], &value["cut"]), (&"7f01".into(), &serde_json::Value::Null));
        let cut = [&line[..], b"23-11-2026 10:00:00.123 UTC Previous log was truncated by 17 characters\n"].concat();
        let record = Record::new(LogGrammar::Cpp, cut);
        let bytes = printer.record(&LogEntry { source: source(), time, record, late: false }).to_vec();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["cut"], 17);
    }
}
