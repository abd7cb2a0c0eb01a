//! Which namespace a command works on, and what named it.

use std::fmt;
use std::path::Path;

use super::Connection;
use super::kubeconfig::unknown;
use crate::arguments::NamedFile;
use crate::error::CliError;

/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A namespace, and what named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) from: NamespaceSource,
}

/// What named a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamespaceSource {
    /// `--namespace`.
    Flag,
    /// The deployment file, or what was put over it.
    File(String),
    /// The kubeconfig's context of this name.
    Context(String),
    /// The pod that the command runs in.
    Pod,
    /// Nothing.
    Default,
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespace {} (", self.name)?;
        match &self.from {
            NamespaceSource::Flag => f.write_str("from --namespace)"),
            NamespaceSource::File(name) => write!(f, "from {name})"),
            NamespaceSource::Context(name) => write!(f, "from context {name})"),
            NamespaceSource::Pod => f.write_str("from this pod's service account)"),
            NamespaceSource::Default => f.write_str("nothing names another)"),
        }
    }
}

/// The namespace of the pod that the command runs in, as kubectl finds it (client-go
/// `tools/clientcmd/client_config.go`, `inClusterClientConfig`); `None` outside of a pod.
fn pod_namespace(variable: impl Fn(&str) -> Option<String>, account: &Path) -> Option<String> {
    let set = |name: &str| variable(name).filter(|v| !v.is_empty());
    set("KUBERNETES_SERVICE_HOST")?;
    set("KUBERNETES_SERVICE_PORT")?;
    if !account.join("token").is_file() {
        return None;
    }
    set("POD_NAMESPACE").or_else(|| {
        let text = std::fs::read_to_string(account.join("namespace")).ok()?;
        Some(text.trim().to_owned()).filter(|n| !n.is_empty())
    })
}

impl Connection {
    /// The namespace that a command works on, by the one rule that holds for all: the command line's, else the deployment
    /// file's, else the context's, else in a pod the service account's, else `default`. All but the file is kubectl's.
    pub(crate) fn namespace_for(&self, file: &NamedFile) -> Result<Namespace, CliError> {
        if let Some(namespace) = self.named_namespace() {
            return Ok(namespace);
        }
        let of = |name, from| Ok(Namespace { name, from });
        if let Some(name) = file.file.namespace.clone() {
            return of(name, NamespaceSource::File(file.namespace_from.clone()));
        }
        if let Some((name, context)) = self.context_namespace()? {
            return of(name, NamespaceSource::Context(context));
        }
        let variable = |name: &str| std::env::var(name).ok();
        match pod_namespace(variable, Path::new(SERVICE_ACCOUNT)) {
            Some(name) => of(name, NamespaceSource::Pod),
            None => of("default".to_owned(), NamespaceSource::Default),
        }
    }

    /// The command line's namespace.
    pub(crate) fn named_namespace(&self) -> Option<Namespace> {
        let name = self.namespace.clone().filter(|n| !n.is_empty())?;
        Some(Namespace { name, from: NamespaceSource::Flag })
    }

    /// The namespace that the context names, with the context's name.
    fn context_namespace(&self) -> Result<Option<(String, String)>, CliError> {
        let Some(kubeconfig) = self.read_kubeconfig()? else { return Ok(None) };
        let name = self.context.as_ref().or(kubeconfig.current_context.as_ref()).filter(|n| !n.is_empty());
        let Some(name) = name else { return Ok(None) };
        let found = kubeconfig.contexts.iter().find(|c| c.name == *name).and_then(|c| c.context.as_ref());
        if let (None, Some(name)) = (found, &self.context) {
            return Err(unknown("context", name, kubeconfig.contexts.iter().map(|c| c.name.as_str())));
        }
        let namespace = found.and_then(|c| c.namespace.clone()).filter(|n| !n.is_empty());
        Ok(namespace.map(|namespace| (namespace, name.clone())))
    }
}

#[cfg(test)]
mod tests {
    use clearwater::config::DeploymentFile;

    use super::super::kubeconfig::SAMPLE;
    use super::*;

    #[test]
    fn the_rule_of_namespaces_source_by_source() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, SAMPLE).unwrap();
        let file = |namespace: Option<&str>| NamedFile {
            file: DeploymentFile { namespace: namespace.map(str::to_owned), ..DeploymentFile::default() },
            namespace_from: "ims.yaml".to_owned(),
        };
        let found = |flag: Option<&str>, of_file: Option<&str>, context: &str| {
            let connection = Connection {
                namespace: flag.map(str::to_owned),
                context: Some(context.to_owned()),
                kubeconfig: Some(path.clone()),
                ..Connection::default()
            };
            connection.namespace_for(&file(of_file)).unwrap().to_string()
        };
        assert_eq!(found(Some("a"), Some("b"), "lab"), "namespace a (from --namespace)");
        assert_eq!(found(None, Some("b"), "lab"), "namespace b (from ims.yaml)");
        // As for kubectl, an empty flag names nothing.
        assert_eq!(found(Some(""), Some("b"), "lab"), "namespace b (from ims.yaml)");
        assert_eq!(found(None, None, "lab"), "namespace ims (from context lab)");
        assert_eq!(found(None, None, "live"), "namespace default (nothing names another)");
    }

    #[test]
    fn a_pod_has_its_service_accounts_namespace() {
        let dir = tempfile::tempdir().unwrap();
        let inside = |name: &str| Some(if name == "POD_NAMESPACE" { "" } else { "192.0.2.1" }.to_owned());
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(pod_namespace(inside, dir.path()), None, "no account");
        write("token", "t");
        assert_eq!(pod_namespace(inside, dir.path()), None, "an account without a namespace");
        write("namespace", "of-pod\n");
        assert_eq!(pod_namespace(inside, dir.path()).as_deref(), Some("of-pod"));
        assert_eq!(pod_namespace(|_| None, dir.path()), None, "the files alone make no pod");
        assert_eq!(pod_namespace(|_| Some("told".to_owned()), dir.path()).as_deref(), Some("told"));
    }
}
