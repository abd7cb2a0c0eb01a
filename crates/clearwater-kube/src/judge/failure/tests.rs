use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn pod(status: &Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "sprout-1", "uid": "u1",
        "creationTimestamp": at(0).to_string()}, "status": status}))
    .unwrap()
}

fn waiting(reason: &str, message: &str) -> Pod {
    pod(&json!({"containerStatuses": [{"name": "sprout", "image": "r.example/x:1", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}]}))
}

fn event(kind: &str, name: &str, reason: &str, message: &str, second: i64, count: i32) -> Event {
    serde_json::from_value(json!({"metadata": {}, "involvedObject": {"kind": kind, "name": name}, "reason": reason,
        "message": message, "count": count, "lastTimestamp": at(second).to_string()}))
    .unwrap()
}

fn judge_at(second: i64, pods: &[&Pod], events: &[&Event], exits: &Exits) -> Option<Failure> {
    judge(&RolloutContext {
        component: Component::Sprout,
        pods: pods.to_vec(),
        events: events.to_vec(),
        exits,
        // Of the API's times only whole seconds are known.
        needs_served_since: Some(at(0) + SignedDuration::from_millis(300)),
        since: at(0),
        now: at(second),
        grace: Grace::default(),
    })
}

#[test]
fn waiting_containers() {
    use FailureKind::{Config, ImageNotFound, WrongArchitecture};
    let table: [(&str, &str, Option<FailureKind>); 21] = [
        ("ContainerCreating", "", None),
        (
            "ErrImagePull",
            r#"rpc error: code = NotFound desc = failed to pull and unpack image "r.example/x:1": failed to resolve reference "r.example/x:1": r.example/x:1: not found"#,
            Some(ImageNotFound),
        ),
        (
            "ImagePullBackOff",
            r#"Back-off pulling image "r.example/x:1": ErrImagePull: manifest unknown"#,
            Some(ImageNotFound),
        ),
        ("ImagePullBackOff", r#"Back-off pulling image "r.example/x:1""#, None),
        ("ErrImagePull", "toomanyrequests: You have reached your pull rate limit: not found", None),
        ("ErrImagePull", "unexpected status code 429: not found", None),
        ("ErrImagePull", "192.0.2.1:42925/none:1: not found", Some(ImageNotFound)),
        ("ErrImagePull", "192.0.2.1:15030/none:v429: not found", Some(ImageNotFound)),
        ("ErrImagePull", "dial tcp: lookup r.example: no such host", None),
        ("ErrImagePull", "unexpected status from HEAD request: 503 Service Unavailable", None),
        ("ErrImagePull", "read: connection reset by peer", None),
        (
            "ErrImagePull",
            "pull access denied, repository does not exist or may require authorization",
            Some(ImageNotFound),
        ),
        ("ErrImagePull", "no match for platform in manifest: not found", Some(WrongArchitecture)),
        (
            "ErrImagePull",
            "media type application/vnd.docker.distribution.manifest.v1+prettyjws is no longer supported",
            Some(ImageNotFound),
        ),
        ("InvalidImageName", "couldn't parse image name", Some(ImageNotFound)),
        ("ErrImageNeverPull", "Container image is not present with pull policy of Never", Some(ImageNotFound)),
        ("CreateContainerConfigError", r#"secret "k" not found"#, Some(Config)),
        ("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition", None),
        ("RunContainerError", r#"exec: "/usr/bin/supervisord": executable file not found in $PATH"#, Some(Config)),
        ("RunContainerError", "exec /usr/bin/supervisord: exec format error", Some(WrongArchitecture)),
        ("CreateContainerError", "context deadline exceeded", None),
    ];
    for (reason, message, expected) in table {
        let pod = waiting(reason, message);
        let failure = judge_at(5, &[&pod], &[], &Exits::default());
        assert_eq!(failure.as_ref().map(|d| d.kind), expected, "{reason} {message}: {failure:?}");
        if let Some(failure) = failure {
            assert!(
                !failure.fix.to_string().is_empty() && failure.object == "pod/sprout-1" && failure.causes.len() == 2,
                "{failure:?}"
            );
        }
    }
}

#[test]
fn an_older_kubelet_tells_the_pull_error_in_an_event() {
    let pod = waiting("ImagePullBackOff", r#"Back-off pulling image "r.example/x:1""#);
    let failed = event("Pod", "sprout-1", "Failed", r#"Failed to pull image "r.example/x:1": manifest unknown"#, 3, 1);
    assert_eq!(judge_at(5, &[&pod], &[&failed], &Exits::default()).map(|d| d.kind), Some(FailureKind::ImageNotFound));
    let other = event("Pod", "sprout-2", "Failed", r#"Failed to pull image "r.example/x:1": manifest unknown"#, 3, 1);
    assert_eq!(judge_at(5, &[&pod], &[&other], &Exits::default()), None);
    let old = event("Pod", "sprout-1", "Failed", r#"Failed to pull image "r.example/x:1": manifest unknown"#, -30, 1);
    assert_eq!(judge_at(5, &[&pod], &[&old], &Exits::default()), None);
}

fn crashed(container: &str, init: bool, restarts: i32, code: i32, second: i64) -> Pod {
    let status = json!([{"name": container, "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": code, "reason": "Error", "finishedAt": at(second).to_string()}}}]);
    let field = if init { "initContainerStatuses" } else { "containerStatuses" };
    pod(&json!({field: status, "startTime": at(-100).to_string()}))
}

fn started(mut pod: Pod, second: i64) -> Pod {
    pod.status.as_mut().unwrap().start_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(second)));
    pod
}

#[test]
fn the_third_equal_exit_within_a_minute_is_a_crash_loop() {
    for init in [false, true] {
        let mut exits = Exits::default();
        for (n, second) in [(0, 1), (1, 3), (2, 14)] {
            let pod = crashed("sprout", init, n, 2, second);
            exits.observe(&pod);
            exits.observe(&pod);
            let failure = judge_at(second, &[&pod], &[], &exits);
            assert_eq!(failure.map(|d| d.kind), (n == 2).then_some(FailureKind::CrashLoop), "exit {n}, init {init}");
        }
    }
}

#[test]
fn an_exit_that_no_status_told_counts_where_the_pod_is_young() {
    let cases = [(0, 2, 14, true), (0, 3, 14, false), (-5, 2, 14, false), (0, 2, 90, false)];
    for (start, code, second, is_loop) in cases {
        let mut exits = Exits::default();
        for (restarts, code, second) in [(1, 2, 3), (2, code, second)] {
            let pod = started(crashed("sprout", false, restarts, code, second), start);
            exits.observe(&pod);
            let failure = judge_at(second, &[&pod], &[], &exits).map(|d| d.kind);
            let expected = (is_loop && restarts == 2).then_some(FailureKind::CrashLoop);
            assert_eq!(failure, expected, "start {start}, exit code {code}, restarts {restarts}");
        }
    }
}

#[test]
fn exits_that_differ_or_lie_apart_or_before_its_needs_served_are_no_loop() {
    let cases = [[(1, 2), (3, 2), (14, 3)], [(1, 2), (40, 2), (90, 2)], [(-9, 2), (3, 2), (14, 2)]];
    for case in cases {
        let mut exits = Exits::default();
        let mut last = None;
        for (n, (second, code)) in case.into_iter().enumerate() {
            let pod = crashed("sprout", false, i32::try_from(n).unwrap(), code, second);
            exits.observe(&pod);
            last = Some(pod);
        }
        assert_eq!(judge_at(91, &[&last.unwrap()], &[], &exits), None, "{case:?}");
    }
}

#[test]
fn a_loop_that_began_before_the_run_is_told_at_once() {
    let pod = started(crashed("sprout", false, 7, 2, 1), 0);
    let mut exits = Exits::default();
    exits.observe(&pod);
    assert_eq!(judge_at(2, &[&pod], &[], &exits).map(|d| d.kind), Some(FailureKind::CrashLoop));
}

/// What keeps a pod waiting is named with what lets it run, before and after it has failed.
#[test]
fn a_cordoned_node_is_uncordoned() {
    let waits = |message: &str| {
        pod(&json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "lastTransitionTime": "1970-01-01T00:00:00Z", "message": message}]}))
    };
    let fixes = |message: &str| {
        let waiting = waits(message);
        let none = Exits::default();
        let context = |second| RolloutContext {
            component: Component::Bono,
            pods: vec![&waiting],
            events: Vec::new(),
            exits: &none,
            needs_served_since: None,
            since: at(0),
            now: at(second),
            grace: Grace::default(),
        };
        let failure = judge(&context(60)).map(|f| f.fix.to_string()).unwrap_or_default();
        (cause(&context(1)).unwrap().fix.map(|fix| fix.to_string()), failure)
    };
    let (now, later) =
        fixes("0/2 nodes are available: 2 node(s) were unschedulable. preemption: 0/2 nodes are available.");
    assert!(
        now.is_some_and(|fix| fix.starts_with("kubectl uncordon NODE")) && later.starts_with("kubectl uncordon NODE")
    );
    let (now, later) = fixes("0/2 nodes are available: 2 Insufficient cpu.");
    assert!(now.is_none() && later.starts_with("add a node"), "{later}");
}

