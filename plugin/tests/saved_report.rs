//! What a report shows where there is no cluster.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

fn run(dir: &Path, line: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
    let output = command.args(line.split_whitespace()).current_dir(dir).env_clear().output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn zip(path: &Path, files: &[(&str, &[u8])]) {
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

fn status(healthy: bool, unreached: bool) -> Value {
    json!({"v": 1, "namespace": "ims", "release": "hunter", "at": "2026-11-23T10:00:00Z", "healthy": healthy,
        "partial": false, "unreached": unreached, "looks": 2, "notes": [],
        "components": [{"component": "bono", "roles": ["p-cscf"], "health": if healthy { "serving" } else { "unwell" },
            "image": "x/bono:1", "ready": 1, "wanted": 1, "pods": [], "members": {},
            "problems": if healthy { vec![] } else { vec!["5060 is closed\u{1b}[2J"] }, "log": null, "unchecked": [], "pending": 0}]})
}

#[test]
fn the_status_of_a_report_is_shown_with_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    for (healthy, unreached, expected) in [(true, false, 0), (false, false, 5), (false, true, 5)] {
        zip(&dir.path().join("r.zip"), &[("status.json", status(healthy, unreached).to_string().as_bytes())]);
        let (code, said) = run(dir.path(), "status --from r.zip");
        assert_eq!(code, Some(expected), "{said}");
        assert!(said.contains("as it was at 2026-11-23T10:00:00Z") && said.contains("p-cscf"), "{said}");
        assert!(said.contains("5060 is closed") != healthy && !said.contains('\u{1b}'), "{said}");
    }
    let (code, said) = run(dir.path(), "status --from r.zip -o json");
    assert!(code == Some(5) && said.contains("\"component\": \"bono\""), "{said}");
}

#[test]
fn the_checks_of_a_report_are_shown_with_their_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let line = |status: &str, title: &str| json!({"id": "names", "title": title, "status": status, "detail": "NXDOMAIN\u{1b}[2J", "fix": "dns-patch --explain"});
    for (statuses, healthy, complete, expected) in [
        (&["ok"][..], true, true, 0),
        (&["ok", "skipped"], true, false, 1),
        (&["failed", "failed", "warning"], false, true, 5),
    ] {
        let lines: Vec<Value> = statuses.iter().zip(["a", "b", "c"]).map(|(s, title)| line(s, title)).collect();
        let checks = json!({"v": 1, "namespace": "ims", "at": "2026-11-23T10:00:00Z", "before": false, "healthy": healthy,
            "complete": complete, "looks": 2, "groups": [{"group": "names", "checks": lines}]});
        zip(&dir.path().join("r.zip"), &[("check.json", checks.to_string().as_bytes())]);
        let (code, said) = run(dir.path(), "check --from r.zip");
        assert_eq!(code, Some(expected), "{said}");
        assert!(said.contains("as it was at 2026-11-23T10:00:00Z") && !said.contains('\u{1b}'), "{said}");
        // What is the same for all of them is said once.
        let told = usize::from(expected == 5);
        assert_eq!(said.matches("fix: dns-patch --explain").count(), told, "{said}");
    }
    let (code, said) = run(dir.path(), "check --from r.zip -o json");
    assert!(code == Some(5) && said.contains("\"healthy\": false"), "{said}");
    let (code, said) = run(dir.path(), "check --from r.zip --images");
    assert!(code == Some(2) && said.contains("there is no check-images.json in it"), "{said}");
    let claims = json!({"v": 1, "namespace": "ims", "at": "2026-11-23T10:00:00Z", "agrees": false, "complete": true,
        "images": [{"component": "bono", "image": "bono:1", "pod": "bono-0", "ready": true, "claims": [{"id": "programs",
            "about": "bono", "claim": "has exactly its programs", "source": "x", "known": "read", "verdict": "differs",
            "seen": "bono FATAL\u{1b}[2J"}]}]});
    zip(&dir.path().join("r.zip"), &[("check-images.json", claims.to_string().as_bytes())]);
    let (code, said) = run(dir.path(), "check --images --from r.zip");
    assert!(code == Some(5) && said.contains("1 claim differs") && !said.contains('\u{1b}'), "{said}");
}

