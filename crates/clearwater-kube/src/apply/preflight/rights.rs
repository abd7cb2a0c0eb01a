//! Whether the user may do what the run needs.

use std::collections::BTreeSet;

use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::manifest::Object;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};

use super::super::checks::{line, with_fix};
use super::super::prepare::{ApplyPlan, LiveState};
use super::{AT_ONCE, minor};
use crate::cluster::{Cluster, say};
use crate::rights::{self, Right, named};

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
pub(super) fn resource_of(object: &Object) -> Option<(&'static str, &'static str)> {
    Some(match object {
        Object::ConfigMap(_) => ("", "configmaps"),
        Object::Secret(_) => ("", "secrets"),
        Object::Service(_) => ("", "services"),
        Object::Deployment(_) => ("apps", "deployments"),
        Object::StatefulSet(_) => ("apps", "statefulsets"),
        Object::PodDisruptionBudget(_) => ("policy", "poddisruptionbudgets"),
        Object::Ingress(_) => ("networking.k8s.io", "ingresses"),
        Object::NetworkPolicy(_) => ("networking.k8s.io", "networkpolicies"),
        _ => return None,
    })
}

pub(super) async fn check(cluster: &Cluster, standing: &LiveState, work: &ApplyPlan) -> Vec<CheckLine> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_named_as_roles_name_them() {
        assert_eq!(named(("create", "", "pods", "exec")), "create pods/exec");
        assert_eq!(named(("patch", "apps", "deployments", "")), "patch deployments.apps");
    }
}
