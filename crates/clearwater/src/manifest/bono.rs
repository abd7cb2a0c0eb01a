use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ServicePort, ServiceSpec,
};

use super::extras::Extras;
use super::meta::selector;
use super::service::{service, service_port};
use super::shared::{config_map, from_field};
use super::{Deployment, Inputs, Item, ItemOwner, ManifestError, Note, Object};
use crate::component::{AskedBy, Component, Entry, PortUse, Protocol};
use crate::config::{BonoExposure, BonoService, PortRange, bono_node_port, listed_ports};
use crate::remedy::Remedy;

/// The ConfigMap with the script that gives each Bono its address.
const START: &str = "bono-start";
const START_SCRIPT: &str = "start.sh";
const START_PATH: &str = "/opt/clearwater/start";

const OWNER: ItemOwner = ItemOwner::Component(Component::Bono);

/// Whether each Bono has an address and Services of its own, for which its name must last.
pub(super) fn has_identity(d: &Deployment) -> bool {
    use BonoExposure::{ExternalIps, LoadBalancer, NodePort};
    matches!(d.file().bono.exposure, NodePort | LoadBalancer | ExternalIps)
}

/// The addresses by ordinal: those that were seen on the cluster, else the file's.
fn addresses<'a>(d: &'a Deployment, inputs: &'a Inputs) -> &'a [IpAddr] {
    if inputs.bono_addresses.is_empty() { &d.file().bono.addresses } else { &inputs.bono_addresses }
}

/// Refuses a Bono that nobody could reach because it has no address of its own.
pub(super) fn check_addresses(d: &Deployment, inputs: &Inputs, count: u32) -> Result<(), ManifestError> {
    if !has_identity(d) {
        return Ok(());
    }
    let missing: Vec<_> = (0..count).skip(addresses(d, inputs).len()).map(pod_name).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ManifestError::BonoAddresses { exposure: d.file().bono.exposure, missing })
    }
}

pub(super) fn pod_name(ordinal: u32) -> String {
    format!("{}-{ordinal}", Component::Bono)
}

/// The Services by which subscribers reach Bono: one set for each pod.
pub(super) fn services(
    d: &Deployment,
    entry: &Entry,
    inputs: &Inputs,
    count: u32,
    notes: &mut Vec<Note>,
) -> Result<Vec<Item>, ManifestError> {
    let clients: Vec<&PortUse> = entry.ports.iter().filter(|p| p.asked_by == AskedBy::Clients).collect();
    match d.file().bono.exposure {
        BonoExposure::Headless => Ok(Vec::new()),
        BonoExposure::HostPort => {
            notes.push(Note {
                about: "Deployment/bono".to_owned(),
                text: "it uses ports of its node, which the Pod Security Standard \"baseline\" forbids: the namespace \
                       must not enforce it"
                    .to_owned(),
            });
            Ok(Vec::new())
        }
        BonoExposure::NodePort => {
            check_node_ports(d, inputs, &clients, notes)?;
            Ok((0..count).map(|ordinal| node_ports(d, inputs, &clients, ordinal, notes)).collect())
        }
        BonoExposure::LoadBalancer => Ok((0..count).flat_map(|ordinal| load_balancers(d, &clients, ordinal)).collect()),
        BonoExposure::ExternalIps => {
            notes.push(Note {
                about: format!("Service/{}", pod_name(0)),
                text:
                    "the node that runs the pod must be the one that gets what is sent to its address; an API server \
                       that refuses external IPs (DenyServiceExternalIPs) takes no such Service"
                        .to_owned(),
            });
            Ok((0..count).map(|ordinal| external_ips(d, inputs, &clients, ordinal)).collect())
        }
    }
}

/// The range of node ports, where it is known.
pub(super) fn node_port_range(d: &Deployment, inputs: &Inputs) -> Result<Option<PortRange>, ManifestError> {
    match (inputs.node_port_range, d.file().bono.node_port_range.as_deref()) {
        (Some(range), _) => Ok(Some(range)),
        (None, Some(range)) => range.parse().map(Some),
        (None, None) => Ok(None),
    }
}

