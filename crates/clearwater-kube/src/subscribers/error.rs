use clearwater::component::Component;
use clearwater::remedy::{Remedied, Remedy};
use clearwater::subscriber::InvalidPublicIdentity;
use clearwater::text::printable;
use thiserror::Error;
use tower::BoxError;

use crate::cluster::{CONNECTION, Cluster, FailedAt, is_forbidden, no_namespace, say};
use crate::pod::AskError;

/// Why nothing could be done about subscribers. What works in its place is its [`remedy`](Remedied::remedy).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SubscriberError {
    /// Nothing that knows subscribers is there.
    #[error("namespace {namespace}: {} runs there", match .wanted { Some(one) => format!("no {one}"), None => "neither ellis nor homestead-prov".to_owned() })]
    NoProvisioning {
        /// The namespace.
        namespace: String,
        /// The one that was asked for, where one was.
        wanted: Option<Component>,
    },
    /// There is not even the namespace.
    #[error("{}", no_namespace(.namespace))]
    NoNamespace {
        /// The namespace.
        namespace: String,
    },
    /// It is there, but no pod of it can be asked.
    #[error("{component}: none of its pods in namespace {namespace} is ready")]
    NotReady {
        /// The component.
        component: Component,
        /// The namespace.
        namespace: String,
    },
    /// The user may not do what is needed.
    #[error("{what}: needs the right to {right}")]
    Right {
        /// What it is needed for.
        what: String,
        /// The right, as `get secrets`.
        right: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// The API server did not answer, or not as it should.
    #[error(transparent)]
    Unreachable(FailedAt),
    /// What the deployment keeps its keys in is not as it must be.
    #[error("{what}: {message}")]
    Keys {
        /// The object.
        what: String,
        /// What was seen.
        message: String,
    },
    /// The pod could not be asked.
    #[error("{component}: {}", of_pod(.source))]
    Ask {
        /// The component.
        component: Component,
        /// Why.
        source: AskError,
    },
    /// The sign-up code is not the one that Ellis has. Ellis answers 403; upstream's page says 400 (ellis `docs/api.md`).
    #[error("ellis refused the sign-up code ({status} {reason})")]
    SignUpCode {
        /// The status.
        status: u16,
        /// Ellis' words.
        reason: String,
    },
    /// Ellis does not take who asks for the account's owner: the API key, the session or the password is wrong.
    #[error("ellis did not let this be done: {request}: {status} {reason}")]
    Denied {
        /// What was asked.
        request: String,
        /// The status.
        status: u16,
        /// Ellis' words.
        reason: String,
    },
    /// All numbers are given away (ellis `src/metaswitch/ellis/api/numbers.py`).
    #[error("{component} has no number left to give away")]
    PoolEmpty {
        /// Whose pool.
        component: Component,
    },
    /// The identity is another's, or there already.
    #[error("{identity}: it is given away already")]
    Taken {
        /// The public or the private identity.
        identity: String,
    },
    /// The identity is not there, or not this account's.
    #[error("{identity}: there is no such subscriber{}", .account.as_ref().map_or_else(String::new, |a| format!(" of account {a}")))]
    Missing {
        /// The identity.
        identity: String,
        /// The account that was asked for it, where there are accounts.
        account: Option<String>,
    },
    /// Ellis did its part and one of those behind it did not. What was begun is taken back by Ellis itself.
    #[error("{request}: ellis could not update {back_end} ({reason})")]
    BackEnd {
        /// What was asked.
        request: String,
        /// Which: `homestead-prov`, `homer`, or both where Ellis does not say.
        back_end: String,
        /// Ellis' words.
        reason: String,
    },
    /// It went on saying that it is busy.
    #[error("{component}: {request}: {status} {reason}, for {seconds} s")]
    Busy {
        /// The component.
        component: Component,
        /// What was asked.
        request: String,
        /// The status.
        status: u16,
        /// What it said.
        reason: String,
        /// For how long it was asked.
        seconds: u64,
    },
    /// Another answer than those that can be done something with.
    #[error("{component}: {request}: {status} {reason}")]
    Refused {
        /// The component.
        component: Component,
        /// What was asked.
        request: String,
        /// The status.
        status: u16,
        /// What it said.
        reason: String,
    },
    /// An answer that cannot be read.
    #[error("{component}: {request}: the answer cannot be read: {}", say(.source.as_ref()))]
    Unreadable {
        /// The component.
        component: Component,
        /// What was asked.
        request: String,
        /// Why.
        source: BoxError,
    },
    /// The system gives no random numbers, of which passwords are made.
    #[error("no password can be made: {0}")]
    Random(#[from] getrandom::Error),
    /// What was given, or came, is no identity.
    #[error(transparent)]
    Identity(#[from] InvalidPublicIdentity),
}

impl SubscriberError {
    /// Whether it is about the one subscriber alone, so that the next one may well succeed.
    pub const fn is_of_one(&self) -> bool {
        matches!(self, Self::Taken { .. } | Self::Missing { .. } | Self::Identity(_))
    }

    pub(super) fn of_api(what: impl Into<String>, right: &str, source: kube::Error) -> Self {
        let what = what.into();
        if is_forbidden(&source) {
            Self::Right { what, right: right.to_owned(), source }
        } else {
            Self::Unreachable(FailedAt::new(what, source))
        }
    }

    /// Nothing that knows subscribers was found.
    pub(super) async fn nothing(cluster: &Cluster, wanted: Option<Component>) -> Self {
        let namespace = cluster.namespace.clone();
        if cluster.lacks_namespace().await {
            Self::NoNamespace { namespace }
        } else {
            Self::NoProvisioning { namespace, wanted }
        }
    }

    pub(super) fn ask(component: Component, source: AskError) -> Self {
        Self::Ask { component, source }
    }
}

impl Remedied for SubscriberError {
    fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            Self::NoProvisioning { wanted: None, .. } => Remedy::any([
                Remedy::ChooseNamespace,
                Remedy::BringUp.then("; with an HSS, subscribers are made there"),
            ]),
            Self::NoNamespace { .. } => Remedy::ChooseNamespace,
            Self::NoProvisioning { wanted: Some(_), .. } => Remedy::any([Remedy::ChooseNamespace, Remedy::BringUp]),
            Self::NotReady { .. } | Self::Ask { source: AskError::Broken { .. } | AskError::Deadline { .. }, .. } => {
                Remedy::Status
            }
            Self::Ask { source, .. } if source.is_of_the_way() => CONNECTION.into(),
            Self::Right { right, .. } => format!("let an administrator grant {right} in the namespace").into(),
            Self::Unreachable(_) => CONNECTION.into(),
            Self::SignUpCode { .. } => {
                "restart ellis' pod, if the key was changed after it started; or give the code that it was started with"
                    .into()
            }
            Self::PoolEmpty { .. } => "delete numbers that nobody needs; or choose numbers outside of the pool".into(),
            Self::BackEnd { .. } | Self::Busy { .. } => Remedy::any([Remedy::Status, Remedy::Again]),
            Self::Taken { .. } => "choose another number, or delete that one first".into(),
            _ => return None,
        })
    }
}

