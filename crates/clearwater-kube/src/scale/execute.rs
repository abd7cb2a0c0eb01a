//! Executes one component's plan: a step, a look, a new plan from what is seen, until nothing is left to do.

mod exposure;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::Deployment;
use clearwater::dns::Names;
use clearwater::event::{CancelReason, Cost, EventKind, Repair};
use clearwater::remedy::{Advice, Remedied as _};
use clearwater::scale::{Refusal, ScaleAction, ScalePlan, ScaleStep};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::dns;
use super::situation::replicas;
use super::target::ScaleTarget;
use super::watch::{Shared, look};
use super::write::{SetError, budget, keep_budget, set_replicas};
use crate::apply::ApplyError;
use crate::cluster::{Cluster, say};
use crate::judge::failure::{self, Cause, Failure};
use crate::judge::{self, Judged, Stage};
use crate::observe::probe::{ProbeTarget, Prober};
use crate::observe::{Observation, members};
use crate::pod::object::{addresses, has_ended};
use crate::run::{GRACE, millis, unless_cancelled};

/// How often deadlines are looked at where no news comes.
const TICK: Duration = Duration::from_millis(250);
/// A changed cause is told this often.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// How long a situation may stay unclear before something must be wrong.
const UNCLEAR: Duration = Duration::from_secs(90);
/// How long a member that was marked as failed may stay on the list.
const STRUCK: Duration = Duration::from_secs(30);

/// Why a component was not scaled to the end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The planner refuses.
    Refused(Advice),
    /// Its pods cannot succeed.
    Failing(Box<Failure>),
    /// A step took longer than it may.
    Late(String),
    /// The API server refuses something.
    Broken(Advice),
    /// What it stands on cannot be seen any more, or nothing is known of what was to be written.
    Unseen(Advice),
    /// The run was cancelled.
    Cancelled,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.advice())
    }
}

impl From<ApplyError> for Stop {
    fn from(error: ApplyError) -> Self {
        if error.is_unseen() { Self::Unseen(error.advice()) } else { Self::Broken(error.advice()) }
    }
}

impl From<SetError> for Stop {
    fn from(error: SetError) -> Self {
        if error.is_unseen() { Self::Unseen(error.advice()) } else { Self::Broken(error.advice()) }
    }
}

/// What a component's task sees and whom it tells.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) cluster: Cluster,
    pub(super) seen: Shared,
    /// Changes with every news.
    pub(super) news: watch::Receiver<u64>,
    pub(super) cancel: watch::Receiver<Option<CancelReason>>,
    pub(super) out: mpsc::UnboundedSender<EventKind>,
    pub(super) until: Instant,
    /// Whether dead members may be marked as failed.
    pub(super) consent: bool,
    pub(super) deployment: Option<Arc<Deployment>>,
    /// The host names that cluster DNS gives to the namespace's Services.
    pub(super) names: Names,
}

/// What executing came to.
#[derive(Debug)]
pub(super) struct Executed {
    pub(super) component: Component,
    pub(super) writes: u32,
    pub(super) stop: Option<Stop>,
    /// The step that it was stopped in.
    pub(super) step: Option<String>,
}

struct Execution {
    context: Context,
    target: ScaleTarget,
    /// The counts that this run has set.
    expected: BTreeMap<String, u32>,
    /// The step under way, with when it began.
    step: Option<(String, Instant)>,
    /// When the replicas were set last.
    set: Option<Instant>,
    said: (String, Instant),
    began: Instant,
    writes: u32,
}

/// Scales one component.
pub(super) async fn execute(context: Context, target: ScaleTarget) -> Executed {
    let began = Instant::now();
    let from = look(&context.seen, |seen| target.from(seen));
    let component = target.component();
    let said = (String::new(), began);
    let mut execution =
        Execution { context, target, expected: BTreeMap::new(), step: None, set: None, said, began, writes: 0 };
    let cancel = execution.context.cancel.clone();
    let outcome = unless_cancelled(&cancel, GRACE, Box::pin(execution.work())).await.unwrap_or(Err(Stop::Cancelled));
    if outcome.is_ok() {
        let (to, took) = (execution.target.to, millis(began.elapsed()));
        execution.tell(EventKind::Scaled { component: component.name().to_owned(), from, to, took });
    }
    let step = execution.step.map(|(text, _)| text);
    Executed { component, writes: execution.writes, stop: outcome.err(), step }
}

impl Execution {
    fn look<T>(&self, at: impl FnOnce(&Observation, &ScaleTarget) -> T) -> T {
        look(&self.context.seen, |seen| at(seen, &self.target))
    }

    fn tell(&self, what: EventKind) {
        let _ = self.context.out.send(what);
    }

    fn name(&self) -> String {
        self.target.name().to_owned()
    }

