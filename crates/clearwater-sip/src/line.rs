//! A phone's line: what the phone and its calls share, and how requests are sent, proved and heard on it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ezk_sip_auth::{
    ClientAuthenticator, DigestAuthenticator, DigestCredentials, DigestUser, RequestParts, ResponseParts,
};
use ezk_sip_core::transaction::TsxResponse;
use ezk_sip_core::transport::{TargetTransportInfo, TpHandle};
use ezk_sip_core::{Endpoint, IncomingRequest, Layer, MayTake, Request};
use ezk_sip_types::header::typed::{Routing, Via};
use ezk_sip_types::host::HostPort;
use ezk_sip_types::uri::SipUri;
use ezk_sip_types::{CodeKind, Headers, Method, Name, StatusCode};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::leg::Leg;
use crate::transcript::{Heading, Transcript};
use crate::way::{Way, towards};
use crate::{Account, Reply, SipError, Transport};

/// A request from the network, with what is needed to answer it.
pub(crate) struct Received {
    pub(crate) endpoint: Endpoint,
    pub(crate) request: IncomingRequest,
}

/// Who hears what of the requests that come in: a call those of its Call-ID, the phone the others.
struct Ear {
    calls: Arc<Mutex<HashMap<String, mpsc::UnboundedSender<Received>>>>,
    others: mpsc::UnboundedSender<Received>,
    transcript: Transcript,
}

#[async_trait::async_trait]
impl Layer for Ear {
    fn name(&self) -> &'static str {
        "ear"
    }

    async fn receive(&self, endpoint: &Endpoint, request: MayTake<'_, IncomingRequest>) {
        let request = request.take();
        let call_id = request.base_headers.call_id.0.to_string();
        self.transcript.add(Heading::Received, &call_id, &request.line.method.to_string());
        let known = self.calls.lock().get(&call_id).cloned();
        // Where nobody listens any more, the message is dropped as by a phone that was switched off.
        let _ = known.as_ref().unwrap_or(&self.others).send(Received { endpoint: endpoint.clone(), request });
    }
}

/// What a phone and its calls share.
pub(crate) struct Line {
    pub(crate) account: Account,
    pub(crate) endpoint: Endpoint,
    transport: TpHandle,
    pub(crate) proxy: SocketAddr,
    target: TargetTransportInfo,
    contact: String,
    calls: Arc<Mutex<HashMap<String, mpsc::UnboundedSender<Received>>>>,
    credentials: DigestCredentials,
    pub(crate) service_route: Mutex<Vec<Routing>>,
    pub(crate) transcript: Transcript,
}

