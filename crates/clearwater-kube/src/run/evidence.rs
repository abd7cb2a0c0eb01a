//! What is shown of a failure: the object, its events and the last lines of its logs. Only reads.

use std::time::Duration;

use clearwater::event::{Evidence, LogExcerpt};
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

/// The events, oldest first, the last few of them, as `kubectl describe` words them.
pub(crate) fn events(mut events: Vec<&Event>) -> Vec<String> {
    events.retain(|e| e.type_.as_deref() == Some("Warning") || e.reason.as_deref() == Some("Pulling"));
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
