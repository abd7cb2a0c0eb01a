//! What a user must be allowed to do: as a table, as Roles, and as questions to the API server.
//!
//! ```
//! use clearwater_kube::rights::{Grantee, Task, roles};
//!
//! // What somebody has to be given who runs `up` in namespace ims.
//! let objects = roles(&[Task::Up], "ims", true, &Grantee::User("ann".to_owned()));
//! assert!(objects.iter().any(|o| o["kind"] == "RoleBinding" && o["metadata"]["namespace"] == "ims"));
//! ```

mod roles;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::{Remedied, Remedy};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

pub use roles::{CLUSTER_DNS_NAMESPACE, Grantee, roles};
pub use table::{AccessRule, Scope, Task, When};

use crate::cluster::{Cluster, minor, say};

/// How many rights are asked for at the same time.
const AT_ONCE: usize = 8;

/// One thing that may be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) verb: &'static str,
    pub(crate) group: &'static str,
    /// With its subresource.
    pub(crate) resource: &'static str,
    /// The one object that is meant; `None` for all of them.
    name: Option<&'static str>,
}

impl Right {
    pub(crate) const fn new(verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        Self { verb, group, resource, name: None }
    }
}

/// As it is told: `get pods/exec`, `patch deployments.apps`.
impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verb, group, resource, name } = self;
        let dot = if group.is_empty() { "" } else { "." };
        write!(f, "{verb} {resource}{dot}{group}")?;
        name.map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

impl AccessRule {
    fn rights(&self) -> impl Iterator<Item = Right> {
        let of = move |verb, resource| Right { name: self.name, ..Right::new(verb, self.group, resource) };
        let one = move |verb| self.resources.iter().map(move |resource| of(verb, *resource));
        self.verbs.iter().copied().flat_map(one)
    }

    /// Whether it is needed whatever is done, on a cluster of this minor version; on one whose version is not known it
    /// is taken to be.
    fn always(&self, minor: Option<u32>) -> bool {
        match self.when {
            When::Always => true,
            When::Since(first) => minor.is_none_or(|m| m >= first),
            When::If(_) => false,
        }
    }
}

