//! Name look-ups as the C++ parts make them: the literal name, straight to
//! `signaling_dns_server`, no search list, no `/etc/hosts` (cpp-common
//! `src/dnscachedresolver.cpp` calls `ares_query` with `ndots=0`).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::log::log;
use crate::place::Settings;

/// Time for all servers together (cpp-common default `dns_timeout`).
const BUDGET: Duration = Duration::from_millis(600);
/// How long an answer that is neither success nor NXDOMAIN counts: old records live on, and without them nothing is found.
const GRACE: Duration = Duration::from_secs(30);
/// Longest time a negative answer is kept, and its time when it carries no SOA.
const NEGATIVE_CAP: u32 = 300;
/// How long an address that did not answer is tried last.
const BLACKLIST: Duration = Duration::from_secs(30);

struct Entry {
    addresses: Vec<IpAddr>,
    until: Instant,
    reason: &'static str,
}

enum Outcome {
    Found(Vec<IpAddr>, u32),
    Absent(u32),
    Failed(&'static str),
}

/// A resolver with the cache of the C++ parts.
pub(crate) struct Ares {
    servers: Vec<SocketAddr>,
    kind: RecordType,
    budget: Duration,
    cache: Mutex<HashMap<String, Entry>>,
    bad: Mutex<HashMap<SocketAddr, Instant>>,
    turn: AtomicUsize,
}

impl Ares {
    /// Asks the settings' servers, for the family of the node's own address.
    pub(crate) fn new(settings: &Settings) -> Self {
        let kind = match settings.local_ip() {
            Ok(IpAddr::V6(_)) => RecordType::AAAA,
            _ => RecordType::A,
        };
        Self::with_servers(settings.dns_servers(), kind)
    }

    /// Asks these servers for this kind of record.
    pub(crate) fn with_servers(servers: Vec<SocketAddr>, kind: RecordType) -> Self {
        Self {
            servers,
            kind,
            budget: BUDGET,
            cache: Mutex::default(),
            bad: Mutex::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// With another time for all servers together.
    pub(crate) fn within(self, budget: Duration) -> Self {
        Self { budget, ..self }
    }

    /// The addresses of a `host` or `host:port`, load shared, those that failed lately last.
    /// Fails with c-ares' reason, which is logged at Warning.
    pub(crate) async fn targets(&self, name: &str, default_port: u16) -> Result<Vec<SocketAddr>> {
        let (host, port) = split_port(name, default_port);
        let addresses = self.resolve(&host).await?;
        let mut all: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % all.len().max(1);
        all.rotate_left(first);
        let bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        all.sort_by_key(|a| bad.get(a).is_some_and(|since| since.elapsed() < BLACKLIST));
        Ok(all)
    }

    /// Remembers that an address did not answer.
    pub(crate) fn blacklist(&self, address: SocketAddr) {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).insert(address, Instant::now());
    }

    /// The addresses of a name, or of an address written out.
    pub(crate) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>> {
        if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
            return Ok(vec![ip]);
        }
        if let Some(cached) = self.cached(host) {
            return answer(host, cached.0, cached.1);
        }
        let outcome = self.ask(host).await;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (addresses, reason, ttl) = match outcome {
            Outcome::Found(addresses, ttl) => (addresses, "", Duration::from_secs(ttl.into())),
            Outcome::Absent(ttl) => (Vec::new(), "Domain name not found", Duration::from_secs(ttl.into())),
            Outcome::Failed(reason) => {
                let old = cache.remove(host).map(|e| e.addresses).unwrap_or_default();
                (old, reason, GRACE)
            }
        };
        cache.insert(host.to_owned(), Entry { addresses: addresses.clone(), until: Instant::now() + ttl, reason });
        answer(host, addresses, reason)
    }

    fn cached(&self, host: &str) -> Option<(Vec<IpAddr>, &'static str)> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(host).filter(|e| e.until > Instant::now()).map(|e| (e.addresses.clone(), e.reason))
    }

    async fn ask(&self, host: &str) -> Outcome {
        let Ok(mut name) = Name::from_ascii(host) else {
            return Outcome::Failed("Misformatted domain name");
        };
        name.set_fqdn(true);
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name, self.kind));
        let Ok(wire) = message.to_vec() else {
            return Outcome::Failed("Misformatted domain name");
        };
        let share = self.budget / u32::try_from(self.servers.len().max(1)).unwrap_or(1);
        let mut last = "Could not contact DNS servers";
        for server in &self.servers {
            match tokio::time::timeout(share, exchange(*server, &wire, message.metadata.id)).await {
                Err(_) => last = "Timeout while contacting DNS servers",
                Ok(Err(_)) => last = "Could not contact DNS servers",
                Ok(Ok(reply)) => match read_reply(&reply) {
                    Outcome::Failed(reason) => last = reason,
                    decided => return decided,
                },
            }
        }
        Outcome::Failed(last)
    }
}

fn answer(host: &str, addresses: Vec<IpAddr>, reason: &str) -> Result<Vec<IpAddr>> {
    if addresses.is_empty() {
        log!(Warning, "dnscachedresolver.cpp:698", "Failed to retrieve record for {host}: {reason}");
        bail!("Failed to retrieve record for {host}: {reason}");
    }
    Ok(addresses)
}

/// Splits `host:port`, `[v6]:port`, `host`.
pub(crate) fn split_port(name: &str, default_port: u16) -> (String, u16) {
    if let Ok(address) = name.parse::<SocketAddr>() {
        return (address.ip().to_string(), address.port());
    }
    match name.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host.to_owned(), port.parse().unwrap_or(default_port)),
        _ => (name.to_owned(), default_port),
    }
}

