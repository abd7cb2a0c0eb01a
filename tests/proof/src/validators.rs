//! What others read of ours, put to their own programs: charts to Helm, rules and metrics to Prometheus.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use clearwater::yaml;
use serde_json::Value;

use crate::go;
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
    let Output { status, stdout, stderr } =
        Command::new(program).args(args).output().with_context(|| format!("cannot start {}", program.display()))?;
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let program = PathBuf::from(program.file_name().unwrap_or_default());
    ensure!(status.success(), "{} {args:?}: {text}{}", program.display(), String::from_utf8_lossy(&stderr));
    Ok(text)
}
