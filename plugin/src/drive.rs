//! Runs a run: events to the reporter, signals and answers to the engine, the outcome to an exit code.

use std::io::{self, BufRead, IsTerminal, Write};

use clearwater::event::{CancelReason, Change, Event, Mending, Operation, Outcome, What};
use clearwater_kube::up::Run;

use crate::error::CliError;
use crate::exit;
use crate::reporter::Reporter;
use crate::signal::Signals;

/// What is asked before the first write.
pub(crate) struct Question<'q> {
    /// Shows what will be done and words the question.
    pub(crate) ask: &'q dyn Fn(&[Change]) -> String,
    /// The answer that means yes.
    pub(crate) yes: &'q str,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<CancelReason>,
    pub(crate) events: Vec<Event>,
}

impl Ended {
    /// The exit code of the outcome.
    pub(crate) fn code(&self) -> u8 {
        match self.outcome {
            Outcome::Done | Outcome::NothingToDo | Outcome::DryRun => exit::OK,
            Outcome::ChangesPending => exit::PENDING,
            Outcome::NotReady => exit::NOT_READY,
            Outcome::Failed | Outcome::PreflightFailed => exit::FAILED_EARLY,
            Outcome::Refused => exit::REFUSED,
            Outcome::Cancelled if self.reason == Some(CancelReason::Terminated) => exit::TERMINATED,
            Outcome::Cancelled => exit::INTERRUPTED,
            _ => exit::FAILURE,
        }
    }
}

/// Follows a run to its end. The first signal asks it to stop, the second leaves at once.
pub(crate) async fn drive(
    mut run: Run,
    reporter: &mut dyn Reporter,
    question: Option<Question<'_>>,
) -> Result<Ended, CliError> {
    let mut signals = Signals::new();
    let mut ended = Ended { outcome: Outcome::Cancelled, reason: None, events: Vec::new() };
    let mut broken = None;
    loop {
        let event = tokio::select! {
            event = run.events.recv() => event,
            reason = signals.next() => {
                if ended.reason.is_some() {
                    reporter.rest();
                    return Ok(ended);
                }
                ended.reason = Some(reason);
                run.handle.cancel(reason);
                continue;
            }
        };
        let Some(event) = event else { break };
        if broken.is_none()
            && let Err(error) = reporter.event(&event)
        {
            // Nobody reads any more: stop, and see it through to the end.
            run.handle.cancel(CancelReason::Reader);
            broken = Some(error);
        }
        if let What::Planned { changes, .. } = &event.what
            && changes.iter().any(|c| c.operation != Operation::Keep)
            && let Some(question) = &question
        {
            reporter.rest();
            run.handle.answer(confirm(question, changes));
        }
        if let What::Asked { mending } = &event.what
            && question.is_some()
        {
            reporter.rest();
            run.handle.consent(agreed(mending));
        }
        if let What::RunFinished { outcome, .. } = &event.what {
            ended.outcome = *outcome;
        }
        if !event.what.droppable() {
            ended.events.push(event);
        }
    }
    match broken {
        Some(error) => Err(error),
        None => Ok(ended),
    }
}

fn confirm(question: &Question<'_>, changes: &[Change]) -> bool {
    answered(&(question.ask)(changes), question.yes, "--yes to go on without being asked")
}

/// Whether data may be lost for a repair.
fn agreed(mending: &Mending) -> bool {
    let text = format!("Go on, and lose this data? Type the component's name ({}) to agree: ", mending.component);
    answered(&text, &mending.component, "--accept-loss to agree to it")
}

fn answered(text: &str, yes: &str, otherwise: &str) -> bool {
    let mut err = anstream::stderr();
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let _ = writeln!(err, "there is no terminal to ask on: add {otherwise}");
        return false;
    }
    let _ = write!(err, "{text}");
    let _ = err.flush();
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer).is_err() {
        return false;
    }
    answer.trim().eq_ignore_ascii_case(yes)
}
