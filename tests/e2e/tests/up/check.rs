use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, check_lines, cluster};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::Value;

use crate::PATIENCE;

/// The ids of the lines that end so, of what `check -o json` wrote.
fn ids(checks: &Value, status: &str) -> BTreeSet<String> {
    check_lines(checks).filter(|l| l["status"] == status).filter_map(|l| Some(l["id"].as_str()?.to_owned())).collect()
}

/// Faults are planted into a deployment in health: `check` finds them by their ids, and so does who has only the report.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn planted_faults_are_found_on_the_cluster_and_in_its_report() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-check")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    plugin.run(&["check", "--before"])?.expect(0)?;
    plugin.run(&["check"])?.expect(5)?;
    plugin.run_within(PATIENCE, &["up", "--yes", "--only=etcd,chronos,homer"])?.expect(0)?;
    plugin.run(&["check"])?.expect(0)?;

    let plant = "supervisorctl stop clearwater-group:homer; \
        sed -i 's/^home_domain=.*/home_domain=example.com/; s/^ellis_api_key=.*/ellis_api_key=secret/' \
        /etc/clearwater/shared_config; true";
    kubectl.run(["exec", "deployment/homer", "--", "bash", "-c", plant])?;
    let ran = plugin.run(&["check", "-o", "json"])?.expect(5)?;
    let checks: Value = serde_json::from_str(&ran.out)?;
    let (failed, warned) = (ids(&checks, "failed"), ids(&checks, "warning"));
    ensure!(failed.contains("programs") && failed.contains("zone"), "{failed:?}\n{}", ran.out);
    // Three components are no exchange.
    ensure!(warned.iter().eq(["workloads"]), "{warned:?}\n{}", ran.out);
    ensure!(checks["looks"].as_u64() >= Some(2), "{}", ran.out);
    plugin.run(&["check", "--only=clock,disk,images"])?.expect(0)?;

    let dir = tempfile::tempdir()?;
    let path = dir.path().join("report.zip");
    plugin.run(&["report", "--to", path.to_str().context("a path")?])?.expect(0)?;
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&path)?)?;
    let mut all = String::new();
    let mut read = |name: &str| -> Result<String> {
        let mut text = String::new();
        archive.by_name(name).with_context(|| name.to_owned())?.read_to_string(&mut text)?;
        all.push_str(&text);
        Ok(text)
    };
    let contents: Value = serde_json::from_str(&read("report.json")?)?;
    ensure!(contents["lacked"].as_array().is_some_and(Vec::is_empty), "{contents}");
    let checks: Value = serde_json::from_str(&read("check.json")?)?;
    ensure!(ids(&checks, "failed").contains("programs"), "{checks}");
    let files: Vec<String> =
        contents["files"].as_array().context("files")?.iter().filter_map(|f| Some(f.as_str()?.to_owned())).collect();
    let homer = |end: &str| files.iter().find(|f| f.contains("/homer-") && f.ends_with(end)).context(end.to_owned());
    ensure!(read(homer("programs.txt")?)?.contains("STOPPED"), "homer's programs");
    ensure!(read(homer("configuration.txt")?)?.contains("home_domain=example.com"), "homer's configuration");
    let images: Value = serde_json::from_str(&read("check-images.json")?)?;
    let planted = ["programs", "shared-config"].map(|id| ("homer".to_owned(), id.to_owned()));
    ensure!(planted.iter().all(|id| differing(&images).contains(id)), "{images}");
    for file in &files {
        read(file)?;
    }
    let ran = plugin.run(&["status", "--from", path.to_str().context("a path")?])?.expect(5)?;
    ensure!(ran.out.contains("homer") && ran.out.contains("unwell"), "{}", ran.out);
    // The keys are in the containers' configuration, of those that need them; none of them is in the report.
    let template = "--output=go-template={{range .data}}{{.}} {{base64decode .}} {{end}}";
    let keys = kubectl.run(["get", "secret", "clearwater-keys", template])?;
    ensure!(keys.split_whitespace().count() > 1, "{keys}");
    for key in keys.split_whitespace() {
        let at = all.find(key).map(|at| all[at.saturating_sub(60)..at].to_owned());
        ensure!(key.len() > 8 && at.is_none(), "a key is in the report, behind {at:?}");
    }
    hides_addresses(&plugin, kubectl, &dir.path().join("hidden.zip"))
}

