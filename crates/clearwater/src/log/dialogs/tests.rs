use proptest::prelude::*;

use super::*;
use crate::log::{LogGrammar, Record};

fn record(first: &str, cseq: &str, call: &str) -> Record {
    let body = format!(
        "{first}\r\nFrom: \"Ann\" <sip:1@a.b>;tag=x\r\nTo: <sip:2@a.b>\r\nCall-ID: {call}\r\nCSeq: {cseq}\r\n\r\n"
    );
    Record::new(
        LogGrammar::Cpp,
        format!(
            "23-11-2026 10:00:00.123 UTC Verbose common_sip_processing.cpp:87: RX {} bytes Request msg from TCP \
             10.0.0.1:5060:\n--start msg--\n\n{body}\n--end msg--\n",
            body.len()
        ),
    )
}

/// The messages of rows `message / CSeq`, a second each; a number at the begin is a status.
fn messages<'r>(rows: &'r [(&str, &str)]) -> impl Iterator<Item = (Timestamp, Record)> + 'r {
    let begin: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    rows.iter().enumerate().map(move |(n, (first, cseq))| {
        let line = match first.parse::<u16>() {
            Ok(_) => format!("SIP/2.0 {first} Some Reason"),
            Err(_) => format!("{first} sip:2@a.b SIP/2.0"),
        };
        (begin + std::time::Duration::from_secs(n as u64), record(&line, cseq, "c1"))
    })
}

fn dialogs(rows: &[(&str, &str)], subject: Option<&str>) -> Dialogs {
    let mut all = Dialogs::new(subject.map(|s| Traced::Subscriber(s.parse().unwrap())));
    for (time, record) in messages(rows) {
        all.take(time, &SipMessage::of(&record).unwrap());
    }
    all
}

#[test]
fn each_call_has_one_ending() {
    use DialogOutcome::{Cancelled, Failed, Succeeded, Unanswered};
    // (messages, method, status, outcome)
    let rows: [(&[(&str, &str)], _, _, _); 15] = [
        (
            &[("INVITE", "1 INVITE"), ("180", "1 INVITE"), ("200", "1 INVITE"), ("200", "2 BYE")],
            "INVITE",
            200,
            Succeeded,
        ),
        (
            &[("INVITE", "1 INVITE"), ("407", "1 INVITE"), ("INVITE", "2 INVITE"), ("200", "2 INVITE")],
            "INVITE",
            200,
            Succeeded,
        ),
        (&[("INVITE", "1 INVITE"), ("486", "1 INVITE")], "INVITE", 486, Failed),
        // One phone answers, the other is told that it is too late.
        (
            &[("INVITE", "1 INVITE"), ("200", "1 INVITE"), ("CANCEL", "1 CANCEL"), ("487", "1 INVITE")],
            "INVITE",
            200,
            Succeeded,
        ),
        (&[("INVITE", "1 INVITE"), ("486", "1 INVITE"), ("200", "1 INVITE")], "INVITE", 200, Succeeded),
        (
            &[("INVITE", "1 INVITE"), ("CANCEL", "1 CANCEL"), ("200", "1 CANCEL"), ("487", "1 INVITE")],
            "INVITE",
            487,
            Cancelled,
        ),
        // Within a call that stands.
        (
            &[("INVITE", "1 INVITE"), ("200", "1 INVITE"), ("INVITE", "2 INVITE"), ("488", "2 INVITE")],
            "INVITE",
            200,
            Failed,
        ),
        (&[("INVITE", "1 INVITE"), ("200", "1 INVITE"), ("BYE", "2 BYE")], "INVITE", 200, Unanswered),
        // What is asked within it a second time.
        (
            &[("INVITE", "1 INVITE"), ("200", "1 INVITE"), ("491", "2 INVITE"), ("200", "3 INVITE")],
            "INVITE",
            200,
            Succeeded,
        ),
        // It is accepted again and again, and that is acknowledged, or not.
        (
            &[("INVITE", "1 INVITE"), ("200", "1 INVITE"), ("200", "1 INVITE"), ("ACK", "1 ACK")],
            "INVITE",
            200,
            Succeeded,
        ),
        (&[("INVITE", "1 INVITE"), ("200", "1 INVITE"), ("200", "1 INVITE")], "INVITE", 200, Failed),
        // It is given up when it has been answered.
        (
            &[("INVITE", "1 INVITE"), ("CANCEL", "1 CANCEL"), ("200", "1 INVITE"), ("481", "1 CANCEL")],
            "INVITE",
            200,
            Succeeded,
        ),
        // A registration that was refreshed in vain.
        (&[("REGISTER", "1 REGISTER"), ("200", "1 REGISTER"), ("403", "2 REGISTER")], "REGISTER", 403, Failed),
        (&[("REGISTER", "1 REGISTER"), ("401", "1 REGISTER")], "REGISTER", 401, Failed),
        (&[("INVITE", "1 INVITE"), ("180", "1 INVITE")], "INVITE", 0, Unanswered),
    ];
    for (messages, method, status, outcome) in rows {
        let all = dialogs(messages, None).finish();
        let one = &all[0];
        assert_eq!(
            (all.len(), one.method.as_str(), one.answered().map_or(0, |a| a.0), one.outcome()),
            (1, method, status, outcome),
            "{messages:?}"
        );
        assert_eq!((one.from.as_str(), one.to.as_str()), ("1@a.b", "2@a.b"));
        assert_eq!(one.duration().unsigned_abs().as_secs(), messages.len() as u64 - 1);
        assert_eq!(one.messages, messages.len() as u64);
    }
}

