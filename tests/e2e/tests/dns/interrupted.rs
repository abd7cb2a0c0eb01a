//! Runs that were killed right after their write: the same command finishes the work, and asks every server.

use anyhow::{Result, ensure};
use clearwater_e2e::{Plugin, Ran, cluster};
use clearwater_testbed::Kubectl;
use serde_json::Value;

use crate::{Corefile, PATIENCE, file, killed_after, sprout};

/// Where what stood before is kept.
fn before(namespace: &str) -> String {
    format!("clearwater-dns-before.{namespace}")
}

fn kept(kubectl: &Kubectl, namespace: &str) -> Result<bool> {
    let found = kubectl.in_namespace("kube-system").run(["get", "configmaps", "--output=name"])?;
    Ok(found.contains(&before(namespace)))
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
    ensure!(kept(kubectl, namespace.name())?, "it came to its end before it was killed");
    // Looking takes nothing away.
    let shown = plugin.run_within(PATIENCE, &["dns-patch", "--remove", "--dry-run"])?.expect(0)?;
    ensure!(shown.out.contains("did not come to its end") && kept(kubectl, namespace.name())?, "{}", shown.said());
    let (outcome, servers) = report(&run(&["--remove"])?)?;
    ensure!(outcome == "finished" && servers == 2, "{outcome}, {servers} servers asked");
    ensure!(!kept(kubectl, namespace.name())?, "what stood before is still kept");
    corefile.unchanged()?;
    let (outcome, servers) = report(&run(&["--remove"])?)?;
    ensure!(outcome == "unchanged" && servers == 2, "{outcome}, {servers} servers asked");

    // Somebody else's object of that name is not taken away.
    let (system, theirs) = (kubectl.in_namespace("kube-system"), before(namespace.name()));
    system.run(["create", "configmap", &theirs, "--from-literal=mine=precious"])?;
    run(&["--remove"])?;
    // Nor written over: what stands now could not be kept.
    let refused = plugin.run_within(PATIENCE, &["dns-patch", "-f", &path, "--yes"])?.expect(1)?;
    ensure!(refused.err.contains(&theirs) && refused.err.contains("nothing was written"), "{}", refused.err);
    let mine = system.run(["get", "configmap", &theirs, "--output=jsonpath={.data}"])?;
    system.run(["delete", "configmap", &theirs])?;
    ensure!(mine == r#"{"mine":"precious"}"#, "somebody else's ConfigMap is {mine}");
    corefile.unchanged()
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
    sprout(kubectl)?;
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
