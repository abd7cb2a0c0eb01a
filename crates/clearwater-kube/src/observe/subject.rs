//! What is looked at: a component with the objects that make it up, as a deployment file has them or as they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clearwater::component::{Component, Entry, Release, entry};
use clearwater::config::Deployment;
use clearwater::dns::Names;
use clearwater::event::{CheckId, CheckLine};
use clearwater::manifest::{self, ENV_VARS, WorkloadKind, WorkloadRef, held};
use k8s_openapi::api::apps::v1::{Deployment as DeploymentObject, DeploymentSpec, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodTemplateSpec};
use k8s_openapi::api::discovery::v1::Endpoint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::Resource;

use super::given::{Secrets, ZONE, ZoneSeen};
use super::snapshot::{Kind, Snapshot, component_by, component_of};
use super::unasked::Unasked;
use crate::cluster::Cluster;
use crate::owner::has_our_label;
use crate::pod::object::{addresses, controller_of, own_container, pod_is_ready};

/// The longest that reading the settings may take.
const SETTINGS: Duration = Duration::from_secs(2);

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

impl Workload {
    /// The workload that a pod is of, by the controller that made it.
    pub(crate) fn of<K: Resource>(pod: &K) -> Option<Self> {
        let owner = controller_of(pod)?;
        let (kind, name) = match owner.kind.as_str() {
            "StatefulSet" => (WorkloadKind::StatefulSet, owner.name.as_str()),
            // A Deployment's ReplicaSets have its name and a hash.
            "ReplicaSet" => (WorkloadKind::Deployment, owner.name.rsplit_once('-')?.0),
            _ => return None,
        };
        Some(Self { kind, name: name.to_owned() })
    }
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.name().to_lowercase(), self.name)
    }
}

/// A component that is looked at.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What the catalogue knows of it.
    pub entry: &'static Entry,
    /// Its workloads.
    pub workloads: Vec<Workload>,
    /// The Service whose endpoints must be ready; none where there is no Service.
    pub service: Option<String>,
    /// Names that must be found from inside its pods: those by which others know it.
    pub names: Vec<String>,
    /// What the ConfigMap holds, or is to hold, that its containers take their environment from; empty where that is of no
    /// interest.
    pub settings: BTreeMap<String, String>,
    /// What the Secrets hold that its containers take variables from, where that is of interest and was read.
    pub secrets: Secrets,
}

impl Subject {
    /// A component that stands: the Service of its name is its own where there is one.
    pub(crate) fn standing(entry: &'static Entry, workloads: Vec<Workload>, snapshot: &Snapshot) -> Self {
        let service = entry.component.name();
        let service = snapshot.services.contains_key(service).then(|| service.to_owned());
        Self { entry, workloads, service, names: Vec::new(), settings: BTreeMap::new(), secrets: Secrets::default() }
    }

    /// The component.
    pub fn component(&self) -> Component {
        self.entry.component
    }

    /// The component's name.
    pub fn name(&self) -> &'static str {
        self.entry.component.name()
    }

    pub(crate) fn workload_names(&self) -> Vec<String> {
        self.workloads.iter().map(|w| w.name.clone()).collect()
    }
}

/// What is read of a workload, of whichever kind it is.
pub(crate) struct WorkloadView<'a> {
    pub(crate) metadata: &'a ObjectMeta,
    /// The count that it is set to.
    pub(crate) replicas: u32,
    /// The generation that its controller has seen.
    pub(crate) observed_generation: Option<i64>,
    /// What its pods are selected by.
    pub(crate) selector: Option<&'a LabelSelector>,
    /// The template of its pods.
    pub(crate) template: Option<&'a PodTemplateSpec>,
}

impl<'a> WorkloadView<'a> {
    /// `spec` is what both kinds have: the count, the selector and the template.
    fn new(
        metadata: &'a ObjectMeta,
        spec: Option<(Option<i32>, &'a LabelSelector, &'a PodTemplateSpec)>,
        observed_generation: Option<i64>,
    ) -> Self {
        let replicas = spec.and_then(|(replicas, ..)| replicas);
        Self {
            metadata,
            replicas: replicas.map_or(1, |n| u32::try_from(n).unwrap_or(0)),
            observed_generation,
            selector: spec.map(|(_, selector, _)| selector),
            template: spec.map(|(.., template)| template),
        }
    }
}

