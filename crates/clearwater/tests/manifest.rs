//! The objects of deployments: golden files, and what must hold for all of them.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

#[path = "manifest/article.rs"]
mod article;
#[path = "manifest/cases.rs"]
mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cases::{CLASSIC, CLASSIC_DEFAULT, Case, HUNTER, VARIANTS, WHOLE, all, deployment};
use clearwater::component::{Component, Release, entry};
use clearwater::config::DeploymentFile;
use clearwater::config::shared::{Setting, settings};
use clearwater::manifest::{
    CONFIG_HASH_ANNOTATION, Inputs, ItemOwner, KEYS_SECRET, LOG_LEVELS, Lifecycle, Manifest, ManifestError, Note,
    Object, PortRange, Replicas, WorkloadKind, render, services, workloads,
};
use clearwater::remedy::Remedied as _;
use k8s_openapi::api::core::v1::{Container, PodSpec, Probe, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

const NAMESPACE: &str = "ims";

#[test]
fn chronos_alone_is_given_one_name_server() {
    let deployment = HUNTER.deployment(NAMESPACE);
    let plain = render(&deployment, &Inputs::default()).unwrap();
    let inputs = Inputs { chronos_name_server: Some("fd00::a".parse().unwrap()), ..Inputs::default() };
    let given = render(&deployment, &inputs).unwrap();
    for (one, other) in plain.objects().zip(given.objects()) {
        assert_eq!(
            one == other,
            one.name() != "chronos" || one.kind() != "StatefulSet",
            "{}/{}",
            one.kind(),
            one.name()
        );
    }
    let spec =
        given.find("StatefulSet", "chronos").and_then(Object::pod_template).and_then(|t| t.spec.as_ref()).unwrap();
    assert_eq!(spec.dns_policy.as_deref(), Some("None"));
    let dns = spec.dns_config.as_ref().unwrap();
    assert_eq!(dns.nameservers.as_deref(), Some(&["fd00::a".to_owned()][..]));
    let searches = ["ims.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(str::to_owned);
    assert_eq!(dns.searches.as_deref(), Some(&searches[..]));
}

fn notes(text: &mut String, notes: &[Note]) {
    for note in notes {
        writeln!(text, "# {}: {}", note.about, note.text).unwrap();
    }
}

fn whole(manifest: &Manifest) -> String {
    let mut text = String::new();
    notes(&mut text, manifest.notes());
    text + &manifest.to_yaml().unwrap()
}

/// What differs from the release's default: the names of objects that are gone, new objects as a whole, and the changed
/// lines of others. Where all templates change in the same way, the first shows it.
fn difference(case: &Case) -> String {
    let base = if case.name.starts_with("hunter") { HUNTER } else { CLASSIC_DEFAULT }.manifest(NAMESPACE);
    let manifest = case.manifest(NAMESPACE);
    let mut text = String::new();
    for object in base.objects().filter(|o| manifest.find(o.kind(), o.name()).is_none()) {
        writeln!(text, "# gone: {}/{}", object.kind(), object.name()).unwrap();
    }
    notes(&mut text, manifest.notes());
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    for object in manifest.objects() {
        let yaml = |o: &Object| clearwater::yaml::write_one(o).unwrap();
        let title = format!("{}/{}", object.kind(), object.name());
        match base.find(object.kind(), object.name()) {
            None => write!(text, "--- {title}\n{}", yaml(object)).unwrap(),
            Some(old) if old == object => {}
            Some(old) => {
                let (old, new) = (yaml(old), yaml(object));
                let diff = similar::TextDiff::from_lines(&old, &new);
                let lines: String = diff
                    .grouped_ops(1)
                    .iter()
                    .flat_map(|group| group.iter().flat_map(|op| diff.iter_changes(op)))
                    .map(|change| format!("{}{change}", change.tag()))
                    .collect();
                match shown.get(&lines) {
                    Some(first) => writeln!(text, "--- {title}: as {first}").unwrap(),
                    None => write!(text, "--- {title}\n{lines}").unwrap(),
                }
                shown.entry(lines).or_insert(title);
            }
        }
    }
    text
}

#[test]
fn golden() {
    for case in &WHOLE {
        insta::assert_snapshot!(case.name, whole(&case.manifest(NAMESPACE)));
    }
    for case in VARIANTS {
        insta::assert_snapshot!(case.name, difference(case));
    }
}

fn again<T: serde::Serialize + serde::de::DeserializeOwned>(object: &T) -> T {
    let json = serde_json::to_value(object).unwrap();
    let from_json: T = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&from_json).unwrap(), json);
    let from_yaml: serde_json::Value =
        clearwater::yaml::read_one(&clearwater::yaml::write_one(object).unwrap()).unwrap();
    assert_eq!(from_yaml, json);
    from_json
}

