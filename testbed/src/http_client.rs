//! Clients that speak HTTP to a gateway under test, one connection each. What fails panics; see
//! [`clients`](crate::clients) for those that tell.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "these are tests' clients: what fails is to panic"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the head of an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a request carries.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;
/// A connection that speaks HTTP/1.1.
pub type Http1 = http1::SendRequest<Body>;
/// A connection that speaks HTTP/2.
pub type Http2 = http2::SendRequest<Body>;

/// No body.
pub fn empty() -> Body {
    Empty::new().boxed_unsync()
}

/// A body in one piece.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// A body in one piece, and one trailer behind it.
pub fn with_trailer(bytes: &'static str, name: &'static str, value: &'static str) -> Body {
    let trailers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
    let frames = [Frame::data(Bytes::from(bytes)), Frame::trailers(trailers)];
    StreamBody::new(futures::stream::iter(frames.map(Ok))).boxed_unsync()
}

/// A request for `path` of `host`.
pub fn get(host: &str, path: &str) -> Request<Body> {
    Request::get(path).header("host", host).body(empty()).unwrap()
}

/// HTTP/1.1 over a stream, which may be upgraded.
pub async fn http1_over<S>(stream: S) -> Http1
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

/// HTTP/2 over a stream.
pub async fn http2_over<S>(stream: S) -> Http2
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// HTTP/1.1 without TLS.
pub async fn http1(gateway: SocketAddr) -> Http1 {
    http1_over(TcpStream::connect(gateway).await.unwrap()).await
}

/// HTTP/2 without TLS, by a client that knows that the gateway speaks it.
pub async fn http2(gateway: SocketAddr) -> Http2 {
    http2_over(TcpStream::connect(gateway).await.unwrap()).await
}

/// The head of the answer over HTTP/1.1.
pub async fn send(gateway: SocketAddr, request: Request<Body>) -> Response<Incoming> {
    let mut client = http1(gateway).await;
    timeout(PATIENCE, client.send_request(request)).await.expect("an answer").unwrap()
}

/// The head of the answer over HTTP/2.
pub async fn send_http2(gateway: SocketAddr, request: Request<Body>) -> Response<Incoming> {
    let mut client = http2(gateway).await;
    timeout(PATIENCE, client.send_request(request)).await.expect("an answer").unwrap()
}

/// The whole answer over HTTP/1.1.
pub async fn ask(gateway: SocketAddr, request: Request<Body>) -> Answer {
    Answer::read(send(gateway, request).await).await
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// What stands before the body.
    pub headers: HeaderMap,
    /// The body, which is text.
    pub body: String,
    /// What stands behind the body.
    pub trailers: HeaderMap,
}

impl Answer {
    /// Reads to the end of the answer.
    pub async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        Self { status: head.status.as_u16(), headers: head.headers, body, trailers }
    }

    /// The gateway's own word for what went wrong, where it answered by itself.
    pub fn error(&self) -> Option<&str> {
        self.headers.get("x-apocryph-error").map(|code| code.to_str().unwrap())
    }
}
