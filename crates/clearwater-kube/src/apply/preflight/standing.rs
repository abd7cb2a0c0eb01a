//! What stands already and cannot stay as it is beside what is to be brought up.

use std::collections::{BTreeMap, BTreeSet};

use clearwater::component::{Component, Release, entry};
use clearwater::event::{CheckId, CheckLine, CheckStatus, Whose};
use clearwater::remedy::Remedy;
use clearwater::scale::bring_back;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::checks::{line, with_fix};
use super::super::prepare::{ApplyPlan, LiveState, Scope};
use crate::observe::subject::Workload;
use crate::owner;

/// What another exposure of the same component made: it would go on serving beside what is to be brought up, at addresses that nobody
/// names any more.
fn former(scope: &Scope, standing: &LiveState, work: &ApplyPlan) -> BTreeMap<Component, Vec<String>> {
    let ours = |meta: &ObjectMeta| owner::whose(meta) == Whose::Ours;
    let planned = || scope.parts.iter().flat_map(|part| &part.subject.workloads);
    let is_of_another_kind = |one: &Workload| planned().any(|p| p.name == one.name) && !planned().any(|p| p == one);
    let mut former: BTreeMap<Component, Vec<String>> = BTreeMap::new();
    for live in standing.workloads().filter(|live| ours(live.metadata)) {
        if let Some(component) = live.labelled().filter(|_| is_of_another_kind(&live.workload())) {
            former.entry(component).or_default().push(live.workload().to_string());
        }
    }
    // A Service of each pod's own, where no pod is to have one.
    let bono = Component::Bono.name();
    let is_of_a_pod = |name: &str| {
        name.strip_prefix(bono)
            .and_then(|n| n.strip_prefix('-'))
            .is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
    };
    let is_any = work.all().any(|p| p.item.object.kind() == "Service" && is_of_a_pod(p.item.object.name()));
    if scope.has(Component::Bono) && !is_any && work.services_first.balanced.is_empty() {
        let left = standing.services.iter().filter(|(name, o)| is_of_a_pod(name) && ours(&o.metadata));
        let names: Vec<String> = left.map(|(name, _)| format!("service/{name}")).collect();
        if !names.is_empty() {
            former.entry(Component::Bono).or_default().extend(names);
        }
    }
    former
}

/// Lines of what is in the way; none where nothing is.
pub(super) fn check(release: Release, scope: &Scope, standing: &LiveState, work: &ApplyPlan) -> Vec<CheckLine> {
    let ours = || {
        let ours = standing.workloads().filter(|live| owner::has_our_label(live.metadata));
        ours.filter_map(|live| Some((live.labelled()?, live)))
    };
    let other: BTreeSet<Component> =
        ours().map(|(component, _)| component).filter(|component| entry(release, *component).is_none()).collect();
    let mut lines: Vec<CheckLine> = ours()
        .filter(|(component, live)| live.replicas == Some(0) && scope.has(*component))
        .map(|(component, _)| {
            let title = format!("replicas of {component}");
            let detail = "it is scaled to 0, which stays as somebody set it: nothing of it would run";
            let ways = Remedy::any([bring_back(component), Remedy::Skip(component)]);
            with_fix(line(CheckId::Workloads, title, CheckStatus::Failed, detail), ways)
        })
        .collect();
    for (component, names) in former(scope, standing, work) {
        let detail = format!("{} would go on beside what is to be made: another exposure made it", names.join(", "));
        let title = format!("what stands of {component}");
        let seen = line(CheckId::Workloads, title, CheckStatus::Failed, detail);
        lines.push(with_fix(seen, Remedy::anew([component])));
    }
    if !other.is_empty() {
        let names: Vec<&str> = other.iter().map(|c| c.name()).collect();
        let detail = format!(
            "there is {} here, and release {release} has none of it: two releases do not mix",
            names.join(", ")
        );
        let fix = Remedy::any([Remedy::NameFile, Remedy::TakeDown(other.into_iter().collect())]);
        lines.push(with_fix(line(CheckId::Images, "the release of what stands", CheckStatus::Refused, detail), fix));
    }
    lines
}

