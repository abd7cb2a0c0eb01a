//! One phone: a line, a way to the proxy, and what it sends and is sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ezk_sip_core::Request;
use ezk_sip_types::{Method, Name};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::leg::Leg;
use crate::line::{Line, Received};
use crate::transcript::Transcript;
use crate::way::Way;
use crate::{Account, Reply, SipError};

/// A phone.
pub struct Phone {
    line: Arc<Line>,
    others: mpsc::UnboundedReceiver<Received>,
    /// All registrations of one phone are of one Call-ID and one row of numbers (RFC 3261 §10.2).
    registration: Leg,
}

impl Phone {
    /// A phone that is connected and has said nothing yet.
    pub async fn open(account: Account, way: Way) -> Result<Self, SipError> {
        let (line, others) = Line::open(account, way).await?;
        let registration = Leg::new(&line.account.public_identity, &line.account.public_identity);
        Ok(Self { line: Arc::new(line), others, registration })
    }

    /// The line that it speaks for.
    pub fn account(&self) -> &Account {
        &self.line.account
    }

    /// What it sent and was sent until now.
    pub fn transcript(&self) -> &Transcript {
        &self.line.transcript
    }

    pub(crate) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Asks the proxy what it can do: OPTIONS for the proxy itself.
    pub async fn options(&self, within: Duration) -> Result<Reply, SipError> {
        let target = format!("sip:{}", self.line.proxy);
        let mut leg = Leg::new(&self.line.account.public_identity, &target);
        self.line.ask(&mut leg, Method::OPTIONS, &target, |_| {}, within).await
    }

    /// Registers its address for so many seconds; 0 takes the registration back. Answers a challenge.
    pub async fn register(&mut self, seconds: u32, within: Duration) -> Result<Reply, SipError> {
        let line = Arc::clone(&self.line);
        let (target, own) = line.binding(line.contact(), seconds);
        let able = |request: &mut Request| {
            own(request);
            request.headers.insert(Name::SUPPORTED, "path");
        };
        let reply = line.ask_with_password(&mut self.registration, Method::REGISTER, &target, able, within).await?;
        if reply.code == 200 {
            *line.service_route.lock() = reply.headers.get(Name::unknown("Service-Route".into())).unwrap_or_default();
        }
        Ok(reply)
    }

    /// Takes back every registration of the line, this phone's or another's (RFC 3261 §10.2.2).
    pub(crate) async fn unregister_all(&mut self, within: Duration) -> Result<Reply, SipError> {
        let line = Arc::clone(&self.line);
        let (target, own) = line.binding("*", 0);
        line.ask_with_password(&mut self.registration, Method::REGISTER, &target, own, within).await
    }

    /// Registers without a password, and tells the challenge.
    pub async fn challenge(&mut self, within: Duration) -> Result<Reply, SipError> {
        let line = Arc::clone(&self.line);
        let (target, own) = line.binding(line.contact(), 300);
        let introduced = |request: &mut Request| {
            own(request);
            line.introduce(request);
        };
        line.ask(&mut self.registration, Method::REGISTER, &target, introduced, within).await
    }

    /// Sends a text.
    pub async fn message(&self, to: &str, text: &str, within: Duration) -> Result<Reply, SipError> {
        let mut leg = Leg::new(&self.line.account.public_identity, to);
        let own = |request: &mut Request| {
            self.line.by_service_route(request);
            request.headers.insert(Name::CONTENT_TYPE, "text/plain;charset=UTF-8");
            request.body = text.as_bytes().to_vec().into();
        };
        self.line.ask_with_password(&mut leg, Method::MESSAGE, to, own, within).await
    }

    /// The next request that comes in and belongs to no call yet.
    pub(crate) async fn next(&mut self, within: Duration) -> Result<Received, SipError> {
        match timeout(within, self.others.recv()).await {
            Ok(Some(received)) => Ok(received),
            Ok(None) => Err(SipError::protocol("the phone was switched off")),
            Err(_) => Err(SipError::Silence { awaited: "a request".to_owned(), within }),
        }
    }

    /// Waits for a text, answers it, and tells who sent what. Other requests are refused meanwhile.
    pub async fn read_message(&mut self, within: Duration) -> Result<(String, String), SipError> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut received = self.next(left).await.map_err(|e| e.awaiting("MESSAGE", within))?;
            let is_message = received.request.line.method == Method::MESSAGE;
            let from = crate::uri_of(&received.request.base_headers.from);
            let text = String::from_utf8_lossy(&received.request.body).into_owned();
            self.line.answer(&mut received, if is_message { 200 } else { 405 }).await?;
            if is_message {
                return Ok((from, text));
            }
        }
    }
}
