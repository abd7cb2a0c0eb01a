//! What is looked at before the first write: one line each, with its fix. What cannot be asked is skipped, not failed.

pub(crate) mod admission;
mod members;
mod nodes;
pub(crate) mod quota;
mod rights;
mod secrets;

use std::collections::BTreeSet;

use clearwater::component::Component;
use clearwater::config::Deployment;
use clearwater::dns::corefile::Corefile;
use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::manifest::{self, MANAGED_BY, MANAGED_BY_LABEL, PodSecurity, SERVICE_LABEL};
use clearwater::remedy::{Permission, Remedy};
use k8s_openapi::api::core::v1::{Namespace, Pod, PodTemplateSpec};
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};

use super::prepare::{ApplyPlan, LiveState, Scope};
use crate::apply::checks::{line, with_fix};
use crate::apply::{ApplyError, refusal};
use crate::cluster::{Cluster, FIELD_MANAGER, minor_of, say};
use crate::observe::cluster_dns::{ClusterDns, LookError};
use crate::observe::snapshot::component_of;
use crate::owner;

/// The oldest Kubernetes whose API is enough.
const OLDEST_MINOR: u32 = 28;
/// How many questions are asked at the same time.
const AT_ONCE: usize = 8;

/// Looks at everything, and yields a line for each. An error is that of an API server which does not know who asks.
pub(crate) async fn check(
    cluster: &Cluster,
    deployment: &Deployment,
    create_namespace: bool,
    scope: &Scope,
    standing: &LiveState,
    work: &ApplyPlan,
) -> Result<Vec<CheckLine>, ApplyError> {
    let (version, rights, secrets, pods, quotas, foreign, nodes, domain, etcd) = futures::join!(
        version(cluster),
        rights::check(cluster, create_namespace, standing, work),
        secrets::check(cluster, deployment.release(), work),
        admission::check(cluster, standing, work),
        quota::check(cluster, standing, work),
        foreign(cluster, scope, standing),
        nodes::check(cluster, work),
        domain(cluster, deployment),
        members::check(cluster, scope, standing),
    );
    let mut lines = vec![version, namespace(cluster, create_namespace, standing)];
    lines.extend(rights);
    lines.extend(foreign);
    if lines.iter().any(|l| l.status == CheckStatus::Refused) {
        // Whatever else there is to say would be about somebody else's objects.
        return Ok(lines);
    }
    lines.extend(secrets);
    lines.extend(pods?);
    lines.extend(quotas);
    lines.extend(nodes);
    lines.push(domain);
    if scope.parts.iter().any(|p| p.subject.entry.component == Component::Chronos) {
        lines.push(standing.name_servers.line(standing.chronos_name_server()));
    }
    lines.extend(etcd);
    Ok(lines)
}

async fn version(cluster: &Cluster) -> CheckLine {
    let title = "Kubernetes version";
    match cluster.client.apiserver_version().await {
        Ok(version) => {
            if minor_of(&version.minor).is_some_and(|m| m < OLDEST_MINOR) && version.major == "1" {
                let seen = line(CheckId::Version, title, CheckStatus::Warning, version.git_version);
                with_fix(seen, format!("1.{OLDEST_MINOR} or later is needed; older ones may refuse objects"))
            } else {
                line(CheckId::Version, title, CheckStatus::Ok, version.git_version)
            }
        }
        Err(error) => line(CheckId::Version, title, CheckStatus::Skipped, say(&error)),
    }
}

fn namespace(cluster: &Cluster, create: bool, standing: &LiveState) -> CheckLine {
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

fn foreign_workloads(scope: &Scope, standing: &LiveState) -> BTreeSet<String> {
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
async fn foreign(cluster: &Cluster, scope: &Scope, standing: &LiveState) -> Vec<CheckLine> {
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
}
