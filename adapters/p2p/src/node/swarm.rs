//! The task that drives the swarm.

use super::{
    ConnectError, NodeConfig, StartError,
    behaviour::{Behaviour, Event},
};
use crate::bitswap::Bitswap;
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::transport::ListenerId,
    swarm::{
        DialError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::collections::{HashMap, HashSet};
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
    StartError::Listen { address: address.clone(), problem: error.to_string() }
}

pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    orders: mpsc::UnboundedReceiver<Order>,
    bitswap: Bitswap,
    dialling: HashMap<PeerId, Vec<Dialled>>,
    connected: HashSet<PeerId>,
}

impl Driver {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        orders: mpsc::UnboundedReceiver<Order>,
        bitswap: Bitswap,
    ) -> Self {
        Self { swarm, orders, bitswap, dialling: HashMap::new(), connected: HashSet::new() }
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
            Order::Dial { peer, addresses, done } => self.dial(peer, addresses, done),
            Order::Disconnect(peer) => {
                // Not being connected is what is wanted.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, done: Dialled) {
        if self.swarm.is_connected(&peer) {
            return answer(done, Ok(()));
        }
        self.dialling.entry(peer).or_default().push(done);
        let options = DialOpts::peer_id(peer)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        match self.swarm.dial(options) {
            // The one under way answers for this one too.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => self.dialled(&peer, Err(cause(&error))),
        }
    }

    fn dialled(&mut self, peer: &PeerId, result: Result<(), ConnectError>) {
        for done in self.dialling.remove(peer).unwrap_or_default() {
            answer(done, result.clone());
        }
    }

    fn on_event(&mut self, event: SwarmEvent<Event>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                if self.connected.insert(peer_id) {
                    self.bitswap.connected(peer_id);
                }
                self.dialled(&peer_id, Ok(()));
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "disconnected");
                self.connected.remove(&peer_id);
                self.bitswap.disconnected(&peer_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                self.dialled(&peer, Err(cause(&error)));
            }
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                tracing::error!(%error, "the network stopped listening");
            }
            _ => {}
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
            let attempt = |(address, error): &(Multiaddr, _)| format!("{address}: {error}");
            ConnectError::Unreachable(attempts.iter().map(attempt).collect::<Vec<_>>().join("; "))
        }
        other => ConnectError::Unreachable(other.to_string()),
    }
}
