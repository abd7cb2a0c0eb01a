//! chronos' stand-in: timers with two copies, handed over when the cluster changes, fired by
//! a POST to the callback (chronos `doc/api.md`).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use hickory_proto::rr::RecordType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::Exit;
use crate::log::{Grammar, Log, log};
use crate::net::dns::Ares;
use crate::net::http::{self, Answer, Ask, Method, Request};
use crate::place::{self, Settings};
use crate::ring::best;

const PORT: u16 = 7253;
const COPIES: usize = 2;

/// A timer as members exchange it; times in milliseconds (since 1970 where absolute).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Timer {
    id: String,
    /// Grows with each change; the highest wins.
    version: u64,
    /// When it pops next.
    due: u64,
    interval: u64,
    /// It pops no more after this.
    end: u64,
    /// Number of pops so far.
    sequence: u64,
    uri: String,
    opaque: String,
    /// Kept for a while after its end, so that an older copy cannot bring it back.
    dead: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    nodes: Vec<IpAddr>,
    joining: Vec<IpAddr>,
    leaving: Vec<IpAddr>,
}

impl View {
    /// Who keeps timers once the change under way is over.
    fn after(&self) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = self.nodes.iter().chain(&self.joining).copied().collect();
        all.sort_unstable();
        all
    }

    fn everybody(&self) -> Vec<IpAddr> {
        let mut all = self.after();
        all.extend(&self.leaving);
        all
    }
}

struct Chronos {
    me: IpAddr,
    view: Mutex<View>,
    timers: Mutex<HashMap<String, Timer>>,
    ares: Ares,
    changed: Notify,
    /// How much later each further copy pops.
    lag: u64,
}

/// Runs the daemon.
pub(crate) async fn run() -> Result<Exit> {
    let settings = Settings::load()?;
    crate::log::init(Log::new("chronos", "chronos", Grammar::Cpp, level(&conf())));
    let me = settings.local_ip()?;
    tokio::time::sleep(place::boot_delay("chronos")).await;
    let chronos = Arc::new(Chronos {
        me,
        view: Mutex::new(load_view(me)),
        timers: Mutex::default(),
        ares: Ares::with_servers(name_servers(&conf()), family(me)).within(Duration::from_millis(200)),
        changed: Notify::new(),
        lag: place::knob("STANDIN_CHRONOS_LAG_MS", 2000),
    });
    let mut hup = signal(SignalKind::hangup())?;
    let of_hup = chronos.clone();
    tokio::spawn(async move {
        while hup.recv().await.is_some() {
            of_hup.reload();
        }
    });
    let of_watch = chronos.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            of_watch.reload();
        }
    });
    let control = http::listen_unix(&place::path("/run/standin/chronos.sock"))?;
    let of_control = chronos.clone();
    tokio::spawn(http::serve_unix(control, move |ask| {
        let chronos = of_control.clone();
        async move {
            chronos.reload();
            if ask.segments() == ["resync"] {
                let moved = chronos.resync().await;
                return Answer::text(200, format!("{moved} timers moved"));
            }
            Answer::code(200)
        }
    }));
    tokio::spawn(chronos.clone().pop_all());
    let of_start = chronos.clone();
    tokio::spawn(async move { of_start.pull_all().await });
    let listener = http::listen(SocketAddr::new(me, PORT)).await?;
    log!(Status, "globals.cpp:141", "Bind address: {me}");
    log!(Status, "globals.cpp:145", "Bind port: {PORT}");
    log!(Status, "httpstack.cpp:163", "Binding HTTP TCP socket: address={me}, port={PORT}");
    http::serve(listener, move |ask| {
        let chronos = chronos.clone();
        async move { chronos.answer(&ask).await }
    })
    .await;
    Ok(Exit(0))
}

/// The values of a setting of chronos.conf, in their order.
fn values<'a>(conf: &'a str, section: &str, key: &str) -> Vec<&'a str> {
    let mut at = "";
    let mut found = Vec::new();
    for line in conf.lines().map(str::trim) {
        match line.split_once('=') {
            _ if line.starts_with('[') => at = line,
            Some((name, value)) if at == section && name.trim() == key => found.push(value.trim()),
            _ => {}
        }
    }
    found
}

fn conf() -> String {
    std::fs::read_to_string(place::path("/etc/chronos/chronos.conf")).unwrap_or_default()
}

/// `[logging] level` of `chronos.conf`, and nothing else: no setting of the shell reaches it (chronos `src/globals.cpp`).
fn level(conf: &str) -> u8 {
    values(conf, "[logging]", "level").first().and_then(|level| level.parse().ok()).unwrap_or(2)
}

