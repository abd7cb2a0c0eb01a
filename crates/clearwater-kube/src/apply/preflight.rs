//! What is looked at before the first write: one line each, with its fix. What cannot be asked is skipped, not failed.

mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::Deployment;
use clearwater::dns::corefile::Corefile;
use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::manifest::{MANAGED_BY, MANAGED_BY_LABEL, Object, SERVICE_LABEL};
use clearwater::remedy::{Permission, Remedy};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, Namespace, Node, Pod, PodSpec, PodTemplateSpec, ResourceQuota, Volume,
};
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};

use super::prepare::{Scope, Standing, Work};
use crate::apply::checks::{line, with_fix};
use crate::apply::{ApplyError, Planned};
use crate::cluster::{Cluster, FIELD_MANAGER, say};
use crate::observe::cluster_dns::{ClusterDns, LookError};
use crate::observe::snapshot::component_of;
use crate::observe::{MembersSeen, etcd, members};
use crate::owner;
use crate::pod::object::{addresses, pod_is_ready, ready_since};
use crate::rights::{self, Right, named};

/// The oldest Kubernetes whose API is enough.
const OLDEST_MINOR: u32 = 28;
/// How many questions are asked at the same time.
const AT_ONCE: usize = 8;
/// The longest that looking into etcd may take.
const ETCD: Duration = Duration::from_secs(4);

/// Looks at everything, and yields a line for each.
pub(crate) async fn check(
    cluster: &Cluster,
    deployment: &Deployment,
    create_namespace: bool,
    scope: &Scope,
    standing: &Standing,
    work: &Work,
) -> Vec<CheckLine> {
    let (version, rights, secrets, pods, quotas, foreign, nodes, domain, etcd) = futures::join!(
        version(cluster),
        rights(cluster, standing, work),
        secrets::check(cluster, deployment.release(), work),
        dry_run_pods(cluster, standing, work),
        quotas(cluster, standing, work),
        foreign(cluster, scope, standing),
        nodes(cluster, work),
        domain(cluster, deployment),
        etcd(cluster, scope, standing),
    );
    let mut lines = vec![version, namespace(cluster, create_namespace, standing)];
    lines.extend(rights);
    lines.extend(foreign);
    if lines.iter().any(|l| l.status == CheckStatus::Refused) {
        // Whatever else there is to say would be about somebody else's objects.
        return lines;
    }
    lines.extend(secrets);
    lines.extend(pods);
    lines.extend(quotas);
    lines.extend(nodes);
    lines.push(domain);
    if scope.parts.iter().any(|p| p.subject.entry.component == Component::Chronos) {
        lines.push(standing.name_servers.line(standing.chronos_name_server()));
    }
    lines.extend(etcd);
    lines
}

/// The number of a minor version, which some distributions end with a plus sign.
fn minor(text: &str) -> Option<u32> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

async fn version(cluster: &Cluster) -> CheckLine {
    let title = "Kubernetes version";
    match cluster.client.apiserver_version().await {
        Ok(version) => {
            if minor(&version.minor).is_some_and(|m| m < OLDEST_MINOR) && version.major == "1" {
                let seen = line(CheckId::Version, title, CheckStatus::Warning, version.git_version);
                with_fix(seen, format!("1.{OLDEST_MINOR} or later is needed; older ones may refuse objects"))
            } else {
                line(CheckId::Version, title, CheckStatus::Ok, version.git_version)
            }
        }
        Err(error) => line(CheckId::Version, title, CheckStatus::Skipped, say(&error)),
    }
}

