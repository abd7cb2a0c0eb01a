//! Which family pods' addresses are of, and what upstream's images cannot do with it. Pure.

use std::net::IpAddr;

use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::{Permission, Remedy};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::super::checks::{line, with_fix};

/// The families of the addresses that a node's pods get, the first first: as its own ranges for pods say, else its own
/// addresses. True is IPv4.
fn families(node: &Node) -> Vec<bool> {
    let ranges = node.spec.iter().flat_map(|s| s.pod_cidrs.iter().flatten().chain(&s.pod_cidr));
    let by_range: Vec<bool> = ranges.filter_map(|range| is_ipv4(range.split('/').next()?)).collect();
    if !by_range.is_empty() {
        return by_range;
    }
    let addresses = node.status.iter().flat_map(|s| s.addresses.iter().flatten());
    addresses.filter(|a| a.type_ == "InternalIP").filter_map(|a| is_ipv4(&a.address)).collect()
}

fn is_ipv4(address: &str) -> Option<bool> {
    address.parse::<IpAddr>().ok().map(|ip| ip.is_ipv4())
}

/// A line where pods' first address is not of IPv4; none where it is, or where nothing tells.
pub(super) fn judge(nodes: &[Node]) -> Option<CheckLine> {
    let (node, all) = nodes.iter().map(|n| (n, families(n))).find(|(_, all)| all.first() == Some(&false))?;
    let name = node.name_any();
    let detail = if all.contains(&true) {
        format!(
            "on node {name} the first address of a pod is IPv6, where kubelets ask whether it is ready; Clearwater takes one \
             family, IPv4 where there are both, and its daemons listen there alone"
        )
    } else {
        format!(
            "on node {name} pods have IPv6 alone: the etcd proxy in upstream's images listens on 0.0.0.0:4000 and is waited for \
             at the pod's own address, so that no store joins; Cassandra is told to prefer IPv4, and SIP over WebSocket does \
             not work on IPv6"
        )
    };
    let seen = line(CheckId::Ipv6, "address family of the pods", CheckStatus::Failed, detail);
    let fix = Remedy::any([
        Remedy::from("a cluster whose pods get IPv4 first"),
        Remedy::from(Permission::SkipCheck(CheckId::Ipv6.name()))
            .then(", with images of your own that are changed for it, and ipFamilies in the deployment file"),
    ]);
    Some(with_fix(seen, fix))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(ranges: &Value, addresses: &[&str]) -> Node {
        let addresses: Vec<Value> = addresses.iter().map(|a| json!({"type": "InternalIP", "address": a})).collect();
        serde_json::from_value(
            json!({"metadata": {"name": "n"}, "spec": {"podCIDRs": ranges}, "status": {"addresses": addresses}}),
        )
        .unwrap()
    }

    #[test]
    fn what_the_images_cannot_do_is_named() {
        let none = Value::Null;
        for (ranges, addresses, said) in [
            (json!(["10.244.0.0/24"]), &["10.0.0.1"][..], None),
            (json!(["10.244.0.0/24", "fd00:10:244::/64"]), &["fd00::1", "10.0.0.1"], None),
            (json!(["fd00:10:244::/64", "10.244.0.0/24"]), &["10.0.0.1"], Some("the first address of a pod is IPv6")),
            (json!(["fd00:10:244::/64"]), &["fd00::1"], Some("pods have IPv6 alone")),
            // Some networks have no ranges for nodes.
            (none.clone(), &["10.0.0.1", "fd00::1"], None),
            (none.clone(), &["fd00::1"], Some("pods have IPv6 alone")),
            (none.clone(), &["a name"], None),
            (none, &[], None),
        ] {
            let line = judge(&[node(&ranges, addresses)]);
            let told = line.as_ref().map(|l| (l.status, l.detail.as_str()));
            match said {
                None => assert_eq!(told, None, "{ranges} {addresses:?}"),
                Some(said) => assert!(
                    told.is_some_and(|(status, detail)| status == CheckStatus::Failed && detail.contains(said)),
                    "{ranges} {addresses:?}: {told:?}"
                ),
            }
        }
    }
}
