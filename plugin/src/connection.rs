//! kubectl's connection flags, which kubectl itself does not hand to plugins.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clearwater::config::DeploymentFile;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use secrecy::SecretString;

use crate::error::CliError;

/// How the cluster is reached: kubectl's flags, with kubectl's meaning.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection, as for kubectl")]
pub(crate) struct Connection {
    /// The namespace. Default: the deployment file's, else the context's
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
    #[arg(long = "as", global = true, value_name = "USER", hide_short_help = true)]
    impersonate: Option<String>,
    /// A group to impersonate. May be given more than once
    #[arg(long, global = true, value_name = "GROUP", hide_short_help = true)]
    as_group: Vec<String>,
    /// The UID to impersonate
    #[arg(long, global = true, value_name = "UID", hide_short_help = true)]
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
    /// How long to wait for one answer of the API server, as in 30s, 2m; 0 waits without end
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, hide_short_help = true)]
    request_timeout: Option<Duration>,
}

/// A duration as kubectl takes it: a number of seconds, or numbers with units.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: Result<jiff::SignedDuration, _> = text.parse();
    span.ok()
        .filter(|_| !text.starts_with(['P', 'p', '-']))
        .and_then(|d| Duration::try_from(d).ok())
        .ok_or_else(|| format!("{text:?} is not a duration; write one like 30s, 2m or 1m30s"))
}

impl Connection {
    /// The namespace that a command works on: the command line's, else the file's, else the context's.
    pub(crate) fn namespace_for(&self, file: &DeploymentFile) -> Result<String, CliError> {
        match (&self.namespace, &file.namespace) {
            (Some(namespace), _) | (None, Some(namespace)) => Ok(namespace.clone()),
            (None, None) => self.context_namespace(),
        }
    }

    /// The context's namespace; `default` where there is no kubeconfig or it names none.
    fn context_namespace(&self) -> Result<String, CliError> {
        let Some(kubeconfig) = self.read_kubeconfig()? else { return Ok("default".to_owned()) };
        let name = self.context.as_ref().or(kubeconfig.current_context.as_ref()).filter(|n| !n.is_empty());
        let Some(name) = name else { return Ok("default".to_owned()) };
        let found = kubeconfig.contexts.iter().find(|c| c.name == *name).and_then(|c| c.context.as_ref());
        match (found, &self.context) {
            (None, Some(name)) => Err(unknown("context", name, kubeconfig.contexts.iter().map(|c| c.name.as_str()))),
            (found, _) => Ok(found.and_then(|c| c.namespace.clone()).unwrap_or_else(|| "default".to_owned())),
        }
    }

    /// The kubeconfig that the flags and the environment name, or `None` where there is none.
    fn read_kubeconfig(&self) -> Result<Option<Kubeconfig>, CliError> {
        let read = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path).map(Some),
            None => match Kubeconfig::read() {
                Ok(kubeconfig) => Ok(Some(kubeconfig)),
                Err(KubeconfigError::ReadConfig(e, _)) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(KubeconfigError::FindPath) => Ok(None),
                Err(e) => Err(e),
            },
        };
        read.map_err(|e| {
            CliError::Connection(format!(
                "the kubeconfig cannot be read: {}; name another with --kubeconfig",
                causes(&e)
            ))
        })
    }

    /// How to reach the cluster, as kube wants it.
    pub(crate) async fn config(&self) -> Result<Config, CliError> {
        let mut config = match (self.read_kubeconfig()?, &self.server) {
            (Some(kubeconfig), _) if !kubeconfig.contexts.is_empty() || !kubeconfig.clusters.is_empty() => {
                self.config_of(kubeconfig).await?
            }
            (_, Some(server)) => Config::new(uri(server)?),
            (_, None) => Config::incluster().map_err(|e| {
                CliError::Connection(format!(
                    "no cluster is known: there is no kubeconfig, and this is no pod ({}); name one with --kubeconfig \
                     or --server",
                    causes(&e)
                ))
            })?,
        };
        if let Some(server) = &self.server {
            config.cluster_url = uri(server)?;
        }
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
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
            config.read_timeout = Some(timeout);
            config.write_timeout = Some(timeout);
        }
        self.authenticate(&mut config);
        Ok(config)
    }

    /// A client for the cluster.
    pub(crate) async fn client(&self) -> Result<kube::Client, CliError> {
        let config = self.config().await?;
        let server = config.cluster_url.clone();
        kube::Client::try_from(config).map_err(|e| {
            CliError::Connection(format!(
                "no client can be made for {server}: {}; check the kubeconfig's user",
                causes(&e)
            ))
        })
    }

    async fn config_of(&self, kubeconfig: Kubeconfig) -> Result<Config, CliError> {
        let named = |what, name: &Option<String>, known: Vec<&str>| match name {
            Some(name) if !known.contains(&name.as_str()) => Err(unknown(what, name, known.into_iter())),
            _ => Ok(()),
        };
        named("context", &self.context, kubeconfig.contexts.iter().map(|c| c.name.as_str()).collect())?;
        named("cluster", &self.cluster, kubeconfig.clusters.iter().map(|c| c.name.as_str()).collect())?;
        named("user", &self.user, kubeconfig.auth_infos.iter().map(|c| c.name.as_str()).collect())?;
        let options =
            KubeConfigOptions { context: self.context.clone(), cluster: self.cluster.clone(), user: self.user.clone() };
        Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|e| {
            CliError::Connection(format!("the kubeconfig names no usable cluster: {}; choose a --context", causes(&e)))
        })
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
    use secrecy::ExposeSecret;

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
        assert_eq!(made.unwrap().unwrap(), "ims");
    }

    fn connect(flags: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, KUBECONFIG).unwrap();
        let line = format!("kubectl-clearwater version --kubeconfig {} {flags}", path.display());
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|e| e.to_string())?;
        runtime::block_on(cli.connection.config()).unwrap().map_err(|e| e.to_string())
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
        assert_eq!(config.read_timeout, Some(Duration::from_secs(60)));
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
        assert!(connect("--server ://").unwrap_err().starts_with("--server \"://\" is not a URL"));
    }

    #[test]
    fn durations_are_kubectls() {
        for (text, seconds) in [("0", 0), ("30", 30), ("30s", 30), ("2m", 120), ("1m30s", 90), ("1h", 3600)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "-1", "-5s", "soon", "P1D", "1 s 2"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
