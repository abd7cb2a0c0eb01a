//! Why what stands is no further: what Kubernetes and the registries say of it, beside what the component itself shows.

use clearwater::remedy::{Permission, Remedy};
use clearwater::scale::bring_back;
use jiff::Timestamp;

use super::about::About;
use super::failure::{self, RolloutContext};
use super::service::{self, Judged, Stage};
use super::set_field::{SetField, set_by_others};
use crate::observe::finding::Finding;
use crate::observe::{Exits, Observation, Subject};
use crate::pod::object::{is_pull_refused, waits_for_node};

/// Puts why a component's pods do not come among its problems, and yields what to do about that where waiting may not help.
/// One look has seen no exits but those that its pods still tell.
pub(crate) fn with_cause(subject: &Subject, judged: &mut Judged, seen: &Observation, at: Timestamp) -> Option<Remedy> {
    if service::scaled_to_0(subject, &seen.snapshot).is_some() {
        return Some(bring_back(subject.component()));
    }
    if judged.stage >= Stage::Settling {
        return None;
    }
    let pods = service::pods(subject, seen);
    let mut exits = Exits::default();
    for pod in &pods {
        exits.observe(pod);
    }
    let set_by = [
        (SetField::Image, pods.iter().any(|pod| is_pull_refused(pod))),
        (SetField::NodeSelector, pods.iter().any(|pod| waits_for_node(pod))),
    ]
    .into_iter()
    .filter(|(_, is_awaited)| *is_awaited)
    .find_map(|(field, _)| Some(put_back(field, set_by_others(&seen.snapshot, &subject.workloads, field)?)));
    let rollout = RolloutContext { exits: &exits, now: at, ..RolloutContext::of(seen, subject, pods) };
    let failure = failure::judge(&rollout);
    let (cause, fix) = match failure {
        Some(failure) => (Some(failure.causes.join(": ")), Some(failure.fix)),
        None => failure::cause(&rollout).map_or((None, None), |c| (Some(c.text), c.fix)),
    };
    // What a program says of itself comes before what Kubernetes sees from outside.
    let stuck = service::stuck(subject, seen).len();
    let place = stuck + judged.problems.iter().skip(stuck).take_while(|p| p.about.is_of_the_pod_itself()).count();
    if let Some(cause) = cause.filter(|c| !judged.problems.iter().any(|p| p.text == *c)) {
        judged.problems.insert(place, Finding::new(About::Pods, cause));
    }
    set_by.or(fix)
}

/// What undoes that somebody else set something: the deployment file is right as it is.
pub(crate) fn put_back(field: SetField, by: &str) -> Remedy {
    let field = field.name();
    Remedy::from(Permission::TakeBack)
        .then(format!(", which puts the deployment file's {field} back: {by} set this one"))
}

#[cfg(test)]
mod tests {
    use clearwater::component::{Component, Release, entry};
    use clearwater::manifest::WorkloadKind;
    use serde_json::{Value, json};

    use super::*;
    use crate::observe::Workload;
    use crate::observe::snapshot::{Snapshot, Update, WatchEvent};

