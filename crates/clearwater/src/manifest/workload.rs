use k8s_openapi::api::apps::v1::{
    Deployment as DeploymentObject, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment, StatefulSet,
    StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PodTemplateSpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta::{label_selector, metadata, selector};
use super::storage::persistent;
use super::{Deployment, Inputs, Item, ItemOwner, Object, Replicas, bono, service};
use crate::component::{Component, Release};
use crate::config::{BonoExposure, DnsBackend};
use crate::dns::Cscf;
use crate::names::named;

/// The kind of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// Pods are alike and replaced by Kubernetes.
    Deployment,
    /// Pods have names that last.
    StatefulSet,
}

named! {
    /// The `kind` of the object.
    WorkloadKind {
        Deployment = "Deployment",
        StatefulSet = "StatefulSet",
    }
}

/// A workload of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadRef {
    /// The component that it runs.
    pub component: Component,
    /// The object's name.
    pub name: &'static str,
    /// The object's kind.
    pub kind: WorkloadKind,
    /// The sprout function whose sub-domain the pods carry, where they do.
    pub cscf: Option<Cscf>,
}

impl WorkloadRef {
    /// How many pods it is rendered with: the count that stands, else the file's.
    pub fn replicas(&self, d: &Deployment, inputs: &Inputs) -> Replicas {
        match inputs.live_replicas.get(self.name) {
            Some(&count) => Replicas::Live(count),
            None => Replicas::ForCreation(d.replicas(self.component)),
        }
    }

    /// The part that its pods play, where the component has several workloads.
    pub(super) fn part(&self) -> Option<&'static str> {
        self.cscf.map(Cscf::label)
    }
}

/// The workloads of a component: one, but for sprout where its pods carry the sub-domains' names, which has two.
pub fn workloads(d: &Deployment, component: Component) -> Vec<WorkloadRef> {
    let one = |name, kind, cscf| WorkloadRef { component, name, kind, cscf };
    if component == Component::Sprout && names_pods(d) {
        return vec![
            one("sprout-icscf", WorkloadKind::Deployment, Some(Cscf::Icscf)),
            one("sprout-scscf", WorkloadKind::Deployment, Some(Cscf::Scscf)),
        ];
    }
    let lasting = component.is_store() || (component == Component::Bono && bono::has_identity(d));
    let kind = if lasting { WorkloadKind::StatefulSet } else { WorkloadKind::Deployment };
    vec![one(component.name(), kind, None)]
}

/// Whether sprout's pods carry the sub-domains of its name: cluster DNS then answers them by itself. It takes a headless
/// Service.
fn names_pods(d: &Deployment) -> bool {
    d.release() == Release::Classic && !service::virtual_addresses(d) && d.names().backend() == DnsBackend::Pods
}

pub(super) fn workload(
    d: &Deployment,
    inputs: &Inputs,
    workload: &WorkloadRef,
    replicas: Replicas,
    template: PodTemplateSpec,
    claims: Option<Vec<PersistentVolumeClaim>>,
) -> Item {
    let component = workload.component;
    let owner = ItemOwner::Component(component);
    let metadata = metadata(d, owner, workload.part(), workload.name);
    let selector = label_selector(selector(component, workload.part()));
    let count = Some(i32::try_from(replicas.count()).unwrap_or(i32::MAX));
    let object: Object = match workload.kind {
        WorkloadKind::Deployment => DeploymentObject {
            metadata,
            spec: DeploymentSpec {
                replicas: count,
                selector,
                template,
                strategy: strategy(d, inputs, component),
                ..DeploymentSpec::default()
            }
            .into(),
            ..DeploymentObject::default()
        }
        .into(),
        WorkloadKind::StatefulSet => {
            // Cassandra's ring takes one joining member at a time; the others join in one batch.
            let one_by_one = component == Component::Cassandra;
            // Replacing a store's pod loses what it holds until the others have copied it: only someone who watches the
            // cluster may do it.
            let update = if component.is_store() { "OnDelete" } else { "RollingUpdate" };
            StatefulSet {
                metadata,
                spec: StatefulSetSpec {
                    replicas: count,
                    selector,
                    template,
                    service_name: Some(component.name().to_owned()),
                    pod_management_policy: Some(if one_by_one { "OrderedReady" } else { "Parallel" }.to_owned()),
                    update_strategy: Some(StatefulSetUpdateStrategy {
                        type_: Some(update.to_owned()),
                        ..StatefulSetUpdateStrategy::default()
                    }),
                    volume_claim_templates: claims,
                    ..StatefulSetSpec::default()
                }
                .into(),
                ..StatefulSet::default()
            }
            .into()
        }
    };
    Item { replicas: Some(replicas), ..Item::applied(component, object) }
}

/// A pod that holds ports of its node, or a volume, must go before the next one finds them free.
fn strategy(d: &Deployment, inputs: &Inputs, component: Component) -> Option<DeploymentStrategy> {
    let holds_node = component == Component::Bono && d.file().bono.exposure == BonoExposure::HostPort;
    (holds_node || persistent(d, inputs, component)).then(|| DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(0)),
            max_unavailable: Some(IntOrString::Int(1)),
        }),
    })
}

/// A budget that lets drains take one pod at a time. With a single pod it would only block them, so there is none.
pub(super) fn budget(d: &Deployment, workload: &WorkloadRef, replicas: Replicas) -> Option<Item> {
    let component = workload.component;
    let owner = ItemOwner::Component(component);
    let selector = label_selector(selector(component, workload.part()));
    let object = one_at_a_time(metadata(d, owner, workload.part(), workload.name), selector);
    (replicas.count() >= 2).then(|| Item::applied(component, object))
}

/// A budget that lets drains take one of the selected pods at a time.
pub fn one_at_a_time(metadata: ObjectMeta, selector: LabelSelector) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(selector),
        ..PodDisruptionBudgetSpec::default()
    };
    PodDisruptionBudget { metadata, spec: Some(spec), ..PodDisruptionBudget::default() }
}
