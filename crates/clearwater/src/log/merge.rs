use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A source of a [`Merge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u64);

/// An item that a [`Merge`] has let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released<T> {
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
    /// How long each item is held for others that were written before it.
    pub window: Duration,
    /// How long a source that is behind, and says nothing, may hold back what was written after its last item. `None`:
    /// until it has caught up or closed, which gives exact order where the past is read to its end.
    pub max_hold: Option<Duration>,
}

/// Brings items of many sources into the order in which they were written.
///
/// A source is *behind* while it reads the past: after [`open`](Self::open) and [`behind`](Self::behind), until
/// [`caught_up`](Self::caught_up) or [`close`](Self::close). Nothing written after the last item of a source that is
/// behind is let go, because that source may still have something older; a source that stays silent for longer than
/// [`Waits::max_hold`] no longer counts. Everything else is let go once it has been held for [`Waits::window`].
///
/// All items that are not marked late come out in order; equal times keep the order in which they came. Every item
/// comes out once. The merge holds what it is given: callers bound it by giving no more of a source until some of that
/// source has been let go. The items of the source that is furthest behind never wait for others, so that this cannot
/// block for ever.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use clearwater::log::{Merge, Waits};
///
/// let now = Instant::now();
/// let mut merge = Merge::new(Waits { window: Duration::ZERO, max_hold: None });
/// let (a, b) = (merge.open(now), merge.open(now));
/// merge.push(a, "2026-11-23T10:00:02Z".parse()?, "second", now);
/// assert!(merge.pop(now).is_none(), "b may have something older");
/// merge.push(b, "2026-11-23T10:00:01Z".parse()?, "first", now);
/// assert_eq!(merge.pop(now).map(|r| r.item), Some("first"));
/// merge.close(b);
/// assert_eq!(merge.pop(now).map(|r| r.item), Some("second"));
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Debug)]
pub struct Merge<T> {
    waits: Waits,
    held: BinaryHeap<Reverse<Held<T>>>,
    late: BinaryHeap<Reverse<Held<T>>>,
    behind: BTreeMap<SourceId, Behind>,
    watermarks: BTreeMap<SourceId, Timestamp>,
    last: Option<Timestamp>,
    next_source: u64,
    next_seq: u64,
}

#[derive(Debug)]
struct Behind {
    heard: Instant,
}

#[derive(Debug)]
struct Held<T> {
    time: Timestamp,
    seq: u64,
    came: Instant,
    item: T,
}

impl<T> Held<T> {
    fn key(&self) -> (Timestamp, u64) {
        (self.time, self.seq)
    }
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Held<T> {}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Held<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T> Merge<T> {
    /// A merge without sources.
    pub fn new(waits: Waits) -> Self {
        Self {
            waits,
            held: BinaryHeap::new(),
            late: BinaryHeap::new(),
            behind: BTreeMap::new(),
            watermarks: BTreeMap::new(),
            last: None,
            next_source: 0,
            next_seq: 0,
        }
    }

    /// Adds a source that is behind.
    pub fn open(&mut self, now: Instant) -> SourceId {
        let id = SourceId(self.next_source);
        self.next_source += 1;
        self.behind.insert(id, Behind { heard: now });
        id
    }

    /// Says that a source lost its stream and reads the past again.
    pub fn behind(&mut self, source: SourceId, now: Instant) {
        self.behind.insert(source, Behind { heard: now });
    }

    /// Says that a source has reached the present.
    pub fn caught_up(&mut self, source: SourceId) {
        self.behind.remove(&source);
    }

    /// Says that nothing more comes from a source.
    pub fn close(&mut self, source: SourceId) {
        self.behind.remove(&source);
        self.watermarks.remove(&source);
    }

    /// Takes an item and when it was written.
    pub fn push(&mut self, source: SourceId, time: Timestamp, item: T, now: Instant) {
        if let Some(behind) = self.behind.get_mut(&source) {
            behind.heard = now;
        }
        let mark = self.watermarks.entry(source).or_insert(time);
        *mark = time.max(*mark);
        let held = Held { time, seq: self.next_seq, came: now, item };
        self.next_seq += 1;
        if self.last.is_some_and(|last| time < last) {
            self.late.push(Reverse(held));
        } else {
            self.held.push(Reverse(held));
        }
    }

    /// Lets the next item go, where one may go now.
    pub fn pop(&mut self, now: Instant) -> Option<Released<T>> {
        if let Some(Reverse(held)) = self.late.pop() {
            return Some(Released { time: held.time, item: held.item, late: true });
        }
        if !self.may_go(now) {
            return None;
        }
        let Reverse(held) = self.held.pop()?;
        self.last = Some(held.time);
        Some(Released { time: held.time, item: held.item, late: false })
    }

    fn may_go(&self, now: Instant) -> bool {
        let Some(Reverse(head)) = self.held.peek() else { return false };
        if now < head.came + self.waits.window && !self.behind.is_empty() {
            // What is read from the past need not wait for the window: its sources say how far they are.
            return self.is_past(head.time) && self.passes(head.time, now);
        }
        now >= head.came + self.waits.window && self.passes(head.time, now)
    }

    /// Whether every source is behind and has said something written at or after that time.
    fn is_past(&self, time: Timestamp) -> bool {
        self.watermarks.iter().all(|(id, mark)| self.behind.contains_key(id) && *mark >= time)
    }

    /// Whether no source that is behind may still have something older.
    fn passes(&self, time: Timestamp, now: Instant) -> bool {
        self.behind.iter().all(|(id, behind)| {
            self.watermarks.get(id).is_some_and(|mark| *mark >= time)
                || self.waits.max_hold.is_some_and(|hold| now >= behind.heard + hold)
        })
    }

    /// When [`pop`](Self::pop) should be asked again if nothing is pushed before.
    pub fn next_at(&self, now: Instant) -> Option<Instant> {
        if !self.late.is_empty() {
            return Some(now);
        }
        let Reverse(head) = self.held.peek()?;
        let holds = self.behind.iter().filter(|(id, _)| self.watermarks.get(*id).is_none_or(|m| *m < head.time));
        let mut at = head.came + self.waits.window;
        for (_, behind) in holds {
            at = at.max(behind.heard + self.waits.max_hold?);
        }
        Some(at)
    }

    /// How many items are held.
    pub fn len(&self) -> usize {
        self.held.len() + self.late.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.late.is_empty()
    }

    /// Gives up everything that is held, in order, whatever it would wait for. For the end.
    pub fn drain(&mut self) -> impl Iterator<Item = Released<T>> {
        let mut rest = Vec::with_capacity(self.len());
        while let Some(Reverse(held)) = self.late.pop() {
            rest.push(Released { time: held.time, item: held.item, late: true });
        }
        while let Some(Reverse(held)) = self.held.pop() {
            self.last = Some(held.time);
            rest.push(Released { time: held.time, item: held.item, late: false });
        }
        rest.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_millis(200);
    const HOLD: Duration = Duration::from_secs(5);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn live() -> Merge<&'static str> {
        Merge::new(Waits { window: WINDOW, max_hold: Some(HOLD) })
    }

    fn pop_all<T>(merge: &mut Merge<T>, now: Instant) -> Vec<(T, bool)> {
        std::iter::from_fn(|| merge.pop(now)).map(|r| (r.item, r.late)).collect()
    }

    #[test]
    fn items_wait_for_the_window_and_come_in_order() {
        let (mut merge, now) = (live(), Instant::now());
        let (a, b) = (merge.open(now), merge.open(now));
        merge.caught_up(a);
        merge.caught_up(b);
        merge.push(a, at(20), "second", now);
        merge.push(b, at(10), "first", now);
        assert_eq!(merge.next_at(now), Some(now + WINDOW));
        assert!(pop_all(&mut merge, now).is_empty());
        assert_eq!(pop_all(&mut merge, now + WINDOW), [("first", false), ("second", false)]);
        merge.push(b, at(15), "late", now + WINDOW);
        assert_eq!(pop_all(&mut merge, now + WINDOW), [("late", true)]);
    }

    #[test]
    fn a_source_that_resumes_holds_the_others_but_not_for_ever() {
        let (mut merge, now) = (live(), Instant::now());
        let (a, b) = (merge.open(now), merge.open(now));
        merge.caught_up(a);
        merge.caught_up(b);
        merge.push(b, at(1), "old", now);
        assert_eq!(pop_all(&mut merge, now + WINDOW), [("old", false)]);
        merge.behind(b, now);
        merge.push(a, at(20), "new", now);
        assert!(pop_all(&mut merge, now + Duration::from_secs(4)).is_empty());
        assert_eq!(merge.next_at(now), Some(now + HOLD));
        merge.push(b, at(10), "resumed", now + Duration::from_secs(4));
        assert_eq!(pop_all(&mut merge, now + Duration::from_secs(5)), [("resumed", false)]);
        assert_eq!(pop_all(&mut merge, now + Duration::from_secs(9)), [("new", false)]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize, i64),
        Wait(u64),
        Behind(usize),
        CaughtUp(usize),
        Close(usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..4_usize, 0..2000_i64).prop_map(|(s, t)| Step::Push(s, t)),
            3 => (0..500_u64).prop_map(Step::Wait),
            1 => (0..4_usize).prop_map(Step::Behind),
            1 => (0..4_usize).prop_map(Step::CaughtUp),
            1 => (0..4_usize).prop_map(Step::Close),
        ]
    }

    proptest! {
        #[test]
        fn unmarked_items_are_sorted_and_nothing_is_lost_or_invented(
            steps in proptest::collection::vec(any_step(), 0..120),
        ) {
            let mut now = Instant::now();
            let mut merge = Merge::new(Waits { window: WINDOW, max_hold: Some(HOLD) });
            let mut sources: Vec<_> = (0..4).map(|_| merge.open(now)).collect();
            let (mut given, mut got) = (Vec::new(), Vec::new());
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(s, t) => {
                        merge.push(sources[s], at(t), n, now);
                        given.push(n);
                    }
                    Step::Wait(ms) => now += Duration::from_millis(ms),
                    Step::Behind(s) => merge.behind(sources[s], now),
                    Step::CaughtUp(s) => merge.caught_up(sources[s]),
                    Step::Close(s) => {
                        merge.close(sources[s]);
                        sources[s] = merge.open(now);
                    }
                }
                while let Some(r) = merge.pop(now) {
                    got.push(r);
                }
            }
            // Whatever is still held goes within the longest wait.
            now += HOLD + WINDOW;
            while let Some(r) = merge.pop(now) {
                got.push(r);
            }
            prop_assert!(merge.is_empty());
            let unmarked: Vec<_> = got.iter().filter(|r| !r.late).map(|r| r.time).collect();
            prop_assert!(unmarked.is_sorted());
            let mut items: Vec<_> = got.iter().map(|r| r.item).collect();
            items.sort_unstable();
            prop_assert_eq!(items, given);
        }

        #[test]
        fn the_past_of_ordered_sources_comes_out_in_exact_order_and_never_blocks(
            mut logs in proptest::collection::vec(proptest::collection::vec(0..500_i64, 0..40), 1..5),
            turns in proptest::collection::vec(0..5_usize, 0..200),
        ) {
            let now = Instant::now();
            let mut merge = Merge::new(Waits { window: WINDOW, max_hold: None });
            let ids: Vec<_> = logs.iter().map(|_| merge.open(now)).collect();
            for log in &mut logs {
                log.sort_unstable();
            }
            let all: usize = logs.iter().map(Vec::len).sum();
            let mut queues: Vec<_> = logs.into_iter().map(Vec::into_iter).collect();
            let mut got = Vec::new();
            for turn in turns {
                let Some(queue) = queues.get_mut(turn) else { continue };
                match queue.next() {
                    Some(t) => merge.push(ids[turn], at(t), (), now),
                    None => merge.close(ids[turn]),
                }
                got.extend(std::iter::from_fn(|| merge.pop(now)));
            }
            for (queue, id) in queues.into_iter().zip(ids) {
                queue.for_each(|t| merge.push(id, at(t), (), now));
                merge.close(id);
            }
            got.extend(std::iter::from_fn(|| merge.pop(now + WINDOW)));
            prop_assert_eq!(got.len(), all);
            prop_assert!(got.iter().all(|r| !r.late));
            prop_assert!(got.iter().map(|r| r.time).is_sorted());
        }
    }
}
