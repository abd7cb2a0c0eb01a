//! A look at a deployment, in depth: what stands, what its programs and its own answers say, and the cause of
//! whatever is wrong, which is looked at twice before it is said. Bounded in time whatever hangs, and content with few
//! rights.
//!
//! A deployment is found by upstream's labels (`service: NAME`), so one that other manifests made is judged as well.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::status::{StatusOptions, status};
//!
//! let seen = status(&cluster, &StatusOptions::new()).await?;
//! for one in &seen.components {
//!     println!("{}: {:?} {} problems", one.component, one.health, one.problems.len());
//! }
//! # Ok(()) }
//! ```

mod clean;
mod component;
mod data;
#[cfg(feature = "metrics")]
mod metrics;
mod notes;
mod same;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clearwater::component::{Component, Release, catalogue};
use clearwater::config::Deployment;
use clearwater::event::LogExcerpt;
use clearwater::remedy::{Advice, Remedy};
use clearwater::scale::MemberState;
use clearwater::text::Clean;
use jiff::Timestamp;
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use self::component::component_status;
pub use self::data::{LastBackup, PodData};
#[cfg(feature = "metrics")]
pub use self::metrics::metrics;
use self::settle::{Settled, settle};
use crate::cluster::{Cluster, LEAVING, no_namespace, until_gone};
use crate::judge::{self, Outdated, Stage};
use crate::observe::look::{BACK_OFF, left};
use crate::observe::snapshot::{Kind, Snapshot};
use crate::observe::subject::{Subjects, release, take_foreign};
use crate::observe::unasked::Unasked;
use crate::observe::{CouldNotLook, Observation, Subject, look};
use crate::options::setters;

/// The version of the format of [`Status`].
pub const VERSION: u32 = 1;

/// What to look at, and for how long.
///
/// ```
/// use std::time::Duration;
/// use clearwater_kube::status::StatusOptions;
///
/// let options = StatusOptions::new().timeout(Duration::from_secs(5));
/// assert!(options.deployment.is_none());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StatusOptions {
    /// The deployment as it should be; without it, what is there is judged.
    pub deployment: Option<Deployment>,
    /// How long the whole may take. What has not answered by then is told so.
    pub timeout: Duration,
}

impl StatusOptions {
    /// What is there, within ten seconds.
    pub fn new() -> Self {
        Self { deployment: None, timeout: Duration::from_secs(10) }
    }
}

impl Default for StatusOptions {
    fn default() -> Self {
        Self::new()
    }
}

setters! { StatusOptions {
    /// The deployment as it should be.
    some deployment: Deployment,
    /// How long the whole may take.
    value timeout: Duration,
} }

/// How far a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// There is nothing of it.
    Absent,
    /// Its controller has given up.
    Stalled,
    /// Its pods are not all ready.
    Starting,
    /// Its pods are ready, and it does not answer for itself.
    Unwell,
    /// Its pods are ready, and not all that tells how it does could be asked, for want of a way to it or of a right:
    /// whether it serves is not known.
    Unseen,
    /// It serves.
    Serving,
}

impl From<Stage> for Health {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Absent => Self::Absent,
            Stage::Stalled => Self::Stalled,
            Stage::Starting => Self::Starting,
            Stage::Settling => Self::Unwell,
            Stage::Serving => Self::Serving,
        }
    }
}

/// A deployment as it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the format, and they do not exclude each other")]
pub struct Status {
    /// The version of the format: [`VERSION`].
    pub v: u32,
    /// The namespace.
    pub namespace: String,
    /// The release, from the deployment file or from what is there.
    pub release: Release,
    /// When the look began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Whether everything serves.
    pub healthy: bool,
    /// Whether the namespace is being removed: nothing else of it was asked.
    #[serde(default)]
    pub leaving: bool,
    /// Whether something had not answered when the time was up.
    pub partial: bool,
    /// Whether something could not be asked, or nothing of it was heard: what is wrong there is not known.
    #[serde(default)]
    pub unreached: bool,
    /// Whether everything was looked at that tells how the deployment does; else a right is missing, which is told with
    /// its component or in the notes, or nothing was heard.
    #[serde(default = "whole")]
    pub complete: bool,
    /// How often was looked: once where all is well at the first look; what is wrong is looked at once more.
    #[serde(default)]
    pub looks: u32,
    /// The components, in listing order.
    pub components: Vec<ComponentStatus>,
    /// When the last backup was made; left out where it could not be asked, or nothing is in the deployment that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<LastBackup>,
    /// What is worth knowing of the whole.
    pub notes: Vec<String>,
}

