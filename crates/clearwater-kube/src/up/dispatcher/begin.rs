//! The steps before the first component is begun: what stands is looked at, the work is planned and checked, the user
//! is asked, and what all components share is written.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::event::{
    CancelReason, CheckId, CheckLine, CheckStatus, Command, EventKind, Operation, Outcome, RunStats,
};
use clearwater::manifest::{ENV_VARS, Object};
use clearwater::remedy::{Advice, Remedied, Remedy};
use clearwater::text::counted;
use futures::FutureExt;
use jiff::SignedDuration;
use kube::api::DynamicObject;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::UpOptions;
use super::super::address::stale_datagrams;
use super::early::{self, Early};
use super::hold::{self, Holding, Holds};
use super::open::{Late, NamesGate};
use super::unit::{Applied, Unit, Units, Written};
use super::{Context, Dispatcher, Writing, repair};
use crate::apply::checks::{beside, heed};
use crate::apply::preflight::{self, counts};
use crate::apply::prepare::{ApplyPlan, ComponentPlan, LiveState, PrepareError, Scope};
use crate::apply::{self, ApplyError, Planned};
use crate::cluster::Cluster;
use crate::dns::Gate;
use crate::observe::observer::Observer;
use crate::observe::{MembersSeen, Observation, Secrets};
use crate::rights::{self, Task};
use crate::run::checks::{self, Unseen};
use crate::run::{Declined, Emitter, GRACE, Steering, cancelled_as, unless_cancelled};

/// Why a run ends before a component is begun.
struct Stop {
    outcome: Outcome,
    summary: Advice,
    writes: u32,
    /// What all components share that could not be written.
    error: Option<ApplyError>,
}

impl Stop {
    fn unwritten(outcome: Outcome, summary: impl Into<Advice>) -> Self {
        Self { outcome, summary: summary.into(), writes: 0, error: None }
    }

    /// What was to be written could not be.
    fn broken(error: ApplyError, writes: u32, until: Instant) -> Self {
        let outcome = match &error {
            ApplyError::Unauthorized { .. } => Outcome::CouldNotLook,
            ApplyError::Unreachable(_) if until <= Instant::now() => Outcome::NotReady,
            _ => Outcome::Failed,
        };
        let summary = error.advice();
        let go_on = (outcome == Outcome::NotReady).then_some(Remedy::GoOn(Command::Up));
        Self { outcome, summary: Advice { remedy: go_on.or(summary.remedy), ..summary }, writes, error: Some(error) }
    }

    /// The user's wish, told as such.
    async fn cancelled(reason: CancelReason, writes: u32, emitter: &mut Emitter) -> Self {
        emitter.emit(EventKind::CancelRequested { reason }).await;
        let summary = match writes {
            0 => "interrupted, nothing was written".into(),
            n => Advice::new(
                format!("stopped before the first component, after {}", counted(n, "object")),
                Remedy::GoOn(Command::Up),
            ),
        };
        Self { outcome: cancelled_as(reason), summary, writes, error: None }
    }
}

/// What the steps before the components leave to be done.
struct Ready {
    scope: Scope,
    work: ApplyPlan,
    /// What containers take variables from beside the ConfigMap, where there are some that run.
    secrets: Secrets,
    holding: Holding,
    skew: SignedDuration,
    until: Instant,
    writes: u32,
}

pub(in super::super) async fn run(
    cluster: Cluster,
    options: UpOptions,
    mut emitter: Emitter,
    mut steering: Steering,
) -> Option<ApplyError> {
    match Box::pin(steps(&cluster, &options, &mut emitter, &mut steering)).await {
        Ok(ready) => {
            Box::pin(begin(cluster, options, emitter, steering, ready)).await;
            None
        }
        Err(Stop { outcome, summary, writes, error }) => {
            let stats = RunStats { writes, ..RunStats::default() };
            emitter.finish(outcome, summary, stats).await;
            error
        }
    }
}

