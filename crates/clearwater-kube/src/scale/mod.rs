//! Scaling: what stands is seen, a plan is made of it, and the plan is carried out a step at a time, made anew from what
//! is seen after each. What an interrupted run left behind is therefore seen and finished by the next.
//!
//! The plans and the rules are [`clearwater::scale`]'s; this module sees, writes and waits. Components that are scaled
//! together go on at the same time, each by its own plan: the invariant is about the members of one store.

mod carry;
mod check;
mod dns;
mod list;
mod observe;
mod world;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clearwater::component::{Component, catalogue, entry};
use clearwater::config::{BonoExposure, Deployment};
use clearwater::event::{
    CancelReason, Change, CheckLine, CheckStatus, Command, Operation, Outcome, PlannedComponent, PlannedStep, RunStats,
    What,
};
use clearwater::manifest::{ENV_VARS, WorkloadKind};
use clearwater::scale::{InvalidTarget, Plan, Reach, Refusal, Target};
use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use carry::{Carried, Shared, Stop, carry};
use world::{Subject, World};

use crate::cluster::Cluster;
use crate::emit::Emitter;
use crate::judge::Workload;
use crate::snapshot::{Snapshot, watch as watch_namespace};
use crate::status::{guess, template_component};
use crate::up::{Run, Steering, answered, evidence, start};

/// The longest that a first look may take.
const LOOK: Duration = Duration::from_secs(15);

/// What `scale` is to do.
#[derive(Clone, Debug)]
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
    /// Whether the run waits after [`Planned`](What::Planned) until it is told to go on, where something would be
    /// changed. Going on is consent to marking the members as failed that the plan named.
    pub ask: bool,
}

/// Scales components.
pub fn scale(cluster: Cluster, options: ScaleOptions) -> Run {
    start(move |emitter, steering| run(cluster, options, emitter, steering))
}

/// How a run ends, and the line that says it.
type End = (Outcome, String);

async fn run(cluster: Cluster, options: ScaleOptions, mut emitter: Emitter, mut steering: Steering) {
    let components =
        options.targets.iter().map(|(c, _)| PlannedComponent { component: c.name().to_owned(), gates: Vec::new() });
    emitter
        .emit(What::RunStarted {
            command: Command::Scale,
            namespace: cluster.namespace.clone(),
            order: "each by its own steps".to_owned(),
            components: components.collect(),
        })
        .await;
    let mut stats = RunStats::default();
    let (outcome, summary) = work(&cluster, &options, &mut emitter, &mut steering, &mut stats).await;
    emitter.emit(What::RunFinished { outcome, summary, stats, critical_path: Vec::new(), pending: Vec::new() }).await;
}

