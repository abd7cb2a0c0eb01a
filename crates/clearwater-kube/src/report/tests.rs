use proptest::prelude::*;
use serde_json::json;

use super::*;

#[tokio::test]
async fn what_may_not_be_seen_is_listed() {
    let (cluster, _) = crate::fake_api::cluster(|path| match path.rsplit('/').next() {
        Some("secrets" | "nodes" | "pods/log") => Some(serde_json::Value::Null),
        Some("configmaps") => Some(json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {},
            "items": [{"metadata": {"name": "env-vars"}, "data": {"ADDITIONAL_SHARED_CONFIG": "signup_key=hush"}}]})),
        Some("env-vars") => None,
        _ => Some(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []})),
    });
    let options = ReportOptions::new().limit(1000_u64).timeout(Duration::from_secs(20));
    let gathered = gather(&cluster, &options).await.unwrap();
    let lacked: Vec<&str> = gathered.lacked.iter().map(String::as_str).collect();
    assert_eq!(lacked, ["nodes: needs list nodes", "secrets: needs list secrets"]);
    let map = String::from_utf8(gathered.files["objects/configmaps/env-vars.json"].clone()).unwrap();
    assert!(map.contains("\"kind\": \"ConfigMap\"") && !map.contains("hush"), "{map}");
}

