use clap::Args;

use crate::connection::Connection;
use crate::context::Context;
use crate::error::CliError;
use crate::exit;

/// Show the connection's flags, which every command takes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater options
  kubectl clearwater status -n ims --context lab --request-timeout 5s")]
pub(crate) struct Options {}

impl Options {
    #[expect(clippy::unused_self, reason = "every command has the same shape")]
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let mut flags = Connection::augment_args(clap::Command::new("options"))
            .mut_args(|arg| arg.hide_short_help(false))
            .disable_help_flag(true)
            .max_term_width(120)
            .help_template("Every command takes these flags, wherever they stand.\n\n{all-args}\n");
        let page = flags.render_help().ansi().to_string();
        context.results().styled(&page)?;
        Ok(exit::OK)
    }
}