#[test]
fn objects_are_the_same_after_a_round_trip() {
    for case in all() {
        for object in case.manifest(NAMESPACE).objects() {
            let copy: Object = match object {
                Object::ConfigMap(o) => again(o.as_ref()).into(),
                Object::Secret(o) => again(o.as_ref()).into(),
                Object::Service(o) => again(o.as_ref()).into(),
                Object::PersistentVolumeClaim(o) => again(o.as_ref()).into(),
                Object::Deployment(o) => again(o.as_ref()).into(),
                Object::StatefulSet(o) => again(o.as_ref()).into(),
                Object::PodDisruptionBudget(o) => again(o.as_ref()).into(),
                Object::Ingress(o) => again(o.as_ref()).into(),
                Object::NetworkPolicy(o) => again(o.as_ref()).into(),
                other => panic!("{} is not tried", other.kind()),
            };
            assert_eq!(copy, *object, "{} {}/{}", case.name, object.kind(), object.name());
        }
    }
}

type Labels = BTreeMap<String, String>;

fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}

fn spec(object: &Object) -> Option<&PodSpec> {
    object.pod_template().and_then(|t| t.spec.as_ref())
}

fn pod_labels(object: &Object) -> Option<&Labels> {
    object.pod_template().and_then(|t| t.metadata.as_ref()).and_then(|m| m.labels.as_ref())
}

fn own_container(object: &Object) -> Option<&Container> {
    spec(object).map(|s| &s.containers[0])
}

fn service<'a>(manifest: &'a Manifest, name: &str) -> &'a Service {
    match manifest.find("Service", name) {
        Some(Object::Service(service)) => service,
        _ => panic!("no Service {name}"),
    }
}

fn numbers(service: &Service) -> Vec<(i32, &str)> {
    let ports = service.spec.as_ref().unwrap().ports.as_ref().unwrap();
    ports.iter().map(|p| (p.port, p.protocol.as_deref().unwrap())).collect()
}

#[test]
fn every_object_says_what_it_is_part_of() {
    for case in all() {
        for item in case.manifest(NAMESPACE).items() {
            let metadata = item.object.metadata();
            let labels = metadata.labels.as_ref().unwrap();
            assert_eq!(metadata.namespace.as_deref(), Some(NAMESPACE));
            assert_eq!(labels["app.kubernetes.io/part-of"], "clearwater");
            assert_eq!(labels["app.kubernetes.io/managed-by"], "kubectl-clearwater");
            match item.owner {
                ItemOwner::Shared => assert_eq!(labels.get("service"), None),
                ItemOwner::Component(component) => assert_eq!(labels["service"], component.name()),
            }
        }
    }
}

#[test]
fn names_are_unique_within_a_kind() {
    for case in all() {
        let manifest = case.manifest(NAMESPACE);
        let names: BTreeSet<_> = manifest.objects().map(|o| (o.kind(), o.name())).collect();
        assert_eq!(names.len(), manifest.objects().count(), "{}", case.name);
    }
}

#[test]
fn what_is_referred_to_exists() {
    for case in all() {
        let manifest = case.manifest(NAMESPACE);
        for object in manifest.objects() {
            let Some(spec) = spec(object) else { continue };
            let at = format!("{} {}", case.name, object.name());
            let volumes: BTreeSet<_> = spec.volumes.iter().flatten().map(|v| v.name.as_str()).collect();
            for volume in spec.volumes.iter().flatten().filter_map(|v| v.config_map.as_ref()) {
                let there = manifest.find("ConfigMap", &volume.name).is_some();
                assert!(there || volume.optional == Some(true), "{at}: no ConfigMap {}", volume.name);
            }
            for container in &spec.containers {
                for mount in container.volume_mounts.iter().flatten() {
                    let claimed = matches!(object, Object::StatefulSet(s)
                        if s.spec.iter().flat_map(|s| s.volume_claim_templates.iter().flatten())
                            .any(|c| c.metadata.name.as_ref() == Some(&mount.name)));
                    assert!(volumes.contains(mount.name.as_str()) || claimed, "{at}: no volume {}", mount.name);
                }
                for source in container.env_from.iter().flatten().filter_map(|e| e.config_map_ref.as_ref()) {
                    assert!(manifest.find("ConfigMap", &source.name).is_some(), "{at}: no ConfigMap {}", source.name);
                }
                let names: Vec<_> = container.env.iter().flatten().map(|v| &v.name).collect();
                assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{at}: {names:?}");
            }
        }
    }
}

#[test]
fn services_lead_to_pods_that_listen() {
    for case in all() {
        let manifest = case.manifest(NAMESPACE);
        for object in manifest.objects() {
            let Object::Service(service) = object else { continue };
            let at = format!("{} Service {}", case.name, object.name());
            let mut selector = service.spec.as_ref().unwrap().selector.clone().unwrap();
            if let Some(pod) = selector.remove("statefulset.kubernetes.io/pod-name") {
                let (owner, _) = pod.rsplit_once('-').unwrap();
                assert!(manifest.find("StatefulSet", owner).is_some(), "{at}");
            }
            let behind: Vec<_> =
                manifest.objects().filter(|o| pod_labels(o).is_some_and(|labels| selects(&selector, labels))).collect();
            assert!(!behind.is_empty(), "{at} selects nothing");
            for workload in behind {
                let ports = own_container(workload).unwrap().ports.as_ref().unwrap();
                for ServicePort { port, protocol, target_port, .. } in
                    service.spec.iter().flat_map(|s| s.ports.iter().flatten())
                {
                    assert_eq!(target_port, &Some(IntOrString::Int(*port)), "{at}");
                    assert!(
                        ports.iter().any(|p| p.container_port == *port && p.protocol == *protocol),
                        "{at}: {} does not listen on {port}",
                        workload.name()
                    );
                }
            }
        }
    }
}

