use anyhow::{Result, ensure};
use clearwater_e2e::{Plugin, Ran, cluster};
use clearwater_testbed::{Kubectl, Rights};
use serde_json::{Value, json};

use crate::{PATIENCE, file, kinds, outcome};

/// Rights to everything that `up` needs but to Secrets.
pub(crate) fn all_but_secrets() -> Rights {
    let all = json!(["get", "list", "watch", "create", "update", "patch", "delete"]);
    let core = json!([
        "pods",
        "pods/log",
        "pods/exec",
        "pods/portforward",
        "services",
        "configmaps",
        "events",
        "persistentvolumeclaims",
        "resourcequotas",
        "endpoints"
    ]);
    Rights::Rules(json!([
        {"apiGroups": [""], "resources": core, "verbs": all},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "replicasets"], "verbs": all},
        {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": all},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
    ]))
}

fn secret(kubectl: &Kubectl, name: &str, data: &Value) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    kubectl.apply(&object.to_string()).map(drop)
}

/// The preflight's lines about Secrets, as `status title: detail`.
fn lines(ran: &Ran) -> Result<Vec<String>> {
    let checked = kinds(ran)?.into_iter().filter(|e| e["kind"] == "checked" && e["line"]["id"] == "secrets");
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    Ok(checked
        .map(|e| {
            let line = &e["line"];
            format!("{} {}: {}", text(line, "status"), text(line, "title"), text(line, "detail"))
        })
        .collect())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_password_that_a_shell_would_run_is_refused_before_anything_is_written() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-secret")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file("email: {smarthost: mail.example.com, username: u, password: {secret: mail, key: pass}}\n")?;
    let run = |args: &[&str], code| {
        let mut all = args.to_vec();
        all.extend(["-f", &path, "--only", "etcd,ellis"]);
        plugin.follow(&all)?.finish(PATIENCE)?.0.expect(code)
    };
    let nothing_stands = || {
        let made = kubectl.run([
            "get",
            "statefulsets,deployments,services,configmaps,secrets",
            "--output=name",
            "--selector=app.kubernetes.io/managed-by=kubectl-clearwater",
        ])?;
        ensure!(made.is_empty(), "written all the same: {made}");
        anyhow::Ok(())
    };

    let missing = run(&["up", "--yes"], 4)?;
    ensure!(lines(&missing)? == ["failed secret mail: it does not exist"], "{}", missing.out);
    nothing_stands()?;
    secret(kubectl, "mail", &json!({"other": "x"}))?;
    ensure!(lines(&run(&["up", "--yes"], 4)?)? == ["failed secret mail: it has no key pass"], "the key is not missed");

    secret(kubectl, "mail", &json!({"pass": "p'w"}))?;
    let refused = run(&["up", "--yes"], 4)?;
    let told = ["failed secret mail: key pass: the value has a single quote"];
    ensure!(lines(&refused)? == told && outcome(&refused)? == "preflightFailed", "{}", refused.out);
    ensure!(!refused.said().contains("p'w"), "the value is shown: {}", refused.said());
    nothing_stands()?;
    // Whoever only looks is told the same.
    ensure!(lines(&run(&["up", "--dry-run"], 4)?)? == told);
    let shown = plugin.run(&["diff", "-f", &path])?.expect(4)?;
    ensure!(shown.said().contains("the value has a single quote"), "{}", shown.said());
    // A line break that `echo` left at the end is the most common of all.
    secret(kubectl, "mail", &json!({"pass": "pw\n"}))?;
    let ended = lines(&run(&["up", "--dry-run"], 4)?)?;
    ensure!(ended == ["failed secret mail: key pass: the value has a line break at its end"], "{ended:?}");

    secret(kubectl, "mail", &json!({"pass": "p$w`~\"#;&"}))?;
    let well = run(&["up", "--dry-run"], 0)?;
    ensure!(lines(&well)? == ["ok secrets that the pods read: mail"], "{}", well.out);
    // Who may not read them is told that it was not looked.
    let upstream =
        file("keys: upstream\nemail: {smarthost: m.example.com, username: u, password: {secret: mail, key: pass}}\n")?;
    let user = namespace.user("limited", &all_but_secrets())?;
    let limited = Plugin::as_user(&user, namespace.name())?;
    let skipped = limited.follow(&["up", "--dry-run", "-f", &upstream])?.finish(PATIENCE)?.0.expect(0)?;
    ensure!(lines(&skipped)? == ["skipped secret mail: needs get secrets"], "{}", skipped.out);
    nothing_stands()
}
