//! Messages that Kamailio's `siptrace` mirrors as HEP version 3, one in a datagram: all that enters and leaves it, with
//! retransmissions and what the proxy says on its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use jiff::Timestamp;

/// One mirrored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirrored {
    /// When it came or went.
    pub(crate) time: Timestamp,
    /// `TCP`, `UDP` or `WS`, as the log names it.
    pub(crate) transport: &'static str,
    /// Who sent it.
    pub(crate) from: SocketAddr,
    /// Who got it.
    pub(crate) to: SocketAddr,
    /// Its text.
    pub(crate) text: String,
}

/// Reads a datagram; `None` when it is something else.
pub(crate) fn read(datagram: &[u8]) -> Option<Mirrored> {
    let whole = usize::from(number16(datagram.get(4..6)?)?);
    let mut rest = datagram.get(..whole)?.strip_prefix(b"HEP3")?.get(2..)?;
    let (mut from, mut to) = ((None, 0), (None, 0));
    let (mut seconds, mut micros, mut transport, mut text) = (0i64, 0i64, "UDP", None);
    while !rest.is_empty() {
        let (vendor, kind) = (number16(rest.get(..2)?)?, number16(rest.get(2..4)?)?);
        let length = usize::from(number16(rest.get(4..6)?)?);
        let value = rest.get(6..length)?;
        rest = rest.get(length..)?;
        match (vendor, kind) {
            (0, 0x02) => transport = if value == [6] { "TCP" } else { "UDP" },
            (0, 0x03 | 0x05) => from.0 = address(value),
            (0, 0x04 | 0x06) => to.0 = address(value),
            (0, 0x07) => from.1 = number16(value)?,
            (0, 0x08) => to.1 = number16(value)?,
            (0, 0x09) => seconds = number32(value)?,
            (0, 0x0a) => micros = number32(value)?,
            (0, 0x0f) => text = Some(String::from_utf8_lossy(value).into_owned()),
            _ => {}
        }
    }
    Some(Mirrored {
        time: Timestamp::from_microsecond(seconds * 1_000_000 + micros).ok()?,
        transport,
        from: SocketAddr::new(from.0?, from.1),
        to: SocketAddr::new(to.0?, to.1),
        text: text?,
    })
}

fn number16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn number32(bytes: &[u8]) -> Option<i64> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?).into())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn chunk(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 6).unwrap();
        [&[0, 0][..], &kind.to_be_bytes(), &length.to_be_bytes(), value].concat()
    }

    fn datagram(text: &str) -> Vec<u8> {
        let chunks = [
            chunk(0x01, &[2]),
            chunk(0x02, &[6]),
            chunk(0x03, &[10, 0, 0, 1]),
            chunk(0x04, &[10, 0, 0, 2]),
            chunk(0x07, &5058u16.to_be_bytes()),
            chunk(0x08, &5052u16.to_be_bytes()),
            chunk(0x09, &1_700_000_000u32.to_be_bytes()),
            chunk(0x0a, &250_000u32.to_be_bytes()),
            chunk(0x0b, &[1]),
            chunk(0x0c, &[0, 0, 0, 1]),
            chunk(0x0f, text.as_bytes()),
        ]
        .concat();
        let length = u16::try_from(chunks.len() + 6).unwrap();
        [b"HEP3", &length.to_be_bytes()[..], &chunks].concat()
    }

    #[test]
    fn a_datagram_is_read_and_a_broken_one_is_not() {
        let whole = datagram("ACK sip:a SIP/2.0\r\n\r\n");
        let read_back = read(&whole).unwrap();
        assert_eq!(read_back.time, Timestamp::from_millisecond(1_700_000_000_250).unwrap());
        assert_eq!((read_back.transport, read_back.text.as_str()), ("TCP", "ACK sip:a SIP/2.0\r\n\r\n"));
        assert_eq!(
            (read_back.from, read_back.to),
            ("10.0.0.1:5058".parse().unwrap(), "10.0.0.2:5052".parse().unwrap())
        );
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), None, "cut at {cut}");
        }
    }
}
