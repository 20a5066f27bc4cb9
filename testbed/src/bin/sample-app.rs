//! The app in pods of tests: HTTP/1.1, and HTTP/2 without TLS, at port 8080; at port 9090 whatever comes is
//! given back. It writes a line for each request, and ends when it is asked to, once no `/ticks` are under way.

#![expect(clippy::print_stdout, reason = "its lines are what tests read")]

use std::convert::Infallible;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

const HTTP: u16 = 8080;
const ECHO: u16 = 9090;
/// How often `/ticks` tells that it still runs.
const TICK: Duration = Duration::from_millis(100);

/// Tells this run from every other.
static RUN: LazyLock<String> = LazyLock::new(|| format!("{:016x}", RandomState::new().hash_one(HTTP)));
/// How many `/ticks` are under way.
static TICKING: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));
/// Requests so far.
static REQUESTS: AtomicUsize = AtomicUsize::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut asked_to_end = signal(SignalKind::terminate())?;
    let http = TcpListener::bind((Ipv4Addr::UNSPECIFIED, HTTP)).await?;
    let echo = TcpListener::bind((Ipv4Addr::UNSPECIFIED, ECHO)).await?;
    tokio::select! {
        _ = ends(&mut asked_to_end) => Ok(()),
        ended = serve(http) => ended,
        ended = give_back(echo) => ended,
    }
}

/// Returns when it is asked to end, and nothing is under way.
async fn ends(asked: &mut Signal) {
    asked.recv().await;
    // The sender lives as long as this program.
    let _ = TICKING.subscribe().wait_for(|ticking| *ticking == 0).await;
}

/// Something that keeps it from ending.
struct UnderWay;

impl UnderWay {
    fn begin() -> Self {
        TICKING.send_modify(|ticking| *ticking += 1);
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        TICKING.send_modify(|ticking| *ticking -= 1);
    }
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(request).await) });
            let server = auto::Builder::new(TokioExecutor::new());
            // Clients may break off.
            let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}

async fn give_back(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    // Clients may break off.
    let _ = tokio::io::copy(&mut read, &mut write).await;
}

async fn answer(request: Request<Incoming>) -> Response<Body> {
    println!("{} {}", request.method(), request.uri().path());
    let before = REQUESTS.fetch_add(1, Ordering::Relaxed);
    match request.uri().path() {
        "/count" => text(before.to_string()),
        "/die" => std::process::exit(3),
        "/seen" => text(format!("{:?} {} {:#?}", request.version(), request.uri(), request.headers())),
        "/version" => text(std::env::var("VERSION").unwrap_or_default()),
        "/ticks" => ticks(request.uri().query().and_then(|count| count.parse().ok())),
        "/echo" => {
            let mut response = Response::new(request.into_body().boxed_unsync());
            response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-sum"));
            response
        }
        "/grpc" => grpc(request).await,
        "/upgrade" => upgrade(request),
        _ => text(RUN.clone()),
    }
}

fn text(text: String) -> Response<Body> {
    Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync())
}

/// Its name, and a line for every tick, so many or for ever.
fn ticks(count: Option<usize>) -> Response<Body> {
    let first = stream::iter([format!("{}\n", *RUN)]);
    let ticks = stream::repeat(()).take(count.unwrap_or(usize::MAX)).then(|()| async {
        tokio::time::sleep(TICK).await;
        "tick\n".to_owned()
    });
    let under_way = UnderWay::begin();
    let frames = first.chain(ticks).map(move |line: String| {
        let _under_way = &under_way;
        Ok(Frame::data(line.into()))
    });
    Response::new(StreamBody::new(frames).boxed_unsync())
}

/// Gives the message back as gRPC does, with the outcome in the trailers.
async fn grpc(request: Request<Incoming>) -> Response<Body> {
    let version =
        HeaderValue::from_static(if request.version() == http::Version::HTTP_2 { "2" } else { "1" });
    let message = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Frame::data(message), Frame::trailers(trailers)];
    let mut response = Response::new(StreamBody::new(stream::iter(frames.map(Ok))).boxed_unsync());
    response.headers_mut().insert("x-version", version);
    response
}

/// Switches to a protocol that gives back what comes.
fn upgrade(mut request: Request<Incoming>) -> Response<Body> {
    let to = request.headers().get(header::UPGRADE).cloned();
    let Some(to) = to else { return text("not asked to switch".into()) };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        // Clients may break off.
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let mut response = text(String::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, to);
    response
}
