//! The provider's side.

use super::{
    KEEPALIVE, MAX_REPLY, MAX_REQUEST,
    convert::{Payload, Signed},
    fault::{malformed, to_status},
    io::{Caller, CallerStream},
    wire::{
        self,
        deployments_server::{Deployments as Service, DeploymentsServer},
        provision_event::Event,
    },
};
use crate::{address, node::Node};
use apocryph_model::{Fault, LogQuery, Progress, ProvisionRequest, Who};
use apocryph_provider::{Authorisation, Deployments};
use futures::{StreamExt as _, stream::BoxStream};
use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, transport::Server};

/// Calls under way on one stream; further ones are refused.
const CALLS: usize = 32;
/// Provisionings under way at once, of all publishers.
const PROVISIONS: usize = 32;
/// How long a call may take to begin its answer: removal claims on the chain before it answers.
const DEADLINE: Duration = Duration::from_secs(300);
/// Progress that waits for the publisher to read it; what does not fit is left out.
const PROGRESS: usize = 16;

/// Why deployments cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The node was not started for it, or is served already.
    #[error("this node does not take deployments")]
    NotAProvider,
    /// The server failed.
    #[error("the deployment sub-protocol failed: {0}")]
    Server(String),
}

impl Node {
    /// Answers deployment calls by `service`, until `shutdown` and the end of the calls then under way.
    pub async fn serve(
        &self,
        service: Arc<dyn Deployments>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let streams = self.take_deployments().ok_or(ServeError::NotAProvider)?;
        let incoming =
            ReceiverStream::new(streams).map(|stream| Ok::<_, Infallible>(CallerStream::from(stream)));
        let calls = Calls { service, provisions: Arc::new(Semaphore::new(PROVISIONS)) };
        let service = DeploymentsServer::new(calls)
            .max_decoding_message_size(MAX_REQUEST)
            .max_encoding_message_size(MAX_REPLY);
        Server::builder()
            .max_concurrent_streams(CALLS as u32)
            .concurrency_limit_per_connection(CALLS)
            .load_shed(true)
            .timeout(DEADLINE)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, shutdown)
            .await
            .map_err(|error| ServeError::Server(crate::causes::with_causes(&error)))
    }
}

struct Calls {
    service: Arc<dyn Deployments>,
    provisions: Arc<Semaphore>,
}

/// Reads a call: who sends it, what is signed, what it carries.
fn open<P: Payload>(request: Request<wire::Call>) -> Result<(Authorisation, P), Status> {
    let caller = request.extensions().get::<Caller>().and_then(|Caller(peer)| address::to_model(peer));
    let peer = caller.ok_or_else(|| Status::internal("the caller is not known"))?;
    let call: Signed<P> = request.into_inner().try_into().map_err(malformed)?;
    let Signed { statement, signature, digest: payload, payload: content } = call;
    Ok((Authorisation { statement, signature, payload, peer }, content))
}

/// Carries work to its end even if the caller goes away: half of it would need an undo.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Fault>> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::spawn(work).await;
    done.map_err(|_| Status::internal("the call failed"))?.map_err(|fault| to_status(&fault))
}

#[tonic::async_trait]
impl Service for Calls {
    type ProvisionStream = BoxStream<'static, Result<wire::ProvisionEvent, Status>>;
    type LogsStream = BoxStream<'static, Result<wire::LogLine, Status>>;

    async fn offer(&self, _: Request<wire::OfferRequest>) -> Result<Response<wire::OfferReply>, Status> {
        let offer = self.service.offer().await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(offer.into()))
    }

    async fn attest(
        &self,
        request: Request<wire::AttestRequest>,
    ) -> Result<Response<wire::AttestReply>, Status> {
        let nonce = super::convert::nonce(&request.into_inner()).map_err(malformed)?;
        let evidence = self.service.attest(nonce).await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(wire::AttestReply { evidence: evidence.into() }))
    }

    async fn provision(
        &self,
        request: Request<wire::Call>,
    ) -> Result<Response<Self::ProvisionStream>, Status> {
        let (caller, content) = open::<ProvisionRequest>(request)?;
        let place = self.provisions.clone().try_acquire_owned().map_err(|_| busy())?;
        let (events, answer) = mpsc::channel(PROGRESS);
        let service = self.service.clone();
        tokio::spawn(async move {
            let last = provision(&*service, caller, content, &events).await;
            drop(place);
            // The publisher may have gone; its pod is provisioned all the same.
            let _ = events.send(last).await;
        });
        Ok(Response::new(ReceiverStream::new(answer).boxed()))
    }

    async fn remove(&self, request: Request<wire::Call>) -> Result<Response<wire::RemoveReply>, Status> {
        let (caller, ()) = open(request)?;
        let service = self.service.clone();
        to_the_end(async move { service.remove(caller).await }).await?;
        Ok(Response::new(wire::RemoveReply {}))
    }

    async fn status(&self, request: Request<wire::Call>) -> Result<Response<wire::StatusReply>, Status> {
        let (caller, ()) = open(request)?;
        let status = self.service.status(caller).await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new((&status).into()))
    }

    async fn logs(&self, request: Request<wire::Call>) -> Result<Response<Self::LogsStream>, Status> {
        let (caller, query) = open::<LogQuery>(request)?;
        let lines = self.service.logs(caller, query).await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(lines.map(|line| Ok(line.into())).boxed()))
    }

    async fn usage(&self, request: Request<wire::Call>) -> Result<Response<wire::UsageReply>, Status> {
        let (caller, from) = open::<u64>(request)?;
        let records = self.service.usage(caller, from).await.map_err(|fault| to_status(&fault))?;
        let records = records.into_iter().map(Into::into).collect();
        Ok(Response::new(wire::UsageReply { records }))
    }
}

type Events = mpsc::Sender<Result<wire::ProvisionEvent, Status>>;

async fn provision(
    service: &dyn Deployments,
    caller: Authorisation,
    content: ProvisionRequest,
    events: &Events,
) -> Result<wire::ProvisionEvent, Status> {
    let progress = events.clone();
    let report = move |stage: Progress| {
        let _ = progress.try_send(Ok(wire::ProvisionEvent { event: Some(stage.into()) }));
    };
    let endpoints = service.provision(caller, content, Box::new(report)).await;
    let endpoints = endpoints.map_err(|fault| to_status(&fault))?.iter().map(Into::into).collect();
    Ok(wire::ProvisionEvent { event: Some(Event::Done(wire::Provisioned { endpoints })) })
}

fn busy() -> Status {
    let text = "the provider has as many deployments under way as it takes; try again in a minute";
    to_status(&Fault::passing(Who::Provider, "busy", text))
}
