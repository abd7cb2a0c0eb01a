//! Builds the stand-in images from `tests/standins/images`.
//!
//! The folder is data: `recipe.json` says which images there are and which folders are their layers. All images share
//! the base (Debian packages, by `mmdebstrap`), the `standin` program, the common files and the release's files, so a
//! node holds each of them once. What is expensive is kept in the cache under a name that contains the hash of all
//! that went in.
//!
//! ```no_run
//! use clearwater_testbed::standins::{Inputs, build};
//! # fn main() -> anyhow::Result<()> {
//! let built = build(&Inputs {
//!     images: "tests/standins/images".into(),
//!     program: "target/release/standin".into(),
//!     cache: "/var/cache/clearwater".into(),
//! })?;
//! for (reference, digest) in &built.images {
//!     println!("{reference} {digest}");
//! }
//! # Ok(()) }
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::containerd;
use crate::image::{Archive, Entry, Image, Layer, to_hex, write_archive};
use crate::layout::Layout;
use crate::net::NODES;

/// A date before every package of the suite, so that two runs of `mmdebstrap` write the same times.
const SOURCE_DATE_EPOCH: &str = "1700000000";

/// What the images are made from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The folder with `recipe.json` and the layers' files.
    pub images: PathBuf,
    /// The `standin` program, built for the base's C library (Debian 12).
    pub program: PathBuf,
    /// A folder that outlives the work tree; `standins/` is made in it.
    pub cache: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    base: Base,
    tools: Tools,
    entrypoint: Vec<String>,
    quick: Vec<String>,
    lifelike_suffix: String,
    releases: BTreeMap<String, Release>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    suite: String,
    packages: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tools {
    packages: Vec<String>,
    layers: Vec<String>,
    /// Folder of the sipp scenarios, from the recipe's.
    scenarios: String,
    references: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    reference: String,
    components: BTreeMap<String, Component>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Component {
    layers: Vec<String>,
    reference: Option<String>,
    entrypoint: Option<Vec<String>>,
}

impl Recipe {
    fn read(images: &Path) -> Result<Self> {
        let path = images.join("recipe.json");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a recipe", path.display()))
    }
}

/// Names of all images that [`build`] makes, without building anything.
pub fn references(images: &Path) -> Result<Vec<String>> {
    let recipe = Recipe::read(images)?;
    let mut references = recipe.tools.references.clone();
    for release in recipe.releases.values() {
        for (name, component) in &release.components {
            let quick = release.reference_of(name, component);
            references.push(format!("{quick}{}", recipe.lifelike_suffix));
            references.push(quick);
        }
    }
    references.sort();
    Ok(references)
}

/// Names of the images that `up` starts where no file says otherwise.
pub fn of_the_default(images: &Path) -> Result<Vec<String>> {
    let recipe = Recipe::read(images)?;
    let hunter = recipe.releases.get("hunter").context("the recipe has no release hunter")?;
    Ok(hunter.components.iter().map(|(name, component)| hunter.reference_of(name, component)).collect())
}

impl Release {
    fn reference_of(&self, name: &str, component: &Component) -> String {
        component.reference.clone().unwrap_or_else(|| self.reference.replace("{component}", name))
    }
}

/// Builds the archive of all images, or takes it from the cache when nothing that goes in has changed.
pub fn build(inputs: &Inputs) -> Result<Archive> {
    let recipe = Recipe::read(&inputs.images)?;
    let store = inputs.cache.join("standins");
    fs::create_dir_all(&store).with_context(|| format!("cannot create {}", store.display()))?;

    let mut more = recipe.base.packages.clone();
    more.extend(recipe.tools.packages.iter().cloned());
    // Side by side: each waits for its packages most of the time.
    let (base, tools) = thread::scope(|scope| {
        let base = scope.spawn(|| debian(&store, "base", &recipe.base.suite, &recipe.base.packages));
        let tools = debian(&store, "tools", &recipe.base.suite, &more);
        (base.join(), tools)
    });
    let (base, tools) = (base.map_err(|_| anyhow::anyhow!("making the base panicked"))??, tools?);

    let mut hash = Sha256::new();
    for part in [&base, &tools] {
        hash.update(part.as_os_str().as_encoded_bytes());
    }
    hash_file(&mut hash, &inputs.program)?;
    hash_tree(&mut hash, &inputs.images, &inputs.images)?;
    let scenarios = inputs.images.join(&recipe.tools.scenarios);
    hash_tree(&mut hash, &scenarios, &scenarios)?;
    let key = to_hex(&hash.finalize());
    let archive = store.join(format!("images-{}.tar", &key[..16]));
    if archive.exists() {
        return Archive::open(archive);
    }

    let layers = Layers { images: &inputs.images, store: store.join("layers") };
    let base_layer = Layer::from_tar(&base)?;
    let shared = vec![
        base_layer.clone(),
        Layer::from_entries(&layers.store, &[Entry::file("usr/bin/standin", 0o755, &inputs.program)])?,
        layers.of_tree("common")?,
    ];
    let mut images = Vec::new();
    for (release_name, release) in &recipe.releases {
        let mut lower = shared.clone();
        lower.push(layers.of_tree(&format!("release/{release_name}"))?);
        for (name, component) in &release.components {
            let mut own = lower.clone();
            for folder in &component.layers {
                own.push(layers.of_tree(folder)?);
            }
            let reference = release.reference_of(name, component);
            let mut image = Image::new(format!("{reference}{}", recipe.lifelike_suffix), own);
            image.entrypoint = component.entrypoint.clone().unwrap_or_else(|| recipe.entrypoint.clone());
            let mut quick = image.clone();
            quick.reference = reference;
            quick.env.clone_from(&recipe.quick);
            images.extend([image, quick]);
        }
    }
    let difference = tools.with_extension("layer.tar");
    if !difference.exists() {
        write_difference(&base, &tools, &difference)?;
    }
    let mut tools_layers = vec![
        base_layer,
        Layer::from_tar(&difference)?,
        layers.of_tree_at(&recipe.tools.scenarios, "usr/share/clearwater-sip/")?,
    ];
    for folder in &recipe.tools.layers {
        tools_layers.push(layers.of_tree(folder)?);
    }
    for reference in &recipe.tools.references {
        let mut image = Image::new(reference, tools_layers.clone());
        image.entrypoint = vec!["/usr/bin/busybox".into(), "sleep".into(), "2147483647".into()];
        images.push(image);
    }
    let written = write_archive(&images, &archive)?;
    remove_older(&store, &archive, &images)?;
    Ok(written)
}

/// Puts the images on both nodes of a running test cluster. A node that has them already is left alone.
pub fn import(layout: &Layout, archive: &Archive) -> Result<()> {
    let imports: Vec<_> = NODES
        .into_iter()
        .map(|node| {
            let socket = layout.node_run(node).join("containerd.sock");
            let archive = archive.clone();
            thread::spawn(move || {
                containerd::import(&socket, &archive)
                    .with_context(|| format!("cannot give node {node} the stand-in images"))
            })
        })
        .collect();
    for import in imports {
        import.join().map_err(|_| anyhow::anyhow!("the import of images panicked"))??;
    }
    Ok(())
}

struct Layers<'a> {
    images: &'a Path,
    store: PathBuf,
}

