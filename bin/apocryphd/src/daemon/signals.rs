use std::{future::Future, io};
use tokio::signal::unix::{SignalKind, signal};

/// Ready once the process is asked to end, by SIGTERM or Ctrl-C. Asks from now on.
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
