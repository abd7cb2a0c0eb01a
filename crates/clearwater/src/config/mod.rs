//! The deployment file, and the configuration files that the containers will hold.
//!
//! [`DeploymentFile`] is what a person writes. [`DeploymentFile::deploy`] puts it on a namespace and checks it as a
//! whole; the [`Deployment`] that comes out is what every renderer of this crate takes.

mod deployment;
mod file;
pub mod generator;
mod script;
pub mod shared;
pub mod shell;

pub use deployment::{Deployment, Keys};
pub use file::{
    ApiVersion, Bono, BonoExposure, BonoService, ComponentOverrides, DeploymentFile, Dns, DnsBackend, Ellis,
    EllisExposure, Email, EtcdStorage, Hss, Images, Ingress, KeyPolicy, PullPolicy, Resources, SecretKey, ServiceKind,
    Tailer, Toleration,
};
pub use script::ORIGINAL_AUTO_CONFIG;
