//! What stands already and cannot stay as it is beside what is to be brought up.

use std::collections::BTreeSet;

use clearwater::component::{Component, Release, entry};
use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::Remedy;

use super::super::checks::{line, with_fix};
use super::super::prepare::{LiveState, Scope};
use crate::owner;

/// Lines of what is in the way; none where nothing is.
pub(super) fn check(release: Release, scope: &Scope, standing: &LiveState) -> Vec<CheckLine> {
    let ours = || standing.workloads().filter(|w| owner::has_our_label(w.metadata));
    let other: BTreeSet<Component> =
        ours().map(|w| w.component).filter(|component| entry(release, *component).is_none()).collect();
    let mut lines: Vec<CheckLine> = ours()
        .filter(|w| w.replicas == Some(0) && scope.has(w.component))
        .map(|w| {
            let component = w.component;
            let title = format!("replicas of {component}");
            let detail = "it is scaled to 0, which stays as somebody set it: nothing of it would run";
            let scale = Remedy::Scale { component, to: Some(1) };
            with_fix(line(CheckId::Workloads, title, CheckStatus::Failed, detail), Remedy::any([scale, Remedy::Skip]))
        })
        .collect();
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
    use clearwater::order::Policy;
    use serde_json::json;

    use super::*;

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
            let lines = check(Release::Hunter, &scope, &standing);
            let said: Vec<_> = lines.iter().map(|line| (line.id, line.status)).collect();
            assert_eq!(said, Vec::from_iter(expected), "{component} {replicas} {is_ours}");
            assert!(lines.iter().all(|line| line.fix.is_some()));
        }
    }
}
