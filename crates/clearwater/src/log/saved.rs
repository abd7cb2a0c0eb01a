use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::kubelet_line;
use super::line::trim_end;
use crate::component::Component;

/// How many lines decide.
const ENOUGH: usize = 50;

/// What a tool that saved logs put around each line that a component wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavedForm {
    /// Nothing.
    Bare,
    /// `TIME line`: `kubectl logs --timestamps`.
    Stamped,
    /// `[pod/NAME/CONTAINER] line`, with a time behind it or none: `kubectl logs --prefix`.
    Prefixed {
        /// Whether a time stands between.
        stamped: bool,
    },
    /// `POD CONTAINER line`, or `NAMESPACE POD CONTAINER line`: stern's default, and this project's own.
    Stern {
        /// Whether the namespace stands before it.
        namespaces: bool,
        /// Whether a time stands between.
        stamped: bool,
    },
    /// `NAME  | line`: docker compose.
    Compose {
        /// Whether a time stands between.
        stamped: bool,
    },
    /// `TIME stdout F line`: what a node keeps, as the container runtime interface has it.
    Cri,
    /// One JSON object a line, with the line in it: stern's json and extjson, and docker's json-file.
    Json,
    /// The same over several lines: stern's ppextjson.
    PrettyJson,
}

/// A line that was saved, without what stood around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedLine<'l> {
    /// When the container's runtime took it, where that was saved.
    pub time: Option<Timestamp>,
    /// The namespace; empty where it was not saved.
    pub namespace: Cow<'l, str>,
    /// The pod, or what stands for one; empty where it was not saved.
    pub pod: Cow<'l, str>,
    /// The container; empty where it was not saved.
    pub container: Cow<'l, str>,
    /// What was written, without its line end.
    pub text: Cow<'l, [u8]>,
    /// Whether the rest of the line follows.
    pub is_partial: bool,
    /// Whether it was marked as having come too late for its place.
    pub is_late: bool,
}

/// Takes lines that were saved out of what stands around them.
///
/// ```
/// use clearwater::log::{SavedForm, SavedLines};
///
/// let file = b"[pod/sprout-0/sprout] 23-11-2026 10:00:00.000 UTC Error a.cpp:1: x\n";
/// let form = SavedForm::of(file);
/// assert_eq!(form, SavedForm::Prefixed { stamped: false });
/// let mut lines = SavedLines::new(form);
/// let line = lines.next(file).unwrap();
/// assert_eq!((&*line.pod, &line.text[..2]), ("sprout-0", &b"23"[..]));
/// ```
#[derive(Clone, Debug)]
pub struct SavedLines {
    form: SavedForm,
    /// The pod and the container of the object that is open, of a form that takes several lines for one.
    open: (String, String),
}

/// The component that a pod's or a container's name shows: the one that it begins with, else the one that stands in it
/// between hyphens or underscores. Of several the longest: `homestead-prov` begins with `homestead`.
pub fn component_of(name: &str) -> Option<Component> {
    let is_edge = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_alphanumeric());
    let place = |component: &Component| {
        name.match_indices(component.name())
            .map(|(at, word)| (at, &name[at + word.len()..]))
            .find(|(at, rest)| is_edge(name[..*at].chars().next_back()) && is_edge(rest.chars().next()))
    };
    let found = Component::ALL.into_iter().filter_map(|c| Some((c, place(&c)?.0)));
    found.min_by_key(|(c, at)| (*at, std::cmp::Reverse(c.name().len()))).map(|(c, _)| c)
}

impl SavedForm {
    /// The form of a log's first lines: the one in which all but a tenth of them can be read.
    pub fn of(sample: &[u8]) -> Self {
        let lines: Vec<&[u8]> =
            sample.split_inclusive(|b| *b == b'\n').filter(|line| !trim_end(line).is_empty()).take(ENOUGH).collect();
        // The last one may be cut off.
        let lines = match &lines[..] {
            [head @ .., last] if !head.is_empty() && !last.ends_with(b"\n") => head,
            all => all,
        };
        let most = |fits: &dyn Fn(&[u8]) -> bool| {
            !lines.is_empty() && lines.iter().filter(|line| fits(line)).count() * 10 >= lines.len() * 9
        };
        let reads = |form: Self| most(&|line| SavedLines::new(form).next(line).is_some());
        let stamped =
            |form: Self| most(&|line| SavedLines::new(form).next(line).is_some_and(|line| after_stamp(line).is_some()));
        if most(&|line| line.starts_with(b"{")) && reads(Self::Json) {
            return Self::Json;
        }
        if lines.first().is_some_and(|line| trim_end(line) == b"{") && lines.iter().any(|l| pretty(l, "pod").is_some())
        {
            return Self::PrettyJson;
        }
        if reads(Self::Cri) {
            return Self::Cri;
        }
        let plain = [
            Self::Prefixed { stamped: false },
            Self::Compose { stamped: false },
            Self::Stern { namespaces: false, stamped: false },
            Self::Stern { namespaces: true, stamped: false },
        ];
        if let Some(form) = plain.into_iter().find(|form| reads(*form)) {
            let stamped = stamped(form);
            return match form {
                Self::Prefixed { .. } => Self::Prefixed { stamped },
                Self::Compose { .. } => Self::Compose { stamped },
                Self::Stern { namespaces, .. } => Self::Stern { namespaces, stamped },
                other => other,
            };
        }
        if reads(Self::Stamped) { Self::Stamped } else { Self::Bare }
    }
}

