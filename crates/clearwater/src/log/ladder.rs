mod causal;
mod draw;
mod failure;
mod lanes;
mod sketch;
mod store;

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::ending::Cover;
use super::{Identity, Level, Record, SipMessage};
use crate::names::named;
use crate::text::{Printable, printable};

pub use draw::{LadderLine, LadderStep};
pub use failure::CallFailure;
pub use sketch::Sketch;
pub use store::CallStore;

/// What a [`Ladder`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// One dialogue or transaction, by its Call-ID.
    Call(String),
    /// Several of them.
    Calls(BTreeSet<String>),
    /// Everything that names a subscriber.
    Subscriber(Identity),
}

impl Traced {
    /// Whether a record is about it.
    pub fn is_in(&self, record: &[u8]) -> bool {
        match self {
            Self::Call(id) => memchr::memmem::find(record, id.as_bytes()).is_some(),
            Self::Calls(ids) => ids.iter().any(|id| memchr::memmem::find(record, id.as_bytes()).is_some()),
            Self::Subscriber(identity) => identity.is_mentioned_in(record),
        }
    }

    /// The same, or not known before the header is read: a Call-ID is compared as it is shown, and may stand there otherwise;
    /// and of many, one header is read sooner than each is looked for.
    fn may_be_in(&self, record: &[u8]) -> bool {
        match self {
            Self::Call(id) if id.contains(['\\', ' ']) => true,
            Self::Calls(_) => true,
            Self::Call(_) | Self::Subscriber(_) => self.is_in(record),
        }
    }

    pub(super) fn has(&self, message: &SipMessage<'_>) -> bool {
        match self {
            Self::Call(id) => message.call_id().is_some_and(|c| c == id.as_str()),
            Self::Calls(ids) => message.call_id().is_some_and(|c| ids.contains(&*c)),
            Self::Subscriber(identity) => {
                ["From", "To", "P-Asserted-Identity", "P-Preferred-Identity"]
                    .iter()
                    .any(|h| message.headers(h).any(|v| identity.is_mentioned_in(v.as_bytes())))
                    || identity.is_mentioned_in(message.start_line().as_bytes())
            }
        }
    }
}

/// When a record was logged, and its place among all that were read: what one column logged stands in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Logging {
    time: Timestamp,
    place: usize,
}

/// A SIP message that went from one party to another. It has a field for whatever a message is drawn, searched, joined or
/// judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LadderHop {
    /// When it was sent by its sender's log; where that does not have it, when it came.
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
    /// How many bytes it had, those that were cut off with it.
    pub length: usize,
    /// The transport, as it was logged (`TCP`, `UDP`, `WS`); empty for what did not leave the process.
    pub transport: Printable,
    /// The address and port that it came from, where its receiver logged it.
    pub source: Option<Printable>,
    /// The address and port that it was sent to, where its sender logged it.
    pub target: Option<Printable>,
    /// The whole message, where these are kept ([`Sketch::with_messages`]).
    pub message: Option<Bytes>,
    branch: Printable,
    /// What its Vias say, all of them and those below the topmost: of what it came of, or what came of it, one tells what the
    /// other does.
    path: u64,
    below: u64,
    /// What its receiver called it in memory, where that is told: a message that is logged twice has one name.
    name: Option<u64>,
    /// The tags of who asks and of whom it is for.
    tags: (Printable, Printable),
    /// How many hops it is from who asks, as far as it tells.
    depth: u16,
    sent: Option<Logging>,
    received: Option<Logging>,
    /// Whether it answers a challenge, or says that it could.
    has_credentials: bool,
    /// Whether the other party is a phone, as far as the message tells.
    is_of_phone: Option<bool>,
    /// Whether nothing but the address is known of the other party.
    is_peer_unknown: bool,
}

impl LadderHop {
    /// Whether it asks for something within a call: it then has the tags that each answer will have.
    fn asks_within_a_call(&self) -> bool {
        self.status.is_none() && !self.tags.1.is_empty()
    }

    /// What is written at its arrow: of an answer, what it answers as well.
    pub fn label(&self) -> Printable {
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

    /// The lines of the message, where it was kept ([`Sketch::with_messages`]), each as it may be shown.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let message = self.message.as_deref().unwrap_or_default();
        let lines = message.split_inclusive(|b| *b == b'\n');
        lines.map(|line| printable(&String::from_utf8_lossy(line.trim_ascii_end())).into_owned())
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
    logged: Logging,
    /// Whether it is known to be of what is drawn, and not only near.
    is_sure: bool,
    /// How many messages stand above it.
    above: usize,
}

impl LadderNote {
    /// Whether it is a warning or an error.
    pub fn is_grave(&self) -> bool {
        self.level.is_some_and(|level| level <= Level::Warning)
    }
}

/// Which lines are drawn between messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LadderNotes {
    /// None.
    Off,
    /// Warnings and errors.
    Errors,
    /// All that are of the call.
    #[default]
    All,
}

