use std::sync::Arc;

use clearwater::log::{Assembler, Gap, LogGrammar};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Semaphore, mpsc};

use super::hub::{Item, Key, Update};

/// How many bytes of a source may be read and not yet let go.
const ROOM: u32 = 64 * 1024;

/// How far ahead of the present a line's time may be. A node's clock that is further ahead would make every line of
/// every other node late, so that such lines are put where they were read.
const AHEAD: SignedDuration = SignedDuration::from_secs(2);

/// One source's way to the hub: lines become records, and wait while too many of them are held.
pub(super) struct Feed {
    key: Key,
    updates: mpsc::Sender<Update>,
    room: Arc<Semaphore>,
    assembler: Assembler,
    opened_at: Timestamp,
    last: Option<Timestamp>,
    batch: Vec<(Timestamp, Item)>,
    batch_bytes: usize,
    /// How far the cluster's clock is ahead of this machine's.
    skew: SignedDuration,
    skew_said: bool,
    pub(super) caught_up: bool,
}

/// The hub is gone, and with it the reason to read.
#[derive(Debug)]
pub(super) struct Deaf;

impl Feed {
    pub(super) fn new(key: Key, updates: mpsc::Sender<Update>, grammar: LogGrammar, skew: SignedDuration) -> Self {
        Self {
            key,
            updates,
            room: Arc::new(Semaphore::new(ROOM as usize)),
            assembler: Assembler::new(grammar),
            opened_at: Timestamp::UNIX_EPOCH,
            last: None,
            batch: Vec::new(),
            batch_bytes: 0,
            skew,
            skew_said: false,
            caught_up: false,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::now().checked_add(self.skew).unwrap_or(Timestamp::MAX)
    }

    /// When the last line was written.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Takes a line and when it was written, where that is known: a line without a time of its own belongs to the one
    /// before it.
    pub(super) fn line(&mut self, time: Option<Timestamp>, line: &[u8]) {
        let time = time.or(self.last).unwrap_or_else(|| self.now());
        self.last = Some(time);
        let was_open = self.assembler.is_open();
        let done = self.assembler.push(line);
        let began = if was_open { self.opened_at } else { time };
        if self.assembler.is_open() && (!was_open || done.is_some()) {
            self.opened_at = time;
        }
        if let Some(record) = done {
            self.batch_bytes += record.bytes().len();
            self.batch.push((began, Item::Record(record)));
        }
    }

    pub(super) fn gap(&mut self, gap: Gap) {
        self.flush_record();
        self.batch.push((gap.before.unwrap_or(gap.after), Item::Gap(gap)));
    }

    /// Closes the record that is still open.
    pub(super) fn flush_record(&mut self) {
        if let Some(record) = self.assembler.finish() {
            self.batch_bytes += record.bytes().len();
            self.batch.push((self.opened_at, Item::Record(record)));
        }
    }

    /// Whether a record waits for its last line.
    pub(super) fn is_open(&self) -> bool {
        self.assembler.is_open()
    }

    /// Whether what was taken should be sent before more is taken.
    pub(super) fn is_full(&self) -> bool {
        self.batch_bytes >= ROOM as usize / 2
    }

    /// Sends what was taken, once there is room for it.
    ///
    /// A stream that carries several sources must not wait for room before it has brought the past of all of them: the
    /// merge lets nothing go until it knows that nothing older comes, and what it waits for would be behind what waits.
    pub(super) async fn send(&mut self, wait_for_room: bool) -> Result<(), Deaf> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let bytes = u32::try_from(self.batch_bytes).unwrap_or(ROOM).clamp(1, ROOM);
        let room = if wait_for_room {
            Some(self.room.clone().acquire_many_owned(bytes).await.map_err(|_| Deaf)?)
        } else {
            None
        };
        let mut items = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let now = self.now();
        let latest = now.checked_add(AHEAD).unwrap_or(now);
        let mut ahead = None;
        for (time, _) in items.iter_mut().filter(|(time, _)| *time > latest) {
            ahead = Some(*time);
            *time = now;
        }
        if let Some(time) = ahead
            && !self.skew_said
        {
            self.skew_said = true;
            let by = time.duration_since(now).as_secs();
            let text =
                format!("its clock is {by} s ahead of the API server's; its lines are placed where they were read");
            self.trouble(text).await?;
        }
        let recent = items.last().is_some_and(|(time, _)| now.duration_since(*time) < SignedDuration::from_secs(1));
        self.updates.send(Update::Items(self.key, items, room)).await.map_err(|_| Deaf)?;
        if recent { self.caught_up().await } else { Ok(()) }
    }

    /// Says that the present is reached.
    pub(super) async fn caught_up(&mut self) -> Result<(), Deaf> {
        if self.caught_up {
            return Ok(());
        }
        self.caught_up = true;
        self.updates.send(Update::CaughtUp(self.key)).await.map_err(|_| Deaf)
    }

    /// Says that the stream broke and that the past must be read again.
    pub(super) async fn behind(&mut self) -> Result<(), Deaf> {
        self.caught_up = false;
        self.updates.send(Update::Behind(self.key)).await.map_err(|_| Deaf)
    }

    pub(super) async fn trouble(&self, text: String) -> Result<(), Deaf> {
        self.updates.send(Update::Trouble(Some(self.key), text)).await.map_err(|_| Deaf)
    }

    /// Sends the rest and says that nothing more comes.
    pub(super) async fn close(mut self, wait_for_room: bool) -> Result<(), Deaf> {
        self.flush_record();
        self.send(wait_for_room).await?;
        self.updates.send(Update::Closed(self.key)).await.map_err(|_| Deaf)
    }
}
