//! What is seen, judged: whether a rollout is complete or fails, and whether a component serves. Pure.

pub mod failure;
pub mod problem;
pub mod rollout;
mod service;

pub use service::{Judged, MembersSeen, Stage, Stuck, View, Workload, component, may_be_asked, pods, stuck};
