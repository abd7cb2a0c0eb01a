use std::borrow::Cow;

use memchr::memmem;

use super::Record;
use super::line::trim_end;
use crate::text::printable;

/// Which way a logged SIP message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Received from the peer.
    Received,
    /// Sent to the peer.
    Sent,
    /// Handed from one of sprout's functions to the next, inside the process.
    Internal,
}

/// A SIP message in a log record (sprout `src/common_sip_processing.cpp`, `src/sproutletproxy.cpp`; written from
/// `log_level` 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipMessage<'a> {
    /// Which way it went.
    pub direction: Direction,
    /// The transport as it was logged (`TCP`, `UDP`, `WS`); empty for internal hops.
    pub transport: &'a [u8],
    /// The peer's address and port as they were logged, or the function's name for internal hops.
    pub peer: &'a [u8],
    /// The message, from its first line to the end of its body, or to where the daemon cut it.
    pub message: &'a [u8],
    /// How many characters the daemon cut off: see [`Record::cut`].
    pub cut: Option<u64>,
    /// Whether the mark behind it was seen. It is missing where the daemon cut it, or was killed, and where it was longer
    /// than any record may be.
    pub is_whole: bool,
}

impl<'a> SipMessage<'a> {
    /// The message in a record, or `None` where it holds none.
    pub fn of(record: &'a Record) -> Option<Self> {
        let head = record.head().text;
        let announced = Self::announced_bytes(head)?;
        let (tail, cut) = record.written();
        let start = memmem::find(tail, b"--start msg--")?;
        let body = &tail[start + b"--start msg--".len()..];
        let end = memmem::rfind(body, b"--end msg--").filter(|_| cut.is_none());
        let body = match cut {
            // The cut may go through the mark behind the message.
            Some(_) => {
                let body = skip_blank_lines(body);
                &body[..body.len().min(announced)]
            }
            None => skip_blank_lines(&body[..end.unwrap_or(body.len())]),
        };
        let message = body.strip_suffix(b"\n").unwrap_or(body);
        let (direction, transport, peer) = parties(head)?;
        Some(Self { direction, transport, peer, message, cut, is_whole: end.is_some() })
    }

    /// The number of bytes that the head of a record announces, where it announces a SIP message.
    pub(crate) fn announced_bytes(head: &[u8]) -> Option<usize> {
        // Most heads are none, which is seen at once: the message comes behind a colon.
        let head = trim_end(head).strip_suffix(b":")?;
        let at = memmem::find(head, b" bytes")?;
        let before = &head[..at];
        let digits = before.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let lead = &before[..before.len() - digits];
        let announces = lead.ends_with(b"RX ")
            || lead.ends_with(b"TX ")
            || (lead.ends_with(b"(") && memmem::find(lead, b"Routing ").is_some());
        if !announces || digits == 0 || digits > 9 {
            return None;
        }
        std::str::from_utf8(&before[before.len() - digits..]).ok()?.parse().ok()
    }

    /// What the program that wrote a head calls the message in its memory: `rdata0x7f188a7a5340`. A message that it logs twice has
    /// one name, and one that comes when it is gone may have the same.
    pub(super) fn name_in_memory(head: &[u8]) -> Option<&[u8]> {
        let at = memmem::rfind(head, b"(rdata0x")? + 1;
        head[at..].split(|b| *b == b')').next()
    }

    /// The request line or status line, [`printable`].
    pub fn start_line(&self) -> Cow<'a, str> {
        let end = memchr::memchr(b'\n', self.message).unwrap_or(self.message.len());
        shown(trim_end(&self.message[..end]))
    }

    /// The status code, for a response.
    pub fn status(&self) -> Option<u16> {
        let line = self.start_line();
        line.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method: the request's own, or the one that a response's CSeq names.
    pub fn method(&self) -> Option<Cow<'a, str>> {
        if self.status().is_none() {
            return match self.start_line() {
                Cow::Borrowed(line) => line.split(' ').next().map(Cow::Borrowed),
                Cow::Owned(line) => line.split(' ').next().map(|m| Cow::Owned(m.to_owned())),
            };
        }
        let cseq = self.header("CSeq")?;
        cseq.split_ascii_whitespace().nth(1).map(|m| Cow::Owned(m.to_owned()))
    }

    /// The value of Call-ID.
    pub fn call_id(&self) -> Option<Cow<'a, str>> {
        self.header("Call-ID")
    }

    /// The value of the first header field of that name, in full or compact form (RFC 3261 §7.3.3), unfolded and
    /// [`printable`].
    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        self.headers(name).next()
    }

    /// The values of every header field of that name, in order.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        let compact = compact_form(name);
        let name = name.to_owned();
        fields(self.message).filter_map(move |field| {
            let colon = memchr::memchr(b':', field)?;
            let key = field[..colon].trim_ascii();
            let named = key.eq_ignore_ascii_case(name.as_bytes())
                || compact.is_some_and(|c| key.eq_ignore_ascii_case(c.as_bytes()));
            named.then(|| unfold(&field[colon + 1..]))
        })
    }
}

fn compact_form(name: &str) -> Option<&'static str> {
    const FORMS: [(&str, &str); 9] = [
        ("call-id", "i"),
        ("contact", "m"),
        ("content-encoding", "e"),
        ("content-length", "l"),
        ("content-type", "c"),
        ("from", "f"),
        ("subject", "s"),
        ("to", "t"),
        ("via", "v"),
    ];
    FORMS.iter().find(|(long, _)| name.eq_ignore_ascii_case(long)).map(|(_, short)| *short)
}