fn namespace(cluster: &Cluster, create: bool, standing: &Standing) -> CheckLine {
    let title = format!("namespace {}", cluster.namespace);
    match standing.namespace {
        Some(true) => line(CheckId::Namespace, title, CheckStatus::Ok, ""),
        Some(false) if create => line(CheckId::Namespace, title, CheckStatus::Ok, "will be created"),
        Some(false) => with_fix(
            line(CheckId::Namespace, title, CheckStatus::Failed, "it does not exist"),
            Remedy::any([
                Permission::CreateNamespace.into(),
                Remedy::from(format!("kubectl create namespace {}", cluster.namespace)),
            ]),
        ),
        None => line(CheckId::Namespace, title, CheckStatus::Skipped, "needs get namespaces"),
    }
}

/// Rights without which the run cannot be made.
const NEEDED: [Right; 9] = [
    ("list", "", "pods", ""),
    ("watch", "", "pods", ""),
    ("list", "apps", "deployments", ""),
    ("watch", "apps", "deployments", ""),
    ("list", "apps", "statefulsets", ""),
    ("watch", "apps", "statefulsets", ""),
    ("list", "", "services", ""),
    ("watch", "", "services", ""),
    ("get", "", "configmaps", ""),
];

const INSIDE: &str = "programs, answers and names inside the pods";
const MEMBERS: &str = "etcd's health and the members of the stores";

/// From Kubernetes 1.35 on, connections into pods that begin with a GET need this too (kubernetes/kubernetes#136550).
const CONNECTS_SINCE_MINOR: u32 = 35;
const CONNECTS: [(Right, &str); 2] =
    [(("create", "", "pods", "exec"), INSIDE), (("create", "", "pods", "portforward"), MEMBERS)];

/// Rights without which a check cannot be made, with the check.
const USEFUL: [(Right, &str); 5] = [
    (("get", "", "pods", "exec"), INSIDE),
    (("get", "", "pods", "portforward"), MEMBERS),
    (("get", "", "pods", "log"), "last lines of the logs of what failed"),
    (("list", "", "events", ""), "events: why pods wait and what was refused"),
    (("list", "discovery.k8s.io", "endpointslices", ""), "endpoints behind the Services"),
];

/// The resource of a kind of object that is written.
fn resource_of(object: &Object) -> Option<(&'static str, &'static str)> {
    Some(match object {
        Object::ConfigMap(_) => ("", "configmaps"),
        Object::Secret(_) => ("", "secrets"),
        Object::Service(_) => ("", "services"),
        Object::Deployment(_) => ("apps", "deployments"),
        Object::StatefulSet(_) => ("apps", "statefulsets"),
        Object::PodDisruptionBudget(_) => ("policy", "poddisruptionbudgets"),
        Object::Ingress(_) => ("networking.k8s.io", "ingresses"),
        _ => return None,
    })
}

