//! A cluster's life, on clusters of their own: they are killed, cut and taken down here.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clearwater_testbed::{
    Attempt, Cluster, Fault, Local, NODES, Options, PROBE_IMAGE, Part, Path, Rule, probe_archive, wait_for,
};

/// Warm: programs built, images imported.
const WARM_START: Duration = Duration::from_secs(20);

fn up(name: &str) -> Result<Local> {
    Local::up(name, Options::default(), &|_| ())
}

/// Takes the cluster down even when the test fails.
struct Taken<'a>(&'a str);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let _ = Local::down(self.0, false, &|_| ());
    }
}

/// What a cluster could leave on the machine; lines of other clusters are left out.
fn traces(name: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut add = |kind: &str, text: &str, only: &[&str]| {
        for line in text.lines().filter(|line| only.is_empty() || only.iter().any(|word| line.contains(word))) {
            found.insert(format!("{kind}: {line}"));
        }
    };
    let run = |program: &str, arguments: &[&str]| -> Result<String> {
        let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let paths = [format!("/clusters/{name}/"), format!("/clearwater-testbed/{name}/"), format!("clearwater-{name}/")];
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    add("mount", &fs::read_to_string("/proc/self/mountinfo")?, &paths);
    add("link", &run("ip", &["-oneline", "link"])?, &[&format!("{name}-h")]);
    add("route", &run("ip", &["route"])?, &[&format!("{name}-h")]);
    add("namespace", &run("ip", &["netns", "list"])?, &[name]);
    add("iptables", &run("iptables-save", &[])?, &["KUBE", "CNI", name]);
    add("cgroup", &run("find", &["/sys/fs/cgroup", "-name", &format!("clearwater-{name}")])?, &[]);
    add("run", &run("find", &["/run/clearwater-testbed", "-mindepth", "1", "-name", name])?, &[]);
    add("log", &run("find", &["/var/log/containers", "-lname", &format!("*/clusters/{name}/*")])?, &[]);
    for entry in fs::read_dir("/proc")?.flatten() {
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default().replace('\0', " ");
        add("process", &command, &paths);
    }
    Ok(found)
}

#[test]
#[ignore = "needs root"]
fn a_cluster_survives_kills_and_leaves_nothing_behind() -> Result<()> {
    const NAME: &str = "life";
    Local::down(NAME, false, &|_| ())?;
    let before = traces(NAME)?;
    let _taken = Taken(NAME);
    // The first start may build and import.
    up(NAME)?;
    for round in 1..=2 {
        Local::down(NAME, false, &|_| ())?;
        let left: Vec<_> = traces(NAME)?.difference(&before).cloned().collect();
        ensure!(left.is_empty(), "left behind in round {round}: {left:#?}");
        let began = Instant::now();
        let local = up(NAME)?;
        ensure!(began.elapsed() < WARM_START, "round {round} took {:?}", began.elapsed());
        ensure!(local.status().is_healthy(), "{:?}", local.status());
    }

    for (part, pid) in Local::open(NAME)?.status().parts {
        let pid = pid.with_context(|| format!("{part} does not run"))?;
        Command::new("kill").args(["-KILL", &pid.to_string()]).status()?;
    }
    let began = Instant::now();
    let local = up(NAME)?;
    ensure!(began.elapsed() < WARM_START, "after the parts were killed it took {:?}", began.elapsed());
    ensure!(local.status().is_healthy(), "{:?}", local.status());

    // Everything at once, pods and their shims too.
    for pid in every_process(NAME)? {
        Command::new("kill").args(["-KILL", &pid]).status()?;
    }
    let began = Instant::now();
    let local = up(NAME)?;
    ensure!(began.elapsed() < WARM_START, "after all was killed it took {:?}", began.elapsed());
    ensure!(local.status().is_healthy(), "{:?}", local.status());

    for pid in every_process(NAME)? {
        Command::new("kill").args(["-KILL", &pid]).status()?;
    }
    Local::down(NAME, false, &|_| ())?;
    let left: Vec<_> = traces(NAME)?.difference(&before).cloned().collect();
    ensure!(left.is_empty(), "left behind after all was killed: {left:#?}");
    Ok(())
}

fn every_process(name: &str) -> Result<BTreeSet<String>> {
    let script = format!("find /sys/fs/cgroup -path '*clearwater-{name}/*' -name cgroup.procs -exec cat {{}} +");
    let output = Command::new("sh").args(["-c", &script]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

#[test]
#[ignore = "needs cluster (root)"]
fn the_proxy_delays_refuses_resets_and_expires() -> Result<()> {
    let cluster = Cluster::get()?;
    let local = cluster.local()?;
    let mut proxy = local.api_proxy()?;
    let kubectl = local.kubectl().with_kubeconfig(&proxy.kubeconfig()?);
    let get = || kubectl.run(["get", "namespace", "default", "--output=name"]);
    ensure!(get()? == "namespace/default\n");

    let namespaces = |fault| Rule::new(fault).path("^/api/v1/namespaces/default");
    proxy.set(&[namespaces(Fault::Delay(Duration::from_millis(700))).times(1)])?;
    let began = Instant::now();
    get()?;
    ensure!(began.elapsed() > Duration::from_millis(700), "no delay");

    proxy.set(&[namespaces(Fault::Status(403, 0)).times(1)])?;
    let error = get().unwrap_err().to_string();
    ensure!(error.contains("Forbidden"), "{error}");
    get()?;

    // A client that knows what 429 means waits and asks again.
    proxy.set(&[namespaces(Fault::Status(429, 1)).times(1)])?;
    let began = Instant::now();
    get()?;
    ensure!(began.elapsed() > Duration::from_secs(1), "did not wait");

    proxy.set(&[namespaces(Fault::Reset)])?;
    let error = get().unwrap_err().to_string();
    ensure!(error.contains("reset") || error.contains("EOF"), "{error}");

    proxy.set(&[Rule::new(Fault::Gone).watch(true)])?;
    let error = kubectl
        .run(["get", "--raw", "/api/v1/namespaces?watch=true&timeoutSeconds=5"])
        .unwrap_or_else(|error| error.to_string());
    ensure!(error.contains("\"code\":410"), "{error}");

    proxy.set(&[Rule::new(Fault::Cut(Duration::from_millis(500))).watch(true)])?;
    let began = Instant::now();
    let _ = kubectl.run(["get", "--raw", "/api/v1/namespaces?watch=true&timeoutSeconds=20"]);
    ensure!(began.elapsed() < Duration::from_secs(10), "the watch was not cut");

    // Who asks is who asked: the user's own rights hold behind the proxy.
    proxy.set(&[])?;
    ensure!(kubectl.run(["auth", "whoami"])?.contains("kubernetes-admin"), "another user");
    ensure!(proxy.requests().iter().any(|request| request.action == "reset"), "nothing was noted");
    Ok(())
}

#[test]
#[ignore = "needs cluster (root)"]
fn the_registry_serves_refuses_and_throttles() -> Result<()> {
    let cluster = Cluster::get()?;
    let local = cluster.local()?;
    let mut registry = local.registry(&[probe_archive()?])?;
    let namespace = cluster.namespace("pull")?;
    let (_, image) = PROBE_IMAGE.split_once('/').context("no registry in the name")?;
    let image = format!("{}/{image}", registry.address());
    let message = |pod: &str| {
        let path = "--output=jsonpath={.status.containerStatuses[0].state.waiting}";
        namespace.kubectl().run(["get", "pod", pod, path])
    };
    let run = |pod: &str| {
        let image = format!("--image={image}");
        namespace.kubectl().run(["run", pod, &image, "--image-pull-policy=Always", "--", "serve"]).map(drop)
    };
    let fails_with = |pod: &str, words: &[&str]| {
        wait_for("the pull to fail", Duration::from_secs(60), || {
            let said = message(pod)?;
            Ok(if words.iter().any(|word| said.contains(word)) { Attempt::Done(()) } else { Attempt::not_yet(said) })
        })
    };
    registry.set(&[Rule::new(Fault::Status(429, 0)).path("/manifests/")])?;
    run("throttled")?;
    fails_with("throttled", &["429"])?;
    registry.set(&[Rule::new(Fault::Status(404, 0)).path("/manifests/")])?;
    run("missing")?;
    fails_with("missing", &["not found"])?;
    registry.set(&[Rule::new(Fault::Reset)])?;
    run("refused")?;
    fails_with("refused", &["reset by peer", "EOF"])?;
    registry.set(&[])?;
    run("served")?;
    namespace.kubectl().run(["wait", "--for=condition=Ready", "pod/served", "--timeout=60s"]).map(drop)
}

/// A cluster of its own beside a busy one is more than two cores bear.
mod alone {
    use super::*;

    #[test]
    #[ignore = "needs root"]
    fn parts_restart_paths_are_cut_nodes_fall_silent_and_all_is_repaired() -> Result<()> {
        const NAME: &str = "broken";
        let _taken = Taken(NAME);
        let cluster = Cluster::from(up(NAME)?);
        let local = cluster.local()?;
        local.import(&probe_archive()?)?;
        for part in [Part::ApiServer, Part::Kubelet(1), Part::Containerd(2), Part::Etcd] {
            local.restart(part).with_context(|| format!("restarting {part}"))?;
        }
        local.restart_dns()?;

        let namespace = cluster.namespace("cut")?;
        for node in NODES {
            let name = format!("pod-{node}");
            let overrides = format!(r#"{{"spec":{{"nodeName":"{}"}}}}"#, local.layout().node_name(node));
            let image = format!("--image={PROBE_IMAGE}");
            namespace.kubectl().run(["run", &name, &image, "--overrides", &overrides, "--", "serve"])?;
            namespace.kubectl().run(["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"])?;
        }
        let address = namespace.kubectl().run(["get", "pod/pod-2", "--output=jsonpath={.status.podIP}"])?;
        let url = format!("http://{address}:8080");
        let reach = || namespace.kubectl().run(["exec", "pod-1", "--", "/probe", "get", "--limit=1ms", &url]);
        reach()?;
        for path in [Path::BetweenNodes, Path::Address(address.clone())] {
            let broken = local.cut(&path)?;
            ensure!(reach().is_err(), "{path:?} is cut and pods reach each other");
            broken.repair()?;
            reach()?;
        }

        let broken = local.cut(&Path::Of(2))?;
        local.await_ready(2, false)?;
        broken.repair()?;
        local.await_ready(2, true)?;
        let broken = local.node_not_ready(1)?;
        broken.repair()?;
        let drained = local.drain(2, "run=pod-2")?;
        let pods = namespace.kubectl().run(["get", "pods", "--output=name"])?;
        ensure!(!pods.contains("pod-2"), "the drained node keeps {pods}");
        drained.repair()
    }
}
