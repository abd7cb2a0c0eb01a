use thiserror::Error;

use super::extras::Extras;
use super::object::Manifest;
use super::pod::template;
use super::workload::{WorkloadRef, budget, workload, workloads};
use super::{Deployment, Inputs, Item, Note, PortRange, bono, ellis, etcd, service, shared};
use crate::component::{Component, Entry, Release};
use crate::config::shared::{ContainerEnvironment, KEYS_SECRET, SettingsError, environment};
use crate::config::{BonoExposure, DnsBackend, KeyPolicy};
use crate::remedy::{Remedied, Remedy};

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
    #[error("the node ports {} lie outside the cluster's range {range}", bono::list(.outside))]
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
            | Self::Settings(_)
            | Self::PodsBehindVirtualAddress => return None,
        })
    }
}

/// Renders the objects of a deployment.
pub fn render(d: &Deployment, inputs: &Inputs) -> Result<Manifest, ManifestError> {
    check(d)?;
    let environment = environment(d, &inputs.cluster_ips)?;
    let mut notes = Vec::new();
    let mut items = shared::items(d, inputs, &environment);
    if d.file().keys == KeyPolicy::Random && inputs.keys.is_none() {
        notes.push(Note {
            about: format!("Secret/{KEYS_SECRET}"),
            text: "its keys are made at random when the deployment is created, so it is referred to and not rendered; \
                   set keys to a Secret of your own to apply the objects without it"
                .to_owned(),
        });
    }
    for entry in d.components() {
        items.extend(component_services(d, entry, inputs, &mut notes)?);
        items.extend(component_workloads(d, entry, inputs, &environment, &mut notes)?);
    }
    Ok(Manifest { items, notes })
}

/// Renders the Services alone. They need no address, and give those that [`render`] may ask for.
pub fn services(d: &Deployment, inputs: &Inputs) -> Result<Manifest, ManifestError> {
    check(d)?;
    let mut notes = Vec::new();
    let mut items = Vec::new();
    for entry in d.components() {
        items.extend(component_services(d, entry, inputs, &mut notes)?);
    }
    items.retain(|item| item.object.kind() == "Service");
    Ok(Manifest { items, notes })
}

fn check(d: &Deployment) -> Result<(), ManifestError> {
    if d.file().dns.backend == DnsBackend::Pods && d.release() == Release::Classic && service::virtual_addresses(d) {
        return Err(ManifestError::PodsBehindVirtualAddress);
    }
    Ok(())
}

fn component_services(
    d: &Deployment,
    entry: &Entry,
    inputs: &Inputs,
    notes: &mut Vec<Note>,
) -> Result<Vec<Item>, ManifestError> {
    let mut items = service::internal(d, entry);
    match entry.component {
        Component::Bono => {
            let count = workloads(d, Component::Bono).iter().map(|w| w.replicas(d, inputs).count()).sum();
            items.extend(bono::services(d, entry, inputs, count, notes)?);
        }
        Component::Ellis => items.extend(ellis::exposure(d, entry, inputs)?),
        _ => {}
    }
    Ok(items)
}

fn component_workloads(
    d: &Deployment,
    entry: &Entry,
    inputs: &Inputs,
    environment: &ContainerEnvironment,
    notes: &mut Vec<Note>,
) -> Result<Vec<Item>, ManifestError> {
    let mut items = Vec::new();
    for reference in workloads(d, entry.component) {
        let replicas = reference.replicas(d, inputs);
        let mut extras = extras(d, inputs, &reference, replicas.count(), &mut items, notes)?;
        extras.name_server = inputs.chronos_name_server.filter(|_| entry.component == Component::Chronos);
        let claims = if entry.component == Component::Etcd { etcd::claims(d, inputs) } else { None };
        items.push(workload(d, &reference, replicas, template(d, entry, environment, extras)?, claims));
        items.extend(budget(d, &reference, replicas));
    }
    Ok(items)
}

fn extras(
    d: &Deployment,
    inputs: &Inputs,
    workload: &WorkloadRef,
    replicas: u32,
    items: &mut Vec<Item>,
    notes: &mut Vec<Note>,
) -> Result<Extras, ManifestError> {
    Ok(match workload.component {
        Component::Etcd => {
            if !etcd::persistent(d, inputs) {
                notes.push(Note {
                    about: "StatefulSet/etcd".to_owned(),
                    text: "its data is gone with its pod, and then the stores must be recreated with it: set \
                           etcdStorage.persistent to keep it on a volume"
                        .to_owned(),
                });
            }
            etcd::extras(d, inputs)
        }
        Component::Bono => {
            bono::check_addresses(d, inputs, replicas)?;
            let (extras, config_map) = bono::extras(d, inputs);
            items.extend(config_map);
            extras
        }
        Component::Sprout => Extras {
            part: workload.part(),
            hostname: workload.part(),
            subdomain: workload.part().map(|_| Component::Sprout.name()),
            ..Extras::default()
        },
        _ => Extras::default(),
    })
}
