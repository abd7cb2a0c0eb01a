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

/// What needs no cluster.
#[derive(Debug)]
pub struct Checks<'a> {
    /// What keeps the machine busy.
    pub building: Vec<Step<'a>>,
    /// The tests, which wait for deadlines more than they compute.
    pub tests: Step<'a>,
    /// What is built while they wait.
    pub beside: Vec<Step<'a>>,
}

impl Checks<'_> {
    /// How many steps they are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.building.len() + 1 + self.beside.len()
    }

    /// Runs them.
    ///
    /// # Errors
    /// The first that fails.
    pub fn run(self, steps: &mut Steps) -> anyhow::Result<()> {
        steps.run(self.building)?;
        steps.run_beside(self.tests, self.beside)
    }
}

/// Runs the checks.
///
/// # Errors
/// The first that fails.
pub fn run() -> anyhow::Result<ExitCode> {
    let mut steps = Steps::within(Duration::from_secs(30 * 60));
    let outside = Outside::new()?;
    let checks = all(&Features::found()?, &outside)?;
    steps.expect(checks.count());
    checks.run(&mut steps)?;
    steps.summary();
    Ok(ExitCode::SUCCESS)
}

/// The checks as part of a longer run.
///
/// # Errors
/// A tool that cannot be brought.
pub fn all<'a>(features: &Features, outside: &'a Outside) -> anyhow::Result<Checks<'a>> {
    let doc: Vec<&str> = ["doc", "--no-deps"].into_iter().chain(DOCUMENTED).collect();
    let mut building = vec![
        Step::new("lint", "cargo", &["fmt", "--all", "--check"]),
        features.step("lint", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        features.step("lint", &doc).env("RUSTDOCFLAGS", "-D warnings"),
    ];
    if features.etcd() {
        let without = ["clippy", "--workspace", "--bin", "kubectl-clearwater", "--", "-D", "warnings"];
        building.push(Step::new("lint", "cargo", &without));
    }
    building.push(test_programs(features));
    let mut tests = features.step("test", &["test", "--workspace"]);
    if let Some(servers) = servers()? {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([servers].into_iter().chain(env::split_paths(&path)))?;
        tests = tests.env("PATH", path);
    }
    let mut beside: Vec<_> = embed::check(outside).collect();
    beside.extend(CARGO_DENY.missing("lint")?);
    let deny = ["--log-level", "error", "check", "bans", "licenses", "sources"];
    beside.push(Step::new("lint", CARGO_DENY.program()?, &deny));
    Ok(Checks { building, tests, beside })
}

/// The step that builds the programs of all tests, and with them the plugin and the test bed's program: built by themselves
/// they would be built once more, with other features of their dependencies.
pub fn test_programs(features: &Features) -> Step<'static> {
    features.step("build", &["test", "--workspace", "--no-run"]).named("build the tests")
}
