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
    for (healthy, unreached, expected) in [(true, false, 0), (false, false, 5), (false, true, 1)] {
        zip(&dir.path().join("r.zip"), &[("status.json", status(healthy, unreached).to_string().as_bytes())]);
        let (code, said) = run(dir.path(), "status --from r.zip");
        assert_eq!(code, Some(expected), "{said}");
        assert!(said.contains("as it was at 2026-11-23T10:00:00Z") && said.contains("p-cscf"), "{said}");
        assert!(said.contains("5060 is closed") != healthy && !said.contains('\u{1b}'), "{said}");
    }
    let (code, said) = run(dir.path(), "status --from r.zip -o json");
    assert!(code == Some(1) && said.contains("\"component\": \"bono\""), "{said}");
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
        assert!(code == Some(1) && told.contains(said), "{file}: {code:?} {told}");
    }
}
