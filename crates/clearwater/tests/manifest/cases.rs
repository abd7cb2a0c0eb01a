//! The deployments that the tests render: both releases, every exposure, every way of naming.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clearwater::component::Component;
use clearwater::config::{Deployment, DeploymentFile, Keys};
use clearwater::manifest::{Inputs, Manifest, render};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    pub(crate) inputs: fn() -> Inputs,
}

impl Case {
    pub(crate) fn deployment(&self, namespace: &str) -> Deployment {
        deployment(self.file, namespace)
    }

    pub(crate) fn manifest(&self, namespace: &str) -> Manifest {
        render(&self.deployment(namespace), &(self.inputs)()).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }
}

pub(crate) fn deployment(file: &str, namespace: &str) -> Deployment {
    let text = format!("apiVersion: clearwater/v1\n{file}");
    let file = DeploymentFile::parse(&text, "clearwater.yaml").unwrap_or_else(|e| panic!("{e}"));
    file.deploy(namespace).unwrap_or_else(|e| panic!("{e}"))
}

/// What every file of the classic release must say.
pub(crate) const CLASSIC: &str = "release: classic\nimages: {registry: 10.34.40.11:1179, tag: '2016-11'}\n";

const fn case(name: &'static str, file: &'static str) -> Case {
    Case { name, file, inputs: Inputs::default }
}

macro_rules! classic {
    ($rest:literal) => {
        concat!("release: classic\nimages: {registry: 10.34.40.11:1179, tag: '2016-11'}\n", $rest)
    };
}

pub(crate) const HUNTER: Case = case("hunter", "");
pub(crate) const CLASSIC_DEFAULT: Case = case("classic", CLASSIC);
/// The article "Clearwater On Kubernetes": Services with virtual addresses, Bono on node ports.
pub(crate) const ARTICLE: Case = Case {
    name: "classic-article",
    file: classic!(
        "services: clusterIP\ndns: {backend: etcd}\n\
         bono: {exposure: nodePort, addresses: [15.116.146.11], nodePortRange: 3000-32767}\n"
    ),
    inputs: virtual_addresses,
};

/// Each is compared as a whole with its golden file.
pub(crate) const WHOLE: [Case; 2] = [HUNTER, CLASSIC_DEFAULT];

