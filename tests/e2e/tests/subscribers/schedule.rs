//! What `backup --schedule` writes is taken by an API server that enforces the strictest level.

use anyhow::{Context as _, Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::NamespaceOptions;
use serde_json::{Value, json};

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_scheduled_backup_is_taken_by_a_server_that_enforces_restricted() -> Result<()> {
    let cluster = cluster();
    let options = NamespaceOptions { pod_security: Some("restricted"), ..NamespaceOptions::default() };
    let namespace = cluster.namespace_with("e2e-schedule", &options)?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let line = ["backup", "--schedule", "30 3 * * *", "--image", "r.example/kubectl-clearwater:1", "-o", "json"];
    let list: Value = serde_json::from_str(&plugin.run(&line)?.expect(0)?.out)?;
    let kubectl = namespace.kubectl();
    let dry =
        ["apply", "--server-side", "--validate=strict", "--dry-run=server", "--output", "json", "--filename", "-"];
    let taken: Value = serde_json::from_str(&kubectl.run_with_input(dry, &list.to_string())?)?;
    let kinds = |list: &Value| -> Vec<String> {
        let all = list["items"].as_array().into_iter().flatten();
        all.filter_map(|object| object["kind"].as_str().map(str::to_owned)).collect()
    };
    ensure!(kinds(&taken) == ["ServiceAccount", "Role", "RoleBinding", "PersistentVolumeClaim", "CronJob"], "{taken}");

    // Admission judges pods, and a CronJob makes them later: its pod, with the account that there would be.
    let items = list["items"].as_array().context("no items")?;
    kubectl.apply(&items[0].to_string())?;
    let mut pod = items[4].pointer("/spec/jobTemplate/spec/template").context("no pod")?.clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("backup");
    kubectl.run_with_input(dry, &pod.to_string())?;
    pod["spec"]["containers"][0]["securityContext"] = json!({});
    let refused = kubectl.run_with_input(dry, &pod.to_string());
    ensure!(refused.is_err_and(|error| format!("{error:#}").contains("restricted")), "the level is not enforced");
    Ok(())
}
