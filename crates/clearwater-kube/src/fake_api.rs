//! An API server for tests that knows what it is told, and remembers what it was asked.

#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::cluster::Cluster;

/// What was asked, as `METHOD path`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// The namespace `ims` of a cluster whose objects are told by path: `None` is 404, `null` is 403.
pub(crate) fn cluster(object: impl Fn(&str) -> Option<Value> + Clone + Send + 'static) -> (Cluster, Asked) {
    let asked = Asked::default();
    let told = asked.clone();
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let path = request.uri().path().to_owned();
        told.0.lock().unwrap().push(format!("{} {path}", request.method()));
        let status = |code: u16, reason: &str| {
            let status =
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code});
            (code, status)
        };
        let (code, body) = match object(&path) {
            None => status(404, "NotFound"),
            Some(Value::Null) => status(403, "Forbidden"),
            Some(object) => (200, object),
        };
        let body = kube::client::Body::from(body.to_string().into_bytes());
        async move { Ok::<_, Infallible>(http::Response::builder().status(code).body(body).unwrap()) }
    });
    (Cluster::new(kube::Client::new(service, "ims"), "ims"), asked)
}
