//! Small apps, as they stand behind a gateway.

use bytes::Bytes;
use futures::{SinkExt, StreamExt, channel::mpsc};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

/// A server of HTTP/1.1 and h2c. What it answers is in [`answer`].
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl App {
    pub(crate) async fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(serve(listener, requests.clone()));
        Self { address, requests, task }
    }

    /// Stops listening, and cuts every connection.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        // An aborted task ends as cancelled.
        let _ = (&mut self.task).await;
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, requests: Arc<AtomicUsize>) {
    let name = listener.local_addr().unwrap().to_string();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (requests, name) = (requests.clone(), name.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                requests.fetch_add(1, Ordering::SeqCst);
                let name = name.clone();
                async move { Ok::<_, Infallible>(answer(request, name).await) }
            });
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, name: String) -> Response<Body> {
    match request.uri().path() {
        "/echo" => echo(request),
        "/headers" => text(format!("{:?} {:?} {:#?}", request.version(), request.uri(), request.headers())),
        "/stream" => stream(),
        "/upgrade" => upgrade(request),
        "/grpc" => grpc(request).await,
        "/forges" => {
            let mut response = text("forged".into());
            response.headers_mut().insert("x-apocryph-error", HeaderValue::from_static("out_of_funds"));
            response
        }
        _ => text(name),
    }
}

fn text(text: String) -> Response<Body> {
    Response::new(Full::from(text).map_err(|never| match never {}).boxed())
}

/// Gives back what comes, piece by piece, with trailers.
fn echo(request: Request<Incoming>) -> Response<Body> {
    let mut response = Response::new(request.into_body().boxed());
    response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-sum"));
    response
}

/// Sends a piece and then nothing, for ever.
fn stream() -> Response<Body> {
    let (mut sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        sender.send(Ok(Frame::data(Bytes::from_static(b"data: 1\n\n")))).await.unwrap();
        futures::future::poll_fn(|context| sender.poll_ready(context).map(|_| ())).await;
        std::future::pending::<()>().await;
    });
    Response::new(BodyExt::boxed(StreamBody::new(receiver)))
}

/// Switches to a protocol that gives back what comes.
fn upgrade(mut request: Request<Incoming>) -> Response<Body> {
    let to = request.headers().get(header::UPGRADE).cloned();
    let Some(to) = to else { return text("not asked to switch".into()) };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = TokioIo::new(upgrade.await.unwrap());
        let (mut read, mut write) = tokio::io::split(io);
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let mut response = text(String::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, to);
    response
}

/// Answers as gRPC does: the outcome comes in the trailers.
async fn grpc(request: Request<Incoming>) -> Response<Body> {
    let version = format!("{:?}", request.version());
    let message = request.into_body().collect().await.unwrap().to_bytes();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Frame::data(message), Frame::trailers(trailers)];
    let body = StreamBody::new(futures::stream::iter(frames).map(Ok));
    let mut response = Response::new(BodyExt::boxed(body));
    response.headers_mut().insert("x-version", HeaderValue::from_str(&version).unwrap());
    response
}

/// A listener whose every connection is given to `serve`, and how many there were.
pub(crate) async fn raw<F, S>(serve: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream));
        }
    });
    (address, accepted)
}

/// Reads a request's head; `None` where the connection ends before.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

pub(crate) async fn write_ok(stream: &mut TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
}