#[cfg(unix)]
#[test]
fn a_report_is_a_file_and_no_pipe_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap().success());
    for line in ["status --from pipe", "check --from pipe", "check --images --from pipe"] {
        let (code, said) = run(dir.path(), line);
        assert!(code == Some(2) && said.contains("pipe: cannot be read: it is no file"), "{line}: {code:?} {said}");
    }
}

#[test]
fn what_is_no_report_is_named_as_such_and_takes_no_room() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("text.zip"), "no zip").unwrap();
    zip(&dir.path().join("empty.zip"), &[("report.json", b"{}")]);
    zip(&dir.path().join("other.zip"), &[("status.json", b"{\"v\": 7}")]);
    zip(&dir.path().join("long.zip"), &[("status.json", &vec![b' '; 17 << 20])]);
    for (file, said) in [
        ("text.zip", "it is no report"),
        ("empty.zip", "there is no status.json in it"),
        ("other.zip", "is not what this version writes"),
        ("long.zip", "it is longer than"),
        ("none.zip", "none.zip"),
    ] {
        let (code, told) = run(dir.path(), &format!("status --from {file}"));
        // What is no report was never meant; of one that lacks something the command line is right.
        let right = if file == "empty.zip" { 1 } else { 2 };
        assert!(code == Some(right) && told.contains(said), "{file}: {code:?} {told}");
    }
}

/// What a document says of itself counts for no more than its lines.
#[test]
fn a_document_is_judged_by_its_lines() {
    let dir = tempfile::tempdir().unwrap();
    let line = |status: &str| json!({"id": "names", "title": status, "status": status, "detail": ""});
    let checks = |v: u32, groups: Value| {
        json!({"v": v, "namespace": "ims", "at": "2026-11-23T10:00:00Z", "before": false, "healthy": true, "complete": true,
            "looks": 1, "groups": groups})
    };
    let of = |lines: Value| json!([{"group": "names", "checks": lines}]);
    for (document, expected, said) in [
        (checks(1, of(json!([line("ok")]))), 0, "all is well"),
        (checks(1, of(json!([line("ok"), line("unseen")]))), 1, "1 check could not be made"),
        (checks(1, of(json!([line("ok"), line("failed")]))), 5, "1 finding unwell"),
        (checks(1, of(json!([]))), 1, "nothing was looked at"),
        (checks(1, json!([])), 1, "nothing was looked at"),
        (checks(2, of(json!([line("ok")]))), 2, "its format's version is 2, and 1 is read"),
    ] {
        zip(&dir.path().join("r.zip"), &[("check.json", document.to_string().as_bytes())]);
        let (code, told) = run(dir.path(), "check --from r.zip");
        assert!(code == Some(expected) && told.contains(said), "{document}: {code:?} {told}");
        assert_eq!(told.contains("all is well"), expected == 0, "{told}");
    }
    let mut seen = status(true, false);
    seen["components"][0]["health"] = "unseen".into();
    seen["complete"] = true.into();
    zip(&dir.path().join("r.zip"), &[("status.json", seen.to_string().as_bytes())]);
    assert_eq!(run(dir.path(), "status --from r.zip").0, Some(1));
    for (claims, said) in [
        (json!([]), "nothing was looked at"),
        (
            json!([{"id": "programs", "about": "bono", "claim": "x", "source": "x", "known": "read", "verdict": "could-not-look",
            "why": "y"}]),
            "1 claim could not be looked at",
        ),
    ] {
        let document = json!({"v": 1, "namespace": "ims", "at": "2026-11-23T10:00:00Z", "agrees": true, "complete": true,
            "images": [{"component": "bono", "image": "bono:1", "pod": "bono-0", "ready": true, "claims": claims}]});
        zip(&dir.path().join("r.zip"), &[("check-images.json", document.to_string().as_bytes())]);
        let (code, told) = run(dir.path(), "check --images --from r.zip");
        assert!(code == Some(1) && told.contains(said), "{document}: {code:?} {told}");
    }
}

