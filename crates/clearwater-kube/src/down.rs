//! Taking a deployment down: what others need goes last, and stores leave their cluster before they go.
//!
//! Only objects that carry this project's labels are removed. What other manifests made is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clearwater::component::{Component, Data, Release, entry};
use clearwater::event::{
    CancelReason, Change, Command, Operation, Outcome, PlannedComponent, PlannedGate, RunStats, What,
};
use clearwater::manifest::{ENV_VARS, KEYS_SECRET, MANAGED_BY, MANAGED_BY_LABEL, PART_OF, PART_OF_LABEL};
use clearwater::order::{Graph, Policy, Subscribers};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, DynamicObject, ListParams, PropagationPolicy};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::cluster::{Cluster, say};
use crate::dns;
use crate::emit::{Emitter, millis};
use crate::snapshot::{component_of, is_forbidden};
use crate::up::{Run, Steering, answered, start};

/// What `down` is to do.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct DownOptions {
    /// Only these components; all where it is empty.
    pub only: Vec<Component>,
    /// Whether pods are removed at once, without their pre-stop hooks.
    pub now: bool,
    /// Whether the configuration and the keys are kept.
    pub keep_config: bool,
    /// Whether the namespace is removed too.
    pub delete_namespace: bool,
    /// How long the whole may take, without the time that a question stands open.
    pub timeout: Duration,
    /// Whether the run waits after [`Planned`](What::Planned) until it is told to go on.
    pub ask: bool,
}

/// The kinds of which a deployment has objects, those first that others hang on.
const KINDS: [(&str, &str); 9] = [
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("networking.k8s.io/v1", "Ingress"),
    ("policy/v1", "PodDisruptionBudget"),
    ("v1", "Service"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
];

/// The first pause between two looks at a namespace that is going, which not everybody may watch; each is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
enum DownError {
    #[error("{what}: {message}")]
    Failed { what: String, message: String },
    #[error("the time was up while {0}")]
    Late(String),
    #[error("interrupted")]
    Cancelled(CancelReason),
}

/// A component with how many objects were removed and how many milliseconds it took.
type Removal = (Component, Result<(u32, u64), DownError>);

#[derive(Clone, Debug)]
struct Doomed {
    api_version: &'static str,
    kind: &'static str,
    name: String,
    component: Option<Component>,
}

impl Doomed {
    fn object(&self) -> String {
        format!("{}/{}", self.kind.to_lowercase(), self.name)
    }
}

/// What dies with the pods of a component, in plain words; empty where nothing does.
pub fn losses(release: Release, component: Component) -> Vec<&'static str> {
    entry(release, component).map(|e| e.data.iter().map(|d: &Data| d.what).collect()).unwrap_or_default()
}

/// Takes a deployment down.
pub fn down(cluster: Cluster, options: DownOptions) -> Run {
    start(move |emitter, steering| run(cluster, options, emitter, steering))
}

async fn find(cluster: &Cluster, options: &DownOptions) -> Result<Vec<Doomed>, DownError> {
    let selector = format!("{PART_OF_LABEL}={PART_OF},{MANAGED_BY_LABEL}={MANAGED_BY}");
    let params = ListParams::default().labels(&selector);
    let mut found = Vec::new();
    for (api_version, kind) in KINDS {
        let listed = match cluster.dynamic(api_version, kind).list(&params).await {
            Ok(listed) => listed,
            // What may not even be listed was not made by this user.
            Err(kube::Error::Api(status)) if status.is_forbidden() && kind != "Deployment" => continue,
            Err(error) => {
                return Err(DownError::Failed { what: format!("listing {kind} objects"), message: say(&error) });
            }
        };
        for object in listed.items {
            let component = component_of(&object);
            if !options.only.is_empty() && !component.is_some_and(|c| options.only.contains(&c)) {
                continue;
            }
            let name = object.name_any();
            if options.keep_config && (name == ENV_VARS || name == KEYS_SECRET || component.is_none()) {
                continue;
            }
            found.push(Doomed { api_version, kind, name, component });
        }
    }
    found.extend(claims(cluster, options, &found).await?);
    Ok(found)
}

