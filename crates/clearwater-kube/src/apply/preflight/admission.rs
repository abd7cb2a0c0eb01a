//! What admission says of the pods.

use std::collections::BTreeMap;

use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::manifest::{ENFORCE_LABEL, Object, PodSecurity};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use super::super::checks::{line, with_fix};
use super::super::prepare::{ApplyPlan, LiveState};
use super::AT_ONCE;
use crate::cluster::{Cluster, FIELD_MANAGER};

/// One pod of a workload, with an empty volume for each claim that a StatefulSet would make.
fn sample(object: &Object) -> Option<Pod> {
    let mut pod = object.sample_pod()?;
    if let Object::StatefulSet(set) = object
        && let Some(spec) = pod.spec.as_mut()
    {
        let claims = set.spec.iter().flat_map(|s| s.volume_claim_templates.iter().flatten());
        spec.volumes.get_or_insert_default().extend(claims.map(|claim| Volume {
            name: claim.name_any(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        }));
    }
    Some(pod)
}

/// Asks admission about one pod a workload, so that it speaks now and not in a controller's events.
pub(super) async fn check(cluster: &Cluster, standing: &LiveState, work: &ApplyPlan) -> Vec<CheckLine> {
    let title = "pods as admission takes them";
    let samples: Vec<(String, Pod)> = work
        .all()
        .filter(|p| p.operation != Operation::Keep)
        .filter_map(|p| Some((p.item.owner.name().to_owned(), sample(&p.item.object)?)))
        .collect();
    if samples.is_empty() {
        return Vec::new();
    }
    if standing.namespace == Some(false) {
        return vec![line(CheckId::Admission, title, CheckStatus::Skipped, "the namespace does not exist yet")];
    }
    ask(cluster, samples).await
}

/// Asks admission about these pods, each with the component it is of.
pub(crate) async fn ask(cluster: &Cluster, samples: Vec<(String, Pod)>) -> Vec<CheckLine> {
    let title = "pods as admission takes them";
    if samples.is_empty() {
        return Vec::new();
    }
    let level = samples.iter().filter_map(|(_, pod)| pod.spec.as_ref()).map(PodSecurity::of).max().unwrap_or_default();
    let pods: Api<Pod> = cluster.api();
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let questions: Vec<BoxFuture<'_, _>> = samples
        .into_iter()
        .map(|(name, pod)| {
            let (pods, params) = (pods.clone(), params.clone());
            async move { (name, pods.create(&params, &pod).await) }.boxed()
        })
        .collect();
    let answers: Vec<(String, Result<Pod, kube::Error>)> = stream::iter(questions).buffered(AT_ONCE).collect().await;
    let count = answers.len();
    // One line for each thing that must be done about it: a policy refuses all pods alike.
    let mut refused: BTreeMap<String, (Vec<String>, String)> = BTreeMap::new();
    for (name, answer) in answers {
        let Err(kube::Error::Api(status)) = answer else { continue };
        if status.is_forbidden() && status.message.contains("cannot create resource \"pods\"") {
            return vec![line(CheckId::Admission, title, CheckStatus::Skipped, "needs create pods")];
        }
        // The sum is judged by its own line; a quota that is full for one pod is told here all the same.
        let text = status.message.to_lowercase();
        if text.contains("error looking up service account") {
            continue;
        }
        let fix = if text.contains("violates podsecurity") {
            format!(
                "kubectl label namespace {} {ENFORCE_LABEL}={level} --overwrite (or take out of the deployment file what \
                 the message names)",
                cluster.namespace
            )
        } else if text.contains("exceeded quota") {
            format!("raise the quota, or lower components.{name}.resources")
        } else {
            format!("set what the message names in components.{name} of the deployment file, or change the policy")
        };
        refused.entry(fix).or_insert_with(|| (Vec::new(), status.message.clone())).0.push(name);
    }
    let mut lines: Vec<CheckLine> = refused
        .into_iter()
        .map(|(fix, (names, message))| {
            let seen = line(CheckId::Admission, format!("{title}: {}", names.join(", ")), CheckStatus::Failed, message);
            with_fix(seen, fix)
        })
        .collect();
    if lines.is_empty() {
        lines.push(line(CheckId::Admission, title, CheckStatus::Ok, format!("{count} dry runs")));
    }
    lines
}
