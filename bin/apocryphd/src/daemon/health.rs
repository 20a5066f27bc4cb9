//! `/metrics` for Prometheus and `/healthz`, on a listener of their own.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore, time::interval};
use tracing::{debug, warn};

/// Connections at once.
const CONNECTIONS: usize = 32;
/// How long a client may take over a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How often old samples are let go.
const UPKEEP: Duration = Duration::from_secs(5);

/// Takes the meters of the whole process; before anything that has some is made.
pub(super) fn install_meters() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        warn!("the meters are taken by someone else");
    }
    handle
}

pub(super) async fn serve(listener: TcpListener, meters: PrometheusHandle) {
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
        let (Ok((stream, _)), Ok(place)) = (accepted, places.clone().try_acquire_owned()) else { continue };
        let meters = meters.clone();
        let service = service_fn(move |request| {
            let meters = meters.clone();
            async move { Ok::<_, Infallible>(answer(&request, &meters)) }
        });
        tokio::spawn(async move {
            let _place = place;
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                debug!(%error, "a connection to the health listener broke");
            }
        });
    }
}

fn answer(request: &Request<Incoming>, meters: &PrometheusHandle) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/healthz" => (StatusCode::OK, "ok\n".into()),
        "/metrics" => (StatusCode::OK, meters.render()),
        _ => (StatusCode::NOT_FOUND, "there are /healthz and /metrics\n".into()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}
