//! From the flags over what the kubeconfig says to a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::Config;
use kube::config::{AuthInfo, ExecAuthCluster, Kubeconfig};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret, SecretString};

use super::certificate::Places;
use super::credential_file::is_file;
use super::kubeconfig::{ClusterAccess, OfKubeconfig, certificates, way};
use super::plugin::{Credential, NoCredential, Plugin, base64, renewing};
use super::proxy::Proxy;
use super::server::{Server, made, url};
use super::token_file::TokenFile;
use super::{Connection, Unusable, causes, proxy};
use crate::bounded;
use crate::duration::LONGEST;
use crate::error::{CliError, spelled};

/// How the API server is reached.
struct Reach {
    config: Config,
    proxy: Option<Proxy>,
    places: Places,
}

impl Connection {
    /// How to reach the cluster, as kube wants it.
    fn reach(&self) -> Result<Reach, CliError> {
        let of_kubeconfig = match way(self.read_kubeconfig()?, self.server.as_deref()) {
            Ok(ClusterAccess::Kubeconfig(kubeconfig)) => self.config_of(*kubeconfig)?,
            Ok(ClusterAccess::Server(server)) => {
                self.has_named(&Kubeconfig::default())?;
                Config::new(url("--server", server).map_err(CliError::Usage)?).into()
            }
            Ok(ClusterAccess::Pod) => {
                self.has_named(&Kubeconfig::default())?;
                let list = std::env::var("KUBECONFIG").ok().filter(|list| !list.is_empty());
                own_cluster(Config::incluster().map_err(|e| causes(&e)), list.as_deref())?.into()
            }
            // Another cluster than the one that was meant would be reached, were it taken for none.
            Err(why) => {
                let variable = std::env::var("KUBECONFIG").ok().filter(|list| !list.is_empty());
                let named = match (&self.kubeconfig, variable) {
                    (Some(path), _) => spelled(path),
                    (None, Some(list)) => format!("of KUBECONFIG ({list})"),
                    (None, None) => "in ~/.kube/config".to_owned(),
                };
                return Err(
                    self.wrong_kubeconfig(format!("the kubeconfig {named} {why}; name another with --kubeconfig"))
                );
            }
        };
        let OfKubeconfig { mut config, proxy: own_proxy, authority, user } = of_kubeconfig;
        if let Some(namespace) = self.named_namespace() {
            config.default_namespace = namespace.name;
        }
        if let Some(path) = &self.certificate_authority {
            let pem = certificate_at("certificate-authority", path)?;
            config.root_cert = certificates(&pem).ok();
            config.root_cert_file = None;
            tell_plugin(&mut config, |told| told.certificate_authority_data = Some(pem));
        }
        if let Some(name) = &self.tls_server_name {
            config.tls_server_name = Some(name.clone());
            tell_plugin(&mut config, |told| told.tls_server_name = Some(name.clone()));
        }
        if let Some(insecure) = self.insecure_skip_tls_verify {
            config.accept_invalid_certs = insecure;
            tell_plugin(&mut config, |told| told.insecure_skip_tls_verify = Some(insecure));
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
        self.authenticate(&mut config)?;
        of_provider(&mut config.auth_info, user.as_deref()).map_err(|why| self.wrong_kubeconfig(why))?;
        let proxy = proxy::proxy(&config.cluster_url, own_proxy.as_deref(), |name| std::env::var(name).ok()).map_err(
            |why| match own_proxy {
                Some(_) => self.wrong_kubeconfig(format!("{why}; correct it")),
                None => CliError::Connection(format!("{why}; correct it")),
            },
        )?;
        if let Some(proxy) = &proxy {
            config.proxy_url = Some(proxy.url.clone());
            // In the whole time of a request nobody would be told who does not answer.
            config.connect_timeout = config.connect_timeout.into_iter().chain([self.deadline() / 3 * 2]).min();
        }
        self.check_files(&config)?;
        // kube takes it for granted that a token can stand in a header.
        let token = config.auth_info.token.as_ref().map(ExposeSecret::expose_secret);
        if token.is_some_and(|token| HeaderValue::from_str(token).is_err()) {
            return Err(self.wrong_kubeconfig(
                "the bearer token has characters that no HTTP header can carry (a line end?); repair the kubeconfig's user"
                    .to_owned(),
            ));
        }
        let places = self.places(&config, authority, user.as_deref());
        Ok(Reach { config, proxy, places })
    }

    /// Where what a handshake takes was read.
    fn places(&self, config: &Config, authority: Option<String>, user: Option<&str>) -> Places {
        let auth = &config.auth_info;
        let own =
            |key: &str, flag: Option<&PathBuf>, file: Option<&String>, is_held: bool| match (flag, file, &auth.exec) {
                (Some(path), ..) => format!("--{key} {}", spelled(path)),
                (None, None, Some(exec)) if !is_held => {
                    format!("the {key} of the credential plugin {:?}", exec.command.as_deref().unwrap_or_default())
                }
                (None, file, _) => {
                    let what = file.map_or_else(|| format!("{key}-data"), |path| format!("{key} {path}"));
                    format!("{what} of the kubeconfig's user {:?}", user.unwrap_or_default())
                }
            };
        let flag = self.certificate_authority.as_ref();
        Places {
            authority: flag
                .map(|path| format!("--certificate-authority {}", spelled(path)))
                .or(authority)
                .unwrap_or_else(|| "what this machine trusts".to_owned()),
            certificate: own(
                "client-certificate",
                self.client_certificate.as_ref(),
                auth.client_certificate.as_ref(),
                auth.client_certificate_data.is_some(),
            ),
            shows_one: auth.client_certificate.is_some()
                || auth.client_certificate_data.is_some()
                || auth.exec.is_some(),
            key: own("client-key", self.client_key.as_ref(), auth.client_key.as_ref(), auth.client_key_data.is_some()),
            authorities: config.root_cert.clone().unwrap_or_default(),
            is_told: self.client_certificate.is_some() || self.client_key.is_some() || self.kubeconfig.is_some(),
        }
    }

    /// A client for the cluster.
    pub(crate) async fn client(&self) -> Result<kube::Client, CliError> {
        Ok(self.client_within(LONGEST).await?.0)
    }

    /// The same for what may take so long as a whole, which binds a credential plugin too. Also yields how much of it is left:
    /// the time that a plugin lets somebody take is not the command's.
    pub(super) async fn client_within(&self, time: Duration) -> Result<(kube::Client, Duration), CliError> {
        let began = Instant::now();
        let Reach { mut config, proxy, places } = self.reach()?;
        // The policy for requests asks again, and tells what it was told.
        config.default_retry = false;
        let token = token_file(&mut config.auth_info).map_err(|unusable| self.unusable(unusable))?;
        let plugin = Plugin::of(&mut config.auth_info, self.teller());
        let asks = plugin.as_ref().is_some_and(Plugin::asks);
        let server = Arc::new(Server { url: config.cluster_url.clone(), proxy, places });
        let client = match plugin {
            None => made(config, &server, token)?,
            Some(plugin) => {
                let given = plugin.give(self.deadline().min(time)).await;
                let given = given.map_err(|why| CliError::Connection(why.to_string()))?;
                // What the plugin gives later is shown by a client of its own.
                let make = move |given: &Credential| {
                    let mut config = config.clone();
                    given.put(&mut config.auth_info);
                    made(config, &server, None)
                };
                let client = make(&given)?;
                let again = move |given: &Credential| make(given).map_err(|why| NoCredential::new(why.to_string()));
                renewing(client, plugin, given, self.deadline(), again)
            }
        };
        Ok((client, if asks { time } else { time.saturating_sub(began.elapsed()) }))
    }

    /// Looks at the files that the client will read, before it waits for one of them.
    fn check_files(&self, config: &Config) -> Result<(), CliError> {
        let auth = &config.auth_info;
        let files = [
            ("tokenFile", auth.token_file.as_ref().map(Path::new)),
            ("client-certificate", auth.client_certificate.as_ref().map(Path::new)),
            ("client-key", auth.client_key.as_ref().map(Path::new)),
            ("certificate-authority", config.root_cert_file.as_deref()),
        ];
        for (key, path) in files {
            let key = || format!("{key} of the kubeconfig");
            path.map_or(Ok(()), |path| is_file(key, path, self.deadline()))
                .map_err(|unusable| self.unusable(unusable))?;
        }
        Ok(())
    }

    fn authenticate(&self, config: &mut Config) -> Result<(), CliError> {
        let auth = &mut config.auth_info;
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
            auth.client_certificate_data = Some(base64(&certificate_at("client-certificate", path)?));
            auth.client_certificate = None;
        }
        if let Some(path) = &self.client_key {
            auth.client_key_data = Some(SecretString::from(base64(&key_at("client-key", path)?)));
            auth.client_key = None;
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
        Ok(())
    }
}

/// Puts what a flag says of the cluster into what a credential plugin is told of it, where it is told: one that heard of another
/// server than is asked would give a credential for that one.
fn tell_plugin(config: &mut Config, put: impl FnOnce(&mut ExecAuthCluster)) {
    if let Some(told) = config.auth_info.exec.as_mut().and_then(|exec| exec.cluster.as_mut()) {
        put(told);
    }
}

/// The certificates in the file that a flag names, as PEM: read as every file that the command line names.
pub(crate) fn certificate_at(flag: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    let pem = bounded::bytes(path)?;
    certificates(&pem).map_err(|why| no_pem(flag, path, "certificate", &why))?;
    Ok(pem)
}

/// The same of a private key.
pub(crate) fn key_at(flag: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    let pem = bounded::bytes(path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|why| no_pem(flag, path, "private key", &causes(&why)))?;
    Ok(pem)
}

fn no_pem(flag: &str, path: &Path, what: &str, why: &str) -> CliError {
    CliError::Usage(format!("--{flag}: {} is no {what} in PEM ({why}); name another", spelled(path)))
}

/// A pod's own cluster, where nobody meant another: a list of kubeconfigs of which none exists did.
fn own_cluster(found: Result<Config, String>, list: Option<&str>) -> Result<Config, CliError> {
    let text = match (found, list) {
        (Ok(config), None) => return Ok(config),
        (Ok(_), Some(list)) => format!(
            "no kubeconfig of KUBECONFIG ({list}) exists, and the account of this pod may be for another cluster than the one \
             that is meant; unset KUBECONFIG to use it, or name a file with --kubeconfig"
        ),
        (Err(why), list) => {
            let list = list.map_or_else(String::new, |list| format!(" (KUBECONFIG is {list:?})"));
            format!(
                "no cluster is known: there is no kubeconfig{list}, and this is no pod ({why}); name one with --kubeconfig or \
                 --server"
            )
        }
    };
    Err(CliError::Connection(text))
}

/// Of a user that one of the older providers of credentials stands for: what stands beside it counts before it, as for kubectl.
fn of_provider(auth: &mut AuthInfo, user: Option<&str>) -> Result<(), String> {
    let Some(provider) = auth.auth_provider.take() else { return Ok(()) };
    let has_password = auth.username.is_some() && auth.password.is_some();
    if auth.token.is_some() || auth.token_file.is_some() || has_password {
        return Ok(());
    }
    let instead = match provider.name.as_str() {
        "gcp" => "gke-gcloud-auth-plugin, which gcloud container clusters get-credentials writes into it",
        "azure" => "kubelogin, which kubelogin convert-kubeconfig writes into it",
        "oidc" => "kubectl oidc-login, which kubectl oidc-login setup writes into it",
        _ => "one of the cloud's own",
    };
    let gone = if provider.name == "oidc" {
        "which this program does not speak"
    } else {
        "which Kubernetes' programs have not taken since 1.26"
    };
    Err(format!(
        "the kubeconfig's user {:?} has the auth-provider {:?}, {gone}: have the kubeconfig made anew with a credential plugin (exec), \
         as {instead}",
        user.unwrap_or_default(),
        provider.name
    ))
}

/// Takes over what kube would do with a file that holds a token: it leaves line ends in it.
fn token_file(auth: &mut AuthInfo) -> Result<Option<Arc<TokenFile>>, Unusable> {
    if auth.token.is_some() || auth.username.is_some() && auth.password.is_some() {
        return Ok(None);
    }
    let Some(path) = auth.token_file.take() else { return Ok(None) };
    auth.exec = None;
    let file = TokenFile::open(path.into()).map_err(|unusable| Unusable {
        why: format!("tokenFile of the kubeconfig: {}; check the kubeconfig's user", unusable.why),
        ..unusable
    })?;
    Ok(Some(Arc::new(file)))
}

#[cfg(test)]
mod tests;
