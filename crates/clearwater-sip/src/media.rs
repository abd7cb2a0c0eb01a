//! What two phones say to each other once a call is up: RTP (RFC 3550), counted.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use rtp_types::{RtpPacket, RtpPacketBuilder};
use sdp_types::Session;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::SipError;
use crate::way::{Ends, towards};

/// What travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MediaKind {
    /// Speech: G.711 μ-law, 50 packets a second (RFC 3551 §4.5.14).
    Audio,
    /// Pictures: VP8, 30 a second, a packet each (RFC 7741). They show nothing.
    Video,
}

impl MediaKind {
    /// As an m= line has it (RFC 8866 §5.14).
    pub fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    /// Static 0 for PCMU; of the dynamic ones what nobody uses otherwise here (RFC 3551 §6).
    fn payload_type(self) -> u8 {
        match self {
            Self::Audio => 0,
            Self::Video => 96,
        }
    }

    fn encoding(self) -> &'static str {
        match self {
            Self::Audio => "PCMU/8000",
            Self::Video => "VP8/90000",
        }
    }

    /// Ticks of the media clock in a second.
    fn clock(self) -> u32 {
        match self {
            Self::Audio => 8000,
            Self::Video => 90_000,
        }
    }

    /// Packets in a second.
    fn rate(self) -> u32 {
        match self {
            Self::Audio => 50,
            Self::Video => 30,
        }
    }

    /// Silence, or a descriptor that says "the beginning of a partition" and what may be one.
    fn payload(self) -> Vec<u8> {
        match self {
            Self::Audio => vec![0xff; 160],
            Self::Video => [&[0x10][..], &[0; 1000]].concat(),
        }
    }

    /// How many packets are sent in that time.
    fn packets(self, lasting: Duration) -> u32 {
        let nanos = lasting.as_nanos() * u128::from(self.rate());
        u32::try_from(nanos / Duration::from_secs(1).as_nanos()).unwrap_or(u32::MAX).max(1)
    }
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where a phone's media of one kind leaves from.
#[derive(Debug)]
pub enum MediaWay {
    /// This machine's own address on the way to there.
    Direct(SocketAddr),
    /// What carries it.
    Relayed {
        /// Its ends.
        ends: Ends,
        /// Is told whom the media is for, once that is known.
        aim: oneshot::Sender<SocketAddr>,
    },
}

/// How one direction of a kind of media arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaReport {
    /// What travelled.
    pub kind: MediaKind,
    /// The number of the phone that sent it.
    pub from: String,
    /// And of the one that it was for.
    pub to: String,
    /// How many packets were sent.
    pub sent: u32,
    /// How many of them arrived, each counted once.
    pub received: u32,
    /// Interarrival jitter at the end (RFC 3550 §6.4.1).
    pub jitter: Duration,
}

impl MediaReport {
    /// The packets that did not arrive, of a hundred.
    pub fn loss(&self) -> f64 {
        f64::from(self.sent.saturating_sub(self.received)) * 100.0 / f64::from(self.sent.max(1))
    }
}

/// What came to a phone: packets, and their jitter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaHeard {
    /// How many packets the phone has sent itself.
    pub sent: u32,
    /// How many different packets came.
    pub received: u32,
    /// Interarrival jitter at the end (RFC 3550 §6.4.1).
    pub jitter: Duration,
}

/// A phone's socket for one kind of media.
#[derive(Debug)]
pub struct MediaSocket {
    kind: MediaKind,
    socket: UdpSocket,
    address: SocketAddr,
    near: Option<SocketAddr>,
    aim: Option<oneshot::Sender<SocketAddr>>,
}

/// How long after its last packet a phone waits for what is still on its way.
const STRAGGLERS: Duration = Duration::from_secs(1);

/// No packet is longer: a datagram's largest.
const LARGEST: usize = 65_535;

impl MediaSocket {
    /// A socket that has an address and sends nothing yet.
    pub async fn open(kind: MediaKind, way: MediaWay) -> Result<Self, SipError> {
        let (near, aim, there) = match way {
            MediaWay::Direct(there) => (None, None, there),
            MediaWay::Relayed { ends, aim } => (Some(ends), Some(aim), ends.near),
        };
        let socket = UdpSocket::bind(SocketAddr::new(towards(there).await?, 0)).await?;
        let address = near.map_or(socket.local_addr()?, |ends| ends.far);
        let near = near.map(|ends| ends.near);
        if let Some(near) = near {
            // A relay gives what comes to whoever spoke last.
            socket.send_to(&[], near).await?;
        }
        Ok(Self { kind, socket, address, near, aim })
    }

    /// What it is for.
    pub fn kind(&self) -> MediaKind {
        self.kind
    }

