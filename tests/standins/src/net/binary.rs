//! memcached's binary protocol, the only one that rogers speaks (astaire `src/proxy_server.cpp`): frames, and a client.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

use super::memcached::{Item, Wrote};

/// First byte of a request.
const REQUEST: u8 = 0x80;
/// First byte of an answer.
const ANSWER: u8 = 0x81;
const HEAD: usize = 24;
/// The longest body taken: memcached's largest value, with room for key and extras.
const LARGEST: usize = (1 << 20) + 1024;

/// Operations, by memcached's numbers.
pub(crate) mod op {
    pub(crate) const GET: u8 = 0x00;
    pub(crate) const SET: u8 = 0x01;
    pub(crate) const ADD: u8 = 0x02;
    pub(crate) const REPLACE: u8 = 0x03;
    pub(crate) const DELETE: u8 = 0x04;
    pub(crate) const QUIT: u8 = 0x07;
    pub(crate) const VERSION: u8 = 0x0b;
    pub(crate) const GETK: u8 = 0x0c;
}

/// How an operation ended, by memcached's numbers.
pub(crate) mod status {
    pub(crate) const OK: u16 = 0;
    pub(crate) const NOT_FOUND: u16 = 1;
    pub(crate) const EXISTS: u16 = 2;
    pub(crate) const NOT_STORED: u16 = 5;
    pub(crate) const TEMPORARY_FAILURE: u16 = 0x86;
}

