//! What each store's plugin writes and starts (clearwater-etcd-plugins).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::rules::Hook;
use super::{Members, State, Store};
use crate::log::log;
use crate::net::http::{Method, Request};
use crate::place;

/// Keyspaces made by the schema scripts (homestead, crest packaging).
pub(crate) const KEYSPACES: [&str; 3] = ["homestead_cache", "homestead_provisioning", "homer"];

/// Runs a hook of a store's plugin on node `me`; an error leaves the node where it is.
pub(crate) async fn run(store: Store, hook: Hook, members: &Members, me: IpAddr) -> Result<()> {
    match store {
        Store::Memcached => memcached(hook, members, me).await,
        Store::Chronos => chronos(hook, members, me).await,
        Store::Cassandra => cassandra(hook, members, me).await,
    }
}

fn is_leaving(members: &Members, me: IpAddr) -> bool {
    matches!(
        members.get(&me),
        Some(State::Leaving | State::LeavingAcknowledged | State::LeavingConfigChanged | State::Finished)
    )
}

async fn memcached(hook: Hook, members: &Members, me: IpAddr) -> Result<()> {
    let file = place::path("/etc/clearwater/cluster_settings");
    match hook {
        Hook::ClusterChanging | Hook::JoiningCluster | Hook::StableCluster => {
            let text = cluster_settings(members);
            if std::fs::read_to_string(&file).ok().as_deref() != Some(text.as_str()) {
                place::write_whole(&file, &text)?;
                log!(Status, "memcached_utils.py:75", "Wrote cluster_settings: {}", text.trim().replace('\n', " "));
                tell("astaire", "/reload", members, me).await;
                tell("rogers", "/reload", members, me).await;
            }
            Ok(())
        }
        Hook::NewConfigReady if has_astaire() => resync("astaire", members, me).await,
        Hook::NewConfigReady => Ok(()),
        Hook::LeavingCluster => {
            let _ = std::fs::remove_file(&file);
            Ok(())
        }
    }
}

/// The 2016 image holds memcached alone: nothing in it copies data.
fn has_astaire() -> bool {
    let component = std::fs::read_to_string(place::path("/usr/share/clearwater/standin/component"));
    !component.is_ok_and(|name| name.trim() == "memcached")
}

fn address(ip: IpAddr, port: u16) -> String {
    SocketAddr::new(ip, port).to_string()
}

/// The text of `/etc/clearwater/cluster_settings`.
fn cluster_settings(members: &Members) -> String {
    use State as S;
    let list = |states: &[State]| {
        members
            .iter()
            .filter(|(_, s)| states.contains(s))
            .map(|(ip, _)| address(*ip, 11211))
            .collect::<Vec<_>>()
            .join(",")
    };
    let old = list(&[
        S::Normal,
        S::NormalAcknowledged,
        S::NormalConfigChanged,
        S::Leaving,
        S::LeavingAcknowledged,
        S::LeavingConfigChanged,
    ]);
    let new = list(&[
        S::Normal,
        S::NormalAcknowledged,
        S::NormalConfigChanged,
        S::Joining,
        S::JoiningAcknowledged,
        S::JoiningConfigChanged,
    ]);
    if old == new || new.is_empty() {
        format!("servers={old}\n")
    } else if old.is_empty() {
        format!("servers={new}\n")
    } else {
        format!("servers={old}\nnew_servers={new}\n")
    }
}

async fn chronos(hook: Hook, members: &Members, me: IpAddr) -> Result<()> {
    match hook {
        Hook::ClusterChanging | Hook::JoiningCluster | Hook::StableCluster => {
            let file = place::path("/etc/chronos/chronos_cluster.conf");
            let text = chronos_cluster(members, me);
            if std::fs::read_to_string(&file).ok().as_deref() != Some(text.as_str()) {
                place::write_whole(&file, &text)?;
                log!(Status, "chronos_plugin.py:98", "Wrote chronos_cluster.conf");
                tell("chronos", "/reload", members, me).await;
            }
            Ok(())
        }
        Hook::NewConfigReady => resync("chronos", members, me).await,
        Hook::LeavingCluster => Ok(()),
    }
}

