use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{CheckLine, Command, DnsStep, Durations, Hop, RunStats};
use crate::remedy::{Advice, Remedy, Words};

/// A component that a run is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlannedComponent {
    /// The component's name.
    pub component: String,
    /// What must serve (or, for `down`, be gone) before it is touched.
    pub gates: Vec<PlannedGate>,
}

/// One gate of a planned component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlannedGate {
    /// The component that must serve first.
    pub on: String,
    /// Why.
    pub because: String,
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Operation {
    /// It is not there and will be made.
    Create,
    /// It is there and differs.
    Change,
    /// It is there and equal.
    Keep,
    /// It is removed.
    Delete,
    /// It stood before this program wrote to it, and is given back: only what this program wrote is taken out.
    Restore,
    /// An operation that this version of the format does not know.
    #[serde(other)]
    Unknown,
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Whose {
    /// This program made it, or makes it.
    #[default]
    Ours,
    /// It stood before this program wrote to it.
    Adopted,
    /// Somebody else's altogether.
    Foreign,
    /// One that this version of the format does not know.
    #[serde(other)]
    Unknown,
}

impl Whose {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_ours(&self) -> bool {
        *self == Self::Ours
    }
}

/// One object of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The object, as `kind/name`, lower case, as kubectl writes it.
    pub object: String,
    /// The component it belongs to; none where it belongs to the whole deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// What is done to it.
    pub operation: Operation,
    /// Whose it is; left out where this program made it.
    #[serde(default, skip_serializing_if = "Whose::is_ours")]
    pub whose: Whose,
    /// The difference as a unified diff of YAML, values of Secrets hidden; of an object that `up` makes, all of it. Empty
    /// where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub diff: String,
    /// Pods that are replaced at once for it; left out where there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Change {
    /// A store's member that is marked as failed in etcd, which is no object of the API server's.
    pub fn of_member(member: impl std::fmt::Display, component: Option<String>) -> Self {
        Self {
            object: format!("{MEMBER}{member}"),
            component,
            operation: Operation::Change,
            whose: Whose::Ours,
            diff: String::new(),
            restarts: 0,
        }
    }

    /// The member's address, where it is one that is marked as failed.
    ///
    /// ```
    /// use clearwater::event::Change;
    ///
    /// assert_eq!(Change::of_member("10.0.0.9", None).member(), Some("10.0.0.9"));
    /// ```
    pub fn member(&self) -> Option<&str> {
        self.object.strip_prefix(MEMBER)
    }
}

const MEMBER: &str = "member/";

/// A change that was accepted and waits, because carrying it out would replace a store's pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// The component.
    pub component: String,
    /// What waits, and for what.
    pub what: String,
    /// What carries it out.
    pub command: Remedy,
}

/// What a component waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Awaited {
    /// The component that does not serve yet.
    pub component: String,
    /// The state it is in, as a person would say it.
    pub state: String,
}

/// Why a component failed before the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum FailureKind {
    /// The registry says that the image does not exist, or its name is not one.
    ImageNotFound,
    /// The image is for another processor.
    WrongArchitecture,
    /// The container cannot be made from its configuration: a missing ConfigMap, Secret or key, a bad command.
    Config,
    /// The controller may not create pods: quota, policy or admission.
    CannotCreate,
    /// No node takes the pod.
    Unschedulable,
    /// A container ends again and again in the same way.
    CrashLoop,
    /// A program that must run was given up by supervisord although what it needs was there.
    ProgramFatal,
    /// The API server refused an object.
    Refused,
    /// A load balancer gives Bono no address that it could use.
    NoAddress,
    /// Somebody else wrote into a store's list of members in etcd.
    Members,
    /// It was still not serving when the time was up.
    Deadline,
    /// A kind that this version of the format does not know.
    #[serde(other)]
    Unknown,
}

/// The last lines of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LogExcerpt {
    /// Where they were read: `pod POD, container CONTAINER (previous)` or `pod POD, FILE`.
    pub from: String,
    /// The lines, oldest first.
    pub lines: Vec<String>,
}

