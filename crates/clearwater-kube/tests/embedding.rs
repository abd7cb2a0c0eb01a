//! What programs met that embed the crate, each as a test of what they are told now.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clearwater_kube::check::{CheckOptions, check};
use clearwater_kube::clearwater::component::{Component, Release};
use clearwater_kube::clearwater::config::{Deployment, DeploymentFile};
use clearwater_kube::clearwater::event::{CancelReason, Outcome};
use clearwater_kube::clearwater::log::Traced;
use clearwater_kube::clearwater::scale::{Refusal, Target};
use clearwater_kube::dns::{DnsError, DnsOptions, patch};
use clearwater_kube::logs::{Choice, LogOrigin, Options, Said, read, trace};
use clearwater_kube::scale::{ScaleOptions, scale};
use clearwater_kube::status::{StatusOptions, status};
use clearwater_kube::up::{UpOptions, up};
use clearwater_kube::{Cluster, kube};
use futures::StreamExt;
use http::{Request, Response};
use kube::client::Body;

/// A cluster that holds nothing, and how often it was asked. A watch stays silent.
fn empty() -> (Cluster, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        count.fetch_add(1, Ordering::Relaxed);
        let watches = request.uri().query().is_some_and(|q| q.contains("watch=true"));
        let kind = match request.uri().path().rsplit('/').next() {
            Some("pods") => "PodList",
            Some("deployments") => "DeploymentList",
            Some("statefulsets") => "StatefulSetList",
            Some("endpointslices") => "EndpointSliceList",
            Some("services") => "ServiceList",
            Some("events") => "EventList",
            Some("horizontalpodautoscalers") => "HorizontalPodAutoscalerList",
            _ => "List",
        };
        let list = serde_json::json!({"kind": kind, "metadata": {"resourceVersion": "1"}, "items": []});
        async move {
            if watches {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Body::from(list.to_string().into_bytes())))
        }
    });
    (Cluster::new(kube::Client::new(service, "ims"), "ims"), asked)
}

fn deployment(namespace: &str) -> Deployment {
    DeploymentFile::default().deploy(namespace).unwrap()
}

#[tokio::test]
async fn a_deployment_of_another_namespace_is_refused_before_anybody_is_asked() {
    let (cluster, asked) = empty();
    let both = "the cluster's namespace is ims and the deployment's is lab";
    for options in [UpOptions::new(deployment("lab")), UpOptions::new(deployment("lab")).dry_run()] {
        let end = up(&cluster, options).finished().await.unwrap();
        assert_eq!(end.outcome, Outcome::Refused);
        assert!(end.summary.to_string().starts_with(both), "{}", end.summary);
    }
    let one = [(Component::Sprout, Target::Absolute(2))];
    let end = scale(&cluster, ScaleOptions::new(one).deployment(deployment("lab"))).finished().await.unwrap();
    assert_eq!(end.outcome, Outcome::Refused);
    let end = patch(&cluster, DnsOptions::new(deployment("lab"))).finished().await.unwrap();
    assert!(matches!(end.value, Err(DnsError::Elsewhere { .. })) && end.outcome == Outcome::Refused);
    let error = status(&cluster, &StatusOptions::new().deployment(deployment("lab"))).await.unwrap_err();
    assert!(error.to_string().contains(both), "{error}");
    assert!(check(&cluster, &CheckOptions::new().deployment(deployment("lab"))).await.is_err());
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    // One source for both.
    assert_eq!(cluster.deploy(&DeploymentFile::default()).unwrap().namespace(), "ims");
}

#[tokio::test]
async fn what_is_asked_for_and_left_out_at_once_is_refused() {
    let (cluster, _) = empty();
    let all = UpOptions::new(deployment("ims")).only([Component::Sprout]);
    let end = up(&cluster, all.clone().skip([Component::Homestead])).finished().await.unwrap();
    assert_eq!(end.outcome, Outcome::Refused);
    assert_eq!(end.summary.to_string(), "sprout was asked for, and it needs homestead, which is to be left out");
    let end = up(&cluster, all.skip([Component::Sprout])).finished().await.unwrap();
    assert_eq!(end.summary.to_string(), "sprout was asked for, and is to be left out");
}