/// What of a report are no logs is not read as logs, packed or unpacked.
#[test]
fn a_report_without_logs_is_told_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let contents = json!({"v": 1, "at": "2026-11-23T10:00:00Z", "namespace": "ims", "cut": {}, "files": ["status.json"],
        "lacked": ["logs/bono-0/bono: needs get pods/log", "logs/sprout-0/sprout: needs get pods/log"]});
    let contents = contents.to_string();
    let status = status(true, false).to_string();
    let files = [("report.json", contents.as_bytes()), ("status.json", status.as_bytes())];
    zip(&dir.path().join("r.zip"), &files);
    std::fs::create_dir(dir.path().join("unpacked")).unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join("unpacked").join(name), bytes).unwrap();
    }
    for command in ["logs", "trace", "trace someone", "logs --only-log-lines"] {
        for from in ["r.zip", "unpacked"] {
            let (code, said) = run(dir.path(), &format!("{command} --from {from}"));
            let is_told = said.contains("this report holds no logs; not in it: 2 parts that need get pods/log");
            assert!(code == Some(1) && is_told && !said.contains("serving"), "{command} {from}: {code:?} {said}");
        }
    }
    // With some, these alone are read.
    let log = "23-11-2026 10:00:00.000 UTC Error a.cpp:1: x\n";
    zip(&dir.path().join("r.zip"), &[&files[..], &[("logs/bono-0/bono/now.log", log.as_bytes())]].concat());
    std::fs::create_dir_all(dir.path().join("unpacked/logs/bono-0/bono")).unwrap();
    std::fs::write(dir.path().join("unpacked/logs/bono-0/bono/now.log"), log).unwrap();
    for from in ["r.zip", "unpacked"] {
        let (code, said) = run(dir.path(), &format!("logs --from {from} -o raw"));
        assert!(code == Some(0) && said.lines().count() == 1 && said.contains("a.cpp:1: x"), "{from}: {code:?} {said}");
    }
}

