//! What is broken and can be repaired: programs that were given up, members without a pod, members that cannot start again,
//! and, where it was asked for, pods of an older revision.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::{Component, Entry, LOOKS_UP_ONCE, Program};
use clearwater::event::{Cost, EventKind, Pending, Repair};
use clearwater::manifest::{Object, held};
use clearwater::remedy::{Advice, Permission, Remedy};
use clearwater::scale::MemberState;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSetSpec;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Dispatcher;
use crate::apply::Planned;
use crate::cluster::say;
use crate::judge::renewal::{Renewal, loss_of_replacing};
use crate::judge::{self, Stuck};
use crate::observe::probe::{ProbeTarget, Prober};
use crate::observe::{MembersSeen, members};
use crate::pod::Script;
use crate::pod::object::{addresses, pod_name, running_since};
use crate::run::{Consent, GRACE, unless_cancelled};

/// The longest that `cw-mark_node_failed` may take: it waits for the others' consent.
const MARK_FAILED: Duration = Duration::from_secs(180);
/// The longest that restarting a program may take: supervisord waits ten seconds for the old one to stop.
const RESTART: Duration = Duration::from_secs(30);
/// A repair that failed is tried again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// A repair is tried so often.
const TRIES: u32 = 20;

/// A repair: the component or pod, and what of it.
type Key = (String, String);

/// A repair that has ended, with whether it failed.
pub(super) type Ended = (Key, bool);

/// What has been repaired, and what is to be asked first.
pub(super) struct Repairs {
    /// Repairs under way; each tells which it was and whether it failed.
    pub(super) tasks: JoinSet<Ended>,
    /// Repairs of this run, with when they were begun on the API server's clock.
    pub(super) begun: BTreeMap<Key, Timestamp>,
    /// Repairs that failed: how often, and when they are tried again.
    failed: BTreeMap<Key, (u32, Instant)>,
    /// Those of them that have not ended yet.
    running: BTreeSet<Key>,
    /// Pods of stores that were removed to be made anew, by uid.
    pub(super) replaced: BTreeSet<String>,
    /// When programs that are not well ended, in seconds since 1970 on their container's clock.
    pub(super) ends: BTreeMap<Key, BTreeSet<i64>>,
    /// Why stores' pods were not replaced although that was asked for.
    pub(super) refusals: BTreeMap<Component, String>,
    /// Repairs that cost data, each a question of its own, by the uid of the pod; a question's number is its place.
    costly: Vec<(String, Costly)>,
    /// Answers to these questions.
    pub(super) consents: mpsc::UnboundedReceiver<Consent>,
}

struct Costly {
    component: Component,
    repair: Repair,
    /// Whether the user agreed; `None` while the question is open.
    agreed: Option<bool>,
}

/// Whether a repair that costs data may be begun.
#[derive(Debug, PartialEq, Eq)]
enum Allowed {
    Yes,
    /// It may not, or not yet.
    No,
    /// Nobody knows of it yet: the question of this number is to be put, or what was refused told.
    Ask(u64),
    Refuse,
}

impl Repairs {
    pub(super) fn hearing(consents: mpsc::UnboundedReceiver<Consent>) -> Self {
        Self {
            tasks: JoinSet::new(),
            begun: BTreeMap::new(),
            failed: BTreeMap::new(),
            running: BTreeSet::new(),
            replaced: BTreeSet::new(),
            ends: BTreeMap::new(),
            refusals: BTreeMap::new(),
            costly: Vec::new(),
            consents,
        }
    }

    /// Whether a pod may be repaired although that costs data: an answer is to one repair, and one that came before the
    /// question was put is none. `asks` says whether somebody is there to be asked.
    fn allowed(&mut self, uid: &str, repair: &Repair, component: Component, asks: bool) -> Allowed {
        if let Some((_, costly)) = self.costly.iter().find(|(of, _)| of == uid) {
            return if costly.agreed == Some(true) { Allowed::Yes } else { Allowed::No };
        }
        while self.consents.try_recv().is_ok() {}
        let question = self.costly.len() as u64;
        let agreed = (!asks).then_some(false);
        self.costly.push((uid.to_owned(), Costly { component, repair: repair.clone(), agreed }));
        if asks { Allowed::Ask(question) } else { Allowed::Refuse }
    }

