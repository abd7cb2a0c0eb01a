//! The one policy for requests: each has a deadline, and who waits is told what for.
//!
//! A server that hangs, drips its answer or asks for patience for ever holds nobody. Streams are another matter: a watch, a
//! log that is followed and a connection into a pod last as long as they are wanted, and only their beginning has a
//! deadline. A log that is read to its end may be of any length: it is handed on as it comes, and each piece of it has the
//! deadline.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::UPGRADE;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Frame, SizeHint};
use kube::Client;
use kube::client::Body;
use kube::client::retry::RetryPolicy;
use serde::Deserialize;
use thiserror::Error;
use tokio::time::{Instant, Sleep, interval_at, sleep, timeout_at};
use tower::BoxError;
use tower::retry::Policy;

/// An answer longer than this is not one of those that are asked for: lists come page by page, objects are a few kilobytes
/// each, and none is longer than 8 MiB (etcd takes requests of 1.5 MiB where nobody chose otherwise, and 8 MiB is the most
/// that is advised).
const LONGEST: usize = 16 << 20;
/// What must come of a log within the deadline, in bytes, where it does not end before: less is a server that drips.
const PIECE: usize = 4096;
/// The most that is counted as waiting for what was there when it was asked for: it may have come long before, while whoever
/// reads did not ask.
const UNASKED: Duration = Duration::from_secs(1);

/// The API server did not answer in time.
#[derive(Debug, Error)]
#[error("{}{}", no_api_answer(*.within), again(*.last))]
struct Late {
    within: Duration,
    /// What it said instead of an answer: that it is to be asked again.
    last: Option<StatusCode>,
}

/// What was answered is no object of Kubernetes, though it could be read as one in which nothing is said: whatever answered,
/// it is no API server, and no later answer will be better.
#[derive(Debug, Error)]
#[error("what answered {request} is no object of Kubernetes (it has no kind): is this the API server?")]
pub(crate) struct NoObject {
    request: String,
}

/// What every object of Kubernetes says of itself, lists and the API's own among them.
#[derive(Deserialize)]
struct TypeOf {
    #[serde(default)]
    kind: String,
}

/// Whether JSON that was answered under the API's own paths, which a kubelet's answer is not that comes by a proxy, says of
/// itself what it is; what is no JSON is told elsewhere.
fn has_kind(body: &[u8]) -> bool {
    serde_json::from_slice::<TypeOf>(body).map_or(true, |of| !of.kind.is_empty())
}

/// Nothing came of whom was asked, in the time that was given.
pub(crate) fn no_answer(within: Duration) -> String {
    format!("no answer within {}", limit(within))
}

/// The same of the API server.
pub(crate) fn no_api_answer(within: Duration) -> String {
    format!("no answer from the API server within {}", limit(within))
}

/// A time that was given, as it was given: whole where it is.
pub(crate) fn limit(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{} s", (time.as_secs_f64() * 10.0).round() / 10.0)
    }
}

fn again(last: Option<StatusCode>) -> String {
    last.map_or(String::new(), |status| format!(": it said {status}, which is to ask again later"))
}

/// After how long it is said what is waited for; it is said again after twice as long.
const SOON: Duration = Duration::from_secs(5);

/// How long one request may take where nothing else is said.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one request may take, and who hears of one that takes its time.
///
/// ```
/// use std::time::Duration;
/// use clearwater_kube::RequestPolicy;
///
/// let policy = RequestPolicy::new(Duration::from_secs(10)).telling(|what| eprintln!("waiting for {what}"));
/// assert_eq!(policy.timeout(), Duration::from_secs(10));
/// ```
#[derive(Clone)]
pub struct RequestPolicy {
    timeout: Duration,
    tell: Arc<dyn Fn(&str) + Send + Sync>,
}

impl std::fmt::Debug for RequestPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestPolicy").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Default for RequestPolicy {
    fn default() -> Self {
        Self::new(REQUEST_TIMEOUT)
    }
}

impl RequestPolicy {
    /// Each request within a time: to the end of its answer or, of what lasts (a watch, a log that is followed, a connection
    /// into a pod), to the beginning. Of a log that is read to its end each piece has that time.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, tell: Arc::new(|_| ()) }
    }

    /// The same, and what is waited for longer than 5 s is told, and again every 10 s: a request as `the API server: GET
    /// /api/v1/pods`, and what was asked inside of pods as `pod ellis-0, port 80: GET /`.
    #[must_use]
    pub fn telling(self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { tell: Arc::new(tell), ..self }
    }

    /// How long one request may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Waits, and every now and then says what for.
    pub(crate) async fn awaited<T>(&self, what: &str, waiting: impl Future<Output = T>) -> T {
        let mut waiting = pin!(waiting);
        let mut waits = interval_at(Instant::now() + SOON, SOON * 2);
        loop {
            tokio::select! {
                done = &mut waiting => return done,
                _ = waits.tick() => (self.tell)(what),
            }
        }
    }
}

