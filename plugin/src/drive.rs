//! Runs a run: events to the reporter, signals and answers to the engine, the outcome to an exit code.

use std::io;

use clearwater::event::{CancelReason, Change, Event, EventKind, Operation, Outcome, Repair};
use clearwater_kube::run::Run;

use crate::advice;
use crate::error::CliError;
use crate::exit;
use crate::question::answered;
use crate::reporter::Reporter;
use crate::signal::{Signals, code};

/// What is asked before the first write.
pub(crate) struct ConsentQuestion<'q> {
    /// Shows what will be done and words the question.
    pub(crate) ask: &'q dyn Fn(&[Change]) -> String,
    /// The answer that means yes.
    pub(crate) yes: &'q str,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended<T> {
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<CancelReason>,
    pub(crate) events: Vec<Event>,
    pub(crate) value: T,
}

impl<T> Ended<T> {
    /// The exit code of the outcome.
    pub(crate) fn code(&self) -> u8 {
        match self.outcome {
            Outcome::Done | Outcome::NothingToDo | Outcome::DryRun => exit::OK,
            Outcome::ChangesPending => exit::PENDING,
            Outcome::NotReady => exit::NOT_READY,
            Outcome::Failed | Outcome::PreflightFailed => exit::FAILED_EARLY,
            Outcome::Refused => exit::REFUSED,
            // Nobody asked it to: it ended without saying how.
            Outcome::Cancelled => self.reason.map_or(exit::FAILURE, code),
            _ => exit::FAILURE,
        }
    }
}

/// Follows a run to its end. The first signal asks it to stop; the second ends the process.
pub(crate) async fn drive<T>(
    mut run: Run<T>,
    reporter: &mut dyn Reporter,
    question: Option<ConsentQuestion<'_>>,
    signals: &Signals,
) -> Result<Ended<T>, CliError> {
    let mut ended = Ended { outcome: Outcome::Cancelled, reason: None, events: Vec::new(), value: () };
    let mut broken = None;
    loop {
        let event = tokio::select! {
            event = run.next() => event,
            reason = signals.next(), if ended.reason.is_none() => {
                ended.reason = Some(reason);
                run.handle.cancel(reason);
                continue;
            }
            () = signals.still_at_work(), if ended.reason.is_some() => continue,
        };
        let Some(event) = event.map(advice::worded) else { break };
        if broken.is_none()
            && let Err(error) = reporter.event(&event)
        {
            // Nobody reads any more: stop, and see it through to the end.
            run.handle.cancel(CancelReason::Reader);
            broken = Some(error);
        }
        if let EventKind::Planned { changes, .. } = &event.what
            && changes.iter().any(|c| c.operation != Operation::Keep)
            && let Some(question) = &question
        {
            reporter.rest();
            // A signal is heard by the loop, and nothing is answered.
            if let Ok(go_on) = confirm(question, changes, signals).await {
                run.handle.answer(go_on);
            }
        }
        if let EventKind::Asked { id, repair, .. } = &event.what
            && question.is_some()
        {
            reporter.rest();
            if let Ok(agreed) = agreed(repair, signals).await {
                run.handle.consent(*id, agreed);
            }
        }
        if let EventKind::RunFinished { outcome, .. } = &event.what {
            ended.outcome = *outcome;
        }
        if !event.what.droppable() {
            ended.events.push(event);
        }
    }
    if let Some(error) = broken {
        return Err(error);
    }
    let value = run.finished().await.map_err(|error| CliError::Runtime(io::Error::other(error)))?.value;
    let Ended { outcome, reason, events, value: () } = ended;
    Ok(Ended { outcome, reason, events, value })
}

async fn confirm(question: &ConsentQuestion<'_>, changes: &[Change], signals: &Signals) -> Result<bool, CancelReason> {
    answered(&(question.ask)(changes), question.yes, "--yes to go on without being asked", signals).await
}

/// Whether data may be lost for a repair.
async fn agreed(repair: &Repair, signals: &Signals) -> Result<bool, CancelReason> {
    let text = format!("Go on, and lose this data? Type the component's name ({}) to agree: ", repair.component);
    answered(&text, &repair.component, "--accept-loss to agree to it", signals).await
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use clearwater_kube::Cluster;
    use clearwater_kube::down::{DownOptions, down};
    use kube::client::Body;

    use super::*;
    use crate::signal::Listener;

    struct Silent;

    impl Reporter for Silent {
        fn event(&mut self, _: &Event) -> Result<(), CliError> {
            Ok(())
        }

        fn rest(&mut self) {}
    }

    #[tokio::test]
    async fn an_engine_that_panics_has_failed_and_was_not_interrupted() {
        let service = tower::service_fn(|_: http::Request<Body>| async {
            std::panic::resume_unwind(Box::new("a fault of the engine"));
            #[expect(unreachable_code, reason = "it says what the answer would be")]
            Ok::<_, Infallible>(http::Response::new(Body::empty()))
        });
        let cluster = Cluster::new(kube::Client::new(service, "ims"), "ims");
        let options = DownOptions::new().timeout(Duration::from_secs(5));
        let signals = Listener::silent().signals();
        let error = drive(down(&cluster, options), &mut Silent, None, &signals).await.unwrap_err();
        assert_eq!(error.exit_code(), exit::FAILURE);
        assert!(error.to_string().contains("panicked"), "{error}");
    }

    #[test]
    fn what_ends_without_saying_how_has_failed() {
        let ended = |reason| Ended { outcome: Outcome::Cancelled, reason, events: Vec::new(), value: () };
        assert_eq!(ended(None).code(), exit::FAILURE);
        assert_eq!(ended(Some(CancelReason::Interrupted)).code(), exit::INTERRUPTED);
    }
}
