//! One call of saved logs: how it is drawn, and what Wireshark gets of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod ended;

use std::fs::File;
use std::path::Path;

use ended::plugin;
use etherparse::{SlicedPacket, TransportSlice};
use pcap_file::DataLink;
use pcap_file::pcapng::{Block, PcapNgReader};

const CALL: &str = "8f3a@10.244.1.7";

fn message(first: &str, vias: &[&str], body: &str) -> String {
    let vias: String = vias.iter().map(|v| format!("Via: SIP/2.0/TCP x.ims;branch=z9hG4bK{v}\r\n")).collect();
    format!(
        "{first}\r\n{vias}From: <sip:1@ims>;tag=a\r\nTo: <sip:2@ims>\r\nCall-ID: {CALL}\r\nCSeq: 1 INVITE\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn record(milli: u32, way: &str, peer: &str, text: &str) -> String {
    let word = if way == "RX" { "from" } else { "to" };
    format!(
        "23-11-2026 10:00:00.{milli:03} UTC Verbose common_sip_processing.cpp:87: {way} {} bytes Request msg \
         INVITE/cseq=1 (rdata0x1) {word} {peer}:\n--start msg--\n\n{text}\n--end msg--\n",
        text.len()
    )
}

/// A call of one phone by UDP to another behind the same address, which is busy; sprout's clock is late.
fn save(dir: &Path) {
    let invite = "INVITE sip:2@ims SIP/2.0";
    let busy = "SIP/2.0 486 Busy Here";
    let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\n";
    let (caller, answerer) = ("UDP 192.0.2.7:5060", "UDP 192.0.2.7:5070");
    let (to_sprout, of_bono) = ("TCP 10.244.1.5:5054", "TCP 10.244.1.4:41000");
    let (to_bono, of_sprout) = ("TCP 10.244.1.4:5058", "TCP 10.244.1.5:42000");
    let route = |text: String| text.replacen("\r\n", "\r\nRoute: <sip:ims;lr>\r\n", 1);
    let bono = [
        record(100, "RX", caller, &message(invite, &["a"], sdp)),
        record(101, "TX", to_sprout, &route(message(invite, &["b", "a"], sdp))),
        record(110, "RX", of_sprout, &route(message(invite, &["c", "b", "a"], sdp))),
        record(111, "TX", answerer, &message(invite, &["d", "c", "b", "a"], sdp)),
        record(120, "RX", answerer, &message(busy, &["d", "c", "b", "a"], "")),
        record(121, "TX", of_sprout, &message(busy, &["c", "b", "a"], "")),
        record(130, "RX", to_sprout, &message(busy, &["b", "a"], "")),
        record(131, "TX", caller, &message(busy, &["a"], "")),
    ];
    let inside = message(invite, &["b", "a"], sdp);
    let sprout = [
        record(1, "RX", of_bono, &route(message(invite, &["b", "a"], sdp))),
        format!(
            "23-11-2026 10:00:00.002 UTC Verbose sproutletproxy.cpp:1: Routing Request msg INVITE/cseq=1 (tdta0x1) ({} bytes) to \
             downstream sproutlet scscf:\n--start msg--\n\n{inside}\n--end msg--\n",
            inside.len()
        ),
        "23-11-2026 10:00:00.003 UTC Error hss.cpp:1: sip:2@ims is new to me\n".to_owned(),
        "23-11-2026 10:00:00.003 UTC Info hss.cpp:1: sip:2@ims is looked for\n".to_owned(),
        record(4, "TX", to_bono, &route(message(invite, &["c", "b", "a"], sdp))),
        record(5, "RX", to_bono, &message(busy, &["c", "b", "a"], "")),
        record(6, "TX", of_bono, &message(busy, &["b", "a"], "")),
    ];
    std::fs::create_dir(dir.join("saved")).unwrap();
    std::fs::write(dir.join("saved/bono-8664965f7d-br5z2.log"), bono.concat()).unwrap();
    std::fs::write(dir.join("saved/sprout-76d6cbb9b4-4mhp8.log"), sprout.concat()).unwrap();
}

#[test]
fn one_call_is_drawn_as_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path());
    let trace = |args: &[&str]| {
        let (code, out, err) = plugin(dir.path(), &[&["trace", "--from", "saved", CALL], args].concat());
        assert_eq!(code, Some(0), "{args:?}: {err}");
        (out, err)
    };
    let (out, err) = trace(&[]);
    let head: Vec<_> = out.lines().next().unwrap().split("  ").map(str::trim).filter(|name| !name.is_empty()).collect();
    assert_eq!(head, ["phone 1", "bono", "sprout", "phone 2"], "{out}");
    assert_eq!(out.lines().filter(|line| line.contains("INVITE─") || line.contains("486")).count(), 8, "{out}");
    assert!(err.contains("phone 1 is 192.0.2.7:5060, bono is bono-8664965f7d-br5z2"), "{err}");
    assert!(err.contains("it failed at phone 2 (192.0.2.7:5070), which answered \"486 Busy Here\""), "{err}");
    assert!(out.contains("ERROR: sip:2@ims is new") && out.contains("is looked for") && !out.contains('↺'), "{out}");
    assert!(trace(&["--internal"]).0.contains("↺ INVITE → scscf"));
    let (errors, _) = trace(&["--notes", "errors"]);
    assert!(errors.contains("is new") && !errors.contains("is looked for"), "{errors}");
    assert!(!trace(&["--notes", "off"]).0.contains('●'));
    for width in ["80", "120"] {
        let (out, _) = trace(&["--width", width]);
        let longest = out.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= width.parse().unwrap(), "{width}: {longest}\n{out}");
    }
    let (out, _) = trace(&["--messages"]);
    assert!(out.contains("phone 1 → bono: INVITE\n    INVITE sip:2@ims SIP/2.0\n    Via: "), "{out}");
    assert!(out.contains("    o=- 1 1 IN IP4 192.0.2.7\n"), "{out}");
    // What pods are picked by picks also what was saved, as far as that tells it.
    for (args, rows) in [
        (&["--since", "1s"][..], 0),
        (&["--since-time", "2026-11-23T10:00:00.105Z"], 1),
        (&["--role", "hss-gateway"], 0),
        (&["--pod", "^bono"], 1),
        (&["--exclude-pod", "bono|sprout"], 0),
        (&["--tail", "1"], 1),
    ] {
        let (_, out, err) = plugin(dir.path(), &[&["trace", "--from", "saved"], args].concat());
        assert_eq!(out.lines().filter(|line| line.contains(CALL)).count(), rows, "{args:?}: {out}{err}");
        assert_eq!(err.contains("--tail picks pods of a cluster"), args[0] == "--tail", "{err}");
    }
    for (args, said) in [
        (["trace", "--from", "saved", "-o", "call.pcapng"], "lists what there is"),
        (["trace", "--from", "saved", CALL, "-ojson"], "are of the list"),
        (["trace", "--from", "saved", CALL, "-ocall.pcap"], "ends with .pcapng"),
        (["trace", "--from", "saved", "--failed", "--tui"], "--tui draws on a terminal"),
        (["trace", "--from", "saved", "--tui", "-ojson"], "cannot be used with"),
        (["trace", "--from", "saved", CALL, "--tui"], "cannot be used with"),
    ] {
        let (code, _, err) = plugin(dir.path(), &args);
        assert!(code == Some(2) && err.contains(said), "{args:?}: {err}");
    }
}

