//! `cargo xtask demo`: the embedded default for newcomers.

use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::Args;
use clearwater_testbed::layout::{DEFAULT_NAME, NAME_VARIABLE};
use clearwater_testbed::{Local, Options as ClusterOptions};

use crate::standins;
use crate::steps::say;
use crate::workspace::root;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Name of the cluster.
    #[arg(long, env = NAME_VARIABLE, default_value = DEFAULT_NAME)]
    name: String,
    /// Namespace of the deployment.
    #[arg(long, short, default_value = "clearwater")]
    namespace: String,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--release", "-p", "kubectl-clearwater"])
        .current_dir(root())
        .status()
        .context("cannot start cargo")?;
    ensure!(built.success(), "the plugin does not build");
    let local = Local::up(&options.name, ClusterOptions::default(), &say)?;
    standins::import(&options.name)?;

    let plugin = root().join("target/release/kubectl-clearwater").canonicalize()?;
    let kubectl = local.kubectl().program().to_owned();
    let up = Command::new(&plugin)
        .args(["up", "--create-namespace", "--yes", "-n", &options.namespace])
        .env("KUBECONFIG", local.layout().kubeconfig())
        .status()
        .context("cannot start the plugin")?;
    ensure!(up.success(), "`kubectl clearwater up` ended with {up}");
    let path = |file: &std::path::Path| file.parent().map_or_else(String::new, |d| d.display().to_string());
    say(&format!(
        "\nTo go on in this shell:\n  export KUBECONFIG={}\n  export PATH={}:{}:$PATH\n  kubectl clearwater status -n {ns}\n  \
         kubectl get pods -n {ns} -o wide\nTo end it:\n  cargo xtask cluster down",
        local.layout().kubeconfig().display(),
        path(&plugin),
        path(&kubectl),
        ns = options.namespace,
    ));
    Ok(ExitCode::SUCCESS)
}