named!(
    /// Its name on the command line.
    LadderNotes, "notes" {
        Off = "off",
        Errors = "errors",
        All = "all",
    }
);

/// The SIP messages of a call, or of a subscriber, over all components, and what was logged between them: a sequence
/// diagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    lanes: Vec<Printable>,
    hops: Vec<LadderHop>,
    notes: Vec<LadderNote>,
    /// The columns whose names are short, with their whole names.
    legend: Vec<(Printable, Printable)>,
    /// What is known of the time that the logs cover.
    cover: Cover,
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
        match self {
            Self::Hop(hop) => hop.time,
            Self::Note(note) => note.time,
        }
    }
}

/// How long before a message and after it a line may have been logged to be drawn, if it names nobody.
const AROUND: SignedDuration = SignedDuration::from_millis(200);

/// Who logged a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged<'a> {
    /// Its column.
    pub lane: &'a str,
    /// The component that it is of; empty where the column's name is all that is known.
    pub component: &'a str,
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

    /// The whole name of a column, where the column has a shorter one: a pod's, or the address of a phone.
    pub fn whole_name(&self, lane: &str) -> Option<&Printable> {
        self.legend.iter().find(|(short, _)| *short == *lane).map(|(_, whole)| whole)
    }

    /// The columns that have shorter names, each with the whole one.
    pub fn legend(&self) -> impl Iterator<Item = (&Printable, &Printable)> {
        self.lanes.iter().filter_map(|lane| Some((lane, self.whole_name(lane)?)))
    }

    /// The messages: none above what it came of, and else each column's in its order.
    pub fn hops(&self) -> &[LadderHop] {
        &self.hops
    }

    /// What was logged between them.
    pub fn notes(&self) -> &[LadderNote] {
        &self.notes
    }

    /// The same with these notes only and, unless they are wanted, without what stayed inside sprout; columns that are left
    /// with nothing go.
    #[must_use]
    pub fn seen(&self, notes: LadderNotes, with_internal: bool) -> Self {
        let is_seen = |hop: &LadderHop| with_internal || hop.function.is_none();
        let mut above = Vec::with_capacity(self.hops.len() + 1);
        above.push(0);
        let mut hops = Vec::new();
        for hop in &self.hops {
            hops.extend(is_seen(hop).then(|| hop.clone()));
            above.push(hops.len());
        }
        let is_wanted = |note: &&LadderNote| match notes {
            LadderNotes::Off => false,
            LadderNotes::Errors => note.is_grave(),
            LadderNotes::All => true,
        };
        let notes = self.notes.iter().filter(is_wanted).map(|note| {
            let above = above.get(note.above).copied().unwrap_or(hops.len());
            LadderNote { above, ..note.clone() }
        });
        let notes: Vec<_> = notes.collect();
        let legend = self.legend.clone();
        let mut seen = Self { lanes: Vec::new(), hops, notes, legend, cover: self.cover };
        seen.find_lanes();
        seen
    }

    /// Finds the columns of what there is.
    fn find_lanes(&mut self) {
        let mut known = HashSet::new();
        let of_hops = self.hops.iter().flat_map(|h| [&h.from, &h.to]);
        let all = of_hops.chain(self.notes.iter().map(|note| &note.lane));
        self.lanes = all.filter(|lane| known.insert((*lane).clone())).cloned().collect();
    }

    /// What was logged of a call before a message went out, and may be why: an error of who sent it, or else of another; or else
    /// a warning. Within a second of it, and the last where there are several. Why a peer said something that logged nothing of
    /// it, no other tells.
    pub fn cause(&self, of: &LadderHop) -> Option<&LadderNote> {
        of.sent?;
        let place = self.hops.iter().position(|hop| std::ptr::eq(hop, of) || hop == of)?;
        let is_near = |note: &&LadderNote| {
            note.is_sure
                && note.above <= place
                && note.time.duration_since(of.time).abs() <= SignedDuration::from_secs(1)
        };
        let grave = self.notes.iter().filter(|note| note.is_grave()).filter(is_near);
        // Of equals `max_by_key` takes the last.
        grave.max_by_key(|note| (note.level.map(std::cmp::Reverse), note.lane == of.from))
    }

    fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let mut hops = self.hops.iter().enumerate().map(|(n, hop)| (n, Step::Hop(hop))).peekable();
        let mut notes = self.notes.iter().peekable();
        std::iter::from_fn(move || match (hops.peek(), notes.peek()) {
            (Some((n, _)), Some(note)) if note.above <= *n => notes.next().map(Step::Note),
            (Some(_), _) => hops.next().map(|(_, step)| step),
            (None, _) => notes.next().map(Step::Note),
        })
    }
}

#[cfg(test)]
mod endings;
#[cfg(test)]
mod tests;