/// A pod's trouble without the client's own nesting.
fn of_pod(error: &AskError) -> String {
    match error {
        AskError::Broken { pod, source } | AskError::Unreached { pod, source } | AskError::Unheard { pod, source } => {
            format!("pod {pod}: {}", say(source.as_ref()))
        }
        other => other.to_string(),
    }
}

/// The words of an answer: what its JSON gives as the reason, the title of a page, or how it begins.
pub(super) fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let reason = json.as_ref().and_then(|j| j["reason"].as_str().or(j["message"].as_str())).map(str::to_owned);
    let title = || {
        let (_, rest) = text.split_once("<title>")?;
        rest.split_once("</title>").map(|(title, _)| title.to_owned())
    };
    let words = reason.or_else(title).unwrap_or_else(|| text.into_owned());
    printable(words.trim()).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_by_its_own_words() {
        assert_eq!(words(br#"{"error":true,"reason":"No available numbers"}"#), "No available numbers");
        assert_eq!(words(b"<html><head><title>502 Bad Gateway</title></head></html>"), "502 Bad Gateway");
        assert_eq!(words(b"  plain\x1b[1m "), "plain\\u{1b}[1m");
        assert_eq!(words(&b"x".repeat(1000)).len(), 200);
    }

    #[test]
    fn one_that_is_taken_does_not_end_a_run() {
        assert!(SubscriberError::Taken { identity: "x".to_owned() }.is_of_one());
        assert!(!SubscriberError::PoolEmpty { component: Component::Ellis }.is_of_one());
    }
}