#[test]
fn selectors_of_workloads_tell_their_pods_from_all_others() {
    for case in all() {
        let manifest = case.manifest(NAMESPACE);
        for object in manifest.objects() {
            let selector = match object {
                Object::Deployment(o) => &o.spec.as_ref().unwrap().selector,
                Object::StatefulSet(o) => &o.spec.as_ref().unwrap().selector,
                _ => continue,
            };
            let selector = selector.match_labels.as_ref().unwrap();
            let matched: Vec<_> = manifest
                .objects()
                .filter(|o| pod_labels(o).is_some_and(|labels| selects(selector, labels)))
                .map(Object::name)
                .collect();
            assert_eq!(matched, [object.name()], "{}", case.name);
        }
    }
}

fn asked_port(probe: &Probe) -> i32 {
    let port = match (&probe.tcp_socket, &probe.http_get) {
        (Some(tcp), None) => &tcp.port,
        (None, Some(http)) => &http.port,
        _ => panic!("{probe:?} asks neither over TCP nor over HTTP"),
    };
    match port {
        IntOrString::Int(port) => *port,
        IntOrString::String(name) => panic!("{name} is not a number"),
    }
}

#[test]
fn probes_ask_ports_and_never_start_a_process() {
    for case in all() {
        for item in case.manifest(NAMESPACE).items() {
            let Some(container) = own_container(&item.object) else { continue };
            let ItemOwner::Component(component) = item.owner else { panic!("a workload without a component") };
            let entry = entry(case.deployment(NAMESPACE).release(), component).unwrap();
            let (startup, readiness) =
                (container.startup_probe.as_ref().unwrap(), container.readiness_probe.as_ref().unwrap());
            for probe in [Some(startup), Some(readiness), container.liveness_probe.as_ref()].into_iter().flatten() {
                assert_eq!(probe.exec, None);
                assert!(probe.initial_delay_seconds.is_none());
                assert!(entry.ports.iter().any(|p| i32::from(p.number) == asked_port(probe)), "{component}");
            }
            assert_eq!((&startup.tcp_socket, &startup.http_get), (&readiness.tcp_socket, &readiness.http_get));
            assert_eq!((startup.period_seconds, readiness.period_seconds), (Some(1), Some(2)));
            assert_eq!(readiness.failure_threshold, Some(15), "half a minute");
            let budget = u32::try_from(startup.failure_threshold.unwrap()).unwrap();
            assert!(budget >= 3 * entry.slowest_start_seconds, "{component}: {budget} s");
            match &container.liveness_probe {
                None => assert_eq!((component, budget), (Component::Cassandra, 3600)),
                Some(probe) => assert!(probe.tcp_socket.is_some(), "{component}"),
            }
        }
    }
}

#[test]
fn pods_keep_to_the_baseline_standard() {
    // One case leaves chronos to its image.
    let plain = |object: &Object| {
        object.name() == "chronos"
            && object
                .pod_template()
                .is_some_and(|t| t.spec.as_ref().is_some_and(|s| s.containers[0].security_context.is_none()))
    };
    for case in all() {
        let host_ports = case.file.contains("hostPort");
        for object in case.manifest(NAMESPACE).objects() {
            let Some(spec) = spec(object) else { continue };
            assert_eq!(spec.host_network.or(spec.host_pid).or(spec.host_ipc), None);
            assert!(spec.volumes.iter().flatten().all(|v| v.host_path.is_none()));
            assert_eq!(spec.automount_service_account_token, Some(false));
            assert_eq!(spec.enable_service_links, Some(false));
            for container in &spec.containers {
                assert_eq!(
                    container.security_context.is_some(),
                    case.file.contains("securityContext:") && !plain(object)
                );
                let held = container.ports.iter().flatten().filter(|p| p.host_port.is_some()).count();
                assert_eq!(held > 0, host_ports && object.name() == "bono", "{} {}", case.name, object.name());
            }
        }
    }
}

#[test]
fn only_stores_are_never_rolled() {
    for case in all() {
        for item in case.manifest(NAMESPACE).items() {
            let (Object::StatefulSet(_) | Object::Deployment(_)) = &item.object else { continue };
            let ItemOwner::Component(component) = item.owner else { panic!("a workload without a component") };
            match &item.object {
                Object::StatefulSet(set) => {
                    let spec = set.spec.as_ref().unwrap();
                    let strategy = spec.update_strategy.as_ref().unwrap().type_.as_deref();
                    assert_eq!(strategy == Some("OnDelete"), component.is_store());
                    let ordered = spec.pod_management_policy.as_deref() == Some("OrderedReady");
                    assert_eq!(ordered, component == Component::Cassandra);
                    assert_eq!(spec.service_name.as_deref(), Some(component.name()));
                }
                _ => assert!(!component.is_store(), "{component} is a Deployment"),
            }
        }
    }
}

