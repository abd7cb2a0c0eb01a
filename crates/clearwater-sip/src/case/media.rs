//! What a phone says of its media.

use std::net::SocketAddr;

/// A session description (RFC 8866) with one audio stream at that address. `direction` is an attribute of RFC 8866 §6.7.
pub(super) fn audio(at: SocketAddr, version: u32, direction: &str) -> String {
    let family = if at.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, port) = (at.ip(), at.port());
    format!(
        "v=0\r\no=- {port} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP \
         0\r\na=rtpmap:0 PCMU/8000\r\na={direction}\r\n"
    )
}