/// A namespace that is not there yet, on a cluster in health, is no reason to fail; what could not be asked there is said.
#[test]
#[ignore = "needs cluster"]
fn a_cluster_takes_a_deployment_in_a_namespace_that_is_not_there_yet() -> Result<()> {
    let plugin = Plugin::new(cluster(), "e2e-check-new")?;
    let ran = plugin.run(&["check", "--before", "-o", "json"])?.expect(0)?;
    let checks: Value = serde_json::from_str(&ran.out)?;
    let aside = ids(&checks, "notApplicable");
    ensure!(["admission", "objects", "quota"].iter().all(|id| aside.contains(*id)), "{}", ran.out);
    for status in ["failed", "skipped", "unseen"] {
        ensure!(ids(&checks, status).is_empty(), "{status}: {}", ran.out);
    }
    Ok(())
}

/// A daemon that hangs has its connections taken by the kernel: it is found by what it does not answer.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_daemon_that_hangs_is_found() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-check-hangs")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    plugin.run_within(PATIENCE, &["up", "--yes", "--only=astaire,cassandra"])?.expect(0)?;
    plugin.run(&["check"])?.expect(0)?;
    for (pod, program) in [("astaire-0", "/usr/bin/memcached "), ("cassandra-0", "/usr/bin/standin cassandra")] {
        let stop = format!(
            "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | grep -q '^{program}' && kill -STOP ${{p##*/}}; done; true"
        );
        kubectl.run(["exec", pod, "--", "bash", "-c", &stop])?;
    }
    let ran = plugin.run(&["check", "-o", "json"])?.expect(5)?;
    let checks: Value = serde_json::from_str(&ran.out)?;
    ensure!(ids(&checks, "failed").iter().eq(["answers"]), "{}", ran.out);
    for words in
        ["CQL OPTIONS on port 9042: it takes connections and answers nothing", "memcached version on port 11211: "]
    {
        ensure!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    let ran = plugin.run_within(PATIENCE, &["check", "--images", "-o", "json"])?.expect(5)?;
    let found = differing(&serde_json::from_str(&ran.out)?);
    for (component, id) in [("cassandra", "cql"), ("astaire", "memcached-store")] {
        ensure!(found.contains(&(component.to_owned(), id.to_owned())), "{found:?}\n{}", ran.out);
    }
    // What is advised ends what hangs, and supervisord starts it again.
    for line in check_lines(&checks).filter(|line| line["status"] == "failed") {
        let fix = line["fix"].as_str().context("no fix")?;
        let pod = ["astaire-0", "cassandra-0"].into_iter().find(|pod| fix.contains(pod)).context("no pod")?;
        let script = fix.split_once('\'').and_then(|(_, rest)| rest.rsplit_once('\'')).context("no script")?.0;
        kubectl.run(["exec", pod, "--", "bash", "-c", script])?;
    }
    wait_for("what hung to serve again", Duration::from_secs(120), || {
        let ran = plugin.run(&["check"])?;
        Ok(if ran.code == 0 { Attempt::Done(()) } else { Attempt::not_yet(ran.out) })
    })
}

/// No pod's address is left in any file of an anonymized report, which can be read all the same.
fn hides_addresses(plugin: &Plugin, kubectl: &Kubectl, path: &Path) -> Result<()> {
    let file = path.to_str().context("a path")?;
    plugin.run(&["report", "--anonymize", "--to", file])?.expect(0)?;
    let template = "--output=go-template={{range .items}}{{.status.podIP}} {{.status.hostIP}} {{end}}";
    let addresses = kubectl.run(["get", "pods", template])?;
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path)?)?;
    for n in 0..archive.len() {
        let mut text = Vec::new();
        let mut file = archive.by_index(n)?;
        file.read_to_end(&mut text)?;
        let text = format!("{}\n{}", file.name(), String::from_utf8_lossy(&text));
        let left: Vec<&str> = text
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|word| addresses.split_whitespace().any(|address| address == word.trim_end_matches('.')))
            .collect();
        ensure!(left.is_empty(), "{}: {left:?}", file.name());
    }
    plugin.run(&["status", "--from", file])?.expect(5)?;
    Ok(())
}

