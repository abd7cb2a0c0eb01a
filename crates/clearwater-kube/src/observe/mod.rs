//! What is seen of a namespace: what its watches say, what its pods answer, and the lists of members in etcd.
//!
//! An [`Observation`] is what is known; an `Observer` keeps it up to date, and `look` makes one of a single look.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::observe::snapshot::{Snapshot, watch};
//!
//! let (mut news, _watching) = watch(&cluster.client, &cluster.namespace);
//! let mut seen = Snapshot::default();
//! while let Some(one) = news.recv().await {
//!     seen.absorb(one);
//!     if seen.is_complete() {
//!         println!("{} pods", seen.pods.len());
//!     }
//! }
//! # Ok(()) }
//! ```

pub(crate) mod cluster_dns;
pub(crate) mod etcd;
pub(crate) mod exits;
pub mod finding;
pub(crate) mod given;
pub(crate) mod kubelets;
pub(crate) mod look;
pub mod members;
pub(crate) mod observation;
pub(crate) mod observer;
pub mod places;
pub mod probe;
pub mod report;
pub mod running;
pub mod snapshot;
pub(crate) mod subject;
pub(crate) mod unasked;
pub(crate) mod volumes;
pub(crate) mod watch_pod;

pub use exits::Exits;
pub use given::{GivenVariable, RunsWith, Secrets};
pub use look::CouldNotLook;
pub use members::MembersSeen;
pub use observation::Observation;
pub use subject::{Subject, Workload};
