//! What a fetch still needs, and where what comes belongs.
//!
//! ```text
//!            next(): node here: its children      arrives: node: its children
//!            leaf here: nothing                            leaf: to the disk
//!   to do -------------------------------> asked -------------------------> (done)
//! ```
//!
//! The walk goes depth first, from left to right. What is on the disk from an earlier fetch is
//! walked over without being asked for.

use crate::{
    blob_store::{BlobInfo, BlobStore, Partial, StoreError},
    unixfs::{BlockId, Codec, FileNode, InvalidNode},
};
use apocryph_model::Digest;
use bytes::Bytes;
use std::collections::HashMap;

/// How many blocks are outstanding at once: 16 MiB of our own layout, enough for some 300 MB/s
/// at 50 ms.
pub(super) const WINDOW: usize = 64;
/// Nodes above a leaf. Three of our own describe 256 TiB.
const MAX_DEPTH: u8 = 8;
/// Nobody cuts files into smaller pieces than this on average; who does wants to be expensive.
const LEAST_LEAF: u64 = 16 << 10;
const LEAST_BLOCKS: u64 = 64;

/// What is fetched, as it was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) root: BlockId,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Why a download cannot be completed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("block {id}: {problem}")]
    Node { id: BlockId, problem: InvalidNode },
    #[error("block {id} has {found} bytes where {expected} belong")]
    Size { id: BlockId, found: u64, expected: u64 },
    #[error("a tree of more than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("a tree of more blocks than {0} bytes need")]
    TooFine(u64),
}

/// Where in the file a block belongs.
#[derive(Debug, Clone, Copy)]
struct Place {
    id: BlockId,
    offset: u64,
    size: u64,
    depth: u8,
}

pub(super) struct Download {
    partial: Partial,
    todo: Vec<Place>,
    asked: HashMap<BlockId, Vec<Place>>,
    blocks_left: u64,
}

impl Download {
    /// Begins, or goes on where an earlier download stopped.
    pub(super) fn open(store: &BlobStore, announced: &Announced) -> Result<Self, StoreError> {
        let Announced { root, digest, size } = *announced;
        let partial = match store.resume(&root)? {
            Some(partial) if partial.announced() == (digest, size) => partial,
            Some(other) => {
                other.discard()?;
                store.begin(&root, &digest, size)?
            }
            None => store.begin(&root, &digest, size)?,
        };
        let whole = Place { id: root, offset: 0, size, depth: 0 };
        let blocks_left = LEAST_BLOCKS + size / LEAST_LEAF;
        Ok(Self { partial, todo: vec![whole], asked: HashMap::new(), blocks_left })
    }

    /// Bytes of the content that are here.
    pub(super) fn bytes(&self) -> u64 {
        self.partial.bytes()
    }

    /// What has been asked for and not come.
    pub(super) fn outstanding(&self) -> Vec<BlockId> {
        self.asked.keys().copied().collect()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.todo.is_empty() && self.asked.is_empty()
    }

    /// Takes blocks that came, whose bytes have those ids, and tells what to ask for next.
    pub(super) fn advance(&mut self, blocks: Vec<(BlockId, Bytes)>) -> Result<Vec<BlockId>, DownloadError> {
        for (id, data) in blocks {
            for place in self.asked.remove(&id).unwrap_or_default() {
                self.fill(place, &data)?;
            }
        }
        self.next()
    }

    /// Refills the window, some blocks at a time.
    fn next(&mut self) -> Result<Vec<BlockId>, DownloadError> {
        let mut asks = Vec::new();
        if self.asked.len() > WINDOW * 3 / 4 {
            return Ok(asks);
        }
        while self.asked.len() < WINDOW {
            let Some(place) = self.todo.pop() else { break };
            if self.is_here(place)? {
                continue;
            }
            let places = self.asked.entry(place.id).or_default();
            if places.is_empty() {
                asks.push(place.id);
            }
            places.push(place);
        }
        Ok(asks)
    }

