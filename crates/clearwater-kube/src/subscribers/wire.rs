//! Requests to a component's pods over kept connections.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clearwater::component::Component;
use clearwater::manifest::SERVICE_LABEL;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper::body::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tower::BoxError;

use super::error::{SubscriberError, words};
use crate::backoff::{before, doubling, unless_lasting};
use crate::cluster::{Cluster, list_all};
use crate::pod::Forward;
use crate::pod::object::{has_ended, pod_is_ready};

/// The first and the longest pause before what is busy is asked again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// For how long what is busy is asked again: homestead-prov says 503 while Cassandra is slow (crest
/// `src/metaswitch/crest/api/base.py`).
const PATIENCE: Duration = Duration::from_secs(20);
/// For how long Ellis is asked again when those behind it failed: it has asked them already, and taken back what it began.
const PATIENCE_BEHIND: Duration = Duration::from_secs(4);

/// Ellis' words when its pool is empty (ellis `src/metaswitch/ellis/api/numbers.py`).
const NO_NUMBERS: &str = "No available numbers";

/// What Ellis and homestead-prov are told most things in.
pub(super) const JSON: &str = "application/json";
/// And documents in.
pub(super) const XML: &str = "application/xml";

/// What may stand in a segment of a path as it is (RFC 3986 §2.3).
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// The pods of a component that have not ended, in the order of their names.
pub(crate) async fn pods(cluster: &Cluster, component: Component) -> Result<Vec<Pod>, SubscriberError> {
    let labelled = ListParams::default().labels(&format!("{SERVICE_LABEL}={component}"));
    let all = list_all(&cluster.api::<Pod>(), &labelled).await;
    let all = all.map_err(|e| SubscriberError::of_api(format!("pods of {component}"), "list pods", e))?;
    let mut pods: Vec<Pod> = all.into_iter().filter(|p| !has_ended(p)).collect();
    pods.sort_by_key(ResourceExt::name_any);
    Ok(pods)
}

/// A request. It is not shown: its body may hold a password.
pub(super) struct ProvisioningRequest {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    /// Whether the same request may be sent twice, when nobody knows what became of the first.
    repeatable: bool,
}

impl ProvisioningRequest {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        let repeatable = method != Method::POST;
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new(), repeatable }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A header that no log shows.
    pub(super) fn secret(mut self, name: &'static str, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(mut self, kind: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        self.body = body.into();
        self
    }

    /// Twice does no more than once.
    pub(super) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    /// As it is told: without its body and its headers.
    pub(super) fn told(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn request(&self) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.parse()?;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }
}

/// An answer, with what it is of.
#[derive(Debug)]
pub(super) struct ProvisioningAnswer {
    component: Component,
    request: String,
    inner: Response<Bytes>,
}

impl ProvisioningAnswer {
    pub(super) fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name).and_then(|v| v.to_str().ok())
    }

    pub(super) fn body(&self) -> &[u8] {
        self.inner.body()
    }

    /// The body as a text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.inner.body()).into_owned()
    }

    pub(super) fn words(&self) -> String {
        let words = words(self.inner.body());
        if words.is_empty() { self.inner.status().canonical_reason().unwrap_or_default().to_owned() } else { words }
    }

    pub(super) fn request(&self) -> String {
        self.request.clone()
    }

    pub(super) fn is_good(&self) -> bool {
        self.inner.status().is_success()
    }

    /// The answer read as what it is to be.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, SubscriberError> {
        serde_json::from_slice(self.inner.body()).map_err(|e| self.unreadable(e))
    }

    pub(super) fn unreadable(&self, why: impl Into<BoxError>) -> SubscriberError {
        let (component, request) = (self.component, self.request.clone());
        SubscriberError::Unreadable { component, request, source: why.into() }
    }

    /// An error of an answer that nothing else is known of.
    pub(super) fn refused(&self) -> SubscriberError {
        SubscriberError::Refused {
            component: self.component,
            request: self.request.clone(),
            status: self.status(),
            reason: self.words(),
        }
    }

    /// Whether it is the program's own, and not of the nginx before it, whose errors are pages.
    fn is_json(&self) -> bool {
        self.inner.headers().get(CONTENT_TYPE).is_some_and(|t| t.as_bytes().windows(4).any(|w| w == b"json"))
    }
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is the answer.
    Final,
    /// Nothing was done, and it may be soon.
    Busy,
    /// Ellis took back what it began, because those behind it failed.
    Behind,
    /// Nobody knows whether it was done.
    Unknown,
}

