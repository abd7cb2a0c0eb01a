//! The join and leave state machine, as pure functions of the map
//! (clearwater-etcd `cluster_manager/{cluster_state,synchronization_fsm}.py`).

use std::net::IpAddr;

use super::{Members, State};

/// What the map as a whole is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cluster {
    /// Nobody is in.
    Empty,
    /// All normal.
    Stable,
    /// All normal but some in error.
    StableWithErrors,
    /// Somebody waits to join.
    JoinPending,
    /// Members acknowledge the join.
    StartedJoining,
    /// All acknowledged; members change their configuration.
    JoiningConfigChanging,
    /// All changed; members resynchronise.
    JoiningResyncing,
    /// Somebody waits to leave.
    LeavePending,
    /// Members acknowledge the leave.
    StartedLeaving,
    /// All acknowledged; members change their configuration.
    LeavingConfigChanging,
    /// All changed; members resynchronise.
    LeavingResyncing,
    /// Leavers may remove themselves.
    FinishedLeaving,
    /// None of the above.
    Invalid,
}

/// The state of the cluster that a map shows. Members in error are left out of the counts.
pub(crate) fn cluster(members: &Members) -> Cluster {
    use State as S;
    if members.is_empty() {
        return Cluster::Empty;
    }
    let live: Vec<State> = members.values().copied().filter(|s| *s != S::Error).collect();
    let all = |allowed: &[State]| live.iter().all(|s| allowed.contains(s));
    let some = |wanted: &[State]| live.iter().any(|s| wanted.contains(s));
    if all(&[S::Normal]) {
        return if live.len() == members.len() { Cluster::Stable } else { Cluster::StableWithErrors };
    }
    if some(&[S::WaitingToLeave, S::Leaving, S::LeavingAcknowledged, S::LeavingConfigChanged, S::Finished]) {
        return if all(&[S::Normal, S::WaitingToLeave]) {
            Cluster::LeavePending
        } else if all(&[S::NormalAcknowledged, S::LeavingAcknowledged, S::NormalConfigChanged, S::LeavingConfigChanged])
            && some(&[S::NormalAcknowledged, S::LeavingAcknowledged])
        {
            Cluster::LeavingConfigChanging
        } else if all(&[S::Normal, S::NormalAcknowledged, S::Leaving, S::LeavingAcknowledged]) {
            Cluster::StartedLeaving
        } else if all(&[S::Normal, S::Finished]) {
            Cluster::FinishedLeaving
        } else if all(&[S::Normal, S::NormalConfigChanged, S::LeavingConfigChanged, S::Finished]) {
            Cluster::LeavingResyncing
        } else {
            Cluster::Invalid
        };
    }
    if all(&[S::Normal, S::WaitingToJoin]) {
        Cluster::JoinPending
    } else if all(&[S::NormalAcknowledged, S::JoiningAcknowledged, S::NormalConfigChanged, S::JoiningConfigChanged])
        && some(&[S::NormalAcknowledged, S::JoiningAcknowledged])
    {
        Cluster::JoiningConfigChanging
    } else if all(&[S::Normal, S::NormalAcknowledged, S::Joining, S::JoiningAcknowledged]) {
        Cluster::StartedJoining
    } else if all(&[S::Normal, S::NormalConfigChanged, S::JoiningConfigChanged]) {
        Cluster::JoiningResyncing
    } else {
        Cluster::Invalid
    }
}

/// What the plugin of a store is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// A member of long standing, or a leaver, writes the changed configuration.
    ClusterChanging,
    /// A joiner writes its first configuration.
    JoiningCluster,
    /// Everybody has the new configuration: copy data.
    NewConfigReady,
    /// Nothing changes any more.
    StableCluster,
    /// This node is out.
    LeavingCluster,
}

