//! What is kept of records until all messages are known: a few words of each, so that logs of any size need little room.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use jiff::Timestamp;

use super::{Ladder, LadderHop, LadderNote, Logged, Traced, branch, may_be_note};
use crate::log::identity::Identities;
use crate::log::{Direction, Identity, Record, SipMessage};
use crate::text::Printable;

/// How many columns peers may have, beside the programs that logged, and how many these: nobody reads a picture with more,
/// and a subscriber may have thousands of peers. What is too much shares a column.
const MOST_PEERS: usize = 30;
const FURTHER: &str = "further peers";
const MOST_PROGRAMS: usize = 60;
const FURTHER_PROGRAMS: &str = "further programs";

/// The names that occur, each kept once.
#[derive(Debug, Default)]
struct Names(HashSet<Printable>);

impl Names {
    fn of(&mut self, name: &str) -> Printable {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let name = Printable::from(name);
        self.0.insert(name.clone());
        name
    }
}

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
    time: Timestamp,
    lane: Printable,
    place: usize,
    record: Record,
}

/// Becomes a [`Ladder`]: takes records one by one and keeps what may be drawn of them.
#[derive(Debug)]
pub struct Sketch {
    all: Vec<Drawn>,
    lines: Vec<Line>,
    names: Names,
    place: usize,
}

impl Sketch {
    /// Of the first of these subjects that has messages.
    pub fn new(subjects: impl IntoIterator<Item = Traced>) -> Self {
        let drawn = |subject| Drawn { subject, hops: Vec::new(), parties: HashSet::new() };
        Self { all: subjects.into_iter().map(drawn).collect(), lines: Vec::new(), names: Names::default(), place: 0 }
    }

    /// Takes a record, with the message that it is.
    pub fn take(&mut self, logged: Logged<'_>, message: Option<&SipMessage<'_>>) {
        self.place += 1;
        let Some(message) = message else {
            if may_be_note(logged.record) {
                let lane = self.names.of(logged.lane);
                let record = logged.record.compact();
                self.lines.push(Line { time: logged.time, lane, place: self.place, record });
            }
            return;
        };
        for drawn in &mut self.all {
            // Most messages are of others, and looked at no further.
            if drawn.subject.may_be_in(logged.record.bytes()) && drawn.subject.has(message) {
                for name in ["From", "To", "P-Asserted-Identity"] {
                    drawn.parties.extend(message.headers(name).filter_map(|value| Identity::of_header(&value)));
                }
                drawn.hops.push(hop(&mut self.names, self.place, logged, message));
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
        self.names.0.len()
    }

    /// The ladder of the first subject that has messages, or else of the last. `lane_of` names the column that an address
    /// (without its port) belongs to, where it is known; other peers are columns of their own.
    pub fn finish(self, lane_of: impl Fn(&str) -> Option<String>) -> Ladder {
        let Self { all, mut lines, mut names, .. } = self;
        let last = all.len().saturating_sub(1);
        let chosen = all.into_iter().enumerate().find(|(n, drawn)| *n == last || !drawn.hops.is_empty());
        let Some((_, Drawn { subject, mut hops, parties })) = chosen else { return Ladder::default() };
        hops.sort_unstable_by_key(|hop| (hop.time, hop.place));
        lines.sort_unstable_by_key(|line| (line.time, line.place));
        let mut columns = Columns { lane_of, names: &mut names, peers: HashSet::new(), programs: HashSet::new() };
        for hop in &mut hops {
            columns.place(hop);
        }
        let mut ladder = Ladder { lanes: Vec::new(), hops: paired(hops), notes: Vec::new() };
        let mut known = HashSet::new();
        for lane in ladder.hops.iter().flat_map(|h| [&h.from, &h.to]) {
            if known.insert(lane.clone()) {
                ladder.lanes.push(lane.clone());
            }
        }
        let parties = Identities::new(parties.into_iter().collect());
        ladder.annotate(&lines, &subject, &parties, |lane| {
            let lane = columns.program(lane);
            if known.insert(lane.clone()) { (lane.clone(), Some(lane)) } else { (lane, None) }
        });
        ladder
    }
}

fn hop(names: &mut Names, place: usize, logged: Logged<'_>, message: &SipMessage<'_>) -> LadderHop {
    let peer = String::from_utf8_lossy(message.peer);
    let own = names.of(logged.lane);
    let host = peer.rsplit_once(':').map_or(&*peer, |(h, _)| h).trim_matches(['[', ']']);
    let (from, to) = match message.direction {
        Direction::Sent => (own, names.of(host)),
        Direction::Received => (names.of(host), own),
        Direction::Internal => (own.clone(), own),
    };
    let function = (message.direction == Direction::Internal).then(|| names.of(&peer));
    let status = message.status();
    let line = message.start_line();
    let text = match status {
        Some(_) => line.trim_start_matches("SIP/2.0 "),
        None => line.split(' ').next().unwrap_or_default(),
    };
    let text = names.of(text);
    let mut value = |name: &str| names.of(&message.header(name).unwrap_or_default());
    let (cseq, call_id) = (value("CSeq"), value("Call-ID"));
    let branch = names.of(branch(&message.header("Via").unwrap_or_default()));
    LadderHop {
        time: logged.time,
        from,
        to,
        text,
        status,
        cseq,
        call_id,
        function,
        is_cut: !message.is_whole,
        place,
        branch,
        sent: message.direction != Direction::Received,
        received: message.direction != Direction::Sent,
        is_peer_unknown: false,
    }
}

/// The columns that there are, as many as are allowed.
struct Columns<'n, F> {
    lane_of: F,
    names: &'n mut Names,
    peers: HashSet<Printable>,
    programs: HashSet<Printable>,
}

impl<F: Fn(&str) -> Option<String>> Columns<'_, F> {
    /// Names the parties of a hop by their columns.
    fn place(&mut self, hop: &mut LadderHop) {
        let (own, peer) = if hop.sent { (&mut hop.from, &mut hop.to) } else { (&mut hop.to, &mut hop.from) };
        *own = self.program(own);
        if hop.function.is_some() {
            *peer = own.clone();
        } else if let Some(lane) = (self.lane_of)(peer) {
            let lane = self.names.of(&lane);
            *peer = self.program(&lane);
        } else {
            hop.is_peer_unknown = true;
            *peer = fitting(&mut self.peers, peer, MOST_PEERS, self.names, FURTHER);
        }
    }

