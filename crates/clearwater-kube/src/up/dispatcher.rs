//! The one loop of a run. Watches, probers, appliers and the user all send it news; it alone holds state, decides and
//! emits events.

mod asking;
mod begin;
mod early;
mod end;
mod fail;
mod mend;
mod open;
mod unit;
mod unstarted;

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::event::{CancelReason, Outcome, What};
use clearwater::order::Schedule;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::asking::PodTask;
pub(super) use self::begin::run;
use self::early::Early;
use self::fail::Gathered;
use self::open::{Late, Names};
use self::unit::{Applied, Phase, Told, Unit};
use super::UpOptions;
use crate::cluster::Cluster;
use crate::judge::failure::{self, Exits, Grace, Scene};
use crate::judge::problem::{About, Part};
use crate::judge::{self, Judged, MembersSeen, Stage, View};
use crate::observe::ask_members::{MembersNews, Wish};
use crate::observe::probe::{Look, Report};
use crate::observe::snapshot::{News, Snapshot};
use crate::run::{Emitter, Steering, cancelled, millis};

/// How often graces, deadlines and changed causes are looked at where no news comes.
const TICK: Duration = Duration::from_millis(250);
/// A changed cause of the same stage is told this often.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// A watch may be broken for so long before it is worth a word.
const TROUBLE_AFTER: Duration = Duration::from_secs(2);

struct Dispatcher {
    cluster: Cluster,
    options: UpOptions,
    emitter: Emitter,
    units: Vec<Unit>,
    schedule: Schedule,
    snapshot: Snapshot,
    exits: Exits,
    reports: BTreeMap<String, Report>,
    probers: BTreeMap<String, PodTask>,
    prober_tasks: JoinSet<()>,
    looks: mpsc::Sender<Look>,
    members: BTreeMap<Component, MembersSeen>,
    /// What is known of members by a run that leaves etcd out, where there is none.
    no_etcd: MembersSeen,
    wish: watch::Sender<Wish>,
    generations: BTreeMap<String, i64>,
    appliers: JoinSet<Applied>,
    early: Early,
    gatherers: JoinSet<Gathered>,
    mending: mend::State,
    /// The begin of the run on the API server's clock.
    since: Timestamp,
    skew: jiff::SignedDuration,
    writes: u32,
    connections: u32,
    until: Instant,
    /// A component whose objects name addresses that are awaited.
    late: Option<Late>,
    cancelled: Option<CancelReason>,
    /// When it was.
    cancelled_at: Option<Instant>,
    /// Whether it will be.
    cancel: watch::Receiver<Option<CancelReason>>,
    failed_at: Option<Instant>,
    trouble: Option<(Instant, bool)>,
    names: Option<Names>,
}

/// What there is to say about the names; never, where there are none to be put in.
async fn news_of_names(names: &mut Option<Names>) -> Option<String> {
    match names {
        Some(names) => names.said.recv().await,
        None => std::future::pending().await,
    }
}

/// The next answer to a question about data; never, where nobody is left who could give one.
async fn consented(consent: &mut watch::Receiver<Option<bool>>) -> bool {
    loop {
        if consent.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(agreed) = *consent.borrow_and_update() {
            return agreed;
        }
    }
}

impl Dispatcher {
    async fn work(
        mut self,
        mut news: mpsc::Receiver<News>,
        mut looks: mpsc::Receiver<Look>,
        mut members: mpsc::Receiver<MembersNews>,
        mut steering: Steering,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut progress = Instant::now();
        let outcome = loop {
            self.evaluate().await;
            if let Some(outcome) = self.ended()
                && !self.replace_next().await
            {
                break if self.mending.refusals.is_empty() { outcome } else { Outcome::Refused };
            }
            let until = self.until;
            tokio::select! {
                Some(n) = news.recv() => {
                    self.take_news(n).await;
                    while let Ok(n) = news.try_recv() {
                        self.take_news(n).await;
                    }
                }
                Some(look) = looks.recv() => self.take_look(look),
                Some(m) = members.recv() => {
                    self.connections += m.connections;
                    self.members.insert(m.component, m.seen);
                }
                Some(Ok(applied)) = self.appliers.join_next() => self.take_applied(applied).await,
                Some(Ok(early)) = self.early.tasks.join_next() => self.take_early(early).await,
                Some(Ok(gathered)) = self.gatherers.join_next() => self.take_gathered(gathered).await,
                Some(Ok(tried)) = self.mending.menders.join_next() => self.mending.take(tried),
                agreed = consented(&mut steering.consent), if self.mending.asks() => self.mending.take_consent(agreed),
                Some(text) = news_of_names(&mut self.names) => {
                    self.emitter.emit(What::Notice { text: text.into() }).await;
                }
                _ = tick.tick() => {
                    if progress.elapsed() >= SAY_EVERY {
                        progress = Instant::now();
                        self.tell_progress().await;
                    }
                    self.tell_trouble();
                }
                () = sleep_until(until) => {
                    self.late().await;
                    break Outcome::NotReady;
                }
                reason = cancelled(&mut steering.cancel), if self.cancelled.is_none() => {
                    self.cancel_for(reason);
                    self.emitter.emit(What::CancelRequested { reason }).await;
                }
            }
            if self.emitter.deaf && self.cancelled.is_none() {
                self.cancel_for(CancelReason::Reader);
            }
        };
        self.end(outcome).await;
    }