/// Looks of before this was told were taken for whole.
const fn whole() -> bool {
    true
}

/// A component as it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// The component.
    pub component: Component,
    /// The functions it plays.
    pub roles: Vec<String>,
    /// How far it is.
    pub health: Health,
    /// The image of its own container; empty where there is no pod.
    pub image: String,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods that are wanted.
    pub wanted: u32,
    /// Its pods.
    pub pods: Vec<PodStatus>,
    /// The members of its store with their states, by address; empty where it is none or could not be asked.
    #[schemars(with = "BTreeMap<String, String>")]
    pub members: BTreeMap<String, MemberState>,
    /// What is wrong, most telling first.
    pub problems: Vec<Advice>,
    /// The last lines of the log of the first program that is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogExcerpt>,
    /// Checks that could not be made, each with what it needs.
    pub unchecked: Vec<String>,
    /// Pods of an older revision that only their replacement will renew.
    pub pending: u32,
    /// What replaces these, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Remedy>,
}

/// A pod as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Its name.
    pub name: String,
    /// The node it runs on.
    pub node: String,
    /// Its address.
    pub address: String,
    /// Whether its readiness condition holds.
    pub ready: bool,
    /// Restarts of its containers in all.
    pub restarts: u32,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub started: Option<Timestamp>,
    /// Programs that are as they should be, and programs in all; none where they could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs: Option<(u32, u32)>,
    /// Questions of its own that it answers as it should (ping, OPTIONS, ports), and questions in all; none where they
    /// could not be put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<(u32, u32)>,
    /// Names by which others know it that are found from inside the pod, and such names in all; none where they could
    /// not be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<(u32, u32)>,
    /// Where it keeps what people would miss; none where it keeps nothing of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<PodData>,
}

/// The JSON schema of [`Status`].
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Status).to_value()
}

/// Looks, and where something is wrong looks at that once more before it is said: an answer that is lost once is not a
/// component that is unwell.
///
/// # Errors
/// Where nothing of the namespace could be seen; what else could not be asked is told with its component.
pub async fn status(cluster: &Cluster, options: &StatusOptions) -> Result<Status, CouldNotLook> {
    let at = Timestamp::now();
    CouldNotLook::unless_of(cluster, options.deployment.as_ref())?;
    let until = Instant::now() + options.timeout;
    // What is asked one thing after the other is over by then as a whole.
    let cluster = &cluster.before(until);
    let (snapshot, leaves) =
        futures::join!(look::snapshot(cluster, options.timeout), cluster.is_leaving(options.timeout / 2));
    let mut snapshot = snapshot?;
    if leaves {
        return Ok(Status::leaving(cluster, release(&snapshot), at));
    }
    let mut foreign = take_foreign(&mut snapshot);
    let subjects = Subjects::of(cluster, &snapshot, options.deployment.as_ref()).await;
    let zone_unread = subjects.zone_unread();
    let Subjects { release, zone, own, all: subjects, .. } = subjects;

    // And half of what is left for asking again.
    let half = left(until) / 2;
    let (first, told) = {
        let standing = snapshot.clone();
        let asked = Box::pin(data::Told::ask(cluster, &standing, own, half));
        let glance = Glance::at(cluster, snapshot, subjects.iter().collect(), Instant::now() + half);
        futures::join!(Box::pin(glance), asked)
    };
    let mut looks = 1;
    let mut partial = false;
    let mut open = Vec::new();
    let mut settled = BTreeMap::new();
    let mut outdated: BTreeMap<Component, Vec<Outdated>> = BTreeMap::new();
    for subject in &subjects {
        let judged = judge::standing(subject, &first.seen);
        outdated.insert(subject.component(), judged.outdated.clone());
        if judged.stage == Stage::Serving {
            settled.insert(subject.component(), component_status(subject, judged, &first.seen, at));
        } else {
            open.push((subject, judged));
        }
    }
    let mut last = first;
    while !open.is_empty() && left(until) > BACK_OFF {
        sleep(BACK_OFF).await;
        looks += 1;
        let again = match look::snapshot(cluster, left(until) / 2).await {
            Ok(mut again) if again.unheard.keys().all(|kind| last.seen.snapshot.unheard.contains_key(kind)) => {
                foreign = take_foreign(&mut again);
                again
            }
            _ => last.seen.snapshot.clone(),
        };
        let next = Glance::at(cluster, again, open.iter().map(|(subject, _)| *subject).collect(), until).await;
        open = open
            .into_iter()
            .filter_map(|(subject, before)| {
                let now = judge::standing(subject, &next.seen);
                outdated.insert(subject.component(), now.outdated.clone());
                let judged = match settle(&before, &now) {
                    Settled::Open => return Some((subject, now)),
                    Settled::Serving => now,
                    Settled::Unwell(judged) => judged,
                };
                partial |= next.is_late(subject);
                settled.insert(subject.component(), component_status(subject, judged, &next.seen, at));
                None
            })
            .collect();
        last = next;
    }
    // There was no time to see anything twice.
    for (subject, judged) in open {
        partial = true;
        settled.insert(subject.component(), component_status(subject, judged, &last.seen, at));
    }

    let components: Vec<ComponentStatus> = settled.into_values().collect();
    let unreached = matches!(zone_unread, Some(Unasked::Failed(_)))
        || subjects.iter().any(|subject| judge::is_unreached(subject, &last.seen));
    // Without its events a look misses reasons, and nothing that is wrong.
    let blind = Kind::ALL.iter().any(|kind| *kind != Kind::Event && last.seen.snapshot.blind(*kind).is_some());
    let unseen = components.iter().any(|c| c.health == Health::Unseen || !c.unchecked.is_empty());
    let absent = absence(cluster, options, release, &components, until).await;
    let mut seen = Status {
        v: VERSION,
        namespace: cluster.namespace.clone(),
        release,
        at,
        healthy: !components.is_empty() && components.iter().all(|c| c.health == Health::Serving),
        leaving: false,
        partial,
        looks,
        unreached,
        complete: !(unreached || blind || unseen || zone_unread.is_some()),
        last_backup: None,
        notes: notes::of(&last.seen.snapshot, zone_unread.as_ref(), &foreign, absent)
            .into_iter()
            .chain(notes::of_settings(&zone, outdated.into_values().flatten()))
            .collect(),
        components,
    };
    told.into_status(&last.seen.snapshot, &mut seen);
    // It quotes what others wrote: names of members and of files, lines of logs, messages of the API.
    seen.clean();
    Ok(seen)
}

