//! What is seen, judged: whether a rollout is complete or fails, and whether a component serves. Pure.

pub mod failure;
pub(crate) mod policy;
pub mod pull;
pub mod rollout;
pub(crate) mod said;
mod service;

pub use service::{About, Judged, Stage, Stuck, component, pods, stuck};
pub(crate) use service::{is_unreached, is_unseen, standing};
