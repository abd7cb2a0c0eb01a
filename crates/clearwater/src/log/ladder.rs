use std::fmt::Write as _;

use jiff::Timestamp;

use super::{Direction, Identity, Record, SipMessage};

/// What a [`Ladder`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One dialogue or transaction, by its Call-ID.
    Call(String),
    /// Everything that names a subscriber.
    Subscriber(Identity),
}

impl Subject {
    /// Whether a record is about it.
    pub fn is_in(&self, record: &[u8]) -> bool {
        match self {
            Self::Call(id) => super::sip::find(record, id.as_bytes()).is_some(),
            Self::Subscriber(identity) => identity.is_mentioned_in(record),
        }
    }

    fn has(&self, message: &SipMessage<'_>) -> bool {
        match self {
            Self::Call(id) => message.call_id().is_some_and(|c| c == id.as_str()),
            Self::Subscriber(identity) => {
                ["From", "To", "P-Asserted-Identity", "P-Preferred-Identity"]
                    .iter()
                    .any(|h| message.headers(h).any(|v| identity.is_mentioned_in(v.as_bytes())))
                    || identity.is_mentioned_in(message.start_line().as_bytes())
            }
        }
    }
}

/// A SIP message that went from one party to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// When it was logged first.
    pub time: Timestamp,
    /// The column that it left.
    pub from: String,
    /// The column that it came to.
    pub to: String,
    /// The method, or the status with its reason.
    pub text: String,
    /// The status code, for a response.
    pub status: Option<u16>,
    /// The CSeq, which belongs to one request and its responses.
    pub cseq: String,
    /// The Call-ID.
    pub call_id: String,
    branch: String,
    sent: bool,
    received: bool,
}

/// The SIP messages of a call, or of a subscriber, over all components: a sequence diagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    lanes: Vec<String>,
    hops: Vec<Hop>,
}

/// Who logged a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged<'a> {
    /// Its column.
    pub lane: &'a str,
    /// When.
    pub time: Timestamp,
    /// What.
    pub record: &'a Record,
}

