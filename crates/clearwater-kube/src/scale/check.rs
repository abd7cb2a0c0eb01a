//! What is looked at before the first step: one line each, with its fix.

use std::collections::{BTreeMap, BTreeSet};

use clearwater::component::Component;
use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::manifest::{WorkloadKind, held};
use clearwater::remedy::Remedy;
use k8s_openapi::api::apps::v1::StatefulSetSpec;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Node, Pod, PodTemplateSpec, Volume};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::api::{ListParams, ObjectMeta};

use super::target::ScaleTarget;
use crate::apply::ApplyError;
use crate::apply::checks::{line, unseen, with_fix};
use crate::apply::preflight::room::{self, Unplaced, Wanted};
use crate::apply::preflight::{admission, quota};
use crate::cluster::{Cluster, list_all};
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
    let wanted = |defaults: &quota::Defaults| {
        let mut wanted: BTreeMap<String, f64> = BTreeMap::new();
        for (one, spec) in growth.iter().filter_map(|one| Some((one, one.template.spec.as_ref()?))) {
            for (name, n) in quota::demand(spec, defaults) {
                *wanted.entry(name).or_default() += n * f64::from(one.more);
            }
        }
        wanted
    };
    let samples = growth.iter().map(|g| (g.component.name().to_owned(), sample(g))).collect();
    let quota_fix = Remedy::any(["raise the quota", "scale something else down first"]);
    let writes = writes(targets, changes);
    let (rights, admission, quotas, room) = futures::join!(
        rights::check(cluster, &[Task::Scale], &writes),
        admission::ask(cluster, samples),
        quota::against(cluster, wanted, |_| quota_fix.clone()),
        nodes(cluster, growth),
    );
    let mut lines = rights;
    lines.extend(admission?);
    if !growth.is_empty() {
        lines.extend(quotas);
    }
    lines.extend(room);
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

/// Whether nodes have room for the new pods' requests.
async fn nodes(cluster: &Cluster, growth: &[Growth]) -> Vec<CheckLine> {
    let title = "room on the nodes";
    if growth.is_empty() {
        return Vec::new();
    }
    let (nodes, pods) = match room::seen(cluster, title).await {
        Ok(seen) => seen,
        Err(line) => return vec![line],
    };
    let wanted: Vec<Wanted> = growth
        .iter()
        .filter_map(|one| {
            let spec = one.template.spec.clone()?;
            Some(Wanted { component: one.component.name().to_owned(), spec, count: one.more })
        })
        .collect();
    room_for(&wanted, &nodes, &pods, title)
}

/// Whether these nodes have room. Where some may come of which nothing is seen, what finds none is no reason to change nothing.
fn room_for(wanted: &[Wanted], nodes: &[Node], pods: &[Pod], title: &str) -> Vec<CheckLine> {
    let hope = room::hope(wanted, nodes, pods);
    let status = if hope.is_some() { CheckStatus::Warning } else { CheckStatus::Failed };
    let hope = hope.map_or_else(String::new, |hope| format!("; {hope}"));
    let lines: Vec<CheckLine> = room::place(wanted, &mut room::left(nodes, pods))
        .into_iter()
        .map(|Unplaced { component, count, of }| {
            let detail = format!(
                "{count} of {of} new pods of {component} find no node that they may run on with room left{hope}"
            );
            let seen = line(CheckId::Nodes, title, status, detail);
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn nothing_is_refused_for_room_that_an_autoscaler_may_bring() {
        let spec = json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": "2"}}}]});
        let wanted = [Wanted { component: "sprout".to_owned(), spec: serde_json::from_value(spec).unwrap(), count: 1 }];
        for (provider, status) in [(Value::Null, CheckStatus::Failed), (json!("gce://p/z/a"), CheckStatus::Warning)] {
            let node: Node =
                serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {"providerID": provider},
                "status": {"conditions": [{"type": "Ready", "status": "True"}],
                    "allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"}}}))
                .unwrap();
            let lines = room_for(&wanted, &[node], &[], "room");
            assert_eq!(lines[0].status, status, "{lines:?}");
        }
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
