//! SIP messages as sprout and bono log them (sprout `src/common_sip_processing.cpp`), and the way of a request from
//! sproutlet to sproutlet inside one sprout (`src/sproutletproxy.cpp`).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::hep::Mirrored;

/// Transactions whose way through the sproutlets is remembered.
const REMEMBERED: usize = 64;

/// One log call at Verbose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// `file:line`
    pub(crate) at: &'static str,
    /// What follows the place.
    pub(crate) text: String,
}

/// Puts messages into words.
pub(crate) struct SipLog {
    own: Option<IpAddr>,
    ports: Vec<u16>,
    ways: VecDeque<Way>,
}

/// A request that entered, and the sproutlets it went through.
struct Way {
    call_id: String,
    cseq: String,
    text: String,
    sproutlets: Vec<String>,
}

impl SipLog {
    /// For the proxy at this address, listening on these ports.
    pub(crate) fn new(own: Option<IpAddr>, ports: Vec<u16>) -> Self {
        Self { own, ports, ways: VecDeque::new() }
    }

    /// The calls that a message makes: what goes back through sproutlets is said before it leaves.
    pub(crate) fn message(&mut self, message: &Mirrored) -> Vec<Call> {
        if self.is_inside(message) {
            return Vec::new();
        }
        let (text, what) = (message.text.as_str(), describe(&message.text));
        let (size, mark) = (text.len(), mark(text));
        if self.received(message) {
            if !text.starts_with("SIP/2.0 ") {
                self.enter(text);
            }
            let peer = message.from;
            let head = format!("RX {size} bytes {what} (rdata0x{mark}) from {} {peer}:", message.transport);
            return vec![Call { at: "common_sip_processing.cpp:77", text: whole(&head, text) }];
        }
        let mut calls = self.upstream(text);
        let peer = message.to;
        let head = format!("TX {size} bytes {what} (tdta0x{mark}) to {} {peer}:", message.transport);
        calls.push(Call { at: "common_sip_processing.cpp:93", text: whole(&head, text) });
        calls
    }

    /// A request that entered goes to a sproutlet; `None` where it is not known.
    pub(crate) fn downstream(&mut self, sproutlet: &str, call_id: &str, cseq: &str) -> Option<Call> {
        let way = self.ways.iter_mut().find(|w| w.call_id == call_id && w.cseq == cseq)?;
        way.sproutlets.push(sproutlet.to_owned());
        Some(routing(&way.text, "downstream", sproutlet))
    }

    /// A NOTIFY is sprout's own: how it comes to the proxy that sends it is nothing on the wire.
    fn is_inside(&self, message: &Mirrored) -> bool {
        let own = |place: SocketAddr| self.own == Some(place.ip());
        let ends = [message.from, message.to];
        ends.iter().all(|end| own(*end))
            && ends.iter().any(|end| !self.ports.contains(&end.port()))
            && header(&message.text, "CSeq", "CSeq").ends_with(" NOTIFY")
    }

    fn received(&self, message: &Mirrored) -> bool {
        let own = |ip: IpAddr| self.own == Some(ip);
        // To itself it leaves one of its own ports and enters from another.
        own(message.to.ip()) && !(own(message.from.ip()) && self.ports.contains(&message.from.port()))
    }

    fn enter(&mut self, text: &str) {
        let (call_id, cseq) = (header(text, "Call-ID", "i"), header(text, "CSeq", "CSeq"));
        self.ways.retain(|w| w.call_id != call_id || w.cseq != cseq);
        if self.ways.len() == REMEMBERED {
            self.ways.pop_front();
        }
        let way =
            Way { call_id: call_id.to_owned(), cseq: cseq.to_owned(), text: text.to_owned(), sproutlets: Vec::new() };
        self.ways.push_back(way);
    }

    fn upstream(&self, text: &str) -> Vec<Call> {
        // 100 is the transaction's own and never seen by a sproutlet.
        if !text.starts_with("SIP/2.0 ") || text.starts_with("SIP/2.0 100 ") {
            return Vec::new();
        }
        let (call_id, cseq) = (header(text, "Call-ID", "i"), header(text, "CSeq", "CSeq"));
        let Some(way) = self.ways.iter().find(|w| w.call_id == call_id && w.cseq == cseq) else {
            return Vec::new();
        };
        let above = way.sproutlets.len().saturating_sub(1);
        way.sproutlets[..above].iter().rev().map(|to| routing(text, "upstream", to)).collect()
    }
}

fn routing(text: &str, direction: &str, sproutlet: &str) -> Call {
    let (what, mark, size) = (describe(text), mark(text), text.len());
    let head = format!("Routing {what} (tdta0x{mark}) ({size} bytes) to {direction} sproutlet {sproutlet}:");
    Call { at: "sproutletproxy.cpp:2816", text: whole(&head, text) }
}

fn whole(head: &str, text: &str) -> String {
    format!("{head}\n--start msg--\n\n{text}\n--end msg--")
}

/// `Request msg INVITE/cseq=1` or `Response msg 200/INVITE/cseq=1`.
fn describe(text: &str) -> String {
    let mut cseq = header(text, "CSeq", "CSeq").split_whitespace();
    let number = cseq.next().unwrap_or("0");
    let method = cseq.next().unwrap_or("UNKNOWN");
    match text.strip_prefix("SIP/2.0 ") {
        Some(rest) => format!("Response msg {}/{method}/cseq={number}", rest.get(..3).unwrap_or("000")),
        None => format!("Request msg {}/cseq={number}", text.split(' ').next().unwrap_or(method)),
    }
}