impl Ladder {
    /// The messages about a subject, from records in time order. `lane_of` names the column that an address (without
    /// its port) belongs to, where it is known; other peers are columns of their own.
    ///
    /// A message that both ends logged is one hop.
    pub fn of<'a>(
        records: impl IntoIterator<Item = Logged<'a>>,
        subject: &Subject,
        lane_of: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut ladder = Self::default();
        for logged in records {
            let Some(message) = SipMessage::of(logged.record) else { continue };
            if message.direction == Direction::Internal || !subject.has(&message) {
                continue;
            }
            let peer = String::from_utf8_lossy(message.peer).into_owned();
            let host = peer.rsplit_once(':').map_or(peer.as_str(), |(h, _)| h).trim_matches(['[', ']']);
            let peer = lane_of(host).unwrap_or_else(|| host.to_owned());
            let sent = message.direction == Direction::Sent;
            let own = logged.lane.to_owned();
            let (from, to) = if sent { (own, peer) } else { (peer, own) };
            let status = message.status();
            let line = message.start_line();
            let text = match status {
                Some(_) => line.trim_start_matches("SIP/2.0 ").to_owned(),
                None => line.split(' ').next().unwrap_or_default().to_owned(),
            };
            let value = |name: &str| message.header(name).unwrap_or_default().into_owned();
            ladder.add(Hop {
                time: logged.time,
                from,
                to,
                text,
                status,
                cseq: value("CSeq"),
                call_id: value("Call-ID"),
                branch: branch(&value("Via")),
                sent,
                received: !sent,
            });
        }
        ladder
    }

    fn add(&mut self, hop: Hop) {
        let other = self.hops.iter_mut().rev().find(|h| {
            (&h.from, &h.to, &h.text, &h.cseq, &h.call_id, &h.branch)
                == (&hop.from, &hop.to, &hop.text, &hop.cseq, &hop.call_id, &hop.branch)
                && !(h.sent && hop.sent || h.received && hop.received)
        });
        if let Some(other) = other {
            (other.sent, other.received) = (true, true);
            return;
        }
        for lane in [&hop.from, &hop.to] {
            if !self.lanes.contains(lane) {
                self.lanes.push(lane.clone());
            }
        }
        self.hops.push(hop);
    }

    /// The columns, in the order in which they appear.
    pub fn lanes(&self) -> &[String] {
        &self.lanes
    }

    /// The messages, in the order in which they were logged.
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// The first response that says that a request failed: 4xx other than the challenges 401 and 407, 5xx or 6xx.
    pub fn failure(&self) -> Option<&Hop> {
        self.hops.iter().find(|h| h.status.is_some_and(|s| s >= 400 && !matches!(s, 401 | 407)))
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let width = self.lanes.iter().map(|l| l.chars().count()).max().unwrap_or(0).max(20) + 4;
        let mut out = String::from("              ");
        for lane in &self.lanes {
            let _ = write!(out, "{lane:^width$}");
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        for hop in &self.hops {
            let at = |lane: &String| self.lanes.iter().position(|l| l == lane).unwrap_or(0) * width + width / 2;
            let (a, b) = (at(&hop.from), at(&hop.to));
            let mut line: Vec<char> = vec![' '; self.lanes.len() * width];
            (0..self.lanes.len()).for_each(|n| line[n * width + width / 2] = '│');
            let (low, high) = (a.min(b), a.max(b));
            let room = high.saturating_sub(low + 4);
            let label: String = hop.text.chars().take(room.max(1)).collect();
            if a == b {
                hop.text.chars().take(width / 2 - 2).enumerate().for_each(|(n, c)| line[a + 2 + n] = c);
                line[a] = '↺';
            } else {
                line[low + 1..high].fill('─');
                if b > a {
                    line[high - 1] = '▶';
                } else {
                    line[low + 1] = '◀';
                }
                let start = low + 2 + (room - label.chars().count()) / 2;
                label.chars().enumerate().for_each(|(n, c)| line[start + n] = c);
            }
            let drawn: String = line.into_iter().collect();
            let _ = writeln!(out, "{}  {}", hop.time.strftime("%H:%M:%S%.3f"), drawn.trim_end());
        }
        out
    }

    /// As a Mermaid sequence diagram.
    pub fn mermaid(&self) -> String {
        let plain = |s: &str| s.replace([';', '#', '\n'], " ");
        let mut out = String::from("sequenceDiagram\n");
        for (n, lane) in self.lanes.iter().enumerate() {
            let _ = writeln!(out, "  participant p{n} as {}", plain(lane));
        }
        let number = |lane: &String| self.lanes.iter().position(|l| l == lane).unwrap_or(0);
        for hop in &self.hops {
            let arrow = if hop.status.is_some() { "-->>" } else { "->>" };
            let _ = writeln!(out, "  p{}{arrow}p{}: {}", number(&hop.from), number(&hop.to), plain(&hop.text));
        }
        out
    }

    /// As an SVG picture.
    pub fn svg(&self) -> String {
        const COLUMN: usize = 200;
        const ROW: usize = 34;
        let (wide, high) = (self.lanes.len() * COLUMN + 110, self.hops.len() * ROW + 80);
        let x = |lane: &String| self.lanes.iter().position(|l| l == lane).unwrap_or(0) * COLUMN + 110 + COLUMN / 2;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<rect width=\"{wide}\" height=\"{high}\" fill=\"#fff\"/>\n<defs><marker id=\"a\" \
             viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path \
             d=\"M0 0 8 4 0 8z\"/></marker></defs>\n"
        );
        for lane in &self.lanes {
            let x = x(lane);
            let _ = writeln!(
                out,
                "<text x=\"{x}\" y=\"24\" text-anchor=\"middle\" font-weight=\"bold\">{}</text>\n<line x1=\"{x}\" \
                 y1=\"34\" x2=\"{x}\" y2=\"{}\" stroke=\"#999\"/>",
                escape(lane),
                high - 10
            );
        }
        for (n, hop) in self.hops.iter().enumerate() {
            let (from, to, y) = (x(&hop.from), x(&hop.to), n * ROW + 64);
            let colour = if hop.status.is_some_and(|s| s >= 400 && !matches!(s, 401 | 407)) { "#c00" } else { "#000" };
            let _ = writeln!(
                out,
                "<text x=\"8\" y=\"{y}\" fill=\"#666\" font-size=\"11\">{}</text>\n<line x1=\"{from}\" y1=\"{y}\" \
                 x2=\"{to}\" y2=\"{y}\" stroke=\"{colour}\" marker-end=\"url(#a)\"/>\n<text x=\"{}\" y=\"{}\" \
                 text-anchor=\"middle\" fill=\"{colour}\">{}</text>",
                hop.time.strftime("%H:%M:%S%.3f"),
                usize::midpoint(from, to),
                y - 5,
                escape(&hop.text)
            );
        }
        out + "</svg>\n"
    }
}

