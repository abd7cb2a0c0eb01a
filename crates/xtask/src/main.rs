//! The commands of those who build kubectl-clearwater: `cargo xtask --help`.

mod cluster;
mod standins;

use std::process::ExitCode;

use clap::Parser;

/// The commands of those who build kubectl-clearwater.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Start, stop and look at the test cluster.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Build the stand-in images and put them on the test cluster's nodes.
    #[command(subcommand)]
    Standins(standins::Command),
}

fn main() -> anyhow::Result<ExitCode> {
    match Command::parse() {
        Command::Cluster(command) => command.run(),
        Command::Standins(command) => command.run(),
    }
}
