//! Taking a deployment down: what others need goes last, and stores leave their cluster before they go.
//!
//! Only what this program made is removed (see [`owner`](crate::owner)). What stood before is given back without this
//! program's fields, and what other manifests made is left alone.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::down::{DownOptions, down};
//!
//! let end = down(&cluster, DownOptions::new().delete_namespace()).finished().await?;
//! println!("{:?}: {}", end.outcome, end.summary);
//! # Ok(()) }
//! ```

mod find;
mod notice;
mod options;
mod pods;
mod take;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clearwater::component::{Component, Data, Release, entry};
use clearwater::event::{
    Awaited, CancelReason, Change, Command, EventKind, Operation, Outcome, PlannedComponent, PlannedGate, RunStats,
    Whose,
};
use clearwater::order::{Graph, Need, Presence, Subscribers};
use clearwater::remedy::{Advice, Permission, Remedied, Remedy};
use clearwater::text::counted;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tower::BoxError;

use self::find::{Deletion, Found, Others, find, others};
use self::notice::{named, names_unseen, notices};
pub use self::options::DownOptions;
use self::take::{Removal, Removed, delete_namespace, take};
use crate::cluster::{Cluster, FailedAt, no_namespace};
use crate::dns;
use crate::rights::{self, Task, grant};
use crate::run::{Declined, Emitter, Run, Steering, cancelled_as, checks, start, unless_cancelled};

#[derive(Debug, Error)]
enum DownError {
    #[error(transparent)]
    Broken(FailedAt),
    /// What is left cannot be watched, or not any more.
    #[error("cannot look: {0}")]
    Unseen(String),
    /// The user may not look at what would have to go.
    #[error("you may not list {resource} in namespace {namespace}: nothing was removed")]
    Right { resource: &'static str, namespace: String },
    #[error("the time was up while {0}")]
    Late(String),
    #[error("stopped")]
    Cancelled(CancelReason),
    #[error("refused: namespace {namespace} holds what is not of this deployment: {}", .others.join(", "))]
    Foreign { namespace: String, others: Vec<String> },
    #[error("not confirmed, nothing was removed")]
    NotConfirmed,
    #[error(
        "not confirmed, nothing was removed; refused: namespace {namespace} holds what is not of this deployment: {}",
        .others.join(", ")
    )]
    NotConfirmedForeign { namespace: String, others: Vec<String> },
    /// Members of stores would wait for ever for what goes.
    #[error("refused: {} cannot leave their clusters without {goes}", names(.stay).join(", "))]
    Stranded { goes: Component, stay: Vec<Component> },
    /// A check before the first write forbids it.
    #[error("{}", .1.reason)]
    Unfit(Outcome, Advice),
}

impl DownError {
    /// What was awaited, or was asked for.
    fn waited(&self) -> String {
        if let Self::Late(what) = self { what.clone() } else { self.to_string() }
    }

    fn broken(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Broken(FailedAt::new(what, source))
    }
}

fn names(components: &[Component]) -> Vec<&'static str> {
    components.iter().map(|c| c.name()).collect()
}

impl Remedied for DownError {
    fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            Self::Broken(_) | Self::Late(_) | Self::NotConfirmed => return None,
            Self::Unfit(_, advice) => return advice.remedy.clone(),
            Self::Cancelled(_) | Self::Unseen(_) => Remedy::GoOn(Command::Down),
            Self::Right { namespace, .. } => grant(namespace),
            Self::Foreign { .. } | Self::NotConfirmedForeign { .. } => {
                Remedy::any([Remedy::from("move or remove it"), Permission::RemoveForeign.into()])
            }
            Self::Stranded { goes, stay } => Remedy::any([
                Remedy::TakeDown([&[*goes], stay.as_slice()].concat()),
                Remedy::from(Permission::RemoveAtOnce).after("to lose what they hold, "),
            ]),
        })
    }
}

