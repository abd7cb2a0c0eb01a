//! What a cluster consists of: every configuration file and every process, from its name and options alone.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::layout::Layout;
use crate::net::{Addresses, CONTROL_PLANE, DNS_ADDRESS, NODES, POD_RANGE, SERVICE_RANGE, node_namespace};
use crate::process::{Part, Process};

/// Kubernetes' version, as in `go/go.mod`.
pub const KUBERNETES_VERSION: &str = "1.34.4";
/// CoreDNS' version, as in `go/go.mod`.
pub const COREDNS_VERSION: &str = "1.12.4";
/// The cluster's domain.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

pub(crate) const PAUSE_IMAGE: &str = "localhost/clearwater-testbed/pause:1";

/// What can be chosen about a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Kubernetes' own times instead of quick ones.
    ///
    /// Quick: the kubelet looks at a ConfigMap every 2 s (else 60 s), CoreDNS at its Corefile every 2 s (else 30 s) and
    /// keeps answers 5 s (else 30 s), an HPA acts every 2 s and scales down after 10 s (else 15 s and 300 s), container
    /// logs rotate at 1 MiB (else 10 MiB), a silent node is `NotReady` after 20 s (else 50 s) and its pods are evicted
    /// 30 s later (else 300 s).
    pub lifelike: bool,
    /// Node ports from 3000 (else from 30000), so that 5060 can be one.
    pub wide_node_ports: bool,
}

/// Programs the cluster runs.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) kube: PathBuf,
    pub(crate) kubectl: PathBuf,
    pub(crate) helper: PathBuf,
    pub(crate) probe: PathBuf,
}

/// One cluster, ready to be written and started.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) layout: Layout,
    pub(crate) addresses: Addresses,
    pub(crate) options: Options,
    pub(crate) programs: Programs,
}

/// A user of the cluster's own parts: the file's name, the user and the group.
pub(crate) const USERS: [(&str, &str, Option<&str>); 5] = [
    ("admin", "kubernetes-admin", Some("system:masters")),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("proxy", "system:kube-proxy", None),
    ("controllers", "testbed-controllers", Some("system:masters")),
];

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

impl Plan {
    pub(crate) fn server(&self) -> String {
        format!("https://{}:6443", self.addresses.control_plane())
    }

    fn etc(&self, file: &str) -> String {
        text(self.layout.etc().join(file))
    }

    fn pki(&self, file: &str) -> String {
        text(self.layout.pki().join(file))
    }

