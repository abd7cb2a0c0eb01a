use super::error::LARGEST_CONFIG_MAP;
use super::extras::Extras;
use super::object::Manifest;
use super::pod::template;
use super::policy::Policies;
use super::workload::{WorkloadRef, budget, workload, workloads};
use super::{Deployment, Inputs, Item, ManifestError, Note, Object, bono, ellis, etcd, hold, service, shared, storage};
use crate::component::{Component, Entry, Release};
use crate::config::shared::{ContainerEnvironment, KEYS_SECRET, environment};
use crate::config::{DnsBackend, KeyPolicy};

/// Renders the objects of a deployment.
///
/// # Errors
/// An address that is not known yet, or what the images cannot be given.
pub fn render(d: &Deployment, inputs: &Inputs) -> Result<Manifest, ManifestError> {
    check(d)?;
    let environment = environment(d, &inputs.cluster_ips)?;
    let mut notes = Vec::new();
    let mut items = shared::items(d, inputs, &environment);
    items.extend(hold::item(d));
    items.extend(storage::items(d, inputs));
    if d.file().keys == KeyPolicy::Random && inputs.keys.is_none() {
        notes.push(Note {
            about: format!("Secret/{KEYS_SECRET}"),
            text: "its keys are made at random when the deployment is created, so it is referred to and not rendered; \
                   set keys to a Secret of your own to apply the objects without it"
                .to_owned(),
        });
    }
    let policies = Policies::of(d);
    for entry in d.components() {
        items.extend(policies.item(d, entry));
        items.extend(component_services(d, entry, inputs, &mut notes)?);
        items.extend(component_workloads(d, entry, inputs, &environment, &mut notes)?);
    }
    items.iter().try_for_each(fits)?;
    Ok(Manifest { items, notes })
}

/// Whether the API server takes an object of this size.
fn fits(item: &Item) -> Result<(), ManifestError> {
    let Object::ConfigMap(map) = &item.object else { return Ok(()) };
    let size = map.data.iter().flatten().map(|(_, text)| text.len()).sum();
    if size > LARGEST_CONFIG_MAP {
        return Err(ManifestError::TooLarge { name: item.object.name().to_owned(), size });
    }
    Ok(())
}

/// Renders the Services alone. They need no address, and give those that [`render`] may ask for.
///
/// # Errors
/// What the images cannot be given.
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
    notes.extend(storage::note(d, inputs, entry.component));
    items.extend(storage::claim(d, inputs, entry.component));
    for reference in workloads(d, entry.component) {
        let replicas = reference.replicas(d, inputs);
        let mut extras = extras(d, inputs, &reference, replicas.count(), &mut items)?;
        extras.name_server = inputs.chronos_name_server.filter(|_| entry.component == Component::Chronos);
        let extras = storage::kept(d, inputs, entry.component, extras);
        let claims = storage::claims(d, inputs, entry.component);
        items.push(workload(d, inputs, &reference, replicas, template(d, entry, environment, extras)?, claims));
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
) -> Result<Extras, ManifestError> {
    Ok(match workload.component {
        Component::Etcd => etcd::extras(d, inputs),
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
