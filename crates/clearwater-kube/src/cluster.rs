use std::error::Error;
use std::time::Duration;

use clearwater::config::{ConfigErrors, Deployment, DeploymentFile};
use clearwater::remedy::Remedy;
use clearwater::text::{in_one_line, printable};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::core::{GroupVersionKind, Status};
use kube::runtime::watcher;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};
use tower::BoxError;

use crate::deadline::answer::NoObject;
use crate::deadline::{self, RequestPolicy};
use crate::judge::said::Meaning;
use crate::kinds::ObjectKind;

/// The field manager of every write (server-side apply).
pub const FIELD_MANAGER: &str = "kubectl-clearwater";

/// Deletes the object that was looked at, and no other that has taken its name since.
pub(crate) fn only(uid: Option<String>) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions { uid, resource_version: None })
}

/// A namespace of a cluster, and how it is reached.
#[derive(Clone)]
pub struct Cluster {
    /// The client, whose requests all have a deadline.
    pub client: Client,
    /// The client without a deadline.
    bare: Client,
    /// The namespace.
    pub namespace: String,
    /// How long one request may take, one that is put to a pod over the API server among them, and who hears of waiting.
    pub(crate) policy: RequestPolicy,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Cluster {
    /// A namespace as this client reaches it, each request within [`REQUEST_TIMEOUT`](crate::REQUEST_TIMEOUT).
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self::with_requests(client, namespace, &RequestPolicy::default())
    }

    /// The same, whose requests follow another policy.
    pub fn with_requests(client: Client, namespace: impl Into<String>, policy: &RequestPolicy) -> Self {
        let bare = client;
        let client = deadline::within(bare.clone(), policy);
        Self { client, bare, namespace: namespace.into(), policy: policy.clone() }
    }

    /// The same for what must be over by then as a whole, however many requests it takes one after the other: a request that
    /// comes to nothing by then says what it was and what the API server said instead, which a clock around it cannot.
    pub(crate) fn before(&self, until: Instant) -> Self {
        let policy = self.policy.clone().before(until);
        Self::with_requests(self.bare.clone(), self.namespace.clone(), &policy)
    }

    /// Puts a deployment file on this namespace and checks it as a whole.
    ///
    /// # Errors
    /// Everything that is wrong with it: see [`DeploymentFile::deploy`].
    pub fn deploy(&self, file: &DeploymentFile) -> Result<Deployment, ConfigErrors> {
        file.deploy(&self.namespace)
    }

    /// Whether a deployment is of this namespace. What is about another one would look here and write there.
    ///
    /// # Errors
    /// A text that names both.
    pub(crate) fn is_of(&self, deployment: &Deployment) -> Result<(), String> {
        if deployment.namespace() == self.namespace {
            return Ok(());
        }
        let (here, there) = (&self.namespace, deployment.namespace());
        Err(format!(
            "the cluster's namespace is {here} and the deployment's is {there}: Cluster::deploy takes one for both"
        ))
    }

