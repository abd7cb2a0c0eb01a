//! Container images without Docker: layers, and OCI archives of several images that share layers.
//!
//! Layers are tar files; an archive is what `ctr images import` and `podman load` read. Everything written is
//! reproducible: the same input gives the same digests, so an image that a node has already is recognised.
//!
//! ```no_run
//! use clearwater_testbed::image::{Entry, Image, Layer, write_archive};
//! # fn main() -> anyhow::Result<()> {
//! let base = Layer::from_tar("base.tar")?;
//! let own = Layer::from_entries("layers", &[Entry::file("usr/bin/run", 0o755, "target/run")])?;
//! let mut image = Image::new("localhost/example:1", vec![base, own]);
//! image.entrypoint = vec!["/usr/bin/run".into()];
//! let archive = write_archive(&[image], "images.tar")?;
//! # Ok(()) }
//! ```

mod larger;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Smaller blobs are copied whether the reader knows them or not.
const WORTH_SKIPPING: u64 = 1 << 20;

/// The search path containers get when an image names none.
pub const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One layer: an uncompressed tar file and its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    path: PathBuf,
    digest: String,
    size: u64,
}

impl Layer {
    /// Takes a tar file as it stands, for example one that `mmdebstrap` wrote.
    ///
    /// Reads the file once to hash it. The file must stay in place until the archive is written.
    pub fn from_tar(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let file = File::open(&path).with_context(|| format!("cannot open the layer {}", path.display()))?;
        let mut hashing = Hashing::new(io::sink());
        io::copy(&mut BufReader::with_capacity(1 << 20, file), &mut hashing)
            .with_context(|| format!("cannot read the layer {}", path.display()))?;
        let (digest, size) = hashing.finish();
        Ok(Self { path, digest, size })
    }

    /// Writes a layer of `entries` into the directory `store`, as `<digest>.tar`.
    ///
    /// Owner is root and the modification time is 0, so equal entries give an equal digest. Missing parent directories
    /// are added with mode 0755.
    pub fn from_entries(store: impl AsRef<Path>, entries: &[Entry]) -> Result<Self> {
        let store = store.as_ref();
        fs::create_dir_all(store).with_context(|| format!("cannot create {}", store.display()))?;
        let temporary = store.join(format!(".layer-{}", std::process::id()));
        let file = File::create(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;
        let mut builder = Builder::new(Hashing::new(BufWriter::with_capacity(1 << 20, file)));
        let mut known = BTreeSet::new();
        for entry in entries {
            append(&mut builder, entry, &mut known)
                .with_context(|| format!("cannot put {} into a layer", entry.path))?;
        }
        let mut hashing = builder.into_inner()?;
        hashing.flush()?;
        let (digest, size) = hashing.finish();
        let path = store.join(format!("{digest}.tar"));
        fs::rename(&temporary, &path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, digest, size })
    }

    /// SHA-256 of the tar file, in hex. Layers are not compressed, so it is the blob's digest and the diff id at once.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Size of the tar file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What a manifest says of it.
    fn descriptor(&self) -> Value {
        json!({"mediaType": LAYER, "digest": sha256(&self.digest), "size": self.size})
    }

    /// Where the tar file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// One file, directory or symbolic link of a layer.
#[derive(Clone, Debug)]
pub struct Entry {
    path: String,
    mode: u32,
    what: EventKind,
}

#[derive(Clone, Debug)]
enum EventKind {
    Bytes(Vec<u8>),
    File(PathBuf),
    Symlink(String),
    Directory,
}

impl Entry {
    /// A file with the content of `source` on this machine.
    pub fn file(path: impl Into<String>, mode: u32, source: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode, what: EventKind::File(source.into()) }
    }

    /// A file with the given content.
    pub fn bytes(path: impl Into<String>, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode, what: EventKind::Bytes(content.into()) }
    }

    /// A symbolic link at `path` that points at `target`.
    pub fn symlink(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self { path: path.into(), mode: 0o777, what: EventKind::Symlink(target.into()) }
    }

    /// An empty directory.
    pub fn directory(path: impl Into<String>, mode: u32) -> Self {
        Self { path: path.into(), mode, what: EventKind::Directory }
    }
}

/// An image: layers from the lowest to the highest, and how its containers start.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Full name with registry and tag, for example `localhost/clearwater-bono:hunter`.
    pub reference: String,
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// Program and first arguments; what a pod's `command` replaces.
    pub entrypoint: Vec<String>,
    /// Further arguments; what a pod's `args` replaces.
    pub cmd: Vec<String>,
    /// `NAME=value` lines. [`DEFAULT_PATH`] is added when none sets `PATH`.
    pub env: Vec<String>,
    /// User name or number; empty means root.
    pub user: String,
    /// Directory the program starts in; empty means `/`.
    pub working_dir: String,
}

impl Image {
    /// An image that starts nothing by itself yet: set [`Self::entrypoint`].
    pub fn new(reference: impl Into<String>, layers: Vec<Layer>) -> Self {
        Self { reference: reference.into(), layers, ..Self::default() }
    }

