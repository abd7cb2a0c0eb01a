//! What a test works with: a cluster, and a namespace of its own in it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Local, program_images};
use crate::host::find_program;
use crate::image::Archive;
use crate::kubectl::Kubectl;
use crate::layout::Layout;
use crate::pki::Authority;
use crate::plan::{Options, kubeconfig};
use crate::programs::Program;

/// Environment variable with the context of a cluster to use in place of the test bed's.
pub const CONTEXT_VARIABLE: &str = "CLEARWATER_TESTBED_CONTEXT";
/// Environment variable with the kubeconfig of [`CONTEXT_VARIABLE`]; else kubectl's own rules hold.
pub const KUBECONFIG_VARIABLE: &str = "CLEARWATER_TESTBED_KUBECONFIG";
/// Environment variable that keeps namespaces when tests end, to look at what went wrong.
pub const KEEP_VARIABLE: &str = "CLEARWATER_TESTBED_KEEP";

/// The cluster that tests run on: the test bed's, or one that exists.
#[derive(Debug)]
pub struct Cluster {
    local: Option<Local>,
    kubectl: Kubectl,
}

impl Cluster {
    /// The cluster that the environment names, started when it is the test bed's and does not run.
    pub fn get() -> Result<Self> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let (context, file) = (variable(CONTEXT_VARIABLE), variable(KUBECONFIG_VARIABLE));
        if context.is_some() || file.is_some() {
            return Self::attach(file.as_deref().map(Path::new), context.as_deref());
        }
        let name = Layout::name_from_environment();
        let options = Local::open(&name).map_or_else(|_| Options::default(), |local| local.plan.options);
        Ok(Local::up(&name, options, &|_| ())?.into())
    }

    /// A cluster that exists, by kubeconfig and context; without them, the ones kubectl would use.
    pub fn attach(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self> {
        let program = Program::Kubectl
            .cached()
            .or_else(|| find_program("kubectl"))
            .context("the program kubectl is not in PATH, and none was built yet")?;
        let kubectl = Kubectl::new(program, kubeconfig.map(Path::to_owned), context.map(str::to_owned));
        kubectl.run(["get", "--raw=/version"]).context("the cluster does not answer")?;
        Ok(Self { local: None, kubectl })
    }

    /// The cluster of the test bed, to do things to that need the machine below it.
    pub fn local(&self) -> Result<&Local> {
        self.local.as_ref().with_context(|| {
            format!("this needs the test bed's own cluster: unset {CONTEXT_VARIABLE} and {KUBECONFIG_VARIABLE}")
        })
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// A namespace that goes away with the guard.
    pub fn namespace(&self, prefix: &str) -> Result<Namespace<'_>> {
        self.namespace_with(prefix, &NamespaceOptions::default())
    }

    /// A namespace with a quota, or with a Pod Security level.
    pub fn namespace_with(&self, prefix: &str, options: &NamespaceOptions) -> Result<Namespace<'_>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let time = jiff::Timestamp::now().as_millisecond() % 100_000_000;
        let name = format!("{prefix}-{time:x}-{count}");
        let mut labels = json!({"clearwater.test/namespace": "yes"});
        if let Some(level) = options.pod_security {
            labels["pod-security.kubernetes.io/enforce"] = level.into();
        }
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels, "annotations": options.annotations},
        });
        self.kubectl.run_with_input(["create", "--filename", "-"], &namespace.to_string())?;
        let namespace = Namespace { kubectl: self.kubectl.in_namespace(&name), name, cluster: self };
        if let Some(hard) = &options.quota {
            let quota = json!({
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "quota"},
                "spec": {"hard": hard},
            });
            namespace.kubectl.run_with_input(["create", "--filename", "-"], &quota.to_string())?;
        }
        Ok(namespace)
    }
}

impl From<Local> for Cluster {
    fn from(local: Local) -> Self {
        Self { kubectl: local.kubectl(), local: Some(local) }
    }
}

/// What is special about a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceOptions {
    /// `baseline` or `restricted`.
    pub pod_security: Option<&'static str>,
    /// The `hard` of a `ResourceQuota`, for example `{"pods": "3"}`.
    pub quota: Option<Value>,
    /// For example `clearwater.test/load-balancer: never` (see [`LOAD_BALANCER_ANNOTATION`]).
    pub annotations: Value,
}

/// On a Service, or on its namespace: how load balancers are served there.
///
/// `soon` (an address at once; what holds without the annotation), `late=20s` (that long after the Service was made),
/// `never`, `hostname` (a name and no address).
pub const LOAD_BALANCER_ANNOTATION: &str = "clearwater.test/load-balancer";

/// An image with one small program, `/probe`: `serve` answers HTTP and UDP on port 8080, `get URL`, `resolve --name X`,
/// `write FILE TEXT`.
pub const PROBE_IMAGE: &str = "localhost/clearwater-testbed/probe:1";

