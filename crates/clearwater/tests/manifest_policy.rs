//! NetworkPolicy objects, judged by what they say together: who may connect to whom, on which port.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

#[path = "manifest/cases.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod cases;

use std::collections::{BTreeMap, BTreeSet};

use cases::{CLASSIC, all, deployment};
use clearwater::component::{AskedBy, CONTACTS, Component, Protocol, Release, asked_ports, entry, narrowed_by};
use clearwater::config::{Deployment, NetworkPolicies};
use clearwater::manifest::{Inputs, Manifest, Object, render};
use clearwater::order::{Graph, Origin};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;

use Component::{
    Astaire, Bono, Cassandra, Chronos, Ellis, Etcd, Homer, Homestead, HomesteadProv, Memcached, Ralf, Sprout,
};

type Labels = BTreeMap<String, String>;

/// Who sends a packet, or gets it.
#[derive(Clone, Debug)]
enum Party {
    /// A pod of the deployment's namespace.
    Pod(Labels),
    /// A pod of another namespace.
    Elsewhere { namespace: Labels, pod: Labels },
    /// No pod.
    Outside,
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    assert!(selector.match_expressions.is_none(), "not judged here");
    selector.match_labels.iter().flatten().all(|(k, v)| labels.get(k) == Some(v))
}

/// Kubernetes' own rules (networking/v1 `NetworkPolicyPeer`).
fn peer_is(peer: &NetworkPolicyPeer, party: &Party) -> bool {
    assert!(peer.ip_block.is_none(), "not judged here");
    let pod = |labels: &Labels| peer.pod_selector.as_ref().is_none_or(|s| matches(s, labels));
    match (party, &peer.namespace_selector) {
        (Party::Pod(labels), None) => pod(labels),
        (Party::Elsewhere { namespace, pod: labels }, Some(selector)) => matches(selector, namespace) && pod(labels),
        _ => false,
    }
}

fn port_is(rule: &NetworkPolicyPort, port: u16, protocol: Protocol) -> bool {
    let Some(IntOrString::Int(first)) = rule.port else { panic!("not judged here") };
    let last = rule.end_port.unwrap_or(first);
    rule.protocol.as_deref().unwrap_or("TCP") == protocol.name() && (first..=last).contains(&i32::from(port))
}

/// An absent or empty list means everybody, and every port.
fn rule_admits(
    peers: Option<&Vec<NetworkPolicyPeer>>,
    ports: Option<&Vec<NetworkPolicyPort>>,
    party: &Party,
    port: u16,
    protocol: Protocol,
) -> bool {
    let everybody = peers.is_none_or(Vec::is_empty);
    let every_port = ports.is_none_or(Vec::is_empty);
    (everybody || peers.into_iter().flatten().any(|p| peer_is(p, party)))
        && (every_port || ports.into_iter().flatten().any(|p| port_is(p, port, protocol)))
}

struct Network(Vec<NetworkPolicy>);

impl Network {
    fn of(manifest: &Manifest) -> Self {
        let policies = manifest.objects().filter_map(|o| match o {
            Object::NetworkPolicy(policy) => Some(policy.as_ref().clone()),
            _ => None,
        });
        Self(policies.collect())
    }

