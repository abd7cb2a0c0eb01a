//! The order in which a ladder is drawn: nothing above what it came of, then each column's own, whatever clocks say.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{LadderHop, LadderNote, Logging};
use crate::log::ending::mark;
use crate::text::Printable;

/// That a column logged a message.
#[derive(Clone, Copy)]
struct Mark {
    logged: Logging,
    /// Which of the messages.
    step: usize,
    is_sent: bool,
}

/// A request of one transaction at one hop, or what belongs to it.
type Key<'l> = (&'l Printable, u64, &'l str, &'l str);

impl LadderHop {
    /// The number of the CSeq, and the method of the request or of what is answered.
    fn asked(&self) -> (&str, &str) {
        let mut words = self.cseq.split_ascii_whitespace();
        let (number, method) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        (number, if self.status.is_none() { &self.text } else { method })
    }
}

/// What each message came of, as the messages themselves tell: an answer of its request; what is handed on of what came (by
/// the Vias, RFC 3261 §16.6 and §16.7, and for an answer by its tag too, again for again); an ACK of the answer; a CANCEL of what it
/// ends, and 487 of a CANCEL. Each cause is nearer to who asked than a request, further than an answer, or of an earlier kind:
/// none is its own.
fn causes(hops: &[LadderHop]) -> Vec<Vec<usize>> {
    let (mut by_branch, mut by_path) = (HashMap::<Key<'_>, usize>::new(), HashMap::<Key<'_>, usize>::new());
    let (mut answers, mut refused, mut accepted) =
        (HashMap::<_, Vec<usize>>::new(), HashMap::<_, usize>::new(), HashMap::<_, usize>::new());
    let all = || hops.iter().enumerate().filter(|(_, hop)| hop.function.is_none());
    for (n, hop) in all() {
        let (number, method) = hop.asked();
        match hop.status {
            None => {
                by_branch.entry((&hop.call_id, mark(&hop.branch), number, method)).or_insert(n);
                by_path.entry((&hop.call_id, hop.path, number, method)).or_insert(n);
            }
            Some(status) => {
                let same = (&hop.call_id, hop.below, hop.asked(), status, &hop.tags.1);
                answers.entry(same).or_default().push(n);
                if status >= 300 && method == "INVITE" {
                    refused.entry((&hop.call_id, &hop.branch, number)).or_insert(n);
                } else if status >= 200 && method == "INVITE" {
                    let nearest = accepted.entry((&hop.call_id, number, &hop.tags)).or_insert(n);
                    if hops.get(*nearest).is_some_and(|known| hop.depth < known.depth) {
                        *nearest = n;
                    }
                }
            }
        }
    }
    let mut causes = vec![Vec::new(); hops.len()];
    let mut told = HashMap::<_, usize>::new();
    for (n, hop) in all() {
        let (number, method) = hop.asked();
        let at = |branch: u64, method| by_branch.get(&(&hop.call_id, branch, number, method)).copied();
        let above = |hop: &LadderHop, method| {
            by_path.get(&(&hop.call_id, hop.below, number, method)).copied().filter(|_| hop.depth > 1)
        };
        let own = mark(&hop.branch);
        let found = match (hop.status, method) {
            (None, "ACK") => {
                let refused = refused.get(&(&hop.call_id, &hop.branch, number)).copied();
                let handed = refused.or_else(|| above(hop, method));
                [handed.or_else(|| accepted.get(&(&hop.call_id, number, &hop.tags)).copied()), None]
            }
            (None, "CANCEL") => {
                let invite = at(own, "INVITE");
                let before = invite.and_then(|n| above(hops.get(n)?, "INVITE"));
                [invite, before.and_then(|n| at(mark(&hops.get(n)?.branch), method))]
            }
            (None, _) => [above(hop, method), None],
            (Some(status), _) => {
                let again = told.entry((&hop.call_id, hop.path, hop.asked(), status, &hop.tags.1)).or_insert(0);
                let same = answers.get(&(&hop.call_id, hop.path, hop.asked(), status, &hop.tags.1));
                let same = same.filter(|_| status > 100).and_then(|same| same.get(*again).or(same.last()));
                let asked = at(own, method);
                // Where all have the same tags, who says that time is up before that comes hands nothing on.
                let is_timeout = status == 408 && asked.is_some_and(|n| hops[n].asks_within_a_call());
                let is_earlier = |n: usize| hop.sent.zip(hops[n].received).is_some_and(|(sent, came)| sent < came);
                let same = same.copied().filter(|n| !(is_timeout && is_earlier(*n)));
                *again += 1;
                let cancel = if (status, method) == (487, "INVITE") { at(own, "CANCEL") } else { None };
                causes[n].extend(cancel);
                [asked, same]
            }
        };
        causes[n].extend(found.into_iter().flatten().filter(|cause| *cause != n));
    }
    causes
}

