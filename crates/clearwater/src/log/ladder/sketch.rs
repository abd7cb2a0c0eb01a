//! What is kept of records until all messages are known: a few words of each, so that logs of any size need little room.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv6Addr;

use bytes::Bytes;
use jiff::Timestamp;
use memchr::memmem;

use super::lanes::{Columns, Names, short_names};
use super::{Ladder, LadderHop, LadderNote, Logged, Logging, Traced, causal, may_be_note};
use crate::component::Component;
use crate::log::ending::{Cover, branch, depth, has_credentials, mark, tag};
use crate::log::identity::Identities;
use crate::log::{Direction, Identity, Level, Record, SipMessage};
use crate::text::Printable;

/// The messages of one subject.
#[derive(Debug)]
struct Drawn {
    subject: Traced,
    hops: Vec<LadderHop>,
    parties: HashSet<Identity>,
}

/// A line that may be drawn.
#[derive(Debug)]
struct Line {
    logged: Logging,
    lane: Printable,
    record: Record,
    /// Of which subjects the message is that its thread logged next: the first has the lowest bit.
    followed: Option<u64>,
}

/// Becomes a [`Ladder`]: takes records one by one and keeps what may be drawn of them.
#[derive(Debug)]
pub struct Sketch {
    all: Vec<Drawn>,
    lines: Vec<Line>,
    /// The warnings and errors of each thread of each column that no message of it has followed.
    open: HashMap<(Printable, u64), Vec<usize>>,
    names: Names,
    place: usize,
    keeps_messages: bool,
    cover: Cover,
}

impl Sketch {
    /// Of the first of these subjects that has messages.
    pub fn new(subjects: impl IntoIterator<Item = Traced>) -> Self {
        let drawn = |subject| Drawn { subject, hops: Vec::new(), parties: HashSet::new() };
        let all = subjects.into_iter().map(drawn).collect();
        Self {
            all,
            lines: Vec::new(),
            open: HashMap::new(),
            names: Names::default(),
            place: 0,
            keeps_messages: false,
            cover: Cover::default(),
        }
    }

    /// The same, which keeps the whole of each message that is drawn, and not a few words of it.
    #[must_use]
    pub fn with_messages(self) -> Self {
        Self { keeps_messages: true, ..self }
    }

    /// The same, of logs that were cut and hold all only from then on.
    #[must_use]
    pub fn cut(self, cut: Option<Timestamp>) -> Self {
        Self { cover: Cover { cut, ..self.cover }, ..self }
    }

    /// The same, of logs that were taken at that moment or later, while more was to come: what had waited for its answer for less
    /// than RFC 3261 lets it is not unanswered.
    #[must_use]
    pub fn taken(self, taken: Option<Timestamp>) -> Self {
        Self { cover: Cover { taken, ..self.cover }, ..self }
    }

    /// Takes a record, with the message that it is.
    pub fn take(&mut self, logged: Logged<'_>, message: Option<&SipMessage<'_>>) {
        self.place += 1;
        let Some(message) = message else {
            if may_be_note(logged.record) {
                let lane = self.names.of(logged.lane);
                let head = logged.record.head();
                if let Some(thread) = head.thread.filter(|_| head.level <= Some(Level::Warning)) {
                    self.open.entry((lane.clone(), mark(thread))).or_default().push(self.lines.len());
                }
                let (record, at) = (logged.record.compact(), Logging { time: logged.time, place: self.place });
                self.lines.push(Line { logged: at, lane, record, followed: None });
            }
            return;
        };
        let mut of = 0;
        for (n, drawn) in self.all.iter_mut().enumerate() {
            // Most messages are of others, and looked at no further.
            if drawn.subject.may_be_in(logged.record.bytes()) && drawn.subject.has(message) {
                for name in ["From", "To", "P-Asserted-Identity"] {
                    drawn.parties.extend(message.headers(name).filter_map(|value| Identity::of_header(&value)));
                }
                let mut hop = hop(&mut self.names, self.place, logged, message);
                hop.message = self.keeps_messages.then(|| Bytes::copy_from_slice(message.message));
                drawn.hops.push(hop);
                of |= 1_u64.checked_shl(u32::try_from(n).unwrap_or(u32::MAX)).unwrap_or(0);
            }
        }
        if self.open.is_empty() {
            return;
        }
        let Some(thread) = logged.record.head().thread else { return };
        let before = self.open.remove(&(self.names.of(logged.lane), mark(thread)));
        for line in before.into_iter().flatten() {
            let line = self.lines.get_mut(line);
            if let Some(line) = line.filter(|line| logged.time.duration_since(line.logged.time) <= super::AROUND) {
                line.followed = Some(of);
            }
        }
    }

