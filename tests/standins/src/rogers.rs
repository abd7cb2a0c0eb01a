//! rogers' stand-in: a proxy for memcached's binary protocol on 11311 over the members' memcacheds, two copies
//! of everything (astaire `src/proxy_main.cpp`, `src/proxy_server.cpp`).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::io::BufStream;
use tokio::net::TcpStream;

use crate::Exit;
use crate::log::{Grammar, Log, log};
use crate::net::binary::{Frame, op, status};
use crate::net::http::{self, Answer};
use crate::net::memcached::{Item, Memcached};
use crate::place::{self, Settings};
use crate::ring::{self, Ring};

const LIMIT: Duration = Duration::from_millis(300);
/// How long a server that let a request time out is left alone.
const SHUN: Duration = Duration::from_secs(1);

struct Proxy {
    ring: RwLock<Ring>,
    shunned: RwLock<HashMap<SocketAddr, Instant>>,
}

/// Runs the daemon; status 3 without valid cluster settings.
pub(crate) async fn run() -> Result<Exit> {
    let settings = Settings::load()?;
    let level = settings.log_level();
    crate::log::init(Log::new("rogers", "rogers", Grammar::Cpp, level));
    log!(Status, "utils.cpp:762", "Log level set to {level}");
    log!(Status, "proxy_main.cpp:237", "Rogers starting up");
    let ring = match Ring::load() {
        Ok(ring) => ring,
        Err(err) => {
            log!(Error, "memcached_config.cpp:108", "Failed to open '/etc/clearwater/cluster_settings': {err:#}");
            log!(Error, "proxy_main.cpp:263", "Cluster view config is invalid. Exiting");
            return Ok(Exit(3));
        }
    };
    tokio::time::sleep(place::boot_delay("rogers")).await;
    let bind = place::any_bind();
    if place::fault("no-ipv6") && bind.is_ipv6() {
        log!(Error, "proxy_server.cpp:90", "Could not bind [::]:11311: Address family not supported by protocol");
        return Ok(Exit(3));
    }
    let listener = http::listen(SocketAddr::new(bind, 11311)).await?;
    let proxy = Arc::new(Proxy { ring: RwLock::new(ring), shunned: RwLock::default() });
    let control = http::listen_unix(&place::path("/run/standin/rogers.sock"))?;
    let of_control = proxy.clone();
    tokio::spawn(http::serve_unix(control, move |_| {
        let proxy = of_control.clone();
        async move {
            proxy.reload();
            Answer::code(200)
        }
    }));
    tokio::spawn(watch_settings(proxy.clone()));
    say(&proxy.ring.read().unwrap_or_else(PoisonError::into_inner));
    log!(Status, "proxy_server.cpp:69", "Starting proxy server on port 11311");
    log!(Status, "proxy_server.cpp:118", "Started proxy server");
    loop {
        let (stream, _) = listener.accept().await?;
        let _ = stream.set_nodelay(true);
        let proxy = proxy.clone();
        tokio::spawn(async move {
            let mut client =
                Client { proxy, stream: BufStream::with_capacity(2048, 2048, stream), servers: HashMap::new() };
            let _ = client.serve().await;
        });
    }
}

/// Takes in changes of the file that no one told of.
async fn watch_settings(proxy: Arc<Proxy>) {
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        proxy.reload();
    }
}

/// What the real one says of each view, a table of several lines at Debug.
fn say(ring: &Ring) {
    let list = |servers: &[SocketAddr]| servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let file = "/etc/clearwater/cluster_settings";
    log!(Status, "memcached_config.cpp:45", "Reloading memcached configuration from '{file}'");
    log!(Status, "memcached_config.cpp:84", " servers={}", list(&ring.old));
    log!(
        Status,
        "memcached_config.cpp:84",
        " new_servers={}",
        if ring.old == ring.new { String::new() } else { list(&ring.new) }
    );
    let mut view = "New view -\nBucket  Write                         Read\n".to_owned();
    for bucket in 0..128 {
        let owners = list(&ring::owners(&ring.new, bucket)).replace(',', "/");
        let _ = writeln!(view, "{bucket:<8}{owners:<28}||{owners}");
    }
    log!(Debug, "memcachedstoreview.cpp:234", "{}", view.trim_end());
    log!(Status, "memcached_backend.cpp:111", "Finished preparing new view");
}

