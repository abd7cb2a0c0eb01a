//! Messages as a capture that Wireshark and sngrep open: each as one packet, as it went from its sender to its receiver.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use clearwater::log::{Ladder, LadderNotes};
use etherparse::PacketBuilder;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, PcapError};

/// The port of a party whose other end did not log it.
const PORT: u16 = 5060;
/// Nanoseconds, as the crate writes them.
const RESOLUTION: u8 = 9;
const TIME_TO_LIVE: u8 = 64;
const WINDOW: u16 = u16::MAX;
/// The most of a message that is in one packet: IPv4 and UDP count their own headers into 65535 bytes. What goes over a
/// connection is split, as TCP does; a datagram that long is none, and its rest is left out.
const LONGEST: usize = 65_000;

/// The addresses of columns, as far as messages tell, or the cluster.
struct Addresses {
    hosts: BTreeMap<String, IpAddr>,
    /// Those that were made up.
    made_up: Vec<String>,
}

impl Addresses {
    fn new(ladder: &Ladder, known: impl Fn(&str) -> Option<IpAddr>) -> Self {
        let mut hosts = BTreeMap::new();
        for hop in ladder.hops() {
            for (address, lane) in [(&hop.source, &hop.from), (&hop.target, &hop.to)] {
                if let Some(address) = address.as_ref().and_then(|a| a.parse::<SocketAddr>().ok()) {
                    hosts.insert(lane.to_string(), address.ip());
                }
            }
        }
        let mut made_up = Vec::new();
        let messages = ladder.seen(LadderNotes::Off, false);
        for lane in messages.lanes() {
            let whole = ladder.whole_name(lane).unwrap_or(lane);
            if !hosts.contains_key(lane.as_str()) {
                let address = known(whole).unwrap_or_else(|| {
                    made_up.push(lane.to_string());
                    // For documentation (RFC 5737).
                    Ipv4Addr::new(192, 0, 2, u8::try_from(made_up.len()).unwrap_or(u8::MAX)).into()
                });
                hosts.insert(lane.to_string(), address);
            }
        }
        Self { hosts, made_up }
    }

    fn of(&self, lane: &str, address: Option<&str>) -> SocketAddr {
        let host = || self.hosts.get(lane).copied().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        address.and_then(|address| address.parse().ok()).unwrap_or_else(|| SocketAddr::new(host(), PORT))
    }
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) messages: usize,
    /// The columns whose addresses are made up because no log tells them.
    pub(super) made_up: Vec<String>,
    /// How many messages by UDP were longer than a packet may be, and are cut.
    pub(super) cut: usize,
}

/// Writes the messages of a ladder that were kept. Nothing is at the path unless all of them are.
pub(super) fn write(path: &Path, ladder: &Ladder, known: impl Fn(&str) -> Option<IpAddr>) -> io::Result<Written> {
    let (bytes, written) = capture(ladder, known)?;
    std::fs::write(path, bytes)?;
    Ok(written)
}

fn capture(ladder: &Ladder, known: impl Fn(&str) -> Option<IpAddr>) -> io::Result<(Vec<u8>, Written)> {
    let addresses = Addresses::new(ladder, known);
    let mut out = PcapNgWriter::new(Vec::new()).map_err(failed)?;
    let resolution = InterfaceDescriptionOption::IfTsResol(RESOLUTION);
    let interface = InterfaceDescriptionBlock { linktype: DataLink::RAW, snaplen: 0, options: vec![resolution] };
    out.write_block(&interface.into_block()).map_err(failed)?;
    let mut sent = HashMap::new();
    let mut written = Written::default();
    for hop in ladder.hops().iter().filter(|hop| hop.function.is_none()) {
        let Some(message) = &hop.message else { continue };
        let parties = (addresses.of(&hop.from, hop.source.as_deref()), addresses.of(&hop.to, hop.target.as_deref()));
        let is_udp = hop.transport.eq_ignore_ascii_case("UDP");
        let all = message.chunks(LONGEST).take(if is_udp { 1 } else { usize::MAX });
        let is_cut = is_udp && message.len() > LONGEST;
        let mut left = message.len();
        for part in all {
            left = left.saturating_sub(part.len());
            // What a daemon cut off had its place on the wire: the packet is one of which not all was kept.
            let lost = if left == 0 { hop.length.saturating_sub(message.len()).min(LONGEST - part.len()) } else { 0 };
            let mut data = packet(is_udp, &[part, &vec![0; lost]].concat(), parties, &mut sent)?;
            let original_len = u32::try_from(data.len()).unwrap_or(u32::MAX);
            data.truncate(data.len() - lost);
            let cut = if is_cut { ", cut: no packet is as long as this message" } else { "" };
            let comment = format!("{} → {}{cut}", hop.from, hop.to);
            let block = EnhancedPacketBlock {
                interface_id: 0,
                timestamp: Duration::try_from(hop.time.as_duration()).unwrap_or_default(),
                original_len,
                data: Cow::Owned(data),
                options: vec![EnhancedPacketOption::Comment(comment.into())],
            };
            out.write_block(&block.into_block()).map_err(failed)?;
        }
        written.messages += 1;
        written.cut += usize::from(is_cut);
    }
    written.made_up = addresses.made_up;
    Ok((out.into_inner(), written))
}

fn failed(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

/// A message, or a part of it, in the frame of its transport. `written` counts what went over a connection each way, so that TCP's numbers
/// follow each other.
fn packet(
    is_udp: bool,
    message: &[u8],
    (from, to): (SocketAddr, SocketAddr),
    written: &mut HashMap<(SocketAddr, SocketAddr), u32>,
) -> io::Result<Vec<u8>> {
    let ip = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), TIME_TO_LIVE),
        (from, to) => PacketBuilder::ipv6(six(from), six(to), TIME_TO_LIVE),
    };
    let mut data = Vec::with_capacity(message.len() + 64);
    let built = if is_udp {
        ip.udp(from.port(), to.port()).write(&mut data, message)
    } else {
        let acknowledged = written.get(&(to, from)).copied().unwrap_or(1);
        let sequence = written.entry((from, to)).or_insert(1);
        let own = *sequence;
        *sequence = sequence.wrapping_add(u32::try_from(message.len()).unwrap_or(u32::MAX));
        ip.tcp(from.port(), to.port(), own, WINDOW).ack(acknowledged).psh().write(&mut data, message)
    };
    built.map_err(io::Error::other)?;
    Ok(data)
}

fn six(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
