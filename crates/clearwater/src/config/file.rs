use std::collections::BTreeMap;
use std::net::IpAddr;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::security::{NetworkPolicies, PodSecurityContext, SecurityContext};
use super::{Places, mapping};
use crate::component::{Component, Release};
use crate::names::named;
use crate::yaml;

/// The version of the deployment file's format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum ApiVersion {
    /// The first format.
    #[default]
    #[serde(rename = "clearwater/v1")]
    V1,
}

/// The deployment file `clearwater.yaml`.
///
/// Every key but `apiVersion` has a default, so the smallest file is that one line.
// A field is a key of the file's first level, as many as these are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeploymentFile {
    /// The format: `clearwater/v1`.
    pub api_version: ApiVersion,
    /// The release of Clearwater.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub release: Release,
    /// The namespace to deploy to. A namespace given on the command line wins; without either, the context's, else in a pod its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The cluster's DNS domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_domain: Option<String>,
    /// The DNS zone below which the components' names are looked up: `ZONE`. Default: NAMESPACE.svc.CLUSTERDOMAIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The SIP home domain, where it is not the zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_domain: Option<String>,
    /// Where images come from.
    #[serde(default, skip_serializing_if = "Images::is_default")]
    pub images: Images,
    /// An external home subscriber server. Without it the built-in provisioning is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hss: Option<Hss>,
    /// How Bono is reached by subscribers.
    #[serde(default, skip_serializing_if = "Bono::is_default")]
    pub bono: Bono,
    /// How Ellis is reached by browsers.
    #[serde(default, skip_serializing_if = "Ellis::is_default")]
    pub ellis: Ellis,
    /// How Services answer: with the pods' addresses (`headless`) or with one virtual address (`clusterIP`, classic).
    #[serde(default, skip_serializing_if = "ServiceKind::is_default")]
    pub services: ServiceKind,
    /// The address families of every Service: one, or both with the one that comes first. Default: the cluster's own. Upstream's
    /// images run on IPv4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_families: Vec<IpFamily>,
    /// The virtual addresses of Services that exist already, by component; only with `services: clusterIP`
    /// or `dns: {backend: etcd}`, and only for an offline rendering: `up` looks for itself.
    #[serde(default, rename = "clusterIPs", skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "mapping::by_component::<Vec<IpAddr>>"))]
    pub cluster_ips: BTreeMap<Component, Vec<IpAddr>>,
    /// How names that Kubernetes cannot give are put into DNS.
    #[serde(default, skip_serializing_if = "Dns::is_default")]
    pub dns: Dns,
    /// Settings by component.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "mapping::by_component::<ComponentOverrides>"))]
    pub components: BTreeMap<Component, ComponentOverrides>,
    /// The daemons' log level, 0 (errors only) to 5 (debug). SIP messages are logged from 4. Upstream's default: 2. What
    /// holds no data is restarted for a changed level; a store takes it when its pod is next made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 5)))]
    pub log_level: Option<u8>,
    /// Further `shared_config` settings, appended in key order after the generated ones, which they override. Those
    /// that other keys of this file write are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "mapping::text_of_scalars")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "mapping::scalars"))]
    pub shared_config: BTreeMap<String, String>,
    /// The mail server that Ellis sends password recovery mails through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// The keys that protect sign-up and Ellis.
    #[serde(default, skip_serializing_if = "KeyPolicy::is_default")]
    pub keys: KeyPolicy,
    /// A sidecar that prints the current log file, as upstream's manifests have.
    #[serde(default, skip_serializing_if = "Tailer::is_default")]
    pub tailer: Tailer,
    /// How containers are started.
    #[serde(default, skip_serializing_if = "Start::is_default")]
    pub start: Start,
    /// Where etcd keeps its data: the earlier name of `components.etcd.storage`, which says the same.
    #[serde(default, skip_serializing_if = "Storage::is_default")]
    pub etcd_storage: Storage,
    /// What containers may do, where `components.COMPONENT.securityContext` says nothing: `default`, `hardened`, or
    /// Kubernetes' own mapping.
    #[serde(default, skip_serializing_if = "SecurityContext::is_default")]
    pub security_context: SecurityContext,
    /// What pods may do, where `components.COMPONENT.podSecurityContext` says nothing. Without a `seccompProfile` it is
    /// `RuntimeDefault`.
    #[serde(default, skip_serializing_if = "PodSecurityContext::is_default")]
    pub pod_security_context: PodSecurityContext,
    /// Which NetworkPolicy objects are rendered. They take a network plugin that enforces them.
    #[serde(default, skip_serializing_if = "NetworkPolicies::is_default")]
    pub network_policy: NetworkPolicies,
    /// Labels for every object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations for every object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Where the values were written. Empty for a file that was built in code.
    #[serde(skip)]
    pub places: Places,
}

impl DeploymentFile {
    /// The file as YAML, keys with their defaults left out. Reading it again gives the same file.
    ///
    /// # Errors
    /// A text that YAML cannot hold.
    pub fn to_yaml(&self) -> Result<String, yaml::YamlError> {
        yaml::write_one(self)
    }

