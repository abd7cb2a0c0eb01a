//! Bringing a deployment up, again and again: what stands is kept, what is missing is made, in dependency order, and
//! every component is judged in depth before what needs it is started.

mod address;
mod dispatcher;
pub(crate) mod evidence;
mod name_servers;
mod prepare;

pub(crate) use dispatcher::{answered, pod_target};
pub(crate) use prepare::{Scope, Standing, Work};

use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::Deployment;
use clearwater::event::{CancelReason, Event};
use clearwater::order::Policy;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::emit::Emitter;

/// How many events are kept for a slow reader before the run waits for it.
const EVENTS: usize = 256;

/// What `up` is to do.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct UpOptions {
    /// The deployment.
    pub deployment: Deployment,
    /// Which edges of the ordering graph gate.
    pub policy: Policy,
    /// Only these components and what they need; all where it is empty.
    pub only: Vec<Component>,
    /// Not these components, nor what needs them.
    pub skip: Vec<Component>,
    /// How long the whole may take, without the time that a question stands open.
    pub timeout: Duration,
    /// Whether a missing namespace is made.
    pub create_namespace: bool,
    /// Whether to stop before the first write.
    pub dry_run: bool,
    /// Whether fields that somebody else set are taken over.
    pub force_conflicts: bool,
    /// Whether stores' pods of an older revision are replaced, member by member.
    pub replace_stores: bool,
    /// Whether what is broken is mended even where that loses data. Otherwise the run asks, with [`UpOptions::ask`], or
    /// refuses and says what would be lost.
    pub accept_loss: bool,
    /// Whether the run waits after [`Planned`](clearwater::event::What::Planned) until it is told to go on, where
    /// something would be written.
    pub ask: bool,
}

impl UpOptions {
    /// Everything of a deployment, by the default policy, within 15 minutes.
    pub fn new(deployment: Deployment) -> Self {
        Self {
            deployment,
            policy: Policy::default(),
            only: Vec::new(),
            skip: Vec::new(),
            timeout: Duration::from_secs(15 * 60),
            create_namespace: false,
            dry_run: false,
            force_conflicts: false,
            replace_stores: false,
            accept_loss: false,
            ask: false,
        }
    }
}

/// A run that is under way: its events, and the handle that steers it.
#[derive(Debug)]
pub struct Run {
    /// The events, from `RunStarted` to `RunFinished`. Dropping this cancels the run.
    pub events: mpsc::Receiver<Event>,
    /// Steers the run.
    pub handle: Handle,
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

    /// Answers a run that was started with [`UpOptions::ask`] or its like: whether the plan is to be carried out.
    pub fn answer(&self, go_on: bool) {
        self.answer.send_replace(Some(go_on));
    }

    /// Answers [`Asked`](clearwater::event::What::Asked): whether data may be lost for it.
    pub fn consent(&self, agreed: bool) {
        self.consent.send_replace(Some(agreed));
    }
}

pub(crate) struct Steering {
    pub(crate) cancel: watch::Receiver<Option<CancelReason>>,
    pub(crate) answer: watch::Receiver<Option<bool>>,
    pub(crate) consent: watch::Receiver<Option<bool>>,
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

pub(crate) fn start<F>(run: impl FnOnce(Emitter, Steering) -> F) -> Run
where
    F: Future<Output = ()> + Send + 'static,
{
    let (out, events) = mpsc::channel(EVENTS);
    let (cancel, cancelled) = watch::channel(None);
    let (answer, answered) = watch::channel(None);
    let (consent, consented) = watch::channel(None);
    tokio::spawn(run(Emitter::new(out), Steering { cancel: cancelled, answer: answered, consent: consented }));
    Run { events, handle: Handle { cancel, answer, consent } }
}

/// Brings a deployment up.
pub fn up(cluster: Cluster, options: UpOptions) -> Run {
    start(move |emitter, steering| dispatcher::run(cluster, options, emitter, steering))
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
