//! A call, from the INVITE to the BYE (RFC 3261 §12 to §15).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ezk_sip_core::transaction::{ClientInvTsx, ServerInvTsx, consts};
use ezk_sip_core::{IncomingRequest, Request};
use ezk_sip_types::header::typed::{Contact, FromTo, Routing, Via};
use ezk_sip_types::uri::SipUri;
use ezk_sip_types::{Method, Name, StatusCode};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::SipError;
use crate::leg::{Leg, token};
use crate::line::{Line, Received};
use crate::phone::Phone;
use crate::reply::{Reply, written};
use crate::transcript::Heading;

const SDP: &str = "application/sdp";

/// A dialog, whoever began it.
struct Dialog {
    line: Arc<Line>,
    leg: Leg,
    /// The other end's Contact.
    target: SipUri,
    routes: Vec<Routing>,
    heard: mpsc::UnboundedReceiver<Received>,
    /// A BYE that overtook the ACK: the call was up, and is over.
    overtook: Option<Box<Received>>,
}

impl Drop for Dialog {
    fn drop(&mut self) {
        self.line.forget(&self.leg.call_id);
    }
}

/// A call that was begun here and is not answered yet.
pub struct Invitation {
    line: Arc<Line>,
    leg: Leg,
    transaction: ClientInvTsx,
    began: Instant,
    heard: Option<mpsc::UnboundedReceiver<Received>>,
}

impl Drop for Invitation {
    fn drop(&mut self) {
        if self.heard.is_some() {
            self.line.forget(&self.leg.call_id);
        }
    }
}

/// A call that comes in and is not answered yet.
pub struct Ringing {
    line: Arc<Line>,
    request: IncomingRequest,
    transaction: Option<ServerInvTsx>,
    tag: String,
    heard: Option<mpsc::UnboundedReceiver<Received>>,
}

/// A call that is up.
pub struct Call {
    dialog: Dialog,
    /// What the other end said of its media when the call came up, or was changed last.
    remote_media: Bytes,
}

impl Phone {
    /// Calls somebody. `media` is a session description (RFC 8866).
    pub async fn invite(&self, to: &str, media: &str) -> Result<Invitation, SipError> {
        let line = Arc::clone(self.line());
        let mut leg = Leg::new(&line.account.public_identity, to);
        let heard = line.listen(&leg.call_id);
        let mut request = leg.request(&Method::INVITE, crate::uri(to)?);
        line.by_service_route(&mut request);
        with_media(&mut request, &line, media);
        line.transcript.add(Heading::Sent, &leg.call_id, "INVITE");
        let began = Instant::now();
        let transaction = line.endpoint.send_invite(request, &mut line.target()).await?;
        Ok(Invitation { line, leg, transaction, began, heard: Some(heard) })
    }

    /// Waits for a call. Other requests are refused meanwhile.
    pub async fn called(&mut self, within: Duration) -> Result<Ringing, SipError> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut received = self.next(left).await.map_err(|e| e.awaiting("INVITE", within))?;
            if received.request.line.method != Method::INVITE {
                self.line().answer(&mut received, 405).await?;
                continue;
            }
            let Received { endpoint, mut request } = received;
            let line = Arc::clone(self.line());
            let heard = line.listen(request.base_headers.call_id.0.as_str());
            let transaction = endpoint.create_server_inv_tsx(&mut request);
            return Ok(Ringing { line, request, transaction: Some(transaction), tag: token(), heard: Some(heard) });
        }
    }
}

fn with_media(request: &mut Request, line: &Line, media: &str) {
    request.headers.insert(Name::CONTACT, line.contact());
    request.headers.insert(Name::CONTENT_TYPE, SDP);
    request.body = media.as_bytes().to_vec().into();
}

