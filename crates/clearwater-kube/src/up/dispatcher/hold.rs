//! Components that are made before their gates open: their pods come, and hold their programs until then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clearwater::component::{Component, Entry};
use clearwater::config::Deployment;
use clearwater::event::{EventKind, Operation};
use clearwater::manifest::{self, held};
use clearwater::order::Policy;
use clearwater::remedy::{Advice, Remedied};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::Endpoint;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Dispatcher;
use super::unit::{Applied, Hold, Phase, Unit};
use crate::apply::prepare::{ApplyPlan, LiveState, Scope};
use crate::apply::{self, ApplyError, Planned};
use crate::backoff::{before, doubling, unless_lasting};
use crate::cluster::Cluster;
use crate::judge::failure::{self, Cause};
use crate::observe::snapshot::Kind;
use crate::pod::object::{addresses, containers, pod_is_ready};
use crate::rights;

/// Held pods go on by themselves after so long, should this run be killed.
const HOLD_FOR: SignedDuration = SignedDuration::from_secs(300);
/// That time is begun anew this often. A kubelet brings a change into its pods within a minute and a half.
const RENEW_EVERY: Duration = Duration::from_secs(120);
/// The pauses before the ConfigMap is written again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The ConfigMap that says what is held. Its writers wait for each other, so that none writes what was true before.
#[derive(Clone)]
pub(super) struct HoldMap {
    cluster: Cluster,
    deployment: Arc<Deployment>,
    held: Arc<Mutex<BTreeSet<Component>>>,
    /// Whether programs that ask nobody are held too.
    all: bool,
    /// How far the API server's clock is ahead.
    skew: SignedDuration,
}

impl HoldMap {
    fn new(
        cluster: &Cluster,
        deployment: &Deployment,
        held: impl IntoIterator<Item = Component>,
        policy: Option<Policy>,
        skew: SignedDuration,
    ) -> Self {
        let held = Arc::new(Mutex::new(held.into_iter().collect()));
        let all = !lets_start_alone(policy);
        Self { cluster: cluster.clone(), deployment: Arc::new(deployment.clone()), held, all, skew }
    }

    /// Writes what is held, from now on for as long as that lasts by itself. Trouble that may pass is borne.
    async fn write(&self, until: Instant) -> Result<(), ApplyError> {
        self.without(None, until).await
    }

    /// Holds a component no longer.
    pub(super) async fn let_go(&self, component: Component, until: Instant) -> Result<(), ApplyError> {
        self.without(Some(component), until).await
    }

    async fn without(&self, component: Option<Component>, until: Instant) -> Result<(), ApplyError> {
        let mut held = self.held.lock().await;
        if component.is_some_and(|component| !held.remove(&component)) {
            return Ok(());
        }
        let now = Timestamp::now();
        let ends = now.saturating_add(self.skew + HOLD_FOR).unwrap_or(now).as_second();
        let object =
            manifest::hold(&self.deployment, &held.iter().map(|component| (*component, ends)).collect(), self.all);
        let mut pauses = before(until, doubling(PAUSES.0, PAUSES.1));
        while let Err(error) = apply::apply_now(&self.cluster, &object).await {
            let may_pass = |error: &ApplyError| matches!(error, ApplyError::Unreachable(_));
            unless_lasting(error, may_pass, &mut pauses).await?;
        }
        Ok(())
    }
}

/// What is made early, and when.
pub(super) struct Holds {
    pub(super) map: HoldMap,
    /// Components that are being made.
    pub(super) makers: JoinSet<Applied>,
    /// Components of which nodes lack images.
    lacking: BTreeSet<Component>,
    /// All components, the most urgent first.
    urgency: Vec<Component>,
    renewed: Instant,
    /// Components of which it was said that they could not be held.
    told_unheld: BTreeSet<Component>,
}

