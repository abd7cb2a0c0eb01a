//! What a command line is run in: environment, files and a kubeconfig.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::random::Random;

/// What may stand for a server: a port of the loopback interface where nobody listens, and what is no server at all. No
/// name is among them that somebody would be asked for.
pub(crate) const SERVERS: [&str; 12] = [
    "http://127.0.0.1:1",
    "https://127.0.0.1:1",
    "127.0.0.1:1",
    "http://[::1]:1/",
    "http://127.0.0.1:1/a/b?c=d",
    "http://u:p@127.0.0.1:1",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:1/\u{1}",
    "unix:///x",
    "http://",
    "://",
    "",
];

/// The variables that the program, or what it is built on, reads, each with values that it may well have. Proxies stand for
/// servers.
const VARIABLES: [(&str, &[&str]); 20] = [
    ("KUBECONFIG", &["kubeconfig", "missing:kubeconfig", "kubeconfig:empty:folder", "::", "broken"]),
    ("KUBERNETES_SERVICE_HOST", &["127.0.0.1", "::1", ""]),
    ("KUBERNETES_SERVICE_PORT", &["1", "0", "99999", ""]),
    ("POD_NAMESPACE", &["ims"]),
    ("TERM", &["dumb", "xterm-256color"]),
    ("CI", &["1"]),
    ("NO_COLOR", &["1"]),
    ("CLICOLOR", &["0", "1"]),
    ("CLICOLOR_FORCE", &["1"]),
    ("COLUMNS", &["0", "1", "80", "65536"]),
    ("TZ", &["UTC", "Europe/Berlin", ":", "EST5EDT"]),
    ("LANG", &["C", "de_DE.UTF-8"]),
    ("RUST_LOG", &["trace", "debug", "a=b=c"]),
    ("RUST_BACKTRACE", &["full"]),
    ("TOKIO_WORKER_THREADS", &["1", "0", "x"]),
    ("SSL_CERT_FILE", &["binary", "missing"]),
    ("SSL_CERT_DIR", &["folder", "missing"]),
    ("HTTP_PROXY", &[]),
    ("HTTPS_PROXY", &[]),
    ("NO_PROXY", &["*", "127.0.0.1", ","]),
];

pub(crate) struct Surroundings {
    pub(crate) variables: BTreeMap<&'static str, OsString>,
    files: BTreeMap<&'static str, Vec<u8>>,
}

impl Surroundings {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut variables = BTreeMap::new();
        for (name, usual) in VARIABLES {
            if name != "KUBECONFIG" && !random.one_in(5) {
                continue;
            }
            let value = match usual {
                [] => random.pick(&SERVERS).into(),
                // Hosts are none that somebody would be asked for.
                _ if name == "KUBERNETES_SERVICE_HOST" || !random.one_in(6) => (*random.pick(usual)).into(),
                _ => random.word(),
            };
            variables.insert(name, value);
        }
        if random.one_in(12) {
            variables.remove("KUBECONFIG");
        }
        let mut files = BTreeMap::new();
        files.insert("kubeconfig", kubeconfig(random));
        files.insert("broken", kubeconfig(random));
        files.insert("clearwater.yaml", spoiled(random, DEPLOYMENT));
        files.insert("sprout.txt", spoiled(random, LOG));
        files.insert("binary", random.bytes(300));
        files.insert("empty", Vec::new());
        files.insert("stdin", if random.one_in(2) { Vec::new() } else { random.word().into_encoded_bytes() });
        Self { variables, files }
    }

    pub(crate) fn write(&self, dir: &Path) {
        for (name, bytes) in &self.files {
            fs::write(dir.join(name), bytes).unwrap();
        }
        fs::create_dir_all(dir.join("folder/pod")).unwrap();
        fs::write(dir.join("folder/pod/sprout_current.txt"), &self.files["sprout.txt"]).unwrap();
        fs::create_dir(dir.join(".kube")).unwrap();
        fs::write(dir.join(".kube/config"), &self.files["kubeconfig"]).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(dir.join("pipe")).status().unwrap();
        assert!(pipe.success());
    }

    pub(crate) fn environment(&self, dir: &Path) -> BTreeMap<&'static str, OsString> {
        let mut all = self.variables.clone();
        all.insert("HOME", dir.into());
        all.insert("PATH", "/usr/bin:/bin".into());
        all.insert("TMPDIR", dir.into());
        all
    }
}

/// A kubeconfig that may be right, with values that are not, with lines that are not, or cut.
fn kubeconfig(random: &mut Random) -> Vec<u8> {
    let mut config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "c", "cluster": cluster(random)}],
        "users": [{"name": "u", "user": user(random)}],
        "contexts": [{"name": "lab", "context": {"cluster": "c", "user": "u", "namespace": "ims"}}],
    });
    for _ in 0..random.below(3) {
        replace(random, &mut config);
    }
    let text = serde_json::to_string_pretty(&config).unwrap();
    if random.one_in(3) { spoiled(random, &text) } else { text.into_bytes() }
}

