//! Who says how many pods there are: the file when a workload is made, and `scale` or an autoscaler from then on.

use clearwater::component::Component;
use clearwater::config::{BonoExposure, Deployment};
use clearwater::event::{CheckId, CheckLine};
use clearwater::manifest::held;
use clearwater::remedy::{Advice, Remedied as _, Remedy};
use clearwater::scale::{Autoscaler, Reach, Refusal, Situation};
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec};
use kube::ResourceExt;
use kube::api::ListParams;

use super::super::checks::unseen;
use super::super::prepare::{LiveState, Scope};
use super::room;
use crate::cluster::{Cluster, list_all};
use crate::observe::{Subject, Workload};

/// The autoscalers of the namespace; an error is the line that says why they could not be seen.
pub(crate) async fn autoscalers(cluster: &Cluster) -> Result<Vec<HorizontalPodAutoscaler>, CheckLine> {
    list_all(&cluster.api(), &ListParams::default()).await.map_err(|error| {
        unseen(
            CheckId::Autoscaler,
            "autoscalers of the same workloads",
            "list horizontalpodautoscalers.autoscaling",
            &error,
        )
    })
}

/// The autoscaler that owns one of these workloads.
pub(crate) fn owner(autoscalers: &[HorizontalPodAutoscaler], workloads: &[Workload]) -> Option<Autoscaler> {
    let found = autoscalers.iter().find(|a| {
        let target = held::<HorizontalPodAutoscalerSpec>(&a.spec).map(|s| &s.scale_target_ref);
        target.is_some_and(|t| workloads.iter().any(|w| w.kind.name() == t.kind && w.name == t.name))
    })?;
    let spec = held::<HorizontalPodAutoscalerSpec>(&found.spec)?;
    let count = |n: i32| u32::try_from(n).unwrap_or(0);
    Some(Autoscaler { name: found.name_any(), min: spec.min_replicas.map_or(1, count), max: count(spec.max_replicas) })
}

/// What is told of a count that the file sets and that is not the one that stands: that it is left alone, and how it becomes
/// what the file says, where `scale` would make it that.
fn told(situation: &Situation) -> Advice {
    let &Situation { component, from, to, .. } = situation;
    let text = format!("{component}: the file says {to} and {from} stand; the count is left alone");
    let Err(refusal) = situation.check() else {
        return Advice::new(text, Remedy::Scale { component, to: Some(to) });
    };
    let key = format!("components.{component}.replicas");
    let file = match refusal {
        Refusal::Autoscaled { .. } => format!("leave {key} out of the deployment file"),
        _ => format!("write {key}: {from} into the deployment file"),
    };
    let ways = [file.into()].into_iter().chain(refusal.remedy());
    Advice::new(format!("{text}, and cannot be that: {refusal}"), Remedy::any(ways))
}

/// What is told of counts that the file sets and that are not those that stand, each in one line. Who may not see the
/// nodes or the autoscalers is told by `scale` what these have against it.
pub(crate) async fn others(
    cluster: &Cluster,
    deployment: &Deployment,
    scope: &Scope,
    standing: &LiveState,
) -> Vec<Advice> {
    let other = |subject| {
        let subject: &Subject = subject;
        let component = subject.component();
        let to = deployment.file().components.get(&component)?.replicas?;
        let from = subject.workloads.iter().filter_map(|w| standing.named(&w.name)).map(|live| live.count()).max()?;
        let reach = Reach::of(deployment);
        let situation = Situation { reach, ..Situation::new(deployment.release(), component, from, to) };
        (from != to).then_some((subject, situation))
    };
    let mut others: Vec<(&Subject, Situation)> = scope.parts.iter().filter_map(|part| other(&part.subject)).collect();
    if others.is_empty() {
        return Vec::new();
    }
    let autoscalers = autoscalers(cluster).await.unwrap_or_default();
    for (subject, situation) in &mut others {
        situation.autoscaler = owner(&autoscalers, &subject.workloads);
        let template = subject.workloads.first().and_then(|w| standing.workload(w)?.pod());
        if let Some(spec) = template
            && situation.component == Component::Bono
            && situation.reach.exposure == BonoExposure::HostPort
        {
            situation.reach.nodes = room::nodes_for(cluster, spec).await;
        }
    }
    others.iter().map(|(_, situation)| told(situation)).collect()
}

