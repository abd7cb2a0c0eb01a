//! What is published, as others get it: every version of Kubernetes' types is compiled, and each crate, unpacked in an
//! empty folder, is documented under docs.rs' conditions and tested alone; charts are put to Helm, alerts and metrics to
//! promtool; the links of the book are followed.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use xtask::book;
use xtask::embed::{LIBRARIES, Outside, VERSION, alone, programs};
use xtask::steps::Steps;

use crate::validators;

/// How docs.rs differs from other places: what is built may ask whether it is there, and there is no network.
const CONDITIONS: [(&str, &str); 3] =
    [("DOCS_RS", "1"), ("CARGO_NET_OFFLINE", "true"), ("RUSTDOCFLAGS", "-D warnings --cfg docsrs")];

/// The versions that the locked k8s-openapi has.
const MINORS: [u32; 5] = [33, 34, 35, 36, 37];

pub(crate) fn run(only: Option<&str>) -> anyhow::Result<String> {
    let wanted = |part: &str| only.is_none_or(|only| part.contains(only));
    let mut steps = Steps::within(Duration::from_secs(60 * 60));
    let mut page = "| what | seconds |\n|---|---|\n".to_owned();
    let mut row = |what: &str, began: Instant| writeln!(page, "| {what} | {} |", began.elapsed().as_secs());

    if wanted("helm") {
        let began = Instant::now();
        validators::helm()?;
        row("charts pass helm lint, and helm template writes what render writes", began)?;
        let began = Instant::now();
        validators::package()?;
        row("a package for NFV orchestrators is made as docs/nfv.md says, and Helm reads its chart", began)?;
    }
    if wanted("install") {
        let began = Instant::now();
        validators::install()?;
        row("a chart that Helm installs serves, and goes with it", began)?;
    }
    if wanted("promtool") {
        let began = Instant::now();
        validators::promtool()?;
        row("promtool takes the alerts and the metrics, and the alerts fire when they should", began)?;
    }
    if wanted("book") {
        let began = Instant::now();
        book::check(tempfile::tempdir()?.path())?;
        row("the book is made, and its links lead to pages that there are", began)?;
    }
    if only.is_some_and(|only| ["helm", "install", "promtool", "book"].iter().any(|part| part.contains(only))) {
        return Ok(page);
    }
    let outside = Outside::new()?;
    steps.run(outside.pack())?;
    let nightly = Command::new("cargo").args(["+nightly", "--version"]).output().is_ok_and(|o| o.status.success());
    let (toolchain, by) = if nightly {
        (vec!["+nightly".to_owned()], "by nightly Rust")
    } else {
        (Vec::new(), "by stable Rust, for there is no other here")
    };
    if wanted("programs") {
        let began = Instant::now();
        steps.run(programs(&outside))?;
        row("the book's programs are built, and run where they need no cluster", began)?;
    }
    for name in LIBRARIES {
        let folder = outside.unpacked(name);
        let patches: Vec<String> = LIBRARIES
            .iter()
            .filter(|other| **other != name)
            .map(|other| format!("patch.crates-io.{other}.path=\"{}\"", outside.unpacked(other).display()))
            .collect();
        let with = |args: &[String]| {
            let patches = patches.iter().flat_map(|p| ["--config", p.as_str()]);
            let args: Vec<&str> = args.iter().map(String::as_str).chain(patches).collect();
            alone(&args, &folder).env("RUSTDOCFLAGS", "-D warnings")
        };
        if wanted("docs") {
            let began = Instant::now();
            // What is to be downloaded is downloaded before: docs.rs builds without a network.
            steps.run([with(&["fetch".to_owned()])])?;
            let doc = with(&[toolchain.clone(), docs_rs(&folder)?].concat());
            steps.run([CONDITIONS.iter().fold(doc, |doc, (key, value)| doc.env(key, value))])?;
            row(&format!("{name} is documented as docs.rs does it, {by}"), began)?;
        }
        if wanted("tests") {
            let began = Instant::now();
            steps.run([with(&["test", "--all-features"].map(str::to_owned))])?;
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
        steps.run([outside.cargo(&["check", "--package", "cluster"]).env(VERSION, &version)])?;
        row(&format!("compiled with the types of Kubernetes {version}"), began)?;
    }
    Ok(page)
}

/// How a crate asks docs.rs to be documented, as arguments of cargo.
fn docs_rs(folder: &Path) -> anyhow::Result<Vec<String>> {
    let asked = Command::new("cargo")
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(folder)
        .output()
        .context("cannot start cargo")?;
    ensure!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr).trim());
    let told: Value = serde_json::from_slice(&asked.stdout)?;
    let wishes = &told["packages"][0]["metadata"]["docs"]["rs"];
    ensure!(wishes.is_object(), "{} has no [package.metadata.docs.rs]", folder.display());
    let mut arguments = ["doc", "--lib", "--no-deps"].map(str::to_owned).to_vec();
    if wishes["all-features"] == true {
        arguments.push("--all-features".to_owned());
    }
    for feature in wishes["features"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        arguments.extend(["--features".to_owned(), feature.to_owned()]);
    }
    Ok(arguments)
}