async fn rights(cluster: &Cluster, standing: &Standing, work: &Work) -> Vec<CheckLine> {
    let title = "rights in the namespace";
    // Who may do everything is asked one question.
    match rights::allowed(&cluster.client, &cluster.namespace, ("*", "*", "*", "")).await {
        Ok(true) => return vec![line(CheckId::Rights, title, CheckStatus::Ok, "everything")],
        Ok(false) => {}
        Err(error) => return vec![line(CheckId::Rights, title, CheckStatus::Skipped, say(&error))],
    }
    let mut needed: BTreeSet<Right> = NEEDED.into_iter().collect();
    for planned in work.all().filter(|p| p.operation != Operation::Keep) {
        if let Some((group, resource)) = resource_of(&planned.item.object) {
            needed.insert(("get", group, resource, ""));
            needed.insert(("patch", group, resource, ""));
            // Server-side apply that makes an object needs create as well.
            if planned.operation == Operation::Create {
                needed.insert(("create", group, resource, ""));
            }
        }
    }
    let minor = cluster.client.apiserver_version().await.ok().and_then(|v| minor(&v.minor));
    let connects = CONNECTS.into_iter().filter(|_| minor.is_none_or(|m| m >= CONNECTS_SINCE_MINOR));
    let useful = USEFUL.into_iter().chain(connects).map(|(r, what)| (r, Some(what)));
    let asked: Vec<(Right, Option<&'static str>)> = needed.into_iter().map(|r| (r, None)).chain(useful).collect();
    let questions: Vec<BoxFuture<'_, _>> = asked
        .into_iter()
        .map(|(right, what)| {
            async move { (right, what, rights::allowed(&cluster.client, &cluster.namespace, right).await) }.boxed()
        })
        .collect();
    let answers: Vec<_> = stream::iter(questions).buffered(AT_ONCE).collect().await;
    let mut lines = Vec::new();
    let mut missing = Vec::new();
    for (right, what, answer) in answers {
        match (answer, what) {
            (Ok(true), _) => {}
            (Ok(false), None) => missing.push(named(right)),
            (Ok(false), Some(what)) => {
                lines.push(line(CheckId::Rights, what, CheckStatus::Skipped, format!("needs {}", named(right))));
            }
            (Err(error), _) => {
                lines.push(line(CheckId::Rights, named(right), CheckStatus::Skipped, say(&error)));
            }
        }
    }
    let first = if missing.is_empty() {
        line(CheckId::Rights, title, CheckStatus::Ok, "what is needed")
    } else {
        let seen = line(CheckId::Rights, title, CheckStatus::Failed, format!("missing: {}", missing.join(", ")));
        let where_ = if standing.namespace == Some(false) { " once it exists" } else { "" };
        with_fix(
            seen,
            format!(
                "bind the ClusterRole edit to this user in namespace {}{where_}, or a Role with these rights",
                cluster.namespace
            ),
        )
    };
    lines.insert(0, first);
    lines
}

/// One pod of a workload, with an empty volume for each claim that a StatefulSet would make.
fn sample(object: &Object) -> Option<Pod> {
    let mut pod = object.sample_pod()?;
    if let Object::StatefulSet(set) = object
        && let Some(spec) = pod.spec.as_mut()
    {
        let claims = set.spec.iter().flat_map(|s| s.volume_claim_templates.iter().flatten());
        spec.volumes.get_or_insert_default().extend(claims.map(|claim| Volume {
            name: claim.name_any(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        }));
    }
    Some(pod)
}

/// Asks admission about one pod a workload, so that it speaks now and not in a controller's events.
async fn dry_run_pods(cluster: &Cluster, standing: &Standing, work: &Work) -> Vec<CheckLine> {
    let title = "pods as admission takes them";
    let samples: Vec<(String, Pod)> = work
        .all()
        .filter(|p| p.operation != Operation::Keep)
        .filter_map(|p| Some((p.item.owner.name().to_owned(), sample(&p.item.object)?)))
        .collect();
    if samples.is_empty() {
        return Vec::new();
    }
    if standing.namespace == Some(false) {
        return vec![line(CheckId::Admission, title, CheckStatus::Skipped, "the namespace does not exist yet")];
    }
    admission(cluster, samples).await
}

/// Asks admission about these pods, each with the component it is of.
pub(crate) async fn admission(cluster: &Cluster, samples: Vec<(String, Pod)>) -> Vec<CheckLine> {
    let title = "pods as admission takes them";
    if samples.is_empty() {
        return Vec::new();
    }
    let pods: Api<Pod> = cluster.api();
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let questions: Vec<BoxFuture<'_, _>> = samples
        .into_iter()
        .map(|(name, pod)| {
            let (pods, params) = (pods.clone(), params.clone());
            async move { (name, pods.create(&params, &pod).await) }.boxed()
        })
        .collect();
    let answers: Vec<(String, Result<Pod, kube::Error>)> = stream::iter(questions).buffered(AT_ONCE).collect().await;
    let count = answers.len();
    // One line for each thing that must be done about it: a policy refuses all pods alike.
    let mut refused: BTreeMap<String, (Vec<String>, String)> = BTreeMap::new();
    for (name, answer) in answers {
        let Err(kube::Error::Api(status)) = answer else { continue };
        if status.is_forbidden() && status.message.contains("cannot create resource \"pods\"") {
            return vec![line(CheckId::Admission, title, CheckStatus::Skipped, "needs create pods")];
        }
        // The sum is judged by its own line; a quota that is full for one pod is told here all the same.
        let text = status.message.to_lowercase();
        if text.contains("error looking up service account") {
            continue;
        }
        let fix = if text.contains("violates podsecurity") {
            format!(
                "kubectl label namespace {} pod-security.kubernetes.io/enforce=baseline --overwrite (or take out of the \
                 deployment file what the message names)",
                cluster.namespace
            )
        } else if text.contains("exceeded quota") {
            format!("raise the quota, or lower components.{name}.resources")
        } else {
            format!("set what the message names in components.{name} of the deployment file, or change the policy")
        };
        refused.entry(fix).or_insert_with(|| (Vec::new(), status.message.clone())).0.push(name);
    }
    let mut lines: Vec<CheckLine> = refused
        .into_iter()
        .map(|(fix, (names, message))| {
            let seen = line(CheckId::Admission, format!("{title}: {}", names.join(", ")), CheckStatus::Failed, message);
            with_fix(seen, fix)
        })
        .collect();
    if lines.is_empty() {
        lines.push(line(CheckId::Admission, title, CheckStatus::Ok, format!("{count} dry runs")));
    }
    lines
}

/// What one pod takes of each thing that a quota can count.
pub(crate) fn demand(spec: &PodSpec) -> BTreeMap<String, f64> {
    let mut sum: BTreeMap<String, f64> = BTreeMap::from([("pods".to_owned(), 1.0), ("count/pods".to_owned(), 1.0)]);
    for container in &spec.containers {
        let Some(resources) = &container.resources else { continue };
        for (prefix, map) in [("requests.", &resources.requests), ("limits.", &resources.limits)] {
            for (name, quantity) in map.iter().flatten() {
                let Some(n) = clearwater::quantity::parse(&quantity.0) else { continue };
                *sum.entry(format!("{prefix}{name}")).or_default() += n;
                if prefix == "requests." {
                    *sum.entry(name.clone()).or_default() += n;
                }
            }
        }
    }
    sum
}

/// What making these objects takes in all. A changed Deployment rolls with one pod more than it has.
fn total_demand<'p>(planned: impl Iterator<Item = &'p Planned>) -> BTreeMap<String, f64> {
    let mut sum: BTreeMap<String, f64> = BTreeMap::new();
    for one in planned {
        let object = &one.item.object;
        let pods = match (one.operation, object) {
            (Operation::Create, _) => object.replicas().map_or(0, |r| r.max(0)),
            (Operation::Change, Object::Deployment(_)) => 1,
            _ => 0,
        };
        if let Some(spec) = object.pod_template().and_then(|t: &PodTemplateSpec| t.spec.as_ref()) {
            for (name, n) in demand(spec) {
                *sum.entry(name).or_default() += n * f64::from(pods);
            }
        }
        if one.operation == Operation::Create
            && let Some((group, resource)) = resource_of(object)
        {
            let counted =
                if group.is_empty() { format!("count/{resource}") } else { format!("count/{resource}.{group}") };
            *sum.entry(counted).or_default() += 1.0;
            if group.is_empty() {
                *sum.entry(resource.to_owned()).or_default() += 1.0;
            }
        }
    }
    sum
}

async fn quotas(cluster: &Cluster, standing: &Standing, work: &Work) -> Vec<CheckLine> {
    if standing.namespace == Some(false) {
        return Vec::new();
    }
    let fix = Remedy::any([
        "raise the quota".into(),
        "lower components.NAME.resources in the deployment file".into(),
        Remedy::Skip,
    ]);
    quotas_against(cluster, &total_demand(work.all()), &fix).await
}

/// Compares what will be taken of each thing that a quota can count with what the quotas have left.
pub(crate) async fn quotas_against(cluster: &Cluster, wanted: &BTreeMap<String, f64>, fix: &Remedy) -> Vec<CheckLine> {
    let title = "quotas against the sum of what will be made";
    let quotas = match cluster.api::<ResourceQuota>().list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) => {
            let detail = match &error {
                kube::Error::Api(s) if s.is_forbidden() => "needs list resourcequotas".to_owned(),
                other => say(other),
            };
            return vec![line(CheckId::Quota, title, CheckStatus::Skipped, detail)];
        }
    };
    let mut lines = Vec::new();
    for quota in &quotas {
        let scoped = quota.spec.as_ref().is_some_and(|s| s.scopes.is_some() || s.scope_selector.is_some());
        if scoped {
            continue;
        }
        let status = quota.status.as_ref();
        let hard = status.and_then(|s| s.hard.as_ref()).or(quota.spec.as_ref().and_then(|s| s.hard.as_ref()));
        for (name, limit) in hard.into_iter().flatten() {
            let used = status.and_then(|s| s.used.as_ref()?.get(name)).map_or("0", |q| q.0.as_str());
            let (Some(limit_n), Some(used_n)) =
                (clearwater::quantity::parse(&limit.0), clearwater::quantity::parse(used))
            else {
                continue;
            };
            let need = wanted.get(name).copied().unwrap_or(0.0);
            if need > 0.0 && used_n + need > limit_n * (1.0 + 1e-9) {
                let detail =
                    format!("{name}: {} is needed, {} of {} are left", short(need), short(limit_n - used_n), limit.0);
                let seen = line(CheckId::Quota, format!("quota {}", quota.name_any()), CheckStatus::Failed, detail);
                lines.push(with_fix(seen, fix.clone()));
            }
        }
    }
    if lines.is_empty() {
        let detail = match quotas.len() {
            0 => "there are none".to_owned(),
            n => format!("{n} have room"),
        };
        lines.push(line(CheckId::Quota, title, CheckStatus::Ok, detail));
    }
    lines
}