fn check_node_ports(
    d: &Deployment,
    inputs: &Inputs,
    ports: &[&PortUse],
    notes: &mut Vec<Note>,
) -> Result<(), ManifestError> {
    let mut wanted: Vec<u16> = ports.iter().map(|p| bono_node_port(p)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let Some(range) = node_port_range(d, inputs)? else {
        notes.push(Note {
            about: format!("Service/{}", pod_name(0)),
            text: format!(
                "the API server takes it only where --service-node-port-range holds the ports {}; the default, {}, does \
                 not",
                listed_ports(&wanted),
                PortRange::DEFAULT
            ),
        });
        return Ok(());
    };
    let outside: Vec<_> = wanted.into_iter().filter(|p| !range.contains(*p)).collect();
    if outside.is_empty() { Ok(()) } else { Err(ManifestError::NodePorts { outside, range, fixed: true }) }
}

fn node_ports(d: &Deployment, inputs: &Inputs, ports: &[&PortUse], ordinal: u32, notes: &mut Vec<Note>) -> Item {
    let first = ordinal == 0;
    let ports = ports
        .iter()
        .map(|p| ServicePort { node_port: first.then(|| bono_node_port(p).into()), ..service_port(p) })
        .collect();
    let name = pod_name(ordinal);
    if let Some(address) = usize::try_from(ordinal).ok().and_then(|n| addresses(d, inputs).get(n)) {
        let text = if first {
            format!(
                "only the node that runs {name} answers on these ports: {address} must lead to that node \
                 (components.bono.nodeSelector can keep it there)"
            )
        } else {
            format!(
                "its node ports are chosen by Kubernetes, because a node port exists once in a cluster: whatever holds \
                 {address} must forward 5060 to them"
            )
        };
        notes.push(Note { about: format!("Service/{name}"), text });
    }
    of_pod(
        d,
        ordinal,
        &name,
        ServiceSpec { type_: Some("NodePort".to_owned()), ports: Some(ports), ..ServiceSpec::default() },
    )
}

fn external_ips(d: &Deployment, inputs: &Inputs, ports: &[&PortUse], ordinal: u32) -> Item {
    let address = usize::try_from(ordinal).ok().and_then(|n| addresses(d, inputs).get(n));
    let ports = ports.iter().map(|p| service_port(p)).collect();
    let external_ips = address.map(|address| vec![address.to_string()]);
    of_pod(d, ordinal, &pod_name(ordinal), ServiceSpec { external_ips, ports: Some(ports), ..ServiceSpec::default() })
}

fn load_balancers(d: &Deployment, ports: &[&PortUse], ordinal: u32) -> Vec<Item> {
    // MetalLB takes no Service that names its address twice (metallb `controller/service.go`).
    let is_told = d.file().bono.annotations.keys().any(|key| key.ends_with("/loadBalancerIPs"));
    let address = usize::try_from(ordinal).ok().and_then(|n| d.file().bono.addresses.get(n)).filter(|_| !is_told);
    let make = |name: &str, protocol: Option<Protocol>| {
        let ports = ports
            .iter()
            .filter(|p| protocol.is_none_or(|wanted| p.protocol == wanted))
            .map(|p| service_port(p))
            .collect();
        of_pod(
            d,
            ordinal,
            name,
            ServiceSpec {
                type_: Some("LoadBalancer".to_owned()),
                load_balancer_ip: address.map(ToString::to_string),
                ports: Some(ports),
                ..ServiceSpec::default()
            },
        )
    };
    let name = pod_name(ordinal);
    match d.file().bono.service {
        BonoService::Combined => vec![make(&name, None)],
        BonoService::PerProtocol => {
            let of = |protocol, suffix| sharing(make(&format!("{name}-{suffix}"), Some(protocol)), &name);
            vec![of(Protocol::Tcp, "tcp"), of(Protocol::Udp, "udp")]
        }
    }
}

/// The annotation by which `MetalLB` is told which Services may have one address together, with its prefix since 0.14.9 and the
/// one before (its release notes). Others take no notice.
const SHARED_ADDRESS: [&str; 2] = ["metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip"];

/// Lets Services have one address together.
fn sharing(mut item: Item, key: &str) -> Item {
    if let Object::Service(service) = &mut item.object {
        let annotations = service.metadata.annotations.get_or_insert_default();
        for name in SHARED_ADDRESS {
            // What the file says of it is meant so.
            annotations.entry(name.to_owned()).or_insert_with(|| key.to_owned());
        }
    }
    item
}

/// What stands for the pod's number in an annotation.
const NUMBER: &str = "{number}";

/// A Service for exactly one pod. Traffic stays on the node it arrived at, so that Bono sees the subscriber's own
/// address: it is what later requests to that subscriber are sent to.
fn of_pod(d: &Deployment, ordinal: u32, name: &str, spec: ServiceSpec) -> Item {
    let mut selector = selector(Component::Bono, None);
    selector.insert("statefulset.kubernetes.io/pod-name".to_owned(), pod_name(ordinal));
    let spec = ServiceSpec { selector: Some(selector), external_traffic_policy: Some("Local".to_owned()), ..spec };
    let mut item = service(d, Component::Bono, name, spec);
    let own = &d.file().bono.annotations;
    if let Object::Service(service) = &mut item.object
        && !own.is_empty()
    {
        let annotations = service.metadata.annotations.get_or_insert_default();
        annotations.extend(own.iter().map(|(key, value)| (key.clone(), value.replace(NUMBER, &ordinal.to_string()))));
    }
    item
}

/// What Bono's pods have beyond what all have, and the ConfigMap that they mount.
pub(super) fn extras(d: &Deployment, inputs: &Inputs) -> (Extras, Option<Item>) {
    let bono = &d.file().bono;
    let public_ip = |path| vec![from_field("PUBLIC_IP", path)];
    match bono.exposure {
        BonoExposure::Headless => (Extras { env: public_ip("status.podIP"), ..Extras::default() }, None),
        BonoExposure::HostPort if bono.node_addresses.is_empty() => {
            (Extras { env: public_ip("status.hostIP"), host_ports: true, ..Extras::default() }, None)
        }
        BonoExposure::HostPort => {
            let table: Vec<_> = bono.node_addresses.iter().map(|(node, ip)| (node.clone(), *ip)).collect();
            let script = start_script("NODE_NAME", &table, "bono.nodeAddresses");
            let (extras, item) = started(d, "NODE_NAME", "spec.nodeName", script.clone(), vec![script]);
            (Extras { host_ports: true, affinity: Some(on_nodes(bono.node_addresses.keys())), ..extras }, Some(item))
        }
        BonoExposure::NodePort | BonoExposure::LoadBalancer | BonoExposure::ExternalIps => {
            let table: Vec<_> = (0..).map(pod_name).zip(addresses(d, inputs).iter().copied()).collect();
            let script = start_script("POD_NAME", &table, "bono.addresses");
            // Only the first address: with all of them a further Bono would restart those that stand, and drop their
            // subscribers' connections.
            let config = table.first().map(|(pod, ip)| format!("{pod}={ip}")).into_iter().collect();
            let (extras, item) = started(d, "POD_NAME", "metadata.name", script, config);
            (extras, Some(item))
        }
    }
}

/// A pod whose container first runs the script, and the ConfigMap with it.
fn started(d: &Deployment, variable: &str, path: &str, script: String, config: Vec<String>) -> (Extras, Item) {
    let mut extras = Extras {
        env: vec![from_field(variable, path)],
        starters: vec![format!("{START_PATH}/{START_SCRIPT}")],
        config,
        ..Extras::default()
    };
    extras.mount(START, START_PATH);
    (extras, config_map(d, OWNER, START, BTreeMap::from([(START_SCRIPT.to_owned(), script)])))
}

/// The keys are names of pods or nodes and the values addresses, so none of them can mean anything to a shell.
fn start_script(variable: &str, table: &[(String, IpAddr)], setting: &str) -> String {
    let deed = Remedy::BringUp;
    let mut script = format!(
        "#!/bin/sh\n\
         # Tells this Bono the address that leads to it and to no other, then starts what follows.\n\
         case \"${variable}\" in\n"
    );
    for (name, address) in table {
        let _ = writeln!(script, "  {name}) PUBLIC_IP={address} ;;");
    }
    let _ = write!(
        script,
        "  *) echo \"${variable} has no address: add one to {setting}, then {deed}\" >&2; exit 1 ;;\n\
         esac\n\
         export PUBLIC_IP\n\
         exec \"$@\"\n"
    );
    script
}

/// Keeps pods to nodes whose address is known. Each name is a term of its own, because a match on a node's own name may
/// hold one value only.
fn on_nodes<'a>(names: impl Iterator<Item = &'a String>) -> Affinity {
    let term = |name: &String| NodeSelectorTerm {
        match_fields: Some(vec![NodeSelectorRequirement {
            key: "metadata.name".to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![name.clone()]),
        }]),
        ..NodeSelectorTerm::default()
    };
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: names.map(term).collect(),
            }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}