#[cfg(test)]
mod tests {
    use clearwater::config::DeploymentFile;
    use clearwater::event::Operation;
    use clearwater::manifest::{Inputs, render};
    use clearwater::order::Policy;
    use serde_json::{from_value, json};

    use super::*;
    use crate::apply::Planned;
    use crate::owner::{CREATED, ORIGIN_ANNOTATION};

    #[test]
    fn what_stands_and_cannot_stay_is_named() {
        let deployment = DeploymentFile::default().deploy("ims").unwrap();
        let scope = Scope::of(&deployment, Policy::default(), &[], &[]).unwrap();
        // (component, replicas, labels of the workload, what is said of it)
        for (component, replicas, is_ours, expected) in [
            ("homestead", 1, true, None),
            ("homestead", 0, true, Some((CheckId::Workloads, CheckStatus::Failed))),
            ("homestead", 0, false, None),
            ("memcached", 1, true, Some((CheckId::Images, CheckStatus::Refused))),
        ] {
            let labels =
                if is_ours { json!({"app.kubernetes.io/managed-by": "kubectl-clearwater"}) } else { json!({}) };
            let object = serde_json::from_value(json!({"metadata": {"name": component, "labels": labels},
                "spec": {"replicas": replicas, "selector": {}, "template": {"metadata": {"labels": {"service": component}}}}}))
            .unwrap();
            let standing = LiveState { deployments: [(component.to_owned(), object)].into(), ..LiveState::default() };
            let lines = check(Release::Hunter, &scope, &standing, &ApplyPlan::default());
            let said: Vec<_> = lines.iter().map(|line| (line.id, line.status)).collect();
            assert_eq!(said, Vec::from_iter(expected), "{component} {replicas} {is_ours}");
            assert!(lines.iter().all(|line| line.fix.is_some()));
        }
    }

    /// Both would serve, at addresses of which the file names one.
    #[test]
    fn what_another_exposure_made_is_in_the_way() {
        let bono = |kind: &str| {
            let mark = json!({ORIGIN_ANNOTATION: CREATED});
            json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "bono", "annotations": mark},
                "spec": {"selector": {}, "serviceName": "bono", "template": {"metadata": {"labels": {"service": "bono"}}}}})
        };
        let service = json!({"metadata": {"name": "bono-0", "annotations": {ORIGIN_ANNOTATION: CREATED}}});
        let with = |deployment: bool, set: bool, service_of_pod: bool| LiveState {
            deployments: deployment
                .then(|| ("bono".to_owned(), from_value(bono("Deployment")).unwrap()))
                .into_iter()
                .collect(),
            stateful_sets: set
                .then(|| ("bono".to_owned(), from_value(bono("StatefulSet")).unwrap()))
                .into_iter()
                .collect(),
            services: service_of_pod
                .then(|| ("bono-0".to_owned(), from_value(service.clone()).unwrap()))
                .into_iter()
                .collect(),
            ..LiveState::default()
        };
        let headless = "apiVersion: clearwater/v1\n";
        let outside = "apiVersion: clearwater/v1\nbono: {exposure: externalIPs, addresses: [198.18.0.2]}\n";
        for (file, standing, named) in [
            (headless, with(true, false, false), None),
            (headless, with(false, true, true), Some("statefulset/bono, service/bono-0 would")),
            (headless, with(true, false, true), Some("service/bono-0 would")),
            (outside, with(false, true, true), None),
            (outside, with(true, false, false), Some("deployment/bono would")),
        ] {
            let deployment = DeploymentFile::parse(file, "clearwater.yaml").unwrap().deploy("ims").unwrap();
            let scope = Scope::of(&deployment, Policy::default(), &[], &[]).unwrap();
            let manifest = render(&deployment, &Inputs::default()).unwrap();
            let of = |item| Planned::new(item, None, Operation::Create);
            let work = ApplyPlan { shared: manifest.items().iter().cloned().map(of).collect(), ..ApplyPlan::default() };
            let lines = check(Release::Hunter, &scope, &standing, &work);
            assert_eq!(lines.len(), usize::from(named.is_some()), "{file} {lines:?}");
            for line in &lines {
                assert!(line.status == CheckStatus::Failed && line.detail.starts_with(named.unwrap()), "{line:?}");
            }
        }
    }
}
