//! Nodes that hold no image: larger ones, new ones each time, behind a line that both nodes share.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::image::{Archive, Entry, Layer};
use clearwater_testbed::{Fault, Kubectl, Local, Registry, Rule};
use serde_json::Value;
use xtask::workspace::root;

/// What all images share above what the nodes have, in MiB.
const SHARED: usize = 150;
/// Cassandra's own, in MiB.
const CASSANDRA: usize = 107;
/// Each other image's own, in MiB.
const OTHER: usize = 48;
/// The line that both nodes share, in bytes a second.
pub(crate) const LINE: u32 = 20_000_000;

/// Which images are deployed, and where they come from.
pub(crate) enum Images {
    /// The nodes hold those of this tag.
    There(String),
    /// The nodes have to bring them.
    Absent(Box<Absent>),
}

/// A registry of larger images. They go with it, from the nodes too.
pub(crate) struct Absent {
    tag: String,
    registry: Registry,
    folder: PathBuf,
    shared: Layer,
    /// Each image's own layer, by what stands in its name.
    own: Vec<(String, Layer)>,
}

impl Images {
    pub(crate) fn absent(tag: &str) -> Result<Self> {
        Ok(Self::Absent(Box::new(Absent::begin(cluster().local()?, tag)?)))
    }

    pub(crate) fn tag(&self) -> &str {
        match self {
            Self::There(tag) => tag,
            Self::Absent(absent) => &absent.tag,
        }
    }

    /// The registry that all images come from.
    pub(crate) fn mirror(&self) -> Option<&str> {
        match self {
            Self::There(_) => None,
            Self::Absent(absent) => Some(absent.registry.address()),
        }
    }

    /// What the plugin is told.
    pub(crate) fn settings(&self) -> Vec<String> {
        let own = ["keys=upstream".to_owned(), format!("images.tag={}", self.tag())];
        let mirror = self.mirror().map(|host| format!("images.mirror={host}"));
        own.into_iter().chain(mirror).flat_map(|setting| ["--set".to_owned(), setting]).collect()
    }

    /// How long the line needs for what pods brought to their nodes.
    pub(crate) fn transfer(&self, kubectl: &Kubectl) -> Result<Option<Duration>> {
        let Self::Absent(absent) = self else { return Ok(None) };
        let pods = kubectl.json(["get", "pods", "--selector=service"])?;
        let mut brought: BTreeSet<(String, String)> = BTreeSet::new();
        let mut bytes = 0;
        for pod in pods["items"].as_array().into_iter().flatten() {
            let node = pod["spec"]["nodeName"].as_str().context("a pod without a node")?;
            for image in images_of(&pod["spec"]) {
                for layer in absent.layers(&image) {
                    if brought.insert((node.to_owned(), layer.digest().to_owned())) {
                        bytes += layer.size();
                    }
                }
            }
        }
        Ok(Some(Duration::from_secs(bytes).checked_div(LINE).unwrap_or_default()))
    }
}

impl Absent {
    fn begin(local: &Local, tag: &str) -> Result<Self> {
        let folder = root().canonicalize()?.join("target/prove").join(format!("images-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let names = rendered(tag)?;
        let there = local.export(&names, folder.join("there.tar"))?;
        let shared = noise(&folder, SHARED)?;
        let own = names
            .iter()
            .map(|name| {
                let size = if name.contains("-cassandra:") { CASSANDRA } else { OTHER };
                Ok((without_host(name).to_owned(), noise(&folder, size)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let layers = |name: &str| layers_of(&shared, &own, name);
        let larger: Archive = there.larger(folder.join("larger.tar"), &layers)?;
        let mut registry = local.registry(&[there, larger])?;
        registry.set(&[Rule::new(Fault::Slow(LINE)).path("/blobs/")])?;
        Ok(Self { tag: tag.to_owned(), registry, folder, shared, own })
    }

    fn layers(&self, image: &str) -> Vec<Layer> {
        layers_of(&self.shared, &self.own, image)
    }
}

impl Drop for Absent {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
        if let Ok(local) = cluster().local() {
            let _ = local.forget_images(self.registry.address());
        }
    }
}

/// The layers by which an image is larger.
fn layers_of(shared: &Layer, own: &[(String, Layer)], image: &str) -> Vec<Layer> {
    let own = own.iter().find(|(name, _)| name == without_host(image)).map(|(_, layer)| layer.clone());
    own.map_or_else(Vec::new, |own| vec![shared.clone(), own])
}

fn without_host(image: &str) -> &str {
    image.split_once('/').map_or(image, |(_, name)| name)
}

fn images_of(spec: &Value) -> Vec<String> {
    let containers = ["initContainers", "containers"].map(|list| spec[list].as_array().cloned().unwrap_or_default());
    containers.concat().iter().filter_map(|c| c["image"].as_str()).map(str::to_owned).collect()
}

/// The images that `up` deploys.
fn rendered(tag: &str) -> Result<Vec<String>> {
    let tag = format!("images.tag={tag}");
    let ran = Plugin::new(cluster(), "default")?.run(&["render", "-o", "json", "--set", &tag])?.expect(0)?;
    let objects: Value = serde_json::from_str(&ran.out)?;
    let items = objects["items"].as_array().context("no objects")?;
    let all: BTreeSet<String> = items.iter().flat_map(|item| images_of(&item["spec"]["template"]["spec"])).collect();
    Ok(all.into_iter().collect())
}

/// A layer that cannot be made smaller, and that nobody has.
fn noise(store: &Path, mebibytes: usize) -> Result<Layer> {
    let mut bytes = vec![0; mebibytes << 20];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("cannot read /dev/urandom")?;
    Layer::from_entries(store, &[Entry::bytes("usr/share/larger/noise", 0o644, bytes)])
}
