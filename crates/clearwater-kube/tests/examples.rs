//! The program in `examples/` that embeds the crate runs, and tells what the run says. That a deployment comes up is
//! shown end to end; here an API server that lets nobody look is enough.

#[path = "../examples/bring_up.rs"]
#[allow(dead_code, unreachable_pub, reason = "its own main is not run here")]
mod bring_up;

use std::convert::Infallible;

use clearwater::event::Outcome;
use clearwater_kube::Cluster;
use clearwater_kube::up::up;
use http::{Request, Response};
use kube::client::Body;

#[tokio::test]
async fn bring_up_tells_what_the_run_says() {
    let refusing = tower::service_fn(|_: Request<Body>| async {
        let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
            "message": "deployments.apps is forbidden", "code": 403});
        Ok::<_, Infallible>(Response::builder().status(403).body(Body::from(status.to_string().into_bytes())).unwrap())
    });
    let cluster = Cluster::new(kube::Client::new(refusing, "ims"), "ims");
    let run = up(&cluster, bring_up::options("ims").unwrap());
    let mut said = Vec::new();
    let outcome = bring_up::follow(run, &mut said).await.unwrap();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(outcome, Outcome::CouldNotLook, "{said}");
    assert!(said.contains("deployments.apps is forbidden"), "{said}");
}
