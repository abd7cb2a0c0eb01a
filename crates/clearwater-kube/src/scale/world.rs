//! What is seen of the components that are scaled, put together for the planner. Pure but for the clock.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::{Component, Entry, Release};
use clearwater::config::SPROUT_ADDRESS;
use clearwater::manifest::WorkloadKind;
use clearwater::scale::{Autoscaler, MemberList, Members, MembersError, Pod as Seen, Reach, Situation};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::ResourceExt;
use tokio::time::Instant;

use crate::judge::failure::{Exits, Grace, Scene};
use crate::judge::rollout::{self, Rollout, addresses, has_ended};
use crate::judge::{self, Judged, MembersSeen, View, Workload};
use crate::observe::list;
use crate::observe::probe::Report;
use crate::observe::snapshot::{News, Snapshot, Update};

/// A member without a pod is believed to be dead after so long: the list and the pods are watched apart, and one that
/// leaves in good order strikes itself off the list before its pod goes.
const CERTAIN: Duration = Duration::from_secs(3);

/// A component that is scaled.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) entry: &'static Entry,
    pub(super) release: Release,
    pub(super) workloads: Vec<Workload>,
    pub(super) service: Option<String>,
    /// How many members each workload is to have.
    pub(super) to: u32,
    pub(super) reach: Reach,
    pub(super) autoscaler: Option<Autoscaler>,
}

impl Subject {
    pub(super) fn component(&self) -> Component {
        self.entry.component
    }

    pub(super) fn name(&self) -> &'static str {
        self.entry.component.name()
    }

    /// How many pods that makes.
    pub(super) fn pods(&self) -> usize {
        self.to as usize * self.workloads.len()
    }
}

/// What is known of a store's list of members.
#[derive(Debug, Default)]
pub(super) struct List {
    read: Option<Result<Members, MembersError>>,
    /// Why it cannot be read now.
    trouble: Option<String>,
    /// Members that no pod stands behind, with since when.
    orphans: BTreeMap<IpAddr, Instant>,
}

/// Everything that is seen.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) snapshot: Snapshot,
    pub(super) reports: BTreeMap<String, Report>,
    pub(super) exits: Exits,
    /// Connections into pods that were opened to ask something.
    pub(super) connections: u32,
    lists: BTreeMap<Component, List>,
    skew: SignedDuration,
    since: Timestamp,
}

impl World {
    pub(super) fn new(skew: SignedDuration) -> Self {
        let mut world = Self { skew, ..Self::default() };
        world.since = world.now();
        world
    }

    /// A world of which only the watches' part is looked at.
    pub(super) fn of(snapshot: Snapshot) -> Self {
        Self { snapshot, ..Self::default() }
    }

    /// Takes news of a watch in.
    pub(super) fn absorb(&mut self, news: News) {
        match &news {
            News::Pod(Update::Set(pod)) => self.exits.observe(pod),
            News::Pod(Update::All(pods)) => pods.iter().for_each(|p| self.exits.observe(p)),
            News::Pod(Update::Gone(pod)) => self.exits.forget(&pod.uid().unwrap_or_default()),
            _ => {}
        }
        self.snapshot.absorb(news);
        self.mind_orphans();
    }

