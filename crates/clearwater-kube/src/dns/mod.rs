//! The names that Clearwater needs and Kubernetes cannot give, put into DNS, proved, and taken out again.
//!
//! [`plan`] looks and writes nothing. [`carry_out`] does what the plan says: what was there before is kept, the change
//! is written with the version that was read, every DNS server is asked for every name, and where one of them does not
//! answer as it must the change is taken back.

pub(crate) mod ask;
mod check;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod explain;
mod file;
mod gate;
mod metrics;
mod names;
mod plan;
mod print;
mod scene;
mod slices;
mod watch;

use std::time::Duration;

use clearwater::config::{Deployment, DeploymentFile, DnsBackend};
use clearwater::dns::answer::{Answer, Expectation};
use clearwater::dns::keeper::{Door, Kept};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::emit::millis;

pub use check::{Findings, check};
pub use error::DnsError;
pub use explain::{Explained, Explanation, Seen, explain};
pub(crate) use gate::Gate;
pub use names::KEPT;
pub use print::{Form, print, zone};

/// What is to be done with the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Put them in.
    Put,
    /// Take them out.
    Remove,
}

/// What is to be done, for which deployment.
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// The deployment.
    pub deployment: Deployment,
    /// The backend; `None` leaves it to the deployment file and the cluster.
    pub backend: Option<DnsBackend>,
    /// Put in or take out.
    pub action: Action,
    /// Whether SIP clients that know the home domain only are to find Bono too.
    pub clients: bool,
    /// Whether CoreDNS' pods may be replaced one at a time where CoreDNS would not read its file again by itself.
    pub restart: bool,
    /// How long CoreDNS may take to read its file again. `None`: twice as long as it should take.
    pub timeout: Option<Duration>,
    /// How etcd is reached, for the backend of that name.
    pub etcd: EtcdAccess,
}

/// How etcd is reached.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EtcdAccess {
    /// Its URL; `None` takes the one that CoreDNS' file names.
    pub endpoint: Option<String>,
    /// The certificates of its authority, as PEM.
    pub ca: Option<Vec<u8>>,
    /// A client certificate and its key, as PEM.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// A user and the password.
    pub user: Option<(String, String)>,
}

impl std::fmt::Debug for EtcdAccess {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdAccess").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl DnsOptions {
    /// Names put in by the backend that the file and the cluster ask for.
    pub fn new(deployment: Deployment) -> Self {
        Self {
            deployment,
            backend: None,
            action: Action::Put,
            clients: false,
            restart: false,
            timeout: None,
            etcd: EtcdAccess::default(),
        }
    }
}

/// What will be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The deployment's namespace.
    pub namespace: String,
    /// The backend; `Auto` where the release needs none.
    pub backend: DnsBackend,
    /// Why this one.
    pub because: String,
    /// Put in or take out.
    pub action: Action,
    /// What is written, as kubectl names it, where something is.
    pub object: Option<String>,
    /// Who keeps the Corefile, where it is looked at.
    pub kept: Option<Kept>,
    /// Where the lines go, where they go into CoreDNS' configuration.
    pub door: Option<Door>,
    /// What changes, as a unified diff; empty where nothing does.
    pub diff: String,
    /// What is worth knowing before.
    pub notes: Vec<String>,
    /// How long until the servers know, at most, and why so long.
    pub wait: Option<(Duration, String)>,
    /// What every server must answer afterwards.
    pub questions: Vec<Expectation>,
    pub(crate) work: Work,
    pub(crate) scene: Option<scene::Scene>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) restart: bool,
    pub(crate) domain: String,
}

/// What a plan writes.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Nothing: the names are given by other means, and are asked for only.
    Nothing,
    /// A key of a ConfigMap that CoreDNS reads.
    File(Box<file::FileEdit>),
    /// An EndpointSlice.
    Slices(Box<slices::SliceEdit>),
    /// Keys in etcd.
    #[cfg(feature = "etcd")]
    Keys(Box<etcd::KeyEdit>),
}

impl Plan {
    /// Whether something would be written.
    pub fn is_change(&self) -> bool {
        match &self.work {
            Work::Nothing => false,
            Work::File(edit) => edit.is_change(),
            Work::Slices(edit) => edit.is_change(),
            #[cfg(feature = "etcd")]
            Work::Keys(edit) => edit.is_change(),
        }
    }
}

