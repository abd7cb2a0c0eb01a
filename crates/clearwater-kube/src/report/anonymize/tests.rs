use clearwater::log::{Assembler, Dialog, DialogOutcome, Dialogs, Identity, LogGrammar, SipMessage};
use proptest::prelude::*;

use super::*;

/// Every text read once, then all of them under other names.
fn anonymized(texts: &[&str]) -> Vec<String> {
    let mut anonymizer = Anonymizer::default();
    let mut all = || -> Vec<String> {
        let change = |text: &&str| super::super::messages::changed(text.as_bytes(), |text| anonymizer.text(text));
        texts.iter().map(change).map(|text| String::from_utf8(text).unwrap()).collect()
    };
    all();
    all()
}

#[test]
fn the_same_number_and_address_are_the_same_in_every_text() {
    let texts = [
        "24-11-2026 10:00:00.178 UTC [7f01] Info a.cpp:1: number 6505550001 of 10.244.1.4:5060\n",
        "INVITE sip:6505550001@ims.svc SIP/2.0\r\nVia: SIP/2.0/TCP 10.244.1.4;rport\r\nCall-ID: 1-69@10.244.1.4\r\n",
        "503 GET /impi/6505550001%40ims.svc/av 0.000198 seconds; /impu/sip%3A+16505550002%40ims.svc",
        r#"tel:+16505550002;phone-context=x tel%3A6505550001 ann@ims.svc {"log": "a\n6505550001@ims\ttel:6505550001\nann@x"}"#,
        r#"{"hostIP": "10.244.1.4", "name": "ip-10-244-1-4.ec2.internal", "v6": "fd00::12", "at": "[fd00::12]:5060"}"#,
    ];
    let got = anonymized(&texts);
    assert_eq!(
        got,
        [
            "24-11-2026 10:00:00.178 UTC [7f01] Info a.cpp:1: number 9990000001 of 198.18.0.1:5060\n",
            "INVITE sip:9990000001@ims.svc SIP/2.0\r\nVia: SIP/2.0/TCP 198.18.0.1;rport\r\nCall-ID: user-1@198.18.0.1\r\n",
            "503 GET /impi/9990000001%40ims.svc/av 0.000198 seconds; /impu/sip%3A+9990000002%40ims.svc",
            r#"tel:+9990000002;phone-context=x tel%3A9990000001 user-2@ims.svc {"log": "a\n9990000001@ims\ttel:9990000001\nuser-2@x"}"#,
            r#"{"hostIP": "198.18.0.1", "name": "ip-198-18-0-1.ec2.internal", "v6": "2001:db8::1", "at": "[2001:db8::1]:5060"}"#,
        ]
    );
}

#[test]
fn what_tells_of_nobody_stays() {
    for text in [
        "sprout-5f649d585b-92x7j bono.ims.svc.cluster.local:5060 127.0.0.1:4000 0.0.0.0 ::1 std::string",
        "24-11-2026 10:00:00.178 UTC [7f6063c00c00] Status globals.cpp:141: 23:29:10 1764240000 v1.34.0 3.2.32",
        "quay.io/coreos/etcd@sha256:0a1b2c 1000000 65536 Content-Length: 16505 sprout@ims",
        "{\"resourceVersion\": \"123456\", \"startTime\": \"2026-11-27T10:00:00Z\"}",
    ] {
        assert_eq!(anonymized(&[text]), [text]);
    }
}

