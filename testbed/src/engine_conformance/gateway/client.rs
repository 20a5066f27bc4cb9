//! Clients of the gateway, one connection for each request.

use std::net::SocketAddr;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::driving::PATIENCE;

pub(super) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

pub(super) fn empty() -> Body {
    Empty::new().boxed_unsync()
}

pub(super) fn full(bytes: &'static str) -> Body {
    Full::from(bytes).boxed_unsync()
}

/// A request for `path` of `host`.
pub(super) fn get(host: &str, path: &str) -> Request<Body> {
    Request::get(path).header("host", host).body(empty()).unwrap()
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    pub(super) trailers: HeaderMap,
}

impl Answer {
    pub(super) async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        Self { status: head.status.as_u16(), headers: head.headers, body, trailers }
    }

    /// The gateway's own word for what went wrong, where it answered by itself.
    pub(super) fn error(&self) -> Option<&str> {
        self.headers.get("x-apocryph-error").map(|code| code.to_str().unwrap())
    }
}

/// The head of the answer.
pub(super) async fn send(gateway: SocketAddr, request: Request<Body>) -> Response<Incoming> {
    let stream = TcpStream::connect(gateway).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap()
}

/// The same over HTTP/2 without TLS.
pub(super) async fn send_http2(gateway: SocketAddr, request: Request<Body>) -> Response<Incoming> {
    let stream = TcpStream::connect(gateway).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap()
}

/// The whole answer.
pub(super) async fn ask(gateway: SocketAddr, request: Request<Body>) -> Answer {
    Answer::read(send(gateway, request).await).await
}

/// The answer to `/ticks`, which comes line by line.
pub(super) struct Ticks {
    /// Which replica ticks.
    pub(super) run: String,
    body: http_body_util::BodyDataStream<Incoming>,
}

impl Ticks {
    pub(super) async fn begin(gateway: SocketAddr, host: &str, path: &str) -> Self {
        let mut body = send(gateway, get(host, path)).await.into_body().into_data_stream();
        let first = body.next().await.unwrap().unwrap();
        Self { run: String::from_utf8_lossy(&first).lines().next().unwrap().to_owned(), body }
    }

    /// Waits for so many pieces, tenths of a second apart.
    pub(super) async fn wait(&mut self, pieces: usize) {
        for _ in 0..pieces {
            timeout(PATIENCE, self.body.next()).await.expect("it ticks").expect("it goes on").unwrap();
        }
    }

    /// Waits for its end; whether that is one that the app meant.
    pub(super) async fn end(mut self) -> bool {
        let rest = async {
            loop {
                match self.body.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) => return false,
                    None => return true,
                }
            }
        };
        timeout(PATIENCE, rest).await.expect("it ends")
    }
}
