use std::net::IpAddr;
use std::time::Duration;

use super::member::{ClusterState, MemberState, Members, MembersError};
use super::refusal::{Refusal, Unsound};
use super::step::{ScaleAction, ScalePlan, ScaleStep};
use crate::component::{Clustering, Component, Entry, Release, Rule, Store, catalogue, entry};
use crate::config::{BonoExposure, Deployment};

/// What is to be known where a bono behind a Service of its own goes: the kernel keeps leading a flow of datagrams to where its
/// first one went, as long as one comes every 30 s, or 120 s where some went both ways (Linux
/// Documentation/networking/nf_conntrack-sysctl.rst), and kube-proxy does not always have it forget
/// (kubernetes/kubernetes#113250, #125467).
pub const STALE_DATAGRAMS: &str = "a device that sends by UDP without a pause of 30 to 120 s may go on being led to a bono that \
    is gone: a node's kernel remembers where a flow went (conntrack -D -p udp --dport PORT on the node, with the node port or 5060, \
    has it forget)";

/// A pod of the component that is scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodState {
    /// Its name.
    pub name: String,
    /// Its addresses: none before it has a network, one of each family on a dual-stack cluster.
    pub addresses: Vec<IpAddr>,
    /// For how long it has been ready, or `None` while it is not.
    pub ready_for: Option<Duration>,
    /// Whether it was told to stop.
    pub terminating: bool,
    /// How much of the time is left that it was given to stop, where it was told to.
    pub ends_within: Option<Duration>,
}

/// The list of members of the component's store, as far as it could be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MemberList {
    /// The component is no clustered store, or nobody looked.
    #[default]
    None,
    /// It was read.
    Read(Members),
    /// It was read and not understood.
    Unreadable(MembersError),
}

/// How subscribers' devices reach bonos, and for how many that suffices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The exposure.
    pub exposure: BonoExposure,
    /// How many addresses the deployment file gives; 0 where it leaves that to Kubernetes.
    pub addresses: u32,
    /// On how many nodes a bono can run, where that is known. Counts for `hostPort` only.
    pub nodes: Option<u32>,
}

impl Reach {
    /// What the deployment file says, with nothing known about nodes.
    pub fn of(deployment: &Deployment) -> Self {
        let bono = &deployment.file().bono;
        let addresses = match bono.exposure {
            BonoExposure::HostPort => bono.node_addresses.len(),
            _ => bono.addresses.len(),
        };
        Self { exposure: bono.exposure, addresses: u32::try_from(addresses).unwrap_or(u32::MAX), nodes: None }
    }
}

/// A HorizontalPodAutoscaler that owns a component's number of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// Its lower bound.
    pub min: u32,
    /// Its upper bound.
    pub max: u32,
}

/// What is known about a component when it is to be scaled: what was asked for, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// The release.
    pub release: Release,
    /// The component.
    pub component: Component,
    /// How many members the workload is set to now.
    pub from: u32,
    /// How many are wanted.
    pub to: u32,
    /// Its pods that have not ended, terminating ones included.
    pub pods: Vec<PodState>,
    /// The members of its store.
    pub members: MemberList,
    /// How bonos are reached. Counts for bono only.
    pub reach: Reach,
    /// The autoscaler that owns the workload, where there is one.
    pub autoscaler: Option<Autoscaler>,
    /// How many workloads the component has: each is set to the same number of members.
    pub workloads: u32,
    /// Whether its pods are numbered and the last goes first, as those of a StatefulSet; of a Deployment's Kubernetes
    /// chooses one.
    pub numbered: bool,
    /// How many seconds its pods are given to stop; `None` where it is not known.
    pub grace_seconds: Option<u32>,
    /// Containers of its pods beside the component's own that nothing tells to end: they may use all of that time.
    pub lingering: Vec<String>,
}

impl Situation {
    /// A component with nothing seen yet.
    pub fn new(release: Release, component: Component, from: u32, to: u32) -> Self {
        Self {
            release,
            component,
            from,
            to,
            pods: Vec::new(),
            members: MemberList::None,
            reach: Reach::default(),
            autoscaler: None,
            workloads: 1,
            numbered: true,
            grace_seconds: None,
            lingering: Vec::new(),
        }
    }