    fn selecting<'a>(&'a self, pod: &'a Labels, direction: &'a str) -> Vec<&'a NetworkPolicySpec> {
        let specs = self.0.iter().filter_map(|p| p.spec.as_ref());
        specs
            .filter(|s| s.policy_types.iter().flatten().any(|t| t == direction))
            .filter(|s| s.pod_selector.as_ref().is_none_or(|p| matches(p, pod)))
            .collect()
    }

    fn lets_out(&self, from: &Party, to: &Party, port: u16, protocol: Protocol) -> bool {
        let Party::Pod(labels) = from else { return true };
        let specs = self.selecting(labels, "Egress");
        specs.is_empty()
            || specs
                .iter()
                .flat_map(|s| s.egress.iter().flatten())
                .any(|rule| rule_admits(rule.to.as_ref(), rule.ports.as_ref(), to, port, protocol))
    }

    fn lets_in(&self, from: &Party, to: &Party, port: u16, protocol: Protocol) -> bool {
        let Party::Pod(labels) = to else { return true };
        let specs = self.selecting(labels, "Ingress");
        specs.is_empty()
            || specs
                .iter()
                .flat_map(|s| s.ingress.iter().flatten())
                .any(|rule| rule_admits(rule.from.as_ref(), rule.ports.as_ref(), from, port, protocol))
    }

    fn admits(&self, from: &Party, to: &Party, port: u16, protocol: Protocol) -> bool {
        self.lets_out(from, to, port, protocol) && self.lets_in(from, to, port, protocol)
    }
}

fn pod(component: Component) -> Party {
    Party::Pod(labels(&[("service", component.name()), ("app.kubernetes.io/part-of", "clearwater")]))
}

fn neighbour() -> Party {
    Party::Pod(labels(&[("app", "neighbour"), ("app.kubernetes.io/part-of", "clearwater")]))
}

fn isolated(d: &Deployment) -> Network {
    let inputs = Inputs { bono_addresses: vec!["192.0.2.1".parse().unwrap()], ..Inputs::default() };
    Network::of(&render(d, &inputs).unwrap())
}

/// Every port that is interesting: all of the catalogue, and some that nobody has.
fn probes(release: Release) -> BTreeSet<(u16, Protocol)> {
    let of = |c: Component| entry(release, c).into_iter().flat_map(|e| e.ports).map(|p| (p.number, p.protocol));
    let known = Component::ALL.into_iter().flat_map(of);
    let both = |n: u16| [(n, Protocol::Tcp), (n, Protocol::Udp)];
    known.chain([22, 53, 161, 443, 4000, 4001, 7199, 40000].into_iter().flat_map(both)).collect()
}

/// Who may reach whom on TCP in the release hunter, written down by hand from upstream's own list of what must be open
/// (clearwater-readthedocs `docs/Clearwater_IP_Port_Usage.md`), less homestead's port for Ellis, which is given the
/// provisioning port's address alone, and from clearwater-docker's Dockerfiles.
const HUNTER: &[(Component, Component, &[u16])] = &[
    (Astaire, Etcd, &[2379, 2380]),
    (Cassandra, Etcd, &[2379, 2380]),
    (Chronos, Etcd, &[2379, 2380]),
    (Homestead, Etcd, &[2379, 2380]),
    (HomesteadProv, Etcd, &[2379, 2380]),
    (Homer, Etcd, &[2379, 2380]),
    (Ralf, Etcd, &[2379, 2380]),
    (Sprout, Etcd, &[2379, 2380]),
    (Bono, Etcd, &[2379, 2380]),
    (Ellis, Etcd, &[2379, 2380]),
    (Astaire, Astaire, &[11211]),
    (Cassandra, Cassandra, &[7000, 7001]),
    (Chronos, Chronos, &[7253]),
    (Chronos, Ralf, &[10888]),
    (Chronos, Sprout, &[9888]),
    (Homestead, Astaire, &[11311]),
    (Homestead, Cassandra, &[9160]),
    (Homestead, Sprout, &[9888]),
    (HomesteadProv, Cassandra, &[9160]),
    (Homer, Cassandra, &[9160]),
    (Ralf, Astaire, &[11311]),
    (Ralf, Chronos, &[7253]),
    (Sprout, Astaire, &[11311]),
    (Sprout, Chronos, &[7253]),
    (Sprout, Homestead, &[8888]),
    (Sprout, Homer, &[7888]),
    (Sprout, Ralf, &[10888]),
    (Sprout, Sprout, &[5052, 5053, 5054, 5055]),
    (Sprout, Bono, &[5058]),
    (Bono, Homestead, &[8888]),
    (Bono, Ralf, &[10888]),
    (Bono, Sprout, &[5052, 5054]),
    (Bono, Bono, &[5058]),
    (Ellis, HomesteadProv, &[8889]),
    (Ellis, Homer, &[7888]),
];

