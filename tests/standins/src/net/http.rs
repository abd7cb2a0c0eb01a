//! A small HTTP/1.1 server and client over TCP and unix sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{EXPECT, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

pub(crate) use hyper::Method;

/// What a handler is asked.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// GET, PUT, …
    pub(crate) method: Method,
    /// The path's segments, percent-decoded; a trailing slash leaves no empty segment.
    pub(crate) path: Vec<String>,
    /// The path and query as they came.
    pub(crate) raw: String,
    query: String,
    /// The request's headers.
    pub(crate) headers: HeaderMap,
    /// The request's body.
    pub(crate) body: Bytes,
}

impl Ask {
    /// The path's segments, for matching against literals.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// A query parameter, decoded; an empty string when it has no value.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        form(&self.query).into_iter().find_map(|(k, v)| (k == name).then_some(v))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Decodes `a=b&c=d`.
pub(crate) fn form(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (k, v) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(&k.replace('+', " ")), decode(&v.replace('+', " ")))
        })
        .collect()
}

const KEEP: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes one path segment.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, KEEP).to_string()
}

/// Percent-decodes one path segment.
pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// What a handler answers, and what a client gets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// Header names in lower case, and values.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Bytes,
}

impl Answer {
    /// A bare status code.
    pub(crate) fn code(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A text body.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self::code(status).with("content-type", "text/plain").filled(body)
    }

    /// An HTML body.
    pub(crate) fn html(status: u16, body: impl Into<String>) -> Self {
        Self::code(status).with("content-type", "text/html").filled(body)
    }

    /// An XML body.
    pub(crate) fn xml(status: u16, body: impl Into<String>) -> Self {
        Self::code(status).with("content-type", "application/xml").filled(body)
    }

    /// A JSON body.
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::code(status).with("content-type", "application/json").filled(body.to_string())
    }

    /// Adds a header; `name` in lower case.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn filled(mut self, body: impl Into<String>) -> Self {
        self.body = Bytes::from(body.into());
        self
    }

    /// The first header of that name (lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|(k, v)| (k == name).then_some(v.as_str()))
    }

    /// The body as JSON; null when it is not.
    pub(crate) fn parsed(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub(crate) fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the status is 2xx.
    pub(crate) fn good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn into_hyper(self) -> hyper::Response<Full<Bytes>> {
        let mut out = hyper::Response::new(Full::new(self.body));
        *out.status_mut() =
            hyper::StatusCode::from_u16(self.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
            {
                out.headers_mut().append(name, value);
            }
        }
        out
    }
}

/// Listens on TCP, retrying an address that is not the machine's yet for one second.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}: is another program there?"))
}

/// Listens on a unix socket, replacing a dead one.
pub(crate) fn listen_unix(path: &Path) -> Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))
}

/// The largest body that is taken, and the answer to a larger one, which ends the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Bytes.
    pub(crate) body: usize,
    /// What the client gets.
    pub(crate) answer: fn() -> Answer,
}

/// The longest that the rest of a body that is too large is read before the answer.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a client may take for a request's head, and leave a kept connection idle.
const IDLE: Duration = Duration::from_secs(65);

/// Serves HTTP on a TCP listener for ever.
pub(crate) async fn serve<H, F>(listener: TcpListener, handler: H)
where
    H: Fn(Ask) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    serve_limited(listener, None, handler).await;
}

/// The same, for requests of a limited size.
pub(crate) async fn serve_limited<H, F>(listener: TcpListener, limit: Option<Limit>, handler: H)
where
    H: Fn(Ask) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve_one(stream, limit, handler.clone()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Serves HTTP on a unix listener for ever.
pub(crate) async fn serve_unix<H, F>(listener: UnixListener, handler: H)
where
    H: Fn(Ask) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve_one(stream, None, handler.clone()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A whole body, however it is segmented; none where it is larger than the limit.
async fn whole(mut body: Incoming, limit: Option<Limit>, waits: bool) -> Result<Option<Bytes>, hyper::Error> {
    let Some(limit) = limit else { return Ok(Some(body.collect().await?.to_bytes())) };
    let fits = |size: usize| size <= limit.body;
    if !usize::try_from(body.size_hint().lower()).is_ok_and(fits) && waits {
        // The client asked first, and learns that it need not send.
        return Ok(None);
    }
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if !fits(all.len() + data.len()) {
            // Closing with unread bytes would reset the connection and lose the answer.
            let rest = async { while matches!(body.frame().await, Some(Ok(_))) {} };
            let _ = tokio::time::timeout(DRAIN, rest).await;
            return Ok(None);
        }
        all.extend_from_slice(&data);
    }
    Ok(Some(all.into()))
}

async fn serve_one<IO, H, F>(stream: IO, limit: Option<Limit>, handler: H)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Ask) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            let waits = head.headers.contains_key(EXPECT);
            let Some(body) = whole(body, limit, waits).await? else {
                let answer = limit.map_or_else(|| Answer::code(413), |l| (l.answer)());
                return Ok(answer.with("connection", "close").into_hyper());
            };
            let path = head.uri.path();
            let ask = Ask {
                method: head.method,
                path: path.trim_start_matches('/').trim_end_matches('/').split('/').map(decode).collect(),
                raw: head.uri.path_and_query().map_or_else(|| path.to_owned(), ToString::to_string),
                query: head.uri.query().unwrap_or("").to_owned(),
                headers: head.headers,
                body,
            };
            Ok::<_, hyper::Error>(handler(ask).await.into_hyper())
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// A request to send.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: Method,
    path: String,
    host: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    timeout: Duration,
}

impl Request {
    /// A request for `path` (with query) with five seconds to be answered.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            host: "localhost".to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(5),
        }
    }

    /// `GET path`.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Sets the body.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a JSON body.
    pub(crate) fn json(self, body: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the Host header.
    pub(crate) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Sets the time allowed, connecting included.
    pub(crate) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends over TCP.
    pub(crate) async fn to(self, address: SocketAddr) -> Result<Answer> {
        let limit = self.timeout;
        let what = format!("{} http://{address}{}", self.method, self.path);
        tokio::time::timeout(limit, async {
            let stream = TcpStream::connect(address).await?;
            let _ = stream.set_nodelay(true);
            self.over(stream).await
        })
        .await
        .with_context(|| format!("{what}: no answer in {limit:?}"))?
        .with_context(|| what)
    }

    /// Sends over a unix socket. No answer in time is a [`tokio::time::error::Elapsed`].
    pub(crate) async fn over_unix(self, path: &Path) -> Result<Answer> {
        let limit = self.timeout;
        tokio::time::timeout(limit, async { self.over(UnixStream::connect(path).await?).await })
            .await
            .with_context(|| format!("{}: no answer in {limit:?}", path.display()))?
            .with_context(|| format!("asking {}", path.display()))
    }

    async fn over<IO>(self, stream: IO) -> Result<Answer>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let mut request = hyper::Request::builder()
            .method(self.method)
            .uri(&self.path)
            .header("host", &self.host)
            .header("connection", "close");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = sender.send_request(request.body(Full::new(self.body))?).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(err) => {
                driver.abort();
                bail!(err);
            }
        };
        let (head, body) = answer.into_parts();
        let body = body.collect().await;
        driver.abort();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head
                .headers
                .iter()
                .map(|(k, v)| (k.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
                .collect(),
            body: body?.to_bytes(),
        })
    }
}