/// Whether the user has a right in a namespace.
async fn allowed(client: &Client, namespace: &str, right: Right) -> Result<bool, kube::Error> {
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
    let own = (resource == "namespaces" && right.verb != "create").then_some(namespace);
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some(right.verb.to_owned()),
                group: Some(right.group.to_owned()),
                resource: Some(resource.to_owned()),
                // Who may touch this one need not be allowed to touch all.
                name: right.name.or(own).map(str::to_owned),
                subresource: Some(subresource.to_owned()).filter(|s| !s.is_empty()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    match answer.status {
        Some(status) => Ok(status.allowed),
        None => Err(kube::Error::Service("the API server does not say whether it is allowed".into())),
    }
}

/// Asks for many rights in a namespace, each with what came.
async fn ask<T: Send>(
    client: &Client,
    namespace: &str,
    rights: impl IntoIterator<Item = (Right, T)>,
) -> Vec<(Right, T, Result<bool, kube::Error>)> {
    let ask = |(right, of)| async move { (right, of, allowed(client, namespace, right).await) }.boxed();
    let questions: Vec<BoxFuture<'_, _>> = rights.into_iter().map(ask).collect();
    stream::iter(questions).buffered(AT_ONCE).collect().await
}

/// Those rights that a task cannot do without at a scope, whatever it does, and that the user has not got there.
///
/// What cannot be asked is taken to be there; the request itself will tell.
pub(crate) async fn missing(client: &Client, namespace: &str, task: Task, scope: Scope) -> Vec<String> {
    missing_of(client, namespace, task.rules().filter(|r| r.scope == scope)).await
}

/// The same of the rules of a task in the namespace, and of connections into pods besides where those are not for all
/// that it does.
#[cfg(feature = "sip")]
pub(crate) async fn missing_with_exec(client: &Client, namespace: &str, task: Task) -> Vec<String> {
    let own = task.rules().filter(|r| r.scope == Scope::Namespace);
    missing_of(client, namespace, own.chain(table::RUN_INSIDE)).await
}

/// Whether the user may run programs in the namespace's pods.
pub(crate) async fn may_run_inside(client: &Client, namespace: &str) -> bool {
    missing_of(client, namespace, table::RUN_INSIDE.iter()).await.is_empty()
}

/// Those rights in the namespace that a task cannot do without, to look and to do these `writes`, and that the user has not got.
pub(crate) async fn missing_to(cluster: &Cluster, task: Task, writes: &BTreeSet<Right>) -> Vec<String> {
    let needed = asked(&[task], writes, minor(&cluster.client).await);
    let needed = needed.into_iter().filter(|(_, without)| without.is_none()).map(|(right, _)| right);
    missing_among(&cluster.client, &cluster.namespace, needed).await
}

async fn missing_of(client: &Client, namespace: &str, rules: impl Iterator<Item = &AccessRule>) -> Vec<String> {
    let minor = minor(client).await;
    let needed: BTreeSet<Right> =
        rules.filter(|r| r.without.is_none() && r.always(minor)).flat_map(AccessRule::rights).collect();
    missing_among(client, namespace, needed).await
}

async fn missing_among(client: &Client, namespace: &str, needed: impl IntoIterator<Item = Right>) -> Vec<String> {
    let answers = ask(client, namespace, needed.into_iter().map(|r| (r, ()))).await;
    answers.into_iter().filter(|(.., has)| matches!(has, Ok(false))).map(|(right, ..)| right.to_string()).collect()
}

/// The user may not do what something takes.
#[derive(Debug, thiserror::Error)]
#[error("namespace {namespace}: needs the right{} to {}", if .missing.len() == 1 { "" } else { "s" }, .missing.join(", "))]
pub struct MissingRights {
    /// The namespace.
    pub namespace: String,
    /// The rights that are missing, as `get pods/exec`.
    pub missing: Vec<String>,
}

impl MissingRights {
    /// `Ok` where nothing is missing.
    pub(crate) fn unless_none(cluster: &Cluster, missing: Vec<String>) -> Result<(), Self> {
        if missing.is_empty() { Ok(()) } else { Err(Self { namespace: cluster.namespace.clone(), missing }) }
    }
}

impl Remedied for MissingRights {
    fn remedy(&self) -> Option<Remedy> {
        Some(grant(&self.namespace))
    }
}

/// What to do where a right is missing.
pub(crate) fn grant(namespace: &str) -> Remedy {
    format!("bind the ClusterRole edit to this user in namespace {namespace}, or a Role with these rights").into()
}

/// Whether the user may do in the namespace what these tasks take: to look, and to do the `writes` that
/// are planned.
pub(crate) async fn check(cluster: &Cluster, tasks: &[Task], writes: &BTreeSet<Right>) -> Vec<CheckLine> {
    let title = "rights in the namespace";
    let line = |title: &str, status, detail: String| {
        let title = title.to_owned();
        CheckLine { id: CheckId::Rights, title, status, detail, fix: None }
    };
    // Who may do everything is asked one question.
    match allowed(&cluster.client, &cluster.namespace, Right::new("*", "*", "*")).await {
        Ok(true) => return vec![line(title, CheckStatus::Ok, "everything".to_owned())],
        Ok(false) => {}
        Err(error) => return vec![line(title, CheckStatus::Unseen, say(&error))],
    }
    let asked = asked(tasks, writes, minor(&cluster.client).await);
    let mut lines = Vec::new();
    let mut missing = Vec::new();
    let mut unseen: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (right, without, answer) in ask(&cluster.client, &cluster.namespace, asked).await {
        match (answer, without) {
            (Ok(true), _) => {}
            (Ok(false), None) => missing.push(right.to_string()),
            (Ok(false), Some(what)) => unseen.entry(what).or_default().push(right.to_string()),
            (Err(error), _) => lines.push(line(&right.to_string(), CheckStatus::Unseen, say(&error))),
        }
    }
    let skipped =
        |(what, rights): (_, Vec<_>)| line(what, CheckStatus::Skipped, format!("needs {}", rights.join(", ")));
    lines.extend(unseen.into_iter().map(skipped));
    let first = if missing.is_empty() {
        line(title, CheckStatus::Ok, "what is needed".to_owned())
    } else {
        CheckLine {
            fix: Some(grant(&cluster.namespace)),
            ..line(title, CheckStatus::Failed, format!("missing: {}", missing.join(", ")))
        }
    };
    lines.insert(0, first);
    lines
}

/// The same, with all that a task may write there whatever is planned.
pub(crate) async fn check_all(cluster: &Cluster, task: Task) -> Vec<CheckLine> {
    let needed = |rule: &&AccessRule| {
        rule.without.is_none() && rule.scope == Scope::Namespace && matches!(rule.when, When::Always)
    };
    let writes = task.rules().filter(needed).flat_map(AccessRule::rights).collect();
    check(cluster, &[task], &writes).await
}

/// The rights to ask for in the namespace, each with what the task goes without where it is missing: what lets it look,
/// what it writes this time, and what nothing but this tells of.
fn asked(tasks: &[Task], writes: &BTreeSet<Right>, minor: Option<u32>) -> BTreeMap<Right, Option<&'static str>> {
    let mut asked = BTreeMap::new();
    for rule in tasks.iter().flat_map(|task| task.rules()) {
        let here = rule.scope == Scope::Namespace && rule.always(minor);
        let wanted = |right: &Right| match rule.without {
            None => writes.contains(right) || here && matches!(right.verb, "list" | "watch"),
            Some(_) => here && !rule.has_own_check,
        };
        for right in rule.rights().filter(wanted) {
            // What one part needs and another could go without is needed.
            let without = asked.entry(right).or_insert(rule.without);
            *without = without.and(rule.without);
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_read_by_their_names() {
        assert!(Task::ALL.into_iter().all(|task| task.name().parse() == Ok(task)));
        let unknown = "upp".parse::<Task>().unwrap_err().to_string();
        assert!(
            unknown.starts_with("unknown task \"upp\", did you mean \"up\"? known: up, create-namespace, "),
            "{unknown}"
        );
    }

    #[test]
    fn rights_are_named_as_roles_name_them() {
        assert_eq!(Right::new("create", "", "pods/exec").to_string(), "create pods/exec");
        assert_eq!(Right::new("patch", "apps", "deployments").to_string(), "patch deployments.apps");
    }

    #[test]
    fn what_is_written_is_asked_for_and_what_is_not_is_not() {
        let patch = Right::new("patch", "", "services");
        let names = |writes: &BTreeSet<Right>, minor| {
            asked(&[Task::Up], writes, minor).into_keys().map(|r| r.to_string()).collect::<BTreeSet<_>>()
        };
        let none = names(&BTreeSet::new(), Some(34));
        assert!(none.contains("watch pods") && !none.contains("patch services"), "{none:?}");
        assert!(!none.contains("create pods/exec"), "{none:?}");
        let some = names(&BTreeSet::from([patch]), Some(35));
        assert!(some.contains("patch services") && !some.contains("patch secrets"), "{some:?}");
        assert!(some.contains("create pods/exec"), "{some:?}");
    }
}
