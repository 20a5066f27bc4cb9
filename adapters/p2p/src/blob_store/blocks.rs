//! Serving single blocks.

use super::{
    BlobStore, StoreError,
    index::{BlobRow, Located},
};
use crate::unixfs::BlockId;
use bytes::Bytes;
use libp2p::PeerId;
use std::{fs::File, io, os::unix::fs::FileExt as _};

impl BlobStore {
    /// Whether the block is here, where `peer` may read it. To others it does not exist.
    pub(crate) fn has_block(&self, id: &BlockId, peer: &PeerId) -> Result<bool, StoreError> {
        Ok(self.inner.index.locate(id, &peer.to_bytes())?.is_some())
    }

    /// The block, where `peer` may read it.
    pub(crate) fn block(&self, id: &BlockId, peer: &PeerId) -> Result<Option<Bytes>, StoreError> {
        match self.inner.index.locate(id, &peer.to_bytes())? {
            None => Ok(None),
            Some(Located::Node(bytes)) => Ok(Some(bytes)),
            Some(Located::Leaf { blob, offset, length }) => self.read_range(&blob, offset, length),
        }
    }

    fn read_range(&self, blob: &BlobRow, offset: u64, length: u64) -> Result<Option<Bytes>, StoreError> {
        let file = match File::open(self.file_of(blob)) {
            // Removed between the two looks.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(Some(bytes.into()))
    }
}
