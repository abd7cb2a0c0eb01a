//! All that keeps something of subscribers, opened at once: for who reads or writes the whole of it.

use clearwater::component::{Component, Release};
use k8s_openapi::api::core::v1::Pod;

use super::error::SubscriberError;
use super::keys::Given;
use super::wire::pods;
use super::{EllisClient, EllisKeys, HomerClient, ProvClient, prov_pods};
use crate::cluster::Cluster;
use crate::pod::object::pod_is_ready;

/// Ellis, with what lets one act for every account.
pub(crate) struct Ellis {
    pub(crate) client: EllisClient,
    pub(crate) keys: EllisKeys,
}

/// The services behind which a deployment's stores stand.
pub(crate) struct Stores {
    pub(crate) prov: ProvClient,
    /// Where it stands.
    pub(crate) homer: Option<HomerClient>,
    /// Where it stands.
    pub(crate) ellis: Option<Ellis>,
    /// The SIP home domain.
    pub(crate) home_domain: String,
    pub(crate) release: Release,
}

/// A pod that can be asked, of a component that stands.
fn ready(component: Component, of: &[Pod], cluster: &Cluster) -> Result<Pod, SubscriberError> {
    let not_ready = || SubscriberError::NotReady { component, namespace: cluster.namespace.clone() };
    of.iter().find(|p| pod_is_ready(p)).cloned().ok_or_else(not_ready)
}

impl Stores {
    /// Looks which stand, and reads what their pods were given. Nothing is written.
    ///
    /// Where an HSS has the subscribers, nothing of them is in the deployment.
    pub(crate) async fn open(cluster: &Cluster) -> Result<Self, SubscriberError> {
        let Some((component, of)) = prov_pods(cluster).await? else {
            return Err(SubscriberError::nothing(cluster, Some(Component::HomesteadProv)).await);
        };
        let pod = ready(component, &of, cluster)?;
        let home_domain = Given::read(cluster, component, &pod).await?.home_domain;
        let homer = pods(cluster, Component::Homer).await?;
        let homer = if homer.is_empty() {
            None
        } else {
            ready(Component::Homer, &homer, cluster)?;
            Some(HomerClient::new(cluster))
        };
        let ellis = pods(cluster, Component::Ellis).await?;
        let ellis = if ellis.is_empty() {
            None
        } else {
            let pod = ready(Component::Ellis, &ellis, cluster)?;
            let keys = Given::read(cluster, Component::Ellis, &pod).await?.keys().await?;
            Some(Ellis { client: EllisClient::new(cluster).with_api_key(&keys.api_key), keys })
        };
        let release = if component == Component::HomesteadProv { Release::Hunter } else { Release::Classic };
        Ok(Self { prov: ProvClient::new(cluster, component), homer, ellis, home_domain, release })
    }
}
