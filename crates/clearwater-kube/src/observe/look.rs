//! One look at a namespace: what stands, what its pods answer, and what etcd says of the stores' members.

use std::collections::BTreeSet;
use std::time::Duration;

use clearwater::config::Deployment;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::BoxError;

use super::etcd;
use super::observation::Observation;
use super::probe::{Depth, ProbeTarget, Prober};
use super::snapshot::{Kind, Snapshot, Update, WatchEvent};
use super::subject::Subject;
use super::volumes;
use crate::cluster::{Cluster, FailedAt, list_all, say};
use crate::deadline::{Late, TimeLimit, late_in};

/// Nothing of a namespace could be seen: the API server cannot be asked, or shows no pods to this user.
#[derive(Debug, Error)]
#[error("cannot look at namespace {namespace}: {}", say(.source.as_ref()))]
pub struct CouldNotLook {
    /// The namespace.
    pub namespace: String,
    /// What was seen.
    pub source: BoxError,
}

impl CouldNotLook {
    pub(crate) fn at(cluster: &Cluster, source: impl Into<BoxError>) -> Self {
        Self { namespace: cluster.namespace.clone(), source: source.into() }
    }

    /// Looks nowhere where a deployment is of another namespace.
    pub(crate) fn unless_of(cluster: &Cluster, deployment: Option<&Deployment>) -> Result<(), Self> {
        deployment.map_or(Ok(()), |d| cluster.is_of(d)).map_err(|why| Self::at(cluster, why))
    }

    /// One that gave no answer in time.
    pub(crate) fn late(cluster: &Cluster, within: Duration) -> Self {
        Self::at(cluster, Late::within(within))
    }

    /// Whether no answer came in the time that was given: with more of it one may come.
    pub fn is_late(&self) -> bool {
        self.limit().is_some()
    }

    /// Which time was up, where that is why.
    pub fn limit(&self) -> Option<TimeLimit> {
        late_in(self.source.as_ref()).map(Late::limit)
    }
}

/// Before something is looked at again. Also the least time that another look is worth.
pub(crate) const BACK_OFF: Duration = Duration::from_millis(500);

/// How much time is left.
pub(crate) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// The part of a look's time that one question may take.
const PATIENCE: f32 = 0.6;

/// What stands in the namespace. A server that is slow has all of the time: who cannot be listed cannot be asked. What fails
/// beside the pods blinds a look for nothing else, and takes no more than half of the time where the pods are known by then.
pub(crate) async fn snapshot(cluster: &Cluster, within: Duration) -> Result<Snapshot, CouldNotLook> {
    let mut snapshot = Snapshot::default();
    let asked = &cluster.before(Instant::now() + within);
    let (known, pods_known) = watch::channel(false);
    let pods = async {
        let pods = list(asked, Kind::Pod, WatchEvent::Pod).await;
        known.send_replace(true);
        pods
    };
    let half = within / 2;
    let beside = |kind: Kind, listing: BoxFuture<'static, Result<WatchEvent, FailedAt>>| {
        let mut pods_known = pods_known.clone();
        async move {
            let late = async {
                sleep(half).await;
                let _ = pods_known.wait_for(|known| *known).await;
            };
            let listed = tokio::select! {
                listed = listing => listed,
                () = late => Err(FailedAt::new(format!("listing {}", kind.resource()), Late::within(half))),
            };
            (kind, listed)
        }
    };
    let others = futures::future::join_all([
        beside(Kind::Deployment, list(asked, Kind::Deployment, WatchEvent::Deployment).boxed()),
        beside(Kind::StatefulSet, list(asked, Kind::StatefulSet, WatchEvent::StatefulSet).boxed()),
        beside(Kind::EndpointSlice, list(asked, Kind::EndpointSlice, WatchEvent::EndpointSlice).boxed()),
        beside(Kind::Service, list(asked, Kind::Service, WatchEvent::Service).boxed()),
        beside(Kind::Event, list(asked, Kind::Event, WatchEvent::Event).boxed()),
    ]);
    let (pods, others) = futures::join!(pods, others);
    snapshot.absorb(pods.map_err(|error| CouldNotLook::at(cluster, error))?);
    if snapshot.denied.contains(&Kind::Pod) {
        return Err(CouldNotLook::at(cluster, "needs list pods"));
    }
    for (kind, listed) in others {
        match listed {
            Ok(listed) => snapshot.absorb(listed),
            Err(error) => {
                snapshot.unheard.insert(kind, error.to_string());
            }
        }
    }
    Ok(snapshot)
}

