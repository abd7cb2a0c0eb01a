//! What is shown of a failure: the object, its events and the last lines of its logs. Only reads.

use std::time::Duration;

use clearwater::event::{Evidence, LogExcerpt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::LogParams;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::judge::failure::{Failure, PodContainer};
use crate::observe::snapshot::event_time;

/// The longest that reading one log may take.
const READ: Duration = Duration::from_secs(3);
/// How many last lines are shown.
const TAIL: i64 = 15;
/// The most that is read of one log, in bytes: its last lines may have any length.
const MOST: i64 = 1 << 20;
/// How many events are shown.
const EVENTS: usize = 6;

/// The events since then, oldest first, the last few of them, as `kubectl describe` words them.
pub(crate) fn events(mut events: Vec<&Event>, since: Timestamp) -> Vec<String> {
    let telling = ["Pulling", "ExternalProvisioning"];
    events.retain(|e| {
        let tells = e.type_.as_deref() == Some("Warning") || e.reason.as_deref().is_some_and(|r| telling.contains(&r));
        tells && event_time(e).is_none_or(|t| t.as_second() >= since.as_second())
    });
    events.sort_by_key(|e| event_time(e));
    let skip = events.len().saturating_sub(EVENTS);
    events
        .into_iter()
        .skip(skip)
        .map(|e| {
            let object = &e.involved_object;
            let count = e.count.filter(|n| *n > 1).map_or_else(String::new, |n| format!(" (×{n})"));
            format!(
                "{}{count} {}/{}: {}",
                e.reason.as_deref().unwrap_or("?"),
                object.kind.as_deref().unwrap_or("?").to_lowercase(),
                object.name.as_deref().unwrap_or("?"),
                e.message.as_deref().unwrap_or_default().trim()
            )
        })
        .collect()
}

/// Reads the last lines of a container's output, previous and current.
async fn logs(cluster: &Cluster, PodContainer { pod, container }: &PodContainer) -> Vec<LogExcerpt> {
    let pods = cluster.api::<Pod>();
    let mut excerpts = Vec::new();
    for previous in [true, false] {
        let params = LogParams {
            container: Some(container.clone()),
            previous,
            tail_lines: Some(TAIL),
            limit_bytes: Some(MOST),
            ..LogParams::default()
        };
        if let Ok(Ok(text)) = timeout(READ, pods.logs(pod, &params)).await {
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            if !lines.is_empty() {
                let which = if previous { " (previous)" } else { "" };
                excerpts.push(LogExcerpt { from: format!("pod {pod}, container {container}{which}"), lines });
            }
        }
    }
    excerpts
}

/// A failure with what shows it: its events, and the logs of its container where they may tell more than the status did;
/// then it is worded anew.
pub(crate) async fn shown(
    cluster: &Cluster,
    failure: Failure,
    events: Vec<String>,
    program_log: Option<LogExcerpt>,
) -> (Failure, Evidence) {
    let (object, reason) = (failure.object.clone(), failure.reason.clone());
    let mut evidence = Evidence { object, reason, events, logs: Vec::new() };
    if let Some(telling) = failure.telling_container() {
        evidence.logs = logs(cluster, telling).await;
    }
    evidence.logs.extend(program_log);
    (failure.told_by(&evidence), evidence)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_happened_before_the_run_is_no_evidence() {
        let event = |reason: &str, kind: &str, second: i64| -> Event {
            let at = Timestamp::from_second(second).unwrap().to_string();
            serde_json::from_value(json!({"metadata": {}, "involvedObject": {"kind": "StatefulSet", "name": "etcd"},
                "reason": reason, "type": kind, "message": "m", "lastTimestamp": at}))
            .unwrap()
        };
        let (old, new) = (event("FailedCreate", "Warning", 99), event("FailedCreate", "Warning", 100));
        let (awaited, plain) = (event("ExternalProvisioning", "Normal", 101), event("SuccessfulCreate", "Normal", 101));
        let told = events(vec![&awaited, &old, &plain, &new], Timestamp::from_second(100).unwrap());
        assert_eq!(told, ["FailedCreate statefulset/etcd: m", "ExternalProvisioning statefulset/etcd: m"]);
    }
}
