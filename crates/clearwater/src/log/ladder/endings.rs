//! How calls end, each planted in logs as bono and sprout write them: the right one is named, from pods that are read live
//! and from files that were saved, whatever their clocks say.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::super::{Dialog, DialogOutcome, Dialogs, Direction, LogGrammar};
use super::*;

/// The programs that log, with their addresses and how much their clocks are wrong, in milliseconds: in each column another
/// case. Everybody else is a peer that has a letter.
const PROGRAMS: [(&str, &str, [i64; 3]); 2] =
    [("bono", "10.0.0.1", [0, 40, -3000]), ("sprout", "10.0.0.2", [0, -25, 2000])];
const CASES: usize = 3;

fn address(party: &str) -> String {
    match PROGRAMS.iter().find(|(name, ..)| *name == party) {
        Some((_, address, _)) => format!("{address}:5060"),
        None if party == "x" => "192.0.2.9:5060".to_owned(),
        // Phones behind one address.
        None => format!("192.0.2.1:{}", 5000 + u32::from(party.as_bytes()[0])),
    }
}

fn is_program(party: &str) -> bool {
    PROGRAMS.iter().any(|(name, ..)| *name == party)
}

/// One message on one hop.
struct Planted<'r> {
    from: &'r str,
    to: &'r str,
    /// The method or the status.
    text: &'r str,
    cseq: String,
    /// Which it is of all.
    number: usize,
    /// The branches of the Vias, the topmost first.
    vias: Vec<String>,
    /// The tag of who asks.
    tag: &'r str,
    has_credentials: bool,
}

/// Reads `a>bono>sprout 486/2-INVITE branch`: the CSeq is `1 INVITE` where none is named, `+` behind a method is an answer to a
/// challenge, and `branch@tag` names the tag of who asks.
fn planted(rows: &str) -> Vec<Planted<'_>> {
    let mut all: Vec<Planted<'_>> = Vec::new();
    for row in rows.split(',') {
        let mut words = row.split_whitespace();
        let (path, message) = (words.next().unwrap(), words.next().unwrap());
        let fork = words.next().unwrap_or_default();
        let (fork, tag) = fork.split_once('@').unwrap_or((fork, "a"));
        let (text, cseq) = message.split_once('/').unwrap_or((message, "1-INVITE"));
        let parties: Vec<_> = path.split('>').collect();
        for pair in parties.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let (asks, answers) = if text.parse::<u16>().is_ok() { (to, from) } else { (from, to) };
            let number = cseq.split('-').next().unwrap();
            let (cseq, branch) = (cseq.replace('-', " "), format!("z9hG4bK{asks}{answers}{number}{fork}{tag}"));
            // The Vias of what it is the same as, or one more than what it was sent for; each hop has its own CANCEL.
            let same = |p: &&Planted<'_>| p.vias[0] == branch && p.cseq == cseq;
            let above =
                |p: &&Planted<'_>| p.to == asks && p.cseq == cseq && p.tag == tag && p.text.parse::<u16>().is_err();
            let known = all.iter().find(same).map(|p| p.vias.clone());
            let vias = known.unwrap_or_else(|| {
                let above = all.iter().rev().find(above).filter(|_| !cseq.ends_with("CANCEL"));
                std::iter::once(branch).chain(above.into_iter().flat_map(|p| p.vias.clone())).collect()
            });
            all.push(Planted {
                number: all.len(),
                from,
                to,
                text: text.trim_end_matches('+'),
                cseq,
                vias,
                tag,
                has_credentials: text.ends_with('+'),
            });
        }
    }
    all
}

impl Planted<'_> {
    /// As one of its ends logs it.
    fn record(&self, is_sent: bool) -> Record {
        let is_answer = self.text.parse::<u16>().is_ok();
        let first = if is_answer {
            format!("SIP/2.0 {} Reason", self.text)
        } else {
            format!("{} sip:2@ims.example SIP/2.0", self.text)
        };
        let vias: String = self.vias.iter().map(|via| format!("Via: SIP/2.0/TCP 10.0.0.9;branch={via}\r\n")).collect();
        let route = if is_program(self.to) && !is_answer { "Route: <sip:x.ims.example;lr>\r\n" } else { "" };
        let answer = if self.has_credentials { "\"0123abcd\"" } else { "\"\"" };
        // What is asked within a call has the tags of both from the beginning.
        let tag = if self.cseq.ends_with("INFO") { ";tag=z" } else { "" };
        let message = format!(
            "{first}\r\n{vias}{route}From: \"Ann\" <sip:1@ims.example>;tag={}\r\nTo: \
             <sip:2@ims.example>{tag}\r\nCall-ID: c1@192.0.2.1\r\nCSeq: {}\r\nAuthorization: Digest username=\"1\", \
             response={answer}\r\n\r\n",
            self.tag, self.cseq
        );
        let (verb, word, peer) = if is_sent { ("TX", "to", self.to) } else { ("RX", "from", self.from) };
        Record::new(
            LogGrammar::Cpp,
            format!(
                "23-11-2026 10:00:00.000 UTC Verbose common_sip_processing.cpp:87: {verb} {} bytes Request msg \
                 x/cseq=1 (rdata0x{}) {word} TCP {}:\n--start msg--\n\n{message}\n--end msg--\n",
                message.len(),
                self.number,
                address(peer)
            ),
        )
    }
}

