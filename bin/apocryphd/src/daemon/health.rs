//! `/metrics` for Prometheus, `/healthz` and `/readyz`, on a listener of their own.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::interval,
};
use tracing::{debug, warn};

/// Connections at once.
const CONNECTIONS: usize = 32;
/// How long a client may take over a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How often old samples are let go.
const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds of the histograms' buckets, in seconds: from a warm request to a slow start.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Whether requests are to come to this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// They are.
    Ready,
    /// Not while this is so.
    Waits(String),
}

/// Takes the meters of the whole process; before anything that has some is made.
pub(crate) fn install_meters() -> PrometheusHandle {
    let builder = PrometheusBuilder::new();
    // Only an empty list of buckets is refused.
    let builder = builder.set_buckets(&BUCKETS).unwrap_or_default();
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        warn!("the meters are taken by someone else");
    }
    handle
}

/// Answers for as long as it is polled.
pub(crate) async fn serve(
    listener: TcpListener,
    meters: PrometheusHandle,
    ready: watch::Receiver<Readiness>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut upkeep = interval(UPKEEP);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = upkeep.tick() => {
                meters.run_upkeep();
                continue;
            }
        };
        match (accepted, places.clone().try_acquire_owned()) {
            (Ok((stream, _)), Ok(place)) => {
                drop(tokio::spawn(converse(stream, meters.clone(), ready.clone(), place)));
            }
            (Ok(_), Err(_)) => debug!("too many connections to the health listener"),
            (Err(error), _) => {
                warn!(%error, "the health listener cannot accept a connection");
                upkeep.tick().await;
            }
        }
    }
}

async fn converse(
    stream: TcpStream,
    meters: PrometheusHandle,
    ready: watch::Receiver<Readiness>,
    _place: OwnedSemaphorePermit,
) {
    let service = service_fn(|request| {
        let response = answer(&request, &meters, &ready.borrow());
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        debug!(%error, "a connection to the health listener broke");
    }
}

fn answer(
    request: &Request<Incoming>,
    meters: &PrometheusHandle,
    ready: &Readiness,
) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/readyz" => match ready {
            Readiness::Ready => (StatusCode::OK, "ready\n".into()),
            Readiness::Waits(cause) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {cause}\n")),
        },
        "/healthz" => (StatusCode::OK, "ok\n".into()),
        "/metrics" => (StatusCode::OK, meters.render()),
        _ => (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".into()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}
