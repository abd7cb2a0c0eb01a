//! The steps before the first write: what stands is seen, plans are made of it and checked, and the user is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clearwater::config::BonoExposure;
use clearwater::dns::Names;
use clearwater::event::{Change, CheckLine, CheckStatus, Operation, Outcome, PlannedStep, What, Whose};
use clearwater::remedy::{Advice, Remedied as _};
use clearwater::scale::{Plan, Refusal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::carry::Shared;
use super::subject::{Unfit, subject, zone};
use super::world::{Subject, World};
use super::{End, ScaleOptions, Scaling, check, look, observe};
use crate::cluster::Cluster;
use crate::observe::discover;
use crate::observe::snapshot::{News, watch as watch_namespace};
use crate::run::{Emitter, Steering};

/// The longest that a first look may take.
const LOOK: Duration = Duration::from_secs(15);

pub(super) async fn steps(
    cluster: &Cluster,
    options: &ScaleOptions,
    emitter: &mut Emitter,
    steering: &mut Steering,
) -> Result<Scaling, End> {
    let mut world = World::new(cluster.clock_skew().await);
    let (mut news, watches) = watch_namespace(&cluster.client, &cluster.namespace);
    see(&mut world, &mut news).await?;

    let zone = zone(cluster).await;
    let names = Names::standing(discover::release(&world.snapshot), &cluster.namespace, &zone);
    let (autoscalers, unseen) = match check::autoscalers(cluster).await {
        Ok(found) => (found, None),
        Err(line) => (Vec::new(), Some(line)),
    };
    let mut subjects = Vec::new();
    let mut refused = Vec::new();
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
            Err(Unfit::Absent(advice)) => return Err((Outcome::CouldNotLook, advice)),
            Err(Unfit::Refused(advice)) => refused.push(advice),
        }
    }

    let world = Arc::new(Mutex::new(world));
    let (bump, news_seen) = watch::channel(0);
    let (out, told) = mpsc::unbounded_channel();
    let mut observing = JoinSet::new();
    observing.spawn(observe::observe(observe::Observer {
        cluster: cluster.clone(),
        world: world.clone(),
        subjects: subjects.clone(),
        names: names.clone(),
        news,
        bump,
        out: out.clone(),
    }));
    first_look(&world, &subjects, news_seen.clone()).await;

    let mut plans = Vec::new();
    for subject in &subjects {
        match look(&world, |w| planned(w, subject)) {
            Ok(plan) => plans.push(plan),
            Err(advice) => refused.push(advice),
        }
    }
    if !refused.is_empty() {
        return Err((Outcome::Refused, Advice::lines(refused)));
    }
    let writes = checked(cluster, &world, &subjects, &plans, unseen, emitter).await?;
    let consent = agreed(options, &plans, writes, emitter, steering).await?;

    let (cancel, cancelled) = watch::channel(None);
    let shared = Shared {
        cluster: cluster.clone(),
        world: world.clone(),
        news: news_seen,
        cancel: cancelled,
        out,
        until: emitter.began() + options.timeout,
        consent,
        deployment: options.deployment.clone().map(Arc::new),
        names,
    };
    Ok(Scaling { world, subjects, plans, shared, cancel, told, _seeing: (observing, watches) })
}