fn short(n: f64) -> String {
    const MI: f64 = 1024.0 * 1024.0;
    if n >= MI {
        format!("{:.0}Mi", n / MI)
    } else if n.fract().abs() < 1e-9 {
        format!("{n:.0}")
    } else {
        format!("{:.0}m", n * 1000.0)
    }
}

fn foreign_workloads(scope: &Scope, standing: &Standing) -> BTreeSet<String> {
    let taken = |template: Option<&PodTemplateSpec>| {
        let labels = template.and_then(|t| t.metadata.as_ref()?.labels.as_ref());
        let component = labels.and_then(|l| l.get(SERVICE_LABEL)?.parse::<Component>().ok());
        component.is_some_and(|c| scope.has(c))
    };
    let deployments = standing
        .deployments
        .iter()
        .filter(|(_, o)| taken(o.spec.as_ref().map(|s| &s.template)) && !owner::has_our_label(&o.metadata))
        .map(|(name, _)| format!("deployment/{name}"));
    let sets = standing
        .stateful_sets
        .iter()
        .filter(|(_, o)| taken(o.spec.as_ref().map(|s| &s.template)) && !owner::has_our_label(&o.metadata))
        .map(|(name, _)| format!("statefulset/{name}"));
    deployments.chain(sets).collect()
}