    /// Another namespace of the same cluster, reached in the same way.
    #[must_use]
    pub fn beside(&self, namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), ..self.clone() }
    }

    /// An interface to the namespace's objects of a type.
    pub fn api<K>(&self) -> kube::Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        kube::Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// An interface to the namespace's objects of a kind that is known by name only.
    pub fn dynamic(&self, api_version: &str, kind: &str) -> kube::Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        kube::Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// An interface to the namespace's objects of a kind.
    pub(crate) fn of_kind(&self, kind: ObjectKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    /// Whether the namespace is there; `None` where this user may not look. A list of what is in a namespace that does
    /// not exist is empty, so that nothing else tells the two apart.
    ///
    /// # Errors
    ///
    /// The API server gave no answer, or one that is none.
    pub async fn namespace_exists(&self) -> Result<Option<bool>, FailedAt> {
        Ok(self.namespace_state().await?.map(|state| state != NamespaceState::Absent))
    }

    /// How the namespace is; `None` where this user may not look.
    pub(crate) async fn namespace_state(&self) -> Result<Option<NamespaceState>, FailedAt> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = visible(namespaces.get_opt(&self.namespace).await);
        let found = found.map_err(|error| FailedAt::new(format!("reading namespace {}", self.namespace), error))?;
        Ok(found.map(|found| match found {
            None => NamespaceState::Absent,
            Some(namespace) if namespace.metadata.deletion_timestamp.is_some() => NamespaceState::Terminating,
            Some(_) => NamespaceState::Standing,
        }))
    }

    /// Whether the namespace is seen to be on its way out. For seconds nothing that is in it shows that.
    pub(crate) async fn is_leaving(&self, within: Duration) -> bool {
        matches!(timeout(within, self.namespace_state()).await, Ok(Ok(Some(NamespaceState::Terminating))))
    }

    /// Whether the namespace is seen not to be there, where nothing of it was found: what is not there looks like what is
    /// empty.
    pub(crate) async fn lacks_namespace(&self) -> bool {
        self.absence().await.is_some()
    }

    /// Why nothing was found in the namespace, where it is that there is no such namespace: what is not there looks like what
    /// is empty.
    pub async fn absence(&self) -> Option<String> {
        matches!(self.namespace_exists().await, Ok(Some(false))).then(|| no_namespace(&self.namespace))
    }

    /// How far the API server's clock is ahead of this machine's. Zero where it does not say.
    pub async fn clock_skew(&self) -> SignedDuration {
        let Ok(request) = http::Request::get("/version").body(kube::client::Body::empty()) else {
            return SignedDuration::ZERO;
        };
        // It is often the first that is asked: one that is not waited out would have the next one wait as long again.
        let Ok(response) = self.client.send(request).await else { return SignedDuration::ZERO };
        let date = response.headers().get(http::header::DATE).and_then(|d| d.to_str().ok());
        let Some(date) = date.and_then(|d| jiff::fmt::rfc2822::parse(d).ok()) else { return SignedDuration::ZERO };
        let skew = date.timestamp().duration_since(Timestamp::now());
        // The header is cut to whole seconds: less than two are no skew.
        if skew.abs() < SignedDuration::from_secs(2) { SignedDuration::ZERO } else { skew }
    }
}

/// Said of a namespace that is not there.
pub(crate) fn no_namespace(name: &str) -> String {
    format!("there is no namespace {name}")
}

/// Said of a namespace that is being removed.
pub(crate) const LEAVING: &str =
    "it is being removed (Terminating): nothing can be made in it, and nothing else of it was asked";

/// What to do about one.
pub(crate) fn until_gone(name: &str) -> Remedy {
    let what_holds =
        format!("kubectl get namespace {name} -o jsonpath={{.status.conditions}}, which tells what holds it");
    Remedy::any(["wait until it is gone, and have it made anew".to_owned(), what_holds])
}

/// So many objects are asked for at once: an answer stays small however large the cluster is.
const PAGE: u32 = 250;
/// No list has more pages: the largest clusters have 150,000 pods.
const PAGES: usize = 600;

/// The longest that a list of many pages may take: one of 150,000 objects takes half a minute.
const LIST: Duration = Duration::from_secs(120);

/// Every object of a kind that fits, page by page. A list without end is an error.
pub(crate) async fn list_all<K>(api: &Api<K>, params: &ListParams) -> kube::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut params = params.clone().limit(PAGE);
    let mut all = Vec::new();
    let until = Instant::now() + LIST;
    for _ in 0..PAGES {
        if Instant::now() >= until {
            break;
        }
        let page = api.list(&params).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
    let endless = format!("a list of {} objects and more has no end", all.len());
    Err(kube::Error::Service(endless.into()))
}

/// The minor version of the cluster's Kubernetes; `None` where it does not say.
pub(crate) async fn minor(client: &Client) -> Option<u32> {
    client.apiserver_version().await.ok().and_then(|version| minor_of(&version.minor))
}

/// The number of a minor version, which some distributions end with a plus sign.
pub(crate) fn minor_of(text: &str) -> Option<u32> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// An error with its causes in one line, each said once, and one of the API without the client's own nesting.
pub(crate) fn say(error: &(dyn Error + 'static)) -> String {
    let mut text = words(error);
    let mut next = cause(error);
    while let Some(error) = next {
        let words = words(error);
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause(error);
    }
    text
}

/// How a namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamespaceState {
    /// It is not there.
    Absent,
    /// It is there.
    Standing,
    /// It is being removed: nothing can be made in it.
    Terminating,
}

/// What a server that is written in Go answers to whoever speaks no TLS (Go `net/http/server.go`).
const PLAIN_TO_TLS: &str = "Client sent an HTTP request to an HTTPS server";

