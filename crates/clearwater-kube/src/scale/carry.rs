//! Carries one component's plan out: a step, a look, a new plan from what is seen, until nothing is left to do.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::Deployment;
use clearwater::dns::Names;
use clearwater::event::{CancelReason, Cost, Mending, What, Whose};
use clearwater::manifest::{self, Inputs, MANAGED_BY, MANAGED_BY_LABEL, Object, Owner, WorkloadKind};
use clearwater::remedy::{Advice, Remedied as _, Remedy};
use clearwater::scale::{Action, Plan, Refusal, Step};
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{Deployment as DeploymentObject, StatefulSet};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::dns;
use super::world::{Subject, World};
use crate::apply::apply_now;
use crate::cluster::{Cluster, FIELD_MANAGER, is_passing, only, say};
use crate::judge::failure::{self, Doom};
use crate::judge::{Stage, Workload};
use crate::observe::members;
use crate::observe::probe::{Prober, Target};
use crate::owner::{self, CREATED, ORIGIN_ANNOTATION};
use crate::run::{GRACE, millis, unless_cancelled};

/// How often deadlines are looked at where no news comes.
const TICK: Duration = Duration::from_millis(250);
/// A changed cause is told this often.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// How long a situation may stay unclear before something must be wrong.
const UNCLEAR: Duration = Duration::from_secs(90);
/// The longest that one request may take.
const REQUEST: Duration = Duration::from_secs(15);
/// How long a member that was marked as failed may stay on the list.
const STRUCK: Duration = Duration::from_secs(30);

/// Why a component was not scaled to the end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The planner refuses.
    Refused(Advice),
    /// Its pods cannot succeed.
    Doomed(Box<Doom>),
    /// A step took longer than it may.
    Late(String),
    /// The API server refuses something, or cannot be asked.
    Broken(String),
    /// The run was cancelled.
    Cancelled,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.advice())
    }
}

/// What a component's task sees and whom it tells.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) cluster: Cluster,
    pub(super) world: Arc<Mutex<World>>,
    /// Changes with every news.
    pub(super) news: watch::Receiver<u64>,
    pub(super) cancel: watch::Receiver<Option<CancelReason>>,
    pub(super) out: mpsc::UnboundedSender<What>,
    pub(super) until: Instant,
    /// Whether dead members may be marked as failed.
    pub(super) consent: bool,
    pub(super) deployment: Option<Arc<Deployment>>,
    /// The host names that cluster DNS gives to the namespace's Services.
    pub(super) names: Names,
}

/// What carrying out came to.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) component: Component,
    pub(super) writes: u32,
    pub(super) stop: Option<Stop>,
}

