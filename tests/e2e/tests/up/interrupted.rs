use std::io::{Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clearwater::order::Policy;
use clearwater_e2e::{Plugin, cluster, kept_order, stamps};
use clearwater_testbed::{Fault, Kubectl, Part, Rule};

use crate::{COMPONENTS, PATIENCE, file, is, outcome, pods};

/// Set where others work on the same cluster: the API server is then left running.
const SHARED_VARIABLE: &str = "CLEARWATER_TESTBED_SHARED";

/// How soon after Ctrl-C it ends.
const PROMPT: Duration = Duration::from_secs(10);

/// One pod a component, nothing else that runs, and nothing that a further `up` would write.
fn converged(plugin: &Plugin, kubectl: &Kubectl) -> Result<()> {
    let there = pods(kubectl)?;
    ensure!(there.len() == COMPONENTS, "pods: {there:?}");
    let workloads = kubectl.run(["get", "deployments,statefulsets", "--output=name"])?;
    ensure!(workloads.lines().count() == COMPONENTS, "workloads: {workloads}");
    let again = plugin.run(&["up", "--yes", "-o", "json"])?.expect(0)?;
    ensure!(outcome(&again)? == "nothingToDo", "{}", again.out);
    Ok(())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn killed_twice_and_interrupted_it_goes_on_from_what_stands_in_the_articles_order() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-kill")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let args = ["up", "--yes", "--order", "article"];

    let mut first = plugin.follow(&args)?;
    first.until(PATIENCE, |e| is(e, "applying", "etcd"))?;
    first.kill()?;
    let mut second = plugin.follow(&args)?;
    second.until(PATIENCE, |e| is(e, "applied", "cassandra"))?;
    second.kill()?;
    // Ctrl-C ends nothing that stands and begins nothing new.
    let mut third = plugin.follow(&args)?;
    third.until(PATIENCE, |e| is(e, "applied", "homestead"))?;
    third.interrupt()?;
    let stopped = third.finish(PROMPT)?.0.expect(130)?;
    ensure!(outcome(&stopped)? == "cancelled", "{}", stopped.out);
    let told = stopped.events()?.pop().context("no event")?["what"]["summary"].to_string();
    ensure!(told.contains("run up again to go on"), "how to go on is not told: {told}");
    let served = stopped.events()?.iter().filter(|e| e["what"]["kind"] == "serving").count();
    ensure!(served < COMPONENTS, "it went on to the end: {}", stopped.out);
    ensure!(told.contains("are held and start by themselves"), "that pods stand and are held is not told: {told}");
    plugin.follow(&args)?.finish(PATIENCE)?.0.expect(0)?;

    kept_order(&stamps(namespace.kubectl())?, Policy::Article)?;
    converged(&plugin, namespace.kubectl())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn two_at_once_end_in_one_deployment() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-two")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let args = ["up", "--yes", "--only", "homer", "--set", "logLevel=3"];
    let (one, two) = (plugin.follow(&args)?, plugin.follow(&args)?);
    let (one, two) = (one.finish(PATIENCE)?.0, two.finish(PATIENCE)?.0);
    // They write the same.
    ensure!(one.code == 0 && two.code == 0, "{} {}\n{}", one.code, one.said(), two.said());
    let there = pods(namespace.kubectl())?;
    ensure!(there.len() == 3, "pods: {there:?}");
    let again = plugin.run(&["up", "--yes", "--only", "homer", "--set", "logLevel=3", "-o", "json"])?.expect(0)?;
    outcome(&again).and_then(|o| (o == "nothingToDo").then_some(()).context(o)).with_context(|| again.out.clone())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn ctrl_c_at_the_question_deploys_nothing_whatever_is_typed_then() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("signals-ask")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let mut up = plugin.on_terminal(&["up", "--only", "etcd"])?;
    let (mut keys, mut screen) = (up.stdin.take().context("no keys")?, up.stdout.take().context("no screen")?);
    let mut shown = String::new();
    let mut bytes = [0; 4096];
    while !shown.contains("Go on? [y/N] ") {
        let n = screen.read(&mut bytes)?;
        ensure!(n > 0, "it never asked:\n{shown}");
        shown += &String::from_utf8_lossy(&bytes[..n]);
    }
    let began = Instant::now();
    keys.write_all(b"\x03")?;
    // It may have ended before.
    let _ = keys.write_all(b"y\n");
    while matches!(screen.read(&mut bytes), Ok(1..)) {}
    let (code, took) = (up.wait()?.code(), began.elapsed());
    ensure!(code == Some(130) && took < Duration::from_secs(2), "exit {code:?} after {took:?}");
    let left = namespace.kubectl().run(["get", "deployments,statefulsets,services,configmaps", "--output=name"])?;
    let left: Vec<_> = left.lines().filter(|l| !l.contains("kube-root-ca")).collect();
    ensure!(left.is_empty(), "it went on: {left:?}");
    Ok(())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn the_files_namespace_goes_before_the_contexts() -> Result<()> {
    let cluster = cluster();
    let (ours, theirs) = (cluster.namespace("signals-file")?, cluster.namespace("signals-context")?);
    for namespace in [&ours, &theirs] {
        Plugin::new(cluster, namespace.name())?.run(&["up", "--yes", "--only", "etcd"])?.expect(0)?;
    }
    let dir = tempfile::tempdir()?;
    let plugin = Plugin::new(cluster, ours.name())?.in_context(&dir.path().join("kubeconfig"), theirs.name())?;
    let path = file(&format!("namespace: {}\n", ours.name()))?;
    let logs = plugin.run(&["logs", "--file", &path, "--no-follow", "-o", "typed"])?.expect(0)?;
    let records = logs.events()?;
    ensure!(!records.is_empty(), "no line of {}\n{}", ours.name(), logs.err);
    ensure!(records.iter().all(|r| r["namespace"] == ours.name()), "lines of another namespace\n{}", logs.out);
    let down = plugin.run(&["down", "--yes", "-f", &path])?.expect(0)?;
    let first = down.err.lines().next().unwrap_or_default();
    ensure!(first == format!("namespace {} (from {path})", ours.name()), "{}", down.err);
    let sets = |kubectl: &Kubectl| kubectl.run(["get", "statefulsets", "--output=name"]);
    ensure!(sets(ours.kubectl())?.is_empty(), "the file's deployment still stands");
    ensure!(sets(theirs.kubectl())?.contains("etcd"), "the context's deployment was taken");
    let down = plugin.run(&["down", "--yes"])?.expect(0)?;
    ensure!(down.err.starts_with(&format!("namespace {} (from context ", theirs.name())), "{}", down.err);
    ensure!(sets(theirs.kubectl())?.is_empty(), "the context's deployment still stands");
    Ok(())
}

/// The API server is restarted under everybody.
mod alone {
    use super::*;

    #[test]
    #[ignore = "needs cluster (creates a namespace)"]
    fn trouble_at_the_api_server_is_ridden_out_in_the_earliest_order() -> Result<()> {
        let cluster = cluster();
        let local = cluster.local()?;
        let mut proxy = local.api_proxy()?;
        let namespace = cluster.namespace("e2e-api")?;
        let plugin = Plugin::as_user(&proxy.kubeconfig()?, namespace.name())?;
        // Every watch lasts two seconds and is then told that its version is gone; writes and reads are throttled.
        proxy.set(&[
            Rule::new(Fault::Gone).watch(true).skip(5).times(5),
            Rule::new(Fault::Status(429, 1)).method("PATCH").skip(3).times(4),
            Rule::new(Fault::Status(429, 1)).method("GET").watch(false).skip(20).times(4),
            Rule::new(Fault::Cut(Duration::from_secs(2))).watch(true).times(12),
        ])?;
        let mut up = plugin.follow(&["up", "--yes", "--order", "earliest"])?;
        up.until(PATIENCE, |e| is(e, "serving", "etcd"))?;
        if std::env::var_os(SHARED_VARIABLE).is_none() {
            local.restart(Part::ApiServer)?;
        }
        up.finish(PATIENCE)?.0.expect(0)?;
        let actions: Vec<_> = proxy.requests().into_iter().map(|r| r.action).filter(|a| !a.is_empty()).collect();
        for wanted in ["gone", "status", "cut"] {
            ensure!(actions.iter().any(|a| a == wanted), "the proxy did nothing of {wanted}: {actions:?}");
        }
        proxy.set(&[])?;
        kept_order(&stamps(namespace.kubectl())?, Policy::Earliest)?;
        converged(&plugin, namespace.kubectl())
    }
}
