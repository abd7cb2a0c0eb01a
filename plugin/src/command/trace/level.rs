//! The log level from which on SIP messages are written, set and taken back: an `up` of those that write them.

use clap::Args;
use clearwater::component::Component;
use clearwater::config::Set;

use crate::advice::{command, up};
use crate::arguments::PlaceArgs;
use crate::command::up::Up;
use crate::context::Context;
use crate::error::CliError;

/// The components that write SIP messages.
pub(super) const WRITERS: [Component; 2] = [Component::Bono, Component::Sprout];
/// The log level from which on they do.
pub(super) const SIP_LEVEL: u8 = 4;

/// Whether messages are written at all.
#[derive(Debug, Args)]
pub(super) struct LevelArgs {
    /// Let bono and sprout write SIP messages: an `up` of these two with log level 4, for which both are restarted. The next
    /// `up` takes it back
    #[arg(long, conflicts_with_all = ["subject", "ListArgs", "Selection", "output", "stdin", "from"])]
    enable: bool,
    /// Put bono and sprout back to the log level of the deployment file
    #[arg(long, conflicts_with_all = ["enable", "subject", "ListArgs", "Selection", "output", "stdin", "from"])]
    disable: bool,
    /// Of --enable and --disable: go on without asking
    #[arg(short, long)]
    yes: bool,
}

impl LevelArgs {
    /// Whether the level is to be changed.
    pub(super) fn is_asked(&self) -> bool {
        self.enable || self.disable
    }

    pub(super) fn run(&self, place: &PlaceArgs, context: &mut Context) -> Result<u8, CliError> {
        let mut file = place.file();
        file.is_advised();
        if self.enable {
            for component in WRITERS {
                file = file.over(level_of(component)?);
            }
            context.talk().note(format!(
                "from log level {SIP_LEVEL} on each SIP message is written whole, at every hop, with what subscribers wrote in it; \
                 `{}` or the next `{}` takes it back",
                command("trace --disable"),
                up("")
            ));
        } else {
            let own = file.read()?.file;
            for component in WRITERS {
                if let Some(level) = own.level_of(component).filter(|level| *level >= SIP_LEVEL) {
                    context.talk().warning(format!(
                        "the deployment file itself has log level {level} for {component}, which goes on writing SIP messages"
                    ));
                }
            }
        }
        Up::only(file, WRITERS.to_vec(), self.yes).run(context)
    }
}

/// The level as `--set` puts it over the file's.
fn level_of(component: Component) -> Result<Set, CliError> {
    let set: Set = format!("components.{component}.logLevel={SIP_LEVEL}")
        .parse()
        .map_err(|error| CliError::Usage(format!("{error}")))?;
    Ok(set.given_by("--enable"))
}
