//! The plugin with everything it can do, and what that takes to build.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, ensure};

use crate::prove::root;
use crate::steps::say;
use crate::tools::protoc;

/// The program.
const PLUGIN: &str = "kubectl-clearwater";

/// How the plugin is built.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Optimised, as it is shipped.
    #[arg(long)]
    release: bool,
}

/// Builds the plugin with all its features.
pub(crate) fn build(options: &Options) -> anyhow::Result<ExitCode> {
    let built = built(if options.release { "release" } else { "dev" })?;
    say(&built.display().to_string());
    Ok(ExitCode::SUCCESS)
}

/// Builds the plugin as it is shipped, into `target/dist`.
pub(crate) fn dist() -> anyhow::Result<ExitCode> {
    let built = built("dist")?;
    say(&built.display().to_string());
    Ok(ExitCode::SUCCESS)
}

/// Installs the plugin as it is shipped where `cargo install` would.
pub(crate) fn install() -> anyhow::Result<ExitCode> {
    let built = built("dist")?;
    let home = env::var_os("CARGO_INSTALL_ROOT")
        .or_else(|| env::var_os("CARGO_HOME"))
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    let bin = home.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
    let at = bin.join(PLUGIN);
    // A program that runs cannot be written to, and can be replaced.
    let new = at.with_extension("new");
    fs::copy(&built, &new).with_context(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, &at).with_context(|| format!("cannot write {}", at.display()))?;
    say(&at.display().to_string());
    Ok(ExitCode::SUCCESS)
}

/// Builds the plugin with the backend etcd where protoc can be had.
pub(crate) fn built(profile: &str) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--package", PLUGIN, "--profile", profile]).current_dir(root());
    match protoc()? {
        Some(protoc) => {
            cargo.args(["--features", "etcd"]).env("PROTOC", protoc);
        }
        None => say(
            "protoc is missing and there is no apt to get it with: built without the backend etcd of dns-patch; install \
             protobuf-compiler and libprotobuf-dev, or what they are called here, and run this again",
        ),
    }
    ensure!(cargo.status().context("cannot start cargo")?.success(), "the build failed");
    let folder = if profile == "dev" { "debug" } else { profile };
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join(folder).join(PLUGIN))
}
