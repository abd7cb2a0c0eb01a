//! What a component has beside its workloads (Services, `ConfigMaps`, budgets), written while it waits: no pod comes of
//! it, and when the gates open one request is left to be made.

use std::sync::Arc;

use clearwater::component::Component;
use clearwater::event::Operation;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Applied;
use crate::apply::Planned;
use crate::cluster::Cluster;

/// How many components' objects are written at once; those that come first in the order first.
const AT_ONCE: usize = 4;

/// The work that is under way.
pub(super) struct Early {
    pub(super) tasks: JoinSet<Applied>,
    stop: CancellationToken,
}

impl Early {
    /// Begins to write.
    pub(super) fn begin(
        cluster: &Cluster,
        objects: Vec<(Component, Vec<Planned>)>,
        force: bool,
        until: Instant,
    ) -> Self {
        let mut early = Self { tasks: JoinSet::new(), stop: CancellationToken::new() };
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        for (component, planned) in objects {
            let (cluster, turns, stop) = (cluster.clone(), turns.clone(), early.stop.clone());
            early.tasks.spawn(async move {
                let mut applied = Applied::of(component);
                // Nobody closes it.
                let _turn = turns.acquire().await;
                for planned in planned {
                    if stop.is_cancelled() || !applied.write(&cluster, &planned, force, until).await {
                        break;
                    }
                }
                applied
            });
        }
        early
    }

    /// Nothing more is begun.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

/// Parts a component's objects into what can be written early and what makes pods.
pub(super) fn part(planned: Vec<Planned>) -> (Vec<Planned>, Vec<Planned>) {
    planned.into_iter().partition(|p| p.item.object.replicas().is_none())
}

/// How many of these are to be written.
pub(super) fn to_write(planned: &[Planned]) -> usize {
    planned.iter().filter(|p| p.operation != Operation::Keep).count()
}
