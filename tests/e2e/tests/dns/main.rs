//! `dns-patch` as a user types it, on the real cluster: names put in, proved by calls, and taken out without a trace.

mod calls;
mod corefiles;
mod interrupted;
mod neighbours;
mod rights;

/// What breaks the cluster's DNS, or starts it anew, runs by itself.
mod alone {
    mod by_hand;
    mod faults;
    mod keys;
    mod strange;
}

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clearwater_e2e::Plugin;
use clearwater_testbed::{Attempt, Kubectl, wait_for};

/// No case takes longer, even where the machine is busy with others.
const PATIENCE: Duration = Duration::from_secs(120);

/// A deployment file of the classic release.
fn file(more: &str) -> Result<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("classic-{}-{}.yaml", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let text = "apiVersion: clearwater/v1\nrelease: classic\n\
        images: {registry: localhost/clearwater-classic, prefix: \"\", tag: '2016'}\nkeys: upstream\n\
        components:\n  etcd: {image: 'localhost/clearwater-classic/etcd:2016'}\n";
    std::fs::write(&path, format!("{text}{more}"))?;
    Ok(path.to_string_lossy().into_owned())
}

/// A Service sprout with a pod that stands for its own.
fn sprout(kubectl: &Kubectl) -> Result<()> {
    let objects = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "sprout"},
            "spec": {"clusterIP": "None", "selector": {"service": "sprout"}, "ports": [{"name": "scscf", "port": 5054}]},
        },
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sprout", "labels": {"service": "sprout"}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "sprout",
                    "image": "localhost/clearwater-tools:1",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "3600"],
                }],
            },
        },
    ]});
    kubectl.apply(&objects.to_string())?;
    kubectl.run(["wait", "--for=condition=Ready", "--timeout=60s", "pod/sprout"])?;
    Ok(())
}

/// Starts the plugin, and kills it without a word as soon as it says so.
fn killed_after(plugin: &Plugin, args: &[&str], words: &str) -> Result<()> {
    let mut child = plugin.spawn(args)?;
    let errors = child.stderr.take().context("no standard error")?;
    let mut said = String::new();
    for line in BufReader::new(errors).lines() {
        let line = line?;
        said.push_str(&format!("{line}\n"));
        if line.contains(words) {
            // SIGKILL.
            child.kill()?;
            let status = child.wait()?;
            ensure!(!status.success() && status.code().is_none(), "it ended by itself: {status}\n{said}");
            return Ok(());
        }
    }
    let status = child.wait()?;
    bail!("it never said {words:?}, and ended with {status}:\n{said}")
}

/// The cluster's Corefile, put back as it was when the test ends in whatever way. One test at a time has it.
struct Corefile {
    kubectl: Kubectl,
    before: String,
    _turn: MutexGuard<'static, ()>,
}

impl Corefile {
    fn keep(kubectl: &Kubectl) -> Result<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let kubectl = kubectl.in_namespace("kube-system");
        let before = Self::read(&kubectl)?;
        ensure!(!before.contains("kubectl-clearwater"), "an earlier test left its lines:\n{before}");
        Ok(Self { kubectl, before, _turn: turn })
    }

    fn read(kubectl: &Kubectl) -> Result<String> {
        let map = kubectl.json(["get", "configmap", "coredns"])?;
        Ok(map["data"]["Corefile"].as_str().context("no Corefile")?.to_owned())
    }

    fn now(&self) -> Result<String> {
        Self::read(&self.kubectl)
    }

    fn write(&self, text: &str) -> Result<()> {
        let patch = serde_json::json!({"data": {"Corefile": text}}).to_string();
        self.kubectl.run(["patch", "configmap", "coredns", "--type=merge", "--patch", &patch]).map(drop)
    }

    /// Not a byte is left of what was put in.
    fn unchanged(&self) -> Result<()> {
        let now = self.now()?;
        ensure!(now == self.before, "the Corefile is not as it was:\n{now}");
        Ok(())
    }

    /// Waits until our lines stand.
    fn await_lines(&self, namespace: &str) -> Result<String> {
        wait_for("our lines in the Corefile", PATIENCE, || {
            let now = self.now()?;
            let mark = format!("# kubectl-clearwater {namespace}\n");
            Ok(if now.contains(&mark) { Attempt::Done(now) } else { Attempt::not_yet(String::new()) })
        })
    }
}

impl Drop for Corefile {
    fn drop(&mut self) {
        if self.now().is_ok_and(|now| now != self.before) {
            let _ = self.write(&self.before);
        }
    }
}
