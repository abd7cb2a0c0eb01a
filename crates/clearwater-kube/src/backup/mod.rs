//! Backups of subscribers by the services' own interfaces, and their way back.
//!
//! [`backup`] reads what homestead-prov, homer and Ellis tell and writes nothing; [`restore`] puts back what is missing, and
//! what differs where it is told to, and compares afterwards. What each is of is plain data of
//! [`clearwater::backup`], which also decides what is to be done. An archive and a file are made by whoever embeds this, who
//! then [notes](fn@note) in the deployment that it was kept.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::backup::{BackupOptions, RestoreOptions, backup, note, restore};
//!
//! let kept = backup(&cluster, BackupOptions::new()).finished().await?.value?;
//! println!("{} public identities", kept.holdings.counts().public_identities);
//! note(&cluster, &kept).await?;
//! let end = restore(&cluster, kept, RestoreOptions::new().replace()).finished().await?;
//! println!("{:?}: {}", end.outcome, end.summary);
//! # Ok(()) }
//! ```

mod error;
mod note;
mod options;
mod put;
mod read;
mod record;
mod restore;
mod tell;

use std::time::Duration;

use clearwater::backup::Backup;
use clearwater::event::{Command, EventKind, Outcome, RunStats};
use clearwater::remedy::{Advice, Remedied as _};
use clearwater::text::counted;
use jiff::Timestamp;

pub use error::BackupError;
pub use note::{NotNoted, note};
pub use options::{BackupOptions, RestoreOptions};
pub use restore::{Restored, restore};

use crate::cluster::Cluster;
use crate::run::{Emitter, Run, Steering, start, unless_cancelled};
use crate::subscribers::Stores;
use read::{Reader, changed};
use tell::{Teller, begun, identities};

/// Reads all that the services tell of subscribers, and what etcd holds, for the record. Nothing is written.
///
/// Must be called inside of a tokio runtime: see [`Run`].
pub fn backup(cluster: &Cluster, options: BackupOptions) -> Run<Result<Backup, BackupError>> {
    let cluster = cluster.clone();
    start(move |emitter, steering| run(cluster, options, emitter, steering))
}

async fn run(
    cluster: Cluster,
    options: BackupOptions,
    mut emitter: Emitter,
    steering: Steering,
) -> Result<Backup, BackupError> {
    emitter.emit(begun(Command::Backup, &cluster)).await;
    let work = work(&cluster, &options, &mut emitter);
    let ended = match unless_cancelled(&steering.cancel, Duration::ZERO, Box::pin(work)).await {
        Ok(ended) => ended,
        Err(reason) => {
            emitter.emit(EventKind::CancelRequested { reason }).await;
            Err(BackupError::Cancelled { reason, state: "nothing was kept".to_owned() })
        }
    };
    let (outcome, summary) = match &ended {
        Ok(kept) => (Outcome::Done, Advice::from(told(kept))),
        Err(error) => (error.outcome(), error.advice()),
    };
    emitter.finish(outcome, summary, RunStats::default()).await;
    ended
}

fn told(kept: &Backup) -> String {
    let counts = kept.holdings.counts();
    format!(
        "read: {} in {}, {} private, settings of services of {}, {} with {}",
        identities(counts.public_identities),
        counted(counts.registration_sets, "registration set"),
        counts.private_identities,
        counts.simservs,
        counted(counts.accounts, "account"),
        counted(counts.numbers, "number"),
    )
}

async fn work(cluster: &Cluster, options: &BackupOptions, emitter: &mut Emitter) -> Result<Backup, BackupError> {
    let at = Timestamp::now() + cluster.clock_skew().await;
    let stores = Stores::open(cluster).await?;
    let mut teller = Teller::new(emitter);
    let reader = Reader { stores: &stores, at_once: options.at_once.max(1), accounts: &options.accounts };
    let read = reader.all(&mut teller).await?;
    let mut lacks = read.lacks;
    let etcd = match record::keys(cluster).await {
        Ok(keys) => Some(keys),
        Err(why) => {
            lacks.push(format!("what etcd holds: {why}"));
            None
        }
    };
    let changed = changed(&read.listed, &stores.prov.all_identities().await?, &read.gone);
    for text in lacks.iter().map(|what| format!("not in it: {what}")).chain(changed.iter().cloned()) {
        teller.notice(text).await;
    }
    Ok(Backup {
        at,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        namespace: cluster.namespace.clone(),
        home_domain: stores.home_domain.clone(),
        release: stores.release.to_string(),
        lacks,
        changed,
        holdings: read.holdings,
        etcd,
        deployment: options.deployment.clone(),
    })
}
