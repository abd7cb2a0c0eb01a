//! Lines that somebody saved, as records of those who wrote them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use clearwater::component::Component;
use clearwater::log::{Assembler, LONGEST_LINE, Record, SavedForm, SavedLine, SavedLines, component_of, guess_grammar};
use clearwater::text::{counted, printable};
use clearwater_kube::logs::{LogEntry, LogOrigin, LogSource};
use jiff::Timestamp;
use serde::de::IgnoredAny;

/// How typed records begin.
const TYPED: &[u8] = b"{\"v\":1,\"kind\":";

/// Makes entries of the lines of one log.
pub(super) struct SavedReader {
    /// What the log's own name tells of who wrote it.
    base: LogSource,
    form: Form,
    /// Whether each line is an object of some tool's.
    is_json: bool,
    /// Whether lines were coloured.
    coloured: bool,
    /// Whether every line was given a carriage return.
    returns: bool,
    streams: HashMap<String, Stream>,
    /// The stream of the last line.
    last: String,
    /// How many lines there were, and how many of them said something that is known: their time, or who wrote them.
    pub(super) lines: u64,
    pub(super) known: u64,
    /// How many lines of a form in which each is an object were a part of one.
    torn: u64,
}

enum Form {
    Saved(SavedLines),
    Typed(HashMap<String, Arc<LogSource>>),
}

/// What one container wrote.
struct Stream {
    source: Arc<LogSource>,
    assembler: Assembler,
    /// The beginning of a line that was saved in pieces.
    part: Vec<u8>,
    /// When the open record was taken by the container's runtime.
    stamp: Option<Timestamp>,
    /// The last time that is known.
    time: Timestamp,
    is_late: bool,
}

impl SavedReader {
    /// `first` is what is known of the lines: it shows their form.
    pub(super) fn new(base: LogSource, first: &[u8]) -> Self {
        let (mut coloured, mut is_json) = (false, false);
        // The first line may have lost its beginning.
        let form = if first.split(|b| *b == b'\n').take(2).any(|line| line.starts_with(TYPED)) {
            Form::Typed(HashMap::new())
        } else {
            let mut form = SavedForm::of(first);
            if form == SavedForm::Bare && memchr::memmem::find(first, b"\x1b[").is_some() {
                form = SavedForm::of(&anstream::adapter::strip_bytes(first).into_vec());
                coloured = form != SavedForm::Bare;
            }
            is_json = form == SavedForm::Json;
            Form::Saved(SavedLines::new(form))
        };
        let returns = memchr::memchr(b'\n', first).is_some()
            && first[..memchr::memrchr(b'\n', first).map_or(0, |end| end + 1)]
                .split_inclusive(|b| *b == b'\n')
                .all(|line| line.ends_with(b"\r\n"));
        let (streams, last) = (HashMap::new(), String::new());
        Self { base, form, is_json, coloured, returns, streams, last, lines: 0, known: 0, torn: 0 }
    }

    /// Takes a line, and adds the entries that it completes.
    pub(super) fn line(&mut self, line: &[u8], out: &mut VecDeque<LogEntry>) {
        self.lines += 1;
        let stripped;
        let mut line = line;
        if self.coloured {
            stripped = anstream::adapter::strip_bytes(line).into_vec();
            line = &stripped;
        }
        let shortened;
        if self.returns
            && let Some(text) = line.strip_suffix(b"\r\n")
        {
            shortened = [text, b"\n"].concat();
            line = &shortened;
        }
        match &mut self.form {
            Form::Typed(sources) => {
                let entry = typed(line, sources);
                self.known += u64::from(entry.is_some());
                self.torn += u64::from(entry.is_none() && is_torn(line));
                out.extend(entry);
            }
            Form::Saved(lines) => match lines.next(line) {
                Some(line) => self.saved(&line, out),
                None => self.torn += u64::from(self.is_json && is_torn(line)),
            },
        }
    }

