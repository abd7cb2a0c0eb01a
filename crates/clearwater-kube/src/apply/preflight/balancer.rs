//! Whether what gives load balancers their addresses waits for a pod, where Bono waits for its address.

use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::{Permission, Remedy};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::super::checks::{line, with_fix};
use super::super::prepare::ApplyPlan;
use crate::cluster::{Cluster, list_all};

/// The label of the pods by which k3s' ServiceLB carries packets, which names their Service (k3s
/// `pkg/cloudprovider/servicelb.go`), and where they run.
const SERVICE_LB: &str = "svccontroller.k3s.cattle.io/svcname";
const SERVICE_LB_NAMESPACE: &str = "kube-system";
/// What the version of a kubelet of k3s ends with.
const K3S: &str = "+k3s";

/// A line where k3s' ServiceLB is seen, or may be there.
pub(super) async fn check(cluster: &Cluster, work: &ApplyPlan, nodes: &[Node]) -> Option<CheckLine> {
    let count = work.services_first.balanced.len();
    if count == 0 {
        return None;
    }
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), SERVICE_LB_NAMESPACE);
    let carriers = list_all(&pods, &ListParams::default().labels(SERVICE_LB)).await;
    // Who may see neither is told nothing: its run waits, with what the Service's events say.
    judge(count, nodes, &carriers.unwrap_or_default())
}

fn judge(bonos: usize, nodes: &[Node], carriers: &[Pod]) -> Option<CheckLine> {
    let version = |node: &Node| node.status.as_ref().and_then(|s| Some(s.node_info.as_ref()?.kubelet_version.clone()));
    let k3s = nodes.iter().find(|node| version(node).is_some_and(|v| v.contains(K3S)));
    let (status, who) = match (carriers.first(), k3s) {
        (Some(carrier), _) => {
            (CheckStatus::Failed, format!("k3s' ServiceLB carries Services here (pod {})", carrier.name_any()))
        }
        (None, Some(node)) => {
            let name = node.name_any();
            (
                CheckStatus::Warning,
                format!("node {name} is k3s', whose ServiceLB may give the addresses, if it is not disabled"),
            )
        }
        (None, None) => return None,
    };
    let detail = format!(
        "{who}: it gives a Service an address once a pod of it is ready, and Bono is started once it has the address: each would \
         wait for the other"
    );
    let seen = line(CheckId::LoadBalancer, "addresses from load balancers", status, detail);
    let host = Remedy::from("bono.exposure: hostPort, by which each Bono has its node's address");
    let skip = Remedy::from(Permission::SkipCheck(CheckId::LoadBalancer.name()));
    let fix = if bonos == 1 {
        let address = "bono.addresses: the address of the node that phones reach";
        Remedy::any([host, Remedy::from(address), skip])
    } else {
        Remedy::any([host, skip])
    };
    Some(with_fix(seen, fix))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use serde_json::json;

    use super::*;

    fn node(version: &str) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"nodeInfo": {"kubeletVersion": version,
            "kernelVersion": "", "architecture": "", "bootID": "", "containerRuntimeVersion": "", "kubeProxyVersion": "",
            "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": ""}}}))
        .unwrap()
    }

    #[test]
    fn service_lb_of_k3s_is_found_out() {
        let carrier: Pod =
            serde_json::from_value(json!({"metadata": {"name": "svclb-traefik-x", "labels": {SERVICE_LB: "traefik"}}}))
                .unwrap();
        let (plain, k3s) = (node("v1.34.4"), node("v1.33.5+k3s1"));
        assert_eq!(judge(1, from_ref(&plain), &[]), None);
        let maybe = judge(1, &[plain, k3s.clone()], &[]).unwrap();
        assert_eq!((maybe.id, maybe.status), (CheckId::LoadBalancer, CheckStatus::Warning));
        for bonos in [1, 2] {
            let line = judge(bonos, from_ref(&k3s), from_ref(&carrier)).unwrap();
            assert!(line.status == CheckStatus::Failed && line.detail.contains("svclb-traefik-x"), "{line:?}");
            let fix = line.fix.unwrap().to_string();
            assert!(fix.contains("hostPort") && fix.contains("bono.addresses") == (bonos == 1), "{fix}");
        }
    }

    #[tokio::test]
    async fn it_is_looked_for_where_bono_waits_for_an_address() {
        let (cluster, asked) = crate::fake_api::cluster(|_| None);
        assert_eq!(check(&cluster, &ApplyPlan::default(), &[]).await, None);
        assert!(asked.all().is_empty());
    }
}
