//! Nodes, contents and keys that the tests share.
#![allow(dead_code, reason = "each test file uses some of it")]

use apocryph_model::{Blob, ChannelId, Digest, PeerId};
use apocryph_p2p::{BlobStore, Identity, Node, NodeConfig, Reader};
use libp2p::Multiaddr;
use sha2::{Digest as _, Sha256};
use std::{path::Path, time::Duration};
use tempfile::TempDir;

pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub(crate) const OWNER: ChannelId = ChannelId([7; 32]);

/// How long a test waits for what must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn config(listen: &str) -> NodeConfig {
    NodeConfig { listen: vec![listen.parse().unwrap()], provider: true, ..NodeConfig::default() }
}

/// A node that gives up on silent peers soon.
pub(crate) fn impatient(listen: &str) -> NodeConfig {
    NodeConfig { patience: Duration::from_millis(1500), ..config(listen) }
}

pub(crate) async fn publisher(listen: &str) -> Node {
    let store = BlobStore::of_files().unwrap();
    Node::start(&Identity::ephemeral(), &config(listen), store).await.unwrap()
}

pub(crate) async fn provider(config: &NodeConfig, dir: &Path) -> Node {
    let store = BlobStore::open(dir, 1 << 30).unwrap();
    Node::start(&Identity::ephemeral(), config, store).await.unwrap()
}

/// Connects the first node to the second.
pub(crate) async fn connect(from: &Node, to: &Node) {
    let addresses = to.addresses().into_iter().map(without_peer).collect();
    from.connect(to.peer_id(), addresses).await.unwrap();
}

pub(crate) fn without_peer(mut address: Multiaddr) -> Multiaddr {
    address.pop();
    address
}

pub(crate) fn id(node: &Node) -> PeerId {
    node.peer_id().to_base58().parse().unwrap()
}

/// Bytes without repetition, so that every leaf is another.
pub(crate) fn content(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..size).map(|_| next()).collect()
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Lets `reader` fetch a content from `node`.
pub(crate) fn publish(node: &Node, dir: &TempDir, bytes: &[u8], reader: Reader) -> Blob {
    let path = dir.path().join(digest(bytes).hex());
    std::fs::write(&path, bytes).unwrap();
    let info = node.store().publish(&path, &digest(bytes), reader).unwrap();
    Blob { digest: info.digest, size: info.size, cid: info.root.to_string() }
}

pub(crate) fn stored(node: &Node, blob: &Blob) -> Option<Vec<u8>> {
    let path = node.store().path(&blob.digest).unwrap()?;
    Some(std::fs::read(path).unwrap())
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let poll = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, poll).await.is_ok(), "{what} does not come to hold");
}

/// Opens a store that another node has just let go of: its tasks end a moment after it.
pub(crate) async fn reopen(dir: &Path) -> BlobStore {
    let poll = async {
        loop {
            match BlobStore::open(dir, 1 << 30) {
                Ok(store) => return store,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(DEADLINE, poll).await.expect("the store is let go of")
}
