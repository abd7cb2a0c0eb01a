//! astaire's stand-in: copies buckets between the members' memcacheds when their list changes
//! (astaire `src/resync_main.cpp`).

use std::collections::HashSet;
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
    crate::log::init(Log::new("astaire", "astaire", Grammar::Cpp, settings.log_level()));
    if let Err(err) = Ring::load() {
        log!(Error, "resync_main.cpp:270", "Invalid cluster settings: {err:#}");
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
    log!(Status, "resync_main.cpp:340", "Astaire started");
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
/// How often a member that was reached, and then was not, is gone on with.
const TRIES: u32 = 5;

/// Drops what was left here by an earlier membership, then copies what this node must hold and
/// does not, and returns how many items were copied.
async fn resync(me: IpAddr) -> Result<usize> {
    let ring = Ring::load()?;
    let own = ring::own(me);
    let mut here = Memcached::connect(own, LIMIT).await?;
    let mut held = HashSet::new();
    for (key, _) in list(&mut here).await? {
        let bucket = ring::bucket(&key);
        if ring::owners(&ring.old, bucket).contains(&own) {
            held.insert(key);
        } else {
            // Stale, or a copy of a write that the old owners have too.
            here.delete(&key).await?;
        }
    }
    let mut copied = 0;
    for server in ring.old.iter().copied().filter(|s| *s != own) {
        for _ in 0..TRIES {
            let mut there = match Memcached::connect(server, LIMIT).await {
                Ok(there) => there,
                // A leaver's or a dead member's memcached is gone; the second copy serves.
                Err(err) => {
                    log!(Warning, "astaire.cpp:210", "No data from {server}: {err:#}");
                    break;
                }
            };
            match copy(&ring, own, server, &mut there, &mut here, &mut held, &mut copied).await {
                Ok(()) => break,
                Err(err) => {
                    log!(Warning, "astaire.cpp:215", "Tap of {server} broke off: {err:#}");
                    here = Memcached::connect(own, LIMIT).await?;
                }
            }
        }
    }
    log!(Status, "astaire.cpp:230", "Resync complete: {copied} items copied");
    Ok(copied)
}

async fn copy(
    ring: &Ring,
    own: SocketAddr,
    from: SocketAddr,
    there: &mut Memcached,
    here: &mut Memcached,
    held: &mut HashSet<String>,
    copied: &mut usize,
) -> Result<()> {
    for (key, expires) in list(there).await? {
        let bucket = ring::bucket(&key);
        let wanted = ring::owners(&ring.new, bucket).contains(&own)
            && ring::owners(&ring.old, bucket).contains(&from)
            && !held.contains(&key);
        if !wanted {
            continue;
        }
        if let Some(item) = there.gets(&key).await? {
            // Never over a newer write, which goes to old and new owners alike.
            if here.store("add", &key, item.flags, expires, &item.data, None).await? == Wrote::Done {
                *copied += 1;
            }
            held.insert(key);
        }
    }
    Ok(())
}

/// Every key of a memcached; its crawler serves one asker at a time.
async fn list(connection: &mut Memcached) -> Result<Vec<(String, u64)>> {
    let mut tries = 0;
    loop {
        match connection.keys().await {
            Err(_) if tries < 50 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            done => return done,
        }
    }
}
