use clearwater::config::DnsBackend;
use clearwater::dns::corefile::{CorefileError, EditError};
use clearwater::dns::ownership::Manager;
use clearwater::dns::{InvalidName, RecordsError};
use clearwater::remedy::{NamesDeed, Permission, Remedied, Remedy};
use thiserror::Error;
use tower::BoxError;

use crate::cluster::{FailedAt, no_namespace, say};
use crate::observe::cluster_dns::{BY_PODS, ClusterDnsError};

/// Why names were not put into DNS, or not taken out. What works in its place is its [`remedy`](Remedied::remedy).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DnsError {
    /// The deployment is of another namespace than the one that was to be looked at.
    #[error("{message}")]
    Elsewhere {
        /// Both of them.
        message: String,
    },
    /// The cluster's DNS cannot be seen, or not be changed by this user.
    #[error(transparent)]
    Cluster(#[from] ClusterDnsError),
    /// There is no such namespace.
    #[error("{}", no_namespace(.namespace))]
    NoNamespace {
        /// Its name.
        namespace: String,
    },
    /// Nobody is there to be asked, or may be, or answered.
    #[error("{what}: nobody could be asked: {message}")]
    Unasked {
        /// What was looked for.
        what: String,
        /// Whom, and why not.
        message: String,
    },
    /// The cluster's DNS is not CoreDNS.
    #[error("the pods of {namespace}/{service} run {image}, not CoreDNS: it has no Corefile to put names into")]
    NotCoreDns {
        /// The namespace.
        namespace: String,
        /// The Service.
        service: String,
        /// The image.
        image: String,
    },
    /// Whoever keeps the file would put it back.
    #[error("{file} is kept by {manager} ({shown_by}), which would put its own file back: nothing was written")]
    Closed {
        /// The file.
        file: String,
        /// Who keeps it.
        manager: Manager,
        /// The mark that shows it.
        shown_by: String,
        /// What to do.
        instead: Remedy,
    },
    /// DNS is not well, and a change would make it hard to tell why.
    #[error("nothing was written, because {message}")]
    Unwell {
        /// What is wrong.
        message: String,
        /// What to do.
        fix: Remedy,
    },
    /// CoreDNS would not read the file again by itself.
    #[error("{file}: it has no `reload`, so CoreDNS reads it at its start only: nothing was written")]
    NoReload {
        /// The file.
        file: String,
    },
    /// The file cannot be read as CoreDNS reads it.
    #[error("{file}: {error}; nothing was written")]
    Corefile {
        /// The file.
        file: String,
        /// What is wrong.
        #[source]
        error: CorefileError,
    },
    /// The file cannot be edited.
    #[error("{file}: {error}; nothing was written")]
    Edit {
        /// The file.
        file: String,
        /// Why.
        #[source]
        error: EditError,
    },
    /// Somebody else wrote in between.
    #[error("{object} was changed by {by} after it was read: nothing was written")]
    Moved {
        /// The object.
        object: String,
        /// Who, as far as the object tells.
        by: String,
    },
    /// It was written, did not work, and was taken back.
    #[error("{seen}. The change was taken back: {object} is as it was before{after}")]
    TakenBack {
        /// What was seen.
        seen: String,
        /// What was restored.
        object: String,
        /// What was seen after that, beginning with a separator.
        after: String,
    },
    /// It was written, did not work, and could not be taken back.
    #[error("{seen}. The change of {object} could NOT be taken back ({error})")]
    Stuck {
        /// What was seen.
        seen: String,
        /// Why not.
        #[source]
        error: Box<DnsError>,
        /// What has to be restored.
        object: String,
        /// How it is restored.
        fix: Remedy,
    },
    /// The user was asked, and did not agree.
    #[error("not confirmed, nothing was written")]
    NotConfirmed,
    /// The user ended it; whatever was written was taken back.
    #[error("interrupted: {state}")]
    Interrupted {
        /// What stands now.
        state: String,
    },
    /// A backend that cannot do what is asked for.
    #[error("backend {}: {source}", .backend.name())]
    Backend {
        /// The backend.
        backend: DnsBackend,
        /// Why.
        source: BoxError,
        /// What works in its place, where something does.
        instead: Option<Remedy>,
    },
    /// What the names lead to is not there, or not as the backend needs it.
    #[error("backend {}: {message}", .backend.name())]
    Lacking {
        /// The backend.
        backend: DnsBackend,
        /// What is not there.
        message: String,
        /// What works.
        instead: Remedy,
    },
    /// etcd cannot be reached, or refuses.
    #[error("etcd at {endpoint}: {}", say(.source.as_ref()))]
    Etcd {
        /// The URL.
        endpoint: String,
        /// What was seen.
        source: BoxError,
        /// What to do.
        fix: Remedy,
    },
    /// Records that cannot be made.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A name that cannot be one.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// It was looked at, and it does not work.
    #[error("{0}")]
    Failed(String),
}

