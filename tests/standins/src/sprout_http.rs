//! sprout's HTTP side: 9888 for chronos and homestead, and under `/standin` what Kamailio's
//! I-CSCF and S-CSCF ask: homestead by c-ares, challenges, bindings and subscriptions in the store, so that
//! any sprout answers any request of any user; and MMTEL's services, which homer keeps.

#![allow(clippy::similar_names, reason = "IMPI and IMPU are the domain's own names")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use serde_json::{Value, json};

use crate::Exit;
use crate::aor::{Aor, Registering, Subscription, Trigger, default_of, identities};
use crate::astaire_client::StoreClient;
use crate::contact::Contacts;
use crate::digest;
use crate::log::{Grammar, Log, accesses, log};
use crate::mmtel::Mmtel;
use crate::net::dns::Ares;
use crate::net::http::{self, Answer, Ask, Method, Request};
use crate::place::{self, Settings};
use crate::ralf::send;
use crate::simservs::Offered;
use crate::users::Users;

/// Seconds a challenge may be answered in.
const CHALLENGE_S: u32 = 40;
/// Seconds that a subscription lasts where nothing else is said (RFC 3680 §4.4).
const DEFAULT_SUBSCRIPTION_S: u64 = 3761;

struct Sprout {
    ares: Arc<Ares>,
    store: StoreClient,
    homestead: String,
    chronos: String,
    ralf: String,
    mmtel: Mmtel,
    users: Users,
    own_name: String,
    server_name: String,
    max_expires: u64,
}

/// Runs the daemon.
pub(crate) async fn run() -> Result<Exit> {
    let settings = Settings::load()?;
    crate::log::init(Log::new("sprout", "sprout", Grammar::Cpp, settings.log_level()));
    let ares = Arc::new(Ares::new(&settings));
    let own_name = settings.get("sprout_hostname").to_owned();
    let server_name = settings.get_or("scscf_uri", &format!("sip:scscf.{own_name};transport=TCP")).to_owned();
    let sprout = Arc::new(Sprout {
        store: StoreClient::new(ares.clone(), settings.get("sprout_registration_store")),
        homestead: settings.get("hs_hostname").to_owned(),
        chronos: settings.get("chronos_hostname").to_owned(),
        ralf: settings.get("ralf_hostname").to_owned(),
        mmtel: Mmtel::new(ares.clone(), &settings),
        users: Users::new(ares.clone(), &settings, &server_name)?,
        server_name,
        ares,
        own_name,
        max_expires: settings.get("reg_max_expires").parse().unwrap_or(300),
    });
    let management = http::listen_unix(&place::path("/tmp/sprout-http-mgmt-socket"))?;
    let of_management = sprout.clone();
    tokio::spawn(http::serve_unix(management, move |ask| {
        let sprout = of_management.clone();
        async move { sprout.managed(&ask).await }
    }));
    let listener = http::listen(SocketAddr::new(settings.local_ip()?, 9888)).await?;
    log!(Status, "httpstack.cpp:163", "Binding HTTP TCP socket: address={}, port=9888", listener.local_addr()?.ip());
    let answer = move |ask: Ask| {
        let sprout = sprout.clone();
        async move { sprout.answer(&ask).await }
    };
    http::serve(listener, accesses("sprout", answer)).await;
    Ok(Exit(0))
}

fn nonce_key(impi: &str, nonce: &str) -> String {
    format!("av\\\\{impi}\\{nonce}")
}

/// Lines `name: value` of Kamailio's, which writes what is not there as `<null>`.
fn lines(text: &str) -> BTreeMap<&str, &str> {
    let all = text.lines().filter_map(|l| l.split_once(':')).map(|(k, v)| (k.trim(), v.trim()));
    all.filter(|(_, v)| *v != "<null>").collect()
}

/// A SIP status and reason with extra header lines, for Kamailio to send.
fn reply(status: u16, reason: &str, headers: &str) -> Answer {
    Answer::json(200, &json!({"status": status, "reason": reason, "headers": headers}))
}

