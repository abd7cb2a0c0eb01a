//! A store's list of members in etcd, watched: every change of it is seen.

use std::time::Duration;

use clearwater::component::Component;
use clearwater::scale::{Members, MembersError};
use tokio::sync::{mpsc, watch};

use crate::cluster::Cluster;
use crate::observe::members::value;
use crate::pod::{AskError, Forward};

const OPEN: Duration = Duration::from_secs(8);
const ANSWER: Duration = Duration::from_secs(4);
/// How long etcd is waited for where nothing changes, before the list is read anew over a new connection.
const QUIET: Duration = Duration::from_secs(30);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// etcd's client port (clearwater-docker `kubernetes/templates/etcd-depl.tmpl`).
const CLIENT_PORT: u16 = 2379;

/// What was read.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The list as it is now.
    List(Members),
    /// It was read and not understood.
    Unreadable(MembersError),
    /// It cannot be read for now.
    Trouble(String),
    /// It cannot be read at all.
    Never(String),
}

/// News of a store's list.
#[derive(Debug)]
pub(crate) struct ListNews {
    pub(crate) component: Component,
    pub(crate) seen: Seen,
}

/// Follows the list of one store until nobody listens: it is read once, and then etcd is waited for from the index of
/// what was read, so that no change between two looks is missed.
pub(crate) async fn follow(
    cluster: Cluster,
    component: Component,
    key: &'static str,
    mut etcd: watch::Receiver<Option<String>>,
    out: mpsc::Sender<ListNews>,
) {
    let mut pause = PAUSE_FIRST;
    loop {
        let pod = etcd.borrow_and_update().clone();
        let Some(pod) = pod else {
            let seen = Seen::Trouble("no etcd pod is ready to be asked".to_owned());
            if out.send(ListNews { component, seen }).await.is_err() || etcd.changed().await.is_err() {
                return;
            }
            continue;
        };
        let following = one_connection(&cluster, component, &pod, key, &mut pause, &out);
        let error = tokio::select! {
            ended = following => match ended {
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
        let quiet = matches!(error, AskError::Deadline { within, .. } if within == QUIET);
        if quiet {
            continue;
        }
        let seen = if error.is_lasting() { Seen::Never(error.to_string()) } else { Seen::Trouble(error.to_string()) };
        if out.send(ListNews { component, seen }).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}

/// Follows the list over one connection. `Ok` where nobody listens any more.
async fn one_connection(
    cluster: &Cluster,
    component: Component,
    pod: &str,
    key: &str,
    pause: &mut Duration,
    out: &mpsc::Sender<ListNews>,
) -> Result<(), AskError> {
    let mut forward = Forward::open(&cluster.api(), pod, CLIENT_PORT, OPEN).await?;
    let mut path = format!("/v2/keys{key}");
    let mut within = ANSWER;
    loop {
        let (_, body) = forward.get(&path, within).await?;
        let (value, index) = match value(key, &body) {
            Ok(read) => read,
            // The index that is waited for is older than what etcd remembers (etcd error 401): read anew.
            Err(_) if within == QUIET => {
                (path, within) = (format!("/v2/keys{key}"), ANSWER);
                continue;
            }
            Err(error) => return Err(AskError::Broken { pod: pod.to_owned(), message: error.to_string() }),
        };
        *pause = PAUSE_FIRST;
        let seen = Members::parse(&value).map_or_else(Seen::Unreadable, Seen::List);
        if out.send(ListNews { component, seen }).await.is_err() {
            return Ok(());
        }
        (path, within) = (format!("/v2/keys{key}?wait=true&waitIndex={}", index + 1), QUIET);
    }
}
