use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use clearwater::log::Gap;
use clearwater::text;
use clearwater_kube::logs::{Entry, Origin, Source};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use regex::bytes::Regex;
use serde::de::IgnoredAny;
use serde_json::json;

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
    Thread,
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
    const FIELDS: [(&str, Field); 12] = [
        ("time", Field::Time),
        ("component", Field::Component),
        ("pod", Field::Pod),
        ("container", Field::Container),
        ("node", Field::Node),
        ("namespace", Field::Namespace),
        ("source", Field::Source),
        ("level", Field::Level),
        ("thread", Field::Thread),
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

/// Colours that are told from each other on dark and on light backgrounds: for a pod, and for its container.
const PALETTE: [(AnsiColor, AnsiColor); 6] = [
    (AnsiColor::BrightCyan, AnsiColor::Cyan),
    (AnsiColor::BrightGreen, AnsiColor::Green),
    (AnsiColor::BrightMagenta, AnsiColor::Magenta),
    (AnsiColor::BrightYellow, AnsiColor::Yellow),
    (AnsiColor::BrightBlue, AnsiColor::Blue),
    (AnsiColor::BrightRed, AnsiColor::Red),
];

/// The colours of a component: the same in every run.
fn colours(source: &Source, by_container: bool) -> (Style, Style) {
    let of = |name: &str| PALETTE[name.bytes().fold(5381_usize, |h, b| h.wrapping_mul(33) ^ usize::from(b)) % 6];
    let name = if source.component.is_empty() { &source.pod } else { &source.component };
    let container = if by_container { &source.container } else { name };
    (of(name).0.on_default(), of(container).1.on_default())
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

/// What stands before and after the message of every line of a source.
#[derive(Debug)]
struct Frame {
    before: Vec<u8>,
    after: Vec<u8>,
}

/// The second that was written last: most lines share theirs with the one before.
#[derive(Debug, Default)]
struct Second {
    at: Option<i64>,
    before: String,
    after: String,
}

/// How a match is coloured: as stern does it.
const MATCH_BEGINS: &[u8] = b"\x1b[31;1m";
const MATCH_ENDS: &[u8] = b"\x1b[0;22m";

/// The time zone of that name.
pub(super) fn zone(name: &str) -> Result<TimeZone, CliError> {
    match name {
        "Local" | "local" => Ok(TimeZone::system()),
        name => TimeZone::get(name).map_err(|e| {
            CliError::Usage(format!("--timezone {name:?}: {e}; write a name like Europe/Berlin, UTC or Local"))
        }),
    }
}

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
    pub(crate) fn record(&mut self, entry: &Entry) -> &[u8] {
        let mut out = std::mem::take(&mut self.buffer);
        out.clear();
        if let Some(template) = self.look.template.take() {
            self.templated(&mut out, &template, entry);
            self.look.template = Some(template);
        } else {
            self.formed(&mut out, entry);
            if self.look.harmless && self.look.form.is_json() {
                json_harmless(&mut out);
            }
        }
        self.buffer = out;
        &self.buffer
    }

    fn formed(&mut self, out: &mut Vec<u8>, entry: &Entry) {
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
                Form::Extjson | Form::Ppextjson if stamped.is_empty() && is_json(line) => out.extend_from_slice(line),
                Form::Json | Form::Extjson | Form::Ppextjson => json_text(out, &[stamped.as_bytes(), line]),
                Form::Default | Form::Raw | Form::Typed => {
                    if entry.late && self.look.form == Form::Default {
                        out.extend_from_slice(b"(late) ");
                    }
                    out.extend_from_slice(stamped.as_bytes());
                    message(out, line, self.highlight.as_ref());
                }
            }
            out.extend_from_slice(&frame.after);
        }
    }

    /// A gap's own line, in the forms that have one.
    pub(crate) fn gap(&mut self, source: &Source, gap: &Gap) -> Option<&[u8]> {
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

    fn templated(&mut self, out: &mut Vec<u8>, template: &Template, entry: &Entry) {
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
                    Field::Text => message(out, &shown(head.text, self.look.harmless), self.highlight.as_ref()),
                    Field::Message => {
                        let text = shown(trim(entry.record.bytes()), self.look.harmless);
                        message(out, &text, self.highlight.as_ref());
                    }
                },
            }
        }
        out.push(b'\n');
    }
}

