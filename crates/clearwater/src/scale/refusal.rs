use std::net::IpAddr;

use thiserror::Error;

use super::member::{Members, MembersError, Violation, list};
use crate::component::{Component, Release, Store, known_to_etcd};
use crate::config::BonoExposure;
use crate::remedy::{Permission, Remedied, Remedy};
use crate::text::counted;

/// Why a component is not scaled. The text names the reason, [`Remedied::remedy`] the way that works.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The release does not have the component.
    #[error("release {release} has no {component}; it has {}", list(.known))]
    NotInRelease {
        /// The component.
        component: Component,
        /// The release.
        release: Release,
        /// What the release has.
        known: Vec<Component>,
    },
    /// The component always has one member.
    #[error("{component} cannot be scaled to {}: {reason}", counted(*.to, "member"))]
    OneMember {
        /// The component.
        component: Component,
        /// How many members were wanted.
        to: u32,
        /// Why, as a clause.
        reason: &'static str,
    },
    /// The store never shrinks.
    #[error("{component} cannot be scaled down from {from} to {}: {reason}", counted(*.to, "member"))]
    NeverDown {
        /// The component.
        component: Component,
        /// How many members there are.
        from: u32,
        /// How many were wanted.
        to: u32,
        /// Why, as a clause.
        reason: &'static str,
    },
    /// The last member of a store would go.
    #[error("{component} cannot be scaled to 0 members: the last one holds all {}", .data.join(", "))]
    LastMember {
        /// The component.
        component: Component,
        /// What it holds.
        data: Vec<&'static str>,
    },
    /// The store's pods would go without leaving their cluster.
    #[error(
        "{component} cannot be scaled down from {from} to {}: its workload has no preStop hook, so a pod that stops stays \
         on the list of members and the others wait for it for ever", counted(*.to, "member")
    )]
    NoPreStop {
        /// The component.
        component: Component,
        /// How many members there are.
        from: u32,
        /// How many were wanted.
        to: u32,
    },
    /// There are not enough addresses for as many bonos.
    #[error(
        "bono cannot have {}: each needs an address of its own that leads to it on port 5060, and for exposure {} the \
         deployment file gives {}", counted(*.to, "member"), exposure(*.by), given(*.have)
    )]
    TooFewAddresses {
        /// How many members were wanted.
        to: u32,
        /// How many addresses the deployment file gives.
        have: u32,
        /// The exposure.
        by: BonoExposure,
    },
    /// There are not enough nodes for as many bonos.
    #[error(
        "bono cannot have {}: with exposure hostPort each needs a node of its own, and {nodes} can take one",
        counted(*.to, "member")
    )]
    TooFewNodes {
        /// How many members were wanted.
        to: u32,
        /// How many nodes can take one.
        nodes: u32,
    },
    /// An autoscaler would set the number back.
    #[error(
        "{component} cannot be scaled to {to} members by hand: the HorizontalPodAutoscaler {autoscaler} keeps it \
         between {min} and {max} and would set it back"
    )]
    Autoscaled {
        /// The component.
        component: Component,
        /// How many members were wanted.
        to: u32,
        /// The autoscaler's name.
        autoscaler: String,
        /// Its lower bound.
        min: u32,
        /// Its upper bound.
        max: u32,
    },
    /// An autoscaler would lose data or calls.
    #[error("{component} cannot be autoscaled: {reason}")]
    NotElastic {
        /// The component.
        component: Component,
        /// Why, as a clause.
        reason: &'static str,
        /// How it can be scaled by hand.
        way: &'static str,
    },
    /// An autoscaler would have nothing to change.
    #[error("{component} cannot be autoscaled: {reason}")]
    NotElasticAtAll {
        /// The component.
        component: Component,
        /// Why, as a clause.
        reason: &'static str,
    },
    /// The members' states could not be read.
    #[error(
        "{component} is not scaled: its members' states could not be read from etcd, so no step could be seen to be \
         complete"
    )]
    MembersUnknown {
        /// The component.
        component: Component,
    },
    /// The members' states could be read but not understood.
    #[error("{component} is not scaled: {key} in etcd: {error}")]
    MembersUnreadable {
        /// The component.
        component: Component,
        /// What is wrong with them.
        error: MembersError,
        /// The key in etcd.
        key: &'static str,
    },
    /// Members that have long been serving are not on the list.
    #[error(
        "{component} is not scaled: etcd's list of members does not have {}, which {} long been serving; etcd has lost \
         its data, and whoever joined now would form a second cluster", list(.absent), has(.absent)
    )]
    Absent {
        /// The release.
        release: Release,
        /// The component.
        component: Component,
        /// The pods, by name.
        absent: Vec<String>,
    },
    /// Dead members block every change, and there was no consent to mark them as failed.
    #[error(
        "{component} is not scaled: {} no pod any more, and the others wait for {} for ever", dead(.stale), them(.stale)
    )]
    Stale {
        /// The component.
        component: Component,
        /// The store.
        store: Store,
        /// The dead members.
        stale: Vec<IpAddr>,
    },
    /// Dead members block every change, and no living one can mark them as failed.
    #[error(
        "{component} is not scaled: {} no pod any more, and no living member of {store} can mark {} as failed",
         dead(.stale), them(.stale)
    )]
    NobodyToMark {
        /// The component.
        component: Component,
        /// How many members the workload is set to.
        from: u32,
        /// The store.
        store: Store,
        /// The dead members.
        stale: Vec<IpAddr>,
    },
    /// Living members are in a state that endangers data, or that no way leads out of.
    #[error("{component} is not scaled: {why} ({members})")]
    Unsound {
        /// The component.
        component: Component,
        /// What is wrong.
        why: Unsound,
        /// The members.
        members: Members,
    },
}

