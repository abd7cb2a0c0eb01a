//! One look at a deployment, in depth: what stands, what its programs and its own answers say, and the cause of
//! whatever is wrong. Bounded in time whatever hangs, and content with few rights.
//!
//! A deployment is found by upstream's labels (`service: NAME`), so one that other manifests made is judged as well.

mod clean;

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::component::{Component, Entry, Release, entry};
use clearwater::config::Deployment;
use clearwater::event::LogExcerpt;
use clearwater::manifest::{ENV_VARS, SERVICE_LABEL, WorkloadKind, workloads};
use clearwater::text::Clean;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodTemplateSpec};
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cluster::{Cluster, say};
use crate::doomed::{self, Exits, Grace, Scene};
use crate::judge::{self, MembersSeen, Stage, View, Workload};
use crate::members;
use crate::pod::{AskError, Forward};
use crate::probe::{Depth, Prober, Report, Tally};
use crate::snapshot::{Kind, News, Snapshot, Update, component_of};
use crate::up::pod_target;

/// The version of the format of [`Status`].
pub const VERSION: u32 = 1;

/// What to look at, and for how long.
#[derive(Clone, Debug)]
pub struct StatusOptions {
    /// The deployment as it should be; without it, what is there is judged.
    pub deployment: Option<Deployment>,
    /// How long the whole may take. What has not answered by then is told so.
    pub timeout: Duration,
}

/// How far a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// There is nothing of it.
    Absent,
    /// Its controller has given up.
    Stalled,
    /// Its pods are not all ready.
    Starting,
    /// Its pods are ready, and it does not answer for itself.
    Unwell,
    /// It serves.
    Serving,
}

impl From<Stage> for Health {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Absent => Self::Absent,
            Stage::Stalled => Self::Stalled,
            Stage::Starting => Self::Starting,
            Stage::Settling => Self::Unwell,
            Stage::Serving => Self::Serving,
        }
    }
}

/// A deployment as it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The version of the format: [`VERSION`].
    pub v: u32,
    /// The namespace.
    pub namespace: String,
    /// The release, from the deployment file or from what is there.
    pub release: Release,
    /// When the look began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Whether everything serves.
    pub healthy: bool,
    /// Whether something had not answered when the time was up.
    pub partial: bool,
    /// The components, in listing order.
    pub components: Vec<ComponentStatus>,
    /// What is worth knowing of the whole.
    pub notes: Vec<String>,
}

/// A component as it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// The component.
    pub component: Component,
    /// The functions it plays.
    pub roles: Vec<String>,
    /// How far it is.
    pub health: Health,
    /// The image of its own container; empty where there is no pod.
    pub image: String,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods that are wanted.
    pub wanted: u32,
    /// Its pods.
    pub pods: Vec<PodStatus>,
    /// The members of its store with their states, by address; empty where it is none or could not be asked.
    pub members: BTreeMap<String, String>,
    /// What is wrong, most telling first.
    pub problems: Vec<String>,
    /// The last lines of the log of the first program that is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogExcerpt>,
    /// Checks that could not be made, each with what it needs.
    pub unchecked: Vec<String>,
    /// Pods of an older revision that only their replacement will renew.
    pub pending: u32,
}

/// A pod as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Its name.
    pub name: String,
    /// The node it runs on.
    pub node: String,
    /// Its address.
    pub address: String,
    /// Whether its readiness condition holds.
    pub ready: bool,
    /// Restarts of its containers in all.
    pub restarts: u32,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub started: Option<Timestamp>,
    /// Programs that are as they should be, and programs in all; none where they could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs: Option<(u32, u32)>,
    /// Questions of its own that it answers as it should (ping, OPTIONS, ports), and questions in all; none where they
    /// could not be put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<(u32, u32)>,
    /// Names by which others know it that are found from inside the pod, and such names in all; none where they could
    /// not be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<(u32, u32)>,
}

/// Why nothing could be seen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The API server cannot be asked, or says nothing to this user.
    #[error("cannot look at namespace {namespace}: {message}")]
    CouldNotLook {
        /// The namespace.
        namespace: String,
        /// What was seen.
        message: String,
    },
}

/// The JSON schema of [`Status`].
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Status).to_value()
}