impl Holds {
    pub(super) fn begin(holding: Holding, scope: &Scope) -> Self {
        let Holding { map, lacking, .. } = holding;
        let entry = |name: &str| scope.parts.iter().map(|p| p.subject.entry).find(|e| e.component.name() == name);
        let slowest = |name: &str| Duration::from_secs(entry(name).map_or(0, |e| e.slowest_start_seconds.into()));
        let urgency = scope.plan.by_urgency(slowest).into_iter().filter_map(|name| Some(entry(name)?.component));
        Self {
            map,
            makers: JoinSet::new(),
            lacking,
            urgency: urgency.collect(),
            renewed: Instant::now(),
            told_unheld: BTreeSet::new(),
        }
    }

    /// Components that lack images and are needed sooner than this one.
    fn before(&self, component: Component) -> impl Iterator<Item = Component> {
        let more_urgent = self.urgency.iter().take_while(move |c| **c != component).copied();
        more_urgent.filter(|c| self.lacking.contains(c))
    }
}

/// What of a run is made early.
pub(super) struct Holding {
    map: HoldMap,
    pub(super) early: BTreeSet<Component>,
    /// Components of which nodes lack images.
    lacking: BTreeSet<Component>,
}

impl Holding {
    /// Looks what can be made early, and writes that its programs are held. Beside it comes what is worth a word: why nothing
    /// is held, or of what images are to be pulled.
    pub(super) async fn begin(
        cluster: &Cluster,
        deployment: &Deployment,
        scope: &Scope,
        standing: &LiveState,
        work: &ApplyPlan,
        skew: SignedDuration,
        until: Instant,
    ) -> (Self, Option<Advice>) {
        let now = Timestamp::now().saturating_add(skew).unwrap_or_default();
        let mut early = wanted(deployment, scope, standing, work, now);
        let lacking = work.lacking.clone();
        if !may_let_go(cluster, &early).await {
            early.clear();
        }
        let entries = scope.parts.iter().map(|part| part.subject.entry);
        let held = entries.filter(|e| early.contains(&e.component) && !starts_alone(e, scope.plan.policy()));
        let map = HoldMap::new(cluster, deployment, held.map(|entry| entry.component), scope.plan.policy(), skew);
        let mut why = None;
        if !early.is_empty()
            && let Err(error) = map.write(until).await
        {
            early.clear();
            why = Some(error.advice().after("each component is made when its turn has come: "));
        }
        let why = why.or_else(|| {
            let names: Vec<&str> = lacking.iter().map(|component| component.name()).collect();
            (!names.is_empty()).then(|| format!("nodes lack images: {}", names.join(", ")).into())
        });
        (Self { map, early, lacking }, why)
    }
}

/// Whether programs that are held can be let go at once. By the ConfigMap alone that takes a minute or so for each
/// component, more than is won by making it early.
async fn may_let_go(cluster: &Cluster, early: &BTreeSet<Component>) -> bool {
    !early.is_empty() && rights::may_run_inside(&cluster.client, &cluster.namespace).await
}

/// The components of a run that are made early: those that wait for something, whose programs can be held, and that are made
/// from nothing, or were held by an earlier run that did not come to let them go. A change of what stands is never held.
fn wanted(
    deployment: &Deployment,
    scope: &Scope,
    standing: &LiveState,
    work: &ApplyPlan,
    now: Timestamp,
) -> BTreeSet<Component> {
    let waits = |entry: &Entry| scope.plan.gates(entry.component.name()).next().is_some();
    // Its objects cannot be planned before its addresses are known.
    let late = |component| component == Component::Bono && !work.services_first.balanced.is_empty();
    let is_new = |component| {
        let makes = |p: &&Planned| p.item.object.replicas().is_some();
        let mut workloads = work.of.get(&component).into_iter().flatten().filter(makes).peekable();
        workloads.peek().is_some() && workloads.all(|p| p.operation == Operation::Create)
    };
    let is_held = |component| standing.held.get(&component).is_some_and(|ends| *ends > now.as_second());
    let entries = scope.parts.iter().map(|part| part.subject.entry);
    entries
        .filter(|entry| manifest::is_holdable(deployment, entry) && waits(entry) && !late(entry.component))
        .map(|entry| entry.component)
        .filter(|component| is_new(*component) || is_held(*component))
        .collect()
}

/// Whether programs that ask nobody are not held. The article's sequence is one of starts, whatever they ask.
fn lets_start_alone(policy: Option<Policy>) -> bool {
    policy != Some(Policy::Article)
}

