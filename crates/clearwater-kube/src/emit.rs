use clearwater::event::{Event, VERSION, What};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Numbers events and sends them.
#[derive(Debug)]
pub(crate) struct Emitter {
    out: mpsc::Sender<Event>,
    seq: u64,
    began: Instant,
    /// Whether the reader has gone.
    pub(crate) deaf: bool,
}

impl Emitter {
    pub(crate) fn new(out: mpsc::Sender<Event>) -> Self {
        Self { out, seq: 0, began: Instant::now(), deaf: false }
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) async fn emit(&mut self, what: What) {
        let droppable = what.droppable();
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let event = Event { v: VERSION, seq: self.seq, at: Timestamp::now(), elapsed, what };
        self.seq += 1;
        if droppable {
            // A reader that is busy does without.
            let _ = self.out.try_send(event);
        } else if self.out.send(event).await.is_err() {
            self.deaf = true;
        }
    }
}
