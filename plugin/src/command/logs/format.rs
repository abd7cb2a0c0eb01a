use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use clearwater::log::Gap;
use clearwater_kube::logs::{Entry, Origin, Source};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use regex::bytes::Regex;
use serde_json::json;

use super::Filter;
use crate::error::CliError;

/// How records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    #[default]
    Default,
    Raw,
    Json,
    Typed,
}

/// How times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stamp {
    Default,
    Short,
}

/// When colour is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Time,
    Component,
    Pod,
    Container,
    Node,
    Namespace,
    Source,
    Level,
    Place,
    Text,
    Message,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(Field),
}

/// A form of the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

/// Reads `'{time} {component} {message}'`; `{{` and `}}` stand for braces.
pub(crate) fn template(text: &str) -> Result<Template, String> {
    const FIELDS: [(&str, Field); 11] = [
        ("time", Field::Time),
        ("component", Field::Component),
        ("pod", Field::Pod),
        ("container", Field::Container),
        ("node", Field::Node),
        ("namespace", Field::Namespace),
        ("source", Field::Source),
        ("level", Field::Level),
        ("place", Field::Place),
        ("text", Field::Text),
        ("message", Field::Message),
    ];
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let tail = &rest[at..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            literal.push_str(&tail[..1]);
            rest = &tail[2..];
            continue;
        }
        let end = tail.find('}').filter(|_| tail.starts_with('{'));
        let Some(end) = end else { return Err("a brace without its other half; {{ and }} write braces".to_owned()) };
        let name = &tail[1..end];
        let Some((_, field)) = FIELDS.iter().find(|(n, _)| *n == name) else {
            let known: Vec<_> = FIELDS.iter().map(|(n, _)| *n).collect();
            return Err(format!("no field {name:?}; known: {}", known.join(", ")));
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Field(*field));
        rest = &tail[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(Template(pieces))
}

/// What of a container a source is, in short.
fn origin(source: &Source) -> &str {
    match &source.origin {
        Origin::Output => "stdout",
        Origin::Previous => "previous",
        Origin::File(path) => path,
    }
}

/// A source by its full name.
pub(super) fn name(source: &Source) -> String {
    format!("{} › {} {}", source.pod, source.container, origin(source))
}

/// Colours that are told from each other on dark and on light backgrounds.
const PALETTE: [AnsiColor; 6] =
    [AnsiColor::Cyan, AnsiColor::Green, AnsiColor::Magenta, AnsiColor::Yellow, AnsiColor::Blue, AnsiColor::BrightRed];

/// The colour of a component: the same in every run.
fn colour(source: &Source) -> Style {
    let name = if source.component.is_empty() { &source.pod } else { &source.component };
    let sum = name.bytes().fold(5381_usize, |h, b| h.wrapping_mul(33) ^ usize::from(b));
    PALETTE[sum % PALETTE.len()].on_default()
}

/// Writes records into a buffer of its own.
#[derive(Debug)]
pub(crate) struct Printer {
    form: Form,
    template: Option<Template>,
    stamp: Option<Stamp>,
    zone: TimeZone,
    colour: bool,
    highlight: Option<Regex>,
    buffer: Vec<u8>,
}

const MATCH: Style = AnsiColor::Red.on_default().bold();

impl Printer {
    pub(crate) fn new(
        form: Form,
        template: Option<Template>,
        stamp: Option<Stamp>,
        zone: &str,
        colour: Colour,
        filter: &Filter,
    ) -> Result<Self, CliError> {
        let zone = match zone {
            "Local" | "local" => TimeZone::system(),
            name => TimeZone::get(name).map_err(|e| {
                CliError::Usage(format!("--timezone {name:?}: {e}; write a name like Europe/Berlin, UTC or Local"))
            })?,
        };
        let colour = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        Ok(Self { form, template, stamp, zone, colour, highlight: filter.highlight.clone(), buffer: Vec::new() })
    }

    fn time(&self, time: Timestamp, stamp: Stamp) -> String {
        let time = time.to_zoned(self.zone.clone());
        match stamp {
            Stamp::Default => time.strftime("%Y-%m-%dT%H:%M:%S%.9f%:z").to_string(),
            Stamp::Short => time.strftime("%m-%d %H:%M:%S").to_string(),
        }
    }

    /// A record, ready to be written.
    pub(crate) fn record(&mut self, entry: &Entry) -> &[u8] {
        let mut out = std::mem::take(&mut self.buffer);
        out.clear();
        match (&self.template, self.form) {
            (Some(template), _) => self.templated(&mut out, template, entry),
            (None, Form::Raw) => {
                lines(entry).for_each(|line| {
                    self.stamped(&mut out, entry);
                    self.message(&mut out, line);
                });
            }
            (None, Form::Default) => lines(entry).for_each(|line| {
                let source = &entry.source;
                if self.colour {
                    let style = colour(source);
                    let _ = write!(out, "{style}{} {}{style:#} ", source.pod, source.container);
                } else {
                    out.extend_from_slice(source.pod.as_bytes());
                    out.push(b' ');
                    out.extend_from_slice(source.container.as_bytes());
                    out.push(b' ');
                }
                if entry.late {
                    out.extend_from_slice(b"(late) ");
                }
                self.stamped(&mut out, entry);
                self.message(&mut out, line);
            }),
            (None, Form::Json) => lines(entry).for_each(|line| json_line(&mut out, &self.stern(entry, line))),
            (None, Form::Typed) => json_line(&mut out, &Self::typed(entry)),
        }
        self.buffer = out;
        &self.buffer
    }

    /// A gap's own line, in the forms that have one.
    pub(crate) fn gap(&mut self, source: &Source, gap: &Gap) -> Option<&[u8]> {
        if self.template.is_some() || self.form != Form::Typed {
            return None;
        }
        self.buffer.clear();
        let value = json!({"v": 1, "kind": "gap", "component": source.component, "pod": source.pod, "container":
            source.container, "source": origin(source), "after": gap.after, "before": gap.before});
        json_line(&mut self.buffer, &value);
        Some(&self.buffer)
    }

    fn stamped(&self, out: &mut Vec<u8>, entry: &Entry) {
        if let Some(stamp) = self.stamp {
            out.extend_from_slice(self.time(entry.time, stamp).as_bytes());
            out.push(b' ');
        }
    }

    fn message(&self, out: &mut Vec<u8>, line: &[u8]) {
        match &self.highlight {
            Some(pattern) if self.colour => {
                let mut from = 0;
                for found in pattern.find_iter(line).filter(|m| !m.is_empty()) {
                    out.extend_from_slice(&line[from..found.start()]);
                    let _ = write!(out, "{MATCH}");
                    out.extend_from_slice(found.as_bytes());
                    let _ = write!(out, "{MATCH:#}");
                    from = found.end();
                }
                out.extend_from_slice(&line[from..]);
            }
            _ => out.extend_from_slice(line),
        }
        out.push(b'\n');
    }

    fn stern(&self, entry: &Entry, line: &[u8]) -> serde_json::Value {
        let source = &entry.source;
        let mut message = self.stamp.map(|s| self.time(entry.time, s) + " ").unwrap_or_default();
        message.push_str(&String::from_utf8_lossy(line));
        json!({"message": message, "nodeName": source.node, "namespace": source.namespace, "podName": source.pod,
            "containerName": source.container, "labels": source.labels, "annotations": source.annotations})
    }

    fn typed(entry: &Entry) -> serde_json::Value {
        let (source, head) = (&entry.source, entry.record.head());
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let mut value = json!({"v": 1, "kind": "record", "time": entry.time, "component": source.component, "pod":
            source.pod, "container": source.container, "node": source.node, "address": source.address, "source":
            origin(source), "message": text(trim(entry.record.bytes()))});
        if let Some(level) = head.level {
            value["level"] = level.name().into();
        }
        if let Some(place) = head.place {
            value["place"] = text(place).into();
        }
        if entry.late {
            value["late"] = true.into();
        }
        value
    }

    fn templated(&self, out: &mut Vec<u8>, template: &Template, entry: &Entry) {
        let (source, head) = (&entry.source, entry.record.head());
        for piece in &template.0 {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Field(field) => match field {
                    Field::Time => {
                        let time = self.time(entry.time, self.stamp.unwrap_or(Stamp::Default));
                        out.extend_from_slice(time.as_bytes());
                    }
                    Field::Component => out.extend_from_slice(source.component.as_bytes()),
                    Field::Pod => out.extend_from_slice(source.pod.as_bytes()),
                    Field::Container => out.extend_from_slice(source.container.as_bytes()),
                    Field::Node => out.extend_from_slice(source.node.as_bytes()),
                    Field::Namespace => out.extend_from_slice(source.namespace.as_bytes()),
                    Field::Source => out.extend_from_slice(origin(source).as_bytes()),
                    Field::Level => out.extend_from_slice(head.level.map_or("-", |l| l.name()).as_bytes()),
                    Field::Place => out.extend_from_slice(head.place.unwrap_or(b"-")),
                    Field::Text => out.extend_from_slice(head.text),
                    Field::Message => out.extend_from_slice(trim(entry.record.bytes())),
                },
            }
        }
        out.push(b'\n');
    }
}

fn json_line(out: &mut Vec<u8>, value: &serde_json::Value) {
    // Writing into memory does not fail.
    let _ = serde_json::to_writer(&mut *out, value);
    out.push(b'\n');
}

/// The lines of a record, without their ends.
fn lines(entry: &Entry) -> impl Iterator<Item = &[u8]> {
    entry.record.bytes().split_inclusive(|b| *b == b'\n').map(|l| l.strip_suffix(b"\n").unwrap_or(l))
}

fn trim(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\n").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_name_their_fields() {
        let Template(pieces) = template("{time} {{{component}}} x").unwrap();
        assert_eq!(
            pieces,
            [
                Piece::Field(Field::Time),
                Piece::Literal(" {".into()),
                Piece::Field(Field::Component),
                Piece::Literal("} x".into()),
            ]
        );
        assert!(template("{tme}").unwrap_err().starts_with("no field \"tme\"; known: time"));
        assert!(template("{time").is_err() && template("time}").is_err());
    }
}
