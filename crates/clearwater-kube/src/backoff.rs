//! Pauses between attempts and between looks.

use std::time::Duration;

use backon::ExponentialBuilder;
pub(crate) use kube::runtime::utils::Backoff;
use kube::runtime::watcher::ExponentialBackoff;
use tokio::time::{Instant, sleep};

/// Pauses of which each is twice as long as the one before, from the first up to the longest, without end.
pub(crate) fn doubling(first: Duration, longest: Duration) -> ExponentialBackoff {
    ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest).without_max_times().into()
}

/// Those pauses that end before `until`.
pub(crate) fn before(until: Instant, pauses: impl Iterator<Item = Duration>) -> impl Iterator<Item = Duration> {
    pauses.take_while(move |pause| Instant::now() + *pause < until)
}

/// Waits before what failed is tried again. Gives the error back where that cannot help or no pause is left.
pub(crate) async fn unless_lasting<E>(
    error: E,
    may_pass: impl Fn(&E) -> bool,
    pauses: &mut impl Iterator<Item = Duration>,
) -> Result<(), E> {
    let Some(pause) = pauses.next().filter(|_| may_pass(&error)) else { return Err(error) };
    sleep(pause).await;
    Ok(())
}

/// Waits for the next pause.
pub(crate) async fn pause(pauses: &mut impl Iterator<Item = Duration>) {
    if let Some(pause) = pauses.next() {
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again() {
        let mut pauses = doubling(Duration::from_millis(50), Duration::from_millis(150));
        let millis = |pauses: &mut ExponentialBackoff| pauses.take(4).map(|p| p.as_millis()).collect::<Vec<_>>();
        assert_eq!(millis(&mut pauses), [50, 100, 150, 150]);
        pauses.reset();
        assert_eq!(millis(&mut pauses), [50, 100, 150, 150]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_while_there_is_time() {
        let times = async |may_pass: bool, done: u32| {
            let began = Instant::now();
            let (first, longest) = (Duration::from_secs(1), Duration::from_secs(9));
            let mut pauses = before(began + Duration::from_secs(4), doubling(first, longest));
            let mut tried = 1;
            while tried < done && unless_lasting((), |()| may_pass, &mut pauses).await.is_ok() {
                tried += 1;
            }
            (tried, began.elapsed().as_secs())
        };
        assert_eq!(times(true, 2).await, (2, 1));
        assert_eq!(times(false, 2).await, (1, 0));
        // After one second and two, four more would be too late.
        assert_eq!(times(true, 9).await, (3, 3));
    }
}
