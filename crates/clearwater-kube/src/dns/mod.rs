//! The names that Clearwater needs and Kubernetes cannot give, put into DNS, proved, and taken out again.
//!
//! [`plan`] looks and writes nothing. [`patch`] is the run that carries a plan out: what was there before is kept, the change
//! is written with the version that was read, every DNS server is asked for every name, and where one of them does not
//! answer as it must the change is taken back. A run that was killed in between is finished by the next one.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::clearwater::config::DeploymentFile;
//! use clearwater_kube::dns::{DnsOptions, patch, plan};
//!
//! let options = DnsOptions::new(cluster.deploy(&DeploymentFile::default())?);
//! let wanted = plan(&cluster, &options).await?;
//! println!("backend {}: {}\n{}", wanted.backend_name(), wanted.because, wanted.diff);
//! let patched = patch(&cluster, options).finished().await?.value?;
//! println!("{} servers answer as they must", patched.proof.map_or(0, |p| p.servers.len()));
//! # Ok(()) }
//! ```

mod check;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod explain;
mod file;
mod file_plan;
mod gate;
mod kept;
mod metrics;
mod names;
mod patch;
mod plan;
mod print;
mod slices;
mod transaction;
mod watch;

use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::{Deployment, DeploymentFile, DnsBackend};
use clearwater::dns::answer::{Answer, Code, Expectation};
use clearwater::dns::ownership::{ManagedBy, WriteTarget};
use clearwater::event::DnsStep;
use clearwater::remedy::{Advice, Remedied as _};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::deadline::no_answer;
use crate::observe::cluster_dns::ClusterDns;
use crate::options::setters;
use crate::run::millis;

pub use crate::observe::cluster_dns::ClusterDnsError;
pub use check::{Findings, check};
pub use error::DnsError;
pub use explain::{Explained, Explanation, SeenAnswer, explain};
pub(crate) use gate::Gate;
pub use patch::{Patched, patch};
pub use print::{Form, print, zone};

/// What is to be done with the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DnsAction {
    /// Put them in.
    Put,
    /// Take them out.
    Remove,
}

/// What is to be done, for which deployment.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct DnsOptions {
    /// The deployment.
    pub deployment: Deployment,
    /// The backend; `None` leaves it to the deployment file and the cluster.
    pub backend: Option<DnsBackend>,
    /// Put in or take out.
    pub action: DnsAction,
    /// Whether SIP clients that know the home domain only are to find Bono too.
    pub clients: bool,
    /// Whether CoreDNS' pods may be replaced one at a time where CoreDNS would not read its file again by itself.
    pub restart: bool,
    /// How long CoreDNS may take to read its file again. `None`: twice as long as it should take.
    pub timeout: Option<Duration>,
    /// How etcd is reached, for the backend of that name.
    pub etcd: EtcdAccess,
    /// Whether what stands is compared and nothing ever written: nobody is asked whether it may be.
    pub(crate) look: bool,
    /// Whether to stop before the first write.
    pub dry_run: bool,
    /// Whether the run waits after [`Planned`](clearwater::event::EventKind::Planned) until it is told to go on, where
    /// something would be written.
    pub ask: bool,
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
    /// Whether the password may go over the network unencrypted.
    pub plain_password: bool,
}

impl EtcdAccess {
    /// The address of an etcd, as it is taken.
    ///
    /// # Errors
    /// What is wrong with it, and how one is written.
    pub fn address(endpoint: &str) -> Result<http::Uri, String> {
        let no = |why: &str| {
            format!("{endpoint:?} is no address of an etcd ({why}): write http://HOST:PORT or https://HOST:PORT")
        };
        let uri: http::Uri = endpoint.parse().map_err(|e: http::uri::InvalidUri| no(&e.to_string()))?;
        match uri.scheme_str() {
            None | Some("http" | "https") => {}
            Some(other) => return Err(no(&format!("{other} is neither http nor https"))),
        }
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if uri.host().is_none_or(str::is_empty) {
            return Err(no("it names no host"));
        }
        let after_host = authority.rsplit(['@', ']']).next().unwrap_or_default();
        let has_port = after_host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty());
        if has_port && uri.port_u16().is_none() {
            return Err(no("a port is a number up to 65535"));
        }
        Ok(uri)
    }
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
            action: DnsAction::Put,
            clients: false,
            restart: false,
            timeout: None,
            etcd: EtcdAccess::default(),
            look: false,
            dry_run: false,
            ask: false,
        }
    }
}

