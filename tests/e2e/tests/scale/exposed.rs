use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::Kubectl;

use crate::{PATIENCE, file, outcome, scale};

/// How soon after Ctrl-C it ends.
const PROMPT: Duration = Duration::from_secs(10);

/// A node and the address that Bono tells telephones, for each of its pods.
fn bonos(kubectl: &Kubectl) -> Result<Vec<(String, String)>> {
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

/// Where telephones reach Bono from outside, each has a node or an address of its own, and there are no more of them.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_bono_for_each_node_or_address_and_no_more() -> Result<()> {
    let cluster = cluster();
    let layout = cluster.local()?.layout();
    let mut nodes = BTreeMap::new();
    for name in [1, 2].map(|n| layout.node_name(n)) {
        let path = r#"--output=jsonpath={.status.addresses[?(@.type=="InternalIP")].address}"#;
        let address = cluster.local()?.kubectl().run(["get", "node", &name, path])?;
        nodes.insert(name, address);
    }
    let addresses: Vec<String> = nodes.values().cloned().collect();
    for (exposure, more, fix) in [
        (
            "exposure: hostPort",
            String::new(),
            "with exposure hostPort each needs a node of its own, and 2 can take one",
        ),
        (
            "exposure: nodePort",
            format!(", addresses: [{}, {}], nodePortRange: 3000-32767", addresses[0], addresses[1]),
            "add addresses to bono.addresses",
        ),
    ] {
        let namespace = cluster.namespace("e2e-exposed")?;
        let plugin = Plugin::new(cluster, namespace.name())?;
        let path = file(&format!("bono: {{{exposure}{more}}}\n"))?;
        plugin.run_within(PATIENCE, &["up", "--yes", "-f", &path, "--only", "bono"])?.expect(0)?;

        // Ctrl-C in the middle, and again.
        let targets = ["bono=2", "-f", &path];
        let mut stopped = plugin.follow(&[&["scale", "--yes"], &targets[..]].concat())?;
        stopped.until(PATIENCE, |e| e["kind"] == "stepStarted")?;
        stopped.interrupt()?;
        let stopped = stopped.finish(PROMPT)?.0.expect(130)?;
        ensure!(outcome(&stopped)? == "cancelled", "{}", stopped.out);
        scale(&plugin, &targets)?;

        let bonos = bonos(namespace.kubectl())?;
        let told: BTreeSet<String> = bonos.iter().map(|(_, address)| address.clone()).collect();
        ensure!(told.len() == 2 && told == addresses.iter().cloned().collect(), "{exposure}: {bonos:?}");
        let own_node = bonos.iter().all(|(node, address)| nodes.get(node) == Some(address));
        ensure!(own_node || !exposure.ends_with("hostPort"), "{exposure}: {bonos:?}");

        let refused = plugin.run_within(PATIENCE, &["scale", "bono", "3", "--yes", "-f", &path])?.expect(6)?;
        ensure!(refused.said().contains(fix), "{exposure}: {}", refused.said());
        scale(&plugin, &["bono=1", "-f", &path])?;
    }
    Ok(())
}
