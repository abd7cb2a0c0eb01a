//! `networkPolicy: isolate` where policies are enforced: kube-router's firewall part on both nodes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, addresses, cluster};
use clearwater_testbed::sip::{Phone, Transport};
use clearwater_testbed::{Attempt, Kubectl, wait_for};

use crate::{PATIENCE, outcome, small_file};

/// What nobody but components may ask.
const CLOSED: &[(&str, &[u16])] = &[
    ("etcd", &[2379, 2380, 4001]),
    ("astaire", &[11211, 11311]),
    ("cassandra", &[7000, 9042, 9160]),
    ("chronos", &[7253]),
    ("homestead", &[8888]),
    ("homestead-prov", &[8889]),
    ("homer", &[7888]),
    ("ralf", &[10888]),
    ("sprout", &[5052, 5054, 9888]),
    ("bono", &[5058]),
];

/// What subscribers may, and browsers where Ellis is exposed.
const OPEN: &[(&str, &[u16])] = &[("bono", &[3478, 5060, 5062]), ("ellis", &[80])];

/// Each address with each port, as a text for the shell.
fn targets(kubectl: &Kubectl, list: &[(&str, &[u16])]) -> Result<String> {
    let mut text = String::new();
    for (component, ports) in list {
        let all = addresses(kubectl, component)?;
        ensure!(!all.is_empty(), "{component} has no pod");
        for address in all {
            for port in *ports {
                text.push_str(&format!(" {component}/{address}/{port}"));
            }
        }
    }
    Ok(text)
}

/// A script that prints those targets that take a connection. All are tried at once.
fn probe(targets: &str) -> String {
    format!(
        "for t in {targets}; do IFS=/ read -r name ip port <<< $t; \
         (timeout 3 bash -c \"exec 3<> /dev/tcp/$ip/$port\" 2> /dev/null && echo $name:$port) & done; wait"
    )
}

fn reached(said: &str) -> Vec<String> {
    let mut all: Vec<String> = said.lines().map(str::to_owned).collect();
    all.sort();
    all.dedup();
    all
}

fn names(list: &[(&str, &[u16])]) -> Vec<String> {
    let mut all: Vec<_> =
        list.iter().flat_map(|(name, ports)| ports.iter().map(move |port| format!("{name}:{port}"))).collect();
    all.sort();
    all
}

/// With isolate, and with `securityContext: hardened`, a call goes through; a neighbour pod reaches neither etcd nor the
/// provisioning port nor Cassandra, and a component no other than those it needs.
#[test]
#[ignore = "needs cluster to itself (enforces policies on its nodes)"]
fn a_call_goes_through_and_neighbours_reach_no_store() -> Result<()> {
    let cluster = cluster();
    let enforced = cluster.local()?.network_policies(&|_| ())?;
    let namespace = cluster.namespace("e2e-isolate")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path =
        small_file("keys: upstream\nnetworkPolicy: isolate\nsecurityContext: hardened\nellis: {exposure: nodePort}\n")?;
    let two = std::fs::read_to_string(&path)?
        .replace("  astaire: {", "  astaire: {replicas: 2, ")
        .replace("  chronos: {", "  chronos: {replicas: 2, ");
    std::fs::write(&path, two)?;
    let up = ["up", "--yes", "-f", &path, "-o", "json"];
    plugin.run_within(PATIENCE, &up)?.expect(0)?;

    // Exec, port-forwards and the kubelets' probes pass: nothing is unwell.
    plugin.run(&["status"])?.expect(0)?;
    let phone = Phone::start(kubectl)?;
    let users = phone.provision("ellis", 2)?;
    let bono = addresses(kubectl, "bono")?.pop().context("no bono")?;
    for transport in [Transport::Tcp, Transport::Udp] {
        phone.exercise(&bono, &users[0], &users[1], transport)?.check()?;
    }

    let elsewhere = cluster.namespace("e2e-neighbour")?;
    let other = Phone::start(elsewhere.kubectl())?;
    let (closed, open) = (targets(kubectl, CLOSED)?, targets(kubectl, OPEN)?);
    for (place, neighbour) in [("of the namespace", &phone), ("of another namespace", &other)] {
        let seen = reached(&neighbour.script(&probe(&format!("{closed}{open}")))?);
        ensure!(seen == names(OPEN), "a neighbour {place} reaches {seen:?}");
    }
    // A component among its own: homer asks Cassandra and etcd, and nobody else.
    let homer = ["exec", "deployment/homer", "--", "bash", "-c", &probe(&closed)];
    let seen = reached(&kubectl.run(homer)?);
    let wanted = ["cassandra:9160", "etcd:2379", "etcd:2380", "homer:7888"];
    ensure!(seen == wanted, "homer reaches {seen:?}");

    // It is the policy that keeps them out: without it etcd is there for everybody.
    kubectl.run(["delete", "networkpolicy", "etcd"])?;
    let etcd = targets(kubectl, &CLOSED[..1])?;
    wait_for("a neighbour to reach etcd without its policy", Duration::from_secs(20), || {
        let seen = reached(&phone.script(&probe(&etcd))?);
        let all = seen == names(&CLOSED[..1]);
        Ok(if all { Attempt::Done(()) } else { Attempt::not_yet(format!("it reaches {seen:?}")) })
    })?;
    // `up` puts back what was taken away, and `down` takes all.
    let again = plugin.run_within(PATIENCE, &[&up[..], &["--only", "etcd"]].concat())?.expect(0)?;
    ensure!(outcome(&again)? == "done", "{}", again.out);
    ensure!(kubectl.run(["get", "networkpolicy", "etcd", "--output=name"])?.contains("etcd"), "{}", again.out);
    plugin.run_within(PATIENCE, &["down", "--yes", "--now"])?.expect(0)?;
    let left = kubectl.run(["get", "networkpolicies", "--output=name"])?;
    ensure!(left.is_empty(), "{left}");
    enforced.repair()
}
