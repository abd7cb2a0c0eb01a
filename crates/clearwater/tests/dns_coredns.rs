//! What is rendered for CoreDNS, answered by the real CoreDNS: set `CLEARWATER_COREDNS` to its binary and run with
//! `--ignored`. The etcd test takes `etcd` from the path.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clearwater::component::Component;
use clearwater::config::{Deployment, DeploymentFile, DnsBackend};
use clearwater::dns::corefile::{Corefile, Owner};
use clearwater::dns::{Name, RecordType, Targets, Zone, client_records, client_rules, records, rules, skydns};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{RData, RecordType as HickoryType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};

const CLASSIC: &str = "release: classic\nimages: {registry: registry.example:5000/cw, tag: '2016'}\n";
const DEADLINE: Duration = Duration::from_secs(20);

/// A program that ends with its handle.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, args: &[&str], dir: &Path) -> Running {
    let child = Command::new(program).args(args).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Running(child.unwrap_or_else(|e| panic!("{program}: {e}")))
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn ask(port: u16, name: &str, record_type: RecordType) -> Option<(ResponseCode, Message)> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut query = Query::query(format!("{name}.").parse().unwrap(), hickory_type(record_type));
    query.set_query_class(hickory_proto::rr::DNSClass::IN);
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(query);
    socket.send_to(&message.to_bytes().unwrap(), SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    let mut buffer = [0; 4096];
    let (len, _) = socket.recv_from(&mut buffer).ok()?;
    let answer = Message::from_bytes(&buffer[..len]).unwrap();
    Some((answer.metadata.response_code, answer))
}

fn hickory_type(record_type: RecordType) -> HickoryType {
    record_type.name().parse().unwrap()
}

/// The answer's records of the asked type, as a zone has them; their owner must be the asked name.
fn answers(port: u16, name: &Name, record_type: RecordType) -> BTreeSet<String> {
    let deadline = Instant::now() + DEADLINE;
    let (code, message) = loop {
        if let Some(answer) = ask(port, name.as_str(), record_type) {
            break answer;
        }
        assert!(Instant::now() < deadline, "no answer for {name} {record_type}");
    };
    assert_eq!(code, ResponseCode::NoError, "{name} {record_type}");
    let answers = message.answers.iter().filter(|r| r.record_type() == hickory_type(record_type));
    answers
        .map(|r| {
            assert_eq!(r.name.to_ascii().trim_end_matches('.'), name.as_str(), "the asked name is the owner");
            match &r.data {
                RData::A(ip) => ip.to_string(),
                RData::AAAA(ip) => ip.to_string(),
                RData::SRV(s) => format!("{} {} {} {}", s.priority, s.weight, s.port, s.target.to_ascii()),
                RData::NAPTR(n) => {
                    let text = |t: &[u8]| String::from_utf8_lossy(t).into_owned();
                    let (flags, services, regexp) = (text(&n.flags), text(&n.services), text(&n.regexp));
                    let replacement = n.replacement.to_ascii();
                    format!("{} {} {flags:?} {services:?} {regexp:?} {replacement}", n.order, n.preference)
                }
                other => panic!("{other:?}"),
            }
        })
        .collect()
}

fn assert_answered(port: u16, zone: &Zone) {
    for (name, record_type, set) in zone.sets() {
        let expected = set.data().map(ToString::to_string).collect();
        assert_eq!(answers(port, name, record_type), expected, "{name} {record_type}");
    }
}

fn coredns(dir: &Path, corefile: &str) -> Running {
    let binary = std::env::var("CLEARWATER_COREDNS").expect("CLEARWATER_COREDNS names the CoreDNS binary");
    fs::write(dir.join("Corefile"), corefile).unwrap();
    start(&binary, &["-conf", "Corefile"], dir)
}

fn deployment(yaml: &str) -> Deployment {
    DeploymentFile::parse(&format!("apiVersion: clearwater/v1\n{yaml}"), "clearwater.yaml")
        .and_then(|file| file.deploy("ims"))
        .unwrap_or_else(|e| panic!("{e}"))
}

