//! Those who look: one watch a kind, one prober a pod, and one follower a store's list of members.

use std::collections::BTreeMap;

use clearwater::component::Component;
use kube::ResourceExt;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::etcd::{MembersUpdate, follow};
use super::observation::{Observation, Observed};
use super::probe::ProbeTarget;
use super::snapshot::{WatchEvent, watch as watch_namespace};
use super::subject::Subject;
use super::watch_pod::{ProbeResult, Turn, watch_pod};
use crate::cluster::Cluster;

/// A pod that is asked.
struct Asked {
    turn: watch::Sender<Turn>,
    abort: AbortHandle,
}

/// What is to be asked of a component.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) subject: &'a Subject,
    /// Whether its store's list of members is of interest now.
    pub(crate) members: bool,
    /// Whether its pods hold their programs.
    pub(crate) held: Held,
}

/// Whether a component's pods hold their programs until they are let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Never,
    Now,
    /// They did, and are to be let go where they were not.
    Once,
}

/// Looks at a namespace until it is dropped. What is observed is taken with [`Self::next`]; who is asked is said by
/// [`Self::ask`].
pub(crate) struct Observer {
    cluster: Cluster,
    news: mpsc::Receiver<WatchEvent>,
    looks: (mpsc::Sender<ProbeResult>, mpsc::Receiver<ProbeResult>),
    members: (mpsc::Sender<MembersUpdate>, mpsc::Receiver<MembersUpdate>),
    /// The etcd pod that is asked.
    etcd: watch::Sender<Option<String>>,
    asked: BTreeMap<String, Asked>,
    followed: BTreeMap<Component, AbortHandle>,
    tasks: JoinSet<()>,
    _watches: JoinSet<()>,
}

impl Observer {
    /// Begins to watch the namespace.
    pub(crate) fn begin(cluster: &Cluster) -> Self {
        let (news, watches) = watch_namespace(&cluster.client, &cluster.namespace);
        Self {
            cluster: cluster.clone(),
            news,
            looks: mpsc::channel(64),
            members: mpsc::channel(64),
            etcd: watch::channel(None).0,
            asked: BTreeMap::new(),
            followed: BTreeMap::new(),
            tasks: JoinSet::new(),
            _watches: watches,
        }
    }

    /// The next thing that is observed. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Observed> {
        loop {
            tokio::select! {
                news = self.news.recv() => return news.map(Observed::Watch),
                Some(look) = self.looks.1.recv() => if self.asked.contains_key(&look.report.uid) {
                    return Some(Observed::Pod(Box::new(look)));
                },
                Some(update) = self.members.1.recv() => return Some(Observed::Members(update)),
            }
        }
    }

    /// What else the watches have to say at this moment.
    pub(crate) fn ready(&mut self) -> Option<Observed> {
        self.news.try_recv().ok().map(Observed::Watch)
    }

    /// Asks the pods that there are of these components, and those only, follows the lists that are of interest, and
    /// asks etcd where it is now.
    pub(crate) fn ask(&mut self, seen: &mut Observation, wanted: &[Wanted<'_>]) {
        if !seen.snapshot.is_complete() {
            return;
        }
        let mut alive = Vec::new();
        for Wanted { subject, held, .. } in wanted {
            for pod in seen.snapshot.pods_of(subject.component()) {
                let uid = pod.uid().unwrap_or_default();
                let turn = match held {
                    Held::Now => Turn::Held,
                    _ if seen.snapshot.may_be_asked(subject, pod) => Turn::Ready,
                    _ => Turn::Unready,
                };
                alive.push(uid.clone());
                if let Some(one) = self.asked.get(&uid) {
                    let changed = one.turn.send_if_modified(|t| std::mem::replace(t, turn) != turn);
                    if changed
                        && turn != Turn::Ready
                        && let Some(report) = seen.reports.get_mut(&uid)
                    {
                        // What it said while it was ready does not hold any more.
                        report.full = false;
                    }
                } else if let Some(target) = ProbeTarget::of(subject, pod) {
                    let (sender, receiver) = watch::channel(turn);
                    let holds = *held != Held::Never;
                    let task = watch_pod(self.cluster.clone(), target, receiver, holds, self.looks.0.clone());
                    let abort = self.tasks.spawn(task);
                    self.asked.insert(uid, Asked { turn: sender, abort });
                }
            }
        }
        self.asked.retain(|uid, one| {
            let keep = alive.contains(uid);
            if !keep {
                one.abort.abort();
            }
            keep
        });
        seen.reports.retain(|uid, _| self.asked.contains_key(uid));
        let etcd = seen.snapshot.etcd_pod();
        self.etcd.send_if_modified(|now| {
            let changed = *now != etcd;
            *now = etcd;
            changed
        });
        self.follow_lists(wanted);
        while self.tasks.try_join_next().is_some() {}
    }

    fn follow_lists(&mut self, wanted: &[Wanted<'_>]) {
        for Wanted { subject, members, .. } in wanted {
            let Some(clustering) = &subject.entry.clustering else { continue };
            let component = subject.component();
            if !members {
                if let Some(task) = self.followed.remove(&component) {
                    task.abort();
                }
                continue;
            }
            if !self.followed.contains_key(&component) {
                let (cluster, etcd, out) = (self.cluster.clone(), self.etcd.subscribe(), self.members.0.clone());
                let task = self.tasks.spawn(follow(cluster, component, clustering.etcd_key, etcd, out));
                self.followed.insert(component, task);
            }
        }
    }
}