impl SavedLines {
    /// Lines of one form.
    pub fn new(form: SavedForm) -> Self {
        Self { form, open: (String::new(), String::new()) }
    }

    /// Takes a line, with its end or without; `None` for one that is not in the form.
    pub fn next<'l>(&mut self, line: &'l [u8]) -> Option<SavedLine<'l>> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        match self.form {
            SavedForm::Bare => Some(SavedLine { text: line.into(), ..SavedLine::default() }),
            SavedForm::Stamped => after_stamp(SavedLine { text: line.into(), ..SavedLine::default() }),
            SavedForm::Prefixed { stamped } => Some(behind(prefixed(line)?, stamped)),
            SavedForm::Compose { stamped } => Some(behind(compose(line)?, stamped)),
            SavedForm::Stern { namespaces, stamped } => Some(behind(stern(line, namespaces)?, stamped)),
            SavedForm::Cri => cri(line),
            SavedForm::Json => json(line),
            SavedForm::PrettyJson => {
                if let Some(pod) = pretty(line, "pod") {
                    self.open.0 = pod;
                } else if let Some(container) = pretty(line, "container") {
                    self.open.1 = container;
                } else if let Some(text) = pretty(line, "message") {
                    let (pod, container) = self.open.clone();
                    let text = Cow::Owned(text.into_bytes());
                    return Some(SavedLine {
                        pod: pod.into(),
                        container: container.into(),
                        text,
                        ..SavedLine::default()
                    });
                }
                None
            }
        }
    }
}

/// The time before the text, where one is there.
fn after_stamp(line: SavedLine<'_>) -> Option<SavedLine<'_>> {
    let Cow::Borrowed(text) = line.text else { return None };
    let (time, text) = match kubelet_line(text) {
        Some((time, text)) => (Some(time), text),
        None => (None, after_short_stamp(text)?),
    };
    Some(SavedLine { time, text: text.into(), ..line })
}

/// What stands behind `11-23 10:00:00`, stern's and this project's `--timestamps=short`: without its year it is no time.
fn after_short_stamp(text: &[u8]) -> Option<&[u8]> {
    const FORM: &[u8] = b"00-00 00:00:00 ";
    let (stamp, text) = text.split_at_checked(FORM.len())?;
    let fits = |(have, form): (&u8, &u8)| if *form == b'0' { have.is_ascii_digit() } else { have == form };
    stamp.iter().zip(FORM).all(fits).then_some(text)
}

/// The line, without the time that stands before its text where one does.
fn behind(line: SavedLine<'_>, stamped: bool) -> SavedLine<'_> {
    if stamped { after_stamp(line.clone()).unwrap_or(line) } else { line }
}

/// Words up to a space, as names may be.
fn word(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr::memchr(b' ', text).unwrap_or(text.len());
    let word = std::str::from_utf8(&text[..end]).ok()?;
    let is_name = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    is_name.then_some((word, text.get(end + 1..).unwrap_or_default()))
}

fn stern(line: &[u8], namespaces: bool) -> Option<SavedLine<'_>> {
    let (namespace, rest) = if namespaces { word(line)? } else { ("", line) };
    let (pod, rest) = word(rest)?;
    let (container, rest) = word(rest)?;
    let is_component = |name: &str| Component::ALL.iter().any(|c| c.name() == name);
    let is_other = match component_of(pod) {
        // A sentence may begin with a component's name.
        Some(component) => pod == component.name() && component_of(container).is_none(),
        // A pod may have a name of somebody's own: then its container tells. It may be a pod itself, behind a namespace.
        None => !is_component(container) || word(rest).is_some_and(|(next, _)| is_component(next)),
    };
    if is_other {
        return None;
    }
    let (text, is_late) = match rest.strip_prefix(b"(late) ") {
        Some(text) => (text, true),
        None => (rest, false),
    };
    let names = (namespace.into(), pod.into(), container.into());
    let (namespace, pod, container) = names;
    Some(SavedLine { namespace, pod, container, text: text.into(), is_late, ..SavedLine::default() })
}

fn prefixed(line: &[u8]) -> Option<SavedLine<'_>> {
    let rest = line.strip_prefix(b"[pod/")?;
    let end = memchr::memchr(b']', rest)?;
    let (pod, container) = std::str::from_utf8(&rest[..end]).ok()?.split_once('/')?;
    let text = rest.get(end + 1..)?.strip_prefix(b" ").unwrap_or_default();
    Some(SavedLine { pod: pod.into(), container: container.into(), text: text.into(), ..SavedLine::default() })
}

