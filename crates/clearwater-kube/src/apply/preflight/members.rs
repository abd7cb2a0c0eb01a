//! Whether etcd knows the members of the stores that run.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::{Component, Release, known_to_etcd};
use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::Remedy;
use clearwater::scale::Members;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;

use super::super::checks::{line, unseen, with_fix};
use super::super::prepare::{LiveState, Scope};
use crate::cluster::{Cluster, list_all};
use crate::observe::snapshot::component_of;
use crate::observe::{MembersSeen, etcd, members};
use crate::owner;
use crate::pod::object::{addresses, claims, pod_is_ready, ready_since};
use crate::pod::{AskError, etcd_health};

/// The longest that looking into etcd may take.
const ETCD: Duration = Duration::from_secs(4);

/// A member of a store that is ready.
struct ReadyMember {
    title: &'static str,
    pod: String,
    addresses: Vec<IpAddr>,
    /// Whether it was before the etcd that runs now began.
    is_older: bool,
}

/// What stands of a store.
#[derive(Default)]
struct StandingStore {
    title: &'static str,
    ready: Vec<ReadyMember>,
    /// Every pod of it with its addresses, ready or not.
    pods: Vec<(String, Vec<IpAddr>)>,
    /// Whether a member may have no pod just now and come back in another one.
    comes_back: bool,
}

/// The etcd pod that is ready, and what stands of each store, by the store's key.
fn stores(scope: &Scope, pods: &[Pod]) -> Option<(String, BTreeMap<&'static str, StandingStore>)> {
    let of = |component: Component| pods.iter().filter(move |p| component_of(*p) == Some(component) && pod_is_ready(p));
    let etcd = of(Component::Etcd).next()?;
    let began = etcd.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0);
    let mut stores: BTreeMap<&'static str, StandingStore> = BTreeMap::new();
    for part in &scope.parts {
        let Some(clustering) = &part.subject.entry.clustering else { continue };
        let component = part.subject.component();
        let StandingStore { title, ready, pods: all, comes_back } = stores.entry(clustering.etcd_key).or_default();
        *title = clustering.title;
        for pod in pods.iter().filter(|pod| component_of(*pod) == Some(component)) {
            all.push((pod.name_any(), addresses(pod)));
            *comes_back |= component == Component::Cassandra && claims(pod).next().is_some() && !pod_is_ready(pod);
        }
        for pod in of(component) {
            let addresses = addresses(pod);
            if !addresses.is_empty() {
                let is_older = ready_since(pod) < began;
                ready.push(ReadyMember { title: clustering.title, pod: pod.name_any(), addresses, is_older });
            }
        }
    }
    Some((etcd.name_any(), stores))
}

/// What there is to say of the members of a store that no pod stands behind: a run takes them off the list.
fn dead(store: &StandingStore, read: &Members) -> Vec<CheckLine> {
    let placed: Vec<(&str, Vec<IpAddr>)> =
        store.pods.iter().map(|(pod, addresses)| (pod.as_str(), addresses.clone())).collect();
    // One that comes has no address yet. Where there is no pod at all the store is being made.
    if placed.is_empty() || store.comes_back || placed.iter().any(|(_, addresses)| addresses.is_empty()) {
        return Vec::new();
    }
    let told = members::dead(read, store.title, &placed).into_iter().map(|text| {
        let detail = format!("{text}: it went without leaving, and is marked as failed, which loses nothing");
        line(CheckId::Members, format!("members of {}", store.title), CheckStatus::Warning, detail)
    });
    told.collect()
}