impl Snapshot {
    /// A workload as it stands.
    pub(crate) fn workload(&self, workload: &Workload) -> Option<WorkloadView<'_>> {
        Some(match workload.kind {
            WorkloadKind::Deployment => {
                let object = self.deployments.get(&workload.name)?;
                let spec = held::<DeploymentSpec>(&object.spec).map(|s| (s.replicas, &s.selector, &s.template));
                WorkloadView::new(&object.metadata, spec, object.status.as_ref().and_then(|s| s.observed_generation))
            }
            WorkloadKind::StatefulSet => {
                let object = self.stateful_sets.get(&workload.name)?;
                let spec = held::<StatefulSetSpec>(&object.spec).map(|s| (s.replicas, &s.selector, &s.template));
                WorkloadView::new(&object.metadata, spec, object.status.as_ref().and_then(|s| s.observed_generation))
            }
        })
    }

    /// Whether a pod may be asked everything: it is ready, and its Service publishes it, so that no name is asked for too
    /// early.
    pub(crate) fn may_be_asked(&self, subject: &Subject, pod: &Pod) -> bool {
        if !pod_is_ready(pod) {
            return false;
        }
        let Some(service) = subject.service.as_deref().filter(|_| subject.component() != Component::Etcd) else {
            return true;
        };
        if self.blind(Kind::EndpointSlice).is_some() {
            return true;
        }
        self.slices_of(service).filter_map(|s| held::<Vec<Endpoint>>(&s.endpoints)).flatten().any(|e| {
            let ready = e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
            let is_its = |of: &Endpoint| match &of.target_ref {
                Some(target) => target.name == pod.metadata.name,
                // Of slices that were made by hand, and by some controllers, the address tells.
                None => of.addresses.iter().filter_map(|a| a.parse().ok()).any(|ip| addresses(pod).contains(&ip)),
            };
            ready && is_its(e)
        })
    }
}

/// The release that stands, found by the labels that upstream's manifests give, whoever made it: only the classic one
/// has a component `memcached`. Where the other release's own store stands, it is somebody else's.
pub(crate) fn release(snapshot: &Snapshot) -> Release {
    let stands = |component: Component| {
        snapshot.pods.values().any(|p| component_of(p) == Some(component))
            || all_workloads(snapshot).any(|(of, _)| of == component)
    };
    if stands(Component::Memcached) && !stands(Component::Astaire) { Release::Classic } else { Release::Hunter }
}

/// Every workload that is of a component.
pub(crate) fn all_workloads(snapshot: &Snapshot) -> impl Iterator<Item = (Component, Workload)> {
    let named = |kind, name: &String, template: Option<&PodTemplateSpec>| {
        Some((component_by(template?.metadata.as_ref()?)?, Workload { kind, name: name.clone() }))
    };
    let deployments = snapshot.deployments.iter().filter_map(move |(name, o)| {
        named(WorkloadKind::Deployment, name, held::<DeploymentSpec>(&o.spec).map(|s| &s.template))
    });
    let sets = snapshot.stateful_sets.iter().filter_map(move |(name, o)| {
        named(WorkloadKind::StatefulSet, name, held::<StatefulSetSpec>(&o.spec).map(|s| &s.template))
    });
    deployments.chain(sets)
}

/// Takes out workloads that carry the label of a component of which this program's own stands.
fn take_foreign_workloads(snapshot: &mut Snapshot) {
    let of = |template: Option<&PodTemplateSpec>| component_by(template?.metadata.as_ref()?);
    let of_deployment = |o: &DeploymentObject| of(held::<DeploymentSpec>(&o.spec).map(|s| &s.template));
    let of_set = |o: &StatefulSet| of(held::<StatefulSetSpec>(&o.spec).map(|s| &s.template));
    let deployments = snapshot.deployments.values().filter(|o| has_our_label(&o.metadata)).filter_map(of_deployment);
    let sets = snapshot.stateful_sets.values().filter(|o| has_our_label(&o.metadata)).filter_map(of_set);
    let ours: BTreeSet<Component> = deployments.chain(sets).collect();
    let stays =
        |meta: &ObjectMeta, of: Option<Component>| has_our_label(meta) || !of.is_some_and(|c| ours.contains(&c));
    snapshot.deployments.retain(|_, o| stays(&o.metadata, of_deployment(o)));
    snapshot.stateful_sets.retain(|_, o| stays(&o.metadata, of_set(o)));
}