impl Status {
    /// A look that ends with what there is to say of the namespace: nothing in it lasts.
    fn leaving(cluster: &Cluster, release: Release, at: Timestamp) -> Self {
        let note = Advice::new(format!("namespace {}: {LEAVING}", cluster.namespace), until_gone(&cluster.namespace));
        Self {
            v: VERSION,
            namespace: cluster.namespace.clone(),
            release,
            at,
            healthy: false,
            leaving: true,
            partial: false,
            unreached: false,
            complete: true,
            looks: 1,
            components: Vec::new(),
            last_backup: None,
            notes: vec![note.to_string()],
        }
    }
}

/// What a whole deployment has and this namespace does not, where no deployment file says what should be there: an `up`
/// that was interrupted leaves a part behind, in which everything serves.
async fn absence(
    cluster: &Cluster,
    options: &StatusOptions,
    release: Release,
    there: &[ComponentStatus],
    until: Instant,
) -> Option<String> {
    let namespace = &cluster.namespace;
    if there.is_empty() {
        return Some(match timeout(left(until), cluster.namespace_exists()).await {
            Ok(Ok(Some(false))) => no_namespace(namespace),
            _ => {
                format!("there is no Clearwater in namespace {namespace}: no workload carries the label service: NAME")
            }
        });
    }
    if options.deployment.is_some() {
        return None;
    }
    let stands = |component: &Component| there.iter().any(|c| c.component == *component);
    let components = catalogue(release).iter().map(|e| e.component);
    let missing: Vec<&str> = components.filter(|c| !stands(c)).map(Component::name).collect();
    let missing = missing.join(", ");
    (!missing.is_empty()).then(|| format!("what stands is judged; of release {release}, these do not: {missing}"))
}

/// One look, over connections of its own.
struct Glance {
    seen: Observation,
    /// Pods that had not answered everything when the time was up, by uid.
    late: BTreeSet<String>,
}

impl Glance {
    async fn at(cluster: &Cluster, snapshot: Snapshot, subjects: Vec<&Subject>, until: Instant) -> Self {
        let (seen, late) = look::look(cluster, snapshot, &subjects, until).await;
        Self { seen, late }
    }

    /// Whether a pod of a component had not answered everything when the time was up.
    fn is_late(&self, subject: &Subject) -> bool {
        judge::pods(subject, &self.seen).iter().filter_map(|p| p.uid()).any(|uid| self.late.contains(&uid))
    }
}

#[cfg(test)]
mod tests;
