//! What is waited for in silence, told every now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long nothing may be said before it is told what is awaited; it is told again after twice as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How much was written, by whoever writes: silence is that it stays as it is.
pub(crate) type Written = Arc<AtomicU64>;

/// Tells what is awaited until this is dropped.
#[derive(Debug)]
pub(crate) struct Awaited(
    #[expect(dead_code, reason = "that it is dropped is what its other end hears")] mpsc::Sender<()>,
);

/// Tells it where nothing was written meanwhile.
pub(crate) fn awaited(written: Written, tell: impl Fn() + Send + 'static) -> Awaited {
    awaited_for(PATIENCE, written, tell)
}

fn awaited_for(patience: Duration, written: Written, tell: impl Fn() + Send + 'static) -> Awaited {
    let (wait, waited) = mpsc::channel();
    thread::spawn(move || {
        let (mut before, mut pause) = (written.load(Ordering::Relaxed), patience);
        while waited.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            let now = written.load(Ordering::Relaxed);
            pause = patience;
            if now == before {
                tell();
                pause = patience * 2;
            }
            before = now;
        }
    });
    Awaited(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_told_and_nothing_else() {
        let patience = Duration::from_secs(1);
        for (writes, told) in [(false, true), (true, false)] {
            let (written, said) = (Written::default(), Written::default());
            let hears = said.clone();
            let awaited = awaited_for(patience, written.clone(), move || {
                hears.fetch_add(1, Ordering::Relaxed);
            });
            for _ in 0..30 {
                thread::sleep(patience / 20);
                written.fetch_add(u64::from(writes), Ordering::Relaxed);
            }
            drop(awaited);
            assert_eq!(said.load(Ordering::Relaxed) > 0, told, "{writes}");
        }
    }
}
