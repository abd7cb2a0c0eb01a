//! The kustomize base in `manifests/` is what is rendered from the file beside it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clearwater::config::DeploymentFile;
use clearwater::manifest::{Bundle, Inputs, Manifest, render};

const SOURCE: &str = "clearwater.yaml";

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

fn rendered() -> (Manifest, BTreeMap<String, String>) {
    let text = std::fs::read_to_string(directory().join(SOURCE)).unwrap();
    let file = DeploymentFile::parse(&text, SOURCE).unwrap();
    let d = file.deploy(file.namespace.as_deref().unwrap()).unwrap();
    let manifest = render(&d, &Inputs::default()).unwrap();
    let files = Bundle::new(&d, &manifest).with_namespace().kustomize().unwrap();
    (manifest, files)
}

#[test]
fn the_base_is_what_is_rendered() {
    let (_, files) = rendered();
    let update = std::env::var_os("UPDATE_MANIFESTS").is_some();
    let mut stale = Vec::new();
    for (name, text) in &files {
        let path = directory().join(name);
        if std::fs::read_to_string(&path).ok().as_ref() != Some(text) {
            stale.push(name.clone());
            if update {
                std::fs::write(path, text).unwrap();
            }
        }
    }
    let ours: BTreeSet<_> = files.keys().map(String::as_str).chain([SOURCE]).collect();
    for entry in std::fs::read_dir(directory()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().extension().is_some_and(|e| e == "yaml") && !ours.contains(name.as_str()) {
            stale.push(format!("{name} (no longer rendered)"));
            if update {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }
    assert!(
        update || stale.is_empty(),
        "manifests/ is not what is rendered: {}; run UPDATE_MANIFESTS=1 cargo test -p clearwater --test manifest_base",
        stale.join(", ")
    );
}

#[test]
fn kustomization_lists_every_file_and_every_object_stands_in_one() {
    let (manifest, files) = rendered();
    let kustomization: serde_json::Value = clearwater::yaml::read_one(&files["kustomization.yaml"]).unwrap();
    let listed: BTreeSet<_> =
        kustomization["resources"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    let written: BTreeSet<_> = files.keys().map(String::as_str).filter(|f| *f != "kustomization.yaml").collect();
    assert_eq!(listed, written);
    let mut objects = Vec::new();
    for file in written.into_iter().filter(|f| *f != "namespace.yaml") {
        objects
            .extend(files[file].split("\n---\n").map(|o| clearwater::yaml::read_one::<serde_json::Value>(o).unwrap()));
    }
    let mut expected: Vec<_> = manifest.objects().map(|o| serde_json::to_value(o).unwrap()).collect();
    let key = |o: &serde_json::Value| format!("{}/{}", o["kind"], o["metadata"]["name"]);
    objects.sort_by_key(key);
    expected.sort_by_key(key);
    assert_eq!(objects, expected);
}

#[test]
fn the_base_holds_no_secret() {
    let (_, files) = rendered();
    assert!(files.values().all(|text| !text.contains("kind: Secret") && !text.contains("secretKeyRef")));
}
