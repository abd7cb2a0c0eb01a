use clap::Args;
use clearwater::event::{Change, EventKind, Operation};
use clearwater_kube::up::{UpOptions, up};

use super::up::Scope;
use crate::arguments::FileArgs;
use crate::context::Context;
use crate::drive::drive;
use crate::error::CliError;
use crate::exit;
use crate::reporter::{EventFormat, changes, choose};
use crate::runtime::block_on;

/// Show what `up` would write
///
/// Nothing is written. Exit code 7 says that something would be.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater diff -f clearwater.yaml -n ims
  kubectl clearwater diff --only sprout -o json")]
pub(crate) struct Diff {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    scope: Scope,
    /// The format of the events on standard output
    #[arg(short, long, value_enum)]
    output: Option<EventFormat>,
}

impl Diff {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
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
            EventKind::Planned { changes, .. } => Some(changes),
            _ => None,
        });
        let Some(all) = planned.filter(|_| code == exit::OK) else { return Ok(code) };
        if self.output.is_none() {
            context.results().styled(&changes(all))?;
            let makes = |c: &&Change| c.operation == Operation::Create && c.object.starts_with("namespace/");
            if let Some(new) = all.iter().find(makes) {
                context.talk().note(format!("{}: up makes it with --create-namespace only", new.object));
            }
        }
        let differs = all.iter().any(|c| c.operation != Operation::Keep);
        Ok(if differs { exit::PENDING } else { exit::OK })
    }
}
