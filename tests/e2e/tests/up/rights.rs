use std::time::Duration;

use anyhow::{Result, ensure};
use clearwater_e2e::{Limited, Plugin, cluster};
use clearwater_testbed::{Fault, Rights, Rule};

use crate::PATIENCE;

/// A life of a deployment, each step by a user who may do just that: at first what it cannot do without, then everything
/// that `rbac` writes.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn each_task_asks_for_nothing_that_the_table_of_rights_does_not_name() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-rights")?;
    let few = "--only=etcd,chronos,homer";
    let zip = tempfile::tempdir()?;
    let zip = zip.path().join("report.zip").display().to_string();
    let steps: [(&str, &str, bool, &[&str], i32); 16] = [
        ("up-least", "up", false, &["up", "--yes", few], 0),
        ("up-all", "up", true, &["up", "--yes", few], 0),
        ("diff", "up", false, &["diff", few], 0),
        ("status-least", "status", false, &["status"], 1),
        ("status-all", "status", true, &["status"], 0),
        ("check-least", "check", false, &["check"], 1),
        ("check-all", "check", true, &["check"], 0),
        ("report", "report", true, &["report", "--to", &zip], 0),
        ("scale-least", "scale", false, &["scale", "homer=2", "--yes"], 0),
        ("scale-all", "scale", true, &["scale", "chronos=2", "--yes"], 0),
        // This cluster measures no pods, which is refused when everything was looked at.
        ("autoscale", "autoscale", true, &["autoscale", "homer", "--max=3"], 4),
        ("autoscale-list", "autoscale", false, &["autoscale", "--list"], 0),
        ("logs", "logs", false, &["logs", "--no-follow"], 0),
        ("trace", "logs", true, &["trace", "nobody@example.com"], 1),
        ("down-least", "down", false, &["down", "--yes", "--only=homer"], 0),
        ("down-all", "down", true, &["down", "--yes", "--now"], 0),
    ];
    for (name, task, all, args, code) in steps {
        let user = Limited::new(cluster, &namespace, name, &[task], all)?;
        let ran = user.plugin()?.run_within(PATIENCE, args)?;
        let ran = ran.expect(code)?;
        ensure!(!ran.out.contains("0/0"), "{}", ran.out);
        user.asked_for_what_the_table_names().map_err(|e| e.context(format!("{name}:\n{}", ran.said())))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_namespace_is_made_and_removed_with_the_rights_that_the_table_names() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-rights-ns")?;
    let user = Limited::new(cluster, &namespace, "remover", &["down", "delete-namespace"], true)?;
    user.plugin()?.run_within(PATIENCE, &["down", "--delete-namespace", "--yes", "--foreign"])?.expect(0)?;
    user.asked_for_what_the_table_names()
}

/// What `down` may not remove is told before anything is gone.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn down_removes_nothing_where_it_may_not_remove_all() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-rights-down")?;
    let admin = Plugin::new(cluster, namespace.name())?;
    admin.run_within(PATIENCE, &["up", "--yes", "--only=homer"])?.expect(0)?;
    let objects =
        || namespace.kubectl().run(["get", "deployments,statefulsets,services,configmaps,secrets", "--output=name"]);
    let before = objects()?;
    let rules = serde_json::json!([
        {"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["apps"], "resources": ["statefulsets", "deployments"], "verbs": ["delete"]},
    ]);
    let user = namespace.user("half", &Rights::Rules(rules))?;
    let ran = Plugin::as_user(&user, namespace.name())?.run_within(PATIENCE, &["down", "--yes"])?.expect(4)?;
    ensure!(ran.said().contains("delete services") && ran.said().contains("nothing was removed"), "{}", ran.said());
    ensure!(objects()? == before, "half of it is gone:\n{}", objects()?);
    Ok(())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_user_of_one_namespace_without_exec_can_run_up_and_status() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-user")?;
    let user = namespace.user("limited", &Rights::EditWithoutExec)?;
    let plugin = Plugin::as_user(&user, namespace.name())?;
    let up = plugin.follow(&["up", "--yes", "--only", "homer"])?.finish(PATIENCE)?.0.expect(0)?;
    ensure!(up.out.contains("needs") && up.out.contains("pods/exec"), "what was left out is not told:\n{}", up.out);
    // Ready pods are not yet programs that run: whoever may not look inside does not know.
    let status = plugin.run(&["status"])?.expect(1)?;
    ensure!(status.out.contains("unseen") && !status.out.contains("serving"), "{}", status.out);
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

/// Nobody waits for what can never come: after so many requests each further one is answered with 401. What was begun is
/// gone on with by the same command.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_token_that_runs_out_in_the_middle_ends_the_run_at_once() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-expired")?;
    let mut proxy = cluster.local()?.api_proxy()?;
    let plugin = Plugin::as_user(&proxy.kubeconfig()?, namespace.name())?;
    let steps: [(&[&str], &[u32]); 4] = [
        (&["up", "--yes", "--only=chronos,homer"], &[20, 55]),
        (&["status"], &[1, 9]),
        (&["scale", "homer=2", "--yes"], &[3]),
        (&["down", "--yes"], &[4, 20]),
    ];
    for (args, after) in steps {
        for &count in after {
            proxy.set(&[Rule::new(Fault::Status(401, 0)).skip(count)])?;
            let ran = plugin.run_within(PATIENCE, args)?;
            let told = format!("{args:?}, 401 after {count} requests, {} s:\n{}", ran.took.as_secs(), ran.said());
            ensure!(ran.code == 1 && ran.took < Duration::from_secs(40), "exit {}: {told}", ran.code);
            ensure!(told.contains("Unauthorized") || told.contains("401 "), "why is not said: {told}");
        }
        proxy.set(&[])?;
        plugin.run_within(PATIENCE, args)?.expect(0)?;
    }
    Ok(())
}
