//! The signals that end a run. The one place that knows of operating systems.

use clearwater::event::CancelReason;

/// Signals that have come and will come.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    hang_up: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Begins to listen. What cannot be listened to keeps its usual effect.
    pub(crate) fn new() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Self { terminate: signal(SignalKind::terminate()).ok(), hang_up: signal(SignalKind::hangup()).ok() }
        }
        #[cfg(not(unix))]
        Self {}
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> CancelReason {
        #[cfg(unix)]
        {
            async fn of(signal: &mut Option<tokio::signal::unix::Signal>) {
                match signal {
                    Some(signal) => {
                        signal.recv().await;
                    }
                    None => std::future::pending().await,
                }
            }
            tokio::select! {
                _ = tokio::signal::ctrl_c() => CancelReason::Interrupted,
                () = of(&mut self.terminate) => CancelReason::Terminated,
                () = of(&mut self.hang_up) => CancelReason::Terminated,
            }
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
            CancelReason::Interrupted
        }
    }
}
