//! The one policy for requests: each has a deadline, and who waits is told what for.
//!
//! A server that hangs, drips its answer or asks for patience for ever holds nobody. Streams are another matter: a watch, a
//! log that is followed and a connection into a pod last as long as they are wanted, and only their beginning has a
//! deadline. A log that is read to its end may be of any length: it is handed on as it comes, and each piece of it has the
//! deadline.

pub(crate) mod answer;
mod body;

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clearwater::text::limit;
use http::header::UPGRADE;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Bytes;
use kube::Client;
use kube::client::Body;
use kube::client::retry::RetryPolicy;
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
#[derive(Debug, thiserror::Error)]
#[error("{}{}", no_api_answer(*.within), again(*.last))]
pub(crate) struct Late {
    within: Duration,
    /// What it said instead of an answer: that it is to be asked again.
    last: Option<StatusCode>,
    limit: TimeLimit,
}

/// Which time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLimit {
    /// That of one request.
    Request,
    /// That of all requests together.
    Whole,
}

impl Late {
    /// One that said nothing in all of the time that there was.
    pub(crate) fn within(within: Duration) -> Self {
        Self { within, last: None, limit: TimeLimit::Whole }
    }

    /// One that said nothing in the time of one request.
    fn of_request(within: Duration) -> Self {
        Self { within, last: None, limit: TimeLimit::Request }
    }

    /// Which time was up.
    pub(crate) fn limit(&self) -> TimeLimit {
        self.limit
    }
}

/// The first of an error and its causes that is one of time that was up.
pub(crate) fn late_in<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Late> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(late) = error.downcast_ref() {
            return Some(late);
        }
        next = error.source();
    }
    None
}

/// In less time nobody can answer: what the whole may take was over before it was asked.
const TOO_SOON: Duration = Duration::from_millis(10);
const TIME_IS_UP: &str = "the time was up before there could be an answer";

/// Nothing came of whom was asked, in the time that was given.
pub(crate) fn no_answer(within: Duration) -> String {
    if within < TOO_SOON { TIME_IS_UP.to_owned() } else { format!("no answer within {}", limit(within)) }
}

/// The same of the API server.
pub(crate) fn no_api_answer(within: Duration) -> String {
    let limit = limit(within);
    if within < TOO_SOON { TIME_IS_UP.to_owned() } else { format!("no answer from the API server within {limit}") }
}

fn again(last: Option<StatusCode>) -> String {
    last.map_or(String::new(), |status| format!(": it said {status}, which is to ask again later"))
}

/// After how long it is said what is waited for.
const SOON: Duration = Duration::from_secs(5);

/// So long after a word the next is said. What is asked again so soon after it came to nothing is still waited for: no pause between
/// tries is longer.
const AGAIN: Duration = Duration::from_secs(10);

/// What came to nothing: when a word of it is due, and when its last try ended.
type Tries = HashMap<String, (Instant, Instant)>;

/// What is remembered from one request to the next.
#[derive(Debug, Default)]
struct Memory {
    tries: Tries,
    heard: Heard,
    /// When a word was last said of what is waited for: of many things at once one is told.
    said: Option<Instant>,
}

/// Whether the API server is there at all. One of which nothing that is of use came in the time of a request, neither to that
/// request nor to any other, nor in its second half to the smallest question that there is, is asked nothing more for a moment:
/// what asks one thing after the other waits for it once, whatever it answered before.
#[derive(Debug, Default)]
enum Heard {
    /// Nothing was asked, or is still awaited.
    #[default]
    Nothing,
    /// It was silent, could not be reached, or asked for patience; when that was given up.
    Silence(Instant, Mute),
    /// It has answered; when it did last.
    Answer(Instant),
}

/// Why a server was waited for in vain, told again to who asks a moment later.
#[derive(Clone, Debug)]
struct Mute(Arc<dyn Error + Send + Sync>);

impl fmt::Display for Mute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Mute {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

/// So long what does not answer is not asked again. It is shorter than any pause of who tries for longer.
const MUTE: Duration = Duration::from_secs(1);

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
    /// When all requests together must be over.
    until: Option<Instant>,
    tell: Arc<dyn Fn(&str) + Send + Sync>,
    memory: Arc<Mutex<Memory>>,
}

