//! The contract: what this crate relies on in Clearwater's images, as claims that are put to the pods of a deployment.
//!
//! One pod of each image is asked, over one shell; nothing is written there. What differs has been seen twice. What could
//! not be looked at is never taken for what agrees.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::contract::{ContractOptions, contract};
//!
//! let asked = contract(&cluster, &ContractOptions::new()).await?;
//! println!("{} claims, agrees: {}", asked.claims().count(), asked.agrees);
//! # Ok(()) }
//! ```

mod claims;

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::component::{Component, Release};
use clearwater::config::Deployment;
use clearwater::text::{Clean, printable};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

pub use self::claims::{Agreement, Claim, Known, PodPlace, claims};
use crate::cluster::{Cluster, list_all};
use crate::observe::snapshot::Snapshot;
use crate::observe::subject::{Subjects, take_foreign, with_programs};
use crate::observe::{CouldNotLook, Subject, look};
use crate::options::setters;
use crate::pod::object::pod_is_ready;
use crate::pod::{AskError, OPEN, Script, Shell};

/// The version of the format of [`ContractReport`].
pub const VERSION: u32 = 1;
/// How many pods are asked at the same time.
const AT_ONCE: usize = 8;
/// The longest that one claim may take.
const ANSWER: Duration = Duration::from_secs(25);

/// Who is asked, and for how long.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContractOptions {
    /// The deployment as it should be; without it, what is there tells.
    pub deployment: Option<Deployment>,
    /// How long the whole may take.
    pub timeout: Duration,
}

impl ContractOptions {
    /// Whoever is there, within a minute.
    pub fn new() -> Self {
        Self { deployment: None, timeout: Duration::from_secs(60) }
    }
}

impl Default for ContractOptions {
    fn default() -> Self {
        Self::new()
    }
}

setters! { ContractOptions {
    /// The deployment as it should be.
    some deployment: Deployment,
    /// How long the whole may take.
    value timeout: Duration,
} }

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContractReport {
    /// The version of the format: [`VERSION`].
    pub v: u32,
    /// The namespace.
    pub namespace: String,
    /// When the look began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Whether nothing that was looked at differs.
    pub agrees: bool,
    /// Whether every claim could be looked at.
    pub complete: bool,
    /// The images, by component.
    pub images: Vec<AskedImage>,
}

/// An image, and what one of its pods said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AskedImage {
    /// The component.
    pub component: Component,
    /// The image, as the pod names it; none where no pod of the component runs.
    pub image: Option<String>,
    /// The pod that was asked.
    pub pod: Option<String>,
    /// Whether that pod is ready: the claims are about pods in health.
    pub ready: bool,
    /// Every claim.
    pub claims: Vec<AskedClaim>,
}

/// A claim, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AskedClaim {
    /// Its name, which stays.
    pub id: String,
    /// The component that it is about.
    pub about: Component,
    /// What is so, as a clause whose subject is the component.
    pub claim: String,
    /// Where it was read.
    pub source: String,
    /// How it is known.
    pub known: Known,
    /// What was found.
    #[serde(flatten)]
    pub agreement: Agreement,
}

impl ContractReport {
    /// Every claim.
    pub fn claims(&self) -> impl Iterator<Item = &AskedClaim> {
        self.images.iter().flat_map(|i| &i.claims)
    }

    /// What could not be looked at, and why: a line for each image and reason.
    pub fn unseen(&self) -> impl Iterator<Item = (String, &str)> {
        self.images.iter().flat_map(|image| {
            let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for claim in &image.claims {
                if let Agreement::CouldNotLook { why } = &claim.agreement {
                    by_reason.entry(why).or_default().push(&claim.id);
                }
            }
            let (component, all) = (image.component, image.claims.len());
            by_reason.into_iter().map(move |(why, ids)| {
                let what = if ids.len() == all { "every claim".to_owned() } else { ids.join(", ") };
                (format!("{component}: {what}"), why)
            })
        })
    }

    fn new(cluster: &Cluster, at: Timestamp, mut images: Vec<AskedImage>) -> Self {
        images.sort_by(|a, b| (a.component, &a.image).cmp(&(b.component, &b.image)));
        images.iter_mut().for_each(Clean::clean);
        let all: Vec<&Agreement> = images.iter().flat_map(|i| &i.claims).map(|c| &c.agreement).collect();
        let agrees = !all.iter().any(|a| matches!(a, Agreement::Differs { .. }));
        let complete = !all.is_empty() && !all.iter().any(|a| matches!(a, Agreement::CouldNotLook { .. }));
        Self { v: VERSION, namespace: cluster.namespace.clone(), at, agrees, complete, images }
    }
}