    /// How many messages and lines are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.lines.len() + self.all.iter().map(|drawn| drawn.hops.len()).sum::<usize>()
    }

    /// How many different words are kept.
    #[cfg(test)]
    pub(super) fn names(&self) -> usize {
        self.names.len()
    }

    /// The ladder of the first subject that has messages, or else of the last. `lane_of` names the column that an address
    /// (without its port) belongs to, where it is known; other peers are columns of their own.
    pub fn finish(self, lane_of: impl Fn(&str) -> Option<String>) -> Ladder {
        let Self { all, mut lines, mut names, cover, .. } = self;
        let last = all.len().saturating_sub(1);
        let chosen = all.into_iter().enumerate().find(|(n, drawn)| *n == last || !drawn.hops.is_empty());
        let Some((chosen, Drawn { subject, mut hops, parties })) = chosen else { return Ladder::default() };
        hops.sort_unstable_by_key(LadderHop::logged);
        lines.sort_unstable_by_key(|line| line.logged);
        let mut columns = Columns::new(lane_of, &mut names);
        for hop in &mut hops {
            columns.place(hop);
        }
        let hops = paired(once(hops));
        for line in &mut lines {
            let is_of = |of: u64| of >> chosen & 1;
            line.followed = line.followed.map(is_of);
        }
        let parties = Identities::new(parties.into_iter().collect());
        let notes = notes(&lines, &hops, &subject, &parties, |lane| columns.program(lane));
        let (hops, notes) = causal::arrange(hops, notes);
        let cover = cover.reaching(hops.iter().map(|hop| hop.time).max());
        let mut ladder = Ladder { hops, notes, cover, ..Ladder::default() };
        columns.name_peers(&mut ladder.hops, &mut ladder.legend);
        ladder.shorten();
        ladder.find_lanes();
        ladder
    }
}

fn hop(names: &mut Names, place: usize, logged: Logged<'_>, message: &SipMessage<'_>) -> LadderHop {
    let peer = in_one_form(&String::from_utf8_lossy(message.peer));
    let own = names.of(logged.lane);
    let program = if logged.component.is_empty() { logged.lane } else { logged.component };
    let is_bono = program.starts_with(Component::Bono.name());
    let address = names.of(&peer);
    let (from, to) = match message.direction {
        Direction::Sent => (own, address.clone()),
        Direction::Received => (address.clone(), own),
        Direction::Internal => (own.clone(), own),
    };
    let status = message.status();
    let line = message.start_line();
    let text = match status {
        Some(_) => line.trim_start_matches("SIP/2.0 "),
        None => line.split(' ').next().unwrap_or_default(),
    };
    let text = names.of(text);
    let mut value = |name: &str| names.of(&message.header(name).unwrap_or_default());
    let (cseq, call_id) = (value("CSeq"), value("Call-ID"));
    let tags = (names.of(&tag(message.header("From"))), names.of(&tag(message.header("To"))));
    let vias: Vec<String> = message
        .headers("Via")
        .flat_map(|via| via.split(',').map(|via| branch(via).to_owned()).collect::<Vec<_>>())
        .collect();
    let topmost = vias.first().map(String::as_str).unwrap_or_default();
    let announced = SipMessage::announced_bytes(logged.record.head().text).unwrap_or(message.message.len());
    let at = Logging { time: logged.time, place };
    LadderHop {
        time: logged.time,
        from,
        to,
        text,
        status,
        cseq,
        call_id,
        function: (message.direction == Direction::Internal).then(|| address.clone()),
        is_cut: !message.is_whole,
        length: if message.is_whole { message.message.len() } else { announced },
        transport: names.of(&String::from_utf8_lossy(message.transport)),
        source: (message.direction == Direction::Received).then(|| address.clone()),
        target: (message.direction == Direction::Sent).then_some(address),
        message: None,
        branch: names.of(topmost),
        path: mark(&*vias),
        below: mark(vias.get(1..).unwrap_or_default()),
        name: SipMessage::name_in_memory(logged.record.head().text).map(mark),
        tags,
        depth: depth(message),
        sent: (message.direction != Direction::Received).then_some(at),
        received: (message.direction != Direction::Sent).then_some(at),
        has_credentials: has_credentials(message),
        is_of_phone: is_of_phone(message).map(|is_phone| is_phone && is_bono),
        is_peer_unknown: false,
    }
}

