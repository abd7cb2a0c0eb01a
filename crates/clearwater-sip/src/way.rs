//! How a phone reaches the proxy.

use std::net::{IpAddr, SocketAddr};

use tokio::net::UdpSocket;

use crate::{SipError, Transport};

/// How a phone reaches the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// How its messages travel.
    pub transport: Transport,
    /// The proxy.
    pub proxy: SocketAddr,
    /// What carries them there, where the proxy is not reached from this machine itself.
    pub tunnel: Option<Ends>,
}

/// The ends of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where messages are sent to instead of to the proxy.
    pub near: SocketAddr,
    /// Where the proxy sees them come from.
    pub far: SocketAddr,
}

/// This machine's address on the way to another.
pub(crate) async fn towards(there: SocketAddr) -> Result<IpAddr, SipError> {
    let any = if there.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(there).await?;
    Ok(socket.local_addr()?.ip())
}
