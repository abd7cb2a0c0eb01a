//! The commands of those who build kubectl-clearwater: `cargo xtask --help`.

mod build;
mod check;
mod cluster;
mod contract;
mod demo;
mod embed;
mod prove;
mod standins;
mod steps;
mod test;
mod tools;
mod workspace;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

/// The commands of those who build kubectl-clearwater.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Format, clippy, docs, licences, unit, golden and property tests; no cluster.
    Check,
    /// The checks, then everything end to end on a cluster. What CI runs. Needs root.
    Test(test::Options),
    /// Build the plugin with everything it can do; brings protoc for the etcd backend of `dns-patch`.
    Build(build::Options),
    /// The same as it is shipped: optimised, stripped.
    Dist,
    /// The same as `dist`, put into cargo's bin folder.
    Install,
    /// A cluster with Clearwater up on it, ready to play with. Needs root.
    Demo(demo::Options),
    /// A long or lifelike run, by hand; writes its figures to docs/proof.
    Prove {
        /// The proof.
        name: prove::Proof,
        /// How many minutes it may take, for proofs that have no end of their own.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// Only the parts whose name contains this, for proofs that have parts.
        #[arg(long)]
        only: Option<String>,
        /// Rounds of each measurement, for proofs that take medians.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
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
        Command::Check => check::run(),
        Command::Test(options) => test::run(&options),
        Command::Build(options) => build::build(&options),
        Command::Dist => build::dist(),
        Command::Install => build::install(),
        Command::Demo(options) => demo::run(&options),
        Command::Prove { name, minutes, only, rounds } => prove::run(name, minutes, only.as_deref(), rounds),
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