/// Workloads that carry the labels by which components are found and that something else made.
async fn foreign(cluster: &Cluster, scope: &Scope, standing: &Standing) -> Vec<CheckLine> {
    let title = "workloads of somebody else under the same labels";
    let mut found = foreign_workloads(scope, standing);
    let params = ListParams::default().labels(&format!("{SERVICE_LABEL},{MANAGED_BY_LABEL}!={MANAGED_BY}"));
    if let Ok(pods) = cluster.api::<Pod>().list(&params).await {
        for pod in pods.items {
            let owned = pod.metadata.owner_references.as_ref().is_some_and(|o| !o.is_empty());
            if !owned && component_of(&pod).is_some_and(|c| scope.has(c)) {
                found.insert(format!("pod/{}", pod.name_any()));
            }
        }
    }
    if found.is_empty() {
        return vec![line(CheckId::Foreign, title, CheckStatus::Ok, "there are none")];
    }
    let names: Vec<String> = found.into_iter().collect();
    let seen = line(CheckId::Foreign, title, CheckStatus::Refused, names.join(", "));
    let remove = Remedy::from("remove these first: their pods would answer for ours");
    vec![with_fix(seen, Remedy::any([Remedy::ChooseNamespace, remove]))]
}

/// Whether there are nodes for the pods' node selectors.
async fn nodes(cluster: &Cluster, work: &Work) -> Vec<CheckLine> {
    let title = "nodes that fit";
    let mut selectors: BTreeMap<BTreeMap<String, String>, Vec<String>> = BTreeMap::new();
    for planned in work.all().filter(|p| p.operation != Operation::Keep) {
        if let Some(spec) = planned.item.object.pod_template().and_then(|t| t.spec.as_ref()) {
            let selector = spec.node_selector.clone().unwrap_or_default();
            selectors.entry(selector).or_default().push(planned.item.owner.name().to_owned());
        }
    }
    if selectors.is_empty() {
        return Vec::new();
    }
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let nodes = match nodes.list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) => {
            let detail = match &error {
                kube::Error::Api(s) if s.is_forbidden() => "needs list nodes".to_owned(),
                other => say(other),
            };
            return vec![line(CheckId::Nodes, title, CheckStatus::Skipped, detail)];
        }
    };
    let ready = |n: &&Node| {
        let conditions = n.status.iter().flat_map(|s| s.conditions.iter().flatten());
        conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
    };
    let open: Vec<&Node> =
        nodes.iter().filter(|n| n.spec.as_ref().is_none_or(|s| s.unschedulable != Some(true))).collect();
    let usable: Vec<&Node> = open.iter().copied().filter(ready).collect();
    let mut lines = Vec::new();
    for (selector, components) in selectors {
        let has = |n: &&&Node| selector.iter().all(|(k, v)| n.labels().get(k) == Some(v));
        if !usable.iter().any(|n| has(&n)) {
            let wanted: Vec<String> = selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let wanted = wanted.join(",");
            let need = format!("which {} need", components.join(", "));
            if let Some(away) = open.iter().find(has) {
                // It may come back: the run waits for it.
                let detail = format!("node {} has {wanted}, {need}, and is not ready now", away.name_any());
                let seen = line(CheckId::Nodes, title, CheckStatus::Warning, detail);
                lines.push(with_fix(seen, "see kubectl describe node; the pods wait until it is back"));
                continue;
            }
            let detail = format!("no ready node has {wanted}, {need}");
            let seen = line(CheckId::Nodes, title, CheckStatus::Failed, detail);
            lines.push(with_fix(
                seen,
                "the public images are built for amd64: add such a node, or set components.NAME.nodeSelector and images for \
                 the nodes there are",
            ));
        }
    }
    if lines.is_empty() {
        lines.push(line(
            CheckId::Nodes,
            title,
            CheckStatus::Ok,
            format!("{} of {} can take pods", usable.len(), nodes.len()),
        ));
    }
    lines
}

