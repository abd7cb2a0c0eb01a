use proptest::prelude::*;

use super::*;

const WINDOW: Duration = Duration::from_millis(200);
const HOLD: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_millis(100);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

fn live() -> Merge<&'static str> {
    Merge::new(Waits { window: WINDOW, max_hold: Some(HOLD), settle: SETTLE })
}

fn pop_all<T>(merge: &mut Merge<T>, now: Instant) -> Vec<(T, bool)> {
    std::iter::from_fn(|| merge.pop(now)).map(|r| (r.item, r.late)).collect()
}

#[test]
fn items_wait_for_the_window_and_come_in_order() {
    let (mut merge, now) = (live(), Instant::now());
    let (a, b) = (merge.open(now), merge.open(now));
    merge.caught_up(a, now);
    merge.caught_up(b, now);
    let now = now + SETTLE;
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
    merge.caught_up(a, now);
    merge.caught_up(b, now);
    merge.push(b, at(1), "old", now);
    assert_eq!(pop_all(&mut merge, now + WINDOW), [("old", false)]);
    merge.behind(b, None, now);
    merge.push(a, at(20), "new", now);
    assert!(pop_all(&mut merge, now + Duration::from_secs(4)).is_empty());
    assert_eq!(merge.next_at(now), Some(now + HOLD));
    merge.push(b, at(10), "resumed", now + Duration::from_secs(4));
    assert_eq!(pop_all(&mut merge, now + Duration::from_secs(5)), [("resumed", false)]);
    assert_eq!(pop_all(&mut merge, now + Duration::from_secs(9)), [("new", false)]);
}

#[test]
fn a_silent_source_that_loses_its_stream_again_and_again_holds_nobody() {
    let (mut merge, now) = (live(), Instant::now());
    let (a, silent) = (merge.open(now), merge.open(now));
    merge.caught_up(a, now);
    merge.push(silent, at(1), "its last", now);
    merge.caught_up(silent, now);
    assert_eq!(pop_all(&mut merge, now + WINDOW), [("its last", false)]);
    merge.behind(silent, Some(at(30)), now);
    merge.push(a, at(20), "before it was lost", now);
    merge.push(a, at(40), "after", now);
    assert_eq!(pop_all(&mut merge, now + WINDOW), [("before it was lost", false)]);
    // Cut once more before it has caught up: the time it may hold the others goes on.
    merge.behind(silent, Some(at(31)), now + Duration::from_secs(3));
    assert_eq!(pop_all(&mut merge, now + HOLD), [("after", false)]);
}

#[test]
fn who_has_just_reached_the_present_may_have_read_what_is_a_little_older() {
    let (mut merge, now) = (live(), Instant::now());
    let (a, b) = (merge.open(now), merge.open(now));
    merge.caught_up(a, now);
    merge.push(a, at(100), "of a", now);
    merge.push(b, at(20), "of b", now);
    let later = now + WINDOW;
    merge.caught_up(b, later);
    assert_eq!(pop_all(&mut merge, later), [("of b", false)]);
    assert_eq!(merge.next_at(later), Some(later + SETTLE));
    // Lost again meanwhile, it is behind as before.
    merge.behind(b, None, later);
    assert!(pop_all(&mut merge, later + SETTLE).is_empty());
    merge.push(b, at(90), "more of b", later + SETTLE);
    merge.caught_up(b, later + SETTLE);
    assert_eq!(pop_all(&mut merge, later + SETTLE + WINDOW), [("more of b", false), ("of a", false)]);
}