impl Sprout {
    async fn answer(&self, ask: &Ask) -> Answer {
        match (&ask.method, ask.segments().as_slice()) {
            (&Method::GET, ["ping"]) => Answer::text(200, "OK"),
            (&Method::POST, ["timers"]) => self.timer_pop(&ask.body).await,
            (&Method::POST, ["authentication-timeout"]) => self.challenge_timeout(&ask.body).await,
            (&Method::DELETE, ["registrations", ..]) => self.deregister(&ask.body).await,
            (_, ["standin", "hs", ..]) => self.homestead_for_kamailio(ask).await,
            (&Method::GET, ["standin", "served", impu]) => self.served(impu, ask).await,
            (&Method::POST, ["standin", "subscribe"]) => self.subscribe(&ask.text()).await,
            (&Method::POST, ["standin", "flow-failed", impu]) => self.flow_failed(impu, &ask.text()).await,
            (&Method::POST, ["standin", "register"]) => self.register(&ask.text()).await,
            (_, ["ping" | "timers" | "authentication-timeout" | "registrations" | "standin", ..]) => Answer::code(405),
            _ => Answer::code(404),
        }
    }

    /// The management socket: `/impu/<impu>/bindings`.
    async fn managed(&self, ask: &Ask) -> Answer {
        match (&ask.method, ask.segments().as_slice()) {
            (&Method::GET, ["impu", impu, "bindings"]) => match self.users.load(impu).await {
                Ok(aor) if !aor.bindings.is_empty() => Answer::json(200, &json!({"bindings": aor.bindings})),
                Ok(_) => Answer::code(404),
                Err(_) => Answer::code(500),
            },
            (&Method::DELETE, ["impu", impu]) => self.remove(impu, "dereg-admin").await,
            _ => Answer::code(404),
        }
    }

    /// homestead's answer, or what the C++ HTTP client makes of none: 404 without a usable
    /// target (cpp-common `httpclient.cpp`), 503 when the target is silent.
    async fn homestead(&self, request: Request) -> Answer {
        match send(&self.ares, &self.homestead, 8888, request).await {
            Ok(answer) => answer,
            Err(err) => {
                let silent = format!("{err:#}").contains("no answer in");
                log!(Error, "httpclient.cpp:640", "homestead at {}: {err:#}", self.homestead);
                Answer::code(if silent { 503 } else { 404 })
            }
        }
    }

    async fn homestead_for_kamailio(&self, ask: &Ask) -> Answer {
        let path = ask.raw.trim_start_matches("/standin/hs").to_owned();
        self.homestead(Request::new(ask.method.clone(), path).body(ask.body.clone())).await
    }

    /// Where a user of a request is registered, after homestead has told his profile; 404 or 504 without that. What the
    /// store does not tell is nobody (sprout `scscfsproutlet.cpp`). `case`, which is `orig` or `term`, asks for what his
    /// services make of a call too.
    async fn served(&self, impu: &str, ask: &Ask) -> Answer {
        let data = self.reg_data(impu, "call").await;
        match data.status {
            200 => {}
            503 | 504 => return Answer::code(504),
            _ => return Answer::code(404),
        }
        let data = data.body_text();
        let aor = match self.users.load(&default_of(&data, impu)).await {
            Ok(aor) => aor,
            Err(err) => {
                log!(Error, "astaire_aor_store.cpp:140", "Reading bindings of {impu}: {err:#}");
                Aor::default()
            }
        };
        let list: Vec<Value> = aor.bindings.iter().map(|b| json!({"uri": b.uri, "path": b.path})).collect();
        let mut answer = json!({"n": list.len(), "b": list});
        let part = |name: &str| ask.param(name).unwrap_or_default();
        let services = match part("case").as_str() {
            "orig" => self.mmtel.services(impu, &data).await.originating(&part("dialled")),
            "term" => {
                let media = part("media");
                let offered = Offered { audio: media.contains("audio"), video: media.contains("video") };
                self.mmtel.services(impu, &data).await.terminating(&part("dialled"), offered)
            }
            _ => return Answer::json(200, &answer),
        };
        answer["services"] = services;
        Answer::json(200, &answer)
    }

