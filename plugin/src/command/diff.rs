use clap::{Args, ValueEnum};
use clearwater::event::{Change, EventKind, Operation};
use clearwater_kube::up::{UpOptions, up};

use super::up::Scope;
use crate::advice::said;
use crate::arguments::FileArgs;
use crate::context::Context;
use crate::drive::drive;
use crate::error::CliError;
use crate::exit;
use crate::reporter::{EventFormat, changes_in_full, choose, summary, waiting};
use crate::runtime::block_on;

/// What `kubectl diff` ends with at least where it failed.
const FAILED: u8 = 2;

/// Show what `up` would write
///
/// Nothing is written: what is new is shown whole, of the rest what differs. Exit code 7 says that something would be.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater diff -f clearwater.yaml -n ims
  kubectl clearwater diff --summary
  kubectl clearwater diff --exit-code kubectl
  kubectl clearwater diff --only sprout -o json")]
pub(crate) struct Diff {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    scope: Scope,
    /// The format of the events on standard output
    #[arg(short, long, value_enum)]
    output: Option<EventFormat>,
    /// Show counts in the place of differences: objects, pods that restart, what waits, what would be lost
    #[arg(long, conflicts_with = "output")]
    summary: bool,
    /// What the exit code of a difference is
    #[arg(long, value_enum, value_name = "WHOSE", default_value = "clearwater")]
    exit_code: Codes,
}

/// Whose exit codes are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Codes {
    /// 7 where something would be written, and this program's own otherwise
    Clearwater,
    /// As kubectl diff: 1 where something would be written, more where it failed
    Kubectl,
}

impl Diff {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        match self.exit_code {
            Codes::Clearwater => self.compare(context),
            Codes::Kubectl => {
                let ended = self.compare(context);
                match ended {
                    Ok(exit::PENDING) => Ok(1),
                    Ok(exit::FAILURE) => Ok(FAILED),
                    Err(error) if error.exit_code() == exit::FAILURE && !error.is_broken_pipe() => {
                        context.talk().error(said(&error));
                        Ok(FAILED)
                    }
                    ended => ended,
                }
            }
        }
    }

    fn compare(self, context: &mut Context) -> Result<u8, CliError> {
        let deployment = self.file.deployment(context, self.output.is_none())?;
        let namespace = deployment.namespace().to_owned();
        let options = UpOptions::new(deployment)
            .policy(self.scope.order)
            .only(self.scope.only)
            .skip(self.scope.skip)
            .dry_run()
            .create_namespace();
        let mut reporter = choose(self.output);
        let signals = context.signals();
        let ended = block_on(async {
            drive(up(&context.connection().cluster(namespace).await?, options), reporter.as_mut(), None, &signals).await
        })?;
        let code = ended.code();
        let planned = ended.events.iter().find_map(|e| match &e.what {
            EventKind::Planned { changes, pending } => Some((changes, pending)),
            _ => None,
        });
        let Some((all, pending)) = planned.filter(|_| code == exit::OK) else { return Ok(code) };
        if self.output.is_none() {
            let shown = if self.summary {
                summary(all, pending)
            } else {
                format!("{}{}", changes_in_full(all), waiting(pending))
            };
            context.results().styled(&shown)?;
            let makes = |c: &&Change| c.operation == Operation::Create && c.object.starts_with("namespace/");
            if let Some(new) = all.iter().find(makes) {
                context.talk().note(format!("{}: up makes it with --create-namespace only", new.object));
            }
        }
        let differs = all.iter().any(|c| c.operation != Operation::Keep);
        Ok(if differs { exit::PENDING } else { exit::OK })
    }
}
