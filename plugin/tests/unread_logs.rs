//! What `logs` and `trace` make of an API server that lists pods and fails at their logs, or begins to fail later.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Pods,
    Status(u16, &'static str),
    Text(&'static str),
    Hang,
    /// A line that never ends.
    Endless,
    /// The same, as fast as it is taken.
    Flood,
    /// A watch in which nothing happens, and which ends after a second.
    Watch,
}

const FORBIDDEN: Answer = Answer::Status(403, "pods is forbidden: for a reason");
const UNAUTHORIZED: Answer = Answer::Status(401, "who are you");
const BROKEN: Answer = Answer::Status(500, "etcdserver: no leader");
/// A pod that was listed, and is not there any more.
const GONE: Answer = Answer::Status(404, "pods not found");
const LINE: Answer = Answer::Text("2026-11-28T10:00:00.000000001Z hello\n");

/// By path and query.
type Answers = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

fn start(dir: &Path, answers: Answers) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
         clusters:\n- {{name: c, cluster: {{server: 'http://{}'}}}}\nusers:\n- {{name: u, user: {{token: t}}}}\n\
         contexts:\n- {{name: lab, context: {{cluster: c, user: u}}}}\n",
        listener.local_addr().unwrap()
    );
    std::fs::write(dir.join("kubeconfig"), text).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answers = answers.clone();
            // A client that goes away is no failure.
            std::thread::spawn(move || drop(serve(stream, &answers)));
        }
    });
}

fn pod(name: &str, component: &str) -> Value {
    let status = json!({"name": component, "containerID": "c://1", "image": "", "imageID": "", "ready": true,
        "restartCount": 0, "state": {"running": {}}});
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "ims", "uid": name, "labels": {"service": component}},
        "spec": {"containers": [{"name": component}]}, "status": {"containerStatuses": [status]}})
}

