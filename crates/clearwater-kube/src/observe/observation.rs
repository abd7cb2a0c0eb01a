//! Everything that is known of a namespace, put together from what was observed. Pure but for the clock.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::manifest::held;
use clearwater::scale::Members;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSetSpec;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::time::Instant;

use super::etcd::MembersUpdate;
use super::exits::Exits;
use super::members::MembersSeen;
use super::report::Report;
use super::snapshot::{Kind, Snapshot, Update, WatchEvent};
use super::watch_pod::ProbeResult;
use crate::pod::object::{addresses, claims, has_ended, running_since};

/// A member without a pod is dead after so long: the list and the pods are watched apart, and one that leaves in good
/// order strikes itself off the list before its pod goes. While the watch of pods is broken nothing is certain: each word
/// of that begins the time anew.
pub(crate) const CERTAIN: Duration = Duration::from_secs(3);

/// A member whose data is on a volume goes on in another pod, which has another address and takes the old one off the list
/// by itself. To mark that one as failed would take its rows off the ring (clearwater-etcd-plugins
/// `clearwater_cassandra/cassandra_failed_plugin.py`: `nodetool removenode`). So it counts as dead when all pods
/// have been running for so long and it is there still, because nothing of it came back.
const COMES_BACK: SignedDuration = SignedDuration::from_secs(60);

/// One thing that was observed.
#[derive(Debug)]
pub(crate) enum Observed {
    /// What the API server says.
    Watch(WatchEvent),
    /// What a pod says.
    Pod(Box<ProbeResult>),
    /// What etcd says of a store's members.
    Members(MembersUpdate),
}

/// What is known of a store's list of members.
#[derive(Clone, Debug, Default)]
struct List {
    /// What was seen last.
    seen: Option<MembersSeen>,
    /// The list that was read last.
    read: Option<Members>,
    /// Members that no pod stands behind, with since when.
    orphans: BTreeMap<IpAddr, Instant>,
}

/// What is known of a namespace.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// What the watches say.
    pub snapshot: Snapshot,
    /// What the pods say, by uid.
    pub reports: BTreeMap<String, Report>,
    /// The exits of containers seen so far.
    pub(crate) exits: Exits,
    /// The generation that a workload must have at least, because it was given to it meanwhile, by name.
    pub(crate) generations: BTreeMap<String, i64>,
    /// Connections into pods that were opened to ask something.
    pub(crate) connections: u32,
    /// What is known of members where no etcd is expected and none is there.
    pub(crate) without_etcd: Option<MembersSeen>,
    lists: BTreeMap<Component, List>,
    skew: SignedDuration,
    since: Timestamp,
}

impl Observation {
    /// Nothing is known yet, on an API server whose clock is so far ahead.
    pub(crate) fn new(skew: SignedDuration) -> Self {
        let mut seen = Self { skew, ..Self::default() };
        seen.since = seen.now();
        seen
    }

    /// What stands, and nothing else is known yet.
    pub(crate) fn of(snapshot: Snapshot) -> Self {
        Self { snapshot, ..Self::default() }
    }

