//! Ctrl-C and SIGTERM at every wait of every command: the promise is an end within a second.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod server;

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use server::{Manners, Server};

/// The promise is a second; a machine that builds and tests beside this has another one.
const PROMPT: Duration = Duration::from_secs(2);

fn plugin(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
    command.args(line.split_whitespace()).current_dir(dir).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", dir).env("KUBECONFIG", dir.join("kubeconfig"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// The exit code, and how long it took. What does not end is killed.
fn end(mut child: Child, what: &str) -> (Option<i32>, Duration) {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.signal(), None, "{what}: it was killed, and could put nothing right");
            return (status.code(), began.elapsed());
        }
        if began.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            child.wait().unwrap();
            return (None, began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

const SIGNALS: [(&str, i32); 2] = [("-INT", 130), ("-TERM", 143)];

/// Every command that asks a cluster.
const COMMANDS: [&str; 25] = [
    "up --yes",
    "up --dry-run",
    "diff",
    "down --yes",
    "scale sprout 2 --yes",
    "status",
    "check",
    "check --before",
    "report",
    "status --watch",
    "logs",
    "logs --no-follow",
    "trace 6505550000",
    "dns-patch --set release=classic --set images.registry=r --set images.tag=1 --backend coredns --yes",
    "dns-patch --set release=classic --set images.registry=r --set images.tag=1 --backend coredns --check",
    "dns-patch --set release=classic --set images.registry=r --set images.tag=1 --backend coredns --explain",
    "autoscale --list",
    "autoscale sprout --max 3",
    "subscriber list",
    "subscriber create --count 2",
    "subscriber password 6505550000",
    "subscriber delete --all --yes",
    "ellis --show url",
    "ellis --show code",
    "backup",
];

fn no_api_server_holds_a_command(manners: Manners) {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for command in COMMANDS {
        for (name, code) in SIGNALS {
            let server = Server::start(manners);
            server.kubeconfig(&dir.path().join("kubeconfig"), Some("ims"));
            let child = plugin(dir.path(), command).spawn().unwrap();
            server.await_request(|_| true);
            signal(&child, name);
            let what = format!("{command}, {name}, {manners:?}");
            let (ended, took) = end(child, &what);
            if ended != Some(code) || took > PROMPT {
                wrong.push(format!("{what}: exit {ended:?} after {took:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_silent_api_server_holds_no_command() {
    no_api_server_holds_a_command(Manners::Silent);
}

#[test]
fn a_throttling_api_server_holds_no_command() {
    no_api_server_holds_a_command(Manners::Throttling);
}

#[test]
fn a_dripping_api_server_holds_no_command() {
    no_api_server_holds_a_command(Manners::Dripping);
}

#[test]
fn neither_does_what_no_signal_can_reach() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Command::new("mkfifo").arg(dir.path().join("fifo")).status().unwrap().success());
    // A credential plugin that does not answer.
    std::fs::write(
        dir.path().join("kubeconfig"),
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\nclusters:\n- {name: c, cluster: {server: 'http://127.0.0.1:1'}}\n\
         users:\n- {name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: sleep, args: ['15'], \
         interactiveMode: Never}}}\ncontexts:\n- {name: lab, context: {cluster: c, user: u}}\n",
    )
    .unwrap();
    for line in [
        "render -f -",
        "render -f fifo",
        "init -f fifo --force",
        "logs --stdin",
        "status",
        "up --yes",
        "logs --request-timeout 0",
    ] {
        for (name, code) in SIGNALS {
            let child = plugin(dir.path(), line).stdin(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(500));
            signal(&child, name);
            let (ended, took) = end(child, line);
            assert!(ended == Some(code) && took < PROMPT, "{line}, {name}: exit {ended:?} after {took:?}");
        }
    }
}

#[test]
fn a_reader_that_takes_no_more_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Manners::Answering);
    server.kubeconfig(&dir.path().join("kubeconfig"), Some("ims"));
    let mut child = plugin(dir.path(), "status --watch -o json").stdout(Stdio::piped()).spawn().unwrap();
    let _unread = child.stdout.take().unwrap();
    server.await_request(|_| true);
    std::thread::sleep(Duration::from_secs(1));
    signal(&child, "-INT");
    let (ended, took) = end(child, "status --watch");
    assert!(ended == Some(130) && took < PROMPT, "exit {ended:?} after {took:?}");
}

