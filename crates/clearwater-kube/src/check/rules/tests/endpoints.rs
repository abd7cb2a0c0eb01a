//! What Services lead to.

use super::*;

/// Kubernetes' own slices follow the pods, those of a pod's address lead there, and of this program's own the names are put in anew.
#[test]
fn an_address_that_no_pod_has_is_named_with_its_slice() {
    let told = |address: &str, writer: Option<&str>| {
        let mut facts = health();
        let mut sprout = serde_json::to_value(pod(Component::Sprout, 0)).unwrap();
        sprout["status"]["podIP"] = json!("10.0.0.7");
        add(&mut facts, sprout);
        lead_astray(&mut facts, address, writer);
        let mut bad: Vec<_> = lines(&facts).into_iter().filter(|l| l.status >= CheckStatus::Warning).collect();
        assert!(bad.len() < 2, "{bad:#?}");
        bad.pop()
    };
    let one = told("198.51.100.9", None).unwrap();
    assert_eq!((one.id, one.title.as_str()), (CheckId::Workloads, "Services lead to pods alone: endpointslice/stray"));
    assert_eq!(one.detail, "it leads whoever asks Service sprout for sprout to 198.51.100.9, which no pod here has");
    assert!(one.fix.unwrap().to_string().starts_with("kubectl delete endpointslice -n ims stray"));
    let ours = told("198.51.100.9", Some("kubectl-clearwater")).unwrap().fix.unwrap().to_string();
    assert!(ours.starts_with("put the names of the deployment into the cluster's DNS"), "{ours}");
    assert_eq!(told("198.51.100.9", Some("endpointslice-controller.k8s.io")), None);
    assert_eq!(told("10.0.0.7", None), None);
}
