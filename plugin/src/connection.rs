//! kubectl's connection flags, which kubectl itself does not hand to plugins.

mod proxy;
mod token_file;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{fmt, thread};

use clap::Args;
use clearwater_kube::{Cluster, REQUEST_TIMEOUT, RequestPolicy};
use http::HeaderValue;
use http::header::{AUTHORIZATION, USER_AGENT};
use kube::Config;
use kube::client::{AuthError, Body, ClientBuilder};
use kube::config::{AuthInfo, ExecAuthCluster, Kubeconfig, KubeconfigError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret, SecretString};
use token_file::TokenFile;
use tower::util::MapRequestLayer;

use crate::bounded::{self, LARGEST};
use crate::cli::NamedFile;
use crate::credential;
use crate::duration::{LONGEST, duration};
use crate::error::CliError;

/// What stands over them where they are told.
pub(crate) const HEADING: &str = "Connection, as for kubectl";

/// How the cluster is reached: kubectl's flags, with kubectl's meaning.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Connection {
    /// The namespace. Default: the deployment file's, else the context's, else in a pod its own, else default
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The kubeconfig's context to use
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig file. Default: those in the environment variable KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's cluster to use
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    cluster: Option<String>,
    /// The kubeconfig's user to use
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    user: Option<String>,
    /// The user to impersonate
    #[arg(long = "as", global = true, value_name = "USER", value_parser = sendable, hide_short_help = true)]
    impersonate: Option<String>,
    /// A group to impersonate. May be given more than once
    #[arg(long, global = true, value_name = "GROUP", value_parser = sendable, hide_short_help = true)]
    as_group: Vec<String>,
    /// The UID to impersonate
    #[arg(long, global = true, value_name = "UID", value_parser = sendable, hide_short_help = true)]
    as_uid: Option<String>,
    /// The API server's URL
    #[arg(short, long, global = true, value_name = "URL", hide_short_help = true)]
    server: Option<String>,
    /// A bearer token
    #[arg(long, global = true, value_name = "TOKEN", hide_short_help = true)]
    token: Option<String>,
    /// The user for basic authentication
    #[arg(long, global = true, value_name = "USER", hide_short_help = true)]
    username: Option<String>,
    /// The password for basic authentication
    #[arg(long, global = true, value_name = "PASSWORD", hide_short_help = true)]
    password: Option<String>,
    /// The certificate of the API server's authority
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    certificate_authority: Option<PathBuf>,
    /// The client certificate
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    client_certificate: Option<PathBuf>,
    /// The client certificate's key
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    client_key: Option<PathBuf>,
    /// The name to expect in the API server's certificate
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    tls_server_name: Option<String>,
    /// Do not check the API server's certificate
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true,
          value_name = "BOOL", hide_short_help = true)]
    insecure_skip_tls_verify: Option<bool>,
    /// Do not ask for compressed answers
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true,
          value_name = "BOOL", hide_short_help = true)]
    disable_compression: Option<bool>,
    /// How long to wait for one answer of the API server, as in 30s, 2m [default: 30s]; 0 waits without end
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, hide_short_help = true)]
    request_timeout: Option<Duration>,
}

