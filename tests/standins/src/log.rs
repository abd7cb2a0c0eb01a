//! Logs with the names, rotation and grammar of the real daemons.
//!
//! C++ daemons: `<svc>_YYYYMMDDTHH0000Z.txt` and a relative `<svc>_current.txt` (cpp-common
//! `src/logger.cpp`), `access_…` beside them (`src/accesslogger.cpp`). Python daemons: the same names, no `_current`
//! (python-common `logging_config`). Cassandra: one `system.log` (its logback.xml).

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::net::http::{Answer, Ask};
use crate::place;

/// The most that one log call writes behind the zone, the line's end included (cpp-common `src/log.cpp`).
const CALL_BYTES: usize = 8191;

/// Clearwater's levels, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// 0
    Error,
    /// 1
    Warning,
    /// 2, shown by default
    Status,
    /// 3
    Info,
    /// 4, SIP messages
    Verbose,
    /// 5
    Debug,
}

impl Level {
    /// Every level, by number.
    pub(crate) const ALL: [Level; 6] =
        [Level::Error, Level::Warning, Level::Status, Level::Info, Level::Verbose, Level::Debug];

    /// The word of the C++ grammar.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Level::Error => "Error",
            Level::Warning => "Warning",
            Level::Status => "Status",
            Level::Info => "Info",
            Level::Verbose => "Verbose",
            Level::Debug => "Debug",
        }
    }

    fn python_word(self) -> &'static str {
        match self {
            Level::Error => "ERROR",
            Level::Warning => "WARNING",
            Level::Status | Level::Info => "INFO",
            Level::Verbose | Level::Debug => "DEBUG",
        }
    }
}

/// What Ellis, homer and homestead-prov write: INFO, which no setting changes (crest, ellis `settings.py`).
pub(crate) const PYTHON_LEVEL: u8 = Level::Info as u8;

/// Whose line form is used. Before each stands `DD-MM-YYYY HH:MM:SS.mmm UTC `, but for Java.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// `[7f0123456789] Level file.cpp:line: text`; without the thread in the release classic.
    Cpp,
    /// `LEVEL file.py:line: text`
    Python,
    /// `LEVEL file.py:line (thread Name): text`, the cluster manager's.
    PythonThreads,
    /// `LEVEL [main] YYYY-MM-DD HH:MM:SS,mmm File.java:line - text`
    Java,
}

/// One log of one daemon.
pub(crate) struct Log {
    folder: PathBuf,
    name: String,
    grammar: Grammar,
    level: u8,
    /// C++ daemons name their thread since October 2017.
    threads: bool,
    /// The cluster manager's plug-in, whose thread says most.
    plugin: String,
    period: Duration,
    open: Mutex<Option<(i64, File)>>,
}

impl Log {
    /// The log `/var/log/<folder>/<name>_….txt` showing levels up to `level`.
    pub(crate) fn new(folder: &str, name: &str, grammar: Grammar, level: u8) -> Self {
        let release = std::fs::read_to_string(place::path("/usr/share/clearwater/standin/release"));
        Self {
            folder: place::path("/var/log").join(folder),
            name: name.to_owned(),
            grammar,
            level,
            threads: !release.is_ok_and(|name| name.trim() == "classic"),
            plugin: "MainThread".to_owned(),
            period: Duration::from_secs(place::knob("STANDIN_LOG_ROTATE_S", 3600).max(1)),
            open: Mutex::new(None),
        }
    }

    /// Names the plug-in whose thread speaks.
    pub(crate) fn of_plugin(mut self, name: &str) -> Self {
        self.plugin = format!("{name}Plugin");
        self
    }

    /// Whether a line of this level is written.
    pub(crate) fn shows(&self, level: Level) -> bool {
        level as u8 <= self.level
    }

    /// Writes one line in the log's grammar; `at` is `file:line`, or the library that says it, such as `pjsip`.
    pub(crate) fn line(&self, level: Level, at: &str, text: &str) {
        self.line_of(Timestamp::now(), own_thread(), level, at, text);
    }

    /// The same for what another thread said before now.
    pub(crate) fn line_of(&self, time: Timestamp, thread: u64, level: Level, at: &str, text: &str) {
        if self.shows(level) {
            self.raw(&self.form(time, thread, level, at, text));
        }
    }

