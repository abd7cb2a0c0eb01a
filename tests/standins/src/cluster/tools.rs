//! `cw-check_cluster_state` and `cw-mark_node_failed`.

use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::{Result, bail};

use super::agent::Agent;
use super::{Members, State, Store, format_members, parse_members};
use crate::net::etcd::{Etcd, Swapped};
use crate::place::{self, Settings};

/// What a tool prints and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// To stdout.
    pub(crate) out: String,
    /// To stderr, one line; empty for none.
    pub(crate) err: String,
    /// The exit status.
    pub(crate) code: u8,
}

/// The text of `cw-check_cluster_state`.
pub(crate) async fn check_cluster_state() -> Result<Outcome> {
    let settings = Settings::load()?;
    let me = settings.local_ip()?;
    let mut stores = Vec::new();
    for (key, value) in Etcd::new(place::etcd_address()).list("clearwater").await? {
        if let Some(store) = Store::of_key(&key) {
            stores.push((store, parse_members(Some(&value))?));
        }
    }
    Ok(describe(me, Store::of_node_type(&settings.cluster_key()), stores))
}

fn describe(me: IpAddr, own: Option<Store>, mut stores: Vec<(Store, Members)>) -> Outcome {
    let mut out = "This script prints the status of the data store clusters.\n\n".to_owned();
    let _ = match own {
        Some(store) => writeln!(out, "This node ({me}) should be in the {} cluster.", store.title()),
        None => writeln!(out, "This node ({me}) should not be in any cluster."),
    };
    stores.sort_by_key(|(store, _)| store.title());
    let mut unstable = 0;
    for (store, members) in &stores {
        let stable = members.values().all(|s| *s == State::Normal);
        let not = if stable { "" } else { "*not* " };
        unstable += u32::from(!stable);
        let _ = writeln!(out, "Describing the {} cluster:\n  The cluster is {not}stable.", store.title());
        for (ip, state) in members {
            let _ = writeln!(out, "    {ip} is in state {}.", state.words());
        }
        out.push('\n');
    }
    let (err, code) = match (stores.is_empty(), unstable) {
        (true, _) => ("None unstable cluster(s)".to_owned(), 1),
        (false, 0) => (String::new(), 0),
        (false, n) => (format!("{n} unstable cluster(s)"), 1),
    };
    Outcome { out, err, code }
}

/// Takes a dead node out of a store's map: error, then the leave on its behalf. `say` gets each line as it is due.
pub(crate) async fn mark_node_failed(
    node_type: &str,
    store: &str,
    dead: IpAddr,
    say: impl Fn(&str) -> Result<()>,
) -> Result<u8> {
    let Some(found) = Store::of_node_type(node_type).filter(|s| s.short() == store) else {
        bail!("no store {store} on nodes of type {node_type}; try: node_type_memcached memcached");
    };
    say("Detailed output being sent to /var/log/clearwater-etcd/mark_node_failed.log")?;
    if found == Store::Cassandra && !has_cassandra() {
        say(
            "You must run mark_node_failed on a node that has Cassandra installed to remove a node from a Cassandra cluster",
        )?;
        return Ok(1);
    }
    let seen = Etcd::new(place::etcd_address()).get(&found.key()).await?;
    if !parse_members(seen.value.as_deref())?.contains_key(&dead) {
        say("Not in cluster - no work required")?;
        return Ok(0);
    }
    say("Marking node as failed and removing it from the cluster - will take at least 30 seconds")?;
    let agent = Agent::new(found, dead, true);
    agent.fail().await;
    // The order waits for operations under way, and for other dead members that nobody has marked yet.
    let (left, ()) = tokio::join!(agent.work(), agent.leave());
    left?;
    say(&format!("Process complete - {dead} has left the cluster"))?;
    Ok(0)
}

fn has_cassandra() -> bool {
    let component = std::fs::read_to_string(place::path("/usr/share/clearwater/standin/component"));
    !component.is_ok_and(|name| name.trim() != "cassandra")
}

/// Puts a member that does not exist into a store's map, as a pod killed by force leaves it.
pub(crate) async fn stale_member(store: &str, ip: IpAddr) -> Result<()> {
    let Some(store) = Store::ALL.into_iter().find(|s| s.short() == store) else {
        bail!("no store {store}; memcached, chronos or cassandra");
    };
    let etcd = Etcd::new(place::etcd_address());
    loop {
        let seen = etcd.get(&store.key()).await?;
        let mut members = parse_members(seen.value.as_deref())?;
        members.insert(ip, State::Normal);
        if etcd.swap(&store.key(), &seen, &format_members(&members)).await? == Swapped::Yes {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_the_real_ones_words() {
        let me = IpAddr::from([10, 0, 0, 1]);
        let members: Members = [(me, State::Normal), (IpAddr::from([10, 0, 0, 2]), State::JoiningAcknowledged)].into();
        let outcome = describe(
            me,
            Some(Store::Memcached),
            vec![(Store::Memcached, members), (Store::Cassandra, [(me, State::Normal)].into())],
        );
        assert_eq!(
            outcome.out,
            "This script prints the status of the data store clusters.\n\n\
             This node (10.0.0.1) should be in the Memcached cluster.\n\
             Describing the Cassandra cluster:\n  The cluster is stable.\n    10.0.0.1 is in state normal.\n\n\
             Describing the Memcached cluster:\n  The cluster is *not* stable.\n    10.0.0.1 is in state normal.\n    10.0.0.2 is in state joining, acknowledged change.\n\n"
        );
        assert_eq!((outcome.err.as_str(), outcome.code), ("1 unstable cluster(s)", 1));
        let none = describe(me, None, vec![]);
        assert!(none.out.ends_with("This node (10.0.0.1) should not be in any cluster.\n"));
        assert_eq!((none.err.as_str(), none.code), ("None unstable cluster(s)", 1));
    }
}
