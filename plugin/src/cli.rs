//! The command line.

use clap::{CommandFactory as _, Parser};

use crate::command::Command;
use crate::connection::{Connection, HEADING};

const ABOUT: &str = "Run the Clearwater IMS on Kubernetes";

const LONG_ABOUT: &str = "\
Run the Clearwater IMS on Kubernetes.

Clearwater is a telephone exchange of a dozen containers. This plugin deploys them in the right order, with names that \
their own resolver can look up, and says what is wrong when one does not work.

Results are written to standard output, everything else to standard error.";

const EXAMPLES: &str = "\
Examples:
  kubectl clearwater up -n ims --create-namespace
  kubectl clearwater status -n ims
  kubectl clearwater logs -n ims sprout homestead";

/// Where the connection's flags are told, which every command takes and no page repeats, as kubectl's.
const OPTIONS: &str = "Use \"kubectl clearwater options\" for the connection's flags (-n, --context, --kubeconfig, …).";

const EXIT_CODES: &str = "\
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
    after_help = EXAMPLES,
    after_long_help = format!("{EXIT_CODES}\n\n{EXAMPLES}"),
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 120
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// The tree of commands as its help pages show it.
pub(crate) fn tree() -> clap::Command {
    let tree = Cli::command().mut_args(|arg| {
        let is_of_connection = arg.get_help_heading() == Some(HEADING);
        arg.hide(is_of_connection)
    });
    with_options(tree)
}

/// The command's page, and those below it, with the word where the flags are that it leaves out.
fn with_options(command: clap::Command) -> clap::Command {
    let and =
        |text: Option<&clap::builder::StyledStr>| text.map_or(OPTIONS.to_owned(), |t| format!("{t}\n\n{OPTIONS}"));
    let short = and(command.get_after_help());
    let long = command.get_after_long_help().map(|text| and(Some(text)));
    let command = match long {
        Some(long) => command.after_help(short).after_long_help(long),
        None => command.after_help(short),
    };
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_options))
}