/// The claims that StatefulSets made for their pods: they carry only the labels of the set's selector. Kept, they would
/// give the next deployment the members of this one.
async fn claims(cluster: &Cluster, options: &DownOptions, found: &[Doomed]) -> Result<Vec<Doomed>, DownError> {
    let listed = match cluster.dynamic("v1", "PersistentVolumeClaim").list(&ListParams::default()).await {
        Ok(listed) => listed,
        Err(kube::Error::Api(status)) if status.is_forbidden() => return Ok(Vec::new()),
        Err(error) => return Err(DownError::Failed { what: "listing claims".to_owned(), message: say(&error) }),
    };
    let known: BTreeSet<&str> =
        found.iter().filter(|d| d.kind == "PersistentVolumeClaim").map(|d| d.name.as_str()).collect();
    Ok(listed
        .items
        .iter()
        .filter_map(|claim| {
            let (name, component) = (claim.name_any(), component_of(claim)?);
            let ours = name.strip_prefix(&format!("data-{component}-")).is_some_and(|n| n.parse::<u32>().is_ok());
            let meant = options.only.is_empty() || options.only.contains(&component);
            (ours && meant && !known.contains(name.as_str())).then_some(Doomed {
                api_version: "v1",
                kind: "PersistentVolumeClaim",
                name,
                component: Some(component),
            })
        })
        .collect())
}

async fn run(cluster: Cluster, options: DownOptions, mut emitter: Emitter, mut steering: Steering) {
    let mut stats = RunStats::default();
    let outcome = work(&cluster, &options, &mut emitter, &mut steering, &mut stats).await;
    let (outcome, summary) = match outcome {
        Ok(end) => end,
        Err(error @ DownError::Failed { .. }) if stats.writes == 0 => (Outcome::CouldNotLook, error.to_string()),
        Err(error @ DownError::Failed { .. }) => (Outcome::Failed, error.to_string()),
        Err(error @ DownError::Late(_)) => (Outcome::NotReady, error.to_string()),
        Err(DownError::Cancelled(reason)) => {
            emitter.emit(What::CancelRequested { reason }).await;
            (Outcome::Cancelled, "stopped; run down again to go on".to_owned())
        }
    };
    emitter.emit(What::RunFinished { outcome, summary, stats, critical_path: Vec::new(), pending: Vec::new() }).await;
}

