//! Whether every pod of the cluster's DNS answers with the pods there are.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use clearwater::dns::{Name, RecordData, RecordType};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use tokio::time::sleep;

use crate::cluster::{Cluster, say};
use crate::dns::ask::Server;
use crate::judge::rollout::pod_is_ready;
use crate::pod::AskError;

const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// Where clusters keep their DNS, and the label of its pods (k8s.io/kubernetes `cluster/addons/dns`).
const NAMESPACE: &str = "kube-system";
const LABEL: &str = "k8s-app=kube-dns";
const PORT: u16 = 53;

/// Waits until every DNS pod answers `name` with exactly these addresses. An error says why it cannot be seen.
pub(super) async fn every_pod_answers(cluster: &Cluster, name: &str, wanted: &[IpAddr]) -> Result<(), String> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let listed = pods.list(&ListParams::default().labels(LABEL)).await.map_err(|e| match &e {
        kube::Error::Api(s) if s.is_forbidden() => format!("needs list pods in {NAMESPACE}"),
        other => say(other),
    })?;
    let servers: Vec<String> = listed.items.iter().filter(|p| pod_is_ready(p)).map(ResourceExt::name_any).collect();
    if servers.is_empty() {
        return Err(format!("no pod {LABEL} is ready in {NAMESPACE}"));
    }
    let name: Name = name.parse().map_err(|e| format!("{name} is no name: {e}"))?;
    let wanted: BTreeSet<IpAddr> = wanted.iter().copied().collect();
    for server in servers {
        let mut server = Server::new(pods.clone(), &server, PORT);
        let mut pause = PAUSE_FIRST;
        loop {
            match addresses(&mut server, &name).await {
                Ok(seen) if seen == wanted => break,
                Err(error) if error.is_lasting() => return Err(format!("{error} in {NAMESPACE}")),
                _ => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }
    Ok(())
}

/// The addresses that one DNS pod gives for a name.
async fn addresses(server: &mut Server, name: &Name) -> Result<BTreeSet<IpAddr>, AskError> {
    let mut found = BTreeSet::new();
    for record_type in [RecordType::A, RecordType::Aaaa] {
        let answer = server.ask(name, record_type).await?;
        found.extend(answer.data(name, record_type).into_iter().filter_map(|data| match data {
            RecordData::A(ip) => Some(IpAddr::V4(ip)),
            RecordData::Aaaa(ip) => Some(IpAddr::V6(ip)),
            _ => None,
        }));
    }
    Ok(found)
}
