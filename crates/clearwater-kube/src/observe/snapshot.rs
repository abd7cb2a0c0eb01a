//! What the cluster says about a namespace, kept up to date by one watch a kind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::manifest::SERVICE_LABEL;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::backoff::doubling;
use crate::cluster::{is_forbidden, is_unauthorized, say};
use crate::kinds;
use crate::pod::object::{claims, pod_is_ready};

/// The label by which EndpointSlices name their Service (k8s.io/api `discovery/v1/well_known_labels.go`).
pub(crate) const SLICE_SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// The label by which they name who writes them (the same file).
pub(crate) const SLICE_WRITER_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// The label that upstream's manifests give to etcd's pods alone (clearwater-docker
/// `kubernetes/templates/etcd-depl.tmpl`).
const ETCD_LABEL: &str = "instance-type";

/// A kind that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Pods.
    Pod,
    /// Deployments.
    Deployment,
    /// StatefulSets.
    StatefulSet,
    /// EndpointSlices.
    EndpointSlice,
    /// Services.
    Service,
    /// Events.
    Event,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Pod, Self::Deployment, Self::StatefulSet, Self::EndpointSlice, Self::Service, Self::Event];

    /// The resource as rights name it, such as `deployments.apps`.
    pub fn resource(self) -> String {
        let kind = match self {
            Self::Pod => kinds::POD,
            Self::Deployment => kinds::DEPLOYMENT,
            Self::StatefulSet => kinds::STATEFUL_SET,
            Self::EndpointSlice => kinds::ENDPOINT_SLICE,
            Self::Service => kinds::SERVICE,
            Self::Event => kinds::EVENT,
        };
        kind.qualified()
    }
}

/// The objects of a namespace as last heard of.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Pods by uid.
    pub pods: BTreeMap<String, Pod>,
    /// Deployments by name.
    pub deployments: BTreeMap<String, Deployment>,
    /// StatefulSets by name.
    pub stateful_sets: BTreeMap<String, StatefulSet>,
    /// EndpointSlices by name.
    pub slices: BTreeMap<String, EndpointSlice>,
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// Events by name.
    pub events: BTreeMap<String, Event>,
    /// Kinds whose first list has come.
    pub known: BTreeSet<Kind>,
    /// Kinds that the user may not watch.
    pub denied: BTreeSet<Kind>,
    /// Kinds that a look could not list, each with why.
    pub unheard: BTreeMap<Kind, String>,
    /// What the API server said when it did not know any more who asks.
    pub unauthorized: Option<String>,
}

/// A change of one kind.
#[derive(Debug)]
pub enum Update<K> {
    /// The whole of it.
    All(Vec<K>),
    /// One object is there, new or changed.
    Set(Box<K>),
    /// One object is gone.
    Gone(Box<K>),
}

/// What a watch says.
#[derive(Debug)]
pub enum WatchEvent {
    /// Of pods.
    Pod(Update<Pod>),
    /// Of Deployments.
    Deployment(Update<Deployment>),
    /// Of StatefulSets.
    StatefulSet(Update<StatefulSet>),
    /// Of EndpointSlices.
    EndpointSlice(Update<EndpointSlice>),
    /// Of Services.
    Service(Update<Service>),
    /// Of events.
    Event(Update<Event>),
    /// The user may not watch this kind.
    Denied(Kind),
    /// The API server does not know any more who asks: a token has run out. Nothing of this kind is seen any more.
    Unauthorized(String),
    /// The watch broke and is being renewed.
    Trouble(Kind, String),
}

fn take<K: Resource>(objects: &mut BTreeMap<String, K>, update: Update<K>, key: impl Fn(&K) -> String) {
    match update {
        Update::All(all) => *objects = all.into_iter().map(|o| (key(&o), o)).collect(),
        Update::Set(object) => {
            objects.insert(key(&object), *object);
        }
        Update::Gone(object) => {
            objects.remove(&key(&object));
        }
    }
}

impl Snapshot {
    /// Takes news in.
    pub fn absorb(&mut self, news: WatchEvent) {
        let kind = match &news {
            WatchEvent::Pod(_) => Kind::Pod,
            WatchEvent::Deployment(_) => Kind::Deployment,
            WatchEvent::StatefulSet(_) => Kind::StatefulSet,
            WatchEvent::EndpointSlice(_) => Kind::EndpointSlice,
            WatchEvent::Service(_) => Kind::Service,
            WatchEvent::Event(_) => Kind::Event,
            WatchEvent::Denied(kind) => {
                self.denied.insert(*kind);
                return;
            }
            WatchEvent::Unauthorized(text) => {
                self.unauthorized = Some(text.clone());
                return;
            }
            WatchEvent::Trouble(..) => return,
        };
        match news {
            WatchEvent::Pod(u) => take(&mut self.pods, u, |o| o.uid().unwrap_or_else(|| o.name_any())),
            WatchEvent::Deployment(u) => take(&mut self.deployments, u, ResourceExt::name_any),
            WatchEvent::StatefulSet(u) => take(&mut self.stateful_sets, u, ResourceExt::name_any),
            WatchEvent::EndpointSlice(u) => take(&mut self.slices, u, ResourceExt::name_any),
            WatchEvent::Service(u) => take(&mut self.services, u, ResourceExt::name_any),
            WatchEvent::Event(u) => take(&mut self.events, u, ResourceExt::name_any),
            WatchEvent::Denied(_) | WatchEvent::Unauthorized(_) | WatchEvent::Trouble(..) => {}
        }
        self.known.insert(kind);
    }