async fn work(
    cluster: &Cluster,
    options: &DownOptions,
    emitter: &mut Emitter,
    steering: &mut Steering,
    stats: &mut RunStats,
) -> Result<(Outcome, String), DownError> {
    let names = async {
        // They all lead to sprout.
        let meant = options.only.is_empty() || options.only.contains(&Component::Sprout);
        if meant { dns::standing(cluster).await } else { None }
    };
    let (found, names) = tokio::join!(find(cluster, options), names);
    let found = found?;
    let components: BTreeSet<Component> = found.iter().filter_map(|d| d.component).collect();
    let release = if components.contains(&Component::Memcached) { Release::Classic } else { Release::Hunter };
    let graph = Graph::clearwater(release, Subscribers::default());
    let graph = graph
        .plan(Policy::Dependency)
        .map_err(|e| DownError::Failed { what: "ordering the components".to_owned(), message: e.to_string() })?;
    let plan = graph.reversed();
    let order: Vec<Component> =
        plan.order().filter_map(|n| n.parse().ok()).filter(|c| components.contains(c)).collect();
    emitter
        .emit(What::RunStarted {
            command: Command::Down,
            namespace: cluster.namespace.clone(),
            order: "reverse".to_owned(),
            components: order
                .iter()
                .map(|c| PlannedComponent {
                    component: c.name().to_owned(),
                    gates: plan
                        .gates(c.name())
                        .filter(|g| order.iter().any(|o| o.name() == *g))
                        .map(|g| PlannedGate { on: g.to_owned(), because: format!("{g} needs {c}") })
                        .collect(),
                })
                .collect(),
        })
        .await;
    let removed: Vec<Change> = found
        .iter()
        .map(|d| Change {
            object: d.object(),
            component: d.component.map(|c| c.name().to_owned()),
            operation: Operation::Delete,
            diff: String::new(),
        })
        .collect();
    if let Some(object) = names {
        let text = format!(
            "names of this deployment stand in {object} and stay there: kubectl clearwater dns-patch --remove -n {} takes \
             them out, now or later",
            cluster.namespace
        );
        emitter.emit(What::Notice { text }).await;
    }
    let nothing = removed.is_empty() && !options.delete_namespace;
    emitter.emit(What::Planned { changes: removed, pending: Vec::new() }).await;
    if nothing {
        let text = format!("nothing to remove in namespace {}", cluster.namespace);
        return Ok((Outcome::NothingToDo, text));
    }
    if options.ask && !answered(steering, emitter).await.map_err(DownError::Cancelled)? {
        return Ok((Outcome::Refused, "not confirmed, nothing was removed".to_owned()));
    }
    let until = emitter.began() + options.timeout;

    let mut of: BTreeMap<Component, Vec<Doomed>> = BTreeMap::new();
    let mut shared = Vec::new();
    for doomed in found {
        match doomed.component {
            Some(component) => of.entry(component).or_default().push(doomed),
            None => shared.push(doomed),
        }
    }
    let mut schedule = plan.schedule();
    // Components that are not there keep nobody waiting.
    for name in plan.order().map(str::to_owned).collect::<Vec<_>>() {
        if !order.iter().any(|c| c.name() == name) {
            schedule.complete(&name);
        }
    }
    let mut begun: BTreeSet<String> = BTreeSet::new();
    let (there, left) = watch::channel(Left::default());
    let mut watching = JoinSet::new();
    watching.spawn(watch_pods(cluster.api(), there));
    let mut removals: JoinSet<Removal> = JoinSet::new();
    loop {
        for name in schedule.ready() {
            if !begun.insert(name.to_string()) {
                continue;
            }
            let Ok(component) = name.parse::<Component>() else { continue };
            let objects = of.remove(&component).unwrap_or_default();
            let cause = if options.now { "its pods are killed" } else { "its pods are given their time to leave" };
            emitter.emit(What::Removing { component: component.name().to_owned(), cause: cause.to_owned() }).await;
            let (cluster, now, left) = (cluster.clone(), options.now, left.clone());
            removals.spawn(async move { (component, remove(&cluster, component, objects, now, left, until).await) });
        }
        if removals.is_empty() {
            break;
        }
        tokio::select! {
            Some(ended) = removals.join_next() => {
                let Ok((component, ended)) = ended else { continue };
                let (objects, took) = ended?;
                stats.writes += objects;
                schedule.complete(component.name());
                emitter.emit(What::Removed { component: component.name().to_owned(), objects, took }).await;
            }
            changed = steering.cancel.changed() => {
                let reason = *steering.cancel.borrow();
                if changed.is_ok() && let Some(reason) = reason {
                    return Err(DownError::Cancelled(reason));
                }
                if changed.is_err() {
                    return Err(DownError::Cancelled(CancelReason::Reader));
                }
            }
        }
    }
    for doomed in &shared {
        delete(cluster, doomed, false).await?;
        stats.writes += 1;
    }
    if options.delete_namespace {
        delete_namespace(cluster, emitter, until).await?;
        stats.writes += 1;
    }
    Ok((Outcome::Done, format!("{} objects removed from namespace {}", stats.writes, cluster.namespace)))
}

async fn delete(cluster: &Cluster, doomed: &Doomed, at_once: bool) -> Result<(), DownError> {
    let api: Api<DynamicObject> = cluster.dynamic(doomed.api_version, doomed.kind);
    let params = DeleteParams {
        grace_period_seconds: at_once.then_some(0),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match api.delete(&doomed.name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(DownError::Failed { what: format!("removing {}", doomed.object()), message: say(&error) }),
    }
}

/// The pods that are still there.
#[derive(Debug, Default)]
struct Left {
    /// Whether they have been listed.
    known: bool,
    pods: BTreeMap<String, Component>,
    /// Why nobody can tell.
    refused: Option<String>,
}

impl Left {
    fn set(&mut self, pod: &Pod) {
        if let Some(component) = component_of(pod) {
            self.pods.insert(pod.name_any(), component);
        }
    }

    fn of(&self, component: Component) -> Vec<String> {
        self.pods.iter().filter(|(_, c)| **c == component).map(|(name, _)| name.clone()).collect()
    }
}

/// Keeps the list of this deployment's pods up to date, until nobody looks at it any more.
async fn watch_pods(pods: Api<Pod>, there: watch::Sender<Left>) {
    let config = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
    let mut stream = watcher(pods, config).default_backoff().boxed();
    let mut listed = Left::default();
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Init) => listed = Left { known: true, ..Left::default() },
            Ok(watcher::Event::InitApply(pod)) => listed.set(&pod),
            Ok(watcher::Event::InitDone) => drop(there.send_replace(std::mem::take(&mut listed))),
            Ok(watcher::Event::Apply(pod)) => there.send_modify(|left| left.set(&pod)),
            Ok(watcher::Event::Delete(pod)) => there.send_modify(|left| {
                left.pods.remove(&pod.name_any());
            }),
            Err(error) if is_forbidden(&error) => {
                there.send_modify(|left| left.refused = Some(error.to_string()));
                return;
            }
            // The watch is renewed; until the deadline nothing is lost by waiting for it.
            Err(_) => {}
        }
        if there.is_closed() {
            return;
        }
    }
}

