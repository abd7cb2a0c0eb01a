use crate::error::CliError;

/// Runs the asynchronous part of a command. The runtime is built here and not in `main`, so that commands which need
/// none do not wait for it.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    Ok(runtime.map_err(CliError::Runtime)?.block_on(work))
}
