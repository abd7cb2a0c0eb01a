//! A phone that takes one call, says what is asked for in it, and tells what it heard:
//!
//! ```console
//! $ cargo run -p clearwater-sip --example answer -- sip:6505550001@example.com PASSWORD-FILE 192.0.2.7:5060
//! registered
//! called by sip:6505550000@example.com
//! audio: 150 packets came
//! video: 90 packets came
//! ```
#![expect(clippy::print_stdout, reason = "an example tells what it saw")]

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use clearwater_sip::{
    Account, MediaKind, MediaSocket, MediaWay, Phone, Transport, Way, media_address, session_description,
};
use futures::future::try_join_all;

/// What one answer may take, and how long a call is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const TALK: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [identity, password, proxy] = words.as_slice() else {
        return Err("wanted: sip:NUMBER@DOMAIN PASSWORD-FILE PROXY:PORT".into());
    };
    let user = identity.strip_prefix("sip:").ok_or("the identity begins with sip:")?;
    let account = Account::new(identity, user, fs::read_to_string(password)?.trim())?;
    let proxy: SocketAddr = proxy.parse()?;
    let mut phone = Phone::open(account, Way { transport: Transport::Tcp, proxy, tunnel: None }).await?;
    let reply = phone.register(300, PATIENCE).await?;
    if reply.code() != 200 {
        return Err(format!("REGISTER: {reply}").into());
    }
    println!("registered");

    let mut ringing = phone.called(PATIENCE).await?;
    println!("called by {}", ringing.from());
    // Of each kind that is offered, a socket.
    let offered = |kind: &MediaKind| media_address(ringing.media(), *kind).is_ok();
    let kinds: Vec<MediaKind> = [MediaKind::Audio, MediaKind::Video].into_iter().filter(offered).collect();
    let sockets = try_join_all(kinds.into_iter().map(|kind| MediaSocket::open(kind, MediaWay::Direct(proxy)))).await?;
    let streams: Vec<_> = sockets.iter().map(|socket| (socket.kind(), socket.address())).collect();
    ringing.ring().await?;
    let call = ringing.answer(&session_description(&streams, 1, "sendrecv"), PATIENCE).await?;
    let said = sockets.into_iter().map(|socket| async {
        let kind = socket.kind();
        let heard = socket.exchange(media_address(call.remote_media(), kind)?, TALK).await?;
        Ok::<_, clearwater_sip::SipError>((kind, heard))
    });
    for (kind, heard) in try_join_all(said).await? {
        println!("{kind}: {} packets came", heard.received);
    }
    println!("BYE: {}", call.hang_up(PATIENCE).await?);
    phone.register(0, PATIENCE).await?;
    Ok(())
}