/// What happens while a plan is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "kind")]
#[non_exhaustive]
pub enum Step {
    /// The servers answer as they should before anything is written.
    Well {
        /// How many.
        servers: usize,
    },
    /// What was there before is kept.
    Kept {
        /// Where, as kubectl names it.
        object: String,
    },
    /// The change is written.
    Written {
        /// The object, as kubectl names it.
        object: String,
    },
    /// The servers have not read it yet.
    Waiting {
        /// How long it can take, in milliseconds.
        at_most: u64,
        /// Why so long.
        because: String,
    },
    /// A pod of the cluster's DNS is replaced, because it reads its file at its start only.
    Replacing {
        /// The pod.
        pod: String,
    },
    /// A server has read it.
    Reloaded {
        /// The pod.
        pod: String,
        /// How long after the change was written, in milliseconds.
        after: u64,
    },
    /// A server answers as it must.
    Verified {
        /// The pod.
        pod: String,
        /// How many questions.
        questions: usize,
        /// How long after it had read the change, in milliseconds.
        after: u64,
    },
    /// Something does not work: the change is being taken back.
    TakingBack {
        /// What was seen.
        because: String,
    },
    /// Something worth knowing.
    Note {
        /// What.
        text: String,
    },
}

/// What one server answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerProof {
    /// The pod that was asked, or from which another was.
    pub server: String,
    /// How it was asked.
    pub by: String,
    /// How long after the change was written it had read it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reloaded: Option<u64>,
    /// How long after that it answered everything as it must, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<u64>,
    /// What it answered.
    pub answers: Vec<Answered>,
    /// Answers that are not as they must be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// The name.
    pub name: String,
    /// The type.
    pub r#type: String,
    /// What came back.
    pub answer: String,
}

impl Answered {
    fn to(question: &Expectation, answer: &Answer) -> Self {
        Self {
            name: question.name.to_string(),
            r#type: question.record_type.to_string(),
            answer: answer.say(&question.name, question.record_type),
        }
    }
}

/// How a plan was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// What each server answered.
    pub servers: Vec<ServerProof>,
    /// Where what was there before is kept.
    pub kept: Option<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// Looks at the cluster and says what would be done. Writes nothing.
pub async fn plan(cluster: &Cluster, options: &DnsOptions) -> Result<Plan, DnsError> {
    plan::plan(cluster, options).await
}

/// The longest that a look may take which nothing hangs on.
const GLANCE: Duration = Duration::from_secs(3);

/// The object in which names of the namespace's deployment stand, as [`Action::Remove`] would take them out; `None`
/// where there are none, or where nobody lets us look.
pub(crate) async fn standing(cluster: &Cluster) -> Option<String> {
    // Whose the names are is told by the namespace alone.
    let deployment = DeploymentFile::default().deploy(&cluster.namespace).ok()?;
    let options = DnsOptions { action: Action::Remove, restart: true, ..DnsOptions::new(deployment) };
    let plan = timeout(GLANCE, Box::pin(plan(cluster, &options))).await.ok()?.ok()?;
    plan.object.clone().filter(|_| plan.is_change())
}

/// Carries a plan out: see the [module](self).
///
/// Cancelling takes back what was written and is not proved yet.
pub async fn carry_out(
    cluster: &Cluster,
    plan: &Plan,
    steps: &mpsc::UnboundedSender<Step>,
    cancel: &CancellationToken,
) -> Result<Proof, DnsError> {
    let work = Box::pin(async {
        match &plan.work {
            Work::Nothing => names::prove(cluster, plan, steps).await,
            Work::File(edit) => Box::pin(file::carry_out(cluster, plan, edit, steps, cancel)).await,
            Work::Slices(edit) => slices::carry_out(cluster, plan, edit, steps, cancel).await,
            #[cfg(feature = "etcd")]
            Work::Keys(edit) => Box::pin(etcd::carry_out(cluster, plan, edit, steps, cancel)).await,
        }
    });
    if plan.is_change() {
        return work.await;
    }
    unless_cancelled(cancel, work).await
}

/// Does something of which nothing has to be taken back, unless it is cancelled first.
pub(crate) async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, DnsError>>,
) -> Result<T, DnsError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(DnsError::Interrupted { state: "nothing was written".to_owned() }),
        done = work => done,
    }
}

pub(crate) fn tell(steps: &mpsc::UnboundedSender<Step>, step: Step) {
    // Nobody has to listen.
    let _ = steps.send(step);
}
