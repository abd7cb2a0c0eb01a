//! How a run ends, and what it says then.

use clearwater::event::{CancelReason, Command, EventKind, Outcome, RunStats};
use clearwater::remedy::{Advice, Remedy};
use clearwater::scale::ScalePlan;
use clearwater::text::seconds;

use super::execute::{Executed, Stop};
use super::watch::look;
use super::{End, Scaling};
use crate::judge::failure::Failure;
use crate::run::{Emitter, cancelled_as, evidence};

impl Scaling {
    /// What the components' ends make together.
    pub(super) async fn end(&self, ended: Vec<Executed>, emitter: &mut Emitter, stats: &mut RunStats) -> End {
        let reason = *self.cancel.borrow();
        let mut worst = Outcome::Done;
        let rank = |o: &Outcome| match o {
            Outcome::CouldNotLook => 5,
            Outcome::Failed => 4,
            Outcome::Refused => 3,
            Outcome::NotReady => 2,
            Outcome::Cancelled => 1,
            _ => 0,
        };
        let mut said: Vec<Advice> = Vec::new();
        for executed in ended {
            stats.writes += executed.writes;
            let name = executed.component.name().to_owned();
            let Some(stop) = executed.stop else {
                stats.serving += 1;
                continue;
            };
            let outcome = match stop {
                Stop::Refused(advice) => {
                    said.push(advice);
                    Outcome::Refused
                }
                Stop::Late(text) => {
                    said.push(text.into());
                    Outcome::NotReady
                }
                Stop::Unseen(why) => {
                    said.push(why);
                    Outcome::CouldNotLook
                }
                Stop::Broken(advice) => {
                    said.push(advice);
                    Outcome::Failed
                }
                Stop::Cancelled if reason == Some(CancelReason::Deadline) => {
                    let left = executed.step.map_or_else(String::new, |step| format!(" with this to do: {step}"));
                    said.push(format!("{name}: the time was up{left}").into());
                    Outcome::NotReady
                }
                Stop::Cancelled => reason.map_or(Outcome::Cancelled, cancelled_as),
                Stop::Failing(failure) => {
                    let target = self.targets.iter().find(|t| t.component() == executed.component);
                    let events = target
                        .map(|t| {
                            look(&self.context.seen, |seen| evidence::events(t.rollout(seen).events, seen.since()))
                        })
                        .unwrap_or_default();
                    let (failure, evidence) = evidence::shown(&self.context.cluster, *failure, events, None).await;
                    said.push(format!("{name}: {}", failure.causes.first().cloned().unwrap_or_default()).into());
                    let Failure { kind: failure, causes, fix, .. } = failure;
                    let what = EventKind::Failed { component: name, failure, causes, fix, evidence: vec![evidence] };
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
        let took = seconds(emitter.began().elapsed());
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
            Outcome::Done if self.plans.iter().all(ScalePlan::is_empty) && stats.writes == 0 => {
                (Outcome::NothingToDo, format!("nothing to do: {all} ({took})").into())
            }
            Outcome::Done => (Outcome::Done, format!("scaled: {all} ({took})").into()),
            Outcome::Cancelled => {
                (worst, Advice::new("stopped; what was begun goes on by itself", Remedy::GoOn(Command::Scale)))
            }
            Outcome::NotReady | Outcome::CouldNotLook => {
                (worst, Advice::new(Advice::lines(said).to_string(), Remedy::GoOn(Command::Scale)))
            }
            other => (other, Advice::lines(said)),
        }
    }
}