/// In few letters it is legible, or it is not drawn and that says how many it takes.
#[test]
fn a_narrow_drawing_is_legible_or_says_how_wide_it_must_be() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path());
    let trace = |args: &[&str]| plugin(dir.path(), &[&["trace", "--from", "saved", CALL], args].concat());
    let (code, out, err) = trace(&["--width", "40"]);
    assert!(
        code == Some(2) && out.is_empty() && err.contains("4 columns cannot be drawn in fewer than 54"),
        "{out}{err}"
    );
    let (code, out, err) = trace(&["--width", "54"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.lines().all(|line| line.chars().count() <= 54), "{out}");
    assert!(out.contains("ERROR: sip:2@ims is new"), "{out}");
    let (code, out, err) = trace(&["--width", "44", "--pod", "bono"]);
    assert!(code == Some(0) || err.contains("fewer than 54"), "{out}{err}");
}

/// Two of one component under names that somebody gave them, saved in the ways in which such names are kept.
#[test]
fn two_pods_with_names_of_ones_own_are_two_columns() {
    for form in ["directories", "stern"] {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path());
        let bono = std::fs::read_to_string(dir.path().join("saved/bono-8664965f7d-br5z2.log")).unwrap();
        std::fs::remove_file(dir.path().join("saved/bono-8664965f7d-br5z2.log")).unwrap();
        let records: Vec<&str> = bono.split_inclusive("--end msg--\n").collect();
        // What the caller's bono does, and the answerer's.
        let of = |places: [usize; 4]| places.map(|n| records[n]).concat();
        let pods = [("edge-a", of([0, 1, 6, 7])), ("edge-b", of([2, 3, 4, 5]).replace("10.244.1.4", "10.244.1.9"))];
        let mut all = String::new();
        for (pod, text) in &pods {
            if form == "directories" {
                std::fs::create_dir(dir.path().join("saved").join(pod)).unwrap();
                std::fs::write(dir.path().join("saved").join(pod).join("bono_current.txt"), text).unwrap();
            }
            all.extend(text.split_inclusive('\n').map(|line| format!("{pod} bono {line}")));
        }
        if form == "stern" {
            std::fs::write(dir.path().join("saved/all.log"), all).unwrap();
        }
        let (code, out, err) = plugin(dir.path(), &["trace", "--from", "saved", CALL]);
        let head: Vec<_> = out.lines().next().unwrap().split("  ").map(str::trim).filter(|n| !n.is_empty()).collect();
        assert_eq!(
            (code, head),
            (Some(0), vec!["phone 1", "edge-a", "sprout", "edge-b", "phone 2"]),
            "{form}: {out}{err}"
        );
    }
}

