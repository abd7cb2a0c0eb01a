//! The objects that a run of upstream's tests is made of.

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::component::{Component, port};
use clearwater::manifest::{COMPONENT_LABEL, MANAGED_BY, MANAGED_BY_LABEL, PART_OF, PART_OF_LABEL};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, PodSpec, PodTemplateSpec, Secret, SecretKeySelector,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use secrecy::ExposeSecret;

use super::{LiveTestPlan, SignUpCode};

/// The one container.
pub(super) const CONTAINER: &str = "live-test";
/// The key of a Secret of our own.
const KEY: &str = "signup_key";
/// What the Jobs are found by.
pub const LEFTOVERS: &str = "app.kubernetes.io/component=live-test,app.kubernetes.io/managed-by=kubectl-clearwater";
/// An ended Job goes by itself after so many seconds, should nobody take it away.
const KEPT_S: i32 = 600;
/// How much longer than it may last a Job counts as one that somebody follows.
const GRACE: SignedDuration = SignedDuration::from_mins(1);

fn labels() -> BTreeMap<String, String> {
    let own = [(COMPONENT_LABEL, CONTAINER), (PART_OF_LABEL, PART_OF), (MANAGED_BY_LABEL, MANAGED_BY)];
    own.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// As upstream's suite is run (functest-kubernetes `ims.py`), but that the sign-up code is no argument.
pub(super) fn job(name: &str, namespace: &str, plan: &LiveTestPlan, lasting: Duration) -> Job {
    let text = |name: &str, value: String| EnvVar { name: name.to_owned(), value: Some(value), value_from: None };
    let host = |component: Component| format!("{component}.{namespace}.svc");
    let (secret, key) = match &plan.sign_up {
        SignUpCode::InSecret { name, key } => (name.as_str(), key.as_str()),
        SignUpCode::Known(_) => (name, KEY),
    };
    let code = SecretKeySelector { name: secret.to_owned(), key: key.to_owned(), optional: None };
    let code = EnvVarSource { secret_key_ref: Some(code), ..EnvVarSource::default() };
    let env = vec![
        text("PROXY", host(Component::Bono)),
        text("PROXY_PORT", port(Component::Bono, "sip-tcp").to_string()),
        text("ELLIS", host(Component::Ellis)),
        text("TRANSPORT", plan.transports.clone()),
        text("REPEAT", plan.rounds.to_string()),
        EnvVar { name: "SIGNUP_CODE".to_owned(), value: None, value_from: Some(code) },
    ];
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(plan.image.clone()),
        command: Some(vec!["rake".to_owned(), format!("test[{}]", plan.home_domain)]),
        env: Some(env),
        ..Container::default()
    };
    let pod = PodSpec {
        containers: vec![container],
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(2),
        ..PodSpec::default()
    };
    let meta = ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() };
    let spec = JobSpec {
        backoff_limit: Some(0),
        active_deadline_seconds: Some(i64::try_from(lasting.as_secs()).unwrap_or(i64::MAX)),
        ttl_seconds_after_finished: Some(KEPT_S),
        template: PodTemplateSpec { metadata: Some(meta.clone()), spec: Some(pod) },
        ..JobSpec::default()
    };
    Job { metadata: ObjectMeta { name: Some(name.to_owned()), ..meta }, spec: Some(spec), status: None }
}

/// The Secret that the Job takes the code from, where no other holds it. It goes with the Job.
pub(super) fn secret(name: &str, code: &SignUpCode, job: Option<&str>) -> Option<Secret> {
    let SignUpCode::Known(code) = code else { return None };
    let owner = job.map(|uid| OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    });
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels()),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    let data = BTreeMap::from([(KEY.to_owned(), ByteString(code.expose_secret().as_bytes().to_vec()))]);
    Some(Secret { metadata, data: Some(data), ..Secret::default() })
}

