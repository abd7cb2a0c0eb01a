//! How the C++ parts reach the store: `sprout_registration_store` and its like, by c-ares, on
//! rogers' port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::net::binary::{Client, op};
use crate::net::dns::Ares;
use crate::net::memcached::{Item, Wrote};
use crate::ring;

/// rogers' port, used when a store's setting names none (cpp-common `astaire_resolver.cpp`).
pub(crate) const PORT: u16 = 11311;

/// A client of the store.
#[derive(Clone)]
pub(crate) struct StoreClient {
    ares: Arc<Ares>,
    name: String,
}

impl StoreClient {
    /// A client of the store with this name.
    pub(crate) fn new(ares: Arc<Ares>, name: &str) -> Self {
        Self { ares, name: name.to_owned() }
    }

    /// The servers to use for a key: one proxy of many, or, where the setting names memcached's
    /// own port, the two memcacheds that keep the key.
    async fn servers(&self, key: &str) -> Result<Vec<SocketAddr>> {
        if self.name.is_empty() {
            bail!("no store is configured");
        }
        let all = self.ares.targets(&self.name, PORT).await?;
        Ok(if self.direct() { ring::best(&all, key, 2) } else { all.into_iter().take(2).collect() })
    }

    fn direct(&self) -> bool {
        self.name.ends_with(":11211")
    }

    async fn connect(&self, address: SocketAddr) -> Result<Client> {
        let made = Client::connect(address, Duration::from_secs(1)).await;
        if made.is_err() {
            self.ares.blacklist(address);
        }
        made
    }

    /// Reads an item.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Item>> {
        let key = clean(key);
        let mut last = None;
        for address in self.servers(&key).await? {
            let found = match self.connect(address).await {
                Ok(mut connection) => connection.get(&key).await,
                Err(err) => Err(err),
            };
            match found {
                Ok(None) if self.direct() => last = Some(Ok(None)),
                Ok(found) => return Ok(found),
                Err(err) => last = last.or(Some(Err(err))),
            }
        }
        last.unwrap_or(Ok(None))
    }

    async fn write(&self, key: &str, op: u8, data: &[u8], expires_s: u32, cas: u64) -> Result<Wrote> {
        let mut decided: Option<Wrote> = None;
        let mut last = None;
        for address in self.servers(key).await? {
            let (op, cas) = if decided.is_some() { (op::SET, 0) } else { (op, cas) };
            let wrote = match self.connect(address).await {
                Ok(mut connection) => connection.store(op, key, expires_s, data, cas).await,
                Err(err) => Err(err),
            };
            match wrote {
                Ok(wrote) if decided.is_none() => {
                    if !self.direct() || wrote != Wrote::Done {
                        return Ok(wrote);
                    }
                    decided = Some(wrote);
                }
                Ok(_) => {}
                Err(err) => last = Some(err),
            }
        }
        match (decided, last) {
            (Some(wrote), _) => Ok(wrote),
            (None, Some(err)) => Err(err),
            (None, None) => bail!("the store {} has no address", self.name),
        }
    }

    /// Writes an item: with the token it was read with, or as a new one.
    pub(crate) async fn put(&self, key: &str, data: &[u8], expires_s: u32, cas: Option<u64>) -> Result<Wrote> {
        let op = if cas.is_some() { op::SET } else { op::ADD };
        self.write(&clean(key), op, data, expires_s, cas.unwrap_or(0)).await
    }

    /// Writes an item whatever was there.
    pub(crate) async fn set(&self, key: &str, data: &[u8], expires_s: u32) -> Result<()> {
        match self.write(&clean(key), op::SET, data, expires_s, 0).await? {
            Wrote::Done => Ok(()),
            other => bail!("the store answered {other:?} to a set"),
        }
    }

    /// Deletes an item.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        let key = clean(key);
        let mut last = None;
        for address in self.servers(&key).await? {
            let done = match self.connect(address).await {
                Ok(mut connection) => connection.delete(&key).await,
                Err(err) => Err(err),
            };
            match done {
                Ok(_) if !self.direct() => return Ok(()),
                Ok(_) => {}
                Err(err) => last = Some(err),
            }
        }
        last.map_or(Ok(()), Err)
    }
}

/// Keys hold no blanks or control characters and at most 250 bytes.
fn clean(key: &str) -> String {
    let encoded: String = key.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
    encoded.chars().take(240).collect()
}
