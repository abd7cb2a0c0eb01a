use bytes::BytesMut;

use super::guess::grammar_of;
use super::line::{Line, cut_note, trim_end};
use super::record::LONGEST_CALL;
use super::{LogGrammar, Record, SipMessage};

/// Records share pieces of memory, so that a line needs none of its own. A quiet stream has small ones; in bytes.
const SMALLEST_PIECE: usize = 512;
const LARGEST_PIECE: usize = 32 * 1024;

/// A record longer than this, in bytes, is closed where it stands, so that a stream without heads cannot grow without
/// bound. It is above the largest SIP message that Clearwater accepts (pjsip `PJSIP_MAX_PKT_LEN`, 65,535). The lines that
/// follow it up to the next head are records of their own, and known as its rest ([`Record::is_rest`]).
const LONGEST_RECORD: usize = 256 * 1024;

/// Puts lines together into records: a line that begins a record closes the one before it.
///
/// Feeding it every line of a stream and then calling [`finish`](Self::finish) yields every byte exactly once, in
/// order. A SIP message closes its record with its last line; inside it a line that looks like the head of another
/// record is taken for part of the message as long as the announced number of bytes has not been seen. One log call
/// writes no more than 8192 bytes: what was longer was cut, and the note that follows it ends the record.
#[derive(Clone, Debug)]
pub struct Assembler {
    /// The grammar of the open record, and of the next one where the stream has one grammar.
    grammar: LogGrammar,
    /// Whether each record may have a grammar of its own.
    is_mixed: bool,
    open: Option<OpenRecord>,
    /// The bytes of the open record.
    bytes: BytesMut,
    /// The size of the next piece.
    piece: usize,
    /// Whether the last record was closed where it stood, and what comes is the rest of it.
    is_rest: bool,
}

#[derive(Clone, Copy, Debug)]
struct OpenRecord {
    head_len: usize,
    message: Message,
    /// Carriage returns of its message that were taken out on the way.
    lost: usize,
}

/// How far the SIP message of an open record has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    None,
    Announced {
        bytes: usize,
    },
    /// `bare`: its lines lost their carriage returns, as what passes through a pipeline may; known once its first line is
    /// seen. RFC 3261 §7 ends every line of a header with one.
    Body {
        left: usize,
        bare: Option<bool>,
    },
}

impl Assembler {
    /// An assembler for one stream of lines.
    pub fn new(grammar: LogGrammar) -> Self {
        Self { grammar, is_mixed: false, open: None, bytes: BytesMut::new(), piece: SMALLEST_PIECE, is_rest: false }
    }

    /// An assembler for a stream that holds lines of several programs, as a file of all logs of one component: each record
    /// has the grammar that its first line shows.
    pub fn mixed() -> Self {
        Self { is_mixed: true, ..Self::new(LogGrammar::Plain) }
    }

    /// Takes a line, with its line end where it has one; gives the record that it completes.
    pub fn push(&mut self, line: &[u8]) -> Option<Record> {
        if self.grammar == LogGrammar::Plain && !self.is_mixed {
            self.append(line);
            return Some(self.record(line.len()));
        }
        let text = trim_end(line);
        // The time that stands before a call is not counted with it, but is shorter than any head of a record.
        let is_full = self.bytes.len() + self.open.map_or(0, |open| open.lost) >= LONGEST_CALL;
        // A body may quote a log. What comes behind a full call is none of it, whatever was announced.
        let inside = !is_full && matches!(self.open, Some(OpenRecord { message: Message::Body { left: 1.., .. }, .. }));
        let grammar = match (inside, self.is_mixed) {
            (true, _) => None,
            // What follows a plain line is a line of its own.
            (false, true) => grammar_of(line).or(self.open.and(Some(self.grammar)).filter(|g| *g == LogGrammar::Plain)),
            (false, false) => Some(self.grammar).filter(|g| Line::begins_record(*g, line)),
        };
        if let Some(grammar) = grammar {
            let done = self.finish();
            self.grammar = grammar;
            self.is_rest = false;
            self.append(line);
            self.open = Some(OpenRecord { head_len: line.len(), message: announced(text), lost: 0 });
            return done;
        }
        let is_note = is_full && self.grammar == LogGrammar::Cpp && cut_note(line).is_some();
        self.append(line);
        if is_note {
            return self.finish();
        }
        let Some(open) = &mut self.open else {
            // Lines before the first head (a file read from its middle) stand for themselves.
            return Some(self.record(line.len()));
        };
        let ends = match open.message {
            Message::None => false,
            Message::Announced { bytes } => {
                if text == b"--start msg--" {
                    // The blank line after the mark is counted with the message.
                    open.message = Message::Body { left: bytes.saturating_add(1), bare: None };
                }
                false
            }
            Message::Body { left, bare } => {
                let bare = bare.or_else(|| (!text.is_empty()).then(|| !line.ends_with(b"\r\n")));
                let returns = usize::from(bare == Some(true));
                let taken = line.len() + returns;
                open.lost += returns;
                open.message = Message::Body { left: left.saturating_sub(taken), bare };
                left == 0 && text == b"--end msg--"
            }
        };
        let is_too_long = !ends && self.bytes.len() > LONGEST_RECORD;
        let done = if ends || is_too_long { self.finish() } else { None };
        self.is_rest = is_too_long;
        done
    }

