//! A Corefile as few write one, and a search domain in which everything is found.

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, check_lines, cluster};
use clearwater_testbed::Kubectl;
use serde_json::{Value, json};

use crate::{Corefile, PATIENCE};

/// CoreDNS' own environment, put back as it was.
struct Environment<'a>(&'a Kubectl);

impl Environment<'_> {
    fn set(&self, variable: &str) -> Result<()> {
        self.0.run(["set", "env", "deployment/coredns", variable])?;
        self.0.run(["rollout", "status", "deployment/coredns", "--timeout=120s"]).map(drop)
    }
}

impl Drop for Environment<'_> {
    fn drop(&mut self) {
        let _ = self.set("E2E_DOMAIN-");
    }
}

/// The cluster's domain is a variable, in capitals and quotes and behind another cluster's block.
#[test]
#[ignore = "needs cluster (restarts its DNS)"]
fn the_clusters_domain_is_read_as_coredns_reads_it() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-domain")?;
    let system = namespace.kubectl().in_namespace("kube-system");
    let environment = Environment(&system);
    let corefile = Corefile::keep(namespace.kubectl())?;
    environment.set("E2E_DOMAIN=Cluster.Local")?;
    let plain = "    kubernetes cluster.local in-addr.arpa";
    ensure!(corefile.before.contains(plain), "{}", corefile.before);
    let variable = corefile.before.replace(plain, "    kubernetes \"{$E2E_DOMAIN}\" in-addr.arpa");
    corefile.write(&format!("\"Other.Example:53\" {{\n    kubernetes\n}}\n{variable}"))?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let domain = |more: &[&str], code| -> Result<Value> {
        let args = [&["up", "--yes", "--dry-run", "--only", "etcd"][..], more].concat();
        let ran = plugin.follow(&args)?.finish(PATIENCE)?.0.expect(code)?;
        let events = ran.events()?;
        let line = events.iter().map(|e| &e["what"]["line"]).find(|line| line["id"] == "domain");
        line.cloned().with_context(|| ran.out.clone())
    };
    let read = domain(&[], 0)?;
    ensure!(read["status"] == "ok" && read["title"].to_string().contains("cluster.local"), "{read}");
    // So does the one before it, and no third one.
    let other = domain(&["--set", "clusterDomain=other.example"], 0)?;
    ensure!(other["status"] == "ok", "{other}");
    let third = ["--set", "clusterDomain=third.example"];
    let wrong = domain(&third, 4)?;
    ensure!(wrong["detail"] == "cluster DNS serves cluster.local, other.example", "{wrong}");
    let past = domain(&[&third[..], &["--skip-check", "domain"]].concat(), 0)?;
    ensure!(past["status"] == "skipped", "{past}");
    Ok(())
}

/// As `*.lab` in the search list of k3s' nodes: what asks with fewer dots than `ndots` is led away.
#[test]
#[ignore = "needs cluster (adds to its DNS)"]
fn a_wildcard_in_a_search_domain_is_found_from_inside_of_the_pods() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-search")?;
    let kubectl = namespace.kubectl();
    let corefile = Corefile::keep(kubectl)?;
    let lab = "lab.test:53 {\n    template IN A {\n        answer \"{{ .Name }} 60 IN A 192.0.2.99\"\n    }\n    \
               template IN AAAA {\n        rcode NOERROR\n    }\n}\n";
    corefile.write(&format!("{}{lab}", corefile.before))?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    plugin.run_within(PATIENCE, &["up", "--yes", "--only", "chronos"])?.expect(0)?;
    let names = |code| -> Result<Value> {
        let ran = plugin.run_within(PATIENCE, &["check", "--only", "names", "-o", "json"])?.expect(code)?;
        let checks: Value = serde_json::from_str(&ran.out)?;
        check_lines(&checks).find(|line| line["id"] == "names").cloned().with_context(|| ran.out.clone())
    };
    ensure!(names(0)?["status"] == "ok");
    let search = json!({"spec": {"template": {"spec": {"dnsConfig": {"searches": ["lab.test"]}}}}}).to_string();
    kubectl.run(["patch", "statefulset", "chronos", "--patch", &search])?;
    // There is no etcd that it could leave by, and it would try for as long as it is given.
    kubectl.run(["delete", "pod", "chronos-0", "--grace-period=1"])?;
    kubectl.run(["wait", "--for=create", "--timeout=60s", "pod/chronos-0"])?;
    kubectl.run(["wait", "--for=condition=Ready", "--timeout=120s", "pod/chronos-0"])?;
    let astray = names(5)?;
    let said = astray.to_string();
    ensure!(astray["title"].to_string().contains("lab.test") && said.contains("192.0.2.99"), "{said}");
    ensure!(said.contains("take lab.test out of the search list of the nodes"), "{said}");
    Ok(())
}
