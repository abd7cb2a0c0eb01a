use clearwater::config::DeploymentFile;
use clearwater::manifest::{Bundle, KEYS_FILE, render};
use clearwater::yaml;
use serde_json::Value;

use clearwater::event::Operation;

use super::*;
use crate::fake_api;
use crate::owner::ORIGIN_ANNOTATION;

/// Takes the mark out that is set on what is written.
fn unmarked(mut body: Value) -> Value {
    let mut strip = |at: &str| {
        let Some(metadata) = body.pointer_mut(at).and_then(Value::as_object_mut) else { return };
        let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
        if annotations.is_some_and(|a| a.remove(ORIGIN_ANNOTATION).is_some() && a.is_empty()) {
            metadata.remove("annotations");
        }
    };
    strip("/metadata");
    strip("/spec/volumeClaimTemplates/0/metadata");
    body
}

fn documents(text: &str) -> impl Iterator<Item = Value> {
    text.split("\n---\n").map(|one| yaml::read_one(one).unwrap())
}

#[tokio::test]
async fn what_a_new_namespace_is_given_is_what_a_directory_holds() {
    for text in [
        "",
        "annotations: {a: b}\ncomponents: {sprout: {replicas: 2}}\nnetworkPolicy: isolate\n",
        "bono: {exposure: hostPort}\nlogLevel: 4\n",
        "release: classic\nimages: {registry: localhost, tag: '1'}\n",
    ] {
        let file = DeploymentFile::parse(&format!("apiVersion: clearwater/v1\n{text}"), "clearwater.yaml").unwrap();
        let deployment = file.deploy("ims").unwrap();
        let live = LiveState {
            namespace: Some(false),
            keys: Some(false),
            classes: Some(["standard".to_owned()].into()),
            default_class: Some("standard".to_owned()),
            ..LiveState::default()
        };
        let (cluster, asked) = fake_api::cluster(|_| None);
        let scope = Scope::of(&deployment, Policy::default(), &[], &[]).unwrap();
        let (work, lines) = ApplyPlan::plan(&cluster, &deployment, &scope, &live, false, false).await.unwrap();
        assert!(lines.is_empty() && asked.all().is_empty(), "{lines:?} {:?}", asked.all());

        let keys = work.inputs.keys.clone();
        let inputs = Inputs { keys, default_storage_class: Some(true), ..Inputs::default() };
        let manifest = render(&deployment, &inputs).unwrap();
        let files = Bundle::new(&deployment, &manifest).with_namespace().kustomize().unwrap();
        assert!(files.contains_key(KEYS_FILE));
        let namespace = manifest::namespace("ims", work.pod_security);
        assert_eq!(files["namespace.yaml"], yaml::write_one(&namespace).unwrap());
        let beside = |name: &str| name != "kustomization.yaml" && name != "namespace.yaml";
        let mut held: Vec<Value> =
            files.iter().filter(|(name, _)| beside(name)).flat_map(|(_, text)| documents(text)).collect();
        let mut planned: Vec<Value> = work.all().map(|p| unmarked(p.body.clone())).collect();
        let name = |object: &Value| format!("{}/{}", object["kind"], object["metadata"]["name"]);
        held.sort_by_key(name);
        planned.sort_by_key(name);
        assert_eq!(held, planned, "{text}");
    }
}

/// A run that does not heed a refusal tries what was refused, and does not wait for what it left out.
#[tokio::test]
async fn what_the_api_server_refuses_is_planned_where_it_is_tried_all_the_same() {
    let deployment = DeploymentFile::default().deploy("ims").unwrap();
    let live = LiveState { namespace: Some(true), keys: Some(true), ..LiveState::default() };
    let scope = Scope::of(&deployment, Policy::default(), &[], &[]).unwrap();
    for try_refused in [false, true] {
        // Nothing stands, and no write is taken.
        let (cluster, _) = fake_api::cluster(|_| None);
        let (work, lines) = ApplyPlan::plan(&cluster, &deployment, &scope, &live, false, try_refused).await.unwrap();
        assert!(!lines.is_empty());
        assert_eq!(work.all().next().is_some(), try_refused);
        assert!(work.all().all(|planned| planned.operation == Operation::Create));
    }
}
