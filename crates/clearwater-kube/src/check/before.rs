//! What is looked at before there is a deployment: what `up` would look at before its first write, and the cluster. Whatever of
//! it cannot be looked at has a line that says so.

use std::collections::{BTreeMap, BTreeSet};

use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::Remedied as _;
use clearwater::text::counted;
use futures::join;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim};
use kube::Api;
use tower::BoxError;

use super::facts::Facts;
use super::{CheckOptions, list, rules};
use crate::apply::checks::{beside, line};
use crate::apply::preflight;
use crate::apply::prepare::{ApplyPlan, LiveState, PrepareError, Scope};
use crate::cluster::{Cluster, is_forbidden};
use crate::observe::CouldNotLook;
use crate::observe::given::ZoneSeen;
use crate::observe::snapshot::Snapshot;
use crate::rights::{self, Task};

/// What has a line before there is a deployment, each with what it is called where nothing else has named it.
const EACH: [(CheckId, &str); 17] = [
    (CheckId::Version, "Kubernetes version"),
    (CheckId::Domain, "cluster domain"),
    (CheckId::Nodes, "nodes are ready"),
    (CheckId::Kernel, "kernels of the nodes"),
    (CheckId::Namespace, "the namespace"),
    (CheckId::Rights, "rights in the namespace"),
    (CheckId::Foreign, "what somebody else has under the same labels or names"),
    (CheckId::Quota, "quotas"),
    (CheckId::Objects, "objects of the deployment"),
    (CheckId::Secrets, "secrets that the pods read"),
    (CheckId::Admission, "pods as admission takes them"),
    (CheckId::Images, "images on the nodes"),
    (CheckId::LoadBalancer, "addresses from load balancers"),
    (CheckId::Leftovers, "what earlier deployments left"),
    (CheckId::Ipv6, "address family of the pods"),
    (CheckId::Etcd, "etcd knows the members that run"),
    (CheckId::NameServers, "name servers of chronos' pods"),
];

/// How far the objects were planned, which most of what is looked at needs.
enum Planned {
    /// They were, so many of them, and so many bonos wait for an address.
    Whole { objects: usize, balanced: usize, is_new: bool },
    /// They were not, with why.
    Not(String),
    /// Something else comes first, and nothing was asked about them.
    Aside(String),
    /// The namespace is being removed: to every further question that is the answer.
    Leaving,
}

/// Looks.
pub(super) async fn look(cluster: &Cluster, options: &CheckOptions) -> Result<Vec<CheckLine>, CouldNotLook> {
    let failed = |source: BoxError| CouldNotLook::at(cluster, source);
    let deployment = match &options.deployment {
        Some(deployment) => deployment.clone(),
        None => {
            clearwater::config::DeploymentFile::default().deploy(&cluster.namespace).map_err(|e| failed(e.into()))?
        }
    };
    let scope = Scope::of(&deployment, clearwater::order::Policy::default(), &[], &[]).map_err(|e| failed(e.into()))?;
    let (live, made) = match LiveState::look(cluster).await {
        Ok(live) => {
            let made = ApplyPlan::plan(cluster, &deployment, &scope, &live, false, false).await;
            (live, made)
        }
        // Who may not see what stands can be told what is missing, and of the cluster.
        Err(PrepareError::Look { namespace, source }) if is_forbidden(source.source.as_ref()) => {
            (LiveState::default(), Err(PrepareError::Look { namespace, source }))
        }
        Err(error) => return Err(failed(error.into())),
    };
    let (lines, planned) = match made {
        Ok((work, unplanned)) => {
            let checked =
                Box::pin(preflight::check(cluster, &deployment, true, &options.skip, &scope, &live, &work)).await;
            let (mut lines, _) = checked.map_err(|e| failed(e.into()))?;
            let planned = match lines.iter().find(|line| line.status == CheckStatus::Refused) {
                Some(refused) => Planned::Aside(format!("what is there comes first: {}", refused.detail)),
                None if live.terminating => Planned::Leaving,
                None => Planned::Whole {
                    objects: work.all().count(),
                    balanced: work.services_first.balanced.len(),
                    is_new: live.namespace == Some(false),
                },
            };
            // What an `up` could do about them it does not before that.
            if !matches!(planned, Planned::Aside(_)) {
                beside(&mut lines, unplanned);
            }
            (lines, planned)
        }
        Err(PrepareError::Unseen(error)) => return Err(failed(error.into())),
        Err(error) => {
            let is_unseen = matches!(error, PrepareError::Look { .. });
            let status = if is_unseen { CheckStatus::Unseen } else { CheckStatus::Failed };
            let seen = line(CheckId::Objects, "objects of the deployment", status, error.to_string());
            let (version, domain, rights) = join!(
                preflight::version(cluster),
                preflight::domain(cluster, deployment.cluster_domain()),
                rights::check_all(cluster, Task::Up)
            );
            let seen = CheckLine { fix: error.remedy(), ..seen };
            let lines = [version, domain, seen].into_iter().chain(rights).collect();
            (lines, Planned::Not(format!("the objects of the deployment are not known: {error}")))
        }
    };
    let nodes = list::<Node>(Api::all(cluster.client.clone()), "list nodes", options.timeout);
    let claims = list::<PersistentVolumeClaim>(cluster.api(), "list persistentvolumeclaims", options.timeout);
    let (nodes, claims) = join!(nodes, claims);
    let facts = Facts {
        release: deployment.release(),
        at: Timestamp::now(),
        snapshot: Snapshot { deployments: live.deployments, stateful_sets: live.stateful_sets, ..Snapshot::default() },
        parts: Vec::new(),
        inside: BTreeMap::new(),
        doors: Vec::new(),
        nodes,
        claims,
        cluster: lines,
        zone: ZoneSeen { stands: None, wanted: None },
        zones: BTreeMap::new(),
        secrets_unread: None,
        public_keys: BTreeSet::new(),
        left_out: options.left_out(),
    };
    let lines = rules::before(&facts);
    let told: BTreeSet<CheckId> = lines.iter().map(|line| line.id).collect();
    let nodes = facts.nodes.as_ref().map(|_| ()).map_err(String::as_str);
    let untold = EACH.into_iter().filter(|(id, _)| !told.contains(id));
    let untold: Vec<CheckLine> = untold.map(|(id, title)| untold_line(id, title, &planned, nodes)).collect();
    Ok(rules::in_order(lines.into_iter().chain(untold).collect()))
}