#[test]
fn a_person_is_the_same_in_every_form() {
    let texts = [
        "From: \"Alice Smith\" <sip:alice@ims>;tag=a\r\nTo: Bob Jones <tel:+1-510-555-0101>\r\nContact: \"\" <sip:alice@[fd00::1]>",
        "\"+1 (510) 555-0101\" <sip:+15105550101@ims> called (510) 555-0101 or 15105550101, 0510.555.0101 and +1 510 555 0101",
        r#"{"log": "From: \"Alice Smith\" <sip:alice@ims>\r\nf: Bob Jones <sip:x@ims>\n", "a": "<sip:alice@ims>"}"#,
        "Authorization: Digest username=\"001010123456789\", realm=\"alice.example\"; Alice Smith, alice and Bob: no alice=1",
        "<PublicIdentity><Identity>sip:alice@ims</Identity></PublicIdentity><PrivateID>001010123456789@ims</PrivateID>",
    ];
    let got = anonymized(&texts);
    assert_eq!(
        got,
        [
            "From: \"user-1\" <sip:user-4@ims>;tag=a\r\nTo: user-5 <tel:+9990000001>\r\nContact: \"\" <sip:user-4@[2001:db8::1]>",
            "\"+9990000001\" <sip:+9990000001@ims> called 9990000001 or 9990000001, 9990000001 and +9990000001",
            r#"{"log": "From: \"user-1\" <sip:user-4@ims>\r\nf: user-5 <sip:user-8@ims>\n", "a": "<sip:user-4@ims>"}"#,
            "Authorization: Digest username=\"9990000002\", realm=\"alice.example\"; user-1, user-4 and user-6: no alice=1",
            "<PublicIdentity><Identity>sip:user-4@ims</Identity></PublicIdentity><PrivateID>9990000002@ims</PrivateID>",
        ]
    );
}

