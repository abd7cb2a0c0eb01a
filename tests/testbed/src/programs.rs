//! The Go programs of the cluster: built once for each state of their sources, kept in the cache.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::host::{find_program, output, run};
use crate::layout::{cache_directory, cached};
use crate::plan::KUBERNETES_VERSION;

/// Where the sources are.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/go");

/// The names under which the one binary acts as another program.
const KUBE_NAMES: [&str; 6] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];

/// A Go program of the test bed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Kubernetes and etcd in one binary.
    Kube,
    /// kubectl.
    Kubectl,
    /// CoreDNS.
    CoreDns,
    /// The first process of every pod.
    Pause,
    /// The test bed's own controllers, proxy and registry.
    Helper,
    /// A client and a server to look at networks with.
    Probe,
    /// metrics-server. It has a module of its own, because it is built from a later Kubernetes.
    MetricsServer,
    /// kube-router's firewall part, which enforces NetworkPolicy. It has a module of its own, because it is built from an
    /// earlier Kubernetes.
    KubeRouter,
}

impl Program {
    /// All of them, those first that take longest to build.
    pub const ALL: [Self; 8] = [
        Self::Kube,
        Self::CoreDns,
        Self::KubeRouter,
        Self::MetricsServer,
        Self::Kubectl,
        Self::Helper,
        Self::Probe,
        Self::Pause,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Kube => "kube",
            Self::Kubectl => "kubectl",
            Self::CoreDns => "coredns",
            Self::Pause => "pause",
            Self::Helper => "helper",
            Self::Probe => "probe",
            Self::MetricsServer => "metrics-server",
            Self::KubeRouter => "kube-router",
        }
    }

    fn link_flags(self) -> String {
        match self {
            Self::Kube | Self::Kubectl => {
                let mut parts = KUBERNETES_VERSION.split('.');
                let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                let package = "k8s.io/component-base/version";
                format!(
                    "-s -w -X {package}.gitVersion=v{KUBERNETES_VERSION} -X {package}.gitMajor={major} \
                     -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
                )
            }
            _ => "-s -w".to_owned(),
        }
    }

    /// The built program, built now when the cache has none.
    ///
    /// The first build of [`Program::Kube`] and [`Program::CoreDns`] takes minutes of processor time.
    pub fn get(self, say: &dyn Fn(&str)) -> Result<PathBuf> {
        let directory = self.directory()?;
        let binary = directory.join(self.name());
        if binary.exists() {
            return Ok(binary);
        }
        fs::create_dir_all(cache_directory()?)?;
        let lock = File::create(directory.with_extension("lock")).context("cannot create a lock file in the cache")?;
        lock.lock().context("cannot lock the cache")?;
        if !binary.exists() {
            self.build(&directory, say)?;
        }
        Ok(binary)
    }

    /// The built program, if the cache has it.
    pub fn cached(self) -> Option<PathBuf> {
        let binary = self.directory().ok()?.join(self.name());
        binary.exists().then_some(binary)
    }

    /// Where the built program is or will be.
    fn directory(self) -> Result<PathBuf> {
        let sources = Path::new(SOURCES);
        let mut inputs = vec![go(&["env", "GOVERSION", "GOARCH"])?.into_bytes(), self.link_flags().into_bytes()];
        let own = sources.join(self.name());
        let mut files = match self {
            Self::MetricsServer | Self::KubeRouter => Vec::new(),
            _ => vec![sources.join("go.mod"), sources.join("go.sum")],
        };
        for entry in fs::read_dir(&own).with_context(|| format!("cannot read {}", own.display()))? {
            files.push(entry?.path());
        }
        files.sort();
        for file in files {
            inputs.push(file.display().to_string().trim_start_matches(SOURCES).as_bytes().to_vec());
            inputs.push(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
        }
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        cached(self.name(), &inputs)
    }

    fn build(self, directory: &Path, say: &dyn Fn(&str)) -> Result<()> {
        let name = self.name();
        say(&format!("building {name}; minutes the first time, seconds when Go's build cache is warm"));
        let temporary = directory.with_extension(format!("part-{}", std::process::id()));
        fs::create_dir_all(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;
        let (from, package) = match self {
            Self::MetricsServer | Self::KubeRouter => (Path::new(SOURCES).join(name), ".".to_owned()),
            _ => (PathBuf::from(SOURCES), format!("./{name}")),
        };
        let mut command = Command::new("nice");
        command
            .args(["go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags"])
            .arg(self.link_flags())
            .arg("-o")
            .arg(temporary.join(name))
            .arg(package)
            .current_dir(from)
            .env("CGO_ENABLED", "0");
        output(&mut command).with_context(|| format!("cannot build {name}"))?;
        if self == Self::Kube {
            for link in KUBE_NAMES {
                symlink(name, temporary.join(link)).with_context(|| format!("cannot link {link}"))?;
            }
        }
        fs::rename(&temporary, directory).with_context(|| format!("cannot put {name} into the cache"))
    }
}

fn go(arguments: &[&str]) -> Result<String> {
    ensure!(
        find_program("go").is_some(),
        "the program `go` is not in PATH: install Go 1.24 or later, the cluster is built from its sources"
    );
    run("go", arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_named_here_are_those_of_the_go_module() {
        let module = fs::read_to_string(Path::new(SOURCES).join("go.mod")).unwrap();
        assert!(module.contains(&format!("k8s.io/kubernetes v{KUBERNETES_VERSION}\n")));
        assert!(module.contains(&format!("github.com/coredns/coredns v{}\n", crate::plan::COREDNS_VERSION)));
    }
}
