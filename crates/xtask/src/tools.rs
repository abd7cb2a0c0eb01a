//! Cargo tools that the checks need, pinned and kept outside the work tree.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

/// A cargo tool of a fixed version.
pub(crate) struct Tool {
    /// The crate, which is also the program.
    pub(crate) name: &'static str,
    /// The version.
    pub(crate) version: &'static str,
}

/// Licences, sources and bans of dependencies.
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

/// Where things are kept that are costly to make: `$XDG_CACHE_HOME/kubectl-clearwater`.
pub(crate) fn cache_dir() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => {
            PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache")
        }
    };
    Ok(base.join("kubectl-clearwater"))
}

impl Tool {
    /// The program, installed first where it is missing.
    pub(crate) fn program(&self) -> anyhow::Result<PathBuf> {
        let root = cache_dir()?.join("tools").join(format!("{}-{}", self.name, self.version));
        let program = root.join("bin").join(self.name);
        if !program.exists() {
            let done = Command::new("cargo")
                .args(["install", self.name, "--version", self.version, "--locked", "--root"])
                .arg(&root)
                .status()
                .context("cannot start cargo")?;
            ensure!(done.success(), "cannot install {} {}", self.name, self.version);
        }
        Ok(program)
    }
}
