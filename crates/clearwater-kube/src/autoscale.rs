//! HorizontalPodAutoscalers for what may shrink at any moment: written, listed and removed.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::autoscale::{autoscale, list};
//! use clearwater_kube::clearwater::component::Component;
//! use clearwater_kube::clearwater::manifest::Elasticity;
//!
//! let bounds = Elasticity { min: 1, max: 5, cpu_percent: 60, up_window_seconds: 0, down_window_seconds: 300 };
//! autoscale(&cluster, None, Component::Sprout, &bounds, false).await?;
//! for one in list(&cluster).await?.autoscalers {
//!     println!("{}: {} of {} to {}", one.name, one.current, one.min, one.max);
//! }
//! # Ok(()) }
//! ```

use clearwater::component::{Component, Release};
use clearwater::event::Whose;
use clearwater::manifest::{
    COMPONENT_LABEL, Elasticity, ElasticityError, MANAGED_BY, MANAGED_BY_LABEL, WorkloadKind, held,
};
use clearwater::remedy::{Remedied, Remedy};
use clearwater::scale::{Refusal, check_autoscale};
use k8s_openapi::api::apps::v1::{Deployment as DeploymentObject, StatefulSet};
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec};
use k8s_openapi::api::core::v1::Container;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cluster::{Cluster, FIELD_MANAGER, FailedAt, code_of, is_forbidden, list_all, no_namespace, say};
use crate::kinds;
use crate::observe::snapshot::{Snapshot, Update, WatchEvent};
use crate::observe::subject;
use crate::owner::{self, ORIGIN_ANNOTATION};
use crate::pod::object::own_container;
use crate::rights::{MissingRights, Right, Task, missing_to};

/// The version of the format of [`Autoscalers`].
pub const VERSION: u32 = 1;

/// Why there is no autoscaler.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AutoscaleError {
    /// The rules forbid it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Bounds that make no sense.
    #[error(transparent)]
    Bounds(#[from] ElasticityError),
    /// There is no such namespace.
    #[error("{}", no_namespace(.0))]
    NoNamespace(String),
    /// There is nothing to scale.
    #[error("there is no {0} in namespace {1}")]
    Absent(Component, String),
    /// Nothing to measure a share of.
    #[error(
        "{component} cannot be autoscaled: its container requests no CPU, and a percentage of nothing cannot be aimed at"
    )]
    NoRequest {
        /// The component.
        component: Component,
        /// The workload of something else's making that must request it, as kubectl names it with its container; `None`
        /// where it is this program's own.
        foreign: Option<ForeignContainer>,
    },
    /// Somebody else's autoscaler has the same workload.
    #[error(
        "{workload} has the autoscaler {autoscaler} already, which something else made: two would undo each other's work"
    )]
    Owned {
        /// The workload.
        workload: String,
        /// The autoscaler.
        autoscaler: String,
        /// The namespace.
        namespace: String,
    },
    /// Nothing measures pods.
    #[error("the cluster measures no pods (API metrics.k8s.io: {}), so an autoscaler would do nothing", say(.0))]
    NoMetrics(#[source] kube::Error),
    /// The user may not do what it takes.
    #[error(transparent)]
    Rights(#[from] MissingRights),
    /// The API server could not be asked, or refuses.
    #[error(transparent)]
    Api(FailedAt),
}

/// A container of a workload that something else made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignContainer {
    /// The workload, as `kind/name`.
    pub workload: String,
    /// The container.
    pub container: String,
    /// The namespace.
    pub namespace: String,
}

