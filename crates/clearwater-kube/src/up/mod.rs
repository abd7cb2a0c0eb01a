//! Bringing a deployment up, again and again: what stands is kept, what is missing is made, in dependency order, and
//! every component is judged in depth before what needs it is started.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::clearwater::config::DeploymentFile;
//! use clearwater_kube::up::up;
//!
//! let deployment = cluster.deploy(&DeploymentFile::parse("apiVersion: clearwater/v1\n", "built-in")?)?;
//! let mut run = up(&cluster, deployment);
//! while let Some(event) = run.next().await {
//!     println!("{:?}: {:?}", event.component(), event.what);
//! }
//! println!("{:?}", run.finished().await?.outcome);
//! # Ok(()) }
//! ```

mod address;
mod dispatcher;

use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::Deployment;
use clearwater::event::CheckId;
use clearwater::order::Policy;

use crate::apply::ApplyError;
use crate::cluster::Cluster;
use crate::options::setters;
use crate::run::{Run, start};

/// What `up` is to do.
///
/// ```
/// use clearwater::component::Component;
/// use clearwater::config::DeploymentFile;
/// use clearwater_kube::up::UpOptions;
///
/// let deployment = DeploymentFile::default().deploy("ims")?;
/// let options = UpOptions::new(deployment).only([Component::Sprout]).create_namespace();
/// assert!(options.create_namespace && !options.dry_run);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct UpOptions {
    /// The deployment.
    pub deployment: Deployment,
    /// Which edges of the ordering graph gate.
    pub policy: Policy,
    /// Only these components and what they need; all where it is empty.
    pub only: Vec<Component>,
    /// Not these components, nor what needs them.
    pub skip: Vec<Component>,
    /// Checks before the first write that are not heeded.
    pub skip_checks: Vec<CheckId>,
    /// How long the whole may take, without the time that a question stands open.
    pub timeout: Duration,
    /// Whether a missing namespace is made.
    pub create_namespace: bool,
    /// Whether to stop before the first write.
    pub dry_run: bool,
    /// Whether fields that somebody else set are taken over.
    pub force_conflicts: bool,
    /// Whether stores' pods of an older revision are replaced, member by member.
    pub replace_stores: bool,
    /// Whether what is broken is repaired even where that loses data. Otherwise the run asks, with [`UpOptions::ask`], or
    /// refuses and says what would be lost.
    pub accept_loss: bool,
    /// Whether the run waits after [`Planned`](clearwater::event::EventKind::Planned) until it is told to go on, where
    /// something would be written.
    pub ask: bool,
}

impl UpOptions {
    /// Everything of a deployment, by the default policy, within 15 minutes.
    pub fn new(deployment: Deployment) -> Self {
        Self {
            deployment,
            policy: Policy::default(),
            only: Vec::new(),
            skip: Vec::new(),
            skip_checks: Vec::new(),
            timeout: Duration::from_secs(15 * 60),
            create_namespace: false,
            dry_run: false,
            force_conflicts: false,
            replace_stores: false,
            accept_loss: false,
            ask: false,
        }
    }
}

impl From<Deployment> for UpOptions {
    fn from(deployment: Deployment) -> Self {
        Self::new(deployment)
    }
}

setters! { UpOptions {
    /// Lets these edges of the ordering graph gate.
    value policy: Policy,
    /// Only these components and what they need.
    each only: Component,
    /// Not these components, nor what needs them.
    each skip: Component,
    /// Does not heed these checks before the first write.
    each skip_checks: CheckId,
    /// How long the whole may take, without the time that a question stands open.
    value timeout: Duration,
    /// Makes the namespace where it is missing.
    flag create_namespace,
    /// Stops before the first write.
    flag dry_run,
    /// Takes fields over that somebody else set.
    flag force_conflicts,
    /// Replaces stores' pods of an older revision, member by member.
    flag replace_stores,
    /// Repairs what is broken even where that loses data.
    flag accept_loss,
    /// Waits after [`Planned`](clearwater::event::EventKind::Planned) until it is told to go on.
    flag ask,
} }

/// Brings a deployment up, and yields why what all components share could not be written, where that ended the run; what
/// ends a component is told by [`Failed`](clearwater::event::EventKind::Failed). Must be called inside of a tokio runtime: see
/// [`Run`].
pub fn up(cluster: &Cluster, options: impl Into<UpOptions>) -> Run<Option<ApplyError>> {
    let (cluster, options) = (cluster.clone(), options.into());
    start(move |emitter, steering| dispatcher::run(cluster, options, emitter, steering))
}
