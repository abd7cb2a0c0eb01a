//! An operation that writes: what happens leaves it as events, and its handle cancels it and answers what it asks.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::clearwater::config::DeploymentFile;
//! use clearwater_kube::clearwater::event::EventKind;
//! use clearwater_kube::up::{UpOptions, up};
//!
//! let mut run = up(&cluster, UpOptions::new(cluster.deploy(&DeploymentFile::default())?).ask());
//! while let Some(event) = run.next().await {
//!     match event.what {
//!         EventKind::Planned { changes, .. } => run.answer(changes.len() < 100),
//!         EventKind::Asked { id, loses, .. } => run.consent(id, loses.is_empty()),
//!         _ => {}
//!     }
//! }
//! println!("{}", run.finished().await?.summary);
//! # Ok(()) }
//! ```

pub(crate) mod checks;
mod emit;
pub(crate) mod evidence;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use clearwater::event::{CancelReason, Event, EventKind, Hop, Outcome, Pending, RunStats};
use clearwater::remedy::Advice;
use futures::Stream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(crate) use emit::{Emitter, millis};

/// How many events are kept for a slow reader before the run waits for it.
const EVENTS: usize = 256;

/// A run that is under way: a stream of its events, and the handle that steers it.
///
/// The events go from `RunStarted` to `RunFinished`. Dropping the run cancels it; so does a tokio runtime that ends. It must
/// be begun inside of a runtime with timers and I/O (`Runtime::new`, `#[tokio::main]`, `enable_all`): outside of one
/// beginning it panics, and without timers or I/O the run does, which [`Run::finished`] yields as [`RunBroke`].
#[derive(Debug)]
pub struct Run<T = ()> {
    events: mpsc::Receiver<Event>,
    /// Steers the run.
    pub handle: Handle,
    ended: JoinHandle<T>,
    /// How it ended, once its last event was handed out.
    end: Option<RunEnd<()>>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RunEnd<T = ()> {
    /// How.
    pub outcome: Outcome,
    /// What says it to a person.
    pub summary: Advice,
    /// The totals.
    pub stats: RunStats,
    /// The longest chain of components, each of which opened the next one's gate.
    pub critical_path: Vec<Hop>,
    /// Changes that wait.
    pub pending: Vec<Pending>,
    /// What the run yields beside its events.
    pub value: T,
}

/// A run ended without saying how: it panicked, or its runtime was shut down.
#[derive(Debug, thiserror::Error)]
#[error("the run ended without saying how{}", .source.as_ref().map_or_else(String::new, |e| format!(": {e}")))]
pub struct RunBroke {
    /// What the runtime says of it, where it says something.
    pub source: Option<tokio::task::JoinError>,
}

impl<T> Run<T> {
    /// The next event; `None` once there are no more. Nothing is lost where the future is dropped before it is ready.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Sees the run through to its end, whatever of its events was read before.
    ///
    /// # Errors
    /// [`RunBroke`] where it ended without saying how.
    pub async fn finished(mut self) -> Result<RunEnd<T>, RunBroke> {
        while self.next().await.is_some() {}
        let value = self.ended.await.map_err(|error| RunBroke { source: Some(error) })?;
        let end = self.end.ok_or(RunBroke { source: None })?;
        let RunEnd { outcome, summary, stats, critical_path, pending, value: () } = end;
        Ok(RunEnd { outcome, summary, stats, critical_path, pending, value })
    }

    /// Asks the run to stop: see [`Handle::cancel`].
    pub fn cancel(&self, reason: CancelReason) {
        self.handle.cancel(reason);
    }

    /// Answers a run that asks before its first write: see [`Handle::answer`].
    pub fn answer(&self, go_on: bool) {
        self.handle.answer(go_on);
    }

    /// Answers [`Asked`](EventKind::Asked): see [`Handle::consent`].
    pub fn consent(&self, question: u64, agreed: bool) {
        self.handle.consent(question, agreed);
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = std::task::ready!(self.events.poll_recv(cx));
        if let Some(EventKind::RunFinished { outcome, summary, stats, critical_path, pending }) =
            event.as_ref().map(|e| &e.what)
        {
            self.end = Some(RunEnd {
                outcome: *outcome,
                summary: summary.clone(),
                stats: stats.clone(),
                critical_path: critical_path.clone(),
                pending: pending.clone(),
                value: (),
            });
        }
        Poll::Ready(event)
    }
}

impl<T> Stream for Run<T> {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

/// Steers a run.
#[derive(Clone, Debug)]
pub struct Handle {
    cancel: watch::Sender<Option<CancelReason>>,
    answer: watch::Sender<Option<bool>>,
    consent: mpsc::UnboundedSender<Consent>,
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

