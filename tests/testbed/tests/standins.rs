//! The stand-ins on a running test cluster. Ignored unless asked for: `cargo xtask cluster up`,
//! `cargo xtask standins import`, then `cargo test -p clearwater-testbed --test standins -- --ignored --test-threads 1`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_kube::contract::Agreement;
use clearwater_testbed::contract::{self, Site};
use clearwater_testbed::sip::{Outcome, Phone, Subscriber, Transport};
use clearwater_testbed::{Attempt, Cluster, Kubectl, Namespace, wait_for};

/// A namespace of its own.
struct Place<'a> {
    kubectl: Kubectl,
    _namespace: Namespace<'a>,
}

impl<'a> Place<'a> {
    fn new(cluster: &'a Cluster, test: &str) -> Result<Self> {
        let namespace = cluster.namespace(&format!("t2-{test}"))?;
        Ok(Self { kubectl: namespace.kubectl().clone(), _namespace: namespace })
    }

    fn apply(&self, folder: &str) -> Result<()> {
        self.kubectl.run(["apply", "--kustomize", &objects(folder)])?;
        Ok(())
    }

    /// Some components' objects of a folder, and what all of them read.
    fn apply_only(&self, folder: &str, services: &str) -> Result<()> {
        self.kubectl.run(["apply", "--filename", &objects("hunter/env-vars.yaml")])?;
        let selector = format!("service in ({services})");
        self.kubectl.run(["apply", "--kustomize", &objects(folder), "--selector", &selector])?;
        Ok(())
    }

    fn pod_ip(&self, service: &str) -> Result<String> {
        let selector = format!("service={service}");
        let ip = self.kubectl.run([
            "get",
            "pods",
            "--selector",
            &selector,
            "--field-selector=status.phase=Running",
            "--output=jsonpath={.items[0].status.podIP}",
        ])?;
        ensure!(!ip.is_empty(), "no running pod of {service} has an address");
        Ok(ip)
    }

    fn delete_pod(&self, service: &str, more: &[&str]) -> Result<()> {
        let selector = format!("service={service}");
        let mut arguments = vec!["delete", "pod", "--selector", &selector];
        arguments.extend(more);
        self.kubectl.run(arguments)?;
        Ok(())
    }

    /// Stops the one pod of a deployment, waits until it is gone, and only then starts another: a deployment would start
    /// it while the old one leaves.
    fn replace_pod(&self, deployment: &str) -> Result<()> {
        self.stop(deployment)?;
        self.start(deployment)
    }

    fn stop(&self, deployment: &str) -> Result<()> {
        self.kubectl.run(["scale", &format!("deployment/{deployment}"), "--replicas=0"])?;
        let selector = format!("--selector=service={deployment}");
        self.kubectl.run(["wait", "pod", &selector, "--for=delete", "--timeout=130s"]).map(drop)
    }

    fn start(&self, deployment: &str) -> Result<()> {
        self.kubectl.run(["scale", &format!("deployment/{deployment}"), "--replicas=1"]).map(drop)
    }

    fn rollout(&self, deployments: &[&str], timeout: &str) -> Result<()> {
        for deployment in deployments {
            self.kubectl.run([
                "rollout",
                "status",
                &format!("--timeout={timeout}"),
                &format!("deployment/{deployment}"),
            ])?;
        }
        Ok(())
    }

    /// Runs a command in a component's pod; its output whatever it ends with.
    fn exec(&self, deployment: &str, command: &str) -> Result<String> {
        self.kubectl.run([
            "exec",
            &format!("deployment/{deployment}"),
            "--",
            "bash",
            "-c",
            &format!("{{ {command}; }} 2>&1; true"),
        ])
    }

    fn await_text(&self, deployment: &str, command: &str, wanted: &str, limit: Duration) -> Result<String> {
        wait_for(&format!("{wanted:?} in {deployment}: {command}"), limit, || {
            Ok(match self.exec(deployment, command) {
                Ok(text) if text.contains(wanted) => Attempt::Done(text),
                Ok(text) => Attempt::not_yet(text),
                Err(error) => Attempt::not_yet(format!("{error:#}")),
            })
        })
    }
}

fn objects(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../standins/apply");
    root.join(path).to_string_lossy().into_owned()
}

const STATE: &str = "cw-check_cluster_state";

const HUNTER: [&str; 11] = [
    "etcd",
    "cassandra",
    "astaire",
    "chronos",
    "homer",
    "ralf",
    "homestead",
    "homestead-prov",
    "sprout",
    "bono",
    "ellis",
];
const CLASSIC: [&str; 11] = [
    "etcd",
    "cassandra",
    "memcached",
    "chronos",
    "homer",
    "ralf",
    "homestead",
    "sprout-icscf",
    "sprout-scscf",
    "bono",
    "ellis",
];

