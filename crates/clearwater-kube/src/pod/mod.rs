//! Questions asked inside pods: over one kept shell a pod, or over forwarded ports.
//!
//! Most Clearwater daemons listen on the pod's own address only, which a forwarded port, ending at the loopback
//! address, does not reach (clearwater-docker `base/liveness.sh` probes the pod address for the same reason). They are
//! asked by a `bash` in the container, which opens the connections itself (`/dev/tcp`), so that a question costs no
//! process. etcd's image has no bash; it listens on every address and is asked through a forwarded port.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use clearwater_kube::pod::{Script, Shell};
//!
//! let within = Duration::from_secs(5);
//! let mut shell = Shell::open(&cluster.api(), "sprout-0", "sprout", within).await?;
//! let said = shell.run(&Script::new("cat \"$1\"").arg("/etc/clearwater/shared_config"), within).await?;
//! println!("{}", said.text);
//! # Ok(()) }
//! ```

pub(crate) mod dns;
mod forward;
pub mod object;
mod open;
mod program;
mod question;
mod room;
mod script;
mod shell;
pub mod supervisor;
mod tunnel;

pub use forward::Forward;
pub(crate) use open::{Duplex, EXEC, OPEN, exec, forward};
pub(crate) use program::Program;
pub(crate) use question::{HANGS, etcd_health, is_silence};
pub use question::{Verdict, judge, script};
pub use room::Room;
pub(crate) use room::{ask_room, read_room};
pub use script::{Nul, Script};
pub(crate) use shell::refusal;
pub use shell::{Output, Shell};
pub use tunnel::{Tunnel, TunnelProtocol};

use std::net::SocketAddr;
use std::time::Duration;

use clearwater::text::limit;
use kube::api::Portforwarder;
use thiserror::Error;
use tokio::time::timeout;
use tower::BoxError;

use crate::cluster::{FailedAt, code_of, is_forbidden, is_unauthorized, say};
use crate::deadline::{late_in, no_answer};

/// Why a question could not be asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AskError {
    /// The user may not do this.
    #[error("needs {right}")]
    Forbidden {
        /// The right that is missing, as `get and create pods/exec`.
        right: &'static str,
    },
    /// The container has no program to ask with.
    #[error("pod {pod}, container {container}: it has no bash to ask with: {message}")]
    NoShell {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// What the container runtime said.
        message: String,
    },
    /// No answer in time.
    #[error("pod {pod}: {}", no_answer(*.within))]
    Deadline {
        /// The pod.
        pod: String,
        /// The time that was given.
        within: Duration,
    },
    /// The question cannot be put.
    #[error("pod {pod}: {source}")]
    Unsayable {
        /// The pod.
        pod: String,
        /// Why not.
        source: Nul,
    },
    /// No connection into the pod was opened in time. That says nothing of the pod.
    #[error("pod {pod}: the API server opened no connection into it within {}", limit(*.within))]
    NotOpened {
        /// The pod.
        pod: String,
        /// The time that was given.
        within: Duration,
    },
    /// The API server could not be asked, or did not let the question through. That says nothing of the pod.
    #[error("pod {pod}: the API server does not let it be asked: {}", say(.source.as_ref()))]
    Unreached {
        /// The pod.
        pod: String,
        /// What was seen.
        source: BoxError,
    },
    /// A connection into the pod was opened, and what came over it, if anything, was no word of the program that was started
    /// there. That says nothing of the pod.
    #[error("pod {pod}: what was started in it is not heard: {}", say(.source.as_ref()))]
    Unheard {
        /// The pod.
        pod: String,
        /// What was seen.
        source: BoxError,
    },
    /// The pod was asked, and what it should reach took no connection.
    #[error("pod {pod} has no way to {to}: {why}")]
    NoWay {
        /// The pod.
        pod: String,
        /// What it should reach.
        to: SocketAddr,
        /// What was seen.
        why: String,
    },
    /// The connection to the pod was refused or broke.
    #[error("pod {pod}: {}", say(.source.as_ref()))]
    Broken {
        /// The pod.
        pod: String,
        /// What was seen.
        source: BoxError,
    },
}

impl AskError {
    /// Whether asking again later cannot help.
    pub const fn is_lasting(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::NoShell { .. })
    }

    /// Whether nothing of the pod was seen: no connection into it was to be had, or none over which anything in it spoke.
    pub const fn is_of_the_way(&self) -> bool {
        matches!(self, Self::Unreached { .. } | Self::NotOpened { .. } | Self::Unheard { .. })
    }

    /// Whether the API server does not know who asks. No later attempt will be better.
    pub(crate) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Unreached { source, .. } if is_unauthorized(source.as_ref()))
    }

    pub(crate) fn broken(pod: &str, source: impl Into<BoxError>) -> Self {
        Self::Broken { pod: pod.to_owned(), source: source.into() }
    }

    /// A connection into a pod that ended before anything was said by anybody.
    pub(crate) fn cut_off(pod: &str) -> Self {
        let source = "the connection into it was ended at once, and nobody said why".into();
        Self::Unreached { pod: pod.to_owned(), source }
    }

    /// A connection over which no program in the pod spoke.
    pub(crate) fn unheard(pod: &str, source: impl Into<BoxError>) -> Self {
        Self::Unheard { pod: pod.to_owned(), source: source.into() }
    }

    /// What was seen, without the pod, where that is known apart.
    fn into_source(self) -> BoxError {
        match self {
            Self::Unreached { source, .. } | Self::Unheard { source, .. } | Self::Broken { source, .. } => source,
            other => other.into(),
        }
    }

    fn at_port(pod: &str, port: u16, source: impl Into<BoxError>) -> Self {
        Self::broken(pod, FailedAt::new(format!("port {port}"), source))
    }

    /// What ended a connection to a forwarded port. The kubelet says on its error channel what the bare end of the stream
    /// does not.
    async fn at_end(pod: &str, port: u16, forwarder: &mut Portforwarder, own: BoxError) -> Self {
        let said = match forwarder.take_error(port) {
            Some(refusal) => timeout(Duration::from_millis(100), refusal).await.ok().flatten(),
            None => None,
        };
        Self::at_port(pod, port, said.map_or(own, Into::into))
    }

    /// Why a connection into a pod was not opened.
    pub(crate) fn not_opened(pod: &str, right: &'static str, error: kube::Error) -> Self {
        if is_forbidden(&error) {
            Self::Forbidden { right }
        } else {
            Self::Unreached { pod: pod.to_owned(), source: error.into() }
        }
    }

    /// Whether there is no such pod any more.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Unreached { source, .. } if code_of(source.as_ref()) == Some(404))
    }

    /// Whether no connection was opened in all of the time that there was, or the API server said for sure that there is none:
    /// the same question a moment later waits as long, or is answered alike.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Deadline { .. } | Self::NotOpened { .. } => true,
            Self::Unreached { source, .. } => {
                let is_late = late_in(source.as_ref()).is_some();
                let is_refusal = |code| (400..500).contains(&code) && ![408, 429].contains(&code);
                is_late || code_of(source.as_ref()).is_some_and(is_refusal)
            }
            _ => self.is_lasting(),
        }
    }
}