/// What dies with the pods of a component whose data is in them, in plain words; empty where nothing does.
pub fn losses(release: Release, component: Component) -> Vec<&'static str> {
    entry(release, component).map(|e| e.data.iter().map(|d: &Data| d.what).collect()).unwrap_or_default()
}

/// Takes a deployment down. Must be called inside of a tokio runtime: see [`Run`].
pub fn down(cluster: &Cluster, options: DownOptions) -> Run {
    let cluster = cluster.clone();
    start(move |emitter, steering| run(cluster, options, emitter, steering))
}

async fn run(cluster: Cluster, options: DownOptions, mut emitter: Emitter, mut steering: Steering) {
    let mut done = Done::default();
    let cancel = steering.cancel.clone();
    let work = work(&cluster, &options, &mut emitter, &mut steering, &mut done);
    let outcome = unless_cancelled(&cancel, Duration::ZERO, work).await;
    let (outcome, summary) = match outcome.unwrap_or_else(|reason| Err(DownError::Cancelled(reason))) {
        Ok(end) => end,
        Err(error @ (DownError::Unseen(_) | DownError::Right { .. })) => (Outcome::CouldNotLook, error.advice()),
        Err(error @ (DownError::Broken(_) | DownError::Late(_))) => {
            let is_over = emitter.began() + options.timeout <= Instant::now();
            match (done.has_begun, is_over) {
                (false, true) => checks::late("removed", Some(error.waited())),
                (false, false) => (Outcome::CouldNotLook, error.advice()),
                (true, true) => (Outcome::NotReady, Advice::new(error.to_string(), Remedy::GoOn(Command::Down))),
                (true, false) => (Outcome::Failed, error.advice()),
            }
        }
        Err(DownError::Unfit(outcome, advice)) => (outcome, advice),
        Err(
            error @ (DownError::Foreign { .. }
            | DownError::NotConfirmed
            | DownError::NotConfirmedForeign { .. }
            | DownError::Stranded { .. }),
        ) => (Outcome::Refused, error.advice()),
        Err(error @ DownError::Cancelled(reason)) => {
            emitter.emit(EventKind::CancelRequested { reason }).await;
            (cancelled_as(reason), error.advice())
        }
    };
    emitter.finish(outcome, summary, done.stats).await;
}

/// What a run has done so far.
#[derive(Default)]
struct Done {
    stats: RunStats,
    /// Whether it has asked for the first removal, whatever became of that.
    has_begun: bool,
}

/// Whether the namespace is there; `None` where the user may not look.
async fn namespace_stands(cluster: &Cluster) -> Result<Option<bool>, DownError> {
    cluster.namespace_exists().await.map_err(DownError::Broken)
}

/// The order in which components go, and what each waits for.
struct Order {
    graph: Graph,
    components: Vec<Component>,
}

impl Order {
    fn of(found: &Found) -> Result<Self, DownError> {
        let graph = Graph::clearwater(found.release, Subscribers::default());
        let plan = graph.plan_down().map_err(|e| DownError::broken("ordering the components", e))?;
        let going = found.components();
        let mut components: Vec<Component> =
            plan.order().filter_map(|n| n.parse().ok()).filter(|c| going.contains(c)).collect();
        // What no release of this graph has holds nobody up.
        components.extend(going.iter().filter(|c| !graph.contains(c.name())));
        Ok(Self { graph, components })
    }

    /// What must be gone before a component may go.
    fn held_by(
        &self,
        component: Component,
        gone: &BTreeSet<Component>,
        leaving: &BTreeSet<Component>,
    ) -> Vec<Component> {
        let presence = |name: &str| match name.parse::<Component>() {
            Ok(c) if gone.contains(&c) => Presence::Aside,
            Ok(c) if self.components.contains(&c) => Presence::Goes,
            Ok(c) if leaving.contains(&c) => Presence::Leaves,
            _ => Presence::Aside,
        };
        self.graph.held_by(component.name(), presence).into_iter().filter_map(|n| n.parse().ok()).collect()
    }

