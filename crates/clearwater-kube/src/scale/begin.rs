//! The steps before the first write: what stands is seen, plans are made of it and checked, and the user is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clearwater::config::{BonoExposure, Deployment};
use clearwater::event::{Change, CheckLine, EventKind, Operation, Outcome, PlannedStep, Whose};
use clearwater::remedy::{Advice, Remedied as _, Remedy};
use clearwater::scale::{Refusal, ScalePlan};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::execute::Context;
use super::situation::replicas;
use super::target::{ScaleTarget, Unfit, names, target};
use super::watch::{Shared, keep, look};
use super::{End, ScaleOptions, Scaling, check};
use crate::apply::preflight::{counts, room};
use crate::cluster::{Cluster, LEAVING, no_namespace, say, until_gone};
use crate::deadline::no_api_answer;
use crate::observe::observation::Observed;
use crate::observe::observer::Observer;
use crate::observe::snapshot::WatchEvent;
use crate::observe::subject::zone_line;
use crate::observe::{Observation, subject};
use crate::rights::{self, Task};
use crate::run::checks::{self, Unseen};
use crate::run::{Emitter, Steering};

pub(super) async fn steps(
    cluster: &Cluster,
    options: &ScaleOptions,
    emitter: &mut Emitter,
    steering: &mut Steering,
    refusals: &mut Vec<Refusal>,
) -> Result<Scaling, End> {
    // No look takes longer than the whole may, and neither do several, one after the other.
    let until = emitter.began() + options.timeout;
    let (asked, mut observer) = (&cluster.before(until), Observer::begin(cluster));
    let (skew, reached) = tokio::join!(asked.clock_skew(), reach(asked));
    reached?;
    let mut seen = Observation::new(skew);
    let deadline = || until.min(Instant::now() + cluster.policy.timeout());
    see(asked, &mut seen, &mut observer, deadline()).await?;
    if let Some(why) = seen.snapshot.unseen() {
        // Who may not look is told all that is lacking.
        if seen.snapshot.unauthorized.is_none() {
            checks::tell(rights::check_all(asked, Task::Scale).await, "changed", emitter).await?;
        }
        return Err((Outcome::CouldNotLook, why.into()));
    }
    let is_empty = seen.snapshot.deployments.is_empty() && seen.snapshot.stateful_sets.is_empty();
    if is_empty && asked.lacks_namespace().await {
        return Err((Outcome::NotFound, Advice::new(no_namespace(&cluster.namespace), Remedy::ChooseNamespace)));
    }

    if asked.is_leaving(cluster.policy.timeout()).await {
        let text = format!("nothing was changed: namespace {}: {LEAVING}", cluster.namespace);
        return Err((Outcome::PreflightFailed, Advice::new(text, until_gone(&cluster.namespace))));
    }

    let release = options.deployment.as_ref().map_or_else(|| subject::release(&seen.snapshot), Deployment::release);
    let (names, zone_unread) = names(asked, release).await;
    let mut unseen: Vec<CheckLine> = zone_unread.as_ref().map(zone_line).into_iter().collect();
    let autoscalers = counts::autoscalers(asked).await.unwrap_or_else(|line| {
        unseen.push(line);
        Vec::new()
    });
    let mut targets = Vec::new();
    let mut refused = Vec::new();
    for (component, to) in &options.targets {
        match target(&seen.snapshot, options, release, &names, *component, *to) {
            Ok(mut target) => {
                let workloads = &target.subject.workloads;
                target.autoscaler = counts::owner(&autoscalers, workloads);
                if target.reach.exposure == BonoExposure::HostPort
                    && let Some(spec) =
                        workloads.first().and_then(|w| seen.snapshot.workload(w)?.template?.spec.clone())
                {
                    target.reach.nodes = room::nodes_for(asked, &spec).await;
                }
                targets.push(target);
            }
            Err(Unfit::Absent(advice)) => return Err((Outcome::NotFound, advice)),
            Err(Unfit::Refused(advice, refusal)) => {
                refused.push(advice);
                refusals.extend(refusal.map(|refusal| *refusal));
            }
        }
    }

    let seen: Shared = Arc::new(Mutex::new(seen));
    let (bump, news) = watch::channel(0);
    let (out, told) = mpsc::unbounded_channel();
    let mut observing = JoinSet::new();
    observing.spawn(keep(observer, seen.clone(), targets.clone(), bump, out.clone()));
    let looking = first_look(&seen, &targets, news.clone(), deadline());
    cluster.policy.awaited_as(|| awaited(&seen, &targets), looking).await;

    let (mut plans, mut unread) = (Vec::new(), Vec::new());
    for target in &targets {
        match look(&seen, |seen| planned(seen, target)) {
            Ok(plan) => plans.push(plan),
            Err(refusal) => {
                let unknown = matches!(refusal, Refusal::MembersUnknown { .. });
                let advice = look(&seen, |seen| said(seen, target, &refusal));
                if unknown { &mut unread } else { &mut refused }.push(advice);
                refusals.push(refusal);
            }
        }
    }
    if refused.is_empty() && !unread.is_empty() {
        return Err((Outcome::CouldNotLook, Advice::lines(unread)));
    }
    refused.extend(unread);
    if !refused.is_empty() {
        return Err((Outcome::Refused, Advice::lines(refused)));
    }
    let (writes, unseen) = checked(asked, &seen, &targets, &plans, unseen, emitter).await?;
    if until <= Instant::now() && !options.dry_run {
        return Err(checks::late("changed", unseen));
    }
    let consent = agreed(options, &plans, writes, unseen, emitter, steering).await?;

    let (cancel, cancelled) = watch::channel(None);
    let context = Context {
        cluster: cluster.clone(),
        seen,
        news,
        cancel: cancelled,
        out,
        until: emitter.began() + options.timeout,
        consent,
        deployment: options.deployment.clone().map(Arc::new),
        names,
    };
    Ok(Scaling { targets, plans, context, cancel, told, _observing: observing })
}