/// Removes a component's workloads, waits until its pods are gone, and removes the rest of its objects: a pod that
/// leaves its cluster needs its name until then.
async fn remove(
    cluster: &Cluster,
    component: Component,
    objects: Vec<Doomed>,
    now: bool,
    mut left: watch::Receiver<Left>,
    until: Instant,
) -> Result<(u32, u64), DownError> {
    let began = Instant::now();
    let is_workload = |d: &Doomed| matches!(d.kind, "Deployment" | "StatefulSet");
    let mut count = 0;
    for doomed in objects.iter().filter(|d| is_workload(d)) {
        delete(cluster, doomed, false).await?;
        count += 1;
    }
    let mut killed = BTreeSet::new();
    let what = || format!("watching the pods of {component}");
    loop {
        let (known, names) = {
            let seen = left.borrow_and_update();
            if let Some(why) = &seen.refused {
                return Err(DownError::Failed { what: what(), message: why.clone() });
            }
            (seen.known, seen.of(component))
        };
        if known && names.is_empty() {
            break;
        }
        for name in names.iter().filter(|_| now) {
            if killed.insert(name.clone()) {
                let doomed = Doomed { api_version: "v1", kind: "Pod", name: name.clone(), component: Some(component) };
                delete(cluster, &doomed, true).await?;
            }
        }
        match timeout_at(until, left.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(DownError::Failed { what: what(), message: "the watch has ended".to_owned() }),
            Err(_) => {
                let names = names.join(", ");
                return Err(DownError::Late(format!("waiting for the pods of {component} to go: {names}")));
            }
        }
    }
    for doomed in objects.iter().filter(|d| !is_workload(d)) {
        delete(cluster, doomed, false).await?;
        count += 1;
    }
    Ok((count, millis(began.elapsed())))
}

async fn delete_namespace(cluster: &Cluster, emitter: &mut Emitter, until: Instant) -> Result<(), DownError> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let failed = |e: &kube::Error| DownError::Failed {
        what: format!("removing namespace {}", cluster.namespace),
        message: say(e),
    };
    match namespaces.delete(&cluster.namespace, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        Err(error) => return Err(failed(&error)),
        Ok(_) => {}
    }
    let mut told = String::new();
    let mut pause = PAUSE_FIRST;
    loop {
        let Some(namespace) = namespaces.get_opt(&cluster.namespace).await.map_err(|e| failed(&e))? else {
            return Ok(());
        };
        let holds = holders(&namespace);
        if !holds.is_empty() && holds != told {
            emitter.emit(What::Notice { text: format!("what still holds the namespace: {holds}") }).await;
            told.clone_from(&holds);
        }
        if Instant::now() >= until {
            let holds = if told.is_empty() { "nothing that it names".to_owned() } else { told };
            return Err(DownError::Late(format!(
                "waiting for namespace {} to go; it is held by {holds}",
                cluster.namespace
            )));
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}

/// What keeps a namespace from going, in the namespace controller's words.
fn holders(namespace: &Namespace) -> String {
    let conditions = namespace.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let said: Vec<String> =
        conditions.filter(|c| c.status == "True").filter_map(|c| c.message.clone().filter(|m| !m.is_empty())).collect();
    said.join("; ")
}
