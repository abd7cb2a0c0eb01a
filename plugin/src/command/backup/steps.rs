use std::time::{Duration, Instant};

use clearwater::event::{Event, EventKind, Outcome};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::CliError;
use crate::reporter::{Reporter, line, text};

/// How often a count is said where nothing can be redrawn.
const EVERY: Duration = Duration::from_secs(5);

/// Tells a run on standard error: how far it is in a line that is redrawn, or now and then where that cannot be.
pub(in crate::command) struct Steps {
    bar: ProgressBar,
    said: Instant,
}

impl Default for Steps {
    fn default() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self { bar, said: Instant::now() }
    }
}

impl Steps {
    fn say(&self, said: &str) {
        self.bar.suspend(|| line(&mut anstream::stderr(), said));
    }
}

impl Reporter for Steps {
    fn event(&mut self, event: &Event) -> Result<(), CliError> {
        match &event.what {
            EventKind::Progress { component, cause, .. } if !self.bar.is_hidden() => {
                self.bar.set_message(format!("{component}: {cause}"));
                self.bar.tick();
            }
            EventKind::Progress { component, cause, .. } if self.said.elapsed() > EVERY => {
                self.said = Instant::now();
                self.say(&format!("{component}: {cause}"));
            }
            // An error, or the table, says how it ended.
            EventKind::RunStarted { .. } | EventKind::Planned { .. } | EventKind::Progress { .. } => {}
            EventKind::RunFinished { outcome, summary, .. } => {
                self.bar.finish_and_clear();
                let went = [Outcome::Done, Outcome::NothingToDo, Outcome::DryRun, Outcome::ChangesPending];
                if went.contains(outcome) {
                    self.say(&summary.to_string());
                }
            }
            other => {
                if let Some(said) = text(other) {
                    self.say(&said);
                }
            }
        }
        Ok(())
    }

    fn rest(&mut self) {
        self.bar.finish_and_clear();
    }
}