    /// Now, on the API server's clock as far as it is known.
    pub(crate) fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.saturating_add(self.skew).unwrap_or(now)
    }

    /// When it was begun to look, on the API server's clock.
    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }

    /// Takes in what was observed. Yields a store's list where it changed.
    pub(crate) fn take(&mut self, observed: Observed) -> Option<(Component, Members)> {
        match observed {
            Observed::Watch(news) => {
                self.take_event(news);
                None
            }
            Observed::Pod(looked) => {
                let ProbeResult { report, connections } = *looked;
                self.connections += connections;
                if report.unauthorized.is_some() {
                    self.snapshot.unauthorized.clone_from(&report.unauthorized);
                }
                self.reports.insert(report.uid.clone(), report);
                None
            }
            Observed::Members(MembersUpdate { component, seen, connections }) => {
                self.connections += connections;
                Some((component, self.take_members(component, seen)?))
            }
        }
    }

    fn take_event(&mut self, news: WatchEvent) {
        match &news {
            WatchEvent::Pod(Update::Set(pod)) => self.exits.observe(pod),
            WatchEvent::Pod(Update::All(pods)) => pods.iter().for_each(|p| self.exits.observe(p)),
            WatchEvent::Pod(Update::Gone(pod)) => self.exits.forget(&pod.uid().unwrap_or_default()),
            WatchEvent::Trouble(Kind::Pod, _) => self.lists.values_mut().for_each(|l| l.orphans.clear()),
            _ => {}
        }
        let about_pods = matches!(news, WatchEvent::Pod(_) | WatchEvent::Trouble(Kind::Pod, _));
        self.snapshot.absorb(news);
        if about_pods {
            self.mind_orphans();
        }
    }

    /// Takes in what was seen of a store's list. Yields the list where it changed.
    pub(crate) fn take_members(&mut self, component: Component, seen: MembersSeen) -> Option<Members> {
        let list = self.lists.entry(component).or_default();
        let changed = seen.members().filter(|members| list.read.as_ref() != Some(members)).cloned();
        if let MembersSeen::Read(members) = &seen {
            list.read = Some(members.clone());
        }
        list.seen = Some(seen);
        self.mind_orphans();
        changed
    }

    /// Notes since when members have had no pod. To be called after every change of pods or lists.
    fn mind_orphans(&mut self) {
        let pods: Vec<IpAddr> = self.snapshot.pods.values().filter(|p| !has_ended(p)).flat_map(addresses).collect();
        let now = Instant::now();
        for list in self.lists.values_mut() {
            let Some(members) = &list.read else { continue };
            let stale: Vec<IpAddr> = members.stale(&pods).into_iter().map(|(a, _)| a).collect();
            list.orphans.retain(|a, _| stale.contains(a));
            for address in stale {
                list.orphans.entry(address).or_insert(now);
            }
        }
    }

    /// What is known of a store's members; `None` before anything is.
    pub fn members(&self, component: Component) -> Option<&MembersSeen> {
        match &self.without_etcd {
            Some(seen) if self.snapshot.pods_of(Component::Etcd).is_empty() => Some(seen),
            _ => self.lists.get(&component)?.seen.as_ref(),
        }
    }

    /// Members of a store that no pod stands behind, however briefly.
    pub(crate) fn orphans(&self, component: Component) -> Vec<IpAddr> {
        self.lists.get(&component).map(|l| l.orphans.keys().copied().collect()).unwrap_or_default()
    }

    /// Whether a member of the component that no pod stands behind may go on in a pod that is not there yet, or has only
    /// just begun.
    fn may_come_back(&self, component: Component) -> bool {
        let pods = self.snapshot.pods_of(component);
        if component != Component::Cassandra || !pods.iter().any(|p| claims(p).next().is_some()) {
            return false;
        }
        let runs = |pod: &Pod| {
            let statuses = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
            let since = statuses.filter_map(running_since).max();
            since.is_some_and(|since| self.now().duration_since(since) >= COMES_BACK)
        };
        let wanted = self.snapshot.stateful_sets.get(component.name()).and_then(|s| held::<StatefulSetSpec>(&s.spec));
        let wanted = usize::try_from(wanted.and_then(|s| s.replicas).unwrap_or(1)).unwrap_or(0);
        pods.len() < wanted || !pods.into_iter().all(runs)
    }

    /// Members of a store that are certainly dead.
    pub(crate) fn dead(&self, component: Component) -> Vec<IpAddr> {
        if self.may_come_back(component) {
            return Vec::new();
        }
        let orphans = self.lists.get(&component).into_iter().flat_map(|l| &l.orphans);
        orphans.filter(|(_, since)| since.elapsed() >= CERTAIN).map(|(address, _)| *address).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, address: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "uid": name, "labels": {"service": "chronos"}},
            "status": {"phase": "Running", "podIP": address}}))
        .unwrap()
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn seen(members: &str) -> MembersSeen {
        MembersSeen::Read(Members::parse(members).unwrap())
    }

    const CHRONOS: Component = Component::Chronos;

    #[tokio::test(start_paused = true)]
    async fn a_member_without_a_pod_is_dead_after_a_while_in_which_the_pods_were_seen() {
        let nearly = CERTAIN.saturating_sub(Duration::from_millis(1));
        let mut observation = Observation::default();
        observation.take(Observed::Watch(WatchEvent::Pod(Update::All(vec![pod("chronos-0", "10.0.0.1")]))));
        observation.take_members(CHRONOS, seen(r#"{"10.0.0.1": "normal", "10.0.0.9": "normal"}"#));
        assert_eq!((observation.orphans(CHRONOS), observation.dead(CHRONOS)), (vec![ip(9)], vec![]));
        tokio::time::advance(nearly).await;
        // A broken watch may hide the pod of a member.
        observation.take(Observed::Watch(WatchEvent::Trouble(Kind::Pod, "gone".to_owned())));
        tokio::time::advance(nearly).await;
        assert!(observation.dead(CHRONOS).is_empty());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(observation.dead(CHRONOS), [ip(9)]);
        // Trouble with etcd says nothing of a member; a pod of its address does.
        observation.take_members(CHRONOS, MembersSeen::Failed("broken".to_owned()));
        assert_eq!(observation.dead(CHRONOS), [ip(9)]);
        observation.take(Observed::Watch(WatchEvent::Pod(Update::Set(Box::new(pod("chronos-1", "10.0.0.9"))))));
        assert_eq!((observation.orphans(CHRONOS), observation.dead(CHRONOS)), (vec![], vec![]));
    }

    #[test]
    fn only_a_list_that_changed_is_news() {
        let mut observation = Observation::default();
        let one = r#"{"10.0.0.1": "normal"}"#;
        assert!(observation.take_members(CHRONOS, seen(one)).is_some());
        assert_eq!(observation.take_members(CHRONOS, seen(one)), None);
        assert_eq!(observation.take_members(CHRONOS, MembersSeen::Failed(String::new())), None);
        assert_eq!(observation.take_members(CHRONOS, seen(one)), None);
        assert!(observation.take_members(CHRONOS, seen("{}")).is_some());
        assert_eq!(observation.members(CHRONOS), Some(&seen("{}")));
    }

    #[test]
    fn where_no_etcd_is_expected_an_etcd_that_stands_is_asked_all_the_same() {
        let none = MembersSeen::Unchecked("none".to_owned());
        let mut observation = Observation { without_etcd: Some(none.clone()), ..Observation::default() };
        assert_eq!(observation.members(CHRONOS), Some(&none));
        let etcd = json!({"metadata": {"name": "etcd-0", "uid": "e", "labels": {"instance-type": "etcd-pod"}}});
        let etcd = serde_json::from_value(etcd).unwrap();
        observation.take(Observed::Watch(WatchEvent::Pod(Update::All(vec![etcd]))));
        assert_eq!(observation.members(CHRONOS), None);
    }
}
