//! Takes a request to the pod's app and the answer back: streamed, and delivered at most once.

use crate::{
    Refusal,
    body::{AppBody, RequestBody, ResponseBody},
    endpoint::{Connection, Protocol, SendError},
    headers,
    pod::Entry,
    tunnel::tunnel,
};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use http_body_util::Either;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tracing::debug;

/// How often a request is tried on an endpoint that accepts connections and then takes nothing.
const ATTEMPTS: usize = 5;

/// A request as it goes to the app.
pub(crate) struct Outbound {
    /// Boxed, as it is handed on often and many wait.
    request: Box<Request<RequestBody>>,
    protocol: Protocol,
    upgrade: Option<OnUpgrade>,
    /// What it takes up while it is held.
    bytes: u32,
}

impl Outbound {
    /// Makes `request`, which names `host`, ready for the app.
    ///
    /// # Errors
    /// [`Refusal::BadHost`].
    pub(crate) fn new(
        mut request: Request<Incoming>,
        host: HeaderValue,
        client: &headers::Client,
    ) -> Result<Self, Refusal> {
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (mut parts, body) = request.into_parts();
        let body = RequestBody::new(body);
        let bytes = head_bytes(&parts).saturating_add(body.held_bytes(client.window));
        let upgrade = headers::upgrade(&parts);
        let protocol = if upgrade.is_some() { Protocol::Http1 } else { headers::protocol(&parts.headers) };
        headers::prepare_request(&mut parts, host, client, protocol)?;
        frame(&mut parts, &body, protocol);
        let upgrade = upgrade.map(|to| {
            headers::set_upgrade(&mut parts.headers, to);
            on_upgrade
        });
        let request = Box::new(Request::from_parts(parts, body));
        Ok(Self { request, protocol, upgrade, bytes })
    }

    /// Delivers the request to `port` of the pod that it has entered.
    ///
    /// # Errors
    /// Why there is no answer of the app.
    pub(crate) async fn forward(
        self,
        mut entry: Entry,
        port: u16,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let Self { request, protocol, upgrade, bytes } = self;
        let (mut response, connection) = deliver(request, protocol, bytes, &mut entry, port).await?;
        *response.version_mut() = Version::HTTP_11;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upgrade = upgrade.ok_or(Refusal::BackendInvalid)?;
            return Ok(switch(response, upgrade, &connection, entry));
        }
        headers::prepare_response(response.headers_mut());
        Ok(response.map(|body| Either::Left(AppBody::new(body, connection, entry))))
    }
}

/// Says that a body of unknown length is chunked, as hyper takes methods such as GET to have none.
fn frame(parts: &mut http::request::Parts, body: &RequestBody, protocol: Protocol) {
    let known = body.is_end_stream() || body.size_hint().exact().is_some();
    if protocol == Protocol::Http1 && !known {
        parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

fn head_bytes(parts: &http::request::Parts) -> u32 {
    let fields = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    let path = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    u32::try_from(fields.sum::<usize>() + path).unwrap_or(u32::MAX)
}

async fn deliver(
    mut request: Box<Request<RequestBody>>,
    protocol: Protocol,
    bytes: u32,
    entry: &mut Entry,
    port: u16,
) -> Result<(Response<Incoming>, Connection), Refusal> {
    let expects = request.headers().contains_key(header::EXPECT);
    for _ in 0..ATTEMPTS {
        let endpoint = tokio::select! {
            biased;
            endpoint = entry.endpoint(port, bytes) => endpoint?,
            // A client that asks first is told to go on only when the app is there.
            never = request.body_mut().read_ahead(), if !expects => match never {},
        };
        match endpoint.send(request, protocol).await {
            Ok(answered) => return Ok(answered),
            Err(SendError::Unsent(unsent)) => {
                request = unsent;
                entry.refused(port);
            }
            Err(SendError::Sent(error)) => return Err(refusal(&error)),
        }
    }
    Err(Refusal::BackendRefused)
}

fn refusal(error: &hyper::Error) -> Refusal {
    debug!(error = error as &dyn std::error::Error, "no answer of the app");
    if error.is_parse() { Refusal::BackendInvalid } else { Refusal::BackendClosed }
}

/// Passes on the app's consent to switch protocols, and then whatever either side sends.
fn switch(
    mut response: Response<Incoming>,
    client: OnUpgrade,
    connection: &Connection,
    entry: Entry,
) -> Response<ResponseBody> {
    let app = hyper::upgrade::on(&mut response);
    let gone = connection.endpoint().gone().clone();
    let to = response.headers().get(header::UPGRADE).cloned();
    headers::prepare_response(response.headers_mut());
    if let Some(to) = to {
        headers::set_upgrade(response.headers_mut(), to);
    }
    let tasks = entry.tasks();
    tasks.spawn(async move {
        match futures::future::try_join(client, app).await {
            Ok((client, app)) => tunnel(TokioIo::new(client), TokioIo::new(app), gone, entry).await,
            Err(error) => debug!(error = &error as &dyn std::error::Error, "no switch of protocols"),
        }
    });
    response.map(|_| Either::Right(http_body_util::Full::default()))
}
