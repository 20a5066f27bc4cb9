//! Accepts HTTP connections and finds out which HTTP they speak.

use crate::{ClientLimits, Tls, clients::Clients, gateway::Inner, headers::Client};
use http::HeaderValue;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use socket2::{SockRef, TcpKeepalive};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tracing::{trace, warn};

/// How much of an HTTP/2 request's body is taken before anybody reads it.
const WINDOW: u32 = 256 << 10;
const MAX_STREAMS: u32 = 256;
const PING: Duration = Duration::from_secs(30);

/// What hyper needs for a head.
const LEAST_BUFFER: usize = 8192;

/// The servers of both versions, with their bounds.
pub(crate) struct Http {
    http1: auto::Builder<TokioExecutor>,
    http2: auto::Builder<TokioExecutor>,
}

impl Http {
    pub(crate) fn new(limits: &ClientLimits) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time)
            .max_headers(limits.header_count)
            .max_buf_size((limits.header_bytes as usize).max(LEAST_BUFFER))
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(limits.header_bytes)
            .initial_stream_window_size(WINDOW);
        Self { http1: builder.clone().http1_only(), http2: builder.http2_only() }
    }
}

/// The next connection, with small packets sent at once, and probed while it is silent: a client
/// that vanished must not keep a pod awake. Failures to accept are the machine's and pass; they
/// are not the listener's end.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    const AGAIN: Duration = Duration::from_millis(50);
    loop {
        let accepted = listener.accept().await;
        match accepted.and_then(|(stream, peer)| prepare(&stream).map(|()| (stream, peer))) {
            Ok(accepted) => return accepted,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "cannot accept connections");
                sleep(AGAIN).await;
            }
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    const SILENCE: Duration = Duration::from_secs(60);
    const PROBES: Duration = Duration::from_secs(10);
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(PROBES);
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

impl Inner {
    /// Serves HTTP on `listener` until the gateway drains.
    pub(crate) async fn accept_http(self: Arc<Self>, listener: TcpListener, tls: Option<Tls>) {
        let stopping = self.environment.stopping.clone();
        while let Some((stream, peer)) = stopping.run_until_cancelled(accept(&listener)).await {
            let serving = self.clone().serve_stream(stream, peer, tls.clone());
            self.environment.tasks.spawn(serving);
        }
    }

    async fn serve_stream(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, tls: Option<Tls>) {
        let Some(_counted) = Clients::count(&self.clients, peer.ip()) else {
            self.environment.meters.refused_clients.increment(1);
            return;
        };
        match tls {
            // Boxed, as it is larger than its alternative.
            Some(tls) => Box::pin(self.serve_tls(stream, peer, tls)).await,
            None => self.serve_plain(stream, peer).await,
        }
    }

    async fn serve_plain(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        if let Some(http2) = self.in_time(starts_http2(&stream)).await {
            self.converse(stream, peer, false, http2).await;
        }
    }

    async fn serve_tls(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, tls: Tls) {
        if let Some((stream, http2)) = self.in_time(tls.accept(stream)).await {
            self.converse(stream, peer, true, http2).await;
        }
    }

    /// What a client begins with, unless it takes too long or the gateway drains meanwhile.
    async fn in_time<T>(&self, beginning: impl Future<Output = io::Result<T>>) -> Option<T> {
        let beginning = timeout(self.environment.config.clients.header_time, beginning);
        self.environment.stopping.run_until_cancelled(beginning).await?.ok()?.ok()
    }

    async fn converse<S>(self: Arc<Self>, stream: S, peer: SocketAddr, https: bool, http2: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(address) = HeaderValue::from_str(&peer.ip().to_canonical().to_string()) else { return };
        let window = if http2 { WINDOW } else { self.environment.config.clients.header_bytes };
        let client = Arc::new(Client { address, https, window });
        let service = service_fn(|request| {
            let (inner, client) = (self.clone(), client.clone());
            async move { Ok::<_, Infallible>(inner.serve(&client, request).await) }
        });
        let builder = if http2 { &self.http.http2 } else { &self.http.http1 };
        // Boxed, as there are many: the task would reserve room for both kinds of stream.
        let mut connection = Box::pin(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.environment.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            trace!(error = &*error as &dyn std::error::Error, "a client's connection broke");
        }
    }
}

/// Whether what a client sends first is the preface of HTTP/2 (RFC 9113 section 3.4), whose
/// beginning no request of HTTP/1 has.
async fn starts_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut beginning = [0; 4];
    let read = stream.peek(&mut beginning).await?;
    Ok(&beginning[..read] == b"PRI ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn a_client_that_vanishes_is_noticed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = accept(&listener).await;
        assert!(SockRef::from(&stream).keepalive().unwrap());
    }
}
