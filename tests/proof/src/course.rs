//! Several deployments on one cluster, as a course has them: brought up at once, and one taken away.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clearwater::order::Policy;
use clearwater_e2e::{Following, Plugin, Ran, check_lines, cluster, kept_order, stamps};
use clearwater_testbed::Namespace;
use serde_json::Value;

use crate::common::gone;
use xtask::steps::say;

const AT_ONCE: usize = 5;
const COMPONENTS: usize = 11;
/// How often each is looked at while all stand.
const LOOKS: usize = 10;
const LIMIT: Duration = Duration::from_secs(1200);

pub(crate) fn run() -> Result<String> {
    let cluster = cluster();
    let namespaces: Vec<Namespace<'_>> =
        (1..=AT_ONCE).map(|n| cluster.namespace(&format!("e2e-course-{n}"))).collect::<Result<_>>()?;
    let plugins: Vec<Plugin> = namespaces.iter().map(|n| Plugin::new(cluster, n.name())).collect::<Result<_>>()?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("clearwater.yaml");
    let file = file.to_str().context("a path")?;
    let Some(any) = plugins.first() else { return Ok(String::new()) };
    any.run(&["init", "--size", "course", "-o", file])?.expect(0)?;
    say(&format!("==> {AT_ONCE} at once"));
    let runs: Vec<Following> = plugins.iter().map(|p| p.follow(&["up", "--yes", "-f", file])).collect::<Result<_>>()?;
    let mut page = format!(
        "`up` of the file of `init --size course` in {AT_ONCE} namespaces at once, {COMPONENTS} components each, on two nodes that share the machine. Each ends with \
         all of its components serving, every gate kept by the stand-ins' stamps, nothing left to write for another `up`, \
         and a `check` without a finding. What a deployment costs is what `check` says of it right after (`usage`); these \
         are stand-ins, which cost less than the real programs.\n\n\
         | namespace | `up` (s) | `check` says |\n|---|---|---|\n"
    );
    let mut times = Vec::new();
    for run in runs {
        let events = run.finish(LIMIT)?.0.expect(0)?.events()?;
        let last = events.last().context("no event")?;
        times.push(last["elapsed"].as_u64().context("no time")? / 100);
    }
    for ((namespace, plugin), took) in namespaces.iter().zip(&plugins).zip(times) {
        let kubectl = namespace.kubectl();
        kept_order(&stamps(kubectl)?, Policy::Dependency)?;
        let pods = pods(namespace)?;
        ensure!(pods.len() == COMPONENTS, "{}: {pods:?}", namespace.name());
        let again = plugin.run(&["up", "--yes", "-f", file, "-o", "json"])?.expect(0)?;
        ensure!(again.out.contains("\"outcome\":\"nothingToDo\""), "{}: {}", namespace.name(), again.out);
        let checks = check(plugin)?;
        let usage = check_lines(&checks).find(|l| l["id"] == "usage").context("no usage")?;
        let (name, cost) = (namespace.name(), usage["detail"].as_str().unwrap_or_default());
        writeln!(page, "| {name} | {}.{} | {cost} |", took / 10, took % 10)?;
    }
    page.push_str(&no_findings(&plugins)?);
    page.push_str(&one_leaves(&namespaces, &plugins)?);
    drop(plugins);
    namespaces.into_iter().try_for_each(gone)?;
    Ok(page)
}

fn check(plugin: &Plugin) -> Result<Value> {
    Ok(serde_json::from_str(&plugin.run(&["check", "-o", "json"])?.expect(0)?.out)?)
}

/// Looks at all of them at once, again and again: a deployment in health has no finding.
fn no_findings(plugins: &[Plugin]) -> Result<String> {
    say(&format!("==> {} checks", LOOKS * plugins.len()));
    let mut late = 0;
    for round in 0..LOOKS {
        let looks: Vec<Result<Ran>> = thread::scope(|scope| {
            let one = |plugin: &Plugin| plugin.run(&["check", "--timeout", "30s", "-o", "json"]);
            let looks: Vec<_> = plugins.iter().map(|p| scope.spawn(move || one(p))).collect();
            looks.into_iter().map(|l| l.join().unwrap_or_else(|_| bail!("a look panicked"))).collect()
        });
        for look in looks {
            let ran = look?;
            ensure!([0, 1].contains(&ran.code), "round {round}: {}", ran.said());
            let checks: Value = serde_json::from_str(&ran.out).with_context(|| ran.said())?;
            let found = check_lines(&checks).find(|l| l["status"] == "failed" || l["status"] == "warning");
            ensure!(found.is_none(), "round {round}: {found:?}");
            late += usize::from(ran.code == 1);
        }
    }
    let all = LOOKS * plugins.len();
    ensure!(late * 10 <= all, "{late} of {all} looks did not come to their end within 30 s");
    Ok(format!(
        "\nThen `check --timeout 30s` of all {} at once, {LOOKS} times: {all} looks at deployments in health, none of which \
         found anything; {late} of them could not look at everything in time on this machine, and ended with 1.\n",
        plugins.len()
    ))
}

/// What `down` of one does to the others, and what `status -A` says of all.
fn one_leaves(namespaces: &[Namespace<'_>], plugins: &[Plugin]) -> Result<String> {
    let (Some((_, others)), Some((first, rest))) = (namespaces.split_first(), plugins.split_first()) else {
        return Ok(String::new());
    };
    say("==> one of them leaves");
    let before: Vec<Vec<String>> = others.iter().map(pods).collect::<Result<_>>()?;
    first.run_within(LIMIT, &["down", "--yes"])?.expect(0)?;
    let after: Vec<Vec<String>> = others.iter().map(pods).collect::<Result<_>>()?;
    ensure!(before == after, "pods of the others changed: {before:?} {after:?}");
    for plugin in rest {
        plugin.run(&["status"])?.expect(0)?;
    }
    let all = first.run(&["status", "-A"])?.expect(0)?;
    let listed = others.iter().filter(|n| all.out.contains(n.name())).count();
    ensure!(listed == others.len(), "{}", all.out);
    Ok(format!(
        "\nThen `down` of the first: no pod of the other {} was made anew, each of them serves, and `status -A` lists them \
         (in {:.1} s).\n",
        others.len(),
        all.took.as_secs_f64()
    ))
}

/// The pods of a deployment, by uid.
fn pods(namespace: &Namespace<'_>) -> Result<Vec<String>> {
    let template = "--output=jsonpath={range .items[*]}{.metadata.uid} {end}";
    let uids = namespace.kubectl().run(["get", "pods", "--selector=service", template])?;
    Ok(uids.split_whitespace().map(str::to_owned).collect())
}