/// Takes out pods, with their endpoints, that carry a component's label and are of none of its workloads: somebody else made
/// them, and they are not judged. Yields each with its component. A component of bare pods, as the article has them, is what
/// it is; and where workloads may not be seen nobody knows.
pub(crate) fn take_foreign(snapshot: &mut Snapshot) -> Vec<(Component, String)> {
    if snapshot.blind(Kind::Deployment).or(snapshot.blind(Kind::StatefulSet)).is_some() {
        return Vec::new();
    }
    take_foreign_workloads(snapshot);
    let mut of: BTreeMap<Component, Vec<Workload>> = BTreeMap::new();
    for (component, workload) in all_workloads(snapshot) {
        of.entry(component).or_default().push(workload);
    }
    let mut foreign = Vec::new();
    snapshot.pods.retain(|_, pod| {
        let Some((component, workloads)) = component_of(pod).and_then(|c| Some((c, of.get(&c)?))) else { return true };
        let is_ours = Workload::of(pod).is_some_and(|workload| workloads.contains(&workload));
        if !is_ours {
            foreign.push((component, pod.metadata.name.clone().unwrap_or_default()));
        }
        is_ours
    });
    let is_foreign = |name: &str| foreign.iter().any(|(_, pod)| pod == name);
    for slice in snapshot.slices.values_mut() {
        let Some(endpoints) = Option::<&mut Vec<Endpoint>>::from(&mut slice.endpoints) else { continue };
        endpoints.retain(|e| !e.target_ref.as_ref().and_then(|target| target.name.as_deref()).is_some_and(is_foreign));
    }
    foreign.sort();
    foreign
}

/// What is to be judged in a namespace.
pub(crate) struct Subjects {
    pub(crate) release: Release,
    /// The names by which components are found, where they are known.
    pub(crate) names: Option<Names>,
    /// The zone in which containers look names up.
    pub(crate) zone: ZoneSeen,
    /// The ConfigMap that says so and holds the other settings; none where there is none.
    pub(crate) own: Result<Option<ConfigMap>, Unasked>,
    pub(crate) all: Vec<Subject>,
}

impl Subjects {
    /// Those of the deployment file; without one, those that stand.
    pub(crate) async fn of(cluster: &Cluster, snapshot: &Snapshot, deployment: Option<&Deployment>) -> Self {
        let release = deployment.map_or_else(|| release(snapshot), Deployment::release);
        let own = settings(cluster).await;
        let map = own.as_ref().ok().and_then(Option::as_ref).map(|map| map.data.clone().unwrap_or_default());
        let stands = map.as_ref().map(|map| map.get(ZONE).cloned().unwrap_or_default());
        // Whoever sets a zone in the containers themselves needs none there.
        let stands = stands.filter(|zone| !zone.is_empty() || takes_zone(snapshot));
        let zone = ZoneSeen::of(&cluster.namespace, stands, deployment.map(Deployment::zone));
        let mut settings = map.unwrap_or_default();
        // Containers are compared with what is right, whatever stands.
        if let Some(wanted) = zone.right().filter(|_| zone.is_wrong()) {
            settings.insert(ZONE.to_owned(), wanted.to_owned());
        }
        let names = match (deployment, zone.right()) {
            (Some(deployment), _) => Some(deployment.names()),
            (None, Some(zone)) => Some(Names::standing(release, &cluster.namespace, zone)),
            (None, None) => None,
        };
        let mut all = all(snapshot, deployment, release, names.as_ref());
        for subject in &mut all {
            subject.settings.clone_from(&settings);
        }
        Self { release, names, zone, own, all }
    }

    /// Why the zone in which containers look names up could not be read.
    pub(crate) fn zone_unread(&self) -> Option<Unasked> {
        self.own.as_ref().err().cloned()
    }

    /// Reads the Secrets that the containers take variables from, so that what they run with is compared with these, too. Yields
    /// why, where one of them could not be read.
    pub(crate) async fn read_secrets(&mut self, cluster: &Cluster, snapshot: &Snapshot) -> Option<String> {
        let containers = snapshot.pods.values().filter_map(own);
        let names = containers.flat_map(Secrets::named_by).map(str::to_owned).collect();
        let (secrets, unread) = Secrets::read(cluster, names).await;
        for subject in &mut self.all {
            subject.secrets = secrets.clone();
        }
        unread
    }
}

/// The container that has a component's programs in it.
fn own(pod: &Pod) -> Option<&Container> {
    own_container(pod.spec.as_ref()?, component_of(pod)?)
}