fn compose(line: &[u8]) -> Option<SavedLine<'_>> {
    let bar = memchr::memchr(b'|', line)?;
    let (name, _) = word(&line[..bar])?;
    component_of(name)?;
    let padding = &line[name.len()..bar];
    if padding.is_empty() || padding.iter().any(|b| *b != b' ') {
        return None;
    }
    let text = &line[bar + 1..];
    Some(SavedLine { pod: name.into(), text: text.strip_prefix(b" ").unwrap_or(text).into(), ..SavedLine::default() })
}

/// `pkg/kubelet/kuberuntime/logs` of Kubernetes: the time, the stream, its tags, the line.
fn cri(line: &[u8]) -> Option<SavedLine<'_>> {
    let (time, rest) = kubelet_line(line)?;
    let rest = rest.strip_prefix(b"stdout ").or_else(|| rest.strip_prefix(b"stderr "))?;
    let (tags, text) = match memchr::memchr(b' ', rest) {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (rest, &rest[rest.len()..]),
    };
    let is_partial = match tags.first()? {
        b'P' => true,
        b'F' => false,
        _ => return None,
    };
    Some(SavedLine { time: Some(time), text: text.into(), is_partial, ..SavedLine::default() })
}

/// What tools write into an object a line.
#[derive(Deserialize)]
struct Object<'l> {
    #[serde(borrow, default)]
    message: Option<&'l RawValue>,
    #[serde(default)]
    log: Option<String>,
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(default, alias = "podName")]
    pod: String,
    #[serde(default, alias = "containerName")]
    container: String,
    #[serde(default)]
    namespace: String,
}

fn json(line: &[u8]) -> Option<SavedLine<'_>> {
    let object: Object<'_> = serde_json::from_slice(line).ok()?;
    let (text, is_partial) = match (object.message, object.log) {
        (Some(message), _) => (text_of(message.get()), false),
        (None, Some(log)) => match log.strip_suffix('\n') {
            Some(text) => (text.to_owned(), false),
            None => (log, true),
        },
        (None, None) => return None,
    };
    let (namespace, pod, container) = (object.namespace.into(), object.pod.into(), object.container.into());
    let text = Cow::Owned(text.into_bytes());
    Some(SavedLine { time: object.time, namespace, pod, container, text, is_partial, is_late: false })
}

/// A line that was written, or one that was JSON itself and stands as it was.
fn text_of(value: &str) -> String {
    serde_json::from_str(value).unwrap_or_else(|_| value.to_owned())
}

