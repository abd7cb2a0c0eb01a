use std::time::Duration;

use anyhow::{Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::sip::{Outcome, Phone, Subscriber, Transport};
use clearwater_testbed::{Attempt, wait_for};
use serde_json::Value;

use crate::{Corefile, PATIENCE, file};

/// Bringing eleven components up takes most of it.
const UP: Duration = Duration::from_secs(240);
/// Programs and servers keep for some seconds that a name was missing.
const CACHES: Duration = Duration::from_secs(60);

fn get_through(phone: &Phone, users: &[Subscriber]) -> Result<()> {
    wait_for("the phones to get through", CACHES, || {
        let report = phone.exercise("bono", &users[0], &users[1], Transport::Tcp)?;
        Ok(report.check().map_or_else(|error| Attempt::not_yet(format!("{error:#}")), Attempt::Done))
    })
}

fn are_lost(phone: &Phone, users: &[Subscriber]) -> Result<()> {
    wait_for("registration to fail without the names", CACHES, || {
        let report = phone.exercise("bono", &users[0], &users[1], Transport::Tcp)?;
        // The called phone registers first.
        Ok(match report.step("callee") {
            // A bono whose upstream does not resolve answers by itself, at once.
            Some(Outcome::Refused { status: 408, .. }) => Attempt::Done(()),
            other => Attempt::not_yet(format!("{other:?}")),
        })
    })
}

/// The article's symptoms without the names; with each backend two phones register, message and call.
#[test]
#[ignore = "needs cluster (edits kube-system)"]
fn classic_gets_through_with_the_names_and_not_without() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-calls")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    // The names are left to DNS elsewhere, which there is not: `up` puts none in.
    let path = file("dns: {backend: print}\n")?;
    let dns_patch = |args: &[&str], code| {
        let mut all = vec!["dns-patch", "-f", &path];
        all.extend(args);
        plugin.run_within(PATIENCE, &all)?.expect(code)
    };
    plugin.run_within(UP, &["up", "--yes", "-f", &path])?.expect(0)?;
    let phone = Phone::start(kubectl)?;
    let users = phone.provision("ellis", 2)?;
    are_lost(&phone, &users)?;

    let corefile = Corefile::keep(kubectl)?;
    let explained = dns_patch(&["--explain", "-o", "json"], 5)?;
    let told: Value = serde_json::from_str(&explained.out)?;
    let name = format!("scscf.sprout.{}.svc.cluster.local", namespace.name());
    let found =
        |told: &Value| told["names"].as_array().into_iter().flatten().find(|n| n["name"] == name.as_str()).cloned();
    let scscf = found(&told).unwrap_or_default();
    ensure!(
        scscf["found"] == false
            && scscf["symptoms"].to_string().contains("408")
            && scscf["seen"].to_string().contains("NXDOMAIN")
            && scscf["seen"].to_string().contains("by UDP from"),
        "{scscf}"
    );
    ensure!(told["resolvers"].to_string().contains("the same"), "{}", told["resolvers"]);

    for backend in ["coredns", "endpoints"] {
        let put = dns_patch(&["--backend", backend, "--yes"], 0)?;
        ensure!(put.out.contains("UDP to"), "not asked from inside:\n{}", put.said());
        get_through(&phone, &users)?;
        dns_patch(&["--backend", backend, "--check"], 0)?;
        if backend == "coredns" {
            let told: Value = serde_json::from_str(&dns_patch(&["--explain", "-o", "json"], 0)?.out)?;
            let scscf = found(&told).unwrap_or_default();
            ensure!(scscf["found"] == true && scscf["symptoms"].is_null(), "{scscf}");
        } else {
            // A pod that was replaced has another address, which is told.
            kubectl.run(["rollout", "restart", "deployment/sprout"])?;
            kubectl.run(["rollout", "status", "deployment/sprout", "--timeout=90s"])?;
            let stale = dns_patch(&["--backend", backend, "--check"], 7)?;
            ensure!(stale.out.contains("endpointslice"), "{}", stale.out);
            dns_patch(&["--backend", backend, "--yes"], 0)?;
            get_through(&phone, &users)?;
        }
        dns_patch(&["--remove", "--yes"], 0)?;
        corefile.unchanged()?;
        let slices = kubectl.run(["get", "endpointslices", "--output=name"])?;
        ensure!(!slices.contains("clearwater"), "left behind: {slices}");
    }
    are_lost(&phone, &users)
}
