//! Settings by component.

use std::collections::BTreeMap;

use super::{Check, form, path};
use crate::component::{Component, Release, entry};
use crate::config::problem::{KeyPath, ProblemKind, quoted};
use crate::config::{ComponentOverrides, Ellis, LevelFile, Resources, Toleration};
use crate::labels;
use crate::names::nearest;

/// Below this memory limit, in bytes, memcached is killed as it fills: the images start it with a cache of 512 MB
/// (clearwater-docker astaire/memcached.supervisord.conf).
const MEMCACHED: f64 = 700.0 * 1024.0 * 1024.0;

pub(super) fn check(check: &mut Check<'_>) {
    let file = check.file;
    labels(check, &path("labels"), &file.labels);
    annotations(check, &path("annotations"), &file.annotations);
    for (component, overrides) in &file.components {
        let key = path("components").key(component.name());
        if !belongs(check, *component, &key) {
            continue;
        }
        count(check, *component, overrides, &key);
        one(check, *component, overrides, &key);
    }
    for component in file.cluster_ips.keys() {
        belongs(check, *component, &path("clusterIPs").key(component.name()));
    }
    for component in file.images.digests.keys() {
        belongs(check, *component, &path("images.digests").key(component.name()));
    }
    if file.hss.is_some() && file.ellis != Ellis::default() {
        without_provisioning(check, path("ellis"), Component::Ellis);
    }
    if file.hss.is_some() && file.email.is_some() {
        without_provisioning(check, path("email"), Component::Ellis);
    }
}

fn without_provisioning(check: &mut Check<'_>, key: KeyPath, component: Component) {
    check.refuse(
        &[key, path("hss")],
        format!(
            "with an HSS the subscribers are provisioned there, so homestead-prov and ellis are not deployed and \
             settings of {component} have no effect: remove this, or remove hss"
        ),
    );
}

/// Whether the deployment runs the component; says so where it does not.
fn belongs(check: &mut Check<'_>, component: Component, key: &KeyPath) -> bool {
    let release = check.file.release;
    if entry(release, component).is_none() {
        let instead = match (release, component) {
            (Release::Hunter, Component::Memcached) => "; its store is called astaire",
            (Release::Classic, Component::Astaire) => "; its store is called memcached",
            (Release::Classic, Component::HomesteadProv) => "; homestead does its work there",
            _ => "",
        };
        check.refuse(
            &[key.clone(), path("release")],
            format!("the release {release} has no {component}{instead}: remove this"),
        );
        return false;
    }
    if check.file.hss.is_some() && matches!(component, Component::HomesteadProv | Component::Ellis) {
        without_provisioning(check, key.clone(), component);
        return false;
    }
    true
}

fn count(check: &mut Check<'_>, component: Component, overrides: &ComponentOverrides, key: &KeyPath) {
    let reason = match component {
        Component::Etcd => "its members would have to find each other by a discovery service, which is not set up",
        Component::Ellis => "its accounts are in a MySQL inside its container, so two would show different ones",
        _ => return,
    };
    if let Some(replicas) = overrides.replicas.filter(|r| *r > 1) {
        let key = key.key("replicas");
        check.refuse(
            std::slice::from_ref(&key),
            format!("{replicas} is refused, {component} runs once: {reason}; write 1 or remove this"),
        );
    }
}

fn one(check: &mut Check<'_>, component: Component, overrides: &ComponentOverrides, key: &KeyPath) {
    if overrides.log_level.is_some() && LevelFile::of(component).is_none() {
        let message = format!("{component} is no program of Clearwater's and takes no log level: remove this");
        check.refuse(&[key.key("logLevel")], message);
    }
    if let Some(resources) = &overrides.resources {
        requests_and_limits(check, component, resources, &key.key("resources"));
    }
    for (name, value) in &overrides.node_selector {
        let key = key.key("nodeSelector").key(name);
        check.form(&key, name, form::qualified_name);
        check.form(&key, value, form::label_value);
        if name == "kubernetes.io/arch" && value != "amd64" && overrides.image.is_none() {
            let own = check.file.images.registry.is_some() || check.file.images.mirror.is_some();
            let message = format!("{value:?}: upstream's images are for amd64; a pod on another node cannot start");
            if !own {
                check.warn(&[key, path("images.registry")], message);
            }
        }
    }
    for (n, toleration) in overrides.tolerations.iter().enumerate() {
        tolerates(check, toleration, &key.key("tolerations").index(n));
    }
    labels(check, &key.key("labels"), &overrides.labels);
    annotations(check, &key.key("annotations"), &overrides.annotations);
    for (name, value) in &overrides.env {
        env(check, component, name, value, &key.key("env").key(name));
    }
}

