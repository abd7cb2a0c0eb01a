//! Images that somebody set by hand on a workload that this program made. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use crate::cluster::FIELD_MANAGER;
use crate::observe::Workload;
use crate::observe::snapshot::Snapshot;

/// Whether what somebody writes holds the image of a container.
fn holds_image(entry: &ManagedFieldsEntry) -> bool {
    let containers =
        entry.fields_v1.as_ref().and_then(|fields| fields.0.pointer("/f:spec/f:template/f:spec/f:containers"));
    let mut containers = containers.and_then(Value::as_object).into_iter().flatten();
    containers.any(|(_, container)| container.get("f:image").is_some())
}

/// Who set the image of one of these workloads, where that is not this program, which made it: bringing the deployment up does not
/// write over what others have set, unless it is told to. A watch does not tell.
pub(crate) fn set_by_others<'s>(snapshot: &'s Snapshot, workloads: &[Workload]) -> Option<&'s str> {
    workloads.iter().find_map(|workload| {
        let all = snapshot.workload(workload)?.metadata.managed_fields.as_deref()?;
        let is_ours = |entry: &&ManagedFieldsEntry| entry.manager.as_deref() == Some(FIELD_MANAGER);
        let (ours, others): (Vec<_>, Vec<_>) = all.iter().partition(is_ours);
        let set = others.into_iter().find(|entry| holds_image(entry))?;
        (!ours.is_empty() && !ours.into_iter().any(holds_image))
            .then(|| set.manager.as_deref().unwrap_or("somebody else"))
    })
}
