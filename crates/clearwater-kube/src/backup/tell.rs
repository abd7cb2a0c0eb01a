//! What a run tells on its way.

use std::time::Duration;

use clearwater::component::Component;
use clearwater::event::{Command, EventKind};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::run::{Emitter, millis};

/// How often a count is told.
const EVERY: Duration = Duration::from_millis(500);

/// The first event.
pub(super) fn begun(command: Command, cluster: &Cluster) -> EventKind {
    EventKind::RunStarted {
        command,
        namespace: cluster.namespace.clone(),
        order: "by registration set".to_owned(),
        components: Vec::new(),
    }
}

/// So many public identities.
pub(super) fn identities(count: usize) -> String {
    if count == 1 { "1 public identity".to_owned() } else { format!("{count} public identities") }
}

/// Tells how far it is, now and then.
pub(super) struct Teller<'e> {
    pub(super) emitter: &'e mut Emitter,
    told: Instant,
}

impl<'e> Teller<'e> {
    pub(super) fn new(emitter: &'e mut Emitter) -> Self {
        Self { emitter, told: Instant::now() }
    }

    pub(super) async fn notice(&mut self, text: String) {
        self.emitter.emit(EventKind::Notice { text: text.into() }).await;
    }

    /// So many of all.
    pub(super) async fn count(&mut self, component: Component, what: &str, done: usize, all: usize) {
        if self.told.elapsed() < EVERY && done < all {
            return;
        }
        self.told = Instant::now();
        let (took, cause) = (millis(self.emitter.began().elapsed()), format!("{what}: {done} of {all}"));
        self.emitter.emit(EventKind::Progress { component: component.name().to_owned(), took, cause }).await;
    }
}
