//! NOTIFYs of registrations (RFC 3680), handed to sprout's own SIP port in order (sprout `src/notify_utils.cpp`). What the
//! subscribers answer is of no interest: a subscription that nobody hears ends by its time.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::aor::Notice;
use crate::log::log;
use crate::place;

/// A connection that nothing was sent over for so long is closed.
const IDLE: Duration = Duration::from_secs(40);

/// Sends NOTIFYs.
pub(crate) struct Notifier {
    queue: mpsc::UnboundedSender<Notice>,
}

impl Notifier {
    /// For the SIP port of this sprout; `contact` is the S-CSCF's URI. Nothing is opened before there is something to send.
    pub(crate) fn new(port: SocketAddr, contact: &str) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        tokio::spawn(carry(port, contact.to_owned(), waiting));
        Self { queue }
    }

    /// Puts them behind those that wait.
    pub(crate) fn send(&self, notices: Vec<Notice>) {
        for notice in notices {
            // It lives as long as the daemon.
            let _ = self.queue.send(notice);
        }
    }
}

async fn carry(port: SocketAddr, contact: String, mut waiting: mpsc::UnboundedReceiver<Notice>) {
    while let Some(first) = waiting.recv().await {
        if let Err(err) = carry_some(port, &contact, first, &mut waiting).await {
            log!(Error, "notify_sender.cpp:80", "Failed to send NOTIFY - error: {err:#}");
        }
    }
}

/// Sends this one and those that follow while the connection is used.
async fn carry_some(
    port: SocketAddr,
    contact: &str,
    first: Notice,
    waiting: &mut mpsc::UnboundedReceiver<Notice>,
) -> Result<()> {
    let stream = timeout(Duration::from_secs(2), TcpStream::connect(port)).await??;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let (mut answers, mut out) = stream.into_split();
    let drained = tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while answers.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
    });
    let mut next = Some(first);
    while let Some(notice) = next {
        out.write_all(text(&notice, contact, port, local).as_bytes()).await?;
        next = timeout(IDLE, waiting.recv()).await.unwrap_or(None);
    }
    drained.abort();
    Ok(())
}

/// The request: through this sprout's proxy, and then by the Routes of the subscription.
fn text(notice: &Notice, contact: &str, port: SocketAddr, local: SocketAddr) -> String {
    let Notice { subscription: of, state, body } = notice;
    let branch = place::uuid().replace('-', "");
    let mut routes = format!("Route: <sip:{port};transport=TCP;lr>\r\n");
    for route in &of.routes {
        let _ = write!(routes, "Route: {route}\r\n");
    }
    format!(
        "NOTIFY {} SIP/2.0\r\nVia: SIP/2.0/TCP {local};rport;branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n{routes}\
         From: <{}>;tag={}\r\nTo: <{}>;tag={}\r\nContact: <{contact}>\r\nCall-ID: {}\r\nCSeq: {} NOTIFY\r\nEvent: reg\r\n\
         Subscription-State: {state}\r\nContent-Type: application/reginfo+xml\r\nContent-Length: {}\r\n\r\n{body}",
        of.contact,
        of.to,
        of.id,
        of.from,
        of.from_tag,
        of.call_id,
        of.cseq,
        body.len()
    )
}
