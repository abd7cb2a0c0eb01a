use anyhow::{Result, ensure};
use clearwater_e2e::{Plugin, Ran, cluster};
use clearwater_testbed::Kubectl;

use crate::{PATIENCE, file, outcome, pods};

fn up(plugin: &Plugin, text: &str) -> Result<Ran> {
    let path = file(text)?;
    Ok(plugin.follow(&["up", "--yes", "--only", "homer", "-f", &path])?.finish(PATIENCE)?.0)
}

fn stores(kubectl: &Kubectl) -> Result<Vec<(String, String)>> {
    let all = pods(kubectl)?;
    Ok(all.into_iter().filter(|(name, _)| name.starts_with("cassandra-") || name.starts_with("etcd-")).collect())
}

/// Edits of the file roll what can be rolled and leave the stores' pods alone, whatever the edit.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn edits_of_the_file_never_touch_a_store() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-edit")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    up(&plugin, "components: {cassandra: {replicas: 3}}\n")?.expect(0)?;
    let before = stores(kubectl)?;
    ensure!(before.len() == 4, "{before:?}");

    // Fewer members than there are: the count belongs to `scale` now, which would refuse it.
    let ran = up(&plugin, "components: {cassandra: {replicas: 1}}\n")?.expect(0)?;
    let is_told = ran.out.contains("cannot be scaled down from 3 to 1") && !ran.out.contains("scale cassandra 1");
    ensure!(is_told, "why it is left alone is not told:\n{}", ran.out);
    ensure!(stores(kubectl)? == before, "after 3 to 1: {:?}", stores(kubectl)?);

    let homer = |kubectl: &Kubectl| -> Result<Vec<(String, String)>> {
        Ok(pods(kubectl)?.into_iter().filter(|(name, _)| name.starts_with("homer-")).collect())
    };
    let old = homer(kubectl)?;
    // A level is no reason to make a store's pod anew: nothing is left to be replaced.
    let level = "components: {cassandra: {replicas: 1}, homer: {logLevel: 4}}\n";
    let others = |all: Vec<(String, String)>| -> Vec<(String, String)> {
        all.into_iter().filter(|(name, _)| !name.starts_with("homer-")).collect()
    };
    let rest = others(pods(kubectl)?);
    up(&plugin, level)?.expect(0)?;
    ensure!(others(pods(kubectl)?) == rest, "homer's level touched others: {rest:?}, then {:?}", pods(kubectl)?);
    ensure!(homer(kubectl)? != old, "homer did not take its level: {old:?}");
    up(&plugin, &format!("logLevel: 3\n{level}"))?.expect(0)?;
    ensure!(stores(kubectl)? == before, "after the level: {:?}", stores(kubectl)?);
    let old = homer(kubectl)?;
    let edit = "logLevel: 3\n\
                components: {cassandra: {replicas: 1, env: {EDITED: yes}}, homer: {env: {EDITED: yes}}}\n";
    let ran = up(&plugin, edit)?.expect(7)?;
    ensure!(outcome(&ran)? == "changesPending", "{}", ran.out);
    ensure!(ran.out.contains("--replace-stores"), "what will do it is not told:\n{}", ran.out);
    ensure!(stores(kubectl)? == before, "after the edit: {:?}", stores(kubectl)?);
    ensure!(homer(kubectl)? != old, "homer was not rolled: {old:?}");

    let tag = format!("{edit}images: {{tag: hunter-lifelike}}\n");
    let ran = up(&plugin, &tag)?.expect(7)?;
    ensure!(outcome(&ran)? == "changesPending", "{}", ran.out);
    ensure!(stores(kubectl)? == before, "after the new tag: {:?}", stores(kubectl)?);
    let image = kubectl.run(["get", "deployment", "homer", "--output=jsonpath={..image}"])?;
    ensure!(image.ends_with(":hunter-lifelike"), "homer runs {image}");
    Ok(())
}
