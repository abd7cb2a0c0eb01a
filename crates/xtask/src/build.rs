//! The plugin with everything it can do, and what that takes to build.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, ensure};

use crate::steps::{Step, say};
use crate::tools::protoc;
use crate::workspace::{root, target};

/// The program.
const PLUGIN: &str = "kubectl-clearwater";

/// How the plugin is built.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Optimised, as it is shipped.
    #[arg(long)]
    release: bool,
}

/// Builds the plugin with all its features.
pub fn build(options: &Options) -> anyhow::Result<ExitCode> {
    let built = built(if options.release { "release" } else { "dev" })?;
    say(&built.display().to_string());
    Ok(ExitCode::SUCCESS)
}

/// Builds the plugin as it is shipped, into `target/dist`.
pub fn dist() -> anyhow::Result<ExitCode> {
    let built = built("dist")?;
    say(&built.display().to_string());
    Ok(ExitCode::SUCCESS)
}

/// Installs the plugin as it is shipped where `cargo install` would.
pub fn install() -> anyhow::Result<ExitCode> {
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

/// The features that can be built here: all of them where there is a protoc.
#[derive(Debug)]
pub struct Features {
    protoc: Option<PathBuf>,
}

impl Features {
    /// Looks for protoc, and brings it where that can be done.
    pub fn found() -> anyhow::Result<Self> {
        let protoc = protoc()?;
        if protoc.is_none() {
            say("protoc is missing and there is no apt to get it with: built without the backend etcd of dns-patch; \
                 install protobuf-compiler and libprotobuf-dev, or what they are called here, and run this again");
        }
        Ok(Self { protoc })
    }

    /// Whether the backend etcd can be built.
    pub const fn etcd(&self) -> bool {
        self.protoc.is_some()
    }

    /// cargo with these arguments, the first of which is its subcommand, and with the features.
    pub fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.args(self.arguments(args));
        if let Some(protoc) = &self.protoc {
            cargo.env("PROTOC", protoc);
        }
        cargo
    }

    /// The same as a step of a run.
    pub fn step(&self, group: &'static str, args: &[&str]) -> Step<'static> {
        let step = Step::new(group, "cargo", &self.arguments(args));
        match &self.protoc {
            Some(protoc) => step.env("PROTOC", protoc),
            None => step,
        }
    }

    fn arguments<'a>(&self, args: &[&'a str]) -> Vec<&'a str> {
        let features: &[&str] = if self.etcd() { &["--all-features"] } else { &[] };
        [&args[..1], features, &args[1..]].concat()
    }
}

/// Builds the plugin with all features that can be built here.
///
/// For development it is built as part of the workspace, as the tests are: by itself it would choose other features of its
/// dependencies and build them anew. What is shipped has no more than it needs.
pub fn built(profile: &str) -> anyhow::Result<PathBuf> {
    let which: &[&str] = if profile == "dev" { &["--workspace", "--bin", PLUGIN] } else { &["--package", PLUGIN] };
    let mut cargo = Features::found()?.cargo(&[&["build", "--profile", profile], which].concat());
    cargo.current_dir(root());
    ensure!(cargo.status().context("cannot start cargo")?.success(), "the build failed");
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target().join(folder).join(PLUGIN))
}
