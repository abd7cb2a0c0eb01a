//! What cannot succeed any more: how it is found, shown, and what it takes along.

use std::collections::BTreeSet;

use clearwater::component::{Asks, Component};
use clearwater::event::{EventKind, Evidence, FailureKind, LogExcerpt};
use clearwater::remedy::{Permission, Remedied, Remedy, StoppedProgram};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::time::Instant;

use super::Dispatcher;
use super::unit::Phase;
use crate::apply::ApplyError;
use crate::judge::failure::{self, Failure};
use crate::observe::MembersSeen;
use crate::observe::finding::Part;
use crate::pod::object::{pod_name, ready_since};
use crate::pod::supervisor::Trouble;
use crate::run::evidence;

/// The margin, in seconds, within which a program that was given up is held to have failed before what it needs was
/// there.
const FATAL_MARGIN: i64 = 3;
/// How long, in seconds, a program that somebody stopped may be on its way back: what restarts it does both.
const STOPPED_FOR: i64 = 30;
/// A program that ended so often since everything it needs serves will do so again, however often supervisord tries it:
/// some are tried twenty times, each a second later than the one before.
const ENDS: usize = 5;

/// How often a program ended since everything it needs was there for a while; `None` where that does not mean yet that it
/// always will.
fn keeps_ending(ends: &BTreeSet<i64>, since: Timestamp) -> Option<usize> {
    let count = ends.range(since.as_second() + FATAL_MARGIN + 1..).count();
    (count >= ENDS).then_some(count)
}

/// A failure and what shows it.
pub(super) struct Gathered {
    pub(super) component: Component,
    pub(super) failure: Failure,
    pub(super) evidence: Vec<Evidence>,
}

/// A list of members that somebody else wrote into: nothing is done with what stands in it, and it stays so.
fn wrong_members(component: Component, seen: &MembersSeen) -> Option<Failure> {
    let MembersSeen::Wrong { key, error } = seen else { return None };
    Some(Failure {
        component,
        kind: FailureKind::Members,
        object: format!("etcd key {key}"),
        container: None,
        reason: "Members".to_owned(),
        causes: vec![format!("{key} in etcd: {error}")],
        fix: error.fix(key).into(),
    })
}

/// A program of a pod that will not run by itself.
fn program_failed(component: Component, pod: &Pod, trouble: &Trouble, text: &str, why: String, fix: Remedy) -> Failure {
    Failure {
        component,
        kind: FailureKind::ProgramFatal,
        object: pod_name(pod),
        container: None,
        reason: trouble.program.clone(),
        causes: vec![format!("{}: {text}", pod_name(pod)), why],
        fix,
    }
}

impl Dispatcher {
    /// Since when, on the API server's clock, everything the component needs serves; `None` while something does not.
    fn needs_served_since(&self, component: Component) -> Option<Timestamp> {
        let mut latest = Timestamp::UNIX_EPOCH;
        for need in &self.units[component].part.needs {
            let Some(unit) = self.units.get(*need) else { continue };
            if unit.phase != Phase::Serving || unit.unsteady {
                return None;
            }
            for pod in self.seen.snapshot.pods_of(*need) {
                latest = ready_since(pod).map_or(latest, |at| latest.max(at));
            }
        }
        Some(latest)
    }

