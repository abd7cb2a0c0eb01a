//! A component as it was judged, put into a status.

use std::collections::BTreeMap;

use clearwater::component::Component;
use clearwater::remedy::Advice;
use clearwater::scale::Members;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{ComponentStatus, Health, PodStatus, data};
use crate::judge::renewal::Renewal;
use crate::judge::{self, About, Judged};
use crate::observe::finding::Finding;
use crate::observe::report::{Report, Tally};
use crate::observe::{MembersSeen, Observation, Subject};
use crate::pod::object::{own_container, pod_is_ready};

pub(super) fn component_status(
    subject: &Subject,
    mut judged: Judged,
    seen: &Observation,
    at: Timestamp,
) -> ComponentStatus {
    let component = subject.component();
    let pods = judge::pods(subject, seen);
    // It is said with the first line that says why pods do not come.
    let mut fix = judge::with_cause(subject, &mut judged, seen, at);
    let health = match Health::from(judged.stage) {
        Health::Unwell if judge::is_unseen(subject, &judged, seen) => Health::Unseen,
        Health::Serving if judged.problems.is_empty() && !judged.unchecked.is_empty() => Health::Unseen,
        health if judged.problems.is_empty() => health,
        health => health.min(Health::Unwell),
    };
    let told = |p: Finding<About>| {
        let remedy = if p.about == About::Pods { fix.take() } else { None };
        Advice { remedy, ..Advice::from(p.text) }
    };
    let problems = judged.problems.into_iter().map(told).collect();
    let renewal = (judged.pending > 0).then(|| Renewal::of(subject.entry, &pods).remedy(component));
    // Pods without a controller, or with one that may not be seen, are as many as there are.
    let (ready, wanted) = if subject.workloads.is_empty() {
        let ready = pods.iter().filter(|p| pod_is_ready(p)).count();
        (u32::try_from(ready).unwrap_or(u32::MAX), u32::try_from(pods.len()).unwrap_or(u32::MAX))
    } else {
        (judged.ready, judged.wanted)
    };
    let own = pods.first().and_then(|p| own_container(p.spec.as_ref()?, component));
    ComponentStatus {
        component,
        roles: subject.entry.roles.iter().map(|r| r.name().to_owned()).collect(),
        health,
        image: own.and_then(|c| c.image.clone()).unwrap_or_default(),
        ready,
        wanted,
        pods: pods.iter().map(|p| pod_status(component, p, &seen.reports)).collect(),
        members: seen
            .members(component)
            .and_then(MembersSeen::members)
            .into_iter()
            .flat_map(Members::iter)
            .map(|(address, state)| (address.to_string(), state))
            .collect(),
        log: pods.iter().filter_map(|p| seen.reports.get(&p.uid()?)).find_map(|r| r.log.clone()),
        problems,
        unchecked: judged.unchecked,
        pending: judged.pending,
        renewal,
    }
}

fn pod_status(component: Component, pod: &Pod, reports: &BTreeMap<String, Report>) -> PodStatus {
    let status = pod.status.as_ref();
    let restarts = status
        .iter()
        .flat_map(|s| s.container_statuses.iter().flatten())
        .map(|c| u32::try_from(c.restart_count).unwrap_or(0))
        .sum();
    let asked = reports.get(&pod.uid().unwrap_or_default());
    let programs = asked
        .filter(|r| r.programs > 0 && (r.programs_well > 0 || !r.troubles.is_empty()))
        .map(|r| (u32::try_from(r.programs_well).unwrap_or(0), u32::try_from(r.programs).unwrap_or(0)));
    let tally = |of: fn(&Report) -> Tally| asked.map(of).filter(|t| t.put > 0).map(|t| (t.well, t.put));
    PodStatus {
        answers: tally(|r| r.answers),
        names: tally(|r| r.names),
        data: data::of(component, pod, asked),
        name: pod.name_any(),
        node: pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default(),
        address: status.and_then(|s| s.pod_ip.clone()).unwrap_or_default(),
        ready: pod_is_ready(pod),
        restarts,
        started: status.and_then(|s| s.start_time.as_ref()).map(|t| t.0),
        programs,
    }
}
