//! The Kubernetes objects of a deployment.
//!
//! [`render`] turns a [`Deployment`] and what is known of the cluster ([`Inputs`]) into a [`Manifest`]: an ordered list
//! of typed objects, each with its owner and the rule by which it is applied. It is a pure function, so equal inputs
//! give equal bytes. [`services`] renders the Services alone, for deployments whose other objects need addresses that
//! only exist once the Services do.
//!
//! Names and the label `service: NAME` are upstream's (clearwater-docker `kubernetes/templates`), so tools and habits
//! made for upstream's manifests keep working; the `app.kubernetes.io` labels come on top.

mod bono;
mod ellis;
mod etcd;
mod image;
mod inputs;
mod layout;
mod meta;
mod object;
mod pod;
mod probe;
mod render;
mod service;
mod shared;
mod workload;

pub(crate) use bono::node_port as bono_node_port;
pub use image::image;
pub use inputs::{Inputs, PortRange};
pub use layout::{NamespaceObject, kustomize};
pub use meta::{COMPONENT_LABEL, MANAGED_BY, MANAGED_BY_LABEL, PART_OF, PART_OF_LABEL, SERVICE_LABEL, VERSION_LABEL};
pub use object::{Item, Lifecycle, Manifest, Note, Object, Owner, Replicas};
pub use pod::CONFIG_HASH_ANNOTATION;
pub use render::{ManifestError, render, services};
pub use shared::{AUTO_CONFIG, ENV_VARS};

pub use crate::config::shared::KEYS_SECRET;
pub use workload::{WorkloadKind, WorkloadRef, workloads};

use crate::config::Deployment;
