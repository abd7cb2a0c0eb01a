//! A backup put back, as a run.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clearwater::backup::{Backup, ComparedItem, Comparison, Holdings, ItemKind, ItemState, RestoreUnit, compare, work};
use clearwater::component::Component;
use clearwater::event::{CancelReason, Change, Command, EventKind, Operation, Outcome, Pending, RunStats, Whose};
use clearwater::remedy::{Advice, Permission, Remedied as _};
use clearwater::text::counted;
use futures::future::ready;
use futures::{StreamExt as _, stream};
use tokio::sync::watch;

use super::error::BackupError;
use super::options::RestoreOptions;
use super::put::Putter;
use super::read::Reader;
use super::tell::{Teller, begun};
use crate::cluster::Cluster;
use crate::run::{Declined, Emitter, GRACE, Run, Steering, start, unless_cancelled};
use crate::subscribers::{Stores, SubscriberError};

/// How many problems and items are named.
const NAMED: usize = 5;

/// What came of a backup that was put back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Restored {
    /// How what stood compared with the backup.
    pub before: Comparison,
    /// How what stands compares with it; `None` where nothing was written.
    pub after: Option<Comparison>,
    /// How many registration sets were put back.
    pub done: usize,
    /// What was left as it is, and why.
    pub left: Vec<String>,
    /// How many registration sets of these stand otherwise than they were kept.
    pub otherwise: usize,
}

/// Puts back what of a backup is missing and, where that is asked for, what differs, and compares afterwards. What stands
/// as it was kept is not written again: one that was interrupted is completed by the same one again. What stands and was
/// not kept is left alone.
///
/// Must be called inside of a tokio runtime: see [`Run`].
pub fn restore(cluster: &Cluster, kept: Backup, options: RestoreOptions) -> Run<Result<Restored, BackupError>> {
    let cluster = cluster.clone();
    start(move |emitter, steering| run(cluster, kept, options, emitter, steering))
}

async fn run(
    cluster: Cluster,
    kept: Backup,
    options: RestoreOptions,
    mut emitter: Emitter,
    mut steering: Steering,
) -> Result<Restored, BackupError> {
    emitter.emit(begun(Command::Restore, &cluster)).await;
    let ended = Box::pin(restored(&cluster, kept, &options, &mut emitter, &mut steering)).await;
    if let Err(BackupError::Cancelled { reason, .. }) = &ended {
        emitter.emit(EventKind::CancelRequested { reason: *reason }).await;
    }
    let mut stats = RunStats::default();
    let (outcome, summary) = match &ended {
        Ok(restored) => {
            stats.writes = u32::try_from(restored.done).unwrap_or(u32::MAX);
            end(restored, &options)
        }
        Err(error) => (error.outcome(), error.advice()),
    };
    emitter.finish(outcome, summary, stats).await;
    ended
}

fn end(restored: &Restored, options: &RestoreOptions) -> (Outcome, Advice) {
    let sets = |count| counted(count, "registration set");
    let left = restored.left.len();
    let (outcome, text) = match &restored.after {
        None if options.dry_run => (Outcome::DryRun, "nothing was written".to_owned()),
        None if left == 0 => (Outcome::NothingToDo, "everything stands as it was kept".to_owned()),
        None => (Outcome::ChangesPending, String::new()),
        Some(_) if left == 0 => (Outcome::Done, format!("{} put back: all stands as it was kept", sets(restored.done))),
        Some(_) => (Outcome::ChangesPending, format!("{} put back", sets(restored.done))),
    };
    if left == 0 {
        return (outcome, text.into());
    }
    let text = if restored.after.is_none() { "nothing was written".to_owned() } else { text };
    let text = format!("{text}; left as it is: {left}");
    (outcome, if restored.otherwise > 0 { Advice::new(text, Permission::ReplaceKept) } else { text.into() })
}

