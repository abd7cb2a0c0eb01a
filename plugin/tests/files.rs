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

/// Nobody can make anything there: what is advised is another place.
#[cfg(target_os = "linux")]
#[test]
fn a_place_in_which_no_directory_can_be_made_is_no_missing_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.log"), "one\n").unwrap();
    for line in ["logs --from a.log --dir /proc/x", "logs --from a.log --dir /proc/x/y", "init -f /proc/x"] {
        let output = plugin(dir.path(), line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_well = said.contains("choose another place") && !said.contains("make its directory");
        assert!(output.status.code() == Some(1) && is_well, "{line}: {said}");
    }
    let said = plugin(dir.path(), "init -f none/x").output().unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains("make its directory"));
}

/// A name with a line end in it makes no line of its own, whatever reads or writes the file.
#[test]
fn a_name_is_told_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path());
    std::fs::write(dir.path().join("in\nit"), "{").unwrap();
    std::fs::create_dir(dir.path().join("is\na folder")).unwrap();
    let writers = [
        "init -f FILE",
        "report --to FILE/x",
        "backup --to FILE/x",
        "test --junit FILE/x",
        "logs --from kubeconfig --dir FILE",
    ];
    for line in READERS.into_iter().chain(writers) {
        for name in ["a\nb", "in\nit", "is\na folder", "a\u{1b}[2Jb"] {
            let words = line.split_whitespace().map(|word| word.replace("FILE", name));
            let mut command = plugin(dir.path(), "");
            let output = command.args(words).args(["-n", "ims", "--request-timeout", "1s"]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let begins = |l: &str| {
                ["b", "it", "a folder"].iter().any(|part| {
                    let rest =
                        l.trim_start_matches("error: ").trim_start_matches("warning: ").trim_start_matches("note: ");
                    rest.strip_prefix(part).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
                })
            };
            assert!(!said.lines().any(begins) && !said.contains('\u{1b}'), "{line} {name:?}: {said}");
        }
    }
}

/// A verdict that nobody could read is none, and why is said.
#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path());
    let status = r#"{"v":1,"namespace":"ims","release":"hunter","at":"2026-11-23T10:00:00Z","healthy":false,"partial":false,
        "looks":2,"notes":[],"components":[]}"#;
    let check = r#"{"v":1,"namespace":"ims","at":"2026-11-23T10:00:00Z","before":false,"healthy":false,"complete":true,
        "looks":2,"groups":[{"group":"names","checks":[{"id":"names","title":"a","status":"failed","detail":"b","fix":null}]}]}"#;
    let mut report = zip::ZipWriter::new(std::fs::File::create(dir.path().join("r.zip")).unwrap());
    for (name, text) in [("status.json", status), ("check.json", check)] {
        report.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        report.write_all(text.as_bytes()).unwrap();
    }
    report.finish().unwrap();
    for (line, whole) in [
        ("status --from r.zip", 5),
        ("check --from r.zip", 5),
        ("config show", 0),
        ("graph", 0),
        ("render", 0),
        ("version", 0),
        ("help up", 0),
        ("man", 0),
        ("completion bash", 0),
        ("logs --from kubeconfig", 0),
    ] {
        let ended = plugin(dir.path(), line).output().unwrap();
        if line != "man" {
            assert_eq!(ended.status.code(), Some(whole), "{line}: {}", String::from_utf8_lossy(&ended.stderr));
        }
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = plugin(dir.path(), line).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = said.matches("standard output: No space left").count();
        assert!(
            line == "man" || output.status.code() == Some(1) && told == 1,
            "{line}: {:?} {said}",
            output.status.code()
        );
    }
}

