mod lateness;

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use jiff::Timestamp;

use lateness::Lateness;

/// A source of a [`Merge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u64);

/// An item that a [`Merge`] has let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released<T> {
    /// Where it comes from.
    pub source: SourceId,
    /// When it was written.
    pub time: Timestamp,
    /// What it is.
    pub item: T,
    /// Whether it came too late for its place: something written after it has been let go before.
    pub late: bool,
}

/// How long a [`Merge`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// How long each item is held at most for others that were written before it. It is held for as long as others came
    /// later than it within the last moments in which something came, and a little longer; for 300 ms while nothing is known.
    pub window: Duration,
    /// How long a source that is behind, and says nothing, may hold back what was written after its last item. `None`:
    /// until it has caught up or closed, which gives exact order where the past is read to its end.
    pub max_hold: Option<Duration>,
    /// For how long a source that has reached the present goes on to be asked how far it is: what it read last may be that old.
    pub settle: Duration,
}

/// Brings items of many sources into the order in which they were written.
///
/// A source is *behind* while it reads the past: after [`open`](Self::open) and [`behind`](Self::behind), until
/// [`caught_up`](Self::caught_up) or [`close`](Self::close). Nothing written after the last item of a source that is
/// behind is let go, because that source may still have something older; a source that stays silent for longer than
/// [`Waits::max_hold`] no longer counts. Everything else is let go once what was written before it must have come, and at
/// the latest once it has been held for [`Waits::window`].
///
/// All items that are not marked late come out in order; equal times keep the order in which they came. Every item
/// comes out once. The merge holds what it is given: callers bound it by giving no more of a source until some of that
/// source has been let go. The items of the source that is furthest behind never wait for others, so that this cannot
/// block for ever.
///
/// Where sources are lost together, as when the way to all of them is cut, the first that is heard again gives the others
/// [`Waits::max_hold`] once more.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use clearwater::log::{Merge, Waits};
///
/// let now = Instant::now();
/// let mut merge = Merge::new(Waits { window: Duration::ZERO, max_hold: None, settle: Duration::ZERO });
/// let (a, b) = (merge.open(now), merge.open(now));
/// merge.push(a, "2026-11-23T10:00:02Z".parse()?, "second", now);
/// assert!(merge.pop(now).is_none(), "b may have something older");
/// merge.push(b, "2026-11-23T10:00:01Z".parse()?, "first", now);
/// assert_eq!(merge.pop(now).map(|r| r.item), Some("first"));
/// merge.close(b, now);
/// assert_eq!(merge.pop(now).map(|r| r.item), Some("second"));
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Debug)]
pub struct Merge<T> {
    waits: Waits,
    sources: HashMap<SourceId, SourceQueue<T>, FixedState>,
    /// The first item of each source that holds any, smallest first. What is no longer a first item is passed over.
    heads: BinaryHeap<Reverse<(Timestamp, u64, SourceId)>>,
    late: BinaryHeap<Reverse<HeldItem<T>>>,
    held: usize,
    behind: usize,
    /// Those that have reached the present, and until when they count as behind: the first that is over comes first.
    settling: VecDeque<(Instant, SourceId)>,
    lateness: Lateness,
    /// How often the source is looked at that is looked at least often.
    polled: Duration,
    bounds: Option<Bounds>,
    last: Option<Timestamp>,
    next_source: u64,
    next_seq: u64,
}

#[derive(Debug)]
struct SourceQueue<T> {
    /// What it holds, oldest first.
    queue: VecDeque<HeldItem<T>>,
    /// When the youngest of all its items was written.
    mark: Option<Timestamp>,
    /// When it was heard last, while it is behind.
    heard: Option<Instant>,
    /// When it lost its stream, until it is heard again.
    lost: Option<Instant>,
    /// Until when it counts as behind though it has reached the present.
    settles: Option<Instant>,
    closed: bool,
}

/// Up to where items may go at a moment: see [`Merge::may_go`].
#[derive(Clone, Copy, Debug)]
struct Bounds {
    at: Instant,
    /// No source that is behind has something older to come.
    behind: Bound,
    /// Every source is behind, and none has something older to come.
    past: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Nothing,
    UpTo(Timestamp),
    Everything,
}

impl Bound {
    fn admits(self, time: Timestamp) -> bool {
        match self {
            Self::Nothing => false,
            Self::UpTo(bound) => time <= bound,
            Self::Everything => true,
        }
    }

    /// What both admit, where the other is a source that has come to `mark`.
    fn and(self, mark: Option<Timestamp>) -> Self {
        match (self, mark) {
            (Self::Nothing, _) | (_, None) => Self::Nothing,
            (Self::UpTo(bound), Some(mark)) => Self::UpTo(bound.min(mark)),
            (Self::Everything, Some(mark)) => Self::UpTo(mark),
        }
    }
}

