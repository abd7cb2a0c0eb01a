//! Two phones at an exchange that registers everybody and hands on to the other what one of them sends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::net::SocketAddr;
use std::time::Duration;

use clearwater_sip::case::{
    Case, CaseOutcome, CaseTimes, NoServices, NoWay, Opened, OpenedMedia, ServiceSource, TestVerdict, WaySource, all,
};
use clearwater_sip::load::{LoadPlan, NoLoad, load};
use clearwater_sip::{Account, Ends, MediaKind, MediaWay, Transport, Way};
use tokio::net::UdpSocket;

/// What is wrong with the exchange, or with what carries media.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Nobody may register.
    Refuses,
    /// An INVITE goes nowhere.
    LosesCalls,
    /// What comes right behind an ACK is handed on before it.
    Overtakes,
    /// Media goes nowhere.
    Silent,
    /// Every other packet of media goes nowhere.
    Thin,
}

/// The answer to a request, with the headers that it takes over (RFC 3261 §8.2.6.2).
fn answer(request: &str, status: &str) -> String {
    let own =
        |line: &&str| ["via:", "from:", "to:", "call-id:", "cseq:"].iter().any(|n| line.to_lowercase().starts_with(n));
    let headers: String = request.lines().filter(own).map(|line| format!("{line}\r\n")).collect();
    format!("SIP/2.0 {status}\r\n{headers}Content-Length: 0\r\n\r\n")
}

/// An exchange at an address.
async fn exchange(fault: Fault) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut ends, mut bytes, mut held) = (Vec::new(), vec![0; 65_535], None::<Vec<u8>>);
        while let Ok((n, from)) = socket.recv_from(&mut bytes).await {
            let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
            if !ends.contains(&from) {
                ends.push(from);
            }
            if text.starts_with("REGISTER") {
                let status = if fault == Fault::Refuses { "480 Temporarily Unavailable" } else { "200 OK" };
                socket.send_to(answer(&text, status).as_bytes(), from).await.unwrap();
                continue;
            }
            let Some(other) = ends.iter().rev().find(|end| **end != from) else { continue };
            if fault == Fault::LosesCalls && text.starts_with("INVITE") {
                continue;
            }
            if fault == Fault::Overtakes && text.starts_with("ACK") {
                held = Some(bytes[..n].to_vec());
                continue;
            }
            socket.send_to(&bytes[..n], other).await.unwrap();
            if let Some(ack) = held.take_if(|_| text.starts_with("BYE")) {
                socket.send_to(&ack, other).await.unwrap();
            }
        }
    });
    here
}

/// Carries media to whom it is aimed at, in its own way.
async fn relay(fault: Fault) -> MediaWay {
    let (near, far) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let ends = Ends { near: near.local_addr().unwrap(), far: far.local_addr().unwrap() };
    let (aim, aimed) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut out, mut back, mut count) = (vec![0; 2048], vec![0; 2048], 0);
        let (_, phone) = near.recv_from(&mut out).await.unwrap();
        let Ok(peer) = aimed.await else { return };
        loop {
            tokio::select! {
                Ok((n, _)) = near.recv_from(&mut out) => {
                    count += 1;
                    if fault != Fault::Silent && (fault != Fault::Thin || count % 2 == 0) {
                        far.send_to(&out[..n], peer).await.unwrap();
                    }
                }
                Ok((n, _)) = far.recv_from(&mut back) => { near.send_to(&back[..n], phone).await.unwrap(); }
            }
        }
    });
    MediaWay::Relayed { ends, aim }
}

struct Ways {
    proxy: SocketAddr,
    fault: Fault,
}

#[async_trait::async_trait]
impl WaySource for Ways {
    async fn open(&self, transport: Transport) -> Result<Opened, NoWay> {
        let way = Way { transport, proxy: self.proxy, tunnel: None };
        Ok(Opened { way, through: "exchange".to_owned(), way_held: Box::new(()) })
    }

    async fn open_media(&self) -> Result<OpenedMedia, NoWay> {
        Ok(OpenedMedia { way: relay(self.fault).await, way_held: Box::new(()) })
    }
}

/// Keeps nobody's services.
struct Nobody;

#[async_trait::async_trait]
impl ServiceSource for Nobody {
    async fn put(&self, line: &Account, _: Option<&str>) -> Result<(), NoServices> {
        Err(NoServices::Absent(format!("nobody keeps those of {}", line.number)))
    }
}