    fn config(&self) -> Vec<u8> {
        let mut env = self.env.clone();
        if !env.iter().any(|line| line.starts_with("PATH=")) {
            env.insert(0, DEFAULT_PATH.to_owned());
        }
        let mut config = json!({"Env": env});
        let mut set = |name: &str, value: Value| config[name] = value;
        if !self.entrypoint.is_empty() {
            set("Entrypoint", json!(self.entrypoint));
        }
        if !self.cmd.is_empty() {
            set("Cmd", json!(self.cmd));
        }
        if !self.user.is_empty() {
            set("User", json!(self.user));
        }
        if !self.working_dir.is_empty() {
            set("WorkingDir", json!(self.working_dir));
        }
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| sha256(&layer.digest)).collect();
        json!({
            "architecture": architecture(),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })
        .to_string()
        .into_bytes()
    }

    fn manifest(&self, config: &[u8]) -> Vec<u8> {
        let layers: Vec<_> = self.layers.iter().map(Layer::descriptor).collect();
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": sha256(&hex_digest(config)), "size": config.len()},
            "layers": layers,
        })
        .to_string()
        .into_bytes()
    }
}

/// An OCI archive on disk and what it holds.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The tar file.
    pub path: PathBuf,
    /// Image names with the digests (`sha256:…`) of their manifests.
    pub images: Vec<(String, String)>,
}

impl Archive {
    /// Reads what an archive that [`write_archive`] wrote, perhaps in an earlier run, holds.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let file = File::open(&path).with_context(|| format!("cannot open the archive {}", path.display()))?;
        let mut archive = tar::Archive::new(BufReader::new(file));
        for entry in archive.entries()? {
            let mut entry = entry.with_context(|| format!("cannot read the archive {}", path.display()))?;
            if entry.path()?.as_os_str() != "index.json" {
                continue;
            }
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            let index: Value = serde_json::from_str(&text)?;
            let images = index["manifests"].as_array().into_iter().flatten().filter_map(image_of).collect();
            return Ok(Self { path, images });
        }
        anyhow::bail!("{} has no index.json: not an OCI archive", path.display())
    }

    /// The same archive with those of its images alone whose names are given.
    #[must_use]
    pub fn only(mut self, names: &[String]) -> Self {
        self.images.retain(|(name, _)| names.contains(name));
        self
    }

    /// Writes an archive of [`Self::images`] and no others, without large blobs that the reader knows.
    pub(crate) fn copy(&self, to: impl Write, known: &BTreeSet<&str>) -> Result<()> {
        let needed = self.needed()?;
        let mut builder = Builder::new(to);
        let mut archive = self.tar()?;
        for entry in archive.entries_with_seek()? {
            let mut entry = entry?;
            let name = entry.path()?.display().to_string();
            if name == "index.json" {
                let mut index: Value = serde_json::from_reader(&mut entry)?;
                let manifests = index["manifests"].as_array_mut().context("an index without manifests")?;
                manifests.retain(|manifest| self.images.iter().any(|image| image_of(manifest).as_ref() == Some(image)));
                put(&mut builder, &name, index.to_string().as_bytes())?;
                continue;
            }
            let digest = name.strip_prefix("blobs/sha256/");
            let skipped = |d: &str| !needed.contains(d) || (known.contains(d) && entry.size() > WORTH_SKIPPING);
            if digest.is_some_and(skipped) {
                continue;
            }
            let mut header = entry.header().clone();
            builder.append_data(&mut header, &name, entry)?;
        }
        builder.into_inner()?.flush()?;
        Ok(())
    }

    /// Digests of all blobs of the images.
    fn needed(&self) -> Result<BTreeSet<String>> {
        let hex = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
        let mut needed: BTreeSet<String> = self.images.iter().map(|(_, digest)| hex(digest)).collect();
        let mut unread = needed.clone();
        for entry in self.tar()?.entries_with_seek()? {
            let entry = entry?;
            let name = entry.path()?.display().to_string();
            if name.strip_prefix("blobs/sha256/").is_some_and(|digest| unread.remove(digest)) {
                let manifest: Value = serde_json::from_reader(entry)?;
                let layers = manifest["layers"].as_array().into_iter().flatten();
                let blobs = layers.chain([&manifest["config"]]);
                needed.extend(blobs.filter_map(|blob| blob["digest"].as_str()).map(hex));
            }
            if unread.is_empty() {
                return Ok(needed);
            }
        }
        anyhow::bail!("{} lacks manifests of its index: {unread:?}", self.path.display())
    }

    fn tar(&self) -> Result<tar::Archive<BufReader<File>>> {
        let file = File::open(&self.path).with_context(|| format!("cannot open {}", self.path.display()))?;
        Ok(tar::Archive::new(BufReader::with_capacity(1 << 20, file)))
    }
}

