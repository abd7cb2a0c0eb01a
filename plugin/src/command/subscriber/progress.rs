//! How far many requests are, on standard error.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line is written where nothing can be redrawn.
const EVERY: Duration = Duration::from_secs(5);
/// What takes no longer needs no word.
const SHORT: Duration = Duration::from_secs(1);

/// A count that goes up to a whole.
pub(super) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    all: usize,
    done: usize,
    began: Instant,
    said: Instant,
}

impl Progress {
    /// `what` says what was done with so many: "made", "deleted".
    pub(super) fn new(what: &'static str, all: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(all as u64), ProgressDrawTarget::stderr_with_hz(4));
        if let Ok(style) = ProgressStyle::with_template("{msg} {pos} of {len}, {per_sec}, {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(what);
        let now = Instant::now();
        Self { bar, what, all, done: 0, began: now, said: now }
    }

    /// One more.
    pub(super) fn one(&mut self) {
        self.done += 1;
        if !self.bar.is_hidden() {
            if self.began.elapsed() > SHORT {
                self.bar.set_position(self.done as u64);
            }
        } else if self.said.elapsed() > EVERY {
            self.said = Instant::now();
            crate::reporter::line(&mut anstream::stderr(), &format!("{} {} of {}", self.what, self.done, self.all));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
