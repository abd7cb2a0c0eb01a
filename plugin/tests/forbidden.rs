//! What each command does where one kind of thing is forbidden: it says which, and "all is well" is never said by one that
//! needed it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "server/mod.rs"]
mod server;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clearwater_kube::owner::{CREATED, ORIGIN_ANNOTATION};
use clearwater_kube::rights::{Scope, Task, When};
use serde_json::{Value, json};

use server::{Manners, Server};

/// Commands with the tasks whose rights they take.
const COMMANDS: [(&str, Task); 14] = [
    ("up --dry-run", Task::Up),
    ("diff", Task::Up),
    ("up --yes --timeout 10s", Task::Up),
    ("status --timeout 6s", Task::Status),
    ("check --timeout 20s", Task::Check),
    ("report --timeout 20s --to r.zip", Task::Report),
    ("scale sprout 2 --yes --timeout 10s", Task::Scale),
    ("autoscale --list", Task::Autoscale),
    ("down --yes --timeout 10s", Task::Down),
    ("logs --no-follow", Task::Logs),
    ("trace someone", Task::Logs),
    ("dns-patch --check --backend pods", Task::DnsPods),
    ("dns-patch --check --backend endpoints", Task::DnsEndpoints),
    ("dns-patch --check --backend coredns", Task::DnsCoredns),
];

const KINDS: [&str; 12] = [
    "pods",
    "services",
    "configmaps",
    "secrets",
    "deployments",
    "statefulsets",
    "endpointslices",
    "events",
    "pods/exec",
    "pods/log",
    "nodes",
    "resourcequotas",
];

fn plugin(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
    command.args(line.split_whitespace()).current_dir(dir).env_clear();
    command.env("HOME", dir).env("KUBECONFIG", dir.join("kubeconfig")).stdin(Stdio::null());
    command
}

/// The exit code, and all that was said.
fn run(dir: &Path, line: &str) -> (i32, String) {
    let out = plugin(dir, line).args(["--request-timeout", "2s", "-n", "ims"]).output().unwrap();
    (out.status.code().unwrap(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

/// A deployment that stands, as far as objects tell: workloads that are rolled out, and their pods.
fn deployment(dir: &Path) -> Vec<Value> {
    let rendered = plugin(dir, "render -n ims -o json").output().unwrap();
    let list: Value = serde_json::from_slice(&rendered.stdout).unwrap();
    let mut objects = list["items"].as_array().unwrap().clone();
    let mut pods = Vec::new();
    for (n, object) in objects.iter_mut().enumerate() {
        object["metadata"]["uid"] = format!("uid-{n}").into();
        object["metadata"]["resourceVersion"] = "1".into();
        object["metadata"]["annotations"][ORIGIN_ANNOTATION] = CREATED.into();
        if !matches!(object["kind"].as_str(), Some("Deployment" | "StatefulSet")) {
            continue;
        }
        object["metadata"]["generation"] = 1.into();
        let one = object["spec"]["replicas"].as_u64().unwrap_or(1);
        object["status"] = json!({"observedGeneration": 1, "replicas": one, "readyReplicas": one, "updatedReplicas": one,
            "availableReplicas": one, "currentReplicas": one});
        let template = object["spec"]["template"].clone();
        let name = object["metadata"]["name"].as_str().unwrap();
        let states: Vec<Value> = template["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| {
                json!({"name": c["name"], "image": c["image"], "imageID": "", "containerID": "c://1", "ready": true,
                "started": true, "restartCount": 0, "state": {"running": {"startedAt": "2026-11-28T00:00:00Z"}}})
            })
            .collect();
        let (owner, owner_name) = match object["kind"].as_str() {
            Some("Deployment") => ("ReplicaSet", format!("{name}-5f6c9d7b8")),
            _ => ("StatefulSet", name.to_owned()),
        };
        pods.push(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{name}-0"), "namespace": "ims", "uid": format!("pod-{n}"), "resourceVersion": "1",
                "labels": template["metadata"]["labels"],
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": owner, "name": owner_name, "controller": true,
                    "uid": object["metadata"]["uid"]}]},
            "spec": template["spec"],
            "status": {"phase": "Running", "podIP": format!("10.0.0.{n}"), "podIPs": [{"ip": format!("10.0.0.{n}")}],
                "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": states}}));
    }
    // Every Service has an endpoint that is ready.
    let slices: Vec<Value> = objects
        .iter()
        .filter(|o| o["kind"] == "Service")
        .enumerate()
        .map(|(n, service)| {
            let name = service["metadata"]["name"].as_str().unwrap();
            let selected = &service["spec"]["selector"]["service"];
            let endpoints: Vec<Value> = pods
                .iter()
                .filter(|pod| pod["metadata"]["labels"]["service"] == *selected)
                .map(|pod| {
                    json!({"addresses": [pod["status"]["podIP"]], "conditions": {"ready": true, "serving": true},
                        "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"]}})
                })
                .collect();
            let ports: Vec<Value> = service["spec"]["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|p| json!({"name": p["name"], "port": p["port"], "protocol": "TCP"}))
                .collect();
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": ports,
                "metadata": {"name": name, "namespace": "ims", "uid": format!("slice-{n}"), "resourceVersion": "1",
                    "labels": {"kubernetes.io/service-name": name}},
                "endpoints": endpoints})
        })
        .collect();
    objects.extend(slices);
    let keys: Value = ["turn_workaround", "signup_key", "ellis_api_key", "ellis_cookie_key"]
        .map(|k| (k.to_owned(), json!("eA==")))
        .into_iter()
        .collect();
    objects.extend(pods);
    objects
        .push(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "clearwater-keys", "namespace": "ims",
        "resourceVersion": "1"}, "data": keys}));
    objects
}