async fn steps(
    cluster: &Cluster,
    options: &UpOptions,
    emitter: &mut Emitter,
    steering: &mut Steering,
) -> Result<Ready, Stop> {
    let scope = Scope::of(&options.deployment, options.policy, &options.only, &options.skip);
    let started = EventKind::RunStarted {
        command: Command::Up,
        namespace: cluster.namespace.clone(),
        order: options.policy.name().to_owned(),
        components: scope
            .as_ref()
            .map(|s| s.planned(gate(options, s).map(|g| g.because()).as_deref()))
            .unwrap_or_default(),
    };
    emitter.emit(started).await;
    cluster.is_of(&options.deployment).map_err(|why| Stop::unwritten(Outcome::Refused, why))?;
    let scope = scope.map_err(|error| Stop::unwritten(Outcome::Refused, error.to_string()))?;
    for (component, because) in &scope.left_out {
        emitter.emit(EventKind::Skipped { component: component.name().to_owned(), because: because.clone() }).await;
    }
    let cancel = steering.cancel.clone();
    let looked = Box::pin(looked(cluster, options, &scope, emitter, steering));
    let (skew, standing, mut work) = match unless_cancelled(&cancel, Duration::ZERO, looked).await {
        Ok(looked) => looked?,
        Err(reason) => return Err(Stop::cancelled(reason, 0, emitter).await),
    };

    let until = emitter.began() + options.timeout;
    let cluster = &cluster.before(until);
    let mut writes = 0;
    if standing.namespace == Some(false) {
        let made = Box::pin(made(cluster, options, &work, until, emitter, &mut writes));
        match unless_cancelled(&cancel, GRACE, made).await {
            Ok(made) => made?,
            Err(reason) => return Err(Stop::cancelled(reason, writes, emitter).await),
        }
    }
    let shared = write_shared(cluster, options, &mut work, until, &mut writes);
    match unless_cancelled(&cancel, GRACE, shared).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(Stop::broken(error, writes, until)),
        Err(reason) => return Err(Stop::cancelled(reason, writes, emitter).await),
    }
    let secrets = match unless_cancelled(&cancel, GRACE, secrets(cluster, &standing, &work)).await {
        Ok(secrets) => secrets,
        Err(reason) => return Err(Stop::cancelled(reason, writes, emitter).await),
    };
    let holding = Holding::begin(cluster, &options.deployment, &scope, &standing, &work, skew, until);
    let holding = match unless_cancelled(&cancel, GRACE, Box::pin(holding)).await {
        Ok((holding, None)) => holding,
        Ok((holding, Some(text))) => {
            emitter.emit(EventKind::Notice { text }).await;
            holding
        }
        Err(reason) => return Err(Stop::cancelled(reason, writes, emitter).await),
    };
    if !work.first.is_empty() {
        let names: Vec<String> = work.first.iter().map(apply::Planned::name).collect();
        let text = Advice::from(format!("stands first, because its address is needed: {}", names.join(", ")));
        emitter.emit(EventKind::Notice { text }).await;
    }
    Ok(Ready { scope, work, secrets, holding, skew, until, writes })
}

/// The names in DNS that Bono waits for.
fn gate(options: &UpOptions, scope: &Scope) -> Option<Gate> {
    Gate::of(&options.deployment).filter(|_| scope.has(Component::Bono))
}

/// What stands, and the work that was planned, checked and agreed to. Nothing of it writes.
async fn looked(
    cluster: &Cluster,
    options: &UpOptions,
    scope: &Scope,
    emitter: &mut Emitter,
    steering: &mut Steering,
) -> Result<(SignedDuration, LiveState, ApplyPlan), Stop> {
    // What is asked one thing after the other is over by then as a whole. The time of the question at the end is not the run's.
    let until = emitter.began() + options.timeout;
    let cluster = &cluster.before(until);
    let (skew, live) = futures::join!(cluster.clock_skew(), LiveState::look(cluster).boxed());
    let standing = match live {
        Ok(standing) => standing,
        Err(error) => return Err(not_seen(cluster, error, emitter).await),
    };
    let (work, unseen) = Box::pin(checked(cluster, options, scope, &standing, emitter)).await?;
    if until <= Instant::now() && !options.dry_run {
        let (outcome, summary) = checks::late("written", unseen);
        return Err(Stop::unwritten(outcome, summary));
    }
    let counts = counts::others(cluster, &options.deployment, scope, &standing).await;
    agreed(options, scope, &work, counts, unseen, emitter, steering).await?;
    Ok((skew, standing, work))
}