impl Remedied for AutoscaleError {
    fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            Self::Refused(refusal) => return refusal.remedy(),
            Self::Rights(missing) => return missing.remedy(),
            Self::Bounds(_) | Self::Api(_) => return None,
            Self::NoNamespace(_) => Remedy::ChooseNamespace,
            Self::Absent(..) => Remedy::any([Remedy::BringUp, Remedy::ChooseNamespace]),
            // What brought it there would take it for a deployment of its own, and refuse.
            Self::NoRequest { foreign: Some(ForeignContainer { workload, container, namespace }), .. } => format!(
                "kubectl set resources -n {namespace} {workload} -c {container} --requests=cpu=100m (what made it should \
                 say so, too), then again"
            )
            .into(),
            Self::NoRequest { component, foreign: None } => Remedy::sentence([
                format!("components.{component}.resources.requests.cpu in the deployment file, ").into(),
                Remedy::BringUp,
                ", and ".into(),
                Remedy::Again,
            ]),
            Self::Owned { autoscaler, namespace, .. } => {
                format!("kubectl delete horizontalpodautoscaler {autoscaler} -n {namespace}, then again").into()
            }
            Self::NoMetrics(_) => {
                "install metrics-server (https://github.com/kubernetes-sigs/metrics-server), wait until \
                                   kubectl top pods answers, then again"
                    .into()
            }
        })
    }
}

impl AutoscaleError {
    fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api(FailedAt::new(what, source))
    }
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The autoscalers, one for each workload of the component.
    pub autoscalers: Vec<HorizontalPodAutoscaler>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// The autoscalers of a namespace's components.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Autoscalers {
    /// The version of the format: [`VERSION`].
    pub v: u32,
    /// The namespace.
    pub namespace: String,
    /// The autoscalers, by component.
    pub autoscalers: Vec<ListedAutoscaler>,
}

/// An autoscaler as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedAutoscaler {
    /// The component.
    pub component: Component,
    /// Its name.
    pub name: String,
    /// The workload, as `kind/name`.
    pub workload: String,
    /// Whether this program made it.
    pub ours: bool,
    /// The fewest members.
    pub min: u32,
    /// The most members.
    pub max: u32,
    /// The processor time that it aims at, in percent of what is requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_percent: Option<u32>,
    /// The processor time that was measured last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_percent: Option<u32>,
    /// How many members there are.
    pub current: u32,
    /// How many it wants.
    pub desired: u32,
    /// Why it does nothing or is held back, in its own words; empty where all is well.
    pub troubles: Vec<String>,
}

fn requests_cpu(container: &Container) -> bool {
    let Some(resources) = &container.resources else { return false };
    // A limit without a request is the request, too (k8s.io/kubernetes `pkg/apis/core/v1/defaults.go`).
    [&resources.requests, &resources.limits].into_iter().flatten().any(|map| map.contains_key("cpu"))
}