fn fate(status: u16, is_json: bool, words: &str) -> Fate {
    match status {
        // Ellis' own, when it has no number to give away.
        503 if words.contains(NO_NUMBERS) => Fate::Final,
        502 if is_json => Fate::Behind,
        // 502 is nginx': nobody is behind it.
        502 | 503 => Fate::Busy,
        504 => Fate::Unknown,
        _ => Fate::Final,
    }
}

/// Why a try came to nothing, and for how long it is tried again.
struct Try {
    error: SubscriberError,
    again: Option<Duration>,
}

/// Kept connections to one component.
pub(super) struct Wire {
    cluster: Cluster,
    component: Component,
    port: u16,
    idle: Mutex<Vec<Forward>>,
    turn: AtomicUsize,
}

impl Wire {
    /// Nothing is opened yet.
    pub(super) fn new(cluster: &Cluster, component: Component, port: u16) -> Self {
        let (idle, turn) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
        Self { cluster: cluster.clone(), component, port, idle, turn }
    }

    /// Asks, and goes on asking while it is busy. Only what may be done twice is asked again when the answer was lost.
    pub(super) async fn ask(&self, question: &ProvisioningRequest) -> Result<ProvisioningAnswer, SubscriberError> {
        let began = Instant::now();
        let mut pauses = before(began + PATIENCE, doubling(PAUSES.0, PAUSES.1));
        loop {
            let Try { error, again } = match self.once(question, began).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let in_time = again.is_some_and(|patience| began.elapsed() < patience);
            unless_lasting(error, |_| in_time, &mut pauses).await?;
        }
    }

    async fn once(&self, question: &ProvisioningRequest, began: Instant) -> Result<ProvisioningAnswer, Try> {
        let what = format!("{}: {}", self.component, question.told());
        self.cluster.policy.tried(&what, Box::pin(self.tried(question, began)), Result::is_ok).await
    }

    async fn tried(&self, question: &ProvisioningRequest, began: Instant) -> Result<ProvisioningAnswer, Try> {
        let mut forward = self.connection().await?;
        let request = question.request().map_err(|e| Try {
            error: SubscriberError::Unreadable {
                component: self.component,
                request: question.told(),
                source: e.into(),
            },
            again: None,
        })?;
        let again = question.repeatable.then_some(PATIENCE);
        let inner = forward.ask(request, self.cluster.policy.timeout()).await.map_err(|e| {
            let again = if forward.has_sent() { again } else { Some(PATIENCE) };
            Try { error: SubscriberError::ask(self.component, e), again }
        })?;
        if forward.is_open() {
            self.idle().push(forward);
        }
        let answer = ProvisioningAnswer { component: self.component, request: question.told(), inner };
        let again = match fate(answer.status(), answer.is_json(), &answer.words()) {
            Fate::Final => return Ok(answer),
            Fate::Busy => Some(PATIENCE),
            Fate::Behind => {
                let error = behind(&answer);
                return Err(Try { error, again: Some(PATIENCE_BEHIND) });
            }
            Fate::Unknown => again,
        };
        let error = SubscriberError::Busy {
            component: self.component,
            request: question.told(),
            status: answer.status(),
            reason: answer.words(),
            seconds: began.elapsed().as_secs(),
        };
        Err(Try { error, again })
    }

