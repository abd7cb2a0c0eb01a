//! When a run is over, and what it says then.

use std::time::Duration;

use clearwater::event::{CancelReason, Command, EventKind, Evidence, FailureKind, Hop, Outcome, Pending, RunStats};
use clearwater::remedy::{Advice, Permission, Remedy};
use clearwater::text::seconds;
use kube::ResourceExt;

use super::Dispatcher;
use super::open::NamesGate;
use super::unit::{Phase, Stated, Unit};
use crate::observe::volumes::{self, KEEPERS, Keeper, Kept};
use crate::pod::object::pod_name;
use crate::run::{GRACE, cancelled_as, evidence, millis};

/// After the first failure, others have so long to show too.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Dispatcher {
    pub(super) fn ended(&self) -> Option<Outcome> {
        if let Some((reason, _)) = self.cancelled {
            return self.has_stopped().then_some(cancelled_as(reason));
        }
        if self.seen.snapshot.unseen().is_some() {
            return Some(Outcome::CouldNotLook);
        }
        if let Some(at) = self.failed_at {
            let quiet = self.is_quiet() && self.gatherers.is_empty();
            return (quiet && at.elapsed() >= LAST_WORDS).then_some(Outcome::Failed);
        }
        if self.repairs.is_refused() {
            return self.is_quiet().then_some(Outcome::Refused);
        }
        if self.units.iter().any(|u| u.phase != Phase::Serving || u.unsteady) {
            return None;
        }
        // The next look sees that it does not serve.
        if self.is_replacing() && !self.context.options.replace_stores {
            return None;
        }
        if !self.overwritten().is_empty() {
            return Some(Outcome::Failed);
        }
        Some(if self.units.iter().any(|u| u.pending > 0) {
            Outcome::ChangesPending
        } else if self.writing.writes == 0 && self.repairs.begun.is_empty() {
            Outcome::NothingToDo
        } else {
            Outcome::Done
        })
    }

    /// What somebody else has written over since this run wrote it: another run in the same namespace, mostly.
    fn overwritten(&self) -> Vec<String> {
        self.writing.written.over(&self.seen.snapshot)
    }

    /// Whether a cancelled run may end: nothing is being written, or what is on its way has had its time. A change of the
    /// cluster's DNS, which is everybody's, is never left unproved.
    fn has_stopped(&self) -> bool {
        let late = self.cancelled.is_some_and(|(_, at)| at.elapsed() >= GRACE);
        (self.is_quiet() || late) && !self.names.as_ref().is_some_and(NamesGate::is_at_work)
    }

    /// Whether nothing is being written.
    fn is_quiet(&self) -> bool {
        let writing = &self.writing;
        writing.appliers.is_empty() && writing.early.tasks.is_empty() && self.holds.makers.is_empty()
    }

    /// The time is up: every component that does not serve says what kept it.
    pub(super) async fn late(&mut self) {
        self.emitter.emit(EventKind::CancelRequested { reason: CancelReason::Deadline }).await;
        for component in self.units.components() {
            let unit = &self.units[component];
            let awaits_address = unit.phase == Phase::Waiting && unit.stated() == Stated::AwaitingAddress;
            if !matches!(unit.phase, Phase::Applying | Phase::Rolling) && !unit.unsteady && !awaits_address {
                continue;
            }
            let fix = if awaits_address {
                Remedy::any([
                    Remedy::BringUp.after("look whether the cluster has a load balancer controller, then "),
                    "set bono.addresses in the deployment file".into(),
                ])
            } else {
                Remedy::WaitLonger
            };
            let pods = self.seen.snapshot.pods_of(component);
            let events = self.seen.snapshot.events_of(&pods, &unit.part.subject.workload_names());
            let events = evidence::events(events, self.seen.since());
            let report = pods.iter().filter_map(|p| self.seen.reports.get(&p.uid()?)).find(|r| !r.problems.is_empty());
            let object = pods.first().map_or_else(|| format!("workload {component}"), |p| pod_name(p));
            let evidence = Evidence {
                object,
                reason: "Deadline".to_owned(),
                events,
                logs: report.and_then(|r| r.log.clone()).into_iter().collect(),
            };
            let mut causes = vec![format!("not serving after {}", seconds(self.context.options.timeout))];
            // Where the time was up before anything was seen, there is no more to say.
            causes.extend(Some(unit.cause.clone()).filter(|cause| !cause.is_empty()));
            let what = EventKind::Failed {
                component: component.name().to_owned(),
                failure: FailureKind::Deadline,
                causes,
                fix,
                evidence: vec![evidence],
            };
            self.units[component].phase = Phase::Failed;
            self.emitter.emit(what).await;
        }
        for component in self.units.components() {
            if self.units[component].phase == Phase::Waiting {
                let because = match self.units[component].cause.as_str() {
                    "" => "the time was up".to_owned(),
                    cause => format!("the time was up: {cause}"),
                };
                let component = self.units[component].name().to_owned();
                self.emitter.emit(EventKind::Skipped { component, because }).await;
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
            at = unit.opened_by.and_then(|c| self.units.get(c));
        }
        path.reverse();
        path
    }

    /// What people have put there and a pod would take along when it goes.
    async fn tell_what_dies(&mut self) {
        let served = |k: &&Keeper| self.units.iter().any(|u| u.part.subject.entry.component == k.component);
        let kept = KEEPERS.iter().filter(served).filter_map(|k| volumes::of(&self.seen.snapshot, k));
        let dies: Vec<String> = kept.filter(Kept::is_in_pods).map(|k| k.to_string()).collect();
        if !dies.is_empty() {
            let remedy =
                "name a StorageClass in components.COMPONENT.storage of the deployment file before the first start";
            let text = Advice::new(dies.join("; "), remedy);
            self.emitter.emit(EventKind::Notice { text }).await;
        }
    }

    pub(super) async fn end(mut self, outcome: Outcome) {
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
            writes: self.writing.writes,
            pod_connections: self.seen.connections,
        };
        let pending: Vec<Pending> = self
            .units
            .iter()
            .filter(|u| u.pending > 0)
            .map(|u| {
                let component = u.part.subject.entry.component;
                let refused = self.repairs.refusals.get(&component);
                let why = refused.map_or_else(String::new, |r| format!(" ({r})"));
                let command =
                    if refused.is_some() { Remedy::anew([component]) } else { Permission::ReplaceStores.into() };
                let what = format!("{} of its pods still run the old revision or settings{why}", u.pending);
                Pending { component: u.name().to_owned(), what, command }
            })
            .chain(self.repairs.refused())
            .collect();
        let all = self.units.len();
        let serve = serving(stats.serving, all);
        let took = seconds(self.emitter.began().elapsed());
        if matches!(outcome, Outcome::NothingToDo | Outcome::Done | Outcome::ChangesPending) {
            self.tell_what_dies().await;
        }
        let summary: Advice = match outcome {
            Outcome::NothingToDo => format!("nothing to change: {serve} ({took})").into(),
            Outcome::Done | Outcome::ChangesPending => {
                let waiting = if pending.is_empty() { "" } else { "; changes wait" };
                format!("{serve} ({took}){waiting}").into()
            }
            Outcome::NotReady => Advice::new(format!("not ready after {took}: {serve}"), Remedy::GoOn(Command::Up)),
            Outcome::Refused if self.repairs.is_refused() => {
                "refused: what is broken was not repaired, because data would be lost".into()
            }
            Outcome::Refused => "refused: stores' pods were not replaced, because data would be lost".into(),
            Outcome::Failed if stats.failed == 0 && !self.overwritten().is_empty() => Advice::new(
                format!(
                    "failed: somebody else has changed {} since this run wrote it: what stands is not what was asked for",
                    self.overwritten().join(", ")
                ),
                Remedy::GoOn(Command::Up).after("see that nobody else brings this namespace up, then "),
            ),
            Outcome::Failed => format!("failed: {serve}, {} cannot", stats.failed).into(),
            Outcome::CouldNotLook => {
                Advice::new(self.seen.snapshot.unseen().unwrap_or_default(), Remedy::GoOn(Command::Up))
            }
            _ => Advice::new(format!("stopped: {serve}, what was begun stands"), Remedy::GoOn(Command::Up)),
        };
        let summary = match self.still_held().filter(|_| outcome != Outcome::CouldNotLook) {
            Some(held) => Advice { reason: format!("{}; {held}", summary.reason), ..summary },
            None => summary,
        };
        let critical_path = self.critical_path();
        self.emitter.emit(EventKind::RunFinished { outcome, summary, stats, critical_path, pending }).await;
    }
}

/// How many of a run's components serve, as a clause.
fn serving(serving: u32, all: usize) -> String {
    match all {
        1 if serving == 1 => "the component serves".to_owned(),
        1 => "the component does not serve".to_owned(),
        _ => format!("{serving} of {all} components serve"),
    }
}

#[cfg(test)]
mod tests {
    use super::serving;

    #[test]
    fn what_serves_is_a_clause() {
        for (n, all, text) in [
            (11, 11, "11 of 11 components serve"),
            (3, 11, "3 of 11 components serve"),
            (1, 1, "the component serves"),
            (0, 1, "the component does not serve"),
        ] {
            assert_eq!(serving(n, all), text);
        }
    }
}