impl Invitation {
    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        &self.leg.call_id
    }

    /// The next answer that is not 100, which says nothing.
    pub async fn reply(&mut self, within: Duration) -> Result<Reply, SipError> {
        let waiting = async {
            loop {
                let response = self.transaction.receive().await?;
                let Some(response) = response else {
                    return Err(SipError::protocol("the INVITE is over"));
                };
                let reply = self.line.reply("INVITE", response, self.began);
                if reply.code != 100 {
                    return Ok(reply);
                }
            }
        };
        let late = || SipError::Silence { awaited: "an answer to INVITE".to_owned(), within };
        match timeout(within, waiting).await {
            Err(_) | Ok(Err(SipError::Silence { .. })) => Err(late()),
            Ok(reply) => reply,
        }
    }

    /// The answer that ends the waiting; those before it are passed over.
    pub async fn outcome(&mut self, within: Duration) -> Result<Reply, SipError> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let reply = self.reply(left).await.map_err(|e| e.awaiting("a final answer to INVITE", within))?;
            if reply.is_final() {
                return Ok(reply);
            }
        }
    }

    /// Hangs up while it rings. The CANCEL is of the INVITE's own transaction (RFC 3261 §9.1), so it is made here: the
    /// stack would give it a branch of its own. What comes of it is the INVITE's outcome, 487.
    pub async fn cancel(&mut self) -> Result<(), SipError> {
        let invite = &self.transaction.request().msg;
        let mut cancel = Request::new(Method::CANCEL, invite.line.uri.clone());
        let via: Vec<Via> = invite.headers.get_named()?;
        if let Some(first) = via.first() {
            cancel.headers.insert_named(first);
        }
        for name in [Name::ROUTE, Name::FROM, Name::TO, Name::CALL_ID] {
            // A Route is there only where one is needed.
            let _ = invite.headers.clone_into(&mut cancel.headers, name);
        }
        cancel.headers.insert(Name::CSEQ, format!("{} CANCEL", self.leg.number));
        cancel.headers.insert(Name::MAX_FORWARDS, 70);
        self.line.send_alone(cancel, &self.leg.call_id).await
    }

    /// Takes up a call that was answered with 200: sends the ACK.
    pub async fn confirm(mut self, reply: &Reply) -> Result<Call, SipError> {
        let heard = self.heard.take().ok_or_else(|| SipError::protocol("the call is over"))?;
        let contacts: Vec<Contact> = reply.headers.get(Name::CONTACT)?;
        let contact = contacts.into_iter().next().ok_or_else(|| SipError::protocol("200 without Contact"))?;
        let mut routes: Vec<Routing> = reply.headers.get(Name::RECORD_ROUTE).unwrap_or_default();
        routes.reverse();
        let leg = Leg { remote: written(&reply.remote), ..self.leg.clone() };
        let dialog =
            Dialog { line: Arc::clone(&self.line), leg, target: contact.uri.uri, routes, heard, overtook: None };
        let call = Call { dialog, remote_media: reply.body.clone() };
        call.dialog.acknowledge().await?;
        Ok(call)
    }
}

