//! The other ways to deploy the same images on the same cluster.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::{Kubectl, Namespace};

use crate::absent::Images;
use crate::common::{gone, now};
use crate::measured::busy;
use crate::register::{First, error_lines};
use crate::round::Round;
use xtask::workspace::root;

/// A way to deploy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Manifests whose init containers wait for names and ports, as functest's do.
    InitContainers,
    /// `helm install --wait` of a chart with the plugin's own manifests.
    Helm,
}

pub(crate) const ALL: [Way; 2] = [Way::InitContainers, Way::Helm];

impl Way {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InitContainers => "init containers",
            Self::Helm => "helm 4 `--wait`",
        }
    }

    pub(crate) fn round(self, images: &Images) -> Result<Round> {
        let helm = match self {
            Self::Helm => Some(helm()?),
            Self::InitContainers => None,
        };
        let namespace = cluster().namespace("e2e-beside")?;
        let kubectl = namespace.kubectl().clone();
        let prepared = match self {
            Self::InitContainers => overlay(images)?,
            Self::Helm => chart(&namespace, images)?,
        };
        let phone = First::start(&kubectl)?;
        let (began, clock, busy_before) = (now()?, Instant::now(), busy()?);
        match helm {
            None => applied(&kubectl, prepared.path())?,
            Some(helm) => installed(&helm, &namespace, prepared.path())?,
        }
        let wall = clock.elapsed();
        let busy = busy()?.saturating_sub(busy_before);
        let register = Duration::from_micros(phone.registered()?.saturating_sub(began));
        let errors = error_lines(&kubectl)?;
        let transfer = images.transfer(&kubectl)?;
        gone(namespace)?;
        Ok(Round { wall, path: None, transfer, busy, register, errors, resident: 0, again: None })
    }
}

fn applied(kubectl: &Kubectl, folder: &Path) -> Result<()> {
    kubectl.run(["apply", "--kustomize", &folder.to_string_lossy()])?;
    kubectl.run(["wait", "--for=condition=Available", "deployments", "--all", "--timeout=600s"])?;
    Ok(())
}

fn installed(helm: &Path, namespace: &Namespace<'_>, chart: &Path) -> Result<()> {
    let kubeconfig = cluster().local()?.layout().kubeconfig();
    let out = Command::new(helm)
        .args(["install", "clearwater", "--wait", "--timeout=10m", "--namespace", namespace.name()])
        .arg(chart)
        .env("KUBECONFIG", kubeconfig)
        .output()
        .context("cannot start helm")?;
    ensure!(out.status.success(), "helm: {}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}

/// A folder that goes away with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let path = root().canonicalize()?.join("target/prove").join(format!("{name}-{}", now()?));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn overlay(images: &Images) -> Result<Folder> {
    let folder = Folder::new("overlay")?;
    let (tag, host) = (images.tag(), images.mirror());
    let (own, etcd) = (host.unwrap_or("docker.io"), host.unwrap_or("quay.io"));
    let mut lines = format!("  - {{name: quay.io/coreos/etcd, newName: {etcd}/coreos/etcd}}\n");
    for name in
        ["astaire", "cassandra", "chronos", "homestead", "homestead-prov", "homer", "ralf", "sprout", "bono", "ellis"]
    {
        let image = format!("ollivier/clearwater-{name}");
        writeln!(lines, "  - {{name: docker.io/{image}, newName: {own}/{image}, newTag: {tag}}}")?;
    }
    let text = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - \
         ../../../tests/standins/apply/hunter\nimages:\n{lines}"
    );
    fs::write(folder.path().join("kustomization.yaml"), text)?;
    Ok(folder)
}

/// The plugin's own manifests as a chart: the same objects and probes, started all at once.
fn chart(namespace: &Namespace<'_>, images: &Images) -> Result<Folder> {
    let folder = Folder::new("chart")?;
    let plugin = Plugin::new(cluster(), namespace.name())?;
    let dir = folder.path().to_string_lossy();
    let settings = images.settings();
    let mut args = vec!["render", "--dir", &dir, "--helm"];
    args.extend(settings.iter().map(String::as_str));
    plugin.run(&args)?.expect(0)?;
    Ok(folder)
}

/// helm of the pinned version, built where it is missing.
fn helm() -> Result<PathBuf> {
    ensure!(env::var_os("CLEARWATER_NO_HELM").is_none(), "not measured: CLEARWATER_NO_HELM is set");
    crate::go::program(crate::go::HELM)
}
