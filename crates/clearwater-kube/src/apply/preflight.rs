//! What is looked at before the first write: one line each, with its fix. What cannot be asked is skipped, not failed.

pub(crate) mod admission;
mod balancer;
pub(crate) mod counts;
mod families;
mod host_ports;
mod images;
mod ingress_class;
mod kept;
mod members;
pub(crate) mod nodes;
mod ports;
pub(crate) mod quota;
mod rights;
pub(crate) mod room;
mod secrets;
mod standing;
mod volumes;

use std::collections::BTreeSet;

use clearwater::component::Component;
use clearwater::config::Deployment;
use clearwater::dns::corefile::Corefile;
use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::manifest::{self, Item, MANAGED_BY, MANAGED_BY_LABEL, PodSecurity, SERVICE_LABEL};
use clearwater::remedy::{Permission, Remedy};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};

use super::prepare::{ApplyPlan, LiveState, LiveWorkload, Scope};
use crate::apply::checks::{self, heed, line, unseen, with_fix};
use crate::apply::{ApplyError, refusal};
use crate::cluster::{Cluster, FIELD_MANAGER, LEAVING, list_all, minor_of, until_gone};
use crate::observe::cluster_dns::{ClusterDns, ClusterDnsError};
use crate::observe::snapshot::component_of;
use crate::owner;

/// The oldest Kubernetes whose API is enough.
const OLDEST_MINOR: u32 = 28;
/// How many questions are asked at the same time.
const AT_ONCE: usize = 8;

/// Looks at everything, and yields a line for each, and the components of which nodes lack images. In a namespace that is being
/// removed every further question has that one answer, and none is asked. An error is that of an API server which does not know
/// who asks.
pub(crate) async fn check(
    cluster: &Cluster,
    deployment: &Deployment,
    create_namespace: bool,
    skipped: &[CheckId],
    scope: &Scope,
    standing: &LiveState,
    work: &ApplyPlan,
) -> Result<(Vec<CheckLine>, BTreeSet<Component>), ApplyError> {
    if standing.terminating {
        return Ok((vec![leaving(cluster)], BTreeSet::new()));
    }
    let (version, rights, secrets, pods, quotas, volumes, ingress, foreign, (nodes, lacking), domain, etcd, kept) = futures::join!(
        version(cluster),
        rights::check(cluster, create_namespace, standing, work),
        secrets::check(cluster, deployment.release(), work),
        admission::check(cluster, standing.namespace, work),
        quota::check(cluster, standing, work),
        volumes::check(cluster, deployment.file(), standing, work),
        ingress_class::check(cluster, work),
        foreign(cluster, scope, standing),
        on_nodes(cluster, deployment, standing, work),
        domain(cluster, deployment.cluster_domain()),
        members::check(cluster, deployment.release(), scope, standing),
        kept::check(cluster, standing.namespace, work),
    );
    let mut lines = vec![version, namespace(cluster, create_namespace, standing)];
    lines.extend(rights);
    lines.extend(foreign);
    lines.extend(standing::check(deployment.release(), scope, standing, work));
    heed(&mut lines, skipped);
    if lines.iter().any(|l| l.status == CheckStatus::Refused) {
        // Whatever else there is to say would be about somebody else's objects.
        return Ok((lines, lacking));
    }
    lines.extend(secrets);
    lines.extend(pods?);
    lines.extend(quotas);
    lines.extend(volumes);
    lines.extend(ingress);
    lines.extend(nodes);
    lines.push(domain);
    if scope.parts.iter().any(|p| p.subject.entry.component == Component::Chronos) {
        lines.push(standing.name_servers.line(standing.chronos_name_server()));
    }
    lines.extend(etcd);
    lines.extend(kept);
    Ok((lines, lacking))
}

pub(crate) async fn version(cluster: &Cluster) -> CheckLine {
    let title = "Kubernetes version";
    match cluster.client.apiserver_version().await {
        Ok(version) if version.git_version.is_empty() => {
            line(CheckId::Version, title, CheckStatus::Unseen, "the API server tells none")
        }
        Ok(version) => {
            if minor_of(&version.minor).is_some_and(|m| m < OLDEST_MINOR) && version.major == "1" {
                let seen = line(CheckId::Version, title, CheckStatus::Warning, version.git_version);
                with_fix(seen, format!("1.{OLDEST_MINOR} or later is needed; older ones may refuse objects"))
            } else {
                line(CheckId::Version, title, CheckStatus::Ok, version.git_version)
            }
        }
        Err(error) => unseen(CheckId::Version, title, "get /version", &error),
    }
}

