//! What containers and pods may do.

use k8s_openapi::api::core::v1 as core;

use super::Deployment;
use crate::component::{Component, capabilities};
use crate::config::{
    Capabilities, ContainerSecurity, PodSecurityContext, SeLinuxOptions, SeccompProfile, SeccompType, SecurityContext,
};

/// Which of a component's containers it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The component's own.
    Own,
    /// One beside it that runs a shell and reads files.
    Beside,
}

/// The security context of a container; `None` where the file leaves it to the image.
pub(super) fn container(d: &Deployment, component: Component, which: Which) -> Option<core::SecurityContext> {
    let file = d.file();
    let own = file.components.get(&component).and_then(|o| o.security_context.as_ref());
    match own.unwrap_or(&file.security_context) {
        SecurityContext::Default => None,
        SecurityContext::Hardened => {
            let used = if which == Which::Own { capabilities(component) } else { &[] };
            let add: Vec<_> = used.iter().map(|c| c.name.to_owned()).collect();
            Some(core::SecurityContext {
                allow_privilege_escalation: Some(false),
                capabilities: Some(core::Capabilities {
                    add: (!add.is_empty()).then_some(add),
                    drop: Some(vec!["ALL".to_owned()]),
                }),
                ..core::SecurityContext::default()
            })
        }
        SecurityContext::Verbatim(context) => Some(verbatim(context)),
    }
}

fn verbatim(c: &ContainerSecurity) -> core::SecurityContext {
    core::SecurityContext {
        allow_privilege_escalation: c.allow_privilege_escalation,
        capabilities: c.capabilities.as_ref().map(|Capabilities { add, drop }| core::Capabilities {
            add: (!add.is_empty()).then(|| add.clone()),
            drop: (!drop.is_empty()).then(|| drop.clone()),
        }),
        privileged: c.privileged,
        proc_mount: c.proc_mount.clone(),
        read_only_root_filesystem: c.read_only_root_filesystem,
        run_as_group: c.run_as_group,
        run_as_non_root: c.run_as_non_root,
        run_as_user: c.run_as_user,
        se_linux_options: c.se_linux_options.as_ref().map(se_linux),
        seccomp_profile: c.seccomp_profile.as_ref().and_then(seccomp),
        ..core::SecurityContext::default()
    }
}

/// The security context of a pod. Upstream's containers ran under Docker's own seccomp profile; without one here they
/// would run under none, unless the kubelet is told to.
pub(super) fn pod(d: &Deployment, component: Component) -> core::PodSecurityContext {
    let file = d.file();
    let own = file.components.get(&component).and_then(|o| o.pod_security_context.as_ref());
    let c: &PodSecurityContext = own.unwrap_or(&file.pod_security_context);
    let usual = SeccompProfile { type_: SeccompType::RuntimeDefault, localhost_profile: None };
    core::PodSecurityContext {
        fs_group: c.fs_group,
        fs_group_change_policy: c.fs_group_change_policy.clone(),
        run_as_group: c.run_as_group,
        run_as_non_root: c.run_as_non_root,
        run_as_user: c.run_as_user,
        se_linux_options: c.se_linux_options.as_ref().map(se_linux),
        seccomp_profile: seccomp(c.seccomp_profile.as_ref().unwrap_or(&usual)),
        supplemental_groups: (!c.supplemental_groups.is_empty()).then(|| c.supplemental_groups.clone()),
        sysctls: (!c.sysctls.is_empty())
            .then(|| c.sysctls.iter().map(|s| core::Sysctl { name: s.name.clone(), value: s.value.clone() }).collect()),
        ..core::PodSecurityContext::default()
    }
}

fn seccomp(profile: &SeccompProfile) -> Option<core::SeccompProfile> {
    (profile.type_ != SeccompType::Unset).then(|| core::SeccompProfile {
        localhost_profile: profile.localhost_profile.clone(),
        type_: profile.type_.name().to_owned(),
    })
}

fn se_linux(options: &SeLinuxOptions) -> core::SELinuxOptions {
    core::SELinuxOptions {
        level: options.level.clone(),
        role: options.role.clone(),
        type_: options.type_.clone(),
        user: options.user.clone(),
    }
}