/// Whether nobody follows the Job any more: it has ended, or lasts longer than it may.
pub fn is_left_over(job: &Job, now: Timestamp) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    if conditions.any(|c| c.status == "True" && matches!(c.type_.as_str(), "Complete" | "Failed" | "FailureTarget")) {
        return true;
    }
    let lasting = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    let (Some(begun), Some(lasting)) = (job.metadata.creation_timestamp.as_ref(), lasting) else { return false };
    let over = begun.0.checked_add(SignedDuration::from_secs(lasting) + GRACE);
    over.is_ok_and(|over| over < now)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use serde_json::json;

    use super::*;

    fn plan(sign_up: SignUpCode) -> LiveTestPlan {
        LiveTestPlan {
            image: "r.example/live:1".to_owned(),
            home_domain: "ims.example.com".to_owned(),
            sign_up,
            transports: "tcp,udp".to_owned(),
            rounds: 2,
            lasting: Duration::from_secs(60),
        }
    }

    /// It is in no argument, and in no object but a Secret.
    #[test]
    fn the_sign_up_code_is_taken_from_a_secret() {
        for (code, name, key) in [
            (SignUpCode::InSecret { name: "keys".to_owned(), key: "code".to_owned() }, "keys", "code"),
            (SignUpCode::Known(SecretString::from("hush".to_owned())), "own", KEY),
        ] {
            let job = serde_json::to_value(job("own", "ims", &plan(code.clone()), Duration::from_secs(90))).unwrap();
            assert!(!job.to_string().contains("hush"), "{job}");
            let container = &job["spec"]["template"]["spec"]["containers"][0];
            assert_eq!(container["command"], json!(["rake", "test[ims.example.com]"]));
            let env = container["env"].as_array().unwrap();
            let of = |name: &str| env.iter().find(|v| v["name"] == name).cloned().unwrap_or_default();
            assert_eq!(of("SIGNUP_CODE")["valueFrom"]["secretKeyRef"], json!({"name": name, "key": key}));
            assert_eq!(
                (&of("PROXY")["value"], &of("ELLIS")["value"]),
                (&json!("bono.ims.svc"), &json!("ellis.ims.svc"))
            );
            assert_eq!((&of("TRANSPORT")["value"], &of("REPEAT")["value"]), (&json!("tcp,udp"), &json!("2")));
            assert_eq!(job["spec"]["activeDeadlineSeconds"], 90);
            let secret = secret("own", &code, Some("u"));
            assert_eq!(secret.is_some(), name == "own");
            let owner = secret.and_then(|s| s.metadata.owner_references).map(|o| o[0].uid.clone());
            assert_eq!(owner.as_deref(), (name == "own").then_some("u"));
        }
        let labels: Vec<String> = labels().iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert!(LEFTOVERS.split(',').all(|one| labels.iter().any(|label| label == one)), "{labels:?}");
    }

    #[test]
    fn one_that_has_ended_or_lasts_too_long_is_left_over() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        for (created, deadline, condition, is) in [
            ("2026-01-01T00:59:50Z", json!(60), None, false),
            ("2026-01-01T00:59:50Z", json!(60), Some("Complete"), true),
            ("2026-01-01T00:59:50Z", json!(60), Some("Failed"), true),
            ("2026-01-01T00:59:50Z", json!(60), Some("Suspended"), false),
            ("2026-01-01T00:58:30Z", json!(60), None, false),
            ("2026-01-01T00:57:59Z", json!(60), None, true),
            ("2020-01-01T00:00:00Z", json!(null), None, false),
        ] {
            let conditions: Vec<_> = condition.iter().map(|c| json!({"type": c, "status": "True"})).collect();
            let job = serde_json::from_value(json!({
                "metadata": {"name": "j", "creationTimestamp": created},
                "spec": {"activeDeadlineSeconds": deadline, "template": {"spec": {"containers": []}}},
                "status": {"conditions": conditions},
            }));
            assert_eq!(is_left_over(&job.unwrap(), now), is, "{created} {condition:?}");
        }
    }
}
