//! Which pods are asked how they are, and which stores' members in etcd.

use clearwater::component::{Component, Entry};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::super::UpOptions;
use super::Dispatcher;
use super::unit::{Phase, Unit};
use crate::judge;
use crate::observe::ask_members::Wish;
use crate::observe::probe::{Target, watch_pod};

/// The task that asks a pod.
pub(super) struct PodTask {
    pub(super) ready: watch::Sender<bool>,
    pub(super) abort: AbortHandle,
    pub(super) component: Component,
}

impl Dispatcher {
    pub(super) fn update_probers(&mut self) {
        if !self.snapshot.is_complete() {
            return;
        }
        let mut alive: Vec<String> = Vec::new();
        for i in 0..self.units.len() {
            let component = self.units[i].part.entry.component;
            let service = self.units[i].part.service.clone();
            let pods: Vec<Pod> = self.snapshot.pods_of(component).into_iter().cloned().collect();
            for pod in pods {
                let uid = pod.uid().unwrap_or_default();
                alive.push(uid.clone());
                let ready = judge::may_be_asked(&self.snapshot, component, service.as_deref(), &pod);
                if let Some(task) = self.probers.get(&uid) {
                    let changed = task.ready.send_if_modified(|r| std::mem::replace(r, ready) != ready);
                    if changed
                        && !ready
                        && let Some(report) = self.reports.get_mut(&uid)
                    {
                        // What it said while it was ready does not hold any more.
                        report.full = false;
                    }
                    continue;
                }
                let Some(target) = target_of(&self.units, &self.options, component, &pod) else { continue };
                let (sender, receiver) = watch::channel(ready);
                let task = watch_pod(self.cluster.clone(), target, receiver, self.looks.clone());
                let abort = self.prober_tasks.spawn(task);
                self.probers.insert(uid, PodTask { ready: sender, abort, component });
            }
        }
        self.probers.retain(|uid, task| {
            let keep = alive.contains(uid);
            if !keep {
                task.abort.abort();
            }
            keep
        });
        self.reports.retain(|uid, _| self.probers.contains_key(uid));
        while self.prober_tasks.try_join_next().is_some() {}
    }

    pub(super) fn update_wish(&mut self) {
        let etcd = self.snapshot.pods_of(Component::Etcd).into_iter().find(|p| crate::judge::rollout::pod_is_ready(p));
        let pod = etcd.and_then(|p| p.metadata.name.clone());
        let keys = self
            .units
            .iter()
            .filter(|u| u.phase != Phase::Serving || u.unsteady)
            .filter_map(|u| Some((u.part.entry.component, u.part.entry.clustering.as_ref()?)))
            .filter(|(component, _)| {
                // A pod that is not ready after a while may wait for a member that does not exist any more.
                self.probers.iter().any(|(uid, task)| {
                    task.component == *component && (*task.ready.borrow() || self.reports.contains_key(uid))
                })
            })
            .map(|(component, clustering)| (component, clustering.store, clustering.etcd_key))
            .collect();
        let ready = self.probers.values().filter(|task| *task.ready.borrow()).count();
        let wish = Wish { pod, keys, ready };
        self.wish.send_if_modified(|w| {
            if *w == wish {
                false
            } else {
                *w = wish;
                true
            }
        });
    }
}

/// How a pod is asked, or `None` while it has no address yet.
pub(super) fn target_of(units: &[Unit], options: &UpOptions, component: Component, pod: &Pod) -> Option<Target> {
    let unit = units.iter().find(|u| u.part.entry.component == component)?;
    Target::of(unit.part.entry, &own_names(options, unit.part.entry), pod)
}

/// The names by which others know the component, where cluster DNS itself gives them. Names in a zone of one's own may
/// be put into DNS after the deployment stands.
fn own_names(options: &UpOptions, entry: &Entry) -> Vec<String> {
    let deployment = &options.deployment;
    let own_zone = format!("{}.svc.{}", deployment.namespace(), deployment.cluster_domain());
    if entry.component == Component::Etcd || deployment.zone() != own_zone {
        return Vec::new();
    }
    let names = deployment.names();
    if entry.component == Component::Sprout && names.sprout() != names.in_zone(Component::Sprout.name()) {
        // Put into DNS as soon as it serves, and proved before Bono is made.
        return Vec::new();
    }
    vec![names.host(entry.component)]
}