/// An address and port as they are written elsewhere: pjsip leaves out the brackets around an IPv6 address.
fn in_one_form(peer: &str) -> String {
    let v6 =
        peer.rsplit_once(':').filter(|(host, port)| host.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok());
    v6.map_or_else(|| peer.to_owned(), |(host, port)| format!("[{host}]:{port}"))
}

/// Whether the peer of a bono is a phone: only its own Via is in what it asks, and bono's is the first below; and what it is
/// asked has no further way to go. An answer from it tells nothing.
fn is_of_phone(message: &SipMessage<'_>) -> Option<bool> {
    let is_answer = message.status().is_some();
    // Each hop makes its own ACK of a refusal, and its own CANCEL.
    if !is_answer && message.method().is_some_and(|method| matches!(&*method, "ACK" | "CANCEL")) {
        return None;
    }
    match message.direction {
        Direction::Internal => None,
        Direction::Received if is_answer => None,
        Direction::Sent if !is_answer => Some(message.header("Route").is_none()),
        Direction::Received | Direction::Sent => {
            Some(message.headers("Via").map(|via| via.split(',').count()).sum::<usize>() == 1)
        }
    }
}

/// Messages that one end logged, by what is the same at the other end: whether it was the sender, the parties where they
/// are known, the message, and the branch. Of those that are sent again the first that came is the first that is found.
#[derive(Default)]
struct Waiting {
    hasher: RandomState,
    all: HashMap<u64, VecDeque<usize>>,
}

impl Waiting {
    fn key(&self, hop: &LadderHop, is_sent: bool, by_parties: bool) -> u64 {
        let parties = by_parties.then_some((&hop.from, &hop.to));
        self.hasher.hash_one((is_sent, parties, &hop.text, &hop.cseq, &hop.call_id, &hop.branch))
    }

    fn push(&mut self, key: u64, hop: usize) {
        self.all.entry(key).or_default().push_back(hop);
    }

    fn pop(&mut self, key: u64) -> Option<usize> {
        self.all.get_mut(&key)?.pop_front()
    }
}

/// Each message once: bono logs what it takes from a queue a second time, as what it was.
fn once(all: Vec<LadderHop>) -> Vec<LadderHop> {
    let mut known = HashMap::new();
    let is_first = |hop: &LadderHop| {
        let (Some(at), Some(name)) = (hop.received.filter(|_| hop.sent.is_none()), hop.name) else { return true };
        let same = (
            hop.to.clone(),
            hop.source.clone(),
            name,
            hop.text.clone(),
            hop.cseq.clone(),
            hop.call_id.clone(),
            hop.path,
        );
        let before: Option<Timestamp> = known.insert(same, at.time);
        // What is sent again comes half a second later (RFC 3261 §17.1.1.1).
        before.is_none_or(|before| at.time.duration_since(before) > super::AROUND)
    };
    all.into_iter().filter(is_first).collect()
}

/// Puts each message together with the one that its other end logged: the first of those that are the same but for who
/// logged it. Saved logs may not tell whose an address is: then the branch tells, which no two hops share (RFC 3261
/// §8.1.1.7).
fn paired(all: Vec<LadderHop>) -> Vec<LadderHop> {
    let mut waiting = Waiting::default();
    let mut hops: Vec<LadderHop> = all;
    let mut kept = 0;
    for n in 0..hops.len() {
        let hop = &hops[n];
        if hop.function.is_none() {
            let by_branch = hop.is_peer_unknown && !hop.branch.is_empty();
            let is_sent = hop.sent.is_some();
            let (parties, branch) = (waiting.key(hop, !is_sent, true), waiting.key(hop, !is_sent, false));
            let own = (waiting.key(hop, is_sent, true), waiting.key(hop, is_sent, false));
            // One that was found by the branch still waits under its parties.
            let find = |waiting: &mut Waiting, key| {
                std::iter::from_fn(|| waiting.pop(key)).find(|n| hops.get(*n).is_some_and(LadderHop::is_half))
            };
            let known = find(&mut waiting, parties);
            let told = if known.is_none() && by_branch { find(&mut waiting, branch) } else { None };
            if let Some(other) = known.or(told) {
                let half = hop.clone();
                if let Some(other) = hops.get_mut(other) {
                    other.join(half);
                }
                continue;
            }
            waiting.push(own.0, kept);
            if by_branch {
                waiting.push(own.1, kept);
            }
        }
        hops.swap(kept, n);
        kept += 1;
    }
    hops.truncate(kept);
    hops.shrink_to_fit();
    hops
}

