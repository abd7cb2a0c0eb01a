//! Files that the command line names: one rule for all that read one.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn plugin(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
    command.args(line.split_whitespace()).current_dir(dir).env_clear();
    command.env("HOME", dir).env("KUBECONFIG", dir.join("kubeconfig"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What reads a file, with its place in the line.
const READERS: [&str; 11] = [
    "status --from FILE",
    "check --from FILE",
    "check --images --from FILE",
    "restore FILE --yes",
    "logs --from FILE",
    "trace --from FILE",
    "render -f FILE",
    "config check -f FILE",
    "up -f FILE --yes",
    "status --kubeconfig FILE",
    "subscriber import FILE",
];

/// What is not what the command reads is the command line's fault, whichever command it is.
#[test]
fn a_file_that_is_none_of_the_commands_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    // No zip, no YAML, no text.
    std::fs::write(dir.path().join("foreign"), b"PK\x03\x04\x00\xff\xfe: [").unwrap();
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    let mut wrong = Vec::new();
    for reader in READERS {
        for file in ["foreign", "none", "folder"] {
            // These read folders.
            if file == "folder" && (reader.starts_with("logs") || reader.starts_with("trace")) {
                continue;
            }
            let line = reader.replace("FILE", file);
            let output = plugin(dir.path(), &line).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.code() != Some(2) || !said.contains(file) {
                wrong.push(format!("{line}: {:?} {said}", output.status.code()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is right and may not be read is no fault of the command line's. Root reads everything.
#[test]
fn a_file_that_may_not_be_read_ends_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("closed");
    std::fs::write(&path, "apiVersion: clearwater/v1\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&path).is_ok() {
        return;
    }
    for line in ["status --from closed", "restore closed --yes", "logs --from closed", "render -f closed"] {
        let output = plugin(dir.path(), line).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A pipe that nobody writes to is waited for, and a word says so: a shell puts one in a file's place (`-f <(...)`).
#[test]
fn a_pipe_that_nobody_writes_to_is_waited_for_with_a_word() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap().success());
    std::thread::scope(|scope| {
        for (line, kubeconfig) in [
            ("restore pipe --yes", None),
            ("render -f pipe", None),
            ("config check -f pipe", None),
            ("subscriber import pipe -n ims --kubeconfig none", None),
            ("logs --from pipe", None),
            ("status -n ims --kubeconfig pipe", None),
            ("status -n ims", Some("pipe")),
        ] {
            let dir = dir.path();
            scope.spawn(move || {
                let mut command = plugin(dir, line);
                if let Some(name) = kubeconfig {
                    command.env("KUBECONFIG", dir.join(name));
                }
                let (mut child, began) = (command.spawn().unwrap(), Instant::now());
                while child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(9) {
                    std::thread::sleep(Duration::from_millis(50));
                }
                let waited = child.try_wait().unwrap().is_none();
                child.kill().unwrap();
                let said = child.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&said.stderr).into_owned();
                let what = if line.starts_with("status") { "the kubeconfig" } else { "pipe" };
                assert!(waited && said.contains(&format!("waiting for {what} to be read")), "{line}: {said}");
            });
        }
    });
}
