use std::time::Duration;

use http::header::HOST;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::Portforwarder;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tower::BoxError;

use super::{AskError, forward};

/// An answer longer than this is not one of those that are asked for. The longest are lists of a hundred thousand names.
const LONGEST: usize = 16 << 20;

/// A kept HTTP connection to a port that a pod listens on at its loopback address, through a forwarded port.
pub struct Forward {
    pod: String,
    port: u16,
    sender: SendRequest<Full<Bytes>>,
    has_sent: bool,
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
    ///
    /// # Errors
    /// Why the port could not be forwarded.
    pub async fn open(pods: &Api<Pod>, pod: &str, port: u16, within: Duration) -> Result<Self, AskError> {
        let (forwarder, stream) = forward(pods, pod, port, within).await?;
        let opening = async {
            let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|e| AskError::at_port(pod, port, e))?;
            let pump = tokio::spawn(async move {
                // The connection is only the pump of the requests, which tell what became of it.
                let _ = connection.await;
            });
            Ok(Self { pod: pod.to_owned(), port, sender, has_sent: false, pump: pump.abort_handle(), forwarder })
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

    /// Whether another question can be asked: the pod may close the connection after any answer.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Whether the last request may have reached the pod.
    pub(crate) fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Asks `GET path`. Yields the HTTP status and the body. After an error the connection must be dropped.
    ///
    /// # Errors
    /// Why the pod could not be asked; an answer that is no success is none.
    pub async fn get(&mut self, path: &str, within: Duration) -> Result<(u16, String), AskError> {
        let request = Request::get(path).body(Bytes::new()).map_err(|e| AskError::at_port(&self.pod, self.port, e))?;
        let answer = self.ask(request, within).await?;
        Ok((answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned()))
    }

    /// Puts a request whose URI is a path, and reads the answer to its end. After an error the connection must be dropped.
    ///
    /// # Errors
    /// Why the pod could not be asked; an answer that is no success is none.
    pub async fn ask(&mut self, request: Request<Bytes>, within: Duration) -> Result<Response<Bytes>, AskError> {
        let answer = timeout(within, self.exchange(request)).await;
        match answer {
            Err(_) => Err(AskError::Deadline { pod: self.pod.clone(), within }),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(own)) => Err(AskError::at_end(&self.pod, self.port, &mut self.forwarder, own).await),
        }
    }

    async fn exchange(&mut self, mut request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("localhost"));
        self.has_sent = false;
        self.sender.ready().await?;
        self.has_sent = true;
        let response = self.sender.try_send_request(request.map(Full::new)).await.map_err(|mut error| {
            self.has_sent = error.take_message().is_none();
            error.into_error()
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LONGEST).collect().await?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}
