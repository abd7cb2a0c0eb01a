//! The little of etcd's v2 keys API that the cluster manager uses.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::http::{Answer, Method, Request};

/// A client of one server or proxy.
#[derive(Debug, Clone)]
pub(crate) struct Etcd {
    address: SocketAddr,
}

/// What is under a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The value; `None` when the key is absent.
    pub(crate) value: Option<String>,
    /// The key's own last change, for comparing; 0 when absent.
    pub(crate) modified: u64,
    /// The store's index at the time of the answer, from which to wait.
    pub(crate) index: u64,
}

/// How a compare-and-swap ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swapped {
    /// Written.
    Yes,
    /// Somebody else wrote first.
    Raced,
}

const KEY_ABSENT: u64 = 100;
const COMPARE_FAILED: u64 = 101;
const NODE_EXISTS: u64 = 105;
const INDEX_CLEARED: u64 = 401;

impl Etcd {
    /// Talks to this address.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Reads a key such as `clearwater/site1/…`.
    pub(crate) async fn get(&self, key: &str) -> Result<Seen> {
        let answer = Request::get(format!("/v2/keys/{key}?quorum=true")).to(self.address).await?;
        self.seen(key, &answer)
    }

    /// Waits up to `limit` for the key to change after `index`; `None` when it did not.
    pub(crate) async fn wait(&self, key: &str, index: u64, limit: Duration) -> Result<Option<Seen>> {
        let path = format!("/v2/keys/{key}?wait=true&waitIndex={}", index + 1);
        let asked = Request::get(path).within(Duration::from_secs(86_400)).to(self.address);
        let Ok(answer) = tokio::time::timeout(limit, asked).await else {
            return Ok(None);
        };
        let answer = answer?;
        if answer.parsed()["errorCode"] == INDEX_CLEARED || answer.body.is_empty() {
            return Ok(None);
        }
        self.seen(key, &answer).map(Some)
    }

    fn seen(&self, key: &str, answer: &Answer) -> Result<Seen> {
        let body = answer.parsed();
        let index = answer.header("x-etcd-index").and_then(|v| v.parse().ok()).unwrap_or(0);
        if body["errorCode"] == KEY_ABSENT {
            let index = body["index"].as_u64().unwrap_or(index);
            return Ok(Seen { value: None, modified: 0, index });
        }
        let Some(modified) = body["node"]["modifiedIndex"].as_u64() else {
            bail!("etcd at {} answered {} for key {key}: {}", self.address, answer.status, answer.body_text().trim());
        };
        let value = body["node"]["value"].as_str().map(str::to_owned);
        Ok(Seen { value, modified, index: index.max(modified) })
    }

    /// Writes the key if it is still as `before` saw it.
    pub(crate) async fn swap(&self, key: &str, before: &Seen, value: &str) -> Result<Swapped> {
        let condition = if before.value.is_none() {
            "prevExist=false".to_owned()
        } else {
            format!("prevIndex={}", before.modified)
        };
        let answer = Request::new(Method::PUT, format!("/v2/keys/{key}?{condition}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("value={}", super::http::encode(value)))
            .to(self.address)
            .await?;
        if answer.good() {
            return Ok(Swapped::Yes);
        }
        match answer.parsed()["errorCode"].as_u64() {
            Some(KEY_ABSENT | COMPARE_FAILED | NODE_EXISTS) => Ok(Swapped::Raced),
            _ => bail!(
                "etcd at {} refused to write {key}: {} {}",
                self.address,
                answer.status,
                answer.body_text().trim()
            ),
        }
    }

    /// Every key below a folder with its value; empty when the folder is absent.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<(String, String)>> {
        let answer = Request::get(format!("/v2/keys/{folder}?recursive=true")).to(self.address).await?;
        let body = answer.parsed();
        if body["errorCode"] == KEY_ABSENT {
            return Ok(Vec::new());
        }
        let mut out = Vec::new();
        collect(
            body.get("node").with_context(|| {
                format!("etcd at {} answered {}: {}", self.address, answer.status, answer.body_text())
            })?,
            &mut out,
        );
        Ok(out)
    }
}

fn collect(node: &Value, out: &mut Vec<(String, String)>) {
    if let (Some(key), Some(value)) = (node["key"].as_str(), node["value"].as_str()) {
        out.push((key.to_owned(), value.to_owned()));
    }
    for child in node["nodes"].as_array().into_iter().flatten() {
        collect(child, out);
    }
}
