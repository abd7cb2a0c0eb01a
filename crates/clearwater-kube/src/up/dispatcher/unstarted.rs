//! Pods that never ran and are of an older revision: what they wait for, a wrong image say, may have been corrected since.
//! A StatefulSet's controller leaves them as they are for ever, with `OnDelete` and, where an older pod must be ready
//! first, with `RollingUpdate` too.

use std::collections::BTreeSet;

use clearwater::component::Component;
use clearwater::event::{Cost, EventKind, Repair};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};

use super::Dispatcher;
use crate::judge::rollout::{Revision, revision};
use crate::pod::object::{never_ran, pod_name};
use crate::run::{GRACE, unless_cancelled};

impl Dispatcher {
    /// Replaces such pods of a component, all at once, because nothing is in them. Yields those that say nothing about the
    /// component as it is wanted now, by uid.
    pub(super) async fn repair_unstarted(&mut self, component: Component) -> BTreeSet<String> {
        let mut history = BTreeSet::new();
        let mut older: Vec<Pod> = Vec::new();
        for pod in self.seen.snapshot.pods_of(component).into_iter().filter(|p| never_ran(p)) {
            match self.revision_of(component, pod) {
                Some(Revision::Older) => older.push(pod.clone()),
                Some(Revision::Unknown) => {
                    history.insert(pod.uid().unwrap_or_default());
                }
                Some(Revision::Latest) | None => {}
            }
        }
        for pod in older {
            let uid = pod.uid().unwrap_or_default();
            let key = (uid.clone(), "unstarted".to_owned());
            if !self.repairs.replaced.contains(&uid) && self.cancelled.is_none() && self.repairs.may_be_tried(&key) {
                self.replace_unstarted(component, &pod, key).await;
            }
            // Where it may not be removed, what it waits for is all there is to say.
            if self.repairs.replaced.contains(&uid) {
                history.insert(uid);
            }
        }
        history
    }

    fn revision_of(&self, component: Component, pod: &Pod) -> Option<Revision> {
        let mut sets = self.units[component]
            .part
            .subject
            .workloads
            .iter()
            .filter_map(|w| self.seen.snapshot.stateful_sets.get(&w.name));
        sets.find_map(|set| revision(set, self.seen.generations.get(&set.name_any()).copied(), pod))
    }

    async fn replace_unstarted(&mut self, component: Component, pod: &Pod, key: (String, String)) {
        let (uid, name) = (key.0.clone(), pod.name_any());
        // Whatever happened to it since it was seen, its container's first start too, is a reason to look again.
        let preconditions = Preconditions { uid: pod.uid(), resource_version: pod.resource_version() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let api: kube::Api<Pod> = self.context.cluster.api();
        let deleted = unless_cancelled(&self.context.cancel, GRACE, api.delete(&name, &params)).await;
        // What is not known when the run ends is seen by the next.
        let Ok(deleted) = deleted else { return };
        match deleted {
            Ok(_) => {
                let repair = Repair {
                    component: self.units[component].name().to_owned(),
                    object: pod_name(pod),
                    action: "replaced by one of the new revision".to_owned(),
                    because: "it is of an older revision and never ran, so nothing is in it".to_owned(),
                    cost: Cost::Nothing,
                };
                self.writing.writes += 1;
                self.repairs.replaced.insert(uid);
                self.repairs.begun.insert(key, self.seen.now());
                self.emitter.emit(EventKind::Repaired { repair }).await;
            }
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(error) => {
                if !self.repairs.has_failed(&key) {
                    let text = format!("{}: {}", pod_name(pod), crate::cluster::say(&error));
                    self.emitter.emit(EventKind::Notice { text: text.into() }).await;
                }
                self.repairs.take((key, true));
            }
        }
    }
}
