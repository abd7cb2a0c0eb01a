//! Kinds of Kubernetes objects, by the names that the API server has for them.

use clearwater::manifest::Object;
use kube::api::ApiResource;
use kube::core::GroupVersionKind;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectKind {
    /// Group and version, as objects name them.
    pub(crate) api_version: &'static str,
    pub(crate) name: &'static str,
    /// The resource: plural, in lower case.
    pub(crate) plural: &'static str,
}

impl ObjectKind {
    /// That of an object that is rendered.
    pub(crate) fn of(object: &Object) -> Option<Self> {
        RENDERED.into_iter().find(|kind| kind.name == object.kind())
    }

    /// That of a resource, by its group, empty for the core, and its plural.
    pub(crate) fn of_resource(group: &str, plural: &str) -> Option<Self> {
        ALL.iter().copied().find(|kind| kind.group() == group && kind.plural == plural)
    }

    /// The API group; empty for the core.
    pub(crate) fn group(self) -> &'static str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The resource with its group, where it has one, as rights name it.
    pub(crate) fn qualified(self) -> String {
        match self.group() {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// As requests name it.
    pub(crate) fn resource(self) -> ApiResource {
        let version = self.api_version.rsplit('/').next().unwrap_or_default();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(self.group(), version, self.name), self.plural)
    }

    /// An object of it, as kubectl names it.
    pub(crate) fn named(self, name: &str) -> String {
        format!("{}/{name}", self.name.to_lowercase())
    }
}

macro_rules! kinds {
    ($($constant:ident = $api_version:literal $name:literal $plural:literal;)*) => {$(
        pub(crate) const $constant: ObjectKind = ObjectKind { api_version: $api_version, name: $name, plural: $plural };
    )*
    const ALL: &[ObjectKind] = &[$($constant),*];
    };
}

kinds! {
    CONFIG_MAP = "v1" "ConfigMap" "configmaps";
    CRON_JOB = "batch/v1" "CronJob" "cronjobs";
    DAEMON_SET = "apps/v1" "DaemonSet" "daemonsets";
    DEPLOYMENT = "apps/v1" "Deployment" "deployments";
    ENDPOINT_SLICE = "discovery.k8s.io/v1" "EndpointSlice" "endpointslices";
    EVENT = "v1" "Event" "events";
    HORIZONTAL_POD_AUTOSCALER = "autoscaling/v2" "HorizontalPodAutoscaler" "horizontalpodautoscalers";
    INGRESS_CLASS = "networking.k8s.io/v1" "IngressClass" "ingressclasses";
    INGRESS = "networking.k8s.io/v1" "Ingress" "ingresses";
    JOB = "batch/v1" "Job" "jobs";
    NAMESPACE = "v1" "Namespace" "namespaces";
    LIMIT_RANGE = "v1" "LimitRange" "limitranges";
    NETWORK_POLICY = "networking.k8s.io/v1" "NetworkPolicy" "networkpolicies";
    NODE = "v1" "Node" "nodes";
    PERSISTENT_VOLUME = "v1" "PersistentVolume" "persistentvolumes";
    PERSISTENT_VOLUME_CLAIM = "v1" "PersistentVolumeClaim" "persistentvolumeclaims";
    POD = "v1" "Pod" "pods";
    POD_DISRUPTION_BUDGET = "policy/v1" "PodDisruptionBudget" "poddisruptionbudgets";
    REPLICA_SET = "apps/v1" "ReplicaSet" "replicasets";
    REPLICATION_CONTROLLER = "v1" "ReplicationController" "replicationcontrollers";
    RESOURCE_QUOTA = "v1" "ResourceQuota" "resourcequotas";
    ROLE = "rbac.authorization.k8s.io/v1" "Role" "roles";
    ROLE_BINDING = "rbac.authorization.k8s.io/v1" "RoleBinding" "rolebindings";
    SECRET = "v1" "Secret" "secrets";
    SERVICE = "v1" "Service" "services";
    STORAGE_CLASS = "storage.k8s.io/v1" "StorageClass" "storageclasses";
    SERVICE_ACCOUNT = "v1" "ServiceAccount" "serviceaccounts";
    STATEFUL_SET = "apps/v1" "StatefulSet" "statefulsets";
}

/// Those that a deployment is rendered as.
const RENDERED: [ObjectKind; 9] = [
    CONFIG_MAP,
    SECRET,
    SERVICE,
    PERSISTENT_VOLUME_CLAIM,
    DEPLOYMENT,
    STATEFUL_SET,
    POD_DISRUPTION_BUDGET,
    INGRESS,
    NETWORK_POLICY,
];

#[cfg(test)]
mod tests {
    use clearwater::config::{DeploymentFile, Keys};
    use clearwater::manifest::{Inputs, render};

    use super::*;

    #[test]
    fn what_is_rendered_is_of_a_known_kind() {
        let yaml = "apiVersion: clearwater/v1\nrelease: hunter\n";
        let deployment = DeploymentFile::parse(yaml, "clearwater.yaml").unwrap().deploy("ims").unwrap();
        let inputs = Inputs { keys: Some(Keys::upstream()), default_storage_class: Some(true), ..Inputs::default() };
        for object in render(&deployment, &inputs).unwrap().objects() {
            let kind = ObjectKind::of(object).unwrap();
            assert_eq!((kind.api_version, kind.name), (object.api_version(), object.kind()));
        }
    }

    #[test]
    fn kinds_are_named_as_requests_and_people_name_them() {
        let resource = INGRESS.resource();
        assert_eq!((resource.group.as_str(), resource.version.as_str()), ("networking.k8s.io", "v1"));
        assert_eq!((resource.api_version.as_str(), resource.plural.as_str()), ("networking.k8s.io/v1", "ingresses"));
        assert_eq!((SECRET.group(), SECRET.resource().version.as_str()), ("", "v1"));
        assert_eq!(SECRET.named("keys"), "secret/keys");
    }
}
