use anyhow::{Result, ensure};
use clearwater_e2e::{Plugin, Ran, Refused, cluster};
use clearwater_testbed::{Cluster, Kubectl, NamespaceOptions};
use serde_json::json;

use crate::{PATIENCE, file, outcome};

fn refused(plugin: &Plugin, args: &[&str], code: i32, words: &[&str]) -> Result<Ran> {
    let ran = plugin.run_within(PATIENCE, args)?.expect(code)?;
    for word in words {
        ensure!(ran.said().contains(word), "{args:?} does not say {word:?}:\n{}", ran.said());
    }
    Ok(ran)
}

fn replicas(kubectl: &Kubectl, workload: &str) -> Result<String> {
    kubectl.run(["get", workload, "--output=jsonpath={.spec.replicas}"])
}

/// What would not work is found before the first step, and nothing is changed.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn what_would_not_work_is_refused_before_the_first_step() -> Result<()> {
    let cluster: &Cluster = cluster();
    let quota = NamespaceOptions { quota: Some(json!({"pods": "8"})), ..NamespaceOptions::default() };
    let namespace = cluster.namespace_with("e2e-refused", &quota)?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    let small = file("")?;
    plugin.run_within(PATIENCE, &["up", "--yes", "-f", &small, "--only", "homer,chronos"])?.expect(0)?;

    let y = "--yes";
    refused(&plugin, &["scale", "etcd", "3", y], 6, &["etcd cannot be scaled to 3 members", "What works"])?;
    refused(&plugin, &["scale", "chronos", "0", y], 6, &["the last one holds all"])?;
    refused(&plugin, &["scale", "homer", "2"], 6, &["--yes"])?;
    refused(&plugin, &["scale", "homer", "9", y], 4, &["quota"])?;
    refused(&plugin, &["scale", "sprout", "2", y], 1, &["there is no sprout in the namespace"])?;
    let absent = plugin.run(&["scale", "sprout", "2", y, "-o", "json"])?.expect(1)?;
    ensure!(outcome(&absent)? == "notFound", "{}", absent.out);
    refused(&plugin, &["scale", "homer", "two"], 2, &["is not a number of members"])?;
    refused(&plugin, &["scale", "homer=1", "homer=2"], 2, &["named twice"])?;
    refused(&plugin, &["autoscale", "chronos", "--max", "3"], 6, &["cannot be autoscaled", "step by step"])?;
    refused(&plugin, &["autoscale", "homer", "--min", "3", "--max", "2"], 2, &["at least the fewest"])?;
    refused(&plugin, &["autoscale", "homer", "--max", "3"], 4, &["measures no pods", "metrics-server"])?;

    // Nobody has that much processor time.
    kubectl.run(["set", "resources", "deployment/homer", "--requests=cpu=1000"])?;
    kubectl.run(["scale", "deployment/homer", "--replicas=0"])?;
    refused(&plugin, &["scale", "homer", "1", y], 4, &["room on the nodes", "no node that they may run on"])?;
    kubectl.run(["set", "resources", "deployment/homer", "--requests=cpu=10m"])?;
    plugin.run_within(PATIENCE, &["scale", "homer", "2", y])?.expect(0)?;

    // What a policy takes from nobody is no right that somebody lacks.
    let policy = Refused {
        namespaces: &[namespace.name()],
        word: "few",
        group: "apps",
        resource: "deployments/scale",
        operation: "UPDATE",
        message: "two are enough",
    };
    let three = ["scale", "deployment/homer", "--replicas=3", "--dry-run=server"];
    let made = policy.made(kubectl, || kubectl.run(three))?;
    let told = format!("have whoever keeps ValidatingAdmissionPolicy few.{} let this through", namespace.name());
    let ran = refused(&plugin, &["scale", "homer", "3", y], 4, &["two are enough", &told])?;
    ensure!(!ran.said().contains("ask for the right"), "{}", ran.said());
    drop(made);

    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "two"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"service": "homer"}}}});
    kubectl.apply(&budget.to_string())?;
    refused(&plugin, &["scale", "homer", "1", y], 6, &["two wants at least 2 pods of homer", "fix: kubectl patch"])?;

    kubectl.run(["autoscale", "deployment/homer", "--min=1", "--max=4", "--cpu=50%"])?;
    let words = ["the HorizontalPodAutoscaler homer keeps it between 1 and 4", "autoscale homer --remove"];
    refused(&plugin, &["scale", "homer", "3", y], 6, &words)?;
    let listed = plugin.run(&["autoscale", "--list"])?.expect(0)?;
    ensure!(listed.out.contains("deployment/homer") && listed.out.contains("something else"), "{}", listed.out);
    refused(&plugin, &["autoscale", "homer", "--remove"], 6, &["something else made"])?;
    ensure!(replicas(kubectl, "deployment/homer")? == "2", "homer: {}", replicas(kubectl, "deployment/homer")?);
    Ok(())
}
