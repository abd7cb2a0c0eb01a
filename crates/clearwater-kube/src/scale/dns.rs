//! Whether every pod of the cluster's DNS answers with the pods there are.

use std::collections::BTreeSet;
use std::net::IpAddr;

use clearwater::component::Component;
use clearwater::dns::{Name, Names, RecordData, RecordType};
use tokio::time::{Instant, timeout_at};
use tower::BoxError;

use crate::backoff::pause;
use crate::cluster::Cluster;
use crate::observe::cluster_dns::ClusterDns;
use crate::pod::AskError;
use crate::pod::dns::{Server, pauses};

/// The name of a component's Service as DNS has it. etcd's is dialled without its domain, which search domains complete.
pub(super) fn full_name(names: &Names, component: Component) -> String {
    let host = names.host(component);
    if host.contains('.') { host } else { format!("{host}.{}", names.zone()) }
}

/// Waits until every DNS pod answers `name` with exactly these addresses. Where one does not by that moment, yields what it answers;
/// an error says why it cannot be seen.
pub(super) async fn every_pod_answers(
    cluster: &Cluster,
    name: &str,
    wanted: &[IpAddr],
    until: Instant,
) -> Result<Option<String>, BoxError> {
    let dns = ClusterDns::servers(&cluster.client).await?;
    let servers: Vec<_> = dns.pods.iter().filter(|p| p.ready).collect();
    if servers.is_empty() {
        return Err(format!("no pod behind service {}/{} is ready", dns.namespace, dns.service).into());
    }
    let host: Name = name.parse().map_err(|e| format!("{name} is no name: {e}"))?;
    let wanted: BTreeSet<IpAddr> = wanted.iter().copied().collect();
    for pod in servers {
        let mut server = Server::new(dns.api(&cluster.client), &pod.name, dns.port);
        let mut seen = BTreeSet::new();
        let Ok(done) = timeout_at(until, answered(&mut server, &host, &wanted, &mut seen)).await else {
            let (seen, wanted) = (listed(&seen), listed(&wanted));
            return Ok(Some(format!("DNS pod {} answers {name} with {seen}, and its pods have {wanted}", pod.name)));
        };
        done.map_err(|error| format!("{error} in {}", dns.namespace))?;
    }
    Ok(None)
}

/// Asks until the answer is what is wanted. An error is one that lasts.
async fn answered(
    server: &mut Server,
    name: &Name,
    wanted: &BTreeSet<IpAddr>,
    seen: &mut BTreeSet<IpAddr>,
) -> Result<(), AskError> {
    let mut pauses = pauses();
    loop {
        match addresses(server, name).await {
            Ok(answer) if answer == *wanted => return Ok(()),
            Ok(answer) => *seen = answer,
            Err(error) if error.is_lasting() => return Err(error),
            Err(_) => {}
        }
        pause(&mut pauses).await;
    }
}

fn listed(addresses: &BTreeSet<IpAddr>) -> String {
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    if all.is_empty() { "no address".to_owned() } else { all.join(", ") }
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

#[cfg(test)]
mod tests {
    use clearwater::component::Release;

    use super::*;

    /// No DNS pod knows a name without its domain, and it would be asked for until the time is up.
    #[test]
    fn every_name_that_is_asked_for_is_whole() {
        let names = Names::standing(Release::Hunter, "ims", "ims.svc.cluster.local");
        for component in [Component::Etcd, Component::Sprout, Component::Chronos] {
            assert_eq!(full_name(&names, component), format!("{component}.ims.svc.cluster.local"));
        }
    }
}
