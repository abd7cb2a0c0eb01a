//! Where a cluster keeps its files, and the names everything of it has on this machine.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// The cluster that is meant when nobody names one.
pub const DEFAULT_NAME: &str = "cw";

/// Environment variable that names the cluster to use.
pub const NAME_VARIABLE: &str = "CLEARWATER_TESTBED_NAME";

/// Interface names have at most 15 bytes, and two are spent on a suffix.
const LONGEST_NAME: usize = 12;

/// The directories and names of one cluster. All that differs between two clusters on a machine comes from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    name: String,
    cache: PathBuf,
    run: PathBuf,
}

impl Layout {
    /// The layout of the cluster `name` for the user who asks.
    pub fn new(name: &str) -> Result<Self> {
        Self::below(name, cache_directory()?, "/run/clearwater-testbed".into())
    }

    /// The name from [`NAME_VARIABLE`], or [`DEFAULT_NAME`].
    pub fn name_from_environment() -> String {
        env::var(NAME_VARIABLE).ok().filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_NAME.to_owned())
    }

    pub(crate) fn below(name: &str, cache: PathBuf, run: PathBuf) -> Result<Self> {
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid = name.len() <= LONGEST_NAME
            && name.bytes().all(|byte| lower(byte) || byte == b'-')
            && name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
            && name.bytes().last().is_some_and(lower);
        ensure!(
            valid,
            "the cluster name {name:?} cannot be used: take up to {LONGEST_NAME} of a-z, 0-9 and '-', beginning with a letter"
        );
        let layout = Self { name: name.to_owned(), cache, run };
        // A unix socket's path has at most 107 bytes; the longest below is the kubelet's for devices.
        let longest = layout.node_data(1).join("kubelet/device-plugins/kubelet.sock");
        ensure!(
            longest.as_os_str().len() <= 107,
            "the cache directory {} is too deep for unix sockets: set XDG_CACHE_HOME to a shorter path",
            layout.cache.display()
        );
        Ok(layout)
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is worth keeping between runs: built programs, images.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Data, configuration and logs of this cluster; on a disk.
    pub fn data(&self) -> PathBuf {
        self.cache.join("clusters").join(&self.name)
    }

    /// Sockets, process ids and network namespaces of this cluster; gone after a reboot.
    pub fn run(&self) -> PathBuf {
        self.run.join(&self.name)
    }

    /// Directory of the clusters' run directories.
    pub(crate) fn all_runs(&self) -> &Path {
        &self.run
    }

    /// Logs of the cluster's parts, one file a part.
    pub fn logs(&self) -> PathBuf {
        self.data().join("logs")
    }

    /// The API server's audit log: JSON lines.
    pub fn audit_log(&self) -> PathBuf {
        self.data().join("audit/audit.log")
    }

    /// Kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data().join("kubeconfig")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.data().join("pki")
    }

    pub(crate) fn etc(&self) -> PathBuf {
        self.data().join("etc")
    }

    pub(crate) fn node_data(&self, node: u8) -> PathBuf {
        self.data().join(format!("n{node}"))
    }

    pub(crate) fn node_run(&self, node: u8) -> PathBuf {
        self.run().join(format!("n{node}"))
    }

    /// containerd's root; outlives the cluster, so that images are imported once.
    pub(crate) fn node_images(&self, node: u8) -> PathBuf {
        self.cache.join("containerd").join(&self.name).join(format!("n{node}"))
    }

    /// Name of a node in the cluster and its host name there.
    pub fn node_name(&self, node: u8) -> String {
        format!("{}-{node}", self.name)
    }

    /// The file that holds a network namespace open.
    pub(crate) fn namespace(&self, place: &str) -> PathBuf {
        self.run().join("net").join(place)
    }

    /// The host's end of the wire to the cluster.
    pub(crate) fn host_link(&self) -> String {
        format!("{}-h", self.name)
    }

    /// Name of the control group that holds every process of the cluster, pods included.
    pub(crate) fn cgroup(&self) -> String {
        format!("clearwater-{}", self.name)
    }
}

/// `$XDG_CACHE_HOME/kubectl-clearwater`, or the same below `~/.cache`.
pub fn cache_directory() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        // The XDG specification: a relative path is to be ignored.
        Some(path) if path.is_absolute() => path,
        _ => match env::var_os("HOME") {
            Some(home) => PathBuf::from(home).join(".cache"),
            None => bail!("neither XDG_CACHE_HOME nor HOME is set: set one of them"),
        },
    };
    Ok(base.join("kubectl-clearwater"))
}

/// A directory below the cache for files that `inputs` determine: `<cache>/<name>-<hash of inputs>`.
///
/// The directory is not created.
pub fn cached(name: &str, inputs: &[&[u8]]) -> Result<PathBuf> {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for input in inputs {
        hash.update(u64::try_from(input.len()).context("an input of a cache key is too long")?.to_le_bytes());
        hash.update(input);
    }
    let hex = crate::image::to_hex(&hash.finalize());
    Ok(cache_directory()?.join(format!("{name}-{}", &hex[..16])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit_an_interface_or_a_dns_label_are_refused() {
        let layout = |name| Layout::below(name, "/cache".into(), "/run/x".into());
        assert_eq!(layout("a-cluster-01").unwrap().host_link(), "a-cluster-01-h");
        for name in ["", "-a", "a-", "1a", "A", "a_b", "a/b", "longer-than-12"] {
            assert!(layout(name).is_err(), "{name:?} accepted");
        }
    }

    #[test]
    fn a_cache_too_deep_for_sockets_is_named() {
        let error = Layout::below("cw", format!("/{}", "d".repeat(90)).into(), "/run/x".into()).unwrap_err();
        assert!(error.to_string().contains("XDG_CACHE_HOME"), "{error}");
    }
}
