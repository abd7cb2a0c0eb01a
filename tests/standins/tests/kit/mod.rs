//! Runs stand-ins outside containers: one folder and one loopback address each.
#![allow(dead_code, reason = "each test file uses a part of the kit")]
pub(crate) mod back_ends;
pub(crate) mod sip;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Whether the machine has the servers; says so when not.
pub(crate) fn ready() -> bool {
    let there = ["etcd", "memcached"].iter().all(|program| {
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    });
    if !there {
        let _ = writeln!(std::io::stderr(), "SKIPPED: etcd and memcached are needed (packages etcd-server, memcached)");
    }
    there
}

static NEXT: AtomicU8 = AtomicU8::new(1);

/// One deployment: an etcd, a DNS server, and nodes on addresses of their own.
pub(crate) struct Bed {
    net: [u8; 2],
    folder: tempfile::TempDir,
    etcd: Option<Child>,
    pub(crate) dns: Dns,
    pub(crate) shared: BTreeMap<String, String>,
}

impl Bed {
    pub(crate) fn new() -> Result<Self> {
        // Several test programs may run at once, each with several tests.
        let pid = std::process::id();
        let net = [
            u8::try_from(2 + pid % 250)?,
            NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(u8::try_from(pid / 250 % 100)?),
        ];
        let dns = Dns::start()?;
        let mut bed = Self { net, folder: tempfile::tempdir()?, etcd: None, dns, shared: BTreeMap::new() };
        for (key, value) in [
            ("home_domain", "zone"),
            ("sprout_hostname", "sprout.zone"),
            ("hs_hostname", "homestead.zone:8888"),
            ("cassandra_hostname", "cassandra.zone"),
            ("chronos_hostname", "chronos.zone"),
            ("ralf_hostname", "ralf.zone:10888"),
            ("sprout_registration_store", "astaire.zone"),
            ("homestead_impu_store", "astaire.zone"),
            ("ralf_session_store", "astaire.zone"),
            ("scscf_uri", "\"sip:sprout.zone:5054;transport=tcp\""),
            ("signup_key", "secret"),
            ("ellis_api_key", "secret"),
            ("signaling_dns_server", "127.0.0.1"),
        ] {
            bed.shared.insert(key.to_owned(), value.to_owned());
        }
        Ok(bed)
    }

