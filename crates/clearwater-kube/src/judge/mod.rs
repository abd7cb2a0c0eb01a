//! What is seen, judged: whether a rollout is complete or fails, and whether a component serves. Pure.
//!
//! ```
//! use clearwater_kube::judge::rollout::{Rollout, deployment};
//! use clearwater_kube::k8s_openapi::api::apps::v1::Deployment;
//!
//! // Of any Deployment, whoever made it.
//! assert_eq!(deployment(None), Rollout::Absent);
//! let just_made: Deployment = serde_json::from_value(serde_json::json!({
//!     "metadata": {"name": "media-server", "generation": 1},
//!     "spec": {"replicas": 1, "selector": {}, "template": {}},
//! }))?;
//! assert!(!deployment(Some(&just_made)).is_complete());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod about;
pub mod failure;
mod outdated;
pub(crate) mod policy;
pub mod pull;
pub(crate) mod renewal;
pub mod rollout;
pub(crate) mod said;
mod service;
mod set_field;
mod told;

pub use about::About;
pub use outdated::Outdated;
pub(crate) use outdated::{outdated, started};
pub use service::{Judged, Stage, Stuck, component, pods, stuck};
pub(crate) use service::{is_unreached, is_unseen, scaled_to_0, standing};
pub(crate) use set_field::{SetField, set_by_others};
pub(crate) use told::{put_back, with_cause};
