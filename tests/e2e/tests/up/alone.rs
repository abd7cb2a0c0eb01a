//! What disturbs the nodes that all tests share, or would be disturbed by a busy machine: these run one by one.

mod exchange;
mod isolated;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::Kubectl;

use crate::{PATIENCE, file, pods};

/// A node that is away for a moment is waited for, although nothing can be scheduled meanwhile.
#[test]
#[ignore = "needs cluster to itself (stops a kubelet)"]
fn a_node_that_flaps_is_waited_for() -> Result<()> {
    let cluster = cluster();
    let local = cluster.local()?;
    let namespace = cluster.namespace("e2e-flap")?;
    let path = file(&format!(
        "components: {{etcd: {{nodeSelector: {{kubernetes.io/hostname: {}}}}}}}\n",
        local.layout().node_name(2)
    ))?;
    let away = local.node_not_ready(2)?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let mut up = plugin.follow(&["up", "--yes", "--only", "etcd", "-f", &path])?;
    up.until(PATIENCE, |e| e["cause"].as_str().is_some_and(|c| c.contains("not scheduled")))?;
    away.repair()?;
    up.finish(PATIENCE)?.0.expect(0)?;
    Ok(())
}

/// The members of astaire's cluster with their states, as its own tool tells them.
fn states(kubectl: &Kubectl, pod: &str) -> Result<BTreeMap<String, String>> {
    // It ends with 1 while the cluster is not stable.
    let text = kubectl.run(["exec", pod, "--", "bash", "-c", "cw-check_cluster_state; true"])?;
    let own = text.split_once("Describing the Memcached cluster:").map_or("", |(_, rest)| rest);
    let own = own.split("Describing").next().unwrap_or_default();
    let members = own.lines().filter_map(|l| l.trim().strip_suffix('.')?.split_once(" is in state "));
    Ok(members.map(|(ip, state)| (ip.to_owned(), state.to_owned())).collect())
}

/// Evictions take astaire's members one by one: never are two joining or leaving, nor one of each.
#[test]
#[ignore = "needs cluster to itself (drains a node)"]
fn a_drain_moves_one_member_of_astaire_at_a_time() -> Result<()> {
    let cluster = cluster();
    let local = cluster.local()?;
    let namespace = cluster.namespace("e2e-drain")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file("components: {astaire: {replicas: 3}}\n")?;
    let args = ["up", "--yes", "--only", "astaire", "-f", &path];
    plugin.follow(&args)?.finish(PATIENCE)?.0.expect(0)?;

    let node_of = |pod: &str| kubectl.run(["get", "pod", pod, "--output=jsonpath={.spec.nodeName}"]);
    let at: Vec<(String, String)> =
        (0..3).map(|n| Ok((format!("astaire-{n}"), node_of(&format!("astaire-{n}"))?))).collect::<Result<_>>()?;
    let of = |node: u8| at.iter().filter(|(_, on)| *on == local.layout().node_name(node)).count();
    // The one with more of them, so that there is a second member to wait its turn.
    let node = if of(1) > of(2) { 1 } else { 2 };
    let name = local.layout().node_name(node);
    let watcher = at.iter().find(|(_, on)| *on != name).map(|(pod, _)| pod.clone()).context("all on one node")?;
    let before = pods(kubectl)?;

    let done = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                // etcd moves too, and cannot be asked meanwhile.
                seen.extend(states(kubectl, &watcher).ok().filter(|s| !s.is_empty()));
            }
            seen
        });
        let label = format!("drained-by={}", namespace.name());
        let drained = kubectl.run(["label", "pods", "--all", &label]).and_then(|_| local.drain(node, &label));
        let settled = plugin.follow(&args).and_then(|run| run.finish(PATIENCE));
        done.store(true, Ordering::Relaxed);
        let seen = watching.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))?;
        settled?.0.expect(0)?;
        drained?.repair()?;
        Ok::<_, anyhow::Error>(seen)
    })?;
    let moving = |s: &String| s.contains("join") || s.contains("leav") || s == "finished";
    for states in &seen {
        ensure!(states.values().filter(|s| moving(s)).count() < 2, "two at once: {states:?}");
    }
    ensure!(seen.iter().any(|states| states.values().any(moving)), "no member was seen to move: {seen:?}");
    let moved = pods(kubectl)?.iter().filter(|p| p.0.starts_with("astaire-") && !before.contains(p)).count();
    ensure!(moved == of(node), "{moved} of {} members moved", of(node));
    Ok(())
}
