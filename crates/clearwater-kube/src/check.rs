//! Known pitfalls of Clearwater on Kubernetes, looked for one by one: each check has an id that stays, says what was seen
//! and what to do.
//!
//! What is unwell has been seen twice. What could not be looked at is a line of its own, and is never taken for well.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::check::{CheckOptions, check};
//!
//! for line in check(&cluster, &CheckOptions::new()).await?.lines() {
//!     println!("{} {:?}: {} {}", line.id, line.status, line.title, line.detail);
//! }
//! # Ok(()) }
//! ```

mod before;
mod doors;
mod facts;
mod inside;
mod rules;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::Deployment;
use clearwater::event::{CheckGroup, CheckId, CheckLine, CheckStatus};
use clearwater::remedy::{Permission, Remedy};
use clearwater::text::Clean;
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::facts::{Facts, JudgedComponent, public_keys, told_by_pods, unheard, zones};
use self::inside::{Inside, ask, volumes};
use self::settle::{is_bad, is_open, merged, settled};
use crate::apply::checks::{line, with_fix};
use crate::apply::preflight;
use crate::cluster::{Cluster, list_all, no_namespace, say};
use crate::deadline::no_answer;
use crate::judge;
use crate::observe::look::{BACK_OFF, left};
use crate::observe::snapshot::Snapshot;
use crate::observe::subject::{Subjects, take_foreign, with_programs, zone_line};
use crate::observe::unasked::Unasked;
use crate::observe::{CouldNotLook, MembersSeen, Subject, look};
use crate::options::setters;
use crate::pod::object::ready_since;

/// For so long after a pod became ready its endpoints may not be there yet; the clocks of two machines are in it.
const NEW: SignedDuration = SignedDuration::from_secs(30);

/// The version of the format of [`Checks`].
pub const VERSION: u32 = 1;

/// What to look at, and for how long.
///
/// ```
/// use clearwater::event::CheckId;
/// use clearwater_kube::check::CheckOptions;
///
/// let options = CheckOptions::new().only([CheckId::Kernel, CheckId::Clock]).before();
/// assert!(options.before);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckOptions {
    /// The deployment as it should be; without it, what is there is judged, and before there is one the default is.
    pub deployment: Option<Deployment>,
    /// Nothing of a deployment is there yet: whether the cluster takes one.
    pub before: bool,
    /// These checks alone; all where none is named.
    pub only: Vec<CheckId>,
    /// Not these.
    pub skip: Vec<CheckId>,
    /// How long the whole may take.
    pub timeout: Duration,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self::new()
    }
}

setters! { CheckOptions {
    /// The deployment as it should be.
    some deployment: Deployment,
    /// Nothing of a deployment is there yet.
    flag before,
    /// These checks alone.
    each only: CheckId,
    /// Not these.
    each skip: CheckId,
    /// How long the whole may take.
    value timeout: Duration,
} }

impl CheckOptions {
    /// Every check of what is there, within 20 seconds.
    pub fn new() -> Self {
        Self { deployment: None, before: false, only: Vec::new(), skip: Vec::new(), timeout: Duration::from_secs(20) }
    }

    /// The checks that are not asked for.
    fn left_out(&self) -> BTreeSet<CheckId> {
        CheckId::ALL.into_iter().filter(|id| !self.wants(*id)).collect()
    }

    fn wants(&self, id: CheckId) -> bool {
        (self.only.is_empty() || self.only.contains(&id)) && !self.skip.contains(&id)
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the format, and they do not exclude each other")]
pub struct Checks {
    /// The version of the format: [`VERSION`].
    pub v: u32,
    /// The namespace.
    pub namespace: String,
    /// When the look began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Whether it was looked before there is a deployment.
    pub before: bool,
    /// Whether nothing that was looked at is unwell.
    pub healthy: bool,
    /// Whether everything could be looked at that was asked for.
    pub complete: bool,
    /// Whether something had not answered, or could not be seen twice, when the time was up: with more of it more is known.
    #[serde(default)]
    pub partial: bool,
    /// How often was looked.
    pub looks: u32,
    /// The checks, group by group.
    pub groups: Vec<CheckedGroup>,
}

/// The checks of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckedGroup {
    /// The group.
    pub group: CheckGroup,
    /// Its lines.
    pub checks: Vec<CheckLine>,
}

impl Checks {
    /// Every line.
    pub fn lines(&self) -> impl Iterator<Item = &CheckLine> {
        self.groups.iter().flat_map(|g| &g.checks)
    }

