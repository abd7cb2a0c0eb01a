//! How a run ends, and what it says then.

use clearwater::event::{CancelReason, Command, Outcome, RunStats, What};
use clearwater::remedy::{Advice, Remedy};
use clearwater::scale::Plan;

use super::carry::{Carried, Stop};
use super::{End, Scaling, look};
use crate::judge::failure::Doom;
use crate::observe::evidence;
use crate::run::Emitter;

impl Scaling {
    /// What the components' ends make together.
    pub(super) async fn end(&self, ended: Vec<Carried>, emitter: &mut Emitter, stats: &mut RunStats) -> End {
        let reason = *self.cancel.borrow();
        let mut worst = Outcome::Done;
        let rank = |o: &Outcome| match o {
            Outcome::Failed => 4,
            Outcome::Refused => 3,
            Outcome::NotReady => 2,
            Outcome::Cancelled => 1,
            _ => 0,
        };
        let mut said: Vec<Advice> = Vec::new();
        for carried in ended {
            stats.writes += carried.writes;
            let name = carried.component.name().to_owned();
            let Some(stop) = carried.stop else {
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
                Stop::Broken(text) => {
                    said.push(text.into());
                    Outcome::Failed
                }
                Stop::Cancelled if reason == Some(CancelReason::Deadline) => {
                    said.push(format!("{name}: the time was up").into());
                    Outcome::NotReady
                }
                Stop::Cancelled => Outcome::Cancelled,
                Stop::Doomed(doom) => {
                    let subject = self.subjects.iter().find(|s| s.component() == carried.component);
                    let told = subject
                        .map(|s| look(&self.world, |w| w.scene(s, |scene| evidence::events(scene.events.to_vec()))));
                    let (doom, evidence) =
                        evidence::gather(self.shared.cluster.clone(), *doom, told.unwrap_or_default(), None).await;
                    said.push(format!("{name}: {}", doom.causes.first().cloned().unwrap_or_default()).into());
                    let Doom { kind: failure, causes, fix, .. } = doom;
                    let what = What::Failed { component: name, failure, causes, fix, evidence };
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
        stats.pod_connections = look(&self.world, |w| w.connections);
        let seconds = emitter.began().elapsed().as_secs_f32();
        let all: Vec<String> = self
            .subjects
            .iter()
            .zip(&self.plans)
            .map(|(s, p)| {
                if p.from == s.to {
                    format!("{} {}", s.name(), s.to)
                } else {
                    format!("{} {} → {}", s.name(), p.from, s.to)
                }
            })
            .collect();
        let all = all.join(", ");
        match worst {
            Outcome::Done if self.plans.iter().all(Plan::is_empty) && stats.writes == 0 => {
                (Outcome::NothingToDo, format!("nothing to do: {all} ({seconds:.1} s)").into())
            }
            Outcome::Done => (Outcome::Done, format!("scaled: {all} ({seconds:.1} s)").into()),
            Outcome::Cancelled => {
                (worst, Advice::new("stopped; what was begun goes on by itself", Remedy::GoOn(Command::Scale)))
            }
            Outcome::NotReady => (worst, Advice::new(Advice::lines(said).to_string(), Remedy::GoOn(Command::Scale))),
            other => (other, Advice::lines(said)),
        }
    }
}
