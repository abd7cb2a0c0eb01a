//! What is broken only because it was started too early, restarted in place or killed: `up` names it and repairs it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, Ran, cluster};
use clearwater_testbed::sip::TOOLS_IMAGE;
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::{Value, json};

use crate::{PATIENCE, file, kinds, pods};

const SOON: Duration = Duration::from_secs(60);

fn up(plugin: &Plugin, only: &str, more: &[&str]) -> Result<Ran> {
    let in_pods = "components.cassandra.storage.persistent=false";
    let mut args = vec!["up", "--yes", "--only", only, "--set", "keys=upstream", "--set", in_pods];
    args.extend(more);
    Ok(plugin.follow(&args)?.finish(PATIENCE)?.0)
}

fn repaired(ran: &Ran, component: &str) -> Result<Vec<Value>> {
    let all = kinds(ran)?.into_iter().filter(|e| e["kind"] == "mended").map(|e| e["mending"].clone());
    let own: Vec<Value> = all.filter(|m| m["component"] == component).collect();
    ensure!(!own.is_empty(), "nothing of {component} was repaired:\n{}", ran.out);
    Ok(own)
}

fn uid(kubectl: &Kubectl, pod: &str) -> Result<String> {
    pods(kubectl)?.into_iter().find_map(|(name, uid)| (name == pod).then_some(uid)).with_context(|| format!("no {pod}"))
}

/// homestead-prov alone, as somebody would who applies manifests at once: supervisord gives it up before there is a
/// cassandra.
fn given_up(plugin: &Plugin, kubectl: &Kubectl) -> Result<()> {
    let rendered = plugin.run(&["render", "--set", "keys=upstream", "-o", "json"])?.expect(0)?;
    let all: Value = serde_json::from_str(&rendered.out)?;
    let early: BTreeSet<&str> =
        BTreeSet::from(["homestead-prov", "env-vars", "clearwater-log-levels", "clearwater-start"]);
    let items: Vec<&Value> = all["items"]
        .as_array()
        .context("a list of objects")?
        .iter()
        .filter(|o| o["metadata"]["name"].as_str().is_some_and(|n| early.contains(n)))
        .collect();
    kubectl.apply(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    wait_for("homestead-prov to be given up", SOON, || {
        // supervisorctl ends with 3 where not all runs.
        let line = "supervisorctl status; true";
        let said = kubectl.run(["exec", "deployment/homestead-prov", "--", "bash", "-c", line]);
        let said = said.unwrap_or_else(|e| format!("{e:#}"));
        Ok(if said.contains("FATAL") { Attempt::Done(()) } else { Attempt::not_yet(said) })
    })
}

/// A container that is restarted in place has lost what cassandra got when it joined.
fn restarted_in_place(plugin: &Plugin, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(["exec", "cassandra-0", "--", "bash", "-c", "supervisorctl shutdown; true"])?;
    wait_for("status to say what cassandra lacks", SOON, || {
        let ran = plugin.run(&["status"])?;
        let told = ran.code == 5 && ran.out.contains("has no /etc/cassandra/cassandra.yaml any more");
        Ok(if told { Attempt::Done(()) } else { Attempt::not_yet(ran.said()) })
    })
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn what_was_started_too_early_or_restarted_in_place_is_repaired() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-repair")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;

    given_up(&plugin, kubectl)?;
    let ran = up(&plugin, "homestead-prov", &[])?.expect(0)?;
    let told = repaired(&ran, "homestead-prov")?;
    ensure!(told[0]["action"].to_string().contains("supervisorctl start"), "{told:?}");

    restarted_in_place(&plugin, kubectl)?;
    // Data on a volume would have outlived the container; the only member's may not be thrown away unasked.
    let keep = "mkdir -p /var/lib/cassandra && touch /var/lib/cassandra/kept";
    kubectl.run(["exec", "cassandra-0", "--", "bash", "-c", keep])?;
    let before = uid(kubectl, "cassandra-0")?;
    let refused = up(&plugin, "homestead-prov", &[])?.expect(6)?;
    ensure!(refused.out.contains("subscribers") && refused.out.contains("--accept-loss"), "{}", refused.out);
    ensure!(uid(kubectl, "cassandra-0")? == before, "it was replaced all the same");
    let ran = up(&plugin, "homestead-prov", &["--accept-loss"])?.expect(0)?;
    let told = repaired(&ran, "cassandra")?;
    ensure!(told[0]["object"] == "pod/cassandra-0" && told[0]["cost"] == "data", "{told:?}");
    ensure!(uid(kubectl, "cassandra-0")? != before, "it was not replaced");
    // Its one connection led to the old address.
    let told = repaired(&ran, "homestead-prov")?;
    ensure!(told[0]["action"].to_string().contains("supervisorctl restart"), "{told:?}");
    wait_for("status to be content", SOON, || {
        let ran = plugin.run(&["status"])?;
        Ok(if ran.code == 0 { Attempt::Done(()) } else { Attempt::not_yet(ran.said()) })
    })
}

/// A pod that was killed stays a member, and the next one waits for its consent for ever.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_member_that_was_killed_is_removed() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-stale")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    up(&plugin, "astaire", &[])?.expect(0)?;
    kubectl.run(["delete", "pod", "astaire-0", "--force", "--grace-period=0"])?;
    let ran = up(&plugin, "astaire", &[])?.expect(0)?;
    let told = repaired(&ran, "astaire")?;
    ensure!(told[0]["action"].to_string().contains("cw-mark_node_failed"), "{told:?}");
    plugin.run(&["status"])?.expect(0)?;
    Ok(())
}

