//! What the objects of the API say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clearwater::component::Component;
use clearwater::config::DnsBackend;
use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::manifest::{MANAGED_BY, SERVICE_LABEL, held};
use clearwater::quantity;
use clearwater::remedy::{NamesDeed, Remedy};
use clearwater::text::counted;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::DeploymentSpec;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::Endpoint;
use kube::ResourceExt;

use super::super::facts::Facts;
use super::Said;
use crate::judge::{Outdated, SetField, put_back, set_by_others, started};
use crate::observe::Workload;
use crate::observe::snapshot::{Kind, SLICE_WRITER_LABEL, component_by};
use crate::observe::subject::all_workloads;
use crate::pod::object::{addresses, claims, claims_of, containers, is_pull_refused, own_container};

/// memcached keeps 512 MB, and needs some for itself (clearwater-docker `astaire/memcached.supervisord.conf`).
const CACHE: f64 = 700.0 * 1024.0 * 1024.0;
/// Why a container ended that took more than its limit, as kubelets say it.
const OUT_OF_MEMORY: &str = "OOMKilled";
/// That a container was started again is told for so long.
const LATELY_SECONDS: i64 = 60 * 60;
/// Who writes the EndpointSlices of Services that select pods (kubernetes `pkg/controller/endpointslice/endpointslice_controller.go`).
const OF_KUBERNETES: &str = "endpointslice-controller.k8s.io";
/// The name under which restund asks for credentials.
const TURN_ALIAS: &str = "hs";

/// What can be looked at before there is a deployment.
pub(super) fn before(facts: &Facts) -> Vec<CheckLine> {
    [nodes(facts), kernel(facts), leftovers(facts)].concat()
}

/// What is looked at where one stands.
pub(super) fn lines(facts: &Facts) -> Vec<CheckLine> {
    let rules = [images, revision, endpoints, load_balancer, host_network, memory, turn, restarts, etcd_data]
        .map(|rule| rule(facts));
    rules.concat()
}

fn condition(node: &Node, name: &str) -> Option<bool> {
    let mut all = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    all.find(|c| c.type_ == name).map(|c| c.status == "True")
}

fn nodes(facts: &Facts) -> Vec<CheckLine> {
    let mut said = Said::new(CheckId::Nodes, "nodes are ready");
    let carries = !facts.nodes_used().is_empty();
    for node in facts.nodes().unwrap_or_else(|why| said.nothing(why)) {
        let name = node.name_any();
        if condition(node, "Ready") != Some(true) {
            let status = if carries { CheckStatus::Failed } else { CheckStatus::Warning };
            said.wrong(status, &name, "it is not ready", format!("kubectl describe node {name} tells why"));
        }
        for pressure in ["DiskPressure", "MemoryPressure", "PIDPressure"] {
            if condition(node, pressure) == Some(true) {
                let fix = "make room on it before its kubelet evicts pods";
                said.wrong(CheckStatus::Warning, &format!("{name}, {pressure}"), "its kubelet reports it", fix);
            }
        }
    }
    said.lines("")
}