    /// Whether nothing has to be asked for at this place; the children of a node become to do.
    fn is_here(&mut self, place: Place) -> Result<bool, DownloadError> {
        self.blocks_left =
            self.blocks_left.checked_sub(1).ok_or(DownloadError::TooFine(self.partial.announced().1))?;
        if let Some(node) = self.partial.node(&place.id) {
            self.enter(place, &node)?;
            return Ok(true);
        }
        if self.partial.has_leaf(place.offset, place.size) {
            return Ok(true);
        }
        // Some peers deny having the empty block, and nobody needs to be asked for it.
        if place.id == BlockId::of(Codec::Raw, b"") {
            self.fill_leaf(place, b"", Some(*place.id.hash()))?;
            return Ok(true);
        }
        Ok(place.id.codec() == Codec::Raw && self.partial.repeat_leaf(&place.id, place.offset)?)
    }

    fn fill(&mut self, place: Place, data: &Bytes) -> Result<(), DownloadError> {
        match place.id.codec() {
            Codec::Raw => self.fill_leaf(place, data, Some(*place.id.hash())),
            Codec::DagPb => self.enter(place, data),
        }
    }

    fn fill_leaf(&mut self, place: Place, data: &[u8], hash: Option<[u8; 32]>) -> Result<(), DownloadError> {
        place.check(data.len() as u64)?;
        Ok(self.partial.put(place.offset, data, hash)?)
    }

    fn enter(&mut self, place: Place, block: &Bytes) -> Result<(), DownloadError> {
        let node = FileNode::parse(block).map_err(|problem| DownloadError::Node { id: place.id, problem })?;
        place.check(node.size())?;
        let children = match node {
            FileNode::Leaf(bytes) => return self.fill_leaf(place, &bytes, None),
            FileNode::Inner { children, .. } => children,
        };
        if place.depth == MAX_DEPTH {
            return Err(DownloadError::TooDeep);
        }
        self.partial.put_node(&place.id, block.clone());
        let mut end = place.offset + place.size;
        for child in children.into_iter().rev() {
            end -= child.size;
            self.todo.push(Place { id: child.id, offset: end, size: child.size, depth: place.depth + 1 });
        }
        Ok(())
    }

    /// Makes the blob complete and durable.
    pub(super) fn finish(self) -> Result<BlobInfo, StoreError> {
        self.partial.finish()
    }

    /// Leaves nothing of it.
    pub(super) fn discard(self) -> Result<(), StoreError> {
        self.partial.discard()
    }
}