impl Line {
    /// A line that is connected and has said nothing yet, with the requests that come in and belong to no call.
    pub(crate) async fn open(
        account: Account,
        way: Way,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Received>), SipError> {
        let (others, heard) = mpsc::unbounded_channel();
        let calls = Arc::default();
        let transcript = Transcript::new(&account.number);
        let mut builder = Endpoint::builder();
        builder.user_agent(concat!("clearwater-sip/", env!("CARGO_PKG_VERSION")));
        // Addresses are known here; without this the stack would read the machine's resolver settings, and panic where
        // there are none.
        let resolver = TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default())
            .build()
            .map_err(SipError::protocol)?;
        builder.set_dns_resolver(resolver);
        builder.add_layer(Ear { calls: Arc::clone(&calls), others, transcript: transcript.clone() });
        let allowed = [Method::INVITE, Method::ACK, Method::BYE, Method::CANCEL, Method::OPTIONS, Method::MESSAGE];
        for method in allowed.into_iter().chain([Method::NOTIFY]) {
            builder.add_allow(method);
        }
        let next = way.tunnel.map_or(way.proxy, |tunnel| tunnel.near);
        let (endpoint, transport) = match way.transport {
            Transport::Udp => {
                let transport = builder.bind_udp(SocketAddr::new(towards(next).await?, 0)).await?;
                (builder.build(), transport)
            }
            Transport::Tcp => {
                let endpoint = builder.build();
                let uri = SipUri::new(next.into()).uri_param_value("transport", "tcp");
                let (transport, _) = endpoint.select_transport(&uri).await.map_err(SipError::from)?;
                (endpoint, transport)
            }
        };
        let seen = way.tunnel.map_or_else(|| transport.bound(), |tunnel| tunnel.far);
        let target = TargetTransportInfo {
            via_host_port: Some(HostPort::from(seen)),
            transport: Some((transport.clone(), next)),
        };
        let mut credentials = DigestCredentials::new();
        credentials.set_default(DigestUser::new(account.private_identity.clone(), account.password.clone()));
        let contact = format!("<sip:{}@{seen};transport={}>", account.number, way.transport);
        let line = Self {
            endpoint,
            transport,
            proxy: way.proxy,
            target,
            contact,
            calls,
            credentials,
            service_route: Mutex::default(),
            transcript,
            account,
        };
        Ok((line, heard))
    }

    /// Where a REGISTER goes, and what it says of its own: an address, or `*` for all, and for how many seconds.
    pub(crate) fn binding<'a>(&self, contact: &'a str, seconds: u32) -> (String, impl Fn(&mut Request) + use<'a>) {
        let own = move |request: &mut Request| {
            request.headers.insert(Name::CONTACT, contact);
            request.headers.insert(Name::EXPIRES, seconds);
        };
        (format!("sip:{}", self.account.domain()), own)
    }

    pub(crate) fn contact(&self) -> &str {
        &self.contact
    }

    pub(crate) fn target(&self) -> TargetTransportInfo {
        self.target.clone()
    }

    /// Puts the way that the registrar told (RFC 3608) on a request that begins something.
    pub(crate) fn by_service_route(&self, request: &mut Request) {
        let routes = self.service_route.lock();
        if !routes.is_empty() {
            request.headers.insert_type(Name::ROUTE, &*routes);
        }
    }

    /// From now on the requests with this Call-ID go to the call.
    pub(crate) fn listen(&self, call_id: &str) -> mpsc::UnboundedReceiver<Received> {
        let (call, heard) = mpsc::unbounded_channel();
        self.calls.lock().insert(call_id.to_owned(), call);
        heard
    }

    pub(crate) fn forget(&self, call_id: &str) {
        self.calls.lock().remove(call_id);
    }

    /// Sends a request that is no INVITE and waits for its final answer.
    pub(crate) async fn ask(
        &self,
        leg: &mut Leg,
        method: Method,
        target: &str,
        own: impl FnOnce(&mut Request),
        within: Duration,
    ) -> Result<Reply, SipError> {
        let uri = crate::uri(target)?;
        let mut request = leg.request(&method, uri);
        own(&mut request);
        self.exchange(request, &leg.call_id, within).await.map(|(_, reply)| reply)
    }

    /// The same, and once more with the password where that is asked for.
    pub(crate) async fn ask_with_password(
        &self,
        leg: &mut Leg,
        method: Method,
        target: &str,
        own: impl Fn(&mut Request),
        within: Duration,
    ) -> Result<Reply, SipError> {
        let uri = crate::uri(target)?;
        let mut request = leg.request(&method, uri.clone());
        own(&mut request);
        if method == Method::REGISTER {
            self.introduce(&mut request);
        }
        let (sent, reply) = self.exchange(request, &leg.call_id, within).await?;
        if !matches!(reply.code, 401 | 407) {
            return Ok(reply);
        }
        let mut request = leg.request(&method, uri);
        own(&mut request);
        {
            // Each request is sent without an answer first, so that a challenge like the one before, as registrars without
            // nonces of one use give within a second, says nothing of the answer to that.
            let mut authenticator = DigestAuthenticator::new(self.credentials.clone());
            let line = ezk_sip_types::msg::StatusLine { code: reply.code.into(), reason: None };
            let asked = RequestParts { line: &sent.line, headers: &sent.headers, body: &sent.body };
            let refused = ResponseParts { line: &line, headers: &reply.headers, body: &reply.body };
            authenticator
                .handle_rejection(asked, refused)
                .map_err(|e| SipError::protocol(format!("the challenge cannot be answered: {e}")))?;
            authenticator.authorize_request(&mut request.headers);
        }
        plain_user_name(&mut request.headers, &self.account.private_identity);
        let (_, again) = self.exchange(request, &leg.call_id, within).await?;
        Ok(Reply { after: reply.after + again.after, ..again })
    }

    /// Says on a first REGISTER which private identity registers, where the public one does not tell it (3GPP TS 24.229
    /// §5.1.1.2.2).
    pub(crate) fn introduce(&self, request: &mut Request) {
        let (account, own) = (&self.account, &self.account.private_identity);
        if account.public_identity.strip_prefix("sip:") != Some(own) {
            let (name, domain) = (quoted(own), account.domain());
            let value =
                format!("Digest username={name}, realm=\"{domain}\", nonce=\"\", uri=\"sip:{domain}\", response=\"\"");
            request.headers.insert(Name::AUTHORIZATION, value);
        }
    }

    /// Sends a request that is no INVITE and waits for its final answer.
    pub(crate) async fn ask_prepared(
        &self,
        request: Request,
        call_id: &str,
        within: Duration,
    ) -> Result<Reply, SipError> {
        self.exchange(request, call_id, within).await.map(|(_, reply)| reply)
    }

    /// Sends a request for which no answer is waited here: an ACK, or a CANCEL, whose Via is its own already.
    pub(crate) async fn send_alone(&self, request: Request, call_id: &str) -> Result<(), SipError> {
        self.transcript.add(Heading::Sent, call_id, &request.line.method.to_string());
        let mut outgoing = self.endpoint.create_outgoing(request, &mut self.target()).await?;
        Ok(self.endpoint.send_outgoing_request(&mut outgoing).await?)
    }

    /// The Via of a request that is sent alone.
    pub(crate) fn via(&self, branch: &str) -> Via {
        let by = self.target.via_host_port.clone().unwrap_or_else(|| self.transport.bound().into());
        Via::new(if self.transport.is_udp() { "UDP" } else { "TCP" }, by, branch.to_owned())
    }

    async fn exchange(&self, request: Request, call_id: &str, within: Duration) -> Result<(Request, Reply), SipError> {
        let method = request.line.method.to_string();
        self.transcript.add(Heading::Sent, call_id, &method);
        let began = Instant::now();
        let asking = async {
            let mut transaction = self.endpoint.send_request(request, &mut self.target()).await?;
            let response = transaction.receive_final().await?;
            Ok::<_, ezk_sip_core::Error>((transaction.request().msg.clone(), response))
        };
        match timeout(within, asking).await {
            Err(_) | Ok(Err(ezk_sip_core::Error::RequestTimedOut)) => {
                Err(SipError::Silence { awaited: format!("an answer to {method}"), within })
            }
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok((sent, response))) => Ok((sent, self.reply(&method, response, began))),
        }
    }

    /// Makes a reply of a response, and writes it down.
    pub(crate) fn reply(&self, method: &str, response: TsxResponse, began: Instant) -> Reply {
        let code = response.line.code.into_u16();
        let reason = response.line.reason.map(|r| r.to_string()).unwrap_or_default();
        let call_id = response.base_headers.call_id.0.to_string();
        self.transcript.add(Heading::Received, &call_id, &format!("{code} {reason} ({method})"));
        Reply {
            code,
            reason,
            headers: response.headers,
            body: response.body,
            remote: response.base_headers.to,
            after: began.elapsed(),
        }
    }

    /// Answers a request that is no INVITE.
    pub(crate) async fn answer(&self, received: &mut Received, code: u16) -> Result<(), SipError> {
        let Received { endpoint, request } = received;
        let call_id = request.base_headers.call_id.0.to_string();
        let method = request.line.method.to_string();
        if matches!(request.line.method, Method::ACK) {
            return Ok(());
        }
        let code = StatusCode::from(code);
        self.transcript.add(Heading::Sent, &call_id, &format!("{} ({method})", code.into_u16()));
        let response = endpoint.create_response(request, code, None);
        if request.line.method == Method::INVITE {
            debug_assert!(
                !matches!(code.kind(), CodeKind::Provisional | CodeKind::Success),
                "a call is answered as one"
            );
            let transaction = endpoint.create_server_inv_tsx(request);
            // It waits for the ACK, which is of no interest here.
            tokio::spawn(transaction.respond_failure(response));
            return Ok(());
        }
        endpoint.create_server_tsx(request).respond(response).await.map_err(SipError::from)
    }
}