    fn saved(&mut self, line: &SavedLine<'_>, out: &mut VecDeque<LogEntry>) {
        let is_last = self.last.split('\0').eq([&*line.namespace, &line.pod, &line.container]);
        if !is_last {
            self.last = [&*line.namespace, &line.pod, &line.container].join("\0");
        }
        if !self.streams.contains_key(&self.last) {
            let stream = Stream::new(named(&self.base, line));
            self.streams.insert(self.last.clone(), stream);
        }
        let Some(stream) = self.streams.get_mut(&self.last) else { return };
        self.known += u64::from(stream.take(line, out) || line.time.is_some());
    }

    /// Why not all lines could be read, where it is so.
    pub(super) fn trouble(&self) -> Option<io::Error> {
        let told = || format!("without {}, torn or altered: no JSON, as the others are", counted(self.torn, "line"));
        (self.torn > 0).then(|| io::Error::other(told()))
    }

    /// Adds what is still open.
    pub(super) fn finish(&mut self, out: &mut VecDeque<LogEntry>) {
        for stream in self.streams.values_mut() {
            self.known += u64::from(stream.finish(out));
        }
    }

    /// Whether the next line may belong to what was read before.
    pub(super) fn is_inside_message(&self) -> bool {
        self.streams.values().any(|stream| stream.assembler.is_inside_message())
    }
}

impl Stream {
    fn new(source: LogSource) -> Self {
        Self {
            source: Arc::new(source),
            assembler: Assembler::mixed(),
            part: Vec::new(),
            stamp: None,
            time: Timestamp::UNIX_EPOCH,
            is_late: false,
        }
    }

    /// Tells whether a record of a form that is known was completed.
    fn take(&mut self, line: &SavedLine<'_>, out: &mut VecDeque<LogEntry>) -> bool {
        self.part.extend_from_slice(&line.text);
        if line.is_partial && self.part.len() < LONGEST_LINE {
            return false;
        }
        self.part.push(b'\n');
        let was_open = self.assembler.is_open();
        let done = self.assembler.push(&self.part);
        self.part.clear();
        let (before, late) = (self.stamp, self.is_late);
        if !was_open || self.assembler.is_open() && done.is_some() {
            (self.stamp, self.is_late) = (line.time, line.is_late);
        }
        let (stamp, late) = if was_open { (before, late) } else { (line.time, line.is_late) };
        done.is_some_and(|record| self.entry(record, stamp, late, out))
    }

    /// Tells likewise.
    fn finish(&mut self, out: &mut VecDeque<LogEntry>) -> bool {
        let mut is_known = false;
        if !self.part.is_empty() {
            let rest = SavedLine { time: self.stamp, ..SavedLine::default() };
            is_known = self.take(&rest, out);
        }
        let rest = self.assembler.finish();
        rest.is_some_and(|record| self.entry(record, self.stamp, self.is_late, out)) || is_known
    }

    fn entry(&mut self, record: Record, stamp: Option<Timestamp>, late: bool, out: &mut VecDeque<LogEntry>) -> bool {
        let own = record.head().time;
        self.time = own.or(stamp).unwrap_or(self.time);
        out.push_back(LogEntry { source: self.source.clone(), time: self.time, record, late });
        own.is_some()
    }
}

/// The source of a line: what was saved with it, else what the log's own name tells.
fn named(base: &LogSource, line: &SavedLine<'_>) -> LogSource {
    if line.pod.is_empty() {
        return base.clone();
    }
    let component = component_of(&line.pod).or_else(|| component_of(&line.container));
    let component = component.map_or_else(|| base.component.clone(), |c| c.name().to_owned());
    LogSource {
        namespace: shown(&line.namespace),
        pod: shown(&line.pod),
        container: shown(if line.container.is_empty() { &component } else { &line.container }),
        component,
        origin: LogOrigin::Output,
        ..base.clone()
    }
}