    /// Takes note of how a repair ended. Whether it helped is seen by other means.
    pub(super) fn take(&mut self, (key, failed): Ended) {
        self.running.remove(&key);
        if failed {
            let (tries, at) = self.failed.entry(key).or_insert((0, Instant::now()));
            *tries += 1;
            *at = Instant::now() + AGAIN_AFTER;
        }
    }

    /// Takes an answer to a question that is open.
    pub(super) fn take_consent(&mut self, Consent { question, agreed }: Consent) {
        let place = usize::try_from(question).ok();
        if let Some((_, costly)) = place.and_then(|n| self.costly.get_mut(n))
            && costly.agreed.is_none()
        {
            costly.agreed = Some(agreed);
        }
    }

    /// Whether a repair was refused because it would cost data.
    pub(super) fn is_refused(&self) -> bool {
        self.costly.iter().any(|(_, c)| c.agreed == Some(false))
    }

    /// The repairs that were refused.
    pub(super) fn refused(&self) -> impl Iterator<Item = Pending> {
        self.costly.iter().filter(|(_, c)| c.agreed == Some(false)).map(|(_, costly)| Pending {
            component: costly.component.name().to_owned(),
            what: format!("{} is {}: {}", costly.repair.object, costly.repair.action, costly.repair.because),
            command: Permission::LoseData.into(),
        })
    }

    /// Whether a repair may be tried: it was not before, or failed and has had its pause.
    pub(super) fn may_be_tried(&self, key: &Key) -> bool {
        self.failed.get(key).is_none_or(|(tries, at)| *tries < TRIES && Instant::now() >= *at)
    }

    /// Whether a repair failed at least once.
    pub(super) fn has_failed(&self, key: &Key) -> bool {
        self.failed.contains_key(key)
    }

    /// Whether a repair is to be begun now: for the first time, or again because it failed.
    fn is_due(&self, key: &Key) -> bool {
        !self.running.contains(key) && self.may_be_tried(key) && (self.has_failed(key) || !self.begun.contains_key(key))
    }

    /// Whether a program that looks another component up when it starts is to be restarted now: it started, or was restarted by this
    /// run, before that one's pods were last renewed, each time that they are.
    fn is_outlived(&self, key: &Key, began: Option<Timestamp>, renewed: Option<Timestamp>) -> bool {
        let restarted = self.begun.get(key).copied().filter(|_| !self.has_failed(key));
        !self.running.contains(key) && self.may_be_tried(key) && began.max(restarted) < renewed
    }

    /// Which of a store's dead members are to be marked as failed now. Each is, however many others are being marked: a run
    /// of `cw-mark_node_failed` ends only when no dead member is left, so one that was kept back would be waited for.
    fn to_mark(&self, component: Component, mut dead: Vec<IpAddr>) -> Vec<IpAddr> {
        dead.retain(|address| self.is_due(&marking(component, *address)));
        dead
    }
}

fn marking(component: Component, member: IpAddr) -> Key {
    (component.name().to_owned(), member.to_string())
}

/// The repair of a member that cannot start again.
fn unsticking(entry: &Entry, stuck: &Stuck) -> Repair {
    let data: Vec<&str> = entry.data.iter().map(|d| d.what).collect();
    let data = data.join(", ");
    let (cost, about) = match (stuck.others, stuck.holds_data) {
        _ if stuck.on_volume => (Cost::Nothing, format!("{data} are on its volume, which the new pod gets")),
        (0, true) => (Cost::Data, format!("it is the only member, and its pod holds {data}, which would be lost")),
        (0, false) => (
            Cost::Nothing,
            format!("it is the only member, and what it held ({data}) went with the container that ended"),
        ),
        (others, _) => (Cost::Nothing, format!("{others} other members hold copies")),
    };
    Repair {
        component: entry.component.name().to_owned(),
        object: format!("pod/{}", stuck.pod),
        action: "replaced by a new pod, which joins in its place".to_owned(),
        because: format!("{}; {about}", stuck.why()),
        cost,
    }
}

