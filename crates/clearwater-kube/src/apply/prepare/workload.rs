use clearwater::component::Component;
use clearwater::manifest::{SERVICE_LABEL, WorkloadKind, held};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::observe::Workload;
use crate::pod::object::claims_of;

/// A workload that stands, of either kind.
#[derive(Clone, Copy)]
pub(crate) struct LiveWorkload<'a> {
    pub(super) kind: WorkloadKind,
    pub(crate) name: &'a str,
    pub(crate) metadata: &'a ObjectMeta,
    /// How many pods it is to have, where it says so.
    pub(crate) replicas: Option<i32>,
    /// What its pods are made from.
    template: Option<&'a PodTemplateSpec>,
    /// Whether each of its pods is made a volume.
    makes_volumes: bool,
}

impl<'a> LiveWorkload<'a> {
    pub(super) fn of_deployment(name: &'a str, object: &'a Deployment) -> Self {
        let spec = held::<DeploymentSpec>(&object.spec);
        Self {
            kind: WorkloadKind::Deployment,
            name,
            metadata: &object.metadata,
            replicas: spec.and_then(|s| s.replicas),
            template: spec.map(|s| &s.template),
            makes_volumes: false,
        }
    }

    pub(super) fn of_set(name: &'a str, object: &'a StatefulSet) -> Self {
        let spec = held::<StatefulSetSpec>(&object.spec);
        let claims = spec.and_then(|s| s.volume_claim_templates.as_ref());
        Self {
            kind: WorkloadKind::StatefulSet,
            name,
            metadata: &object.metadata,
            replicas: spec.and_then(|s| s.replicas),
            template: spec.map(|s| &s.template),
            makes_volumes: claims.is_some_and(|claims| !claims.is_empty()),
        }
    }

    pub(crate) fn workload(&self) -> Workload {
        Workload { kind: self.kind, name: self.name.to_owned() }
    }

    /// The component that its pods' label names, whoever made it.
    pub(crate) fn labelled(&self) -> Option<Component> {
        self.template?.metadata.as_ref()?.labels.as_ref()?.get(SERVICE_LABEL)?.parse().ok()
    }

    /// What its pods are.
    pub(crate) fn pod(&self) -> Option<&'a PodSpec> {
        self.template?.spec.as_ref()
    }

    /// How many pods it has.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.replicas.unwrap_or(1)).unwrap_or(0)
    }

    /// Whether its pods keep something on a volume.
    pub(super) fn has_volumes(&self) -> bool {
        self.makes_volumes || self.pod().is_some_and(|spec| claims_of(spec).next().is_some())
    }
}