async fn exchange(server: SocketAddr, wire: &[u8], id: u16) -> Result<Message> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(wire).await?;
    let mut buffer = [0u8; 4096];
    let message = loop {
        let length = socket.recv(&mut buffer).await?;
        if let Ok(message) = Message::from_vec(&buffer[..length])
            && message.metadata.id == id
        {
            break message;
        }
    };
    if !message.metadata.truncation {
        return Ok(message);
    }
    let mut stream = TcpStream::connect(server).await?;
    stream.write_u16(u16::try_from(wire.len())?).await?;
    stream.write_all(wire).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0u8; length.into()];
    stream.read_exact(&mut reply).await?;
    Ok(Message::from_vec(&reply)?)
}

fn read_reply(reply: &Message) -> Outcome {
    match reply.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => {
            let ttl = reply
                .authorities
                .iter()
                .find_map(|r| match &r.data {
                    RData::SOA(_) => Some(r.ttl),
                    _ => None,
                })
                .unwrap_or(NEGATIVE_CAP);
            return Outcome::Absent(ttl.min(NEGATIVE_CAP));
        }
        // c-ares passes over a server that says so, as over one that is not there.
        ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp => {
            return Outcome::Failed("Could not contact DNS servers");
        }
        _ => return Outcome::Failed("Misformatted DNS reply"),
    }
    let mut ttl = u32::MAX;
    let mut found = Vec::new();
    for record in &reply.answers {
        match &record.data {
            RData::A(a) => found.push(IpAddr::V4(a.0)),
            RData::AAAA(a) => found.push(IpAddr::V6(a.0)),
            _ => {}
        }
        ttl = ttl.min(record.ttl);
    }
    if found.is_empty() {
        return Outcome::Failed("DNS server returned answer with no data");
    }
    Outcome::Found(found, ttl)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::SOA;

    use super::*;

    #[test]
    fn ports_are_split_from_names_and_addresses() {
        assert_eq!(split_port("hs.zone:8888", 80), ("hs.zone".to_owned(), 8888));
        assert_eq!(split_port("astaire.zone", 11311), ("astaire.zone".to_owned(), 11311));
        assert_eq!(split_port("127.0.0.3", 9160), ("127.0.0.3".to_owned(), 9160));
        assert_eq!(split_port("[::1]:80", 1), ("::1".to_owned(), 80));
        assert_eq!(split_port("::1", 7), ("::1".to_owned(), 7));
    }

    /// A name server that answers with this, and counts how often it was asked.
    async fn server(answer: impl Fn(&mut Message) + Send + 'static) -> Result<(SocketAddr, Arc<AtomicUsize>)> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0u8; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let Ok(message) = Message::from_vec(&buffer[..length]) else {
                    continue;
                };
                count.fetch_add(1, Ordering::Relaxed);
                assert!(message.queries[0].name().to_ascii() == "sprout.");
                let mut message = message.into_response();
                answer(&mut message);
                let _ = socket.send_to(&message.to_vec().unwrap_or_default(), from).await;
            }
        });
        Ok((address, asked))
    }

    async fn refusal(ares: &Ares) -> String {
        ares.resolve("sprout").await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn nxdomain_is_named_and_a_dead_server_too() -> Result<()> {
        let (address, _) = server(|m| m.metadata.response_code = ResponseCode::NXDomain).await?;
        let ares = Ares::with_servers(vec![address], RecordType::A);
        assert_eq!(refusal(&ares).await, "Failed to retrieve record for sprout: Domain name not found");
        let nobody = Ares::with_servers(vec!["127.0.0.1:1".parse()?], RecordType::A);
        assert_eq!(refusal(&nobody).await, "Failed to retrieve record for sprout: Could not contact DNS servers");
        Ok(())
    }

    #[tokio::test]
    async fn a_failed_question_is_not_asked_again_for_half_a_minute() -> Result<()> {
        let (address, asked) = server(|m| m.metadata.response_code = ResponseCode::ServFail).await?;
        let ares = Ares::with_servers(vec![address], RecordType::A);
        for _ in 0..3 {
            assert_eq!(refusal(&ares).await, "Failed to retrieve record for sprout: Could not contact DNS servers");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let cache = ares.cache.lock().unwrap();
        let left = cache["sprout"].until - Instant::now();
        assert!(left > Duration::from_secs(29) && left <= GRACE, "{left:?}");
        Ok(())
    }

    #[tokio::test]
    async fn that_a_name_is_missing_is_kept_for_the_soa_records_own_time() -> Result<()> {
        let (address, _) = server(|message| {
            message.metadata.response_code = ResponseCode::NXDomain;
            let soa = SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, 5);
            message.add_authority(Record::from_rdata(Name::root(), 90, RData::SOA(soa)));
        })
        .await?;
        let ares = Ares::with_servers(vec![address], RecordType::A);
        refusal(&ares).await;
        let left = ares.cache.lock().unwrap()["sprout"].until - Instant::now();
        assert!(left > Duration::from_secs(89) && left <= Duration::from_secs(90), "{left:?}");
        Ok(())
    }

    #[tokio::test]
    async fn a_server_that_is_silent_costs_the_time_that_is_allowed() -> Result<()> {
        let silent = UdpSocket::bind("127.0.0.1:0").await?;
        let ares = Ares::with_servers(vec![silent.local_addr()?], RecordType::A).within(Duration::from_millis(200));
        let began = Instant::now();
        let said = refusal(&ares).await;
        assert_eq!(said, "Failed to retrieve record for sprout: Timeout while contacting DNS servers");
        assert!((200..450).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        Ok(())
    }
}
