//! Messages as a capture that Wireshark and sngrep open: each as one packet, as it went from its sender to its receiver.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use clearwater::log::{Ladder, LadderHop, LadderNotes};
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

    fn of(&self, lane: &str, logged: Option<&str>) -> SocketAddr {
        let host = || self.hosts.get(lane).copied().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        logged.and_then(|address| address.parse().ok()).unwrap_or_else(|| SocketAddr::new(host(), PORT))
    }
}

/// Writes the messages of a ladder that were kept. Yields how many there are, and the columns whose addresses are made up
/// because no log tells them.
pub(super) fn write(
    path: &Path,
    ladder: &Ladder,
    known: impl Fn(&str) -> Option<IpAddr>,
) -> io::Result<(usize, Vec<String>)> {
    let addresses = Addresses::new(ladder, known);
    let mut out = PcapNgWriter::new(BufWriter::new(File::create(path)?)).map_err(failed)?;
    let resolution = InterfaceDescriptionOption::IfTsResol(RESOLUTION);
    let interface = InterfaceDescriptionBlock { linktype: DataLink::RAW, snaplen: 0, options: vec![resolution] };
    out.write_block(&interface.into_block()).map_err(failed)?;
    let mut written = HashMap::new();
    let mut count = 0;
    for hop in ladder.hops().iter().filter(|hop| hop.function.is_none()) {
        let Some(message) = &hop.message else { continue };
        let parties = (addresses.of(&hop.from, hop.source.as_deref()), addresses.of(&hop.to, hop.target.as_deref()));
        let data = packet(hop, message, parties, &mut written)?;
        let comment = format!("{} → {}", hop.from, hop.to);
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::try_from(hop.time.as_duration()).unwrap_or_default(),
            original_len: u32::try_from(data.len()).unwrap_or(u32::MAX),
            data: Cow::Owned(data),
            options: vec![EnhancedPacketOption::Comment(comment.into())],
        };
        out.write_block(&block.into_block()).map_err(failed)?;
        count += 1;
    }
    out.into_inner().flush()?;
    Ok((count, addresses.made_up))
}

fn failed(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

/// A message in the frame of its transport. `written` counts what went over a connection each way, so that TCP's numbers
/// follow each other.
fn packet(
    hop: &LadderHop,
    message: &[u8],
    (from, to): (SocketAddr, SocketAddr),
    written: &mut HashMap<(SocketAddr, SocketAddr), u32>,
) -> io::Result<Vec<u8>> {
    let ip = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), TIME_TO_LIVE),
        (from, to) => PacketBuilder::ipv6(six(from), six(to), TIME_TO_LIVE),
    };
    let mut data = Vec::with_capacity(message.len() + 64);
    let built = if hop.transport.eq_ignore_ascii_case("UDP") {
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