/// Whether the cluster's DNS domain is the one that the names are made with.
async fn domain(cluster: &Cluster, deployment: &Deployment) -> CheckLine {
    let expected = deployment.cluster_domain();
    let skipped = |why: String| line(CheckId::Domain, format!("cluster domain {expected}"), CheckStatus::Skipped, why);
    match ClusterDns::look(&cluster.client).await {
        Ok(ClusterDns { file: Some(file), .. }) => match Corefile::parse(file.text()) {
            Ok(corefile) => served(expected, &corefile.kubernetes_domains()),
            Err(error) => skipped(format!("{}: {error}", file.place)),
        },
        Ok(dns) => skipped(format!("the pods of {}/{} run {}, not CoreDNS", dns.namespace, dns.service, dns.image)),
        Err(LookError::Right { right, .. }) => skipped(format!("needs {right}")),
        Err(error) => skipped(error.to_string()),
    }
}

fn served(expected: &str, served: &[String]) -> CheckLine {
    let title = format!("cluster domain {expected}");
    match served.first() {
        None => line(CheckId::Domain, title, CheckStatus::Skipped, "the Corefile has no kubernetes plugin"),
        Some(_) if served.iter().any(|d| d == expected) => line(CheckId::Domain, title, CheckStatus::Ok, ""),
        Some(first) => {
            let seen =
                line(CheckId::Domain, title, CheckStatus::Failed, format!("cluster DNS serves {}", served.join(", ")));
            with_fix(seen, format!("set clusterDomain: {first} in the deployment file"))
        }
    }
}

