//! What is worth knowing of a deployment as a whole. Pure.

use std::collections::BTreeMap;

use clearwater::component::Component;
use clearwater::manifest::ENV_VARS;

use crate::judge::{Outdated, started};
use crate::observe::given::{ZONE, ZoneSeen};
use crate::observe::snapshot::Snapshot;
use crate::observe::unasked::Unasked;

/// What is worth knowing of the whole.
pub(super) fn of(
    snapshot: &Snapshot,
    zone: Option<&Unasked>,
    foreign: &[(Component, String)],
    absent: Option<String>,
) -> Vec<String> {
    let mut notes: Vec<String> = snapshot
        .denied
        .iter()
        .map(|kind| format!("skipped: what is seen in {} (needs list {0})", kind.resource()))
        .collect();
    notes.extend(snapshot.unheard.iter().map(|(kind, why)| format!("what is seen in {}: {why}", kind.resource())));
    notes.extend(zone.map(|why| why.note("names as the containers look them up")));
    notes.extend(foreign.iter().map(|(component, pod)| {
        format!("pod {pod} carries the label of {component} and is of none of its workloads: it is not judged")
    }));
    notes.extend(absent);
    notes
}

/// What is to be known of the settings: what stands is wrong, or is not what pods run with, which serve all the same until
/// they are started again.
pub(super) fn of_settings(zone: &ZoneSeen, outdated: impl IntoIterator<Item = Outdated>) -> Vec<String> {
    let wrong = zone.fault().map(|fault| {
        let where_to = if zone.is_missing() { "nowhere" } else { "there" };
        format!("configmap/{ENV_VARS}, key {ZONE}: {fault}: each pod that is started looks names up {where_to}")
    });
    let mut alike: BTreeMap<_, Vec<Outdated>> = BTreeMap::new();
    for mut pod in outdated {
        // What runs with the wrong one that stands is told by its component, which is unwell by it.
        pod.variables.retain(|variable| wrong.is_none() || variable != ZONE);
        if !pod.variables.is_empty() {
            alike.entry((pod.variables.clone(), pod.of.clone())).or_default().push(pod);
        }
    }
    let others = alike.values().map(|pods| {
        let names: Vec<&str> = pods.iter().map(|pod| pod.pod.as_str()).collect();
        let (was, keeps) = if names.len() == 1 { ("was", "keeps") } else { ("were", "keep") };
        format!("settings: {} {was} {}, and {keeps} it until started again", names.join(", "), started(pods))
    });
    wrong.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outdated(pod: &str, variables: &[&str]) -> Outdated {
        let variables = variables.iter().map(|name| (*name).to_owned()).collect();
        let of = [format!("configmap/{ENV_VARS}")].into();
        Outdated { uid: pod.to_owned(), pod: pod.to_owned(), zone: None, variables, of }
    }

    #[test]
    fn settings_that_no_pod_runs_with_are_told_once() {
        let zone = |stands: &str| ZoneSeen::of("ims", Some(stands.to_owned()), None);
        assert_eq!(of_settings(&zone("ims.svc.x"), []), Vec::<String>::new());
        assert_eq!(
            of_settings(&zone("old.svc.x"), []),
            [
                "configmap/env-vars, key ZONE: it is old.svc.x, and should be ims.svc.x: each pod that is started looks names up there"
            ]
        );
        assert_eq!(
            of_settings(&zone(""), []),
            ["configmap/env-vars, key ZONE: it is not there: each pod that is started looks names up nowhere"]
        );
        let pods = [outdated("homer-x", &["ZONE"]), outdated("ellis-y", &["HSS"]), outdated("bono-z", &["ZONE"])];
        assert_eq!(
            of_settings(&zone("ims.svc.x"), pods),
            [
                "settings: ellis-y was started with another value of HSS than configmap/env-vars has now, and keeps it until started \
                 again",
                "settings: homer-x, bono-z were started with another value of ZONE than configmap/env-vars has now, and keep it until \
                 started again",
            ]
        );
        // A key is of the Secret that holds it, and a wrong zone is told above.
        let mut key = outdated("ellis-y", &["TURN_WORKAROUND"]);
        key.of = ["secret/clearwater-keys".to_owned()].into();
        let told = of_settings(&zone("old.svc.x"), [outdated("homer-x", &["ZONE"]), key]);
        assert_eq!(
            told[1..],
            [
                "settings: ellis-y was started with another value of TURN_WORKAROUND than secret/clearwater-keys has now, and keeps it \
                 until started again"
            ]
        );
    }
}
