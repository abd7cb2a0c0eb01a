//! NetworkPolicy objects: one a component, for both directions.
//!
//! What may connect is what the ordering graph and the catalogue say connects. Peers are selected as the Services select
//! them, by the label `service` in the same namespace: whoever may give a pod of the namespace that label is taken for
//! the component.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta::{label_selector, metadata, selector};
use super::{Deployment, Item, ItemOwner};
use crate::component::{AskedBy, CONTACTS, Component, Entry, PortUse, Protocol, TURN_RELAY_PORTS, asked_ports};
use crate::config::{DnsBackend, EllisExposure, NetworkPolicies};
use crate::order::{Graph, Origin};

/// A port as policies name it, with the last one of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    number: u16,
    last: Option<u16>,
    protocol: Protocol,
}

impl From<&PortUse> for Port {
    fn from(port: &PortUse) -> Self {
        Self { number: port.number, last: None, protocol: port.protocol }
    }
}

/// Where names are asked for: 53 on the Service and on CoreDNS' pods, 5353 on `OpenShift`'s, which policies see in its
/// place (cluster-dns-operator `assets/dns/service.yaml`, `targetPort`).
const DNS_PORTS: [u16; 2] = [53, 5353];

/// A mail server's port where the file names none (RFC 5321 §4.5.4.2).
const SMTP: u16 = 25;

/// Which connections a deployment's components open to each other, with the ports that are asked.
pub(super) type Connections = BTreeMap<(Component, Component), BTreeSet<(u16, Protocol)>>;

pub(super) fn connections(d: &Deployment) -> Connections {
    let mut all = Connections::new();
    let mut add = |from: Component, to: Component, ports: &mut dyn Iterator<Item = &'static PortUse>| {
        all.entry((from, to)).or_default().extend(ports.map(|p| (p.number, p.protocol)));
    };
    for edge in Graph::of(d).edges().filter(|e| e.origin == Origin::Upstream) {
        if let (Ok(from), Ok(to)) = (edge.from.parse(), edge.to.parse()) {
            add(from, to, &mut asked_ports(d.release(), from, to));
        }
    }
    let of = |component: Component| d.components().find(move |e| e.component == component);
    for contact in CONTACTS.iter().filter(|c| d.has(c.from)) {
        let Some(to) = of(contact.to) else { continue };
        add(contact.from, contact.to, &mut to.ports.iter().filter(|p| contact.ports.contains(&p.name)));
    }
    for entry in d.components().filter(|e| e.peer_ports().next().is_some()) {
        add(entry.component, entry.component, &mut entry.peer_ports());
    }
    all
}

/// The policies of the components, where the file wants them.
pub(super) struct Policies(Option<Connections>);

impl Policies {
    pub(super) fn of(d: &Deployment) -> Self {
        Self((d.file().network_policy == NetworkPolicies::Isolate).then(|| connections(d)))
    }

