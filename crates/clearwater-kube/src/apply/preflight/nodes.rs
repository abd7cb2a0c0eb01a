//! Whether there are nodes for the pods.

use std::collections::BTreeMap;

use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::super::checks::{line, unseen, with_fix};
use super::super::prepare::ApplyPlan;
use crate::cluster::Cluster;

/// Whether there are nodes for the pods' node selectors.
pub(super) async fn check(cluster: &Cluster, work: &ApplyPlan) -> Vec<CheckLine> {
    let title = "nodes that fit";
    let mut selectors: BTreeMap<BTreeMap<String, String>, Vec<String>> = BTreeMap::new();
    for planned in work.all().filter(|p| p.operation != Operation::Keep) {
        if let Some(spec) = planned.item.object.pod_template().and_then(|t| t.spec.as_ref()) {
            let selector = spec.node_selector.clone().unwrap_or_default();
            selectors.entry(selector).or_default().push(planned.item.owner.name().to_owned());
        }
    }
    if selectors.is_empty() {
        return Vec::new();
    }
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let nodes = match nodes.list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) => return vec![unseen(CheckId::Nodes, title, "list nodes", &error)],
    };
    let ready = |n: &&Node| {
        let conditions = n.status.iter().flat_map(|s| s.conditions.iter().flatten());
        conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
    };
    let open: Vec<&Node> =
        nodes.iter().filter(|n| n.spec.as_ref().is_none_or(|s| s.unschedulable != Some(true))).collect();
    let usable: Vec<&Node> = open.iter().copied().filter(ready).collect();
    let mut lines = Vec::new();
    for (selector, components) in selectors {
        let has = |n: &&&Node| selector.iter().all(|(k, v)| n.labels().get(k) == Some(v));
        if !usable.iter().any(|n| has(&n)) {
            let wanted: Vec<String> = selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let wanted = wanted.join(",");
            let need = format!("which {} need", components.join(", "));
            if let Some(away) = open.iter().find(has) {
                // It may come back: the run waits for it.
                let detail = format!("node {} has {wanted}, {need}, and is not ready now", away.name_any());
                let seen = line(CheckId::Nodes, title, CheckStatus::Warning, detail);
                lines.push(with_fix(seen, "see kubectl describe node; the pods wait until it is back"));
                continue;
            }
            let detail = format!("no ready node has {wanted}, {need}");
            let seen = line(CheckId::Nodes, title, CheckStatus::Failed, detail);
            lines.push(with_fix(
                seen,
                "the public images are built for amd64: add such a node, or set components.NAME.nodeSelector and images for \
                 the nodes there are",
            ));
        }
    }
    if lines.is_empty() {
        lines.push(line(
            CheckId::Nodes,
            title,
            CheckStatus::Ok,
            format!("{} of {} can take pods", usable.len(), nodes.len()),
        ));
    }
    lines
}