impl Proxy {
    fn reload(&self) {
        // An unreadable file leaves the servers as they were, as in the real one.
        if let Ok(new) = Ring::load() {
            let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
            if *ring != new {
                say(&new);
                *ring = new;
            }
        }
    }

    fn servers(&self, key: &str) -> Vec<SocketAddr> {
        let all = self.ring.read().unwrap_or_else(PoisonError::into_inner).servers(key);
        let shunned = self.shunned.read().unwrap_or_else(PoisonError::into_inner);
        let live: Vec<SocketAddr> =
            all.iter().copied().filter(|s| shunned.get(s).is_none_or(|since| since.elapsed() > SHUN)).collect();
        if live.is_empty() { all } else { live }
    }

    fn shun(&self, server: SocketAddr) {
        self.shunned.write().unwrap_or_else(PoisonError::into_inner).insert(server, Instant::now());
    }
}

struct Client {
    proxy: Arc<Proxy>,
    stream: BufStream<TcpStream>,
    servers: HashMap<SocketAddr, Memcached>,
}

/// What the real one says whatever its own version is (astaire `src/proxy_server.cpp`).
const VERSION: &str = "1.6.0_beta1_106_g62c7e7a";

/// A request to store, as memcached's text protocol has it.
struct Store<'a> {
    verb: &'a str,
    key: &'a str,
    flags: u32,
    expires: u32,
    cas: Option<u64>,
    data: &'a [u8],
}

impl Client {
    /// Serves until the client leaves, says QUIT or says what is not understood.
    async fn serve(&mut self) -> Result<()> {
        while let Some(request) = Frame::request(&mut self.stream).await? {
            let mut answer = Frame { op: request.op, opaque: request.opaque, ..Frame::default() };
            let key = String::from_utf8_lossy(&request.key).into_owned();
            match request.op {
                op::VERSION => answer.value = VERSION.into(),
                op::GET | op::GETK => match self.read(&key).await {
                    Ok(Some(item)) => {
                        answer.cas = item.cas;
                        // As in the real one, the client's flags are not kept.
                        answer.extras = vec![0; 4];
                        answer.value = item.data;
                        if request.op == op::GETK {
                            answer.key = request.key;
                        }
                    }
                    Ok(None) => answer.status = status::NOT_FOUND,
                    Err(err) => {
                        log!(Warning, "memcachedbackend.cpp:180", "No server answers for {key}: {err:#}");
                        answer.status = status::TEMPORARY_FAILURE;
                    }
                },
                op::SET | op::ADD | op::REPLACE => {
                    let (flags, expires) = request.storage()?;
                    let (verb, cas) = match (request.op, request.cas) {
                        (op::ADD, _) => ("add", None),
                        (op::REPLACE, 0) => ("replace", None),
                        (_, 0) => ("set", None),
                        (_, token) => ("cas", Some(token)),
                    };
                    let data = &request.value;
                    let reply = self.store(&Store { verb, key: &key, flags, expires, cas, data }).await;
                    answer.status = match (reply.as_str(), request.op) {
                        // memcached's own answers differ between its protocols.
                        ("NOT_STORED", op::ADD) => status::EXISTS,
                        ("NOT_STORED", op::REPLACE) => status::NOT_FOUND,
                        (other, _) => of_text(other),
                    };
                }
                op::DELETE => answer.status = of_text(&self.everywhere(&key, &format!("delete {key}")).await),
                op::QUIT => return Ok(()),
                other => bail!("operation {other:#04x} is not served"),
            }
            answer.answer(&mut self.stream).await?;
        }
        Ok(())
    }

    async fn server(&mut self, server: SocketAddr) -> Result<&mut Memcached> {
        if !self.servers.contains_key(&server) {
            let connection = match Memcached::connect(server, LIMIT).await {
                Ok(connection) => connection,
                Err(err) => {
                    if err.downcast_ref::<std::io::Error>().is_none() {
                        self.proxy.shun(server);
                    }
                    return Err(err);
                }
            };
            self.servers.insert(server, connection);
        }
        self.servers.get_mut(&server).ok_or_else(|| anyhow::anyhow!("no connection to {server}"))
    }

