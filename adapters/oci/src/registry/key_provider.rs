//! The key provider protocol of ocicrypt (`docs/keyprovider.md` of containers/ocicrypt), by gRPC: a node
//! that has pulled an encrypted layer shows the ticket that stands in the layer's annotations, and gets
//! what decrypts the layer.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::Frame;
use prost::Message as _;
use serde::Deserialize;
use tokio::time::timeout;
use zeroize::{Zeroize as _, Zeroizing};

use super::body::{Body, full};
use super::shelf::Shelf;

const UNWRAP: &str = "/keyprovider.KeyProviderService/UnWrapKey";
/// A ticket, and what containerd tells besides.
const MAX_CALL: usize = 64 * 1024;
/// How long a node may take over its call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Flags and length before a gRPC message.
const PREFIX: usize = 5;
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// `keyProviderKeyWrapProtocolInput` and `keyProviderKeyWrapProtocolOutput`, which look alike.
#[derive(Clone, PartialEq, prost::Message)]
struct Protocol {
    #[prost(bytes = "vec", tag = "1")]
    json: Vec<u8>,
}

#[derive(Deserialize)]
struct Input {
    keyunwrapparams: UnwrapParams,
}

#[derive(Deserialize)]
struct UnwrapParams {
    /// Base64.
    annotation: String,
}

/// Why there is no key: the status codes of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Malformed = 3,
    TooLate = 4,
    /// For a ticket that is none, or is worth nothing any more.
    NoKey = 5,
    Unimplemented = 12,
    Internal = 13,
}

/// Answers a call.
pub(super) async fn answer<B>(request: Request<B>, shelf: &dyn Shelf) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let answered = match (request.method(), request.uri().path()) {
        (&Method::POST, UNWRAP) => match timeout(CALL_TIMEOUT, message(request)).await {
            Ok(message) => message.and_then(|message| unwrap(&message, shelf)),
            Err(_) => Err(Refusal::TooLate),
        },
        // Whoever encrypts is a publisher, and none asks here.
        _ => Err(Refusal::Unimplemented),
    };
    answered.map_or_else(refused, given)
}

async fn message<B>(request: Request<B>) -> Result<Bytes, Refusal>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = Limited::new(request.into_body(), MAX_CALL).collect().await;
    let bytes = body.map_err(|_| Refusal::Malformed)?.to_bytes();
    let length = bytes.len().checked_sub(PREFIX).and_then(|length| u32::try_from(length).ok());
    match (bytes.get(..PREFIX), length) {
        (Some([0, told @ ..]), Some(length)) if told == length.to_be_bytes() => Ok(bytes.slice(PREFIX..)),
        _ => Err(Refusal::Malformed),
    }
}

/// From a call's message to the answer's.
fn unwrap(message: &[u8], shelf: &dyn Shelf) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let call = Protocol::decode(message).map_err(|_| Refusal::Malformed)?;
    let input: Input = serde_json::from_slice(&call.json).map_err(|_| Refusal::Malformed)?;
    let ticket = STANDARD.decode(input.keyunwrapparams.annotation).map_err(|_| Refusal::Malformed)?;
    let keys = shelf.layer_keys(&ticket).ok_or(Refusal::NoKey)?;
    let options = keys.private_options().map_err(|_| Refusal::Internal)?;
    let options = Zeroizing::new(STANDARD.encode(&*options));
    // Base64 needs no escapes; put together at once, it leaves no copy where a buffer was before it grew.
    let json = [r#"{"keyunwrapresults":{"optsdata":""#, &options, r#""}}"#].concat().into_bytes();
    let mut answer = Protocol { json };
    let encoded = Zeroizing::new(answer.encode_to_vec());
    answer.json.zeroize();
    Ok(encoded)
}

#[expect(clippy::needless_pass_by_value, reason = "the message ends here, and is wiped")]
fn given(message: Zeroizing<Vec<u8>>) -> Response<Body> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let framed = Zeroizing::new([&[0][..], &length.to_be_bytes(), &message].concat());
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let frames = [Frame::data(Bytes::from_owner(framed)), Frame::trailers(trailers)].map(Ok::<_, io::Error>);
    let mut response = Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

