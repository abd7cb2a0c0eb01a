//! Files that the command line names: one rule for all that read one.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::Write as _;
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

/// One of a cluster that is not there.
fn kubeconfig(dir: &Path) {
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
         clusters:\n- {name: c, cluster: {server: 'http://127.0.0.1:1'}}\nusers:\n- {name: u, user: {token: t}}\n\
         contexts:\n- {name: lab, context: {cluster: c, user: u}}\n";
    std::fs::write(dir.join("kubeconfig"), text).unwrap();
}

/// What reads a file, with its place in the line.
const READERS: [&str; 15] = [
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
    "status --certificate-authority FILE",
    "status --client-certificate FILE --client-key FILE",
    "dns-patch --check --etcd-cacert FILE",
    "dns-patch --check --etcd-cert FILE --etcd-key FILE",
];

/// What is not what the command reads is the command line's fault, whichever command it is.
#[test]
fn a_file_that_is_none_of_the_commands_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    // No zip, no YAML, no text.
    std::fs::write(dir.path().join("foreign"), b"PK\x03\x04\x00\xff\xfe: [").unwrap();
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("round"), dir.path().join("round")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    kubeconfig(dir.path());
    let mut wrong = Vec::new();
    for reader in READERS {
        for file in ["foreign", "none", "folder", "round", "socket"] {
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

/// What is no log, or one of which a part is missing, is named, and the code says so: of a file that is named that it is none, of one
/// among others that it was not read.
#[test]
fn what_is_torn_or_drawn_by_lot_is_no_log() {
    let log = |n: usize| format!("23-11-2026 10:00:{:02}.000 UTC Error a.cpp:{n}: {}\n", n % 60, n * 7919 % 10007);
    let logs: String = (0..300).map(log).collect();
    let typed = |n: usize| {
        format!(
            "{{\"v\":1,\"kind\":\"record\",\"time\":\"2026-11-23T10:00:00Z\",\"pod\":\"bono-0\",\"message\":\"{n}\"}}\n"
        )
    };
    let typed: String = (0..20).map(typed).collect();
    let docker =
        (0..20).map(|n| format!("{{\"log\":\"{n}\\n\",\"time\":\"2026-11-23T10:00:00Z\"}}\n")).collect::<String>();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("bono.log", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(logs.as_bytes()).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default()));
    let mut header = tar::Header::new_gnu();
    header.set_size(logs.len() as u64);
    tar.append_data(&mut header, "bono.log", logs.as_bytes()).unwrap();
    let tar = tar.into_inner().unwrap().finish().unwrap();
    // As good as drawn by lot, and the same each time.
    let lot: Vec<u8> =
        (0_u32..1000).map(|n| (n.wrapping_mul(2_654_435_761).rotate_left(n % 32) >> 11).to_le_bytes()[0]).collect();
    let cut = |bytes: &[u8], from: usize, to: usize| bytes[from..to].to_vec();
    let (middle, end) = (zip.len() / 2, zip.len());
    // (name, bytes, the code where it is named, the code where it lies among others)
    let rows: Vec<(&str, Vec<u8>, i32, i32)> = vec![
        ("lot.zip", lot.clone(), 2, 1),
        ("lot.tar.gz", lot.clone(), 2, 1),
        ("lot.json", lot.clone(), 2, 1),
        ("lot.log", lot, 2, 1),
        ("begun.zip", cut(&zip, 0, middle), 2, 1),
        ("ended.zip", cut(&zip, middle, end), 2, 1),
        ("last.zip", cut(&zip, end - 30, end), 2, 1),
        ("begun.tar.gz", cut(&tar, 0, tar.len() / 2), 1, 1),
        ("nearly.tar.gz", cut(&tar, 0, tar.len() - 3), 1, 1),
        ("ended.tar.gz", cut(&tar, tar.len() / 2, tar.len()), 2, 1),
        ("begun.json", cut(typed.as_bytes(), 0, typed.len() - 30), 1, 1),
        ("ended.json", cut(typed.as_bytes(), 30, typed.len()), 1, 1),
        ("begun-json.log", cut(docker.as_bytes(), 0, docker.len() - 20), 1, 1),
        ("ended-json.log", cut(docker.as_bytes(), 20, docker.len()), 1, 1),
        ("whole.zip", zip, 0, 0),
        ("whole.tar.gz", tar, 0, 0),
        ("whole.json", typed.into_bytes(), 0, 0),
        ("whole-json.log", docker.clone().into_bytes(), 0, 0),
        // What a tool says of itself stands there where somebody led both of its outputs into one file.
        ("both-json.log", ["+ bono-0 › bono\n", &docker].concat().into_bytes(), 0, 0),
        // What is text is read, whatever it is called, and in whichever encoding.
        ("text.zip", logs.clone().into_bytes(), 0, 0),
        ("latin.log", logs.replace("Error", "F\u{fc}hler").chars().map(|c| u8::try_from(c).unwrap()).collect(), 0, 0),
        // As many zeros as were cut from its beginning while it was written.
        ("holed.log", [vec![0; 100_000], logs.into_bytes()].concat(), 0, 0),
    ];
    let mut wrong = Vec::new();
    for (name, bytes, alone, among) in rows {
        let dir = tempfile::tempdir().unwrap();
        let among_others = dir.path().join("others");
        std::fs::create_dir(&among_others).unwrap();
        std::fs::write(among_others.join("sprout.log"), log(1)).unwrap();
        std::fs::write(dir.path().join(name), &bytes).unwrap();
        std::fs::write(among_others.join(name), &bytes).unwrap();
        for (line, expected) in [(format!("logs --from {name}"), alone), ("logs --from others".to_owned(), among)] {
            let output = plugin(dir.path(), &line).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.code() != Some(expected) || expected != 0 && !said.contains(name) {
                wrong.push(format!("{name}: {line}: {:?} {said}", output.status.code()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A place that nothing can be written to is found out about before anything is asked of the cluster.
#[test]
fn where_nothing_can_be_written_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path());
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    for (line, code) in [
        ("up --yes --timeline none/t.svg", 1),
        ("up --dry-run --timeline folder", 1),
        ("test --junit folder", 1),
        ("test --junit none/t.xml", 2),
        ("report --to none/r.zip", 1),
        ("backup --to none/b.zip", 1),
        ("trace someone -o none/c.pcapng", 1),
    ] {
        let output = plugin(dir.path(), line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let place = line.rsplit(' ').next().unwrap().split('/').next().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(place) && !said.contains("127.0.0.1"), "{line}: {said}");
    }
    let output = plugin(dir.path(), "up --yes --timeline t.svg").output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("127.0.0.1"), "{said}");
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
    kubeconfig(dir.path());
    std::thread::scope(|scope| {
        for (line, kubeconfig) in [
            ("restore pipe --yes", None),
            ("render -f pipe", None),
            ("config check -f pipe", None),
            ("subscriber import pipe -n ims --kubeconfig none", None),
            ("logs --from pipe", None),
            ("status -n ims --certificate-authority pipe", Some("kubeconfig")),
            ("status -n ims --client-certificate pipe", Some("kubeconfig")),
            ("dns-patch --check -n ims --etcd-cacert pipe", Some("kubeconfig")),
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
                let is_kubeconfig = line.contains("--kubeconfig pipe") || kubeconfig == Some("pipe");
                let what = if is_kubeconfig { "the kubeconfig" } else { "pipe" };
                assert!(waited && said.contains(&format!("waiting for {what} to be read")), "{line}: {said}");
            });
        }
    });
}
