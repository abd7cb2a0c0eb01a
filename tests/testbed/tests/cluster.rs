//! The cluster does what a cluster does: pods, logs, exec, DNS, Services, volumes, load balancers, limits.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_testbed::{
    Attempt, Cluster, LOAD_BALANCER_ANNOTATION, NODES, Namespace, NamespaceOptions, PROBE_IMAGE, Rights, probe_archive,
    verbs, wait_for,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::get().expect("the cluster starts");
        let local = cluster.local().expect("these tests are about the test bed's cluster");
        local.import(&probe_archive().expect("the image is made")).expect("the image is imported");
        cluster
    })
}

/// A pod that serves; pinned to a node when one is given.
fn pod(name: &str, node: Option<u8>) -> Value {
    let mut spec = json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "probe",
            "image": PROBE_IMAGE,
            "args": ["serve"],
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        }],
    });
    if let Some(node) = node {
        let local = cluster().local().expect("checked when it was opened");
        spec["nodeName"] = local.layout().node_name(node).into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name, "group": "probe"}},
        "spec": spec,
    })
}

fn ready(namespace: &Namespace<'_>, names: &[&str]) -> Result<()> {
    let pods = names.iter().map(|name| format!("pod/{name}"));
    let mut arguments = vec!["wait".to_owned(), "--for=condition=Ready".to_owned(), "--timeout=60s".to_owned()];
    arguments.extend(pods);
    namespace.kubectl().run(arguments).map(drop)
}

fn field(namespace: &Namespace<'_>, object: &str, path: &str) -> Result<String> {
    namespace.kubectl().run(["get", object, "--output", &format!("jsonpath={path}")])
}

fn http(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
#[ignore = "needs cluster (root)"]
fn pods_of_both_nodes_reach_each_other_by_address_and_by_name() -> Result<()> {
    let namespace = cluster().namespace("net")?;
    namespace.kubectl().apply(&pod("one", Some(1)).to_string())?;
    namespace.kubectl().apply(&pod("two", Some(2)).to_string())?;
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "both"},
        "spec": {"selector": {"group": "probe"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    namespace.kubectl().apply(&service.to_string())?;
    ready(&namespace, &["one", "two"])?;
    let addresses =
        [field(&namespace, "pod/one", "{.status.podIP}")?, field(&namespace, "pod/two", "{.status.podIP}")?];
    for (from, to) in [("one", 1), ("two", 0)] {
        let url = format!("http://{}:8080", addresses[to]);
        let said = namespace.kubectl().run(["exec", from, "--", "/probe", "get", &url])?;
        // No address translation between pods: the answer names the pod that asked.
        ensure!(said.contains(&addresses[1 - to]), "{from} was seen as somebody else: {said}");
        namespace.kubectl().run(["exec", from, "--", "/probe", "get", "http://both"])?;
        let name = format!("both.{}.svc.cluster.local", namespace.name());
        let found = namespace.kubectl().run(["exec", from, "--", "/probe", "resolve", "--name", &name])?;
        ensure!(found.starts_with("10.96."), "{name} is {found}");
    }
    Ok(())
}

#[test]
#[ignore = "needs cluster (root)"]
fn nothing_gets_beyond_the_host() -> Result<()> {
    let namespace = cluster().namespace("inside")?;
    namespace.kubectl().apply(&pod("one", Some(1)).to_string())?;
    ready(&namespace, &["one"])?;
    let outside = "192.0.2.200";
    let url = format!("http://{outside}");
    let answer = namespace.kubectl().run(["exec", "one", "--", "/probe", "get", "--limit", "100ms", &url]);
    ensure!(answer.is_err(), "the outside answered: {answer:?}");
    for node in NODES {
        let asked = cluster().local()?.on_node(node, "ip").args(["route", "get", outside]).output()?;
        ensure!(!asked.status.success(), "node {node} knows a way: {}", String::from_utf8_lossy(&asked.stdout));
    }
    Ok(())
}

#[test]
#[ignore = "needs cluster (root)"]
fn logs_exec_and_port_forward_work_on_both_nodes() -> Result<()> {
    let namespace = cluster().namespace("reach")?;
    for node in NODES {
        let name = format!("on-{node}");
        namespace.kubectl().apply(&pod(&name, Some(node)).to_string())?;
        ready(&namespace, &[&name])?;
        let log = namespace.kubectl().run(["logs", &name])?;
        ensure!(log.contains("serving"), "the log is {log:?}");
        let mut forward = namespace
            .kubectl()
            .command(["port-forward", &format!("pod/{name}"), ":8080"])
            .stdout(Stdio::piped())
            .spawn()?;
        let output = forward.stdout.take().context("no output")?;
        let answer = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("Forwarding from ")?.split(" -> ").next()?.to_owned()))
            .context("port-forward ended")
            .and_then(|address| http(&address));
        let _ = forward.kill();
        forward.wait()?;
        ensure!(answer?.contains(&name), "another pod answered");
    }
    Ok(())
}

