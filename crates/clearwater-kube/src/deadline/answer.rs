//! Whether what was answered is what was asked for.

use clearwater::text::printable;
use http::Method;
use http::header::LOCATION;
use http::response::Parts;
use serde::Deserialize;
use thiserror::Error;

use crate::kinds::ObjectKind;

/// What was answered is not what was asked for, though it could be read as that: whatever answered, it is no API server, and
/// no later answer will be better.
#[derive(Debug, Error)]
#[error("what answered {request} is {seen}: is this the API server?{instead}")]
pub(crate) struct NoObject {
    request: String,
    seen: String,
    instead: &'static str,
}

impl NoObject {
    pub(super) fn new(request: String, seen: String) -> Self {
        Self { request, seen, instead: "" }
    }

    /// A redirect, which is followed for no request: what is there is not what the kubeconfig names, and may be somebody else's
    /// who is to be told no credentials.
    pub(super) fn redirect(request: String, head: &Parts) -> Self {
        let to = head.headers.get(LOCATION).and_then(|to| to.to_str().ok()).map_or_else(|| "nowhere".to_owned(), place);
        let seen = format!("a redirect ({}) to {to}", head.status);
        Self { request, seen, instead: " Its own URL belongs into the kubeconfig, as the cluster's server" }
    }
}

/// Where a redirect leads to, without what may be secret: who asks, and the query.
fn place(location: &str) -> String {
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let shown = match path.split_once("//") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}//{host}{path}")
        }
        None => path.to_owned(),
    };
    printable(&shown).into_owned()
}

/// What every object of Kubernetes says of itself, lists and the API's own among them.
#[derive(Deserialize)]
struct ObjectHead {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: NameOf,
}

#[derive(Default, Deserialize)]
struct NameOf {
    #[serde(default)]
    name: String,
}

/// What of the API's objects a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Addressed<'a> {
    pub(crate) group: &'a str,
    pub(crate) plural: &'a str,
    /// One of them; none where all are meant.
    pub(crate) name: Option<&'a str>,
}

impl<'a> Addressed<'a> {
    /// `None` for subresources, and for what a kubelet answers by a proxy.
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, below) = match &parts[..] {
            ["api", _, below @ ..] => ("", below),
            ["apis", group, _, below @ ..] => (*group, below),
            _ => return None,
        };
        match below {
            ["namespaces", _, plural] | [plural] => Some(Self { group, plural, name: None }),
            ["namespaces", _, plural, name] | [plural, name] => Some(Self { group, plural, name: Some(name) }),
            _ => None,
        }
    }
}

