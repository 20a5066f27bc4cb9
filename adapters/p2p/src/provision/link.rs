//! A connection to one provider.

use super::{
    KEEPALIVE, MAX_REPLY, MAX_REQUEST, PROTOCOL,
    convert::{Malformed, Payload, Provisioning},
    fault::from_status,
    wire::{self, deployments_client::DeploymentsClient},
};
use apocryph_model::{
    ChannelId, Endpoint, Hash32, LogLine, LogQuery, Method, Offer, PeerId, PodStatus, Progress,
    ProvisionRequest, Statement, UsageRecord, keccak256,
};
use apocryph_publisher::{LinkError, ProviderLink};
use apocryph_statement::{Signer, digest};
use async_trait::async_trait;
use futures::{StreamExt as _, stream::BoxStream};
use hyper_util::rt::TokioIo;
use libp2p_stream::Control;
use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::OnceCell, time::timeout};
use tokio_util::compat::FuturesAsyncReadCompatExt as _;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint as Target},
};

/// How long a call that only looks something up may take.
const LOOK_UP: Duration = Duration::from_secs(60);
/// Removal claims on the chain first.
const REMOVE: Duration = Duration::from_secs(300);
/// How long provisioning may go without a word.
const QUIET: Duration = Duration::from_secs(600);
/// For how long a signed call is good: enough for a slow network and a clock that is off.
const GOOD_FOR: Duration = Duration::from_secs(300);

/// The stream to one provider, opened when it is first needed. It carries the calls of all links to
/// that provider, which allows few streams.
pub(super) type Line = OnceCell<Channel>;

pub(super) struct Link {
    client: DeploymentsClient<Channel>,
    peer: PeerId,
    signer: Arc<dyn Signer>,
    chain: u64,
    /// Keeps it for further links.
    _line: Arc<Line>,
}

impl Link {
    /// Takes the line to a connected provider.
    pub(super) async fn open(
        line: Arc<Line>,
        streams: Control,
        id: libp2p::PeerId,
        peer: PeerId,
        signer: Arc<dyn Signer>,
        chain: u64,
    ) -> Result<Self, tonic::transport::Error> {
        let channel = line.get_or_try_init(|| call_up(streams, id)).await?.clone();
        let client = DeploymentsClient::new(channel)
            .max_decoding_message_size(MAX_REPLY)
            .max_encoding_message_size(MAX_REQUEST);
        Ok(Self { client, peer, signer, chain, _line: line })
    }

    /// Signs a call.
    async fn call(
        &self,
        method: Method,
        channel: ChannelId,
        payload: &impl Payload,
    ) -> Result<wire::Call, LinkError> {
        let payload = payload.encode();
        let statement = Statement {
            method,
            channel,
            provider: self.peer.clone(),
            payload: Hash32(keccak256(&[&payload])),
            nonce: rand::random(),
            expires_at: (now()? + GOOD_FOR).as_secs(),
        };
        let signature = self.signer.sign(digest(&statement, self.chain)).await;
        let signature = signature.map_err(|error| LinkError::Local(error.to_string()))?;
        Ok(wire::Call {
            statement: Some((&statement).into()),
            signature: signature.0.to_vec().into(),
            payload: payload.into(),
        })
    }
}

/// Opens a stream; where that one breaks, the next call opens another.
async fn call_up(streams: Control, id: libp2p::PeerId) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_| {
        let mut streams = streams.clone();
        async move {
            let stream = streams.open_stream(id, PROTOCOL).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(TokioIo::new(stream.compat()))
        }
    });
    // The host name goes nowhere: the stream leads to the provider already.
    Target::from_static("http://provider")
        .connect_timeout(LOOK_UP)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}

fn now() -> Result<Duration, LinkError> {
    let clock = |_| LinkError::Local("this machine's clock is before 1970".into());
    SystemTime::now().duration_since(UNIX_EPOCH).map_err(clock)
}

fn within<T>(deadline: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

fn nonsense(problem: Malformed) -> LinkError {
    LinkError::Nonsense(problem.to_string())
}

/// The answer as a model value.
fn read<W, M: TryFrom<W, Error = Malformed>>(answer: Result<Response<W>, Status>) -> Result<M, LinkError> {
    let answer = answer.map_err(|status| from_status(&status))?;
    answer.into_inner().try_into().map_err(nonsense)
}

#[async_trait]
impl ProviderLink for Link {
    fn peer(&self) -> PeerId {
        self.peer.clone()
    }

    async fn offer(&self) -> Result<Offer, LinkError> {
        read(self.client.clone().offer(within(LOOK_UP, wire::OfferRequest {})).await)
    }

    async fn attest(&self, nonce: [u8; 32]) -> Result<Vec<u8>, LinkError> {
        let request = wire::AttestRequest { nonce: nonce.to_vec().into() };
        let answer = self.client.clone().attest(within(LOOK_UP, request)).await;
        Ok(answer.map_err(|status| from_status(&status))?.into_inner().evidence.into())
    }

    async fn provision(
        &self,
        channel: ChannelId,
        request: ProvisionRequest,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Vec<Endpoint>, LinkError> {
        let call = self.call(Method::Provision, channel, &request).await?;
        let answer = self.client.clone().provision(call).await;
        let mut events = answer.map_err(|status| from_status(&status))?.into_inner();
        loop {
            let event = timeout(QUIET, events.message()).await;
            let event = event.map_err(|_| LinkError::Broken("the provider says nothing".into()))?;
            let event = event.map_err(|status| from_status(&status))?;
            let event = event.ok_or_else(|| LinkError::Broken("it ended without an answer".into()))?;
            match event.try_into().map_err(nonsense)? {
                Provisioning::Progress(stage) => progress(stage),
                Provisioning::Done(endpoints) => return Ok(endpoints),
            }
        }
    }

    async fn remove(&self, channel: ChannelId) -> Result<(), LinkError> {
        let call = self.call(Method::Remove, channel, &()).await?;
        let answer = self.client.clone().remove(within(REMOVE, call)).await;
        answer.map(|_| ()).map_err(|status| from_status(&status))
    }

    async fn status(&self, channel: ChannelId) -> Result<PodStatus, LinkError> {
        let call = self.call(Method::Status, channel, &()).await?;
        read(self.client.clone().status(within(LOOK_UP, call)).await)
    }

    async fn logs(
        &self,
        channel: ChannelId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, LinkError>>, LinkError> {
        let call = self.call(Method::Logs, channel, &query).await?;
        let lines = self.client.clone().logs(call).await.map_err(|status| from_status(&status))?;
        let line = |line: Result<wire::LogLine, Status>| match line {
            Ok(line) => line.try_into().map_err(nonsense),
            Err(status) => Err(from_status(&status)),
        };
        Ok(lines.into_inner().map(line).boxed())
    }

    async fn usage(&self, channel: ChannelId, from: u64) -> Result<Vec<UsageRecord>, LinkError> {
        let call = self.call(Method::Usage, channel, &from).await?;
        let answer = self.client.clone().usage(within(LOOK_UP, call)).await;
        let page = answer.map_err(|status| from_status(&status))?.into_inner();
        page.records.into_iter().map(|record| record.try_into().map_err(nonsense)).collect()
    }
}
