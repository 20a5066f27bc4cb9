//! Bodies that stream through the gateway.

use crate::{endpoint::Connection, pod::Entry};
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use std::{
    collections::VecDeque,
    convert::Infallible,
    future::pending,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// What the gateway answers: an app's answer or its own.
pub(crate) type ResponseBody = Either<AppBody, Full<Bytes>>;

/// A request's body. While the request is held a little of it is read ahead, because only a
/// connection that is read from shows that its client has left.
pub(crate) struct RequestBody {
    ahead: VecDeque<Result<Frame<Bytes>, hyper::Error>>,
    ahead_bytes: usize,
    inner: Incoming,
    ended: bool,
}

impl RequestBody {
    /// How much is read ahead. What is held may exceed it by one frame.
    const AHEAD: usize = 64 << 10;

    pub(crate) fn new(inner: Incoming) -> Self {
        Self { ahead: VecDeque::new(), ahead_bytes: 0, inner, ended: false }
    }

    /// The most that this body takes up while it is held, when the transport may buffer `window`
    /// of its bytes beside what is read ahead.
    pub(crate) fn held_bytes(&self, window: u32) -> u32 {
        let most = window.saturating_add(Self::AHEAD as u32);
        let length = self.size_hint().upper().and_then(|bytes| u32::try_from(bytes).ok());
        length.map_or(most, |length| length.min(most))
    }

    /// Reads ahead for as long as it is polled.
    pub(crate) async fn read_ahead(&mut self) -> Infallible {
        while !self.ended && self.ahead_bytes < Self::AHEAD {
            match self.inner.frame().await {
                Some(frame) => self.keep(frame),
                None => self.ended = true,
            }
        }
        pending().await
    }

    fn keep(&mut self, frame: Result<Frame<Bytes>, hyper::Error>) {
        self.ended |= frame.is_err();
        self.ahead_bytes += frame.as_ref().map_or(0, data_bytes);
        self.ahead.push_back(frame);
    }
}

fn data_bytes(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Buf::remaining)
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(frame) = self.ahead.pop_front() {
            self.ahead_bytes -= frame.as_ref().map_or(0, data_bytes);
            return Poll::Ready(Some(frame));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, ahead) = (self.inner.size_hint(), self.ahead_bytes as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}

/// An app's answer. Until it has ended it counts as activity of the pod; when it has, its
/// connection goes back to the pool.
pub(crate) struct AppBody {
    inner: Incoming,
    ended: bool,
    connection: Option<Connection>,
    _entry: Entry,
}

impl AppBody {
    pub(crate) fn new(inner: Incoming, connection: Connection, entry: Entry) -> Self {
        Self { inner, ended: false, connection: Some(connection), _entry: entry }
    }
}

impl Body for AppBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        self.ended |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for AppBody {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && (self.ended || self.inner.is_end_stream())
        {
            connection.give_back();
        }
    }
}