    pub(crate) fn ip(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.net[0], self.net[1], host)
    }

    pub(crate) fn etcd_address(&self) -> SocketAddr {
        (self.ip(250), 4000).into()
    }

    pub(crate) fn start_etcd(&mut self) -> Result<()> {
        let url = format!("http://{}", self.etcd_address());
        let peer = format!("http://{}:2380", self.ip(250));
        let child = Command::new("etcd")
            .args(["--name", "etcd0", "--enable-v2", "--log-level", "error"])
            .args(["--data-dir", &self.folder.path().join("etcd").to_string_lossy()])
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("etcd0={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("etcd")?;
        self.etcd = Some(child);
        until("etcd answers", || Ok(http("GET", self.etcd_address(), "/health", "")?.status == 200))
    }

    pub(crate) fn stop_etcd(&mut self) {
        if let Some(mut child) = self.etcd.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A node whose settings are the bed's, with the cluster key and more environment.
    pub(crate) fn node(&self, host: u8, cluster_key: &str) -> Result<Node> {
        let ip = self.ip(host);
        let root = self.folder.path().join(format!("node{host}"));
        let etc = root.join("etc/clearwater");
        std::fs::create_dir_all(&etc)?;
        let mut text = String::new();
        for (key, value) in &self.shared {
            writeln!(text, "{key}={value}")?;
        }
        std::fs::write(etc.join("shared_config"), text)?;
        std::fs::write(etc.join("local_config"), format!("local_ip={ip}\netcd_cluster_key={cluster_key}\n"))?;
        Ok(Node {
            ip,
            root,
            env: vec![
                ("STANDIN_ETCD".to_owned(), self.etcd_address().to_string()),
                ("STANDIN_BIND".to_owned(), ip.to_string()),
                ("STANDIN_DNS_PORT".to_owned(), self.dns.port.to_string()),
                ("STANDIN_JOIN_DELAY_MS".to_owned(), "150".to_owned()),
                ("STANDIN_POLL_MS".to_owned(), "20".to_owned()),
                ("STANDIN_CHRONOS_LAG_MS".to_owned(), "300".to_owned()),
            ],
            running: BTreeMap::new(),
        })
    }

    /// The map of a store, as `ip=state` words joined by commas, addresses by last number.
    pub(crate) fn map(&self, key: &str) -> Result<String> {
        let answer = http("GET", self.etcd_address(), &format!("/v2/keys/clearwater/{key}"), "")?;
        let text = answer.json()["node"]["value"].as_str().unwrap_or("{}").to_owned();
        let map: BTreeMap<String, String> = serde_json::from_str(&text)?;
        let all: Vec<String> =
            map.iter().map(|(ip, s)| format!("{}={s}", ip.rsplit('.').next().unwrap_or(ip))).collect();
        Ok(all.join(","))
    }

    /// Writes a store's map, as members that are gone left it.
    pub(crate) fn set_map(&self, key: &str, members: &[(u8, &str)]) -> Result<()> {
        let map: BTreeMap<String, &str> =
            members.iter().map(|(host, state)| (self.ip(*host).to_string(), *state)).collect();
        let value = serde_json::to_string(&map)?;
        let path = format!("/v2/keys/clearwater/{key}");
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let limit = Duration::from_secs(10);
        let reply = http_with("PUT", self.etcd_address(), &path, &format!("value={value}"), &form, limit)?;
        ensure!(reply.status < 300, "{reply:?}");
        Ok(())
    }

    pub(crate) fn until_map(&self, key: &str, wanted: &str) -> Result<()> {
        until(&format!("{key} is {wanted}"), || Ok(self.map(key)? == wanted))
            .with_context(|| format!("it is {}", self.map(key).unwrap_or_default()))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.stop_etcd();
    }
}

/// What stands for one container.
pub(crate) struct Node {
    pub(crate) ip: Ipv4Addr,
    pub(crate) root: PathBuf,
    pub(crate) env: Vec<(String, String)>,
    running: BTreeMap<String, Child>,
}

impl Node {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standin"));
        command.args(args).env("STANDIN_ROOT", &self.root).envs(self.env.iter().cloned());
        command.env("STANDIN_STAMP_OUT", self.root.join("pid1.out"));
        command
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.env.push((key.to_owned(), value.to_owned()));
    }

    /// Starts a program in the background.
    pub(crate) fn start(&mut self, args: &[&str]) -> Result<()> {
        let log = std::fs::File::create(self.root.join(format!("{}.out", args.join("-"))))?;
        let child = self.command(args).stdout(log.try_clone()?).stderr(log).stdin(Stdio::null()).spawn()?;
        self.running.insert(args.join(" "), child);
        Ok(())
    }

    /// Runs a program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Result<Output> {
        Ok(self.command(args).stdin(Stdio::null()).output()?)
    }

    /// Starts a program again whenever it ends, as supervisord does, until it stays.
    pub(crate) fn start_until(&mut self, args: &[&str], address: SocketAddr) -> Result<()> {
        until(&format!("{} on {address}", args.join(" ")), || {
            let name = args.join(" ");
            let ended = match self.running.get_mut(&name) {
                Some(child) => child.try_wait()?.is_some(),
                None => true,
            };
            if ended {
                self.start(args)?;
            }
            Ok(open(address))
        })
    }

    /// An etcd proxy of this node's own, as each container has.
    pub(crate) fn etcd_proxy(&mut self, bed: &Bed) -> Result<()> {
        let data = self.root.join("etcd");
        let child = Command::new("etcd")
            .args(["--proxy", "on", "--log-level", "error"])
            .args(["--data-dir", &data.to_string_lossy()])
            .args(["--listen-client-urls", &format!("http://{}", self.at(4000))])
            .args(["--initial-cluster", &format!("etcd0=http://{}:2380", bed.ip(250))])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("etcd proxy")?;
        self.running.insert("etcd".to_owned(), child);
        self.set("STANDIN_ETCD", &self.at(4000).to_string());
        Ok(())
    }

    pub(crate) fn memcached(&mut self) -> Result<()> {
        let child = Command::new("memcached")
            .args(["-u", "root", "-l", &self.ip.to_string(), "-p", "11211", "-m", "16", "-t", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("memcached")?;
        self.running.insert("memcached".to_owned(), child);
        let address = self.at(11211);
        until("memcached", || Ok(open(address)))
    }

    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    pub(crate) fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let child = self.running.get(name).with_context(|| format!("{name} does not run"))?;
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("no process number")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Whether a program is still running.
    pub(crate) fn runs(&mut self, name: &str) -> Result<bool> {
        let child = self.running.get_mut(name).with_context(|| format!("{name} does not run"))?;
        Ok(child.try_wait()?.is_none())
    }

    /// Kills a program.
    pub(crate) fn kill(&mut self, name: &str) -> Result<()> {
        let mut child = self.running.remove(name).with_context(|| format!("{name} does not run"))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Waits for a program to end by itself and returns its status.
    pub(crate) fn ended(&mut self, name: &str) -> Result<i32> {
        let child = self.running.get_mut(name).with_context(|| format!("{name} does not run"))?;
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                self.running.remove(name);
                return status.code().context("killed");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("{name} did not end in {LIMIT:?}")
    }

    /// Stops everything and leaves the cluster, as `pre-stop` does.
    pub(crate) fn pre_stop(&mut self) -> Result<()> {
        let others: Vec<String> = self.running.keys().filter(|n| *n != "cluster-agent").cloned().collect();
        for name in others {
            self.kill(&name)?;
        }
        self.signal("cluster-agent", Signal::QUIT)?;
        ensure!(self.ended("cluster-agent")? == 0);
        Ok(())
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// Everything in a log folder.
    pub(crate) fn log(&self, folder: &str) -> String {
        let mut out = String::new();
        for entry in std::fs::read_dir(self.path("/var/log").join(folder)).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_file()) {
                out.push_str(&std::fs::read_to_string(entry.path()).unwrap_or_default());
            }
        }
        out
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const LIMIT: Duration = Duration::from_secs(15);

/// Asks every few milliseconds until the answer is yes; an error counts as no.
pub(crate) fn until(what: &str, mut ask: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = ask();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return match answer {
                Err(err) => Err(err.context(format!("waiting in vain: {what}"))),
                Ok(_) => bail!("waiting in vain: {what}"),
            };
        }
        std::thread::sleep(Duration::from_millis(15));
    }
}

pub(crate) fn open(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok()
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|l| {
            let (k, v) = l.split_once(':')?;
            k.eq_ignore_ascii_case(name).then_some(v.trim())
        })
    }
}