/// Whether a container takes its zone from the ConfigMap.
fn takes_zone(snapshot: &Snapshot) -> bool {
    let takes = |container: &Container| {
        let mut sources = container.env_from.iter().flatten().filter_map(|source| source.config_map_ref.as_ref());
        sources.any(|of| of.name == ENV_VARS) && !container.env.iter().flatten().any(|own| own.name == ZONE)
    };
    snapshot.pods.values().filter_map(own).any(takes)
}

/// A pod that runs with the component's programs in it, and the container that has them.
pub(crate) fn with_programs<'s, 'p>(subjects: &'s [Subject], pod: &'p Pod) -> Option<(&'s Subject, &'p Container)> {
    let component = component_of(pod)?;
    let subject = subjects.iter().find(|s| s.component() == component && !s.entry.programs.is_empty())?;
    let runs = pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Running"));
    runs.then_some((subject, own(pod)?))
}

/// The components of the deployment file, or those that are there.
fn all(snapshot: &Snapshot, deployment: Option<&Deployment>, release: Release, names: Option<&Names>) -> Vec<Subject> {
    let mut found: BTreeMap<Component, Vec<Workload>> = BTreeMap::new();
    if let Some(deployment) = deployment {
        for entry in deployment.components() {
            let expected = manifest::workloads(deployment, entry.component);
            found.insert(entry.component, expected.iter().map(Workload::from).collect());
        }
    } else {
        for (component, workload) in all_workloads(snapshot) {
            found.entry(component).or_default().push(workload);
        }
        // Bare pods, as the article has them.
        for pod in snapshot.pods.values() {
            if let Some(component) = component_of(pod) {
                found.entry(component).or_default();
            }
        }
    }
    let asked_of = |component| names.map(|names| names.asked_of(component)).unwrap_or_default();
    found
        .into_iter()
        .filter_map(|(component, workloads)| {
            let standing = Subject::standing(entry(release, component)?, workloads, snapshot);
            Some(Subject { names: asked_of(component), ..standing })
        })
        .collect()
}

/// The workloads of a component.
pub(crate) fn workloads(snapshot: &Snapshot, component: Component) -> Vec<Workload> {
    all_workloads(snapshot).filter(|(of, _)| *of == component).map(|(_, workload)| workload).collect()
}

/// The line of the checks where the zone of what stands is not known.
pub(crate) fn zone_line(unread: &Unasked) -> CheckLine {
    let title = "the zone in which containers look names up".to_owned();
    CheckLine { id: CheckId::Names, title, status: unread.status(), detail: unread.why().to_owned(), fix: None }
}

/// What stands in the ConfigMap that containers take their environment from; `None` where there is no such ConfigMap.
async fn settings(cluster: &Cluster) -> Result<Option<ConfigMap>, Unasked> {
    let api = cluster.api::<ConfigMap>();
    let asked = Unasked::unless_answered(api.get_opt(ENV_VARS), "get configmaps", SETTINGS).await;
    // Whom it is about is told with what failed, and the right tells it itself.
    asked.map_err(|why| if let Unasked::Failed(_) = why { why.of(&format!("configmap/{ENV_VARS}")) } else { why })
}