#[test]
fn hooks_have_time() {
    for case in [HUNTER, CLASSIC_DEFAULT] {
        for object in case.manifest(NAMESPACE).objects() {
            let Some(spec) = spec(object) else { continue };
            let hook = spec.containers[0].lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref());
            let needs = ["astaire", "memcached", "chronos"].contains(&object.name());
            assert_eq!(hook.is_some(), needs, "{}", object.name());
            assert_eq!(spec.termination_grace_period_seconds.is_some_and(|s| s >= 120), needs, "{}", object.name());
        }
    }
}

#[test]
fn logs_outlive_containers() {
    for case in [HUNTER, CLASSIC_DEFAULT] {
        for item in case.manifest(NAMESPACE).items() {
            let (Some(container), ItemOwner::Component(component)) = (own_container(&item.object), item.owner) else {
                continue;
            };
            let mounted: BTreeSet<_> =
                container.volume_mounts.iter().flatten().map(|m| m.mount_path.as_str()).collect();
            assert!(!mounted.contains("/var/log"), "{component}: hides what the image keeps there");
            for log in entry(case.deployment(NAMESPACE).release(), component).unwrap().logs {
                assert!(
                    log.directory == "/var/log" || mounted.contains(log.directory),
                    "{component}: {}",
                    log.directory
                );
            }
        }
    }
}

#[test]
fn budgets_stand_where_a_drain_can_pass() {
    let count = |m: &Manifest| m.objects().filter(|o| o.kind() == "PodDisruptionBudget").count();
    assert_eq!(count(&HUNTER.manifest(NAMESPACE)), 0);
    let d = deployment("components: {sprout: {replicas: 2}}\n", NAMESPACE);
    let manifest = render(&d, &Inputs::default()).unwrap();
    assert!(manifest.find("PodDisruptionBudget", "sprout").is_some());
    assert_eq!(count(&manifest), 1);
    let live_replicas = BTreeMap::from([("sprout".to_owned(), 1), ("astaire".to_owned(), 2)]);
    let manifest = render(&d, &Inputs { live_replicas, ..Inputs::default() }).unwrap();
    assert!(manifest.find("PodDisruptionBudget", "astaire").is_some());
    assert_eq!(count(&manifest), 1);
}

#[test]
fn a_count_that_stands_wins_over_the_file() {
    let d = deployment("components: {sprout: {replicas: 2}}\n", NAMESPACE);
    let live_replicas = BTreeMap::from([("sprout".to_owned(), 5)]);
    let manifest = render(&d, &Inputs { live_replicas, ..Inputs::default() }).unwrap();
    let of = |name: &str| manifest.items().iter().find(|i| i.object.name() == name && i.replicas.is_some()).unwrap();
    assert_eq!(of("sprout").replicas, Some(Replicas::Live(5)));
    assert_eq!(of("sprout").object.replicas(), Some(5));
    assert_eq!(of("homer").replicas, Some(Replicas::ForCreation(1)));
}

#[test]
fn random_keys_are_written_once_and_others_not_at_all() {
    let secret = |case: &str| {
        let case = all().find(|c| c.name == case).unwrap();
        case.manifest(NAMESPACE).items().iter().find(|i| i.object.kind() == "Secret").cloned()
    };
    let item = secret("hunter-keys").unwrap();
    assert_eq!((item.object.name(), item.lifecycle), (KEYS_SECRET, Lifecycle::CreatedOnce));
    let Object::Secret(object) = item.object else { panic!() };
    let data = object.data.unwrap();
    let keys: Vec<_> = data.keys().map(String::as_str).collect();
    assert_eq!(keys, ["ellis_api_key", "ellis_cookie_key", "signup_key", "turn_workaround"]);
    assert_eq!(secret("hunter-keys-upstream"), None);
    assert_eq!(secret("hunter-keys-secret"), None);
}

#[test]
fn no_secret_stands_in_a_config_map_or_a_template() {
    let case = all().find(|c| c.name == "hunter-keys").unwrap();
    for object in case.manifest(NAMESPACE).objects().filter(|o| o.kind() != "Secret") {
        let text = serde_json::to_string(object).unwrap();
        for key in ["=one", "=two", "=three", "=four", "'one'", "'two'", "'three'", "'four'"] {
            assert!(!text.contains(key), "{}/{} has {key}", object.kind(), object.name());
        }
    }
}