/// What is wrong with what answers a request for objects.
pub(super) fn not_asked_for(method: &Method, path: &str, body: &[u8]) -> Option<String> {
    let Ok(head) = serde_json::from_slice::<ObjectHead>(body) else {
        let is_page = body.trim_ascii_start().starts_with(b"<");
        let seen = if is_page { "a page for a browser" } else { "no object of Kubernetes (it is no JSON of one)" };
        return Addressed::of(path).map(|_| seen.to_owned());
    };
    let (kind, named) = (head.kind, head.metadata.name);
    if kind.is_empty() {
        return Some("no object of Kubernetes (it has no kind)".to_owned());
    }
    let asked = Addressed::of(path)?;
    // What is deleted may be answered with a Status, and what is made has got its kind from here.
    if method == Method::DELETE || method == Method::POST {
        return None;
    }
    let known = ObjectKind::of_resource(asked.group, asked.plural).map(|kind| kind.name);
    match asked.name {
        // Where no more is asked for, an object is told by its metadata alone.
        None => {
            let is_it = known.is_none_or(|known| kind.strip_suffix("List") == Some(known));
            let is_list = kind == "PartialObjectMetadataList" || kind.ends_with("List") && is_it;
            (!is_list).then(|| format!("a {kind} and no list of {}", asked.plural))
        }
        Some(name) => {
            let is_it = known.is_none_or(|known| kind == known) || kind == "PartialObjectMetadata";
            (!is_it || named != name).then(|| format!("the {kind} {named:?} and not {}/{name}", asked.plural))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_names_is_known() {
        let named = |group, plural, name| Some(Addressed { group, plural, name });
        for (path, expected) in [
            ("/api/v1/namespaces", named("", "namespaces", None)),
            ("/api/v1/namespaces/ims", named("", "namespaces", Some("ims"))),
            ("/api/v1/namespaces/ims/pods", named("", "pods", None)),
            ("/api/v1/namespaces/ims/pods/bono-0", named("", "pods", Some("bono-0"))),
            ("/api/v1/namespaces/ims/pods/bono-0/log", None),
            ("/apis/apps/v1/namespaces/ims/deployments/bono/scale", None),
            ("/apis/storage.k8s.io/v1/storageclasses", named("storage.k8s.io", "storageclasses", None)),
            ("/api/v1/nodes/n1/proxy/configz", None),
            ("/apis/apps/v1", None),
            ("/api", None),
        ] {
            assert_eq!(Addressed::of(path), expected, "{path}");
        }
    }

    #[test]
    fn an_answer_is_of_the_kind_that_was_asked_for() {
        let seen = |method: Method, path: &str, body: &str| not_asked_for(&method, path, body.as_bytes());
        let pods = "/api/v1/namespaces/ims/pods";
        for kind in ["SecretList", "Status", "Pod", "PodMetricsList"] {
            let body = format!("{{\"kind\": \"{kind}\", \"items\": []}}");
            assert_eq!(seen(Method::GET, pods, &body), Some(format!("a {kind} and no list of pods")));
        }
        for kind in ["PodList", "PartialObjectMetadataList"] {
            assert_eq!(seen(Method::GET, pods, &format!("{{\"kind\": \"{kind}\"}}")), None);
        }
        assert_eq!(seen(Method::GET, pods, "\n<html>Sign in</html>").as_deref(), Some("a page for a browser"));
        assert!(seen(Method::GET, pods, "null").is_some() && seen(Method::GET, pods, "{\"kind\":").is_some());
        let metrics = "/apis/metrics.k8s.io/v1beta1/namespaces/ims/pods";
        assert_eq!(seen(Method::GET, metrics, "{\"kind\": \"PodMetricsList\"}"), None);
        let one = "/api/v1/namespaces/ims/services/bono";
        for method in [Method::GET, Method::PATCH] {
            for other in
                [r#"{"kind":"Secret","metadata":{"name":"bono"}}"#, r#"{"kind":"Service","metadata":{"name":"zzz"}}"#]
            {
                assert!(seen(method.clone(), one, other).is_some(), "{other}");
            }
            assert_eq!(seen(method, one, r#"{"kind":"Service","metadata":{"name":"bono"}}"#), None);
        }
        assert_eq!(seen(Method::DELETE, one, r#"{"kind":"Status"}"#), None);
    }

    #[test]
    fn a_redirect_is_named_with_its_place_and_no_secret() {
        for (location, place) in [
            (Some("https://ann:s3cret@sso.example.com/login?token=s3cret#x"), "https://sso.example.com/login: is"),
            (Some("/login?token=s3cret"), "/login: is"),
            (Some("//other.example.com"), "//other.example.com: is"),
            (None, "nowhere: is"),
        ] {
            let mut response = http::Response::builder().status(302);
            if let Some(location) = location {
                response = response.header(LOCATION, location);
            }
            let (head, ()) = response.body(()).unwrap().into_parts();
            let said = NoObject::redirect("GET /version".to_owned(), &head).to_string();
            assert!(
                said.starts_with(&format!("what answered GET /version is a redirect (302 Found) to {place}")),
                "{said}"
            );
            assert!(said.contains("URL belongs into the kubeconfig") && !said.contains("s3cret"), "{said}");
        }
    }
}