/// What stands, once it is known that the user may look at it and do this with autoscalers.
async fn snapshot(cluster: &Cluster, verbs: &[&'static str]) -> Result<Snapshot, AutoscaleError> {
    let autoscaler = kinds::HORIZONTAL_POD_AUTOSCALER;
    let writes = verbs.iter().map(|verb| Right::new(verb, autoscaler.group(), autoscaler.plural)).collect();
    MissingRights::unless_none(cluster, missing_to(cluster, Task::Autoscale, &writes).await)?;
    let all = ListParams::default();
    let mut snapshot = Snapshot::default();
    let deployments = list_all(&cluster.api::<DeploymentObject>(), &all).await;
    let deployments = deployments.map_err(AutoscaleError::api("listing deployments"))?;
    let sets = list_all(&cluster.api::<StatefulSet>(), &all).await;
    let sets = sets.map_err(AutoscaleError::api("listing statefulsets"))?;
    if deployments.is_empty() && sets.is_empty() && cluster.lacks_namespace().await {
        return Err(AutoscaleError::NoNamespace(cluster.namespace.clone()));
    }
    snapshot.absorb(WatchEvent::Deployment(Update::All(deployments)));
    snapshot.absorb(WatchEvent::StatefulSet(Update::All(sets)));
    Ok(snapshot)
}

async fn autoscalers(cluster: &Cluster) -> Result<Vec<HorizontalPodAutoscaler>, AutoscaleError> {
    let listed = list_all(&cluster.api::<HorizontalPodAutoscaler>(), &ListParams::default()).await;
    listed.map_err(AutoscaleError::api("listing horizontalpodautoscalers"))
}

fn is_ours(autoscaler: &HorizontalPodAutoscaler) -> bool {
    owner::whose(&autoscaler.metadata) == Whose::Ours
}

fn is_of(autoscaler: &HorizontalPodAutoscaler, kind: WorkloadKind, name: &str) -> bool {
    held::<HorizontalPodAutoscalerSpec>(&autoscaler.spec)
        .is_some_and(|s| s.scale_target_ref.kind == kind.name() && s.scale_target_ref.name == name)
}

/// Writes an autoscaler for each workload of a component, so that sprout's two of the classic release each have one.
///
/// Everything is looked at first: the rules, the container's CPU request, other autoscalers, and whether anything
/// measures pods. `dry_run` has the API server check what would be written.
///
/// # Errors
/// What may not shrink at any moment, what is not there, bounds that make no sense, somebody else's autoscaler, rights that are
/// missing, or what the API server answered.
pub async fn autoscale(
    cluster: &Cluster,
    release: Option<Release>,
    component: Component,
    elasticity: &Elasticity,
    dry_run: bool,
) -> Result<Written, AutoscaleError> {
    elasticity.check()?;
    let snapshot = snapshot(cluster, &["create", "patch"]).await?;
    let release = release.unwrap_or_else(|| subject::release(&snapshot));
    check_autoscale(release, component)?;
    let workloads = subject::workloads(&snapshot, component);
    if workloads.is_empty() {
        return Err(AutoscaleError::Absent(component, cluster.namespace.clone()));
    }
    let standing = autoscalers(cluster).await?;
    let mut objects = Vec::new();
    let mut notes = Vec::new();
    for workload in &workloads {
        let Some(live) = snapshot.workload(workload) else { continue };
        let Some(template) = live.template else { continue };
        let own = template.spec.as_ref().and_then(|s| own_container(s, component));
        let container = own.filter(|c| requests_cpu(c)).ok_or_else(|| AutoscaleError::NoRequest {
            component,
            foreign: own.filter(|_| !owner::has_our_label(live.metadata)).map(|container| ForeignContainer {
                workload: workload.to_string(),
                container: container.name.clone(),
                namespace: cluster.namespace.clone(),
            }),
        })?;
        let foreign = standing
            .iter()
            .find(|a| is_of(a, workload.kind, &workload.name) && !(is_ours(a) && a.name_any() == workload.name));
        if let Some(foreign) = foreign {
            return Err(AutoscaleError::Owned {
                workload: format!("{}/{}", workload.kind.name().to_lowercase(), workload.name),
                autoscaler: foreign.name_any(),
                namespace: cluster.namespace.clone(),
            });
        }
        let mut labels = live.metadata.labels.clone().unwrap_or_default();
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
        let count = live.replicas;
        if !(elasticity.min..=elasticity.max).contains(&count) {
            notes.push(format!("{} has {count} members now, which the autoscaler changes at once", workload.name));
        }
        let mut object = elasticity.autoscaler(workload.kind, &workload.name, &container.name, labels);
        let before = standing.iter().find(|a| a.name_any() == workload.name).map(|a| &a.metadata);
        let mark = owner::mark(owner::whose_then(before)).to_owned();
        object.annotations_mut().insert(ORIGIN_ANNOTATION.to_owned(), mark);
        objects.push(object);
    }
    notes.extend(metrics(cluster, component).await?);
    let api = cluster.api::<HorizontalPodAutoscaler>();
    let params = PatchParams { dry_run, ..PatchParams::apply(FIELD_MANAGER) };
    let mut written = Vec::new();
    for object in objects {
        let name = object.name_any();
        let applied = api.patch(&name, &params, &Patch::Apply(&object)).await;
        written.push(applied.map_err(AutoscaleError::api(format!("horizontalpodautoscaler/{name}")))?);
    }
    Ok(Written { autoscalers: written, notes })
}

/// Looks whether anything measures the component's pods. Yields what is worth knowing.
async fn metrics(cluster: &Cluster, component: Component) -> Result<Option<String>, AutoscaleError> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<serde_json::Value>,
    }
    let path = format!(
        "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods?labelSelector=service%3D{component}",
        cluster.namespace
    );
    let failed = AutoscaleError::api("asking for metrics");
    let request = match http::Request::get(path).body(Vec::new()) {
        Ok(request) => request,
        Err(error) => return Err(failed(kube::Error::HttpError(error))),
    };
    match cluster.client.request::<List>(request).await {
        Ok(list) if list.items.is_empty() => Ok(Some(format!(
            "no pod of {component} has been measured yet: the autoscaler waits for the first measurement, about a minute \
             after a pod has started"
        ))),
        Ok(_) => Ok(None),
        Err(error) if is_forbidden(&error) => {
            Ok(Some("skipped: whether pods are measured (needs list pods.metrics.k8s.io)".to_owned()))
        }
        // There is no such API, or nobody behind it.
        Err(error) if matches!(code_of(&error), Some(404 | 503)) => Err(AutoscaleError::NoMetrics(error)),
        Err(error) => Err(failed(error)),
    }
}

