use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::component::{Component, port};
use crate::names::named;

const CLIENT_PORT: u16 = port(Component::Etcd, "etcd-client");

/// The state of one member of a clustered store, in the words that the cluster manager writes to etcd
/// (clearwater-etcd `src/metaswitch/clearwater/cluster_manager/constants.py`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MemberState {
    /// It asks to join. After 30 seconds everybody who asks joins at once.
    #[serde(rename = "waiting to join")]
    WaitingToJoin,
    /// It joins.
    #[serde(rename = "joining")]
    Joining,
    /// It joins, and waits until every member has seen that.
    #[serde(rename = "joining, acknowledged change")]
    JoiningAcknowledgedChange,
    /// It joins, and has its new configuration.
    #[serde(rename = "joining, config changed")]
    JoiningConfigChanged,
    /// It is a member, and nothing changes.
    #[serde(rename = "normal")]
    Normal,
    /// It is a member, and has seen that others join or leave.
    #[serde(rename = "normal, acknowledged change")]
    NormalAcknowledgedChange,
    /// It is a member, and has its new configuration.
    #[serde(rename = "normal, config changed")]
    NormalConfigChanged,
    /// It asks to leave. After 30 seconds everybody who asks leaves at once.
    #[serde(rename = "waiting to leave")]
    WaitingToLeave,
    /// It leaves.
    #[serde(rename = "leaving")]
    Leaving,
    /// It leaves, and waits until every member has seen that.
    #[serde(rename = "leaving, acknowledged change")]
    LeavingAcknowledgedChange,
    /// It leaves, and has its new configuration.
    #[serde(rename = "leaving, config changed")]
    LeavingConfigChanged,
    /// It has left, and is about to strike itself off the list.
    #[serde(rename = "finished")]
    Finished,
    /// It was marked as failed: nobody waits for it any more.
    #[serde(rename = "error")]
    Error,
}

named! {
    /// The state's name in etcd.
    MemberState {
        WaitingToJoin = "waiting to join",
        Joining = "joining",
        JoiningAcknowledgedChange = "joining, acknowledged change",
        JoiningConfigChanged = "joining, config changed",
        Normal = "normal",
        NormalAcknowledgedChange = "normal, acknowledged change",
        NormalConfigChanged = "normal, config changed",
        WaitingToLeave = "waiting to leave",
        Leaving = "leaving",
        LeavingAcknowledgedChange = "leaving, acknowledged change",
        LeavingConfigChanged = "leaving, config changed",
        Finished = "finished",
        Error = "error",
    }
}

impl MemberState {
    /// Whether it is on its way in.
    pub const fn is_joining(self) -> bool {
        matches!(
            self,
            Self::WaitingToJoin | Self::Joining | Self::JoiningAcknowledgedChange | Self::JoiningConfigChanged
        )
    }

    /// Whether it is on its way out.
    pub const fn is_leaving(self) -> bool {
        matches!(
            self,
            Self::WaitingToLeave
                | Self::Leaving
                | Self::LeavingAcknowledgedChange
                | Self::LeavingConfigChanged
                | Self::Finished
        )
    }

    /// Whether it is a member that stays: `normal`, whatever it has acknowledged.
    pub const fn is_staying(self) -> bool {
        matches!(self, Self::Normal | Self::NormalAcknowledgedChange | Self::NormalConfigChanged)
    }
}

/// A word that is not a member's state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a state that a member of a Clearwater cluster can be in")]
pub struct UnknownState(pub String);

impl FromStr for MemberState {
    type Err = UnknownState;

    fn from_str(s: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.name() == s).ok_or_else(|| UnknownState(s.to_owned()))
    }
}

/// The state of a store as a whole, as every cluster manager computes it from the members'
/// (clearwater-etcd `cluster_state.py`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterState {
    /// There is no member.
    Empty,
    /// All members are normal.
    Stable,
    /// All members are normal but for some that were marked as failed.
    StableWithErrors,
    /// Somebody asks to join.
    JoinPending,
    /// Members acknowledge that somebody joins.
    StartedJoining,
    /// Members take the new configuration.
    JoiningConfigChanging,
    /// Members copy data.
    JoiningResyncing,
    /// Somebody asks to leave.
    LeavePending,
    /// Members acknowledge that somebody leaves.
    StartedLeaving,
    /// Members take the new configuration.
    LeavingConfigChanging,
    /// Members copy data.
    LeavingResyncing,
    /// Those who leave strike themselves off the list.
    FinishedLeaving,
    /// A mixture that no way leads to, and none out of.
    Invalid,
}

