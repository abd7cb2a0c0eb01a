//! The backend etcd, which takes a plugin that was built with that feature, as `cargo xtask test` does.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Limited, Plugin, cluster};
use clearwater_testbed::pki::Authority;
use clearwater_testbed::sip::{Phone, Transport};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::json;

use crate::{Corefile, PATIENCE, file, killed_after};

/// Bringing eleven components up takes most of it.
const UP: Duration = Duration::from_secs(240);

/// An etcd of one's own, with TLS and client certificates on a second port; its Service is `dns-etcd`.
fn etcd(kubectl: &Kubectl, namespace: &str) -> Result<(PathBuf, Authority)> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("etcd-{namespace}"));
    std::fs::create_dir_all(&folder)?;
    let authority = Authority::open_or_create(&folder, "ca")?;
    let host = format!("dns-etcd.{namespace}.svc");
    let server = authority.issue(&host, None, &[&host])?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "dns-etcd"},
        "stringData": {"ca.crt": authority.certificate(), "tls.crt": server.certificate, "tls.key": server.key},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "dns-etcd", "labels": {"app": "dns-etcd"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "etcd",
                "image": "localhost/clearwater-classic/etcd:2016",
                "imagePullPolicy": "IfNotPresent",
                "command": ["etcd", "--data-dir=/tmp/etcd", "--listen-client-urls=http://0.0.0.0:2379,https://0.0.0.0:2378",
                    "--advertise-client-urls=http://127.0.0.1:2379", "--cert-file=/tls/tls.crt", "--key-file=/tls/tls.key",
                    "--client-cert-auth", "--trusted-ca-file=/tls/ca.crt"],
                "readinessProbe": {"tcpSocket": {"port": 2379}, "periodSeconds": 1},
                "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
            }],
            "volumes": [{"name": "tls", "secret": {"secretName": "dns-etcd"}}],
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "dns-etcd"},
        "spec": {"selector": {"app": "dns-etcd"}, "ports": [
            {"name": "plain", "port": 2379}, {"name": "tls", "port": 2378},
        ]},
    });
    for object in [secret, pod, service] {
        kubectl.apply(&object.to_string())?;
    }
    kubectl.run(["wait", "--for=condition=Ready", "--timeout=60s", "pod/dns-etcd"])?;
    Ok((folder, authority))
}

fn etcdctl(kubectl: &Kubectl, args: &[&str]) -> Result<String> {
    let mut all = vec!["exec", "dns-etcd", "--", "env", "ETCDCTL_API=3", "etcdctl"];
    all.extend(args);
    kubectl.run(all)
}

fn keys(kubectl: &Kubectl) -> Result<String> {
    etcdctl(kubectl, &["get", "--prefix", "/skydns"])
}

fn get_through(phone: &Phone, users: &[clearwater_testbed::sip::Subscriber]) -> Result<()> {
    wait_for("the phones to get through", Duration::from_secs(60), || {
        let report = phone.exercise("bono", &users[0], &users[1], Transport::Tcp)?;
        Ok(report.check().map_or_else(|error| Attempt::not_yet(format!("{error:#}")), Attempt::Done))
    })
}

