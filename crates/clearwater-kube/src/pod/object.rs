//! What a Pod object says of itself.

use std::net::IpAddr;

use clearwater::component::Component;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

/// The object as kubectl names it.
pub fn pod_name(pod: &Pod) -> String {
    format!("pod/{}", pod.metadata.name.as_deref().unwrap_or("?"))
}

/// The controller that made an object.
pub(crate) fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Every container of a pod, init containers first, with whether it is one.
pub(crate) fn containers(pod: &Pod) -> impl Iterator<Item = (&ContainerStatus, bool)> {
    let status = pod.status.as_ref();
    let init = status.and_then(|s| s.init_container_statuses.as_ref()).into_iter().flatten().map(|c| (c, true));
    let main = status.and_then(|s| s.container_statuses.as_ref()).into_iter().flatten().map(|c| (c, false));
    init.chain(main)
}

/// Whether a container waits for an image that was not to be had.
pub(crate) fn is_pull_refused(pod: &Pod) -> bool {
    let waiting = |c: &ContainerStatus| c.state.as_ref()?.waiting.as_ref()?.reason.clone();
    let refused = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];
    containers(pod).any(|(c, _)| waiting(c).is_some_and(|reason| refused.contains(&reason.as_str())))
}

/// Whether no node has taken a pod yet, as its scheduler says.
pub(crate) fn waits_for_node(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "PodScheduled" && c.status == "False")
}

/// When a container that runs was started, on its node's clock.
pub(crate) fn running_since(container: &ContainerStatus) -> Option<Timestamp> {
    container.state.as_ref()?.running.as_ref()?.started_at.as_ref().map(|t| t.0)
}

/// The names of the claims that a pod mounts.
pub(crate) fn claims(pod: &Pod) -> impl Iterator<Item = &str> {
    pod.spec.iter().flat_map(claims_of)
}

/// The same of a pod that is to be.
pub(crate) fn claims_of(spec: &PodSpec) -> impl Iterator<Item = &str> {
    let volumes = spec.volumes.iter().flatten();
    volumes.filter_map(|v| v.persistent_volume_claim.as_ref()).map(|c| c.claim_name.as_str())
}

/// The container that the component's own programs run in: the one of its name, else the first.
pub(crate) fn own_container(spec: &PodSpec, component: Component) -> Option<&Container> {
    spec.containers.iter().find(|c| c.name == component.name()).or(spec.containers.first())
}

/// The addresses of a pod, each once.
pub fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let several = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let mut all: Vec<IpAddr> =
        status.pod_ip.as_deref().into_iter().chain(several).filter_map(|a| a.parse().ok()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Whether the pod has ended for good.
pub fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether no container of the pod has ever run, so that it holds nothing. What init containers did does not count: they
/// do it again in the next pod.
pub(crate) fn never_ran(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return true };
    let ran = |state: Option<&ContainerState>| state.is_some_and(|s| s.running.is_some() || s.terminated.is_some());
    status.phase.as_deref().is_none_or(|phase| phase == "Pending")
        && status.container_statuses.iter().flatten().all(|c| {
            c.restart_count == 0
                && c.started != Some(true)
                && c.container_id.as_ref().is_none_or(String::is_empty)
                && !ran(c.state.as_ref())
                && !ran(c.last_state.as_ref())
        })
}

/// Whether the pod's own readiness condition is true and it is not on its way out.
pub(crate) fn pod_is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod
            .status
            .iter()
            .flat_map(|s| s.conditions.iter().flatten())
            .any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Since when the pod has been ready or not ready, on the API server's clock.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let mut conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.find(|c| c.type_ == "Ready")?.last_transition_time.as_ref().map(|t| t.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// (what it shows, a container's status, whether it never ran)
    #[test]
    fn a_pod_whose_container_ever_ran_is_told_from_one_that_holds_nothing() {
        let pod = |phase: &str, container: &Value| -> Pod {
            let mut status = json!({"phase": phase, "containerStatuses": [
                {"name": "chronos", "image": "x", "imageID": "", "ready": false, "restartCount": 0}]});
            for (key, value) in container.as_object().unwrap() {
                status["containerStatuses"][0][key] = value.clone();
            }
            serde_json::from_value(json!({"status": status})).unwrap()
        };
        let waiting = json!({"waiting": {"reason": "ImagePullBackOff"}});
        let table = [
            ("no image", json!({"state": waiting, "started": false}), true),
            ("being made", json!({"state": {"waiting": {"reason": "ContainerCreating"}}}), true),
            ("runs", json!({"state": {"running": {}}}), false),
            ("has started", json!({"state": waiting, "started": true}), false),
            ("ended", json!({"state": {"terminated": {"exitCode": 1}}}), false),
            ("ended before", json!({"state": waiting, "lastState": {"terminated": {"exitCode": 1}}}), false),
            ("was restarted", json!({"state": waiting, "restartCount": 1}), false),
            ("was made", json!({"state": waiting, "containerID": "containerd://x"}), false),
        ];
        for (what, container, expected) in table {
            assert_eq!(never_ran(&pod("Pending", &container)), expected, "{what}");
            assert!(!never_ran(&pod("Running", &container)), "{what}, in a pod that runs");
        }
        // Of two containers one has run.
        let mut both = pod("Pending", &json!({"state": waiting}));
        let mut mesh = both.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].clone();
        mesh.restart_count = 1;
        both.status.as_mut().unwrap().container_statuses.as_mut().unwrap().push(mesh);
        assert!(!never_ran(&both));
        assert!(never_ran(&Pod::default()) && never_ran(&serde_json::from_value(json!({"status": {}})).unwrap()));
    }

    #[test]
    fn a_leaving_pod_is_not_ready() {
        let conditions = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let pod = |metadata: Value| -> Pod {
            serde_json::from_value(json!({"metadata": metadata, "status": conditions})).unwrap()
        };
        assert!(pod_is_ready(&pod(json!({}))));
        assert!(!pod_is_ready(&pod(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}))));
    }
}