/// What goes to the API server in a header: it takes no control characters.
fn sendable(text: &str) -> Result<String, String> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("it holds the control character {:?}, which no request can carry", c)),
        None => Ok(text.to_owned()),
    }
}

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

    /// The kubeconfig that the flags and the environment name, or `None` where there is none.
    pub(crate) fn read_kubeconfig(&self) -> Result<Option<Kubeconfig>, CliError> {
        let (named, limit) = (self.kubeconfig.clone(), self.deadline());
        let read = within(limit, move || match named {
            Some(path) => kubeconfig_at(&path).map(Some),
            None => usual_kubeconfig(),
        });
        let why = match read {
            Some(Ok(kubeconfig)) => return Ok(kubeconfig),
            Some(Err(why)) => why,
            None => format!("it does not end within {} s", limit.as_secs()),
        };
        Err(CliError::Connection(format!("the kubeconfig cannot be read: {why}; name another with --kubeconfig")))
    }

    /// How to reach the cluster, as kube wants it.
    pub(crate) fn config(&self) -> Result<Config, CliError> {
        let (mut config, own_proxy) = match way(self.read_kubeconfig()?, self.server.as_deref()) {
            Ok(Way::Kubeconfig(kubeconfig)) => self.config_of(*kubeconfig)?,
            Ok(Way::Server(server)) => (Config::new(uri(server)?), None),
            Ok(Way::Pod) => (
                Config::incluster().map_err(|e| {
                    let list = std::env::var("KUBECONFIG").ok().filter(|list| !list.is_empty());
                    let list = list.map_or_else(String::new, |list| format!(" (KUBECONFIG is {list:?})"));
                    CliError::Connection(format!(
                        "no cluster is known: there is no kubeconfig{list}, and this is no pod ({}); name one with \
                         --kubeconfig or --server",
                        causes(&e)
                    ))
                })?,
                None,
            ),
            // Another cluster than the one that was meant would be reached, were it taken for none.
            Err(why) => {
                let variable = std::env::var("KUBECONFIG").ok().filter(|list| !list.is_empty());
                let named = match (&self.kubeconfig, variable) {
                    (Some(path), _) => path.display().to_string(),
                    (None, Some(list)) => format!("of KUBECONFIG ({list})"),
                    (None, None) => "in ~/.kube/config".to_owned(),
                };
                return Err(CliError::Connection(format!(
                    "the kubeconfig {named} {why}; name another with --kubeconfig"
                )));
            }
        };
        if let Some(server) = &self.server {
            config.cluster_url = uri(server)?;
        }
        if let Some(namespace) = self.named_namespace() {
            config.default_namespace = namespace.name;
        }
        if let Some(path) = &self.certificate_authority {
            config.root_cert = None;
            config.root_cert_file = Some(path.clone());
        }
        if let Some(name) = &self.tls_server_name {
            config.tls_server_name = Some(name.clone());
        }
        if let Some(insecure) = self.insecure_skip_tls_verify {
            config.accept_invalid_certs = insecure;
        }
        if let Some(disable) = self.disable_compression {
            config.disable_compression = disable;
        }
        if let Some(timeout) = self.request_timeout.filter(|t| !t.is_zero()) {
            config.connect_timeout = Some(timeout);
        }
        // Without a name of its own nobody can tell this program's requests in the API server's audit log.
        let name = HeaderValue::from_static(concat!("kubectl-clearwater/", env!("CARGO_PKG_VERSION")));
        config.headers.push((USER_AGENT, name));
        self.authenticate(&mut config);
        // A server without a scheme is taken for one of TLS, where kube would take it for no URL at all.
        if config.cluster_url.scheme().is_none() {
            config.cluster_url = uri(&config.cluster_url.to_string())?;
        }
        config.proxy_url = proxy::proxy(&config.cluster_url, own_proxy.as_deref(), |name| std::env::var(name).ok())
            .map_err(|why| {
                let key = if own_proxy.is_some() { "proxy-url of the kubeconfig's cluster" } else { "the proxy" };
                CliError::Connection(format!("{key}: {why}; correct it"))
            })?;
        self.check_files(&config)?;
        if let Some(exec) = &mut config.auth_info.exec {
            credential::guard(exec, self.deadline());
        }
        // kube takes it for granted that a token can stand in a header.
        let token = config.auth_info.token.as_ref().map(ExposeSecret::expose_secret);
        if token.is_some_and(|token| HeaderValue::from_str(token).is_err()) {
            return Err(CliError::Connection(
                "the bearer token has characters that no HTTP header can carry (a line end?); mend the kubeconfig's user \
                 or --token"
                    .to_owned(),
            ));
        }
        Ok(config)
    }

    /// A namespace of the cluster, each request within the time that was asked for.
    pub(crate) async fn cluster(&self, namespace: impl Into<String>) -> Result<Cluster, CliError> {
        let policy = RequestPolicy::new(self.deadline()).telling(|what| {
            crate::reporter::line(&mut anstream::stderr(), &format!("waiting for the API server: {what}"));
        });
        Ok(Cluster::with_requests(self.client().await?, namespace, &policy))
    }

    /// How long one request may take.
    fn deadline(&self) -> Duration {
        match self.request_timeout {
            None => REQUEST_TIMEOUT,
            Some(Duration::ZERO) => LONGEST,
            Some(timeout) => timeout,
        }
    }

    /// A client for the cluster.
    #[expect(clippy::unused_async, reason = "what it makes wants to be made within a runtime")]
    pub(crate) async fn client(&self) -> Result<kube::Client, CliError> {
        let mut config = self.config()?;
        // The policy for requests asks again, and tells what it was told.
        config.default_retry = false;
        let server = config.cluster_url.clone();
        let token = token_file(&mut config.auth_info)?;
        let made = ClientBuilder::try_from(config).map(|builder| match token {
            None => builder.build(),
            Some(file) => builder
                .with_layer(&MapRequestLayer::new(move |mut request: http::Request<Body>| {
                    request.headers_mut().insert(AUTHORIZATION, file.header());
                    request
                }))
                .build(),
        });
        made.map_err(|e| {
            // What the plugin's keeper says names the plugin, and kube would show its own call of it.
            if let kube::Error::Auth(AuthError::AuthExecRun { out, .. }) = &e {
                let said = String::from_utf8_lossy(&out.stderr);
                let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("the credential plugin failed");
                return CliError::Connection(format!("{last}; check the kubeconfig's user"));
            }
            CliError::Connection(format!(
                "no client can be made for {server}: {}; check the kubeconfig's user",
                causes(&e)
            ))
        })
    }

    /// What the kubeconfig says, with its cluster's own proxy. kube's reader would refuse what `NO_PROXY` may hold.
    fn config_of(&self, kubeconfig: Kubeconfig) -> Result<(Config, Option<String>), CliError> {
        let named = |what, name: &Option<String>, known: Vec<&str>| match name {
            Some(name) if !known.contains(&name.as_str()) => Err(unknown(what, name, known.into_iter())),
            _ => Ok(()),
        };
        named("context", &self.context, kubeconfig.contexts.iter().map(|c| c.name.as_str()).collect())?;
        named("cluster", &self.cluster, kubeconfig.clusters.iter().map(|c| c.name.as_str()).collect())?;
        named("user", &self.user, kubeconfig.auth_infos.iter().map(|c| c.name.as_str()).collect())?;
        for cluster in &kubeconfig.clusters {
            let path = cluster.cluster.as_ref().and_then(|c| c.certificate_authority.as_ref());
            let key = || format!("certificate-authority of the kubeconfig's cluster {:?}", cluster.name);
            path.map_or(Ok(()), |path| is_file(key, Path::new(path), self.deadline()))?;
        }
        let no_cluster = |why: String| {
            CliError::Connection(format!("the kubeconfig names no usable cluster: {why}; choose a --context"))
        };
        let name = self.context.as_ref().or(kubeconfig.current_context.as_ref()).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| no_cluster("it has no current-context".to_owned()))?;
        let context = kubeconfig.contexts.into_iter().find(|c| c.name == *name).and_then(|c| c.context);
        let context = context.ok_or_else(|| no_cluster(format!("it has no context {name:?}")))?;
        let name = self.cluster.as_ref().unwrap_or(&context.cluster);
        let cluster = kubeconfig.clusters.into_iter().find(|c| c.name == *name).and_then(|c| c.cluster);
        let cluster = cluster.ok_or_else(|| no_cluster(format!("it has no cluster {name:?}")))?;
        // As for kubectl, a user that is not there is nobody.
        let user = self.user.as_ref().or(context.user.as_ref());
        let user = user.and_then(|user| kubeconfig.auth_infos.into_iter().find(|c| c.name == *user)?.auth_info);
        let server = cluster.server.as_ref().ok_or_else(|| no_cluster(format!("cluster {name:?} has no server")))?;
        let server = server.parse().map_err(|e| no_cluster(format!("cluster {name:?}: server {server:?}: {e}")))?;
        let told = ExecAuthCluster::try_from(&cluster).map_err(|e| no_cluster(causes(&e)))?;
        let mut config = Config::new(server);
        if let Some(pem) = &told.certificate_authority_data {
            let certificates: Result<Vec<_>, _> =
                CertificateDer::pem_slice_iter(pem).map(|c| c.map(|c| c.to_vec())).collect();
            config.root_cert = Some(certificates.map_err(|e| {
                no_cluster(format!(
                    "certificate-authority of cluster {name:?} is no certificate in PEM: {}",
                    causes(&e)
                ))
            })?);
        }
        config.default_namespace = context.namespace.unwrap_or_else(|| "default".to_owned());
        config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or(false);
        config.disable_compression = cluster.disable_compression.unwrap_or(false);
        config.tls_server_name = cluster.tls_server_name;
        config.auth_info = user.unwrap_or_default();
        if let Some(exec) = config.auth_info.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
            exec.cluster = Some(told);
        }
        Ok((config, cluster.proxy_url))
    }

    /// Looks at the files that the client will read, before it waits for one of them.
    fn check_files(&self, config: &Config) -> Result<(), CliError> {
        let auth = &config.auth_info;
        let files = [
            ("tokenFile", false, auth.token_file.as_ref().map(Path::new)),
            ("client-certificate", self.client_certificate.is_some(), auth.client_certificate.as_ref().map(Path::new)),
            ("client-key", self.client_key.is_some(), auth.client_key.as_ref().map(Path::new)),
            ("certificate-authority", self.certificate_authority.is_some(), config.root_cert_file.as_deref()),
        ];
        for (key, is_flag, path) in files {
            let Some(path) = path else { continue };
            let key = || if is_flag { format!("--{key}") } else { format!("{key} of the kubeconfig") };
            is_file(key, path, self.deadline())?;
        }
        Ok(())
    }

    fn authenticate(&self, config: &mut Config) {
        let auth = &mut config.auth_info;
        let text = |path: &PathBuf| path.display().to_string();
        if let Some(token) = &self.token {
            auth.token = Some(SecretString::from(token.clone()));
            (auth.token_file, auth.exec, auth.auth_provider) = (None, None, None);
        }
        if let Some(username) = &self.username {
            auth.username = Some(username.clone());
        }
        if let Some(password) = &self.password {
            auth.password = Some(SecretString::from(password.clone()));
        }
        if let Some(path) = &self.client_certificate {
            (auth.client_certificate, auth.client_certificate_data) = (Some(text(path)), None);
        }
        if let Some(path) = &self.client_key {
            (auth.client_key, auth.client_key_data) = (Some(text(path)), None);
        }
        if let Some(user) = &self.impersonate {
            auth.impersonate = Some(user.clone());
        }
        if !self.as_group.is_empty() {
            auth.impersonate_groups = Some(self.as_group.clone());
        }
        if let Some(uid) = &self.as_uid {
            auth.impersonate_uid = Some(uid.clone());
        }
    }
}