    /// Where a part's kubeconfig is.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        if user == "admin" { self.layout.kubeconfig() } else { self.layout.etc().join(format!("{user}.kubeconfig")) }
    }

    pub(crate) fn containerd_socket(&self, node: u8) -> PathBuf {
        self.layout.node_run(node).join("containerd.sock")
    }

    /// Where the program that enforces NetworkPolicy is put, once a test asks for it.
    pub(crate) fn policies_program(&self) -> PathBuf {
        self.layout.etc().join("kube-router")
    }

    /// Directories that must be there before the parts start.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let mut all = vec![
            self.layout.data().join("audit"),
            self.layout.data().join("volumes"),
            self.layout.logs(),
            self.layout.etc(),
            self.registries(),
        ];
        for node in NODES {
            all.push(self.layout.node_run(node));
            all.push(self.layout.node_images(node));
            all.push(self.layout.node_data(node).join("cni"));
            all.push(self.layout.node_data(node).join("pods"));
        }
        all
    }

    /// containerd looks here for how to reach a registry, each time it is asked to pull.
    pub(crate) fn registries(&self) -> PathBuf {
        self.layout.etc().join("registries")
    }

    /// Every configuration file and its content.
    pub(crate) fn files(&self) -> Vec<(PathBuf, String)> {
        let etc = self.layout.etc();
        let mut all = vec![
            (etc.join("audit-policy.yaml"), include_str!("audit-policy.yaml").to_owned()),
            // No name server: what the cluster does not know does not exist.
            (etc.join("resolv.conf"), "options ndots:1\n".to_owned()),
            (etc.join("objects.yaml"), self.objects()),
        ];
        for node in NODES {
            all.push((etc.join(format!("containerd-{node}.toml")), self.containerd(node)));
            all.push((etc.join(format!("kubelet-{node}.yaml")), pretty(&self.kubelet(node))));
            all.push((etc.join(format!("proxy-{node}.yaml")), pretty(&self.proxy(node))));
            all.push((self.layout.node_data(node).join("cni/10-bridge.conflist"), pretty(&self.cni(node))));
        }
        all
    }

    /// The objects of kube-system.
    pub(crate) fn objects(&self) -> String {
        let corefile = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "coredns", "namespace": "kube-system"},
            "data": {"Corefile": self.corefile()},
        });
        let fixed = include_str!("objects.yaml")
            .replace("DNS_ADDRESS", DNS_ADDRESS)
            .replace("COREDNS_IMAGE", &coredns_image())
            .replace("READY_PERIOD", if self.options.lifelike { "10" } else { "1" });
        format!("{fixed}---\n{}\n", pretty(&corefile))
    }

    fn corefile(&self) -> String {
        let (ttl, cache, reload) = if self.options.lifelike { (30, 30, "reload") } else { (5, 5, "reload 2s 1s") };
        format!(
            ".:53 {{\n    errors\n    health {{\n       lameduck 5s\n    }}\n    ready\n    \
             kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{\n       pods insecure\n       \
             fallthrough in-addr.arpa ip6.arpa\n       ttl {ttl}\n    }}\n    prometheus :9153\n    cache {cache}\n    \
             {reload}\n    loadbalance\n}}\n"
        )
    }

    fn containerd(&self, node: u8) -> String {
        let run = self.layout.node_run(node);
        let quoted = |path: PathBuf| Value::from(text(path)).to_string();
        format!(
            r#"version = 2
root = {root}
state = {state}
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]

[grpc]
  address = {socket}

[plugins."io.containerd.internal.v1.opt"]
  path = {opt}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # A machine without CAP_SYS_RESOURCE cannot lower a score; every sandbox would fail.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = {cni}
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = {registries}
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = {runc}
"#,
            root = quoted(self.layout.node_images(node)),
            state = quoted(run.join("containerd")),
            socket = quoted(self.containerd_socket(node)),
            opt = quoted(self.layout.node_images(node).join("opt")),
            cni = quoted(self.layout.node_data(node).join("cni")),
            registries = quoted(self.registries()),
            runc = quoted(run.join("runc")),
        )
    }

    fn cni(&self, node: u8) -> Value {
        json!({
            "cniVersion": "1.0.0",
            "name": self.layout.node_name(node),
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": true,
                    "ipMasq": false,
                    "hairpinMode": true,
                    "ipam": {
                        "type": "host-local",
                        // Shared between nodes, it hands a freed address out again at once.
                        "dataDir": self.layout.node_run(node).join("addresses"),
                        "ranges": [[{"subnet": format!("10.244.{node}.0/24")}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        })
    }

    fn kubelet(&self, node: u8) -> Value {
        let data = self.layout.node_data(node);
        let mut config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": self.pki("ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}/{}", self.layout.cgroup(), node_namespace(node)),
            "clusterDNS": [DNS_ADDRESS],
            "clusterDomain": CLUSTER_DOMAIN,
            "containerRuntimeEndpoint": format!("unix://{}", text(self.containerd_socket(node))),
            // By amount: a percentage of a large disk, most of it taken by others, would empty the nodes of their images.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "64Mi", "imagefs.available": "64Mi"},
            "failCgroupV1": false,
            "failSwapOn": false,
            // Images are not in a registry: one that is collected is gone.
            "imageGCHighThresholdPercent": 100,
            // As a node has it that was made for one purpose: all that it holds is named. This one holds every test's images,
            // more than the fifty that are named by default, and could not tell which of a deployment's it lacks.
            "nodeStatusMaxImages": -1,
            "podLogsDir": data.join("pods"),
            "resolvConf": self.etc("resolv.conf"),
            "serializeImagePulls": false,
            "tlsCertFile": self.pki(&format!("kubelet-{node}.crt")),
            "tlsPrivateKeyFile": self.pki(&format!("kubelet-{node}.key")),
            "volumePluginDir": data.join("volume-plugins"),
        });
        if !self.options.lifelike {
            let quick = json!({
                "containerLogMaxSize": "1Mi",
                "nodeLeaseDurationSeconds": 20,
                "nodeStatusUpdateFrequency": "4s",
                "syncFrequency": "2s",
            });
            merge(&mut config, quick);
        }
        config
    }

    fn proxy(&self, node: u8) -> Value {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": self.kubeconfig("proxy")},
            "clusterCIDR": POD_RANGE,
            "mode": "iptables",
            "hostnameOverride": self.layout.node_name(node),
            // The parameters may be read-only, and are the whole machine's.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        })
    }

    /// One process.
    pub(crate) fn process(&self, part: Part) -> Process {
        let program = |name: &str| vec![text(&self.programs.kube), name.to_owned()];
        let control_plane = Some(self.layout.namespace(CONTROL_PLANE));
        let on_node = |node: u8| Some(self.layout.namespace(&node_namespace(node)));
        let (namespace, mut command, flags): (_, _, Vec<(&str, String)>) = match part {
            Part::Etcd => (control_plane, program("etcd"), self.etcd_flags()),
            Part::ApiServer => (control_plane, program("kube-apiserver"), self.apiserver_flags()),
            Part::ControllerManager => {
                (control_plane, program("kube-controller-manager"), self.controller_manager_flags())
            }
            Part::Scheduler => {
                let kubeconfig = text(self.kubeconfig("scheduler"));
                let flags = vec![("kubeconfig", kubeconfig), ("leader-elect", "false".into())];
                (control_plane, program("kube-scheduler"), flags)
            }
            Part::Controllers => {
                let (first, last) = self.addresses.load_balancers();
                let flags = vec![
                    ("kubeconfig", text(self.kubeconfig("controllers"))),
                    ("volumes", text(self.layout.data().join("volumes"))),
                    ("first-address", first),
                    ("last-address", last),
                    ("namespaces", text(self.layout.run().join("net"))),
                    ("cluster", self.layout.name().to_owned()),
                ];
                (None, vec![text(&self.programs.helper), "controllers".to_owned()], flags)
            }
            Part::Containerd(node) => {
                let config = self.etc(&format!("containerd-{node}.toml"));
                (on_node(node), vec!["containerd".to_owned()], vec![("config", config), ("log-level", "warn".into())])
            }
            Part::Kubelet(node) => (on_node(node), program("kubelet"), self.kubelet_flags(node)),
            Part::Proxy(node) => {
                let config = self.etc(&format!("proxy-{node}.yaml"));
                (on_node(node), program("kube-proxy"), vec![("config", config)])
            }
            Part::Policies(node) => {
                let flags = vec![
                    ("hostname-override", self.layout.node_name(node)),
                    ("kubeconfig", text(self.kubeconfig("controllers"))),
                    ("service-cluster-ip-range", SERVICE_RANGE.to_owned()),
                ];
                (on_node(node), vec![text(self.policies_program())], flags)
            }
        };
        command.extend(flags.into_iter().map(|(name, value)| format!("--{name}={value}")));
        Process { part, namespace, command }
    }

    fn etcd_flags(&self) -> Vec<(&'static str, String)> {
        vec![
            ("data-dir", text(self.layout.data().join("etcd"))),
            ("listen-client-urls", "http://127.0.0.1:2379".into()),
            ("advertise-client-urls", "http://127.0.0.1:2379".into()),
            ("listen-peer-urls", "http://127.0.0.1:2380".into()),
            ("initial-advertise-peer-urls", "http://127.0.0.1:2380".into()),
            ("initial-cluster", "default=http://127.0.0.1:2380".into()),
            ("log-level", "warn".into()),
            // The data of a test cluster need not outlive the machine, and waiting for the disk costs seconds.
            ("unsafe-no-fsync", "true".into()),
        ]
    }

    fn apiserver_flags(&self) -> Vec<(&'static str, String)> {
        let mut flags = vec![
            ("advertise-address", self.addresses.control_plane()),
            ("allow-privileged", "true".into()),
            ("audit-log-maxbackup", "3".into()),
            ("audit-log-maxsize", "200".into()),
            ("audit-log-path", text(self.layout.audit_log())),
            ("audit-policy-file", self.etc("audit-policy.yaml")),
            ("authorization-mode", "Node,RBAC".into()),
            ("bind-address", "0.0.0.0".into()),
            ("client-ca-file", self.pki("ca.crt")),
            ("enable-admission-plugins", "NodeRestriction".into()),
            ("enable-aggregator-routing", "true".into()),
            ("etcd-servers", "http://127.0.0.1:2379".into()),
            ("kubelet-certificate-authority", self.pki("ca.crt")),
            ("kubelet-client-certificate", self.pki("apiserver-kubelet.crt")),
            ("kubelet-client-key", self.pki("apiserver-kubelet.key")),
            // A node's name resolves nowhere.
            ("kubelet-preferred-address-types", "InternalIP".into()),
            ("profiling", "false".into()),
            ("proxy-client-cert-file", self.pki("front-proxy.crt")),
            ("proxy-client-key-file", self.pki("front-proxy.key")),
            ("requestheader-allowed-names", "front-proxy-client".into()),
            ("requestheader-client-ca-file", self.pki("front-proxy-ca.crt")),
            ("requestheader-extra-headers-prefix", "X-Remote-Extra-".into()),
            ("requestheader-group-headers", "X-Remote-Group".into()),
            ("requestheader-username-headers", "X-Remote-User".into()),
            ("secure-port", "6443".into()),
            ("service-account-issuer", format!("https://kubernetes.default.svc.{CLUSTER_DOMAIN}")),
            ("service-account-key-file", self.pki("service-accounts.pub")),
            ("service-account-signing-key-file", self.pki("service-accounts.key")),
            ("service-cluster-ip-range", SERVICE_RANGE.into()),
            ("tls-cert-file", self.pki("apiserver.crt")),
            ("tls-private-key-file", self.pki("apiserver.key")),
        ];
        if self.options.wide_node_ports {
            flags.push(("service-node-port-range", "3000-32767".into()));
        }
        if !self.options.lifelike {
            flags.push(("default-not-ready-toleration-seconds", "30".into()));
            flags.push(("default-unreachable-toleration-seconds", "30".into()));
        }
        flags
    }

    fn controller_manager_flags(&self) -> Vec<(&'static str, String)> {
        let kubeconfig = text(self.kubeconfig("controller-manager"));
        let mut flags = vec![
            ("authentication-kubeconfig", kubeconfig.clone()),
            ("authorization-kubeconfig", kubeconfig.clone()),
            ("cluster-cidr", POD_RANGE.into()),
            ("kubeconfig", kubeconfig),
            ("leader-elect", "false".into()),
            ("root-ca-file", self.pki("ca.crt")),
            ("service-account-private-key-file", self.pki("service-accounts.key")),
            ("service-cluster-ip-range", SERVICE_RANGE.into()),
            ("use-service-account-credentials", "true".into()),
        ];
        if !self.options.lifelike {
            flags.push(("horizontal-pod-autoscaler-downscale-stabilization", "10s".into()));
            flags.push(("horizontal-pod-autoscaler-sync-period", "2s".into()));
            flags.push(("node-monitor-grace-period", "20s".into()));
            flags.push(("node-monitor-period", "2s".into()));
        }
        flags
    }

    fn kubelet_flags(&self, node: u8) -> Vec<(&'static str, String)> {
        let data = self.layout.node_data(node);
        vec![
            ("cert-dir", text(data.join("pki"))),
            ("config", self.etc(&format!("kubelet-{node}.yaml"))),
            ("hostname-override", self.layout.node_name(node)),
            ("kubeconfig", text(self.kubeconfig(&format!("kubelet-{node}")))),
            ("node-ip", self.addresses.node(node)),
            ("root-dir", text(data.join("kubelet"))),
        ]
    }

    /// A kubeconfig for an identity.
    pub(crate) fn render_kubeconfig(&self, authority: &str, user: &str, identity: &crate::pki::Identity) -> String {
        kubeconfig(self.layout.name(), &self.server(), authority, user, &identity.certificate, &identity.key, None)
    }
}