    /// Answers one [`Asked`](EventKind::Asked), by its number: whether data may be lost for that repair. It is an answer to
    /// no other question, and one to a question that was not put is none.
    pub fn consent(&self, question: u64, agreed: bool) {
        // A run that is over asks nothing.
        let _ = self.consent.send(Consent { question, agreed });
    }
}

/// The answer to a question about data, by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Consent {
    pub(crate) question: u64,
    pub(crate) agreed: bool,
}

/// The run's own end of its [`Handle`].
pub(crate) struct Steering {
    pub(crate) cancel: watch::Receiver<Option<CancelReason>>,
    pub(crate) answer: watch::Receiver<Option<bool>>,
    pub(crate) consent: mpsc::UnboundedReceiver<Consent>,
}

/// How a run ends that was cancelled for this.
pub(crate) const fn cancelled_as(reason: CancelReason) -> Outcome {
    match reason {
        CancelReason::Failure => Outcome::Failed,
        CancelReason::Deadline => Outcome::NotReady,
        _ => Outcome::Cancelled,
    }
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
                (cancelled_as(reason), format!("interrupted, {nothing}").into())
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
    let (consent, consented) = mpsc::unbounded_channel();
    let ended =
        tokio::spawn(run(Emitter::new(out), Steering { cancel: cancelled, answer: answered, consent: consented }));
    Run { events, handle: Handle { cancel, answer, consent }, ended, end: None }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    async fn tells_and_ends(mut emitter: Emitter, _: Steering) -> u32 {
        emitter.emit(EventKind::Notice { text: "a".into() }).await;
        emitter.finish(Outcome::DryRun, "nothing was written".into(), RunStats::default()).await;
        7
    }

    #[tokio::test]
    async fn a_run_is_a_stream_and_says_how_it_ended_whoever_read_its_events() {
        let end = start(tells_and_ends).finished().await.unwrap();
        assert_eq!(
            (end.outcome, end.summary.to_string().as_str(), end.value),
            (Outcome::DryRun, "nothing was written", 7)
        );
        let mut run = start(tells_and_ends);
        assert!(matches!(StreamExt::next(&mut run).await, Some(Event { what: EventKind::Notice { .. }, .. })));
        let rest: Vec<Event> = run.by_ref().collect().await;
        assert!(rest.last().is_some_and(|e| e.what.is_last()));
        assert_eq!(run.finished().await.unwrap().outcome, Outcome::DryRun);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_run_has_begun_is_seen_through_when_nobody_holds_it_any_more() {
        let (out, seen) = tokio::sync::oneshot::channel();
        let run = start(move |emitter: Emitter, _: Steering| async move {
            emitter.closed().await;
            // As a change of the cluster's DNS is taken back.
            sleep(Duration::from_secs(20)).await;
            let _ = out.send("taken back");
        });
        drop(run);
        assert_eq!(seen.await, Ok("taken back"));
    }

    #[test]
    fn a_runtime_without_timers_ends_a_run_with_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let broke = runtime.block_on(async {
            let waits = |_: Emitter, _: Steering| async { sleep(Duration::from_millis(1)).await };
            start(waits).finished().await.unwrap_err()
        });
        assert!(broke.to_string().contains("the run ended without saying how: "), "{broke}");
        assert!(broke.source.is_some_and(|e| e.is_panic()));
    }

    #[test]
    fn a_run_outside_of_a_runtime_is_refused_where_it_is_begun() {
        let began = std::panic::catch_unwind(|| drop(start(tells_and_ends)));
        assert!(began.is_err());
    }

    #[test]
    fn a_reason_to_cancel_says_how_the_run_ends() {
        assert_eq!(cancelled_as(CancelReason::Failure), Outcome::Failed);
        assert_eq!(cancelled_as(CancelReason::Deadline), Outcome::NotReady);
        assert_eq!(cancelled_as(CancelReason::Program), Outcome::Cancelled);
    }

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
