//! Scaling rules and step plans.
//!
//! # Why a plan
//!
//! `kubectl scale` sets a number. For what keeps nothing, such as sprout, that is all there is to it. The stores are
//! another matter. Each datum in astaire and chronos has two copies on two members; when members come or go the copies
//! are made anew, under a protocol that the members play through etcd. Two members that leave at once take both copies
//! with them. Cassandra's images do not hand anything over before they stop. Bono's pods each need an address that
//! leads to them alone. And a pod that dies without a word stays on the list of members for ever: the next change waits
//! for its acknowledgement and never ends.
//!
//! So a store is scaled in steps, each begun when the one before is seen to be complete. [`Situation`] holds what was
//! asked for and what was seen; [`Situation::plan`] gives the steps, or a [`Refusal`] that names the reason and the way
//! that works. Nothing here looks at a cluster: the same situation gives the same plan.
//!
//! ```
//! use clearwater::component::{Component, Release};
//! use clearwater::remedy::Remedied;
//! use clearwater::scale::{MemberList, Members, PodState, Situation};
//!
//! let mut situation = Situation::new(Release::Hunter, Component::Chronos, 2, 1);
//! situation.pods = ["10.1.0.4", "10.1.0.5"]
//!     .iter()
//!     .enumerate()
//!     .map(|(i, a)| PodState {
//!         name: format!("chronos-{i}"),
//!         addresses: vec![a.parse().unwrap()],
//!         ready_for: Some(std::time::Duration::from_secs(600)),
//!         terminating: false,
//!         ends_within: None,
//!     })
//!     .collect();
//! let members = Members::parse(r#"{"10.1.0.4": "normal", "10.1.0.5": "normal"}"#)?;
//! situation.members = MemberList::Read(members);
//! assert_eq!(
//!     situation.plan().unwrap().to_string(),
//!     "\
//! chronos: from 2 to 1
//!   1. stop chronos-1, which leaves first (about 1 s)
//!   2. wait until chronos-1 is off the list of members (about 50 s)
//!   3. wait until there is 1 member and it is normal (about 5 s)
//!   about 56 s in all
//!   note: one member keeps one copy of timers: if its pod is lost, so are they"
//! );
//!
//! let refused = Situation::new(Release::Hunter, Component::Cassandra, 3, 2).plan().unwrap_err();
//! assert!(refused.advice().to_string().contains("takes its data with it. What works: leave it at 3; or"));
//! # Ok::<(), clearwater::scale::MembersError>(())
//! ```
//!
//! # Interrupted and run again
//!
//! A plan is made from what is seen, never from what an earlier run meant to do. Members that are still joining or
//! leaving are waited for first; dead ones are marked as failed first, with consent; then come the steps that are left.
//!
//! # The invariant
//!
//! [`Members::check`] says whether a list of members is safe: at no moment does one join while another leaves, or do
//! two leave. Whoever carries a plan out can check each change of the list against it.

mod member;
mod plan;
mod refusal;
mod step;
mod target;

pub use member::{ClusterState, MemberState, Members, MembersError, UnknownState, Violation};
pub use plan::{Autoscaler, MemberList, PodState, Reach, STALE_DATAGRAMS, Situation, check_autoscale};
pub use refusal::{Refusal, Unsound, bring_back};
pub use step::{ScaleAction, ScalePlan, ScaleStep};
pub use target::{InvalidTarget, Target};
