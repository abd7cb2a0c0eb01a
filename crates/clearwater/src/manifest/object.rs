use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{Deployment as DeploymentObject, DeploymentSpec, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, PodSpec, PodTemplateSpec, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Serialize, Serializer};

use crate::component::Component;

/// A field that some versions of Kubernetes' types hold always and others may leave out.
///
/// ```
/// use clearwater::manifest::held;
/// use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
///
/// let replicas = |d: &Deployment| held::<DeploymentSpec>(&d.spec).and_then(|s| s.replicas);
/// assert_eq!(replicas(&Deployment::default()), None);
/// ```
pub fn held<'a, T>(field: impl Into<Option<&'a T>>) -> Option<&'a T> {
    field.into()
}

/// The same, to be written to.
fn held_mut<'a, T>(field: impl Into<Option<&'a mut T>>) -> Option<&'a mut T> {
    field.into()
}

/// Whom an object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemOwner {
    /// The deployment as a whole.
    Shared,
    /// One component.
    Component(Component),
}

/// When an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// At every apply.
    Applied,
    /// Once: it holds what was made at random, and writing it again would lock out whoever uses the old value.
    CreatedOnce,
}

/// Where the count of a rendered workload comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// From the file: right only where the workload does not stand yet.
    ForCreation(u32),
    /// From the workload that stands ([`Inputs::live_replicas`](super::Inputs::live_replicas)). It must be applied with
    /// the resourceVersion that it was read at, or it could undo a scaling that happened in between.
    Live(u32),
}

impl Replicas {
    /// The count.
    pub const fn count(self) -> u32 {
        match self {
            Self::ForCreation(count) | Self::Live(count) => count,
        }
    }
}

/// A Kubernetes object.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Object {
    /// v1 ConfigMap.
    ConfigMap(Box<ConfigMap>),
    /// v1 Secret.
    Secret(Box<Secret>),
    /// v1 Service.
    Service(Box<Service>),
    /// v1 PersistentVolumeClaim.
    PersistentVolumeClaim(Box<PersistentVolumeClaim>),
    /// apps/v1 Deployment.
    Deployment(Box<DeploymentObject>),
    /// apps/v1 StatefulSet.
    StatefulSet(Box<StatefulSet>),
    /// policy/v1 PodDisruptionBudget.
    PodDisruptionBudget(Box<PodDisruptionBudget>),
    /// networking.k8s.io/v1 Ingress.
    Ingress(Box<Ingress>),
    /// networking.k8s.io/v1 NetworkPolicy.
    NetworkPolicy(Box<NetworkPolicy>),
}

macro_rules! each {
    ($object:expr, $o:ident => $then:expr) => {
        match $object {
            Object::ConfigMap($o) => $then,
            Object::Secret($o) => $then,
            Object::Service($o) => $then,
            Object::PersistentVolumeClaim($o) => $then,
            Object::Deployment($o) => $then,
            Object::StatefulSet($o) => $then,
            Object::PodDisruptionBudget($o) => $then,
            Object::Ingress($o) => $then,
            Object::NetworkPolicy($o) => $then,
        }
    };
}

macro_rules! from {
    ($($variant:ident($kind:ty)),*) => {$(
        impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$variant(Box::new(object))
            }
        }
    )*};
}
from!(
    ConfigMap(ConfigMap),
    Secret(Secret),
    Service(Service),
    PersistentVolumeClaim(PersistentVolumeClaim),
    Deployment(DeploymentObject),
    StatefulSet(StatefulSet),
    PodDisruptionBudget(PodDisruptionBudget),
    Ingress(Ingress),
    NetworkPolicy(NetworkPolicy)
);

fn api_version_of<T: k8s_openapi::Resource>(_: &T) -> &'static str {
    T::API_VERSION
}

fn kind_of<T: k8s_openapi::Resource>(_: &T) -> &'static str {
    T::KIND
}

