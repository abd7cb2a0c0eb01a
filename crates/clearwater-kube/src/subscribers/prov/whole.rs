//! All that homestead-prov tells of its subscribers, and the requests that put it back (crest
//! `src/metaswitch/homestead_prov/__init__.py`, which lists its routes).

use std::collections::BTreeSet;

use clearwater::backup::PrivateRecord;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{JSON, PrivateIds, ProvClient, PublicId, PublicIds, SubscriberError, XML, last, private, segment, set};
use crate::subscribers::wire::ProvisioningRequest;

/// What became of the question for a public identity's own document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    /// It is this.
    Told(String),
    /// It is not there.
    Missing,
    /// homestead-prov has no such request: upstream's last has none (crest `handlers/service_profile.py`).
    Untold,
}

fn profile_path(id: &str, profile: &str) -> String {
    format!("{}/service_profiles/{}", set(id), segment(profile))
}

fn association(private_identity: &str, id: &str) -> String {
    format!("{}/associated_implicit_registration_sets/{}", private(private_identity), segment(id))
}

impl ProvClient {
    /// All public identities as they stand there, those too that no phone could have.
    ///
    /// No list has private identities and sets: one that has no public identity is not found.
    pub(crate) async fn all_identities(&self) -> Result<Vec<String>, SubscriberError> {
        let all = ProvisioningRequest::get("/public/?excludeuuids=true&chunk-proportion=1");
        let answer = self.done(all, "/public/").await?;
        Ok(answer.read::<PublicIds>()?.public_ids.into_iter().map(PublicId::text).collect())
    }

    /// The set and the profile that a public identity is in.
    pub(crate) async fn place(&self, identity: &str) -> Result<Option<(String, String)>, SubscriberError> {
        let Some(answer) = self.found(format!("/public/{}/service_profile", segment(identity))).await? else {
            return Ok(None);
        };
        let location = answer.header("location").ok_or_else(|| answer.unreadable("it names no location"))?;
        let Some((above, profile)) = location.split_once("/service_profiles/") else {
            return Err(answer.unreadable(format!("{location} is no service profile's location")));
        };
        Ok(Some((last(above).to_owned(), last(profile).to_owned())))
    }

    /// The private identities that may register a set.
    pub(crate) async fn registering(&self, id: &str) -> Result<BTreeSet<String>, SubscriberError> {
        let Some(answer) = self.found(format!("{}/private_ids", set(id))).await? else { return Ok(BTreeSet::new()) };
        Ok(answer.read::<PrivateIds>()?.private_ids.into_iter().collect())
    }

    /// The public identities of a profile.
    pub(crate) async fn identities_in(&self, id: &str, profile: &str) -> Result<Vec<String>, SubscriberError> {
        let path = format!("{}/public_ids", profile_path(id, profile));
        let Some(answer) = self.found(path).await? else { return Ok(Vec::new()) };
        Ok(answer.read::<PublicIds>()?.public_ids.into_iter().map(PublicId::text).collect())
    }

    /// The filter criteria of a profile.
    pub(crate) async fn criteria(&self, id: &str, profile: &str) -> Result<Option<String>, SubscriberError> {
        let answer = self.found(format!("{}/filter_criteria", profile_path(id, profile))).await?;
        Ok(answer.map(|answer| answer.text()))
    }

    /// A public identity's own document.
    pub(crate) async fn document(&self, id: &str, profile: &str, identity: &str) -> Result<Document, SubscriberError> {
        let path = format!("{}/public_ids/{}", profile_path(id, profile), segment(identity));
        let answer = self.ask(ProvisioningRequest::get(path)).await?;
        match answer.status() {
            404 => Ok(Document::Missing),
            405 | 501 => Ok(Document::Untold),
            _ if answer.is_good() => Ok(Document::Told(answer.text())),
            _ => Err(answer.refused()),
        }
    }