impl fmt::Debug for RequestPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        Self { timeout, until: None, tell: Arc::new(|_| ()), memory: Arc::default() }
    }

    /// The same, and what is waited for longer than 5 s, in one try or in several, is told, and again every 10 s: a request
    /// as `the API server: GET /api/v1/pods`, and what was asked inside of pods as `pod ellis-0, port 80: GET /`. Of what is
    /// waited for at once, one is told.
    #[must_use]
    pub fn telling(self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { tell: Arc::new(tell), ..self }
    }

    /// The same, and no request takes longer than until then.
    pub(crate) fn before(self, until: Instant) -> Self {
        let until = Some(self.until.map_or(until, |own| own.min(until)));
        Self { until, ..self }
    }

    /// How long one request may take that is begun now.
    pub fn timeout(&self) -> Duration {
        self.limit().0
    }

    /// The same, and which time that is.
    fn limit(&self) -> (Duration, TimeLimit) {
        let whole = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        match whole.filter(|whole| *whole < self.timeout) {
            Some(whole) => (whole, TimeLimit::Whole),
            None => (self.timeout, TimeLimit::Request),
        }
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
        let before = self.memory().tries.get(what).filter(|(_, ended)| ended.elapsed() < AGAIN).map(|(due, _)| *due);
        let mut due = before.unwrap_or_else(|| Instant::now() + SOON);
        let done = self.telling_from(&mut due, || what.to_owned(), trying).await;
        let Memory { tries, .. } = &mut *self.memory();
        if is_good(&done) {
            tries.remove(what);
        } else {
            tries.retain(|_, (_, ended)| ended.elapsed() < AGAIN);
            tries.insert(what.to_owned(), (due, Instant::now()));
        }
        done
    }

    /// Why nothing need be asked now, where it is so.
    fn mute(&self) -> Option<Mute> {
        match &self.memory().heard {
            Heard::Silence(since, mute) if since.elapsed() < MUTE => Some(mute.clone()),
            _ => None,
        }
    }

    /// Waits for an answer. Where half of its time went by in silence, the server is asked beside it for what every server has:
    /// one thing that hangs is no server that is not there.
    async fn with_second_opinion<T>(&self, client: &Client, began: Instant, answering: impl Future<Output = T>) -> T {
        let mut answering = pin!(answering);
        let (time, limit) = self.limit();
        let asking = async {
            sleep_until(began + time / 2).await;
            let Ok(version) = Request::get("/version").body(Body::empty()) else { return };
            if answered(client.clone(), version, (time / 2, limit)).await.is_ok() {
                self.memory().heard = Heard::Answer(Instant::now());
            }
        };
        tokio::select! {
            biased;
            done = &mut answering => return done,
            () = asking => {}
        }
        answering.await
    }

    /// Whether it has answered anything in the second half of the time of a request that was begun then. What was asked at the
    /// same time may have been answered before it died.
    fn has_answered_since(&self, began: Instant) -> bool {
        matches!(self.memory().heard, Heard::Answer(at) if at >= began + self.timeout / 2)
    }

    /// Takes in what a request came to that was begun then.
    fn hear<T>(&self, done: Result<T, BoxError>, began: Instant) -> Result<T, BoxError> {
        let is_there = self.has_answered_since(began);
        let Memory { heard, .. } = &mut *self.memory();
        let error = match done {
            Ok(answer) => {
                *heard = Heard::Answer(Instant::now());
                return Ok(answer);
            }
            Err(error) => error,
        };
        let is_silence = match error.downcast_ref::<Late>() {
            Some(late) => late.limit == TimeLimit::Request,
            // Who cannot be reached is given up a little earlier.
            None => began.elapsed() >= self.timeout / 2,
        };
        if is_there || !is_silence {
            return Err(error);
        }
        let mute = Mute(error.into());
        *heard = Heard::Silence(Instant::now(), mute.clone());
        Err(mute.into())
    }

    /// Tells what is waited for, unless something was told a moment ago. Yields when it is due again.
    fn say(&self, what: &str) -> Instant {
        let now = Instant::now();
        {
            let mut memory = self.memory();
            if let Some(next) = memory.said.map(|at| at + AGAIN).filter(|next| *next > now) {
                return next;
            }
            memory.said = Some(now);
        }
        (self.tell)(what);
        now + AGAIN
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
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
                () = sleep_until(*due) => *due = self.say(&what()),
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
            if let Some(mute) = policy.mute() {
                return Err(BoxError::from(mute));
            }
            let began = Instant::now();
            let what = format!("the API server: {} {}", request.method(), request.uri().path());
            let answering = answered(client.clone(), request, policy.limit());
            let answering = policy.with_second_opinion(&client, began, answering);
            let is_good =
                |answer: &Result<Response<_>, _>| answer.as_ref().is_ok_and(|a| !a.status().is_server_error());
            let done = Box::pin(policy.tried(&what, answering, is_good)).await;
            policy.hear(done, began)
        }
    });
    Client::new(service, namespace)
}

async fn answered(
    client: Client,
    request: Request<Body>,
    (time, limit): (Duration, TimeLimit),
) -> Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError> {
    let (is_stream, is_log, is_watch) = (is_stream(&request), is_log(&request), is_watch(&request));
    let is_upgrade = request.headers().contains_key(UPGRADE);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_api = path.starts_with("/api") && !path.contains("/proxy/");
    let until = Instant::now() + time;
    let last = AtomicU16::new(0);
    let late = |_| Late { within: time, last: StatusCode::from_u16(last.load(Ordering::Relaxed)).ok(), limit };
    let response = timeout_at(until, asked(client, request, &last)).await.map_err(late)??;
    let (head, body) = response.into_parts();
    if head.status.is_redirection() {
        return Err(NoObject::redirect(format!("{method} {path}"), &head).into());
    }
    let is_asked_for = is_upgrade && head.status == StatusCode::SWITCHING_PROTOCOLS;
    let is_known = head.status.is_success() || head.status.is_client_error() || head.status.is_server_error();
    if !is_known && !is_asked_for {
        return Err(
            NoObject::new(format!("{method} {path}"), format!("an answer with the status {}", head.status)).into()
        );
    }
    let body = if is_watch {
        Events::new(body).boxed_unsync()
    } else if is_stream {
        body.map_err(Into::into).boxed_unsync()
    } else if is_log && head.status.is_success() {
        Paced::new(body, time).boxed_unsync()
    } else {
        let whole = timeout_at(until, Limited::new(body, LONGEST).collect()).await.map_err(late)?;
        let too_long = |error: BoxError| match error.downcast::<LengthLimitError>() {
            Ok(_) => {
                let seen = format!("longer than {} MiB", LONGEST >> 20);
                NoObject::new(format!("{method} {path}"), seen).into()
            }
            Err(error) => error,
        };
        let body = whole.map_err(too_long)?.to_bytes();
        if head.status.is_success()
            && is_api
            && let Some(seen) = not_asked_for(&method, &path, &body)
        {
            return Err(NoObject::new(format!("{method} {path}"), seen).into());
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
        // What it is of is told by the client around this one.
        let mut answer = client.send(request).await.map_err(|error| match error {
            kube::Error::Service(error) => error,
            other => other.into(),
        });
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
mod tests;
