//! What kubelets say of themselves (kubernetes `pkg/kubelet/server`, `/configz`): no pod has to run for it.

use std::net::IpAddr;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::time::timeout;

use crate::cluster::say;

/// All nodes of a cluster are usually alike.
const NODES: u32 = 3;
const WITHIN: Duration = Duration::from_secs(2);

/// Why a kubelet's name servers are not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsaid {
    /// Whether it should have been possible to know them.
    pub(crate) failed: bool,
    pub(crate) why: String,
}

impl Unsaid {
    /// Nobody may be asked, or there is nothing to know.
    pub(crate) fn left_out(why: impl Into<String>) -> Self {
        Self { failed: false, why: why.into() }
    }

    fn failed(why: impl Into<String>) -> Self {
        Self { failed: true, why: why.into() }
    }
}

/// The name servers that a few kubelets hand to pods, each kubelet's answer or why there is none.
pub(crate) async fn cluster_dns(client: &Client) -> Vec<Result<Vec<IpAddr>, Unsaid>> {
    timeout(WITHIN, ask(client)).await.unwrap_or_else(|_| vec![Err(Unsaid::failed("no kubelet answered in time"))])
}

async fn ask(client: &Client) -> Vec<Result<Vec<IpAddr>, Unsaid>> {
    let nodes = match Api::<Node>::all(client.clone()).list(&ListParams::default().limit(NODES)).await {
        Ok(nodes) => nodes.items,
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            return vec![Err(Unsaid::left_out("needs list nodes and get nodes/proxy"))];
        }
        Err(error) => return vec![Err(Unsaid::failed(say(&error)))],
    };
    join_all(nodes.iter().map(|node| configz(client, node.name_any()).boxed())).await
}

async fn configz(client: &Client, node: String) -> Result<Vec<IpAddr>, Unsaid> {
    let request = hyper::Request::get(format!("/api/v1/nodes/{node}/proxy/configz")).body(Vec::new());
    let Ok(request) = request else { return Err(Unsaid::failed(format!("node {node} has no usable name"))) };
    match client.request::<serde_json::Value>(request).await {
        Ok(answer) => read(&answer),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Err(Unsaid::left_out("needs get nodes/proxy")),
        Err(error) => Err(Unsaid::failed(format!("node {node}: {}", say(&error)))),
    }
}

/// Reads a kubelet's answer.
pub(crate) fn read(answer: &serde_json::Value) -> Result<Vec<IpAddr>, Unsaid> {
    let list = answer["kubeletconfig"]["clusterDNS"].as_array().into_iter().flatten();
    let servers: Option<Vec<IpAddr>> = list.map(|a| a.as_str()?.parse().ok()).collect();
    servers.filter(|servers| !servers.is_empty()).ok_or_else(|| Unsaid::left_out("the kubelet names no cluster DNS"))
}
