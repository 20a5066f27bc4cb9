use super::*;
use crate::unixfs::{Codec, DagBuilder, FileNode, Layout};
use apocryph_model::ChannelId;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

fn store(capacity: u64) -> (TempDir, BlobStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(dir.path(), capacity).unwrap();
    (dir, store)
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i / 7 % 251) as u8 ^ (i >> 16) as u8).collect()
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Puts a blob into the store as a fetch does.
fn add(store: &BlobStore, bytes: &[u8]) -> BlobInfo {
    let mut dag = DagBuilder::new(Layout::STANDARD);
    dag.update(bytes);
    let dag = dag.finish();
    let mut partial = store.begin(&dag.root, &digest(bytes), dag.size).unwrap();
    for (id, node) in dag.nodes {
        partial.put_node(&id, node);
    }
    for (index, (hash, leaf)) in dag.leaves.iter().zip(bytes.chunks(dag.chunk as usize)).enumerate() {
        partial.put(index as u64 * dag.chunk, leaf, Some(*hash)).unwrap();
    }
    partial.finish().unwrap()
}

fn files(dir: &TempDir) -> usize {
    std::fs::read_dir(dir.path().join("blobs")).unwrap().count()
}

/// Every block below `root`, as a peer would read them.
fn walk(store: &BlobStore, root: BlockId, peer: &PeerId) -> Vec<u8> {
    let block = store.block(&root, peer).unwrap().expect("block");
    assert!(store.has_block(&root, peer).unwrap());
    match root.codec() {
        Codec::Raw => block.to_vec(),
        Codec::DagPb => match FileNode::parse(&block).unwrap() {
            FileNode::Leaf(bytes) => bytes.to_vec(),
            FileNode::Inner { children, .. } => {
                children.iter().flat_map(|child| walk(store, child.id, peer)).collect()
            }
        },
    }
}

#[test]
fn blobs_are_found_by_root_and_digest_and_survive_reopening() {
    let (dir, first) = store(1 << 30);
    let bytes = content(1_000_000);
    let info = add(&first, &bytes);
    drop(first);
    let again = BlobStore::open(dir.path(), 1 << 30).unwrap();
    assert_eq!(again.get(&info.root).unwrap(), Some(info));
    assert_eq!(again.by_digest(&info.digest).unwrap(), Some(info));
    assert_eq!(again.used(), 1_000_000);
    assert_eq!(std::fs::read(again.path(&info.digest).unwrap().unwrap()).unwrap(), bytes);
}

#[test]
fn blocks_are_served_to_those_allowed() {
    let (_dir, store) = store(1 << 30);
    let bytes = content(700_000);
    let info = add(&store, &bytes);
    let (friend, stranger) = (PeerId::random(), PeerId::random());
    assert_eq!(store.block(&info.root, &friend).unwrap(), None);
    store.allow(&info.root, Reader::Peer(friend)).unwrap();
    assert_eq!(walk(&store, info.root, &friend), bytes);
    assert!(!store.has_block(&info.root, &stranger).unwrap());
    store.allow(&info.root, Reader::Everyone).unwrap();
    assert_eq!(walk(&store, info.root, &stranger), bytes);
    store.disallow(&info.root).unwrap();
    assert_eq!(store.block(&info.root, &friend).unwrap(), None);
}

#[test]
fn removal_leaves_nothing_and_equal_blocks_of_others_stay() {
    let (dir, store) = store(1 << 30);
    let start = content(512 << 10);
    let (one, two) = (add(&store, &start), add(&store, &[&start[..], b"more"].concat()));
    for info in [one, two] {
        store.allow(&info.root, Reader::Everyone).unwrap();
    }
    store.remove(&one.root).unwrap();
    store.remove(&one.root).unwrap();
    let peer = PeerId::random();
    assert_eq!(store.block(&one.root, &peer).unwrap(), None);
    assert_eq!(walk(&store, two.root, &peer).len(), (512 << 10) + 4);
    store.remove(&two.root).unwrap();
    assert_eq!((files(&dir), store.used()), (0, 0));
}