impl Ladder {
    /// The messages about a subject, in time order. `lane_of` names the column that an address (without
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
        let mut sketch = Sketch::new([subject.clone()]);
        for logged in records {
            sketch.take(logged, SipMessage::of(logged.record).as_ref());
        }
        sketch.finish(lane_of)
    }

    /// Gives the columns names that fit.
    fn shorten(&mut self) {
        let of_hops = self.hops.iter().flat_map(|h| [&h.from, &h.to]);
        let short = short_names(of_hops.chain(self.notes.iter().map(|note| &note.lane)));
        let hops = self.hops.iter_mut().flat_map(|h| [&mut h.from, &mut h.to]);
        for lane in hops.chain(self.notes.iter_mut().map(|note| &mut note.lane)) {
            if let Some(name) = short.get(lane) {
                *lane = name.clone();
            }
        }
        self.legend.extend(short.into_iter().map(|(whole, short)| (short, whole)));
    }
}

impl LadderHop {
    /// When it was logged first, by its sender where that logged it.
    fn logged(&self) -> Option<Logging> {
        self.sent.or(self.received)
    }

    /// Whether only one of its ends logged it, so far.
    fn is_half(&self) -> bool {
        self.sent.is_some() != self.received.is_some()
    }

    /// Takes in what the other end logged of the same message.
    fn join(&mut self, other: Self) {
        if other.sent.is_some() {
            (self.time, self.from, self.sent, self.target) = (other.time, other.from, other.sent, other.target);
        } else {
            (self.to, self.received, self.source) = (other.to, other.received, other.source);
        }
        if self.is_cut && !other.is_cut {
            (self.message, self.length) = (other.message, other.length);
        }
        self.is_cut |= other.is_cut;
    }
}

/// The lines that are drawn: those that name the call, at level info or graver, and those that name a party of it while it
/// lasts, but what is asked of the HSS to register somebody only where somebody registers; and, near one of its messages, the
/// warnings and errors that name nobody, unless their thread goes on with another's message.
fn notes(
    lines: &[Line],
    hops: &[LadderHop],
    subject: &Traced,
    parties: &Identities,
    mut lane_of: impl FnMut(&Printable) -> Printable,
) -> Vec<LadderNote> {
    let logged = hops.iter().flat_map(|hop| [hop.sent, hop.received]).flatten();
    let mut times: Vec<Timestamp> = logged.map(|logged| logged.time).collect();
    times.sort_unstable();
    let is_near = |time: Timestamp| {
        let next = times.partition_point(|t| *t < time);
        [next.checked_sub(1), Some(next)]
            .into_iter()
            .flatten()
            .filter_map(|n| times.get(n))
            .any(|t| t.duration_since(time).abs() <= super::AROUND)
    };
    // Without a message there is nothing that a line would stand far from.
    let span = times.first().zip(times.last()).map(|(first, last)| (*first - super::AROUND, *last + super::AROUND));
    let is_challenged = |hop: &LadderHop| hop.text == *"REGISTER" || matches!(hop.status, Some(401 | 407));
    let has_registration = hops.iter().any(is_challenged);
    let mut notes = Vec::new();
    for line in lines {
        let time = line.logged.time;
        if span.is_some_and(|(first, last)| time < first || time > last) {
            continue;
        }
        let head = line.record.head();
        let is_grave = head.level.is_some_and(|l| l <= Level::Warning);
        // The time and the place in the source hold numbers that are nobody's.
        let text = [head.text, line.record.tail()];
        let is_within = times.first().zip(times.last()).is_none_or(|(first, last)| (*first..=*last).contains(&time));
        let is_of_party = |text: &[u8]| {
            is_within
                && parties.are_mentioned_in(text)
                && (has_registration || memmem::find(text, b" /impi/").is_none())
        };
        let is_named = text.iter().any(|text| subject.is_in(text) || is_of_party(text));
        let is_others = || line.followed == Some(0) || text.iter().any(|text| names_somebody(text));
        if is_named || (is_grave && is_near(time) && !is_others()) {
            notes.push(LadderNote {
                time,
                lane: lane_of(&line.lane),
                level: head.level,
                text: String::from_utf8_lossy(head.text).trim_end().into(),
                logged: line.logged,
                is_sure: is_named || line.followed.is_some() || head.thread.is_none(),
                above: 0,
            });
        }
    }
    notes
}

/// Whether a line names a subscriber or a call, whoever that is.
fn names_somebody(line: &[u8]) -> bool {
    [&b"sip:"[..], b"sips:", b"tel:", b"sip%3A", b"sip%3a", b"%40", b"@"]
        .iter()
        .any(|mark| memmem::find(line, mark).is_some())
}