fn through(phone: &Phone, users: &[Subscriber]) -> Result<()> {
    for transport in [Transport::Tcp, Transport::Udp] {
        phone.exercise("bono", &users[0], &users[1], transport)?.check().with_context(|| format!("{transport:?}"))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs a test cluster"]
fn hunter_carries_calls_with_one_sprout_and_with_three() -> Result<()> {
    let cluster = Cluster::get()?;
    let place = Place::new(&cluster, "calls")?;
    place.apply("hunter")?;
    place.rollout(&HUNTER, "180s")?;
    let phone = Phone::start(&place.kubectl)?;
    let users = phone.provision("ellis", 2)?;
    through(&phone, &users)?;
    place.kubectl.run(["scale", "--replicas=3", "deployment/sprout"])?;
    place.rollout(&["sprout"], "60s")?;
    for _ in 0..3 {
        through(&phone, &users)?;
    }

    // Every sprout replaced between registration and call: nobody is lost.
    phone.register("bono", &users[0], &users[1], Transport::Udp)?.check()?;
    place.kubectl.run(["rollout", "restart", "deployment/sprout"])?;
    place.rollout(&["sprout"], "120s")?;
    wait_for("the old sprouts to leave the DNS caches", Duration::from_secs(30), || {
        let report = phone.talk("bono", &users[0], &users[1], Transport::Udp)?;
        Ok(report.check().map_or_else(|error| Attempt::not_yet(format!("{error:#}")), Attempt::Done))
    })?;
    Ok(())
}

#[test]
#[ignore = "needs a test cluster"]
fn classic_needs_the_names_of_sprouts_roles() -> Result<()> {
    let cluster = Cluster::get()?;
    let place = Place::new(&cluster, "classic")?;
    place.apply("classic")?;
    place.rollout(&CLASSIC, "180s")?;
    let phone = Phone::start(&place.kubectl)?;
    let users = phone.provision("ellis", 2)?;
    through(&phone, &users)?;

    // Without host names the pods have no sub-domains.
    for role in ["icscf", "scscf"] {
        let nameless = r#"{"spec":{"template":{"spec":{"hostname":null,"subdomain":null}}}}"#;
        place.kubectl.run(["patch", &format!("deployment/sprout-{role}"), "--patch", nameless])?;
        place.rollout(&[&format!("sprout-{role}")], "60s")?;
    }
    wait_for("registration to fail without the sub-domains", Duration::from_secs(60), || {
        let report = phone.exercise("bono", &users[0], &users[1], Transport::Tcp)?;
        Ok(match report.step("register") {
            // A bono whose upstream does not resolve answers by itself, at once.
            Some(Outcome::Refused { status: 408, .. }) => Attempt::Done(()),
            other => Attempt::not_yet(format!("{other:?}")),
        })
    })?;
    wait_for("bono's log to name the record that it lacks", Duration::from_secs(30), || {
        let log = place.exec("bono", "cat /var/log/bono/bono_current.txt")?;
        let names = log.contains("Failed to retrieve record for scscf.sprout.");
        Ok(if names { Attempt::Done(()) } else { Attempt::not_yet(log) })
    })
}

#[test]
#[ignore = "needs a test cluster"]
fn classic_gets_through_a_virtual_address_by_name_and_goes_round_by_the_address() -> Result<()> {
    let cluster = Cluster::get()?;
    let place = Place::new(&cluster, "loop")?;
    place.apply("classic")?;
    // One ClusterIP Service under both names, as the article's DNS records had it.
    for role in ["icscf", "scscf"] {
        let nameless = r#"{"spec":{"template":{"spec":{"hostname":null,"subdomain":null}}}}"#;
        place.kubectl.run(["patch", &format!("deployment/sprout-{role}"), "--patch", nameless])?;
    }
    place.kubectl.run(["create", "service", "clusterip", "vip", "--tcp=5052", "--tcp=5054"])?;
    place.kubectl.run([
        "patch",
        "service/vip",
        "--patch",
        r#"{"spec":{"selector":{"app":null,"service":"sprout"}}}"#,
    ])?;
    let settings = r#"{"data":{"user_settings":"upstream_hostname=vip.${home_domain}\nscscf_uri=\"sip:vip.${home_domain}:5054;transport=TCP\"\nicscf_uri=\"sip:vip.${home_domain}:5052;transport=TCP\"\n"}}"#;
    place.kubectl.run(["patch", "configmap/user-settings", "--patch", settings])?;
    let mount = r#"{"spec":{"template":{"spec":{"containers":[{"name":"bono","volumeMounts":[{"name":"user-settings","mountPath":"/etc/clearwater/user_settings","subPath":"user_settings"}]}],"volumes":[{"name":"user-settings","configMap":{"name":"user-settings"}}]}}}}"#;
    place.kubectl.run(["patch", "deployment/bono", "--patch", mount])?;
    place.kubectl.run(["rollout", "restart", "deployment/sprout-icscf", "deployment/sprout-scscf"])?;
    place.rollout(&CLASSIC, "180s")?;
    let phone = Phone::start(&place.kubectl)?;
    let users = phone.provision("ellis", 2)?;
    // bono puts the name into Route, which is sprout's own whatever it leads to.
    through(&phone, &users)?;
    let address = place.kubectl.run(["get", "service/vip", "--output=jsonpath={.spec.clusterIP}"])?;
    place.kubectl.run([
        "patch",
        "configmap/user-settings",
        "--patch",
        &settings.replace("=vip.${home_domain}", &format!("={address}")),
    ])?;
    place.kubectl.run(["rollout", "restart", "deployment/bono"])?;
    place.rollout(&["bono"], "120s")?;
    let report = phone.exercise("bono", &users[0], &users[1], Transport::Tcp)?;
    let register = report.step("register").context("no step register")?;
    ensure!(
        matches!(register, Outcome::Refused { status: 483, .. }),
        "a Route to a virtual address should go round until its hops are used up, but REGISTER was: {register}"
    );
    Ok(())
}

#[test]
#[ignore = "needs a test cluster"]
fn started_at_once_the_hard_dependencies_show() -> Result<()> {
    let cluster = Cluster::get()?;
    let place = Place::new(&cluster, "at-once")?;
    place.apply("hunter-at-once")?;
    let soon = Duration::from_secs(60);
    place.await_text(
        "cassandra",
        "ls /etc/cassandra/cassandra.yaml; cat /var/log/supervisor/cassandra-stdout*",
        "Exiting: cassandra.yaml is missing",
        soon,
    )?;
    place.await_text(
        "homestead",
        "supervisorctl status | tr -s ' '",
        "clearwater-group:homestead BACKOFF Exited too quickly (process log may have details)",
        soon,
    )?;
    place.await_text(
        "homestead-prov",
        "supervisorctl status | tr -s ' '",
        "clearwater-group:homestead-prov FATAL Exited too quickly (process log may have details)",
        soon,
    )?;
    place.await_text(
        "ellis",
        "cd /tmp; for ask in accounts/ session/ accounts/a@b.c/numbers/; do \
         curl -s -o /dev/null -w '%{http_code} ' -b jar -c jar -d email=a@b.c -d password=secret1 -d full_name=A \
         -d signup_code=secret http://127.0.0.1/$ask; done",
        "502",
        soon,
    )?;
    // homestead gets there by itself, homestead-prov only by a kubelet that restarts it.
    place.rollout(&["cassandra", "homestead"], "120s")?;
    Ok(())
}

#[test]
#[ignore = "needs a test cluster"]
fn a_store_that_is_killed_blocks_the_next_join_and_one_that_leaves_does_not() -> Result<()> {
    let cluster = Cluster::get()?;
    let place = Place::new(&cluster, "stale")?;
    place.apply_only("hunter-at-once", "etcd, astaire")?;
    place.rollout(&["etcd", "astaire"], "150s")?;
    let first = place.pod_ip("astaire")?;
    // A join that does not arrive alone waits half a minute more.
    let limit = Duration::from_secs(150);
    place.await_text("astaire", STATE, &format!("{first} is in state normal."), limit)?;

    place.replace_pod("astaire")?;
    place.rollout(&["astaire"], "150s")?;
    let second = place.pod_ip("astaire")?;
    let text = place.await_text("astaire", STATE, &format!("{second} is in state normal."), limit)?;
    ensure!(!text.contains(&first), "a member that left by its pre-stop hook is still there:\n{text}");

    // Even a forced deletion gives the hook two seconds, so the agent goes first, as when a node is lost.
    place.exec("astaire", "kill -9 $(cat /var/run/clearwater-cluster-manager/*.pid)")?;
    place.delete_pod("astaire", &["--force", "--grace-period=0"])?;
    let stuck = "is in state joining, acknowledged change.";
    let text = place.await_text("astaire", STATE, stuck, limit)?;
    ensure!(text.contains(&format!("{second} is in state normal.")), "the killed member should stay normal:\n{text}");
    place.exec("astaire", &format!("cw-mark_node_failed node_type_memcached memcached {second}"))?;
    place.rollout(&["astaire"], "150s")?;

    place.kubectl.run(["apply", "--filename", &objects("hunter/cassandra.yaml")])?;
    place.rollout(&["cassandra"], "90s")?;
    place.delete_pod("cassandra", &["--force", "--grace-period=0"])?;
    place.await_text("cassandra", STATE, stuck, limit)?;
    Ok(())
}

/// Gives etcd's Deployment these arguments and volume.
fn patch_etcd(place: &Place<'_>, advertise: &str, volume: &str) -> Result<()> {
    let patch = format!(
        r#"{{"spec":{{"strategy":{{"type":"Recreate","rollingUpdate":null}},"template":{{"spec":{{"containers":[{{"name":"etcd","args":[
        "--name=etcd0","--data-dir=/data/etcd",
        "--advertise-client-urls=http://{advertise}:2379,http://{advertise}:4001",
        "--listen-client-urls=http://0.0.0.0:2379,http://0.0.0.0:4001",
        "--initial-advertise-peer-urls=http://{advertise}:2380","--listen-peer-urls=http://0.0.0.0:2380",
        "--initial-cluster=etcd0=http://{advertise}:2380","--initial-cluster-state=new"],
        "volumeMounts":[{{"name":"data","mountPath":"/data"}}]}}],"volumes":[{{"name":"data",{volume}}}]}}}}}}}}"#
    );
    place.kubectl.run(["patch", "deployment/etcd", "--patch", &patch])?;
    place.kubectl.run(["patch", "service/etcd", "--patch", r#"{"spec":{"publishNotReadyAddresses":true}}"#])?;
    place.rollout(&["etcd"], "60s")
}

#[test]
#[ignore = "needs a test cluster"]
fn a_new_etcd_is_found_again_only_by_name_and_remembers_only_on_a_volume() -> Result<()> {
    let cluster = Cluster::get()?;
    let place = Place::new(&cluster, "etcd")?;
    place.apply_only("hunter-at-once", "etcd")?;
    let claim = r#"{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"etcd"},
        "spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"100Mi"}}}}"#;
    place.kubectl.apply(claim)?;
    patch_etcd(&place, "etcd", r#""persistentVolumeClaim":{"claimName":"etcd"}"#)?;
    place.apply_only("hunter-at-once", "astaire")?;
    place.rollout(&["astaire"], "60s")?;
    let ip = place.pod_ip("astaire")?;
    let normal = format!("{ip} is in state normal.");
    let half_minute = Duration::from_secs(30);
    place.await_text("astaire", STATE, &normal, half_minute)?;
    place.exec("astaire", "curl -s -X PUT -d value=kept http://127.0.0.1:4000/v2/keys/marker")?;
    let marker = "curl -s -m 5 http://127.0.0.1:4000/v2/keys/marker";

    // By name, on a volume: found again, and nothing forgotten.
    place.delete_pod("etcd", &[])?;
    place.rollout(&["etcd"], "60s")?;
    place.await_text("astaire", STATE, &normal, half_minute)?;
    place.await_text("astaire", marker, "kept", half_minute)?;

    // By name, without a volume: found again, empty.
    patch_etcd(&place, "etcd", r#""persistentVolumeClaim":null,"emptyDir":{}"#)?;
    place.await_text("astaire", marker, "Key not found", half_minute)?;

    // By address: a proxy that has met the old server never finds the new one.
    place.stop("astaire")?;
    patch_etcd(&place, "$(MY_POD_IP)", r#""persistentVolumeClaim":null,"emptyDir":{}"#)?;
    place.start("astaire")?;
    place.rollout(&["astaire"], "60s")?;
    place.delete_pod("etcd", &[])?;
    place.rollout(&["etcd"], "60s")?;
    let deadline = std::time::Instant::now() + Duration::from_secs(45);
    while std::time::Instant::now() < deadline {
        let text =
            place.exec("astaire", "curl -s -m 5 -o /dev/null -w '%{http_code}' http://127.0.0.1:4000/v2/keys")?;
        ensure!(!text.contains("200"), "the proxy reached the new etcd although it was advertised by address");
        std::thread::sleep(Duration::from_secs(5));
    }
    Ok(())
}

/// Puts the contract to a deployment made from a folder of objects.
fn keeps_the_contract(release: &str, deployments: &[&str]) -> Result<()> {
    let cluster = Cluster::get()?;
    let place = Place::new(&cluster, "contract")?;
    place.apply(release)?;
    place.rollout(deployments, "180s")?;
    let site = Site::look(&place.kubectl)?;
    let mut findings = contract::healthy(&site);
    let scratch = cluster.namespace("t2-alone")?;
    findings.extend(contract::alone(&site, scratch.kubectl())?);
    let wrong: Vec<String> =
        findings.iter().filter(|f| f.agreement != Agreement::Agrees).map(ToString::to_string).collect();
    ensure!(wrong.is_empty(), "{} of {} claims do not agree:\n{}", wrong.len(), findings.len(), wrong.join("\n"));
    Ok(())
}

#[test]
#[ignore = "needs a test cluster"]
fn hunter_keeps_the_contract() -> Result<()> {
    keeps_the_contract("hunter", &HUNTER)
}

#[test]
#[ignore = "needs a test cluster"]
fn classic_keeps_the_contract() -> Result<()> {
    keeps_the_contract("classic", &CLASSIC)
}
