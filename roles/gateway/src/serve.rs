//! The step `serve`: a request is answered, by its app or by the gateway.

use crate::{
    Refusal,
    body::ResponseBody,
    forward::Outbound,
    gateway::Inner,
    headers::{self, Client},
};
use http::{Method, Request, Response};
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::time::Instant;
use tracing::{Instrument, debug, debug_span};

impl Inner {
    /// Answers `request`, whatever becomes of it.
    pub(crate) async fn serve(&self, client: &Client, request: Request<Incoming>) -> Response<ResponseBody> {
        let began = Instant::now();
        let response = match self.route(client, request).await {
            Ok(response) => response,
            Err(refusal) => self.refuse(refusal),
        };
        self.environment.meters.answered(response.status(), began.elapsed());
        response
    }

    async fn route(
        &self,
        client: &Client,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        if request.method() == Method::CONNECT {
            return Err(Refusal::Connect);
        }
        let host = headers::authority(request.uri(), request.headers())?;
        let target = self.routes.find(&headers::hostname(&host)?).ok_or(Refusal::UnknownHost)?;
        let entry = target.pod.enter()?;
        let outbound = Outbound::new(request, host, client)?;
        let span = debug_span!("serve", pod = %target.pod.id().short());
        outbound.forward(entry, target.container_port).instrument(span).await
    }

    fn refuse(&self, refusal: Refusal) -> Response<ResponseBody> {
        debug!(cause = refusal.code(), "refused");
        self.environment.meters.refused(&refusal);
        refusal.into_response().map(Either::Right)
    }
}