impl Ringing {
    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        self.request.base_headers.call_id.0.as_str()
    }

    /// Who calls.
    pub fn from(&self) -> String {
        crate::uri_of(&self.request.base_headers.from)
    }

    /// The caller's session description.
    pub fn media(&self) -> &[u8] {
        &self.request.body
    }

    fn response(&self, code: u16) -> ezk_sip_core::transport::OutgoingResponse {
        self.line.transcript.add(Heading::Sent, self.call_id(), &format!("{code} (INVITE)"));
        let mut response = self.line.endpoint.create_response(&self.request, StatusCode::from(code), None);
        let to = written_with(&self.request.base_headers.to, &self.tag);
        response.msg.headers.remove(&Name::TO);
        response.msg.headers.insert(Name::TO, to);
        let _ = self.request.headers.clone_into(&mut response.msg.headers, Name::RECORD_ROUTE);
        response.msg.headers.insert(Name::CONTACT, self.line.contact());
        response
    }

    fn over() -> SipError {
        SipError::protocol("the call is over")
    }

    /// Rings: 180.
    pub async fn ring(&mut self) -> Result<(), SipError> {
        let mut response = self.response(180);
        let transaction = self.transaction.as_mut().ok_or_else(Self::over)?;
        Ok(transaction.respond_provisional(&mut response).await?)
    }

    /// Refuses the call and waits for the ACK.
    pub async fn reject(mut self, code: u16, within: Duration) -> Result<(), SipError> {
        let response = self.response(code);
        let transaction = self.transaction.take().ok_or_else(Self::over)?;
        let late = || SipError::Silence { awaited: format!("ACK of {code}"), within };
        timeout(within, transaction.respond_failure(response)).await.map_err(|_| late())??;
        Ok(())
    }

    /// Waits until the caller hangs up before an answer, and answers both of its requests (RFC 3261 §9.2).
    pub async fn cancelled(mut self, within: Duration) -> Result<(), SipError> {
        let until = Instant::now() + within;
        let heard = self.heard.as_mut().ok_or_else(Self::over)?;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let late = || SipError::Silence { awaited: "CANCEL".to_owned(), within };
            let mut received = timeout(left, heard.recv()).await.map_err(|_| late())?.ok_or_else(Self::over)?;
            let cancels = received.request.line.method == Method::CANCEL;
            self.line.answer(&mut received, if cancels { 200 } else { 405 }).await?;
            if cancels {
                return self.reject(487, within).await;
            }
        }
    }

    /// Answers the call and waits for the ACK; over UDP the answer is sent again until that comes (RFC 3261 §13.3.1.4).
    pub async fn answer(mut self, media: &str, within: Duration) -> Result<Call, SipError> {
        let mut response = self.response(200);
        response.msg.headers.insert(Name::CONTENT_TYPE, SDP);
        response.msg.body = media.as_bytes().to_vec().into();
        let transaction = self.transaction.take().ok_or_else(Self::over)?;
        let mut accepted = transaction.respond_success(response).await?;
        let heard = self.heard.take().ok_or_else(Self::over)?;
        let contacts: Vec<Contact> = self.request.headers.get(Name::CONTACT)?;
        let contact = contacts.into_iter().next().ok_or_else(|| SipError::protocol("INVITE without Contact"))?;
        let leg = Leg {
            call_id: self.call_id().to_owned(),
            local: written_with(&self.request.base_headers.to, &self.tag),
            remote: written(&self.request.base_headers.from),
            number: 0,
        };
        let routes: Vec<Routing> = self.request.headers.get(Name::RECORD_ROUTE).unwrap_or_default();
        let mut dialog =
            Dialog { line: Arc::clone(&self.line), leg, target: contact.uri.uri, routes, heard, overtook: None };
        let until = Instant::now() + within;
        let mut pause = consts::T1;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(SipError::Silence { awaited: "ACK of 200".to_owned(), within });
            }
            match timeout(pause.min(left), dialog.heard.recv()).await {
                Ok(Some(received)) if received.request.line.method == Method::ACK => break,
                // A proxy hands on what comes at once by several hands. Who hangs up has had the answer.
                Ok(Some(received)) if received.request.line.method == Method::BYE => {
                    dialog.overtook = Some(Box::new(received));
                    break;
                }
                Ok(Some(mut received)) => dialog.line.answer(&mut received, 405).await?,
                Ok(None) => return Err(Self::over()),
                Err(_) => {
                    accepted.retransmit().await?;
                    pause = (pause * 2).min(consts::T2);
                }
            }
        }
        let remote_media = self.request.body.clone();
        Ok(Call { dialog, remote_media })
    }
}

