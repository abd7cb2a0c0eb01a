//! Rollouts that cannot succeed, told apart from those that only need time: pure rules over pods, events and exits.
//!
//! A rule speaks only where waiting cannot help. `ImagePullBackOff` alone is not such a place, because a registry may be
//! down or may limit its rate; "manifest unknown" is. Everything else has the deadline of the run.

use std::time::Duration;

use clearwater::component::Component;
use clearwater::event::{Evidence, FailureKind};
use clearwater::remedy::Remedy;
use clearwater::text::{counted, in_one_line};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod, PodCondition};
use kube::ResourceExt;

use super::policy::{policy, refusal_fix};
use super::pull::{Pull, pull};
use super::said::Meaning;
use crate::observe::exits::{Exit, Exits};
use crate::observe::snapshot::event_time;
use crate::observe::{Observation, Subject};
use crate::pod::object::{claims, containers, pod_name};

/// How long conditions that may pass are borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// A pod that no node takes.
    pub unschedulable: Duration,
    /// The same, where the reason is a node that is not ready or not reachable and may come back.
    pub flapping: Duration,
    /// A volume that cannot be mounted because what it names does not exist.
    pub mount: Duration,
    /// A volume that is awaited from a driver of which nothing is seen.
    pub volume: Duration,
    /// The window in which three equal exits are a crash loop.
    pub crash_window: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Self {
            unschedulable: Duration::from_secs(30),
            flapping: Duration::from_secs(150),
            mount: Duration::from_secs(10),
            volume: Duration::from_secs(120),
            crash_window: Duration::from_secs(60),
        }
    }
}

/// A container of a pod, both by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodContainer {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
}

/// A rollout that cannot succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The component.
    pub component: Component,
    /// Which rule was met.
    pub kind: FailureKind,
    /// The object that shows it, as `kind/name`.
    pub object: String,
    /// The container that shows it, where one does.
    pub container: Option<PodContainer>,
    /// The reason in the API's own words.
    pub reason: String,
    /// The causes, outermost first.
    pub causes: Vec<String>,
    /// What to do.
    pub fix: Remedy,
}

impl Failure {
    /// The container whose logs may tell more.
    pub(crate) fn telling_container(&self) -> Option<&PodContainer> {
        let telling =
            matches!(self.kind, FailureKind::CrashLoop | FailureKind::WrongArchitecture | FailureKind::Config);
        self.container.as_ref().filter(|_| telling)
    }

    /// The failure as the logs tell it: they may tell more than the status did.
    #[must_use]
    pub(crate) fn told_by(mut self, evidence: &Evidence) -> Self {
        let telling = evidence.logs.iter().flat_map(|l| &l.lines).find(|l| Meaning::WrongArchitecture.is_in(l));
        if self.kind == FailureKind::CrashLoop
            && let Some(line) = telling
        {
            self.kind = FailureKind::WrongArchitecture;
            self.causes.push(line.trim().to_owned());
            self.fix = architecture_fix(self.component);
        }
        self
    }
}

/// What is known of a component's pods.
#[derive(Clone, Debug)]
pub struct RolloutContext<'a> {
    /// The component.
    pub component: Component,
    /// Its pods, those on their way out left out.
    pub pods: Vec<&'a Pod>,
    /// Events about its pods and its workloads, in any order.
    pub events: Vec<&'a Event>,
    /// The exits seen so far.
    pub exits: &'a Exits,
    /// Since when everything it needs serves; `None` while something does not.
    pub needs_served_since: Option<Timestamp>,
    /// Events that last happened before this are history.
    pub since: Timestamp,
    /// Now, on the API server's clock as far as it is known.
    pub now: Timestamp,
    /// How long what may pass is borne.
    pub grace: Grace,
}

impl<'a> RolloutContext<'a> {
    /// What is known of these of a component's pods. Events since the look began count.
    pub fn of(seen: &'a Observation, subject: &Subject, pods: Vec<&'a Pod>) -> Self {
        Self {
            component: subject.component(),
            events: seen.snapshot.events_of(&pods, &subject.workload_names()),
            pods,
            exits: &seen.exits,
            needs_served_since: None,
            since: seen.since(),
            now: seen.now(),
            grace: Grace::default(),
        }
    }
}