fn list<K>(
    cluster: &Cluster,
    kind: Kind,
    wrap: fn(Update<K>) -> WatchEvent,
) -> impl Future<Output = Result<WatchEvent, FailedAt>> + Send + use<K>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    K::DynamicType: Default,
{
    let api: Api<K> = cluster.api();
    async move { listed(&api, kind, wrap).await }
}

async fn listed<K>(api: &Api<K>, kind: Kind, wrap: fn(Update<K>) -> WatchEvent) -> Result<WatchEvent, FailedAt>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match list_all(api, &ListParams::default()).await {
        Ok(all) => Ok(wrap(Update::All(all))),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(WatchEvent::Denied(kind)),
        Err(error) => Err(FailedAt::new(format!("listing {}", kind.resource()), error)),
    }
}

/// Asks the pods of these components and etcd, over connections of its own: one that was used before may be the fault.
/// Also yields the pods, by uid, that had not answered everything when the time was up.
pub(crate) async fn look(
    cluster: &Cluster,
    snapshot: Snapshot,
    subjects: &[&Subject],
    until: Instant,
) -> (Observation, BTreeSet<String>) {
    let time = until.saturating_duration_since(Instant::now());
    let patience = u32::try_from(time.mul_f32(PATIENCE).as_secs()).unwrap_or(u32::MAX);
    let mut asked = JoinSet::new();
    for subject in subjects {
        for pod in snapshot.pods_of(subject.component()) {
            let Some(target) = ProbeTarget::of(subject, pod) else { continue };
            let depth = if snapshot.may_be_asked(subject, pod) { Depth::Full } else { Depth::Programs };
            let data = volumes::keeper(subject.component()).and_then(|keeper| keeper.directory);
            let mut prober = Prober::new(cluster, target).patient(patience).with_room_of(data);
            asked.spawn(async move { prober.look_until(depth, until).await });
        }
    }
    let stores: Vec<_> =
        subjects.iter().filter_map(|s| Some((s.component(), s.entry.clustering.as_ref()?.etcd_key))).collect();
    let keys: Vec<_> = stores.iter().map(|(_, key)| *key).collect();
    let etcd = snapshot.etcd_pod();
    let asking = async { futures::join!(etcd::read(cluster, etcd.as_deref(), &keys, time), asked.join_all()) };
    let (members, answers) = cluster.policy.awaited("what pods answer", asking).await;
    let mut seen = Observation::of(snapshot);
    for ((component, _), members) in stores.into_iter().zip(members) {
        seen.take_members(component, members);
    }
    let mut late = BTreeSet::new();
    for (report, whole) in answers {
        if !whole {
            late.insert(report.uid.clone());
        }
        seen.reports.insert(report.uid.clone(), report);
    }
    (seen, late)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_hangs_beside_the_pods_takes_half_of_the_time_and_hides_nothing_else() {
        let kinds = [
            ("pods", "PodList"),
            ("deployments", "DeploymentList"),
            ("statefulsets", "StatefulSetList"),
            ("endpointslices", "EndpointSliceList"),
            ("services", "ServiceList"),
        ];
        let service = tower::service_fn(move |request: Request<Body>| async move {
            let plural = request.uri().path().rsplit('/').next().unwrap_or_default();
            let Some((_, kind)) = kinds.iter().find(|(of, _)| *of == plural) else { std::future::pending().await };
            let list = serde_json::json!({"kind": kind, "apiVersion": "v1", "metadata": {}, "items": []});
            Ok::<_, Infallible>(Response::new(Body::from(list.to_string().into_bytes())))
        });
        let cluster = Cluster::new(Client::new(service, "ims"), "ims");
        let began = Instant::now();
        let seen = snapshot(&cluster, Duration::from_secs(10)).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        assert_eq!(seen.known.len(), kinds.len());
        let why = seen.blind(Kind::Event).unwrap();
        assert!(why.contains("listing events") && why.contains("within 5 s"), "{why}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_quotes_a_server_that_asks_for_patience() {
        let service = tower::service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::builder().status(429).header("Retry-After", "1").body(Body::empty()).unwrap())
        });
        let cluster = Cluster::new(Client::new(service, "ims"), "ims");
        let began = Instant::now();
        let error = snapshot(&cluster, Duration::from_secs(10)).await.unwrap_err();
        assert!(error.to_string().contains("within 10 s: it said 429 Too Many Requests"), "{error}");
        // All that it was given, and no more.
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }
}
