//! A libp2p stream as tonic wants its connections.

use crate::node::InboundStream;
use libp2p::PeerId;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};
use tonic::transport::server::Connected;

/// Who sent a request: proven by the connection's handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller(pub(super) PeerId);

/// A stream that a peer opened to call.
pub(super) struct CallerStream {
    stream: Compat<libp2p::Stream>,
    caller: Caller,
    _place: OwnedSemaphorePermit,
}

impl From<InboundStream> for CallerStream {
    fn from(inbound: InboundStream) -> Self {
        let InboundStream { peer, stream, permit, .. } = inbound;
        Self { stream: stream.compat(), caller: Caller(peer), _place: permit }
    }
}

impl Connected for CallerStream {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller
    }
}

impl AsyncRead for CallerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CallerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
