//! What is looked at before the first step: one line each, with its fix.

use std::collections::{BTreeMap, BTreeSet};

use clearwater::component::Component;
use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::manifest::{WorkloadKind, held};
use clearwater::remedy::Remedy;
use clearwater::scale::Autoscaler;
use k8s_openapi::api::apps::v1::StatefulSetSpec;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec};
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Node, Pod, PodSpec, PodTemplateSpec, Volume};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, ResourceExt};

use super::target::ScaleTarget;
use crate::apply::ApplyError;
use crate::apply::checks::{line, unseen, with_fix};
use crate::apply::preflight::{admission, quota};
use crate::cluster::{Cluster, list_all};
use crate::observe::Workload;
use crate::observe::snapshot::Snapshot;
use crate::observe::subject::WorkloadView;
use crate::rights::{self, Right, Task};

/// What grows, with by how many pods.
pub(super) struct Growth {
    component: Component,
    more: u32,
    template: PodTemplateSpec,
    claims: Vec<String>,
}

/// What will grow, workload by workload.
pub(super) fn growth(snapshot: &Snapshot, targets: &[ScaleTarget]) -> Vec<Growth> {
    let mut all = Vec::new();
    for target in targets {
        for workload in &target.subject.workloads {
            let Some(live) = snapshot.workload(workload) else { continue };
            let more = target.to.saturating_sub(live.replicas);
            let Some(template) = live.template.filter(|_| more > 0) else { continue };
            let set = snapshot.stateful_sets.get(&workload.name).filter(|_| workload.kind == WorkloadKind::StatefulSet);
            let claims = set.and_then(|s| held::<StatefulSetSpec>(&s.spec)?.volume_claim_templates.as_ref());
            all.push(Growth {
                component: target.component(),
                more,
                template: template.clone(),
                claims: claims.into_iter().flatten().map(ResourceExt::name_any).collect(),
            });
        }
    }
    all
}

/// Looks at everything that depends on others, and yields a line for each. An error is that of an API server which does not
/// know who asks.
pub(super) async fn check(
    cluster: &Cluster,
    targets: &[ScaleTarget],
    growth: &[Growth],
    changes: bool,
) -> Result<Vec<CheckLine>, ApplyError> {
    let mut wanted: BTreeMap<String, f64> = BTreeMap::new();
    for one in growth {
        for (name, n) in one.template.spec.as_ref().map(quota::demand).unwrap_or_default() {
            *wanted.entry(name).or_default() += n * f64::from(one.more);
        }
    }
    let samples = growth.iter().map(|g| (g.component.name().to_owned(), sample(g))).collect();
    let quota_fix = Remedy::any(["raise the quota", "scale something else down first"]);
    let writes = writes(targets, changes);
    let (rights, admission, quotas, nodes) = futures::join!(
        rights::check(cluster, &[Task::Scale], &writes),
        admission::ask(cluster, samples),
        quota::against(cluster, &wanted, &quota_fix),
        room(cluster, growth),
    );
    let mut lines = rights;
    lines.extend(admission?);
    if !growth.is_empty() {
        lines.extend(quotas);
    }
    lines.extend(nodes);
    Ok(lines)
}

