//! `scale` and `autoscale` as a user types them, on the real cluster with the stand-in images.

mod calls;
mod classic;
mod deployments;
mod exposed;
mod refused;
mod stores;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater::component::{Component, Release, catalogue};
use clearwater_e2e::{Plugin, Ran};
use serde_json::Value;

/// No case takes longer, even where the machine is busy with others.
const PATIENCE: Duration = Duration::from_secs(240);

/// How a run says it ended.
fn outcome(ran: &Ran) -> Result<String> {
    let last = ran.events()?.pop().context("no event at all")?;
    ensure!(last["what"]["kind"] == "runFinished", "the last event is {last}");
    Ok(last["what"]["outcome"].as_str().unwrap_or_default().to_owned())
}

fn is(event: &Value, kind: &str, component: &str) -> bool {
    event["kind"] == kind && event["component"] == component
}

/// A deployment file, whose pods ask for little: others may be on the same nodes.
fn file(text: &str) -> Result<String> {
    file_of(Release::Hunter, text)
}

fn file_of(release: Release, text: &str) -> Result<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("scale-{}-{}.yaml", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut all = format!("apiVersion: clearwater/v1\nrelease: {}\n{text}components:\n", release.name());
    for component in catalogue(release) {
        let image = match (release, component.component) {
            (Release::Classic, Component::Etcd) => ", image: 'localhost/clearwater-classic/etcd:2016'",
            _ => "",
        };
        let name = component.component;
        let line = format!("  {name}: {{resources: {{requests: {{cpu: 20m, memory: 32Mi}}}}{image}}}\n");
        all.push_str(&line);
    }
    std::fs::write(&path, all)?;
    Ok(path.to_string_lossy().into_owned())
}

/// Scales, and again, which finds nothing to do.
fn scale(plugin: &Plugin, targets: &[&str]) -> Result<Ran> {
    let args: Vec<&str> = ["scale"].into_iter().chain(targets.iter().copied()).chain(["--yes"]).collect();
    let ran = plugin.follow(&args)?.finish(PATIENCE)?.0.expect(0)?;
    ensure!(outcome(&ran)? == "done", "{}", ran.out);
    let again = plugin.follow(&args)?.finish(PATIENCE)?.0.expect(0)?;
    ensure!(outcome(&again)? == "nothingToDo", "{}", again.out);
    Ok(ran)
}