#[test]
#[ignore = "needs cluster (root)"]
fn node_ports_answer_on_both_nodes_over_tcp_and_udp() -> Result<()> {
    let local = cluster().local()?;
    let namespace = cluster().namespace("ports")?;
    namespace.kubectl().apply(&pod("one", Some(1)).to_string())?;
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "one"},
        "spec": {
            "type": "NodePort",
            "selector": {"app": "one"},
            "ports": [
                {"name": "tcp", "port": 8080, "protocol": "TCP"},
                {"name": "udp", "port": 8080, "protocol": "UDP"},
            ],
        },
    });
    namespace.kubectl().apply(&service.to_string())?;
    ready(&namespace, &["one"])?;
    let tcp = field(&namespace, "service/one", "{.spec.ports[0].nodePort}")?;
    let udp = field(&namespace, "service/one", "{.spec.ports[1].nodePort}")?;
    for node in NODES {
        let address = local.addresses().node(node);
        wait_for("the node port to answer over TCP", PATIENCE, || {
            Ok(match http(&format!("{address}:{tcp}")) {
                Ok(_) => Attempt::Done(()),
                Err(error) => Attempt::not_yet(format!("{error:#}")),
            })
        })?;
        wait_for("the node port to answer over UDP", PATIENCE, || {
            let socket = UdpSocket::bind((local.addresses().host(), 0))?;
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
            socket.send_to(b"x", format!("{address}:{udp}"))?;
            let mut buffer = [0; 64];
            Ok(match socket.recv(&mut buffer) {
                Ok(size) if buffer[..size] == *b"one x" => Attempt::Done(()),
                other => Attempt::not_yet(format!("{other:?}")),
            })
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs cluster (root)"]
fn a_volume_outlives_its_pod_and_goes_with_its_claim() -> Result<()> {
    let namespace = cluster().namespace("volume")?;
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    });
    namespace.kubectl().apply(&claim.to_string())?;
    let with_volume = |node: u8| {
        let mut pod = pod("keeper", Some(node));
        // A pod that names its node passes the scheduler by, and nobody would pick a node for the claim.
        pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": pod["spec"]["nodeName"]});
        pod["spec"].as_object_mut().expect("an object").remove("nodeName");
        pod["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
        pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
        pod.to_string()
    };
    namespace.kubectl().apply(&with_volume(1))?;
    ready(&namespace, &["keeper"])?;
    namespace.kubectl().run(["exec", "keeper", "--", "/probe", "write", "/data/note", "kept"])?;
    namespace.kubectl().run(["delete", "pod", "keeper"])?;
    namespace.kubectl().apply(&with_volume(2))?;
    ready(&namespace, &["keeper"])?;
    let volume = field(&namespace, "pvc/data", "{.spec.volumeName}")?;
    let path = field(&namespace, &format!("pv/{volume}"), "{.spec.hostPath.path}")?;
    ensure!(std::fs::read_to_string(format!("{path}/note"))? == "kept", "the volume lost what was written");
    namespace.kubectl().run(["delete", "pod", "keeper"])?;
    namespace.kubectl().run(["delete", "pvc", "data"])?;
    wait_for("the volume to go", PATIENCE, || {
        Ok(if std::path::Path::new(&path).exists() {
            Attempt::not_yet(format!("{path} is there"))
        } else {
            Attempt::Done(())
        })
    })
}

#[test]
#[ignore = "needs cluster (root)"]
fn load_balancers_get_an_address_soon_late_never_or_a_name() -> Result<()> {
    let namespace = cluster().namespace("balancer")?;
    namespace.kubectl().apply(&pod("one", Some(2)).to_string())?;
    let service = |name: &str, mode: &str, policy: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "annotations": {LOAD_BALANCER_ANNOTATION: mode}},
            "spec": {
                "type": "LoadBalancer",
                "externalTrafficPolicy": policy,
                "selector": {"app": "one"},
                "ports": [{"port": 8080}],
            },
        })
        .to_string()
    };
    namespace.kubectl().apply(&service("soon", "soon", "Cluster"))?;
    namespace.kubectl().apply(&service("local", "soon", "Local"))?;
    namespace.kubectl().apply(&service("late", "late=4s", "Cluster"))?;
    namespace.kubectl().apply(&service("never", "never", "Cluster"))?;
    namespace.kubectl().apply(&service("name", "hostname", "Cluster"))?;
    ready(&namespace, &["one"])?;
    let ingress = |name: &str, key: &str| {
        field(&namespace, &format!("service/{name}"), &format!("{{.status.loadBalancer.ingress[0].{key}}}"))
    };
    let address = |name: &str| {
        wait_for(&format!("an address for {name}"), PATIENCE, || {
            let ip = ingress(name, "ip")?;
            Ok(if ip.is_empty() { Attempt::not_yet("none") } else { Attempt::Done(ip) })
        })
    };
    for name in ["soon", "local"] {
        let ip = address(name)?;
        let answer = wait_for(&format!("{name} to answer at {ip}"), PATIENCE, || {
            Ok(match http(&format!("{ip}:8080")) {
                Ok(text) => Attempt::Done(text),
                Err(error) => Attempt::not_yet(format!("{error:#}")),
            })
        })?;
        let host = cluster().local()?.addresses().host();
        ensure!(name == "soon" || answer.contains(&host), "the client's address was not kept: {answer}");
    }
    wait_for("a name", PATIENCE, || {
        let name = ingress("name", "hostname")?;
        Ok(if name.is_empty() { Attempt::not_yet("none") } else { Attempt::Done(()) })
    })?;
    address("late")?;
    let made: jiff::Timestamp = field(&namespace, "service/late", "{.metadata.creationTimestamp}")?.parse()?;
    let waited = jiff::Timestamp::now().duration_since(made);
    ensure!(waited.as_secs() >= 4, "late came after {waited}");
    ensure!(ingress("never", "ip")?.is_empty() && ingress("name", "ip")?.is_empty(), "an address was given");
    Ok(())
}

