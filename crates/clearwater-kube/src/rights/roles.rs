use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::table::{Scope, Task};

/// Where the cluster's DNS runs on most clusters.
pub const CLUSTER_DNS_NAMESPACE: &str = "kube-system";

/// Who is given rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// A user, as the API server's authentication names them.
    User(String),
    /// A group.
    Group(String),
    /// A service account.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Grantee {
    fn object(&self) -> Value {
        let rbac = |kind: &str, name: &str| json!({"kind": kind, "apiGroup": GROUP, "name": name});
        match self {
            Self::User(name) => rbac("User", name),
            Self::Group(name) => rbac("Group", name),
            Self::ServiceAccount { namespace, name } => {
                json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
            }
        }
    }

    /// As a part of an object's name: another one's is another, though names may hold what no name of an object does.
    fn slug(&self) -> String {
        let (Self::User(name) | Self::Group(name) | Self::ServiceAccount { name, .. }) = self;
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let shown: String = name.chars().take(SHOWN).map(plain).collect();
        let shown = shown.trim_matches('-');
        if matches!(self, Self::User(name) if name == shown) {
            return shown.to_owned();
        }
        let digest = Sha256::digest(self.object().to_string());
        let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        [shown, &digest].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
    }
}

/// So much of a name is shown in that of an object.
const SHOWN: usize = 63;

const GROUP: &str = "rbac.authorization.k8s.io";

/// How the names of these objects begin.
const OWN: &str = "clearwater-";

/// The Roles and bindings that give somebody what these tasks take in a namespace, as objects to apply. With `all` also
/// what they could go without.
///
/// Up to three pairs: a Role in the namespace, one where the cluster's DNS runs, and a ClusterRole. No rule is wider than
/// what the tasks ask for, and none names Secrets outside the namespace.
pub fn roles(tasks: &[Task], namespace: &str, all: bool, subject: &Grantee) -> Vec<Value> {
    let slug = subject.slug();
    // An account of ours has that before its name already.
    let is_own = slug.starts_with(OWN) && matches!(subject, Grantee::ServiceAccount { .. });
    let name = if is_own { slug } else { format!("{OWN}{slug}") };
    let mut objects = Vec::new();
    for scope in [Scope::Namespace, Scope::ClusterDns, Scope::Cluster] {
        let rules = rules(tasks, namespace, scope, all);
        if rules.is_empty() {
            continue;
        }
        let (kind, place, name) = match scope {
            Scope::Namespace => ("Role", Some(namespace), name.clone()),
            // One for each namespace whose deployment they look after.
            Scope::ClusterDns => ("Role", Some(CLUSTER_DNS_NAMESPACE), format!("{name}.{namespace}")),
            Scope::Cluster => ("ClusterRole", None, format!("{name}.{namespace}")),
        };
        let mut metadata = json!({"name": name});
        if let Some(place) = place {
            metadata["namespace"] = place.into();
        }
        objects.push(json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata, "rules": rules,
        }));
        objects.push(json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": format!("{kind}Binding"),
            "metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name},
            "subjects": [subject.object()],
        }));
    }
    objects
}

/// Group, verbs, and the one object's name where there is one.
type Grant<'r> = (&'r str, BTreeSet<&'r str>, Option<&'r str>);

/// The rules of a Role: one for all resources of a group that take the same verbs.
fn rules(tasks: &[Task], namespace: &str, scope: Scope, all: bool) -> Vec<Value> {
    let mut verbs: BTreeMap<(&str, &str, Option<&str>), BTreeSet<&str>> = BTreeMap::new();
    let wanted = tasks.iter().flat_map(|t| t.rules()).filter(|r| r.scope == scope && (all || r.without.is_none()));
    for rule in wanted {
        for (&resource, &verb) in
            rule.resources.iter().flat_map(|resource| rule.verbs.iter().map(move |v| (resource, v)))
        {
            // This namespace and no other. A create has no name yet that could be meant.
            let is_own = resource == "namespaces" && verb != "create";
            let name = if is_own { Some(namespace) } else { rule.name };
            verbs.entry((rule.group, resource, name)).or_default().insert(verb);
        }
    }
    // Who may do it to all need not be told of one.
    let of_all = verbs.clone();
    for ((group, resource, name), verbs) in &mut verbs {
        if let Some(all) = of_all.get(&(*group, *resource, None)).filter(|_| name.is_some()) {
            verbs.retain(|verb| !all.contains(verb));
        }
    }
    verbs.retain(|_, verbs| !verbs.is_empty());
    let mut alike: BTreeMap<Grant<'_>, Vec<&str>> = BTreeMap::new();
    for ((group, resource, name), verbs) in verbs {
        alike.entry((group, verbs, name)).or_default().push(resource);
    }
    let rule = |((group, verbs, name), resources)| {
        let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
        if let Some(name) = name {
            rule["resourceNames"] = json!([name]);
        }
        rule
    };
    alike.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_of_the_cluster_names_the_one_namespace() {
        let objects = roles(&[Task::CreateNamespace, Task::DeleteNamespace], "ims", false, &Grantee::User("a".into()));
        let role = objects.iter().find(|o| o["kind"] == "ClusterRole").unwrap();
        let rules = role["rules"].as_array().unwrap();
        for rule in rules {
            let creates = rule["verbs"] == json!(["create"]);
            assert_eq!(rule["resourceNames"] == json!(["ims"]), !creates, "{rule}");
        }
        assert_eq!(rules.len(), 2);
    }

    /// Where two had one name, who is applied last would take the rights of the other.
    #[test]
    fn each_who_is_given_rights_has_objects_of_its_own() {
        let user = |name: &str| Grantee::User(name.to_owned());
        let account =
            |namespace: &str| Grantee::ServiceAccount { namespace: namespace.to_owned(), name: "ann".to_owned() };
        let all = [
            user("ann"),
            user("Ann"),
            user("clearwater-ann"),
            user("ann@example.com"),
            user("ann-example-com"),
            user("-ann-"),
            user("Мария"),
            user("Юлия"),
            user(&"a".repeat(300)),
            user(&"a".repeat(301)),
            Grantee::Group("ann".to_owned()),
            account("ims"),
            account("ci"),
        ];
        let names: BTreeSet<String> = all
            .iter()
            .map(|who| roles(&[Task::Status], "ims", true, who)[0]["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
        let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        for name in &names {
            assert!(name.chars().all(is_inner) && !name.ends_with('-') && name.len() < 100, "{name}");
        }
        assert!(names.contains("clearwater-ann"), "{names:?}");
    }

    #[test]
    fn a_rule_of_one_object_is_no_rule_of_all() {
        let of = |tasks: &[Task]| {
            let objects = roles(tasks, "ims", true, &Grantee::User("a".into()));
            let role = objects.into_iter().find(|o| o["kind"] == "Role").unwrap();
            let rules = role["rules"].as_array().unwrap().clone();
            let patches = |rule: &Value| rule["verbs"].as_array().unwrap().contains(&json!("patch"));
            rules.into_iter().filter(patches).collect::<Vec<_>>()
        };
        let alone =
            json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"], "resourceNames": ["env-vars"]});
        assert_eq!(of(&[Task::Backup]), [alone]);
        assert!(of(&[Task::Backup, Task::Up]).iter().all(|rule| rule["resourceNames"].is_null()));
    }

    #[test]
    fn no_secret_of_another_namespace_is_in_any_role() {
        for task in Task::ALL {
            let beyond = task.rules().filter(|r| r.scope != Scope::Namespace);
            assert!(beyond.flat_map(|r| r.resources).all(|r| *r != "secrets"), "{}", task.name());
        }
    }
}