#[test]
#[ignore = "needs cluster (edits kube-system), and a plugin with the feature etcd"]
fn classic_gets_through_with_names_in_etcd() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-etcd")?;
    let kubectl = namespace.kubectl();
    let corefile = Corefile::keep(kubectl)?;
    etcd(kubectl, namespace.name())?;
    let ip = kubectl.run(["get", "service", "dns-etcd", "--output=jsonpath={.spec.clusterIP}"])?;
    // What somebody else keeps there, the article's Service sync among it.
    etcdctl(kubectl, &["put", "/skydns/local/cluster/svc/default/x", "{\"host\":\"10.0.0.9\"}"])?;
    let others = keys(kubectl)?;
    let served = format!(
        "clearwater.cluster.local:53 {{\n    errors\n    etcd clearwater.cluster.local {{\n        path /skydns\n        \
         endpoint http://{ip}:2379\n    }}\n    cache 5\n}}\n{}",
        corefile.before
    );
    corefile.write(&served)?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file("dns: {backend: etcd}\n")?;
    // The gate of `up` puts the keys in as soon as sprout serves; that its one address is sprout's own, `up` has written.
    plugin.run_within(UP, &["up", "--yes", "-f", &path])?.expect(0)?;
    let vip = kubectl.run(["get", "service", "sprout-address", "--output=jsonpath={.spec.clusterIP}"])?;
    let dns_patch = |args: &[&str], code| {
        let mut all = vec!["dns-patch", "-f", &path];
        all.extend(args);
        plugin.run_within(PATIENCE, &all)?.expect(code)
    };
    let phone = Phone::start(kubectl)?;
    let users = phone.provision("ellis", 2)?;
    get_through(&phone, &users)?;
    dns_patch(&["--check"], 0)?;

    // The reaper takes what lies below the Services' subtree and no more; CoreDNS starts anew.
    etcdctl(kubectl, &["del", "--prefix", "/skydns/local/cluster/svc"])?;
    cluster.local()?.restart_dns()?;
    dns_patch(&["--check"], 0)?;
    get_through(&phone, &users)?;
    // Parent and children, addresses and services, as a program in the cluster asks.
    let domain = format!("sprout.{}.clearwater.cluster.local", namespace.name());
    for name in [domain.clone(), format!("scscf.{domain}"), format!("icscf.{domain}"), format!("bgcf.{domain}")] {
        let answer = phone.script(&format!("dig +short A {name}."))?;
        ensure!(answer.trim() == vip, "{name} gives {answer:?}, not {vip}");
    }
    let answer = phone.script(&format!("dig +short SRV _sip._tcp.scscf.{domain}."))?;
    ensure!(answer.contains(" 5054 "), "{answer:?}");

    // Half of the keys gone and one of them wrong: told, and repaired by one who may do no more than the table says.
    let all = etcdctl(kubectl, &["get", "--prefix", "--keys-only", "/skydns/local/cluster/clearwater"])?;
    let all: Vec<&str> = all.split_whitespace().collect();
    ensure!(all.len() > 4, "{all:?}");
    etcdctl(kubectl, &["del", all[0]])?;
    etcdctl(kubectl, &["put", all[1], "{\"host\":\"10.0.0.1\"}"])?;
    dns_patch(&["--check"], 7)?;
    for (all, args) in [(false, "--yes"), (true, "--check")] {
        let user = Limited::new(cluster, &namespace, &format!("keys{args}"), &["dns-etcd"], all)?;
        let ran = user.plugin()?.run_within(PATIENCE, &["dns-patch", "-f", &path, args])?.expect(0)?;
        user.asked_for_what_the_table_names().map_err(|e| e.context(format!("{args}:\n{}", ran.said())))?;
    }

    dns_patch(&["--remove", "--yes"], 0)?;
    let left = keys(kubectl)?;
    ensure!(!left.contains("clearwater") && !others.is_empty(), "left behind:\n{left}");
    ensure!(corefile.now()? == served, "the Corefile was touched:\n{}", corefile.now()?);
    corefile.write(&corefile.before)
}