    fn new(cluster: &Cluster, options: &CheckOptions, at: Timestamp, looks: u32, last: Glance) -> Self {
        let Glance { mut lines, late: partial, .. } = last;
        lines.retain(|l| options.wants(l.id));
        lines.iter_mut().for_each(Clean::clean);
        let healthy = !lines.iter().any(is_bad);
        let complete = !lines.is_empty() && lines.iter().all(|l| l.status.is_known());
        let mut groups: BTreeMap<CheckGroup, Vec<CheckLine>> = BTreeMap::new();
        for line in lines {
            groups.entry(line.id.group()).or_default().push(line);
        }
        Self {
            v: VERSION,
            namespace: cluster.namespace.clone(),
            at,
            before: options.before,
            healthy,
            complete,
            partial,
            looks,
            groups: groups.into_iter().map(|(group, checks)| CheckedGroup { group, checks }).collect(),
        }
    }
}

impl Clean for Checks {
    fn clean(&mut self) {
        self.namespace.clean();
        self.groups.iter_mut().flat_map(|g| &mut g.checks).for_each(Clean::clean);
    }
}

/// Looks, and again where something is unwell, until the same was seen twice or the time is up.
///
/// # Errors
/// Where nothing of the namespace could be seen; what else could not be looked at is a line.
pub async fn check(cluster: &Cluster, options: &CheckOptions) -> Result<Checks, CouldNotLook> {
    let at = Timestamp::now();
    CouldNotLook::unless_of(cluster, options.deployment.as_ref())?;
    let until = Instant::now() + options.timeout;
    // What is asked one thing after the other is over by then as a whole, and what hangs hides nothing of the rest.
    let cluster = &cluster.before(until);
    if options.before {
        let lines = match timeout_at(until + BACK_OFF, before::look(cluster, options).boxed()).await {
            Ok(lines) => lines?,
            Err(_) => return Err(CouldNotLook::late(cluster, options.timeout)),
        };
        return Ok(Checks::new(cluster, options, at, 1, Glance { lines, late: until <= Instant::now(), lost: false }));
    }
    // Half of what the objects leave is kept for a second look.
    let mut before = Vec::new();
    let mut now = Box::pin(glance(cluster, options, until, 2)).await?;
    let mut looks = 1;
    let mut why = "there was no time to look again".to_owned();
    let wanted =
        |lines: &[CheckLine]| -> Vec<CheckLine> { lines.iter().filter(|l| options.wants(l.id)).cloned().collect() };
    // Who was late in half of the time may come in all of it, and who was not heard once may be heard.
    while (now.late || now.lost && looks == 1 || is_open(&before, &wanted(&now.lines))) && left(until) > BACK_OFF {
        sleep(BACK_OFF).await;
        match Box::pin(glance(cluster, options, until, 1)).await {
            Ok(again) => before = std::mem::replace(&mut now, again).lines,
            Err(error) => {
                why = format!("it could not be looked again ({})", say(error.source.as_ref()));
                now.late |= error.is_late();
                break;
            }
        }
        looks += 1;
    }
    let late = now.late || left(until) <= BACK_OFF && is_open(&before, &wanted(&now.lines));
    let lines = merged(settled(&before, now.lines, &why));
    Ok(Checks::new(cluster, options, at, looks, Glance { lines, late, lost: false }))
}

/// What one look saw.
#[derive(Debug)]
struct Glance {
    lines: Vec<CheckLine>,
    /// Whether its time was up before all had answered.
    late: bool,
    /// Whether somebody was not heard.
    lost: bool,
}

/// The namespace's or the cluster's objects of a kind, or why they are not seen.
async fn list<K>(api: Api<K>, right: &str, within: Duration) -> Result<Vec<K>, String>
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    match timeout(within, list_all(&api, &ListParams::default())).await {
        Ok(Ok(all)) => Ok(all),
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => Err(format!("needs {right}")),
        Ok(Err(error)) => Err(say(&error)),
        Err(_) => Err(no_answer(within)),
    }
}