#[derive(Debug)]
struct HeldItem<T> {
    time: Timestamp,
    seq: u64,
    source: SourceId,
    came: Instant,
    item: T,
}

impl<T> HeldItem<T> {
    fn key(&self) -> (Timestamp, u64) {
        (self.time, self.seq)
    }

    fn release(self, late: bool) -> Released<T> {
        Released { source: self.source, time: self.time, item: self.item, late }
    }
}

impl<T> PartialEq for HeldItem<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for HeldItem<T> {}

impl<T> PartialOrd for HeldItem<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for HeldItem<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Sources that are lost within so long are lost together.
const TOGETHER: Duration = Duration::from_secs(1);

impl<T> Merge<T> {
    /// A merge without sources.
    pub fn new(waits: Waits) -> Self {
        Self {
            waits,
            sources: HashMap::default(),
            heads: BinaryHeap::new(),
            late: BinaryHeap::new(),
            held: 0,
            behind: 0,
            settling: VecDeque::new(),
            lateness: Lateness::default(),
            polled: Duration::ZERO,
            bounds: None,
            last: None,
            next_source: 0,
            next_seq: 0,
        }
    }

    /// Adds a source that is behind.
    pub fn open(&mut self, now: Instant) -> SourceId {
        let id = SourceId(self.next_source);
        self.next_source += 1;
        let source = SourceQueue {
            queue: VecDeque::new(),
            mark: None,
            heard: Some(now),
            lost: None,
            settles: None,
            closed: false,
        };
        self.sources.insert(id, source);
        self.behind += 1;
        self.bounds = None;
        id
    }

    /// The same of a source that is looked at so often, so that what is written is known that much later.
    pub fn open_polled(&mut self, every: Duration, now: Instant) -> SourceId {
        self.polled = self.polled.max(every);
        self.open(now)
    }

    /// Says that a source lost its stream and reads the past again. `known_to`: up to when everything that it wrote is
    /// known, where that is later than its last item; a source that was silent would hold back all others otherwise, each
    /// time that it loses its stream. One that is behind already has not been heard by losing it once more.
    pub fn behind(&mut self, source: SourceId, known_to: Option<Timestamp>, now: Instant) {
        let Some(source) = self.sources.get_mut(&source).filter(|s| !s.closed) else { return };
        if source.heard.is_none() || source.settles.take().is_some() {
            self.behind += usize::from(source.heard.is_none());
            (source.heard, source.lost) = (Some(now), Some(now));
            source.mark = source.mark.max(known_to);
            self.bounds = None;
        }
    }

    /// Says that a source has reached the present.
    pub fn caught_up(&mut self, id: SourceId, now: Instant) {
        self.returned(id, now);
        if self.sources.get(&id).is_some_and(|source| source.heard.is_some() && source.settles.is_none()) {
            let until = now + self.waits.settle;
            self.settling.push_back((until, id));
            if let Some(source) = self.sources.get_mut(&id) {
                source.settles = Some(until);
            }
        }
        self.settle(now);
    }

    /// Counts those no more as behind whose time to settle is over.
    fn settle(&mut self, now: Instant) {
        while let Some((until, id)) = self.settling.front().copied().filter(|(until, _)| *until <= now) {
            self.settling.pop_front();
            // It may have lost its stream meanwhile.
            let source = self.sources.get_mut(&id).filter(|source| source.settles == Some(until));
            if let Some(source) = source {
                source.settles = None;
                self.is_present(id);
            }
        }
    }

    fn is_present(&mut self, id: SourceId) {
        if let Some(source) = self.sources.get_mut(&id) {
            self.behind -= usize::from(source.heard.take().is_some());
            self.bounds = None;
        }
    }

    /// Takes in that a source that was lost is heard again: those that were lost with it are waited for anew.
    fn returned(&mut self, id: SourceId, now: Instant) {
        // Who is lost is behind: where nobody is, as nearly always, none has to be looked for.
        if self.behind == 0 {
            return;
        }
        let Some(lost) = self.sources.get_mut(&id).and_then(|source| source.lost.take()) else { return };
        for other in self.sources.values_mut().filter(|other| other.lost.is_some_and(|at| at + TOGETHER >= lost)) {
            other.heard = other.heard.max(Some(now));
        }
        self.bounds = None;
    }

    /// Says that nothing more comes from a source.
    pub fn close(&mut self, id: SourceId, now: Instant) {
        self.returned(id, now);
        self.is_present(id);
        if let Some(source) = self.sources.get_mut(&id) {
            source.closed = true;
            if source.queue.is_empty() {
                self.sources.remove(&id);
            }
        }
    }