/// A kubeconfig that the command line names is such a file, with all that is in it; of one that the environment names the
/// command line knows nothing.
#[test]
fn a_kubeconfig_is_wrong_by_one_rule() {
    let of = |server: &str, cluster: &str, user: &str, context: &str| {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {context}\n\
             clusters:\n- {{name: c, cluster: {{server: '{server}'{cluster}}}}}\nusers:\n- {{name: u, user: {user}}}\n\
             contexts:\n- {{name: lab, context: {{cluster: c, user: u}}}}\n- {{name: lost, context: {{cluster: gone, user: u}}}}\n\
             - {{name: nobody, context: {{cluster: c, user: gone}}}}\n"
        )
    };
    let (here, token) = ("http://127.0.0.1:1", "{token: t}");
    let rows = [
        ("no YAML", "{[".to_owned()),
        ("nothing", String::new()),
        ("another shape", "clusters: 7\n".to_owned()),
        ("no server", of("", "", token, "lab")),
        ("no address", of("ftp://x", "", token, "lab")),
        ("no context", of(here, "", token, "none")),
        ("no current context", of(here, "", token, "''")),
        ("no cluster", of(here, "", token, "lost")),
        ("no user", of(here, "", token, "nobody")),
        ("no authority", of(here, ", certificate-authority-data: '!!'", token, "lab")),
        ("an authority that is not there", of(here, ", certificate-authority: gone.crt", token, "lab")),
        ("no token", of(here, "", "{token: \"a\\nb\"}", "lab")),
        ("a token's file that is not there", of(here, "", "{tokenFile: gone}", "lab")),
        ("a token's file that is empty", of(here, "", "{tokenFile: empty}", "lab")),
        ("no certificate", of(here, "", "{client-certificate-data: eA==, client-key-data: eA==}", "lab")),
        ("no key", of(here, "", "{client-certificate: gone.crt, client-key: gone.key}", "lab")),
        ("a provider", of(here, "", "{auth-provider: {name: gcp, config: {}}}", "lab")),
        ("a proxy", of(here, ", proxy-url: 'x://y'", token, "lab")),
    ];
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("empty"), "").unwrap();
    let mut wrong = Vec::new();
    for (name, text) in rows {
        std::fs::write(dir.path().join("named"), &text).unwrap();
        std::fs::write(dir.path().join("kubeconfig"), &text).unwrap();
        for (line, expected) in [("status -n ims --kubeconfig named", 2), ("status -n ims", 1)] {
            let output = plugin(dir.path(), line).output().unwrap();
            if output.status.code() != Some(expected) {
                wrong.push(format!(
                    "{name}: {line}: {:?} {}",
                    output.status.code(),
                    String::from_utf8_lossy(&output.stderr)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What is right leads to whom it names.
    std::fs::write(dir.path().join("named"), of(here, "", token, "lab")).unwrap();
    let output = plugin(dir.path(), "status -n ims --kubeconfig named").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Bad words are told at once, before anybody is asked, and what is taken is named.
#[test]
fn words_that_cannot_be_used_end_with_2_at_once() {
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path());
    for (line, word, said) in [
        ("status --token", "a\u{1}b", "which no request can carry"),
        ("status --token", "a\nb", "which no request can carry"),
        ("status --token", "tökén", "which no request can carry"),
        ("status --as", "jürgen", "which no request can carry"),
        ("status --tls-server-name", "a\u{1}b", "neither a host name nor an address"),
        ("status --tls-server-name", "a b", "neither a host name nor an address"),
        ("dns-patch --check --etcd-endpoint", "ftp://x", "write http://HOST:PORT or https://HOST:PORT"),
        ("dns-patch --check --etcd-endpoint", "", "write http://HOST:PORT or https://HOST:PORT"),
        ("dns-patch --check --etcd-endpoint", "http://x:99999", "a port is a number up to 65535"),
        ("dns-patch --check --etcd-endpoint", "/x", "it names no host"),
        ("rbac status --for-user", "\u{1b}", "which no name has"),
        ("rbac status --for-group", "a\nb", "which no name has"),
        ("rbac status --for-user", " ", "it is empty"),
    ] {
        let output = plugin(dir.path(), line).arg(word).args(["-n", "ims"]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(2) && told.contains(said),
            "{line} {word:?}: {:?} {told}",
            output.status.code()
        );
    }
}

/// A text of one kilobyte that comes to millions of values takes no time, wherever YAML is read.
#[test]
fn aliases_that_come_to_millions_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let level = |n: usize, of: &str| format!("l{n}: &l{n} [{}]\n", [of; 9].join(", "));
    let bomb = |begin: &str| {
        let levels = (1..12).map(|n| level(n, &format!("*l{}", n - 1))).collect::<String>();
        format!("{begin}{}{levels}", level(0, "x"))
    };
    let maps = |begin: &str| {
        let levels = (1..12).map(|n| {
            let fields = (0..9).map(|k| format!("k{k}: *m{}", n - 1)).collect::<Vec<_>>().join(", ");
            format!("m{n}: &m{n} {{{fields}}}\n")
        });
        format!("{begin}m0: &m0 {{a: b}}\n{}", levels.collect::<String>())
    };
    let file = "apiVersion: clearwater/v1\n";
    let config = "apiVersion: v1\nkind: Config\n";
    for (n, (file, config)) in [(bomb(file), bomb(config)), (maps(file), maps(config))].into_iter().enumerate() {
        std::fs::write(dir.path().join("bomb.yaml"), file).unwrap();
        std::fs::write(dir.path().join("bomb"), &config).unwrap();
        std::fs::write(dir.path().join("kubeconfig"), &config).unwrap();
        for (line, code) in [
            ("config check -f bomb.yaml", 2),
            ("render -f bomb.yaml", 2),
            ("up -f bomb.yaml --yes", 2),
            ("status -n ims --kubeconfig bomb", 2),
            ("status -n ims", 1),
        ] {
            let began = Instant::now();
            let output = plugin(dir.path(), line).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(code), "{n} {line}: {said}");
            // Not optimized, on a busy machine.
            assert!(said.contains("20000 values by aliases"), "{n} {line}: {said}");
            assert!(
                began.elapsed() < Duration::from_secs(5) && said.len() < 10_000,
                "{n} {line}: {:?}",
                began.elapsed()
            );
        }
    }
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
