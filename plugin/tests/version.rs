//! What `version --running` says of a cluster, and that `version` by itself asks none.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod server;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use server::{Manners, Server};

fn version(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
    command.arg("version").args(args).current_dir(dir).env_clear().stdin(Stdio::null());
    command.env("HOME", dir).env("KUBECONFIG", dir.join("kubeconfig")).output().unwrap()
}

fn cluster(dir: &Path, manners: Manners) -> Server {
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "bono-0", "namespace": "ims", "labels": {"service": "bono"}},
        "spec": {"containers": [{"name": "bono", "image": "registry.example.com/bono:7"}]}, "status": {"phase": "Running"}});
    let server = Server::with(manners, vec![pod]);
    server.kubeconfig(&dir.join("kubeconfig"), Some("ims"));
    server
}

#[test]
fn a_cluster_is_asked_where_it_is_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let server = cluster(dir.path(), Manners::Answering);
    let alone = version(dir.path(), &[]);
    assert_eq!((alone.status.code(), server.requests()), (Some(0), Vec::new()), "{alone:?}");
    let told = version(dir.path(), &["--running"]);
    let shown = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(0), "{shown}");
    assert!(
        shown.contains("\nthe cluster: Kubernetes v1.") && shown.contains("1 × registry.example.com/bono:7\n"),
        "{shown}"
    );
    let json: Value =
        serde_json::from_slice(&version(dir.path(), &["--running", "-o", "json", "-n", "ims"]).stdout).unwrap();
    let images = json!([{"component": "bono", "image": "registry.example.com/bono:7", "pods": 1}]);
    assert_eq!((&json["server"]["images"], &json["server"]["namespace"]), (&images, &json!("ims")), "{json}");
    let empty = version(dir.path(), &["--running", "-n", "other"]);
    assert!(String::from_utf8(empty.stdout).unwrap().ends_with("namespace other: no component of Clearwater\n"));
}

#[test]
fn what_was_not_answered_is_no_version_of_the_cluster() {
    for (manners, said) in [
        (Manners::Forbidding("pods"), "cannot look at namespace ims: needs list pods"),
        (Manners::Silent, "no answer"),
        (Manners::Refusing, "cannot look at namespace ims: needs "),
    ] {
        let dir = tempfile::tempdir().unwrap();
        cluster(dir.path(), manners);
        let output = version(dir.path(), &["--running", "--timeout", "1s"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(said), "{manners:?}: {told}");
        // The program's own is known all the same, as kubectl tells it.
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.starts_with("kubectl-clearwater ") && !shown.contains("the cluster:"), "{shown}");
        let json = version(dir.path(), &["--running", "--timeout", "1s", "-o", "json"]).stdout;
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert!(json["version"].is_string() && json["server"].is_null(), "{json}");
    }
}
