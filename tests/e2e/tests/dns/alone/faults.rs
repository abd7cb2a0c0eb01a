use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, Ran, cluster};
use clearwater_testbed::{Attempt, Cluster, Fault, Kubectl, Rights, Rule, wait_for};
use serde_json::json;

use crate::{Corefile, PATIENCE, file};

const PUT: [&str; 4] = ["dns-patch", "--backend", "coredns", "--yes"];

fn put(plugin: &Plugin, more: &[&str]) -> Result<Ran> {
    let path = file("")?;
    let mut args = PUT.to_vec();
    args.extend(["-f", &path]);
    args.extend(more);
    plugin.run_within(PATIENCE, &args)
}

/// A process of CoreDNS in this cluster, among all that run on the machine, other than these.
fn coredns_process(cluster: &Cluster, other_than: &[u32]) -> Result<Option<u32>> {
    let group = format!("clearwater-{}", cluster.local()?.layout().name());
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let text = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let ours = text("cgroup").lines().any(|l| l.split('/').any(|part| part == group));
        if ours
            && !other_than.contains(&pid)
            && text("cmdline").replace('\0', " ").contains("coredns -conf /etc/coredns/Corefile")
        {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

fn dns_is_well(kubectl: &Kubectl) -> Result<()> {
    let kubectl = kubectl.in_namespace("kube-system");
    wait_for("the DNS pods to be ready", PATIENCE, || {
        let ready = kubectl.run(["get", "deployment", "coredns", "--output=jsonpath={.status.readyReplicas}"])?;
        Ok(if ready == "2" { Attempt::Done(()) } else { Attempt::not_yet(format!("{ready} are")) })
    })
}

/// Each fault ends with the old file standing, and with an error that says what to do.
#[test]
#[ignore = "needs cluster (breaks its DNS)"]
fn what_goes_wrong_after_the_write_is_taken_back() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-fault")?;
    let kubectl = namespace.kubectl();
    let corefile = Corefile::keep(kubectl)?;
    dns_is_well(kubectl)?;
    let plugin = Plugin::new(cluster, namespace.name())?;

    // A reload that does not come in time.
    let late = put(&plugin, &["--timeout", "1s"])?.expect(1)?;
    ensure!(late.err.contains("not done within 1 s") && late.err.contains("as it was before"), "{}", late.err);
    corefile.unchanged()?;

    // Both end on the new file, and again when they are started with it.
    let ended = AtomicBool::new(false);
    let crashed = thread::scope(|scope| {
        let killing = scope.spawn(|| {
            corefile.await_lines(namespace.name())?;
            let mut killed = Vec::new();
            while killed.len() < 4 && !ended.load(Ordering::Relaxed) {
                if let Some(pid) = coredns_process(cluster, &killed)? {
                    // One that ended meanwhile is as well.
                    std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).output()?;
                    killed.push(pid);
                }
                // Nobody tells of new processes, and one that is found later than this may have answered.
                thread::sleep(Duration::from_millis(20));
            }
            anyhow::Ok(())
        });
        let ran = put(&plugin, &[]);
        ended.store(true, Ordering::Relaxed);
        killing.join().map_err(|_| anyhow::anyhow!("the killer panicked"))??;
        ran
    })?
    .expect(1)?;
    // Which of the two is seen first depends on the kubelet.
    let told = ["ended and was started again after the change", "stopped answering as before"];
    ensure!(told.iter().any(|t| crashed.err.contains(t)), "{}", crashed.err);
    ensure!(crashed.err.contains("as it was before"), "{}", crashed.err);
    corefile.unchanged()?;
    // New pods, which the kubelet does not hold back for having crashed.
    let system = kubectl.in_namespace("kube-system");
    system.run(["rollout", "restart", "deployment/coredns"])?;
    system.run(["rollout", "status", "deployment/coredns", "--timeout=120s"])?;
    dns_is_well(kubectl)?;

    // Another writer makes a file of it that CoreDNS refuses: theirs stays, ours goes.
    let broken = |text: &str| text.replacen("    errors\n", "    errors\n    no-such-plugin\n", 1);
    let refused = thread::scope(|scope| {
        let breaking = scope.spawn(|| corefile.write(&broken(&corefile.await_lines(namespace.name())?)));
        let ran = put(&plugin, &[]);
        breaking.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        ran
    })?
    .expect(1)?;
    ensure!(refused.err.contains("coredns_reload_failed_total"), "{}", refused.err);
    ensure!(
        corefile.now()? == broken(&corefile.before),
        "the other's line is lost or ours stayed:\n{}",
        corefile.now()?
    );
    corefile.write(&corefile.before)?;

    // The answer to the write is lost: whether it was written or not, it does not stand afterwards.
    let mut proxy = cluster.local()?.api_proxy()?;
    let through = Plugin::as_user(&proxy.kubeconfig()?, namespace.name())?;
    let cut = Rule::new(Fault::Cut(Duration::ZERO)).method("PATCH").path("/kube-system/configmaps/coredns");
    proxy.set(&[cut.times(1)])?;
    let lost = put(&through, &[])?.expect(1)?;
    ensure!(lost.err.contains("as it was before"), "{}", lost.err);
    corefile.unchanged()
}

