//! A subscription to a registration (RFC 3680, RFC 6665): the registrar tells each change of it with a NOTIFY.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ezk_sip_core::Request;
use ezk_sip_types::header::typed::{Contact, Routing};
use ezk_sip_types::print::AppendCtx;
use ezk_sip_types::{Method, Name};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::SipError;
use crate::leg::Leg;
use crate::line::{Line, Received};
use crate::phone::Phone;
use crate::reply::{Reply, written};

/// The document that tells of a registration.
const REGINFO: &str = "application/reginfo+xml";

/// A subscription that was asked for, or is going on.
pub struct Subscription {
    line: Arc<Line>,
    leg: Leg,
    target: String,
    routes: Vec<Routing>,
    heard: mpsc::UnboundedReceiver<Received>,
}

/// What a registrar has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationNotice {
    /// The value of Subscription-State, as `active;expires=60`.
    pub state: String,
    /// The number of the request: later notices have greater ones.
    pub number: u32,
    /// The document, as it came.
    pub document: String,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.line.forget(&self.leg.call_id);
    }
}

impl Phone {
    /// A subscription to the registration of an identity. Nothing is sent yet.
    pub fn subscription(&self, identity: &str) -> Subscription {
        let line = Arc::clone(self.line());
        let leg = Leg::new(&line.account.public_identity, identity);
        // The first NOTIFY may overtake the answer.
        let heard = line.listen(&leg.call_id);
        Subscription { line, leg, target: identity.to_owned(), routes: Vec::new(), heard }
    }
}

impl Subscription {
    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        &self.leg.call_id
    }

    /// Asks for so many seconds: begins it, or goes on with it; 0 ends it.
    pub async fn ask(&mut self, seconds: u32, within: Duration) -> Result<Reply, SipError> {
        let line = Arc::clone(&self.line);
        let routes = self.routes.clone();
        let own = |request: &mut Request| {
            if routes.is_empty() {
                line.by_service_route(request);
            } else {
                request.headers.insert_type(Name::ROUTE, &routes);
            }
            request.headers.insert(Name::CONTACT, line.contact());
            request.headers.insert(Name::EVENT, "reg");
            request.headers.insert(Name::ACCEPT, REGINFO);
            request.headers.insert(Name::EXPIRES, seconds);
        };
        let target = self.target.clone();
        let reply = line.ask_with_password(&mut self.leg, Method::SUBSCRIBE, &target, own, within).await?;
        if reply.code() == 200 && self.routes.is_empty() {
            self.leg.remote = written(&reply.remote);
            self.routes = reply.headers.get(Name::RECORD_ROUTE).unwrap_or_default();
            self.routes.reverse();
        }
        Ok(reply)
    }

    /// The next NOTIFY, which is answered. Other requests are refused meanwhile.
    pub async fn notice(&mut self, within: Duration) -> Result<RegistrationNotice, SipError> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let late = || SipError::Silence { awaited: "NOTIFY".to_owned(), within };
            let over = || SipError::protocol("the phone was switched off");
            let mut received = timeout(left, self.heard.recv()).await.map_err(|_| late())?.ok_or_else(over)?;
            let is_notice = received.request.line.method == Method::NOTIFY;
            let headers = &received.request.headers;
            let first = |name: Name| headers.get_raw(&name).next().map(|v| v.as_str().to_owned()).unwrap_or_default();
            let (state, kind) = (first(Name::SUBSCRIPTION_STATE), first(Name::CONTENT_TYPE));
            let contacts: Vec<Contact> = headers.get(Name::CONTACT).unwrap_or_default();
            let number = received.request.base_headers.cseq.cseq;
            let document = String::from_utf8_lossy(&received.request.body).into_owned();
            self.line.answer(&mut received, if is_notice { 200 } else { 405 }).await?;
            if !is_notice {
                continue;
            }
            if !kind.starts_with(REGINFO) {
                return Err(SipError::protocol(format!("NOTIFY carries {kind:?}, not {REGINFO}")));
            }
            // Where the next request of the dialog goes (RFC 6665 §4.4.1).
            if let Some(contact) = contacts.into_iter().next() {
                self.target = contact.uri.uri.default_print_ctx().to_string();
            }
            return Ok(RegistrationNotice { state, number, document });
        }
    }
}
