//! The stand-ins on a running test cluster. Ignored unless asked for: `cargo xtask cluster up`,
//! `cargo xtask standins import`, then `cargo test -p clearwater-testbed --test standins -- --ignored --test-threads 1`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_testbed::layout::Layout;
use clearwater_testbed::sip::{Outcome, Phone, Subscriber, Transport};
use clearwater_testbed::{Attempt, Kubectl, Local, wait_for};

/// A namespace of its own, removed at the end.
struct Place {
    kubectl: Kubectl,
    name: String,
}

impl Place {
    fn new(test: &str) -> Result<Self> {
        let cluster = Local::open(&Layout::name_from_environment())?;
        let name = format!("t2-{test}-{}", std::process::id());
        cluster.kubectl().run(["create", "namespace", &name])?;
        Ok(Self {
            kubectl: cluster.kubectl().in_namespace(&name),
            name,
        })
    }

    fn apply(&self, folder: &str) -> Result<()> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../standins/apply").join(folder);
        self.kubectl.run(["apply", "--kustomize", &path.to_string_lossy()])?;
        Ok(())
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

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("KEEP_FAILED").is_some() {
            return;
        }
        let _ = self.kubectl.run(["delete", "namespace", "--wait=false", &self.name]);
    }
}

const HUNTER: [&str; 11] = [
    "etcd", "cassandra", "astaire", "chronos", "homer", "ralf", "homestead", "homestead-prov", "sprout", "bono", "ellis",
];
const CLASSIC: [&str; 11] = [
    "etcd", "cassandra", "memcached", "chronos", "homer", "ralf", "homestead", "sprout-icscf", "sprout-scscf", "bono",
    "ellis",
];

fn through(phone: &Phone, users: &[Subscriber]) -> Result<()> {
    for transport in [Transport::Tcp, Transport::Udp] {
        phone
            .exercise("bono", &users[0], &users[1], transport)?
            .check()
            .with_context(|| format!("{transport:?}"))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs a test cluster"]
fn hunter_carries_calls_with_one_sprout_and_with_three() -> Result<()> {
    let place = Place::new("calls")?;
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
    Ok(())
}

#[test]
#[ignore = "needs a test cluster"]
fn classic_needs_the_names_of_sprouts_roles() -> Result<()> {
    let place = Place::new("classic")?;
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
            Some(Outcome::Refused { status: 503, .. }) => Attempt::Done(()),
            other => Attempt::not_yet(format!("{other:?}")),
        })
    })?;
    let log = place.exec("bono", "cat /var/log/bono/bono_current.txt")?;
    ensure!(
        log.contains("Failed to retrieve record for scscf.sprout."),
        "bono's log does not name the record it lacks:\n{log}"
    );
    Ok(())
}
