//! bono and sprout as the images start them, and phones that say what they are told to.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::back_ends::{Homer, Homestead, ha1, md5};
use super::{Bed, Node, open, until};

const DEBIAN: &str = "usr/lib/x86_64-linux-gnu/kamailio/modules/";

/// Whether what plays bono and sprout is there. Says so where it is not.
pub(crate) fn ready() -> bool {
    super::ready() && modules().is_some()
}

/// The modules of the `kamailio` that is found first: the machine's, or those beside an unpacked one. Says so when there
/// are none.
fn modules() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path).map(|folder| folder.join("kamailio")).find(|p| p.exists());
    let places =
        [program.and_then(|p| Some(p.parent()?.parent()?.join(DEBIAN))), Some(PathBuf::from("/").join(DEBIAN))];
    let found = places.into_iter().flatten().find(|place| place.join("http_client.so").exists());
    if found.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: kamailio is needed (packages kamailio, kamailio-json-modules, kamailio-utils-modules)"
        );
    }
    found
}

/// A Kamailio with bono's or sprout's routes.
pub(crate) struct Proxy {
    child: Child,
    log: PathBuf,
}

impl Proxy {
    pub(crate) fn start(component: &str, node: &Node, ports: &[u16], env: &[(&str, &str)]) -> Result<Self> {
        let modules = modules().context("no kamailio")?;
        let images = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("images");
        let folder = node.path("/etc/kamailio");
        std::fs::create_dir_all(&folder)?;
        for file in [
            "common/etc/kamailio/clearwater.cfg".to_owned(),
            "common/etc/kamailio/routes.cfg".to_owned(),
            format!("component/{component}/etc/kamailio/{component}.cfg"),
        ] {
            let from = images.join(file);
            let text = std::fs::read_to_string(&from)?
                .replace("/etc/kamailio/", &format!("{}/", folder.display()))
                .replace(&format!("/var/run/{component}/"), &format!("{}/", folder.display()))
                .replace(&format!("/{DEBIAN}"), &format!("{}/", modules.display()));
            std::fs::write(folder.join(from.file_name().context("a name")?), text)?;
        }
        let names: &[&str] = if component == "sprout" { &["sprout.zone", "zone"] } else { &[] };
        let mut aliases = format!("alias=\"{}\"\n", node.ip);
        for name in names {
            writeln!(aliases, "alias=\"{name}\"")?;
        }
        std::fs::write(folder.join("aliases.cfg"), aliases)?;
        let log = node.path(&format!("/{component}.out"));
        let file = std::fs::File::create(&log)?;
        let mut command = Command::new("kamailio");
        command.args(["-DD", "-E", "-m", "32", "-M", "4", "-Y"]).arg(&folder);
        command.arg("-f").arg(folder.join(format!("{component}.cfg")));
        for port in ports {
            command.args(["-l", &format!("udp:{}:{port}", node.ip), "-l", &format!("tcp:{}:{port}", node.ip)]);
        }
        let ip = node.ip.to_string();
        command.env("local_ip", &ip).env("public_hostname", &ip).env("home_domain", "zone");
        command.env("sprout_hostname", "sprout.zone").envs(env.iter().copied());
        // Its processes are one group, so that they end together.
        command.process_group(0).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let proxy = Self { child: command.spawn().context("kamailio")?, log };
        let first = node.at(*ports.first().context("a port")?);
        until(&format!("{component} on {first}"), || Ok(open(first))).with_context(|| proxy.said())?;
        Ok(proxy)
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id())
            && let Some(group) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// One TCP connection that carries SIP.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) fn open(to: SocketAddr) -> Result<Self> {
        Ok(Self::of(TcpStream::connect(to)?))
    }

    fn of(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Waits for somebody to connect.
    pub(crate) fn accept(listener: &TcpListener) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let mut found = None;
        until("a connection", || {
            found = listener.accept().ok().map(|(stream, _)| stream);
            Ok(found.is_some())
        })?;
        let stream = found.context("a connection")?;
        stream.set_nonblocking(false)?;
        Ok(Self::of(stream))
    }

    pub(crate) fn port(&self) -> Result<u16> {
        Ok(self.stream.local_addr()?.port())
    }

    pub(crate) fn say(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    /// The next message; `None` when none comes in time.
    pub(crate) fn hear(&mut self, limit: Duration) -> Result<Option<String>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                let length: usize = header(&head, "Content-Length").map_or(Ok(0), str::parse)?;
                if self.buffer.len() >= end + 4 + length {
                    let message: Vec<u8> = self.buffer.drain(..end + 4 + length).collect();
                    return Ok(Some(String::from_utf8(message)?));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut part = [0; 4096];
            match self.stream.read(&mut part) {
                Ok(0) => return Ok(None),
                Ok(length) => self.buffer.extend(&part[..length]),
                Err(err) if matches!(err.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// The next message that is no 100.
    pub(crate) fn next(&mut self) -> Result<String> {
        loop {
            let heard = self.hear(Duration::from_secs(5))?.context("nothing came in five seconds")?;
            if !heard.starts_with("SIP/2.0 100") {
                return Ok(heard);
            }
        }
    }

    /// Says a request and waits for the code of its final answer.
    pub(crate) fn ask(&mut self, text: &str) -> Result<u16> {
        self.say(text)?;
        loop {
            let heard = self.next()?;
            if heard.starts_with("SIP/2.0") && code(&heard) >= 200 {
                return Ok(code(&heard));
            }
        }
    }
}

/// The status of a response, 0 of a request.
pub(crate) fn code(message: &str) -> u16 {
    message.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}

/// The first value of a header.
pub(crate) fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    headers(message, name).next()
}

/// Every value of a header, line by line.
pub(crate) fn headers<'a>(message: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    message.lines().filter_map(move |line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// An answer to a request, with more headers.
pub(crate) fn reply(request: &str, status: &str, more: &[&str]) -> String {
    let mut out = format!("SIP/2.0 {status}\r\n");
    for line in request.lines().take_while(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default().to_lowercase();
        match name.as_str() {
            "via" | "from" | "call-id" | "cseq" | "record-route" => {
                let _ = write!(out, "{line}\r\n");
            }
            "to" if line.contains(";tag=") => {
                let _ = write!(out, "{line}\r\n");
            }
            "to" => {
                let _ = write!(out, "{line};tag=there\r\n");
            }
            _ => {}
        }
    }
    for line in more {
        let _ = write!(out, "{line}\r\n");
    }
    out + "Content-Length: 0\r\n\r\n"
}

/// The ACK of an answer that is no 2xx.
pub(crate) fn ack(invite: &str) -> String {
    let head = invite.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.lines().filter(|l| !l.starts_with("Content-"));
    let text = lines.collect::<Vec<_>>().join("\r\n").replacen("INVITE ", "ACK ", 1).replace(" INVITE", " ACK");
    format!("{text}\r\nContent-Length: 0\r\n\r\n")
}

/// A subscriber's device: its connection to a bono, and who it says it is.
pub(crate) struct Phone {
    pub(crate) wire: Wire,
    pub(crate) user: String,
    /// Where it says it can be reached.
    pub(crate) contact: String,
    /// With which it registered last, a header.
    pub(crate) credentials: String,
    cseq: u32,
}

impl Phone {
    /// `user` is what its addresses begin with; its password is the same.
    pub(crate) fn open(user: &str, bono: &Node) -> Result<Self> {
        let wire = Wire::open(bono.at(5060))?;
        // An address that nobody has: only over the connection itself can it be reached.
        let contact = format!("<sip:{user}@192.0.2.1:{};transport=tcp>", wire.port()?);
        Ok(Self { wire, user: user.to_owned(), contact, credentials: String::new(), cseq: 0 })
    }

    /// A request of this phone's, for an address, with more headers.
    pub(crate) fn request(&mut self, method: &str, uri: &str, call: &str, to: &str, more: &[&str]) -> String {
        self.cseq += 1;
        let cseq = self.cseq;
        let user = &self.user;
        let contact = if self.contact.is_empty() { String::new() } else { format!("Contact: {}\r\n", self.contact) };
        let mut out = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1:9;rport;branch=z9hG4bK-{call}-{user}-{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@zone>;tag=here\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n{contact}"
        );
        for line in more {
            let _ = write!(out, "{line}\r\n");
        }
        out + "Content-Length: 0\r\n\r\n"
    }

    /// A request for another subscriber, outside of any dialog.
    pub(crate) fn fresh(&mut self, method: &str, to: &str, call: &str, more: &[&str]) -> String {
        self.request(method, to, call, &format!("<{to}>"), more)
    }

    /// A call to another subscriber, with a session description.
    pub(crate) fn invite(&mut self, to: &str, call: &str, media: &str) -> String {
        let head = self.fresh("INVITE", to, call, &["Content-Type: application/sdp"]);
        head.replace("Content-Length: 0\r\n\r\n", &format!("Content-Length: {}\r\n\r\n{media}", media.len()))
    }

    /// Registers, with the digest of the challenge where there is one: the last answer.
    pub(crate) fn register(&mut self, expires: u32) -> Result<String> {
        let own = format!("<sip:{}@zone>", self.user);
        let expires = format!("Expires: {expires}");
        let call = format!("reg-{}", self.wire.port()?);
        let first = self.request("REGISTER", "sip:zone", &call, &own, &[&expires]);
        self.wire.say(&first)?;
        let challenge = self.wire.next()?;
        if code(&challenge) != 401 {
            return Ok(challenge);
        }
        let given = header(&challenge, "WWW-Authenticate").context("a challenge")?;
        let nonce = given.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).context("a nonce")?;
        let ha2 = md5("REGISTER:sip:zone");
        let response = md5(&format!("{}:{nonce}:00000001:c:auth:{ha2}", ha1(&self.user)));
        self.credentials = format!(
            "Authorization: Digest username=\"{}@zone\",realm=\"zone\",nonce=\"{nonce}\",uri=\"sip:zone\",qop=auth,nc=00000001,\
             cnonce=\"c\",response=\"{response}\"",
            self.user
        );
        let credentials = self.credentials.clone();
        let second = self.request("REGISTER", "sip:zone", &call, &own, &[&expires, &credentials]);
        self.wire.say(&second)?;
        self.wire.next()
    }
}

/// bono and sprout with a store, a homestead and a homer, and nothing else.
pub(crate) struct Exchange {
    pub(crate) bono: Node,
    pub(crate) homestead: Homestead,
    pub(crate) homer: Homer,
    pub(crate) sprout: Node,
    store: Node,
    proxies: Vec<Proxy>,
    _bed: Bed,
}

impl Exchange {
    pub(crate) fn start() -> Result<Self> {
        let mut bed = Bed::new()?;
        bed.shared.insert("sprout_registration_store".to_owned(), format!("{}:11211", bed.ip(40)));
        bed.shared.insert("hs_hostname".to_owned(), format!("{}:8888", bed.ip(10)));
        bed.shared.insert("xdms_hostname".to_owned(), format!("{}:7888", bed.ip(20)));
        bed.shared.insert("ralf_hostname".to_owned(), String::new());
        let own = format!("sip:{}:5054;transport=tcp", bed.ip(50));
        bed.shared.insert("scscf_uri".to_owned(), format!("\"{own}\""));
        let homestead = Homestead::start(bed.ip(10))?;
        let homer = Homer::start(bed.ip(20))?;
        let mut store = bed.node(40, "node_type_memcached")?;
        store.memcached()?;
        let mut sprout = bed.node(50, "sprout")?;
        sprout.start_until(&["sprout-http"], sprout.at(9888))?;
        let bono = bed.node(60, "bono")?;
        let role = Proxy::start("sprout", &sprout, &[5052, 5053, 5054], &[("scscf_uri", &own)])?;
        let edge = Proxy::start(
            "bono",
            &bono,
            &[5058, 5060],
            &[("upstream_hostname", &sprout.ip.to_string()), ("upstream_port", "5052")],
        )?;
        Ok(Self { bono, homestead, homer, sprout, store, proxies: vec![role, edge], _bed: bed })
    }

    /// A phone that is registered.
    pub(crate) fn phone(&self, user: &str) -> Result<Phone> {
        let mut phone = Phone::open(user, &self.bono)?;
        let answer = phone.register(300)?;
        ensure!(code(&answer) == 200, "{answer}\n{}", self.said());
        Ok(phone)
    }

    pub(crate) fn lose_store(&mut self) -> Result<()> {
        self.store.kill("memcached")
    }

    /// What bono and sprout have said, for who wonders.
    pub(crate) fn said(&self) -> String {
        let said: Vec<String> = self.proxies.iter().map(Proxy::said).collect();
        said.join("\n").lines().filter(|l| !l.contains("INFO")).collect::<Vec<_>>().join("\n")
    }
}