/// What a plan changes of a store and this run will not carry out, because that takes new pods.
pub(super) fn waiting(entry: &Entry, planned: &[Planned], replaces: bool) -> Option<Pending> {
    let members: u32 = planned.iter().map(|p| p.replaced.on_demand).sum();
    if members == 0 {
        return None;
    }
    let claims = planned.iter().any(|p| match &p.item.object {
        Object::StatefulSet(set) => held::<StatefulSetSpec>(&set.spec)
            .is_some_and(|s| s.volume_claim_templates.iter().flatten().next().is_some()),
        _ => false,
    });
    let loss = loss_of_replacing(entry, usize::try_from(members).unwrap_or(usize::MAX), claims);
    if replaces && loss.is_none() {
        return None;
    }
    let because = loss.as_ref().map_or_else(String::new, |loss| format!(" ({loss})"));
    let command = if loss.is_some() { Remedy::anew([entry.component]) } else { Permission::ReplaceStores.into() };
    let what = format!("{members} of its pods would go on running the old revision{because}");
    Some(Pending { component: entry.component.name().to_owned(), what, command })
}

/// When a pod's containers began to run, the last of them.
fn began(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
    statuses.filter_map(running_since).max()
}

impl Dispatcher {
    /// Restarts programs that supervisord gave up because what they need was not there, once it is.
    pub(super) async fn repair(&mut self, component: Component, needs_served_since: Option<Timestamp>) {
        if needs_served_since.is_none() || self.cancelled.is_some() {
            return;
        }
        let pods: Vec<Pod> = self.seen.snapshot.pods_of(component).into_iter().cloned().collect();
        for pod in pods {
            let uid = pod.uid().unwrap_or_default();
            let Some(report) = self.seen.reports.get(&uid) else { continue };
            let programs: Vec<String> =
                report.troubles.iter().filter(|t| t.is_fatal()).map(|t| t.program.clone()).collect();
            for program in programs {
                let key = (uid.clone(), program.clone());
                if self.repairs.begun.contains_key(&key) {
                    continue;
                }
                let Some(target) = ProbeTarget::of(&self.units[component].part.subject, &pod) else { continue };
                self.repairs.begun.insert(key.clone(), self.seen.now());
                let repair = Repair {
                    component: component.name().to_owned(),
                    object: format!("{}, program {program}", pod_name(&pod)),
                    action: format!("supervisorctl start {program}"),
                    because: "supervisord gave it up before what it needs was serving".to_owned(),
                    cost: Cost::Nothing,
                };
                let cluster = self.context.cluster.clone();
                self.emitter.emit(EventKind::Repaired { repair }).await;
                self.repairs.tasks.spawn(async move {
                    let mut prober = Prober::new(&cluster, target);
                    // Whether it helped is seen by the pod's own prober.
                    let _ = prober.run(&Script::new("supervisorctl start \"$1\"").arg(program)).await;
                    (key, false)
                });
            }
        }
    }

    /// Removes members of stores that no pod stands behind, all of a store at once: they were killed without leaving, and
    /// the next join would wait for their consent for ever.
    pub(super) async fn repair_members(&mut self, component: Component) {
        let entry = self.units[component].part.subject.entry;
        let Some(clustering) = &entry.clustering else { return };
        let Some(members) = self.seen.members(component).and_then(MembersSeen::members) else { return };
        if self.cancelled.is_some() {
            return;
        }
        // A member knows the others; a pod that only wants to become one may not.
        let is_member =
            |p: &&Pod| members::of(members, &addresses(p)).is_some_and(|(_, state)| state == MemberState::Normal);
        let pods = self.seen.snapshot.pods_of(component);
        let candidates = pods.iter().copied().filter(is_member).chain(pods.iter().copied());
        let target = candidates.into_iter().find_map(|p| ProbeTarget::of(&self.units[component].part.subject, p));
        let dead = self.repairs.to_mark(component, self.seen.dead(component));
        let Some(target) = target else { return };
        for address in dead {
            let key = marking(component, address);
            if self.repairs.begun.insert(key.clone(), self.seen.now()).is_none() {
                let repair = Repair {
                    component: component.name().to_owned(),
                    object: format!("{} member {address}", clustering.title),
                    action: format!("{}, in pod {}", members::mark_failed_text(clustering, address), target.pod),
                    because: "no pod has that address: it went without leaving, and others wait for it".to_owned(),
                    cost: Cost::Nothing,
                };
                self.emitter.emit(EventKind::Repaired { repair }).await;
            }
            let script = members::mark_failed(clustering, address);
            let (cluster, target) = (self.context.cluster.clone(), target.clone());
            self.repairs.running.insert(key.clone());
            self.repairs.tasks.spawn(async move {
                let mut prober = Prober::new(&cluster, target);
                let ran = prober.run_for(&script, MARK_FAILED).await;
                (key, !ran.is_ok_and(|output| output.status == 0))
            });
        }
    }

