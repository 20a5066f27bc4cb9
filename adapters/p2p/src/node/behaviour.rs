//! What the node's connections do.

use super::{
    Identity, InboundStream, NodeConfig, StartError,
    inbound::{self, Protocol},
};
use crate::address;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    connection_limits::{self, ConnectionLimits},
    identify, kad,
    kad::store::MemoryStore,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};
use std::convert::Infallible;
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
    pub(super) kademlia: Toggle<kad::Behaviour<MemoryStore>>,
}

/// What the behaviours report.
#[derive(Debug)]
pub(super) enum Event {
    /// A peer has said who it is.
    Identified { peer: PeerId, agent: String, dht_at: Vec<Multiaddr> },
    /// A look-up in the DHT has ended, with where the peers near the sought one listen.
    Found { query: kad::QueryId, near: Vec<kad::PeerInfo> },
    /// Something that needs no answer.
    Other,
}

impl From<()> for Event {
    fn from((): ()) -> Self {
        Self::Other
    }
}

impl From<Infallible> for Event {
    fn from(event: Infallible) -> Self {
        match event {}
    }
}

impl From<identify::Event> for Event {
    fn from(event: identify::Event) -> Self {
        let identify::Event::Received { peer_id: peer, info, .. } = event else { return Self::Other };
        let joins = info.protocols.contains(&KADEMLIA);
        let dht_at = if joins { info.listen_addrs } else { Vec::new() };
        Self::Identified { peer, agent: info.agent_version, dht_at }
    }
}

impl From<kad::Event> for Event {
    fn from(event: kad::Event) -> Self {
        let kad::Event::OutboundQueryProgressed { id: query, result, .. } = event else { return Self::Other };
        match result {
            kad::QueryResult::GetClosestPeers(Ok(found)) => Self::Found { query, near: found.peers },
            kad::QueryResult::GetClosestPeers(Err(kad::GetClosestPeersError::Timeout { peers, .. })) => {
                Self::Found { query, near: peers }
            }
            _ => Self::Other,
        }
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
        .with_max_established_per_peer(Some(4))
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
    // Who can be dialled answers look-ups, too.
    let mode = if config.listen.is_empty() { kad::Mode::Client } else { kad::Mode::Server };
    kademlia.set_mode(Some(mode));
    for peer in &config.bootstrap {
        let (id, at) = address::parse(peer).ok_or_else(|| StartError::Address(peer.clone()))?;
        kademlia.add_address(&id, at);
    }
    Ok(Some(kademlia))
}