impl Layers<'_> {
    /// A layer of a folder's files, with 0755 for what is executable and 0644 for the rest.
    fn of_tree(&self, folder: &str) -> Result<Layer> {
        self.of_tree_at(folder, "")
    }

    fn of_tree_at(&self, folder: &str, prefix: &str) -> Result<Layer> {
        let root = self.images.join(folder);
        let mut entries = Vec::new();
        for path in files_below(&root)? {
            let inside = format!("{prefix}{}", path.strip_prefix(&root)?.to_string_lossy());
            let metadata = fs::symlink_metadata(&path)?;
            entries.push(if metadata.is_symlink() {
                Entry::symlink(inside, fs::read_link(&path)?.to_string_lossy())
            } else {
                Entry::file(inside, 0o644 | (metadata.permissions().mode() & 0o111), &path)
            });
        }
        ensure!(!entries.is_empty(), "{} holds no file, but recipe.json names it as a layer", root.display());
        Layer::from_entries(&self.store, &entries)
    }
}

/// Files and symbolic links below `root`, in a fixed order.
fn files_below(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn hash_file(hash: &mut Sha256, path: &Path) -> Result<()> {
    let mut file = File::open(path).with_context(|| {
        format!("cannot open {}: build it with cargo build --release -p clearwater-standins", path.display())
    })?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        hash.update(&buffer[..read]);
    }
}

fn hash_tree(hash: &mut Sha256, root: &Path, below: &Path) -> Result<()> {
    for path in files_below(below)? {
        let metadata = fs::symlink_metadata(&path)?;
        hash.update(path.strip_prefix(root)?.as_os_str().as_encoded_bytes());
        hash.update(metadata.permissions().mode().to_le_bytes());
        hash.update(metadata.len().to_le_bytes());
        if metadata.is_symlink() {
            hash.update(fs::read_link(&path)?.as_os_str().as_encoded_bytes());
        } else {
            hash_file(hash, &path)?;
        }
    }
    Ok(())
}