/// How the cluster is found.
enum Way<'a> {
    /// As the kubeconfig says.
    Kubeconfig(Box<Kubeconfig>),
    /// By the address of `--server` alone.
    Server(&'a str),
    /// As a pod finds its own.
    Pod,
}

/// How the cluster is found. A kubeconfig that is there and names none is an error, also inside a pod.
fn way(kubeconfig: Option<Kubeconfig>, server: Option<&str>) -> Result<Way<'_>, &'static str> {
    match (kubeconfig, server) {
        (Some(kubeconfig), _) if !kubeconfig.contexts.is_empty() || !kubeconfig.clusters.is_empty() => {
            Ok(Way::Kubeconfig(Box::new(kubeconfig)))
        }
        (_, Some(server)) => Ok(Way::Server(server)),
        (Some(_), None) => Err("names no cluster"),
        (None, None) => Ok(Way::Pod),
    }
}

/// Takes over what kube would do with a file that holds a token: it leaves line ends in it.
fn token_file(auth: &mut AuthInfo) -> Result<Option<Arc<TokenFile>>, CliError> {
    if auth.token.is_some() || auth.username.is_some() && auth.password.is_some() {
        return Ok(None);
    }
    let Some(path) = auth.token_file.take() else { return Ok(None) };
    (auth.exec, auth.auth_provider) = (None, None);
    let file = TokenFile::open(path.into()).map_err(|why| {
        CliError::Connection(format!("tokenFile of the kubeconfig: {why}; check the kubeconfig's user"))
    })?;
    Ok(Some(Arc::new(file)))
}

