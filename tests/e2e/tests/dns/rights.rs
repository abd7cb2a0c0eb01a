use anyhow::{Result, ensure};
use clearwater_e2e::{Limited, cluster};

use crate::{Corefile, PATIENCE, file, sprout};

/// A name, the task, the backend, what is asked, and how it ends with the least rights and with all that the task may take.
type Step = (&'static str, &'static str, &'static str, &'static [&'static str], [i32; 2]);

#[test]
#[ignore = "needs cluster (edits kube-system)"]
fn each_backend_asks_for_nothing_that_the_table_of_rights_does_not_name() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-rights")?;
    let kubectl = namespace.kubectl();
    let corefile = Corefile::keep(kubectl)?;
    let path = file("dns: {backend: coredns}\n")?;
    sprout(kubectl)?;
    let steps: [Step; 7] = [
        ("file", "dns-coredns", "coredns", &["--yes"], [0, 0]),
        // Who may not ask inside of the containers has not looked.
        ("file-check", "dns-coredns", "coredns", &["--check"], [1, 0]),
        ("file-explain", "dns-coredns", "coredns", &["--explain"], [5, 5]),
        ("file-off", "dns-coredns", "coredns", &["--remove", "--yes"], [0, 0]),
        ("slice", "dns-endpoints", "endpoints", &["--yes"], [0, 0]),
        ("slice-off", "dns-endpoints", "endpoints", &["--remove", "--yes"], [0, 0]),
        // No pod has the host names: whether the change could be proved is not known.
        ("pods", "dns-pods", "pods", &["--dry-run"], [1, 1]),
    ];
    for (name, task, backend, more, codes) in steps {
        for (all, code) in [false, true].into_iter().zip(codes) {
            let name = format!("{name}-{}", if all { "all" } else { "least" });
            let user = Limited::new(cluster, &namespace, &name, &[task], all)?;
            let mut args = vec!["dns-patch", "-f", &path, "--backend", backend];
            args.extend(more);
            let ran = user.plugin()?.run_within(PATIENCE, &args)?;
            let ran = ran.expect(code)?;
            user.asked_for_what_the_table_names().map_err(|e| e.context(format!("{name}:\n{}", ran.said())))?;
        }
    }
    corefile.unchanged()
}

/// What the servers answer is what counts: who may not ask them has not looked, whatever the deployment's own pods get to hear.
#[test]
#[ignore = "needs cluster"]
fn who_may_not_ask_the_dns_servers_is_not_told_that_all_is_right() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-few-rights")?;
    let kubectl = namespace.kubectl();
    let path = file("dns: {backend: pods}\n")?;
    sprout(kubectl)?;
    let named = |host: &str| {
        serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": host, "labels": {"service": "sprout"}},
            "spec": {
                "hostname": host, "subdomain": "sprout", "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "sprout", "image": "localhost/clearwater-tools:1", "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "3600"]}],
            },
        })
    };
    let pods = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [named("icscf"), named("scscf")]});
    kubectl.apply(&pods.to_string())?;
    kubectl.run(["wait", "--for=condition=Ready", "--timeout=60s", "pod/icscf", "pod/scscf"])?;
    for (all, code) in [(false, 1), (true, 0)] {
        let user = Limited::new(cluster, &namespace, &format!("few-{all}"), &["dns-pods"], all)?;
        let ran = user.plugin()?.run_within(PATIENCE, &["dns-patch", "-f", &path, "--check"])?.expect(code)?;
        let told = ran.said().contains("be asked: the DNS servers themselves");
        ensure!(told != all, "{all}: {}", ran.said());
    }
    Ok(())
}