    async fn work(&mut self) -> Result<(), Stop> {
        // Whatever the plan was: as many pods as wanted, each serving, and none on its way out.
        if self.target.subject.entry.clustering.is_some() {
            loop {
                self.store().await?;
                self.served().await?;
                // What went last may not have left the list: done is what is seen when it is gone.
                if self.plan().await?.is_empty() {
                    break;
                }
            }
        } else {
            self.stateless().await?;
            self.served().await?;
        }
        self.end_step();
        self.budgets().await;
        Ok(())
    }

    /// Waits until a look yields something. `waited` says what for, where the deadline comes first.
    async fn until<T>(
        &mut self,
        deadline: Instant,
        mut at: impl FnMut(&Observation, &ScaleTarget) -> Result<Option<T>, Stop>,
        waited: &str,
    ) -> Result<T, Stop> {
        let deadline = deadline.min(self.context.until);
        loop {
            self.context.news.borrow_and_update();
            if let Some(found) = self.look(&mut at)? {
                return Ok(found);
            }
            if let Some(why) = self.look(|seen, _| seen.snapshot.unseen()) {
                return Err(Stop::Unseen(why.into()));
            }
            if self.context.cancel.borrow().is_some() {
                return Err(Stop::Cancelled);
            }
            self.look_closer()?;
            if Instant::now() >= deadline {
                let cause = self.cause();
                let cause = if cause.is_empty() { String::new() } else { format!(": {cause}") };
                return Err(Stop::Late(format!("{}: {waited} took too long{cause}", self.target.name())));
            }
            tokio::select! {
                changed = self.context.news.changed() => if changed.is_err() { return Err(Stop::Cancelled) },
                changed = self.context.cancel.changed() => if changed.is_err() { return Err(Stop::Cancelled) },
                () = sleep(TICK) => {}
            }
        }
    }

    /// Why the component is no further, in one line.
    fn cause(&self) -> String {
        self.look(|seen, target| {
            let live = failure::cause(&target.rollout(seen)).map(Cause::told);
            let cause = live.unwrap_or_else(|| judge::component(&target.subject, seen).cause().to_owned());
            if cause.is_empty() { target.stopping(seen) } else { cause }
        })
    }

    /// Says what is waited for where it changed, and gives up on pods that cannot succeed.
    fn look_closer(&mut self) -> Result<(), Stop> {
        if let Some(failure) = self.look(|seen, target| failure::judge(&target.rollout(seen))) {
            return Err(Stop::Failing(Box::new(failure)));
        }
        if self.said.1.elapsed() < SAY_EVERY {
            return Ok(());
        }
        let judged: Judged = self.look(|seen, target| judge::component(&target.subject, seen));
        let settling = judged.stage == Stage::Settling;
        let cause = if settling { judged.cause().to_owned() } else { self.cause() };
        let took = millis(self.began.elapsed());
        self.tell(EventKind::Progress { component: self.name(), took, cause: cause.clone() });
        self.said.1 = Instant::now();
        if cause.is_empty() || cause == self.said.0 {
            return Ok(());
        }
        self.said = (cause.clone(), Instant::now());
        let (component, ready, wanted) = (self.name(), judged.ready, judged.wanted);
        self.tell(if settling {
            EventKind::Settling { component, cause }
        } else {
            EventKind::Starting { component, ready, wanted, cause }
        });
        Ok(())
    }

    fn begin_step(&mut self, text: String, expected_seconds: u64) {
        if self.step.as_ref().is_some_and(|(now, _)| *now == text) {
            return;
        }
        self.end_step();
        self.step = Some((text.clone(), Instant::now()));
        self.tell(EventKind::StepBegun { component: self.name(), step: text, expected_seconds });
    }

    fn end_step(&mut self) {
        if let Some((step, since)) = self.step.take() {
            self.tell(EventKind::StepEnded { component: self.name(), step, took: millis(since.elapsed()) });
        }
    }

    fn step_deadline(&self, step: &ScaleStep) -> Instant {
        let began = self.step.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        began + Duration::from_secs(step.deadline_seconds)
    }

    /// The plan from what is seen, as soon as that is clear.
    async fn plan(&mut self) -> Result<ScalePlan, Stop> {
        let expected = self.expected.clone();
        let at = move |seen: &Observation, target: &ScaleTarget| {
            if target.clear(seen, &expected).is_err() {
                return Ok(None);
            }
            Ok(Some(target.situation(seen).plan()?))
        };
        match self.until(Instant::now() + UNCLEAR, at, "seeing clearly what to do next").await {
            Err(Stop::Late(text)) => {
                let unclear = self.look(|seen, target| target.clear(seen, &self.expected).err());
                Err(Stop::Late(unclear.map_or(text, |why| format!("{}: {why}", self.target.name()))))
            }
            other => other,
        }
    }

