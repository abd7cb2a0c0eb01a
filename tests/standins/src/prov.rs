//! homestead-prov's stand-in: the provisioning REST interface over Cassandra (crest
//! `docs/homestead_prov_api.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::Exit;
use crate::cassandra::{Client, Found, Trouble};
use crate::digest;
use crate::front;
use crate::log::{Grammar, Log, PYTHON_LEVEL, log};
use crate::net::http::{self, Answer, Ask, Method};
use crate::place::{self, Settings};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Private {
    digest_ha1: String,
    realm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext_password: Option<String>,
    sets: BTreeSet<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Set {
    profiles: BTreeMap<String, Profile>,
    privates: BTreeSet<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Profile {
    public_ids: BTreeMap<String, String>,
    filter_criteria: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Public {
    set: String,
    profile: String,
}

struct Prov {
    tables: Client,
    cache: Client,
    realm: String,
    /// Rows are read, changed and written; one request at a time.
    turn: Mutex<()>,
}

/// Runs the daemon; ends with an error when Cassandra's name is not known at start.
pub(crate) async fn run() -> Result<Exit> {
    let settings = Settings::load()?;
    crate::log::init(Log::new("homestead-prov", "homestead-prov", Grammar::Python, PYTHON_LEVEL));
    tokio::time::sleep(place::boot_delay("homestead-prov")).await;
    let name = settings.get_or("cassandra_hostname", "localhost");
    // Once, at start: the connection keeps to this address for the life of the process.
    let address = match tokio::net::lookup_host((name, 9160)).await.map(|mut all| all.next()) {
        Ok(Some(address)) => address,
        failed => {
            let reason = failed.err().map_or_else(|| "no address".to_owned(), |err| err.to_string());
            log!(
                Error,
                "logging_config.py:109",
                "Uncaught exception:\n  Exception: gaierror\n  Detail: cannot resolve {name}: {reason}\n  Traceback:\n    \
                 File \"/usr/share/clearwater/crest/main.py\", line 113, in standalone\n    connect(settings.CASS_HOST)\n"
            );
            return Ok(Exit(1));
        }
    };
    let prov = Arc::new(Prov {
        tables: Client::new(Found::Address(address), "homestead_provisioning"),
        cache: Client::new(Found::Address(address), "homestead_cache"),
        realm: settings.get_or("home_domain", "example.com").to_owned(),
        turn: Mutex::new(()),
    });
    let listener = http::listen_unix(&front::socket("homestead-prov"))?;
    log!(Status, "main.py:81", "Going to listen for HTTP on UNIX socket {}", front::socket("homestead-prov").display());
    http::serve_unix(listener, move |ask| {
        let prov = prov.clone();
        async move { prov.answer(&ask).await }
    })
    .await;
    Ok(Exit(0))
}

/// `/ping` of the Python programs: it reads from Cassandra first, and never returns while
/// Cassandra cannot be reached (crest `api/ping.py`).
pub(crate) async fn ping(client: &Client, table: &str) -> Answer {
    if let Err(trouble @ (Trouble::Unreachable(_) | Trouble::Nameless(_))) = client.get(table, "ping").await {
        log!(Warning, "ping.py:60", "Cassandra does not answer: {trouble}");
        std::future::pending::<()>().await;
    }
    Answer::text(200, "OK")
}

type Asked = Result<Answer, Trouble>;

impl Prov {
    async fn answer(&self, ask: &Ask) -> Answer {
        let segments = ask.segments();
        if segments == ["ping"] {
            return ping(&self.tables, "private").await;
        }
        if place::fault("homestead-prov.503") {
            return Answer::code(503);
        }
        let turn = self.turn.lock().await;
        let asked = match segments.as_slice() {
            ["private", rest @ ..] if !rest.is_empty() => self.private(ask, rest).await,
            ["irs", rest @ ..] => self.sets(ask, rest).await,
            ["public", rest @ ..] => self.public(ask, rest).await,
            _ => Ok(Answer::code(404)),
        };
        drop(turn);
        let answer = asked.unwrap_or_else(|trouble| {
            log!(
                Error,
                "base.py:170",
                "Caught\nTraceback (most recent call last):\n  File \"/usr/share/clearwater/crest/api/base.py\", line 166, in \
                 _execute\n    yield self.cass.call(request)\nCassandraException: {trouble}"
            );
            Answer::code(503)
        });
        log!(Info, "base.py:60", "{} {} {}", answer.status, ask.method, ask.raw);
        answer
    }

    async fn row<T: for<'a> Deserialize<'a>>(&self, table: &str, key: &str) -> Result<Option<T>, Trouble> {
        Ok(self.tables.get(table, key).await?.and_then(|v| serde_json::from_value(v).ok()))
    }

    async fn put<T: Serialize>(&self, table: &str, key: &str, row: &T) -> Result<(), Trouble> {
        let value = serde_json::to_value(row).map_err(|err| Trouble::Refused(err.to_string()))?;
        self.tables.put(table, key, &value).await
    }

    async fn private(&self, ask: &Ask, rest: &[&str]) -> Asked {
        let impi = rest[0];
        let row: Option<Private> = self.row("private", impi).await?;
        match (&ask.method, &rest[1..]) {
            (&Method::PUT, []) => {
                let Some(mut fresh) = read_private(impi, &ask.body, &self.realm) else {
                    return Ok(Answer::code(400));
                };
                fresh.sets = row.map(|r| r.sets).unwrap_or_default();
                self.put("private", impi, &fresh).await?;
                self.refresh_private(impi).await?;
                Ok(Answer::code(200))
            }
            (&Method::DELETE, []) => {
                let Some(row) = row else {
                    return Ok(Answer::code(204));
                };
                for id in &row.sets {
                    if let Some(mut set) = self.row::<Set>("irs", id).await? {
                        set.privates.remove(impi);
                        self.put("irs", id, &set).await?;
                    }
                }
                self.tables.delete("private", impi).await?;
                self.cache.delete("impi", impi).await?;
                Ok(Answer::code(200))
            }
            (&Method::GET, inner) => {
                let Some(row) = row else {
                    return Ok(Answer::code(404));
                };
                match inner {
                    [] => {
                        let mut out = json!({"digest_ha1": row.digest_ha1, "realm": row.realm});
                        if let Some(password) = row.plaintext_password {
                            out["plaintext_password"] = json!(password);
                        }
                        Ok(Answer::json(200, &out))
                    }
                    ["associated_public_ids"] => {
                        let ids = self.public_ids(&row.sets).await?;
                        Ok(Answer::json(200, &json!({"public_ids": ids})))
                    }
                    ["associated_implicit_registration_sets"] => {
                        Ok(Answer::json(200, &json!({"associated_implicit_registration_sets": row.sets})))
                    }
                    _ => Ok(Answer::code(404)),
                }
            }
            (method @ (&Method::PUT | &Method::DELETE), ["associated_implicit_registration_sets", id]) => {
                let (Some(mut row), Some(mut set)) = (row, self.row::<Set>("irs", id).await?) else {
                    return Ok(Answer::code(404));
                };
                let changed = if *method == Method::PUT {
                    row.sets.insert((*id).to_owned());
                    set.privates.insert(impi.to_owned());
                    true
                } else {
                    set.privates.remove(impi);
                    row.sets.remove(*id)
                };
                self.put("private", impi, &row).await?;
                self.put("irs", id, &set).await?;
                self.refresh_private(impi).await?;
                self.refresh_set(&set).await?;
                Ok(Answer::code(if changed { 200 } else { 204 }))
            }
            _ => Ok(Answer::code(405)),
        }
    }

    async fn sets(&self, ask: &Ask, rest: &[&str]) -> Asked {
        let [id, inner @ ..] = rest else {
            if ask.method != Method::POST {
                return Ok(Answer::code(405));
            }
            let id = place::uuid();
            self.put("irs", &id, &Set::default()).await?;
            return Ok(created(&format!("/irs/{id}")));
        };
        let Some(mut set) = self.row::<Set>("irs", id).await? else {
            return Ok(Answer::code(if ask.method == Method::DELETE { 204 } else { 404 }));
        };
        match (&ask.method, inner) {
            (&Method::GET, ["public_ids"]) => {
                let only = BTreeSet::from([(*id).to_owned()]);
                Ok(Answer::json(200, &json!({"public_ids": self.public_ids(&only).await?})))
            }
            (&Method::GET, ["private_ids"]) => Ok(Answer::json(200, &json!({"private_ids": set.privates}))),
            (&Method::POST, ["service_profiles"]) => {
                let profile = place::uuid();
                set.profiles.insert(profile.clone(), Profile::default());
                self.put("irs", id, &set).await?;
                Ok(created(&format!("/irs/{id}/service_profiles/{profile}")))
            }
            (&Method::DELETE, []) => {
                let old = std::mem::take(&mut set.profiles);
                self.refresh_set(&set).await?;
                for impu in old.values().flat_map(|p| p.public_ids.keys()) {
                    self.forget_public(impu).await?;
                }
                for impi in &set.privates {
                    if let Some(mut row) = self.row::<Private>("private", impi).await? {
                        row.sets.remove(*id);
                        self.put("private", impi, &row).await?;
                        self.refresh_private(impi).await?;
                    }
                }
                self.tables.delete("irs", id).await?;
                Ok(Answer::code(200))
            }
            (_, ["service_profiles", profile, inner @ ..]) => self.profile(ask, id, set, profile, inner).await,
            _ => Ok(Answer::code(405)),
        }
    }

    async fn profile(&self, ask: &Ask, id: &str, mut set: Set, profile: &str, inner: &[&str]) -> Asked {
        let Some(found) = set.profiles.get_mut(profile) else {
            return Ok(Answer::code(if ask.method == Method::DELETE { 204 } else { 404 }));
        };
        match (&ask.method, inner) {
            (&Method::DELETE, []) => {
                let old = std::mem::take(&mut found.public_ids);
                set.profiles.remove(profile);
                for impu in old.keys() {
                    self.forget_public(impu).await?;
                }
            }
            (&Method::GET, ["public_ids"]) => {
                let ids: Vec<&String> = found.public_ids.keys().collect();
                return Ok(Answer::json(200, &json!({"public_ids": ids})));
            }
            (&Method::PUT, ["public_ids", impu]) => {
                let xml = ask.text();
                match element(&xml, "Identity") {
                    None => return Ok(Answer::code(400)),
                    Some(named) if named != *impu => return Ok(Answer::code(403)),
                    Some(_) => {}
                }
                found.public_ids.insert((*impu).to_owned(), xml);
                let public = Public { set: id.to_owned(), profile: profile.to_owned() };
                self.put("public", impu, &public).await?;
            }
            (&Method::DELETE, ["public_ids", impu]) => {
                if found.public_ids.remove(*impu).is_none() {
                    return Ok(Answer::code(204));
                }
                self.forget_public(impu).await?;
            }
            (&Method::GET, ["filter_criteria"]) => {
                return Ok(found
                    .filter_criteria
                    .as_ref()
                    .map_or_else(|| Answer::code(404), |xml| Answer::xml(200, xml.clone())));
            }
            (&Method::PUT, ["filter_criteria"]) => {
                let xml = ask.text();
                if !xml.contains("<ServiceProfile") || !xml.contains("<InitialFilterCriteria") {
                    return Ok(Answer::code(400));
                }
                found.filter_criteria = Some(xml);
            }
            (&Method::DELETE, ["filter_criteria"]) => {
                if found.filter_criteria.take().is_none() {
                    return Ok(Answer::code(204));
                }
            }
            // Also for GET of a public identity, where the page says GET and means DELETE (crest
            // `handlers/service_profile.py`, SPPublicIDHandler).
            _ => return Ok(Answer::code(405)),
        }
        self.put("irs", id, &set).await?;
        self.refresh_set(&set).await?;
        for impi in &set.privates {
            self.refresh_private(impi).await?;
        }
        Ok(Answer::code(200))
    }

    async fn public(&self, ask: &Ask, rest: &[&str]) -> Asked {
        if ask.method != Method::GET {
            return Ok(Answer::code(405));
        }
        let [impu, inner @ ..] = rest else {
            // Objects, with or without `excludeuuids` (crest `handlers/public.py`, AllPublicIDsHandler).
            let named = |(id, row): (String, Value)| json!({"public_id": id, "irs": row["set"], "sp": row["profile"]});
            let all: Vec<Value> = self.tables.all("public").await?.into_iter().map(named).collect();
            return Ok(Answer::json(200, &json!({"public_ids": all})));
        };
        let Some(row) = self.row::<Public>("public", impu).await? else {
            return Ok(Answer::code(404));
        };
        match inner {
            ["service_profile"] => {
                Ok(Answer::code(303).with("location", &format!("/irs/{}/service_profiles/{}", row.set, row.profile)))
            }
            ["irs"] => Ok(Answer::code(303).with("location", &format!("/irs/{}", row.set))),
            ["associated_private_ids"] => {
                let set: Option<Set> = self.row("irs", &row.set).await?;
                Ok(Answer::json(200, &json!({"private_ids": set.map(|s| s.privates).unwrap_or_default()})))
            }
            _ => Ok(Answer::code(404)),
        }
    }

    async fn public_ids(&self, sets: &BTreeSet<String>) -> Result<Vec<String>, Trouble> {
        let mut all = Vec::new();
        for id in sets {
            if let Some(set) = self.row::<Set>("irs", id).await? {
                all.extend(set.profiles.into_values().flat_map(|p| p.public_ids.into_keys()));
            }
        }
        Ok(all)
    }

    async fn forget_public(&self, impu: &str) -> Result<(), Trouble> {
        self.tables.delete("public", impu).await?;
        self.cache.delete("impu", impu).await
    }

    /// What homestead reads about a private identity.
    async fn refresh_private(&self, impi: &str) -> Result<(), Trouble> {
        if let Some(row) = self.row::<Private>("private", impi).await? {
            let ids = self.public_ids(&row.sets).await?;
            let cached = json!({"digest_ha1": row.digest_ha1, "digest_realm": row.realm, "public_ids": ids});
            self.cache.put("impi", impi, &cached).await?;
        }
        Ok(())
    }

    /// What homestead reads about the public identities of a set.
    async fn refresh_set(&self, set: &Set) -> Result<(), Trouble> {
        let mut subscription = "<IMSSubscription>".to_owned();
        if let Some(impi) = set.privates.first() {
            let _ = write!(subscription, "<PrivateID>{impi}</PrivateID>");
        }
        for profile in set.profiles.values() {
            subscription.push_str("<ServiceProfile>");
            for xml in profile.public_ids.values() {
                subscription.push_str(xml.trim_start_matches("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"));
            }
            if let Some(criteria) = profile.filter_criteria.as_ref() {
                subscription.push_str(inside(criteria, "ServiceProfile"));
            }
            subscription.push_str("</ServiceProfile>");
        }
        subscription.push_str("</IMSSubscription>");
        for impu in set.profiles.values().flat_map(|p| p.public_ids.keys()) {
            self.cache.put("impu", impu, &json!({"ims_subscription_xml": subscription})).await?;
        }
        Ok(())
    }
}

fn created(location: &str) -> Answer {
    Answer::code(201).with("location", location)
}

fn read_private(impi: &str, body: &[u8], default_realm: &str) -> Option<Private> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let realm = body["realm"].as_str().unwrap_or(default_realm).to_owned();
    let (digest_ha1, plaintext_password) = match (body["digest_ha1"].as_str(), body["plaintext_password"].as_str()) {
        (Some(ha1), None) => (ha1.to_owned(), None),
        (None, Some(password)) => (digest::ha1(impi, &realm, password), Some(password.to_owned())),
        _ => return None,
    };
    Some(Private { digest_ha1, realm, plaintext_password, sets: BTreeSet::new() })
}

/// The text of the first element of that name.
pub(crate) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let end = xml[start..].find(&format!("</{name}>"))?;
    Some(xml[start..start + end].trim())
}

/// What is inside the outermost element of that name; the whole when there is none.
fn inside<'a>(xml: &'a str, name: &str) -> &'a str {
    let found = || {
        let open = xml.find(&format!("<{name}"))?;
        let start = open + xml[open..].find('>')? + 1;
        let end = xml.rfind(&format!("</{name}>"))?;
        xml.get(start..end)
    };
    found().unwrap_or(xml)
}