/// The header fields of a message, each with its folded lines, without the start line.
fn fields(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = memchr::memchr(b'\n', message).map_or(&b""[..], |end| &message[end + 1..]);
    std::iter::from_fn(move || {
        let mut end = 0;
        loop {
            let line = memchr::memchr(b'\n', &rest[end..]).map_or(rest.len(), |n| end + n + 1);
            if end == 0 && trim_end(&rest[..line]).is_empty() {
                return None;
            }
            end = line;
            if end >= rest.len() || !matches!(rest[end], b' ' | b'\t') {
                let (field, after) = rest.split_at(end);
                rest = after;
                return Some(field);
            }
        }
    })
}

fn unfold(value: &[u8]) -> Cow<'_, str> {
    let value = value.trim_ascii();
    if value.contains(&b'\n') {
        let lines: Vec<_> = value.split(|b| *b == b'\n').map(|l| shown(l.trim_ascii())).collect();
        Cow::Owned(lines.join(" "))
    } else {
        shown(value)
    }
}

/// What a peer wrote, as it may be shown.
fn shown(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => printable(text),
        Cow::Owned(text) => Cow::Owned(printable(&text).into_owned()),
    }
}

/// Reads direction, transport and peer from the end of the head: `… from TCP 10.0.0.1:5060:`.
fn parties(head: &[u8]) -> Option<(Direction, &[u8], &[u8])> {
    let head = head.strip_suffix(b":").unwrap_or(head);
    if let Some(at) = memmem::find(head, b"Routing ") {
        return Some((
            Direction::Internal,
            &b""[..],
            memchr::memrchr(b' ', head).map_or(&head[at..], |s| &head[s + 1..]),
        ));
    }
    let (direction, mark) = if memmem::find(head, b"RX ").is_some() {
        (Direction::Received, &b" from "[..])
    } else {
        (Direction::Sent, &b" to "[..])
    };
    let rest = &head[memmem::rfind(head, mark)? + mark.len()..];
    let space = rest.iter().position(|b| *b == b' ')?;
    Some((direction, &rest[..space], &rest[space + 1..]))
}

fn skip_blank_lines(mut text: &[u8]) -> &[u8] {
    while let [b'\r' | b'\n', rest @ ..] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Assembler, LogGrammar};
    use super::*;

    fn record(text: &str) -> Record {
        let mut assembler = Assembler::new(LogGrammar::Cpp);
        text.as_bytes()
            .split_inclusive(|b| *b == b'\n')
            .find_map(|l| assembler.push(l))
            .or_else(|| assembler.finish())
            .expect("one record")
    }

    #[test]
    fn a_response_is_taken_apart() {
        let body =
            "SIP/2.0 401 Unauthorized\r\ni: abc@ue\r\nCSeq: 7 REGISTER\r\nSubject: folded\r\n  value\r\n\r\nbody";
        let text = format!(
            "23-11-2026 10:00:00.123 UTC Verbose common_sip_processing.cpp:93: TX {} bytes Response msg \
             401/REGISTER/cseq=7 (tdta0x1) to TCP 10.244.1.7:5058:\n--start msg--\n\n{body}\n--end msg--\n",
            body.len()
        );
        let record = record(&text);
        let message = SipMessage::of(&record).expect("a message");
        assert_eq!(message.direction, Direction::Sent);
        assert_eq!((message.transport, message.peer), (&b"TCP"[..], &b"10.244.1.7:5058"[..]));
        assert_eq!(message.status(), Some(401));
        assert_eq!(message.method().as_deref(), Some("REGISTER"));
        assert_eq!(message.call_id().as_deref(), Some("abc@ue"));
        assert_eq!(message.header("subject").as_deref(), Some("folded value"));
        assert_eq!(message.header("Body"), None);
        assert_eq!(message.message, body.as_bytes());
    }

    #[test]
    fn an_internal_hop_names_the_function() {
        let record = record(
            "23-11-2026 10:00:00.123 UTC Verbose sproutletproxy.cpp:1: Routing Request msg INVITE/cseq=1 (tdta0x1) (24 \
             bytes) to downstream sproutlet scscf:\n--start msg--\n\nINVITE sip:a@b SIP/2.0\r\n\n--end msg--\n",
        );
        let message = SipMessage::of(&record).expect("a message");
        assert_eq!((message.direction, message.peer), (Direction::Internal, &b"scscf"[..]));
        assert_eq!(message.start_line(), "INVITE sip:a@b SIP/2.0");
    }

    #[test]
    fn what_a_peer_wrote_is_printable() {
        let body = "SIP/2.0 404 Not\u{1b}[2J\rFound\u{202e}\r\nCall-ID: a\u{9b}b\r\nCSeq: 1 IN\u{7}VITE\r\nSubject: \
                    x\u{0}\r\n \u{2066}y\r\n\r\n";
        let record = record(&format!(
            "23-11-2026 10:00:00.123 UTC Verbose common_sip_processing.cpp:93: RX {} bytes Response msg \
             404/INVITE/cseq=1 (rdata0x1) from TCP 192.0.2.1:5060:\n--start msg--\n\n{body}\n--end msg--\n",
            body.len()
        ));
        let message = SipMessage::of(&record).expect("a message");
        assert_eq!(message.start_line(), r"SIP/2.0 404 Not\u{1b}[2J\rFound\u{202e}");
        assert_eq!(message.call_id().as_deref(), Some(r"a\u{9b}b"));
        assert_eq!(message.method().as_deref(), Some(r"IN\u{7}VITE"));
        assert_eq!(message.header("Subject").as_deref(), Some(r"x\u{0} \u{2066}y"));
    }
}