fn branch(via: &str) -> String {
    via.split(';').find_map(|p| p.trim().strip_prefix("branch=")).unwrap_or_default().trim().to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::{Assembler, LogGrammar};
    use super::*;

    fn record(way: &str, peer: &str, first: &str, branch: &str) -> Record {
        let body = format!(
            "{first}\r\nVia: SIP/2.0/TCP 10.0.0.9;branch={branch}\r\nFrom: <sip:6505550001@ims.example>\r\nCall-ID: \
             c1\r\nCSeq: 1 INVITE\r\n\r\n"
        );
        let (verb, word) = if way == "RX" { ("RX", "from") } else { ("TX", "to") };
        let text = format!(
            "23-11-2026 10:00:00.123 UTC Verbose common_sip_processing.cpp:87: {verb} {} bytes Request msg \
             INVITE/cseq=1 (rdata0x1) {word} TCP {peer}:5060:\n--start msg--\n\n{body}\n--end msg--\n",
            body.len()
        );
        let mut assembler = Assembler::new(LogGrammar::Cpp);
        text.as_bytes().split_inclusive(|b| *b == b'\n').find_map(|l| assembler.push(l)).unwrap()
    }

    fn ladder(subject: &Subject) -> Ladder {
        let records = [
            ("bono", record("RX", "192.0.2.1", "INVITE sip:b@ims.example SIP/2.0", "z1")),
            ("bono", record("TX", "10.0.0.2", "INVITE sip:b@ims.example SIP/2.0", "z2")),
            ("sprout", record("RX", "10.0.0.1", "INVITE sip:b@ims.example SIP/2.0", "z2")),
            ("sprout", record("TX", "10.0.0.1", "SIP/2.0 404 Not Found", "z2")),
            ("bono", record("RX", "10.0.0.2", "SIP/2.0 404 Not Found", "z2")),
            ("bono", record("TX", "192.0.2.1", "SIP/2.0 404 Not Found", "z1")),
        ];
        let time = "2026-11-23T10:00:00.123Z".parse().unwrap();
        Ladder::of(records.iter().map(|(lane, record)| Logged { lane, time, record }), subject, |host| match host {
            "10.0.0.1" => Some("bono".to_owned()),
            "10.0.0.2" => Some("sprout".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn a_message_that_both_ends_log_is_drawn_once() {
        let drawn = ladder(&Subject::Call("c1".to_owned()));
        assert_eq!(drawn.lanes(), ["192.0.2.1", "bono", "sprout"]);
        let hops: Vec<_> = drawn.hops().iter().map(|h| (h.from.as_str(), h.to.as_str(), h.text.as_str())).collect();
        assert_eq!(
            hops,
            [
                ("192.0.2.1", "bono", "INVITE"),
                ("bono", "sprout", "INVITE"),
                ("sprout", "bono", "404 Not Found"),
                ("bono", "192.0.2.1", "404 Not Found"),
            ]
        );
        assert_eq!(drawn.failure().map(|h| h.from.as_str()), Some("sprout"));
        let text = drawn.text();
        let lines: Vec<_> = text.lines().map(str::trim_start).collect();
        assert_eq!(lines[0], "192.0.2.1                  bono                   sprout");
        assert_eq!(lines[1], "10:00:00.123              │────────INVITE────────▶│                       │");
        assert_eq!(lines[2], "10:00:00.123              │                       │────────INVITE────────▶│");
        assert_eq!(lines[3], "10:00:00.123              │                       │◀───404 Not Found──────│");
        assert_eq!(lines[4..], ["10:00:00.123              │◀───404 Not Found──────│                       │"]);
        assert!(drawn.mermaid().contains("  p1->>p2: INVITE\n  p2-->>p1: 404 Not Found\n"), "{}", drawn.mermaid());
        assert!(drawn.svg().contains("404 Not Found"));
    }

    #[test]
    fn a_subscriber_is_found_in_any_form() {
        let by = |text: &str| ladder(&Subject::Subscriber(text.parse().unwrap())).hops().len();
        assert_eq!((by("6505550001"), by("sip:6505550001@ims.example"), by("6505550002")), (4, 4, 0));
    }
}
