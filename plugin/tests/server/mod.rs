//! An API server of a few lines, with bad manners where they are wanted.
#![allow(dead_code, reason = "each program of tests takes what it needs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;

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
    /// It is somewhere else, as what makes people sign in first says.
    Redirecting,
    /// It has lost its store.
    Broken,
    /// An answer without end, as fast as it is taken.
    Flooding,
    /// An object in which nothing is said, not even what it is.
    Hollow,
    /// A list of something else, with nothing in it.
    Other,
    /// A connection is opened, and closed at once.
    HangingUp,
    /// A connection is opened, and nothing is ever said over it.
    Mute,
    /// A connection is opened, and over it comes what nobody asked for, as fast as it is taken.
    Gushing,
    /// The same, and a byte at a time.
    Trickling,
    /// Answered, in a cluster in which everything may be done. Watches stay open.
    Answering,
    /// The same, but for one resource, with its subresource: nothing may be done to it.
    Forbidding(&'static str),
    /// The same, but one resource, with its subresource, has these manners.
    But(&'static str, &'static Manners),
    /// The same, but what is written has these manners; what is only tried (a dry run) is answered.
    ButWrites(&'static Manners),
    /// The same, but the token runs out after so many requests, and what is watched ends.
    Expiring(usize),
    /// The same, but after so many requests nothing is answered any more.
    Dying(usize),
    /// Each connection is changed into another, whatever was asked for.
    Switching,
}

/// A server on a port of its own, for as long as the program of tests runs.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// An empty cluster, where it is one that answers.
    pub(crate) fn start(manners: Manners) -> Self {
        Self::with(manners, Vec::new())
    }

    /// A cluster in which these objects stand.
    pub(crate) fn with(manners: Manners, objects: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let (requests, objects) = (server.requests.clone(), Arc::new(objects));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (requests, objects) = (requests.clone(), objects.clone());
                // A client that goes away is no failure.
                std::thread::spawn(move || drop(serve(stream, manners, &objects, &requests)));
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

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
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

/// What a request for a connection offers.
#[derive(Debug, Default)]
struct Offer {
    key: String,
    /// The first of its protocols.
    protocol: String,
}

/// The next request, its first line, what it offers and its body; `None` where the client went.
fn request(lines: &mut BufReader<TcpStream>) -> std::io::Result<Option<(String, Offer, Vec<u8>)>> {
    let mut first = String::new();
    if lines.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let (mut length, mut offer) = (0, Offer::default());
    loop {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        match line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())) {
            Some((name, value)) if name == "sec-websocket-key" => offer.key = value,
            Some((name, value)) if name == "sec-websocket-protocol" => {
                value.split(',').next().unwrap_or_default().clone_into(&mut offer.protocol);
            }
            _ => {}
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body)?;
    Ok(Some((first, offer, body)))
}

impl Manners {
    /// Those that a request meets, before which there were so many.
    fn at(self, before: usize, method: &str, target: &str) -> Self {
        match self {
            Self::Expiring(after) if before >= after => Self::Unauthorized,
            Self::Dying(after) if before >= after => Self::Silent,
            Self::But(resource, its) if asked(target).is_some_and(|a| a.is(resource)) => *its,
            Self::But(..) | Self::Dying(_) => Self::Answering,
            Self::ButWrites(its) => {
                let tries = target.contains("/selfsubject") || target.contains("dryRun=");
                if method == "GET" || tries { Self::Answering } else { *its }
            }
            other => other,
        }
    }
}

fn serve(stream: TcpStream, manners: Manners, objects: &[Value], requests: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    loop {
        let Some((first, offer, body)) = request(&mut lines)? else { return Ok(()) };
        let (method, target) = first.trim_end().trim_end_matches(" HTTP/1.1").split_once(' ').unwrap();
        let before = {
            let mut requests = requests.lock().unwrap();
            requests.push(format!("{method} {target}"));
            requests.len() - 1
        };
        let refused = |code: u16, reason: &str, message: &str| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": message, "reason": reason, "code": code});
            (code, status)
        };
        let failed = |code: u16, reason: &str| refused(code, reason, reason);
        let manners = manners.at(before, method, target);
        let (code, answer) = match manners {
            Manners::Silent | Manners::Dripping | Manners::Flooding => return endless(manners, &mut lines, &mut out),
            Manners::HangingUp | Manners::Mute | Manners::Gushing | Manners::Trickling => {
                write!(
                    out,
                    "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Protocol: {}\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                    offer.protocol,
                    derive_accept_key(offer.key.as_bytes())
                )?;
                match manners {
                    Manners::Mute => {
                        std::io::copy(&mut lines, &mut std::io::sink())?;
                    }
                    Manners::Gushing => said_for_ever(&mut out, 1000, Duration::ZERO)?,
                    Manners::Trickling => said_for_ever(&mut out, 1, Duration::from_millis(20))?,
                    _ => {}
                }
                return Ok(());
            }
            Manners::Switching => {
                out.write_all(b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")?;
                return Ok(());
            }
            Manners::Hollow => (200, json!({})),
            Manners::Other => (200, json!({"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": []})),
            Manners::But(..) | Manners::ButWrites(_) | Manners::Dying(_) => unreachable!("one of the two was chosen"),
            Manners::Broken => refused(500, "InternalError", "etcdserver: no leader"),
            Manners::Throttling => failed(429, "TooManyRequests"),
            Manners::Refusing => failed(403, "Forbidden"),
            Manners::Unauthorized => failed(401, "Unauthorized"),
            Manners::Nothing => failed(404, "NotFound"),
            Manners::Redirecting => (302, Value::String("<html>moved</html>".to_owned())),
            Manners::Garbage => (200, Value::String("<html>sign in first</html>".to_owned())),
            Manners::Forbidding(resource) if asked(target).is_some_and(|a| a.resource == resource) => {
                let asked = asked(target).unwrap();
                let verb = if method == "GET" { "read" } else { "write" };
                refused(403, "Forbidden", &asked.refusal(verb))
            }
            Manners::Forbidding(resource) if target.contains("/selfsubjectaccessreviews") => {
                let mut review: Value = serde_json::from_slice(&body).unwrap();
                let of = &review["spec"]["resourceAttributes"];
                let text = |key: &str| of[key].as_str().unwrap_or_default();
                let name = [text("resource"), text("subresource")].join("/");
                let allowed = name.trim_end_matches('/') != resource && text("resource") != "*";
                review["status"] = json!({"allowed": allowed});
                (201, review)
            }
            Manners::Expiring(after) if target.contains("watch=true") => {
                out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")?;
                while requests.lock().unwrap().len() <= after {
                    std::thread::sleep(Duration::from_millis(20));
                }
                return Ok(());
            }
            Manners::Answering | Manners::Forbidding(_) if target.contains("watch=true") => {
                out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")?;
                let _ = lines.read(&mut [0])?;
                return Ok(());
            }
            // As for a user of one namespace.
            Manners::Answering | Manners::Forbidding(_) | Manners::Expiring(_)
                if target.starts_with("/api/v1/nodes") =>
            {
                failed(403, "Forbidden")
            }
            Manners::Answering | Manners::Forbidding(_) | Manners::Expiring(_) => {
                answered(method, target, &body, objects).unwrap_or_else(|| failed(404, "NotFound"))
            }
        };
        let text = answer.to_string();
        write!(
            out,
            "HTTP/1.1 {code} x\r\nContent-Type: application/json\r\nRetry-After: 30\r\n{}Content-Length: {}\r\n\r\n{text}",
            if code == 302 { "Location: https://sso.example.com/login?state=s3cret\r\n" } else { "" },
            text.len()
        )?;
    }
}

/// An answer that never comes, or never ends.
fn endless(manners: Manners, lines: &mut impl Read, out: &mut TcpStream) -> std::io::Result<()> {
    match manners {
        Manners::Dripping => {
            out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")?;
            loop {
                out.write_all(b" ")?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Manners::Flooding => {
            out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")?;
            loop {
                out.write_all(&[b' '; 4096])?;
            }
        }
        _ => {
            // Until the client goes.
            let _ = lines.read(&mut [0])?;
            Ok(())
        }
    }
}

/// Bytes of standard output (channel 1), so many a message (RFC 6455 §5.2: one binary frame, not masked).
fn said_for_ever(out: &mut TcpStream, bytes: u16, pause: Duration) -> std::io::Result<()> {
    let mut frame = vec![0x82, 126];
    frame.extend((bytes + 1).to_be_bytes());
    frame.push(1);
    frame.extend(std::iter::repeat_n(b'x', bytes.into()));
    loop {
        out.write_all(&frame)?;
        std::thread::sleep(pause);
    }
}

/// What a path names.
struct Asked<'a> {
    namespace: &'a str,
    group: &'a str,
    /// With the subresource.
    resource: String,
    name: Option<&'a str>,
}

impl Asked<'_> {
    /// Whether it is this resource, which may be named with the namespace before it.
    fn is(&self, resource: &str) -> bool {
        self.resource == resource || format!("{}/{}", self.namespace, self.resource) == resource
    }

    /// The API server's own words.
    fn refusal(&self, verb: &str) -> String {
        let Self { namespace, group, resource, .. } = self;
        let place = if namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{namespace}\"")
        };
        format!(
            "{resource} is forbidden: User \"u\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}"
        )
    }
}

