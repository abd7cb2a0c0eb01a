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
        let broken =
            |message: &str| AskError::Broken { pod: pod.to_owned(), message: format!("port {port}: {message}") };
        let opening = async {
            let mut forwarder = pods
                .portforward(pod, &[port])
                .await
                .map_err(|e| AskError::from_kube(pod, "get and create pods/portforward", &e))?;
            let stream = forwarder.take_stream(port).ok_or_else(|| broken("it was not forwarded"))?;
            let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|e| broken(&e.to_string()))?;
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
            Ok(Err(own)) => {
                // The kubelet says on its error channel what the bare end of the stream does not.
                let said = match self.forwarder.take_error(self.port) {
                    Some(refusal) => timeout(Duration::from_millis(100), refusal).await.ok().flatten(),
                    None => None,
                };
                let message = format!("port {}: {}", self.port, said.unwrap_or(own));
                Err(AskError::Broken { pod: self.pod.clone(), message })
            }
        }
    }

    async fn exchange(&mut self, path: &str) -> Result<(u16, String), String> {
        let request = hyper::Request::get(path)
            .header(hyper::header::HOST, "localhost")
            .body(Empty::<Bytes>::new())
            .map_err(|e| e.to_string())?;
        self.sender.ready().await.map_err(|e| e.to_string())?;
        let response = self.sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|e| e.to_string())?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    }
}
