//! Who refused a pod, told by the sentences that admission's policies are known by.

use std::fmt;

use clearwater::remedy::Remedy;

/// A policy that refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdmissionPolicy<'a> {
    /// What enforces it, as people call it.
    pub(crate) kind: &'static str,
    /// Its name, where the sentence has one.
    pub(crate) name: Option<&'a str>,
}

impl fmt::Display for AdmissionPolicy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        self.name.map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(name, _)| name.trim()).filter(|name| !name.is_empty())
}

/// The policy that a refusal names.
pub(crate) fn policy(message: &str) -> Option<AdmissionPolicy<'_>> {
    let of = |kind, name| Some(AdmissionPolicy { kind, name });
    // apiserver `pkg/admission/plugin/policy/validating/dispatcher.go`
    if message.contains("ValidatingAdmissionPolicy '") && message.contains("denied request:") {
        return of("ValidatingAdmissionPolicy", between(message, "ValidatingAdmissionPolicy '", "'"));
    }
    // openshift/apiserver-library-go `pkg/securitycontextconstraints/sccadmission/admission.go`
    if message.contains("unable to validate against any security context constraint") {
        return of(CONSTRAINTS, None);
    }
    if !message.contains("denied the request") {
        return None;
    }
    let webhook = between(message, "admission webhook \"", "\"");
    if message.contains("gatekeeper.sh\"") {
        return of("Gatekeeper's constraint", between(message, "[", "]"));
    }
    if message.contains("admission webhook \"validate.kyverno") || message.contains("kyverno.svc") {
        // The policies stand below, each on a line of its own that begins at the margin and ends with a colon.
        let lines = message.lines().skip_while(|l| !l.contains("following policies")).skip(1);
        let name = lines.filter(|l| !l.starts_with([' ', '\t'])).find_map(|l| l.strip_suffix(':'));
        return of("Kyverno's policy", name);
    }
    of("the admission webhook", webhook)
}

/// What tells refusals alike that one policy gives for one reason, whatever they are about.
pub(crate) fn alike(message: &str) -> Option<String> {
    let policy = policy(message)?;
    let reason = message.split_once("denied request:").map_or("", |(_, reason)| reason.trim());
    Some(format!("{policy}: {reason}"))
}

const CONSTRAINTS: &str = "security context constraints";

/// What has OpenShift run the pods as their images are made: its constraints `anyuid` take any user, and no seccomp profile.
pub(crate) fn constraints_fix(namespace: &str) -> String {
    format!(
        "oc adm policy add-scc-to-user anyuid -z default -n {namespace}, because Clearwater's images start as root, and with it \
         podSecurityContext: {{seccompProfile: {{type: Unset}}}} in the deployment file, because anyuid takes no seccomp profile; or \
         constraints of your own that take root and RuntimeDefault"
    )
}

/// What to do about pods of a component that admission refuses in these words.
pub(crate) fn refusal_fix(component: &str, namespace: &str, message: &str) -> Remedy {
    // kubernetes `plugin/pkg/admission/priority/admission.go`
    if let Some(class) = between(message, "no PriorityClass with name ", " was found") {
        return Remedy::any([
            format!("make it (kubectl create priorityclass {class} --value=0)"),
            format!(
                "take it away from whatever puts it into pods of namespace {namespace}: no deployment file names one"
            ),
        ]);
    }
    let file = format!("set what the message names in components.{component} of the deployment file");
    let Some(policy) = policy(message) else {
        return Remedy::any([file, "change the policy".to_owned()]);
    };
    if policy.kind == CONSTRAINTS {
        return constraints_fix(namespace).into();
    }
    Remedy::any([file, format!("have whoever keeps {policy} except namespace {namespace} from it")])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences as these programs write them.
    pub(crate) const REFUSALS: [(&str, &str, Option<&str>); 5] = [
        (
            r#"pods "sprout-1" is forbidden: ValidatingAdmissionPolicy 'no-root.example.com' with binding 'no-root' denied request: pods run as somebody"#,
            "ValidatingAdmissionPolicy",
            Some("no-root.example.com"),
        ),
        (
            r#"pods "sprout-1" is forbidden: unable to validate against any security context constraint: [provider "anyuid": Forbidden: not usable by user or serviceaccount, provider restricted-v2: .containers[0].runAsUser: Invalid value: 0: must be in the ranges: [1000680000, 1000689999]]"#,
            "security context constraints",
            None,
        ),
        (
            r#"admission webhook "validation.gatekeeper.sh" denied the request: [psp-privileged-container] Privileged container is not allowed: sprout"#,
            "Gatekeeper's constraint",
            Some("psp-privileged-container"),
        ),
        (
            "admission webhook \"validate.kyverno.svc-fail\" denied the request: \n\nresource Pod/ims/sprout-1 was blocked due to the following policies \n\ndisallow-latest-tag:\n  require-image-tag: 'validation error: An image tag is required.'",
            "Kyverno's policy",
            Some("disallow-latest-tag"),
        ),
        (
            r#"admission webhook "pods.example.com" denied the request: not on a Saturday"#,
            "the admission webhook",
            Some("pods.example.com"),
        ),
    ];

    #[test]
    fn the_policy_is_named() {
        for (message, kind, name) in REFUSALS {
            assert_eq!(policy(message), Some(AdmissionPolicy { kind, name }), "{message}");
            let fix = refusal_fix("sprout", "ims", message).to_string();
            assert!(fix.contains(name.unwrap_or("oc adm policy add-scc-to-user anyuid -z default -n ims")), "{fix}");
            // anyuid takes no profile: the role alone would change nothing.
            assert!(name.is_some() || fix.contains("podSecurityContext: {seccompProfile: {type: Unset}}"), "{fix}");
        }
        let missing = r#"pods "etcd-0" is forbidden: no PriorityClass with name high was found"#;
        let fix = refusal_fix("etcd", "ims", missing).to_string();
        assert!(fix.starts_with("make it (kubectl create priorityclass high --value=0); or take"), "{fix}");
        assert!(!fix.contains("components.etcd"), "the file has no such key: {fix}");
        for message in [
            r#"pods is forbidden: User "x" cannot create resource "pods" in API group "" in the namespace "ims""#,
            r#"pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"#,
            "Internal error occurred: failed calling webhook \"validation.gatekeeper.sh\": timeout",
        ] {
            assert_eq!(policy(message), None, "{message}");
        }
    }
}
