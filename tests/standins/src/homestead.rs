//! homestead's stand-in: Cx answers over HTTP from Cassandra, start failures included
//! (homestead `src/main.cpp`, `src/http_handlers.cpp`).

#![allow(clippy::similar_names, reason = "IMPI and IMPU are the domain's own names")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::Exit;
use crate::astaire_client::StoreClient;
use crate::cassandra::{Client, Found, Trouble};
use crate::log::{Grammar, Log, accesses, log};
use crate::net::dns::Ares;
use crate::net::http::{self, Answer, Ask, Method};
use crate::place::{self, Settings};
use crate::prov;

struct Homestead {
    /// `None` with an HSS.
    cache: Option<Client>,
    impu_store: StoreClient,
    realm: String,
    server_name: String,
}

/// Runs the daemon; ends with status 2 when it cannot start.
pub(crate) async fn run() -> Result<Exit> {
    let settings = Settings::load()?;
    let level = settings.log_level();
    crate::log::init(Log::new("homestead", "homestead", Grammar::Cpp, level));
    log!(Status, "utils.cpp:762", "Log level set to {level}");
    log!(Status, "main.cpp:804", "Access logging enabled to /var/log/homestead");
    log!(Error, "static_dns_cache.cpp:89", "DNS config file /etc/clearwater/dns.json missing");
    if place::fault("homestead.exit") {
        log!(Status, "main.cpp:1057", "Homestead is shutting down");
        return Ok(Exit(2));
    }
    if settings.get("homestead_impu_store").is_empty() {
        log!(Error, "main.cpp:833", "No IMPU store specified");
        return Ok(Exit(2));
    }
    tokio::time::sleep(place::boot_delay("homestead")).await;
    let hss = settings.get_or("hss_hostname", "0.0.0.0").to_owned();
    let cache = if hss == "0.0.0.0" {
        let name = settings.get_or("cassandra_hostname", "localhost").to_owned();
        let client = Client::new(Found::Name(Ares::new(&settings), name), "homestead_cache");
        if let Err(trouble) = client.connection_test().await {
            let code = match &trouble {
                Trouble::Nameless(_) => 5,
                Trouble::Unreachable(_) => 3,
                Trouble::Refused(_) => 2,
            };
            if code != 5 {
                log!(Error, "cassandra_store.cpp:207", "Cache caught TTransportException: {trouble}");
            }
            log!(Error, "main.cpp:1056", "Failed to initialize the Cassandra store with error code {code}.");
            log!(Status, "main.cpp:1057", "Homestead is shutting down");
            return Ok(Exit(2));
        }
        Some(client)
    } else {
        tokio::spawn(seek_hss(Ares::new(&settings), hss));
        None
    };
    let sprout = settings.get("sprout_hostname").to_owned();
    let homestead = Arc::new(Homestead {
        cache,
        impu_store: StoreClient::new(Arc::new(Ares::new(&settings)), settings.get("homestead_impu_store")),
        realm: settings.get_or("home_domain", "example.com").to_owned(),
        server_name: settings.get_or("scscf_uri", &format!("sip:scscf.{sprout};transport=TCP")).to_owned(),
    });
    let listener = match http::listen(SocketAddr::new(settings.local_ip()?, 8888)).await {
        Ok(listener) => listener,
        Err(err) => {
            log!(Error, "main.cpp:1040", "Failed to initialize HttpStack stack: {err:#}");
            return Ok(Exit(2));
        }
    };
    log!(Status, "main.cpp:1052", "Start-up complete - wait for termination signal");
    let answer = move |ask: Ask| {
        let homestead = homestead.clone();
        async move { homestead.answer(&ask).await }
    };
    http::serve(listener, accesses("homestead", answer)).await;
    Ok(Exit(0))
}

