//! The kubeconfig: which one is read, what several come to, and how the cluster is reached that it names.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use clearwater::yaml;
use kube::Config;
use kube::config::{ExecAuthCluster, Kubeconfig, KubeconfigError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::credential_file::{is_file, within};
use super::server::url;
use super::{Connection, Unusable, causes};
use crate::awaited::{Written, awaited};
use crate::bounded::{self, LARGEST};
use crate::error::{CliError, spelled};

impl Connection {
    /// The kubeconfig that the flags and the environment name, or `None` where there is none.
    pub(crate) fn read_kubeconfig(&self) -> Result<Option<Kubeconfig>, CliError> {
        let (named, limit) = (self.kubeconfig.clone(), self.deadline());
        let tell = self.teller();
        let _awaited = awaited(Written::default(), move || tell("the kubeconfig to be read"));
        let read = within(limit, move || match named {
            Some(path) => kubeconfig_at(&path).map(Some),
            None => usual_kubeconfig(),
        });
        let Unusable { why, is_unread } = match read {
            Some(Ok(kubeconfig)) => return Ok(kubeconfig),
            Some(Err(unusable)) => unusable,
            None => Unusable { why: format!("it does not end within {} s", limit.as_secs()), is_unread: true },
        };
        let why = format!("the kubeconfig cannot be read: {why}; name another with --kubeconfig");
        Err(self.unusable(Unusable { why, is_unread }))
    }

    /// A kubeconfig by which no cluster is reached: where the command line named it, the command line is wrong, as with every
    /// file, whatever of it or of the files that it names is wrong. Of one that could not be read nobody knows.
    pub(super) fn unusable(&self, unusable: Unusable) -> CliError {
        let Unusable { why, is_unread } = unusable;
        if self.kubeconfig.is_some() && !is_unread { CliError::Usage(why) } else { CliError::Connection(why) }
    }

    /// One in which something is wrong.
    pub(super) fn wrong_kubeconfig(&self, text: String) -> CliError {
        self.unusable(Unusable::wrong(text))
    }

    /// Whether a kubeconfig has what the flags name of it. Where there is none, it has nothing: another cluster than the one that
    /// was meant would be reached, were they passed over.
    pub(super) fn has_named(&self, kubeconfig: &Kubeconfig) -> Result<(), CliError> {
        let named = |what, name: &Option<String>, known: Vec<&str>| match name {
            Some(name) if !known.contains(&name.as_str()) => Err(unknown(what, name, known.into_iter())),
            _ => Ok(()),
        };
        named("context", &self.context, kubeconfig.contexts.iter().map(|c| c.name.as_str()).collect())?;
        named("cluster", &self.cluster, kubeconfig.clusters.iter().map(|c| c.name.as_str()).collect())?;
        named("user", &self.user, kubeconfig.auth_infos.iter().map(|c| c.name.as_str()).collect())
    }

    /// What the kubeconfig says. kube's reader would refuse what `NO_PROXY` may hold.
    pub(super) fn config_of(&self, kubeconfig: Kubeconfig) -> Result<OfKubeconfig, CliError> {
        self.has_named(&kubeconfig)?;
        let no_cluster = |why: String| {
            self.wrong_kubeconfig(format!("the kubeconfig names no usable cluster: {why}; choose a --context"))
        };
        let name = self.context.as_ref().or(kubeconfig.current_context.as_ref()).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| no_cluster("it has no current-context".to_owned()))?;
        let context = kubeconfig.contexts.into_iter().find(|c| c.name == *name).and_then(|c| c.context);
        let context = context.ok_or_else(|| no_cluster(format!("it has no context {name:?}")))?;
        let name = self.cluster.as_ref().unwrap_or(&context.cluster);
        let cluster = kubeconfig.clusters.into_iter().find(|c| c.name == *name).and_then(|c| c.cluster);
        let mut cluster = cluster.ok_or_else(|| no_cluster(format!("it has no cluster {name:?}")))?;
        if self.certificate_authority.is_some() {
            // The flag's takes its place.
            (cluster.certificate_authority, cluster.certificate_authority_data) = (None, None);
        }
        let key = |what: &str| format!("{what} of the kubeconfig's cluster {name:?}");
        let authority = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
            (Some(_), _) => Some(key("certificate-authority-data")),
            (None, Some(path)) => {
                is_file(|| key("certificate-authority"), Path::new(path), self.deadline())
                    .map_err(|unusable| self.unusable(unusable))?;
                Some(key(&format!("certificate-authority {path}")))
            }
            (None, None) => None,
        };
        // A context without a user is nobody's; one whose user is not there was meant to be somebody's.
        let user_name = self.user.clone().or(context.user).filter(|user| !user.is_empty());
        let user = match &user_name {
            Some(user) => {
                let found = kubeconfig.auth_infos.into_iter().find(|c| c.name == *user);
                let is_said = self.token.is_some();
                if found.is_none() && !is_said {
                    return Err(no_cluster(format!("it has no user {user:?}, whom its context names")));
                }
                found.and_then(|found| found.auth_info)
            }
            None => None,
        };
        let server = match &self.server {
            Some(server) => url("--server", server).map_err(CliError::Usage)?,
            None => url(&key("server"), cluster.server.as_deref().unwrap_or_default())
                .map_err(|why| self.wrong_kubeconfig(format!("{why} there, or choose another --context")))?,
        };
        let no_certificate = |why: String| {
            let place = authority.as_deref().unwrap_or_default();
            self.wrong_kubeconfig(format!(
                "{place} is no certificate in PEM ({why}): take the kubeconfig of this cluster anew, or name its authority's \
                 certificate with --certificate-authority"
            ))
        };
        let mut told = ExecAuthCluster::try_from(&cluster).map_err(|e| no_certificate(causes(&e)))?;
        if self.server.is_some() {
            told.server = Some(server.to_string().trim_end_matches('/').to_owned());
        }
        let mut config = Config::new(server);
        if let Some(pem) = &told.certificate_authority_data {
            config.root_cert = Some(certificates(pem).map_err(&no_certificate)?);
        }
        config.default_namespace = context.namespace.unwrap_or_else(|| "default".to_owned());
        config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or(false);
        config.disable_compression = cluster.disable_compression.unwrap_or(false);
        config.tls_server_name = cluster.tls_server_name;
        config.auth_info = user.unwrap_or_default();
        if config.auth_info.token_file.is_some() {
            // As for kubectl, the file counts.
            config.auth_info.token = None;
        }
        if let Some(exec) = config.auth_info.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
            exec.cluster = Some(told);
        }
        Ok(OfKubeconfig { config, proxy: cluster.proxy_url, authority, user: user_name })
    }
}

