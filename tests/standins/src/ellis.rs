//! Ellis' stand-in: accounts, numbers and a page (ellis `docs/api.md`). A JSON file in
//! the database's folder stands for its tables; it can be used only while `mysqld.sock` is there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::Exit;
use crate::digest;
use crate::front;
use crate::log::{Grammar, Log, PYTHON_LEVEL, log};
use crate::net::dns::split_port;
use crate::net::http::{self, Answer, Ask, Method, Request};
use crate::place::{self, Settings};

const FIRST_NUMBER: u64 = 6_505_550_000;
const NUMBERS: u64 = 1000;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Tables {
    users: BTreeMap<String, User>,
    /// By SIP URI.
    numbers: BTreeMap<String, Number>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct User {
    password_hash: String,
    full_name: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Number {
    owner: String,
    id: String,
    private_id: String,
    gab_listed: bool,
}

struct Ellis {
    domain: String,
    prov: String,
    homer: String,
    signup_key: String,
    api_key: String,
    cookie_key: String,
    /// One request at a time reads and writes the tables.
    turn: Mutex<()>,
}

/// Runs the daemon.
pub(crate) async fn run() -> Result<Exit> {
    let settings = Settings::load()?;
    crate::log::init(Log::new("ellis", "ellis", Grammar::Python, PYTHON_LEVEL));
    tokio::time::sleep(place::boot_delay("ellis")).await;
    let ellis = Arc::new(Ellis {
        domain: settings.get_or("home_domain", "example.com").to_owned(),
        prov: settings.get("hs_provisioning_hostname").to_owned(),
        homer: settings.get("xdms_hostname").to_owned(),
        signup_key: settings.get_or("signup_key", "secret").to_owned(),
        api_key: settings.get_or("ellis_api_key", "secret").to_owned(),
        cookie_key: settings.get_or("ellis_cookie_key", "secret").to_owned(),
        turn: Mutex::new(()),
    });
    let listener = http::listen_unix(&front::socket("ellis"))?;
    log!(Status, "main.py:113", "Ellis process starting up");
    let pinger = ellis.clone();
    tokio::spawn(async move {
        let ping = Request::get("/ping").within(Duration::from_secs(5));
        if pinger.back_end(&pinger.prov, ping).await.is_err() {
            log!(
                Error,
                "homestead.py:62",
                "Failed to ping Homestead at http://{}/ping. Have you configured your HOMESTEAD_URL?",
                pinger.prov
            );
        }
    });
    http::serve_unix(listener, move |ask| {
        let ellis = ellis.clone();
        async move {
            let answer = match ellis.answer(&ask).await {
                Ok(answer) => answer,
                Err(err) => {
                    log!(Error, "_base.py:120", "{} {}: {err:#}", ask.method, ask.raw);
                    Answer::code(500)
                }
            };
            log!(Info, "_base.py:60", "{} {} {}", answer.status, ask.method, ask.raw);
            answer
        }
    })
    .await;
    Ok(Exit(0))
}

/// A refusal in Ellis' JSON form.
fn error(status: u16, reason: &str) -> Answer {
    let body = json!({"error": true, "status": status, "message": reason, "reason": reason});
    Answer::json(status, &body)
}

fn tables_file() -> PathBuf {
    place::path("/var/lib/mysql/ellis/tables.json")
}

/// Reads the tables; fails while `mysqld` is down, as every query of the real one does.
fn load() -> Result<Tables> {
    if !place::path("/var/run/mysqld/mysqld.sock").exists() {
        bail!("Can't connect to local MySQL server through socket '/var/run/mysqld/mysqld.sock'");
    }
    match std::fs::read(tables_file()) {
        Ok(text) => serde_json::from_slice(&text).context("the tables are not JSON"),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(Tables::default()),
        Err(err) => Err(err).context("cannot read the tables"),
    }
}

fn save(tables: &Tables) -> Result<()> {
    place::write_whole(&tables_file(), &serde_json::to_string(tables)?)
}

/// The parameters of a request, from a JSON or a form body.
fn parameters(ask: &Ask) -> BTreeMap<String, String> {
    match serde_json::from_slice::<Value>(&ask.body) {
        Ok(Value::Object(map)) => {
            map.into_iter().map(|(k, v)| (k, v.as_str().map_or_else(|| v.to_string(), str::to_owned))).collect()
        }
        _ => http::form(&ask.text()).into_iter().collect(),
    }
}

impl Ellis {
    async fn answer(&self, ask: &Ask) -> Result<Answer> {
        match (&ask.method, ask.segments().as_slice()) {
            (&Method::GET, ["ping"]) => Ok(Answer::text(200, "OK")),
            (&Method::GET, ["" | "index.html" | "login.html" | "signup.html"]) => {
                let page = Answer::text(200, include_str!("ellis.html"));
                Ok(Answer { headers: vec![("content-type".to_owned(), "text/html; charset=utf-8".to_owned())], ..page })
            }
            (&Method::POST, ["accounts"]) => self.sign_up(ask).await,
            (&Method::POST, ["session"]) => self.log_in(ask).await,
            (&Method::GET, ["gab"]) => self.gab(ask).await,
            (_, ["accounts", email, "numbers", rest @ ..]) => match self.allowed(ask, email) {
                Some(answer) => Ok(answer),
                None => self.numbers(ask, email, rest).await,
            },
            (&Method::DELETE, ["accounts", email]) => match self.allowed(ask, email) {
                Some(answer) => Ok(answer),
                None => self.delete_account(email).await,
            },
            _ => Ok(error(404, "Not Found")),
        }
    }

    fn cookie(&self, email: &str) -> String {
        format!("{}|{}", http::encode(email), digest::md5_hex(&format!("{}:{email}", self.cookie_key)))
    }

    fn has_api_key(&self, ask: &Ask) -> bool {
        ask.header("ngv-api-key") == Some(self.api_key.as_str())
    }

    /// `None` when the request may act for that user.
    fn allowed(&self, ask: &Ask, email: &str) -> Option<Answer> {
        let wanted = format!("username={}", self.cookie(email));
        let given = ask.header("cookie").unwrap_or_default();
        if self.has_api_key(ask) || given.split(';').any(|c| c.trim().trim_matches('"') == wanted) {
            return None;
        }
        Some(error(403, "Forbidden"))
    }

    async fn sign_up(&self, ask: &Ask) -> Result<Answer> {
        let given = parameters(ask);
        let code = ask.header("ngv-signup-code").or(given.get("signup_code").map(String::as_str));
        let (Some(email), Some(password), Some(full_name)) =
            (given.get("email"), given.get("password"), given.get("full_name"))
        else {
            return Ok(error(400, "email, password and full_name are needed"));
        };
        if code != Some(self.signup_key.as_str()) {
            return Ok(error(403, "Invalid signup code"));
        }
        let _turn = self.turn.lock().await;
        let mut tables = load()?;
        if tables.users.contains_key(email) {
            return Ok(error(409, "Email already exists"));
        }
        let password_hash = digest::md5_hex(&format!("{email}:{password}"));
        let user = User { password_hash, full_name: full_name.clone() };
        tables.users.insert(email.clone(), user);
        save(&tables)?;
        Ok(Answer::json(201, &json!({"email": email, "full_name": full_name})))
    }

    async fn log_in(&self, ask: &Ask) -> Result<Answer> {
        let given = parameters(ask);
        let get = |name: &str| given.get(name).map_or("", String::as_str);
        let email = if get("username").is_empty() { get("email") } else { get("username") };
        let _turn = self.turn.lock().await;
        let hash = digest::md5_hex(&format!("{email}:{}", get("password")));
        match load()?.users.get(email) {
            Some(user) if user.password_hash == hash => {
                let cookie = format!("username={}; Path=/", self.cookie(email));
                let body = json!({"username": email, "full_name": user.full_name});
                Ok(Answer::json(201, &body).with("set-cookie", &cookie))
            }
            _ => Ok(error(403, "Incorrect username or password")),
        }
    }

    async fn delete_account(&self, email: &str) -> Result<Answer> {
        let _turn = self.turn.lock().await;
        let mut tables = load()?;
        if tables.users.remove(email).is_none() {
            return Ok(error(404, "No such account"));
        }
        let own: Vec<String> =
            tables.numbers.iter().filter(|(_, n)| n.owner == email).map(|(uri, _)| uri.clone()).collect();
        for uri in own {
            if let Some(number) = tables.numbers.remove(&uri) {
                self.unprovision(&uri, &number.private_id).await?;
            }
        }
        save(&tables)?;
        Ok(Answer::code(204))
    }

    async fn gab(&self, ask: &Ask) -> Result<Answer> {
        if ask.header("cookie").is_none() && !self.has_api_key(ask) {
            return Ok(error(403, "Forbidden"));
        }
        let _turn = self.turn.lock().await;
        let tables = load()?;
        let mut listed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (uri, number) in tables.numbers.iter().filter(|(_, n)| n.gab_listed) {
            listed.entry(&number.owner).or_default().push(uri);
        }
        let contacts: Vec<Value> = listed
            .into_iter()
            .filter_map(|(email, numbers)| Some((email, &tables.users.get(email)?.full_name, numbers)))
            .map(|(email, name, numbers)| json!({"full_name": name, "email": email, "numbers": numbers}))
            .collect();
        Ok(Answer::json(200, &json!({"contacts": contacts})))
    }

    async fn numbers(&self, ask: &Ask, email: &str, rest: &[&str]) -> Result<Answer> {
        let _turn = self.turn.lock().await;
        let mut tables = load()?;
        if !tables.users.contains_key(email) {
            return Ok(error(404, "No such account"));
        }
        match (&ask.method, rest) {
            (&Method::GET, []) => {
                let own: Vec<Value> =
                    tables.numbers.iter().filter(|(_, n)| n.owner == email).map(|(uri, n)| describe(uri, n)).collect();
                Ok(Answer::json(200, &json!({"numbers": own})))
            }
            (&Method::POST, []) => {
                let Some(uri) = self.free_number(&tables) else {
                    return Ok(error(503, "No available numbers"));
                };
                self.create(&mut tables, email, uri, ask).await
            }
            (&Method::POST, [uri]) => {
                if !self.has_api_key(ask) {
                    return Ok(error(403, "Forbidden"));
                }
                if tables.numbers.contains_key(*uri) {
                    return Ok(error(409, "Number is taken"));
                }
                self.create(&mut tables, email, (*uri).to_owned(), ask).await
            }
            (_, [uri, inner @ ..]) => {
                let Some(number) = tables.numbers.get(*uri).filter(|n| n.owner == email).cloned() else {
                    return Ok(error(404, "No such number"));
                };
                self.number(ask, &mut tables, uri, &number, inner).await
            }
            _ => Ok(error(405, "Method Not Allowed")),
        }
    }

    /// The first of the pool that nobody has; none before the numbers were made.
    fn free_number(&self, tables: &Tables) -> Option<String> {
        if !place::path("/var/lib/mysql/ellis/numbers").exists() {
            return None;
        }
        (FIRST_NUMBER..FIRST_NUMBER + NUMBERS)
            .map(|n| format!("sip:{n}@{}", self.domain))
            .find(|uri| !tables.numbers.contains_key(uri))
    }

    async fn number(
        &self,
        ask: &Ask,
        tables: &mut Tables,
        uri: &str,
        number: &Number,
        inner: &[&str],
    ) -> Result<Answer> {
        match (&ask.method, inner) {
            (&Method::DELETE, []) => {
                if self.unprovision(uri, &number.private_id).await.is_err() {
                    return Ok(error(502, "Failed to update all the backends"));
                }
                tables.numbers.remove(uri);
                save(tables)?;
                Ok(Answer::json(200, &json!({})))
            }
            (&Method::POST, ["password"]) => {
                let password = new_password();
                let request = Request::new(Method::PUT, format!("/private/{}", http::encode(&number.private_id)))
                    .json(&json!({"plaintext_password": password, "realm": self.domain}));
                Ok(match self.back_end(&self.prov, request).await {
                    Ok(_) => Answer::json(200, &json!({"sip_password": password})),
                    Err(err) => forward(&err),
                })
            }
            (&Method::PUT, ["listed", flag @ ("0" | "1")]) => {
                if let Some(number) = tables.numbers.get_mut(uri) {
                    number.gab_listed = *flag == "1";
                }
                save(tables)?;
                Ok(Answer::json(200, &json!({})))
            }
            (method @ (&Method::GET | &Method::PUT), [what @ ("simservs" | "ifcs")]) => {
                let (host, path) = if *what == "simservs" {
                    (&self.homer, simservs_path(uri))
                } else {
                    match self.profile_path(uri).await {
                        Ok(path) => (&self.prov, format!("{path}/filter_criteria")),
                        Err(err) => return Ok(forward(&err)),
                    }
                };
                let request = Request::new((*method).clone(), path).body(ask.body.clone());
                Ok(match self.back_end(host, request).await {
                    Ok(answer) => Answer::xml(200, answer.body_text()),
                    Err(err) => forward(&err),
                })
            }
            _ => Ok(error(404, "Not Found")),
        }
    }

    async fn create(&self, tables: &mut Tables, email: &str, uri: String, ask: &Ask) -> Result<Answer> {
        let given = parameters(ask);
        let user_part = uri.trim_start_matches("sip:").to_owned();
        let wanted = given.get("private_id").filter(|id| !id.is_empty());
        let fresh = wanted.is_none() || given.get("new_private_id").is_some_and(|v| v == "true");
        let private_id = wanted.cloned().unwrap_or(user_part);
        let password = fresh.then(new_password);
        if let Err(err) = self.provision(&uri, &private_id, password.as_deref()).await {
            log!(Error, "numbers.py:180", "Failed to update all the backends: {err:#}");
            log!(Warning, "numbers.py:190", "Backing out changes due to failure creating number {uri}");
            let _ = self.unprovision(&uri, &private_id).await;
            return Ok(forward(&err));
        }
        let number = Number { owner: email.to_owned(), id: place::uuid(), private_id, gab_listed: true };
        let mut body = describe(&uri, &number);
        if let Some(password) = password {
            body["sip_password"] = json!(password);
        }
        tables.numbers.insert(uri, number);
        save(tables)?;
        Ok(Answer::json(201, &body))
    }

    /// The six steps on homestead-prov, then the simservs on homer.
    async fn provision(&self, uri: &str, private_id: &str, password: Option<&str>) -> Result<()> {
        let private = format!("/private/{}", http::encode(private_id));
        if let Some(password) = password {
            let body = json!({"plaintext_password": password, "realm": self.domain});
            self.back_end(&self.prov, Request::new(Method::PUT, &private).json(&body)).await?;
        }
        let set = self.location(Request::new(Method::POST, "/irs")).await?;
        let id = set.trim_start_matches("/irs/");
        let associate = format!("{private}/associated_implicit_registration_sets/{id}");
        self.back_end(&self.prov, Request::new(Method::PUT, associate)).await?;
        let profile = self.location(Request::new(Method::POST, format!("{set}/service_profiles"))).await?;
        let public = format!("<PublicIdentity><Identity>{uri}</Identity></PublicIdentity>");
        let path = format!("{profile}/public_ids/{}", http::encode(uri));
        self.back_end(&self.prov, Request::new(Method::PUT, path).body(public)).await?;
        let path = format!("{profile}/filter_criteria");
        self.back_end(&self.prov, Request::new(Method::PUT, path).body(self.default_ifcs())).await?;
        self.back_end(&self.homer, Request::new(Method::PUT, simservs_path(uri)).body(SIMSERVS)).await?;
        Ok(())
    }

    /// Takes a number back from both back ends; what is not there is as good as gone.
    async fn unprovision(&self, uri: &str, private_id: &str) -> Result<()> {
        let _ = self.back_end(&self.homer, Request::new(Method::DELETE, simservs_path(uri))).await;
        if let Ok(profile) = self.profile_path(uri).await {
            let set = profile.split("/service_profiles").next().unwrap_or_default().to_owned();
            self.back_end(&self.prov, Request::new(Method::DELETE, set)).await?;
        }
        let private = format!("/private/{}", http::encode(private_id));
        self.back_end(&self.prov, Request::new(Method::DELETE, private)).await?;
        Ok(())
    }

    async fn profile_path(&self, uri: &str) -> Result<String> {
        self.location(Request::get(format!("/public/{}/service_profile", http::encode(uri)))).await
    }

    async fn location(&self, request: Request) -> Result<String> {
        let answer = self.back_end(&self.prov, request).await?;
        answer.header("location").map(str::to_owned).context("homestead-prov named no location")
    }

    /// Asks a back end by the system's resolver; anything but success or 303 is an error.
    async fn back_end(&self, name: &str, request: Request) -> Result<Answer> {
        let (host, port) = split_port(name, 80);
        let address: SocketAddr = tokio::net::lookup_host((host.as_str(), port))
            .await
            .with_context(|| format!("cannot resolve {host}"))?
            .next()
            .with_context(|| format!("{host} has no address"))?;
        let answer = request.host(name).to(address).await?;
        if !answer.good() && answer.status != 303 {
            bail!("{name} answered {}", answer.status);
        }
        Ok(answer)
    }

    fn default_ifcs(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ServiceProfile><InitialFilterCriteria><Priority>0</Priority>\
             <TriggerPoint><ConditionTypeCNF></ConditionTypeCNF><SPT><ConditionNegated>0</ConditionNegated><Group>0</Group>\
             <Method>INVITE</Method><Extension></Extension></SPT></TriggerPoint><ApplicationServer>\
             <ServerName>sip:mmtel.{}</ServerName><DefaultHandling>0</DefaultHandling></ApplicationServer>\
             </InitialFilterCriteria></ServiceProfile>",
            self.domain
        )
    }
}

const SIMSERVS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
<simservs xmlns=\"http://uri.etsi.org/ngn/params/xml/simservs/xcap\" xmlns:cp=\"urn:ietf:params:xml:ns:common-policy\">\
<originating-identity-presentation active=\"true\"/>\
<originating-identity-presentation-restriction active=\"false\"><default-behaviour>presentation-restricted</default-behaviour>\
</originating-identity-presentation-restriction>\
<communication-diversion active=\"false\"/><incoming-communication-barring active=\"false\"/>\
<outgoing-communication-barring active=\"false\"/></simservs>";

fn forward(err: &anyhow::Error) -> Answer {
    error(502, &format!("Failed to update all the backends: {err:#}"))
}

fn simservs_path(uri: &str) -> String {
    format!("/org.etsi.ngn.simservs/users/{}/simservs.xml", http::encode(uri))
}

fn new_password() -> String {
    place::uuid().replace('-', "").chars().take(8).collect()
}

fn describe(uri: &str, number: &Number) -> Value {
    let user = uri.trim_start_matches("sip:").split('@').next().unwrap_or_default();
    let formatted = match (user.len(), user.get(..3), user.get(3..6), user.get(6..)) {
        (10, Some(area), Some(first), Some(last)) => format!("({area}) {first}-{last}"),
        _ => user.to_owned(),
    };
    json!({
        "sip_uri": uri,
        "sip_username": user,
        "number": user,
        "formatted_number": formatted,
        "pstn": false,
        "number_id": number.id,
        "private_id": number.private_id,
        "gab_listed": u8::from(number.gab_listed),
    })
}
