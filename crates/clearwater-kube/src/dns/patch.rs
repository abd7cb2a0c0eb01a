//! A change of the cluster's DNS as a run.

use std::time::Duration;

use clearwater::dns::ownership::WriteTarget;
use clearwater::event::{CancelReason, Change, Command, EventKind, Operation, Outcome, RunStats, Whose};
use clearwater::remedy::{Advice, Remedied as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::names::ask_servers;
use super::{ClusterDnsError, DnsError, DnsOptions, DnsPlan, Means, Proof, ServerProof, UNWRITTEN, carry_out, plan};
use crate::cluster::Cluster;
use crate::run::{Declined, Emitter, Run, Steering, cancelled, start, unless_cancelled};

/// A change of the cluster's DNS that came to its end.
#[derive(Clone, Debug)]
pub struct Patched {
    /// What was planned.
    pub plan: DnsPlan,
    /// How it was proved; `None` where the run was only to look.
    pub proof: Option<Proof>,
    /// What the servers answer that would have to prove it, where the run was only to look.
    pub servers: Vec<ServerProof>,
}

impl Patched {
    /// The servers that could not be asked, and the names that nobody can be asked for, each with why: nobody knows whether they
    /// can be proved.
    pub fn unasked(&self) -> impl Iterator<Item = String> {
        let mute = self.servers.iter().filter(|server| server.answers.is_empty() && !server.problems.is_empty());
        let mute = mute.map(|server| format!("DNS pod {}: {}", server.server, server.problems.join("; ")));
        let Means { unasked, lacking, .. } = &self.plan.means;
        mute.chain(unasked.iter().cloned()).chain(lacking.iter().map(ToString::to_string))
    }

    fn outcome(&self) -> (Outcome, &'static str) {
        if self.unasked().next().is_some() {
            (Outcome::CouldNotLook, "nothing was written, and not everybody could be asked")
        } else if self.proof.is_none() {
            (Outcome::DryRun, UNWRITTEN)
        } else if self.plan.is_change() || self.plan.finishing().is_some() {
            (Outcome::Done, "every server answers as it must")
        } else {
            (Outcome::NothingToDo, "nothing to change")
        }
    }
}

fn outcome(error: &DnsError) -> Outcome {
    match error {
        DnsError::Interrupted { .. } => Outcome::Cancelled,
        DnsError::Cluster(ClusterDnsError::Right { .. }) => Outcome::PreflightFailed,
        DnsError::Elsewhere { .. }
        | DnsError::Closed { .. }
        | DnsError::Unwell { .. }
        | DnsError::NoReload { .. }
        | DnsError::NotConfirmed
        | DnsError::Moved { .. } => Outcome::Refused,
        DnsError::NoNamespace { .. } => Outcome::NotFound,
        DnsError::Cluster(_) | DnsError::Etcd { .. } => Outcome::CouldNotLook,
        _ => Outcome::Failed,
    }
}

/// Puts names into DNS, or takes them out, and proves it: see the [module](super).
///
/// Must be called inside of a tokio runtime: see [`Run`].
pub fn patch(cluster: &Cluster, options: DnsOptions) -> Run<Result<Patched, DnsError>> {
    let cluster = cluster.clone();
    start(move |emitter, steering| run(cluster, options, emitter, steering))
}

async fn run(
    cluster: Cluster,
    options: DnsOptions,
    mut emitter: Emitter,
    mut steering: Steering,
) -> Result<Patched, DnsError> {
    emitter
        .emit(EventKind::RunStarted {
            command: Command::DnsPatch,
            namespace: cluster.namespace.clone(),
            order: "written, then proved".to_owned(),
            components: Vec::new(),
        })
        .await;
    let ended = Box::pin(work(&cluster, &options, &mut emitter, &mut steering)).await;
    let (outcome, summary) = match &ended {
        Ok(patched) => {
            let (outcome, summary) = patched.outcome();
            (outcome, summary.into())
        }
        Err(error) => (outcome(error), error.advice()),
    };
    emitter.finish(outcome, summary, RunStats::default()).await;
    ended
}

async fn work(
    cluster: &Cluster,
    options: &DnsOptions,
    emitter: &mut Emitter,
    steering: &mut Steering,
) -> Result<Patched, DnsError> {
    let plan = match unless_cancelled(&steering.cancel, Duration::ZERO, Box::pin(plan(cluster, options))).await {
        Ok(plan) => plan?,
        Err(reason) => return Err(unwritten(reason, emitter).await),
    };
    for text in notices(&plan) {
        emitter.emit(EventKind::Notice { text }).await;
    }
    emitter.emit(EventKind::Planned { changes: changes(&plan), pending: Vec::new() }).await;
    match steering.agreed(options.dry_run, options.ask && plan.is_change(), emitter).await {
        Ok(()) => {}
        Err(Declined::DryRun) => {
            // Those that would be asked are asked now: who cannot be asked proves nothing.
            let asking = Box::pin(ask_servers(cluster, &plan, Duration::ZERO));
            return match unless_cancelled(&steering.cancel, Duration::ZERO, asking).await {
                Ok(servers) => Ok(Patched { servers: servers?, plan, proof: None }),
                Err(reason) => Err(unwritten(reason, emitter).await),
            };
        }
        Err(Declined::NotConfirmed) => return Err(DnsError::NotConfirmed),
        Err(Declined::Cancelled(reason)) => return Err(unwritten(reason, emitter).await),
    }
    let proof = Some(carried_out(cluster, &plan, emitter, steering).await?);
    Ok(Patched { plan, proof, servers: Vec::new() })
}

/// The user's wish, told as such.
async fn unwritten(reason: CancelReason, emitter: &mut Emitter) -> DnsError {
    emitter.emit(EventKind::CancelRequested { reason }).await;
    DnsError::Interrupted { state: UNWRITTEN.to_owned() }
}

/// What is worth knowing before.
fn notices(plan: &DnsPlan) -> Vec<Advice> {
    let mut said = vec![format!("backend {}: {}", plan.backend_name(), plan.because).into()];
    said.extend(plan.notes.iter().cloned());
    if !plan.is_change() {
        return said;
    }
    said.extend(plan.kept.iter().map(|kept| format!("the file is kept by {} ({})", kept.by, kept.shown_by).into()));
    if let Some(WriteTarget::Custom { place, import }) = &plan.write_target {
        said.push(format!("the lines go into {place}, which the Corefile imports ({import})").into());
    }
    let wait = plan.wait.iter();
    said.extend(
        wait.map(|(most, because)| {
            format!("until all servers know it can take {} s: {because}", most.as_secs()).into()
        }),
    );
    said
}

fn changes(plan: &DnsPlan) -> Vec<Change> {
    let object = plan.object.iter().filter(|_| plan.is_change());
    let change = |object: &String| Change {
        object: object.clone(),
        component: None,
        operation: Operation::Change,
        whose: Whose::Ours,
        diff: plan.diff.clone(),
        restarts: 0,
    };
    object.map(change).collect()
}

/// Carries the plan out, and tells its steps.
async fn carried_out(
    cluster: &Cluster,
    plan: &DnsPlan,
    emitter: &mut Emitter,
    steering: &mut Steering,
) -> Result<Proof, DnsError> {
    let (steps, mut told) = mpsc::unbounded_channel();
    let cancel = CancellationToken::new();
    let mut working = Box::pin(carry_out(cluster, plan, &steps, &cancel));
    let done = loop {
        tokio::select! {
            // Each step comes before the end.
            biased;
            Some(step) = told.recv() => emitter.emit(EventKind::Dns { step }).await,
            reason = cancelled(&mut steering.cancel), if !cancel.is_cancelled() => {
                emitter.emit(EventKind::CancelRequested { reason }).await;
                cancel.cancel();
            }
            // Nobody reads any more: what is not proved is taken back, and that is seen through.
            () = emitter.closed(), if !cancel.is_cancelled() => cancel.cancel(),
            done = &mut working => break done,
        }
        if emitter.receiver_closed {
            cancel.cancel();
        }
    };
    while let Ok(step) = told.try_recv() {
        emitter.emit(EventKind::Dns { step }).await;
    }
    done
}
