//! Which images run in a namespace.

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::manifest::SERVICE_LABEL;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use tokio::time::timeout;
use tower::BoxError;

use super::CouldNotLook;
use crate::cluster::{Cluster, is_forbidden, list_all};

/// What a cluster says of itself and of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The version of Kubernetes, as its API server has it.
    pub kubernetes: String,
    /// The images of the namespace's components, in the components' order.
    pub images: Vec<RunningImage>,
}

/// Pods of one component that were made from one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningImage {
    /// The component.
    pub component: Component,
    /// The image, as the pods name it.
    pub image: String,
    /// How many pods.
    pub pods: u32,
}

/// The cluster's version, and the images of a namespace's components, of pods that are not over.
///
/// # Errors
/// Where one of them could not be seen.
pub async fn running(cluster: &Cluster, within: Duration) -> Result<Running, CouldNotLook> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let labelled = ListParams::default().labels(SERVICE_LABEL);
    let not = |right: &'static str| {
        move |error: kube::Error| {
            let lacks = is_forbidden(&error).then(|| format!("needs {right}"));
            CouldNotLook::at(cluster, lacks.map_or_else(|| error.into(), BoxError::from))
        }
    };
    let version = async { cluster.client.apiserver_version().await.map_err(not("get /version")) };
    let pods = async { list_all(&api, &labelled).await.map_err(not("list pods")) };
    let both = async { tokio::try_join!(version, pods) };
    let (version, pods) = timeout(within, both).await.map_err(|_| CouldNotLook::late(cluster, within))??;
    Ok(Running { kubernetes: version.git_version, images: images(&pods) })
}

fn images(pods: &[Pod]) -> Vec<RunningImage> {
    let mut all: BTreeMap<(Component, &str), u32> = BTreeMap::new();
    for pod in pods {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let component = pod.labels().get(SERVICE_LABEL).and_then(|name| name.parse::<Component>().ok());
        let (Some(component), Some(spec)) = (component, &pod.spec) else { continue };
        // What others put beside it has a name of its own.
        let own = spec.containers.iter().find(|c| c.name == component.name()).or(spec.containers.first());
        let Some(image) = own.and_then(|c| c.image.as_deref()) else { continue };
        if !matches!(phase, Some("Succeeded" | "Failed")) {
            *all.entry((component, image)).or_default() += 1;
        }
    }
    all.into_iter()
        .map(|((component, image), pods)| RunningImage { component, image: image.to_owned(), pods })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api::{self, version};

    fn pod(service: &str, phase: &str, containers: &[(&str, &str)]) -> Value {
        let containers: Vec<Value> = containers.iter().map(|(n, i)| json!({"name": n, "image": i})).collect();
        json!({"metadata": {"name": "x", "labels": {"service": service}}, "spec": {"containers": containers},
            "status": {"phase": phase}})
    }

    #[tokio::test]
    async fn images_are_counted_by_component_and_who_may_not_look_is_told() {
        let within = Duration::from_secs(5);
        let (cluster, _) = fake_api::cluster(move |path| {
            version(path).or_else(|| {
                Some(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [
                    pod("sprout", "Running", &[("proxy", "mesh:1"), ("sprout", "sprout:7")]),
                    pod("sprout", "Running", &[("sprout", "sprout:7")]),
                    pod("sprout", "Pending", &[("sprout", "sprout:8")]),
                    pod("bono", "Failed", &[("bono", "bono:7")]),
                    pod("other", "Running", &[("other", "other:7")]),
                    pod("etcd", "Running", &[("main", "etcd:7")]),
                ]}))
            })
        });
        let seen = running(&cluster, within).await.unwrap();
        assert_eq!(seen.kubernetes, "v1.34.4");
        let mut seen: Vec<_> = seen.images.iter().map(|r| (r.component.name(), r.image.as_str(), r.pods)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [("etcd", "etcd:7", 1), ("sprout", "sprout:7", 2), ("sprout", "sprout:8", 1)]);
        let (no_pods, _) = fake_api::cluster(move |path| version(path).or(Some(Value::Null)));
        let (no_version, _) = fake_api::cluster(move |path| {
            if path == "/version" { Some(Value::Null) } else { Some(json!({"metadata": {}, "items": []})) }
        });
        for (cluster, right) in [(no_pods, "list pods"), (no_version, "get /version")] {
            let error = running(&cluster, within).await.unwrap_err().to_string();
            assert_eq!(error, format!("cannot look at namespace ims: needs {right}"));
        }
    }
}