/// What of a backup this deployment can take, and what it cannot.
fn takeable(kept: &Backup, stores: &Stores) -> (Holdings, Vec<String>) {
    let (mut holdings, mut left) = (kept.holdings.clone().normalized(), Vec::new());
    if stores.homer.is_none() && !holdings.simservs.is_empty() {
        left.push(format!("settings of services of {}: no homer runs there", holdings.simservs.len()));
        holdings.simservs.clear();
    }
    if stores.ellis.is_none() && !holdings.accounts.is_empty() {
        left.push(format!("{}: no ellis runs there", counted(holdings.accounts.len(), "account")));
        holdings.accounts.clear();
    }
    // Ellis gives a number away with everything behind it, and of these nothing else was kept.
    let known: BTreeSet<String> =
        holdings.registration_sets.iter().flat_map(|s| s.public_identities().map(str::to_owned)).collect();
    for (email, account) in &mut holdings.accounts {
        let lost: Vec<String> = account.numbers.keys().filter(|n| !known.contains(*n)).cloned().collect();
        for number in lost {
            account.numbers.remove(&number);
            left.push(format!("number {number} of account {email}: no subscriber was kept of it"));
        }
    }
    (holdings, left)
}

fn changes(units: &[&RestoreUnit], accounts: &[String]) -> Vec<Change> {
    let change = |object: String, component: Component, operation, diff: String| Change {
        object,
        component: Some(component.name().to_owned()),
        operation,
        whose: Whose::Ours,
        diff,
        restarts: 0,
    };
    let accounts =
        accounts.iter().map(|a| change(format!("account/{a}"), Component::Ellis, Operation::Create, String::new()));
    let units = units.iter().map(|unit| {
        let operation = if unit.replaces.is_empty() { Operation::Create } else { Operation::Change };
        let diff = unit.replaces.iter().map(|what| format!("~ {what}\n")).collect();
        change(format!("subscriber/{}", unit.name()), Component::HomesteadProv, operation, diff)
    });
    accounts.chain(units).collect()
}

async fn restored(
    cluster: &Cluster,
    kept: Backup,
    options: &RestoreOptions,
    emitter: &mut Emitter,
    steering: &mut Steering,
) -> Result<Restored, BackupError> {
    let cancel = steering.cancel.clone();
    let stopped = |reason| BackupError::Cancelled { reason, state: "nothing was written".to_owned() };
    let looking = async {
        let stores = Stores::open(cluster).await?;
        if kept.home_domain != stores.home_domain {
            let (kept, found) = (kept.home_domain.clone(), stores.home_domain.clone());
            return Err(BackupError::HomeDomain { kept, found });
        }
        let (wanted, left) = takeable(&kept, &stores);
        let accounts: Vec<String> = wanted.accounts.keys().cloned().collect();
        let reader = Reader { stores: &stores, at_once: options.at_once.max(1), accounts: &accounts };
        let standing = reader.all(&mut Teller::new(emitter)).await?.holdings;
        Ok((stores, wanted, left, accounts, standing))
    };
    let looked = unless_cancelled(&cancel, Duration::ZERO, Box::pin(looking)).await.map_err(stopped)?;
    let (stores, wanted, mut left, names, standing) = looked?;
    let before = compare(&wanted, &standing);
    let units = work(&wanted, &before);
    let (doing, other): (Vec<&RestoreUnit>, Vec<&RestoreUnit>) =
        units.iter().partition(|unit| options.replace || unit.replaces.is_empty());
    left.extend(other.iter().map(|unit| otherwise(unit)));
    let is_missing = |i: &&ComparedItem| i.kind == ItemKind::Account && i.state == ItemState::Missing;
    let accounts: Vec<String> = before.items.iter().filter(is_missing).map(|i| i.name.clone()).collect();
    tell(emitter, &before, &left).await;
    let all = changes(&doing, &accounts);
    let is_work = !all.is_empty();
    let pending = other.iter().map(|unit| Pending {
        component: Component::HomesteadProv.name().to_owned(),
        what: otherwise(unit),
        command: Permission::ReplaceKept.into(),
    });
    emitter.emit(EventKind::Planned { changes: all, pending: pending.collect() }).await;
    let unwritten = Restored { before, after: None, done: 0, left, otherwise: other.len() };
    if !is_work {
        return Ok(unwritten);
    }
    match steering.agreed(options.dry_run, options.ask, emitter).await {
        Ok(()) => {}
        Err(Declined::DryRun) => return Ok(unwritten),
        Err(Declined::NotConfirmed) => return Err(BackupError::NotConfirmed),
        Err(Declined::Cancelled(reason)) => return Err(stopped(reason)),
    }
    let mut teller = Teller::new(emitter);
    let putter = Putter::new(&stores, &standing, &units);
    let (mut done, count) = (0, doing.len());
    let putting = Box::pin(put(&putter, &wanted, &accounts, &doing, options, &cancel, &mut teller, &mut done));
    let problems = match unless_cancelled(&cancel, GRACE, putting).await {
        Ok(problems) if cancel.borrow().is_none() => problems,
        ended => {
            let reason = ended.err().or(*cancel.borrow()).unwrap_or(CancelReason::Program);
            let state =
                format!("{done} of {} put back, and nothing else was touched", counted(count, "registration set"));
            return Err(BackupError::Cancelled { reason, state });
        }
    };
    if !problems.is_empty() {
        return Err(BackupError::NotAll { done, count, problems });
    }
    let reader = Reader { stores: &stores, at_once: options.at_once.max(1), accounts: &names };
    let reading = Box::pin(reader.all(&mut teller));
    let read = unless_cancelled(&cancel, Duration::ZERO, reading).await.map_err(|reason| {
        let state = format!("{} put back and not compared", counted(done, "registration set"));
        BackupError::Cancelled { reason, state }
    })??;
    let after = compare(&wanted, &read.holdings);
    let is_other = |i: &&ComparedItem| {
        !matches!(i.state, ItemState::Equal | ItemState::Beyond) && !other.iter().any(|unit| unit.covers(i))
    };
    let not_equal: Vec<String> = after.items.iter().filter(is_other).map(ToString::to_string).collect();
    if !not_equal.is_empty() {
        let (count, some) = (not_equal.len(), not_equal.into_iter().take(NAMED).collect());
        return Err(BackupError::NotEqual { count, some });
    }
    Ok(Restored { after: Some(after), done, ..unwritten })
}

