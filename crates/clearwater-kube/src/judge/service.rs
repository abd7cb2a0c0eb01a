//! Whether a component serves: the watch, the pods' own answers and the stores' members put together. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use clearwater::scale::MemberState;
use k8s_openapi::api::core::v1::Pod;

use super::about::About;
use super::outdated::{self, Outdated};
use super::rollout::{self, Rollout};
use crate::observe::finding::{Finding, Part};
use crate::observe::snapshot::{Kind, Snapshot};
use crate::observe::{MembersSeen, Observation, Subject, Workload, members};
use crate::pod::object::{addresses, claims, pod_is_ready};

/// How far a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// There is nothing of it.
    Absent,
    /// Its controller has given up.
    Stalled,
    /// Its pods are not all ready.
    Starting,
    /// Its pods are ready, and it does not answer for itself yet.
    Settling,
    /// It serves.
    Serving,
}

/// The judgement of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// How far it is.
    pub stage: Stage,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods that are wanted.
    pub wanted: u32,
    /// Everything that is wrong, most telling first.
    pub problems: Vec<Finding<About>>,
    /// Checks that could not be made, each with what it needs.
    pub unchecked: Vec<String>,
    /// Pods of an older revision that only their replacement will renew.
    pub pending: u32,
    /// Pods of the latest revision that were started with other settings than stand now.
    pub outdated: Vec<Outdated>,
}

impl Judged {
    /// One of which nothing is known to be wrong.
    const fn well() -> Self {
        Self {
            stage: Stage::Serving,
            ready: 0,
            wanted: 0,
            problems: Vec::new(),
            unchecked: Vec::new(),
            pending: 0,
            outdated: Vec::new(),
        }
    }

    /// What is most telling of what is wrong.
    fn first(&self) -> Option<&Finding<About>> {
        self.problems.first()
    }

    /// Why it is no further, in one line; empty where it serves.
    pub fn cause(&self) -> &str {
        self.first().map_or("", |p| &p.text)
    }

    /// Whether all that is known is that a pod has not been asked yet: its answer follows at once.
    pub(crate) fn is_unasked(&self) -> bool {
        self.first().is_some_and(|p| matches!(p.about, About::Pod(_, Part::NotAsked)))
    }

    /// What a program says of itself, which tells more than a probe that fails because of it.
    pub(crate) fn said_by_program(&self) -> Option<&str> {
        self.problems.iter().find(|p| p.about.is_program()).map(|p| p.text.as_str())
    }
}

/// Judges one component.
pub fn component(subject: &Subject, seen: &Observation) -> Judged {
    let mut judged = Judged { outdated: outdated::outdated(subject, seen), ..Judged::well() };
    for workload in &subject.workloads {
        let (stage, cause) = workload_stage(seen, workload, &mut judged);
        if stage < judged.stage {
            judged.stage = stage;
        }
        judged.problems.extend(cause.map(pods_lack));
    }
    if judged.stage == Stage::Serving {
        let (stage, problems) = answers(subject, seen, &mut judged);
        judged.stage = stage;
        judged.problems.extend(problems);
    } else if judged.stage == Stage::Starting {
        // What the programs of a pod that is not ready say is more telling than a count.
        let mut said: Vec<Finding<About>> = pods(subject, seen)
            .iter()
            .filter_map(|p| Some((pod_name(p), seen.reports.get(p.metadata.uid.as_deref()?)?)))
            .flat_map(|(name, r)| r.problems.iter().map(move |p| of_pod(name, p)))
            .collect();
        said.splice(0..0, awaited_zones(subject, &judged.outdated));
        said.append(&mut judged.problems);
        // Nor does a pod become ready that a dead member keeps from joining.
        said.extend(dead_members(subject, seen));
        judged.problems = stuck(subject, seen).iter().map(|s| pods_lack(s.text())).chain(said).collect();
    }
    judged
}

