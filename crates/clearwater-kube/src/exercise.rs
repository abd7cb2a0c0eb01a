//! Tries whether a deployment is a telephone exchange: phones of [`clearwater_sip`] that reach the bonos of a namespace.
//!
//! Bono listens on its pod's own address alone (sprout's `bono.cpp` binds to `local_ip`), where a forwarded port does not
//! lead. So a phone speaks through a [`Tunnel`] in the bono's own pod, or to an address as any phone outside would, which
//! tries the exposure too.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clearwater::component::Component;
use clearwater_sip::case::{Case, Opened, Outcome, Reach};
use clearwater_sip::{Account, Transport, Way};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use thiserror::Error;

use crate::Cluster;
use crate::cluster::say;
use crate::pod::object::pod_is_ready;
use crate::pod::{AskError, Protocol, Tunnel};

/// How phones reach bono.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Through a tunnel in the pods of bono, each in turn.
    Pod,
    /// At an address, from this machine.
    Address(SocketAddr),
}

/// Why nothing could be tried.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExerciseError {
    /// The pods could not be listed.
    #[error("the pods of bono in {namespace} cannot be listed: {}", say(.source))]
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
}

/// SIP's own port, at which bono takes phones (clearwater.md §2.10).
const SIP: u16 = 5060;

/// How long a tunnel may take to open.
const OPENING: Duration = Duration::from_secs(15);

/// The ways to the bonos of a namespace.
pub struct Bonos {
    pods: Api<Pod>,
    via: Via,
    ready: Vec<Bono>,
    next: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Bono {
    pod: String,
    container: String,
    address: SocketAddr,
}

impl Bonos {
    /// Finds the bonos that are ready; with an address none is needed.
    pub async fn find(cluster: &Cluster, via: Via) -> Result<Self, ExerciseError> {
        let pods: Api<Pod> = cluster.api();
        let mut ready = Vec::new();
        if via == Via::Pod {
            let namespace = cluster.namespace.clone();
            let only = ListParams::default().labels(&format!("service={}", Component::Bono));
            let all = pods.list(&only).await;
            let all = all.map_err(|source| ExerciseError::List { namespace: namespace.clone(), source })?.items;
            ready = all.iter().filter(|p| pod_is_ready(p)).filter_map(bono).collect();
            if ready.is_empty() {
                return Err(ExerciseError::NoBono { namespace, pods: all.len() });
            }
        }
        Ok(Self { pods, via, ready, next: AtomicUsize::new(0) })
    }

    /// The pods that phones are carried through, each in turn.
    pub fn pods(&self) -> impl Iterator<Item = &str> {
        self.ready.iter().map(|b| b.pod.as_str())
    }
}

fn bono(pod: &Pod) -> Option<Bono> {
    let name = pod.metadata.name.clone()?;
    let containers = &pod.spec.as_ref()?.containers;
    let own = containers.iter().find(|c| c.name == Component::Bono.name()).or_else(|| containers.first())?;
    let ip = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    Some(Bono { pod: name, container: own.name.clone(), address: SocketAddr::new(ip, SIP) })
}

#[async_trait::async_trait]
impl Reach for Bonos {
    async fn open(&self, transport: Transport) -> Result<Opened, String> {
        let bono = match self.via {
            Via::Address(proxy) => {
                let way = Way { transport, proxy, seen_as: None };
                return Ok(Opened { way, through: proxy.to_string(), keeper: Box::new(()) });
            }
            Via::Pod => &self.ready[self.next.fetch_add(1, Ordering::Relaxed) % self.ready.len()],
        };
        let protocol = match transport {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        };
        let opened = Tunnel::open(&self.pods, &bono.pod, &bono.container, bono.address, protocol, OPENING).await;
        let tunnel = opened.map_err(|error| match &error {
            AskError::Forbidden { .. } => format!("pod {}: {error}", bono.pod),
            _ => error.to_string(),
        })?;
        let way = Way { transport, proxy: tunnel.near(), seen_as: Some(tunnel.far()) };
        Ok(Opened { way, through: bono.pod.clone(), keeper: Box::new(tunnel) })
    }
}

/// Tries one case after the other over each of the transports, as far as it makes sense there, and hands each outcome on.
pub async fn exercise(
    bonos: &Bonos,
    accounts: &[Account],
    cases: &[&'static Case],
    transports: &[Transport],
    patience: Duration,
    mut told: impl FnMut(Outcome),
) {
    for transport in transports {
        for case in cases.iter().filter(|c| c.over.contains(transport)) {
            told(case.attempt(bonos, accounts, *transport, patience).await);
        }
    }
}
