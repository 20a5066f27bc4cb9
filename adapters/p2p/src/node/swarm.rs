//! The task that drives the swarm.

use super::{
    ConnectError, NodeConfig, StartError,
    behaviour::{Behaviour, Event},
};
use crate::{
    bitswap::Bitswap,
    causes::{root_cause, with_causes},
};
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, TransportError,
    core::transport::ListenerId,
    kad::{PeerInfo, QueryId},
    swarm::{
        ConnectionId, DialError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::{
    collections::{HashMap, HashSet},
    io,
};
use tokio::sync::{mpsc, oneshot};

type Dialled = oneshot::Sender<Result<(), ConnectError>>;

pub(super) enum Order {
    Dial { peer: PeerId, addresses: Vec<Multiaddr>, done: Dialled },
    Disconnect(PeerId),
}

/// Orders to the swarm's task.
#[derive(Clone)]
pub(crate) struct Commands(mpsc::UnboundedSender<Order>);

impl Commands {
    /// The queue has no bound, but only this process fills it: each caller waits for its answer,
    /// and a peer is disconnected once.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    pub(super) async fn dial(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), ConnectError> {
        let (done, dialled) = oneshot::channel();
        let order = Order::Dial { peer, addresses, done };
        self.0.send(order).map_err(|_| ConnectError::Stopped)?;
        dialled.await.map_err(|_| ConnectError::Stopped)?
    }

    pub(crate) fn disconnect(&self, peer: PeerId) {
        // A node that has stopped has no connections.
        let _ = self.0.send(Order::Disconnect(peer));
    }
}

/// Begins to listen wherever the configuration says, and tells where that is.
pub(super) async fn listen(
    swarm: &mut Swarm<Behaviour>,
    config: &NodeConfig,
) -> Result<Vec<Multiaddr>, StartError> {
    let mut addresses = Vec::new();
    for address in &config.listen {
        let listener = swarm.listen_on(address.clone()).map_err(|error| refused(address, &error))?;
        addresses.push(listening(swarm, listener, address).await?);
    }
    for address in &config.external {
        swarm.add_external_address(address.clone());
        addresses.push(address.clone());
    }
    Ok(addresses)
}

async fn listening(
    swarm: &mut Swarm<Behaviour>,
    listener: ListenerId,
    wanted: &Multiaddr,
) -> Result<Multiaddr, StartError> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, address } if listener_id == listener => {
                return Ok(address);
            }
            SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } if listener_id == listener => {
                return Err(refused(wanted, &error));
            }
            SwarmEvent::ListenerError { listener_id, error } if listener_id == listener => {
                return Err(refused(wanted, &error));
            }
            _ => {}
        }
    }
}

fn refused(address: &Multiaddr, error: &dyn std::error::Error) -> StartError {
    StartError::Listen { address: address.clone(), problem: with_causes(error) }
}

/// A dial under way.
///
/// ```text
///             given addresses fail               found
///   dialling --------------------> looking up ----------> dialling again --> (answered)
///      |  connected                    |  not found
///      +-----------> (answered) <------+
/// ```
#[derive(Default)]
struct Dial {
    waiting: Vec<Dialled>,
    /// Each of those who wait gave addresses of its own: a false one does not stand in the way of
    /// a right one.
    under_way: HashSet<ConnectionId>,
    /// What they gave: a second connection to the same place would be one that the peer refuses.
    given: HashSet<Multiaddr>,
    /// What went wrong at the given addresses, once the DHT has been asked.
    looked_up: Option<ConnectError>,
}

pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    orders: mpsc::UnboundedReceiver<Order>,
    bitswap: Bitswap,
    dials: HashMap<PeerId, Dial>,
    look_ups: HashMap<QueryId, PeerId>,
    connected: HashSet<PeerId>,
}

