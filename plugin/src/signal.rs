//! The signals that end a run: one listener hears them for the process's whole life. The one place that knows of
//! operating systems.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clearwater::event::CancelReason;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::exit;

/// After a signal the process ends within a second. What shows no sign of life for so long is stuck where nothing can
/// reach it (a reader that takes no more output, a credential plugin, a file that does not come) and is not waited for.
const PATIENCE: Duration = Duration::from_millis(800);
/// How often what needs longer than that shows that it is alive.
const SIGN: Duration = Duration::from_millis(100);

/// Hears the first signal and passes it on; ends the process with the second, or where nobody takes the first.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    came: Arc<watch::Sender<Option<CancelReason>>>,
    /// Set while the signal is being delivered, before any thread has run on.
    delivered: Arc<AtomicBool>,
    alive: Arc<Notify>,
}

impl Listener {
    /// Begins to listen, until the process ends. What cannot be listened to keeps its usual effect.
    pub(crate) fn install() -> Self {
        let listener = Self::silent();
        let own = listener.clone();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async move {
                let sources = Sources::open(&own.delivered);
                let _ = ready.send(());
                own.listen(sources).await;
            });
        });
        if thread.is_ok() {
            // From here on none is lost. A thread that could not listen has dropped its end.
            let _ = is_ready.recv();
        }
        listener
    }

    /// One that hears nothing.
    pub(crate) fn silent() -> Self {
        Self { came: Arc::new(watch::Sender::new(None)), delivered: Arc::default(), alive: Arc::new(Notify::new()) }
    }

    /// Takes it upon the caller to end when a signal comes, or has come. Until somebody does, a signal ends the process.
    pub(crate) fn signals(&self) -> Signals {
        Signals { came: self.came.subscribe(), delivered: self.delivered.clone(), alive: self.alive.clone() }
    }

    /// Tells all that take signals from it that this one came.
    pub(crate) fn tell(&self, reason: CancelReason) {
        self.came.send_replace(Some(reason));
    }

    async fn listen(&self, mut sources: Sources) {
        let first = sources.next().await;
        self.tell(first);
        if self.came.receiver_count() == 0 {
            end(first);
        }
        loop {
            tokio::select! {
                again = sources.next() => end(again),
                () = self.alive.notified() => {}
                () = sleep(PATIENCE) => end(first),
            }
        }
    }
}

#[expect(clippy::exit, reason = "what the other threads are stuck in cannot be ended otherwise")]
fn end(reason: CancelReason) {
    if let Some(deed) = LAST_DEED.get() {
        // It may be stuck in what they are stuck in.
        let (done, is_done) = std::sync::mpsc::channel();
        let doing = std::thread::Builder::new().spawn(move || {
            deed();
            let _ = done.send(());
        });
        if doing.is_ok() {
            let _ = is_done.recv_timeout(SIGN);
        }
    }
    // Nothing is said: the terminal may be what they are stuck in.
    std::process::exit(code(reason).into())
}

/// What is put right before the process is ended from here.
static LAST_DEED: OnceLock<fn()> = OnceLock::new();

/// Has something put right where a signal ends the process that nobody takes in time.
pub(crate) fn before_the_end(deed: fn()) {
    let _ = LAST_DEED.set(deed);
}

/// Hears SIGTSTP, which stops the process no more: whoever hears it does, when the terminal has been put right.
#[derive(Debug)]
pub(crate) struct Stops(Arc<AtomicBool>);

impl Stops {
    /// Begins to listen, until the process ends.
    pub(crate) fn listen() -> Self {
        let came = Arc::default();
        #[cfg(unix)]
        let _ = signal_hook::flag::register(signal_hook::consts::SIGTSTP, Arc::clone(&came));
        Self(came)
    }

