use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::LogGrammar;
use crate::names::named;

/// The severity of a line, by the names and numbers of Clearwater's `log_level` (cpp-common `include/log.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// 0.
    Error,
    /// 1.
    Warning,
    /// 2, the default of every daemon.
    Status,
    /// 3.
    Info,
    /// 4: SIP messages appear.
    Verbose,
    /// 5.
    Debug,
}

/// A word that is no level.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown log level {0:?}; known: error, warning, status, info, verbose, debug, or 0 to 5")]
pub struct UnknownLevel(pub String);

named! {
    /// The word used in options and JSON.
    Level {
        Error = "error",
        Warning = "warning",
        Status = "status",
        Info = "info",
        Verbose = "verbose",
        Debug = "debug",
    }
}

impl Level {
    /// The number that `log_level` takes.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The level that a logged word stands for, in whatever grammar it was written.
    pub(crate) fn from_word(word: &[u8]) -> Option<Self> {
        // As the C++ daemons write them.
        match word {
            b"Error" => return Some(Self::Error),
            b"Warning" => return Some(Self::Warning),
            b"Status" => return Some(Self::Status),
            b"Info" => return Some(Self::Info),
            b"Verbose" => return Some(Self::Verbose),
            b"Debug" => return Some(Self::Debug),
            _ => {}
        }
        let is = |w: &str| word.eq_ignore_ascii_case(w.as_bytes());
        let any = |ws: &[&str]| ws.iter().any(|w| is(w));
        if any(&["error", "critical", "crit", "fatal", "err", "alert", "emerg"]) {
            Some(Self::Error)
        } else if any(&["warning", "warn"]) {
            Some(Self::Warning)
        } else if any(&["status", "notice"]) {
            Some(Self::Status)
        } else if is("info") {
            Some(Self::Info)
        } else if any(&["verbose", "blather"]) {
            Some(Self::Verbose)
        } else if any(&["debug", "trace", "trac"]) {
            Some(Self::Debug)
        } else {
            None
        }
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(s: &str) -> Result<Self, UnknownLevel> {
        Self::ALL
            .into_iter()
            .find(|l| l.name() == s || l.number().to_string() == s)
            .ok_or_else(|| UnknownLevel(s.to_owned()))
    }
}

/// The head of a record, taken apart. Every field borrows from the line it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was written, at the resolution of its grammar. Grammars that name no zone are taken as UTC, which is
    /// what the containers run in.
    pub time: Option<Timestamp>,
    /// The thread that wrote it: an id in hexadecimal digits in a C++ daemon (from late 2017 on), a name in Python and
    /// in Cassandra.
    pub thread: Option<&'a [u8]>,
    /// How grave it is.
    pub level: Option<Level>,
    /// The place in the source that wrote it (`file.cpp:123`), or the program for supervisord.
    pub place: Option<&'a [u8]>,
    /// The text after the head, without the line's end.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads the head of a line. What does not follow the grammar comes back whole as text.
    pub fn parse(grammar: LogGrammar, line: &'a [u8]) -> Self {
        let line = trim_end(line);
        let whole = Self { time: None, thread: None, level: None, place: None, text: line };
        let parsed = match grammar {
            LogGrammar::Cpp | LogGrammar::Python => cpp(line),
            LogGrammar::CppAccess => cpp_access(line),
            LogGrammar::Supervisord => supervisord(line),
            LogGrammar::NginxAccess => nginx_access(line),
            LogGrammar::NginxError => nginx_error(line),
            LogGrammar::Cassandra => cassandra(line),
            LogGrammar::Plain => plain(line),
        };
        parsed.unwrap_or(whole)
    }

    /// Whether the line begins a record rather than continuing one.
    pub(crate) fn begins_record(grammar: LogGrammar, line: &[u8]) -> bool {
        match grammar {
            LogGrammar::Plain => true,
            LogGrammar::Cpp | LogGrammar::Python => cpp(trim_end(line)).is_some_and(|l| l.level.is_some()),
            _ => Line::parse(grammar, line).time.is_some(),
        }
    }
}

/// How many characters the record before this line lost, where the line is the note that a C++ daemon writes behind a
/// record that it cut (cpp-common `src/log.cpp`: `MAX_LOGLINE`). The note has neither thread nor level.
pub(super) fn cut_note(line: &[u8]) -> Option<u64> {
    let (_, text) = cpp_time(trim_end(line))?;
    cut_characters(text)
}

