//! What stood in CoreDNS' file before a run wrote to it, kept until nothing of it stands any more.
//!
//! It lies beside the file: a Corefile may hold what is secret (credentials of other plugins), and whoever may read the
//! copy may read the file.

use clearwater::dns::ownership::Place;
use clearwater::manifest::{MANAGED_BY, MANAGED_BY_LABEL};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};

use super::DnsError;
use crate::cluster::{Cluster, FIELD_MANAGER, only};
use crate::observe::cluster_dns::within;
use crate::owner;

/// The ConfigMap of a deployment's namespace, where the cluster's DNS runs.
#[derive(Debug)]
pub(crate) struct KeptFile<'c> {
    cluster: &'c Cluster,
    dns_namespace: &'c str,
}

/// What a run has left that did not come to its end: what stood in DNS before its write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Where, as kubectl names it.
    pub(crate) object: String,
    /// The files' texts.
    pub(crate) texts: Vec<String>,
}

impl<'c> KeptFile<'c> {
    pub(crate) fn new(cluster: &'c Cluster, dns_namespace: &'c str) -> Self {
        Self { cluster, dns_namespace }
    }

    /// One for each deployment's namespace. No namespace's name has a dot.
    fn name(&self) -> String {
        format!("clearwater-dns-before.{}", self.cluster.namespace)
    }

    /// As kubectl names it.
    fn object(&self) -> String {
        format!("configmap/{} in namespace {}", self.name(), self.dns_namespace)
    }

    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.cluster.client.clone(), self.dns_namespace)
    }

    async fn within<T>(&self, verbs: &str, request: impl Future<Output = kube::Result<T>>) -> Result<T, DnsError> {
        let right = format!("{verbs} configmaps in {}", self.dns_namespace);
        Ok(within(&format!("configmap {}/{}", self.dns_namespace, self.name()), &right, request).await?)
    }

    /// The ConfigMap as it is, whoever made it.
    async fn standing(&self) -> Result<Option<ConfigMap>, DnsError> {
        self.within("get", self.api().get_opt(&self.name())).await
    }

    /// The same, where this program made it.
    async fn ours(&self) -> Result<Option<ConfigMap>, DnsError> {
        Ok(self.standing().await?.filter(|map| owner::has_our_label(&map.metadata)))
    }

    /// Keeps a file's text, so that it can be put back by hand whatever happens to this program. Yields where.
    pub(crate) async fn keep(&self, place: &Place, text: &str) -> Result<String, DnsError> {
        if self.standing().await?.is_some_and(|map| !owner::has_our_label(&map.metadata)) {
            return Err(DnsError::Failed(format!(
                "{} is somebody else's, and what stands now would be kept there: nothing was written",
                self.object()
            )));
        }
        let object = serde_json::json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.name(),
                "labels": {MANAGED_BY_LABEL: MANAGED_BY},
                "annotations": {"clearwater/kept-from": place.to_string()},
            },
            "data": {&place.key: text},
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.within("create and patch", self.api().patch(&self.name(), &params, &Patch::Apply(&object))).await?;
        Ok(self.object())
    }

    /// What an earlier run has left, where it has.
    pub(crate) async fn left(&self) -> Result<Option<Left>, DnsError> {
        Ok(self.ours().await?.map(|map| Left {
            object: self.object(),
            texts: map.data.into_iter().flatten().map(|(_, text)| text).collect(),
        }))
    }

    /// Forgets it; it is of no use once nothing stands any more.
    pub(crate) async fn forget(&self) -> Result<(), DnsError> {
        let Some(map) = self.ours().await? else { return Ok(()) };
        let (api, name, params) = (self.api(), self.name(), only(map.metadata.uid));
        let deleting = async {
            match api.delete(&name, &params).await {
                // Somebody was faster.
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                other => other.map(drop),
            }
        };
        self.within("delete", deleting).await
    }
}
