//! The plugin with everything it can do, and what that takes to build.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, ensure};

use crate::steps::{Step, say};
use crate::tools::{c_compiler, protoc};
use crate::workspace::{as_typed, root, target};

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
        as_typed(cargo.args(self.arguments(args)));
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

/// The variable by which the plugin is told its commit when it is built.
const COMMIT: &str = "KUBECTL_CLEARWATER_COMMIT";

/// The commit, with a word where the work tree is another; none outside of a repository.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let out =
            Command::new("git").args(args).current_dir(root()).output().ok().filter(|out| out.status.success())?;
        Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    // What proofs write says nothing of the program.
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"])?;
    Some(if changed.is_empty() { head } else { format!("{head}-changed") })
}

/// The plugin as it is published.
#[derive(Clone, Debug)]
pub struct Shipped {
    /// The program.
    pub program: PathBuf,
    /// The same before its symbols were taken out.
    pub with_symbols: PathBuf,
}

/// Builds the plugin as it is published, for a target of Rust's, with all of its features.
pub fn shipped(triple: &str) -> anyhow::Result<Shipped> {
    let features = Features::found()?;
    ensure!(features.etcd(), "what is published has all features, and there is no protoc here");
    if !has_library(triple)? {
        let added = Command::new("rustup").args(["target", "add", triple]).status().context("cannot start rustup")?;
        ensure!(added.success(), "Rust has no library here for {triple}");
    }
    let mut cargo = features.cargo(&["build", "--profile", "dist", "--package", PLUGIN, "--target", triple]);
    if let Some(commit) = commit() {
        cargo.env(COMMIT, commit);
    }
    let variable = triple.replace('-', "_");
    let compiler = format!("CC_{variable}");
    if !triple.ends_with("-darwin") && env::var_os(&compiler).is_none() {
        // For musl any compiler for the processor will do: what is in C asks nothing of its library.
        let found = c_compiler(triple)?.with_context(|| format!("no compiler of C for {triple}"))?;
        if is_windows(triple) {
            let path = env::var_os("PATH").unwrap_or_default();
            let beside = found.parent().map(Path::to_owned);
            cargo.env("PATH", env::join_paths(beside.into_iter().chain(env::split_paths(&path)))?);
            cargo.env(format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase()), &found);
        }
        cargo.env(compiler, found);
    }
    // They tell what the program is made of.
    cargo.current_dir(root()).env("CARGO_PROFILE_DIST_STRIP", "none");
    ensure!(cargo.status().context("cannot start cargo")?.success(), "the build failed");
    let with_symbols = target().join(triple).join("dist").join(program_of(triple));
    let program = with_symbols.with_extension("stripped");
    let libraries = libraries_of_rust()?;
    let mut strip = Command::new(libraries.with_file_name("bin").join("rust-objcopy"));
    // It looks for LLVM's library beside the compiler's.
    for variable in ["LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"] {
        strip.env(variable, libraries.ancestors().nth(3).context("a folder of Rust's")?);
    }
    let done =
        strip.arg("--strip-all").arg(&with_symbols).arg(&program).status().context("cannot start rust-objcopy")?;
    ensure!(done.success(), "the symbols cannot be taken out of {}", with_symbols.display());
    Ok(Shipped { program, with_symbols })
}

/// Where the libraries for this machine's own programs are, `lib/rustlib/TARGET/lib`, beside which there are tools.
fn libraries_of_rust() -> anyhow::Result<PathBuf> {
    let asked = Command::new("rustc").args(["--print", "target-libdir"]).output().context("cannot start rustc")?;
    Ok(PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim()))
}

/// The processor of a target, as Rust names it.
pub fn processor_of(triple: &str) -> &str {
    triple.split('-').next().unwrap_or_default()
}

/// Whether a target is Windows.
pub fn is_windows(triple: &str) -> bool {
    triple.contains("-windows-")
}

/// The program's name where it is built for a target.
pub fn program_of(triple: &str) -> &'static str {
    if is_windows(triple) { "kubectl-clearwater.exe" } else { PLUGIN }
}

fn has_library(triple: &str) -> anyhow::Result<bool> {
    let asked = Command::new("rustc").args(["--print", "target-libdir", "--target", triple]).output()?;
    Ok(asked.status.success() && Path::new(String::from_utf8_lossy(&asked.stdout).trim()).is_dir())
}

/// Builds the plugin with all features that can be built here.
///
/// For development it is built as part of the workspace, as the tests are: by itself it would choose other features of its
/// dependencies and build them anew. What is shipped has no more than it needs.
pub fn built(profile: &str) -> anyhow::Result<PathBuf> {
    let which: &[&str] = if profile == "dev" { &["--workspace", "--bin", PLUGIN] } else { &["--package", PLUGIN] };
    let mut cargo = Features::found()?.cargo(&[&["build", "--profile", profile], which].concat());
    if let Some(commit) = commit().filter(|_| profile != "dev") {
        cargo.env(COMMIT, commit);
    }
    cargo.current_dir(root());
    ensure!(cargo.status().context("cannot start cargo")?.success(), "the build failed");
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target().join(folder).join(PLUGIN))
}
