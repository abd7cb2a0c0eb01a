use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// What is held before anything is known, and for how long nothing is.
const UNKNOWN: Duration = Duration::from_millis(300);
const LEARNS_FOR: Duration = Duration::from_secs(2);

/// The latest that anything came is remembered of so many spans of time in which something came.
const SPANS: usize = 8;
const SPAN: Duration = Duration::from_secs(2);

/// What may come later than anything did: this, and a quarter of what lies between the soonest and the latest.
const MARGIN: i64 = 2_000;

/// How late what is written comes, of sources that have reached the present. No clock of this machine is needed: what counts is
/// how much later one comes than another, measured from the first, in microseconds. A source whose clock is ahead comes soon by
/// that, so that its items wait for others of the same time.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    first: Option<(Instant, i64)>,
    spans: VecDeque<Span>,
    /// Of all spans.
    known: Option<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    began: Instant,
    known: Known,
}

/// The soonest and the latest.
#[derive(Clone, Copy, Debug)]
struct Known {
    least: i64,
    most: i64,
}

impl Known {
    fn and(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }
}

impl Lateness {
    /// Takes in when an item was written and came. A stamp of a whole second says too little.
    pub(super) fn observe(&mut self, time: Timestamp, came: Instant) {
        if time.subsec_nanosecond() == 0 {
            return;
        }
        let offset = offset(*self.first.get_or_insert((came, time.as_microsecond())), time, came);
        let now = Known { least: offset, most: offset };
        match self.spans.back_mut() {
            Some(span) if came < span.began + SPAN => span.known = span.known.and(now),
            _ => {
                self.spans.push_back(Span { began: came, known: now });
                if self.spans.len() > SPANS {
                    self.spans.pop_front();
                    self.known = self.spans.iter().map(|span| span.known).reduce(Known::and);
                }
            }
        }
        self.known = Some(self.known.map_or(now, |known| known.and(now)));
    }

    /// How long an item is held from when it came, so that all that was written before it has come. `polled`: so much later than
    /// the soonest something comes of who is only looked at now and then.
    pub(super) fn hold(&self, time: Timestamp, came: Instant, polled: Duration) -> Duration {
        let (Some(first), Some(known)) = (self.first, self.known) else { return UNKNOWN };
        if came < first.0 + LEARNS_FOR {
            return UNKNOWN;
        }
        let most = known.most.max(known.least.saturating_add(micros(polled)));
        let all = most.saturating_add((most - known.least) / 4).saturating_add(MARGIN);
        Duration::from_micros(u64::try_from(all.saturating_sub(offset(first, time, came))).unwrap_or_default())
    }
}

fn offset((instant, micros_then): (Instant, i64), time: Timestamp, came: Instant) -> i64 {
    let after = micros(came.saturating_duration_since(instant));
    let before = micros(instant.saturating_duration_since(came));
    (after - before).saturating_sub(time.as_microsecond().saturating_sub(micros_then))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn learned(late_by: &[u64]) -> (Lateness, Instant, Timestamp) {
        let (began, written) = (Instant::now(), "2026-11-30T03:12:45.000001Z".parse::<Timestamp>().unwrap());
        let mut lateness = Lateness::default();
        for n in 0..40_u32 {
            for millis in late_by {
                let after = Duration::from_millis(100) * n;
                let time = written + SignedDuration::try_from(after).unwrap();
                lateness.observe(time, began + after + Duration::from_millis(*millis));
            }
        }
        (lateness, began + Duration::from_secs(4), written + SignedDuration::from_secs(4))
    }

    #[test]
    fn what_comes_soon_waits_for_what_comes_late_and_no_longer() {
        // Milliseconds after it was written: how late all come, how late one came, how long it is held, at least and at most.
        for (late_by, came, least, most) in
            [(&[1, 3][..], 1, 2, 10), (&[1, 3], 3, 0, 5), (&[1, 3], 500, 0, 0), (&[1, 400], 1, 399, 510)]
        {
            let (lateness, now, written) = learned(late_by);
            let held = lateness.hold(written, now + Duration::from_millis(came), Duration::ZERO).as_millis();
            assert!((least..=most).contains(&held), "{late_by:?} {came}: {held}");
        }
    }

    #[test]
    fn what_is_looked_at_now_and_then_is_waited_for_before_it_was_late() {
        let (lateness, now, written) = learned(&[1, 3]);
        let held = lateness.hold(written, now + Duration::from_millis(1), Duration::from_millis(100));
        assert!(held >= Duration::from_millis(100) && held < Duration::from_millis(140), "{held:?}");
    }

    #[test]
    fn what_was_late_once_is_forgotten() {
        let (mut lateness, mut now, mut written) = learned(&[1, 900]);
        for _ in 0..=SPANS {
            now += SPAN;
            written += SignedDuration::try_from(SPAN).unwrap();
            lateness.observe(written, now + Duration::from_millis(1));
        }
        let held = lateness.hold(written, now + Duration::from_millis(1), Duration::ZERO);
        assert!(held < Duration::from_millis(10), "{held:?}");
    }

    #[test]
    fn nothing_is_learned_of_whole_seconds_and_nothing_is_known_at_first() {
        let (now, written) = (Instant::now(), "2026-11-30T03:12:45Z".parse::<Timestamp>().unwrap());
        let mut lateness = Lateness::default();
        lateness.observe(written, now);
        assert_eq!(lateness.hold(written, now, Duration::ZERO), UNKNOWN);
        let fraction = written + SignedDuration::from_millis(1);
        lateness.observe(fraction, now);
        assert_eq!(lateness.hold(fraction, now + SPAN / 2, Duration::ZERO), UNKNOWN);
        // No time is too far for it.
        for time in [Timestamp::MIN, Timestamp::MAX] {
            lateness.observe(time, now);
            lateness.hold(time, now + SPAN * 2, Duration::MAX);
        }
    }
}
