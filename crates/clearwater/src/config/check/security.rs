//! What containers and pods may do.

use super::{Check, form, path};
use crate::config::problem::KeyPath;
use crate::config::{Capabilities, PodSecurityContext, SeccompProfile, SeccompType, SecurityContext};

pub(super) fn check(check: &mut Check<'_>) {
    let file = check.file;
    container(check, &file.security_context, &path("securityContext"));
    pod(check, &file.pod_security_context, &path("podSecurityContext"));
    for (component, overrides) in &file.components {
        let key = path("components").key(component.name());
        if let Some(context) = &overrides.security_context {
            container(check, context, &key.key("securityContext"));
        }
        if let Some(context) = &overrides.pod_security_context {
            pod(check, context, &key.key("podSecurityContext"));
        }
    }
}

fn container(check: &mut Check<'_>, context: &SecurityContext, key: &KeyPath) {
    let SecurityContext::Verbatim(context) = context else { return };
    let capabilities = context.capabilities.clone().unwrap_or_default();
    let Capabilities { add, drop } = &capabilities;
    for (name, list) in [("add", add), ("drop", drop)] {
        for (n, capability) in list.iter().enumerate() {
            check.form(&key.key("capabilities").key(name).index(n), capability, form::capability);
        }
    }
    let escalation = key.key("allowPrivilegeEscalation");
    let refused = context.allow_privilege_escalation == Some(false);
    // The API server refuses both pairs (kubernetes pkg/apis/core/validation).
    if refused && context.privileged == Some(true) {
        check.refuse(
            &[escalation.clone(), key.key("privileged")],
            "a privileged container has it: remove one of the two",
        );
    }
    if refused && add.iter().any(|c| c == "SYS_ADMIN") {
        let about = [escalation, key.key("capabilities").key("add")];
        check.refuse(&about, "a container with SYS_ADMIN has it: remove one of the two");
    }
    if let Some(profile) = &context.seccomp_profile {
        seccomp(check, profile, &key.key("seccompProfile"));
    }
    ids(check, key, &[("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)]);
}

fn pod(check: &mut Check<'_>, context: &PodSecurityContext, key: &KeyPath) {
    if let Some(profile) = &context.seccomp_profile {
        seccomp(check, profile, &key.key("seccompProfile"));
    }
    let own = [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group), ("fsGroup", context.fs_group)];
    ids(check, key, &own);
}

fn seccomp(check: &mut Check<'_>, profile: &SeccompProfile, key: &KeyPath) {
    let file = key.key("localhostProfile");
    match (profile.type_, &profile.localhost_profile) {
        (SeccompType::Localhost, None) => {
            check.refuse(&[file, key.key("type")], "missing: name the file of the profile on the nodes");
        }
        (other, Some(_)) if other != SeccompType::Localhost => {
            check.refuse(&[file, key.key("type")], "only for type: Localhost: remove one of the two");
        }
        _ => {}
    }
}

fn ids(check: &mut Check<'_>, key: &KeyPath, ids: &[(&str, Option<i64>)]) {
    for (name, id) in ids {
        if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
            check.wrong(&key.key(name), format!("{id} is no id: write one of 0 to {}", i32::MAX));
        }
    }
}
