//! What clusters and machines have around a deployment: proxies, pods that the plugin runs in, policies, limits.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use clearwater_e2e::{OfCluster, Plugin, Refused, cluster};
use clearwater_testbed::Kubectl;
use clearwater_testbed::sip::TOOLS_IMAGE;
use serde_json::{Value, json};

use crate::{PATIENCE, file, kinds};

/// A proxy that makes the ways that are asked of it, and remembers to where.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, asked) = (listener.local_addr()?, Arc::<Mutex<Vec<String>>>::default());
        let ways = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let ways = Arc::clone(&ways);
                thread::spawn(move || way(stream, &ways));
            }
        });
        Ok(Self { address, asked })
    }

    /// To where it was asked for ways since the last time.
    fn ways(&self) -> Vec<String> {
        self.asked.lock().map(|mut asked| std::mem::take(&mut *asked)).unwrap_or_default()
    }
}

fn way(stream: TcpStream, asked: &Mutex<Vec<String>>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let head: Vec<String> = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let to = head.first().and_then(|line| line.strip_prefix("CONNECT ")?.split(' ').next()).context("no CONNECT")?;
    if let Ok(mut asked) = asked.lock() {
        asked.push(to.to_owned());
    }
    let server = TcpStream::connect(to)?;
    (&stream).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut there, back) = (server.try_clone()?, stream);
    thread::spawn(move || {
        let _ = std::io::copy(&mut reader, &mut there);
        let _ = there.shutdown(Shutdown::Write);
    });
    std::io::copy(&mut &server, &mut &back)?;
    Ok(back.shutdown(Shutdown::Write)?)
}

/// The cluster's own address goes through the proxies that the environment and the kubeconfig name, and past those that it is
/// kept from.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_proxy_is_taken_where_go_takes_one() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-proxy")?;
    let kubectl = namespace.kubectl();
    let server = kubectl.run(["config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"])?;
    let to = server.strip_prefix("https://").context("no https")?.to_owned();
    let (host, _) = to.rsplit_once(':').context("no port")?;
    let proxy = Proxy::start()?;
    let bare = proxy.address.to_string();
    let plain = Plugin::new(cluster, namespace.name())?;
    let environment = plain.clone().with_variable("HTTPS_PROXY", &bare);
    let folder = tempfile::tempdir()?;
    let own = folder.path().join("kubeconfig");
    let named = plain.clone().in_context(&own, namespace.name())?.with_variable("NO_PROXY", "*");
    let own = kubectl.with_kubeconfig(&own);
    let cluster_name = own.run(["config", "view", "--minify", "--output=jsonpath={.clusters[0].name}"])?;
    own.run(["config", "set-cluster", &cluster_name, &format!("--proxy-url=http://{bare}")])?;
    for (what, plugin, more, taken) in [
        ("none is named", plain.clone(), &[][..], false),
        ("a variable without a scheme", environment.clone(), &[], true),
        ("--server", environment.clone(), &["--server", &server], true),
        (
            "a host that is kept from it",
            environment.clone().with_variable("NO_PROXY", format!("{host}, ,")),
            &[],
            false,
        ),
        ("a network that is", environment.clone().with_variable("NO_PROXY", format!("{host}/24")), &[], false),
        ("another port that is", environment.with_variable("NO_PROXY", format!("{host}:1")), &[], true),
        ("proxy-url, which NO_PROXY does not keep from it", named, &[], true),
    ] {
        let ran = plugin.run_within(PATIENCE, &[&["status"][..], more].concat())?;
        ensure!(ran.said().contains(&format!("namespace {}, release", namespace.name())), "{what}: {}", ran.said());
        let ways = proxy.ways();
        ensure!(ways.iter().all(|way| *way == to) && ways.is_empty() != taken, "{what}: {ways:?}");
    }
    Ok(())
}

/// Inside of a pod its own account is for whoever named no cluster, and for nobody else.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn inside_of_a_pod_the_cluster_is_asked_that_is_meant() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-pod")?;
    let kubectl = namespace.kubectl();
    let account = format!("--serviceaccount={}:default", namespace.name());
    kubectl.run(["create", "rolebinding", "view", "--clusterrole=view", &account])?;
    // The nodes have the machine's own files, the plugin and its libraries among them.
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "inside"}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "machine", "hostPath": {"path": "/"}}],
        "containers": [{"name": "inside", "image": TOOLS_IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "600"],
            "volumeMounts": [{"name": "machine", "mountPath": "/machine", "readOnly": true}]}]}});
    kubectl.apply(&pod.to_string())?;
    kubectl.run(["wait", "--for=condition=Ready", "--timeout=60s", "pod/inside"])?;
    let program = Plugin::new(cluster, namespace.name())?.program().display().to_string();
    let elsewhere = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    let run = |variables: &str| {
        let script = format!(
            "echo '{elsewhere}' >/tmp/elsewhere; l=/machine/lib/x86_64-linux-gnu; \
             env {variables} $l/ld-linux-x86-64.so.2 --library-path $l /machine{program} status 2>&1; echo code=$?"
        );
        kubectl.run(["exec", "inside", "--", "sh", "-c", &script])
    };
    let here = format!("namespace {}, release", namespace.name());
    for (variables, words) in [
        ("HOME=/nowhere", here.as_str()),
        ("KUBECONFIG=", &here),
        (
            "KUBECONFIG=/nowhere/config:/nowhere/other",
            "the account of this pod may be for another cluster than the one that",
        ),
        ("KUBECONFIG=/nowhere/config:/tmp/elsewhere", "https://127.0.0.1:1"),
        ("KUBECONFIG=/tmp", "the kubeconfig cannot be read: "),
        ("KUBECONFIG=/dev/null", "names no cluster"),
    ] {
        let said = run(variables)?;
        ensure!(said.contains(words), "{variables}: {said}");
        ensure!(words == here || !said.contains(&here) && said.trim_end().ends_with("code=1"), "{variables}: {said}");
    }
    Ok(())
}

