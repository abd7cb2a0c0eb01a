//! What a source decides of every one of its lines.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use clearwater_kube::logs::LogSource;

use super::json;
use super::{Form, Look, origin};

/// What stands before and after the message of every line of a source.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) before: Vec<u8>,
    pub(super) after: Vec<u8>,
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
fn colours(source: &LogSource, by_container: bool) -> (Style, Style) {
    let of = |name: &str| PALETTE[name.bytes().fold(5381_usize, |h, b| h.wrapping_mul(33) ^ usize::from(b)) % 6];
    let name = if source.component.is_empty() { &source.pod } else { &source.component };
    let container = if by_container { &source.container } else { name };
    (of(name).0.on_default(), of(container).1.on_default())
}

impl Frame {
    pub(super) fn of(source: &LogSource, look: &Look, colour: bool) -> Self {
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
                json::text(&mut after, &[source.node.as_bytes()]);
                for (key, value) in
                    [("namespace", &source.namespace), ("podName", &source.pod), ("containerName", &source.container)]
                {
                    let _ = write!(after, ",\"{key}\":");
                    json::text(&mut after, &[value.as_bytes()]);
                }
                for (key, map) in [("labels", &source.labels), ("annotations", &source.annotations)] {
                    let _ = write!(after, ",\"{key}\":");
                    json::map(&mut after, map);
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
                    json::text(&mut after, &[value.as_bytes()]);
                }
                after.push(b'}');
            }
        }
        after.push(b'\n');
        Self { before, after }
    }
}
