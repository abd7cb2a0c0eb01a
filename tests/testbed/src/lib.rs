//! A real Kubernetes cluster on one machine, and what tests do to it.
//!
//! Two nodes and a control plane live in three network namespaces, joined to the host by one wire: the API server is
//! reached from the host, and nothing gets beyond it. Kubernetes, etcd and CoreDNS are built from their Go modules,
//! containerd and runc come from Debian. `cargo xtask cluster up` starts it.
//!
//! ```no_run
//! use clearwater_testbed::{Cluster, Part};
//! # fn main() -> anyhow::Result<()> {
//! let cluster = Cluster::get()?;
//! let namespace = cluster.namespace("example")?;
//! namespace.kubectl().apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")?;
//! cluster.local()?.restart(Part::ApiServer)?;
//! # Ok(()) }
//! ```

mod audit;
mod cgroup;
mod cluster;
mod containerd;
mod disturb;
mod faulty;
mod host;
pub mod image;
mod kubectl;
pub mod layout;
mod net;
pub mod pki;
mod plan;
mod process;
mod programs;
pub mod sip;
pub mod standins;
mod testing;

pub use audit::{AuditEvent, AuditMark, AuditObject, AuditStatus, AuditUser, verbs};
pub use cluster::{Local, Status};
pub use disturb::{Broken, Path};
pub use faulty::{ApiProxy, Fault, Registry, Request, Rule};
pub use host::{Attempt, wait_for};
pub use kubectl::Kubectl;
pub use net::{Addresses, DNS_ADDRESS, NODES, POD_RANGE, SERVICE_RANGE};
pub use plan::{CLUSTER_DOMAIN, COREDNS_VERSION, KUBERNETES_VERSION, Options};
pub use process::Part;
pub use programs::Program;
pub use testing::{
    CONTEXT_VARIABLE, Cluster, KEEP_VARIABLE, KUBECONFIG_VARIABLE, LOAD_BALANCER_ANNOTATION, Namespace,
    NamespaceOptions, PROBE_IMAGE, Rights, probe_archive,
};
