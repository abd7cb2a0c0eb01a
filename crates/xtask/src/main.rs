//! The commands of those who build kubectl-clearwater: `cargo xtask --help`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser};
use xtask::bed::{self, PROOF, TESTBED};
use xtask::{book, build, check, demo, release, test};

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
    /// What is published, into target/published: the static program in an archive, a Debian package and an image, a bill of
    /// materials, sums, and what krew and Homebrew read.
    Release(release::Options),
    /// The pages of docs/ as a book, in target/book.
    Book,
    /// A cluster with Clearwater up on it, ready to play with. Needs root.
    Demo(demo::Options),
    /// A long or lifelike run, by hand; writes its figures to docs/proof.
    #[command(disable_help_flag = true)]
    Prove(Rest),
    /// Start, stop and look at the test cluster.
    #[command(disable_help_flag = true)]
    Cluster(Rest),
    /// Build and import the images that play Clearwater in tests.
    #[command(disable_help_flag = true)]
    Standins(Rest),
    /// Ask a deployment whether its images are as the product takes them to be; exit code 1 when a claim differs.
    #[command(disable_help_flag = true)]
    Contract(Rest),
}

/// What a program of the equipment reads by itself.
#[derive(Debug, Args)]
struct Rest {
    /// Its own arguments; --help says which.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Check => check::run(),
        Command::Test(options) => test::run(&options),
        Command::Build(options) => build::build(&options),
        Command::Dist => build::dist(),
        Command::Install => build::install(),
        Command::Release(options) => release::run(&options),
        Command::Book => book::run(),
        Command::Demo(options) => demo::run(&options),
        Command::Prove(rest) => bed::pass(PROOF, &[], &rest.arguments),
        Command::Cluster(rest) => bed::pass(TESTBED, &["cluster"], &rest.arguments),
        Command::Standins(rest) => bed::pass(TESTBED, &["standins"], &rest.arguments),
        Command::Contract(rest) => bed::pass(TESTBED, &["contract"], &rest.arguments),
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
