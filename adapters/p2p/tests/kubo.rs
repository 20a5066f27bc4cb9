//! A real Kubo node, fetched from and served.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod nodes;

use apocryph_model::Blob;
use apocryph_p2p::{BlobStore, Node, Reader};
use apocryph_provider::Blobs as _;
use apocryph_testbed::kubo::Kubo;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use nodes::{OWNER, QUIC, TCP, config, content, digest, provider, publish, publisher, stored};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const MIB: usize = 1 << 20;
/// How Kubo is told to cut files as we do.
const OUR_LAYOUT: [&str; 5] =
    ["--cid-version=1", "--raw-leaves", "--chunker=size-262144", "--max-file-links=1024", "-Q"];

/// None, with the reason printed, where there is no Kubo.
fn offline() -> Option<Kubo> {
    Kubo::offline().inspect_err(|reason| eprintln!("skipped: {reason}")).ok()
}

fn online() -> Option<Kubo> {
    Kubo::online().inspect_err(|reason| eprintln!("skipped: {reason}")).ok()
}

/// Adds a file and tells its CID.
fn add(kubo: &Kubo, path: &Path, options: &[&str]) -> String {
    kubo.text(&[&["add"], options, &[path.to_str().unwrap()]].concat()).unwrap()
}

/// Its peer id and where it listens by this transport.
fn address(kubo: &Kubo, transport: &str) -> (PeerId, Multiaddr) {
    let mut address: Multiaddr = kubo.address(transport).unwrap().parse().unwrap();
    let Some(Protocol::P2p(peer)) = address.pop() else { panic!("no peer id in {address}") };
    (peer, address)
}

fn file(dir: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join("content");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn cids_are_equal() {
    let Some(kubo) = offline() else { return };
    let dir = tempfile::tempdir().unwrap();
    for size in [0, 1, 256 << 10, MIB, MIB + 1, 20 * MIB, 300 * MIB] {
        let bytes = content(size);
        let path = file(&dir, &bytes);
        let store = BlobStore::of_files().unwrap();
        let ours = store.publish(&path, &digest(&bytes), Reader::Everyone).unwrap().root;
        let theirs = add(&kubo, &path, &[&OUR_LAYOUT[..], &["--only-hash"]].concat());
        assert_eq!(ours.to_string(), theirs, "{size} bytes");
    }
}

async fn fetch(provider: &Node, kubo: &Kubo, transport: &str, bytes: &[u8], cid: String) {
    let (peer, address) = address(kubo, transport);
    let source = format!("{address}/p2p/{peer}").parse().unwrap();
    provider.reach(&source).await.unwrap();
    let blob = Blob { digest: digest(bytes), size: bytes.len() as u64, cid };
    provider.fetch(OWNER, &blob, &peer.to_base58().parse().unwrap(), &|_| ()).await.unwrap();
    assert!(stored(provider, &blob).unwrap() == bytes);
}

async fn fetched_from_kubo(listen: &str, transport: &str) {
    let Some(kubo) = online() else { return };
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let provider = provider(&config(listen), to.path()).await;
    for (size, layout) in [
        (0, &OUR_LAYOUT[..]),
        (1, &OUR_LAYOUT),
        (MIB + 1, &OUR_LAYOUT),
        (50 * MIB, &OUR_LAYOUT),
        // Kubo's layouts of 2025 and of 2015, the latter with leaves wrapped in nodes.
        (20 * MIB + 2, &["-Q", "--cid-version=1", "--chunker=size-1048576", "--max-file-links=1024"]),
        (20 * MIB + 3, &["-Q", "--cid-version=0", "--raw-leaves=false"]),
    ] {
        let bytes = content(size);
        let cid = add(&kubo, &file(&dir, &bytes), layout);
        fetch(&provider, &kubo, transport, &bytes, cid).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_fetches_from_kubo_by_tcp() {
    fetched_from_kubo(TCP, "/tcp/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_fetches_from_kubo_by_quic() {
    fetched_from_kubo(QUIC, "/quic-v1").await;
}

async fn served_to_kubo(listen: &str) {
    let Some(kubo) = online() else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = publisher(listen).await;
    kubo.run(&["swarm", "connect", &node.addresses()[0].to_string()]).unwrap();
    for size in [1, MIB + 1, 50 * MIB] {
        let bytes = content(size);
        let blob = publish(&node, &dir, &bytes, Reader::Everyone);
        let read = kubo.run(&["cat", "--timeout=120s", &blob.cid]).unwrap();
        assert!(read == bytes, "{size} bytes");
    }
    // What it may not read is not there for it.
    let secret = publish(&node, &dir, b"not for everyone", Reader::Peer(PeerId::random()));
    let refused = kubo.output(&["cat", "--timeout=2s", &secret.cid]).unwrap();
    assert!(!refused.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn kubo_fetches_what_is_public_by_tcp() {
    served_to_kubo(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubo_fetches_what_is_public_by_quic() {
    served_to_kubo(QUIC).await;
}