/// Which logs are whole is said in one place: where that cannot be read, what is drawn may lack its beginning.
#[test]
fn a_report_that_cannot_say_which_logs_are_whole_is_not_read_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let call = logged(10, "RX", "192.0.2.7:5060", "INVITE sip:2@ims SIP/2.0", &["a"]);
    for (contents, expected, said) in [
        (r#"{"v": 1, "cut": {}}"#, 0, ""),
        // Whoever wrote it: which logs are whole is not known.
        ("{}", 1, "report.json: not read: its format's version is none, and 1 is read"),
        (r#"{"items": []}"#, 1, "report.json: not read: its format's version is none, and 1 is read"),
        (r#"{"v": 1, "cut": {"logs/bon"#, 1, "report.json: not read: EOF while parsing"),
        (r#"{"v": 7, "cut": {}}"#, 1, "report.json: not read: its format's version is 7, and 1 is read"),
    ] {
        let files = [("report.json", contents.as_bytes()), ("logs/bono-0/bono/now.log", call.as_bytes())];
        zip(&dir.path().join("r.zip"), &files);
        let unpacked = dir.path().join("unpacked");
        std::fs::create_dir_all(unpacked.join("logs/bono-0/bono")).unwrap();
        for (name, bytes) in files {
            std::fs::write(unpacked.join(name), bytes).unwrap();
        }
        for from in ["r.zip", "unpacked"] {
            for line in ["logs -o raw", "trace c-1@ims"] {
                let (code, told) = run(dir.path(), &format!("{line} --from {from}"));
                assert!(code == Some(expected) && told.contains(said), "{line} {from} {contents}: {code:?} {told}");
                assert!(told.contains("INVITE"), "what can be read is: {told}");
            }
        }
    }
    zip(&dir.path().join("r.zip"), &[("pods.json", b"{}")]);
    let (code, told) = run(dir.path(), "status --from r.zip");
    assert!(
        code == Some(2) && told.contains("there is no status.json in it, nor a report.json: it is no report"),
        "{told}"
    );
}

/// A log without a form is no more than that, and hides no call.
#[test]
fn what_a_script_prints_is_no_log_that_was_not_understood() {
    let dir = tempfile::tempdir().unwrap();
    let numbers = b"Created 1000 numbers, 0 already present in database\n";
    let call = logged(10, "RX", "192.0.2.7:5060", "INVITE sip:2@ims SIP/2.0", &["a"]);
    let with = |name: &str, text: &[u8]| {
        zip(
            &dir.path().join("r.zip"),
            &[("report.json", b"{\"v\": 1, \"cut\": {}}"), ("logs/bono-0/bono/now.log", call.as_bytes()), (name, text)],
        );
        run(dir.path(), "trace --from r.zip c-1@ims")
    };
    let (code, said) = with("logs/ellis-0/ellis/log-create_numbers.log", numbers);
    assert!(code == Some(0) && !said.contains("form that is known"), "{code:?} {said}");
    let (_, said) = with("logs/ellis-0/ellis/ellis_20261123T100000Z.txt", numbers);
    assert!(said.contains("ellis_20261123T100000Z.txt: none of its 1 line is in a form that is known"), "{said}");
}

/// A message as a daemon logs it, at a second.
fn logged(second: u32, way: &str, peer: &str, first: &str, vias: &[&str]) -> String {
    let vias: String = vias.iter().map(|via| format!("Via: SIP/2.0/TCP x.ims;branch=z9hG4bK{via}\r\n")).collect();
    let message = format!(
        "{first}\r\n{vias}From: <sip:1@ims>;tag=a\r\nTo: <sip:2@ims>\r\nCall-ID: c-{second}@ims\r\nCSeq: 1 INVITE\r\n\r\n"
    );
    let message = message.replace(&format!("c-{second}@"), &format!("c-{}@", second / 10));
    let side = if way == "RX" { "from" } else { "to" };
    format!(
        "23-11-2026 10:00:{second:02}.000 UTC Verbose common_sip_processing.cpp:87: {way} {} bytes Request msg \
         INVITE/cseq=1 (rdata0x1) {side} TCP {peer}:\n--start msg--\n\n{message}\n--end msg--\n",
        message.len()
    )
}

#[test]
fn what_began_before_a_reports_logs_were_cut_is_drawn_and_not_judged() {
    let (invite, busy) = ("INVITE sip:2@ims SIP/2.0", "SIP/2.0 486 Busy Here");
    let (phone, bono, sprout) = ("192.0.2.7:5060", "10.244.1.4:5058", "10.244.1.5:5054");
    // Call 1 is answered well at once, call 3 is refused.
    let of_bono = |call: u32| {
        let asked = [logged(call, "RX", phone, invite, &["a"]), logged(call + 1, "TX", sprout, invite, &["b", "a"])];
        if call < 30 {
            return asked.concat();
        }
        asked.concat()
            + &logged(call + 3, "RX", sprout, busy, &["b", "a"])
            + &logged(call + 4, "TX", phone, busy, &["a"])
    };
    let of_sprout = |call: u32| {
        logged(call + 2, "RX", bono, invite, &["b", "a"]) + &logged(call + 3, "TX", bono, busy, &["b", "a"])
    };
    let logs =
        [("logs/bono-0/bono/now.log", of_bono(10) + &of_bono(30)), ("logs/sprout-0/sprout/now.log", of_sprout(30))];
    let dir = tempfile::tempdir().unwrap();
    let report = |contents: Value| {
        let contents = contents.to_string();
        let logs = logs.iter().map(|(name, text)| (*name, text.as_bytes()));
        let files: Vec<_> = logs.chain([("report.json", contents.as_bytes())]).collect();
        zip(&dir.path().join("r.zip"), &files);
    };
    let ended = |line: &str| run(dir.path(), &format!("trace --from r.zip {line}")).1;

    report(json!({"v": 1, "cut": {}}));
    assert!(
        ended("--failed").contains("no answer") && ended("c-1@ims").contains("it failed at"),
        "{}",
        ended("c-1@ims")
    );

    report(json!({"v": 1, "cut": {"logs/sprout-0/sprout/now.log": "2026-11-23T10:00:20Z"}}));
    let list = ended("");
    let row = |call: &str| list.lines().find(|line| line.contains(call)).unwrap_or_default().to_owned();
    assert!(
        row("c-1@ims").contains("beginning not in the report") && row("c-3@ims").contains("486 Busy Here"),
        "{list}"
    );
    let drawn = ended("c-1@ims");
    assert!(drawn.contains("INVITE") && drawn.contains("beginning not in the report"), "{drawn}");
    assert!(!drawn.contains("it failed at") && ended("c-3@ims").contains("it failed at"), "{drawn}");

    // Of a store's log no call is told.
    report(json!({"v": 1, "cut": {"logs/astaire-0/astaire/now.log": "2026-11-23T10:00:20Z"}}));
    assert!(ended("c-1@ims").contains("it failed at"), "{}", ended("c-1@ims"));
}
