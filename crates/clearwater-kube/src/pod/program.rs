use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::AttachedProcess;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How a program ended, as the kubelet says; nothing where it is the connection that ended.
pub(crate) type Ended = Shared<BoxFuture<'static, Option<Status>>>;

/// A program in a container, with the streams that it was started with.
pub(crate) struct Program {
    pub(crate) stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) stdout: Stdout,
    pub(crate) ended: Ended,
    /// The streams last as long as this is held.
    pub(crate) connection: AttachedProcess,
}

impl Program {
    /// Nothing where it was started without these streams.
    pub(crate) fn new(mut connection: AttachedProcess) -> Option<Self> {
        let ended = connection.take_status()?.boxed().shared();
        let (stdin, stdout) = (connection.stdin()?, connection.stdout()?);
        let stdout = Stdout::new(stdout, ended.clone());
        Some(Self { stdin: Box::new(stdin), stdout, ended, connection })
    }
}

/// What a program prints. It ends with the program, and with the connection.
///
/// Where the connection breaks, kube's client (5.0.0) drops the writing half without a word to the reading one: what is read
/// would then never end. What was printed before that is in this program already.
pub(crate) struct Stdout {
    read: Box<dyn AsyncRead + Send + Unpin>,
    /// Until it ended.
    ended: Option<Ended>,
}

impl Stdout {
    pub(crate) fn new(read: impl AsyncRead + Send + Unpin + 'static, ended: Ended) -> Self {
        Self { read: Box::new(read), ended: Some(ended) }
    }
}

impl AsyncRead for Stdout {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.read).poll_read(cx, buf) {
            return Poll::Ready(read);
        }
        if self.ended.as_mut().is_some_and(|ended| ended.poll_unpin(cx).is_pending()) {
            return Poll::Pending;
        }
        self.ended = None;
        // It may have printed since it was asked.
        match Pin::new(&mut self.read).poll_read(cx, buf) {
            Poll::Pending => Poll::Ready(Ok(())),
            read @ Poll::Ready(_) => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    /// As kube's client has it: two halves of one stream, and the status.
    #[tokio::test]
    async fn what_is_read_ends_with_the_connection() {
        for status in [None, Some(Status::default())] {
            let (read, mut write) = tokio::io::simplex(64);
            let (end, ends) = oneshot::channel();
            let mut stdout = Stdout::new(read, ends.map(Result::ok).boxed().shared());
            write.write_all(b"one\n").await.unwrap();
            let mut line = [0; 4];
            stdout.read_exact(&mut line).await.unwrap();
            let nothing = timeout(Duration::from_millis(20), stdout.read(&mut line)).await;
            assert!(nothing.is_err(), "it has not ended: {nothing:?}");
            write.write_all(b"the rest").await.unwrap();
            let message_loop = async {
                tokio::task::yield_now().await;
                drop(write);
                match status {
                    Some(status) => end.send(status).unwrap(),
                    None => drop(end),
                }
            };
            let mut rest = String::new();
            let read = async { timeout(Duration::from_secs(5), stdout.read_to_string(&mut rest)).await };
            let (read, ()) = tokio::join!(read, message_loop);
            read.expect("it ends").unwrap();
            assert_eq!(rest, "the rest");
            assert_eq!(stdout.read(&mut line).await.unwrap(), 0, "it has ended for good");
        }
    }
}
