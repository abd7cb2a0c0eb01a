use std::sync::Arc;
use std::time::Duration;

use clearwater::log::{Assembler, Gap, LogGrammar};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::hub::{Item, Key, RECENT, Update};

/// How many bytes of a source may be read and not yet let go.
const ROOM: u32 = 64 * 1024;

/// How many bytes of all sources that have reached the present may be held beyond that, in all. While one source resumes,
/// the merge holds the others back for seconds: one that could not read on meanwhile would have more to read when it is
/// cut than comes until it is cut again.
pub(super) const SPARE: usize = 8 * 1024 * 1024;

/// How far ahead of the present a line's time may be. A node's clock that is further ahead would make every line of
/// every other node late, so that such lines are put where they were read.
const AHEAD: SignedDuration = SignedDuration::from_secs(2);

fn is_recent(lag: SignedDuration) -> bool {
    // Below zero is a clock that is ahead.
    Duration::try_from(lag).map_or(true, |lag| lag < RECENT)
}

/// What a stream that breaks may take with it: written so long before at most.
const ON_THE_WAY: SignedDuration = SignedDuration::from_secs(1);

/// A record whose next line does not come within this time is whole.
pub(super) const WHOLE: Duration = Duration::from_millis(40);

/// The same for a SIP message, whose last line says that it is the last: only a program that was killed in the middle of
/// one never writes it.
pub(super) const WHOLE_MESSAGE: Duration = Duration::from_secs(2);

/// A source whose lines come this long after they were written, each time over [`BEHIND_FOR`], has a clock that is
/// behind.
const BEHIND: SignedDuration = SignedDuration::from_secs(2);
const BEHIND_FOR: SignedDuration = SignedDuration::from_secs(10);

/// How many lines are asked for where so many of the last records are wanted: a SIP message has some thirty.
pub(super) fn lines_of(records: i64) -> i64 {
    records.saturating_mul(64)
}

/// No more of the past, in bytes, is held to leave out all but the last records of it.
const MOST_HELD: usize = 64 * 1024 * 1024;

/// What time it is in a cluster whose clock is so far ahead of this machine's.
pub(super) fn now(skew: SignedDuration) -> Timestamp {
    Timestamp::now().checked_add(skew).unwrap_or(Timestamp::MAX)
}

/// One source's way to the hub: lines become records, and wait while too many of them are held.
pub(super) struct Feed {
    key: Key,
    updates: mpsc::Sender<Update>,
    room: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    was_present: bool,
    assembler: Assembler,
    opened_at: Timestamp,
    last: Option<Timestamp>,
    batch: Vec<(Timestamp, Item)>,
    batch_bytes: usize,
    clock: Clock,
    /// How many records of the past are wanted, until it has been brought.
    tail: Option<usize>,
    pub(super) caught_up: bool,
}

/// The clocks of the cluster and of who writes. Tells one that is behind from lines that come late once.
#[derive(Debug, Default)]
struct Clock {
    /// How far the cluster's clock is ahead of this machine's.
    skew: SignedDuration,
    /// How far the clock of who writes is ahead of the API server's, where that is told.
    ahead: Option<SignedDuration>,
    /// Whether it was said that it is wrong.
    is_said: bool,
    /// Since when every line came [`BEHIND`] after it was written.
    since: Option<Timestamp>,
    /// Whether nothing waited to be read before the present batch.
    waited: bool,
}

impl Clock {
    /// Takes how late lines came, where the reader was waiting for them; tells whether their clock is behind.
    fn is_behind(&mut self, now: Timestamp, lag: SignedDuration, waited: bool) -> bool {
        if waited {
            self.since = if lag < BEHIND { None } else { self.since.or(Some(now)) };
        }
        self.since.is_some_and(|s| now.duration_since(s) >= BEHIND_FOR)
    }
}

/// The hub is gone, and with it the reason to read.
#[derive(Debug)]
pub(super) struct ReceiverClosed;

