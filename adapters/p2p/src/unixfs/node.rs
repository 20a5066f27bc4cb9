//! Nodes of a file's tree: from block to children, with everything a stranger may lie about checked.

use super::{
    BlockId, Codec, MAX_BLOCK,
    wire::{FieldLimit, PbLink, PbNode, UnixFs, limit_fields},
};
use bytes::Bytes;
use prost::Message as _;

/// UnixFS kinds of nodes that carry a file's bytes.
const KIND_RAW: i32 = 0;
const KIND_FILE: i32 = 2;
/// Eight times what the widest layout in use needs.
const MAX_CHILDREN: usize = 8192;
/// A link takes some 50 bytes; what is much beyond carries something else than the tree.
const BYTES_PER_LINK: usize = 128;
const BYTES_PER_NODE: usize = 1024;

/// A subtree below a node: its root and how many bytes of the file it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) id: BlockId,
    pub(crate) size: u64,
}

/// A `dag-pb` node of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileNode {
    /// A leaf that wraps its bytes: the default of other implementations' older layouts.
    Leaf(Bytes),
    /// A node above others, which stand for `size` bytes of the file together.
    Inner { children: Vec<Child>, size: u64 },
}

/// Why a block is no node of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidNode {
    #[error(transparent)]
    Encoding(#[from] FieldLimit),
    #[error("a block of {0} bytes is over the limit of {MAX_BLOCK}")]
    TooLarge(usize),
    #[error("not a node of a UnixFS file")]
    NotAFile,
    #[error("a link without a supported content id")]
    Link,
    #[error("sizes that contradict each other")]
    Sizes,
    #[error("a node with both bytes and links")]
    Mixed,
    #[error("a node that carries more than the file's tree")]
    Bloated,
}

impl FileNode {
    /// Reads the `dag-pb` block of a file.
    pub(crate) fn parse(block: &Bytes) -> Result<Self, InvalidNode> {
        if block.len() > MAX_BLOCK {
            return Err(InvalidNode::TooLarge(block.len()));
        }
        limit_fields(block, MAX_CHILDREN, &[])?;
        let node = PbNode::decode(block.clone()).map_err(|_| FieldLimit::Malformed)?;
        let data = node.data.ok_or(InvalidNode::NotAFile)?;
        // One field per child (or one for all), beside the node's own.
        limit_fields(&data, MAX_CHILDREN + 8, &[])?;
        let file = UnixFs::decode(data).map_err(|_| FieldLimit::Malformed)?;
        if !matches!(file.kind, KIND_RAW | KIND_FILE) {
            return Err(InvalidNode::NotAFile);
        }
        let inline = file.data.unwrap_or_default();
        if block.len() > inline.len() + node.links.len() * BYTES_PER_LINK + BYTES_PER_NODE {
            return Err(InvalidNode::Bloated);
        }
        let read = Self::from_parts(inline, children(&node.links, &file.blocksizes)?)?;
        match file.filesize {
            Some(declared) if declared != read.size() => Err(InvalidNode::Sizes),
            _ => Ok(read),
        }
    }

    fn from_parts(inline: Bytes, children: Vec<Child>) -> Result<Self, InvalidNode> {
        if children.is_empty() {
            return Ok(Self::Leaf(inline));
        }
        if !inline.is_empty() {
            return Err(InvalidNode::Mixed);
        }
        let size = children.iter().try_fold(0u64, |sum, child| sum.checked_add(child.size));
        Ok(Self::Inner { children, size: size.ok_or(InvalidNode::Sizes)? })
    }

    /// Bytes of the file that this node stands for.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Leaf(bytes) => bytes.len() as u64,
            Self::Inner { size, .. } => *size,
        }
    }
}

fn children(links: &[PbLink], sizes: &[u64]) -> Result<Vec<Child>, InvalidNode> {
    if links.len() != sizes.len() {
        return Err(InvalidNode::Sizes);
    }
    links.iter().zip(sizes).map(|(link, size)| child(link, *size)).collect()
}

fn child(link: &PbLink, size: u64) -> Result<Child, InvalidNode> {
    let cid = link.hash.as_deref().ok_or(InvalidNode::Link)?;
    let id = BlockId::try_from(cid).map_err(|_| InvalidNode::Link)?;
    // Without this, a small node could stand above any number of empty ones.
    if size == 0 {
        return Err(InvalidNode::Sizes);
    }
    Ok(Child { id, size })
}