#[test]
fn unschedulable_pods_have_their_grace() {
    let with = |message: &str| {
        pod(&json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastTransitionTime": at(-500).to_string()}]}))
    };
    let full = with("0/2 nodes are available: 2 Insufficient memory.");
    assert_eq!(judge_at(29, &[&full], &[], &Exits::default()), None);
    assert_eq!(judge_at(30, &[&full], &[], &Exits::default()).map(|d| d.kind), Some(FailureKind::Unschedulable));
    let scaling = event("Pod", "sprout-1", "TriggeredScaleUp", "pod triggered scale-up", 2, 1);
    assert_eq!(judge_at(60, &[&full], &[&scaling], &Exits::default()), None);
    let flapping = with("0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.");
    assert_eq!(judge_at(60, &[&flapping], &[], &Exits::default()), None);
}

#[test]
fn a_controller_that_may_not_create_is_told_by_its_events() {
    let table = [
        ("pods \"x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5", true),
        ("pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true", true),
        ("admission webhook \"v.example\" denied the request: no", true),
        (
            "pods \"x\" is forbidden: error looking up service account n/default: serviceaccount \"default\" not found",
            false,
        ),
        ("Internal error occurred: failed calling webhook \"v.example\": connection refused", false),
    ];
    for (message, failing) in table {
        let event = event("ReplicaSet", "sprout-77", "FailedCreate", message, 2, 1);
        let failure = judge_at(3, &[], &[&event], &Exits::default());
        assert_eq!(failure.is_some(), failing, "{message}: {failure:?}");
        // The same after a pod was made is history.
        let mut later = pod(&json!({}));
        later.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(3)));
        assert_eq!(judge_at(4, &[&later], &[&event], &Exits::default()), None);
    }
}