#[test]
fn a_full_store_says_so_and_keeps_nothing() {
    let (dir, store) = store(1000);
    let root = BlockId::of(Codec::Raw, b"x");
    assert!(matches!(store.begin(&root, &digest(b"x"), 1001), Err(StoreError::Full { needed: 1001, .. })));
    assert_eq!((files(&dir), store.used()), (0, 0));
}

#[test]
fn a_partial_blob_is_resumed_after_reopening_and_not_served() {
    let (dir, first) = store(1 << 30);
    let (one, two) = (content(5000), content(6000));
    let root = BlockId::of(Codec::DagPb, b"stands for a node");
    let hash = |bytes: &[u8]| Some(*BlockId::of(Codec::Raw, bytes).hash());
    let whole = [&one[..], &two, &one].concat();
    let mut partial = first.begin(&root, &digest(&whole), 16_000).unwrap();
    partial.put_node(&root, bytes::Bytes::from_static(b"stands for a node"));
    partial.put(0, &one, hash(&one)).unwrap();
    drop(partial);
    first.allow(&root, Reader::Everyone).unwrap();
    assert_eq!(first.block(&root, &PeerId::random()).unwrap(), None, "not complete");
    drop(first);

    let again = BlobStore::open(dir.path(), 1 << 30).unwrap();
    assert_eq!((again.get(&root).unwrap(), again.used()), (None, 16_000));
    let mut partial = again.resume(&root).unwrap().unwrap();
    assert_eq!(
        (partial.bytes(), partial.has_leaf(0, 5000), partial.has_leaf(5000, 6000)),
        (5000, true, false)
    );
    assert!(partial.node(&root).is_some());
    partial.put(5000, &two, hash(&two)).unwrap();
    assert!(partial.repeat_leaf(&BlockId::of(Codec::Raw, &one), 11_000).unwrap());
    let info = partial.finish().unwrap();
    assert_eq!(std::fs::read(again.path(&info.digest).unwrap().unwrap()).unwrap(), whole);
    assert_eq!(again.by_digest(&info.digest).unwrap(), Some(info));
}

#[test]
fn a_partial_blob_that_is_removed_ends_its_fetch() {
    let (dir, store) = store(1 << 30);
    let root = BlockId::of(Codec::Raw, b"x");
    let mut partial = store.begin(&root, &digest(b"0123456789"), 10).unwrap();
    partial.put(0, b"0123456789", None).unwrap();
    store.remove(&root).unwrap();
    assert!(matches!(partial.finish(), Err(StoreError::Missing(_))));
    assert_eq!((files(&dir), store.used()), (0, 0));
}

#[test]
fn files_and_index_are_brought_together_at_opening() {
    let (dir, first) = store(1 << 30);
    let (kept, lost) = (add(&first, b"kept"), add(&first, b"lost"));
    std::fs::remove_file(first.path(&lost.digest).unwrap().unwrap()).unwrap();
    std::fs::write(dir.path().join("blobs/.tmpAbandoned"), b"x").unwrap();
    drop(first);
    let again = BlobStore::open(dir.path(), 1 << 30).unwrap();
    assert_eq!(again.roots().unwrap(), [kept.root]);
    assert_eq!((files(&dir), again.used()), (1, 4));
}

#[test]
fn a_content_other_than_announced_is_discarded() {
    let (dir, store) = store(1 << 30);
    let mut partial = store.begin(&BlockId::of(Codec::Raw, b"x"), &digest(b"other"), 1).unwrap();
    partial.put(0, b"x", None).unwrap();
    assert!(matches!(partial.finish(), Err(StoreError::Digest { .. })));
    assert_eq!((files(&dir), store.used()), (0, 0));
}

#[test]
fn a_blob_stays_until_its_last_owner_lets_go() {
    let (dir, store) = store(1 << 30);
    let (shared, single) = (add(&store, b"shared"), add(&store, b"single"));
    let (one, two) = (ChannelId([1; 32]), ChannelId([2; 32]));
    store.own(&shared.root, &one).unwrap();
    store.own(&shared.root, &two).unwrap();
    store.own(&single.root, &one).unwrap();
    assert_eq!(store.owners().unwrap(), [one, two]);
    store.keep_only(&one, &[single.digest]).unwrap();
    assert_eq!(files(&dir), 2);
    store.keep_only(&one, &[]).unwrap();
    assert_eq!((store.get(&single.root).unwrap(), store.get(&shared.root).unwrap()), (None, Some(shared)));
    store.keep_only(&two, &[]).unwrap();
    assert_eq!((files(&dir), store.used(), store.owners().unwrap()), (0, 0, vec![]));
}

