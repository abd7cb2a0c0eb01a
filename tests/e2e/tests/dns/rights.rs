use anyhow::Result;
use clearwater_e2e::{Limited, cluster};

use crate::{Corefile, PATIENCE, file, sprout};

#[test]
#[ignore = "needs cluster (edits kube-system)"]
fn each_backend_asks_for_nothing_that_the_table_of_rights_does_not_name() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-dns-rights")?;
    let kubectl = namespace.kubectl();
    let corefile = Corefile::keep(kubectl)?;
    let path = file("dns: {backend: coredns}\n")?;
    sprout(kubectl)?;
    let steps: [(&str, &str, &str, &[&str], i32); 7] = [
        ("file", "dns-coredns", "coredns", &["--yes"], 0),
        ("file-check", "dns-coredns", "coredns", &["--check"], 0),
        ("file-explain", "dns-coredns", "coredns", &["--explain"], 5),
        ("file-off", "dns-coredns", "coredns", &["--remove", "--yes"], 0),
        ("slice", "dns-endpoints", "endpoints", &["--yes"], 0),
        ("slice-off", "dns-endpoints", "endpoints", &["--remove", "--yes"], 0),
        // No pod has the host names: whether the change could be proved is not known.
        ("pods", "dns-pods", "pods", &["--dry-run"], 1),
    ];
    for (name, task, backend, more, code) in steps {
        for all in [false, true] {
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
