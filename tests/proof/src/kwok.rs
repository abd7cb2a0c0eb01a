//! A thousand containers that KWOK plays behind the real API server.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clearwater_e2e::cluster;
use clearwater_testbed::{Attempt, Local, wait_for};
use serde_json::json;

use crate::common::shipped;
use crate::{go, measured};
use xtask::steps::say;

const PODS: usize = 1000;
const NODES: usize = 10;
const PORT: u16 = 10350;
const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(120);

/// Ends a process when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// KWOK in the network of node 1, whose certificate it serves with: the API server trusts that one.
fn kwok(local: &Local, work: &Path) -> Result<Running> {
    let program = go::program(go::KWOK)?;
    let log = work.join("container.log");
    let line =
        |n: u32| format!("2026-11-23T10:00:{:02}.{n:09}Z stdout F line {n} of a container that is none\n", n % 60);
    fs::write(&log, (1..=5).map(line).collect::<String>())?;
    let config = work.join("kwok.yaml");
    let logs = json!({"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "ClusterLogs", "metadata": {"name": "all"},
        "spec": {"logs": [{"logsFile": log.display().to_string(), "follow": true}]}});
    let mut text = format!("---\n{logs}\n");
    for stage in
        ["node/fast/node-initialize", "node/heartbeat-with-lease/node-heartbeat-with-lease", "pod/fast/pod-ready"]
    {
        let path = go::source(go::KWOK_MODULE)?.join("kustomize/stage").join(stage).with_extension("yaml");
        let stage = fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
        // KWOK's containers have no ID, and of a container without one stern takes it that there are no logs yet.
        text += &format!("---\n{}\n", stage.replace("ready: true", "containerID: kwok://none\n        ready: true"));
    }
    fs::write(&config, text)?;
    let (certificate, key) = local.node_certificate(1);
    let child = local
        .on_node(1, &program.display().to_string())
        .arg(format!("--kubeconfig={}", local.layout().kubeconfig().display()))
        .arg(format!("--config={}", config.display()))
        .args(["--manage-nodes-with-label-selector=type=kwok", "--node-lease-duration-seconds=40"])
        .arg(format!("--node-ip={}", local.addresses().node(1)))
        .arg(format!("--node-port={PORT}"))
        .arg(format!("--server-address=0.0.0.0:{PORT}"))
        .arg(format!("--tls-cert-file={}", certificate.display()))
        .arg(format!("--tls-private-key-file={}", key.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(work.join("kwok.err"))?)
        .spawn()
        .context("cannot start kwok")?;
    Ok(Running(child))
}

fn list(items: &[serde_json::Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn node(n: usize) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("kwok-{n}"), "labels": {"type": "kwok"},
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"}},
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]}})
}

fn pod(n: usize) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("kwok-{n:04}"), "labels": {"crowd": "kwok"}},
        "spec": {"nodeName": format!("kwok-{}", n % NODES), "tolerations": [{"operator": "Exists"}],
            "automountServiceAccountToken": false,
            "containers": [{"name": "none", "image": "none.invalid/none"}]}})
}

/// What one run showed.
struct Round {
    /// From the start of the program to the first line of the first, the middle and the last container.
    first: [Duration; 3],
    /// The most memory, in KiB.
    memory: u64,
    cpu: f64,
    connections: usize,
}

/// Follows until every container has printed its first line. `pod_of` finds the pod's name in a line.
fn follow(command: &mut Command, pod_of: impl Fn(&str) -> Option<String>) -> Result<Round> {
    let began = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut running = Running(child);
    let out = BufReader::new(running.0.stdout.take().context("no output")?);
    // A program that prints nothing more must not keep the proof waiting.
    let (lines, seen) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if lines.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    let mut pods: HashMap<String, Duration> = HashMap::new();
    while pods.len() < PODS {
        let Ok((at, line)) = seen.recv_timeout(LIMIT.saturating_sub(began.elapsed())) else {
            bail!("only {} of {PODS} containers had printed a line after {:?}", pods.len(), began.elapsed());
        };
        if let Some(pod) = pod_of(&line) {
            pods.entry(pod).or_insert(at - began);
        }
    }
    let connections = fs::read_dir(format!("/proc/{}/fd", running.0.id()))
        .map(|d| {
            d.flatten()
                .filter(|f| fs::read_link(f.path()).is_ok_and(|l| l.to_string_lossy().starts_with("socket:")))
                .count()
        })
        .unwrap_or_default();
    // What comes a little later counts for the memory as well.
    std::thread::sleep(Duration::from_secs(2));
    let round = {
        let mut times: Vec<Duration> = pods.into_values().collect();
        times.sort();
        let first = [times[0], times[PODS / 2], times[PODS - 1]];
        Round { first, memory: measured::peak(&running.0), cpu: measured::cpu(&running.0)?, connections }
    };
    drop(seen);
    running.0.kill()?;
    let _ = reader.join();
    Ok(round)
}