/// What was seen of a failure. Nothing of it is touched by the run that reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Evidence {
    /// The object that shows it, as `kind/name`.
    pub object: String,
    /// The reason in the API's or supervisord's own words.
    pub reason: String,
    /// Events about the object, newest last.
    pub events: Vec<String>,
    /// Log excerpts, previous container before the current one.
    pub logs: Vec<LogExcerpt>,
}

/// What a repair costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Cost {
    /// Nothing that anybody stored is lost.
    Nothing,
    /// Data is lost; it is done only when the user agreed.
    Data,
    /// A cost that this version of the format does not know.
    #[serde(other)]
    Unknown,
}

/// A repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Repair {
    /// The component.
    pub component: String,
    /// The object or program that is restarted or removed.
    pub object: String,
    /// What is done.
    pub action: String,
    /// Why it is needed.
    pub because: String,
    /// What it costs.
    pub cost: Cost,
}

/// Why a run is cancelled. Later variants outrank earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum CancelReason {
    /// A component failed: the run ends as failed.
    Failure,
    /// The program that embeds the run decided so.
    Program,
    /// The time was up.
    Deadline,
    /// Nobody reads the events any more.
    Reader,
    /// SIGTERM or SIGHUP.
    Terminated,
    /// SIGINT.
    Interrupted,
    /// A reason that this version of the format does not know.
    #[serde(other)]
    Unknown,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Outcome {
    /// Everything serves, or is gone, as asked.
    Done,
    /// Everything serves, and nothing had to be written.
    NothingToDo,
    /// Only looked, as asked: nothing was written.
    DryRun,
    /// Everything serves, and changes wait that would replace a store's pods.
    ChangesPending,
    /// Not ready before the deadline.
    NotReady,
    /// At least one component failed early.
    Failed,
    /// A line of the preflight failed; nothing was written.
    PreflightFailed,
    /// Refused for safety or by the user; nothing was written, or no more than the events say.
    Refused,
    /// Interrupted.
    Cancelled,
    /// The cluster could not be asked.
    CouldNotLook,
    /// The cluster was asked, and what the run is about is not there.
    NotFound,
    /// An outcome that this version of the format does not know.
    #[serde(other)]
    Unknown,
}

/// One step of a plan to scale a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// What is done or awaited, as a person would say it.
    pub step: String,
    /// How long that usually takes, in seconds.
    pub expected_seconds: u64,
    /// After how many seconds something must be wrong.
    pub deadline_seconds: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", remote = "Self")]
