//! What happens on a cluster: bring a Clearwater deployment up, judge it, scale it and take it down.
//!
//! Every operation takes a [`Cluster`], which is a [`kube::Client`] and a namespace, and prints nothing. What writes is a
//! [`run::Run`]: a stream of [`clearwater::event::Event`]s that ends by saying how; what looks yields what it saw.
//!
//! ```no_run
//! use clearwater_kube::clearwater::config::DeploymentFile;
//! use clearwater_kube::up::up;
//! use clearwater_kube::{Cluster, kube};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::new(kube::Client::try_default().await?, "ims");
//! let end = up(&cluster, cluster.deploy(&DeploymentFile::default())?).finished().await?;
//! println!("{:?}: {}", end.outcome, end.summary);
//! # Ok(()) }
//! ```
//!
//! # Where it runs
//!
//! Runs and [`logs`] are tasks of tokio: they must be begun inside of a runtime with timers and I/O (`#[tokio::main]`,
//! `enable_all`), and end with it. Dropping a run cancels it; a change of the cluster's DNS that is not proved yet is taken
//! back by its task, for which the runtime must go on.
//!
//! # Beyond Clearwater
//!
//! The parts know little of Clearwater: [`clearwater::order::Graph`] orders components of one's own, [`observe::snapshot`]
//! watches a namespace and [`judge::rollout`] judges any Deployment or StatefulSet. `examples/own_workloads.rs` brings up
//! somebody's own with them.
#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc)]

pub mod apply;
pub mod autoscale;
mod backoff;
pub mod backup;
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
pub mod live_test;
pub mod logs;
pub mod observe;
mod options;
pub mod owner;
pub mod pod;
pub mod report;
pub mod rights;
pub mod run;
pub mod scale;
pub mod status;
pub mod subscribers;
mod unified;
pub mod up;

pub use clearwater;
#[cfg(feature = "sip")]
pub use clearwater_sip;
pub use k8s_openapi;
pub use kube;

pub use cluster::{Cluster, FIELD_MANAGER, FailedAt};
pub use deadline::{REQUEST_TIMEOUT, RequestPolicy, TimeLimit};

/// What README.md shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
