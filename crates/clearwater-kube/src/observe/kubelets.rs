//! What kubelets say of themselves (kubernetes `pkg/kubelet/server`, `/configz`): no pod has to run for it.

use std::net::IpAddr;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::time::timeout;

use super::unasked::Unasked;
use crate::cluster::say;

/// All nodes of a cluster are usually alike.
const NODES: u32 = 3;
const WITHIN: Duration = Duration::from_secs(2);

/// The name servers that a few kubelets hand to pods, each kubelet's answer or why there is none.
pub(crate) async fn cluster_dns(client: &Client) -> Vec<Result<Vec<IpAddr>, Unasked>> {
    timeout(WITHIN, ask(client)).await.unwrap_or_else(|_| vec![Err(Unasked::failed("no kubelet answered in time"))])
}

async fn ask(client: &Client) -> Vec<Result<Vec<IpAddr>, Unasked>> {
    let nodes = match Api::<Node>::all(client.clone()).list(&ListParams::default().limit(NODES)).await {
        Ok(nodes) => nodes.items,
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            return vec![Err(Unasked::forbidden("needs list nodes and get nodes/proxy"))];
        }
        Err(error) => return vec![Err(Unasked::failed(say(&error)))],
    };
    join_all(nodes.iter().map(|node| configz(client, node.name_any()).boxed())).await
}

async fn configz(client: &Client, node: String) -> Result<Vec<IpAddr>, Unasked> {
    let request = hyper::Request::get(format!("/api/v1/nodes/{node}/proxy/configz")).body(Vec::new());
    let Ok(request) = request else { return Err(Unasked::failed(format!("node {node} has no usable name"))) };
    match client.request::<serde_json::Value>(request).await {
        Ok(answer) => read(&answer),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Err(Unasked::forbidden("needs get nodes/proxy")),
        Err(error) => Err(Unasked::failed(format!("node {node}: {}", say(&error)))),
    }
}

/// Reads a kubelet's answer.
pub(crate) fn read(answer: &serde_json::Value) -> Result<Vec<IpAddr>, Unasked> {
    if !answer["kubeletconfig"].is_object() {
        return Err(Unasked::failed("what answered in a kubelet's place told no configuration"));
    }
    let list = answer["kubeletconfig"]["clusterDNS"].as_array().into_iter().flatten();
    let servers: Option<Vec<IpAddr>> = list.map(|a| a.as_str()?.parse().ok()).collect();
    servers.filter(|servers| !servers.is_empty()).ok_or_else(|| Unasked::left_out("the kubelet names no cluster DNS"))
}