/// The text of `/etc/chronos/chronos_cluster.conf`.
fn chronos_cluster(members: &Members, me: IpAddr) -> String {
    use State as S;
    let mut out = format!("[identity]\ninstance_id = {}\n\n[cluster]\nlocalhost = {me}\n", instance(members, me));
    for (ip, state) in members {
        let word = match state {
            S::Joining | S::JoiningAcknowledged | S::JoiningConfigChanged => "joining",
            S::Normal | S::NormalAcknowledged | S::NormalConfigChanged => "node",
            S::Leaving | S::LeavingAcknowledged | S::LeavingConfigChanged => "leaving",
            _ => continue,
        };
        let _ = writeln!(out, "{word} = {ip}");
    }
    out
}

fn instance(members: &Members, me: IpAddr) -> usize {
    members.keys().position(|ip| *ip == me).unwrap_or(0)
}

/// Tells a program of this container something; a program that is not running misses it and
/// reads its files when it starts.
async fn tell(program: &str, what: &str, members: &Members, me: IpAddr) {
    let socket = place::path("/run/standin").join(format!("{program}.sock"));
    if let Err(err) = Request::new(Method::POST, what).over_unix(&socket).await {
        let level = if is_leaving(members, me) {
            "as it should be when leaving"
        } else {
            "it will read its files when it starts"
        };
        log!(Info, "etcd_synchronizer.py:310", "{program} is not running ({err:#}); {level}");
    }
}