    /// Begins nothing new from now on.
    fn cancel_for(&mut self, reason: CancelReason) {
        self.cancelled = Some(reason);
        self.cancelled_at = Some(Instant::now());
        self.early.stop();
        if let Some(names) = &self.names {
            names.cancel.cancel();
        }
    }

    async fn take_news(&mut self, news: News) {
        match &news {
            News::Pod(crate::observe::snapshot::Update::Set(pod)) => self.exits.observe(pod),
            News::Pod(crate::observe::snapshot::Update::All(pods)) => pods.iter().for_each(|p| self.exits.observe(p)),
            News::Pod(crate::observe::snapshot::Update::Gone(pod)) => self.exits.forget(&pod.uid().unwrap_or_default()),
            News::Trouble(kind, text) => {
                let (since, told) = *self.trouble.get_or_insert((Instant::now(), false));
                if !told && since.elapsed() >= TROUBLE_AFTER {
                    self.trouble = Some((since, true));
                    let text = format!("the watch of {} is broken and is being renewed: {text}", kind.resource());
                    self.emitter.emit(What::Notice { text: text.into() }).await;
                }
            }
            News::Denied(kind) => {
                let text = format!("skipped: what is seen in {} (needs list and watch {0})", kind.resource());
                self.emitter.emit(What::Notice { text: text.into() }).await;
            }
            _ => {}
        }
        if !matches!(news, News::Trouble(..)) {
            self.trouble = self.trouble.filter(|(_, told)| *told);
        }
        self.snapshot.absorb(news);
    }

    fn tell_trouble(&mut self) {
        if let Some((_, true)) = self.trouble
            && self.snapshot.is_complete()
        {
            self.trouble = None;
        }
    }

    fn take_look(&mut self, look: Look) {
        self.connections += look.connections;
        if self.probers.contains_key(&look.report.uid) {
            self.reports.insert(look.report.uid.clone(), look.report);
        }
    }

    async fn take_applied(&mut self, mut applied: Applied) {
        self.writes += applied.created + applied.changed;
        self.generations.extend(std::mem::take(&mut applied.generations));
        let Some(i) = self.index(applied.component) else { return };
        if let Some(error) = &applied.error {
            return self.fail_to_apply(i, error).await;
        }
        self.applied(i, &applied).await;
    }

    async fn take_early(&mut self, early: Applied) {
        self.writes += early.created + early.changed;
        let Some(i) = self.index(early.component) else { return };
        if let Some(error) = &early.error {
            return self.fail_to_apply(i, error).await;
        }
        self.units[i].early = Some(early);
    }

    /// All of a component's objects stand.
    async fn applied(&mut self, i: usize, own: &Applied) {
        let unit = &mut self.units[i];
        unit.applied = Some(Instant::now());
        unit.phase = Phase::Rolling;
        let sum = |of: fn(&Applied) -> u32| of(own) + unit.early.as_ref().map_or(0, of);
        let what = What::Applied {
            component: unit.name().to_owned(),
            created: sum(|a| a.created),
            changed: sum(|a| a.changed),
            kept: sum(|a| a.kept),
        };
        self.emitter.emit(what).await;
    }

    fn index(&self, component: Component) -> Option<usize> {
        self.units.iter().position(|u| u.part.entry.component == component)
    }