fn otherwise(unit: &RestoreUnit) -> String {
    format!("{} stands otherwise: {}", unit.name(), unit.replaces.join(", "))
}

/// How the backup compares with what stands, a line for each kind that there is.
async fn tell(emitter: &mut Emitter, before: &Comparison, left: &[String]) {
    for (kind, tally) in before.tally() {
        let parts = [
            (tally.equal, "as they were kept"),
            (tally.missing, "missing"),
            (tally.different, "otherwise"),
            (tally.beyond, "not in the backup"),
        ];
        let said: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if !said.is_empty() {
            let text = format!("{}: {}", kind.words(), said.join(", ")).into();
            emitter.emit(EventKind::Notice { text }).await;
        }
    }
    for what in left.iter().take(NAMED) {
        emitter.emit(EventKind::Notice { text: format!("left as it is: {what}").into() }).await;
    }
    if left.len() > NAMED {
        let text = format!("left as they are: {} more", left.len() - NAMED).into();
        emitter.emit(EventKind::Notice { text }).await;
    }
}

/// Puts it back, several sets at a time. Yields what could not be; one after which the next would meet the same ends it.
#[expect(clippy::too_many_arguments, reason = "each is one of what the run holds")]
async fn put(
    putter: &Putter<'_>,
    wanted: &Holdings,
    accounts: &[String],
    units: &[&RestoreUnit],
    options: &RestoreOptions,
    cancel: &watch::Receiver<Option<CancelReason>>,
    teller: &mut Teller<'_>,
    done: &mut usize,
) -> Vec<String> {
    let mut problems = Vec::new();
    for email in accounts {
        let Some(account) = wanted.accounts.get(email) else { continue };
        if let Err(error) = putter.account(email, account).await {
            return vec![said(&format!("account {email}"), &error)];
        }
    }
    let ended = &AtomicBool::new(false);
    let all: Vec<RestoreUnit> = units.iter().map(|unit| (*unit).clone()).collect();
    let goes_on = |_: &RestoreUnit| ready(!ended.load(Ordering::Relaxed) && cancel.borrow().is_none());
    let putting = stream::iter(all).take_while(goes_on).map(|unit| async move {
        let put = putter.unit(&unit).await;
        // What is refused of one may well be taken of the next.
        if put.as_ref().is_err_and(|e| !e.is_of_one() && !matches!(e, SubscriberError::Refused { .. })) {
            ended.store(true, Ordering::Relaxed);
        }
        (unit.name().to_owned(), put)
    });
    let mut putting = pin!(putting.buffer_unordered(options.at_once.max(1)));
    while let Some((name, put)) = putting.next().await {
        match put {
            Ok(()) => *done += 1,
            Err(error) if problems.len() < NAMED => problems.push(said(&name, &error)),
            Err(_) => {}
        }
        teller.count(Component::HomesteadProv, "put back", *done, units.len()).await;
    }
    problems
}

fn said(what: &str, error: &SubscriberError) -> String {
    format!("{what}: {error}")
}
