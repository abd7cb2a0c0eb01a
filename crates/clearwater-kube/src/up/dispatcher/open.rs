//! When a component is begun, what it waits for until then, and how its objects are written.

use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::event::{Awaited, EventKind};
use clearwater::manifest::{Balanced, Inputs};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::address::{Addresses, addresses};
use super::unit::{Applied, Hold, Phase, Stated};
use super::{Dispatcher, early};
use crate::apply::ApplyError;
use crate::apply::prepare::plan_late;
use crate::cluster::Cluster;
use crate::dns::Gate;
use crate::observe::snapshot::Kind;

/// etcd's pod may be without an address for so long before the others are no longer held back for it.
const NAME_PATIENCE: Duration = Duration::from_secs(10);

/// A component whose objects can be planned only when its load balancers have given their addresses.
pub(super) struct Late {
    pub(super) component: Component,
    pub(super) inputs: Inputs,
    pub(super) balanced: Vec<Balanced>,
    /// Since when its Services stand.
    pub(super) since: Instant,
    pub(super) addresses: Vec<IpAddr>,
}

/// The names that Bono asks for, put into DNS while the others come up.
pub(super) struct NamesGate {
    pub(super) gate: Gate,
    /// The work that is under way.
    pub(super) early: Option<JoinHandle<Result<(), ApplyError>>>,
    /// The same, whoever waits for its end.
    under_way: Option<AbortHandle>,
    pub(super) say: mpsc::UnboundedSender<String>,
    pub(super) said: mpsc::UnboundedReceiver<String>,
    pub(super) cancel: CancellationToken,
}

impl NamesGate {
    pub(super) fn begin(gate: Gate, cluster: &Cluster) -> Self {
        let (say, said) = mpsc::unbounded_channel();
        let mut names = Self { gate, early: None, under_way: None, say, said, cancel: CancellationToken::new() };
        if names.gate.is_early() {
            names.early = Some(names.spawn(cluster));
        }
        names
    }

    fn spawn(&mut self, cluster: &Cluster) -> JoinHandle<Result<(), ApplyError>> {
        let (gate, cluster, say, cancel) = (self.gate.clone(), cluster.clone(), self.say.clone(), self.cancel.clone());
        let work = tokio::spawn(async move { Box::pin(gate.open(&cluster, &say, &cancel)).await });
        self.under_way = Some(work.abort_handle());
        work
    }

    /// Whether something is being put in, proved or taken back.
    pub(super) fn is_at_work(&self) -> bool {
        self.under_way.as_ref().is_some_and(|work| !work.is_finished())
    }

    /// What Bono waits for.
    fn work(&mut self, cluster: &Cluster) -> JoinHandle<Result<(), ApplyError>> {
        match self.early.take() {
            Some(work) => work,
            None => self.spawn(cluster),
        }
    }
}

impl Dispatcher {
    pub(super) async fn open_or_wait(&mut self, component: Component) {
        let name = self.units[component].name();
        let address = self.awaited_addresses(component);
        if let Some(Addresses::Failing(failure)) = address {
            self.fail_for_address(component, failure).await;
            return;
        }
        let waiting = self.schedule.waiting_for(name);
        if waiting.is_empty() {
            match address {
                Some(Addresses::Awaited(cause)) => {
                    return self.tell_waiting(component, Stated::AwaitingAddress, cause).await;
                }
                Some(Addresses::Known(all)) => {
                    if let Some(late) = &mut self.late {
                        late.addresses = all;
                    }
                }
                _ => {}
            }
            if let Some(cause) = self.awaited_name(component) {
                if self.seen.snapshot.is_complete() {
                    self.tell_waiting(component, Stated::AwaitingName, cause).await;
                }
                return;
            }
            if !self.may_pull(component) {
                let cause = "images that are needed sooner are pulled first".to_owned();
                return self.tell_waiting(component, Stated::AwaitingPulls, cause).await;
            }
            let unit = &self.units[component];
            let is_making = unit.hold == Hold::Making;
            if self.cancelled.is_none() && self.failed_at.is_none() && unit.early.is_some() && !is_making {
                self.open(component).await;
            }
            return;
        }
        self.make_early(component);
        let held = self.held_so_far(component);
        if held.is_some() {
            self.tell_unheld(component).await;
        }
        if self.units[component].hold == Hold::Held {
            self.look_for_failure(component).await;
        }
        let awaited: Vec<Awaited> = waiting
            .iter()
            .filter_map(|w| self.units.iter().find(|u| u.name() == &**w))
            .map(|u| Awaited { component: u.name().to_owned(), state: u.phrase() })
            .collect();
        let cause = awaited.first().map(|a| format!("{} {}", a.component, a.state)).unwrap_or_default();
        let names: Vec<&str> = awaited.iter().map(|a| a.component.as_str()).collect();
        // The gates' own lines tell their causes; this one only changes when a gate opens, or its own pods get on.
        let key = format!("{} {}", names.join(" "), held.as_deref().unwrap_or_default());
        let unit = &mut self.units[component];
        unit.cause.clone_from(&cause);
        if unit.has_stated(Stated::Waiting, &key) {
            return;
        }
        unit.state(Stated::Waiting, key);
        self.emitter.emit(EventKind::Waiting { component: name.to_owned(), awaited, cause, held }).await;
    }

