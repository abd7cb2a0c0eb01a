//! Logs that somebody saved, in time order: of whatever a tool made of them, and without holding them in memory.

mod member;
mod reader;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::Metadata;
#[cfg(unix)]
use std::io::IsTerminal;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use clearwater::component::is_plain_log;
use clearwater::log::Lines;
use clearwater::text::counted;
use clearwater_kube::logs::{LogEntry, LogOrigin, LogSource};
use jiff::Timestamp;

use crate::awaited::awaited;
use crate::bounded::{self, LARGEST, is_device};
use crate::command::reported::{CONTENTS, ReportedLogs};
use crate::context::Context;
use crate::error::{CliError, spelled};

use super::Unread;
use member::{Found, Handles, Member, OF_REPORT, ROOM, Spool, plainly};
use reader::{SavedReader, of_paths, unnamed};

/// Hands on every record of a file or of a directory with all below it, in time order. What cannot be read is named, and the
/// rest goes on.
pub(crate) fn each_of_path(
    path: &Path,
    context: &mut Context,
    unread: &mut Unread,
    take: impl FnMut(&LogEntry, &mut Context) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let (told, tell) = (spelled(path), context.connection().teller());
    let _awaited = awaited(context.results().written(), move || tell(&format!("{told} to be read")));
    let mut logs = Logs::default();
    if let Some(why) = ReportedLogs::unreadable(path) {
        unread.file(&path.join(CONTENTS), &why, context);
    }
    let kind = path.metadata().map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    if kind.is_dir() {
        logs.find(path, context, unread)?;
    } else {
        if is_device(&kind) && !is_own_terminal(&kind) {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is a device and no file: it may never end");
            return Err(CliError::Read { path: path.to_owned(), source });
        }
        let mut found = Found::of(path, &mut logs.spool);
        if found.members.is_empty()
            && let Some(source) = found.error.take()
        {
            return Err(CliError::Read { path: path.to_owned(), source });
        }
        logs.take(path, found, context, unread);
    }
    let nothing = |why: &str| CliError::Read { path: path.to_owned(), source: io::Error::other(why.to_owned()) };
    let lacked = without_reports(&mut logs.members);
    if logs.members.is_empty() {
        return Err(match lacked {
            Some(lacked) => CliError::Connection(format!("{}: this report holds no logs{lacked}", spelled(path))),
            None => nothing("there is no log in it"),
        });
    }
    let (mut came, mut take) = (false, take);
    each_of_members(logs.members, context, unread, |entry, context| {
        came = true;
        take(entry, context)
    })?;
    // What could not be read is told by whoever asked for it.
    if came || unread.nothing().is_some() { Ok(()) } else { Err(nothing("there is nothing in it to be read")) }
}

/// Of a report, packed or not, the logs alone are read. Yields what the reports say that they lack, where there are any.
fn without_reports(members: &mut Vec<Member>) -> Option<String> {
    let handles = Handles::default();
    let reports: Vec<(PathBuf, ReportedLogs)> = members
        .iter()
        .filter(|member| member.name.file_name().is_some_and(|name| name == CONTENTS))
        .filter_map(|member| {
            let text = bounded::all(member.open(&handles).ok()?, LARGEST).ok()?;
            Some((member.name.parent()?.to_owned(), ReportedLogs::read(&text)?))
        })
        .collect();
    members.retain(|member| {
        reports.iter().all(|(root, _)| !member.name.starts_with(root) || member.name.starts_with(root.join(OF_REPORT)))
    });
    let lacked = reports.iter().map(|(_, said)| said.lacks()).collect::<String>();
    (!reports.is_empty()).then_some(lacked)
}

/// Whether it is the terminal that somebody writes to this program by.
#[cfg(unix)]
fn is_own_terminal(kind: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    io::stdin().is_terminal() && std::fs::metadata("/dev/stdin").is_ok_and(|input| input.rdev() == kind.rdev())
}

#[cfg(not(unix))]
fn is_own_terminal(_: &Metadata) -> bool {
    false
}

/// The same of logs in memory, each by the path that tells whose it is.
pub(crate) fn each_of_texts<'a>(
    texts: impl Iterator<Item = (&'a str, &'a [u8])>,
    context: &mut Context,
    unread: &mut Unread,
    take: impl FnMut(&LogEntry, &mut Context) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut spool = Spool::default();
    let members = texts.map(|(name, text)| Member::taken(name.into(), text, &mut spool)).collect::<Result<_, _>>()?;
    each_of_members(members, context, unread, take)
}

