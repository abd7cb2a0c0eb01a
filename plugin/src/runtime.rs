use crate::error::CliError;

/// Runs the asynchronous part of a command. The runtime is built here and not in `main`, so that commands which need
/// none do not wait for it.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    Ok(runtime.map_err(CliError::Runtime)?.block_on(work))
}

/// The same with one thread beside the caller's: what is done in many small steps, handed from task to task, would spend
/// its time on waking threads.
pub(crate) fn block_on_two<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    Ok(runtime.map_err(CliError::Runtime)?.block_on(work))
}