fn cut_characters(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"Previous log was truncated by ")?.strip_suffix(b" characters")?;
    u64::try_from(number(digits)?).ok()
}

pub(crate) fn trim_end(mut line: &[u8]) -> &[u8] {
    while let [head @ .., b'\n' | b'\r'] = line {
        line = head;
    }
    line
}

fn number(digits: &[u8]) -> Option<i32> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0_i32, |n, d| d.is_ascii_digit().then(|| n * 10 + i32::from(*d - b'0')))
}

fn timestamp(year: i32, month: i32, day: i32, clock: [i32; 3], nanos: i32) -> Option<Timestamp> {
    let small = |n: i32| i8::try_from(n).ok();
    let [hour, minute, second] = clock;
    // A leap second is written as 60 and is no civil time of its own.
    let second = second.min(59);
    let at = DateTime::new(
        i16::try_from(year).ok()?,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        nanos,
    )
    .ok()?;
    Offset::UTC.to_timestamp(at).ok()
}

/// Reads `YYYY-MM-DDTHH:MM:SS.fffffffffZ`, as container runtimes write it, with any number of digits of a second. What
/// is written otherwise is left to a slower reader.
pub(super) fn rfc3339(stamp: &[u8]) -> Option<Timestamp> {
    let (date, fraction) = split(stamp, 19)?;
    let &[y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T', ref hms @ ..] = date else { return None };
    let fraction = fraction.strip_suffix(b"Z")?;
    let nanos = match fraction {
        [] => 0,
        [b'.', digits @ ..] if digits.len() <= 9 => {
            number(digits)? * 10_i32.pow(9_u32.checked_sub(u32::try_from(digits.len()).ok()?)?)
        }
        _ => return None,
    };
    timestamp(number(&[y1, y2, y3, y4])?, number(&[mo1, mo2])?, number(&[d1, d2])?, clock(hms)?, nanos)
}

/// Reads `HH:MM:SS`.
fn clock(text: &[u8]) -> Option<[i32; 3]> {
    match text {
        [h1, h2, b':', m1, m2, b':', s1, s2] => {
            Some([number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?])
        }
        _ => None,
    }
}

/// Splits `line` at `at` when both halves exist.
fn split(line: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    line.split_at_checked(at)
}

fn word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.iter().position(|b| *b == b' ')?;
    Some((&line[..end], &line[end + 1..]))
}

/// Reads `DD-MM-YYYY HH:MM:SS.mmm`, then `UTC` where it stands (older releases leave it out).
fn cpp_time(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (stamp, rest) = split(line, 23)?;
    let &[d1, d2, b'-', mo1, mo2, b'-', y1, y2, y3, y4, b' ', ref hms @ .., b'.', f1, f2, f3] = stamp else {
        return None;
    };
    let time = timestamp(
        number(&[y1, y2, y3, y4])?,
        number(&[mo1, mo2])?,
        number(&[d1, d2])?,
        clock(hms)?,
        number(&[f1, f2, f3])? * 1_000_000,
    )?;
    let rest = rest.strip_prefix(b" ")?;
    Some((time, rest.strip_prefix(b"UTC ").unwrap_or(rest)))
}

/// `DD-MM-YYYY HH:MM:SS.mmm UTC [thread] Level file.cpp:line: text` (cpp-common `src/logger.cpp`, `src/log.cpp`).
///
/// Daemons before late 2017 name no thread. What libraries log through a daemon has no place (`Level pjsip: text`).
/// python-common `logging_config.py` writes the same with upper-case levels and the thread behind the place:
/// `LEVEL file.py:line (thread name): text`.
fn cpp(line: &[u8]) -> Option<Line<'_>> {
    let (time, rest) = cpp_time(line)?;
    let (id, after) = thread_id(rest).map_or((None, rest), |(id, after)| (Some(id), after));
    let Some((level, rest)) = word(after).and_then(|(w, rest)| Some((Level::from_word(w)?, rest))) else {
        // The note behind a record that was cut is the only line without a level.
        cut_characters(rest)?;
        return Some(Line { time: Some(time), thread: None, level: None, place: None, text: rest });
    };
    let (place, thread, text) = place_and_thread(rest).unwrap_or((None, None, rest));
    Some(Line { time: Some(time), thread: id.or(thread), level: Some(level), place, text })
}