/// What is told of a component that somebody scaled to 0; `None` where nobody did.
pub(crate) fn scaled_to_0(subject: &Subject, snapshot: &Snapshot) -> Option<String> {
    let is_none = |w: &Workload| snapshot.workload(w).is_some_and(|live| live.replicas == 0);
    let names: Vec<String> = subject.workloads.iter().map(ToString::to_string).collect();
    let all = !names.is_empty() && subject.workloads.iter().all(is_none);
    all.then(|| format!("scaled to 0, so that nothing of it runs: {}", names.join(", ")))
}

/// The same of what stands, whoever made it: a pod that nothing controls must be ready as well, and no run will replace a member
/// of a store that looks names up in another zone.
pub(crate) fn standing(subject: &Subject, seen: &Observation) -> Judged {
    if let Some(text) = scaled_to_0(subject, &seen.snapshot) {
        // Whatever else is wrong follows from that.
        return Judged { stage: Stage::Settling, problems: vec![pods_lack(text)], ..Judged::well() };
    }
    let mut judged = component(subject, seen);
    let astray = outdated::other_zones(subject, &judged.outdated);
    if subject.component().is_store() && !astray.is_empty() {
        judged.problems.splice(0..0, astray);
        judged.stage = judged.stage.min(Stage::Settling);
    }
    let unready = pods(subject, seen).into_iter().any(|p| !pod_is_ready(p));
    if subject.workloads.is_empty() && unready {
        judged.problems.push(pods_lack("a pod without a controller is not ready".to_owned()));
        judged.stage = judged.stage.min(Stage::Settling);
    }
    judged
}

fn pods_lack(text: String) -> Finding<About> {
    Finding::new(About::Pods, text)
}

fn of_pod(name: &str, problem: &Finding<Part>) -> Finding<About> {
    let about = About::Pod(name.to_owned(), problem.about.clone());
    Finding { about, text: problem.text.clone(), is_stopped: problem.is_stopped }
}

fn pod_name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or("?")
}

fn workload_stage(seen: &Observation, workload: &Workload, judged: &mut Judged) -> (Stage, Option<String>) {
    let least = seen.generations.get(&workload.name);
    let generation = seen.snapshot.workload(workload).and_then(|w| w.metadata.generation);
    if let Some(least) = least
        && generation.is_none_or(|g| g < *least)
    {
        // The watch has not told of this run's own change yet.
        judged.wanted += 1;
        return (Stage::Starting, Some("its controller has not seen the last change yet".to_owned()));
    }
    match rollout::of(&seen.snapshot, workload) {
        Rollout::Absent => (Stage::Absent, Some(format!("there is no {workload}"))),
        Rollout::Progressing { ready, wanted, cause } => {
            judged.ready += ready;
            judged.wanted += wanted;
            (Stage::Starting, Some(cause))
        }
        Rollout::Stalled { cause } => (Stage::Stalled, Some(cause)),
        Rollout::Complete { ready, pending } => {
            judged.ready += ready;
            judged.wanted += ready;
            judged.pending += pending;
            (Stage::Serving, None)
        }
    }
}

/// A member of a store whose container was restarted in place and has lost what it got when it joined: its program
/// cannot start, and because it is a member still, it does not join again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The pod's uid.
    pub uid: String,
    /// The pod's name.
    pub pod: String,
    /// The member.
    pub address: IpAddr,
    /// The store's name.
    pub store: &'static str,
    /// The file that is missing.
    pub file: &'static str,
    /// Whether the pod holds data that would go with it.
    pub holds_data: bool,
    /// Whether that is on a volume, which the next pod gets.
    pub on_volume: bool,
    /// Members of the store that are ready and hold copies.
    pub others: usize,
}

impl Stuck {
    /// Why it cannot start.
    pub fn why(&self) -> String {
        format!(
            "its container was restarted and has no {} any more: a member gets it only on joining, and {} is a member of {} \
             still",
            self.file, self.address, self.store
        )
    }

    /// One line that says it.
    pub fn text(&self) -> String {
        format!("{}: {}", self.pod, self.why())
    }
}

