//! Ellis' REST interface (ellis `docs/api.md`, `src/metaswitch/ellis/api`).

use std::collections::BTreeMap;

use clearwater::backup::EllisNumber;
use clearwater::component::{Component, port};
use clearwater::subscriber::{PublicIdentity, Subscriber};
use http::{HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::SubscriberError;
use super::wire::{JSON, ProvisioningAnswer, ProvisioningRequest, Wire, segment};
use crate::cluster::Cluster;

const PORT: u16 = port(Component::Ellis, "http");

const FORM: &str = "application/x-www-form-urlencoded";
const API_KEY: &str = "ngv-api-key";
const SIGN_UP_CODE: &str = "ngv-signup-code";

/// A client of a deployment's Ellis. Requests share kept connections and may be put at the same time.
///
/// It acts for every account where it has the API key.
pub struct EllisClient {
    wire: Wire,
    api_key: Option<HeaderValue>,
}

impl std::fmt::Debug for EllisClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EllisClient").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Number {
    sip_uri: String,
    #[serde(default)]
    private_id: Option<String>,
    #[serde(default)]
    sip_password: Option<SecretString>,
}

#[derive(Deserialize)]
struct Numbers {
    numbers: Vec<Number>,
}

#[derive(Deserialize)]
struct Password {
    sip_password: SecretString,
}

/// A number as its account has it: MySQL gives its flags as numbers, and others may say `true`.
#[derive(Deserialize)]
struct OwnNumber {
    sip_uri: String,
    #[serde(default)]
    gab_listed: Value,
    #[serde(default)]
    pstn: Value,
}

#[derive(Deserialize)]
struct OwnNumbers {
    numbers: Vec<OwnNumber>,
}

fn is_set(flag: &Value) -> bool {
    flag.as_bool().unwrap_or_else(|| flag.as_u64().is_some_and(|n| n > 0))
}

/// Somebody whom the address book shows (ellis `src/metaswitch/ellis/data/numbers.py`, get_listed_numbers).
#[derive(Debug, Deserialize)]
pub(crate) struct Contact {
    /// The account.
    pub(crate) email: String,
    /// The owner's name.
    #[serde(default)]
    pub(crate) full_name: Option<String>,
}

#[derive(Deserialize)]
struct Contacts {
    contacts: Vec<Contact>,
}

impl Number {
    fn subscriber(self) -> Result<Subscriber, SubscriberError> {
        let public_identity: PublicIdentity = self.sip_uri.parse()?;
        let private_identity = self.private_id.unwrap_or_else(|| public_identity.private_identity().to_owned());
        Ok(Subscriber { public_identity, private_identity, password: self.sip_password })
    }
}