/// Major and minor number.
fn version(kernel: &str) -> Option<(u32, u32)> {
    let mut numbers = kernel.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// A node's kernel, where overlay file systems of its age break what Clearwater does on them.
pub(super) fn old_kernel(node: &Node) -> Option<&str> {
    let kernel = &*node.status.as_ref()?.node_info.as_ref()?.kernel_version;
    version(kernel).is_some_and(|v| v < (4, 0)).then_some(kernel)
}

fn kernel(facts: &Facts) -> Vec<CheckLine> {
    let mut said = Said::new(CheckId::Kernel, "kernels of the nodes");
    for node in facts.nodes().unwrap_or_else(|why| said.nothing(why)) {
        if let Some(kernel) = old_kernel(node) {
            let detail = format!(
                "{kernel}: on overlay file systems of kernels before 4, supervisord's socket and Cassandra's start break"
            );
            said.wrong(CheckStatus::Warning, &node.name_any(), detail, "run on nodes with a newer kernel");
        }
    }
    said.lines("")
}

/// So long a claim may stand before the workload that it is made for: an `up` makes it first.
const COMING: SignedDuration = SignedDuration::from_mins(10);

/// Whether a claim is one that nothing was kept on yet, or that is being made for what is to stand.
fn is_coming(claim: &PersistentVolumeClaim, at: Timestamp) -> bool {
    let pending = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending");
    pending || claim.creation_timestamp().is_some_and(|made| at.duration_since(made.0) < COMING)
}

fn leftovers(facts: &Facts) -> Vec<CheckLine> {
    let mut said = Said::new(CheckId::Leftovers, "what earlier deployments left");
    let standing: BTreeSet<Component> =
        facts.snapshot.stateful_sets.values().filter_map(|s| component_by(&s.metadata)).collect();
    // A Deployment names its claim.
    let templates =
        facts.snapshot.deployments.values().filter_map(|d| held::<DeploymentSpec>(&d.spec)?.template.spec.as_ref());
    let named: BTreeSet<&str> = templates.flat_map(claims_of).collect();
    for claim in facts.claims.as_deref().unwrap_or_else(|why| said.nothing(why)) {
        let Some(component) = component_by(&claim.metadata).filter(|c| !standing.contains(c)) else { continue };
        if claim.metadata.name.as_deref().is_some_and(|name| named.contains(name)) || is_coming(claim, facts.at) {
            continue;
        }
        let name = format!("persistentvolumeclaim/{}", claim.name_any());
        let detail = format!("data of {component}, which does not stand: the next one begins with them");
        let of = claim.namespace().map_or_else(String::new, |namespace| format!(" -n {namespace}"));
        said.wrong(
            CheckStatus::Warning,
            &name,
            detail,
            format!("kubectl delete {name}{of}, where they are not wanted"),
        );
    }
    said.lines("there is nothing")
}

fn tag(component: Component, pod: &Pod) -> Option<&str> {
    let image = own_container(pod.spec.as_ref()?, component)?.image.as_deref()?;
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains('@') { None } else { Some(name.split_once(':').map_or("latest", |(_, tag)| tag)) }
}

fn images(facts: &Facts) -> Vec<CheckLine> {
    let mut said = Said::new(CheckId::Images, "images are of one release");
    let mut tags: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    // etcd's image is not one of Clearwater's.
    for (component, pod) in facts.all_pods().filter(|(c, _)| *c != Component::Etcd) {
        // One that cannot be pulled is told where pods are awaited, and nobody runs it.
        if facts.tells(CheckId::Workloads) && is_pull_refused(pod) {
            said.told_by(CheckId::Workloads);
            continue;
        }
        if let Some(tag) = tag(component, pod) {
            tags.entry(tag).or_default().insert(component.name());
        }
    }
    let listed =
        |(tag, of): (&&str, &BTreeSet<&str>)| format!("{tag}: {}", of.iter().copied().collect::<Vec<_>>().join(", "));
    if tags.len() > 1 {
        let detail = tags.iter().map(listed).collect::<Vec<_>>().join("; ");
        let workloads: Vec<Workload> = all_workloads(&facts.snapshot).map(|(_, workload)| workload).collect();
        let by_hand =
            set_by_others(&facts.snapshot, &workloads, SetField::Image).map(|by| put_back(SetField::Image, by));
        let fix = by_hand.unwrap_or_else(|| "run all components from the images of one release".into());
        said.wrong(CheckStatus::Warning, "", detail, fix);
    }
    said.lines(tags.keys().copied().collect::<String>())
}

fn revision(facts: &Facts) -> Vec<CheckLine> {
    let mut said = Said::new(CheckId::Revision, "pods are of their workload's revision");
    for part in facts.parts.iter().filter(|p| p.judged.pending > 0) {
        let detail = format!("{} of its pods run an older one", part.judged.pending);
        let fix = facts.renewal(part.component).remedy(part.component);
        said.wrong(CheckStatus::Warning, part.component.name(), detail, fix);
    }
    for part in &facts.parts {
        let (by_zone, others): (Vec<&Outdated>, Vec<&Outdated>) =
            part.judged.outdated.iter().partition(|o| facts.is_told_by_zone(&o.pod));
        if !by_zone.is_empty() {
            said.told_by(CheckId::Zone);
        }
        if !others.is_empty() {
            let fix = facts.renewal(part.component).remedy(part.component);
            said.wrong(CheckStatus::Warning, part.component.name(), started(others), fix);
        }
    }
    if let Some(why) = no_workloads(facts) {
        said.unseen(why);
    }
    if let Some(why) = &facts.secrets_unread {
        said.unseen(format!("whether pods run with what their Secrets hold now: {why}"));
    }
    said.lines("")
}

/// The Services that point at pods of a component.
pub(super) fn services(facts: &Facts) -> impl Iterator<Item = (&str, Component, &Service)> {
    facts.snapshot.services.iter().filter_map(|(name, service)| {
        let selected = service.spec.as_ref()?.selector.as_ref()?.get(SERVICE_LABEL)?;
        Some((name.as_str(), selected.parse().ok()?, service))
    })
}

/// Addresses that somebody put behind a component's Service, and that no pod has: who is led there waits in vain.
fn endpoints(facts: &Facts) -> Vec<CheckLine> {
    let mut said = Said::new(CheckId::Workloads, "Services lead to pods alone");
    let own: BTreeSet<IpAddr> = facts.snapshot.pods.values().flat_map(addresses).collect();
    for (service, component, _) in services(facts).filter(|(_, component, _)| facts.part(*component).is_some()) {
        for slice in facts.snapshot.slices_of(service) {
            let writer = slice.labels().get(SLICE_WRITER_LABEL).map(String::as_str);
            // It follows the pods, and is late for a moment and no more.
            if writer == Some(OF_KUBERNETES) {
                continue;
            }
            let endpoints = held::<Vec<Endpoint>>(&slice.endpoints).into_iter().flatten();
            let foreign = endpoints.flat_map(|e| &e.addresses).filter(|a| a.parse().is_ok_and(|ip| !own.contains(&ip)));
            let foreign: Vec<&str> = foreign.map(String::as_str).collect();
            if foreign.is_empty() {
                continue;
            }
            let name = slice.name_any();
            let detail = format!(
                "it leads whoever asks Service {service} for {component} to {}, which no pod here has",
                foreign.join(", ")
            );
            let fix = if writer == Some(MANAGED_BY) {
                NamesDeed::Put { namespace: None, backend: Some(DnsBackend::Endpoints), clients: false }.into()
            } else {
                let namespace = facts.namespace();
                Remedy::from(format!(
                    "kubectl delete endpointslice -n {namespace} {name}: Kubernetes keeps slices of its own"
                ))
            };
            said.wrong(CheckStatus::Failed, &format!("endpointslice/{name}"), detail, fix);
        }
    }
    // What is well, or could not be seen, is told by who looks for the pods.
    said.bad
}

/// Why the workloads could not be seen.
pub(super) fn no_workloads(facts: &Facts) -> Option<String> {
    let kinds = [Kind::Deployment, Kind::StatefulSet];
    kinds.into_iter().find_map(|kind| facts.snapshot.blind(kind))
}

/// Why Services could not be seen.
pub(super) fn no_services(facts: &Facts) -> Option<String> {
    facts.snapshot.blind(Kind::Service)
}

fn load_balancer(facts: &Facts) -> Vec<CheckLine> {
    let mut said = Said::new(CheckId::LoadBalancer, "load balancers give addresses");
    said.unseen.extend(no_services(facts));
    let mut count = 0;
    for (name, _, service) in services(facts) {
        let Some(spec) = service.spec.as_ref().filter(|s| s.type_.as_deref() == Some("LoadBalancer")) else { continue };
        count += 1;
        let given = service.status.as_ref().and_then(|s| s.load_balancer.as_ref()?.ingress.as_ref());
        if given.is_none_or(Vec::is_empty) {
            let protocols: BTreeSet<&str> =
                spec.ports.iter().flatten().map(|p| p.protocol.as_deref().unwrap_or("TCP")).collect();
            let fix = if protocols.len() > 1 {
                "its load balancer may not take TCP and UDP together: make a Service for each"
            } else {
                "the cluster needs something that gives addresses to Services of type LoadBalancer"
            };
            said.wrong(CheckStatus::Failed, &format!("service/{name}"), "it has no address", fix);
        }
    }
    said.lines(if count == 0 { "there are none" } else { "" })
}

fn host_network(facts: &Facts) -> Vec<CheckLine> {
    let mut said = Said::new(CheckId::HostNetwork, "pods have a network of their own");
    for (component, pod) in facts.all_pods() {
        if pod.spec.as_ref().is_some_and(|s| s.host_network == Some(true)) {
            let detail = match component {
                Component::Etcd => "its ports 2379, 2380 and 4001 meet those of the node's own etcd",
                _ => "its ports meet those of the node and of the next deployment",
            };
            said.wrong(CheckStatus::Warning, &pod.name_any(), detail, "leave hostNetwork out of the pod");
        }
    }
    said.lines("")
}

fn memory(facts: &Facts) -> Vec<CheckLine> {
    let mut said = Said::new(CheckId::Memory, "memory is enough");
    let mut tight = BTreeSet::new();
    for (component, pod) in facts.all_pods() {
        let killed = containers(pod).find(|(c, _)| {
            let ended = c.last_state.as_ref().and_then(|s| s.terminated.as_ref());
            ended.and_then(|e| e.reason.as_deref()) == Some(OUT_OF_MEMORY)
        });
        if let Some((container, _)) = killed {
            let detail = format!("container {} was ended at its limit (OOMKilled)", container.name);
            said.wrong(CheckStatus::Warning, &pod.name_any(), detail, "give it a higher limit of memory");
        }
        let own = pod.spec.as_ref().and_then(|spec| own_container(spec, component));
        let limit = own.and_then(|c| c.resources.as_ref()?.limits.as_ref()?.get("memory"));
        let caches = matches!(component, Component::Astaire | Component::Memcached);
        let low = limit.and_then(|l| quantity::parse(&l.0)).is_some_and(|bytes| bytes < CACHE);
        if caches && low && tight.insert(component) {
            let detail = "memcached takes 512 MB and something for itself, more than its limit";
            said.wrong(CheckStatus::Warning, component.name(), detail, "set its limit of memory to 700Mi or more");
        }
    }
    said.lines("")
}

fn turn(facts: &Facts) -> Vec<CheckLine> {
    if facts.pods(Component::Bono).is_empty() {
        return Vec::new();
    }
    let mut said = Said::new(CheckId::Turn, "restund finds TURN's credentials");
    said.unseen.extend(no_services(facts));
    if said.unseen.is_empty() && !facts.snapshot.services.contains_key(TURN_ALIAS) {
        let detail =
            "it asks hs.ZONE, whatever homestead is called, and there is no Service hs: it gives nobody a relay";
        let by_hand = "make a Service hs that selects homestead, port 8888".into();
        said.wrong(CheckStatus::Warning, "", detail, Remedy::any([Remedy::BringUp, by_hand]));
    }
    said.lines("")
}

fn restarts(facts: &Facts) -> Vec<CheckLine> {
    let mut said = Said::new(CheckId::Restarts, "containers were not started again");
    for (_, pod) in facts.all_pods() {
        for (container, _) in containers(pod).filter(|(c, _)| c.restart_count > 0) {
            let Some(ended) = container.last_state.as_ref().and_then(|s| s.terminated.as_ref()) else { continue };
            let Some(at) = ended.finished_at.as_ref().map(|t| t.0) else { continue };
            if facts.at.duration_since(at).as_secs() >= LATELY_SECONDS {
                continue;
            }
            let is_large = ended.reason.as_deref() == Some(OUT_OF_MEMORY);
            let name = pod.name_any();
            let elsewhere = if is_large {
                Some(CheckId::Memory)
            } else if facts.is_told_by_zone(&name) {
                Some(CheckId::Zone)
            } else {
                facts.broken(&name)
            };
            if let Some(other) = elsewhere.filter(|other| facts.tells(*other)) {
                said.told_by(other);
            } else {
                let detail = format!(
                    "container {} was, {}, last after {} with code {}",
                    container.name,
                    counted(container.restart_count, "time"),
                    ended.reason.as_deref().unwrap_or("its end"),
                    ended.exit_code
                );
                let fix = Remedy::sentence([
                    "where a probe found it late, give it more CPU or the probe more time; else see what it says: "
                        .into(),
                    Remedy::Status,
                ]);
                said.wrong(CheckStatus::Warning, &pod.name_any(), detail, fix);
            }
        }
    }
    said.lines("none in the last hour")
}

fn etcd_data(facts: &Facts) -> Vec<CheckLine> {
    let pods = facts.pods(Component::Etcd);
    if pods.is_empty() {
        return Vec::new();
    }
    let mut said = Said::new(CheckId::EtcdData, "where etcd keeps the lists of members");
    let kept = pods.iter().all(|p| claims(p).next().is_some());
    // Whatever stands beside one that names no other, it begins by itself.
    let is_alone = |pod: &&Pod| {
        let own = pod.spec.as_ref().and_then(|spec| own_container(spec, Component::Etcd));
        let mut words = own.into_iter().flat_map(|own| own.command.iter().chain(&own.args).flatten());
        words.any(|word| word.strip_prefix("--initial-cluster=").is_some_and(|members| !members.contains(',')))
    };
    if pods.len() > 1 && pods.iter().all(is_alone) {
        let detail = format!(
            "{} pods, and each is an etcd of its own: members of a store that ask two of them do not find each other",
            pods.len()
        );
        let fix = Remedy::Scale { component: Component::Etcd, to: Some(1) };
        said.wrong(CheckStatus::Failed, "", detail, fix);
    } else if pods.len() > 1 && !kept {
        let detail = format!("{} members without volumes: they lose the lists where most of them restart", pods.len());
        said.wrong(CheckStatus::Warning, "", detail, "run one etcd, or give each a volume");
    }
    said.lines(if kept { "on a volume" } else { "in its pod: when that goes, the stores must be made anew with it" })
}