fn requests_and_limits(check: &mut Check<'_>, component: Component, resources: &Resources, key: &KeyPath) {
    const KNOWN: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
    let mut amounts: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for (kind, list) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        for (name, text) in list {
            let key = key.key(kind).key(name);
            let known = KNOWN.contains(&name.as_str()) || name.starts_with("hugepages-") || name.contains('/');
            if !known {
                let near = nearest(name, KNOWN).map_or_else(|| ";".to_owned(), |n| format!(", did you mean {n:?}?"));
                let message = format!(
                    "unknown resource{near} known: cpu, memory, ephemeral-storage, hugepages-SIZE \
                     and those with a domain, such as example.com/gpu"
                );
                check.find(ProblemKind::UnknownKey, std::slice::from_ref(&key), message);
            }
            match form::quantity(text) {
                Ok(amount) => {
                    amounts.insert((kind, name), amount);
                }
                Err(why) => check.wrong(&key, format!("{} {why}", quoted(text))),
            }
        }
    }
    for ((kind, name), amount) in &amounts {
        let text = if *kind == "requests" { &resources.requests[*name] } else { &resources.limits[*name] };
        if name.contains('/') && amount.fract() != 0.0 {
            let message =
                format!("{} is no whole number, and {name} is given in whole pieces: write one", quoted(text));
            check.wrong(&key.key(kind).key(name), message);
        }
        // What cannot be shared is requested by its limit (kubernetes `pkg/apis/core/validation`).
        let is_shared = !name.contains('/') && !name.starts_with("hugepages-");
        if !is_shared && *kind == "requests" && amounts.get(&("limits", *name)) != Some(amount) {
            let limits = key.key("limits").key(name);
            let message = format!("{name} is not shared, so a limit must be set and be the same: write {text} there");
            check.refuse(&[limits, key.key("requests").key(name)], message);
        }
    }
    for (name, text) in &resources.requests {
        let (request, limit) = (amounts.get(&("requests", name)), amounts.get(&("limits", name)));
        if let (Some(request), Some(limit)) = (request, limit)
            && request > limit
        {
            let limits = key.key("limits").key(name);
            let message =
                format!("{text} is more than the limit, {}; lower it, or raise the limit", resources.limits[name]);
            check.refuse(&[key.key("requests").key(name), limits], message);
        }
    }
    if matches!(component, Component::Astaire | Component::Memcached)
        && amounts.get(&("limits", "memory")).is_some_and(|l| *l < MEMCACHED)
    {
        let key = key.key("limits").key("memory");
        let limit = &resources.limits["memory"];
        let message = format!(
            "{limit}: memcached alone keeps 512 MB, so the container will be OOM-killed as it fills; write 700Mi or more"
        );
        check.warn(&[key], message);
    }
}

fn tolerates(check: &mut Check<'_>, toleration: &Toleration, key: &KeyPath) {
    let exists = toleration.operator.as_deref() == Some("Exists");
    if let Some(name) = &toleration.key {
        check.form(&key.key("key"), name, form::qualified_name);
    } else if !exists {
        check.refuse(
            &[key.key("operator"), key.key("key")],
            "without a key only `operator: Exists` is allowed, which tolerates every taint: write that, or name the \
             key",
        );
    }
    if let Some(value) = &toleration.value {
        if exists {
            check.refuse(
                &[key.key("value"), key.key("operator")],
                "not used with `operator: Exists`: remove it, or write `operator: Equal`",
            );
        } else {
            check.form(&key.key("value"), value, form::label_value);
        }
    }
    if toleration.toleration_seconds.is_some() && toleration.effect.as_deref().is_some_and(|e| e != "NoExecute") {
        check.refuse(
            &[key.key("tolerationSeconds"), key.key("effect")],
            "only used with `effect: NoExecute`: remove it, or change the effect",
        );
    }
}

fn labels(check: &mut Check<'_>, key: &KeyPath, labels: &BTreeMap<String, String>) {
    for (name, value) in labels {
        let key = key.key(name);
        check.form(&key, name, form::qualified_name);
        check.form(&key, value, form::label_value);
        if labels::OWN.contains(&name.as_str()) {
            check.refuse(
                std::slice::from_ref(&key),
                "this label ties pods to their Services and is set already: choose another key, such as \
                 example.com/team",
            );
        }
    }
}

pub(super) fn annotations(check: &mut Check<'_>, key: &KeyPath, annotations: &BTreeMap<String, String>) {
    const MOST: usize = 256 * 1024;
    for name in annotations.keys() {
        check.form(&key.key(name), name, form::qualified_name);
    }
    let size: usize = annotations.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > MOST {
        check.wrong(key, format!("{size} bytes of annotations; Kubernetes allows {MOST}: shorten them"));
    }
}

fn env(check: &mut Check<'_>, component: Component, name: &str, value: &str, key: &KeyPath) {
    let instead = match name {
        "ZONE" => "set from another key, so that configuration and DNS agree: write zone instead",
        "HSS" => "set from another key: write hss instead",
        "PUBLIC_IP" => "set from another key: write bono.addresses or bono.nodeAddresses instead",
        "ADDITIONAL_SHARED_CONFIG" => "set from another key: write sharedConfig instead",
        "MY_POD_IP" => "set already, to the pod's address: remove it",
        "ETCD_PROXY" => "makes the containers delete their shared_config: remove it",
        _ => "",
    };
    if !instead.is_empty() {
        check.refuse(std::slice::from_ref(key), instead);
    }
    check.form(key, name, form::shell_name);
    if value.contains('\0') {
        check.wrong(key, "has a NUL character, which no environment can hold: take it out");
    }
    if name == "PUBLIC_HOSTNAME" && component != Component::Etcd {
        check.form(key, value, form::domain);
    }
}