/// The value of a header, by its name or its short one.
fn header<'a>(text: &'a str, name: &str, short: &str) -> &'a str {
    let head = text.split("\r\n\r\n").next().unwrap_or(text);
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(n, _)| n.trim().eq_ignore_ascii_case(name) || n.trim().eq_ignore_ascii_case(short))
        .map_or("", |(_, value)| value.trim())
}

/// In place of the address of the message in memory.
fn mark(text: &str) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("7f{:010x}", hasher.finish() & 0xff_ffff_fff0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPROUT: &str = "10.0.0.2";

    fn sprout() -> SipLog {
        SipLog::new(SPROUT.parse().ok(), vec![5052, 5054])
    }

    fn mirrored(from: &str, to: &str, text: &str) -> Mirrored {
        let time = jiff::Timestamp::UNIX_EPOCH;
        Mirrored { time, transport: "TCP", from: from.parse().unwrap(), to: to.parse().unwrap(), text: text.to_owned() }
    }

    fn request(method: &str) -> String {
        format!("{method} sip:a SIP/2.0\r\nCall-ID: c@x\r\nCSeq: 2 REGISTER\r\n\r\n")
    }

    #[test]
    fn a_message_is_said_with_its_size_and_peer() {
        let calls = sprout().message(&mirrored("10.0.0.1:5058", "10.0.0.2:5052", &request("REGISTER")));
        let head = calls[0].text.split(" (").next().unwrap();
        assert_eq!(head, format!("RX {} bytes Request msg REGISTER/cseq=2", request("REGISTER").len()));
        assert!(calls[0].text.contains(") from TCP 10.0.0.1:5058:\n--start msg--\n\nREGISTER sip:a"), "{calls:?}");
        assert!(calls[0].text.ends_with("\r\n\r\n\n--end msg--"), "{calls:?}");
        let own = sprout().message(&mirrored("10.0.0.2:5052", "10.0.0.1:41000", &request("SIP/2.0 408 x\r\nz:")));
        assert!(own[0].text.starts_with("TX ") && own[0].text.contains("Response msg 408/REGISTER/cseq=2 (tdta0x7f"));
    }

    #[test]
    fn to_itself_a_message_leaves_and_then_enters() {
        let mut log = sprout();
        let left = log.message(&mirrored("10.0.0.2:5052", "10.0.0.2:5054", &request("REGISTER")));
        let entered = log.message(&mirrored("10.0.0.2:41000", "10.0.0.2:5054", &request("REGISTER")));
        assert!(left[0].text.starts_with("TX ") && entered[0].text.starts_with("RX "), "{left:?} {entered:?}");
    }

    #[test]
    fn what_sprout_sends_by_itself_is_said_when_it_leaves() {
        let mut log = sprout();
        let notify = "NOTIFY sip:a SIP/2.0\r\nCall-ID: c@x\r\nCSeq: 2 NOTIFY\r\n\r\n";
        let answer = "SIP/2.0 200 OK\r\nCall-ID: c@x\r\nCSeq: 2 NOTIFY\r\n\r\n";
        assert!(log.message(&mirrored("10.0.0.2:41000", "10.0.0.2:5054", notify)).is_empty());
        assert!(log.message(&mirrored("10.0.0.2:5054", "10.0.0.2:41000", answer)).is_empty());
        assert!(log.message(&mirrored("10.0.0.2:41001", "10.0.0.1:5058", notify))[0].text.starts_with("TX "));
    }

    #[test]
    fn a_request_goes_down_and_its_answer_up_through_the_sproutlets() {
        let mut log = sprout();
        assert_eq!(log.downstream("icscf", "c@x", "2 REGISTER"), None, "nothing entered yet");
        log.message(&mirrored("10.0.0.1:5058", "10.0.0.2:5052", &request("REGISTER")));
        for sproutlet in ["icscf", "authentication", "registrar"] {
            let call = log.downstream(sproutlet, "c@x", "2 REGISTER").unwrap();
            assert!(
                call.text.contains(&format!(" bytes) to downstream sproutlet {sproutlet}:\n--start msg--\n\nREGISTER"))
            );
        }
        let trying = "SIP/2.0 100 Trying\r\nCall-ID: c@x\r\nCSeq: 2 REGISTER\r\n\r\n";
        assert_eq!(log.message(&mirrored("10.0.0.2:5052", "10.0.0.1:5058", trying)).len(), 1);
        let ok = "SIP/2.0 200 OK\r\ni: c@x\r\nCSeq: 2 REGISTER\r\n\r\n";
        let calls = log.message(&mirrored("10.0.0.2:5052", "10.0.0.1:5058", ok));
        let heads: Vec<&str> = calls.iter().map(|c| c.text.lines().next().unwrap()).collect();
        assert!(heads[0].ends_with("to upstream sproutlet authentication:"), "{heads:?}");
        assert!(heads[1].ends_with("to upstream sproutlet icscf:"), "{heads:?}");
        assert!(heads[2].starts_with("TX ") && heads.len() == 3, "{heads:?}");
    }

    #[test]
    fn no_more_than_so_many_transactions_are_remembered() {
        let mut log = sprout();
        for i in 0..200 {
            let text = format!("INVITE sip:a SIP/2.0\r\nCall-ID: {i}\r\nCSeq: 1 INVITE\r\n\r\n");
            log.message(&mirrored("10.0.0.1:5058", "10.0.0.2:5052", &text));
        }
        assert_eq!(log.ways.len(), REMEMBERED);
        assert!(
            log.downstream("icscf", "199", "1 INVITE").is_some() && log.downstream("icscf", "1", "1 INVITE").is_none()
        );
    }
}