#[test]
fn a_volume_of_something_missing() {
    let pod = pod(&json!({}));
    let once = event("Pod", "sprout-1", "FailedMount", "MountVolume.SetUp failed: configmap \"c\" not found", 2, 1);
    assert_eq!(judge_at(20, &[&pod], &[&once], &Exits::default()), None);
    let often = event("Pod", "sprout-1", "FailedMount", "MountVolume.SetUp failed: configmap \"c\" not found", 9, 5);
    assert_eq!(judge_at(20, &[&pod], &[&often], &Exits::default()).map(|d| d.kind), Some(FailureKind::Config));
}

#[test]
fn every_wait_has_a_cause() {
    let rollout = |pods: &[&Pod], events: &[&Event]| {
        cause(&RolloutContext {
            component: Component::Sprout,
            pods: pods.to_vec(),
            events: events.to_vec(),
            exits: &Exits::default(),
            needs_served_since: None,
            since: at(0),
            now: at(9),
            grace: Grace::default(),
        })
        .map(|c| c.text)
        .unwrap_or_default()
    };
    assert_eq!(
        rollout(&[&crashed("sprout", false, 4, 2, 1)], &[]),
        "container sprout crashed 4 times, last exit code 2"
    );
    let fresh = pod(&json!({"containerStatuses": [{"name": "s", "image": "i", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"running": {}}}]}));
    assert_eq!(rollout(&[&fresh], &[]), "running, not ready yet");
    let probe =
        event("Pod", "sprout-1", "Unhealthy", "Startup probe failed: dial tcp 10.0.0.9:5054: connection refused", 2, 3);
    assert_eq!(rollout(&[&fresh], &[&probe]), "Startup probe failed: dial tcp 10.0.0.9:5054: connection refused");
    let pulling = event("Pod", "sprout-1", "Pulling", "Pulling image \"i\"", 3, 1);
    assert_eq!(rollout(&[&fresh], &[&probe, &pulling]), "Pulling image \"i\"");
    let quota = event("ReplicaSet", "sprout-77", "FailedCreate", "exceeded quota", 2, 1);
    assert_eq!(rollout(&[], &[&quota]), "exceeded quota");
}

