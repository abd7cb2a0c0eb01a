//! Cassandra's stand-in: the three ports, the yaml it needs, a replicated table store behind
//! them, and `nodetool status`.
//!
//! Rows live in keyspaces and tables as JSON; each member holds all rows (the real ones keep
//! two copies of each). 9160 and 7000 speak HTTP instead of Thrift and gossip; 9042 only
//! accepts.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::agent::read_members;
use crate::cluster::{State, Store};
use crate::log::{Grammar, Log, log};
use crate::net::dns::Ares;
use crate::net::http::{self, Answer, Ask, Method, Request};
use crate::place::{self, Settings};

/// One cell as members exchange it; the newest `at` wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Cell {
    /// `keyspace/table/key`, each segment percent-encoded; `keyspace` alone for a keyspace.
    key: String,
    /// Microseconds since 1970.
    at: u64,
    /// `None` once deleted.
    value: Option<Value>,
}

#[derive(Default)]
struct Rows {
    cells: BTreeMap<String, (u64, Option<Value>)>,
    file: Option<std::fs::File>,
}

impl Rows {
    /// Takes a cell in if it is newer than the one held.
    fn take(&mut self, cell: &Cell) -> Result<()> {
        if self.cells.get(&cell.key).is_some_and(|(at, _)| *at >= cell.at) {
            return Ok(());
        }
        self.cells.insert(cell.key.clone(), (cell.at, cell.value.clone()));
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_string(cell)?;
            line.push('\n');
            file.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    fn dump(&self) -> Vec<Cell> {
        self.cells.iter().map(|(key, (at, value))| Cell { key: key.clone(), at: *at, value: value.clone() }).collect()
    }
}

struct Node {
    me: IpAddr,
    /// Stays the same under another address.
    host_id: String,
    rows: Mutex<Rows>,
    /// Peers that missed a write and get everything again.
    behind: Mutex<HashSet<IpAddr>>,
}

/// Runs the daemon. Without `cassandra.yaml` it says so and ends well, as the init script does
/// (clearwater-cassandra, `cassandra.clearwater`).
pub(crate) async fn run() -> Result<()> {
    let yaml = place::path("/etc/cassandra/cassandra.yaml");
    let Ok(text) = std::fs::read_to_string(&yaml) else {
        writeln!(std::io::stdout(), "Exiting: cassandra.yaml is missing")?;
        return Ok(());
    };
    crate::log::init(Log::new("cassandra", "system", Grammar::Java, 2));
    let me: IpAddr = text
        .lines()
        .find_map(|l| l.strip_prefix("listen_address:"))
        .map(str::trim)
        .context("cassandra.yaml has no listen_address")?
        .parse()
        .context("listen_address in cassandra.yaml")?;
    log!(Status, "CassandraDaemon.java:155", "Loading settings from file:{}", yaml.display());
    tokio::time::sleep(place::boot_delay("cassandra")).await;
    let rows = Mutex::new(load()?);
    let node = Arc::new(Node { me, host_id: host_id()?, rows, behind: Mutex::default() });
    place::write_whole(&place::path("/run/standin/cassandra.booted"), "")?;
    // Its own key must be `normal` before it serves.
    while !read_members(Store::Cassandra).is_ok_and(|m| m.get(&me).is_some_and(|s| is_in(*s))) {
        tokio::time::sleep(place::poll_interval()).await;
    }
    node.pull_all().await;

    let gossip = http::listen(SocketAddr::new(me, 7000)).await?;
    let of_gossip = node.clone();
    tokio::spawn(http::serve(gossip, move |ask| {
        let node = of_gossip.clone();
        async move { node.gossip(&ask) }
    }));
    log!(Status, "MessagingService.java:540", "Starting Messaging Service on /{me}:7000");
    tokio::spawn(node.clone().catch_up());
    let rpc = place::any_bind();
    if place::fault("no-ipv6") && rpc.is_ipv6() {
        log!(
            Error,
            "CassandraDaemon.java:258",
            "java.lang.RuntimeException: Unable to create thrift socket to /0:0:0:0:0:0:0:0:9160"
        );
        std::future::pending::<()>().await;
    }
    let native = http::listen(SocketAddr::new(rpc, 9042)).await?;
    tokio::spawn(http::serve(native, |_| async { Answer::code(400) }));
    log!(Status, "Server.java:182", "Starting listening for CQL clients on /{rpc}:9042...");
    let thrift = http::listen(SocketAddr::new(rpc, 9160)).await?;
    log!(Status, "ThriftServer.java:136", "Listening for thrift clients...");
    http::serve(thrift, move |ask| {
        let node = node.clone();
        async move { node.query(&ask).await }
    })
    .await;
    Ok(())
}

fn is_in(state: State) -> bool {
    matches!(state, State::Normal | State::NormalAcknowledged | State::NormalConfigChanged)
}

fn load() -> Result<Rows> {
    let folder = place::path("/var/lib/cassandra");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("commitlog.jsonl");
    let mut rows = Rows::default();
    if let Ok(old) = std::fs::File::open(&file) {
        for line in BufReader::new(old).lines() {
            if let Ok(cell) = serde_json::from_str::<Cell>(&line?) {
                rows.take(&cell)?;
            }
        }
    }
    rows.file = Some(
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            .with_context(|| format!("cannot open {}", file.display()))?,
    );
    Ok(rows)
}

/// Made with the data, and kept with them.
fn host_id() -> Result<String> {
    let file = place::path("/var/lib/cassandra/host_id");
    if let Ok(id) = std::fs::read_to_string(&file) {
        return Ok(id);
    }
    let id = place::uuid();
    place::write_whole(&file, &id)?;
    Ok(id)
}

impl Node {
    fn rows(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers(&self) -> Vec<IpAddr> {
        read_members(Store::Cassandra).map(|m| m.into_keys().filter(|ip| *ip != self.me).collect()).unwrap_or_default()
    }

    /// Port 7000: what members say to each other.
    fn gossip(&self, ask: &Ask) -> Answer {
        match (&ask.method, ask.segments().as_slice()) {
            (&Method::GET, ["host-id"]) => Answer::text(200, &*self.host_id),
            (&Method::GET, ["cells"]) => {
                let cells = self.rows().dump();
                Answer::text(200, serde_json::to_string(&cells).unwrap_or_default())
            }
            (&Method::POST, ["cells"]) => {
                let Ok(cells) = serde_json::from_slice::<Vec<Cell>>(&ask.body) else {
                    return Answer::code(400);
                };
                let mut rows = self.rows();
                for cell in &cells {
                    if let Err(err) = rows.take(cell) {
                        return Answer::text(500, format!("{err:#}"));
                    }
                }
                Answer::code(200)
            }
            _ => Answer::code(404),
        }
    }

    /// Port 9160: what clients ask. `/ks/<keyspace>[/<table>[/<key>]]`.
    async fn query(&self, ask: &Ask) -> Answer {
        if place::fault("cassandra.timedout") {
            return Answer::text(504, "TimedOutException");
        }
        let segments = ask.segments();
        let Some(("ks", rest)) = segments.split_first().map(|(a, b)| (*a, b)) else {
            return Answer::code(404);
        };
        let joined = |parts: &[&str]| parts.iter().map(|p| http::encode(p)).collect::<Vec<_>>().join("/");
        let [keyspace, inner @ ..] = rest else {
            return Answer::code(404);
        };
        let there = self.rows().cells.get(&joined(&[keyspace])).is_some_and(|c| c.1.is_some());
        let key = joined(rest);
        match (&ask.method, inner) {
            (&Method::PUT, []) => {
                if !there {
                    self.write(Cell { key, at: place::now_us(), value: Some(Value::Bool(true)) }).await;
                }
                Answer::code(200)
            }
            _ if !there => Answer::text(400, format!("InvalidRequestException: Keyspace {keyspace} does not exist")),
            (&Method::GET, []) => Answer::code(200),
            (&Method::GET, [_]) => {
                let prefix = format!("{key}/");
                let rows = self.rows();
                let all: serde_json::Map<String, Value> = rows
                    .cells
                    .range(prefix.clone()..)
                    .take_while(|(k, _)| k.starts_with(&prefix))
                    .filter_map(|(k, (_, v))| Some((http::decode(&k[prefix.len()..]), v.clone()?)))
                    .collect();
                Answer::json(200, &Value::Object(all))
            }
            (&Method::GET, [_, _]) => match self.rows().cells.get(&key) {
                Some((_, Some(value))) => Answer::json(200, value),
                _ => Answer::code(404),
            },
            (&Method::PUT, [_, _]) => match serde_json::from_slice(&ask.body) {
                Ok(value) => {
                    self.write(Cell { key, at: place::now_us(), value: Some(value) }).await;
                    Answer::code(200)
                }
                Err(err) => Answer::text(400, format!("InvalidRequestException: {err}")),
            },
            (&Method::DELETE, [_, _]) => {
                self.write(Cell { key, at: place::now_us(), value: None }).await;
                Answer::code(200)
            }
            _ => Answer::code(404),
        }
    }

    /// Writes here, then on every peer that is up; the others catch up later.
    async fn write(&self, cell: Cell) {
        if let Err(err) = self.rows().take(&cell) {
            log!(Error, "CommitLog.java:301", "{err:#}");
        }
        let body = serde_json::to_string(&[cell]).unwrap_or_default();
        for peer in self.peers() {
            let known = self.behind.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer);
            if !known && self.push(peer, body.clone()).await.is_err() {
                log!(Info, "Gossiper.java:992", "InetAddress /{peer} is now DOWN");
                self.behind.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
            }
        }
    }