/// A kubeconfig with everything inside the file; the certificates and the key are PEM.
pub(crate) fn kubeconfig(
    cluster: &str,
    server: &str,
    authority: &str,
    user: &str,
    certificate: &str,
    key: &str,
    namespace: Option<&str>,
) -> String {
    use base64::Engine as _;
    let encode = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
    let namespace = namespace.map(|name| format!("\n    namespace: {name}")).unwrap_or_default();
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: {cluster}
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: {user:?}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: {cluster}
  context:
    cluster: {cluster}
    user: {user:?}{namespace}
current-context: {cluster}
",
        authority = encode(authority),
        certificate = encode(certificate),
        key = encode(key),
    )
}

pub(crate) fn coredns_image() -> String {
    format!("localhost/clearwater-testbed/coredns:{COREDNS_VERSION}")
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(options: Options) -> Plan {
        Plan {
            layout: Layout::below("cw", "/cache".into(), "/run/testbed".into()).unwrap(),
            addresses: Addresses { slot: 0 },
            options,
            programs: Programs {
                kube: "/kube".into(),
                kubectl: "/kubectl".into(),
                helper: "/helper".into(),
                probe: "/probe".into(),
            },
        }
    }

    /// Files and command lines as one text.
    fn shown(plan: &Plan) -> String {
        let files = plan.files().into_iter().map(|(path, content)| format!("### {}\n{content}", path.display()));
        let processes = Part::ALL.into_iter().map(|part| {
            let process = plan.process(part);
            let place = process.namespace.map_or("the host".to_owned(), |file| file.display().to_string());
            format!("### {part} in {place}\n{}\n", process.command.join("\n    "))
        });
        files.chain(processes).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_quick_cluster() {
        insta::assert_snapshot!(shown(&plan(Options::default())));
    }

    /// What a lifelike cluster with wide node ports has differently; everything else is as in the quick one.
    #[test]
    fn a_lifelike_cluster() {
        let quick = shown(&plan(Options::default()));
        let lifelike = shown(&plan(Options { lifelike: true, wide_node_ports: true }));
        let only = |these: &str, others: &str, sign: &str| {
            let others: Vec<&str> = others.lines().collect();
            let lines: Vec<String> = these
                .lines()
                .filter(|line| !others.contains(line))
                .map(|line| format!("{sign} {}", line.trim()))
                .collect();
            lines.join("\n")
        };
        insta::assert_snapshot!(format!("{}\n{}", only(&quick, &lifelike, "-"), only(&lifelike, &quick, "+")));
    }

    #[test]
    fn two_clusters_share_no_path_and_no_address() {
        let one = shown(&plan(Options::default()));
        let other = Plan {
            layout: Layout::below("t1", "/cache".into(), "/run/testbed".into()).unwrap(),
            addresses: Addresses { slot: 1 },
            ..plan(Options::default())
        };
        let other = shown(&other);
        for (text, own, foreign) in [(&one, "cw", "t1"), (&other, "t1", "cw")] {
            assert!(text.contains(&format!("/clusters/{own}/")));
            assert!(!text.contains(&format!("/{foreign}/")));
        }
        assert!(!other.contains("198.18.0."));
    }
}
