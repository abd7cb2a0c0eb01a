//! Tries whether a deployment is a telephone exchange: phones of [`clearwater_sip`] that reach the bonos of a namespace.
//!
//! Bono listens on its pod's own address alone (sprout's `bono.cpp` binds to `local_ip`), where a forwarded port does not
//! lead. So a phone speaks through a [`Tunnel`] in another pod of the deployment, or to an address as any phone outside
//! would, which tries the exposure too. The pods of bono and sprout themselves are no place for a phone: what has their
//! address they take for their own, and requests within a call for such a phone go astray.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clearwater::component::Component;
use clearwater_sip::case::{Case, CaseOutcome, NoWay, Opened, WaySource};
use clearwater_sip::{Account, Ends, Transport, Way};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use thiserror::Error;

use crate::Cluster;
use crate::cluster::say;
use crate::observe::snapshot::component_of;
use crate::pod::object::{own_container, pod_is_ready};
use crate::pod::{AskError, Tunnel, TunnelProtocol};

/// How phones reach bono.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// From another pod of the deployment, each bono in turn.
    Pod,
    /// At an address, from this machine.
    Address(SocketAddr),
}

/// Why nothing could be tried.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExerciseError {
    /// The pods could not be listed.
    #[error("the pods in {namespace} cannot be listed: {}", say(.source))]
    List {
        /// The namespace.
        namespace: String,
        /// What was seen.
        source: kube::Error,
    },
    /// There is no bono that could be asked.
    #[error("no pod of bono in {namespace} is ready ({pods} {})", if *.pods == 1 { "is there" } else { "are there" })]
    NoBono {
        /// The namespace.
        namespace: String,
        /// How many pods of bono there are.
        pods: usize,
    },
    /// There is no pod that a phone could stand in.
    #[error("no pod in {namespace} is ready that a phone could stand in: {}", names())]
    NoStand {
        /// The namespace.
        namespace: String,
    },
}

/// Where a phone may stand, the best first: their images have bash and, as supervisord is one, Python.
const STANDS: [Component; 5] =
    [Component::Ellis, Component::HomesteadProv, Component::Homer, Component::Homestead, Component::Ralf];

fn names() -> String {
    STANDS.map(Component::name).join(", ")
}

/// SIP's own port, at which bono takes phones (clearwater.md §2.10).
const SIP: u16 = 5060;

/// How long a tunnel may take to open.
const OPENING: Duration = Duration::from_secs(15);

/// The ways to the bonos of a namespace.
pub struct Bonos {
    cluster: Cluster,
    via: Via,
    /// How many there were when it was looked last.
    ways: AtomicUsize,
    next: AtomicUsize,
}

/// A container that a phone stands in.
struct Stand {
    pod: String,
    container: String,
}

struct Bono {
    pod: String,
    address: SocketAddr,
}

impl Bonos {
    /// Finds the bonos that are ready, and where phones may stand; with an address neither is needed.
    pub async fn find(cluster: &Cluster, via: Via) -> Result<Self, ExerciseError> {
        let bonos = Self { cluster: cluster.clone(), via, ways: AtomicUsize::new(1), next: AtomicUsize::new(0) };
        if via == Via::Pod {
            bonos.look().await?;
        }
        Ok(bonos)
    }

    /// Who is there now: pods come and go while it is tried.
    async fn look(&self) -> Result<(Stand, Bono), ExerciseError> {
        let namespace = || self.cluster.namespace.clone();
        let all = self.cluster.api::<Pod>().list(&ListParams::default()).await;
        let all = all.map_err(|source| ExerciseError::List { namespace: namespace(), source })?.items;
        let bonos: Vec<Bono> = ready(&all, Component::Bono).filter_map(bono).collect();
        let count = bonos.len();
        self.ways.store(count, Ordering::Relaxed);
        let turn = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(count).unwrap_or_default();
        let Some(bono) = bonos.into_iter().nth(turn) else {
            let pods = all.iter().filter(|p| component_of(*p) == Some(Component::Bono)).count();
            return Err(ExerciseError::NoBono { namespace: namespace(), pods });
        };
        let stand = STANDS.into_iter().find_map(|c| ready(&all, c).find_map(|pod| stand(pod, c)));
        Ok((stand.ok_or_else(|| ExerciseError::NoStand { namespace: namespace() })?, bono))
    }

    /// How many there are, by which phones go in turn.
    fn ways(&self) -> usize {
        self.ways.load(Ordering::Relaxed)
    }
}

fn ready(pods: &[Pod], component: Component) -> impl Iterator<Item = &Pod> {
    pods.iter().filter(move |p| component_of(*p) == Some(component) && pod_is_ready(p))
}

fn stand(pod: &Pod, component: Component) -> Option<Stand> {
    let container = own_container(pod.spec.as_ref()?, component)?.name.clone();
    Some(Stand { pod: pod.metadata.name.clone()?, container })
}

fn bono(pod: &Pod) -> Option<Bono> {
    let ip = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    Some(Bono { pod: pod.metadata.name.clone()?, address: SocketAddr::new(ip, SIP) })
}

#[async_trait::async_trait]
impl WaySource for Bonos {
    async fn open(&self, transport: Transport) -> Result<Opened, NoWay> {
        if let Via::Address(proxy) = self.via {
            let way = Way { transport, proxy, tunnel: None };
            return Ok(Opened { way, through: proxy.to_string(), keeper: Box::new(()) });
        }
        let (stand, bono) = self.look().await.map_err(|e| NoWay::Unknown(e.to_string()))?;
        let protocol = match transport {
            Transport::Tcp => TunnelProtocol::Tcp,
            Transport::Udp => TunnelProtocol::Udp,
        };
        let pods = self.cluster.api();
        let opened = Tunnel::open(&pods, &stand.pod, &stand.container, bono.address, protocol, OPENING).await;
        let tunnel = opened.map_err(|error| match error {
            AskError::NoWay { why, .. } => NoWay::Refused { through: bono.pod.clone(), why },
            AskError::Forbidden { .. } => NoWay::Unknown(format!("pod {}: {error}", stand.pod)),
            error => NoWay::Unknown(error.to_string()),
        })?;
        let ends = Ends { near: tunnel.near(), far: tunnel.far() };
        let way = Way { transport, proxy: bono.address, tunnel: Some(ends) };
        Ok(Opened { way, through: bono.pod, keeper: Box::new(tunnel) })
    }
}

/// Tries one case after the other over each of the transports, as far as it makes sense there, and hands each outcome on.
pub async fn exercise(
    bonos: &Bonos,
    accounts: &[Account],
    cases: &[&'static Case],
    transports: &[Transport],
    patience: Duration,
    mut told: impl FnMut(CaseOutcome),
) {
    for transport in transports {
        let mut silent = None;
        for case in cases.iter().filter(|c| c.over.contains(transport)) {
            if let Some(first) = silent {
                told(case.not_tried(*transport, format!("nothing came back at all in the case {first}")));
                continue;
            }
            let outcome = case.attempt(bonos, accounts, *transport, patience).await;
            // Of several bonos another may answer.
            silent = (bonos.ways() == 1 && outcome.is_silence()).then_some(case.id);
            told(outcome);
        }
    }
}