#[test]
#[ignore = "needs cluster (root)"]
fn users_are_kept_to_their_namespace_and_to_their_rights() -> Result<()> {
    let namespace = cluster().namespace("users")?;
    namespace.kubectl().apply(&pod("one", None).to_string())?;
    ready(&namespace, &["one"])?;
    let edit = namespace.kubectl().with_kubeconfig(&namespace.user("editor", &Rights::Edit)?);
    let less = namespace.kubectl().with_kubeconfig(&namespace.user("no-exec", &Rights::EditWithoutExec)?);
    let may = |kubectl: &clearwater_testbed::Kubectl, question: &[&str]| {
        kubectl.run(["auth", "can-i"].iter().chain(question)).is_ok_and(|said| said.trim() == "yes")
    };
    edit.run(["exec", "one", "--", "/probe", "resolve", "--name", "kubernetes.default"])?;
    ensure!(may(&less, &["create", "deployments.apps"]), "cannot edit");
    ensure!(may(&less, &["get", "pods/log"]), "cannot read logs");
    let exec = |verb: &'static str| [verb, "pods", "--subresource=exec"];
    ensure!(may(&edit, &exec("create")), "cannot exec");
    ensure!(!may(&less, &exec("create")) && !may(&less, &exec("get")), "can exec");
    ensure!(!may(&edit, &["list", "pods", "--namespace=default"]), "sees other namespaces");
    Ok(())
}

#[test]
#[ignore = "needs cluster (root)"]
fn namespaces_enforce_quota_and_pod_security() -> Result<()> {
    let none = NamespaceOptions { quota: Some(json!({"pods": "0"})), ..NamespaceOptions::default() };
    let namespace = cluster().namespace_with("quota", &none)?;
    wait_for("the quota to hold", PATIENCE, || {
        Ok(match namespace.kubectl().apply(&pod("one", None).to_string()) {
            Err(error) if error.to_string().contains("exceeded quota") => Attempt::Done(()),
            other => Attempt::not_yet(format!("{other:?}")),
        })
    })?;
    for (level, key, value) in
        [("baseline", "hostNetwork", json!(true)), ("restricted", "securityContext", json!({"runAsUser": 0}))]
    {
        let options = NamespaceOptions { pod_security: Some(level), ..NamespaceOptions::default() };
        let namespace = cluster().namespace_with(level, &options)?;
        let mut pod = pod("one", None);
        pod["spec"][key] = value;
        let error = namespace.kubectl().apply(&pod.to_string()).unwrap_err().to_string();
        ensure!(error.contains(&format!("violates PodSecurity \"{level}")), "{error}");
    }
    Ok(())
}

#[test]
#[ignore = "needs cluster (root)"]
fn the_audit_log_counts_what_a_program_did() -> Result<()> {
    let local = cluster().local()?;
    let namespace = cluster().namespace("audit")?;
    let mark = local.audit_mark()?;
    namespace.kubectl().apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")?;
    namespace.kubectl().run(["delete", "configmap", "a"])?;
    let mut events = local.audit_since(&mark, "kubectl/")?;
    events.retain(|event| event.object_ref.namespace == namespace.name() && event.is_write());
    let counts = verbs(&events);
    ensure!(counts.get("patch") == Some(&1) && counts.get("delete") == Some(&1), "{counts:?}");
    Ok(())
}

#[test]
#[ignore = "needs cluster (root)"]
fn a_cluster_that_exists_can_be_used_instead() -> Result<()> {
    let layout = cluster().local()?.layout();
    let attached = Cluster::attach(Some(&layout.kubeconfig()), Some(layout.name()))?;
    ensure!(attached.local().is_err(), "the machine below a foreign cluster is not ours to change");
    let namespace = attached.namespace("attached")?;
    let viewer = namespace.kubectl().with_kubeconfig(&namespace.user("viewer", &Rights::View)?);
    viewer.run(["get", "pods"])?;
    ensure!(viewer.run(["create", "configmap", "a"]).is_err(), "a viewer wrote");
    Ok(())
}
