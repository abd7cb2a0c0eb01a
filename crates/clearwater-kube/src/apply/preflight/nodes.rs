//! Whether there are nodes for the pods.

use std::collections::BTreeMap;

use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::{Permission, Remedy};
use k8s_openapi::api::core::v1::{Node, PodSpec, Taint, Toleration};
use kube::ResourceExt;

use super::super::checks::{line, unseen, with_fix};
use super::super::prepare::ApplyPlan;
use super::families;

/// The labels by which a node says what programs it runs.
const MACHINE: [&str; 2] = ["kubernetes.io/arch", "kubernetes.io/os"];
const TITLE: &str = "nodes by selectors and taints";

/// What pods ask of a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wants {
    selector: BTreeMap<String, String>,
    tolerations: Vec<Toleration>,
}

impl Wants {
    pub(crate) fn of(spec: &PodSpec) -> Self {
        Self {
            selector: spec.node_selector.clone().unwrap_or_default(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
        }
    }

    fn labels(&self) -> String {
        self.selector.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
    }

    fn has_labels(&self, node: &Node) -> bool {
        self.selector.iter().all(|(k, v)| node.labels().get(k) == Some(v))
    }

    /// Whether selector and taints let the pods run on the node.
    pub(crate) fn fit(&self, node: &Node) -> bool {
        self.has_labels(node) && self.kept_off(node).is_none()
    }

    /// The first taint that keeps the pods off the node.
    fn kept_off<'n>(&self, node: &'n Node) -> Option<&'n Taint> {
        let taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
        let mut taints = taints.filter(|t| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute"));
        // These say what the node's own conditions do, and pass with them.
        taints.find(|t| !t.key.starts_with("node.kubernetes.io/") && !self.tolerations.iter().any(|x| tolerates(x, t)))
    }
}

/// Whether a taint is tolerated (k8s.io/component-helpers `scheduling/corev1`, `ToleratesTaint`).
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |o: &Option<String>| o.clone().unwrap_or_default();
    let key = text(&toleration.key);
    let exists = toleration.operator.as_deref() == Some("Exists");
    toleration.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == taint.effect)
        && (key == taint.key || key.is_empty() && exists)
        && (exists || text(&toleration.value) == text(&taint.value))
}

/// Whether pods may be put onto a node, once it is ready.
pub(super) fn is_open(node: &Node) -> bool {
    node.spec.as_ref().is_none_or(|s| s.unschedulable != Some(true))
}

