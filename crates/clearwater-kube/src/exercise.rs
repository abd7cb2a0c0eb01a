//! Tries whether a deployment is a telephone exchange: phones of [`clearwater_sip`] that reach the bonos of a namespace.
//!
//! Bono listens on its pod's own address alone (sprout's `bono.cpp` binds to `local_ip`), where a forwarded port does not
//! lead. So a phone speaks through a [`Tunnel`] in another pod of the deployment, or to an address as any phone outside
//! would, which tries the exposure too. The pods of bono and sprout themselves are no place for a phone: what has their
//! address they take for their own, and requests within a call for such a phone go astray.
//!
//! ```no_run
//! # async fn example(
//! #     cluster: clearwater_kube::Cluster,
//! #     lines: &dyn clearwater_kube::exercise::LineSource,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use clearwater_kube::clearwater_sip::Transport;
//! use clearwater_kube::clearwater_sip::case::{self, CaseTimes};
//! use clearwater_kube::exercise::{Bonos, ExercisePlan, Via, exercise};
//!
//! let bonos = Bonos::find(&cluster, Via::Pod).await?;
//! let cases: Vec<_> = case::all().collect();
//! let times = CaseTimes { answer: Duration::from_secs(5), talk: Duration::from_secs(1) };
//! let plan = ExercisePlan { cases: &cases, transports: &[Transport::Tcp], times, at_once: 1 };
//! exercise(&bonos, lines, &plan, |outcome| println!("{}: {:?}", outcome.id, outcome.verdict)).await;
//! # Ok(()) }
//! ```

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clearwater::component::Component;
use clearwater_sip::case::{Case, CaseOutcome, CaseTimes, NoWay, Opened, OpenedMedia, ServiceSource, WaySource};
use clearwater_sip::{Account, Ends, MediaWay, Transport, Way};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use parking_lot::Mutex;
use thiserror::Error;

use crate::Cluster;
use crate::cluster::{FailedAt, is_forbidden, list_all, no_namespace};
use crate::exposure::SIP;
use crate::observe::snapshot::{component_of, ready};
use crate::pod::object::own_container;
use crate::pod::{AskError, Tunnel, TunnelProtocol};
use crate::rights::{self, MissingRights, Scope, Task};

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
    #[error(transparent)]
    List(FailedAt),
    /// The user may not do what it takes.
    #[error(transparent)]
    Rights(#[from] MissingRights),
    /// There is no bono that could be asked.
    #[error("no pod of bono in {namespace} is ready ({pods} {})", if *.pods == 1 { "is there" } else { "are there" })]
    NoBono {
        /// The namespace.
        namespace: String,
        /// How many pods of bono there are.
        pods: usize,
    },
    /// There is not even the namespace.
    #[error("{}", no_namespace(.namespace))]
    NoNamespace {
        /// The namespace.
        namespace: String,
    },
    /// There is no pod that a phone could stand in.
    #[error("no pod in {namespace} is ready that a phone could stand in: {}", names())]
    NoStand {
        /// The namespace.
        namespace: String,
    },
}

impl ExerciseError {
    /// Whether the user may not do what it takes.
    pub fn is_of_rights(&self) -> bool {
        match self {
            Self::Rights(_) => true,
            Self::List(failed) => is_forbidden(failed.source.as_ref()),
            Self::NoBono { .. } | Self::NoNamespace { .. } | Self::NoStand { .. } => false,
        }
    }
}

/// Where a phone may stand, the best first: their images have bash and, as supervisord is one, Python.
const STANDS: [Component; 5] =
    [Component::Ellis, Component::HomesteadProv, Component::Homer, Component::Homestead, Component::Ralf];