impl Call {
    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        &self.dialog.leg.call_id
    }

    /// What the other end says of its media.
    pub fn remote_media(&self) -> &[u8] {
        &self.remote_media
    }

    /// Changes the media of the call: an INVITE within it.
    pub async fn change(&mut self, media: &str, within: Duration) -> Result<Reply, SipError> {
        let dialog = &mut self.dialog;
        let mut request = dialog.request(&Method::INVITE);
        with_media(&mut request, &dialog.line, media);
        dialog.line.transcript.add(Heading::Sent, &dialog.leg.call_id, "INVITE");
        let began = Instant::now();
        let late = || SipError::Silence { awaited: "an answer to INVITE".to_owned(), within };
        let asking = async {
            let mut transaction = dialog.line.endpoint.send_invite(request, &mut dialog.line.target()).await?;
            loop {
                let response = transaction.receive().await?;
                let response = response.ok_or_else(|| SipError::protocol("the INVITE is over"))?;
                let reply = dialog.line.reply("INVITE", response, began);
                if reply.is_final() {
                    return Ok::<_, SipError>(reply);
                }
            }
        };
        let reply = timeout(within, asking).await.map_err(|_| late())??;
        if reply.code < 300 {
            dialog.acknowledge().await?;
            self.remote_media = reply.body.clone();
        }
        Ok(reply)
    }

    /// Waits for a change of the call's media, agrees with `media`, and tells what the other end wished.
    pub async fn changed(&mut self, media: &str, within: Duration) -> Result<Vec<u8>, SipError> {
        let mut received = self.dialog.awaited(&Method::INVITE, within).await?;
        let wished = received.request.body.to_vec();
        let transaction = received.endpoint.create_server_inv_tsx(&mut received.request);
        let line = &self.dialog.line;
        line.transcript.add(Heading::Sent, &self.dialog.leg.call_id, "200 (INVITE)");
        let mut response = line.endpoint.create_response(&received.request, StatusCode::OK, None);
        let _ = received.request.headers.clone_into(&mut response.msg.headers, Name::RECORD_ROUTE);
        response.msg.headers.insert(Name::CONTACT, line.contact());
        response.msg.headers.insert(Name::CONTENT_TYPE, SDP);
        response.msg.body = media.as_bytes().to_vec().into();
        let accepted = transaction.respond_success(response).await?;
        let acknowledged = self.dialog.awaited(&Method::ACK, within).await;
        drop(accepted);
        acknowledged?;
        self.remote_media = wished.clone().into();
        Ok(wished)
    }

    /// Hangs up.
    pub async fn hang_up(mut self, within: Duration) -> Result<Reply, SipError> {
        let request = self.dialog.request(&Method::BYE);
        self.dialog.line.ask_prepared(request, &self.dialog.leg.call_id, within).await
    }

    /// Waits until the other end hangs up.
    pub async fn hung_up(mut self, within: Duration) -> Result<(), SipError> {
        let mut received = self.dialog.awaited(&Method::BYE, within).await?;
        self.dialog.line.answer(&mut received, 200).await
    }
}

impl Dialog {
    fn request(&mut self, method: &Method) -> Request {
        let mut request = self.leg.request(method, self.target.clone());
        if !self.routes.is_empty() {
            request.headers.insert_type(Name::ROUTE, &self.routes);
        }
        request
    }

    /// Sends the ACK of a 2xx, which is a request of its own with the INVITE's number (RFC 3261 §13.2.2.4).
    async fn acknowledge(&self) -> Result<(), SipError> {
        let mut leg = Leg { number: self.leg.number - 1, ..self.leg.clone() };
        let mut request = leg.request(&Method::ACK, self.target.clone());
        if !self.routes.is_empty() {
            request.headers.insert_type(Name::ROUTE, &self.routes);
        }
        let branch = format!("{}{}", consts::RFC3261_BRANCH_PREFIX, token());
        request.headers.insert_named_front(&self.line.via(&branch));
        self.line.send_alone(request, &self.leg.call_id).await
    }

    /// The next request of that kind. A repeated ACK is passed over, others are refused.
    async fn awaited(&mut self, method: &Method, within: Duration) -> Result<Received, SipError> {
        let until = Instant::now() + within;
        if let Some(early) = self.overtook.take_if(|early| early.request.line.method == *method) {
            return Ok(*early);
        }
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let late = || SipError::Silence { awaited: method.to_string(), within };
            let received = timeout(left, self.heard.recv()).await.map_err(|_| late())?;
            let mut received = received.ok_or_else(Ringing::over)?;
            if received.request.line.method == *method {
                return Ok(received);
            }
            self.line.answer(&mut received, 405).await?;
        }
    }
}

fn written_with(header: &FromTo, tag: &str) -> String {
    written(&FromTo { tag: Some(tag.into()), ..header.clone() })
}