#[test]
fn nobody_is_recognised_in_what_peers_and_stores_write() {
    // (text, what may not be left of it)
    let rows: [(&str, &[&str]); 26] = [
        ("From: Alice <sip:a1@x>", &["Alice"]),
        ("f:Alice B. Smith<sip:a1@x>", &["Alice", "Smith"]),
        ("From:\r\n Alice\r\n <sip:a1@x>", &["Alice"]),
        ("From: \"Alice \\\"Al\\\" Smith\"<sip:a1@x>", &["Alice", "Al\\", "Smith"]),
        ("From: \"Alice\\\\\" <sip:a1@x>", &["Alice"]),
        ("P-Asserted-Identity: <sip:b@x>;a=b, Alice <tel:+1(650)5550101>", &["Alice", "650", "0101"]),
        ("From: \u{c9}milie <sip:a1@x>\nI \u{c9}milie", &["milie"]),
        ("&quot;Alice&quot; &lt;sip:a1@x&gt;", &["Alice"]),
        ("Subject: lunch with Alice\r\n", &["lunch", "Alice"]),
        ("o=alice 1 1 IN IP4 10.0.0.1\r\n", &["alice"]),
        (r"\r\n\r\nv=0\r\no=alice 1 1 IN IP4 10.0.0.1\r\n", &["alice"]),
        ("sip:alice:hush@x sip:+1-650-555-0101;phone-context=x.org@y", &["alice", "hush", "650", "0101"]),
        ("/impu/sip%3A%2B16505550101%40x /impi/alice%40x", &["650555", "alice"]),
        (r#"{"private_id": "00101012345", "msisdn":"16505550101"}"#, &["0101012", "650555"]),
        (r#"{"private_ids": ["alice", "bobby"], "displayName": "Carol Lee"}"#, &["alice", "bobby", "Carol", "Lee"]),
        (r#"{\"sip_username\": \"alice\", \"formatted_number\": \"(650) 555-0101\"}"#, &["alice", "650", "0101"]),
        ("impi=alice, impu: bobby imsi=001010123456789", &["alice", "bobby", "10123456"]),
        ("<display-name xml:lang=\"en\">Alice Smith</display-name>", &["Alice", "Smith"]),
        (r"\u003cPrivateID\u003e001010123456789\u003c/PrivateID\u003e", &["10123456"]),
        ("Contact: <sip:a1@x>;+sip.instance=\"<urn:uuid:deadbeef-1234-5678-9abc-aabbccddeeff>\"", &["aabbccddeeff"]),
        ("Call-ID: regone-annemarie-pc.example\r\nCSeq: 1 INVITE\r\n", &["annemarie"]),
        (r"\r\ni: w1-35209900176148\r\n", &["9900176148"]),
        ("v=0\r\ns=Kasimirs call\r\ni=with Otto\r\n", &["Kasimir", "Otto"]),
        ("Call-Info: <http://example.org/theodora.jpg>;purpose=icon\r\n", &["theodora"]),
        ("User-to-User: 4f74746f6b6172;encoding=hex\r\n", &["4f74746f"]),
        ("username*=UTF-8''alice%40x, urn:gsma:imei:90420156-025763-0", &["alice", "025763"]),
    ];
    for (text, hidden) in rows {
        let got = anonymized(&[text]);
        assert!(hidden.iter().all(|hidden| !got[0].contains(hidden)), "{text}: {}", got[0]);
    }
}

#[test]
fn what_is_called_as_one_of_the_others_stays_another() {
    let texts = ["user-1 and 9990000001 at 198.18.0.1", "sip:alice@x sip:6505550001@x 10.0.0.1"];
    let got = anonymized(&texts);
    assert_eq!(got[0], "user-1 and 9990000001 at 198.18.0.2");
    assert_eq!(got[1], "sip:user-2@x sip:9990000002@x 198.18.0.3");
}

/// A call and its answer as sprout logs them.
fn logged(headers: &str) -> String {
    ["RX|Request|from|INVITE sip:c@ims SIP/2.0", "TX|Response|to|SIP/2.0 404 Not Found"]
        .map(|line| {
            let [way, what, side, first] = line.splitn(4, '|').collect::<Vec<_>>().try_into().unwrap();
            let message = format!("{first}\r\n{headers}CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
            format!(
                "23-11-2026 10:00:00.000 UTC Verbose common_sip_processing.cpp:87: {way} {} bytes {what} msg \
                 INVITE/cseq=1 (rdata0x1) {side} TCP 10.244.1.7:40000:\n--start msg--\n\n{message}\n--end msg--\n",
                message.len()
            )
        })
        .concat()
}

/// What a log's messages tell: of each its Call-ID, who asks and whom; and how each dialog ended.
fn told(log: &str) -> (Vec<[String; 3]>, Vec<DialogOutcome>) {
    let mut assembler = Assembler::new(LogGrammar::Cpp);
    let lines = log.as_bytes().split_inclusive(|b| *b == b'\n');
    let mut records: Vec<_> = lines.filter_map(|line| assembler.push(line)).collect();
    records.extend(assembler.finish());
    let mut dialogs = Dialogs::new(None);
    let mut messages = Vec::new();
    for message in records.iter().filter_map(SipMessage::of) {
        dialogs.take("2026-11-23T10:00:00Z".parse().unwrap(), &message);
        let named = |field: &str| Identity::of_header(&message.header(field).unwrap()).unwrap().to_string();
        messages.push([message.call_id().unwrap().into_owned(), named("From"), named("To")]);
    }
    (messages, dialogs.finish().iter().map(Dialog::outcome).collect())
}

proptest! {
    /// Names are of letters that no other word here has.
    #[test]
    fn of_messages_nothing_recognisable_remains_and_they_are_read_as_before(
        name in "[QXZ][qxz]{3,8}( [QXZ][qxz]{3,8}){0,2}", token in "[QXZ][qxz]{3,8}( [QXZ][qxz]{3,8})?",
        user in "[qxz]{4,9}(\\.[qxz]{2,5})?", number in "[1-9][0-9]{10}", imsi in "[1-9][0-9]{14}", call in "[a-f0-9-]{6,12}",
        separators in prop::collection::vec(prop::sample::select(vec!["", "-", ".", "-(", ")", ") "]), 3), other in "[qxz]{4,9}"
    ) {
        let groups = [&number[..1], &number[1..4], &number[4..7], &number[7..]];
        let written: String = groups.iter().zip(separators.iter().copied().chain([""])).flat_map(|(group, between)| [*group, between]).collect();
        let in_uri = written.replace(' ', "");
        let headers = format!(
            "Via: SIP/2.0/TCP 10.244.1.7:40000;branch=z9hG4bK1\r\nFrom: \"{name}\" <sip:{user}@ims>;tag=a\r\nTo: {token} <tel:+{in_uri}>\r\n\
             Call-ID: {call}@10.244.1.7\r\nContact: <sip:{user}@10.244.1.7:5060;transport=tcp>\r\n\
             P-Asserted-Identity: <sip:{other}@ims>, \"{token}\" <sip:+{number}@ims;user=phone>\r\n\
             Authorization: Digest username=\"{imsi}\", realm=\"ims\", uri=\"sip:ims\"\r\n"
        );
        let log = logged(&headers);
        let json = serde_json::to_string(&serde_json::json!({"log": log, "private_id": imsi, "display_name": name})).unwrap();
        let xml = format!("<PublicIdentity><Identity>sip:{user}@ims</Identity></PublicIdentity><PrivateID>{imsi}</PrivateID>");
        let said = format!("{name} ({user}) calls +{written}, {imsi}\n");
        let texts = [said.as_str(), &log, &json, &xml];
        let got = anonymized(&texts);
        let all = got.concat();
        let digits: String = all.chars().filter(char::is_ascii_digit).collect();
        let words = name.split(' ').chain(token.split(' ')).chain([user.as_str(), &other]);
        for word in words {
            prop_assert!(!all.contains(word), "{word}: {all}");
        }
        prop_assert!(!digits.contains(&number) && !digits.contains(&imsi), "{all}");
        prop_assert!(serde_json::from_str::<serde_json::Value>(&got[2]).is_ok(), "{}", got[2]);
        let ((before, outcomes), (after, others)) = (told(&log), told(&got[1]));
        prop_assert_eq!((outcomes, before.len()), (others, 2));
        prop_assert_eq!(&after[0], &after[1]);
        prop_assert_eq!(after.len(), 2);
        // Who is called by a number is that number wherever it stands, however it is written.
        prop_assert!(got[0].contains(&format!("+{}", after[0][2])), "{all}");
        prop_assert!(got[1].contains(&format!("sip:+{}@ims;user=phone", after[0][2])), "{all}");
    }
}

proptest! {
    #[test]
    fn no_number_and_no_address_is_left(
        number in "[1-8][0-9]{6,11}", a in 1_u8..127, b in 10_u8..250, before in "[ -~]{0,12}[ <;=\"]", behind in "[ >;,\"\n][ -~]{0,12}"
    ) {
        let address = format!("{a}.{b}.{b}.{b}");
        prop_assume!(!address.starts_with("127."));
        let texts = [format!("sip:{number}@ims"), format!("{before}{number}{behind}"), format!("{before}{address}{behind}")];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let got = anonymized(&texts);
        prop_assert!(!got[0].contains(&number) && !got[1].contains(&number) && !got[2].contains(&address), "{:?}", got);
    }

    /// Addresses of the range that the others are taken from, and numbers as the others are, may well be met.
    #[test]
    fn who_stands_for_somebody_is_nobody_that_was_met(
        addresses in prop::collection::vec(0..20_u8, 1..12), numbers in prop::collection::vec(0..20_u64, 1..12), users in prop::collection::vec(0..20_u8, 1..12)
    ) {
        let addresses = addresses.iter().map(|n| format!("198.18.0.{n}"));
        let numbers = numbers.iter().map(|n| format!("sip:{}@x", FIRST_NUMBER + n));
        let texts: Vec<String> = addresses.chain(numbers).chain(users.iter().map(|n| format!("sip:user-{n}@x"))).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let got = anonymized(&texts);
        for (other, one) in got.iter().zip(&texts) {
            prop_assert!(!texts.contains(&other.as_str()), "{:?}", got);
            let same = |of: &[&str], as_: &str| of.iter().map(|o| *o == as_).collect::<Vec<_>>();
            let others: Vec<&str> = got.iter().map(String::as_str).collect();
            prop_assert_eq!(same(&others, other), same(&texts, one));
        }
    }

    #[test]
    fn any_bytes_are_read_and_known_persons_keep_their_names(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut anonymizer = Anonymizer::default();
        anonymizer.text(&text);
        prop_assert_eq!(anonymizer.text(&text), anonymizer.text(&text));
    }
}