impl Frame {
    fn of(source: &Source, look: &Look, colour: bool) -> Self {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let (pod_style, container_style) = colours(source, look.by_container);
        let coloured = |out: &mut Vec<u8>, style: Style, text: &str| {
            let _ = if colour { write!(out, "{style}{text}{style:#}") } else { write!(out, "{text}") };
        };
        let namespace = Some(source.namespace.as_str()).filter(|_| look.namespaces);
        match look.form {
            Form::Raw => {}
            Form::Default => {
                for (style, text) in namespace
                    .map(|n| (pod_style, n))
                    .into_iter()
                    .chain([(pod_style, source.pod.as_str()), (container_style, &source.container)])
                {
                    coloured(&mut before, style, text);
                    before.push(b' ');
                }
            }
            Form::Json => {
                before.extend_from_slice(b"{\"message\":");
                let _ = write!(after, ",\"nodeName\":");
                json_text(&mut after, &[source.node.as_bytes()]);
                for (key, value) in
                    [("namespace", &source.namespace), ("podName", &source.pod), ("containerName", &source.container)]
                {
                    let _ = write!(after, ",\"{key}\":");
                    json_text(&mut after, &[value.as_bytes()]);
                }
                for (key, map) in [("labels", &source.labels), ("annotations", &source.annotations)] {
                    let _ = write!(after, ",\"{key}\":");
                    json_map(&mut after, map);
                }
                after.push(b'}');
            }
            Form::Extjson | Form::Ppextjson => {
                let pretty = look.form == Form::Ppextjson;
                before.extend_from_slice(if pretty { b"{\n" } else { b"{" });
                for (key, style, value) in namespace
                    .map(|n| ("namespace", pod_style, n))
                    .into_iter()
                    .chain([("pod", pod_style, source.pod.as_str()), ("container", container_style, &source.container)])
                {
                    let _ = write!(before, "{}\"{key}\": \"", if pretty { "  " } else { "" });
                    coloured(&mut before, style, value);
                    before.extend_from_slice(if pretty { b"\",\n" } else { b"\", " });
                }
                let _ = write!(before, "{}\"message\": ", if pretty { "  " } else { "" });
                after.extend_from_slice(if pretty { b"\n}" } else { b"}" });
            }
            Form::Typed => {
                before.extend_from_slice(b"{\"v\":1,\"kind\":\"record\",");
                for (key, value) in [
                    ("component", source.component.as_str()),
                    ("namespace", &source.namespace),
                    ("pod", &source.pod),
                    ("container", &source.container),
                    ("node", &source.node),
                    ("address", &source.address),
                    ("source", origin(source)),
                ] {
                    let _ = write!(after, ",\"{key}\":");
                    json_text(&mut after, &[value.as_bytes()]);
                }
                after.push(b'}');
            }
        }
        after.push(b'\n');
        Self { before, after }
    }
}

impl Second {
    /// Writes a time as stern does.
    fn write(&mut self, out: &mut String, time: Timestamp, stamp: Stamp, zone: &TimeZone) {
        let at = time.as_second() - i64::from(time.subsec_nanosecond() < 0);
        if self.at != Some(at) {
            let whole = Timestamp::from_second(at).unwrap_or(time).to_zoned(zone.clone());
            (self.before, self.after) = match stamp {
                Stamp::Short => (whole.strftime("%m-%d %H:%M:%S").to_string(), String::new()),
                Stamp::Default => {
                    let offset =
                        if whole.offset().is_zero() { "Z".to_owned() } else { whole.strftime("%:z").to_string() };
                    (whole.strftime("%Y-%m-%dT%H:%M:%S").to_string(), offset)
                }
            };
            self.at = Some(at);
        }
        out.push_str(&self.before);
        if stamp == Stamp::Default {
            let nanos = i64::from(time.subsec_nanosecond()).rem_euclid(1_000_000_000);
            let _ = write!(out, ".{nanos:09}{}", self.after);
        }
    }
}

/// What is written of a text: on a terminal it is harmless.
fn shown(text: &[u8], harmless: bool) -> Cow<'_, [u8]> {
    if harmless { text::harmless(text) } else { Cow::Borrowed(text) }
}

