//! Scaling: the whole table of what is accepted and refused, and the planner against a model of the cluster manager.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clearwater::component::{Component, Release, Rule, Store, catalogue, entry};
use clearwater::config::{BonoExposure, DeploymentFile};
use clearwater::remedy::Remedied as _;
use clearwater::scale::{
    Autoscaler, ClusterState, InvalidTarget, MemberList, MemberState, Members, MembersError, PodState, Reach, Refusal,
    ScaleAction, ScalePlan, Situation, Target, UnknownState, Violation, check_autoscale,
};
use proptest::prelude::*;

fn address(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + n))
}

fn pod(component: Component, ordinal: u32) -> PodState {
    PodState {
        name: format!("{component}-{ordinal}"),
        addresses: vec![address(ordinal)],
        ready_for: Some(Duration::from_secs(600)),
        terminating: false,
        ends_within: None,
    }
}

/// A plan in short.
fn short(plan: &ScalePlan) -> String {
    if plan.is_empty() {
        return "nothing to do".to_owned();
    }
    let steps = plan.steps.iter().map(|step| match &step.action {
        ScaleAction::MarkFailed { members, via, .. } => {
            format!("mark {} from {via}", members.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        ScaleAction::AwaitNormal { members } => format!("normal {members}"),
        ScaleAction::Join { from, to } => format!("JOIN {from}→{to}"),
        ScaleAction::Leave { pod, members } => format!("LEAVE {} →{members}", pod.as_deref().unwrap_or("one")),
        ScaleAction::AwaitLeft { pod, member } => {
            format!(
                "left {}{}",
                pod.as_deref().unwrap_or("one"),
                member.map_or_else(String::new, |m| format!(" ({m})"))
            )
        }
        ScaleAction::AwaitEnded { pod } => format!("ended {pod}"),
        ScaleAction::Publish { from, to } => format!("PUBLISH {from}..{to}"),
        ScaleAction::AwaitAddresses { from, to } => format!("addresses {from}..{to}"),
        ScaleAction::Resize { from, to } => format!("RESIZE {from}→{to}"),
        ScaleAction::AwaitServing { members } => format!("serving {members}"),
        ScaleAction::AwaitGone { members } => format!("gone {members}"),
        ScaleAction::Withdraw { from, to } => format!("WITHDRAW {to}..{from}"),
        ScaleAction::AwaitDns { members } => format!("dns {members}"),
        other => format!("{other:?}"),
    });
    let steps: Vec<_> = steps.collect();
    format!("{}  [{} s]", steps.join(", "), plan.expected_seconds())
}

fn outcome(situation: &Situation) -> String {
    match situation.plan() {
        Ok(plan) => short(&plan),
        Err(refusal) => format!("REFUSED {}", refusal.advice()),
    }
}

/// What the members of a store may look like when one scales it.
fn seen(situation: &Situation) -> Vec<(&'static str, Situation)> {
    use MemberState::{Error, JoiningAcknowledgedChange, Leaving, Normal, NormalAcknowledgedChange};
    let &Situation { component, from, .. } = situation;
    let pods: Vec<_> = (0..from).map(|o| pod(component, o)).collect();
    let with = |pods: &[PodState], members: MemberList| Situation { pods: pods.to_vec(), members, ..situation.clone() };
    let normal = |n: u32| (0..n).map(|o| (address(o), Normal)).collect::<Vec<_>>();
    let read = |m: Vec<(IpAddr, MemberState)>| MemberList::Read(m.into_iter().collect());
    let mut all = vec![
        ("stable", with(&pods, read(normal(from)))),
        ("unknown", with(&pods, MemberList::None)),
        ("unreadable", with(&pods, MemberList::Unreadable(MembersError::Address("etcd".to_owned())))),
    ];
    let mut leaving: Vec<_> = normal(from).into_iter().map(|(a, _)| (a, NormalAcknowledgedChange)).collect();
    leaving.push((address(from), Leaving));
    let mut and_last = pods.clone();
    and_last.push(PodState { terminating: true, ..pod(component, from) });
    all.push(("one leaving", with(&and_last, read(leaving))));
    if let Some(last) = from.checked_sub(1) {
        let mut joining: Vec<_> = normal(last).into_iter().map(|(a, _)| (a, NormalAcknowledgedChange)).collect();
        joining.push((address(last), JoiningAcknowledgedChange));
        all.push(("one joining", with(&pods, read(joining))));
        let mut stale = normal(from);
        stale.push((address(99), Normal));
        all.push(("one dead", with(&pods, read(stale))));
        let mut error = normal(from);
        error[0].1 = Error;
        all.push(("one in error", with(&pods, read(error))));
        all.push(("list lost", with(&pods, read(Vec::new()))));
        let mut ending = pods.clone();
        ending[last as usize].terminating = true;
        all.push(("one told to stop", with(&ending, read(normal(from)))));
    }
    all
}

#[test]
fn the_whole_table() {
    for release in Release::ALL {
        for e in catalogue(release) {
            let component = e.component;
            // Where the older release's rules are the same, so is its table.
            if release == Release::Classic && entry(Release::Hunter, component).is_some() {
                assert_eq!(entry(Release::Hunter, component).unwrap().scaling.up, e.scaling.up);
                continue;
            }
            let mut table = String::new();
            for from in 0..=3 {
                for to in 0..=3 {
                    let mut situation = Situation::new(release, component, from, to);
                    let pods = |ready: u32, all: u32| -> Vec<PodState> {
                        let ready_for = |o| (o < ready).then_some(Duration::from_secs(600));
                        (0..all).map(|o| PodState { ready_for: ready_for(o), ..pod(component, o) }).collect()
                    };
                    situation.pods = pods(from, from);
                    let rows: Vec<(String, Situation)> = if e.clustering.is_some() {
                        seen(&situation).into_iter().map(|(name, s)| (name.to_owned(), s)).collect()
                    } else if component == Component::Bono {
                        reaches().into_iter().map(|(n, reach)| (n, Situation { reach, ..situation.clone() })).collect()
                    } else {
                        let owner = Autoscaler { name: component.to_string(), min: 1, max: 6 };
                        let with_one = Situation { autoscaler: Some(owner), ..situation.clone() };
                        let mut rows = vec![(String::new(), situation.clone()), ("autoscaled".to_owned(), with_one)];
                        if from == to && from > 0 {
                            let starting = Situation { pods: pods(from - 1, from), ..situation.clone() };
                            let mut ending = Situation { pods: pods(from, from + 1), ..situation };
                            ending.pods[from as usize].terminating = true;
                            rows.push(("one starting".to_owned(), starting));
                            rows.push(("one ending".to_owned(), ending));
                        }
                        rows
                    };
                    for (name, situation) in rows {
                        let _ = writeln!(table, "{from}→{to} {name}: {}", outcome(&situation));
                    }
                }
            }
            insta::assert_snapshot!(format!("table-{component}"), table);
        }
    }
}

fn reaches() -> Vec<(String, Reach)> {
    let mut all = vec![("headless".to_owned(), Reach::default())];
    for (name, exposure) in [
        ("hostPort", BonoExposure::HostPort),
        ("nodePort", BonoExposure::NodePort),
        ("loadBalancer", BonoExposure::LoadBalancer),
        ("externalIPs", BonoExposure::ExternalIps),
    ] {
        for addresses in [0, 2] {
            all.push((format!("{name} {addresses} addresses"), Reach { exposure, addresses, nodes: None }));
        }
    }
    let two_nodes = Reach { exposure: BonoExposure::HostPort, addresses: 0, nodes: Some(2) };
    all.push(("hostPort on 2 nodes".to_owned(), two_nodes));
    all
}

#[test]
fn plans_as_a_dry_run_shows_them() {
    let mut text = String::new();
    let mut show = |situation: &Situation| {
        let _ = match situation.plan() {
            Ok(plan) => writeln!(text, "{plan}\n"),
            Err(refusal) => writeln!(text, "{}\n", refusal.advice()),
        };
    };
    for (component, from, to) in [
        (Component::Astaire, 1, 3),
        (Component::Astaire, 3, 1),
        (Component::Cassandra, 1, 3),
        (Component::Sprout, 1, 3),
        (Component::Sprout, 3, 3),
        (Component::Sprout, 1, 0),
    ] {
        let situation = Situation::new(Release::Hunter, component, from, to);
        if entry(Release::Hunter, component).unwrap().clustering.is_some() {
            show(&seen(&situation)[0].1);
        } else {
            let pods = (0..from).map(|o| pod(component, o)).collect();
            show(&Situation { pods, ..situation });
        }
    }
    for (component, from, to, what) in [
        (Component::Chronos, 2, 3, "one dead"),
        (Component::Chronos, 2, 1, "one leaving"),
        (Component::Chronos, 2, 2, "one joining"),
        (Component::Cassandra, 3, 3, "one told to stop"),
    ] {
        let situation = Situation::new(Release::Hunter, component, from, to);
        show(&seen(&situation).into_iter().find(|(name, _)| *name == what).unwrap().1);
    }
    let bono = |from, to, exposure, addresses| {
        let reach = Reach { exposure, addresses, nodes: None };
        Situation { reach, ..Situation::new(Release::Hunter, Component::Bono, from, to) }
    };
    show(&bono(1, 2, BonoExposure::Headless, 0));
    show(&bono(1, 3, BonoExposure::LoadBalancer, 0));
    show(&bono(2, 1, BonoExposure::NodePort, 2));
    insta::assert_snapshot!(text);
}

/// What somebody scaled by hand is brought back by what is not refused.
#[test]
fn what_was_scaled_by_hand_is_led_back_by_advice_that_can_be_followed() {
    let plan = |component, from, to, members: &str| {
        let mut situation = Situation::new(Release::Hunter, component, from, to);
        situation.members = MemberList::Read(Members::parse(members).unwrap());
        situation
    };
    let advice = |situation: &Situation| situation.plan().unwrap_err().advice().to_string();
    // To 0, without leaving: whoever would mark the member as failed does not come by itself.
    let gone = plan(Component::Cassandra, 0, 1, r#"{"10.1.0.0": "normal"}"#);
    let said = advice(&gone);
    assert!(said.contains("What works: take cassandra down, then bring the deployment up, which"), "{said}");
    // One that comes does, and `up` runs it there.
    let coming = plan(Component::Cassandra, 1, 1, r#"{"10.1.0.0": "normal"}"#);
    let said = advice(&coming);
    assert!(said.contains("What works: bring the deployment up, which marks it once a pod of it runs"), "{said}");
    // An etcd that others were put beside is the first of them.
    let etcd = Situation::new(Release::Hunter, Component::Etcd, 3, 1).plan().unwrap();
    assert!(etcd.notices.iter().any(|n| n.contains("an etcd of its own")), "{etcd}");
    let mut unnumbered = Situation::new(Release::Hunter, Component::Etcd, 2, 1);
    unnumbered.numbered = false;
    assert!(matches!(unnumbered.plan(), Err(Refusal::OneMember { .. })), "which goes first is not known");
}

/// As in functest's chart: Deployments, with a container beside the component's own that nothing tells to end.
#[test]
fn no_pod_of_a_deployment_is_named_before_it_is_known() {
    let mut situation = Situation::new(Release::Hunter, Component::Chronos, 2, 1);
    situation.numbered = false;
    situation.grace_seconds = Some(120);
    situation.lingering = vec!["tailer".to_owned()];
    situation.members = MemberList::Read(Members::parse(r#"{"10.1.0.0": "normal", "10.1.0.1": "normal"}"#).unwrap());
    let named = |n: u32, name: &str| PodState { name: name.to_owned(), ..pod(Component::Chronos, n) };
    situation.pods = vec![named(0, "chronos-7d9-x"), named(1, "chronos-7d9-y")];
    let shown = situation.plan().unwrap().to_string();
    assert!(!shown.contains("chronos-1"), "{shown}");
    for line in [
        "1. stop one pod of chronos, which leaves first (about 1 s)",
        "2. wait until it is off the list of members (about 50 s)",
        "note: chronos is a Deployment: Kubernetes chooses which pod stops, one at a time",
        "note: nothing tells tailer in its pods to end: a pod that has left the list stands on until its time to stop is over, \
         for 120 s at most",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    // Nor one that is to come.
    for (to, line) in [
        (3, "1. start one more pod of chronos, which joins (about 1 s)"),
        (4, "1. start 2 more pods of chronos, which join together (about 1 s)"),
    ] {
        situation.to = to;
        let shown = situation.plan().unwrap().to_string();
        assert!(shown.contains(line) && !shown.contains("chronos-2"), "{shown}");
    }
    situation.to = 1;
    // It is told to stop: its name and its time are known.
    situation.from = 1;
    situation.pods[1].terminating = true;
    situation.pods[1].ends_within = Some(Duration::from_secs(100));
    let plan = situation.plan().unwrap();
    assert_eq!(plan.describe(&plan.steps[0].action), "wait until chronos-7d9-y (10.1.0.1) is off the list of members");
    assert_eq!(plan.steps[0].deadline_seconds, 150);
    // It is off the list, and stands on.
    situation.members = MemberList::Read(Members::parse(r#"{"10.1.0.0": "normal"}"#).unwrap());
    let plan = situation.plan().unwrap();
    assert_eq!(short(&plan), "ended chronos-7d9-y  [100 s]");
    assert_eq!(plan.steps[0].expected_seconds, 100);
    situation.pods.pop();
    assert!(situation.plan().unwrap().is_empty());
}

#[test]
fn plans_serialise() {
    let situation = Situation::new(Release::Hunter, Component::Chronos, 1, 2);
    let plan = seen(&situation)[0].1.plan().unwrap();
    insta::assert_snapshot!(serde_json::to_string(&plan).unwrap(), @r#"{"component":"chronos","from":1,"to":2,"steps":[{"action":"join","from":1,"to":2,"expectedSeconds":1,"deadlineSeconds":30},{"action":"await-normal","members":2,"expectedSeconds":60,"deadlineSeconds":270}],"notices":[]}"#);
}

#[test]
fn how_bonos_are_reached_is_read_from_the_deployment_file() {
    let reach = |bono: &str| {
        let text = format!("apiVersion: clearwater/v1\nbono: {bono}");
        Reach::of(&DeploymentFile::parse(&text, "clearwater.yaml").unwrap().deploy("ims").unwrap())
    };
    assert_eq!(reach("{}"), Reach::default());
    let two = reach("{exposure: loadBalancer, addresses: [192.0.2.1, 192.0.2.2]}");
    assert_eq!(two, Reach { exposure: BonoExposure::LoadBalancer, addresses: 2, nodes: None });
    let table = reach("{exposure: hostPort, nodeAddresses: {a: 192.0.2.1}}");
    assert_eq!(table, Reach { exposure: BonoExposure::HostPort, addresses: 1, nodes: None });
}

#[test]
fn who_may_be_autoscaled() {
    let mut text = String::new();
    for release in Release::ALL {
        for e in catalogue(release) {
            let verdict =
                check_autoscale(release, e.component).map_or_else(|r| r.advice().to_string(), |()| "yes".to_owned());
            let _ = writeln!(text, "{release} {}: {verdict}", e.component);
        }
    }
    let _ = writeln!(text, "{}", check_autoscale(Release::Hunter, Component::Memcached).unwrap_err());
    insta::assert_snapshot!(text);
}

#[test]
fn dead_members_are_marked_only_with_consent() {
    let situation = Situation::new(Release::Hunter, Component::Chronos, 2, 3);
    let plan = seen(&situation).into_iter().find(|(n, _)| *n == "one dead").unwrap().1.plan().unwrap();
    assert_eq!(plan.marks_failed(), [address(99)]);
    insta::assert_snapshot!(plan.without_consent().unwrap().advice(), @"chronos is not scaled: its member 10.1.0.99 has no pod any more, and the others wait for it for ever. What works: agree to marking it as failed");
    let stable = seen(&situation)[0].1.plan().unwrap();
    assert_eq!((stable.marks_failed(), stable.without_consent()), (&[][..], None));
}

#[test]
fn states_have_upstream_s_words() {
    for state in MemberState::ALL {
        assert_eq!(state.name().parse(), Ok(state));
        assert_eq!(serde_json::to_string(&state).unwrap(), format!("{:?}", state.name()));
        let groups = [state.is_joining(), state.is_leaving(), state.is_staying(), state == MemberState::Error];
        assert_eq!(groups.iter().filter(|&&g| g).count(), 1, "{state}");
    }
    assert_eq!("Normal".parse::<MemberState>(), Err(UnknownState("Normal".to_owned())));
}

#[test]
fn lists_of_members_are_read_or_refused() {
    assert_eq!(Members::parse(" \n").unwrap(), Members::default());
    assert_eq!(Members::parse("{}").unwrap().cluster_state(), ClusterState::Empty);
    let error = |text: &str| Members::parse(text).unwrap_err().to_string();
    assert!(error("[]").starts_with("the list of members is not a JSON object of addresses and states: "));
    assert_eq!(error(r#"{"etcd": "normal"}"#), "the list of members names \"etcd\", which is not an IP address");
    assert_eq!(
        error(r#"{"10.1.0.4": "asleep"}"#),
        "the member 10.1.0.4 is in a state that is not known: \"asleep\" is not a state that a member of a Clearwater \
         cluster can be in"
    );
    let both = Members::parse(r#"{"fd00::4": "normal", "10.1.0.4": "finished"}"#).unwrap();
    assert_eq!(both.to_string(), "10.1.0.4 finished; fd00::4 normal");
}

#[test]
fn cluster_states_are_computed_as_upstream_does() {
    use MemberState as M;
    let state = |states: &[M]| {
        let members: Members =
            states.iter().enumerate().map(|(i, &s)| (address(u32::try_from(i).unwrap()), s)).collect();
        members.cluster_state()
    };
    assert_eq!(state(&[M::Normal, M::Normal]), ClusterState::Stable);
    assert_eq!(state(&[M::Normal, M::Error]), ClusterState::StableWithErrors);
    assert_eq!(state(&[M::Error]), ClusterState::StableWithErrors);
    assert_eq!(state(&[M::Normal, M::WaitingToJoin, M::Error]), ClusterState::JoinPending);
    assert_eq!(state(&[M::NormalAcknowledgedChange, M::Joining]), ClusterState::StartedJoining);
    assert_eq!(state(&[M::Normal, M::JoiningAcknowledgedChange]), ClusterState::StartedJoining);
    assert_eq!(state(&[M::NormalAcknowledgedChange, M::JoiningConfigChanged]), ClusterState::JoiningConfigChanging);
    assert_eq!(state(&[M::Normal, M::JoiningConfigChanged]), ClusterState::JoiningResyncing);
    assert_eq!(state(&[M::Normal, M::WaitingToLeave]), ClusterState::LeavePending);
    assert_eq!(state(&[M::Normal, M::LeavingAcknowledgedChange]), ClusterState::StartedLeaving);
    assert_eq!(state(&[M::NormalConfigChanged, M::LeavingAcknowledgedChange]), ClusterState::LeavingConfigChanging);
    assert_eq!(state(&[M::NormalConfigChanged, M::Finished]), ClusterState::LeavingResyncing);
    assert_eq!(state(&[M::Normal, M::Finished]), ClusterState::FinishedLeaving);
    assert_eq!(state(&[M::WaitingToLeave, M::WaitingToJoin]), ClusterState::Invalid);
}

#[test]
fn targets_are_numbers_with_or_without_sign() {
    assert_eq!("+0".parse::<Target>().unwrap().resolve(2).unwrap(), 2);
    for wrong in ["", "+", "-", "two", "1.5", "+-1", "--1", "+ 1", "99999999999", "１"] {
        assert_eq!(wrong.parse::<Target>(), Err(InvalidTarget::NotANumber(wrong.to_owned())), "{wrong}");
    }
    assert_eq!(
        "+2147483647".parse::<Target>().unwrap().resolve(1).unwrap_err().to_string(),
        "+2147483647 on top of 1 members is more than Kubernetes can count"
    );
}

// A model of Kubernetes and of the cluster manager: pods of a StatefulSet, each with a cluster manager that plays
// upstream's state machine on a shared list (clearwater-etcd synchronization_fsm.py, cluster_state.py), and somebody
// who carries plans out. The test's random choices say who acts next, which pod dies, and when the plan's executor is
// killed and plans again.

struct Node {
    name: String,
    terminating: bool,
    was_listed: bool,
}

struct Cluster {
    component: Component,
    store: Store,
    leaves: bool,
    replicas: u32,
    nodes: BTreeMap<IpAddr, Node>,
    list: BTreeMap<IpAddr, MemberState>,
    /// Dead members that a run of `cw-mark_node_failed` acts for.
    marking: Vec<IpAddr>,
    next_address: u32,
    history: Vec<String>,
}

impl Cluster {
    fn new(component: Component) -> Self {
        let e = entry(Release::Hunter, component).or_else(|| entry(Release::Classic, component)).unwrap();
        Self {
            component,
            store: e.clustering.unwrap().store,
            leaves: e.pre_stop.is_some(),
            replicas: 1,
            nodes: BTreeMap::new(),
            list: BTreeMap::new(),
            marking: Vec::new(),
            next_address: 0,
            history: Vec::new(),
        }
    }

    fn members(&self) -> Members {
        self.list.iter().map(|(&a, &s)| (a, s)).collect()
    }

    fn dead(&self) -> Vec<IpAddr> {
        self.list.keys().copied().filter(|a| !self.nodes.contains_key(a)).collect()
    }

    fn write(&mut self, member: IpAddr, state: Option<MemberState>) {
        match state {
            Some(state) => {
                self.list.insert(member, state);
                if let Some(node) = self.nodes.get_mut(&member) {
                    node.was_listed = true;
                }
            }
            None => {
                self.list.remove(&member);
            }
        }
        self.note();
    }

    fn note(&mut self) {
        let members = self.members();
        self.history.push(members.to_string());
        let checked = members.check(&self.dead());
        assert_eq!(checked, Ok(()), "{} {}", self.component, self.history.join("\n"));
    }

    /// One turn of the member's state machine. `forced` for a dead one that is being marked as failed.
    fn turn(&mut self, me: IpAddr, forced: bool) {
        use MemberState as M;
        let cluster = self.members().cluster_state();
        let mine = self.list.get(&me).copied();
        let wants_out = forced || self.nodes.get(&me).is_some_and(|n| n.terminating && self.leaves);
        let may_leave = matches!(cluster, ClusterState::Stable | ClusterState::LeavePending)
            || (forced && cluster == ClusterState::StableWithErrors);
        if wants_out && may_leave && matches!(mine, Some(M::Normal | M::Error)) {
            return self.write(me, Some(M::WaitingToLeave));
        }
        let next = match (cluster, mine) {
            (ClusterState::Empty | ClusterState::Stable | ClusterState::JoinPending, None) if !wants_out => {
                Some(M::WaitingToJoin)
            }
            (ClusterState::JoinPending, Some(M::WaitingToJoin)) => {
                return self.switch(M::WaitingToJoin, M::Joining);
            }
            (ClusterState::LeavePending, Some(M::WaitingToLeave)) => {
                return self.switch(M::WaitingToLeave, M::Leaving);
            }
            (ClusterState::StartedJoining | ClusterState::StartedLeaving, Some(M::Normal)) => {
                Some(M::NormalAcknowledgedChange)
            }
            (ClusterState::StartedJoining, Some(M::Joining)) => Some(M::JoiningAcknowledgedChange),
            (ClusterState::StartedLeaving, Some(M::Leaving)) => Some(M::LeavingAcknowledgedChange),
            (
                ClusterState::JoiningConfigChanging | ClusterState::LeavingConfigChanging,
                Some(M::NormalAcknowledgedChange),
            ) => Some(M::NormalConfigChanged),
            (ClusterState::JoiningConfigChanging, Some(M::JoiningAcknowledgedChange)) => Some(M::JoiningConfigChanged),
            (ClusterState::LeavingConfigChanging, Some(M::LeavingAcknowledgedChange)) => Some(M::LeavingConfigChanged),
            (
                ClusterState::JoiningResyncing | ClusterState::LeavingResyncing,
                Some(M::NormalConfigChanged | M::JoiningConfigChanged),
            ) => Some(M::Normal),
            (ClusterState::LeavingResyncing, Some(M::LeavingConfigChanged)) => Some(M::Finished),
            (ClusterState::FinishedLeaving, Some(M::Finished)) => return self.write(me, None),
            _ => None,
        };
        if next.is_some() {
            self.write(me, next);
        }
    }

    fn switch(&mut self, from: MemberState, to: MemberState) {
        for state in self.list.values_mut().filter(|s| **s == from) {
            *state = to;
        }
        self.note();
    }

    /// The StatefulSet's controller and the kubelet.
    fn control(&mut self) {
        for ordinal in 0..self.replicas {
            let name = format!("{}-{ordinal}", self.component);
            if !self.nodes.values().any(|n| n.name == name) {
                let ordered = self.store == Store::Cassandra;
                self.nodes.insert(address(self.next_address), Node { name, terminating: false, was_listed: false });
                self.next_address += 1;
                if ordered {
                    break;
                }
            }
        }
        let replicas = self.replicas;
        let component = self.component;
        let ordinal = |n: &Node| n.name[component.name().len() + 1..].parse::<u32>().unwrap();
        for node in self.nodes.values_mut().filter(|n| ordinal(n) >= replicas) {
            node.terminating = true;
        }
        let listed = &self.list;
        let leaves = self.leaves;
        self.nodes.retain(|a, n| !n.terminating || (leaves && listed.contains_key(a)));
    }

    fn situation(&self, to: u32) -> Situation {
        let mut situation = Situation::new(
            if self.component == Component::Memcached { Release::Classic } else { Release::Hunter },
            self.component,
            self.replicas,
            to,
        );
        situation.members = MemberList::Read(self.members());
        situation.pods = self
            .nodes
            .iter()
            .map(|(&a, n)| PodState {
                name: n.name.clone(),
                addresses: vec![a],
                ready_for: n.was_listed.then_some(Duration::from_secs(600)),
                terminating: n.terminating,
                ends_within: None,
            })
            .collect();
        situation
    }

    /// Carries a step out as far as it goes now; whether it is complete.
    fn carry_out(&mut self, action: &ScaleAction) -> bool {
        if let Some(replicas) = action.replicas() {
            self.replicas = replicas;
            return true;
        }
        match action {
            ScaleAction::MarkFailed { members, .. } => {
                for &m in members {
                    let dead = !self.nodes.contains_key(&m);
                    if dead && self.list.contains_key(&m) && !self.marking.contains(&m) {
                        self.marking.push(m);
                        self.write(m, Some(MemberState::Error));
                    }
                }
                members.iter().all(|m| !self.list.contains_key(m))
            }
            ScaleAction::AwaitNormal { members } => self.members().all_normal(*members as usize),
            ScaleAction::AwaitLeft { pod, member: Some(m) } => {
                !self.list.contains_key(m) && !self.nodes.iter().any(|(a, n)| a == m && Some(&n.name) == pod.as_ref())
            }
            ScaleAction::AwaitLeft { pod: Some(pod), member: None } | ScaleAction::AwaitEnded { pod } => {
                !self.nodes.values().any(|n| n.name == *pod)
            }
            other => panic!("a store's plan has the step {other:?}"),
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Turn(prop::sample::Index),
    Mark(prop::sample::Index),
    Control,
    CarryOut,
    KillExecutor,
    KillPod(prop::sample::Index),
    Delete(prop::sample::Index),
    Want(u32),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        20 => any::<prop::sample::Index>().prop_map(Act::Turn),
        6 => any::<prop::sample::Index>().prop_map(Act::Mark),
        8 => Just(Act::Control),
        10 => Just(Act::CarryOut),
        1 => Just(Act::KillExecutor),
        1 => any::<prop::sample::Index>().prop_map(Act::KillPod),
        1 => any::<prop::sample::Index>().prop_map(Act::Delete),
        1 => (1_u32..5).prop_map(Act::Want),
    ]
}

/// Somebody who wants a number of members, and plans anew whenever a plan is through, has become void, or was
/// forgotten.
struct Executor {
    wanted: u32,
    plan: Option<(ScalePlan, usize)>,
}

impl Executor {
    fn carry_out(&mut self, cluster: &mut Cluster) {
        let planned = self.plan.as_ref().map(|(p, _)| p.marks_failed().to_vec()).unwrap_or_default();
        if cluster.dead().iter().any(|d| !planned.contains(d)) {
            self.forget(cluster);
        }
        let (plan, at) = match self.plan.take() {
            Some(plan) => plan,
            None => match cluster.situation(self.wanted).plan() {
                Ok(plan) => (plan, 0),
                // Everybody is dead, or a member that the test deleted is not back yet.
                Err(Refusal::NobodyToMark { .. }) => return,
                Err(refusal) => panic!("{refusal}\n{}", cluster.history.join("\n")),
            },
        };
        let Some(step) = plan.steps.get(at) else { return };
        let at = if cluster.carry_out(&step.action) { at + 1 } else { at };
        self.plan = (at < plan.steps.len()).then_some((plan, at));
    }

    fn forget(&mut self, cluster: &mut Cluster) {
        self.plan = None;
        // The command that it ran in the pod dies with it.
        cluster.marking.clear();
    }
}

fn play(component: Component, acts: &[Act], seed: &[prop::sample::Index]) {
    let mut cluster = Cluster::new(component);
    let mut executor = Executor { wanted: 1, plan: None };
    let never_down = entry(Release::Hunter, component).is_some_and(|e| e.scaling.down == Rule::Never);
    let mut deaths = 0;
    for act in acts {
        let staying = cluster.list.iter().filter(|(a, s)| s.is_staying() && cluster.nodes.contains_key(a)).count();
        match act {
            Act::Turn(i) if !cluster.nodes.is_empty() => {
                let me = *cluster.nodes.keys().nth(i.index(cluster.nodes.len())).unwrap();
                cluster.turn(me, false);
            }
            Act::Mark(i) if !cluster.marking.is_empty() => {
                let me = cluster.marking[i.index(cluster.marking.len())];
                if cluster.list.contains_key(&me) {
                    cluster.turn(me, true);
                }
            }
            Act::Control => cluster.control(),
            Act::CarryOut => executor.carry_out(&mut cluster),
            Act::KillExecutor => executor.forget(&mut cluster),
            // Cassandra's ring is lost with its last member, and nothing repairs that.
            Act::KillPod(i) if deaths < 4 && (cluster.store != Store::Cassandra || staying > 1) => {
                if let Some(&victim) = cluster.nodes.keys().nth(i.index(cluster.nodes.len().max(1))) {
                    cluster.nodes.remove(&victim);
                    deaths += 1;
                }
            }
            // Somebody else's `kubectl delete pod`; two at once is what the plans are there to avoid.
            Act::Delete(i) if cluster.leaves && cluster.members().all_normal(cluster.nodes.len()) => {
                let another =
                    cluster.nodes.len() > cluster.replicas as usize || cluster.nodes.values().any(|n| n.terminating);
                if !another
                    && executor.plan.is_none()
                    && let Some(node) = cluster.nodes.values_mut().nth(i.index(cluster.replicas.max(1) as usize))
                    && !cluster.list.is_empty()
                {
                    node.terminating = true;
                }
            }
            Act::Want(n) if !never_down || *n >= cluster.replicas.max(executor.wanted) => {
                executor.wanted = *n;
                executor.forget(&mut cluster);
            }
            _ => {}
        }
    }
    // No more failures: it converges.
    for round in 0..400 {
        cluster.control();
        for i in seed {
            if !cluster.nodes.is_empty() {
                let me =
                    *cluster.nodes.keys().nth((i.index(cluster.nodes.len()) + round) % cluster.nodes.len()).unwrap();
                cluster.turn(me, false);
            }
            for m in cluster.marking.clone() {
                if cluster.list.contains_key(&m) {
                    cluster.turn(m, true);
                }
            }
        }
        executor.carry_out(&mut cluster);
        let done = cluster.replicas == executor.wanted && cluster.members().all_normal(executor.wanted as usize);
        if done && executor.plan.is_none() && cluster.situation(executor.wanted).plan().is_ok_and(|p| p.is_empty()) {
            return;
        }
    }
    panic!("{component} does not converge to {}: {}", executor.wanted, cluster.history.join("\n"));
}

proptest! {
    #[test]
    fn the_invariant_holds_whatever_dies(
        acts in prop::collection::vec(act(), 0..400),
        seed in prop::collection::vec(any::<prop::sample::Index>(), 16),
    ) {
        for component in [Component::Astaire, Component::Chronos, Component::Cassandra, Component::Memcached] {
            play(component, &acts, &seed);
        }
    }

    #[test]
    fn any_situation_gives_a_plan_or_a_refusal(
        from in 0_u32..6, to in 0_u32..6,
        states in prop::collection::vec((0_u32..8, 0_usize..13), 0..6),
        pods in prop::collection::vec((0_u32..8, any::<bool>(), prop::option::of(0_u64..400)), 0..6),
        which in 0_usize..10,
    ) {
        let component = catalogue(Release::Classic)[which].component;
        let release = if entry(Release::Hunter, component).is_some() { Release::Hunter } else { Release::Classic };
        let mut situation = Situation::new(release, component, from, to);
        situation.members = MemberList::Read(states.iter().map(|&(a, s)| (address(a), MemberState::ALL[s])).collect());
        situation.pods = pods
            .iter()
            .map(|&(o, terminating, ready)| PodState { terminating, ready_for: ready.map(Duration::from_secs), ..pod(component, o) })
            .collect();
        match situation.plan() {
            Ok(plan) => {
                let mut replicas = from;
                for step in &plan.steps {
                    prop_assert!(step.expected_seconds <= step.deadline_seconds);
                    if let Some(next) = step.action.replicas() {
                        // A store never loses two at once, and goes only one way; who stands beside the one etcd is no member.
                        prop_assert!(!component.is_store() || component == Component::Etcd || next + 1 >= replicas);
                        replicas = next;
                    }
                }
                prop_assert_eq!(replicas, to);
                // The text has a line for each step, and says so where there is none.
                let text = plan.to_string();
                prop_assert_eq!(text.lines().filter(|l| l.contains(" (about ")).count(), plan.steps.len(), "{}", text);
                prop_assert_eq!(text.contains("nothing to do"), plan.is_empty(), "{}", text);
            }
            Err(refusal) => prop_assert!(refusal.advice().to_string().contains("What works: "), "{}", refusal),
        }
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in any::<String>()) {
        let _ = Members::parse(&text);
        let _ = text.parse::<Target>();
        let _ = text.parse::<MemberState>();
    }
}

#[test]
fn violations_say_who() {
    use MemberState as M;
    let members: Members = [(address(1), M::Joining), (address(2), M::Finished)].into_iter().collect();
    let violation = members.check(&[]).unwrap_err();
    assert_eq!(violation.to_string(), "one joins while another leaves: joining 10.1.0.1; leaving 10.1.0.2");
    let members: Members = [(address(1), M::Error)].into_iter().collect();
    assert_eq!(members.check(&[]), Err(Violation::LivingInError(vec![address(1)])));
    assert_eq!(members.check(&[address(1)]), Ok(()));
}
