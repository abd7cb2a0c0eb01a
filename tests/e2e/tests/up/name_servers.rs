//! A pod with several name servers, of which chronos reads none.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::{Attempt, wait_for};
use serde_json::{Value, json};

use crate::{PATIENCE, kinds, small_file};

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_chronos_with_two_name_servers_is_said_to_be_deaf() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-servers")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let kubectl = namespace.kubectl();
    let path = small_file("")?;
    let args = ["up", "--yes", "--only", "chronos", "-f", &path];
    let up = plugin.follow(&args)?.finish(PATIENCE)?.0.expect(0)?;
    let line =
        kinds(&up)?.into_iter().find(|e| e["line"]["id"] == "name-servers").context("no line of name servers")?;
    let server = line["line"]["detail"].as_str().unwrap_or_default().to_owned();
    ensure!(line["line"]["status"] == "ok" && server.parse::<std::net::IpAddr>().is_ok(), "{line}");
    let chronos = |script: &str| kubectl.run(["exec", "chronos-0", "--", "bash", "-c", script]);
    ensure!(chronos("cat /etc/chronos/chronos.conf")?.contains(&format!("servers={server}\n")));

    // What a kubelet with two addresses in its clusterDNS would give.
    let zone = format!("{}.svc.cluster.local", namespace.name());
    let dns = json!({"nameservers": [&server, "192.0.2.53"], "searches": [zone], "options": [{"name": "ndots", "value": "5"}]});
    let two = json!({"spec": {"template": {"spec": {"dnsPolicy": "None", "dnsConfig": dns}}}}).to_string();
    kubectl.run(["patch", "statefulset", "chronos", "--patch", &two])?;
    // There is no etcd that it could leave by, and it would try for as long as it is given.
    kubectl.run(["delete", "pod", "chronos-0", "--grace-period=1"])?;
    wait_for("status to name what makes chronos deaf", Duration::from_secs(90), || {
        let ran = plugin.run(&["status", "-o", "json"])?;
        let seen: Value = serde_json::from_str(&ran.out).with_context(|| ran.err.clone())?;
        let found = seen["components"].as_array().into_iter().flatten().find(|c| c["component"] == "chronos");
        let problems = found.context("no chronos in status")?["problems"].to_string();
        let named = problems.contains("several name servers") && problems.contains(&format!("{server},192.0.2.53"));
        Ok(if ran.code == 5 && named {
            Attempt::Done(())
        } else {
            Attempt::not_yet(format!("{}: {problems}", ran.code))
        })
    })?;
    let said = chronos("cat /var/log/chronos/*.txt")?;
    let error = format!("Failed to parse '{server},192.0.2.53' as IP address - defaulting to 127.0.0.1");
    ensure!(said.contains(&error), "{said}");

    // It will not repair itself, and `up` does not wait for it.
    let up = plugin.follow(&args)?.finish(PATIENCE)?.0.expect(4)?;
    let failed = kinds(&up)?.into_iter().find(|e| e["kind"] == "failed").with_context(|| up.out.clone())?;
    ensure!(failed["failure"] == "config" && failed["component"] == "chronos", "{failed}");
    ensure!(failed.to_string().contains("several name servers"), "{failed}");
    Ok(())
}