    /// Whether a rule forbids the number that is wanted, whatever state the members are in.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn check(&self) -> Result<(), Refusal> {
        self.entry().and_then(|entry| self.check_rule(entry))?;
        self.check_autoscaler()
    }

    fn entry(&self) -> Result<&'static Entry, Refusal> {
        entry(self.release, self.component).ok_or_else(|| Refusal::NotInRelease {
            component: self.component,
            release: self.release,
            known: catalogue(self.release).iter().map(|e| e.component).collect(),
        })
    }

    /// Plans the steps that lead from what was seen to what is wanted, or says why there are none.
    ///
    /// The plan begins with what an interrupted run left behind, so that running it again goes on from there; where
    /// everything is as it should be it has no step.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn plan(&self) -> Result<ScalePlan, Refusal> {
        self.check()?;
        let entry = self.entry()?;
        let mut plan = ScalePlan {
            component: self.component,
            from: self.from,
            to: self.to,
            numbered: self.numbered,
            steps: Vec::new(),
            notices: Vec::new(),
        };
        match &entry.clustering {
            Some(clustering) => self.plan_store(entry, clustering, &mut plan)?,
            None => self.plan_stateless(entry, &mut plan),
        }
        Ok(plan)
    }

    fn check_rule(&self, entry: &Entry) -> Result<(), Refusal> {
        let &Self { component, from, to, .. } = self;
        if from == to {
            return Ok(());
        }
        let rule = if to > from { entry.scaling.up } else { entry.scaling.down };
        let reason = entry.scaling.reason;
        let has_one_member = entry.scaling.up == Rule::Never;
        let holds_data = entry.clustering.is_some() || has_one_member;
        match rule {
            _ if to == 0 && holds_data => {
                Err(Refusal::LastMember { component, data: entry.data.iter().map(|d| d.what).collect() })
            }
            // Somebody had taken away the only one, or put others beside it, which go first where pods have numbers.
            Rule::Never if has_one_member && to == 1 && (from == 0 || component.is_store() && self.numbered) => Ok(()),
            Rule::Never if has_one_member => Err(Refusal::OneMember { component, to, reason }),
            Rule::Never => Err(Refusal::NeverDown { component, from, to, reason }),
            Rule::NeedsAddresses if to > from => self.check_addresses(),
            _ => Ok(()),
        }
    }

    fn check_addresses(&self) -> Result<(), Refusal> {
        let Self { to, reach, .. } = *self;
        let have = match reach.exposure {
            BonoExposure::Headless => return Ok(()),
            // Where the file gives none, each node has one of its own, and each pod's balancer is asked for one.
            BonoExposure::HostPort | BonoExposure::LoadBalancer if reach.addresses == 0 => u32::MAX,
            // Without addresses any node's will do, which can lead to one bono only.
            BonoExposure::NodePort => reach.addresses.max(1),
            _ => reach.addresses,
        };
        if to > have {
            return Err(Refusal::TooFewAddresses { to, have: reach.addresses, by: reach.exposure });
        }
        match reach.nodes.filter(|nodes| reach.exposure == BonoExposure::HostPort && to > *nodes) {
            Some(nodes) => Err(Refusal::TooFewNodes { to, nodes }),
            None => Ok(()),
        }
    }

    fn check_autoscaler(&self) -> Result<(), Refusal> {
        match &self.autoscaler {
            Some(a) if self.from != self.to => Err(Refusal::Autoscaled {
                component: self.component,
                to: self.to,
                autoscaler: a.name.clone(),
                min: a.min,
                max: a.max,
            }),
            _ => Ok(()),
        }
    }

    fn plan_stateless(&self, entry: &Entry, plan: &mut ScalePlan) {
        let &Self { component, from, to, .. } = self;
        if from == to {
            return self.plan_rest(entry, plan);
        }
        let exposure = self.reach.exposure;
        let own_services = component == Component::Bono
            && matches!(exposure, BonoExposure::NodePort | BonoExposure::LoadBalancer | BonoExposure::ExternalIps);
        if own_services && to > from {
            plan.push(ScaleAction::Publish { from, to }, 1, 30);
            if self.reach.exposure == BonoExposure::LoadBalancer && self.reach.addresses == 0 {
                plan.push(ScaleAction::AwaitAddresses { from, to }, 30, 300);
            }
        }
        plan.push(ScaleAction::Resize { from, to }, 1, 30);
        if to > from {
            plan.push(ScaleAction::AwaitServing { members: to }, 30, 3 * u64::from(entry.slowest_start_seconds));
        } else {
            plan.push(ScaleAction::AwaitGone { members: to }, 30, 120);
        }
        if own_services && to < from {
            plan.push(ScaleAction::Withdraw { from, to }, 1, 30);
        }
        plan.push(ScaleAction::AwaitDns { members: to }, 30, 120);
        if to < from && component == Component::Bono {
            plan.notices.push(
                "devices that are connected to a bono that leaves must register again; their calls go on, media flowing \
                 from device to device, but cannot be changed or ended properly until then"
                    .to_owned(),
            );
        }
        if to < from && own_services {
            plan.notices.push(STALE_DATAGRAMS.to_owned());
        }
        if to < from && component == Component::Etcd {
            plan.notices.push(
                "each of them is an etcd of its own: what stores wrote to those that go is lost with them".to_owned(),
            );
        }
        if to == 0 {
            plan.notices.push(format!("without any {component}, nothing that needs it works"));
        }
    }

    /// What is left of an interrupted run that had set the replicas already.
    fn plan_rest(&self, entry: &Entry, plan: &mut ScalePlan) {
        let to = self.to;
        let wanted = to.saturating_mul(self.workloads) as usize;
        let staying = || self.pods.iter().filter(|p| !p.terminating);
        if staying().filter(|p| p.ready_for.is_some()).count() < wanted {
            plan.push(ScaleAction::AwaitServing { members: to }, 30, 3 * u64::from(entry.slowest_start_seconds));
        } else if self.pods.len() > wanted {
            plan.push(ScaleAction::AwaitGone { members: to }, 30, 120);
        } else {
            return;
        }
        plan.push(ScaleAction::AwaitDns { members: to }, 30, 120);
    }

    fn plan_store(&self, entry: &Entry, clustering: &Clustering, plan: &mut ScalePlan) -> Result<(), Refusal> {
        let &Self { component, from, to, .. } = self;
        let members = match &self.members {
            MemberList::Read(members) => members,
            MemberList::None => return Err(Refusal::MembersUnknown { component }),
            MemberList::Unreadable(error) => {
                let key = clustering.etcd_key;
                return Err(Refusal::MembersUnreadable { component, error: error.clone(), key });
            }
        };
        let times = Times::of(entry, clustering, self.grace_seconds);
        self.check_absent(members)?;
        let addresses: Vec<_> = self.pods.iter().flat_map(|p| p.addresses.iter().copied()).collect();
        let stale: Vec<_> = members.stale(&addresses).into_iter().map(|(a, _)| a).collect();
        let unsound = |why| Refusal::Unsound { component, why, members: members.clone() };
        members.check(&stale).map_err(|violation| unsound(violation.into()))?;
        if members.cluster_state() == ClusterState::Invalid && stale.is_empty() {
            return Err(unsound(Unsound::Invalid));
        }

        // What an interrupted run, a lost node or a heavy hand left behind comes first.
        let mut dead = stale;
        for pod in self.pods.iter().filter(|p| p.terminating) {
            let Some(member) = pod.addresses.iter().copied().find(|&a| members.state(a).is_some()) else { continue };
            let pod = pod.name.clone();
            if entry.pre_stop.is_some() {
                let left = ScaleAction::AwaitLeft { pod: Some(pod), member: Some(member) };
                plan.push(left, times.leave, times.leave_deadline);
            } else {
                // Nothing makes it leave: once it has ended it is one of the dead.
                plan.push(ScaleAction::AwaitEnded { pod }, 30, 120);
                dead.push(member);
            }
        }
        if !dead.is_empty() {
            let store = clustering.store;
            let via = self.marker(members, store);
            let via = via.ok_or_else(|| Refusal::NobodyToMark { component, from, store, stale: dead.clone() })?;
            // In front: a leaving member waits for the dead ones to acknowledge.
            let at = plan.steps.iter().position(|s| matches!(s.action, ScaleAction::AwaitLeft { .. }));
            let step = ScaleStep::new(ScaleAction::MarkFailed { members: dead, store, via }, times.mark, 300);
            plan.steps.insert(at.unwrap_or(plan.steps.len()), step);
        }
        if !plan.steps.is_empty() || !members.all_normal(from as usize) {
            let is_normal = |&(a, state): &(_, _)| state == MemberState::Normal && addresses.contains(&a);
            let normal = members.iter().filter(is_normal).count();
            let joining = from.saturating_sub(u32::try_from(normal).unwrap_or(u32::MAX));
            plan.push(ScaleAction::AwaitNormal { members: from }, times.join(joining), times.join_deadline(joining));
        }

        if to > from {
            let batch = if entry.scaling.up == Rule::OneBatch { to - from } else { 1 };
            let mut at = from;
            while at < to {
                let next = at.saturating_add(batch).min(to);
                plan.push(ScaleAction::Join { from: at, to: next }, 1, 30);
                plan.push(
                    ScaleAction::AwaitNormal { members: next },
                    times.join(next - at),
                    times.join_deadline(next - at),
                );
                at = next;
            }
        }
        for ordinal in (to..from).rev() {
            let pod = self.numbered.then(|| format!("{component}-{ordinal}"));
            plan.push(ScaleAction::Leave { pod: pod.clone(), members: ordinal }, 1, 30);
            plan.push(ScaleAction::AwaitLeft { pod, member: None }, times.leave, times.leave_deadline);
            plan.push(ScaleAction::AwaitNormal { members: ordinal }, 5, times.join_deadline(1));
        }
        self.await_ends(plan);
        self.say_of_stopping(plan);
        if to < clustering.replication_factor && to < from {
            let data: Vec<_> = entry.data.iter().map(|d| d.what).collect();
            plan.notices
                .push(format!("one member keeps one copy of {}: if its pod is lost, so are they", data.join(", ")));
        }
        if component == Component::Memcached && from != to {
            plan.notices.push(
                "these images copy no data when members change: leave devices the time to register again (300 s by \
                 default) before the next change"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// What has left the list stands on where something in its pod is not told to end: done is what is gone.
    fn await_ends(&self, plan: &mut ScalePlan) {
        if !plan.steps.is_empty() || self.lingering.is_empty() {
            return;
        }
        for pod in self.pods.iter().filter(|p| p.terminating) {
            let Some(left) = pod.ends_within else { continue };
            plan.push(ScaleAction::AwaitEnded { pod: pod.name.clone() }, left.as_secs(), left.as_secs() + 60);
        }
    }

    /// What is to be known of how pods of a store stop.
    fn say_of_stopping(&self, plan: &mut ScalePlan) {
        let &Self { component, from, to, .. } = self;
        if to >= from {
            return;
        }
        if !self.numbered {
            plan.notices
                .push(format!("{component} is a Deployment: Kubernetes chooses which pod stops, one at a time"));
        }
        if !self.lingering.is_empty() {
            let within = self.grace_seconds.map_or_else(String::new, |s| format!(", for {s} s at most"));
            plan.notices.push(format!(
                "nothing tells {} in its pods to end: a pod that has left the list stands on until its time to stop is \
                 over{within}",
                self.lingering.join(", ")
            ));
        }
    }

    /// Refuses where pods that have long been ready are not on the list.
    fn check_absent(&self, members: &Members) -> Result<(), Refusal> {
        let listed = |p: &PodState| p.addresses.iter().any(|&a| members.state(a).is_some());
        let absent: Vec<_> = self
            .pods
            .iter()
            .filter(|p| !p.terminating && p.ready_for.is_some_and(|r| r >= ABSENT_AFTER) && !listed(p))
            .map(|p| p.name.clone())
            .collect();
        // Behind a dead member that blocks the store, a new one waits off the list for as long as it takes.
        let blocked = members.iter().any(|(a, _)| !self.pods.iter().any(|p| p.addresses.contains(&a)));
        if absent.is_empty() || blocked {
            return Ok(());
        }
        Err(Refusal::Absent { release: self.release, component: self.component, absent })
    }

    /// The pod in which `cw-mark_node_failed` is run: for Cassandra one that can tell the ring, for the others any
    /// whose etcd proxy runs.
    fn marker(&self, members: &Members, store: Store) -> Option<String> {
        let stays = |p: &&PodState| p.addresses.iter().any(|&a| members.state(a).is_some_and(MemberState::is_staying));
        let living = || self.pods.iter().filter(|p| !p.terminating && !p.addresses.is_empty());
        let pod = living().find(stays).or_else(|| living().find(|_| store != Store::Cassandra));
        pod.map(|p| p.name.clone())
    }
}

/// Whether the component may have a HorizontalPodAutoscaler: only what can shrink at any moment without loss.
///
/// ```
/// use clearwater::component::{Component, Release};
/// use clearwater::scale::check_autoscale;
///
/// assert!(check_autoscale(Release::Hunter, Component::Sprout).is_ok());
/// assert!(check_autoscale(Release::Hunter, Component::Chronos).is_err());
/// ```
///
/// # Errors
/// The rule that forbids it.
pub fn check_autoscale(release: Release, component: Component) -> Result<(), Refusal> {
    let entry = entry(release, component).ok_or_else(|| Refusal::NotInRelease {
        component,
        release,
        known: catalogue(release).iter().map(|e| e.component).collect(),
    })?;
    let reason = match (entry.scaling.up, entry.scaling.down) {
        (Rule::Free, Rule::Free) => return Ok(()),
        (Rule::Never, _) => return Err(Refusal::NotElasticAtAll { component, reason: entry.scaling.reason }),
        (Rule::NeedsAddresses, _) => {
            "its pods hold the connections of subscribers' devices, and each time it shrinks some of those are cut"
        }
        _ => entry.scaling.reason,
    };
    let way = if entry.scaling.down == Rule::Never { "upwards, one by one" } else { "step by step" };
    Err(Refusal::NotElastic { component, reason, way })
}

/// How long a ready pod may be missing from the list of members: 60 s for its etcd proxy, 30 s of the cluster
/// manager's delay, and as much again (clearwater-etcd `debian/clearwater-etcd.init.d`, `synchronization_fsm.py`).
const ABSENT_AFTER: Duration = Duration::from_secs(180);

/// Expected times and deadlines of a store's changes, in seconds.
struct Times {
    join_one: u64,
    join_one_deadline: u64,
    leave: u64,
    leave_deadline: u64,
    mark: u64,
}

impl Times {
    /// `grace` is the pods' own, where it is known.
    fn of(entry: &Entry, clustering: &Clustering, grace: Option<u32>) -> Self {
        let grace = entry.pre_stop.map(|p| u64::from(grace.unwrap_or(p.grace_seconds)));
        Self {
            // 30 s of delay, the start before and the acknowledgements after; Cassandra streams data besides.
            join_one: if clustering.store == Store::Cassandra { 180 } else { 60 },
            join_one_deadline: 3 * u64::from(entry.slowest_start_seconds),
            leave: 50,
            leave_deadline: grace.unwrap_or(300) + 30,
            mark: 45,
        }
    }

    /// How long it takes until as many as this, whose pods start together, have joined. Each who arrives makes those wait
    /// anew who ask already, 30 s in which they acknowledge nothing; all who arrive within the first wait are through
    /// after the second (two that came 12 s apart: 60.4 s instead of 30).
    fn join(&self, members: u32) -> u64 {
        if members > 1 { self.join_one + JOIN_DELAY } else { self.join_one }
    }

    /// After how long something must be wrong: each may arrive at the end of the wait that the one before began.
    fn join_deadline(&self, members: u32) -> u64 {
        self.join_one_deadline + JOIN_DELAY * u64::from(members.saturating_sub(1))
    }
}

/// The cluster manager's delay before a change, in seconds (clearwater-etcd `synchronization_fsm.py`).
const JOIN_DELAY: u64 = 30;
