//! One phone: a line, a way to the proxy, and what it sends and is sent.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
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
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::transcript::{Heading, Transcript};
use crate::{Account, Reply, SipError, Transport};

/// How a phone reaches the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// How its messages travel.
    pub transport: Transport,
    /// The proxy.
    pub proxy: SocketAddr,
    /// What carries them there, where the proxy is not reached from this machine itself.
    pub tunnel: Option<Ends>,
}

/// The ends of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where messages are sent to instead of to the proxy.
    pub near: SocketAddr,
    /// Where the proxy sees them come from.
    pub far: SocketAddr,
}

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
    proxy: SocketAddr,
    target: TargetTransportInfo,
    contact: String,
    calls: Arc<Mutex<HashMap<String, mpsc::UnboundedSender<Received>>>>,
    authenticator: Mutex<DigestAuthenticator>,
    service_route: Mutex<Vec<Routing>>,
    pub(crate) transcript: Transcript,
}

/// A phone.
pub struct Phone {
    line: Arc<Line>,
    others: mpsc::UnboundedReceiver<Received>,
    /// All registrations of one phone are of one Call-ID and one row of numbers (RFC 3261 §10.2).
    registration: Leg,
}

/// What the requests of one dialog, or of one registration, have in common.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    pub(crate) call_id: String,
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) number: u32,
}

impl Leg {
    /// From `local` to `remote`, both URIs; the first request will be number 1.
    pub(crate) fn new(local: &str, remote: &str) -> Self {
        Self {
            call_id: format!("{}@clearwater-test", token()),
            local: format!("<{local}>;tag={}", token()),
            remote: format!("<{remote}>"),
            number: 0,
        }
    }

    /// The next request.
    pub(crate) fn request(&mut self, method: &Method, target: SipUri) -> Request {
        self.number += 1;
        let mut request = Request::new(method.clone(), target);
        let headers = &mut request.headers;
        headers.insert(Name::FROM, self.local.as_str());
        headers.insert(Name::TO, self.remote.as_str());
        headers.insert(Name::CALL_ID, self.call_id.as_str());
        headers.insert(Name::CSEQ, format!("{} {method}", self.number));
        headers.insert(Name::MAX_FORWARDS, 70);
        request
    }
}

/// A word that nobody else chooses.
pub(crate) fn token() -> String {
    let mut bytes = [0; 10];
    // Without random numbers of the system the words of two runs are alike, which only their tests notice.
    if getrandom::fill(&mut bytes).is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        bytes.copy_from_slice(&now.as_nanos().to_be_bytes()[6..]);
    }
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Phone {
    /// A phone that is connected and has said nothing yet.
    pub async fn open(account: Account, way: Way) -> Result<Self, SipError> {
        let (others, heard) = mpsc::unbounded_channel();
        let calls = Arc::default();
        let transcript = Transcript::new(&account.number);
        let mut builder = Endpoint::builder();
        builder.user_agent(concat!("clearwater-sip/", env!("CARGO_PKG_VERSION")));
        // Addresses are known here; without this the stack would read the machine's resolver settings, and panic where
        // there are none.
        let resolver = TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default())
            .build()
            .map_err(|e| SipError::Protocol(e.to_string()))?;
        builder.set_dns_resolver(resolver);
        builder.add_layer(Ear { calls: Arc::clone(&calls), others, transcript: transcript.clone() });
        for method in [Method::INVITE, Method::ACK, Method::BYE, Method::CANCEL, Method::OPTIONS, Method::MESSAGE] {
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
        let registration = Leg::new(&account.public_identity, &account.public_identity);
        let contact = format!("<sip:{}@{seen};transport={}>", account.number, way.transport);
        let line = Line {
            endpoint,
            transport,
            proxy: way.proxy,
            target,
            contact,
            calls,
            authenticator: Mutex::new(DigestAuthenticator::new(credentials)),
            service_route: Mutex::default(),
            transcript,
            account,
        };
        Ok(Self { line: Arc::new(line), others: heard, registration })
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
        let (target, own) = line.binding(&line.contact, seconds);
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
    pub async fn unregister_all(&mut self, within: Duration) -> Result<Reply, SipError> {
        let line = Arc::clone(&self.line);
        let (target, own) = line.binding("*", 0);
        line.ask_with_password(&mut self.registration, Method::REGISTER, &target, own, within).await
    }

    /// Registers without a password, and tells the challenge.
    pub async fn challenge(&mut self, within: Duration) -> Result<Reply, SipError> {
        let line = Arc::clone(&self.line);
        let (target, own) = line.binding(&line.contact, 300);
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
            Ok(None) => Err(SipError::Protocol("the phone was switched off".to_owned())),
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

impl Line {
    /// Where a REGISTER goes, and what it says of its own: an address, or `*` for all, and for how many seconds.
    fn binding<'a>(&self, contact: &'a str, seconds: u32) -> (String, impl Fn(&mut Request) + use<'a>) {
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
    async fn ask_with_password(
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
            let mut authenticator = self.authenticator.lock();
            let line = ezk_sip_types::msg::StatusLine { code: reply.code.into(), reason: None };
            let asked = RequestParts { line: &sent.line, headers: &sent.headers, body: &sent.body };
            let refused = ResponseParts { line: &line, headers: &reply.headers, body: &reply.body };
            authenticator
                .handle_rejection(asked, refused)
                .map_err(|e| SipError::Protocol(format!("the challenge cannot be answered: {e}")))?;
            authenticator.authorize_request(&mut request.headers);
        }
        plain_user_name(&mut request.headers, &self.account.private_identity);
        let (_, again) = self.exchange(request, &leg.call_id, within).await?;
        Ok(Reply { after: reply.after + again.after, ..again })
    }

    /// Says on a first REGISTER which private identity registers, where the public one does not tell it (3GPP TS 24.229
    /// §5.1.1.2.2).
    fn introduce(&self, request: &mut Request) {
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

/// This machine's address on the way to another.
pub(crate) async fn towards(there: SocketAddr) -> Result<IpAddr, SipError> {
    let any = if there.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(there).await?;
    Ok(socket.local_addr()?.ip())
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