impl Clean for AskedImage {
    fn clean(&mut self) {
        for text in self.image.iter_mut().chain(&mut self.pod) {
            *text = printable(text).into_owned();
        }
        for claim in &mut self.claims {
            [&mut claim.id, &mut claim.claim, &mut claim.source].into_iter().for_each(Clean::clean);
            if let Agreement::Differs { seen: text } | Agreement::CouldNotLook { why: text } = &mut claim.agreement {
                let lines: Vec<_> = text.lines().map(printable).collect();
                *text = lines.join("\n");
            }
        }
    }
}

/// Whom a look asks.
struct Asked {
    subject: Subject,
    /// The image, and the pod, its container and whether it is ready; none where no pod runs.
    pod: Option<(String, String, String, bool)>,
    claims: Vec<Claim>,
}

/// One pod of each image of each component, a ready one where there is one; and components without a pod.
fn asked(release: Release, subjects: &[Subject], snapshot: &Snapshot) -> Vec<Asked> {
    let address = |pod: &Pod| pod.status.as_ref().and_then(|s| s.pod_ip.clone());
    // A ready one is asked where there is one.
    let mut of_etcd = snapshot.pods_of(Component::Etcd);
    of_etcd.sort_by_key(|pod| !pod_is_ready(pod));
    let etcd = of_etcd.into_iter().find_map(address);
    let place = |address: Option<String>| PodPlace { address: address.unwrap_or_default(), etcd: etcd.clone() };
    let mut chosen: BTreeMap<(Component, String), (&Subject, &Pod, String)> = BTreeMap::new();
    let stays = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none() && address(pod).is_some();
    for pod in snapshot.pods.values().filter(stays) {
        let Some((subject, own)) = with_programs(subjects, pod) else { continue };
        let key = (subject.component(), own.image.clone().unwrap_or_default());
        let held = chosen.get(&key).is_some_and(|(_, held, _)| pod_is_ready(held) || !pod_is_ready(pod));
        if !held {
            chosen.insert(key, (subject, pod, own.name.clone()));
        }
    }
    let without = subjects.iter().filter(|s| !chosen.keys().any(|(component, _)| *component == s.component()));
    let without = without.map(|subject| {
        let claims = claims(release, subject.entry, &place(None));
        Asked { subject: subject.clone(), pod: None, claims }
    });
    let with = chosen.iter().map(|((_, image), (subject, pod, container))| {
        let claims = claims(release, subject.entry, &place(address(pod)));
        let pod = (image.clone(), pod.name_any(), container.clone(), pod_is_ready(pod));
        Asked { subject: (*subject).clone(), pod: Some(pod), claims }
    });
    with.chain(without).filter(|asked| !asked.claims.is_empty()).collect()
}

/// Puts every claim to the pods.
///
/// # Errors
/// Where nothing of the namespace could be seen; what a pod could not be asked is a claim that could not be looked at.
pub async fn contract(cluster: &Cluster, options: &ContractOptions) -> Result<ContractReport, CouldNotLook> {
    let at = Timestamp::now();
    CouldNotLook::unless_of(cluster, options.deployment.as_ref())?;
    let until = Instant::now() + options.timeout;
    let cluster = &cluster.before(until);
    let mut snapshot = look::snapshot(cluster, options.timeout).await?;
    // Whose they are not, nothing was promised of.
    take_foreign(&mut snapshot);
    let Subjects { release, all, .. } = Subjects::of(cluster, &snapshot, options.deployment.as_ref()).await;
    let images = futures::stream::iter(asked(release, &all, &snapshot))
        .map(|asked| of_image(cluster, asked, until))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    Ok(ContractReport::new(cluster, at, images))
}

async fn of_image(cluster: &Cluster, asked: Asked, until: Instant) -> AskedImage {
    let component = asked.subject.component();
    let (agreements, image, pod, ready) = match asked.pod {
        None => {
            let why = format!("no pod of {component} runs");
            (vec![Agreement::CouldNotLook { why }; asked.claims.len()], None, None, false)
        }
        Some((image, pod, container, ready)) => {
            let scripts: Vec<&Script> = asked.claims.iter().map(|c| &c.script).collect();
            let mut shells =
                Shells { pods: cluster.api(), pod: &pod, container: &container, open: None, refused: None };
            let mut agreements = twice(&mut shells, &scripts, until).await;
            if agreements.iter().any(|a| matches!(a, Agreement::Differs { .. }))
                && let Some(why) = ends(cluster, &pod).await
            {
                nothing_of_its_image(&mut agreements, &why);
            }
            (agreements, Some(image), Some(pod), ready)
        }
    };
    let claims = asked.claims.into_iter().zip(agreements).map(|(claim, agreement)| AskedClaim {
        id: claim.id,
        about: claim.component,
        claim: claim.words,
        source: claim.source.0.to_owned(),
        known: claim.known,
        agreement,
    });
    AskedImage { component, image, pod, ready, claims: claims.collect() }
}