    /// Where it was asked for, replaces the next pod of a store that runs an older revision. Yields whether there is
    /// still something to wait for.
    pub(super) async fn replace_next(&mut self) -> bool {
        if !self.context.options.replace_stores || self.cancelled.is_some() || self.failed_at.is_some() {
            return false;
        }
        if self.is_replacing() {
            return true;
        }
        for component in self.units.components() {
            let unit = &self.units[component];
            if unit.pending == 0 || self.repairs.refusals.contains_key(&component) {
                continue;
            }
            let pods = self.seen.snapshot.pods_of(component);
            if let Renewal::Losing(loss) = Renewal::of(unit.part.subject.entry, &pods) {
                self.repairs.refusals.insert(component, loss);
                continue;
            }
            let outdated = judge::outdated(&unit.part.subject, &self.seen);
            let current = |p: &Pod| {
                !outdated.iter().any(|o| Some(&o.uid) == p.metadata.uid.as_ref())
                    && unit.part.subject.workloads.iter().any(|w| {
                        let set = self.seen.snapshot.stateful_sets.get(&w.name).and_then(|s| s.status.as_ref());
                        let revision = set.and_then(|s| s.update_revision.as_ref());
                        revision.is_some() && revision == p.labels().get("controller-revision-hash")
                    })
            };
            // The last one first, as a StatefulSet rolls.
            let Some(old) = pods.into_iter().rev().find(|p| !current(p)).cloned() else { continue };
            let repair = Repair {
                component: component.name().to_owned(),
                object: pod_name(&old),
                action: "replaced by one of the new revision".to_owned(),
                because: "it runs an older revision or with older settings, and stores are to be replaced".to_owned(),
                cost: Cost::Nothing,
            };
            self.emitter.emit(EventKind::Repaired { repair }).await;
            match self.delete_pod(&old.name_any()).await {
                Ok(()) => {
                    self.repairs.replaced.insert(old.uid().unwrap_or_default());
                    self.writing.writes += 1;
                }
                Err(error) => {
                    let text = format!("{}: {error}", pod_name(&old));
                    self.repairs.refusals.insert(component, text);
                    continue;
                }
            }
            return true;
        }
        false
    }

    /// Restarts a program that looked another component up when it started, where that one has a new address since.
    pub(super) async fn repair_lookup(&mut self, component: Component, needs_served_since: Option<Timestamp>) {
        if needs_served_since.is_none() || self.cancelled.is_some() {
            return;
        }
        let entry = self.units[component].part.subject.entry;
        let Some(lookup) = LOOKS_UP_ONCE.iter().find(|l| l.component == component) else { return };
        let Some(program) = entry.program(lookup.program).map(Program::full_name) else { return };
        let renewed = self.seen.snapshot.pods_of(lookup.other).into_iter().filter_map(began).max();
        let pods: Vec<Pod> = self.seen.snapshot.pods_of(component).into_iter().cloned().collect();
        for pod in pods {
            let uid = pod.uid().unwrap_or_default();
            // Only one that was looked into and does not answer well, although all of its programs run.
            let report = self.seen.reports.get(&uid);
            let unwell = report.is_some_and(|r| r.troubles.is_empty() && r.programs_well > 0 && !r.is_good());
            let key = (uid, format!("{program} {}", lookup.other));
            if !unwell || !self.repairs.is_outlived(&key, began(&pod), renewed) {
                continue;
            }
            let Some(target) = ProbeTarget::of(&self.units[component].part.subject, &pod) else { continue };
            self.repairs.begun.insert(key.clone(), self.seen.now());
            let script = Script::new("supervisorctl restart \"$1\"").arg(&program);
            let repair = Repair {
                component: component.name().to_owned(),
                object: format!("{}, program {program}", pod_name(&pod)),
                action: format!("supervisorctl restart {program}"),
                because: format!("it looked {0} up when it started, and {0} has another address since", lookup.other),
                cost: Cost::Nothing,
            };
            self.emitter.emit(EventKind::Repaired { repair }).await;
            let cluster = self.context.cluster.clone();
            self.repairs.running.insert(key.clone());
            self.repairs.tasks.spawn(async move {
                let mut prober = Prober::new(&cluster, target);
                let ran = prober.run_for(&script, RESTART).await;
                (key, ran.is_err())
            });
        }
    }

