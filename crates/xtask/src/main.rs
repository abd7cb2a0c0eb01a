//! The commands of those who build kubectl-clearwater: `cargo xtask --help`.

mod cluster;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

/// The commands of those who build kubectl-clearwater.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Start, stop and look at the test cluster.
    #[command(subcommand)]
    Cluster(cluster::Command),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Cluster(command) => command.run(),
    };
    result.unwrap_or_else(|error| {
        let gone = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
        if error.downcast_ref().is_some_and(gone) {
            return ExitCode::SUCCESS;
        }
        let _ = writeln!(io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}