#[test]
fn days_are_told_where_there_are_several() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path());
    let path = dir.path().join("saved/bono-8664965f7d-br5z2.log");
    let list = || plugin(dir.path(), &["trace", "--from", "saved"]).1;
    let drawn = |format: &str| plugin(dir.path(), &["trace", "--from", "saved", CALL, "--format", format]).1;
    assert!(!list().contains("2026-11-23") && !drawn("text").contains("2026-11-23"), "{}", list());
    let log = std::fs::read_to_string(&path).unwrap();
    let later =
        message("MESSAGE sip:2@ims SIP/2.0", &["z"], "").replace(CALL, "other").replace("1 INVITE", "1 MESSAGE");
    let later = record(100, "RX", "UDP 192.0.2.7:5060", &later).replace("23-11-2026", "24-11-2026");
    std::fs::write(&path, log.clone() + &later).unwrap();
    assert!(list().contains("2026-11-23 10:00:00.001") && list().contains("2026-11-24 10:00:00.100"), "{}", list());
    assert!(!drawn("text").contains("2026-11-23"));
    // A call that lasts until the next day.
    let bye = message("BYE sip:2@ims SIP/2.0", &["y"], "").replace("1 INVITE", "2 BYE");
    let bye = record(100, "RX", "UDP 192.0.2.7:5060", &bye).replace("23-11-2026", "24-11-2026");
    std::fs::write(&path, log + &bye).unwrap();
    let text = drawn("text");
    let days: Vec<&str> = text.lines().filter(|line| line.starts_with("2026-")).collect();
    assert!(days.len() == 2 && days[0].starts_with("2026-11-23") && days[1].starts_with("2026-11-24"), "{text}");
    assert!(days[0].matches('│').count() == 4, "{text}");
    assert!(drawn("mermaid").contains("Note over p0,p3: 2026-11-24\n"));
    assert_eq!(drawn("svg").matches(">2026-11-2").count(), 2);
}

