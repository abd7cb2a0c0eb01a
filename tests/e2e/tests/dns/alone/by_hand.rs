//! What takes longer: `cargo xtask prove dns-faults` runs it.

use anyhow::{Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::{Cluster, Kubectl};
use serde_json::json;

use crate::{Corefile, PATIENCE, file};

/// Puts CoreDNS back as the test bed has it.
struct Restored<'a> {
    cluster: &'a Cluster,
    corefile: Corefile,
}

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        let _ = self.corefile.write(&self.corefile.before);
        if let Ok(local) = self.cluster.local() {
            let _ = local.restart_dns();
        }
    }
}

fn put(plugin: &Plugin, path: &str, more: &[&str], code: i32) -> Result<clearwater_e2e::Ran> {
    let mut args = vec!["dns-patch", "--backend", "coredns", "--yes", "-f", path];
    args.extend(more);
    plugin.run_within(PATIENCE, &args)?.expect(code)
}

/// CoreDNS that never reads its file again: refused, and with the user's leave its pods are replaced one by one.
#[test]
#[ignore = "needs cluster (restarts its DNS)"]
fn without_reload_the_pods_are_replaced_one_at_a_time() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-restart")?;
    let restored = Restored { cluster, corefile: Corefile::keep(namespace.kubectl())? };
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file("")?;
    let bare = restored.corefile.before.replace("    reload 2s 1s\n", "");
    ensure!(bare != restored.corefile.before, "the file has another reload:\n{bare}");
    restored.corefile.write(&bare)?;
    cluster.local()?.restart_dns()?;

    let refused = put(&plugin, &path, &[], 6)?;
    ensure!(refused.err.contains("--restart-dns"), "{}", refused.err);
    ensure!(restored.corefile.now()? == bare, "written all the same");
    let done = put(&plugin, &path, &["--restart-dns"], 0)?;
    ensure!(done.err.matches("is replaced").count() == 2, "{}", done.err);
    put(&plugin, &path, &["--check"], 0)?;
    plugin.run_within(PATIENCE, &["dns-patch", "--remove", "--yes", "--restart-dns", "-f", &path])?.expect(0)?;
    ensure!(restored.corefile.now()? == bare, "not as it was:\n{}", restored.corefile.now()?);
    Ok(())
}

/// CoreDNS that looks at its file once an hour: given up at the deadline, and taken back.
#[test]
#[ignore = "needs cluster (restarts its DNS)"]
fn a_reload_that_never_comes_is_given_up() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-never")?;
    let restored = Restored { cluster, corefile: Corefile::keep(namespace.kubectl())? };
    let plugin = Plugin::new(cluster, namespace.name())?;
    let slow = restored.corefile.before.replace("reload 2s 1s", "reload 1h 1s");
    restored.corefile.write(&slow)?;
    cluster.local()?.restart_dns()?;
    let path = file("")?;
    let late = put(&plugin, &path, &["--timeout", "15s"], 1)?;
    ensure!(late.err.contains("looks every 3600 s"), "how long it can take is not told:\n{}", late.err);
    ensure!(late.err.contains("not done within 15 s") && late.err.contains("as it was before"), "{}", late.err);
    ensure!(restored.corefile.now()? == slow, "not as it was:\n{}", restored.corefile.now()?);
    Ok(())
}

struct Unlabelled<'a>(&'a Kubectl);

impl Drop for Unlabelled<'_> {
    fn drop(&mut self) {
        let _ = self.0.run(["annotate", "configmap", "coredns", "objectset.rio.cattle.io/owner-gvk-"]);
        let _ = self.0.run(["delete", "configmap", "coredns-custom", "--ignore-not-found"]);
        let volumes = r#"{"spec": {"template": {"spec": {
            "volumes": [{"name": "custom", "$patch": "delete"}],
            "containers": [{"name": "coredns", "volumeMounts": [{"mountPath": "/etc/coredns/custom", "$patch": "delete"}]}]
        }}}}"#;
        let _ = self.0.run(["patch", "deployment", "coredns", "--patch", volumes]);
    }
}

/// As on k3s: a manager that would put its file back, and the file that it imports for its users.
#[test]
#[ignore = "needs cluster (restarts its DNS)"]
fn the_managers_write_target_is_used() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-managed")?;
    let system = namespace.kubectl().in_namespace("kube-system");
    let restored = Restored { cluster, corefile: Corefile::keep(namespace.kubectl())? };
    let plugin = Plugin::new(cluster, namespace.name())?;
    let volume = json!({"spec": {"template": {"spec": {
        "volumes": [{"name": "custom", "configMap": {"name": "coredns-custom", "optional": true}}],
        "containers": [{"name": "coredns", "volumeMounts": [{"name": "custom", "mountPath": "/etc/coredns/custom", "readOnly": true}]}],
    }}}});
    let undone = Unlabelled(&system);
    let theirs = restored
        .corefile
        .before
        .replace("    loadbalance\n", "    loadbalance\n    import /etc/coredns/custom/*.override\n");
    restored.corefile.write(&theirs)?;
    system.run([
        "annotate",
        "configmap",
        "coredns",
        "objectset.rio.cattle.io/owner-gvk=k3s.cattle.io/v1, Kind=Addon",
    ])?;
    // CoreDNS' file system is read-only below its configuration: the mount point is the ConfigMap's own directory.
    system.run(["patch", "deployment", "coredns", "--patch", &volume.to_string()])?;
    system.run(["rollout", "status", "deployment/coredns", "--timeout=120s"])?;
    let path = file("")?;
    let done = put(&plugin, &path, &[], 0)?;
    ensure!(done.err.contains("coredns-custom") && done.err.contains("k3s"), "{}", done.err);
    ensure!(restored.corefile.now()? == theirs, "the manager's own file was touched");
    put(&plugin, &path, &["--check"], 0)?;
    put(&plugin, &path, &["--remove"], 0)?;
    let left = system.run(["get", "configmaps", "--output=name"])?;
    ensure!(!left.contains("coredns-custom"), "left behind: {left}");
    drop(undone);
    Ok(())
}