/// What reading comes to; `None` where it does not end in time. Nobody waits any more for what is still read then.
fn within<T: Send + 'static>(limit: Duration, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (send, done) = mpsc::channel();
    thread::spawn(move || drop(send.send(read())));
    done.recv_timeout(limit).ok()
}

/// The kubeconfigs that the environment names, merged, else the one in the home directory. Members of the list that do
/// not exist are passed over, as kubectl does.
fn usual_kubeconfig() -> Result<Option<Kubeconfig>, String> {
    let there = |read| match read {
        Ok(kubeconfig) => Ok(Some(kubeconfig)),
        Err(KubeconfigError::ReadConfig(e, _)) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(KubeconfigError::FindPath) => Ok(None),
        Err(e) => Err(causes(&e)),
    };
    let Some(list) = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) else {
        return there(Kubeconfig::read());
    };
    merged(std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()))
}

fn merged(list: impl Iterator<Item = PathBuf>) -> Result<Option<Kubeconfig>, String> {
    let mut merged: Option<Kubeconfig> = None;
    for path in list {
        if std::fs::metadata(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            continue;
        }
        let next = kubeconfig_at(&path)?;
        merged = Some(match merged {
            None => next,
            Some(before) => before.merge(next).map_err(|e| format!("{}: {}", path.display(), causes(&e)))?,
        });
    }
    Ok(merged)
}

