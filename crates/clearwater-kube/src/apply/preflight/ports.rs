//! Whether the API server gives the node ports that Services name. A dry run does not tell: it looks whether a port is taken, and
//! not whether it lies in the range (kubernetes `pkg/registry/core/service/portallocator/operation.go`).

use std::collections::BTreeSet;

use clearwater::component::Component;
use clearwater::config::{Deployment, PortRange};
use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::manifest::{ItemOwner, ManifestError, Object};
use clearwater::remedy::{Remedied, Remedy};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::super::checks::{line, with_fix};
use super::super::prepare::{ApplyPlan, LiveState};
use crate::cluster::{Cluster, list_all};

const TITLE: &str = "node ports that the API server gives";
const FLAG: &str = "service-node-port-range";
/// The annotations in which these distributions say how a node was started: `["server", "--flag", "value"]`.
const NODE_ARGS: [&str; 2] = ["k3s.io/node-args", "rke2.io/node-args"];
/// How labels of nodes begin on clouds that keep the API server to themselves, and to the usual range.
const MANAGED: [&str; 3] = ["eks.amazonaws.com/", "cloud.google.com/gke-", "kubernetes.azure.com/"];

/// The node ports of a component that are asked for, beyond those that its Services have.
pub(super) type Ports = BTreeSet<(Component, u16)>;

fn node_ports(service: &Service) -> impl Iterator<Item = u16> {
    let ports = service.spec.iter().flat_map(|s| s.ports.iter().flatten());
    ports.filter_map(|p| u16::try_from(p.node_port?).ok()).filter(|port| *port > 0)
}

/// The node ports that are to be had.
pub(super) fn to_get(work: &ApplyPlan, standing: &LiveState) -> Ports {
    let asked = work.all().filter(|p| p.operation != Operation::Keep).flat_map(|planned| {
        let (Object::Service(service), ItemOwner::Component(component)) = (&planned.item.object, planned.item.owner)
        else {
            return Vec::new();
        };
        let had: BTreeSet<u16> = standing.services.get(&service.name_any()).into_iter().flat_map(node_ports).collect();
        node_ports(service).filter(|port| !had.contains(port)).map(|port| (component, port)).collect()
    });
    asked.collect()
}

/// The range that a program's arguments name: Kubernetes' own where they name none, and `None` where it cannot be read.
fn named<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Option<PortRange> {
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some((_, rest)) = argument.split_once(FLAG) else { continue };
        return match rest.strip_prefix('=') {
            Some(range) => range.parse().ok(),
            None => arguments.next()?.parse().ok(),
        };
    }
    Some(PortRange::DEFAULT)
}

