//! Which namespaces hold a deployment.

use std::collections::BTreeSet;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::manifest::SERVICE_LABEL;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::timeout;
use tower::BoxError;

use crate::cluster::{Cluster, is_forbidden, list_all, say};
use crate::deadline::no_answer;

/// The namespaces that hold a deployment are not known.
#[derive(Debug, Error)]
#[error("cannot look for {kind} in all namespaces: {}", say(.source.as_ref()))]
pub struct PlacesUnseen {
    /// What was to be listed, in the plural.
    pub kind: String,
    /// What was seen, or the right that is missing.
    pub source: BoxError,
}

/// What others have too: a namespace with nothing more holds no Clearwater.
const OF_OTHERS: [Component; 3] = [Component::Etcd, Component::Memcached, Component::Cassandra];

/// The namespaces in which a pod or a workload is labelled as a component that only Clearwater has, by name.
///
/// # Errors
/// Where the pods of the cluster's node could not be seen.
pub async fn places(cluster: &Cluster, within: Duration) -> Result<Vec<String>, PlacesUnseen> {
    let (pods, deployments, sets) = futures::join!(
        of::<Pod>(cluster, within),
        of::<Deployment>(cluster, within),
        of::<StatefulSet>(cluster, within)
    );
    let mut all = pods?;
    all.extend(deployments?);
    all.extend(sets?);
    Ok(all.into_iter().collect())
}

async fn of<K>(cluster: &Cluster, within: Duration) -> Result<BTreeSet<String>, PlacesUnseen>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    K::DynamicType: Default,
{
    let own = Component::ALL.iter().filter(|c| !OF_OTHERS.contains(c)).map(|c| c.name());
    let selector = format!("{SERVICE_LABEL} in ({})", own.collect::<Vec<_>>().join(","));
    let kind = K::plural(&K::DynamicType::default()).into_owned();
    let api: Api<K> = Api::all(cluster.client.clone());
    let source = match timeout(within, list_all(&api, &ListParams::default().labels(&selector))).await {
        Ok(Ok(all)) => return Ok(all.iter().filter_map(K::namespace).collect()),
        Ok(Err(error)) if is_forbidden(&error) => format!("needs list {kind} in all namespaces").into(),
        Ok(Err(error)) => error.into(),
        Err(_) => no_answer(within).into(),
    };
    Err(PlacesUnseen { kind, source })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn list(namespaces: &[&str]) -> Value {
        let items: Vec<Value> =
            namespaces.iter().map(|n| json!({"metadata": {"name": "x", "namespace": n}, "spec": {}})).collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})
    }

    #[tokio::test]
    async fn every_namespace_is_named_once_and_one_that_may_not_be_looked_for_is_an_error() {
        let within = Duration::from_secs(5);
        let (cluster, asked) = crate::fake_api::cluster(|path| {
            Some(if path.ends_with("/pods") { list(&["b", "a", "b"]) } else { list(&["c"]) })
        });
        assert_eq!(places(&cluster, within).await.unwrap(), ["a", "b", "c"]);
        assert!(asked.all().contains(&"GET /api/v1/pods".to_owned()), "{:?}", asked.all());
        let (cluster, _) =
            crate::fake_api::cluster(|path| if path.ends_with("/pods") { Some(Value::Null) } else { Some(list(&[])) });
        let error = places(&cluster, within).await.unwrap_err().to_string();
        assert_eq!(error, "cannot look for pods in all namespaces: needs list pods in all namespaces");
    }
}