#[test]
fn a_capture_holds_each_message_once_in_frames_with_right_checksums() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path());
    let (code, out, err) = plugin(dir.path(), &["trace", "--from", "saved", CALL, "-o", "call.pcapng"]);
    assert!(code == Some(0) && out.is_empty() && err.contains("8 messages in call.pcapng"), "{out}{err}");
    let mut reader = PcapNgReader::new(File::open(dir.path().join("call.pcapng")).unwrap()).unwrap();
    let mut seen = Vec::new();
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            Block::InterfaceDescription(interface) => assert_eq!(interface.linktype, DataLink::RAW),
            Block::EnhancedPacket(packet) => {
                let sliced = SlicedPacket::from_ip(&packet.data).unwrap();
                let ip = sliced.net.as_ref().unwrap().ipv4_ref().unwrap().header();
                assert_eq!(ip.header_checksum(), ip.to_header().calc_header_checksum());
                let (from, to) = (ip.source_addr(), ip.destination_addr());
                let (ports, payload) = match sliced.transport.unwrap() {
                    TransportSlice::Udp(udp) => {
                        let sum = udp.to_header().calc_checksum_ipv4(&ip.to_header(), udp.payload()).unwrap();
                        assert_eq!(udp.checksum(), sum);
                        (
                            format!("UDP {from}:{} {to}:{}", udp.source_port(), udp.destination_port()),
                            udp.payload().to_vec(),
                        )
                    }
                    TransportSlice::Tcp(tcp) => {
                        let sum = tcp.to_header().calc_checksum_ipv4(&ip.to_header(), tcp.payload()).unwrap();
                        assert_eq!(tcp.checksum(), sum);
                        (
                            format!("TCP {from}:{} {to}:{}", tcp.source_port(), tcp.destination_port()),
                            tcp.payload().to_vec(),
                        )
                    }
                    other => panic!("{other:?}"),
                };
                let text = String::from_utf8(payload).unwrap();
                seen.push(format!("{ports} {}", text.split([' ', '\r']).find(|w| *w != "SIP/2.0").unwrap()));
            }
            _ => {}
        }
    }
    assert_eq!(
        seen,
        [
            "UDP 192.0.2.7:5060 10.244.1.4:5060 INVITE",
            "TCP 10.244.1.4:41000 10.244.1.5:5054 INVITE",
            "TCP 10.244.1.5:42000 10.244.1.4:5058 INVITE",
            "UDP 10.244.1.4:5060 192.0.2.7:5070 INVITE",
            "UDP 192.0.2.7:5070 10.244.1.4:5060 486",
            "TCP 10.244.1.4:5058 10.244.1.5:42000 486",
            "TCP 10.244.1.5:5054 10.244.1.4:41000 486",
            "UDP 10.244.1.4:5060 192.0.2.7:5060 486",
        ]
    );
}