#[test]
fn a_report_is_bounded_and_says_what_did_not_fit() {
    let of = |name: &str, length: usize| {
        let mut one = Gathered::default();
        one.files.insert(name.to_owned(), vec![b'x'; length]);
        one
    };
    let all = of("a", LARGEST - 5).join(of("b", 6)).join(of("c", 5)).join(of("d", 1));
    assert_eq!(all.files.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert!(all.lacked.iter().map(|l| &l[..2]).eq(["b:", "d:"]), "{:?}", all.lacked);
}

#[test]
fn of_a_log_that_is_cut_the_first_time_that_is_left_is_told() {
    let line = |second: u64| format!("24-11-2026 10:00:{second:02}.178 UTC Info a.cpp:1: line\n");
    let log: String = (10..20).map(line).collect();
    let length = u64::try_from(line(10).len()).unwrap();
    let mut gathered = Gathered::default();
    gathered.put_log(&["logs", "whole"], log.as_bytes(), length * 10, false);
    gathered.put_log(&["logs", "newest"], log.as_bytes(), length * 10, true);
    // Within the line of second 17.
    gathered.put_log(&["logs", "cut"], log.as_bytes(), length * 3 - 5, false);
    gathered.put_log(&["logs", "little"], log.as_bytes(), 5, false);
    let at = |name: &str| gathered.cut.get(name).map(|time| time.strftime("%S").to_string());
    assert_eq!(at("logs/whole"), None);
    assert_eq!(at("logs/newest").unwrap(), "11");
    assert_eq!(at("logs/cut").unwrap(), "18");
    assert!(
        gathered.cut["logs/little"] > "2026-11-24T10:00:20Z".parse().unwrap()
            || Timestamp::now() < "2026-11-24T10:00:20Z".parse().unwrap()
    );
    assert_eq!(gathered.files["logs/cut"].len() as u64, length * 3 - 5);
    gathered.cut = BTreeMap::from([("logs/ip-10-1-2-3".to_owned(), Timestamp::UNIX_EPOCH)]);
    gathered.anonymize();
    assert_eq!(gathered.cut.keys().collect::<Vec<_>>(), ["logs/ip-198-18-0-1"]);
}

#[test]
fn a_message_that_loses_a_secret_hides_no_other() {
    let message = |call: &str| {
        let message = format!(
            "REGISTER sip:ims SIP/2.0\r\nCall-ID: {call}\r\nAuthorization: Digest username=\"a\", response=\"{}\"\r\n\r\n",
            "0123456789abcdef".repeat(2)
        );
        format!(
            "24-11-2026 10:00:00.178 UTC Verbose common_sip_processing.cpp:87: RX {} bytes Request msg \
             REGISTER/cseq=1 (rdata0x1) from TCP 10.244.1.7:40000:\n--start msg--\n\n{message}\n--end msg--\n",
            message.len()
        )
    };
    let log = message("one") + &message("two") + &message("three");
    let mut gathered = Gathered::default();
    gathered.put_log(&["logs", "bono"], log.as_bytes(), 1 << 20, false);
    let calls = |text: &[u8]| -> Vec<String> {
        let mut assembler = Assembler::mixed();
        let lines = text.split_inclusive(|b| *b == b'\n');
        let mut records: Vec<_> = lines.filter_map(|line| assembler.push(line)).collect();
        records.extend(assembler.finish());
        let messages = records.iter().filter_map(clearwater::log::SipMessage::of);
        messages.map(|message| message.call_id().unwrap().into_owned()).collect()
    };
    assert_eq!(calls(&gathered.files["logs/bono"]), ["one", "two", "three"]);
    assert!(!String::from_utf8_lossy(&gathered.files["logs/bono"]).contains("89abcdef"));
    gathered.anonymize();
    assert_eq!(calls(&gathered.files["logs/bono"]), ["one", "two", "three"]);
}

#[test]
fn of_a_containers_files_the_newest_is_taken_and_others_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let bash = |script: &str, arguments: &[&str]| {
        let mut bash = std::process::Command::new("bash");
        let output = bash.args(["-c", script, "bash"]).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let path = dir.path().to_str().unwrap();
    let newest = || bash(NEWEST, &[path, "*.txt"]);
    assert_eq!(newest(), "");
    std::fs::write(dir.path().join("b.txt"), "second").unwrap();
    assert_eq!(newest(), format!("alone 6 {path}/b.txt"));
    // As daemons have it that name the newest once more.
    std::os::unix::fs::symlink("b.txt", dir.path().join("current.txt")).unwrap();
    assert_eq!(newest(), format!("alone 6 {path}/b.txt"));
    std::fs::write(dir.path().join("a.txt"), "first").unwrap();
    let old = std::fs::File::options().write(true).open(dir.path().join("a.txt")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(newest(), format!("newest 6 {path}/b.txt"));
    assert_eq!(bash(PIECE, &[&format!("{path}/b.txt"), "3", "3"]), "con");
    assert_eq!(bash(PIECE, &[&format!("{path}/b.txt"), "3", "9"]), "cond");
}

#[test]
fn what_tells_of_a_device_is_left_out_of_an_anonymized_report() {
    let text = "REGISTER sip:ims SIP/2.0\r\nUser-Agent: Annas Phone (MAC 00:0b:82:aa:bb:cc)\r\nP-Access-Network-Info: \
        3GPP-UTRAN-TDD;utran-cell-id-3gpp=2620112345abcde\r\nServer: kamailio\r\n\r\n";
    let node = r#"{"machineID": "0123456789abcdef0123456789abcdef", "systemUUID": "a-b-c", "kernelVersion": "6.1"}"#;
    let files = [("logs/x".to_owned(), text.into()), ("objects/n.json".to_owned(), node.into())];
    let mut gathered = Gathered { files: files.into(), ..Gathered::default() };
    gathered.anonymize();
    let all: Vec<u8> = gathered.files.values().flatten().copied().collect();
    let all = String::from_utf8_lossy(&all);
    for gone in ["Anna", "00:0b", "2620112345abcde", "0123456789abcdef", "a-b-c"] {
        assert!(!all.contains(gone), "{gone}: {all}");
    }
    assert!(all.contains("Server: kamailio") && all.contains("6.1"), "{all}");
}

#[test]
fn a_report_is_anonymized_as_a_whole() {
    let mut gathered = Gathered::default();
    // The first file by name does not say what the number is.
    gathered.put(&["a", "x.log"], b"6505550001 at 10.1.2.3");
    gathered.put(&["objects", "ip-10-1-2-3.json"], b"sip:6505550001@ims");
    gathered.lack("inside/bono", "10.1.2.3 does\n\nnot answer\n");
    gathered.anonymize();
    let text = |name: &str| String::from_utf8(gathered.files[name].clone()).unwrap();
    assert_eq!(text("a/x.log"), "9990000001 at 198.18.0.1");
    assert_eq!(text("objects/ip-198-18-0-1.json"), "sip:9990000001@ims");
    assert_eq!(gathered.lacked.first().unwrap(), "inside/bono: 198.18.0.1 does not answer");
}

proptest! {
    #[test]
    fn no_name_leads_out_of_its_folder(name in "\\PC{0,12}|[./]{0,6}") {
        let plain = plain(&name);
        prop_assert!(!plain.is_empty() && !plain.starts_with('.') && !plain.contains(['/', '\\']), "{plain:?}");
    }
}