#[test]
#[ignore = "needs cluster (edits kube-system), and a plugin with the feature etcd"]
fn an_etcd_that_cannot_be_used_is_told_and_nothing_is_written() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-keys")?;
    let kubectl = namespace.kubectl();
    let corefile = Corefile::keep(kubectl)?;
    let (folder, authority) = etcd(kubectl, namespace.name())?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file("dns: {backend: etcd}\n")?;
    let address = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "sprout-address"},
        "spec": {"selector": {"service": "sprout"}, "ports": [{"name": "scscf", "port": 5054}]},
    });
    kubectl.apply(&address.to_string())?;
    let dns_patch = |args: &[&str], code| {
        let mut all = vec!["dns-patch", "-f", &path, "--yes"];
        all.extend(args);
        plugin.run_within(PATIENCE, &all)?.expect(code)
    };
    let unserved = dns_patch(&[], 2)?;
    ensure!(unserved.err.contains("--etcd-endpoint"), "{}", unserved.err);
    let away = dns_patch(&["--etcd-endpoint", "http://127.0.0.1:1"], 1)?;
    ensure!(away.err.contains("etcd at http://127.0.0.1:1") && away.err.contains("refused"), "{}", away.err);

    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        Ok::<_, anyhow::Error>(path.to_string_lossy().into_owned())
    };
    let other = Authority::open_or_create(&folder.join("other"), "ca").or_else(|_| {
        std::fs::create_dir_all(folder.join("other"))?;
        Authority::open_or_create(&folder.join("other"), "ca")
    })?;
    let (ca, wrong) = (write("ca.pem", authority.certificate())?, write("wrong.pem", other.certificate())?);
    let secure = format!("https://dns-etcd.{}.svc:2378", namespace.name());
    let distrusted = dns_patch(&["--etcd-endpoint", &secure, "--etcd-cacert", &wrong], 1)?;
    ensure!(distrusted.err.to_lowercase().contains("certificate"), "{}", distrusted.err);
    let unknown = dns_patch(&["--etcd-endpoint", &secure, "--etcd-cacert", &ca], 1)?;
    ensure!(unknown.err.contains("etcd at https://"), "{}", unknown.err);
    // With the right certificate etcd is reached, and the block that CoreDNS would need is told.
    let client = authority.issue("root", None, &[])?;
    let (certificate, key) = (write("client.pem", &client.certificate)?, write("client.key", &client.key)?);
    let closed = dns_patch(
        &["--etcd-endpoint", &secure, "--etcd-cacert", &ca, "--etcd-cert", &certificate, "--etcd-key", &key],
        6,
    )?;
    ensure!(closed.err.contains("add this server block"), "{}", closed.err);
    ensure!(keys(kubectl)?.is_empty(), "written all the same:\n{}", keys(kubectl)?);
    corefile.unchanged()?;

    // Without TLS the block is put in too, and goes again without a trace.
    let plain = format!("http://dns-etcd.{}.svc:2379", namespace.name());
    let put = dns_patch(&["--etcd-endpoint", &plain], 0)?;
    ensure!(put.err.contains("a server block is put in"), "{}", put.err);
    let block = corefile.now()?;
    let zone = format!("{}.clearwater.cluster.local:53 {{", namespace.name());
    ensure!(block.starts_with(&zone), "no block of our own:\n{block}");
    dns_patch(&["--check"], 0).context("with the block's own endpoint")?;
    dns_patch(&["--remove"], 0)?;
    ensure!(keys(kubectl)?.is_empty(), "left behind:\n{}", keys(kubectl)?);
    corefile.unchanged()?;

    // Killed after the keys are gone, and again after the block is: the same command, which need not be told where etcd
    // is, finishes both.
    dns_patch(&["--etcd-endpoint", &plain], 0)?;
    let remove = ["dns-patch", "-f", &path, "--yes", "--remove"];
    killed_after(&plugin, &remove, "written: the keys")?;
    ensure!(keys(kubectl)?.is_empty() && corefile.now()? == block, "not killed between its two writes");
    killed_after(&plugin, &remove, "written: configmap")?;
    corefile.unchanged()?;
    let finished = dns_patch(&["--remove"], 0)?;
    ensure!(finished.out.contains("what an earlier run had left is gone"), "{}", finished.said());
    let left = kubectl.in_namespace("kube-system").run(["get", "configmaps", "--output=name"])?;
    ensure!(!left.contains(namespace.name()), "left behind: {left}");
    Ok(())
}
