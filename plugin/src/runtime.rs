use std::pin::Pin;

use tokio::runtime::{Builder, Runtime};

use crate::error::CliError;
use crate::signal::Signals;

/// Runs the asynchronous part of a command. The runtime is built here and not in `main`, so that commands which need
/// none do not wait for it.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    run(builder(threads()).enable_all().build().map_err(CliError::Runtime)?, work)
}

/// The same with one thread beside the caller's: what is done in many small steps, handed from task to task, would spend
/// its time on waking threads.
pub(crate) fn block_on_two<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    run(builder(1).enable_all().build().map_err(CliError::Runtime)?, work)
}

/// As many threads as the machine has processors. Said by ourselves, because tokio panics over an environment variable
/// that is no number.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn builder(threads: usize) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads);
    builder
}

fn run<T>(runtime: Runtime, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    // What waits is compiled once for each result, and not for each command.
    let work: Pin<Box<dyn Future<Output = Result<T, CliError>> + '_>> = Box::pin(work);
    let done = runtime.block_on(work);
    // A name that is still being looked up would hold the process.
    runtime.shutdown_background();
    done
}

/// Does something of which nothing is left to be put right when a signal ends it: what was under way is dropped.
pub(crate) async fn unless_ended<T>(
    signals: &Signals,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    tokio::select! {
        biased;
        reason = signals.next() => Err(CliError::Ended(reason)),
        done = work => done,
    }
}
