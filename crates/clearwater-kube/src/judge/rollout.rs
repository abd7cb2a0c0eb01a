//! Whether a workload has reached what its specification asks for, as pure predicates over what the API server says.
//!
//! The rules are kstatus' (`sigs.k8s.io/cli-utils`, `pkg/kstatus/status/core.go`), with two differences. kstatus calls
//! a StatefulSet with `updateStrategy: OnDelete` always current; here its counts are checked, and a pod on an older
//! revision is *pending*, not unready. And a status written for an older generation is never believed.

use clearwater::manifest::{WorkloadKind, held};
use clearwater::text::counted;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::observe::Workload;
use crate::observe::snapshot::Snapshot;
use crate::pod::object::controller_of;

/// How far a workload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// There is no such object.
    Absent,
    /// It is on its way.
    Progressing {
        /// Pods that are ready.
        ready: u32,
        /// Pods that are wanted.
        wanted: u32,
        /// What is missing, in one line.
        cause: String,
    },
    /// It has what it asks for.
    Complete {
        /// Pods that are ready, which is as many as are wanted.
        ready: u32,
        /// Pods of an older revision that only their replacement will renew.
        pending: u32,
    },
    /// The controller has given up.
    Stalled {
        /// Its own words.
        cause: String,
    },
}

impl Rollout {
    /// Whether it has what it asks for.
    pub const fn is_complete(&self) -> bool {
        matches!(self, Self::Complete { .. })
    }
}

fn count(n: Option<i32>) -> u32 {
    n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

fn pods(n: u32) -> String {
    counted(n, "pod")
}

/// What both kinds are judged by first: whether the status is about the object as it is now.
struct Begun<'a, S> {
    status: &'a S,
    ready: u32,
    wanted: u32,
}

impl<'a, S> Begun<'a, S> {
    /// `of` reads a status' count of ready pods and its observed generation.
    fn new(
        metadata: &ObjectMeta,
        replicas: Option<i32>,
        status: Option<&'a S>,
        of: impl Fn(&S) -> (Option<i32>, Option<i64>),
    ) -> Result<Self, Rollout> {
        let wanted = replicas.map_or(1, |n| count(Some(n)));
        let Some(status) = status else {
            return Err(Rollout::Progressing {
                ready: 0,
                wanted,
                cause: "its controller has not seen it yet".to_owned(),
            });
        };
        let (ready, observed) = of(status);
        let begun = Self { status, ready: count(ready), wanted };
        if metadata.deletion_timestamp.is_some() {
            return Err(begun.going("it is being deleted".to_owned()));
        }
        if observed < metadata.generation {
            return Err(begun.going("its controller has not seen the last change yet".to_owned()));
        }
        Ok(begun)
    }

    fn going(&self, cause: String) -> Rollout {
        Rollout::Progressing { ready: self.ready, wanted: self.wanted, cause }
    }
}

/// Judges a workload that was seen.
pub fn of(snapshot: &Snapshot, workload: &Workload) -> Rollout {
    match workload.kind {
        WorkloadKind::Deployment => deployment(snapshot.deployments.get(&workload.name)),
        WorkloadKind::StatefulSet => stateful_set(snapshot.stateful_sets.get(&workload.name), snapshot.pods.values()),
    }
}

/// Judges a Deployment.
pub fn deployment(object: Option<&Deployment>) -> Rollout {
    let Some(object) = object else { return Rollout::Absent };
    let replicas = held::<DeploymentSpec>(&object.spec).and_then(|s| s.replicas);
    let begun =
        Begun::new(&object.metadata, replicas, object.status.as_ref(), |s| (s.ready_replicas, s.observed_generation));
    let begun = match begun {
        Ok(begun) => begun,
        Err(rollout) => return rollout,
    };
    let going = |cause: String| begun.going(cause);
    let Begun { status, ready, wanted } = begun;
    let condition =
        |kind: &str| status.conditions.iter().flatten().find(|c| held::<String>(&c.type_).is_some_and(|t| t == kind));
    if let Some(c) = condition("Progressing").filter(|c| c.reason.as_deref() == Some("ProgressDeadlineExceeded")) {
        return Rollout::Stalled {
            cause: c.message.clone().unwrap_or_else(|| "progress deadline exceeded".to_owned()),
        };
    }
    let (total, updated, available) =
        (count(status.replicas), count(status.updated_replicas), count(status.available_replicas));
    if updated < wanted {
        return going(format!("{} of {} of the new revision", pods(updated), wanted));
    }
    if total > updated {
        return going(format!("{} of the old revision still there", pods(total - updated)));
    }
    if total > wanted {
        return going(format!("{} too many", pods(total - wanted)));
    }
    if ready < wanted {
        return going(format!("{ready} of {} ready", pods(wanted)));
    }
    if available < wanted {
        return going(format!("{available} of {} available", pods(wanted)));
    }
    if wanted > 0 && condition("Available").is_some_and(|c| held::<String>(&c.status).is_none_or(|s| s != "True")) {
        return going("not available yet".to_owned());
    }
    Rollout::Complete { ready, pending: 0 }
}

