//! A peer of which the test writes every byte: it speaks the protocols by itself, so that it can
//! say what the product's own publisher never would.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use apocryph_evm::{Evm, Key};
use apocryph_model::{Blob, ChannelId, Hash32, Method, Offering, PeerAddress, ProvisionRequest, Statement};
use apocryph_model::{Terms, keccak256};
use apocryph_publisher::Chain;
use apocryph_statement::{Signer, digest};
use apocryph_testbed::chain::DevChain;
use apocryph_testbed::market::Market;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use hyper_util::rt::TokioIo;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::Control;
use prost::Message;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use tonic::transport::{Channel, Endpoint};
use wire::deployments_client::DeploymentsClient;

use crate::pods::{PATIENCE, insist};

#[allow(dead_code, reason = "a client needs a part of it")]
#[expect(
    unreachable_pub,
    clippy::too_many_lines,
    reason = "generated from proto/provision.proto"
)]
#[rustfmt::skip]
#[path = "../../../adapters/p2p/src/generated/apocryph.provision.v1.rs"]
pub(crate) mod wire;

pub(crate) const BITSWAP: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");
pub(crate) const PROVISION: StreamProtocol = StreamProtocol::new("/apocryph/provision/1");
const VALIDITY: u64 = 60;
/// The dev chain's id.
const CHAIN: u64 = 31337;

/// A connection to a provider, by TCP, until this is dropped.
pub(crate) struct Stranger {
    streams: Control,
    provider: PeerId,
    /// Nothing while it is being dialled.
    connected: watch::Receiver<Option<bool>>,
    driver: JoinHandle<()>,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What the market's first provider registered.
pub(crate) async fn offering(market: &Market) -> Offering {
    let chain = Evm::new(market.chain.account(DevChain::key(0)), market.chain.contracts());
    chain.list_providers().await.unwrap().swap_remove(0)
}

/// Where it is reached by TCP.
pub(crate) fn place(offering: &Offering) -> PeerAddress {
    offering.addresses.iter().find(|address| address.as_str().contains("/tcp/")).unwrap().clone()
}

impl Stranger {
    /// Connects, again and again where there is no room.
    pub(crate) async fn meet(place: &PeerAddress) -> Self {
        insist("the provider takes a connection", async || Self::try_meet(place).await).await
    }