/// The certificates in a text, in DER. One without any would have every server taken for a stranger.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).map(|c| c.map(|c| c.to_vec())).collect();
    let all = all.map_err(|e| causes(&e))?;
    // What stands between the lines of one may be anything.
    let is_one = |der: &Vec<u8>| webpki::anchor_from_trusted_cert(&CertificateDer::from(der.as_slice())).is_ok();
    match all.iter().find(|der| !is_one(der)) {
        _ if all.is_empty() => Err("there is none in it".to_owned()),
        Some(_) => Err("what stands in it as one cannot be read".to_owned()),
        None => Ok(all),
    }
}

/// What a kubeconfig says of the cluster and of who asks.
pub(super) struct OfKubeconfig {
    pub(super) config: Config,
    /// The cluster's own proxy.
    pub(super) proxy: Option<String>,
    /// Where the authority's certificate was read.
    pub(super) authority: Option<String>,
    /// The user's name.
    pub(super) user: Option<String>,
}

impl From<Config> for OfKubeconfig {
    /// One that no kubeconfig says.
    fn from(config: Config) -> Self {
        Self { config, proxy: None, authority: None, user: None }
    }
}

/// How the cluster is found.
pub(super) enum ClusterAccess<'a> {
    /// As the kubeconfig says.
    Kubeconfig(Box<Kubeconfig>),
    /// By the address of `--server` alone.
    Server(&'a str),
    /// As a pod finds its own.
    Pod,
}

/// How the cluster is found. A kubeconfig that is there and names none is an error, also inside a pod.
pub(super) fn way(kubeconfig: Option<Kubeconfig>, server: Option<&str>) -> Result<ClusterAccess<'_>, &'static str> {
    match (kubeconfig, server) {
        (Some(kubeconfig), _) if !kubeconfig.contexts.is_empty() || !kubeconfig.clusters.is_empty() => {
            Ok(ClusterAccess::Kubeconfig(Box::new(kubeconfig)))
        }
        (_, Some(server)) => Ok(ClusterAccess::Server(server)),
        (Some(_), None) => Err("names no cluster"),
        (None, None) => Ok(ClusterAccess::Pod),
    }
}