/// A command on a terminal of its own.
struct OnTerminal {
    child: Child,
    keys: std::process::ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl OnTerminal {
    fn start(dir: &Path, line: &str) -> Self {
        Self::shell(dir, &format!("exec {} {line}", env!("CARGO_BIN_EXE_kubectl-clearwater")))
    }

    fn shell(dir: &Path, command: &str) -> Self {
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", command, "/dev/null"])
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env("HOME", dir)
            .env("KUBECONFIG", dir.join("kubeconfig"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut out, screen) = (child.stdout.take().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut bytes) {
                screen.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        Self { keys: child.stdin.take().unwrap(), child, shown }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    fn until(&self, text: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.shown().contains(text) {
            assert!(Instant::now() < until, "no {text:?}:\n{}", self.shown());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn press(&mut self, keys: &[u8]) {
        // Whoever has ended reads no more.
        let _ = self.keys.write_all(keys).and_then(|()| self.keys.flush());
    }
}

/// What was written, and not only tried.
fn writes(server: &Server) -> Vec<String> {
    let only_asked = |r: &String| r.starts_with("GET ") || r.contains("/selfsubject") || r.contains("dryRun=All");
    server.requests().into_iter().filter(|r| !only_asked(r)).collect()
}

#[test]
fn ctrl_c_at_the_question_is_a_no_and_a_later_yes_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Manners::Answering);
    server.kubeconfig(&dir.path().join("kubeconfig"), Some("ims"));
    let mut up = OnTerminal::start(dir.path(), "up");
    up.until("Go on? [y/N] ");
    up.press(b"\x03");
    up.press(b"y\n");
    let shown = up.shown.clone();
    let (ended, took) = end(up.child, "up");
    let shown = String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
    assert!(ended == Some(130) && took < PROMPT, "exit {ended:?} after {took:?}\n{shown}");
    assert_eq!(writes(&server), [""; 0], "{shown}");
}

#[test]
fn a_yes_without_ctrl_c_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Manners::Answering);
    server.kubeconfig(&dir.path().join("kubeconfig"), Some("ims"));
    let mut up = OnTerminal::start(dir.path(), "up");
    up.until("Go on? [y/N] ");
    up.press(b"y\n");
    let until = Instant::now() + Duration::from_secs(30);
    while writes(&server).is_empty() {
        assert!(Instant::now() < until, "nothing was written:\n{}", up.shown());
        std::thread::sleep(Duration::from_millis(10));
    }
    // And what was begun ends as promptly.
    up.press(b"\x03");
    let (ended, took) = end(up.child, "up");
    assert!(ended == Some(130) && took < PROMPT, "exit {ended:?} after {took:?}");
}

/// However it ends, the terminal is as it was; and so it is while it is stopped.
#[test]
fn the_interactive_view_gives_the_terminal_back() {
    const LEFT: &str = "\u{1b}[?1049l";
    const TAKEN: &str = "\u{1b}[?1049h";
    let dir = tempfile::tempdir().unwrap();
    let text = "OPTIONX sip:2@ims SIP/2.0\r\nFrom: <sip:1@ims>;tag=a\r\nTo: <sip:2@ims>\r\nCall-ID: c1@x\r\nCSeq: 1 OPTIONX\r\n\r\n";
    let log = format!(
        "23-11-2026 10:00:00.000 UTC Verbose a.cpp:8: RX {} bytes Request msg OPTIONX/cseq=1 (rdata0x1) from TCP \
         192.0.2.7:5060:\n--start msg--\n\n{text}\n--end msg--\n",
        text.len()
    );
    std::fs::write(dir.path().join("bono.log"), log).unwrap();
    let program = env!("CARGO_BIN_EXE_kubectl-clearwater");
    let command = format!(
        "stty rows 24 columns 80; stty -g > before; sh -c 'echo $$ > pid; exec {program} trace --tui --from bono.log'; code=$?; \
         stty -g > after; exit $code"
    );
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let kill =
        |signal: &str| assert!(Command::new("kill").args([signal, read("pid").trim()]).status().unwrap().success());
    for (way, code) in [("q", 0), ("\u{3}", 130), ("-INT", 130), ("-TERM", 143), ("-HUP", 143), ("\u{1a}", 0)] {
        let mut tui = OnTerminal::shell(dir.path(), &command);
        tui.until("OPTIONX");
        match way {
            "\u{1a}" => {
                tui.press(way.as_bytes());
                tui.until(LEFT);
                let until = Instant::now() + Duration::from_secs(30);
                while tui.shown().matches(TAKEN).count() < 2 {
                    assert!(Instant::now() < until, "{}", tui.shown());
                    std::thread::sleep(Duration::from_millis(50));
                    // It may come before it has stopped.
                    kill("-CONT");
                }
                tui.press(b"q");
            }
            signal if signal.starts_with('-') => kill(signal),
            key => tui.press(key.as_bytes()),
        }
        let shown = tui.shown.clone();
        let (ended, took) = end(tui.child, way);
        let shown = String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
        assert!(ended == Some(code) && took < PROMPT, "{way:?}: exit {ended:?} after {took:?}\n{shown}");
        assert_eq!(shown.matches(LEFT).count(), shown.matches(TAKEN).count(), "{way:?}: {shown:?}");
        assert_eq!(read("after"), read("before"), "{way:?}");
    }
}

/// Neither a cluster that says nothing nor one that says much holds who looks around in calls.
#[test]
fn a_live_view_ends_as_promptly() {
    let dir = tempfile::tempdir().unwrap();
    for manners in [Manners::Silent, Manners::Answering, Manners::Dripping] {
        let server = Server::start(manners);
        server.kubeconfig(&dir.path().join("kubeconfig"), Some("ims"));
        let program = env!("CARGO_BIN_EXE_kubectl-clearwater");
        let command = format!("stty rows 24 columns 80; exec {program} trace --tui --follow");
        let mut tui = OnTerminal::shell(dir.path(), &command);
        server.await_request(|_| true);
        tui.until("reading");
        tui.press(b"\x03");
        let shown = tui.shown.clone();
        let (ended, took) = end(tui.child, "trace --tui --follow");
        let shown = String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
        assert!(ended == Some(130) && took < PROMPT, "{manners:?}: exit {ended:?} after {took:?}\n{shown}");
    }
}

/// What has not been read is never told to be none.
#[test]
fn a_trace_of_saved_logs_that_is_ended_says_how_far_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved");
    std::fs::create_dir(&saved).unwrap();
    let line = "23-11-2026 10:00:00.000 UTC Status main.cpp:1: nothing that is looked for\n";
    std::fs::write(saved.join("bono.log"), line.repeat(400_000)).unwrap();
    // It is told of when reading begins.
    std::os::unix::fs::symlink("bono.log", saved.join("sprout.log")).unwrap();
    for (command, (name, code)) in ["trace --from saved 6505550000", "trace --from saved"].into_iter().zip(SIGNALS) {
        let mut child = plugin(dir.path(), command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        std::io::BufRead::read_line(&mut said, &mut first).unwrap();
        assert!(first.contains("sprout.log: not read"), "{first}");
        signal(&child, name);
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("stopped after reading 0 of 1 log: there may be more"), "{command}: {rest}");
        assert!(!rest.contains("none") && !rest.contains("no call"), "{command}: {rest}");
        assert_eq!(end(child, command).0, Some(code), "{command}");
    }
}