/// The tar file of a small Debian with `packages`, from the cache or by `mmdebstrap`, which is installed if missing.
fn debian(store: &Path, name: &str, suite: &str, packages: &[String]) -> Result<PathBuf> {
    let mut sorted: Vec<_> = packages.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let include = sorted.join(",");
    let key = to_hex(&Sha256::digest(format!("{suite} {include} 1")));
    let tar = store.join(format!("{name}-{}.tar", &key[..16]));
    if tar.exists() {
        return Ok(tar);
    }
    install_if_missing("mmdebstrap")?;
    let part = tar.with_extension(format!("part-{}.tar", std::process::id()));
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--mode=auto"]).arg(format!("--include={include}"));
    for excluded in ["doc", "man", "locale", "info", "lintian", "bash-completion"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{excluded}/*"));
    }
    let output = command
        .arg("--customize-hook=rm -rf \"$1\"/var/cache/apt/* \"$1\"/var/lib/apt/lists/*")
        .args([suite, &part.to_string_lossy()])
        .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
        .output()
        .context("cannot run mmdebstrap")?;
    if !output.status.success() {
        let _ = fs::remove_file(&part);
        bail!(
            "mmdebstrap could not make the {name} of the stand-in images ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    fs::rename(&part, &tar)?;
    Ok(tar)
}

fn install_if_missing(package: &str) -> Result<()> {
    static ONE_BY_ONE: Mutex<()> = Mutex::new(());
    let _one = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let found = Command::new(package).arg("--version").output().is_ok();
    if found {
        return Ok(());
    }
    let status = Command::new("apt-get")
        .args(["install", "--yes", "--quiet", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .with_context(|| format!("{package} is missing, and there is no apt-get to install it"))?;
    ensure!(
        status.success(),
        "{package} is missing and apt-get install {package} failed ({status}): install it by hand"
    );
    Ok(())
}

/// One entry of a tar file, for telling whether another file holds the same.
fn fingerprint<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<(Vec<u8>, [u8; 32])> {
    let name = entry.path_bytes().into_owned();
    let mut hash = Sha256::new();
    hash.update(entry.header().mode()?.to_le_bytes());
    hash.update([entry.header().entry_type().as_byte()]);
    if let Some(target) = entry.link_name_bytes() {
        hash.update(target);
    }
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = entry.read(&mut buffer)?;
        if read == 0 {
            return Ok((name, hash.finalize().into()));
        }
        hash.update(&buffer[..read]);
    }
}

/// Writes what `upper` holds beyond `lower`, or differently, as a layer.
///
/// Nothing is removed: a package set that contains another installs all of its files.
fn write_difference(lower: &Path, upper: &Path, to: &Path) -> Result<()> {
    let open = |path: &Path| -> Result<tar::Archive<BufReader<File>>> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(tar::Archive::new(BufReader::with_capacity(1 << 20, file)))
    };
    let mut known = BTreeSet::new();
    for entry in open(lower)?.entries()? {
        known.insert(fingerprint(&mut entry?)?);
    }
    let mut changed = BTreeSet::new();
    for entry in open(upper)?.entries()? {
        let print = fingerprint(&mut entry?)?;
        if !known.contains(&print) {
            changed.insert(print.0);
        }
    }
    let part = to.with_extension(format!("part-{}", std::process::id()));
    let mut builder = tar::Builder::new(BufWriter::with_capacity(1 << 20, File::create(&part)?));
    for entry in open(upper)?.entries()? {
        let entry = entry?;
        if !changed.contains(entry.path_bytes().as_ref()) {
            continue;
        }
        let mut header = entry.header().clone();
        let path = entry.path()?.into_owned();
        if let Some(target) = entry.link_name()? {
            builder.append_link(&mut header, path, target)?;
        } else {
            builder.append_data(&mut header, path, entry)?;
        }
    }
    builder.into_inner()?.into_inner()?.sync_all()?;
    fs::rename(&part, to)?;
    Ok(())
}

/// Keeps the archive just written and two before it, since each is as large as the base, and the layers it is made of.
fn remove_older(store: &Path, newest: &Path, images: &[Image]) -> Result<()> {
    let mut archives = Vec::new();
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_archive =
            name.starts_with("images-") && Path::new(name.as_ref()).extension().is_some_and(|e| e == "tar");
        if is_archive && entry.path() != newest {
            archives.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    archives.sort();
    for (_, path) in archives.iter().rev().skip(2) {
        fs::remove_file(path)?;
    }
    let used: BTreeSet<&Path> = images.iter().flat_map(|image| &image.layers).map(Layer::path).collect();
    for entry in fs::read_dir(store.join("layers"))? {
        let path = entry?.path();
        if !used.contains(path.as_path()) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