/// The archive that holds [`PROBE_IMAGE`].
pub fn probe_archive() -> Result<Archive> {
    let program = Program::Probe.get(&|_| ())?;
    program_images("probe-image", &[(PROBE_IMAGE, &program)])
}

/// What a limited user may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Everything that the `ClusterRole` `admin` allows.
    Admin,
    /// Everything that the `ClusterRole` `edit` allows.
    Edit,
    /// As `Edit` without exec, attach and port-forward.
    EditWithoutExec,
    /// Everything that the `ClusterRole` `view` allows.
    View,
    /// These rules of a Role.
    Rules(Value),
}

/// A namespace of one test; deleted when this is dropped.
#[derive(Debug)]
pub struct Namespace<'a> {
    name: String,
    kubectl: Kubectl,
    cluster: &'a Cluster,
}

impl Namespace<'_> {
    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// kubectl as the administrator, in this namespace.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// A kubeconfig of a new user with these rights in this namespace and none elsewhere.
    ///
    /// On the test bed's cluster the user has a client certificate, elsewhere a service account's token.
    pub fn user(&self, name: &str, rights: &Rights) -> Result<PathBuf> {
        let user = format!("{name}.{}", self.name);
        let (subject, file) = if let Some(local) = &self.cluster.local {
            let subject = json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user});
            (subject, self.with_certificate(local, &user)?)
        } else {
            self.kubectl.run(["create", "serviceaccount", name])?;
            let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": self.name});
            (subject, self.with_token(name, &user)?)
        };
        let cluster_role = |name: &str| ("ClusterRole", name.to_owned());
        let (kind, role) = match rights {
            Rights::Admin => cluster_role("admin"),
            Rights::Edit => cluster_role("edit"),
            Rights::View => cluster_role("view"),
            Rights::EditWithoutExec => self.role(name, &self.edit_without_exec()?)?,
            Rights::Rules(rules) => self.role(name, rules)?,
        };
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [subject],
        });
        self.kubectl.run_with_input(["create", "--filename", "-"], &binding.to_string())?;
        Ok(file)
    }

    fn role(&self, name: &str, rules: &Value) -> Result<(&'static str, String)> {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name},
            "rules": rules,
        });
        self.kubectl.run_with_input(["create", "--filename", "-"], &role.to_string())?;
        Ok(("Role", name.to_owned()))
    }

    fn edit_without_exec(&self) -> Result<Value> {
        const CONNECTIONS: [&str; 4] = ["pods/exec", "pods/attach", "pods/portforward", "pods/proxy"];
        let mut edit = self.kubectl.json(["get", "clusterrole", "edit"])?;
        for rule in edit["rules"].as_array_mut().into_iter().flatten() {
            if let Some(resources) = rule["resources"].as_array_mut() {
                resources.retain(|resource| resource.as_str().is_none_or(|name| !CONNECTIONS.contains(&name)));
            }
        }
        let rules = edit["rules"].as_array().into_iter().flatten();
        Ok(rules.filter(|rule| rule["resources"].as_array().is_some_and(|all| !all.is_empty())).cloned().collect())
    }

    fn with_certificate(&self, local: &Local, user: &str) -> Result<PathBuf> {
        let authority = Authority::open_or_create(&local.layout().pki(), "ca")?;
        let identity = authority.issue(user, None, &[])?;
        let text = kubeconfig(
            local.layout().name(),
            &local.plan.server(),
            authority.certificate(),
            user,
            &identity.certificate,
            &identity.key,
            Some(&self.name),
        );
        keep_user(user, &text)
    }

    fn with_token(&self, account: &str, user: &str) -> Result<PathBuf> {
        let token = self.kubectl.run(["create", "token", account, "--duration=4h"])?;
        let mut config = self.kubectl.json(["config", "view", "--raw", "--minify", "--flatten"])?;
        config["users"] = json!([{"name": user, "user": {"token": token.trim()}}]);
        let context = &mut config["contexts"][0]["context"];
        ensure!(context.is_object(), "kubectl has no current context: name one with {CONTEXT_VARIABLE}");
        context["user"] = user.into();
        context["namespace"] = self.name.clone().into();
        keep_user(user, &config.to_string())
    }

    fn remove_users(&self) {
        let Ok(directory) = crate::layout::cache_directory() else {
            return;
        };
        let suffix = format!(".{}.kubeconfig", self.name);
        for entry in fs::read_dir(directory.join("users")).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(&suffix) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if env::var_os(KEEP_VARIABLE).is_some() {
            return;
        }
        self.remove_users();
        let _ = self.cluster.kubectl.run(["delete", "namespace", &self.name, "--wait=false", "--ignore-not-found"]);
        // Stores whose etcd is gone would try to leave their cluster for minutes, on the machine of the tests that follow.
        let _ = self.kubectl().run(["delete", "pods", "--all", "--grace-period=1", "--wait=false"]);
    }
}

fn keep_user(user: &str, text: &str) -> Result<PathBuf> {
    let directory = crate::layout::cache_directory()?.join("users");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let path = directory.join(format!("{user}.kubeconfig"));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
