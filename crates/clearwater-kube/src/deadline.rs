//! The one policy for requests: each has a deadline.
//!
//! A server that hangs, drips its answer or asks for patience for ever holds nobody. Streams are another matter: a watch, a
//! log that is followed and a connection into a pod last as long as they are wanted, and only their beginning has a
//! deadline.

use std::time::Duration;

use http::header::UPGRADE;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::client::Body;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tower::BoxError;

/// An answer longer than this is not one of those that are asked for. The pods of a namespace are a few kilobytes each.
const LONGEST: usize = 64 << 20;

/// The API server did not answer in time.
#[derive(Debug, Error)]
#[error("no answer from the API server within {} s", .0.as_secs_f32())]
struct Late(Duration);

/// The same client, but each request has a deadline.
pub(crate) fn within(client: Client, time: Duration) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| answered(client.clone(), request, time));
    Client::new(service, namespace)
}

async fn answered(client: Client, request: Request<Body>, time: Duration) -> Result<Response<Body>, BoxError> {
    let is_stream = is_stream(&request);
    let until = Instant::now() + time;
    let response = timeout_at(until, client.send(request)).await.map_err(|_| Late(time))??;
    if is_stream {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = timeout_at(until, Limited::new(body, LONGEST).collect()).await.map_err(|_| Late(time))??;
    Ok(Response::from_parts(head, Body::from(body.to_bytes())))
}

/// Whether what is asked for lasts: a watch, a log that is followed, a connection.
fn is_stream(request: &Request<Body>) -> bool {
    let lasts = |pair: &str| matches!(pair, "watch=true" | "watch=1" | "follow=true" | "follow=1");
    request.headers().contains_key(UPGRADE) || request.uri().query().is_some_and(|q| q.split('&').any(lasts))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body_util::StreamBody;
    use hyper::body::{Bytes, Frame};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{ListParams, WatchParams};
    use kube::{Api, Error};

    use super::*;
    use crate::cluster::say;

    const TIME: Duration = Duration::from_secs(30);

    /// A server that answers a list whole, lets a byte of anything else drop each second, and never answers for `hangs`.
    fn server() -> Client {
        let service = tower::service_fn(|request: Request<Body>| async move {
            if request.uri().path().contains("hangs") {
                std::future::pending::<()>().await;
            }
            let drops = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b" "))), ()))
            });
            Ok::<_, Infallible>(Response::new(StreamBody::new(drops)))
        });
        within(Client::new(service, "ims"), TIME)
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_or_drips_is_given_up_in_time() {
        let maps: Api<ConfigMap> = Api::default_namespaced(server());
        for name in ["hangs", "drips"] {
            let began = Instant::now();
            let error = maps.get(name).await.unwrap_err();
            assert!(say(&error).contains("no answer from the API server within 30 s"), "{name}: {}", say(&error));
            assert!(crate::cluster::is_passing(&error), "{name}");
            assert_eq!(began.elapsed(), TIME, "{name}");
        }
        assert!(matches!(maps.list(&ListParams::default()).await, Err(Error::Service(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_may_last() {
        let maps: Api<ConfigMap> = Api::default_namespaced(server());
        let watching = maps.watch(&WatchParams::default(), "1").await;
        assert!(watching.is_ok());
        let asked = |uri: &str| is_stream(&Request::get(uri).body(Body::empty()).unwrap());
        assert!(asked("/api/v1/pods?x=1&watch=true") && asked("/log?follow=true"));
        assert!(!asked("/api/v1/pods?labelSelector=watch%3Dtrue") && !asked("/api/v1/pods"));
    }
}
