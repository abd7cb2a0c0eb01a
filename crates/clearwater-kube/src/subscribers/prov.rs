//! homestead-prov's REST interface (crest `docs/homestead_prov_api.md`).

mod whole;

pub(crate) use whole::Document;

use clearwater::component::{Component, port};
use clearwater::subscriber::{PublicIdentity, Subscriber};
use clearwater::text::xml_escaped;
use http::Method;
use md5::{Digest, Md5};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::error::SubscriberError;
use super::wire::{JSON, ProvisioningAnswer, ProvisioningRequest, Wire, XML, segment};
use crate::cluster::Cluster;

pub(super) const PORT: u16 = port(Component::HomesteadProv, "http");

/// A client of a deployment's homestead-prov. Requests share kept connections and may be put at the same time.
pub struct ProvClient {
    wire: Wire,
    component: Component,
}

impl std::fmt::Debug for ProvClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProvClient").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct PrivateIds {
    private_ids: Vec<String>,
}

#[derive(Deserialize)]
struct PublicIds {
    // The page says associated_public_ids, the program public_ids.
    #[serde(alias = "associated_public_ids")]
    public_ids: Vec<PublicId>,
}

/// A public identity as lists have it: alone, or with what it belongs to (crest
/// `src/metaswitch/homestead_prov/provisioning/handlers/public.py`).
#[derive(Deserialize)]
#[serde(untagged)]
enum PublicId {
    Alone(String),
    Within { public_id: String },
}

impl PublicId {
    fn text(self) -> String {
        match self {
            Self::Alone(text) | Self::Within { public_id: text } => text,
        }
    }
}

#[derive(Deserialize)]
struct Sets {
    associated_implicit_registration_sets: Vec<String>,
}

#[derive(Deserialize)]
struct Private {
    #[serde(default)]
    plaintext_password: Option<SecretString>,
}

