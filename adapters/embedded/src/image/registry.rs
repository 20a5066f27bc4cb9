//! A client of the provider's registry endpoint (OCI Distribution 1.1, pull by digest).

use std::net::SocketAddr;
use std::time::Duration;

use apocryph_model::{ChannelId, Digest};
use apocryph_seal::sha256;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::error::ImageError;
use super::wire::MAX_DOCUMENT;

/// How long the endpoint, which is on this host, may take over a request's next bytes.
pub(super) const STALLED: Duration = Duration::from_secs(30);

const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
                        application/vnd.docker.distribution.manifest.v2+json";

/// Pulls from one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct RegistryClient {
    client: Client<HttpConnector, Empty<Bytes>>,
    endpoint: SocketAddr,
}

/// What opens one pod's images.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) pod: ChannelId,
    pub(crate) token: &'a str,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Manifest,
    Blob,
}

impl RegistryClient {
    pub(crate) fn new(endpoint: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), endpoint }
    }

    /// A manifest or configuration, whole and verified.
    pub(super) async fn document(
        &self,
        scope: Scope<'_>,
        kind: Kind,
        digest: Digest,
    ) -> Result<Bytes, ImageError> {
        let body = Limited::new(self.stream(scope, kind, digest).await?, MAX_DOCUMENT as usize);
        let body = tokio::time::timeout(STALLED, body.collect()).await;
        let body = body.map_err(|_| ImageError::Registry(format!("{digest} stalled")))?;
        let bytes = body.map_err(|_| ImageError::Damaged { digest })?.to_bytes();
        if sha256(&bytes) == digest { Ok(bytes) } else { Err(ImageError::Damaged { digest }) }
    }

    /// The body of a blob, unverified.
    pub(super) async fn stream(
        &self,
        scope: Scope<'_>,
        kind: Kind,
        digest: Digest,
    ) -> Result<Incoming, ImageError> {
        let request = self.request(scope, kind, digest)?;
        let answer = tokio::time::timeout(STALLED, self.client.request(request)).await;
        let answer = answer.map_err(|_| ImageError::Registry("no answer".into()))?;
        let answer = answer.map_err(|error| ImageError::Registry(error.to_string()))?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Err(ImageError::Missing(digest)),
            status => Err(ImageError::Registry(format!("{status} for {digest}"))),
        }
    }

    fn request(
        &self,
        scope: Scope<'_>,
        kind: Kind,
        digest: Digest,
    ) -> Result<Request<Empty<Bytes>>, ImageError> {
        let kind = match kind {
            Kind::Manifest => "manifests",
            Kind::Blob => "blobs",
        };
        Request::get(format!("http://{}/v2/{}/{kind}/{digest}", self.endpoint, scope.pod))
            .header(AUTHORIZATION, format!("Bearer {}", scope.token))
            .header(ACCEPT, ACCEPTED)
            .body(Empty::new())
            .map_err(|error| ImageError::Registry(error.to_string()))
    }
}
