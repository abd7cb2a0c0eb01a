use std::time::Duration;

use clearwater::component::{Component, Store};
use tokio::sync::{mpsc, watch};

use crate::cluster::Cluster;
use crate::judge::MembersSeen;
use crate::observe::members;
use crate::pod::{AskError, Forward};

const OPEN: Duration = Duration::from_secs(8);
const ANSWER: Duration = Duration::from_secs(4);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// etcd's client port (clearwater-docker `kubernetes/templates/etcd-depl.tmpl`).
const CLIENT_PORT: u16 = 2379;

/// What is to be asked of which etcd pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The etcd pod; none while none is ready.
    pub(crate) pod: Option<String>,
    /// The stores whose members are of interest, with their keys.
    pub(crate) keys: Vec<(Component, Store, &'static str)>,
    /// How many pods are ready: with each one that becomes so there may be news.
    pub(crate) ready: usize,
}

/// Members of a store, as just read.
#[derive(Debug)]
pub(crate) struct MembersNews {
    pub(crate) component: Component,
    pub(crate) seen: MembersSeen,
    pub(crate) connections: u32,
}

/// Keeps one connection to etcd and asks for the members of the stores that are wished for, again and again with
/// pauses of 100 ms doubling to 1 s. A new wish starts over.
pub(crate) async fn ask_members(cluster: Cluster, mut wish: watch::Receiver<Wish>, out: mpsc::Sender<MembersNews>) {
    let mut forward: Option<Forward> = None;
    let mut pause = PAUSE_FIRST;
    loop {
        let wanted = wish.borrow_and_update().clone();
        let Some(pod) = wanted.pod.filter(|_| !wanted.keys.is_empty()) else {
            if wish.changed().await.is_err() {
                return;
            }
            pause = PAUSE_FIRST;
            continue;
        };
        for (component, _, key) in wanted.keys {
            let mut connections = 0;
            let seen = match read(&cluster, &mut forward, &pod, key, &mut connections).await {
                Ok(body) => MembersSeen::of(members::parse(key, &body)),
                Err(error) if error.is_lasting() => MembersSeen::Unchecked(error.to_string()),
                Err(error) => MembersSeen::Failed(error.to_string()),
            };
            if out.send(MembersNews { component, seen, connections }).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = wish.changed() => {
                if changed.is_err() {
                    return;
                }
                pause = PAUSE_FIRST;
            }
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_LONGEST),
        }
    }
}

async fn read(
    cluster: &Cluster,
    kept: &mut Option<Forward>,
    pod: &str,
    key: &str,
    connections: &mut u32,
) -> Result<String, AskError> {
    let mut forward = match kept.take() {
        Some(forward) if forward.pod() == pod => forward,
        _ => {
            *connections += 1;
            Forward::open(&cluster.api(), pod, CLIENT_PORT, OPEN).await?
        }
    };
    let (_, body) = forward.get(&format!("/v2/keys{key}"), ANSWER).await?;
    *kept = Some(forward);
    Ok(body)
}