    /// Why what a run stands on cannot be seen, or not any more. Endpoints and events can be gone without.
    pub(crate) fn unseen(&self) -> Option<String> {
        let needed = |kind: &&Kind| !matches!(kind, Kind::EndpointSlice | Kind::Event);
        let denied = self.denied.iter().find(needed).map(|kind| format!("needs list and watch {}", kind.resource()));
        self.unauthorized.clone().or(denied).map(|why| format!("cannot look: {why}"))
    }

    /// Why nothing is known of a kind, where that is so.
    pub(crate) fn blind(&self, kind: Kind) -> Option<String> {
        let denied = self.denied.contains(&kind).then(|| format!("needs list {}", kind.resource()));
        denied.or_else(|| self.unheard.get(&kind).cloned())
    }

    /// Whether every kind is known or denied.
    pub fn is_complete(&self) -> bool {
        Kind::ALL.iter().all(|k| self.known.contains(k) || self.denied.contains(k))
    }

    /// A component's pods, in the order of their names, those on their way out left out.
    pub fn pods_of(&self, component: Component) -> Vec<&Pod> {
        let mut pods: Vec<&Pod> = self
            .pods
            .values()
            .filter(|p| p.metadata.deletion_timestamp.is_none() && component_of(*p) == Some(component))
            .collect();
        pods.sort_by_key(|p| p.metadata.name.as_deref());
        pods
    }

    /// A component's pods that are on their way out.
    pub(crate) fn leaving_of(&self, component: Component) -> Vec<&Pod> {
        self.pods
            .values()
            .filter(|p| p.metadata.deletion_timestamp.is_some() && component_of(*p) == Some(component))
            .collect()
    }

    /// The slices of a Service.
    pub(crate) fn slices_of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a EndpointSlice> {
        self.slices.values().filter(move |s| s.labels().get(SLICE_SERVICE_LABEL).is_some_and(|l| l == service))
    }

    /// The etcd pod that is asked for the stores' members: the first that is ready.
    pub(crate) fn etcd_pod(&self) -> Option<String> {
        self.pods_of(Component::Etcd).into_iter().find(|p| pod_is_ready(p)).map(ResourceExt::name_any)
    }

    /// Events about the Services of these names.
    pub(crate) fn events_of_services(&self, wanted: impl Fn(&str) -> bool) -> Vec<&Event> {
        let about = |e: &&Event| {
            e.involved_object.kind.as_deref() == Some("Service")
                && e.involved_object.name.as_deref().is_some_and(&wanted)
        };
        self.events.values().filter(about).collect()
    }

    /// Events about these pods and their claims, and about objects whose name is one of these or begins with one of these and a hyphen,
    /// as the ReplicaSets of a Deployment do.
    pub(crate) fn events_of(&self, pods: &[&Pod], workloads: &[String]) -> Vec<&Event> {
        self.events
            .values()
            .filter(|e| {
                let object = &e.involved_object;
                let name = object.name.as_deref().unwrap_or_default();
                match object.kind.as_deref() {
                    Some("Pod") => match object.uid.as_deref() {
                        Some(uid) => pods.iter().any(|p| p.metadata.uid.as_deref() == Some(uid)),
                        None => pods.iter().any(|p| p.metadata.name.as_deref() == Some(name)),
                    },
                    Some("PersistentVolumeClaim") => pods.iter().any(|p| claims(p).any(|c| c == name)),
                    Some(kind @ ("Deployment" | "StatefulSet")) => {
                        // One of an earlier object of the same name is about that one.
                        let live = match kind {
                            "Deployment" => self.deployments.get(name).and_then(|o| o.metadata.uid.as_deref()),
                            _ => self.stateful_sets.get(name).and_then(|o| o.metadata.uid.as_deref()),
                        };
                        workloads.iter().any(|w| w == name)
                            && (live.is_none() || object.uid.is_none() || live == object.uid.as_deref())
                    }
                    Some("ReplicaSet") => {
                        workloads.iter().any(|w| name.rsplit_once('-').is_some_and(|(owner, _)| owner == w))
                    }
                    _ => false,
                }
            })
            .collect()
    }
}

/// When an event last happened.
pub(crate) fn event_time(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|s| s.last_observed_time.as_ref()).map(|t| t.0);
    series
        .or_else(|| event.last_timestamp.as_ref().map(|t| t.0))
        .or_else(|| event.event_time.as_ref().map(|t| t.0))
        .or_else(|| event.metadata.creation_timestamp.as_ref().map(|t| t.0))
}

