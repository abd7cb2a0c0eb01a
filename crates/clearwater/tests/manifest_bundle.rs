//! Directories that are applied without this program hold what the manifest holds, byte for byte, in the graph's order.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

#[allow(dead_code, reason = "other tests need the rest")]
#[path = "manifest/cases.rs"]
mod cases;

use std::collections::BTreeMap;

use cases::{all, deployment};
use clearwater::component::Component;
use clearwater::config::Deployment;
use clearwater::manifest::{Bundle, Files, Inputs, KEYS_FILE, Manifest, render};
use clearwater::order::{Graph, Policy, StartPlan};
use clearwater::yaml;
use serde_json::Value;

const NAMESPACE: &str = "ims";

fn plan(d: &Deployment) -> StartPlan {
    Graph::of(d).plan(Policy::default()).unwrap()
}

/// The documents of some files, in the order of their texts.
fn documents<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut all: Vec<&str> = texts.flat_map(|text| text.split_inclusive("\n---\n")).collect();
    for text in &mut all {
        *text = text.strip_suffix("---\n").unwrap_or(text);
    }
    all.sort_unstable();
    all
}

/// What `render` writes without a directory.
fn rendered(manifest: &Manifest) -> String {
    manifest.to_yaml().unwrap()
}

fn resources(kustomization: &str) -> Vec<String> {
    let read: Value = yaml::read_one(kustomization).unwrap();
    read["resources"].as_array().unwrap().iter().map(|f| f.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_directory_holds_the_bytes_that_are_rendered() {
    for case in all() {
        let (d, manifest) = (case.deployment(NAMESPACE), case.manifest(NAMESPACE));
        let whole = rendered(&manifest);
        let expected = documents([&whole].into_iter());
        let base = Bundle::new(&d, &manifest).kustomize().unwrap();
        let listed = resources(&base["kustomization.yaml"]);
        assert_eq!(documents(listed.iter().map(|f| &base[f])), expected, "{}", case.name);
        assert_eq!(listed.len() + 1, base.len(), "{}", case.name);

        let flux = Bundle::new(&d, &manifest).flux(&plan(&d), "apps/ims").unwrap();
        let listed: Vec<String> = flux
            .iter()
            .filter_map(|(path, text)| Some((path.strip_suffix("kustomization.yaml")?, text)))
            .flat_map(|(folder, text)| resources(text).into_iter().map(move |file| format!("{folder}{file}")))
            .collect();
        assert_eq!(documents(listed.iter().map(|f| &flux[f])), expected, "{}", case.name);

        let chart = Bundle::new(&d, &manifest).helm().unwrap();
        let values: BTreeMap<String, Value> = yaml::read_one(&chart["values.yaml"]).unwrap();
        let filled: Vec<String> =
            chart.iter().filter(|(f, _)| f.starts_with("templates/")).map(|(_, text)| fill(text, &values)).collect();
        assert_eq!(documents(filled.iter()), expected, "{}", case.name);
    }
}

/// What Helm makes of a template of ours, as far as that uses its language.
fn fill(text: &str, values: &BTreeMap<String, Value>) -> String {
    let mut filled = String::new();
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        if line != "{{- with .Values.pullSecrets }}\n" {
            filled += line;
            continue;
        }
        let block: Vec<&str> = lines.by_ref().take_while(|l| *l != "{{- end }}\n").collect();
        let secrets = values["pullSecrets"].as_array().unwrap();
        if !secrets.is_empty() {
            filled += block[0];
            assert_eq!((block[1].trim(), block[3].trim()), ("{{- range . }}", "{{- end }}"));
            for secret in secrets {
                filled += &block[2].replace("{{ . | quote }}", secret.as_str().unwrap());
            }
        }
    }
    for name in ["registry", "tag"] {
        if let Some(value) = values.get(name) {
            filled = filled.replace(&format!("{{{{ .Values.{name} }}}}"), value.as_str().unwrap());
        }
    }
    filled.replace("{{ \"{{\" }}", "{{")
}

#[test]
fn braces_and_the_words_that_stand_for_values_are_written_as_they_are() {
    let d = deployment("annotations: {a: '{{ .Values.tag }} value-tag-0 {{{'}\n", NAMESPACE);
    let manifest = render(&d, &Inputs::default()).unwrap();
    let chart = Bundle::new(&d, &manifest).helm().unwrap();
    let text = &chart["templates/shared.yaml"];
    assert!(text.contains("{{ \"{{\" }} .Values.tag }} value-tag-0 {{ \"{{\" }}{"), "{text}");
    assert!(chart["templates/homer.yaml"].contains("{{ .Values.registry }}/clearwater-homer:{{ .Values.tag }}"));
}

/// Images that the file gives a place or a digest stay where they are; a mirror is part of the registry.
#[test]
fn the_values_are_of_images_without_a_place_of_their_own() {
    let file = "images: {mirror: 'mirror.example.com:5000/ims', pullSecrets: [a, b], digests: {homer: 'sha256:\
                0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}}\n\
                components: {ralf: {image: 'example.com/ralf:7'}}\n";
    let d = deployment(file, NAMESPACE);
    let manifest = render(&d, &Inputs::default()).unwrap();
    let chart = Bundle::new(&d, &manifest).helm().unwrap();
    let values: BTreeMap<String, Value> = yaml::read_one(&chart["values.yaml"]).unwrap();
    assert_eq!(values["registry"], "mirror.example.com:5000/ims/ollivier");
    assert_eq!(values["pullSecrets"], serde_json::json!(["a", "b"]));
    let has = |file: &str| chart[&format!("templates/{file}.yaml")].contains("{{ .Values.registry }}");
    for component in Component::ALL.into_iter().filter(|c| d.has(*c)) {
        let own = [Component::Homer, Component::Ralf, Component::Etcd].contains(&component);
        assert_eq!(has(component.name()), !own, "{component}");
    }
}

#[test]
fn workloads_come_in_the_waves_of_the_graph_and_all_else_before_them() {
    for case in all() {
        let d = case.deployment(NAMESPACE);
        let plan = plan(&d);
        let manifest = case.manifest(NAMESPACE).with_sync_waves(&plan);
        for item in manifest.items() {
            let annotation = item.object.metadata().annotations.as_ref();
            let wave = annotation.and_then(|a| a.get("argocd.argoproj.io/sync-wave"));
            let wave: Option<usize> = wave.map(|w| w.parse().unwrap());
            let of_graph = plan.wave(item.owner.name()).filter(|_| item.object.pod_template().is_some());
            assert_eq!(wave, of_graph.map(|w| w + 1), "{}: {}", case.name, item.object.name());
        }
    }
}

#[test]
fn what_stands_beside_the_objects() {
    let d = deployment("", NAMESPACE);
    let manifest = render(&d, &Inputs::default()).unwrap();
    let whole = Bundle::new(&d, &manifest).with_namespace().with_key_store("vault");
    let base = whole.kustomize().unwrap();
    let flux = whole.flux(&plan(&d), "./apps/ims/").unwrap();
    let chart = whole.helm().unwrap();
    assert_eq!(flux[&format!("wave-0/{KEYS_FILE}")], base[KEYS_FILE]);
    assert_eq!(chart[&format!("templates/{KEYS_FILE}")], base[KEYS_FILE]);
    assert_eq!(flux["wave-0/namespace.yaml"], base["namespace.yaml"]);
    assert!(!chart.contains_key("templates/namespace.yaml"));
    let shown = |files: &Files, names: &[&str]| -> String {
        names.iter().map(|name| format!("=== {name}\n{}", files[*name])).collect()
    };
    let text = shown(&base, &["kustomization.yaml", "namespace.yaml", KEYS_FILE])
        + &shown(&flux, &["wave-0/kustomization.yaml", "wave-1/kustomization.yaml", "flux.yaml"])
        + &shown(&chart, &["Chart.yaml", "values.yaml", "values.schema.json", "templates/homer.yaml"]);
    insta::assert_snapshot!("bundle", text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}
