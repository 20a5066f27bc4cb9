//! What the node's connections do.

use super::{
    Identity, InboundStream, NodeConfig, StartError,
    inbound::{self, Protocol},
};
use crate::address;
use libp2p::{
    StreamProtocol,
    connection_limits::{self, ConnectionLimits},
    identify, kad,
    kad::store::MemoryStore,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};
use tokio::sync::mpsc;

const IPFS: &str = "/ipfs/0.1.0";
const KADEMLIA: StreamProtocol = StreamProtocol::new("/ipfs/kad/1.0.0");

#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "Event")]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(super) streams: libp2p_stream::Behaviour,
    inbound: inbound::Behaviour,
    identify: identify::Behaviour,
    kademlia: Toggle<kad::Behaviour<MemoryStore>>,
}

/// Nothing that the behaviours report needs an answer.
#[derive(Debug)]
pub(super) struct Event;

impl From<()> for Event {
    fn from((): ()) -> Self {
        Self
    }
}

impl From<std::convert::Infallible> for Event {
    fn from(event: std::convert::Infallible) -> Self {
        match event {}
    }
}

impl From<identify::Event> for Event {
    fn from(event: identify::Event) -> Self {
        if let identify::Event::Received { peer_id, info, .. } = event {
            tracing::debug!(peer = %peer_id, agent = info.agent_version, "identified");
        }
        Self
    }
}

impl From<kad::Event> for Event {
    fn from(_: kad::Event) -> Self {
        Self
    }
}

impl Behaviour {
    pub(super) fn new(
        identity: &Identity,
        config: &NodeConfig,
        protocols: Vec<Protocol>,
        queue: mpsc::Sender<InboundStream>,
    ) -> Result<Self, StartError> {
        let identify = identify::Config::new(IPFS.into(), identity.keypair().public())
            .with_agent_version(concat!("apocryph/", env!("CARGO_PKG_VERSION")).into());
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits()),
            streams: libp2p_stream::Behaviour::new(),
            inbound: inbound::Behaviour::new(protocols, queue),
            identify: identify::Behaviour::new(identify),
            kademlia: kademlia(identity, config)?.into(),
        })
    }
}

fn limits() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(64))
        .with_max_established_incoming(Some(512))
        .with_max_established_per_peer(Some(8))
}

/// The DHT finds peers whose addresses have changed since they were registered.
fn kademlia(
    identity: &Identity,
    config: &NodeConfig,
) -> Result<Option<kad::Behaviour<MemoryStore>>, StartError> {
    if config.bootstrap.is_empty() {
        return Ok(None);
    }
    let id = identity.peer_id();
    let mut kademlia = kad::Behaviour::with_config(id, MemoryStore::new(id), kad::Config::new(KADEMLIA));
    for peer in &config.bootstrap {
        let (id, at) = address::parse(peer).ok_or_else(|| StartError::Address(peer.clone()))?;
        kademlia.add_address(&id, at);
    }
    Ok(Some(kademlia))
}