/// An image's name and the digest of its manifest, as an index tells them.
fn image_of(manifest: &Value) -> Option<(String, String)> {
    let name = manifest["annotations"]["io.containerd.image.name"].as_str()?;
    Some((name.to_owned(), manifest["digest"].as_str()?.to_owned()))
}

/// Writes `images` into one OCI archive at `to`; a layer that several images have is written once.
///
/// The file appears under its name only when it is complete.
pub fn write_archive(images: &[Image], to: impl Into<PathBuf>) -> Result<Archive> {
    let described: Vec<(String, Vec<u8>, Vec<u8>)> = images
        .iter()
        .map(|image| {
            let config = image.config();
            (image.reference.clone(), image.manifest(&config), config)
        })
        .collect();
    let layers: Vec<Layer> = images.iter().flat_map(|image| image.layers.clone()).collect();
    write(to.into(), &described, &layers)
}

/// Writes an archive of images by name, each with its manifest and its config, and of these layers, each once.
fn write(path: PathBuf, images: &[(String, Vec<u8>, Vec<u8>)], layers: &[Layer]) -> Result<Archive> {
    ensure!(!images.is_empty(), "no images given for the archive {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let temporary = path.with_extension(format!("part-{}", std::process::id()));
    let file = File::create(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;
    let mut builder = Builder::new(BufWriter::with_capacity(1 << 20, file));

    let mut manifests = Vec::new();
    let mut entries = Vec::new();
    let mut blobs: Vec<(String, &[u8])> = Vec::new();
    for (reference, manifest, config) in images {
        let digest = sha256(&hex_digest(manifest));
        entries.push(json!({
            "mediaType": MANIFEST,
            "digest": digest,
            "size": manifest.len(),
            "platform": {"architecture": architecture(), "os": "linux"},
            "annotations": {
                "io.containerd.image.name": reference,
                "org.opencontainers.image.ref.name": reference,
            },
        }));
        manifests.push((reference.clone(), digest));
        blobs.push((hex_digest(config), config));
        blobs.push((hex_digest(manifest), manifest));
    }
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    put(&mut builder, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    put(&mut builder, "index.json", index.as_bytes())?;

    let mut written = BTreeSet::new();
    for (digest, content) in &blobs {
        if written.insert(digest.clone()) {
            put(&mut builder, &format!("blobs/sha256/{digest}"), content)?;
        }
    }
    for layer in layers {
        if !written.insert(layer.digest.clone()) {
            continue;
        }
        let file = File::open(&layer.path)
            .with_context(|| format!("the layer {} is gone: make it again", layer.path.display()))?;
        let size = file.metadata()?.len();
        ensure!(size == layer.size, "the layer {} changed since it was hashed", layer.path.display());
        let mut header = header(EntryType::Regular, 0o644, size);
        let name = format!("blobs/sha256/{}", layer.digest);
        builder.append_data(&mut header, name, BufReader::with_capacity(1 << 20, file))?;
    }
    builder.into_inner()?.flush()?;
    fs::rename(&temporary, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Archive { path, images: manifests })
}

/// The name OCI gives this machine's processor.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn sha256(hex: &str) -> String {
    format!("sha256:{hex}")
}

pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    to_hex(&Sha256::digest(bytes))
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn put(builder: &mut Builder<impl Write>, name: &str, content: &[u8]) -> Result<()> {
    let mut header = header(EntryType::Regular, 0o644, content.len() as u64);
    builder.append_data(&mut header, name, content).with_context(|| format!("cannot write {name} into an archive"))
}

fn append(builder: &mut Builder<impl Write>, entry: &Entry, known: &mut BTreeSet<String>) -> Result<()> {
    let path = entry.path.trim_matches('/');
    ensure!(!path.is_empty() && !path.split('/').any(|part| part == ".."), "not a path inside a layer");
    for (at, _) in path.match_indices('/') {
        let parent = &path[..at];
        if known.insert(parent.to_owned()) {
            builder.append_data(&mut header(EntryType::Directory, 0o755, 0), format!("{parent}/"), io::empty())?;
        }
    }
    match &entry.what {
        EventKind::Bytes(content) => {
            let mut header = header(EntryType::Regular, entry.mode, content.len() as u64);
            builder.append_data(&mut header, path, content.as_slice())?;
        }
        EventKind::File(source) => {
            let file = File::open(source).with_context(|| format!("cannot open {}", source.display()))?;
            let mut header = header(EntryType::Regular, entry.mode, file.metadata()?.len());
            builder.append_data(&mut header, path, BufReader::with_capacity(1 << 20, file))?;
        }
        EventKind::Symlink(target) => {
            builder.append_link(&mut header(EntryType::Symlink, entry.mode, 0), path, target)?;
        }
        EventKind::Directory => {
            if known.insert(path.to_owned()) {
                let mut header = header(EntryType::Directory, entry.mode, 0);
                builder.append_data(&mut header, format!("{path}/"), io::empty())?;
            }
        }
    }
    Ok(())
}

/// Hashes and counts what passes through.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    fn finish(self) -> (String, u64) {
        (to_hex(&self.hash.finalize()), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