/// A line as it is the same in every run, cut: which of several pods is told of first is chance.
fn without_times(line: &str) -> String {
    let line = match line.split_once(" ms ").or_else(|| line.split_once(" s ")) {
        Some((time, rest)) if time.trim().parse::<f32>().is_ok() => rest.trim(),
        _ => line,
    };
    let line =
        line.split_once(" cannot be read").map_or(line.to_owned(), |(_, rest)| format!("… cannot be read{rest}"));
    let line = line.split_once(" since ").map_or(line.clone(), |(head, _)| head.to_owned());
    line.chars().take(140).collect()
}

/// Whether a task cannot do without a resource of the namespace.
fn is_needed(task: Task, resource: &str) -> bool {
    task.rules().any(|rule| {
        rule.without.is_none()
            && rule.scope == Scope::Namespace
            && rule.when == When::Always
            && rule.resources.contains(&resource)
    })
}

/// What the run does not come to here, because nobody answers inside these pods.
fn is_hidden(task: Task, kind: &str) -> bool {
    matches!(task, Task::DnsEndpoints | Task::DnsCoredns) && kind == "services"
}

#[test]
fn one_kind_after_the_other() {
    let home = tempfile::tempdir().unwrap();
    let objects = deployment(home.path());
    let rows = Mutex::new(vec![String::new(); KINDS.len() * COMMANDS.len()]);
    let wrong = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(kind), (line, task)) = (KINDS.get(n / COMMANDS.len()), COMMANDS[n % COMMANDS.len()])
                    else {
                        return;
                    };
                    // They ask for nothing else, and try for half a minute what nobody answers here.
                    if task == Task::Logs && !kind.starts_with("pods") {
                        continue;
                    }
                    let dir = tempfile::tempdir().unwrap();
                    Server::with(Manners::Forbidding(kind), objects.clone())
                        .kubeconfig(&dir.path().join("kubeconfig"), None);
                    let (code, said) = run(dir.path(), line);
                    let words = said.lines().find(|l| l.contains(kind)).unwrap_or_default().trim().to_owned();
                    if is_needed(task, kind) && !is_hidden(task, kind) && (code == 0 || words.is_empty()) {
                        wrong.lock().unwrap().push(format!("{kind} forbidden, {line}: {code}\n{said}"));
                    }
                    let words = without_times(&words);
                    rows.lock().unwrap()[n] = format!("{line}: {code} {words}").trim_end().to_owned();
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap();
    let mut table = String::new();
    for (kind, rows) in KINDS.iter().zip(rows.chunks(COMMANDS.len())) {
        let rows: Vec<&str> = rows.iter().map(String::as_str).filter(|row| !row.is_empty()).collect();
        writeln!(table, "{kind}\n  {}", rows.join("\n  ")).unwrap();
    }
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    insta::assert_snapshot!(table);
}