/// The kubeconfig in a file, or in what a shell puts in a file's place (`--kubeconfig <(...)`).
fn kubeconfig_at(path: &Path) -> Result<Kubeconfig, String> {
    let said = |why: &dyn fmt::Display| format!("{}: {why}", path.display());
    let read = || match Kubeconfig::read_from(path) {
        // Its words have the path.
        Err(e @ KubeconfigError::ReadConfig(..)) => Err(causes(&e)),
        Err(e) => Err(said(&causes(&e))),
        Ok(kubeconfig) => Ok(kubeconfig),
    };
    let Ok(found) = std::fs::metadata(path) else { return read() };
    if found.is_file() && found.len() <= LARGEST || found.is_dir() {
        return read();
    }
    let text = File::open(path).and_then(|file| bounded::all(file, LARGEST)).and_then(bounded::decoded);
    let text = text.map_err(|e| said(&e))?;
    Kubeconfig::from_yaml(&text).map_err(|e| said(&causes(&e)))
}

/// A file that a credential is read from, under this key. One that is another kind of file, or does not end, would be read
/// for ever.
fn is_file(key: impl Fn() -> String, path: &Path, limit: Duration) -> Result<(), CliError> {
    let no = |why: &str| {
        let (key, path) = (key(), path.display());
        CliError::Connection(format!("{key}: {path} is no file that a credential could be in: it {why}; name another"))
    };
    // What is not there is told by whoever reads it.
    let Ok(found) = std::fs::metadata(path) else { return Ok(()) };
    if found.is_dir() {
        return Err(no("is a directory"));
    }
    if is_device(&found) {
        return Err(no("is a device"));
    }
    if !found.is_file() {
        return Err(no("is a pipe or a socket"));
    }
    let own = path.to_owned();
    let length =
        within(limit, move || File::open(own).and_then(|f| io::copy(&mut f.take(LARGEST + 1), &mut io::sink())));
    match length {
        None => Err(no(&format!("does not end within {} s", limit.as_secs()))),
        Some(Ok(length)) if length > LARGEST => Err(no(&format!("is longer than {LARGEST} bytes"))),
        Some(_) => Ok(()),
    }
}

#[cfg(unix)]
fn is_device(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_char_device() || found.file_type().is_block_device()
}

