//! What a run knows of one component.

use clearwater::component::Component;
use clearwater::event::{Durations, Operation};
use tokio::time::Instant;

use crate::apply::prepare::Part;
use crate::apply::{self, ApplyError, Planned};
use crate::cluster::Cluster;
use crate::run::millis;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Waiting,
    Applying,
    Rolling,
    Serving,
    Failed,
    Skipped,
}

pub(super) struct Unit {
    pub(super) part: Part,
    /// What is written when the gates open.
    pub(super) planned: Vec<Planned>,
    /// What was written before; `None` while that is under way.
    pub(super) early: Option<Applied>,
    pub(super) phase: Phase,
    /// Whether it served and does not any more.
    pub(super) unsteady: bool,
    pub(super) opened: Option<Instant>,
    pub(super) opened_by: Option<Component>,
    pub(super) applied: Option<Instant>,
    pub(super) pulled: Option<Instant>,
    pub(super) ready: Option<Instant>,
    pub(super) serving: Option<Instant>,
    pub(super) pending: u32,
    /// What was told last: the stage, its cause, and when.
    pub(super) said: (Told, String, Instant),
    pub(super) cause: String,
    /// A failure whose evidence is being gathered.
    pub(super) doomed: bool,
}

/// What the events told of a component last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// It waits for other components.
    Waiting,
    /// It waits for something that is no component.
    WaitingFor(Awaits),
    Pulling,
    Starting,
    Settling,
    Serving,
}

/// What a component waits for that is no component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    /// Addresses from load balancers.
    Address,
    /// The address that etcd's name leads to.
    Name,
}

impl Unit {
    /// A component that nothing was done for yet.
    pub(super) fn new(part: Part, planned: Vec<Planned>, early: Option<Applied>, began: Instant) -> Self {
        Self {
            part,
            planned,
            early,
            phase: Phase::Waiting,
            unsteady: false,
            opened: None,
            opened_by: None,
            applied: None,
            pulled: None,
            ready: None,
            serving: None,
            pending: 0,
            said: (Told::Nothing, String::new(), began),
            cause: String::new(),
            doomed: false,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.part.entry.component.name()
    }

    pub(super) fn durations(&self, began: Instant) -> Durations {
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

    /// The state as another component's line tells it.
    pub(super) fn state(&self) -> String {
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

/// What was written for a component.
pub(super) struct Applied {
    pub(super) component: Component,
    pub(super) created: u32,
    pub(super) changed: u32,
    pub(super) kept: u32,
    /// The generation of each workload that was written.
    pub(super) generations: Vec<(String, i64)>,
    pub(super) error: Option<ApplyError>,
}

impl Applied {
    pub(super) fn of(component: Component) -> Self {
        Self { component, created: 0, changed: 0, kept: 0, generations: Vec::new(), error: None }
    }

    /// Writes an object. Yields whether more may be written.
    pub(super) async fn write(&mut self, cluster: &Cluster, planned: &Planned, force: bool, until: Instant) -> bool {
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
