//! The cluster manager: states, the rules that move them, the agent, and its tools.

pub(crate) mod agent;
pub(crate) mod plugin;
pub(crate) mod rules;
pub(crate) mod tools;

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};

/// A node's state, as written in etcd (clearwater-etcd `cluster_manager/constants.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// `waiting to join`
    WaitingToJoin,
    /// `joining`
    Joining,
    /// `joining, acknowledged change`
    JoiningAcknowledged,
    /// `joining, config changed`
    JoiningConfigChanged,
    /// `normal`
    Normal,
    /// `normal, acknowledged change`
    NormalAcknowledged,
    /// `normal, config changed`
    NormalConfigChanged,
    /// `waiting to leave`
    WaitingToLeave,
    /// `leaving`
    Leaving,
    /// `leaving, acknowledged change`
    LeavingAcknowledged,
    /// `leaving, config changed`
    LeavingConfigChanged,
    /// `finished`
    Finished,
    /// `error`
    Error,
}

impl State {
    const ALL: [(State, &'static str); 13] = [
        (State::WaitingToJoin, "waiting to join"),
        (State::Joining, "joining"),
        (State::JoiningAcknowledged, "joining, acknowledged change"),
        (State::JoiningConfigChanged, "joining, config changed"),
        (State::Normal, "normal"),
        (State::NormalAcknowledged, "normal, acknowledged change"),
        (State::NormalConfigChanged, "normal, config changed"),
        (State::WaitingToLeave, "waiting to leave"),
        (State::Leaving, "leaving"),
        (State::LeavingAcknowledged, "leaving, acknowledged change"),
        (State::LeavingConfigChanged, "leaving, config changed"),
        (State::Finished, "finished"),
        (State::Error, "error"),
    ];

    /// The words in etcd.
    pub(crate) fn words(self) -> &'static str {
        Self::ALL.iter().find_map(|(s, w)| (*s == self).then_some(*w)).unwrap_or("error")
    }

    /// The state these words name.
    pub(crate) fn from_words(words: &str) -> Option<Self> {
        Self::ALL.iter().find_map(|(s, w)| (*w == words).then_some(*s))
    }
}

/// The members of one store and their states.
pub(crate) type Members = BTreeMap<IpAddr, State>;

/// Reads the JSON object kept in etcd; an absent or empty value is an empty cluster.
pub(crate) fn parse_members(text: Option<&str>) -> Result<Members> {
    let text = text.unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(Members::new());
    }
    let raw: BTreeMap<String, String> = serde_json::from_str(text)
        .with_context(|| format!("the cluster map in etcd is not an object of strings: {text}"))?;
    raw.into_iter()
        .map(|(ip, words)| {
            let ip = ip.parse().with_context(|| format!("{ip:?} in the cluster map"))?;
            let state = State::from_words(&words).with_context(|| format!("{ip} is in unknown state {words:?}"))?;
            Ok((ip, state))
        })
        .collect()
}

/// The JSON object kept in etcd.
pub(crate) fn format_members(members: &Members) -> String {
    let map: BTreeMap<String, &str> = members.iter().map(|(ip, s)| (ip.to_string(), s.words())).collect();
    serde_json::to_string(&map).unwrap_or_default()
}

/// A clustered data store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// Behind astaire and rogers.
    Memcached,
    /// Timers.
    Chronos,
    /// Subscribers.
    Cassandra,
}

impl Store {
    /// Every store, by name.
    pub(crate) const ALL: [Store; 3] = [Store::Cassandra, Store::Chronos, Store::Memcached];

    /// The name shown by `cw-check_cluster_state`.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Store::Memcached => "Memcached",
            Store::Chronos => "Chronos",
            Store::Cassandra => "Cassandra",
        }
    }

    /// The store that nodes of this type cluster, if any.
    pub(crate) fn of_node_type(node_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.node_type() == node_type)
    }

    /// The value of `etcd_cluster_key` on its nodes.
    pub(crate) fn node_type(self) -> &'static str {
        match self {
            Store::Memcached => "node_type_memcached",
            Store::Chronos => "node_type_chronos",
            Store::Cassandra => "node_type_cassandra",
        }
    }

    /// Its name in keys.
    pub(crate) fn short(self) -> &'static str {
        match self {
            Store::Memcached => "memcached",
            Store::Chronos => "chronos",
            Store::Cassandra => "cassandra",
        }
    }

    /// Its key in etcd; Cassandra's has no site.
    pub(crate) fn key(self) -> String {
        let site = if self == Store::Cassandra { "" } else { "site1/" };
        format!("clearwater/{site}{}/clustering/{}", self.node_type(), self.short())
    }

    /// The store whose key ends so.
    pub(crate) fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| key.ends_with(&format!("/clustering/{}", s.short())))
    }
}