/// The host names of the deployment that stands, below the zone in which its containers look them up; `None` where it says
/// none.
pub(crate) async fn names(cluster: &Cluster, release: Release) -> Result<Option<Names>, Unasked> {
    let zone = settings(cluster).await?.and_then(|map| map.data?.remove(ZONE)).filter(|zone| !zone.is_empty());
    Ok(zone.map(|zone| Names::standing(release, &cluster.namespace, &zone)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::snapshot::{Update, WatchEvent};
    use super::*;

    #[test]
    fn pods_of_somebody_else_are_taken_out_with_their_endpoints() {
        let workload = |name: &str| {
            json!({"metadata": {"name": name}, "spec": {"selector": {}, "serviceName": "",
                "template": {"metadata": {"labels": {"service": name}}}}})
        };
        let pod = |name: &str, component: &str, owner: Value| json!({"metadata": {"name": name, "uid": name, "labels": {"service": component}, "ownerReferences": owner}});
        let owner = |kind: &str, name: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": name, "controller": true}]);
        let pods = [
            pod("sprout-5f6-x", "sprout", owner("ReplicaSet", "sprout-5f6")),
            pod("cassandra-0", "cassandra", owner("StatefulSet", "cassandra")),
            pod("mine", "sprout", json!([])),
            pod("job-x", "sprout", owner("Job", "job")),
            pod("other-5f6-x", "sprout", owner("ReplicaSet", "other-5f6")),
            // The article's, without any workload.
            pod("etcd", "etcd", json!([])),
            pod("nobody", "database", json!([])),
        ];
        let endpoints: Vec<Value> = ["sprout-5f6-x", "mine"]
            .iter()
            .map(|name| json!({"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": name}}))
            .collect();
        let of = |value: &Value| serde_json::from_value(value.clone()).unwrap();
        let mut snapshot = Snapshot::default();
        // Where ours stands, what somebody else calls by the same label is not its.
        let mut sprout = workload("sprout");
        sprout["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "kubectl-clearwater"});
        let mut another = workload("other");
        another["spec"]["template"]["metadata"]["labels"]["service"] = json!("sprout");
        snapshot.absorb(WatchEvent::Deployment(Update::All(vec![of(&sprout), of(&another)])));
        let set = serde_json::from_value(workload("cassandra")).unwrap();
        snapshot.absorb(WatchEvent::StatefulSet(Update::All(vec![set])));
        let pods = pods.iter().map(|pod| serde_json::from_value(pod.clone()).unwrap()).collect();
        snapshot.absorb(WatchEvent::Pod(Update::All(pods)));
        let slice = json!({"metadata": {"name": "sprout"}, "addressType": "IPv4", "endpoints": endpoints});
        snapshot.absorb(WatchEvent::EndpointSlice(Update::All(vec![serde_json::from_value(slice).unwrap()])));

        let mut blind = snapshot.clone();
        blind.denied.insert(Kind::StatefulSet);
        assert_eq!(take_foreign(&mut blind), []);

        let foreign = take_foreign(&mut snapshot);
        let sprout = |name: &str| (Component::Sprout, name.to_owned());
        assert_eq!(foreign, [sprout("job-x"), sprout("mine"), sprout("other-5f6-x")]);
        assert_eq!(snapshot.pods.keys().collect::<Vec<_>>(), ["cassandra-0", "etcd", "nobody", "sprout-5f6-x"]);
        assert_eq!(snapshot.slices["sprout"].endpoints.len(), 1);
        assert_eq!(snapshot.deployments.keys().collect::<Vec<_>>(), ["sprout"]);
    }

    /// What many have beside each other: a memcached of somebody else's makes no deployment a classic one.
    #[test]
    fn a_release_is_known_by_the_store_that_it_alone_has() {
        let of = |components: &[&str]| {
            let pod = |name: &&str| {
                let pod = json!({"metadata": {"name": name, "uid": name, "labels": {"service": name}}});
                serde_json::from_value(pod).unwrap()
            };
            let mut snapshot = Snapshot::default();
            snapshot.absorb(WatchEvent::Pod(Update::All(components.iter().map(pod).collect())));
            release(&snapshot)
        };
        assert_eq!(of(&["sprout", "memcached"]), Release::Classic);
        assert_eq!(of(&["sprout", "astaire", "memcached"]), Release::Hunter);
        assert_eq!(of(&["sprout"]), Release::Hunter);
    }

    /// A Service without a selector has slices that people or other controllers made.
    #[test]
    fn a_slice_without_names_publishes_pods_by_their_addresses() {
        let of = |value: Value| serde_json::from_value(value).unwrap();
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "homer-x", "uid": "u", "labels": {"service": "homer"}},
            "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}}))
            .unwrap();
        let asked = |endpoint: Value| {
            let mut snapshot = Snapshot::default();
            let service = json!({"metadata": {"name": "homer"}});
            snapshot.absorb(WatchEvent::Service(Update::All(vec![serde_json::from_value(service).unwrap()])));
            let slice = json!({"metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "homer"}},
                "addressType": "IPv4", "endpoints": [endpoint]});
            snapshot.absorb(WatchEvent::EndpointSlice(Update::All(vec![of(slice)])));
            let subject = Subject::standing(entry(Release::Hunter, Component::Homer).unwrap(), Vec::new(), &snapshot);
            snapshot.may_be_asked(&subject, &pod)
        };
        assert!(asked(json!({"addresses": ["10.0.0.1"]})));
        assert!(asked(json!({"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "homer-x"}})));
        assert!(!asked(json!({"addresses": ["10.0.0.2"]})));
        assert!(!asked(json!({"addresses": ["10.0.0.1"], "conditions": {"ready": false}})));
        assert!(!asked(json!({"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "another"}})));
    }
}
