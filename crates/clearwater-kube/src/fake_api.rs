//! An API server for tests that knows what it is told, and remembers what it was asked.

#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::deadline::answer::Addressed;
use crate::kinds::ObjectKind;

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
        let (code, body) = match object(&path) {
            None => status(404, "NotFound"),
            Some(Value::Null) => status(403, "Forbidden"),
            Some(object) => (200, typed(&path, object)),
        };
        let body = kube::client::Body::from(body.to_string().into_bytes());
        async move { Ok::<_, Infallible>(http::Response::builder().status(code).body(body).unwrap()) }
    });
    (Cluster::new(kube::Client::new(service, "ims"), "ims"), asked)
}

/// What an API server of Kubernetes 1.34 says of its version.
pub(crate) fn version(path: &str) -> Option<Value> {
    let version = json!({"major": "1", "minor": "34", "gitVersion": "v1.34.4", "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "", "platform": ""});
    (path == "/version").then_some(version)
}

/// The namespace `ims` of a cluster that refuses everything in one way.
pub(crate) fn refusing(code: u16, reason: &'static str) -> Cluster {
    let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
        let mut status = status(code, reason).1;
        status["message"] = reason.into();
        let body = kube::client::Body::from(status.to_string().into_bytes());
        async move { Ok::<_, Infallible>(http::Response::builder().status(code).body(body).unwrap()) }
    });
    Cluster::new(kube::Client::new(service, "ims"), "ims")
}

/// An object of Kubernetes says what it is and how it is called, and tests need not.
fn typed(path: &str, mut object: Value) -> Value {
    let Some(asked) = Addressed::of(path).filter(|_| object.is_object() && object["kind"] != "Status") else {
        return object;
    };
    let Some(kind) = ObjectKind::of_resource(asked.group, asked.plural) else { return object };
    match asked.name {
        None if object["items"].is_array() => object["kind"] = format!("{}List", kind.name).into(),
        None => {}
        Some(name) => {
            object["kind"] = kind.name.into();
            object["metadata"]["name"] = name.into();
        }
    }
    object
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code});
    (code, status)
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It is done and answered.
    Answered,
    /// It is done, and the connection is cut before the answer.
    CutAfter,
    /// The connection is cut before it is done.
    CutBefore,
}

/// The namespace `ims` of a cluster that keeps what is written to it, by path, under versions.
#[derive(Clone, Default)]
pub(crate) struct Store {
    objects: Arc<Mutex<(u32, BTreeMap<String, Value>)>>,
    fates: Arc<Mutex<VecDeque<Fate>>>,
    writes: Arc<Mutex<Vec<String>>>,
}

impl Store {
    pub(crate) fn cluster(&self) -> Cluster {
        let store = self.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let store = store.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let sent = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let (code, body) = store.answer(&parts.method, parts.uri.path(), sent)?;
                let body = typed(parts.uri.path(), body);
                let body = kube::client::Body::from(body.to_string().into_bytes());
                Ok::<_, io::Error>(http::Response::builder().status(code).body(body).unwrap())
            }
        });
        Cluster::new(kube::Client::new(service, "ims"), "ims")
    }

    /// Decides about the next writes; those after them are answered.
    pub(crate) fn fates(&self, fates: &[Fate]) {
        self.fates.lock().unwrap().extend(fates);
    }

    /// The methods of all writes that came.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.writes.lock().unwrap().clone()
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.objects.lock().unwrap().1.get(path).cloned()
    }

    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let (version, objects) = &mut *self.objects.lock().unwrap();
        *version += 1;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        objects.insert(path.to_owned(), object);
    }

    fn answer(&self, method: &http::Method, path: &str, sent: Value) -> io::Result<(u16, Value)> {
        let get = |path: &str| self.get(path).map_or_else(|| status(404, "NotFound"), |object| (200, object));
        if method == http::Method::GET {
            return Ok(get(path));
        }
        self.writes.lock().unwrap().push(method.to_string());
        let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Answered);
        let cut = || io::Error::from(io::ErrorKind::ConnectionReset);
        if matches!(fate, Fate::CutBefore) {
            return Err(cut());
        }
        let is_new = method == http::Method::POST;
        let path =
            if is_new { format!("{path}/{}", sent["metadata"]["name"].as_str().unwrap()) } else { path.to_owned() };
        let standing = self.get(&path);
        let expected = match method.as_str() {
            "DELETE" => &sent["preconditions"]["resourceVersion"],
            _ => &sent["metadata"]["resourceVersion"],
        };
        let answer = match standing {
            Some(standing) if is_new || *expected != standing["metadata"]["resourceVersion"] => status(409, "Conflict"),
            None if !is_new => status(404, "NotFound"),
            Some(mut standing) if method == http::Method::PATCH => {
                merge(&mut standing, &sent);
                self.put(&path, standing);
                get(&path)
            }
            Some(standing) if method == http::Method::DELETE => {
                self.objects.lock().unwrap().1.remove(&path);
                (200, standing)
            }
            _ => {
                self.put(&path, sent);
                get(&path)
            }
        };
        if matches!(fate, Fate::CutAfter) { Err(cut()) } else { Ok(answer) }
    }
}

/// RFC 7386.
fn merge(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}