impl Feed {
    /// `spare` is shared by all: see [`SPARE`].
    pub(super) fn new(
        key: Key,
        updates: mpsc::Sender<Update>,
        spare: Arc<Semaphore>,
        grammar: LogGrammar,
        skew: SignedDuration,
    ) -> Self {
        Self {
            key,
            updates,
            room: Arc::new(Semaphore::new(ROOM as usize)),
            spare,
            was_present: false,
            assembler: Assembler::new(grammar),
            opened_at: Timestamp::UNIX_EPOCH,
            last: None,
            batch: Vec::new(),
            batch_bytes: 0,
            clock: Clock { skew, ..Clock::default() },
            tail: None,
            caught_up: false,
        }
    }

    /// The same, of whose past no more than the last so many records are wanted.
    pub(super) fn with_tail(self, records: Option<i64>) -> Self {
        Self { tail: records.map(|n| usize::try_from(n).unwrap_or(usize::MAX)), ..self }
    }

    /// What time it is in the cluster.
    pub(super) fn now(&self) -> Timestamp {
        now(self.clock.skew)
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

    /// Closes the open record, where nothing came for so long that nothing more of it is to come.
    pub(super) fn close_whole(&mut self, idle: Duration) {
        let wait = if self.assembler.is_inside_message() { WHOLE_MESSAGE } else { WHOLE };
        if idle >= wait {
            self.flush_record();
        }
    }

    /// Whether a record waits for its last line.
    pub(super) fn is_open(&self) -> bool {
        self.assembler.is_open()
    }

    /// Whether what was taken should be sent before more is taken.
    pub(super) fn is_full(&self) -> bool {
        match self.tail {
            Some(records) => {
                self.batch.len() > records.saturating_mul(2).saturating_add(64) || self.batch_bytes > MOST_HELD
            }
            None => self.batch_bytes >= ROOM as usize / 2,
        }
    }

    /// Leaves out all but so many of the last records, with the one that is open.
    fn leave_out(&mut self, records: usize) {
        let kept = records.saturating_sub(usize::from(self.assembler.is_open()));
        self.batch.drain(..self.batch.len().saturating_sub(kept));
        let bytes = |item: &Item| if let Item::Record(record) = item { record.bytes().len() } else { 0 };
        self.batch_bytes = self.batch.iter().map(|(_, item)| bytes(item)).sum();
    }

    /// Sends what was taken, once there is room for it.
    ///
    /// A stream that carries several sources must not wait for room before it has brought the past of all of them: the
    /// merge lets nothing go until it knows that nothing older comes, and what it waits for would be behind what waits.
    pub(super) async fn send(&mut self, wait_for_room: bool) -> Result<(), ReceiverClosed> {
        if let Some(records) = self.tail {
            if self.is_full() {
                self.leave_out(records);
            }
            let last = self.batch.last().map(|(time, _)| self.now().duration_since(*time));
            if last.is_none_or(|lag| !is_recent(lag)) && self.batch_bytes <= MOST_HELD {
                return Ok(());
            }
            self.leave_out(records);
            self.tail = None;
        }
        let lag = self.hand_on(wait_for_room).await?;
        if lag.is_some_and(is_recent) { self.caught_up().await } else { Ok(()) }
    }

    /// Yields how late the last record came.
    async fn hand_on(&mut self, wait_for_room: bool) -> Result<Option<SignedDuration>, ReceiverClosed> {
        if self.batch.is_empty() {
            return Ok(None);
        }
        let bytes = u32::try_from(self.batch_bytes).unwrap_or(ROOM).clamp(1, ROOM);
        let room = if wait_for_room { Some(self.room_for(bytes).await?) } else { None };
        let room_for_next = Vec::with_capacity(self.batch.len().min(256));
        let mut items = std::mem::replace(&mut self.batch, room_for_next);
        self.batch_bytes = 0;
        let now = self.now();
        let lag = items.last().map_or(SignedDuration::ZERO, |(time, _)| now.duration_since(*time));
        self.place(&mut items, now, lag).await?;
        self.updates.send(Update::Items(self.key, items, room)).await.map_err(|_| ReceiverClosed)?;
        Ok(Some(lag))
    }

    /// Hands on the last records of the past, where no more of it is wanted.
    async fn past(&mut self) -> Result<(), ReceiverClosed> {
        if let Some(records) = self.tail.take() {
            self.leave_out(records);
            self.hand_on(false).await?;
        }
        Ok(())
    }

    async fn room_for(&self, bytes: u32) -> Result<OwnedSemaphorePermit, ReceiverClosed> {
        let own = self.room.clone();
        if self.was_present
            && own.available_permits() < bytes as usize
            && let Ok(permit) = self.spare.clone().try_acquire_many_owned(bytes)
        {
            return Ok(permit);
        }
        own.acquire_many_owned(bytes).await.map_err(|_| ReceiverClosed)
    }

    /// Puts lines whose clock is wrong where they were read.
    async fn place(
        &mut self,
        items: &mut [(Timestamp, Item)],
        now: Timestamp,
        lag: SignedDuration,
    ) -> Result<(), ReceiverClosed> {
        // What waited to be read may be old for another reason.
        let waited = std::mem::take(&mut self.clock.waited);
        let is_behind = match self.clock.ahead {
            Some(ahead) => ahead <= -BEHIND,
            None => self.caught_up && self.clock.is_behind(now, lag, waited),
        };
        let latest = now.checked_add(AHEAD).unwrap_or(now);
        let earliest = now.checked_sub(BEHIND).unwrap_or(now);
        let mut wrong = None;
        for (time, _) in items {
            if *time > latest || is_behind && *time < earliest {
                wrong = Some(*time);
                *time = now;
            }
        }
        let Some(wrong) = wrong.filter(|_| !self.clock.is_said) else { return Ok(()) };
        self.clock.is_said = true;
        let by = self.clock.ahead.filter(|_| is_behind).unwrap_or_else(|| wrong.duration_since(now)).as_secs();
        let way = if by < 0 { "behind" } else { "ahead of" };
        self.trouble(format!(
            "its clock is {} s {way} the API server's; its lines are placed where they were read",
            by.unsigned_abs()
        ))
        .await
    }

    /// Takes in how far the clock of who writes is ahead of the API server's. How late lines come tells nothing any more.
    pub(super) fn clock_is(&mut self, ahead: SignedDuration) {
        self.clock.ahead = Some(ahead);
    }

    /// Says that nothing waits to be read.
    pub(super) fn waits(&mut self) {
        self.clock.waited = true;
    }

    /// Says that the present is reached.
    pub(super) async fn caught_up(&mut self) -> Result<(), ReceiverClosed> {
        if self.caught_up {
            return Ok(());
        }
        self.past().await?;
        (self.caught_up, self.was_present) = (true, true);
        self.updates.send(Update::CaughtUp(self.key)).await.map_err(|_| ReceiverClosed)
    }

    /// Says that the stream broke and that the past must be read again.
    pub(super) async fn behind(&mut self) -> Result<(), ReceiverClosed> {
        // A stream that had reached the present has brought what was written up to then, but for what was on its way.
        let was = std::mem::take(&mut self.caught_up);
        let known_to = self.now().checked_sub(ON_THE_WAY).ok().filter(|_| was);
        self.updates.send(Update::Behind(self.key, known_to)).await.map_err(|_| ReceiverClosed)
    }

    pub(super) async fn trouble(&self, text: String) -> Result<(), ReceiverClosed> {
        self.updates.send(Update::Trouble(Some(self.key), text)).await.map_err(|_| ReceiverClosed)
    }

    /// Says that the source is given up.
    pub(super) async fn unread(&self, text: String) -> Result<(), ReceiverClosed> {
        self.updates.send(Update::Unread(self.key, text)).await.map_err(|_| ReceiverClosed)
    }

    /// Says that nothing more can be read, of this source or any other.
    pub(super) async fn end(&self, text: String) -> ReceiverClosed {
        let _ = self.updates.send(Update::End(text)).await;
        ReceiverClosed
    }

    /// Sends the rest and says that nothing more comes.
    pub(super) async fn close(mut self, wait_for_room: bool) -> Result<(), ReceiverClosed> {
        self.flush_record();
        self.past().await?;
        self.send(wait_for_room).await?;
        self.updates.send(Update::Closed(self.key)).await.map_err(|_| ReceiverClosed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_behind_when_every_line_is_late_for_long() {
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        let (late, not) = (SignedDuration::from_secs(5), SignedDuration::from_millis(20));
        let mut clock = Clock::default();
        assert!(!clock.is_behind(at(0), late, true) && !clock.is_behind(at(9), late, true));
        assert!(clock.is_behind(at(10), late, true));
        assert!(!clock.is_behind(at(11), not, true), "one line in time");
        assert!(!clock.is_behind(at(12), late, true) && !clock.is_behind(at(20), not, true));
        // What the reader was too slow for says nothing of clocks.
        assert!(!clock.is_behind(at(21), late, false) && !clock.is_behind(at(40), late, false));
    }

    #[tokio::test]
    async fn a_message_is_waited_for_longer_than_other_records() {
        const HEAD: &[u8] =
            b"27-11-2026 23:14:04.082 UTC [7f6dc6ffd700] Verbose common_sip_processing.cpp:77: RX 232 bytes \
              Request msg OPTIONS/cseq=1 (rdata0x7f6dc00021d0) from TCP 127.0.0.24:34205:\n";
        let (updates, _news) = mpsc::channel(16);
        let mut feed = Feed::new(0, updates, Arc::new(Semaphore::new(SPARE)), LogGrammar::Cpp, SignedDuration::ZERO);
        feed.line(None, HEAD);
        feed.line(None, b"--start msg--\n");
        feed.close_whole(WHOLE);
        assert!(feed.is_open(), "its last line has not come");
        feed.close_whole(WHOLE_MESSAGE);
        assert!(!feed.is_open());
        feed.line(None, b"27-11-2026 23:14:04.083 UTC [7f6dc6ffd700] Status a.cpp:87: ready\n");
        feed.close_whole(WHOLE);
        assert!(!feed.is_open());
        assert_eq!(feed.batch.len(), 2);
    }

    /// Others hold back what it brings: it reads on, into what is spare, and waits only where that is used up.
    #[tokio::test]
    async fn who_has_reached_the_present_reads_on_while_nothing_is_let_go() {
        let spare = Arc::new(Semaphore::new(ROOM as usize));
        let (updates, mut news) = mpsc::channel(64);
        let mut feed = Feed::new(0, updates, spare.clone(), LogGrammar::Plain, SignedDuration::ZERO);
        let line = vec![b'x'; ROOM as usize / 2];
        let past = Timestamp::now() - SignedDuration::from_secs(60);
        let mut held = Vec::new();
        for rooms in [1, 2] {
            if rooms == 2 {
                feed.caught_up().await.unwrap();
            }
            loop {
                feed.line(Some(past), &line);
                let sent = tokio::time::timeout(Duration::from_millis(50), feed.send(true)).await;
                held.extend(std::iter::from_fn(|| news.try_recv().ok()));
                if sent.is_err() {
                    break;
                }
            }
            let lines = held.iter().map(|u| if let Update::Items(_, items, _) = u { items.len() } else { 0 });
            assert_eq!(lines.sum::<usize>(), rooms * 2);
        }
        drop(held);
        assert_eq!(spare.available_permits(), ROOM as usize);
    }

    #[tokio::test]
    async fn of_the_past_so_many_records_come_and_all_that_is_written_later() {
        const SECOND: SignedDuration = SignedDuration::from_secs(1);
        for (tail, ends) in [(Some(3), false), (Some(0), true), (None, false), (Some(500), true)] {
            let (updates, mut news) = mpsc::channel(1024);
            let spare = Arc::new(Semaphore::new(SPARE));
            let feed = Feed::new(0, updates, spare, LogGrammar::Plain, SignedDuration::ZERO);
            let mut feed = feed.with_tail(tail);
            let past = Timestamp::now() - SECOND * 1000;
            for n in 0..400_u32 {
                feed.line(Some(past + SignedDuration::from_secs(n.into())), format!("past {n}\n  more\n").as_bytes());
                if feed.is_full() || n.is_multiple_of(7) {
                    feed.send(false).await.unwrap();
                }
            }
            if !ends {
                feed.caught_up().await.unwrap();
                feed.line(Some(Timestamp::now() - SECOND), b"later 1\n");
                feed.line(Some(Timestamp::now() - SECOND), b"later 2\n");
            }
            feed.close(false).await.unwrap();
            let mut records = Vec::new();
            while let Some(update) = news.recv().await {
                let Update::Items(_, items, _) = update else { continue };
                let of = |item| if let Item::Record(record) = item { Some(record) } else { None };
                records.extend(items.into_iter().filter_map(|(_, item)| of(item)));
            }
            let (later, past): (Vec<_>, Vec<_>) = records.iter().partition(|r| r.bytes().starts_with(b"later"));
            let wanted = usize::try_from(tail.map_or(400, |tail| tail.min(400))).unwrap();
            assert_eq!((past.len(), later.len()), (wanted, if ends { 0 } else { 2 }), "{tail:?}");
            assert!(wanted == 0 || past.last().unwrap().bytes().starts_with(b"past 399"));
        }
    }

    #[tokio::test]
    async fn lines_that_come_late_are_not_of_a_wrong_clock_and_one_that_is_told_is() {
        for (ahead, placed, said) in [(0, false, 0), (1, false, 0), (-5, true, 1)] {
            let (updates, mut news) = mpsc::channel(64);
            let spare = Arc::new(Semaphore::new(SPARE));
            let mut feed = Feed::new(0, updates, spare, LogGrammar::Plain, SignedDuration::ZERO);
            feed.clock_is(SignedDuration::from_secs(ahead));
            feed.caught_up().await.unwrap();
            // For so long every line has come late.
            feed.clock.since = Some(Timestamp::now() - SignedDuration::from_secs(60));
            let written = Timestamp::now() - SignedDuration::from_secs(5);
            for _ in 0..2 {
                feed.waits();
                feed.line(Some(written), b"x\n");
                feed.send(true).await.unwrap();
            }
            drop(feed);
            let (mut told, mut times) = (0, Vec::new());
            while let Some(update) = news.recv().await {
                match update {
                    Update::Trouble(_, text) => told += usize::from(text.contains("its clock is 5 s behind")),
                    Update::Items(_, items, _) => times.extend(items.iter().map(|(time, _)| *time)),
                    _ => {}
                }
            }
            assert_eq!((times.iter().all(|time| *time != written), told), (placed, said), "{ahead}");
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_ahead_is_said_once_and_its_lines_are_placed_where_they_were_read() {
        let (updates, mut news) = mpsc::channel(16);
        let mut feed = Feed::new(0, updates, Arc::new(Semaphore::new(SPARE)), LogGrammar::Plain, SignedDuration::ZERO);
        for _ in 0..2 {
            feed.line(Some(Timestamp::now() + SignedDuration::from_secs(60)), b"x\n");
            feed.send(true).await.unwrap();
        }
        drop(feed);
        let (mut said, mut placed) = (0, 0);
        while let Some(update) = news.recv().await {
            match update {
                Update::Trouble(_, text) => {
                    assert!(text.contains("60 s ahead") || text.contains("59 s ahead"), "{text}");
                    said += 1;
                }
                Update::Items(_, items, _) => {
                    assert!(items.iter().all(|(t, _)| *t <= Timestamp::now()));
                    placed += items.len();
                }
                _ => {}
            }
        }
        assert_eq!((said, placed), (1, 2));
    }
}