    pub(super) fn item(&self, d: &Deployment, entry: &Entry) -> Option<Item> {
        let connections = self.0.as_ref()?;
        let component = entry.component;
        let object = NetworkPolicy {
            metadata: metadata(d, ItemOwner::Component(component), None, component.name()),
            spec: Some(NetworkPolicySpec {
                pod_selector: Some(pods(component)),
                policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
                ingress: some(ingress(d, entry, connections)),
                egress: some(egress(d, component, connections)),
            }),
        };
        Some(Item::applied(component, object))
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn pods(component: Component) -> LabelSelector {
    label_selector(selector(component, None))
}

/// Those that share their ports share a rule.
fn by_ports(
    connections: &Connections,
    other: impl Fn(&(Component, Component)) -> Option<Component>,
) -> Vec<(Vec<NetworkPolicyPeer>, Vec<NetworkPolicyPort>)> {
    let mut rules: BTreeMap<&BTreeSet<(u16, Protocol)>, BTreeSet<Component>> = BTreeMap::new();
    for (pair, ports) in connections {
        if let Some(component) = other(pair) {
            rules.entry(ports).or_default().insert(component);
        }
    }
    rules
        .into_iter()
        .map(|(ports, components)| {
            let peer = |c| NetworkPolicyPeer { pod_selector: Some(pods(c)), ..NetworkPolicyPeer::default() };
            let port = |&(number, protocol): &(u16, Protocol)| Port { number, last: None, protocol }.object();
            (components.into_iter().map(peer).collect(), ports.iter().map(port).collect())
        })
        .collect()
}

impl Port {
    fn object(self) -> NetworkPolicyPort {
        NetworkPolicyPort {
            port: Some(IntOrString::Int(self.number.into())),
            end_port: self.last.map(i32::from),
            protocol: Some(self.protocol.name().to_owned()),
        }
    }
}

fn ingress(d: &Deployment, entry: &Entry, connections: &Connections) -> Vec<NetworkPolicyIngressRule> {
    let to = entry.component;
    let mut rules: Vec<_> = by_ports(connections, |&(a, b)| (b == to).then_some(a))
        .into_iter()
        .map(|(from, ports)| NetworkPolicyIngressRule { from: Some(from), ports: Some(ports) })
        .collect();
    let open = open_ports(d, entry);
    if !open.is_empty() {
        let ports = open.into_iter().map(Port::object).collect();
        rules.push(NetworkPolicyIngressRule { from: None, ports: Some(ports) });
    }
    if to == Component::Etcd && d.file().dns.backend == DnsBackend::Etcd {
        let client = entry.port("etcd-client").map(|p| Port::from(p).object());
        rules.push(NetworkPolicyIngressRule { from: Some(vec![cluster_dns()]), ports: Some(Vec::from_iter(client)) });
    }
    rules
}

/// CoreDNS, which reads the names that sprout has from etcd where the file puts them there.
fn cluster_dns() -> NetworkPolicyPeer {
    let labels = |key: &str, value: &str| label_selector(BTreeMap::from([(key.to_owned(), value.to_owned())]));
    NetworkPolicyPeer {
        namespace_selector: Some(labels("kubernetes.io/metadata.name", "kube-system")),
        pod_selector: Some(labels("k8s-app", "kube-dns")),
        ..NetworkPolicyPeer::default()
    }
}

/// The ports that anybody may ask. Where subscribers and browsers come from is not known: a load balancer, an Ingress
/// and a node port hide it, each in its own way.
fn open_ports(d: &Deployment, entry: &Entry) -> BTreeSet<Port> {
    let asked = |by: AskedBy| entry.ports.iter().filter(move |p| p.asked_by == by).map(Port::from);
    match entry.component {
        Component::Ellis if d.file().ellis.exposure == EllisExposure::None => BTreeSet::new(),
        Component::Bono => {
            let (number, last) = TURN_RELAY_PORTS;
            asked(AskedBy::Clients).chain([Port { number, last: Some(last), protocol: Protocol::Udp }]).collect()
        }
        Component::Ralf if charges(d) => asked(AskedBy::Network).collect(),
        Component::Ralf => BTreeSet::new(),
        _ => asked(AskedBy::Clients).collect(),
    }
}

/// Whether ralf has somebody to send charging records to (ralf `debian/ralf.init.d`; clearwater-readthedocs
/// `docs/Clearwater_Configuration_Options_Reference.md`).
fn charges(d: &Deployment) -> bool {
    ["billing_cdf", "billing_realm", "cdf_identity"].iter().any(|key| d.file().shared_config.contains_key(*key))
}

/// Whether a component connects to what no file names: subscribers and trunks, application servers in subscribers'
/// profiles, Diameter peers found in DNS.
fn reaches_anybody(d: &Deployment, component: Component) -> bool {
    match component {
        Component::Bono | Component::Sprout => true,
        Component::Homestead => d.file().hss.is_some(),
        Component::Ralf => charges(d),
        _ => false,
    }
}

fn egress(d: &Deployment, from: Component, connections: &Connections) -> Vec<NetworkPolicyEgressRule> {
    if reaches_anybody(d, from) {
        return vec![NetworkPolicyEgressRule::default()];
    }
    let mut rules: Vec<_> = by_ports(connections, |&(a, b)| (a == from).then_some(b))
        .into_iter()
        .map(|(to, ports)| NetworkPolicyEgressRule { to: Some(to), ports: Some(ports) })
        .collect();
    let anywhere = |ports: Vec<Port>| NetworkPolicyEgressRule {
        to: None,
        ports: Some(ports.into_iter().map(Port::object).collect()),
    };
    if from != Component::Etcd {
        let both = |number| [Protocol::Tcp, Protocol::Udp].map(|protocol| Port { number, last: None, protocol });
        rules.push(anywhere(DNS_PORTS.into_iter().flat_map(both).collect()));
    }
    if let (Component::Ellis, Some(email)) = (from, &d.file().email) {
        let named = email.smarthost.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        rules.push(anywhere(vec![Port { number: named.unwrap_or(SMTP), last: None, protocol: Protocol::Tcp }]));
    }
    rules
}
