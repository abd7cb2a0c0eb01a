use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::refusal::Refusal;
use crate::component::{Component, Store};
use crate::text::counted;

/// What is done or awaited in one step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum ScaleAction {
    /// Run `cw-mark_node_failed` for each of these dead members, all at the same time: each run ends only when every
    /// dead member was marked (clearwater-readthedocs `docs/Handling_Failed_Nodes.md`).
    ///
    /// Needs a person's consent.
    MarkFailed {
        /// The dead members.
        members: Vec<IpAddr>,
        /// The store.
        store: Store,
        /// The pod to run it in.
        via: String,
    },
    /// Wait until as many members as this are on the list and all are normal.
    AwaitNormal {
        /// How many.
        members: u32,
    },
    /// Set the workload's replicas to `to`; the new pods join together.
    Join {
        /// How many there are.
        from: u32,
        /// How many there will be.
        to: u32,
    },
    /// Set the workload's replicas so that one pod leaves: the last of a StatefulSet, of a Deployment whichever Kubernetes
    /// chooses.
    Leave {
        /// The pod that leaves, where that is known before.
        #[serde(skip_serializing_if = "Option::is_none")]
        pod: Option<String>,
        /// How many remain: what the replicas are set to.
        members: u32,
    },
    /// Wait until the pod's member is off the list.
    AwaitLeft {
        /// The pod, where it is known before its turn comes.
        #[serde(skip_serializing_if = "Option::is_none")]
        pod: Option<String>,
        /// Its address on the list; `None` where it is not known before its turn comes.
        #[serde(skip_serializing_if = "Option::is_none")]
        member: Option<IpAddr>,
    },
    /// Wait until the pod, which was told to stop, has ended.
    AwaitEnded {
        /// The pod.
        pod: String,
    },
    /// Make a Service for each new pod of bono, by ordinal from `from` up to and without `to`.
    Publish {
        /// The first ordinal.
        from: u32,
        /// One past the last ordinal.
        to: u32,
    },
    /// Wait until a load balancer gave each of these Services its address.
    AwaitAddresses {
        /// The first ordinal.
        from: u32,
        /// One past the last ordinal.
        to: u32,
    },
    /// Set the workload's replicas.
    Resize {
        /// How many there are.
        from: u32,
        /// How many there will be.
        to: u32,
    },
    /// Wait until as many pods as this are serving.
    AwaitServing {
        /// How many.
        members: u32,
    },
    /// Wait until no more pods than this are left.
    AwaitGone {
        /// How many.
        members: u32,
    },
    /// Remove the Services of bono's pods that are gone, by ordinal from `to` up to and without `from`.
    Withdraw {
        /// One past the last ordinal.
        from: u32,
        /// The first ordinal.
        to: u32,
    },
    /// Wait until every DNS pod answers with exactly these pods. Worth telling, not worth failing for.
    AwaitDns {
        /// How many.
        members: u32,
    },
}

impl ScaleAction {
    /// What the workload's replicas are set to, where the step sets them.
    pub const fn replicas(&self) -> Option<u32> {
        match *self {
            Self::Join { to, .. } | Self::Resize { to, .. } => Some(to),
            Self::Leave { members, .. } => Some(members),
            _ => None,
        }
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleStep {
    /// What is done or awaited.
    #[serde(flatten)]
    pub action: ScaleAction,
    /// How long that usually takes, in seconds.
    pub expected_seconds: u64,
    /// After how many seconds something must be wrong.
    pub deadline_seconds: u64,
}

impl ScaleStep {
    pub(super) const fn new(action: ScaleAction, expected_seconds: u64, deadline_seconds: u64) -> Self {
        Self { action, expected_seconds, deadline_seconds }
    }
}

/// The steps that scale a component.
///
/// `Display` prints it as a dry run shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalePlan {
    /// The component.
    pub component: Component,
    /// How many members the workload is set to now.
    pub from: u32,
    /// How many it will be set to.
    pub to: u32,
    /// Whether its pods have numbers, as those of a StatefulSet: those of a Deployment are called as Kubernetes likes.
    #[serde(skip)]
    pub numbered: bool,
    /// The steps, each begun when the one before is complete.
    pub steps: Vec<ScaleStep>,
    /// What a person should know before agreeing.
    pub notices: Vec<String>,
}

impl ScalePlan {
    pub(super) fn push(&mut self, action: ScaleAction, expected_seconds: u64, deadline_seconds: u64) {
        self.steps.push(ScaleStep::new(action, expected_seconds, deadline_seconds));
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How long the whole usually takes, in seconds.
    pub fn expected_seconds(&self) -> u64 {
        self.steps.iter().map(|s| s.expected_seconds).sum()
    }

    /// The dead members that the plan would mark as failed: what a person must agree to.
    pub fn marks_failed(&self) -> &[IpAddr] {
        let marked = self.steps.iter().find_map(|s| match &s.action {
            ScaleAction::MarkFailed { members, .. } => Some(members.as_slice()),
            _ => None,
        });
        marked.unwrap_or_default()
    }

    /// What to say when nobody agreed, or `None` where the plan needs no consent.
    pub fn without_consent(&self) -> Option<Refusal> {
        self.steps.iter().find_map(|s| match &s.action {
            ScaleAction::MarkFailed { members, store, .. } => {
                Some(Refusal::Stale { component: self.component, store: *store, stale: members.clone() })
            }
            _ => None,
        })
    }

    /// What is done or awaited in a step of this plan, as a person would say it.
    pub fn describe(&self, action: &ScaleAction) -> String {
        struct Said<'a>(&'a ScalePlan, &'a ScaleAction);
        impl fmt::Display for Said<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write_action(f, self.1)
            }
        }
        Said(self, action).to_string()
    }