    /// Looks whether a component cannot succeed any more, and begins to gather what shows it.
    pub(super) async fn look_for_failure(&mut self, component: Component) {
        if self.units[component].failing {
            return;
        }
        self.note_ends(component);
        let history = self.repair_unstarted(component).await;
        let needs_served_since = self.needs_served_since(component);
        let mut pods = self.seen.snapshot.pods_of(component);
        pods.retain(|p| p.uid().is_none_or(|uid| !history.contains(&uid)));
        let rollout = self.rollout(component, pods, needs_served_since);
        let failure = failure::judge(&rollout).map(|d| (d, None));
        let pods = &rollout.pods;
        let failure = failure.or_else(|| self.fatal(component, pods, needs_served_since));
        let failure = failure.or_else(|| Some((wrong_members(component, self.seen.members(component)?)?, None)));
        let failure = failure.or_else(|| self.several_name_servers(component, pods));
        let Some((failure, log)) = failure else {
            self.repair_members(component).await;
            self.repair_stuck(component).await;
            self.repair_lookup(component, needs_served_since).await;
            self.repair(component, needs_served_since).await;
            return;
        };
        let events = evidence::events(rollout.events, rollout.since);
        self.units[component].failing = true;
        let cluster = self.context.cluster.clone();
        self.gatherers.spawn(async move {
            let (failure, evidence) = evidence::shown(&cluster, failure, events, log).await;
            Gathered { component, failure, evidence: vec![evidence] }
        });
    }

    /// Takes note of when programs that are not well ended.
    fn note_ends(&mut self, component: Component) {
        for pod in self.seen.snapshot.pods_of(component) {
            let Some(uid) = pod.uid() else { continue };
            let troubles = self.seen.reports.get(&uid).into_iter().flat_map(|r| &r.troubles);
            for (program, at) in troubles.filter_map(|t| Some((&t.program, t.stopped_at?))) {
                self.repairs.ends.entry((uid.clone(), program.clone())).or_default().insert(at);
            }
        }
    }

    fn fatal(
        &self,
        component: Component,
        pods: &[&Pod],
        needs_served_since: Option<Timestamp>,
    ) -> Option<(Failure, Option<LogExcerpt>)> {
        let since = needs_served_since?;
        for pod in pods {
            let uid = pod.uid().unwrap_or_default();
            let Some(report) = self.seen.reports.get(&uid) else { continue };
            for trouble in &report.troubles {
                if let Some(failure) = self.stopped(component, pod, trouble) {
                    return Some((failure, report.log.clone()));
                }
                let ends = self.repairs.ends.get(&(uid.clone(), trouble.program.clone()));
                let ended = ends.and_then(|ends| keeps_ending(ends, since)).filter(|_| !trouble.is_fatal());
                if !trouble.is_fatal() && ended.is_none() {
                    continue;
                }
                let failed = trouble.stopped_at.unwrap_or(i64::MAX);
                let begun = self.repairs.begun.get(&(uid.clone(), trouble.program.clone()));
                let lasting = match begun {
                    Some(at) => failed > at.as_second(),
                    None => failed > since.as_second() + FATAL_MARGIN,
                };
                if lasting || ended.is_some() {
                    let text = match ended {
                        Some(times) => format!("{}, and it ended {times} times in a row", trouble.text),
                        None => trouble.text.clone(),
                    };
                    let after = if begun.is_some() { " again, after it was restarted" } else { "" };
                    let why = format!("everything that {component} needs was serving when it failed");
                    let fix = "see the last lines of the program's log".into();
                    let failure = program_failed(component, pod, trouble, &format!("{text}{after}"), why, fix);
                    return Some((failure, report.log.clone()));
                }
            }
        }
        None
    }

    /// A program that somebody stopped, and did not start again for a while: waiting helps as little as with one that
    /// supervisord has given up. What restarts programs stops them for a moment.
    fn stopped(&self, component: Component, pod: &Pod, trouble: &Trouble) -> Option<Failure> {
        let at = trouble.stopped_at.filter(|_| trouble.is_stopped)?;
        let for_long = self.seen.now().as_second() - at >= STOPPED_FOR;
        for_long.then(|| {
            let why = "supervisord itself stops no program".to_owned();
            let fix = Remedy::StartProgram(Box::new(StoppedProgram {
                namespace: self.context.cluster.namespace.clone(),
                pod: pod.name_any(),
                program: trouble.program.clone(),
            }));
            program_failed(component, pod, trouble, &trouble.text, why, fix)
        })
    }

