use bytes::Bytes;

use super::LogGrammar;
use super::line::{Line, cut_note};

/// The most that a C++ daemon writes in one log call, in bytes; the rest is lost and told of in a note (cpp-common
/// `src/log.cpp`, `MAX_LOGLINE`).
pub(super) const LONGEST_CALL: usize = 8192;

/// One or more lines that belong together, with their line ends, as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub(super) grammar: LogGrammar,
    pub(super) bytes: Bytes,
    pub(super) head_len: usize,
    pub(super) is_rest: bool,
}

impl Record {
    /// A record of these bytes, whose first line is its head.
    pub fn new(grammar: LogGrammar, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let head_len = memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |end| end + 1);
        Self { grammar, bytes, head_len, is_rest: false }
    }

    /// The grammar it was read in.
    pub fn grammar(&self) -> LogGrammar {
        self.grammar
    }

    /// Every byte of it, line ends included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its first line, taken apart.
    pub fn head(&self) -> Line<'_> {
        Line::parse(self.grammar, &self.bytes[..self.head_len])
    }

    /// Its lines, with their ends.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let (head, tail) = self.bytes.split_at(self.head_len);
        Some(head).filter(|head| !head.is_empty()).into_iter().chain(tail.split_inclusive(|b| *b == b'\n'))
    }

    /// How many characters of it the daemon did not write, because a log call may not be longer than 8192 bytes. The
    /// note that says so is the record's last line.
    pub fn cut(&self) -> Option<u64> {
        self.written().1
    }

    /// Whether it is a line of a record that was longer than any may be, and was closed before it.
    pub fn is_rest(&self) -> bool {
        self.is_rest
    }

    /// Whether it tells of nothing but that somebody looked: an answer of 200 to a probe (`GET /ping`), in an access log, or
    /// supervisord's end of a process that it did not start (`reaped unknown pid`), as every program that is run inside of the
    /// container leaves one.
    ///
    /// ```
    /// use clearwater::log::{LogGrammar, Record};
    ///
    /// let of = |grammar, line: &'static str| Record::new(grammar, line).is_of_looking();
    /// assert!(of(LogGrammar::CppAccess, "27-11-2026 23:29:10.157 UTC 200 GET /ping 0.000000 seconds"));
    /// assert!(!of(LogGrammar::CppAccess, "27-11-2026 23:29:10.157 UTC 503 GET /ping 0.000000 seconds"));
    /// assert!(of(LogGrammar::Supervisord, "2026-11-23 00:12:31,123 INFO reaped unknown pid 41"));
    /// ```
    pub fn is_of_looking(&self) -> bool {
        match self.grammar {
            LogGrammar::CppAccess => {
                let text = self.head().text;
                text.strip_prefix(b"200 GET /ping").is_some_and(|rest| matches!(rest, [] | [b' ', ..]))
            }
            LogGrammar::NginxAccess => {
                let mut quoted = self.head().text.split(|b| *b == b'"').skip(1);
                quoted.next().is_some_and(|asked| asked.starts_with(b"GET /ping "))
                    && quoted.next().is_some_and(|answer| answer.starts_with(b" 200 "))
            }
            LogGrammar::Supervisord => self.head().text.starts_with(b"reaped unknown pid "),
            LogGrammar::Cpp
            | LogGrammar::Python
            | LogGrammar::NginxError
            | LogGrammar::Cassandra
            | LogGrammar::Plain => false,
        }
    }

    /// The same in memory of its own, and no more of it than a daemon writes at once: records that are read share memory.
    pub(super) fn compact(&self) -> Self {
        let bytes = Bytes::copy_from_slice(&self.bytes[..self.bytes.len().min(LONGEST_CALL)]);
        Self { head_len: self.head_len.min(bytes.len()), bytes, ..*self }
    }

    /// The same in memory of its own, and all of it.
    pub(super) fn copied(&self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), ..*self }
    }

    /// What follows the first line: the rest of a message or of a trace. Empty for a record of one line.
    pub fn tail(&self) -> &[u8] {
        &self.bytes[self.head_len..]
    }

    /// The same without the note behind a record that was cut, and what the note says.
    pub(super) fn written(&self) -> (&[u8], Option<u64>) {
        let tail = self.tail();
        if self.grammar != LogGrammar::Cpp {
            return (tail, None);
        }
        let note = last_line(tail);
        let cut = cut_note(note);
        (if cut.is_some() { &tail[..tail.len() - note.len()] } else { tail }, cut)
    }
}

/// The last line, with its end.
fn last_line(bytes: &[u8]) -> &[u8] {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    memchr::memrchr(b'\n', body).map_or(bytes, |end| &bytes[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looking_leaves_is_known_and_nothing_else_is() {
        for (grammar, line, is) in [
            (LogGrammar::CppAccess, "27-11-2026 23:29:10.157 UTC 200 GET /ping 0.000000 seconds\n", true),
            (LogGrammar::CppAccess, "27-11-2026 23:29:10.157 UTC 200 GET /ping\n", true),
            (LogGrammar::CppAccess, "27-11-2026 23:29:10.157 UTC 200 GET /pingo 0.0 seconds\n", false),
            (LogGrammar::CppAccess, "27-11-2026 23:29:10.157 UTC 500 GET /ping 0.000000 seconds\n", false),
            (LogGrammar::CppAccess, "27-11-2026 23:29:10.157 UTC 200 GET /impi/a%40b/av 0.1 seconds\n", false),
            (
                LogGrammar::NginxAccess,
                "10.0.0.1 - - [23/Nov/2026:10:00:00 +0000] \"GET /ping HTTP/1.1\" 200 2 \"-\" \"curl\"\n",
                true,
            ),
            (
                LogGrammar::NginxAccess,
                "10.0.0.1 - - [23/Nov/2026:10:00:00 +0000] \"GET /ping HTTP/1.1\" 502 2 \"-\" \"curl\"\n",
                false,
            ),
            (
                LogGrammar::NginxAccess,
                "10.0.0.1 - - [23/Nov/2026:10:00:00 +0000] \"GET /x HTTP/1.1\" 200 2 \"-\" \"GET /ping x\"\n",
                false,
            ),
            (LogGrammar::NginxAccess, "\"", false),
            (LogGrammar::Supervisord, "2026-11-23 00:12:31,123 INFO reaped unknown pid 41 (exit status 0)\n", true),
            (LogGrammar::Supervisord, "2026-11-23 00:12:31,123 INFO exited: bono (exit status 1)\n", false),
            (LogGrammar::Plain, "2026-11-23 00:12:31,123 INFO reaped unknown pid 41\n", false),
        ] {
            assert_eq!(Record::new(grammar, line).is_of_looking(), is, "{line}");
        }
    }
}
