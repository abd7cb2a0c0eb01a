//! Deployments whose objects name addresses that exist only once their Services do.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::sip::{Phone, Transport};
use clearwater_testbed::{Kubectl, LOAD_BALANCER_ANNOTATION};

use crate::{PATIENCE, file, is, kinds, outcome, small_file};

fn balanced(kubectl: &Kubectl, namespace: &str, how: &str) -> Result<()> {
    kubectl.run(["annotate", "namespace", namespace, &format!("{LOAD_BALANCER_ANNOTATION}={how}")])?;
    Ok(())
}

fn read(kubectl: &Kubectl, object: &str, path: &str) -> Result<String> {
    kubectl.run(["get", object, &format!("--output=jsonpath={path}")])
}

/// Bono is told the address that its load balancer gave, and phones come through it.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn bono_takes_the_address_of_its_load_balancer() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-balancer")?;
    let kubectl = namespace.kubectl();
    balanced(kubectl, namespace.name(), "late=3s")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = small_file("keys: upstream\nbono: {exposure: loadBalancer}\n")?;
    let args = ["up", "--yes", "-f", &path];
    plugin.follow(&args)?.finish(PATIENCE)?.0.expect(0)?;

    let given = read(kubectl, "service/bono-0", "{.status.loadBalancer.ingress[0].ip}")?;
    let script = read(kubectl, "configmap/bono-start", "{.data.start\\.sh}")?;
    ensure!(!given.is_empty() && script.contains(&format!("bono-0) PUBLIC_IP={given} ;;")), "{given}: {script}");
    let phone = Phone::start(kubectl)?;
    let users = phone.provision("ellis", 2)?;
    phone.exercise(&given, &users[0], &users[1], Transport::Tcp)?.check()?;

    // A second one gets an address of its own, and is told it.
    plugin.run_within(PATIENCE, &["scale", "bono", "2", "--yes", "-f", &path])?.expect(0)?;
    let second = read(kubectl, "service/bono-1", "{.status.loadBalancer.ingress[0].ip}")?;
    let script = read(kubectl, "configmap/bono-start", "{.data.start\\.sh}")?;
    ensure!(!second.is_empty() && second != given, "{given} {second}");
    ensure!(script.contains(&format!("bono-1) PUBLIC_IP={second} ;;")), "{second}: {script}");
    phone.exercise(&second, &users[0], &users[1], Transport::Udp)?.check()?;

    let again = plugin.run(&["up", "--yes", "-f", &path, "-o", "json"])?.expect(0)?;
    ensure!(outcome(&again)? == "nothingToDo", "{}", again.out);
    Ok(())
}

/// A name cannot stand in a SIP route: it is said as soon as it is seen, long before bono's turn.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_load_balancer_that_gives_only_a_name_ends_the_run() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-lb-name")?;
    balanced(namespace.kubectl(), namespace.name(), "hostname")?;
    let path = file("bono: {exposure: loadBalancer, service: perProtocol}\n")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let ran = plugin.follow(&["up", "--yes", "-f", &path])?.finish(PATIENCE)?.0.expect(4)?;
    let failed = kinds(&ran)?.into_iter().find(|e| is(e, "failed", "bono")).with_context(|| ran.out.clone())?;
    ensure!(failed["failure"] == "noAddress", "{failed}");
    ensure!(failed["fix"].as_str().is_some_and(|f| f.contains("bono.addresses")), "{failed}");
    ensure!(failed["causes"].to_string().contains("service/bono-0-"), "{failed}");
    ensure!(ran.took < Duration::from_secs(30), "it took {:?}", ran.took);
    Ok(())
}

/// The article's Services: sprout takes its virtual address for its own, or a request would go round until 483.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn sprout_knows_the_virtual_address_of_its_service() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-vip")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file(
        "release: classic\nservices: clusterIP\ndns: {backend: print}\nkeys: upstream\n\
         images: {registry: localhost/clearwater-classic, prefix: \"\", tag: \"2016\"}\n",
    )?;
    let args = ["up", "--yes", "--only", "chronos", "-f", &path];
    plugin.follow(&args)?.finish(PATIENCE)?.0.expect(0)?;
    let given = read(kubectl, "service/sprout", "{.spec.clusterIP}")?;
    let config =
        kubectl.run(["exec", "chronos-0", "--", "grep", "local_alias_list", "/etc/clearwater/shared_config"])?;
    ensure!(!given.is_empty() && config.contains(&given), "sprout's address is {given}: {config}");
    let again = plugin.run(&["up", "--yes", "--only", "chronos", "-f", &path, "-o", "json"])?.expect(0)?;
    ensure!(outcome(&again)? == "nothingToDo", "{}", again.out);
    Ok(())
}