    /// How far the addresses are that a component's objects name; `None` where they name none.
    fn awaited_addresses(&self, component: Component) -> Option<Addresses> {
        let late = self.late.as_ref().filter(|l| l.component == self.units[component].part.subject.entry.component)?;
        if !self.seen.snapshot.is_complete() {
            return Some(Addresses::Awaited("its Services are being looked at".to_owned()));
        }
        let events = self
            .seen
            .snapshot
            .events_of_services(|name| late.balanced.iter().any(|b| b.services.iter().any(|s| s == name)));
        Some(addresses(&late.balanced, &self.seen.snapshot.services, &events, late.since.elapsed()))
    }

    /// Why a component that needs nothing to start is not started yet all the same.
    ///
    /// Every container asks for etcd's name as soon as it runs. Asked before etcd's pod has an address, the cluster's DNS
    /// remembers for some seconds that there is no such name, and whoever needs etcd stands still for longer than that.
    fn awaited_name(&self, component: Component) -> Option<String> {
        let asks = !self.units[component].part.subject.entry.programs.is_empty();
        let etcd = self.units.get(Component::Etcd).filter(|_| asks)?;
        let comes = matches!(etcd.phase, Phase::Waiting | Phase::Applying | Phase::Rolling);
        let in_time = etcd.opened.is_none_or(|at| at.elapsed() < NAME_PATIENCE);
        if !comes || !in_time || self.seen.snapshot.denied.contains(&Kind::EndpointSlice) {
            return None;
        }
        (!self.etcd_has_address())
            .then(|| "etcd has no address yet, and its name would be remembered as missing".to_owned())
    }

    async fn tell_waiting(&mut self, component: Component, stated: Stated, cause: String) {
        let unit = &mut self.units[component];
        unit.cause.clone_from(&cause);
        if unit.has_stated(stated, &cause) {
            return;
        }
        unit.state(stated, cause.clone());
        let component = unit.name().to_owned();
        self.emitter.emit(EventKind::Waiting { component, awaited: Vec::new(), cause, held: None }).await;
    }

    async fn open(&mut self, component: Component) {
        let name = self.units[component].name();
        let gates: Vec<String> = self.schedule.plan().gates(name).map(str::to_owned).collect();
        let opened_by = self
            .units
            .iter()
            .filter(|u| gates.iter().any(|g| g == u.name()))
            .max_by_key(|u| u.serving)
            .map(|u| u.part.subject.entry.component);
        let until = self.context.until;
        let force = self.context.options.force_conflicts;
        let unit = &mut self.units[component];
        let now = Instant::now();
        unit.opened = Some(now);
        unit.opened_by = opened_by;
        let to_write = early::to_write(&unit.planned);
        let hold = std::mem::replace(&mut unit.hold, Hold::No);
        let names = self.names.as_mut().filter(|_| component == Component::Bono).map(|n| n.work(&self.context.cluster));
        let is_late = self.late.as_ref().is_some_and(|l| l.component == component);
        if to_write == 0 && !is_late && names.is_none() && hold == Hold::No {
            let kept = u32::try_from(unit.planned.len()).unwrap_or(u32::MAX);
            return self.applied(component, &Applied { kept, ..Applied::of(component) }).await;
        }
        unit.phase = Phase::Applying;
        let planned = std::mem::take(&mut unit.planned);
        let holds = (hold != Hold::No).then(|| self.holds.map.clone());
        let made = unit.made.as_ref().map_or(0, |made| made.created + made.changed);
        if hold == Hold::Held {
            // Names that it asks for are put in first.
            unit.hold = if names.is_some() { Hold::Making } else { Hold::LetGo };
        }
        let cluster = self.context.cluster.clone();
        let late = self.late.as_ref().filter(|l| l.component == component).map(|late| {
            let inputs = Inputs { bono_addresses: late.addresses.clone(), ..late.inputs.clone() };
            (self.context.options.deployment.clone(), inputs)
        });
        self.writing.appliers.spawn(async move {
            let mut applied = Applied::of(component);
            if let Some(names) = names
                && let Ok(Err(error)) = names.await
            {
                applied.error = Some(error);
                return applied;
            }
            if let Some(holds) = holds
                && let Err(error) = holds.let_go(component, until).await
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
            applied.write_all(&cluster, &planned, force, until).await;
            applied
        });
        let objects = made + u32::try_from(to_write).unwrap_or(u32::MAX);
        self.emitter.emit(EventKind::Applying { component: name.to_owned(), objects }).await;
    }
}
