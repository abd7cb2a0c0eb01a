//! What answers for the cluster's names: the Service, its pods, and the file that CoreDNS reads.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clearwater::dns::corefile::{Corefile, CorefileError};
use clearwater::dns::ownership::{Mounts, Place};
use clearwater::remedy::{NamesDeed, Remedied, Remedy};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use thiserror::Error;
use tower::BoxError;

use crate::cluster::{CONNECTION, FailedAt, lacks_right, list_all, say};
use crate::judge::policy::exception;
use crate::observe::kubelets;
use crate::pod::object::pod_is_ready;

/// Where most installers have the cluster's DNS.
const USUAL: &str = "kube-system";
/// Where OpenShift has it, and the label of its Service there.
const OPENSHIFT: (&str, &str) = ("openshift-dns", "dns.operator.openshift.io/owning-dns");

/// What needs no name in the cluster's DNS.
pub(crate) const BY_PODS: &str = "let sprout's pods carry the names (`dns: {backend: pods}`)";

/// Why the cluster's DNS cannot be seen, or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClusterDnsError {
    /// The user may not do what is needed.
    #[error("{what}: needs the right to {right}: {}", say(.source.as_ref()))]
    Right {
        /// What it is needed for.
        what: String,
        /// The right, as `patch configmaps in kube-system`.
        right: String,
        /// What the API server said, or what follows from it.
        source: BoxError,
        /// What works without it, where something does.
        instead: Option<Remedy>,
    },
    /// The API server did not answer, or not as it should.
    #[error(transparent)]
    Unreachable(FailedAt),
    /// The cluster's DNS is not where it usually is.
    #[error("{0}")]
    NoServer(String),
}

impl Remedied for ClusterDnsError {
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Right { instead, .. } => instead.clone(),
            Self::Unreachable(failed) => {
                Some(exception(&failed.to_string()).map_or_else(|| CONNECTION.into(), Remedy::from))
            }
            Self::NoServer(_) => {
                let print = Remedy::from(NamesDeed::Print).then(" and put them in by hand");
                Some(Remedy::any([print, BY_PODS.into()]))
            }
        }
    }
}

/// A pod of the cluster's DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DnsPod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) node: String,
    pub(crate) ready: bool,
    pub(crate) running: bool,
    pub(crate) restarts: i32,
    /// Why its container does not run, where it does not.
    pub(crate) waiting: Option<String>,
}

/// The cluster's DNS.
#[derive(Clone, Debug)]
pub(crate) struct ClusterDns {
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) addresses: Vec<IpAddr>,
    /// The port that a pod answers on by TCP.
    pub(crate) port: u16,
    selector: String,
    pub(crate) pods: Vec<DnsPod>,
    /// Where CoreDNS' file is; `None` where the pods do not run CoreDNS.
    pub(crate) file: Option<File>,
    /// What runs in the pods.
    pub(crate) image: String,
}

/// The file that CoreDNS reads.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) place: Place,
    pub(crate) config_map: ConfigMap,
    pub(crate) directory: String,
    pub(crate) mounts: Mounts,
    /// What CoreDNS' environment is known to hold, which the file may name.
    pub(crate) variables: BTreeMap<String, String>,
}

impl File {
    /// The Corefile.
    pub(crate) fn text(&self) -> &str {
        self.config_map.data.as_ref().and_then(|d| d.get(&self.place.key)).map_or("", String::as_str)
    }

    /// The Corefile as this CoreDNS reads it.
    pub(crate) fn corefile(&self) -> Result<Corefile, CorefileError> {
        Corefile::parse_in(self.text(), &self.variables)
    }
}