    async fn push(&self, peer: IpAddr, body: String) -> Result<()> {
        let answer = Request::new(Method::POST, "/cells")
            .body(body)
            .within(Duration::from_millis(1500))
            .to(SocketAddr::new(peer, 7000))
            .await?;
        if !answer.good() {
            bail!("{peer} refused cells: {}", answer.body_text());
        }
        Ok(())
    }

    async fn pull(&self, peer: IpAddr) -> Result<()> {
        let answer = Request::get("/cells").to(SocketAddr::new(peer, 7000)).await?;
        let cells: Vec<Cell> = serde_json::from_slice(&answer.body)?;
        let mut rows = self.rows();
        for cell in &cells {
            rows.take(cell)?;
        }
        Ok(())
    }

    /// Copies what the other members hold; those that are not up yet are skipped.
    async fn pull_all(&self) {
        for peer in self.peers() {
            match self.pull(peer).await {
                Ok(()) => log!(Status, "StreamResultFuture.java:180", "Session with /{peer} is complete"),
                Err(err) => log!(Info, "Gossiper.java:992", "InetAddress /{peer} is now DOWN: {err:#}"),
            }
        }
    }

    /// Gives peers that missed writes everything, once they answer; and asks new peers for what
    /// they hold, since two that booted together cannot have asked each other before.
    async fn catch_up(self: Arc<Self>) {
        let mut met: HashSet<IpAddr> = HashSet::new();
        let mut pause = Duration::from_secs(1);
        loop {
            let mut all = true;
            let peers = self.peers();
            met.retain(|peer| peers.contains(peer));
            self.behind.lock().unwrap_or_else(PoisonError::into_inner).retain(|peer| peers.contains(peer));
            for peer in peers {
                if !met.contains(&peer) {
                    if self.pull(peer).await.is_ok() {
                        met.insert(peer);
                    } else {
                        all = false;
                    }
                }
                let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer);
                if behind {
                    let cells = self.rows().dump();
                    let body = serde_json::to_string(&cells).unwrap_or_default();
                    if self.push(peer, body).await.is_ok() {
                        log!(Info, "Gossiper.java:978", "InetAddress /{peer} is now UP");
                        self.behind.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
                    } else {
                        all = false;
                    }
                }
            }
            pause = if all { Duration::from_secs(1) } else { (pause * 2).min(Duration::from_secs(8)) };
            tokio::time::sleep(pause).await;
        }
    }
}