#[cfg(test)]
mod tests {
    use clearwater::config::DeploymentFile;
    use clearwater::manifest::WorkloadKind;
    use clearwater::order::Policy;
    use serde_json::json;

    use super::*;
    use crate::fake_api;

    /// What is advised is what `scale` does.
    #[tokio::test]
    async fn a_count_that_cannot_be_had_is_not_advised() {
        let file = "apiVersion: clearwater/v1\nbono: {exposure: hostPort}\n\
            components: {bono: {replicas: 3}, sprout: {replicas: 2}, homer: {replicas: 2}, cassandra: {replicas: 1}}\n";
        let deployment = DeploymentFile::parse(file, "clearwater.yaml").unwrap().deploy("ims").unwrap();
        let scope = Scope::of(&deployment, Policy::default(), &[], &[]).unwrap();
        let of = |name: &str, replicas: u32| {
            let pod = json!({"metadata": {"labels": {"service": name}}, "spec": {"containers": []}});
            (
                name.to_owned(),
                json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {},
                "serviceName": name, "template": pod}}),
            )
        };
        let deployments = [of("bono", 2), of("sprout", 4), of("homer", 1)];
        let standing = LiveState {
            namespace: Some(true),
            deployments: deployments.map(|(name, o)| (name, serde_json::from_value(o).unwrap())).into(),
            stateful_sets: [of("cassandra", 3)].map(|(name, o)| (name, serde_json::from_value(o).unwrap())).into(),
            ..LiveState::default()
        };
        for (nodes, bono) in [
            (
                2,
                "bono: the file says 3 and 2 stand; the count is left alone, and cannot be that: bono cannot have 3 members: with \
                exposure hostPort each needs a node of its own, and 2 can take one. What works: write components.bono.replicas: 2 \
                into the deployment file; or add nodes",
            ),
            (3, "bono: the file says 3 and 2 stand; the count is left alone. What works: scale bono to 3"),
        ] {
            let (cluster, _) = fake_api::cluster(move |path| {
                let node = |n: u32| {
                    json!({"metadata": {"name": format!("node-{n}")},
                    "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
                };
                let items = match path.rsplit('/').next() {
                    Some("nodes") => (0..nodes).map(node).collect(),
                    Some("horizontalpodautoscalers") => {
                        vec![json!({"metadata": {"name": "sprout"}, "spec": {"maxReplicas": 5,
                        "scaleTargetRef": {"kind": "Deployment", "name": "sprout"}}})]
                    }
                    _ => Vec::new(),
                };
                Some(json!({"metadata": {}, "items": items}))
            });
            let told: Vec<String> =
                others(&cluster, &deployment, &scope, &standing).await.iter().map(ToString::to_string).collect();
            let of = |name: &str| {
                told.iter().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {told:#?}"))
            };
            assert!(of("bono").starts_with(bono), "{told:#?}");
            assert!(
                of("sprout").contains("and cannot be that") && of("sprout").contains("keeps it between 1 and 5"),
                "{told:#?}"
            );
            assert!(of("sprout").contains("What works: leave components.sprout.replicas out of the"), "{told:#?}");
            assert!(of("homer").ends_with("scale homer to 2"), "{told:#?}");
            assert!(of("cassandra").contains("cannot be scaled down from 3 to 1 member"), "{told:#?}");
            assert!(of("cassandra").contains("What works: write components.cassandra.replicas: 3"), "{told:#?}");
        }
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
}
