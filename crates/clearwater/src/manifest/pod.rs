use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, Container, ContainerPort, EmptyDirVolumeSource, EnvFromSource, EnvVar, ExecAction, Lifecycle,
    LifecycleHandler, LocalObjectReference, PodDNSConfig, PodDNSConfigOption, PodSpec, PodTemplateSpec,
    ResourceRequirements, Toleration, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::extras::Extras;
use super::hold::{holdable, is_holdable};
use super::meta::{label_selector, pod_labels, selector};
use super::probe::probes;
use super::security::{self, Which};
use super::shared::{ENV_VARS, auto_config, from_field, log_level, variable};
use super::{Deployment, ManifestError, image};
use crate::component::{AskedBy, Component, Entry, LogFile};
use crate::config::shared::ContainerEnvironment;
use crate::config::{PullPolicy, Tailer};

/// The annotation of a pod template with a hash of the configuration that its containers read when they start: a changed
/// ConfigMap alone would start nothing anew.
pub const CONFIG_HASH_ANNOTATION: &str = "kubectl-clearwater/config-hash";

/// The node label that says for which processor architecture an image must be built.
const ARCH: (&str, &str) = ("kubernetes.io/arch", "amd64");
/// A pod that does not ask for it may land on Windows.
const OS: (&str, &str) = ("kubernetes.io/os", "linux");
const LOGS: &str = "logs";
const TAILER: &str = "tailer";

/// What the images run (clearwater-docker `base/Dockerfile`): written out where something is to run before it.
const ENTRY_POINT: [&str; 3] = ["/usr/bin/supervisord", "-c", "/etc/supervisor/supervisord.conf"];

pub(super) fn template(
    d: &Deployment,
    entry: &Entry,
    environment: &ContainerEnvironment,
    extras: Extras,
) -> Result<PodTemplateSpec, ManifestError> {
    let component = entry.component;
    let reads_env_vars = !entry.env.is_empty();
    let extras = if reads_env_vars { auto_config(environment, extras) } else { extras };
    let extras = log_level(d, entry, extras);
    let extras = if is_holdable(d, entry) { holdable(entry, extras) } else { extras };
    let image = image(d, component)?;
    let overrides = d.file().components.get(&component);
    let images = &d.file().images;
    let logs = log_mounts(entry);
    let mut volumes = extras.volumes;
    if !logs.is_empty() {
        // On the pod, not in the container: what a container logged before it was restarted is still there afterwards.
        // Such a volume is writable to every user (mode 0777), as the daemons, which give up root, need it.
        let source = EmptyDirVolumeSource::default();
        volumes.push(Volume { name: LOGS.to_owned(), empty_dir: Some(source), ..Volume::default() });
    }
    let mut mounts = extras.mounts;
    mounts.extend(logs);

    let probes = probes(entry, is_holdable(d, entry));
    let (command, args) = if extras.starters.is_empty() {
        (extras.command, extras.args)
    } else {
        let scripts = extras.starters.into_iter().flat_map(|script| ["/bin/sh".to_owned(), script]);
        (Some(scripts.collect()), Some(ENTRY_POINT.map(ToOwned::to_owned).to_vec()))
    };
    let container = Container {
        name: component.name().to_owned(),
        image: Some(image.clone()),
        image_pull_policy: pull_policy(images.pull_policy),
        command,
        args,
        env_from: reads_env_vars.then(env_from),
        env: some(variables(d, entry, environment, extras.env)),
        ports: some(container_ports(entry, extras.host_ports)),
        resources: Some(resources(d, component)),
        startup_probe: probes.startup,
        readiness_probe: probes.readiness,
        liveness_probe: probes.liveness,
        lifecycle: entry.pre_stop.map(|hook| pre_stop(hook.command)),
        volume_mounts: some(mounts),
        security_context: security::container(d, component, Which::Own),
        ..Container::default()
    };
    let mut containers = vec![container];
    containers.extend(tailer(d, entry, image));

    let mut annotations = overrides.map(|o| o.annotations.clone()).unwrap_or_default();
    if reads_env_vars {
        annotations.insert(CONFIG_HASH_ANNOTATION.to_owned(), config_hash(environment, &extras.config));
    }
    let spec = PodSpec {
        containers,
        volumes: some(volumes),
        affinity: extras.affinity,
        automount_service_account_token: Some(false),
        security_context: Some(security::pod(d, component)),
        enable_service_links: Some(false),
        host_aliases: extras.host_aliases,
        dns_policy: extras.name_server.map(|_| "None".to_owned()),
        dns_config: extras.name_server.map(|server| dns_config(d, server)),
        hostname: extras.hostname.map(ToOwned::to_owned),
        subdomain: extras.subdomain.map(ToOwned::to_owned),
        image_pull_secrets: some(
            images.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect(),
        ),
        node_selector: Some(node_selector(d, component)),
        tolerations: some(tolerations(d, component)),
        topology_spread_constraints: entry.clustering.map(|_| vec![spread(component)]),
        termination_grace_period_seconds: entry.pre_stop.map(|hook| hook.grace_seconds.into()),
        ..PodSpec::default()
    };
    let metadata = ObjectMeta {
        labels: Some(pod_labels(d, component, extras.part)),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..ObjectMeta::default()
    };
    Ok(PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) })
}