/// Whether a node takes pods.
pub(crate) fn is_usable(node: &Node) -> bool {
    is_open(node) && is_ready(node)
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// The components of which pods are made or made anew, by what they ask of a node.
pub(super) fn groups(work: &ApplyPlan) -> Vec<(Wants, Vec<String>)> {
    let mut groups: Vec<(Wants, Vec<String>)> = Vec::new();
    for pods in work.pods() {
        let (wants, name) = (Wants::of(pods.spec), pods.owner.to_owned());
        match groups.iter_mut().find(|(w, _)| *w == wants) {
            Some((_, names)) => names.push(name),
            None => groups.push((wants, vec![name])),
        }
    }
    groups
}

/// Whether no node that takes pods is one for any of these: what room there is then is not the question.
pub(super) fn fit_nowhere(groups: &[(Wants, Vec<String>)], nodes: &[Node]) -> bool {
    !groups.is_empty() && !nodes.iter().filter(|n| is_usable(n)).any(|n| groups.iter().any(|(wants, _)| wants.fit(n)))
}

/// Whether there are nodes that the pods' selectors mean and whose taints they tolerate.
pub(super) fn check(groups: &[(Wants, Vec<String>)], nodes: &Result<Vec<Node>, kube::Error>) -> Vec<CheckLine> {
    match nodes {
        _ if groups.is_empty() => Vec::new(),
        Ok(nodes) => judge(groups, nodes).into_iter().chain(families::judge(nodes)).collect(),
        Err(error) => vec![unseen(CheckId::Nodes, TITLE, "list nodes", error)],
    }
}

fn judge(groups: &[(Wants, Vec<String>)], nodes: &[Node]) -> Vec<CheckLine> {
    let open: Vec<&Node> = nodes.iter().filter(|n| is_open(n)).collect();
    let usable: Vec<&Node> = open.iter().copied().filter(|n| is_ready(n)).collect();
    let mut lines = Vec::new();
    for (wants, components) in groups {
        if usable.iter().any(|n| wants.fit(n)) {
            continue;
        }
        let (wanted, need) = (wants.labels(), format!("which {} need", components.join(", ")));
        if let Some(away) = open.iter().find(|n| wants.fit(n)) {
            // It may come back: the run waits for it.
            let detail = format!("node {} has {wanted}, {need}, and is not ready now", away.name_any());
            let seen = line(CheckId::Nodes, TITLE, CheckStatus::Warning, detail);
            lines.push(with_fix(seen, "see kubectl describe node; the pods wait until it is back"));
            continue;
        }
        let tainted: Vec<String> = open
            .iter()
            .filter(|n| wants.has_labels(n))
            .filter_map(|n| wants.kept_off(n).map(|t| (n, t)))
            .map(|(n, t)| {
                let value = t.value.as_ref().map_or_else(String::new, |v| format!("={v}"));
                format!("{} ({}{value}:{})", n.name_any(), t.key, t.effect)
            })
            .collect();
        let cordoned: Vec<String> =
            nodes.iter().filter(|n| !is_open(n) && wants.fit(n)).map(ResourceExt::name_any).collect();
        let (detail, fix) = if !tainted.is_empty() {
            let fix = "set components.NAME.tolerations, take the taint away, or add a node".to_owned();
            (format!("every node that has {wanted}, {need}, is tainted: {}", tainted.join(", ")), fix)
        } else if !cordoned.is_empty() {
            let fix = format!("kubectl uncordon {}", cordoned.join(" "));
            (format!("every node that has {wanted}, {need}, is cordoned: {}", cordoned.join(", ")), fix)
        } else {
            let lacks_machine = !usable.iter().any(|n| {
                wants.selector.iter().all(|(k, v)| !MACHINE.contains(&k.as_str()) || n.labels().get(k) == Some(v))
            });
            let fix = if lacks_machine {
                "the public images are built for Linux on amd64: add such a node, or set components.NAME.nodeSelector and \
                 images for the nodes there are"
            } else {
                "set components.NAME.nodeSelector to labels that a node has, or give a node these"
            };
            (format!("no ready node has {wanted}, {need}"), fix.to_owned())
        };
        // What brings nodes is not to be seen before a pod waits for one; the run then waits with it.
        let brought = Remedy::sentence([
            "where an autoscaler brings such nodes: ".into(),
            Permission::SkipCheck(CheckId::Nodes.name()).into(),
        ]);
        lines.push(with_fix(
            line(CheckId::Nodes, TITLE, CheckStatus::Failed, detail),
            Remedy::any([fix.into(), brought]),
        ));
    }
    if lines.is_empty() {
        let able = usable.into_iter().filter(|n| groups.iter().any(|(wants, _)| wants.fit(n))).count();
        lines.push(line(
            CheckId::Nodes,
            TITLE,
            CheckStatus::Ok,
            format!("{able} of {} may take the pods, whatever room they have", nodes.len()),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, os: &str, taints: &Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/arch": "amd64", "kubernetes.io/os": os}},
            "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap()
    }

    fn wants(tolerations: Value) -> Vec<(Wants, Vec<String>)> {
        let labels = [("kubernetes.io/arch", "amd64"), ("kubernetes.io/os", "linux")];
        let selector = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        vec![(Wants { selector, tolerations: serde_json::from_value(tolerations).unwrap() }, vec!["sprout".to_owned()])]
    }

    #[test]
    fn why_no_node_fits_is_told_as_it_is() {
        let mut away = node("away", "linux", &json!([]));
        away.spec.as_mut().unwrap().unschedulable = Some(true);
        let windows = node("w", "windows", &json!([]));
        let mut special = wants(json!([]));
        special[0].0.selector.insert("pool".to_owned(), "voice".to_owned());
        let plain = node("n", "linux", &json!([]));
        for (groups, node, detail, fix) in [
            (wants(json!([])), away, "is cordoned: away", "kubectl uncordon away"),
            (
                wants(json!([])),
                windows,
                "no ready node has kubernetes.io/arch=amd64,kubernetes.io/os=linux",
                "built for Linux on amd64",
            ),
            (
                special,
                plain,
                "no ready node has kubernetes.io/arch=amd64,kubernetes.io/os=linux,pool=voice",
                "nodeSelector to labels",
            ),
        ] {
            let [line] = &judge(&groups, &[node])[..] else { panic!("one line") };
            let said = line.fix.as_ref().map(ToString::to_string).unwrap_or_default();
            assert!(line.detail.contains(detail) && said.contains(fix), "{line:?}");
            assert!(said.contains("autoscaler") && line.status == CheckStatus::Failed, "{said}");
        }
    }

    #[test]
    fn tainted_nodes_and_windows_are_not_counted() {
        let control =
            node("a", "linux", &json!([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]));
        let gpu = node("b", "linux", &json!([{"key": "team", "value": "gpu", "effect": "NoExecute"}]));
        let windows = node("c", "windows", &json!([]));
        let soft = node(
            "d",
            "linux",
            &json!([{"key": "x", "effect": "PreferNoSchedule"},
            {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]),
        );
        let three = [control, gpu, windows];
        let [refused] = &judge(&wants(json!([])), &three)[..] else { panic!("one line") };
        assert_eq!(refused.status, CheckStatus::Failed);
        let named = ["a (node-role.kubernetes.io/control-plane:NoSchedule)", "b (team=gpu:NoExecute)"];
        assert!(
            fit_nowhere(&wants(json!([])), &three) && !fit_nowhere(&wants(json!([{"operator": "Exists"}])), &three)
        );
        assert!(named.iter().all(|n| refused.detail.contains(n)) && !refused.detail.contains("c ("), "{refused:?}");
        for (tolerations, count) in [
            (json!([{"key": "team", "value": "gpu"}]), 1),
            (json!([{"key": "team", "operator": "Exists", "effect": "NoExecute"}]), 1),
            (json!([{"operator": "Exists"}]), 2),
        ] {
            let lines = judge(&wants(tolerations.clone()), &three);
            assert_eq!(
                lines[0].detail,
                format!("{count} of 3 may take the pods, whatever room they have"),
                "{tolerations}"
            );
        }
        for tolerations in [
            json!([{"key": "team", "value": "cpu"}]),
            json!([{"key": "team", "operator": "Exists", "effect": "NoSchedule"}]),
        ] {
            assert_eq!(judge(&wants(tolerations), &three)[0].status, CheckStatus::Failed);
        }
        assert_eq!(judge(&wants(json!([])), &[soft])[0].detail, "1 of 1 may take the pods, whatever room they have");
        assert_eq!(judge(&wants(json!([{"operator": "Exists"}])), &three[2..])[0].status, CheckStatus::Failed);
    }
}
