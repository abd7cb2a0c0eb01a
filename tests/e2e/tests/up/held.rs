//! Pods that stand before their turn, and hold their programs until then.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster, stamps};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::Value;

use crate::{PATIENCE, file, is, kinds};

/// A Cassandra that takes so long that others are seen to wait for it.
const SLOW: &str = "cassandra: {env: {STANDIN_BOOT_DELAY_MS_CASSANDRA: '15000'}}";
/// What a held pod goes on by itself after, at the latest.
const LONGEST: u64 = 300;

fn held(kubectl: &Kubectl) -> Result<Value> {
    Ok(kubectl.json(["get", "configmap", "clearwater-hold"])?["data"].clone())
}

/// Its image is there, and its programs wait.
fn is_held(event: &Value, component: &str) -> bool {
    is(event, "waiting", component) && event["held"] == "its image is there"
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn what_a_killed_run_holds_is_let_go_in_order_by_the_next_and_by_itself_at_last() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-held")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file(&format!("components: {{{SLOW}}}\n"))?;
    let args = ["up", "--yes", "--only", "homer", "-f", &path];

    let mut first = plugin.follow(&args)?;
    first.until(PATIENCE, |e| is_held(e, "homer"))?;
    let status = "supervisorctl status; true";
    let seen = kubectl.run(["exec", "deployment/homer", "--", "bash", "-c", status])?;
    ensure!(seen.lines().any(|l| l.contains("clearwater-group:homer") && l.contains("STOPPED")), "{seen}");
    first.kill()?;
    let map = held(kubectl)?;
    let ends: u64 =
        map["homer"].as_str().and_then(|told| told.split_whitespace().next()).context("homer is not held")?.parse()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    ensure!(ends <= now + LONGEST + 5, "held until {ends}, and it is {now}");

    let second = plugin.follow(&args)?.finish(PATIENCE)?.0.expect(0)?;
    let events = kinds(&second)?;
    let at = |kind: &str, component: &str| events.iter().position(|e| is(e, kind, component));
    ensure!(at("serving", "cassandra") < at("applying", "homer"), "{}", second.out);
    let seen = stamps(kubectl)?;
    ensure!(seen["homer"].start >= seen["cassandra"].serving, "{seen:?}");
    ensure!(held(kubectl)?.as_object().is_none_or(serde_json::Map::is_empty), "held still: {}", held(kubectl)?);

    // A pod that is made when no `up` runs waits for nobody.
    kubectl.run(["delete", "pod", "--selector=service=homer"])?;
    wait_for("a homer that nobody let go", Duration::from_secs(60), || {
        let ready = kubectl.run(["get", "deployment", "homer", "--output=jsonpath={.status.readyReplicas}"])?;
        Ok(if ready == "1" { Attempt::Done(()) } else { Attempt::not_yet(ready) })
    })?;
    let again = plugin.run(&["up", "--yes", "--only", "homer", "-f", &path, "-o", "json"])?.expect(0)?;
    ensure!(crate::outcome(&again)? == "nothingToDo", "{}", again.out);
    plugin.run(&["down", "--yes", "--now"])?.expect(0)?;
    let left = kubectl.run(["get", "configmaps", "--output=name"])?;
    ensure!(left.lines().all(|l| l.contains("kube-root-ca")), "left behind: {left}");
    Ok(())
}

/// Nobody waits for Cassandra to hear that homer has no image.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn an_image_that_does_not_exist_is_told_before_its_turn() -> Result<()> {
    let cluster = cluster();
    let registry = cluster.local()?.registry(&[])?;
    let namespace = cluster.namespace("e2e-held-image")?;
    let slow = "cassandra: {env: {STANDIN_BOOT_DELAY_MS_CASSANDRA: '90000'}}";
    let path = file(&format!("components: {{{slow}, homer: {{image: '{}/none:1'}}}}\n", registry.address()))?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let ran = plugin.follow(&["up", "--yes", "--only", "homer", "-f", &path])?.finish(PATIENCE)?.0.expect(4)?;
    let events = kinds(&ran)?;
    let failed = events.iter().find(|e| e["kind"] == "failed").with_context(|| ran.out.clone())?;
    ensure!(failed["failure"] == "imageNotFound" && failed["component"] == "homer", "{failed}");
    ensure!(!events.iter().any(|e| is(e, "serving", "cassandra")), "{}", ran.out);
    Ok(())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn nothing_is_held_where_the_file_says_so() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-unheld")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let args = ["up", "--yes", "--only", "homestead-prov", "--set", "start.hold=false"];
    let mut up = plugin.follow(&args)?;
    up.until(PATIENCE, |e| is(e, "serving", "etcd"))?;
    let made = namespace.kubectl().run(["get", "deployments", "--output=name"])?;
    ensure!(made.is_empty(), "made before its turn: {made}");
    up.finish(PATIENCE)?.0.expect(0)?;
    let maps = namespace.kubectl().run(["get", "configmaps", "--output=name"])?;
    ensure!(!maps.contains("clearwater-hold") && !maps.contains("clearwater-start"), "{maps}");
    Ok(())
}