/// Looks for the HSS for ever. The stand-in speaks no Diameter: a peer that answers only
/// changes what is logged.
async fn seek_hss(ares: Ares, name: String) {
    let mut pause = Duration::from_secs(1);
    loop {
        let reached = match ares.targets(&name, 3868).await {
            Ok(addresses) => tokio::net::TcpStream::connect(addresses[0]).await.is_ok(),
            Err(_) => false,
        };
        if !reached {
            log!(Info, "freeDiameter", "Connecting to '{name}' failed");
            log!(Error, "diameterstack.cpp:862", "No Diameter peers have been found");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

impl Homestead {
    async fn answer(&self, ask: &Ask) -> Answer {
        let segments = ask.segments();
        if segments == ["ping"] {
            return Answer::text(200, "OK");
        }
        if place::fault("homestead.hang") {
            std::future::pending::<()>().await;
        }
        for code in [503, 504] {
            if place::fault(&format!("homestead.{code}")) {
                return Answer::code(code);
            }
        }
        let get = ask.method == Method::GET;
        let asked = match (get, segments.as_slice()) {
            (true, ["impi", impi, "digest"]) => self.digest(impi).await,
            (true, ["impi", impi, "av"]) => self.vector(impi, ask).await,
            (true, ["impi", _, "av", "aka" | "akav2"]) => Ok(Answer::code(404)),
            (true, ["impi", impi, "registration-status"]) => self.registration_status(impi, ask).await,
            (true, ["impu", impu, "location"]) => self.location(impu).await,
            (_, ["impu", impu, "reg-data"]) if get || ask.method == Method::PUT => self.reg_data(impu, ask).await,
            (_, ["ping" | "impi" | "impu", ..]) => Ok(Answer::code(405)),
            _ => Ok(Answer::code(404)),
        };
        match asked {
            Ok(answer) => answer,
            Err(trouble) => {
                log!(Warning, "homestead_handlers.cpp:410", "Cache query failed: {trouble}");
                // Without a Diameter peer it cannot even ask.
                Answer::code(if self.cache.is_some() { 504 } else { 503 })
            }
        }
    }

    /// Cassandra, or the answer there is without a Diameter peer.
    fn cache(&self) -> Result<&Client, Trouble> {
        self.cache.as_ref().ok_or_else(|| Trouble::Refused("no Diameter peer answers".to_owned()))
    }

    async fn user(&self, impi: &str) -> Result<Option<Value>, Trouble> {
        self.cache()?.get("impi", impi).await
    }

    async fn digest(&self, impi: &str) -> Result<Answer, Trouble> {
        Ok(self
            .user(impi)
            .await?
            .map_or_else(|| Answer::code(404), |user| Answer::json(200, &json!({"digest_ha1": user["digest_ha1"]}))))
    }

    async fn vector(&self, impi: &str, ask: &Ask) -> Result<Answer, Trouble> {
        let Some(user) = self.user(impi).await? else {
            return Ok(Answer::code(404));
        };
        if ask.param("impu").is_some_and(|impu| !owns(&user, &impu)) {
            return Ok(Answer::code(404));
        }
        let realm = user["digest_realm"].as_str().unwrap_or(&self.realm);
        Ok(Answer::json(200, &json!({"digest": {"ha1": user["digest_ha1"], "realm": realm, "qop": "auth"}})))
    }

    async fn registration_status(&self, impi: &str, ask: &Ask) -> Result<Answer, Trouble> {
        let Some(user) = self.user(impi).await? else {
            return Ok(Answer::code(404));
        };
        match ask.param("impu") {
            Some(impu) if owns(&user, &impu) => Ok(self.server()),
            _ => Ok(Answer::code(404)),
        }
    }

    fn server(&self) -> Answer {
        if place::fault("homestead.no-scscf") {
            return Answer::json(
                200,
                &json!({"result-code": 2001, "mandatory-capabilities": [1], "optional-capabilities": []}),
            );
        }
        Answer::json(200, &json!({"result-code": 2001, "scscf": self.server_name}))
    }

    async fn location(&self, impu: &str) -> Result<Answer, Trouble> {
        Ok(match self.cache()?.get("impu", impu).await? {
            Some(_) => self.server(),
            None => Answer::code(404),
        })
    }

    /// Registration state lives in the store, iFCs in Cassandra.
    async fn reg_data(&self, impu: &str, ask: &Ask) -> Result<Answer, Trouble> {
        let Some(row) = self.cache()?.get("impu", impu).await? else {
            return Ok(Answer::code(404));
        };
        let subscription = row["ims_subscription_xml"].as_str().unwrap_or("<IMSSubscription/>");
        // An implicit registration set is registered together, under the first identity of it.
        let key = format!("impu\\\\{}", prov::element(subscription, "Identity").unwrap_or(impu));
        let stored = match self.impu_store.get(&key).await {
            Ok(stored) => stored,
            Err(err) => {
                log!(Warning, "impu_store.cpp:480", "IMPU store: {err:#}");
                return Ok(Answer::code(503));
            }
        };
        let mut state =
            stored.map_or_else(|| "NOT_REGISTERED".to_owned(), |item| String::from_utf8_lossy(&item.data).into_owned());
        if ask.method == Method::PUT {
            let body: Value = serde_json::from_slice(&ask.body).unwrap_or_default();
            let wanted = match body["reqtype"].as_str() {
                Some("reg") => "REGISTERED",
                Some("call") if state == "REGISTERED" => "REGISTERED",
                Some("call") => "UNREGISTERED",
                Some(kind) if kind.starts_with("dereg-") => "NOT_REGISTERED",
                _ => return Ok(Answer::code(400)),
            };
            let written = if wanted == "NOT_REGISTERED" {
                self.impu_store.delete(&key).await
            } else {
                self.impu_store.set(&key, wanted.as_bytes(), 600).await
            };
            if let Err(err) = written {
                log!(Warning, "impu_store.cpp:512", "IMPU store: {err:#}");
                return Ok(Answer::code(503));
            }
            wanted.clone_into(&mut state);
        }
        Ok(Answer::xml(
            200,
            format!(
                "<ClearwaterRegData><RegistrationState>{state}</RegistrationState>{subscription}</ClearwaterRegData>"
            ),
        ))
    }
}

fn owns(user: &Value, impu: &str) -> bool {
    user["public_ids"].as_array().is_some_and(|all| all.iter().any(|id| id.as_str() == Some(impu)))
}