fn refused(refusal: Refusal) -> Response<Body> {
    tracing::info!(?refusal, "a node gets no key");
    let mut response = Response::new(full(Bytes::new()));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response.headers_mut().insert(STATUS, HeaderValue::from(refusal as u16));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::grants::Token;
    use crate::registry::shelf::Content;
    use apocryph_model::Digest;
    use apocryph_seal::{LayerEncryptor, LayerKeys};
    use async_trait::async_trait;
    use http_body_util::Full;
    use serde_json::{Value, json};

    const TICKET: &[u8] = b"a ticket";

    struct OneLayer(LayerKeys);

    #[async_trait]
    impl Shelf for OneLayer {
        fn knows(&self, _: &Token) -> bool {
            false
        }

        async fn open(&self, _: &Token, _: Digest) -> io::Result<Option<Content>> {
            Ok(None)
        }

        fn layer_keys(&self, ticket: &[u8]) -> Option<LayerKeys> {
            (ticket == TICKET).then(|| self.0.clone())
        }
    }

    /// As ocicrypt writes it.
    fn call(annotation: &[u8]) -> Vec<u8> {
        let input = json!({
            "op": "keyunwrap", "keywrapparams": { "ec": null, "optsdata": null },
            "keyunwrapparams": { "dc": { "Parameters": {} }, "annotation": STANDARD.encode(annotation) },
        });
        let message = Protocol { json: input.to_string().into_bytes() }.encode_to_vec();
        let mut framed = vec![0];
        framed.extend((message.len() as u32).to_be_bytes());
        framed.extend(message);
        framed
    }

    async fn asked(path: &str, body: Vec<u8>) -> (Option<HeaderValue>, Bytes) {
        let shelf = OneLayer(LayerEncryptor::new().unwrap().finish().unwrap().keys);
        let request = Request::post(path).body(Full::new(Bytes::from(body))).unwrap();
        let response = answer(request, &shelf).await;
        let early = response.headers().get(STATUS).cloned();
        let body = response.into_body().collect().await.unwrap();
        let status = early.or_else(|| body.trailers()?.get(STATUS).cloned());
        (status, body.to_bytes())
    }

    #[tokio::test]
    async fn a_ticket_is_changed_for_the_layers_options() {
        let (status, body) = asked(UNWRAP, call(TICKET)).await;
        assert_eq!(status.unwrap(), "0");
        let output = Protocol::decode(&body[PREFIX..]).unwrap();
        let output: Value = serde_json::from_slice(&output.json).unwrap();
        let options = output["keyunwrapresults"]["optsdata"].as_str().unwrap();
        let options: Value = serde_json::from_slice(&STANDARD.decode(options).unwrap()).unwrap();
        for field in ["symkey", "digest"] {
            assert!(options[field].is_string(), "{field}");
        }
    }

    #[tokio::test]
    async fn what_is_no_call_gets_no_key() {
        let good = call(TICKET);
        let mut longer = good.clone();
        longer.push(0);
        let mut squeezed = good.clone();
        squeezed[0] = 1;
        for (path, body, status) in [
            (UNWRAP, call(b"another ticket"), "5"),
            (UNWRAP, vec![], "3"),
            (UNWRAP, good[..good.len() - 1].to_vec(), "3"),
            (UNWRAP, longer, "3"),
            (UNWRAP, squeezed, "3"),
            (UNWRAP, vec![0; MAX_CALL + 1], "3"),
            (UNWRAP, [&[0, 0, 0, 0, 2][..], b"{}"].concat(), "3"),
            ("/keyprovider.KeyProviderService/WrapKey", good, "12"),
        ] {
            let (found, body) = asked(path, body).await;
            assert_eq!((found.unwrap(), body.len()), (HeaderValue::from_static(status), 0), "{path}");
        }
    }
}
