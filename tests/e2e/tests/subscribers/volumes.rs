//! Subscribers, their settings and Ellis' accounts outlive their pods where these have volumes, and `down`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::Value;

use crate::{NAMES, PATIENCE, file_with};

const LINES: &str = "12";
/// Images of another tag: the same programs, slower.
const OTHER: &str = "docker.io/ollivier/clearwater-";

struct Place<'c> {
    plugin: &'c Plugin,
    kubectl: &'c Kubectl,
    folder: PathBuf,
    members: u32,
}

impl Place<'_> {
    fn file(&self, tag: Option<&str>) -> Result<String> {
        let members = self.members;
        file_with(&format!("volumes-{members}"), |name| {
            let image = tag.map_or_else(String::new, |tag| format!(", image: '{OTHER}{name}:{tag}'"));
            let slow = "STANDIN_BOOT_DELAY_MS: 0, STANDIN_JOIN_DELAY_MS: 1000";
            let env = tag.map_or_else(String::new, |_| format!(", env: {{{slow}}}"));
            match name {
                "cassandra" => format!(", replicas: {members}, storage: {{persistent: true, size: 64Mi}}{image}{env}"),
                "ellis" => format!(", storage: {{persistent: true, size: 64Mi}}{image}{env}"),
                _ => String::new(),
            }
        })
    }

    fn up(&self, more: &[&str], file: &str) -> Result<String> {
        let only = NAMES.join(",");
        let ran = self.plugin.run_within(PATIENCE, &[&["up", "--yes", "--only", &only, "-f", file], more].concat())?;
        Ok(ran.expect(0)?.said())
    }

    /// What was put there is there, identity by identity, digest, settings and owners.
    fn is_whole(&self, after: &str) -> Result<()> {
        let backup = self.folder.join("kept.zip").to_string_lossy().into_owned();
        let ran = self.plugin.run(&["restore", &backup, "--yes", "-o", "json"])?;
        ensure!(ran.code == 0, "after {after}: {}", ran.said());
        let told: Value = serde_json::from_str(&ran.out).with_context(|| ran.said())?;
        ensure!(told["outcome"] == "nothingToDo" && told["differences"] == serde_json::json!([]), "{after}: {told}");
        Ok(())
    }

    fn members(&self) -> impl Iterator<Item = String> {
        (0..self.members).map(|n| format!("cassandra-{n}"))
    }

    /// Removes the pods, and waits until those that come after them serve. The tool has no part in it.
    fn without(&self, args: &[&str]) -> Result<()> {
        for pod in self.members() {
            let uid =
                || self.kubectl.run(["get", "pod", &pod, "--ignore-not-found", "--output=jsonpath={.metadata.uid}"]);
            let before = uid()?;
            self.kubectl.run([&["delete", "pod", pod.as_str()], args].concat())?;
            wait_for("the next pod of cassandra", Duration::from_secs(120), || {
                let now = uid()?;
                Ok(if now.is_empty() || now == before { Attempt::not_yet(now) } else { Attempt::Done(()) })
            })?;
            self.kubectl.run(["wait", "--for=condition=Ready", "--timeout=180s", "pod", &pod])?;
        }
        self.kubectl.run([&["delete", "pod", "--selector=service=ellis"], args].concat())?;
        self.kubectl.run(["rollout", "status", "deployment/ellis", "--timeout=180s"])?;
        Ok(())
    }
}

/// What is left of a deployment. A claim that was removed stands until nobody holds it, and so does etcd's.
fn left_in(kubectl: &Kubectl) -> Result<Vec<String>> {
    let all = kubectl.run(["get", "all,pvc,secrets", "--output=name"])?;
    Ok(all.lines().filter(|l| !l.ends_with("/data-etcd-0")).map(str::to_owned).collect())
}

fn gone(kubectl: &Kubectl) -> Result<()> {
    wait_for("nothing to be left", Duration::from_secs(30), || {
        let left = left_in(kubectl)?;
        Ok(if left.is_empty() { Attempt::Done(()) } else { Attempt::not_yet(left.join(" ")) })
    })
}

