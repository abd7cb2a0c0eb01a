//! The command line.

mod file;
mod named_file;
mod one_of;

use clap::Parser;

use crate::command::Command;
use crate::connection::Connection;

pub(crate) use file::{FileArgs, PlaceArgs, USUAL};
pub(crate) use named_file::NamedFile;
pub(crate) use one_of::one_of;

const ABOUT: &str = "Run the Clearwater IMS on Kubernetes";

const LONG_ABOUT: &str = "\
Run the Clearwater IMS on Kubernetes.

Clearwater is a telephone exchange of a dozen containers. This plugin deploys them in the right order, with names that \
their own resolver can look up, and says what is wrong when one does not work.

Results are written to standard output, everything else to standard error.";

const AFTER: &str = "\
Exit codes:
  0         it worked
  1         it failed, or could not look
  2         the command line or the deployment file is wrong; nothing was done
  3         not ready before the deadline
  4         failed early: waiting longer could not help
  5         looked, and it is unhealthy
  6         refused: for safety, by your \"no\", or without a terminal and without --yes
  7         changes are pending
  8         a test failed
  130, 143  ended by SIGINT or SIGTERM, within a second";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-clearwater",
    bin_name = "kubectl clearwater",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_long_help = AFTER,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 120
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