fn sample(growth: &Growth) -> Pod {
    let meta = growth.template.metadata.clone().unwrap_or_default();
    let mut spec = growth.template.spec.clone().unwrap_or_default();
    spec.volumes.get_or_insert_default().extend(growth.claims.iter().map(|name| Volume {
        name: name.clone(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }));
    let metadata = ObjectMeta {
        name: Some(format!("{}-scale-check", growth.component)),
        labels: meta.labels,
        annotations: meta.annotations,
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: Some(spec), ..Pod::default() }
}

/// What scaling these takes beyond looking.
fn writes(targets: &[ScaleTarget], changes: bool) -> BTreeSet<Right> {
    let mut writes = BTreeSet::new();
    for workload in targets.iter().flat_map(|t| &t.subject.workloads).filter(|_| changes) {
        let resource = match workload.kind {
            WorkloadKind::Deployment => "deployments/scale",
            WorkloadKind::StatefulSet => "statefulsets/scale",
        };
        writes.extend(["get", "patch"].map(|verb| Right::new(verb, "apps", resource)));
    }
    if targets.iter().any(|t| t.subject.entry.clustering.is_some()) {
        writes.insert(Right::new("get", "", "pods/portforward"));
    }
    writes
}

/// The autoscaler that owns one of a component's workloads.
pub(super) async fn autoscalers(cluster: &Cluster) -> Result<Vec<HorizontalPodAutoscaler>, CheckLine> {
    let api: Api<HorizontalPodAutoscaler> = cluster.api();
    list_all(&api, &ListParams::default()).await.map_err(|error| {
        unseen(
            CheckId::Autoscaler,
            "autoscalers of the same workloads",
            "list horizontalpodautoscalers.autoscaling",
            &error,
        )
    })
}

/// The autoscaler that owns one of these workloads.
pub(super) fn owner(autoscalers: &[HorizontalPodAutoscaler], workloads: &[Workload]) -> Option<Autoscaler> {
    let found = autoscalers.iter().find(|a| {
        let target = held::<HorizontalPodAutoscalerSpec>(&a.spec).map(|s| &s.scale_target_ref);
        target.is_some_and(|t| workloads.iter().any(|w| w.kind.name() == t.kind && w.name == t.name))
    })?;
    let spec = held::<HorizontalPodAutoscalerSpec>(&found.spec)?;
    let count = |n: i32| u32::try_from(n).unwrap_or(0);
    Some(Autoscaler { name: found.name_any(), min: spec.min_replicas.map_or(1, count), max: count(spec.max_replicas) })
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(k, v)| labels.get(k) == Some(v));
    let fits = selector.match_expressions.iter().flatten().all(|e| {
        let value = labels.get(&e.key);
        let listed = || value.is_some_and(|v| e.values.iter().flatten().any(|w| w == v));
        match e.operator.as_str() {
            "In" => listed(),
            "NotIn" => !listed(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    equal && fits
}

/// Budgets that want more members to stay than there will be: every drain of a node would wait for ever.
pub(super) async fn budgets(cluster: &Cluster, snapshot: &Snapshot, targets: &[ScaleTarget]) -> Vec<CheckLine> {
    let title = "disruption budgets that still fit";
    let shrinking: Vec<(&ScaleTarget, WorkloadView<'_>)> = targets
        .iter()
        .flat_map(|t| t.subject.workloads.iter().filter_map(move |w| Some((t, snapshot.workload(w)?))))
        .filter(|(target, live)| target.to < live.replicas)
        .collect();
    if shrinking.is_empty() {
        return Vec::new();
    }
    let budgets = match list_all(&cluster.api::<PodDisruptionBudget>(), &ListParams::default()).await {
        Ok(budgets) => budgets,
        Err(error) => return vec![unseen(CheckId::Budget, title, "list poddisruptionbudgets.policy", &error)],
    };
    let mut lines = Vec::new();
    for (target, live) in shrinking {
        let labels = live.template.and_then(|t| t.metadata.as_ref()?.labels.clone()).unwrap_or_default();
        for budget in &budgets {
            let Some(spec) = &budget.spec else { continue };
            let ours = spec.selector.as_ref().is_some_and(|s| selects(s, &labels));
            let Some(IntOrString::Int(least)) = &spec.min_available else { continue };
            let pods = u32::try_from(target.wanted_pods()).unwrap_or(u32::MAX);
            if ours && u32::try_from(*least).is_ok_and(|n| n > pods) {
                let name = budget.name_any();
                let detail =
                    format!("{name} wants at least {least} pods of {} to stay, and {pods} would", target.name());
                let seen = line(CheckId::Budget, title, CheckStatus::Refused, detail);
                let fix = Remedy::any([
                    format!(
                        "kubectl patch poddisruptionbudget {name} -n {} --type merge -p \
                         '{{\"spec\":{{\"minAvailable\":{}}}}}'",
                        cluster.namespace,
                        pods.saturating_sub(1)
                    ),
                    format!("scale to {least} or more"),
                ]);
                lines.push(with_fix(seen, fix));
            }
        }
    }
    if lines.is_empty() {
        lines.push(line(CheckId::Budget, title, CheckStatus::Ok, ""));
    }
    lines
}

/// What a node has left.
#[derive(Clone, Debug, PartialEq)]
struct Left {
    node: String,
    cpu: f64,
    memory: f64,
    pods: f64,
}

/// What the containers of a pod request.
fn request(spec: &PodSpec, of: &str) -> f64 {
    let sum = |containers: &mut dyn Iterator<Item = &k8s_openapi::api::core::v1::Container>| -> f64 {
        containers
            .filter_map(|c| clearwater::quantity::parse(&c.resources.as_ref()?.requests.as_ref()?.get(of)?.0))
            .sum()
    };
    sum(&mut spec.containers.iter())
}

/// Whether a pod of this template may run on the node at all, whatever room there is.
fn may_run(spec: &PodSpec, node: &Node) -> bool {
    let node_spec = node.spec.as_ref();
    if node_spec.is_some_and(|s| s.unschedulable == Some(true)) {
        return false;
    }
    let mut conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    if !conditions.any(|c| c.type_ == "Ready" && c.status == "True") {
        return false;
    }
    let tolerated = |taint: &k8s_openapi::api::core::v1::Taint| {
        spec.tolerations.iter().flatten().any(|t| {
            let key = t.key.as_ref().is_none_or(|k| *k == taint.key);
            let value = t.operator.as_deref() == Some("Exists") || t.value == taint.value;
            let effect = t.effect.as_ref().is_none_or(|e| *e == taint.effect);
            key && value && effect
        })
    };
    let taints = node_spec.and_then(|s| s.taints.as_ref());
    if !taints.into_iter().flatten().filter(|t| t.effect != "PreferNoSchedule").all(tolerated) {
        return false;
    }
    let labels = node.labels();
    spec.node_selector.iter().flatten().all(|(k, v)| labels.get(k) == Some(v))
}

/// Puts the pods onto nodes one by one, as the scheduler would by requests alone. Yields what does not fit, by how many.
fn place(growth: &[Growth], nodes: &[Node], left: &mut [Left]) -> Vec<(Component, u32, u32)> {
    let mut without = Vec::new();
    for one in growth {
        let Some(spec) = &one.template.spec else { continue };
        let (cpu, memory) = (request(spec, "cpu"), request(spec, "memory"));
        let mut missing = 0;
        for placed in 0..one.more {
            let place = left
                .iter_mut()
                .zip(nodes)
                .filter(|(l, n)| may_run(spec, n) && l.cpu >= cpu - 1e-9 && l.memory >= memory && l.pods >= 1.0)
                .max_by(|(a, _), (b, _)| a.cpu.total_cmp(&b.cpu));
            let Some((l, _)) = place else {
                // Room only becomes less.
                missing = one.more - placed;
                break;
            };
            l.cpu -= cpu;
            l.memory -= memory;
            l.pods -= 1.0;
        }
        if missing > 0 {
            without.push((one.component, missing, one.more));
        }
    }
    without
}

/// Whether nodes have room for the new pods' requests.
async fn room(cluster: &Cluster, growth: &[Growth]) -> Vec<CheckLine> {
    let title = "room on the nodes";
    if growth.is_empty() {
        return Vec::new();
    }
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let pods: Api<Pod> = Api::all(cluster.client.clone());
    let all = ListParams::default();
    let (nodes, pods) = futures::join!(list_all(&nodes, &all), list_all(&pods, &all));
    let (nodes, pods) = match (nodes, pods) {
        (Ok(nodes), Ok(pods)) => (nodes, pods),
        (Err(error), _) | (_, Err(error)) => {
            return vec![unseen(CheckId::Nodes, title, "list nodes, and list pods in all namespaces", &error)];
        }
    };
    let mut left: Vec<Left> = nodes.iter().map(|n| left_on(n, &pods)).collect();
    let lines: Vec<CheckLine> = place(growth, &nodes, &mut left)
        .into_iter()
        .map(|(component, missing, of)| {
            let detail =
                format!("{missing} of {of} new pods of {component} find no node that they may run on with room left");
            let seen = line(CheckId::Nodes, title, CheckStatus::Failed, detail);
            with_fix(
                seen,
                format!(
                    "add a node, make room, or lower components.{component}.resources in the deployment file (kubectl \
                     describe nodes shows what is taken)"
                ),
            )
        })
        .collect();
    if lines.is_empty() { vec![line(CheckId::Nodes, title, CheckStatus::Ok, "")] } else { lines }
}

fn left_on(node: &Node, pods: &[Pod]) -> Left {
    let name = node.name_any();
    let has = |what: &str| {
        let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref()?.get(what));
        allocatable.and_then(|q| clearwater::quantity::parse(&q.0)).unwrap_or(f64::MAX)
    };
    let mut left = Left { cpu: has("cpu"), memory: has("memory"), pods: has("pods"), node: name };
    for pod in pods {
        let ended = matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
        let Some(spec) = pod.spec.as_ref().filter(|s| s.node_name.as_ref() == Some(&left.node) && !ended) else {
            continue;
        };
        left.cpu -= request(spec, "cpu");
        left.memory -= request(spec, "memory");
        left.pods -= 1.0;
    }
    left
}

/// How many nodes can run a pod of this template.
pub(super) async fn nodes_for(cluster: &Cluster, spec: &PodSpec) -> Option<u32> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let nodes = list_all(&nodes, &ListParams::default()).await.ok()?;
    u32::try_from(nodes.iter().filter(|n| may_run(spec, n)).count()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
    fn node(name: &str, spec: Value, cpu: &str) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": {"zone": name}}, "spec": spec, "status": {
            "allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "10"},
            "conditions": [{"type": "Ready", "status": "True"}]}}))
        .unwrap()
    }

    fn grows(more: u32, spec: &Value) -> Growth {
        let template: PodTemplateSpec = serde_json::from_value(json!({"spec": spec})).unwrap();
        Growth { component: Component::Sprout, more, template, claims: Vec::new() }
    }

    #[test]
    fn pods_are_placed_by_what_they_request() {
        let nodes = [node("a", json!({}), "1"), node("b", json!({"unschedulable": true}), "8")];
        let running: Pod = serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": {"nodeName": "a",
            "containers": [{"name": "x", "resources": {"requests": {"cpu": "500m"}}}]}}))
        .unwrap();
        let spec = json!({"containers": [{"name": "sprout", "resources": {"requests": {"cpu": "250m"}}}]});
        let left = || nodes.iter().map(|n| left_on(n, std::slice::from_ref(&running))).collect::<Vec<_>>();
        assert_eq!(place(&[grows(2, &spec)], &nodes, &mut left()), []);
        assert_eq!(place(&[grows(3, &spec)], &nodes, &mut left()), [(Component::Sprout, 1, 3)]);
        // Counted at once, however many there are.
        let most = u32::MAX;
        assert_eq!(place(&[grows(most, &spec)], &nodes, &mut left()), [(Component::Sprout, most - 2, most)]);
        let elsewhere = json!({"nodeSelector": {"zone": "c"}, "containers": []});
        assert_eq!(place(&[grows(1, &elsewhere)], &nodes, &mut left()), [(Component::Sprout, 1, 1)]);
    }

    #[test]
    fn taints_are_minded() {
        let tainted = node("a", json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}), "1");
        let spec = |tolerations: Value| -> PodSpec {
            serde_json::from_value(json!({"containers": [], "tolerations": tolerations})).unwrap()
        };
        assert!(!may_run(&spec(json!([])), &tainted));
        assert!(may_run(&spec(json!([{"operator": "Exists"}])), &tainted));
        assert!(may_run(&spec(json!([{"key": "k", "value": "v"}])), &tainted));
        assert!(!may_run(&spec(json!([{"key": "k", "value": "w"}])), &tainted));
    }

    #[test]
    fn the_owner_is_found_by_kind_and_name() {
        let hpa: HorizontalPodAutoscaler = serde_json::from_value(json!({"metadata": {"name": "mine"}, "spec": {
            "maxReplicas": 6, "scaleTargetRef": {"kind": "Deployment", "name": "sprout"}}}))
        .unwrap();
        let workload = |kind, name: &str| [Workload { kind, name: name.to_owned() }];
        let found = owner(std::slice::from_ref(&hpa), &workload(WorkloadKind::Deployment, "sprout"));
        assert_eq!(found, Some(Autoscaler { name: "mine".to_owned(), min: 1, max: 6 }));
        assert_eq!(owner(&[hpa], &workload(WorkloadKind::StatefulSet, "sprout")), None);
    }

    #[test]
    fn selectors_are_read_as_kubernetes_reads_them() {
        let labels = BTreeMap::from([("service".to_owned(), "sprout".to_owned())]);
        let fits = |selector: Value| selects(&serde_json::from_value(selector).unwrap(), &labels);
        assert!(fits(json!({})) && fits(json!({"matchLabels": {"service": "sprout"}})));
        assert!(!fits(json!({"matchLabels": {"service": "bono"}})));
        let expression = |operator: &str| json!({"matchExpressions": [{"key": "service", "operator": operator, "values": ["bono", "sprout"]}]});
        assert!(fits(expression("In")) && !fits(expression("NotIn")));
        assert!(fits(expression("Exists")) && !fits(expression("DoesNotExist")));
    }
}
