//! What happens on a cluster: bring a Clearwater deployment up, judge it, scale it and take it down.
//!
//! Every operation takes a [`kube::Client`], yields a stream of [`clearwater::event::Event`]s and prints nothing.
#![forbid(unsafe_code)]

pub mod apply;
pub mod autoscale;
mod backoff;
pub mod check;
mod cluster;
pub mod contract;
mod deadline;
pub mod dns;
pub mod down;
#[cfg(feature = "sip")]
pub mod exercise;
pub mod exposure;
#[cfg(test)]
mod fake_api;
pub mod judge;
mod kinds;
pub mod logs;
pub mod observe;
pub mod owner;
pub mod pod;
pub mod report;
pub mod rights;
pub mod run;
pub mod scale;
pub mod status;
pub mod subscribers;
pub mod up;

pub use cluster::{Cluster, FIELD_MANAGER, FailedAt};
pub use deadline::{REQUEST_TIMEOUT, RequestPolicy};