/// How a run ends that could not see what stands. Who may not look lacks other rights, mostly: all are told at once.
async fn not_seen(cluster: &Cluster, error: PrepareError, emitter: &mut Emitter) -> Stop {
    if error.is_forbidden() {
        let lines = rights::check_all(cluster, Task::Up).await;
        if let Err((outcome, summary)) = checks::tell(lines, "written", emitter).await {
            return Stop::unwritten(outcome, summary);
        }
    }
    unseen(&error)
}

/// How a run ends that could not ask what it has to know.
fn unseen(error: &impl Remedied) -> Stop {
    Stop::unwritten(Outcome::CouldNotLook, error.advice().after("cannot look, nothing was written: "))
}

/// Plans the work, and tells every line of the preflight.
async fn checked(
    cluster: &Cluster,
    options: &UpOptions,
    scope: &Scope,
    standing: &LiveState,
    emitter: &mut Emitter,
) -> Result<(ApplyPlan, Unseen), Stop> {
    // What is refused is not left out where that is not heeded: the write ends with the refusal.
    let (force, try_refused) = (options.force_conflicts, options.skip_checks.contains(&CheckId::Objects));
    let planned = ApplyPlan::plan(cluster, &options.deployment, scope, standing, force, try_refused).await;
    let (mut work, unplanned) = match planned {
        Ok(planned) => planned,
        Err(PrepareError::Unseen(error)) => return Err(unseen(&error)),
        Err(error) => {
            let line = CheckLine {
                id: CheckId::Objects,
                title: "objects of the deployment".to_owned(),
                status: CheckStatus::Failed,
                detail: error.to_string(),
                fix: error.remedy(),
            };
            emitter.emit(EventKind::Checked { line }).await;
            // Who lacks this right lacks others, mostly: all are told at once.
            if matches!(error, PrepareError::Keys { .. }) {
                for line in rights::check_all(cluster, Task::Up).await {
                    emitter.emit(EventKind::Checked { line }).await;
                }
            }
            return Err(Stop::unwritten(Outcome::PreflightFailed, error.advice().after("nothing was written: ")));
        }
    };
    let (mut lines, lacking) = Box::pin(preflight::check(
        cluster,
        &options.deployment,
        options.create_namespace,
        &options.skip_checks,
        scope,
        standing,
        &work,
    ))
    .await
    .map_err(|error| unseen(&error))?;
    work.lacking = lacking;
    if let Some(names) = gate(options, scope) {
        lines.push(names.preflight(cluster).await);
    }
    if !lines.iter().any(|l| l.status == CheckStatus::Refused) {
        beside(&mut lines, unplanned);
    }
    heed(&mut lines, &options.skip_checks);
    let told = checks::tell(lines, "written", emitter).await;
    told.map(|unseen| (work, unseen)).map_err(|(outcome, summary)| Stop::unwritten(outcome, summary))
}

/// Tells what would be done, and waits for a "yes" where one is asked for.
async fn agreed(
    options: &UpOptions,
    scope: &Scope,
    work: &ApplyPlan,
    counts: Vec<Advice>,
    unseen: Unseen,
    emitter: &mut Emitter,
    steering: &mut Steering,
) -> Result<(), Stop> {
    let changes = work.changes();
    let stale = stale_datagrams(&options.deployment, &changes);
    let to_write = changes.iter().filter(|c| c.operation != Operation::Keep).count();
    let waiting = |part: &ComponentPlan| {
        let entry = part.subject.entry;
        repair::waiting(entry, work.of.get(&entry.component).map_or(&[], Vec::as_slice), options.replace_stores)
    };
    let pending = scope.parts.iter().filter_map(waiting).collect();
    emitter.emit(EventKind::Planned { changes, pending }).await;
    for text in stale.map(Advice::from).into_iter().chain(counts) {
        emitter.emit(EventKind::Notice { text }).await;
    }
    let Err(declined) = steering.agreed(options.dry_run, options.ask && to_write > 0, emitter).await else {
        return Ok(());
    };
    let (outcome, summary) = declined.end("written", unseen, emitter).await;
    let would = format!("{} would be written; ", counted(to_write, "object"));
    let summary = if declined == Declined::DryRun { summary.after(&would) } else { summary };
    Err(Stop::unwritten(outcome, summary))
}