/// The value of a member that has a line of its own.
fn pretty(line: &[u8], key: &str) -> Option<String> {
    let line = std::str::from_utf8(trim_end(line)).ok()?;
    let value = line.strip_prefix("  \"")?.strip_prefix(key)?.strip_prefix("\": ")?;
    Some(text_of(value.strip_suffix(',').unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "23-11-2026 10:00:00.000 UTC Error a.cpp:1: x";

    fn read(file: &str) -> (SavedForm, Vec<(String, String)>) {
        let form = SavedForm::of(file.as_bytes());
        let mut lines = SavedLines::new(form);
        let all = file.as_bytes().split_inclusive(|b| *b == b'\n').filter_map(|line| {
            let line = lines.next(line)?;
            Some((line.pod.into_owned(), String::from_utf8(line.text.into_owned()).unwrap()))
        });
        let all = all.collect();
        (form, all)
    }

    #[test]
    fn each_form_is_known_by_its_first_lines() {
        let stamp = "2026-11-23T10:00:00.123456789Z";
        let pod = "sprout-5f649d585b-92x7j";
        let cases = [
            (format!("{LINE}\n"), SavedForm::Bare, ""),
            (format!("{stamp} {LINE}\n"), SavedForm::Stamped, ""),
            (format!("[pod/{pod}/sprout] {LINE}\n"), SavedForm::Prefixed { stamped: false }, pod),
            (format!("[pod/{pod}/sprout] {stamp} {LINE}\n"), SavedForm::Prefixed { stamped: true }, pod),
            (format!("{pod} sprout {LINE}\n"), SavedForm::Stern { namespaces: false, stamped: false }, pod),
            (format!("{pod} sprout {stamp} {LINE}\n"), SavedForm::Stern { namespaces: false, stamped: true }, pod),
            (
                format!("{pod} sprout 11-23 10:00:00 {LINE}\n"),
                SavedForm::Stern { namespaces: false, stamped: true },
                pod,
            ),
            (format!("11-23 10:00:00 {LINE}\n"), SavedForm::Stamped, ""),
            (format!("ims {pod} sprout {LINE}\n"), SavedForm::Stern { namespaces: true, stamped: false }, pod),
            (format!("edge-a bono {LINE}\n"), SavedForm::Stern { namespaces: false, stamped: false }, "edge-a"),
            (format!("ims edge-a bono {LINE}\n"), SavedForm::Stern { namespaces: true, stamped: false }, "edge-a"),
            (format!("ims bono bono {LINE}\n"), SavedForm::Stern { namespaces: true, stamped: false }, "bono"),
            (format!("{stamp} stderr F {LINE}\n"), SavedForm::Cri, ""),
            (format!("sprout_1    | {LINE}\n"), SavedForm::Compose { stamped: false }, "sprout_1"),
            (format!("cw-sprout-1  | {stamp} {LINE}\n"), SavedForm::Compose { stamped: true }, "cw-sprout-1"),
            (format!("{{\"log\":\"{LINE}\\n\",\"stream\":\"stdout\",\"time\":\"{stamp}\"}}\n"), SavedForm::Json, ""),
            (
                format!("{{\"message\":\"{LINE}\",\"podName\":\"{pod}\",\"containerName\":\"c\"}}\n"),
                SavedForm::Json,
                pod,
            ),
            (format!("{{\"pod\": \"{pod}\", \"container\": \"c\", \"message\": \"{LINE}\"}}\n"), SavedForm::Json, pod),
            (
                format!("{{\n  \"pod\": \"{pod}\",\n  \"container\": \"c\",\n  \"message\": \"{LINE}\"\n}}\n"),
                SavedForm::PrettyJson,
                pod,
            ),
        ];
        for (text, form, pod) in cases {
            let read = read(&text.repeat(20));
            assert_eq!(read.0, form, "{text}");
            assert_eq!(read.1, vec![(pod.to_owned(), LINE.to_owned()); 20], "{text}");
        }
    }

    #[test]
    fn what_components_write_is_bare() {
        let own = [
            "2016-10-17 17:35:11,121 INFO supervisord started with pid 1\n",
            "127.0.0.1 - - [23/Nov/2026:10:00:00 +0000] \"GET /ping HTTP/1.1\" 200 2\n",
            "INFO  [main] 2016-10-17 17:35:11,121 CassandraDaemon.java:1 - x\n",
            "sprout is up and running\n",
            "a | b\n",
            "{ not json\n",
            "",
        ];
        for text in own {
            assert_eq!(SavedForm::of(text.repeat(5).as_bytes()), SavedForm::Bare, "{text}");
        }
    }

    #[test]
    fn lines_in_pieces_are_told() {
        let mut lines = SavedLines::new(SavedForm::Cri);
        let of =
            |lines: &mut SavedLines, text: &'static str| lines.next(text.as_bytes()).map(|l| (l.is_partial, l.text));
        assert_eq!(of(&mut lines, "2026-11-23T10:00:00Z stdout P ab\n"), Some((true, b"ab"[..].into())));
        assert_eq!(of(&mut lines, "2026-11-23T10:00:00Z stdout F\n"), Some((false, b""[..].into())));
        let mut lines = SavedLines::new(SavedForm::Json);
        assert_eq!(of(&mut lines, r#"{"log":"ab","stream":"stdout"}"#), Some((true, b"ab"[..].into())));
    }

    #[test]
    fn components_are_known_by_names() {
        let cases = [
            ("sprout-5f649d585b-92x7j", Some(Component::Sprout)),
            ("homestead-prov-0", Some(Component::HomesteadProv)),
            ("homestead_current.txt", Some(Component::Homestead)),
            ("clearwater-docker-bono-1", Some(Component::Bono)),
            ("bonobo", None),
            ("web-0", None),
        ];
        for (name, component) in cases {
            assert_eq!(component_of(name), component, "{name}");
        }
    }
}