/// The ids of what differs, of what `check --images -o json` wrote, with the component that each is about.
fn differing(report: &Value) -> BTreeSet<(String, String)> {
    let images = report["images"].as_array().into_iter().flatten();
    let claims = images.flat_map(|i| i["claims"].as_array().into_iter().flatten());
    let differ = claims.filter(|c| c["verdict"] == "differs");
    differ.filter_map(|c| Some((c["about"].as_str()?.to_owned(), c["id"].as_str()?.to_owned()))).collect()
}

/// The stand-ins are as the product takes the images to be; one that is changed differs by name, with what was seen.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn images_agree_and_a_planted_one_differs_by_name() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-check-images")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    plugin.run(&["check", "--images"])?.expect(1)?;
    plugin.run_within(PATIENCE, &["up", "--yes"])?.expect(0)?;
    let ran = plugin.run_within(PATIENCE, &["check", "--images", "-o", "json"])?.expect(0)?;
    let report: Value = serde_json::from_str(&ran.out)?;
    ensure!(report["agrees"] == true && report["complete"] == true, "{}", ran.out);
    let images = report["images"].as_array().context("images")?;
    ensure!(images.len() == 10, "{} images were asked", images.len());

    let plant = "rm /usr/bin/pre-stop; sed -i 's/^home_domain=.*/home_domain=example.org/' /etc/clearwater/shared_config; \
        printf 'something else\\n' > /var/log/homer/homer_20200101T000000Z.txt";
    kubectl.run(["exec", "deployment/homer", "--", "bash", "-c", plant])?;
    let ran = plugin.run_within(PATIENCE, &["check", "--images", "-o", "json"])?.expect(5)?;
    let planted = ["helpers", "log-python", "shared-config"].map(|id| ("homer".to_owned(), id.to_owned()));
    let found = differing(&serde_json::from_str(&ran.out)?);
    ensure!(found == BTreeSet::from(planted), "{found:?}\n{}", ran.out);
    let ran = plugin.run_within(PATIENCE, &["check", "--images"])?.expect(5)?;
    ensure!(ran.out.contains("/usr/bin/pre-stop is missing") && ran.out.contains("3 claims differ"), "{}", ran.out);
    Ok(())
}

