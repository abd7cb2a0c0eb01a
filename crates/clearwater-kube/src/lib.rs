//! What happens on a cluster: bring a Clearwater deployment up, judge it and take it down.
//!
//! Every operation takes a [`kube::Client`], yields a stream of [`clearwater::event::Event`]s and prints nothing.
#![forbid(unsafe_code)]

pub mod apply;
mod cluster;
pub mod doomed;
pub mod members;
pub mod pod;
pub mod rollout;
pub mod snapshot;
pub mod supervisor;

pub use cluster::{Cluster, FIELD_MANAGER};