/// The members of a store that cannot start again by themselves.
pub fn stuck(subject: &Subject, seen: &Observation) -> Vec<Stuck> {
    let Some(clustering) = &subject.entry.clustering else { return Vec::new() };
    let members = seen.members(subject.component()).and_then(MembersSeen::members);
    let (Some(from_joining), Some(members)) = (&clustering.from_joining, members) else { return Vec::new() };
    let pods = pods(subject, seen);
    let normal = |pod: &Pod| {
        let found = members::of(members, &addresses(pod));
        found.and_then(|(address, state)| (state == MemberState::Normal).then_some(address))
    };
    let others = pods.iter().filter(|p| normal(p).is_some() && pod_is_ready(p)).count();
    pods.iter()
        .filter(|p| !pod_is_ready(p))
        // What is on a volume is there after a restart, and what was said of a pod that was just joining is soon over.
        .filter(|p| claims(p).next().is_none() || was_restarted(p))
        .filter_map(|pod| {
            let address = normal(pod)?;
            let uid = pod.metadata.uid.clone()?;
            let missing = seen.reports.get(&uid)?.not_joined?;
            Some(Stuck {
                uid,
                pod: pod.metadata.name.clone().unwrap_or_default(),
                address,
                store: clustering.title,
                file: from_joining.file,
                holds_data: missing.holds_data,
                on_volume: claims(pod).next().is_some(),
                others,
            })
        })
        .collect()
}

fn was_restarted(pod: &Pod) -> bool {
    pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten()).any(|c| c.restart_count > 0)
}

/// The component's pods.
pub fn pods<'a>(subject: &Subject, seen: &'a Observation) -> Vec<&'a Pod> {
    seen.snapshot.pods_of(subject.component())
}

/// Whether the API server opened no way to a pod of the component, or to etcd for its members: what is wrong with it is not
/// known.
pub(crate) fn is_unreached(subject: &Subject, seen: &Observation) -> bool {
    let asked = pods(subject, seen).into_iter().filter_map(|p| seen.reports.get(p.metadata.uid.as_ref()?));
    asked.into_iter().any(|report| report.unreached)
        || matches!(seen.members(subject.component()), Some(MembersSeen::Unreached(_)))
}

/// Whether all that is wrong is that no way into a pod of the component, or to etcd for its members, was to be had, or no
/// time for it: how it does is not known.
pub(crate) fn is_unseen(subject: &Subject, judged: &Judged, seen: &Observation) -> bool {
    let mute = |name: &str| {
        let pod = pods(subject, seen).into_iter().find(|pod| pod_name(pod) == name);
        pod.and_then(|pod| seen.reports.get(pod.metadata.uid.as_ref()?)).is_some_and(|report| report.unreached)
    };
    judged.stage == Stage::Settling
        && judged.problems.iter().all(|problem| match &problem.about {
            About::Pod(name, Part::Reach) => mute(name),
            About::Pod(_, Part::NotAsked) => true,
            About::Members => matches!(seen.members(subject.component()), None | Some(MembersSeen::Unreached(_))),
            _ => false,
        })
}

/// The pods that have an address, by name.
fn placed<'a>(pods: &[&'a Pod]) -> Vec<(&'a str, Vec<IpAddr>)> {
    let of = |pod: &&'a Pod| Some((pod.metadata.name.as_deref()?, addresses(pod)));
    pods.iter().filter_map(of).filter(|(_, addresses)| !addresses.is_empty()).collect()
}

/// Members of a store that no pod stands behind, of a store whose pods all have an address: one that comes has none yet.
fn dead_members(subject: &Subject, seen: &Observation) -> Vec<Finding<About>> {
    let (pods, members) = (pods(subject, seen), seen.members(subject.component()).and_then(MembersSeen::members));
    let (Some(clustering), Some(members)) = (&subject.entry.clustering, members) else { return Vec::new() };
    let placed = placed(&pods);
    if placed.len() < pods.len() {
        return Vec::new();
    }
    let dead = members::dead(members, clustering.title, &placed);
    dead.into_iter().map(|text| Finding::new(About::Members, text)).collect()
}

