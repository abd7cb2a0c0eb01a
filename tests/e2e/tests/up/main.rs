//! `up`, `status` and `down` as a user types them, on the real cluster with the stand-in images.

mod alone;
mod check;
mod down;
mod edits;
mod failures;
mod gitops;
mod held;
mod interrupted;
mod life;
mod live;
mod name_servers;
mod phone;
mod repair;
mod rights;
mod screens;
mod secrets;
mod services;
mod strict;
mod surroundings;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::Ran;
use clearwater_testbed::Kubectl;
use serde_json::Value;

const COMPONENTS: usize = 11;
/// No case takes longer, even where the machine is busy with others.
const PATIENCE: Duration = Duration::from_secs(240);

const NAMES: [&str; COMPONENTS] = [
    "etcd",
    "astaire",
    "cassandra",
    "chronos",
    "homestead",
    "homestead-prov",
    "homer",
    "ralf",
    "sprout",
    "bono",
    "ellis",
];

/// What happened, event by event.
fn kinds(ran: &Ran) -> Result<Vec<Value>> {
    Ok(ran.events()?.into_iter().map(|e| e["what"].clone()).collect())
}

/// How a run says it ended.
fn outcome(ran: &Ran) -> Result<String> {
    let last = kinds(ran)?.pop().context("no event at all")?;
    ensure!(last["kind"] == "runFinished", "the last event is {last}");
    Ok(last["outcome"].as_str().unwrap_or_default().to_owned())
}

fn is(event: &Value, kind: &str, component: &str) -> bool {
    event["kind"] == kind && event["component"] == component
}

/// A deployment file.
fn file(text: &str) -> Result<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("deployment-{}-{}.yaml", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, format!("apiVersion: clearwater/v1\n{text}"))?;
    Ok(path.to_string_lossy().into_owned())
}

/// A deployment file of components that ask for little: stand-ins need no more, and others may be on the same nodes.
fn small_file(text: &str) -> Result<String> {
    let small = NAMES.map(|name| format!("  {name}: {{resources: {{requests: {{cpu: 20m, memory: 32Mi}}}}}}\n"));
    file(&format!("{text}components:\n{}", small.concat()))
}

/// The pods' names with their uids, by component, those on their way out left out.
fn pods(kubectl: &Kubectl) -> Result<Vec<(String, String)>> {
    let list = kubectl.json(["get", "pods"])?;
    let mut all: Vec<_> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|p| p["metadata"]["deletionTimestamp"].is_null() && p["metadata"]["labels"]["service"].is_string())
        .map(|p| {
            let text = |key: &str| p["metadata"][key].as_str().unwrap_or_default().to_owned();
            (text("name"), text("uid"))
        })
        .collect();
    all.sort();
    Ok(all)
}