/// The members of one store and their states: the value of the store's key in etcd.
///
/// ```
/// use clearwater::scale::{ClusterState, Members};
///
/// let members = Members::parse(r#"{"10.1.0.4": "normal", "10.1.0.5": "waiting to join"}"#)?;
/// assert_eq!(members.cluster_state(), ClusterState::JoinPending);
/// # Ok::<(), clearwater::scale::MembersError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Members(BTreeMap<IpAddr, MemberState>);

/// A list of members that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MembersError {
    /// The value is not a JSON object of texts.
    #[error("the list of members is not a JSON object of addresses and states: {0}")]
    NotAnObject(String),
    /// A key is not an IP address.
    #[error("the list of members names {0:?}, which is not an IP address")]
    Address(String),
    /// A state is not known.
    #[error("the member {member} is in a state that is not known: {state}")]
    State {
        /// The member.
        member: IpAddr,
        /// Its state.
        state: UnknownState,
    },
}

impl MembersError {
    /// What to do where the value of this key in etcd was not understood.
    pub fn fix(&self, key: &str) -> String {
        format!(
            "cluster managers write none but addresses and states, so somebody else wrote this; whoever reaches port {CLIENT_PORT} \
             of etcd can, so see who may (a NetworkPolicy keeps others out). Look with kubectl exec -n NAMESPACE \
             etcd-0 -- env ETCDCTL_API=2 etcdctl get {key}, and put it right with etcdctl set in the same way"
        )
    }
}

