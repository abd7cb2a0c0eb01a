//! The stores' lists of members, read from etcd: once, or followed so that no change between two looks is missed.

use std::time::Duration;

use clearwater::component::{Component, port};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::members::{MembersSeen, value};
use crate::backoff::{Backoff, doubling, pause};
use crate::cluster::Cluster;
use crate::pod::{AskError, Forward, OPEN};

pub(crate) const CLIENT_PORT: u16 = port(Component::Etcd, "etcd-client");
const ANSWER: Duration = Duration::from_secs(4);
/// How long etcd is waited for where nothing changes, before the list is read anew over a new connection.
const QUIET: Duration = Duration::from_secs(30);
/// The pauses after a connection that could not be had or broke.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A store's list, as just read.
#[derive(Debug)]
pub(crate) struct MembersUpdate {
    pub(crate) component: Component,
    pub(crate) seen: MembersSeen,
    /// Connections into etcd's pod that were opened for it.
    pub(crate) connections: u32,
}

async fn open(cluster: &Cluster, pod: &str) -> Result<Forward, AskError> {
    Forward::open(&cluster.api(), pod, CLIENT_PORT, OPEN).await
}

/// What a failure to ask says of every list.
fn failed(error: &AskError) -> MembersSeen {
    let text = error.to_string();
    match error {
        error if error.is_lasting() => MembersSeen::Unchecked(text),
        error if error.is_of_the_way() => MembersSeen::Unreached(text),
        _ => MembersSeen::Failed(text),
    }
}

/// Reads the lists under these keys once, in their order, out of an etcd pod.
pub(crate) async fn read(
    cluster: &Cluster,
    pod: Option<&str>,
    keys: &[&'static str],
    within: Duration,
) -> Vec<MembersSeen> {
    let all = |seen: MembersSeen| vec![seen; keys.len()];
    if keys.is_empty() {
        return Vec::new();
    }
    let Some(pod) = pod else {
        return all(MembersSeen::Failed(NO_POD.to_owned()));
    };
    let reading = async {
        let mut forward = open(cluster, pod).await?;
        let mut seen = Vec::new();
        for key in keys {
            let (_, body) = forward.get(&path(key), ANSWER).await?;
            seen.push(MembersSeen::of(key, value(key, &body).map(|(value, _)| value)));
        }
        Ok::<_, AskError>(seen)
    };
    match timeout(within, reading).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => all(failed(&error)),
        Err(_) => all(MembersSeen::Failed("etcd did not answer in time".to_owned())),
    }
}

/// What etcd says of its own health, as it says it.
pub(crate) async fn health(cluster: &Cluster, pod: &str, within: Duration) -> Result<String, AskError> {
    let asking = async { Ok(open(cluster, pod).await?.get("/health", ANSWER).await?.1) };
    timeout(within, asking).await.unwrap_or_else(|_| Err(AskError::Deadline { pod: pod.to_owned(), within }))
}

const NO_POD: &str = "no etcd pod is ready to be asked";

fn path(key: &str) -> String {
    format!("/v2/keys{key}")
}

/// Follows the list of one store until nobody listens: it is read once, and then etcd is waited for from the index of
/// what was read.
pub(crate) async fn follow(
    cluster: Cluster,
    component: Component,
    key: &'static str,
    mut etcd: watch::Receiver<Option<String>>,
    out: mpsc::Sender<MembersUpdate>,
) {
    let mut pauses = doubling(PAUSES.0, PAUSES.1);
    loop {
        let pod = etcd.borrow_and_update().clone();
        let Some(pod) = pod else {
            let update = MembersUpdate { component, seen: MembersSeen::Failed(NO_POD.to_owned()), connections: 0 };
            if out.send(update).await.is_err() || etcd.changed().await.is_err() {
                return;
            }
            continue;
        };
        let mut one = Follower { component, key, out: &out, has_read: false };
        let error = tokio::select! {
            ended = one.follow(&cluster, &pod) => match ended {
                Ok(()) => return,
                Err(error) => error,
            },
            changed = etcd.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
        };
        // A connection that ends after it has served is opened anew before anything is said of it.
        if one.has_read {
            pauses.reset();
        } else {
            let update = MembersUpdate { component, seen: failed(&error), connections: 1 };
            if out.send(update).await.is_err() {
                return;
            }
        }
        pause(&mut pauses).await;
    }
}

/// Follows a list over one connection.
struct Follower<'a> {
    component: Component,
    key: &'static str,
    out: &'a mpsc::Sender<MembersUpdate>,
    /// Whether the list was read over this connection.
    has_read: bool,
}

impl Follower<'_> {
    /// `Ok` where nobody listens any more.
    async fn follow(&mut self, cluster: &Cluster, pod: &str) -> Result<(), AskError> {
        let mut forward = open(cluster, pod).await?;
        let mut within = ANSWER;
        let mut next = path(self.key);
        loop {
            let (_, body) = forward.get(&next, within).await?;
            let (value, index) = match value(self.key, &body) {
                Ok(read) => read,
                // The index that is waited for is older than what etcd remembers (etcd error 401): read anew.
                Err(_) if within == QUIET => {
                    (next, within) = (path(self.key), ANSWER);
                    continue;
                }
                Err(error) => return Err(AskError::broken(pod, error)),
            };
            let connections = u32::from(!std::mem::replace(&mut self.has_read, true));
            let seen = MembersSeen::of(self.key, Ok(value));
            if self.out.send(MembersUpdate { component: self.component, seen, connections }).await.is_err() {
                return Ok(());
            }
            (next, within) = (format!("{}?wait=true&waitIndex={}", path(self.key), index + 1), QUIET);
        }
    }
}
