//! Accepting streams: every stream that a peer opens for one of our protocols goes to one queue.
//!
//! `libp2p-stream` accepts too, but has room for a single stream and drops the rest, while some
//! peers open a stream per message.

use futures::future::{Ready, ready};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{
        Endpoint,
        transport::PortUse,
        upgrade::{DeniedUpgrade, InboundUpgrade, UpgradeInfo},
    },
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, SubstreamProtocol, ToSwarm,
        handler::{ConnectionEvent, FullyNegotiatedInbound},
    },
};
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// A protocol that peers may open streams for.
#[derive(Debug, Clone)]
pub(super) struct Protocol {
    pub(super) name: StreamProtocol,
    /// How many streams of one connection may be open at once; further ones are refused.
    pub(super) streams: usize,
}

/// A stream that a peer opened.
pub(crate) struct InboundStream {
    pub(crate) peer: PeerId,
    pub(crate) protocol: StreamProtocol,
    pub(crate) stream: Stream,
    /// Its place among the connection's streams.
    pub(crate) permit: OwnedSemaphorePermit,
}

pub(super) struct Behaviour {
    protocols: Vec<Protocol>,
    queue: mpsc::Sender<InboundStream>,
}

impl Behaviour {
    pub(super) fn new(protocols: Vec<Protocol>, queue: mpsc::Sender<InboundStream>) -> Self {
        Self { protocols, queue }
    }

    fn handler(&self, peer: PeerId) -> Handler {
        let place = |protocol: &Protocol| (protocol.name.clone(), Arc::new(Semaphore::new(protocol.streams)));
        Handler { peer, places: self.protocols.iter().map(place).collect(), queue: self.queue.clone() }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Infallible>> {
        Poll::Pending
    }
}

pub(super) struct Handler {
    peer: PeerId,
    places: Vec<(StreamProtocol, Arc<Semaphore>)>,
    queue: mpsc::Sender<InboundStream>,
}

impl Handler {
    /// Queues a stream. Beyond the bounds it is dropped, which resets it.
    fn accept(&self, protocol: StreamProtocol, stream: Stream) {
        let places = self.places.iter().find(|(name, _)| *name == protocol).map(|(_, places)| places);
        let Some(Ok(permit)) = places.map(|places| places.clone().try_acquire_owned()) else {
            tracing::debug!(peer = %self.peer, %protocol, "stream refused: too many");
            return;
        };
        let inbound = InboundStream { peer: self.peer, protocol, stream, permit };
        if self.queue.try_send(inbound).is_err() {
            tracing::debug!(peer = %self.peer, "stream refused: too much to do");
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Accept;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Accept> {
        let names = self.places.iter().map(|(name, _)| name.clone()).collect();
        SubstreamProtocol::new(Accept { names }, ())
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Accept, DeniedUpgrade>) {
        if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
            protocol: (name, stream),
            ..
        }) = event
        {
            self.accept(name, stream);
        }
    }
}

/// Takes a stream as it is once its protocol is agreed on.
pub(super) struct Accept {
    names: Vec<StreamProtocol>,
}

impl UpgradeInfo for Accept {
    type Info = StreamProtocol;
    type InfoIter = Vec<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.names.clone()
    }
}

impl InboundUpgrade<Stream> for Accept {
    type Output = (StreamProtocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((name, stream)))
    }
}
