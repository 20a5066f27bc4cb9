//! What the gateway counts, through the `metrics` facade. A recorder is installed before the
//! gateway is made, as the handles are taken once.

use crate::Refusal;
use http::StatusCode;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct Meters {
    answers: [Counter; 5],
    request_seconds: Histogram,
    start_seconds: Histogram,
    starts: Counter,
    stops: Counter,
    pub(crate) held: Gauge,
    pub(crate) tcp_connections: Counter,
    pub(crate) refused_clients: Counter,
}

impl Meters {
    pub(crate) fn new() -> Self {
        describe();
        let answers = ["1xx", "2xx", "3xx", "4xx", "5xx"]
            .map(|class| counter!("apocryph_gateway_requests_total", "status" => class));
        Self {
            answers,
            request_seconds: histogram!("apocryph_gateway_request_seconds"),
            start_seconds: histogram!("apocryph_gateway_start_seconds"),
            starts: counter!("apocryph_gateway_starts_total"),
            stops: counter!("apocryph_gateway_stops_total"),
            held: gauge!("apocryph_gateway_held_requests"),
            tcp_connections: counter!("apocryph_gateway_tcp_connections_total"),
            refused_clients: counter!("apocryph_gateway_refused_clients_total"),
        }
    }

    /// A request was answered with `status`, its head after `time`.
    pub(crate) fn answered(&self, status: StatusCode, time: Duration) {
        if let Some(class) = self.answers.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            class.increment(1);
        }
        self.request_seconds.record(time);
    }

    /// A request or connection was refused by the gateway itself.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        counter!("apocryph_gateway_errors_total", "cause" => refusal.code()).increment(1);
    }

    /// The engine started a pod within `time`.
    pub(crate) fn started(&self, time: Duration) {
        self.starts.increment(1);
        self.start_seconds.record(time);
    }

    /// A start failed.
    pub(crate) fn start_failed(&self, cause: &'static str) {
        counter!("apocryph_gateway_start_failures_total", "cause" => cause).increment(1);
    }

    /// A pod went to zero.
    pub(crate) fn stopped(&self) {
        self.stops.increment(1);
    }
}

fn describe() {
    describe_counter!("apocryph_gateway_requests_total", "HTTP requests answered, by class of status");
    describe_counter!("apocryph_gateway_errors_total", "Requests and connections refused, by cause");
    describe_counter!("apocryph_gateway_starts_total", "Starts of pods");
    describe_counter!("apocryph_gateway_start_failures_total", "Starts that failed and replicas that died");
    describe_counter!("apocryph_gateway_stops_total", "Pods that went to zero");
    describe_counter!("apocryph_gateway_tcp_connections_total", "Connections to published TCP ports");
    describe_counter!("apocryph_gateway_refused_clients_total", "Connections above a client's limit");
    describe_gauge!("apocryph_gateway_held_requests", "Requests that wait for a pod");
    describe_histogram!(
        "apocryph_gateway_request_seconds",
        Unit::Seconds,
        "From a request's head to its answer's head, time held included"
    );
    describe_histogram!("apocryph_gateway_start_seconds", Unit::Seconds, "What the engine takes to start");
}