    /// A broken connection is not used again; the request is tried once more on a new one,
    /// because a server that restarted closes idle connections.
    async fn gets(&mut self, server: SocketAddr, key: &str) -> Result<Option<Item>> {
        let reused = self.servers.contains_key(&server);
        match self.server(server).await?.gets(key).await {
            Ok(found) => Ok(found),
            Err(_) if reused => {
                self.servers.remove(&server);
                self.server(server).await?.gets(key).await
            }
            Err(err) => {
                self.servers.remove(&server);
                Err(err)
            }
        }
    }

    async fn command(&mut self, server: SocketAddr, line: &str, data: Option<&[u8]>) -> Result<String> {
        let reused = self.servers.contains_key(&server);
        match self.server(server).await?.command(line, data).await {
            Ok(reply) => Ok(reply),
            Err(_) if reused => {
                self.servers.remove(&server);
                self.server(server).await?.command(line, data).await
            }
            Err(err) => {
                self.servers.remove(&server);
                Err(err)
            }
        }
    }

    /// Reads the first copy there is. A copy missing at the first server that answers is put
    /// back there, so that the token a client gets is that server's.
    async fn read(&mut self, key: &str) -> Result<Option<Item>> {
        let mut first = None;
        let mut answered = false;
        let mut last = None;
        for server in self.proxy.servers(key) {
            match self.gets(server, key).await {
                Ok(Some(item)) => {
                    let Some(first) = first else {
                        return Ok(Some(item));
                    };
                    let ttl = self.command(server, &format!("mg {key} t"), None).await.unwrap_or_default();
                    let ttl: u64 = ttl.strip_prefix("HD t").and_then(|t| t.parse().ok()).unwrap_or(0);
                    let add = format!("add {key} {} {ttl} {}", item.flags, item.data.len());
                    self.command(first, &add, Some(&item.data)).await?;
                    return self.gets(first, key).await;
                }
                Ok(None) => {
                    answered = true;
                    first = first.or(Some(server));
                }
                Err(err) => last = Some(err),
            }
        }
        match last {
            Some(err) if !answered => Err(err),
            _ => Ok(None),
        }
    }

    /// The first server that answers decides; the others get the same value.
    async fn store(&mut self, store: &Store<'_>) -> String {
        let tail = format!("{} {} {} {}", store.key, store.flags, store.expires, store.data.len());
        let first = match store.cas {
            Some(token) => format!("cas {tail} {token}"),
            None => format!("{} {tail}", store.verb),
        };
        let again = format!("set {tail}");
        let mut decided: Option<String> = None;
        for server in self.proxy.servers(store.key) {
            let line = if decided.is_none() { &first } else { &again };
            match self.command(server, line, Some(store.data)).await {
                Ok(reply) if decided.is_none() => {
                    let stored = reply == "STORED";
                    decided = Some(reply);
                    if !stored {
                        break;
                    }
                }
                Ok(_) => {}
                Err(err) => {
                    log!(Info, "memcachedbackend.cpp:260", "Copy of {} not written to {server}: {err:#}", store.key);
                }
            }
        }
        decided.unwrap_or_else(nobody)
    }

    /// Sends one line to every copy; the best answer counts.
    async fn everywhere(&mut self, key: &str, line: &str) -> String {
        let mut best: Option<String> = None;
        for server in self.proxy.servers(key) {
            if let Ok(reply) = self.command(server, line, None).await
                && best.as_ref().is_none_or(|b| b == "NOT_FOUND")
            {
                best = Some(reply);
            }
        }
        best.unwrap_or_else(nobody)
    }
}

/// The answer where no server gives one.
fn nobody() -> String {
    "SERVER_ERROR no server answers".to_owned()
}

/// The binary protocol's word for an answer of the text protocol.
fn of_text(reply: &str) -> u16 {
    match reply {
        "STORED" | "DELETED" => status::OK,
        "NOT_FOUND" => status::NOT_FOUND,
        "EXISTS" => status::EXISTS,
        "NOT_STORED" => status::NOT_STORED,
        _ => status::TEMPORARY_FAILURE,
    }
}