    /// Takes an item and when it was written. Nothing is taken of a source that is closed.
    pub fn push(&mut self, id: SourceId, time: Timestamp, item: T, now: Instant) {
        self.settle(now);
        self.returned(id, now);
        let Some(source) = self.sources.get_mut(&id).filter(|s| !s.closed) else { return };
        match &mut source.heard {
            Some(heard) => *heard = now,
            None => self.lateness.observe(time, now),
        }
        if source.mark.is_none_or(|mark| mark < time) {
            source.mark = Some(time);
        }
        self.bounds = None;
        let held = HeldItem { time, seq: self.next_seq, source: id, came: now, item };
        self.next_seq += 1;
        self.held += 1;
        if self.last.is_some_and(|last| time < last) {
            self.late.push(Reverse(held));
            return;
        }
        // Nearly always the last place.
        let at = match source.queue.back() {
            Some(back) if back.time > time => source.queue.partition_point(|h| h.time <= time),
            _ => source.queue.len(),
        };
        if at == 0 {
            self.heads.push(Reverse((time, held.seq, id)));
        }
        source.queue.insert(at, held);
    }

    /// Lets the next item go, where one may go now.
    pub fn pop(&mut self, now: Instant) -> Option<Released<T>> {
        self.settle(now);
        self.next(Some(now))
    }

    /// The next item: one that may go now, or without a moment any.
    fn next(&mut self, now: Option<Instant>) -> Option<Released<T>> {
        if let Some(Reverse(held)) = self.late.pop() {
            self.held -= 1;
            return Some(held.release(true));
        }
        let (time, came) = self.head()?;
        if now.is_some_and(|now| !self.may_go(time, came, now)) {
            return None;
        }
        let mut top = self.heads.peek_mut()?;
        let Reverse((_, _, id)) = *top;
        let source = self.sources.get_mut(&id)?;
        let held = source.queue.pop_front()?;
        if let Some(next) = source.queue.front() {
            *top = Reverse((next.time, next.seq, id));
        } else {
            PeekMut::pop(top);
            if source.closed {
                self.sources.remove(&id);
            }
        }
        self.held -= 1;
        self.last = Some(held.time);
        Some(held.release(false))
    }

    /// When the item that is next in order was written, and when it came.
    fn head(&mut self) -> Option<(Timestamp, Instant)> {
        loop {
            let Reverse((_, seq, id)) = *self.heads.peek()?;
            if let Some(front) = self.sources.get(&id).and_then(|s| s.queue.front())
                && front.seq == seq
            {
                return Some((front.time, front.came));
            }
            self.heads.pop();
        }
    }

    /// When all that was written before must have come.
    fn due(&self, time: Timestamp, came: Instant) -> Instant {
        came + self.lateness.hold(time, came, self.polled).min(self.waits.window)
    }

    fn may_go(&mut self, time: Timestamp, came: Instant, now: Instant) -> bool {
        if self.behind == 0 {
            return now >= self.due(time, came);
        }
        let bounds = match self.bounds {
            Some(bounds) if bounds.at == now => bounds,
            _ => *self.bounds.insert(self.bounds_at(now)),
        };
        // What is read from the past need not wait for the window: its sources say how far they are.
        bounds.behind.admits(time) && (bounds.past.admits(time) || now >= self.due(time, came))
    }

    fn bounds_at(&self, now: Instant) -> Bounds {
        let (mut behind, mut past) = (Bound::Everything, Bound::Everything);
        for source in self.sources.values().filter(|s| !s.closed) {
            match source.heard {
                Some(heard) if self.waits.max_hold.is_some_and(|hold| now >= heard + hold) => {}
                Some(_) => behind = behind.and(source.mark),
                None => {}
            }
            match (source.heard, source.mark) {
                (_, None) => {}
                (Some(_), mark) => past = past.and(mark),
                (None, _) => past = Bound::Nothing,
            }
        }
        Bounds { at: now, behind, past }
    }

    /// When [`pop`](Self::pop) should be asked again if nothing is pushed before.
    pub fn next_at(&mut self, now: Instant) -> Option<Instant> {
        if !self.late.is_empty() {
            return Some(now);
        }
        let (time, came) = self.head()?;
        let mut at = self.due(time, came);
        if self.behind > 0 {
            for source in self.sources.values().filter(|s| s.mark.is_none_or(|m| m < time)) {
                let over = || Some(source.heard? + self.waits.max_hold?);
                match source.settles.or_else(over) {
                    Some(over) => at = at.max(over),
                    None if source.heard.is_some() => return None,
                    None => {}
                }
            }
        }
        Some(at)
    }

    /// Whether a source is open, or items of it are held. Late ones do not count: they go with the next
    /// [`pop`](Self::pop).
    pub fn holds(&self, source: SourceId) -> bool {
        self.sources.contains_key(&source)
    }

    /// How many items are held.
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Gives up everything that is held, in order, whatever it would wait for. For the end.
    pub fn drain(&mut self) -> impl Iterator<Item = Released<T>> {
        std::iter::from_fn(|| self.next(None))
    }
}

#[cfg(test)]
mod tests;