    /// Whether it came since this was asked last.
    pub(crate) fn came(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

/// Stops the process until it is told to go on.
pub(crate) fn stop() {
    #[cfg(unix)]
    let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP);
}

/// The exit code of a run that a signal ended.
pub(crate) fn code(reason: CancelReason) -> u8 {
    if reason == CancelReason::Terminated { exit::TERMINATED } else { exit::INTERRUPTED }
}

/// The first signal, for those who end by themselves when it comes.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    came: watch::Receiver<Option<CancelReason>>,
    delivered: Arc<AtomicBool>,
    alive: Arc<Notify>,
}

impl Signals {
    /// The signal, where it has come.
    pub(crate) fn came(&self) -> Option<CancelReason> {
        *self.came.borrow()
    }

    /// The signal, where it came before what the caller has just read. Signals and input come by different ways: the
    /// listener may hear of the signal after the line that was typed behind it was read.
    pub(crate) async fn came_first(&self) -> Option<CancelReason> {
        if self.delivered.load(Ordering::SeqCst) { Some(self.next().await) } else { self.came() }
    }

    /// Waits for it. One that has come before is not lost.
    pub(crate) async fn next(&self) -> CancelReason {
        let mut came = self.came.clone();
        let reason = came.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
        match reason {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    /// Shows, a moment later, that what has to be done before the end is being done.
    pub(crate) async fn still_at_work(&self) {
        sleep(SIGN).await;
        self.alive.notify_one();
    }
}

/// Takes standard error and standard input from the process and all that it starts: nobody is told or asked anything.
pub(crate) fn quiet() {
    #[cfg(unix)]
    if let Ok(nothing) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stderr(&nothing);
        let _ = rustix::stdio::dup2_stdin(&nothing);
    }
}

/// Where signals come from.
struct Sources {
    #[cfg(unix)]
    all: [(Option<tokio::signal::unix::Signal>, CancelReason); 3],
}

impl Sources {
    /// Must be called inside of a runtime. `delivered` is set as soon as a signal comes that they tell of.
    fn open(delivered: &Arc<AtomicBool>) -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let of = |kind: SignalKind, reason| {
                let source = signal(kind).ok();
                if source.is_some() {
                    // What cannot be registered is still told of by the source.
                    let _ = signal_hook::flag::register(kind.as_raw_value(), delivered.clone());
                }
                (source, reason)
            };
            Self {
                all: [
                    of(SignalKind::interrupt(), CancelReason::Interrupted),
                    of(SignalKind::terminate(), CancelReason::Terminated),
                    of(SignalKind::hangup(), CancelReason::Terminated),
                ],
            }
        }
        #[cfg(not(unix))]
        {
            let _ = delivered;
            Self {}
        }
    }

    /// The next one.
    async fn next(&mut self) -> CancelReason {
        #[cfg(unix)]
        {
            async fn of((signal, reason): &mut (Option<tokio::signal::unix::Signal>, CancelReason)) -> CancelReason {
                if let Some(signal) = signal
                    && signal.recv().await.is_some()
                {
                    return *reason;
                }
                std::future::pending().await
            }
            let [interrupt, terminate, hang_up] = &mut self.all;
            tokio::select! {
                reason = of(interrupt) => reason,
                reason = of(terminate) => reason,
                reason = of(hang_up) => reason,
            }
        }
        #[cfg(not(unix))]
        match tokio::signal::ctrl_c().await {
            Ok(()) => CancelReason::Interrupted,
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_that_comes_between_two_waits_is_not_lost() {
        let listener = Listener::silent();
        let early = listener.signals();
        assert_eq!(early.came(), None);
        listener.came.send_replace(Some(CancelReason::Interrupted));
        // Whoever begins to wait afterwards hears of it, as often as he asks.
        for signals in [early, listener.signals()] {
            assert_eq!(signals.came(), Some(CancelReason::Interrupted));
            assert_eq!(signals.next().await, CancelReason::Interrupted);
            assert_eq!(signals.next().await, CancelReason::Interrupted);
        }
    }
}