/// A member of a store that ran before the etcd that runs now.
struct OldMember {
    title: &'static str,
    pod: String,
    addresses: Vec<IpAddr>,
}

/// The etcd pod that is ready, and the members of each store that are older than it, by the store's key.
fn stores(scope: &Scope, pods: &[Pod]) -> Option<(String, BTreeMap<&'static str, Vec<OldMember>>)> {
    let of = |component: Component| pods.iter().filter(move |p| component_of(*p) == Some(component) && pod_is_ready(p));
    let etcd = of(Component::Etcd).next()?;
    let began = etcd.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0);
    let mut stores: BTreeMap<&'static str, Vec<OldMember>> = BTreeMap::new();
    for part in &scope.parts {
        let Some(clustering) = &part.subject.entry.clustering else { continue };
        let older = stores.entry(clustering.etcd_key).or_default();
        for pod in of(part.subject.component()) {
            let addresses = addresses(pod);
            if ready_since(pod) < began && !addresses.is_empty() {
                older.push(OldMember { title: clustering.title, pod: pod.name_any(), addresses });
            }
        }
    }
    Some((etcd.name_any(), stores))
}

/// What there is to say of the stores' lists of members.
fn lists(lists: &[(Vec<OldMember>, MembersSeen)]) -> Vec<CheckLine> {
    let title = "etcd knows the members that run";
    let mut lines = Vec::new();
    let mut lost = Vec::new();
    for (older, read) in lists {
        match read {
            MembersSeen::Read(members) => {
                let gone = older.iter().filter(|m| members::of(members, &m.addresses).is_none());
                lost.extend(gone.map(|m| {
                    let address = m.addresses.first().map(IpAddr::to_string).unwrap_or_default();
                    format!("{} member {address} ({})", m.title, m.pod)
                }));
            }
            MembersSeen::Wrong { key, error } => {
                let seen =
                    line(CheckId::Members, format!("the members in {key}"), CheckStatus::Refused, error.to_string());
                lines.push(with_fix(seen, error.fix(key)));
            }
            MembersSeen::Failed(text) | MembersSeen::Unchecked(text) => {
                lines.push(line(CheckId::Etcd, title, CheckStatus::Skipped, text));
            }
        }
    }
    if !lost.is_empty() {
        let detail = format!("etcd came back empty: it does not have {}", lost.join(", "));
        let seen = line(CheckId::Etcd, title, CheckStatus::Refused, detail);
        lines.push(with_fix(
            seen,
            Remedy::sentence([
                "the stores must be made anew with it: ".into(),
                Remedy::TakeDown(vec![Component::Etcd, Component::Astaire, Component::Chronos, Component::Cassandra]),
                ", then ".into(),
                Remedy::BringUp,
                " (subscribers, registrations and timers are lost)".into(),
            ]),
        ));
    } else if lines.is_empty() && !lists.is_empty() {
        lines.push(line(CheckId::Etcd, title, CheckStatus::Ok, ""));
    }
    lines
}

