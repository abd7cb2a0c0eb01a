//! What scaling writes: the counts of workloads, and the budgets that go with them.

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::event::Whose;
use clearwater::manifest::{self, WorkloadKind};
use clearwater::remedy::{Remedied, Remedy};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams};
use serde_json::json;
use thiserror::Error;
use tokio::time::Instant;

use crate::backoff::{before, doubling, unless_lasting};
use crate::cluster::{Cluster, FIELD_MANAGER, is_passing, lacks_right, only, say};
use crate::judge::policy::exception;
use crate::observe::Workload;
use crate::observe::snapshot::Snapshot;
use crate::owner::{self, CREATED, ORIGIN_ANNOTATION};

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

/// Why a count was not set.
#[derive(Debug, Error)]
pub(super) enum SetError {
    #[error("{workload}: somebody else has just set it to {count}")]
    Other { workload: Workload, count: u32 },
    #[error("{workload}: {}", say(source))]
    Api { workload: Workload, source: kube::Error },
}

impl SetError {
    /// Whether it says nothing of the count: the API server could not be asked, or does not know who asks.
    pub(super) fn is_unseen(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        is_passing(source) || matches!(source, kube::Error::Api(status) if status.code == 401)
    }

    fn may_pass(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        is_passing(source) || matches!(source, kube::Error::Api(status) if status.code == 409)
    }
}

impl Remedied for SetError {
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Other { .. } => Some(Remedy::Again),
            Self::Api { workload, source } if lacks_right(source) => {
                let kind = workload.kind.name().to_lowercase();
                Some(format!("ask for the rights get and patch {kind}s/scale").into())
            }
            Self::Api { source: kube::Error::Api(status), .. } => exception(&status.message).map(Remedy::from),
            Self::Api { .. } => None,
        }
    }
}

/// Sets a workload's replicas where they are still what was seen. Yields whether something was written.
pub(super) async fn set_replicas(
    cluster: &Cluster,
    workload: &Workload,
    seen: u32,
    to: u32,
    until: Instant,
) -> Result<bool, SetError> {
    match workload.kind {
        WorkloadKind::Deployment => set(&cluster.api::<Deployment>(), workload, seen, to, until).await,
        WorkloadKind::StatefulSet => set(&cluster.api::<StatefulSet>(), workload, seen, to, until).await,
    }
}

async fn set<K>(api: &Api<K>, workload: &Workload, seen: u32, to: u32, until: Instant) -> Result<bool, SetError>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let name = &workload.name;
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let failed = |source| SetError::Api { workload: workload.clone(), source };
    let mut pauses = before(until, doubling(PAUSES.0, PAUSES.1));
    loop {
        let attempt = async {
            let live = api.get_scale(name).await.map_err(failed)?;
            match live.spec.as_ref().and_then(|s| s.replicas).map_or(0, |n| u32::try_from(n).unwrap_or(0)) {
                count if count == seen => {}
                count if count == to => return Ok(false),
                count => return Err(SetError::Other { workload: workload.clone(), count }),
            }
            // Of two who scale at once, the second is told that the object has moved.
            let patch = json!({
                "metadata": {"resourceVersion": live.metadata.resource_version},
                "spec": {"replicas": to},
            });
            api.patch_scale(name, &params, &Patch::Merge(patch)).await.map(|_| true).map_err(failed)
        };
        match attempt.await {
            Ok(written) => return Ok(written),
            Err(error) => unless_lasting(error, SetError::may_pass, &mut pauses).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn what_can_be_done_is_no_part_of_the_message() {
        let workload = Workload { kind: WorkloadKind::StatefulSet, name: "bono".to_owned() };
        let api = |code, reason| SetError::Api {
            workload: workload.clone(),
            source: kube::Error::Api(Status::failure("not today", reason).with_code(code).boxed()),
        };
        let said = |error: SetError| (error.may_pass(), error.advice().to_string());
        let other = SetError::Other { workload: workload.clone(), count: 3 };
        assert_eq!(other.to_string(), format!("{workload}: somebody else has just set it to 3"));
        assert_eq!(other.remedy(), Some(Remedy::Again));
        assert!(!other.may_pass());
        // What nobody may do is no right of anybody's.
        let no_right =
            r#"statefulsets.apps "bono" is forbidden: User "jane" cannot patch resource "statefulsets/scale""#;
        let policy = "statefulsets.apps \"bono\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'b' denied request: \
                      no more than two";
        let by_policy = "have whoever keeps ValidatingAdmissionPolicy few let this through";
        let webhook = r#"admission webhook "count.example.com" denied the request: not on a Saturday"#;
        let by_webhook = "have whoever keeps the admission webhook count.example.com let this through";
        for (message, code, fix) in [
            (no_right, 403, Some("ask for the rights get and patch statefulsets/scale")),
            (policy, 403, Some(by_policy)),
            (policy, 422, Some(by_policy)),
            (webhook, 400, Some(by_webhook)),
            ("not today", 403, None),
        ] {
            let source = kube::Error::Api(Status::failure(message, "Forbidden").with_code(code).boxed());
            let error = SetError::Api { workload: workload.clone(), source };
            assert_eq!(error.remedy(), fix.map(Remedy::from), "{error}");
            assert!(!error.is_unseen() && !error.may_pass(), "{error}");
        }
        assert_eq!(said(api(409, "Conflict")), (true, format!("{workload}: not today")));
        assert_eq!(said(api(503, "ServiceUnavailable")), (true, format!("{workload}: not today")));
        // Who is not known, or not answered, has been told nothing of the count; who is refused has.
        let unseen = |code, reason| api(code, reason).is_unseen();
        assert!(unseen(401, "Unauthorized") && unseen(503, "ServiceUnavailable") && !unseen(403, "Forbidden"));
    }
}