/// The autoscalers that own workloads of components, whoever made them.
///
/// # Errors
/// Where the workloads or the autoscalers may not be listed, or could not be.
pub async fn list(cluster: &Cluster) -> Result<Autoscalers, AutoscaleError> {
    let snapshot = snapshot(cluster, &[]).await?;
    let all = autoscalers(cluster).await?;
    let mut found = Vec::new();
    for component in Component::ALL {
        for workload in subject::workloads(&snapshot, component) {
            found.extend(all.iter().filter(|a| is_of(a, workload.kind, &workload.name)).map(|a| seen(component, a)));
        }
    }
    Ok(Autoscalers { v: VERSION, namespace: cluster.namespace.clone(), autoscalers: found })
}

fn seen(component: Component, autoscaler: &HorizontalPodAutoscaler) -> ListedAutoscaler {
    let count = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
    let spec = held::<HorizontalPodAutoscalerSpec>(&autoscaler.spec);
    let status = autoscaler.status.as_ref();
    let target = spec.and_then(|s| {
        s.metrics.iter().flatten().find_map(|m| {
            let resource = m.resource.as_ref().map(|r| &r.target);
            m.container_resource.as_ref().map(|r| &r.target).or(resource)?.average_utilization
        })
    });
    let current = status.and_then(|s| {
        s.current_metrics.iter().flatten().find_map(|m| {
            let resource = m.resource.as_ref().map(|r| &r.current);
            m.container_resource.as_ref().map(|r| &r.current).or(resource)?.average_utilization
        })
    });
    let troubles = status
        .into_iter()
        .flat_map(|s| s.conditions.iter().flatten())
        .filter(|c| c.status == "False" && matches!(c.type_.as_str(), "AbleToScale" | "ScalingActive"))
        .map(|c| c.message.clone().or_else(|| c.reason.clone()).unwrap_or_default())
        .collect();
    ListedAutoscaler {
        component,
        name: autoscaler.name_any(),
        workload: spec
            .map(|s| format!("{}/{}", s.scale_target_ref.kind.to_lowercase(), s.scale_target_ref.name))
            .unwrap_or_default(),
        ours: is_ours(autoscaler),
        min: spec.map_or(1, |s| count(s.min_replicas).unwrap_or(1)),
        max: spec.and_then(|s| count(Some(s.max_replicas))).unwrap_or(0),
        target_percent: count(target),
        current_percent: count(current),
        current: status.and_then(|s| count(s.current_replicas)).unwrap_or(0),
        desired: status.and_then(|s| count(Some(s.desired_replicas))).unwrap_or(0),
        troubles,
    }
}