    /// What is said of where a component keeps its data.
    pub fn storage(&self, component: Component) -> Storage {
        let own = self.components.get(&component).map(|o| &o.storage).filter(|s| !s.is_default());
        own.or(self.earlier_storage(component)).cloned().unwrap_or_default()
    }

    /// The key under which that is said, or would be.
    pub fn storage_key(&self, component: Component) -> String {
        match self.earlier_storage(component) {
            Some(_) => "etcdStorage".to_owned(),
            None => format!("components.{component}.storage"),
        }
    }

    /// What is said of it under its earlier name.
    fn earlier_storage(&self, component: Component) -> Option<&Storage> {
        (component == Component::Etcd).then_some(&self.etcd_storage).filter(|s| !s.is_default())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_usual(release: &Release) -> bool {
    *release == Release::default()
}

macro_rules! is_default {
    ($($t:ty),*) => {$(
        impl $t {
            pub(crate) fn is_default(&self) -> bool {
                *self == Self::default()
            }
        }
    )*};
}
is_default!(Images, Bono, Ellis, ServiceKind, Dns, KeyPolicy, Tailer, Start, Storage);

/// Where images come from: `REGISTRY/PREFIXcomponent:TAG`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Images {
    /// The registry and path. Default for hunter: `docker.io/ollivier`. There is none for classic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// What precedes the component's name. Default: `clearwater-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The tag. Default for hunter: `hunter`. There is none for classic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// A registry that mirrors all others: it replaces the registry host of every image, etcd's too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// When the kubelet pulls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// The digest that each component's image must have, as `sha256:…`. It is put behind the tag; a registry that has
    /// other bytes under the tag no longer matters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "mapping::by_component::<String>"))]
    pub digests: BTreeMap<Component, String>,
    /// Names of Secrets of type `kubernetes.io/dockerconfigjson` in the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pull_secrets: Vec<String>,
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never.
    Never,
}

/// An external home subscriber server, reached over Diameter Cx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hss {
    /// Its host name: a full name or an address; one without a dot is a name in the zone.
    pub hostname: String,
    /// Its Diameter realm. Default: the zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
}

/// How Bono is reached by subscribers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bono {
    /// The way in.
    #[serde(default)]
    pub exposure: BonoExposure,
    /// Addresses that reach exactly one Bono each on port 5060: pod N takes address N. For `nodePort`, `loadBalancer` and
    /// `externalIPs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// For `hostPort`: the public address of each node, by node name. Without it the node's own address is used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_addresses: BTreeMap<String, IpAddr>,
    /// For `loadBalancer`: one Service for both protocols, or one for TCP and one for UDP.
    #[serde(default, skip_serializing_if = "BonoService::is_default")]
    pub service: BonoService,
    /// Annotations of each Bono's own Services, for `nodePort`, `loadBalancer` and `externalIPs`: what a load balancer's
    /// controller or external-dns reads. `{number}` in a value stands for the pod's number, from 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// For `nodePort`, Bono's or Ellis': the API server's `--service-node-port-range`, such as 3000-32767. Without it
    /// the range is not known; the usual one is 30000-32767.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port_range: Option<String>,
}

/// The way in to Bono.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum BonoExposure {
    /// The pod's own address, through a headless Service.
    #[default]
    Headless,
    /// The node's address, by host ports; one Bono a node.
    HostPort,
    /// A node port a pod.
    NodePort,
    /// A load balancer a pod.
    LoadBalancer,
    /// An address of a node a pod, by its Service's `externalIPs`: what a packet needs is that it comes to the node that
    /// runs the pod. It takes no load balancer and no port of a node.
    #[serde(rename = "externalIPs")]
    ExternalIps,
}

/// How many Services a load-balanced Bono gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum BonoService {
    /// One for TCP and UDP.
    #[default]
    Combined,
    /// One for TCP and one for UDP, for load balancers that cannot mix protocols.
    PerProtocol,
}
is_default!(BonoService);

/// How Ellis is reached by browsers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ellis {
    /// The way in.
    #[serde(default)]
    pub exposure: EllisExposure,
    /// For `nodePort`: the port. Default: chosen by Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
    /// For `ingress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
}

/// The way in to Ellis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum EllisExposure {
    /// None beyond the headless Service: `kubectl port-forward`.
    #[default]
    None,
    /// A node port.
    NodePort,
    /// A load balancer.
    LoadBalancer,
    /// An Ingress.
    Ingress,
}

/// The Ingress in front of Ellis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ingress {
    /// The host name that browsers use.
    pub host: String,
    /// The ingress class. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// The name of the Secret with the certificate; without it there is no TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_secret: Option<String>,
}

/// How Services answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum ServiceKind {
    /// DNS answers with the pods' addresses.
    #[default]
    #[serde(rename = "headless")]
    Headless,
    /// DNS answers with one virtual address.
    #[serde(rename = "clusterIP")]
    ClusterIp,
}

