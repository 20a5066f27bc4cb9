//! From a request to its answer.

use std::fs::File;
use std::io::{self, SeekFrom};
use std::ops::Range;

use apocryph_model::Digest;
use apocryph_seal::LayerKeys;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, IF_RANGE,
    RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::body::{Body, full, insert, json_response, streamed};
use super::decrypted::Decrypted;
use super::grants::Token;
use super::range::{Requested, requested};
use super::refusal::Refusal;
use super::route::{Route, route};
use super::shelf::{Content, Shelf};
use crate::limits::MAX_MANIFEST_LEN;
use crate::verified::Verified;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const BLOB: &str = "application/octet-stream";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Answers one request.
pub(super) async fn answer<B>(request: &Request<B>, shelf: &dyn Shelf) -> Response<Body> {
    let whole = answer_in_full(request, shelf).await;
    let response = whole.unwrap_or_else(Refusal::into_response);
    if request.method() == Method::HEAD {
        // The headers stay, with the length that the body would have.
        return response.map(|_| full(Bytes::new()));
    }
    response
}

async fn answer_in_full<B>(request: &Request<B>, shelf: &dyn Shelf) -> Result<Response<Body>, Refusal> {
    let token = authenticate(request.headers(), shelf)?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Refusal::Method);
    }
    match route(request.uri().path())? {
        Route::Base => Ok(json_response(StatusCode::OK, "{}")),
        Route::Manifest(digest) => {
            let content = open(shelf, &token, digest).await?;
            manifest_response(content.ok_or(Refusal::ManifestUnknown)?, digest).await
        }
        Route::Blob(digest) => {
            let content = open(shelf, &token, digest).await?;
            blob_response(content.ok_or(Refusal::BlobUnknown)?, digest, request.headers()).await
        }
    }
}

fn authenticate(headers: &HeaderMap, shelf: &dyn Shelf) -> Result<Token, Refusal> {
    headers
        .get(AUTHORIZATION)
        .and_then(Token::from_authorization)
        .filter(|token| shelf.knows(token))
        .ok_or(Refusal::Unauthorized)
}

/// `None` for what is not granted and what is not there alike.
async fn open(shelf: &dyn Shelf, token: &Token, digest: Digest) -> Result<Option<Content>, Refusal> {
    shelf.open(token, digest).await.map_err(|error| internal(digest, &error))
}

fn internal(digest: Digest, error: &io::Error) -> Refusal {
    tracing::error!(%digest, %error, "a blob cannot be read from the store");
    Refusal::Internal
}

async fn manifest_response(content: Content, digest: Digest) -> Result<Response<Body>, Refusal> {
    let bytes = match content {
        Content::Bytes(bytes) => bytes,
        Content::File(file) => read_manifest(file, digest).await.map_err(|error| internal(digest, &error))?,
        // A layer is no manifest.
        Content::Layer { .. } => return Err(Refusal::ManifestUnknown),
    };
    let mut response = sized(bytes.len() as u64, &media_type_of(&bytes), digest);
    *response.body_mut() = full(bytes);
    Ok(response)
}

/// A whole manifest of the store, verified.
pub(super) async fn read_manifest(file: File, digest: Digest) -> io::Result<Bytes> {
    let size = file.metadata()?.len();
    if size > MAX_MANIFEST_LEN {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too long for a manifest"));
    }
    let mut bytes = Vec::new();
    let file = tokio::fs::File::from_std(file);
    Verified::new(file, digest, size).read_to_end(&mut bytes).await?;
    Ok(bytes.into())
}

fn media_type_of(manifest: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: String,
    }
    // The media type is optional in an OCI manifest and means itself.
    serde_json::from_slice(manifest).map_or_else(|_| OCI_MANIFEST.to_owned(), |typed: Typed| typed.media_type)
}

async fn blob_response(
    content: Content,
    digest: Digest,
    headers: &HeaderMap,
) -> Result<Response<Body>, Refusal> {
    match content {
        Content::File(file) => file_response(file, digest, headers).await,
        Content::Bytes(bytes) => {
            let mut response = sized(bytes.len() as u64, BLOB, digest);
            *response.body_mut() = full(bytes);
            Ok(response)
        }
        Content::Layer { file, keys } => {
            let opened = layer_response(file, keys, digest);
            opened.map_err(|error| internal(digest, &error))
        }
    }
}

/// The whole layer: a part cannot be verified, and whoever asked for one skips the rest.
fn layer_response(file: File, keys: LayerKeys, digest: Digest) -> io::Result<Response<Body>> {
    let size = file.metadata()?.len();
    let reader = Decrypted::new(tokio::fs::File::from_std(file), keys, size)?;
    let mut response = sized(size, BLOB, digest);
    response.headers_mut().remove(ACCEPT_RANGES);
    *response.body_mut() = streamed(reader);
    Ok(response)
}

async fn file_response(file: File, digest: Digest, headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
    let size = file.metadata().map_err(|error| internal(digest, &error))?.len();
    let file = tokio::fs::File::from_std(file);
    match requested(range_header(headers, digest), size) {
        Requested::Unsatisfiable => Err(Refusal::RangeUnsatisfiable { size }),
        Requested::Whole => {
            let mut response = sized(size, BLOB, digest);
            *response.body_mut() = streamed(Verified::new(file, digest, size));
            Ok(response)
        }
        Requested::Part(range) => {
            let part = part_response(file, digest, size, range).await;
            part.map_err(|error| internal(digest, &error))
        }
    }
}

/// The range, unless it was asked for of another version (RFC 9110, 13.1.5).
fn range_header(headers: &HeaderMap, digest: Digest) -> Option<&str> {
    let condition = headers.get(IF_RANGE);
    if condition.is_some_and(|condition| condition.as_bytes() != etag(digest).as_bytes()) {
        return None;
    }
    headers.get(RANGE)?.to_str().ok()
}

async fn part_response(
    mut file: tokio::fs::File,
    digest: Digest,
    size: u64,
    range: Range<u64>,
) -> io::Result<Response<Body>> {
    file.seek(SeekFrom::Start(range.start)).await?;
    let length = range.end - range.start;
    let mut response = sized(length, BLOB, digest);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let span = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    insert(response.headers_mut(), CONTENT_RANGE, &span);
    *response.body_mut() = streamed(file.take(length));
    Ok(response)
}

fn etag(digest: Digest) -> String {
    format!("\"{digest}\"")
}

fn sized(length: u64, media_type: &str, digest: Digest) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    let headers = response.headers_mut();
    insert(headers, CONTENT_TYPE, media_type);
    insert(headers, CONTENT_DIGEST, &digest.to_string());
    insert(headers, ETAG, &etag(digest));
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}