impl Remedied for Refusal {
    fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            Self::NotInRelease { .. } => return None,
            Self::OneMember { component, .. } | Self::NotElasticAtAll { component, .. } => {
                one_member(*component).into()
            }
            Self::NeverDown { component, from, to, .. } => Remedy::any([
                format!("leave it at {from}"),
                format!(
                    "take the deployment down, bring it up again with components.{component}.replicas: {to}, and provision \
                     the subscribers anew"
                ),
            ]),
            Self::LastMember { .. } => Remedy::any([
                "leave one".into(),
                Remedy::TakeDown(Vec::new()).then(", which takes the whole deployment down"),
            ]),
            Self::NoPreStop { component, .. } => Remedy::any([
                Remedy::from(
                    "give its container the hook of clearwater-docker's manifests (preStop: exec: command: [/bin/bash, -c, /usr/bin/pre-stop])",
                ),
                Remedy::BringUp.then(format!(
                    ", whose {component} leaves before it stops; what another tool made it leaves alone"
                )),
            ]),
            Self::TooFewAddresses { by, .. } => Remedy::any(more_addresses(*by)),
            Self::TooFewNodes { .. } => Remedy::any(["add nodes", "exposure headless, nodePort or loadBalancer"]),
            Self::Autoscaled { component, .. } => Remedy::any([
                Remedy::Autoscale(*component),
                Remedy::RemoveAutoscaler(*component).then(" and scale again"),
            ]),
            Self::NotElastic { component, way, .. } => {
                Remedy::Scale { component: *component, to: None }.then(format!(", {way}"))
            }
            Self::MembersUnknown { .. } => {
                Remedy::sentence(["see to etcd (".into(), Remedy::Status, "), then scale again".into()])
            }
            Self::MembersUnreadable { error, key, .. } => format!("{}; then scale again", error.fix(key)).into(),
            Self::Absent { release, .. } => Remedy::anew(known_to_etcd(*release))
                .then(", which recreates the stores with etcd, and loses what they hold outside of volumes"),
            // Nobody comes by itself.
            Self::NobodyToMark { component, from: 0, .. } => bring_back(*component),
            Self::NobodyToMark { stale, .. } => {
                Remedy::BringUp.then(format!(", which marks {} once a pod of it runs", them(stale)))
            }
            Self::Stale { stale, .. } => Permission::MarkFailed(stale.clone()).into(),
            Self::Unsound { component, .. } => format!(
                "look at the cluster manager's log in {component} pods; once all members are normal, scale again"
            )
            .into(),
        })
    }
}

/// What is wrong with living members.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unsound {
    /// Their states endanger data.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// Their states fit together in no way that the cluster manager knows.
    #[error("its members' states fit together in no way that the cluster manager knows")]
    Invalid,
}

/// What brings back a component that somebody scaled to 0 by hand. Members of a store went without leaving, and one that is
/// started waits for them: the store is made anew.
///
/// ```
/// use clearwater::component::Component;
/// use clearwater::scale::bring_back;
///
/// assert_eq!(bring_back(Component::Homer).to_string(), "scale homer to 1");
/// assert!(bring_back(Component::Cassandra).to_string().starts_with("take cassandra down, then bring the deployment up"));
/// ```
pub fn bring_back(component: Component) -> Remedy {
    let up = Remedy::Scale { component, to: Some(1) };
    match component {
        Component::Etcd => {
            up.then("; where it had no volume it comes back empty, and the stores must be made anew with it")
        }
        store if store.is_store() => {
            Remedy::anew([store]).then(", which brings back what it keeps on volumes, and nothing else")
        }
        _ => up,
    }
}

fn one_member(component: Component) -> &'static str {
    match component {
        Component::Etcd => {
            "one etcd whose data outlives its pod (components.etcd.storage.persistent: true in the deployment file)"
        }
        Component::Ellis => {
            "one Ellis for people; subscribers in bulk through the provisioning interface, which scales freely"
        }
        _ => "one member",
    }
}

fn exposure(by: BonoExposure) -> &'static str {
    match by {
        BonoExposure::Headless => "headless",
        BonoExposure::HostPort => "hostPort",
        BonoExposure::NodePort => "nodePort",
        BonoExposure::LoadBalancer => "loadBalancer",
        BonoExposure::ExternalIps => "externalIPs",
    }
}

fn given(addresses: u32) -> String {
    if addresses == 0 { "none, which does for one".to_owned() } else { addresses.to_string() }
}

fn more_addresses(by: BonoExposure) -> Vec<&'static str> {
    let reached = "exposure headless, where pods' own addresses can be reached";
    match by {
        BonoExposure::HostPort => {
            vec!["add nodes to bono.nodeAddresses, or leave it out where the nodes' own addresses are public", reached]
        }
        BonoExposure::LoadBalancer => {
            vec!["add addresses to bono.addresses, or leave it out to have the balancer give each its own", reached]
        }
        _ => vec!["add addresses to bono.addresses", "exposure loadBalancer, which gives each its own", reached],
    }
}

fn has(pods: &[String]) -> &'static str {
    if pods.len() == 1 { "has" } else { "have" }
}

fn them(members: &[IpAddr]) -> &'static str {
    if members.len() == 1 { "it" } else { "them" }
}

fn dead(members: &[IpAddr]) -> String {
    let (noun, verb) = if members.len() == 1 { ("member", "has") } else { ("members", "have") };
    format!("its {noun} {} {verb}", list(members))
}