    /// The API server's time.
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.saturating_add(self.skew).unwrap_or(now)
    }

    /// Takes news of a list in. Yields the list where it changed.
    pub(super) fn take_list(&mut self, component: Component, seen: list::Seen) -> Option<Members> {
        let list = self.lists.entry(component).or_default();
        match seen {
            list::Seen::List(members) => {
                list.trouble = None;
                let changed = list.read.as_ref().is_none_or(|r| r.as_ref() != Ok(&members));
                list.read = Some(Ok(members.clone()));
                self.mind_orphans();
                changed.then_some(members)
            }
            list::Seen::Unreadable(error) => {
                list.trouble = None;
                list.read = Some(Err(error));
                None
            }
            list::Seen::Trouble(text) | list::Seen::Never(text) => {
                list.trouble = Some(text);
                None
            }
        }
    }

    /// Notes since when members have had no pod. To be called after every change of pods or lists.
    fn mind_orphans(&mut self) {
        let pods: Vec<IpAddr> = self.snapshot.pods.values().filter(|p| !has_ended(p)).flat_map(addresses).collect();
        let now = Instant::now();
        for list in self.lists.values_mut() {
            let Some(Ok(members)) = &list.read else { continue };
            let stale: Vec<IpAddr> = members.stale(&pods).into_iter().map(|(a, _)| a).collect();
            list.orphans.retain(|a, _| stale.contains(a));
            for address in stale {
                list.orphans.entry(address).or_insert(now);
            }
        }
    }

    /// Members of a list that no pod stands behind, however briefly.
    pub(super) fn orphans(&self, component: Component) -> Vec<IpAddr> {
        self.lists.get(&component).map(|l| l.orphans.keys().copied().collect()).unwrap_or_default()
    }

    /// Whether there is a list or a reason for there being none.
    pub(super) fn has_list(&self, component: Component) -> bool {
        self.lists.get(&component).is_some_and(|l| l.read.is_some() || l.trouble.is_some())
    }

    /// Why a list cannot be read.
    pub(super) fn list_trouble(&self, component: Component) -> Option<&str> {
        self.lists.get(&component)?.trouble.as_deref()
    }

    /// The count that a workload is set to.
    pub(super) fn replicas(&self, workload: &Workload) -> Option<u32> {
        let replicas = match workload.kind {
            WorkloadKind::Deployment => self.snapshot.deployments.get(&workload.name)?.spec.as_ref()?.replicas,
            WorkloadKind::StatefulSet => self.snapshot.stateful_sets.get(&workload.name)?.spec.as_ref()?.replicas,
        };
        Some(replicas.map_or(1, |n| u32::try_from(n).unwrap_or(0)))
    }

    /// The template of a workload's pods.
    pub(super) fn template(&self, workload: &Workload) -> Option<&PodTemplateSpec> {
        match workload.kind {
            WorkloadKind::Deployment => {
                self.snapshot.deployments.get(&workload.name)?.spec.as_ref().map(|s| &s.template)
            }
            WorkloadKind::StatefulSet => {
                self.snapshot.stateful_sets.get(&workload.name)?.spec.as_ref().map(|s| &s.template)
            }
        }
    }

    /// How many members there are: what the workloads are set to, of several the first that is not as wanted.
    pub(super) fn from(&self, subject: &Subject) -> u32 {
        let counts: Vec<u32> = subject.workloads.iter().filter_map(|w| self.replicas(w)).collect();
        counts.iter().copied().find(|n| *n != subject.to).or(counts.first().copied()).unwrap_or(0)
    }

    /// The virtual addresses of the components' Services.
    pub(super) fn cluster_ips(&self) -> BTreeMap<Component, Vec<IpAddr>> {
        let services = self.snapshot.services.iter().filter_map(|(name, service)| {
            let ips = service.spec.as_ref()?.cluster_ips.as_ref()?;
            let ips: Vec<IpAddr> = ips.iter().filter_map(|ip| ip.parse().ok()).collect();
            let component = if name == SPROUT_ADDRESS { Component::Sprout } else { name.parse().ok()? };
            Some((component, ips))
        });
        services.filter(|(_, ips)| !ips.is_empty()).collect()
    }

    /// Whether the component's Service is headless: DNS then answers with its pods.
    pub(super) fn is_headless(&self, subject: &Subject) -> bool {
        let service = subject.service.as_ref().and_then(|s| self.snapshot.services.get(s));
        service.and_then(|s| s.spec.as_ref()?.cluster_ip.as_deref()) == Some("None")
    }

    /// The address that a load balancer gave to the Service of one pod.
    pub(super) fn balancer_address(&self, pod: &str) -> Option<IpAddr> {
        let named = |name: &str| name == pod || name.strip_prefix(pod).is_some_and(|rest| rest.starts_with('-'));
        let services = self.snapshot.services.iter().filter(|(name, _)| named(name));
        let status = services.filter_map(|(_, s)| s.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref());
        status.flatten().find_map(|i| i.ip.as_deref()?.parse().ok())
    }

    /// The situation of a component as the planner takes it.
    pub(super) fn situation(&self, subject: &Subject) -> Situation {
        let now = self.now();
        let members = match subject.entry.clustering.and(self.lists.get(&subject.component())) {
            Some(List { trouble: None, read: Some(Ok(members)), .. }) => MemberList::Read(members.clone()),
            Some(List { trouble: None, read: Some(Err(error)), .. }) => MemberList::Unreadable(error.clone()),
            _ => MemberList::None,
        };
        Situation {
            pods: self.pods(subject).into_iter().map(|p| seen(p, now)).collect(),
            members,
            reach: subject.reach,
            autoscaler: subject.autoscaler.clone(),
            workloads: u32::try_from(subject.workloads.len()).unwrap_or(1),
            ..Situation::new(subject.release, subject.component(), self.from(subject), subject.to)
        }
    }

    /// The component's pods that have not ended, those on their way out included, by name.
    pub(super) fn pods(&self, subject: &Subject) -> Vec<&Pod> {
        let mut pods = self.snapshot.pods_of(subject.component());
        pods.extend(self.snapshot.leaving_of(subject.component()));
        pods.retain(|p| !has_ended(p));
        pods.sort_by_key(|p| p.metadata.name.as_deref());
        pods
    }

    /// Whether what is seen can be planned with; otherwise what is unclear. `expected` are the counts that this run has
    /// set: before the watch tells of them, a plan would be made for what was.
    pub(super) fn clear(&self, subject: &Subject, expected: &BTreeMap<String, u32>) -> Result<(), String> {
        for workload in &subject.workloads {
            self.settled(workload, expected.get(&workload.name).copied())?;
        }
        if subject.entry.clustering.is_none() {
            return Ok(());
        }
        let Some(list) = self.lists.get(&subject.component()) else {
            return Err("its list of members has not been read yet".to_owned());
        };
        if let Some(trouble) = &list.trouble {
            return Err(format!("its list of members cannot be read: {trouble}"));
        }
        if list.read.is_none() {
            return Err("its list of members has not been read yet".to_owned());
        }
        match list.orphans.iter().find(|(_, since)| since.elapsed() < CERTAIN) {
            Some((address, _)) => Err(format!("member {address} has no pod: is it dead?")),
            None => Ok(()),
        }
    }

    /// Whether a workload's controller has seen the count that it is set to and has begun what follows from it.
    fn settled(&self, workload: &Workload, expected: Option<u32>) -> Result<(), String> {
        let name = &workload.name;
        let (generation, observed) = match workload.kind {
            WorkloadKind::Deployment => {
                let object = self.snapshot.deployments.get(name);
                let status = object.and_then(|o| o.status.as_ref());
                (object.and_then(|o| o.metadata.generation), status.and_then(|s| s.observed_generation))
            }
            WorkloadKind::StatefulSet => {
                let object = self.snapshot.stateful_sets.get(name);
                let status = object.and_then(|o| o.status.as_ref());
                (object.and_then(|o| o.metadata.generation), status.and_then(|s| s.observed_generation))
            }
        };
        let Some(replicas) = self.replicas(workload) else {
            return Err(format!("there is no {}/{name} any more", workload.kind.name().to_lowercase()));
        };
        if let Some(expected) = expected.filter(|e| *e != replicas) {
            return Err(format!("{name} is set to {replicas}, and was just set to {expected}"));
        }
        if observed < generation {
            return Err(format!("the controller of {name} has not seen the last change yet"));
        }
        if workload.kind == WorkloadKind::StatefulSet {
            let prefix = format!("{name}-");
            let staying = self
                .snapshot
                .pods
                .values()
                .filter(|p| p.metadata.deletion_timestamp.is_none())
                .filter(|p| p.name_any().strip_prefix(&prefix).is_some_and(|n| n.parse::<u32>().is_ok()));
            if staying.count() > replicas as usize {
                return Err(format!("the controller of {name} has not told its last pod to stop yet"));
            }
        }
        Ok(())
    }

    /// Judges the component in depth.
    pub(super) fn judged(&self, subject: &Subject) -> Judged {
        let seen = subject.entry.clustering.map(|clustering| match self.situation(subject).members {
            MemberList::Read(members) => MembersSeen::Read(members),
            MemberList::Unreadable(error) => MembersSeen::Wrong { key: clustering.etcd_key.to_owned(), error },
            MemberList::None => {
                MembersSeen::Failed(self.list_trouble(subject.component()).unwrap_or("not read yet").to_owned())
            }
        });
        judge::component(&View {
            entry: subject.entry,
            workloads: &subject.workloads,
            service: subject.service.as_deref(),
            snapshot: &self.snapshot,
            reports: &self.reports,
            members: seen.as_ref(),
            generations: &BTreeMap::new(),
        })
    }

    /// Whether every workload has as many ready pods as it is set to.
    pub(super) fn rolled_out(&self, subject: &Subject) -> bool {
        subject.workloads.iter().all(|w| {
            let rollout = match w.kind {
                WorkloadKind::Deployment => rollout::deployment(self.snapshot.deployments.get(&w.name)),
                WorkloadKind::StatefulSet => rollout::stateful_set(self.snapshot.stateful_sets.get(&w.name)),
            };
            matches!(rollout, Rollout::Complete { .. }) && self.replicas(w) == Some(subject.to)
        })
    }

    /// Looks with `look` at what Kubernetes says of the component's pods.
    pub(super) fn scene<T>(&self, subject: &Subject, look: impl FnOnce(&Scene<'_>) -> T) -> T {
        let pods = self.snapshot.pods_of(subject.component());
        let names: Vec<String> = subject.workloads.iter().map(|w| w.name.clone()).collect();
        let events = self.snapshot.events_of(&pods, &names);
        look(&Scene {
            component: subject.component(),
            pods: &pods,
            events: &events,
            exits: &self.exits,
            needs_served_since: None,
            since: self.since,
            now: self.now(),
            grace: Grace::default(),
        })
    }
}

