//! Waiting for an answer in a command that does nothing else meanwhile.

use std::future::Future;
use std::io;

/// Waits for what a future comes to.
pub fn wait_for<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let output = runtime.block_on(future);
    // A look-up in DNS that hangs is left behind.
    runtime.shutdown_background();
    Ok(output)
}