/// Judges a StatefulSet. Pods of an older revision that only `OnDelete` holds back are pending.
///
/// They are counted by their own revision: the status' `updatedReplicas` leaves out a pod that is being deleted, where
/// `replicas` and `readyReplicas` count it (`updateStatus` in Kubernetes'
/// `pkg/controller/statefulset/stateful_set_control.go`), so that their difference takes every such pod for an old one.
pub(crate) fn stateful_set<'a>(object: Option<&StatefulSet>, pods_there: impl IntoIterator<Item = &'a Pod>) -> Rollout {
    let Some(object) = object else { return Rollout::Absent };
    let spec = held::<StatefulSetSpec>(&object.spec);
    let strategy = spec.and_then(|s| s.update_strategy.as_ref());
    let on_delete = strategy.and_then(|u| u.type_.as_deref()) == Some("OnDelete");
    let partition =
        strategy.and_then(|u| u.rolling_update.as_ref()).and_then(|r| r.partition).map_or(0, |p| count(Some(p)));
    let begun = Begun::new(&object.metadata, spec.and_then(|s| s.replicas), object.status.as_ref(), |s| {
        (s.ready_replicas, s.observed_generation)
    });
    let begun = match begun {
        Ok(begun) => begun,
        Err(rollout) => return rollout,
    };
    let going = |cause: String| begun.going(cause);
    let Begun { status, ready, wanted } = begun;
    let total = count(Some(status.replicas));
    if total > wanted {
        return going(format!("{} too many", pods(total - wanted)));
    }
    if total < wanted || ready < wanted {
        return going(format!("{ready} of {} ready", pods(wanted)));
    }
    let (leaving, staying): (Vec<&Pod>, Vec<&Pod>) = pods_there
        .into_iter()
        .filter(|pod| is_of(object, pod))
        .partition(|pod| pod.metadata.deletion_timestamp.is_some());
    if !leaving.is_empty() {
        let leaving = u32::try_from(leaving.len()).unwrap_or(u32::MAX);
        return going(format!("{} being deleted", pods(leaving)));
    }
    if on_delete {
        let older = staying.iter().filter(|pod| revision(object, None, pod) == Some(Revision::Older)).count();
        return Rollout::Complete { ready, pending: u32::try_from(older).unwrap_or(u32::MAX) };
    }
    let updated = count(status.updated_replicas);
    if updated < wanted.saturating_sub(partition) {
        return going(format!("{} of {} of the new revision", pods(updated), wanted));
    }
    if partition == 0 && status.current_revision != status.update_revision {
        return going("waiting for the revision to become current".to_owned());
    }
    Rollout::Complete { ready, pending: 0 }
}

/// How many endpoints of a Service's slices are ready. One address in several slices (dual stack, several ports) counts
/// once.
pub(crate) fn ready_endpoints<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>) -> u32 {
    let mut targets: Vec<&str> = slices
        .into_iter()
        .filter_map(|s| held::<Vec<Endpoint>>(&s.endpoints))
        .flatten()
        .filter(|e| {
            // `ready` absent means "unknown", which consumers read as ready (EndpointConditions in
            // k8s.io/api/discovery/v1/types.go).
            e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
        })
        .filter_map(|e| {
            let by_target = e.target_ref.as_ref().and_then(|t| t.uid.as_deref().or(t.name.as_deref()));
            by_target.or_else(|| e.addresses.first().map(String::as_str))
        })
        .collect();
    targets.sort_unstable();
    targets.dedup();
    u32::try_from(targets.len()).unwrap_or(u32::MAX)
}

/// Whether a StatefulSet's controller made this pod.
fn is_of(set: &StatefulSet, pod: &Pod) -> bool {
    controller_of(pod).is_some_and(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())
}