/// The name servers that chronos asks: each `servers` of `[dns]` is one address, and what is none becomes 127.0.0.1
/// (cpp-common `src/dnscachedresolver.cpp`), a list of several with commas too. Without any it is 127.0.0.1.
fn name_servers(conf: &str) -> Vec<SocketAddr> {
    let port = place::knob("STANDIN_DNS_PORT", 53);
    let mut servers = values(conf, "[dns]", "servers");
    if servers.is_empty() {
        servers.push("127.0.0.1");
    }
    log!(Status, "dnscachedresolver.cpp:123", "Creating Cached Resolver using servers:");
    let asked = servers.into_iter().map(|value| {
        log!(Status, "dnscachedresolver.cpp:133", "    {value}");
        let ip = value.parse().unwrap_or_else(|_| {
            log!(
                Error,
                "dnscachedresolver.cpp:145",
                "Failed to parse '{value}' as IP address - defaulting to 127.0.0.1"
            );
            IpAddr::from([127, 0, 0, 1])
        });
        SocketAddr::new(ip, port)
    });
    asked.take(3).collect()
}

fn family(me: IpAddr) -> RecordType {
    if me.is_ipv6() { RecordType::AAAA } else { RecordType::A }
}

/// The cluster of the file, or one of this node alone (chronos `src/globals.cpp`).
fn load_view(me: IpAddr) -> View {
    let text = std::fs::read_to_string(place::path("/etc/chronos/chronos_cluster.conf")).unwrap_or_default();
    let list = |name: &str| -> Vec<IpAddr> {
        text.lines()
            .filter_map(|l| l.split_once('='))
            .filter(|(k, _)| k.trim() == name)
            .filter_map(|(_, v)| v.trim().parse().ok())
            .collect()
    };
    let mut view = View { nodes: list("node"), joining: list("joining"), leaving: list("leaving") };
    if view.everybody().is_empty() {
        view.nodes.push(me);
    }
    view
}

