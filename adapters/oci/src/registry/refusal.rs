//! Answers that are not what was asked for, in the specification's form (OCI Distribution, "Error
//! Codes").

use http::header::{ALLOW, CONTENT_RANGE, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::json;

use super::body::{Body, insert, json_response};
use super::route::NoRoute;

/// An answer that is not what was asked for, with its code of the specification.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    Unauthorized,
    Method,
    Path,
    Name,
    ManifestUnknown,
    DigestInvalid,
    BlobUnknown,
    RangeUnsatisfiable { size: u64 },
    Internal,
}

impl From<NoRoute> for Refusal {
    fn from(no_route: NoRoute) -> Self {
        match no_route {
            NoRoute::Elsewhere => Self::Path,
            NoRoute::Name => Self::Name,
            NoRoute::ManifestReference => Self::ManifestUnknown,
            NoRoute::Digest => Self::DigestInvalid,
        }
    }
}

impl Refusal {
    pub(super) fn into_response(self) -> Response<Body> {
        let (status, code, message) = self.words();
        let body = json!({ "errors": [{ "code": code, "message": message }] }).to_string();
        let mut response = json_response(status, body);
        let headers = response.headers_mut();
        match self {
            Self::Unauthorized => insert(headers, WWW_AUTHENTICATE, "Basic realm=\"apocryph\""),
            Self::Method => insert(headers, ALLOW, "GET, HEAD"),
            Self::RangeUnsatisfiable { size } => {
                insert(headers, CONTENT_RANGE, &format!("bytes */{size}"));
            }
            _ => {}
        }
        response
    }

    fn words(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "a valid token is required"),
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this registry is for pulling only")
            }
            Self::Path => (StatusCode::NOT_FOUND, "UNSUPPORTED", "no such endpoint"),
            Self::Name => (StatusCode::BAD_REQUEST, "NAME_INVALID", "invalid repository name"),
            Self::ManifestUnknown => (
                StatusCode::NOT_FOUND,
                "MANIFEST_UNKNOWN",
                "no such manifest for this token; manifests are named by digest only",
            ),
            Self::DigestInvalid => (StatusCode::BAD_REQUEST, "DIGEST_INVALID", "not a SHA-256 digest"),
            Self::BlobUnknown => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "no such blob for this token"),
            Self::RangeUnsatisfiable { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", "no such bytes in this blob")
            }
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "UNKNOWN",
                "the blob cannot be read; the provider's log tells why",
            ),
        }
    }
}