/// Looks once.
pub async fn status(cluster: &Cluster, options: &StatusOptions) -> Result<Status, StatusError> {
    let at = Timestamp::now();
    let until = Instant::now() + options.timeout;
    // A third of the time is kept for the pods.
    let snapshot = snapshot(cluster, options.timeout.mul_f32(0.6)).await?;
    let release = options.deployment.as_ref().map_or_else(|| guess(&snapshot), Deployment::release);
    let zone = zone(cluster, options).await;
    let parts = parts(&snapshot, options, release);

    let mut asked = JoinSet::new();
    for part in &parts {
        let names: Vec<String> = match &zone {
            Some(zone) if part.entry.component != Component::Etcd => {
                vec![format!("{}.{zone}", part.entry.component.name())]
            }
            _ => Vec::new(),
        };
        for pod in snapshot.pods_of(part.entry.component) {
            let Some(target) = pod_target(part.entry, &names, pod) else { continue };
            let open = judge::may_be_asked(&snapshot, part.entry.component, part.service.as_deref(), pod);
            let depth = if open { Depth::Full } else { Depth::Programs };
            let (cluster, uid) = (cluster.clone(), target.uid.clone());
            asked.spawn(async move {
                let mut prober = Prober::new(&cluster, target);
                let report = timeout_at(until, prober.look(depth)).await;
                let late = report.is_err();
                let report = report.unwrap_or_else(|_| Report {
                    uid: uid.clone(),
                    full: depth == Depth::Full,
                    problems: vec!["the pod did not answer in time".to_owned()],
                    ..Report::default()
                });
                (uid, report, late)
            });
        }
    }
    let (members, reports) = futures::join!(members(cluster, &snapshot, &parts, until), async {
        let mut reports = BTreeMap::new();
        let mut partial = false;
        while let Some(report) = asked.join_next().await {
            if let Ok((uid, report, late)) = report {
                partial |= late;
                reports.insert(uid, report);
            }
        }
        (reports, partial)
    });
    let (reports, partial) = reports;

    let components: Vec<ComponentStatus> =
        parts.iter().map(|part| component_status(part, &snapshot, &reports, &members, at)).collect();
    let mut notes: Vec<String> = snapshot
        .denied
        .iter()
        .map(|kind| format!("skipped: what is seen in {} (needs list {0})", kind.resource()))
        .collect();
    notes.extend(etcd_note(&snapshot));
    if components.is_empty() {
        notes.push(format!(
            "there is no Clearwater in namespace {}: no workload carries the label service: NAME",
            cluster.namespace
        ));
    }
    let mut seen = Status {
        v: VERSION,
        namespace: cluster.namespace.clone(),
        release,
        at,
        healthy: !components.is_empty() && components.iter().all(|c| c.health == Health::Serving),
        partial,
        components,
        notes,
    };
    // It quotes what others wrote: names of members and of files, lines of logs, messages of the API.
    seen.clean();
    Ok(seen)
}

struct Found {
    entry: &'static Entry,
    workloads: Vec<Workload>,
    service: Option<String>,
}

async fn snapshot(cluster: &Cluster, within: Duration) -> Result<Snapshot, StatusError> {
    let failed = |message: String| StatusError::CouldNotLook { namespace: cluster.namespace.clone(), message };
    let mut snapshot = Snapshot::default();
    let looking = async {
        futures::join!(
            list(cluster, Kind::Pod, News::Pod),
            list(cluster, Kind::Deployment, News::Deployment),
            list(cluster, Kind::StatefulSet, News::StatefulSet),
            list(cluster, Kind::EndpointSlice, News::EndpointSlice),
            list(cluster, Kind::Service, News::Service),
            list(cluster, Kind::Event, News::Event),
        )
    };
    let news = timeout(within, looking)
        .await
        .map_err(|_| failed(format!("no answer from the API server within {} s", within.as_secs_f32().round())))?;
    for one in [news.0, news.1, news.2, news.3, news.4, news.5] {
        snapshot.absorb(one.map_err(|e| failed(say(&e)))?);
    }
    if snapshot.denied.contains(&Kind::Pod) {
        return Err(failed("needs list pods".to_owned()));
    }
    Ok(snapshot)
}

async fn list<K>(cluster: &Cluster, kind: Kind, wrap: fn(Update<K>) -> News) -> Result<News, kube::Error>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    K::DynamicType: Default,
{
    let api: Api<K> = cluster.api();
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(wrap(Update::All(list.items))),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(News::Denied(kind)),
        Err(error) => Err(error),
    }
}

/// The release that stands: only the classic one has a component `memcached`.
pub(crate) fn guess(snapshot: &Snapshot) -> Release {
    if snapshot.pods.values().any(|p| component_of(p) == Some(Component::Memcached)) {
        Release::Classic
    } else {
        Release::Hunter
    }
}