fn event_count(event: &Event) -> i32 {
    event.series.as_ref().and_then(|s| s.count).or(event.count).unwrap_or(1)
}

fn about(event: &Event) -> String {
    let object = &event.involved_object;
    format!("{}/{}", object.kind.as_deref().unwrap_or("?").to_lowercase(), object.name.as_deref().unwrap_or("?"))
}

/// The first rule that is met, or `None` where waiting may help.
pub fn judge(rollout: &RolloutContext<'_>) -> Option<Failure> {
    rollout.pods.iter().find_map(|pod| pod_failure(rollout, pod)).or_else(|| create_failure(rollout))
}

fn pod_failure(rollout: &RolloutContext<'_>, pod: &Pod) -> Option<Failure> {
    let object = pod_name(pod);
    let failure = |kind, container: Option<&str>, reason: &str, causes: Vec<String>, fix: Remedy| Failure {
        component: rollout.component,
        kind,
        object: object.clone(),
        container: container.map(|container| PodContainer { pod: pod.name_any(), container: container.to_owned() }),
        reason: reason.to_owned(),
        causes,
        fix,
    };
    for (status, _) in containers(pod) {
        if let Some(waiting) = status.state.as_ref().and_then(|s| s.waiting.as_ref()) {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            let message = waiting.message.as_deref().unwrap_or_default();
            let found = container_failure(rollout, pod, status, reason, message);
            if let Some((kind, text, fix)) = found {
                let head = format!("{object}, container {}: {reason}", status.name);
                return Some(failure(kind, Some(&status.name), reason, vec![head, text], fix));
            }
        }
        let ended = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
        let ended = status.state.as_ref().and_then(|s| s.terminated.as_ref()).or(ended);
        if let Some(ended) = ended {
            let message = ended.message.as_deref().unwrap_or_default();
            if Meaning::WrongArchitecture.is_in(message) {
                let head = format!("{object}, container {}: exec format error", status.name);
                return Some(failure(
                    FailureKind::WrongArchitecture,
                    Some(&status.name),
                    "exec format error",
                    vec![head, message.trim().to_owned()],
                    architecture_fix(rollout.component),
                ));
            }
        }
        if let Some(found) = crash_loop(rollout, pod, status) {
            return Some(found);
        }
    }
    let volume = || volume_failure(rollout, pod);
    volume().or_else(|| unschedulable(rollout, pod)).or_else(|| mount_failure(rollout, pod))
}

/// What to do where images are for other processors than the nodes'.
fn architecture_fix(component: Component) -> Remedy {
    Remedy::any([
        format!(
            "run the images, which are built for amd64, on amd64 nodes (components.{component}.nodeSelector: \
             kubernetes.io/arch: amd64)"
        ),
        "name images for the nodes' own architecture".to_owned(),
    ])
}