    /// Where the other phone sends to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends to a peer for so long, and hears what it sends in the same time.
    pub async fn exchange(mut self, peer: SocketAddr, lasting: Duration) -> Result<MediaHeard, SipError> {
        if let Some(aim) = self.aim.take() {
            aim.send(peer).map_err(|_| SipError::protocol("the relay of the media is closed"))?;
        }
        let (count, until) = (self.kind.packets(lasting), Instant::now() + lasting + STRAGGLERS);
        let (sent, arrivals) = tokio::join!(self.send(self.near.unwrap_or(peer), count), self.hear(count, until));
        Ok(MediaHeard { sent: sent?, received: arrivals.received(), jitter: arrivals.jitter(self.kind.clock()) })
    }

    async fn send(&self, to: SocketAddr, count: u32) -> Result<u32, SipError> {
        let (payload, kind) = (self.kind.payload(), self.kind);
        let [ssrc, first_time] = [random()?, random()?];
        let mut ticks = interval(Duration::from_secs(1) / kind.rate());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut number = u16::try_from(random()? >> 16).unwrap_or_default();
        for n in 0..count {
            ticks.tick().await;
            let packet = RtpPacketBuilder::<&[u8], &[u8]>::new()
                .payload_type(kind.payload_type())
                .ssrc(ssrc)
                .sequence_number(number)
                .timestamp(first_time.wrapping_add(n.wrapping_mul(kind.clock() / kind.rate())))
                // The beginning of speech; the last packet of a picture.
                .marker_bit(n == 0 || kind == MediaKind::Video)
                .payload(payload.as_slice())
                .write_vec()
                .map_err(|e| SipError::protocol(e.to_string()))?;
            self.socket.send_to(&packet, to).await?;
            number = number.wrapping_add(1);
        }
        Ok(count)
    }

    async fn hear(&self, count: u32, until: Instant) -> Arrivals {
        let (mut arrivals, mut bytes) = (Arrivals::default(), vec![0; LARGEST]);
        let began = Instant::now();
        while arrivals.received() < count {
            let Ok(came) = timeout_at(until, self.socket.recv_from(&mut bytes)).await else { break };
            let packet = came.ok().and_then(|(n, _)| RtpPacket::parse(bytes.get(..n)?).ok());
            // Others' words at this port are none of the call's.
            if let Some(packet) = packet.filter(|p| p.payload_type() == self.kind.payload_type()) {
                let heard = (packet.ssrc(), packet.sequence_number(), packet.timestamp());
                arrivals.add(heard, began.elapsed(), self.kind.clock());
            }
        }
        arrivals
    }
}

fn random() -> Result<u32, SipError> {
    getrandom::u32().map_err(SipError::protocol)
}

/// What arrived of one source.
#[derive(Debug, Default)]
struct Arrivals {
    source: Option<u32>,
    numbers: HashSet<u16>,
    /// The transit time of the packet before, in ticks of the media clock.
    transit: Option<i64>,
    /// In ticks of the media clock.
    jitter: f64,
}

impl Arrivals {
    /// One packet: its source, number and time, and when it came. The first says whose packets count.
    fn add(&mut self, (source, number, timestamp): (u32, u16, u32), at: Duration, clock: u32) {
        if *self.source.get_or_insert(source) != source || !self.numbers.insert(number) {
            return;
        }
        // RFC 3550 appendix A.8. Times are numbers of 32 bits that go round.
        let ticks = at.as_nanos() * u128::from(clock) / Duration::from_secs(1).as_nanos();
        let arrival = u32::try_from(ticks % (1 << 32)).unwrap_or_default();
        let transit = i64::from(arrival.wrapping_sub(timestamp));
        if let Some(before) = self.transit.replace(transit) {
            let apart = (transit - before).rem_euclid(1 << 32);
            let apart = apart.min((1 << 32) - apart);
            self.jitter += (f64::from(u32::try_from(apart).unwrap_or(u32::MAX)) - self.jitter) / 16.0;
        }
    }

    fn received(&self) -> u32 {
        u32::try_from(self.numbers.len()).unwrap_or(u32::MAX)
    }

    fn jitter(&self, clock: u32) -> Duration {
        Duration::from_secs_f64(self.jitter / f64::from(clock))
    }
}

/// A session description (RFC 8866) of these streams, all at one host. `direction` is an attribute of RFC 8866 §6.7.
///
/// ```
/// use clearwater_sip::{MediaKind, media_address, session_description};
///
/// let here = "192.0.2.1:40000".parse()?;
/// let offered = session_description(&[(MediaKind::Audio, here)], 1, "sendrecv");
/// assert_eq!(media_address(offered.as_bytes(), MediaKind::Audio)?, here);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn session_description(streams: &[(MediaKind, SocketAddr)], version: u32, direction: &str) -> String {
    let Some((_, first)) = streams.first() else { return String::new() };
    let (ip, family) = (first.ip(), if first.is_ipv4() { "IP4" } else { "IP6" });
    let mut text =
        format!("v=0\r\no=- {} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n", first.port());
    for (kind, address) in streams {
        let (port, number, encoding) = (address.port(), kind.payload_type(), kind.encoding());
        text += &format!("m={kind} {port} RTP/AVP {number}\r\na=rtpmap:{number} {encoding}\r\na={direction}\r\n");
    }
    text
}