/// One look. Listing objects may take all of the time, and asking the pods one of so many `shares` of what is left.
async fn glance(
    cluster: &Cluster,
    options: &CheckOptions,
    until: Instant,
    shares: u32,
) -> Result<Glance, CouldNotLook> {
    let (snapshot, leaves) = futures::join!(look::snapshot(cluster, left(until)), cluster.is_leaving(left(until) / 2));
    let mut snapshot = snapshot?;
    let until = Instant::now() + left(until) / shares;
    let cluster = &cluster.before(until);
    if leaves {
        return Ok(Glance { lines: vec![preflight::leaving(cluster)], late: false, lost: false });
    }
    let foreign = take_foreign(&mut snapshot);
    let mut subjects = Subjects::of(cluster, &snapshot, options.deployment.as_ref()).await;
    let secrets_unread = subjects.read_secrets(cluster, &snapshot).await;
    let zone_unread = subjects.zone_unread();
    let Subjects { release, names, mut zone, all: subjects, .. } = subjects;
    if subjects.is_empty() {
        return Ok(Glance { lines: vec![nothing(cluster).await], late: false, lost: false });
    }
    let domain = match (&options.deployment, &names) {
        (Some(deployment), _) => Some(deployment.cluster_domain().to_owned()),
        (None, Some(names)) if names.zone_is_kubernetes() => {
            names.zone().strip_prefix(&format!("{}.svc.", cluster.namespace)).map(str::to_owned)
        }
        _ => None,
    };
    let rest = left(until);
    let asked: Vec<&Subject> = subjects.iter().collect();
    let (version, domain, nodes, claims, (seen, _), (inside, doors)) = futures::join!(
        timeout(rest, preflight::version(cluster)),
        async {
            match &domain {
                Some(domain) => Some(timeout(rest, preflight::domain(cluster, domain)).await.unwrap_or_else(|_| {
                    line(CheckId::Domain, format!("cluster domain {domain}"), CheckStatus::Unseen, "no answer in time")
                })),
                None => None,
            }
        },
        list::<Node>(Api::all(cluster.client.clone()), "list nodes", rest),
        list::<PersistentVolumeClaim>(cluster.api(), "list persistentvolumeclaims", rest),
        look::look(cluster, snapshot.clone(), &asked, until),
        async {
            let said = inside(cluster, &subjects, &snapshot, rest).await;
            let doors = doors::tried(cluster, &snapshot, &said, left(until)).await;
            (said, doors)
        },
    );
    let late = |_| line(CheckId::Version, "Kubernetes version", CheckStatus::Unseen, "no answer in time");
    let mut lines = vec![version.unwrap_or_else(late)];
    lines.extend(domain);
    lines.extend(zone_unread.as_ref().map(zone_line));
    lines.extend(foreign_line(&foreign));
    let parts = subjects.iter().map(|subject| {
        let mut judged = judge::standing(subject, &seen);
        let fix = judge::with_cause(subject, &mut judged, &seen, seen.now());
        JudgedComponent {
            component: subject.component(),
            scaled_to_0: judge::scaled_to_0(subject, &seen.snapshot),
            judged,
            fix,
            unreached: judge::is_unreached(subject, &seen),
            members_read: matches!(
                seen.members(subject.component()),
                Some(MembersSeen::Read(_) | MembersSeen::Wrong { .. })
            ),
            unheard: unheard(subject, &seen),
        }
    });
    let parts: Vec<JudgedComponent> = parts.collect();
    told_by_pods(&mut zone, &inside, &seen, &cluster.namespace);
    if zone.is_wrong() && options.deployment.is_none() {
        // It was asked for by the zone that is wrong.
        lines.retain(|line| line.id != CheckId::Domain);
    }
    let zones = zones(&zone, &inside, &seen);
    // A pod that has just come is asked at the next look; one that is ready for long and that its Service does not lead to
    // never is.
    let is_new =
        parts.iter().any(|part| part.judged.is_unasked() && is_new(&seen.snapshot, part.component, seen.now()));
    let facts = Facts {
        release,
        at: seen.now(),
        parts,
        inside,
        doors,
        nodes,
        claims,
        cluster: lines,
        zone,
        zones,
        secrets_unread,
        public_keys: public_keys(&subjects, &seen),
        left_out: options.left_out(),
        snapshot: seen.snapshot,
    };
    let lost = facts.lost_a_word();
    Ok(Glance { lines: rules::lines(&facts), late: is_new || until <= Instant::now(), lost })
}

/// Whether a pod of a component is ready since a moment ago.
fn is_new(snapshot: &Snapshot, component: Component, now: Timestamp) -> bool {
    let pods = snapshot.pods_of(component);
    pods.into_iter().filter_map(ready_since).any(|since| now.duration_since(since) < NEW)
}

/// The one line of a namespace in which no deployment stands.
async fn nothing(cluster: &Cluster) -> CheckLine {
    let title = format!("a deployment in namespace {}", cluster.namespace);
    let of = |detail: String| line(CheckId::Workloads, title, CheckStatus::Failed, detail);
    if cluster.lacks_namespace().await {
        let make = Remedy::sentence([Remedy::BringUp, ", and there ".into(), Permission::CreateNamespace.into()]);
        let none = of(no_namespace(&cluster.namespace));
        return with_fix(none, Remedy::any([Remedy::ChooseNamespace, make]));
    }
    with_fix(of("there is no Clearwater here: no workload carries the label service: NAME".to_owned()), Remedy::BringUp)
}

