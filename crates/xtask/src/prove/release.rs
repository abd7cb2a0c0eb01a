//! What is published, as others get it: every version of Kubernetes' types is compiled, and each crate, unpacked in an
//! empty folder, is documented under docs.rs' conditions and tested alone; charts are put to Helm, alerts and metrics to
//! promtool.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::validators;
use crate::embed::{LIBRARIES, Outside, VERSION, alone, programs};
use crate::steps::Steps;

/// The versions that the locked k8s-openapi has.
const MINORS: [u32; 5] = [33, 34, 35, 36, 37];

pub(super) fn run(only: Option<&str>) -> anyhow::Result<String> {
    let wanted = |part: &str| only.is_none_or(|only| part.contains(only));
    let mut steps = Steps::within(Duration::from_secs(60 * 60));
    let mut page = "| what | seconds |\n|---|---|\n".to_owned();
    let mut row = |what: &str, began: Instant| writeln!(page, "| {what} | {} |", began.elapsed().as_secs());

    if wanted("helm") {
        let began = Instant::now();
        validators::helm()?;
        row("charts pass helm lint, and helm template writes what render writes", began)?;
    }
    if wanted("promtool") {
        let began = Instant::now();
        validators::promtool()?;
        row("promtool takes the alerts and the metrics, and the alerts fire when they should", began)?;
    }
    if only.is_some_and(|only| ["helm", "promtool"].iter().any(|part| part.contains(only))) {
        return Ok(page);
    }
    let outside = Outside::new()?;
    if wanted("programs") {
        let began = Instant::now();
        steps.run(programs(&outside))?;
        row("README's programs are built, and run where they need no cluster", began)?;
    }
    for name in LIBRARIES {
        let folder = outside.unpacked(name);
        let patches: Vec<String> = LIBRARIES
            .iter()
            .filter(|other| **other != name)
            .map(|other| format!("patch.crates-io.{other}.path=\"{}\"", outside.unpacked(other).display()))
            .collect();
        let with = |args: &[&'static str]| {
            let patches = patches.iter().flat_map(|p| ["--config", p.as_str()]);
            let args: Vec<&str> = args.iter().copied().chain(patches).collect();
            alone(&args, &folder).env("RUSTDOCFLAGS", "-D warnings")
        };
        let version: &[&str] = if name == "clearwater-sip" { &[] } else { &["--features", "k8s-openapi/latest"] };
        if wanted("docs") {
            let began = Instant::now();
            steps.run([with(&[&["doc", "--quiet", "--no-deps", "--all-features"], version].concat())])?;
            row(&format!("{name} is documented as docs.rs does it"), began)?;
        }
        if wanted("tests") {
            let began = Instant::now();
            steps.run([with(&["test", "--quiet", "--all-features"])])?;
            row(&format!("{name} is tested alone"), began)?;
        }
    }
    if !wanted("versions") {
        return Ok(page);
    }
    outside.without_version()?;
    for minor in MINORS {
        let began = Instant::now();
        let version = format!("1.{minor}");
        steps.run([outside.cargo(&["check", "--quiet", "--package", "cluster"]).env(VERSION, &version)])?;
        row(&format!("compiled with the types of Kubernetes {version}"), began)?;
    }
    Ok(page)
}
