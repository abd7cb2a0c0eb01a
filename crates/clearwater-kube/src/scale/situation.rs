//! What is observed of the components that are scaled, as the planner takes it. Pure but for the clock.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::SPROUT_ADDRESS;
use clearwater::manifest::WorkloadKind;
use clearwater::scale::{MemberList, PodState, Situation};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::ResourceExt;

use super::target::ScaleTarget;
use crate::judge::failure::RolloutContext;
use crate::judge::rollout;
use crate::observe::snapshot::Snapshot;
use crate::observe::{MembersSeen, Observation, Workload};
use crate::pod::object::{addresses, has_ended, own_container, pod_is_ready, ready_since};

/// The count that a workload is set to.
pub(super) fn replicas(snapshot: &Snapshot, workload: &Workload) -> Option<u32> {
    snapshot.workload(workload).map(|w| w.replicas)
}

/// The virtual addresses of the components' Services.
pub(super) fn cluster_ips(snapshot: &Snapshot) -> BTreeMap<Component, Vec<IpAddr>> {
    let services = snapshot.services.iter().filter_map(|(name, service)| {
        let ips = service.spec.as_ref()?.cluster_ips.as_ref()?;
        let ips: Vec<IpAddr> = ips.iter().filter_map(|ip| ip.parse().ok()).collect();
        let component = if name == SPROUT_ADDRESS { Component::Sprout } else { name.parse().ok()? };
        Some((component, ips))
    });
    services.filter(|(_, ips)| !ips.is_empty()).collect()
}

/// The address that a load balancer gave to the Service of one pod.
pub(super) fn balancer_address(snapshot: &Snapshot, pod: &str) -> Option<IpAddr> {
    let named = |name: &str| name == pod || name.strip_prefix(pod).is_some_and(|rest| rest.starts_with('-'));
    let services = snapshot.services.iter().filter(|(name, _)| named(name));
    let status = services.filter_map(|(_, s)| s.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref());
    status.flatten().find_map(|i| i.ip.as_deref()?.parse().ok())
}

impl ScaleTarget {
    /// How many members there are: what the workloads are set to, of several the first that is not as wanted.
    pub(super) fn from(&self, seen: &Observation) -> u32 {
        let counts: Vec<u32> = self.subject.workloads.iter().filter_map(|w| replicas(&seen.snapshot, w)).collect();
        counts.iter().copied().find(|n| *n != self.to).or(counts.first().copied()).unwrap_or(0)
    }

    /// Whether the component's Service is headless: DNS then answers with its pods.
    pub(super) fn is_headless(&self, seen: &Observation) -> bool {
        let service = self.subject.service.as_ref().and_then(|s| seen.snapshot.services.get(s));
        service.and_then(|s| s.spec.as_ref()?.cluster_ip.as_deref()) == Some("None")
    }

    /// The situation of a component as the planner takes it.
    pub(super) fn situation(&self, seen: &Observation) -> Situation {
        let now = seen.now();
        let clustered = self.subject.entry.clustering.as_ref();
        let members = match clustered.and_then(|_| seen.members(self.component())) {
            Some(MembersSeen::Read(members)) => MemberList::Read(members.clone()),
            Some(MembersSeen::Wrong { error, .. }) => MemberList::Unreadable(error.clone()),
            _ => MemberList::None,
        };
        Situation {
            pods: self.pods(seen).into_iter().map(|p| member(p, now)).collect(),
            members,
            reach: self.reach,
            autoscaler: self.autoscaler.clone(),
            workloads: u32::try_from(self.subject.workloads.len()).unwrap_or(1),
            numbered: self.subject.workloads.iter().all(|w| w.kind == WorkloadKind::StatefulSet),
            grace_seconds: self.template(seen).and_then(|s| u32::try_from(s.termination_grace_period_seconds?).ok()),
            lingering: self.template(seen).map(|s| lingering(s, self.component())).unwrap_or_default(),
            ..Situation::new(self.release, self.component(), self.from(seen), self.to)
        }
    }

