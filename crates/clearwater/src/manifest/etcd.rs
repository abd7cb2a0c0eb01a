use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, EnvVar, HostAlias, Volume, VolumeMount};

use super::extras::Extras;
use super::storage::{DATA, persistent};
use super::{Deployment, Inputs};
use crate::component::{Component, Release, port};
use crate::config::IpFamily;
use crate::config::generator::ETCD_MEMBER as MEMBER;

const CLIENT: u16 = port(Component::Etcd, "etcd-client");
const PEER: u16 = port(Component::Etcd, "etcd-server");
const LEGACY: u16 = port(Component::Etcd, "etcd-legacy");

/// Every address of the pod, of both families, and those of IPv4 alone, as a URL has them (Go `net`, `Listen`).
const ANY: &str = "[::]";
const ANY_IPV4: &str = "0.0.0.0";

const DATA_PATH: &str = "/var/lib/etcd";

pub(super) fn extras(d: &Deployment, inputs: &Inputs) -> Extras {
    let host = d.names().host(Component::Etcd);
    let volumes = if persistent(d, inputs, Component::Etcd) {
        Vec::new()
    } else {
        let source = EmptyDirVolumeSource::default();
        vec![Volume { name: DATA.to_owned(), empty_dir: Some(source), ..Volume::default() }]
    };
    let any = if d.file().ip_families.contains(&IpFamily::IPv6) { ANY } else { ANY_IPV4 };
    let args = args(&host, any);
    // The images of 2016 have the binary elsewhere, and as their entry point.
    let command = (d.release() != Release::Classic).then(|| vec!["/usr/local/bin/etcd".to_owned()]);
    Extras {
        command,
        args: Some(args),
        // Clearwater speaks the v2 API: on by default in these images, off since 3.4, and no harm where it is unknown.
        env: vec![EnvVar { name: "ETCD_ENABLE_V2".to_owned(), value: Some("true".to_owned()), ..EnvVar::default() }],
        volumes,
        mounts: vec![VolumeMount { name: DATA.to_owned(), mount_path: DATA_PATH.to_owned(), ..VolumeMount::default() }],
        // It compares its two peer URLs by address when it starts. Asked of the cluster's DNS that early, its own name
        // would be remembered as missing, to the loss of every proxy that asks next.
        host_aliases: Some(vec![HostAlias { ip: "127.0.0.1".to_owned(), hostnames: Some(vec![host]) }]),
        ..Extras::default()
    }
}

/// Advertises names: a proxy remembers what a member advertises, and the address of a replaced pod would be a dead one
/// (etcd `etcdmain/etcd.go`, startProxy).
fn args(host: &str, any: &str) -> Vec<String> {
    let peer = format!("http://{host}:{PEER}");
    vec![
        format!("--name={MEMBER}"),
        // Below the mount point: a new volume can hold a lost+found, which etcd would stumble over.
        format!("--data-dir={DATA_PATH}/{MEMBER}"),
        format!("--advertise-client-urls=http://{host}:{CLIENT}"),
        format!("--listen-client-urls=http://{any}:{CLIENT},http://{any}:{LEGACY}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--listen-peer-urls=http://{any}:{PEER}"),
        format!("--initial-cluster={MEMBER}={peer}"),
        "--initial-cluster-state=new".to_owned(),
    ]
}