/// The zone below which the containers look names up.
async fn zone(cluster: &Cluster, options: &StatusOptions) -> Option<String> {
    if let Some(deployment) = &options.deployment {
        return Some(deployment.zone());
    }
    let reading = timeout(Duration::from_secs(2), cluster.api::<ConfigMap>().get_opt(ENV_VARS)).await;
    let map = reading.ok()?.ok()??;
    map.data?.remove("ZONE").filter(|z| !z.is_empty())
}

pub(crate) fn template_component(template: Option<&PodTemplateSpec>) -> Option<Component> {
    let labels = template?.metadata.as_ref()?.labels.as_ref()?;
    if let Some(service) = labels.get(SERVICE_LABEL) {
        return service.parse().ok();
    }
    (labels.get("instance-type").map(String::as_str) == Some("etcd-pod")).then_some(Component::Etcd)
}

/// What is to be judged: the components of the deployment file, or those that are there.
fn parts(snapshot: &Snapshot, options: &StatusOptions, release: Release) -> Vec<Found> {
    let mut found: BTreeMap<Component, Vec<Workload>> = BTreeMap::new();
    if let Some(deployment) = &options.deployment {
        for entry in deployment.components() {
            let expected = workloads(deployment, entry.component);
            found.insert(entry.component, expected.iter().map(Workload::from).collect());
        }
    } else {
        for (name, object) in &snapshot.deployments {
            if let Some(component) = template_component(object.spec.as_ref().map(|s| &s.template)) {
                let workload = Workload { kind: WorkloadKind::Deployment, name: name.clone() };
                found.entry(component).or_default().push(workload);
            }
        }
        for (name, object) in &snapshot.stateful_sets {
            if let Some(component) = template_component(object.spec.as_ref().map(|s| &s.template)) {
                let workload = Workload { kind: WorkloadKind::StatefulSet, name: name.clone() };
                found.entry(component).or_default().push(workload);
            }
        }
        // Bare pods, as the article has them.
        for pod in snapshot.pods.values() {
            if let Some(component) = component_of(pod) {
                found.entry(component).or_default();
            }
        }
    }
    found
        .into_iter()
        .filter_map(|(component, workloads)| {
            let service = component.name();
            Some(Found {
                entry: entry(release, component)?,
                workloads,
                service: snapshot.services.contains_key(service).then(|| service.to_owned()),
            })
        })
        .collect()
}

async fn members(
    cluster: &Cluster,
    snapshot: &Snapshot,
    parts: &[Found],
    until: Instant,
) -> BTreeMap<Component, MembersSeen> {
    const OPEN: Duration = Duration::from_secs(8);
    let clustered: Vec<_> =
        parts.iter().filter_map(|p| Some((p.entry.component, p.entry.clustering.as_ref()?.etcd_key))).collect();
    let all = |seen: MembersSeen| clustered.iter().map(|(c, _)| (*c, seen.clone())).collect::<BTreeMap<_, _>>();
    if clustered.is_empty() {
        return BTreeMap::new();
    }
    let etcd = snapshot.pods_of(Component::Etcd).into_iter().find(|p| crate::rollout::pod_is_ready(p));
    let Some(etcd) = etcd else {
        return all(MembersSeen::Failed("no etcd pod is ready to be asked".to_owned()));
    };
    let reading = async {
        let mut forward = Forward::open(&cluster.api(), &etcd.name_any(), 2379, OPEN).await?;
        let mut seen = BTreeMap::new();
        for (component, key) in &clustered {
            let (_, body) = forward.get(&format!("/v2/keys{key}"), OPEN).await?;
            seen.insert(*component, MembersSeen::of(members::parse(key, &body)));
        }
        Ok::<_, AskError>(seen)
    };
    match timeout_at(until, reading).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) if error.is_lasting() => all(MembersSeen::Unchecked(error.to_string())),
        Ok(Err(error)) => all(MembersSeen::Failed(error.to_string())),
        Err(_) => all(MembersSeen::Failed("etcd did not answer in time".to_owned())),
    }
}