setters! { DnsOptions {
    /// By this backend, whatever the deployment file says.
    some backend: DnsBackend,
    /// Put in or take out.
    value action: DnsAction,
    /// Lets SIP clients that know the home domain only find Bono too.
    flag clients,
    /// Lets CoreDNS' pods be replaced where it would not read its file again by itself.
    flag restart,
    /// How long CoreDNS may take to read its file again.
    some timeout: Duration,
    /// How etcd is reached.
    value etcd: EtcdAccess,
    /// Stops before the first write.
    flag dry_run,
    /// Waits after [`Planned`](clearwater::event::EventKind::Planned) until it is told to go on.
    flag ask,
} }

/// What will be done.
#[derive(Clone, Debug)]
pub struct DnsPlan {
    /// The deployment's namespace.
    pub namespace: String,
    /// The backend; `Auto` where the release needs none.
    pub backend: DnsBackend,
    /// Why this one.
    pub because: String,
    /// Put in or take out.
    pub action: DnsAction,
    /// What is written, as kubectl names it, where something is.
    pub object: Option<String>,
    /// Who keeps the Corefile, where it is looked at.
    pub kept: Option<ManagedBy>,
    /// Where the lines go, where they go into CoreDNS' configuration.
    pub write_target: Option<WriteTarget>,
    /// What changes, as a unified diff; empty where nothing does.
    pub diff: String,
    /// What is worth knowing before.
    pub notes: Vec<Advice>,
    /// How long until the servers know, at most, and why so long.
    pub wait: Option<(Duration, String)>,
    /// What every server must answer afterwards.
    pub questions: Vec<Expectation>,
    pub(crate) means: Means,
}

/// How a plan is carried out.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub(crate) work: DnsEdit,
    /// What an earlier run has left, where its work is to be finished.
    pub(crate) finishing: Option<kept::Left>,
    /// What must be there for the names, and is not.
    pub(crate) lacking: Vec<Advice>,
    /// Names that nobody can be asked for, each with why.
    pub(crate) unasked: Vec<String>,
    /// How long it may take until what stands is answered, where nothing is to be written.
    pub(crate) patience: Duration,
    pub(crate) cluster_dns: Option<ClusterDns>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) restart: bool,
    /// Whether what SIP clients look for is among the names.
    pub(crate) clients: bool,
    pub(crate) domain: String,
}

/// What a plan writes.
#[derive(Clone, Debug)]
pub(crate) enum DnsEdit {
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

impl DnsPlan {
    /// To who only looks it is a finding that something is not there, to who would write an error.
    fn lacking(mut self, options: &DnsOptions, what: DnsError) -> Result<Self, DnsError> {
        if !options.look {
            return Err(what);
        }
        self.means.lacking.push(what.advice());
        Ok(self)
    }

    /// The backend's name; `none` where the release needs none.
    pub fn backend_name(&self) -> &'static str {
        if self.backend == DnsBackend::Auto { "none" } else { self.backend.name() }
    }

    /// Whether something would be written.
    pub fn is_change(&self) -> bool {
        match &self.means.work {
            DnsEdit::Nothing => false,
            DnsEdit::File(edit) => edit.is_change(),
            DnsEdit::Slices(edit) => edit.is_change(),
            #[cfg(feature = "etcd")]
            DnsEdit::Keys(edit) => edit.is_change(),
        }
    }

    /// What an earlier run has left, as kubectl names it, where nothing is to be written and it only has to be finished:
    /// it is taken away once every server has answered as it must.
    pub fn finishing(&self) -> Option<&str> {
        self.means.finishing.as_ref().filter(|_| !self.is_change()).map(|left| left.object.as_str())
    }
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
    /// Whether the server said that there is no such name.
    #[serde(skip)]
    pub is_missing: bool,
}

