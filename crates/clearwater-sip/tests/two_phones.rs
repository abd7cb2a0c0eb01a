//! Two phones that are wired to each other, without a proxy: what one sends the other receives.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::net::SocketAddr;
use std::time::Duration;

use clearwater_sip::{Account, Heading, Phone, SipError, Transport, Way};
use tokio::net::UdpSocket;

const SOON: Duration = Duration::from_secs(5);

/// Carries each datagram to the one of two phones that did not send it.
async fn wire() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut ends, mut bytes) = (Vec::new(), vec![0; 65_535]);
        while let Ok((n, from)) = socket.recv_from(&mut bytes).await {
            if !ends.contains(&from) {
                ends.push(from);
            }
            if let Some(other) = ends.iter().find(|end| **end != from) {
                socket.send_to(&bytes[..n], other).await.unwrap();
            }
        }
    });
    here
}

async fn phones() -> (Phone, Phone) {
    let way = Way { transport: Transport::Udp, proxy: wire().await, tunnel: None };
    let account = |number: &str| {
        let identity = format!("{number}@example.com");
        Account::new(&format!("sip:{identity}"), &identity, "secret").unwrap()
    };
    let (one, other) = (Phone::open(account("1"), way).await.unwrap(), Phone::open(account("2"), way).await.unwrap());
    // The wire knows a phone by what it has sent. Nobody answers that.
    for phone in [&one, &other] {
        let silence = phone.options(Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(silence, SipError::Silence { .. }), "{silence}");
    }
    (one, other)
}

#[tokio::test]
async fn a_text_arrives_as_it_was_written() {
    let (one, mut other) = phones().await;
    let text = "Grüße\r\n\r\nSIP/2.0 200 OK\r\n'\"";
    let (sent, read) = tokio::join!(one.message("sip:2@example.com", text, SOON), other.read_message(SOON));
    assert_eq!(read.unwrap(), ("sip:1@example.com".to_owned(), text.to_owned()));
    assert_eq!(sent.unwrap().code(), 200);
}

#[tokio::test]
async fn a_call_comes_up_is_changed_and_hung_up() {
    let (one, mut other) = phones().await;
    let (rung, heard) = tokio::sync::oneshot::channel();
    let calling = async {
        let mut invitation = one.invite("sip:2@example.com", "v=0 offer").await.unwrap();
        assert_eq!(invitation.reply(SOON).await.unwrap().code(), 180);
        rung.send(()).unwrap();
        let reply = invitation.outcome(SOON).await.unwrap();
        assert_eq!((reply.code(), reply.body()), (200, &b"v=0 answer"[..]));
        let mut call = invitation.confirm(&reply).await.unwrap();
        let changed = call.change("v=0 hold", SOON).await.unwrap();
        assert_eq!((changed.code(), call.remote_media()), (200, &b"v=0 held"[..]));
        assert_eq!(call.hang_up(SOON).await.unwrap().code(), 200);
    };
    let called = async {
        let mut ringing = other.called(SOON).await.unwrap();
        assert_eq!((ringing.from(), ringing.media()), ("sip:1@example.com".to_owned(), &b"v=0 offer"[..]));
        ringing.ring().await.unwrap();
        heard.await.unwrap();
        let mut call = ringing.answer("v=0 answer", SOON).await.unwrap();
        assert_eq!(call.changed("v=0 held", SOON).await.unwrap(), b"v=0 hold");
        call.hung_up(SOON).await.unwrap();
    };
    tokio::join!(calling, called);
    let own: Vec<String> =
        one.transcript().entries().into_iter().filter(|e| e.heading == Heading::Sent).map(|e| e.message).collect();
    assert_eq!(own, ["OPTIONS", "INVITE", "ACK", "INVITE", "ACK", "BYE"]);
}

#[tokio::test]
async fn a_call_is_cancelled_within_its_own_transaction() {
    let (one, mut other) = phones().await;
    let calling = async {
        let mut invitation = one.invite("sip:2@example.com", "v=0").await.unwrap();
        assert_eq!(invitation.reply(SOON).await.unwrap().code(), 180);
        invitation.cancel().await.unwrap();
        assert_eq!(invitation.outcome(SOON).await.unwrap().code(), 487);
    };
    let called = async {
        let mut ringing = other.called(SOON).await.unwrap();
        ringing.ring().await.unwrap();
        ringing.cancelled(SOON).await.unwrap();
    };
    tokio::join!(calling, called);
}

#[tokio::test]
async fn a_refusal_is_told_and_silence_has_an_end() {
    let (one, mut other) = phones().await;
    let calling = async {
        let mut invitation = one.invite("sip:2@example.com", "v=0").await.unwrap();
        assert_eq!(invitation.outcome(SOON).await.unwrap().to_string(), "486 Busy Here");
    };
    let called = async { other.called(SOON).await.unwrap().reject(486, SOON).await.unwrap() };
    tokio::join!(calling, called);
    let error = other.called(Duration::from_millis(50)).await.err().unwrap().to_string();
    assert_eq!(error, "INVITE did not come within 50 ms");
    let error = one.message("sip:2@example.com\r\nX: y", "", SOON).await.unwrap_err().to_string();
    assert!(error.contains("no SIP URI"), "{error}");
}