fn cluster(random: &mut Random) -> Value {
    let mut cluster = Map::new();
    cluster.insert("server".to_owned(), (*random.pick(&SERVERS[..4])).into());
    if random.one_in(5) {
        cluster.insert("server".to_owned(), (*random.pick(&SERVERS)).into());
    }
    if random.one_in(6) {
        cluster.insert("proxy-url".to_owned(), (*random.pick(&SERVERS)).into());
    }
    let further = [
        ("certificate-authority", FILES),
        ("certificate-authority-data", DATA),
        ("tls-server-name", &["api", "", "*", "\u{1}"]),
        ("insecure-skip-tls-verify", &["true"]),
    ];
    for (key, values) in further {
        if random.one_in(5) {
            cluster.insert(key.to_owned(), (*random.pick(values)).into());
        }
    }
    cluster.into()
}

const FILES: &[&str] = &["binary", "empty", "folder", "missing", "pipe", "kubeconfig", "", "/dev/zero", "/dev/null"];
const DATA: &[&str] =
    &["", "eA==", "?", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="];

/// A user. What it runs is harmless, and what it would ask is a port where nobody listens.
fn user(random: &mut Random) -> Value {
    let exec = json!({"apiVersion": random.pick(&["client.authentication.k8s.io/v1", "v0", ""]),
        "command": random.pick(&["true", "false", "missing", "", "echo"]), "args": [random.text()],
        "env": [{"name": random.text(), "value": random.text()}], "interactiveMode": random.pick(&["Never", "Always", "x"])});
    let oidc = json!({"name": random.pick(&["oidc", "gcp", "azure", ""]), "config": {"idp-issuer-url": "http://127.0.0.1:1",
        "client-id": random.text(), "id-token": random.text(), "refresh-token": random.text(), "cmd-path": "true",
        "expiry": random.text(), "expiry-key": "{.expiry}", "token-key": random.text()}});
    match random.below(7) {
        0 => json!({"token": random.text()}),
        1 => json!({"tokenFile": random.pick(FILES)}),
        2 => json!({"client-certificate": random.pick(FILES), "client-key": random.pick(FILES)}),
        3 => json!({"client-certificate-data": random.pick(DATA), "client-key-data": random.pick(DATA)}),
        4 => {
            json!({"username": random.text(), "password": random.text(), "as": random.text(), "as-groups": [random.text()],
            "as-user-extra": {random.text(): [random.text()]}})
        }
        5 => json!({"exec": exec}),
        _ => json!({"auth-provider": oidc}),
    }
}

/// What says who is asked, or what is run, stays as it is.
const KEPT: [&str; 5] = ["server", "proxy-url", "command", "cmd-path", "idp-issuer-url"];

/// Puts something else in the place of one value, or under another key.
fn replace(random: &mut Random, value: &mut Value) {
    let stop = random.one_in(3);
    match value {
        Value::Object(map) if !stop && !map.is_empty() => {
            let keys: Vec<String> = map.keys().filter(|k| !KEPT.contains(&k.as_str())).cloned().collect();
            if keys.is_empty() {
                return;
            }
            let key = random.pick(&keys).clone();
            if random.one_in(6) {
                map.remove(&key);
            } else if let Some(value) = map.get_mut(&key) {
                replace(random, value);
            }
        }
        Value::Array(all) if !stop && !all.is_empty() => {
            let at = random.below(all.len());
            if random.one_in(4) {
                all.push(all[at].clone());
            } else {
                replace(random, &mut all[at]);
            }
        }
        _ => {
            *value = match random.below(7) {
                0 => Value::Null,
                1 => json!(1e300),
                2 => json!([]),
                3 => json!({}),
                4 => (0..200).fold(json!("x"), |deep, _| json!([deep])),
                5 => json!(true),
                _ => random.text().into(),
            }
        }
    }
}

/// A text with whole lines put in, taken out, repeated and moved, or cut. Within a line nothing changes, so that a server
/// stays what it is.
fn spoiled(random: &mut Random, text: &str) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = text.lines().map(|l| l.as_bytes().to_vec()).collect();
    for _ in 0..random.below(4) {
        let (a, b) = (random.below(lines.len() + 1), random.below(lines.len()));
        match random.below(4) {
            0 => lines.insert(a, random.word().into_encoded_bytes()),
            1 if lines.len() > 1 => drop(lines.remove(b)),
            2 => lines.insert(a, lines[b].clone()),
            _ => {
                let last = lines.len() - 1;
                lines.swap(b, a.min(last));
            }
        }
    }
    let mut all = lines.join(&b'\n');
    if random.one_in(6) {
        all.truncate(random.below(all.len() + 1));
    }
    all
}

const DEPLOYMENT: &str = "\
apiVersion: clearwater/v1
namespace: ims
logLevel: 4
bono: {exposure: loadBalancer, addresses: [192.0.2.1]}
ellis: {exposure: loadBalancer}
networkPolicy: isolate
components:
  sprout: {replicas: 2, resources: {requests: {cpu: 100m, memory: 1Gi}}}
  chronos: {replicas: 3}
";

const LOG: &str = "\
24-11-2017 11:00:08.123 UTC [7f45527e4700] Status main.cpp:1: Log level set to 4
24-11-2017 11:00:08.124 UTC [7f45527e4700] Verbose common_sip_processing.cpp:103: RX 300 bytes Request msg INVITE/cseq=1 \
(rdata0x7f) from TCP 192.0.2.1:5060:
--start msg--

INVITE sip:6505550001@example.com SIP/2.0
Call-ID: 0gQAAC8WAAACBAAALxYAAA
CSeq: 1 INVITE

--end msg--
";
