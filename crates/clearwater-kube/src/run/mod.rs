//! An operation that writes: what happens leaves it as events, and its handle cancels it and answers what it asks.

pub(crate) mod checks;
mod emit;
pub(crate) mod evidence;

use std::time::Duration;

use clearwater::event::{CancelReason, Event, EventKind, Outcome};
use clearwater::remedy::Advice;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(crate) use emit::{Emitter, millis};

/// How many events are kept for a slow reader before the run waits for it.
const EVENTS: usize = 256;

/// A run that is under way: its events, and the handle that steers it.
#[derive(Debug)]
pub struct Run<T = ()> {
    /// The events, from `RunStarted` to `RunFinished`. Dropping this cancels the run.
    pub events: mpsc::Receiver<Event>,
    /// Steers the run.
    pub handle: Handle,
    /// What it yields beside its events, once they are over.
    pub ended: JoinHandle<T>,
}

/// Steers a run.
#[derive(Clone, Debug)]
pub struct Handle {
    cancel: watch::Sender<Option<CancelReason>>,
    answer: watch::Sender<Option<bool>>,
    consent: watch::Sender<Option<bool>>,
}

impl Handle {
    /// Asks the run to stop: nothing new is begun. A write on its way has half a second to arrive, whatever the API server
    /// does; only a change of the cluster's DNS that is being taken back takes its time.
    pub fn cancel(&self, reason: CancelReason) {
        self.cancel.send_modify(|r| *r = (*r).max(Some(reason)));
    }

    /// Answers a run that was started with [`UpOptions::ask`](crate::up::UpOptions::ask) or its like: whether the plan is
    /// to be carried out.
    pub fn answer(&self, go_on: bool) {
        self.answer.send_replace(Some(go_on));
    }

    /// Answers [`Asked`](clearwater::event::EventKind::Asked): whether data may be lost for it.
    pub fn consent(&self, agreed: bool) {
        self.consent.send_replace(Some(agreed));
    }
}

/// The run's own end of its [`Handle`].
pub(crate) struct Steering {
    pub(crate) cancel: watch::Receiver<Option<CancelReason>>,
    pub(crate) answer: watch::Receiver<Option<bool>>,
    pub(crate) consent: watch::Receiver<Option<bool>>,
}

/// Why a plan is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declined {
    /// It was only to be shown.
    DryRun,
    /// Whoever was asked did not agree.
    NotConfirmed,
    /// The run was cancelled before there was an answer.
    Cancelled(CancelReason),
}

impl Declined {
    /// How the run ends; `undone` is what was not done then ("written", "changed"), `unseen` what could not be looked at.
    pub(crate) async fn end(self, undone: &str, unseen: checks::Unseen, emitter: &mut Emitter) -> (Outcome, Advice) {
        let nothing = format!("nothing was {undone}");
        match (self, unseen) {
            (Self::DryRun, None) => (Outcome::DryRun, nothing.into()),
            (Self::DryRun, Some(what)) => {
                (Outcome::CouldNotLook, format!("{nothing}, and not all was seen: {what}").into())
            }
            (Self::NotConfirmed, _) => (Outcome::Refused, format!("not confirmed, {nothing}").into()),
            (Self::Cancelled(reason), _) => {
                emitter.emit(EventKind::CancelRequested { reason }).await;
                (Outcome::Cancelled, format!("interrupted, {nothing}").into())
            }
        }
    }
}

impl Steering {
    /// Whether a plan is to be carried out: not where it was only to be shown, and with a yes alone where somebody is asked.
    /// The time that the answer takes is not the run's.
    pub(crate) async fn agreed(&mut self, dry_run: bool, ask: bool, emitter: &mut Emitter) -> Result<(), Declined> {
        if dry_run {
            return Err(Declined::DryRun);
        }
        if !ask {
            return Ok(());
        }
        let asked = Instant::now();
        let answer = self.answer().await;
        emitter.leave_out(asked.elapsed());
        match answer {
            Ok(true) => Ok(()),
            Ok(false) => Err(Declined::NotConfirmed),
            Err(reason) => Err(Declined::Cancelled(reason)),
        }
    }

    async fn answer(&mut self) -> Result<bool, CancelReason> {
        loop {
            if let Some(reason) = *self.cancel.borrow() {
                return Err(reason);
            }
            if let Some(answer) = *self.answer.borrow() {
                return Ok(answer);
            }
            let gone = tokio::select! {
                changed = self.cancel.changed() => changed.is_err(),
                changed = self.answer.changed() => changed.is_err(),
            };
            if gone {
                return Err(CancelReason::Reader);
            }
        }
    }
}

/// The next reason to cancel; never, where nobody is left who could give one.
pub(crate) async fn cancelled(cancel: &mut watch::Receiver<Option<CancelReason>>) -> CancelReason {
    loop {
        if let Some(reason) = *cancel.borrow_and_update() {
            return reason;
        }
        if cancel.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// How long a write that is on its way when the run is cancelled may take to arrive.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// Does something that a cancelled run does not begin, and gives up so long after the run was cancelled: an API server
/// that hangs or throttles holds nobody.
pub(crate) async fn unless_cancelled<T>(
    cancel: &watch::Receiver<Option<CancelReason>>,
    grace: Duration,
    work: impl Future<Output = T>,
) -> Result<T, CancelReason> {
    if let Some(reason) = *cancel.borrow() {
        return Err(reason);
    }
    let mut cancel = cancel.clone();
    let late = async {
        let reason = cancelled(&mut cancel).await;
        sleep(grace).await;
        reason
    };
    tokio::select! {
        biased;
        done = work => Ok(done),
        reason = late => Err(reason),
    }
}

/// Begins a run.
pub(crate) fn start<F>(run: impl FnOnce(Emitter, Steering) -> F) -> Run<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let (out, events) = mpsc::channel(EVENTS);
    let (cancel, cancelled) = watch::channel(None);
    let (answer, answered) = watch::channel(None);
    let (consent, consented) = watch::channel(None);
    let ended =
        tokio::spawn(run(Emitter::new(out), Steering { cancel: cancelled, answer: answered, consent: consented }));
    Run { events, handle: Handle { cancel, answer, consent }, ended }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_hangs_ends_with_the_run() {
        let (out, cancel) = watch::channel(None);
        let hangs = std::future::pending::<()>;
        for grace in [Duration::ZERO, GRACE] {
            out.send_replace(None);
            let began = tokio::time::Instant::now();
            let (ended, ()) = tokio::join!(unless_cancelled(&cancel, grace, hangs()), async {
                sleep(Duration::from_secs(3)).await;
                out.send_replace(Some(CancelReason::Terminated));
            });
            assert_eq!(ended, Err(CancelReason::Terminated));
            assert_eq!(began.elapsed(), Duration::from_secs(3) + grace);
        }
        // What was cancelled before is not begun.
        let mut begun = false;
        assert!(unless_cancelled(&cancel, GRACE, async { begun = true }).await.is_err());
        assert!(!begun);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_on_its_way_arrives() {
        let (out, cancel) = watch::channel(None);
        let write = async {
            sleep(Duration::from_millis(300)).await;
            "written"
        };
        let (ended, ()) = tokio::join!(unless_cancelled(&cancel, GRACE, write), async {
            out.send_replace(Some(CancelReason::Interrupted));
        });
        assert_eq!(ended, Ok("written"));
    }
}
