//! The polls that ship with the packages: does it answer, and rightly?

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::Exit;
use crate::net::binary::Client;
use crate::net::http::Request;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// GET, body `OK` with 200, or 503 (poll-http takes overload for life).
    Http,
    /// A connection.
    Tcp,
    /// OPTIONS over TCP, 200.
    Sip,
    /// OPTIONS over UDP, 200.
    SipUdp,
    /// A STUN binding over UDP.
    Stun,
    /// memcached's `version`, in its binary protocol.
    Memcached,
    /// etcd's `/health`.
    Etcd,
}

/// What to poll.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    kind: Kind,
    /// `ip:port`.
    address: SocketAddr,
    /// For http.
    #[arg(default_value = "/ping")]
    path: String,
    /// Milliseconds.
    #[arg(long, default_value_t = 2000)]
    timeout: u64,
}

/// Polls once: status 0 or 1.
pub(crate) async fn run(options: Options) -> Result<Exit> {
    let limit = Duration::from_millis(options.timeout);
    ask(options.kind, options.address, &options.path, limit).await?;
    Ok(Exit(0))
}

/// Asks once; an error tells what was wrong.
pub(crate) async fn ask(kind: Kind, to: SocketAddr, path: &str, limit: Duration) -> Result<()> {
    tokio::time::timeout(limit, async {
        match kind {
            Kind::Http => http(to, path, limit).await,
            Kind::Tcp => TcpStream::connect(to).await.map(drop).context("no connection"),
            Kind::Sip => sip_tcp(to).await,
            Kind::SipUdp => sip_udp(to).await,
            Kind::Stun => stun(to).await,
            Kind::Memcached => memcached(to, limit).await,
            Kind::Etcd => etcd(to, limit).await,
        }
    })
    .await
    .with_context(|| format!("{to}: no answer in {limit:?}"))?
    .with_context(|| format!("asking {to}"))
}

async fn http(to: SocketAddr, path: &str, limit: Duration) -> Result<()> {
    let answer = Request::get(path).within(limit).to(to).await?;
    match (answer.status, answer.body_text().lines().next()) {
        (200, Some("OK")) | (503, _) => Ok(()),
        (status, body) => bail!("{status} {}", body.unwrap_or_default()),
    }
}

async fn etcd(to: SocketAddr, limit: Duration) -> Result<()> {
    let answer = Request::get("/health").within(limit).to(to).await?;
    if answer.status == 200 && answer.parsed()["health"] == "true" {
        return Ok(());
    }
    bail!("{} {}", answer.status, answer.body_text());
}

fn options_request(from: SocketAddr, to: SocketAddr, transport: &str) -> String {
    let id = crate::place::now_us();
    format!(
        "OPTIONS sip:poll-sip@{to} SIP/2.0\r\nVia: SIP/2.0/{transport} {from};rport;branch=z9hG4bK-{id}\r\n\
         Max-Forwards: 2\r\nTo: <sip:poll-sip@{to}>\r\nFrom: poll-sip <sip:poll-sip@{to}>;tag={id}\r\n\
         Call-ID: poll-sip-{id}\r\nCSeq: 1 OPTIONS\r\nContact: <sip:{from}>\r\nContent-Length: 0\r\n\r\n"
    )
}

fn judge(reply: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(reply);
    let first = text.lines().next().unwrap_or_default();
    if first.starts_with("SIP/2.0 200") {
        return Ok(());
    }
    bail!("answered {first:?}")
}

async fn sip_tcp(to: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    let request = options_request(stream.local_addr()?, to, "TCP");
    stream.write_all(request.as_bytes()).await?;
    let mut reply = [0u8; 1024];
    let length = stream.read(&mut reply).await?;
    judge(&reply[..length])
}

async fn sip_udp(to: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind("[::]:0").await;
    let socket = match socket {
        Ok(socket) if to.is_ipv6() => socket,
        _ => UdpSocket::bind("0.0.0.0:0").await?,
    };
    socket.connect(to).await?;
    socket.send(options_request(socket.local_addr()?, to, "UDP").as_bytes()).await?;
    let mut reply = [0u8; 2048];
    let length = socket.recv(&mut reply).await?;
    judge(&reply[..length])
}

/// A binding request of RFC 5389 and its success response.
async fn stun(to: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }).await?;
    socket.connect(to).await?;
    let mut request = [0u8; 20];
    request[1] = 1;
    request[4..8].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
    request[12..].copy_from_slice(&crate::place::now_us().to_be_bytes());
    socket.send(&request).await?;
    let mut reply = [0u8; 512];
    let length = socket.recv(&mut reply).await?;
    if length >= 20 && reply[..2] == [1, 1] && reply[4..20] == request[4..20] {
        return Ok(());
    }
    bail!("answered {length} bytes that are no binding response")
}

async fn memcached(to: SocketAddr, limit: Duration) -> Result<()> {
    Client::connect(to, limit).await?.version().await.map(drop)
}