fn container_failure(
    rollout: &RolloutContext<'_>,
    pod: &Pod,
    status: &ContainerStatus,
    reason: &str,
    message: &str,
) -> Option<(FailureKind, String, Remedy)> {
    let image = &status.image;
    let component = rollout.component;
    match reason {
        "InvalidImageName" => Some((
            FailureKind::ImageNotFound,
            format!("{image:?} is not an image reference: {message}"),
            format!("correct images.registry, images.tag or components.{component}.image in the deployment file")
                .into(),
        )),
        "ErrImageNeverPull" => Some((
            FailureKind::ImageNotFound,
            format!("{message} (pull policy Never)"),
            Remedy::any(["load the image on the node", "set images.pullPolicy: IfNotPresent"]),
        )),
        "ErrImagePull" | "ImagePullBackOff" => {
            // Kubelets before 1.30 keep the pull's own words out of ImagePullBackOff; the event has them.
            let mut words = message.to_owned();
            let name = pod.metadata.name.as_deref();
            if pull(&words.replace(image.as_str(), "")) == Pull::Transient
                && let Some(event) = newest(rollout, |e| {
                    e.involved_object.name.as_deref() == name
                        && e.reason.as_deref() == Some("Failed")
                        && e.message
                            .as_deref()
                            .is_some_and(|m| Meaning::PullFailed.is_in(m) && m.contains(image.as_str()))
                })
            {
                words = event.message.clone().unwrap_or_default();
            }
            let words = words.trim().to_owned();
            match pull(&words.replace(image.as_str(), "")) {
                Pull::NotFound => Some((
                    FailureKind::ImageNotFound,
                    words,
                    Remedy::any([
                        format!(
                            "correct images.registry, images.tag or components.{component}.image in the deployment file: \
                             {image} does not exist"
                        ),
                        "push the image".to_owned(),
                    ]),
                )),
                Pull::Denied => Some((
                    FailureKind::ImageNotFound,
                    words,
                    Remedy::any([
                        format!(
                            "the registry of {image} wants to know who asks, or there is no such image: check its name"
                        ),
                        "name a Secret of type kubernetes.io/dockerconfigjson in images.pullSecrets".to_owned(),
                    ]),
                )),
                Pull::WrongArchitecture => Some((FailureKind::WrongArchitecture, words, architecture_fix(component))),
                Pull::OldFormat => Some((
                    FailureKind::ImageNotFound,
                    words,
                    format!(
                        "{image} is stored in manifest schema 1, which container runtimes refuse today: pull it with an \
                             old docker and push it again"
                    )
                    .into(),
                )),
                Pull::Transient => None,
            }
        }
        "CreateContainerConfigError" if !Meaning::NotSynced.is_in(message) => Some((
            FailureKind::Config,
            message.to_owned(),
            Remedy::any([
                "make the object or key that the message names",
                "take the reference to it out of the deployment file",
            ]),
        )),
        "RunContainerError" | "CreateContainerError" | "StartError" if Meaning::WrongArchitecture.is_in(message) => {
            Some((FailureKind::WrongArchitecture, message.to_owned(), architecture_fix(component)))
        }
        "RunContainerError" | "CreateContainerError" | "StartError"
            if Meaning::NoProgram.is_in(message) || Meaning::NoCommand.is_in(message) =>
        {
            Some((
                FailureKind::Config,
                message.to_owned(),
                format!("{image} does not hold the program that is to be started: is it an image of this component?")
                    .into(),
            ))
        }
        _ => None,
    }
}

fn crash_loop(rollout: &RolloutContext<'_>, pod: &Pod, status: &ContainerStatus) -> Option<Failure> {
    // The API tells times in whole seconds.
    let since = Timestamp::from_second(rollout.needs_served_since?.as_second()).ok()?;
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let exits = rollout.exits.of(uid, &status.name);
    let seen: Vec<&Exit> = exits.iter().filter(|e| e.finished >= since).collect();
    let within = |from: Timestamp, to: Timestamp| {
        Duration::try_from(to.duration_since(from)).is_ok_and(|d| d <= rollout.grace.crash_window)
    };
    let triple = seen.windows(3).any(|w| {
        w[0].code == w[1].code
            && w[1].code == w[2].code
            && w[2].code == seen.last().map_or(w[2].code, |l| l.code)
            && within(w[0].finished, w[2].finished)
    });
    // A loop that began before this run: its pod never ran without what it needs, and it has ended three times at least.
    let waiting = status.state.as_ref().and_then(|s| s.waiting.as_ref()).and_then(|w| w.reason.as_deref());
    let backs_off = waiting == Some("CrashLoopBackOff");
    let started = pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0).filter(|s| *s >= since);
    let older = backs_off && status.restart_count >= 3 && started.is_some();
    let last = exits.last()?;
    // A busy kubelet tells of two exits at once, and the first of them is never seen. It came after the pod's start.
    let is_down = backs_off || status.state.as_ref().is_some_and(|s| s.terminated.is_some());
    let ended = status.restart_count + i32::from(is_down);
    let hidden = ended >= 3
        && seen.last_chunk().is_some_and(|[a, b]| a.code == b.code)
        && started.is_some_and(|s| within(s, last.finished));
    if !triple && !older && !hidden {
        return None;
    }
    let why = match last.reason.as_str() {
        "OOMKilled" => "it was killed because it used more memory than its limit".to_owned(),
        "" | "Error" | "Completed" => format!("exit code {}", last.code),
        reason => format!("{reason}, exit code {}", last.code),
    };
    let fix = if last.reason == "OOMKilled" {
        format!("raise components.{}.resources.limits.memory in the deployment file", rollout.component)
    } else {
        "see the last lines of its log".to_owned()
    };
    let count = exits.len().max(usize::try_from(ended).unwrap_or(0));
    Some(Failure {
        component: rollout.component,
        kind: FailureKind::CrashLoop,
        object: pod_name(pod),
        container: Some(PodContainer { pod: pod.name_any(), container: status.name.clone() }),
        reason: "CrashLoopBackOff".to_owned(),
        causes: vec![format!("{}, container {}: ended {count} times in the same way", pod_name(pod), status.name), why],
        fix: fix.into(),
    })
}