struct Carrier {
    shared: Shared,
    subject: Subject,
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
pub(super) async fn carry(shared: Shared, subject: Subject) -> Carried {
    let began = Instant::now();
    let from = with(&shared.world, |w| w.from(&subject));
    let component = subject.component();
    let said = (String::new(), began);
    let mut carrier =
        Carrier { shared, subject, expected: BTreeMap::new(), step: None, set: None, said, began, writes: 0 };
    let cancel = carrier.shared.cancel.clone();
    let outcome = unless_cancelled(&cancel, GRACE, carrier.work()).await.unwrap_or(Err(Stop::Cancelled));
    if outcome.is_ok() {
        let (to, took) = (carrier.subject.to, millis(began.elapsed()));
        carrier.tell(What::Scaled { component: component.name().to_owned(), from, to, took });
    }
    Carried { component, writes: carrier.writes, stop: outcome.err() }
}

fn with<T>(world: &Mutex<World>, look: impl FnOnce(&World) -> T) -> T {
    look(&world.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Carrier {
    fn tell(&self, what: What) {
        let _ = self.shared.out.send(what);
    }

    fn name(&self) -> String {
        self.subject.name().to_owned()
    }

    async fn work(&mut self) -> Result<(), Stop> {
        if self.subject.entry.clustering.is_some() {
            self.store().await?;
        } else {
            self.stateless().await?;
        }
        // Whatever the plan was: as many pods as wanted, each serving, and none on its way out.
        self.served().await?;
        self.end_step();
        self.budgets().await
    }

    /// Waits until a look yields something. `waited` says what for, where the deadline comes first.
    async fn until<T>(
        &mut self,
        deadline: Instant,
        mut look: impl FnMut(&World, &Subject) -> Result<Option<T>, Stop>,
        waited: &str,
    ) -> Result<T, Stop> {
        let deadline = deadline.min(self.shared.until);
        loop {
            self.shared.news.borrow_and_update();
            if let Some(found) = with(&self.shared.world, |w| look(w, &self.subject))? {
                return Ok(found);
            }
            if self.shared.cancel.borrow().is_some() {
                return Err(Stop::Cancelled);
            }
            self.look_closer()?;
            if Instant::now() >= deadline {
                let cause = self.cause();
                let cause = if cause.is_empty() { String::new() } else { format!(": {cause}") };
                return Err(Stop::Late(format!("{}: {waited} took too long{cause}", self.subject.name())));
            }
            tokio::select! {
                changed = self.shared.news.changed() => if changed.is_err() { return Err(Stop::Cancelled) },
                changed = self.shared.cancel.changed() => if changed.is_err() { return Err(Stop::Cancelled) },
                () = sleep(TICK) => {}
            }
        }
    }

    /// Why the component is no further, in one line.
    fn cause(&self) -> String {
        with(&self.shared.world, |w| {
            let live = w.scene(&self.subject, |scene| failure::cause(scene).map(|c| c.text));
            live.unwrap_or_else(|| w.judged(&self.subject).cause)
        })
    }

    /// Says what is waited for where it changed, and gives up on pods that cannot succeed.
    fn look_closer(&mut self) -> Result<(), Stop> {
        let doom = with(&self.shared.world, |w| w.scene(&self.subject, failure::judge));
        if let Some(doom) = doom {
            return Err(Stop::Doomed(Box::new(doom)));
        }
        if self.said.1.elapsed() < SAY_EVERY {
            return Ok(());
        }
        let judged = with(&self.shared.world, |w| w.judged(&self.subject));
        let cause = if judged.stage == Stage::Settling { judged.cause } else { self.cause() };
        let took = millis(self.began.elapsed());
        self.tell(What::Progress { component: self.name(), took, cause: cause.clone() });
        self.said.1 = Instant::now();
        if cause.is_empty() || cause == self.said.0 {
            return Ok(());
        }
        self.said = (cause.clone(), Instant::now());
        let (component, ready, wanted) = (self.name(), judged.ready, judged.wanted);
        self.tell(if judged.stage == Stage::Settling {
            What::Settling { component, cause }
        } else {
            What::Starting { component, ready, wanted, cause }
        });
        Ok(())
    }

    fn begin_step(&mut self, text: String, expected_seconds: u64) {
        if self.step.as_ref().is_some_and(|(now, _)| *now == text) {
            return;
        }
        self.end_step();
        self.step = Some((text.clone(), Instant::now()));
        self.tell(What::StepBegun { component: self.name(), step: text, expected_seconds });
    }

    fn end_step(&mut self) {
        if let Some((step, since)) = self.step.take() {
            self.tell(What::StepEnded { component: self.name(), step, took: millis(since.elapsed()) });
        }
    }

    fn step_deadline(&self, step: &Step) -> Instant {
        let began = self.step.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        began + Duration::from_secs(step.deadline_seconds)
    }

    /// The plan from what is seen, as soon as that is clear.
    async fn plan(&mut self) -> Result<Plan, Stop> {
        let expected = self.expected.clone();
        let look = move |world: &World, subject: &Subject| {
            if world.clear(subject, &expected).is_err() {
                return Ok(None);
            }
            Ok(Some(world.situation(subject).plan()?))
        };
        match self.until(Instant::now() + UNCLEAR, look, "seeing clearly what to do next").await {
            Err(Stop::Late(text)) => {
                let unclear = with(&self.shared.world, |w| w.clear(&self.subject, &self.expected).err());
                Err(Stop::Late(unclear.map_or(text, |why| format!("{}: {why}", self.subject.name()))))
            }
            other => other,
        }
    }

    async fn store(&mut self) -> Result<(), Stop> {
        loop {
            let plan = self.plan().await?;
            let Some(step) = plan.steps.first().cloned() else { break };
            if let Some(refusal) = plan.without_consent().filter(|_| !self.shared.consent) {
                return Err(refusal.into());
            }
            self.begin_step(plan.describe(&step.action), step.expected_seconds);
            match &step.action {
                Action::Join { from, to } => self.resize(*from, *to).await?,
                Action::Leave { members, .. } => self.resize(plan.from, *members).await?,
                Action::MarkFailed { members, via, .. } => self.mark(members, via, &step).await?,
                _ => self.await_another(&plan, &step).await?,
            }
        }
        Ok(())
    }

    /// Waits until the plan from what is seen begins with another step.
    async fn await_another(&mut self, plan: &Plan, step: &Step) -> Result<(), Stop> {
        let (expected, action, deadline) = (self.expected.clone(), step.action.clone(), self.step_deadline(step));
        let look = move |world: &World, subject: &Subject| {
            if world.clear(subject, &expected).is_err() {
                return Ok(None);
            }
            let now = world.situation(subject).plan()?;
            Ok((now.steps.first().map(|s| &s.action) != Some(&action)).then_some(()))
        };
        self.until(deadline, look, &plan.describe(&step.action)).await
    }

    async fn mark(&mut self, dead: &[IpAddr], via: &str, step: &Step) -> Result<(), Stop> {
        let Some(clustering) = &self.subject.entry.clustering else { return Ok(()) };
        let target = with(&self.shared.world, |w| {
            let pod = w.pods(&self.subject).into_iter().find(|p| p.name_any() == via)?;
            Target::of(self.subject.entry, &[], pod)
        });
        let Some(target) = target else {
            // It has gone meanwhile: the next plan names another.
            sleep(TICK).await;
            return Ok(());
        };
        let mut runs = Vec::new();
        for member in dead {
            let script = members::mark_failed(clustering, *member);
            let mending = Mending {
                component: self.name(),
                object: format!("{} member {member}", clustering.title),
                action: format!("{}, in pod {via}", members::mark_failed_text(clustering, *member)),
                because: "no pod has that address: it went without leaving, and the others wait for it".to_owned(),
                cost: Cost::Nothing,
            };
            self.tell(What::Mended { mending });
            self.writes += 1;
            let (cluster, target) = (self.shared.cluster.clone(), target.clone());
            let within = Duration::from_secs(step.deadline_seconds);
            runs.push(async move {
                let mut prober = Prober::new(&cluster, target);
                prober.run_for(&script, within).await
            });
        }
        let mut cancel = self.shared.cancel.clone();
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
        let (component, dead) = (self.subject.component(), dead.to_vec());
        let struck = move |world: &World, _: &Subject| {
            let left = world.orphans(component);
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
                Action::Resize { from, to } => self.resize(from, to).await?,
                Action::AwaitServing { .. } => {
                    self.rolled_out(deadline).await?;
                    self.served_within(deadline, &plan.describe(&step.action)).await?;
                }
                Action::AwaitGone { .. } => self.gone(deadline, &plan.describe(&step.action)).await?,
                Action::Publish { to, .. } => self.publish(to).await?,
                Action::AwaitAddresses { from, to } => self.addresses(from, to, deadline).await?,
                Action::Withdraw { from, to } => self.withdraw(to, from).await?,
                Action::AwaitDns { .. } => self.dns(deadline).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Sets every workload that is not so to this many members.
    async fn resize(&mut self, from: u32, to: u32) -> Result<(), Stop> {
        self.set = Some(Instant::now());
        for workload in self.subject.workloads.clone() {
            let live = with(&self.shared.world, |w| w.replicas(&workload)).unwrap_or(from);
            if live == to {
                continue;
            }
            if set_replicas(&self.shared.cluster, &workload, live, to, self.shared.until).await? {
                self.writes += 1;
            }
            self.expected.insert(workload.name.clone(), to);
        }
        Ok(())
    }

    async fn rolled_out(&mut self, deadline: Instant) -> Result<(), Stop> {
        let expected = self.expected.clone();
        let complete = move |world: &World, subject: &Subject| {
            Ok((world.clear(subject, &expected).is_ok() && world.rolled_out(subject)).then_some(()))
        };
        self.until(deadline, complete, "starting its pods").await?;
        if let Some(set) = self.set.take() {
            self.tell(What::RolledOut { component: self.name(), took: millis(set.elapsed()) });
        }
        Ok(())
    }

    async fn gone(&mut self, deadline: Instant, text: &str) -> Result<(), Stop> {
        let expected = self.expected.clone();
        let gone = move |world: &World, subject: &Subject| {
            let few = world.pods(subject).len() <= subject.pods();
            Ok((few && world.clear(subject, &expected).is_ok()).then_some(()))
        };
        self.until(deadline, gone, text).await
    }

    /// Waits until the component serves with as many pods as are wanted.
    async fn served(&mut self) -> Result<(), Stop> {
        let patience = Duration::from_secs(3 * u64::from(self.subject.entry.slowest_start_seconds));
        let grace = self.subject.entry.pre_stop.map_or(60, |p| u64::from(p.grace_seconds));
        let deadline = Instant::now() + patience.max(Duration::from_secs(grace));
        self.gone(deadline, "waiting for pods to end").await?;
        self.served_within(deadline, "waiting until it serves").await
    }

    async fn served_within(&mut self, deadline: Instant, text: &str) -> Result<(), Stop> {
        let serving = |world: &World, subject: &Subject| {
            let all = world.rolled_out(subject) && world.snapshot.pods_of(subject.component()).len() == subject.pods();
            Ok((all && world.judged(subject).stage == Stage::Serving).then_some(()))
        };
        self.until(deadline, serving, text).await
    }

    async fn dns(&mut self, deadline: Instant) -> Result<(), Stop> {
        let wanted = with(&self.shared.world, |w| {
            let pods = w.snapshot.pods_of(self.subject.component());
            pods.into_iter().flat_map(crate::judge::rollout::addresses).collect::<Vec<IpAddr>>()
        });
        if !with(&self.shared.world, |w| w.is_headless(&self.subject)) {
            // The Service's virtual address stands for them, whatever their number.
            return Ok(());
        }
        let name = self.shared.names.host(self.subject.component());
        let mut cancel = self.shared.cancel.clone();
        let within = deadline.min(self.shared.until).saturating_duration_since(Instant::now());
        let asking = timeout(within, dns::every_pod_answers(&self.shared.cluster, &name, &wanted));
        let seen = tokio::select! {
            seen = asking => seen,
            _ = cancel.changed() => return Err(Stop::Cancelled),
        };
        // Worth telling, not worth failing for: what resolves names may cache for a while.
        let text = match seen {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => format!("{}: skipped: what DNS answers: {why}", self.subject.name()),
            Err(_) => format!(
                "{}: after {} s not every DNS pod answers with the pods there are",
                self.subject.name(),
                within.as_secs()
            ),
        };
        self.step = None;
        self.tell(What::Notice { text: text.into() });
        Ok(())
    }

    /// The Services that `count` members need, or, where their addresses are known, the table that gives each its own.
    fn rendered(&self, count: u32, addresses: Option<Vec<IpAddr>>) -> Result<Vec<Object>, Stop> {
        let component = self.subject.component();
        let Some(deployment) = &self.shared.deployment else {
            let reason = format!(
                "{component}: its pods have Services of their own, and only the deployment file says with which addresses"
            );
            return Err(Stop::Refused(Advice::new(reason, Remedy::NameFile)));
        };
        let table = addresses.is_some();
        let mut inputs = Inputs { bono_addresses: addresses.unwrap_or_default(), ..Inputs::default() };
        for workload in &self.subject.workloads {
            inputs.live_replicas.insert(workload.name.clone(), count);
        }
        inputs.cluster_ips = with(&self.shared.world, World::cluster_ips);
        let manifest =
            if table { manifest::render(deployment, &inputs) } else { manifest::services(deployment, &inputs) };
        let manifest = manifest.map_err(|e| Stop::Refused(e.advice().after(&format!("{component}: "))))?;
        let kind = if table { "ConfigMap" } else { "Service" };
        let own = manifest.of(Owner::Component(component)).map(|i| i.object.clone());
        Ok(own.filter(|o| o.kind() == kind).collect())
    }

    async fn publish(&mut self, to: u32) -> Result<(), Stop> {
        for object in self.rendered(to, None)? {
            self.apply(&object).await?;
        }
        if self.subject.reach.addresses > 0 {
            for object in self.rendered(to, Some(Vec::new()))? {
                self.apply(&object).await?;
            }
        }
        Ok(())
    }

    async fn apply(&mut self, object: &Object) -> Result<(), Stop> {
        apply_now(&self.shared.cluster, object).await.map_err(|e| Stop::Broken(e.to_string()))?;
        self.writes += 1;
        Ok(())
    }

    async fn addresses(&mut self, from: u32, to: u32, deadline: Instant) -> Result<(), Stop> {
        let component = self.subject.component();
        let balancers = move |world: &World| -> Option<Vec<IpAddr>> {
            (0..to).map(|ordinal| world.balancer_address(&format!("{component}-{ordinal}"))).collect()
        };
        let given = move |world: &World, _: &Subject| Ok(balancers(world));
        let text = format!("waiting for the load balancers' addresses of {component}-{from} and later");
        let given = self.until(deadline, given, &text).await?;
        for object in self.rendered(to, Some(given))? {
            self.apply(&object).await?;
        }
        Ok(())
    }

    /// Removes the Services of pods by ordinal, from `from` up to and without `to`.
    async fn withdraw(&mut self, from: u32, to: u32) -> Result<(), Stop> {
        let services: Api<Service> = self.shared.cluster.api();
        for ordinal in from..to {
            let own = format!("{}-{ordinal}", self.subject.name());
            let names: Vec<String> = with(&self.shared.world, |w| {
                w.snapshot
                    .services
                    .values()
                    .map(ResourceExt::name_any)
                    .filter(|n| *n == own || n.starts_with(&format!("{own}-")))
                    .collect()
            });
            for name in names {
                let broken = |error: kube::Error| Stop::Broken(format!("service/{name}: {}", say(&error)));
                // Labels say nothing of whose it is, and the watch keeps no record of fields.
                let live = services.get_opt(&name).await.map_err(broken)?;
                let Some(live) = live.filter(|s| owner::whose(&s.metadata) == Whose::Ours) else { continue };
                match services.delete(&name, &only(live.metadata.uid)).await {
                    Ok(_) => self.writes += 1,
                    Err(kube::Error::Api(status)) if status.is_not_found() => {}
                    Err(error) => return Err(broken(error)),
                }
            }
        }
        Ok(())
    }

    /// Keeps the disruption budgets of our own workloads as `up` would make them: one where there are two members or
    /// more.
    async fn budgets(&mut self) -> Result<(), Stop> {
        let api: Api<PodDisruptionBudget> = self.shared.cluster.api();
        for workload in self.subject.workloads.clone() {
            let Some(wanted) = with(&self.shared.world, |w| budget(w, &workload)) else { continue };
            let name = &workload.name;
            let outcome = match api.get_opt(name).await {
                Ok(None) if self.subject.to >= 2 => {
                    let params = PatchParams::apply(FIELD_MANAGER);
                    api.patch(name, &params, &Patch::Apply(&wanted)).await.map(|_| true)
                }
                Ok(Some(live)) if self.subject.to < 2 && owner::whose(&live.metadata) == Whose::Ours => {
                    api.delete(name, &only(live.metadata.uid)).await.map(|_| true)
                }
                Ok(_) => Ok(false),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(written) => self.writes += u32::from(written),
                // It scales all the same; the next `up` makes it.
                Err(error) => {
                    let text = format!("skipped: poddisruptionbudget/{name}: {}", say(&error));
                    self.tell(What::Notice { text: text.into() });
                }
            }
        }
        Ok(())
    }
}

fn is_ours<K: kube::Resource>(object: &K) -> bool {
    object.meta().labels.as_ref().and_then(|l| l.get(MANAGED_BY_LABEL)).is_some_and(|m| m == MANAGED_BY)
}

/// The budget that `up` makes for a workload of ours: with the workload's own labels and selector.
fn budget(world: &World, workload: &Workload) -> Option<PodDisruptionBudget> {
    let (ours, labels, selector) = match workload.kind {
        WorkloadKind::Deployment => {
            let object = world.snapshot.deployments.get(&workload.name)?;
            (is_ours(object), object.labels().clone(), object.spec.as_ref()?.selector.clone())
        }
        WorkloadKind::StatefulSet => {
            let object = world.snapshot.stateful_sets.get(&workload.name)?;
            (is_ours(object), object.labels().clone(), object.spec.as_ref()?.selector.clone())
        }
    };
    let metadata = ObjectMeta {
        name: Some(workload.name.clone()),
        labels: Some(labels),
        // As `up` would mark it: it is written only where none stands.
        annotations: Some(BTreeMap::from([(ORIGIN_ANNOTATION.to_owned(), CREATED.to_owned())])),
        ..ObjectMeta::default()
    };
    ours.then(|| manifest::one_at_a_time(metadata, selector))
}

/// Sets a workload's replicas where they are still what was seen. Yields whether something was written.
async fn set_replicas(
    cluster: &Cluster,
    workload: &Workload,
    seen: u32,
    to: u32,
    until: Instant,
) -> Result<bool, Stop> {
    match workload.kind {
        WorkloadKind::Deployment => set(&cluster.api::<DeploymentObject>(), workload, seen, to, until).await,
        WorkloadKind::StatefulSet => set(&cluster.api::<StatefulSet>(), workload, seen, to, until).await,
    }
}

async fn set<K>(api: &Api<K>, workload: &Workload, seen: u32, to: u32, until: Instant) -> Result<bool, Stop>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let name = &workload.name;
    let object = format!("{}/{name}", workload.kind.name().to_lowercase());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let mut pause = Duration::from_millis(50);
    loop {
        let attempt = async {
            let live = api.get_scale(name).await?;
            let count = live.spec.as_ref().and_then(|s| s.replicas).map_or(0, |n| u32::try_from(n).unwrap_or(0));
            if count != seen {
                return Ok(if count == to { Ok(false) } else { Err(count) });
            }
            // Of two who scale at once, the second is told that the object has moved.
            let patch = json!({
                "metadata": {"resourceVersion": live.metadata.resource_version},
                "spec": {"replicas": to},
            });
            api.patch_scale(name, &params, &Patch::Merge(patch)).await.map(|_| Ok(true))
        };
        let error = match timeout(REQUEST, attempt).await {
            Ok(Ok(Ok(written))) => return Ok(written),
            Ok(Ok(Err(count))) => {
                return Err(Stop::Broken(format!(
                    "{object}: somebody else has just set it to {count}; scale it again"
                )));
            }
            Ok(Err(error)) => error,
            Err(_) => return Err(Stop::Broken(format!("{object}: no answer from the API server"))),
        };
        let moved = matches!(&error, kube::Error::Api(s) if s.code == 409);
        if !(moved || is_passing(&error)) || Instant::now() + pause >= until {
            let fix = match &error {
                kube::Error::Api(s) if s.is_forbidden() => {
                    format!("; ask for the right patch {}s/scale", workload.kind.name().to_lowercase())
                }
                _ => String::new(),
            };
            return Err(Stop::Broken(format!("{object}: {}{fix}", say(&error))));
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}