/// What there is to say of the stores' lists of members.
fn lists(release: Release, lists: &[(StandingStore, MembersSeen)]) -> Vec<CheckLine> {
    let title = "etcd knows the members that run";
    let mut lines = Vec::new();
    let (mut lost, mut missing, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for (store, read) in lists {
        let ready = &store.ready;
        match read {
            MembersSeen::Read(members) => {
                gone.extend(dead(store, members));
                for member in ready.iter().filter(|m| members::of(members, &m.addresses).is_none()) {
                    let address = member.addresses.first().map(IpAddr::to_string).unwrap_or_default();
                    let told = format!("{} member {address} ({})", member.title, member.pod);
                    if member.is_older { &mut lost } else { &mut missing }.push(told);
                }
            }
            MembersSeen::Wrong { key, error } => {
                let seen =
                    line(CheckId::Members, format!("the members in {key}"), CheckStatus::Refused, error.to_string());
                lines.push(with_fix(seen, error.fix(key)));
            }
            MembersSeen::Unchecked(text) => lines.push(line(CheckId::Etcd, title, CheckStatus::Skipped, text)),
            MembersSeen::Failed(text) | MembersSeen::Unreached(text) => {
                lines.push(line(CheckId::Etcd, title, CheckStatus::Unseen, text));
            }
        }
    }
    if !lost.is_empty() {
        let detail = format!("etcd came back empty: it does not have {}", lost.join(", "));
        let seen = line(CheckId::Etcd, title, CheckStatus::Refused, detail);
        lines.push(with_fix(
            seen,
            Remedy::sentence([
                "the stores must be made anew with it: ".into(),
                Remedy::anew(known_to_etcd(release)),
                " (subscribers, registrations and timers are lost)".into(),
            ]),
        ));
    } else if !missing.is_empty() {
        let detail = format!("it does not have {} yet: new members join for about a minute", missing.join(", "));
        lines.push(line(CheckId::Etcd, title, CheckStatus::Warning, detail));
    } else if lines.is_empty() && !lists.is_empty() {
        lines.push(line(CheckId::Etcd, title, CheckStatus::Ok, ""));
    }
    lines.extend(gone);
    lines
}

/// What there is to say of etcd's own word of its health.
fn health(answer: &Result<String, AskError>) -> Option<CheckLine> {
    let title = "etcd is in health";
    let Ok(answer) = answer else {
        // Its lists are asked for over the same way, and tell the same.
        return None;
    };
    let (status, detail) = match etcd_health(answer) {
        Some(true) => return None,
        Some(false) => (CheckStatus::Warning, "it says that it is not: no member can join or leave now".to_owned()),
        None => {
            let begin: String = answer.chars().take(80).collect();
            (CheckStatus::Unseen, format!("its /health does not tell: it answered {begin:?}"))
        }
    };
    Some(line(CheckId::Etcd, title, status, detail))
}

/// Whether etcd still knows the stores that run, and tells nothing that no cluster manager wrote. One that came back
/// empty would let new members form a second cluster.
pub(super) async fn check(cluster: &Cluster, release: Release, scope: &Scope, standing: &LiveState) -> Vec<CheckLine> {
    let title = "etcd knows the members that run";
    if !standing.stateful_sets.contains_key(Component::Etcd.name()) {
        return Vec::new();
    }
    let params = ListParams::default().labels(&owner::our_label());
    let pods = match list_all(&cluster.api::<Pod>(), &params).await {
        Ok(pods) => pods,
        Err(error) => return vec![unseen(CheckId::Etcd, title, "list pods", &error)],
    };
    let Some((etcd, stores)) = stores(scope, &pods).filter(|(_, stores)| !stores.is_empty()) else {
        return Vec::new();
    };
    let (keys, ready): (Vec<_>, Vec<_>) = stores.into_iter().unzip();
    let within = ETCD.min(cluster.policy.timeout());
    let (read, own) =
        tokio::join!(etcd::read(cluster, Some(&etcd), &keys, within), etcd::health(cluster, &etcd, within));
    let mut lines = lists(release, &ready.into_iter().zip(read).collect::<Vec<_>>());
    lines.extend(health(&own));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_does_not_tell_of_health_is_no_health() {
        let said = |answer: &str| health(&Ok(answer.to_owned())).map(|line| line.status);
        for good in [r#"{"health": "true"}"#, "{\"health\":true,\"reason\":\"\"}\n"] {
            assert_eq!(said(good), None, "{good}");
        }
        assert_eq!(said(r#"{"health": "false"}"#), Some(CheckStatus::Warning));
        for other in ["{}", "", "<html>", r#"{"health": "well"}"#, r#"["health"]"#] {
            assert_eq!(said(other), Some(CheckStatus::Unseen), "{other}");
        }
    }

    #[test]
    fn what_etcd_tells_of_the_stores_is_judged() {
        let member = |address: &str, is_older| ReadyMember {
            title: "Chronos",
            pod: "chronos-0".to_owned(),
            addresses: vec![address.parse().unwrap()],
            is_older,
        };
        let old = |address: &str| member(address, true);
        let read = |value: &str| {
            let key = "/clearwater/site1/node_type_chronos/clustering/chronos";
            MembersSeen::of(key, Ok(value.to_owned()))
        };
        let of = |ready: Vec<ReadyMember>| StandingStore { title: "Chronos", ready, ..StandingStore::default() };
        let judged = |ready: Vec<ReadyMember>, value: &str| {
            let line = lists(Release::Hunter, &[(of(ready), read(value))]).remove(0);
            (line.status, format!("{} {} {}", line.title, line.detail, line.fix.map(String::from).unwrap_or_default()))
        };
        let normal = r#"{"10.0.0.1": "normal"}"#;
        assert_eq!(judged(vec![old("10.0.0.1")], normal).0, CheckStatus::Ok);
        let (status, said) = judged(vec![old("10.0.0.2")], normal);
        assert!(status == CheckStatus::Refused && said.contains("10.0.0.2 (chronos-0)"), "{said}");
        // One that came after etcd may not have joined yet, and is not told to be known.
        for nothing in ["", "{}"] {
            let (status, said) = judged(vec![member("10.0.0.2", false)], nothing);
            assert!(status == CheckStatus::Warning && said.contains("10.0.0.2 (chronos-0) yet"), "{said}");
        }
        assert_eq!(judged(vec![member("10.0.0.1", false)], normal).0, CheckStatus::Ok);
        let (status, said) = judged(Vec::new(), r#"{"; id > /tmp/x #": "normal"}"#);
        assert_eq!(status, CheckStatus::Refused);
        for word in ["node_type_chronos/clustering/chronos", "\"; id > /tmp/x #\"", "somebody else", "etcdctl"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }

    /// What is made anew is what the release has.
    #[test]
    fn the_stores_of_the_release_are_made_anew_with_etcd() {
        for (release, session_store) in [(Release::Hunter, "astaire"), (Release::Classic, "memcached")] {
            let ready = vec![ReadyMember {
                title: "Chronos",
                pod: "chronos-0".to_owned(),
                addresses: vec!["10.0.0.2".parse().unwrap()],
                is_older: true,
            }];
            let store = StandingStore { title: "Chronos", ready, ..StandingStore::default() };
            let read = MembersSeen::of("a/key", Ok(r#"{"10.0.0.1": "normal"}"#.to_owned()));
            let fix = lists(release, &[(store, read)]).remove(0).fix.unwrap().to_string();
            for component in clearwater::component::catalogue(release).iter().map(|entry| entry.component) {
                assert_eq!(fix.contains(component.name()), component.is_store(), "{release}, {component}: {fix}");
            }
            assert!(fix.contains(session_store), "{fix}");
        }
    }

    /// Whoever asks what a run would do is told of it before the run does it.
    #[test]
    fn a_member_that_no_pod_stands_behind_is_told() {
        let told = |pods: &[(&str, &[&str])], comes_back: bool| -> Vec<String> {
            let all = pods
                .iter()
                .map(|(pod, addresses)| ((*pod).to_owned(), addresses.iter().map(|a| a.parse().unwrap()).collect()));
            let store = StandingStore { title: "Chronos", pods: all.collect(), comes_back, ..StandingStore::default() };
            let key = "/clearwater/site1/node_type_chronos/clustering/chronos";
            let read = MembersSeen::of(key, Ok(r#"{"10.0.0.1": "normal", "10.0.0.9": "normal"}"#.to_owned()));
            let lines = lists(Release::Hunter, &[(store, read)]);
            assert!(lines.iter().any(|l| l.id == CheckId::Etcd && l.status == CheckStatus::Ok), "{lines:?}");
            let dead = lines.into_iter().filter(|l| l.id == CheckId::Members);
            dead.map(|l| format!("{:?} {}", l.status, l.detail)).collect()
        };
        let [one] = &told(&[("chronos-0", &["10.0.0.1"])], false)[..] else { panic!() };
        assert!(one.starts_with(r#"Warning Chronos member 10.0.0.9 is "normal" and no pod has that address"#), "{one}");
        for (pods, comes_back) in [
            (&[("chronos-0", &["10.0.0.1"][..]), ("chronos-1", &["10.0.0.9"])][..], false),
            (&[("chronos-0", &["10.0.0.1"]), ("chronos-1", &[])], false),
            (&[("chronos-0", &["10.0.0.1"])], true),
            (&[], false),
        ] {
            assert_eq!(told(pods, comes_back), Vec::<String>::new());
        }
    }
}
