use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clearwater_e2e::cluster;
use clearwater_testbed::image::Archive;
use clearwater_testbed::standins;
use xtask::release::{default_target, image_of, published};
use xtask::tools::shellcheck;
use xtask::workspace::root;

use super::debian::Debian;
use crate::common::said;
use crate::go;

/// krew reads the manifest as its index would hold it, and installs the archive that it names.
pub(super) fn krew(archive: &Path) -> Result<String> {
    let krew = go::program(go::KREW)?;
    let home = tempfile::tempdir()?;
    let manifest = format!("--manifest={}", published().join("clearwater.yaml").display());
    let archive = format!("--archive={}", archive.display());
    said(Command::new(krew).args(["install", &manifest, &archive]).env("KREW_ROOT", home.path()))?;
    let installed = said(Command::new(home.path().join("bin/kubectl-clearwater")).arg("version"))?;
    first_line(&installed, "kubectl-clearwater ")
}

/// The image is given to the nodes and run.
pub(super) fn image() -> Result<String> {
    let archive = Archive::open(published().join(image_of(&default_target())))?;
    let (name, _) = archive.images.first().context("an archive without an image")?.clone();
    let cluster = cluster();
    standins::import(cluster.local()?.layout(), &archive)?;
    let namespace = cluster.namespace("e2e-prove-image")?;
    let kubectl = namespace.kubectl();
    let args = ["run", "version", "--image", &name, "--image-pull-policy=Never", "--restart=Never", "--", "version"];
    kubectl.run(args)?;
    kubectl.run(["wait", "pod/version", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"])?;
    first_line(&kubectl.run(["logs", "version"])?, "kubectl-clearwater ")
}

/// The workflow that publishes, of which nothing but this can be tried here.
pub(super) fn workflow() -> Result<String> {
    let lint = go::program(go::ACTIONLINT)?;
    let folder = shellcheck()?.context("there is no apt to get shellcheck with")?;
    let mut command = Command::new(lint);
    command.arg("-shellcheck").arg(folder.join("shellcheck")).arg(".github/workflows/release.yaml");
    said(command.current_dir(root()))?;
    Ok("nothing found".to_owned())
}

/// bash's script, and the one that kubectl's completion starts.
pub(super) fn scripts(program: &Path) -> Result<String> {
    let check = shellcheck()?.context("there is no apt to get shellcheck with")?.join("shellcheck");
    let folder = tempfile::tempdir()?;
    let bash = folder.path().join("kubectl-clearwater.bash");
    std::fs::write(&bash, said(Command::new(program).args(["completion", "bash"]))?)?;
    said(Command::new(program).args(["completion", "install", "--dir"]).arg(folder.path()))?;
    said(Command::new(&check).args(["--shell=bash"]).arg(bash))?;
    said(Command::new(&check).arg(folder.path().join("kubectl_complete-clearwater")))?;
    Ok("nothing found".to_owned())
}

/// Homebrew's formula is Ruby. Homebrew itself is not here.
pub(super) fn formula() -> Result<String> {
    let root = Debian::with("ruby")?;
    std::fs::copy(published().join("kubectl-clearwater.rb"), root.within("tmp/formula.rb"))?;
    Ok(root.said(&["ruby", "-wc", "/tmp/formula.rb"])?.trim().to_owned())
}

/// What `cargo publish` would upload.
pub(super) fn packages() -> Result<String> {
    let mut cargo = Command::new("cargo");
    cargo.args(["publish", "--dry-run", "--no-verify", "--allow-dirty", "--locked"]).current_dir(root());
    for name in xtask::embed::LIBRARIES.into_iter().chain(["kubectl-clearwater"]) {
        cargo.args(["--package", name]);
    }
    let output = cargo.output().context("cannot start cargo")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo publish: {told}");
    let count = told.lines().filter(|line| line.trim_start().starts_with("Uploading ")).count();
    ensure!(count == 4, "{count} packages are not four: {told}");
    Ok(format!("{count} packages"))
}

fn first_line(text: &str, begins: &str) -> Result<String> {
    let line = text.lines().next().unwrap_or_default();
    ensure!(line.starts_with(begins), "{text}");
    Ok(format!("`{line}`"))
}
