use serde_json::{Value, json};

use super::*;
use crate::fake_api;

/// Each component would be told to be broken by itself.
#[tokio::test]
async fn a_namespace_that_goes_is_one_note() {
    let workload = json!({"metadata": {"name": "homer", "generation": 1}, "spec": {"replicas": 1, "selector": {},
        "template": {"metadata": {"labels": {"service": "homer"}}}}, "status": {"observedGeneration": 1}});
    // Its pods run, and nobody has told them yet.
    let pod = json!({"metadata": {"name": "homer-x", "uid": "u", "labels": {"service": "homer"}}});
    let going = move |path: &str| -> Option<Value> {
        let items = match path.rsplit('/').next()? {
            "ims" => return Some(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
            "deployments" => json!([workload]),
            "pods" => json!([pod]),
            "statefulsets" | "services" | "events" | "endpointslices" => json!([]),
            _ => return None,
        };
        Some(json!({"metadata": {}, "items": items}))
    };
    let (cluster, _) = fake_api::cluster(going);
    let seen = status(&cluster, &StatusOptions::new()).await.unwrap();
    let [note] = &seen.notes[..] else { panic!("{seen:?}") };
    assert!(note.contains("namespace ims") && note.contains("Terminating"), "{note}");
    assert!(seen.leaving && seen.components.is_empty() && !seen.healthy, "{seen:?}");
}