/// What each column logged, in its order, but nothing before what it came of: a program of several threads may log what came
/// back before its own thread logs what it sent.
fn columns(hops: &[LadderHop], causes: &[Vec<usize>]) -> Vec<Vec<Mark>> {
    let mut all: HashMap<&Printable, Vec<Mark>> = HashMap::new();
    for (step, hop) in hops.iter().enumerate() {
        // What comes back to its sender stands where it was sent.
        let received = hop.received.filter(|_| hop.sent.is_none() || hop.from != hop.to);
        for (lane, logged, is_sent) in [(&hop.from, hop.sent, true), (&hop.to, received, false)] {
            if let Some(logged) = logged {
                all.entry(lane).or_default().push(Mark { logged, step, is_sent });
            }
        }
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_unstable_by_key(|(lane, _)| *lane);
    let sorted = |(_, mut marks): (_, Vec<Mark>)| {
        marks.sort_unstable_by_key(|mark| mark.logged);
        let mut own: HashMap<usize, Mark> = marks.iter().map(|mark| (mark.step, *mark)).collect();
        let (mut sorted, mut is_seen, mut open) =
            (Vec::with_capacity(marks.len()), vec![false; hops.len()], Vec::new());
        for mark in marks {
            open.push((mark.step, false));
            while let Some((step, is_ready)) = open.pop() {
                if is_ready {
                    sorted.extend(own.remove(&step));
                } else if !std::mem::replace(&mut is_seen[step], true) {
                    open.push((step, true));
                    open.extend(causes[step].iter().map(|cause| (*cause, false)));
                }
            }
        }
        sorted
    };
    all.into_iter().map(sorted).collect()
}

/// The messages that are not drawn yet.
struct Pending<'l> {
    hops: &'l [LadderHop],
    causes: Vec<Vec<usize>>,
    columns: Vec<Vec<Mark>>,
    /// Of each column, how many of its marks are drawn.
    drawn: Vec<usize>,
    /// Which columns logged each.
    of: Vec<Vec<usize>>,
    is_drawn: Vec<bool>,
}

impl<'l> Pending<'l> {
    fn new(hops: &'l [LadderHop]) -> Self {
        let causes = causes(hops);
        let columns = columns(hops, &causes);
        let mut of = vec![Vec::new(); hops.len()];
        for (n, column) in columns.iter().enumerate() {
            for mark in column {
                of[mark.step].push(n);
            }
        }
        Self { hops, causes, drawn: vec![0; columns.len()], columns, of, is_drawn: vec![false; hops.len()] }
    }

    fn head(&self, column: usize) -> Option<Mark> {
        self.columns[column].get(self.drawn[column]).copied()
    }

    fn heads(&self) -> impl Iterator<Item = Mark> {
        (0..self.columns.len()).filter_map(|column| self.head(column))
    }

    /// What it came of and is not drawn.
    fn cause(&self, step: usize) -> Option<usize> {
        self.causes[step].iter().copied().find(|cause| !self.is_drawn[*cause])
    }

    /// Something that has to be drawn before.
    fn before(&self, step: usize) -> Option<usize> {
        let mut heads = self.of[step].iter().filter_map(|column| self.head(*column)).map(|mark| mark.step);
        self.cause(step).or_else(|| heads.find(|head| *head != step))
    }

    /// Those that wait for each other, where this one waits for such.
    fn circle(&self, mut step: usize) -> Option<Vec<usize>> {
        let mut way = Vec::new();
        loop {
            if let Some(at) = way.iter().position(|known| *known == step) {
                return Some(way.split_off(at));
            }
            way.push(step);
            step = self.before(step)?;
        }
    }

    /// Which of a circle is drawn: what came of nothing that is not drawn, and is the next of its sender.
    fn broken(&self, circle: &[usize]) -> Option<usize> {
        let is_next = |step: usize| self.heads().any(|mark| mark.step == step && mark.is_sent);
        circle.iter().copied().min_by_key(|step| {
            (self.cause(*step).is_some(), !is_next(*step), self.hops[*step].time, self.hops[*step].status.is_some())
        })
    }