    /// A SUBSCRIBE to a registration, as lines `name: value` (sprout `subscriptionsproutlet.cpp`).
    async fn subscribe(&self, text: &str) -> Answer {
        let given = lines(text);
        let get = |name: &str| given.get(name).copied().unwrap_or_default();
        let data = self.homestead(Request::get(format!("/impu/{}/reg-data", http::encode(get("impu"))))).await;
        let profile = data.body_text();
        match data.status {
            200 if profile.contains("<RegistrationState>REGISTERED<") => {}
            200 => return reply(480, "Temporarily Unavailable", ""),
            404 => return reply(403, "Forbidden", ""),
            500 => return reply(500, "Internal Server Error", ""),
            _ => return reply(504, "Server Timeout", ""),
        }
        let seconds = get("expires").parse().unwrap_or(DEFAULT_SUBSCRIPTION_S).min(self.max_expires);
        let asked = Subscription::of(get, place::now_ms() + seconds * 1000);
        let impu = default_of(&profile, get("impu"));
        let set: Vec<String> = identities(&profile).map(str::to_owned).collect();
        match self.users.subscribe(&impu, &asked, &set).await {
            Ok(aor) => {
                self.keep_timer(&impu, &aor).await;
                let mut answer = json!({"status": 200, "reason": "OK", "headers": format!("Expires: {seconds}\r\n")});
                answer["tag"] = asked.id.into();
                Answer::json(200, &answer)
            }
            Err(err) => {
                log!(Error, "subscriptionsproutlet.cpp:420", "Writing a subscription to {impu}: {err:#}");
                reply(500, "Internal Server Error", "")
            }
        }
    }

    /// bono has lost the flow of a binding.
    async fn flow_failed(&self, impu: &str, uri: &str) -> Answer {
        let data = self.reg_data(impu, "call").await;
        let of = default_of(&data.body_text(), impu);
        match self.users.change(&of, Trigger::Timeout, |aor| aor.bindings.retain(|b| b.uri != uri)).await {
            Ok(aor) => {
                if aor.bindings.is_empty() {
                    self.reg_data(&of, "dereg-timeout").await;
                }
                Answer::code(200)
            }
            Err(err) => {
                log!(Error, "subscriber_data_manager.cpp:300", "Removing a binding of {impu}: {err:#}");
                Answer::code(500)
            }
        }
    }

    /// A whole REGISTER, as lines `name: value`: authentication first, then the bindings.
    async fn register(&self, text: &str) -> Answer {
        let given = lines(text);
        let get = |name: &str| given.get(name).copied().unwrap_or_default();
        let (impi, impu, realm) = (get("impi"), get("impu"), get("realm"));
        let credentials = digest::parameters(get("authorization"));
        let part = |name: &str| credentials.get(name).map_or("", String::as_str);
        if part("nonce").is_empty() || part("response").is_empty() {
            return self.challenge(impi, impu, realm, false).await;
        }
        let stored = match self.store.get(&nonce_key(impi, part("nonce"))).await {
            Ok(stored) => stored,
            Err(err) => {
                log!(Error, "impistore.cpp:300", "Reading the challenge of {impi}: {err:#}");
                return reply(500, "Internal Server Error", "");
            }
        };
        let Some(stored) = stored else {
            return self.challenge(impi, impu, realm, true).await;
        };
        let ha1 = String::from_utf8_lossy(&stored.data).into_owned();
        if digest::response(&ha1, "REGISTER", &credentials) != part("response") {
            log!(
                Error,
                "authenticationsproutlet.cpp:1071",
                "Authentication failed, Invalid digest (PJSIP_EAUTHINVALIDDIGEST)"
            );
            return reply(403, "Forbidden", "");
        }
        // A nonce counts once: without `nonce_count_supported` its second use is challenged again.
        if let Err(err) = self.store.delete(&nonce_key(impi, part("nonce"))).await {
            log!(Error, "impistore.cpp:250", "Updating the challenge of {impi}: {err:#}");
        }
        self.authorised(impi, impu, &given).await
    }

