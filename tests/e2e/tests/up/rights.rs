use anyhow::{Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::Rights;

use crate::PATIENCE;

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_user_of_one_namespace_without_exec_can_run_up_and_status() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-user")?;
    let user = namespace.user("limited", &Rights::EditWithoutExec)?;
    let plugin = Plugin::as_user(&user, namespace.name())?;
    let up = plugin.follow(&["up", "--yes", "--only", "homer"])?.finish(PATIENCE)?.0.expect(0)?;
    ensure!(up.out.contains("needs") && up.out.contains("pods/exec"), "what was left out is not told:\n{}", up.out);
    let status = plugin.run(&["status"])?.expect(0)?;
    let skipped = status.out.lines().any(|l| l.contains("skipped:") && l.contains("needs") && l.contains("pods/exec"));
    ensure!(skipped, "what was left out is not told:\n{}", status.out);
    Ok(())
}

/// Others' workloads with our labels would take half of the traffic, or give it.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_foreign_workload_with_our_label_is_refused() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-foreign")?;
    let foreign = serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "my-sprout", "labels": {"service": "sprout"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"service": "sprout"}},
            "template": {
                "metadata": {"labels": {"service": "sprout"}},
                "spec": {"containers": [{"name": "sprout", "image": "docker.io/ollivier/clearwater-sprout:hunter"}]},
            },
        },
    });
    namespace.kubectl().apply(&foreign.to_string())?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let ran = plugin.run(&["up", "--yes"])?.expect(6)?;
    ensure!(ran.said().contains("my-sprout"), "{}", ran.said());
    let made = namespace.kubectl().run(["get", "statefulsets,services", "--output=name"])?;
    ensure!(made.is_empty(), "written all the same: {made}");
    Ok(())
}
