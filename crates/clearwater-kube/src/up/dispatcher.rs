//! The one loop of a run. Watches, probers, appliers and the user all send it news; it alone holds state, decides and
//! emits events.

mod early;
mod mend;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::{Component, Entry};
use clearwater::event::{
    Awaited, CancelReason, CheckLine, CheckStatus, Command, Durations, Evidence, FailureKind, Hop, LogExcerpt,
    Operation, Outcome, Pending, RunStats, What,
};
use clearwater::manifest::{Balanced, Inputs};
use clearwater::order::Schedule;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DynamicObject;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::early::Early;
use super::address::{Addresses, addresses};
use super::prepare::{Part, Scope, Standing, Work, plan_late};
use super::{Steering, UpOptions, evidence};
use crate::apply::{self, ApplyError, Planned};
use crate::ask_members::{MembersNews, Wish, ask_members};
use crate::cluster::Cluster;
use crate::dns::Gate;
use crate::doomed::{self, Doom, Exits, Grace, Scene};
use crate::emit::Emitter;
use crate::judge::{self, Judged, MembersSeen, NOT_ASKED, Stage, View};
use crate::preflight;
use crate::probe::{Look, Report, Target, watch_pod};
use crate::snapshot::{Kind, News, Snapshot, watch as watch_namespace};

/// How often graces, deadlines and changed causes are looked at where no news comes.
const TICK: Duration = Duration::from_millis(250);
/// A changed cause of the same stage is told this often.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// A watch may be broken for so long before it is worth a word.
const TROUBLE_AFTER: Duration = Duration::from_secs(2);
/// After the first failure, others have so long to show too.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The margin within which a program that was given up is held to have failed before what it needs was there.
const FATAL_MARGIN: i64 = 3;
/// etcd's pod may be without an address for so long before the others are no longer held back for it.
const NAME_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Applying,
    Rolling,
    Serving,
    Failed,
    Skipped,
}

struct Unit {
    part: Part,
    /// What is written when the gates open.
    planned: Vec<Planned>,
    /// What was written before; `None` while that is under way.
    early: Option<Applied>,
    phase: Phase,
    /// Whether it served and does not any more.
    unsteady: bool,
    opened: Option<Instant>,
    opened_by: Option<Component>,
    applied: Option<Instant>,
    pulled: Option<Instant>,
    ready: Option<Instant>,
    serving: Option<Instant>,
    pending: u32,
    /// What was told last: the stage as a word, its cause, and when.
    said: (&'static str, String, Instant),
    cause: String,
    /// A failure whose evidence is being gathered.
    doomed: bool,
}

impl Unit {
    fn name(&self) -> &'static str {
        self.part.entry.component.name()
    }

    fn durations(&self, began: Instant) -> Durations {
        let span = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => millis(to.saturating_duration_since(from)),
            _ => 0,
        };
        let pulled = self.pulled.or(self.applied);
        let ready = self.ready.max(pulled);
        Durations {
            waiting: span(Some(began), self.opened),
            applying: span(self.opened, self.applied),
            pulling: span(self.applied, pulled),
            starting: span(pulled, ready),
            settling: span(ready, self.serving),
        }
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

struct Applied {
    component: Component,
    created: u32,
    changed: u32,
    kept: u32,
    /// The generation of each workload that was written.
    generations: Vec<(String, i64)>,
    error: Option<ApplyError>,
}

impl Applied {
    fn of(component: Component) -> Self {
        Self { component, created: 0, changed: 0, kept: 0, generations: Vec::new(), error: None }
    }

    /// Writes an object. Yields whether more may be written.
    async fn write(&mut self, cluster: &Cluster, planned: &Planned, force: bool, until: Instant) -> bool {
        match apply::apply(cluster, planned, force, until).await {
            Ok(None) => self.kept += 1,
            Ok(Some(written)) => {
                match planned.operation {
                    Operation::Create => self.created += 1,
                    _ => self.changed += 1,
                }
                if planned.item.object.replicas().is_some()
                    && let Some(generation) = written.metadata.generation
                {
                    self.generations.push((planned.item.object.name().to_owned(), generation));
                }
            }
            Err(error) => self.error = Some(error),
        }
        self.error.is_none()
    }
}

struct PodTask {
    ready: watch::Sender<bool>,
    abort: AbortHandle,
    component: Component,
}

/// A component whose objects can be planned only when its load balancers have given their addresses.
struct Late {
    component: Component,
    inputs: Inputs,
    balanced: Vec<Balanced>,
    /// Since when its Services stand.
    since: Instant,
    addresses: Vec<IpAddr>,
}

struct Gathered {
    component: Component,
    doom: Doom,
    evidence: Vec<Evidence>,
}

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
    failed_at: Option<Instant>,
    trouble: Option<(Instant, bool)>,
    names: Option<Names>,
}

/// The names that Bono asks for, put into DNS while the others come up.
struct Names {
    gate: Gate,
    /// The work that is under way.
    early: Option<JoinHandle<Result<(), ApplyError>>>,
    say: mpsc::UnboundedSender<String>,
    said: mpsc::UnboundedReceiver<String>,
    cancel: CancellationToken,
}

impl Names {
    fn begin(gate: Gate, cluster: &Cluster) -> Self {
        let (say, said) = mpsc::unbounded_channel();
        let mut names = Self { gate, early: None, say, said, cancel: CancellationToken::new() };
        if names.gate.is_early() {
            names.early = Some(names.spawn(cluster));
        }
        names
    }