/// What is planted in containers of a deployment in health: (the row of the list of known problems, or 0; who; what; the
/// check that finds it). One look has to find all of it, and nothing else.
const PLANTED: [(u8, &str, &str, &str); 9] = [
    (1, "homer", "echo 'cassandra_hostname=cassandra' >> /etc/clearwater/shared_config", "hostnames"),
    (2, "homestead", "echo 'signaling_dns_server=127.0.0.1' >> /etc/clearwater/shared_config", "resolver"),
    (
        5,
        "sprout",
        "printf '%s=\"sip:s.x:5054;transport=tcp\"\\n' icscf_uri scscf_uri >> /etc/clearwater/shared_config",
        "uris",
    ),
    (7, "ellis", "supervisorctl stop clearwater-group:mysql", "programs"),
    (8, "ellis", "echo OperationalError >> /var/log/create_numbers.log", "numbers"),
    (17, "bono", "sed -i '/^public_/d' /etc/clearwater/local_config", "public-address"),
    (20, "ralf", "sed -i 's/^home_domain=.*/home_domain=example.com/' /etc/clearwater/shared_config", "zone"),
    (0, "ellis", "echo 'ellis_api_key=secret' >> /etc/clearwater/shared_config", "keys"),
    (0, "ralf", "echo 'log_level=5' >> /etc/clearwater/shared_config", "log-level"),
];

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn known_problems_are_found_in_a_running_deployment() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-check-planted")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    plugin.run_within(PATIENCE, &["up", "--yes"])?.expect(0)?;
    let health: Value = serde_json::from_str(&plugin.run(&["check", "-o", "json"])?.expect(0)?.out)?;
    ensure!(ids(&health, "ok").contains("usage"), "{health}");
    for status in ["failed", "warning", "skipped"] {
        ensure!(ids(&health, status).is_empty(), "{status}: {health}");
    }
    for (_, workload, plant, _) in PLANTED {
        kubectl.run(["exec", &format!("deployment/{workload}"), "--", "bash", "-c", &format!("{plant}; true")])?;
    }
    // Row 29, and a claim that is being made, which nothing left behind.
    kubectl.run(["delete", "service", "hs"])?;
    let claim = r#"{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"data-homer-0","labels":{"service":"homer"}},
        "spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"none","resources":{"requests":{"storage":"1Gi"}}}}"#;
    kubectl.apply(claim)?;
    let ran = plugin.run(&["check", "-o", "json"])?.expect(5)?;
    let checks: Value = serde_json::from_str(&ran.out)?;
    let mut found: BTreeSet<String> = ids(&checks, "failed");
    found.extend(ids(&checks, "warning"));
    let planted = PLANTED.iter().map(|(.., id)| (*id).to_owned()).chain(["turn", "names"].map(str::to_owned));
    ensure!(found == planted.collect(), "{found:?}\n{}", ran.out);

    // Row 30 of a Secret: a key that is another one than its readers were started with, by its name alone.
    let other = r#"{"stringData":{"signup_key":"another-than-before"}}"#;
    kubectl.run(["patch", "secret", "clearwater-keys", "--patch", other])?;
    let ran = plugin.run(&["check", "--only", "revision"])?.expect(0)?;
    let told = "started with another value of SIGNUP_KEY than secret/clearwater-keys has now";
    ensure!(ran.out.contains(told) && !ran.out.contains("another-than-before"), "{}", ran.out);
    // What was scaled to 0 is told with its workload, and nothing waits for its answer.
    kubectl.run(["scale", "statefulset/cassandra", "deployment/ellis", "--replicas=0"])?;
    kubectl.run(["delete", "pods", "--selector=service in (cassandra,ellis)", "--force", "--grace-period=0"])?;
    let ran = plugin.run(&["check", "--only", "workloads,ipv6,numbers", "-o", "json"])?.expect(5)?;
    let checks: Value = serde_json::from_str(&ran.out)?;
    ensure!(["ipv6", "numbers"].iter().all(|id| ids(&checks, "notApplicable").contains(*id)), "{}", ran.out);
    ensure!(ids(&checks, "skipped").is_empty() && ran.out.matches("scaled to 0").count() >= 2, "{}", ran.out);
    Ok(())
}

/// Somebody changes the settings that all share: what follows from it is told with it, and `up` writes it back and starts anew
/// what runs with it.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_wrong_zone_is_one_finding_and_up_mends_it() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-zone")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    let failed = || -> Result<(BTreeSet<String>, String)> {
        let ran = plugin.run(&["check", "-o", "json"])?.expect(5)?;
        let checks: Value = serde_json::from_str(&ran.out)?;
        Ok((ids(&checks, "failed"), ran.out))
    };
    plugin.run_within(PATIENCE, &["up", "--yes", "--only=etcd,chronos,homer,ralf"])?.expect(0)?;
    kubectl.run(["patch", "configmap", "env-vars", "-p", r#"{"data":{"ZONE":"elsewhere.svc.cluster.local"}}"#])?;
    let (ids, out) = failed()?;
    ensure!(ids.iter().eq(["zone"]) && out.contains("no pod was started with it yet"), "{out}");
    let status = plugin.run(&["status"])?.expect(0)?;
    ensure!(status.out.contains("key ZONE: it is elsewhere.svc.cluster.local"), "{}", status.out);
    kubectl.run(["rollout", "restart", "deployment/ralf"])?;
    kubectl.run(["rollout", "status", "deployment/ralf", "--timeout=90s"])?;
    let (ids, out) = failed()?;
    ensure!(ids.iter().eq(["zone"]) && out.contains("were started with elsewhere.svc.cluster.local"), "{out}");
    let status = plugin.run(&["status"])?.expect(5)?;
    ensure!(status.out.contains("was started with ZONE=elsewhere.svc.cluster.local"), "{}", status.out);
    let only = "--only=etcd,chronos,homer,ralf";
    let ran = plugin.run_within(PATIENCE, &["up", "--yes", "--force-conflicts", only])?.expect(0)?;
    ensure!((ran.out + &ran.err).contains("it was started with another value of ZONE than configmap/env-vars has"));
    plugin.run(&["status"])?.expect(0)?;
    plugin.run(&["check"])?.expect(0)?;
    Ok(())
}