#[test]
fn a_published_file_is_served_in_place_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(600_000);
    let path = dir.path().join("layer");
    std::fs::write(&path, &bytes).unwrap();
    let store = BlobStore::of_files().unwrap();
    let (one, two) = (PeerId::random(), PeerId::random());
    let info = store.publish(&path, &digest(&bytes), Reader::Peer(one)).unwrap();
    assert_eq!(walk(&store, info.root, &one), bytes);
    assert_eq!(store.block(&info.root, &two).unwrap(), None);
    assert_eq!(store.publish(&path, &digest(&bytes), Reader::Peer(two)).unwrap(), info);
    assert_eq!((walk(&store, info.root, &two), store.used()), (bytes, 0));
    store.remove(&info.root).unwrap();
    assert!(path.exists());
}

#[test]
fn a_published_file_may_move_and_change() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let store = BlobStore::of_files().unwrap();
    let peer = PeerId::random();
    std::fs::write(&first, b"old").unwrap();
    let old = store.publish(&first, &digest(b"old"), Reader::Peer(peer)).unwrap();
    std::fs::rename(&first, &second).unwrap();
    store.publish(&second, &digest(b"old"), Reader::Peer(PeerId::random())).unwrap();
    assert_eq!(walk(&store, old.root, &peer), b"old", "the first reader is served from the new place");
    std::fs::write(&second, b"new").unwrap();
    let new = store.publish(&second, &digest(b"new"), Reader::Peer(peer)).unwrap();
    assert_eq!(walk(&store, new.root, &peer), b"new");
    assert_eq!(store.block(&old.root, &peer).unwrap(), None);
}

#[test]
fn a_second_process_is_refused() {
    let (dir, _first) = store(1 << 30);
    assert!(matches!(BlobStore::open(dir.path(), 1 << 30), Err(StoreError::Index(_))));
}

#[test]
fn a_full_disk_is_told_before_anything_is_fetched_and_nothing_stays() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root, to mount a small file system");
        return;
    }
    // The mount lives in a namespace of this thread alone and ends with it.
    let small_disk = std::thread::spawn(|| {
        use nix::mount::{MsFlags, mount};
        let (none, dir) = (None::<&str>, tempfile::tempdir().unwrap());
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("small"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some("size=2m")).unwrap();
        let store = BlobStore::open(dir.path(), 1 << 30).unwrap();
        let refused = store.begin(&BlockId::of(Codec::Raw, b"x"), &digest(b"x"), 8 << 20).err();
        assert!(matches!(refused, Some(StoreError::DiskFull)), "{refused:?}");
        assert_eq!((files(&dir), store.used(), store.roots().unwrap()), (0, 0, vec![]));
        let kept = add(&store, &content(300_000));
        assert_eq!(store.get(&kept.root).unwrap(), Some(kept));
    });
    small_disk.join().unwrap();
}

#[test]
fn what_is_shared_is_everyones_until_its_owner_takes_it_back() {
    let (_dir, store) = store(1 << 30);
    let (own, common) = (add(&store, &content(1_000)), add(&store, &content(2_000)));
    let (one, two) = (ChannelId([1; 32]), ChannelId([2; 32]));
    for (blob, owner) in [(&own, &one), (&common, &one), (&common, &two)] {
        store.own(&blob.root, owner).unwrap();
    }
    let anyone = PeerId::random();
    let read = |blob: &BlobInfo| store.block(&blob.root, &anyone).unwrap().is_some();
    let both = [own.digest, common.digest];
    assert!(!read(&own), "nobody reads what a pod is made of");
    store.share(&one, &both, true).unwrap();
    assert!(read(&own) && read(&common));
    store.share(&one, &both, false).unwrap();
    assert!(!read(&own), "taken back");
    assert!(read(&common), "the other owner may share it as well");
}
