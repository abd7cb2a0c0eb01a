//! Which images run in a namespace.

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::manifest::SERVICE_LABEL;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use thiserror::Error;
use tokio::time::timeout;
use tower::BoxError;

use crate::cluster::{Cluster, is_forbidden, list_all, say};
use crate::deadline::no_answer;

/// What runs in a namespace is not known.
#[derive(Debug, Error)]
#[error("cannot look for pods in namespace {namespace}: {}", say(.source.as_ref()))]
pub struct RunningUnseen {
    /// The namespace.
    pub namespace: String,
    /// What was seen, or the right that is missing.
    pub source: BoxError,
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

/// The images of a namespace's components in the components' order, of pods that are not over.
///
/// # Errors
/// Where the pods could not be seen.
pub async fn running(cluster: &Cluster, within: Duration) -> Result<Vec<RunningImage>, RunningUnseen> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let source = match timeout(within, list_all(&api, &ListParams::default().labels(SERVICE_LABEL))).await {
        Ok(Ok(pods)) => return Ok(images(&pods)),
        Ok(Err(error)) if is_forbidden(&error) => "needs list pods".into(),
        Ok(Err(error)) => error.into(),
        Err(_) => no_answer(within).into(),
    };
    Err(RunningUnseen { namespace: cluster.namespace.clone(), source })
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

    fn pod(service: &str, phase: &str, containers: &[(&str, &str)]) -> Value {
        let containers: Vec<Value> = containers.iter().map(|(n, i)| json!({"name": n, "image": i})).collect();
        json!({"metadata": {"name": "x", "labels": {"service": service}}, "spec": {"containers": containers},
            "status": {"phase": phase}})
    }

    #[tokio::test]
    async fn images_are_counted_by_component_and_who_may_not_look_is_told() {
        let within = Duration::from_secs(5);
        let (cluster, _) = crate::fake_api::cluster(|_| {
            Some(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [
                pod("sprout", "Running", &[("proxy", "mesh:1"), ("sprout", "sprout:7")]),
                pod("sprout", "Running", &[("sprout", "sprout:7")]),
                pod("sprout", "Pending", &[("sprout", "sprout:8")]),
                pod("bono", "Failed", &[("bono", "bono:7")]),
                pod("other", "Running", &[("other", "other:7")]),
                pod("etcd", "Running", &[("main", "etcd:7")]),
            ]}))
        });
        let seen = running(&cluster, within).await.unwrap();
        let mut seen: Vec<_> = seen.iter().map(|r| (r.component.name(), r.image.as_str(), r.pods)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [("etcd", "etcd:7", 1), ("sprout", "sprout:7", 2), ("sprout", "sprout:8", 1)]);
        let (cluster, _) = crate::fake_api::cluster(|_| Some(Value::Null));
        let error = running(&cluster, within).await.unwrap_err().to_string();
        assert_eq!(error, "cannot look for pods in namespace ims: needs list pods");
    }
}