/// What is wrong with pods that look names up in another zone, where they are not a store's: members find each other by etcd, are
/// asked for by others, and are replaced where that is asked for.
fn awaited_zones(subject: &Subject, outdated: &[Outdated]) -> Vec<Finding<About>> {
    if subject.component().is_store() { Vec::new() } else { outdated::other_zones(subject, outdated) }
}

fn answers(subject: &Subject, seen: &Observation, judged: &mut Judged) -> (Stage, Vec<Finding<About>>) {
    let pods = pods(subject, seen);
    let mut problems: Vec<Finding<About>> = awaited_zones(subject, &judged.outdated);
    let astray: BTreeSet<String> = judged.outdated.iter().filter(|o| o.zone.is_some()).map(|o| o.pod.clone()).collect();
    if let Some(service) = &subject.service {
        if seen.snapshot.blind(Kind::EndpointSlice).is_some() {
            judged.unchecked.push("endpoints: needs list and watch endpointslices.discovery.k8s.io".to_owned());
        } else {
            let ready = rollout::ready_endpoints(seen.snapshot.slices_of(service));
            if ready < judged.wanted {
                let text = format!("{ready} of {} endpoints of Service {service} are ready", judged.wanted);
                problems.push(pods_lack(text));
            }
        }
    }
    // The controller's own count may lag behind a pod that has just gone.
    if u32::try_from(pods.len()).is_ok_and(|n| n < judged.wanted) {
        problems.push(pods_lack(format!("{} of {} pods are there", pods.len(), judged.wanted)));
    }
    for pod in &pods {
        let name = pod_name(pod);
        match pod.metadata.uid.as_deref().and_then(|uid| seen.reports.get(uid)) {
            Some(report) if report.full => {
                let several = pods.len() > 1;
                // What is found from inside of it says nothing of a zone in which it does not look.
                let told = |p: &&Finding<Part>| !(astray.contains(name) && matches!(p.about, Part::Name(_)));
                problems.extend(report.problems.iter().filter(told).map(|p| {
                    let mut problem = of_pod(name, p);
                    if several {
                        problem.text = format!("{name}: {}", problem.text);
                    }
                    problem
                }));
                judged.unchecked.extend(report.unchecked.iter().cloned());
            }
            report => {
                // What could not be asked of its programs is not known of them either.
                judged.unchecked.extend(report.iter().flat_map(|report| report.unchecked.iter().cloned()));
                let about = About::Pod(name.to_owned(), Part::NotAsked);
                let text = match &subject.service {
                    Some(service) if pod_is_ready(pod) && !seen.snapshot.may_be_asked(subject, pod) => {
                        format!("pod {name} has not been asked yet: no ready endpoint of Service {service} leads to it")
                    }
                    _ => format!("pod {name} has not been asked yet"),
                };
                problems.push(Finding::new(about, text));
            }
        }
    }
    if let Some(clustering) = &subject.entry.clustering {
        let addresses = placed(&pods);
        let mut wrong = |text: String| problems.push(Finding::new(About::Members, text));
        match seen.members(subject.component()) {
            Some(MembersSeen::Read(members)) => {
                members::judge(members, clustering.title, &addresses).into_iter().for_each(wrong);
            }
            Some(MembersSeen::Wrong { key, error }) => {
                wrong(format!("{} members: {error}; {}", clustering.title, error.fix(key)));
            }
            Some(MembersSeen::Failed(text) | MembersSeen::Unreached(text)) => {
                wrong(format!("{} members: {text}", clustering.title));
            }
            Some(MembersSeen::Unchecked(text)) => judged.unchecked.push(format!("members: {text}")),
            None => wrong(format!("the members of {} have not been asked for yet", clustering.title)),
        }
    }
    judged.unchecked.sort();
    judged.unchecked.dedup();
    (if problems.is_empty() { Stage::Serving } else { Stage::Settling }, problems)
}

#[cfg(test)]
mod tests {
    use clearwater::component::{Component, Release, entry};
    use clearwater::manifest::WorkloadKind;
    use serde_json::json;

    use clearwater::scale::Members;

    use super::*;
    use crate::observe::Workload;
    use crate::observe::observation::Observed;
    use crate::observe::snapshot::{Update, WatchEvent};

