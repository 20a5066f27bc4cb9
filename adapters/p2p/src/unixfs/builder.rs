//! From a stream of bytes to the tree above it, without keeping the bytes.

use super::{
    BlockId, Codec,
    node::{Child, Subtree, parent},
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// How a file is cut. Two files with equal content and layout have equal ids everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes of every leaf but the last; at least 1.
    pub(crate) chunk: usize,
    /// Most links of a node; at least 2.
    pub(crate) fanout: usize,
}

impl Layout {
    /// What this system writes: `ipfs add --cid-version 1 --chunker size-262144 --max-file-links 1024`.
    ///
    /// Small leaves, because other implementations keep about 1 MiB outstanding per peer, and
    /// with leaves of that size a distant peer would be asked for one at a time; and a window of
    /// 64 of them holds 16 MiB. Wide nodes, because then one node describes 256 MiB and a fetch
    /// asks for leaves from its second round trip on.
    pub(crate) const STANDARD: Self = Self { chunk: 256 << 10, fanout: 1024 };
}

/// A finished tree.
#[derive(Debug, Clone)]
pub(crate) struct Dag {
    /// Names the whole content.
    pub(crate) root: BlockId,
    /// Bytes of the content.
    pub(crate) size: u64,
    /// Bytes of every leaf but the last.
    pub(crate) chunk: u64,
    /// SHA2-256 of each leaf, in order.
    pub(crate) leaves: Vec<[u8; 32]>,
    /// The nodes above the leaves.
    pub(crate) nodes: Vec<(BlockId, Bytes)>,
}

/// Hashes a stream into a [`Dag`]. Holds some 64 bytes per leaf.
#[derive(Debug, Clone)]
pub(crate) struct DagBuilder {
    layout: Layout,
    leaf: Sha256,
    filled: usize,
    leaves: Vec<[u8; 32]>,
}

impl DagBuilder {
    /// An empty file cut by `layout`.
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, leaf: Sha256::new(), filled: 0, leaves: Vec::new() }
    }

    /// Appends bytes.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.layout.chunk - self.filled;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.leaf.update(now);
            self.filled += now.len();
            if self.filled == self.layout.chunk {
                self.end_leaf();
            }
            bytes = later;
        }
    }

    fn end_leaf(&mut self) {
        self.leaves.push(self.leaf.finalize_reset().into());
        self.filled = 0;
    }

    /// Ends the file. An empty one is a single empty leaf.
    pub(crate) fn finish(mut self) -> Dag {
        let chunk = self.layout.chunk as u64;
        let mut last = chunk;
        if self.filled > 0 || self.leaves.is_empty() {
            last = self.filled as u64;
            self.end_leaf();
        }
        let size = (self.leaves.len() as u64 - 1) * chunk + last;
        let mut nodes = Vec::new();
        let root = self.tree(size, &mut nodes);
        Dag { root, size, chunk, leaves: self.leaves, nodes }
    }

    fn tree(&self, size: u64, nodes: &mut Vec<(BlockId, Bytes)>) -> BlockId {
        let chunk = self.layout.chunk as u64;
        let leaf = |(index, hash): (usize, &[u8; 32])| {
            let size = chunk.min(size - index as u64 * chunk);
            let id = BlockId::from_hash(Codec::Raw, *hash);
            Subtree { child: Child { id, size }, blocks: size }
        };
        let mut level: Vec<_> = self.leaves.iter().enumerate().map(leaf).collect();
        while level.len() > 1 {
            level = level.chunks(self.layout.fanout).map(|group| above(group, nodes)).collect();
        }
        level[0].child.id
    }
}

fn above(group: &[Subtree], nodes: &mut Vec<(BlockId, Bytes)>) -> Subtree {
    let (bytes, subtree) = parent(group);
    nodes.push((subtree.child.id, bytes));
    subtree
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unixfs::FileNode;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn dag(content: &[u8], layout: Layout) -> Dag {
        let mut builder = DagBuilder::new(layout);
        builder.update(content);
        builder.finish()
    }

    /// Follows the tree from its root and puts the leaves in order.
    fn leaves_by_tree(dag: &Dag) -> Vec<[u8; 32]> {
        let nodes: HashMap<_, _> = dag.nodes.iter().cloned().collect();
        let mut todo = vec![dag.root];
        let mut leaves = Vec::new();
        while let Some(id) = todo.pop() {
            match id.codec() {
                Codec::Raw => leaves.push(*id.hash()),
                Codec::DagPb => {
                    let FileNode::Inner { children, .. } = FileNode::parse(&nodes[&id]).unwrap() else {
                        panic!("a leaf that is not raw")
                    };
                    todo.extend(children.iter().rev().map(|child| child.id));
                }
            }
        }
        leaves
    }

    /// As `ipfs add --cid-version 1 --raw-leaves` of Kubo 0.43 tells for the same bytes and layout.
    #[test]
    fn ids_are_those_of_other_implementations() {
        let narrow = Layout { chunk: 64 << 10, fanout: 4 };
        for (size, layout, id) in [
            (0, Layout::STANDARD, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
            (1, Layout::STANDARD, "bafkreidogqfzz75tpkmjzjke425xqcrmpcib2p5tg44hnbirumdbpl5adu"),
            (256 << 10, Layout::STANDARD, "bafkreibruh455iawsviqslif5c7uurdcfdemh22mtnytyzvnzn75kpejxy"),
            (
                (256 << 10) + 1,
                Layout::STANDARD,
                "bafybeiexg2oqkfnj56l7fcmawswqbijt5shq4b5rg6a546uwpkqqzwjioi",
            ),
            ((1 << 20) + 1, Layout::STANDARD, "bafybeig7rd7v2ygpkiiyu3kzsojmrj3ujtinivk7fxid5p33t6kdewzvsm"),
            (256 << 10, narrow, "bafybeia3nni7s3oedo7fnlj5ldaadbpurm5y4umfowaosvbar75ix7rrry"),
            ((256 << 10) + 1, narrow, "bafybeigxrdu4qqby3jtpmyef7kgtdv2fldhyfqmnvitap2cxbnajsvhuze"),
            ((1 << 20) + 1, narrow, "bafybeidhjlaihk7tnk4peet2kbpb23rt35uiqtpd562mlxoggvz3mtopaq"),
        ] {
            let content: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            assert_eq!(dag(&content, layout).root.to_string(), id, "{size} bytes, {layout:?}");
        }
    }

    proptest! {
        #[test]
        fn the_tree_leads_to_every_leaf_in_order(
            content in proptest::collection::vec(any::<u8>(), 0..400),
            cuts in proptest::collection::vec(1usize..50, 1..20),
            chunk in 1usize..20, fanout in 2usize..6,
        ) {
            let layout = Layout { chunk, fanout };
            let mut builder = DagBuilder::new(layout);
            let mut rest = &content[..];
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                builder.update(now);
                rest = later;
            }
            builder.update(rest);
            let built = builder.finish();
            prop_assert_eq!(built.root, dag(&content, layout).root);
            prop_assert_eq!(built.size, content.len() as u64);
            prop_assert_eq!(leaves_by_tree(&built), built.leaves);
        }
    }
}
