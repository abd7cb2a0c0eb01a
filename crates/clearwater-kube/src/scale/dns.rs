//! Whether every pod of the cluster's DNS answers with the pods there are.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::cluster::{Cluster, say};
use crate::pod::AskError;
use crate::rollout::pod_is_ready;

const ANSWER: Duration = Duration::from_secs(8);
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// Where clusters keep their DNS, and the label of its pods (k8s.io/kubernetes `cluster/addons/dns`).
const NAMESPACE: &str = "kube-system";
const LABEL: &str = "k8s-app=kube-dns";

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
    let wanted: BTreeSet<IpAddr> = wanted.iter().copied().collect();
    for server in servers {
        let mut pause = PAUSE_FIRST;
        loop {
            match timeout(ANSWER, addresses(&pods, &server, name)).await {
                Ok(Ok(seen)) if seen == wanted => break,
                Ok(Err(error)) if error.is_lasting() => return Err(format!("{error} in {NAMESPACE}")),
                _ => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }
    Ok(())
}

/// The addresses that one DNS pod gives for a name.
async fn addresses(pods: &Api<Pod>, server: &str, name: &str) -> Result<BTreeSet<IpAddr>, AskError> {
    let broken = |message: String| AskError::Broken { pod: server.to_owned(), message };
    let mut forwarder = pods
        .portforward(server, &[53])
        .await
        .map_err(|e| AskError::from_kube(server, "create pods/portforward", &e))?;
    let mut stream = forwarder.take_stream(53).ok_or_else(|| broken("port 53 was not forwarded".to_owned()))?;
    let mut found = BTreeSet::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        let owner = format!("{name}.").parse().map_err(|e| broken(format!("{name} is no name: {e}")))?;
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(owner, kind));
        let question = question.to_bytes().map_err(|e| broken(e.to_string()))?;
        let length = u16::try_from(question.len()).map_err(|e| broken(e.to_string()))?;
        let exchange = async {
            stream.write_all(&length.to_be_bytes()).await?;
            stream.write_all(&question).await?;
            stream.flush().await?;
            let mut answer = vec![0; stream.read_u16().await?.into()];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = exchange.await.map_err(|e| broken(e.to_string()))?;
        let answer = Message::from_bytes(&answer).map_err(|e| broken(e.to_string()))?;
        found.extend(answer.answers.iter().filter_map(|r| match &r.data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(a) => Some(IpAddr::V6(a.0)),
            _ => None,
        }));
    }
    forwarder.abort();
    Ok(found)
}
