//! An API server of a few lines, with bad manners where they are wanted.
#![allow(dead_code, reason = "each program of tests takes what it needs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// It is taken and never answered.
    Silent,
    /// "Come again in half a minute", for ever.
    Throttling,
    /// The answer begins and does not end.
    Dripping,
    /// Forbidden.
    Refusing,
    /// Nobody knows who asks: the token has run out.
    Unauthorized,
    /// There is nothing at all: another server than was meant.
    Nothing,
    /// A page for people, as a proxy's.
    Garbage,
    /// Answered, from an empty cluster in which everything may be done. Watches stay open.
    Answering,
}

/// A server on a port of its own, for as long as the program of tests runs.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let requests = server.requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let requests = requests.clone();
                // A client that goes away is no failure.
                std::thread::spawn(move || drop(serve(stream, manners, &requests)));
            }
        });
        server
    }

    /// A port where nobody listens any more.
    pub(crate) fn gone() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { address: listener.local_addr().unwrap(), requests: Arc::default() }
    }

    /// A kubeconfig for it, whose context names a namespace or none.
    pub(crate) fn kubeconfig(&self, path: &Path, namespace: Option<&str>) {
        let namespace = namespace.map_or(String::new(), |n| format!(", namespace: {n}"));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
             clusters:\n- {{name: c, cluster: {{server: 'http://{}'}}}}\n\
             users:\n- {{name: u, user: {{token: t}}}}\n\
             contexts:\n- {{name: lab, context: {{cluster: c, user: u{namespace}}}}}\n",
            self.address
        );
        std::fs::write(path, text).unwrap();
    }

    /// What has been asked so far, each as `METHOD /path?query`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits for a request.
    pub(crate) fn await_request(&self, fits: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let all = self.requests();
            if let Some(found) = all.iter().find(|r| fits(r)) {
                return found.clone();
            }
            assert!(Instant::now() < until, "not asked: {all:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn serve(stream: TcpStream, manners: Manners, requests: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if lines.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            lines.read_line(&mut line)?;
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body)?;
        let (method, target) = first.trim_end().trim_end_matches(" HTTP/1.1").split_once(' ').unwrap();
        requests.lock().unwrap().push(format!("{method} {target}"));
        let failed = |code: u16, reason: &str| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": reason, "reason": reason, "code": code});
            (code, status)
        };
        let (code, answer) = match manners {
            Manners::Silent => {
                // Until the client goes.
                let _ = lines.read(&mut [0])?;
                return Ok(());
            }
            Manners::Dripping => {
                out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")?;
                loop {
                    out.write_all(b" ")?;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            Manners::Throttling => failed(429, "TooManyRequests"),
            Manners::Refusing => failed(403, "Forbidden"),
            Manners::Unauthorized => failed(401, "Unauthorized"),
            Manners::Nothing => failed(404, "NotFound"),
            Manners::Garbage => (200, Value::String("<html>sign in first</html>".to_owned())),
            Manners::Answering if target.contains("watch=true") => {
                out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")?;
                let _ = lines.read(&mut [0])?;
                return Ok(());
            }
            // As for a user of one namespace.
            Manners::Answering if target.starts_with("/api/v1/nodes") => failed(403, "Forbidden"),
            Manners::Answering => answered(method, target, &body).unwrap_or_else(|| failed(404, "NotFound")),
        };
        let text = answer.to_string();
        write!(
            out,
            "HTTP/1.1 {code} x\r\nContent-Type: application/json\r\nRetry-After: 30\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )?;
    }
}

/// An empty cluster's answer; `None` for what is not there.
fn answered(method: &str, target: &str, body: &[u8]) -> Option<(u16, Value)> {
    let path = target.split('?').next().unwrap_or_default();
    if method != "GET" {
        let mut object: Value = serde_json::from_slice(body).unwrap_or_default();
        if path.contains("/selfsubject") {
            object["status"] =
                json!({"allowed": true, "incomplete": false, "resourceRules": [], "nonResourceRules": []});
        }
        return Some((if method == "POST" { 201 } else { 200 }, object));
    }
    if path == "/version" {
        let keys = ["gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"];
        let mut version = json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"});
        for key in keys {
            version[key] = "".into();
        }
        return Some((200, version));
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let resource = match parts[..] {
        ["api", _, ref rest @ ..] | ["apis", _, _, ref rest @ ..] => rest.to_vec(),
        _ => return None,
    };
    match resource[..] {
        ["namespaces", name] => Some((
            200,
            json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name, "resourceVersion": "1"}}),
        )),
        [_] | ["namespaces", _, _] => {
            Some((200, json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []})))
        }
        _ => None,
    }
}