    /// One log call in the log's grammar, with its end, cut where the real one cuts it.
    fn form(&self, time: Timestamp, thread: u64, level: Level, at: &str, text: &str) -> String {
        let zoned = time.strftime("%d-%m-%Y %H:%M:%S%.3f UTC");
        match self.grammar {
            Grammar::Cpp => {
                let id = if self.threads { format!("[{thread:012x}] ") } else { String::new() };
                let call = format!("{id}{} {at}: {text}\n", level.word());
                if call.len() <= CALL_BYTES {
                    return format!("{zoned} {call}");
                }
                let lost = call.len() - CALL_BYTES;
                let kept = String::from_utf8_lossy(&call.as_bytes()[..CALL_BYTES - 1]);
                format!("{zoned} {kept}\n{zoned} Previous log was truncated by {lost} characters\n")
            }
            Grammar::Python => format!("{zoned} {} {at}: {text}\n", level.python_word()),
            Grammar::PythonThreads => {
                // The plug-in's thread does all but start and stop.
                let thread = if at.starts_with("main.py") { "MainThread" } else { &self.plugin };
                format!("{zoned} {} {at} (thread {thread}): {text}\n", level.python_word())
            }
            Grammar::Java => format!(
                "{:<5} [main] {},{:03} {at} - {text}\n",
                match level {
                    Level::Error => "ERROR",
                    Level::Warning => "WARN",
                    _ => "INFO",
                },
                time.strftime("%Y-%m-%d %H:%M:%S"),
                time.as_millisecond().rem_euclid(1000)
            ),
        }
    }

    /// Writes one request in the form of an access log.
    fn access(&self, ask: &str, answer: &Answer, took: Duration) {
        let now = Timestamp::now().strftime("%d-%m-%Y %H:%M:%S%.3f UTC");
        self.raw(&format!("{now} {} {ask} {:.6} seconds\n", answer.status, took.as_secs_f64()));
    }

    /// Writes text as it stands, in the file of the present period. A log that cannot be
    /// written must not stop a daemon, so failures go to stderr, which supervisord keeps.
    pub(crate) fn raw(&self, text: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.current(&mut open).and_then(|file| file.write_all(text.as_bytes()).context("cannot write"));
        if let Err(err) = result {
            let _ = writeln!(std::io::stderr(), "log {} in {}: {err:#}", self.name, self.folder.display());
        }
    }

    fn current<'a>(&self, open: &'a mut Option<(i64, File)>) -> Result<&'a mut File> {
        let period = i64::try_from(self.period.as_secs()).unwrap_or(3600);
        let start = match self.grammar {
            Grammar::Java => 0,
            _ => Timestamp::now().as_second().div_euclid(period) * period,
        };
        if open.as_ref().is_none_or(|(of, _)| *of != start) {
            std::fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
            let file_name = if self.grammar == Grammar::Java {
                format!("{}.log", self.name)
            } else {
                let stamp = Timestamp::from_second(start)?.strftime("%Y%m%dT%H%M%SZ");
                format!("{}_{stamp}.txt", self.name)
            };
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.folder.join(&file_name))
                .with_context(|| format!("cannot open {file_name}"))?;
            if self.grammar == Grammar::Cpp {
                let link = self.folder.join(format!("{}_current.txt", self.name));
                // Two programs may share a log, so the link is replaced in one step.
                let fresh = self.folder.join(format!(".{}_{}", self.name, std::process::id()));
                let _ = std::fs::remove_file(&fresh);
                std::os::unix::fs::symlink(&file_name, &fresh)
                    .and_then(|()| std::fs::rename(&fresh, &link))
                    .with_context(|| format!("cannot link {}", link.display()))?;
            }
            *open = Some((start, file));
        }
        open.as_mut().map(|(_, file)| file).context("no log file is open")
    }
}

/// A number like those that the C library gives to threads: the process in the middle, and the page of a stack at the end.
pub(crate) fn thread_of(process: u32, index: u32) -> u64 {
    let place = u64::from(process.wrapping_mul(0x9E37_79B1)) << 12;
    0x7f00_0000_0000 + (place & 0xff_ff00_0000) + 0xff_f700 - u64::from(index & 0xff) * 0x1000
}

