//! Whether every pod of the cluster's DNS answers with the pods there are.

use std::collections::BTreeSet;
use std::net::IpAddr;

use clearwater::dns::{Name, RecordData, RecordType};
use tower::BoxError;

use crate::backoff::pause;
use crate::cluster::Cluster;
use crate::observe::cluster_dns::ClusterDns;
use crate::pod::AskError;
use crate::pod::dns::{Server, pauses};

/// Waits until every DNS pod answers `name` with exactly these addresses. An error says why it cannot be seen.
pub(super) async fn every_pod_answers(cluster: &Cluster, name: &str, wanted: &[IpAddr]) -> Result<(), BoxError> {
    let dns = ClusterDns::servers(&cluster.client).await?;
    let servers: Vec<_> = dns.pods.iter().filter(|p| p.ready).collect();
    if servers.is_empty() {
        return Err(format!("no pod behind service {}/{} is ready", dns.namespace, dns.service).into());
    }
    let name: Name = name.parse().map_err(|e| format!("{name} is no name: {e}"))?;
    let wanted: BTreeSet<IpAddr> = wanted.iter().copied().collect();
    for server in servers {
        let mut server = Server::new(dns.api(&cluster.client), &server.name, dns.port);
        let mut pauses = pauses();
        loop {
            match addresses(&mut server, &name).await {
                Ok(seen) if seen == wanted => break,
                Err(error) if error.is_lasting() => return Err(format!("{error} in {}", dns.namespace).into()),
                _ => {}
            }
            pause(&mut pauses).await;
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
