use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Hoard, Plugin, Ran, addresses, cluster};
use clearwater_testbed::{Attempt, wait_for};
use serde_json::Value;

use crate::{PATIENCE, file, is, outcome};

const KEYS: u32 = 300;
const TIMERS: u32 = 20;
/// When the timers are due, in seconds after they were set: after the members have come and gone.
const DUE: u32 = 75;

fn told(ran: &Ran, dead: &[String]) -> Result<()> {
    for event in ran.events()?.iter().filter(|e| e["what"]["kind"] == "membersChanged") {
        let excused = dead.iter().any(|d| event["what"]["members"].get(d).is_some());
        ensure!(event["what"]["violation"].is_null() || excused, "{event}");
    }
    Ok(())
}

/// Stores grow and shrink with what they hold, through a SIGKILL each way and a pod that dies without a word.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn stores_keep_what_they_hold_while_members_come_die_and_go() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-stores")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    let small = file("")?;
    plugin.run_within(PATIENCE, &["up", "--yes", "-f", &small, "--only", "astaire,chronos,cassandra"])?.expect(0)?;
    let hoard = Hoard::put(kubectl, KEYS, TIMERS, DUE)?;

    // Up, killed as soon as the first members ask to join, and gone on with.
    let up = ["scale", "astaire=3", "chronos=3", "cassandra=3", "--yes", "--mark-failed"];
    let mut killed = plugin.follow(&up)?;
    killed.until(PATIENCE, |e| e["kind"] == "membersChanged" && e["members"].to_string().contains("join"))?;
    killed.kill()?;
    let mut going_on = plugin.follow(&up)?;
    // A pod of chronos dies without a word once it is on the list.
    let victim = wait_for("chronos-2 to be on the list", PATIENCE, || {
        let pod = kubectl.json(["get", "pod", "chronos-2", "--ignore-not-found"]).unwrap_or_default();
        let address = pod["status"]["podIP"].as_str().unwrap_or_default().to_owned();
        let state =
            kubectl.run(["exec", "chronos-0", "-c", "chronos", "--", "cw-check_cluster_state"]).unwrap_or_default();
        let listed = !address.is_empty() && state.contains(&format!("{address} is in state"));
        Ok(if listed { Attempt::Done(address) } else { Attempt::not_yet(state) })
    })?;
    kubectl.run(["delete", "pod", "chronos-2", "--force", "--grace-period=0"])?;
    going_on.for_a_while(Duration::from_millis(10))?;
    let ran = going_on.finish(PATIENCE)?.0.expect(0)?;
    let dead = vec![victim.clone()];
    told(&ran, &dead)?;
    // It may have been done before the pod died: then the next run finds it.
    let repaired = if ran.out.contains("\"mended\"") {
        ran
    } else {
        let without = plugin.run_within(PATIENCE, &["scale", "chronos", "3", "--yes"])?.expect(6)?;
        ensure!(without.said().contains(&victim) && without.said().contains("--mark-failed"), "{}", without.said());
        plugin.follow(&up)?.finish(PATIENCE)?.0.expect(0)?
    };
    ensure!(
        repaired.out.contains(&format!("cw-mark_node_failed node_type_chronos chronos {victim}")),
        "{}",
        repaired.out
    );
    let again = plugin.follow(&up)?.finish(PATIENCE)?.0.expect(0)?;
    ensure!(outcome(&again)? == "nothingToDo", "{}", again.out);
    hoard.check_keys()?;

    let less = plugin.run_within(PATIENCE, &["scale", "cassandra", "2", "--yes"])?.expect(6)?;
    ensure!(less.said().contains("takes its data with it"), "{}", less.said());

    // Down, killed while the first member leaves.
    let down = ["scale", "astaire=1", "chronos=1", "--yes"];
    let mut killed = plugin.follow(&down)?;
    killed.until(PATIENCE, |e| is(e, "stepBegun", "chronos") && e["step"].to_string().contains("off the list"))?;
    killed.kill()?;
    let ran = plugin.follow(&down)?.finish(PATIENCE)?.0.expect(0)?;
    told(&ran, &dead)?;
    hoard.check_keys()?;
    ensure!(addresses(kubectl, "chronos")?.len() == 1 && addresses(kubectl, "astaire")?.len() == 1, "members are left");
    let status = plugin.run(&["status", "-o", "json"])?;
    let seen: Value = serde_json::from_str(&status.out).context("status -o json")?;
    let cassandra = seen["components"].as_array().into_iter().flatten().find(|c| c["component"] == "cassandra");
    let cassandra = cassandra.context("no cassandra in status")?;
    ensure!(
        cassandra["wanted"] == 3 && cassandra["members"].as_object().is_some_and(|m| m.len() == 3),
        "status: {cassandra}"
    );

    let changes = hoard.obeyed(&dead)?;
    for store in ["memcached", "chronos", "cassandra"] {
        ensure!(changes.get(store).is_some_and(|n| *n >= 6), "the recorder saw {changes:?}");
    }
    wait_for("every timer to fire", Duration::from_secs(u64::from(DUE) + 60), || {
        let fired = hoard.fired()?;
        Ok(if fired == TIMERS { Attempt::Done(()) } else { Attempt::not_yet(format!("{fired} of {TIMERS}")) })
    })
}