/// Runs a request, with what it looks at and the right that it needs.
pub(crate) async fn within<T>(
    what: &str,
    right: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ClusterDnsError> {
    request.await.map_err(|error| match error {
        error if lacks_right(&error) => ClusterDnsError::Right {
            what: what.to_owned(),
            right: right.to_owned(),
            source: error.into(),
            instead: None,
        },
        error => ClusterDnsError::Unreachable(FailedAt::new(what, error)),
    })
}

impl ClusterDns {
    /// Looks at the cluster's DNS, its file among it.
    pub(crate) async fn look(client: &Client) -> Result<Self, ClusterDnsError> {
        let (seen, model) = Box::pin(Self::servers_and_model(client)).await?;
        let file = match model.spec.iter().flat_map(|s| &s.containers).find(|c| is_coredns(c)) {
            Some(container) => Some(file(client, &seen.namespace, &model, container).await?),
            None => None,
        };
        Ok(Self { file, ..seen })
    }

    /// Looks at who answers. The file is not read.
    pub(crate) async fn servers(client: &Client) -> Result<Self, ClusterDnsError> {
        Ok(Box::pin(Self::servers_and_model(client)).await?.0)
    }

    /// Also yields the pod that shows how the others are made.
    async fn servers_and_model(client: &Client) -> Result<(Self, Pod), ClusterDnsError> {
        let (namespace, service) = service(client).await?;
        let spec = service.spec.clone().unwrap_or_default();
        let selector: Vec<String> =
            spec.selector.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
        if selector.is_empty() {
            return Err(ClusterDnsError::NoServer(format!(
                "service {namespace}/{} selects no pods: DNS is outside of the cluster",
                service.name_any()
            )));
        }
        let selector = selector.join(",");
        let raw = list_pods(client, &namespace, &selector).await?;
        let Some(model) = newest(&raw).cloned() else {
            return Err(ClusterDnsError::NoServer(format!(
                "no pod stands behind service {namespace}/{}",
                service.name_any()
            )));
        };
        let containers = model.spec.as_ref().map(|s| s.containers.as_slice()).unwrap_or_default();
        let container = containers.iter().find(|c| is_coredns(c));
        let image = container.or(containers.first()).and_then(|c| c.image.clone()).unwrap_or_default();
        let addresses = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).filter_map(|ip| ip.parse().ok());
        let mut addresses: Vec<IpAddr> = addresses.collect();
        addresses.dedup();
        let seen = Self {
            service: service.name_any(),
            addresses,
            port: target_port(&spec, container),
            selector,
            pods: raw.iter().filter_map(dns_pod).collect(),
            file: None,
            image,
            namespace,
        };
        Ok((seen, model))
    }

    /// The pods as they are now.
    pub(crate) async fn pods_now(&self, client: &Client) -> Result<Vec<DnsPod>, ClusterDnsError> {
        Ok(list_pods(client, &self.namespace, &self.selector).await?.iter().filter_map(dns_pod).collect())
    }

    /// An interface to the pods.
    pub(crate) fn api(&self, client: &Client) -> Api<Pod> {
        Api::namespaced(client.clone(), &self.namespace)
    }
}

/// The Service that pods' resolvers are pointed at: by the name and labels that installers give it, else the one whose
/// address kubelets hand to pods.
async fn service(client: &Client) -> Result<(String, Service), ClusterDnsError> {
    let usual = services(client, USUAL, &ListParams::default()).await?;
    if let Some(found) = likeliest(&usual) {
        return Ok((USUAL.to_owned(), found.clone()));
    }
    let (namespace, selector) = OPENSHIFT;
    if let Some(found) = services(client, namespace, &ListParams::default().labels(selector)).await?.into_iter().next()
    {
        return Ok((namespace.to_owned(), found));
    }
    let handed: Vec<IpAddr> = kubelets::cluster_dns(client).await.into_iter().flatten().flatten().collect();
    if !handed.is_empty() {
        let all = Api::<Service>::all(client.clone());
        let all = within("services", "list services in all namespaces", list_all(&all, &ListParams::default())).await?;
        if let Some(found) = all.into_iter().find(|s| handed.iter().any(|ip| has_address(s, *ip))) {
            return Ok((found.namespace().unwrap_or_default(), found));
        }
    }
    Err(ClusterDnsError::NoServer(format!(
        "no Service of the cluster's DNS was found (name kube-dns or label k8s-app=kube-dns or coredns in {USUAL}, \
             {selector} in {namespace}, or the address that kubelets hand to pods)"
    )))
}

