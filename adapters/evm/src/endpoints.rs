//! The chain's RPC endpoints as one transport: the one that answered last is asked first, the
//! others when it does not answer in time. None is believed before it has named its chain.

use alloy::providers::{Provider, RootProvider};
use alloy::rpc::client::RpcClient;
use alloy::rpc::json_rpc::{ErrorPayload, RequestPacket, ResponsePacket};
use alloy::transports::http::{Http, reqwest};
use alloy::transports::{TransportError, TransportErrorKind, TransportFut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::Service;
use url::Url;

/// How long one endpoint may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(crate) struct Endpoints(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: Vec<Endpoint>,
    /// Which one answered last.
    preferred: AtomicUsize,
    chain: u64,
}

#[derive(Debug)]
struct Endpoint {
    /// Without path and query, which may hold an access key.
    host: String,
    http: Http<reqwest::Client>,
    /// Whether it was seen to serve the chain.
    named: AtomicBool,
}

/// Why an endpoint was passed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("serves chain {found}")]
    WrongChain { found: u64 },
    #[error("{host} {problem}")]
    NoAnswer { host: String, problem: String },
}

impl Endpoints {
    pub(crate) fn new(urls: &[Url], chain: u64) -> Self {
        let client = reqwest::Client::new();
        let all = urls.iter().map(|url| Endpoint::new(client.clone(), url)).collect();
        Self(Arc::new(Inner { all, preferred: AtomicUsize::new(0), chain }))
    }

    async fn ask(&self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let count = self.0.all.len();
        let first = self.0.preferred.load(Ordering::Relaxed);
        let mut failure = None;
        for index in (0..count).map(|i| (first + i) % count) {
            match self.0.all[index].ask(request.clone(), self.0.chain).await {
                Ok(answer) => {
                    self.0.preferred.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => {
                    tracing::debug!(%error, "chain endpoint passed over");
                    failure = Some(more_telling(failure, error));
                }
            }
        }
        let nowhere = || EndpointError::NoAnswer { host: "none".into(), problem: "is configured".into() };
        Err(TransportErrorKind::custom(failure.unwrap_or_else(nowhere)))
    }
}

/// An endpoint that is away may serve the right chain when it is back, so that counts for more
/// than one that serves another.
fn more_telling(before: Option<EndpointError>, now: EndpointError) -> EndpointError {
    match before {
        Some(before @ EndpointError::NoAnswer { .. }) => before,
        _ => now,
    }
}

impl Endpoint {
    fn new(client: reqwest::Client, url: &Url) -> Self {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", url.host_str().unwrap_or_default());
        Self { host, http: Http::with_client(client, url.clone()), named: AtomicBool::new(false) }
    }

    async fn ask(&self, request: RequestPacket, chain: u64) -> Result<ResponsePacket, EndpointError> {
        if !self.named.load(Ordering::Relaxed) {
            let found = self.in_time(self.chain()).await?;
            if found != chain {
                return Err(EndpointError::WrongChain { found });
            }
            self.named.store(true, Ordering::Relaxed);
        }
        let answer = self.in_time(self.http.clone().call(request)).await?;
        if answer.iter_errors().any(is_busy) {
            return Err(self.no_answer("is too busy"));
        }
        Ok(answer)
    }

    async fn chain(&self) -> Result<u64, TransportError> {
        let provider: RootProvider = RootProvider::new(RpcClient::new(self.http.clone(), true));
        provider.get_chain_id().await
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, EndpointError> {
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.no_answer(&problem(&error))),
            Err(_) => Err(self.no_answer("does not answer in time")),
        }
    }

    fn no_answer(&self, problem: &str) -> EndpointError {
        EndpointError::NoAnswer { host: self.host.clone(), problem: problem.into() }
    }
}

/// Whether an endpoint asks to be left alone. Some use the same number for a question whose answer
/// is too long.
fn is_busy(error: &ErrorPayload) -> bool {
    error.is_retry_err() && !["results", "range"].iter().any(|word| error.message.contains(word))
}

/// What went wrong, without the address, which may hold an access key.
fn problem(error: &TransportError) -> String {
    let TransportError::Transport(kind) = error else {
        return "answers nonsense".into();
    };
    if let Some(http) = kind.as_http_error() {
        return format!("answers with HTTP status {}", http.status);
    }
    match kind.as_custom().and_then(|e| e.downcast_ref::<reqwest::Error>()) {
        Some(e) if e.is_connect() => "cannot be connected to".into(),
        _ => "breaks the connection off".into(),
    }
}

impl Service<RequestPacket> for Endpoints {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        let endpoints = self.clone();
        Box::pin(async move { endpoints.ask(request).await })
    }
}