#[test]
fn those_of_a_subscriber_are_picked_and_polls_are_counted() {
    let call: &[(&str, &str)] = &[("INVITE", "1 INVITE"), ("486", "1 INVITE")];
    for (subject, found) in [("1", 1), ("2@a.b", 1), ("3", 0), ("1@c.d", 0)] {
        assert_eq!(dialogs(call, Some(subject)).finish().len(), found, "{subject}");
    }
    let polls = dialogs(&[("OPTIONS", "1 OPTIONS"), ("200", "1 OPTIONS")], None);
    assert_eq!((polls.polls(), polls.finish().len()), (1, 0));
}

#[test]
fn a_call_can_be_looked_at_while_messages_come() {
    let mut all = dialogs(&[("INVITE", "1 INVITE"), ("180", "1 INVITE")], None);
    let outcome =
        |all: &Dialogs| all.of_call("c1").map(|(place, d)| (place, d.messages, d.outcome())).collect::<Vec<_>>();
    assert_eq!(outcome(&all), [(0, 2, DialogOutcome::Unanswered)]);
    let busy = record("SIP/2.0 486 Busy Here", "1 INVITE", "c1");
    all.take("2026-11-23T10:00:09Z".parse().unwrap(), &SipMessage::of(&busy).unwrap());
    assert_eq!(outcome(&all), [(0, 3, DialogOutcome::Failed)]);
    assert_eq!(all.of_call("c2").count() + dialogs(&[("INVITE", "1 INVITE")], Some("3")).of_call("c1").count(), 0);
}

#[test]
fn more_than_is_kept_is_counted() {
    let time: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let mut all = Dialogs { most: 3, ..Dialogs::new(None) };
    for n in 0..5 {
        let record = record("INVITE sip:2@a.b SIP/2.0", "1 INVITE", &format!("c{n}"));
        all.take(time, &SipMessage::of(&record).unwrap());
    }
    assert_eq!((all.left_out(), all.finish().len()), (2, 3));
}