fn namespace_title(cluster: &Cluster) -> String {
    format!("namespace {}", cluster.namespace)
}

/// The one line of a namespace that is being removed: to every further question it is the answer.
pub(crate) fn leaving(cluster: &Cluster) -> CheckLine {
    let seen = line(CheckId::Namespace, namespace_title(cluster), CheckStatus::Failed, LEAVING);
    with_fix(seen, until_gone(&cluster.namespace))
}

fn namespace(cluster: &Cluster, create: bool, standing: &LiveState) -> CheckLine {
    let title = namespace_title(cluster);
    match standing.namespace {
        Some(_) if standing.terminating => leaving(cluster),
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

/// What there is to say of the nodes, and of which components they lack images. They are asked for once, and only where pods,
/// addresses or ports are to come to them.
async fn on_nodes(
    cluster: &Cluster,
    deployment: &Deployment,
    standing: &LiveState,
    work: &ApplyPlan,
) -> (Vec<CheckLine>, BTreeSet<Component>) {
    let (ports, groups) = (ports::to_get(work, standing), nodes::groups(work));
    if groups.is_empty() && work.services_first.balanced.is_empty() && ports.is_empty() {
        return (Vec::new(), BTreeSet::new());
    }
    let listed = list_all(&Api::<Node>::all(cluster.client.clone()), &ListParams::default()).await;
    let nodes = listed.as_deref().unwrap_or_default();
    let lacking = images::lacking(work, nodes);
    let mut lines = nodes::check(&groups, &listed);
    if !(listed.is_ok() && nodes::fit_nowhere(&groups, nodes)) {
        lines.extend(room::check(cluster, work, &listed).await);
    }
    lines.extend(ports::check(cluster, deployment, &ports, nodes).await);
    lines.extend(images::line(work, &lacking, nodes));
    lines.extend(balancer::check(cluster, work, nodes).await);
    (lines, lacking)
}

/// What there is to say of the objects of a plan that was made before their namespace stood, which could not be shown to the API
/// server then. An error is one that says nothing of them.
pub(crate) async fn objects(cluster: &Cluster, work: &ApplyPlan, force: bool) -> Result<Vec<CheckLine>, ApplyError> {
    let items: Vec<Item> = work.all().map(|planned| planned.item.clone()).collect();
    let mut refused = Vec::new();
    for error in super::plan(cluster, &items, true, force).await.into_iter().filter_map(Result::err) {
        if error.is_unseen() {
            return Err(error);
        }
        refused.push(error);
    }
    Ok(checks::refused(&refused))
}

fn foreign_workloads(scope: &Scope, standing: &LiveState) -> BTreeSet<String> {
    let is_foreign = |live: &LiveWorkload<'_>| !owner::has_our_label(live.metadata);
    let is_meant = |live: &LiveWorkload<'_>| live.labelled().is_some_and(|component| scope.has(component));
    let workloads = standing.workloads().filter(|live| is_meant(live) && is_foreign(live));
    let workloads = workloads.map(|live| live.workload().to_string());
    // Its selector cannot be changed, and its pods are not ours.
    let named = scope.parts.iter().flat_map(|part| &part.subject.workloads);
    let named = named.filter(|w| standing.workload(w).as_ref().is_some_and(is_foreign));
    // Taking its selector over would point whoever uses it at our pods.
    let services = standing
        .services
        .iter()
        .filter(|(name, _)| name.parse::<Component>().is_ok_and(|c| scope.has(c)))
        .filter(|(name, o)| {
            let selected = o.spec.as_ref().and_then(|s| s.selector.as_ref()?.get(SERVICE_LABEL));
            !owner::has_our_label(&o.metadata) && selected != Some(*name)
        })
        .map(|(name, _)| format!("service/{name}"));
    workloads.chain(named.map(ToString::to_string)).chain(services).collect()
}

/// Workloads that carry the labels by which components are found and that something else made.
async fn foreign(cluster: &Cluster, scope: &Scope, standing: &LiveState) -> Vec<CheckLine> {
    let title = "what somebody else has under the same labels or names";
    let mut found = foreign_workloads(scope, standing);
    let params = ListParams::default().labels(&format!("{SERVICE_LABEL},{MANAGED_BY_LABEL}!={MANAGED_BY}"));
    let pods = list_all(&cluster.api::<Pod>(), &params).await;
    let unseen = pods.as_ref().err().map(|error| unseen(CheckId::Foreign, title, "list pods", error));
    for pod in pods.unwrap_or_default() {
        let owned = pod.metadata.owner_references.as_ref().is_some_and(|o| !o.is_empty());
        if !owned && component_of(&pod).is_some_and(|c| scope.has(c)) {
            found.insert(format!("pod/{}", pod.name_any()));
        }
    }
    if found.is_empty() {
        return vec![unseen.unwrap_or_else(|| line(CheckId::Foreign, title, CheckStatus::Ok, "there are none"))];
    }
    let names: Vec<String> = found.into_iter().collect();
    let seen = line(CheckId::Foreign, title, CheckStatus::Refused, names.join(", "));
    let remove = Remedy::from("remove these first: their pods would answer for ours");
    let seen = with_fix(seen, Remedy::any([Remedy::ChooseNamespace, remove]));
    unseen.into_iter().chain([seen]).collect()
}

/// Whether the cluster's DNS domain is the one that the names are made with.
pub(crate) async fn domain(cluster: &Cluster, expected: &str) -> CheckLine {
    let of = |status, why| line(CheckId::Domain, format!("cluster domain {expected}"), status, why);
    let skipped = |why: String| of(CheckStatus::Skipped, why);
    match ClusterDns::look(&cluster.client).await {
        Ok(ClusterDns { file: Some(file), .. }) => match file.corefile() {
            Ok(corefile) => served(expected, &corefile),
            Err(error) => skipped(format!("{}: {error}", file.place)),
        },
        Ok(dns) => skipped(format!("the pods of {}/{} run {}, not CoreDNS", dns.namespace, dns.service, dns.image)),
        Err(ClusterDnsError::Right { right, .. }) => skipped(format!("needs {right}")),
        Err(error) => of(CheckStatus::Unseen, error.to_string()),
    }
}

fn served(expected: &str, corefile: &Corefile) -> CheckLine {
    let of = |status, detail: String| line(CheckId::Domain, format!("cluster domain {expected}"), status, detail);
    let (served, unknown) = (corefile.kubernetes_domains(), corefile.unknown_kubernetes_domains());
    if served.iter().any(|d| d == expected) {
        return of(CheckStatus::Ok, String::new());
    }
    if !unknown.is_empty() {
        let variables = unknown.join(", ");
        return of(CheckStatus::Skipped, format!("the Corefile names it by {variables}, whose value is not known"));
    }
    if served.is_empty() {
        return of(CheckStatus::Skipped, "the Corefile has no kubernetes plugin".to_owned());
    }
    with_fix(
        of(CheckStatus::Failed, format!("cluster DNS serves {}", served.join(", "))),
        Remedy::any([
            format!("set clusterDomain: {} in the deployment file", served.join(" or ")).into(),
            Remedy::from(Permission::SkipCheck(CheckId::Domain.name())),
        ]),
    )
}

/// Makes the namespace, with the Pod Security Standard that the deployment's pods keep to. One that somebody else made in
/// the meantime is theirs: its labels are left alone.
pub(crate) async fn create_namespace(cluster: &Cluster, level: PodSecurity) -> Result<(), ApplyError> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&params, &manifest::namespace(&cluster.namespace, level)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(refusal(&format!("namespace/{}", cluster.namespace), error)),
    }
}