/// Who logged what, in the order of each log.
fn logs(planted: &[Planted<'_>], case: usize) -> Vec<Vec<(&'static str, Timestamp, Record)>> {
    let begin: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let of = |(program, _, wrong): (&'static str, &str, [i64; CASES])| {
        let at = |n: usize| begin + SignedDuration::from_millis(i64::try_from(n).unwrap() + wrong[case]);
        let own = |(n, hop): (usize, &Planted<'_>)| {
            let sent = (hop.from == program).then(|| (program, at(n), hop.record(true)));
            let received = (hop.to == program).then(|| (program, at(n), hop.record(false)));
            sent.into_iter().chain(received)
        };
        planted.iter().enumerate().flat_map(own).collect()
    };
    PROGRAMS.map(of).into()
}

fn ladder(records: &[(&'static str, Timestamp, Record)], lane_of: impl Fn(&str) -> Option<String>) -> Ladder {
    let logged = records.iter().map(|(lane, time, record)| Logged { lane, component: "", time: *time, record });
    Ladder::of(logged, &Traced::Call("c1@192.0.2.1".to_owned()), lane_of)
}

/// The letter of a peer, by its column.
fn party(ladder: &Ladder, lane: &str) -> String {
    let whole = ladder.whole_name(lane).map_or(lane, |name| name.as_str());
    let letters = (b'a'..=b'z').map(|letter| char::from(letter).to_string());
    letters
        .into_iter()
        .find(|letter| address(letter) == whole || (letter == "x" && whole == "192.0.2.9"))
        .unwrap_or_else(|| lane.to_owned())
}

fn verdict(ladder: &Ladder) -> String {
    let party = |lane: &Printable| party(ladder, lane);
    let failure = |failure: CallFailure<'_>| match failure {
        CallFailure::Refused(hop) => format!("{} made {}", party(&hop.from), hop.text.trim_end_matches(" Reason")),
        CallFailure::Challenged(hop) => format!("{} leaves {}", party(&hop.to), hop.text.trim_end_matches(" Reason")),
        CallFailure::Unanswered(hop) => format!("{} is silent to {}", party(&hop.to), party(&hop.from)),
        CallFailure::Rang(hop) => format!("{} rings", party(&hop.to)),
        CallFailure::Unacknowledged(hop) => format!("{} does not acknowledge", party(&hop.to)),
        CallFailure::Cut(_) => "cut".to_owned(),
    };
    let all: Vec<_> = ladder.failures().into_iter().map(failure).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

/// What a list says of the same: how many calls there are, and which of them failed.
fn listed(records: &[(&'static str, Timestamp, Record)]) -> (usize, usize) {
    let mut dialogs = Dialogs::new(None);
    for (_, time, record) in records {
        dialogs.take(*time, &SipMessage::of(record).unwrap());
    }
    let all = dialogs.finish();
    let failed = |dialog: &&Dialog| matches!(dialog.outcome(), DialogOutcome::Failed | DialogOutcome::Unanswered);
    (all.len(), all.iter().filter(failed).count())
}

/// Nothing stands above what it came of: each program's messages are in the order in which it logged them.
fn is_in_order(ladder: &Ladder, planted: &[Planted<'_>], rows: &str) {
    for (program, ..) in PROGRAMS {
        let logged = planted.iter().filter(|p| p.from == program || p.to == program);
        let logged: Vec<_> = logged.map(|p| (p.from.to_owned(), p.to.to_owned(), p.text.to_owned())).collect();
        let drawn = ladder.hops().iter().filter(|h| h.from == *program || h.to == *program);
        let of = |hop: &LadderHop| {
            (party(ladder, &hop.from), party(ladder, &hop.to), hop.text.trim_end_matches(" Reason").to_owned())
        };
        assert_eq!(drawn.map(of).collect::<Vec<_>>(), logged, "{program}: {rows}");
    }
}

/// (how it went, who broke it)
const ENDINGS: [(&str, &str); 70] = [
    // Well.
    (
        "a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 180, b>bono>sprout>bono>a 200, a>bono>sprout>bono>b ACK/1-ACK, \
         b>bono>sprout>bono>a BYE/9-BYE, a>bono>sprout>bono>b 200/9-BYE",
        "-",
    ),
    (
        "a>bono>sprout REGISTER/1-REGISTER, sprout>bono>a 401/1-REGISTER, a>bono>sprout REGISTER+/2-REGISTER, \
         sprout>bono>a 200/2-REGISTER",
        "-",
    ),
    // It is refreshed: what was challenged with is too old.
    (
        "a>bono>sprout REGISTER/1-REGISTER, sprout>bono>a 401/1-REGISTER, a>bono>sprout REGISTER+/2-REGISTER, \
         sprout>bono>a 200/2-REGISTER, a>bono>sprout REGISTER+/3-REGISTER, sprout>bono>a 401/3-REGISTER, \
         a>bono>sprout REGISTER+/4-REGISTER, sprout>bono>a 200/4-REGISTER",
        "-",
    ),
    ("a>bono>sprout INVITE, sprout>bono>a 407, a>bono>sprout INVITE+/2-INVITE, sprout>bono>a 200/2-INVITE", "-"),
    // A challenge that is not taken up.
    ("a>bono>sprout REGISTER/1-REGISTER, sprout>bono>a 401/1-REGISTER", "a leaves 401"),
    ("a>bono INVITE, bono>a 407", "a leaves 407"),
    // A wrong password.
    (
        "a>bono>sprout REGISTER/1-REGISTER, sprout>bono>a 401/1-REGISTER, a>bono>sprout REGISTER+/2-REGISTER, \
         sprout>bono>a 401/2-REGISTER",
        "sprout made 401",
    ),
    (
        "a>bono>sprout REGISTER/1-REGISTER, sprout>bono>a 401/1-REGISTER, a>bono>sprout REGISTER+/2-REGISTER, \
         sprout>bono>a 403/2-REGISTER",
        "sprout made 403",
    ),
    // Refused: by the callee, by servers of others, by sprout, by bono.
    ("a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 486", "b made 486"),
    ("a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 503", "b made 503"),
    ("a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 180, b>bono>sprout>bono>a 603", "b made 603"),
    ("a>bono>sprout>x INVITE, x>sprout>bono>a 503", "x made 503"),
    ("a>bono>sprout>x INVITE, x>sprout 100, x>sprout>bono>a 500", "x made 500"),
    ("a>bono>sprout INVITE, sprout>bono>a 404", "sprout made 404"),
    ("a>bono>sprout INVITE, sprout>bono>a 403", "sprout made 403"),
    ("a>bono>sprout MESSAGE/1-MESSAGE, sprout>bono>a 480/1-MESSAGE", "sprout made 480"),
    ("a>bono INVITE, bono>a 403", "bono made 403"),
    ("a>bono INVITE, bono>a 100, bono>a 503", "bono made 503"),
    ("a>bono INVITE, bono>a 408", "bono made 408"),
    ("a>bono INVITE, bono>a 100, bono>a 408", "bono made 408"),
    ("a>bono REGISTER/1-REGISTER, bono>a 408/1-REGISTER", "bono made 408"),
    ("a>bono>sprout INVITE, sprout>bono 430, bono>a 430", "sprout made 430"),
    ("a>bono>sprout>bono INVITE, bono>sprout>bono>a 430", "bono made 430"),
    // Barred, and diverted: the busy phone's answer is not the call's, nor is the silent one's.
    ("a>bono>sprout INVITE, sprout>bono>a 100, sprout>bono>a 603", "sprout made 603"),
    (
        "a>bono>sprout INVITE, sprout>bono>b INVITE 1, b>bono>sprout 486 1, sprout>bono>a 181, sprout>bono>c INVITE 2, \
         c>bono>sprout 200 2, sprout>bono>a 200, a>bono>sprout ACK/1-ACK, sprout>bono>c ACK/1-ACK",
        "-",
    ),
    (
        "a>bono>sprout INVITE, sprout>bono>b INVITE 1, b>bono>sprout 180 1, sprout>bono>a 180, \
         sprout>bono>b CANCEL/1-CANCEL 1, b>bono>sprout 200/1-CANCEL 1, sprout>bono>a 181, sprout>bono>c INVITE 2, \
         b>bono>sprout 487 1, c>bono>sprout 200 2, sprout>bono>a 200, a>bono>sprout ACK/1-ACK, sprout>bono>c ACK/1-ACK",
        "-",
    ),
    (
        "a>bono>sprout INVITE, sprout>bono>b INVITE 1, b>bono>sprout 486 1, sprout>bono>a 181, sprout>bono>c INVITE 2, \
         c>bono>sprout 480 2, sprout>bono>a 480",
        "c made 480",
    ),
    // Max-Forwards runs out, here and there.
    ("a>bono>sprout INVITE, sprout>bono>a 483", "sprout made 483"),
    ("a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 483", "b made 483"),
    // Who says something else than what came made that.
    ("a>bono>sprout>bono>b INVITE, b>bono>sprout 503, sprout>bono>a 480", "sprout made 480"),
    // Whoever hands a 503 on makes 500 of it.
    ("a>bono>sprout>bono>b INVITE, b>bono 503, bono>sprout>bono>a 500", "b made 503"),
    (
        "a>bono>sprout INVITE, sprout>bono>b INVITE 1, sprout>bono>c INVITE 2, b>bono>sprout 503 1, c>bono>sprout 503 2, \
         sprout>bono>a 500",
        "c made 503",
    ),
    ("a>bono>sprout>bono>b INVITE, b>bono>sprout 486, sprout>bono>a 500", "sprout made 500"),
    // Forks: one answers, another is busy, is told that it is too late, or refuses when all is said.
    (
        "a>bono>sprout INVITE, sprout>bono>b INVITE 1, sprout>bono>c INVITE 2, c>bono>sprout 486 2, b>bono>sprout 200 1, \
         sprout>bono>a 200",
        "-",
    ),
    (
        "a>bono>sprout INVITE, sprout>bono>b INVITE 1, sprout>bono>c INVITE 2, b>bono>sprout 200 1, sprout>bono>a 200, \
         sprout>bono>c CANCEL/1-CANCEL 2, c>bono>sprout 200/1-CANCEL 2, c>bono>sprout 487 2",
        "-",
    ),
    (
        "a>bono>sprout INVITE, sprout>bono>b INVITE 1, sprout>bono>c INVITE 2, b>bono>sprout 486 1, c>bono>sprout 486 2, \
         sprout>bono>a 486",
        "c made 486",
    ),
    ("a>bono INVITE, bono>a 200, bono>a 486", "-"),
    // Nobody tells that the CANCEL of another came.
    (
        "a>bono>sprout INVITE, sprout>bono>b INVITE 1, sprout>bono>c INVITE 2, b>bono>sprout 200 1, sprout>bono>a 200, \
         sprout>bono>c CANCEL/1-CANCEL 2, c>bono>sprout 487 2",
        "-",
    ),
    // Given up when it had been answered.
    (
        "a>bono>sprout>bono>b INVITE, a>bono CANCEL/1-CANCEL, b>bono>sprout>bono>a 200, bono>a 200/1-CANCEL, \
         bono>sprout>bono>b CANCEL/1-CANCEL, b>bono>sprout>bono 481/1-CANCEL, a>bono>sprout>bono>b ACK/1-ACK",
        "-",
    ),
    // Accepted again and again: acknowledged, and not.
    ("a>bono>b INVITE, b>bono>a 200, b>bono>a 200, a>bono>b ACK/1-ACK", "-"),
    ("a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 200, b>bono>sprout>bono>a 200", "a does not acknowledge"),
    // What is acknowledged is another's refusal.
    (
        "a>bono>sprout INVITE, sprout>bono INVITE 1, sprout>bono>b INVITE 2, bono>sprout 430 1, sprout>bono ACK/1-ACK 1, \
         b>bono>sprout 200 2, sprout>bono>a 200, b>bono>sprout 200 2, sprout>bono>a 200",
        "a does not acknowledge",
    ),
    // The caller gives up, and is told what another phone had said before.
    (
        "a>bono>sprout INVITE, sprout>bono INVITE 1, sprout>bono>b INVITE 2, bono>sprout 430 1, b>bono>sprout 180 2, \
         sprout>bono>a 180, a>bono>sprout CANCEL/1-CANCEL, sprout>bono>b CANCEL/1-CANCEL 2, b>bono>sprout 487 2, \
         sprout>bono>a 430",
        "-",
    ),
    // Nobody gave up: a phone that was told to stop is none.
    (
        "a>bono>sprout INVITE, sprout>bono>b INVITE 1, b>bono>sprout 180 1, sprout>bono>b CANCEL/1-CANCEL 1, \
         b>bono>sprout 487 1, sprout>bono>c INVITE 2, c>bono>sprout 486 2, sprout>bono>a 486",
        "c made 486",
    ),
    // The caller gives up; or nobody did, and it is said all the same.
    (
        "a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 180, a>bono CANCEL/1-CANCEL, bono>a 200/1-CANCEL, \
         bono>sprout CANCEL/1-CANCEL, sprout>bono 200/1-CANCEL, sprout>bono>b CANCEL/1-CANCEL, b>bono>sprout 200/1-CANCEL, \
         b>bono>sprout>bono>a 487",
        "-",
    ),
    ("a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 487", "b made 487"),
    // Nobody answers: at each depth, while it rings, and behind those that try.
    ("a>bono INVITE", "bono is silent to a"),
    ("a>bono INVITE, bono>a 100, bono>sprout INVITE", "sprout is silent to bono"),
    ("a>bono>sprout>bono INVITE, bono>sprout>bono>a 100", "bono is silent to sprout"),
    ("a>bono>sprout>bono>b INVITE, bono>a 100, sprout>bono 100", "b is silent to bono"),
    ("a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 180", "b rings"),
    ("a>bono>sprout>bono>b MESSAGE/1-MESSAGE", "b is silent to bono"),
    // A timeout is that of the furthest who kept silent, not of who stopped waiting.
    ("a>bono INVITE, bono>a 100, bono>sprout INVITE, bono>a 408", "sprout is silent to bono"),
    ("a>bono>sprout>bono>b INVITE, sprout>bono>a 408", "b is silent to bono"),
    ("a>bono>sprout>bono>b INVITE, bono>sprout>bono>a 408", "b is silent to bono"),
    ("a>bono>sprout>x INVITE, x>sprout 100, sprout>bono>a 408", "x is silent to sprout"),
    (
        "a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 180, sprout>bono>a 408, sprout>bono>b CANCEL/1-CANCEL, \
         b>bono>sprout 200/1-CANCEL, b>bono>sprout 487",
        "b rings",
    ),
    // As it is given up first.
    (
        "a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 180, sprout>bono>b CANCEL/1-CANCEL, b>bono>sprout 200/1-CANCEL, \
         b>bono>sprout 487, sprout>bono>a 408",
        "b rings",
    ),
    (
        "a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 180, sprout>bono>b CANCEL/1-CANCEL, b>bono>sprout 200/1-CANCEL, \
         b>bono>sprout 487, sprout>bono>a 480",
        "b rings",
    ),
    ("a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 408", "b made 408"),
    ("a>bono REGISTER/1-REGISTER, bono>a 408/1-REGISTER", "bono made 408"),
    // It is tried again.
    ("a>bono REGISTER/1-REGISTER, bono>a 423/1-REGISTER, a>bono REGISTER/2-REGISTER, bono>a 200/2-REGISTER", "-"),
    ("a>bono INVITE, bono>a 503, a>bono>sprout INVITE/2-INVITE, sprout>bono>a 486/2-INVITE", "bono made 503"),
    // Two calls with one Call-ID.
    ("a>bono>b INVITE, b>bono>a 486, c>bono>d INVITE @c, d>bono>c 200 @c", "b made 486"),
    ("a>bono>b INVITE, b>bono>a 486, c>bono>d INVITE @c, d>bono>c 404 @c", "b made 486, d made 404"),
    // What comes later in a call that stood.
    (
        "a>bono>b INVITE, b>bono>a 200, a>bono>b ACK/1-ACK, a>bono>b INVITE/2-INVITE, b>bono>a 488/2-INVITE, \
         a>bono>b BYE/3-BYE, b>bono>a 200/3-BYE",
        "b made 488",
    ),
    (
        "a>bono>b INVITE, b>bono>a 200, a>bono>b INVITE/2-INVITE, b>bono>a 491/2-INVITE, a>bono>b INVITE/3-INVITE, \
         b>bono>a 200/3-INVITE",
        "-",
    ),
    // Both hang up.
    (
        "a>bono>b INVITE, b>bono>a 200, a>bono>b BYE/2-BYE, b>bono>a 481/2-BYE, b>bono>a BYE/7-BYE, a>bono>b 200/7-BYE",
        "-",
    ),
    (
        "a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 200, a>bono>sprout>bono>b BYE/3-BYE, b>bono>sprout>bono>a 481/3-BYE",
        "b made 481",
    ),
    ("a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 200, b>bono>sprout>bono>a BYE/2-BYE", "a is silent to bono"),
];

/// Whether the second hop of a message is what the first brings about: its answer, what is handed on of it, or what ends it.
fn is_effect(cause: &Planted<'_>, effect: &Planted<'_>) -> bool {
    let is_answer = |p: &Planted<'_>| p.text.parse::<u16>().is_ok();
    let (number, of) = (cause.cseq.split(' ').next(), effect.cseq.split(' ').next());
    let is_one = cause.tag == effect.tag && number == of;
    let is_cancel = effect.text == "CANCEL" && cause.text == "INVITE" && cause.vias[0] == effect.vias[0];
    let is_asked = cause.cseq == effect.cseq
        && match (is_answer(cause), is_answer(effect)) {
            (false, true) => cause.vias[0] == effect.vias[0],
            (false, false) => effect.vias.get(1..) == Some(&cause.vias[..]),
            (true, true) => {
                cause.text == effect.text && cause.text != "100" && cause.vias.get(1..) == Some(&effect.vias[..])
            }
            (true, false) => false,
        };
    is_one && (is_cancel || is_asked)
}

proptest! {
    /// Threads of one program log what comes back before what went out: whatever they swap, nothing stands above what it came
    /// of, and the verdict is the same.
    #[test]
    fn no_effect_stands_above_its_cause_however_threads_log(
        ending in 0..ENDINGS.len(),
        swapped in prop::collection::vec((0..2_usize, 0..60_usize, 1..4_usize), 0..8),
    ) {
        let (rows, expected) = ENDINGS[ending];
        let planted = planted(rows);
        let mut logs = logs(&planted, 0);
        for (log, at, by) in swapped {
            let log = &mut logs[log];
            // One thread logs what it sent late; what a program sends never stands before what it got.
            if at + by < log.len() && SipMessage::of(&log[at].2).is_some_and(|m| m.direction == Direction::Sent) {
                let time = log[at + by].1;
                let mut late = log.remove(at);
                late.1 = time;
                log.insert(at + by, late);
            }
        }
        let drawn = ladder(&logs.concat(), |_| None);
        let place = |p: &Planted<'_>, last: bool| {
            let mut all = drawn.hops().iter().enumerate().filter(|(_, hop)| {
                hop.text.trim_end_matches(" Reason") == p.text && *hop.cseq == *p.cseq && *hop.branch == *p.vias[0]
                    && *hop.tags.0 == *p.tag
            });
            if last { all.next_back().map(|(n, _)| n) } else { all.next().map(|(n, _)| n) }
        };
        for cause in &planted {
            for effect in planted.iter().filter(|effect| is_effect(cause, effect)) {
                prop_assert!(
                    place(cause, false) < place(effect, true).filter(|n| Some(*n) != place(cause, false)),
                    "{} {:?} {:?}: {rows}\n{}", cause.text, cause.vias, effect.vias, drawn.text(None)
                );
            }
        }
        // Of several phones that refuse, which was the last is told by the order alone.
        if !rows.contains(" 2,") {
            prop_assert_eq!(verdict(&drawn), expected, "{}\n{}", rows, drawn.text(None));
        }
    }
}

/// Live and saved, by each of the clocks.
fn is_told_as(rows: &str, expected: &str) {
    let planted = planted(rows);
    for case in 0..CASES {
        let logs = logs(&planted, case);
        let mut live = logs.concat();
        live.sort_by_key(|(_, time, _)| *time);
        let known =
            |host: &str| PROGRAMS.iter().find(|(_, address, _)| *address == host).map(|(name, ..)| (*name).to_owned());
        let list = listed(&live);
        let live = ladder(&live, known);
        // The list says no else.
        assert_eq!(list, (live.calls(), live.failures().len()), "{case}: {rows}");
        assert_eq!(verdict(&live), expected, "{case}: {rows}\n{}", live.text(None));
        is_in_order(&live, &planted, rows);
        // Saved files do not tell whose an address is, and are read in any order.
        for files in [[0, 1], [1, 0]] {
            let saved: Vec<_> = files.iter().flat_map(|n| logs[*n].clone()).collect();
            let saved = ladder(&saved, |_| None);
            assert_eq!(saved.mermaid(), live.mermaid(), "{case}: {rows}");
            assert_eq!(verdict(&saved), expected, "{case}: {rows}");
        }
    }
}

#[test]
fn each_ending_has_its_verdict_live_and_saved_whatever_clocks_say() {
    for (rows, expected) in ENDINGS {
        is_told_as(rows, expected);
    }
}

/// What is asked within a call bears the same tags as each answer: that two who gave up waiting hand nothing on is told by the
/// order of their logs alone.
#[test]
fn who_gives_up_waiting_at_each_hop_hands_nothing_on() {
    for (rows, expected) in [
        ("a>bono>sprout>x INFO/2-INFO, sprout>bono>a 408/2-INFO, x>sprout 408/2-INFO", "x is silent to sprout"),
        // The caller is gone, and is told nothing.
        ("a>bono>sprout>bono>b INFO/2-INFO, sprout>bono 408/2-INFO, bono>sprout 408/2-INFO", "b is silent to bono"),
        ("a>bono>sprout>bono>b INFO/2-INFO, bono>sprout 408/2-INFO, sprout>bono 408/2-INFO", "b is silent to bono"),
        (
            "a>bono>sprout>bono>b INFO/2-INFO, bono>a 408/2-INFO, bono>sprout 408/2-INFO, sprout>bono 408/2-INFO",
            "b is silent to bono",
        ),
        // It is handed on all the same.
        ("a>bono>sprout>x INFO/2-INFO, x>sprout>bono>a 408/2-INFO", "x made 408"),
        ("a>bono>sprout>bono>b INFO/2-INFO, b>bono>sprout>bono>a 408/2-INFO", "b made 408"),
    ] {
        is_told_as(rows, expected);
    }
}

/// A BYE and an answer that pass each other on their way: no line holds what both ends say, and each is drawn.
#[test]
fn what_crosses_on_its_way_is_drawn_by_its_senders() {
    let hop = |from, to, text| planted(Box::leak(format!("{from}>{to} {text}").into_boxed_str())).remove(0);
    let (there, back) = (hop("bono", "sprout", "INFO/2-INFO"), hop("sprout", "bono", "BYE/3-BYE"));
    let begin: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let at = |n| begin + SignedDuration::from_millis(n);
    let records = [
        ("bono", at(0), there.record(true)),
        ("sprout", at(0), back.record(true)),
        ("bono", at(3), back.record(false)),
        ("sprout", at(3), there.record(false)),
    ];
    let drawn = ladder(&records, |_| None);
    let texts: Vec<_> = drawn.hops().iter().map(|h| h.text.as_str()).collect();
    assert_eq!(texts, ["INFO", "BYE"]);
}

#[test]
fn notes_are_of_this_call_and_its_components_errors_come_first() {
    let mut records = logs(&planted("a>bono>sprout INVITE, sprout>bono>a 503"), 0).concat();
    let begin = records[0].1;
    let line = |lane, after: i64, text: &str| {
        let record = Record::new(LogGrammar::Cpp, format!("23-11-2026 10:00:00.000 UTC {text}\n"));
        (lane, begin + SignedDuration::from_millis(after), record)
    };
    records.extend([
        line("homestead", 0, "Error hss.cpp:1: connection lost"),
        line("sprout", 1, "Error http.cpp:1: 503 from homestead"),
        line("homestead", 1, "Error hss.cpp:1: still lost"),
        line("homestead", 1, "Error hss.cpp:2: no answer for sip:77@ims.example"),
        line("bono", 1, "Warning flow.cpp:2: for sip:1@ims.example"),
        line("sprout", 2, "Info sub.cpp:2: 2 is not registered"),
        line("sprout", 2, "Status sub.cpp:2: something else"),
        line("sprout", 1500, "Error later.cpp:2: nothing to do with it"),
    ]);
    let drawn = ladder(&records, |_| None);
    let mut texts: Vec<_> = drawn.notes().iter().map(|n| n.text.as_str()).collect();
    texts.sort_unstable();
    assert_eq!(
        texts,
        ["2 is not registered", "503 from homestead", "connection lost", "for sip:1@ims.example", "still lost"]
    );
    let Some(CallFailure::Refused(hop)) = drawn.failure() else { panic!("{}", drawn.text(None)) };
    assert_eq!(drawn.cause(hop).map(|note| note.text.as_str()), Some("503 from homestead"));
    let (errors, off) = (drawn.seen(LadderNotes::Errors, true), drawn.seen(LadderNotes::Off, true));
    assert_eq!((errors.notes().len(), off.notes().len()), (4, 0));
    assert!(drawn.lanes().contains(&"homestead".into()) && !off.lanes().contains(&"homestead".into()));
}

/// A line stands where its column logged it, though others log more beside; and it is not one of those that may wait.
#[test]
fn lines_stand_at_their_time() {
    let hop = |from, to, text: &str| planted(Box::leak(format!("{from}>{to} {text}").into_boxed_str())).remove(0);
    let (there, back) = (hop("bono", "sprout", "INFO/2-INFO"), hop("sprout", "bono", "BYE/3-BYE"));
    let begin: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let at = |n| begin + SignedDuration::from_millis(n);
    let line = |lane, after, text: &str| {
        (lane, at(after), Record::new(LogGrammar::Cpp, format!("23-11-2026 10:00:00.000 UTC {text}\n")))
    };
    let records = [
        line("homestead", 2, "Error a.cpp:1: first"),
        ("bono", at(3), there.record(true)),
        ("sprout", at(3), back.record(true)),
        line("bono", 5, "Error a.cpp:1: second"),
        ("bono", at(6), back.record(false)),
        ("sprout", at(6), there.record(false)),
        line("homestead", 90, "Error a.cpp:1: third"),
        line("bono", 91, "Error a.cpp:1: fourth"),
    ];
    let drawn = ladder(&records, |_| None);
    let above: Vec<_> = drawn.notes().iter().map(|note| (note.text.as_str(), note.above)).collect();
    assert_eq!(above, [("first", 0), ("second", 1), ("third", 2), ("fourth", 2)], "{}", drawn.text(None));
}

/// An error whose thread goes on with another's message is that one's, and why a phone is busy no program tells.
#[test]
fn an_error_is_of_the_call_whose_message_its_thread_logs_next() {
    let threaded = |(lane, time, record): (&'static str, Timestamp, Record), thread: &str| {
        let text = String::from_utf8(record.bytes().to_vec()).unwrap().replacen("UTC", &format!("UTC [{thread}]"), 1);
        (lane, time, Record::new(LogGrammar::Cpp, text))
    };
    let line = |time, thread: &str, text: &str| {
        (
            "sprout",
            time,
            Record::new(LogGrammar::Cpp, format!("23-11-2026 10:00:00.000 UTC [{thread}] Error a.cpp:1: {text}\n")),
        )
    };
    let quoted = |rows: &str| {
        let mut records: Vec<_> =
            logs(&planted(rows), 0).concat().into_iter().map(|one| threaded(one, "7f0001")).collect();
        records.sort_by_key(|(_, time, _)| *time);
        let begin = records[0].1;
        let (component, time, other) = records[0].clone();
        let other = String::from_utf8(other.bytes().to_vec()).unwrap().replace("c1@192.0.2.1", "c2@192.0.2.1");
        let other =
            threaded((component, time, Record::new(LogGrammar::Cpp, other.replacen(" [7f0001]", "", 1))), "7f0002").2;
        records.insert(0, line(begin, "7f0002", "wrong password"));
        records.insert(1, ("sprout", begin, other));
        let last = records.iter().position(|(_, time, _)| *time > begin).unwrap();
        records.insert(last, line(begin, "7f0001", "no such number"));
        let drawn = ladder(&records, |_| None);
        let texts: Vec<_> = drawn.notes().iter().map(|note| note.text.to_string()).collect();
        let Some(CallFailure::Refused(hop)) = drawn.failure() else { panic!("{}", drawn.text(None)) };
        (texts, drawn.cause(hop).map(|note| note.text.to_string()))
    };
    let own = || "no such number".to_owned();
    assert_eq!(quoted("a>bono>sprout INVITE, sprout>bono>a 404"), (vec![own()], Some(own())));
    assert_eq!(quoted("a>bono>sprout>bono>b INVITE, b>bono>sprout>bono>a 486"), (vec![own()], None));
}

/// What registered its parties before and after is not of a call.
#[test]
fn lines_of_a_party_are_of_the_time_of_the_call() {
    let rows = "a>bono>sprout INVITE, sprout>bono>a 404";
    let mut records = logs(&planted(rows), 0).concat();
    let begin = records[0].1;
    for (after, path) in [
        (-5, "/impu/sip%3A1%40ims.example/reg-data"),
        (1, "/impi/1%40ims.example/av"),
        (1, "/impu/sip%3A1%40ims.example/location"),
    ] {
        let text = format!("23-11-2026 10:00:00.000 UTC 200 GET {path} 0.001 seconds");
        records.push((
            "homestead",
            begin + SignedDuration::from_millis(after),
            Record::new(LogGrammar::CppAccess, text),
        ));
    }
    let texts: Vec<_> = ladder(&records, |_| None).notes().iter().map(|note| note.text.to_string()).collect();
    assert_eq!(texts, ["200 GET /impu/sip%3A1%40ims.example/location 0.001 seconds"]);
}

/// A program that logs a message twice got it once; what is sent again came again.
#[test]
fn a_message_that_is_logged_twice_is_one() {
    let planted = planted("a>bono>sprout>bono INVITE, bono>sprout 430, sprout>bono ACK/1-ACK");
    let mut records = logs(&planted, 0).concat();
    let place = records.iter().rposition(|one| one.0 == "bono").unwrap();
    let twice = records[place].clone();
    records.insert(place, twice.clone());
    records.push((twice.0, twice.1 + SignedDuration::from_millis(500), twice.2));
    for known in [true, false] {
        let program = |host: &str| PROGRAMS.iter().find(|(_, address, _)| known && *address == host);
        let drawn = ladder(&records, |host| program(host).map(|(name, ..)| (*name).to_owned()));
        assert_eq!(drawn.hops().iter().filter(|hop| hop.text == *"ACK").count(), 2, "{}", drawn.text(None));
        assert!(!drawn.lanes().contains(&"phone 2".into()), "{}", drawn.text(None));
    }
}

/// Where there is little room an answer still says what it is to.
#[test]
fn an_answer_says_what_it_is_to_at_any_width() {
    let drawn = ladder(
        &logs(
            &planted(
                "a>bono>sprout>bono>b INVITE, a>bono CANCEL/1-CANCEL, bono>a 200/1-CANCEL, b>bono>sprout>bono>a 200",
            ),
            0,
        )
        .concat(),
        |_| None,
    );
    for (width, invite, cancel) in [(80, "200 (INVITE)", "200 (CANCEL)"), (60, "200 IN…", "200 CA…")] {
        let text = drawn.text(Some(width));
        assert!(text.contains(invite) && text.contains(cancel), "{text}");
    }
}

/// A call to many phones, of so many columns, with lines between.
fn long(peers: usize) -> Ladder {
    let letters: Vec<String> = (b'b'..).take(peers - 3).map(|b| char::from(b).to_string()).collect();
    let fork = |(n, phone): (usize, &String)| format!("sprout>bono>{phone} INVITE {n}, {phone}>bono>sprout 486 {n}");
    let forks: Vec<_> = letters.iter().enumerate().map(fork).collect();
    let rows = format!("a>bono>sprout INVITE, {}, sprout>bono>a 486", forks.join(", "));
    let mut records = logs(&planted(&rows), 0).concat();
    let begin = records[0].1;
    for lane in ["bono", "sprout"] {
        let text = "23-11-2026 10:00:00.000 UTC Error a.cpp:9: sip:1@ims.example is told something that takes many words to tell\n";
        records.push((lane, begin + SignedDuration::from_millis(2), Record::new(LogGrammar::Cpp, text)));
    }
    ladder(&records, |_| None)
}

#[test]
fn a_drawing_fits_the_screen() {
    for width in [80, 120] {
        for peers in 4..=9 {
            let drawn = long(peers);
            let text = drawn.text(Some(width));
            let longest = text.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
            // Six columns are the most that go into 80 letters.
            let room = width.max(14 + drawn.lanes().len() * 10);
            assert!(longest <= room, "{width} {longest}\n{text}");
            assert!(text.contains("486") && (width > 80 || text.contains('…')), "{text}");
            // Every column has its line.
            let bars = text.lines().nth(1).unwrap().chars().filter(|c| *c == '│').count();
            assert_eq!((bars, drawn.lanes().len()), (peers, peers), "{text}");
        }
    }
}

/// Where a text of a picture lies: its left and right ends, and its baseline.
fn lies(text: &roxmltree::Node<'_, '_>) -> (i64, i64, i64) {
    let number = |name: &str| text.attribute(name).and_then(|n| n.parse::<i64>().ok()).unwrap();
    let of_letter = if matches!(text.attribute("class"), Some("time" | "note" | "grave")) { 6 } else { 7 };
    let (x, long) = (number("x"), of_letter * i64::try_from(text.text().unwrap_or_default().chars().count()).unwrap());
    let left = match text.attribute("text-anchor") {
        Some("middle") => x - long / 2,
        Some("end") => x - long,
        _ => x,
    };
    (left, left + long, number("y"))
}

#[test]
fn nothing_overlaps_in_a_picture_and_it_suits_dark_pages() {
    for peers in 4..=9 {
        let svg = long(peers).svg();
        let picture = roxmltree::Document::parse(&svg).unwrap();
        let style = picture.descendants().find(|n| n.has_tag_name("style")).and_then(|n| n.text()).unwrap();
        assert!(style.contains("@media(prefers-color-scheme:dark)"), "{style}");
        let texts: Vec<_> = picture.descendants().filter(|n| n.has_tag_name("text")).map(|n| lies(&n)).collect();
        for (n, a) in texts.iter().enumerate() {
            assert!(a.0 >= 0, "{a:?}\n{svg}");
            for b in &texts[n + 1..] {
                let is_apart = a.1 <= b.0 || b.1 <= a.0 || (a.2 - b.2).abs() >= 13;
                assert!(is_apart, "{a:?} {b:?}\n{svg}");
            }
        }
    }
}

/// Of logs that were cut nothing is said to have failed that did not: whatever was cut off which of them, each call that has a
/// verdict has the one that the whole logs give it, and what has none is not known or went well.
#[test]
fn what_logs_lack_that_were_cut_is_nobodys_failure() {
    let begin: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let step = SignedDuration::from_secs(10);
    let mut judged = 0;
    for (rows, expected) in ENDINGS {
        let planted = planted(rows);
        // Ten seconds between two messages, so that clocks agree.
        let whole: Vec<Vec<_>> = logs(&planted, 0)
            .into_iter()
            .map(|log| {
                let at =
                    |time: Timestamp| begin + step * i32::try_from(time.duration_since(begin).as_millis()).unwrap();
                log.into_iter().map(|(lane, time, record)| (lane, at(time), record)).collect()
            })
            .collect();
        for (log, keep) in [(0, 1), (0, 2), (0, 4), (1, 1), (1, 2), (1, 3), (0, 0), (1, 0)] {
            let mut cut = whole.clone();
            let from = cut[log].len().saturating_sub(keep);
            let kept: Vec<_> = cut[log].split_off(from);
            if cut[log].is_empty() {
                continue;
            }
            let until = kept.first().map_or(begin + step * 100, |(_, time, _)| *time);
            cut[log] = kept;
            let records = cut.concat();
            let mut sketch = Sketch::new([Traced::Call("c1@192.0.2.1".to_owned())]).cut(Some(until));
            let mut dialogs = Dialogs::new(None).cut(Some(until));
            for (lane, time, record) in &records {
                let message = SipMessage::of(record).unwrap();
                sketch.take(Logged { lane, component: "", time: *time, record }, Some(&message));
                dialogs.take(*time, &message);
            }
            let drawn = verdict(&sketch.finish(|_| None));
            let told: Vec<_> = drawn.split(", ").filter(|told| !matches!(*told, "cut" | "-")).collect();
            assert!(told.iter().all(|told| expected.contains(told)), "{log} {keep}: {rows}: {drawn}");
            judged += told.len();
            let failed = |one: &Dialog| matches!(one.outcome(), DialogOutcome::Failed | DialogOutcome::Unanswered);
            assert_eq!(dialogs.finish().iter().filter(|one| failed(one)).count(), told.len(), "{log} {keep}: {rows}");
        }
    }
    // What began after it is judged.
    assert!(judged > 0);
}

/// A request that whoever asked still waits for when the logs are taken is nobody's failure, in the list as in the drawing; all
/// others have the verdict that they have anyway.
#[test]
fn what_is_still_waited_for_is_nobodys_failure() {
    let mut spared = 0;
    for (rows, expected) in ENDINGS {
        let records = logs(&planted(rows), 0).concat();
        let latest = records.iter().map(|(_, time, _)| *time).max().unwrap();
        let told_at = |after: SignedDuration| {
            let mut sketch = Sketch::new([Traced::Call("c1@192.0.2.1".to_owned())]).taken(Some(latest + after));
            let mut dialogs = Dialogs::new(None).taken(Some(latest + after));
            for (lane, time, record) in &records {
                let message = SipMessage::of(record).unwrap();
                sketch.take(Logged { lane, component: "", time: *time, record }, Some(&message));
                dialogs.take(*time, &message);
            }
            let drawn = verdict(&sketch.finish(|_| None));
            let failed = |one: &Dialog| matches!(one.outcome(), DialogOutcome::Failed | DialogOutcome::Unanswered);
            let listed = dialogs.finish().iter().filter(|one| failed(one)).count();
            let told = drawn.split(", ").filter(|told| *told != "-").count();
            assert_eq!(told, listed, "{rows}, after {after}: {drawn}");
            drawn
        };
        assert_eq!(told_at(SignedDuration::from_secs(181)), *expected, "{rows}");
        let now = told_at(SignedDuration::ZERO);
        let (told, all) =
            (now.split(", ").filter(|t| *t != "-").count(), expected.split(", ").filter(|t| *t != "-").count());
        assert!(now.split(", ").all(|told| told == "-" || expected.contains(told)), "{rows}: {now}, not {expected}");
        spared += all - told;
    }
    assert!(spared > 0);
}