proptest! {
    #[test]
    fn files_may_be_read_in_any_order(order in Just((0..5).collect::<Vec<usize>>()).prop_shuffle()) {
        let rows = [("INVITE", "1 INVITE"), ("407", "1 INVITE"), ("INVITE", "2 INVITE"), ("486", "2 INVITE"), ("ACK", "2 ACK")];
        let begin: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let mut all = Dialogs::new(None);
        for n in order {
            let (first, cseq) = rows[n];
            let line = if first.parse::<u16>().is_ok() { format!("SIP/2.0 {first} R") } else { format!("{first} sip:2@a.b SIP/2.0") };
            let record = record(&line, cseq, "c1");
            all.take(begin + std::time::Duration::from_secs(n as u64), &SipMessage::of(&record).unwrap());
        }
        let all = all.finish();
        prop_assert_eq!((all[0].method.as_str(), all[0].outcome(), all[0].messages), ("INVITE", DialogOutcome::Failed, 5));
        prop_assert_eq!((all[0].answered().map(|a| a.0), all[0].began), (Some(486), begin));
    }

    #[test]
    fn whatever_a_peer_sends_is_one_line(first in "\\PC{0,30}", call in any::<String>()) {
        let record = record(&first, "x", &call);
        let mut all = Dialogs::new(None);
        if let Some(message) = SipMessage::of(&record) {
            all.take("2026-11-23T10:00:00Z".parse().unwrap(), &message);
        }
        for one in all.finish() {
            prop_assert!(!one.call_id.contains(crate::text::is_harmful) && !one.method.contains(crate::text::is_harmful));
        }
    }
}

#[test]
fn what_is_still_waited_for_when_logs_are_taken_has_not_come_to_nothing() {
    use DialogOutcome::{Failed, Proceeding, Unanswered};
    let ringing: &[_] = &[("INVITE", "1 INVITE"), ("180", "1 INVITE")];
    // Its last message is a second after its first.
    for (rows, seconds, outcome) in [
        (ringing, 0, Proceeding),
        (ringing, 180, Proceeding),
        (ringing, 181, Unanswered),
        (&[("INVITE", "1 INVITE"), ("200", "1 INVITE"), ("BYE", "2 BYE")], 33, Proceeding),
        (&[("INVITE", "1 INVITE"), ("200", "1 INVITE"), ("BYE", "2 BYE")], 34, Unanswered),
        (&[("MESSAGE", "1 MESSAGE")], 31, Proceeding),
        (&[("MESSAGE", "1 MESSAGE")], 32, Unanswered),
        (&[("INVITE", "1 INVITE"), ("486", "1 INVITE")], 0, Failed),
        // Whoever is challenged tries again.
        (&[("REGISTER", "1 REGISTER"), ("401", "1 REGISTER")], 32, Proceeding),
        (&[("REGISTER", "1 REGISTER"), ("401", "1 REGISTER")], 33, Failed),
    ] {
        let taken = "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds);
        let all = dialogs(rows, None).taken(Some(taken)).finish();
        assert_eq!(all[0].outcome(), outcome, "{rows:?} after {seconds} s");
        assert_eq!(all[0].broken().is_some(), outcome != Proceeding, "{rows:?} after {seconds} s");
    }
}

#[test]
fn a_challenge_is_told_live_by_what_it_came_to() {
    let told = |rows: &[(&str, &str)]| {
        let mut all = Dialogs::new(None);
        let take = |(time, record): (Timestamp, Record)| {
            all.take(time, &SipMessage::of(&record).unwrap()).map(Dialog::outcome)
        };
        messages(rows).filter_map(take).collect::<Vec<_>>()
    };
    let twice = [
        ("REGISTER", "1 REGISTER"),
        ("401", "1 REGISTER"),
        ("REGISTER", "2 REGISTER"),
        ("200", "2 REGISTER"),
        ("REGISTER", "3 REGISTER"),
        ("401", "3 REGISTER"),
        ("REGISTER", "4 REGISTER"),
        ("200", "4 REGISTER"),
    ];
    assert_eq!(told(&twice), [DialogOutcome::Succeeded]);
    let refused = [&twice[..3], &[("403", "2 REGISTER")]].concat();
    assert_eq!(told(&refused), [DialogOutcome::Failed]);
}
