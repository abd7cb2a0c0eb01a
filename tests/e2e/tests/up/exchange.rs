use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Limited, Plugin, Ran, cluster};
use clearwater_testbed::{Attempt, wait_for};
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
    plugin.run(&["test"])?.expect(4)?;
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
    ensure!(seen["passed"] == true && cases(&seen).count() == 29, "{seen:#}");
    limited.asked_for_what_the_table_names()?;
    let through: BTreeSet<&str> =
        cases(&seen).flat_map(|c| c["through"].as_array().into_iter().flatten()).filter_map(Value::as_str).collect();
    ensure!(through.len() == 2, "through {through:?}");
    let xml = std::fs::read_to_string(&junit)?;
    ensure!(xml.contains("failures=\"0\"") && xml.matches("<testcase").count() == 29, "{xml}");

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

    // What one that is killed leaves behind goes with the next run.
    let mut killed = plugin.spawn(&["test", "--repeat", "1000", "-o", "json"])?;
    let lines = || {
        let list = plugin.run(&["subscriber", "list", "--account", "kubectl-clearwater-test@clearwater.invalid"])?;
        Ok::<_, anyhow::Error>(list.out.matches("sip:").count())
    };
    until("lines of the run that will be killed", Duration::from_secs(30), || Ok(lines()? >= 2))?;
    killed.kill()?;
    killed.wait()?;
    let next = plugin.run(&["test", "--only", "options"])?.expect(0)?;
    ensure!(next.err.contains("lines that an earlier run left behind"), "{}", next.err);
    ensure!(lines()? == 0, "lines are left");
    let tunnels = || {
        let said = kubectl.run([
            "exec",
            "deploy/ellis",
            "--",
            "bash",
            "-c",
            "cat /proc/[0-9]*/cmdline | grep -ac struct[.]pack; true",
        ])?;
        Ok::<_, anyhow::Error>(said.trim().to_owned())
    };
    until("the tunnels of the killed run to end", Duration::from_secs(45), || Ok(tunnels()? == "0"))?;

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