    /// What its pods are made from.
    fn template<'a>(&self, seen: &'a Observation) -> Option<&'a PodSpec> {
        self.subject.workloads.iter().find_map(|w| seen.snapshot.workload(w)?.template?.spec.as_ref())
    }

    /// Why it takes as long as it does where all is well but that pods stop; empty where none does.
    pub(super) fn stopping(&self, seen: &Observation) -> String {
        let leaving = self.pods(seen).into_iter().filter(|p| p.metadata.deletion_timestamp.is_some());
        let said = leaving.map(|pod| {
            let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
            let statuses = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
            let running = statuses.filter(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()));
            let running: Vec<&str> = running.map(|c| c.name.as_str()).collect();
            let still = if running.is_empty() {
                String::new()
            } else {
                format!(", with {} in it still running", running.join(", "))
            };
            format!("{} stops{still}: {grace} s in all are given to it", pod.name_any())
        });
        said.collect::<Vec<_>>().join("; ")
    }

    /// The component's pods that have not ended, those on their way out included, by name.
    pub(super) fn pods<'a>(&self, seen: &'a Observation) -> Vec<&'a Pod> {
        let mut pods = seen.snapshot.pods_of(self.component());
        pods.extend(seen.snapshot.leaving_of(self.component()));
        pods.retain(|p| !has_ended(p));
        pods.sort_by_key(|p| p.metadata.name.as_deref());
        pods
    }

    /// How many pods `kubectl get pods` shows that run or are on their way out. One of the latter may have ended a moment
    /// before its object goes.
    pub(super) fn shown(&self, seen: &Observation) -> usize {
        let ended = seen.snapshot.leaving_of(self.component()).into_iter().filter(|p| has_ended(p));
        self.pods(seen).len() + ended.count()
    }

    /// Why its store's list of members cannot be read.
    pub(super) fn list_trouble<'a>(&self, seen: &'a Observation) -> Option<&'a str> {
        match seen.members(self.component())? {
            MembersSeen::Failed(text) | MembersSeen::Unreached(text) | MembersSeen::Unchecked(text) => Some(text),
            MembersSeen::Read(_) | MembersSeen::Wrong { .. } => None,
        }
    }

    /// Whether what is seen can be planned with; otherwise what is unclear. `expected` are the counts that this run has
    /// set: before the watch tells of them, a plan would be made for what was.
    pub(super) fn clear(&self, seen: &Observation, expected: &BTreeMap<String, u32>) -> Result<(), String> {
        let is_store = self.subject.entry.clustering.is_some();
        for workload in &self.subject.workloads {
            settled(&seen.snapshot, workload, expected.get(&workload.name).copied(), is_store)?;
        }
        if !is_store {
            return Ok(());
        }
        if seen.members(self.component()).is_none() {
            return Err("its list of members has not been read yet".to_owned());
        }
        if let Some(trouble) = self.list_trouble(seen) {
            return Err(format!("its list of members cannot be read: {trouble}"));
        }
        let dead = seen.dead(self.component());
        match seen.orphans(self.component()).into_iter().find(|address| !dead.contains(address)) {
            Some(address) => Err(format!("member {address} has no pod: is it dead?")),
            None => Ok(()),
        }
    }

    /// Whether every workload has as many ready pods as it is set to.
    pub(super) fn is_rolled_out(&self, seen: &Observation) -> bool {
        self.subject
            .workloads
            .iter()
            .all(|w| rollout::of(&seen.snapshot, w).is_complete() && replicas(&seen.snapshot, w) == Some(self.to))
    }

    /// What Kubernetes says of the component's pods.
    pub(super) fn rollout<'a>(&self, seen: &'a Observation) -> RolloutContext<'a> {
        RolloutContext::of(seen, &self.subject, seen.snapshot.pods_of(self.component()))
    }
}