/// Why what a pod said is nothing of its image: it is ending, or has ended, since it was chosen.
async fn ends(cluster: &Cluster, pod: &str) -> Option<String> {
    let only = ListParams::default().fields(&format!("metadata.name={pod}"));
    // Whether it is cannot always be seen; what it said is all that is known then.
    let found = list_all(&cluster.api::<Pod>(), &only).await.ok()?;
    match found.first() {
        None => Some(format!("pod {pod} has ended since")),
        Some(pod) if pod.metadata.deletion_timestamp.is_some() => Some(format!("pod {} is ending", pod.name_any())),
        Some(_) => None,
    }
}

fn nothing_of_its_image(agreements: &mut [Agreement], why: &str) {
    for agreement in agreements {
        if let Agreement::Differs { seen } = agreement {
            *agreement = Agreement::CouldNotLook { why: format!("{why}: {seen}") };
        }
    }
}

/// Who runs a script.
trait Runs {
    /// What it printed, and its status.
    async fn run(&mut self, script: &Script, within: Duration) -> Result<(i32, String), String>;
}

/// Shells of one container: after an answer that did not come the next question has a new one.
struct Shells<'a> {
    pods: Api<Pod>,
    pod: &'a str,
    container: &'a str,
    open: Option<Shell>,
    /// Why none could be opened: no further one is tried.
    refused: Option<String>,
}

impl Runs for Shells<'_> {
    async fn run(&mut self, script: &Script, within: Duration) -> Result<(i32, String), String> {
        if let Some(why) = &self.refused {
            return Err(why.clone());
        }
        let said = |error: AskError| error.to_string();
        let mut shell = match self.open.take() {
            Some(shell) => shell,
            None => match Shell::open(&self.pods, self.pod, self.container, OPEN.min(within)).await {
                Ok(shell) => shell,
                Err(error) => return Err(self.refused.insert(said(error)).clone()),
            },
        };
        let output = shell.run(script, within).await.map_err(said)?;
        self.open = Some(shell);
        Ok((output.status, output.text))
    }
}

/// What the scripts say. What differs is asked again when all have been asked, and differs where it does so again.
async fn twice(shell: &mut impl Runs, scripts: &[&Script], until: Instant) -> Vec<Agreement> {
    let mut agreements = Vec::new();
    for script in scripts {
        agreements.push(once(shell, script, until).await);
    }
    for (script, agreement) in scripts.iter().zip(&mut agreements) {
        if let Agreement::Differs { seen } = agreement {
            let again = once(shell, script, until).await;
            *agreement = match again {
                Agreement::CouldNotLook { why } => {
                    Agreement::CouldNotLook { why: format!("seen once, and then {why}: {seen}") }
                }
                known => known,
            };
        }
    }
    agreements
}