/// `[7f6063c00c00] `, as `pthread_self` is printed.
fn thread_id(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = text.strip_prefix(b"[")?;
    let end = rest.iter().position(|b| !b.is_ascii_hexdigit()).filter(|end| *end > 0)?;
    Some((&rest[..end], rest[end..].strip_prefix(b"] ")?))
}

type PlaceThreadText<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, &'a [u8]);

/// `file.cpp:line: text` or `file.py:line (thread name): text`.
fn place_and_thread(text: &[u8]) -> Option<PlaceThreadText<'_>> {
    let (first, rest) = word(text).unwrap_or((text, b""));
    if let Some(place) = first.strip_suffix(b":") {
        return is_place(place).then_some((Some(place), None, rest));
    }
    let rest = rest.strip_prefix(b"(thread ").filter(|_| is_place(first))?;
    if let Some(end) = memmem::find(rest, b"): ") {
        return Some((Some(first), Some(&rest[..end]), &rest[end + 3..]));
    }
    Some((Some(first), Some(rest.strip_suffix(b"):")?), b""))
}

fn is_place(text: &[u8]) -> bool {
    let Some(colon) = text.iter().rposition(|b| *b == b':') else { return false };
    colon > 0 && number(&text[colon + 1..]).is_some() && !text[..colon].contains(&b' ')
}

/// `DD-MM-YYYY HH:MM:SS.mmm UTC 200 GET /ping 0.000321 seconds` (cpp-common `src/accesslogger.cpp`; older ones leave the
/// time that it took out).
fn cpp_access(line: &[u8]) -> Option<Line<'_>> {
    let (time, text) = cpp_time(line)?;
    Some(Line { time: Some(time), thread: None, level: None, place: None, text })
}

/// Reads `YYYY-MM-DD HH:MM:SS,mmm`, with any of ` T` and `,.` as separators and three to nine digits of a second.
fn iso_time(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (stamp, rest) = split(line, 20)?;
    let &[y1, y2, y3, y4, b'-' | b'/', mo1, mo2, b'-' | b'/', d1, d2, b' ' | b'T', ref hms @ .., b',' | b'.'] = stamp
    else {
        return None;
    };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let kept = digits.min(9);
    let scale = 10_i32.pow(u32::try_from(9 - kept).ok()?);
    let time = timestamp(
        number(&[y1, y2, y3, y4])?,
        number(&[mo1, mo2])?,
        number(&[d1, d2])?,
        clock(hms)?,
        number(&rest[..kept])? * scale,
    )?;
    Some((time, &rest[digits..]))
}

/// `2026-11-23 00:12:31,123 INFO spawned: 'homestead' with pid 41` (Supervisor, `supervisor/loggers.py`).
fn supervisord(line: &[u8]) -> Option<Line<'_>> {
    let (time, rest) = iso_time(line)?;
    let rest = rest.strip_prefix(b" ")?;
    let (level, text) = word(rest)?;
    let level = Level::from_word(level)?;
    let quoted = text.split(|b| *b == b'\'').nth(1);
    let named = || {
        let (verb, after) = word(text)?;
        matches!(verb, b"exited:" | b"success:" | b"stopped:" | b"gave").then(|| word(after).map_or(after, |(w, _)| w))
    };
    Some(Line { time: Some(time), thread: None, level: Some(level), place: quoted.or_else(named), text })
}

