//! `down` takes what is ours, in an order in which members can leave, and nothing else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::{Value, json};

use crate::{PATIENCE, is, kinds, outcome, small_file};

/// A Deployment that runs nothing.
const FOREIGN: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: precious}
spec:
  replicas: 0
  selector: {matchLabels: {app: precious}}
  template:
    metadata: {labels: {app: precious}}
    spec: {containers: [{name: c, image: registry.invalid/none}]}
";

/// A claim under the name, and with the label, that one of chronos would have.
const CLAIM: &str = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data-chronos-7, labels: {service: chronos}}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: none-such
  resources: {requests: {storage: 1Mi}}
";

fn pods_of(kubectl: &Kubectl, component: &str) -> Result<Vec<String>> {
    let label = format!("service={component}");
    let names = kubectl.run(["get", "pods", "--selector", &label, "--output=name"])?;
    Ok(names.lines().map(str::to_owned).collect())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn what_stood_before_is_given_back_and_what_others_made_is_left() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-down-mine")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let kubectl = namespace.kubectl();
    kubectl.run(["create", "configmap", "env-vars", "--from-literal=MINE=precious"])?;
    kubectl.run_with_input(["create", "--filename", "-"], CLAIM)?;
    // A copy of what we would make, by somebody else.
    kubectl.run(["create", "configmap", "stranger", "--from-literal=a=b"])?;
    kubectl.run([
        "label",
        "configmap/stranger",
        "app.kubernetes.io/part-of=clearwater",
        "app.kubernetes.io/managed-by=kubectl-clearwater",
    ])?;
    kubectl.run(["annotate", "configmap/stranger", "kubectl-clearwater/origin=created"])?;

    let path = small_file("keys: upstream\n")?;
    let args = ["up", "--yes", "-f", &path, "--only", "etcd", "-o", "json"];
    let up = plugin.run(&args)?.expect(0)?;
    let planned = kinds(&up)?.into_iter().find(|e| e["kind"] == "planned").context("no plan")?;
    let adopted: Vec<&Value> =
        planned["changes"].as_array().into_iter().flatten().filter(|c| c["whose"] == "adopted").collect();
    ensure!(adopted.len() == 1 && adopted[0]["object"] == "configmap/env-vars", "{planned}");
    let made = kubectl.json(["get", "service", "etcd"])?;
    ensure!(made["metadata"]["annotations"]["kubectl-clearwater/origin"] == "created", "{made}");
    ensure!(outcome(&plugin.run(&args)?.expect(0)?)? == "nothingToDo", "a second up writes");

    let down = plugin.run(&["down", "--yes", "-o", "json"])?.expect(0)?;
    ensure!(down.out.contains("restore"), "{}", down.out);
    let left = kubectl.json(["get", "configmap", "env-vars"])?;
    ensure!(left["data"] == json!({"MINE": "precious"}), "{left}");
    ensure!(left["metadata"]["labels"].is_null() && left["metadata"]["annotations"].is_null(), "{left}");
    let all = kubectl.run(["get", "all,configmaps,pvc,secrets,poddisruptionbudgets", "--output=name"])?;
    let all: Vec<&str> = all.lines().filter(|l| !l.contains("kube-root-ca")).collect();
    ensure!(all == ["configmap/env-vars", "configmap/stranger", "persistentvolumeclaim/data-chronos-7"], "{all:?}");
    let again = plugin.run(&["down", "--yes", "-o", "json"])?.expect(0)?;
    ensure!(outcome(&again)? == "nothingToDo" && again.out.contains("stranger"), "{}", again.out);
    Ok(())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_namespace_goes_with_what_others_have_in_it_only_where_that_is_meant() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-down-ns")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let kubectl = namespace.kubectl();
    kubectl.run_with_input(["create", "--filename", "-"], FOREIGN)?;
    let soon = Duration::from_secs(60);
    for args in [&["down", "--delete-namespace", "--yes"][..], &["down", "--delete-namespace"]] {
        let refused = plugin.run_within(soon, args)?.expect(6)?;
        ensure!(refused.said().contains("deployment/precious"), "{}", refused.said());
    }
    kubectl.run(["get", "deployment", "precious"])?;
    plugin.run_within(soon, &["down", "--delete-namespace", "--foreign"])?.expect(2)?;
    plugin.run(&["down", "--delete-namespace", "--yes", "--foreign"])?.expect(0)?;
    let there = cluster.kubectl().run(["get", "namespace", namespace.name(), "--ignore-not-found", "--output=name"])?;
    ensure!(there.is_empty(), "{there}");
    // There is nothing any more, and nothing is asked.
    let nothing = plugin.run_within(soon, &["down", "--delete-namespace", "-o", "json"])?.expect(0)?;
    ensure!(outcome(&nothing)? == "nothingToDo", "{}", nothing.out);
    Ok(())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn an_empty_namespace_is_not_waited_for() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-down-empty")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let soon = Duration::from_secs(60);
    plugin.run_within(soon, &["down"])?.expect(0)?;
    // Without a terminal nobody can be asked.
    let refused = plugin.run_within(soon, &["down", "--delete-namespace", "-o", "json"])?.expect(6)?;
    ensure!(outcome(&refused)? == "refused", "{}", refused.out);
    plugin.run_within(soon, &["down", "--delete-namespace", "--yes"])?.expect(0)?;
    Ok(())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn killed_at_once_nothing_comes_back() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-down-now")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = small_file("keys: upstream\n")?;
    for _ in 0..3 {
        plugin.run(&["up", "--yes", "-f", &path, "--only", "homer,homestead-prov"])?.expect(0)?;
        plugin.run(&["down", "--yes", "--now"])?.expect(0)?;
        let left = namespace.kubectl().run(["get", "pods,replicasets", "--output=name"])?;
        ensure!(left.is_empty(), "left or back: {left}");
    }
    Ok(())
}

