//! The Kubernetes objects of a deployment.
//!
//! [`render`] turns a [`Deployment`] and what is known of the cluster ([`Inputs`]) into a [`Manifest`]: an ordered list
//! of typed objects, each with its owner and the rule by which it is applied. It is a pure function, so equal inputs
//! give equal bytes. [`services`] renders the Services alone, for deployments whose other objects need addresses that
//! only exist once the Services do.
//!
//! ```
//! use clearwater::config::DeploymentFile;
//! use clearwater::manifest::{Inputs, render};
//!
//! let deployment = DeploymentFile::default().deploy("ims")?;
//! let manifest = render(&deployment, &Inputs::default())?;
//! for item in manifest.items() {
//!     println!("{}: {}/{}", item.owner.name(), item.object.kind(), item.object.name());
//! }
//! assert!(manifest.images().contains("docker.io/ollivier/clearwater-sprout:hunter"));
//! print!("{}", manifest.to_yaml()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is made of a component
//!
//! A Service under the component's name, and a workload. Stores ([`Component::is_store`](crate::component::Component))
//! are StatefulSets whose pods Kubernetes never replaces by itself; Bono is one where each pod has an address of its
//! own; the rest are Deployments. A PodDisruptionBudget comes with the second pod. Sprout of the classic release is two
//! Deployments whose pods carry the sub-domains' names, where nothing else gives these names ([`workloads`]).
//! Autoscalers are no part of a deployment: they are made beside it, by [`Elasticity`].
//!
//! Names and the label `service: NAME` are upstream's (clearwater-docker `kubernetes/templates`), so tools and habits
//! made for upstream's manifests keep working; the `app.kubernetes.io` labels come on top.
//!
//! # Addresses that must be known first
//!
//! Two deployments name addresses that exist only once their Services do: one whose Bonos wait for their load balancers,
//! and one whose Services have virtual addresses, which sprout is told so that it takes them for its own where one stands
//! in a Route. [`services_first`] says which Services those are; apply what [`services`] gives, read the addresses
//! ([`balance`]), put them into [`Inputs`], then [`render`]. Of Bonos' addresses [`render`] says which are missing, and
//! without sprout's it leaves `local_alias_list` out, which only addresses in Routes need; [`provisional`] puts something
//! in their place for a dry run.
//!
//! # Counts
//!
//! The file's count of pods is for a workload that does not stand yet. Hand the counts that stand to
//! [`Inputs::live_replicas`]; [`Item::replicas`] says for each workload which of the two it was rendered with.
//!
//! # Without this program
//!
//! [`Bundle`] makes directories of a manifest: a kustomize base, one that Flux applies wave by wave, a Helm chart.
//! [`Manifest::with_sync_waves`] gives the objects the annotations by which Argo CD keeps the same order.
//!
//! # Held programs
//!
//! Pods are made so that their programs can be held until what they need serves ([`fn@hold`]): who brings a deployment up
//! makes all pods at once, and lets the programs of each go in their turn. Pods that nobody holds start at once.
//!
//! # Secrets
//!
//! Keys and passwords reach containers through references to Secrets. The one Secret that is rendered, with keys made by
//! the caller, is to be written once ([`Lifecycle::CreatedOnce`]).

mod autoscaler;
mod bono;
mod chart;
mod ellis;
mod error;
mod etcd;
mod extras;
mod first;
mod gitops;
mod hold;
mod image;
mod inputs;
mod layout;
mod meta;
mod object;
mod pod;
mod pod_security;
mod policy;
mod probe;
mod render;
mod security;
mod service;
mod shared;
mod storage;
mod workload;

pub use crate::labels::{COMPONENT_LABEL, MANAGED_BY_LABEL, PART_OF_LABEL, SERVICE_LABEL};
pub use autoscaler::{Elasticity, ElasticityError};
pub use error::ManifestError;
pub use first::{Balance, Balanced, Given, ServicesFirst, balance, given, provisional, services_first};
pub use hold::{HOLD, LET_GO, START, WAKE, held_by, hold, is_holdable, starts_alone};
pub use image::image;
pub use inputs::Inputs;
pub use layout::{Bundle, Files, KEYS_FILE};
pub use meta::{MANAGED_BY, PART_OF};
pub use object::{Item, ItemOwner, Lifecycle, Manifest, Note, Object, Replicas, held};
pub use pod::CONFIG_HASH_ANNOTATION;
pub use pod_security::{ENFORCE_LABEL, PodSecurity, namespace};
pub use render::{render, services};
pub use shared::{AUTO_CONFIG, ENV_VARS, LAST_BACKUP_ANNOTATION, LOG_LEVELS};
pub use storage::{ELLIS_CLAIM, STORAGE, persistent};

pub use crate::config::PortRange;
pub use crate::config::shared::KEYS_SECRET;
pub use workload::{WorkloadKind, WorkloadRef, one_at_a_time, workloads};

use crate::config::Deployment;