/// The host names that the containers' configuration asks for are those that the Services and the pods' names give.
#[test]
fn configuration_and_services_agree() {
    for case in all().filter(|c| !c.file.contains("backend: etcd")) {
        let d = case.deployment(NAMESPACE);
        let manifest = case.manifest(NAMESPACE);
        let zone = format!(".{}", d.zone());
        let mut names: BTreeSet<String> =
            manifest.objects().filter(|o| o.kind() == "Service").map(|o| format!("{}{zone}", o.name())).collect();
        for spec in manifest.objects().filter_map(spec) {
            if let (Some(host), Some(domain)) = (&spec.hostname, &spec.subdomain) {
                names.insert(format!("{host}.{domain}{zone}"));
            }
        }
        if d.names().backend() == clearwater::config::DnsBackend::Coredns {
            names.extend(["icscf", "scscf", "bgcf"].map(|label| format!("{label}.sprout{zone}")));
        }
        for (key, setting) in settings(&d, &(case.inputs)().cluster_ips).unwrap() {
            let Setting::Text(text) = setting else { continue };
            if ["home_domain", "hss_hostname", "hss_realm", "email_recovery_sender"].contains(&key.as_str()) {
                continue;
            }
            let Some(at) = text.find(&zone) else { continue };
            let host = text[..at + zone.len()].trim_start_matches("sip:");
            assert!(names.contains(host), "{}: {key} asks for {host}", case.name);
        }
    }
}

#[test]
fn services_publish_what_others_ask_for() {
    let manifest = HUNTER.manifest(NAMESPACE);
    let ports = |name: &str| numbers(service(&manifest, name));
    for wanted in [(5052, "TCP"), (5053, "TCP"), (5054, "TCP"), (9888, "TCP")] {
        assert!(ports("sprout").contains(&wanted), "{wanted:?}");
    }
    for wanted in [(3478, "TCP"), (3478, "UDP"), (5060, "TCP"), (5060, "UDP"), (5062, "TCP")] {
        assert!(ports("bono").contains(&wanted), "{wanted:?}");
    }
    assert_eq!(ports("hs"), [(8888, "TCP")]);
    assert_eq!(numbers(service(&CLASSIC_DEFAULT.manifest(NAMESPACE), "hs")), [(8888, "TCP"), (8889, "TCP")]);
    for object in manifest.objects() {
        let Object::Service(service) = object else { continue };
        let spec = service.spec.as_ref().unwrap();
        assert_eq!(spec.cluster_ip.as_deref(), Some("None"));
        assert_eq!(spec.publish_not_ready_addresses.is_some(), object.name() == "etcd");
    }
}

#[test]
fn a_sub_domain_is_the_name_of_pods() {
    let manifest = CLASSIC_DEFAULT.manifest(NAMESPACE);
    for (workload, label) in [("sprout-icscf", "icscf"), ("sprout-scscf", "scscf")] {
        let object = manifest.find("Deployment", workload).unwrap();
        let spec = spec(object).unwrap();
        assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some(label), Some("sprout")));
        assert_eq!(pod_labels(object).unwrap()["service"], "sprout");
    }
    let names: Vec<_> =
        workloads(&CLASSIC_DEFAULT.deployment(NAMESPACE), Component::Sprout).iter().map(|w| w.name).collect();
    assert_eq!(names, ["sprout-icscf", "sprout-scscf"]);
}

#[test]
fn workloads_are_those_that_are_rendered() {
    for case in all() {
        let (d, manifest) = (case.deployment(NAMESPACE), case.manifest(NAMESPACE));
        let mut named: Vec<_> = d
            .components()
            .flat_map(|e| workloads(&d, e.component))
            .map(|w| (w.kind.name(), w.name.to_owned()))
            .collect();
        let mut rendered: Vec<_> = manifest
            .objects()
            .filter(|o| o.pod_template().is_some())
            .map(|o| (o.kind(), o.name().to_owned()))
            .collect();
        named.sort();
        rendered.sort();
        assert_eq!(named, rendered, "{}", case.name);
    }
    assert_eq!(workloads(&HUNTER.deployment(NAMESPACE), Component::Bono)[0].kind, WorkloadKind::Deployment);
}

#[test]
fn the_services_alone_are_those_of_the_whole() {
    for case in all() {
        let manifest = case.manifest(NAMESPACE);
        let alone = services(&case.deployment(NAMESPACE), &(case.inputs)()).unwrap();
        let of_whole: Vec<_> = manifest.items().iter().filter(|i| i.object.kind() == "Service").collect();
        assert_eq!(alone.items().iter().collect::<Vec<_>>(), of_whole, "{}", case.name);
    }
}

#[test]
fn services_need_no_address() {
    let d = deployment("bono: {exposure: loadBalancer}\n", NAMESPACE);
    let manifest = services(&d, &Inputs::default()).unwrap();
    assert!(manifest.find("Service", "bono-0").is_some());
    let d = deployment(&format!("{CLASSIC}services: clusterIP\ndns: {{backend: coredns}}\n"), NAMESPACE);
    assert!(services(&d, &Inputs::default()).is_ok());
}

fn config_hashes(manifest: &Manifest) -> BTreeMap<&str, &str> {
    manifest
        .objects()
        .filter_map(|o| {
            let annotations = o.pod_template()?.metadata.as_ref()?.annotations.as_ref()?;
            Some((o.name(), annotations.get(CONFIG_HASH_ANNOTATION)?.as_str()))
        })
        .collect()
}