#[test]
fn sources_that_were_lost_together_wait_for_each_other_when_one_is_back() {
    for (lost_after, late) in [(Duration::from_millis(200), false), (Duration::from_secs(3), true)] {
        let (mut merge, now) = (live(), Instant::now());
        let (a, b, c) = (merge.open(now), merge.open(now), merge.open(now));
        for (source, time) in [(a, 1), (b, 2), (c, 3)] {
            merge.push(source, at(time), "before", now);
            merge.caught_up(source, now);
        }
        assert_eq!(pop_all(&mut merge, now + WINDOW).len(), 3);
        merge.behind(b, None, now + WINDOW);
        merge.behind(c, None, now + WINDOW + lost_after);
        // A was lost with C, and with B where that was at the same time.
        merge.behind(a, None, now + WINDOW + lost_after);
        // Nobody was heard for longer than one may hold the others.
        let back = now + HOLD * 3;
        merge.push(a, at(9000), "of a", back);
        assert!(pop_all(&mut merge, back).is_empty(), "c is waited for anew");
        merge.push(c, at(8500), "of c", back + Duration::from_secs(1));
        merge.caught_up(c, back + Duration::from_secs(1));
        merge.caught_up(a, back + Duration::from_secs(1));
        let mut came = pop_all(&mut merge, back + Duration::from_secs(2));
        merge.push(b, at(8000), "of b", back + Duration::from_secs(3));
        merge.caught_up(b, back + Duration::from_secs(3));
        came.extend(pop_all(&mut merge, back + HOLD));
        assert_eq!(
            came.iter().map(|(item, late)| (*item, *late)).find(|(item, _)| *item == "of b"),
            Some(("of b", late))
        );
        assert!(came.iter().filter(|(item, _)| *item != "of b").all(|(_, late)| !late));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize, i64),
    Wait(u64),
    Behind(usize, Option<i64>),
    CaughtUp(usize),
    Close(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_usize, 0..2000_i64).prop_map(|(s, t)| Step::Push(s, t)),
        3 => (0..500_u64).prop_map(Step::Wait),
        1 => (0..4_usize, proptest::option::of(0..2000_i64)).prop_map(|(s, t)| Step::Behind(s, t)),
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
        let mut merge = Merge::new(Waits { window: WINDOW, max_hold: Some(HOLD), settle: SETTLE });
        let mut sources: Vec<_> = (0..4).map(|_| merge.open(now)).collect();
        let (mut given, mut got) = (Vec::new(), Vec::new());
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push(s, t) => {
                    merge.push(sources[s], at(t), n, now);
                    given.push(n);
                }
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::Behind(s, t) => merge.behind(sources[s], t.map(at), now),
                Step::CaughtUp(s) => merge.caught_up(sources[s], now),
                Step::Close(s) => {
                    merge.close(sources[s], now);
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

    /// Sources that come as late as they did before, whatever their clocks: in order, and never held for longer than that.
    #[test]
    fn lines_are_held_for_as_long_as_sources_come_late_and_no_longer(
        sources in proptest::collection::vec((0..60_u64, 0..60_u64, -100..100_i64), 2..5),
        gaps in proptest::collection::vec(1..40_u64, 50..150),
    ) {
        let began = Instant::now();
        let mut merge = Merge::new(Waits { window: Duration::from_secs(1), max_hold: Some(HOLD), settle: SETTLE });
        let ids: Vec<_> = sources.iter().map(|_| merge.open(began)).collect();
        for id in &ids {
            merge.caught_up(*id, began);
        }
        // When it comes, when that says it was written, and of whom; all come at their soonest and at their latest first.
        let (mut events, mut written) = (Vec::new(), 1000);
        let mut write = |written: u64, source: usize, after: u64| {
            let clock = i64::try_from(written).unwrap() + sources[source].2;
            events.push((written + after, clock, source));
        };
        for _ in 0..130 {
            for (source, (least, more, _)) in sources.iter().enumerate() {
                write(written, source, *least);
                write(written, source, least + more);
            }
            written += 20;
        }
        let learned = written;
        for (n, gap) in gaps.into_iter().enumerate() {
            written += gap;
            let source = n % sources.len();
            let (least, more, _) = sources[source];
            write(written, source, least + if n % 3 == 0 { more } else { more / 2 });
        }
        events.sort_by_key(|(came, ..)| *came);
        // What the sources' clocks and ways differ by at most.
        let offsets = |of: fn(&(u64, u64, i64)) -> i64| sources.iter().map(of).collect::<Vec<_>>();
        let least = offsets(|(least, _, ahead)| i64::try_from(*least).unwrap() - ahead).into_iter().min().unwrap();
        let most = offsets(|(least, more, ahead)| i64::try_from(least + more).unwrap() - ahead).into_iter().max().unwrap();
        let mut events = events.into_iter().peekable();
        let mut now = began;
        loop {
            let next = events.peek().map(|(came, ..)| began + Duration::from_millis(*came));
            now = match (merge.next_at(now), next) {
                (Some(due), Some(came)) => due.min(came).max(now),
                (Some(at), None) | (None, Some(at)) => at.max(now),
                (None, None) => break,
            };
            while let Some((came, clock, source)) = events.next_if(|(came, ..)| began + Duration::from_millis(*came) <= now) {
                // No stamp is of a whole second.
                let time = Timestamp::from_microsecond(clock * 1000 + 1).unwrap();
                merge.push(ids[source], time, came, now);
            }
            while let Some(released) = merge.pop(now) {
                if released.item > learned + 200 {
                    prop_assert!(!released.late);
                    let held = now.duration_since(began + Duration::from_millis(released.item));
                    let allowed = u64::try_from(most - least).unwrap() * 5 / 4 + 3;
                    prop_assert!(held <= Duration::from_millis(allowed), "{held:?} of {allowed} ms");
                }
            }
        }
    }

    #[test]
    fn the_past_of_ordered_sources_comes_out_in_exact_order_and_never_blocks(
        mut logs in proptest::collection::vec(proptest::collection::vec(0..500_i64, 0..40), 1..5),
        turns in proptest::collection::vec(0..5_usize, 0..200),
    ) {
        let now = Instant::now();
        let mut merge = Merge::new(Waits { window: WINDOW, max_hold: None, settle: SETTLE });
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
                None => merge.close(ids[turn], now),
            }
            got.extend(std::iter::from_fn(|| merge.pop(now)));
        }
        for (queue, id) in queues.into_iter().zip(ids) {
            queue.for_each(|t| merge.push(id, at(t), (), now));
            merge.close(id, now);
        }
        got.extend(std::iter::from_fn(|| merge.pop(now + WINDOW)));
        prop_assert_eq!(got.len(), all);
        prop_assert!(got.iter().all(|r| !r.late));
        prop_assert!(got.iter().map(|r| r.time).is_sorted());
    }
}