#[cfg(test)]
mod tests {
    use clearwater::event::Operation;

    use super::*;

    #[test]
    fn the_domain_is_read_from_the_corefile() {
        let corefile = ".:53 {\n    errors\n    kubernetes cluster.example in-addr.arpa ip6.arpa {\n        pods insecure\n    }\n}\n";
        let judged = |corefile: &str, expected: &str| served(expected, &Corefile::parse(corefile).unwrap()).status;
        assert_eq!(judged(corefile, "cluster.example"), CheckStatus::Ok);
        assert_eq!(judged(corefile, "cluster.local"), CheckStatus::Failed);
        assert_eq!(judged(".:53 {\n forward . 1.1.1.1\n}\n", "cluster.local"), CheckStatus::Skipped);
        let variable = ".:53 {\n kubernetes {$CLUSTER_DOMAIN} in-addr.arpa\n}\n";
        assert_eq!(judged(variable, "cluster.local"), CheckStatus::Skipped);
        let other = "b.example {\n kubernetes b.example\n}\nA.Example:53 {\n kubernetes\n}\n";
        assert_eq!(judged(other, "a.example"), CheckStatus::Ok);
        let line = served("c.example", &Corefile::parse(other).unwrap());
        assert_eq!(line.detail, "cluster DNS serves a.example, b.example");
        let mut lines = [line];
        heed(&mut lines, &[CheckId::Nodes]);
        assert_eq!(lines[0].status, CheckStatus::Failed, "another one was to be skipped");
        heed(&mut lines, &[CheckId::Domain]);
        assert_eq!(lines[0].status, CheckStatus::Skipped);
        assert_eq!(lines[0].detail, "as asked: cluster DNS serves a.example, b.example");
    }

