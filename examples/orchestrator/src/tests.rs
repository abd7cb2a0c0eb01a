use axum::body::Body;
use axum::http::Request;
use clearwater_kube::kube::client::Body as ApiBody;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

/// A cluster that lets nobody look.
fn forbidding() -> Router {
    let service = tower::service_fn(|_: Request<ApiBody>| async {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
            "message": "deployments.apps is forbidden", "code": 403});
        let answer = Response::builder().status(403).body(ApiBody::from(status.to_string().into_bytes()));
        Ok::<_, Infallible>(answer.unwrap())
    });
    router(Orchestrator::new(kube::Client::new(service, "lab")))
}

async fn ask(router: &Router, method: &str, path: &str, body: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let answer = router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = answer.status();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn each_deed_is_told_to_its_end() {
    let router = forbidding();
    let file = r#"{"file": "apiVersion: clearwater/v1\n"}"#;
    for (method, path, body) in [
        ("POST", "/instances/lab", file),
        ("POST", "/instances/lab/scale", r#"{"sprout": 3}"#),
        ("POST", "/instances/lab/heal?losses=all", ""),
        ("DELETE", "/instances/lab", ""),
    ] {
        let (status, told) = ask(&router, method, path, body).await;
        assert_eq!(status, StatusCode::OK, "{told}");
        assert!(told.starts_with("event: run\nid: 0\ndata: {\"v\":1,"), "{told}");
        let end = told.rsplit("event: end\ndata: ").next().unwrap();
        assert!(end.contains(r#""outcome":"couldNotLook""#), "{method} {path}: {told}");
    }
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused() {
    let router = forbidding();
    let (status, why) =
        ask(&router, "POST", "/instances/lab", r#"{"file": "apiVersion: clearwater/v1\nlogLevel: 9\n"}"#).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(why.contains("logLevel: 9 is out of range"), "{why}");
    let (status, _) = ask(&router, "GET", "/instances/lab", "").await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn one_deed_at_a_time_is_done_with_an_instance() {
    let orchestrator = Orchestrator::new(kube::Client::new(
        tower::service_fn(|_: Request<ApiBody>| std::future::pending::<Result<Response<ApiBody>, Infallible>>()),
        "lab",
    ));
    let claimed = orchestrator.claim("lab");
    assert!(claimed.is_ok() && orchestrator.claim("other").is_ok());
    let (status, why) = ask(&router(orchestrator.clone()), "DELETE", "/instances/lab", "").await;
    assert_eq!((status, why.contains("already")), (StatusCode::CONFLICT, true));
    drop(claimed);
    assert!(orchestrator.claim("lab").is_ok());
}

#[test]
fn losses_are_allowed_as_they_were_ordered() {
    let subscribers = ["subscribers".to_owned()];
    let sessions = ["registrations".to_owned(), "timers".to_owned()];
    assert!(!Losses::None.allow(&sessions) && Losses::Sessions.allow(&sessions));
    assert!(!Losses::Sessions.allow(&subscribers) && Losses::All.allow(&subscribers));
}