/// `INFO  [main] 2016-10-17 17:35:11,121 CassandraDaemon.java:155 - text` (Cassandra 2.1 `conf/logback.xml`).
fn cassandra(line: &[u8]) -> Option<Line<'_>> {
    let (level, rest) = word(line)?;
    let level = Level::from_word(level)?;
    let rest = rest.trim_ascii_start().strip_prefix(b"[")?;
    // Thread names may hold brackets themselves; the date after the last candidate decides.
    let (thread, time, rest) = rest.windows(2).enumerate().filter(|(_, w)| *w == b"] ").find_map(|(at, _)| {
        let (time, after) = iso_time(&rest[at + 2..])?;
        Some((&rest[..at], time, after))
    })?;
    let rest = rest.strip_prefix(b" ")?;
    let (place, text) = match rest.windows(3).position(|w| w == b" - ") {
        Some(end) if is_place(&rest[..end]) => (Some(&rest[..end]), &rest[end + 3..]),
        _ => (None, rest),
    };
    Some(Line { time: Some(time), thread: Some(thread), level: Some(level), place, text })
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// `10.0.0.1 - - [23/Nov/2026:10:00:00 +0000] "GET /ping HTTP/1.1" 200 2 …` (nginx' `combined` format).
fn nginx_access(line: &[u8]) -> Option<Line<'_>> {
    let open = line.iter().position(|b| *b == b'[')?;
    let (stamp, _) = split(&line[open + 1..], 26)?;
    let &[
        d1,
        d2,
        b'/',
        ref month @ ..,
        b'/',
        y1,
        y2,
        y3,
        y4,
        b':',
        h1,
        h2,
        b':',
        mi1,
        mi2,
        b':',
        s1,
        s2,
        b' ',
        sign @ (b'+' | b'-'),
        z1,
        z2,
        z3,
        z4,
    ] = stamp
    else {
        return None;
    };
    let month = MONTHS.iter().position(|m| *m == month)?;
    let local = timestamp(
        number(&[y1, y2, y3, y4])?,
        i32::try_from(month).ok()? + 1,
        number(&[d1, d2])?,
        [number(&[h1, h2])?, number(&[mi1, mi2])?, number(&[s1, s2])?],
        0,
    )?;
    let offset = i64::from(number(&[z1, z2])?) * 3600 + i64::from(number(&[z3, z4])?) * 60;
    let seconds = local.as_second() - if sign == b'+' { offset } else { -offset };
    let time = Timestamp::from_second(seconds).ok()?;
    let status =
        line.rsplit(|b| *b == b'"').filter_map(|part| part.strip_prefix(b" ")).find_map(|part| number(part.get(..3)?));
    let level = match status {
        Some(500..) => Some(Level::Error),
        Some(400..) => Some(Level::Warning),
        Some(_) => Some(Level::Info),
        None => None,
    };
    Some(Line { time: Some(time), thread: None, level, place: None, text: line })
}

/// `2026/11/23 10:00:00 [error] 31#0: *1 connect() to unix:/tmp/.sock failed …` (nginx' error log).
fn nginx_error(line: &[u8]) -> Option<Line<'_>> {
    let (stamp, rest) = split(line, 19)?;
    let &[y1, y2, y3, y4, b'/', mo1, mo2, b'/', d1, d2, b' ', ref hms @ ..] = stamp else { return None };
    let time = timestamp(number(&[y1, y2, y3, y4])?, number(&[mo1, mo2])?, number(&[d1, d2])?, clock(hms)?, 0)?;
    let rest = rest.strip_prefix(b" [")?;
    let end = rest.iter().position(|b| *b == b']')?;
    let level = Level::from_word(&rest[..end]);
    let text = rest[end + 1..].strip_prefix(b" ").unwrap_or(&rest[end + 1..]);
    Some(Line { time: Some(time), thread: None, level, place: None, text })
}

/// etcd's `2026-11-23 10:00:00.123456 I | etcdserver: text`, and anything that begins with a date.
fn plain(line: &[u8]) -> Option<Line<'_>> {
    if let Some((time, text)) = cpp_time(line) {
        return Some(Line { time: Some(time), thread: None, level: None, place: None, text });
    }
    let (time, rest) = iso_time(line)?;
    let rest = rest.strip_prefix(b"Z").unwrap_or(rest);
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let letter = match rest {
        [l, b' ', b'|', b' ', ..] => match l {
            b'E' | b'C' => Some(Level::Error),
            b'W' => Some(Level::Warning),
            b'N' => Some(Level::Status),
            b'I' => Some(Level::Info),
            b'D' | b'T' => Some(Level::Debug),
            _ => None,
        },
        _ => None,
    };
    let (text, place) = match (letter, rest.get(4..)) {
        (Some(_), Some(text)) => (text, text.windows(2).position(|w| w == b": ").map(|end| &text[..end])),
        _ => (rest, None),
    };
    Some(Line { time: Some(time), thread: None, level: letter, place, text })
}

#[cfg(test)]
mod tests;