fn serve(stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if lines.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 && !line.trim().is_empty() {
            line.clear();
        }
        let target = first.split(' ').nth(1).unwrap();
        let pods = [pod("etcd-0", "etcd"), pod("sprout-0", "sprout")];
        let (code, body) = match answers(target) {
            Answer::Pods if target.contains("/pods/") => {
                (200, pods[usize::from(target.contains("sprout"))].to_string())
            }
            Answer::Pods => {
                let list =
                    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": pods});
                (200, list.to_string())
            }
            Answer::Status(code, message) => {
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": message, "code": code, "reason": match code { 403 => "Forbidden", 404 => "NotFound", _ => "" }});
                (code, status.to_string())
            }
            Answer::Text(text) => (200, text.to_owned()),
            Answer::Hang => {
                let _ = lines.read(&mut [0])?;
                return Ok(());
            }
            Answer::Endless => {
                out.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n2026-11-28T10:00:00.000000001Z ")?;
                loop {
                    out.write_all(&[b'a'; 4096])?;
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            Answer::Flood => {
                out.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n2026-11-28T10:00:00.000000001Z ")?;
                loop {
                    out.write_all(&vec![b'a'; 1 << 16])?;
                }
            }
            Answer::Watch => {
                out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")?;
                std::thread::sleep(Duration::from_secs(1));
                return Ok(());
            }
        };
        write!(
            out,
            "HTTP/1.1 {code} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
}

/// How a command ended, and what it said; what does not end in time is killed and has no code.
fn run(line: &str, within: u64, answers: impl Fn(&str) -> Answer + Send + Sync + 'static) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path(), Arc::new(answers));
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"))
        .args(line.split_whitespace())
        .args(["--request-timeout", "4s", "-n", "ims"])
        .current_dir(dir.path())
        .env_clear()
        .env("HOME", dir.path())
        .env("KUBECONFIG", dir.path().join("kubeconfig"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(within) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// A server that is well but for what is told.
fn but_for(part: &'static str, answer: Answer) -> impl Fn(&str) -> Answer + Send + Sync {
    move |target: &str| match target {
        t if t.contains(part) => answer,
        t if t.contains("watch=true") => Answer::Watch,
        t if t.contains("/log?") => LINE,
        t if t.contains("/pods") => Answer::Pods,
        _ => Answer::Status(404, "not found"),
    }
}

/// A row: the command, the part that fails, how, the code that the command ends with (none where it goes on), and what it
/// says.
type Row = (&'static str, &'static str, Answer, Option<i32>, &'static [&'static str]);

fn check(rows: &'static [Row], within: u64) {
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> =
            rows.iter().map(|row| (row, scope.spawn(|| run(row.0, within, but_for(row.1, row.2))))).collect();
        let ended = running.into_iter().map(|(row, run)| (row, run.join().unwrap()));
        ended
            .filter(|(row, (code, said))| *code != row.3 || row.4.iter().any(|words| !said.contains(words)))
            .map(|((line, part, answer, ..), (code, said))| format!("{line}, {part} {answer:?}: {code:?}\n{said}"))
            .collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn who_may_not_look_ends_and_whoever_may_hears_what_is_awaited() {
    const FOLLOWED: &str = "logs --source stdout";
    const ROWS: &[Row] = &[
        (
            FOLLOWED,
            "/pods?",
            UNAUTHORIZED,
            Some(1),
            &["cannot be watched: the API server does not know who asks (401 who are you)"],
        ),
        (FOLLOWED, "/pods?", FORBIDDEN, Some(1), &["cannot be watched: pods is forbidden: for a reason"]),
        (
            FOLLOWED,
            "watch=true",
            UNAUTHORIZED,
            Some(1),
            &["cannot be watched: the API server does not know who asks (401 who are you)"],
        ),
        (FOLLOWED, "watch=true", FORBIDDEN, Some(1), &["cannot be watched: pods is forbidden"]),
        (FOLLOWED, "/log?", UNAUTHORIZED, Some(1), &["who are you"]),
        (FOLLOWED, "/log?", FORBIDDEN, None, &["etcd-0 › etcd stdout: cannot be read: pods is forbidden"]),
        (FOLLOWED, "/pods?", BROKEN, None, &["the pods of ims are awaited since", "no leader"]),
        (FOLLOWED, "watch=true", BROKEN, None, &["hello", "the pods of ims are awaited since", "no leader"]),
        (FOLLOWED, "/pods?", Answer::Hang, None, &["the pods of ims are awaited since"]),
        (FOLLOWED, "watch=true", Answer::Hang, None, &["hello", "the pods of ims are awaited since", "within 4 s"]),
        (
            "logs --no-follow",
            "/pods?",
            UNAUTHORIZED,
            Some(1),
            &["cannot be listed: the API server does not know who asks (401 who are you)"],
        ),
        ("trace x", "/pods?", BROKEN, Some(1), &["cannot be listed: etcdserver: no leader"]),
    ];
    check(ROWS, 25);
}

#[test]
fn what_is_not_followed_ends_and_names_what_could_not_be_read() {
    const ONCE: &str = "logs --no-follow";
    const ROWS: &[Row] = &[
        (ONCE, "/exec?", BROKEN, Some(1), &["hello", "could not be read: sprout-0 › sprout", "given up"]),
        (ONCE, "/exec?", Answer::Hang, Some(1), &["hello", "could not be read: sprout-0 › sprout", "within 4 s"]),
        (ONCE, "/exec?", UNAUTHORIZED, Some(1), &["sprout-0 cannot be read"]),
        (ONCE, "/exec?", FORBIDDEN, Some(0), &["hello", "needs get and create pods/exec"]),
        (ONCE, "/log?", Answer::Hang, Some(1), &["could not be read: etcd-0 › etcd stdout"]),
        (
            "logs --no-follow --source stdout",
            "/log?",
            BROKEN,
            Some(1),
            &["read: etcd-0 › etcd stdout, sprout-0 › sprout stdout"],
        ),
        (
            "logs --no-follow --source stdout",
            "/log?",
            FORBIDDEN,
            Some(1),
            &["read: etcd-0 › etcd stdout, sprout-0 › sprout stdout"],
        ),
        ("trace x", "/exec?", Answer::Hang, Some(1), &["could not be read: sprout-0 › sprout"]),
        ("logs --no-follow --source stdout", "/pods/", GONE, Some(1), &["etcd-0 › etcd stdout: it went away"]),
        ("trace", "/pods/", GONE, Some(1), &["sprout-0 › sprout: it went away", "not everything could be read"]),
        ("trace", "/exec?", FORBIDDEN, Some(1), &["needs get and create pods/exec", "not everything could be read"]),
        ("trace --failed", "/exec?", FORBIDDEN, Some(1), &["not everything could be read"]),
        (
            "logs --no-follow --source stdout",
            "etcd-0/log?",
            Answer::Endless,
            Some(1),
            &["hello", "could not be read: etcd-0 › etcd stdout", "one line without end"],
        ),
    ];
    check(ROWS, 90);
}

/// Nobody waits for the end of a line that is longer than any can be, and least of all what others wrote.
#[test]
fn a_flood_holds_nobody_back() {
    const ROWS: &[Row] = &[(
        "logs --no-follow --source stdout",
        "etcd-0/log?",
        Answer::Flood,
        Some(1),
        &["hello", "could not be read: etcd-0 › etcd stdout", "one line without end"],
    )];
    check(ROWS, 20);
}