async fn once(shell: &mut impl Runs, script: &Script, until: Instant) -> Agreement {
    let within = until.saturating_duration_since(Instant::now()).min(ANSWER);
    match timeout(within, shell.run(script, within)).await {
        Ok(Ok((status, text))) => Agreement::of(status, &text),
        Ok(Err(why)) => Agreement::CouldNotLook { why },
        Err(_) => Agreement::CouldNotLook { why: "no answer in time".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use clearwater::component::entry;
    use serde_json::json;

    use super::*;

    /// Answers in order, then none.
    struct Answers(VecDeque<Result<(i32, String), String>>);

    impl Runs for Answers {
        async fn run(&mut self, _: &Script, _: Duration) -> Result<(i32, String), String> {
            self.0.pop_front().unwrap_or_else(|| Err("it is gone".to_owned()))
        }
    }

    #[tokio::test]
    async fn what_differs_was_seen_twice() {
        let script = Script::new(":");
        let said = |status: i32, text: &str| Ok((status, text.to_owned()));
        let until = Instant::now() + Duration::from_secs(20);
        for (answers, expected) in [
            (vec![said(0, "a")], Agreement::Agrees),
            (vec![said(1, "a"), said(0, "b")], Agreement::Agrees),
            (vec![said(1, "a"), said(1, "b")], Agreement::Differs { seen: "b\nended with 1".to_owned() }),
            (
                vec![said(1, "a")],
                Agreement::CouldNotLook { why: "seen once, and then it is gone: a\nended with 1".to_owned() },
            ),
            (vec![], Agreement::CouldNotLook { why: "it is gone".to_owned() }),
        ] {
            assert_eq!(twice(&mut Answers(answers.into()), &[&script], until).await, [expected]);
        }
        let late = twice(&mut Answers(VecDeque::new()), &[&script, &script], Instant::now()).await;
        assert!(late.iter().all(|a| matches!(a, Agreement::CouldNotLook { .. })), "{late:?}");
    }

    #[tokio::test]
    async fn a_pod_that_is_ending_says_nothing_of_its_image() {
        let of = |pods: serde_json::Value| {
            let listed = json!({"metadata": {}, "items": pods});
            crate::fake_api::cluster(move |_| Some(listed.clone())).0
        };
        assert_eq!(ends(&of(json!([{"metadata": {"name": "homer-0"}}])), "homer-0").await, None);
        let leaving = json!([{"metadata": {"name": "homer-0", "deletionTimestamp": "2026-11-23T10:00:00Z"}}]);
        assert_eq!(ends(&of(leaving), "homer-0").await.as_deref(), Some("pod homer-0 is ending"));
        assert_eq!(ends(&of(json!([])), "homer-0").await.as_deref(), Some("pod homer-0 has ended since"));
        assert_eq!(ends(&crate::fake_api::refusing(403, "Forbidden"), "homer-0").await, None);
        let mut agreements = [Agreement::Agrees, Agreement::Differs { seen: "x".to_owned() }];
        nothing_of_its_image(&mut agreements, "pod homer-0 is ending");
        let unseen = Agreement::CouldNotLook { why: "pod homer-0 is ending: x".to_owned() };
        assert_eq!(agreements, [Agreement::Agrees, unseen]);
    }

    fn pod(name: &str, image: &str, ready: bool) -> Pod {
        let ready = if ready { "True" } else { "False" };
        serde_json::from_value(json!({"metadata": {"name": name, "uid": name, "labels": {"service": "sprout"}},
            "spec": {"containers": [{"name": "sprout", "image": image}]},
            "status": {"phase": "Running", "podIP": "192.0.2.1", "conditions": [{"type": "Ready", "status": ready}]}}))
        .unwrap()
    }

    #[test]
    fn one_pod_of_each_image_is_asked_and_a_component_without_one_is_told() {
        let mut snapshot = Snapshot::default();
        for pod in [pod("a", "one", false), pod("b", "one", true), pod("c", "one", true), pod("d", "two", false)] {
            snapshot.pods.insert(pod.name_any(), pod);
        }
        let subject = |component| {
            let entry = entry(Release::Hunter, component).unwrap();
            Subject::standing(entry, Vec::new(), &snapshot)
        };
        let subjects = [Component::Etcd, Component::Sprout, Component::Homer].map(subject);
        let found = asked(Release::Hunter, &subjects, &snapshot);
        let told: Vec<_> = found
            .iter()
            .map(|a| (a.subject.name(), a.pod.as_ref().map(|(image, pod, _, ready)| (&**image, &**pod, *ready))))
            .collect();
        assert_eq!(
            told,
            [("sprout", Some(("one", "b", true))), ("sprout", Some(("two", "d", false))), ("homer", None)]
        );
    }

    /// The API server of the test opens no connection into a pod: nothing is known of any claim.
    #[tokio::test]
    async fn a_pod_that_cannot_be_asked_neither_agrees_nor_differs() {
        let (cluster, _) = crate::fake_api::cluster(|path| match path.rsplit('/').next() {
            Some("exec" | "env-vars") => None,
            Some("pods") => Some(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {},
                "items": [pod("a", "one\u{1b}[2J", true)]})),
            _ => Some(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []})),
        });
        let options = ContractOptions::new().timeout(Duration::from_secs(5));
        let report = contract(&cluster, &options).await.unwrap();
        assert!(report.agrees && !report.complete && report.claims().count() > 15, "{report:?}");
        assert!(report.claims().all(|c| matches!(c.agreement, Agreement::CouldNotLook { .. })), "{report:?}");
        let unseen: Vec<String> = report.unseen().map(|(what, _)| what).collect();
        assert_eq!(unseen, ["sprout: every claim"]);
        let text = serde_json::to_string(&report).unwrap();
        assert!(!text.contains("\\u001b") && text.contains("\"verdict\":\"could-not-look\""), "{text}");
        assert_eq!(serde_json::from_str::<ContractReport>(&text).unwrap(), report);
    }
}
