//! The deployment file, and the configuration files that the containers will hold.
//!
//! [`DeploymentFile`] is what a person writes. [`DeploymentFile::deploy`] puts it on a namespace and checks it as a
//! whole; the [`Deployment`] that comes out is what every renderer of this crate takes.
//!
//! * [`shared`]: what a deployment's containers are given, and the `shared_config` and `local_config` they make of it.
//! * [`generator`]: the images' own configuration generator, as a pure function of the container's environment.
//! * [`shell`]: what a shell makes of a text, for the values on their way there.

mod check;
mod deploy;
mod deployment;
mod environment;
mod exposure;
mod file;
pub mod generator;
mod host_setting;
mod level;
mod mapping;
mod problem;
mod read;
mod schema;
mod script;
mod security;
mod set;
mod setting;
pub mod shared;
pub mod shell;
mod size;
mod starter;
mod unfit;

pub use deployment::CLUSTER_DOMAIN;
pub use deployment::{Deployment, Keys, SPROUT_ADDRESS};
pub use exposure::PortRange;
pub(crate) use exposure::{bono_node_port, listed_ports};
pub use file::{
    ApiVersion, Bono, BonoExposure, BonoService, ComponentOverrides, DeploymentFile, Dns, DnsBackend, Ellis,
    EllisExposure, Email, Hss, Images, Ingress, IpFamily, KeyPolicy, PullPolicy, Resources, SecretKey, ServiceKind,
    Start, Storage, Tailer, Toleration,
};
pub use host_setting::HostSetting;
pub use level::LevelFile;
pub use problem::{ConfigErrors, KeyPath, Location, Places, Problem, ProblemKind, Step};
pub use schema::schema;
pub use script::ORIGINAL_AUTO_CONFIG;
pub use security::{
    Capabilities, ContainerSecurity, NetworkPolicies, PodSecurityContext, SeLinuxOptions, SeccompProfile, SeccompType,
    SecurityContext, Sysctl,
};
pub use set::{InvalidSet, Set};
pub use size::Size;
pub use starter::starter;