    /// What is kept of a private identity.
    pub(crate) async fn record(&self, private_identity: &str) -> Result<Option<PrivateRecord>, SubscriberError> {
        #[derive(Deserialize)]
        struct Kept {
            digest_ha1: String,
            #[serde(default)]
            realm: Option<String>,
            #[serde(default)]
            plaintext_password: Option<String>,
        }
        let Some(answer) = self.found(private(private_identity)).await? else { return Ok(None) };
        let Kept { digest_ha1, realm, plaintext_password } = answer.read()?;
        Ok(Some(PrivateRecord {
            digest_ha1: digest_ha1.into(),
            realm,
            plaintext_password: plaintext_password.filter(|p| !p.is_empty()).map(Into::into),
        }))
    }

    /// Puts a private identity there as it was kept: by its password where that is kept as text, else by its digest. Both
    /// at once are refused (crest `handlers/private.py`).
    pub(crate) async fn put_record(
        &self,
        private_identity: &str,
        record: &PrivateRecord,
    ) -> Result<(), SubscriberError> {
        let mut body = match &record.plaintext_password {
            Some(password) => json!({"plaintext_password": password.expose()}),
            None => json!({"digest_ha1": record.digest_ha1.expose()}),
        };
        if let Some(realm) = &record.realm {
            body["realm"] = json!(realm);
        }
        let question = ProvisioningRequest::new(Method::PUT, private(private_identity)).body(JSON, body.to_string());
        self.done(question, private_identity).await.map(drop)
    }

    /// Makes an empty set. Yields its name.
    pub(crate) async fn new_set(&self, of: &str) -> Result<String, SubscriberError> {
        self.made("/irs".to_owned(), of).await
    }

    /// Makes an empty profile in a set. Yields its name.
    pub(crate) async fn new_profile(&self, id: &str, of: &str) -> Result<String, SubscriberError> {
        self.made(format!("{}/service_profiles", set(id)), of).await
    }

    /// Lets a private identity register a set.
    pub(crate) async fn associate(&self, private_identity: &str, id: &str) -> Result<(), SubscriberError> {
        let question = ProvisioningRequest::new(Method::PUT, association(private_identity, id));
        self.done(question, private_identity).await.map(drop)
    }

    /// Lets it not any more.
    pub(crate) async fn dissociate(&self, private_identity: &str, id: &str) -> Result<(), SubscriberError> {
        self.delete_path(association(private_identity, id)).await.map(drop)
    }

    /// Puts a public identity into a profile.
    pub(crate) async fn put_public(
        &self,
        id: &str,
        profile: &str,
        identity: &str,
        document: &str,
    ) -> Result<(), SubscriberError> {
        let path = format!("{}/public_ids/{}", profile_path(id, profile), segment(identity));
        let question = ProvisioningRequest::new(Method::PUT, path).body(XML, document.to_owned());
        self.done(question, identity).await.map(drop)
    }

    /// Puts filter criteria into a profile.
    pub(crate) async fn put_criteria(
        &self,
        id: &str,
        profile: &str,
        criteria: &str,
        of: &str,
    ) -> Result<(), SubscriberError> {
        let path = format!("{}/filter_criteria", profile_path(id, profile));
        let question = ProvisioningRequest::new(Method::PUT, path).body(XML, criteria.to_owned());
        self.done(question, of).await.map(drop)
    }

    /// Removes a set with its profiles and their public identities.
    pub(crate) async fn remove_set(&self, id: &str) -> Result<(), SubscriberError> {
        self.delete_path(set(id)).await.map(drop)
    }

    /// Removes a public identity from its profile.
    pub(crate) async fn remove_public(&self, id: &str, profile: &str, identity: &str) -> Result<(), SubscriberError> {
        let path = format!("{}/public_ids/{}", profile_path(id, profile), segment(identity));
        self.delete_path(path).await.map(drop)
    }

    /// Removes the sets of a private identity that no public one is in: a try that was ended in its midst left them.
    pub(crate) async fn remove_empty_sets(&self, private_identity: &str) -> Result<(), SubscriberError> {
        for id in self.sets_of(private_identity).await?.unwrap_or_default() {
            if self.public_of_set(&id).await?.is_empty() {
                self.delete_path(set(&id)).await?;
            }
        }
        Ok(())
    }
}