/// Whether etcd still knows the stores that run, and tells nothing that no cluster manager wrote. One that came back
/// empty would let new members form a second cluster.
async fn etcd(cluster: &Cluster, scope: &Scope, standing: &Standing) -> Vec<CheckLine> {
    let title = "etcd knows the members that run";
    if !standing.stateful_sets.contains_key(Component::Etcd.name()) {
        return Vec::new();
    }
    let params = ListParams::default().labels(&owner::our_label());
    let pods = match cluster.api::<Pod>().list(&params).await {
        Ok(pods) => pods.items,
        Err(error) => return vec![line(CheckId::Etcd, title, CheckStatus::Skipped, say(&error))],
    };
    let Some((etcd, stores)) = stores(scope, &pods).filter(|(_, stores)| !stores.is_empty()) else {
        return Vec::new();
    };
    let (keys, older): (Vec<_>, Vec<_>) = stores.into_iter().unzip();
    let read = etcd::read(cluster, Some(&etcd), &keys, ETCD).await;
    lists(&older.into_iter().zip(read).collect::<Vec<_>>())
}

/// Makes the namespace.
pub(crate) async fn create_namespace(cluster: &Cluster) -> Result<(), ApplyError> {
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(cluster.namespace.clone()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let params = PatchParams::apply(FIELD_MANAGER);
    api.patch(&cluster.namespace, &params, &Patch::Apply(&namespace)).await.map(|_| ()).map_err(|e| {
        ApplyError::Refused {
            object: format!("namespace/{}", cluster.namespace),
            message: say(&e),
            forbidden: matches!(&e, kube::Error::Api(s) if s.is_forbidden()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_read_from_the_corefile() {
        let corefile = ".:53 {\n    errors\n    kubernetes cluster.example in-addr.arpa ip6.arpa {\n        pods insecure\n    }\n}\n";
        let judged = |corefile: &str, expected: &str| {
            served(expected, &Corefile::parse(corefile).unwrap().kubernetes_domains()).status
        };
        assert_eq!(judged(corefile, "cluster.example"), CheckStatus::Ok);
        assert_eq!(judged(corefile, "cluster.local"), CheckStatus::Failed);
        assert_eq!(judged(".:53 {\n forward . 1.1.1.1\n}\n", "cluster.local"), CheckStatus::Skipped);
    }

    #[test]
    fn what_etcd_tells_of_the_stores_is_judged() {
        let old = |address: &str| OldMember {
            title: "Chronos",
            pod: "chronos-0".to_owned(),
            addresses: vec![address.parse().unwrap()],
        };
        let read = |value: &str| {
            let key = "/clearwater/site1/node_type_chronos/clustering/chronos";
            MembersSeen::of(key, Ok(value.to_owned()))
        };
        let judged = |older: Vec<OldMember>, value: &str| {
            let line = lists(&[(older, read(value))]).remove(0);
            (line.status, format!("{} {} {}", line.title, line.detail, line.fix.map(String::from).unwrap_or_default()))
        };
        let normal = r#"{"10.0.0.1": "normal"}"#;
        assert_eq!(judged(vec![old("10.0.0.1")], normal).0, CheckStatus::Ok);
        let (status, said) = judged(vec![old("10.0.0.2")], normal);
        assert!(status == CheckStatus::Refused && said.contains("10.0.0.2 (chronos-0)"), "{said}");
        let (status, said) = judged(Vec::new(), r#"{"; id > /tmp/x #": "normal"}"#);
        assert_eq!(status, CheckStatus::Refused);
        for word in ["node_type_chronos/clustering/chronos", "\"; id > /tmp/x #\"", "somebody else", "etcdctl"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }

    #[test]
    fn rights_are_named_as_roles_name_them() {
        assert_eq!(named(("create", "", "pods", "exec")), "create pods/exec");
        assert_eq!(named(("patch", "apps", "deployments", "")), "patch deployments.apps");
    }
}
