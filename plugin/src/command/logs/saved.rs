use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clearwater::component::Component;
use clearwater::log::{Assembler, Lines, Record, guess_grammar};
use clearwater::text::printable;
use clearwater_kube::logs::{LogEntry, LogOrigin, LogSource};
use jiff::Timestamp;

use crate::error::CliError;

/// How much is read at once, in bytes.
const ROOM: usize = 64 * 1024;

/// Logs that were saved, in time order.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    pub(crate) entries: Vec<LogEntry>,
}

impl Saved {
    /// What is to be kept of every file of a directory and those below it. The component is the one that a file's name or directory begins
    /// with.
    pub(crate) fn of_directory(dir: &Path, mut keep: impl FnMut(&LogEntry) -> bool) -> Result<Self, CliError> {
        let mut saved = Self::default();
        saved.directory(dir, &mut keep)?;
        // The order of equal times is that of the files.
        saved.entries.sort_by_key(|e| e.time);
        Ok(saved)
    }

    /// What is to be kept of standard input.
    pub(crate) fn of_stdin(mut keep: impl FnMut(&LogEntry) -> bool) -> Result<Self, CliError> {
        let mut saved = Self::default();
        each_of_stdin(|entry| {
            saved.entries.extend(entry.filter(&mut keep));
            Ok(())
        })?;
        Ok(saved)
    }

    fn directory(&mut self, dir: &Path, keep: &mut dyn FnMut(&LogEntry) -> bool) -> Result<(), CliError> {
        let fail = |source| CliError::Read { path: dir.to_owned(), source };
        let mut paths: Vec<_> = std::fs::read_dir(dir)
            .map_err(fail)?
            .map(|e| e.map(|e| e.path()))
            .collect::<Result<_, _>>()
            .map_err(fail)?;
        paths.sort_by_cached_key(|path| by_age(path));
        for path in paths {
            // A link to the current file would show it twice, and what is no file may never end.
            let Ok(kind) = path.symlink_metadata().map(|meta| meta.file_type()) else { continue };
            if kind.is_dir() {
                self.directory(&path, keep)?;
            }
            if !kind.is_file() {
                continue;
            }
            self.file(&path, keep).map_err(|source| CliError::Read { path: path.clone(), source })?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, keep: &mut dyn FnMut(&LogEntry) -> bool) -> io::Result<()> {
        let component = component(path);
        let name = path.display().to_string();
        let pod = if component.is_empty() { &name } else { &component };
        let source = source(&component, pod, LogOrigin::File(name.clone()));
        let mut file = BufReader::with_capacity(ROOM, File::open(path)?);
        let mut reader = Reader::new(source, file.fill_buf()?);
        let mut lines = Lines::default();
        loop {
            let chunk = file.fill_buf()?;
            let (length, mut rest) = (chunk.len(), chunk);
            if length == 0 {
                break;
            }
            while let Some(line) = lines.next(&mut rest) {
                self.entries.extend(reader.line(line).filter(&mut *keep));
            }
            file.consume(length);
        }
        let last = lines.rest().and_then(|line| reader.line(line));
        self.entries.extend(last.into_iter().chain(reader.finish()).filter(&mut *keep));
        Ok(())
    }
}

/// The names are those of files: anybody may have made them.
fn source(component: &str, pod: &str, origin: LogOrigin) -> LogSource {
    let origin = match origin {
        LogOrigin::File(path) => LogOrigin::File(shown(&path)),
        origin => origin,
    };
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

/// Makes entries of saved lines: of a component's own, or of typed records that were printed before.
struct Reader {
    source: Arc<LogSource>,
    form: Form,
    time: Timestamp,
}

/// What the lines are.
enum Form {
    Own(Assembler),
    Typed(HashMap<String, Arc<LogSource>>),
}

/// How typed records begin.
const TYPED: &[u8] = b"{\"v\":1,\"kind\":";

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

impl Reader {
    /// `first` is what is known of the lines: they show whether they are typed.
    fn new(source: LogSource, first: &[u8]) -> Self {
        let form = if first.starts_with(TYPED) { Form::Typed(HashMap::new()) } else { Form::Own(Assembler::mixed()) };
        Self { source: Arc::new(source), form, time: Timestamp::UNIX_EPOCH }
    }

    fn line(&mut self, line: &[u8]) -> Option<LogEntry> {
        match &mut self.form {
            Form::Own(assembler) => {
                let record = assembler.push(line)?;
                Some(self.entry(record))
            }
            Form::Typed(sources) => typed(line, sources),
        }
    }

    fn finish(&mut self) -> Option<LogEntry> {
        let Form::Own(assembler) = &mut self.form else { return None };
        let record = assembler.finish()?;
        Some(self.entry(record))
    }

    /// Whether the next line may belong to what was read before.
    fn is_inside_message(&self) -> bool {
        matches!(&self.form, Form::Own(assembler) if assembler.is_inside_message())
    }

    fn entry(&mut self, record: Record) -> LogEntry {
        self.time = record.head().time.unwrap_or(self.time);
        LogEntry { source: self.source.clone(), time: self.time, record, late: false }
    }
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

/// Hands out what comes by standard input, and `None` where more is not at hand.
pub(super) fn each_of_stdin(mut take: impl FnMut(Option<LogEntry>) -> Result<(), CliError>) -> Result<(), CliError> {
    let mut input = BufReader::with_capacity(ROOM, io::stdin().lock());
    let mut reader: Option<Reader> = None;
    let mut lines = Lines::default();
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(CliError::Read { path: "standard input".into(), source }),
        };
        let length = chunk.len();
        let reader = reader.get_or_insert_with(|| Reader::new(source("", "", LogOrigin::Output), chunk));
        if length == 0 {
            if let Some(entry) = lines.rest().and_then(|line| reader.line(line)) {
                take(Some(entry))?;
            }
            return reader.finish().map_or(Ok(()), |entry| take(Some(entry)));
        }
        let mut rest = chunk;
        while let Some(line) = lines.next(&mut rest) {
            if let Some(entry) = reader.line(line) {
                take(Some(entry))?;
            }
        }
        input.consume(length);
        if length < ROOM {
            if !lines.is_open()
                && !reader.is_inside_message()
                && let Some(entry) = reader.finish()
            {
                take(Some(entry))?;
            }
            take(None)?;
        }
    }
}

/// Files in the order of their names, and those that were rotated away (`bono.log.2`, `bono.log.1`) before the one that
/// is written to, the oldest first: lines of one millisecond stay in their order.
fn by_age(path: &Path) -> (PathBuf, Reverse<u64>) {
    let rotation = path.extension().and_then(|e| e.to_str()?.parse::<u64>().ok());
    match rotation {
        Some(rotation) => (path.with_extension(""), Reverse(rotation)),
        None => (path.to_owned(), Reverse(0)),
    }
}

fn component(path: &Path) -> String {
    let mut names = path.iter().rev().take(2).filter_map(|p| p.to_str());
    let starts = |name: &str| {
        let begins = |c: &&Component| {
            name.strip_prefix(c.name()).is_some_and(|rest| !rest.starts_with(|l: char| l.is_ascii_alphanumeric()))
        };
        // homestead-prov begins with homestead.
        Component::ALL.iter().filter(begins).max_by_key(|c| c.name().len()).map(|c| c.name().to_owned())
    };
    names.find_map(starts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_directory_are_told_apart_and_merged() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("homestead-prov-0")).unwrap();
        std::fs::write(dir.path().join("homestead-prov-0/a.txt"), "23-11-2026 10:00:02.000 UTC INFO a.py:1: two\n")
            .unwrap();
        let sprout =
            "23-11-2026 10:00:01.000 UTC Error a.cpp:1: one\nmore\n23-11-2026 10:00:03.000 UTC Info a.cpp:1: x\n";
        std::fs::write(dir.path().join("sprout_20261123T100000Z.txt"), sprout).unwrap();
        let saved = Saved::of_directory(dir.path(), |_| true).unwrap();
        let names: Vec<_> = saved.entries.iter().map(|e| e.source.component.as_str()).collect();
        assert_eq!(names, ["sprout", "homestead-prov", "sprout"]);
        assert!(saved.entries[0].record.bytes().ends_with(b"more\n"));
    }

