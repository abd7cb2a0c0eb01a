//! Ways in, addresses and ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::components::annotations;
use super::{Check, form, path};
use crate::component::{AskedBy, Component, Release, entry};
use crate::config::{
    BonoExposure, BonoService, DnsBackend, EllisExposure, IpFamily, PortRange, ServiceKind, bono_node_port,
    listed_ports,
};
use crate::text::counted;

pub(super) fn check(check: &mut Check<'_>) {
    bono(check);
    node_ports(check);
    ellis(check);
    cluster_ips(check);
    families(check);
}

fn replicas(check: &Check<'_>, component: Component) -> usize {
    let count = check.file.components.get(&component).and_then(|c| c.replicas).unwrap_or(1);
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn bono(check: &mut Check<'_>) {
    let bono = &check.file.bono;
    let (exposure, addresses) = (path("bono.exposure"), path("bono.addresses"));
    let by_address =
        matches!(bono.exposure, BonoExposure::NodePort | BonoExposure::LoadBalancer | BonoExposure::ExternalIps);
    let count = replicas(check, Component::Bono);
    if !bono.addresses.is_empty() && bono.exposure == BonoExposure::HostPort {
        check.refuse(
            &[addresses.clone(), exposure.clone()],
            "not used with `exposure: hostPort`, where the address follows the node: write bono.nodeAddresses, one \
             address for each node's name",
        );
    } else if !bono.addresses.is_empty() && !by_address {
        check.refuse(
            &[addresses.clone(), exposure.clone()],
            "not used with `exposure: headless`, where Bono's address is its pod's: remove it, or write `exposure: \
             nodePort`, `loadBalancer` or `externalIPs`",
        );
    }
    if !bono.annotations.is_empty() && !by_address {
        check.refuse(
            &[path("bono.annotations"), exposure.clone()],
            "only used with `exposure: nodePort`, `loadBalancer` or `externalIPs`, where each Bono has Services of its own: \
             remove it, or change the exposure",
        );
    }
    annotations(check, &path("bono.annotations"), &bono.annotations);
    let needed = match bono.exposure {
        // One Bono alone can take the address of its node.
        BonoExposure::NodePort if bono.addresses.is_empty() && count <= 1 => 0,
        // Balancers that give addresses by themselves are waited for.
        BonoExposure::LoadBalancer if bono.addresses.is_empty() => 0,
        BonoExposure::NodePort | BonoExposure::LoadBalancer | BonoExposure::ExternalIps => count,
        BonoExposure::Headless | BonoExposure::HostPort => 0,
    };
    if bono.addresses.len() < needed {
        check.refuse(
            &[addresses.clone(), exposure.clone(), path("components.bono.replicas")],
            format!(
                "{} for {count} pods: Bono writes its own address into every SIP route, so each pod needs one of its \
                 own; add {} more, or lower components.bono.replicas",
                counted(bono.addresses.len(), "address"),
                needed - bono.addresses.len()
            ),
        );
    }
    if !bono.node_addresses.is_empty() && bono.exposure != BonoExposure::HostPort {
        check.refuse(
            &[path("bono.nodeAddresses"), exposure.clone()],
            "only used with `exposure: hostPort`: remove it, or change the exposure",
        );
    }
    if bono.service == BonoService::PerProtocol && bono.exposure != BonoExposure::LoadBalancer {
        check.refuse(
            &[path("bono.service"), exposure.clone()],
            "only used with `exposure: loadBalancer`: remove it, or change the exposure",
        );
    }
    let mut seen = BTreeMap::new();
    for (n, address) in bono.addresses.iter().enumerate() {
        let key = addresses.index(n);
        usable(check, &key, *address);
        if let Some(first) = seen.insert(*address, n) {
            check.wrong(
                &key,
                format!("{address} is also element [{first}], and an address must reach exactly one Bono; remove one"),
            );
        }
    }
    for (node, address) in &bono.node_addresses {
        let key = path("bono.nodeAddresses").key(node);
        check.form(&key, node, form::object_name);
        usable(check, &key, *address);
    }
}

fn usable(check: &mut Check<'_>, key: &crate::config::KeyPath, address: IpAddr) {
    let what = if address.is_loopback() {
        "a loopback address"
    } else if address.is_unspecified() {
        "no address of a host"
    } else if address.is_multicast() {
        "a multicast address"
    } else {
        return;
    };
    check.wrong(key, format!("{address} is {what}; write the address that subscribers reach this Bono on"));
}

/// The node ports that Bono takes.
fn bono_node_ports(release: Release) -> BTreeSet<u16> {
    let ports = entry(release, Component::Bono).map_or(&[][..], |e| e.ports);
    ports.iter().filter(|p| p.asked_by == AskedBy::Clients).map(bono_node_port).collect()
}

fn node_ports(check: &mut Check<'_>) {
    let (bono, ellis) = (&check.file.bono, &check.file.ellis);
    let range_key = path("bono.nodePortRange");
    let (by_bono, by_ellis) = (bono.exposure == BonoExposure::NodePort, ellis.exposure == EllisExposure::NodePort);
    let range = match bono.node_port_range.as_deref().map(|text| PortRange::read(text).ok_or(text)) {
        Some(Err(text)) => {
            let message = format!(
                "{text:?} is not a range: write LOW-HIGH as in the API server's --service-node-port-range, such as \
                 3000-32767"
            );
            return check.wrong(&range_key, message);
        }
        Some(Ok(range)) => Some(range),
        None => None,
    };
    if range.is_some() && !by_bono && !by_ellis {
        check.refuse(
            &[range_key.clone(), path("bono.exposure"), path("ellis.exposure")],
            "only used with `exposure: nodePort` of Bono or Ellis: remove it, or change the exposure",
        );
    }
    let taken = bono_node_ports(check.file.release);
    if let Some(range) = range.filter(|_| by_bono) {
        let outside: BTreeSet<u16> = taken.iter().copied().filter(|p| !range.contains(*p)).collect();
        if !outside.is_empty() {
            check.refuse(
                &[range_key.clone(), path("bono.exposure")],
                format!(
                    "{range} does not hold the node ports {}. Bono must be reached on 5060, the port it writes \
                     into SIP routes: start the API server with --service-node-port-range=3000-32767 and write that \
                     range here, or choose `exposure: loadBalancer`, `hostPort` or `headless`",
                    listed_ports(&outside)
                ),
            );
        }
    }
    let Some(port) = ellis.node_port.filter(|_| by_ellis) else { return };
    let known = if range.is_some() { "" } else { ", the usual range" };
    let range = range.unwrap_or(PortRange::DEFAULT);
    let key = path("ellis.nodePort");
    if !range.contains(port) {
        check.refuse(
            &[key, range_key],
            format!(
                "{port} is outside {range}{known}: choose a port inside it, or write the API server's \
                 --service-node-port-range as bono.nodePortRange if it is another"
            ),
        );
    } else if by_bono && taken.contains(&port) {
        check.refuse(
            &[key, path("bono.exposure")],
            format!("{port} is taken by Bono, which has the node ports {}: choose another", listed_ports(&taken)),
        );
    }
}

fn ellis(check: &mut Check<'_>) {
    let ellis = &check.file.ellis;
    let exposure = path("ellis.exposure");
    if ellis.node_port.is_some() && ellis.exposure != EllisExposure::NodePort {
        check.refuse(
            &[path("ellis.nodePort"), exposure.clone()],
            "only used with `exposure: nodePort`: remove it, or change the exposure",
        );
    }
    match (&ellis.ingress, ellis.exposure) {
        (None, EllisExposure::Ingress) => check.refuse(
            &[path("ellis.ingress"), exposure],
            "missing: with `exposure: ingress` the host name that browsers use must be known; write ingress: {host: \
             ellis.example.com}",
        ),
        (Some(_), other) if other != EllisExposure::Ingress => check.refuse(
            &[path("ellis.ingress"), exposure],
            "only used with `exposure: ingress`: remove it, or change the exposure",
        ),
        _ => {}
    }
    let Some(ingress) = &ellis.ingress else { return };
    check.form(&path("ellis.ingress.host"), &ingress.host, form::domain);
    if let Some(class) = &ingress.class_name {
        check.form(&path("ellis.ingress.className"), class, form::object_name);
    }
    if let Some(secret) = &ingress.tls_secret {
        check.form(&path("ellis.ingress.tlsSecret"), secret, form::object_name);
    }
}

fn families(check: &mut Check<'_>) {
    let (key, families) = (path("ipFamilies"), &check.file.ip_families);
    if families.len() > 2 || matches!(families[..], [a, b] if a == b) {
        check.wrong(
            &key,
            "a Service has one address family, or each of both once: write one of [IPv4], [IPv6], [IPv4, IPv6]",
        );
    }
    let images = &check.file.images;
    if families.first() == Some(&IpFamily::IPv6) && images.registry.is_none() && images.mirror.is_none() {
        check.warn(
            &[key, path("images.registry")],
            "upstream's images run on IPv4: their etcd proxy listens on 0.0.0.0:4000 and is waited for at the pod's own \
             address (clearwater-etcd's init script), so that with an IPv6 address no store joins",
        );
    }
}

fn cluster_ips(check: &mut Check<'_>) {
    let file = check.file;
    let (services, ips, release) = (path("services"), path("clusterIPs"), path("release"));
    if file.services == ServiceKind::ClusterIp && file.release != Release::Classic {
        check.refuse(
            &[services.clone(), release],
            "clusterIP works with `release: classic` only: hunter's programs share load, and pass over pods that are gone, by \
             the pods' own addresses, of which a virtual address shows none; remove it, so that Services are headless",
        );
    }
    if file.services == ServiceKind::ClusterIp && file.dns.backend == DnsBackend::Pods {
        check.refuse(
            &[path("dns.backend"), services.clone()],
            "pods get names of their own below a headless Service only: write `backend: coredns`, `etcd`, `endpoints` \
             or `print`, or `services: headless`",
        );
    }
    if file.cluster_ips.is_empty() {
        return;
    }
    if file.services != ServiceKind::ClusterIp && file.dns.backend != DnsBackend::Etcd {
        check.refuse(
            &[ips.clone(), services],
            "only used with `services: clusterIP` of the classic release, or with `dns: {backend: etcd}`: remove it, or \
             write one of these",
        );
    }
    let mut seen: BTreeMap<IpAddr, Component> = BTreeMap::new();
    for (component, addresses) in &file.cluster_ips {
        let key = ips.key(component.name());
        if entry(file.release, *component).is_none() {
            continue;
        }
        if addresses.is_empty() || addresses.len() > 2 {
            check.wrong(
                &key,
                format!("{}; a Service has one, or one of each family", counted(addresses.len(), "address")),
            );
        }
        if let [a, b] = addresses[..]
            && a.is_ipv4() == b.is_ipv4()
        {
            check.wrong(&key, format!("{a} and {b} are of one family; a Service has one of each at most"));
        }
        for (n, address) in addresses.iter().enumerate() {
            usable(check, &key.index(n), *address);
            if let Some(other) = seen.insert(*address, *component) {
                check.wrong(
                    &key.index(n),
                    format!("{address} is also the address of {other}; each Service has its own"),
                );
            }
        }
    }
}