    /// Replaces the next member of a store that cannot start again: the new pod joins anew, and what is left of the old
    /// member is removed by [`Self::repair_members`].
    pub(super) async fn repair_stuck(&mut self, component: Component) {
        if self.cancelled.is_some() {
            return;
        }
        let entry = self.units[component].part.subject.entry;
        let Some(members) = self.seen.members(component).and_then(MembersSeen::members) else { return };
        let pods = self.seen.snapshot.pods_of(component);
        let own: Vec<IpAddr> = pods.iter().copied().flat_map(addresses).collect();
        // One a time: the next only when the one before is a member again.
        if !members.stale(&own).is_empty() || !members.all_normal(members.len()) {
            return;
        }
        let stuck = judge::stuck(&self.units[component].part.subject, &self.seen)
            .into_iter()
            .find(|s| !self.repairs.replaced.contains(&s.uid));
        let Some(stuck) = stuck else { return };
        let repair = unsticking(entry, &stuck);
        if !self.is_agreed(component, &stuck.uid, &repair).await {
            return;
        }
        let key = (stuck.uid.clone(), "stuck".to_owned());
        if !self.repairs.is_due(&key) {
            return;
        }
        if self.repairs.begun.insert(key.clone(), self.seen.now()).is_none() {
            self.emitter.emit(EventKind::Repaired { repair }).await;
        }
        match self.delete_pod(&stuck.pod).await {
            Ok(()) => {
                self.writing.writes += 1;
                self.repairs.replaced.insert(stuck.uid);
            }
            Err(error) => {
                self.repairs.take((key, true));
                let text = format!("pod/{}: {error}", stuck.pod);
                self.emitter.emit(EventKind::Notice { text: text.into() }).await;
            }
        }
    }

    /// Whether a repair may be begun. One that costs data may where that is agreed to; it is asked for, or told, once.
    pub(super) async fn is_agreed(&mut self, component: Component, uid: &str, repair: &Repair) -> bool {
        if repair.cost != Cost::Data || self.context.options.accept_loss {
            return true;
        }
        match self.repairs.allowed(uid, repair, component, self.context.options.ask) {
            Allowed::Yes => return true,
            Allowed::No => {}
            Allowed::Ask(id) => {
                let loses = self.units[component].part.subject.entry.data.iter().map(|d| d.what.to_owned()).collect();
                self.emitter.emit(EventKind::Asked { id, loses, repair: repair.clone() }).await;
            }
            Allowed::Refuse => {
                let Repair { component, object, action, because, .. } = repair;
                let text =
                    format!("{component}: broken, and repairing it costs data: {object}: {action}, because {because}");
                let text = Advice::new(text, Permission::LoseData);
                self.emitter.emit(EventKind::Notice { text }).await;
            }
        }
        false
    }

    /// Deletes a pod, within the time that any write has when the run is cancelled.
    pub(super) async fn delete_pod(&self, name: &str) -> Result<(), String> {
        let (pods, params): (kube::Api<Pod>, _) = (self.context.cluster.api(), DeleteParams::default());
        match unless_cancelled(&self.context.cancel, GRACE, pods.delete(name, &params)).await {
            Ok(deleted) => deleted.map(drop).map_err(|e| say(&e)),
            Err(_) => Err("interrupted before the API server answered".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