async fn ways(fault: Fault) -> Ways {
    Ways { proxy: exchange(fault).await, fault }
}

fn accounts() -> Vec<Account> {
    let account = |number: &str| {
        let identity = format!("{number}@example.com");
        Account::new(&format!("sip:{identity}"), &identity, "secret").unwrap()
    };
    vec![account("1"), account("2")]
}

async fn attempt(id: &str, fault: Fault) -> CaseOutcome {
    let case: &Case = all().find(|c| c.id == id).unwrap();
    let times = CaseTimes { answer: Duration::from_secs(3), talk: Duration::from_millis(400) };
    case.attempt(&ways(fault).await, &Nobody, &accounts(), Transport::Udp, times).await
}

#[tokio::test]
async fn a_case_of_services_is_skipped_where_nobody_keeps_any() {
    let outcome = attempt("barring-outgoing", Fault::None).await;
    assert_eq!(outcome.verdict, TestVerdict::Skipped("nobody keeps those of 1".to_owned()));
    assert!(outcome.messages.is_empty() && !outcome.is_silence());
}

#[tokio::test]
async fn what_two_phones_say_is_counted_both_ways() {
    let outcome = attempt("call-video", Fault::None).await;
    assert_eq!(outcome.verdict, TestVerdict::Passed);
    let told: Vec<_> =
        outcome.media.iter().map(|m| (m.kind, m.from.as_str(), m.to.as_str(), m.sent, m.received)).collect();
    let (audio, video) = (MediaKind::Audio, MediaKind::Video);
    assert_eq!(
        told,
        [(audio, "1", "2", 20, 20), (audio, "2", "1", 20, 20), (video, "1", "2", 12, 12), (video, "2", "1", 12, 12)]
    );
}

#[tokio::test]
async fn silence_and_gaps_in_what_is_said_are_failures_with_their_counts() {
    for (fault, seen) in [(Fault::Silent, "0 of 20 packets came"), (Fault::Thin, "10 of 20 packets came")] {
        let outcome = attempt("call-voice", fault).await;
        let TestVerdict::Failed(failure) = &outcome.verdict else { panic!("{fault:?}: {outcome:?}") };
        assert_eq!((failure.step.as_str(), failure.seen.as_str()), ("audio from 1 to 2", seen));
        assert_eq!(outcome.media.len(), 2);
    }
}

#[tokio::test]
async fn who_hangs_up_before_the_ack_is_seen_has_hung_up() {
    let tally = load(&ways(Fault::Overtakes).await, &accounts(), &plan(8.0), |_| ()).await.unwrap();
    assert_eq!((tally.begun, tally.answered), (4, 4), "{:?}", tally.failures);
}

fn plan(rate: f64) -> LoadPlan {
    let (lasting, answer) = (Duration::from_millis(500), Duration::from_millis(700));
    LoadPlan { rate, lasting, answer, transport: Transport::Udp }
}

#[tokio::test]
async fn calls_at_a_rate_are_counted() {
    let mut told = 0;
    let tally = load(&ways(Fault::None).await, &accounts(), &plan(20.0), |_| told += 1).await.unwrap();
    assert_eq!((tally.begun, tally.answered, tally.failed()), (10, 10, 0), "{:?}", tally.failures);
    assert_eq!(told, 20);
    assert!(!tally.percentile(50.0).is_zero() && tally.percentile(50.0) <= tally.percentile(100.0));
}

#[tokio::test]
async fn calls_that_go_nowhere_and_those_that_find_no_phone_are_failures() {
    let tally = load(&ways(Fault::LosesCalls).await, &accounts(), &plan(8.0), |_| ()).await.unwrap();
    assert_eq!((tally.begun, tally.answered, tally.failed()), (4, 0, 4));
    let seen: Vec<&str> = tally.failures.keys().map(String::as_str).collect();
    assert_eq!(seen, ["INVITE: a final answer to INVITE did not come within 700 ms", "no phone was free"]);
}

#[tokio::test]
async fn where_no_phone_registers_no_call_is_tried() {
    let error = load(&ways(Fault::Refuses).await, &accounts(), &plan(8.0), |_| ()).await.unwrap_err();
    assert_eq!(error, NoLoad::Register("1: 480 Temporarily Unavailable".to_owned()));
}