fn outlives(members: u32) -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace(&format!("e2e-volumes-{members}"))?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let kubectl = namespace.kubectl();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("volumes-{members}-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let place = Place { plugin: &plugin, kubectl, folder, members };
    let file = place.file(None)?;
    let told = place.up(&[], &file)?;
    ensure!(!told.contains("die with these"), "{told}");
    let status = plugin.run(&["status"])?.expect(0)?;
    ensure!(
        status.out.contains("data-cassandra-0 (class ") && status.out.contains("data-ellis (class "),
        "{}",
        status.out
    );
    ensure!(status.out.contains(" % full)") && status.out.contains("no backup is known of"), "{}", status.out);
    plugin.run(&["subscriber", "create", "--count", LINES])?.expect(0)?;
    plugin.run(&["subscriber", "create", "--count", "2", "--account", "bob@example.com"])?.expect(0)?;
    let backup = place.folder.join("kept.zip").to_string_lossy().into_owned();
    plugin.run(&["backup", "--to", &backup])?.expect(0)?;
    let status = plugin.run(&["status"])?.expect(0)?;
    ensure!(status.out.contains("the last backup is of 20"), "{}", status.out);
    let metrics = plugin.run(&["status", "--metrics"])?.expect(0)?.out;
    let sample = format!("clearwater_data_persistent{{namespace=\"{}\",component=\"ellis\"", namespace.name());
    let last = metrics
        .lines()
        .find_map(|line| line.strip_prefix("clearwater_last_backup_timestamp_seconds{")?.split(' ').nth(1));
    ensure!(last.is_some_and(|last| last != "0"), "{metrics}");
    ensure!(metrics.contains(&sample) && metrics.contains("clearwater_data_used_bytes{"), "{metrics}");
    place.is_whole("nothing")?;

    place.without(&[])?;
    let told = place.up(&[], &file)?;
    ensure!(!told.contains("cw-mark_node_failed"), "{told}");
    place.is_whole("pods that were deleted")?;
    place.without(&["--force", "--grace-period=0"])?;
    let told = place.up(&[], &file)?;
    ensure!(!told.contains("cw-mark_node_failed"), "{told}");
    place.is_whole("pods that were deleted by force")?;

    let newer = place.file(Some("hunter-lifelike"))?;
    let told = place.up(&["--replace-stores"], &newer)?;
    ensure!(!told.contains("would lose"), "{told}");
    let images = kubectl.run(["get", "pods", "--output=jsonpath={..image}"])?;
    ensure!(images.contains("cassandra:hunter-lifelike") && images.contains("ellis:hunter-lifelike"), "{images}");
    place.is_whole("a new image")?;

    let down = plugin.run_within(PATIENCE, &["down", "--yes"])?.expect(0)?.said();
    let left = "persistentvolumeclaim/data-cassandra-0";
    ensure!(down.contains(left) && down.contains("persistentvolumeclaim/data-ellis"), "{down}");
    ensure!(down.contains("secret/clearwater-keys") && down.contains("--delete-volumes"), "{down}");
    let all = left_in(kubectl)?;
    ensure!(all.len() == usize::try_from(members)? + 2, "{all:?}");
    place.up(&[], &file)?;
    place.is_whole("down and up")?;

    plugin.run_within(PATIENCE, &["down", "--yes", "--delete-volumes"])?.expect(0)?;
    gone(kubectl)?;
    std::fs::remove_dir_all(&place.folder)?;
    Ok(())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn what_is_on_volumes_outlives_its_pods() -> Result<()> {
    outlives(1)
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn each_of_three_members_is_known_again() -> Result<()> {
    outlives(3)
}

/// Without a volume all is as it was, and said.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn what_dies_with_its_pods_is_said_at_the_end() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-volumes-none")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let file = file_with("volumes-none", |name| match name {
        "cassandra" | "ellis" => ", storage: {persistent: false}".to_owned(),
        _ => String::new(),
    })?;
    let only = NAMES.join(",");
    let ran = plugin.run_within(PATIENCE, &["up", "--yes", "--only", &only, "-f", &file, "-o", "json"])?.expect(0)?;
    let lines: Vec<&str> = ran.out.lines().collect();
    let last = lines.len().checked_sub(2).and_then(|n| lines.get(n)).context("no lines")?;
    ensure!(last.contains("cassandra keeps subscribers and their settings in its pods"), "{last}");
    ensure!(last.contains("ellis keeps accounts in its pods"), "{last}");
    let claims = namespace.kubectl().run(["get", "pvc", "--output=name"])?;
    ensure!(!claims.contains("cassandra") && !claims.contains("ellis"), "{claims}");
    plugin.run_within(PATIENCE, &["down", "--yes"])?.expect(0)?;
    gone(namespace.kubectl())
}