fn seen(pod: &Pod, now: Timestamp) -> Seen {
    let ready = rollout::pod_is_ready(pod).then(|| {
        let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let since = conditions.into_iter().find(|c| c.type_ == "Ready").and_then(|c| c.last_transition_time.as_ref());
        since.and_then(|t| Duration::try_from(now.duration_since(t.0)).ok()).unwrap_or_default()
    });
    Seen {
        name: pod.name_any(),
        addresses: addresses(pod),
        ready_for: ready,
        terminating: pod.metadata.deletion_timestamp.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearwater::component::entry;
    use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
    use serde_json::{Value, json};

    fn subject(component: Component, workloads: &[(WorkloadKind, &str)], to: u32) -> Subject {
        Subject {
            entry: entry(Release::Hunter, component).unwrap(),
            release: Release::Hunter,
            workloads: workloads.iter().map(|&(kind, name)| Workload { kind, name: name.to_owned() }).collect(),
            service: None,
            to,
            reach: Reach::default(),
            autoscaler: None,
        }
    }

    fn set(name: &str, replicas: u32, observed: i64) -> StatefulSet {
        serde_json::from_value(json!({"metadata": {"name": name, "generation": 2},
            "spec": {"replicas": replicas, "selector": {}, "serviceName": name, "template": {}},
            "status": {"observedGeneration": observed, "replicas": replicas}}))
        .unwrap()
    }

    fn pod(name: &str, address: &str, more: &Value) -> Pod {
        let mut pod = json!({"metadata": {"name": name, "uid": name, "labels": {"service": "chronos"}},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        if !more.is_null() {
            pod["metadata"]["deletionTimestamp"] = more.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    fn chronos(replicas: u32, observed: i64, pods: Vec<Pod>, list: &str) -> World {
        let mut world = World::default();
        world.absorb(News::StatefulSet(Update::All(vec![set("chronos", replicas, observed)])));
        world.absorb(News::Pod(Update::All(pods)));
        world.take_list(Component::Chronos, list::Seen::List(Members::parse(list).unwrap()));
        world
    }

    #[test]
    fn of_two_workloads_the_one_that_is_not_as_wanted_counts() {
        let deployment = |name: &str, replicas: i32| -> Deployment {
            serde_json::from_value(json!({"metadata": {"name": name},
                "spec": {"replicas": replicas, "selector": {}, "template": {}}}))
            .unwrap()
        };
        let mut world = World::default();
        let both = vec![deployment("sprout-icscf", 3), deployment("sprout-scscf", 1)];
        world.absorb(News::Deployment(Update::All(both)));
        let both = [(WorkloadKind::Deployment, "sprout-icscf"), (WorkloadKind::Deployment, "sprout-scscf")];
        assert_eq!(world.from(&subject(Component::Sprout, &both, 3)), 1);
        assert_eq!(world.from(&subject(Component::Sprout, &both, 1)), 3);
        assert_eq!(world.from(&subject(Component::Sprout, &both, 2)), 3);
        assert_eq!(subject(Component::Sprout, &both, 2).pods(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_clear_is_not_planned_with() {
        let of = |to| subject(Component::Chronos, &[(WorkloadKind::StatefulSet, "chronos")], to);
        let none = BTreeMap::new();
        let two = || vec![pod("chronos-0", "10.0.0.1", &Value::Null), pod("chronos-1", "10.0.0.2", &Value::Null)];
        let normal = r#"{"10.0.0.1": "normal", "10.0.0.2": "normal"}"#;
        assert_eq!(chronos(2, 2, two(), normal).clear(&of(2), &none), Ok(()));
        let why = |world: &World, expected: &BTreeMap<String, u32>| world.clear(&of(2), expected).unwrap_err();
        assert!(why(&chronos(2, 1, two(), normal), &none).contains("has not seen the last change"));
        assert!(why(&chronos(1, 2, two(), normal), &none).contains("has not told its last pod to stop"));
        let expected = BTreeMap::from([("chronos".to_owned(), 3)]);
        assert!(why(&chronos(2, 2, two(), normal), &expected).contains("was just set to 3"));

        // A member without a pod may only be leaving; after a while it is dead.
        let orphan = r#"{"10.0.0.1": "normal", "10.0.0.2": "normal", "10.0.0.9": "normal"}"#;
        let world = chronos(2, 2, two(), orphan);
        assert!(why(&world, &none).contains("10.0.0.9"));
        assert_eq!(world.orphans(Component::Chronos), ["10.0.0.9".parse::<IpAddr>().unwrap()]);
        tokio::time::advance(CERTAIN).await;
        assert_eq!(world.clear(&of(2), &none), Ok(()));
        let plan = world.situation(&of(2)).plan().unwrap();
        assert_eq!(plan.marks_failed(), ["10.0.0.9".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_pod_on_its_way_out_is_still_seen() {
        let pods = vec![
            pod("chronos-0", "10.0.0.1", &Value::Null),
            pod("chronos-1", "10.0.0.2", &json!("2026-01-01T00:00:00Z")),
        ];
        let leaving = r#"{"10.0.0.1": "normal", "10.0.0.2": "leaving"}"#;
        let world = chronos(1, 2, pods, leaving);
        let situation = world.situation(&subject(Component::Chronos, &[(WorkloadKind::StatefulSet, "chronos")], 1));
        assert_eq!(situation.pods.len(), 2);
        assert!(situation.pods[1].terminating && situation.pods[1].ready_for.is_none());
        assert!(situation.pods[0].ready_for.is_some());
        assert_eq!(
            situation.plan().unwrap().to_string().lines().nth(1),
            Some("  1. wait until chronos-1 (10.0.0.2) is off the list of members (about 50 s)")
        );
    }
}
