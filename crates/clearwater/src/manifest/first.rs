use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::api::core::v1::Service;

use super::workload::workloads;
use super::{Deployment, Inputs, bono};
use crate::component::Component;
use crate::config::{BonoExposure, BonoService};

/// What stands for an address that is not known yet (TEST-NET-1 of RFC 5737): good for a dry run, never for a pod.
const UNKNOWN_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The Services that must stand before everything can be rendered, because what is rendered names their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicesFirst {
    /// The Services whose virtual address the configuration of all containers names, by component.
    pub virtual_addresses: BTreeMap<Component, &'static str>,
    /// Bonos, by ordinal, whose addresses load balancers give.
    pub balanced: Vec<Balanced>,
}

impl ServicesFirst {
    /// Whether nothing has to stand first.
    pub fn is_empty(&self) -> bool {
        self.virtual_addresses.is_empty() && self.balanced.is_empty()
    }

    /// Whether the Service of that name must stand first.
    pub fn names(&self, service: &str) -> bool {
        self.virtual_addresses.values().any(|name| *name == service)
            || self.balanced.iter().any(|b| b.services.iter().any(|s| s == service))
    }
}

/// One Bono and the Services whose load balancers give its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balanced {
    /// The pod's name.
    pub pod: String,
    /// Its Services: one, or one for each protocol, which must then have one address together.
    pub services: Vec<String>,
}

impl Balanced {
    /// The Bono in this pod, with the Services that a load-balanced one has.
    pub fn of(d: &Deployment, pod: String) -> Self {
        let services = match d.file().bono.service {
            BonoService::Combined => vec![pod.clone()],
            BonoService::PerProtocol => vec![format!("{pod}-tcp"), format!("{pod}-udp")],
        };
        Self { pod, services }
    }
}

/// Says which Services must stand first, given what is known already.
pub fn services_first(d: &Deployment, inputs: &Inputs) -> ServicesFirst {
    let file = d.file();
    let mut first = ServicesFirst::default();
    let known = inputs.cluster_ips.get(&Component::Sprout).map_or(d.cluster_ips(Component::Sprout), Vec::as_slice);
    if let Some(alias) = d.sprout_alias().filter(|_| known.is_empty()) {
        first.virtual_addresses.insert(Component::Sprout, alias);
    }
    if file.bono.exposure == BonoExposure::LoadBalancer && file.bono.addresses.is_empty() {
        let count: u32 = workloads(d, Component::Bono).iter().map(|w| w.replicas(d, inputs).count()).sum();
        first.balanced = (0..count).map(|ordinal| Balanced::of(d, bono::pod_name(ordinal))).collect();
    }
    first
}

/// What a load balancer has given a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Nothing yet.
    Nothing,
    /// An address.
    Address(IpAddr),
    /// A host name and no address. Bono cannot use it: it writes the text into SIP routes, and phones take it
    /// literally.
    NameOnly(String),
}

/// Reads what a load balancer has given a Service.
pub fn given(service: &Service) -> Given {
    let ingress = || service.status.iter().filter_map(|s| s.load_balancer.as_ref()?.ingress.as_ref()).flatten();
    if let Some(ip) = ingress().find_map(|i| i.ip.as_ref()?.parse().ok()) {
        return Given::Address(ip);
    }
    ingress().find_map(|i| i.hostname.clone()).map_or(Given::Nothing, Given::NameOnly)
}

/// How far load balancers are with one Bono.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Its address.
    Known(IpAddr),
    /// This Service has no address yet, or does not stand yet.
    Awaited {
        /// The Service.
        service: String,
    },
    /// This Service was given a host name only.
    NameOnly {
        /// The Service.
        service: String,
        /// The name.
        host: String,
    },
    /// Its Services were given different addresses, and Bono can tell only one to subscribers.
    Differ {
        /// The Services, each with its address.
        services: Vec<(String, IpAddr)>,
    },
}

/// Looks how far load balancers are with one Bono.
pub fn balance(bono: &Balanced, services: &BTreeMap<String, Service>) -> Balance {
    let mut seen = Vec::new();
    let mut awaited = None;
    for name in &bono.services {
        match services.get(name).map_or(Given::Nothing, given) {
            Given::Address(address) => seen.push((name.clone(), address)),
            Given::NameOnly(host) => return Balance::NameOnly { service: name.clone(), host },
            Given::Nothing => awaited = awaited.or_else(|| Some(name.clone())),
        }
    }
    match (awaited, seen.first()) {
        (Some(service), _) => Balance::Awaited { service },
        (None, Some((_, first))) if seen.iter().all(|(_, a)| a == first) => Balance::Known(*first),
        _ => Balance::Differ { services: seen },
    }
}