#[test]
#[ignore = "needs cluster (edits kube-system)"]
fn what_stands_in_the_way_is_told_and_nothing_is_written() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-way")?;
    let kubectl = namespace.kubectl();
    let system = kubectl.in_namespace("kube-system");
    let corefile = Corefile::keep(kubectl)?;
    dns_is_well(kubectl)?;
    let plugin = Plugin::new(cluster, namespace.name())?;

    // No right to kube-system.
    let user = namespace.user("limited", &Rights::Admin)?;
    let limited = put(&Plugin::as_user(&user, namespace.name())?, &[])?.expect(1)?;
    ensure!(limited.err.contains("in kube-system"), "the right is not named:\n{}", limited.err);

    let before = format!("clearwater-dns-before.{}", namespace.name());
    // Another writer between reading and writing. The answer to the write of what was there before comes late.
    let mut proxy = cluster.local()?.api_proxy()?;
    let through = Plugin::as_user(&proxy.kubeconfig()?, namespace.name())?;
    let late = Rule::new(Fault::Delay(Duration::from_secs(3))).method("PATCH").path(&format!("/{before}"));
    proxy.set(&[late])?;
    let theirs = format!("# theirs\n{}", corefile.before);
    let moved = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            wait_for("what was there before to be kept", PATIENCE, || {
                let found = system.run(["get", "configmap", &before]).is_ok();
                let asked = proxy.requests().iter().any(|r| r.path.contains(&before));
                Ok(if found || asked { Attempt::Done(()) } else { Attempt::not_yet(String::new()) })
            })?;
            corefile.write(&theirs)
        });
        let ran = put(&through, &[]);
        writing.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        ran
    })?
    .expect(1)?;
    ensure!(moved.err.contains("was changed by") && moved.err.contains("run the command again"), "{}", moved.err);
    ensure!(corefile.now()? == theirs, "the other's file does not stand:\n{}", corefile.now()?);
    corefile.write(&corefile.before)?;

    // A DNS pod that is not ready.
    let sick = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "e2e-sick-dns", "labels": {"k8s-app": "kube-dns"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "coredns",
                "image": "localhost/clearwater-tools:1",
                "imagePullPolicy": "IfNotPresent",
                "readinessProbe": {"exec": {"command": ["false"]}},
            }],
        },
    });
    system.apply(&sick.to_string())?;
    let removed = Sick(&system);
    let unwell = put(&plugin, &[])?.expect(6)?;
    ensure!(unwell.err.contains("e2e-sick-dns is not ready"), "{}", unwell.err);
    drop(removed);
    corefile.unchanged()?;

    // Somebody who would put the file back.
    system.run(["label", "configmap", "coredns", "addonmanager.kubernetes.io/mode=Reconcile"])?;
    let labelled = Labelled(&system);
    let closed = put(&plugin, &[])?.expect(6)?;
    ensure!(closed.err.contains("the addon manager") && closed.err.contains("backend: pods"), "{}", closed.err);
    drop(labelled);

    // What may not be written can be printed for those who may.
    let shown = plugin.run(&["dns-patch", "--backend", "print", "-o", "corefile", "-f", &file("")?])?.expect(0)?;
    let head = corefile.before.lines().next().context("an empty Corefile")?;
    ensure!(shown.out.starts_with(head) && shown.out.contains("rewrite name exact"), "{}", shown.out);
    corefile.unchanged()
}

struct Sick<'a>(&'a Kubectl);

impl Drop for Sick<'_> {
    fn drop(&mut self) {
        let _ = self.0.run(["delete", "pod", "e2e-sick-dns", "--force", "--grace-period=0", "--ignore-not-found"]);
    }
}

struct Labelled<'a>(&'a Kubectl);

impl Drop for Labelled<'_> {
    fn drop(&mut self) {
        let _ = self.0.run(["label", "configmap", "coredns", "addonmanager.kubernetes.io/mode-"]);
    }
}
