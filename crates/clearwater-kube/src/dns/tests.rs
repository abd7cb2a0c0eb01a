use clearwater::remedy::NamesDeed;
use serde_json::{Value, json};

use super::kept::KeptFile;
use super::*;
use crate::fake_api;

const COREFILE: &str = ".:53 {\n    errors\n    kubernetes cluster.local\n    reload\n}\n";

/// A cluster whose Corefile holds nothing of ours; `kept` is the ConfigMap of what stood before.
fn object(path: &str, kept: Option<&Value>) -> Option<Value> {
    let list = |items: Value| json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items});
    Some(match path {
        "/version" => json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"}),
        "/api/v1/namespaces/kube-system/services" => list(json!([{
            "metadata": {"name": "kube-dns"},
            "spec": {"clusterIP": "10.96.0.10", "selector": {"k8s-app": "kube-dns"}},
        }])),
        "/api/v1/namespaces/kube-system/pods" => list(json!([{
            "metadata": {"name": "coredns-1", "uid": "1"},
            "spec": {
                "containers": [{
                    "name": "coredns", "image": "coredns", "args": ["-conf", "/etc/coredns/Corefile"],
                    "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
                }],
                "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }])),
        "/api/v1/namespaces/kube-system/configmaps/coredns" => {
            json!({"metadata": {"name": "coredns", "resourceVersion": "7"}, "data": {"Corefile": COREFILE}})
        }
        "/api/v1/namespaces/kube-system/configmaps/clearwater-dns-before.ims" => return kept.cloned(),
        "/api/v1/namespaces/ims/pods" | "/apis/apps/v1/namespaces/kube-system/daemonsets" => list(json!([])),
        _ => return None,
    })
}

fn managed_by(by: &str) -> Value {
    let lines = "{\n    rewrite name exact scscf.sprout.ims.svc.cluster.local. sprout.ims.svc.cluster.local. # \
        kubectl-clearwater ims\n";
    json!({
        "metadata": {"name": "clearwater-dns-before.ims", "uid": "k", "labels": {"app.kubernetes.io/managed-by": by}},
        "data": {"Corefile": COREFILE.replacen("{\n", lines, 1)},
    })
}

fn options() -> DnsOptions {
    let deployment = DeploymentFile::default().deploy("ims").unwrap();
    DnsOptions { action: DnsAction::Remove, ..DnsOptions::new(deployment) }
}

#[tokio::test]
async fn a_removal_that_was_killed_after_its_write_is_finished_and_not_before_every_server_was_asked() {
    let (cluster, asked) = fake_api::cluster(|path| object(path, Some(&managed_by("kubectl-clearwater"))));
    let plan = plan(&cluster, &options()).await.unwrap();
    assert_eq!(plan.finishing(), Some("configmap/clearwater-dns-before.ims in namespace kube-system"));
    assert!(!plan.is_change() && plan.backend == DnsBackend::Coredns);
    let questions: Vec<String> = plan.questions.iter().map(ToString::to_string).collect();
    assert_eq!(questions, ["scscf.sprout.ims.svc.cluster.local A"]);
    // No port of this cluster can be forwarded: nobody was asked, and what was kept stays.
    let (steps, _told) = mpsc::unbounded_channel();
    let error = carry_out(&cluster, &plan, &steps, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, DnsError::Unwell { .. }), "{error}");
    let asked = asked.all();
    assert!(asked.iter().any(|a| a.contains("portforward")), "{asked:?}");
    assert!(!asked.iter().any(|a| a.starts_with("DELETE") || a.starts_with("PATCH")), "{asked:?}");
}

#[tokio::test]
async fn an_object_of_somebody_elses_with_our_name_is_nothing_to_finish() {
    for kept in [None, Some(managed_by("somebody"))] {
        let (cluster, _) = fake_api::cluster(move |path| object(path, kept.as_ref()));
        let plan = plan(&cluster, &options()).await.unwrap();
        assert_eq!((plan.finishing(), plan.is_change(), plan.backend), (None, false, DnsBackend::Auto));
        KeptFile::new(&cluster, "kube-system").forget().await.unwrap();
    }
}

/// What the release does not need and stands all the same is told, whichever backend is named, and so is that nobody could
/// look. Who may only look need not be allowed to write.
#[tokio::test]
async fn names_that_a_release_needs_no_more_are_looked_for() {
    const FILE: &str = "/api/v1/namespaces/kube-system/configmaps/coredns";
    const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/ims/endpointslices/clearwater-sprout-names";
    const REVIEW: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let look = async |backend: DnsBackend, at: &'static str, there: Option<Value>| {
        let (cluster, _) = fake_api::cluster(move |path| match path {
            _ if path == at => there.clone(),
            "/api/v1/namespaces/ims" => Some(json!({"metadata": {"name": "ims"}})),
            REVIEW => Some(json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
                "metadata": {}, "spec": {}, "status": {"allowed": false}})),
            _ => object(path, None),
        });
        let options = DnsOptions { action: DnsAction::Put, backend: Some(backend), ..options() };
        Box::pin(check(&cluster, &options)).await.map(|(_, findings)| findings)
    };
    let left = managed_by("kubectl-clearwater")["data"].clone();
    let left = json!({"metadata": {"name": "coredns", "resourceVersion": "7"}, "data": left});
    let slice = json!({"metadata": {"resourceVersion": "7"}, "addressType": "IPv4", "endpoints": []});
    for backend in [DnsBackend::Coredns, DnsBackend::Endpoints, DnsBackend::Pods, DnsBackend::Auto] {
        for (at, there, named) in [
            (FILE, &left, "configmap/coredns in namespace kube-system"),
            (SLICE, &slice, "endpointslice/clearwater-sprout-names in namespace ims"),
        ] {
            let found = look(backend, at, Some(there.clone())).await.unwrap();
            let said = found.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            let reason = format!("{named} holds names that the release hunter asks for no more. What works: take");
            assert!(found.problems.len() == 1 && said.starts_with(&reason), "{backend:?}: {said}");
            assert_eq!(
                found.problems[0].remedy,
                Some(NamesDeed::Remove { namespace: "ims".to_owned(), backend: None }.into())
            );
        }
        for (at, right) in
            [(FILE, "get configmaps in kube-system"), (SLICE, "get endpointslices.discovery.k8s.io in ims")]
        {
            let error = look(backend, at, Some(Value::Null)).await.unwrap_err().to_string();
            // What a backend writes itself, it looks at to plan.
            let is_own = backend == DnsBackend::Endpoints && at == SLICE;
            let told = is_own || error.contains("names that were put into DNS before: ");
            assert!(told && error.contains(right), "{backend:?}: {error}");
        }
        // Nobody is there to be asked, and nothing else is wrong.
        let error = look(backend, "/version", fake_api::version("/version")).await.unwrap_err().to_string();
        assert!(error.contains("no pod of sprout") && !error.contains("put into DNS before"), "{error}");
    }
}

#[tokio::test]
async fn what_was_kept_is_forgotten_where_it_is_ours_and_may_be_deleted() {
    let (cluster, asked) = fake_api::cluster(|path| object(path, Some(&managed_by("kubectl-clearwater"))));
    KeptFile::new(&cluster, "kube-system").forget().await.unwrap();
    assert_eq!(
        asked.all().last().map(String::as_str),
        Some("DELETE /api/v1/namespaces/kube-system/configmaps/clearwater-dns-before.ims")
    );
    let (cluster, _) = fake_api::cluster(|path| path.ends_with("clearwater-dns-before.ims").then_some(Value::Null));
    let error = KeptFile::new(&cluster, "kube-system").forget().await.unwrap_err();
    assert_eq!(error.missing_right(), Some("get configmaps in kube-system"), "{error}");
}
