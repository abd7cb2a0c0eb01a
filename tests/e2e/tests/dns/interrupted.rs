//! Runs that were killed right after their write: the same command finishes the work, and asks every server.

use anyhow::{Result, ensure};
use clearwater_e2e::{Plugin, Ran, cluster};
use clearwater_testbed::Kubectl;
use serde_json::{Value, json};

use crate::{Corefile, PATIENCE, file, killed_after};

fn kept(kubectl: &Kubectl) -> Result<bool> {
    Ok(kubectl.run(["get", "configmaps", "--output=name"])?.contains("clearwater-dns-before"))
}

fn report(ran: &Ran) -> Result<(String, usize)> {
    let report: Value = serde_json::from_str(&ran.out)?;
    let asked =
        |s: &&Value| s["answers"].as_array().is_some_and(|a| !a.is_empty()) && s["by"].to_string().contains("TCP");
    let servers = report["servers"].as_array().into_iter().flatten().filter(asked).count();
    Ok((report["outcome"].as_str().unwrap_or_default().to_owned(), servers))
}

#[test]
#[ignore = "needs cluster (edits kube-system)"]
fn what_was_killed_after_its_write_is_finished_by_the_next_run() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-killed")?;
    let kubectl = namespace.kubectl();
    let corefile = Corefile::keep(kubectl)?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file("dns: {backend: coredns}\n")?;
    let run = |more: &[&str]| {
        let mut all = vec!["dns-patch", "-f", &path, "--yes", "-o", "json"];
        all.extend(more);
        plugin.run_within(PATIENCE, &all)?.expect(0)
    };

    killed_after(&plugin, &["dns-patch", "-f", &path, "--yes"], "written: ")?;
    ensure!(corefile.now()?.contains(namespace.name()), "it was killed before its write");
    let (outcome, servers) = report(&run(&[])?)?;
    ensure!(outcome == "unchanged" && servers == 2, "{outcome}, {servers} servers asked");

    killed_after(&plugin, &["dns-patch", "-f", &path, "--yes", "--remove"], "written: ")?;
    corefile.unchanged()?;
    ensure!(kept(kubectl)?, "it came to its end before it was killed");
    // Looking takes nothing away.
    let shown = plugin.run_within(PATIENCE, &["dns-patch", "--remove", "--dry-run"])?.expect(0)?;
    ensure!(shown.out.contains("did not come to its end") && kept(kubectl)?, "{}", shown.said());
    let (outcome, servers) = report(&run(&["--remove"])?)?;
    ensure!(outcome == "finished" && servers == 2, "{outcome}, {servers} servers asked");
    ensure!(!kept(kubectl)?, "what stood before is still kept");
    corefile.unchanged()?;
    let (outcome, servers) = report(&run(&["--remove"])?)?;
    ensure!(outcome == "unchanged" && servers == 2, "{outcome}, {servers} servers asked");

    // Somebody else's object of that name is not taken away.
    kubectl.run(["create", "configmap", "clearwater-dns-before", "--from-literal=mine=precious"])?;
    run(&["--remove"])?;
    ensure!(kept(kubectl)?, "somebody else's ConfigMap is gone");
    Ok(())
}

/// `down --delete-namespace` says that the names can be taken out later.
#[test]
#[ignore = "needs cluster (edits kube-system)"]
fn names_outlive_their_namespace_and_are_taken_out_all_the_same() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-gone")?;
    let corefile = Corefile::keep(namespace.kubectl())?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file("dns: {backend: coredns}\n")?;
    plugin.run_within(PATIENCE, &["dns-patch", "-f", &path, "--yes"])?.expect(0)?;
    namespace.kubectl().run(["delete", "namespace", namespace.name(), "--timeout=60s"])?;
    plugin.run_within(PATIENCE, &["dns-patch", "-f", &path, "--yes", "--remove"])?.expect(0)?;
    corefile.unchanged()
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn an_endpointslice_that_was_taken_out_or_put_in_is_proved_by_the_next_run() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-cut")?;
    let kubectl = namespace.kubectl();
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "sprout"},
            "spec": {"clusterIP": "None", "selector": {"service": "sprout"}, "ports": [{"name": "scscf", "port": 5054}]},
        },
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sprout", "labels": {"service": "sprout"}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "sprout",
                    "image": "localhost/clearwater-tools:1",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "3600"],
                }],
            },
        },
    ]});
    kubectl.apply(&objects.to_string())?;
    kubectl.run(["wait", "--for=condition=Ready", "--timeout=60s", "pod/sprout"])?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file("dns: {backend: endpoints}\n")?;
    let run = |more: &[&str]| {
        let mut all = vec!["dns-patch", "-f", &path, "--yes", "-o", "json"];
        all.extend(more);
        plugin.run_within(PATIENCE, &all)?.expect(0)
    };
    killed_after(&plugin, &["dns-patch", "-f", &path, "--yes"], "written: ")?;
    let (outcome, servers) = report(&run(&[])?)?;
    ensure!(outcome == "unchanged" && servers == 2, "{outcome}, {servers} servers asked");
    killed_after(&plugin, &["dns-patch", "-f", &path, "--yes", "--remove"], "written: ")?;
    ensure!(
        !kubectl.run(["get", "endpointslices", "--output=name"])?.contains("clearwater"),
        "killed before its write"
    );
    let (outcome, servers) = report(&run(&["--remove"])?)?;
    ensure!(outcome == "unchanged" && servers == 2, "{outcome}, {servers} servers asked");
    Ok(())
}