/// Fills in what is not known yet, so that everything can be rendered for a dry run: addresses that stand where they
/// are known, 192.0.2.1 elsewhere.
pub fn provisional(inputs: &Inputs, first: &ServicesFirst, services: &BTreeMap<String, Service>) -> Inputs {
    let mut inputs = inputs.clone();
    for component in first.virtual_addresses.keys() {
        inputs.cluster_ips.insert(*component, vec![UNKNOWN_ADDRESS]);
    }
    if !first.balanced.is_empty() {
        inputs.bono_addresses = first
            .balanced
            .iter()
            .map(|b| match balance(b, services) {
                Balance::Known(address) => address,
                _ => UNKNOWN_ADDRESS,
            })
            .collect();
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeploymentFile;
    use proptest::prelude::*;
    use serde_json::json;

    fn deployment(text: &str) -> Deployment {
        let file = DeploymentFile::parse(&format!("apiVersion: clearwater/v1\n{text}"), "test.yaml").unwrap();
        file.deploy("ims").unwrap()
    }

    fn service(ingress: &serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "s"}, "status": {"loadBalancer": {"ingress": ingress}}}))
            .unwrap()
    }

    #[test]
    fn only_three_deployments_need_services_first() {
        let none = Inputs::default();
        assert!(services_first(&deployment(""), &none).is_empty());
        assert!(
            services_first(&deployment("bono: {exposure: loadBalancer, addresses: [192.0.2.7]}\n"), &none).is_empty()
        );
        let first = services_first(
            &deployment("bono: {exposure: loadBalancer, service: perProtocol}\ncomponents: {bono: {replicas: 2}}\n"),
            &none,
        );
        assert_eq!(first.balanced.len(), 2);
        assert_eq!(first.balanced[1].services, ["bono-1-tcp", "bono-1-udp"]);
        assert!(first.names("bono-0-udp") && !first.names("bono"));
        let classic = "release: classic\nimages: {registry: localhost, tag: '1'}\n";
        for (more, service) in
            [("services: clusterIP\ndns: {backend: print}\n", "sprout"), ("dns: {backend: etcd}\n", "sprout-address")]
        {
            let first = services_first(&deployment(&format!("{classic}{more}")), &none);
            assert_eq!(first.virtual_addresses, BTreeMap::from([(Component::Sprout, service)]));
        }
    }

    #[test]
    fn each_bono_is_judged_by_all_its_services() {
        let bono = Balanced { pod: "bono-0".into(), services: vec!["bono-0-tcp".into(), "bono-0-udp".into()] };
        let of = |tcp: serde_json::Value, udp: serde_json::Value| {
            let all =
                BTreeMap::from([("bono-0-tcp".to_owned(), service(&tcp)), ("bono-0-udp".to_owned(), service(&udp))]);
            balance(&bono, &all)
        };
        let (a, b) = (json!([{"ip": "198.51.100.1"}]), json!([{"ip": "198.51.100.2"}]));
        let name = json!([{"hostname": "lb.example.com"}]);
        assert_eq!(of(a.clone(), a.clone()), Balance::Known("198.51.100.1".parse().unwrap()));
        assert!(matches!(of(a.clone(), b), Balance::Differ { services } if services.len() == 2));
        assert_eq!(of(a, json!([])), Balance::Awaited { service: "bono-0-udp".into() });
        assert_eq!(
            of(json!([]), name),
            Balance::NameOnly { service: "bono-0-udp".into(), host: "lb.example.com".into() }
        );
        let both = json!([{"hostname": "lb.example.com"}, {"ip": "198.51.100.3"}]);
        assert_eq!(of(both.clone(), both), Balance::Known("198.51.100.3".parse().unwrap()));
    }

    proptest! {
        /// Whatever the balancers have given, everything can be rendered, and what is known is in it.
        #[test]
        fn what_is_provisional_can_be_rendered(given in proptest::collection::vec(proptest::option::of(1u8..250), 1..5)) {
            let count = given.len();
            let d = deployment(&format!("bono: {{exposure: loadBalancer}}\ncomponents: {{bono: {{replicas: {count}}}}}\n"));
            let services: BTreeMap<String, Service> = given
                .iter()
                .enumerate()
                .map(|(i, ip)| {
                    let ingress = ip.map_or(json!([]), |n| json!([{"ip": format!("198.51.100.{n}")}]));
                    (format!("bono-{i}"), service(&ingress))
                })
                .collect();
            let first = services_first(&d, &Inputs::default());
            let inputs = provisional(&Inputs::default(), &first, &services);
            prop_assert_eq!(inputs.bono_addresses.len(), count);
            let manifest = super::super::render(&d, &inputs).unwrap();
            let script = serde_json::to_string(manifest.find("ConfigMap", "bono-start").unwrap()).unwrap();
            for (i, ip) in given.iter().enumerate() {
                if let Some(n) = ip {
                    let line = format!("bono-{i}) PUBLIC_IP=198.51.100.{n} ;;");
                    prop_assert!(script.contains(&line), "{}", script);
                }
            }
        }
    }
}