/// homer's stand-in: simservs documents over Cassandra (crest `docs/homer_api.md`).
pub(crate) async fn run_homer() -> Result<Exit> {
    let settings = Settings::load()?;
    crate::log::init(Log::new("homer", "homer", Grammar::Python, PYTHON_LEVEL));
    tokio::time::sleep(place::boot_delay("homer")).await;
    let name = settings.get_or("cassandra_hostname", "localhost").to_owned();
    let tables = Arc::new(Client::new(Found::System(name), "homer"));
    let listener = http::listen_unix(&front::socket("homer")).context("homer")?;
    log!(Status, "main.py:81", "Going to listen for HTTP on UNIX socket {}", front::socket("homer").display());
    http::serve_unix(listener, move |ask| {
        let tables = tables.clone();
        async move {
            match homer(&tables, &ask).await {
                Ok(answer) => answer,
                Err(trouble) => {
                    log!(
                        Error,
                        "passthrough.py:80",
                        "Caught\nTraceback (most recent call last):\n  File \"/usr/share/clearwater/crest/api/passthrough.py\", \
                         line 77, in get\n    yield self.cass.get(key)\nCassandraException: {trouble}"
                    );
                    Answer::code(503)
                }
            }
        }
    })
    .await;
    Ok(Exit(0))
}