/// What the kubelet writes for a pod by itself (kubernetes `pkg/kubelet/network/dns/dns.go`), with one name server.
fn dns_config(d: &Deployment, server: IpAddr) -> PodDNSConfig {
    let domain = d.cluster_domain();
    PodDNSConfig {
        nameservers: Some(vec![server.to_string()]),
        searches: Some(vec![format!("{}.svc.{domain}", d.namespace()), format!("svc.{domain}"), domain.to_owned()]),
        options: Some(vec![PodDNSConfigOption { name: Some("ndots".to_owned()), value: Some("5".to_owned()) }]),
    }
}

/// A list, or nothing in its place: an empty list and a missing one are two things to whoever compares.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn pull_policy(policy: Option<PullPolicy>) -> Option<String> {
    policy.map(|p| {
        match p {
            PullPolicy::Always => "Always",
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Never => "Never",
        }
        .to_owned()
    })
}

fn env_from() -> Vec<EnvFromSource> {
    let source = ConfigMapEnvSource { name: ENV_VARS.to_owned(), optional: None };
    vec![EnvFromSource { config_map_ref: Some(source), ..EnvFromSource::default() }]
}

fn variables(d: &Deployment, entry: &Entry, environment: &ContainerEnvironment, extras: Vec<EnvVar>) -> Vec<EnvVar> {
    let mut env = Vec::new();
    if !entry.env.is_empty() {
        env.push(from_field("MY_POD_IP", "status.podIP"));
        env.extend(environment.variables_of(entry.component).iter().map(variable));
    }
    env.extend(extras);
    for (name, value) in d.file().components.get(&entry.component).map(|o| &o.env).into_iter().flatten() {
        // The kubelet expands $(NAME), and $$ stands for $: written so, the container sees what the file says.
        let variable = EnvVar { name: name.clone(), value: Some(value.replace('$', "$$")), ..EnvVar::default() };
        match env.iter_mut().find(|v| v.name == *name) {
            Some(existing) => *existing = variable,
            None => env.push(variable),
        }
    }
    env
}

fn container_ports(entry: &Entry, host_ports: bool) -> Vec<ContainerPort> {
    entry
        .ports
        .iter()
        .filter(|p| p.asked_by != AskedBy::Local)
        .map(|p| ContainerPort {
            name: Some(p.name.to_owned()),
            container_port: p.number.into(),
            host_port: (host_ports && p.asked_by == AskedBy::Clients).then_some(p.number.into()),
            protocol: Some(p.protocol.name().to_owned()),
            ..ContainerPort::default()
        })
        .collect()
}

fn pre_stop(command: &[&str]) -> Lifecycle {
    let exec = ExecAction { command: Some(command.iter().map(|&word| word.to_owned()).collect()) };
    let handler = LifecycleHandler { exec: Some(exec), ..LifecycleHandler::default() };
    Lifecycle { pre_stop: Some(handler), ..Lifecycle::default() }
}

/// One mount for each directory that the component logs to. `/var/log` itself is left alone: the images keep other
/// things there.
fn log_mounts(entry: &Entry) -> Vec<VolumeMount> {
    let directories: BTreeSet<&str> = entry.logs.iter().map(|log| log.directory).collect();
    directories.into_iter().filter_map(|directory| log_mount(directory, directory)).collect()
}

fn log_mount(directory: &str, at: &str) -> Option<VolumeMount> {
    let name = directory.strip_prefix("/var/log/")?;
    Some(VolumeMount {
        name: LOGS.to_owned(),
        mount_path: at.to_owned(),
        sub_path: Some(name.to_owned()),
        ..VolumeMount::default()
    })
}