/// Removes the autoscalers of a component that this program made. Yields their names; the number of members stays as it
/// is.
///
/// # Errors
/// Where they may not be listed and removed, are somebody else's, or that could not be done.
pub async fn remove(cluster: &Cluster, component: Component) -> Result<Vec<String>, AutoscaleError> {
    let snapshot = snapshot(cluster, &["delete"]).await?;
    let all = autoscalers(cluster).await?;
    let api = cluster.api::<HorizontalPodAutoscaler>();
    let mut removed = Vec::new();
    // One that outlived its workload is found by its name.
    let owned: Vec<&HorizontalPodAutoscaler> = all
        .iter()
        .filter(|a| {
            let targets = subject::workloads(&snapshot, component).iter().any(|w| is_of(a, w.kind, &w.name));
            let labelled = a.labels().get(COMPONENT_LABEL).is_some_and(|c| c == component.name());
            targets || (labelled && is_ours(a))
        })
        .collect();
    if let Some(foreign) = owned.iter().find(|a| !is_ours(a)) {
        return Err(AutoscaleError::Owned {
            workload: held::<HorizontalPodAutoscalerSpec>(&foreign.spec)
                .map(|s| s.scale_target_ref.name.clone())
                .unwrap_or_default(),
            autoscaler: foreign.name_any(),
            namespace: cluster.namespace.clone(),
        });
    }
    for autoscaler in owned {
        let name = autoscaler.name_any();
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => removed.push(name),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(AutoscaleError::api(format!("horizontalpodautoscaler/{name}"))(error)),
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn container(resources: &Value) -> Container {
        serde_json::from_value(json!({"name": "sprout", "resources": resources})).unwrap()
    }

    #[test]
    fn a_limit_is_a_request_too() {
        assert!(requests_cpu(&container(&json!({"requests": {"cpu": "100m"}}))));
        assert!(requests_cpu(&container(&json!({"limits": {"cpu": "1"}}))));
        assert!(!requests_cpu(&container(&json!({"requests": {"memory": "1Gi"}}))));
        assert!(!requests_cpu(&container(&Value::Null)));
    }

    /// `up` refuses where another tool's deployment stands: its owner is told what he can do.
    #[tokio::test]
    async fn what_requests_no_cpu_is_sent_where_it_can_be_mended() {
        let bounds = Elasticity { min: 1, max: 3, cpu_percent: 60, up_window_seconds: 0, down_window_seconds: 300 };
        for (labels, advised) in [
            (json!({}), "kubectl set resources -n ims deployment/sprout -c sprout --requests=cpu=100m"),
            (json!({MANAGED_BY_LABEL: MANAGED_BY}), "components.sprout.resources.requests.cpu in the deployment file"),
        ] {
            let sprout = json!({"metadata": {"name": "sprout", "labels": labels}, "spec": {"selector": {}, "template":
                {"metadata": {"labels": {"service": "sprout"}}, "spec": {"containers": [{"name": "sprout"}]}}}});
            let (cluster, _) = crate::fake_api::cluster(move |path| {
                let items = if path.ends_with("/deployments") { json!([sprout]) } else { json!([]) };
                Some(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
            });
            let error = autoscale(&cluster, None, Component::Sprout, &bounds, true).await.unwrap_err();
            let fix = error.remedy().unwrap().to_string();
            assert!(fix.contains(advised), "{fix}");
        }
    }

    #[test]
    fn what_an_autoscaler_says_of_itself_is_read() {
        let object: HorizontalPodAutoscaler = serde_json::from_value(json!({
            "metadata": {"name": "sprout"},
            "spec": {"minReplicas": 2, "maxReplicas": 6, "scaleTargetRef": {"kind": "Deployment", "name": "sprout"},
                "metrics": [{"type": "ContainerResource", "containerResource": {"container": "sprout", "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 60}}}]},
            "status": {"currentReplicas": 2, "desiredReplicas": 3,
                "currentMetrics": [{"type": "ContainerResource", "containerResource": {"container": "sprout",
                    "name": "cpu", "current": {"averageUtilization": 85}}}],
                "conditions": [{"type": "ScalingActive", "status": "False", "message": "no metrics"},
                    {"type": "ScalingLimited", "status": "False"}]}}))
        .unwrap();
        let seen = seen(Component::Sprout, &object);
        assert_eq!((seen.target_percent, seen.current_percent), (Some(60), Some(85)));
        assert_eq!((seen.min, seen.max, seen.current, seen.desired, seen.ours), (2, 6, 2, 3, false));
        assert_eq!(seen.troubles, ["no metrics"]);
    }
}