    async fn store(&mut self) -> Result<(), Stop> {
        loop {
            let plan = self.plan().await?;
            let Some(step) = plan.steps.first().cloned() else { break };
            if let Some(refusal) = plan.without_consent().filter(|_| !self.context.consent) {
                return Err(refusal.into());
            }
            self.begin_step(plan.describe(&step.action), step.expected_seconds);
            match &step.action {
                ScaleAction::Join { from, to } => self.resize(*from, *to).await?,
                ScaleAction::Leave { members, .. } => self.resize(plan.from, *members).await?,
                ScaleAction::MarkFailed { members, via, .. } => self.mark(members, via, &step).await?,
                _ => self.await_another(&plan, &step).await?,
            }
        }
        Ok(())
    }

    /// Waits until the plan from what is seen begins with another step.
    async fn await_another(&mut self, plan: &ScalePlan, step: &ScaleStep) -> Result<(), Stop> {
        let (expected, action, deadline) = (self.expected.clone(), step.action.clone(), self.step_deadline(step));
        let at = move |seen: &Observation, target: &ScaleTarget| {
            if target.clear(seen, &expected).is_err() {
                return Ok(None);
            }
            let now = target.situation(seen).plan()?;
            Ok((now.steps.first().map(|s| &s.action) != Some(&action)).then_some(()))
        };
        self.until(deadline, at, &plan.describe(&step.action)).await
    }

    async fn mark(&mut self, dead: &[IpAddr], via: &str, step: &ScaleStep) -> Result<(), Stop> {
        let Some(clustering) = &self.target.subject.entry.clustering else { return Ok(()) };
        let target = self.look(|seen, target| {
            let pod = target.pods(seen).into_iter().find(|p| p.name_any() == via)?;
            ProbeTarget::of(&target.subject, pod)
        });
        let Some(target) = target else {
            // It has gone meanwhile: the next plan names another.
            sleep(TICK).await;
            return Ok(());
        };
        let mut runs = Vec::new();
        for member in dead {
            let script = members::mark_failed(clustering, *member);
            let repair = Repair {
                component: self.name(),
                object: format!("{} member {member}", clustering.title),
                action: format!("{}, in pod {via}", members::mark_failed_text(clustering, *member)),
                because: "no pod has that address: it went without leaving, and the others wait for it".to_owned(),
                cost: Cost::Nothing,
            };
            self.tell(EventKind::Repaired { repair });
            self.writes += 1;
            let (cluster, target) = (self.context.cluster.clone(), target.clone());
            let within = Duration::from_secs(step.deadline_seconds);
            runs.push(async move {
                let mut prober = Prober::new(&cluster, target);
                prober.run_for(&script, within).await
            });
        }
        let mut cancel = self.context.cancel.clone();
        let ran = tokio::select! {
            ran = join_all(runs) => ran,
            _ = cancel.changed() => return Err(Stop::Cancelled),
        };
        let said: Vec<String> = ran
            .into_iter()
            .filter_map(|r| match r {
                Ok(output) if output.status == 0 => None,
                Ok(output) => output.text.lines().rev().find(|l| !l.trim().is_empty()).map(|l| l.trim().to_owned()),
                Err(error) => Some(error.to_string()),
            })
            .collect();
        let (component, dead) = (self.target.component(), dead.to_vec());
        let struck = move |seen: &Observation, _: &ScaleTarget| {
            let left = seen.orphans(component);
            Ok((!dead.iter().any(|d| left.contains(d))).then_some(()))
        };
        match self.until(Instant::now() + STRUCK, struck, "striking the dead members off").await {
            Err(Stop::Late(text)) if !said.is_empty() => {
                Err(Stop::Late(format!("{text}; cw-mark_node_failed in pod {via} said: {}", said.join("; "))))
            }
            other => other,
        }
    }