/// The text of `nodetool status` and its exit status.
pub(crate) async fn nodetool_status() -> Result<(String, u8)> {
    let settings = Settings::load()?;
    let me = settings.local_ip()?;
    let up = |ip: IpAddr| async move {
        let dial = tokio::net::TcpStream::connect(SocketAddr::new(ip, 7000));
        matches!(tokio::time::timeout(Duration::from_millis(500), dial).await, Ok(Ok(_)))
    };
    if !up(me).await {
        return Ok((
            "nodetool: Failed to connect to '127.0.0.1:7199' - ConnectException: 'Connection refused'.\n".to_owned(),
            1,
        ));
    }
    let mut out = "Datacenter: site1\n=================\nStatus=Up/Down\n|/ State=Normal/Leaving/Joining/Moving\n--  Address         Load       Tokens  Owns (effective)  Host ID                               Rack\n".to_owned();
    let members = read_members(Store::Cassandra)?;
    let owns = format!("{:.1}%", 100.0 * 2.0_f64.min(count(members.len())) / count(members.len()));
    for (ip, state) in &members {
        let status = if up(*ip).await { 'U' } else { 'D' };
        let state = match state {
            State::WaitingToJoin | State::Joining | State::JoiningAcknowledged | State::JoiningConfigChanged => 'J',
            State::Leaving | State::LeavingAcknowledged | State::LeavingConfigChanged | State::Finished => 'L',
            _ => 'N',
        };
        let asked = Request::get("/host-id").within(Duration::from_millis(500)).to(SocketAddr::new(*ip, 7000)).await;
        let id = asked.ok().filter(Answer::good).map_or_else(|| NOBODY.to_owned(), |answer| answer.body_text());
        let _ = writeln!(
            out,
            "{status}{state}  {:<15} {:<10} {:<7} {owns:<17} {id}  RAC1",
            ip.to_string(),
            "102.4 KB",
            256
        );
    }
    Ok((out, 0))
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n.max(1)).unwrap_or(u32::MAX))
}

