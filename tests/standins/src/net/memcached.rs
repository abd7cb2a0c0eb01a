//! memcached's text protocol, as a client.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

/// One stored item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The client's flags.
    pub(crate) flags: u32,
    /// The compare-and-swap token.
    pub(crate) cas: u64,
    /// The bytes.
    pub(crate) data: Vec<u8>,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// STORED, DELETED, TOUCHED or a number.
    Done,
    /// `NOT_STORED`
    NotStored,
    /// EXISTS: the token is old.
    Exists,
    /// `NOT_FOUND`
    NotFound,
}

/// A connection to one memcached or rogers.
pub(crate) struct Memcached {
    stream: BufStream<TcpStream>,
    limit: Duration,
}

/// The longest value taken, as memcached's default.
const LARGEST: usize = 1 << 20;

/// A connection to a memcached, or an error that says after how long there was none.
pub(super) async fn stream(address: SocketAddr, limit: Duration) -> Result<BufStream<TcpStream>> {
    let stream = tokio::time::timeout(limit, TcpStream::connect(address))
        .await
        .with_context(|| format!("memcached at {address}: no connection in {limit:?}"))?
        .with_context(|| format!("memcached at {address}"))?;
    let _ = stream.set_nodelay(true);
    Ok(BufStream::with_capacity(4096, 4096, stream))
}

impl Memcached {
    /// Connects; `limit` holds for connecting and for each command.
    pub(crate) async fn connect(address: SocketAddr, limit: Duration) -> Result<Self> {
        Ok(Self { stream: stream(address, limit).await?, limit })
    }

    /// Sends a command with an optional data block and returns the first line of the answer.
    pub(crate) async fn command(&mut self, line: &str, data: Option<&[u8]>) -> Result<String> {
        let limit = self.limit;
        tokio::time::timeout(limit, async {
            self.send(line, data).await?;
            self.line().await
        })
        .await
        .with_context(|| format!("memcached: no answer in {limit:?}"))?
    }

    async fn send(&mut self, line: &str, data: Option<&[u8]>) -> Result<()> {
        self.stream.write_all(line.as_bytes()).await?;
        self.stream.write_all(b"\r\n").await?;
        if let Some(data) = data {
            self.stream.write_all(data).await?;
            self.stream.write_all(b"\r\n").await?;
        }
        Ok(self.stream.flush().await?)
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            bail!("memcached closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }

    /// Reads one key with its token.
    pub(crate) async fn gets(&mut self, key: &str) -> Result<Option<Item>> {
        let limit = self.limit;
        tokio::time::timeout(limit, async {
            self.send(&format!("gets {key}"), None).await?;
            let mut found = None;
            loop {
                let line = self.line().await?;
                if line == "END" {
                    return Ok(found);
                }
                let words: Vec<&str> = line.split(' ').collect();
                let ["VALUE", _, flags, length, cas] = words[..] else {
                    bail!("memcached answered {line:?} to gets {key}");
                };
                let length: usize = length.parse()?;
                if length > LARGEST {
                    bail!("memcached offers {length} bytes for {key}");
                }
                let mut data = vec![0; length + 2];
                self.stream.read_exact(&mut data).await?;
                data.truncate(length);
                found = Some(Item { flags: flags.parse()?, cas: cas.parse()?, data });
            }
        })
        .await
        .with_context(|| format!("memcached: no answer in {limit:?}"))?
    }

    /// `set`, `add`, … or `cas` when a token is given; `expires` as memcached takes it.
    pub(crate) async fn store(
        &mut self,
        verb: &str,
        key: &str,
        flags: u32,
        expires: u64,
        data: &[u8],
        cas: Option<u64>,
    ) -> Result<Wrote> {
        let token = cas.map(|c| format!(" {c}")).unwrap_or_default();
        let line = format!("{verb} {key} {flags} {expires} {}{token}", data.len());
        wrote(&self.command(&line, Some(data)).await?)
    }

    /// Deletes a key.
    pub(crate) async fn delete(&mut self, key: &str) -> Result<Wrote> {
        wrote(&self.command(&format!("delete {key}"), None).await?)
    }

    /// Every key with its expiry (seconds since 1970; 0 is never), by memcached's crawler.
    pub(crate) async fn keys(&mut self) -> Result<Vec<(String, u64)>> {
        let limit = self.limit * 20;
        tokio::time::timeout(limit, async {
            self.send("lru_crawler metadump all", None).await?;
            let mut out = Vec::new();
            loop {
                let line = self.line().await?;
                if line == "END" {
                    return Ok(out);
                }
                if line.starts_with("BUSY") || line.contains("ERROR") {
                    bail!("memcached's crawler answered {line:?}");
                }
                let field = |name: &str| line.split(' ').find_map(|f| f.strip_prefix(name)).unwrap_or_default();
                let expires: i64 = field("exp=").parse().unwrap_or(-1);
                out.push((super::http::decode(field("key=")), u64::try_from(expires).unwrap_or(0)));
            }
        })
        .await
        .with_context(|| format!("memcached: no list of keys in {limit:?}"))?
    }
}

fn wrote(line: &str) -> Result<Wrote> {
    Ok(match line {
        "STORED" | "DELETED" | "TOUCHED" | "OK" => Wrote::Done,
        "NOT_STORED" => Wrote::NotStored,
        "EXISTS" => Wrote::Exists,
        "NOT_FOUND" => Wrote::NotFound,
        other => bail!("memcached answered {other:?}"),
    })
}