    async fn try_meet(place: &PeerAddress) -> io::Result<Self> {
        let mut swarm: Swarm<libp2p_stream::Behaviour> = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
            .build();
        let streams = swarm.behaviour().new_control();
        swarm.dial(place.as_str().parse::<Multiaddr>().unwrap()).unwrap();
        let (connection, mut connected) = watch::channel(None);
        let driver = tokio::spawn(async move {
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { .. } => connection.send_replace(Some(true)),
                    SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => {
                        connection.send_replace(Some(false))
                    }
                    _ => continue,
                };
            }
        });
        let provider = place.peer().as_str().parse().unwrap();
        let is_connected = *connected.wait_for(Option::is_some).await.unwrap() == Some(true);
        let stranger = Self { streams, provider, connected, driver };
        is_connected.then_some(stranger).ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }

    /// Opens a stream of a protocol.
    pub(crate) async fn open(&self, protocol: StreamProtocol) -> Stream {
        self.streams.clone().open_stream(self.provider, protocol).await.unwrap()
    }

    /// Sends bytes as they are on a stream of their own; whether they are taken is the provider's
    /// affair.
    pub(crate) async fn send(&self, protocol: StreamProtocol, bytes: &[u8]) {
        let Ok(mut stream) = self.streams.clone().open_stream(self.provider, protocol).await else { return };
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
        let _ = stream.close().await;
    }

    /// Answers whatever the provider wants of blocks with these bytes, and closes no stream.
    pub(crate) fn answer_wants(&self, bytes: Vec<u8>) {
        let mut wants = self.streams.clone().accept(BITSWAP).unwrap();
        let (mut streams, provider) = (self.streams.clone(), self.provider);
        // Ends with the connection.
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Some((_, mut asked)) = wants.next().await {
                let _ = asked.read(&mut [0; 4096]).await;
                let Ok(mut reply) = streams.open_stream(provider, BITSWAP).await else { return };
                // It may be cut off in the middle.
                let _ = reply.write_all(&bytes).await;
                let _ = reply.flush().await;
                kept.push((asked, reply));
            }
        });
    }

    /// Returns once the provider has cut the connection.
    pub(crate) async fn is_cut_off(&self) {
        let mut connected = self.connected.clone();
        let cut = connected.wait_for(|connected| *connected == Some(false));
        tokio::time::timeout(PATIENCE, cut).await.expect("it is cut off").unwrap();
    }

    /// The deployment sub-protocol, on a stream of its own.
    pub(crate) async fn deployments(&self) -> DeploymentsClient<Channel> {
        let (streams, provider) = (self.streams.clone(), self.provider);
        let connector = tower::service_fn(move |_| {
            let mut streams = streams.clone();
            async move {
                let stream = streams.open_stream(provider, PROVISION).await.map_err(io::Error::other)?;
                Ok::<_, io::Error>(TokioIo::new(stream.compat()))
            }
        });
        let target = Endpoint::from_static("http://provider");
        DeploymentsClient::new(target.connect_with_connector(connector).await.unwrap())
    }

    /// A statement as its publisher would make it.
    pub(crate) fn statement(&self, method: Method, channel: ChannelId, payload: &[u8]) -> Statement {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Statement {
            method,
            channel,
            provider: self.provider.to_base58().parse().unwrap(),
            payload: Hash32(keccak256(&[payload])),
            nonce: rand::random(),
            expires_at: now + VALIDITY,
        }
    }

    /// Asks for the pod's status.
    pub(crate) async fn status(&self, call: wire::Call) -> Result<(), wire::Fault> {
        self.deployments().await.status(call).await.map(drop).map_err(|status| fault(&status))
    }

    /// Asks for a pod to be made, and waits how that ends.
    pub(crate) async fn provision(&self, call: wire::Call) -> Result<(), wire::Fault> {
        let answer = self.deployments().await.provision(call).await;
        let mut events = answer.map_err(|status| fault(&status))?.into_inner();
        while events.message().await.map_err(|status| fault(&status))?.is_some() {}
        Ok(())
    }

    /// The same, in the name of the channel's publisher.
    pub(crate) async fn provision_as(
        &self,
        key: &Key,
        channel: ChannelId,
        request: &ProvisionRequest,
    ) -> Result<(), wire::Fault> {
        let payload = encode(request);
        let statement = self.statement(Method::Provision, channel, &payload);
        self.provision(signed(key, &statement, payload).await).await
    }
}

/// A call with this statement, whatever it says, and this payload.
pub(crate) async fn signed(key: &Key, statement: &Statement, payload: Vec<u8>) -> wire::Call {
    let signature = key.sign(digest(statement, CHAIN)).await.unwrap();
    let statement = wire::Statement {
        method: statement.method.as_str().into(),
        channel: statement.channel.0.to_vec().into(),
        provider: statement.provider.as_str().into(),
        payload: statement.payload.0.to_vec().into(),
        nonce: statement.nonce.to_be_bytes().to_vec().into(),
        expires_at: statement.expires_at,
    };
    wire::Call { statement: Some(statement), signature: signature.0.to_vec().into(), payload: payload.into() }
}

fn encode(request: &ProvisionRequest) -> Vec<u8> {
    wire::ProvisionPayload {
        pod: request.pod.0.to_vec().into(),
        terms: Some(terms(&request.terms)),
        spec: Some(blob(&request.spec)),
        spec_key: request.spec_key.to_vec().into(),
        image_key: request.image_key.clone().into(),
        blobs: request.blobs.iter().map(blob).collect(),
        sources: vec![],
        public: request.public,
    }
    .encode_to_vec()
}

fn terms(terms: &Terms) -> wire::Terms {
    wire::Terms {
        prices: terms.tariff.0.iter().map(|price| price.0.to_be_bytes().to_vec().into()).collect(),
        meter_key: terms.meter_key.0.to_vec().into(),
        payout: terms.payout.0.to_vec().into(),
    }
}

fn blob(blob: &Blob) -> wire::Blob {
    wire::Blob { digest: blob.digest.0.to_vec().into(), size: blob.size, cid: blob.cid.clone() }
}

/// What a failed call says for people and programs.
fn fault(status: &tonic::Status) -> wire::Fault {
    assert!(!status.details().is_empty(), "a failure without its cause: {status:?}");
    wire::Fault::decode(status.details()).unwrap()
}