/// Where a session description wants media of a kind: the m= line's port at its own c= line's address, or at the
/// session's (RFC 8866 §5.7).
///
/// # Errors
/// What is no session description, and one that takes no media of the kind or names no address for it.
pub fn media_address(description: &[u8], kind: MediaKind) -> Result<SocketAddr, SipError> {
    let wrong = |why: String| SipError::protocol(format!("the other side's media description: {why}"));
    let session = Session::parse(description).map_err(|e| wrong(e.to_string()))?;
    let stream = session.medias.iter().find(|m| m.media == kind.name() && m.port != 0);
    let stream = stream.ok_or_else(|| wrong(format!("it takes no {kind}")))?;
    let connection = stream.connections.first().or(session.connection.as_ref());
    let connection = connection.ok_or_else(|| wrong("it names no address".to_owned()))?;
    let ip = connection.connection_address.parse();
    let ip = ip.map_err(|_| wrong(format!("{:?} is no address", connection.connection_address)))?;
    Ok(SocketAddr::new(ip, stream.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct() -> MediaWay {
        MediaWay::Direct("127.0.0.1:9".parse().unwrap())
    }

    #[test]
    fn what_is_described_is_found_again() {
        let [audio, video] = ["192.0.2.1:40000", "192.0.2.1:40002"].map(|a| a.parse().unwrap());
        let text = session_description(&[(MediaKind::Audio, audio), (MediaKind::Video, video)], 1, "sendrecv");
        assert_eq!(media_address(text.as_bytes(), MediaKind::Audio).unwrap(), audio);
        assert_eq!(media_address(text.as_bytes(), MediaKind::Video).unwrap(), video);
        let refused = text.replace("m=video 40002", "m=video 0");
        let error = media_address(refused.as_bytes(), MediaKind::Video).unwrap_err().to_string();
        assert_eq!(error, "the other side's media description: it takes no video");
        // An address of the stream's own comes before the session's.
        let own = text.replace("RTP/AVP 96\r\n", "RTP/AVP 96\r\nc=IN IP4 192.0.2.9\r\n");
        assert_eq!(media_address(own.as_bytes(), MediaKind::Video).unwrap().to_string(), "192.0.2.9:40002");
        let six: SocketAddr = "[2001:db8::1]:40000".parse().unwrap();
        let text = session_description(&[(MediaKind::Audio, six)], 1, "sendrecv");
        assert_eq!(media_address(text.as_bytes(), MediaKind::Audio).unwrap(), six);
        for wrong in
            [&b""[..], b"\xff\x00", b"v=0\r\n", b"v=0\r\no=- 1 1 IN IP4 a\r\ns=-\r\nt=0 0\r\nm=audio 5 RTP/AVP 0\r\n"]
        {
            assert!(media_address(wrong, MediaKind::Audio).is_err());
        }
    }

    #[test]
    fn jitter_is_that_of_the_rfc_and_nothing_counts_twice() {
        let mut arrivals = Arrivals::default();
        let at = |ms: u64| Duration::from_millis(ms);
        // Every 20 ms, 160 ticks: no jitter, also where the time goes round.
        for (n, ms) in [(0_u16, 0), (1, 20), (2, 40)] {
            arrivals.add((7, n, (u32::MAX - 100).wrapping_add(160 * u32::from(n))), at(ms), 8000);
        }
        assert_eq!((arrivals.received(), arrivals.jitter(8000)), (3, Duration::ZERO));
        // One that is 16 ms late: a sixteenth of it.
        arrivals.add((7, 3, (u32::MAX - 100).wrapping_add(480)), at(76), 8000);
        assert_eq!(arrivals.jitter(8000), at(1));
        // Once more, and somebody else's.
        arrivals.add((7, 3, 0), at(80), 8000);
        arrivals.add((8, 4, 0), at(80), 8000);
        assert_eq!((arrivals.received(), arrivals.jitter(8000)), (4, at(1)));
    }

    #[tokio::test]
    async fn two_sockets_hear_each_other_and_one_that_nobody_speaks_to_hears_nothing() {
        let lasting = Duration::from_millis(200);
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let one = MediaSocket::open(kind, direct()).await.unwrap();
            let other = MediaSocket::open(kind, direct()).await.unwrap();
            let (to_other, to_one) = (other.address(), one.address());
            let (heard, again) = tokio::join!(one.exchange(to_other, lasting), other.exchange(to_one, lasting));
            for heard in [heard.unwrap(), again.unwrap()] {
                assert_eq!((heard.sent, heard.received), (kind.packets(lasting), kind.packets(lasting)));
            }
        }
        let alone = MediaSocket::open(MediaKind::Audio, direct()).await.unwrap();
        let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let heard = alone.exchange(nobody.local_addr().unwrap(), lasting).await.unwrap();
        assert_eq!((heard.sent, heard.received), (10, 0));
    }
}