/// Waits until all of the namespace was seen.
async fn see(world: &mut World, news: &mut mpsc::Receiver<News>) -> Result<(), End> {
    let complete = async {
        while !world.snapshot.is_complete() {
            let Some(one) = news.recv().await else { break };
            if let News::Trouble(_, text) = &one {
                tracing::debug!(text, "a watch is broken and is being renewed");
            }
            world.absorb(one);
        }
    };
    if timeout(LOOK, complete).await.is_err() {
        return Err((
            Outcome::CouldNotLook,
            format!("no answer from the API server within {} s", LOOK.as_secs()).into(),
        ));
    }
    match world.snapshot.denied.first() {
        Some(denied) => {
            Err((Outcome::CouldNotLook, format!("cannot look: needs list and watch {}", denied.resource()).into()))
        }
        None => Ok(()),
    }
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
                        && w.clear(s, &BTreeMap::new()).is_ok()
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

/// A component's plan, or why it is refused.
fn planned(world: &World, subject: &Subject) -> Result<Plan, Advice> {
    let planned = world.situation(subject).plan().and_then(|plan| leaves_well(world, subject).map(|()| plan));
    planned.map_err(|refusal| match (&refusal, world.list_trouble(subject.component())) {
        (Refusal::MembersUnknown { .. }, Some(why)) => {
            Advice { remedy: refusal.remedy(), ..Advice::from(format!("{refusal} ({why})")) }
        }
        _ => refusal.advice(),
    })
}

/// Tells the plans, and every line of the checks. Yields whether anything is to be changed.
async fn checked(
    cluster: &Cluster,
    world: &Mutex<World>,
    subjects: &[Subject],
    plans: &[Plan],
    unseen: Option<CheckLine>,
    emitter: &mut Emitter,
) -> Result<bool, End> {
    for plan in plans {
        emitter.emit(steps_of(plan)).await;
    }
    let changes: Vec<Change> =
        subjects.iter().zip(plans).flat_map(|(s, p)| look(world, |w| changes(w, s, p))).collect();
    let writes = changes.iter().any(|c| c.operation != Operation::Keep);
    let growth = look(world, |w| check::growth(w, subjects));
    let mut lines: Vec<CheckLine> = unseen.into_iter().collect();
    lines.extend(check::check(cluster, subjects, &growth, writes).await);
    let seen = look(world, |w| w.snapshot.clone());
    lines.extend(check::budgets(cluster, &World::of(seen), subjects).await);
    let worst = lines.iter().map(|l| l.status).max().unwrap_or(CheckStatus::Ok);
    let bad = lines.iter().find(|l| l.status == worst).map(|l| format!("{}: {}", l.title, l.detail));
    for line in lines {
        emitter.emit(What::Checked { line }).await;
    }
    let bad = bad.unwrap_or_default();
    match worst {
        CheckStatus::Refused => return Err((Outcome::Refused, format!("refused, nothing was changed: {bad}").into())),
        CheckStatus::Failed => {
            return Err((
                Outcome::PreflightFailed,
                format!("nothing was changed, because a check failed: {bad}").into(),
            ));
        }
        CheckStatus::Ok | CheckStatus::Skipped | CheckStatus::Warning => {}
    }
    emitter.emit(What::Planned { changes, pending: Vec::new() }).await;
    Ok(writes)
}

/// Waits for a "yes" where one is asked for. Yields whether members may be marked as failed.
async fn agreed(
    options: &ScaleOptions,
    plans: &[Plan],
    writes: bool,
    emitter: &mut Emitter,
    steering: &mut Steering,
) -> Result<bool, End> {
    if options.dry_run {
        return Err((Outcome::DryRun, "nothing was changed".into()));
    }
    let mut consent = options.mark_failed;
    if options.ask && writes {
        match steering.answered(emitter).await {
            Ok(true) => consent |= plans.iter().any(|p| !p.marks_failed().is_empty()),
            Ok(false) => return Err((Outcome::Refused, "not confirmed, nothing was changed".into())),
            Err(reason) => {
                emitter.emit(What::CancelRequested { reason }).await;
                return Err((Outcome::Cancelled, "interrupted, nothing was changed".into()));
            }
        }
    }
    match plans.iter().find_map(Plan::without_consent) {
        Some(refusal) if !consent => Err((Outcome::Refused, refusal.advice())),
        _ => Ok(consent),
    }
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

fn steps_of(plan: &Plan) -> What {
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
            whose: Whose::Ours,
            diff: if same { String::new() } else { format!("-  replicas: {live}\n+  replicas: {}\n", subject.to) },
        }
    });
    let marked = plan.marks_failed().iter().map(|member| Change {
        object: format!("member/{member}"),
        component: component.clone(),
        operation: Operation::Change,
        whose: Whose::Ours,
        diff: String::new(),
    });
    counts.chain(marked).collect()
}