/// Escapes what JSON leaves as it is and a terminal would obey. Escape sequences in it are this program's own colours.
fn json_harmless(json: &mut Vec<u8>) {
    let obeyed = |c: char| text::is_harmful(c) && (c >= '\u{7f}' || c == '\r');
    let Ok(text) = std::str::from_utf8(json) else { return };
    if json.is_ascii() && !json.contains(&0x7f) && !json.contains(&b'\r') || !text.contains(obeyed) {
        return;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            // Between the words of an object that somebody wrote.
            '\r' => out.push(' '),
            c if obeyed(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    *json = out.into_bytes();
}

/// Writes a line with its matches coloured.
fn message(out: &mut Vec<u8>, line: &[u8], highlight: Option<&Regex>) {
    let Some(pattern) = highlight else {
        out.extend_from_slice(line);
        return;
    };
    let mut from = 0;
    for found in pattern.find_iter(line).filter(|m| !m.is_empty()) {
        out.extend_from_slice(&line[from..found.start()]);
        out.extend_from_slice(MATCH_BEGINS);
        out.extend_from_slice(found.as_bytes());
        out.extend_from_slice(MATCH_ENDS);
        from = found.end();
    }
    out.extend_from_slice(&line[from..]);
}

/// The members of a typed record that the record itself decides.
fn typed(out: &mut Vec<u8>, entry: &Entry) {
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
        json_text(out, &[thread]);
        out.push(b',');
    }
    if let Some(cut) = entry.record.cut() {
        let _ = write!(out, "\"cut\":{cut},");
    }
    if let Some(place) = head.place {
        out.extend_from_slice(b"\"place\":");
        json_text(out, &[place]);
        out.push(b',');
    }
    out.extend_from_slice(b"\"message\":");
    json_text(out, &[trim(entry.record.bytes())]);
}

/// Writes a JSON string as Go's encoding/json does, so that both print the same bytes: `<`, `>`, `&` and the two line
/// separators of Unicode as escapes, and one replacement for each byte that is no UTF-8.
fn json_text(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.push(b'"');
    for part in parts {
        for chunk in part.utf8_chunks() {
            escaped(out, chunk.valid());
            for _ in chunk.invalid() {
                out.extend_from_slice(b"\\ufffd");
            }
        }
    }
    out.push(b'"');
}

/// Which bytes stand for themselves in a JSON string. The first byte of U+2028 and U+2029 is looked at more closely.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    // In order: " \ < > & and the first byte of the line separators.
    (plain[0x22], plain[0x5c], plain[0x3c], plain[0x3e], plain[0x26], plain[0xe2]) =
        (false, false, false, false, false, false);
    plain
};

fn escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|b| !PLAIN[usize::from(*b)]).map(|n| from + n) {
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match bytes[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0xe2 => match bytes.get(at + 1..at + 3) {
                Some([0x80, last @ (0xa8 | 0xa9)]) => {
                    out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                    from = at + 3;
                }
                _ => out.push(0xe2),
            },
            byte => {
                out.extend_from_slice(b"\\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[from..]);
}

/// A map as Go writes it: `null` where there is none.
fn json_map(out: &mut Vec<u8>, map: &BTreeMap<String, String>) {
    if map.is_empty() {
        out.extend_from_slice(b"null");
        return;
    }
    for (n, (key, value)) in map.iter().enumerate() {
        out.push(if n == 0 { b'{' } else { b',' });
        json_text(out, &[key.as_bytes()]);
        out.push(b':');
        json_text(out, &[value.as_bytes()]);
    }
    out.push(b'}');
}

fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// The lines of a record, without their ends.
fn lines(entry: &Entry) -> impl Iterator<Item = &[u8]> {
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

    fn source() -> Arc<Source> {
        let labels = |all: &[(&str, &str)]| all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Arc::new(Source {
            component: "sprout".to_owned(),
            namespace: "ims".to_owned(),
            pod: "sprout-0".to_owned(),
            node: "n1".to_owned(),
            address: String::new(),
            container: "main".to_owned(),
            labels: labels(&[("b", "2"), ("a", "<1>")]),
            annotations: labels(&[]),
            origin: Origin::Output,
        })
    }

    fn printed(look: Look, lines: &[&[u8]]) -> String {
        let mut printer = Printer::new(Look { zone: "UTC".to_owned(), ..look }, &Filter::default()).unwrap();
        let source = source();
        let mut out = Vec::new();
        for line in lines {
            let entry = Entry {
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
    fn typed_records_are_json_whatever_they_hold() {
        let line = b"23-11-2026 10:00:00.123 UTC [7f01] Error a.cpp:1: \"x\" \xff\n";
        let mut printer =
            Printer::new(Look { form: Form::Typed, zone: "UTC".to_owned(), ..Look::default() }, &Filter::default())
                .unwrap();
        let record = Record::new(LogGrammar::Cpp, line.to_vec());
        let time = record.head().time.unwrap();
        let bytes = printer.record(&Entry { source: source(), time, record, late: true }).to_vec();
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
        let bytes = printer.record(&Entry { source: source(), time, record, late: false }).to_vec();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["cut"], 17);
    }
}