/// An address family, by the name that Services have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum IpFamily {
    /// IPv4.
    IPv4,
    /// IPv6.
    IPv6,
}

named! {
    /// The name that Services have for it.
    IpFamily {
        IPv4 = "IPv4",
        IPv6 = "IPv6",
    }
}

/// How names that Kubernetes cannot give are put into DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    /// The backend. `auto` is `pods` for classic, and nothing for hunter, which needs none.
    #[serde(default)]
    pub backend: DnsBackend,
}

/// A way of putting names into DNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DnsBackend {
    /// The best that the release and the cluster allow.
    #[default]
    Auto,
    /// Host name and subdomain of sprout's own pods.
    Pods,
    /// Rewrites and templates in the cluster's Corefile.
    Coredns,
    /// SkyDNS keys for CoreDNS' etcd plugin.
    Etcd,
    /// EndpointSlices with host names.
    Endpoints,
    /// Nothing is written: the records are printed for DNS elsewhere.
    Print,
}

named! {
    /// The name that it has in the file and on the command line.
    DnsBackend, "backend" {
        Auto = "auto",
        Pods = "pods",
        Coredns = "coredns",
        Etcd = "etcd",
        Endpoints = "endpoints",
        Print = "print",
    }
}

/// Settings of one component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentOverrides {
    /// How many pods it is created with. Afterwards the count belongs to `scale` or to an autoscaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1000)))]
    pub replicas: Option<u32>,
    /// The whole image reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Requests and limits of the component's own container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Labels for the component's objects and pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations for the component's pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The log level of this component's daemons, in place of the file's `logLevel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 5)))]
    pub log_level: Option<u8>,
    /// Where it keeps what it holds, for etcd, cassandra (subscribers and their settings) and ellis (accounts).
    #[serde(default, skip_serializing_if = "Storage::is_default")]
    pub storage: Storage,
    /// What the component's containers may do, in place of the file's `securityContext`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// What the component's pods may do, in place of the file's `podSecurityContext`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Further environment variables of the component's container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "mapping::text_of_scalars")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "mapping::scalars"))]
    pub env: BTreeMap<String, String>,
}

/// Requests and limits, as Kubernetes quantities ("250m", "512Mi").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// What the scheduler reserves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "mapping::text_of_scalars")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "mapping::quantities"))]
    pub requests: BTreeMap<String, String>,
    /// What the container may not exceed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "mapping::text_of_scalars")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "mapping::quantities"))]
    pub limits: BTreeMap<String, String>,
}

/// A toleration, as in a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Toleration {
    /// The taint's key; without it every key, with operator `Exists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `Exists` or `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["Exists", "Equal", null])))]
    pub operator: Option<String>,
    /// The taint's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The taint's effect. Without it every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["NoSchedule", "PreferNoSchedule", "NoExecute", null])))]
    pub effect: Option<String>,
    /// How long a `NoExecute` taint is tolerated, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// The mail server that Ellis sends through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Email {
    /// The server, as HOST or HOST:PORT: `smtp_smarthost`.
    pub smarthost: String,
    /// The user to log in as: `smtp_username`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password, by reference, because it never stands in this file: `smtp_password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("x-secret" = true)))]
    pub password: Option<SecretKey>,
    /// The sender of mails: `email_recovery_sender`. Default: clearwater@HOMEDOMAIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
}

/// One key of a Secret in the deployment's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret's name.
    pub secret: String,
    /// The key in its data.
    pub key: String,
}

/// The keys that protect sign-up and Ellis: `signup_key`, `turn_workaround`, `ellis_api_key`, `ellis_cookie_key`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum KeyPolicy {
    /// Made at random when the deployment is created, kept in a Secret.
    #[default]
    Random,
    /// Upstream's public default, `secret`, which the live tests expect.
    Upstream,
    /// Taken from a Secret that exists, under the setting's own names.
    Secret(String),
}

/// Whether a sidecar prints the current log file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Tailer {
    /// No sidecar.
    #[default]
    None,
    /// A sidecar from the component's own image.
    Sidecar,
}

/// How containers are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Start {
    /// Whether pods are made so that `up` can hold their programs: it then makes all pods at once, and lets each one's
    /// programs go when what they need serves. Without it a pod is made no sooner than that. Default: true.
    #[serde(default = "Start::holds")]
    pub hold: bool,
}

impl Start {
    const fn holds() -> bool {
        true
    }
}

impl Default for Start {
    fn default() -> Self {
        Self { hold: Self::holds() }
    }
}

/// Where a component keeps what it holds: on a volume that outlives its pod, or in the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Storage {
    /// Whether there is a volume. `None` is `auto`, which is a volume where the cluster has a default StorageClass, or
    /// one is named; offline: none. What stands already is left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "mapping::truth_or_auto")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "mapping::persistent"))]
    pub persistent: Option<bool>,
    /// The StorageClass. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// The size of each pod's volume, as a Kubernetes quantity. Default: 1Gi, Cassandra's 10Gi: its log alone may take 1 GB
    /// for each processor of the node, up to 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
}
