//! What happens on a cluster: bring a Clearwater deployment up, judge it, scale it and take it down.
//!
//! Every operation takes a [`kube::Client`], yields a stream of [`clearwater::event::Event`]s and prints nothing.
#![forbid(unsafe_code)]

pub mod apply;
mod ask_members;
pub mod autoscale;
mod cluster;
pub mod dns;
pub mod doomed;
pub mod down;
mod emit;
#[cfg(test)]
mod fake_api;
pub mod judge;
pub mod logs;
pub mod members;
pub mod owner;
pub mod pod;
mod preflight;
pub mod probe;
pub mod problem;
mod rights;
pub mod rollout;
pub mod scale;
pub mod snapshot;
pub mod status;
pub mod supervisor;
pub mod up;

pub use cluster::{Cluster, FIELD_MANAGER};