#[test]
fn changed_configuration_changes_templates() {
    let before = HUNTER.manifest(NAMESPACE);
    let d = deployment("sharedConfig: {enum_server: 192.0.2.1}\n", NAMESPACE);
    let after = render(&d, &Inputs::default()).unwrap();
    let (before, after) = (config_hashes(&before), config_hashes(&after));
    assert_eq!(before.len(), 10, "all but etcd, which reads no configuration");
    assert!(before.iter().all(|(name, hash)| after[name] != *hash));
}

/// The names of the workloads whose templates are not the same.
fn changed_templates(before: &str, after: &str) -> Vec<String> {
    let rendered = |file: &str| render(&deployment(file, NAMESPACE), &Inputs::default()).unwrap();
    let (before, after) = (rendered(before), rendered(after));
    let of = |m: &Manifest, name: &str| m.objects().find(|o| o.name() == name && o.pod_template().is_some()).cloned();
    let names = after.objects().filter(|o| o.pod_template().is_some()).map(|o| o.name().to_owned());
    names
        .filter(|n| {
            of(&before, n).as_ref().map(Object::pod_template) != of(&after, n).as_ref().map(Object::pod_template)
        })
        .collect()
}

#[test]
fn a_log_level_restarts_whom_it_reaches_and_never_a_store() {
    for prefix in ["", CLASSIC] {
        let changed = |after: &str| changed_templates(prefix, &format!("{prefix}{after}"));
        assert_eq!(changed("components: {bono: {logLevel: 4}}\n"), ["bono"]);
        assert!(changed("components: {chronos: {logLevel: 5}}\n").is_empty());
        let all = changed("logLevel: 4\n");
        assert!(all.iter().any(|n| n == "sprout" || n == "sprout-scscf") && all.iter().any(|n| n == "bono"), "{all:?}");
        for store in ["etcd", "astaire", "memcached", "chronos", "cassandra"] {
            assert!(!all.iter().any(|n| n == store), "{store} is not to be replaced for a log level: {all:?}");
        }
    }
}

#[test]
fn each_daemon_finds_its_level_where_it_looks_for_it() {
    let d = deployment("logLevel: 3\ncomponents: {bono: {logLevel: 5}}\n", NAMESPACE);
    let manifest = render(&d, &Inputs::default()).unwrap();
    let Some(Object::ConfigMap(levels)) = manifest.find("ConfigMap", LOG_LEVELS) else { panic!("no {LOG_LEVELS}") };
    let levels = levels.data.as_ref().unwrap();
    let mounted = |component: &str| {
        let object = manifest.objects().find(|o| o.name() == component && o.pod_template().is_some()).unwrap();
        let spec = object.pod_template().unwrap().spec.as_ref().unwrap();
        let mounts = spec.containers[0].volume_mounts.iter().flatten();
        let mount = mounts.clone().find(|m| m.name == LOG_LEVELS)?;
        Some((mount.mount_path.clone(), levels[mount.sub_path.as_ref().unwrap()].clone()))
    };
    let user_settings = "/etc/clearwater/user_settings".to_owned();
    assert_eq!(mounted("bono"), Some((user_settings.clone(), "log_level=5\n".to_owned())));
    assert_eq!(mounted("sprout"), Some((user_settings.clone(), "log_level=3\n".to_owned())));
    assert_eq!(mounted("astaire"), Some((user_settings, "log_level=3\n".to_owned())));
    let (path, sample) = mounted("chronos").unwrap();
    assert_eq!(path, "/etc/chronos/chronos.conf.sample");
    assert!(sample.contains("[logging]\nfolder = /var/log/chronos\nlevel = 3\n"), "{sample}");
    assert!(sample.contains("bind-address = 0.0.0.0\n"), "what the generator replaces: {sample}");
    assert_eq!((mounted("etcd"), mounted("cassandra")), (None, None));
    let Some(Object::ConfigMap(shared)) = manifest.find("ConfigMap", "env-vars") else { panic!("no env-vars") };
    assert!(!format!("{shared:?}").contains("log_level"), "a level there would make every pod anew: {shared:?}");
}

#[test]
fn a_further_bono_does_not_touch_those_that_stand() {
    let manifest = |addresses: &str, count: u32| {
        let d = deployment(&format!("bono: {{exposure: loadBalancer, addresses: [{addresses}]}}\n"), NAMESPACE);
        let live_replicas = BTreeMap::from([("bono".to_owned(), count)]);
        render(&d, &Inputs { live_replicas, ..Inputs::default() }).unwrap()
    };
    let template = |m: &Manifest| m.find("StatefulSet", "bono").and_then(Object::pod_template).cloned();
    let one = template(&manifest("192.0.2.1", 1));
    assert_eq!(template(&manifest("192.0.2.1, 192.0.2.2", 2)), one);
    assert_ne!(template(&manifest("192.0.2.3", 1)), one);
}

