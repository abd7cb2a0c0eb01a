//! Which deployment stands, found by the labels that upstream's manifests give, whoever made it.

use clearwater::component::{Component, Release};
use clearwater::manifest::WorkloadKind;
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::snapshot::{Snapshot, component_by, component_of};
use crate::judge::Workload;

/// The release that stands: only the classic one has a component `memcached`.
pub(crate) fn release(snapshot: &Snapshot) -> Release {
    if snapshot.pods.values().any(|p| component_of(p) == Some(Component::Memcached)) {
        Release::Classic
    } else {
        Release::Hunter
    }
}

/// Every workload that is of a component.
pub(crate) fn all_workloads(snapshot: &Snapshot) -> impl Iterator<Item = (Component, Workload)> {
    let named = |kind, name: &String, template: Option<&PodTemplateSpec>| {
        Some((component_by(template?.metadata.as_ref()?)?, Workload { kind, name: name.clone() }))
    };
    let deployments = snapshot
        .deployments
        .iter()
        .filter_map(move |(name, o)| named(WorkloadKind::Deployment, name, o.spec.as_ref().map(|s| &s.template)));
    let sets = snapshot
        .stateful_sets
        .iter()
        .filter_map(move |(name, o)| named(WorkloadKind::StatefulSet, name, o.spec.as_ref().map(|s| &s.template)));
    deployments.chain(sets)
}

/// The workloads of a component.
pub(crate) fn workloads(snapshot: &Snapshot, component: Component) -> Vec<Workload> {
    all_workloads(snapshot).filter(|(of, _)| *of == component).map(|(_, workload)| workload).collect()
}
