//! How long something that fails is tried again, and when a word is said of it.

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::watcher::ExponentialBackoff;
use tokio::time::Instant;

use crate::backoff;

/// What is read to its end and not followed is given up when it failed for so long and nothing of it came.
pub(super) const GIVE_UP: Duration = Duration::from_secs(30);

/// How long something is tried. What is followed is tried for ever.
#[derive(Debug)]
pub(super) struct Patience {
    is_endless: bool,
    since: Option<Instant>,
}

impl Patience {
    pub(super) fn new(follow: bool) -> Self {
        Self { is_endless: follow, since: None }
    }

    /// Something is asked for: the time runs from the first asking that brought nothing.
    pub(super) fn asks(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Something came.
    pub(super) fn renew(&mut self) {
        self.since = None;
    }

    pub(super) fn is_over(&self) -> bool {
        !self.is_endless && self.since.is_some_and(|since| since.elapsed() >= GIVE_UP)
    }
}

/// After so long, or so many failures, the first word is said.
const FIRST: Duration = Duration::from_secs(5);
const FAILURES: u32 = 3;

/// A failure that comes this long after the last one has nothing to do with it.
const APART: Duration = Duration::from_secs(300);

/// Breaks the silence of a trouble that goes on: tells when it is time to say once more what is awaited, and since when.
pub(super) struct Reminder {
    /// The pause before the second word, and the longest: each is twice as long as the one before.
    pauses: (Duration, Duration),
    awaited: Option<Awaited>,
}

struct Awaited {
    since: Instant,
    at: Timestamp,
    last: Instant,
    failures: u32,
    next: Instant,
    pauses: ExponentialBackoff,
    said: bool,
}

impl Reminder {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { pauses: (first, longest), awaited: None }
    }

    /// Something is awaited from now on, if it was not before.
    pub(super) fn awaits(&mut self) {
        let now = Instant::now();
        let (first, longest) = self.pauses;
        self.awaited.get_or_insert_with(|| Awaited {
            since: now,
            at: Timestamp::now(),
            last: now,
            failures: 0,
            next: now + FIRST,
            pauses: backoff::doubling(first, longest),
            said: false,
        });
    }

    /// It failed; gives what is to be said of the time, where a word is due.
    pub(super) fn failed(&mut self) -> Option<String> {
        self.awaited.take_if(|a| a.failures > 0 && a.last.elapsed() >= APART);
        self.awaits();
        let awaited = self.awaited.as_mut()?;
        awaited.failures += 1;
        awaited.last = Instant::now();
        if awaited.failures >= FAILURES && !awaited.said {
            awaited.next = awaited.last;
        }
        self.due()
    }

    /// The same, where nothing has failed and nothing has come.
    pub(super) fn due(&mut self) -> Option<String> {
        let awaited = self.awaited.as_mut()?;
        let now = Instant::now();
        if now < awaited.next {
            return None;
        }
        awaited.next = now + awaited.pauses.next().unwrap_or_default();
        awaited.said = true;
        let at = awaited.at.strftime("%H:%M:%SZ");
        let seconds = (now - awaited.since).as_secs();
        Some(if seconds == 0 { format!("since {at}") } else { format!("since {at}, for {seconds} s") })
    }

    /// When a word is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.awaited.as_ref().map(|a| a.next)
    }

    /// It came; tells whether anything was said of it.
    pub(super) fn came(&mut self) -> bool {
        self.awaited.take().is_some_and(|a| a.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_now_and_then() {
        let mut reminder = Reminder::new(SECOND * 30, SECOND * 60);
        assert_eq!(reminder.next(), None);
        let mut said = Vec::new();
        for second in 0..240 {
            said.extend(reminder.failed().map(|_| second));
            tokio::time::advance(SECOND).await;
        }
        assert_eq!(said, [2, 32, 92, 152, 212]);
        assert!(reminder.came() && !reminder.came());
        // One failure alone is passed over, and so is one more when the first is long forgotten.
        for _ in 0..4 {
            assert_eq!(reminder.failed(), None);
            tokio::time::advance(APART).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_at_all_is_said_with_its_time() {
        let mut reminder = Reminder::new(SECOND * 30, SECOND * 30);
        reminder.awaits();
        tokio::time::advance(FIRST.saturating_sub(SECOND)).await;
        assert_eq!(reminder.due(), None);
        tokio::time::advance(SECOND).await;
        assert!(reminder.due().is_some_and(|text| text.ends_with("for 5 s")));
        assert_eq!(reminder.next(), Some(Instant::now() + SECOND * 30));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_followed_is_given_up_and_what_is_followed_never() {
        let (mut once, mut for_ever) = (Patience::new(false), Patience::new(true));
        for patience in [&mut once, &mut for_ever] {
            patience.asks();
        }
        tokio::time::advance(GIVE_UP.saturating_sub(SECOND)).await;
        once.asks();
        assert!(!once.is_over());
        tokio::time::advance(SECOND).await;
        assert!(once.is_over() && !for_ever.is_over());
        once.renew();
        once.asks();
        assert!(!once.is_over());
    }
}