impl Members {
    /// Reads the value of a store's key. Nothing but white space, which etcd has before the first member, is an empty
    /// list.
    ///
    /// # Errors
    /// What is no list of members.
    pub fn parse(value: &str) -> Result<Self, MembersError> {
        if value.trim().is_empty() {
            return Ok(Self::default());
        }
        let entries: BTreeMap<String, String> =
            serde_json::from_str(value).map_err(|e| MembersError::NotAnObject(e.to_string()))?;
        entries
            .into_iter()
            .map(|(address, state)| {
                let member = address.parse().map_err(|_| MembersError::Address(address))?;
                let state = state.parse().map_err(|state| MembersError::State { member, state })?;
                Ok((member, state))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// How many members are listed, in whatever state.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is listed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The members and their states, by address.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (IpAddr, MemberState)> {
        self.0.iter().map(|(&a, &s)| (a, s))
    }

    /// The state of a member, or `None` where it is not listed.
    pub fn state(&self, member: IpAddr) -> Option<MemberState> {
        self.0.get(&member).copied()
    }

    /// Whether all members are normal and there are as many as that.
    pub fn all_normal(&self, count: usize) -> bool {
        self.len() == count && self.0.values().all(|&s| s == MemberState::Normal)
    }

    /// The state of the store as a whole.
    pub fn cluster_state(&self) -> ClusterState {
        use MemberState as M;
        if self.is_empty() {
            return ClusterState::Empty;
        }
        let states: Vec<_> = self.0.values().copied().filter(|&s| s != M::Error).collect();
        if states.iter().all(|&s| s == M::Normal) {
            let errors = states.len() < self.len();
            return if errors { ClusterState::StableWithErrors } else { ClusterState::Stable };
        }
        // As upstream asks: at least one in a state of the first list, all in one of either.
        let is = |some: &[M], more: &[M]| {
            states.iter().any(|s| some.contains(s)) && states.iter().all(|s| some.contains(s) || more.contains(s))
        };
        let acknowledged = [M::NormalAcknowledgedChange, M::JoiningAcknowledgedChange];
        let changed = [M::NormalConfigChanged, M::JoiningConfigChanged];
        let leave_acknowledged = [M::NormalAcknowledgedChange, M::LeavingAcknowledgedChange];
        let leave_changed = [M::NormalConfigChanged, M::LeavingConfigChanged];
        if is(&[M::Normal, M::WaitingToJoin], &[]) {
            ClusterState::JoinPending
        } else if is(&[M::Normal, M::Joining], &acknowledged) {
            ClusterState::StartedJoining
        } else if is(&acknowledged, &changed) {
            ClusterState::JoiningConfigChanging
        } else if is(&changed, &[M::Normal]) {
            ClusterState::JoiningResyncing
        } else if is(&[M::Normal, M::WaitingToLeave], &[]) {
            ClusterState::LeavePending
        } else if is(&[M::Normal, M::Leaving], &leave_acknowledged) {
            ClusterState::StartedLeaving
        } else if is(&leave_acknowledged, &leave_changed) {
            ClusterState::LeavingConfigChanging
        } else if is(&leave_changed, &[M::Normal, M::Finished]) {
            ClusterState::LeavingResyncing
        } else if is(&[M::Normal, M::Finished], &[]) {
            ClusterState::FinishedLeaving
        } else {
            ClusterState::Invalid
        }
    }

    /// Members that no living pod stands behind: nobody will ever acknowledge anything in their name, so the next
    /// change waits for them for ever.
    ///
    /// `pods` are the addresses of every pod of the store that has not ended; one that is being terminated still acts.
    /// Pods and members are read one after the other, and both change: read the list, the pods, and the list again,
    /// and believe only what both lists say.
    pub fn stale(&self, pods: &[IpAddr]) -> Vec<(IpAddr, MemberState)> {
        self.iter().filter(|(a, _)| !pods.contains(a)).collect()
    }

    /// Pods that are not on the list. For pods that have served a while: etcd has lost the list.
    pub fn absent(&self, pods: &[IpAddr]) -> Vec<IpAddr> {
        pods.iter().copied().filter(|a| !self.0.contains_key(a)).collect()
    }

    /// Checks that no data is at risk: at no moment does one member join while another leaves, or do two leave, and
    /// all others are normal.
    ///
    /// Members in `dead` (see [`Members::stale`]) do not count: their data is gone already, and marking them as failed
    /// takes them out all together.
    ///
    /// ```
    /// use clearwater::scale::{Members, Violation};
    ///
    /// let members = Members::parse(r#"{"10.1.0.4": "leaving", "10.1.0.5": "waiting to leave"}"#)?;
    /// let two = ["10.1.0.4", "10.1.0.5"].map(|a| a.parse().unwrap());
    /// assert_eq!(members.check(&[]), Err(Violation::TwoLeaving(two.to_vec())));
    /// assert_eq!(members.check(&[two[0]]), Ok(()));
    /// # Ok::<(), clearwater::scale::MembersError>(())
    /// ```
    ///
    /// # Errors
    /// The state that endangers data.
    pub fn check(&self, dead: &[IpAddr]) -> Result<(), Violation> {
        let which = |is: fn(MemberState) -> bool| -> Vec<IpAddr> {
            self.iter().filter(|&(a, s)| is(s) && !dead.contains(&a)).map(|(a, _)| a).collect()
        };
        let (joining, leaving) = (which(MemberState::is_joining), which(MemberState::is_leaving));
        let error = which(|s| s == MemberState::Error);
        if leaving.len() > 1 {
            Err(Violation::TwoLeaving(leaving))
        } else if !joining.is_empty() && !leaving.is_empty() {
            Err(Violation::JoiningAndLeaving { joining, leaving })
        } else if !error.is_empty() {
            Err(Violation::LivingInError(error))
        } else {
            Ok(())
        }
    }
}

impl FromIterator<(IpAddr, MemberState)> for Members {
    fn from_iter<I: IntoIterator<Item = (IpAddr, MemberState)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nobody");
        }
        for (i, (member, state)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { "; " };
            write!(f, "{comma}{member} {state}")?;
        }
        Ok(())
    }
}

/// How members' states endanger data.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Some join while others leave.
    #[error("one joins while another leaves: joining {}; leaving {}", list(.joining), list(.leaving))]
    JoiningAndLeaving {
        /// Those who join.
        joining: Vec<IpAddr>,
        /// Those who leave.
        leaving: Vec<IpAddr>,
    },
    /// Several leave at once.
    #[error("more than one leaves at once: {}", list(.0))]
    TwoLeaving(Vec<IpAddr>),
    /// Members that live were marked as failed.
    #[error("marked as failed though alive: {}", list(.0))]
    LivingInError(Vec<IpAddr>),
}

pub(super) fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