impl Place {
    fn check(&self, found: u64) -> Result<(), DownloadError> {
        let Self { id, size: expected, .. } = *self;
        if found == expected { Ok(()) } else { Err(DownloadError::Size { id, found, expected }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unixfs::{DagBuilder, Layout};
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    fn blocks(content: &[u8], layout: Layout) -> (Announced, HashMap<BlockId, Bytes>) {
        let mut builder = DagBuilder::new(layout);
        builder.update(content);
        let dag = builder.finish();
        let mut blocks: HashMap<_, _> = dag.nodes.into_iter().collect();
        let leaves = dag.leaves.iter().map(|hash| BlockId::from_hash(Codec::Raw, *hash));
        let pieces = if content.is_empty() { vec![&[][..]] } else { content.chunks(layout.chunk).collect() };
        blocks.extend(leaves.zip(pieces.into_iter().map(Bytes::copy_from_slice)));
        let digest = Digest(Sha256::digest(content).into());
        (Announced { root: dag.root, digest, size: dag.size }, blocks)
    }

    fn node(children: &[(BlockId, u64)]) -> (BlockId, Bytes) {
        // A parent of raw leaves is built by cutting a content; lies need a node made by hand.
        let mut data = vec![0x08, 2, 0x18];
        let varint = |n: u64, to: &mut Vec<u8>| prost::encoding::encode_varint(n, to);
        varint(children.iter().map(|child| child.1).sum(), &mut data);
        for child in children {
            data.push(0x20);
            varint(child.1, &mut data);
        }
        let mut bytes = Vec::new();
        for child in children {
            let cid = child.0.to_bytes();
            let link = [&[0x0a, cid.len() as u8][..], &cid].concat();
            bytes.extend([0x12, link.len() as u8]);
            bytes.extend(link);
        }
        bytes.push(0x0a);
        varint(data.len() as u64, &mut bytes);
        bytes.extend(data);
        (BlockId::of(Codec::DagPb, &bytes), bytes.into())
    }

    fn store() -> (tempfile::TempDir, BlobStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path(), 1 << 30).unwrap();
        (dir, store)
    }

    fn run(download: &mut Download, blocks: &HashMap<BlockId, Bytes>) -> Result<usize, DownloadError> {
        let mut asks = download.advance(vec![])?;
        let mut asked = 0;
        while !download.is_complete() {
            asked += asks.len();
            let came = asks.iter().map(|id| (*id, blocks[id].clone())).collect();
            asks = download.advance(came)?;
        }
        Ok(asked)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_file_is_put_together_again(
            seed in proptest::collection::vec(0u8..4, 0..90), chunk in 3usize..9, stop in 0usize..20,
        ) {
            // A small alphabet makes leaves and nodes that occur several times.
            let (dir, first) = store();
            let (announced, blocks) = blocks(&seed, Layout { chunk, fanout: 3 });
            let mut download = Download::open(&first, &announced).unwrap();
            let mut asks = download.advance(vec![]).unwrap();
            for _ in 0..stop {
                let came = asks.iter().take(2).map(|id| (*id, blocks[id].clone())).collect();
                asks = download.advance(came).unwrap();
            }
            drop((download, first));
            let again = BlobStore::open(dir.path(), 1 << 30).unwrap();
            let mut download = Download::open(&again, &announced).unwrap();
            let had = download.bytes();
            let asked = run(&mut download, &blocks).unwrap();
            prop_assert!(had == 0 || asked < blocks.len());
            let info = download.finish().unwrap();
            prop_assert_eq!(std::fs::read(again.path(&info.digest).unwrap().unwrap()).unwrap(), seed);
        }
    }

    #[test]
    fn trees_that_lie_are_refused() {
        let (_dir, store) = store();
        let leaf = Bytes::from_static(b"four");
        let leaf_id = BlockId::of(Codec::Raw, &leaf);
        let attempt = |root: &(BlockId, Bytes), size| {
            let announced = Announced { root: root.0, digest: Digest([0; 32]), size };
            let mut download = Download::open(&store, &announced).unwrap();
            let blocks = HashMap::from([root.clone(), (leaf_id, leaf.clone())]);
            let result = run(&mut download, &blocks);
            download.discard().unwrap();
            result
        };
        let honest = node(&[(leaf_id, 4)]);
        assert!(attempt(&honest, 4).is_ok());
        assert!(matches!(attempt(&honest, 5), Err(DownloadError::Size { found: 4, expected: 5, .. })));
        let liar = node(&[(leaf_id, 5)]);
        assert!(matches!(attempt(&liar, 5), Err(DownloadError::Size { found: 4, expected: 5, .. })));
        assert_eq!(store.used(), 0);
    }

    #[test]
    fn deep_and_fine_trees_are_refused() {
        let (_dir, store) = store();
        let leaf = Bytes::from_static(b"x");
        let mut top = (BlockId::of(Codec::Raw, &leaf), leaf);
        let mut blocks = HashMap::from([top.clone()]);
        for _ in 0..=MAX_DEPTH {
            top = node(&[(top.0, 1)]);
            blocks.insert(top.0, top.1.clone());
        }
        let announced = Announced { root: top.0, digest: Digest([0; 32]), size: 1 };
        let mut deep = Download::open(&store, &announced).unwrap();
        assert!(matches!(run(&mut deep, &blocks), Err(DownloadError::TooDeep)));

        let dust: Vec<u8> = (0..=255).collect();
        let (announced, blocks) = self::blocks(&dust, Layout { chunk: 1, fanout: 300 });
        let mut fine = Download::open(&store, &announced).unwrap();
        assert!(matches!(run(&mut fine, &blocks), Err(DownloadError::TooFine(256))));
    }
}
