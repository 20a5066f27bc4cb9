//! Ids of blocks: the part of the CID space that files use.

use cid::{Cid, multibase::Base};
use sha2::{Digest as _, Sha256};
use std::{fmt, hash::Hash, str::FromStr};

const SHA2_256: u64 = 0x12;
const HASH_LEN: u8 = 32;

/// How a block's bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// The bytes are the content.
    Raw = 0x55,
    /// A `dag-pb` node.
    DagPb = 0x70,
}

/// How an id is written. Both spellings of a `dag-pb` id name the same block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V0,
    V1,
}

/// The id of a block: a CID with codec `raw` or `dag-pb` and a SHA2-256 multihash.
///
/// Equality and order leave the spelling (CID version) aside.
#[derive(Clone, Copy)]
pub struct BlockId {
    version: Version,
    codec: Codec,
    hash: [u8; 32],
}

/// A CID that names no block of a file as this crate exchanges it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedId {
    /// The text or the bytes are no CID.
    #[error("not a content id (CID)")]
    Malformed,
    /// Another codec than `raw` and `dag-pb`.
    #[error("content id with codec {0:#x}: only raw (0x55) and dag-pb (0x70) are exchanged")]
    Codec(u64),
    /// Another multihash than SHA2-256 of 32 bytes.
    #[error("content id with hash function {0:#x}: only sha2-256 (0x12, 32 bytes) is exchanged")]
    Hash(u64),
}

impl BlockId {
    /// The id (CID version 1) of the block with these bytes.
    pub fn of(codec: Codec, bytes: &[u8]) -> Self {
        Self::from_hash(codec, Sha256::digest(bytes).into())
    }

    /// The id (CID version 1) of the block whose bytes have this SHA2-256.
    pub fn from_hash(codec: Codec, hash: [u8; 32]) -> Self {
        Self { version: Version::V1, codec, hash }
    }

    /// How the block is read.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// SHA2-256 of the block's bytes.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The CID's binary form, in the version it was received in.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(36);
        if self.version == Version::V1 {
            bytes.extend([1, self.codec as u8]);
        }
        bytes.extend([SHA2_256 as u8, HASH_LEN]);
        bytes.extend(self.hash);
        bytes
    }

    /// The same id as CID version 1, whichever version it was written in.
    pub fn canonical(self) -> Self {
        Self::from_hash(self.codec, self.hash)
    }
}

impl PartialEq for BlockId {
    fn eq(&self, other: &Self) -> bool {
        (self.codec, self.hash) == (other.codec, other.hash)
    }
}

impl Eq for BlockId {}

impl Hash for BlockId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.codec, self.hash).hash(state);
    }
}

impl TryFrom<Cid> for BlockId {
    type Error = UnsupportedId;

    fn try_from(cid: Cid) -> Result<Self, UnsupportedId> {
        let codec = match cid.codec() {
            0x55 => Codec::Raw,
            0x70 => Codec::DagPb,
            other => return Err(UnsupportedId::Codec(other)),
        };
        let multihash = cid.hash();
        let refused = UnsupportedId::Hash(multihash.code());
        if multihash.code() != SHA2_256 {
            return Err(refused);
        }
        let hash = multihash.digest().try_into().map_err(|_| refused)?;
        let version = match cid.version() {
            cid::Version::V0 => Version::V0,
            cid::Version::V1 => Version::V1,
        };
        Ok(Self { version, codec, hash })
    }
}

impl TryFrom<&[u8]> for BlockId {
    type Error = UnsupportedId;

    fn try_from(bytes: &[u8]) -> Result<Self, UnsupportedId> {
        let mut rest = bytes;
        let cid = Cid::read_bytes(&mut rest).map_err(|_| UnsupportedId::Malformed)?;
        if !rest.is_empty() {
            return Err(UnsupportedId::Malformed);
        }
        cid.try_into()
    }
}

impl FromStr for BlockId {
    type Err = UnsupportedId;

    fn from_str(text: &str) -> Result<Self, UnsupportedId> {
        Cid::try_from(text).map_err(|_| UnsupportedId::Malformed)?.try_into()
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Version::V0 => f.write_str(&Base::Base58Btc.encode(self.to_bytes())),
            Version::V1 => write!(f, "b{}", Base::Base32Lower.encode(self.to_bytes())),
        }
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_spellings_name_one_block() {
        let v0: BlockId = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n".parse().unwrap();
        assert_eq!(v0.to_string(), "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n");
        assert_eq!(v0.canonical().to_string().len(), 59);
        assert_eq!(v0, v0.canonical());
        assert_eq!(BlockId::try_from(&v0.to_bytes()[..]), Ok(v0));
    }

    #[test]
    fn the_empty_leaf_is_the_one_all_implementations_know() {
        let known = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
        assert_eq!(BlockId::of(Codec::Raw, b"").to_string(), known);
        assert_eq!(known.parse(), Ok(BlockId::of(Codec::Raw, b"")));
    }

    #[test]
    fn other_codecs_and_hashes_are_named() {
        let cbor = [&[1, 0x71, 0x12, 32][..], &[7; 32]].concat();
        assert_eq!(BlockId::try_from(&cbor[..]), Err(UnsupportedId::Codec(0x71)));
        let identity = [1, 0x55, 0, 1, 9];
        assert_eq!(BlockId::try_from(&identity[..]), Err(UnsupportedId::Hash(0)));
        let short = [1, 0x55, 0x12, 1, 9];
        assert_eq!(BlockId::try_from(&short[..]), Err(UnsupportedId::Hash(0x12)));
        let tail = [&BlockId::of(Codec::Raw, b"").to_bytes()[..], &[0]].concat();
        assert_eq!(BlockId::try_from(&tail[..]), Err(UnsupportedId::Malformed));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_accepted_ones_round_trip(bytes: Vec<u8>) {
            if let Ok(id) = BlockId::try_from(&bytes[..]) {
                prop_assert_eq!(id.to_string().parse::<BlockId>().unwrap(), id);
            }
        }
    }
}
