//! What containers may do, and which Pod Security Standard their namespace can enforce.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

#[path = "manifest/cases.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod cases;
#[path = "manifest/levels.rs"]
mod levels;

use cases::{CLASSIC, all, deployment};
use clearwater::component::{Component, Release, capabilities, catalogue};
use clearwater::manifest::{ENFORCE_LABEL, Inputs, Manifest, Object, image, namespace, render};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use levels::LEVELS;

fn rendered(file: &str) -> Manifest {
    render(&deployment(file, "ims"), &Inputs::default()).unwrap()
}

fn specs(manifest: &Manifest) -> impl Iterator<Item = &PodSpec> {
    manifest.objects().filter_map(Object::pod_template).filter_map(|t| t.spec.as_ref())
}

fn containers(manifest: &Manifest) -> impl Iterator<Item = &Container> {
    specs(manifest).flat_map(|s| &s.containers)
}

#[test]
fn every_pod_has_a_seccomp_profile_and_no_service_account() {
    for case in all() {
        let manifest = case.manifest("ims");
        for spec in specs(&manifest) {
            let profile = spec.security_context.as_ref().and_then(|c| c.seccomp_profile.as_ref()).unwrap();
            let wanted = if profile.localhost_profile.is_some() { "Localhost" } else { "RuntimeDefault" };
            assert_eq!(profile.type_, wanted, "{}", case.name);
            assert_eq!(spec.automount_service_account_token, Some(false), "{}", case.name);
        }
    }
}

#[test]
fn by_default_a_container_runs_as_its_image_says() {
    for file in ["", CLASSIC, "tailer: sidecar\n"] {
        assert!(containers(&rendered(file)).all(|c| c.security_context.is_none()), "{file}");
    }
}

#[test]
fn hardened_drops_all_and_adds_what_the_catalogue_lists() {
    for file in ["securityContext: hardened\ntailer: sidecar\n", &format!("{CLASSIC}securityContext: hardened\n")] {
        let manifest = rendered(file);
        for container in containers(&manifest) {
            let context = container.security_context.as_ref().unwrap();
            assert_eq!(context.allow_privilege_escalation, Some(false), "{}", container.name);
            let given = context.capabilities.as_ref().unwrap();
            assert_eq!(given.drop.as_deref(), Some(&["ALL".to_owned()][..]), "{}", container.name);
            let added: Vec<&str> = given.add.iter().flatten().map(String::as_str).collect();
            let wanted: Vec<&str> = match container.name.parse::<Component>() {
                Ok(component) => capabilities(component).iter().map(|c| c.name).collect(),
                Err(_) => Vec::new(),
            };
            assert_eq!(added, wanted, "{}", container.name);
        }
    }
}

