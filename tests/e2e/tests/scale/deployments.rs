use std::path::Path;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use serde_json::Value;

use crate::scale;

/// Stores as functest's chart runs them: Deployments, and in each pod a container that prints the log, which nothing tells to
/// end. `seconds` are what a pod is given to stop.
fn objects(seconds: u32) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../standins/apply/hunter");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).with_context(|| name.to_owned());
    let chronos = read("chronos.yaml")?;
    let (head, rest) = chronos.split_once("      initContainers:").context("nothing to wait for")?;
    let (_, containers) = rest.split_once("      containers:").context("no containers")?;
    let (containers, service) = containers.split_once("---\n").context("no Service")?;
    let head = head
        .replace("replicas: 1", "replicas: 2")
        .replace("terminationGracePeriodSeconds: 120", &format!("terminationGracePeriodSeconds: {seconds}"));
    let tailer = "        - name: tailer\n          image: docker.io/ollivier/clearwater-chronos:hunter\n          \
                  command: [tail, -F, /var/log/chronos/chronos_current.txt]\n";
    let chronos = format!("{head}      containers:{containers}{tailer}---\n{service}");
    Ok([read("etcd.yaml")?, read("env-vars.yaml")?, chronos].join("\n---\n"))
}

/// Whoever scales it is told which pod Kubernetes chose and what keeps it, and is not told that it is done before it is gone
/// from the list of members and from the namespace.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_store_that_is_a_deployment_shrinks_by_the_pod_that_kubernetes_chooses() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-deployments")?;
    let kubectl = namespace.kubectl();
    kubectl.apply(&objects(60)?)?;
    kubectl.run(["rollout", "status", "deployment/chronos", "--timeout=120s"])?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let ran = scale(&plugin, &["chronos=1"])?;
    ensure!(!ran.out.contains("chronos-1"), "a Deployment has no such pod: {}", ran.out);
    let events = ran.events()?;
    let steps: Vec<&Value> = events.iter().map(|e| &e["what"]).filter(|e| e["kind"] == "stepBegun").collect();
    let step = |words: &str| steps.iter().find(|e| e["step"].as_str().is_some_and(|s| s.ends_with(words)));
    step("is off the list of members").with_context(|| ran.out.clone())?;
    let ends = step("has ended").with_context(|| ran.out.clone())?;
    ensure!(ends["expectedSeconds"].as_u64().is_some_and(|s| s > 0 && s <= 60), "{ends}");
    let is_told = |e: &Value| e["what"]["cause"].as_str().is_some_and(|c| c.contains("tailer in it still running"));
    ensure!(events.iter().any(is_told), "what keeps the pod is not told: {}", ran.out);
    let pods = kubectl.json(["get", "pods", "--selector=service=chronos"])?;
    ensure!(pods["items"].as_array().is_some_and(|all| all.len() == 1), "{pods}");
    Ok(())
}
