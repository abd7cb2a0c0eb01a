//! Whether a component serves: the watch, the pods' own answers and the stores' members put together. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clearwater::component::{Component, Entry};
use clearwater::manifest::{WorkloadKind, WorkloadRef};
use clearwater::scale::{MemberState, Members, MembersError};
use k8s_openapi::api::core::v1::Pod;

use crate::judge::problem::{About, Part, Problem};
use crate::judge::rollout::{self, Rollout};
use crate::observe::members::{self, Unreadable};
use crate::observe::probe::Report;
use crate::observe::snapshot::{Kind, Snapshot};

/// What a store's members are known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembersSeen {
    /// etcd said so.
    Read(Members),
    /// etcd could not be asked for now.
    Failed(String),
    /// What stands in etcd is no list of members: somebody else wrote it.
    Wrong {
        /// The key in etcd.
        key: String,
        /// What is wrong with its value.
        error: MembersError,
    },
    /// etcd cannot be asked at all, for want of what is named.
    Unchecked(String),
}

impl MembersSeen {
    /// What etcd's answer came to.
    pub(crate) fn of(read: Result<Members, Unreadable>) -> Self {
        match read {
            Ok(members) => Self::Read(members),
            Err(Unreadable::List { key, error }) => Self::Wrong { key, error },
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

/// A workload, by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
}

impl From<&WorkloadRef> for Workload {
    fn from(workload: &WorkloadRef) -> Self {
        Self { kind: workload.kind, name: workload.name.to_owned() }
    }
}

/// What is known of one component.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What the catalogue knows of it.
    pub entry: &'static Entry,
    /// Its workloads.
    pub workloads: &'a [Workload],
    /// The Service whose endpoints must be ready; none where there is no Service.
    pub service: Option<&'a str>,
    /// What the watches say.
    pub snapshot: &'a Snapshot,
    /// What the pods say, by uid.
    pub reports: &'a BTreeMap<String, Report>,
    /// What etcd says of its members.
    pub members: Option<&'a MembersSeen>,
    /// The generation that a workload must have at least, because this run gave it to it, by name.
    pub generations: &'a BTreeMap<String, i64>,
}

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
    /// Why it is no further, in one line; empty where it serves.
    pub cause: String,
    /// Everything that is wrong, most telling first.
    pub problems: Vec<Problem<About>>,
    /// Checks that could not be made, each with what it needs.
    pub unchecked: Vec<String>,
    /// Pods of an older revision that only their replacement will renew.
    pub pending: u32,
}

/// Judges one component.
pub fn component(view: &View<'_>) -> Judged {
    let mut judged = Judged {
        stage: Stage::Serving,
        ready: 0,
        wanted: 0,
        cause: String::new(),
        problems: Vec::new(),
        unchecked: Vec::new(),
        pending: 0,
    };
    for workload in view.workloads {
        let (stage, cause) = workload_stage(view, workload, &mut judged);
        if stage < judged.stage {
            judged.stage = stage;
        }
        judged.problems.extend(cause.map(pods_lack));
    }
    if judged.stage == Stage::Serving {
        let (stage, problems) = answers(view, &mut judged);
        judged.stage = stage;
        judged.problems.extend(problems);
    } else if judged.stage == Stage::Starting {
        // What the programs of a pod that is not ready say is more telling than a count.
        let mut said: Vec<Problem<About>> = pods(view)
            .iter()
            .filter_map(|p| Some((pod_name(p), view.reports.get(p.metadata.uid.as_deref()?)?)))
            .flat_map(|(name, r)| r.problems.iter().map(move |p| of_pod(name, p)))
            .collect();
        said.append(&mut judged.problems);
        judged.problems = stuck(view).iter().map(|s| pods_lack(s.text())).chain(said).collect();
    }
    judged.cause = judged.problems.first().map(|p| p.text.clone()).unwrap_or_default();
    judged
}

fn pods_lack(text: String) -> Problem<About> {
    Problem::new(About::Pods, text)
}

fn of_pod(name: &str, problem: &Problem<Part>) -> Problem<About> {
    Problem::new(About::Pod(name.to_owned(), problem.about.clone()), problem.text.clone())
}

fn pod_name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or("?")
}