/// Whether no program of a component is held.
pub(super) fn starts_alone(entry: &Entry, policy: Option<Policy>) -> bool {
    lets_start_alone(policy) && manifest::starts_alone(entry)
}

/// Whether images may be pulled while those of these, which are needed sooner, are awaited. Under one pull the next pod's
/// place and sandbox are made and the last one is unpacked, so that the line is never idle. That goes for etcd's too, for
/// which all wait: etcd serves sooner than the other image, which shares the line with its own, is there and started.
fn may_follow(awaited: impl Iterator<Item = Component>) -> bool {
    awaited.take(2).count() < 2
}

/// Whether every image of a pod is there: all of its containers run, or ran.
fn is_pulled(pod: &Pod) -> bool {
    let begun = |s: &k8s_openapi::api::core::v1::ContainerState| s.running.is_some() || s.terminated.is_some();
    let mut all = containers(pod).filter(|(_, init)| !init).map(|(status, _)| status.state.as_ref()).peekable();
    all.peek().is_some() && all.all(|state| state.is_some_and(begun))
}

impl Dispatcher {
    /// Whether a component's images may be pulled now.
    pub(super) fn may_pull(&self, component: Component) -> bool {
        !self.holds.lacking.contains(&component)
            || may_follow(self.holds.before(component).filter(|other| !self.has_pulled(*other)))
    }

    /// Whether a component's images are there, or are not to be waited for.
    fn has_pulled(&self, component: Component) -> bool {
        let Some(unit) = self.units.get(component) else { return true };
        let comes = matches!(unit.phase, Phase::Applying | Phase::Rolling)
            || unit.phase == Phase::Waiting && unit.hold != Hold::No;
        let pods = self.seen.snapshot.pods_of(component);
        !comes || !pods.is_empty() && pods.iter().all(|pod| is_pulled(pod))
    }

    /// Whether etcd's name leads to its pod.
    pub(super) fn etcd_has_address(&self) -> bool {
        let Some(etcd) = self.units.get(Component::Etcd) else { return true };
        if self.seen.snapshot.denied.contains(&Kind::EndpointSlice) {
            return self.seen.snapshot.pods_of(Component::Etcd).iter().any(|pod| !addresses(pod).is_empty());
        }
        let Some(service) = etcd.part.subject.service.as_deref() else { return true };
        let mut slices = self.seen.snapshot.slices_of(service);
        slices.any(|s| held::<Vec<Endpoint>>(&s.endpoints).is_some_and(|e| !e.is_empty()))
    }

    /// Makes a component whose gates are still shut, where its programs can be held.
    pub(super) fn make_early(&mut self, component: Component) {
        let unit = &self.units[component];
        let may_begin = unit.hold == Hold::Wanted && unit.early.is_some();
        let goes_on = self.cancelled.is_none() && self.failed_at.is_none() && self.seen.snapshot.is_complete();
        if !may_begin || !goes_on || !self.etcd_has_address() || !self.may_pull(component) {
            return;
        }
        let (cluster, until, force) =
            (self.context.cluster.clone(), self.context.until, self.context.options.force_conflicts);
        let unit = &mut self.units[component];
        unit.hold = Hold::Making;
        unit.before.made = Some(Instant::now());
        let planned = std::mem::take(&mut unit.planned);
        self.holds.makers.spawn(async move {
            let mut applied = Applied::of(component);
            applied.write_all(&cluster, &planned, force, until).await;
            applied
        });
    }

    /// A component was made whose programs are held.
    pub(super) async fn take_made(&mut self, mut made: Applied) {
        self.writing.note(&mut made, &mut self.seen);
        if let Some(error) = &made.error {
            return self.fail_to_apply(made.component, error).await;
        }
        let unit = &mut self.units[made.component];
        unit.hold = Hold::Held;
        unit.made = Some(made);
    }