    fn spawn(&self, cluster: &Cluster) -> JoinHandle<Result<(), ApplyError>> {
        let (gate, cluster, say, cancel) = (self.gate.clone(), cluster.clone(), self.say.clone(), self.cancel.clone());
        tokio::spawn(async move { Box::pin(gate.open(&cluster, &say, &cancel)).await })
    }

    /// What Bono waits for.
    fn work(&mut self, cluster: &Cluster) -> JoinHandle<Result<(), ApplyError>> {
        self.early.take().unwrap_or_else(|| self.spawn(cluster))
    }
}

#[expect(clippy::too_many_lines, reason = "the steps before the first write, one after the other")]
pub(super) async fn run(cluster: Cluster, options: UpOptions, mut emitter: Emitter, mut steering: Steering) {
    let scope = match Scope::of(&options.deployment, options.policy, &options.only, &options.skip) {
        Ok(scope) => scope,
        Err(error) => {
            begin(&mut emitter, &options, &cluster, None).await;
            return finish(&mut emitter, Outcome::Refused, error.to_string(), RunStats::default()).await;
        }
    };
    begin(&mut emitter, &options, &cluster, Some(&scope)).await;
    for (component, because) in &scope.left_out {
        emitter.emit(What::Skipped { component: component.name().to_owned(), because: because.clone() }).await;
    }

    // What stands, and what would be done.
    let skew = cluster.clock_skew().await;
    let standing = match Standing::look(&cluster).await {
        Ok(standing) => standing,
        Err(error) => return finish(&mut emitter, Outcome::CouldNotLook, error.to_string(), RunStats::default()).await,
    };
    let work = Work::plan(&cluster, &options.deployment, &scope, &standing, options.force_conflicts).await;
    let (work, unplanned) = match work {
        Ok(work) => work,
        Err(error) => {
            let line = CheckLine {
                id: "objects".to_owned(),
                title: "objects of the deployment".to_owned(),
                status: CheckStatus::Failed,
                detail: error.to_string(),
                fix: None,
            };
            emitter.emit(What::Checked { line }).await;
            let summary = format!("nothing was written: {error}");
            return finish(&mut emitter, Outcome::PreflightFailed, summary, RunStats::default()).await;
        }
    };
    let names = scope.names.clone();
    let mut lines = preflight::check(&cluster, &options, &scope, &standing, &work).await;
    if let Some(names) = &names {
        lines.push(names.preflight(&cluster).await);
    }
    if !lines.iter().any(|l| l.status == CheckStatus::Refused) {
        lines.extend(unplanned);
    }
    let worst = lines.iter().map(|l| l.status).max().unwrap_or(CheckStatus::Ok);
    let bad = lines.iter().find(|l| l.status == worst).map(|l| l.title.clone()).unwrap_or_default();
    for line in lines {
        emitter.emit(What::Checked { line }).await;
    }
    match worst {
        CheckStatus::Refused => {
            return finish(
                &mut emitter,
                Outcome::Refused,
                format!("refused, nothing was written: {bad}"),
                RunStats::default(),
            )
            .await;
        }
        CheckStatus::Failed => {
            return finish(
                &mut emitter,
                Outcome::PreflightFailed,
                format!("nothing was written, because a check failed: {bad}"),
                RunStats::default(),
            )
            .await;
        }
        CheckStatus::Ok | CheckStatus::Skipped | CheckStatus::Warning => {}
    }
    let changes = work.changes();
    let to_write = changes.iter().filter(|c| c.operation != Operation::Keep).count();
    emitter.emit(What::Planned { changes, pending: Vec::new() }).await;
    for text in standing.other_counts(&options.deployment, &scope) {
        emitter.emit(What::Notice { text }).await;
    }
    if options.dry_run {
        let summary = format!("{to_write} objects would be written; nothing was");
        return finish(&mut emitter, Outcome::DryRun, summary, RunStats::default()).await;
    }
    if options.ask && to_write > 0 {
        match answered(&mut steering, &mut emitter).await {
            Ok(true) => {}
            Ok(false) => {
                return finish(
                    &mut emitter,
                    Outcome::Refused,
                    "not confirmed, nothing was written".to_owned(),
                    RunStats::default(),
                )
                .await;
            }
            Err(reason) => {
                emitter.emit(What::CancelRequested { reason }).await;
                let summary = "interrupted, nothing was written".to_owned();
                return finish(&mut emitter, Outcome::Cancelled, summary, RunStats::default()).await;
            }
        }
    }

    // The namespace, Services whose addresses the rest names, and what all components share.
    let until = emitter.began() + options.timeout;
    let mut writes = 0;
    let mut work = work;
    let shared = async {
        if standing.namespace == Some(false) {
            preflight::create_namespace(&cluster).await?;
            writes += 1;
        }
        let mut given = BTreeMap::new();
        for planned in &work.first {
            if let Some(written) = apply::apply(&cluster, planned, options.force_conflicts, until).await? {
                writes += 1;
                given.insert(planned.item.object.name().to_owned(), virtual_addresses(&written));
            }
        }
        let own = |(component, service): (&Component, &&str)| Some((*component, given.remove(*service)?));
        let given: BTreeMap<_, _> = work.services_first.virtual_addresses.iter().filter_map(own).collect();
        if !given.is_empty() {
            work.settle(&cluster, &options.deployment, given, options.force_conflicts).await?;
        }
        for planned in &work.shared {
            if apply::apply(&cluster, planned, options.force_conflicts, until).await?.is_some() {
                writes += 1;
            }
        }
        Ok::<(), ApplyError>(())
    };
    if let Err(error) = shared.await {
        let summary = format!("{error}. {}", error.fix());
        return finish(&mut emitter, Outcome::Failed, summary, RunStats { writes, ..RunStats::default() }).await;
    }

    if !work.first.is_empty() {
        let names: Vec<String> = work.first.iter().map(apply::Planned::name).collect();
        let text = format!("stands first, because its address is needed: {}", names.join(", "));
        emitter.emit(What::Notice { text }).await;
    }
    let late = Late {
        inputs: work.inputs,
        balanced: work.services_first.balanced,
        component: Component::Bono,
        since: Instant::now(),
        addresses: Vec::new(),
    };
    let (news, _watches) = watch_namespace(&cluster.client, &cluster.namespace);
    let (looks, looks_in) = mpsc::channel(64);
    let (wish, wishes) = watch::channel(Wish::default());
    let (members_out, members_in) = mpsc::channel(16);
    let mut asking = JoinSet::new();
    asking.spawn(ask_members(cluster.clone(), wishes, members_out));
    let mut planned = work.of;
    let began = emitter.began();
    let mut first = Vec::new();
    let units = scope
        .parts
        .iter()
        .map(|part| {
            let component = part.entry.component;
            let all = planned.remove(&component).unwrap_or_default();
            // What names addresses that are not known yet is planned anew as a whole.
            let is_late = late.component == component && !late.balanced.is_empty();
            let (beside, own) = if is_late { (Vec::new(), all) } else { early::part(all) };
            let nothing = early::to_write(&beside) == 0;
            let kept = u32::try_from(beside.len()).unwrap_or(u32::MAX);
            if !nothing {
                first.push((component, beside));
            }
            (part, own, nothing.then(|| Applied { kept, ..Applied::of(component) }))
        })
        .map(|(part, planned, early)| Unit {
            planned,
            early,
            part: part.clone(),
            phase: Phase::Waiting,
            unsteady: false,
            opened: None,
            opened_by: None,
            applied: None,
            pulled: None,
            ready: None,
            serving: None,
            pending: 0,
            said: ("", String::new(), began),
            cause: String::new(),
            doomed: false,
        })
        .collect();
    let dispatcher = Dispatcher {
        units,
        schedule: scope.plan.schedule(),
        snapshot: Snapshot::default(),
        exits: Exits::default(),
        reports: BTreeMap::new(),
        probers: BTreeMap::new(),
        prober_tasks: JoinSet::new(),
        looks,
        members: BTreeMap::new(),
        no_etcd: MembersSeen::Unchecked("there is no etcd to ask".to_owned()),
        wish,
        generations: BTreeMap::new(),
        appliers: JoinSet::new(),
        early: Early::begin(&cluster, first, options.force_conflicts, until),
        gatherers: JoinSet::new(),
        mending: mend::State::default(),
        since: Timestamp::now().saturating_add(skew).unwrap_or_else(|_| Timestamp::now()),
        skew,
        writes,
        connections: 0,
        until,
        late: (!late.balanced.is_empty()).then_some(late),
        cancelled: None,
        failed_at: None,
        trouble: None,
        names: names.map(|gate| Names::begin(gate, &cluster)),
        cluster,
        options,
        emitter,
    };
    dispatcher.work(news, looks_in, members_in, steering).await;
}