fn workload_stage(view: &View<'_>, workload: &Workload, judged: &mut Judged) -> (Stage, Option<String>) {
    let (rollout, generation) = match workload.kind {
        WorkloadKind::Deployment => {
            let object = view.snapshot.deployments.get(&workload.name);
            (rollout::deployment(object), object.and_then(|o| o.metadata.generation))
        }
        WorkloadKind::StatefulSet => {
            let object = view.snapshot.stateful_sets.get(&workload.name);
            (rollout::stateful_set(object), object.and_then(|o| o.metadata.generation))
        }
    };
    let least = view.generations.get(&workload.name);
    if let Some(least) = least
        && generation.is_none_or(|g| g < *least)
    {
        // The watch has not told of this run's own change yet.
        judged.wanted += 1;
        return (Stage::Starting, Some("its controller has not seen the last change yet".to_owned()));
    }
    match rollout {
        Rollout::Absent => {
            (Stage::Absent, Some(format!("there is no {}/{}", workload.kind.name().to_lowercase(), workload.name)))
        }
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
pub fn stuck(view: &View<'_>) -> Vec<Stuck> {
    let Some(clustering) = &view.entry.clustering else { return Vec::new() };
    let (Some(from_joining), Some(MembersSeen::Read(members))) = (&clustering.from_joining, view.members) else {
        return Vec::new();
    };
    let pods = pods(view);
    let normal = |pod: &Pod| {
        let found = members::of(members, &rollout::addresses(pod));
        found.and_then(|(address, state)| (state == MemberState::Normal).then_some(address))
    };
    let others = pods.iter().filter(|p| normal(p).is_some() && rollout::pod_is_ready(p)).count();
    pods.iter()
        .filter(|p| !rollout::pod_is_ready(p))
        .filter_map(|pod| {
            let address = normal(pod)?;
            let uid = pod.metadata.uid.clone()?;
            let missing = view.reports.get(&uid)?.not_joined?;
            Some(Stuck {
                uid,
                pod: pod.metadata.name.clone().unwrap_or_default(),
                address,
                store: clustering.title,
                file: from_joining.file,
                holds_data: missing.holds_data,
                others,
            })
        })
        .collect()
}

/// The component's pods.
pub fn pods<'a>(view: &View<'a>) -> Vec<&'a Pod> {
    view.snapshot.pods_of(view.entry.component)
}

fn answers(view: &View<'_>, judged: &mut Judged) -> (Stage, Vec<Problem<About>>) {
    let pods = pods(view);
    let mut problems = Vec::new();
    if let Some(service) = view.service {
        if view.snapshot.denied.contains(&Kind::EndpointSlice) {
            judged.unchecked.push("endpoints: needs list and watch endpointslices.discovery.k8s.io".to_owned());
        } else {
            let ready = rollout::ready_endpoints(view.snapshot.slices_of(service));
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
        match pod.metadata.uid.as_deref().and_then(|uid| view.reports.get(uid)) {
            Some(report) if report.full => {
                let several = pods.len() > 1;
                problems.extend(report.problems.iter().map(|p| {
                    let mut problem = of_pod(name, p);
                    if several {
                        problem.text = format!("{name}: {}", problem.text);
                    }
                    problem
                }));
                judged.unchecked.extend(report.unchecked.iter().cloned());
            }
            _ => {
                let about = About::Pod(name.to_owned(), Part::Unasked);
                problems.push(Problem::new(about, format!("pod {name} has not been asked yet")));
            }
        }
    }
    if let Some(clustering) = &view.entry.clustering {
        let addresses: Vec<(&str, Vec<IpAddr>)> = pods
            .iter()
            .filter_map(|p| Some((p.metadata.name.as_deref()?, rollout::addresses(p))))
            .filter(|(_, addresses)| !addresses.is_empty())
            .collect();
        let mut wrong = |text: String| problems.push(Problem::new(About::Members, text));
        match view.members {
            Some(MembersSeen::Read(members)) => {
                members::judge(members, clustering.title, &addresses).into_iter().for_each(wrong);
            }
            Some(MembersSeen::Wrong { key, error }) => {
                wrong(format!("{} members: {error}; {}", clustering.title, error.fix(key)));
            }
            Some(MembersSeen::Failed(text)) => wrong(format!("{} members: {text}", clustering.title)),
            Some(MembersSeen::Unchecked(text)) => judged.unchecked.push(format!("members: {text}")),
            None => wrong(format!("the members of {} have not been asked for yet", clustering.title)),
        }
    }
    judged.unchecked.sort();
    judged.unchecked.dedup();
    (if problems.is_empty() { Stage::Serving } else { Stage::Settling }, problems)
}

/// Whether a pod may be asked everything: it is ready, and its Service publishes it, so that no name is asked for too
/// early.
pub fn may_be_asked(snapshot: &Snapshot, component: Component, service: Option<&str>, pod: &Pod) -> bool {
    if !rollout::pod_is_ready(pod) {
        return false;
    }
    let Some(service) = service.filter(|_| component != Component::Etcd) else { return true };
    if snapshot.denied.contains(&Kind::EndpointSlice) {
        return true;
    }
    snapshot.slices_of(service).flat_map(|s| &s.endpoints).any(|e| {
        let ready = e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
        ready && e.target_ref.as_ref().is_some_and(|t| t.name == pod.metadata.name)
    })
}