/// Each run of the tool waits for the other dead members, so they must be marked at once.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn members_that_were_killed_together_are_removed_together() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dead")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    let three = file("components: {chronos: {replicas: 3}}\n")?;
    up(&plugin, "etcd,chronos", &["-f", &three])?.expect(0)?;
    kubectl.run(["delete", "pod", "chronos-1", "chronos-2", "--force", "--grace-period=0"])?;
    let ran = up(&plugin, "etcd,chronos", &["-f", &three])?.expect(0)?;
    let marks = |e: &Value| e["what"]["mending"]["action"].to_string().contains("cw-mark_node_failed");
    let at: Vec<u64> = ran.events()?.iter().filter(|e| marks(e)).filter_map(|e| e["elapsed"].as_u64()).collect();
    ensure!(at.len() == 2 && at[0].abs_diff(at[1]) < 5000, "marked at {at:?}\n{}", ran.out);
    plugin.run(&["status"])?.expect(0)?;
    Ok(())
}

/// A pod of another namespace writes into the list of members what a shell would take for a command. Whoever looks says
/// so, and nobody runs it.
#[test]
#[ignore = "needs cluster (creates namespaces)"]
fn what_a_stranger_wrote_into_etcd_is_shown_and_never_run() -> Result<()> {
    const KEY: &str = "/clearwater/site1/node_type_chronos/clustering/chronos";
    const HOSTILE: &str = "; id > /tmp/hurt #";
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-key-written")?;
    let strangers = cluster.namespace("e2e-stranger")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    up(&plugin, "etcd,chronos", &[])?.expect(0)?;
    let address = |pod: &str| kubectl.run(["get", "pod", pod, "--output=jsonpath={.status.podIP}"]);
    let (etcd, chronos) = (address("etcd-0")?, address("chronos-0")?);
    let write = |name: &str, list: &Value| {
        let image = format!("--image={TOOLS_IMAGE}");
        let (url, value) = (format!("http://{etcd}:2379/v2/keys{KEY}"), format!("value={list}"));
        let run =
            ["run", name, &image, "--image-pull-policy=Never", "--restart=Never", "--rm", "-i", "--quiet", "--command"];
        let curl = ["--", "curl", "-sS", "--fail", "-X", "PUT", &url, "--data-urlencode", &value];
        strangers.kubectl().run(run.into_iter().chain(curl))
    };
    write("stranger", &json!({&chronos: "normal", HOSTILE: "normal"}))?;

    let quoted = format!("{HOSTILE:?}");
    let ran = up(&plugin, "etcd,chronos", &[])?.expect(6)?;
    let lines = kinds(&ran)?.into_iter().filter(|e| e["kind"] == "checked").map(|e| e["line"].clone());
    let told = lines.into_iter().find(|l| l["status"] == "refused").with_context(|| ran.out.clone())?;
    ensure!(told["detail"].as_str().is_some_and(|d| d.contains(&quoted)), "{told}");
    ensure!(told["fix"].as_str().is_some_and(|f| f.contains("somebody else") && f.contains(KEY)), "{told}");
    for (args, code) in [(&["status"][..], 5), (&["scale", "chronos", "2", "--yes", "--mark-failed"][..], 6)] {
        let ran = plugin.run(args)?.expect(code)?;
        ensure!(ran.said().contains(&quoted), "{args:?} does not show the key\n{}", ran.said());
    }
    for pod in ["chronos-0", "etcd-0"] {
        let seen = kubectl.run(["exec", pod, "--", "ls", "/tmp"])?;
        ensure!(!seen.contains("hurt"), "it was run in {pod}: {seen}");
    }

    write("friend", &json!({&chronos: "normal"}))?;
    up(&plugin, "etcd,chronos", &[])?.expect(0)?;
    Ok(())
}

