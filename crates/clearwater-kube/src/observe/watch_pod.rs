//! One pod asked again and again whether it serves, and what its programs do while it does not.

use std::time::Duration;

use clearwater::manifest::{LET_GO, WAKE};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::probe::{Depth, PATIENCE_FIRST, PATIENCE_LONGEST, ProbeTarget, Prober};
use super::report::Report;
use crate::backoff::{Backoff, before, doubling, unless_lasting};
use crate::cluster::Cluster;
use crate::pod::Script;

/// A pod that is not ready is left alone for so long before its programs are looked at.
const UNREADY_FIRST: Duration = Duration::from_secs(3);
/// And is looked at this often from then on.
const UNREADY_EVERY: Duration = Duration::from_secs(2);
/// A pod that serves is looked at this often.
const STEADY_EVERY: Duration = Duration::from_secs(5);
/// A container that runs is connected to after so long, so that nothing is left to be opened when it is ready.
const OPEN_AFTER: Duration = Duration::from_millis(500);
/// A pod's names are not asked for before it has been ready for so long: the cluster's DNS hears of it at the same time as
/// we do, and remembers for seconds that there was nothing when it is asked before.
const NAMES_AFTER: Duration = Duration::from_millis(250);
/// The pauses after bad answers.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A connection into a held pod is used this often, because it ends when nobody does.
const KEEP_EVERY: Duration = Duration::from_secs(45);
/// For so long it is tried to let a pod's programs go. By then its kubelet does.
const LET_GO_WITHIN: Duration = Duration::from_secs(60);

/// Lets the programs of a container go: by a file, and by a word to who may wait already.
const LET_GO_NOW: &str = r#": > "$1"; if [ -p "$2" ]; then exec 9<> "$2"; printf '\n' >&9; exec 9>&-; fi"#;

/// What a pod can be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing: its programs are held.
    Held,
    /// What its programs do.
    Unready,
    /// Everything.
    Ready,
}

/// What a prober saw.
#[derive(Debug)]
pub(crate) struct ProbeResult {
    /// What was seen.
    pub(crate) report: Report,
    /// Connections into the pod that were opened for it.
    pub(crate) connections: u32,
}

/// Waits for the turn of a pod whose programs are held, with a connection into it that is open by then, and lets them go.
/// Yields whether anybody listens still.
async fn let_go(prober: &mut Prober, turn: &mut watch::Receiver<Turn>) -> bool {
    prober.open().await;
    while *turn.borrow_and_update() == Turn::Held {
        tokio::select! {
            changed = turn.changed() => if changed.is_err() { return false },
            () = tokio::time::sleep(KEEP_EVERY) => {
                // What fails is opened anew.
                let _ = prober.run(&Script::new(":")).await;
            }
        }
    }
    let script = Script::new(LET_GO_NOW).arg(LET_GO).arg(WAKE);
    let mut pauses = before(Instant::now() + LET_GO_WITHIN, doubling(PAUSES.0, PAUSES.1));
    while let Err(error) = prober.run(&script).await {
        if unless_lasting(error, |error| !error.is_lasting(), &mut pauses).await.is_err() {
            break;
        }
    }
    true
}

/// Asks a pod until nobody listens any more: its programs while it is not ready, everything from the moment it is, with
/// pauses of 100 ms doubling to 1 s until all is well, and now and then from then on. One that `holds` its programs is first
/// let go when its turn has come.
pub(crate) async fn watch_pod(
    cluster: Cluster,
    target: ProbeTarget,
    mut turn: watch::Receiver<Turn>,
    holds: bool,
    out: mpsc::Sender<ProbeResult>,
) {
    let mut prober = Prober::new(&cluster, target);
    prober.patience = PATIENCE_FIRST;
    let mut pauses = doubling(PAUSES.0, PAUSES.1);
    let mut unready_for = UNREADY_FIRST;
    let mut told = 0;
    if holds && !let_go(&mut prober, &mut turn).await {
        return;
    }
    let mut opened = holds;
    let mut was_ready = false;
    loop {
        let is_ready = *turn.borrow_and_update() == Turn::Ready;
        if is_ready != was_ready {
            was_ready = is_ready;
            prober.names_from = is_ready.then(|| Instant::now() + NAMES_AFTER);
        }
        if !is_ready {
            let next = if opened { unready_for } else { OPEN_AFTER };
            tokio::select! {
                changed = turn.changed() => if changed.is_err() { return } else { continue },
                () = tokio::time::sleep(next) => {}
            }
            if !opened {
                opened = true;
                prober.open().await;
                continue;
            }
            unready_for = UNREADY_EVERY;
            pauses.reset();
        }
        let report = prober.look(if is_ready { Depth::Full } else { Depth::Programs }).await;
        let good = report.is_good();
        let starting = report.is_good_but_starting();
        let look = ProbeResult { report, connections: prober.connections - told };
        told = prober.connections;
        if out.send(look).await.is_err() {
            return;
        }
        if !is_ready {
            continue;
        }
        prober.patience = (prober.patience + 1).min(PATIENCE_LONGEST);
        if good || starting {
            pauses.reset();
        }
        let wait = if good { STEADY_EVERY } else { pauses.next().unwrap_or(PAUSES.1) };
        tokio::select! {
            changed = turn.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}