    /// The next that is drawn. What nothing else decides is decided by the clocks, and then by what is usual and by the columns'
    /// names, so that it does not matter which log was read first. Where two cross on their way no line can hold both ends'
    /// order: then that of the sender holds.
    fn next(&self) -> Option<usize> {
        let rank = |mark: &Mark| (mark.logged.time, self.hops[mark.step].status.is_some());
        let free = self.heads().filter(|mark| self.before(mark.step).is_none()).min_by_key(rank);
        let is_earlier = |mark: &Mark| free.is_none_or(|free| mark.logged.time < free.logged.time);
        let mut waiting: Vec<_> = self.heads().filter(is_earlier).collect();
        waiting.sort_by_key(rank);
        let circle = waiting.iter().find_map(|mark| self.circle(mark.step));
        circle.and_then(|circle| self.broken(&circle)).or(free.map(|mark| mark.step))
    }

    fn draw(&mut self, step: usize) {
        self.is_drawn[step] = true;
        for column in 0..self.columns.len() {
            while self.head(column).is_some_and(|mark| self.is_drawn[mark.step]) {
                self.drawn[column] += 1;
            }
        }
    }
}

/// Where lines may stand among messages that are in order.
struct Between<'l> {
    /// What each column logged, each with the end of what was logged until then and the begin of what was logged from then on.
    columns: HashMap<&'l Printable, Vec<(Logging, usize, usize)>>,
    /// The earliest time from each message on; answers come after what is logged of the same moment.
    earliest: Vec<(Timestamp, u8)>,
}

impl<'l> Between<'l> {
    fn new(hops: &'l [LadderHop]) -> Self {
        let mut columns: HashMap<&Printable, Vec<_>> = HashMap::new();
        for (n, hop) in hops.iter().enumerate() {
            for (lane, logged) in [(&hop.from, hop.sent), (&hop.to, hop.received)] {
                columns.entry(lane).or_default().extend(logged.map(|logged| (logged, n + 1, n)));
            }
        }
        for column in columns.values_mut() {
            column.sort_unstable();
            let (mut end, mut begin) = (0, usize::MAX);
            for (_, until, _) in column.iter_mut() {
                end = end.max(*until);
                *until = end;
            }
            for (_, _, from) in column.iter_mut().rev() {
                begin = begin.min(*from);
                *from = begin;
            }
        }
        let mut earliest: Vec<_> = hops.iter().map(|hop| (hop.time, u8::from(hop.status.is_some()) * 2)).collect();
        for n in (1..earliest.len()).rev() {
            earliest[n - 1] = earliest[n - 1].min(earliest[n]);
        }
        Self { columns, earliest }
    }

    /// How many messages stand above a line: those that its column logged before, and none that it logged later; of the others
    /// those of its time.
    fn above(&self, note: &LadderNote) -> usize {
        let column = self.columns.get(&note.lane).map(Vec::as_slice).unwrap_or_default();
        let next = column.partition_point(|(logged, ..)| *logged < note.logged);
        let least = next.checked_sub(1).and_then(|last| column.get(last)).map_or(0, |(_, until, _)| *until);
        let most = column.get(next).map_or(usize::MAX, |(_, _, from)| *from);
        let by_time = self.earliest.partition_point(|time| *time < (note.time, 1));
        by_time.clamp(least, most.max(least))
    }
}

/// Puts messages and notes in order, and tells each note which messages stand above it.
pub(super) fn arrange(hops: Vec<LadderHop>, mut notes: Vec<LadderNote>) -> (Vec<LadderHop>, Vec<LadderNote>) {
    let mut order = Vec::with_capacity(hops.len());
    let mut pending = Pending::new(&hops);
    while let Some(step) = pending.next() {
        pending.draw(step);
        order.push(step);
    }
    let mut hops: Vec<_> = hops.into_iter().map(Some).collect();
    let hops: Vec<_> = order.into_iter().filter_map(|step| hops.get_mut(step)?.take()).collect();
    let between = Between::new(&hops);
    for note in &mut notes {
        note.above = between.above(note);
    }
    notes.sort_by(|a, b| (a.above, a.time, &a.lane, a.logged).cmp(&(b.above, b.time, &b.lane, b.logged)));
    (hops, notes)
}
