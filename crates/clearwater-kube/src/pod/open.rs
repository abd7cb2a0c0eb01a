//! The one way by which a connection into a pod is opened. What fails here was never put to the pod: it is the API server
//! or the way to the node, and says nothing of what runs there.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, Portforwarder};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::{AskError, Program};

/// The longest that opening a connection into a pod may take.
pub(crate) const OPEN: Duration = Duration::from_secs(8);

/// What `exec` needs.
pub(crate) const EXEC: &str = "get and create pods/exec";
/// What a forwarded port needs.
const FORWARD: &str = "get and create pods/portforward";

/// A connection to a port.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Starts a program in a container, whose standard input and output are asked for.
pub(crate) async fn exec<C>(
    pods: &Api<Pod>,
    pod: &str,
    command: C,
    params: &AttachParams,
    within: Duration,
) -> Result<Program, AskError>
where
    C: IntoIterator + std::fmt::Debug,
    C::Item: Into<String>,
{
    let connection = opened(pod, EXEC, within, pods.exec(pod, command, params)).await?;
    Program::new(connection).ok_or_else(|| AskError::broken(pod, "the exec connection has no streams"))
}

/// Forwards a port, and takes the first connection to it.
pub(crate) async fn forward(
    pods: &Api<Pod>,
    pod: &str,
    port: u16,
    within: Duration,
) -> Result<(Portforwarder, Box<dyn Duplex>), AskError> {
    let mut forwarder = opened(pod, FORWARD, within, pods.portforward(pod, &[port])).await?;
    let stream = forwarder.take_stream(port).ok_or_else(|| AskError::at_port(pod, port, "it was not forwarded"))?;
    Ok((forwarder, Box::new(stream)))
}

async fn opened<T>(
    pod: &str,
    right: &'static str,
    within: Duration,
    opening: impl Future<Output = kube::Result<T>>,
) -> Result<T, AskError> {
    match timeout(within, opening).await {
        Ok(opened) => opened.map_err(|error| AskError::not_opened(pod, right, error)),
        Err(_) => Err(AskError::NotOpened { pod: pod.to_owned(), within }),
    }
}
