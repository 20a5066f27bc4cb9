//! Bytes both ways, unseen.

use crate::pod::Entry;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio_util::sync::CancellationToken;

/// Copies bytes between the two until both have ended, either breaks or the replica is `gone`.
/// So long it counts as activity of the pod that it has entered.
pub(crate) async fn tunnel<A, B>(mut client: A, mut app: B, gone: CancellationToken, entry: Entry)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let copied = gone.run_until_cancelled(copy_bidirectional(&mut client, &mut app)).await;
    if let Some(Err(error)) = copied {
        tracing::trace!(error = &error as &dyn std::error::Error, "a tunnel broke");
    }
    drop(entry);
}