/// A policy that takes no pod of these namespaces; the first one is there already.
pub(crate) fn no_pods(kubectl: &Kubectl, namespaces: &[&str]) -> Result<[OfCluster; 2]> {
    let namespace = namespaces.first().context("no namespace")?;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asks", "namespace": namespace},
        "spec": {"containers": [{"name": "asks", "image": TOOLS_IMAGE}]}});
    let refused = Refused {
        namespaces,
        word: "no-pods",
        group: "",
        resource: "pods",
        operation: "CREATE",
        message: "no pods before the audit",
    };
    let create = ["create", "--dry-run=server", "--filename", "-"];
    refused.made(kubectl, || kubectl.run_with_input(create, &pod.to_string()))
}

/// The lines of the checks that are not well.
fn faults(events: &[Value]) -> Vec<&Value> {
    let lines = events.iter().filter(|e| e["kind"] == "checked").map(|e| &e["line"]);
    lines.filter(|line| line["status"] == "failed").collect()
}

/// A ValidatingAdmissionPolicy is named before anything is written, in a namespace that `up` makes too.
#[test]
#[ignore = "needs cluster (creates namespaces and a policy)"]
fn a_policy_is_named_before_the_first_write() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-policy")?;
    let kubectl = namespace.kubectl();
    // The second one is made by `up`, and the policy stands before it.
    let new = format!("{}-new", namespace.name());
    let _made = OfCluster::named(kubectl, format!("namespace/{new}"));
    let _policy = no_pods(kubectl, &[namespace.name(), &new])?;
    for (name, args) in [(namespace.name(), &["up", "--yes"][..]), (&new, &["up", "--yes", "--create-namespace"])] {
        let ran = Plugin::new(cluster, name)?.follow(args)?.finish(PATIENCE)?.0.expect(4)?;
        let events = kinds(&ran)?;
        let [line] = faults(&events)[..] else { bail!("not one line: {}", ran.out) };
        ensure!(line["id"] == "admission" && line["detail"].to_string().contains("no pods before the audit"), "{line}");
        let policy = format!("ValidatingAdmissionPolicy no-pods.{}", namespace.name());
        ensure!(line["fix"].as_str().is_some_and(|fix| fix.contains(&policy)), "{line}");
        let written = kubectl.in_namespace(name).run(["get", "deployments,statefulsets,services", "--output=name"])?;
        ensure!(written.is_empty(), "{written}");
    }
    Ok(())
}

/// What limits of the namespace do not take is set in the file where it is written, whether a dry run or the sum tells of it.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn limits_of_the_namespace_are_told_by_the_key_that_is_to_be_set() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-limits")?;
    let kubectl = namespace.kubectl();
    let limits = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {"limits": [
        {"type": "PersistentVolumeClaim", "max": {"storage": "512Mi"}},
        {"type": "Container", "max": {"memory": "200Mi"}, "default": {"cpu": "500m", "memory": "200Mi"}}]}});
    kubectl.apply(&limits.to_string())?;
    kubectl.run(["create", "quota", "sum", "--hard=limits.cpu=1"])?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let ran = plugin.follow(&["up", "--yes"])?.finish(PATIENCE)?.0.expect(4)?;
    let events = kinds(&ran)?;
    let faults = faults(&events);
    let told = |id: &str, words: &str, fix: &str| {
        let has = |line: &&&Value| {
            line["id"] == id
                && line["detail"].to_string().contains(words)
                && line["fix"].as_str().is_some_and(|f| f.starts_with(fix))
        };
        ensure!(faults.iter().filter(has).count() == 1, "{id}, {words}, {fix}: {faults:#?}");
        Ok(())
    };
    told(
        "objects",
        "maximum storage usage per PersistentVolumeClaim is 512Mi",
        "set components.ellis.storage.size in",
    )?;
    told("quota", "limitrange small takes claims of at most 512Mi, and etcd", "set components.etcd.storage.size in")?;
    told(
        "quota",
        "limitrange small takes claims of at most 512Mi, and cassandra",
        "set components.cassandra.storage.size in",
    )?;
    told("admission", "must be less than or equal to memory limit of 200Mi", "set components.NAME.resources in")?;
    told(
        "quota",
        "limits.cpu: 5500m is needed, 1 of 1 are left",
        "raise the quota; or lower components.NAME.resources",
    )?;
    ensure!(!ran.out.contains("ask for the right"), "{}", ran.out);
    // What is told mends it.
    let small = "resources: {requests: {cpu: 20m, memory: 32Mi}, limits: {cpu: 50m, memory: 190Mi}}";
    let mended = format!("components: {{etcd: {{storage: {{size: 512Mi}}, {small}}}}}\n");
    let tried = |text: &str, code| {
        plugin.run_within(PATIENCE, &["up", "--yes", "--dry-run", "--only", "etcd", "-f", &file(text)?])?.expect(code)
    };
    tried(&mended, 0)?;
    // Addresses that this cluster has none of are as little to be had.
    let six = tried(&format!("ipFamilies: [IPv6]\n{mended}"), 4)?;
    ensure!(six.said().contains(r#""IPv6": not configured on this cluster"#), "{}", six.said());
    Ok(())
}