#[tokio::test]
async fn a_refusal_to_scale_is_a_value() {
    let (cluster, _) = empty();
    let options = ScaleOptions::new([(Component::Memcached, Target::Absolute(2))]).deployment(deployment("ims"));
    let end = scale(&cluster, options).finished().await.unwrap();
    assert_eq!(end.outcome, Outcome::Refused, "{}", end.summary);
    assert!(
        matches!(
            end.value[..],
            [Refusal::NotInRelease { component: Component::Memcached, release: Release::Hunter, .. }]
        ),
        "{:?}",
        end.value
    );
}

#[tokio::test]
async fn a_run_that_its_program_cancels_ends_as_that_says() {
    for (reason, outcome) in [(CancelReason::Failure, Outcome::Failed), (CancelReason::Program, Outcome::Cancelled)] {
        let (cluster, _) = empty();
        let run = up(&cluster, deployment("ims"));
        run.cancel(reason);
        assert_eq!(run.finished().await.unwrap().outcome, outcome);
    }
}

#[tokio::test]
async fn logs_are_a_stream() {
    let (cluster, _) = empty();
    let logs = read(&cluster, Options::of([Component::Sprout]).window(Duration::ZERO));
    let said: Vec<Said> = logs.collect().await;
    assert!(!said.iter().any(|s| matches!(s, Said::Record(_))), "{said:?}");
}

#[tokio::test]
async fn a_call_is_traced_by_one_call() {
    let (cluster, _) = empty();
    let call = trace(&cluster, Traced::Call("8f3a@192.0.2.7".to_owned())).await.unwrap();
    assert!(call.ladder.hops().is_empty() && call.unread.is_empty());
    let refusing = tower::service_fn(|_: Request<Body>| async {
        let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
            "message": "pods is forbidden", "code": 403});
        Ok::<_, Infallible>(Response::builder().status(403).body(Body::from(status.to_string().into_bytes())).unwrap())
    });
    let cluster = Cluster::new(kube::Client::new(refusing, "ims"), "ims");
    let error = trace(&cluster, Traced::Call("8f3a@192.0.2.7".to_owned())).await.unwrap_err();
    assert!(error.to_string().starts_with("the logs of namespace ims: "), "{error}");
}

#[tokio::test]
async fn whoever_follows_files_is_no_file_without_a_name() {
    let service = tower::service_fn(|request: Request<Body>| async move {
        let pods = serde_json::json!({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [{
            "metadata": {"name": "sprout-0", "namespace": "ims", "uid": "u", "labels": {"service": "sprout"}},
            "spec": {"nodeName": "n", "containers": [{"name": "sprout", "image": "clearwater-sprout:hunter"}]},
            "status": {"phase": "Running", "podIP": "10.0.0.7", "containerStatuses": [{
                "name": "sprout", "image": "i", "imageID": "i", "ready": true, "restartCount": 0, "containerID": "c://1",
                "state": {"running": {"startedAt": "2026-11-22T10:00:00Z"}},
            }]},
        }]});
        let refused = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
            "message": "pods/exec is forbidden", "code": 403});
        let (code, body) = if request.uri().path().ends_with("/pods") { (200, pods) } else { (403, refused) };
        Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap())
    });
    let cluster = Cluster::new(kube::Client::new(service, "ims"), "ims");
    let said: Vec<Said> = read(&cluster, Options::of([Component::Sprout]).choice(Choice::Files)).collect().await;
    let opened =
        said.iter().find_map(|s| if let Said::Opened(source) = s { Some(source.origin.clone()) } else { None });
    assert_eq!(opened, Some(LogOrigin::Files), "{said:?}");
}