/// The containers beside the component's own that run a shell or a `tail` and neither trap the signal to end nor have a hook: as
/// a container's first process these do not heed it.
fn lingering(spec: &PodSpec, component: Component) -> Vec<String> {
    let own = own_container(spec, component).map(|c| c.name.as_str());
    let is_deaf = |c: &&Container| {
        let words = || c.command.iter().chain(&c.args).flatten();
        let program = words().next().map_or("", |first| first.rsplit('/').next().unwrap_or(first));
        let hooked = c.lifecycle.as_ref().is_some_and(|l| l.pre_stop.is_some());
        let traps = words().any(|word| word.contains("trap "));
        matches!(program, "sh" | "bash" | "ash" | "dash" | "tail" | "sleep") && !hooked && !traps
    };
    let beside = spec.containers.iter().filter(|c| Some(c.name.as_str()) != own).filter(is_deaf);
    beside.map(|c| c.name.clone()).collect()
}

/// Whether a workload's controller has seen the count that it is set to and has begun what follows from it.
fn settled(snapshot: &Snapshot, workload: &Workload, expected: Option<u32>, is_store: bool) -> Result<(), String> {
    let name = &workload.name;
    let Some(live) = snapshot.workload(workload) else {
        return Err(format!("there is no {workload} any more"));
    };
    let replicas = live.replicas;
    if let Some(expected) = expected.filter(|e| *e != replicas) {
        return Err(format!("{name} is set to {replicas}, and was just set to {expected}"));
    }
    if live.observed_generation < live.metadata.generation {
        return Err(format!("the controller of {name} has not seen the last change yet"));
    }
    let prefix = format!("{name}-");
    let staying =
        snapshot.pods.values().filter(|p| p.metadata.deletion_timestamp.is_none() && !has_ended(p)).filter(|p| {
            match workload.kind {
                WorkloadKind::StatefulSet => {
                    p.name_any().strip_prefix(&prefix).is_some_and(|n| n.parse::<u32>().is_ok())
                }
                // One that is rolled out has more than it is set to for a while, which matters to no list of members.
                WorkloadKind::Deployment => is_store && Workload::of(*p).as_ref() == Some(workload),
            }
        });
    if staying.count() > replicas as usize {
        let which = if workload.kind == WorkloadKind::StatefulSet { "its last" } else { "a" };
        return Err(format!("the controller of {name} has not told {which} pod to stop yet"));
    }
    Ok(())
}

