//! Pods that run with other settings than stand now. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

use super::about::About;
use super::rollout::{Revision, revision};
use crate::observe::finding::{Finding, Part};
use crate::observe::given::ZONE;
use crate::observe::{Observation, Subject};

/// A pod that was started with other settings than stand now: it runs with them until it is started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// Its uid.
    pub uid: String,
    /// Its name.
    pub pod: String,
    /// The zone that it was started with, where it is another one; empty where it has none.
    pub zone: Option<String>,
    /// The variables that are others.
    pub variables: Vec<String>,
    /// What they are taken from, as `configmap/NAME`.
    pub of: BTreeSet<String>,
}

/// How pods were started otherwise than others of theirs will be, in the words of all who tell it.
pub(crate) fn started<'a>(all: impl IntoIterator<Item = &'a Outdated>) -> String {
    let (mut variables, mut of) = (BTreeSet::new(), BTreeSet::new());
    for pod in all {
        variables.extend(pod.variables.iter().map(String::as_str));
        of.extend(pod.of.iter().map(String::as_str));
    }
    let has = if of.len() == 1 { "has" } else { "have" };
    let joined = |all: BTreeSet<&str>, by: &str| all.into_iter().collect::<Vec<_>>().join(by);
    format!("started with another value of {} than {} {has} now", joined(variables, ", "), joined(of, " and "))
}

/// The pods of a component that were started with other settings than stand now. One of an older revision is told as that.
pub(crate) fn outdated(subject: &Subject, seen: &Observation) -> Vec<Outdated> {
    let is_older = |pod: &Pod| {
        let mut sets = subject.workloads.iter().filter_map(|w| seen.snapshot.stateful_sets.get(&w.name));
        sets.any(|set| revision(set, None, pod) == Some(Revision::Older))
    };
    let of = |pod: &Pod| {
        let uid = pod.metadata.uid.clone()?;
        let with = seen.reports.get(&uid)?.runs_with.as_ref().filter(|with| !with.others.is_empty())?;
        let (zone, pod) = (with.other_zone().map(str::to_owned), pod.metadata.name.clone()?);
        Some(Outdated { uid, pod, zone, variables: with.others.clone(), of: with.of.clone() })
    };
    seen.snapshot.pods_of(subject.component()).into_iter().filter(|pod| !is_older(pod)).filter_map(of).collect()
}

/// What is wrong with pods that look names up in another zone: they find nobody, or somebody else.
pub(super) fn other_zones(subject: &Subject, outdated: &[Outdated]) -> Vec<Finding<About>> {
    let wanted = subject.settings.get(ZONE).map_or("", String::as_str);
    let of = |pod: &Outdated| {
        let text = format!(
            "pod {} was started with {}, where it is to be {wanted}: its daemons look names up there until it is started again",
            pod.pod,
            zone_of(pod.zone.as_deref()?)
        );
        Some(Finding::new(About::Pod(pod.pod.clone(), Part::Zone), text))
    };
    outdated.iter().filter_map(of).collect()
}