/// The virtual addresses of a Service as it was written.
fn virtual_addresses(service: &DynamicObject) -> Vec<IpAddr> {
    let all = service.data.pointer("/spec/clusterIPs").and_then(serde_json::Value::as_array);
    all.into_iter().flatten().filter_map(|ip| ip.as_str()?.parse().ok()).collect()
}

async fn begin(emitter: &mut Emitter, options: &UpOptions, cluster: &Cluster, scope: Option<&Scope>) {
    emitter
        .emit(What::RunStarted {
            command: Command::Up,
            namespace: cluster.namespace.clone(),
            order: options.policy.name().to_owned(),
            components: scope.map(Scope::planned).unwrap_or_default(),
        })
        .await;
}

async fn finish(emitter: &mut Emitter, outcome: Outcome, summary: String, stats: RunStats) {
    emitter.emit(What::RunFinished { outcome, summary, stats, critical_path: Vec::new(), pending: Vec::new() }).await;
}

/// The answer to whether to go on. The time that it takes is not the run's.
pub(crate) async fn answered(steering: &mut Steering, emitter: &mut Emitter) -> Result<bool, CancelReason> {
    let asked = Instant::now();
    let answer = answer(steering).await;
    emitter.leave_out(asked.elapsed());
    answer
}

async fn answer(steering: &mut Steering) -> Result<bool, CancelReason> {
    loop {
        if let Some(reason) = *steering.cancel.borrow() {
            return Err(reason);
        }
        if let Some(answer) = *steering.answer.borrow() {
            return Ok(answer);
        }
        let gone = tokio::select! {
            changed = steering.cancel.changed() => changed.is_err(),
            changed = steering.answer.changed() => changed.is_err(),
        };
        if gone {
            return Err(CancelReason::Reader);
        }
    }
}