fn each_of_members(
    members: Vec<Member>,
    context: &mut Context,
    unread: &mut Unread,
    mut take: impl FnMut(&LogEntry, &mut Context) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let sources = of_paths(members.iter().map(|member| member.name.as_path()));
    let logs = members.into_iter().zip(sources);
    let mut logs: Vec<Log> = logs.map(|(member, source)| Log { member, source, open: None }).collect();
    let handles = Handles::default();
    let mut turns = BinaryHeap::new();
    for (index, log) in logs.iter().enumerate() {
        // Of many files few are open at once: the others are only asked where they begin.
        match OpenMember::new(log, &handles).and_then(|mut log| log.next()) {
            Ok(Some(first)) => turns.push(Reverse((first.time, index))),
            Ok(None) => {}
            Err(error) => unread.file(&log.member.name, &error, context),
        }
    }
    let all = logs.len();
    while let Some(Reverse((time, index))) = turns.pop() {
        let (now, next) = logs[index].turn(&handles);
        if let Some(Err(error)) = now.map(|entry| take(&entry, context)) {
            if matches!(error, CliError::Ended(_)) {
                // Those that wait for their turn, and this one.
                context.talk().warning(stopped(all - turns.len() - 1, all));
            }
            return Err(error);
        }
        match next {
            // The order within a log is its own.
            Ok(Some(next)) => turns.push(Reverse((next.max(time), index))),
            Ok(None) => logs[index].close(context, unread),
            Err(error) => {
                unread.part(&logs[index].member.name, &error, context);
                logs[index].close(context, unread);
            }
        }
    }
    Ok(())
}

/// How far a reading came that was ended early.
pub(crate) fn stopped(read: usize, all: usize) -> String {
    match all {
        0 => "stopped before anything was read".to_owned(),
        all => format!("stopped after reading {read} of {}: there may be more", counted(all, "log")),
    }
}

/// Hands out what comes by standard input, and `None` where more is not at hand. Yields how many lines there were, and how
/// many of them were in a form that is known.
pub(crate) fn each_of_stdin(
    mut take: impl FnMut(Option<LogEntry>) -> Result<(), CliError>,
) -> Result<(u64, u64), CliError> {
    let fail = |source| CliError::Read { path: "standard input".into(), source };
    let input = io::BufReader::with_capacity(ROOM, io::stdin());
    let mut input = member::unpacked(Box::new(input)).and_then(member::text).map_err(fail)?;
    let mut reader: Option<SavedReader> = None;
    let (mut lines, mut out) = (Lines::default(), VecDeque::new());
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            // What came before it was right.
            Err(source) => return Err(fail(io::Error::other(source))),
        };
        let length = chunk.len();
        let reader = reader.get_or_insert_with(|| SavedReader::new(unnamed("", "", LogOrigin::Output), chunk));
        if length == 0 {
            if let Some(line) = lines.rest() {
                reader.line(line, &mut out);
            }
            reader.finish(&mut out);
            out.drain(..).try_for_each(|entry| take(Some(entry)))?;
            if reader.lines == 0 {
                return Err(fail(io::Error::other("nothing came by it")));
            }
            if let Some(trouble) = reader.trouble() {
                return Err(fail(trouble));
            }
            return Ok((reader.lines, reader.known));
        }
        let mut rest = chunk;
        while let Some(line) = lines.next(&mut rest) {
            reader.line(line, &mut out);
            out.drain(..).try_for_each(|entry| take(Some(entry)))?;
        }
        input.consume(length);
        if length < ROOM {
            if !lines.is_open() && !reader.is_inside_message() {
                reader.finish(&mut out);
                out.drain(..).try_for_each(|entry| take(Some(entry)))?;
            }
            take(None)?;
        }
    }
}

/// The logs that are found.
#[derive(Default)]
struct Logs {
    members: Vec<Member>,
    spool: Spool,
}

/// How many of an archive's links are named.
const MOST_LINKS: usize = 5;