/// Messages that are longer than a packet, or were cut by the daemon, and an address as pjsip writes it.
#[test]
fn a_capture_holds_messages_that_are_no_single_packet() {
    let dir = tempfile::tempdir().unwrap();
    let invite = "INVITE sip:2@ims SIP/2.0";
    let (large, larger) = (message(invite, &["a"], &"z".repeat(170_000)), message(invite, &["b"], &"z".repeat(70_000)));
    let busy = message("SIP/2.0 486 Busy Here", &["a"], "");
    let cut = message(invite, &["c"], "v=0\r\n");
    let head = record(4, "RX", "TCP 192.0.2.7:5060", &cut).replace(&format!("RX {} bytes", cut.len()), "RX 9000 bytes");
    let log = [
        record(1, "RX", "TCP 192.0.2.7:5060", &large),
        record(2, "RX", "UDP 2001:db8::5:5060", &larger),
        record(3, "TX", "TCP 192.0.2.7:5060", &busy),
        head.replace("\n--end msg--\n", "\n"),
    ];
    std::fs::write(dir.path().join("bono-8664965f7d-br5z2.log"), log.concat()).unwrap();
    let (code, _, err) =
        plugin(dir.path(), &["trace", "--from", "bono-8664965f7d-br5z2.log", CALL, "-o", "call.pcapng"]);
    assert!(code == Some(0) && err.contains("4 messages in call.pcapng") && err.contains("1 message by UDP"), "{err}");
    assert!(!err.contains("phone 2 and") && !err.contains("of phone"), "{err}");
    let mut reader = PcapNgReader::new(File::open(dir.path().join("call.pcapng")).unwrap()).unwrap();
    let (mut stream, mut seen, mut next) = (Vec::new(), Vec::new(), 1);
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block.unwrap() else { continue };
        let lost = packet.original_len as usize - packet.data.len();
        let whole = [&*packet.data, &vec![0; lost]].concat();
        let sliced = SlicedPacket::from_ip(&whole).unwrap();
        match sliced.transport.unwrap() {
            TransportSlice::Tcp(tcp)
                if tcp.source_port() == 5060 && tcp.destination_port() == 5060 && stream.len() < large.len() =>
            {
                assert_eq!(tcp.sequence_number(), next);
                next += u32::try_from(tcp.payload().len()).unwrap();
                stream.extend_from_slice(tcp.payload());
            }
            TransportSlice::Tcp(tcp) => seen.push(("TCP", tcp.payload().len(), lost)),
            TransportSlice::Udp(udp) => seen.push(("UDP", udp.payload().len(), lost)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stream, large.as_bytes());
    let cut_off = 9000 - seen[2].1.min(9000);
    assert_eq!((seen[0], seen[1], cut_off), (("UDP", 65_000, 0), ("TCP", busy.len(), 0), 0), "{seen:?}");
    assert!(seen[2].2 >= 9000 - cut.len() - 2, "{seen:?}");
}

#[test]
fn what_is_no_call_is_said_and_no_advice_is_given_that_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let poll = message("OPTIONS sip:poll-sip@ims SIP/2.0", &["a"], "").replace("1 INVITE", "1 OPTIONS");
    std::fs::write(dir.path().join("bono-1.log"), record(1, "RX", "TCP 127.0.0.1:4000", &poll)).unwrap();
    let (_, _, err) = plugin(dir.path(), &["trace", "--from", "bono-1.log"]);
    assert!(err.contains("is in these logs; OPTIONS, which are not listed: 1"), "{err}");
    for (level, advises) in [(2, true), (5, false)] {
        let line = format!("23-11-2026 10:00:00.000 UTC Status main.cpp:1433: Log level set to {level}\n");
        std::fs::write(dir.path().join("bono-1.log"), line).unwrap();
        let (_, _, err) = plugin(dir.path(), &["trace", "--from", "bono-1.log"]);
        assert!(err.contains("no SIP message of bono is in these logs"), "{err}");
        assert_eq!((err.contains("logLevel: 4"), err.contains("log level is 5")), (advises, !advises), "{err}");
    }
}

#[test]
fn the_level_is_changed_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    for with in
        [&["8f3a@10.244.1.7"][..], &["--failed"], &["--from", "x"], &["--since", "1m"], &["--disable"], &["--stdin"]]
    {
        let (code, _, err) = plugin(dir.path(), &[&["trace", "--enable"], with].concat());
        assert!(code == Some(2) && err.contains("cannot be used with"), "{with:?}: {code:?} {err}");
    }
}
