use thiserror::Error;

use crate::component::{Component, Release};
use crate::config::shared::SettingsError;
use crate::config::{BonoExposure, PortRange, listed_ports};
use crate::remedy::{Remedied, Remedy};

/// The most that a ConfigMap may hold, in bytes (kubernetes `pkg/apis/core/types.go`, `MaxSecretSize`).
pub(super) const LARGEST_CONFIG_MAP: usize = 1 << 20;

/// Why a deployment cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Nothing says where the release's images are.
    #[error(
        "the image of {component} is not known: no public {release} images exist, so images.registry and images.tag must \
         be set (or components.{component}.image)"
    )]
    NoImage {
        /// The release.
        release: Release,
        /// The component.
        component: Component,
    },
    /// A range of ports that is none.
    #[error("{found:?} is not a port range: write FIRST-LAST, as in 3000-32767")]
    PortRange {
        /// The text.
        found: String,
    },
    /// Node ports that the cluster does not give.
    #[error("the node ports {} lie outside the cluster's range {range}", listed_ports(.outside))]
    NodePorts {
        /// The ports.
        outside: Vec<u16>,
        /// The cluster's range.
        range: PortRange,
        /// Whether no other ports would do.
        fixed: bool,
    },
    /// Bonos without an address that leads to them.
    #[error("no address is known that leads to {}", .missing.join(", "))]
    BonoAddresses {
        /// How Bono is reached.
        exposure: BonoExposure,
        /// The pods.
        missing: Vec<String>,
    },
    /// An Ingress without a host name.
    #[error("ellis.exposure is ingress, so ellis.ingress.host must be set")]
    NoIngress,
    /// The containers' configuration cannot be written.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// An object that the API server takes for too large.
    #[error(
        "ConfigMap/{name} would have {size} bytes, and the API server takes {LARGEST_CONFIG_MAP}: shorten sharedConfig in the \
         deployment file"
    )]
    TooLarge {
        /// The ConfigMap.
        name: String,
        /// What it holds, in bytes.
        size: usize,
    },
    /// Pods cannot carry sub-domains of a Service with a virtual address.
    #[error(
        "dns.backend is pods, which takes headless Services, and services is clusterIP: set dns.backend to coredns, etcd, \
         endpoints or print, or services to headless"
    )]
    PodsBehindVirtualAddress,
}

impl Remedied for ManifestError {
    fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            Self::NodePorts { fixed: true, .. } => Remedy::any([
                "start the API server with --service-node-port-range=3000-32767",
                "choose another exposure",
            ]),
            Self::NodePorts { fixed: false, .. } => Remedy::any(["choose ports inside it", "choose another exposure"]),
            Self::BonoAddresses { exposure: BonoExposure::LoadBalancer, .. } => Remedy::any([
                Remedy::BringUp.then(", which waits for the load balancer to give one"),
                "offline, set bono.addresses, one for each pod".into(),
            ]),
            Self::BonoAddresses { .. } => "set bono.addresses, one for each pod".into(),
            // Their reason is what must be written.
            Self::NoImage { .. }
            | Self::PortRange { .. }
            | Self::NoIngress
            | Self::TooLarge { .. }
            | Self::Settings(_)
            | Self::PodsBehindVirtualAddress => return None,
        })
    }
}