async fn services(client: &Client, namespace: &str, params: &ListParams) -> Result<Vec<Service>, ClusterDnsError> {
    let api: Api<Service> = Api::namespaced(client.clone(), namespace);
    let what = format!("services in namespace {namespace}");
    within(&what, &format!("list services in {namespace}"), list_all(&api, params)).await
}

fn has_address(service: &Service, ip: IpAddr) -> bool {
    let spec = service.spec.iter();
    let addresses = spec.flat_map(|s| s.cluster_ips.iter().flatten().chain(&s.cluster_ip));
    addresses.into_iter().any(|a| a.parse() == Ok(ip))
}

/// The Service that is most likely DNS' own. NodeLocal DNSCache makes a second one with the same labels, and charts make
/// one for metrics.
fn likeliest(services: &[Service]) -> Option<&Service> {
    let answers = |s: &Service| s.spec.iter().flat_map(|s| s.ports.iter().flatten()).any(|p| p.port == 53);
    let rank = |s: &Service| {
        let label = |name: &str| s.labels().get(name).map(String::as_str);
        let name = s.metadata.name.as_deref().unwrap_or_default();
        match (name, label("k8s-app")) {
            ("kube-dns", _) => Some(0),
            (_, Some("kube-dns")) => Some(1),
            (_, Some("coredns")) if answers(s) => Some(2),
            _ if answers(s) && (name == "coredns" || label("app.kubernetes.io/name") == Some("coredns")) => Some(3),
            _ => None,
        }
    };
    let ranked = services.iter().filter_map(|s| Some((rank(s)?, !answers(s), s.metadata.name.as_deref(), s)));
    ranked.min_by_key(|(rank, silent, name, _)| (*rank, *silent, *name)).map(|(.., service)| service)
}

async fn list_pods(client: &Client, namespace: &str, selector: &str) -> Result<Vec<Pod>, ClusterDnsError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let what = format!("the DNS pods in namespace {namespace}");
    let params = ListParams::default().labels(selector);
    within(&what, &format!("list pods in {namespace}"), list_all(&api, &params)).await
}

/// The pod that shows how the others are made: during a rollout, and for CoreDNS' `lameduck` after it, old ones are listed
/// beside it with other mounts and arguments.
fn newest(pods: &[Pod]) -> Option<&Pod> {
    pods.iter().max_by_key(|p| (!is_leaving(p), pod_is_ready(p), p.creation_timestamp().map(|t| t.0)))
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

fn is_leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() || matches!(phase(pod), "Succeeded" | "Failed")
}

/// A pod as far as it matters here; `None` for one that is on its way out or has ended.
fn dns_pod(pod: &Pod) -> Option<DnsPod> {
    if is_leaving(pod) {
        return None;
    }
    let status = pod.status.as_ref();
    let containers = || status.iter().flat_map(|s| s.container_statuses.iter().flatten());
    let waiting = containers().find_map(|c| {
        let waiting = c.state.as_ref()?.waiting.as_ref()?;
        Some(match &waiting.message {
            Some(message) => format!("{}: {message}", waiting.reason.clone().unwrap_or_default()),
            None => waiting.reason.clone().unwrap_or_default(),
        })
    });
    Some(DnsPod {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default(),
        ready: pod_is_ready(pod),
        running: phase(pod) == "Running",
        restarts: containers().map(|c| c.restart_count).sum(),
        waiting,
    })
}

fn is_coredns(container: &Container) -> bool {
    let words = || container.command.iter().flatten().chain(container.args.iter().flatten());
    words().any(|w| w == "-conf" || w == "--conf" || w.starts_with("-conf="))
        || container.image.as_deref().is_some_and(|i| i.contains("coredns"))
}