/// Who may not write is told so before anything is, with the rights that are missing.
#[test]
fn who_may_not_autoscale_is_told_which_rights_that_takes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with(Manners::Forbidding("horizontalpodautoscalers"), deployment(dir.path()));
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    for (line, expected, rights) in [
        ("autoscale --list", 1, "the right to list horizontalpodautoscalers.autoscaling"),
        (
            "autoscale sprout --max 3",
            4,
            "the rights to create horizontalpodautoscalers.autoscaling, list horizontalpodautoscalers.autoscaling, patch \
             horizontalpodautoscalers.autoscaling",
        ),
        (
            "autoscale sprout --remove",
            4,
            "the rights to delete horizontalpodautoscalers.autoscaling, list horizontalpodautoscalers.autoscaling",
        ),
    ] {
        let (code, said) = run(dir.path(), line);
        let is_told = said.contains(&format!("namespace ims: needs {rights}"));
        assert!(code == expected && is_told, "{line}: {code} {said}");
    }
}

/// What may not be read for want of one right is one line.
#[test]
fn a_report_goes_to_standard_output_and_says_few_words() {
    let home = tempfile::tempdir().unwrap();
    Server::with(Manners::Forbidding("pods/exec"), deployment(home.path()))
        .kubeconfig(&home.path().join("kubeconfig"), None);
    let mut report = plugin(home.path(), "report --timeout 20s -n ims --request-timeout 2s --to -");
    let out = report.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    let archive = zip::ZipArchive::new(std::io::Cursor::new(&out.stdout)).unwrap();
    assert!(archive.file_names().any(|name| name == "report.json"), "{said}");
    assert!(!home.path().join("-").exists());
    let told: Vec<&str> = said.lines().filter(|line| line.contains("pods/exec")).collect();
    assert!(told.len() == 1 && told[0].contains(" parts that need get and create pods/exec, as "), "{said}");
}

/// Each command, with the token good for a few more requests each time, until it makes no more.
#[test]
fn a_token_that_runs_out_in_the_middle() {
    let home = tempfile::tempdir().unwrap();
    let objects = deployment(home.path());
    let wrong = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some((line, _)) = COMMANDS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for good in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89] {
                        let dir = tempfile::tempdir().unwrap();
                        let server = Server::with(Manners::Expiring(good), objects.clone());
                        server.kubeconfig(&dir.path().join("kubeconfig"), None);
                        let (code, said) = run(dir.path(), line);
                        if server.requests().len() <= good {
                            break;
                        }
                        // `check` tells of each thing the first reason alone.
                        let told = ["Unauthorized", "not everything could be looked at", "could not be made"]
                            .iter()
                            .any(|words| said.contains(words));
                        // Whose own time is short may have ended for that before it was refused.
                        let late = matches!(code, 3..=5) || said.contains("no answer from the API server within");
                        let ended = line.contains("--timeout") && late && code != 0;
                        if said.contains("Status {") || !(ended || code == 1 && told) {
                            wrong.lock().unwrap().push(format!("{line}, good for {good}: {code}\n{said}"));
                        }
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