impl Object {
    /// The `apiVersion`.
    pub fn api_version(&self) -> &'static str {
        each!(self, o => api_version_of(o.as_ref()))
    }

    /// The `kind`.
    pub fn kind(&self) -> &'static str {
        each!(self, o => kind_of(o.as_ref()))
    }

    /// The object's metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        each!(self, o => &o.metadata)
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// The pod template of a workload.
    pub fn pod_template(&self) -> Option<&PodTemplateSpec> {
        match self {
            Self::Deployment(o) => held::<DeploymentSpec>(&o.spec).map(|s| &s.template),
            Self::StatefulSet(o) => held::<StatefulSetSpec>(&o.spec).map(|s| &s.template),
            _ => None,
        }
    }

    /// The pod of a workload, as its controller would make it but for the name, which the API server completes: what a
    /// dry run asks admission with.
    pub fn sample_pod(&self) -> Option<Pod> {
        let template = self.pod_template()?;
        let metadata = ObjectMeta {
            generate_name: Some(format!("{}-", self.name())),
            namespace: self.metadata().namespace.clone(),
            ..template.metadata.clone().unwrap_or_default()
        };
        Some(Pod { metadata, spec: template.spec.clone(), ..Pod::default() })
    }

    /// The count of a workload.
    pub fn replicas(&self) -> Option<i32> {
        match self {
            Self::Deployment(o) => held::<DeploymentSpec>(&o.spec).and_then(|s| s.replicas),
            Self::StatefulSet(o) => held::<StatefulSetSpec>(&o.spec).and_then(|s| s.replicas),
            _ => None,
        }
    }

    pub(super) fn pod_spec(&self) -> Option<&PodSpec> {
        self.pod_template().and_then(|t| t.spec.as_ref())
    }

    pub(super) fn pod_spec_mut(&mut self) -> Option<&mut PodSpec> {
        let template = match self {
            Self::Deployment(o) => held_mut::<DeploymentSpec>(&mut o.spec).map(|s| &mut s.template),
            Self::StatefulSet(o) => held_mut::<StatefulSetSpec>(&mut o.spec).map(|s| &mut s.template),
            _ => None,
        };
        template.and_then(|t| t.spec.as_mut())
    }

    pub(super) fn metadata_mut(&mut self) -> &mut ObjectMeta {
        each!(self, o => &mut o.metadata)
    }
}

impl Serialize for Object {
    /// Writes the object as Kubernetes' JSON, `apiVersion` and `kind` first.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        each!(self, o => o.serialize(serializer))
    }
}

/// An object and how it is to be handled.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Whom it belongs to.
    pub owner: ItemOwner,
    /// When it is written.
    pub lifecycle: Lifecycle,
    /// For a workload: how many pods it has, and who says so.
    pub replicas: Option<Replicas>,
    /// The object.
    pub object: Object,
}

impl Item {
    pub(super) fn applied(component: Component, object: impl Into<Object>) -> Self {
        let owner = ItemOwner::Component(component);
        Self { owner, lifecycle: Lifecycle::Applied, replicas: None, object: object.into() }
    }

    pub(super) fn shared(lifecycle: Lifecycle, object: impl Into<Object>) -> Self {
        Self { owner: ItemOwner::Shared, lifecycle, replicas: None, object: object.into() }
    }
}

/// Something the reader of a manifest should know: not an error, and nothing that the objects themselves say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The object that it is about, as `kind/name`.
    pub about: String,
    /// What is to be known, as a sentence.
    pub text: String,
}

/// The objects of a deployment, in the order in which they can be applied: what others refer to stands before them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    pub(super) items: Vec<Item>,
    pub(super) notes: Vec<Note>,
}

impl Manifest {
    /// The objects with their handling.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The objects alone.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.items.iter().map(|i| &i.object)
    }

    /// The items of one owner.
    pub fn of(&self, owner: ItemOwner) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |i| i.owner == owner)
    }

    /// The object of that kind and name.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Object> {
        self.objects().find(|o| o.kind() == kind && o.name() == name)
    }

    /// What the reader should know.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Every image that the deployment pulls, in alphabetical order, each once.
    pub fn images(&self) -> BTreeSet<&str> {
        self.objects()
            .filter_map(Object::pod_spec)
            .flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()))
            .filter_map(|c| c.image.as_deref())
            .collect()
    }
}