fn unschedulable(rollout: &RolloutContext<'_>, pod: &Pod) -> Option<Failure> {
    let condition =
        pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| {
            c.type_ == "PodScheduled" && c.status == "False" && c.reason.as_deref() == Some("Unschedulable")
        })?;
    let message = condition.message.clone().unwrap_or_default();
    let since = condition.last_transition_time.as_ref().map(|t| t.0).or(pod
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|t| t.0))?;
    let grace = if Meaning::NodeFlaps.is_in(&message) {
        rollout.grace.flapping
    } else if Meaning::UnboundClaim.is_in(&message) {
        rollout.grace.volume
    } else {
        rollout.grace.unschedulable
    };
    // Bounded by the run's own begin, so that a node that has just come back gets its chance.
    let waited = Duration::try_from(rollout.now.duration_since(since.max(rollout.since))).unwrap_or_default();
    if waited < grace || coming_node(rollout, pod).is_some() {
        return None;
    }
    let uncordon = Meaning::Cordoned.is_in(&message).then(|| UNCORDON.to_owned());
    Some(Failure {
        component: rollout.component,
        kind: FailureKind::Unschedulable,
        object: pod_name(pod),
        container: None,
        reason: "Unschedulable".to_owned(),
        causes: vec![format!("{}: no node has taken it for {} s", pod_name(pod), waited.as_secs()), message],
        fix: Remedy::any(uncordon.into_iter().chain([
            "add a node".to_owned(),
            "free what the message names".to_owned(),
            format!("change components.{}.resources, nodeSelector or tolerations", rollout.component),
        ])),
    })
}

/// The promise of a node for this pod, where the last word of those who make nodes is one: cluster-autoscaler's
/// (`TriggeredScaleUp`), or that of Karpenter and what is built on it (`Nominated`).
fn coming_node<'a>(rollout: &RolloutContext<'a>, pod: &Pod) -> Option<&'a Event> {
    let name = pod.metadata.name.as_deref();
    let words = ["TriggeredScaleUp", "Nominated", "NotTriggerScaleUp"];
    // A promise that was given before this run holds, too.
    let about = rollout.events.iter().copied().filter(|e| e.involved_object.name.as_deref() == name);
    let last = about.filter(|e| e.reason.as_deref().is_some_and(|r| words.contains(&r))).max_by_key(|e| event_time(e));
    last.filter(|e| e.reason.as_deref() != Some("NotTriggerScaleUp"))
}

/// The last word about a claim of a pod that has not begun to run, where it is that its volume is awaited or cannot be
/// made: the claim's name, and the event.
fn awaited_volume<'a>(rollout: &RolloutContext<'a>, pod: &Pod) -> Option<(&'a str, &'a Event)> {
    let begun = pod.status.as_ref().and_then(|s| s.phase.as_deref()).is_some_and(|phase| phase != "Pending");
    // A pod is given a node once its claims have their volumes: what was said of them before is history.
    if begun || !is_unbound(pod) {
        return None;
    }
    let words = ["ProvisioningFailed", "ExternalProvisioning", "Provisioning", "ProvisioningSucceeded"];
    let last = claims(pod)
        .filter_map(|claim| {
            let standing = standing_claim(rollout, claim);
            newest(rollout, |e| {
                is_of_claim(e, claim)
                    && (standing.is_none() || e.involved_object.uid.as_deref() == standing)
                    && e.reason.as_deref().is_some_and(|r| words.contains(&r))
            })
        })
        .max_by_key(|e| event_time(e))?;
    // A driver that has begun says so once; those who wait for it repeat that they do.
    let name = last.involved_object.name.as_deref()?;
    let begun = newest(rollout, |e| {
        is_of_claim(e, name)
            && e.involved_object.uid == last.involved_object.uid
            && e.reason.as_deref() == Some("Provisioning")
    });
    match last.reason.as_deref()? {
        "ProvisioningFailed" => Some((name, last)),
        "ExternalProvisioning" if begun.is_none() => Some((name, last)),
        _ => None,
    }
}

