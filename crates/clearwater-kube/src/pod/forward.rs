use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::Portforwarder;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tower::BoxError;

use super::AskError;

/// An answer longer than this is not one of those that are asked for.
const LONGEST: usize = 1 << 20;

/// A kept HTTP connection to a port that a pod listens on at its loopback address, through a forwarded port.
pub struct Forward {
    pod: String,
    port: u16,
    sender: SendRequest<Empty<Bytes>>,
    pump: AbortHandle,
    forwarder: Portforwarder,
}

impl std::fmt::Debug for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forward").field("pod", &self.pod).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.pump.abort();
        self.forwarder.abort();
    }
}

impl Forward {
    /// Opens a connection, within the deadline.
    pub async fn open(pods: &Api<Pod>, pod: &str, port: u16, within: Duration) -> Result<Self, AskError> {
        let opening = async {
            let mut forwarder = pods
                .portforward(pod, &[port])
                .await
                .map_err(|e| AskError::from_kube(pod, "get and create pods/portforward", e))?;
            let stream =
                forwarder.take_stream(port).ok_or_else(|| AskError::at_port(pod, port, "it was not forwarded"))?;
            let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|e| AskError::at_port(pod, port, e))?;
            let pump = tokio::spawn(async move {
                // The connection is only the pump of the requests, which tell what became of it.
                let _ = connection.await;
            });
            Ok(Self { pod: pod.to_owned(), port, sender, pump: pump.abort_handle(), forwarder })
        };
        timeout(within, opening).await.unwrap_or_else(|_| Err(AskError::Deadline { pod: pod.to_owned(), within }))
    }

    /// The pod.
    pub fn pod(&self) -> &str {
        &self.pod
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks `GET path`. Yields the HTTP status and the body. After an error the connection must be dropped.
    pub async fn get(&mut self, path: &str, within: Duration) -> Result<(u16, String), AskError> {
        let answer = timeout(within, self.exchange(path)).await;
        match answer {
            Err(_) => Err(AskError::Deadline { pod: self.pod.clone(), within }),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(own)) => Err(AskError::at_end(&self.pod, self.port, &mut self.forwarder, own).await),
        }
    }

    async fn exchange(&mut self, path: &str) -> Result<(u16, String), BoxError> {
        let request = hyper::Request::get(path).header(hyper::header::HOST, "localhost").body(Empty::<Bytes>::new())?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST).collect().await?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    }
}
