use std::io::Write as _;

use clearwater::event::{Event, EventKind};

use super::words::coloured;
use crate::error::CliError;
use crate::reporter::{Reporter, text as line};

/// Tells the steps on standard error.
pub(super) struct Steps {
    pub(super) quiet: bool,
}

impl Reporter for Steps {
    fn event(&mut self, event: &Event) -> Result<(), CliError> {
        let said = match &event.what {
            _ if self.quiet => None,
            EventKind::RunStarted { .. } | EventKind::RunFinished { .. } => None,
            EventKind::Planned { changes, .. } => {
                let diffs: String = changes.iter().map(|c| coloured(&c.diff)).collect();
                Some(diffs).filter(|d| !d.is_empty())
            }
            EventKind::Notice { text } => Some(format!("{text}\n")),
            EventKind::CancelRequested { .. } => {
                Some("stopping; what is not proved is taken back (once more to leave at once)\n".to_owned())
            }
            other => line(other).map(|text| format!("{text}\n")),
        };
        if let Some(said) = said {
            // Nobody has to read it.
            let _ = write!(anstream::stderr(), "{said}");
        }
        Ok(())
    }

    fn rest(&mut self) {}
}