/// What there is to say about the names; never, where there are none to be put in.
async fn news_of_names(names: &mut Option<Names>) -> Option<String> {
    match names {
        Some(names) => names.said.recv().await,
        None => std::future::pending().await,
    }
}

/// The next reason to cancel; never, where nobody is left who could give one.
async fn cancelled(cancel: &mut watch::Receiver<Option<CancelReason>>) -> CancelReason {
    loop {
        if let Some(reason) = *cancel.borrow_and_update() {
            return reason;
        }
        if cancel.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
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
                    self.emitter.emit(What::Notice { text }).await;
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
                    self.cancelled = Some(reason);
                    self.early.stop();
                    if let Some(names) = &self.names {
                        names.cancel.cancel();
                    }
                    self.emitter.emit(What::CancelRequested { reason }).await;
                }
            }
            if self.emitter.deaf && self.cancelled.is_none() {
                self.cancelled = Some(CancelReason::Reader);
            }
        };
        self.end(outcome).await;
    }

    async fn take_news(&mut self, news: News) {
        match &news {
            News::Pod(crate::snapshot::Update::Set(pod)) => self.exits.observe(pod),
            News::Pod(crate::snapshot::Update::All(pods)) => pods.iter().for_each(|p| self.exits.observe(p)),
            News::Pod(crate::snapshot::Update::Gone(pod)) => self.exits.forget(&pod.uid().unwrap_or_default()),
            News::Trouble(kind, text) => {
                let (since, told) = *self.trouble.get_or_insert((Instant::now(), false));
                if !told && since.elapsed() >= TROUBLE_AFTER {
                    self.trouble = Some((since, true));
                    let text = format!("the watch of {} is broken and is being renewed: {text}", kind.resource());
                    self.emitter.emit(What::Notice { text }).await;
                }
            }
            News::Denied(kind) => {
                let text = format!("skipped: what is seen in {} (needs list and watch {0})", kind.resource());
                self.emitter.emit(What::Notice { text }).await;
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

    async fn fail_to_apply(&mut self, i: usize, error: &ApplyError) {
        let doom = Doom {
            kind: if matches!(error, ApplyError::Unreachable { .. }) {
                FailureKind::Deadline
            } else {
                FailureKind::Refused
            },
            object: error.to_string().split(':').next().unwrap_or_default().to_owned(),
            container: None,
            reason: "apply".to_owned(),
            causes: vec![error.to_string()],
            fix: error.fix(),
        };
        self.fail(i, doom, Vec::new()).await;
    }

    async fn take_gathered(&mut self, gathered: Gathered) {
        if let Some(i) = self.index(gathered.component) {
            self.fail(i, gathered.doom, gathered.evidence).await;
        }
    }

    async fn fail(&mut self, i: usize, doom: Doom, evidence: Vec<Evidence>) {
        self.failed_at.get_or_insert_with(Instant::now);
        self.early.stop();
        let unit = &mut self.units[i];
        if unit.phase == Phase::Failed {
            return;
        }
        unit.phase = Phase::Failed;
        let name = unit.name();
        let fix = doom.fix.replace("NAME", name);
        let what = What::Failed { component: name.to_owned(), failure: doom.kind, causes: doom.causes, fix, evidence };
        self.emitter.emit(what).await;
        for lost in self.schedule.fail(name) {
            if let Some(unit) = self.units.iter_mut().find(|u| u.name() == &*lost)
                && unit.phase == Phase::Waiting
            {
                unit.phase = Phase::Skipped;
                let because = format!("{name} failed, and it waits for it");
                self.emitter.emit(What::Skipped { component: lost.to_string(), because }).await;
            }
        }
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

    async fn open_or_wait(&mut self, i: usize) {
        let name = self.units[i].name();
        let address = self.awaited_addresses(i);
        if let Some(Addresses::Doomed(doom)) = address {
            self.doom_of_address(i, doom).await;
            return;
        }
        let waiting = self.schedule.waiting_for(name);
        if waiting.is_empty() {
            match address {
                Some(Addresses::Awaited(cause)) => return self.wait_for_address(i, cause).await,
                Some(Addresses::Known(all)) => {
                    if let Some(late) = &mut self.late {
                        late.addresses = all;
                    }
                }
                _ => {}
            }
            if let Some(cause) = self.awaited_name(i) {
                if self.snapshot.is_complete() {
                    self.tell_waiting(i, "name", cause).await;
                }
                return;
            }
            if self.cancelled.is_none() && self.failed_at.is_none() && self.units[i].early.is_some() {
                self.open(i).await;
            }
            return;
        }
        let awaited: Vec<Awaited> = waiting
            .iter()
            .filter_map(|w| self.units.iter().find(|u| u.name() == &**w))
            .map(|u| Awaited { component: u.name().to_owned(), state: u.state() })
            .collect();
        let cause = awaited.first().map(|a| format!("{} {}", a.component, a.state)).unwrap_or_default();
        let names: Vec<&str> = awaited.iter().map(|a| a.component.as_str()).collect();
        // The gates' own lines tell their causes; this one only changes when a gate opens.
        let key = names.join(" ");
        let unit = &mut self.units[i];
        unit.cause.clone_from(&cause);
        if unit.said.0 == "waiting" && unit.said.1 == key {
            return;
        }
        unit.said = ("waiting", key, Instant::now());
        self.emitter.emit(What::Waiting { component: name.to_owned(), awaited, cause }).await;
    }

    /// How far the addresses are that a component's objects name; `None` where they name none.
    fn awaited_addresses(&self, i: usize) -> Option<Addresses> {
        let late = self.late.as_ref().filter(|l| l.component == self.units[i].part.entry.component)?;
        if !self.snapshot.is_complete() {
            return Some(Addresses::Awaited("its Services are being looked at".to_owned()));
        }
        let events =
            self.snapshot.events_of_services(|name| late.balanced.iter().any(|b| b.services.iter().any(|s| s == name)));
        Some(addresses(&late.balanced, &self.snapshot.services, &events, late.since.elapsed()))
    }

    async fn doom_of_address(&mut self, i: usize, doom: Doom) {
        let component = self.units[i].part.entry.component;
        let events = self.snapshot.events_of_services(|name| {
            name.strip_prefix(component.name()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        let evidence = Evidence {
            object: doom.object.clone(),
            reason: doom.reason.clone(),
            events: evidence::events(events),
            logs: Vec::new(),
        };
        self.fail(i, doom, vec![evidence]).await;
    }

    /// Why a component that needs nothing to start is not started yet all the same.
    ///
    /// Every container asks for etcd's name as soon as it runs. Asked before etcd's pod has an address, the cluster's DNS
    /// remembers for some seconds that there is no such name, and whoever needs etcd stands still for longer than that.
    fn awaited_name(&self, i: usize) -> Option<String> {
        let asks = !self.units[i].part.entry.programs.is_empty();
        let etcd = &self.units[self.index(Component::Etcd).filter(|_| asks)?];
        let comes = matches!(etcd.phase, Phase::Waiting | Phase::Applying | Phase::Rolling);
        let in_time = etcd.opened.is_none_or(|at| at.elapsed() < NAME_PATIENCE);
        if !comes || !in_time || self.snapshot.denied.contains(&Kind::EndpointSlice) {
            return None;
        }
        let service = etcd.part.service.as_deref()?;
        let has_address = self.snapshot.slices_of(service).any(|s| !s.endpoints.is_empty());
        (!has_address).then(|| "etcd has no address yet, and its name would be remembered as missing".to_owned())
    }

    async fn wait_for_address(&mut self, i: usize, cause: String) {
        self.tell_waiting(i, "address", cause).await;
    }

    async fn tell_waiting(&mut self, i: usize, what: &'static str, cause: String) {
        let unit = &mut self.units[i];
        unit.cause.clone_from(&cause);
        if unit.said.0 == what && unit.said.1 == cause {
            return;
        }
        unit.said = (what, cause.clone(), Instant::now());
        let component = unit.name().to_owned();
        self.emitter.emit(What::Waiting { component, awaited: Vec::new(), cause }).await;
    }

    async fn open(&mut self, i: usize) {
        let name = self.units[i].name();
        let gates: Vec<String> = self.schedule.plan().gates(name).map(str::to_owned).collect();
        let opened_by = self
            .units
            .iter()
            .filter(|u| gates.iter().any(|g| g == u.name()))
            .max_by_key(|u| u.serving)
            .map(|u| u.part.entry.component);
        let until = self.until;
        let force = self.options.force_conflicts;
        let unit = &mut self.units[i];
        let now = Instant::now();
        unit.opened = Some(now);
        unit.opened_by = opened_by;
        let component = unit.part.entry.component;
        let to_write = early::to_write(&unit.planned);
        let names = self.names.as_mut().filter(|_| component == Component::Bono).map(|n| n.work(&self.cluster));
        let is_late = self.late.as_ref().is_some_and(|l| l.component == component);
        if to_write == 0 && !is_late && names.is_none() {
            let kept = u32::try_from(unit.planned.len()).unwrap_or(u32::MAX);
            return self.applied(i, &Applied { kept, ..Applied::of(component) }).await;
        }
        unit.phase = Phase::Applying;
        let planned = std::mem::take(&mut unit.planned);
        let cluster = self.cluster.clone();
        let late = self.late.as_ref().filter(|l| l.component == component).map(|late| {
            let inputs = Inputs { bono_addresses: late.addresses.clone(), ..late.inputs.clone() };
            (self.options.deployment.clone(), inputs)
        });
        self.appliers.spawn(async move {
            let mut applied = Applied::of(component);
            if let Some(names) = names
                && let Ok(Err(error)) = names.await
            {
                applied.error = Some(error);
                return applied;
            }
            let planned = match late {
                None => planned,
                Some((deployment, inputs)) => match plan_late(&cluster, &deployment, &inputs, component, force).await {
                    Ok(planned) => planned,
                    Err(error) => {
                        applied.error = Some(error);
                        return applied;
                    }
                },
            };
            for planned in planned {
                if !applied.write(&cluster, &planned, force, until).await {
                    break;
                }
            }
            applied
        });
        let objects = u32::try_from(to_write).unwrap_or(u32::MAX);
        self.emitter.emit(What::Applying { component: name.to_owned(), objects }).await;
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
            unit.said = ("serving", String::new(), now);
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
        let scene = Scene {
            pods: &pods,
            events: &events,
            exits: &self.exits,
            needs_served_since: None,
            since: self.since,
            now: self.now(),
            grace: Grace::default(),
        };
        let live = doomed::cause(&scene);
        let now = Instant::now();
        let unit = &mut self.units[i];
        let component = unit.name().to_owned();
        // The programs' own words tell more than a probe that fails because of them.
        let from_programs = judged.problems.iter().find(|p| p.starts_with("program ")).cloned();
        let (stage, cause, what) = if judged.stage == Stage::Settling {
            let cause = judged.cause.clone();
            ("settling", cause.clone(), What::Settling { component, cause })
        } else if let Some(live) = live.as_ref().filter(|l| l.pulling) {
            unit.pulled = Some(now);
            let pod = live.pod.clone().unwrap_or_default();
            ("pulling", live.text.clone(), What::Pulling { component, pod, cause: live.text.clone() })
        } else {
            let cause = from_programs.or(live.map(|l| l.text)).unwrap_or_else(|| judged.cause.clone());
            let what = What::Starting { component, ready: judged.ready, wanted: judged.wanted, cause: cause.clone() };
            ("starting", cause, what)
        };
        unit.cause.clone_from(&cause);
        if cause.ends_with(NOT_ASKED) {
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

    /// Since when, on the API server's clock, everything the component needs serves; `None` while something does not.
    fn needs_served_since(&self, i: usize) -> Option<Timestamp> {
        let mut latest = Timestamp::UNIX_EPOCH;
        for need in &self.units[i].part.needs {
            let Some(unit) = self.units.iter().find(|u| u.part.entry.component == *need) else { continue };
            if unit.phase != Phase::Serving || unit.unsteady {
                return None;
            }
            for pod in self.snapshot.pods_of(*need) {
                let ready = pod.status.iter().flat_map(|s| s.conditions.iter().flatten()).find(|c| c.type_ == "Ready");
                if let Some(at) = ready.and_then(|c| c.last_transition_time.as_ref()) {
                    latest = latest.max(at.0);
                }
            }
        }
        Some(latest)
    }

    /// Looks whether a component cannot succeed any more, and begins to gather what shows it.
    async fn look_for_doom(&mut self, i: usize) {
        if self.units[i].doomed {
            return;
        }
        let needs_served_since = self.needs_served_since(i);
        let component = self.units[i].part.entry.component;
        let pods = self.snapshot.pods_of(component);
        let workloads = self.workload_names(i);
        let events = self.snapshot.events_of(&pods, &workloads);
        let scene = Scene {
            pods: &pods,
            events: &events,
            exits: &self.exits,
            needs_served_since,
            since: self.since,
            now: self.now(),
            grace: Grace::default(),
        };
        let doom = doomed::judge(&scene).map(|d| (d, None));
        let doom = doom.or_else(|| self.fatal(component, &pods, needs_served_since));
        let Some((doom, log)) = doom else {
            self.mend_members(i).await;
            self.mend_stuck(i).await;
            self.mend_lookup(i, needs_served_since).await;
            self.mend(component, needs_served_since).await;
            return;
        };
        let told = evidence::events(events);
        self.units[i].doomed = true;
        let cluster = self.cluster.clone();
        self.gatherers.spawn(async move {
            let (doom, evidence) = evidence::gather(cluster, doom, told, log).await;
            Gathered { component, doom, evidence }
        });
    }

    fn fatal(
        &self,
        component: Component,
        pods: &[&Pod],
        needs_served_since: Option<Timestamp>,
    ) -> Option<(Doom, Option<LogExcerpt>)> {
        let since = needs_served_since?;
        for pod in pods {
            let uid = pod.uid().unwrap_or_default();
            let Some(report) = self.reports.get(&uid) else { continue };
            for trouble in report.troubles.iter().filter(|t| t.is_fatal()) {
                let failed = trouble.stopped_at.unwrap_or(i64::MAX);
                let mended = self.mending.mended.get(&(uid.clone(), trouble.program.clone()));
                let lasting = match mended {
                    Some(at) => failed > at.as_second(),
                    None => failed > since.as_second() + FATAL_MARGIN,
                };
                if lasting {
                    let after = if mended.is_some() { " again, after it was restarted" } else { "" };
                    let doom = Doom {
                        kind: FailureKind::ProgramFatal,
                        object: doomed::pod_name(pod),
                        container: None,
                        reason: trouble.program.clone(),
                        causes: vec![
                            format!("{}: {}{after}", doomed::pod_name(pod), trouble.text),
                            format!("everything that {component} needs was serving when it failed"),
                        ],
                        fix: "see the last lines of the program's log".to_owned(),
                    };
                    return Some((doom, report.log.clone()));
                }
            }
        }
        None
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

    fn update_probers(&mut self) {
        if !self.snapshot.is_complete() {
            return;
        }
        let mut alive: Vec<String> = Vec::new();
        for i in 0..self.units.len() {
            let component = self.units[i].part.entry.component;
            let service = self.units[i].part.service.clone();
            let pods: Vec<Pod> = self.snapshot.pods_of(component).into_iter().cloned().collect();
            for pod in pods {
                let uid = pod.uid().unwrap_or_default();
                alive.push(uid.clone());
                let ready = judge::may_be_asked(&self.snapshot, component, service.as_deref(), &pod);
                if let Some(task) = self.probers.get(&uid) {
                    let changed = task.ready.send_if_modified(|r| std::mem::replace(r, ready) != ready);
                    if changed
                        && !ready
                        && let Some(report) = self.reports.get_mut(&uid)
                    {
                        // What it said while it was ready does not hold any more.
                        report.full = false;
                    }
                    continue;
                }
                let Some(target) = target_of(&self.units, &self.options, component, &pod) else { continue };
                let (sender, receiver) = watch::channel(ready);
                let task = watch_pod(self.cluster.clone(), target, receiver, self.looks.clone());
                let abort = self.prober_tasks.spawn(task);
                self.probers.insert(uid, PodTask { ready: sender, abort, component });
            }
        }
        self.probers.retain(|uid, task| {
            let keep = alive.contains(uid);
            if !keep {
                task.abort.abort();
            }
            keep
        });
        self.reports.retain(|uid, _| self.probers.contains_key(uid));
        while self.prober_tasks.try_join_next().is_some() {}
    }

    fn update_wish(&mut self) {
        let etcd = self.snapshot.pods_of(Component::Etcd).into_iter().find(|p| crate::rollout::pod_is_ready(p));
        let pod = etcd.and_then(|p| p.metadata.name.clone());
        let keys = self
            .units
            .iter()
            .filter(|u| u.phase != Phase::Serving || u.unsteady)
            .filter_map(|u| Some((u.part.entry.component, u.part.entry.clustering.as_ref()?)))
            .filter(|(component, _)| {
                // A pod that is not ready after a while may wait for a member that does not exist any more.
                self.probers.iter().any(|(uid, task)| {
                    task.component == *component && (*task.ready.borrow() || self.reports.contains_key(uid))
                })
            })
            .map(|(component, clustering)| (component, clustering.store, clustering.etcd_key))
            .collect();
        let ready = self.probers.values().filter(|task| *task.ready.borrow()).count();
        let wish = Wish { pod, keys, ready };
        self.wish.send_if_modified(|w| {
            if *w == wish {
                false
            } else {
                *w = wish;
                true
            }
        });
    }

    fn ended(&self) -> Option<Outcome> {
        if self.cancelled.is_some() {
            return self.is_quiet().then_some(Outcome::Cancelled);
        }
        if let Some(at) = self.failed_at {
            let quiet = self.is_quiet() && self.gatherers.is_empty();
            return (quiet && at.elapsed() >= LAST_WORDS).then_some(Outcome::Failed);
        }
        if self.mending.is_refused() {
            return self.is_quiet().then_some(Outcome::Refused);
        }
        if self.units.iter().any(|u| u.phase != Phase::Serving || u.unsteady) {
            return None;
        }
        Some(if self.units.iter().any(|u| u.pending > 0) {
            Outcome::ChangesPending
        } else if self.writes == 0 && self.mending.mended.is_empty() {
            Outcome::NothingToDo
        } else {
            Outcome::Done
        })
    }

    /// Whether nothing is being written.
    fn is_quiet(&self) -> bool {
        self.appliers.is_empty() && self.early.tasks.is_empty()
    }

    /// The time is up: every component that does not serve says what kept it.
    async fn late(&mut self) {
        self.emitter.emit(What::CancelRequested { reason: CancelReason::Deadline }).await;
        for i in 0..self.units.len() {
            let unit = &self.units[i];
            let awaits_address = unit.phase == Phase::Waiting && unit.said.0 == "address";
            if !matches!(unit.phase, Phase::Applying | Phase::Rolling) && !unit.unsteady && !awaits_address {
                continue;
            }
            let fix = if awaits_address {
                "look whether the cluster has a load balancer controller and run up again, or set bono.addresses in the \
                 deployment file"
            } else {
                "run up again to go on waiting, with a longer --timeout where it is only slow"
            };
            let component = unit.part.entry.component;
            let pods = self.snapshot.pods_of(component);
            let events = evidence::events(self.snapshot.events_of(&pods, &self.workload_names(i)));
            let report = pods.iter().filter_map(|p| self.reports.get(&p.uid()?)).find(|r| !r.problems.is_empty());
            let object = pods.first().map_or_else(|| format!("workload {component}"), |p| doomed::pod_name(p));
            let evidence = Evidence {
                object,
                reason: "Deadline".to_owned(),
                events,
                logs: report.and_then(|r| r.log.clone()).into_iter().collect(),
            };
            let causes = vec![format!("not serving after {} s", self.options.timeout.as_secs()), unit.cause.clone()];
            let what = What::Failed {
                component: component.name().to_owned(),
                failure: FailureKind::Deadline,
                causes,
                fix: fix.to_owned(),
                evidence: vec![evidence],
            };
            self.units[i].phase = Phase::Failed;
            self.emitter.emit(what).await;
        }
        for i in 0..self.units.len() {
            if self.units[i].phase == Phase::Waiting {
                let because = format!("the time was up: {}", self.units[i].cause);
                let component = self.units[i].name().to_owned();
                self.emitter.emit(What::Skipped { component, because }).await;
            }
        }
    }

    fn critical_path(&self) -> Vec<Hop> {
        let mut path = Vec::new();
        let mut at = self.units.iter().filter(|u| u.serving.is_some()).max_by_key(|u| u.serving);
        while let Some(unit) = at {
            let took = match (unit.opened, unit.serving) {
                (Some(opened), Some(serving)) => millis(serving.saturating_duration_since(opened)),
                _ => 0,
            };
            path.push(Hop { component: unit.name().to_owned(), took });
            at = unit.opened_by.and_then(|c| self.units.iter().find(|u| u.part.entry.component == c));
        }
        path.reverse();
        path
    }

    async fn end(mut self, outcome: Outcome) {
        if let Some(names) = &mut self.names
            && let Some(early) = names.early.take()
        {
            // Bono never came to wait for it: what is not proved by now is taken back.
            names.cancel.cancel();
            let _ = early.await;
        }
        let count =
            |test: &dyn Fn(&Unit) -> bool| u32::try_from(self.units.iter().filter(|u| test(u)).count()).unwrap_or(0);
        let stats = RunStats {
            serving: count(&|u| u.phase == Phase::Serving && !u.unsteady),
            failed: count(&|u| u.phase == Phase::Failed),
            skipped: count(&|u| matches!(u.phase, Phase::Skipped | Phase::Waiting)),
            unfinished: count(&|u| {
                matches!(u.phase, Phase::Applying | Phase::Rolling) || u.unsteady && u.phase == Phase::Serving
            }),
            writes: self.writes,
            pod_connections: self.connections,
        };
        let pending: Vec<Pending> = self
            .units
            .iter()
            .filter(|u| u.pending > 0)
            .map(|u| {
                let component = u.part.entry.component;
                let refused = self.mending.refusals.get(&component);
                let why = refused.map_or_else(String::new, |r| format!(" ({r})"));
                let command = if refused.is_some() {
                    format!("kubectl clearwater down --only {component}, then up")
                } else {
                    "kubectl clearwater up --replace-stores".to_owned()
                };
                let what = format!("{} of its pods still run the old revision{why}", u.pending);
                Pending { component: u.name().to_owned(), what, command }
            })
            .chain(self.mending.refused())
            .collect();
        let all = self.units.len();
        let seconds = self.emitter.began().elapsed().as_secs_f32();
        let summary = match outcome {
            Outcome::NothingToDo => format!("nothing to change: all {all} components serve ({seconds:.1} s)"),
            Outcome::Done | Outcome::ChangesPending => {
                let waiting = if pending.is_empty() { "" } else { "; changes wait" };
                format!("{} of {all} components serve ({seconds:.1} s){waiting}", stats.serving)
            }
            Outcome::NotReady => {
                format!("not ready after {seconds:.0} s: {} of {all} components serve", stats.serving)
            }
            Outcome::Refused if self.mending.is_refused() => {
                "refused: what is broken was not mended, because data would be lost".to_owned()
            }
            Outcome::Refused => "refused: stores' pods were not replaced, because data would be lost".to_owned(),
            Outcome::Failed => format!("failed: {} of {all} components serve, {} cannot", stats.serving, stats.failed),
            _ => format!(
                "stopped: {} of {all} components serve, what was begun stands; run up again to go on",
                stats.serving
            ),
        };
        let critical_path = self.critical_path();
        self.emitter.emit(What::RunFinished { outcome, summary, stats, critical_path, pending }).await;
    }
}

impl Unit {
    /// The state as another component's line tells it.
    fn state(&self) -> String {
        match self.phase {
            Phase::Waiting => "is waiting".to_owned(),
            Phase::Applying => "is being applied".to_owned(),
            Phase::Rolling if self.cause.is_empty() => "is starting".to_owned(),
            Phase::Rolling => format!("does not serve yet: {}", self.cause),
            Phase::Serving => "serves".to_owned(),
            Phase::Failed => "failed".to_owned(),
            Phase::Skipped => "is left out".to_owned(),
        }
    }
}

/// How a pod is asked, or `None` while it has no address yet.
fn target_of(units: &[Unit], options: &UpOptions, component: Component, pod: &Pod) -> Option<Target> {
    let unit = units.iter().find(|u| u.part.entry.component == component)?;
    pod_target(unit.part.entry, &own_names(options, unit.part.entry), pod)
}

/// The names by which others know the component, where cluster DNS itself gives them. Names in a zone of one's own may
/// be put into DNS after the deployment stands.
fn own_names(options: &UpOptions, entry: &Entry) -> Vec<String> {
    let deployment = &options.deployment;
    let own_zone = format!("{}.svc.{}", deployment.namespace(), deployment.cluster_domain());
    if entry.component == Component::Etcd || deployment.zone() != own_zone {
        return Vec::new();
    }
    let names = deployment.names();
    if entry.component == Component::Sprout && names.sprout() != names.in_zone(Component::Sprout.name()) {
        // Put into DNS as soon as it serves, and proved before Bono is made.
        return Vec::new();
    }
    vec![names.host(entry.component)]
}

/// How a pod is asked, or `None` while it has no address yet or does not run.
pub(crate) fn pod_target(entry: &'static Entry, names: &[String], pod: &Pod) -> Option<Target> {
    let status = pod.status.as_ref()?;
    let address = status.pod_ip.as_deref()?.parse().ok()?;
    let containers = &pod.spec.as_ref()?.containers;
    let own = containers.iter().find(|c| c.name == entry.component.name()).or_else(|| containers.first())?;
    let running = status
        .container_statuses
        .iter()
        .flatten()
        .any(|c| c.name == own.name && c.state.as_ref().is_some_and(|s| s.running.is_some()));
    running.then(|| Target {
        uid: pod.uid().unwrap_or_default(),
        pod: pod.name_any(),
        container: own.name.clone(),
        address,
        entry,
        names: names.to_vec(),
    })
}