/// Members leave through etcd: it goes last, in a whole run and after a broken one.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn etcd_stays_until_chronos_has_left() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-down-leave")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let kubectl = namespace.kubectl();
    let path = small_file("keys: upstream\n")?;
    let up = ["up", "--yes", "-f", &path, "--only", "etcd,chronos"];
    let etcd_goes = |down: &mut clearwater_e2e::Following| -> Result<()> {
        down.until(PATIENCE, |e| is(e, "removing", "etcd"))?;
        let members = pods_of(kubectl, "chronos")?;
        ensure!(members.is_empty(), "etcd goes while there are {members:?}");
        Ok(())
    };

    plugin.run(&up)?.expect(0)?;
    let mut down = plugin.follow(&["down", "--yes", "--only", "etcd,chronos"])?;
    etcd_goes(&mut down)?;
    down.finish(PATIENCE)?.0.expect(0)?;

    // Killed while chronos leaves: the next one is told of etcd alone, and waits all the same.
    plugin.run(&up)?.expect(0)?;
    let mut down = plugin.follow(&["down", "--yes", "--only", "etcd,chronos"])?;
    down.until(PATIENCE, |e| is(e, "removing", "chronos"))?;
    wait_for("chronos to be told to go", Duration::from_secs(30), || {
        let list = kubectl.json(["get", "pods", "--selector", "service=chronos"])?;
        let leaves = list["items"][0]["metadata"]["deletionTimestamp"].is_string();
        Ok(if leaves { Attempt::Done(()) } else { Attempt::not_yet(list.to_string()) })
    })?;
    down.kill()?;
    let mut down = plugin.follow(&["down", "--yes", "--only", "etcd"])?;
    let waits = down.until(PATIENCE, |e| is(e, "waiting", "etcd") || is(e, "removing", "etcd"))?;
    ensure!(waits["kind"] == "waiting" && waits["for"][0]["component"] == "chronos", "{waits}");
    etcd_goes(&mut down)?;
    down.finish(PATIENCE)?.0.expect(0)?;
    Ok(())
}

/// What needs etcd to leave is not left behind without it; where it is all the same, nobody waits for it.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn etcd_is_not_taken_from_under_a_store() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-down-under")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = small_file("keys: upstream\n")?;
    plugin.run(&["up", "--yes", "-f", &path, "--only", "etcd,chronos"])?.expect(0)?;
    let refused = plugin.run(&["down", "--yes", "--only", "etcd"])?.expect(6)?;
    ensure!(refused.said().contains("chronos cannot leave their clusters without etcd"), "{}", refused.said());
    ensure!(pods_of(namespace.kubectl(), "etcd")?.len() == 1, "etcd is gone");
    plugin.run(&["down", "--yes", "--now", "--only", "etcd"])?.expect(0)?;
    let rest = plugin.run_within(Duration::from_secs(60), &["down", "--yes"])?.expect(0)?;
    ensure!(rest.said().contains("etcd is gone"), "{}", rest.said());
    ensure!(pods_of(namespace.kubectl(), "chronos")?.is_empty(), "chronos is left");
    Ok(())
}