/// The range, where those who know it agree: the API servers' own pods, the nodes of k3s and RKE2, clouds.
fn range(servers: &[Pod], nodes: &[Node]) -> Option<PortRange> {
    let of_pod = |pod: &Pod| {
        let container = pod.spec.as_ref()?.containers.iter().find(|c| c.name == "kube-apiserver")?;
        named(container.command.iter().chain(&container.args).flatten().map(String::as_str))
    };
    let of_node = |node: &Node| {
        let text = NODE_ARGS.iter().find_map(|key| node.annotations().get(*key))?;
        let arguments: Vec<String> = serde_json::from_str(text).ok()?;
        (arguments.first()? == "server").then(|| named(arguments.iter().map(String::as_str)))
    };
    let is_managed = |node: &Node| node.labels().keys().any(|key| MANAGED.iter().any(|begin| key.starts_with(begin)));
    let clouds = nodes.iter().any(is_managed).then_some(Some(PortRange::DEFAULT));
    let mut all = servers.iter().map(of_pod).chain(nodes.iter().filter_map(of_node)).chain(clouds);
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

/// What there is to say of the ports, given the range that is seen, and that which the file names.
fn judge(ports: &Ports, seen: Option<PortRange>, written: Option<PortRange>) -> Option<CheckLine> {
    let range = seen.or(written).unwrap_or(PortRange::DEFAULT);
    let outside: Vec<(Component, u16)> = ports.iter().copied().filter(|(_, port)| !range.contains(*port)).collect();
    let fixed = outside.iter().any(|(component, _)| *component == Component::Bono);
    let numbers: BTreeSet<u16> = outside.iter().map(|(_, port)| *port).collect();
    if numbers.is_empty() {
        let whose = if seen.is_some() { "" } else { ", as far as is known" };
        return (!ports.is_empty())
            .then(|| line(CheckId::Objects, TITLE, CheckStatus::Ok, format!("all lie in {range}{whose}")));
    }
    let error = ManifestError::NodePorts { outside: numbers.into_iter().collect(), range, fixed };
    if seen.is_some() {
        let failed = line(CheckId::Objects, TITLE, CheckStatus::Failed, error.to_string());
        return Some(CheckLine { fix: error.remedy(), ..failed });
    }
    let listed: Vec<String> = outside.iter().map(|(_, port)| port.to_string()).collect();
    let detail = format!(
        "{} lie outside {range}, which API servers give unless they are told another range; which one this gives could not be \
         seen, and it says so only when they are written",
        listed.join(", ")
    );
    let fix = Remedy::any(
        error.remedy().into_iter().chain(["where it gives them, write its range as bono.nodePortRange".into()]),
    );
    Some(with_fix(line(CheckId::Objects, TITLE, CheckStatus::Warning, detail), fix))
}

/// Whether the API server gives these ports.
pub(super) async fn check(
    cluster: &Cluster,
    deployment: &Deployment,
    ports: &Ports,
    nodes: &[Node],
) -> Option<CheckLine> {
    if ports.is_empty() {
        return None;
    }
    let servers: Api<Pod> = Api::namespaced(cluster.client.clone(), "kube-system");
    let servers = list_all(&servers, &ListParams::default().labels("component=kube-apiserver")).await;
    let written = deployment.file().bono.node_port_range.as_deref().and_then(|text| text.parse().ok());
    judge(ports, range(servers.as_deref().unwrap_or_default(), nodes), written)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const WIDE: PortRange = PortRange { first: 3000, last: 32767 };

    fn server(arguments: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "kube-apiserver-a"},
            "spec": {"containers": [{"name": "kube-apiserver", "command": arguments}]}}))
        .unwrap()
    }

    fn node(labels: &Value, arguments: &Value) -> Node {
        let annotations =
            if arguments.is_null() { json!({}) } else { json!({"k3s.io/node-args": arguments.to_string()}) };
        serde_json::from_value(json!({"metadata": {"name": "a", "labels": labels, "annotations": annotations}}))
            .unwrap()
    }

    #[test]
    fn the_range_is_what_those_say_who_know_it() {
        let usual = server(&json!(["kube-apiserver", "--v=2"]));
        let wide = server(&json!(["kube-apiserver", "--service-node-port-range=3000-32767"]));
        let apart = server(&json!(["kube-apiserver", "--service-node-port-range", "3000-32767"]));
        let odd = server(&json!(["kube-apiserver", "--service-node-port-range=many"]));
        let none = json!({});
        let bare = node(&none, &Value::Null);
        let k3s = node(&none, &json!(["server", "--service-node-port-range", "3000-32767"]));
        let by_argument = node(&none, &json!(["server", "--kube-apiserver-arg", "service-node-port-range=3000-32767"]));
        let agent = node(&none, &json!(["agent"]));
        let plain = node(&none, &json!(["server"]));
        let eks = node(&json!({"eks.amazonaws.com/nodegroup": "a"}), &Value::Null);
        for (servers, nodes, expected) in [
            (vec![], vec![bare.clone()], None),
            (vec![usual.clone()], vec![bare.clone()], Some(PortRange::DEFAULT)),
            (vec![wide.clone(), apart], vec![bare.clone()], Some(WIDE)),
            (vec![wide.clone(), usual], vec![], None),
            (vec![odd, wide], vec![], None),
            (vec![], vec![k3s.clone(), agent.clone()], Some(WIDE)),
            (vec![], vec![by_argument], Some(WIDE)),
            (vec![], vec![plain.clone(), agent.clone()], Some(PortRange::DEFAULT)),
            (vec![], vec![plain, k3s], None),
            (vec![], vec![agent], None),
            (vec![], vec![bare, eks], Some(PortRange::DEFAULT)),
        ] {
            assert_eq!(range(&servers, &nodes), expected, "{servers:?} {nodes:?}");
        }
    }

    #[test]
    fn ports_that_are_not_given_are_found_before_they_are_written() {
        let ports = |all: &[(Component, u16)]| all.iter().copied().collect::<Ports>();
        let bono = ports(&[(Component::Bono, 5060), (Component::Bono, 30002)]);
        let ellis = ports(&[(Component::Ellis, 30080)]);
        let status = |ports, seen, written| judge(ports, seen, written).map(|l| l.status);
        let usual = Some(PortRange::DEFAULT);
        assert_eq!(status(&bono, usual, None), Some(CheckStatus::Failed));
        assert_eq!(status(&bono, usual, Some(WIDE)), Some(CheckStatus::Failed), "what is seen is right");
        assert_eq!(status(&bono, Some(WIDE), None), Some(CheckStatus::Ok));
        assert_eq!(status(&bono, None, Some(WIDE)), Some(CheckStatus::Ok), "the file knows it");
        assert_eq!(status(&bono, None, None), Some(CheckStatus::Warning), "it may be refused, and is not for sure");
        assert_eq!(status(&ellis, usual, None), Some(CheckStatus::Ok));
        assert_eq!(judge(&Ports::new(), None, None), None);
        let said = judge(&bono, usual, None).unwrap();
        assert_eq!(said.detail, "the node ports 5060 lie outside the cluster's range 30000-32767");
        assert!(said.fix.unwrap().to_string().contains("--service-node-port-range=3000-32767"));
    }
}