    /// What stays and could not leave its cluster any more, by what goes.
    fn stranded(&self, staying: &BTreeSet<Component>) -> BTreeMap<Component, Vec<Component>> {
        let stays = || staying.iter().copied().filter(|c| !self.components.contains(c));
        let of = |goes: Component| stays().filter(move |s| self.needs_to_leave(*s, goes)).collect::<Vec<_>>();
        self.components.iter().map(|goes| (*goes, of(*goes))).filter(|(_, stays)| !stays.is_empty()).collect()
    }

    /// What a component needs to leave its cluster and is not there any more.
    fn lost(&self, component: Component, standing: &BTreeSet<Component>) -> Option<Component> {
        Component::ALL.into_iter().find(|c| !standing.contains(c) && self.needs_to_leave(component, *c))
    }

    fn needs_to_leave(&self, from: Component, to: Component) -> bool {
        self.graph.between(from.name(), to.name()).any(|e| e.leave == Need::Hard)
    }

    fn planned(&self) -> Vec<PlannedComponent> {
        let none = BTreeSet::new();
        let gate = |component: Component, holder: Component| {
            let because = if self.needs_to_leave(holder, component) {
                format!("{holder} needs {component} to leave its cluster")
            } else {
                format!("{holder} needs {component}")
            };
            PlannedGate { on: holder.name().to_owned(), because }
        };
        let components = self.components.iter();
        components
            .map(|c| PlannedComponent {
                component: c.name().to_owned(),
                gates: self.held_by(*c, &none, &none).into_iter().map(|holder| gate(*c, holder)).collect(),
            })
            .collect()
    }
}

/// Tells what will be done, and waits for a "yes" where one is asked for. Yields what was found in the namespace beside it;
/// `None` where there is nothing to do.
async fn agreed(
    cluster: &Cluster,
    options: &DownOptions,
    found: &Found,
    emitter: &mut Emitter,
    steering: &mut Steering,
) -> Result<Option<Others>, DownError> {
    let mut changes = found.changes(options.delete_namespace);
    let mut told = Others::default();
    let stands = options.delete_namespace && namespace_stands(cluster).await? != Some(false);
    if stands {
        told = others(cluster, found).await?;
        // What is adopted is told as such already.
        changes.extend(told.changes().filter(|o| !found.deletion.iter().any(|d| d.object() == o.object)));
        changes.push(Change {
            object: format!("namespace/{}", cluster.namespace),
            component: None,
            operation: Operation::Delete,
            whose: Whose::Ours,
            diff: String::new(),
            restarts: 0,
        });
    }
    let nothing = changes.iter().all(|c| c.operation == Operation::Keep);
    emitter.emit(EventKind::Planned { changes, pending: Vec::new() }).await;
    if nothing {
        return Ok(None);
    }
    let theirs = told.beyond(&Others::default());
    if !theirs.is_empty() && !options.ask && !options.foreign {
        return Err(DownError::Foreign { namespace: cluster.namespace.clone(), others: theirs });
    }
    match steering.agreed(false, options.ask, emitter).await {
        Ok(()) => Ok(Some(told)),
        Err(Declined::Cancelled(reason)) => Err(DownError::Cancelled(reason)),
        Err(_) if theirs.is_empty() => Err(DownError::NotConfirmed),
        Err(_) => Err(DownError::NotConfirmedForeign { namespace: cluster.namespace.clone(), others: theirs }),
    }
}