/// Of each the golden file holds what differs from its release's default.
pub(crate) const VARIANTS: &[Case] = &[
    Case { name: "hunter-keys", file: "", inputs: keys },
    case("hunter-keys-upstream", "keys: upstream\n"),
    case("hunter-keys-secret", "keys: {secret: my-keys}\n"),
    case("hunter-hss", "hss: {hostname: hss}\n"),
    case("hunter-bono-host-port", "bono: {exposure: hostPort}\n"),
    case(
        "hunter-bono-host-port-table",
        "bono: {exposure: hostPort, nodeAddresses: {node-1: 192.0.2.1, node-2.example.com: '2001:db8::2'}}\n",
    ),
    case("hunter-bono-node-port", "bono: {exposure: nodePort, addresses: [192.0.2.1], nodePortRange: 3000-32767}\n"),
    case(
        "hunter-bono-node-port-two",
        "bono: {exposure: nodePort, addresses: [192.0.2.1, 192.0.2.2]}\ncomponents: {bono: {replicas: 2}}\n",
    ),
    case(
        "hunter-bono-load-balancer",
        "bono: {exposure: loadBalancer, addresses: [192.0.2.1, 192.0.2.2]}\ncomponents: {bono: {replicas: 2}}\n",
    ),
    case(
        "hunter-bono-load-balancer-per-protocol",
        "bono: {exposure: loadBalancer, service: perProtocol, addresses: [192.0.2.1]}\n",
    ),
    Case {
        name: "hunter-bono-load-balancer-awaited",
        file: "bono: {exposure: loadBalancer}\n",
        inputs: awaited_addresses,
    },
    case(
        "hunter-bono-external-ips",
        "bono: {exposure: externalIPs, addresses: [192.0.2.1], annotations: {example.com/name: 'bono-{number}'}}\n",
    ),
    case("hunter-ip-families", "ipFamilies: [IPv6]\nimages: {registry: registry.example.com/ipv6}\n"),
    case("hunter-ellis-node-port", "ellis: {exposure: nodePort, nodePort: 30080}\n"),
    case("hunter-ellis-load-balancer", "ellis: {exposure: loadBalancer}\n"),
    case(
        "hunter-ellis-ingress",
        "ellis: {exposure: ingress, ingress: {host: ellis.example.com, className: nginx, tlsSecret: ellis-tls}}\n",
    ),
    case("hunter-etcd-persistent", "etcdStorage: {persistent: true, storageClass: fast, size: 2Gi}\n"),
    case(
        "hunter-volumes",
        "components:\n\
         \x20 cassandra: {replicas: 3, storage: {persistent: true, size: 20Gi}}\n\
         \x20 ellis: {storage: {storageClass: fast}}\n",
    ),
    Case { name: "hunter-default-storage-class", file: "", inputs: default_storage_class },
    Case { name: "hunter-live", file: "components: {cassandra: {replicas: 2}}\n", inputs: live },
    case("hunter-tailer", "tailer: sidecar\n"),
    case(
        "hunter-everything",
        "clusterDomain: example.org\n\
         homeDomain: ims.example.com\n\
         images: {mirror: mirror.example.com:5000/clearwater, pullPolicy: Always, pullSecrets: [mirror]}\n\
         logLevel: 4\n\
         sharedConfig: {reg_max_expires: 600, enum_suffix: .e164.arpa}\n\
         email:\n  smarthost: smtp.example.com\n  username: ellis\n  password: {secret: mail, key: password}\n\
         labels: {team: voice}\n\
         annotations: {example.com/contact: ims@example.com}\n\
         components:\n\
         \x20 sprout:\n\
         \x20   replicas: 3\n\
         \x20   image: registry.example.com/sprout@sha256:0123456789012345678901234567890123456789012345678901234567890123\n\
         \x20   resources: {requests: {cpu: 500m}, limits: {memory: 1Gi}}\n\
         \x20   nodeSelector: {pool: core}\n\
         \x20   tolerations: [{key: dedicated, value: ims, effect: NoSchedule}, {operator: Exists, effect: NoExecute, tolerationSeconds: 30}]\n\
         \x20   labels: {tier: core}\n\
         \x20   annotations: {sidecar.istio.io/inject: 'false'}\n\
         \x20   env: {SPROUT_NOTE: 'costs $5 $(HOSTNAME)'}\n",
    ),
    case("hunter-hardened", "securityContext: hardened\ntailer: sidecar\n"),
    case(
        "hunter-security-contexts",
        "securityContext: hardened\n\
         podSecurityContext: {fsGroup: 1000}\n\
         components:\n\
         \x20 etcd:\n\
         \x20   securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, runAsNonRoot: true, runAsUser: 1000, capabilities: {drop: [ALL]}}\n\
         \x20 chronos: {securityContext: default, podSecurityContext: {seccompProfile: {type: Localhost, localhostProfile: chronos.json}}}\n",
    ),
    case(
        "hunter-digests",
        "images:\n\
         \x20 mirror: mirror.example.com\n\
         \x20 digests:\n\
         \x20   etcd: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\
         \x20   sprout: sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\n",
    ),
    case("hunter-isolate", "networkPolicy: isolate\n"),
    case(
        "hunter-isolate-outside",
        "networkPolicy: isolate\n\
         ellis: {exposure: loadBalancer}\n\
         email: {smarthost: 'mail.example.com:587'}\n\
         sharedConfig: {cdf_identity: cdf.example.com}\n",
    ),
    case("hunter-isolate-hss", "networkPolicy: isolate\nhss: {hostname: hss}\n"),
    ARTICLE,
    case("classic-two-sprouts", classic!("components: {sprout: {replicas: 2}}\n")),
    case("classic-coredns", classic!("dns: {backend: coredns}\n")),
    Case { name: "classic-etcd", file: classic!("dns: {backend: etcd}\n"), inputs: virtual_addresses },
    case("classic-bono-host-port", classic!("bono: {exposure: hostPort}\n")),
    case("classic-bono-load-balancer", classic!("bono: {exposure: loadBalancer, addresses: [192.0.2.1]}\n")),
    Case { name: "classic-keys", file: CLASSIC, inputs: keys },
    Case {
        name: "classic-isolate",
        file: classic!("networkPolicy: isolate\ndns: {backend: etcd}\n"),
        inputs: virtual_addresses,
    },
];

pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    const ALL: &[Case] = &WHOLE;
    ALL.iter().chain(VARIANTS)
}

fn keys() -> Inputs {
    let keys = Keys {
        signup_key: "one".to_owned(),
        turn_workaround: "two".to_owned(),
        ellis_api_key: "three".to_owned(),
        ellis_cookie_key: "four".to_owned(),
    };
    Inputs { keys: Some(keys), ..Inputs::default() }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn virtual_addresses() -> Inputs {
    let cluster_ips = BTreeMap::from([
        (Component::Sprout, vec![address("169.169.228.123")]),
        (Component::Bono, vec![address("169.169.10.1")]),
    ]);
    Inputs { cluster_ips, ..Inputs::default() }
}

fn awaited_addresses() -> Inputs {
    Inputs { bono_addresses: vec![address("198.51.100.7")], ..Inputs::default() }
}

fn default_storage_class() -> Inputs {
    Inputs { default_storage_class: Some(true), ..Inputs::default() }
}

fn live() -> Inputs {
    let live_replicas = BTreeMap::from([("cassandra".to_owned(), 3), ("sprout".to_owned(), 4)]);
    Inputs { live_replicas, ..Inputs::default() }
}
