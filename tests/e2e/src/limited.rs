//! A user who may do what `rbac` gives, and what they asked the API server for.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clearwater_testbed::{AuditEvent, AuditMark, Cluster, Kubectl, Namespace, Rights};
use serde_json::{Value, json};

use crate::Plugin;

/// A user with the Roles of some tasks. They are taken away when this is dropped.
#[derive(Debug)]
pub struct Limited<'c> {
    cluster: &'c Cluster,
    namespace: String,
    user: String,
    kubeconfig: PathBuf,
    kubectl: Kubectl,
    objects: String,
    /// Rules that must hold, and all that may be used.
    needed: Vec<Value>,
    all: Vec<Value>,
    mark: AuditMark,
}

fn roles(admin: &Plugin, user: &str, tasks: &[&str], minimal: bool) -> Result<Value> {
    let mut args = vec!["rbac"];
    args.extend(tasks);
    args.extend(["--for-user", user, "--output", "json"]);
    if minimal {
        args.push("--minimal");
    }
    Ok(serde_json::from_str(&admin.run(&args)?.expect(0)?.out)?)
}

impl<'c> Limited<'c> {
    /// One who may do these tasks in the namespace: what they cannot do without, or with `all` everything.
    pub fn new(cluster: &'c Cluster, namespace: &Namespace<'_>, name: &str, tasks: &[&str], all: bool) -> Result<Self> {
        let admin = Plugin::new(cluster, namespace.name())?;
        let kubeconfig = namespace.user(name, &Rights::Rules(json!([])))?;
        let user = format!("{name}.{}", namespace.name());
        let (needed, every) = (roles(&admin, &user, tasks, true)?, roles(&admin, &user, tasks, false)?);
        let objects = if all { &every } else { &needed }.to_string();
        let kubectl = cluster.kubectl().clone();
        kubectl.run_with_input(["create", "--filename", "-"], &objects)?;
        let roles = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
        Ok(Self {
            cluster,
            namespace: namespace.name().to_owned(),
            user,
            kubeconfig,
            kubectl,
            objects,
            needed: roles(&needed),
            all: roles(&every),
            mark: cluster.local()?.audit_mark()?,
        })
    }

    /// The plugin as this user runs it.
    pub fn plugin(&self) -> Result<Plugin> {
        Plugin::as_user(&self.kubeconfig, &self.namespace)
    }

    /// What was asked for since the user was made: nothing that the table does not name, and nothing refused that it says
    /// cannot be done without.
    pub fn asked_for_what_the_table_names(&self) -> Result<()> {
        let events = self.cluster.local()?.audit_since(&self.mark, "kubectl-clearwater")?;
        let own = events.iter().filter(|e| e.user.username == self.user && !e.object_ref.resource.is_empty());
        let own: Vec<&AuditEvent> = own.filter(|e| e.object_ref.resource != "selfsubjectaccessreviews").collect();
        ensure!(!own.is_empty(), "the audit log knows nothing of {}", self.user);
        let said = |e: &&AuditEvent| format!("{} {} {}", e.response_status.code, e.verb, e.request_uri);
        let mut unnamed: Vec<String> = own.iter().filter(|e| !allows(&self.all, e)).map(said).collect();
        unnamed.sort();
        unnamed.dedup();
        ensure!(unnamed.is_empty(), "asked for, and not in the table:\n{}", unnamed.join("\n"));
        let refused: Vec<String> =
            own.iter().filter(|e| e.response_status.code == 403 && allows(&self.needed, e)).map(said).collect();
        ensure!(refused.is_empty(), "refused, though the Role has it:\n{}", refused.join("\n"));
        Ok(())
    }
}

impl Drop for Limited<'_> {
    fn drop(&mut self) {
        let _ = self.kubectl.run_with_input(["delete", "--ignore-not-found", "--filename", "-"], &self.objects);
    }
}

/// Whether one of the Roles allows a request.
fn allows(roles: &[Value], event: &AuditEvent) -> bool {
    let object = &event.object_ref;
    let resource = match object.subresource.as_str() {
        "" => object.resource.clone(),
        sub => format!("{}/{sub}", object.resource),
    };
    let has = |list: &Value, what: &str| list.as_array().is_some_and(|all| all.iter().any(|one| one == what));
    roles.iter().any(|role| {
        let here = role["kind"] == "ClusterRole"
            || role["kind"] == "Role" && role["metadata"]["namespace"] == object.namespace.as_str();
        here && role["rules"].as_array().into_iter().flatten().any(|rule| {
            has(&rule["apiGroups"], &object.api_group)
                && has(&rule["resources"], &resource)
                && has(&rule["verbs"], &event.verb)
                && (rule["resourceNames"].is_null() || has(&rule["resourceNames"], &object.name))
        })
    })
}
