//! What others read of ours, put to their own programs: charts to Helm, rules and metrics to Prometheus; and what pages tell
//! people to type, typed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clearwater::yaml;
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::{Attempt, wait_for};
use serde_json::Value;

use crate::{common, go};
use xtask::build;
use xtask::workspace::root;

/// Deployment files whose charts are tried: the defaults, and what a template could stumble over.
const FILES: [&str; 3] = [
    "",
    "annotations: {note: '{{ .Values.tag }}'}\nimages: {pullSecrets: [a, b]}\ncomponents: {sprout: {replicas: 2}}\n",
    "release: classic\nimages: {registry: registry.example.com/ims, tag: '7', mirror: 'mirror.example.com:5000'}\n",
];

/// Charts pass `helm lint`, and without values `helm template` writes what `render` writes.
pub(crate) fn helm() -> Result<()> {
    let (helm, plugin) = (go::program(go::HELM)?, build::built("dev")?);
    let folder = tempfile::tempdir()?;
    for (n, text) in FILES.iter().enumerate() {
        let path = |name: &str| folder.path().join(format!("{name}-{n}")).to_string_lossy().into_owned();
        let (file, chart) = (path("file"), path("chart"));
        std::fs::write(&file, format!("apiVersion: clearwater/v1\n{text}"))?;
        let render = |more: &[&str]| {
            said(&plugin, &[&["render", "-n", "ims", "-f", &file, "--set", "keys.secret=mine"], more].concat())
        };
        render(&["--dir", &chart, "--helm"])?;
        said(&helm, &["lint", "--strict", &chart])?;
        let template = said(&helm, &["template", "clearwater", &chart, "--namespace", "ims"])?;
        ensure!(objects(&template)? == objects(&render(&[])?)?, "{text}: helm template is not what is rendered");
        let other = said(
            &helm,
            &["template", "clearwater", &chart, "--set", "tag=other,registry=example.com,pullSecrets={c}"],
        )?;
        ensure!(other.contains("image: example.com/clearwater-sprout:other\n"), "{text}: {other}");
        ensure!(other.contains("imagePullSecrets:\n      - name: \"c\"\n"), "{text}: {other}");
        ensure!(
            said(&helm, &["template", "clearwater", &chart, "--set", "tga=other"]).is_err(),
            "a value that there is not is taken"
        );
    }
    Ok(())
}

/// What docs/nfv.md tells people to type makes a package, whose chart Helm takes as it takes the folder.
pub(crate) fn package() -> Result<()> {
    let (helm, plugin) = (go::program(go::HELM)?, build::built("dev")?);
    let page = std::fs::read_to_string(root().join("docs/nfv.md"))?;
    let block = |language: &str| {
        let (_, rest) = page.split_once(&format!("```{language}\n")).with_context(|| format!("no {language}"))?;
        Ok::<_, anyhow::Error>(rest.split("```").next().unwrap_or_default())
    };
    let typed: String =
        block("console")?.lines().filter_map(|l| Some(format!("{}\n", l.strip_prefix("$ ")?))).collect();
    let typed = typed.replace("kubectl clearwater", &plugin.to_string_lossy());
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("clearwater.yaml"), "apiVersion: clearwater/v1\nnamespace: ims\n")?;
    std::fs::write(folder.path().join("vnfd.yaml"), block("yaml")?)?;
    let done = Command::new("sh").args(["-euc", &typed]).current_dir(folder.path()).output()?;
    ensure!(done.status.success(), "{typed}{}", String::from_utf8_lossy(&done.stderr));
    let within = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let template = |chart: &str| said(&helm, &["template", "clearwater", &within(chart), "--namespace", "ims"]);
    ensure!(template("csar/Artifacts/clearwater.tgz")? == template("chart")?, "the packed chart is another");
    let told: Value = yaml::read_one(&std::fs::read_to_string(within("csar/Definitions/vnfd.yaml"))?)?;
    let chart = &told["topology_template"]["node_templates"]["clearwater"]["artifacts"]["clearwater"]["file"];
    let chart = Path::new("csar/Definitions").join(chart.as_str().context("the descriptor names a chart")?);
    ensure!(folder.path().join(&chart).is_file(), "the descriptor leads to {}", chart.display());
    Ok(())
}

/// A chart that Helm installed serves, and goes with it.
pub(crate) fn install() -> Result<()> {
    let helm = go::program(go::HELM)?;
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-prove-helm")?;
    let (kubectl, name) = (namespace.kubectl(), namespace.name());
    let plugin = Plugin::new(cluster, name)?.with_program(&build::built("dev")?);
    let keys = ["signup_key", "turn_workaround", "ellis_api_key", "ellis_cookie_key"];
    let keys = keys.map(|key| format!("--from-literal={key}=0123456789abcdef"));
    kubectl.run(["create", "secret", "generic", "mine"].into_iter().chain(keys.iter().map(String::as_str)))?;
    let folder = tempfile::tempdir()?;
    let chart = folder.path().join("chart").to_string_lossy().into_owned();
    plugin.run(&["render", "--set", "keys.secret=mine", "--dir", &chart, "--helm"])?.expect(0)?;
    let kubeconfig = cluster.local()?.layout().kubeconfig().to_string_lossy().into_owned();
    let helm = |args: &[&str]| said(&helm, &[args, &["--namespace", name, "--kubeconfig", &kubeconfig]].concat());
    helm(&["install", "clearwater", &chart])?;
    wait_for("what Helm installed to serve", std::time::Duration::from_secs(300), || {
        let seen = plugin.run(&["status"])?;
        Ok(if seen.code == 0 { Attempt::Done(()) } else { Attempt::NotYet(seen.out) })
    })?;
    helm(&["uninstall", "clearwater"])?;
    let left = kubectl.run(["get", "deployments,statefulsets,services", "--output=name"])?;
    ensure!(left.trim().is_empty(), "Helm left {left}");
    Ok(())
}

/// The alerts are rules that fire when they should, and what `status --metrics` tells is what Prometheus reads.
pub(crate) fn promtool() -> Result<()> {
    const METRICS: &str = "crates/clearwater-kube/src/status/metrics/snapshots/clearwater_kube__status__metrics__tests__what_was_seen_is_told_whole_and_in_order.snap";
    let promtool = go::program(go::PROMTOOL)?;
    let path = |name: &str| root().join(name).to_string_lossy().into_owned();
    said(&promtool, &["check", "rules", "--lint=all", "--lint-fatal", &path("docs/alerts.yaml")])?;
    said(&promtool, &["test", "rules", &path("tests/alerts.test.yaml")])?;
    let golden = std::fs::read_to_string(root().join(METRICS))?;
    let metrics = golden.splitn(3, "---\n").nth(2).context("a golden file has a head")?;
    let mut child = Command::new(&promtool).args(["check", "metrics"]).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("a pipe")?.write_all(format!("{}\n", metrics.trim_end()).as_bytes())?;
    ensure!(child.wait()?.success(), "promtool check metrics");
    Ok(())
}

/// The objects of a text by kind and name.
fn objects(text: &str) -> Result<BTreeMap<(String, String), Value>> {
    let mut all = BTreeMap::new();
    for document in text.split("---\n").filter(|d| d.contains("kind: ")) {
        let object: Value = yaml::read_one(document)?;
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        all.insert((word(&object["kind"]), word(&object["metadata"]["name"])), object);
    }
    Ok(all)
}

fn said(program: &Path, args: &[&str]) -> Result<String> {
    common::said(Command::new(program).args(args))
}