    #[test]
    fn rotated_files_are_read_oldest_first_and_what_is_no_file_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in
            [("bono.log", "three"), ("bono.log.1", "two"), ("bono.log.10", "one"), ("cassandra.log", "x")]
        {
            let line = format!("23-11-2026 10:00:00.000 UTC [7f] Error a.cpp:1: {text}\n");
            std::fs::write(dir.path().join(name), line).unwrap();
        }
        let fifo = std::process::Command::new("mkfifo").arg(dir.path().join("bono.log.2")).status().unwrap();
        assert!(fifo.success());
        let saved = Saved::of_directory(dir.path(), |_| true).unwrap();
        let texts: Vec<_> =
            saved.entries.iter().map(|e| String::from_utf8_lossy(e.record.head().text).into_owned()).collect();
        assert_eq!(texts, ["one", "two", "three", "x"]);
    }

    #[test]
    fn names_of_files_and_of_typed_records_are_printable() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x\u{1b}[2J\n\u{202e}.txt"), "one\n").unwrap();
        let typed = r#"{"v":1,"kind":"record","time":"2026-11-23T10:00:00Z","component":"s\u001b[2J","namespace":"i\n",
            "pod":"p\u202e","container":"c\r","node":"n\u0007","address":"1\u009b","source":"/var/\u2066","message":"m"}"#;
        std::fs::write(dir.path().join("typed.log"), typed.replace("\n            ", "") + "\n").unwrap();
        let saved = Saved::of_directory(dir.path(), |_| true).unwrap();
        assert_eq!(saved.entries.len(), 2);
        for entry in &saved.entries {
            let shown = format!("{:?}", entry.source);
            assert!(!shown.contains(clearwater::text::is_harmful), "{shown}");
            // A debug text writes a backslash twice: one that it escaped itself has one.
            assert!(shown.matches('\\').count() % 2 == 0 && !shown.replace(r"\\", "").contains('\\'), "{shown}");
        }
        let pods: Vec<_> = saved.entries.iter().map(|e| e.source.pod.as_str()).collect();
        assert!(
            pods.iter().any(|p| p.ends_with(r"x\u{1b}[2J\n\u{202e}.txt")) && pods.contains(&r"p\u{202e}"),
            "{pods:?}"
        );
    }
}