fn target_port(spec: &k8s_openapi::api::core::v1::ServiceSpec, container: Option<&Container>) -> u16 {
    let tcp = spec.ports.iter().flatten().find(|p| p.protocol.as_deref() == Some("TCP") && p.port == 53);
    let named = |name: &str| {
        let ports = container.iter().flat_map(|c| c.ports.iter().flatten());
        ports.into_iter().find(|p| p.name.as_deref() == Some(name)).map(|p| p.container_port)
    };
    let port = match tcp.and_then(|p| p.target_port.as_ref()) {
        Some(IntOrString::Int(port)) => Some(*port),
        Some(IntOrString::String(name)) => named(name),
        None => None,
    };
    port.and_then(|p| u16::try_from(p).ok()).unwrap_or(53)
}

/// The file that the container's `-conf` names, found in the ConfigMap that is mounted there.
async fn file(client: &Client, namespace: &str, pod: &Pod, container: &Container) -> Result<File, ClusterDnsError> {
    let words: Vec<&String> = container.command.iter().flatten().chain(container.args.iter().flatten()).collect();
    let after = words.windows(2).find(|w| *w[0] == "-conf" || *w[0] == "--conf").map(|w| w[1].clone());
    let path = after
        .or_else(|| words.iter().find_map(|w| w.strip_prefix("-conf=")).map(str::to_owned))
        .unwrap_or_else(|| "/etc/coredns/Corefile".to_owned());
    let (directory, base) = path.rsplit_once('/').unwrap_or(("/", &path));
    let mut mounts = Mounts::new();
    let mut own = None;
    for mount in container.volume_mounts.iter().flatten() {
        let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
        let Some(source) = volumes.into_iter().find(|v| v.name == mount.name).and_then(|v| v.config_map.as_ref())
        else {
            continue;
        };
        let at = mount.mount_path.trim_end_matches('/');
        mounts.insert(at.to_owned(), source.name.clone());
        if at == directory {
            let item = source.items.iter().flatten().find(|i| i.path == base);
            own = Some((source.name.clone(), item.map_or_else(|| base.to_owned(), |i| i.key.clone())));
        }
    }
    let Some((name, key)) = own else {
        return Err(ClusterDnsError::NoServer(format!(
            "pod {namespace}/{}: CoreDNS reads {path}, which comes from no ConfigMap",
            pod.name_any()
        )));
    };
    let place = Place { namespace: namespace.to_owned(), name, key };
    let config_map = config_map(client, &place)
        .await?
        .ok_or_else(|| ClusterDnsError::NoServer(format!("{place} is mounted and does not exist")))?;
    let variables = container.env.iter().flatten().filter_map(|v| Some((v.name.clone(), v.value.clone()?))).collect();
    Ok(File { place, config_map, directory: directory.to_owned(), mounts, variables })
}

/// The ConfigMap of a place, where it exists.
pub(crate) async fn config_map(client: &Client, place: &Place) -> Result<Option<ConfigMap>, ClusterDnsError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &place.namespace);
    let right = format!("get configmaps in {}", place.namespace);
    within(&place.to_string(), &right, api.get_opt(&place.name)).await
}