    async fn stateless(&mut self) -> Result<(), Stop> {
        let plan = self.plan().await?;
        for step in &plan.steps {
            self.begin_step(plan.describe(&step.action), step.expected_seconds);
            let deadline = self.step_deadline(step);
            match step.action {
                ScaleAction::Resize { from, to } => self.resize(from, to).await?,
                ScaleAction::AwaitServing { .. } => {
                    self.rolled_out(deadline).await?;
                    self.served_within(deadline, &plan.describe(&step.action)).await?;
                }
                ScaleAction::AwaitGone { .. } => self.gone(deadline, &plan.describe(&step.action)).await?,
                ScaleAction::Publish { to, .. } => self.publish(to).await?,
                ScaleAction::AwaitAddresses { from, to } => self.addresses(from, to, deadline).await?,
                ScaleAction::Withdraw { from, to } => self.withdraw(to, from).await?,
                ScaleAction::AwaitDns { .. } => self.dns(deadline).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Sets every workload that is not so to this many members.
    async fn resize(&mut self, from: u32, to: u32) -> Result<(), Stop> {
        self.set = Some(Instant::now());
        for workload in self.target.subject.workloads.clone() {
            let live = self.look(|seen, _| replicas(&seen.snapshot, &workload)).unwrap_or(from);
            if live == to {
                continue;
            }
            let set = set_replicas(&self.context.cluster, &workload, live, to, self.context.until).await;
            self.writes += u32::from(set?);
            self.expected.insert(workload.name.clone(), to);
        }
        Ok(())
    }

    async fn rolled_out(&mut self, deadline: Instant) -> Result<(), Stop> {
        let expected = self.expected.clone();
        let complete = move |seen: &Observation, target: &ScaleTarget| {
            Ok((target.clear(seen, &expected).is_ok() && target.is_rolled_out(seen)).then_some(()))
        };
        self.until(deadline, complete, "starting its pods").await?;
        if let Some(set) = self.set.take() {
            self.tell(EventKind::RolledOut { component: self.name(), took: millis(set.elapsed()) });
        }
        Ok(())
    }

    async fn gone(&mut self, deadline: Instant, text: &str) -> Result<(), Stop> {
        let expected = self.expected.clone();
        let gone = move |seen: &Observation, target: &ScaleTarget| {
            let few = target.shown(seen) <= target.wanted_pods();
            Ok((few && target.clear(seen, &expected).is_ok()).then_some(()))
        };
        self.until(deadline, gone, text).await
    }

    /// Waits until the component serves with as many pods as are wanted.
    async fn served(&mut self) -> Result<(), Stop> {
        let patience = Duration::from_secs(3 * u64::from(self.target.subject.entry.slowest_start_seconds));
        let known = self.target.subject.entry.pre_stop.map_or(60, |p| u64::from(p.grace_seconds));
        let grace = self.look(|seen, target| target.situation(seen).grace_seconds).map_or(known, |s| u64::from(s) + 30);
        let deadline = Instant::now() + patience.max(Duration::from_secs(grace));
        self.gone(deadline, "waiting for pods to end").await?;
        self.served_within(deadline, "waiting until it serves").await
    }

    async fn served_within(&mut self, deadline: Instant, text: &str) -> Result<(), Stop> {
        let serving = |seen: &Observation, target: &ScaleTarget| {
            let there = judge::pods(&target.subject, seen).len();
            let all = target.is_rolled_out(seen) && there == target.wanted_pods();
            Ok((all && judge::component(&target.subject, seen).stage == Stage::Serving).then_some(()))
        };
        self.until(deadline, serving, text).await
    }

    async fn dns(&mut self, deadline: Instant) -> Result<(), Stop> {
        // One that has ended is there until somebody removes it, and nobody is led to it.
        let lives = |pod: &&Pod| !has_ended(pod);
        let wanted: Vec<IpAddr> = self.look(|seen, target| {
            judge::pods(&target.subject, seen).into_iter().filter(lives).flat_map(addresses).collect()
        });
        if !self.look(|seen, target| target.is_headless(seen)) {
            // The Service's virtual address stands for them, whatever their number.
            return Ok(());
        }
        let name = dns::full_name(&self.context.names, self.target.component());
        let mut cancel = self.context.cancel.clone();
        let (began, until) = (Instant::now(), deadline.min(self.context.until));
        let asking = dns::every_pod_answers(&self.context.cluster, &name, &wanted, until);
        let seen = tokio::select! {
            seen = asking => seen,
            _ = cancel.changed() => return Err(Stop::Cancelled),
        };
        // Worth telling, not worth failing for: what resolves names may cache for a while.
        let text = match seen {
            Ok(None) => return Ok(()),
            Ok(Some(answer)) => format!("{}: after {} s {answer}", self.target.name(), began.elapsed().as_secs()),
            Err(why) => format!("{}: skipped: what DNS answers: {why}", self.target.name()),
        };
        self.step = None;
        self.tell(EventKind::Notice { text: text.into() });
        Ok(())
    }

    /// Keeps the disruption budgets of our own workloads as `up` would make them.
    async fn budgets(&mut self) {
        for workload in self.target.subject.workloads.clone() {
            let Some(wanted) = self.look(|seen, _| budget(&seen.snapshot, &workload)) else { continue };
            match keep_budget(&self.context.cluster, &workload.name, &wanted, self.target.to).await {
                Ok(written) => self.writes += u32::from(written),
                // It scales all the same; the next `up` makes it.
                Err(error) => {
                    let text = format!("skipped: poddisruptionbudget/{}: {}", workload.name, say(&error));
                    self.tell(EventKind::Notice { text: text.into() });
                }
            }
        }
    }
}
