//! astaire's stand-in: copies buckets between the members' memcacheds when their list changes
//! (astaire `src/resync_main.cpp`).

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;

use crate::Exit;
use crate::log::{Grammar, Log, log};
use crate::net::http::{self, Answer, Method};
use crate::net::memcached::{Memcached, Wrote};
use crate::place::{self, Settings};
use crate::ring::{self, Ring};

/// Runs the daemon; status 3 without valid cluster settings.
pub(crate) async fn run() -> Result<Exit> {
    let settings = Settings::load()?;
    // As bono's, its start script takes no level from shared_config.
    let level = settings.user_log_level();
    crate::log::init(Log::new("astaire", "astaire", Grammar::Cpp, level));
    log!(Status, "utils.cpp:762", "Log level set to {level}");
    log!(Status, "resync_main.cpp:244", "Astaire starting up");
    if let Err(err) = Ring::load() {
        log!(Error, "memcached_config.cpp:108", "Failed to open '/etc/clearwater/cluster_settings': {err:#}");
        log!(Error, "resync_main.cpp:270", "Cluster settings are invalid. Exiting");
        return Ok(Exit(3));
    }
    tokio::time::sleep(place::boot_delay("astaire")).await;
    let me = settings.local_ip()?;
    let listener = http::listen_unix(&place::path("/run/standin/astaire.sock"))?;
    // A restarted container has lost its memory; the other copies are taken back at once.
    tokio::spawn(async move {
        if let Err(err) = resync(me).await {
            log!(Warning, "astaire.cpp:140", "Resync at start: {err:#}");
        }
    });
    http::serve_unix(listener, move |ask| async move {
        match (&ask.method, ask.segments().as_slice()) {
            (&Method::POST, ["reload"]) => Answer::code(200),
            (&Method::POST, ["resync"]) => match resync(me).await {
                Ok(copied) => Answer::text(200, format!("{copied} items copied")),
                Err(err) => Answer::text(500, format!("{err:#}")),
            },
            _ => Answer::code(404),
        }
    })
    .await;
    Ok(Exit(0))
}

/// How long one operation may take: the machine may be busy, and what is not copied is lost when its owner leaves.
const LIMIT: Duration = Duration::from_secs(5);
/// How often a member that does not answer is asked again before it counts as gone, and how often one that was reached,
/// and then was not, is gone on with.
const TRIES: u32 = 5;

/// What this node copies, and how far it is.
struct Resync {
    ring: Ring,
    own: SocketAddr,
    here: Memcached,
    held: HashSet<String>,
    copied: usize,
}

/// Drops what was left here by an earlier membership, then copies what this node must hold and
/// does not, and returns how many items were copied.
///
/// An error where a member was reached and did not give everything: the cluster manager then stays where it is, because
/// that member would take what is missing with it.
async fn resync(me: IpAddr) -> Result<usize> {
    // The one at the start and the one that the cluster manager asks for meet: each would take what the other has just
    // copied for stale.
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one = ONE.lock().await;
    let ring = Ring::load()?;
    let own = ring::own(me);
    let mut here = Memcached::connect(own, LIMIT).await?;
    let mut held = HashSet::new();
    for (key, _) in list(&mut here).await? {
        let bucket = ring::bucket(&key);
        if ring::owners(&ring.old, bucket).contains(&own) {
            held.insert(key);
        } else if ring.old.contains(&own) {
            // Stale, or a copy of a write that the old owners have too. What a joiner holds, it has copied.
            here.delete(&key).await?;
        }
    }
    let others: Vec<SocketAddr> = ring.old.iter().copied().filter(|s| *s != own).collect();
    let mut resync = Resync { ring, own, here, held, copied: 0 };
    for server in others {
        resync.tap(server).await?;
    }
    log!(Status, "astaire.cpp:230", "Resync complete: {} items copied", resync.copied);
    Ok(resync.copied)
}

impl Resync {
    /// Copies what this node must hold from another; nothing from one that is gone.
    async fn tap(&mut self, server: SocketAddr) -> Result<()> {
        let mut broken = None;
        for _ in 0..TRIES {
            let mut there = match Memcached::connect(server, LIMIT).await {
                Ok(there) => there,
                Err(err) => {
                    log!(Warning, "astaire.cpp:210", "No data from {server}: {err:#}");
                    // Refused: a leaver's or a dead member's memcached is gone, and the second copy serves. No answer: it
                    // may only be slow.
                    if err.downcast_ref::<std::io::Error>().is_some() {
                        return Ok(());
                    }
                    continue;
                }
            };
            match self.copy(server, &mut there).await {
                Ok(()) => return Ok(()),
                Err(err) => {
                    log!(Warning, "astaire.cpp:215", "Tap of {server} broke off: {err:#}");
                    broken = Some(err);
                    self.here = Memcached::connect(self.own, LIMIT).await?;
                }
            }
        }
        broken.map_or(Ok(()), |err| Err(err.context(format!("{server} did not give everything"))))
    }

    async fn copy(&mut self, from: SocketAddr, there: &mut Memcached) -> Result<()> {
        for (key, expires) in list(there).await? {
            let bucket = ring::bucket(&key);
            let wanted = ring::owners(&self.ring.new, bucket).contains(&self.own)
                && ring::owners(&self.ring.old, bucket).contains(&from)
                && !self.held.contains(&key);
            if !wanted {
                continue;
            }
            if let Some(item) = there.gets(&key).await? {
                // Never over a newer write, which goes to old and new owners alike.
                if self.here.store("add", &key, item.flags, expires, &item.data, None).await? == Wrote::Done {
                    self.copied += 1;
                }
                self.held.insert(key);
            }
        }
        Ok(())
    }
}

/// Every key of a memcached, with when it expires. Its crawler serves one asker at a time, and passes over an item that is
/// moved between its lists meanwhile: it is asked again until it knows nothing more.
async fn list(connection: &mut Memcached) -> Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    let (mut tries, mut passes) = (0, 0);
    loop {
        match connection.keys().await {
            Err(_) if tries < 500 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(err) => return Err(err),
            Ok(found) => {
                let before = all.len();
                all.extend(found);
                passes += 1;
                if passes > 1 && all.len() == before {
                    return Ok(all);
                }
            }
        }
    }
}