fn own_thread() -> u64 {
    thread_of(std::process::id(), 0)
}

/// A handler that also writes each request into the daemon's access log; what lies below `/standin` is not the daemon's.
pub(crate) fn accesses<H, F>(
    folder: &str,
    handler: H,
) -> impl Fn(Ask) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Clone
where
    H: Fn(Ask) -> F,
    H: Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let log = Arc::new(Log::new(folder, "access", Grammar::Cpp, 5));
    move |ask| {
        let (log, started) = (log.clone(), Instant::now());
        let what = format!("{} {}", ask.method, ask.raw);
        let internal = ask.path.first().is_some_and(|p| p == "standin");
        let answering = handler(ask);
        Box::pin(async move {
            let answer = answering.await;
            if !internal {
                log.access(&what, &answer, started.elapsed());
            }
            answer
        })
    }
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Sets the process's log; the first call wins.
pub(crate) fn init(log: Log) {
    let _ = LOG.set(log);
}

/// Writes to the process's log, if one is set.
pub(crate) fn write(level: Level, at: &str, text: &str) {
    if let Some(log) = LOG.get() {
        log.line(level, at, text);
    }
}

/// `log!(Warning, "file.cpp:12", "text {}", x)`: a line of the process's log.
macro_rules! log {
    ($level:ident, $at:expr, $($text:tt)*) => {
        $crate::log::write($crate::log::Level::$level, $at, &format!($($text)*))
    };
}
pub(crate) use log;

#[cfg(test)]
mod tests {
    use super::*;

    fn log(grammar: Grammar, threads: bool) -> Log {
        let mut log = Log::new("x", "x", grammar, 5).of_plugin("Chronos");
        log.threads = threads;
        log
    }

    fn said(log: &Log, at: &str, text: &str) -> String {
        log.form(Timestamp::UNIX_EPOCH, thread_of(7, 0), Level::Warning, at, text)
    }

    #[test]
    fn each_grammar_has_the_real_ones_form() {
        let id = format!("{:012x}", thread_of(7, 0));
        assert!(id.len() == 12 && id.starts_with("7f"), "{id}");
        let at = "01-01-1970 00:00:00.000 UTC";
        let hunter = log(Grammar::Cpp, true);
        assert_eq!(said(&hunter, "main.cpp:7", "x"), format!("{at} [{id}] Warning main.cpp:7: x\n"));
        assert_eq!(said(&hunter, "(Net-SNMP)", "x"), format!("{at} [{id}] Warning (Net-SNMP): x\n"));
        assert_eq!(said(&log(Grammar::Cpp, false), "main.cpp:7", "x"), format!("{at} Warning main.cpp:7: x\n"));
        assert_eq!(said(&log(Grammar::Python, true), "main.py:7", "x\ny"), format!("{at} WARNING main.py:7: x\ny\n"));
        let manager = log(Grammar::PythonThreads, true);
        assert_eq!(said(&manager, "main.py:7", "x"), format!("{at} WARNING main.py:7 (thread MainThread): x\n"));
        assert_eq!(said(&manager, "fsm.py:7", "x"), format!("{at} WARNING fsm.py:7 (thread ChronosPlugin): x\n"));
    }

    /// The real one's sums: 28 bytes of date and 8191 of the call, and how many are missing.
    #[test]
    fn a_call_is_cut_at_its_8191st_byte_and_the_next_line_says_by_how_many() {
        let log = log(Grammar::Cpp, true);
        let head = said(&log, "a.cpp:1", "").len() - 1 - 28;
        let whole = said(&log, "a.cpp:1", &"x".repeat(8190 - head));
        assert_eq!((whole.len(), whole.lines().count()), (28 + 8191, 1));
        let cut = said(&log, "a.cpp:1", &"x".repeat(8190 - head + 1776));
        let (kept, rest) = cut.split_once('\n').unwrap();
        assert_eq!(kept.len() + 1, 28 + 8191);
        assert_eq!(rest, "01-01-1970 00:00:00.000 UTC Previous log was truncated by 1776 characters\n");
    }
}
