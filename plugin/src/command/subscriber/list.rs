use clap::Args;

use super::report::LineFormat;
use super::{AccountArgs, Which};
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::runtime::{block_on, unless_ended};

/// List the lines of an account
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater subscriber list -n ims
  kubectl clearwater subscriber list --account ann@example.com
  kubectl clearwater subscriber list --through homestead-prov     all there are")]
pub(crate) struct List {
    /// Only these numbers, ranges of them, or whole public identities
    #[arg(value_name = "NUMBER|FROM..TO|IDENTITY")]
    numbers: Vec<Which>,
    /// Show the passwords that homestead-prov keeps as text; of others it has a digest alone
    #[arg(long)]
    passwords: bool,
    #[command(flatten)]
    account: AccountArgs,
    /// The format
    #[arg(short, long, value_enum, default_value = "table")]
    output: LineFormat,
}

impl List {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let namespace = self.account.place.namespace(context, self.output == LineFormat::Table)?;
        let signals = context.signals();
        block_on(unless_ended(&signals, async {
            let (subscribers, mut found) = self.account.found(context, namespace, &self.numbers).await?;
            let is_whole = found.problems.is_empty();
            if self.passwords {
                super::password::look_up(&subscribers, &mut found).await?;
            }
            found.write(context, &subscribers, self.output)?;
            Ok(if is_whole { exit::OK } else { exit::FAILURE })
        }))
    }
}
