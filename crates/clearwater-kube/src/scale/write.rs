//! What scaling writes: the counts of workloads, and the budgets that go with them.

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::event::Whose;
use clearwater::manifest::{self, WorkloadKind};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::doubling;
use crate::cluster::{Cluster, FIELD_MANAGER, is_passing, only, say};
use crate::observe::Workload;
use crate::observe::snapshot::Snapshot;
use crate::owner::{self, CREATED, ORIGIN_ANNOTATION};

/// The longest that one request may take.
const REQUEST: Duration = Duration::from_secs(15);
/// The pauses before a request is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Keeps the disruption budget of a workload of ours: one where there are two members or more. Yields whether something
/// was written.
pub(super) async fn keep_budget(
    cluster: &Cluster,
    name: &str,
    wanted: &PodDisruptionBudget,
    members: u32,
) -> kube::Result<bool> {
    let api: Api<PodDisruptionBudget> = cluster.api();
    match api.get_opt(name).await? {
        None if members >= 2 => {
            let params = PatchParams::apply(FIELD_MANAGER);
            api.patch(name, &params, &Patch::Apply(wanted)).await.map(|_| true)
        }
        Some(live) if members < 2 && owner::whose(&live.metadata) == Whose::Ours => {
            api.delete(name, &only(live.metadata.uid)).await.map(|_| true)
        }
        _ => Ok(false),
    }
}

/// The budget that `up` makes for a workload of ours: with the workload's own labels and selector.
pub(super) fn budget(snapshot: &Snapshot, workload: &Workload) -> Option<PodDisruptionBudget> {
    let live = snapshot.workload(workload)?;
    let labels = live.metadata.labels.clone().unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(workload.name.clone()),
        labels: Some(labels),
        // As `up` would mark it: it is written only where none stands.
        annotations: Some(BTreeMap::from([(ORIGIN_ANNOTATION.to_owned(), CREATED.to_owned())])),
        ..ObjectMeta::default()
    };
    let selector = live.selector.filter(|_| owner::has_our_label(live.metadata))?;
    Some(manifest::one_at_a_time(metadata, selector.clone()))
}

/// Sets a workload's replicas where they are still what was seen. Yields whether something was written.
pub(super) async fn set_replicas(
    cluster: &Cluster,
    workload: &Workload,
    seen: u32,
    to: u32,
    until: Instant,
) -> Result<bool, String> {
    match workload.kind {
        WorkloadKind::Deployment => set(&cluster.api::<Deployment>(), workload, seen, to, until).await,
        WorkloadKind::StatefulSet => set(&cluster.api::<StatefulSet>(), workload, seen, to, until).await,
    }
}

async fn set<K>(api: &Api<K>, workload: &Workload, seen: u32, to: u32, until: Instant) -> Result<bool, String>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let name = &workload.name;
    let object = workload.to_string();
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let mut pauses = doubling(PAUSES.0, PAUSES.1);
    loop {
        let attempt = async {
            let live = api.get_scale(name).await?;
            let count = live.spec.as_ref().and_then(|s| s.replicas).map_or(0, |n| u32::try_from(n).unwrap_or(0));
            if count != seen {
                return Ok(if count == to { Ok(false) } else { Err(count) });
            }
            // Of two who scale at once, the second is told that the object has moved.
            let patch = json!({
                "metadata": {"resourceVersion": live.metadata.resource_version},
                "spec": {"replicas": to},
            });
            api.patch_scale(name, &params, &Patch::Merge(patch)).await.map(|_| Ok(true))
        };
        let error = match timeout(REQUEST, attempt).await {
            Ok(Ok(Ok(written))) => return Ok(written),
            Ok(Ok(Err(count))) => {
                return Err(format!("{object}: somebody else has just set it to {count}; scale it again"));
            }
            Ok(Err(error)) => error,
            Err(_) => return Err(format!("{object}: no answer from the API server")),
        };
        let moved = matches!(&error, kube::Error::Api(s) if s.code == 409);
        let pause = pauses.next().filter(|pause| Instant::now() + *pause < until);
        let Some(pause) = pause.filter(|_| moved || is_passing(&error)) else {
            let fix = match &error {
                kube::Error::Api(s) if s.is_forbidden() => {
                    format!("; ask for the right patch {}s/scale", workload.kind.name().to_lowercase())
                }
                _ => String::new(),
            };
            return Err(format!("{object}: {}{fix}", say(&error)));
        };
        sleep(pause).await;
    }
}
