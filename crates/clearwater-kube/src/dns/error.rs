use clearwater::config::DnsBackend;
use clearwater::dns::corefile::{CorefileError, EditError};
use clearwater::dns::keeper::Keeper;
use clearwater::dns::{InvalidName, RecordsError};
use thiserror::Error;

use crate::observe::cluster_dns::LookError;

/// Why names were not put into DNS, or not taken out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DnsError {
    /// The user may not do what is needed.
    #[error("{what}: needs the right to {right}: {message}")]
    Right {
        /// What it is needed for.
        what: String,
        /// The right, as `patch configmaps in kube-system`.
        right: String,
        /// What the API server said, or what to do.
        message: String,
    },
    /// The API server did not answer, or not as it should.
    #[error("{what}: {message}; check the connection to the cluster and try again")]
    Unreachable {
        /// What was looked for.
        what: String,
        /// What was seen.
        message: String,
    },
    /// The cluster's DNS is not where it usually is.
    #[error(
        "{message}; put the names in by hand (kubectl clearwater dns-patch --backend print), or let sprout's pods carry them (`dns: {{backend: pods}}`)"
    )]
    NoServer {
        /// What was seen.
        message: String,
    },
    /// The cluster's DNS is not CoreDNS.
    #[error(
        "the pods of {namespace}/{service} run {image}, not CoreDNS: it has no Corefile to put names into; let sprout's pods carry them (`dns: {{backend: pods}}`), or put them into DNS elsewhere (--backend print)"
    )]
    NotCoreDns {
        /// The namespace.
        namespace: String,
        /// The Service.
        service: String,
        /// The image.
        image: String,
    },
    /// Whoever keeps the file would put it back.
    #[error(
        "{file} is kept by {keeper} ({shown_by}), which would put its own file back: nothing was written. Instead: {instead}"
    )]
    Closed {
        /// The file.
        file: String,
        /// Who keeps it.
        keeper: Keeper,
        /// The mark that shows it.
        shown_by: String,
        /// What to do.
        instead: String,
    },
    /// DNS is not well, and a change would make it hard to tell why.
    #[error("nothing was written, because {message}")]
    Unwell {
        /// What is wrong and what to do.
        message: String,
    },
    /// CoreDNS would not read the file again by itself.
    #[error(
        "{file}: it has no `reload`, so CoreDNS reads it at its start only: nothing was written; add --restart-dns to have its pods replaced one at a time, each asked before the next"
    )]
    NoReload {
        /// The file.
        file: String,
    },
    /// The file cannot be read as CoreDNS reads it.
    #[error("{file}: {error}; mend it first, nothing was written")]
    Corefile {
        /// The file.
        file: String,
        /// What is wrong.
        error: CorefileError,
    },
    /// The file cannot be edited.
    #[error("{file}: {error}; nothing was written")]
    Edit {
        /// The file.
        file: String,
        /// Why.
        error: EditError,
    },
    /// Somebody else wrote in between.
    #[error(
        "{object} was changed by {by} after it was read: nothing was written; look at it and run the command again"
    )]
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
    #[error("{seen}. The change could NOT be taken back ({error}): restore {object} by hand from {kept}")]
    Stuck {
        /// What was seen.
        seen: String,
        /// Why not.
        error: String,
        /// What has to be restored.
        object: String,
        /// Where what was there before is kept.
        kept: String,
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
    #[error("--backend {}: {message}", .backend.name())]
    Backend {
        /// The backend.
        backend: DnsBackend,
        /// Why, and what to do.
        message: String,
    },
    /// etcd cannot be reached, or refuses.
    #[error("etcd at {endpoint}: {message}; {fix}")]
    Etcd {
        /// The URL.
        endpoint: String,
        /// What was seen.
        message: String,
        /// What to do.
        fix: String,
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

impl From<LookError> for DnsError {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Right { what, right, message } => Self::Right { what, right, message },
            LookError::Unreachable { what, message } => Self::Unreachable { what, message },
            LookError::NoServer { message } => Self::NoServer { message },
        }
    }
}
