//! The test bed's program, behind `cargo xtask cluster`, `standins` and `contract`.

mod command;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use command::{cluster, contract, standins};

/// The test bed: its cluster, its images, and what the product claims of them.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Start, stop and look at the test cluster.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Build and import the images that play Clearwater in tests.
    #[command(subcommand)]
    Standins(standins::Command),
    /// Ask a deployment whether its images are as the product takes them to be; exit code 1 when a claim differs.
    Contract(contract::Options),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Cluster(command) => command.run(),
        Command::Contract(options) => contract::run(&options),
        Command::Standins(command) => command.run(),
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
