use proptest::prelude::*;

use super::super::{Assembler, LogGrammar};
use super::*;
use crate::log::ending::branch;
use crate::text::is_harmful;

fn record(way: &str, peer: &str, first: &str, branch: &str) -> Record {
    let above = if branch == "z2" { "Via: SIP/2.0/TCP 192.0.2.1;branch=z1\r\n" } else { "" };
    let body = format!(
        "{first}\r\nVia: SIP/2.0/TCP 10.0.0.9;branch={branch}\r\n{above}From: <sip:6505550001@ims.example>\r\nCall-ID: \
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

fn line(text: &str) -> Record {
    Record::new(LogGrammar::Cpp, text.as_bytes().to_vec())
}

fn ladder(subject: &Traced) -> Ladder {
    ladder_where(subject, |host| match host {
        "10.0.0.1" => Some("bono".to_owned()),
        "10.0.0.2" => Some("sprout".to_owned()),
        _ => None,
    })
}

fn ladder_where(subject: &Traced, lane_of: impl Fn(&str) -> Option<String>) -> Ladder {
    let time = "23-11-2026 10:00:00.123 UTC";
    let lines = [
        Record::new(
            LogGrammar::CppAccess,
            format!("{time} 200 GET /impu/sip%3A6505550001%40ims.example/reg-data 0.001 seconds"),
        ),
        line(&format!("{time} Error connection.cpp:9: no answer")),
        line(&format!("{time} Debug user.cpp:9: 6505550001")),
        line(&format!("{time} Status main.cpp:9: nothing to do with it")),
    ];
    let records = [
        ("bono", record("RX", "192.0.2.1", "INVITE sip:b@ims.example SIP/2.0", "z1")),
        ("bono", record("TX", "10.0.0.2", "INVITE sip:b@ims.example SIP/2.0", "z2")),
        ("sprout", record("RX", "10.0.0.1", "INVITE sip:b@ims.example SIP/2.0", "z2")),
        ("sprout", record("TX", "10.0.0.1", "SIP/2.0 404 Not Found", "z2")),
        ("bono", record("RX", "10.0.0.2", "SIP/2.0 404 Not Found", "z2")),
        ("bono", record("TX", "192.0.2.1", "SIP/2.0 404 Not Found", "z1")),
    ];
    let time = "2026-11-23T10:00:00.123Z".parse().unwrap();
    let notes = lines.iter().map(|record| ("homestead", record));
    let records =
        records.iter().take(3).map(|(l, r)| (*l, r)).chain(notes).chain(records.iter().skip(3).map(|(l, r)| (*l, r)));
    Ladder::of(records.map(|(lane, record)| Logged { lane, component: "", time, record }), subject, lane_of)
}

/// Files that were saved line by line do not tell whose an address is.
#[test]
fn the_branch_tells_whose_an_address_is() {
    let subject = Traced::Call("c1".to_owned());
    let (told, known) = (ladder_where(&subject, |_| None), ladder(&subject));
    assert_eq!((told.text(None), told.lanes()), (known.text(None), known.lanes()));
}

#[test]
fn a_message_that_both_ends_log_is_drawn_once() {
    let drawn = ladder(&Traced::Call("c1".to_owned()));
    assert_eq!(drawn.lanes(), ["phone 1", "bono", "sprout", "homestead"]);
    assert_eq!(drawn.whole_name("phone 1").map(Printable::as_str), Some("192.0.2.1:5060"));
    let hops: Vec<_> = drawn.hops().iter().map(|h| (h.from.as_str(), h.to.as_str(), h.text.as_str())).collect();
    assert_eq!(
        hops,
        [
            ("phone 1", "bono", "INVITE"),
            ("bono", "sprout", "INVITE"),
            ("sprout", "bono", "404 Not Found"),
            ("bono", "phone 1", "404 Not Found"),
        ]
    );
    assert!(matches!(drawn.failure(), Some(CallFailure::Refused(hop)) if hop.from == "sprout"));
    assert_eq!(drawn.cause(&drawn.hops()[2]).map(|n| n.text.as_str()), Some("no answer"));
    let text = drawn.text(None);
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    assert_eq!(lines[0], "phone 1                   bono                   sprout                homestead");
    let none = "│                       │";
    assert_eq!(lines[1], format!("10:00:00.123              │────────INVITE────────▶{none}                       │"));
    assert!(text.contains("● 200 GET /impu/sip%3A6505550001%40ims.example/reg-data 0.001 seconds\n"), "{text}");
    assert!(text.contains("● ERROR: no answer\n"), "{text}");
    assert!(!text.contains("user.cpp") && !text.contains("nothing to do"), "{text}");
    assert!(text.contains("│◀────404 (INVITE)──────│"), "{text}");
    let mermaid = drawn.mermaid();
    assert!(
        mermaid.contains("  p1->>p2: INVITE\n") && mermaid.contains("  p2-->>p1: 404 Not Found (INVITE)\n"),
        "{mermaid}"
    );
    assert!(mermaid.contains("  Note over p3: ERROR: no answer\n"), "{mermaid}");
    assert!(drawn.svg().contains("404 Not Found") && drawn.svg().contains("ERROR: no answer"));
}

/// Whoever shows the text line by line knows what each line shows.
#[test]
fn each_line_of_a_text_says_what_it_shows() {
    let drawn = ladder(&Traced::Call("c1".to_owned()));
    let lines = drawn.lines(Some(100));
    assert_eq!(lines.iter().map(|line| format!("{}\n", line.text)).collect::<String>(), drawn.text(Some(100)));
    assert_eq!((lines[0].step, lines.len()), (None, 1 + drawn.hops().len() + drawn.notes().len()));
    for line in &lines[1..] {
        let shown = match line.step.unwrap() {
            LadderStep::Hop(n) => drawn.hops()[n].text.split(' ').next().unwrap_or_default().to_owned(),
            LadderStep::Note(n) => drawn.notes()[n].text.to_string(),
        };
        assert!(line.text.contains(&shown), "{shown}: {}", line.text);
    }
}

fn inside(way: &str, function: &str, first: &str) -> Record {
    let body = format!("{first}\r\nVia: SIP/2.0/TCP 10.0.0.9;branch=z2\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n");
    Record::new(
        LogGrammar::Cpp,
        format!(
            "23-11-2026 10:00:00.123 UTC [7f01] Verbose sproutletproxy.cpp:2816: Routing Request msg INVITE/cseq=1 \
             (tdta0x1) ({} bytes) to {way} sproutlet {function}:\n--start msg--\n\n{body}\n--end msg--\n",
            body.len()
        ),
    )
}

#[test]
fn what_sprout_hands_to_itself_is_an_arrow_to_itself() {
    let invite = "INVITE sip:b@ims.example SIP/2.0";
    let records = [
        record("RX", "10.0.0.1", invite, "z2"),
        inside("downstream", "icscf", invite),
        inside("downstream", "scscf-proxy", invite),
        inside("upstream", "icscf", "SIP/2.0 404 Not Found"),
        record("TX", "10.0.0.1", "SIP/2.0 404 Not Found", "z2"),
    ];
    let time = "2026-11-23T10:00:00.123Z".parse().unwrap();
    let logged = records.iter().map(|record| Logged { lane: "sprout", component: "", time, record });
    let drawn = Ladder::of(logged, &Traced::Call("c1".to_owned()), |_| Some("bono".to_owned()));
    assert_eq!(drawn.lanes(), ["bono", "sprout"]);
    let hops: Vec<_> = drawn.hops().iter().map(|h| (&*h.from, &*h.to, h.label().to_string())).collect();
    let hop = |from, to, text: &str| (from, to, text.to_owned());
    assert_eq!(
        hops,
        [
            hop("bono", "sprout", "INVITE"),
            hop("sprout", "sprout", "INVITE → icscf"),
            hop("sprout", "sprout", "INVITE → scscf-proxy"),
            hop("sprout", "sprout", "404 Not Found (INVITE) → icscf"),
            hop("sprout", "bono", "404 Not Found (INVITE)"),
        ]
    );
    // The answer that was sent counts, and no hand-over is missed as unanswered.
    assert!(matches!(drawn.failure(), Some(CallFailure::Refused(hop)) if hop.to == "bono"));
    assert!(drawn.text(None).contains("│                       ↺ INVITE → scscf-proxy\n"), "{}", drawn.text(None));
    assert!(drawn.mermaid().contains("  p1->>p1: INVITE → icscf\n"), "{}", drawn.mermaid());
    let svg = drawn.svg();
    assert!(svg.contains("h36 v12 h-36") && svg.contains("404 Not Found (INVITE) → icscf<title>"), "{svg}");
}

#[test]
fn the_branch_is_that_of_the_topmost_via() {
    let own = "SIP/2.0/TCP 10.0.0.9:5058;branch=z1.0";
    assert_eq!(branch(own), "z1.0");
    assert_eq!(branch(&format!("{own}, SIP/2.0/UDP 10.0.0.8;branch=z2;rport=5070")), "z1.0");
    assert_eq!(branch("SIP/2.0/UDP 10.0.0.9, SIP/2.0/UDP 10.0.0.8;branch=z2"), "");
}

/// A Call-ID is copied from the list, where a tab is a blank.
#[test]
fn a_call_id_with_a_tab_is_found_as_it_is_shown() {
    let drawn = hostile("bono-0", b"SIP/2.0 403 Forbidden", b"tab\tid@h", b"x");
    assert_eq!((drawn.hops().len(), drawn.hops().first().map(|hop| hop.call_id.as_str())), (3, Some("tab id@h")));
}

/// pjsip writes no brackets around an IPv6 address: with and without them it is one phone.
#[test]
fn an_address_has_one_form() {
    let records = [
        record("RX", "[2001:db8::5]", "INVITE sip:b@ims.example SIP/2.0", "z1"),
        record("TX", "2001:db8::5", "SIP/2.0 404 Not Found", "z1"),
    ];
    let time = "2026-11-23T10:00:00.123Z".parse().unwrap();
    let logged = records.iter().map(|record| Logged { lane: "bono", component: "", time, record });
    let drawn = Ladder::of(logged, &Traced::Call("c1".to_owned()), |_| None);
    assert_eq!(drawn.lanes(), ["phone 1", "bono"]);
    assert_eq!(drawn.whole_name("phone 1").map(Printable::as_str), Some("[2001:db8::5]:5060"));
}

#[test]
fn a_subscriber_is_found_in_any_form() {
    let by = |text: &str| ladder(&Traced::Subscriber(text.parse().unwrap())).hops().len();
    assert_eq!((by("6505550001"), by("sip:6505550001@ims.example"), by("6505550002")), (4, 4, 0));
}

/// A ladder of messages whose every part a peer chose, as bytes: lane, method or reason, Call-ID, and a line between.
fn hostile(lane: &str, first: &[u8], call: &[u8], note_bytes: &[u8]) -> Ladder {
    let mut body = first.to_vec();
    body.extend_from_slice(b"\r\nVia: SIP/2.0/TCP 10.0.0.9;branch=z\r\nCall-ID: ");
    body.extend_from_slice(call);
    body.extend_from_slice(b"\r\nCSeq: 1 INVITE\r\n\r\n");
    let head = "23-11-2026 10:00:00.123 UTC Verbose common_sip_processing.cpp:87: RX ";
    let mut text =
        format!("{head}{} bytes Request msg from TCP 192.0.2.1:5060:\n--start msg--\n\n", body.len()).into_bytes();
    text.extend_from_slice(&body);
    text.extend_from_slice(b"\n--end msg--\n");
    let message = Record::new(LogGrammar::Cpp, text);
    let mut text = b"23-11-2026 10:00:00.123 UTC Error a.cpp:1: ".to_vec();
    text.extend(note_bytes.iter().filter(|b| **b != b'\n'));
    let note = Record::new(LogGrammar::Cpp, text);
    let id = SipMessage::of(&message).and_then(|m| m.call_id().map(std::borrow::Cow::into_owned)).unwrap_or_default();
    let mut text = b"23-11-2026 10:00:00.123 UTC Verbose sproutletproxy.cpp:1: Routing Request msg INVITE/cseq=1 (t) (9 bytes) to \
        downstream sproutlet "
        .to_vec();
    text.extend(note_bytes.iter().filter(|b| !matches!(b, b' ' | b'\n')));
    text.extend_from_slice(b":\n--start msg--\n\n");
    text.extend_from_slice(&body);
    text.extend_from_slice(b"\n--end msg--\n");
    let inside = Record::new(LogGrammar::Cpp, text);
    let time = "2026-11-23T10:00:00.123Z".parse().unwrap();
    let logged = [&message, &note, &inside, &message].map(|record| Logged { lane, component: "", time, record });
    Ladder::of(logged, &Traced::Call(id), |_| Some(lane.chars().rev().collect()))
}

fn is_well_drawn(ladder: &Ladder) -> Result<(), TestCaseError> {
    let (text, mermaid, svg) = (ladder.text(None), ladder.mermaid(), ladder.svg());
    for drawn in [&text, &mermaid, &svg] {
        prop_assert!(!drawn.contains(|c| is_harmful(c) && c != '\n'), "{drawn:?}");
    }
    let steps = ladder.hops().len() + ladder.notes().len();
    prop_assert_eq!(text.lines().count(), 1 + steps, "{}", text);
    prop_assert_eq!(mermaid.lines().count(), 1 + ladder.lanes().len() + steps, "{}", mermaid);
    let picture = roxmltree::Document::parse(&svg);
    prop_assert!(picture.is_ok(), "{:?}\n{}", picture, svg);
    let picture = picture.unwrap();
    let texts: Vec<_> = picture.descendants().filter(|n| n.has_tag_name("text")).collect();
    prop_assert_eq!(texts.len(), ladder.lanes().len() + 2 * steps);
    let wide = picture.root_element().attribute("viewBox").and_then(|b| b.split(' ').nth(2)?.parse().ok());
    let wide: usize = wide.expect("a width");
    for text in texts {
        // What is written beside a column neither leaves the picture nor covers the times.
        let x: usize = text.attribute("x").and_then(|x| x.parse().ok()).expect("a place");
        let length = 6 * text.text().unwrap_or_default().chars().count();
        match text.attribute("text-anchor") {
            Some("start") => prop_assert!(x + length <= wide, "{x} {length} {wide}\n{svg}"),
            Some("end") => prop_assert!(x >= length + 100, "{x} {length}\n{svg}"),
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn a_long_note_beside_the_last_column_stays_in_the_picture() {
    let note = "OPTIONS from sip:6505550000@ims.example which is not registered through this bono ".repeat(3);
    let ladder = hostile("bono-0", b"SIP/2.0 403 Forbidden", b"c", note.replace(' ', "_").as_bytes());
    assert!(!ladder.notes().is_empty());
    is_well_drawn(&ladder).unwrap();
}

#[test]
fn a_peer_cannot_forge_a_line_nor_break_a_drawing() {
    let first = b"SIP/2.0 404 Not\x1b[2J\rFound;p0->>p1: forged#<b>\xe2\x80\xae\xff\x00";
    let ladder = hostile("x\r\u{202e}", first, b"c\x07", b"no\ranswer\xef\xbf\xbf\x0b");
    assert_eq!((ladder.hops().len(), ladder.notes().len()), (3, 1));
    assert_eq!(ladder.hops()[1].function.as_deref(), Some("no\\ranswer\\u{ffff}\\u{b}"));
    is_well_drawn(&ladder).unwrap();
    assert_eq!(ladder.hops()[0].text, "404 Not\\u{1b}[2J\\rFound;p0->>p1: forged#<b>\\u{202e}\u{fffd}\\u{0}");
    assert_eq!(ladder.hops()[0].call_id, "c\\u{7}");
    assert!(ladder.mermaid().contains("Found#59;p0-#gt;#gt;p1: forged#35;#lt;b#gt;"), "{}", ladder.mermaid());
}

proptest! {
    #[test]
    fn whatever_a_peer_sends_is_drawn_line_by_line(
        lane in any::<String>(),
        first in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "SIP/2\\.0 [1-6][0-9]{2} \\PC{0,10}\\p{C}{0,10}".prop_map(String::into_bytes),
            any::<String>().prop_map(String::into_bytes),
        ],
        call in prop::collection::vec(any::<u8>(), 0..20),
        note in any::<String>(),
    ) {
        is_well_drawn(&hostile(&lane, &first, &call, note.as_bytes()))?;
    }
}

#[test]
fn thousands_of_peers_and_programs_share_columns() {
    let records: Vec<_> = (0..3000)
        .map(|n| {
            (format!("pod-{n}"), record("RX", &format!("10.1.{}.{}", n / 250, n % 250), "INVITE sip:b@h SIP/2.0", "z"))
        })
        .collect();
    let time = "2026-11-23T10:00:00.123Z".parse().unwrap();
    let logged = records.iter().map(|(lane, record)| Logged { lane, component: "", time, record });
    let drawn = Ladder::of(logged, &Traced::Call("c1".to_owned()), |_| None);
    assert_eq!((drawn.hops().len(), drawn.lanes().len()), (3000, 92));
    assert!(drawn.lanes().contains(&"further peers".into()) && drawn.lanes().contains(&"further programs".into()));
    let text = drawn.text(None);
    assert!(text.lines().all(|line| line.chars().count() <= 14 + 92 * 24));
    let longest = "x".repeat(100_000);
    let time = [&longest].map(|lane| Logged { lane, component: "", time, record: &records[0].1 });
    let drawn = Ladder::of(time, &Traced::Call("c1".to_owned()), |_| None);
    assert!(drawn.text(None).len() < 2000, "{}", drawn.text(None).len());
}

#[test]
fn a_message_that_never_ends_is_cut_and_nothing_of_the_rest_is_kept() {
    let head = "23-11-2026 10:00:00.123 UTC Verbose common_sip_processing.cpp:87: RX 99999999 bytes Request msg \
                INVITE/cseq=1 (rdata0x1) from TCP 10.0.0.1:5060:\n--start msg--\n\nINVITE sip:b@h SIP/2.0\r\nCall-ID: \
                c1\r\nCSeq: 1 INVITE\r\n";
    let time = "2026-11-23T10:00:00.123Z".parse().unwrap();
    let mut assembler = Assembler::mixed();
    let mut sketch = Sketch::new([Traced::Call("c1".to_owned())]);
    let mut longest = 0;
    let mut take = |record: Option<Record>| {
        let Some(record) = record else { return };
        longest = longest.max(record.bytes().len());
        sketch.take(Logged { lane: "bono", component: "", time, record: &record }, SipMessage::of(&record).as_ref());
    };
    for line in
        head.split_inclusive('\n').chain(std::iter::repeat_n("Traced: c1 and a header field without end\r\n", 100_000))
    {
        take(assembler.push(line.as_bytes()));
    }
    take(assembler.finish());
    assert!(longest < 257 * 1024, "{longest}");
    assert_eq!((sketch.kept(), sketch.names()), (1, 7));
    let drawn = sketch.finish(|_| None);
    assert!(drawn.hops()[0].is_cut && drawn.hops().len() == 1 && drawn.notes().is_empty());
    assert!(drawn.text(None).contains("─INVITE [cut]─"), "{}", drawn.text(None));
}

#[test]
fn a_line_is_kept_in_memory_of_its_own_and_no_longer_than_a_daemon_writes() {
    let long = line(&format!("23-11-2026 10:00:00.123 UTC Error a.cpp:1: boom\n{}", "x".repeat(100_000)));
    let kept = long.compact();
    assert_eq!(kept.bytes().len(), 8192);
    assert_eq!(kept.head(), long.head());
}

/// A line may have a thousand letters: a picture shows the first, and the rest is its title.
#[test]
fn a_picture_is_not_as_wide_as_its_longest_line() {
    let time = "2026-11-23T10:00:00.123Z".parse().unwrap();
    let invite = record("RX", "192.0.2.1", "INVITE sip:b@ims.example SIP/2.0", "z1");
    let long = line(&format!("23-11-2026 10:00:00.123 UTC Error a.cpp:9: {}", "long ".repeat(400)));
    let records = [("bono", &invite), ("bono", &long)];
    let logged = records.map(|(lane, record)| Logged { lane, component: "", time, record });
    let svg = Ladder::of(logged, &Traced::Call("c1".to_owned()), |_| None).svg();
    let width: usize = svg.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    assert!(width < 1500, "{width}");
    assert!(
        svg.contains(&"long ".repeat(390)) && svg.contains("long …") | svg.contains("lon…") | svg.contains("lo…"),
        "{svg}"
    );
}