/// The component that an object belongs to, by upstream's labels.
pub fn component_of<K: Resource>(object: &K) -> Option<Component> {
    component_by(object.meta())
}

/// Those pods of a component that are ready.
pub(crate) fn ready(pods: &[Pod], component: Component) -> impl Iterator<Item = &Pod> {
    pods.iter().filter(move |p| component_of(*p) == Some(component) && pod_is_ready(p))
}

/// The component that something of this metadata belongs to: an object, or a template's pods.
pub(crate) fn component_by(meta: &ObjectMeta) -> Option<Component> {
    let labels = meta.labels.as_ref()?;
    if let Some(service) = labels.get(SERVICE_LABEL) {
        return service.parse().ok();
    }
    (labels.get(ETCD_LABEL).map(String::as_str) == Some("etcd-pod")).then_some(Component::Etcd)
}

/// How long a broken watch is left alone, at first and at most. An API server that restarts is back in a few seconds, and
/// a run must not sleep on.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

async fn follow<K>(api: Api<K>, kind: Kind, wrap: fn(Update<K>) -> WatchEvent, out: mpsc::Sender<WatchEvent>)
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut stream = watcher(api, watcher::Config::default()).backoff(doubling(PAUSES.0, PAUSES.1)).boxed();
    let mut listed: Option<Vec<K>> = None;
    while let Some(event) = stream.next().await {
        let news = match event {
            Ok(watcher::Event::Init) => {
                listed = Some(Vec::new());
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.get_or_insert_default().push(slim(object));
                continue;
            }
            Ok(watcher::Event::InitDone) => wrap(Update::All(listed.take().unwrap_or_default())),
            Ok(watcher::Event::Apply(object)) => wrap(Update::Set(Box::new(slim(object)))),
            Ok(watcher::Event::Delete(object)) => wrap(Update::Gone(Box::new(slim(object)))),
            Err(error) if is_forbidden(&error) => {
                let _ = out.send(WatchEvent::Denied(kind)).await;
                return;
            }
            Err(error) if is_unauthorized(&error) => {
                let _ = out.send(WatchEvent::Unauthorized(say(&error))).await;
                return;
            }
            Err(error) => WatchEvent::Trouble(kind, say(&error)),
        };
        if out.send(news).await.is_err() {
            return;
        }
    }
}

/// An object without what nobody here reads.
fn slim<K: Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}

/// Watches every kind of a namespace. The watches end when the tasks are dropped.
pub fn watch(client: &Client, namespace: &str) -> (mpsc::Receiver<WatchEvent>, JoinSet<()>) {
    let (out, news) = mpsc::channel(256);
    let mut tasks = JoinSet::new();
    macro_rules! follow {
        ($($kind:ident),*) => {$(
            tasks.spawn(follow(Api::namespaced(client.clone(), namespace), Kind::$kind, WatchEvent::$kind, out.clone()));
        )*};
    }
    follow!(Pod, Deployment, StatefulSet, EndpointSlice, Service, Event);
    (news, tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
    fn pod(name: &str, labels: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "uid": name, "labels": labels}})).unwrap()
    }

    #[test]
    fn a_new_list_replaces_what_was_known() {
        let mut snapshot = Snapshot::default();
        snapshot
            .absorb(WatchEvent::Pod(Update::All(vec![pod("a", json!({"service": "sprout"})), pod("b", json!({}))])));
        snapshot.absorb(WatchEvent::Pod(Update::Set(Box::new(pod("c", json!({"service": "sprout"}))))));
        assert_eq!(snapshot.pods_of(Component::Sprout).len(), 2);
        snapshot.absorb(WatchEvent::Pod(Update::Gone(Box::new(pod("a", json!({}))))));
        snapshot.absorb(WatchEvent::Pod(Update::All(vec![pod("d", json!({"instance-type": "etcd-pod"}))])));
        assert_eq!(snapshot.pods_of(Component::Sprout).len(), 0);
        assert_eq!(snapshot.pods_of(Component::Etcd).len(), 1);
        assert!(!snapshot.is_complete());
    }

    #[test]
    fn events_of_a_workload_are_those_of_its_pods_and_replica_sets() {
        let mut snapshot = Snapshot::default();
        let event = |n: usize, kind: &str, name: &str| -> Event {
            serde_json::from_value(json!({"metadata": {"name": n.to_string()},
                "involvedObject": {"kind": kind, "name": name}}))
            .unwrap()
        };
        snapshot.absorb(WatchEvent::Event(Update::All(vec![
            event(0, "Pod", "homestead-7d9-x"),
            event(1, "ReplicaSet", "homestead-7d9"),
            event(2, "ReplicaSet", "homestead-prov-7d9"),
            event(3, "Deployment", "homestead"),
            event(4, "Deployment", "homestead-prov"),
        ])));
        let pod = pod("homestead-7d9-x", json!({}));
        let names: Vec<_> =
            snapshot.events_of(&[&pod], &["homestead".to_owned()]).iter().map(|e| e.name_any()).collect();
        assert_eq!(names, ["0", "1", "3"]);
    }
}
