//! Exchange of blocks: bitswap 1.2.0, with 1.1.0 and 1.0.0 for older peers.
//! Specification: <https://specs.ipfs.tech/bitswap-protocol/>.
//!
//! ```text
//!   inbound streams --> reader --> wants -----------------> Outbox --> writer --> outbound stream
//!   (any number,          |                                   ^         ^
//!    any order)           +------> blocks --> Download --asks-+         +-- BlobStore
//!                                               |
//!                                               +--> Partial (on disk, verified)
//! ```
//!
//! Each connected peer has one writer and one [`outbox::Outbox`]; each message the peer sends
//! comes on a stream of its own choosing. Nothing here waits for a clock but to find a peer
//! that stalls and to close a stream that has become idle.

mod download;
mod fetch;
mod message;
mod outbox;
mod peer;
mod reader;
mod wire;
mod writer;

pub(crate) use download::Announced;
pub(crate) use fetch::FetchError;
pub(crate) use reader::Misbehaviour;

use crate::{blob_store::BlobStore, node::Commands, unixfs::BlockId};
use apocryph_provider::Turns;
use libp2p::{PeerId, StreamProtocol};
use peer::Peer;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// Versions of the protocol, best first.
pub(crate) const PROTOCOLS: [StreamProtocol; 3] = [
    StreamProtocol::new("/ipfs/bitswap/1.2.0"),
    StreamProtocol::new("/ipfs/bitswap/1.1.0"),
    StreamProtocol::new("/ipfs/bitswap/1.0.0"),
];

/// The exchange of one node; clones share it.
#[derive(Clone)]
pub(crate) struct Bitswap {
    inner: Arc<Inner>,
}

struct Inner {
    store: BlobStore,
    streams: libp2p_stream::Control,
    commands: Commands,
    /// How long a peer may be silent in the middle of something.
    patience: Duration,
    /// Whoever is connected.
    peers: Mutex<HashMap<PeerId, Arc<Peer>>>,
    /// Changes whenever someone connects.
    arrivals: watch::Sender<u64>,
    /// Roots that are being fetched: one fetch at a time each.
    fetching: Turns<BlockId>,
}

impl Bitswap {
    pub(crate) fn new(
        store: BlobStore,
        streams: libp2p_stream::Control,
        commands: Commands,
        patience: Duration,
    ) -> Self {
        let (arrivals, _) = watch::channel(0);
        Self {
            inner: Arc::new(Inner {
                store,
                streams,
                commands,
                patience,
                peers: Mutex::default(),
                arrivals,
                fetching: Turns::default(),
            }),
        }
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<PeerId, Arc<Peer>>> {
        self.inner.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer(&self, id: &PeerId) -> Option<Arc<Peer>> {
        self.peers().get(id).cloned()
    }

    /// A peer has connected.
    pub(crate) fn connected(&self, id: PeerId) {
        let peer = Arc::new(Peer::new(id));
        if let Some(former) = self.peers().insert(id, peer.clone()) {
            former.close();
        }
        tokio::spawn(writer::run(self.clone(), peer));
        self.inner.arrivals.send_modify(|count| *count += 1);
    }

    /// A peer's last connection is gone.
    pub(crate) fn disconnected(&self, id: &PeerId) {
        if let Some(peer) = self.peers().remove(id) {
            peer.close();
        }
    }

    /// Ends everything that goes on with peers; the store is let go of.
    pub(crate) fn stop(&self) {
        for (_, peer) in self.peers().drain() {
            peer.close();
        }
    }

    /// Cuts off a peer that breaks the protocol or its bounds. One that is being fetched from is
    /// not listened to any more, but stays connected, so that it can be told why the fetch failed.
    fn expel(&self, peer: &Peer, cause: Misbehaviour) {
        tracing::warn!(peer = %peer.id, %cause, "bitswap: cut off");
        let fetched_from = peer.owes_blocks();
        peer.expel(cause);
        if !fetched_from {
            self.inner.commands.disconnect(peer.id);
        }
    }
}
