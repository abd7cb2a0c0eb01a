//! Who refused a pod, told by the sentences that admission's policies are known by.

use std::collections::BTreeSet;
use std::fmt;

use clearwater::remedy::Remedy;

use super::said::Meaning;

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
    if !limits(message).is_empty() {
        return of(LIMITS, None);
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
    if let Some(quota) = of_quota(message) {
        return Some(quota.to_owned());
    }
    let policy = policy(message)?;
    let reason = match message.split_once("denied request:") {
        Some((_, reason)) => reason.trim().to_owned(),
        None => limits(message).into_iter().collect::<Vec<_>>().join(", "),
    };
    Some(format!("{policy}: {reason}"))
}

/// What a quota says of a pod, without what only this one takes (kubernetes `plugin/pkg/admission/resourcequota/controller.go`,
/// `pkg/quota/v1/evaluator/core/pods.go`).
fn of_quota(message: &str) -> Option<&str> {
    let at = message.find("failed quota: ").or_else(|| message.find("exceeded quota: "))?;
    let said = &message[at..];
    Some([" for: ", ", requested: "].iter().find_map(|end| said.split_once(end)).map_or(said, |(said, _)| said))
}

/// The key of a component by which less is taken of a thing that a quota counts.
fn less_of(name: &str) -> Option<&'static str> {
    if name.ends_with("requests.storage") {
        Some("storage.size")
    } else if name.starts_with("requests.") || name.starts_with("limits.") || matches!(name, "cpu" | "memory") {
        Some("resources")
    } else if matches!(name, "pods" | "count/pods") {
        Some("replicas")
    } else {
        None
    }
}

/// What makes room in a quota for a component, of these things.
pub(crate) fn quota_fix<'n>(component: &str, names: impl IntoIterator<Item = &'n str>) -> Remedy {
    let keys: BTreeSet<&str> = names.into_iter().filter_map(less_of).collect();
    let lower = keys.into_iter().map(|key| format!("lower components.{component}.{key} in the deployment file"));
    Remedy::any(std::iter::once("raise the quota".to_owned()).chain(lower))
}

const CONSTRAINTS: &str = "security context constraints";
const LIMITS: &str = "limits of the namespace";

/// The limits of a LimitRange that a refusal names.
fn limits(message: &str) -> BTreeSet<&str> {
    let said = message.split_once(" is forbidden: ").map_or(message, |(_, said)| said);
    said.split(", ").filter_map(limit).collect()
}

/// The limit that a part of a refusal names, without what was asked for (kubernetes `plugin/pkg/admission/limitranger/admission.go`;
/// of a request above what a container is limited to by default, `pkg/apis/core/validation/validation.go`).
fn limit(part: &str) -> Option<&str> {
    let above = part.find("must be less than or equal to ").map(|at| &part[at..]);
    let of_range = || part.contains(" usage per ") || part.contains(" limit to request ratio per ");
    let named = above.filter(|above| above.contains(" limit")).or_else(|| of_range().then_some(part))?;
    Some(named.split(".  ").next().unwrap_or(named).trim_matches(['[', ']']))
}

/// What to do about a component's objects that limits of the namespace refuse; `None` where something else refuses them.
pub(crate) fn limits_fix(component: &str, message: &str) -> Option<Remedy> {
    policy(message).filter(|policy| policy.kind == LIMITS)?;
    let key = if message.contains("per PersistentVolumeClaim") { "storage.size" } else { "resources" };
    Some(Remedy::any([
        format!("set components.{component}.{key} in the deployment file"),
        "change the limits (kubectl describe limitrange -n NAMESPACE)".to_owned(),
    ]))
}

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
    if let Some(fix) = limits_fix(component, message) {
        return fix;
    }
    if let Some(lacking) = of_quota(message).and_then(|said| said.split_once(": must specify ")) {
        let set = format!("set {} in components.{component}.resources of the deployment file", lacking.1);
        let range = format!("give namespace {namespace} a LimitRange, whose defaults containers get then");
        return Remedy::any([set, range]);
    }
    if Meaning::QuotaExceeded.is_in(message) {
        let asked = between(message, "requested: ", ", used: ").unwrap_or_default();
        return quota_fix(component, asked.split(',').filter_map(|one| one.split('=').next()));
    }
    let file = format!("set what the message names in components.{component} of the deployment file");
    if policy(message).is_some_and(|policy| policy.kind == CONSTRAINTS) {
        return constraints_fix(namespace).into();
    }
    Remedy::any([file, exception(message).unwrap_or_else(|| "change the policy".to_owned())])
}