    /// How far a component is that was made before its gates opened, in a few words where its programs are held.
    pub(super) fn held_so_far(&mut self, component: Component) -> Option<String> {
        if self.units[component].hold != Hold::Held {
            return None;
        }
        let pods = self.seen.snapshot.pods_of(component);
        let there = !pods.is_empty() && pods.iter().all(|pod| is_pulled(pod));
        let live = if there { None } else { failure::cause(&self.rollout(component, pods, None)) };
        let unit = &mut self.units[component];
        if there {
            unit.before.there.get_or_insert_with(Instant::now);
        } else if live.as_ref().is_some_and(|live| live.pulling) {
            unit.before.pulling.get_or_insert_with(Instant::now);
        }
        let text = if there { "its image is there" } else { "its pods are being made" };
        (!unit.starts_alone).then(|| live.map_or_else(|| text.to_owned(), Cause::told))
    }

    /// Says of a component that is ready although its programs were to be held: its image starts in another way.
    pub(super) async fn tell_unheld(&mut self, component: Component) {
        let pods = self.seen.snapshot.pods_of(component);
        if self.holds.told_unheld.contains(&component) || !pods.iter().any(|pod| pod_is_ready(pod)) {
            return;
        }
        self.holds.told_unheld.insert(component);
        let text = format!(
            "{component} was started before what it waits for: its image does not end its start with supervisorctl, by \
             which its programs are held"
        );
        self.emitter.emit(EventKind::Notice { text: text.into() }).await;
    }

    /// Begins the time anew after which held pods go on by themselves.
    pub(super) fn renew_holds(&mut self) {
        let any = self.units.iter().any(|unit| matches!(unit.hold, Hold::Making | Hold::Held));
        if !any || self.cancelled.is_some() || self.holds.renewed.elapsed() < RENEW_EVERY {
            return;
        }
        self.holds.renewed = Instant::now();
        let (map, until) = (self.holds.map.clone(), self.context.until);
        // What cannot be written is written the next time, or the pods go on by themselves.
        tokio::spawn(async move { map.write(until.min(Instant::now() + RENEW_EVERY)).await });
    }

    /// The components whose programs are held, in a clause for the end of a run.
    pub(super) fn still_held(&self) -> Option<String> {
        let held: Vec<&str> =
            self.units.iter().filter(|u| u.hold == Hold::Held && !u.starts_alone).map(Unit::name).collect();
        let minutes = HOLD_FOR.as_secs() / 60;
        (!held.is_empty()).then(|| {
            format!("the programs of {} are held and start by themselves within {minutes} minutes", held.join(", "))
        })
    }
}

/// How far a component is at the begin of a run that holds it: what an earlier run has made is held already.
pub(super) fn at_first(planned: &[Planned]) -> Hold {
    if planned.iter().all(|p| p.operation == Operation::Keep) { Hold::Held } else { Hold::Wanted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_pull_goes_on_under_another() {
        use Component::{Astaire, Cassandra, Etcd};
        for (awaited, may) in
            [(vec![], true), (vec![Etcd], true), (vec![Etcd, Cassandra], false), (vec![Cassandra, Astaire], false)]
        {
            assert_eq!(may_follow(awaited.iter().copied()), may, "{awaited:?}");
        }
    }

    #[test]
    fn a_pod_whose_containers_run_or_ran_has_its_images() {
        for (statuses, pulled) in [
            (json!([]), false),
            (json!([{"name": "a", "state": {"waiting": {"reason": "ContainerCreating"}}}]), false),
            (json!([{"name": "a", "state": {"running": {}}}]), true),
            (json!([{"name": "a", "state": {"running": {}}}, {"name": "b", "state": {"waiting": {}}}]), false),
            (json!([{"name": "a", "state": {"terminated": {"exitCode": 1}}}]), true),
        ] {
            let statuses: Vec<_> = statuses
                .as_array()
                .unwrap()
                .iter()
                .map(|s| {
                    let mut status = json!({"image": "", "imageID": "", "ready": false, "restartCount": 0});
                    status["name"] = s["name"].clone();
                    status["state"] = s["state"].clone();
                    status
                })
                .collect();
            let pod: Pod =
                serde_json::from_value(json!({"metadata": {}, "status": {"containerStatuses": statuses}})).unwrap();
            assert_eq!(is_pulled(&pod), pulled, "{statuses:?}");
        }
    }
}