/// Of which revision of its StatefulSet a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// The set's latest.
    Latest,
    /// An older one.
    Older,
    /// The set's controller has not said yet which the latest is.
    Unknown,
}

/// Of which revision a StatefulSet's pod is; `None` where it is not the set's. `least` is the generation that the set
/// must have, because somebody has just given it that.
pub fn revision(set: &StatefulSet, least: Option<i64>, pod: &Pod) -> Option<Revision> {
    if !is_of(set, pod) {
        return None;
    }
    let generation = set.metadata.generation;
    let status = set.status.as_ref().filter(|s| s.observed_generation >= generation && generation >= least);
    let latest = status.and_then(|s| s.update_revision.as_ref()).filter(|r| !r.is_empty());
    let own = pod.metadata.labels.as_ref().and_then(|l| l.get("controller-revision-hash"));
    Some(match (latest, own) {
        (Some(latest), Some(own)) if latest == own => Revision::Latest,
        (Some(_), Some(_)) => Revision::Older,
        _ => Revision::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn dep(value: Value) -> Deployment {
        serde_json::from_value(value).unwrap()
    }

    fn sts(value: Value) -> StatefulSet {
        serde_json::from_value(value).unwrap()
    }

    /// (what it shows, spec, metadata.generation, status, expected)
    #[test]
    fn deployments() {
        let available = json!([{"type": "Available", "status": "True"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
        let table = [
            (
                "stale status",
                1,
                json!({"observedGeneration": 6, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
                "availableReplicas": 1}),
                "last change",
            ),
            ("nothing yet", 1, json!({"observedGeneration": 7}), "0 pods of 1 of the new revision"),
            (
                "old pod left",
                1,
                json!({"observedGeneration": 7, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 2,
                "availableReplicas": 2}),
                "1 pod of the old revision",
            ),
            (
                "not ready",
                2,
                json!({"observedGeneration": 7, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1,
                "availableReplicas": 1}),
                "1 of 2 pods ready",
            ),
            (
                "not available",
                1,
                json!({"observedGeneration": 7, "replicas": 1, "updatedReplicas": 1,
                "readyReplicas": 1}),
                "0 of 1 pod available",
            ),
            (
                "deadline",
                1,
                json!({"observedGeneration": 7, "replicas": 1, "updatedReplicas": 1, "conditions": [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]}),
                "stalled: timed out",
            ),
            (
                "complete",
                1,
                json!({"observedGeneration": 7, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
                "availableReplicas": 1, "conditions": available}),
                "complete",
            ),
            ("none wanted", 0, json!({"observedGeneration": 7, "conditions": available}), "complete"),
        ];
        for (name, replicas, status, expected) in table {
            let seen = deployment(Some(&dep(json!({"metadata": {"generation": 7},
                "spec": {"replicas": replicas, "selector": {}, "template": {}}, "status": status}))));
            let text = match &seen {
                Rollout::Progressing { cause, .. } => cause.clone(),
                Rollout::Stalled { cause } => format!("stalled: {cause}"),
                Rollout::Complete { .. } => "complete".to_owned(),
                Rollout::Absent => "absent".to_owned(),
            };
            assert!(text.contains(expected), "{name}: {seen:?}");
        }
        assert_eq!(deployment(None), Rollout::Absent);
        assert!(
            !deployment(Some(&dep(json!({"metadata": {}, "spec": {"selector": {}, "template": {}}})))).is_complete()
        );
    }

    /// A StatefulSet with these pods: their revision, and whether they are being deleted.
    fn store_of(strategy: &str, replicas: i32, status: &Value, pods: &[(&str, bool)]) -> Rollout {
        let set = sts(json!({"metadata": {"uid": "s", "generation": 2}, "spec": {"replicas": replicas, "selector": {},
            "serviceName": "x", "template": {}, "updateStrategy": {"type": strategy}}, "status": status}));
        let pods: Vec<Pod> = pods.iter().map(|(revision, leaving)| pod("s", revision, *leaving)).collect();
        stateful_set(Some(&set), &pods)
    }

    fn store(strategy: &str, replicas: i32, status: &Value) -> Rollout {
        store_of(strategy, replicas, status, &[])
    }

    fn pod(owner: &str, hash: &str, leaving: bool) -> Pod {
        let mut pod: Pod = serde_json::from_value(json!({"metadata": {"labels": {"controller-revision-hash": hash},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "x", "uid": owner,
                "controller": true}]}}))
        .unwrap();
        if leaving {
            pod.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        }
        pod
    }

    #[test]
    fn on_delete_is_judged_by_its_counts() {
        let two_of_three = json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": 2});
        assert!(!store("OnDelete", 3, &two_of_three).is_complete());
        let stale = json!({"observedGeneration": 1, "replicas": 3, "readyReplicas": 3});
        assert!(!store("OnDelete", 3, &stale).is_complete());
        let more = json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": 3});
        assert!(!store("OnDelete", 1, &more).is_complete());
    }

    #[test]
    fn a_pod_of_an_older_revision_is_pending() {
        let status = json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 1,
            "currentRevision": "a", "updateRevision": "b"});
        let pods = [("a", false), ("a", false), ("b", false)];
        assert_eq!(store_of("OnDelete", 3, &status, &pods), Rollout::Complete { ready: 3, pending: 2 });
        assert!(!store_of("RollingUpdate", 3, &status, &pods).is_complete());
        // The template is the first one again, which currentRevision never ceased to be; the pods are of another.
        let returned = json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "currentRevision": "a",
            "updateRevision": "a"});
        let pods = [("b", false), ("b", false)];
        assert_eq!(store_of("OnDelete", 2, &returned, &pods), Rollout::Complete { ready: 2, pending: 2 });
        let new = json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 2});
        assert_eq!(store_of("OnDelete", 2, &new, &pods), Rollout::Complete { ready: 2, pending: 0 });
    }

    /// As the API server showed it for 30 s after `kubectl delete pod cassandra-1`.
    #[test]
    fn a_pod_that_is_being_deleted_is_not_of_an_older_revision() {
        let status = json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 1,
            "currentRevision": "a", "updateRevision": "a"});
        for strategy in ["OnDelete", "RollingUpdate"] {
            let Rollout::Progressing { ready: 2, wanted: 2, cause } =
                store_of(strategy, 2, &status, &[("a", false), ("a", true)])
            else {
                panic!("{strategy}");
            };
            assert_eq!(cause, "1 pod being deleted");
        }
        let whole = json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2,
            "currentRevision": "a", "updateRevision": "a"});
        let pods = [("a", false), ("a", false)];
        assert_eq!(store_of("OnDelete", 2, &whole, &pods), Rollout::Complete { ready: 2, pending: 0 });
    }

    #[test]
    fn a_rolling_set_needs_its_revision() {
        let status = json!({"observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1,
            "currentRevision": "b", "updateRevision": "b"});
        assert_eq!(store("RollingUpdate", 1, &status), Rollout::Complete { ready: 1, pending: 0 });
    }

    #[test]
    fn endpoints_are_counted_once() {
        let slice = |ready: Value| -> EndpointSlice {
            serde_json::from_value(json!({"addressType": "IPv4", "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "targetRef": {"uid": "u"}}]}))
            .unwrap()
        };
        assert_eq!(ready_endpoints([&slice(json!(true)), &slice(json!(true))]), 1);
        assert_eq!(ready_endpoints([&slice(json!(false))]), 0);
        assert_eq!(ready_endpoints([&slice(Value::Null)]), 1);
        assert_eq!(ready_endpoints([]), 0);
    }

    #[test]
    fn a_pods_revision_is_told_once_the_controller_has_seen_the_set() {
        let set = |observed: i64, update: &str| {
            sts(json!({"metadata": {"uid": "s", "generation": 3}, "spec": {"selector": {}, "serviceName": "x",
                "template": {}}, "status": {"replicas": 1, "observedGeneration": observed, "updateRevision": update}}))
        };
        let old = pod("s", "a", false);
        assert_eq!(revision(&set(3, "b"), Some(3), &old), Some(Revision::Older));
        assert_eq!(revision(&set(3, "a"), None, &old), Some(Revision::Latest));
        assert_eq!(revision(&set(2, "b"), None, &old), Some(Revision::Unknown), "its status is old");
        assert_eq!(revision(&set(3, "b"), Some(4), &old), Some(Revision::Unknown), "the watch is behind");
        assert_eq!(revision(&set(3, ""), None, &old), Some(Revision::Unknown));
        assert_eq!(revision(&set(3, "b"), None, &pod("other", "a", false)), None);
        assert_eq!(revision(&set(3, "b"), None, &Pod::default()), None);
    }
}
