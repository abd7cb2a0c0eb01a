use std::path::PathBuf;

use clap::Args;
use clearwater::event::{Change, Operation};
use clearwater_kube::backup::{RestoreOptions, restore};

use super::report::PutBack;
use super::steps::Steps;
use super::{MOST_AT_ONCE, archive};
use crate::arguments::PlaceArgs;
use crate::context::Context;
use crate::drive::{ConsentQuestion, drive};
use crate::error::CliError;
use crate::output::Format;
use crate::reporter::plain;
use crate::runtime::block_on;

/// How many lines are shown before it is asked.
const SHOWN: usize = 20;

/// Put back what `backup` kept: what is missing and, with --replace, what differs
///
/// The file is checked first, what stands is compared with it, and afterwards again, identity by identity and field by field.
/// What stands as it was kept is not written, so that the same command again completes one that was interrupted; what stands and
/// is not in the file is left alone. Exit code 7 says that something was left as it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater restore ims.zip -n ims --dry-run
  kubectl clearwater restore ims.zip --replace --yes
  age -d -i key.txt ims.zip.age | kubectl clearwater restore - --yes")]
pub(crate) struct Restore {
    /// The file; - reads standard input
    #[arg(value_name = "FILE")]
    backup: PathBuf,
    #[command(flatten)]
    place: PlaceArgs,
    /// Put what was kept in the place of what differs
    #[arg(long)]
    replace: bool,
    /// Compare, show what would be written, and stop
    #[arg(long)]
    dry_run: bool,
    /// Go on without asking
    #[arg(short, long)]
    yes: bool,
    /// How many are put back at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=MOST_AT_ONCE))]
    at_once: u16,
    /// A format for programs
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

impl Restore {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let kept = archive::read(&self.backup)?;
        let namespace = self.place.namespace(context, self.output.is_none())?;
        let mut options = RestoreOptions::new().at_once(self.at_once);
        options.replace = self.replace;
        options.dry_run = self.dry_run;
        options.ask = !self.yes && !self.dry_run;
        let ask = |all: &[Change]| question(all);
        let asked = options.ask.then_some(ConsentQuestion { ask: &ask, yes: "y" });
        let signals = context.signals();
        let ended = block_on(async {
            let cluster = context.connection().cluster(namespace.clone()).await?;
            drive(restore(&cluster, kept.clone(), options), &mut Steps::default(), asked, &signals).await
        })?;
        let code = ended.code();
        let outcome = ended.outcome;
        let report = PutBack::new(namespace, &self.backup, &kept, outcome, &ended.value?);
        match self.output {
            Some(format) => context.results().value(format, &report)?,
            None => context.results().text(&report.table())?,
        }
        Ok(code)
    }
}

/// What will be written, and the question.
fn question(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes.iter().take(SHOWN) {
        let word = if change.operation == Operation::Create { "make" } else { "replace" };
        text += &format!("{word} {}\n", plain(&change.object));
        change.diff.lines().for_each(|line| text += &format!("    {}\n", plain(line)));
    }
    if changes.len() > SHOWN {
        text += &format!("and {} more\n", changes.len() - SHOWN);
    }
    let of = |operation| changes.iter().filter(|c| c.operation == operation).count();
    let (made, replaced) = (of(Operation::Create), of(Operation::Change));
    text + &format!("{made} to make, {replaced} to replace: go on? [y/N] ")
}