fn row(page: &mut String, tool: &str, rounds: &[Round], wanted: bool) -> Result<()> {
    let median = |of: &dyn Fn(&Round) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let at = |n: usize| median(&|r: &Round| r.first[n].as_secs_f64());
    let worst = rounds.iter().map(|r| r.first[2].as_secs_f64()).fold(0.0, f64::max);
    let memory = rounds.iter().map(|r| r.memory).max().unwrap_or_default() / 1024;
    let met = if !wanted {
        "-"
    } else if at(2) <= 3.0 && memory < 150 {
        "yes"
    } else {
        "**no**"
    };
    writeln!(
        page,
        "| {tool} | {:.2} | {:.2} | {:.2} | {worst:.2} | {memory} | {:.2} | {} | {met} |",
        at(0),
        at(1),
        at(2),
        median(&|r: &Round| r.cpu),
        rounds.iter().map(|r| r.connections).max().unwrap_or_default(),
    )?;
    Ok(())
}

/// Runs it.
pub(crate) fn run() -> Result<String> {
    let program = shipped()?;
    let stern = go::program(go::STERN)?;
    let local = cluster().local()?;
    let namespace = cluster().namespace("e2e-kwok")?;
    let kubectl = namespace.kubectl();
    let work = std::env::temp_dir().join(format!("clearwater-kwok-{}", std::process::id()));
    fs::create_dir_all(&work)?;
    let kwok = kwok(local, &work)?;
    say(&format!("==> {PODS} pods on {NODES} nodes of KWOK"));
    local.kubectl().apply(&list(&(0..NODES).map(node).collect::<Vec<_>>()))?;
    let result = (|| {
        for chunk in (0..PODS).collect::<Vec<_>>().chunks(250) {
            kubectl.apply(&list(&chunk.iter().map(|n| pod(*n)).collect::<Vec<_>>()))?;
        }
        wait_for("every pod to run", Duration::from_secs(300), || {
            let running = kubectl.run(["get", "pods", "--field-selector=status.phase=Running", "--output=name"])?;
            let count = running.lines().count();
            Ok(if count == PODS { Attempt::Done(()) } else { Attempt::not_yet(format!("{count} run")) })
        })?;
        let kubeconfig = local.layout().kubeconfig();
        let here = ["-n", namespace.name()];
        let mut ours = Vec::new();
        for n in 0..=ROUNDS {
            say(&format!("==> logs, round {n}"));
            let mut command = Command::new(&program);
            command.args(["logs", "--pod", "^kwok-", "--source", "stdout"]).args(here).env("KUBECONFIG", &kubeconfig);
            let round = follow(&mut command, |line| line.split(' ').next().map(str::to_owned))?;
            if n > 0 {
                ours.push(round);
            }
        }
        say("==> stern");
        let mut command = Command::new(&stern);
        command.args(["^kwok-", "--max-log-requests", "2000", "--qps", "-1", "--since", "87600h", "--only-log-lines"]);
        command.args(here).env("KUBECONFIG", &kubeconfig);
        let theirs = follow(&mut command, |line| line.split(' ').next().map(str::to_owned));
        let mut page = format!(
            "{PODS} containers on {NODES} nodes that KWOK v0.8.0 plays behind the real API server, each with five lines in its \
             log, followed with the default options; seconds from the start of the program to the first line of the first, \
             the middle and the last container (medians of {ROUNDS} rounds after one that is not counted, and the worst). \
             The API server, KWOK and the tool share this machine. Wanted: the last one's first line within 3 s, memory \
             below 150 MiB.\n\n\
             | tool | first | middle | last | worst last | peak MiB | processor s | sockets | met |\n|---|---|---|---|---|---|---|---|---|\n"
        );
        row(&mut page, "logs", &ours, true)?;
        match theirs {
            Ok(round) => row(&mut page, "stern `--max-log-requests 2000 --qps -1`", &[round], false)?,
            Err(error) => writeln!(page, "| stern | {error:#} | | | | | | | |")?,
        }
        Ok(page)
    })();
    say("==> away with it");
    let _ = kubectl.run(["delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false"]);
    let _ = local.kubectl().run(["delete", "nodes", "--selector=type=kwok", "--wait=false"]);
    drop(kwok);
    let mut err = File::open(work.join("kwok.err")).map(BufReader::new)?;
    if result.is_err() {
        let mut said = String::new();
        let _ = std::io::Read::read_to_string(&mut err, &mut said);
        let tail: Vec<&str> = said.lines().rev().take(10).collect();
        let _ = std::io::stderr().write_all(tail.join("\n").as_bytes());
    }
    fs::remove_dir_all(&work)?;
    result
}