    /// Gives the record that is still open, at the end of a stream or when nothing more is expected soon.
    pub fn finish(&mut self) -> Option<Record> {
        let OpenRecord { head_len, .. } = self.open.take()?;
        Some(self.record(head_len))
    }

    /// Whether the open record is a SIP message whose last line has not come yet.
    pub fn is_inside_message(&self) -> bool {
        self.open.is_some_and(|open| open.message != Message::None)
    }

    fn append(&mut self, line: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < line.len() {
            self.bytes.reserve(line.len().max(self.piece));
            self.piece = (self.piece * 2).min(LARGEST_PIECE);
        }
        self.bytes.extend_from_slice(line);
    }

    fn record(&mut self, head_len: usize) -> Record {
        Record { grammar: self.grammar, bytes: self.bytes.split().freeze(), head_len, is_rest: self.is_rest }
    }

    /// Whether a record is open whose last line has not come yet.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

fn announced(head: &[u8]) -> Message {
    SipMessage::announced_bytes(head).map_or(Message::None, |bytes| Message::Announced { bytes })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::Level;

    fn records(grammar: LogGrammar, text: &[u8]) -> Vec<Vec<u8>> {
        let mut assembler = Assembler::new(grammar);
        let mut all: Vec<_> = text.split_inclusive(|b| *b == b'\n').filter_map(|l| assembler.push(l)).collect();
        all.extend(assembler.finish());
        all.into_iter().map(|r| r.lines().collect::<Vec<_>>().concat()).collect()
    }

    fn message(body: &str) -> String {
        format!(
            "23-11-2026 10:00:00.123 UTC Verbose common_sip_processing.cpp:87: RX {} bytes Request msg MESSAGE/cseq=1 \
             (rdata0x1) from TCP 10.0.0.1:5:\n--start msg--\n\n{body}\n--end msg--\n",
            body.len()
        )
    }

    #[test]
    fn a_message_stays_whole_even_when_its_body_looks_like_a_log() {
        let head = "23-11-2026 10:00:01.000 UTC Status main.cpp:1: next\n";
        let body = format!("MESSAGE sip:a@b SIP/2.0\r\nCall-ID: x\r\n\r\n{head}--end msg--\nand on");
        let text = format!("{}{head}{}", message(&body), message("OPTIONS sip:a SIP/2.0\r\n\r\n"));
        let got = records(LogGrammar::Cpp, text.as_bytes());
        assert_eq!(got.len(), 3);
        assert_eq!(got[0], message(&body).as_bytes());
    }

    #[test]
    fn a_message_whose_carriage_returns_were_taken_out_ends_with_its_mark() {
        let head = "23-11-2026 10:00:01.000 UTC Status main.cpp:1: next\n";
        let body = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP a\r\nCall-ID: x\r\nTo: <sip:a>\r\n";
        let body = format!("{body}{}", "Route: <sip:b>\r\n".repeat(30));
        let text = format!("{}{head}{head}", message(&body)).replace('\r', "");
        assert_eq!(records(LogGrammar::Cpp, text.as_bytes()).len(), 3);
    }

    #[test]
    fn a_traceback_stays_with_its_line() {
        let text = b"17-10-2016 17:35:11.121 UTC ERROR main.py:1: boom\nTraceback (most recent call last):\n  File x\n\
            17-10-2016 17:35:12.121 UTC INFO main.py:1: ok\n";
        assert_eq!(records(LogGrammar::Python, text).len(), 2);
    }

    #[test]
    fn a_stream_without_heads_is_cut_at_the_bound() {
        let mut text = b"17-10-2016 17:35:11.121 UTC ERROR main.py:1: boom\n".to_vec();
        for _ in 0..9000 {
            text.extend_from_slice(b"a line of forty bytes without any head..\n");
        }
        assert!(records(LogGrammar::Python, &text).iter().all(|r| r.len() <= LONGEST_RECORD + 64));
        let mut assembler = Assembler::new(LogGrammar::Python);
        let next = b"17-10-2016 17:35:12.121 UTC ERROR main.py:1: next\n";
        let lines = text.split_inclusive(|b| *b == b'\n').chain([&next[..]]);
        let all: Vec<Record> = lines.filter_map(|l| assembler.push(l)).collect();
        let last = assembler.finish().unwrap();
        assert!(!all[0].is_rest() && all[1..].iter().all(Record::is_rest) && all.len() > 1);
        assert!(!last.is_rest() && last.bytes() == next);
    }

    const NOTE: &str = "23-11-2026 10:00:00.123 UTC Previous log was truncated by ";

    /// As a daemon writes a message of any size: one log call of 8190 bytes and the line's end, and the note.
    fn logged(thread: &str, body: &str) -> String {
        let time = "23-11-2026 10:00:00.123 UTC ";
        let call = format!(
            "{thread}Verbose common_sip_processing.cpp:77: RX {} bytes Request msg MESSAGE/cseq=1 (rdata0x1) from TCP \
             10.0.0.1:5:\n--start msg--\n\n{body}\n--end msg--",
            body.len()
        );
        match call.get(..8190) {
            Some(kept) if call.len() > 8190 => {
                format!("{time}{kept}\n{NOTE}{} characters\n", call.len() - 8190)
            }
            _ => format!("{time}{call}\n"),
        }
    }

    fn long(bytes: usize, line: &str) -> String {
        let mut body = "MESSAGE sip:a@b SIP/2.0\r\nCall-ID: long\r\n\r\n".to_owned();
        while body.len() < bytes {
            body.push_str(line);
        }
        body.truncate(bytes);
        body
    }

    #[test]
    fn a_message_that_was_cut_ends_with_the_note_and_swallows_nothing() {
        let next = message("OPTIONS sip:a SIP/2.0\r\n\r\n");
        let head = "23-11-2026 10:00:01.000 UTC [7f01] Status main.cpp:1: next\n";
        for thread in ["", "[7f6dc6ffd700] "] {
            // From where nothing is cut over every place in the mark behind the message to 20 kB.
            for bytes in (7990..8100).chain([9_000, 9_796, 20_000]) {
                let body = long(bytes, "a line of a body\r\n");
                let first = logged(thread, &body);
                let text = format!("{first}{next}{head}{next}");
                for text in [text.clone(), text.replace('\r', "")] {
                    let got = records(LogGrammar::Cpp, text.as_bytes());
                    assert_eq!(got.len(), 4, "{bytes} {thread}");
                    assert!(text.as_bytes().starts_with(&got[0]) && got[3] == got[1], "{bytes} {thread}");
                    let record = Record::new(LogGrammar::Cpp, got[0].clone());
                    assert_eq!(record.cut().is_some(), first.contains(NOTE), "{bytes} {thread}");
                    let message = SipMessage::of(&record).expect("a message");
                    assert_eq!(message.call_id().as_deref(), Some("long"));
                    assert_eq!(message.cut, record.cut());
                    if text.contains('\r') {
                        let kept = message.message;
                        assert!(body.as_bytes().starts_with(kept), "{bytes}: {}", String::from_utf8_lossy(kept));
                        assert!(kept.len() == bytes || kept.len() > 7_900, "{bytes} {}", kept.len());
                    }
                }
            }
        }
    }

    #[test]
    fn a_body_may_quote_a_log_with_notes_and_heads() {
        let quoted = format!("{NOTE}17 characters\r\n23-11-2026 10:00:01.000 UTC [7f01] Status main.cpp:1: x\r\n");
        let body = long(5_000, &quoted);
        let text = format!("{}{}", logged("[7f01] ", &body), message("OPTIONS sip:a SIP/2.0\r\n\r\n"));
        let got = records(LogGrammar::Cpp, text.as_bytes());
        assert_eq!(got.len(), 2);
        assert_eq!(Record::new(LogGrammar::Cpp, got[0].clone()).cut(), None);
    }

    #[test]
    fn a_count_that_is_wrong_swallows_no_more_than_one_call() {
        // Of a message with a zero byte, no more than what stands before it is written.
        let head = "23-11-2026 10:00:01.000 UTC [7f01] Status main.cpp:1: next\n";
        let short = message("MESSAGE sip:a SIP/2.0\r\n\r\nshort").replace("RX ", "RX 999");
        let got = records(LogGrammar::Cpp, format!("{short}{}", head.repeat(300)).as_bytes());
        assert!(got[0].len() < LONGEST_CALL + head.len() && got.len() > 150, "{} {}", got[0].len(), got.len());
    }

    #[test]
    fn a_note_alone_is_a_line_and_one_behind_a_long_line_is_of_it() {
        let note = format!("{NOTE}17 characters\n");
        let text = format!("{note}23-11-2026 10:00:01.000 UTC [7f01] Info main.cpp:1: {}\n{note}", "x".repeat(8190));
        let got = records(LogGrammar::Cpp, text.as_bytes());
        let cuts: Vec<_> = got.iter().map(|r| Record::new(LogGrammar::Cpp, r.clone()).cut()).collect();
        assert_eq!(cuts, [None, Some(17)]);
    }

    fn any_grammar() -> impl Strategy<Value = LogGrammar> {
        prop_oneof![
            Just(LogGrammar::Cpp),
            Just(LogGrammar::Python),
            Just(LogGrammar::CppAccess),
            Just(LogGrammar::Supervisord),
            Just(LogGrammar::NginxAccess),
            Just(LogGrammar::NginxError),
            Just(LogGrammar::Cassandra),
            Just(LogGrammar::Plain),
        ]
    }

    fn any_log() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            Just(b"23-11-2026 10:00:00.123 UTC Verbose a.cpp:87: RX 40 bytes x\n".to_vec()),
            Just(b"--start msg--\n".to_vec()),
            Just(b"--end msg--\n".to_vec()),
            Just(b"23-11-2026 10:00:00.123 UTC Previous log was truncated by 17 characters\n".to_vec()),
            Just(b"23-11-2026 10:00:00.123 UTC [7f01] Debug pjsip: x\n".to_vec()),
            Just([vec![b'x'; 8190], b"\n".to_vec()].concat()),
            Just(b"INFO  [main] 2016-10-17 17:35:11,121 C.java:155 - t\n".to_vec()),
            Just(b"\r\n".to_vec()),
        ];
        proptest::collection::vec(piece, 0..30).prop_map(|p| p.concat())
    }

    #[test]
    fn a_file_of_several_programs_is_read_record_by_record() {
        let supervisord = "2026-11-23 00:12:31,123 INFO exited: homestead (exit status 0; not expected)\n".repeat(60);
        let error = "23-11-2026 10:00:01.000 UTC [7f01] Error main.cpp:1: boom\nand more of it\n";
        let message = logged("[7f01] ", &format!("MESSAGE sip:a SIP/2.0\r\n\r\n{supervisord}"));
        let access = "23-11-2026 10:00:02.000 UTC 200 GET /ping 0.000321 seconds\n";
        let proxy = "2026-11-23 10:00:02.409482 E | etcdmain: the proxy fails\n";
        let text = format!("loose\n{supervisord}{error}{message}{access}{error}{proxy}loose\n{proxy}");
        let mut assembler = Assembler::mixed();
        let mut got: Vec<_> =
            text.as_bytes().split_inclusive(|b| *b == b'\n').filter_map(|l| assembler.push(l)).collect();
        got.extend(assembler.finish());
        assert_eq!(got.iter().flat_map(|r| r.bytes().to_vec()).collect::<Vec<_>>(), text.as_bytes());
        let grammars: Vec<_> = got.iter().map(Record::grammar).collect();
        assert_eq!((grammars[0], grammars.len()), (LogGrammar::Plain, 68));
        assert!(grammars[1..61].iter().all(|g| *g == LogGrammar::Supervisord));
        assert_eq!(grammars[61..65], [LogGrammar::Cpp, LogGrammar::Cpp, LogGrammar::CppAccess, LogGrammar::Cpp]);
        assert_eq!(grammars[65..], [LogGrammar::Plain; 3]);
        assert_eq!((got[65].bytes(), got[65].head().level), (proxy.as_bytes(), Some(Level::Error)));
        assert_eq!(got[61].bytes(), error.as_bytes());
        assert_eq!(got[62].bytes(), message.as_bytes());
    }

    proptest! {
        #[test]
        fn every_byte_comes_out_once_and_in_order(grammar in any_grammar(), text in any_log()) {
            prop_assert_eq!(records(grammar, &text).concat(), &text[..]);
            let mut mixed = Assembler::mixed();
            let mut all: Vec<_> = text.split_inclusive(|b| *b == b'\n').filter_map(|l| mixed.push(l)).collect();
            all.extend(mixed.finish());
            prop_assert_eq!(all.iter().flat_map(|r| r.bytes().to_vec()).collect::<Vec<_>>(), text);
        }
    }
}
