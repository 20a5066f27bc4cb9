//! The publisher's side: dialling providers and publishing blobs.

use super::link::{Line, Link};
use crate::{
    address,
    blob_store::{BlobInfo, BlobStore, Reader},
    causes::with_causes,
    node::Node,
};
use apocryph_model::{Blob, PeerAddress, PeerId};
use apocryph_publisher::{LinkError, LocalBlob, Network, ProviderLink};
use apocryph_statement::Signer;
use async_trait::async_trait;
use libp2p::Multiaddr;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::time::timeout;

/// How long all addresses of a provider together may take to answer.
const DIAL: Duration = Duration::from_secs(20);

/// The network as a publisher uses it: a [`Node`] whose store publishes files in place.
pub struct PublisherNetwork {
    node: Node,
    chain: u64,
    /// Those that some link holds.
    lines: Mutex<HashMap<libp2p::PeerId, Weak<Line>>>,
}

impl PublisherNetwork {
    /// Calls are signed for the chain with this id (EIP-155).
    pub fn new(node: Node, chain: u64) -> Self {
        Self { node, chain, lines: Mutex::default() }
    }

    fn line(&self, peer: libp2p::PeerId) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, line| line.strong_count() > 0);
        let held = lines.get(&peer).and_then(Weak::upgrade);
        held.unwrap_or_else(|| {
            let line = Arc::default();
            lines.insert(peer, Arc::downgrade(&line));
            line
        })
    }
}

#[async_trait]
impl Network for PublisherNetwork {
    async fn connect(
        &self,
        addresses: &[PeerAddress],
        signer: Arc<dyn Signer>,
    ) -> Result<Arc<dyn ProviderLink>, LinkError> {
        let first =
            addresses.first().ok_or_else(|| LinkError::Local("a provider without addresses".into()))?;
        let peer = first.peer();
        let unreachable = |problem: String| LinkError::Unreachable { peer: peer.clone(), problem };
        let (id, at) = targets(addresses).ok_or_else(|| unreachable("no usable address".into()))?;
        let dialled = timeout(DIAL, self.node.connect(id, at)).await;
        dialled
            .map_err(|_| unreachable(format!("no answer in {} s", DIAL.as_secs())))?
            .map_err(|error| unreachable(error.to_string()))?;
        let (line, streams) = (self.line(id), self.node.streams());
        let link = Link::open(line, streams, id, peer.clone(), signer, self.chain).await;
        Ok(Arc::new(link.map_err(|error| unreachable(with_causes(&error)))?))
    }

    async fn publish(&self, blobs: &[LocalBlob], peer: &PeerId) -> Result<Vec<Blob>, LinkError> {
        let reader =
            address::peer_id(peer).ok_or_else(|| LinkError::Local(format!("{peer} is no peer id")))?;
        let (store, blobs) = (self.node.store().clone(), blobs.to_vec());
        let publish = move || blobs.iter().map(|blob| publish(&store, blob, Reader::Peer(reader))).collect();
        let published = tokio::task::spawn_blocking(publish).await;
        published.map_err(|_| LinkError::Local("the publisher is stopping".into()))?
    }
}

/// The first usable address's peer, and where it may be dialled.
fn targets(addresses: &[PeerAddress]) -> Option<(libp2p::PeerId, Vec<Multiaddr>)> {
    let parsed: Vec<_> = addresses.iter().filter_map(address::parse).collect();
    let peer = parsed.first()?.0;
    let at = parsed.into_iter().filter(|(other, _)| *other == peer).map(|(_, at)| at).collect();
    Some((peer, at))
}

fn publish(store: &BlobStore, blob: &LocalBlob, reader: Reader) -> Result<Blob, LinkError> {
    let local =
        |problem: String| LinkError::Local(format!("{} cannot be published: {problem}", blob.path.display()));
    let published = store.publish(&blob.path, &blob.digest, reader);
    let BlobInfo { root, size, .. } = published.map_err(|error| local(with_causes(&error)))?;
    if size != blob.size {
        return Err(local(format!("it has {size} bytes, not {}", blob.size)));
    }
    Ok(Blob { digest: blob.digest, size, cid: root.to_string() })
}
