//! Ports of their node that pods take: of pods that take the same one, a node runs one.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodSpec;

/// Of all addresses of the node.
const ANY: [&str; 3] = ["", "0.0.0.0", "::"];

/// A port of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPort {
    port: i32,
    protocol: String,
    address: String,
}

impl HostPort {
    /// Whether both cannot be had (kubernetes `pkg/scheduler/framework/types.go`, `HostPortInfo`).
    fn meets(&self, other: &Self) -> bool {
        let is_any = |port: &Self| ANY.contains(&port.address.as_str());
        (self.port, &self.protocol) == (other.port, &other.protocol)
            && (self.address == other.address || is_any(self) || is_any(other))
    }
}

/// Those that a pod takes. One in its node's network takes all of its own.
pub(crate) fn host_ports(spec: &PodSpec) -> BTreeSet<HostPort> {
    let ports = spec.containers.iter().flat_map(|c| c.ports.iter().flatten());
    let taken = ports.filter_map(|p| {
        let of_network = spec.host_network.unwrap_or_default().then_some(p.container_port);
        Some(HostPort {
            port: p.host_port.or(of_network).filter(|port| *port > 0)?,
            protocol: p.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            address: p.host_ip.clone().unwrap_or_default(),
        })
    });
    taken.collect()
}

/// Whether none of the ports that are wanted is among those that are taken.
pub(crate) fn are_free(wanted: &BTreeSet<HostPort>, taken: &BTreeSet<HostPort>) -> bool {
    !wanted.iter().any(|port| taken.iter().any(|other| port.meets(other)))
}

/// The ports as they are told.
pub(crate) fn listed(ports: &BTreeSet<HostPort>) -> String {
    ports.iter().map(|p| format!("{}/{}", p.port, p.protocol)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: Value) -> BTreeSet<HostPort> {
        host_ports(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn ports_meet_as_the_scheduler_has_it() {
        let port = |port: Value| of(json!({"containers": [{"name": "a", "ports": [port]}]}));
        let sip = port(json!({"containerPort": 5060, "hostPort": 5060}));
        assert_eq!(listed(&sip), "5060/TCP");
        for (other, free) in [
            (json!({"containerPort": 5060, "hostPort": 5060}), false),
            (json!({"containerPort": 5060, "hostPort": 5060, "hostIP": "192.0.2.7"}), false),
            (json!({"containerPort": 5060, "hostPort": 5060, "protocol": "UDP"}), true),
            (json!({"containerPort": 5060}), true),
            (json!({"containerPort": 5060, "hostPort": 5061}), true),
        ] {
            assert_eq!(are_free(&sip, &port(other.clone())), free, "{other}");
        }
        let at = |ip: &str| port(json!({"containerPort": 1, "hostPort": 1, "hostIP": ip}));
        assert!(are_free(&at("192.0.2.7"), &at("192.0.2.8")) && !are_free(&at("192.0.2.7"), &at("0.0.0.0")));
        let network =
            of(json!({"hostNetwork": true, "containers": [{"name": "a", "ports": [{"containerPort": 5060}]}]}));
        assert!(!are_free(&sip, &network));
    }
}