#[test]
fn images_are_listed_once_each() {
    let images = |file: &str| -> Vec<String> {
        let manifest = render(&deployment(file, NAMESPACE), &Inputs::default()).unwrap();
        manifest.images().into_iter().map(ToOwned::to_owned).collect()
    };
    let hunter = images("");
    assert_eq!(hunter.len(), 11);
    assert_eq!(hunter[0], "docker.io/ollivier/clearwater-astaire:hunter");
    assert_eq!(hunter[10], "quay.io/coreos/etcd:v3.2.32");
    assert_eq!(images("tailer: sidecar\n"), hunter);
    let mirrored = images("images: {mirror: mirror.example.com:5000}\n");
    assert_eq!(mirrored[0], "mirror.example.com:5000/coreos/etcd:v3.2.32");
    assert_eq!(mirrored[1], "mirror.example.com:5000/ollivier/clearwater-astaire:hunter");
    let classic = images(CLASSIC);
    assert_eq!(classic[1], "10.34.40.11:1179/clearwater-cassandra:2016-11");
    assert!(classic.contains(&"quay.io/coreos/etcd:v2.2.5".to_owned()));
}

fn error(file: &str, inputs: &Inputs) -> String {
    match render(&deployment(file, NAMESPACE), inputs) {
        Ok(_) => panic!("{file} was rendered"),
        Err(e) => e.advice().to_string(),
    }
}

#[test]
fn errors_say_what_to_do() {
    let nothing = Inputs::default();
    assert_eq!(
        error("bono: {exposure: loadBalancer}\ncomponents: {bono: {replicas: 2}}\n", &nothing),
        "no address is known that leads to bono-0, bono-1. What works: bring the deployment up, which waits for the load \
         balancer to give one; or offline, set bono.addresses, one for each pod"
    );
    let scaled = Inputs { live_replicas: BTreeMap::from([("bono".to_owned(), 2)]), ..Inputs::default() };
    assert_eq!(
        error("bono: {exposure: nodePort, addresses: [192.0.2.1], nodePortRange: 3000-32767}\n", &scaled),
        "no address is known that leads to bono-1. What works: set bono.addresses, one for each pod"
    );
    let default_range = Inputs { node_port_range: Some(PortRange::DEFAULT), ..Inputs::default() };
    assert_eq!(
        error("bono: {exposure: nodePort, addresses: [192.0.2.1]}\n", &default_range),
        "the node ports 3478, 5060 lie outside the cluster's range 30000-32767. What works: start the API server with \
         --service-node-port-range=3000-32767; or choose another exposure"
    );
    assert_eq!(
        error(&format!("{CLASSIC}bono: {{exposure: nodePort, addresses: [192.0.2.1]}}\n"), &default_range),
        "the node ports 3478, 5060, 5062 lie outside the cluster's range 30000-32767. What works: start the API server with \
         --service-node-port-range=3000-32767; or choose another exposure"
    );
    let narrow = Inputs { node_port_range: Some(PortRange { first: 31000, last: 31999 }), ..Inputs::default() };
    assert_eq!(
        error("ellis: {exposure: nodePort, nodePort: 30080}\n", &narrow),
        "the node ports 30080 lie outside the cluster's range 31000-31999. What works: choose ports inside it; or choose another \
         exposure"
    );
    assert_eq!(
        "low-high".parse::<PortRange>().unwrap_err().to_string(),
        "\"low-high\" is not a port range: write FIRST-LAST, as in 3000-32767"
    );
    assert!(matches!("2-1".parse::<PortRange>(), Err(ManifestError::PortRange { .. })));
}

