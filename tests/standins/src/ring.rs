//! Which memcached holds which key: 128 buckets, two copies of each, spread over the servers of
//! `/etc/clearwater/cluster_settings`.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use md5::{Digest as _, Md5};

use crate::place;

/// Number of buckets.
pub(crate) const BUCKETS: u8 = 128;
const COPIES: usize = 2;

/// The servers, before and after a change under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ring {
    /// `servers=`
    pub(crate) old: Vec<SocketAddr>,
    /// `new_servers=`; the same as `old` when nothing changes.
    pub(crate) new: Vec<SocketAddr>,
}

impl Ring {
    /// Reads the file the cluster manager writes.
    pub(crate) fn load() -> Result<Self> {
        let file = place::path("/etc/clearwater/cluster_settings");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("{}: the cluster manager writes it after joining", file.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let list = |name: &str| -> Result<Option<Vec<SocketAddr>>> {
            let Some(value) = text.lines().find_map(|l| l.strip_prefix(name)) else {
                return Ok(None);
            };
            value
                .split(',')
                .map(|s| s.trim().parse().with_context(|| format!("server {s:?}")))
                .collect::<Result<Vec<_>>>()
                .map(Some)
        };
        let Some(old) = list("servers=")? else { bail!("there is no line servers=") };
        let new = list("new_servers=")?.unwrap_or_else(|| old.clone());
        Ok(Self { old, new })
    }

    /// The servers that take writes of a key, in the order they are read.
    pub(crate) fn servers(&self, key: &str) -> Vec<SocketAddr> {
        let bucket = bucket(key);
        let mut all = owners(&self.old, bucket);
        if self.new != self.old {
            for server in owners(&self.new, bucket) {
                if !all.contains(&server) {
                    all.push(server);
                }
            }
        }
        all
    }
}

/// The bucket of a key.
pub(crate) fn bucket(key: &str) -> u8 {
    Md5::digest(key.as_bytes())[0] % BUCKETS
}

/// The servers that keep a bucket: the highest scores win, so that a change of the list moves
/// only what it must.
pub(crate) fn owners(servers: &[SocketAddr], bucket: u8) -> Vec<SocketAddr> {
    best(servers, &format!("bucket {bucket}"), COPIES)
}

/// The `copies` highest-scoring of `all` for an item.
pub(crate) fn best<T: Copy + std::fmt::Display + Ord>(all: &[T], item: &str, copies: usize) -> Vec<T> {
    let mut scored: Vec<([u8; 16], T)> =
        all.iter().map(|one| (Md5::digest(format!("{item} at {one}").as_bytes()).into(), *one)).collect();
    scored.sort_unstable_by(|a, b| b.cmp(a));
    scored.into_iter().take(copies).map(|(_, one)| one).collect()
}

/// The memcached beside this program.
pub(crate) fn own(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 11211)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_or_refused() {
        let ring = Ring::parse("servers=10.0.0.1:11211\nnew_servers=10.0.0.1:11211,10.0.0.2:11211\n").unwrap();
        assert_eq!((ring.old.len(), ring.new.len()), (1, 2));
        assert_eq!(ring.servers("a").len(), 2);
        assert!(Ring::parse("").is_err());
        assert!(Ring::parse("servers=\n").is_err());
    }

    #[test]
    fn every_bucket_has_two_owners_and_few_move() {
        let three: Vec<SocketAddr> = (1..=3).map(|i| SocketAddr::new(IpAddr::from([10, 0, 0, i]), 11211)).collect();
        let two = &three[..2];
        let mut kept = 0;
        for bucket in 0..BUCKETS {
            let before = owners(two, bucket);
            let after = owners(&three, bucket);
            assert_eq!((before.len(), after.len()), (2, 2));
            assert!(after.iter().any(|o| before.contains(o)));
            kept += usize::from(before == after);
        }
        assert!(kept > 20, "{kept}");
    }
}