/// Has a program copy data to its new places and waits for it. A leaver's programs were
/// stopped before it left, so there only the other members' copies count.
async fn resync(program: &str, members: &Members, me: IpAddr) -> Result<()> {
    let socket = place::path("/run/standin").join(format!("{program}.sock"));
    let limit = place::knob_ms("STANDIN_RESYNC_WAIT_MS", 60_000);
    let started = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let asked = Request::new(Method::POST, "/resync").within(limit).over_unix(&socket).await;
        match asked {
            Ok(answer) if answer.good() => {
                log!(Status, "etcd_synchronizer.py:322", "{program} resynchronised: {}", answer.body_text());
                return Ok(());
            }
            Ok(answer) => bail!("{program} could not resynchronise: {}", answer.body_text()),
            Err(_) if is_leaving(members, me) => return Ok(()),
            Err(err) if started.elapsed() > limit => {
                return Err(err)
                    .with_context(|| format!("{program} did not resynchronise in {limit:?}: is it running?"));
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

async fn cassandra(hook: Hook, members: &Members, me: IpAddr) -> Result<()> {
    match hook {
        Hook::JoiningCluster => join_cassandra(members, me).await,
        Hook::StableCluster => {
            // The schema scripts run on one node only, and again after each change: they
            // create what is not there yet.
            if members.keys().next() == Some(&me) {
                tokio::spawn(make_schemas(me));
            }
            Ok(())
        }
        Hook::ClusterChanging | Hook::NewConfigReady | Hook::LeavingCluster => Ok(()),
    }
}

async fn join_cassandra(members: &Members, me: IpAddr) -> Result<()> {
    let folder = place::path("/etc/cassandra");
    let bootstrapped = folder.join("cassandra_bootstrapped");
    let in_progress = folder.join("cassandra_bootstrap_in_progress");
    let booted = place::path("/run/standin/cassandra.booted");
    if !bootstrapped.exists() && !in_progress.exists() {
        let data = place::path("/var/lib/cassandra");
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&data)?;
        place::write_whole(&in_progress, "")?;
    }
    let yaml = folder.join("cassandra.yaml");
    if !yaml.exists() {
        let _ = std::fs::remove_file(&booted);
    }
    place::write_whole(&folder.join("cassandra-rackdc.properties"), "dc=site1\nrack=RAC1\n")?;
    place::write_whole(&yaml, &cassandra_yaml(members, me))?;
    log!(Status, "cassandra_plugin.py:163", "Wrote cassandra.yaml; waiting for Cassandra to start");
    while !booted.exists() {
        tokio::time::sleep(place::poll_interval()).await;
    }
    place::write_whole(&bootstrapped, "")?;
    let _ = std::fs::remove_file(&in_progress);
    Ok(())
}

fn cassandra_yaml(members: &Members, me: IpAddr) -> String {
    let of = |wanted: fn(State) -> bool| {
        members.iter().filter(|(_, s)| wanted(**s)).map(|(ip, _)| ip.to_string()).collect::<Vec<_>>()
    };
    let mut seeds = of(|s| matches!(s, State::Normal | State::NormalAcknowledged | State::NormalConfigChanged));
    if seeds.is_empty() {
        seeds = of(|s| matches!(s, State::Joining | State::JoiningAcknowledged | State::JoiningConfigChanged));
    }
    format!(
        "cluster_name: \"ClearwaterCluster\"\n\
         num_tokens: 256\n\
         seed_provider:\n    - class_name: org.apache.cassandra.locator.SimpleSeedProvider\n      parameters:\n          - seeds: \"{}\"\n\
         storage_port: 7000\nssl_storage_port: 7001\n\
         listen_address: {me}\nbroadcast_rpc_address: {me}\n\
         start_native_transport: true\nnative_transport_port: 9042\n\
         start_rpc: true\nrpc_address: \"::0\"\nrpc_port: 9160\n\
         endpoint_snitch: GossipingPropertyFileSnitch\n",
        seeds.join(",")
    )
}

async fn make_schemas(me: IpAddr) {
    tokio::time::sleep(place::knob_ms("STANDIN_SCHEMA_DELAY_MS", 0)).await;
    let address = SocketAddr::new(me, 9160);
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut pause = Duration::from_millis(50);
    for keyspace in KEYSPACES {
        while Instant::now() < deadline {
            let made = Request::new(Method::PUT, format!("/ks/{keyspace}")).to(address).await;
            if made.is_ok_and(|a| a.good()) {
                log!(Status, "run_cassandra_schemas:1", "Keyspace {keyspace} is there");
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(all: &[(u8, State)]) -> Members {
        all.iter().map(|(i, s)| (IpAddr::from([10, 0, 0, *i]), *s)).collect()
    }

    #[test]
    fn cluster_settings_show_old_and_new_servers_only_while_they_differ() {
        use State as S;
        assert_eq!(cluster_settings(&members(&[(1, S::Normal)])), "servers=10.0.0.1:11211\n");
        assert_eq!(cluster_settings(&members(&[(1, S::JoiningAcknowledged)])), "servers=10.0.0.1:11211\n");
        assert_eq!(
            cluster_settings(&members(&[(1, S::NormalAcknowledged), (2, S::JoiningAcknowledged), (3, S::Error)])),
            "servers=10.0.0.1:11211\nnew_servers=10.0.0.1:11211,10.0.0.2:11211\n"
        );
        assert_eq!(
            cluster_settings(&members(&[(1, S::NormalAcknowledged), (2, S::LeavingAcknowledged)])),
            "servers=10.0.0.1:11211,10.0.0.2:11211\nnew_servers=10.0.0.1:11211\n"
        );
    }

    #[test]
    fn chronos_names_itself_and_each_member_by_what_it_does() {
        use State as S;
        let text = chronos_cluster(
            &members(&[(1, S::NormalAcknowledged), (2, S::JoiningAcknowledged)]),
            IpAddr::from([10, 0, 0, 1]),
        );
        assert!(text.ends_with("localhost = 10.0.0.1\nnode = 10.0.0.1\njoining = 10.0.0.2\n"), "{text}");
    }
}