/// The kubeconfigs that the environment names, merged, else the one in the home directory. Members of the list that do
/// not exist are passed over, as kubectl does.
fn usual_kubeconfig() -> Result<Option<Kubeconfig>, Unusable> {
    match std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        Some(list) => merged(std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty())),
        None => merged(std::env::home_dir().map(|home| home.join(".kube/config")).into_iter()),
    }
}

fn merged(list: impl Iterator<Item = PathBuf>) -> Result<Option<Kubeconfig>, Unusable> {
    let mut merged: Option<Kubeconfig> = None;
    for path in list {
        if std::fs::metadata(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            continue;
        }
        let next = kubeconfig_at(&path)?;
        merged = Some(match merged {
            None => next,
            Some(before) => {
                before.merge(next).map_err(|e| Unusable::wrong(format!("{}: {}", spelled(&path), causes(&e))))?
            }
        });
    }
    Ok(merged)
}

/// The text of a kubeconfig, which may be UTF-16, as kube's reader takes it.
fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    let unit = match bytes[..] {
        [0xFF, 0xFE, ..] => u16::from_le_bytes,
        [0xFE, 0xFF, ..] => u16::from_be_bytes,
        _ => return bounded::decoded(bytes),
    };
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    let (units, rest) = bytes[2..].as_chunks();
    if !rest.is_empty() {
        return Err(wrong("it is UTF-16 and ends in the middle of a character"));
    }
    let units: Vec<u16> = units.iter().copied().map(unit).collect();
    String::from_utf16(&units).map_err(|_| wrong("it begins as UTF-16 and is none"))
}

/// The kubeconfig in a file, or in what a shell puts in a file's place (`--kubeconfig <(...)`).
fn kubeconfig_at(path: &Path) -> Result<Kubeconfig, Unusable> {
    let wrong = |why: &dyn fmt::Display| Unusable::wrong(format!("{}: {why}", spelled(path)));
    let text = File::open(path).and_then(|file| bounded::all(file, LARGEST)).and_then(text_of);
    let text = text.map_err(|e| Unusable::unread(&e, format!("{}: {e}", spelled(path))))?;
    // kube's own reader takes aliases that come to a million values.
    yaml::within_limits(&text).map_err(|e| wrong(&e))?;
    let found = if path.metadata().is_ok_and(|found| found.is_file()) {
        // It knows what the paths in it begin at.
        Kubeconfig::read_from(path)
    } else {
        Kubeconfig::from_yaml(&text)
    };
    found.map_err(|e| match &e {
        // Its words have the path.
        KubeconfigError::ReadConfig(why, _) => Unusable::unread(why, causes(&e)),
        _ => wrong(&causes(&e)),
    })
}

pub(super) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> CliError {
    let known: Vec<&str> = known.collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    CliError::Usage(format!("the kubeconfig has no {what} {name:?}; it has: {known}"))
}

/// A kubeconfig of two contexts, for tests.
#[cfg(test)]
pub(super) const SAMPLE: &str = "\
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_kubeconfigs_is_what_of_it_is_there_and_what_is_wrong_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("good", SAMPLE);
        write("other", &SAMPLE.replace("lab", "other"));
        write("broken", "a: [");
        write("nothing", "apiVersion: v1\nkind: Config\n");
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        let list = |names: &str| merged(names.split(':').map(|name| dir.path().join(name)));
        assert!(list("missing:gone").ok().unwrap().is_none());
        let both = list("missing:good:gone:other").ok().unwrap().unwrap();
        assert_eq!(both.current_context.as_deref(), Some("lab"));
        assert_eq!(both.contexts.len(), 3, "{:?}", both.contexts);
        for name in ["broken", "folder"] {
            let error = list(&format!("good:{name}")).err().unwrap().why;
            assert!(error.contains(&format!("/{name}")), "{error}");
        }
        // Neither is passed over for the pod's own account.
        assert!(matches!(way(list("nothing").ok().unwrap(), None), Err("names no cluster")));
        assert!(matches!(way(list("nothing").ok().unwrap(), Some("x")), Ok(ClusterAccess::Server("x"))));
        assert!(matches!(way(list("missing").ok().unwrap(), None), Ok(ClusterAccess::Pod)));
        assert!(matches!(way(list("missing:good").ok().unwrap(), None), Ok(ClusterAccess::Kubeconfig(_))));
    }
}