impl Logs {
    /// Finds those of a directory and those below it.
    fn find(&mut self, dir: &Path, context: &mut Context, unread: &mut Unread) -> Result<(), CliError> {
        let fail = |source| CliError::Read { path: dir.to_owned(), source };
        let entries = std::fs::read_dir(dir).map_err(fail)?;
        let mut paths: Vec<_> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>().map_err(fail)?;
        paths.sort_by_cached_key(|path| by_age(path));
        for path in paths {
            match path.symlink_metadata().map(|meta| meta.file_type()) {
                Ok(kind) if kind.is_dir() => {
                    if let Err(CliError::Read { path, source }) = self.find(&path, context, unread) {
                        unread.file(&path, &source, context);
                    }
                }
                Ok(kind) if kind.is_file() => {
                    let found = Found::of(&path, &mut self.spool);
                    self.take(&path, found, context, unread);
                }
                // What it leads to is read under its own name, or lies elsewhere.
                Ok(kind) if kind.is_symlink() => {
                    context.talk().warning(format!("{}: not read: a link, which is not followed", spelled(path)));
                }
                // It may never end.
                Ok(_) => context.talk().warning(format!("{}: not read: no file", spelled(path))),
                Err(error) => unread.file(&path, &error, context),
            }
        }
        Ok(())
    }

    /// Takes what is in a file, and says what of it is not read.
    fn take(&mut self, path: &Path, found: Found, context: &mut Context, unread: &mut Unread) {
        match &found.error {
            Some(error) if found.members.is_empty() => unread.file(path, error, context),
            Some(error) => unread.part(path, error, context),
            None => {}
        }
        let links = &found.passed_over;
        if !links.is_empty() {
            let named: Vec<_> = links.iter().take(MOST_LINKS).map(spelled).collect();
            let more = if links.len() > MOST_LINKS { ", …" } else { "" };
            context.talk().warning(format!(
                "{}: not read: {}, links in it or no files, which are not followed: {}{more}",
                spelled(path),
                counted(links.len(), "member"),
                named.join(", ")
            ));
        }
        self.members.extend(found.members);
    }
}

/// A log, opened when its turn comes.
struct Log {
    member: Member,
    /// What its name tells of who wrote it.
    source: LogSource,
    open: Option<(Box<OpenMember>, Option<LogEntry>)>,
}

/// A log that is being read.
struct OpenMember {
    input: Box<dyn BufRead>,
    lines: Lines,
    reader: SavedReader,
    out: VecDeque<LogEntry>,
    has_ended: bool,
    /// Why no more of it can be read: told when all that came before has been handed out.
    error: Option<io::Error>,
}

impl Log {
    /// Yields the record whose turn it is, and when the next one was written.
    fn turn(&mut self, handles: &Handles) -> (Option<LogEntry>, io::Result<Option<Timestamp>>) {
        if self.open.is_none() {
            let begun = OpenMember::new(self, handles).and_then(|mut open| open.next().map(|first| (open, first)));
            match begun {
                Ok((open, first)) => self.open = Some((Box::new(open), first)),
                Err(error) => return (None, Err(error)),
            }
        }
        let Some((open, next)) = &mut self.open else { return (None, Ok(None)) };
        let now = next.take();
        match open.next() {
            Ok(following) => {
                *next = following;
                (now, Ok(next.as_ref().map(|entry| entry.time)))
            }
            Err(error) => (now, Err(error)),
        }
    }

    /// Nothing more of it is held. Where nothing of it was understood, that is said, unless there is nothing to understand.
    fn close(&mut self, context: &mut Context, unread: &mut Unread) {
        let Some((open, _)) = self.open.take() else { return };
        if let Some(trouble) = open.reader.trouble() {
            unread.part(&self.member.name, &trouble, context);
        }
        if self.member.name.file_name().and_then(|name| name.to_str()).is_some_and(is_plain_log) {
            return;
        }
        unread.understood(&self.member.name, open.reader.lines, open.reader.known, context);
    }
}

impl OpenMember {
    fn new(log: &Log, handles: &Handles) -> io::Result<Self> {
        let mut input = log.member.open(handles)?;
        let reader = SavedReader::new(log.source.clone(), input.fill_buf().map_err(plainly)?);
        Ok(Self { input, lines: Lines::default(), reader, out: VecDeque::new(), has_ended: false, error: None })
    }

    fn next(&mut self) -> io::Result<Option<LogEntry>> {
        while self.out.is_empty() && !self.has_ended {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.error = Some(plainly(error));
                    &[]
                }
            };
            let (length, mut rest) = (chunk.len(), chunk);
            if length == 0 {
                if let Some(line) = self.lines.rest() {
                    self.reader.line(line, &mut self.out);
                }
                self.reader.finish(&mut self.out);
                self.has_ended = true;
            }
            while let Some(line) = self.lines.next(&mut rest) {
                self.reader.line(line, &mut self.out);
            }
            self.input.consume(length);
        }
        match self.out.pop_front() {
            Some(entry) => Ok(Some(entry)),
            None => self.error.take().map_or(Ok(None), Err),
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