/// The line of a check that said nothing of itself: it could not be made, or there is nothing here that it is about.
fn untold_line(id: CheckId, title: &str, planned: &Planned, nodes: Result<(), &str>) -> CheckLine {
    let unseen = |why: &str| line(id, title, CheckStatus::Unseen, why);
    let aside = |why: &str| line(id, title, CheckStatus::NotApplicable, why);
    let (objects, balanced, is_new) = match planned {
        Planned::Whole { objects, balanced, is_new } => (*objects, *balanced, *is_new),
        Planned::Not(why) => return unseen(why),
        Planned::Aside(why) => return aside(why),
        Planned::Leaving => return aside("the namespace is being removed, which comes first"),
    };
    match (id, nodes) {
        (CheckId::Objects, _) if is_new => aside("shown to the API server once the namespace exists"),
        (CheckId::Objects, _) => {
            line(id, title, CheckStatus::Ok, format!("{}, as the API server takes them", counted(objects, "object")))
        }
        (CheckId::Quota, _) if is_new => aside("the namespace does not exist yet, and has none"),
        (CheckId::Secrets, _) => aside("the pods read none but those that are made with them"),
        (CheckId::Etcd, _) => aside("no store stands"),
        (CheckId::LoadBalancer, _) if balanced == 0 => aside("no Bono waits for an address from one"),
        (CheckId::Images | CheckId::Ipv6 | CheckId::LoadBalancer, Err(why)) => unseen(why),
        (CheckId::Images, Ok(())) | (CheckId::Admission, _) => aside("no pod is to be made"),
        (CheckId::Ipv6, Ok(())) => line(id, title, CheckStatus::Ok, "IPv4 comes first, or no node tells"),
        (CheckId::LoadBalancer, Ok(())) => line(id, title, CheckStatus::Ok, "nothing is seen that waits for a pod"),
        _ => aside("nothing of the deployment is about it"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::check::{Checks, check};
    use crate::fake_api::{self, version};

    async fn looked(object: impl Fn(&str) -> Option<Value> + Clone + Send + 'static) -> Checks {
        let (cluster, _) = fake_api::cluster(object);
        check(&cluster, &CheckOptions::new().before()).await.unwrap()
    }

    fn of(seen: &Checks, id: CheckId) -> Vec<&CheckLine> {
        seen.lines().filter(|line| line.id == id).collect()
    }

    fn is_allowed(path: &str) -> Option<Value> {
        path.ends_with("/selfsubjectaccessreviews").then(|| json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {}, "status": {"allowed": true}}))
    }

    /// A new namespace of a cluster in health: lists are empty, and the cluster's DNS is another one's.
    fn new_namespace(path: &str) -> Option<Value> {
        let node = json!({"metadata": {"name": "one", "labels": {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}},
            "status": {"allocatable": {"cpu": "64", "memory": "256Gi", "pods": "100"},
                "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}],
                "conditions": [{"type": "Ready", "status": "True"}]}});
        match path {
            "/api/v1/nodes" => Some(json!({"metadata": {}, "items": [node]})),
            "/api/v1/namespaces/ims" => None,
            _ if path.rsplit('/').next() == Some("clearwater-keys") => None,
            _ => is_allowed(path).or_else(|| version(path)).or_else(|| Some(json!({"metadata": {}, "items": []}))),
        }
    }

    /// Its claim is named by the Deployment that stands.
    #[tokio::test]
    async fn what_stands_is_no_leftover() {
        let labels = json!({"service": "ellis", "app.kubernetes.io/managed-by": "kubectl-clearwater"});
        let template = json!({"metadata": {"labels": {"service": "ellis"}}, "spec": {"containers": [],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-ellis"}}]}});
        let ellis =
            json!({"metadata": {"name": "ellis", "labels": labels}, "spec": {"selector": {}, "template": template}});
        for stands in [true, false] {
            let (ellis, labels) = (ellis.clone(), labels.clone());
            let seen = looked(move |path| {
                let list = |items: Value| Some(json!({"metadata": {}, "items": items}));
                match path {
                    "/api/v1/namespaces/ims" => Some(json!({"metadata": {"name": "ims"}})),
                    "/apis/apps/v1/namespaces/ims/deployments" if stands => list(json!([ellis])),
                    "/api/v1/namespaces/ims/persistentvolumeclaims" => list(
                        json!([{"metadata": {"name": "data-ellis", "namespace": "ims", "labels": labels}, "spec": {}}]),
                    ),
                    _ => new_namespace(path),
                }
            })
            .await;
            let said = of(&seen, CheckId::Leftovers);
            let is_named = said.iter().any(|line| line.title.contains("data-ellis"));
            assert_eq!(is_named, !stands, "{said:?}");
        }
    }

    #[tokio::test]
    async fn each_check_has_a_line_whatever_may_not_be_seen() {
        let all_hidden: [fn(&str) -> bool; 5] = [
            |_| false,
            |path| path == "/api/v1/nodes",
            |path| path.ends_with("/deployments"),
            |path| path.ends_with("/services"),
            |path| !path.ends_with("/selfsubjectaccessreviews"),
        ];
        for (n, hides) in all_hidden.into_iter().enumerate() {
            let seen = looked(move |path| if hides(path) { Some(Value::Null) } else { new_namespace(path) }).await;
            let untold: Vec<CheckId> =
                EACH.map(|(id, _)| id).into_iter().filter(|id| of(&seen, *id).is_empty()).collect();
            assert!(untold.is_empty(), "{n}: nothing is said of {untold:?}");
            assert_eq!(seen.complete, seen.lines().all(|line| line.status.is_known()), "{n}");
            assert!(seen.lines().all(|line| line.status.is_known() || !line.detail.is_empty()), "{n}: {seen:?}");
            assert!(n < 2 || !seen.complete, "{n}: {seen:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_asked_in_a_namespace_that_is_not_there_yet_is_no_fault() {
        let seen = looked(new_namespace).await;
        for id in [CheckId::Objects, CheckId::Admission, CheckId::Quota] {
            assert_eq!(of(&seen, id)[0].status, CheckStatus::NotApplicable, "{seen:?}");
        }
        // Whose the cluster's DNS is cannot be seen in this one.
        let unseen: BTreeSet<CheckId> = seen.lines().filter(|l| !l.status.is_known()).map(|l| l.id).collect();
        assert!(seen.healthy && unseen.is_subset(&[CheckId::Domain, CheckId::NameServers].into()), "{seen:?}");
    }

    #[tokio::test]
    async fn what_needs_the_nodes_is_unseen_where_they_are() {
        let seen = looked(|path| if path == "/api/v1/nodes" { Some(Value::Null) } else { new_namespace(path) }).await;
        for id in [CheckId::Images, CheckId::Ipv6, CheckId::Nodes, CheckId::Kernel] {
            assert!(
                of(&seen, id).iter().any(|l| !l.status.is_known() && l.detail == "needs list nodes"),
                "{id}: {seen:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_somebody_elses_hides_nothing_in_silence() {
        let seen = looked(|path| match path {
            "/api/v1/namespaces/ims" => Some(json!({"metadata": {}})),
            "/api/v1/namespaces/ims/services" => Some(json!({"metadata": {}, "items": [
                {"metadata": {"name": "etcd"}, "spec": {"selector": {"app": "etcd"}}}]})),
            _ => new_namespace(path),
        })
        .await;
        assert_eq!(of(&seen, CheckId::Foreign)[0].status, CheckStatus::Refused, "{seen:?}");
        for id in [CheckId::Admission, CheckId::Secrets, CheckId::Quota] {
            let [line] = of(&seen, id)[..] else { panic!("{id}: {seen:?}") };
            assert!(line.status == CheckStatus::NotApplicable && line.detail.contains("service/etcd"), "{line:?}");
        }
        // The API server refuses objects of theirs, and no word about that one is followed by an `up`.
        assert!(of(&seen, CheckId::Objects).iter().all(|line| line.status == CheckStatus::NotApplicable), "{seen:?}");
        assert!(seen.lines().all(|line| line.status < CheckStatus::Failed || line.id == CheckId::Foreign), "{seen:?}");
    }
}