async fn homer(tables: &Client, ask: &Ask) -> Asked {
    let segments = ask.segments();
    if segments == ["ping"] {
        return Ok(ping(tables, "simservs").await);
    }
    if place::fault("homer.503") {
        return Ok(Answer::code(503));
    }
    let ["org.etsi.ngn.simservs", "users", user, "simservs.xml"] = segments[..] else {
        return Ok(Answer::code(404));
    };
    match ask.method {
        Method::GET => Ok(match tables.get("simservs", user).await? {
            Some(Value::String(xml)) => Answer::xml(200, xml),
            _ => Answer::code(404),
        }),
        Method::PUT => {
            let xml = ask.text();
            let whole = xml.contains("<simservs") && xml.trim_end().ends_with('>');
            if !whole || xml.matches("<simservs").count() != xml.matches("</simservs>").count() {
                return Ok(Answer::code(400));
            }
            tables.put("simservs", user, &Value::String(xml)).await?;
            Ok(Answer::code(200))
        }
        Method::DELETE => {
            tables.delete("simservs", user).await?;
            Ok(Answer::code(204))
        }
        _ => Ok(Answer::code(405)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found() {
        assert_eq!(
            element("<PublicIdentity><Identity>sip:a@b</Identity></PublicIdentity>", "Identity"),
            Some("sip:a@b")
        );
        assert_eq!(element("<a/>", "Identity"), None);
        assert_eq!(inside("<?xml?><ServiceProfile x='1'><I/></ServiceProfile>", "ServiceProfile"), "<I/>");
    }

    #[test]
    fn a_password_or_a_digest_is_needed() {
        let made = read_private("u@z", br#"{"plaintext_password":"p"}"#, "z").unwrap();
        assert_eq!(made.digest_ha1, digest::ha1("u@z", "z", "p"));
        assert!(read_private("u@z", b"{}", "z").is_none());
    }
}