/// Makes the namespace, and asks there what could not be asked before it was: whether the objects are taken, and the pods.
async fn made(
    cluster: &Cluster,
    options: &UpOptions,
    work: &ApplyPlan,
    until: Instant,
    emitter: &mut Emitter,
    writes: &mut u32,
) -> Result<(), Stop> {
    let created = preflight::create_namespace(cluster, work.pod_security).await;
    created.map_err(|error| Stop::broken(error, *writes, until))?;
    *writes += 1;
    let (pods, objects) = futures::join!(
        preflight::admission::check(cluster, Some(true), work),
        preflight::objects(cluster, work, options.force_conflicts)
    );
    let mut lines = objects.map_err(|error| Stop::broken(error, *writes, until))?;
    beside(&mut lines, pods.map_err(|error| Stop::broken(error, *writes, until))?);
    heed(&mut lines, &options.skip_checks);
    let told = checks::tell(lines, "written but the namespace", emitter).await;
    told.map(drop).map_err(|(outcome, summary)| Stop { outcome, summary, writes: *writes, error: None })
}

/// Services whose addresses the rest names, and what all components share.
async fn write_shared(
    cluster: &Cluster,
    options: &UpOptions,
    work: &mut ApplyPlan,
    until: Instant,
    writes: &mut u32,
) -> Result<(), ApplyError> {
    let force = options.force_conflicts;
    let mut given = BTreeMap::new();
    for planned in &work.first {
        if let Some(written) = apply::apply(cluster, planned, force, until).await? {
            *writes += 1;
            given.insert(planned.item.object.name().to_owned(), virtual_addresses(&written));
        }
    }
    let own = |(component, service): (&Component, &&str)| Some((*component, given.remove(*service)?));
    let given: BTreeMap<_, _> = work.services_first.virtual_addresses.iter().filter_map(own).collect();
    if !given.is_empty() {
        work.settle(cluster, &options.deployment, given, force).await?;
    }
    for planned in &work.shared {
        if apply::apply(cluster, planned, force, until).await?.is_some() {
            *writes += 1;
        }
    }
    Ok(())
}

