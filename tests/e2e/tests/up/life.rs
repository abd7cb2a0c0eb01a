use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater::order::Policy;
use clearwater_e2e::{Plugin, cluster, kept_order, stamps};
use clearwater_testbed::sip::{Phone, Transport};
use clearwater_testbed::{Attempt, Kubectl, verbs, wait_for};
use serde_json::Value;

use crate::{COMPONENTS, PATIENCE, is, kinds, outcome, small_file};

/// Of the 40 MB that `up` may take, 20 MB are left for its code: the shipped program is no larger.
const MEMORY_KILOBYTES: u64 = 20 * 1024;

/// One deployment through its life, because bringing one up is what costs time.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn up_then_again_then_calls_then_trouble_then_down() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-up")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let kubectl = namespace.kubectl();

    let path = small_file("keys: upstream\n")?;
    let args = ["up", "--yes", "-f", &path];

    let (up, peak) = plugin.follow(&args)?.finish(PATIENCE)?;
    let up = up.expect(0)?;
    let events = kinds(&up)?;
    let first = events.first().context("no event at all")?;
    ensure!(first["kind"] == "runStarted" && outcome(&up)? == "done", "{}", up.out);
    ensure!(events.iter().filter(|e| e["kind"] == "serving").count() == COMPONENTS, "{}", up.out);
    ensure!(peak.held < MEMORY_KILOBYTES, "it took {peak:?} of memory");
    kept_order(&stamps(kubectl)?, Policy::Dependency)?;

    let mark = cluster.local()?.audit_mark()?;
    // Promised are one second for the plan and two in all. The best of three may take thrice that, because the machine
    // is busy with the eleven, and this build is not optimised; `cargo xtask prove bench-up` measures it as promised.
    let mut times = Vec::new();
    for _ in 0..3 {
        let again = plugin.run(&["up", "--yes", "-f", &path, "-o", "json"])?.expect(0)?;
        ensure!(outcome(&again)? == "nothingToDo", "{}", again.out);
        let planned = again.events()?.into_iter().find(|e| e["what"]["kind"] == "planned").context("no plan")?;
        times.push((again.took, planned["elapsed"].as_u64().context("no time")?));
    }
    let writes = cluster.local()?.audit_since(&mark, "kubectl-clearwater")?;
    ensure!(!writes.is_empty(), "the audit log knows nothing of the plugin");
    let writes: Vec<_> = writes.iter().filter(|e| e.is_write() && e.object_ref.namespace == namespace.name()).collect();
    ensure!(writes.is_empty(), "a second up wrote {:?}: {writes:?}", verbs(writes.iter().copied()));
    ensure!(times.iter().any(|t| t.0 < Duration::from_secs(6)), "a second up takes {times:?}");
    ensure!(times.iter().any(|t| t.1 < 3000), "the plan of a second up takes {times:?}");

    plugin.run(&["status"])?.expect(0)?;
    let metrics = plugin.run(&["status", "--metrics"])?.expect(0)?.out;
    for line in [
        format!(
            "clearwater_component_health{{namespace=\"{}\",component=\"sprout\",health=\"serving\"}} 1\n",
            namespace.name()
        ),
        format!(
            "clearwater_store_members{{namespace=\"{}\",component=\"chronos\",state=\"normal\"}} 1\n",
            namespace.name()
        ),
    ] {
        ensure!(metrics.contains(&line), "{metrics}");
    }
    an_answer_that_is_lost_once(&plugin, kubectl)?;

    let phone = Phone::start(kubectl)?;
    let users = phone.provision("ellis", 2)?;
    for transport in [Transport::Tcp, Transport::Udp] {
        phone.exercise("bono", &users[0], &users[1], transport)?.check()?;
    }

    backoff_behind_a_running_pod(&plugin, kubectl, &args)?;

    kubectl.run(["scale", "deployment/bono", "--replicas=2"])?;
    plugin.run(&args)?.expect(0)?;
    let bonos = kubectl.run(["get", "deployment", "bono", "--output=jsonpath={.spec.replicas}"])?;
    ensure!(bonos == "2", "up set bono back to {bonos}");

    let down = plugin.run(&["down", "--yes", "--now"])?.expect(0)?;
    let left = kubectl.run(["get", "all,configmaps,poddisruptionbudgets", "--output=name"])?;
    // The phone is this test's own, and stays as everything that others made.
    let left: Vec<_> = left.lines().filter(|l| !l.contains("kube-root-ca") && *l != "pod/phone").collect();
    ensure!(left.is_empty(), "left behind: {left:?}\n{}", down.said());
    Ok(())
}

/// Nothing is wrong with a component that was not heard once.
fn an_answer_that_is_lost_once(plugin: &Plugin, kubectl: &Kubectl) -> Result<()> {
    let homer = |script: &str| kubectl.run(["exec", "deployment/homer", "--", "bash", "-c", script]);
    homer("mkdir -p /run/standin/fault && touch /run/standin/fault/nginx.lose-answer")?;
    let seen: Value = serde_json::from_str(&plugin.run(&["status", "-o", "json"])?.expect(0)?.out)?;
    ensure!(homer("ls /run/standin/fault")?.is_empty(), "no answer was lost: {seen}");
    ensure!(seen["looks"] == 2 && seen["healthy"] == true && seen["partial"] == false, "{seen}");
    Ok(())
}

/// The pod is Running, and what is in it is not.
fn backoff_behind_a_running_pod(plugin: &Plugin, kubectl: &Kubectl, args: &[&str]) -> Result<()> {
    let homestead = |script: &str| kubectl.run(["exec", "deployment/homestead", "--", "bash", "-c", script]);
    homestead(
        "mkdir -p /run/standin/fault && touch /run/standin/fault/homestead.exit && \
         supervisorctl restart clearwater-group:homestead; true",
    )?;
    wait_for("status to tell of the program's trouble", Duration::from_secs(40), || {
        let ran = plugin.run(&["status", "-o", "json"])?;
        let seen: Value = serde_json::from_str(&ran.out).context("status -o json")?;
        let found = seen["components"].as_array().into_iter().flatten().find(|c| c["component"] == "homestead");
        let found = found.context("no homestead in status")?;
        let told = found["problems"].to_string().contains("BACKOFF")
            && found["log"]["lines"].as_array().is_some_and(|l| !l.is_empty());
        Ok(if ran.code == 5 && told { Attempt::Done(()) } else { Attempt::not_yet(format!("{}: {found}", ran.code)) })
    })?;
    homestead("rm /run/standin/fault/homestead.exit; supervisorctl start clearwater-group:homestead; true")?;
    let mut up = plugin.follow(args)?;
    up.until(PATIENCE, |e| is(e, "serving", "homestead"))?;
    up.finish(PATIENCE)?.0.expect(0)?;
    Ok(())
}
