//! One look: what stands, what its pods answer, and what etcd says of the stores' members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clearwater::component::{Component, Entry};
use clearwater::dns::Names;
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::StatusError;
use crate::cluster::{Cluster, say};
use crate::judge::problem::{About, Problem};
use crate::judge::rollout::pod_is_ready;
use crate::judge::{self, Judged, MembersSeen, Stage, View, Workload};
use crate::observe::members;
use crate::observe::probe::{Depth, Prober, Report, Target};
use crate::observe::snapshot::{Kind, News, Snapshot, Update};
use crate::pod::{AskError, Forward};

/// The part of a look's time that one question may take.
const PATIENCE: f32 = 0.6;

/// A component that is looked at.
pub(super) struct Found {
    pub(super) entry: &'static Entry,
    pub(super) workloads: Vec<Workload>,
    pub(super) service: Option<String>,
}

/// Where is looked.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) cluster: &'a Cluster,
    /// The deployment's host names, where the zone is known.
    pub(super) names: Option<&'a Names>,
}

/// What one look saw.
pub(super) struct Look {
    pub(super) snapshot: Arc<Snapshot>,
    /// What the pods say, by uid.
    pub(super) reports: BTreeMap<String, Report>,
    pub(super) members: BTreeMap<Component, MembersSeen>,
    /// Pods that had not answered everything when the time was up, by uid.
    late: BTreeSet<String>,
    generations: BTreeMap<String, i64>,
}

impl Scene<'_> {
    /// Asks the pods of these components, over connections of its own: one that was used before may be the fault.
    pub(super) async fn look(self, snapshot: Arc<Snapshot>, parts: Vec<&Found>, until: Instant) -> Look {
        let time = until.saturating_duration_since(Instant::now()).mul_f32(PATIENCE);
        let patience = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let mut asked = JoinSet::new();
        for part in &parts {
            let names = self.names.map(|names| names.asked_of(part.entry.component)).unwrap_or_default();
            for pod in snapshot.pods_of(part.entry.component) {
                let Some(target) = Target::of(part.entry, &names, pod) else { continue };
                let open = judge::may_be_asked(&snapshot, part.entry.component, part.service.as_deref(), pod);
                let depth = if open { Depth::Full } else { Depth::Programs };
                let mut prober = Prober::new(self.cluster, target).patient(patience);
                asked.spawn(async move { prober.look_until(depth, until).await });
            }
        }
        let (members, (reports, late)) = futures::join!(members(self.cluster, &snapshot, &parts, until), async {
            let (mut reports, mut late) = (BTreeMap::new(), BTreeSet::new());
            while let Some(asked) = asked.join_next().await {
                if let Ok((report, whole)) = asked {
                    if !whole {
                        late.insert(report.uid.clone());
                    }
                    reports.insert(report.uid.clone(), report);
                }
            }
            (reports, late)
        });
        Look { snapshot, reports, members, late, generations: BTreeMap::new() }
    }
}

impl Look {
    /// What is known of a component.
    pub(super) fn view<'a>(&'a self, part: &'a Found) -> View<'a> {
        View {
            entry: part.entry,
            workloads: &part.workloads,
            service: part.service.as_deref(),
            snapshot: &self.snapshot,
            reports: &self.reports,
            members: self.members.get(&part.entry.component),
            generations: &self.generations,
        }
    }

    /// How far a component is.
    pub(super) fn judge(&self, part: &Found) -> Judged {
        let mut judged = judge::component(&self.view(part));
        let unready = self.snapshot.pods_of(part.entry.component).iter().any(|p| !pod_is_ready(p));
        if part.workloads.is_empty() && unready {
            judged.problems.push(Problem::new(About::Pods, "a pod without a controller is not ready"));
            judged.stage = judged.stage.min(Stage::Settling);
        }
        judged
    }

    /// Whether a pod of a component had not answered everything when the time was up.
    pub(super) fn is_late(&self, part: &Found) -> bool {
        self.snapshot.pods_of(part.entry.component).iter().filter_map(|p| p.uid()).any(|uid| self.late.contains(&uid))
    }
}

/// What stands in the namespace.
pub(super) async fn snapshot(cluster: &Cluster, within: Duration) -> Result<Snapshot, StatusError> {
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

async fn members(
    cluster: &Cluster,
    snapshot: &Snapshot,
    parts: &[&Found],
    until: Instant,
) -> BTreeMap<Component, MembersSeen> {
    const OPEN: Duration = Duration::from_secs(8);
    let clustered: Vec<_> =
        parts.iter().filter_map(|p| Some((p.entry.component, p.entry.clustering.as_ref()?.etcd_key))).collect();
    let all = |seen: MembersSeen| clustered.iter().map(|(c, _)| (*c, seen.clone())).collect::<BTreeMap<_, _>>();
    if clustered.is_empty() {
        return BTreeMap::new();
    }
    let etcd = snapshot.pods_of(Component::Etcd).into_iter().find(|p| pod_is_ready(p));
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