async fn work(
    cluster: &Cluster,
    options: &DownOptions,
    emitter: &mut Emitter,
    steering: &mut Steering,
    done: &mut Done,
) -> Result<(Outcome, Advice), DownError> {
    // What is asked one thing after the other is over by then as a whole.
    let asked = &cluster.before(emitter.began() + options.timeout);
    let names = async {
        // They all lead to sprout.
        let meant = options.only.is_empty() || options.only.contains(&Component::Sprout);
        if meant { dns::standing(asked).await } else { Ok(None) }
    };
    let (found, names) = tokio::join!(find(asked, options), names);
    let found = found?;
    let order = Order::of(&found)?;
    emitter
        .emit(EventKind::RunStarted {
            command: Command::Down,
            namespace: cluster.namespace.clone(),
            order: "reverse".to_owned(),
            components: order.planned(),
        })
        .await;
    if !options.now
        && let Some((goes, stays)) = order.stranded(&found.staying).into_iter().next()
    {
        return Err(DownError::Stranded { goes, stay: stays });
    }
    for text in notices(cluster, options, &found, &names) {
        emitter.emit(EventKind::Notice { text }).await;
    }
    let tasks: &[Task] = if options.delete_namespace { &[Task::Down, Task::DeleteNamespace] } else { &[Task::Down] };
    let rights = rights::check(asked, tasks, &found.rights(options)).await;
    checks::tell(rights, "removed", emitter).await.map_err(|(outcome, advice)| DownError::Unfit(outcome, advice))?;
    // Whatever was said of rights, what could not be looked at may be there.
    if let Some(&resource) = found.unlisted.first() {
        return Err(DownError::Right { resource, namespace: cluster.namespace.clone() });
    }
    // Where something of this deployment may remain unseen, not all of it is known to be gone.
    let ended = |outcome, text: String| match &names {
        Err(why) => (Outcome::CouldNotLook, names_unseen(&cluster.namespace, why).after(&format!("{text}; "))),
        Ok(_) => (outcome, text.into()),
    };
    let Some(told) = agreed(asked, options, &found, emitter, steering).await? else {
        let text = match namespace_stands(asked).await? {
            Some(false) => format!("nothing to remove: {}", no_namespace(&cluster.namespace)),
            _ if found.kept.is_empty() => format!("nothing to remove in namespace {}", cluster.namespace),
            _ => format!("nothing to remove in namespace {}; kept: {}", cluster.namespace, named(&found.kept)),
        };
        return Ok(ended(Outcome::NothingToDo, text));
    };
    // The time of the question was not the run's.
    let until = emitter.began() + options.timeout;
    let cluster = &cluster.before(until);

    let mut kept = remove_components(cluster, options, &found, &order, until, emitter, steering, done).await?;
    done.has_begun = true;
    for deletion in found.deletion.iter().filter(|d| d.component.is_none()) {
        if options.delete_namespace && deletion.whose != Whose::Ours {
            continue;
        }
        kept.extend(take(cluster, deletion).await?);
        done.stats.writes += 1;
    }
    for text in &kept {
        emitter.emit(EventKind::Notice { text: text.clone().into() }).await;
    }
    if options.delete_namespace {
        // Somebody may have put something there since it was told what goes.
        let new = others(cluster, &found).await?.beyond(&told);
        if !new.is_empty() && !options.foreign {
            return Err(DownError::Foreign { namespace: cluster.namespace.clone(), others: new });
        }
        delete_namespace(cluster, emitter, until).await?;
        done.stats.writes += 1;
    }
    let given = found.deletion.iter().filter(|d| d.whose == Whose::Adopted).count();
    let given =
        if given == 0 || options.delete_namespace { String::new() } else { format!(", {given} of them given back") };
    let left = if found.kept.is_empty() { String::new() } else { format!("; kept: {}", named(&found.kept)) };
    let text =
        format!("{} removed from namespace {}{given}{left}", counted(done.stats.writes, "object"), cluster.namespace);
    if kept.is_empty() {
        Ok(ended(Outcome::Done, text))
    } else {
        Ok((Outcome::Failed, format!("{text}; {}", kept.join("; ")).into()))
    }
}

