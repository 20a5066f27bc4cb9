//! A publisher whose blobs are not what it announced, or do not come.

use std::collections::BTreeSet;
use std::ffi::OsString;

use apocryph_model::{Blob, Digest};
use apocryph_p2p::{BlobStore, Reader};
use apocryph_seal::sha256;
use apocryph_testbed::chain::DevChain;
use apocryph_testbed::daemon::Daemon;
use prost::Message;

use crate::channels::{give_back, has_no_pod, open, opening, request};
use crate::pods::{close, insist};
use crate::stranger::{Stranger, offering, place, wire};

const PUBLISHER: usize = 0;

#[tokio::test]
async fn blobs_that_are_not_what_was_announced_leave_nothing() {
    let Some(market) = crate::market().await else { return };
    market.publisher(PUBLISHER).await.unwrap();
    let offering = offering(&market).await;
    let before = blobs(&market.daemons[0]);
    let content = [7; 1000];
    let (announced, block) = (announced(&content), message(&content));
    let mislabelled = Blob { digest: Digest([9; 32]), ..announced.clone() };
    let oversized = Blob { size: 999, ..announced.clone() };
    let (half, flood) = (block[..500].to_vec(), message(&[1; 1000]).repeat(1000));
    let publishers = (wire::Party::Publisher, "blob-unavailable", false);
    let networks = (wire::Party::Network, "transfer-stalled", true);
    let cases = [
        ("deaf", None, &announced, publishers),
        ("damaged", Some(flood), &announced, publishers),
        ("mislabelled", Some(block.clone()), &mislabelled, publishers),
        ("oversized", Some(block), &oversized, publishers),
        ("garbled", Some(vec![0xff; 1000]), &announced, publishers),
        // The last one: what has come is kept for a while.
        ("stalling", Some(half), &announced, networks),
    ];
    for (name, answer, spec, expected) in cases {
        let opening = opening(&offering, name);
        let channel = open(&market, PUBLISHER, &opening).await;
        let stranger = Stranger::meet(&place(&offering)).await;
        if let Some(answer) = answer {
            stranger.answer_wants(answer);
        }
        let request = request(opening.terms, opening.pod, spec.clone());
        let fault =
            stranger.provision_as(&DevChain::key(PUBLISHER), channel, &request).await.expect_err(name);
        assert_eq!((fault.who(), fault.code.as_str(), fault.retry), expected, "{name}: {fault:?}");
        assert!(fault.text.contains(&spec.cid), "{name} does not tell which: {fault:?}");
        if !fault.retry {
            assert_eq!(blobs(&market.daemons[0]), before, "{name} left something");
        }
        insist("its money comes back", async || give_back(&market, PUBLISHER, channel).await).await;
    }
    has_no_pod(&market).await;
    close(market).await;
}

/// What the provider keeps of blobs, whole ones and parts.
fn blobs(daemon: &Daemon) -> BTreeSet<OsString> {
    let entries = std::fs::read_dir(daemon.blobs().join("blobs")).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

/// A blob as an honest publisher announces it.
fn announced(content: &[u8]) -> Blob {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blob");
    std::fs::write(&path, content).unwrap();
    let store = BlobStore::of_files().unwrap();
    let info = store.publish(&path, &sha256(content), Reader::Everyone).unwrap();
    Blob { digest: info.digest, size: info.size, cid: info.root.to_string() }
}

/// A message of bitswap 1.2.0, as far as it carries blocks.
#[derive(Message)]
struct Bitswap {
    #[prost(message, repeated, tag = "3")]
    payload: Vec<Block>,
}

#[derive(Message)]
struct Block {
    /// Version, codec, hash and its length.
    #[prost(bytes = "vec", tag = "1")]
    prefix: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

/// One raw block by SHA-256, as it is sent.
fn message(data: &[u8]) -> Vec<u8> {
    let block = Block { prefix: vec![1, 0x55, 0x12, 32], data: data.to_vec() };
    Bitswap { payload: vec![block] }.encode_length_delimited_to_vec()
}
