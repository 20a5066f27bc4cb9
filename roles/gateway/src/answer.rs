//! The answers that are the gateway's own and not an app's.

use crate::WakeError;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// Tells the gateway's own answers from an app's; its value is [`Refusal::code`].
pub(crate) const ERROR_HEADER: HeaderName = HeaderName::from_static("x-apocryph-error");

/// Why the gateway did not pass on a request or connection, or has no answer to it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// No host, several, or something else: the client's fault.
    #[error("the request must name exactly one host")]
    BadHost,
    /// No pod has the host.
    #[error("there is no pod at this host")]
    UnknownHost,
    /// `CONNECT`: this is no forward proxy.
    #[error("the method CONNECT is not served here")]
    Connect,
    /// Too much waits already.
    #[error("too many requests wait for {who} to start")]
    HoldFull {
        /// Whose bound was reached.
        who: &'static str,
    },
    /// Too much is under way already.
    #[error("the pod has too many requests under way")]
    PodBusy,
    /// The pod does not start.
    #[error("{cause}")]
    StartFailed {
        /// Why.
        cause: Arc<WakeError>,
        /// When the gateway tries again.
        retry_after: Duration,
    },
    /// The engine did not start the pod in time.
    #[error("the pod did not start in time")]
    StartTimeout,
    /// Nobody is there who could start the pod.
    #[error("the pod cannot be started now: the provider's daemon does not answer")]
    Away,
    /// The pod runs, but nothing listens.
    #[error("the pod started but nothing listens on its port {port}")]
    NeverListens {
        /// The container's port.
        port: u16,
    },
    /// The pod closed the connection before it answered, after it was sent some of the request.
    #[error("the pod closed the connection without an answer; the request may have had effect")]
    BackendClosed,
    /// The pod's answer is not valid HTTP.
    #[error("the pod's answer is not valid HTTP")]
    BackendInvalid,
    /// The pod accepts connections but takes no request.
    #[error("the pod closes connections before it is sent anything")]
    BackendRefused,
    /// The gateway is stopping.
    #[error("the gateway is restarting")]
    ShuttingDown,
}

#[derive(Serialize)]
struct Problem<'a> {
    error: &'a str,
    message: String,
    retry: bool,
}

impl Refusal {
    /// A stable name of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadHost => "bad_host",
            Self::UnknownHost => "unknown_host",
            Self::Connect => "connect",
            Self::HoldFull { .. } => "hold_full",
            Self::PodBusy => "pod_busy",
            Self::StartFailed { cause, .. } => cause.code(),
            Self::StartTimeout => "start_timeout",
            Self::Away => "daemon_away",
            Self::NeverListens { .. } => "never_listens",
            Self::BackendClosed => "backend_closed",
            Self::BackendInvalid => "backend_invalid",
            Self::BackendRefused => "backend_refused",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadHost => StatusCode::BAD_REQUEST,
            Self::UnknownHost => StatusCode::NOT_FOUND,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::HoldFull { .. } | Self::PodBusy | Self::ShuttingDown | Self::Away => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::StartFailed { cause, .. } => start_status(cause),
            Self::StartTimeout | Self::NeverListens { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::BackendClosed | Self::BackendInvalid | Self::BackendRefused => StatusCode::BAD_GATEWAY,
        }
    }

    /// After how long the client may try again, where that can help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::HoldFull { .. } | Self::PodBusy | Self::ShuttingDown | Self::Away => {
                Some(Duration::from_secs(1))
            }
            Self::StartFailed { cause, retry_after } if cause.retry() => Some(*retry_after),
            _ => None,
        }
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let retry_after = self.retry_after();
        let problem = Problem { error: self.code(), message: self.to_string(), retry: retry_after.is_some() };
        // A struct of texts and a flag always serialises.
        let json = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Full::from(json));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(ERROR_HEADER, HeaderValue::from_static(self.code()));
        if let Some(after) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response
    }
}

fn start_status(cause: &WakeError) -> StatusCode {
    match cause {
        WakeError::Image { .. } | WakeError::Exited { .. } | WakeError::OutOfMemory { .. } => {
            StatusCode::BAD_GATEWAY
        }
        WakeError::OutOfFunds
        | WakeError::NoRoom { .. }
        | WakeError::ClusterUnreachable
        | WakeError::Engine(_) => StatusCode::SERVICE_UNAVAILABLE,
        WakeError::Removed => StatusCode::NOT_FOUND,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn an_answer_names_its_cause_and_when_to_retry() {
        let cause = Arc::new(WakeError::NoRoom { resource: "memory".into() });
        let refusal = Refusal::StartFailed { cause, retry_after: Duration::from_secs(4) };
        let response = refusal.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "4");
        assert_eq!(response.headers()[ERROR_HEADER], "no_room");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        insta::assert_snapshot!(
            std::str::from_utf8(&body).unwrap(),
            @r#"{"error":"no_room","message":"the provider has too little memory left to start the pod","retry":true}"#
        );
    }

    #[test]
    fn what_only_its_publisher_can_mend_is_not_retried() {
        let cause = Arc::new(WakeError::Exited { reason: "container web exited with code 1".into() });
        let refusal = Refusal::StartFailed { cause, retry_after: Duration::from_secs(4) };
        assert_eq!((refusal.status().as_u16(), refusal.retry_after()), (502, None));
    }

    #[test]
    fn an_internal_cause_stays_internal() {
        let secret = WakeError::Engine("open /var/lib/secret".into());
        assert!(!secret.to_string().contains("secret"));
    }
}