impl Driver {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        orders: mpsc::UnboundedReceiver<Order>,
        bitswap: Bitswap,
    ) -> Self {
        let (dials, look_ups, connected) = Default::default();
        Self { swarm, orders, bitswap, dials, look_ups, connected }
    }

    /// Runs until the node's task is aborted.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                Some(order) = self.orders.recv() => self.obey(order),
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Dial { peer, done, .. } if self.swarm.is_connected(&peer) => answer(done, Ok(())),
            Order::Dial { peer, addresses, done } => {
                let dial = self.dials.entry(peer).or_default();
                dial.waiting.push(done);
                let new: Vec<_> = addresses.into_iter().filter(|at| dial.given.insert(at.clone())).collect();
                if dial.waiting.len() == 1 || !new.is_empty() {
                    self.dial(peer, new);
                }
            }
            Order::Disconnect(peer) => {
                // Not being connected is what is wanted.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let options = DialOpts::peer_id(peer)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .condition(PeerCondition::Disconnected)
            .build();
        let connection = options.connection_id();
        self.dials.entry(peer).or_default().under_way.insert(connection);
        if let Err(error) = self.swarm.dial(options) {
            self.failed(peer, connection, cause(&error));
        }
    }

    /// Once nothing is under way any more, asks the DHT, where there is one and it was not asked
    /// yet.
    fn failed(&mut self, peer: PeerId, connection: ConnectionId, error: ConnectError) {
        let Some(dial) = self.dials.get_mut(&peer) else { return };
        if !dial.under_way.remove(&connection) || !dial.under_way.is_empty() {
            return;
        }
        match self.swarm.behaviour_mut().kademlia.as_mut() {
            Some(kademlia) if dial.looked_up.is_none() => {
                dial.looked_up = Some(error);
                self.look_ups.insert(kademlia.get_closest_peers(peer), peer);
            }
            _ => self.dialled(&peer, &Err(error)),
        }
    }

    fn found(&mut self, query: QueryId, near: Vec<PeerInfo>) {
        let Some(peer) = self.look_ups.remove(&query) else { return };
        let Some(Dial { looked_up: Some(error), .. }) = self.dials.get(&peer) else { return };
        let error = error.clone();
        match near.into_iter().find(|info| info.peer_id == peer) {
            Some(info) if !info.addrs.is_empty() => self.dial(peer, info.addrs),
            _ => self.dialled(&peer, &Err(error)),
        }
    }

    fn dialled(&mut self, peer: &PeerId, result: &Result<(), ConnectError>) {
        for done in self.dials.remove(peer).unwrap_or_default().waiting {
            answer(done, result.clone());
        }
    }

    fn on_event(&mut self, event: SwarmEvent<Event>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                if self.connected.insert(peer_id) {
                    self.bitswap.connected(peer_id);
                }
                self.dialled(&peer_id, &Ok(()));
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "disconnected");
                self.connected.remove(&peer_id);
                self.bitswap.disconnected(&peer_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id: Some(peer), error } => {
                self.failed(peer, connection_id, cause(&error));
            }
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                tracing::error!(%error, "the network stopped listening");
            }
            SwarmEvent::Behaviour(event) => self.on_report(event),
            _ => {}
        }
    }

    fn on_report(&mut self, event: Event) {
        match event {
            Event::Identified { peer, agent, dht_at } => {
                tracing::debug!(%peer, agent, "identified");
                let Some(kademlia) = self.swarm.behaviour_mut().kademlia.as_mut() else { return };
                for address in dht_at {
                    kademlia.add_address(&peer, address);
                }
            }
            Event::Found { query, near } => self.found(query, near),
            Event::Other => {}
        }
    }
}

fn answer(done: Dialled, result: Result<(), ConnectError>) {
    // Whoever asked may have gone.
    let _ = done.send(result);
}

fn cause(error: &DialError) -> ConnectError {
    match error {
        DialError::NoAddresses => ConnectError::NoAddress,
        DialError::Transport(attempts) => {
            let attempt = |(address, error): &(Multiaddr, TransportError<io::Error>)| {
                format!("{address}: {}", root_cause(error))
            };
            ConnectError::Unreachable(attempts.iter().map(attempt).collect::<Vec<_>>().join("; "))
        }
        other => ConnectError::Unreachable(other.to_string()),
    }
}
