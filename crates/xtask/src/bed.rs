//! The programs of the equipment that need Kubernetes' types: the test bed's and the proofs'. They are built as part of
//! the workspace, as the tests are, so that nothing is compiled twice.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::build::Features;
use crate::steps::{Step, Steps};
use crate::workspace::target;

/// The plugin.
pub const PLUGIN: &str = "kubectl-clearwater";
/// The test bed's program: clusters, the stand-ins' images, the contract.
pub const TESTBED: &str = "testbed";
/// The proofs' program.
pub const PROOF: &str = "proof";
/// The program that plays Clearwater in the stand-ins' images.
pub const STANDIN: &str = "standin";

/// The variable that names the cluster, where no argument does.
pub const NAME_VARIABLE: &str = "CLEARWATER_TESTBED_NAME";
/// The cluster's name, where nothing names it.
pub const DEFAULT_NAME: &str = "cw";

/// How long a build may take.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// The step that builds the plugin and the test bed's program, with the whole workspace each time: a part of it would choose
/// other features of its dependencies and build them anew.
pub fn programs(features: &Features) -> Step<'static> {
    features
        .step("build", &["build", "--workspace", "--bin", PLUGIN, "--bin", TESTBED])
        .named("build the plugin and the test bed's program")
}

/// The package of the stand-ins' program, built alike by every command: another build would make other images.
pub fn standin() -> Step<'static> {
    Step::new("build", "cargo", &["build", "--release", "--package", "clearwater-standins"])
        .named("build the program of the stand-ins")
}

/// Where a program of the workspace is built in development.
pub fn program(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// Builds a program and runs it with a command line that is its own.
///
/// # Errors
/// The build, or a program that cannot be started.
pub fn pass(name: &str, words: &[&str], arguments: &[OsString]) -> Result<ExitCode> {
    let features = Features::found()?;
    let mut steps = Steps::within(PATIENCE).quiet();
    steps.run([features.step("build", &["build", "--workspace", "--bin", name])])?;
    let asks = arguments.iter().any(|a| a == "--help" || a == "-h");
    let images = words == ["standins"] && arguments.first().is_some_and(|a| a == "build" || a == "import");
    if images && !asks {
        steps.run([standin()])?;
    }
    let ended = Command::new(program(name))
        .args(words)
        .args(arguments)
        .status()
        .with_context(|| format!("cannot start {name}"))?;
    Ok(ended.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