    /// The API server's time.
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.saturating_add(self.skew).unwrap_or(now)
    }

    async fn evaluate(&mut self) {
        loop {
            let mut again = false;
            for i in 0..self.units.len() {
                match self.units[i].phase {
                    Phase::Waiting => self.open_or_wait(i).await,
                    Phase::Rolling | Phase::Serving => again |= self.assess(i).await,
                    Phase::Applying | Phase::Failed | Phase::Skipped => {}
                }
            }
            if !again {
                break;
            }
        }
        self.update_probers();
        self.update_wish();
    }

    /// What is known of a component's pods, as it is asked whether they can succeed.
    fn scene<'a>(
        &'a self,
        component: Component,
        pods: &'a [&'a Pod],
        events: &'a [&'a Event],
        needs_served_since: Option<Timestamp>,
    ) -> Scene<'a> {
        Scene {
            component,
            pods,
            events,
            exits: &self.exits,
            needs_served_since,
            since: self.since,
            now: self.now(),
            grace: Grace::default(),
        }
    }

    fn judged(&self, i: usize) -> Judged {
        judge::component(&self.view(i))
    }

    fn view(&self, i: usize) -> View<'_> {
        let unit = &self.units[i];
        let without_etcd = self.index(Component::Etcd).is_none() && self.snapshot.pods_of(Component::Etcd).is_empty();
        View {
            entry: unit.part.entry,
            workloads: &unit.part.workloads,
            service: unit.part.service.as_deref(),
            snapshot: &self.snapshot,
            reports: &self.reports,
            members: if without_etcd { Some(&self.no_etcd) } else { self.members.get(&unit.part.entry.component) },
            generations: &self.generations,
        }
    }

    /// Looks at one component that was applied. Yields whether it has just begun to serve.
    async fn assess(&mut self, i: usize) -> bool {
        if !self.snapshot.is_complete() {
            return false;
        }
        let judged = self.judged(i);
        let began = self.emitter.began();
        let now = Instant::now();
        let unit = &mut self.units[i];
        unit.pending = judged.pending;
        unit.cause.clone_from(&judged.cause);
        if judged.stage >= Stage::Settling {
            unit.ready.get_or_insert(now);
        }
        if judged.stage == Stage::Serving {
            if unit.phase == Phase::Serving && !unit.unsteady {
                return false;
            }
            let first = unit.phase != Phase::Serving;
            unit.phase = Phase::Serving;
            unit.unsteady = false;
            unit.serving.get_or_insert(now);
            unit.said = (Told::Serving, String::new(), now);
            let name = unit.name();
            let what = What::Serving {
                component: name.to_owned(),
                durations: unit.durations(began),
                unchecked: judged.unchecked,
            };
            self.emitter.emit(what).await;
            if first {
                self.schedule.complete(name);
            }
            return first;
        }
        if unit.phase == Phase::Serving {
            if !unit.unsteady {
                unit.unsteady = true;
                let what = What::Unsteady { component: unit.name().to_owned(), cause: judged.cause.clone() };
                self.emitter.emit(what).await;
            }
            self.look_for_doom(i).await;
            return false;
        }
        self.look_for_doom(i).await;
        self.tell_stage(i, &judged).await;
        false
    }

    fn workload_names(&self, i: usize) -> Vec<String> {
        self.units[i].part.workloads.iter().map(|w| w.name.clone()).collect()
    }

    async fn tell_stage(&mut self, i: usize, judged: &Judged) {
        let pods = self.snapshot.pods_of(self.units[i].part.entry.component);
        let workloads = self.workload_names(i);
        let events = self.snapshot.events_of(&pods, &workloads);
        let live = failure::cause(&self.scene(self.units[i].part.entry.component, &pods, &events, None));
        let now = Instant::now();
        let unit = &mut self.units[i];
        let component = unit.name().to_owned();
        // The programs' own words tell more than a probe that fails because of them.
        let mut of_programs = judged.problems.iter().filter(|p| matches!(p.about, About::Pod(_, Part::Program(_))));
        let from_programs = of_programs.next().map(|p| p.text.clone());
        let (stage, cause, what) = if judged.stage == Stage::Settling {
            let cause = judged.cause.clone();
            (Told::Settling, cause.clone(), What::Settling { component, cause })
        } else if let Some(live) = live.as_ref().filter(|l| l.pulling) {
            unit.pulled = Some(now);
            let pod = live.pod.clone().unwrap_or_default();
            (Told::Pulling, live.text.clone(), What::Pulling { component, pod, cause: live.text.clone() })
        } else {
            let cause = from_programs.or(live.map(|l| l.text)).unwrap_or_else(|| judged.cause.clone());
            let what = What::Starting { component, ready: judged.ready, wanted: judged.wanted, cause: cause.clone() };
            (Told::Starting, cause, what)
        };
        unit.cause.clone_from(&cause);
        let unasked = judged.problems.first().is_some_and(|p| matches!(p.about, About::Pod(_, Part::Unasked)));
        if unasked && judged.stage == Stage::Settling {
            // The answer follows at once.
            return;
        }
        let same_stage = unit.said.0 == stage;
        if same_stage && (unit.said.1 == cause || unit.said.2.elapsed() < SAY_EVERY) {
            return;
        }
        unit.said = (stage, cause, now);
        self.emitter.emit(what).await;
    }

    async fn tell_progress(&mut self) {
        for i in 0..self.units.len() {
            let unit = &self.units[i];
            let Some(opened) = unit.opened.filter(|_| matches!(unit.phase, Phase::Applying | Phase::Rolling)) else {
                continue;
            };
            let what = What::Progress {
                component: unit.name().to_owned(),
                took: millis(opened.elapsed()),
                cause: unit.cause.clone(),
            };
            self.emitter.emit(what).await;
        }
    }
}