/// What a password is kept as: MD5 of `impi:realm:password` (RFC 2617 §3.2.2.2).
fn digest_ha1(private_identity: &str, realm: &str, password: &SecretString) -> String {
    let mut digest = Md5::new();
    for part in [private_identity, ":", realm, ":", password.expose_secret()] {
        digest.update(part);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The last segment of a path that was made: `/irs/UUID`, or the bare UUID that the page shows.
fn last(location: &str) -> &str {
    location.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

fn public_identity(identity: &PublicIdentity) -> String {
    format!("<PublicIdentity><Identity>{}</Identity></PublicIdentity>", xml_escaped(identity.as_str()))
}

/// What Ellis gives a number: calls go by the deployment's own telephony services (metaswitch-common `ifcs.py`).
fn filter_criteria(home_domain: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ServiceProfile><InitialFilterCriteria><Priority>0</Priority>\
         <TriggerPoint><ConditionTypeCNF></ConditionTypeCNF><SPT><ConditionNegated>0</ConditionNegated><Group>0</Group>\
         <Method>INVITE</Method><Extension></Extension></SPT></TriggerPoint><ApplicationServer>\
         <ServerName>sip:mmtel.{}</ServerName><DefaultHandling>0</DefaultHandling></ApplicationServer>\
         </InitialFilterCriteria></ServiceProfile>",
        xml_escaped(home_domain)
    )
}

fn private(private_identity: &str) -> String {
    format!("/private/{}", segment(private_identity))
}

fn set(id: &str) -> String {
    format!("/irs/{}", segment(id))
}

impl ProvClient {
    /// A client of the component whose pods listen: homestead-prov, or homestead, whose image holds both in the classic
    /// release. Nothing is opened yet.
    pub(super) fn new(cluster: &Cluster, component: Component) -> Self {
        Self { wire: Wire::new(cluster, component, PORT), component }
    }

    async fn ask(&self, question: ProvisioningRequest) -> Result<ProvisioningAnswer, SubscriberError> {
        self.wire.ask(&question).await
    }

    /// Asks what must succeed; what is not there is an error that names the identity.
    async fn done(&self, question: ProvisioningRequest, identity: &str) -> Result<ProvisioningAnswer, SubscriberError> {
        let answer = self.ask(question).await?;
        match answer.status() {
            404 => Err(SubscriberError::Missing { identity: identity.to_owned(), account: None }),
            _ if answer.is_good() => Ok(answer),
            _ => Err(answer.refused()),
        }
    }

    /// Asks for what may not be there.
    async fn found(&self, path: String) -> Result<Option<ProvisioningAnswer>, SubscriberError> {
        let answer = self.ask(ProvisioningRequest::get(path)).await?;
        match answer.status() {
            404 => Ok(None),
            303 => Ok(Some(answer)),
            _ if answer.is_good() => Ok(Some(answer)),
            _ => Err(answer.refused()),
        }
    }

    async fn made(&self, path: String, identity: &str) -> Result<String, SubscriberError> {
        let answer = self.done(ProvisioningRequest::new(Method::POST, path), identity).await?;
        answer.header("location").map(|l| last(l).to_owned()).ok_or_else(|| answer.unreadable("it names no location"))
    }

    /// All public identities of the deployment, in one answer: without a part of the ring that is asked for by itself, the
    /// program pauses for a second after each of 256.
    ///
    /// # Errors
    /// Where homestead-prov could not be asked, or answered with something else.
    pub async fn public_identities(&self) -> Result<Vec<PublicIdentity>, SubscriberError> {
        let all = self.all_identities().await?.into_iter();
        // What others wrote there and is no identity is no line either.
        Ok(all.filter_map(|text| text.parse().ok()).collect())
    }

    /// The private identities that may register a public one; `None` where that is not there.
    pub(crate) async fn private_identities(
        &self,
        identity: &PublicIdentity,
    ) -> Result<Option<Vec<String>>, SubscriberError> {
        let path = format!("/public/{}/associated_private_ids", segment(identity.as_str()));
        let Some(answer) = self.found(path).await? else { return Ok(None) };
        Ok(Some(answer.read::<PrivateIds>()?.private_ids))
    }

    /// The password of a private identity. `None` where only its digest is kept.
    ///
    /// # Errors
    /// Where homestead-prov could not be asked, or answered with something else.
    pub async fn password(&self, private_identity: &str) -> Result<Option<SecretString>, SubscriberError> {
        let Some(answer) = self.found(private(private_identity)).await? else {
            return Err(SubscriberError::Missing { identity: private_identity.to_owned(), account: None });
        };
        Ok(answer.read::<Private>()?.plaintext_password)
    }

    /// Gives a private identity a password, and makes it where it is not there. Only the digest is kept.
    pub(crate) async fn put_password(
        &self,
        private_identity: &str,
        realm: &str,
        password: &SecretString,
    ) -> Result<(), SubscriberError> {
        let body = json!({"digest_ha1": digest_ha1(private_identity, realm, password), "realm": realm});
        let question = ProvisioningRequest::new(Method::PUT, private(private_identity)).body(JSON, body.to_string());
        self.done(question, private_identity).await.map(drop)
    }

    async fn sets_of(&self, private_identity: &str) -> Result<Option<Vec<String>>, SubscriberError> {
        let path = format!("{}/associated_implicit_registration_sets/", private(private_identity));
        let Some(answer) = self.found(path).await? else { return Ok(None) };
        Ok(Some(answer.read::<Sets>()?.associated_implicit_registration_sets))
    }

    /// The public identities of a set.
    pub(crate) async fn public_of_set(&self, id: &str) -> Result<Vec<String>, SubscriberError> {
        let Some(answer) = self.found(format!("{}/public_ids", set(id))).await? else { return Ok(Vec::new()) };
        Ok(answer.read::<PublicIds>()?.public_ids.into_iter().map(PublicId::text).collect())
    }

    async fn delete_path(&self, path: String) -> Result<bool, SubscriberError> {
        let answer = self.ask(ProvisioningRequest::new(Method::DELETE, path)).await?;
        match answer.status() {
            204 | 404 => Ok(false),
            _ if answer.is_good() => Ok(true),
            _ => Err(answer.refused()),
        }
    }

    /// Makes a subscriber with both identities, in the order in which Ellis' own tools do it (ellis
    /// `src/metaswitch/ellis/prov_tools`). What an earlier try left half done is completed; where this one fails, what it
    /// made is taken back.
    ///
    /// # Errors
    /// Where homestead-prov could not be asked, or refused a part of it.
    pub async fn create(
        &self,
        identity: &PublicIdentity,
        private_identity: &str,
        home_domain: &str,
        password: &SecretString,
    ) -> Result<(), SubscriberError> {
        let taken = |identity: &str| SubscriberError::Taken { identity: identity.to_owned() };
        if self.private_identities(identity).await?.is_some() {
            return Err(taken(identity.as_str()));
        }
        let left = self.sets_of(private_identity).await?.unwrap_or_default();
        for id in &left {
            if !self.public_of_set(id).await?.is_empty() {
                return Err(taken(private_identity));
            }
        }
        for id in &left {
            self.delete_path(set(id)).await?;
        }
        self.put_password(private_identity, home_domain, password).await?;
        let mut id = None;
        let done = self.set_with(identity, private_identity, home_domain, &mut id).await;
        if done.is_err() {
            // The first error is the one to tell.
            if let Some(id) = id {
                let _ = self.delete_path(set(&id)).await;
            }
            let _ = self.delete_path(private(private_identity)).await;
        }
        done
    }

    async fn set_with(
        &self,
        identity: &PublicIdentity,
        private_identity: &str,
        home_domain: &str,
        made: &mut Option<String>,
    ) -> Result<(), SubscriberError> {
        let of = identity.as_str();
        let id = self.made("/irs".to_owned(), of).await?;
        *made = Some(id.clone());
        let path = format!("{}/associated_implicit_registration_sets/{}", private(private_identity), segment(&id));
        self.done(ProvisioningRequest::new(Method::PUT, path), private_identity).await?;
        let profile = self.made(format!("{}/service_profiles", set(&id)), of).await?;
        let profile = format!("{}/service_profiles/{}", set(&id), segment(&profile));
        let path = format!("{profile}/public_ids/{}", segment(of));
        self.done(ProvisioningRequest::new(Method::PUT, path).body(XML, public_identity(identity)), of).await?;
        let criteria = ProvisioningRequest::new(Method::PUT, format!("{profile}/filter_criteria"));
        self.done(criteria.body(XML, filter_criteria(home_domain)), of).await.map(drop)
    }

    /// Removes a public identity, and its private ones where nothing else is theirs. Says whether it was there.
    ///
    /// # Errors
    /// Where homestead-prov could not be asked, or refused.
    pub async fn delete(&self, identity: &PublicIdentity) -> Result<bool, SubscriberError> {
        let of = segment(identity.as_str());
        let Some(answer) = self.found(format!("/public/{of}/service_profile")).await? else { return Ok(false) };
        let profile = answer.header("location").ok_or_else(|| answer.unreadable("it names no location"))?.to_owned();
        let (above, id) = profile.split_once("/service_profile").map_or((profile.as_str(), ""), |(a, p)| (a, last(p)));
        let set_id = last(above).to_owned();
        let private_ids = self.private_identities(identity).await?.unwrap_or_default();
        if self.public_of_set(&set_id).await?.iter().any(|other| other != identity.as_str()) {
            // It shares its set with others, which stay.
            let path = format!("{}/service_profiles/{}/public_ids/{of}", set(&set_id), segment(id));
            self.delete_path(path).await?;
            return Ok(true);
        }
        self.delete_path(set(&set_id)).await?;
        for one in private_ids {
            if self.sets_of(&one).await?.is_some_and(|left| left.iter().all(|l| *l == set_id)) {
                self.delete_path(private(&one)).await?;
            }
        }
        Ok(true)
    }

    /// A subscriber by its public identity, without its password.
    ///
    /// # Errors
    /// Where homestead-prov could not be asked, or answered with something else.
    pub async fn show(&self, identity: &PublicIdentity) -> Result<Option<Subscriber>, SubscriberError> {
        let Some(private_ids) = self.private_identities(identity).await? else { return Ok(None) };
        let own = || identity.private_identity().to_owned();
        let private_identity = private_ids.into_iter().next().unwrap_or_else(own);
        Ok(Some(Subscriber { public_identity: identity.clone(), private_identity, password: None }))
    }

    /// The component whose pods are asked.
    pub fn component(&self) -> Component {
        self.component
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_rfc_2617() {
        let password = SecretString::from("Circle Of Life");
        assert_eq!(digest_ha1("Mufasa", "testrealm@host.com", &password), "939e7578ed9e3c518a452acee763bce9");
    }

    #[test]
    fn lists_are_read_in_each_form() {
        let read = |text: &str| -> Vec<String> {
            let ids: PublicIds = serde_json::from_str(text).unwrap();
            ids.public_ids.into_iter().map(PublicId::text).collect()
        };
        assert_eq!(read(r#"{"public_ids": ["sip:a@b"]}"#), ["sip:a@b"]);
        assert_eq!(read(r#"{"public_ids": [{"public_id": "sip:a@b", "irs": "1", "sp": "2"}]}"#), ["sip:a@b"]);
        assert_eq!(read(r#"{"associated_public_ids": ["sip:a@b"]}"#), ["sip:a@b"]);
    }

    #[test]
    fn a_place_is_read_with_and_without_what_it_is_below() {
        assert_eq!(last("/irs/0a"), "0a");
        assert_eq!(last("0a"), "0a");
        assert_eq!(last("http://x/irs/0a/service_profiles/0b/"), "0b");
    }

    #[test]
    fn documents_are_xml() {
        let identity = PublicIdentity::of("650", "a.b").unwrap();
        assert!(roxmltree::Document::parse(&public_identity(&identity)).is_ok());
        assert!(roxmltree::Document::parse(&filter_criteria("a.b")).is_ok());
    }
}
