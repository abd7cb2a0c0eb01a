//! Scaling: what stands is seen, a plan is made of it, and the plan is carried out a step at a time, made anew from what
//! is seen after each. What an interrupted run left behind is therefore seen and finished by the next.
//!
//! The plans and the rules are [`clearwater::scale`]'s; this module sees, writes and waits. Components that are scaled
//! together go on at the same time, each by its own plan: the invariant is about the members of one store.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::clearwater::component::Component;
//! use clearwater_kube::clearwater::scale::Target;
//! use clearwater_kube::scale::{ScaleOptions, scale};
//!
//! let end = scale(&cluster, ScaleOptions::new([(Component::Sprout, Target::Absolute(3))])).finished().await?;
//! println!("{:?}: {}", end.outcome, end.summary);
//! for refusal in end.value {
//!     println!("refused: {refusal}");
//! }
//! # Ok(()) }
//! ```

mod begin;
mod check;
mod dns;
mod end;
mod execute;
mod situation;
mod target;
mod watch;
mod write;

use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::Deployment;
use clearwater::event::{CancelReason, Command, EventKind, Outcome, PlannedComponent, RunStats};
use clearwater::remedy::Advice;
use clearwater::scale::{Refusal, ScalePlan, Target};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use self::execute::{Context, Executed, execute};
use self::target::ScaleTarget;
use crate::cluster::Cluster;
use crate::options::setters;
use crate::run::{Emitter, Run, Steering, cancelled, cancelled_as, start, unless_cancelled};

/// What `scale` is to do.
///
/// ```
/// use clearwater::component::Component;
/// use clearwater::scale::Target;
/// use clearwater_kube::scale::ScaleOptions;
///
/// let options = ScaleOptions::new([(Component::Sprout, Target::Absolute(3))]).dry_run();
/// assert_eq!(options.targets.len(), 1);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScaleOptions {
    /// The components with how many members are wanted; each at most once.
    pub targets: Vec<(Component, Target)>,
    /// The deployment as its file says it; without it, how bonos are reached is read from what stands.
    pub deployment: Option<Deployment>,
    /// How long the whole may take, without the time that a question stands open.
    pub timeout: Duration,
    /// Whether to stop before the first step.
    pub dry_run: bool,
    /// Whether members of stores that have no pod any more may be marked as failed.
    pub mark_failed: bool,
    /// Whether the run waits after [`Planned`](EventKind::Planned) until it is told to go on, where something would be
    /// changed. Going on is consent to marking the members as failed that the plan named.
    pub ask: bool,
}

impl ScaleOptions {
    /// So many members of these components, within half an hour.
    pub fn new(targets: impl IntoIterator<Item = (Component, Target)>) -> Self {
        Self {
            targets: targets.into_iter().collect(),
            deployment: None,
            timeout: Duration::from_secs(30 * 60),
            dry_run: false,
            mark_failed: false,
            ask: false,
        }
    }
}

setters! { ScaleOptions {
    /// The deployment as its file says it.
    some deployment: Deployment,
    /// How long the whole may take, without the time that a question stands open.
    value timeout: Duration,
    /// Stops before the first step.
    flag dry_run,
    /// Lets members of stores that have no pod any more be marked as failed.
    flag mark_failed,
    /// Waits after [`Planned`](EventKind::Planned) until it is told to go on.
    flag ask,
} }

/// Scales components, and yields what was refused by the rules of scaling; the summary says it in words. Must be called
/// inside of a tokio runtime: see [`Run`].
pub fn scale(cluster: &Cluster, options: ScaleOptions) -> Run<Vec<Refusal>> {
    let cluster = cluster.clone();
    start(move |emitter, steering| run(cluster, options, emitter, steering))
}

/// How a run ends, and the line that says it.
type End = (Outcome, Advice);

/// What is scaled, by which plans, and those who see to it.
struct Scaling {
    targets: Vec<ScaleTarget>,
    plans: Vec<ScalePlan>,
    /// What every component's task has.
    context: Context,
    cancel: tokio::sync::watch::Sender<Option<CancelReason>>,
    told: mpsc::UnboundedReceiver<EventKind>,
    /// What keeps that up to date, and ends with it.
    _observing: JoinSet<()>,
}

async fn run(cluster: Cluster, options: ScaleOptions, mut emitter: Emitter, mut steering: Steering) -> Vec<Refusal> {
    let components =
        options.targets.iter().map(|(c, _)| PlannedComponent { component: c.name().to_owned(), gates: Vec::new() });
    emitter
        .emit(EventKind::RunStarted {
            command: Command::Scale,
            namespace: cluster.namespace.clone(),
            order: "each by its own steps".to_owned(),
            components: components.collect(),
        })
        .await;
    let mut stats = RunStats::default();
    let mut refusals = Vec::new();
    let work = work(&cluster, &options, &mut emitter, &mut steering, &mut stats, &mut refusals);
    let (outcome, summary) = Box::pin(work).await;
    emitter.finish(outcome, summary, stats).await;
    refusals
}

async fn work(
    cluster: &Cluster,
    options: &ScaleOptions,
    emitter: &mut Emitter,
    steering: &mut Steering,
    stats: &mut RunStats,
    refusals: &mut Vec<Refusal>,
) -> End {
    if let Some(Err(why)) = options.deployment.as_ref().map(|d| cluster.is_of(d)) {
        return (Outcome::Refused, why.into());
    }
    let cancel = steering.cancel.clone();
    let steps = Box::pin(begin::steps(cluster, options, emitter, steering, refusals));
    let begun = unless_cancelled(&cancel, Duration::ZERO, steps).await;
    let mut scaling = match begun {
        Ok(Ok(scaling)) => scaling,
        Ok(Err(end)) => return end,
        Err(reason) => {
            emitter.emit(EventKind::CancelRequested { reason }).await;
            return (cancelled_as(reason), "interrupted, nothing was changed".into());
        }
    };
    match scaling.carry_out(emitter, steering).await {
        Ok(ended) => scaling.end(ended, emitter, stats).await,
        Err(end) => end,
    }
}

impl Scaling {
    /// Lets every component go through its steps. Yields how each ended.
    async fn carry_out(&mut self, emitter: &mut Emitter, steering: &mut Steering) -> Result<Vec<Executed>, End> {
        let Self { targets, context, cancel, told, .. } = self;
        let until = context.until;
        let mut tasks: JoinSet<Executed> = targets.iter().map(|t| execute(context.clone(), t.clone())).collect();
        let mut ended: Vec<Executed> = Vec::new();
        loop {
            tokio::select! {
                // What the tasks say comes before their end.
                biased;
                Some(what) = told.recv() => emitter.emit(what).await,
                executed = tasks.join_next() => match executed {
                    Some(Ok(executed)) => ended.push(executed),
                    Some(Err(error)) => return Err((Outcome::Failed, format!("a part of the run ended badly: {error}").into())),
                    None => break,
                },
                reason = cancelled(&mut steering.cancel), if cancel.borrow().is_none() => {
                    emitter.emit(EventKind::CancelRequested { reason }).await;
                    cancel.send_replace(Some(reason));
                }
                () = sleep_until(until), if cancel.borrow().is_none() => {
                    let reason = CancelReason::Deadline;
                    emitter.emit(EventKind::CancelRequested { reason }).await;
                    cancel.send_replace(Some(reason));
                }
            }
            if emitter.receiver_closed && cancel.borrow().is_none() {
                cancel.send_replace(Some(CancelReason::Reader));
            }
        }
        while let Ok(what) = told.try_recv() {
            emitter.emit(what).await;
        }
        Ok(ended)
    }
}