    #[test]
    fn a_service_of_somebody_else_is_not_taken_over() {
        let deployment = clearwater::config::DeploymentFile::default().deploy("ims").unwrap();
        let scope = Scope::of(&deployment, clearwater::order::Policy::default(), &[], &[]).unwrap();
        let service = |labels: serde_json::Value, selector: serde_json::Value| -> k8s_openapi::api::core::v1::Service {
            serde_json::from_value(serde_json::json!({"metadata": {"labels": labels}, "spec": {"selector": selector}}))
                .unwrap()
        };
        let ours = serde_json::json!({MANAGED_BY_LABEL: MANAGED_BY});
        for (name, labels, selector, foreign) in [
            ("etcd", serde_json::json!({}), serde_json::json!({"app": "etcd"}), true),
            ("etcd", serde_json::json!({}), serde_json::Value::Null, true),
            ("etcd", ours, serde_json::json!({"app": "etcd"}), false),
            ("etcd", serde_json::json!({}), serde_json::json!({"service": "etcd"}), false),
            ("database", serde_json::json!({}), serde_json::json!({"app": "etcd"}), false),
        ] {
            let services = [(name.to_owned(), service(labels, selector.clone()))].into();
            let standing = LiveState { services, ..LiveState::default() };
            let found = foreign_workloads(&scope, &standing);
            assert_eq!(found.contains("service/etcd"), foreign, "{name} {selector}: {found:?}");
        }
        // Nor a workload under a component's name, whatever its pods are labelled with.
        for (labels, foreign) in
            [(serde_json::json!({"app": "sprout"}), true), (serde_json::json!({MANAGED_BY_LABEL: MANAGED_BY}), false)]
        {
            let object = serde_json::json!({"metadata": {"name": "sprout", "labels": labels}});
            let deployments = [("sprout".to_owned(), serde_json::from_value(object).unwrap())].into();
            let found = foreign_workloads(&scope, &LiveState { deployments, ..LiveState::default() });
            assert_eq!(found.contains("deployment/sprout"), foreign, "{found:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_planned_for_a_new_namespace_is_shown_to_the_api_server_in_it() {
        let deployment = clearwater::config::DeploymentFile::default().deploy("ims").unwrap();
        let manifest = manifest::render(&deployment, &manifest::Inputs::default()).unwrap();
        let planned = manifest.items().iter().cloned();
        let planned = planned.map(|item| crate::apply::Planned::new(item, None, Operation::Create));
        let work = ApplyPlan { shared: planned.collect(), ..ApplyPlan::default() };
        let cluster = crate::fake_api::refusing(422, "Invalid");
        let lines = objects(&cluster, &work, false).await.unwrap();
        assert!(lines.len() > 20 && lines.iter().all(|line| line.status == CheckStatus::Failed), "{lines:?}");
        let unseen = objects(&crate::fake_api::refusing(503, "ServiceUnavailable"), &work, false).await;
        assert!(unseen.is_err_and(|error| error.is_unseen()));
    }

    #[tokio::test]
    async fn a_namespace_that_is_being_removed_is_named() {
        let cluster = crate::fake_api::refusing(404, "NotFound");
        let mut standing = LiveState { namespace: Some(true), ..LiveState::default() };
        assert_eq!(namespace(&cluster, true, &standing).status, CheckStatus::Ok);
        standing.terminating = true;
        let line = namespace(&cluster, true, &standing);
        assert!(line.status == CheckStatus::Failed && line.detail.contains("Terminating"), "{line:?}");
    }
}
