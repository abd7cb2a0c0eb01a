//! Keeps what is observed up to date for all that scale, and tells when a store's members change.

use std::sync::{Arc, Mutex, PoisonError};

use clearwater::event::EventKind;
use tokio::sync::{mpsc, watch};

use super::target::ScaleTarget;
use crate::observe::Observation;
use crate::observe::observer::{Held, Observer, Wanted};

/// What all who scale look at.
pub(super) type Shared = Arc<Mutex<Observation>>;

/// Looks at what is seen now.
pub(super) fn look<T>(seen: &Mutex<Observation>, look: impl FnOnce(&mut Observation) -> T) -> T {
    look(&mut seen.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Takes in what is observed until it is dropped. `bump` changes after each piece of news.
pub(super) async fn keep(
    mut observer: Observer,
    seen: Shared,
    targets: Vec<ScaleTarget>,
    bump: watch::Sender<u64>,
    out: mpsc::UnboundedSender<EventKind>,
) {
    let wanted: Vec<Wanted<'_>> =
        targets.iter().map(|t| Wanted { subject: &t.subject, members: true, held: Held::Never }).collect();
    loop {
        look(&seen, |seen| observer.ask(seen, &wanted));
        let Some(news) = observer.next().await else { return };
        let changed = look(&seen, |seen| {
            let (component, members) = seen.take(news)?;
            let violation = members.check(&seen.orphans(component)).err().map(|v| v.to_string());
            Some((component, members, violation))
        });
        if let Some((component, members, violation)) = changed {
            let members = members.iter().map(|(address, state)| (address.to_string(), state.name().to_owned()));
            let members = members.collect();
            let _ = out.send(EventKind::MembersChanged { component: component.name().to_owned(), members, violation });
        }
        bump.send_modify(|n| *n = n.wrapping_add(1));
    }
}