/// What is shown of a member that does not answer.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// How a client got on.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Its name has no address.
    Nameless(anyhow::Error),
    /// Nobody answered.
    Unreachable(anyhow::Error),
    /// It answered with something other than rows.
    Refused(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Nameless(err) | Trouble::Unreachable(err) => write!(f, "{err:#}"),
            Trouble::Refused(what) => f.write_str(what),
        }
    }
}

/// Where a client finds Cassandra.
pub(crate) enum Found {
    /// By c-ares, afresh for each request (homestead).
    Name(Ares, String),
    /// One address, chosen once (homestead-prov).
    Address(SocketAddr),
    /// By the system's resolver, afresh for each request (homer).
    System(String),
}

/// A client of the stand-in's 9160.
pub(crate) struct Client {
    found: Found,
    keyspace: &'static str,
}

impl Client {
    /// A client of one keyspace.
    pub(crate) fn new(found: Found, keyspace: &'static str) -> Self {
        Self { found, keyspace }
    }

    async fn send(&self, method: Method, rest: &str, body: Option<&Value>) -> Result<Answer, Trouble> {
        let addresses = match &self.found {
            Found::Name(ares, name) => ares.targets(name, 9160).await.map_err(Trouble::Nameless)?,
            Found::Address(address) => vec![*address],
            Found::System(name) => tokio::net::lookup_host((name.as_str(), 9160))
                .await
                .map_err(|err| Trouble::Unreachable(err.into()))?
                .collect(),
        };
        let mut last = None;
        for address in addresses.into_iter().take(2) {
            let mut request = Request::new(method.clone(), format!("/ks/{}{rest}", self.keyspace));
            if let Some(body) = body {
                request = request.json(body);
            }
            match request.to(address).await {
                Ok(answer) => return Ok(answer),
                Err(err) => {
                    if let Found::Name(ares, _) = &self.found {
                        ares.blacklist(address);
                    }
                    last = Some(err);
                }
            }
        }
        Err(Trouble::Unreachable(last.unwrap_or_else(|| anyhow::anyhow!("no address of Cassandra"))))
    }

    /// Connects and sets the keyspace.
    pub(crate) async fn connection_test(&self) -> Result<(), Trouble> {
        let answer = self.send(Method::GET, "", None).await?;
        if answer.good() { Ok(()) } else { Err(Trouble::Refused(answer.body_text())) }
    }

    /// One row.
    pub(crate) async fn get(&self, table: &str, key: &str) -> Result<Option<Value>, Trouble> {
        let answer = self.send(Method::GET, &format!("/{table}/{}", http::encode(key)), None).await?;
        match answer.status {
            200 => Ok(Some(answer.parsed())),
            404 => Ok(None),
            _ => Err(Trouble::Refused(answer.body_text())),
        }
    }

    /// Every row of a table.
    pub(crate) async fn all(&self, table: &str) -> Result<BTreeMap<String, Value>, Trouble> {
        let answer = self.send(Method::GET, &format!("/{table}"), None).await?;
        if !answer.good() {
            return Err(Trouble::Refused(answer.body_text()));
        }
        Ok(answer.parsed().as_object().cloned().unwrap_or_default().into_iter().collect())
    }

    /// Writes a row.
    pub(crate) async fn put(&self, table: &str, key: &str, value: &Value) -> Result<(), Trouble> {
        let path = format!("/{table}/{}", http::encode(key));
        let answer = self.send(Method::PUT, &path, Some(value)).await?;
        if answer.good() { Ok(()) } else { Err(Trouble::Refused(answer.body_text())) }
    }

    /// Deletes a row.
    pub(crate) async fn delete(&self, table: &str, key: &str) -> Result<(), Trouble> {
        let path = format!("/{table}/{}", http::encode(key));
        let answer = self.send(Method::DELETE, &path, None).await?;
        if answer.good() { Ok(()) } else { Err(Trouble::Refused(answer.body_text())) }
    }
}
