//! `cargo xtask check`: everything that needs no cluster.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use crate::build::Features;
use crate::embed;
use crate::steps::{Step, Steps};
use crate::tools::{CARGO_DENY, servers};

/// The crates whose documentation is a product.
const DOCUMENTED: [&str; 8] =
    ["-p", "clearwater", "-p", "clearwater-kube", "-p", "clearwater-sip", "-p", "kubectl-clearwater"];

/// Runs the checks.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let mut steps = Steps::within(Duration::from_secs(30 * 60));
    all(&mut steps)?;
    steps.summary();
    Ok(ExitCode::SUCCESS)
}

/// The checks as part of a longer run.
pub(crate) fn all(steps: &mut Steps) -> anyhow::Result<()> {
    let features = Features::found()?;
    let doc: Vec<&str> = ["doc", "--no-deps", "--quiet"].into_iter().chain(DOCUMENTED).collect();
    steps.run([
        Step::new("lint", "cargo", &["fmt", "--all", "--check"]),
        features.step("lint", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        features.step("lint", &doc).env("RUSTDOCFLAGS", "-D warnings"),
    ])?;
    if features.etcd() {
        let without = ["clippy", "--quiet", "--workspace", "--bin", "kubectl-clearwater", "--", "-D", "warnings"];
        steps.run([Step::new("lint", "cargo", &without)])?;
    }
    let mut test = features.step("test", &["test", "--quiet", "--workspace"]);
    if let Some(servers) = servers()? {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([servers].into_iter().chain(env::split_paths(&path)))?;
        test = test.env("PATH", path);
    }
    steps.run([test])?;
    embed::check(steps)?;
    let deny = CARGO_DENY.program()?;
    steps.run([Step::new("lint", deny, &["--log-level", "error", "check", "bans", "licenses", "sources"])])
}