fn is_of_claim(event: &Event, claim: &str) -> bool {
    let object = &event.involved_object;
    object.kind.as_deref() == Some("PersistentVolumeClaim") && object.name.as_deref() == Some(claim)
}

/// The uid of the claim of this name that stands: that of the last word about it, whatever it says, because nothing more is
/// said of one that was removed. Claims are told of as soon as they are made.
fn standing_claim<'a>(rollout: &RolloutContext<'a>, claim: &str) -> Option<&'a str> {
    newest(rollout, |e| is_of_claim(e, claim))?.involved_object.uid.as_deref()
}

/// The driver that a claim's event says is awaited.
fn awaited_driver(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("external provisioner ")?;
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    rest[1..].split_once(quote).map(|(name, _)| name)
}

fn volume_failure(rollout: &RolloutContext<'_>, pod: &Pod) -> Option<Failure> {
    let (claim, event) = awaited_volume(rollout, pod)?;
    let message = event.message.clone().unwrap_or_default();
    let component = rollout.component;
    let kind = if component.is_store() { "statefulset" } else { "deployment" };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("NAMESPACE");
    let no_class = Meaning::NoStorageClass.is_in(&message) && Meaning::NoObject.is_in(&message);
    let grace = if no_class { rollout.grace.mount } else { rollout.grace.volume };
    let created = pod.metadata.creation_timestamp.as_ref().map(|t| t.0)?;
    let waited = Duration::try_from(rollout.now.duration_since(created.max(rollout.since))).unwrap_or_default();
    if waited < grace {
        return None;
    }
    let (head, first) = match awaited_driver(&message) {
        Some(driver) => (
            format!(
                "{}: for {} s it has waited for {driver} to make the volume of {claim}",
                pod_name(pod),
                waited.as_secs()
            ),
            format!("install the driver {driver}, or see why it does nothing"),
        ),
        None if no_class => (
            format!("{}: the volume of {claim} cannot be made", pod_name(pod)),
            format!(
                "name a StorageClass that the cluster has (kubectl get storageclass) in \
                 components.{component}.storage.storageClass"
            ),
        ),
        None => (
            format!("{}: the volume of {claim} is not made", pod_name(pod)),
            "repair what the message names".to_owned(),
        ),
    };
    Some(Failure {
        component: rollout.component,
        kind: FailureKind::Config,
        object: pod_name(pod),
        container: None,
        reason: event.reason.clone().unwrap_or_default(),
        causes: vec![head, message],
        fix: Remedy::any([
            first,
            format!(
                "set components.{component}.storage.persistent: false, which keeps no data, once what stands is removed \
                 (kubectl delete -n {namespace} {kind}/{component} pvc/{claim})"
            ),
        ]),
    })
}

fn mount_failure(rollout: &RolloutContext<'_>, pod: &Pod) -> Option<Failure> {
    let name = pod.metadata.name.as_deref();
    let event = newest(rollout, |e| {
        e.involved_object.name.as_deref() == name
            && e.reason.as_deref() == Some("FailedMount")
            && e.message.as_deref().is_some_and(|m| Meaning::NoObject.is_in(m))
    })?;
    let created = pod.metadata.creation_timestamp.as_ref().map(|t| t.0)?;
    let waited = Duration::try_from(rollout.now.duration_since(created.max(rollout.since))).unwrap_or_default();
    if event_count(event) < 2 || waited < rollout.grace.mount {
        return None;
    }
    Some(Failure {
        component: rollout.component,
        kind: FailureKind::Config,
        object: pod_name(pod),
        container: None,
        reason: "FailedMount".to_owned(),
        causes: vec![
            format!("{}: a volume cannot be mounted", pod_name(pod)),
            event.message.clone().unwrap_or_default(),
        ],
        fix: "make the object that the message names".into(),
    })
}