/// Who was given less time was not asked in earnest.
const TOO_SOON: Duration = Duration::from_secs(1);

/// Who is refused is told so by a request; a watch only tries again.
async fn reach(cluster: &Cluster) -> Result<(), End> {
    match cluster.api::<Pod>().list(&ListParams::default().limit(1)).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(()),
        Err(error) => Err((Outcome::CouldNotLook, format!("cannot look: {}", say(&error)).into())),
        Ok(_) => Ok(()),
    }
}

/// Waits until all of the namespace was seen.
async fn see(cluster: &Cluster, seen: &mut Observation, observer: &mut Observer, until: Instant) -> Result<(), End> {
    let (mut trouble, began) = (None, Instant::now());
    let complete = async {
        while !seen.snapshot.is_complete() && seen.snapshot.unauthorized.is_none() {
            let Some(one) = observer.next().await else { break };
            if let Observed::Watch(WatchEvent::Trouble(_, text)) = &one {
                tracing::debug!(text, "a watch is broken and is being renewed");
                trouble = Some(text.clone());
            }
            seen.take(one);
        }
    };
    let looking = cluster.policy.awaited("what stands in the namespace", timeout_at(until, complete));
    if looking.await.is_err() {
        // The whole may have had its time before the first answer came.
        let waited = began.elapsed();
        let why = if waited < TOO_SOON { "cannot look: the time is up".to_owned() } else { no_api_answer(waited) };
        let why = trouble.map_or(why, |text| format!("cannot look: {text}"));
        return Err((Outcome::CouldNotLook, why.into()));
    }
    Ok(())
}

/// Waits until the stores' lists were read and are clear, or until they have had their time.
async fn first_look(
    seen: &Mutex<Observation>,
    targets: &[ScaleTarget],
    mut news: watch::Receiver<u64>,
    until: Instant,
) {
    let clear = async {
        loop {
            news.borrow_and_update();
            let done = look(seen, |seen| {
                let mut stores = targets.iter().filter(|t| t.subject.entry.clustering.is_some());
                stores.all(|t| t.clear(seen, &BTreeMap::new()).is_ok())
            });
            if done {
                return;
            }
            // A member without a pod is certain after a while, and nothing tells of that.
            let _ = timeout(Duration::from_millis(250), news.changed()).await;
        }
    };
    let _ = timeout_at(until, clear).await;
}

/// What is waited for until the members are clear, with what etcd answered instead.
fn awaited(seen: &Mutex<Observation>, targets: &[ScaleTarget]) -> String {
    let what = "what etcd says of the members";
    let trouble = look(seen, |seen| targets.iter().find_map(|t| t.list_trouble(seen)).map(str::to_owned));
    trouble.map_or_else(|| what.to_owned(), |trouble| format!("{what}; so far: {trouble}"))
}

/// A component's plan, or why there is none: it is refused, or its members could not be looked at.
fn planned(seen: &Observation, target: &ScaleTarget) -> Result<ScalePlan, Refusal> {
    target.situation(seen).plan().and_then(|plan| leaves_well(seen, target).map(|()| plan))
}