/// A quoted string (RFC 3261 §25.1).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writes the user name as RFC 3261 §25.1 has it. The stack writes each name with an `@` in the extended form of RFC 7616
/// §3.4, which that keeps for names that do not fit into a quoted string, and which SIP servers do not know.
fn plain_user_name(headers: &mut Headers, name: &str) {
    for header in [Name::AUTHORIZATION, Name::PROXY_AUTHORIZATION] {
        for value in headers.remove(&header).unwrap_or_default() {
            let value = value.as_str();
            let plain = value.split_once("username*=").and_then(|(before, after)| {
                let (_, after) = after.split_once(',')?;
                Some(format!("{before}username={},{after}", quoted(name)))
            });
            headers.insert(header.clone(), plain.as_deref().unwrap_or(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_quoted_as_sip_has_it() {
        let mut headers = Headers::new();
        headers.insert(Name::AUTHORIZATION, "Digest username*=UTF-8''1%40c, realm=\"c\"");
        plain_user_name(&mut headers, "1@c");
        let values: Vec<&str> = headers.get_raw(&Name::AUTHORIZATION).map(AsRef::as_ref).collect();
        assert_eq!(values, ["Digest username=\"1@c\", realm=\"c\""]);
        plain_user_name(&mut headers, "1@c");
        assert_eq!(headers.get_raw(&Name::AUTHORIZATION).count(), 1);
    }
}
