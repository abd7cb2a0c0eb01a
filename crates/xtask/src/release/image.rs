use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::staged::{Staged, write};
use super::{TAG, architecture_of, image_of, run_quietly, said, sha256};

/// Who the program is in its container: nobody of the node's.
const USER: &str = "65532:65532";

/// Writes an image with the program alone, as an OCI layout in a tar file: `ctr images import`, `podman load` and
/// `skopeo copy oci-archive:` read it.
pub(super) fn make(staged: &Staged, target: &str) -> Result<()> {
    let tree = staged.scratch("root")?;
    staged.put("kubectl-clearwater", &tree.join("usr/bin/kubectl-clearwater"))?;
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        staged.put(licence, &tree.join("usr/share/doc/kubectl-clearwater").join(licence))?;
    }
    // Files that are asked for for a moment (a report's, an archive's) have a place.
    fs::create_dir(tree.join("tmp"))?;
    run_quietly(Command::new("chmod").arg("1777").arg(tree.join("tmp")))?;
    let layout = staged.scratch("layout")?;
    let layer = staged.folder.with_file_name("layer.tar");
    staged.tar(&tree, &["tmp", "usr"], &layer, &["--mode=u+rw,go+r"])?;
    let unpacked = sha256(&layer)?;
    run_quietly(Command::new("gzip").args(["--no-name", "--best"]).arg(&layer))?;
    let layer = blob(&layout, &fs::read(layer.with_extension("tar.gz"))?)?;
    let created = said(Command::new("date").args(["--utc", "--date", &format!("@{}", staged.time), "+%FT%TZ"]))?;
    let config = blob(&layout, config(architecture_of(target), created.trim(), &unpacked).as_bytes())?;
    let manifest = blob(&layout, manifest(&config, &layer).as_bytes())?;
    write_layout(&layout, architecture_of(target), &manifest)?;
    let to = staged.published.join(image_of(target));
    staged.tar(&layout, &["oci-layout", "index.json", "blobs"], &to, &[])
}

/// Something that an image names by its sum.
struct Blob {
    sum: String,
    size: usize,
}

fn blob(layout: &Path, bytes: &[u8]) -> Result<Blob> {
    let new = layout.join("new");
    fs::write(&new, bytes)?;
    let sum = sha256(&new)?;
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    fs::rename(new, blobs.join(&sum))?;
    Ok(Blob { sum, size: bytes.len() })
}

impl Blob {
    /// What another says of it.
    fn described(&self, kind: &str) -> String {
        let Self { sum, size } = self;
        format!(r#""mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:{sum}","size":{size}"#)
    }
}

fn labels() -> String {
    format!(
        r#"{{"org.opencontainers.image.title":"kubectl-clearwater","org.opencontainers.image.version":"{}","org.opencontainers.image.source":"{}","org.opencontainers.image.licenses":"{}"}}"#,
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_REPOSITORY"),
        env!("CARGO_PKG_LICENSE"),
    )
}

fn config(processor: &str, created: &str, layer: &str) -> String {
    format!(
        r#"{{"created":"{created}","architecture":"{processor}","os":"linux","config":{{"User":"{USER}","Env":["PATH=/usr/bin"],"Entrypoint":["/usr/bin/kubectl-clearwater"],"Labels":{}}},"rootfs":{{"type":"layers","diff_ids":["sha256:{layer}"]}}}}"#,
        labels()
    )
}

fn manifest(config: &Blob, layer: &Blob) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{{}}},"layers":[{{{}}}],"annotations":{}}}"#,
        config.described("config.v1+json"),
        layer.described("layer.v1.tar+gzip"),
        labels()
    )
}

fn write_layout(layout: &Path, processor: &str, manifest: &Blob) -> Result<()> {
    let name = format!("kubectl-clearwater:{TAG}");
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{{},"platform":{{"architecture":"{processor}","os":"linux"}},"annotations":{{"org.opencontainers.image.ref.name":"{name}","io.containerd.image.name":"localhost/{name}"}}}}]}}"#,
        manifest.described("manifest.v1+json"),
    );
    write(&layout.join("index.json"), index)?;
    write(&layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
}