impl DnsError {
    /// A backend that cannot do what is asked for, and what works in its place.
    pub(crate) fn backend(backend: DnsBackend, source: impl Into<BoxError>, instead: impl Into<Remedy>) -> Self {
        Self::Backend { backend, source: source.into(), instead: Some(instead.into()) }
    }

    /// What is not there, with what puts it there.
    pub(crate) fn lacking(backend: DnsBackend, message: impl Into<String>, instead: impl Into<Remedy>) -> Self {
        Self::Lacking { backend, message: message.into(), instead: instead.into() }
    }

    /// A right that is missing, with what it is needed for and what follows.
    pub(crate) fn right(
        what: impl Into<String>,
        right: impl Into<String>,
        source: impl Into<BoxError>,
        instead: Option<Remedy>,
    ) -> Self {
        let (what, right, source) = (what.into(), right.into(), source.into());
        ClusterDnsError::Right { what, right, source, instead }.into()
    }

    /// The API server that did not answer, or not as it should.
    pub(crate) fn unreachable(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        ClusterDnsError::Unreachable(FailedAt::new(what, source)).into()
    }

    /// The right that is missing, where it is one.
    pub fn missing_right(&self) -> Option<&str> {
        match self {
            Self::Cluster(ClusterDnsError::Right { right, .. }) => Some(right),
            _ => None,
        }
    }

    /// Whether the API server could not be asked.
    pub(crate) const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Cluster(ClusterDnsError::Unreachable(_)))
    }

    /// One that needs more than is told here.
    pub(crate) fn unable(backend: DnsBackend, source: impl Into<BoxError>) -> Self {
        Self::Backend { backend, source: source.into(), instead: None }
    }
}

impl Remedied for DnsError {
    fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            Self::Cluster(error) => return error.remedy(),
            Self::NoNamespace { .. } => Remedy::ChooseNamespace,
            Self::Backend { instead, .. } => return instead.clone(),
            Self::NotCoreDns { .. } => {
                Remedy::any([BY_PODS.into(), Remedy::from(NamesDeed::Print).then(" and put them into DNS elsewhere")])
            }
            Self::Closed { instead, .. } | Self::Lacking { instead, .. } => instead.clone(),
            Self::Unwell { fix, .. } | Self::Stuck { fix, .. } | Self::Etcd { fix, .. } => fix.clone(),
            Self::NoReload { .. } => Permission::RestartDns.into(),
            Self::Corefile { .. } => "repair it first".into(),
            Self::Moved { .. } => Remedy::Again.after("look at it, then "),
            Self::Elsewhere { .. }
            | Self::Edit { .. }
            | Self::TakenBack { .. }
            | Self::NotConfirmed
            | Self::Interrupted { .. }
            | Self::Records(_)
            | Self::Name(_)
            | Self::Unasked { .. }
            | Self::Failed(_) => return None,
        })
    }
}
