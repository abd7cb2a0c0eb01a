//! The pods and workloads of a deployment that is going, kept up to date until nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use clearwater::component::Component;
use clearwater::manifest::WorkloadKind;
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, is_forbidden, is_unauthorized, say};
use crate::observe::Workload;
use crate::observe::snapshot::component_of;
use crate::owner;

/// Workloads that are not of this deployment, or were adopted: their pods stay.
pub(super) type Theirs = BTreeSet<Workload>;

/// The component of a pod that a workload of this deployment made, whether or not that still stands.
pub(super) fn pod_of_ours<K: Resource>(pod: &K, theirs: &Theirs) -> Option<Component> {
    let workload = Workload::of(pod)?;
    component_of(pod).filter(|_| !theirs.contains(&workload))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StandingObject {
    component: Component,
    /// Whether it has been told to go.
    leaving: bool,
}

/// What is there of one kind.
#[derive(Clone, Debug, Default)]
struct StandingKind {
    /// Whether it has been listed.
    known: bool,
    there: BTreeMap<String, StandingObject>,
}

/// What is still there.
#[derive(Clone, Debug, Default)]
pub(super) struct There {
    parts: [StandingKind; 3],
    /// Why nobody can tell.
    pub(super) refused: Option<String>,
}

#[cfg(test)]
impl There {
    /// Everything listed: pods of a component, each with whether it is on its way out, and Deployments.
    pub(super) fn of(component: Component, pods: &[(&str, bool)], deployments: &[&str]) -> Self {
        let part = |all: Vec<(&str, bool)>| StandingKind {
            known: true,
            there: all
                .into_iter()
                .map(|(name, leaving)| (name.to_owned(), StandingObject { component, leaving }))
                .collect(),
        };
        let deployments = deployments.iter().map(|name| (*name, false)).collect();
        Self { parts: [part(pods.to_vec()), part(deployments), part(Vec::new())], refused: None }
    }
}

const PODS: usize = 0;
const DEPLOYMENTS: usize = 1;
const STATEFUL_SETS: usize = 2;

impl There {
    /// Whether everything has been listed.
    pub(super) fn is_known(&self) -> bool {
        self.parts.iter().all(|p| p.known)
    }

    /// The pods of a component, each with whether it is on its way out.
    pub(super) fn pods(&self, component: Component) -> Vec<(String, bool)> {
        let all = self.parts[PODS].there.iter();
        all.filter(|(_, s)| s.component == component).map(|(name, s)| (name.clone(), s.leaving)).collect()
    }

    /// Whether a workload stands, or goes and is not gone.
    pub(super) fn has(&self, workload: &Workload) -> bool {
        let part = match workload.kind {
            WorkloadKind::Deployment => DEPLOYMENTS,
            WorkloadKind::StatefulSet => STATEFUL_SETS,
        };
        self.parts[part].there.contains_key(&workload.name)
    }

    /// The components of which a pod is on its way out.
    pub(super) fn leaving(&self) -> BTreeSet<Component> {
        self.parts[PODS].there.values().filter(|s| s.leaving).map(|s| s.component).collect()
    }
}

/// Watches pods and workloads, until nobody looks any more.
pub(super) fn watch_all(cluster: &Cluster, theirs: &Theirs) -> (watch::Receiver<There>, JoinSet<()>) {
    let (out, there) = watch::channel(There::default());
    let mut tasks = JoinSet::new();
    let theirs = theirs.clone();
    let pod = move |pod: &Meta<Pod>| pod_of_ours(pod, &theirs);
    tasks.spawn(keep(cluster.clone(), PODS, out.clone(), pod));
    tasks.spawn(keep::<Deployment>(cluster.clone(), DEPLOYMENTS, out.clone(), component_of));
    tasks.spawn(keep::<StatefulSet>(cluster.clone(), STATEFUL_SETS, out, component_of));
    (there, tasks)
}

type Meta<K> = PartialObjectMeta<K>;

async fn keep<K>(
    cluster: Cluster,
    part: usize,
    out: watch::Sender<There>,
    component: impl Fn(&Meta<K>) -> Option<Component>,
) where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    let config = watcher::Config::default().labels(&owner::our_label());
    let mut stream = watcher(cluster.api::<Meta<K>>(), config).default_backoff().boxed();
    let see = |part: &mut StandingKind, object: &Meta<K>| {
        let leaving = object.metadata.deletion_timestamp.is_some();
        match component(object) {
            Some(component) => part.there.insert(object.name_any(), StandingObject { component, leaving }),
            None => part.there.remove(&object.name_any()),
        };
    };
    let mut listed = StandingKind::default();
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Init) => listed = StandingKind { known: true, ..StandingKind::default() },
            Ok(watcher::Event::InitApply(object)) => see(&mut listed, &object),
            Ok(watcher::Event::InitDone) => {
                let listed = std::mem::take(&mut listed);
                out.send_modify(|there| there.parts[part] = listed);
            }
            Ok(watcher::Event::Apply(object)) => out.send_modify(|there| see(&mut there.parts[part], &object)),
            Ok(watcher::Event::Delete(object)) => {
                out.send_modify(|there| {
                    there.parts[part].there.remove(&object.name_any());
                });
            }
            Err(error) if is_forbidden(&error) || is_unauthorized(&error) => {
                out.send_modify(|there| there.refused = Some(say(&error)));
                return;
            }
            // The watch is renewed; until the deadline nothing is lost by waiting for it.
            Err(_) => {}
        }
        if out.is_closed() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(owner: Option<(&str, &str)>) -> Pod {
        let owners: Vec<_> = owner
            .map(|(kind, name)| json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "1", "controller": true}))
            .into_iter()
            .collect();
        serde_json::from_value(
            json!({"metadata": {"name": "p", "labels": {"service": "homer"}, "ownerReferences": owners}}),
        )
        .unwrap()
    }

    #[test]
    fn a_pod_is_ours_by_the_workload_that_made_it() {
        let theirs = Theirs::from([Workload { kind: WorkloadKind::Deployment, name: "homer".to_owned() }]);
        let of = |owner, theirs: &Theirs| pod_of_ours(&pod(owner), theirs);
        assert_eq!(of(Some(("ReplicaSet", "homer-7d9f")), &Theirs::new()), Some(Component::Homer));
        assert_eq!(of(Some(("StatefulSet", "homer")), &theirs), Some(Component::Homer));
        assert_eq!(of(Some(("ReplicaSet", "homer-7d9f")), &theirs), None);
        // Nothing of ours makes pods by themselves, or by other means.
        assert_eq!(of(None, &Theirs::new()), None);
        assert_eq!(of(Some(("Job", "homer-7d9f")), &Theirs::new()), None);
    }
}