    async fn challenge(&self, impi: &str, impu: &str, realm: &str, stale: bool) -> Answer {
        let path = format!("/impi/{}/av?impu={}", http::encode(impi), http::encode(impu));
        let vector = self.homestead(Request::get(path)).await;
        if vector.status != 200 {
            log!(Error, "hssconnection.cpp:163", "Failed to get Authentication Vector for {impi}");
        }
        match vector.status {
            200 => {}
            503 | 504 => return reply(504, "Server Timeout", ""),
            _ => return reply(403, "Forbidden", ""),
        }
        let vector = vector.parsed();
        let ha1 = vector["digest"]["ha1"].as_str().unwrap_or_default();
        let nonce: String = place::uuid().replace('-', "").chars().take(16).collect();
        if let Err(err) = self.store.set(&nonce_key(impi, &nonce), ha1.as_bytes(), CHALLENGE_S).await {
            log!(Error, "impistore.cpp:250", "Writing the challenge of {impi}: {err:#}");
            return reply(500, "Internal Server Error", "");
        }
        let opaque = json!({"impi": impi, "nonce": nonce}).to_string();
        self.start_timer(None, 30, "authentication-timeout", &opaque).await;
        let stale = if stale { ",stale=true" } else { "" };
        reply(
            401,
            "Unauthorized",
            &format!(
                "WWW-Authenticate: Digest realm=\"{realm}\",nonce=\"{nonce}\",opaque=\"{}\"{stale},algorithm=MD5,qop=\"auth\"\r\n",
                &digest::md5_hex(&nonce)[..16]
            ),
        )
    }

    async fn authorised(&self, impi: &str, impu: &str, given: &BTreeMap<&str, &str>) -> Answer {
        let get = |name: &str| given.get(name).copied().unwrap_or_default();
        let data = self.reg_data(impu, "reg").await;
        match data.status {
            200 => {}
            403 | 503 | 504 => return reply(504, "Server Timeout", ""),
            404 => return reply(403, "Forbidden", ""),
            _ => return reply(500, "Internal Server Error", ""),
        }
        // All of an implicit registration set are registered together, under the first that is named.
        let data = data.body_text();
        let impu = &default_of(&data, impu);
        let asked = Registering {
            contacts: Contacts::read(get("contact")),
            path: get("path").to_owned(),
            call_id: get("call_id").to_owned(),
            cseq: get("cseq").parse().unwrap_or(0),
            impi: impi.to_owned(),
            expires: get("expires").parse().unwrap_or(self.max_expires),
            most: self.max_expires,
        };
        // RFC 3261 §10.3, step 6.
        if asked.contacts == Contacts::All && asked.expires > 0 {
            return reply(400, "Bad Request", "");
        }
        let (set, now) = (identities(&data).map(str::to_owned).collect::<Vec<_>>(), place::now_ms());
        let change = |aor: &mut Aor| {
            aor.identities.clone_from(&set);
            aor.register(&asked, now);
        };
        let changed = self.users.change(impu, Trigger::User, change).await;
        let aor = match changed {
            Ok(aor) => aor,
            Err(err) => {
                log!(Error, "registrarsproutlet.cpp:650", "Writing bindings of {impu}: {err:#}");
                return reply(500, "Internal Server Error", "");
            }
        };
        self.keep_timer(impu, &aor).await;
        if aor.bindings.is_empty() {
            self.reg_data(impu, "dereg-user").await;
        }
        self.bill(get("call_id"));
        reply(200, "OK", &headers(&aor, &data, impu, &asked.path))
    }

    async fn reg_data(&self, impu: &str, kind: &str) -> Answer {
        let body = json!({"reqtype": kind, "server_name": self.server_name});
        let path = format!("/impu/{}/reg-data", http::encode(impu));
        self.homestead(Request::new(Method::PUT, path).json(&body)).await
    }

    /// Has chronos wake some sprout when the first binding or subscription expires.
    async fn keep_timer(&self, impu: &str, aor: &Aor) {
        let Some(first) = aor.first_expiry() else {
            return;
        };
        let seconds = first.saturating_sub(place::now_ms()) / 1000 + 1;
        let opaque = json!({"aor_id": impu}).to_string();
        let made = self.start_timer(aor.timer.as_deref(), seconds, "timers", &opaque).await;
        if made.is_some() && made != aor.timer {
            let stored = self.users.change(impu, Trigger::Timeout, |aor| aor.timer.clone_from(&made)).await;
            if let Err(err) = stored {
                log!(Warning, "registrarsproutlet.cpp:700", "Timer of {impu} not kept: {err:#}");
            }
        }
    }

