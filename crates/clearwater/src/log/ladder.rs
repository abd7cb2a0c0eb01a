mod draw;

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::identity::Identities;
use super::{Direction, Identity, Level, Record, SipMessage};
use crate::text::Printable;

/// What a [`Ladder`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// One dialogue or transaction, by its Call-ID.
    Call(String),
    /// Everything that names a subscriber.
    Subscriber(Identity),
}

impl Traced {
    /// Whether a record, with the message that it is, may be drawn in its ladder: a message that has to do with it, and
    /// every other line that may stand between messages. Which of these lines are drawn is known only when all messages are: see [`Ladder::of`].
    pub fn may_need(&self, record: &Record, message: Option<&SipMessage<'_>>) -> bool {
        match message {
            // Most messages are of others, and looked at no further.
            Some(message) => self.is_in(record.bytes()) && self.has(message),
            None => may_be_note(record),
        }
    }

    /// Whether a record is about it.
    pub fn is_in(&self, record: &[u8]) -> bool {
        match self {
            Self::Call(id) => memchr::memmem::find(record, id.as_bytes()).is_some(),
            Self::Subscriber(identity) => identity.is_mentioned_in(record),
        }
    }

    fn has(&self, message: &SipMessage<'_>) -> bool {
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
    /// Its place among all records.
    place: usize,
    branch: String,
    sent: bool,
    received: bool,
    /// Whether nothing but the address is known of the other party.
    is_peer_unknown: bool,
}

impl LadderHop {
    /// What is written at its arrow.
    fn label(&self) -> Printable {
        match &self.function {
            Some(function) => format!("{} → {function}", self.text).into(),
            None => self.text.clone(),
        }
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

/// Messages that one end logged, by what is the same at the other end: whether it was the sender, the parties where they are
/// known, the message, and the branch.
type Pairs = HashMap<(bool, Option<[Printable; 2]>, [Printable; 3], String), Vec<usize>>;

/// Whether a line that is no SIP message may stand between messages: what says more than level info does not.
fn may_be_note(record: &Record) -> bool {
    record.head().level <= Some(Level::Info)
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

/// How long before the first message and after the last one a line may have been logged to be drawn.
const AROUND: SignedDuration = SignedDuration::from_millis(200);

/// How many columns peers may have, beside the programs that logged: nobody reads a picture with more, and a subscriber
/// may have thousands. What is too much shares the column [`FURTHER`].
const MOST_PEERS: usize = 30;
const FURTHER: &str = "further peers";

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
    /// The messages about a subject, from records in time order. `lane_of` names the column that an address (without
    /// its port) belongs to, where it is known; other peers are columns of their own.
    ///
    /// A message that both ends logged is one hop. What sprout's functions hand to each other inside of it is a hop from
    /// sprout to itself. Lines between them are drawn when they name the call, or a party of
    /// it, at level info or graver, and when they are warnings or errors of whatever kind.
    pub fn of<'a>(
        records: impl IntoIterator<Item = Logged<'a>>,
        subject: &Traced,
        lane_of: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let records: Vec<Logged<'a>> = records.into_iter().collect();
        let mut ladder = Self::default();
        let mut parties: HashSet<Identity> = HashSet::new();
        let mut peers: HashSet<Printable> = HashSet::new();
        let mut open: Pairs = HashMap::new();
        for (place, logged) in records.iter().enumerate() {
            let Some(message) = SipMessage::of(logged.record) else { continue };
            if !subject.has(&message) {
                continue;
            }
            for name in ["From", "To", "P-Asserted-Identity"] {
                parties.extend(message.headers(name).filter_map(|value| party(&value)));
            }
            let peer = String::from_utf8_lossy(message.peer);
            let own = Printable::from(logged.lane);
            let mut is_peer_unknown = false;
            let mut named = || {
                let host = peer.rsplit_once(':').map_or(&*peer, |(h, _)| h).trim_matches(['[', ']']);
                if let Some(lane) = lane_of(host) {
                    return Printable::from(lane);
                }
                is_peer_unknown = true;
                let host = Printable::from(host);
                if peers.len() < MOST_PEERS {
                    peers.insert(host.clone());
                }
                if peers.contains(&host) { host } else { Printable::from(FURTHER) }
            };
            let (from, to) = match message.direction {
                Direction::Sent => (own, named()),
                Direction::Received => (named(), own),
                Direction::Internal => (own.clone(), own),
            };
            let function = (message.direction == Direction::Internal).then(|| Printable::from(&*peer));
            let status = message.status();
            let line = message.start_line();
            let text = match status {
                Some(_) => line.trim_start_matches("SIP/2.0 "),
                None => line.split(' ').next().unwrap_or_default(),
            };
            let value = |name: &str| message.header(name).unwrap_or_default().into_owned();
            ladder.add(
                &mut open,
                LadderHop {
                    time: logged.time,
                    from,
                    to,
                    text: text.into(),
                    status,
                    cseq: value("CSeq").into(),
                    call_id: value("Call-ID").into(),
                    function,
                    place,
                    branch: branch(&value("Via")),
                    sent: message.direction != Direction::Received,
                    received: message.direction != Direction::Sent,
                    is_peer_unknown,
                },
            );
        }
        for lane in ladder.hops.iter().flat_map(|h| [&h.from, &h.to]) {
            add_lane(&mut ladder.lanes, lane);
        }
        ladder.annotate(&records, subject, &Identities::new(parties.into_iter().collect()));
        ladder
    }

    fn annotate(&mut self, records: &[Logged<'_>], subject: &Traced, parties: &Identities) {
        let span = self.hops.first().zip(self.hops.last()).map(|(first, last)| (first.time, last.time));
        for (place, logged) in records.iter().enumerate() {
            let is_near = span.is_none_or(|(first, last)| {
                logged.time.duration_since(last) <= AROUND && first.duration_since(logged.time) <= AROUND
            });
            let head = logged.record.head();
            if !is_near || !may_be_note(logged.record) || SipMessage::of(logged.record).is_some() {
                continue;
            }
            let bytes = logged.record.bytes();
            // Without a message there is nothing that an error would stand beside.
            let is_grave = span.is_some() && head.level.is_some_and(|l| l <= Level::Warning);
            if is_grave || subject.is_in(bytes) || parties.are_mentioned_in(bytes) {
                let lane = Printable::from(logged.lane);
                add_lane(&mut self.lanes, &lane);
                self.notes.push(LadderNote {
                    time: logged.time,
                    lane,
                    level: head.level,
                    text: String::from_utf8_lossy(head.text).trim_end().into(),
                    place,
                });
            }
        }
    }

    /// Adds a message, or puts it together with the one that its other end logged: the last of those that are the same
    /// but for who logged it. Saved logs may not tell whose an address is: then the branch tells, which no two hops share
    /// (RFC 3261 §8.1.1.7).
    fn add(&mut self, open: &mut Pairs, hop: LadderHop) {
        if hop.function.is_none() {
            let message = || [&hop.text, &hop.cseq, &hop.call_id].map(Clone::clone);
            let parties = Some([hop.from.clone(), hop.to.clone()]);
            let of = |is_sent: bool, parties| (is_sent, parties, message(), hop.branch.clone());
            let by_branch = hop.is_peer_unknown && !hop.branch.is_empty();
            // One that was found by the branch still waits under its parties.
            let mut waiting = |key| {
                let all: &mut Vec<usize> = open.get_mut(&key)?;
                std::iter::from_fn(|| all.pop()).find(|n| self.hops.get(*n).is_some_and(|h| h.sent != h.received))
            };
            let known = waiting(of(!hop.sent, parties.clone()));
            let told = if known.is_none() && by_branch { waiting(of(!hop.sent, None)) } else { None };
            if let Some(other) = known.or(told).and_then(|n| self.hops.get_mut(n)) {
                match told {
                    None => {}
                    Some(_) if other.sent => other.to = hop.to,
                    Some(_) => other.from = hop.from,
                }
                (other.sent, other.received) = (true, true);
                return;
            }
            open.entry(of(hop.sent, parties)).or_default().push(self.hops.len());
            if by_branch {
                open.entry(of(hop.sent, None)).or_default().push(self.hops.len());
            }
        }
        self.hops.push(hop);
    }

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

    /// The first request that nobody answered in these logs; an ACK is not answered. What stays inside sprout does not
    /// count: its functions may answer in another's place.
    pub fn unanswered(&self) -> Option<&LadderHop> {
        let responses = self.on_the_wire().filter(|h| h.status.is_some());
        let answered: HashSet<_> = responses.map(|h| (&h.to, &h.from, &h.cseq, &h.branch)).collect();
        let mut requests = self.on_the_wire().filter(|h| h.status.is_none() && h.text != "ACK");
        requests.find(|h| !answered.contains(&(&h.from, &h.to, &h.cseq, &h.branch)))
    }

    fn steps(&self) -> Vec<Step<'_>> {
        let mut all: Vec<(usize, Step<'_>)> = self.hops.iter().map(|h| (h.place, Step::Hop(h))).collect();
        all.extend(self.notes.iter().map(|n| (n.place, Step::Note(n))));
        all.sort_by_key(|(place, _)| *place);
        all.into_iter().map(|(_, step)| step).collect()
    }

    fn on_the_wire(&self) -> impl Iterator<Item = &LadderHop> {
        self.hops.iter().filter(|h| h.function.is_none())
    }

    /// The first response that says that a request failed: 4xx other than the challenges 401 and 407, 5xx or 6xx; one
    /// that stayed inside sprout only where none was sent.
    pub fn failure(&self) -> Option<&LadderHop> {
        let failed = |h: &&LadderHop| h.status.is_some_and(|s| s >= 400 && !matches!(s, 401 | 407));
        self.on_the_wire().find(failed).or_else(|| self.hops.iter().find(failed))
    }
}

fn add_lane(lanes: &mut Vec<Printable>, name: &Printable) {
    if !lanes.contains(name) {
        lanes.push(name.clone());
    }
}

/// The subscriber that a header field of a SIP message names.
fn party(value: &str) -> Option<Identity> {
    let uri = match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next()?,
        None => value,
    };
    uri.split(';').next()?.parse().ok()
}

/// The branch of the topmost Via; a header field may hold several, with commas between (RFC 3261 §7.3.1).
fn branch(via: &str) -> String {
    let topmost = via.split(',').next().unwrap_or_default();
    topmost.split(';').find_map(|p| p.trim().strip_prefix("branch=")).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests;
