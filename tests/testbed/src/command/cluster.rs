//! `cargo xtask cluster`: a real Kubernetes with two nodes on this machine.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use clearwater_testbed::image::Archive;
use clearwater_testbed::layout::{DEFAULT_NAME, Layout, NAME_VARIABLE};
use clearwater_testbed::{Local, Options, Program};

/// What to do with the cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start it, or complete it when some of it runs. Builds and installs what is missing. Needs root.
    Up {
        #[command(flatten)]
        cluster: Which,
        /// Kubernetes' own times for syncing, caching and scaling instead of quick ones.
        #[arg(long)]
        lifelike: bool,
        /// Allow node ports from 3000 on instead of from 30000.
        #[arg(long)]
        wide_node_ports: bool,
    },
    /// Build its programs where they are missing, and start nothing.
    Build,
    /// End it and remove everything of it except built programs and imported images. Needs root.
    Down {
        #[command(flatten)]
        cluster: Which,
        /// Remove the imported images as well.
        #[arg(long)]
        purge: bool,
    },
    /// Give both nodes the images of OCI archives.
    Load {
        #[command(flatten)]
        cluster: Which,
        /// The archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Show which parts run; exit code 1 when not everything is well.
    Status {
        #[command(flatten)]
        cluster: Which,
    },
    /// Print the path of the administrator's kubeconfig.
    Kubeconfig {
        #[command(flatten)]
        cluster: Which,
        /// Print the path of a kubectl of the cluster's version instead.
        #[arg(long)]
        kubectl: bool,
    },
}

/// Which cluster is meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Name of the cluster; several can run at once.
    #[arg(long, env = NAME_VARIABLE, default_value = DEFAULT_NAME)]
    name: String,
}

impl Command {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Up { cluster, lifelike, wide_node_ports } => {
                let local = Local::up(&cluster.name, Options { lifelike, wide_node_ports }, &say)?;
                show(&format!("export KUBECONFIG={}", local.layout().kubeconfig().display()))?;
            }
            Self::Build => {
                for program in Program::ALL {
                    program.get(&say)?;
                }
            }
            Self::Down { cluster, purge } => Local::down(&cluster.name, purge, &say)?,
            Self::Load { cluster, archives } => {
                let local = Local::open(&cluster.name)?;
                for path in archives {
                    local.import(&Archive::open(path)?)?;
                }
            }
            Self::Status { cluster } => return status(&cluster.name),
            Self::Kubeconfig { cluster, kubectl: false } => {
                let local = Local::open(&cluster.name)?;
                show(&local.layout().kubeconfig().display().to_string())?;
            }
            Self::Kubeconfig { cluster, kubectl: true } => {
                let local = Local::open(&cluster.name)?;
                show(&local.kubectl().program().display().to_string())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn status(name: &str) -> Result<ExitCode> {
    Layout::new(name)?;
    let status = Local::open(name)?.status();
    let mut lines = Vec::new();
    for (part, pid) in &status.parts {
        let state = pid.map_or("not running".to_owned(), |pid| format!("running, process {pid}"));
        lines.push((part.to_string(), state));
    }
    lines.push(("API".to_owned(), status.api.clone().err().unwrap_or_else(|| "ready".to_owned())));
    for (node, ready) in &status.nodes {
        lines.push((format!("node {node}"), if *ready { "Ready" } else { "not Ready" }.to_owned()));
    }
    lines.push(("cluster DNS".to_owned(), format!("{} pods ready", status.dns_pods)));
    for (name, state) in lines {
        show(&format!("{name:<20} {state}"))?;
    }
    Ok(if status.is_healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Progress goes to standard error; a reader who left does not stop the work.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn show(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}
