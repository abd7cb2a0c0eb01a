use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::Kubectl;

use crate::{PATIENCE, file, outcome, scale};

/// How soon after Ctrl-C it ends.
const PROMPT: Duration = Duration::from_secs(10);

/// The address that Bono tells phones, by the node of its pod.
fn told(kubectl: &Kubectl) -> Result<BTreeMap<String, String>> {
    let pods = kubectl.json(["get", "pods", "--selector=service=bono"])?;
    let pods = pods["items"].as_array().context("no pods")?;
    pods.iter()
        .map(|pod| {
            let name = pod["metadata"]["name"].as_str().context("no name")?;
            let config = kubectl.run(["exec", name, "-c", "bono", "--", "cat", "/etc/clearwater/local_config"])?;
            let address = config.lines().find_map(|l| l.strip_prefix("public_ip=")).context(config.clone())?;
            Ok((pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned(), address.to_owned()))
        })
        .collect()
}

/// Each Bono has a node of its own and tells phones that node's address; there are no more than nodes. Ctrl-C in the
/// middle leaves what the next run goes on with.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_bono_for_each_node_and_no_more() -> Result<()> {
    let cluster = cluster();
    let layout = cluster.local()?.layout();
    let mut nodes = BTreeMap::new();
    for name in [1, 2].map(|n| layout.node_name(n)) {
        let path = r#"--output=jsonpath={.status.addresses[?(@.type=="InternalIP")].address}"#;
        let address = cluster.local()?.kubectl().run(["get", "node", &name, path])?;
        nodes.insert(name, address);
    }
    let namespace = cluster.namespace("e2e-exposed")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file("bono: {exposure: hostPort}\n")?;
    plugin.run_within(PATIENCE, &["up", "--yes", "-f", &path, "--only", "bono"])?.expect(0)?;

    let mut stopped = plugin.follow(&["scale", "bono=2", "--yes", "-f", &path])?;
    stopped.until(PATIENCE, |e| e["kind"] == "stepBegun")?;
    stopped.interrupt()?;
    let stopped = stopped.finish(PROMPT)?.0.expect(130)?;
    ensure!(outcome(&stopped)? == "cancelled", "{}", stopped.out);
    scale(&plugin, &["bono=2", "-f", &path])?;
    ensure!(told(namespace.kubectl())? == nodes, "{:?}, not {nodes:?}", told(namespace.kubectl())?);

    let refused = plugin.run_within(PATIENCE, &["scale", "bono", "3", "--yes", "-f", &path])?.expect(6)?;
    let words = "with exposure hostPort each needs a node of its own, and 2 can take one";
    ensure!(refused.said().contains(words), "{}", refused.said());
    // `up` does not send there, and leaves the count alone.
    let three = ["up", "--yes", "-f", &path, "--set", "components.bono.replicas=3", "--only", "bono"];
    let told = plugin.run_within(PATIENCE, &three)?.expect(0)?.said();
    ensure!(told.contains("the file says 3 and 2 stand") && told.contains(words), "{told}");
    ensure!(!told.contains("scale bono 3"), "{told}");
    scale(&plugin, &["bono=1", "-f", &path]).map(drop)
}