#[test]
#[ignore = "needs CLEARWATER_COREDNS"]
fn corefile_lines_are_answered_as_the_records_say() {
    let d = deployment(&format!("{CLASSIC}dns: {{backend: coredns}}\n"));
    let mut targets = Targets::default();
    for entry in d.components() {
        targets = targets.with(entry.component, ["10.1.2.3".parse().unwrap(), "fd00::3".parse().unwrap()]);
    }
    let dir = tempfile::tempdir().unwrap();
    // What Kubernetes gives, given by a zone file in its place.
    let mut services = Zone::new();
    for (name, ttl, data) in records(&d, DnsBackend::Print, &targets).unwrap().records() {
        if !name.labels().any(|l| ["icscf", "scscf", "bgcf"].contains(&l)) {
            services.insert(name.clone(), ttl, data.clone());
        }
    }
    fs::write(dir.path().join("zone"), services.loadable(&"svc.cluster.local".parse().unwrap(), 1)).unwrap();
    let mut all = rules(&d).unwrap();
    all.merge(client_rules(&d).unwrap().unwrap());
    let port = free_port();
    // The stand-in block is edited as the cluster's is.
    let block = format!(
        ".:{port} {{\n    bind 127.0.0.1\n    errors\n    kubernetes cluster.local\n    file zone svc.cluster.local\n}}\n"
    );
    let edited = Corefile::parse(&block)
        .unwrap()
        .with_lines(&Owner::namespace("ims"), &"cluster.local".parse().unwrap(), &all.corefile_lines().unwrap())
        .unwrap();
    let corefile = edited.to_string().replace("    kubernetes cluster.local\n", "");
    let _running = coredns(dir.path(), &corefile);

    let mut wanted = records(&d, DnsBackend::Coredns, &targets).unwrap();
    wanted.merge(client_records(&d, &targets).unwrap());
    wanted.merge(services);
    assert!(wanted.len() > 20);
    assert_answered(port, &wanted);
    // Labels are dots in the pattern, not any character.
    let (code, _) = ask(port, "_sipx_tcp.icscf.sprout.ims.svc.cluster.local", RecordType::Srv).unwrap();
    assert_eq!(code, ResponseCode::NXDomain);
    let (code, _) = ask(port, "xcscf.sprout.ims.svc.cluster.local", RecordType::A).unwrap();
    assert_eq!(code, ResponseCode::NXDomain);
}

fn put(port: u16, key: &str, value: &str) -> bool {
    // The gateway takes keys and values in base64.
    let body = format!("{{\"key\":\"{}\",\"value\":\"{}\"}}", base64(key), base64(value));
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let head = format!("POST /v3/kv/put HTTP/1.0\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut answer = String::new();
    stream.write_all((head + &body).as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.0 200")
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for n in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * n) & 63) as usize];
            out.push(if n <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[test]
#[ignore = "needs CLEARWATER_COREDNS and etcd"]
fn skydns_keys_are_answered_as_the_records_say() {
    let d = deployment(&format!("{CLASSIC}dns: {{backend: etcd}}\n"));
    let addresses = ["10.96.0.77".parse().unwrap(), "fd00::77".parse().unwrap()];
    let vip = Targets::default().with(Component::Sprout, addresses);
    let zone = records(&d, DnsBackend::Etcd, &vip).unwrap();
    let keys = skydns::keys(&zone, &["svc.cluster.local".parse().unwrap()]).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let (client, peer, dns) = (free_port(), free_port(), free_port());
    let (client_url, peer_url) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let _etcd = start(
        "etcd",
        &[
            "--data-dir",
            "data",
            "--listen-client-urls",
            &client_url,
            "--advertise-client-urls",
            &client_url,
            "--listen-peer-urls",
            &peer_url,
            "--initial-advertise-peer-urls",
            &peer_url,
            "--initial-cluster",
            &format!("default={peer_url}"),
        ],
        dir.path(),
    );
    let deadline = Instant::now() + DEADLINE;
    for key in &keys {
        while !put(client, &key.path, &key.value) {
            assert!(Instant::now() < deadline, "etcd does not take {}", key.path);
            std::thread::yield_now();
        }
    }
    let corefile = format!(
        "clearwater.cluster.local:{dns} {{\n    bind 127.0.0.1\n    errors\n    etcd clearwater.cluster.local {{\n        \
         path /skydns\n        endpoint {client_url}\n    }}\n}}\n"
    );
    let _coredns = coredns(dir.path(), &corefile);
    assert_answered(dns, &zone);
}
