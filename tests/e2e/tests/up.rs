//! `up`, `status` and `down` as a user types them, on the real cluster with the stand-in images.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater::component::Release;
use clearwater::order::{Graph, Policy, Subscribers};
use clearwater_e2e::{Plugin, Ran, cluster, stamps};
use clearwater_testbed::sip::{Phone, Transport};
use clearwater_testbed::{Kubectl, verbs};
use serde_json::Value;

const COMPONENTS: usize = 11;

fn kinds(ran: &Ran) -> Result<Vec<Value>> {
    Ok(ran.events()?.into_iter().map(|e| e["what"].clone()).collect())
}

/// Every gating edge of the policy was kept: nothing started before what it waits for could serve.
fn kept_order(kubectl: &Kubectl, policy: Policy) -> Result<()> {
    let plan = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan(policy)?;
    let seen = stamps(kubectl)?;
    ensure!(seen.len() == COMPONENTS, "stamps of {:?}", seen.keys());
    for node in plan.order() {
        for gate in plan.gates(node) {
            let (started, served) = (seen[node].start, seen[gate].serving);
            ensure!(started >= served, "{node} started {} µs before {gate} served", served - started);
        }
    }
    Ok(())
}

/// One deployment through its life, because bringing one up is what costs time.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn up_then_again_then_calls_then_trouble_then_down() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-up")?;
    let plugin = Plugin::new(cluster, namespace.name())?;

    let up = plugin.run(&["up", "--yes", "-o", "json"])?.expect(0)?;
    let events = kinds(&up)?;
    let first = events.first().context("no event at all")?;
    let last = events.last().context("no event at all")?;
    ensure!(first["kind"] == "runStarted" && last["kind"] == "runFinished", "{first}\n{last}");
    ensure!(events.iter().filter(|e| e["kind"] == "serving").count() == COMPONENTS, "{}", up.out);
    kept_order(namespace.kubectl(), Policy::Dependency)?;

    let mark = cluster.local()?.audit_mark()?;
    let again = plugin.run(&["up", "--yes"])?.expect(0)?;
    let writes = cluster.local()?.audit_since(&mark, "kubectl-clearwater")?;
    let writes: Vec<_> = writes.iter().filter(|e| e.is_write()).collect();
    ensure!(writes.is_empty(), "a second up wrote {:?}\n{}", verbs(writes), again.out);

    plugin.run(&["status"])?.expect(0)?;

    let phone = Phone::start(namespace.kubectl())?;
    let users = phone.provision("ellis", 2)?;
    for transport in [Transport::Tcp, Transport::Udp] {
        phone.exercise("bono", &users[0], &users[1], transport)?.check()?;
    }

    let down = plugin.run(&["down", "--yes", "--now"])?.expect(0)?;
    let left = namespace.kubectl().run(["get", "deployments,statefulsets,services,configmaps", "--output=name"])?;
    let left: Vec<_> = left.lines().filter(|l| !l.contains("kube-root-ca")).collect();
    ensure!(left.is_empty(), "left behind: {left:?}\n{}", down.out);
    Ok(())
}

/// Nothing is up yet when the first failure is certain, so this takes seconds.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn an_image_that_does_not_exist_is_said_at_once() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-image")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let ran = plugin.run_within(
        Duration::from_secs(120),
        &["up", "--yes", "--only", "etcd", "--set", "components.etcd.image=localhost/clearwater-classic/none:1"],
    )?;
    let said = format!("{}{}", ran.out, ran.err);
    ensure!(ran.code == 4 && said.contains("localhost/clearwater-classic/none:1"), "exit {}\n{said}", ran.code);
    Ok(())
}
