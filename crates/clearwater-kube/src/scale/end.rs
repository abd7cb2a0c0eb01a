//! How a run ends, and what it says then.

use clearwater::event::{CancelReason, Outcome, RunStats, What};
use clearwater::scale::Plan;

use super::execute::{Executed, Stop};
use super::watch::look;
use super::{End, Scaling};
use crate::observe::evidence;
use crate::run::Emitter;

impl Scaling {
    /// What the components' ends make together.
    pub(super) async fn end(&self, ended: Vec<Executed>, emitter: &mut Emitter, stats: &mut RunStats) -> End {
        let reason = *self.cancel.borrow();
        let mut worst = Outcome::Done;
        let rank = |o: &Outcome| match o {
            Outcome::Failed => 4,
            Outcome::Refused => 3,
            Outcome::NotReady => 2,
            Outcome::Cancelled => 1,
            _ => 0,
        };
        let mut said = Vec::new();
        for executed in ended {
            stats.writes += executed.writes;
            let name = executed.component.name().to_owned();
            let Some(stop) = executed.stop else {
                stats.serving += 1;
                continue;
            };
            let outcome = match stop {
                Stop::Refused(text) => {
                    said.push(text);
                    Outcome::Refused
                }
                Stop::Late(text) => {
                    said.push(text);
                    Outcome::NotReady
                }
                Stop::Broken(text) => {
                    said.push(text);
                    Outcome::Failed
                }
                Stop::Cancelled if reason == Some(CancelReason::Deadline) => {
                    said.push(format!("{name}: the time was up"));
                    Outcome::NotReady
                }
                Stop::Cancelled => Outcome::Cancelled,
                Stop::Doomed(doom) => {
                    let target = self.targets.iter().find(|t| t.component() == executed.component);
                    let events = target
                        .map(|t| look(&self.context.seen, |seen| evidence::events(t.scene(seen).events)))
                        .unwrap_or_default();
                    let (object, reason, container) =
                        (doom.object.clone(), doom.reason.clone(), doom.telling_container());
                    let gathering = evidence::gather(&self.context.cluster, object, reason, container, events, None);
                    let evidence = gathering.await;
                    let doom = doom.told_by(&evidence);
                    let fix = doom.fix.replace("NAME", &name);
                    said.push(format!("{name}: {}", doom.causes.first().cloned().unwrap_or_default()));
                    let what = What::Failed {
                        component: name,
                        failure: doom.kind,
                        causes: doom.causes,
                        fix,
                        evidence: vec![evidence],
                    };
                    emitter.emit(what).await;
                    Outcome::Failed
                }
            };
            match outcome {
                Outcome::Failed => stats.failed += 1,
                _ => stats.unfinished += 1,
            }
            if rank(&outcome) > rank(&worst) {
                worst = outcome;
            }
        }
        stats.pod_connections = look(&self.context.seen, |seen| seen.connections);
        let seconds = emitter.began().elapsed().as_secs_f32();
        let all: Vec<String> = self
            .targets
            .iter()
            .zip(&self.plans)
            .map(|(t, p)| {
                if p.from == t.to {
                    format!("{} {}", t.name(), t.to)
                } else {
                    format!("{} {} → {}", t.name(), p.from, t.to)
                }
            })
            .collect();
        let all = all.join(", ");
        match worst {
            Outcome::Done if self.plans.iter().all(Plan::is_empty) && stats.writes == 0 => {
                (Outcome::NothingToDo, format!("nothing to do: {all} ({seconds:.1} s)"))
            }
            Outcome::Done => (Outcome::Done, format!("scaled: {all} ({seconds:.1} s)")),
            Outcome::Cancelled => (
                worst,
                "stopped; what was begun goes on by itself, and running the same scale again sees to the rest"
                    .to_owned(),
            ),
            Outcome::NotReady => (worst, format!("{}; run the same scale again to go on", said.join("\n"))),
            other => (other, said.join("\n")),
        }
    }
}
