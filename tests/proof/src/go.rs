//! Programs of others that proofs measure beside our own, built from their Go modules.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clearwater_testbed::layout::cache_directory;

/// helm's module, pinned.
pub(crate) const HELM: &str = "helm.sh/helm/v4/cmd/helm@v4.0.0";
/// Prometheus' tool for rules and metrics, pinned.
pub(crate) const PROMTOOL: &str = "github.com/prometheus/prometheus/cmd/promtool@v0.308.0";
/// krew's module, pinned.
pub(crate) const KREW: &str = "sigs.k8s.io/krew/cmd/krew@v0.4.4";
/// actionlint's module, pinned.
pub(crate) const ACTIONLINT: &str = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12";
/// stern's module, pinned.
pub(crate) const STERN: &str = "github.com/stern/stern@v1.34.0";
/// KWOK's module, pinned.
pub(crate) const KWOK: &str = "sigs.k8s.io/kwok/cmd/kwok@v0.8.0";

/// The same, for what it has beside its program.
pub(crate) const KWOK_MODULE: &str = "sigs.k8s.io/kwok@v0.8.0";

/// Where the source of a module lies, which is fetched where it is missing.
pub(crate) fn source(module: &str) -> Result<PathBuf> {
    let out = Command::new("go").args(["mod", "download", "-json", module]).output().context("cannot start go")?;
    ensure!(out.status.success(), "`go mod download {module}` failed");
    let said: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    Ok(PathBuf::from(said["Dir"].as_str().context("go names no directory")?))
}

/// The program of a module with its version, built where it is missing.
pub(crate) fn program(module: &str) -> Result<PathBuf> {
    let (path, version) = module.split_once('@').context("a module has a version")?;
    let name = path.rsplit('/').next().unwrap_or(path);
    let program = cache_directory()?.join(format!("{name}-{version}")).join(name);
    if program.exists() {
        return Ok(program);
    }
    // From a module around it: `go install` takes none that replaces or excludes others.
    let around = tempfile::tempdir()?;
    let output = program.to_string_lossy();
    for args in [&["mod", "init", "tool"][..], &["get", module], &["build", "-trimpath", "-o", &output, path]] {
        let done = Command::new("go").args(args).current_dir(around.path()).status().context("cannot start go")?;
        ensure!(done.success(), "not measured: `go {}` failed", args.join(" "));
    }
    Ok(program)
}
