use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta::{metadata, selector};
use super::{Deployment, Item, ItemOwner};
use crate::component::{Component, Entry, PortUse};
use crate::config::ServiceKind;

/// The name under which restund asks for TURN credentials, whatever the deployment calls homestead
/// (sprout `restund.root/usr/share/clearwater/infrastructure/scripts/restund`), and the classic release's name for it.
const HOMESTEAD_ALIAS: &str = "hs";

/// The Services by which components find one another.
pub(super) fn internal(d: &Deployment, entry: &Entry) -> Vec<Item> {
    let component = entry.component;
    let ports = || entry.ports.iter().filter(|p| p.in_service).map(service_port).collect();
    let mut services = vec![service(
        d,
        component,
        component.name(),
        ServiceSpec {
            // The one Service that must answer while its pod is not ready: the proxies in all other pods look for a
            // replaced etcd by this name, and a name without an address is remembered as missing.
            publish_not_ready_addresses: (component == Component::Etcd).then_some(true),
            ..spec(d, ports())
        },
    )];
    if component == Component::Homestead {
        services.push(service(d, component, HOMESTEAD_ALIAS, spec(d, ports())));
    }
    if let Some(alias) = d.sprout_alias().filter(|a| component == Component::Sprout && *a != component.name()) {
        services.push(service(d, component, alias, ServiceSpec { cluster_ip: None, ..spec(d, ports()) }));
    }
    services
}

/// Whether Services answer with one virtual address instead of with their pods' addresses.
pub(super) fn virtual_addresses(d: &Deployment) -> bool {
    d.file().services == ServiceKind::ClusterIp
}

fn spec(d: &Deployment, ports: Vec<ServicePort>) -> ServiceSpec {
    ServiceSpec {
        cluster_ip: (!virtual_addresses(d)).then(|| "None".to_owned()),
        ports: Some(ports),
        ..ServiceSpec::default()
    }
}

/// A Service over all pods of a component, unless `spec` has a selector of its own.
pub(super) fn service(d: &Deployment, component: Component, name: &str, spec: ServiceSpec) -> Item {
    let families = &d.file().ip_families;
    // The cluster refuses what it has not: better so than names that lead to the other family.
    let policy = match families.len() {
        0 => None,
        1 => Some("SingleStack"),
        _ => Some("RequireDualStack"),
    };
    let spec = ServiceSpec {
        selector: spec.selector.or_else(|| Some(selector(component, None))),
        ip_families: policy.map(|_| families.iter().map(|family| family.name().to_owned()).collect()),
        ip_family_policy: policy.map(str::to_owned),
        ..spec
    };
    let object = Service {
        metadata: metadata(d, ItemOwner::Component(component), None, name),
        spec: Some(spec),
        ..Service::default()
    };
    Item::applied(component, object)
}

pub(super) fn service_port(port: &PortUse) -> ServicePort {
    ServicePort {
        name: Some(port.name.to_owned()),
        port: port.number.into(),
        protocol: Some(port.protocol.name().to_owned()),
        target_port: Some(IntOrString::Int(port.number.into())),
        ..ServicePort::default()
    }
}