impl Hook {
    /// The plug-in's method.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Hook::ClusterChanging => "on_cluster_changing",
            Hook::JoiningCluster => "on_joining_cluster",
            Hook::NewConfigReady => "on_new_cluster_config_ready",
            Hook::StableCluster => "on_stable_cluster",
            Hook::LeavingCluster => "on_leaving_cluster",
        }
    }
}

/// What a node does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Wait for the map to change.
    Wait,
    /// Run the hook and wait.
    Settle(Hook),
    /// Run the hook, if any, then write this state of its own.
    Become(Option<Hook>, State),
    /// Wait the delay, then move everybody from the first state to the second.
    PauseThenMoveAll(State, State),
    /// Run the hook and remove itself from the map.
    Remove(Hook),
}

/// Whether a node told to leave may write so: the map is at rest, or others wait to leave. Members in error keep all but
/// `mark_node_failed` from it (`forced`). Whether the node is listed at all is not looked at.
pub(crate) fn can_leave(members: &Members, forced: bool) -> bool {
    match cluster(members) {
        Cluster::Stable | Cluster::LeavePending => true,
        Cluster::StableWithErrors => forced,
        _ => false,
    }
}

/// What node `me` does, given the map.
pub(crate) fn step(members: &Members, me: IpAddr) -> Step {
    use Cluster as C;
    use State as S;
    let cluster = cluster(members);
    let Some(own) = members.get(&me).copied() else {
        return match cluster {
            C::Empty | C::Stable | C::JoinPending => Step::Become(None, S::WaitingToJoin),
            _ => Step::Wait,
        };
    };
    match (cluster, own) {
        (C::Stable | C::StableWithErrors, S::Normal) => Step::Settle(Hook::StableCluster),
        (C::JoinPending, S::WaitingToJoin) => Step::PauseThenMoveAll(S::WaitingToJoin, S::Joining),
        (C::StartedJoining, S::Joining) => Step::Become(None, S::JoiningAcknowledged),
        (C::StartedJoining | C::StartedLeaving, S::Normal) => Step::Become(None, S::NormalAcknowledged),
        (C::JoiningConfigChanging, S::JoiningAcknowledged) => {
            Step::Become(Some(Hook::JoiningCluster), S::JoiningConfigChanged)
        }
        (C::JoiningConfigChanging | C::LeavingConfigChanging, S::NormalAcknowledged) => {
            Step::Become(Some(Hook::ClusterChanging), S::NormalConfigChanged)
        }
        (C::JoiningResyncing, S::JoiningConfigChanged)
        | (C::JoiningResyncing | C::LeavingResyncing, S::NormalConfigChanged) => {
            Step::Become(Some(Hook::NewConfigReady), S::Normal)
        }
        (C::LeavePending, S::WaitingToLeave) => Step::PauseThenMoveAll(S::WaitingToLeave, S::Leaving),
        (C::StartedLeaving, S::Leaving) => Step::Become(None, S::LeavingAcknowledged),
        (C::LeavingConfigChanging, S::LeavingAcknowledged) => {
            Step::Become(Some(Hook::ClusterChanging), S::LeavingConfigChanged)
        }
        (C::LeavingResyncing, S::LeavingConfigChanged) => Step::Become(Some(Hook::NewConfigReady), S::Finished),
        (C::FinishedLeaving, S::Finished) => Step::Remove(Hook::LeavingCluster),
        _ => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(states: &[State]) -> Members {
        states.iter().enumerate().map(|(i, s)| (IpAddr::from([10, 0, 0, u8::try_from(i).unwrap()]), *s)).collect()
    }

    fn ip(i: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, i])
    }

    /// Lets the given nodes act in turn until nobody moves, as the agent does.
    fn run(members: &mut Members, nodes: &[(u8, bool)]) {
        loop {
            let mut moved = false;
            for (node, leaving) in nodes {
                // `mark_node_failed` acts for those in error.
                let forced = members.get(&ip(*node)) == Some(&State::Error);
                let begins = *leaving && members.contains_key(&ip(*node)) && can_leave(members, forced);
                let waits = members.get(&ip(*node)) == Some(&State::WaitingToLeave);
                if begins && !waits {
                    members.insert(ip(*node), State::WaitingToLeave);
                    moved = true;
                    continue;
                }
                if *leaving && !members.contains_key(&ip(*node)) {
                    continue;
                }
                match step(members, ip(*node)) {
                    Step::Become(_, state) => {
                        members.insert(ip(*node), state);
                        moved = true;
                    }
                    Step::PauseThenMoveAll(from, to) => {
                        for state in members.values_mut().filter(|s| **s == from) {
                            *state = to;
                        }
                        moved = true;
                    }
                    Step::Remove(_) => {
                        members.remove(&ip(*node));
                        moved = true;
                    }
                    Step::Wait | Step::Settle(_) => {}
                }
                assert_ne!(cluster(members), Cluster::Invalid, "{members:?}");
            }
            if !moved {
                return;
            }
        }
    }

    #[test]
    fn one_then_two_more_join_and_two_leave() {
        let mut members = Members::new();
        run(&mut members, &[(0, false)]);
        assert_eq!(members, map(&[State::Normal]));
        run(&mut members, &[(2, false), (0, false), (1, false)]);
        assert_eq!(members, map(&[State::Normal; 3]));
        run(&mut members, &[(0, false), (1, true), (2, true)]);
        assert_eq!(members, map(&[State::Normal]));
        run(&mut members, &[(0, true)]);
        assert!(members.is_empty());
    }

    #[test]
    fn a_dead_member_stalls_the_join_until_it_is_in_error() {
        let mut members = map(&[State::Normal, State::Normal]);
        run(&mut members, &[(0, false), (2, false)]);
        assert_eq!(members[&ip(2)], State::JoiningAcknowledged);
        assert_eq!(members[&ip(0)], State::NormalAcknowledged);
        assert_eq!(members[&ip(1)], State::Normal);
        members.insert(ip(1), State::Error);
        run(&mut members, &[(0, false), (2, false)]);
        assert_eq!(cluster(&members), Cluster::StableWithErrors);
        run(&mut members, &[(0, false), (2, false), (1, true)]);
        assert_eq!(members.len(), 2);
        assert_eq!(cluster(&members), Cluster::Stable);
    }

    #[test]
    fn nobody_enters_while_others_join_or_leave() {
        for states in [
            [State::Joining, State::Normal],
            [State::WaitingToLeave, State::Normal],
            [State::JoiningConfigChanged, State::Normal],
            [State::Error, State::Normal],
        ] {
            assert_eq!(step(&map(&states), ip(9)), Step::Wait, "{states:?}");
        }
        let pending = map(&[State::WaitingToJoin, State::Normal]);
        assert_eq!(step(&pending, ip(9)), Step::Become(None, State::WaitingToJoin));
    }

    #[test]
    fn a_cluster_at_rest_may_be_left_and_one_with_errors_by_force_alone() {
        use State as S;
        for (states, freely, forced) in [
            (&[S::Normal, S::Normal][..], true, true),
            (&[S::Normal, S::WaitingToLeave], true, true),
            (&[S::WaitingToLeave, S::Error], true, true),
            (&[S::Normal, S::Error], false, true),
            (&[S::Normal, S::WaitingToJoin], false, false),
            (&[S::NormalAcknowledged, S::Joining], false, false),
            (&[S::Normal, S::Leaving], false, false),
            (&[], false, false),
        ] {
            let members = map(states);
            assert_eq!((can_leave(&members, false), can_leave(&members, true)), (freely, forced), "{states:?}");
        }
    }

    #[test]
    fn the_words_are_those_of_the_real_one() -> anyhow::Result<()> {
        let text = r#"{"10.0.0.1":"joining, acknowledged change","10.0.0.2":"normal"}"#;
        let members = super::super::parse_members(Some(text))?;
        assert_eq!(super::super::format_members(&members), text);
        Ok(())
    }
}