fn asked(target: &str) -> Option<Asked<'_>> {
    let path = target.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts[..] {
        ["version"] => ("", vec!["version"]),
        ["api", _, ref rest @ ..] => ("", rest.to_vec()),
        ["apis", group, _, ref rest @ ..] => (group, rest.to_vec()),
        _ => return None,
    };
    let (namespace, rest) = match rest[..] {
        ["namespaces", namespace, ref rest @ ..] if !rest.is_empty() => (namespace, rest.to_vec()),
        ref rest => ("", rest.to_vec()),
    };
    let (resource, name) = match rest[..] {
        [resource] => (resource.to_owned(), None),
        [resource, name] => (resource.to_owned(), Some(name)),
        [resource, name, part] => (format!("{resource}/{part}"), Some(name)),
        _ => return None,
    };
    Some(Asked { namespace, group, resource, name })
}

/// The kind of a resource whose list may be empty here.
fn kind(asked: &Asked<'_>) -> &'static str {
    const KINDS: [&str; 28] = [
        "ConfigMap",
        "CronJob",
        "DaemonSet",
        "Deployment",
        "EndpointSlice",
        "Event",
        "HorizontalPodAutoscaler",
        "Ingress",
        "IngressClass",
        "Job",
        "LimitRange",
        "Namespace",
        "NetworkPolicy",
        "Node",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Pod",
        "PodDisruptionBudget",
        "ReplicaSet",
        "ReplicationController",
        "ResourceQuota",
        "Role",
        "RoleBinding",
        "Secret",
        "Service",
        "ServiceAccount",
        "StatefulSet",
        "StorageClass",
    ];
    match asked.resource.as_str() {
        "pods" if asked.group == "metrics.k8s.io" => "PodMetrics",
        resource => KINDS.into_iter().find(|kind| plural(kind) == resource).unwrap_or("Unknown"),
    }
}

/// The plural of a kind.
fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') && kind != "endpoints" => format!("{kind}es"),
        None => format!("{kind}s"),
    }
}