/// A request or an answer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) op: u8,
    /// Of an answer; a request has none.
    pub(crate) status: u16,
    /// Whatever the client put there; given back.
    pub(crate) opaque: u32,
    pub(crate) cas: u64,
    pub(crate) extras: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Frame {
    /// The next request; `None` where the client left. An error means that the connection is of no more use.
    pub(crate) async fn request(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Self>> {
        Self::read(stream, REQUEST).await
    }

    async fn read(stream: &mut (impl AsyncBufRead + Unpin), magic: u8) -> Result<Option<Self>> {
        if stream.fill_buf().await?.is_empty() {
            return Ok(None);
        }
        let mut head = [0u8; HEAD];
        stream.read_exact(&mut head).await?;
        ensure!(head[0] == magic, "a message begins with {:#04x}, not {magic:#04x}", head[0]);
        let key = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let extras = usize::from(head[4]);
        let body = usize::try_from(number(&head[8..12])?)?;
        ensure!(key + extras <= body && body <= LARGEST, "a message of {body} bytes, {key} of them a key");
        let mut rest = vec![0; body];
        stream.read_exact(&mut rest).await?;
        let value = rest.split_off(extras + key);
        let name = rest.split_off(extras);
        Ok(Some(Self {
            op: head[1],
            status: u16::from_be_bytes([head[6], head[7]]),
            opaque: number(&head[12..16])?,
            cas: u64::from_be_bytes(head[16..].try_into()?),
            extras: rest,
            key: name,
            value,
        }))
    }

    /// Writes it as an answer.
    pub(crate) async fn answer(&self, stream: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
        self.write(stream, ANSWER).await
    }

    async fn write(&self, stream: &mut (impl AsyncWrite + Unpin), magic: u8) -> Result<()> {
        let body = self.extras.len() + self.key.len() + self.value.len();
        let mut out = Vec::with_capacity(HEAD + body);
        out.extend([magic, self.op]);
        out.extend(u16::try_from(self.key.len())?.to_be_bytes());
        out.extend([u8::try_from(self.extras.len())?, 0]);
        out.extend(self.status.to_be_bytes());
        out.extend(u32::try_from(body)?.to_be_bytes());
        out.extend(self.opaque.to_be_bytes());
        out.extend(self.cas.to_be_bytes());
        out.extend(&self.extras);
        out.extend(&self.key);
        out.extend(&self.value);
        stream.write_all(&out).await?;
        Ok(stream.flush().await?)
    }

    /// Flags and expiry, seconds, of a request to store.
    pub(crate) fn storage(&self) -> Result<(u32, u32)> {
        let wrong = || format!("a request to store with {} bytes of extras, not 8", self.extras.len());
        let (flags, expires) = self.extras.split_at_checked(4).with_context(wrong)?;
        Ok((number(flags)?, number(expires).with_context(wrong)?))
    }
}

/// Four bytes, the most significant first.
fn number(bytes: &[u8]) -> Result<u32> {
    Ok(u32::from_be_bytes(bytes.try_into()?))
}

/// A connection to one rogers or memcached.
pub(crate) struct Client {
    stream: BufStream<TcpStream>,
    limit: Duration,
}

impl Client {
    /// Connects; `limit` holds for connecting and for each request.
    pub(crate) async fn connect(address: SocketAddr, limit: Duration) -> Result<Self> {
        Ok(Self { stream: super::memcached::stream(address, limit).await?, limit })
    }

    async fn ask(&mut self, request: &Frame) -> Result<Frame> {
        let limit = self.limit;
        tokio::time::timeout(limit, async {
            request.write(&mut self.stream, REQUEST).await?;
            let answer = Frame::read(&mut self.stream, ANSWER).await?.context("memcached closed the connection")?;
            ensure!(answer.op == request.op, "memcached answered {:#04x} to {:#04x}", answer.op, request.op);
            Ok(answer)
        })
        .await
        .with_context(|| format!("memcached: no answer in {limit:?}"))?
    }

    /// The server's version.
    pub(crate) async fn version(&mut self) -> Result<String> {
        let answer = self.ask(&Frame { op: op::VERSION, ..Frame::default() }).await?;
        Ok(String::from_utf8_lossy(&answer.value).into_owned())
    }

    /// Reads one key with its token.
    pub(crate) async fn get(&mut self, key: &str) -> Result<Option<Item>> {
        let answer = self.ask(&Frame { op: op::GET, key: key.into(), ..Frame::default() }).await?;
        match answer.status {
            status::OK => {
                let flags = answer.extras.try_into().map(u32::from_be_bytes).unwrap_or_default();
                Ok(Some(Item { flags, cas: answer.cas, data: answer.value }))
            }
            status::NOT_FOUND => Ok(None),
            other => bail!("memcached answered status {other:#x} to a get of {key}"),
        }
    }

    /// Stores by `op`, with the token the value was read with or 0; `expires` in seconds.
    pub(crate) async fn store(&mut self, op: u8, key: &str, expires: u32, data: &[u8], cas: u64) -> Result<Wrote> {
        let mut extras = vec![0; 4];
        extras.extend(expires.to_be_bytes());
        let request = Frame { op, cas, extras, key: key.into(), value: data.to_vec(), ..Frame::default() };
        wrote(self.ask(&request).await?.status)
    }

    /// Deletes a key.
    pub(crate) async fn delete(&mut self, key: &str) -> Result<Wrote> {
        wrote(self.ask(&Frame { op: op::DELETE, key: key.into(), ..Frame::default() }).await?.status)
    }
}

fn wrote(status: u16) -> Result<Wrote> {
    Ok(match status {
        status::OK => Wrote::Done,
        status::NOT_FOUND => Wrote::NotFound,
        status::EXISTS => Wrote::Exists,
        status::NOT_STORED => Wrote::NotStored,
        other => bail!("memcached answered status {other:#x}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_is_read_as_it_was_written() {
        let frame = Frame {
            op: op::SET,
            opaque: 7,
            cas: 9,
            extras: vec![0, 0, 0, 1, 0, 0, 1, 44],
            key: b"key".to_vec(),
            value: b"value".to_vec(),
            status: 0,
        };
        let mut wire = Vec::new();
        frame.write(&mut wire, REQUEST).await.unwrap();
        assert_eq!(wire.len(), 24 + 8 + 3 + 5);
        assert_eq!(&wire[..12], &[0x80, 1, 0, 3, 8, 0, 0, 0, 0, 0, 0, 16]);
        let read = Frame::request(&mut wire.as_slice()).await.unwrap().unwrap();
        assert_eq!(read, frame);
        assert_eq!(read.storage().unwrap(), (1, 300));
        assert_eq!(Frame::request(&mut [].as_slice()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn text_is_no_frame() {
        let text = b"gets a-key-that-is-long-enough-to-be-a-head\r\n";
        let error = Frame::request(&mut text.as_slice()).await.unwrap_err().to_string();
        assert!(error.contains("begins with 0x67"), "{error}");
    }
}