#[cfg(not(unix))]
fn is_device(_: &std::fs::Metadata) -> bool {
    false
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> CliError {
    let known: Vec<&str> = known.collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    CliError::Connection(format!("the kubeconfig has no {what} {name:?}; it has: {known}"))
}

fn uri(server: &str) -> Result<http::Uri, CliError> {
    let full = if server.contains("://") { server.to_owned() } else { format!("https://{server}") };
    full.parse().map_err(|e| CliError::Usage(format!("--server {server:?} is not a URL: {e}")))
}

/// An error with its causes, each said once.
fn causes(error: &dyn std::error::Error) -> String {
    // Some draw the place below their first line.
    let first = |e: &dyn std::error::Error| e.to_string().lines().next().unwrap_or_default().to_owned();
    let mut text = first(error);
    let mut source = error.source();
    while let Some(cause) = source {
        let said = first(cause);
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clearwater::config::DeploymentFile;

    use super::*;
    use crate::cli::Cli;
    use crate::runtime;

    const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: lab
clusters:
- {name: lab, cluster: {server: 'https://192.0.2.1:6443'}}
- {name: live, cluster: {server: 'https://192.0.2.2:6443', tls-server-name: api}}
users:
- {name: lab, user: {token: of-lab}}
- {name: live, user: {username: u, password: p}}
contexts:
- {name: lab, context: {cluster: lab, user: lab, namespace: ims}}
- {name: live, context: {cluster: live, user: live}}
";

    #[test]
    fn a_client_can_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, KUBECONFIG).unwrap();
        let connection = Connection { kubeconfig: Some(path), ..Connection::default() };
        let made = runtime::block_on(async { connection.client().await.map(|c| c.default_namespace().to_owned()) });
        assert_eq!(made.unwrap(), "ims");
    }

    #[test]
    fn the_rule_of_namespaces_source_by_source() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, KUBECONFIG).unwrap();
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
    fn a_list_of_kubeconfigs_is_what_of_it_is_there_and_what_is_wrong_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("good", KUBECONFIG);
        write("other", &KUBECONFIG.replace("lab", "other"));
        write("broken", "a: [");
        write("nothing", "apiVersion: v1\nkind: Config\n");
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        let list = |names: &str| merged(names.split(':').map(|name| dir.path().join(name)));
        assert!(list("missing:gone").unwrap().is_none());
        let both = list("missing:good:gone:other").unwrap().unwrap();
        assert_eq!(both.current_context.as_deref(), Some("lab"));
        assert_eq!(both.contexts.len(), 3, "{:?}", both.contexts);
        for name in ["broken", "folder"] {
            let error = list(&format!("good:{name}")).unwrap_err();
            assert!(error.contains(&format!("/{name}")), "{error}");
        }
        // Neither is passed over for the pod's own account.
        assert!(matches!(way(list("nothing").unwrap(), None), Err("names no cluster")));
        assert!(matches!(way(list("nothing").unwrap(), Some("x")), Ok(Way::Server("x"))));
        assert!(matches!(way(list("missing").unwrap(), None), Ok(Way::Pod)));
        assert!(matches!(way(list("missing:good").unwrap(), None), Ok(Way::Kubeconfig(_))));
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

    fn connect(flags: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, KUBECONFIG).unwrap();
        let line = format!("kubectl-clearwater version --kubeconfig {} {flags}", path.display());
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|e| e.to_string())?;
        cli.connection.config().map_err(|e| e.to_string())
    }

    #[test]
    fn the_context_says_how_to_connect() {
        let config = connect("").unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://192.0.2.1:6443/");
        assert_eq!(config.default_namespace, "ims");
        assert_eq!(config.auth_info.token.unwrap().expose_secret(), "of-lab");
        let config = connect("--context live").unwrap();
        assert_eq!(config.tls_server_name.as_deref(), Some("api"));
        let config = connect("--cluster live --user live -n other").unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://192.0.2.2:6443/");
        assert_eq!(config.auth_info.username.as_deref(), Some("u"));
        assert_eq!(config.default_namespace, "other");
    }

    #[test]
    fn flags_win_over_the_context() {
        let config = connect(
            "-s 192.0.2.3 --token t --as jane --as-group a --as-group b --as-uid 7 --tls-server-name x \
             --insecure-skip-tls-verify --disable-compression --request-timeout 1m --certificate-authority ca.crt \
             --client-certificate c.crt --client-key c.key --username u --password p",
        )
        .unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://192.0.2.3/");
        assert_eq!(config.tls_server_name.as_deref(), Some("x"));
        assert!(config.accept_invalid_certs && config.disable_compression);
        assert_eq!(config.connect_timeout, Some(Duration::from_secs(60)));
        assert_eq!(config.root_cert_file.as_deref(), Some(std::path::Path::new("ca.crt")));
        let auth = config.auth_info;
        assert_eq!(auth.token.unwrap().expose_secret(), "t");
        assert_eq!(auth.impersonate.as_deref(), Some("jane"));
        assert_eq!(auth.impersonate_groups, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(auth.impersonate_uid.as_deref(), Some("7"));
        assert_eq!((auth.client_certificate.as_deref(), auth.client_key.as_deref()), (Some("c.crt"), Some("c.key")));
        assert_eq!((auth.username.as_deref(), auth.password.unwrap().expose_secret()), (Some("u"), "p"));
    }

    #[test]
    fn names_that_the_kubeconfig_does_not_have() {
        for (flags, said) in [
            ("--context x", "the kubeconfig has no context \"x\"; it has: lab, live"),
            ("--cluster x", "the kubeconfig has no cluster \"x\"; it has: lab, live"),
            ("--user x", "the kubeconfig has no user \"x\"; it has: lab, live"),
        ] {
            assert_eq!(connect(flags).unwrap_err(), said);
        }
        assert!(connect("--token a\u{1}b").unwrap_err().starts_with("the bearer token has characters"));
        assert!(connect("--server ://").unwrap_err().starts_with("--server \"://\" is not a URL"));
    }
}