/// What subscribers' devices reach.
fn of_clients(to: Component, port: u16, protocol: Protocol) -> bool {
    to == Bono
        && match protocol {
            Protocol::Tcp => [3478, 5060, 5062].contains(&port),
            Protocol::Udp => [3478, 5060].contains(&port) || port >= 32768,
        }
}

#[test]
fn in_hunter_exactly_this_may_connect() {
    let network = isolated(&deployment("networkPolicy: isolate\n", "ims"));
    let components: Vec<_> = Component::ALL.into_iter().filter(|c| *c != Memcached).collect();
    let listed = |from, to, port| HUNTER.iter().any(|(a, b, ports)| (*a, *b) == (from, to) && ports.contains(&port));
    for (port, protocol) in probes(Release::Hunter) {
        for &to in &components {
            let open = of_clients(to, port, protocol);
            for &from in &components {
                let wanted = (protocol == Protocol::Tcp && listed(from, to, port))
                    || (open && from == Sprout)
                    || (open && from == Bono);
                assert_eq!(
                    network.admits(&pod(from), &pod(to), port, protocol),
                    wanted,
                    "{from} to {to} on {port} {}",
                    protocol.name()
                );
            }
            let elsewhere =
                Party::Elsewhere { namespace: labels(&[("team", "x")]), pod: labels(&[("service", "bono")]) };
            for stranger in [neighbour(), elsewhere, Party::Outside] {
                assert_eq!(
                    network.admits(&stranger, &pod(to), port, protocol),
                    open,
                    "{stranger:?} to {to} on {port} {}",
                    protocol.name()
                );
            }
        }
    }
}

#[test]
fn outside_is_reached_by_those_alone_that_have_business_there() {
    let reaches = |d: &Deployment, from: Component, port: u16, protocol: Protocol| {
        isolated(d).admits(&pod(from), &Party::Outside, port, protocol)
    };
    let d = deployment("networkPolicy: isolate\n", "ims");
    for from in Component::ALL.into_iter().filter(|c| *c != Memcached) {
        let anywhere = matches!(from, Bono | Sprout);
        assert_eq!(reaches(&d, from, 443, Protocol::Tcp), anywhere, "{from}");
        assert_eq!(reaches(&d, from, 53, Protocol::Udp), from != Etcd, "{from} asks for names");
        assert_eq!(reaches(&d, from, 53, Protocol::Tcp), from != Etcd, "{from} asks for names");
        // OpenShift's DNS pods, behind port 53 of their Service.
        assert_eq!(reaches(&d, from, 5353, Protocol::Udp), from != Etcd, "{from} asks for names");
        assert_eq!(reaches(&d, from, 5353, Protocol::Tcp), from != Etcd, "{from} asks for names");
    }
    let hss = deployment("networkPolicy: isolate\nhss: {hostname: hss}\n", "ims");
    assert!(reaches(&hss, Homestead, 3868, Protocol::Tcp));
    assert!(!isolated(&hss).admits(&pod(Homestead), &pod(Cassandra), 9160, Protocol::Tcp), "it never asks Cassandra");
    for key in ["billing_cdf", "billing_realm", "cdf_identity"] {
        let file = format!("networkPolicy: isolate\nsharedConfig: {{{key}: cdf.example.com}}\n");
        assert!(reaches(&deployment(&file, "ims"), Ralf, 3868, Protocol::Tcp), "{key}");
    }
    let charging = deployment("networkPolicy: isolate\nsharedConfig: {cdf_identity: cdf.example.com}\n", "ims");
    assert!(reaches(&charging, Ralf, 3868, Protocol::Tcp) && !reaches(&d, Ralf, 3868, Protocol::Tcp));
    assert!(isolated(&charging).admits(&Party::Outside, &pod(Ralf), 3869, Protocol::Tcp));
    for (file, port) in [("mail.example.com", 25), ("'mail.example.com:587'", 587)] {
        let mail = deployment(&format!("networkPolicy: isolate\nemail: {{smarthost: {file}}}\n"), "ims");
        assert!(reaches(&mail, Ellis, port, Protocol::Tcp) && !reaches(&mail, Ellis, 465, Protocol::Tcp), "{file}");
        assert!(!reaches(&d, Ellis, port, Protocol::Tcp));
    }
}