/// What the names of logs tell of who wrote them. Where a name tells no more than the component, logs that lie apart are of
/// several pods, called by what tells their directories apart.
pub(super) fn of_paths<'p>(paths: impl Iterator<Item = &'p Path> + Clone) -> Vec<LogSource> {
    let mut all: Vec<LogSource> = paths.clone().map(of_path).collect();
    let homes: Vec<Vec<&str>> = paths.map(home).collect();
    let mut by_component: BTreeMap<String, BTreeSet<&[&str]>> = BTreeMap::new();
    let is_nameless = |source: &LogSource| !source.component.is_empty() && source.pod == source.component;
    for (source, home) in all.iter().zip(&homes).filter(|(source, _)| is_nameless(source)) {
        by_component.entry(source.component.clone()).or_default().insert(home);
    }
    let own = |component: &str, home: &[&str]| {
        let of_component = by_component.get(component)?;
        let (first, last) = (of_component.first()?, of_component.last()?);
        // They are sorted: what these two share all do.
        let shared = first.iter().zip(*last).take_while(|(a, b)| a == b).count();
        home.get(shared).map(|name| (*name).to_owned())
    };
    let mut users: HashMap<String, BTreeSet<&str>> = HashMap::new();
    for (component, homes) in &by_component {
        for name in homes.iter().filter_map(|home| own(component, home)) {
            users.entry(name).or_default().insert(component);
        }
    }
    for (source, home) in all.iter_mut().zip(&homes).filter(|(source, _)| is_nameless(source)) {
        if let Some(name) = own(&source.component, home) {
            let is_shared = users.get(&name).is_some_and(|users| users.len() > 1);
            let name = if is_shared { format!("{name}/{}", source.component) } else { name };
            source.pod = shown(&name);
        }
    }
    all
}

/// The directory of a pod's logs, without what every pod has inside: `/var/log/bono`.
fn home(path: &Path) -> Vec<&str> {
    let parent = path.parent().unwrap_or(Path::new(""));
    let mut names: Vec<&str> = parent.iter().filter_map(|name| name.to_str()).collect();
    if let Some(root) = names.windows(2).position(|pair| pair == ["var", "log"]) {
        names.truncate(root);
    }
    let is_inside = |name: &&str| {
        matches!(*name, "log" | "logs" | "supervisor") || Component::ALL.iter().any(|c| c.name() == *name)
    };
    while names.last().is_some_and(is_inside) {
        names.pop();
    }
    names
}

/// What the name of a log tells of who wrote it. Anybody may have made it.
fn of_path(path: &Path) -> LogSource {
    let names: Vec<&str> = path.iter().filter_map(|p| p.to_str()).collect();
    let name = path.to_string_lossy();
    if let Some(NodeLog { namespace, pod, container }) = NodeLog::of(&names) {
        let component = component_of(pod).or_else(|| component_of(container)).map_or("", Component::name);
        let (namespace, container) = (shown(namespace), shown(container));
        return LogSource { namespace, container, ..unnamed(component, pod, LogOrigin::File(shown(&name))) };
    }
    let pod = names.iter().find_map(|name| pod(name));
    let component = match pod {
        Some(pod) => beginning(pod),
        None => names.iter().rev().take(2).find_map(|name| beginning(name)),
    };
    let component = component.map_or("", Component::name);
    let pod = pod.unwrap_or(if component.is_empty() { &name } else { component });
    unnamed(component, pod, LogOrigin::File(shown(&name)))
}

/// What the names of a node's logs tell: `NAMESPACE_POD_UID/CONTAINER/0.log` in `/var/log/pods`, and
/// `POD_NAMESPACE_CONTAINER-ID.log` in `/var/log/containers` (kubernetes `pkg/kubelet/kuberuntime/{helpers,legacy}.go`). No
/// name of Kubernetes' holds an underscore.
struct NodeLog<'p> {
    namespace: &'p str,
    pod: &'p str,
    container: &'p str,
}

