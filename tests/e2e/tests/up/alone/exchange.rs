use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Limited, Plugin, Ran, TEST_LINES, cluster, lines_of, relays_in};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::Value;

use crate::{PATIENCE, small_file};

fn report(ran: &Ran) -> Result<Value> {
    serde_json::from_str(&ran.out).with_context(|| ran.said())
}

fn cases(report: &Value) -> impl Iterator<Item = &Value> {
    report["cases"].as_array().into_iter().flatten()
}

fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_for(what, limit, || Ok(if holds()? { Attempt::Done(()) } else { Attempt::NotYet("not yet".to_owned()) }))
}

/// A telephone exchange in health, in trouble, and after somebody who was killed.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn test_tells_health_from_trouble() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-exchange")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let kubectl = namespace.kubectl();
    plugin.run(&["test"])?.expect(1)?;
    let path = small_file("keys: upstream\n")?;
    plugin.run_within(PATIENCE, &["up", "--yes", "-f", &path])?.expect(0)?;
    plugin.run_within(PATIENCE, &["scale", "bono", "2", "--yes"])?.expect(0)?;

    // Health, with no more rights than the table names.
    let limited = Limited::new(cluster, &namespace, "phones", &["test"], false)?;
    let junit = format!("{path}.xml");
    // On a machine that is taken the stand-ins' sprout now and then answers 500: one run of some must be clean.
    let mut seen = Value::Null;
    until("a run in health", Duration::from_secs(180), || {
        let ran = limited.plugin()?.run_within(PATIENCE, &["test", "-o", "json", "--junit", &junit])?;
        seen = report(&ran)?;
        Ok(ran.code == 0)
    })?;
    ensure!(seen["passed"] == true && cases(&seen).count() == 51, "{seen:#}");
    limited.asked_for_what_the_table_names()?;
    let through: BTreeSet<&str> =
        cases(&seen).flat_map(|c| c["through"].as_array().into_iter().flatten()).filter_map(Value::as_str).collect();
    ensure!(through.len() == 2, "through {through:?}");
    let xml = std::fs::read_to_string(&junit)?;
    ensure!(xml.contains("failures=\"0\"") && xml.matches("<testcase").count() == 51, "{xml}");

    // From outside, where nobody listens.
    let ran = plugin.run(&["test", "--via", "127.0.0.1:1", "--transport", "tcp", "-o", "json"])?.expect(8)?;
    let seen = report(&ran)?;
    let verdicts: Vec<&str> = cases(&seen).filter_map(|c| c["verdict"].as_str()).collect();
    ensure!(verdicts[0] == "failed" && verdicts[1..].iter().all(|v| *v == "notTried"), "{verdicts:?}");

    // A line of somebody's at homestead-prov of which Ellis knows nothing is not written over.
    let foreign = ["--through", "homestead-prov", "1999000000"];
    plugin.run(&[&["subscriber", "create"], &foreign[..]].concat())?.expect(0)?;
    let refused = plugin.run(&["subscriber", "create", "1999000000"])?;
    ensure!(refused.code != 0 && refused.said().contains("given away"), "{}", refused.said());

    leftovers(&plugin)?;
    until("the tunnels of the killed run to end", Duration::from_secs(45), || {
        Ok(relays_in(kubectl, "deploy/ellis")? == 0)
    })?;

    faults(&plugin, kubectl, &junit)?;
    stopped(&plugin, kubectl)
}

/// What the private identities begin with of a run whose lines are in use no more.
const OVER: &str = "kubectl-clearwater-test.1000000000.0123abcd";

/// Runs at once and one after another, of which one is killed.
fn leftovers(plugin: &Plugin) -> Result<()> {
    // What one that is killed leaves behind is left alone as long as it may be somebody's, and goes when its time is over.
    let lines = |of: &str| lines_of(plugin, of);
    let mut killed = plugin.spawn(&["test", "--repeat", "1000", "-o", "json"])?;
    until("lines of the run that will be killed", Duration::from_secs(30), || Ok(lines(TEST_LINES)? >= 3))?;
    // Two at once.
    plugin.run(&["test", "--only", "register,call-busy", "--transport", "tcp", "--parallel", "2"])?.expect(0)?;
    killed.kill()?;
    killed.wait()?;
    let (account, prefix) = (format!("{OVER}@clearwater.invalid"), format!("{OVER}."));
    let old = ["subscriber", "create", "1999000007", "--account", &account, "--private-prefix", &prefix];
    plugin.run(&old)?.expect(0)?;
    let next = plugin.run(&["test", "--only", "options", "--transport", "tcp"])?.expect(0)?;
    ensure!(next.err.contains("1 line that earlier runs left behind"), "{}", next.err);
    ensure!(lines(&prefix)? == 0 && lines(TEST_LINES)? == 3, "{} and {}", lines(&prefix)?, lines(TEST_LINES)?);

    // Calls at a rate.
    let ran = plugin.run(&["test", "--load", "5/s", "--for", "4s", "--failures", "50%", "-o", "json"])?.expect(0)?;
    let seen = report(&ran)?;
    ensure!(seen["attempts"] == 20 && seen["answeredAfter"]["p50"].is_number(), "{seen:#}");
    Ok(())
}