/// A subtree as its parent links it.
#[derive(Clone, Copy)]
pub(super) struct Subtree {
    pub(super) child: Child,
    /// Bytes of all blocks of the subtree, nodes included (`Tsize` of the link).
    pub(super) blocks: u64,
}

/// The node above `subtrees`, as other implementations encode it, and itself as a subtree.
pub(super) fn parent(subtrees: &[Subtree]) -> (Bytes, Subtree) {
    let size = subtrees.iter().map(|subtree| subtree.child.size).sum();
    let blocks: u64 = subtrees.iter().map(|subtree| subtree.blocks).sum();
    let file = UnixFs {
        kind: KIND_FILE,
        data: None,
        filesize: Some(size),
        blocksizes: subtrees.iter().map(|subtree| subtree.child.size).collect(),
    };
    let links = subtrees.iter().map(link).collect();
    // The canonical form wants links before data; the encoder sorts by tag, so the halves are encoded apart.
    let mut bytes = PbNode { data: None, links }.encode_to_vec();
    bytes.extend(PbNode { data: Some(file.encode_to_vec().into()), links: vec![] }.encode_to_vec());
    let id = BlockId::of(Codec::DagPb, &bytes);
    let blocks = blocks + bytes.len() as u64;
    (bytes.into(), Subtree { child: Child { id, size }, blocks })
}

fn link(subtree: &Subtree) -> PbLink {
    PbLink {
        hash: Some(subtree.child.id.to_bytes().into()),
        name: Some(String::new()),
        tsize: Some(subtree.blocks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaf(content: &[u8]) -> Subtree {
        let size = content.len() as u64;
        Subtree { child: Child { id: BlockId::of(Codec::Raw, content), size }, blocks: size }
    }

    fn encode(links: Vec<PbLink>, file: UnixFs) -> Bytes {
        PbNode { data: Some(file.encode_to_vec().into()), links }.encode_to_vec().into()
    }

    #[test]
    fn a_parent_is_read_back() {
        let (bytes, top) = parent(&[leaf(b"one"), leaf(b"three")]);
        let node = FileNode::parse(&bytes).unwrap();
        let children = vec![leaf(b"one").child, leaf(b"three").child];
        assert_eq!(node, FileNode::Inner { children, size: 8 });
        assert_eq!(node.size(), top.child.size);
    }

    #[test]
    fn lies_about_sizes_are_found() {
        let links = vec![link(&leaf(b"one"))];
        let file = UnixFs { kind: 2, filesize: Some(3), blocksizes: vec![3], data: None };
        assert!(FileNode::parse(&encode(links.clone(), file.clone())).is_ok());
        let mixed = UnixFs { data: Some(Bytes::from_static(b"x")), ..file.clone() };
        assert_eq!(FileNode::parse(&encode(links.clone(), mixed)), Err(InvalidNode::Mixed));
        for lie in [
            UnixFs { filesize: Some(4), ..file.clone() },
            UnixFs { blocksizes: vec![], ..file.clone() },
            UnixFs { blocksizes: vec![0], filesize: Some(0), ..file.clone() },
        ] {
            assert_eq!(FileNode::parse(&encode(links.clone(), lie)), Err(InvalidNode::Sizes));
        }
        let overflow = UnixFs { blocksizes: vec![u64::MAX; 2], filesize: None, ..file };
        let refused = FileNode::parse(&encode([&links[..], &links[..]].concat(), overflow));
        assert_eq!(refused, Err(InvalidNode::Sizes));
    }

    #[test]
    fn directories_and_ballast_are_refused() {
        let folder = UnixFs { kind: 1, ..UnixFs::default() };
        assert_eq!(FileNode::parse(&encode(vec![], folder)), Err(InvalidNode::NotAFile));
        let named = PbLink { name: Some("x".repeat(4096)), ..link(&leaf(b"one")) };
        let file = UnixFs { kind: 2, filesize: Some(3), blocksizes: vec![3], data: None };
        assert_eq!(FileNode::parse(&encode(vec![named], file)), Err(InvalidNode::Bloated));
        let wide = vec![link(&leaf(b"one")); MAX_CHILDREN + 1];
        let refused = FileNode::parse(&encode(wide, UnixFs::default()));
        assert_eq!(refused, Err(FieldLimit::TooMany(MAX_CHILDREN).into()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = FileNode::parse(&bytes.into());
        }

        #[test]
        fn damaged_nodes_never_panic(at in 0usize..200, value: u8) {
            let (bytes, _) = parent(&[leaf(b"one"), leaf(b"two"), leaf(b"three")]);
            let mut bytes = bytes.to_vec();
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = FileNode::parse(&bytes.into());
        }
    }
}
