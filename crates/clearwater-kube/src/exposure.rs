//! Where phones reach bono, which is their P-CSCF: at its pod, its node, or an address that leads to it, as the deployment
//! file says.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::clearwater::config::DeploymentFile;
//! use clearwater_kube::exposure::bono_addresses;
//!
//! let deployment = cluster.deploy(&DeploymentFile::default())?;
//! for proxy in bono_addresses(&cluster, &deployment).await? {
//!     println!("outbound proxy {proxy}");
//! }
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use clearwater::component::{Component, port};
use clearwater::config::{BonoExposure, Deployment};
use clearwater::manifest::{Balance, Balanced, balance};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::api::ListParams;

use crate::cluster::{Cluster, list_all};
use crate::observe::CouldNotLook;
use crate::observe::snapshot::ready;

/// SIP's own port, at which bono takes phones by TCP and UDP (clearwater.md §2.10).
pub(crate) const SIP: u16 = port(Component::Bono, "sip-tcp");

/// The addresses at which phones reach the bonos that are ready, each once, in the order of the pods' names.
///
/// ```no_run
/// # async fn say(client: kube::Client, deployment: &clearwater::config::Deployment) -> Result<(), clearwater_kube::observe::CouldNotLook> {
/// let cluster = clearwater_kube::Cluster::new(client, deployment.namespace());
/// for proxy in clearwater_kube::exposure::bono_addresses(&cluster, deployment).await? {
///     println!("outbound proxy {proxy}, transport TCP");
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// Where pods or Services cannot be listed.
pub async fn bono_addresses(cluster: &Cluster, deployment: &Deployment) -> Result<Vec<SocketAddr>, CouldNotLook> {
    let failed = |error| CouldNotLook::at(cluster, error);
    let (pods, services) = (cluster.api::<Pod>(), cluster.api::<Service>());
    let all = ListParams::default();
    let (pods, services) = futures::join!(list_all(&pods, &all), list_all(&services, &all));
    let services = services.map_err(failed)?.into_iter().map(|service| (service.name_any(), service)).collect();
    Ok(addresses(deployment, &pods.map_err(failed)?, &services))
}

fn addresses(deployment: &Deployment, pods: &[Pod], services: &BTreeMap<String, Service>) -> Vec<SocketAddr> {
    let mut bonos: Vec<&Pod> = ready(pods, Component::Bono).collect();
    bonos.sort_by_key(|pod| pod.name_any());
    let bono = &deployment.file().bono;
    let own = |pod: &Pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok();
    let node = |pod: &Pod| pod.status.as_ref()?.host_ip.as_ref()?.parse().ok();
    // Where the file says by which address phones reach each node, the node's own is none of them.
    let at_node = |pod: &Pod| match &bono.node_addresses {
        table if table.is_empty() => node(pod),
        table => table.get(pod.spec.as_ref()?.node_name.as_ref()?).copied(),
    };
    // Of several pods each has an address of its own, by the number that its name ends with.
    let written = |pod: &Pod| {
        let ordinal: usize = pod.name_any().rsplit('-').next()?.parse().ok()?;
        bono.addresses.get(ordinal).copied()
    };
    let balanced = |pod: &Pod| match balance(&Balanced::of(deployment, pod.name_any()), services) {
        Balance::Known(address) => Some(address),
        _ => None,
    };
    let address = |pod: &Pod| -> Option<IpAddr> {
        match bono.exposure {
            BonoExposure::Headless => own(pod),
            BonoExposure::HostPort => at_node(pod),
            BonoExposure::NodePort => written(pod).or_else(|| node(pod)),
            BonoExposure::LoadBalancer => written(pod).or_else(|| balanced(pod)),
            BonoExposure::ExternalIps => written(pod),
        }
    };
    let mut all: Vec<SocketAddr> =
        bonos.into_iter().filter_map(address).map(|address| SocketAddr::new(address, SIP)).collect();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use clearwater::config::DeploymentFile;
    use serde_json::json;

    use super::*;

    fn deployment(bono: &str) -> Deployment {
        let file = DeploymentFile::parse(&format!("apiVersion: clearwater/v1\nbono: {bono}\n"), "test.yaml").unwrap();
        file.deploy("ims").unwrap()
    }

    fn pod(name: &str, ready: bool) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"service": "bono"}},
            "spec": {"nodeName": format!("node-{}", &name[5..]), "containers": []},
            "status": {"podIP": "10.0.0.9", "hostIP": "192.0.2.7",
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}
        }))
        .unwrap()
    }

    fn service(name: &str, ip: &str) -> (String, Service) {
        let service = json!({"metadata": {"name": name}, "status": {"loadBalancer": {"ingress": [{"ip": ip}]}}});
        (name.to_owned(), serde_json::from_value(service).unwrap())
    }

    #[test]
    fn each_exposure_has_its_address() {
        let pods = [pod("bono-1", true), pod("bono-0", true), pod("bono-2", false)];
        let services = BTreeMap::from([
            service("bono-0", "203.0.113.5"),
            service("bono-1", "2001:db8::6"),
            service("bono-0-tcp", "203.0.113.7"),
            service("bono-0-udp", "203.0.113.7"),
        ]);
        for (bono, expected) in [
            ("{}", &["10.0.0.9:5060"][..]),
            ("{exposure: hostPort}", &["192.0.2.7:5060"]),
            (
                "{exposure: hostPort, nodeAddresses: {node-0: 203.0.113.20, node-1: 203.0.113.21}}",
                &["203.0.113.20:5060", "203.0.113.21:5060"],
            ),
            ("{exposure: hostPort, nodeAddresses: {node-1: 203.0.113.21}}", &["203.0.113.21:5060"]),
            (
                "{exposure: nodePort, addresses: [198.51.100.1, 198.51.100.2]}",
                &["198.51.100.1:5060", "198.51.100.2:5060"],
            ),
            ("{exposure: loadBalancer}", &["203.0.113.5:5060", "[2001:db8::6]:5060"]),
            ("{exposure: loadBalancer, service: perProtocol}", &["203.0.113.7:5060"]),
            (
                "{exposure: externalIPs, addresses: [198.51.100.1, 2001:db8::9]}",
                &["198.51.100.1:5060", "[2001:db8::9]:5060"],
            ),
            ("{exposure: loadBalancer, addresses: [198.51.100.1]}", &["198.51.100.1:5060", "[2001:db8::6]:5060"]),
        ] {
            let all: Vec<String> =
                addresses(&deployment(bono), &pods, &services).iter().map(ToString::to_string).collect();
            assert_eq!(all, expected, "{bono}");
        }
        assert!(addresses(&deployment("{}"), &[pod("bono-0", false)], &BTreeMap::new()).is_empty());
    }
}
