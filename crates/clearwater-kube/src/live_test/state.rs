//! How far the pod of a Job is.

use clearwater::text::printable;
use k8s_openapi::api::core::v1::{ContainerState, Pod};

use super::object::CONTAINER;
use crate::judge::pull::{Pull, pull};

/// What is seen of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PodState {
    /// It is on its way; what it waits for.
    Waiting(String),
    /// Its image could not be pulled, and that may pass.
    Pulling(String),
    /// It will never run, or did not run to its end; why.
    Failed(String),
    /// Its program runs.
    Running,
    /// Its program has ended with this code, and what the runtime said of it.
    Ended { code: i32, why: String },
}

pub(super) fn of(pod: &Pod) -> PodState {
    let status = pod.status.as_ref();
    let own = status.and_then(|s| s.container_statuses.as_ref()?.iter().find(|c| c.name == CONTAINER));
    let said = |reason: &Option<String>, message: &Option<String>| {
        let words = [reason, message].into_iter().flatten().map(|text| printable(text.trim()).into_owned());
        words.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ")
    };
    let state = own.and_then(|own| own.state.as_ref());
    match state {
        Some(ContainerState { terminated: Some(ended), .. }) => {
            let reason = ended.reason.clone().filter(|reason| reason != "Completed" && reason != "Error");
            return PodState::Ended { code: ended.exit_code, why: said(&reason, &ended.message) };
        }
        Some(ContainerState { running: Some(_), .. }) => return PodState::Running,
        _ => {}
    }
    if let Some(status) = status.filter(|s| s.phase.as_deref() == Some("Failed")) {
        return PodState::Failed(said(&status.reason, &status.message));
    }
    if let Some(ContainerState { waiting: Some(waiting), .. }) = state {
        let words = said(&waiting.reason, &waiting.message);
        return match waiting.reason.as_deref().unwrap_or_default() {
            "ErrImageNeverPull" | "InvalidImageName" => PodState::Failed(words),
            "ErrImagePull" | "ImagePullBackOff" => {
                let is_passing = pull(waiting.message.as_deref().unwrap_or_default()) == Pull::Transient;
                if is_passing { PodState::Pulling(words) } else { PodState::Failed(words) }
            }
            _ => PodState::Waiting(words),
        };
    }
    let conditions = status.and_then(|s| s.conditions.as_ref()).into_iter().flatten();
    let mut unplaced =
        conditions.filter(|c| c.type_ == "PodScheduled" && c.status == "False").map(|c| said(&c.reason, &c.message));
    PodState::Waiting(unplaced.next_back().unwrap_or_else(|| "its pod is not started yet".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_pod_says_is_how_far_it_is() {
        let waiting = |reason: &str, message: &str| {
            json!({"containerStatuses": [{"name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason, "message": message}}}]})
        };
        let ended = |code: i32, reason: &str, message: &str| {
            json!({"phase": "Failed", "containerStatuses": [{"name": CONTAINER, "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}]})
        };
        let text = str::to_owned;
        for (status, expected) in [
            (json!({}), PodState::Waiting(text("its pod is not started yet"))),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}]}),
                PodState::Waiting(text("Unschedulable: 0/2 nodes")),
            ),
            (waiting("ContainerCreating", ""), PodState::Waiting(text("ContainerCreating"))),
            (
                waiting("CreateContainerConfigError", "secret \"x\" not found"),
                PodState::Waiting(text("CreateContainerConfigError: secret \"x\" not found")),
            ),
            (
                waiting("ErrImagePull", "r.example/live:1: not found"),
                PodState::Failed(text("ErrImagePull: r.example/live:1: not found")),
            ),
            (
                waiting("ImagePullBackOff", "Back-off pulling image"),
                PodState::Pulling(text("ImagePullBackOff: Back-off pulling image")),
            ),
            (
                waiting("ErrImageNeverPull", "it is not there"),
                PodState::Failed(text("ErrImageNeverPull: it is not there")),
            ),
            (
                json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "active longer than\u{1b}[m"}),
                PodState::Failed(format!("DeadlineExceeded: {}", printable("active longer than\u{1b}[m"))),
            ),
            (ended(1, "Error", ""), PodState::Ended { code: 1, why: String::new() }),
            (ended(0, "Completed", ""), PodState::Ended { code: 0, why: String::new() }),
            (
                ended(128, "StartError", "exec: \"rake\": not found"),
                PodState::Ended { code: 128, why: text("StartError: exec: \"rake\": not found") },
            ),
            (
                json!({"phase": "Running", "containerStatuses": [{"name": CONTAINER, "image": "", "imageID": "", "ready": true,
                    "restartCount": 0, "state": {"running": {}}}]}),
                PodState::Running,
            ),
        ] {
            let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap();
            assert_eq!(of(&pod), expected, "{status}");
        }
    }
}
