//! What is broken only because it was started too early, restarted in place or killed: `up` names it and mends it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, Ran, cluster};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::Value;

use crate::{PATIENCE, kinds, pods};

const SOON: Duration = Duration::from_secs(60);

fn up(plugin: &Plugin, only: &str, more: &[&str]) -> Result<Ran> {
    let mut args = vec!["up", "--yes", "--only", only, "--set", "keys=upstream"];
    args.extend(more);
    Ok(plugin.follow(&args)?.finish(PATIENCE)?.0)
}

fn mended(ran: &Ran, component: &str) -> Result<Vec<Value>> {
    let all = kinds(ran)?.into_iter().filter(|e| e["kind"] == "mended").map(|e| e["mending"].clone());
    let own: Vec<Value> = all.filter(|m| m["component"] == component).collect();
    ensure!(!own.is_empty(), "nothing of {component} was mended:\n{}", ran.out);
    Ok(own)
}

fn uid(kubectl: &Kubectl, pod: &str) -> Result<String> {
    pods(kubectl)?.into_iter().find_map(|(name, uid)| (name == pod).then_some(uid)).with_context(|| format!("no {pod}"))
}

/// homestead-prov alone, as somebody would who applies manifests at once: supervisord gives it up before there is a
/// cassandra.
fn given_up(plugin: &Plugin, kubectl: &Kubectl) -> Result<()> {
    let rendered = plugin.run(&["render", "--set", "keys=upstream", "-o", "json"])?.expect(0)?;
    let all: Value = serde_json::from_str(&rendered.out)?;
    let early: BTreeSet<&str> = BTreeSet::from(["homestead-prov", "env-vars"]);
    let items: Vec<&Value> = all["items"]
        .as_array()
        .context("a list of objects")?
        .iter()
        .filter(|o| o["metadata"]["name"].as_str().is_some_and(|n| early.contains(n)))
        .collect();
    kubectl.apply(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    wait_for("homestead-prov to be given up", SOON, || {
        // supervisorctl ends with 3 where not all runs.
        let line = "supervisorctl status; true";
        let said = kubectl.run(["exec", "deployment/homestead-prov", "--", "bash", "-c", line]);
        let said = said.unwrap_or_else(|e| format!("{e:#}"));
        Ok(if said.contains("FATAL") { Attempt::Done(()) } else { Attempt::not_yet(said) })
    })
}

/// A container that is restarted in place has lost what cassandra got when it joined.
fn restarted_in_place(plugin: &Plugin, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(["exec", "cassandra-0", "--", "bash", "-c", "supervisorctl shutdown; true"])?;
    wait_for("status to say what cassandra lacks", SOON, || {
        let ran = plugin.run(&["status"])?;
        let told = ran.code == 5 && ran.out.contains("has no /etc/cassandra/cassandra.yaml any more");
        Ok(if told { Attempt::Done(()) } else { Attempt::not_yet(ran.said()) })
    })
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn what_was_started_too_early_or_restarted_in_place_is_mended() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-mend")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;

    given_up(&plugin, kubectl)?;
    let ran = up(&plugin, "homestead-prov", &[])?.expect(0)?;
    let told = mended(&ran, "homestead-prov")?;
    ensure!(told[0]["action"].to_string().contains("supervisorctl start"), "{told:?}");

    restarted_in_place(&plugin, kubectl)?;
    // Data on a volume would have outlived the container; the only member's may not be thrown away unasked.
    let keep = "mkdir -p /var/lib/cassandra && touch /var/lib/cassandra/kept";
    kubectl.run(["exec", "cassandra-0", "--", "bash", "-c", keep])?;
    let before = uid(kubectl, "cassandra-0")?;
    let refused = up(&plugin, "homestead-prov", &[])?.expect(6)?;
    ensure!(refused.out.contains("subscribers") && refused.out.contains("--accept-loss"), "{}", refused.out);
    ensure!(uid(kubectl, "cassandra-0")? == before, "it was replaced all the same");
    let ran = up(&plugin, "homestead-prov", &["--accept-loss"])?.expect(0)?;
    let told = mended(&ran, "cassandra")?;
    ensure!(told[0]["object"] == "pod/cassandra-0" && told[0]["cost"] == "data", "{told:?}");
    ensure!(uid(kubectl, "cassandra-0")? != before, "it was not replaced");
    // Its one connection led to the old address.
    let told = mended(&ran, "homestead-prov")?;
    ensure!(told[0]["action"].to_string().contains("supervisorctl restart"), "{told:?}");
    wait_for("status to be content", SOON, || {
        let ran = plugin.run(&["status"])?;
        Ok(if ran.code == 0 { Attempt::Done(()) } else { Attempt::not_yet(ran.said()) })
    })
}

/// A pod that was killed stays a member, and the next one waits for its consent for ever.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_member_that_was_killed_is_removed() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-stale")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    up(&plugin, "astaire", &[])?.expect(0)?;
    kubectl.run(["delete", "pod", "astaire-0", "--force", "--grace-period=0"])?;
    let ran = up(&plugin, "astaire", &[])?.expect(0)?;
    let told = mended(&ran, "astaire")?;
    ensure!(told[0]["action"].to_string().contains("cw-mark_node_failed"), "{told:?}");
    plugin.run(&["status"])?.expect(0)?;
    Ok(())
}