/// Each Bono starts with its own address, and one without an address does not start.
#[test]
fn the_start_script_gives_each_bono_its_address() {
    let run = |case: &str, variable: &str, name: &str| {
        let manifest = all().find(|c| c.name == case).unwrap().manifest(NAMESPACE);
        let Some(Object::ConfigMap(map)) = manifest.find("ConfigMap", "bono-start") else { panic!() };
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("start.sh");
        std::fs::write(&script, &map.data.as_ref().unwrap()["start.sh"]).unwrap();
        let output = std::process::Command::new("/bin/sh")
            .args([script.as_os_str(), "/bin/sh".as_ref(), "-c".as_ref(), "printf %s \"$PUBLIC_IP\"".as_ref()])
            .env_clear()
            .env(variable, name)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let ok = |address: &str| (Some(0), address.to_owned(), String::new());
    assert_eq!(run("hunter-bono-load-balancer", "POD_NAME", "bono-0"), ok("192.0.2.1"));
    assert_eq!(run("hunter-bono-load-balancer", "POD_NAME", "bono-1"), ok("192.0.2.2"));
    assert_eq!(run("hunter-bono-host-port-table", "NODE_NAME", "node-2.example.com"), ok("2001:db8::2"));
    assert_eq!(
        run("hunter-bono-load-balancer", "POD_NAME", "bono-2"),
        (
            Some(1),
            String::new(),
            "bono-2 has no address: add one to bono.addresses, then bring the deployment up\n".to_owned()
        )
    );
}

#[test]
fn the_smallest_file_is_rendered_for_every_release() {
    for release in Release::ALL {
        let mut file = DeploymentFile { release, ..DeploymentFile::default() };
        file.images.registry = Some("registry.example.com".to_owned());
        file.images.tag = Some("1".to_owned());
        assert!(render(&file.deploy(NAMESPACE).unwrap(), &Inputs::default()).is_ok(), "{release}");
    }
}

#[test]
fn a_config_map_that_the_api_server_would_refuse_is_not_rendered() {
    let of = |bytes: usize| {
        let text = format!(
            "apiVersion: clearwater/v1\nrelease: classic\nimages: {{registry: r.example/cw, tag: '2016'}}\nsharedConfig: {{a: {}}}\n",
            "x".repeat(bytes)
        );
        let deployment =
            clearwater::config::DeploymentFile::parse(&text, "clearwater.yaml").unwrap().deploy("ims").unwrap();
        clearwater::manifest::render(&deployment, &Inputs::default()).map(drop)
    };
    of(1000 << 10).unwrap();
    let error = of(1 << 20).unwrap_err();
    assert!(matches!(error, ManifestError::TooLarge { size, .. } if size > 1 << 20), "{error}");
}

#[test]
fn each_bonos_services_have_what_their_controllers_read() {
    let services = |bono: &str| -> BTreeMap<String, Service> {
        let text = format!("apiVersion: clearwater/v1\nbono: {bono}\ncomponents: {{bono: {{replicas: 2}}}}\n");
        let deployment = DeploymentFile::parse(&text, "clearwater.yaml").unwrap().deploy(NAMESPACE).unwrap();
        let manifest = render(&deployment, &Inputs::default()).unwrap();
        let all = manifest.objects().filter_map(|o| if let Object::Service(s) = o { Some(*s.clone()) } else { None });
        all.map(|s| (s.metadata.name.clone().unwrap(), s)).filter(|(name, _)| name.starts_with("bono-")).collect()
    };
    let annotation =
        |service: &Service, key: &str| service.metadata.annotations.as_ref().and_then(|a| a.get(key)).cloned();
    let shared = services("{exposure: loadBalancer, service: perProtocol, addresses: [192.0.2.1, 192.0.2.2]}");
    for prefix in ["metallb.io", "metallb.universe.tf"] {
        let key = format!("{prefix}/allow-shared-ip");
        assert_eq!(annotation(&shared["bono-1-udp"], &key).as_deref(), Some("bono-1"), "{key}");
    }
    let told = services(
        "{exposure: loadBalancer, addresses: [192.0.2.1, 192.0.2.2], annotations: {metallb.io/loadBalancerIPs: 192.0.2.7, \
         example.com/host: 'bono-{number}.example.com'}}",
    );
    assert_eq!(annotation(&told["bono-1"], "example.com/host").as_deref(), Some("bono-1.example.com"));
    assert_eq!(told["bono-1"].spec.as_ref().unwrap().load_balancer_ip, None);
    let external = services("{exposure: externalIPs, addresses: [192.0.2.1, '2001:db8::2']}");
    let spec = external["bono-1"].spec.as_ref().unwrap();
    assert_eq!(spec.external_ips.as_deref(), Some(&["2001:db8::2".to_owned()][..]));
    assert_eq!((spec.type_.as_deref(), spec.external_traffic_policy.as_deref()), (None, Some("Local")));
    assert_eq!(spec.selector.as_ref().unwrap()["statefulset.kubernetes.io/pod-name"], "bono-1");
    assert!(spec.ports.iter().flatten().any(|p| p.port == 5060 && p.node_port.is_none()));
}

#[test]
fn families_are_rendered_where_they_are_asked_for() {
    let of = |more: &str| {
        let text = format!("apiVersion: clearwater/v1\nellis: {{exposure: nodePort}}\n{more}");
        let deployment = DeploymentFile::parse(&text, "clearwater.yaml").unwrap().deploy(NAMESPACE).unwrap();
        render(&deployment, &Inputs::default()).unwrap()
    };
    for (more, families, policy, any) in [
        ("", None, None, "0.0.0.0"),
        ("ipFamilies: [IPv4]\n", Some(vec!["IPv4"]), Some("SingleStack"), "0.0.0.0"),
        ("ipFamilies: [IPv6]\n", Some(vec!["IPv6"]), Some("SingleStack"), "[::]"),
        ("ipFamilies: [IPv4, IPv6]\n", Some(vec!["IPv4", "IPv6"]), Some("RequireDualStack"), "[::]"),
    ] {
        let manifest = of(more);
        let mut count = 0;
        for object in manifest.objects() {
            let Object::Service(service) = object else { continue };
            let spec = service.spec.as_ref().unwrap();
            let seen = spec.ip_families.as_ref().map(|all| all.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(
                (seen, spec.ip_family_policy.as_deref()),
                (families.clone(), policy),
                "{more} {}",
                object.name()
            );
            count += 1;
        }
        assert!(count > 10, "{count}");
        let etcd = manifest.find("StatefulSet", "etcd").and_then(Object::pod_template).unwrap();
        let args = etcd.spec.as_ref().unwrap().containers[0].args.as_ref().unwrap().join(" ");
        assert!(args.contains(&format!("--listen-peer-urls=http://{any}:2380")), "{args}");
        assert!(args.contains(&format!("--listen-client-urls=http://{any}:2379,http://{any}:4001")), "{args}");
    }
}
