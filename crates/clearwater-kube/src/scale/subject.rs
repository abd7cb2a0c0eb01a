//! What is scaled, as it stands.

use std::time::Duration;

use clearwater::component::{Component, catalogue, entry};
use clearwater::config::{BonoExposure, Deployment};
use clearwater::manifest::{ENV_VARS, WorkloadKind};
use clearwater::remedy::{Advice, Remedied as _, Remedy};
use clearwater::scale::{InvalidTarget, Reach, Refusal, Target};
use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec};
use tokio::time::timeout;

use super::ScaleOptions;
use super::world::{Subject, World};
use crate::cluster::Cluster;
use crate::judge::Workload;
use crate::observe::discover;

/// The zone that cluster DNS gives to the namespace's Services.
pub(super) async fn zone(cluster: &Cluster) -> String {
    let namespace = &cluster.namespace;
    let own = |zone: &String| zone.starts_with(&format!("{namespace}.svc."));
    let reading = timeout(Duration::from_secs(2), cluster.api::<ConfigMap>().get_opt(ENV_VARS)).await;
    let map = reading.ok().and_then(Result::ok).flatten();
    let zone = map.and_then(|m| m.data?.remove("ZONE")).filter(own);
    zone.unwrap_or_else(|| format!("{namespace}.svc.cluster.local"))
}

/// Why a component cannot even be looked at.
pub(super) enum Unfit {
    Absent(Advice),
    Refused(Advice),
}

pub(super) fn subject(
    world: &World,
    options: &ScaleOptions,
    component: Component,
    target: Target,
) -> Result<Subject, Unfit> {
    let release = options.deployment.as_ref().map_or_else(|| discover::release(&world.snapshot), Deployment::release);
    let Some(entry) = entry(release, component) else {
        let known = catalogue(release).iter().map(|e| e.component).collect();
        return Err(Unfit::Refused(Refusal::NotInRelease { component, release, known }.advice()));
    };
    let workloads = discover::workloads(&world.snapshot, component);
    if workloads.is_empty() {
        let works = Remedy::any([Remedy::BringUp, Remedy::ChooseNamespace]);
        return Err(Unfit::Absent(Advice::new(format!("there is no {component} in this namespace"), works)));
    }
    let most = workloads.iter().filter_map(|w| world.replicas(w)).max().unwrap_or(0);
    let to = target.resolve(most).map_err(|e: InvalidTarget| Unfit::Refused(format!("{component}: {e}").into()))?;
    let service = component.name();
    let reach = match &options.deployment {
        Some(deployment) => Reach::of(deployment),
        None if component == Component::Bono => reach(world, &workloads),
        None => Reach::default(),
    };
    Ok(Subject {
        entry,
        release,
        workloads,
        service: world.snapshot.services.contains_key(service).then(|| service.to_owned()),
        to,
        reach,
        autoscaler: None,
    })
}

/// How bonos are reached, read from what stands.
fn reach(world: &World, workloads: &[Workload]) -> Reach {
    let Some(spec) = workloads.first().and_then(|w| world.template(w)?.spec.as_ref()) else { return Reach::default() };
    let own = |name: &str| {
        name.strip_prefix("bono-").is_some_and(|n| n.split('-').next().is_some_and(|n| n.parse::<u32>().is_ok()))
    };
    let services = || world.snapshot.services.iter().filter_map(|(name, s)| Some((name, s.spec.as_ref()?)));
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
