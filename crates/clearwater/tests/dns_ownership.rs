//! Corefiles as distributions ship them, with the marks of who manages them: where lines are written, and that they come out
//! again without a trace.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fmt::Write as _;

use clearwater::config::DeploymentFile;
use clearwater::dns::Name;
use clearwater::dns::corefile::{Corefile, Owner};
use clearwater::dns::ownership::{Mounts, Place, WriteTarget, managed_by, write_target};
use clearwater::dns::rules;
use k8s_openapi::api::core::v1::ConfigMap;

const SHIPPED: [(&str, &str); 7] = [
    ("kubeadm", include_str!("corefiles/kubeadm.yaml")),
    ("kind", include_str!("corefiles/kind.yaml")),
    ("k3s", include_str!("corefiles/k3s.yaml")),
    ("EKS", include_str!("corefiles/eks.yaml")),
    ("AKS", include_str!("corefiles/aks.yaml")),
    ("kops", include_str!("corefiles/kops.yaml")),
    ("OpenShift", include_str!("corefiles/openshift.yaml")),
];

fn domain() -> Name {
    "cluster.local".parse().unwrap()
}

fn lines() -> Vec<String> {
    let yaml = "apiVersion: clearwater/v1\nrelease: classic\nimages: {registry: r.example/cw, tag: '2016'}\n";
    let deployment = DeploymentFile::parse(yaml, "clearwater.yaml").unwrap().deploy("ims").unwrap();
    rules(&deployment).unwrap().corefile_lines().unwrap()
}

fn read(yaml: &str) -> (ConfigMap, Corefile) {
    let map: ConfigMap = clearwater::yaml::read_one(yaml).unwrap();
    let text = map.data.as_ref().unwrap()["Corefile"].clone();
    (map, Corefile::parse(&text).unwrap())
}

#[test]
fn each_distribution_has_its_write_target() {
    let mut told = String::new();
    for (name, yaml) in SHIPPED {
        let (map, corefile) = read(yaml);
        let place = Place {
            namespace: map.metadata.namespace.clone().unwrap(),
            name: map.metadata.name.clone().unwrap(),
            key: "Corefile".to_owned(),
        };
        // k3s and AKS mount a ConfigMap of the user's; what the others' pods mount holds the Corefile alone.
        let mut mounts = Mounts::from([("/etc/coredns".to_owned(), place.name.clone())]);
        if ["k3s", "AKS"].contains(&name) {
            mounts.insert("/etc/coredns/custom".to_owned(), "coredns-custom".to_owned());
        }
        let kept = managed_by(&map.metadata);
        let restores = if kept.restores { "puts its file back" } else { "leaves edits alone" };
        writeln!(told, "{name}: {} {restores} ({})", kept.by, kept.shown_by).unwrap();
        match write_target(&kept, &corefile, &domain(), &place, "/etc/coredns", &mounts, "ims") {
            WriteTarget::Corefile { place } => writeln!(told, "  into {place}").unwrap(),
            WriteTarget::Custom { place, import } => writeln!(told, "  into {place}, imported by {import}").unwrap(),
            WriteTarget::Closed { instead } => writeln!(told, "  closed: {instead}").unwrap(),
            other => panic!("{other:?}"),
        }
    }
    insta::assert_snapshot!(told);
}

#[test]
fn an_import_that_leads_nowhere_is_no_write_target() {
    let (map, corefile) = read(SHIPPED[2].1);
    let place = Place { namespace: "kube-system".into(), name: "coredns".into(), key: "Corefile".into() };
    let write_target =
        write_target(&managed_by(&map.metadata), &corefile, &domain(), &place, "/etc/coredns", &Mounts::new(), "ims");
    assert!(matches!(write_target, WriteTarget::Closed { .. }), "{write_target:?}");
}

#[test]
fn shipped_files_are_patched_patched_again_and_restored() {
    let owner = Owner::namespace("ims");
    for (name, yaml) in SHIPPED {
        let (_, before) = read(yaml);
        let after = before.with_lines(&owner, &domain(), &lines()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(after.with_lines(&owner, &domain(), &lines()).as_ref(), Ok(&after), "{name}: twice");
        assert_eq!(after.without_lines(&owner), before.as_str(), "{name}: restored");
    }
}

#[test]
fn what_a_file_says_of_reloads_caches_and_metrics_is_read() {
    let mut told = String::new();
    let mut tell = |name: &str, corefile: &Corefile| {
        let line = (corefile.reload(), corefile.metrics_port(), corefile.cache(&domain()));
        writeln!(told, "{name}: {line:?}").unwrap();
    };
    for (name, yaml) in SHIPPED {
        tell(name, &read(yaml).1);
    }
    for text in [
        ".:53 {\n kubernetes cluster.local\n}\n",
        ".:53 {\n kubernetes cluster.local\n reload 1m30s 45s\n prometheus\n cache\n}\n",
        ".:53 {\n kubernetes cluster.local\n reload 2s 1s\n prometheus localhost:9253\n}\n",
        "(all) {\n reload 500ms\n}\n.:53 {\n kubernetes cluster.local\n import all\n}\n",
    ] {
        tell(text.trim(), &Corefile::parse(text).unwrap());
    }
    insta::assert_snapshot!(told);
}

#[test]
fn the_etcd_plugin_is_found_where_it_answers() {
    let name: Name = "sprout.ims.clearwater.cluster.local".parse().unwrap();
    for (text, found) in [
        (".:53 {\n etcd clearwater.cluster.local {\n  endpoint http://10.0.0.1:2379\n }\n}\n", true),
        ("clearwater.cluster.local:53 {\n etcd {\n  endpoint http://10.0.0.1:2379\n }\n}\n", true),
        ("clearwater.cluster.local:53 {\n etcd other.example\n}\n", false),
        ("other.example {\n etcd\n}\n", false),
        (".:53 {\n kubernetes cluster.local\n}\n", false),
    ] {
        assert_eq!(Corefile::parse(text).unwrap().etcd(&name).is_some(), found, "{text}");
    }
}
