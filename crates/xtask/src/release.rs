//! `cargo xtask release`: what is published, made into `target/published` for one target, and told by its sums.

mod debian;
mod image;
mod manifests;
mod staged;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::build::{Shipped, is_windows, processor_of, shipped};
use crate::steps::{Steps, say};
use crate::tools::CARGO_CYCLONEDX;
use crate::workspace::{root, target};
use staged::Staged;

/// The version, as tags and names of archives have it.
pub const TAG: &str = concat!("v", env!("CARGO_PKG_VERSION"));
/// The file with the sum of every other.
pub const SUMS: &str = "SHA256SUMS";

/// What is published.
#[derive(Debug, Args)]
pub struct Options {
    /// What it is built for.
    #[arg(long, default_value_t = default_target())]
    target: String,
    /// Build nothing: tell what is there already, of whatever targets.
    #[arg(long)]
    no_build: bool,
}

/// The static program for machines like this one.
pub fn default_target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// Where it all goes.
pub fn published() -> PathBuf {
    target().join("published")
}

/// The archive's name without what tells its kind, and that of the folder in it.
pub fn name_of(target: &str) -> String {
    format!("kubectl-clearwater-{TAG}-{target}")
}

/// The archive, as its system's people expect one.
pub fn archive_of(target: &str) -> String {
    let ending = if is_windows(target) { "zip" } else { "tar.gz" };
    format!("{}.{ending}", name_of(target))
}

/// The package of Debian's form.
pub fn package_of(target: &str) -> String {
    format!("kubectl-clearwater_{}_{}.deb", env!("CARGO_PKG_VERSION"), architecture_of(target))
}

/// The image.
pub fn image_of(target: &str) -> String {
    format!("kubectl-clearwater-{TAG}-linux-{}.oci.tar", architecture_of(target))
}

fn bill_of(target: &str) -> String {
    format!("{}.cdx.json", name_of(target))
}

/// Everything that is made of a target.
pub fn files_of(target: &str) -> Vec<String> {
    let mut files = vec![archive_of(target), bill_of(target)];
    if is_linux(target) {
        files.extend([package_of(target), image_of(target)]);
    }
    files
}

fn is_linux(target: &str) -> bool {
    target.contains("-linux-")
}

/// Debian's and OCI's name of a target's processor.
fn architecture_of(target: &str) -> &'static str {
    if processor_of(target) == "aarch64" { "arm64" } else { "amd64" }
}

/// Builds for a target and makes all that is published of it, then what tells of everything that is there.
///
/// # Errors
/// The part that cannot be made.
pub fn run(options: &Options) -> Result<ExitCode> {
    if !options.no_build {
        make(&options.target)?;
    }
    tell()
}

/// What tells of everything that is there: what installers read, and sums.
///
/// # Errors
/// A file that cannot be read or written.
pub fn tell() -> Result<ExitCode> {
    let folder = published();
    let sums = summed(&folder)?;
    manifests::write(&folder, &sums)?;
    let sums = summed(&folder)?;
    let text: String = sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
    fs::write(folder.join(SUMS), text)?;
    for name in sums.keys() {
        let size = fs::metadata(folder.join(name))?.len();
        say(&format!("{:>12} {}", size, folder.join(name).display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything of one target.
///
/// # Errors
/// The part that cannot be made.
pub fn make(target: &str) -> Result<Shipped> {
    let folder = published();
    fs::create_dir_all(&folder)?;
    let built = shipped(target)?;
    let staged = Staged::new(target, &built.program, &folder)?;
    staged.archive()?;
    if is_linux(target) {
        debian::package(&staged, target)?;
        image::make(&staged, target)?;
    }
    bill_of_materials(target, &folder)?;
    staged.clean()?;
    Ok(built)
}

/// What the program is made of, in CycloneDX' form.
fn bill_of_materials(target: &str, folder: &Path) -> Result<()> {
    let mut steps = Steps::within(std::time::Duration::from_secs(20 * 60)).quiet();
    steps.run(CARGO_CYCLONEDX.missing("release")?)?;
    let name = format!("{}.sbom", name_of(target));
    let plugin = root().join("plugin");
    let mut tool = Command::new(CARGO_CYCLONEDX.program()?);
    tool.args(["cyclonedx", "--format", "json", "--spec-version", "1.5", "--all-features", "--no-build-deps"]);
    tool.args(["--target", target, "--override-filename", &name, "--manifest-path"]).arg(plugin.join("Cargo.toml"));
    tool.env("SOURCE_DATE_EPOCH", staged::commit_time()?);
    run_quietly(&mut tool)?;
    // The tool writes one beside the manifest of every member of the workspace.
    let written = |folder: &Path| ["json", "cdx.json"].map(|ending| folder.join(format!("{name}.{ending}")));
    let own = written(&plugin).into_iter().find(|path| path.is_file()).context("cargo-cyclonedx wrote nothing")?;
    fs::copy(own, folder.join(bill_of(target)))?;
    for path in members()?.iter().flat_map(|member| written(member)) {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// The folders of the workspace's members.
fn members() -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string(root().join("Cargo.toml"))?;
    let (_, list) = text.split_once("members = [").context("the workspace names its members")?;
    let list = list.split_once(']').map_or(list, |(list, _)| list);
    Ok(list.split('"').skip(1).step_by(2).map(|member| root().join(member)).collect())
}

/// The sum of each file there but the list of them, by name.
fn summed(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && name != SUMS {
            sums.insert(name, sha256(&entry.path())?);
        }
    }
    Ok(sums)
}

/// SHA-256 of a file, in hex.
fn sha256(path: &Path) -> Result<String> {
    let said = said(Command::new("sha256sum").arg("--binary").arg(path))?;
    let sum = said.trim_start_matches('\\').split(' ').next().unwrap_or_default();
    ensure!(sum.len() == 64, "sha256sum said {said:?}");
    Ok(sum.to_owned())
}

/// Runs a program whose output is of interest only where it fails.
fn run_quietly(command: &mut Command) -> Result<()> {
    said(command).map(drop)
}

/// What a program says on standard output.
fn said(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_those_of_the_workspace() {
        let members = members().unwrap();
        assert!(members.contains(&root().join("plugin")), "{members:?}");
        assert!(members.iter().all(|member| member.join("Cargo.toml").is_file()), "{members:?}");
    }

    #[test]
    fn sums_are_of_files_and_not_of_their_list() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a b"), "abc").unwrap();
        fs::write(folder.path().join(SUMS), "").unwrap();
        fs::create_dir(folder.path().join("c")).unwrap();
        let sums = summed(folder.path()).unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sums.into_iter().collect::<Vec<_>>(), [("a b".to_owned(), expected.to_owned())]);
    }
}
