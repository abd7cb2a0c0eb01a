//! Which Pod Security Standard pods keep to, as the API server's admission judges it
//! (kubernetes `pod-security-admission/policy`; <https://kubernetes.io/docs/concepts/security/pod-security-standards/>).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Namespace, PodSpec, SecurityContext, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::meta::{MANAGED_BY, PART_OF};
use super::{Manifest, Object};
use crate::labels::{MANAGED_BY_LABEL, PART_OF_LABEL};
use crate::names::named;

/// The label by which a namespace has a Pod Security Standard enforced.
pub const ENFORCE_LABEL: &str = "pod-security.kubernetes.io/enforce";

/// A Pod Security Standard, the strictest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PodSecurity {
    /// What is current practice for hardened pods; no root.
    #[default]
    Restricted,
    /// No known way to more rights than a container has.
    Baseline,
    /// Anything.
    Privileged,
}

named! {
    /// The level's name, as the label has it.
    PodSecurity {
        Restricted = "restricted",
        Baseline = "baseline",
        Privileged = "privileged",
    }
}

/// Capabilities that `baseline` lets a container add.
const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Kernel parameters that `baseline` lets a pod set, in every version of Kubernetes that this is for.
const SAFE_SYSCTLS: [&str; 5] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_syncookies",
];

const SELINUX_TYPES: [&str; 4] = ["", "container_t", "container_init_t", "container_kvm_t"];

impl Manifest {
    /// The strictest Pod Security Standard that all pods keep to.
    ///
    /// ```
    /// use clearwater::config::DeploymentFile;
    /// use clearwater::manifest::{Inputs, PodSecurity, render};
    ///
    /// let level = |text: &str| -> Result<PodSecurity, Box<dyn std::error::Error>> {
    ///     let text = format!("apiVersion: clearwater/v1\n{text}");
    ///     let deployment = DeploymentFile::parse(&text, "clearwater.yaml")?.deploy("ims")?;
    ///     Ok(render(&deployment, &Inputs::default())?.pod_security())
    /// };
    /// assert_eq!(level("")?, PodSecurity::Baseline);
    /// assert_eq!(level("bono: {exposure: hostPort}\n")?, PodSecurity::Privileged);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pod_security(&self) -> PodSecurity {
        self.objects().filter_map(Object::pod_spec).map(PodSecurity::of).max().unwrap_or_default()
    }
}

/// The namespace of a deployment whose pods keep to a level. It enforces that level and neither warns nor audits at a
/// stricter one: that the images run as root would be told at every apply, and nothing can be done about it.
pub fn namespace(name: &str, level: PodSecurity) -> Namespace {
    let labels = BTreeMap::from([
        (PART_OF_LABEL.to_owned(), PART_OF.to_owned()),
        (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
        (ENFORCE_LABEL.to_owned(), level.name().to_owned()),
    ]);
    let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
    Namespace { metadata, ..Namespace::default() }
}

impl PodSecurity {
    /// The strictest level that a pod keeps to.
    pub fn of(spec: &PodSpec) -> Self {
        match (is_baseline(spec), is_restricted(spec)) {
            (true, true) => Self::Restricted,
            (true, false) => Self::Baseline,
            (false, _) => Self::Privileged,
        }
    }
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = (&Container, SecurityContext)> {
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    all.map(|c| (c, c.security_context.clone().unwrap_or_default()))
}

fn is_baseline(spec: &PodSpec) -> bool {
    let yes = |flag: Option<bool>| flag == Some(true);
    let pod = spec.security_context.clone().unwrap_or_default();
    let confined = |profile: Option<&str>| profile != Some("Unconfined");
    let se_linux = |options: Option<&k8s_openapi::api::core::v1::SELinuxOptions>| {
        options.is_none_or(|o| {
            SELINUX_TYPES.contains(&o.type_.as_deref().unwrap_or_default())
                && o.user.as_deref().unwrap_or_default().is_empty()
                && o.role.as_deref().unwrap_or_default().is_empty()
        })
    };
    let pod_fits = !yes(spec.host_network)
        && !yes(spec.host_pid)
        && !yes(spec.host_ipc)
        && spec.volumes.iter().flatten().all(|v| v.host_path.is_none())
        && confined(pod.seccomp_profile.as_ref().map(|p| p.type_.as_str()))
        && se_linux(pod.se_linux_options.as_ref())
        && pod.sysctls.iter().flatten().all(|s| SAFE_SYSCTLS.contains(&s.name.as_str()));
    pod_fits
        && containers(spec).all(|(container, context)| {
            let adds = context.capabilities.as_ref().and_then(|c| c.add.as_ref());
            container.ports.iter().flatten().all(|p| p.host_port.unwrap_or(0) == 0)
                && !yes(context.privileged)
                && adds.into_iter().flatten().all(|c| BASELINE_CAPABILITIES.contains(&c.as_str()))
                && context.proc_mount.as_deref().unwrap_or("Default") == "Default"
                && confined(context.seccomp_profile.as_ref().map(|p| p.type_.as_str()))
                && se_linux(context.se_linux_options.as_ref())
        })
}

/// What `restricted` asks beyond `baseline`.
fn is_restricted(spec: &PodSpec) -> bool {
    let pod = spec.security_context.clone().unwrap_or_default();
    let usual = |v: &Volume| {
        v.config_map.is_some()
            || v.csi.is_some()
            || v.downward_api.is_some()
            || v.empty_dir.is_some()
            || v.ephemeral.is_some()
            || v.persistent_volume_claim.is_some()
            || v.projected.is_some()
            || v.secret.is_some()
    };
    spec.volumes.iter().flatten().all(usual)
        && pod.run_as_user != Some(0)
        && containers(spec).all(|(_, context)| {
            let capabilities = context.capabilities.unwrap_or_default();
            context.allow_privilege_escalation == Some(false)
                && capabilities.drop.iter().flatten().any(|c| c == "ALL")
                && capabilities.add.iter().flatten().all(|c| c == "NET_BIND_SERVICE")
                && context.run_as_non_root.or(pod.run_as_non_root) == Some(true)
                && context.run_as_user != Some(0)
                && context.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref()).is_some()
        })
}
