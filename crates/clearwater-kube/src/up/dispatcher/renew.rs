//! Pods that were started with other settings than stand now: somebody changed the ConfigMap or a Secret that they are taken
//! from, which changes no template, so that Kubernetes starts nothing anew.

use clearwater::component::{Component, Entry};
use clearwater::event::{Cost, EventKind, Repair};

use super::Dispatcher;
use crate::judge::renewal::kept;
use crate::judge::{Judged, Outdated, Stage, started};
use crate::pod::object::{claims, pod_is_ready};

/// What is told of a pod that runs with other settings. What it keeps goes with it, unless that is on a volume.
fn renewal(entry: &Entry, pod: &Outdated, on_volume: bool) -> Repair {
    let because = format!("it was {}", started([pod]));
    let data = kept(entry);
    let (cost, about) = match (data.is_empty(), on_volume) {
        (true, _) => (Cost::Nothing, String::new()),
        (false, true) => (Cost::Nothing, format!("; {data} are on its volume, which the new pod gets")),
        (false, false) => (Cost::Data, format!("; it holds {data}, which would be lost")),
    };
    Repair {
        component: entry.component.name().to_owned(),
        object: format!("pod/{}", pod.pod),
        action: "replaced by a new pod, which is started with what stands there now".to_owned(),
        because: because + &about,
        cost,
    }
}

impl Dispatcher {
    /// Replaces the next such pod of a component. Yields whether one of its pods is on its way out for
    /// that. Members of stores are replaced where that is asked for.
    pub(super) async fn renew_next(&mut self, component: Component, judged: &Judged) -> bool {
        if component.is_store() || self.cancelled.is_some() || self.failed_at.is_some() {
            return false;
        }
        for pod in &judged.outdated {
            if self.repairs.replaced.contains(&pod.uid) {
                return true;
            }
            let key = (pod.uid.clone(), "renewed".to_owned());
            if !self.repairs.may_be_tried(&key) {
                continue;
            }
            let stands = self.seen.snapshot.pods.get(&pod.uid);
            // One that is ready may go by itself while its workload rolls.
            if judged.stage < Stage::Settling && stands.is_some_and(pod_is_ready) {
                continue;
            }
            let on_volume = stands.is_some_and(|pod| claims(pod).next().is_some());
            let repair = renewal(self.units[component].part.subject.entry, pod, on_volume);
            if !self.is_agreed(component, &pod.uid, &repair).await {
                continue;
            }
            match self.delete_pod(&pod.pod).await {
                Ok(()) => {
                    self.writing.writes += 1;
                    self.repairs.replaced.insert(pod.uid.clone());
                    self.repairs.begun.insert(key, self.seen.now());
                    self.emitter.emit(EventKind::Repaired { repair }).await;
                    return true;
                }
                Err(error) => {
                    if !self.repairs.has_failed(&key) {
                        let text = format!("pod/{}: {error}", pod.pod);
                        self.emitter.emit(EventKind::Notice { text: text.into() }).await;
                    }
                    self.repairs.take((key, true));
                }
            }
        }
        false
    }

    /// Whether a pod that was removed to be made anew is there still.
    pub(super) fn is_replacing(&self) -> bool {
        self.repairs.replaced.iter().any(|uid| self.seen.snapshot.pods.contains_key(uid))
    }
}

#[cfg(test)]
mod tests {
    use clearwater::component::{Release, entry};

    use super::*;

    /// Values may be secret, and what people would miss is not lost without a word.
    #[test]
    fn what_is_told_names_variables_without_values_and_what_would_be_lost() {
        let pod = Outdated {
            uid: "u".to_owned(),
            pod: "x".to_owned(),
            zone: Some("old.svc".to_owned()),
            variables: vec!["ADDITIONAL_SHARED_CONFIG".to_owned(), "ZONE".to_owned()],
            of: ["configmap/env-vars".to_owned()].into(),
        };
        let told = |component, on_volume| renewal(entry(Release::Hunter, component).unwrap(), &pod, on_volume);
        let because =
            "it was started with another value of ADDITIONAL_SHARED_CONFIG, ZONE than configmap/env-vars has now";
        assert_eq!(
            (told(Component::Homer, false).because.as_str(), told(Component::Homer, false).cost),
            (because, Cost::Nothing)
        );
        assert_eq!(told(Component::Bono, false).cost, Cost::Nothing);
        let (lost, kept) = (told(Component::Ellis, false), told(Component::Ellis, true));
        assert!(lost.cost == Cost::Data && lost.because.ends_with("which would be lost"), "{lost:?}");
        assert!(kept.cost == Cost::Nothing && kept.because.ends_with("which the new pod gets"), "{kept:?}");
    }
}