/// Whether an object's labels are as a selector wants them: `k in (v,w)` alone, or `k=v`, `k!=v` and `k`.
fn selected(object: &Value, target: &str) -> bool {
    let Some((_, rest)) = target.split_once("labelSelector=") else { return true };
    let selector =
        rest.split('&').next().unwrap_or_default().replace("%2C", ",").replace("%3D", "=").replace("%21", "!");
    let selector = selector.replace("%2F", "/").replace('+', " ").replace("%28", "(").replace("%29", ")");
    if let Some((key, values)) = selector.split_once(" in (") {
        let label = object["metadata"]["labels"][key].as_str().unwrap_or_default();
        return values.trim_end_matches(')').split(',').any(|value| value == label);
    }
    selector.split(',').filter(|one| !one.is_empty()).all(|one| {
        let label = |key: &str| object["metadata"]["labels"][key].as_str().map(str::to_owned);
        match (one.split_once("!="), one.split_once('=')) {
            (Some((key, value)), _) => label(key).as_deref() != Some(value),
            (None, Some((key, value))) => label(key).as_deref() == Some(value),
            (None, None) => label(one).is_some(),
        }
    })
}

/// The answer of a cluster in which these objects stand; `None` for what is not there. A write is answered with what stands,
/// else with what was sent.
fn answered(method: &str, target: &str, body: &[u8], objects: &[Value]) -> Option<(u16, Value)> {
    let path = target.split('?').next().unwrap_or_default();
    if path == "/version" {
        let keys = ["gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"];
        let mut version = json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"});
        for key in keys {
            version[key] = "".into();
        }
        return Some((200, version));
    }
    let asked = asked(target)?;
    let mut standing = objects.iter().filter(|o| {
        asked.resource.split('/').next() == Some(plural(o["kind"].as_str().unwrap_or_default()).as_str())
            && (asked.namespace.is_empty() || o["metadata"]["namespace"] == asked.namespace)
            && asked.name.is_none_or(|name| o["metadata"]["name"] == name)
    });
    if method != "GET" {
        let mut object: Value = serde_json::from_slice(body).unwrap_or_default();
        if path.contains("/selfsubject") {
            object["status"] =
                json!({"allowed": true, "incomplete": false, "resourceRules": [], "nonResourceRules": []});
        }
        let object = standing.next().filter(|_| asked.name.is_some()).cloned().unwrap_or(object);
        return Some((if method == "POST" { 201 } else { 200 }, object));
    }
    match (asked.name, asked.resource.as_str()) {
        (Some(name), "namespaces") => Some((
            200,
            json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name, "resourceVersion": "1"}}),
        )),
        (Some(_), resource) if !resource.contains('/') => standing.next().map(|object| (200, object.clone())),
        (Some(name), resource) if resource.ends_with("/scale") => standing.next().map(|object| {
            let replicas = &object["spec"]["replicas"];
            let scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": name, "namespace": asked.namespace},
                "spec": {"replicas": replicas}, "status": {"replicas": replicas}});
            (200, scale)
        }),
        (Some(_), _) => None,
        (None, _) => {
            let items: Vec<&Value> = standing.filter(|object| selected(object, target)).collect();
            Some((
                200,
                json!({"kind": format!("{}List", kind(&asked)), "apiVersion": "v1",
                    "metadata": {"resourceVersion": "1"}, "items": items}),
            ))
        }
    }
}
