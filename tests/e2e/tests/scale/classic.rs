use anyhow::{Result, ensure};
use clearwater::component::Release;
use clearwater_e2e::{Plugin, addresses, cluster};
use clearwater_testbed::sip::{Phone, Transport};

use crate::{PATIENCE, file_of, scale};

/// The classic release has one sprout for each of its two names; `scale sprout` means both.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn classic_scales_its_interrogating_and_its_serving_sprout_together() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-scale-classic")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file_of(
        Release::Classic,
        "images: {registry: localhost/clearwater-classic, prefix: \"\", tag: \"2016\"}\nkeys: upstream\n",
    )?;
    plugin.run_within(PATIENCE, &["up", "--yes", "-f", &path])?.expect(0)?;
    let phone = Phone::start(kubectl)?;
    let users = phone.provision("ellis", 2)?;
    phone.exercise("bono", &users[0], &users[1], Transport::Tcp)?.check()?;

    scale(&plugin, &["sprout=2", "-f", &path])?;
    let counts = kubectl.run([
        "get",
        "deployments",
        "--selector=service=sprout",
        "--output=jsonpath={.items[*].spec.replicas}",
    ])?;
    ensure!(counts == "2 2" && addresses(kubectl, "sprout")?.len() == 4, "replicas: {counts}");
    for name in ["icscf.sprout", "scscf.sprout"] {
        let found = phone
            .script(&format!("getent ahostsv4 {name}.{} | awk '{{print $1}}' | sort -u", zone(namespace.name())))?;
        ensure!(found.lines().count() == 2, "{name}: {found}");
    }
    phone.exercise("bono", &users[0], &users[1], Transport::Udp)?.check()?;
    scale(&plugin, &["sprout=1", "-f", &path])?;
    phone.exercise("bono", &users[0], &users[1], Transport::Tcp)?.check()
}

fn zone(namespace: &str) -> String {
    format!("{namespace}.svc.cluster.local")
}
