mod draw;
mod failure;
mod sketch;

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::{Identity, Level, Record, SipMessage};
use crate::text::Printable;

pub use failure::CallFailure;
pub use sketch::Sketch;

/// What a [`Ladder`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// One dialogue or transaction, by its Call-ID.
    Call(String),
    /// Everything that names a subscriber.
    Subscriber(Identity),
}

impl Traced {
    /// Whether a record is about it.
    pub fn is_in(&self, record: &[u8]) -> bool {
        match self {
            Self::Call(id) => memchr::memmem::find(record, id.as_bytes()).is_some(),
            Self::Subscriber(identity) => identity.is_mentioned_in(record),
        }
    }

    /// The same, or not known before the header is read: a Call-ID is compared as it is shown, and may stand there otherwise.
    fn may_be_in(&self, record: &[u8]) -> bool {
        matches!(self, Self::Call(id) if id.contains('\\')) || self.is_in(record)
    }

    pub(super) fn has(&self, message: &SipMessage<'_>) -> bool {
        match self {
            Self::Call(id) => message.call_id().is_some_and(|c| c == id.as_str()),
            Self::Subscriber(identity) => {
                ["From", "To", "P-Asserted-Identity", "P-Preferred-Identity"]
                    .iter()
                    .any(|h| message.headers(h).any(|v| identity.is_mentioned_in(v.as_bytes())))
                    || identity.is_mentioned_in(message.start_line().as_bytes())
            }
        }
    }
}

/// A SIP message that went from one party to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct LadderHop {
    /// When it was logged first.
    pub time: Timestamp,
    /// The column that it left.
    pub from: Printable,
    /// The column that it came to.
    pub to: Printable,
    /// The method, or the status with its reason.
    pub text: Printable,
    /// The status code, for a response.
    pub status: Option<u16>,
    /// The CSeq, which belongs to one request and its responses.
    pub cseq: Printable,
    /// The Call-ID.
    pub call_id: Printable,
    /// The function of sprout that it was handed to, where it did not leave the process (`icscf`, `scscf-proxy`): it
    /// comes to the column that it left.
    pub function: Option<Printable>,
    /// Whether the message was cut: by the daemon, or because its end never came.
    pub is_cut: bool,
    /// Its place among all records.
    place: usize,
    branch: Printable,
    sent: bool,
    received: bool,
    /// Whether nothing but the address is known of the other party.
    is_peer_unknown: bool,
}

impl LadderHop {
    /// What is written at its arrow: of an answer, what it answers as well.
    fn label(&self) -> Printable {
        let mut label = self.text.to_string();
        if let (Some(_), Some(method)) = (self.status, self.cseq.split_ascii_whitespace().nth(1)) {
            let _ = write!(label, " ({method})");
        }
        if let Some(function) = &self.function {
            let _ = write!(label, " → {function}");
        }
        if self.is_cut {
            label.push_str(" [cut]");
        }
        label.into()
    }
}

/// A line that was logged between the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LadderNote {
    /// When it was logged.
    pub time: Timestamp,
    /// The column of who logged it.
    pub lane: Printable,
    /// How grave it is, where it says so.
    pub level: Option<Level>,
    /// The line, without time and level.
    pub text: Printable,
    /// Its place among all records.
    place: usize,
}

/// The SIP messages of a call, or of a subscriber, over all components, and what was logged between them: a sequence
/// diagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    lanes: Vec<Printable>,
    hops: Vec<LadderHop>,
    notes: Vec<LadderNote>,
}

/// Whether a line that is no SIP message may stand between messages: what says more than level info does not.
fn may_be_note(record: &Record) -> bool {
    !record.is_rest() && record.head().level <= Some(Level::Info)
}

/// What is drawn in one line.
enum Step<'a> {
    Hop(&'a LadderHop),
    Note(&'a LadderNote),
}

impl Step<'_> {
    fn time(&self) -> Timestamp {
        self.place().0
    }

    fn place(&self) -> (Timestamp, usize) {
        match self {
            Self::Hop(hop) => (hop.time, hop.place),
            Self::Note(note) => (note.time, note.place),
        }
    }
}

/// How long before the first message and after the last one a line may have been logged to be drawn.
const AROUND: SignedDuration = SignedDuration::from_millis(200);

/// Who logged a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged<'a> {
    /// Its column.
    pub lane: &'a str,
    /// When.
    pub time: Timestamp,
    /// What.
    pub record: &'a Record,
}

impl Ladder {
    /// The columns, in the order in which they appear.
    pub fn lanes(&self) -> &[Printable] {
        &self.lanes
    }

    /// The messages, in the order in which they were logged.
    pub fn hops(&self) -> &[LadderHop] {
        &self.hops
    }

    /// What was logged between them.
    pub fn notes(&self) -> &[LadderNote] {
        &self.notes
    }

    /// The last error, or else warning, that was logged before a moment and within a second of it.
    pub fn cause(&self, of: Timestamp) -> Option<&LadderNote> {
        let near = |n: &&LadderNote| {
            let before = of.duration_since(n.time);
            !before.is_negative() && before <= SignedDuration::from_secs(1)
        };
        let last = |level: Level| self.notes.iter().rev().filter(near).find(|n| n.level == Some(level));
        last(Level::Error).or_else(|| last(Level::Warning))
    }

    fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let mut hops = self.hops.iter().map(Step::Hop).peekable();
        let mut notes = self.notes.iter().map(Step::Note).peekable();
        std::iter::from_fn(move || match (hops.peek(), notes.peek()) {
            (Some(hop), Some(note)) if note.place() < hop.place() => notes.next(),
            (Some(_), _) => hops.next(),
            (None, _) => notes.next(),
        })
    }
}

/// The branch of the topmost Via; a header field may hold several, with commas between (RFC 3261 §7.3.1).
fn branch(via: &str) -> &str {
    let topmost = via.split(',').next().unwrap_or_default();
    topmost.split(';').find_map(|p| p.trim().strip_prefix("branch=")).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests;