/// A controller that may not create pods says so in events only.
fn create_failure(rollout: &RolloutContext<'_>) -> Option<Failure> {
    let event = newest(rollout, |e| e.reason.as_deref() == Some("FailedCreate"))?;
    // A pod made after the failure shows that it has passed.
    let made = rollout.pods.iter().filter_map(|p| p.metadata.creation_timestamp.as_ref()).map(|t| t.0).max();
    if made > event_time(event) {
        return None;
    }
    let message = event.message.clone().unwrap_or_default();
    let any = |meanings: [Meaning; 3]| meanings.into_iter().any(|meaning| meaning.is_in(&message));
    if any([Meaning::NoAccount, Meaning::WebhookFailed, Meaning::RefusedForNow])
        || !any([Meaning::QuotaExceeded, Meaning::PodSecurity, Meaning::RefusedForGood])
    {
        return None;
    }
    let fix = if Meaning::PodSecurity.is_in(&message) {
        Remedy::any([
            "put the namespace on a policy that allows these pods (label pod-security.kubernetes.io/enforce)",
            "take out of the deployment file what the message names",
        ])
    } else {
        refusal_fix(rollout.component.name(), &event.involved_object.namespace.clone().unwrap_or_default(), &message)
    };
    let by = policy(&message).map_or_else(String::new, |policy| format!(" by {policy}"));
    Some(Failure {
        component: rollout.component,
        kind: FailureKind::CannotCreate,
        object: about(event),
        container: None,
        reason: "FailedCreate".to_owned(),
        causes: vec![format!("{}: its pods are refused{by}", about(event)), in_one_line(&message)],
        fix,
    })
}

fn newest<'a>(rollout: &RolloutContext<'a>, wanted: impl Fn(&Event) -> bool) -> Option<&'a Event> {
    rollout
        .events
        .iter()
        .copied()
        .filter(|e| event_time(e).is_none_or(|t| t.as_second() >= rollout.since.as_second()) && wanted(e))
        .max_by_key(|e| event_time(e))
}

/// What a component that is not ready is doing, or what keeps it, in one line: the live cause of every wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The pod it is about, where it is about one.
    pub pod: Option<String>,
    /// The line.
    pub text: String,
    /// Whether an image is being pulled.
    pub pulling: bool,
    /// What to do, where it is known that it does not pass by itself.
    pub fix: Option<Remedy>,
}

impl Cause {
    /// The line with what to do, where nothing else says that.
    pub(crate) fn told(self) -> String {
        self.fix.map_or(self.text.clone(), |fix| format!("{}: {fix}", self.text))
    }
}