/// What the stand-ins' faults look like to a phone.
fn faults(plugin: &Plugin, kubectl: &Kubectl, junit: &str) -> Result<()> {
    // What the stand-ins can be told to do wrong: who is named, and by which answer. Nobody is where a call needs nobody.
    for (workload, fault, named) in [
        ("deploy/homestead", "homestead.503", Some("homestead")),
        ("deploy/homestead", "homestead.504", Some("homestead")),
        ("deploy/homestead", "homestead.hang", Some("homestead")),
        ("deploy/ralf", "ralf.503", None),
        ("statefulset/chronos", "chronos.503", None),
    ] {
        let file = format!("/run/standin/fault/{fault}");
        kubectl.run(["exec", workload, "--", "sh", "-c", &format!("mkdir -p /run/standin/fault; touch {file}")])?;
        let only = ["--only", "register-two-phones,message-unknown,call-unknown", "--transport", "tcp"];
        let ran = plugin.run(&[&["test", "-o", "json"], &only[..]].concat())?;
        kubectl.run(["exec", workload, "--", "rm", &file])?;
        let seen = report(&ran)?;
        let wanted = if named.is_some() { 8 } else { 0 };
        ensure!(ran.code == wanted && seen["error"].is_null(), "{fault}: {}", ran.said());
        let told: BTreeSet<Option<&str>> = cases(&seen).map(|c| c["failure"]["component"].as_str()).collect();
        ensure!(told == BTreeSet::from([named]), "{fault}: {seen:#}");
    }
    // Where no line can be made, the report says who would not.
    for (workload, fault, named) in
        [("deploy/homer", "homer.503", "homer"), ("deploy/homestead-prov", "homestead-prov.503", "homestead-prov")]
    {
        let file = format!("/run/standin/fault/{fault}");
        kubectl.run(["exec", workload, "--", "sh", "-c", &format!("mkdir -p /run/standin/fault; touch {file}")])?;
        let ran = plugin.run_within(PATIENCE, &["test", "-o", "json", "--junit", junit])?;
        kubectl.run(["exec", workload, "--", "rm", &file])?;
        let error = report(&ran)?["error"].as_str().unwrap_or_default().to_owned();
        ensure!(ran.code == 1 && error.contains(named) && error.contains("503"), "{fault}: {}", ran.said());
        ensure!(std::fs::read_to_string(junit)?.contains("<error message="), "no error in the XML");
    }
    Ok(())
}

/// What programs that are stopped look like to a phone.
fn stopped(plugin: &Plugin, kubectl: &Kubectl) -> Result<()> {
    // Each trouble is told at the case that it breaks, with the component that it is of.
    for (component, program, only, named) in [
        ("homestead", "homestead", "register", "homestead"),
        ("astaire", "rogers", "register", "astaire"),
        ("sprout", "sprout", "register", "sprout"),
    ] {
        let program = format!("clearwater-group:{program}");
        let target =
            if component == "astaire" { "statefulset/astaire".to_owned() } else { format!("deploy/{component}") };
        let control = |action: &str| kubectl.run(["exec", &target, "--", "supervisorctl", action, &program]);
        control("stop")?;
        let began = Instant::now();
        let ran = plugin
            .run(&["test", "--only", only, "--skip", "register-wrong-password", "--transport", "tcp", "-o", "json"])?
            .expect(8)?;
        let seen = report(&ran)?;
        let told: Vec<&str> = cases(&seen).filter_map(|c| c["failure"]["component"].as_str()).collect();
        ensure!(
            !told.is_empty() && told.iter().all(|t| named.contains(t)),
            "{component} stopped, told {told:?}: {seen:#}"
        );
        ensure!(cases(&seen).all(|c| c["messages"].as_array().is_some_and(|m| !m.is_empty())), "{seen:#}");
        ensure!(began.elapsed() < Duration::from_secs(60), "{component}: {:?}", began.elapsed());
        control("start")?;
        until(&format!("{component} again"), Duration::from_secs(60), || {
            Ok(plugin.run(&["test", "--only", "register", "--transport", "tcp"])?.code == 0)
        })?;
    }
    Ok(())
}