#[expect(clippy::too_many_lines, reason = "the steps before the first write, one after the other")]
async fn work(
    cluster: &Cluster,
    options: &ScaleOptions,
    emitter: &mut Emitter,
    steering: &mut Steering,
    stats: &mut RunStats,
) -> End {
    let mut world = World::new(cluster.clock_skew().await);
    let (mut news, _watches) = watch_namespace(&cluster.client, &cluster.namespace);
    let complete = async {
        while !world.snapshot.is_complete() {
            let Some(one) = news.recv().await else { break };
            if let crate::snapshot::News::Trouble(_, text) = &one {
                trouble(text);
            }
            world.absorb(one);
        }
    };
    if timeout(LOOK, complete).await.is_err() {
        return (Outcome::CouldNotLook, format!("no answer from the API server within {} s", LOOK.as_secs()));
    }
    if let Some(denied) = world.snapshot.denied.first() {
        return (Outcome::CouldNotLook, format!("cannot look: needs list and watch {}", denied.resource()));
    }

    let zone = zone(cluster).await;
    let (autoscalers, unseen) = match check::autoscalers(cluster).await {
        Ok(found) => (found, None),
        Err(line) => (Vec::new(), Some(line)),
    };
    let mut subjects = Vec::new();
    let mut lines: Vec<CheckLine> = unseen.into_iter().collect();
    let mut refusals = Vec::new();
    for (component, target) in &options.targets {
        match subject(&world, options, *component, *target) {
            Ok(mut subject) => {
                subject.autoscaler = check::owner(&autoscalers, &subject.workloads);
                if subject.reach.exposure == BonoExposure::HostPort
                    && let Some(spec) = subject.workloads.first().and_then(|w| world.template(w)?.spec.clone())
                {
                    subject.reach.nodes = check::nodes_for(cluster, &spec).await;
                }
                subjects.push(subject);
            }
            Err(Unfit::Absent(text)) => return (Outcome::CouldNotLook, text),
            Err(Unfit::Refused(text)) => refusals.push((component.name().to_owned(), text)),
        }
    }

    let world = Arc::new(Mutex::new(world));
    let (bump, news_seen) = watch::channel(0);
    let (out, mut told) = mpsc::unbounded_channel();
    let mut observing = JoinSet::new();
    observing.spawn(observe::observe(observe::Observer {
        cluster: cluster.clone(),
        world: world.clone(),
        subjects: subjects.clone(),
        zone: zone.clone(),
        news,
        bump,
        out: out.clone(),
    }));
    first_look(&world, &subjects, news_seen.clone()).await;

    // What would be done, or why it is not.
    let mut plans: Vec<Plan> = Vec::new();
    for subject in &subjects {
        let planned = look(&world, |w| {
            let plan = w.situation(subject).plan()?;
            leaves_well(w, subject)?;
            Ok::<_, Refusal>(plan)
        });
        match planned {
            Ok(plan) => plans.push(plan),
            Err(Refusal::MembersUnknown { component }) => {
                let why = look(&world, |w| w.list_trouble(component).map(str::to_owned));
                let mut text = Refusal::MembersUnknown { component }.to_string();
                if let Some(why) = why {
                    text = format!("{text} ({why})");
                }
                refusals.push((component.name().to_owned(), text));
            }
            Err(refusal) => refusals.push((subject.name().to_owned(), refusal.to_string())),
        }
    }
    let refused: Vec<String> = refusals.iter().map(|(_, text)| text.clone()).collect();
    if !refused.is_empty() {
        return (Outcome::Refused, refused.join("\n"));
    }
    for plan in &plans {
        emitter.emit(steps(plan)).await;
    }
    let changes: Vec<Change> =
        subjects.iter().zip(&plans).flat_map(|(s, p)| look(&world, |w| changes(w, s, p))).collect();
    let writes = changes.iter().any(|c| c.operation != Operation::Keep);
    let growth = look(&world, |w| check::growth(w, &subjects));
    lines.extend(check::check(cluster, &subjects, &growth, writes).await);
    let seen = look(&world, |w| w.snapshot.clone());
    lines.extend(check::budgets(cluster, &World::of(seen), &subjects).await);
    let worst = lines.iter().map(|l| l.status).max().unwrap_or(CheckStatus::Ok);
    let bad = lines.iter().find(|l| l.status == worst).map(|l| format!("{}: {}", l.title, l.detail));
    for line in lines {
        emitter.emit(What::Checked { line }).await;
    }
    let bad = bad.unwrap_or_default();
    match worst {
        CheckStatus::Refused => return (Outcome::Refused, format!("refused, nothing was changed: {bad}")),
        CheckStatus::Failed => {
            return (Outcome::PreflightFailed, format!("nothing was changed, because a check failed: {bad}"));
        }
        CheckStatus::Ok | CheckStatus::Skipped | CheckStatus::Warning => {}
    }
    emitter.emit(What::Planned { changes, pending: Vec::new() }).await;
    if options.dry_run {
        return (Outcome::DryRun, "nothing was changed".to_owned());
    }
    let mut consent = options.mark_failed;
    if options.ask && writes {
        match answered(steering, emitter).await {
            Ok(true) => consent |= plans.iter().any(|p| !p.marks_failed().is_empty()),
            Ok(false) => return (Outcome::Refused, "not confirmed, nothing was changed".to_owned()),
            Err(reason) => {
                emitter.emit(What::CancelRequested { reason }).await;
                return (Outcome::Cancelled, "interrupted, nothing was changed".to_owned());
            }
        }
    }
    if !consent && let Some(refusal) = plans.iter().find_map(Plan::without_consent) {
        return (Outcome::Refused, refusal.to_string());
    }

    let until = emitter.began() + options.timeout;
    let (cancel, cancelled) = watch::channel(None);
    let shared = Shared {
        cluster: cluster.clone(),
        world: world.clone(),
        news: news_seen,
        cancel: cancelled,
        out,
        until,
        consent,
        deployment: options.deployment.clone().map(Arc::new),
        zone,
    };
    let mut carriers: JoinSet<Carried> = subjects.iter().map(|s| carry(shared.clone(), s.clone())).collect();
    drop(shared);
    let mut ended: Vec<Carried> = Vec::new();
    loop {
        tokio::select! {
            // What the carriers say comes before their end.
            biased;
            Some(what) = told.recv() => emitter.emit(what).await,
            carried = carriers.join_next() => match carried {
                Some(Ok(carried)) => ended.push(carried),
                Some(Err(error)) => return (Outcome::Failed, format!("a part of the run ended badly: {error}")),
                None => break,
            },
            reason = requested(steering), if cancel.borrow().is_none() => {
                emitter.emit(What::CancelRequested { reason }).await;
                cancel.send_replace(Some(reason));
            }
            () = sleep_until(until), if cancel.borrow().is_none() => {
                let reason = CancelReason::Deadline;
                emitter.emit(What::CancelRequested { reason }).await;
                cancel.send_replace(Some(reason));
            }
        }
        if emitter.deaf && cancel.borrow().is_none() {
            cancel.send_replace(Some(CancelReason::Reader));
        }
    }
    while let Ok(what) = told.try_recv() {
        emitter.emit(what).await;
    }
    let reason = *cancel.borrow();
    finish(cluster, emitter, &world, &subjects, &plans, ended, reason, stats).await
}