fn names() -> String {
    STANDS.map(Component::name).join(", ")
}

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
    /// Finds the bonos that are ready, and where phones may stand; with an address neither is needed. Before that it asks
    /// for every right that an exercise takes, lines included: without them nothing is begun.
    ///
    /// # Errors
    /// A right that is missing, no bono that is ready, no pod to stand in, or pods that could not be listed.
    pub async fn find(cluster: &Cluster, via: Via) -> Result<Self, ExerciseError> {
        let (client, namespace) = (&cluster.client, &cluster.namespace);
        let missing = match via {
            Via::Pod => rights::missing_with_exec(client, namespace, Task::Test).await,
            Via::Address(_) => rights::missing(client, namespace, Task::Test, Scope::Namespace).await,
        };
        MissingRights::unless_none(cluster, missing)?;
        let bonos = Self { cluster: cluster.clone(), via, ways: AtomicUsize::new(1), next: AtomicUsize::new(0) };
        if via == Via::Pod {
            bonos.look(0).await?;
        }
        Ok(bonos)
    }

    /// Who is there now: pods come and go while it is tried.
    async fn look(&self, turn: usize) -> Result<(Stand, Bono), ExerciseError> {
        let namespace = || self.cluster.namespace.clone();
        let all = list_all(&self.cluster.api::<Pod>(), &ListParams::default()).await;
        let all = all
            .map_err(|e| ExerciseError::List(FailedAt::new(format!("listing pods in namespace {}", namespace()), e)))?;
        let bonos: Vec<Bono> = ready(&all, Component::Bono).filter_map(bono).collect();
        let count = bonos.len();
        self.ways.store(count, Ordering::Relaxed);
        let Some(bono) = bonos.into_iter().nth(turn.checked_rem(count).unwrap_or_default()) else {
            let pods = all.iter().filter(|p| component_of(*p) == Some(Component::Bono)).count();
            if pods == 0 && self.cluster.lacks_namespace().await {
                return Err(ExerciseError::NoNamespace { namespace: namespace() });
            }
            return Err(ExerciseError::NoBono { namespace: namespace(), pods });
        };
        let stand = STANDS.into_iter().find_map(|c| ready(&all, c).find_map(|pod| stand(pod, c)));
        Ok((stand.ok_or_else(|| ExerciseError::NoStand { namespace: namespace() })?, bono))
    }

    /// A tunnel from where phones stand to the next bono.
    async fn dig(&self, protocol: TunnelProtocol) -> Result<(Tunnel, Bono), NoWay> {
        // Media goes to no bono, and takes no turn.
        let takes_turn = usize::from(protocol != TunnelProtocol::Aimed);
        let turn = self.next.fetch_add(takes_turn, Ordering::Relaxed);
        let (stand, bono) = self.look(turn).await.map_err(|e| NoWay::Unknown(e.to_string()))?;
        let pods = self.cluster.api();
        let opened = Tunnel::open(&pods, &stand.pod, &stand.container, bono.address, protocol, OPENING).await;
        match opened {
            Ok(tunnel) => Ok((tunnel, bono)),
            Err(AskError::NoWay { why, .. }) => Err(NoWay::Refused { through: bono.pod, why }),
            Err(error @ AskError::Forbidden { .. }) => Err(NoWay::Unknown(format!("pod {}: {error}", stand.pod))),
            Err(error) => Err(NoWay::Unknown(error.to_string())),
        }
    }

    /// How many there are, by which phones go in turn.
    fn ways(&self) -> usize {
        self.ways.load(Ordering::Relaxed)
    }
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
            return Ok(Opened { way, through: proxy.to_string(), way_held: Box::new(()) });
        }
        let protocol = match transport {
            Transport::Tcp => TunnelProtocol::Tcp,
            Transport::Udp => TunnelProtocol::Udp,
        };
        let (tunnel, bono) = self.dig(protocol).await?;
        let way = Way { transport, proxy: bono.address, tunnel: Some(ends(&tunnel)) };
        Ok(Opened { way, through: bono.pod, way_held: Box::new(tunnel) })
    }

    async fn open_media(&self) -> Result<OpenedMedia, NoWay> {
        if let Via::Address(proxy) = self.via {
            return Ok(OpenedMedia { way: MediaWay::Direct(proxy), way_held: Box::new(()) });
        }
        let (mut tunnel, _) = self.dig(TunnelProtocol::Aimed).await?;
        let aim = tunnel.aim().ok_or_else(|| NoWay::Unknown("the relay of media cannot be aimed".to_owned()))?;
        Ok(OpenedMedia { way: MediaWay::Relayed { ends: ends(&tunnel), aim }, way_held: Box::new(tunnel) })
    }
}

fn ends(tunnel: &Tunnel) -> Ends {
    Ends { near: tunnel.near(), far: tunnel.far() }
}

/// Where the lines come from that cases are tried with, and who keeps their services.
#[async_trait::async_trait]
pub trait LineSource: ServiceSource {
    /// The lines of a lane, for the next case: others than those of any other lane. Why there are none, in one line.
    async fn lines(&self, lane: usize) -> Result<Vec<Account>, String>;
}

/// What is tried, and how.
#[derive(Debug)]
pub struct ExercisePlan<'a> {
    /// The cases.
    pub cases: &'a [&'static Case],
    /// Over which transports, one after the other.
    pub transports: &'a [Transport],
    /// How long things may take.
    pub times: CaseTimes,
    /// How many cases are tried at the same time, each in a lane with lines of its own.
    pub at_once: usize,
}

/// Tries the cases over each of the transports, as far as they make sense there, and hands each outcome on.
pub async fn exercise(
    bonos: &Bonos,
    lines: &dyn LineSource,
    plan: &ExercisePlan<'_>,
    mut told: impl FnMut(CaseOutcome),
) {
    let at_once = plan.at_once.max(1);
    for transport in plan.transports {
        let silent = Mutex::new(None);
        let free = Mutex::new((0..at_once).rev().collect::<Vec<usize>>());
        let trying = |case: &'static Case| {
            let (silent, free) = (&silent, &free);
            async move {
                if let Some(first) = *silent.lock() {
                    return case.not_tried(*transport, format!("nothing came back at all in the case {first}"));
                }
                let lane = free.lock().pop().unwrap_or_default();
                let outcome = match lines.lines(lane).await {
                    Ok(accounts) => case.attempt(bonos, lines, &accounts, *transport, plan.times).await,
                    Err(why) => case.not_tried(*transport, why),
                };
                free.lock().push(lane);
                // Of several bonos another may answer.
                if bonos.ways() == 1 && outcome.is_silence() {
                    *silent.lock() = Some(case.id);
                }
                outcome
            }
        };
        let cases = plan.cases.iter().copied().filter(|c| c.over.contains(transport));
        let mut outcomes = stream::iter(cases).map(trying).buffer_unordered(at_once);
        while let Some(outcome) = outcomes.next().await {
            told(outcome);
        }
    }
}
