//! What somebody set by hand on a workload that this program made. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use crate::cluster::FIELD_MANAGER;
use crate::observe::Workload;
use crate::observe::snapshot::Snapshot;

/// What pods wait for in vain where somebody else set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetField {
    /// The image of a container.
    Image,
    /// Which nodes take the pods. The API server takes it as a whole (`+mapType=atomic`).
    NodeSelector,
}

impl SetField {
    /// What people call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::NodeSelector => "nodeSelector",
        }
    }

    /// Whether what somebody writes holds it.
    fn is_in(self, entry: &ManagedFieldsEntry) -> bool {
        let spec = entry.fields_v1.as_ref().and_then(|fields| fields.0.pointer("/f:spec/f:template/f:spec"));
        let Some(spec) = spec else { return false };
        match self {
            Self::Image => {
                let mut containers = spec.get("f:containers").and_then(Value::as_object).into_iter().flatten();
                containers.any(|(_, container)| container.get("f:image").is_some())
            }
            Self::NodeSelector => spec.get("f:nodeSelector").is_some(),
        }
    }
}

/// Who set this of one of these workloads, where that is not this program, which made it: bringing the deployment up does not
/// write over what others have set, unless it is told to. A watch does not tell.
pub(crate) fn set_by_others<'s>(snapshot: &'s Snapshot, workloads: &[Workload], field: SetField) -> Option<&'s str> {
    workloads.iter().find_map(|workload| {
        let all = snapshot.workload(workload)?.metadata.managed_fields.as_deref()?;
        let is_ours = |entry: &&ManagedFieldsEntry| entry.manager.as_deref() == Some(FIELD_MANAGER);
        let (ours, others): (Vec<_>, Vec<_>) = all.iter().partition(is_ours);
        let set = others.into_iter().find(|entry| field.is_in(entry))?;
        (!ours.is_empty() && !ours.into_iter().any(|entry| field.is_in(entry)))
            .then(|| set.manager.as_deref().unwrap_or("somebody else"))
    })
}