/// The next reason to cancel that is asked for from outside.
async fn requested(steering: &mut Steering) -> CancelReason {
    loop {
        if let Some(reason) = *steering.cancel.borrow_and_update() {
            return reason;
        }
        if steering.cancel.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn look<T>(world: &Mutex<World>, look: impl FnOnce(&World) -> T) -> T {
    look(&world.lock().unwrap_or_else(PoisonError::into_inner))
}

fn trouble(text: &str) {
    tracing::debug!(text, "a watch is broken and is being renewed");
}

/// Waits until the stores' lists were read and are clear, or until they have had their time.
async fn first_look(world: &Mutex<World>, subjects: &[Subject], mut news: watch::Receiver<u64>) {
    let clear = async {
        loop {
            news.borrow_and_update();
            let done = look(world, |w| {
                subjects.iter().filter(|s| s.entry.clustering.is_some()).all(|s| {
                    w.has_list(s.component())
                        && (w.list_trouble(s.component()).is_none())
                        && w.clear(s, &std::collections::BTreeMap::new()).is_ok()
                })
            });
            if done {
                return;
            }
            // A member without a pod is certain after a while, and nothing tells of that.
            let _ = timeout(Duration::from_millis(250), news.changed()).await;
        }
    };
    let _ = timeout(LOOK, clear).await;
}

/// The zone that cluster DNS gives to the namespace's Services.
async fn zone(cluster: &Cluster) -> String {
    let namespace = &cluster.namespace;
    let own = |zone: &String| zone.starts_with(&format!("{namespace}.svc."));
    let reading = timeout(Duration::from_secs(2), cluster.api::<ConfigMap>().get_opt(ENV_VARS)).await;
    let map = reading.ok().and_then(Result::ok).flatten();
    let zone = map.and_then(|m| m.data?.remove("ZONE")).filter(own);
    zone.unwrap_or_else(|| format!("{namespace}.svc.cluster.local"))
}

/// Why a component cannot even be looked at.
enum Unfit {
    Absent(String),
    Refused(String),
}

fn subject(world: &World, options: &ScaleOptions, component: Component, target: Target) -> Result<Subject, Unfit> {
    let release = options.deployment.as_ref().map_or_else(|| guess(&world.snapshot), Deployment::release);
    let Some(entry) = entry(release, component) else {
        let known = catalogue(release).iter().map(|e| e.component).collect();
        return Err(Unfit::Refused(Refusal::NotInRelease { component, release, known }.to_string()));
    };
    let workloads = workloads(&world.snapshot, component);
    if workloads.is_empty() {
        return Err(Unfit::Absent(format!(
            "there is no {component} in this namespace: kubectl clearwater up brings it up, and -n chooses another"
        )));
    }
    let most = workloads.iter().filter_map(|w| world.replicas(w)).max().unwrap_or(0);
    let to = target.resolve(most).map_err(|e: InvalidTarget| Unfit::Refused(format!("{component}: {e}")))?;
    let service = component.name();
    let reach = match &options.deployment {
        Some(deployment) => Reach::of(deployment),
        None if component == Component::Bono => reach(world, &workloads),
        None => Reach::default(),
    };
    Ok(Subject {
        entry,
        release,
        workloads,
        service: world.snapshot.services.contains_key(service).then(|| service.to_owned()),
        to,
        reach,
        autoscaler: None,
    })
}

/// The workloads of a component, by upstream's labels.
pub(crate) fn workloads(snapshot: &Snapshot, component: Component) -> Vec<Workload> {
    let named = |kind, name: &String| Workload { kind, name: name.clone() };
    let deployments = snapshot.deployments.iter().filter_map(|(name, o)| {
        let own = template_component(o.spec.as_ref().map(|s| &s.template)) == Some(component);
        own.then(|| named(WorkloadKind::Deployment, name))
    });
    let sets = snapshot.stateful_sets.iter().filter_map(|(name, o)| {
        let own = template_component(o.spec.as_ref().map(|s| &s.template)) == Some(component);
        own.then(|| named(WorkloadKind::StatefulSet, name))
    });
    deployments.chain(sets).collect()
}

/// How bonos are reached, read from what stands.
fn reach(world: &World, workloads: &[Workload]) -> Reach {
    let Some(spec) = workloads.first().and_then(|w| world.template(w)?.spec.as_ref()) else { return Reach::default() };
    let own = |name: &str| {
        name.strip_prefix("bono-").is_some_and(|n| n.split('-').next().is_some_and(|n| n.parse::<u32>().is_ok()))
    };
    let services = || world.snapshot.services.iter().filter_map(|(name, s)| Some((name, s.spec.as_ref()?)));
    let of_kind = |kind: &str| {
        services().filter(|(name, s)| own(name) && s.type_.as_deref() == Some(kind)).map(|(_, s)| s).collect::<Vec<_>>()
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let is_set = workloads.iter().any(|w| w.kind == WorkloadKind::StatefulSet);
    let balancers = of_kind("LoadBalancer");
    if is_set && !balancers.is_empty() {
        let fixed = balancers.iter().filter(|s| s.load_balancer_ip.is_some()).count();
        return Reach { exposure: BonoExposure::LoadBalancer, addresses: count(fixed), nodes: None };
    }
    let ports = of_kind("NodePort");
    if is_set && !ports.is_empty() {
        return Reach { exposure: BonoExposure::NodePort, addresses: count(ports.len()), nodes: None };
    }
    if spec.containers.iter().flat_map(|c| c.ports.iter().flatten()).any(|p| p.host_port.is_some()) {
        return Reach { exposure: BonoExposure::HostPort, addresses: 0, nodes: None };
    }
    let selects_bono = |s: &k8s_openapi::api::core::v1::ServiceSpec| {
        s.selector.as_ref().is_some_and(|l| l.get("service").is_some_and(|v| v == Component::Bono.name()))
    };
    let shared = services().any(|(_, s)| s.type_.as_deref() == Some("NodePort") && selects_bono(s));
    if shared || has_fixed_address(spec) {
        return Reach { exposure: BonoExposure::NodePort, addresses: 0, nodes: None };
    }
    Reach::default()
}

/// Whether every pod is told the same public address.
fn has_fixed_address(spec: &PodSpec) -> bool {
    let fixed = |c: &Container| {
        c.env.iter().flatten().any(|e| e.name == "PUBLIC_IP" && e.value.as_ref().is_some_and(|v| !v.is_empty()))
    };
    spec.containers.iter().any(fixed)
}

/// Refuses to take away a member whose pod would not leave the cluster before it stops.
fn leaves_well(world: &World, subject: &Subject) -> Result<(), Refusal> {
    let Some(_) = subject.entry.clustering.filter(|_| subject.entry.pre_stop.is_some()) else { return Ok(()) };
    let from = world.from(subject);
    let stays = subject.workloads.iter().all(|w| {
        let spec = world.template(w).and_then(|t| t.spec.as_ref());
        spec.is_some_and(|s| s.containers.iter().any(|c| c.lifecycle.as_ref().is_some_and(|l| l.pre_stop.is_some())))
    });
    if subject.to < from && !stays {
        return Err(Refusal::NoPreStop { component: subject.component(), from, to: subject.to });
    }
    Ok(())
}

fn steps(plan: &Plan) -> What {
    let steps = plan.steps.iter().map(|s| PlannedStep {
        step: plan.describe(&s.action),
        expected_seconds: s.expected_seconds,
        deadline_seconds: s.deadline_seconds,
    });
    What::StepsPlanned {
        component: plan.component.name().to_owned(),
        from: plan.from,
        to: plan.to,
        steps: steps.collect(),
        notices: plan.notices.clone(),
    }
}

/// What a plan changes: the workloads' counts, and the members that are marked as failed.
fn changes(world: &World, subject: &Subject, plan: &Plan) -> Vec<Change> {
    let component = Some(subject.name().to_owned());
    let counts = subject.workloads.iter().map(|w| {
        let live = world.replicas(w).unwrap_or(0);
        let same = live == subject.to;
        Change {
            object: format!("{}/{}", w.kind.name().to_lowercase(), w.name),
            component: component.clone(),
            operation: if same { Operation::Keep } else { Operation::Change },
            diff: if same { String::new() } else { format!("-  replicas: {live}\n+  replicas: {}\n", subject.to) },
        }
    });
    let marked = plan.marks_failed().iter().map(|member| Change {
        object: format!("member/{member}"),
        component: component.clone(),
        operation: Operation::Change,
        diff: String::new(),
    });
    counts.chain(marked).collect()
}

#[expect(clippy::too_many_arguments, reason = "the end of one function, which would be too long with it")]
async fn finish(
    cluster: &Cluster,
    emitter: &mut Emitter,
    world: &Mutex<World>,
    subjects: &[Subject],
    plans: &[Plan],
    ended: Vec<Carried>,
    reason: Option<CancelReason>,
    stats: &mut RunStats,
) -> End {
    let mut worst = Outcome::Done;
    let rank = |o: &Outcome| match o {
        Outcome::Failed => 4,
        Outcome::Refused => 3,
        Outcome::NotReady => 2,
        Outcome::Cancelled => 1,
        _ => 0,
    };
    let mut said = Vec::new();
    for carried in ended {
        stats.writes += carried.writes;
        let name = carried.component.name().to_owned();
        let Some(stop) = carried.stop else {
            stats.serving += 1;
            continue;
        };
        let outcome = match stop {
            Stop::Refused(text) => {
                said.push(text);
                Outcome::Refused
            }
            Stop::Late(text) => {
                said.push(text);
                Outcome::NotReady
            }
            Stop::Broken(text) => {
                said.push(text);
                Outcome::Failed
            }
            Stop::Cancelled if reason == Some(CancelReason::Deadline) => {
                said.push(format!("{name}: the time was up"));
                Outcome::NotReady
            }
            Stop::Cancelled => Outcome::Cancelled,
            Stop::Doomed(doom) => {
                let subject = subjects.iter().find(|s| s.component() == carried.component);
                let told =
                    subject.map(|s| look(world, |w| w.scene(s, |scene| evidence::events(scene.events.to_vec()))));
                let (doom, evidence) = evidence::gather(cluster.clone(), *doom, told.unwrap_or_default(), None).await;
                let fix = doom.fix.replace("NAME", &name);
                said.push(format!("{name}: {}", doom.causes.first().cloned().unwrap_or_default()));
                let what = What::Failed { component: name, failure: doom.kind, causes: doom.causes, fix, evidence };
                emitter.emit(what).await;
                Outcome::Failed
            }
        };
        match outcome {
            Outcome::Failed => stats.failed += 1,
            _ => stats.unfinished += 1,
        }
        if rank(&outcome) > rank(&worst) {
            worst = outcome;
        }
    }
    stats.pod_connections = look(world, |w| w.connections);
    let seconds = emitter.began().elapsed().as_secs_f32();
    let all: Vec<String> = subjects
        .iter()
        .zip(plans)
        .map(|(s, p)| {
            if p.from == s.to {
                format!("{} {}", s.name(), s.to)
            } else {
                format!("{} {} → {}", s.name(), p.from, s.to)
            }
        })
        .collect();
    let all = all.join(", ");
    match worst {
        Outcome::Done if plans.iter().all(Plan::is_empty) && stats.writes == 0 => {
            (Outcome::NothingToDo, format!("nothing to do: {all} ({seconds:.1} s)"))
        }
        Outcome::Done => (Outcome::Done, format!("scaled: {all} ({seconds:.1} s)")),
        Outcome::Cancelled => (
            worst,
            "stopped; what was begun goes on by itself, and running the same scale again sees to the rest".to_owned(),
        ),
        Outcome::NotReady => (worst, format!("{}; run the same scale again to go on", said.join("\n"))),
        other => (other, said.join("\n")),
    }
}