fn sensitive(text: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text.expose_secret()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn account(email: &str) -> String {
    format!("/accounts/{}", segment(email))
}

fn number(email: &str, identity: &PublicIdentity) -> String {
    format!("{}/numbers/{}", account(email), segment(identity.as_str()))
}

impl EllisClient {
    /// A client without the API key. Nothing is opened.
    pub fn new(cluster: &Cluster) -> Self {
        Self { wire: Wire::new(cluster, Component::Ellis, PORT), api_key: None }
    }

    /// The same, with the API key, which lets it act for every account. One that no header can carry is left out, and
    /// Ellis will say what is missing.
    #[must_use]
    pub(crate) fn with_api_key(mut self, key: &SecretString) -> Self {
        self.api_key = sensitive(key);
        self
    }

    async fn ask(&self, question: ProvisioningRequest) -> Result<ProvisioningAnswer, SubscriberError> {
        let question = match &self.api_key {
            Some(key) => question.secret(API_KEY, key.clone()),
            None => question,
        };
        let answer = self.wire.ask(&question).await?;
        if answer.status() == 403 {
            let (request, reason) = (answer.request(), answer.words());
            return Err(SubscriberError::Denied { request, status: 403, reason });
        }
        Ok(answer)
    }

    /// Makes an account (`POST /accounts/`). Says whether it is new: one of that e-mail address may be there.
    ///
    /// # Errors
    /// Where Ellis could not be asked, or refused the sign-up code.
    pub async fn sign_up(
        &self,
        email: &str,
        full_name: &str,
        password: &SecretString,
        code: &SecretString,
    ) -> Result<bool, SubscriberError> {
        let body = json!({"email": email, "password": password.expose_secret(), "full_name": full_name});
        // One that was made by a request whose answer was lost is there, as it should be.
        let mut question =
            ProvisioningRequest::new(Method::POST, "/accounts/").body(JSON, body.to_string()).repeatable();
        if let Some(code) = sensitive(code) {
            question = question.secret(SIGN_UP_CODE, code);
        }
        let answer = self.wire.ask(&question).await?;
        match answer.status() {
            201 => Ok(true),
            409 => Ok(false),
            status if is_wrong_code(status, &answer.words()) => {
                Err(SubscriberError::SignUpCode { status, reason: answer.words() })
            }
            _ => Err(answer.refused()),
        }
    }

    /// The numbers of an account, without passwords. An account that is not there has none.
    ///
    /// # Errors
    /// Where Ellis could not be asked, or gave no list.
    pub async fn numbers(&self, email: &str) -> Result<Vec<Subscriber>, SubscriberError> {
        let answer = self.ask(ProvisioningRequest::get(format!("{}/numbers/", account(email)))).await?;
        match answer.status() {
            200 => answer.read::<Numbers>()?.numbers.into_iter().map(Number::subscriber).collect(),
            404 => Ok(Vec::new()),
            _ => Err(answer.refused()),
        }
    }

    /// Those whom the address book shows. Nothing of Ellis' lists accounts that have no listed number.
    pub(crate) async fn contacts(&self) -> Result<Vec<Contact>, SubscriberError> {
        let answer = self.ask(ProvisioningRequest::get("/gab/")).await?;
        if answer.is_good() { Ok(answer.read::<Contacts>()?.contacts) } else { Err(answer.refused()) }
    }

    /// The numbers of an account with their flags; `None` where there is no such account.
    pub(crate) async fn owned(&self, email: &str) -> Result<Option<BTreeMap<String, EllisNumber>>, SubscriberError> {
        let answer = self.ask(ProvisioningRequest::get(format!("{}/numbers/", account(email)))).await?;
        match answer.status() {
            200 => {
                let number =
                    |n: OwnNumber| (n.sip_uri, EllisNumber { listed: is_set(&n.gab_listed), pstn: is_set(&n.pstn) });
                Ok(Some(answer.read::<OwnNumbers>()?.numbers.into_iter().map(number).collect()))
            }
            404 => Ok(None),
            _ => Err(answer.refused()),
        }
    }

    /// Lets the address book show a number, or not.
    pub(crate) async fn list_number(
        &self,
        email: &str,
        identity: &PublicIdentity,
        listed: bool,
    ) -> Result<(), SubscriberError> {
        let path = format!("{}/listed/{}", number(email, identity), u8::from(listed));
        let answer = self.ask(ProvisioningRequest::new(Method::PUT, path)).await?;
        match answer.status() {
            404 => Err(missing(identity.as_str(), email)),
            _ if answer.is_good() => Ok(()),
            _ => Err(answer.refused()),
        }
    }

    /// Gives an account a number from the pool, with a new private identity and its password.
    ///
    /// # Errors
    /// Where Ellis could not be asked, has no number left, or refused.
    pub async fn create(&self, email: &str) -> Result<Subscriber, SubscriberError> {
        let question =
            ProvisioningRequest::new(Method::POST, format!("{}/numbers/", account(email))).body(FORM, "pstn=false");
        let answer = self.ask(question).await?;
        match answer.status() {
            200 | 201 => answer.read::<Number>()?.subscriber(),
            404 => Err(missing(email, email)),
            503 => Err(SubscriberError::PoolEmpty { component: Component::Ellis }),
            _ => Err(answer.refused()),
        }
    }

    /// Gives an account a number of one's own choice. It takes the API key.
    ///
    /// With `is_new` the private identity is made, with its password; else it must be there.
    pub(crate) async fn create_chosen(
        &self,
        email: &str,
        identity: &PublicIdentity,
        private_identity: &str,
        is_new: bool,
    ) -> Result<Subscriber, SubscriberError> {
        let form = format!("private_id={}&new_private_id={is_new}", segment(private_identity));
        let question = ProvisioningRequest::new(Method::POST, format!("{}/", number(email, identity))).body(FORM, form);
        let answer = self.ask(question).await?;
        match answer.status() {
            200 | 201 => answer.read::<Number>()?.subscriber(),
            404 => Err(missing(email, email)),
            409 => Err(SubscriberError::Taken { identity: identity.to_string() }),
            _ => Err(answer.refused()),
        }
    }

    /// Gives a number a new password, which Ellis chooses.
    ///
    /// # Errors
    /// Where Ellis could not be asked, or does not know the number.
    pub async fn new_password(&self, email: &str, identity: &PublicIdentity) -> Result<SecretString, SubscriberError> {
        // Whoever asks twice gets a newer one.
        let path = format!("{}/password", number(email, identity));
        let answer = self.ask(ProvisioningRequest::new(Method::POST, path).body(FORM, "").repeatable()).await?;
        match answer.status() {
            200 | 201 => Ok(answer.read::<Password>()?.sip_password),
            404 => Err(missing(identity.as_str(), email)),
            _ => Err(answer.refused()),
        }
    }

    /// Takes a number from its account and gives it back to the pool. Says whether it was there.
    ///
    /// # Errors
    /// Where Ellis could not be asked, or refused.
    pub async fn delete(&self, email: &str, identity: &PublicIdentity) -> Result<bool, SubscriberError> {
        let answer =
            self.ask(ProvisioningRequest::new(Method::DELETE, format!("{}/", number(email, identity)))).await?;
        gone(&answer)
    }

    /// Removes an account with all its numbers. Says whether it was there.
    ///
    /// # Errors
    /// Where Ellis could not be asked, or refused.
    pub async fn delete_account(&self, email: &str) -> Result<bool, SubscriberError> {
        gone(&self.ask(ProvisioningRequest::new(Method::DELETE, format!("{}/", account(email)))).await?)
    }
}

fn gone(answer: &ProvisioningAnswer) -> Result<bool, SubscriberError> {
    match answer.status() {
        404 => Ok(false),
        _ if answer.is_good() => Ok(true),
        _ => Err(answer.refused()),
    }
}

fn missing(identity: &str, email: &str) -> SubscriberError {
    let account = Some(email.to_owned()).filter(|a| a != identity);
    SubscriberError::Missing { identity: identity.to_owned(), account }
}

/// Whether an answer to a sign-up means that its code is wrong. The real Ellis says 403; by upstream's page it is 400, which
/// also stands for a field that fails its check.
fn is_wrong_code(status: u16, words: &str) -> bool {
    let words = words.to_lowercase();
    status == 403 || status == 400 && (words.contains("code") || words.contains("sign"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_code_is_told_from_a_wrong_field() {
        assert!(is_wrong_code(403, "Invalid signup code"));
        assert!(is_wrong_code(403, ""));
        assert!(is_wrong_code(400, "Invalid Signup Code"));
        assert!(!is_wrong_code(400, "email is not valid"));
        assert!(!is_wrong_code(500, "Invalid signup code"));
    }

    #[test]
    fn an_answer_becomes_a_subscriber_and_its_password_is_not_shown() {
        // Of clearwater.md's form; `gab_listed` and what else comes is left out.
        let body = r#"{"sip_uri": "sip:6505550000@ims.example.com", "sip_username": "6505550000", "number": "6505550000",
            "formatted_number": "(650) 555-0000", "pstn": false, "number_id": "0a", "private_id": "6505550000@ims.example.com",
            "sip_password": "kept-quiet"}"#;
        let made = serde_json::from_str::<Number>(body).unwrap().subscriber().unwrap();
        assert_eq!(made.number(), "6505550000");
        assert_eq!(made.private_identity, "6505550000@ims.example.com");
        assert_eq!(made.password.as_ref().map(|p| p.expose_secret().to_owned()).as_deref(), Some("kept-quiet"));
        assert!(!format!("{made:?}").contains("kept-quiet"));
        let bad = r#"{"sip_uri": "x"}"#;
        assert!(serde_json::from_str::<Number>(bad).unwrap().subscriber().is_err());
    }

    #[test]
    fn flags_are_read_as_mysql_and_as_others_write_them() {
        let body = r#"{"numbers": [{"sip_uri": "sip:1@a.b", "gab_listed": 1, "pstn": false},
            {"sip_uri": "sip:2@a.b", "gab_listed": 0, "pstn": 1}, {"sip_uri": "sip:3@a.b", "gab_listed": true}]}"#;
        let read: OwnNumbers = serde_json::from_str(body).unwrap();
        let flags: Vec<_> = read.numbers.iter().map(|n| (is_set(&n.gab_listed), is_set(&n.pstn))).collect();
        assert_eq!(flags, [(true, false), (false, true), (true, false)]);
    }

    #[test]
    fn paths_are_encoded() {
        let identity = PublicIdentity::of("650", "a.b").unwrap();
        assert_eq!(number("x+y@z", &identity), "/accounts/x%2By%40z/numbers/sip%3A650%40a.b");
    }
}