/// What to do about a policy that refuses in these words, whatever was to be written; `None` where it is none.
pub(crate) fn exception(message: &str) -> Option<String> {
    policy(message).map(|policy| format!("have whoever keeps {policy} let this through"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quota refuses all pods for one reason, and what it counts is not always taken less of.
    #[test]
    fn what_a_quota_says_is_one_fault_with_what_helps() {
        let lacks = |pod: &str| {
            format!(
                "pods \"{pod}\" is forbidden: failed quota: mem: must specify limits.memory for: {pod}; requests.memory for: {pod}"
            )
        };
        let full = |asked: &str| {
            format!("pods \"x\" is forbidden: exceeded quota: q, requested: {asked}, used: pods=9, limited: pods=9")
        };
        assert_eq!(alike(&lacks("sprout")).as_deref(), Some("failed quota: mem: must specify limits.memory"));
        assert_eq!(alike(&lacks("sprout")), alike(&lacks("bono")));
        assert_ne!(alike(&lacks("sprout")), alike(&full("pods=1")));
        for (message, fix) in [
            (
                lacks("x"),
                "set limits.memory in components.NAME.resources of the deployment file; or give namespace ims a LimitRange",
            ),
            (full("pods=1"), "raise the quota; or lower components.NAME.replicas in the deployment file"),
            (
                full("limits.memory=1Gi,pods=1"),
                "raise the quota; or lower components.NAME.replicas in the deployment file; or lower components.NAME.resources",
            ),
            (full("count/deployments.apps=1"), "raise the quota"),
        ] {
            let told = refusal_fix("NAME", "ims", &message).to_string();
            assert!(told.starts_with(fix), "{message}: {told}");
            assert!(!message.contains("count/") || told == fix, "{told}");
        }
    }

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

    /// Sentences as upstream's API server says them.
    #[test]
    fn what_limits_of_the_namespace_refuse_is_set_where_it_is_written() {
        let claim = r#"persistentvolumeclaims "data-ellis" is forbidden: maximum storage usage per PersistentVolumeClaim is 512Mi, but request is 1Gi"#;
        let pod = |name: &str, request: &str| {
            format!(
                "pods \"{name}-0\" is forbidden: [maximum memory usage per Container is 64Mi, but request is {request}, minimum cpu \
                 usage per Container is 200m, but request is 100m]"
            )
        };
        let given = |request: &str| {
            format!(
                "Pod \"ellis-0\" is invalid: spec.containers[0].resources.requests: Invalid value: \"{request}\": must be less \
                 than or equal to cpu limit of 50m"
            )
        };
        let unlimited = r#"pods "a" is forbidden: maximum cpu usage per Pod is 2.  No limit is specified"#;
        let ratio = r#"pods "a" is forbidden: cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000"#;
        for (message, key, limits) in [
            (claim, "storage.size", "maximum storage usage per PersistentVolumeClaim is 512Mi"),
            (
                &pod("ellis", "256Mi"),
                "resources",
                "maximum memory usage per Container is 64Mi, minimum cpu usage per Container is 200m",
            ),
            (&given("100m"), "resources", "must be less than or equal to cpu limit of 50m"),
            (unlimited, "resources", "maximum cpu usage per Pod is 2"),
            (ratio, "resources", "cpu max limit to request ratio per Container is 2"),
        ] {
            let fix = refusal_fix("ellis", "ims", message).to_string();
            let words = format!("set components.ellis.{key} in the deployment file; or change the limits");
            assert!(fix.starts_with(&words), "{message}: {fix}");
            assert_eq!(alike(message), Some(format!("limits of the namespace: {limits}")), "{message}");
        }
        // What each component asks for is no fault of its own.
        assert_eq!(alike(&pod("ellis", "256Mi")), alike(&pod("cassandra", "768Mi")));
        assert_eq!(alike(&given("100m")), alike(&given("1")));
    }

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