    /// A pod whose name servers its program cannot read. It read them when it started, and will not again.
    fn several_name_servers(&self, component: Component, pods: &[&Pod]) -> Option<(Failure, Option<LogExcerpt>)> {
        let unit = &self.units[component];
        let asks = |n: usize| unit.part.subject.entry.health.get(n).map(|q| q.asks);
        pods.iter().find_map(|pod| {
            let report = self.seen.reports.get(&pod.uid()?)?;
            let problem = report.problems.iter().find(|p| {
                matches!(p.about, Part::Question(n) if matches!(asks(n), Some(Asks::OneNameServer { .. })))
            })?;
            let failure = Failure {
                component,
                kind: FailureKind::Config,
                object: pod_name(pod),
                container: None,
                reason: "name servers".to_owned(),
                causes: vec![format!("{}: {}", pod_name(pod), problem.text)],
                fix: Remedy::any([
                    Remedy::from(Permission::ReplaceStores).then(format!(
                        " as somebody who may get nodes/proxy, which gives {component} one name server where the kubelets' \
                         clusterDNS has several"
                    )),
                    "give its pods a dnsConfig with one".into(),
                ]),
            };
            Some((failure, None))
        })
    }

    pub(super) async fn fail_for_address(&mut self, component: Component, failure: Failure) {
        let events = self.seen.snapshot.events_of_services(|name| {
            name.strip_prefix(component.name()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        let evidence = Evidence {
            object: failure.object.clone(),
            reason: failure.reason.clone(),
            events: evidence::events(events, self.seen.since()),
            logs: Vec::new(),
        };
        self.fail(component, failure, vec![evidence]).await;
    }

    pub(super) async fn fail_to_apply(&mut self, component: Component, error: &ApplyError) {
        if let ApplyError::Unauthorized { .. } = error {
            self.seen.snapshot.unauthorized = Some(error.to_string());
            return;
        }
        let failure = Failure {
            component,
            kind: if matches!(error, ApplyError::Unreachable(_)) {
                FailureKind::Deadline
            } else {
                FailureKind::Refused
            },
            object: error.object().to_owned(),
            container: None,
            reason: "apply".to_owned(),
            causes: vec![error.to_string()],
            fix: error.remedy().unwrap_or_else(|| "see what the message names".into()),
        };
        self.fail(component, failure, Vec::new()).await;
    }

    pub(super) async fn take_gathered(&mut self, gathered: Gathered) {
        self.fail(gathered.component, gathered.failure, gathered.evidence).await;
    }

    async fn fail(&mut self, component: Component, failure: Failure, evidence: Vec<Evidence>) {
        self.failed_at.get_or_insert_with(Instant::now);
        self.writing.early.stop();
        let unit = &mut self.units[component];
        if unit.phase == Phase::Failed {
            return;
        }
        unit.phase = Phase::Failed;
        let name = unit.name();
        let Failure { kind: failure, causes, fix, .. } = failure;
        let what = EventKind::Failed { component: name.to_owned(), failure, causes, fix, evidence };
        self.emitter.emit(what).await;
        for lost in self.schedule.fail(name) {
            if let Some(unit) = self.units.iter_mut().find(|u| u.name() == &*lost)
                && unit.phase == Phase::Waiting
            {
                unit.phase = Phase::Skipped;
                let because = format!("{name} failed, and it waits for it");
                self.emitter.emit(EventKind::Skipped { component: lost.to_string(), because }).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_at_each_start_has_failed_before_supervisord_says_so() {
        let since = Timestamp::from_second(1000).expect("it is a time");
        // Before everything it needs was there for a while it may well have ended.
        let mut ends: BTreeSet<i64> = (990..=1003).collect();
        assert_eq!(keeps_ending(&ends, since), None);
        ends.extend([1005, 1008, 1012, 1017]);
        assert_eq!(keeps_ending(&ends, since), None);
        ends.insert(1023);
        assert_eq!(keeps_ending(&ends, since), Some(5));
    }
}
