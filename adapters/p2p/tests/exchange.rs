//! Blobs from node to node.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod nodes;

use apocryph_model::ChannelId;
use apocryph_p2p::{BlobStore, Identity, Node, Reader};
use apocryph_provider::{BlobError, Blobs as _};
use nodes::{
    OWNER, QUIC, TCP, config, connect, content, id, impatient, provider, publish, publisher, stored,
    without_peer,
};
use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

const MIB: usize = 1 << 20;

async fn transfer(listen: &str) {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let publisher = publisher(listen).await;
    let provider = provider(&config(listen), to.path()).await;
    connect(&publisher, &provider).await;
    for size in [0, 1, MIB, MIB + 1, 20 * MIB] {
        let bytes = content(size);
        let blob = publish(&publisher, &from, &bytes, Reader::Peer(provider.peer_id()));
        let seen = Mutex::new(Vec::new());
        let progress = |bytes| seen.lock().unwrap().push(bytes);
        provider.fetch(OWNER, &blob, &id(&publisher), &progress).await.unwrap();
        assert!(stored(&provider, &blob).unwrap() == bytes, "{size} bytes");
        let seen = seen.into_inner().unwrap();
        assert!(seen.is_sorted() && seen.last() == Some(&(size as u64)), "{size} bytes: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_of_all_sizes_cross_tcp() {
    transfer(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_of_all_sizes_cross_quic() {
    transfer(QUIC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_that_repeat_themselves_are_put_together() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let publisher = publisher(TCP).await;
    let provider = provider(&config(TCP), to.path()).await;
    connect(&publisher, &provider).await;
    let bytes = [vec![0; 3 * MIB], content(MIB), vec![0; 3 * MIB]].concat();
    let blob = publish(&publisher, &from, &bytes, Reader::Everyone);
    provider.fetch(OWNER, &blob, &id(&publisher), &|_| ()).await.unwrap();
    assert!(stored(&provider, &blob).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_made_up_for() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let publisher = publisher(TCP).await;
    let provider = provider(&config(TCP), to.path()).await;
    connect(&publisher, &provider).await;
    let bytes = content(20 * MIB);
    let blob = publish(&publisher, &from, &bytes, Reader::Everyone);
    let cut = AtomicBool::new(false);
    let progress = |done| {
        if done > 4 * MIB as u64 && !cut.swap(true, Relaxed) {
            provider.disconnect(publisher.peer_id());
        }
    };
    let source = id(&publisher);
    let fetch = provider.fetch(OWNER, &blob, &source, &progress);
    let again = async {
        nodes::until("the cut", || cut.load(Relaxed)).await;
        // The publisher notices and dials again.
        loop {
            connect(&publisher, &provider).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        fetched = fetch => fetched.unwrap(),
        () = again => unreachable!(),
    }
    assert!(cut.load(Relaxed) && stored(&provider, &blob).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_goes_on_after_a_restart() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let publisher = publisher(TCP).await;
    let bytes = content(20 * MIB);
    let blob = publish(&publisher, &from, &bytes, Reader::Everyone);
    let source = id(&publisher);
    let reached = AtomicU64::new(0);
    {
        let provider = provider(&config(TCP), to.path()).await;
        connect(&publisher, &provider).await;
        let progress = |done| reached.store(done, Relaxed);
        let stop = nodes::until("the half", || reached.load(Relaxed) > 10 * MIB as u64);
        tokio::select! {
            _ = provider.fetch(OWNER, &blob, &source, &progress) => panic!("done before it could be stopped"),
            () = stop => {}
        }
    }
    let store = nodes::reopen(to.path()).await;
    let provider = Node::start(&Identity::ephemeral(), &config(TCP), store).await.unwrap();
    connect(&publisher, &provider).await;
    let first = AtomicU64::new(u64::MAX);
    let progress = |done| {
        first.fetch_min(done, Relaxed);
    };
    provider.fetch(OWNER, &blob, &source, &progress).await.unwrap();
    assert!(first.load(Relaxed) >= 9 * MIB as u64, "it began again at {}", first.load(Relaxed));
    assert!(stored(&provider, &blob).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_not_served() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let publisher = publisher(TCP).await;
    let stranger = provider(&config(TCP), to.path()).await;
    connect(&stranger, &publisher).await;
    let blob = publish(&publisher, &from, &content(MIB), Reader::Peer(libp2p::PeerId::random()));
    let refused = stranger.fetch(OWNER, &blob, &id(&publisher), &|_| ()).await;
    assert!(matches!(refused, Err(BlobError::Peer { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_announced_is_refused_and_leaves_nothing() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let publisher = publisher(TCP).await;
    let provider = provider(&config(TCP), to.path()).await;
    connect(&publisher, &provider).await;
    let blob = publish(&publisher, &from, &content(MIB), Reader::Everyone);
    let mut larger = blob.clone();
    larger.size += 1;
    let mut other = blob.clone();
    other.digest = nodes::digest(b"other");
    let mut nothing = blob.clone();
    nothing.cid = "bafy".into();
    for wrong in [larger, other, nothing] {
        let refused = provider.fetch(OWNER, &wrong, &id(&publisher), &|_| ()).await;
        assert!(matches!(refused, Err(BlobError::Peer { .. })), "{refused:?}");
        assert_eq!(provider.store().used(), 0);
    }
    provider.fetch(OWNER, &blob, &id(&publisher), &|_| ()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_under_way_is_not_taken() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let publisher = publisher(TCP).await;
    let provider = provider(&impatient(TCP), to.path()).await;
    connect(&publisher, &provider).await;
    let bytes = content(MIB);
    let blob = publish(&publisher, &from, &bytes, Reader::Everyone);
    std::fs::write(from.path().join(blob.digest.hex()), vec![1; MIB]).unwrap();
    let refused = provider.fetch(OWNER, &blob, &id(&publisher), &|_| ()).await;
    assert!(matches!(refused, Err(BlobError::Stalled { .. })), "{refused:?}");
    assert!(stored(&provider, &blob).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_room_says_so_before_anything_is_sent() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let publisher = publisher(TCP).await;
    let store = BlobStore::open(to.path(), MIB as u64).unwrap();
    let provider = Node::start(&Identity::ephemeral(), &config(TCP), store).await.unwrap();
    connect(&publisher, &provider).await;
    let blob = publish(&publisher, &from, &content(2 * MIB), Reader::Everyone);
    let refused = provider.fetch(OWNER, &blob, &id(&publisher), &|_| ()).await;
    assert!(matches!(refused, Err(BlobError::Store(_))), "{refused:?}");
    assert_eq!(std::fs::read_dir(to.path().join("blobs")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pods_share_a_blob_that_is_fetched_once() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let publisher = publisher(TCP).await;
    let provider = provider(&config(TCP), to.path()).await;
    connect(&publisher, &provider).await;
    let bytes = content(5 * MIB);
    let blob = publish(&publisher, &from, &bytes, Reader::Everyone);
    let (other, source) = (ChannelId([9; 32]), id(&publisher));
    let (one, two) = tokio::join!(
        provider.fetch(OWNER, &blob, &source, &|_| ()),
        provider.fetch(other, &blob, &source, &|_| ()),
    );
    one.and(two).unwrap();
    assert_eq!(provider.store().used(), 5 * MIB as u64);
    assert_eq!(provider.owners().await.unwrap().len(), 2);
    provider.keep_only(OWNER, &[]).await.unwrap();
    assert!(provider.read(blob.digest, u64::MAX).await.unwrap() == bytes);
    let larger = provider.read(blob.digest, 100).await;
    assert_eq!(larger, Err(BlobError::TooLarge { size: 5 * MIB as u64, allowed: 100 }));
    provider.keep_only(other, &[]).await.unwrap();
    assert_eq!((provider.store().used(), provider.owners().await.unwrap().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_comes_is_not_waited_for_forever() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let publisher = publisher(TCP).await;
    let provider = provider(&impatient(TCP), to.path()).await;
    let blob = publish(&publisher, &from, &content(MIB), Reader::Everyone);
    let stalled = provider.fetch(OWNER, &blob, &id(&publisher), &|_| ()).await;
    assert!(matches!(stalled, Err(BlobError::Stalled { .. })), "{stalled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_address_does_not_stand_in_the_way_of_a_right_one() {
    let (from, to) = (publisher(TCP).await, publisher(TCP).await);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let wrong = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()];
    let right = to.addresses().into_iter().map(without_peer).collect();
    let dialling = tokio::spawn({
        let (from, peer) = (from.clone(), to.peer_id());
        async move { from.connect(peer, wrong).await }
    });
    let _held = silent.accept().await.unwrap();
    assert_eq!(from.connect(to.peer_id(), right).await, Ok(()));
    assert_eq!(dialling.await.unwrap(), Ok(()), "the peer is connected, whoever knew where it is");
}
