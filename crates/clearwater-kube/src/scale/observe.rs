use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use clearwater::component::Component;
use clearwater::dns::Names;
use clearwater::event::What;
use kube::ResourceExt;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::world::{Subject, World};
use crate::cluster::Cluster;
use crate::judge;
use crate::judge::rollout::pod_is_ready;
use crate::observe::list::{self, ListNews};
use crate::observe::probe::{Look, Target, watch_pod};
use crate::observe::snapshot::News;

/// What keeps the world up to date.
pub(super) struct Observer {
    pub(super) cluster: Cluster,
    pub(super) world: Arc<Mutex<World>>,
    pub(super) subjects: Vec<Subject>,
    pub(super) names: Names,
    pub(super) news: mpsc::Receiver<News>,
    pub(super) bump: watch::Sender<u64>,
    pub(super) out: mpsc::UnboundedSender<What>,
}

struct Asked {
    ready: watch::Sender<bool>,
    abort: AbortHandle,
}

/// Takes in what watches, pods and etcd say, until it is dropped.
pub(super) async fn observe(mut observer: Observer) {
    let (looks, mut looks_in) = mpsc::channel(64);
    let (lists, mut lists_in) = mpsc::channel(64);
    let (etcd, etcd_pod) = watch::channel(None);
    let mut tasks = JoinSet::new();
    for subject in &observer.subjects {
        if let Some(clustering) = &subject.entry.clustering {
            let (cluster, component) = (observer.cluster.clone(), subject.component());
            tasks.spawn(list::follow(cluster, component, clustering.etcd_key, etcd_pod.clone(), lists.clone()));
        }
    }
    let mut asked: BTreeMap<String, Asked> = BTreeMap::new();
    loop {
        observer.refresh(&mut asked, &mut tasks, &looks, &etcd);
        tokio::select! {
            news = observer.news.recv() => match news {
                Some(news) => observer.with(|w| w.absorb(news)),
                None => return,
            },
            Some(Look { report, connections, .. }) = looks_in.recv() => observer.with(|w| {
                w.connections += connections;
                w.reports.insert(report.uid.clone(), report);
            }),
            Some(ListNews { component, seen }) = lists_in.recv() => observer.take_list(component, seen),
        }
        observer.bump.send_modify(|n| *n = n.wrapping_add(1));
    }
}

impl Observer {
    fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_list(&self, component: Component, seen: list::Seen) {
        let changed = self.with(|w| {
            let members = w.take_list(component, seen)?;
            let violation = members.check(&w.orphans(component)).err().map(|v| v.to_string());
            Some((members, violation))
        });
        if let Some((members, violation)) = changed {
            let members = members.iter().map(|(address, state)| (address.to_string(), state.name().to_owned()));
            let members = members.collect();
            let _ = self.out.send(What::MembersChanged { component: component.name().to_owned(), members, violation });
        }
    }

    /// Asks the pods there are, and those only, and follows etcd where it went.
    fn refresh(
        &self,
        asked: &mut BTreeMap<String, Asked>,
        tasks: &mut JoinSet<()>,
        looks: &mpsc::Sender<Look>,
        etcd: &watch::Sender<Option<String>>,
    ) {
        let mut alive = Vec::new();
        let mut found = Vec::new();
        self.with(|world| {
            let World { snapshot, reports, .. } = world;
            for subject in &self.subjects {
                let service = subject.service.as_deref();
                for pod in snapshot.pods_of(subject.component()) {
                    let uid = pod.uid().unwrap_or_default();
                    let ready = judge::may_be_asked(snapshot, subject.component(), service, pod);
                    alive.push(uid.clone());
                    if let Some(one) = asked.get(&uid) {
                        let changed = one.ready.send_if_modified(|r| std::mem::replace(r, ready) != ready);
                        if changed
                            && !ready
                            && let Some(report) = reports.get_mut(&uid)
                        {
                            // What it said while it was ready does not hold any more.
                            report.full = false;
                        }
                        continue;
                    }
                    let names = match subject.component() {
                        Component::Etcd => Vec::new(),
                        other => vec![self.names.host(other)],
                    };
                    if let Some(target) = Target::of(subject.entry, &names, pod) {
                        found.push((uid, target, ready));
                    }
                }
            }
            reports.retain(|uid, _| alive.contains(uid));
            let ready = snapshot.pods_of(Component::Etcd).into_iter().find(|p| pod_is_ready(p));
            let pod = ready.map(ResourceExt::name_any);
            etcd.send_if_modified(|now| {
                let changed = *now != pod;
                *now = pod;
                changed
            });
        });
        for (uid, target, ready) in found {
            let (sender, receiver) = watch::channel(ready);
            let abort = tasks.spawn(watch_pod(self.cluster.clone(), target, receiver, looks.clone()));
            asked.insert(uid, Asked { ready: sender, abort });
        }
        asked.retain(|uid, one| {
            let keep = alive.contains(uid);
            if !keep {
                one.abort.abort();
            }
            keep
        });
        while tasks.try_join_next().is_some() {}
    }
}