/// Why a server does not know somebody.
const NO_CREDENTIALS: &str = "the token or certificate is not valid, or no longer";

/// The reason that kube's client gives an answer that is no `Status` (kube-client `client/mod.rs` `handle_api_errors`).
const NO_STATUS: &str = "Failed to parse error data";

/// How many characters are told of an answer that is no `Status`.
const MOST_SAID: usize = 300;

/// What others say, as a part of a sentence.
pub(crate) fn one_line(text: &str) -> String {
    printable(&in_one_line(text)).into_owned()
}

fn words(error: &(dyn Error + 'static)) -> String {
    let api = |status: &Status| {
        let said = one_line(&status.message);
        if status.code == 401 {
            let said = if said.is_empty() { "Unauthorized" } else { &said };
            return format!("the API server does not know who asks (401 {said}): {NO_CREDENTIALS}");
        }
        if said.is_empty() {
            format!("the API server answered {} {}", status.code, one_line(&status.reason))
        } else if said.contains(PLAIN_TO_TLS) {
            "the server speaks TLS alone: its address begins with https://".to_owned()
        } else if status.reason == NO_STATUS {
            // Words of nobody knows whom, of any length: what they mean is told by the number alone.
            let begin: String = said.chars().take(MOST_SAID).collect();
            format!("the API server answered {}: {begin}", status.code)
        } else {
            said
        }
    };
    // A watch tells of an answer with all its fields.
    match error.downcast_ref() {
        Some(watcher::Error::WatchError(status)) => return api(status),
        Some(
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error),
        ) => return words(error),
        _ => {}
    }
    match error.downcast_ref() {
        Some(kube::Error::Api(status)) => api(status),
        // Its own name for itself tells nothing.
        Some(kube::Error::Service(error)) => error.to_string(),
        _ => error.to_string(),
    }
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref() {
        Some(kube::Error::Api(_)) => None,
        Some(kube::Error::Service(error)) => error.source(),
        _ => error.source(),
    }
}

/// An error with what it happened to: what was asked of the API server, mostly, and why no answer came that is of use.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", say(.source.as_ref()))]
pub struct FailedAt {
    /// What was tried, or the object.
    pub what: String,
    /// What was seen.
    pub source: BoxError,
}

impl FailedAt {
    /// An error of something.
    pub fn new(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { what: what.into(), source: source.into() }
    }
}

/// What to do where the API server cannot be asked.
pub(crate) const CONNECTION: &str = "check the connection to the API server and try again";

/// What the API server answered, by number, where it refused: a question, a watch, or a connection into a pod.
pub(crate) fn code_of(error: &(dyn Error + 'static)) -> Option<u16> {
    use kube::client::UpgradeConnectionError;
    if let Some(error) = error.downcast_ref::<watcher::Error>() {
        return match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => code_of(error),
            watcher::Error::WatchError(status) => Some(status.code),
            watcher::Error::NoResourceVersion => None,
        };
    }
    match error.downcast_ref::<kube::Error>()? {
        kube::Error::Api(status) => Some(status.code),
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code)) => Some(code.as_u16()),
        _ => None,
    }
}

