use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Affinity, ConfigMapVolumeSource, EnvVar, HostAlias, Volume, VolumeMount};

/// What a component's pod has beyond what all have.
#[derive(Default)]
pub(super) struct Extras {
    /// The part that the pods play, where the component has several workloads.
    pub(super) part: Option<&'static str>,
    pub(super) command: Option<Vec<String>>,
    pub(super) args: Option<Vec<String>>,
    /// Shell scripts that run before what the image runs, each of which ends by starting what follows it.
    pub(super) starters: Vec<String>,
    pub(super) env: Vec<EnvVar>,
    pub(super) volumes: Vec<Volume>,
    pub(super) mounts: Vec<VolumeMount>,
    /// Texts that the containers read when they start, for [`CONFIG_HASH_ANNOTATION`](super::pod::CONFIG_HASH_ANNOTATION).
    pub(super) config: Vec<String>,
    /// Whether clients reach the pod through ports of its node.
    pub(super) host_ports: bool,
    pub(super) hostname: Option<&'static str>,
    pub(super) subdomain: Option<&'static str>,
    pub(super) affinity: Option<Affinity>,
    pub(super) host_aliases: Option<Vec<HostAlias>>,
    /// The one name server of the pod, in place of the cluster's own.
    pub(super) name_server: Option<IpAddr>,
}

impl Extras {
    /// Mounts one key of a ConfigMap as a file. A running container keeps the text that it started with.
    pub(super) fn mount_file(&mut self, config_map: &str, key: &str, path: &str) {
        self.mount(config_map, path);
        if let Some(mount) = self.mounts.last_mut() {
            mount.sub_path = Some(key.to_owned());
        }
    }

    /// Mounts a ConfigMap.
    pub(super) fn mount(&mut self, config_map: &str, path: &str) {
        let source = ConfigMapVolumeSource { name: config_map.to_owned(), ..ConfigMapVolumeSource::default() };
        let volume = Volume { name: config_map.to_owned(), config_map: Some(source), ..Volume::default() };
        self.volumes.push(volume);
        self.mounts.push(VolumeMount {
            name: config_map.to_owned(),
            mount_path: path.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }
}