/// The same while `up` works: it looked before there was anything, and does not wait for what cannot come.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_list_of_members_that_is_spoilt_later_ends_the_run() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-key-later")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let mut run = plugin.follow(&["up", "--yes", "--only", "etcd,chronos", "--set", "keys=upstream"])?;
    run.until(PATIENCE, |e| e["kind"] == "serving" && e["component"] == "etcd")?;
    let key = "/clearwater/site1/node_type_chronos/clustering/chronos";
    let value = json!({"$(id > /tmp/hurt)": "normal"}).to_string();
    namespace.kubectl().run(["exec", "etcd-0", "--", "env", "ETCDCTL_API=2", "etcdctl", "set", key, &value])?;
    let ran = run.finish(PATIENCE)?.0.expect(4)?;
    let failed = kinds(&ran)?.into_iter().find(|e| e["kind"] == "failed").with_context(|| ran.out.clone())?;
    ensure!(failed["failure"] == "members" && failed["component"] == "chronos", "{failed}");
    ensure!(failed["causes"].to_string().contains("$(id > /tmp/hurt)"), "{failed}");
    Ok(())
}

/// A store whose image was wrong and is right now: what never ran holds nothing and is made anew, what ran stays.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_store_that_never_started_is_made_anew_once_the_file_is_right() -> Result<()> {
    let cluster = cluster();
    let registry = cluster.local()?.registry(&[])?;
    let namespace = cluster.namespace("e2e-unstarted")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    let wrong =
        format!("components: {{chronos: {{replicas: 2, image: \"{}/clearwater/none:1\"}}}}\n", registry.address());
    let (wrong, right) = (file(&wrong)?, file("components: {chronos: {replicas: 2}}\n")?);
    let replaced = |ran: &Ran| -> Result<Vec<Value>> {
        let told = repaired(ran, "chronos")?;
        ensure!(
            told.iter().all(|m| m["because"].to_string().contains("never ran") && m["cost"] == "nothing"),
            "{told:?}"
        );
        Ok(told.iter().map(|m| m["object"].clone()).collect())
    };

    up(&plugin, "etcd,chronos", &["-f", &wrong])?.expect(4)?;
    let ran = up(&plugin, "etcd,chronos", &["-f", &right])?.expect(0)?;
    let told = replaced(&ran)?;
    ensure!(told.contains(&json!("pod/chronos-0")), "{told:?}");

    // One of two comes back with the wrong image, and then the file is right again.
    let keeps = uid(kubectl, "chronos-0")?;
    up(&plugin, "etcd,chronos", &["-f", &wrong])?.expect(7)?;
    kubectl.run(["delete", "pod", "chronos-1"])?;
    up(&plugin, "etcd,chronos", &["-f", &wrong])?.expect(4)?;
    let ran = up(&plugin, "etcd,chronos", &["-f", &right])?.expect(0)?;
    ensure!(replaced(&ran)? == [json!("pod/chronos-1")], "{}", ran.out);
    ensure!(uid(kubectl, "chronos-0")? == keeps, "the member that runs was replaced too");
    plugin.run(&["status"])?.expect(0)?;
    Ok(())
}