#[test]
fn ellis_is_open_where_it_is_exposed() {
    let ingress = "ellis: {exposure: ingress, ingress: {host: ellis.example.com}}\n";
    let exposed = ["ellis: {exposure: nodePort}\n", "ellis: {exposure: loadBalancer}\n", ingress];
    for (file, open) in [("", false)].into_iter().chain(exposed.map(|file| (file, true))) {
        let network = isolated(&deployment(&format!("networkPolicy: isolate\n{file}"), "ims"));
        for stranger in [neighbour(), Party::Outside] {
            assert_eq!(network.admits(&stranger, &pod(Ellis), 80, Protocol::Tcp), open, "{file}");
            assert!(!network.admits(&stranger, &pod(Ellis), 3306, Protocol::Tcp), "{file}");
        }
    }
}

#[test]
fn cluster_dns_reads_etcd_where_the_names_are_put_there() {
    let dns = Party::Elsewhere {
        namespace: labels(&[("kubernetes.io/metadata.name", "kube-system")]),
        pod: labels(&[("k8s-app", "kube-dns")]),
    };
    let other =
        Party::Elsewhere { namespace: labels(&[("kubernetes.io/metadata.name", "kube-system")]), pod: Labels::new() };
    for (backend, wanted) in [("etcd", true), ("coredns", false)] {
        let file = format!(
            "{CLASSIC}networkPolicy: isolate\ndns: {{backend: {backend}}}\nclusterIPs: {{sprout: [10.96.0.9]}}\n"
        );
        let file = if wanted { file } else { file.replace("clusterIPs: {sprout: [10.96.0.9]}\n", "") };
        let network = isolated(&deployment(&file, "ims"));
        assert_eq!(network.admits(&dns, &pod(Etcd), 2379, Protocol::Tcp), wanted, "{backend}");
        assert!(!network.admits(&dns, &pod(Etcd), 2380, Protocol::Tcp), "{backend}");
        assert!(!network.admits(&other, &pod(Etcd), 2379, Protocol::Tcp), "{backend}");
    }
}