pub(crate) fn http(method: &str, address: SocketAddr, path: &str, body: &str) -> Result<Reply> {
    http_with(method, address, path, body, &[], Duration::from_secs(10))
}

pub(crate) fn http_with(
    method: &str,
    address: SocketAddr,
    path: &str,
    body: &str,
    headers: &[(&str, &str)],
    limit: Duration,
) -> Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n")?;
    }
    write!(request, "\r\n{body}")?;
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).with_context(|| format!("{method} http://{address}{path}"))?;
    let (head, body) = text.split_once("\r\n\r\n").context("no end of head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    Ok(Reply { status, head: head.to_owned(), body })
}

fn unchunk(mut text: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        out.push_str(&rest[..size]);
        text = rest[size..].trim_start_matches("\r\n");
    }
    out
}

/// A DNS server that knows the names it is told; others do not exist.
pub(crate) struct Dns {
    pub(crate) port: u16,
    names: Arc<Mutex<BTreeMap<String, Vec<Ipv4Addr>>>>,
}

impl Dns {
    fn start() -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let port = socket.local_addr()?.port();
        let names: Arc<Mutex<BTreeMap<String, Vec<Ipv4Addr>>>> = Arc::default();
        let known = names.clone();
        std::thread::spawn(move || {
            let mut buffer = [0u8; 1024];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if let Ok(reply) = answer(&buffer[..length], &known.lock().unwrap_or_else(PoisonError::into_inner)) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Ok(Self { port, names })
    }

    pub(crate) fn set(&self, name: &str, ips: &[Ipv4Addr]) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), ips.to_vec());
    }
}