/// Whether the user may not do what was asked.
pub(crate) fn is_forbidden(error: &(dyn Error + 'static)) -> bool {
    code_of(error) == Some(403)
}

/// Whether it is the user who lacks a right. What is written may be forbidden to everybody, by admission and its quotas: words
/// alone tell these apart, and an answer without any, as of a connection into a pod, is taken for the user's.
pub(crate) fn lacks_right(error: &(dyn Error + 'static)) -> bool {
    is_forbidden(error)
        && match error.downcast_ref() {
            Some(kube::Error::Api(status)) => status.message.is_empty() || Meaning::LacksRight.is_in(&status.message),
            _ => true,
        }
}

/// What a request brought; `None` where this user may not ask.
pub(crate) fn visible<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Ok(seen) => Ok(Some(seen)),
        Err(error) if is_forbidden(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the API server does not know who asks. No later attempt will be better.
pub(crate) fn is_unauthorized(error: &(dyn Error + 'static)) -> bool {
    code_of(error) == Some(401)
}

/// Whether the API server's answer may be another one later: it is busy or restarting.
pub(crate) fn is_passing_status(status: &Status) -> bool {
    matches!(status.code, 408 | 429 | 500 | 502 | 503 | 504) || status.reason == "ServerTimeout"
}

/// Whether asking again may help: the connection broke, or the server is busy or restarting.
pub(crate) fn is_passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => is_passing_status(status),
        kube::Error::Service(error) => !error.is::<NoObject>(),
        kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use k8s_openapi::api::core::v1::Pod;
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// A namespace whose pods come two a page, on so many pages.
    fn paged(pages: usize) -> Api<Pod> {
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let query = request.uri().query().unwrap_or_default();
            let page: usize = query
                .split('&')
                .find_map(|pair| pair.strip_prefix("continue="))
                .map_or(0, |token| token.parse().expect("it is a number that was given"));
            assert!(query.contains("limit=250") && query.contains("labelSelector=a"), "{query}");
            let pod = |n: usize| json!({"metadata": {"name": format!("pod-{n}")}});
            let next = if page + 1 < pages { (page + 1).to_string() } else { String::new() };
            let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"continue": next},
                "items": [pod(2 * page), pod(2 * page + 1)]});
            async move { Ok::<_, Infallible>(http::Response::new(Body::from(list.to_string().into_bytes()))) }
        });
        Api::default_namespaced(Client::new(service, "ims"))
    }

    /// As kube tells an answer that is no Status.
    #[test]
    fn a_server_that_is_spoken_to_in_plain_text_is_told() {
        let status: Status = serde_json::from_value(json!({"code": 400, "reason": "Failed to parse error data",
            "message": "Client sent an HTTP request to an HTTPS server.\n"}))
        .unwrap();
        let told = say(&kube::Error::Api(Box::new(status)));
        assert_eq!(told, "the server speaks TLS alone: its address begins with https://");
    }

    /// Whatever a server says is one line of a sentence, and what is no Status has its number.
    #[test]
    fn what_a_server_says_is_a_part_of_a_sentence() {
        let answer = |code, message: &str, reason: &str| {
            say(&kube::Error::Api(Status::failure(message, reason).with_code(code).boxed()))
        };
        let told = |message: &str, reason: &str| answer(500, message, reason);
        assert_eq!(told("no\nspace\u{1b}[31m left", "InternalError"), "no space\\u{1b}[31m left");
        assert_eq!(told("oops\n", NO_STATUS), "the API server answered 500: oops");
        assert_eq!(told(&"o".repeat(5000), NO_STATUS).len(), "the API server answered 500: ".len() + MOST_SAID);
        let unknown = answer(401, "no\nsuch\u{1b}[31m user", "Unauthorized");
        assert!(unknown.contains("(401 no such\\u{1b}[31m user)"), "{unknown}");
        assert_eq!(told("", "a\nreason"), "the API server answered 500 a reason");
    }

    /// The API server says `Forbidden` of what a user may not do, and of what nobody may.
    #[test]
    fn a_right_is_lacked_by_somebody() {
        let lacks = |message: &str, code| {
            let status = Status::failure(message, "Forbidden").with_code(code);
            lacks_right(&kube::Error::Api(status.boxed()))
        };
        for (message, expected) in [
            (
                r#"pods is forbidden: User "u" cannot create resource "pods" in API group "" in the namespace "ims""#,
                true,
            ),
            (r#"forbidden: User "system:anonymous" cannot get path "/version""#, true),
            ("", true),
            (r#"jobs.batch "j" is forbidden: exceeded quota: q, requested: count/jobs.batch=1"#, false),
            (
                r#"configmaps "coredns" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"#,
                false,
            ),
            (r#"admission webhook "w.example.com" denied the request: not on a Saturday"#, false),
        ] {
            assert_eq!((lacks(message, 403), lacks(message, 422)), (expected, false), "{message}");
        }
    }

    #[tokio::test]
    async fn a_list_is_read_to_its_last_page_and_no_further_than_a_cluster_can_be_large() {
        let labelled = ListParams::default().labels("a");
        let pods = list_all(&paged(3), &labelled).await.expect("it answers");
        let names: Vec<_> = pods.iter().filter_map(|p| p.metadata.name.as_deref()).collect();
        assert_eq!(names, ["pod-0", "pod-1", "pod-2", "pod-3", "pod-4", "pod-5"]);
        let endless = list_all(&paged(usize::MAX), &labelled).await.expect_err("it has no end");
        assert!(say(&endless).contains("has no end"), "{}", say(&endless));
    }
}
