//! One port of one run of a replica, and the connections to it.

use crate::body::RequestBody;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How an app is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

/// A port that has accepted a connection.
pub(crate) struct Endpoint {
    address: SocketAddr,
    gone: CancellationToken,
    /// The connection that showed that the port listens, for the first request.
    first: Mutex<Option<(TcpStream, Instant)>>,
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Option<http2::SendRequest<RequestBody>>>,
}

struct Idle {
    sender: http1::SendRequest<RequestBody>,
    since: Instant,
}

/// What an app's answer came over.
pub(crate) struct Connection {
    endpoint: Arc<Endpoint>,
    sender: Option<http1::SendRequest<RequestBody>>,
}

/// A request that has no answer.
pub(crate) enum SendError {
    /// None of it was sent: it can be tried again.
    Unsent(Box<Request<RequestBody>>),
    /// Some of it may have been sent.
    Sent(hyper::Error),
}

type Sent = Result<(Response<Incoming>, Connection), SendError>;

/// Apps close idle connections after 2 s and more. A request that meets such a close halfway
/// cannot be tried again, so that connections are left unused before.
const FRESH: Duration = Duration::from_secs(1);
const MAX_IDLE: usize = 512;
const CONNECT_TIME: Duration = Duration::from_secs(1);

impl Endpoint {
    fn new(address: SocketAddr, gone: CancellationToken, first: TcpStream) -> Arc<Self> {
        Arc::new(Self {
            address,
            gone,
            first: Mutex::new(Some((first, Instant::now()))),
            idle: Mutex::default(),
            shared: Mutex::default(),
        })
    }

    /// Dials `address` until it accepts; for ever, as only the caller knows whether it still may.
    /// Everything over the endpoint's connections ends when `gone` is cancelled.
    pub(crate) async fn listening(address: SocketAddr, gone: CancellationToken) -> Arc<Self> {
        const QUICK: Duration = Duration::from_secs(30);
        let began = Instant::now();
        let mut pause_us = 1_000;
        loop {
            if let Ok(stream) = connect(address, &gone).await {
                return Self::new(address, gone, stream);
            }
            sleep(Duration::from_micros(rand::random_range(1_000..=pause_us))).await;
            let most_us = if began.elapsed() < QUICK { 10_000 } else { 1_000_000 };
            pause_us = (pause_us + pause_us / 4).min(most_us);
        }
    }

    /// Cancelled when the replica is gone.
    pub(crate) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// A connection of its own, for anything but pooled HTTP.
    pub(crate) async fn dial(&self) -> io::Result<TcpStream> {
        let first = lock(&self.first).take();
        match first {
            Some((stream, since)) if since.elapsed() < FRESH => Ok(stream),
            _ => connect(self.address, &self.gone).await,
        }
    }

    /// Sends `request` and gives its answer, over a pooled connection where there is one.
    pub(crate) async fn send(
        self: &Arc<Self>,
        request: Box<Request<RequestBody>>,
        protocol: Protocol,
    ) -> Sent {
        match protocol {
            Protocol::Http1 => self.send_http1(request).await,
            Protocol::H2c => self.send_http2(request).await,
        }
    }

    async fn send_http1(self: &Arc<Self>, mut request: Box<Request<RequestBody>>) -> Sent {
        while let Some(sender) = self.take_idle() {
            match self.send_over(sender, request).await {
                Err(SendError::Unsent(unsent)) => request = unsent,
                done => return done,
            }
        }
        // Boxed, as it is large and seldom.
        match Box::pin(self.connect_http1()).await {
            Ok(sender) => self.send_over(sender, request).await,
            Err(_) => Err(SendError::Unsent(request)),
        }
    }

    async fn send_over(
        self: &Arc<Self>,
        mut sender: http1::SendRequest<RequestBody>,
        request: Box<Request<RequestBody>>,
    ) -> Sent {
        let response = sender.try_send_request(*request).await?;
        Ok((response, Connection { endpoint: self.clone(), sender: Some(sender) }))
    }

    async fn send_http2(self: &Arc<Self>, request: Box<Request<RequestBody>>) -> Sent {
        let Ok(mut sender) = Box::pin(self.share_http2()).await else {
            return Err(SendError::Unsent(request));
        };
        let response = sender.try_send_request(*request).await?;
        Ok((response, Connection { endpoint: self.clone(), sender: None }))
    }

    async fn connect_http1(&self) -> io::Result<http1::SendRequest<RequestBody>> {
        let io = TokioIo::new(self.dial().await?);
        let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
        let gone = self.gone.clone();
        // How a connection ended is told to the request that was on it.
        tokio::spawn(async move { gone.run_until_cancelled_owned(connection.with_upgrades()).await });
        Ok(sender)
    }

    async fn share_http2(&self) -> io::Result<http2::SendRequest<RequestBody>> {
        if let Some(sender) = lock(&self.shared).clone().filter(|sender| !sender.is_closed()) {
            return Ok(sender);
        }
        let io = TokioIo::new(self.dial().await?);
        let handshake = http2::handshake(TokioExecutor::new(), io).await;
        let (sender, connection) = handshake.map_err(io::Error::other)?;
        let gone = self.gone.clone();
        tokio::spawn(async move { gone.run_until_cancelled_owned(connection).await });
        *lock(&self.shared) = Some(sender.clone());
        Ok(sender)
    }

    fn take_idle(&self) -> Option<http1::SendRequest<RequestBody>> {
        let mut idle = lock(&self.idle);
        if idle.last()?.since.elapsed() > FRESH {
            idle.clear();
        }
        let ready = idle.iter().rposition(|idle| idle.sender.is_ready())?;
        Some(idle.remove(ready).sender)
    }

    fn keep(&self, sender: http1::SendRequest<RequestBody>) {
        let mut idle = lock(&self.idle);
        if idle.len() >= MAX_IDLE {
            idle.retain(|idle| idle.sender.is_ready());
        }
        if idle.len() < MAX_IDLE && !sender.is_closed() {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }
}

impl Connection {
    /// Makes the connection free for the next request, when the answer has been read whole.
    pub(crate) fn give_back(self) {
        if let Some(sender) = self.sender {
            self.endpoint.keep(sender);
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl From<TrySendError<Request<RequestBody>>> for SendError {
    fn from(mut error: TrySendError<Request<RequestBody>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Unsent(Box::new(request)),
            None => Self::Sent(error.into_error()),
        }
    }
}

async fn connect(address: SocketAddr, gone: &CancellationToken) -> io::Result<TcpStream> {
    let connecting = timeout(CONNECT_TIME, TcpStream::connect(address));
    let in_time = gone.run_until_cancelled(connecting).await.ok_or(io::ErrorKind::ConnectionAborted)?;
    let stream = in_time??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
