//! `cargo xtask check`: everything that needs no cluster.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use crate::build::Features;
use crate::embed::{self, Outside};
use crate::steps::{Step, Steps};
use crate::tools::{CARGO_DENY, servers};

/// The crates whose documentation is a product.
const DOCUMENTED: [&str; 8] =
    ["-p", "clearwater", "-p", "clearwater-kube", "-p", "clearwater-sip", "-p", "kubectl-clearwater"];

/// Runs the checks.
///
/// # Errors
/// The first that fails.
pub fn run() -> anyhow::Result<ExitCode> {
    let mut steps = Steps::within(Duration::from_secs(30 * 60));
    let outside = Outside::new()?;
    let checks = all(&Features::found()?, &outside)?;
    steps.expect(checks.len());
    steps.run(checks)?;
    steps.summary();
    Ok(ExitCode::SUCCESS)
}

/// The checks as part of a longer run.
///
/// # Errors
/// A tool that cannot be brought.
pub fn all<'a>(features: &Features, outside: &'a Outside) -> anyhow::Result<Vec<Step<'a>>> {
    let doc: Vec<&str> = ["doc", "--no-deps"].into_iter().chain(DOCUMENTED).collect();
    let mut steps = vec![
        Step::new("lint", "cargo", &["fmt", "--all", "--check"]),
        features.step("lint", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        features.step("lint", &doc).env("RUSTDOCFLAGS", "-D warnings"),
    ];
    if features.etcd() {
        let without = ["clippy", "--workspace", "--bin", "kubectl-clearwater", "--", "-D", "warnings"];
        steps.push(Step::new("lint", "cargo", &without));
    }
    let mut test = features.step("test", &["test", "--workspace"]);
    if let Some(servers) = servers()? {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([servers].into_iter().chain(env::split_paths(&path)))?;
        test = test.env("PATH", path);
    }
    steps.push(test);
    steps.extend(embed::check(outside));
    steps.extend(CARGO_DENY.missing("lint")?);
    let deny = ["--log-level", "error", "check", "bans", "licenses", "sources"];
    steps.push(Step::new("lint", CARGO_DENY.program()?, &deny));
    Ok(steps)
}
