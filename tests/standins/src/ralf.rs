//! ralf's stand-in: takes billing messages, keeps their sessions in the store and their timers
//! in chronos (ralf `src/main.cpp`, `src/handlers.cpp`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::Exit;
use crate::astaire_client::StoreClient;
use crate::log::{Grammar, Log, accesses, log};
use crate::net::dns::Ares;
use crate::net::http::{self, Answer, Ask, Method, Request};
use crate::place::{self, Settings};

struct Ralf {
    ares: Arc<Ares>,
    sessions: StoreClient,
    chronos: String,
    own_name: String,
}

/// Runs the daemon; status 1 without `ralf_hostname`.
pub(crate) async fn run() -> Result<Exit> {
    let settings = Settings::load()?;
    let level = settings.log_level();
    crate::log::init(Log::new("ralf", "ralf", Grammar::Cpp, level));
    log!(Status, "utils.cpp:762", "Log level set to {level}");
    let own_name = settings.get("ralf_hostname").to_owned();
    if own_name.is_empty() {
        log!(Error, "main.cpp:560", "No ralf hostname is set");
        return Ok(Exit(1));
    }
    tokio::time::sleep(place::boot_delay("ralf")).await;
    let ares = Arc::new(Ares::new(&settings));
    let ralf = Arc::new(Ralf {
        sessions: StoreClient::new(ares.clone(), settings.get("ralf_session_store")),
        chronos: settings.get("chronos_hostname").to_owned(),
        own_name,
        ares,
    });
    let listener = http::listen(SocketAddr::new(settings.local_ip()?, 10888)).await?;
    log!(Status, "main.cpp:720", "Start-up complete - wait for termination signal");
    let answer = move |ask: Ask| {
        let ralf = ralf.clone();
        async move { ralf.answer(&ask).await }
    };
    http::serve(listener, accesses("ralf", answer)).await;
    Ok(Exit(0))
}

impl Ralf {
    async fn answer(&self, ask: &Ask) -> Answer {
        match (&ask.method, ask.segments().as_slice()) {
            (&Method::GET, ["ping"]) => Answer::text(200, "OK"),
            _ if place::fault("ralf.503") => Answer::code(503),
            (&Method::POST, ["call-id", id]) => self.bill(id, &ask.body).await,
            (_, ["call-id", _]) => Answer::code(405),
            _ => Answer::code(404),
        }
    }

    /// Record types: 1 event, 2 start, 3 interim, 4 stop.
    async fn bill(&self, id: &str, body: &[u8]) -> Answer {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(kind) = body["event"]["Accounting-Record-Type"].as_u64() else {
            return Answer::code(400);
        };
        let key = format!("session\\\\{id}");
        let done = match kind {
            1 => Ok(()),
            4 => self.sessions.delete(&key).await,
            2 | 3 => self.sessions.set(&key, body.to_string().as_bytes(), 3600).await,
            _ => return Answer::code(400),
        };
        if let Err(err) = done {
            log!(Error, "session_store.cpp:120", "Session store: {err:#}");
            return Answer::code(500);
        }
        if kind == 2
            && let Err(err) = self.start_timer(id).await
        {
            log!(Error, "chronos_connection.cpp:90", "Chronos: {err:#}");
            return Answer::code(500);
        }
        Answer::code(200)
    }

    async fn start_timer(&self, id: &str) -> Result<()> {
        let timer = json!({
            "timing": {"interval": 300, "repeat-for": 3600},
            "callback": {"http": {
                "uri": format!("http://{}/call-id/{}?timer-interim=true", self.own_name, http::encode(id)),
                "opaque": json!({"event": {"Accounting-Record-Type": 3}}).to_string(),
            }},
            "reliability": {"replication-factor": 2},
        });
        let request = Request::new(Method::POST, "/timers").json(&timer);
        send(&self.ares, &self.chronos, 7253, request).await.map(|_| ())
    }
}

/// Sends a request to a host as the C++ HTTP client does: its addresses by c-ares, two tries.
/// Fails when there is no usable target.
pub(crate) async fn send(ares: &Ares, name: &str, port: u16, request: Request) -> Result<Answer> {
    let mut last = None;
    for address in ares.targets(name, port).await?.into_iter().take(2) {
        match request.clone().host(name).within(Duration::from_millis(1200)).to(address).await {
            Ok(answer) => return Ok(answer),
            Err(err) => {
                ares.blacklist(address);
                last = Some(err);
            }
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("{name} has no address")))
}