/// A zone that a pod was started with, as people read it.
fn zone_of(zone: &str) -> String {
    if zone.is_empty() { "no ZONE".to_owned() } else { format!("ZONE={zone}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clearwater::component::{Component, Release, entry};
    use clearwater::manifest::WorkloadKind;
    use serde_json::json;

    use super::*;
    use crate::judge::{self, Stage};
    use crate::observe::report::Report;
    use crate::observe::snapshot::{Snapshot, Update, WatchEvent};
    use crate::observe::{RunsWith, Workload};

    /// A component with one pod that answers everything but for one name, and was started with these.
    fn started_with(component: Component, with: RunsWith, revision: &str) -> (Subject, Observation) {
        let is_store = entry(Release::Hunter, component).unwrap().clustering.is_some();
        let kind = if is_store { WorkloadKind::StatefulSet } else { WorkloadKind::Deployment };
        let status = json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1,
            "availableReplicas": 1, "updateRevision": "two", "currentRevision": "two"});
        let object = json!({"metadata": {"name": component.name(), "uid": "w", "generation": 1},
            "spec": {"replicas": 1, "selector": {}, "template": {}, "serviceName": "x",
                "updateStrategy": {"type": "OnDelete"}}, "status": status});
        let mut snapshot = Snapshot::default();
        if is_store {
            snapshot.absorb(WatchEvent::StatefulSet(Update::All(vec![serde_json::from_value(object).unwrap()])));
        } else {
            let mut object = object;
            object["spec"]
                .as_object_mut()
                .unwrap()
                .retain(|key, _| ["replicas", "selector", "template"].contains(&&**key));
            object["status"].as_object_mut().unwrap().retain(|key, _| !key.ends_with("Revision"));
            snapshot.absorb(WatchEvent::Deployment(Update::All(vec![serde_json::from_value(object).unwrap()])));
        }
        let pod = serde_json::from_value(json!({"metadata": {"name": "x-0", "uid": "u",
            "labels": {"service": component.name(), "controller-revision-hash": revision},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "x", "uid": "w", "controller": true}]},
            "status": {"podIP": "10.0.0.1"}}))
        .unwrap();
        snapshot.absorb(WatchEvent::Pod(Update::All(vec![pod])));
        let workload = Workload { kind, name: component.name().to_owned() };
        let entry = entry(Release::Hunter, component).unwrap();
        let subject = Subject {
            settings: BTreeMap::from([(ZONE.to_owned(), "ims.svc".to_owned())]),
            ..Subject::standing(entry, vec![workload], &snapshot)
        };
        let mut seen = Observation::of(snapshot);
        let name = Finding::new(Part::Name("x.ims.svc".to_owned()), "name x.ims.svc is not found");
        let report = Report {
            uid: "u".to_owned(),
            full: true,
            problems: vec![name],
            runs_with: Some(with),
            ..Report::default()
        };
        seen.reports.insert("u".to_owned(), report);
        (subject, seen)
    }

    fn with(zone: &str, others: &[&str]) -> RunsWith {
        let of = ["configmap/env-vars".to_owned()].into();
        RunsWith { zone: Some(zone.to_owned()), others: others.iter().map(|name| (*name).to_owned()).collect(), of }
    }

    /// What it asks for is not what it is asked to find.
    #[test]
    fn a_pod_of_another_zone_is_told_once() {
        let (subject, seen) = started_with(Component::Homer, with("old.svc", &[ZONE]), "two");
        let judged = judge::component(&subject, &seen);
        assert_eq!(judged.stage, Stage::Settling);
        let [problem] = &judged.problems[..] else { panic!("{judged:?}") };
        assert_eq!(problem.about, About::Pod("x-0".to_owned(), Part::Zone));
        assert!(problem.text.contains("ZONE=old.svc") && problem.text.contains("to be ims.svc"), "{problem:?}");
        // One that runs with what stands is told for what it does not find.
        let (subject, seen) = started_with(Component::Homer, with("ims.svc", &[]), "two");
        let judged = judge::component(&subject, &seen);
        assert!(judged.outdated.is_empty() && judged.cause().contains("is not found"), "{judged:?}");
    }

    #[test]
    fn other_settings_are_outdated_and_nothing_worse() {
        let (subject, mut seen) = started_with(Component::Homer, with("ims.svc", &["ADDITIONAL_SHARED_CONFIG"]), "two");
        seen.reports.get_mut("u").unwrap().problems.clear();
        let judged = judge::component(&subject, &seen);
        assert_eq!(judged.stage, Stage::Serving);
        assert_eq!((judged.outdated[0].variables.len(), &judged.outdated[0].zone), (1, &None));
    }

    /// A run that replaces no store waits for none that is as it is asked to be; who looks at what stands is told.
    #[test]
    fn a_store_is_outdated_where_it_is_not_of_an_older_revision() {
        for (revision, count) in [("two", 1), ("one", 0)] {
            let (subject, seen) = started_with(Component::Astaire, with("old.svc", &[ZONE]), revision);
            let judged = judge::component(&subject, &seen);
            assert_eq!(judged.outdated.len(), count, "{judged:?}");
            let told = |judged: &judge::Judged| {
                judged.problems.iter().filter(|p| p.about == About::Pod("x-0".to_owned(), Part::Zone)).count()
            };
            assert_eq!((told(&judged), told(&judge::standing(&subject, &seen))), (0, count));
            assert!(judge::standing(&subject, &seen).stage < Stage::Serving);
        }
    }
}