fn claiming() -> Pod {
    let mut pod = pod(&json!({"phase": "Pending"}));
    pod.spec = serde_json::from_value(json!({"containers": [],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-etcd-0"}}]}))
    .unwrap();
    pod
}

#[test]
fn a_volume_that_nobody_makes() {
    let claim =
        |reason: &str, message: &str, second| event("PersistentVolumeClaim", "data-etcd-0", reason, message, second, 9);
    let awaited = "Waiting for a volume to be created either by the external provisioner 'ebs.csi.aws.com' or manually by \
                   the system administrator. If volume creation is delayed, please verify that the provisioner is running \
                   and correctly registered.";
    let pod = claiming();
    let rollout = |events: &[&Event], second| -> (Option<Failure>, Option<String>) {
        let none = Exits::default();
        let context = RolloutContext {
            component: Component::Etcd,
            pods: vec![&pod],
            events: events.to_vec(),
            exits: &none,
            needs_served_since: None,
            since: at(0),
            now: at(second),
            grace: Grace::default(),
        };
        (judge(&context), cause(&context).map(|c| c.text))
    };
    let waits = claim("ExternalProvisioning", awaited, 100);
    let (failure, text) = rollout(&[&waits], 60);
    assert_eq!(failure, None);
    assert_eq!(
        text.as_deref(),
        Some("waits for ebs.csi.aws.com to make the volume of data-etcd-0: is its driver installed?")
    );
    // With a class that binds at once the scheduler speaks too, and says less.
    let mut unbound = pod.clone();
    unbound.status = serde_json::from_value(json!({"phase": "Pending", "conditions": [{"type": "PodScheduled",
        "status": "False", "reason": "Unschedulable", "lastTransitionTime": "1970-01-01T00:00:00Z",
        "message": "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."}]}))
    .unwrap();
    let told = |events: &[&Event]| {
        let none = Exits::default();
        let context = RolloutContext {
            component: Component::Etcd,
            pods: vec![&unbound],
            events: events.to_vec(),
            exits: &none,
            needs_served_since: None,
            since: at(0),
            now: at(5),
            grace: Grace::default(),
        };
        cause(&context).unwrap().text
    };
    let early = claim("ExternalProvisioning", awaited, 1);
    assert_eq!(
        told(&[&early]),
        "waits for ebs.csi.aws.com to make the volume of data-etcd-0: is its driver installed?"
    );
    assert!(told(&[]).starts_with("not scheduled: 0/2 nodes are available"), "{}", told(&[]));
    let failure = rollout(&[&waits], 121).0.unwrap();
    for words in ["components.etcd.storage.persistent: false", "kubectl delete -n "] {
        assert!(failure.fix.to_string().contains(words), "{words}: {failure:?}");
    }
    assert!(failure.causes[0].contains("ebs.csi.aws.com"), "{failure:?}");
    // A driver that has begun is there, however long it takes.
    let begun = claim("Provisioning", "External provisioner is provisioning volume for claim \"ims/data-etcd-0\"", 5);
    assert_eq!(rollout(&[&waits, &begun], 500).0, None);
    let no_class = claim("ProvisioningFailed", "storageclass.storage.k8s.io \"fast\" not found", 8);
    assert_eq!(rollout(&[&no_class], 5).0, None);
    let failure = rollout(&[&no_class], 11).0.unwrap();
    assert_eq!((failure.kind, failure.reason.as_str()), (FailureKind::Config, "ProvisioningFailed"));
    assert!(failure.causes[1].contains("\"fast\" not found"), "{failure:?}");
    // A pod that has a node has its volumes, whatever was said before it had.
    let mut placed = pod.clone();
    placed.spec.as_mut().unwrap().node_name = Some("n1".to_owned());
    assert!(judge_at(500, &[&pod], &[&waits], &Exits::default()).is_some());
    assert_eq!(judge_at(500, &[&placed], &[&waits], &Exits::default()), None);
    // Of an earlier claim of the same name, and of another's.
    let old = claim("ProvisioningFailed", "storageclass.storage.k8s.io \"fast\" not found", -8);
    let other =
        event("PersistentVolumeClaim", "data-etcd-1", "ProvisioningFailed", "storageclass \"x\" not found", 8, 1);
    assert_eq!(rollout(&[&old, &other], 500).0, None);
    // Of one that was removed while this run waited: its name is the next one's, and its uid is not.
    let with_uid = |mut event: Event, uid: &str| {
        event.involved_object.uid = Some(uid.to_owned());
        event
    };
    let removed = with_uid(claim("ProvisioningFailed", "storageclass.storage.k8s.io \"fast\" not found", 20), "first");
    assert!(rollout(&[&removed], 60).0.is_some());
    let anew = with_uid(claim("WaitForFirstConsumer", "waiting for first consumer to be created", 30), "second");
    assert_eq!(rollout(&[&removed, &anew], 60), (None, Some("creating its container".to_owned())));
    let fails = with_uid(claim("ProvisioningFailed", "storageclass.storage.k8s.io \"slow\" not found", 40), "second");
    let failure = rollout(&[&removed, &anew, &fails], 60).0.unwrap();
    assert!(failure.causes[1].contains("\"slow\""), "{failure:?}");
}

#[test]
fn a_node_that_was_promised_is_waited_for() {
    let pod = pod(&json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient cpu.", "lastTransitionTime": at(0).to_string()}]}));
    let none = Exits::default();
    assert!(judge_at(31, &[&pod], &[], &none).is_some());
    for (reason, message) in [
        ("TriggeredScaleUp", "pod triggered scale-up: [{ng-1 1->2 (max: 5)}]"),
        ("Nominated", "Pod should schedule on: nodeclaim/default-x7k2p"),
    ] {
        let promise = event("Pod", "sprout-1", reason, message, -3, 1);
        assert_eq!(judge_at(500, &[&pod], &[&promise], &none), None, "{reason}");
        let context = RolloutContext {
            component: Component::Sprout,
            pods: vec![&pod],
            events: vec![&promise],
            exits: &none,
            needs_served_since: None,
            since: at(0),
            now: at(5),
            grace: Grace::default(),
        };
        assert_eq!(cause(&context).unwrap().text, format!("waits for a new node: {message}"));
        let taken_back = event("Pod", "sprout-1", "NotTriggerScaleUp", "pod didn't trigger scale-up", 20, 1);
        assert!(judge_at(500, &[&pod], &[&promise, &taken_back], &none).is_some());
        let of_another = event("Pod", "sprout-2", reason, message, 3, 1);
        assert!(judge_at(500, &[&pod], &[&of_another], &none).is_some());
    }
}

#[test]
fn pods_that_a_policy_or_a_missing_class_refuses() {
    for (message, named) in [
        (
            "create Pod etcd-0 in StatefulSet etcd failed error: pods \"etcd-0\" is forbidden: no PriorityClass with name high was \
             found",
            "no PriorityClass with name high",
        ),
        (
            "pods \"etcd-0\" is forbidden: ValidatingAdmissionPolicy 'no-root' with binding 'b' denied request: not as root",
            "its pods are refused by ValidatingAdmissionPolicy no-root",
        ),
        (
            "pods \"etcd-0\" is forbidden: unable to validate against any security context constraint: [provider \"anyuid\": \
             Forbidden: not usable by user or serviceaccount]",
            "its pods are refused by security context constraints",
        ),
        (
            "admission webhook \"validation.gatekeeper.sh\" denied the request: [no-tags] tags are wanted",
            "its pods are refused by Gatekeeper's constraint no-tags",
        ),
    ] {
        let refused = event("StatefulSet", "etcd", "FailedCreate", message, 3, 1);
        let failure = judge_at(5, &[], &[&refused], &Exits::default()).unwrap();
        assert_eq!(failure.kind, FailureKind::CannotCreate);
        assert!(failure.causes.iter().any(|c| c.contains(named)), "{failure:?}");
    }
}
