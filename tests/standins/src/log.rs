//! Logs with the names, rotation and grammar of the real daemons.
//!
//! C++ daemons: `<svc>_YYYYMMDDTHH0000Z.txt` and a relative `<svc>_current.txt` (cpp-common
//! `src/logger.cpp`). Python daemons: the same names, no `_current` (python-common
//! `logging_config`). Cassandra: one `system.log` (its logback.xml).

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::place;

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

/// Whose line form is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// `DD-MM-YYYY HH:MM:SS.mmm UTC Level file.cpp:line: text`
    Cpp,
    /// `DD-MM-YYYY HH:MM:SS.mmm UTC LEVEL file.py:line: text`
    Python,
    /// `LEVEL [main] YYYY-MM-DD HH:MM:SS,mmm File.java:line - text`
    Java,
}

/// One log of one daemon.
pub(crate) struct Log {
    folder: PathBuf,
    name: String,
    grammar: Grammar,
    level: u8,
    period: Duration,
    open: Mutex<Option<(i64, File)>>,
}

impl Log {
    /// The log `/var/log/<folder>/<name>_….txt` showing levels up to `level`.
    pub(crate) fn new(folder: &str, name: &str, grammar: Grammar, level: u8) -> Self {
        Self {
            folder: place::path("/var/log").join(folder),
            name: name.to_owned(),
            grammar,
            level,
            period: Duration::from_secs(place::knob("STANDIN_LOG_ROTATE_S", 3600).max(1)),
            open: Mutex::new(None),
        }
    }

    /// Whether a line of this level is written.
    pub(crate) fn shows(&self, level: Level) -> bool {
        level as u8 <= self.level
    }

    /// Writes one line in the log's grammar; `at` is `file:line`.
    pub(crate) fn line(&self, level: Level, at: &str, text: &str) {
        if self.shows(level) {
            self.raw(&self.form(level, at, text));
        }
    }

    /// One line in the log's grammar, with its end; `at` is `file:line`.
    pub(crate) fn form(&self, level: Level, at: &str, text: &str) -> String {
        let now = Timestamp::now();
        match self.grammar {
            Grammar::Cpp => format!("{} UTC {} {at}: {text}\n", now.strftime("%d-%m-%Y %H:%M:%S%.3f"), level.word()),
            Grammar::Python => {
                format!("{} UTC {} {at}: {text}\n", now.strftime("%d-%m-%Y %H:%M:%S%.3f"), level.python_word())
            }
            Grammar::Java => format!(
                "{:<5} [main] {},{:03} {at} - {text}\n",
                match level {
                    Level::Error => "ERROR",
                    Level::Warning => "WARN",
                    _ => "INFO",
                },
                now.strftime("%Y-%m-%d %H:%M:%S"),
                now.as_millisecond().rem_euclid(1000)
            ),
        }
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
