//! The commands of those who build kubectl-clearwater.

mod check;
mod prove;
mod steps;
mod tools;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Format, clippy, docs, licences, unit, golden and property tests; no cluster.
    Check,
    /// A long or lifelike run, by hand; writes its figures to docs/proof.
    Prove {
        /// The proof.
        name: prove::Proof,
        /// How many minutes it may take, for proofs that have no end of their own.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Check => check::run(),
        Command::Prove { name, minutes } => prove::run(name, minutes),
    }
}
