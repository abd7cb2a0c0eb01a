//! The one loop of a run. Watches, probers, writers and the user all tell it what happened; it alone holds state, decides
//! and emits events.

mod begin;
mod early;
mod end;
mod fail;
mod hold;
mod open;
mod renew;
mod repair;
mod unit;
mod unstarted;

use std::ops::ControlFlow;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::event::{CancelReason, EventKind, Outcome};
use clearwater::order::Schedule;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, sleep_until};

pub(super) use self::begin::run;
use self::early::Early;
use self::fail::Gathered;
use self::hold::Holds;
use self::open::{Late, NamesGate};
use self::unit::{Applied, Hold, Phase, Stated, Units, Written};
use super::UpOptions;
use crate::cluster::Cluster;
use crate::judge::failure::{self, Cause, RolloutContext};
use crate::judge::{self, Judged, Stage};
use crate::observe::Observation;
use crate::observe::observation::Observed;
use crate::observe::observer::{Held, Observer, Wanted};
use crate::observe::snapshot::WatchEvent;
use crate::run::{Consent, Emitter, Steering, cancelled, millis};

/// How often graces, deadlines and changed causes are looked at where no news comes.
const TICK: Duration = Duration::from_millis(250);
/// A changed cause of the same stage is told this often.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// A watch may be broken for so long before it is worth a word.
const TROUBLE_AFTER: Duration = Duration::from_secs(2);

/// What does not change while the run goes on.
struct Context {
    cluster: Cluster,
    options: UpOptions,
    /// Whether and why the run is cancelled.
    cancel: watch::Receiver<Option<CancelReason>>,
    /// When the time is up.
    until: Instant,
}

/// What is being written, and how much was.
struct Writing {
    appliers: JoinSet<Applied>,
    early: Early,
    writes: u32,
    /// What others could write over.
    written: Written,
}

impl Writing {
    /// Takes note of what was written for a component.
    fn note(&mut self, applied: &mut Applied, seen: &mut Observation) {
        self.writes += applied.created + applied.changed;
        seen.generations.extend(std::mem::take(&mut applied.generations));
        self.written.extend(std::mem::take(&mut applied.written));
    }
}

/// A watch that is broken: since when, and whether that was told.
#[derive(Clone, Copy)]
struct BrokenWatch {
    since: Instant,
    told: bool,
}

struct Dispatcher {
    context: Context,
    emitter: Emitter,
    observer: Observer,
    seen: Observation,
    units: Units,
    schedule: Schedule,
    writing: Writing,
    holds: Holds,
    gatherers: JoinSet<Gathered>,
    repairs: repair::Repairs,
    /// A component whose objects name addresses that are awaited.
    late: Option<Late>,
    names: Option<NamesGate>,
    /// Why nothing new is begun any more, and since when.
    cancelled: Option<(CancelReason, Instant)>,
    failed_at: Option<Instant>,
    trouble: Option<BrokenWatch>,
    /// When progress was told last.
    progress_at: Instant,
}

/// What happened.
enum Happened {
    Observed(Observed),
    /// A component's objects were written, or not.
    Applied(Applied),
    /// A component was made before its gates open.
    Made(Applied),
    /// What is beside a component's workloads was.
    AppliedEarly(Applied),
    /// What shows a failure was gathered.
    Gathered(Gathered),
    Repaired(repair::Ended),
    /// The user answered a question about data.
    Consent(Consent),
    /// There is something to say about the names.
    Said(String),
    Tick,
    TimeIsUp,
    Cancelled(CancelReason),
}

/// What there is to say about the names; never, where there are none to be put in.
async fn news_of_names(names: &mut Option<NamesGate>) -> Option<String> {
    match names {
        Some(names) => names.said.recv().await,
        None => std::future::pending().await,
    }
}

