//! Stands between an engine and the API server, and fails as API servers do.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// They are passed on, but for watches.
    Blind,
    /// They are passed on.
    Answering,
    /// Their connections are closed.
    Away,
    /// Nothing becomes of them.
    Silent,
}

/// How a watch is told that it asks for versions that are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgotten {
    /// By the status of the answer.
    Status,
    /// By an event, as API servers do that have a cache.
    Event,
}

/// An API server that can be made to fail. Ends with this value.
pub(crate) struct FaultyApi(Arc<Switch>, tokio::task::AbortHandle);

struct Switch {
    client: Client,
    mode: watch::Sender<Mode>,
    /// Raised to end all answers that are under way.
    cuts: watch::Sender<u32>,
    forgotten: Mutex<Vec<Forgotten>>,
    /// Writes so far, and looks at what is in one namespace.
    written: AtomicU32,
    looked: AtomicU32,
    /// Writes until nothing is answered any more.
    writes: Mutex<Option<u32>>,
}

type Answer = Response<StreamBody<futures::stream::BoxStream<'static, Result<Frame<Bytes>, kube::Error>>>>;

impl FaultyApi {
    /// Serves what the file tells how to reach, and makes the file tell of this instead.
    pub(crate) async fn serve(kubeconfig: &Path) -> Self {
        let file = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        redirect(kubeconfig, listener.local_addr().unwrap());
        let ((mode, _), (cuts, _)) = (watch::channel(Mode::Answering), watch::channel(0));
        let (forgotten, written, looked, writes) = Default::default();
        let switch = Arc::new(Switch { client, mode, cuts, forgotten, written, looked, writes });
        let accepting = tokio::spawn(accept(listener, switch.clone())).abort_handle();
        Self(switch, accepting)
    }

    /// Everything is as it should be.
    pub(crate) fn answers(&self) {
        *self.0.writes.lock().unwrap() = None;
        self.0.mode.send_replace(Mode::Answering);
    }

    /// Nobody is there.
    pub(crate) fn goes_away(&self) {
        self.0.mode.send_replace(Mode::Away);
        self.cut();
    }

    /// Watches are cut, and none can be begun.
    pub(crate) fn goes_blind(&self) {
        self.0.mode.send_replace(Mode::Blind);
        self.cut();
    }

    /// Watches ask for a version that is forgotten, until all is listed anew; once for each of these.
    pub(crate) fn forgets(&self, how: &[Forgotten]) {
        *self.0.forgotten.lock().unwrap() = how.to_vec();
    }

    /// Whether it has been listed so often.
    pub(crate) fn has_told(&self) -> bool {
        self.0.forgotten.lock().unwrap().is_empty()
    }

    /// After so many writes from now on nothing is answered, not even the last of them.
    pub(crate) fn falls_silent_after(&self, writes: u32) {
        *self.0.writes.lock().unwrap() = Some(writes);
    }

    /// How often it was asked to write anything.
    pub(crate) fn written(&self) -> u32 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// How often it was asked for a namespace, or what is in one.
    pub(crate) fn looked(&self) -> u32 {
        self.0.looked.load(Ordering::Relaxed)
    }

    /// Returns once it has fallen silent.
    pub(crate) async fn silent(&self) {
        let _ = self.0.mode.subscribe().wait_for(|mode| *mode == Mode::Silent).await;
    }

    fn cut(&self) {
        self.0.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for FaultyApi {
    fn drop(&mut self) {
        self.1.abort();
    }
}

fn redirect(kubeconfig: &Path, address: SocketAddr) {
    let mut config: Value = serde_json::from_slice(&std::fs::read(kubeconfig).unwrap()).unwrap();
    for cluster in config["clusters"].as_array_mut().unwrap() {
        cluster["cluster"] = json!({ "server": format!("http://{address}") });
    }
    for user in config["users"].as_array_mut().unwrap() {
        user["user"] = json!({});
    }
    std::fs::write(kubeconfig, config.to_string()).unwrap();
}

async fn accept(listener: TcpListener, switch: Arc<Switch>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, switch.clone()));
    }
}

async fn serve(stream: TcpStream, switch: Arc<Switch>) {
    let answer = service_fn(move |request| {
        let switch = switch.clone();
        async move { switch.answer(request).await }
    });
    // A connection that ends otherwise than by itself is what tests ask for.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

impl Switch {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Answer> {
        let query = request.uri().query().unwrap_or_default();
        let is_watch = query.split('&').any(|part| part == "watch=true");
        let is_write = request.method() != Method::GET;
        self.written.fetch_add(u32::from(is_write), Ordering::Relaxed);
        let is_look = !is_write && !is_watch && request.uri().path().contains("/namespaces/");
        self.looked.fetch_add(u32::from(is_look), Ordering::Relaxed);
        let mode = *self.mode.borrow();
        match mode {
            Mode::Away => return Err(io::ErrorKind::ConnectionReset.into()),
            Mode::Blind if is_watch => return Err(io::ErrorKind::ConnectionReset.into()),
            Mode::Silent => return std::future::pending().await,
            _ => {}
        }
        let forgotten = self.forgotten.lock().unwrap().last().copied();
        if is_watch && let Some(how) = forgotten {
            return Ok(gone(how));
        }
        if request.uri().path() == "/api/v1/pods" {
            // Whoever lists them asks for no version.
            self.forgotten.lock().unwrap().pop();
        }
        let cut = self.cuts.subscribe();
        let answer = self.pass_on(request, cut).await;
        if is_write && self.is_last_write() {
            self.mode.send_replace(Mode::Silent);
            return std::future::pending().await;
        }
        answer
    }

    fn is_last_write(&self) -> bool {
        let mut writes = self.writes.lock().unwrap();
        let Some(left) = writes.as_mut() else { return false };
        *left = left.saturating_sub(1);
        *left == 0
    }

    async fn pass_on(&self, request: Request<Incoming>, mut cut: watch::Receiver<u32>) -> io::Result<Answer> {
        let (mut head, body) = request.into_parts();
        for name in [HOST, CONTENT_LENGTH, CONNECTION] {
            head.headers.remove(name);
        }
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let request = Request::from_parts(head, Body::from(body.to_vec()));
        let answer = self.client.send(request).await.map_err(io::Error::other)?;
        let (mut head, body) = answer.into_parts();
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
            head.headers.remove(name);
        }
        let cut = async move { drop(cut.changed().await) };
        let frames = BodyStream::new(body).take_until(Box::pin(cut));
        Ok(Response::from_parts(head, StreamBody::new(frames.boxed())))
    }
}

fn gone(how: Forgotten) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired",
        "message": "too old resource version", "code": 410,
    });
    let (code, body) = match how {
        Forgotten::Status => (StatusCode::GONE, status),
        Forgotten::Event => (StatusCode::OK, json!({ "type": "ERROR", "object": status })),
    };
    let frame = Ok(Frame::data(Bytes::from(format!("{body}\n"))));
    let mut answer = Response::new(StreamBody::new(futures::stream::iter([frame]).boxed()));
    *answer.status_mut() = code;
    answer.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    answer
}
