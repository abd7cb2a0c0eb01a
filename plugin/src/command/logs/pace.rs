//! How often what was read is written: at once while little comes, and a few times less often than lines where many come.

use std::time::{Duration, Instant};

/// The time between writes where lines come without a pause.
const APART: Duration = Duration::from_millis(8);

/// So many writes may follow each other at once after a pause: lines of a few sources come together, seldom.
const AT_ONCE: u32 = 8;

/// When the next write is due, and whether one is: a bucket of [`AT_ONCE`] writes that fills up by one in [`APART`].
#[derive(Debug)]
pub(super) struct Pace {
    /// From when on the next write is allowed.
    turn: Instant,
    waits: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { turn: Self::full(now), waits: false }
    }

    /// Something is to be written.
    pub(super) fn wants(&mut self) {
        self.waits = true;
    }

    /// When what is to be written is due; nothing where nothing is.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waits.then_some(self.turn)
    }

    /// Everything was written.
    pub(super) fn wrote(&mut self, now: Instant) {
        self.turn = self.turn.max(Self::full(now)) + APART;
        self.waits = false;
    }

    /// The turn where as many writes as can be may follow each other.
    fn full(now: Instant) -> Instant {
        now.checked_sub(APART * (AT_ONCE - 1)).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The moments of writes, where something comes at these moments (in microseconds): each is written when it is due, or
    /// when the next comes, if that is later.
    fn written(came: &[u64]) -> Vec<(u64, u64)> {
        let began = Instant::now();
        let at = |micros: u64| began + Duration::from_micros(micros);
        let mut pace = Pace::new(began);
        let mut writes = Vec::new();
        let mut first = None;
        let mut flush = |pace: &mut Pace, until: Option<u64>, first: &mut Option<u64>| {
            let Some(due) = pace.due() else { return };
            let due = u64::try_from((due - began).as_micros()).unwrap().max(first.unwrap());
            if until.is_none_or(|until| due <= until) {
                writes.push((first.take().unwrap(), due));
                pace.wrote(at(due));
            }
        };
        for moment in came {
            flush(&mut pace, Some(*moment), &mut first);
            first.get_or_insert(*moment);
            pace.wants();
        }
        flush(&mut pace, None, &mut first);
        writes
    }

    #[test]
    fn lines_of_several_sources_that_come_together_are_written_at_once() {
        // Ten times a second, from four sources within three milliseconds.
        let came: Vec<u64> = (0..10).flat_map(|n| (0..4).map(move |s| n * 100_000 + s * 1_000)).collect();
        assert!(written(&came).iter().all(|(came, written)| came == written));
    }

    proptest! {
        #[test]
        fn no_more_writes_than_one_in_so_long_and_nothing_waits_longer(pauses in proptest::collection::vec(0_u64..20_000, 1..400)) {
            let came: Vec<u64> = pauses.iter().scan(0, |at, pause| { *at += pause; Some(*at) }).collect();
            let writes = written(&came);
            let apart = u64::try_from(APART.as_micros()).unwrap();
            for (came, written) in &writes {
                prop_assert!(written - came <= apart);
            }
            for (n, (_, first)) in writes.iter().enumerate() {
                let last = first + 100 * apart;
                let within = writes[n..].iter().take_while(|(_, at)| *at < last).count();
                prop_assert!(within <= 100 + AT_ONCE as usize, "{within} writes");
            }
        }
    }
}
