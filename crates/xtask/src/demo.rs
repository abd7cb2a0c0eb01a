//! `cargo xtask demo`: the embedded default for newcomers.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use crate::bed::{DEFAULT_NAME, NAME_VARIABLE, PLUGIN, TESTBED, program, programs, standin};
use crate::build::Features;
use crate::steps::{Step, Steps, say};

/// How long it may take, on a machine with nothing built.
const DEADLINE: Duration = Duration::from_secs(90 * 60);

/// Where the demo runs.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the cluster.
    #[arg(long, env = NAME_VARIABLE, default_value = DEFAULT_NAME)]
    name: String,
    /// Namespace of the deployment.
    #[arg(long, short, default_value = "clearwater")]
    namespace: String,
}

/// Brings a cluster up, and Clearwater on it.
///
/// # Errors
/// The step that fails.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let bed = program(TESTBED);
    let mut steps = Steps::within(DEADLINE);
    let name = options.name.as_str();
    let cluster = [
        programs(&Features::found()?),
        standin(),
        Step::new("cluster", &bed, &["cluster", "up", "--name", name]).named("a cluster of two nodes"),
        Step::new("images", &bed, &["standins", "import", "--default-only", "--name", name])
            .named("give it the images"),
    ];
    steps.expect(cluster.len() + 1);
    steps.run(cluster)?;

    let (kubeconfig, kubectl) = (told(&bed, name, &[])?, told(&bed, name, &["--kubectl"])?);
    let plugin = program(PLUGIN).canonicalize()?;
    let up = ["up", "--create-namespace", "--yes", "-n", &options.namespace];
    steps.run([Step::new("up", &plugin, &up).env("KUBECONFIG", &kubeconfig).shown()])?;
    let folder = |file: &Path| file.parent().map_or_else(String::new, |d| d.display().to_string());
    say(&format!(
        "\nTo go on in this shell:\n  export KUBECONFIG={}\n  export PATH={}:{}:$PATH\n  kubectl clearwater status -n {ns}\n  \
         kubectl get pods -n {ns} -o wide\nTo end it:\n  cargo xtask cluster down",
        kubeconfig.display(),
        folder(&plugin),
        folder(&kubectl),
        ns = options.namespace,
    ));
    steps.summary();
    Ok(ExitCode::SUCCESS)
}

/// A path that the test bed's program tells of a cluster.
fn told(bed: &Path, cluster: &str, which: &[&str]) -> anyhow::Result<PathBuf> {
    let said = Command::new(bed).args(["cluster", "kubeconfig", "--name", cluster]).args(which).output();
    let said = said.with_context(|| format!("cannot start {}", bed.display()))?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr).trim());
    Ok(String::from_utf8_lossy(&said.stdout).trim().into())
}
