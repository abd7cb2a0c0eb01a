//! The one policy for requests: each has a deadline, and who waits is told what for.
//!
//! A server that hangs, drips its answer or asks for patience for ever holds nobody. Streams are another matter: a watch, a
//! log that is followed and a connection into a pod last as long as they are wanted, and only their beginning has a
//! deadline. A log that is read to its end may be of any length: it is handed on as it comes, and each piece of it has the
//! deadline.

pub(crate) mod answer;
mod body;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::UPGRADE;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use kube::Client;
use kube::client::Body;
use kube::client::retry::RetryPolicy;
use thiserror::Error;
use tokio::time::{Instant, sleep_until, timeout_at};
use tower::BoxError;
use tower::retry::Policy;

use self::answer::{NoObject, not_asked_for};
use self::body::{Events, Paced};

/// An answer longer than this is not one of those that are asked for: lists come page by page, objects are a few kilobytes
/// each, and none is longer than 8 MiB (etcd takes requests of 1.5 MiB where nobody chose otherwise, and 8 MiB is the most
/// that is advised).
const LONGEST: usize = 16 << 20;
/// The API server did not answer in time.
#[derive(Debug, Error)]
#[error("{}{}", no_api_answer(*.within), again(*.last))]
struct Late {
    within: Duration,
    /// What it said instead of an answer: that it is to be asked again.
    last: Option<StatusCode>,
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

/// What is asked again so soon after it came to nothing is still waited for. No pause between tries is longer.
const AGAIN: Duration = Duration::from_secs(10);

/// What came to nothing: when a word of it is due, and when its last try ended.
type Tries = HashMap<String, (Instant, Instant)>;

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
    tries: Arc<Mutex<Tries>>,
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
        Self { timeout, tell: Arc::new(|_| ()), tries: Arc::default() }
    }

    /// The same, and what is waited for longer than 5 s, in one try or in several, is told, and again every 10 s: a request
    /// as `the API server: GET /api/v1/pods`, and what was asked inside of pods as `pod ellis-0, port 80: GET /`.
    #[must_use]
    pub fn telling(self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { tell: Arc::new(tell), ..self }
    }

    /// The same, and no request takes longer than this.
    pub(crate) fn no_longer_than(self, limit: Duration) -> Self {
        Self { timeout: self.timeout.min(limit), ..self }
    }

    /// How long one request may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Waits, and every now and then says what for.
    pub(crate) async fn awaited<T>(&self, what: &str, waiting: impl Future<Output = T>) -> T {
        self.telling_from(&mut (Instant::now() + SOON), || what.to_owned(), waiting).await
    }

    /// The same of what is told by how far it has come.
    pub(crate) async fn awaited_as<T>(&self, what: impl Fn() -> String, waiting: impl Future<Output = T>) -> T {
        self.telling_from(&mut (Instant::now() + SOON), what, waiting).await
    }

    /// The same of one of several tries: the time that counts is the time since the first of them.
    pub(crate) async fn tried<T>(
        &self,
        what: &str,
        trying: impl Future<Output = T>,
        is_good: impl FnOnce(&T) -> bool,
    ) -> T {
        let before = self.tries().get(what).filter(|(_, ended)| ended.elapsed() < AGAIN).map(|(due, _)| *due);
        let mut due = before.unwrap_or_else(|| Instant::now() + SOON);
        let done = self.telling_from(&mut due, || what.to_owned(), trying).await;
        let mut tries = self.tries();
        if is_good(&done) {
            tries.remove(what);
        } else {
            tries.retain(|_, (_, ended)| ended.elapsed() < AGAIN);
            tries.insert(what.to_owned(), (due, Instant::now()));
        }
        done
    }

    fn tries(&self) -> std::sync::MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn telling_from<T>(
        &self,
        due: &mut Instant,
        what: impl Fn() -> String,
        waiting: impl Future<Output = T>,
    ) -> T {
        let mut waiting = pin!(waiting);
        loop {
            tokio::select! {
                // A word that is due is told, however soon the try ends.
                biased;
                () = sleep_until(*due) => {
                    (self.tell)(&what());
                    *due = Instant::now() + SOON * 2;
                }
                done = &mut waiting => return done,
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
            let answering = answered(client, request, policy.timeout);
            let is_good =
                |answer: &Result<Response<_>, _>| answer.as_ref().is_ok_and(|a| !a.status().is_server_error());
            policy.tried(&what, answering, is_good).await
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
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_api = path.starts_with("/api") && !path.contains("/proxy/");
    let until = Instant::now() + time;
    let last = AtomicU16::new(0);
    let late = |_| Late { within: time, last: StatusCode::from_u16(last.load(Ordering::Relaxed)).ok() };
    let response = timeout_at(until, asked(client, request, &last)).await.map_err(late)??;
    let (head, body) = response.into_parts();
    let body = if is_watch {
        Events::new(body).boxed_unsync()
    } else if is_stream {
        body.map_err(Into::into).boxed_unsync()
    } else if is_log && head.status.is_success() {
        Paced::new(body, time).boxed_unsync()
    } else {
        let body = timeout_at(until, Limited::new(body, LONGEST).collect()).await.map_err(late)??.to_bytes();
        if head.status.is_success()
            && is_api
            && let Some(seen) = not_asked_for(&method, &path, &body)
        {
            return Err(NoObject { request: format!("{method} {path}"), seen }.into());
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
    use hyper::body::Frame;
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use kube::api::{ListParams, LogParams, WatchParams};
    use kube::{Api, Error};
    use tokio::time::sleep;

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

    /// However short each of them is.
    #[tokio::test(start_paused = true)]
    async fn the_silence_of_several_tries_is_one_silence() {
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (hears, began) = (told.clone(), Instant::now());
        let policy = RequestPolicy::new(Duration::from_secs(2))
            .telling(move |_| hears.lock().unwrap().push(began.elapsed().as_secs()));
        let maps: Api<ConfigMap> = Api::default_namespaced(within(server(), &policy));
        for _ in 0..9 {
            maps.get("hangs").await.unwrap_err();
        }
        assert_eq!(*told.lock().unwrap(), [5, 15]);
        // What was asked long ago is not waited for.
        sleep(AGAIN).await;
        maps.get("hangs").await.unwrap_err();
        assert_eq!(told.lock().unwrap().len(), 2);
        // Neither is what was answered.
        for good in [true, true, true, false, true] {
            policy.tried("etcd", sleep(Duration::from_secs(4)), |()| good).await;
            assert_eq!(told.lock().unwrap().len(), 2, "{good}");
            if !good {
                told.lock().unwrap().pop();
            }
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
        for (body, words) in [
            ("{}", "no object of Kubernetes"),
            (r#"{"metadata":{"name":"x"}}"#, "no object of Kubernetes"),
            (r#"{"kind":""}"#, "no object of Kubernetes"),
            (r#"{"kind":"Status","status":"Success"}"#, "the Status \"\" and not configmaps/x"),
            (r#"{"kind":"ConfigMap","metadata":{"name":"y"}}"#, "the ConfigMap \"y\" and not configmaps/x"),
        ] {
            let error = service(body).get("x").await.unwrap_err();
            assert!(say(&error).contains(words), "{body}: {}", say(&error));
            assert!(!crate::cluster::is_passing(&error), "{body}");
        }
        let one = service(r#"{"kind":"ConfigMap","metadata":{"name":"x"}}"#).list(&ListParams::default()).await;
        assert!(say(&one.unwrap_err()).contains("a ConfigMap and no list of configmaps"));
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