    /// Makes or moves a timer; failing is logged and hurts nobody at once.
    async fn start_timer(&self, id: Option<&str>, seconds: u64, callback: &str, opaque: &str) -> Option<String> {
        let timer = json!({
            "timing": {"interval": seconds, "repeat-for": seconds},
            "callback": {"http": {"uri": format!("http://{}:9888/{callback}", self.own_name), "opaque": opaque}},
            "reliability": {"replication-factor": 2},
        });
        let request = match id {
            Some(id) => Request::new(Method::PUT, format!("/timers/{id}")),
            None => Request::new(Method::POST, "/timers"),
        };
        match send(&self.ares, &self.chronos, 7253, request.json(&timer)).await {
            Ok(answer) if answer.good() => {
                answer.header("location").and_then(|l| l.rsplit('/').next()).map(str::to_owned)
            }
            Ok(answer) => {
                log!(Error, "chronosconnection.cpp:160", "Chronos answered {}", answer.status);
                None
            }
            Err(err) => {
                log!(Error, "chronosconnection.cpp:165", "Chronos: {err:#}");
                None
            }
        }
    }

    /// Tells ralf, without waiting: lost billing stops nobody.
    fn bill(&self, call_id: &str) {
        if self.ralf.is_empty() {
            return;
        }
        let (ares, ralf) = (self.ares.clone(), self.ralf.clone());
        let path = format!("/call-id/{}", http::encode(call_id));
        tokio::spawn(async move {
            let event = json!({"event": {"Accounting-Record-Type": 1}});
            let _ = send(&ares, &ralf, 10888, Request::new(Method::POST, path).json(&event)).await;
        });
    }

    async fn timer_pop(&self, body: &[u8]) -> Answer {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(impu) = body["aor_id"].as_str() else {
            return Answer::code(400);
        };
        match self.users.change(impu, Trigger::Timeout, |_| {}).await {
            Ok(aor) if aor.bindings.is_empty() => self.remove(impu, "dereg-timeout").await,
            Ok(aor) => {
                self.keep_timer(impu, &Aor { timer: None, ..aor }).await;
                Answer::code(200)
            }
            Err(err) => {
                log!(Error, "handlers.cpp:120", "Timer of {impu}: {err:#}");
                Answer::code(500)
            }
        }
    }

    async fn challenge_timeout(&self, body: &[u8]) -> Answer {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let (Some(impi), Some(nonce)) = (body["impi"].as_str(), body["nonce"].as_str()) else {
            return Answer::code(400);
        };
        match self.store.delete(&nonce_key(impi, nonce)).await {
            Ok(()) => Answer::code(200),
            Err(_) => Answer::code(500),
        }
    }

    /// homestead's push: `{"registrations":[{"primary-impu":…}]}`.
    async fn deregister(&self, body: &[u8]) -> Answer {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(all) = body["registrations"].as_array() else {
            return Answer::code(400);
        };
        for impu in all.iter().filter_map(|r| r["primary-impu"].as_str()) {
            let done = self.remove(impu, "dereg-admin").await;
            if done.status != 200 {
                return done;
            }
        }
        Answer::code(200)
    }

    async fn remove(&self, impu: &str, why: &str) -> Answer {
        let trigger = if why == "dereg-admin" { Trigger::Admin } else { Trigger::Timeout };
        if let Err(err) = self.users.remove(impu, trigger).await {
            log!(Error, "handlers.cpp:180", "Removing {impu}: {err:#}");
            return Answer::code(500);
        }
        self.reg_data(impu, why).await;
        Answer::code(200)
    }
}

/// What a 200 tells: each binding with what its phone said of itself, that flows are kept (RFC 5626), and the identities.
fn headers(aor: &Aor, reg_data: &str, impu: &str, path: &str) -> String {
    let now = place::now_ms();
    let mut out = "Supported: outbound\r\n".to_owned();
    for binding in &aor.bindings {
        let _ = write!(out, "Contact: {}\r\n", binding.told(now));
    }
    if !path.is_empty() && !aor.bindings.is_empty() {
        out += "Require: outbound\r\n";
    }
    let mut associated = identities(reg_data).peekable();
    if associated.peek().is_none() {
        let _ = write!(out, "P-Associated-URI: <{impu}>\r\n");
    }
    for uri in associated {
        let _ = write!(out, "P-Associated-URI: <{uri}>\r\n");
    }
    out
}