#[non_exhaustive]
pub enum EventKind {
    /// The run begins. The first event of every run, sent once.
    RunStarted {
        /// The command.
        command: Command,
        /// The namespace.
        namespace: String,
        /// The policy whose gates are kept, by its name.
        order: String,
        /// Every component of the run, in listing order.
        components: Vec<PlannedComponent>,
    },
    /// A line of the preflight is known.
    Checked {
        /// The line.
        line: CheckLine,
    },
    /// What will be done to which object. Sent once, before the first write.
    Planned {
        /// Every object of the deployment, in the order of application.
        changes: Vec<Change>,
        /// Changes that will not be carried out by this run.
        pending: Vec<Pending>,
    },
    /// A component may not be started yet.
    Waiting {
        /// The component.
        component: String,
        /// The components it waits for; empty where it waits only for what the cause names.
        #[serde(rename = "for")]
        awaited: Vec<Awaited>,
        /// The live cause, in one line.
        cause: String,
        /// How far its pods are, where they stand already and hold their programs until it may be started.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held: Option<String>,
    },
    /// A component's gates are open and its objects are being applied.
    Applying {
        /// The component.
        component: String,
        /// How many objects.
        objects: u32,
    },
    /// A component's objects are applied.
    Applied {
        /// The component.
        component: String,
        /// How many objects were created.
        created: u32,
        /// How many objects were changed.
        changed: u32,
        /// How many objects were left as they are.
        kept: u32,
    },
    /// An image is on its way to a node.
    Pulling {
        /// The component.
        component: String,
        /// The pod.
        pod: String,
        /// The image, and what is slow about it, in one line.
        cause: String,
    },
    /// Pods are there and not ready.
    Starting {
        /// The component.
        component: String,
        /// Pods that are ready.
        ready: u32,
        /// Pods that are wanted.
        wanted: u32,
        /// The live cause, in one line.
        cause: String,
    },
    /// Pods are ready and the component does not answer for itself yet.
    Settling {
        /// The component.
        component: String,
        /// The live cause, in one line.
        cause: String,
    },
    /// The component serves, judged in depth.
    Serving {
        /// The component.
        component: String,
        /// Where its time went.
        durations: Durations,
        /// Checks that could not be made, each with what it needs.
        unchecked: Vec<String>,
    },
    /// A component that served does not any more.
    Unsteady {
        /// The component.
        component: String,
        /// The live cause, in one line.
        cause: String,
    },
    /// A component failed and will not be waited for.
    Failed {
        /// The component.
        component: String,
        /// Which rule was met.
        failure: FailureKind,
        /// The causes, outermost first.
        causes: Vec<String>,
        /// What to do.
        fix: Remedy,
        /// What was seen.
        evidence: Vec<Evidence>,
    },
    /// A component is not part of this run, or was never reached.
    Skipped {
        /// The component.
        component: String,
        /// Why.
        because: String,
    },
    /// Something broken is repaired.
    #[serde(rename = "mended")]
    Repaired {
        /// What is done.
        #[serde(rename = "mending")]
        repair: Repair,
    },
    /// Something broken could be repaired, and it would cost data: the run waits to be told whether to. Sent only where
    /// somebody is asked.
    Asked {
        /// The question's number within the run, by which it is answered.
        #[serde(default)]
        id: u64,
        /// What would be lost, in plain words.
        #[serde(default)]
        loses: Vec<String>,
        /// What would be done.
        #[serde(rename = "mending")]
        repair: Repair,
    },
    /// A component's objects are being removed.
    Removing {
        /// The component.
        component: String,
        /// The live cause for waiting, in one line.
        cause: String,
    },
    /// A component's objects and pods are gone.
    Removed {
        /// The component.
        component: String,
        /// How many objects were removed.
        objects: u32,
        /// Milliseconds from the first deletion until the last pod was gone.
        took: u64,
    },
    /// How a component will be scaled, step by step. Sent once for each, before [`EventKind::Planned`].
    StepsPlanned {
        /// The component.
        component: String,
        /// How many members its workload is set to.
        from: u32,
        /// How many it will be set to.
        to: u32,
        /// The steps, each begun when the one before is complete; empty where nothing is to be done.
        steps: Vec<PlannedStep>,
        /// What a person should know before agreeing.
        notices: Vec<String>,
    },
    /// A step of scaling begins. The steps are planned anew from what is seen after each, so one may come that was not
    /// planned at first.
    StepBegun {
        /// The component.
        component: String,
        /// What is done or awaited.
        step: String,
        /// How long that usually takes, in seconds.
        expected_seconds: u64,
    },
    /// A step of scaling is complete.
    StepEnded {
        /// The component.
        component: String,
        /// What was done or awaited.
        step: String,
        /// Milliseconds that it took.
        took: u64,
    },
    /// Kubernetes' own part of scaling is complete: the workload has as many ready pods as it was set to.
    RolledOut {
        /// The component.
        component: String,
        /// Milliseconds since the workload was set to that number.
        took: u64,
    },
    /// A store's list of members changed. Every change is told.
    MembersChanged {
        /// The component.
        component: String,
        /// The members' states by address.
        members: BTreeMap<String, String>,
        /// How these states endanger data, where they do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        violation: Option<String>,
    },
    /// A component has as many members as were asked for, and serves.
    Scaled {
        /// The component.
        component: String,
        /// How many members there were.
        from: u32,
        /// How many there are.
        to: u32,
        /// Milliseconds since the run began.
        took: u64,
    },
    /// A step of a change of the cluster's DNS.
    Dns {
        /// The step.
        step: DnsStep,
    },
    /// Trouble or news that concerns the whole run and does not end it.
    Notice {
        /// The text, one line.
        text: Advice,
    },
    /// How far a component is. May be dropped.
    Progress {
        /// The component.
        component: String,
        /// Milliseconds since its gates opened.
        took: u64,
        /// The live cause, in one line.
        cause: String,
    },
    /// The run is asked to stop: nothing new is begun.
    CancelRequested {
        /// Why.
        reason: CancelReason,
    },
    /// The run is over. The last event of every run, sent once.
    RunFinished {
        /// How it ended.
        outcome: Outcome,
        /// What says it to a person: one line, or one for each component that was refused.
        summary: Advice,
        /// The totals.
        stats: RunStats,
        /// The longest chain of components, each of which opened the next one's gate; empty where nothing was started.
        critical_path: Vec<Hop>,
        /// Changes that wait.
        pending: Vec<Pending>,
    },
    /// A kind that this version of the format does not know. It is written again as it was read.
    #[serde(skip)]
    Unknown {
        /// Its name.
        kind: String,
        /// What it tells.
        payload: Map<String, Value>,
    },
}