/// Whether NodeLocal DNSCache stands before it on each node (kubernetes `cluster/addons/dns/nodelocaldns`).
pub(crate) async fn has_node_local(client: &Client) -> Result<bool, ClusterDnsError> {
    let api: Api<DaemonSet> = Api::namespaced(client.clone(), USUAL);
    let params = ListParams::default().labels("k8s-app=node-local-dns");
    let what = format!("daemonsets in namespace {USUAL}");
    Ok(!within(&what, &format!("list daemonsets in {USUAL}"), list_all(&api, &params)).await?.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What a policy refuses is no right that is missing, and no connection.
    #[tokio::test]
    async fn who_refuses_is_told_apart() {
        for (message, words) in [
            (r#"configmaps "coredns" is forbidden: User "u" cannot patch resource "configmaps""#, None),
            (
                "ValidatingAdmissionPolicy 'dns' with binding 'b' denied request: ask the network's people",
                Some("have whoever keeps ValidatingAdmissionPolicy dns let this through"),
            ),
            ("not today", Some(CONNECTION)),
        ] {
            let status = kube::core::Status::failure(message, "Forbidden").with_code(403);
            let refused = std::future::ready(Err::<(), _>(kube::Error::Api(status.boxed())));
            let error = within("a file", "patch configmaps", refused).await.unwrap_err();
            assert_eq!(matches!(error, ClusterDnsError::Right { .. }), words.is_none(), "{error}");
            assert_eq!(error.remedy(), words.map(Remedy::from), "{error}");
        }
    }

    fn pod(name: &str, created: &str, ready: bool, deleted: bool) -> Pod {
        let deletion = if deleted { json!("2026-01-01T00:05:00Z") } else { Value::Null };
        serde_json::from_value(json!({
            "metadata": {"name": name, "creationTimestamp": created, "deletionTimestamp": deletion},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
        .unwrap()
    }

    fn named(name: &str, labels: &Value, port: u16) -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
            "spec": {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": [{"port": port}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_service_is_found_by_name_and_by_the_labels_of_installers() {
        let dns = named("kube-dns", &json!({}), 53);
        let labelled = named("dns", &json!({"k8s-app": "kube-dns"}), 53);
        let upstream = named("kube-dns-upstream", &json!({"k8s-app": "kube-dns"}), 53);
        let metrics = named("a-metrics", &json!({"k8s-app": "kube-dns"}), 9153);
        let chart = named("x-coredns", &json!({"k8s-app": "coredns"}), 53);
        let chart_metrics = named("a-coredns-metrics", &json!({"k8s-app": "coredns"}), 9153);
        let newer = named("rke2-coredns", &json!({"app.kubernetes.io/name": "coredns"}), 53);
        let other = named("metrics-server", &json!({"k8s-app": "metrics-server"}), 443);
        for (services, expected) in [
            (vec![&other, &metrics, &upstream, &dns], Some("kube-dns")),
            (vec![&metrics, &labelled], Some("dns")),
            (vec![&chart_metrics, &chart, &other], Some("x-coredns")),
            (vec![&newer, &other], Some("rke2-coredns")),
            (vec![&other, &chart_metrics], None),
        ] {
            let services: Vec<Service> = services.into_iter().cloned().collect();
            assert_eq!(likeliest(&services).map(ResourceExt::name_any).as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn what_kubelets_hand_to_pods_leads_to_a_service_of_any_name() {
        let list = |items: Value| json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items});
        let (cluster, _) = crate::fake_api::cluster(move |path| {
            Some(match path {
                "/api/v1/nodes" => list(json!([{"metadata": {"name": "n"}}])),
                "/api/v1/nodes/n/proxy/configz" => json!({"kubeletconfig": {"clusterDNS": ["10.96.0.10"]}}),
                "/api/v1/services" => {
                    let mut other = named("other", &json!({}), 53);
                    other.spec.as_mut().unwrap().cluster_ips = None;
                    other.spec.as_mut().unwrap().cluster_ip = Some("10.96.0.11".to_owned());
                    let all = [other, named("resolver", &json!({}), 53)];
                    list(json!(all))
                }
                _ => list(json!([])),
            })
        });
        let (namespace, found) = service(&cluster.client).await.unwrap();
        assert_eq!((namespace.as_str(), found.name_any().as_str()), ("kube-system", "resolver"));
    }

    #[test]
    fn what_leaves_or_is_not_ready_does_not_show_how_dns_pods_are_made() {
        let leaving = pod("leaving", "2026-01-01T00:04:00Z", true, true);
        let old = pod("old", "2026-01-01T00:00:00Z", true, false);
        let new = pod("new", "2026-01-01T00:01:00Z", true, false);
        let unready = pod("unready", "2026-01-01T00:03:00Z", false, false);
        let chosen = |pods: &[&Pod]| {
            let pods: Vec<Pod> = pods.iter().copied().cloned().collect();
            newest(&pods).map(ResourceExt::name_any)
        };
        assert_eq!(chosen(&[&leaving, &old, &new, &unready]).as_deref(), Some("new"));
        assert_eq!(chosen(&[&leaving, &unready]).as_deref(), Some("unready"));
        assert_eq!(chosen(&[&leaving]).as_deref(), Some("leaving"));
        assert_eq!(chosen(&[]), None);
    }
}