/// Takes the components down, each as soon as nothing that needs it is left. Yields what could not be given back.
#[expect(clippy::too_many_arguments, reason = "what is done, by whom it is told, and until when")]
async fn remove_components(
    cluster: &Cluster,
    options: &DownOptions,
    found: &Found,
    order: &Order,
    until: Instant,
    emitter: &mut Emitter,
    steering: &mut Steering,
    done: &mut Done,
) -> Result<Vec<String>, DownError> {
    let mut of: BTreeMap<Component, Vec<Deletion>> = BTreeMap::new();
    for deletion in &found.deletion {
        // What is adopted goes with the namespace.
        let spared = options.delete_namespace && deletion.whose != Whose::Ours;
        if let Some(component) = deletion.component.filter(|_| !spared) {
            of.entry(component).or_default().push(deletion.clone());
        }
    }
    let (mut there, _watching) = pods::watch_all(cluster, &found.theirs);
    let (mut begun, mut gone) = (BTreeSet::new(), BTreeSet::new());
    let mut removals: JoinSet<(Component, Result<Removed, DownError>)> = JoinSet::new();
    let (mut kept, mut told) = (Vec::new(), BTreeMap::new());
    while gone.len() < order.components.len() {
        let (known, leaving, refused) = {
            let there = there.borrow_and_update();
            (there.is_known(), there.leaving(), there.refused.clone())
        };
        if let Some(message) = refused {
            return Err(DownError::Unseen(message));
        }
        for &component in order.components.iter().filter(|_| known) {
            if begun.contains(&component) {
                continue;
            }
            let holders = order.held_by(component, &gone, &leaving);
            if !holders.is_empty() {
                wait(component, &holders, &order.components, &mut told, emitter).await;
                continue;
            }
            begun.insert(component);
            let lost = order.lost(component, &found.standing);
            let cause = match lost {
                Some(lost) => format!("its pods are killed: {lost} is gone, and without it they cannot leave"),
                None if options.now => "its pods are killed".to_owned(),
                None => "its pods are given their time to leave".to_owned(),
            };
            emitter.emit(EventKind::Removing { component: component.name().to_owned(), cause }).await;
            let removal = Removal {
                cluster: cluster.clone(),
                component,
                objects: of.remove(&component).unwrap_or_default(),
                now: options.now || lost.is_some(),
                theirs: found.theirs.clone(),
                there: there.clone(),
                until,
            };
            done.has_begun = true;
            removals.spawn(async move { (component, removal.run().await) });
        }
        tokio::select! {
            Some(ended) = removals.join_next() => {
                let Ok((component, ended)) = ended else { continue };
                let removed = ended?;
                done.stats.writes += removed.objects;
                kept.extend(removed.kept);
                gone.insert(component);
                let (component, objects, took) = (component.name().to_owned(), removed.objects, removed.took);
                emitter.emit(EventKind::Removed { component, objects, took }).await;
            }
            Ok(()) = there.changed() => {}
            () = sleep_until(until), if removals.is_empty() => {
                let held: Vec<&str> = order.components.iter().filter(|c| !begun.contains(c)).map(|c| c.name()).collect();
                return Err(DownError::Late(format!("waiting until these may go: {}", held.join(", "))));
            }
            changed = steering.cancel.changed() => {
                let reason = *steering.cancel.borrow();
                if changed.is_ok() && let Some(reason) = reason {
                    return Err(DownError::Cancelled(reason));
                }
                if changed.is_err() {
                    return Err(DownError::Cancelled(CancelReason::Reader));
                }
            }
        }
    }
    Ok(kept)
}

/// Tells once that a component waits for what an earlier run, or somebody else, has sent away.
async fn wait(
    component: Component,
    holders: &[Component],
    order: &[Component],
    told: &mut BTreeMap<Component, Vec<Component>>,
    emitter: &mut Emitter,
) {
    let strays: Vec<Component> = holders.iter().filter(|h| !order.contains(h)).copied().collect();
    if strays.is_empty() || told.get(&component) == Some(&strays) {
        return;
    }
    let awaited: Vec<Awaited> = strays
        .iter()
        .map(|s| Awaited { component: s.name().to_owned(), state: "is leaving its cluster".to_owned() })
        .collect();
    let cause = awaited.first().map(|a| format!("{} {}", a.component, a.state)).unwrap_or_default();
    told.insert(component, strays);
    emitter.emit(EventKind::Waiting { component: component.name().to_owned(), awaited, cause, held: None }).await;
}