/// A container that prints the component's current log file, as upstream's manifests have one; from the component's own
/// image, so that there is no other to pull.
fn tailer(d: &Deployment, entry: &Entry, image: String) -> Option<Container> {
    if d.file().tailer != Tailer::Sidecar {
        return None;
    }
    let (log, current) = entry.logs.iter().find_map(|log: &LogFile| log.current.map(|current| (log, current)))?;
    // tail alone would be process 1, which the kernel spares from signals that it does not handle: each pod would take
    // its whole grace period to end.
    let script = format!("trap 'kill $!; exit 0' TERM; tail -n +1 -F {}/{current} & wait", log.directory);
    Some(Container {
        name: TAILER.to_owned(),
        image: Some(image),
        image_pull_policy: pull_policy(d.file().images.pull_policy),
        command: Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), script]),
        resources: Some(ResourceRequirements {
            requests: Some(quantities([("cpu", "10m"), ("memory", "16Mi")])),
            ..ResourceRequirements::default()
        }),
        volume_mounts: log_mount(log.directory, log.directory)
            .map(|mount| vec![VolumeMount { read_only: Some(true), ..mount }]),
        security_context: security::container(d, entry.component, Which::Beside),
        ..Container::default()
    })
}

fn quantities<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, Quantity> {
    pairs.into_iter().map(|(name, quantity)| (name.to_owned(), Quantity(quantity.to_owned()))).collect()
}

/// What the scheduler sets aside where the file says nothing. Upstream gives no figures at all; these are low enough for
/// a machine with two processors and give an autoscaler something to measure against. There are no limits, because
/// memory that memcached and Cassandra take is fixed in their images (512 MB each) and throttled daemons miss their
/// timers.
fn requests(component: Component) -> BTreeMap<String, Quantity> {
    let (cpu, memory) = match component {
        Component::Etcd => ("50m", "64Mi"),
        Component::Astaire | Component::Memcached | Component::Ellis => ("100m", "256Mi"),
        Component::Cassandra => ("100m", "768Mi"),
        Component::Chronos
        | Component::Homestead
        | Component::HomesteadProv
        | Component::Homer
        | Component::Ralf
        | Component::Sprout
        | Component::Bono => ("100m", "128Mi"),
    };
    quantities([("cpu", cpu), ("memory", memory)])
}

fn resources(d: &Deployment, component: Component) -> ResourceRequirements {
    let given = d.file().components.get(&component).and_then(|o| o.resources.clone()).unwrap_or_default();
    let typed = |map: BTreeMap<String, String>| map.into_iter().map(|(name, quantity)| (name, Quantity(quantity)));
    let limits: BTreeMap<_, _> = typed(given.limits).collect();
    let mut requests = requests(component);
    // A request above its limit is refused; where only a limit is given, Kubernetes takes it as the request.
    requests.retain(|name, _| !limits.contains_key(name));
    requests.extend(typed(given.requests));
    ResourceRequirements {
        requests: (!requests.is_empty()).then_some(requests),
        limits: (!limits.is_empty()).then_some(limits),
        ..ResourceRequirements::default()
    }
}

fn node_selector(d: &Deployment, component: Component) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([ARCH, OS].map(|(key, value)| (key.to_owned(), value.to_owned())));
    if let Some(overrides) = d.file().components.get(&component) {
        labels.extend(overrides.node_selector.clone());
    }
    labels
}

fn tolerations(d: &Deployment, component: Component) -> Vec<Toleration> {
    let given = d.file().components.get(&component).map(|o| o.tolerations.as_slice()).unwrap_or_default();
    given
        .iter()
        .map(|t| Toleration {
            key: t.key.clone(),
            operator: t.operator.clone(),
            value: t.value.clone(),
            effect: t.effect.clone(),
            toleration_seconds: t.toleration_seconds,
        })
        .collect()
}

/// Asks for a store's members on different nodes: each datum has two copies, and one node should not hold both.
fn spread(component: Component) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(label_selector(selector(component, None))),
        ..TopologySpreadConstraint::default()
    }
}

/// FNV-1a over the texts, each ended by a zero byte: it tells versions apart and keeps nothing secret.
fn config_hash(environment: &ContainerEnvironment, texts: &[String]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |text: &str| {
        for byte in text.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (name, value) in &environment.config_map {
        add(name);
        add(value);
    }
    for text in texts {
        add(text);
    }
    format!("{hash:016x}")
}
