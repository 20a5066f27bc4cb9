//! Clients that speak HTTP to the gateway.

use crate::app::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) type Http1 = http1::SendRequest<Body>;
pub(crate) type Http2 = http2::SendRequest<Body>;

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A request for `path` of `host`.
pub(crate) fn get(host: &str, path: &str) -> Request<Body> {
    Request::get(path).header("host", host).body(empty()).unwrap()
}

pub(crate) async fn http1_over<S>(stream: S) -> Http1
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

pub(crate) async fn http2_over<S>(stream: S) -> Http2
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) async fn http1(gateway: SocketAddr) -> Http1 {
    http1_over(TcpStream::connect(gateway).await.unwrap()).await
}

pub(crate) async fn http2(gateway: SocketAddr) -> Http2 {
    http2_over(TcpStream::connect(gateway).await.unwrap()).await
}

/// Sends one request on a connection of its own.
pub(crate) async fn send(gateway: SocketAddr, request: Request<Body>) -> Response<Incoming> {
    http1(gateway).await.send_request(request).await.unwrap()
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        Self { status: parts.status, headers: parts.headers, body, trailers }
    }

    /// The gateway's own error code, if it is the gateway's answer.
    pub(crate) fn error(&self) -> Option<&str> {
        self.headers.get("x-apocryph-error").map(|code| code.to_str().unwrap())
    }
}

/// Sends one request and reads its answer.
pub(crate) async fn ask(gateway: SocketAddr, request: Request<Body>) -> Answer {
    Answer::read(send(gateway, request).await).await
}

/// Sends bytes as they are and reads until the gateway closes.
pub(crate) async fn raw(gateway: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A gateway that has read enough may reset the connection.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
