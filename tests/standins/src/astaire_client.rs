//! How the C++ parts reach the store: `sprout_registration_store` and its like, by c-ares, on
//! rogers' port.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::net::dns::Ares;
use crate::net::memcached::{Item, Memcached, Wrote};

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

    async fn connect(&self) -> Result<Memcached> {
        if self.name.is_empty() {
            bail!("no store is configured");
        }
        let mut last = None;
        for address in self.ares.targets(&self.name, PORT).await?.into_iter().take(2) {
            match Memcached::connect(address, Duration::from_millis(1000)).await {
                Ok(connection) => return Ok(connection),
                Err(err) => {
                    self.ares.blacklist(address);
                    last = Some(err);
                }
            }
        }
        Err(last.context("the store has no address")?)
    }

    /// Reads an item.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Item>> {
        self.connect().await?.gets(&clean(key)).await
    }

    /// Writes an item: with the token it was read with, or as a new one.
    pub(crate) async fn put(&self, key: &str, data: &[u8], expires_s: u64, cas: Option<u64>) -> Result<Wrote> {
        let verb = if cas.is_some() { "cas" } else { "add" };
        self.connect().await?.store(verb, &clean(key), 0, expires_s, data, cas).await
    }

    /// Writes an item whatever was there.
    pub(crate) async fn set(&self, key: &str, data: &[u8], expires_s: u64) -> Result<()> {
        match self.connect().await?.store("set", &clean(key), 0, expires_s, data, None).await? {
            Wrote::Done => Ok(()),
            other => bail!("the store answered {other:?} to a set"),
        }
    }

    /// Deletes an item.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        self.connect().await?.delete(&clean(key)).await.map(|_| ())
    }
}

/// Keys hold no blanks or control characters and at most 250 bytes.
fn clean(key: &str) -> String {
    let encoded: String = key.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
    encoded.chars().take(240).collect()
}
