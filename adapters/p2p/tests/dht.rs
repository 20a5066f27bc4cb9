//! Peers whose addresses have changed, found by the DHT.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod nodes;

use apocryph_p2p::{BlobStore, ConnectError, Identity, Node, NodeConfig};
use libp2p::Multiaddr;
use nodes::{TCP, config};
use std::time::Duration;

async fn join(bootstrap: &Node) -> Node {
    let bootstrap = bootstrap.addresses()[0].to_string().parse().unwrap();
    let config = NodeConfig { bootstrap: vec![bootstrap], ..config(TCP) };
    Node::start(&Identity::ephemeral(), &config, BlobStore::of_files().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_found_where_it_is_now() {
    // The first of a DHT has nobody to join by but a peer that is away.
    let away = nodes::publisher(TCP).await;
    let bootstrap = join(&away).await;
    drop(away);
    let (sought, seeker) = (join(&bootstrap).await, join(&bootstrap).await);
    let stale: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let found = async {
        // Until the sought one has told the bootstrap peer where it is.
        while seeker.connect(sought.peer_id(), vec![stale.clone()]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(nodes::DEADLINE, found).await.expect("it is found");
    let nobody = seeker.connect(libp2p::PeerId::random(), vec![stale]).await;
    assert!(matches!(nobody, Err(ConnectError::Unreachable(_))), "{nobody:?}");
}
