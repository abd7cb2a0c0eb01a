//! What is scaled, as it stands.

use clearwater::component::{Component, Release, catalogue, entry};
use clearwater::config::{BonoExposure, CLUSTER_DOMAIN};
use clearwater::dns::Names;
use clearwater::manifest::WorkloadKind;
use clearwater::remedy::{Advice, Remedied as _, Remedy};
use clearwater::scale::{Autoscaler, InvalidTarget, Reach, Refusal, Target};
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::ScaleOptions;
use crate::cluster::Cluster;
use crate::observe::snapshot::Snapshot;
use crate::observe::unasked::Unasked;
use crate::observe::{Subject, Workload, subject};

/// A component that is scaled.
#[derive(Clone, Debug)]
pub(super) struct ScaleTarget {
    pub(super) subject: Subject,
    pub(super) release: Release,
    /// How many members each workload is to have.
    pub(super) to: u32,
    pub(super) reach: Reach,
    pub(super) autoscaler: Option<Autoscaler>,
}

impl ScaleTarget {
    pub(super) fn component(&self) -> Component {
        self.subject.component()
    }

    pub(super) fn name(&self) -> &'static str {
        self.subject.name()
    }

    /// How many pods that makes.
    pub(super) fn wanted_pods(&self) -> usize {
        self.to as usize * self.subject.workloads.len()
    }
}

/// The host names of what stands, where the zone below which they are is the one that cluster DNS gives to the
/// namespace's Services.
pub(super) async fn names(cluster: &Cluster, release: Release) -> (Names, Option<Unasked>) {
    let (standing, unread) = match subject::names(cluster, release).await {
        Ok(standing) => (standing.filter(Names::zone_is_kubernetes), None),
        Err(unread) => (None, Some(unread)),
    };
    let own = || Names::standing(release, &cluster.namespace, &format!("{}.svc.{CLUSTER_DOMAIN}", cluster.namespace));
    (standing.unwrap_or_else(own), unread)
}

/// Why a component cannot even be looked at.
pub(super) enum Unfit {
    Absent(Advice),
    /// What was refused, where a rule of scaling says so, with the text.
    Refused(Advice, Option<Box<Refusal>>),
}

/// What is to be scaled, as it stands.
pub(super) fn target(
    snapshot: &Snapshot,
    options: &ScaleOptions,
    release: Release,
    names: &Names,
    component: Component,
    target: Target,
) -> Result<ScaleTarget, Unfit> {
    let Some(entry) = entry(release, component) else {
        let known = catalogue(release).iter().map(|e| e.component).collect();
        let refusal = Refusal::NotInRelease { component, release, known };
        return Err(Unfit::Refused(refusal.advice(), Some(Box::new(refusal))));
    };
    let workloads = subject::workloads(snapshot, component);
    if workloads.is_empty() {
        let works = Remedy::any([Remedy::BringUp, Remedy::ChooseNamespace]);
        return Err(Unfit::Absent(Advice::new(format!("there is no {component} in the namespace"), works)));
    }
    let most = workloads.iter().filter_map(|w| snapshot.workload(w)).map(|w| w.replicas).max().unwrap_or(0);
    let to =
        target.resolve(most).map_err(|e: InvalidTarget| Unfit::Refused(format!("{component}: {e}").into(), None))?;
    let reach = match &options.deployment {
        Some(deployment) => Reach::of(deployment),
        None if component == Component::Bono => reach(snapshot, &workloads),
        None => Reach::default(),
    };
    let names = names.given_by_kubernetes(component);
    let subject = Subject { names, ..Subject::standing(entry, workloads, snapshot) };
    Ok(ScaleTarget { subject, release, to, reach, autoscaler: None })
}

/// How bonos are reached, read from what stands.
fn reach(snapshot: &Snapshot, workloads: &[Workload]) -> Reach {
    let Some(spec) = workloads.first().and_then(|w| snapshot.workload(w)?.template?.spec.as_ref()) else {
        return Reach::default();
    };
    let own = |name: &str| {
        name.strip_prefix("bono-").is_some_and(|n| n.split('-').next().is_some_and(|n| n.parse::<u32>().is_ok()))
    };
    let services = || snapshot.services.iter().filter_map(|(name, s)| Some((name, s.spec.as_ref()?)));
    let of_kind = |kind: &str| {
        services().filter(|(name, s)| own(name) && s.type_.as_deref() == Some(kind)).map(|(_, s)| s).collect::<Vec<_>>()
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let is_set = workloads.iter().any(|w| w.kind == WorkloadKind::StatefulSet);
    let balancers = of_kind("LoadBalancer");
    if is_set && !balancers.is_empty() {
        let fixed = balancers.iter().filter(|s| s.load_balancer_ip.is_some()).count();
        return Reach { exposure: BonoExposure::LoadBalancer, addresses: count(fixed), nodes: None };
    }
    let ports = of_kind("NodePort");
    if is_set && !ports.is_empty() {
        return Reach { exposure: BonoExposure::NodePort, addresses: count(ports.len()), nodes: None };
    }
    let external =
        services().filter(|(name, s)| own(name) && s.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()));
    let external = external.count();
    if is_set && external > 0 {
        return Reach { exposure: BonoExposure::ExternalIps, addresses: count(external), nodes: None };
    }
    if spec.containers.iter().flat_map(|c| c.ports.iter().flatten()).any(|p| p.host_port.is_some()) {
        return Reach { exposure: BonoExposure::HostPort, addresses: 0, nodes: None };
    }
    let selects_bono = |s: &k8s_openapi::api::core::v1::ServiceSpec| {
        s.selector.as_ref().is_some_and(|l| l.get("service").is_some_and(|v| v == Component::Bono.name()))
    };
    let shared = services().any(|(_, s)| s.type_.as_deref() == Some("NodePort") && selects_bono(s));
    if shared || has_fixed_address(spec) {
        return Reach { exposure: BonoExposure::NodePort, addresses: 0, nodes: None };
    }
    Reach::default()
}

/// Whether every pod is told the same public address.
fn has_fixed_address(spec: &PodSpec) -> bool {
    let fixed = |c: &Container| {
        c.env.iter().flatten().any(|e| e.name == "PUBLIC_IP" && e.value.as_ref().is_some_and(|v| !v.is_empty()))
    };
    spec.containers.iter().any(fixed)
}