/// Begins to watch and to write, and goes on in the loop.
async fn begin(cluster: Cluster, options: UpOptions, emitter: Emitter, mut steering: Steering, ready: Ready) {
    let Ready { scope, work, secrets, holding, skew, until, writes } = ready;
    let late = Late {
        inputs: work.inputs,
        balanced: work.services_first.balanced,
        component: Component::Bono,
        since: Instant::now(),
        addresses: Vec::new(),
    };
    let late = (!late.balanced.is_empty()).then_some(late);
    let settings = settings(&work.shared);
    let mut planned = work.of;
    let mut first = Vec::new();
    let mut units = Vec::new();
    for part in &scope.parts {
        let component = part.subject.component();
        let all = planned.remove(&component).unwrap_or_default();
        // What names addresses that are not known yet is planned anew as a whole.
        let is_late = late.as_ref().is_some_and(|l| l.component == component);
        let (beside, own) = if is_late { (Vec::new(), all) } else { early::part(all) };
        let kept = u32::try_from(beside.len()).unwrap_or(u32::MAX);
        let written = if early::to_write(&beside) == 0 {
            Some(Applied { kept, ..Applied::of(component) })
        } else {
            first.push((component, beside));
            None
        };
        let mut part = part.clone();
        part.subject.settings.clone_from(&settings);
        part.subject.secrets.clone_from(&secrets);
        let mut unit = Unit::new(part, own, written, emitter.began());
        if holding.early.contains(&component) {
            unit.hold = hold::at_first(&unit.planned);
            unit.starts_alone = hold::starts_alone(unit.part.subject.entry, scope.plan.policy());
        }
        units.push(unit);
    }
    let mut seen = Observation::new(skew);
    if !scope.has(Component::Etcd) {
        seen.without_etcd = Some(MembersSeen::Unchecked("there is no etcd to ask".to_owned()));
    }
    let dispatcher = Dispatcher {
        observer: Observer::begin(&cluster),
        seen,
        units: Units::new(units),
        schedule: scope.plan.schedule(),
        writing: Writing {
            appliers: JoinSet::new(),
            early: Early::begin(&cluster, first, options.force_conflicts, until),
            writes,
            written: Written::default(),
        },
        holds: Holds::begin(holding, &scope),
        gatherers: JoinSet::new(),
        repairs: repair::Repairs::hearing(std::mem::replace(&mut steering.consent, mpsc::unbounded_channel().1)),
        late,
        names: gate(&options, &scope).map(|gate| NamesGate::begin(gate, &cluster)),
        cancelled: None,
        failed_at: None,
        trouble: None,
        progress_at: Instant::now(),
        context: Context { cluster, options, cancel: steering.cancel.clone(), until },
        emitter,
    };
    Box::pin(dispatcher.work(steering)).await;
}

/// What pods that are started from now on take from Secrets: those that run may have been started with something else. Which cannot
/// be read, the preflight has told.
async fn secrets(cluster: &Cluster, standing: &LiveState, work: &ApplyPlan) -> Secrets {
    if standing.workloads().all(|live| live.labelled().is_none()) {
        return Secrets::default();
    }
    let templates = work.all().filter_map(|planned| planned.item.object.pod_template()?.spec.as_ref());
    let containers = templates.flat_map(|spec| &spec.containers);
    Secrets::read(cluster, containers.flat_map(Secrets::named_by).map(str::to_owned).collect()).await.0
}

/// What pods that are started from now on take from the ConfigMap that was written.
fn settings(shared: &[Planned]) -> BTreeMap<String, String> {
    let maps = shared.iter().filter_map(|planned| match &planned.item.object {
        Object::ConfigMap(map) if map.metadata.name.as_deref() == Some(ENV_VARS) => map.data.clone(),
        _ => None,
    });
    maps.flatten().collect()
}

/// The virtual addresses of a Service as it was written.
fn virtual_addresses(service: &DynamicObject) -> Vec<IpAddr> {
    let all = service.data.pointer("/spec/clusterIPs").and_then(serde_json::Value::as_array);
    all.into_iter().flatten().filter_map(|ip| ip.as_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use clearwater::event::Event;
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api;

    /// Who may do nothing is told of all that is missing, and not of the first list alone.
    #[tokio::test]
    async fn who_may_not_look_is_told_of_every_right() {
        let (cluster, _) = fake_api::cluster(|path| {
            let review = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {},
                "status": {"allowed": false}});
            Some(if path.ends_with("/selfsubjectaccessreviews") { review } else { Value::Null })
        });
        let (out, mut events) = mpsc::channel::<Event>(1000);
        let mut emitter = Emitter::new(out);
        let error = LiveState::look(&cluster).await.expect_err("nothing may be seen");
        let stop = not_seen(&cluster, error, &mut emitter).await;
        assert_eq!((stop.outcome, stop.writes), (Outcome::PreflightFailed, 0), "{}", stop.summary);
        let mut failed = Vec::new();
        while let Ok(event) = events.try_recv() {
            if let EventKind::Checked { line } = event.what
                && line.status == CheckStatus::Failed
            {
                failed.push(format!("{} {}", line.title, line.detail));
            }
        }
        for right in ["deployments", "configmaps", "pods"] {
            assert!(failed.iter().any(|line| line.contains(right)), "{right}: {failed:?}");
        }
    }
}