#[test]
fn capabilities_are_named_with_their_source_in_order() {
    for component in Release::ALL.into_iter().flat_map(catalogue).map(|e| e.component) {
        let names: Vec<_> = capabilities(component).iter().map(|c| c.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{component}: {names:?}");
        assert!(capabilities(component).iter().all(|c| !c.meaning.is_empty() && !c.source.0.is_empty()), "{component}");
    }
}

#[test]
fn a_component_s_contexts_take_the_place_of_the_file_s() {
    let manifest = rendered(
        "securityContext: hardened\npodSecurityContext: {runAsGroup: 7, seccompProfile: {type: Unconfined}}\ncomponents:\n\
         \x20 homer: {securityContext: default, podSecurityContext: {fsGroup: 5}}\n\
         \x20 ralf: {securityContext: {runAsUser: 42}}\n\
         \x20 sprout: {podSecurityContext: {seccompProfile: {type: Unset}}, securityContext: {seccompProfile: {type: Unset}}}\n",
    );
    let spec = |name| {
        let object = manifest.find("Deployment", name).unwrap();
        object.pod_template().unwrap().spec.as_ref().unwrap()
    };
    let pod = |name| spec(name).security_context.as_ref().unwrap();
    assert!(spec("homer").containers[0].security_context.is_none());
    assert_eq!((pod("homer").fs_group, pod("homer").run_as_group), (Some(5), None));
    assert_eq!(pod("homer").seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
    assert_eq!(pod("ralf").seccomp_profile.as_ref().unwrap().type_, "Unconfined");
    assert_eq!(pod("ralf").run_as_group, Some(7));
    // As OpenShift's anyuid wants it.
    assert_eq!(pod("sprout").seccomp_profile, None);
    assert_eq!(spec("sprout").containers[0].security_context.as_ref().unwrap().seccomp_profile, None);
    let ralf = spec("ralf").containers[0].security_context.as_ref().unwrap();
    assert_eq!((ralf.run_as_user, ralf.allow_privilege_escalation), (Some(42), None));
}

#[test]
fn the_namespace_enforces_the_strictest_level_that_the_pods_keep_to() {
    for (file, level) in LEVELS {
        assert_eq!(rendered(file).pod_security(), level, "{file}");
        let labels = namespace("ims", level).metadata.labels.unwrap();
        assert_eq!(labels[ENFORCE_LABEL], level.name());
        assert!(!labels.keys().any(|k| k.ends_with("/warn") || k.ends_with("/audit")), "{labels:?}");
    }
}

/// The keys of Secrets that a container is given, and the text of its further settings.
fn given(container: &Container) -> (Vec<&str>, Option<&str>) {
    let variables = || container.env.iter().flatten();
    let mut keys: Vec<&str> = variables()
        .filter_map(|v| v.value_from.as_ref()?.secret_key_ref.as_ref())
        .map(|reference| reference.key.as_str())
        .collect();
    keys.sort_unstable();
    (keys, variables().find(|v| v.name == "ADDITIONAL_SHARED_CONFIG").and_then(|v| v.value.as_deref()))
}

#[test]
fn keys_and_passwords_are_given_to_those_alone_that_read_them() {
    let mail = "email: {smarthost: m.example.com, username: u, password: {secret: s, key: mail}}\ntailer: sidecar\n";
    for release in ["", CLASSIC] {
        let manifest = rendered(&format!("{release}{mail}"));
        for container in containers(&manifest) {
            let (keys, text) = given(container);
            let wanted: &[&str] = match container.name.as_str() {
                "ellis" => &["ellis_api_key", "ellis_cookie_key", "mail", "signup_key"],
                "bono" => &["turn_workaround"],
                _ => &[],
            };
            assert_eq!(keys, wanted, "{}", container.name);
            let whole = match (release, container.name.as_str()) {
                ("", "bono") => Some("turn_workaround='$(TURN_WORKAROUND)'\\n$(CLEARWATER_SHARED_CONFIG)"),
                ("", "ellis") => Some(
                    "smtp_password='$(SMTP_PASSWORD)'\\nellis_api_key='$(ELLIS_API_KEY)'\\n\
                     ellis_cookie_key='$(ELLIS_COOKIE_KEY)'\\nsignup_key='$(SIGNUP_KEY)'\\n$(CLEARWATER_SHARED_CONFIG)",
                ),
                _ => None,
            };
            assert_eq!(text, whole, "{}", container.name);
        }
    }
}

#[test]
fn a_digest_stands_behind_the_tag() {
    let hex = "0123456789abcdef".repeat(4);
    let file = format!(
        "images: {{digests: {{etcd: 'sha256:{hex}', homer: 'sha256:{hex}'}}}}\n\
         components: {{homer: {{image: 'r.example.com:5000/homer:1'}}}}\n"
    );
    let d = deployment(&file, "ims");
    assert_eq!(image(&d, Component::Etcd).unwrap(), format!("quay.io/coreos/etcd:v3.2.32@sha256:{hex}"));
    assert_eq!(image(&d, Component::Homer).unwrap(), format!("r.example.com:5000/homer:1@sha256:{hex}"));
    assert_eq!(image(&d, Component::Bono).unwrap(), "docker.io/ollivier/clearwater-bono:hunter");
}