/// Pods of somebody else, to which our Services lead all the same.
fn foreign_line(foreign: &[(Component, String)]) -> Option<CheckLine> {
    let named: Vec<String> = foreign.iter().map(|(component, pod)| format!("pod/{pod} as {component}")).collect();
    let detail = format!("{}: not judged, though Services lead to them as to ours", named.join(", "));
    let seen = line(CheckId::Foreign, "what somebody else has under the same labels", CheckStatus::Warning, detail);
    (!foreign.is_empty())
        .then(|| with_fix(seen, "remove them, or give them another label in the place of service: NAME"))
}

type Answers = BTreeMap<String, (Component, Result<Inside, Unasked>)>;

/// What the containers that run say of themselves.
async fn inside(cluster: &Cluster, subjects: &[Subject], snapshot: &Snapshot, within: Duration) -> Answers {
    let mut asked = JoinSet::new();
    let mut answers = Answers::new();
    for pod in snapshot.pods.values() {
        let stays = pod.metadata.deletion_timestamp.is_none();
        let Some((subject, own)) = with_programs(subjects, pod).filter(|_| stays) else { continue };
        let (name, container, entry, api) = (pod.name_any(), own.name.clone(), subject.entry, cluster.api::<Pod>());
        let volumes = volumes(pod, own);
        let late = Unasked::failed(format!("pod {name}: no answer in time"));
        answers.insert(name.clone(), (entry.component, Err(late)));
        asked.spawn(async move {
            let said = timeout(within, ask(&api, &name, &container, &volumes)).await.ok();
            (name, entry.component, said)
        });
    }
    while let Some(done) = asked.join_next().await {
        if let Ok((name, component, Some(said))) = done {
            answers.insert(name, (component, said));
        }
    }
    answers
}
#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api;
    use crate::observe::snapshot::{Update, WatchEvent};

    /// What nothing will change is not looked at again until the time is up.
    #[test]
    fn a_pod_is_new_for_a_moment() {
        let pod = json!({"metadata": {"name": "homer-x", "uid": "u", "labels": {"service": "homer"}},
            "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let mut snapshot = Snapshot::default();
        snapshot.absorb(WatchEvent::Pod(Update::All(vec![serde_json::from_value(pod).unwrap()])));
        let at = |text: &str| is_new(&snapshot, Component::Homer, text.parse().unwrap());
        assert!(at("2026-01-01T00:00:05Z") && at("2025-12-31T23:59:50Z") && !at("2026-01-01T00:01:00Z"));
        assert!(!is_new(&snapshot, Component::Ellis, "2026-01-01T00:00:05Z".parse().unwrap()));
    }

    /// Every further question has the same answer there, whether its pods run still or all of it is gone.
    #[tokio::test]
    async fn a_namespace_that_goes_is_one_finding() {
        let running = json!([{"metadata": {"name": "homer-x", "uid": "u", "labels": {"service": "homer"}},
            "status": {"phase": "Running"}}]);
        let going = |pods: Value| {
            move |path: &str| -> Option<Value> {
                let list = |items: Value| Some(json!({"metadata": {}, "items": items}));
                match path.rsplit('/').next()? {
                    "pods" => list(pods.clone()),
                    "ims" => Some(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
                    "version" => Some(json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"})),
                    "nodes"
                    | "deployments"
                    | "statefulsets"
                    | "services"
                    | "events"
                    | "endpointslices"
                    | "storageclasses"
                    | "persistentvolumeclaims"
                    | "resourcequotas" => list(json!([])),
                    _ => None,
                }
            }
        };
        let file = || clearwater::config::DeploymentFile::default().deploy("ims").unwrap();
        for (options, pods) in [
            (CheckOptions::new(), json!([])),
            (CheckOptions::new(), running),
            (CheckOptions::new().deployment(file()), json!([])),
            (CheckOptions::new().before(), json!([])),
        ] {
            let (cluster, asked) = fake_api::cluster(going(pods));
            let checks = check(&cluster, &options).await.unwrap();
            let wrong: Vec<&CheckLine> = checks.lines().filter(|l| l.status >= CheckStatus::Warning).collect();
            let [line] = &wrong[..] else { panic!("{wrong:?}") };
            assert_eq!(line.id, CheckId::Namespace, "{line:?}");
            assert!(line.detail.contains("Terminating"), "{line:?}");
            let written = asked.all().into_iter().filter(|a| !a.starts_with("GET")).collect::<Vec<_>>();
            assert!(written.is_empty(), "a dry run in a namespace that goes: {written:?}");
        }
    }
}
