use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clearwater::log::{Gap, Merge, Record, Released, SourceId, Waits};
use clearwater::text::Printable;
use foldhash::fast::FixedState;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{LogEntry, LogOrigin, LogSource, Said};

/// How old the last line of what was read may be for the present to be reached. For so long its source is then waited for as one
/// that is behind, or what follows would come late.
pub(super) const RECENT: Duration = Duration::from_millis(100);

/// How late a record of a file is known: a follower looks ten times a second, or three times where much is
/// written, which is then measured; and the last line is waited for.
const POLLED: Duration = Duration::from_millis(140);

/// Names a source among the tasks.
pub(super) type Key = u64;

/// What the readers of sources tell the hub.
pub(super) enum Update {
    Opened(Key, Arc<LogSource>),
    Items(Key, Vec<(Timestamp, Item)>, Option<OwnedSemaphorePermit>),
    /// It lost its stream; up to when everything is known, where that is known.
    Behind(Key, Option<Timestamp>),
    CaughtUp(Key),
    Closed(Key),
    Trouble(Option<Key>, String),
    /// A source is given up.
    Unread(Key, String),
    /// It is known what is there to be read.
    Listed,
    /// Nothing more can be read at all.
    End(String),
}

pub(super) enum Item {
    Record(Record),
    Gap(Gap),
}

struct HubItem {
    item: Item,
    /// Given back when the last item of what was sent together is let go: see [`super::feed::Feed`].
    _room: Option<OwnedSemaphorePermit>,
}

/// What is said at once, at most: so many things, and so many bytes.
const TOGETHER: usize = 512;
const TOGETHER_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Sources {
    ids: HashMap<Key, SourceId>,
    /// Kept until the last item of a source that is closed is let go.
    by_id: HashMap<SourceId, Arc<LogSource>, FixedState>,
    closed: Vec<SourceId>,
}

impl Sources {
    fn get(&self, key: Key) -> Option<(SourceId, &Arc<LogSource>)> {
        let id = *self.ids.get(&key)?;
        Some((id, self.by_id.get(&id)?))
    }

    /// Forgets what is closed and of which nothing is held any more.
    fn forget(&mut self, merge: &Merge<HubItem>) {
        let by_id = &mut self.by_id;
        self.closed.retain(|id| {
            let held = merge.holds(*id);
            if !held {
                by_id.remove(id);
            }
            held
        });
    }
}

/// Merges what the readers bring, until all of them are gone. Without `max_hold` the past is brought into exact order.
pub(super) async fn run(
    mut news: mpsc::Receiver<Update>,
    out: mpsc::Sender<Vec<Said>>,
    window: Duration,
    max_hold: Option<Duration>,
) {
    let mut merge: Merge<HubItem> = Merge::new(Waits { window, max_hold, settle: RECENT });
    let mut sources = Sources::default();
    let mut open = true;
    let mut end = None;
    while open {
        let wake = merge.next_at(Instant::now());
        let mut batch = Vec::new();
        tokio::select! {
            update = news.recv() => match update {
                Some(Update::End(why)) => {
                    end = Some(Said::Unread(None, why.into()));
                    open = false;
                }
                Some(update) => {
                    batch.extend(take(update, &mut merge, &mut sources));
                    // What came with it is taken too, so that it is merged at once.
                    for _ in 0..64 {
                        match news.try_recv() {
                            Err(_) => break,
                            Ok(Update::End(why)) => {
                                end = Some(Said::Unread(None, why.into()));
                                open = false;
                                break;
                            }
                            Ok(update) => batch.extend(take(update, &mut merge, &mut sources)),
                        }
                    }
                }
                None => open = false,
            },
            () = until(wake) => {}
        }
        let now = Instant::now();
        let mut bytes = 0;
        while let Some(released) = merge.pop(now) {
            bytes += size(&released.item.item);
            batch.extend(said(released, &sources));
            if batch.len() >= TOGETHER || bytes >= TOGETHER_BYTES {
                bytes = 0;
                if out.send(std::mem::take(&mut batch)).await.is_err() {
                    return;
                }
            }
        }
        if !batch.is_empty() && out.send(batch).await.is_err() {
            return;
        }
        sources.forget(&merge);
    }
    let rest: Vec<Said> = merge.drain().filter_map(|r| said(r, &sources)).chain(end).collect();
    let _ = out.send(rest).await;
}

fn size(item: &Item) -> usize {
    match item {
        Item::Record(record) => record.bytes().len(),
        Item::Gap(_) => 0,
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn take(update: Update, merge: &mut Merge<HubItem>, sources: &mut Sources) -> Option<Said> {
    let now = Instant::now();
    match update {
        Update::Opened(key, source) => {
            let is_polled = matches!(source.origin, LogOrigin::File(_));
            let id = if is_polled { merge.open_polled(POLLED, now) } else { merge.open(now) };
            sources.ids.insert(key, id);
            sources.by_id.insert(id, source.clone());
            return Some(Said::Opened(source));
        }
        Update::Items(key, items, room) => {
            let (id, _) = sources.get(key)?;
            let last = items.len().saturating_sub(1);
            let mut room = room;
            for (n, (time, item)) in items.into_iter().enumerate() {
                let permit = if n == last { room.take() } else { None };
                merge.push(id, time, HubItem { item, _room: permit }, now);
            }
        }
        Update::Behind(key, known_to) => merge.behind(sources.get(key)?.0, known_to, now),
        Update::CaughtUp(key) => merge.caught_up(sources.get(key)?.0, now),
        Update::Closed(key) => {
            let (id, source) = sources.get(key)?;
            let source = source.clone();
            sources.ids.remove(&key);
            sources.closed.push(id);
            merge.close(id, now);
            return Some(Said::Closed(source));
        }
        Update::Trouble(key, text) => {
            // It may quote a runtime, an API or the names of files.
            let text = Printable::from(text);
            return Some(Said::Trouble(key.and_then(|k| sources.get(k)).map(|(_, s)| s.clone()), text));
        }
        Update::Unread(key, text) => {
            return Some(Said::Unread(sources.get(key).map(|(_, s)| s.clone()), text.into()));
        }
        Update::Listed => return Some(Said::Listed),
        // The end is no matter of one source.
        Update::End(_) => {}
    }
    None
}

fn said(released: Released<HubItem>, sources: &Sources) -> Option<Said> {
    let Released { source, time, item: HubItem { item, .. }, late } = released;
    let source = sources.by_id.get(&source)?.clone();
    Some(match item {
        Item::Record(record) => Said::Record(LogEntry { source, time, record, late }),
        Item::Gap(gap) => Said::Gap(source, gap),
    })
}