impl Chronos {
    fn timers(&self) -> MutexGuard<'_, HashMap<String, Timer>> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reload(&self) {
        let new = load_view(self.me);
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if *view != new {
            log!(
                Status,
                "globals.cpp:300",
                "Cluster: nodes {:?}, joining {:?}, leaving {:?}",
                new.nodes,
                new.joining,
                new.leaving
            );
            *view = new;
            self.changed.notify_one();
        }
    }

    /// The members that keep a timer, the one that pops it first.
    fn keepers(&self, id: &str) -> Vec<IpAddr> {
        best(&self.view().after(), id, COPIES)
    }

    async fn answer(&self, ask: &Ask) -> Answer {
        if place::fault("chronos.503") && ask.segments() != ["ping"] {
            return Answer::code(503);
        }
        match (&ask.method, ask.segments().as_slice()) {
            (&Method::GET, ["ping"]) => Answer::text(200, "OK"),
            (&Method::POST, ["timers"]) => self.put(&place::uuid().replace('-', ""), ask).await,
            (&Method::PUT, ["timers", id]) => self.put(id, ask).await,
            (&Method::DELETE, ["timers", id]) => self.delete(id).await,
            (&Method::GET, ["timers"]) => self.of_node(ask),
            (&Method::PUT, ["replicas"]) => match serde_json::from_slice::<Vec<Timer>>(&ask.body) {
                Ok(timers) => {
                    for timer in timers {
                        self.take(timer);
                    }
                    Answer::code(200)
                }
                Err(err) => Answer::text(400, err.to_string()),
            },
            (_, ["timers" | "ping", ..]) => Answer::code(405),
            _ => Answer::code(404),
        }
    }

    /// `GET /timers?node-for-replicas=<ip>`: the timers which that node must keep.
    fn of_node(&self, ask: &Ask) -> Answer {
        let Some(node) =
            ask.param("node-for-replicas").and_then(|n| n.split(':').next().and_then(|ip| ip.parse::<IpAddr>().ok()))
        else {
            return Answer::text(400, "node-for-replicas is missing");
        };
        let theirs: Vec<Timer> =
            self.timers().values().filter(|t| self.keepers(&t.id).contains(&node)).cloned().collect();
        Answer::json(200, &json!({"Timers": theirs}))
    }

    async fn put(&self, id: &str, ask: &Ask) -> Answer {
        let timer = match read_timer(id, &ask.body, self.timers().get(id)) {
            Ok(timer) => timer,
            Err(err) => return Answer::text(400, format!("{err:#}")),
        };
        self.spread(timer).await;
        Answer::code(200).with("location", &format!("/timers/{id}"))
    }

    async fn delete(&self, id: &str) -> Answer {
        let now = place::now_ms();
        let old = self.timers().get(id).cloned();
        let timer = Timer {
            id: id.to_owned(),
            version: old.as_ref().map_or(0, |t| t.version) + 1,
            due: now,
            interval: 0,
            end: now,
            sequence: 0,
            uri: String::new(),
            opaque: String::new(),
            dead: true,
        };
        // A copy somewhere else may be newer than the one here, so the grave is from now.
        self.spread(Timer { version: timer.version.max(now + 1), ..timer }).await;
        Answer::code(200)
    }

    /// Keeps a timer here if it belongs here, and hands it to the other keepers.
    async fn spread(&self, timer: Timer) {
        let keepers = self.keepers(&timer.id);
        // One whose keepers all fail is kept here: late is better than lost.
        let mut kept = keepers.contains(&self.me);
        for keeper in keepers.iter().filter(|k| **k != self.me) {
            kept |= push(*keeper, std::slice::from_ref(&timer)).await.is_ok();
        }
        if keepers.contains(&self.me) || !kept {
            self.take(timer);
        }
    }

    fn take(&self, timer: Timer) {
        let mut timers = self.timers();
        if timers.get(&timer.id).is_none_or(|old| old.version < timer.version) {
            timers.insert(timer.id.clone(), timer);
            self.changed.notify_one();
        }
    }

    /// Gives each timer to the members that must keep it now; those it leaves forget it.
    async fn resync(&self) -> usize {
        self.pull_all().await;
        let mine: Vec<Timer> = self.timers().values().cloned().collect();
        let mut bundles: HashMap<IpAddr, Vec<Timer>> = HashMap::new();
        for timer in &mine {
            for keeper in self.keepers(&timer.id) {
                if keeper != self.me {
                    bundles.entry(keeper).or_default().push(timer.clone());
                }
            }
        }
        let mut moved = 0;
        let mut failed = Vec::new();
        for (keeper, timers) in bundles {
            match push(keeper, &timers).await {
                Ok(()) => moved += timers.len(),
                Err(err) => {
                    log!(Warning, "chronos_internal_connection.cpp:120", "Resync with {keeper}: {err:#}");
                    failed.push(keeper);
                }
            }
        }
        let mut timers = self.timers();
        timers.retain(|id, _| {
            let keepers = self.keepers(id);
            keepers.contains(&self.me) || keepers.iter().any(|k| failed.contains(k))
        });
        moved
    }

    /// Asks every other member for the timers this one must keep.
    async fn pull_all(&self) {
        for peer in self.view().everybody().into_iter().filter(|p| *p != self.me) {
            let path = format!("/timers?node-for-replicas={}", http::encode(&self.me.to_string()));
            let asked = Request::get(path).within(Duration::from_secs(1)).to(SocketAddr::new(peer, PORT)).await;
            if let Ok(answer) = asked
                && let Ok(timers) = serde_json::from_value::<Vec<Timer>>(answer.parsed()["Timers"].clone())
            {
                for timer in timers {
                    self.take(timer);
                }
            }
        }
    }

    /// Pops timers as they become due; a second copy waits a little longer, and does not pop
    /// when the first said that it did.
    async fn pop_all(self: Arc<Self>) {
        loop {
            let now = place::now_ms();
            let mut next = u64::MAX;
            let mut due = Vec::new();
            self.timers().retain(|_, t| !(t.dead && now > t.end + 60_000));
            let all: Vec<Timer> = self.timers().values().filter(|t| !t.dead).cloned().collect();
            for timer in all {
                let rank = self.keepers(&timer.id).iter().position(|k| *k == self.me).unwrap_or(COPIES);
                let at = timer.due + self.lag * u64::try_from(rank).unwrap_or(0);
                if at <= now {
                    due.push(timer);
                } else {
                    next = next.min(at - now);
                }
            }
            for timer in due {
                // Moved on at once here, so that a slow callback cannot pop it twice.
                let after = advance(&timer);
                self.take(after.clone());
                next = next.min(if after.dead { u64::MAX } else { after.due.saturating_sub(now) });
                let chronos = self.clone();
                tokio::spawn(async move { chronos.pop(timer, after).await });
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(next.min(60_000))) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    async fn pop(&self, timer: Timer, after: Timer) {
        for wait in [0, 500, 1000, 2000] {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            match self.call(&timer).await {
                Ok(()) => {
                    for keeper in self.keepers(&timer.id).into_iter().filter(|k| *k != self.me) {
                        let _ = push(keeper, std::slice::from_ref(&after)).await;
                    }
                    return;
                }
                Err(err) => {
                    log!(Warning, "http_callback.cpp:140", "Callback {} of timer {}: {err:#}", timer.uri, timer.id);
                }
            }
        }
        // Not told of it, the other copy pops the timer in its turn.
        log!(Error, "http_callback.cpp:150", "Gave up callback {} of timer {}", timer.uri, timer.id);
    }

    async fn call(&self, timer: &Timer) -> Result<()> {
        let rest = timer.uri.strip_prefix("http://").context("the callback is no http URI")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut last = None;
        for address in self.ares.targets(authority, 80).await?.into_iter().take(2) {
            let answer = Request::new(Method::POST, format!("/{path}"))
                .host(authority)
                .header("content-type", "application/json")
                .header("x-sequence-number", &timer.sequence.to_string())
                .body(timer.opaque.clone())
                .within(Duration::from_secs(2))
                .to(address)
                .await;
            match answer {
                Ok(answer) if answer.good() => return Ok(()),
                Ok(answer) => last = Some(anyhow::anyhow!("answered {}", answer.status)),
                Err(err) => {
                    self.ares.blacklist(address);
                    last = Some(err);
                }
            }
        }
        Err(last.context("no address")?)
    }
}

async fn push(keeper: IpAddr, timers: &[Timer]) -> Result<()> {
    let answer = Request::new(Method::PUT, "/replicas")
        .json(&serde_json::to_value(timers)?)
        .within(Duration::from_secs(1))
        .to(SocketAddr::new(keeper, PORT))
        .await?;
    anyhow::ensure!(answer.good(), "{keeper} answered {}", answer.status);
    Ok(())
}

/// The timer after a pop.
fn advance(timer: &Timer) -> Timer {
    let due = timer.due + timer.interval;
    Timer {
        version: timer.version + 1,
        due,
        sequence: timer.sequence + 1,
        dead: timer.interval == 0 || due > timer.end,
        ..timer.clone()
    }
}

fn read_timer(id: &str, body: &[u8], old: Option<&Timer>) -> Result<Timer> {
    let body: Value = serde_json::from_slice(body).context("the body is not JSON")?;
    let seconds = |name: &str| body["timing"][name].as_f64();
    let interval = seconds("interval").context("timing.interval is missing")?;
    let repeat = seconds("repeat-for").unwrap_or(interval);
    let http = &body["callback"]["http"];
    let uri = http["uri"].as_str().context("callback.http.uri is missing")?;
    let opaque = http["opaque"].as_str().context("callback.http.opaque is missing")?;
    let ms = |s: f64| u64::try_from(Duration::from_secs_f64(s.clamp(0.0, 1e9)).as_millis()).unwrap_or(0);
    let now = place::now_ms();
    Ok(Timer {
        id: id.to_owned(),
        version: old.map_or(0, |t| t.version + 1).max(now),
        due: now + ms(interval),
        interval: ms(interval),
        end: now + ms(repeat),
        sequence: old.map_or(0, |t| t.sequence),
        uri: uri.to_owned(),
        opaque: opaque.to_owned(),
        dead: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_name_servers_is_no_address() {
        let asked = |dns: &str| -> Vec<String> {
            let conf = format!("[http]\nservers = 192.0.2.1\n{dns}\n[logging]\nlevel = 2\n");
            name_servers(&conf).iter().map(|s| s.ip().to_string()).collect()
        };
        assert_eq!(asked(""), ["127.0.0.1"]);
        assert_eq!(asked("\n[dns]\nservers=10.96.0.10"), ["10.96.0.10"]);
        assert_eq!(asked("\n[dns]\nservers=10.96.0.10,10.96.0.11"), ["127.0.0.1"]);
        assert_eq!(asked("\n[dns]\nservers = fd00::a\nservers=fd00::b, fd00::c"), ["fd00::a", "127.0.0.1"]);
    }

    #[test]
    fn a_timer_pops_until_its_end() {
        let body = br#"{"timing":{"interval":1,"repeat-for":2},"callback":{"http":{"uri":"http://a:1/b","opaque":"x"}},"reliability":{"replication-factor":2}}"#;
        let first = read_timer("t", body, None).unwrap();
        let second = advance(&first);
        assert!(!second.dead);
        assert_eq!((second.sequence, second.due), (1, first.due + 1000));
        assert!(advance(&second).dead);
        assert!(read_timer("t", b"{}", None).is_err());
    }
}