/// The most telling thing about pods that are not ready.
pub fn cause(rollout: &RolloutContext<'_>) -> Option<Cause> {
    let mut unready: Vec<&&Pod> = rollout.pods.iter().filter(|p| !crate::pod::object::pod_is_ready(p)).collect();
    unready.sort_by_key(|p| p.metadata.name.as_deref());
    if let Some(pod) = unready.first() {
        let name = pod.metadata.name.clone();
        let cause = |text: String, pulling: bool| Some(Cause { pod: name.clone(), text, pulling, fix: None });
        let with = |fix: Remedy, cause: Option<Cause>| cause.map(|cause| Cause { fix: Some(fix), ..cause });
        let status = pod.status.as_ref();
        let mine = |e: &Event| e.involved_object.name == pod.metadata.name;
        for (container, init) in containers(pod) {
            let kind = if init { "init container" } else { "container" };
            let Some(waiting) = container.state.as_ref().and_then(|s| s.waiting.as_ref()) else { continue };
            let reason = waiting.reason.as_deref().unwrap_or_default();
            let message = waiting.message.as_deref().unwrap_or_default().trim();
            match reason {
                "ContainerCreating" | "PodInitializing" | "" => {}
                "ErrImagePull" | "ImagePullBackOff" => {
                    let event = newest(rollout, |e| {
                        mine(e) && e.message.as_deref().is_some_and(|m| Meaning::PullFailed.is_in(m))
                    });
                    let words = event.and_then(|e| e.message.as_deref()).unwrap_or(message);
                    let seen = shorten(&format!("{reason} {}: {}", container.image, last_words(words)));
                    return with(pulled_from_elsewhere(), cause(format!("{seen}; it is tried again"), true));
                }
                "CrashLoopBackOff" => {
                    let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
                    let code = last.map_or_else(String::new, |t| format!(", last exit code {}", t.exit_code));
                    return cause(
                        format!("{kind} {} crashed {}{code}", container.name, counted(container.restart_count, "time")),
                        false,
                    );
                }
                _ => return cause(shorten(&format!("{kind} {}: {reason} {message}", container.name)), false),
            }
        }
        if let Some(event) = coming_node(rollout, pod).filter(|_| is_unbound(pod)) {
            let words = event.message.as_deref().unwrap_or_default();
            return cause(shorten(&format!("waits for a new node: {words}")), false);
        }
        let scheduled = status.iter().flat_map(|s| s.conditions.iter().flatten()).find(|c| c.type_ == "PodScheduled");
        let unscheduled = scheduled.filter(|c| c.status == "False");
        // That a claim is not bound says nothing of why, and the claim's own events do.
        let told = unscheduled.filter(|c| !c.message.as_deref().is_some_and(|m| Meaning::UnboundClaim.is_in(m)));
        let no_node = |c: &PodCondition| format!("not scheduled: {}", c.message.as_deref().unwrap_or("no node yet"));
        if let Some(c) = told {
            let is_cordoned = c.message.as_deref().is_some_and(|m| Meaning::Cordoned.is_in(m));
            let waits = cause(shorten(&no_node(c)), false);
            return if is_cordoned { with(UNCORDON.into(), waits) } else { waits };
        }
        if let Some((claim, event)) = awaited_volume(rollout, pod) {
            let message = event.message.as_deref().unwrap_or_default();
            let text = match awaited_driver(message) {
                Some(driver) => format!("waits for {driver} to make the volume of {claim}: is its driver installed?"),
                None => format!("the volume of {claim} is not made: {message}"),
            };
            return cause(shorten(&text), false);
        }
        if let Some(c) = unscheduled {
            return cause(shorten(&no_node(c)), false);
        }
        let last = newest(rollout, |e| {
            mine(e)
                && matches!(
                    e.reason.as_deref(),
                    Some("Unhealthy" | "FailedMount" | "FailedCreatePodSandBox" | "Pulling" | "Pulled" | "BackOff")
                )
        });
        if let Some(event) = last {
            let words = event.message.as_deref().unwrap_or_default();
            match event.reason.as_deref() {
                Some("Pulling") => return cause(shorten(words), true),
                Some("Pulled") => {}
                _ => return cause(shorten(words), false),
            }
        }
        let running = containers(pod).any(|(c, _)| c.state.as_ref().is_some_and(|s| s.running.is_some()));
        let text = if running { "running, not ready yet" } else { "creating its container" };
        return cause(text.to_owned(), false);
    }
    let refused = newest(rollout, |e| e.reason.as_deref() == Some("FailedCreate"))?;
    Some(Cause { pod: None, text: shorten(refused.message.as_deref().unwrap_or_default()), pulling: false, fix: None })
}

/// What helps where a registry stays out of reach, lets nobody have more, or is not the one that was meant.
fn pulled_from_elsewhere() -> Remedy {
    Remedy::any([
        "name another registry in images.mirror of the deployment file",
        "name who asks in images.pullSecrets",
        "correct images.registry or images.tag",
    ])
}

/// What lets a node take pods that somebody has kept from it.
const UNCORDON: &str =
    "kubectl uncordon NODE, of a node that somebody cordoned (SchedulingDisabled in kubectl get nodes)";

fn is_unbound(pod: &Pod) -> bool {
    pod.spec.as_ref().is_none_or(|s| s.node_name.is_none())
}

/// What a failed pull comes down to. Runtimes say the image's name once for each layer of their own, and why at the end.
fn last_words(text: &str) -> &str {
    text.rsplit_once("\": ").map_or(text, |(_, last)| last)
}

/// One line of at most 200 characters.
fn shorten(text: &str) -> String {
    let line = in_one_line(text);
    match line.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
