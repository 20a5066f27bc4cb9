//! Files as UnixFS DAGs: the form in which other IPFS implementations keep and exchange them.
//!
//! A file is cut into leaves of equal size (`raw` blocks, the file's own bytes), and a balanced
//! tree of `dag-pb` nodes stands above them. The id of the root names the whole content.
//! Specifications: <https://specs.ipfs.tech/unixfs/>, <https://ipld.io/specs/codecs/dag-pb/spec/>.

mod block_id;
mod builder;
mod node;
mod wire;

pub(crate) use block_id::Version;
pub use block_id::{BlockId, Codec, UnsupportedId};
pub(crate) use builder::{Dag, DagBuilder, Layout};
pub(crate) use node::{FileNode, InvalidNode};
pub(crate) use wire::{FieldLimit, limit_fields};

/// The largest block that is exchanged or kept, in bytes: the limit that other implementations set.
pub(crate) const MAX_BLOCK: usize = 2 << 20;