/// What the ordering graph and the catalogue say, asked of them anew.
fn expected(d: &Deployment) -> BTreeSet<(Component, Component, u16, Protocol)> {
    let release = d.release();
    let mut all = BTreeSet::new();
    for edge in Graph::of(d).edges().filter(|e| e.origin == Origin::Upstream) {
        let (from, to) = (edge.from.parse().unwrap(), edge.to.parse().unwrap());
        all.extend(asked_ports(release, from, to).map(|p| (from, to, p.number, p.protocol)));
    }
    for contact in CONTACTS {
        let Some(entry) = entry(release, contact.to) else { continue };
        let ports = contact.ports.iter().filter_map(|name| entry.port(name));
        all.extend(ports.map(|p| (contact.from, contact.to, p.number, p.protocol)));
    }
    for entry in d.components() {
        let peers = entry.ports.iter().filter(|p| p.asked_by == AskedBy::Peers);
        all.extend(peers.map(|p| (entry.component, entry.component, p.number, p.protocol)));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Every edge of the graph is admitted, and nothing else, whatever the file says besides.
    #[test]
    fn the_graph_and_nothing_else_is_admitted(
        classic in any::<bool>(),
        hss in any::<bool>(),
        exposure in 0..5_usize,
        ellis in 0..3_usize,
        replicas in 1..4_u32,
        tailer in any::<bool>(),
    ) {
        let mut file = String::from("networkPolicy: isolate\n");
        if classic { file.push_str(CLASSIC); }
        if hss { file.push_str("hss: {hostname: hss}\n"); }
        if tailer { file.push_str("tailer: sidecar\n"); }
        let exposures = [
            "", "bono: {exposure: hostPort}\n", "bono: {exposure: loadBalancer}\n",
            "bono: {exposure: nodePort, addresses: [192.0.2.1]}\n",
            "bono: {exposure: externalIPs, addresses: [192.0.2.1]}\n",
        ];
        file.push_str(exposures[exposure]);
        if !hss { file.push_str(["", "ellis: {exposure: nodePort}\n", "ellis: {exposure: loadBalancer}\n"][ellis]); }
        file.push_str(&format!("components: {{cassandra: {{replicas: {replicas}}}}}\n"));
        let d = deployment(&file, "ims");
        let network = isolated(&d);
        let components: Vec<_> = d.components().map(|e| e.component).collect();
        let expected = expected(&d);
        for (port, protocol) in probes(d.release()) {
            for &to in &components {
                let open = network.admits(&Party::Outside, &pod(to), port, protocol);
                let stranger = network.admits(&neighbour(), &pod(to), port, protocol);
                prop_assert_eq!(open, stranger, "{}:{}", to, port);
                if !matches!(to, Bono | Ellis) {
                    prop_assert!(!open, "{}:{} is open", to, port);
                }
                for &from in &components {
                    let wanted = expected.contains(&(from, to, port, protocol));
                    let admitted = network.admits(&pod(from), &pod(to), port, protocol);
                    if wanted {
                        prop_assert!(admitted, "{} to {} on {} is refused", from, to, port);
                    } else if !open {
                        prop_assert!(!admitted, "{} to {} on {} is admitted", from, to, port);
                    }
                }
            }
        }
    }
}

#[test]
fn every_edge_has_ports_and_every_narrowing_a_port_that_is_there() {
    for file in ["", CLASSIC] {
        let d = deployment(file, "ims");
        for edge in Graph::of(&d).edges().filter(|e| e.origin == Origin::Upstream) {
            let (from, to): (Component, Component) = (edge.from.parse().unwrap(), edge.to.parse().unwrap());
            assert!(asked_ports(d.release(), from, to).next().is_some(), "{from} to {to}: no port");
            if let Some(source) = narrowed_by(from, to) {
                assert!(!source.0.is_empty());
            }
        }
    }
    for contact in CONTACTS {
        let entry = Release::ALL.into_iter().find_map(|r| entry(r, contact.to)).unwrap();
        assert!(contact.ports.iter().all(|p| entry.port(p).is_some()), "{contact:?}");
    }
}

#[test]
fn policies_are_rendered_only_where_the_file_wants_them_and_select_what_stands() {
    for case in all() {
        let d = case.deployment("ims");
        let manifest = case.manifest("ims");
        let policies: Vec<_> = manifest.objects().filter(|o| o.kind() == "NetworkPolicy").map(Object::name).collect();
        if d.file().network_policy == NetworkPolicies::None {
            assert!(policies.is_empty(), "{}", case.name);
            continue;
        }
        let components: Vec<_> = d.components().map(|e| e.component.name()).collect();
        assert_eq!(policies, components, "{}", case.name);
        let network = Network::of(&manifest);
        for template in manifest.objects().filter_map(Object::pod_template) {
            let labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap();
            assert_eq!(network.selecting(&labels, "Ingress").len(), 1, "{}", case.name);
            assert_eq!(network.selecting(&labels, "Egress").len(), 1, "{}", case.name);
        }
    }
}
