use std::time::Duration;

use clearwater::event::{Event, EventKind, Outcome, RunStats};
use clearwater::remedy::Advice;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

/// Numbers events and sends them.
#[derive(Debug)]
pub(crate) struct Emitter {
    out: mpsc::Sender<Event>,
    seq: u64,
    began: Instant,
    /// Whether the reader has gone.
    pub(crate) receiver_closed: bool,
}

impl Emitter {
    pub(crate) fn new(out: mpsc::Sender<Event>) -> Self {
        Self { out, seq: 0, began: Instant::now(), receiver_closed: false }
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Waits until the reader has gone.
    pub(crate) async fn closed(&self) {
        self.out.closed().await;
    }

    /// Leaves time out of the run's: that of a person who was asked.
    pub(crate) fn leave_out(&mut self, time: Duration) {
        self.began += time;
    }

    /// The last event of a run that has nothing more to tell than how it ended.
    pub(crate) async fn finish(&mut self, outcome: Outcome, summary: Advice, stats: RunStats) {
        let (critical_path, pending) = (Vec::new(), Vec::new());
        self.emit(EventKind::RunFinished { outcome, summary, stats, critical_path, pending }).await;
    }

    pub(crate) async fn emit(&mut self, what: EventKind) {
        let droppable = what.droppable();
        let elapsed = millis(self.began.elapsed());
        let event = Event::new(self.seq, Timestamp::now(), elapsed, what);
        self.seq += 1;
        if droppable {
            // A reader that is busy does without.
            self.receiver_closed |= matches!(self.out.try_send(event), Err(TrySendError::Closed(_)));
        } else if self.out.send(event).await.is_err() {
            self.receiver_closed = true;
        }
    }
}

/// A time as events tell it.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_question_is_not_the_runs() {
        let (out, mut events) = mpsc::channel(2);
        let mut emitter = Emitter::new(out);
        tokio::time::advance(Duration::from_secs(2)).await;
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(600)).await;
        emitter.leave_out(asked.elapsed());
        tokio::time::advance(Duration::from_secs(1)).await;
        emitter.emit(EventKind::Notice { text: String::new().into() }).await;
        assert_eq!(events.recv().await.map(|event| event.elapsed), Some(3000));
        assert_eq!(emitter.began().elapsed(), Duration::from_secs(3));
    }
}