/// Every kind that is known, by its name.
pub(super) const KINDS: [&str; 28] = [
    "runStarted",
    "checked",
    "planned",
    "waiting",
    "applying",
    "applied",
    "pulling",
    "starting",
    "settling",
    "serving",
    "unsteady",
    "failed",
    "skipped",
    "mended",
    "asked",
    "removing",
    "removed",
    "stepsPlanned",
    "stepBegun",
    "stepEnded",
    "rolledOut",
    "membersChanged",
    "scaled",
    "dns",
    "notice",
    "progress",
    "cancelRequested",
    "runFinished",
];

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Unknown { kind, payload } = self else { return Self::serialize(self, serializer) };
        let mut all = payload.clone();
        all.insert("kind".to_owned(), kind.as_str().into());
        all.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut all = Map::deserialize(deserializer)?;
        match all.get("kind").and_then(Value::as_str) {
            Some(kind) if !KINDS.contains(&kind) => {
                let kind = kind.to_owned();
                all.remove("kind");
                Ok(Self::Unknown { kind, payload: all })
            }
            _ => Self::deserialize(Value::Object(all)).map_err(serde::de::Error::custom),
        }
    }
}

impl EventKind {
    /// Whether a slow reader may miss this kind: only [`EventKind::Progress`].
    pub const fn droppable(&self) -> bool {
        matches!(self, Self::Progress { .. })
    }

    /// Whether a run ends with this kind.
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::RunFinished { .. })
    }

    /// The same with every [`Remedy`] in the words of the program that shows it: [`Remedy::Text`].
    #[must_use]
    pub fn worded(mut self, words: &Words<'_>) -> Self {
        let word = |remedy: &mut Remedy| *remedy = Remedy::Text(remedy.worded(words));
        match &mut self {
            Self::Checked { line } => line.fix.iter_mut().for_each(word),
            Self::Planned { pending, .. } => pending.iter_mut().map(|p| &mut p.command).for_each(word),
            Self::Failed { fix, .. } => word(fix),
            Self::Notice { text } => *text = text.worded(words).into(),
            Self::RunFinished { summary, pending, .. } => {
                *summary = summary.worded(words).into();
                pending.iter_mut().map(|p| &mut p.command).for_each(word);
            }
            _ => {}
        }
        self
    }

    /// The component this is about, where it is about one.
    pub fn component(&self) -> Option<&str> {
        match self {
            Self::Waiting { component, .. }
            | Self::Applying { component, .. }
            | Self::Applied { component, .. }
            | Self::Pulling { component, .. }
            | Self::Starting { component, .. }
            | Self::Settling { component, .. }
            | Self::Serving { component, .. }
            | Self::Unsteady { component, .. }
            | Self::Failed { component, .. }
            | Self::Skipped { component, .. }
            | Self::Removing { component, .. }
            | Self::Removed { component, .. }
            | Self::StepsPlanned { component, .. }
            | Self::StepBegun { component, .. }
            | Self::StepEnded { component, .. }
            | Self::RolledOut { component, .. }
            | Self::MembersChanged { component, .. }
            | Self::Scaled { component, .. }
            | Self::Progress { component, .. } => Some(component),
            Self::Repaired { repair } | Self::Asked { repair, .. } => Some(&repair.component),
            _ => None,
        }
    }
}
