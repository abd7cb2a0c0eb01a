use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use clearwater::live_test::LiveVerdict;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// The namespace `ims` of a cluster whose Job's pod is in this state and wrote this; what was asked.
fn cluster(state: Value, log: &'static str) -> (Cluster, Arc<Mutex<Vec<String>>>) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = asked.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        told.lock().unwrap().push(format!("{method} {path}"));
        let status =
            json!({"name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        let pod = json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [status]}});
        let body = match (method.as_str(), path.rsplit('/').next().unwrap_or_default()) {
            ("GET", "log") => log.to_owned(),
            ("GET", "pods") => {
                json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod]}).to_string()
            }
            ("POST", "jobs") => {
                json!({"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "j", "uid": "u"}}).to_string()
            }
            ("POST", "secrets") => json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "j"}}).to_string(),
            _ => json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}).to_string(),
        };
        async move { Ok::<_, Infallible>(http::Response::new(Body::from(body.into_bytes()))) }
    });
    (Cluster::new(kube::Client::new(service, "ims"), "ims"), asked)
}

fn ended(code: i32) -> Value {
    json!({"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }}})
}

/// How it ended, its cases by verdict (passed, failed, skipped, unended), and what was asked.
async fn tried(state: Value, log: &'static str) -> (Result<(), LiveTestError>, [usize; 4], Vec<String>) {
    let (cluster, asked) = cluster(state, log);
    let plan = LiveTestPlan {
        image: "r.example/live:1".to_owned(),
        home_domain: "ims.example.com".to_owned(),
        sign_up: SignUpCode::Known("hush".to_owned().into()),
        transports: "tcp".to_owned(),
        rounds: 1,
        lasting: Duration::from_secs(20),
    };
    let test = LiveTest::new(&cluster, plan);
    let mut counts = [0; 4];
    let done = test.run(|case| {
        let place = match case.verdict {
            LiveVerdict::Passed => 0,
            LiveVerdict::Failed(_) => 1,
            LiveVerdict::Skipped(_) => 2,
            LiveVerdict::Unended => 3,
        };
        counts[place] += 1;
    });
    let done = done.await;
    test.take_away().await.unwrap();
    let asked = asked.lock().unwrap().clone();
    (done, counts, asked)
}

#[tokio::test(start_paused = true)]
async fn cases_are_given_on_once_and_what_is_not_whole_proves_nothing() {
    const GOOD: &str =
        "A (TCP) - (1) Passed\nB (TCP) - Skipped (why)\n0 failures out of 2 tests run\n1 tests skipped\n";
    const BAD: &str = "A (TCP) - (1) Failed\n - it\n1 failures out of 1 tests run\n    A (TCP)\n0 tests skipped\n";
    const CUT: &str = "A (TCP) - (1) Passed\nB (TCP) - (2) ";
    for (code, log, counts, words) in [
        (0, GOOD, [1, 0, 1, 0], ""),
        (1, BAD, [0, 1, 0, 0], ""),
        (1, GOOD, [1, 0, 1, 0], "wrote that no case failed, and ended with 1"),
        (137, CUT, [1, 0, 0, 1], "ended with 137: it ended after 2 cases without its last lines"),
        (0, CUT, [1, 0, 0, 1], "without its last lines"),
        (1, "rake aborted!\n", [0; 4], "its last words: rake aborted!"),
    ] {
        let (done, seen, asked) = tried(ended(code), log).await;
        let error = done.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(words) && error.is_empty() == words.is_empty(), "{log:?} {code}: {error}");
        assert_eq!(seen, counts, "{log:?}");
        // Whatever became of it.
        let deleted: Vec<_> = asked.iter().filter(|a| a.starts_with("DELETE ")).collect();
        assert_eq!(deleted.len(), 2, "{asked:?}");
        assert!(deleted[0].contains("/jobs/clearwater-live-test-"), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_start_or_does_not_end_is_told() {
    let waiting = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
    for (state, words) in [
        (
            waiting("ErrImagePull", "r.example/live:1: not found"),
            "cannot be started: ErrImagePull: r.example/live:1: not found",
        ),
        (waiting("ErrImagePull", "i/o timeout"), "has not ended within 20 s: ErrImagePull: i/o timeout"),
        (waiting("ContainerCreating", ""), "has not ended within 20 s: ContainerCreating"),
        (json!({"running": {}}), "has not ended within 20 s: its last case was A"),
    ] {
        let (done, _, asked) = tried(state, "A (TCP) - (1) Passed\nB (TCP) - \n").await;
        let error = done.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(asked.iter().any(|a| a.starts_with("DELETE ")), "{asked:?}");
    }
}
