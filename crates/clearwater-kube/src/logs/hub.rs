use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clearwater::log::{Gap, Merge, Record, Released, SourceId, Waits};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{Entry, Said, Source};

/// Names a source among the tasks.
pub(super) type Key = u64;

/// What the readers of sources tell the hub.
pub(super) enum Update {
    Opened(Key, Arc<Source>),
    Items(Key, Vec<(Timestamp, Item)>, Option<OwnedSemaphorePermit>),
    Behind(Key),
    CaughtUp(Key),
    Closed(Key),
    Trouble(Option<Key>, String),
}

pub(super) enum Item {
    Record(Record),
    Gap(Gap),
}

struct Held {
    source: Arc<Source>,
    item: Item,
    /// Given back when the item is let go: see [`super::feed::Feed`].
    _room: Option<Arc<OwnedSemaphorePermit>>,
}

/// Merges what the readers bring, until all of them are gone. Without `max_hold` the past is brought into exact order.
pub(super) async fn run(
    mut news: mpsc::Receiver<Update>,
    out: mpsc::Sender<Said>,
    window: Duration,
    max_hold: Option<Duration>,
) {
    let mut merge: Merge<Held> = Merge::new(Waits { window, max_hold });
    let mut sources: HashMap<Key, (SourceId, Arc<Source>)> = HashMap::new();
    let mut open = true;
    while open {
        let wake = merge.next_at(Instant::now());
        tokio::select! {
            update = news.recv() => match update {
                Some(update) => {
                    if let Some(said) = take(update, &mut merge, &mut sources) && out.send(said).await.is_err() {
                        return;
                    }
                }
                None => open = false,
            },
            () = until(wake) => {}
        }
        let now = Instant::now();
        while let Some(released) = merge.pop(now) {
            if out.send(said(released)).await.is_err() {
                return;
            }
        }
    }
    for released in merge.drain() {
        if out.send(said(released)).await.is_err() {
            return;
        }
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn take(update: Update, merge: &mut Merge<Held>, sources: &mut HashMap<Key, (SourceId, Arc<Source>)>) -> Option<Said> {
    let now = Instant::now();
    match update {
        Update::Opened(key, source) => {
            sources.insert(key, (merge.open(now), source.clone()));
            return Some(Said::Opened(source));
        }
        Update::Items(key, items, room) => {
            let (id, source) = sources.get(&key)?;
            let room = room.map(Arc::new);
            for (time, item) in items {
                merge.push(*id, time, Held { source: source.clone(), item, _room: room.clone() }, now);
            }
        }
        Update::Behind(key) => merge.behind(sources.get(&key)?.0, now),
        Update::CaughtUp(key) => merge.caught_up(sources.get(&key)?.0),
        Update::Closed(key) => {
            let (id, source) = sources.remove(&key)?;
            merge.close(id);
            return Some(Said::Closed(source));
        }
        Update::Trouble(key, text) => {
            return Some(Said::Trouble(key.and_then(|k| sources.get(&k)).map(|(_, s)| s.clone()), text));
        }
    }
    None
}

fn said(released: Released<Held>) -> Said {
    let Released { time, item: Held { source, item, .. }, late } = released;
    match item {
        Item::Record(record) => Said::Record(Entry { source, time, record, late }),
        Item::Gap(gap) => Said::Gap(source, gap),
    }
}