impl Dispatcher {
    async fn work(mut self, mut steering: Steering) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let outcome = loop {
            self.evaluate().await;
            if let Some(outcome) = self.ended()
                && !self.replace_next().await
            {
                break if self.repairs.refusals.is_empty() { outcome } else { Outcome::Refused };
            }
            let happened = self.next(&mut tick, &mut steering).await;
            if let ControlFlow::Break(outcome) = self.handle(happened).await {
                break outcome;
            }
            if self.emitter.receiver_closed && self.cancelled.is_none() {
                self.cancel_for(CancelReason::Reader);
            }
        };
        self.end(outcome).await;
    }

    async fn next(&mut self, tick: &mut Interval, steering: &mut Steering) -> Happened {
        let writing = &mut self.writing;
        let repair::Repairs { tasks: repairs, consents, .. } = &mut self.repairs;
        tokio::select! {
            Some(observed) = self.observer.next() => Happened::Observed(observed),
            Some(Ok(applied)) = writing.appliers.join_next() => Happened::Applied(applied),
            Some(Ok(made)) = self.holds.makers.join_next() => Happened::Made(made),
            Some(Ok(early)) = writing.early.tasks.join_next() => Happened::AppliedEarly(early),
            Some(Ok(gathered)) = self.gatherers.join_next() => Happened::Gathered(gathered),
            Some(Ok(ended)) = repairs.join_next() => Happened::Repaired(ended),
            Some(consent) = consents.recv() => Happened::Consent(consent),
            Some(text) = news_of_names(&mut self.names) => Happened::Said(text),
            _ = tick.tick() => Happened::Tick,
            () = sleep_until(self.context.until) => Happened::TimeIsUp,
            reason = cancelled(&mut steering.cancel), if self.cancelled.is_none() => Happened::Cancelled(reason),
        }
    }

    async fn handle(&mut self, happened: Happened) -> ControlFlow<Outcome> {
        match happened {
            Happened::Observed(observed) => {
                self.take(observed).await;
                while let Some(observed) = self.observer.ready() {
                    self.take(observed).await;
                }
            }
            Happened::Applied(applied) => self.take_applied(applied).await,
            Happened::Made(made) => self.take_made(made).await,
            Happened::AppliedEarly(early) => self.take_early(early).await,
            Happened::Gathered(gathered) => self.take_gathered(gathered).await,
            Happened::Repaired(ended) => self.repairs.take(ended),
            Happened::Consent(consent) => self.repairs.take_consent(consent),
            Happened::Said(text) => self.emitter.emit(EventKind::Notice { text: text.into() }).await,
            Happened::Tick => {
                self.renew_holds();
                if self.progress_at.elapsed() >= SAY_EVERY {
                    self.progress_at = Instant::now();
                    self.tell_progress().await;
                }
                if self.seen.snapshot.is_complete() && self.trouble.is_some_and(|t| t.told) {
                    self.trouble = None;
                }
            }
            Happened::TimeIsUp => {
                self.late().await;
                return ControlFlow::Break(Outcome::NotReady);
            }
            Happened::Cancelled(reason) => {
                self.cancel_for(reason);
                self.emitter.emit(EventKind::CancelRequested { reason }).await;
            }
        }
        ControlFlow::Continue(())
    }

    /// Begins nothing new from now on.
    fn cancel_for(&mut self, reason: CancelReason) {
        self.cancelled = Some((reason, Instant::now()));
        self.writing.early.stop();
        if let Some(names) = &self.names {
            names.cancel.cancel();
        }
    }

    async fn take(&mut self, observed: Observed) {
        if let Observed::Watch(news) = &observed {
            self.take_trouble(news).await;
        }
        self.seen.take(observed);
    }

    /// Says that a watch is broken, where it stays so, and what may not be watched.
    async fn take_trouble(&mut self, news: &WatchEvent) {
        match news {
            WatchEvent::Trouble(kind, text) => {
                let trouble = *self.trouble.get_or_insert(BrokenWatch { since: Instant::now(), told: false });
                if !trouble.told && trouble.since.elapsed() >= TROUBLE_AFTER {
                    self.trouble = Some(BrokenWatch { told: true, ..trouble });
                    let text = format!("the watch of {} is broken and is being renewed: {text}", kind.resource());
                    self.emitter.emit(EventKind::Notice { text: text.into() }).await;
                }
                return;
            }
            WatchEvent::Denied(kind) => {
                let text = format!("skipped: what is seen in {} (needs list and watch {0})", kind.resource());
                self.emitter.emit(EventKind::Notice { text: text.into() }).await;
            }
            _ => {}
        }
        self.trouble = self.trouble.filter(|t| t.told);
    }

    async fn take_applied(&mut self, mut applied: Applied) {
        self.writing.note(&mut applied, &mut self.seen);
        match &applied.error {
            Some(error) => self.fail_to_apply(applied.component, error).await,
            None => self.applied(applied.component, &applied).await,
        }
    }

    async fn take_early(&mut self, mut early: Applied) {
        self.writing.writes += early.created + early.changed;
        self.writing.written.extend(std::mem::take(&mut early.written));
        let component = early.component;
        if let Some(error) = &early.error {
            return self.fail_to_apply(component, error).await;
        }
        self.units[component].early = Some(early);
    }

    /// All of a component's objects stand.
    async fn applied(&mut self, component: Component, own: &Applied) {
        let unit = &mut self.units[component];
        unit.applied = Some(Instant::now());
        unit.phase = Phase::Rolling;
        if unit.hold == Hold::Making {
            unit.hold = Hold::LetGo;
        }
        let before = [&unit.early, &unit.made];
        let sum = |of: fn(&Applied) -> u32| of(own) + before.iter().copied().flatten().map(of).sum::<u32>();
        let what = EventKind::Applied {
            component: unit.name().to_owned(),
            created: sum(|a| a.created),
            changed: sum(|a| a.changed),
            kept: sum(|a| a.kept),
        };
        self.emitter.emit(what).await;
    }

    async fn evaluate(&mut self) {
        loop {
            let mut again = false;
            for component in self.units.components() {
                match self.units[component].phase {
                    Phase::Waiting => self.open_or_wait(component).await,
                    Phase::Rolling | Phase::Serving => again |= self.assess(component).await,
                    Phase::Applying | Phase::Failed | Phase::Skipped => {}
                }
            }
            if !again {
                break;
            }
        }
        self.ask();
    }

    /// Asks the pods there are how they are, and etcd about the members of the stores that do not serve.
    fn ask(&mut self) {
        let Self { units, seen, observer, .. } = self;
        let wanted: Vec<Wanted<'_>> = units
            .iter()
            .map(|unit| {
                let subject = &unit.part.subject;
                // A pod that is not ready after a while may wait for a member that does not exist any more.
                let answers = || {
                    judge::pods(subject, seen).into_iter().any(|pod| {
                        let known = pod.metadata.uid.as_ref().is_some_and(|uid| seen.reports.contains_key(uid));
                        known || seen.snapshot.may_be_asked(subject, pod)
                    })
                };
                let open = unit.phase != Phase::Serving || unit.unsteady;
                let held = match unit.hold {
                    _ if unit.starts_alone => Held::Never,
                    Hold::No => Held::Never,
                    Hold::Wanted | Hold::Making | Hold::Held => Held::Now,
                    Hold::LetGo => Held::Once,
                };
                Wanted { subject, members: open && answers(), held }
            })
            .collect();
        observer.ask(seen, &wanted);
    }

    /// What is known of these of a component's pods, as it is asked whether they can succeed.
    fn rollout<'a>(
        &'a self,
        component: Component,
        pods: Vec<&'a Pod>,
        needs_served_since: Option<Timestamp>,
    ) -> RolloutContext<'a> {
        RolloutContext {
            needs_served_since,
            ..RolloutContext::of(&self.seen, &self.units[component].part.subject, pods)
        }
    }

    /// Looks at one component that was applied. Yields whether it has just begun to serve.
    async fn assess(&mut self, component: Component) -> bool {
        if !self.seen.snapshot.is_complete() {
            return false;
        }
        let judged = judge::component(&self.units[component].part.subject, &self.seen);
        let now = Instant::now();
        if self.renew_next(component, &judged).await {
            return false;
        }
        let unit = &mut self.units[component];
        // What is no store is renewed.
        let outdated = if component.is_store() { judged.outdated.len() } else { 0 };
        unit.pending = judged.pending + u32::try_from(outdated).unwrap_or(u32::MAX);
        judged.cause().clone_into(&mut unit.cause);
        if judged.stage >= Stage::Settling {
            unit.ready.get_or_insert(now);
        }
        if judged.stage == Stage::Serving {
            return self.serves(component, judged).await;
        }
        if unit.phase == Phase::Serving {
            if !unit.unsteady {
                unit.unsteady = true;
                let what = EventKind::Unsteady { component: unit.name().to_owned(), cause: unit.cause.clone() };
                self.emitter.emit(what).await;
            }
            self.look_for_failure(component).await;
            return false;
        }
        self.look_for_failure(component).await;
        self.tell_stage(component, &judged).await;
        false
    }

    /// A component serves. Yields whether it has just begun to.
    async fn serves(&mut self, component: Component, judged: Judged) -> bool {
        let began = self.emitter.began();
        let unit = &mut self.units[component];
        if unit.phase == Phase::Serving && !unit.unsteady {
            return false;
        }
        let first = unit.phase != Phase::Serving;
        unit.phase = Phase::Serving;
        unit.unsteady = false;
        unit.serving.get_or_insert_with(Instant::now);
        unit.state(Stated::Serving, String::new());
        let name = unit.name();
        let durations = unit.durations(began);
        let what = EventKind::Serving { component: name.to_owned(), durations, unchecked: judged.unchecked };
        self.emitter.emit(what).await;
        if first {
            self.schedule.complete(name);
        }
        first
    }

    async fn tell_stage(&mut self, component: Component, judged: &Judged) {
        let pods = self.seen.snapshot.pods_of(component);
        let live = failure::cause(&self.rollout(component, pods, None));
        let now = Instant::now();
        let unit = &mut self.units[component];
        let name = unit.name().to_owned();
        let (stage, cause, what) = if judged.stage == Stage::Settling {
            let cause = judged.cause().to_owned();
            (Stated::Settling, cause.clone(), EventKind::Settling { component: name, cause })
        } else if let Some(live) = live.as_ref().filter(|l| l.pulling) {
            unit.pulled = Some(now);
            let (pod, cause) = (live.pod.clone().unwrap_or_default(), live.clone().told());
            (Stated::Pulling, cause.clone(), EventKind::Pulling { component: name, pod, cause })
        } else {
            let from_programs = judged.said_by_program().map(str::to_owned);
            let cause = from_programs.or(live.map(Cause::told)).unwrap_or_else(|| judged.cause().to_owned());
            let (ready, wanted) = (judged.ready, judged.wanted);
            (Stated::Starting, cause.clone(), EventKind::Starting { component: name, ready, wanted, cause })
        };
        unit.cause.clone_from(&cause);
        // Of a pod that has not been asked yet the answer follows at once.
        let unasked = judged.stage == Stage::Settling && judged.is_unasked();
        if unasked || unit.has_just_stated(stage, &cause) {
            return;
        }
        unit.state(stage, cause);
        self.emitter.emit(what).await;
    }

    async fn tell_progress(&mut self) {
        for unit in self.units.iter() {
            let Some(opened) = unit.opened.filter(|_| matches!(unit.phase, Phase::Applying | Phase::Rolling)) else {
                continue;
            };
            let what = EventKind::Progress {
                component: unit.name().to_owned(),
                took: millis(opened.elapsed()),
                cause: unit.cause.clone(),
            };
            self.emitter.emit(what).await;
        }
    }
}
