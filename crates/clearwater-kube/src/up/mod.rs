//! Bringing a deployment up, again and again: what stands is kept, what is missing is made, in dependency order, and
//! every component is judged in depth before what needs it is started.

mod address;
mod dispatcher;

use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::Deployment;
use clearwater::event::CheckId;
use clearwater::order::Policy;

use crate::cluster::Cluster;
use crate::run::{Run, start};

/// What `up` is to do.
#[derive(Clone, Debug)]
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

/// Brings a deployment up.
pub fn up(cluster: Cluster, options: UpOptions) -> Run {
    start(move |emitter, steering| dispatcher::run(cluster, options, emitter, steering))
}