impl Answered {
    fn to(question: &Expectation, answer: &Answer) -> Self {
        Self {
            name: question.name.to_string(),
            r#type: question.record_type.to_string(),
            answer: answer.say(&question.name, question.record_type),
            is_missing: answer.code == Code::NxDomain && answer.data(&question.name, question.record_type).is_empty(),
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
    pub notes: Vec<Advice>,
}

/// Looks at the cluster and says what would be done. Writes nothing.
///
/// # Errors
/// Where the cluster's DNS could not be seen, may not be changed, or is not to be.
pub async fn plan(cluster: &Cluster, options: &DnsOptions) -> Result<DnsPlan, DnsError> {
    if options.action == DnsAction::Put {
        place(cluster, &options.deployment).await?;
        return Box::pin(plan::plan(cluster, options)).await;
    }
    // Names may outlive their namespace.
    let mut plan = Box::pin(plan::plan(cluster, options)).await?;
    if !plan.is_change() && plan.finishing().is_none() {
        plan.notes.extend(cluster.absence().await.map(Advice::from));
    }
    Ok(plan)
}

/// Asks whether names of this deployment can be needed at all: what nobody could look at is not said to need nothing, and what is not
/// there looks like what is empty.
async fn place(cluster: &Cluster, deployment: &Deployment) -> Result<(), DnsError> {
    cluster.is_of(deployment).map_err(|message| DnsError::Elsewhere { message })?;
    if names::pods_of(cluster, Component::Sprout).await?.is_empty() && cluster.lacks_namespace().await {
        return Err(DnsError::NoNamespace { namespace: cluster.namespace.clone() });
    }
    Ok(())
}

/// The longest that a look may take which nothing hangs on.
const GLANCE: Duration = Duration::from_secs(3);

/// The object in which names of the namespace's deployment stand, as [`DnsAction::Remove`] would take them out; `None`
/// where there are none, or where the user may not look, which the checks of rights tell.
///
/// # Errors
/// Why it could not be looked.
pub(crate) async fn standing(cluster: &Cluster) -> Result<Option<String>, String> {
    // Whose the names are is told by the namespace alone.
    let deployment = DeploymentFile::default().deploy(&cluster.namespace).map_err(|e| e.to_string())?;
    let options = DnsOptions { action: DnsAction::Remove, look: true, ..DnsOptions::new(deployment) };
    match timeout(GLANCE, Box::pin(plan::plan(cluster, &options))).await {
        Ok(Ok(plan)) => Ok(plan.object.clone().filter(|_| plan.is_change())),
        Ok(Err(error)) if error.is_unreachable() => Err(error.to_string()),
        // Where there is no DNS that could be changed, or none that may be, nothing of ours is in it.
        Ok(Err(_)) => Ok(None),
        Err(_) => Err(no_answer(GLANCE)),
    }
}

/// Carries a plan out. Cancelling takes back what was written and is not proved yet.
pub(crate) async fn carry_out(
    cluster: &Cluster,
    plan: &DnsPlan,
    steps: &mpsc::UnboundedSender<DnsStep>,
    cancel: &CancellationToken,
) -> Result<Proof, DnsError> {
    let work = Box::pin(async {
        match &plan.means.work {
            DnsEdit::Nothing => names::prove(cluster, plan, steps).await,
            DnsEdit::File(edit) => Box::pin(file::carry_out(cluster, plan, edit, steps, cancel)).await,
            DnsEdit::Slices(edit) => slices::carry_out(cluster, plan, edit, steps, cancel).await,
            #[cfg(feature = "etcd")]
            DnsEdit::Keys(edit) => Box::pin(etcd::carry_out(cluster, plan, edit, steps, cancel)).await,
        }
    });
    if plan.is_change() {
        return work.await;
    }
    unless_cancelled(cancel, work).await
}

/// What stands where a run was cancelled before it wrote anything.
const UNWRITTEN: &str = "nothing was written";

/// Does something of which nothing has to be taken back, unless it is cancelled first.
pub(crate) async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, DnsError>>,
) -> Result<T, DnsError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(DnsError::Interrupted { state: UNWRITTEN.to_owned() }),
        done = work => done,
    }
}

/// A number as events tell it.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Tells a step.
pub(crate) fn tell(steps: &mpsc::UnboundedSender<DnsStep>, step: DnsStep) {
    // Nobody has to listen.
    let _ = steps.send(step);
}

#[cfg(test)]
mod tests;
