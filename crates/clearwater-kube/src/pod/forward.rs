use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::time::timeout;

use super::AskError;

/// An answer longer than this is not one of those that are asked for.
const LONGEST: usize = 1 << 20;

/// Asks `GET path` of a port that the pod listens on at its loopback address, through a forwarded port. Yields the HTTP
/// status and the body.
pub async fn http_get(
    pods: &Api<Pod>,
    pod: &str,
    port: u16,
    path: &str,
    within: Duration,
) -> Result<(u16, String), AskError> {
    timeout(within, get(pods, pod, port, path))
        .await
        .unwrap_or_else(|_| Err(AskError::Deadline { pod: pod.to_owned(), within }))
}

async fn get(pods: &Api<Pod>, pod: &str, port: u16, path: &str) -> Result<(u16, String), AskError> {
    let broken = |message: String| AskError::Broken { pod: pod.to_owned(), message: format!("port {port}: {message}") };
    let mut forwarder =
        pods.portforward(pod, &[port]).await.map_err(|e| AskError::from_kube(pod, "create pods/portforward", &e))?;
    let stream = forwarder.take_stream(port).ok_or_else(|| broken("it was not forwarded".to_owned()))?;
    let refusal = forwarder.take_error(port);
    let answer = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = async {
            let request = hyper::Request::get(path)
                .header(hyper::header::HOST, "localhost")
                .header(hyper::header::CONNECTION, "close")
                .body(Empty::<Bytes>::new());
            let response = match request {
                Ok(request) => sender.send_request(request).await?,
                Err(error) => return Ok(Err(error.to_string())),
            };
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            Ok::<_, hyper::Error>(match body {
                Ok(body) => Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned())),
                Err(error) => Err(error.to_string()),
            })
        };
        tokio::pin!(request);
        let connection = async {
            // The connection is only the pump of the request; its end is not news.
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = &mut request => answer,
            () = connection => Ok(Err("the connection was closed".to_owned())),
        }
    };
    let answer = answer.await;
    let outcome = match answer {
        Ok(Ok(answer)) => Ok(answer),
        failed => {
            let own = match failed {
                Ok(Err(text)) => text,
                Err(error) => error.to_string(),
                Ok(Ok(_)) => String::new(),
            };
            // The kubelet says on its error channel what the bare end of the stream does not.
            let said = match refusal {
                Some(refusal) => timeout(Duration::from_millis(100), refusal).await.ok().flatten(),
                None => None,
            };
            Err(broken(said.unwrap_or(own)))
        }
    };
    forwarder.abort();
    outcome
}