fn answer(wire: &[u8], known: &BTreeMap<String, Vec<Ipv4Addr>>) -> Result<Vec<u8>> {
    let mut message = Message::from_vec(wire)?.into_response();
    let name = message.queries[0].name().clone();
    let asked = name.to_ascii().trim_end_matches('.').to_owned();
    if let Some(ips) = known.get(&asked) {
        for ip in ips {
            message.add_answer(Record::from_rdata(name.clone(), 1, RData::A(A(*ip))));
        }
    } else if asked.starts_with("broken.") {
        message.metadata.response_code = ResponseCode::ServFail;
    } else {
        message.metadata.response_code = ResponseCode::NXDomain;
        let (primary, admin) = (Name::from_ascii("ns.")?, Name::from_ascii("admin.")?);
        let soa = SOA::new(primary, admin, 1, 1, 1, 1, 1);
        message.add_authority(Record::from_rdata(Name::root(), 1, RData::SOA(soa)));
    }
    Ok(message.to_vec()?)
}

/// A client of memcached's binary protocol: the operations by number, an answer's status.
pub(crate) struct Binary {
    stream: std::io::BufReader<TcpStream>,
}

impl Binary {
    pub(crate) const GET: u8 = 0;
    pub(crate) const SET: u8 = 1;
    pub(crate) const ADD: u8 = 2;
    pub(crate) const DELETE: u8 = 4;

    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: std::io::BufReader::new(stream) })
    }

    /// Status, token and value.
    fn ask(&mut self, op: u8, key: &str, value: &str, cas: u64) -> Result<(u16, u64, String)> {
        let extras: &[u8] = if matches!(op, Self::SET | Self::ADD) { &[0, 0, 0, 0, 0, 0, 1, 44] } else { &[] };
        let mut out = vec![0x80, op, 0, u8::try_from(key.len())?, u8::try_from(extras.len())?, 0, 0, 0];
        out.extend(u32::try_from(extras.len() + key.len() + value.len())?.to_be_bytes());
        out.extend([0; 4]);
        out.extend(cas.to_be_bytes());
        out.extend([extras, key.as_bytes(), value.as_bytes()].concat());
        self.stream.get_mut().write_all(&out)?;
        let mut head = [0; 24];
        self.stream.read_exact(&mut head)?;
        ensure!(head[..2] == [0x81, op], "answered {head:?}");
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(head[8..12].try_into()?))?];
        self.stream.read_exact(&mut body)?;
        let value = String::from_utf8(body.split_off(usize::from(head[4])))?;
        Ok((u16::from_be_bytes([head[6], head[7]]), u64::from_be_bytes(head[16..].try_into()?), value))
    }

    /// The status of a write.
    pub(crate) fn store(&mut self, op: u8, key: &str, value: &str, cas: u64) -> Result<u16> {
        Ok(self.ask(op, key, value, cas)?.0)
    }

    /// A value and its token.
    pub(crate) fn get(&mut self, key: &str) -> Result<Option<(String, u64)>> {
        let (status, cas, value) = self.ask(Self::GET, key, "", 0)?;
        ensure!(status <= 1, "status {status} of {key}");
        Ok((status == 0).then_some((value, cas)))
    }
}