impl<'p> NodeLog<'p> {
    fn of(names: &[&'p str]) -> Option<Self> {
        let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        names.iter().enumerate().find_map(|(at, name)| {
            let mut parts = name.split('_');
            let (Some(first), Some(second), Some(last), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return None;
            };
            // A pod that a file on the node defines has a hash for its UID.
            if matches!(last.len(), 32 | 36) && is_hex(last) {
                let container = names.get(at + 1..names.len() - 1).and_then(<[_]>::first).copied().unwrap_or_default();
                return Some(Self { namespace: first, pod: second, container });
            }
            let (container, id) = last.split_once(".log")?.0.rsplit_once('-')?;
            (id.len() == 64 && is_hex(id)).then_some(Self { namespace: second, pod: first, container })
        })
    }
}

/// The source of what came without a name.
pub(super) fn unnamed(component: &str, pod: &str, origin: LogOrigin) -> LogSource {
    LogSource {
        component: shown(component),
        namespace: String::new(),
        pod: shown(pod),
        node: String::new(),
        address: String::new(),
        container: shown(component),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        origin,
    }
}

fn shown(name: &str) -> String {
    printable(name).into_owned()
}

/// The component that a name begins with: `homestead-prov` begins with `homestead`, too.
fn beginning(name: &str) -> Option<Component> {
    let begins = |c: &Component| {
        name.strip_prefix(c.name()).is_some_and(|rest| !rest.starts_with(|l: char| l.is_ascii_alphanumeric()))
    };
    Component::ALL.into_iter().filter(begins).max_by_key(|c| c.name().len())
}

/// The pod in the name of a file or a directory: a component's name with what a StatefulSet (`-0`) or a Deployment
/// (`-5f649d585b-92x7j`) puts behind it.
fn pod(name: &str) -> Option<&str> {
    let name = name.split('.').next()?;
    let own = beginning(name)?.name();
    let rest: Vec<&str> = name.strip_prefix(own)?.strip_prefix('-')?.split('-').collect();
    let all = |word: &str, fits: fn(&u8) -> bool| !word.is_empty() && word.bytes().all(|b| fits(&b));
    let fits = match rest[..] {
        [ordinal] => ordinal.len() < 5 && all(ordinal, u8::is_ascii_digit),
        [hash, random] => {
            (6..=10).contains(&hash.len())
                && random.len() == 5
                && all(hash, u8::is_ascii_alphanumeric)
                && all(random, u8::is_ascii_alphanumeric)
        }
        _ => false,
    };
    fits.then_some(name)
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Typed {
    kind: String,
    time: Option<Timestamp>,
    late: bool,
    component: String,
    namespace: String,
    pod: String,
    container: String,
    node: String,
    address: String,
    source: String,
    message: String,
}

/// Whether a line is a part of an object. What a tool says of itself among them is none.
fn is_torn(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    (line.starts_with(b"{") || line.ends_with(b"}")) && serde_json::from_slice::<IgnoredAny>(line).is_err()
}

/// A typed record. What is none, as a gap, is passed over.
fn typed(line: &[u8], sources: &mut HashMap<String, Arc<LogSource>>) -> Option<LogEntry> {
    let typed: Typed = serde_json::from_slice(line).ok()?;
    if typed.kind != "record" {
        return None;
    }
    let key = [&*typed.namespace, &typed.pod, &typed.container, &typed.source].join("\0");
    let source = sources.entry(key).or_insert_with(|| {
        Arc::new(LogSource {
            component: shown(&typed.component),
            namespace: shown(&typed.namespace),
            pod: shown(&typed.pod),
            node: shown(&typed.node),
            address: shown(&typed.address),
            container: shown(&typed.container),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            origin: match &*typed.source {
                "stdout" => LogOrigin::Output,
                "previous" => LogOrigin::Previous,
                path => LogOrigin::File(shown(path)),
            },
        })
    });
    let message = typed.message + "\n";
    let record = Record::new(guess_grammar(message.as_bytes()), message.into_bytes());
    Some(LogEntry { source: source.clone(), time: typed.time.unwrap_or_default(), record, late: typed.late })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_tell_component_and_pod() {
        let of = |path: &str| {
            let source = of_path(Path::new(path));
            (source.component, source.pod)
        };
        let two = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(of("night/sprout.log"), two("sprout", "sprout"));
        assert_eq!(of("night/sprout-0.log"), two("sprout", "sprout-0"));
        let tree = "t/sprout-5f649d585b-92x7j/var/log/clearwater-etcd/clearwater-etcd.log";
        assert_eq!(of(tree), two("sprout", "sprout-5f649d585b-92x7j"));
        assert_eq!(of("t/homestead-prov-0/a.txt"), two("homestead-prov", "homestead-prov-0"));
        assert_eq!(of("bono-calls/sprout_20261123T100000Z.txt"), two("sprout", "sprout"));
        assert_eq!(of("x/y.log"), two("", "x/y.log"));
    }

    #[test]
    fn names_of_a_nodes_logs_tell_namespace_pod_and_container() {
        let (uid, hash, id) = ("0f3b0c0e-7f6c-4e8b-9d55-7a2f6a1c9b10", "a1".repeat(16), "c0".repeat(32));
        let pod = "sprout-5f649d585b-92x7j";
        for (path, container) in [
            (format!("n/pods/ims_{pod}_{uid}/sprout/0.log"), "sprout"),
            (format!("n/pods/ims_{pod}_{hash}/sprout/0.log.20261123-100000.gz"), "sprout"),
            (format!("ims_{pod}_{uid}/0.log"), ""),
            (format!("var/log/containers/{pod}_ims_sprout-{id}.log"), "sprout"),
        ] {
            let source = &of_paths([Path::new(&path)].into_iter())[0];
            let told = [&source.namespace, &source.pod, &source.container, &source.component];
            assert_eq!(told, ["ims", pod, container, "sprout"], "{path}");
        }
        // Its container tells the component of a pod with a name of somebody's own.
        let edge = of_path(Path::new(&format!("ims_edge-a_{uid}/bono/0.log")));
        assert_eq!((edge.pod.as_str(), edge.component.as_str()), ("edge-a", "bono"));
        assert_eq!(of_path(Path::new("a_b_c/sprout.log")).pod, "sprout");
    }

    #[test]
    fn pods_with_names_of_ones_own_are_told_apart_by_their_directories() {
        let pods = |paths: &[&str]| -> Vec<String> {
            of_paths(paths.iter().map(Path::new)).into_iter().map(|source| source.pod).collect()
        };
        let rows: [(&[&str], &[&str]); 6] = [
            (&["n/edge-a/bono_1.txt", "n/edge-a/bono_2.txt", "n/edge-b/bono_1.txt"], &["edge-a", "edge-a", "edge-b"]),
            (&["n/edge-a/var/log/bono/bono_1.txt", "n/edge-b/var/log/bono/bono_1.txt"], &["edge-a", "edge-b"]),
            (&["r.zip/logs/edge-a/bono/now.log", "r.zip/logs/edge-b/bono/now.log"], &["edge-a", "edge-b"]),
            // One pod, whose logs lie in several directories.
            (&["n/var/log/bono/bono_1.txt", "n/var/log/supervisor/bono.log", "n/bono.log"], &["bono"; 3]),
            (&["n/bono.log", "n/edge-b/bono.log", "n/sprout.log"], &["bono", "edge-b", "sprout"]),
            (
                &["a/bono.log", "b/bono.log", "a/sprout.log", "b/sprout.log", "b/bono-0.log"],
                &["a/bono", "b/bono", "a/sprout", "b/sprout", "bono-0"],
            ),
        ];
        for (paths, expected) in rows {
            assert_eq!(pods(paths), expected);
        }
    }
}