    fn write_action(&self, f: &mut fmt::Formatter<'_>, action: &ScaleAction) -> fmt::Result {
        let c = self.component;
        let pods = |from: u32, to: u32| {
            let (first, last) = (from.min(to), from.max(to).saturating_sub(1));
            match last.saturating_sub(first) {
                0 => format!("{c}-{first}"),
                1 => format!("{c}-{first} and {c}-{last}"),
                _ => format!("{c}-{first} to {c}-{last}"),
            }
        };
        let one = |from: u32, to: u32| from.abs_diff(to) == 1;
        match action {
            ScaleAction::MarkFailed { members, via, .. } => {
                let list: Vec<_> = members.iter().map(ToString::to_string).collect();
                write!(f, "mark {} as failed, from {via}", list.join(", "))
            }
            ScaleAction::AwaitNormal { members: 1 } => f.write_str("wait until there is 1 member and it is normal"),
            ScaleAction::AwaitNormal { members: n } => {
                write!(f, "wait until there are {} and all are normal", counted(*n, "member"))
            }
            ScaleAction::Join { from, to } if !self.numbered => match to.abs_diff(*from) {
                1 => write!(f, "start one more pod of {c}, which joins"),
                more => write!(f, "start {more} more pods of {c}, which join together"),
            },
            ScaleAction::Join { from, to } if one(*from, *to) => write!(f, "start {}, which joins", pods(*from, *to)),
            ScaleAction::Join { from, to } => write!(f, "start {}, which join together", pods(*from, *to)),
            ScaleAction::Leave { pod: Some(pod), .. } => write!(f, "stop {pod}, which leaves first"),
            ScaleAction::Leave { pod: None, .. } => write!(f, "stop one pod of {c}, which leaves first"),
            ScaleAction::AwaitLeft { pod, member } => {
                f.write_str("wait until ")?;
                f.write_str(pod.as_deref().unwrap_or("it"))?;
                member.map_or(Ok(()), |member| write!(f, " ({member})"))?;
                f.write_str(" is off the list of members")
            }
            ScaleAction::AwaitEnded { pod } => write!(f, "wait until {pod} has ended"),
            ScaleAction::Publish { from, to } => write!(f, "make a Service for {}", pods(*from, *to)),
            ScaleAction::AwaitAddresses { from, to } => write!(f, "wait for an address for {}", pods(*from, *to)),
            ScaleAction::Resize { from, to } => write!(f, "set the replicas from {from} to {to}"),
            ScaleAction::AwaitServing { members: 1 } => f.write_str("wait until it serves"),
            ScaleAction::AwaitServing { members: n } => write!(f, "wait until all {n} serve"),
            ScaleAction::AwaitGone { members: 0 } => f.write_str("wait until none is left"),
            ScaleAction::AwaitGone { members: 1 } => f.write_str("wait until one is left"),
            ScaleAction::AwaitGone { members: n } => write!(f, "wait until {n} are left"),
            ScaleAction::Withdraw { from, to } => write!(f, "remove the Service of {}", pods(*from, *to)),
            ScaleAction::AwaitDns { members: 0 } => f.write_str("see every DNS pod answer with none"),
            ScaleAction::AwaitDns { members: 1 } => f.write_str("see every DNS pod answer with that one"),
            ScaleAction::AwaitDns { members: n } => write!(f, "see every DNS pod answer with those {n}"),
        }
    }
}

impl fmt::Display for ScalePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return write!(f, "{}: nothing to do, there are {}", self.component, self.to);
        }
        if self.from == self.to {
            writeln!(f, "{}: {} stay, after", self.component, self.to)?;
        } else {
            writeln!(f, "{}: from {} to {}", self.component, self.from, self.to)?;
        }
        for (i, step) in self.steps.iter().enumerate() {
            write!(f, "  {}. ", i + 1)?;
            self.write_action(f, &step.action)?;
            writeln!(f, " (about {} s)", step.expected_seconds)?;
        }
        write!(f, "  about {} s in all", self.expected_seconds())?;
        for notice in &self.notices {
            write!(f, "\n  note: {notice}")?;
        }
        Ok(())
    }
}