/// A refusal in words; where members could not be looked at, with why.
fn said(seen: &Observation, target: &ScaleTarget, refusal: &Refusal) -> Advice {
    if !matches!(refusal, Refusal::MembersUnknown { .. }) {
        return refusal.advice();
    }
    let why = target.list_trouble(seen).map_or(String::new(), |why| format!(" ({why})"));
    Advice { remedy: refusal.remedy(), ..Advice::from(format!("{refusal}{why}")) }
}

/// Tells the plans, and every line of the checks. Yields whether anything is to be changed.
async fn checked(
    cluster: &Cluster,
    seen: &Mutex<Observation>,
    targets: &[ScaleTarget],
    plans: &[ScalePlan],
    unseen: Vec<CheckLine>,
    emitter: &mut Emitter,
) -> Result<(bool, Unseen), End> {
    for plan in plans {
        emitter.emit(steps_of(plan)).await;
    }
    let changes: Vec<Change> =
        targets.iter().zip(plans).flat_map(|(t, p)| look(seen, |seen| changes(seen, t, p))).collect();
    let writes = changes.iter().any(|c| c.operation != Operation::Keep);
    let growth = look(seen, |seen| check::growth(&seen.snapshot, targets));
    let mut lines = unseen;
    let looked = check::check(cluster, targets, &growth, writes).await;
    lines.extend(
        looked.map_err(|error| (Outcome::CouldNotLook, error.advice().after("cannot look, nothing was changed: ")))?,
    );
    let snapshot = look(seen, |seen| seen.snapshot.clone());
    lines.extend(check::budgets(cluster, &snapshot, targets).await);
    let unseen = checks::tell(lines, "changed", emitter).await?;
    emitter.emit(EventKind::Planned { changes, pending: Vec::new() }).await;
    Ok((writes, unseen))
}

/// Waits for a "yes" where one is asked for. Yields whether members may be marked as failed.
async fn agreed(
    options: &ScaleOptions,
    plans: &[ScalePlan],
    writes: bool,
    unseen: Unseen,
    emitter: &mut Emitter,
    steering: &mut Steering,
) -> Result<bool, End> {
    let asks = options.ask && writes;
    if let Err(declined) = steering.agreed(options.dry_run, asks, emitter).await {
        return Err(declined.end("changed", unseen, emitter).await);
    }
    let consent = options.mark_failed || (asks && plans.iter().any(|p| !p.marks_failed().is_empty()));
    match plans.iter().find_map(ScalePlan::without_consent) {
        Some(refusal) if !consent => Err((Outcome::Refused, refusal.advice())),
        _ => Ok(consent),
    }
}

/// Refuses to take away a member whose pod would not leave the cluster before it stops.
fn leaves_well(seen: &Observation, target: &ScaleTarget) -> Result<(), Refusal> {
    let entry = target.subject.entry;
    let Some(_) = entry.clustering.filter(|_| entry.pre_stop.is_some()) else { return Ok(()) };
    let from = target.from(seen);
    let stays = target.subject.workloads.iter().all(|w| {
        let spec = seen.snapshot.workload(w).and_then(|w| w.template?.spec.as_ref());
        spec.is_some_and(|s| s.containers.iter().any(|c| c.lifecycle.as_ref().is_some_and(|l| l.pre_stop.is_some())))
    });
    if target.to < from && !stays {
        return Err(Refusal::NoPreStop { component: target.component(), from, to: target.to });
    }
    Ok(())
}

fn steps_of(plan: &ScalePlan) -> EventKind {
    let steps = plan.steps.iter().map(|s| PlannedStep {
        step: plan.describe(&s.action),
        expected_seconds: s.expected_seconds,
        deadline_seconds: s.deadline_seconds,
    });
    EventKind::StepsPlanned {
        component: plan.component.name().to_owned(),
        from: plan.from,
        to: plan.to,
        steps: steps.collect(),
        notices: plan.notices.clone(),
    }
}

/// What a plan changes: the workloads' counts, and the members that are marked as failed.
fn changes(seen: &Observation, target: &ScaleTarget, plan: &ScalePlan) -> Vec<Change> {
    let component = Some(target.name().to_owned());
    let counts = target.subject.workloads.iter().map(|w| {
        let live = replicas(&seen.snapshot, w).unwrap_or(0);
        let same = live == target.to;
        Change {
            object: w.to_string(),
            component: component.clone(),
            operation: if same { Operation::Keep } else { Operation::Change },
            whose: Whose::Ours,
            diff: if same { String::new() } else { format!("-  replicas: {live}\n+  replicas: {}\n", target.to) },
            restarts: 0,
        }
    });
    let marked = plan.marks_failed().iter().map(|member| Change::of_member(member, component.clone()));
    counts.chain(marked).collect()
}