fn member(pod: &Pod, now: Timestamp) -> PodState {
    let since = ready_since(pod).and_then(|t| Duration::try_from(now.duration_since(t)).ok());
    PodState {
        name: pod.name_any(),
        addresses: addresses(pod),
        ready_for: pod_is_ready(pod).then(|| since.unwrap_or_default()),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        // It is the moment by which it is to be gone.
        ends_within: pod
            .metadata
            .deletion_timestamp
            .as_ref()
            .map(|t| Duration::try_from(t.0.duration_since(now)).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearwater::component::{Release, entry};
    use clearwater::scale::{Members, Reach};
    use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
    use serde_json::{Value, json};

    use crate::observe::Subject;
    use crate::observe::observation::{CERTAIN, Observed};
    use crate::observe::snapshot::{Update, WatchEvent};

    fn target(component: Component, workloads: &[(WorkloadKind, &str)], to: u32) -> ScaleTarget {
        ScaleTarget {
            subject: Subject {
                entry: entry(Release::Hunter, component).unwrap(),
                workloads: workloads.iter().map(|&(kind, name)| Workload { kind, name: name.to_owned() }).collect(),
                service: None,
                names: Vec::new(),
                settings: std::collections::BTreeMap::new(),
                secrets: crate::observe::Secrets::default(),
            },
            release: Release::Hunter,
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

    fn chronos(replicas: u32, observed: i64, pods: Vec<Pod>, list: &str) -> Observation {
        let mut seen = Observation::default();
        let set = set("chronos", replicas, observed);
        seen.take(Observed::Watch(WatchEvent::StatefulSet(Update::All(vec![set]))));
        seen.take(Observed::Watch(WatchEvent::Pod(Update::All(pods))));
        seen.take_members(Component::Chronos, MembersSeen::Read(Members::parse(list).unwrap()));
        seen
    }

    #[test]
    fn of_two_workloads_the_one_that_is_not_as_wanted_counts() {
        let deployment = |name: &str, replicas: i32| -> Deployment {
            serde_json::from_value(json!({"metadata": {"name": name},
                "spec": {"replicas": replicas, "selector": {}, "template": {}}}))
            .unwrap()
        };
        let mut seen = Observation::default();
        let both = vec![deployment("sprout-icscf", 3), deployment("sprout-scscf", 1)];
        seen.take(Observed::Watch(WatchEvent::Deployment(Update::All(both))));
        let both = [(WorkloadKind::Deployment, "sprout-icscf"), (WorkloadKind::Deployment, "sprout-scscf")];
        assert_eq!(target(Component::Sprout, &both, 3).from(&seen), 1);
        assert_eq!(target(Component::Sprout, &both, 1).from(&seen), 3);
        assert_eq!(target(Component::Sprout, &both, 2).from(&seen), 3);
        assert_eq!(target(Component::Sprout, &both, 2).wanted_pods(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_clear_is_not_planned_with() {
        let of = |to| target(Component::Chronos, &[(WorkloadKind::StatefulSet, "chronos")], to);
        let none = BTreeMap::new();
        let two = || vec![pod("chronos-0", "10.0.0.1", &Value::Null), pod("chronos-1", "10.0.0.2", &Value::Null)];
        let normal = r#"{"10.0.0.1": "normal", "10.0.0.2": "normal"}"#;
        assert_eq!(of(2).clear(&chronos(2, 2, two(), normal), &none), Ok(()));
        let why = |seen: &Observation, expected: &BTreeMap<String, u32>| of(2).clear(seen, expected).unwrap_err();
        assert!(why(&chronos(2, 1, two(), normal), &none).contains("has not seen the last change"));
        assert!(why(&chronos(1, 2, two(), normal), &none).contains("has not told its last pod to stop"));
        let expected = BTreeMap::from([("chronos".to_owned(), 3)]);
        assert!(why(&chronos(2, 2, two(), normal), &expected).contains("was just set to 3"));

        // A member without a pod may only be leaving; after a while it is dead.
        let orphan = r#"{"10.0.0.1": "normal", "10.0.0.2": "normal", "10.0.0.9": "normal"}"#;
        let seen = chronos(2, 2, two(), orphan);
        assert!(why(&seen, &none).contains("10.0.0.9"));
        assert_eq!(seen.orphans(Component::Chronos), ["10.0.0.9".parse::<IpAddr>().unwrap()]);
        tokio::time::advance(CERTAIN).await;
        assert_eq!(of(2).clear(&seen, &none), Ok(()));
        let plan = of(2).situation(&seen).plan().unwrap();
        assert_eq!(plan.marks_failed(), ["10.0.0.9".parse::<IpAddr>().unwrap()]);
    }

    /// functest's chart: a Deployment whose pods have a container that prints the log.
    #[test]
    fn pods_of_a_deployment_are_seen_as_they_are() {
        let mut seen = Observation::default();
        let template = json!({"metadata": {"labels": {"service": "chronos"}}, "spec": {"terminationGracePeriodSeconds": 120,
            "containers": [{"name": "chronos", "lifecycle": {"preStop": {}}}, {"name": "tailer", "command": ["tail", "-F", "x"]},
            {"name": "ours", "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; tail -F x & wait"]}, {"name": "istio-proxy"}]}});
        let deployment: Deployment = serde_json::from_value(json!({"metadata": {"name": "chronos", "generation": 2},
            "spec": {"replicas": 1, "selector": {}, "template": template}, "status": {"observedGeneration": 2}}))
        .unwrap();
        seen.take(Observed::Watch(WatchEvent::Deployment(Update::All(vec![deployment]))));
        let owned = |name: &str, address: &str, gone: Value| {
            let mut pod = serde_json::to_value(pod(name, address, &gone)).unwrap();
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chronos-7d9", "uid": "r",
                    "controller": true}]);
            pod["metadata"]["deletionGracePeriodSeconds"] = if gone.is_null() { Value::Null } else { json!(120) };
            pod["status"]["containerStatuses"] = json!([{"name": "tailer", "image": "", "imageID": "", "ready": true,
                "restartCount": 0, "state": {"running": {}}}]);
            serde_json::from_value::<Pod>(pod).unwrap()
        };
        let two = |gone: Value| {
            vec![owned("chronos-7d9-x", "10.0.0.1", Value::Null), owned("chronos-7d9-y", "10.0.0.2", gone)]
        };
        let normal = |list: &str| MembersSeen::Read(Members::parse(list).unwrap());
        seen.take(Observed::Watch(WatchEvent::Pod(Update::All(two(Value::Null)))));
        seen.take_members(Component::Chronos, normal(r#"{"10.0.0.1": "normal", "10.0.0.2": "normal"}"#));
        let one = target(Component::Chronos, &[(WorkloadKind::Deployment, "chronos")], 1);
        let why = one.clear(&seen, &BTreeMap::new()).unwrap_err();
        assert!(why.contains("has not told a pod to stop yet"), "{why}");
        seen.take(Observed::Watch(WatchEvent::Pod(Update::All(two(json!("2026-01-01T00:00:00Z"))))));
        assert_eq!(one.clear(&seen, &BTreeMap::new()), Ok(()));
        let situation = one.situation(&seen);
        assert_eq!((situation.numbered, situation.grace_seconds), (false, Some(120)));
        assert_eq!(situation.lingering, ["tailer"]);
        assert_eq!(
            one.stopping(&seen),
            "chronos-7d9-y stops, with tailer in it still running: 120 s in all are given to it"
        );
        let mut ended = two(json!("2026-01-01T00:00:00Z"));
        ended[1].status.get_or_insert_default().phase = Some("Failed".to_owned());
        let mut later = seen.clone();
        later.take(Observed::Watch(WatchEvent::Pod(Update::All(ended))));
        assert_eq!((one.pods(&later).len(), one.shown(&later)), (1, 2));
        // It is off the list: not done before it is gone.
        seen.take_members(Component::Chronos, normal(r#"{"10.0.0.1": "normal"}"#));
        let plan = one.situation(&seen).plan().unwrap();
        assert_eq!(plan.describe(&plan.steps[0].action), "wait until chronos-7d9-y has ended");
    }

    #[test]
    fn a_pod_on_its_way_out_is_still_seen() {
        let pods = vec![
            pod("chronos-0", "10.0.0.1", &Value::Null),
            pod("chronos-1", "10.0.0.2", &json!("2026-01-01T00:00:00Z")),
        ];
        let leaving = r#"{"10.0.0.1": "normal", "10.0.0.2": "leaving"}"#;
        let seen = chronos(1, 2, pods, leaving);
        let one = target(Component::Chronos, &[(WorkloadKind::StatefulSet, "chronos")], 1);
        let situation = one.situation(&seen);
        assert_eq!(situation.pods.len(), 2);
        assert!(situation.pods[1].terminating && situation.pods[1].ready_for.is_none());
        assert!(situation.pods[0].ready_for.is_some());
        assert_eq!(
            situation.plan().unwrap().to_string().lines().nth(1),
            Some("  1. wait until chronos-1 (10.0.0.2) is off the list of members (about 50 s)")
        );
    }
}
