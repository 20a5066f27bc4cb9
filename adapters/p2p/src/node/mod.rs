//! One libp2p node: TCP and QUIC, Noise, Yamux, identify; run by a task of its own and driven
//! through handles.

mod behaviour;
mod identity;
mod inbound;
mod swarm;

pub use identity::{Identity, IdentityError};
pub(crate) use inbound::InboundStream;
pub(crate) use swarm::Commands;

use crate::{
    bitswap::{self, Bitswap},
    blob_store::BlobStore,
    provision,
};
use apocryph_model::PeerAddress;
use behaviour::Behaviour;
use futures::AsyncWriteExt as _;
use inbound::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use swarm::Driver;
use tokio::{sync::mpsc, task::JoinHandle};

const PING: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");
/// Streams that peers opened and nobody has looked at.
const BACKLOG: usize = 256;
/// Bitswap streams of one connection. Some peers send every block on a stream of its own, and a
/// stream that is refused is a block that is lost; how many a stranger may use is for bitswap to say.
const STREAMS: usize = 256;
/// Connections without streams are closed after this.
const IDLE: Duration = Duration::from_secs(60);
/// The windows of a connection's streams share 1 GiB in a way that leaves each at most 1 MiB with
/// this many: JavaScript peers fill a window with one frame, and frames over 1 MiB are refused.
const YAMUX_STREAMS: usize = 4093;

/// What a node is told at its start.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Where to listen, port 0 for any that is free; empty to dial only.
    pub listen: Vec<Multiaddr>,
    /// Where else it is reached from outside.
    pub external: Vec<Multiaddr>,
    /// Peers to join the Kademlia DHT by; without any there is no DHT.
    pub bootstrap: Vec<PeerAddress>,
    /// Whether it takes deployments (see [`Node::serve`]).
    pub provider: bool,
    /// How long a peer may be silent in the middle of a transfer.
    pub patience: Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            provider: false,
            patience: Duration::from_secs(30),
        }
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {problem}")]
    Listen {
        /// As configured.
        address: Multiaddr,
        /// What is wrong with it.
        problem: String,
    },
    /// A bootstrap peer's address is none.
    #[error("{0} is not a peer's address")]
    Address(PeerAddress),
    /// Encryption or a transport could not be set up.
    #[error("the network cannot be set up: {0}")]
    Transport(String),
}

/// Why a peer was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nothing to dial.
    #[error("no usable address")]
    NoAddress,
    /// None of the addresses led to the peer.
    #[error("{0}")]
    Unreachable(String),
    /// This node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// A handle to a running node; clones share it. The node stops when the last one is dropped.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    peer_id: PeerId,
    addresses: Vec<Multiaddr>,
    store: BlobStore,
    bitswap: Bitswap,
    commands: Commands,
    streams: libp2p_stream::Control,
    deployments: Mutex<Option<mpsc::Receiver<InboundStream>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.bitswap.stop();
    }
}

impl Node {
    /// Starts a node, serving the blocks of `store`. Returns when it listens.
    pub async fn start(
        identity: &Identity,
        config: &NodeConfig,
        store: BlobStore,
    ) -> Result<Self, StartError> {
        let (streams, accepted) = mpsc::channel(BACKLOG);
        let mut swarm =
            swarm(identity, Behaviour::new(identity, config, protocols(config.provider), streams)?)?;
        let addresses = swarm::listen(&mut swarm, config).await?;
        let peer_id = *swarm.local_peer_id();
        let streams = swarm.behaviour().streams.new_control();
        let (commands, orders) = Commands::new();
        let bitswap = Bitswap::new(store.clone(), streams.clone(), commands.clone(), config.patience);
        let (provision, deployments) = mpsc::channel(BACKLOG);
        let tasks = vec![
            tokio::spawn(Driver::new(swarm, orders, bitswap.clone()).run()),
            tokio::spawn(route(accepted, bitswap.clone(), provision)),
        ];
        let deployments = Mutex::new(Some(deployments));
        let inner = Inner { peer_id, addresses, store, bitswap, commands, streams, deployments, tasks };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Who it is.
    pub fn peer_id(&self) -> PeerId {
        self.inner.peer_id
    }

    /// Where it listens and is reached from outside, with its peer id at the end.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let own = libp2p::multiaddr::Protocol::P2p(self.inner.peer_id);
        self.inner.addresses.iter().map(|address| address.clone().with(own.clone())).collect()
    }

    /// The blocks that it serves and keeps.
    pub fn store(&self) -> &BlobStore {
        &self.inner.store
    }

    /// Dials a peer at these addresses, unless it is connected already. The connection proves
    /// that it is the peer that was meant.
    pub async fn connect(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), ConnectError> {
        self.inner.commands.dial(peer, addresses).await
    }

    /// Closes all connections to a peer.
    pub fn disconnect(&self, peer: PeerId) {
        self.inner.commands.disconnect(peer);
    }

    /// Opens a stream of the deployment sub-protocol.
    pub(crate) fn streams(&self) -> libp2p_stream::Control {
        self.inner.streams.clone()
    }

    pub(crate) fn bitswap(&self) -> &Bitswap {
        &self.inner.bitswap
    }

    /// The streams on which deployments are called for; they can be taken once.
    pub(crate) fn take_deployments(&self) -> Option<mpsc::Receiver<InboundStream>> {
        self.inner.deployments.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn protocols(provider: bool) -> Vec<Protocol> {
    let bitswap = bitswap::PROTOCOLS.map(|name| Protocol { name, streams: STREAMS });
    let mut protocols = vec![Protocol { name: PING, streams: 2 }];
    protocols.extend(bitswap);
    if provider {
        protocols.push(Protocol { name: provision::PROTOCOL, streams: provision::STREAMS_PER_CONNECTION });
    }
    protocols
}

fn swarm(identity: &Identity, behaviour: Behaviour) -> Result<Swarm<Behaviour>, StartError> {
    let transport = |error: &dyn std::error::Error| StartError::Transport(error.to_string());
    let yamux = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(YAMUX_STREAMS);
        config
    };
    let tcp = tcp::Config::default().nodelay(true);
    let built = SwarmBuilder::with_existing_identity(identity.keypair().clone())
        .with_tokio()
        .with_tcp(tcp, noise::Config::new, yamux)
        .map_err(|error| transport(&error))?
        .with_quic()
        .with_dns()
        .map_err(|error| transport(&error))?
        .with_behaviour(|_| behaviour)
        .map_err(|error| transport(&error))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .build();
    Ok(built)
}

/// Gives each stream that a peer opened to whom it is for.
async fn route(
    mut accepted: mpsc::Receiver<InboundStream>,
    bitswap: Bitswap,
    provision: mpsc::Sender<InboundStream>,
) {
    while let Some(inbound) = accepted.recv().await {
        if inbound.protocol == PING {
            tokio::spawn(echo(inbound));
        } else if inbound.protocol == provision::PROTOCOL {
            // Where calls are not taken as fast as they come, they end here.
            let _ = provision.try_send(inbound);
        } else {
            tokio::spawn(bitswap.clone().read(inbound));
        }
    }
}

/// Answers pings. Libp2p's own ping gives up answering once a peer has refused a ping of ours,
/// whereupon some peers cut the connection; and nothing here needs to ping.
async fn echo(mut inbound: InboundStream) {
    use futures::AsyncReadExt as _;
    let mut ping = [0; 32];
    while inbound.stream.read_exact(&mut ping).await.is_ok() {
        if inbound.stream.write_all(&ping).await.is_err() || inbound.stream.flush().await.is_err() {
            return;
        }
    }
}
