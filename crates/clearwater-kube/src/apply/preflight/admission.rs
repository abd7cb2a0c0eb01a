//! What admission says of the pods.

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::manifest::{ENFORCE_LABEL, Object, PodSecurity, held};
use clearwater::text::{counted, in_one_line};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::apps::v1::StatefulSetSpec;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use tokio::time::Instant;

use super::super::checks::{line, with_fix};
use super::super::prepare::ApplyPlan;
use super::AT_ONCE;
use crate::apply::{ApplyError, refusal};
use crate::backoff::{before, doubling, unless_lasting};
use crate::cluster::{Cluster, FIELD_MANAGER, is_passing_status, say};
use crate::judge::policy::{alike, constraints_fix, refusal_fix};
use crate::judge::said::Meaning;

const TITLE: &str = "pods as admission takes them";
/// How long a new namespace's service account is waited for.
const ACCOUNT: Duration = Duration::from_secs(5);

/// One pod of a workload, with an empty volume for each claim that a StatefulSet would make.
fn sample(object: &Object) -> Option<Pod> {
    let mut pod = object.sample_pod()?;
    if let Object::StatefulSet(set) = object
        && let Some(spec) = pod.spec.as_mut()
    {
        let claims =
            held::<StatefulSetSpec>(&set.spec).into_iter().flat_map(|s| s.volume_claim_templates.iter().flatten());
        spec.volumes.get_or_insert_default().extend(claims.map(|claim| Volume {
            name: claim.name_any(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        }));
    }
    Some(pod)
}

/// Asks admission about one pod a workload, so that it speaks now and not in a controller's events.
pub(crate) async fn check(
    cluster: &Cluster,
    namespace: Option<bool>,
    work: &ApplyPlan,
) -> Result<Vec<CheckLine>, ApplyError> {
    let samples: Vec<(String, Pod)> = work
        .all()
        .filter(|p| p.pods().is_some())
        .filter_map(|p| Some((p.item.owner.name().to_owned(), sample(&p.item.object)?)))
        .collect();
    if samples.is_empty() {
        return Ok(Vec::new());
    }
    if namespace == Some(false) {
        return Ok(vec![line(
            CheckId::Admission,
            TITLE,
            CheckStatus::NotApplicable,
            "asked once the namespace exists",
        )]);
    }
    ask(cluster, samples).await
}

/// Pods that are refused in one way.
struct Refusal {
    names: Vec<String>,
    message: String,
    fix: String,
}

impl Refusal {
    fn new(message: String, fix: String) -> Self {
        Self { names: Vec::new(), message, fix }
    }
}

/// The annotation in which OpenShift says which constraints a pod came under
/// (openshift/apiserver-library-go `pkg/securitycontextconstraints/sccadmission/admission.go`).
const CONSTRAINTS: &str = "openshift.io/scc";

/// What is said of a pod that is taken, to be run by another user than its image's, which nobody asked for: the images start as
/// root. OpenShift does so where only its stricter constraints take the pod.
fn run_by_another(asked: &Pod, taken: &Pod) -> Option<String> {
    let user = |pod: &Pod| {
        let spec = pod.spec.as_ref()?;
        let own = spec.containers.iter().find_map(|c| c.security_context.as_ref()?.run_as_user);
        own.or_else(|| spec.security_context.as_ref()?.run_as_user)
    };
    let given = user(taken).filter(|id| *id != 0 && user(asked).is_none())?;
    let by = taken.annotations().get(CONSTRAINTS);
    let by = by.map_or_else(String::new, |name| format!(" (security context constraints {name})"));
    Some(format!("they would be run as user {given}{by}, and Clearwater's images start as root"))
}

/// Asks about one pod. In a namespace that was just made the service account comes in a moment, and admission looks for
/// it before it looks at anything else.
async fn asked(pods: &Api<Pod>, params: &PostParams, pod: &Pod) -> Result<Pod, kube::Error> {
    let mut pauses = before(Instant::now() + ACCOUNT, doubling(Duration::from_millis(50), Duration::from_millis(500)));
    loop {
        let error = match pods.create(params, pod).await {
            Ok(taken) => return Ok(taken),
            Err(error) => error,
        };
        let no_account = |e: &kube::Error| matches!(e, kube::Error::Api(s) if Meaning::NoAccount.is_in(&s.message));
        unless_lasting(error, no_account, &mut pauses).await?;
    }
}

/// Asks admission about these pods, each with the component it is of. Only where the API server does not know who asks
/// there is no line: nothing that is asked later can be answered then.
pub(crate) async fn ask(cluster: &Cluster, samples: Vec<(String, Pod)>) -> Result<Vec<CheckLine>, ApplyError> {
    if samples.is_empty() {
        return Ok(Vec::new());
    }
    let level = samples.iter().filter_map(|(_, pod)| pod.spec.as_ref()).map(PodSecurity::of).max().unwrap_or_default();
    let pods: Api<Pod> = cluster.api();
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let questions: Vec<BoxFuture<'_, _>> = samples
        .into_iter()
        .map(|(name, pod)| {
            let (pods, params) = (pods.clone(), params.clone());
            async move {
                let taken = asked(&pods, &params, &pod).await;
                (name, taken.map(|taken| run_by_another(&pod, &taken)))
            }
            .boxed()
        })
        .collect();
    let answers: Vec<(String, Result<Option<String>, kube::Error>)> =
        stream::iter(questions).buffered(AT_ONCE).collect().await;
    let count = answers.len();
    // One line for each thing that must be done about it: a policy refuses all pods alike.
    let mut refused: BTreeMap<String, Refusal> = BTreeMap::new();
    let mut unseen: Option<(Vec<String>, String)> = None;
    for (name, answer) in answers {
        let error = match answer {
            Ok(None) => continue,
            Ok(Some(why)) => {
                let fix = constraints_fix(&cluster.namespace);
                refused.entry(fix.clone()).or_insert_with(|| Refusal::new(why, fix)).names.push(name);
                continue;
            }
            Err(error) => error,
        };
        let status = match error {
            kube::Error::Api(status) if status.code == 401 => {
                return Err(refusal(&format!("pod of {name} (a dry run)"), kube::Error::Api(status)));
            }
            // A webhook that does not answer is admission's own answer: it is asked about every pod.
            kube::Error::Api(status)
                if !is_passing_status(&status) || Meaning::WebhookFailed.is_in(&status.message) =>
            {
                status
            }
            error => {
                unseen.get_or_insert_with(|| (Vec::new(), say(&error))).0.push(name);
                continue;
            }
        };
        if Meaning::LacksRight.is_in(&status.message) {
            return Ok(vec![line(CheckId::Admission, TITLE, CheckStatus::Skipped, "needs create pods")]);
        }
        // The sum is judged by its own line; a quota that is full for one pod is told here all the same.
        if Meaning::NoAccount.is_in(&status.message) {
            continue;
        }
        let fix = if Meaning::PodSecurity.is_in(&status.message) {
            format!(
                "kubectl label namespace {} {ENFORCE_LABEL}={level} --overwrite (or take out of the deployment file what \
                 the message names)",
                cluster.namespace
            )
        } else {
            refusal_fix(&name, &cluster.namespace, &status.message).to_string()
        };
        let refusal = match alike(&status.message) {
            None => refused.entry(fix.clone()).or_insert_with(|| Refusal::new(in_one_line(&status.message), fix)),
            Some(kind) => {
                let of_all = || refusal_fix("NAME", &cluster.namespace, &status.message).to_string();
                let refusal = refused.entry(kind).or_insert_with(|| Refusal::new(in_one_line(&status.message), fix));
                if !refusal.names.is_empty() {
                    refusal.fix = of_all();
                }
                refusal
            }
        };
        refusal.names.push(name);
    }
    let mut lines: Vec<CheckLine> = refused
        .into_values()
        .map(|Refusal { names, message, fix }| {
            let seen = line(CheckId::Admission, format!("{TITLE}: {}", names.join(", ")), CheckStatus::Failed, message);
            with_fix(seen, fix)
        })
        .collect();
    if let Some((names, why)) = unseen {
        lines.push(line(CheckId::Admission, format!("{TITLE}: {}", names.join(", ")), CheckStatus::Unseen, why));
    }
    if lines.is_empty() {
        lines.push(line(CheckId::Admission, TITLE, CheckStatus::Ok, counted(count, "dry run")));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api;

    fn samples() -> Vec<(String, Pod)> {
        vec![("sprout".to_owned(), Pod::default()), ("bono".to_owned(), Pod::default())]
    }

    /// What OpenShift makes of a pod that only its stricter constraints take.
    #[tokio::test]
    async fn a_pod_that_would_be_run_by_another_user_is_refused() {
        let taken = |user: serde_json::Value| {
            serde_json::json!({"kind": "Pod", "apiVersion": "v1",
                "metadata": {"name": "a", "annotations": {"openshift.io/scc": "restricted-v2"}},
                "spec": {"containers": [{"name": "a", "securityContext": {"runAsUser": user}}]}})
        };
        for (user, status) in [
            (serde_json::json!(1_000_680_000), CheckStatus::Failed),
            (serde_json::json!(0), CheckStatus::Ok),
            (serde_json::Value::Null, CheckStatus::Ok),
        ] {
            let answer = taken(user);
            let (cluster, _) = fake_api::cluster(move |_| Some(answer.clone()));
            let lines = ask(&cluster, samples()).await.unwrap();
            let [line] = &lines[..] else { panic!("{lines:?}") };
            assert_eq!(line.status, status, "{line:?}");
            if status == CheckStatus::Failed {
                assert!(
                    line.detail.contains("as user 1000680000 (security context constraints restricted-v2)"),
                    "{line:?}"
                );
                let fix = line.fix.as_ref().unwrap().to_string();
                assert!(fix.contains("anyuid -z default -n ims") && fix.contains("{type: Unset}"), "{fix}");
            }
        }
    }

    async fn asked(code: u16, reason: &'static str) -> Result<Vec<CheckLine>, ApplyError> {
        ask(&fake_api::refusing(code, reason), samples()).await
    }

    #[tokio::test]
    async fn who_is_not_known_is_told_nothing_of_the_pods() {
        let error = asked(401, "Unauthorized").await.unwrap_err();
        assert!(error.is_unseen() && error.object() == "pod of sprout (a dry run)", "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_asked_is_no_refusal_and_no_dry_run_that_went_well() {
        let busy = [(503, "503 Service Unavailable"), (429, "429 Too Many Requests"), (500, "InternalError")];
        for (code, said) in busy {
            let lines = asked(code, "InternalError").await.unwrap();
            let [seen] = &lines[..] else { panic!("{lines:?}") };
            assert_eq!(seen.status, CheckStatus::Unseen, "{seen:?}");
            assert!(seen.title.ends_with("sprout, bono") && seen.detail.contains(said), "{seen:?}");
        }
        for (code, reason) in [(403, "Forbidden"), (500, "failed calling webhook")] {
            let lines = asked(code, reason).await.unwrap();
            assert_eq!(lines[0].status, CheckStatus::Failed, "{lines:?}");
        }
    }

    /// One fault is told once, whichever components it keeps from being made.
    #[tokio::test(start_paused = true)]
    async fn a_policy_that_refuses_all_pods_is_one_line() {
        let limits = "pods \"a-1\" is forbidden: maximum memory usage per Container is 64Mi, but request is 128Mi";
        let lines = asked(403, limits).await.unwrap();
        let [line] = &lines[..] else { panic!("{lines:?}") };
        let fix = line.fix.as_ref().unwrap().to_string();
        assert!(line.title.ends_with(": sprout, bono") && fix.starts_with("set components.NAME.resources in"), "{fix}");
        for message in [
            "pods \"a-1\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no pods",
            "admission webhook \"pods.example.com\" denied the request: not on a Saturday",
        ] {
            let lines = asked(403, message).await.unwrap();
            let [line] = &lines[..] else { panic!("{lines:?}") };
            assert!(line.title.ends_with(": sprout, bono") && line.status == CheckStatus::Failed, "{line:?}");
            let fix = line.fix.as_ref().unwrap().to_string();
            assert!(
                fix.contains("components.NAME of the deployment file") && fix.contains("let this through"),
                "{fix}"
            );
        }
    }
}
