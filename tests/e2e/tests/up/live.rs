use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Limited, Plugin, Ran, cluster};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::Value;

use crate::{PATIENCE, small_file};

/// It plays upstream's tests.
const IMAGE: &str = "localhost/clearwater-tools:1";

/// How many cases ended so.
fn count(ran: &Ran, verdict: &str) -> Result<usize> {
    let report: Value = serde_json::from_str(&ran.out).with_context(|| ran.said())?;
    let cases = report["cases"].as_array().context("no cases")?;
    Ok(cases.iter().filter(|case| case["verdict"] == verdict).count())
}

/// The Jobs that stand, and their pods and Secrets.
fn left(kubectl: &Kubectl) -> Result<Vec<String>> {
    let own = "--selector=app.kubernetes.io/component=live-test";
    let all = kubectl.run(["get", "jobs,pods,secrets", own, "--output=name"])?;
    Ok(all.lines().map(str::to_owned).collect())
}

fn until(what: &str, kubectl: &Kubectl, holds: impl Fn(&[String]) -> bool) -> Result<()> {
    wait_for(what, Duration::from_secs(40), || {
        let left = left(kubectl)?;
        Ok(if holds(&left) { Attempt::Done(()) } else { Attempt::NotYet(format!("{left:?}")) })
    })
}

/// Upstream's suite, as an image of the test bed plays it: in health, in trouble, cut, interrupted and killed.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn upstreams_suite_is_run_told_and_taken_away() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-live")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let kubectl = namespace.kubectl();
    let path = small_file("")?;
    plugin.run_within(PATIENCE, &["up", "--yes", "-f", &path])?.expect(0)?;
    let live = ["test", "--live-test", IMAGE, "--timeout", "2m", "--transport", "tcp", "--repeat", "2"];
    let json = [&live[..], &["-o", "json"]].concat();

    // Health, with no more rights than the table names; the code comes from the deployment's Secret.
    let limited = Limited::new(cluster, &namespace, "suite", &["live-test"], false)?;
    let junit = format!("{path}.xml");
    let ran = limited.plugin()?.run_within(PATIENCE, &[&json[..], &["--junit", &junit]].concat())?.expect(0)?;
    limited.asked_for_what_the_table_names()?;
    ensure!((count(&ran, "passed")?, count(&ran, "skipped")?) == (4, 2), "{}", ran.said());
    let xml = std::fs::read_to_string(&junit)?;
    ensure!(xml.contains("tests=\"6\" failures=\"0\" errors=\"0\" skipped=\"2\""), "{xml}");
    until("the Job to be gone", kubectl, <[String]>::is_empty)?;

    // What is not pulled.
    let missing = ["test", "--live-test", "localhost/clearwater-none:1", "--timeout", "8s"];
    let ran = plugin.run_within(PATIENCE, &missing)?.expect(1)?;
    ensure!(ran.err.contains("clearwater-none:1") && ran.err.contains("Pull"), "{}", ran.err);

    interrupted(&plugin, kubectl)?;
    killed(&plugin, kubectl, &live)?;

    // In trouble: calls fail, and then all of it ends in the middle.
    // The cluster's DNS goes on answering for a while.
    kubectl.run(["delete", "service", "bono"])?;
    wait_for("both rounds without bono", Duration::from_secs(120), || {
        let ran = plugin.run_within(PATIENCE, &json)?;
        let is_so = ran.code == 8 && (count(&ran, "passed")?, count(&ran, "failed")?) == (2, 2);
        Ok(if is_so { Attempt::Done(()) } else { Attempt::NotYet(ran.said()) })
    })?;
    kubectl.run(["delete", "service", "ellis"])?;
    wait_for("a run without ellis", Duration::from_secs(120), || {
        let ran = plugin.run_within(PATIENCE, &live)?;
        let is_so =
            ran.code == 1 && ran.err.contains("without its last lines") && ran.out.contains("Basic Registration");
        Ok(if is_so { Attempt::Done(()) } else { Attempt::NotYet(ran.said()) })
    })?;
    until("the Job to be gone", kubectl, <[String]>::is_empty)
}

/// Ctrl-C in the middle of it.
fn interrupted(plugin: &Plugin, kubectl: &Kubectl) -> Result<()> {
    let mut running = plugin.spawn(&["test", "--live-test", IMAGE, "--repeat", "1000"])?;
    until("the Job's pod", kubectl, |left| left.iter().any(|name| name.starts_with("pod/")))?;
    std::process::Command::new("kill").args(["-INT", &running.id().to_string()]).status()?;
    let code = running.wait()?.code();
    ensure!(code == Some(130), "it ended with {code:?}");
    until("the Job to be gone", kubectl, <[String]>::is_empty)
}

/// What is left of a run that was killed: it goes when it has ended, and is named until then.
fn killed(plugin: &Plugin, kubectl: &Kubectl, live: &[&str]) -> Result<()> {
    let mut running = plugin.spawn(&["test", "--live-test", IMAGE, "--repeat", "1000"])?;
    until("the Job's pod", kubectl, |left| left.iter().any(|name| name.starts_with("pod/")))?;
    running.kill()?;
    running.wait()?;
    let own = left(kubectl)?.into_iter().find_map(|name| Some(name.strip_prefix("job.batch/")?.to_owned()));
    let job = own.context("no Job is left")?;
    let ran = plugin.run_within(PATIENCE, live)?.expect(0)?;
    ensure!(ran.err.contains(&format!("job/{job} of another run is at work")), "{}", ran.err);
    kubectl.run(["patch", "job", &job, "--type=merge", "--patch={\"spec\": {\"activeDeadlineSeconds\": 1}}"])?;
    kubectl.run(["wait", "job", &job, "--for=condition=Failed", "--timeout=60s"])?;
    let ran = plugin.run_within(PATIENCE, live)?.expect(0)?;
    ensure!(ran.err.contains("1 Job that earlier runs left behind"), "{}", ran.err);
    until("the Jobs to be gone", kubectl, <[String]>::is_empty)
}