    #[test]
    fn a_dead_member_is_told_while_it_keeps_a_pod_from_joining() {
        let set = serde_json::from_value(json!({"metadata": {"name": "astaire", "generation": 1},
            "spec": {"replicas": 1, "selector": {}, "template": {}, "serviceName": "astaire"},
            "status": {"observedGeneration": 1, "replicas": 1}}))
        .unwrap();
        let pod = |ip: &str| -> Pod {
            serde_json::from_value(
                json!({"metadata": {"name": "astaire-0", "uid": "u", "labels": {"service": "astaire"}},
                "status": {"podIP": ip, "podIPs": if ip.is_empty() { json!([]) } else { json!([{"ip": ip}]) }}}),
            )
            .unwrap()
        };
        let snapshot = Snapshot { stateful_sets: [("astaire".to_owned(), set)].into(), ..Snapshot::default() };
        let workload = Workload { kind: WorkloadKind::StatefulSet, name: "astaire".to_owned() };
        let subject = Subject::standing(entry(Release::Hunter, Component::Astaire).unwrap(), vec![workload], &snapshot);
        let mut seen = Observation::of(snapshot);
        let list = Members::parse(r#"{"10.0.0.1": "normal", "10.0.0.2": "joining"}"#).unwrap();
        seen.take_members(Component::Astaire, MembersSeen::Read(list));
        let told = |seen: &Observation| -> Vec<String> {
            let judged = standing(&subject, seen);
            assert_eq!(judged.stage, Stage::Starting);
            let of_list = judged.problems.into_iter().filter(|p| p.about == About::Members);
            of_list.map(|p| p.text).collect()
        };
        for (ip, dead) in [("10.0.0.2", &["10.0.0.1"][..]), ("10.0.0.3", &["10.0.0.1", "10.0.0.2"]), ("", &[])] {
            seen.take(Observed::Watch(WatchEvent::Pod(Update::All(vec![pod(ip)]))));
            let told = told(&seen);
            assert_eq!(told.len(), dead.len(), "{ip}: {told:?}");
            assert!(told.iter().zip(dead).all(|(text, dead)| text.contains(&format!("member {dead} is"))), "{told:?}");
        }
    }

    /// The member that went without leaving follows from it, and what is told to do about that would be refused.
    #[test]
    fn what_is_scaled_to_nothing_does_not_serve_and_is_told_once() {
        for (component, kind, fix) in [
            (Component::Homer, WorkloadKind::Deployment, "scale homer to 1"),
            (
                Component::Cassandra,
                WorkloadKind::StatefulSet,
                "take cassandra down, then bring the deployment up, which",
            ),
        ] {
            let object = json!({"metadata": {"name": component.name(), "generation": 1}, "spec": {"replicas": 0,
                "selector": {}, "serviceName": "x", "template": {}}, "status": {"observedGeneration": 1, "replicas": 0}});
            let mut snapshot = Snapshot::default();
            snapshot.absorb(match kind {
                WorkloadKind::Deployment => {
                    WatchEvent::Deployment(Update::All(vec![serde_json::from_value(object).unwrap()]))
                }
                WorkloadKind::StatefulSet => {
                    WatchEvent::StatefulSet(Update::All(vec![serde_json::from_value(object).unwrap()]))
                }
            });
            let workload = Workload { kind, name: component.name().to_owned() };
            let told = format!("scaled to 0, so that nothing of it runs: {workload}");
            let subject = Subject::standing(entry(Release::Hunter, component).unwrap(), vec![workload], &snapshot);
            let mut seen = Observation::of(snapshot);
            seen.take_members(component, MembersSeen::Read(Members::parse(r#"{"10.0.0.1": "normal"}"#).unwrap()));
            let mut judged = standing(&subject, &seen);
            assert_eq!(judged.stage, Stage::Settling);
            assert_eq!(judged.problems.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(), [told]);
            let remedy = crate::judge::with_cause(&subject, &mut judged, &seen, seen.now()).unwrap().to_string();
            assert!(remedy.starts_with(fix), "{remedy}");
        }
    }
}
