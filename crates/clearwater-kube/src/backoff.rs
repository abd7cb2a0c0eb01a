//! Pauses between attempts and between looks.

use std::time::Duration;

use backon::ExponentialBuilder;
pub(crate) use kube::runtime::utils::Backoff;
use kube::runtime::watcher::ExponentialBackoff;

/// Pauses of which each is twice as long as the one before, from the first up to the longest, without end.
pub(crate) fn doubling(first: Duration, longest: Duration) -> ExponentialBackoff {
    ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest).without_max_times().into()
}

/// Waits for the next pause.
pub(crate) async fn pause(pauses: &mut impl Iterator<Item = Duration>) {
    if let Some(pause) = pauses.next() {
        tokio::time::sleep(pause).await;
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
}