fn component_status(
    part: &Found,
    snapshot: &Snapshot,
    reports: &BTreeMap<String, Report>,
    members: &BTreeMap<Component, MembersSeen>,
    at: Timestamp,
) -> ComponentStatus {
    let component = part.entry.component;
    let none = BTreeMap::new();
    let view = View {
        entry: part.entry,
        workloads: &part.workloads,
        service: part.service.as_deref(),
        snapshot,
        reports,
        members: members.get(&component),
        generations: &none,
    };
    let judged = judge::component(&view);
    let stuck = judge::stuck(&view).len();
    let pods = snapshot.pods_of(component);
    let names: Vec<String> = part.workloads.iter().map(|w| w.name.clone()).collect();
    let events = snapshot.events_of(&pods, &names);
    let mut exits = Exits::default();
    for pod in &pods {
        exits.observe(pod);
    }
    let mut problems = judged.problems;
    if judged.stage < Stage::Settling {
        let scene = Scene {
            pods: &pods,
            events: &events,
            exits: &exits,
            needs_served_since: None,
            since: Timestamp::UNIX_EPOCH,
            now: at,
            grace: Grace::default(),
        };
        let doom = doomed::judge(&scene).map(|d| d.causes.join(": "));
        let cause = doom.or_else(|| doomed::cause(&scene).map(|c| c.text));
        // What a program says of itself comes before what Kubernetes sees from outside.
        let place = stuck + problems.iter().skip(stuck).take_while(|p| p.starts_with("program ")).count();
        if let Some(cause) = cause.filter(|c| !problems.contains(c)) {
            problems.insert(place, cause);
        }
    }
    if part.workloads.is_empty() && pods.iter().any(|p| !crate::rollout::pod_is_ready(p)) {
        problems.push("a pod without a controller is not ready".to_owned());
    }
    let health = if problems.is_empty() { judged.stage.into() } else { Health::from(judged.stage).min(Health::Unwell) };
    let own = |pod: &Pod| {
        let containers = &pod.spec.as_ref()?.containers;
        containers.iter().find(|c| c.name == component.name()).or(containers.first())?.image.clone()
    };
    ComponentStatus {
        component,
        roles: part.entry.roles.iter().map(|r| r.name().to_owned()).collect(),
        health,
        image: pods.first().and_then(|p| own(p)).unwrap_or_default(),
        ready: judged.ready,
        wanted: judged.wanted,
        pods: pods.iter().map(|p| pod_status(part.entry, p, reports)).collect(),
        members: match members.get(&component) {
            Some(MembersSeen::Read(members)) => {
                members.iter().map(|(address, state)| (address.to_string(), state.name().to_owned())).collect()
            }
            _ => BTreeMap::new(),
        },
        log: pods.iter().filter_map(|p| reports.get(&p.uid()?)).find_map(|r| r.log.clone()),
        problems,
        unchecked: judged.unchecked,
        pending: judged.pending,
    }
}

fn pod_status(entry: &Entry, pod: &Pod, reports: &BTreeMap<String, Report>) -> PodStatus {
    let status = pod.status.as_ref();
    let restarts = status
        .iter()
        .flat_map(|s| s.container_statuses.iter().flatten())
        .map(|c| u32::try_from(c.restart_count).unwrap_or(0))
        .sum();
    let all = entry.programs.len();
    let asked = reports.get(&pod.uid().unwrap_or_default());
    let programs = asked
        .filter(|r| all > 0 && (r.programs_well > 0 || !r.troubles.is_empty()))
        .map(|r| (u32::try_from(r.programs_well).unwrap_or(0), u32::try_from(all).unwrap_or(0)));
    let tally = |of: fn(&Report) -> Tally| asked.map(of).filter(|t| t.put > 0).map(|t| (t.well, t.put));
    PodStatus {
        answers: tally(|r| r.answers),
        names: tally(|r| r.names),
        name: pod.name_any(),
        node: pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default(),
        address: status.and_then(|s| s.pod_ip.clone()).unwrap_or_default(),
        ready: crate::rollout::pod_is_ready(pod),
        restarts,
        started: status.and_then(|s| s.start_time.as_ref()).map(|t| t.0),
        programs,
    }
}

/// Where etcd keeps its data, because it decides what a lost node costs.
fn etcd_note(snapshot: &Snapshot) -> Option<String> {
    let pod = snapshot.pods_of(Component::Etcd).into_iter().next()?;
    let volumes = pod.spec.as_ref()?.volumes.as_ref();
    let claimed = volumes.into_iter().flatten().any(|v| v.persistent_volume_claim.is_some());
    Some(if claimed {
        "etcd keeps the stores' membership on a persistent volume".to_owned()
    } else {
        "etcd keeps the stores' membership in its pod: when the pod goes, the stores must be made anew with it"
            .to_owned()
    })
}