/// The same client, whose requests follow the policy.
pub(crate) fn within(client: Client, policy: &RequestPolicy) -> Client {
    let namespace = client.default_namespace().to_owned();
    let policy = policy.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, policy) = (client.clone(), policy.clone());
        async move {
            let what = format!("the API server: {} {}", request.method(), request.uri().path());
            policy.awaited(&what, answered(client, request, policy.timeout)).await
        }
    });
    Client::new(service, namespace)
}

async fn answered(
    client: Client,
    request: Request<Body>,
    time: Duration,
) -> Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError> {
    let (is_stream, is_log, is_watch) = (is_stream(&request), is_log(&request), is_watch(&request));
    let path = request.uri().path();
    let (is_api, what) =
        (path.starts_with("/api") && !path.contains("/proxy/"), format!("{} {path}", request.method()));
    let until = Instant::now() + time;
    let last = AtomicU16::new(0);
    let late = |_| Late { within: time, last: StatusCode::from_u16(last.load(Ordering::Relaxed)).ok() };
    let response = timeout_at(until, asked(client, request, &last)).await.map_err(late)??;
    let (head, body) = response.into_parts();
    let body = if is_watch {
        Events { body, came: 0 }.boxed_unsync()
    } else if is_stream {
        body.map_err(Into::into).boxed_unsync()
    } else if is_log && head.status.is_success() {
        Paced::new(body, time).boxed_unsync()
    } else {
        let body = timeout_at(until, Limited::new(body, LONGEST).collect()).await.map_err(late)??.to_bytes();
        if head.status.is_success() && is_api && !has_kind(&body) {
            return Err(NoObject { request: what }.into());
        }
        Body::from(body).map_err(Into::into).boxed_unsync()
    };
    Ok(Response::from_parts(head, body))
}

/// Asks, and asks again where the server says so, as kube's own client would: that one does not tell what it was told.
async fn asked(client: Client, mut request: Request<Body>, last: &AtomicU16) -> Result<Response<Body>, BoxError> {
    let mut policy = RetryPolicy::server_retry();
    loop {
        let again = <RetryPolicy as Policy<_, Response<Body>, BoxError>>::clone_request(&mut policy, &request);
        let mut answer = client.send(request).await.map_err(BoxError::from);
        let Some(mut again) = again else { return answer };
        let Some(pause) = Policy::retry(&mut policy, &mut again, &mut answer) else { return answer };
        last.store(answer.map_or(0, |answer| answer.status().as_u16()), Ordering::Relaxed);
        pause.await;
        request = again;
    }
}

/// An answer that is handed on as it comes, each [`PIECE`] of it within a time. Nothing of it is kept, and no time runs while
/// nobody asks for more.
struct Paced {
    body: Body,
    time: Duration,
    /// How long the present piece has been waited for, up to `since`.
    waited: Duration,
    /// Since when more is waited for.
    since: Option<Instant>,
    /// How much of the present piece came.
    came: usize,
    alarm: Pin<Box<Sleep>>,
}

impl Paced {
    fn new(body: Body, time: Duration) -> Self {
        Self { body, time, waited: Duration::ZERO, since: None, came: 0, alarm: Box::pin(sleep(time)) }
    }

    fn took(&mut self, bytes: usize) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| since.elapsed().min(UNASKED));
        self.waited += waited;
        self.came += bytes;
        if self.came >= PIECE {
            (self.came, self.waited) = (0, Duration::ZERO);
        }
    }
}

