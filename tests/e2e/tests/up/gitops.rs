use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::Value;

use crate::{PATIENCE, kinds, outcome, small_file};

/// The mark that `up` sets on what it writes, and no rendering holds.
const MARK: &str = "kubectl-clearwater/origin";

/// What the API server would make of a directory beside what stands: the exit code 0 says nothing else.
fn difference(kubectl: &Kubectl, dir: &Path) -> Result<Output> {
    let dir = dir.to_string_lossy();
    let args = ["diff", "--server-side", "--force-conflicts", "--field-manager=gitops", "--kustomize", &dir];
    Ok(kubectl.command(args).output()?)
}

fn same(kubectl: &Kubectl, dir: &Path) -> Result<()> {
    let seen = difference(kubectl, dir)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(seen.status.code() == Some(0), "{}{}", text(&seen.stdout), text(&seen.stderr));
    Ok(())
}

fn keys(kubectl: &Kubectl) -> Result<()> {
    let keys = ["signup_key", "turn_workaround", "ellis_api_key", "ellis_cookie_key"];
    let args = keys.map(|key| format!("--from-literal={key}=0123456789abcdef"));
    kubectl.run(["create", "secret", "generic", "mine"].into_iter().chain(args.iter().map(String::as_str))).map(drop)
}

/// One directory, before and after `up`: what `up` has written is what is rendered, and what kubectl has written `up` takes
/// over without changing more than its mark.
#[test]
#[ignore = "needs cluster (creates namespaces)"]
fn a_directory_holds_what_up_applies_and_converges_without_it() -> Result<()> {
    let cluster = cluster();
    // `up` puts its mark into the template of a volume claim, too, and no such template can be changed.
    let path = small_file("keys: {secret: mine}\n")?;
    let mut text = std::fs::read_to_string(&path)?;
    for store in ["etcd", "cassandra"] {
        text = text.replace(&format!("  {store}: {{"), &format!("  {store}: {{storage: {{persistent: false}}, "));
    }
    std::fs::write(&path, text)?;
    let folder = tempfile::tempdir()?;
    let render = |plugin: &Plugin, dir: &Path| {
        let dir = dir.to_string_lossy();
        plugin.run(&["render", "-f", &path, "--dir", &dir, "--default-storage-class", "--without-namespace"])?.expect(0)
    };

    let up_first = cluster.namespace("e2e-up-render")?;
    let plugin = Plugin::new(cluster, up_first.name())?;
    let dir = folder.path().join("up");
    render(&plugin, &dir)?;
    keys(up_first.kubectl())?;
    plugin.run(&["up", "--yes", "-f", &path])?.expect(0)?;
    same(up_first.kubectl(), &dir).context("what up wrote is not what is rendered")?;
    drop(up_first);

    let rendered = cluster.namespace("e2e-render")?;
    let (plugin, kubectl) = (Plugin::new(cluster, rendered.name())?, rendered.kubectl());
    let dir = folder.path().join("kubectl");
    render(&plugin, &dir)?;
    keys(kubectl)?;
    kubectl.run(["apply", "--kustomize", &dir.to_string_lossy()])?;
    wait_for("a deployment that nobody orders to serve", PATIENCE, || {
        let seen = plugin.run(&["status", "-f", &path])?;
        Ok(if seen.code == 0 { Attempt::Done(()) } else { Attempt::NotYet(seen.out) })
    })?;

    let planned = plugin.run(&["diff", "-f", &path, "-o", "json"])?.expect(7)?;
    let events = kinds(&planned)?;
    let plan = events.iter().find(|e| e["kind"] == "planned").context("no plan")?;
    for change in plan["changes"].as_array().context("changes")? {
        ensure!(change["operation"] == "change" && change["whose"] == "adopted", "{change}");
        ensure!(change.get("restarts").is_none(), "{change}");
        let diff = change["diff"].as_str().context("a difference")?;
        let changed = diff.lines().skip(2).filter(|l| l.starts_with(['+', '-']));
        let lines: Vec<&str> = changed.filter(|l| !l.contains(MARK)).collect();
        ensure!(lines.iter().all(|l| l.trim_start_matches(['+', '-']).trim() == "annotations:"), "{diff}");
    }
    ensure!(plan["pending"] == Value::Array(Vec::new()), "{plan}");
    let summary = plugin.run(&["diff", "-f", &path, "--summary", "--exit-code", "kubectl"])?.expect(1)?;
    ensure!(summary.out.contains("of these stood before up") && !summary.out.contains("restart "), "{}", summary.out);

    let up = plugin.run(&["up", "--yes", "-f", &path, "-o", "json"])?.expect(0)?;
    ensure!(outcome(&up)? == "done", "{}", up.out);
    plugin.run(&["diff", "-f", &path, "--exit-code", "kubectl"])?.expect(0)?;
    same(kubectl, &dir).context("what up took over is not what is rendered")
}