    /// A rollout of bono whose new pod waits, while the old one serves.
    fn rolling(reason: &str, message: &str) -> (Subject, Observation) {
        let pod = |name: &str, ready: bool, state: Value| {
            let status = json!({"name": "bono", "image": "r.example/bono:2", "imageID": "", "ready": ready,
                "restartCount": 0, "state": state});
            serde_json::from_value(json!({"metadata": {"name": name, "uid": name, "labels": {"service": "bono"}},
                "spec": {"nodeName": "one", "containers": [{"name": "bono", "image": "r.example/bono:2"}]},
                "status": {"phase": if ready { "Running" } else { "Pending" }, "containerStatuses": [status],
                    "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}}))
            .unwrap()
        };
        let old = pod("bono-1-a", true, json!({"running": {}}));
        let new = pod("bono-2-b", false, json!({"waiting": {"reason": reason, "message": message}}));
        let deployment = serde_json::from_value(json!({"metadata": {"name": "bono", "generation": 2},
            "spec": {"replicas": 1, "selector": {}, "template": {}},
            "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1,
                "availableReplicas": 1}}))
        .unwrap();
        let mut snapshot = Snapshot::default();
        snapshot.absorb(WatchEvent::Pod(Update::All(vec![old, new])));
        snapshot.absorb(WatchEvent::Deployment(Update::All(vec![deployment])));
        let subject = Subject {
            entry: entry(Release::Hunter, Component::Bono).unwrap(),
            workloads: vec![Workload { kind: WorkloadKind::Deployment, name: "bono".to_owned() }],
            service: None,
            names: Vec::new(),
            settings: std::collections::BTreeMap::new(),
            secrets: crate::observe::Secrets::default(),
        };
        (subject, Observation::of(snapshot))
    }

    /// The file is right, and without its word `up` writes over nothing that others have set.
    #[test]
    fn an_image_that_was_set_by_hand_is_put_back() {
        let ours = |image: bool| {
            let container = if image { json!({"f:image": {}}) } else { json!({"f:ports": {}}) };
            json!({"manager": "kubectl-clearwater", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {"f:spec":
                {"f:containers": {"k:{\"name\":\"bono\"}": container}}}}}})
        };
        let theirs = |manager: &str, field: &str| {
            json!({"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {"f:spec":
                {"f:containers": {"k:{\"name\":\"bono\"}": {field: {}}}}}}}})
        };
        for (fields, by) in [
            (json!([ours(true)]), None),
            (json!([ours(false), theirs("kubectl-set", "f:image")]), Some("kubectl-set")),
            (json!([ours(true), theirs("kubectl-edit", "f:env")]), None),
            // Two who agree, and what another program made as a whole.
            (json!([ours(true), theirs("argocd", "f:image")]), None),
            (json!([theirs("helm", "f:image")]), None),
        ] {
            let (subject, mut seen) = rolling("ImagePullBackOff", "manifest unknown");
            let deployment = seen.snapshot.deployments.get_mut("bono").unwrap();
            deployment.metadata.managed_fields = Some(serde_json::from_value(fields).unwrap());
            let mut judged = service::standing(&subject, &seen);
            let remedy = with_cause(&subject, &mut judged, &seen, seen.now()).unwrap().to_string();
            match by {
                Some(by) => assert_eq!(
                    remedy,
                    format!(
                        "bring the deployment up, and take over what others have changed, which puts the deployment file's image \
                         back: {by} set this one"
                    )
                ),
                None => assert!(remedy.contains("r.example/bono:2 does not exist"), "{remedy}"),
            }
        }
    }

    /// Pods that find no node by a selector that no deployment file has are not helped by a change of it.
    #[test]
    fn a_node_selector_that_was_set_by_hand_is_put_back() {
        for (ours, by) in [(json!({}), true), (json!({"f:nodeSelector": {}}), false)] {
            let (subject, mut seen) = rolling("ContainerCreating", "");
            let pods = seen.snapshot.pods.values_mut();
            for pod in pods.filter(|pod| pod.metadata.name.as_deref() == Some("bono-2-b")) {
                pod.status = serde_json::from_value(json!({"phase": "Pending", "conditions": [{"type": "PodScheduled",
                    "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 node(s) \
                     didn't match Pod's node affinity/selector.", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}))
                .unwrap();
            }
            let of = |manager: &str, spec: Value| json!({"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {"f:spec": spec}}}});
            let fields = json!([of("kubectl-clearwater", ours), of("kubectl-patch", json!({"f:nodeSelector": {}}))]);
            let deployment = seen.snapshot.deployments.get_mut("bono").unwrap();
            deployment.metadata.managed_fields = Some(serde_json::from_value(fields).unwrap());
            let mut judged = service::standing(&subject, &seen);
            let remedy = with_cause(&subject, &mut judged, &seen, seen.now()).map(|r| r.to_string());
            let is_put_back = remedy.as_deref().is_some_and(|remedy| {
                remedy.ends_with("which puts the deployment file's nodeSelector back: kubectl-patch set this one")
            });
            assert_eq!(is_put_back, by, "{remedy:?}");
        }
    }

    #[test]
    fn a_new_image_that_cannot_be_pulled_is_told_beside_what_still_serves() {
        for (message, told, fix) in [
            ("manifest unknown", "manifest unknown", Some("r.example/bono:2 does not exist")),
            ("dial tcp 192.0.2.1:443: i/o timeout", "i/o timeout", Some("images.mirror of the deployment file")),
        ] {
            let (subject, seen) = rolling("ImagePullBackOff", message);
            let mut judged = service::standing(&subject, &seen);
            let remedy = with_cause(&subject, &mut judged, &seen, seen.now()).map(|r| r.to_string());
            assert!(judged.cause().contains(told) && judged.cause().contains("ImagePullBackOff"), "{judged:?}");
            assert_eq!(remedy.is_some(), fix.is_some(), "{remedy:?}");
            assert!(fix.is_none_or(|fix| remedy.is_some_and(|r| r.contains(fix))));
        }
    }
}