impl hyper::body::Body for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some(Ok(frame)) = &next {
                self.took(frame.data_ref().map_or(0, Bytes::len));
            }
            return Poll::Ready(next.map(|frame| frame.map_err(Into::into)));
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let until = since + self.time.saturating_sub(self.waited);
        if self.alarm.deadline() != until {
            self.alarm.as_mut().reset(until);
        }
        ready!(self.alarm.as_mut().poll(cx));
        Poll::Ready(Some(Err(Late { within: self.time, last: None }.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What is watched: one line an event, each of a length that an object can have.
struct Events {
    body: Body,
    /// How much of the present line came.
    came: usize,
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = next.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.came = data.iter().rev().position(|b| *b == b'\n').unwrap_or(self.came + data.len());
            if self.came > LONGEST {
                return Poll::Ready(Some(Err(format!("an event of more than {LONGEST} bytes").into())));
            }
        }
        Poll::Ready(next.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether what is asked for is watched.
fn is_watch(request: &Request<Body>) -> bool {
    has(request, &["watch=true", "watch=1"])
}

fn has(request: &Request<Body>, pairs: &[&str]) -> bool {
    request.uri().query().is_some_and(|q| q.split('&').any(|pair| pairs.contains(&pair)))
}

/// Whether what is asked for is a container's log.
fn is_log(request: &Request<Body>) -> bool {
    let parts: Vec<&str> = request.uri().path().trim_start_matches('/').split('/').collect();
    matches!(parts[..], ["api", _, "namespaces", _, "pods", _, "log"])
}

/// Whether what is asked for lasts: a watch, a log that is followed, a connection.
fn is_stream(request: &Request<Body>) -> bool {
    request.headers().contains_key(UPGRADE) || is_watch(request) || has(request, &["follow=true", "follow=1"])
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;

    use futures::{AsyncBufReadExt as _, AsyncReadExt as _, FutureExt as _, stream};
    use http_body_util::StreamBody;
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use kube::api::{ListParams, LogParams, WatchParams};
    use kube::{Api, Error};

    use super::*;
    use crate::cluster::say;

    const TIME: Duration = Duration::from_secs(30);

    /// A server that answers a list whole, lets a byte of anything else drop each second, and never answers for `hangs`.
    fn server() -> Client {
        let service = tower::service_fn(|request: Request<Body>| async move {
            if request.uri().path().contains("hangs") {
                std::future::pending::<()>().await;
            }
            let drops = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b" "))), ()))
            });
            Ok::<_, Infallible>(Response::new(StreamBody::new(drops)))
        });
        within(Client::new(service, "ims"), &RequestPolicy::new(TIME))
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_or_drips_is_given_up_in_time() {
        let maps: Api<ConfigMap> = Api::default_namespaced(server());
        for name in ["hangs", "drips"] {
            let began = Instant::now();
            let error = maps.get(name).await.unwrap_err();
            assert!(say(&error).contains("no answer from the API server within 30 s"), "{name}: {}", say(&error));
            assert!(crate::cluster::is_passing(&error), "{name}");
            assert_eq!(began.elapsed(), TIME, "{name}");
        }
        assert!(matches!(maps.list(&ListParams::default()).await, Err(Error::Service(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_for_patience_is_quoted() {
        let service = tower::service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::builder().status(429).header("Retry-After", "7").body(Body::empty()).unwrap())
        });
        let client = within(Client::new(service, "ims"), &RequestPolicy::new(TIME));
        let began = Instant::now();
        let error = Api::<ConfigMap>::default_namespaced(client).get("x").await.unwrap_err();
        assert!(say(&error).contains("within 30 s: it said 429 Too Many Requests"), "{}", say(&error));
        assert_eq!(began.elapsed(), TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_a_word() {
        for name in ["hangs", "drips"] {
            let told = Arc::new(std::sync::Mutex::new(Vec::new()));
            let (hears, began) = (told.clone(), Instant::now());
            let policy = RequestPolicy::new(TIME)
                .telling(move |what| hears.lock().unwrap().push((what.to_owned(), began.elapsed().as_secs())));
            let maps: Api<ConfigMap> = Api::default_namespaced(within(server(), &policy));
            maps.get(name).await.unwrap_err();
            let what = format!("the API server: GET /api/v1/namespaces/ims/configmaps/{name}");
            assert_eq!(*told.lock().unwrap(), [5, 15, 25].map(|at| (what.clone(), at)), "{name}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_no_object_is_told_and_not_asked_for_again() {
        let service = |body: &'static str| {
            let service = tower::service_fn(move |_: Request<Body>| async move {
                Ok::<_, Infallible>(Response::new(Body::from(body.as_bytes().to_vec())))
            });
            Api::<ConfigMap>::default_namespaced(within(Client::new(service, "ims"), &RequestPolicy::new(TIME)))
        };
        for body in ["{}", r#"{"metadata":{"name":"x"}}"#, r#"{"kind":""}"#] {
            let error = service(body).get("x").await.unwrap_err();
            assert!(say(&error).contains("is no object of Kubernetes"), "{body}: {}", say(&error));
            assert!(!crate::cluster::is_passing(&error), "{body}");
        }
        assert!(service(r#"{"kind":"ConfigMap","metadata":{"name":"x"}}"#).get("x").await.is_ok());
        let page = service("<html>").get("x").await.unwrap_err();
        assert!(matches!(page, Error::SerdeError(_)), "{}", say(&page));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_may_last() {
        let maps: Api<ConfigMap> = Api::default_namespaced(server());
        let watching = maps.watch(&WatchParams::default(), "1").await;
        assert!(watching.is_ok());
        let asked = |uri: &str| is_stream(&Request::get(uri).body(Body::empty()).unwrap());
        assert!(asked("/api/v1/pods?x=1&watch=true") && asked("/log?follow=true"));
        assert!(!asked("/api/v1/pods?labelSelector=watch%3Dtrue") && !asked("/api/v1/pods"));
    }

    #[tokio::test]
    async fn an_event_without_end_ends_the_watch() {
        let watch = |line: &'static str, times: usize| async move {
            let service = tower::service_fn(move |_: Request<Body>| async move {
                let pieces = stream::iter((0..times).map(move |_| Ok::<_, Infallible>(Frame::data(Bytes::from(line)))));
                Ok::<_, Infallible>(Response::new(StreamBody::new(pieces)))
            });
            let client = within(Client::new(service, "ims"), &RequestPolicy::new(Duration::from_secs(5)));
            let request = http::Request::get("/api/v1/pods?watch=true").body(Vec::new()).unwrap();
            let response = client.send(request.map(Body::from)).await.unwrap();
            response.into_body().collect().await.map(|all| all.to_bytes().len()).map_err(|e| crate::cluster::say(&e))
        };
        let long: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
        let event: &'static str = Box::leak(format!("{long}\n").into_boxed_str());
        assert_eq!(watch(event, 20).await, Ok(20 * (long.len() + 1)));
        let told = watch(long, 20).await.unwrap_err();
        assert!(told.contains("an event of more than"), "{told}");
    }

    /// A server whose logs are `pieces` of so many bytes, one after each pause.
    fn logs(pieces: usize, bytes: usize, pause: Duration) -> Api<Pod> {
        let service = tower::service_fn(move |_: Request<Body>| async move {
            let pieces = stream::unfold(0, move |n| async move {
                tokio::time::sleep(pause).await;
                (n < pieces).then(|| (Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; bytes]))), n + 1))
            });
            Ok::<_, Infallible>(Response::new(StreamBody::new(pieces)))
        });
        Api::default_namespaced(within(Client::new(service, "ims"), &RequestPolicy::new(TIME)))
    }

    /// How much came of a log, and whether it came to its end; `rest` is how long is paused after each piece.
    async fn read(logs: Api<Pod>, rest: Duration) -> (usize, Result<(), String>) {
        let mut log = pin!(logs.log_stream("bono-0", &LogParams::default()).await.unwrap());
        let (mut all, mut piece) = (0, vec![0; 1 << 20]);
        loop {
            match log.read(&mut piece).await {
                Ok(0) => return (all, Ok(())),
                Ok(n) => all += n,
                Err(error) => return (all, Err(error.to_string())),
            }
            if !rest.is_zero() {
                let _ = log.fill_buf().now_or_never();
                tokio::time::sleep(rest).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_may_be_of_any_length_and_take_any_time_while_it_comes() {
        let (piece, long) = (1 << 20, Duration::from_secs(20));
        let began = Instant::now();
        let (all, end) = read(logs(100, piece, long), Duration::ZERO).await;
        assert_eq!((all, end), (100 * piece, Ok(())));
        assert!(all > LONGEST && began.elapsed() > 60 * TIME);
        // Who pauses between reads loses nothing by it, however small the pieces are.
        let (all, end) = read(logs(20, 10, Duration::from_millis(1)), 2 * TIME).await;
        assert_eq!((all, end), (200, Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_hangs_or_drips_is_given_up() {
        let late = "no answer from the API server within 30 s";
        let began = Instant::now();
        let (all, end) = read(logs(9, 10, 3 * TIME), Duration::ZERO).await;
        assert!(all == 0 && end.unwrap_err().contains(late));
        assert_eq!(began.elapsed(), TIME);
        let (all, end) = read(logs(usize::MAX, 10, Duration::from_secs(1)), Duration::ZERO).await;
        assert!(end.unwrap_err().contains(late));
        assert!((290..=310).contains(&all), "{all}");
    }

    #[test]
    fn a_log_is_known_by_its_path() {
        let asked = |uri: &str| is_log(&Request::get(uri).body(Body::empty()).unwrap());
        assert!(asked("/api/v1/namespaces/ims/pods/bono-0/log?container=bono"));
        assert!(!asked("/api/v1/namespaces/ims/pods/log") && !asked("/api/v1/namespaces/log/configmaps/log"));
    }
}