    /// The column of a program that logged.
    fn program(&mut self, lane: &Printable) -> Printable {
        fitting(&mut self.programs, lane, MOST_PROGRAMS, self.names, FURTHER_PROGRAMS)
    }
}

/// The name itself, where it is among the first so many.
fn fitting(
    known: &mut HashSet<Printable>,
    name: &Printable,
    most: usize,
    names: &mut Names,
    further: &str,
) -> Printable {
    if known.contains(name) {
        return name.clone();
    }
    if known.len() >= most {
        return names.of(further);
    }
    known.insert(name.clone());
    name.clone()
}

/// Messages that one end logged, by what is the same at the other end: whether it was the sender, the parties where they
/// are known, the message, and the branch. The last that came is the first that is found.
#[derive(Default)]
struct Waiting {
    hasher: RandomState,
    heads: HashMap<u64, usize>,
    /// A hop, and the one that waited before it.
    links: Vec<(usize, Option<usize>)>,
}

impl Waiting {
    fn key(&self, hop: &LadderHop, is_sent: bool, by_parties: bool) -> u64 {
        let parties = by_parties.then_some((&hop.from, &hop.to));
        self.hasher.hash_one((is_sent, parties, &hop.text, &hop.cseq, &hop.call_id, &hop.branch))
    }

    fn push(&mut self, key: u64, hop: usize) {
        let before = self.heads.insert(key, self.links.len());
        self.links.push((hop, before));
    }

    fn pop(&mut self, key: u64) -> Option<usize> {
        let head = self.heads.remove(&key)?;
        let (hop, before) = *self.links.get(head)?;
        if let Some(before) = before {
            self.heads.insert(key, before);
        }
        Some(hop)
    }
}

/// Puts each message together with the one that its other end logged: the last of those that are the same but for who
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
            let (parties, branch) = (waiting.key(hop, !hop.sent, true), waiting.key(hop, !hop.sent, false));
            let own = (waiting.key(hop, hop.sent, true), waiting.key(hop, hop.sent, false));
            // One that was found by the branch still waits under its parties.
            let find = |waiting: &mut Waiting, key| {
                std::iter::from_fn(|| waiting.pop(key)).find(|n| hops.get(*n).is_some_and(|h| h.sent != h.received))
            };
            let known = find(&mut waiting, parties);
            let told = if known.is_none() && by_branch { find(&mut waiting, branch) } else { None };
            if let Some(other) = known.or(told) {
                let (from, to, is_cut) = (hop.from.clone(), hop.to.clone(), hop.is_cut);
                let other = &mut hops[other];
                match told {
                    None => {}
                    Some(_) if other.sent => other.to = to,
                    Some(_) => other.from = from,
                }
                (other.sent, other.received) = (true, true);
                other.is_cut |= is_cut;
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

    /// Adds the lines that are drawn. `lane_of` gives the column of one, and the same once more where it is new.
    fn annotate(
        &mut self,
        lines: &[Line],
        subject: &Traced,
        parties: &Identities,
        mut lane_of: impl FnMut(&Printable) -> (Printable, Option<Printable>),
    ) {
        let span = self.hops.first().zip(self.hops.last()).map(|(first, last)| (first.time, last.time));
        for line in lines {
            let is_near = span.is_none_or(|(first, last)| {
                line.time.duration_since(last) <= super::AROUND && first.duration_since(line.time) <= super::AROUND
            });
            if !is_near {
                continue;
            }
            let (head, bytes) = (line.record.head(), line.record.bytes());
            // Without a message there is nothing that an error would stand beside.
            let is_grave = span.is_some() && head.level.is_some_and(|l| l <= crate::log::Level::Warning);
            if is_grave || subject.is_in(bytes) || parties.are_mentioned_in(bytes) {
                let (lane, new) = lane_of(&line.lane);
                self.lanes.extend(new);
                self.notes.push(LadderNote {
                    time: line.time,
                    lane,
                    level: head.level,
                    text: String::from_utf8_lossy(head.text).trim_end().into(),
                    place: line.place,
                });
            }
        }
    }
}