    /// One that is open and that nobody uses, or a new one to the next pod that is ready.
    async fn connection(&self) -> Result<Forward, Try> {
        loop {
            let kept = self.idle().pop();
            match kept {
                Some(forward) if forward.is_open() => return Ok(forward),
                Some(_) => {}
                None => break,
            }
        }
        let lasting = |error| Try { error, again: None };
        let all = pods(&self.cluster, self.component).await.map_err(lasting)?;
        let ready: Vec<&Pod> = all.iter().filter(|p| pod_is_ready(p)).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let Some(pod) = ready.get(turn.checked_rem(ready.len()).unwrap_or(0)) else {
            let (component, namespace) = (self.component, self.cluster.namespace.clone());
            // A pod that was there a moment ago may be replaced.
            let again = (turn > 0).then_some(PATIENCE);
            return Err(Try { error: SubscriberError::NotReady { component, namespace }, again });
        };
        let opened =
            Forward::open(&self.cluster.api(), &pod.name_any(), self.port, self.cluster.policy.timeout()).await;
        opened.map_err(|e| {
            // A pod that was there a moment ago may be replaced.
            let is_gone = turn > 0 && e.is_gone();
            let again = (is_gone || !e.is_settled()).then_some(PATIENCE);
            Try { error: SubscriberError::ask(self.component, e), again }
        })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Forward>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Which of those behind Ellis failed, as far as it says: its forward_error gives the URL (ellis
/// `src/metaswitch/ellis/api/_base.py`), its handlers of numbers say no more than that one did.
fn behind(answer: &ProvisioningAnswer) -> SubscriberError {
    let text = String::from_utf8_lossy(answer.body());
    let named: Vec<&str> = [Component::HomesteadProv, Component::Homer]
        .into_iter()
        .map(Component::name)
        .filter(|name| text.contains(name))
        .collect();
    let back_end = if named.is_empty() { "homestead-prov or homer".to_owned() } else { named.join(" and ") };
    SubscriberError::BackEnd { request: answer.request(), back_end, reason: answer.words() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> ProvisioningAnswer {
        let inner = Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        ProvisioningAnswer { component: Component::Ellis, request: "POST /x".to_owned(), inner }
    }

    #[test]
    fn what_is_busy_is_told_from_what_is_empty_and_from_what_failed_behind() {
        // (status, whether the program itself answered, its words, what becomes of it)
        let rows = [
            (200, true, "", Fate::Final),
            (201, true, "", Fate::Final),
            (303, false, "", Fate::Final),
            (403, true, "Invalid signup code", Fate::Final),
            (503, true, "No available numbers", Fate::Final),
            (503, true, "unknown", Fate::Busy),
            (503, false, "", Fate::Busy),
            (502, true, "Upstream request failed", Fate::Behind),
            (502, false, "502 Bad Gateway", Fate::Busy),
            (504, false, "504 Gateway Time-out", Fate::Unknown),
            (500, true, "Internal Server Error", Fate::Final),
        ];
        for (status, is_json, words, expected) in rows {
            assert_eq!(fate(status, is_json, words), expected, "{status} {words}");
        }
    }

    #[test]
    fn the_one_behind_ellis_is_named() {
        let told = |body: &str| behind(&answer(502, body)).to_string();
        assert_eq!(
            told(r#"{"reason":"Upstream request failed","detail":{"Upstream URL":"http://homer.ims:7888/org"}}"#),
            "POST /x: ellis could not update homer (Upstream request failed)"
        );
        assert_eq!(
            told(r#"{"reason":"Failed to update all the backends: homestead-prov.ims:8889 answered 503"}"#),
            "POST /x: ellis could not update homestead-prov (Failed to update all the backends: homestead-prov.ims:8889 \
             answered 503)"
        );
        assert!(told(r#"{"reason":"Upstream request failed."}"#).contains("homestead-prov or homer"));
    }

    #[test]
    fn a_request_is_told_without_its_secrets() {
        let value = HeaderValue::from_static("hidden");
        let question = ProvisioningRequest::new(Method::POST, "/session/")
            .secret("ngv-api-key", value)
            .body("text/plain", "hidden");
        assert_eq!(question.told(), "POST /session/");
        assert!(!format!("{:?}", question.headers).contains("hidden"));
        assert!(!question.repeatable && ProvisioningRequest::get("/").repeatable);
    }

    #[test]
    fn a_segment_is_one() {
        assert_eq!(segment("sip:650@a.b"), "sip%3A650%40a.b");
        assert_eq!(segment("a/b?c#d%e"), "a%2Fb%3Fc%23d%25e");
    }
}
