//! Blobs that are kept because someone needs them: counted by owner.

use super::{BlobStore, Reader, StoreError};
use crate::unixfs::BlockId;
use apocryph_model::{ChannelId, Digest};
use rusqlite::{OptionalExtension as _, params};
use std::collections::HashSet;

impl BlobStore {
    /// Makes `owner` an owner of the blob, complete or partial.
    pub(crate) fn own(&self, root: &BlockId, owner: &ChannelId) -> Result<(), StoreError> {
        let blob = self.inner.index.by_root(root)?.ok_or(StoreError::Missing(*root))?;
        let insert = "INSERT OR IGNORE INTO owner (blob, channel) VALUES (?1, ?2)";
        self.inner.index.lock().execute(insert, params![blob.id, owner.0])?;
        Ok(())
    }

    /// `owner` keeps the blobs with these digests and lets go of its others. Blobs that have
    /// lost their last owner are removed.
    pub(crate) fn keep_only(&self, owner: &ChannelId, digests: &[Digest]) -> Result<(), StoreError> {
        let kept: HashSet<_> = digests.iter().collect();
        for blob in self.inner.index.owned(owner)? {
            if !kept.contains(&blob.digest) && self.let_go(blob.id, owner)? {
                self.discard(&blob)?;
            }
        }
        Ok(())
    }

    /// Lets everyone read the complete blobs with these digests, or, where nobody but `owner` owns
    /// them, nobody any more.
    pub(crate) fn share(
        &self,
        owner: &ChannelId,
        digests: &[Digest],
        public: bool,
    ) -> Result<(), StoreError> {
        for digest in digests {
            let Some(blob) = self.complete(digest)? else { continue };
            if public {
                self.inner.index.allow(blob.id, Reader::Everyone)?;
            } else if !self.is_others(blob.id, owner)? {
                self.inner.index.disallow(blob.id)?;
            }
        }
        Ok(())
    }

    /// Whether someone else than `owner` owns the blob.
    fn is_others(&self, blob: i64, owner: &ChannelId) -> Result<bool, StoreError> {
        let select = "SELECT 1 FROM owner WHERE blob = ?1 AND channel <> ?2 LIMIT 1";
        let found = self.inner.index.lock().query_row(select, params![blob, owner.0], |_| Ok(()));
        Ok(found.optional()?.is_some())
    }

    /// Tells whether nobody owns the blob any more.
    fn let_go(&self, blob: i64, owner: &ChannelId) -> Result<bool, StoreError> {
        let connection = self.inner.index.lock();
        let delete = "DELETE FROM owner WHERE blob = ?1 AND channel = ?2";
        connection.execute(delete, params![blob, owner.0])?;
        let left = connection
            .query_row("SELECT 1 FROM owner WHERE blob = ?1 LIMIT 1", [blob], |_| Ok(()))
            .optional()?;
        Ok(left.is_none())
    }

    /// Everyone who owns anything.
    pub(crate) fn owners(&self) -> Result<Vec<ChannelId>, StoreError> {
        let connection = self.inner.index.lock();
        let mut select = connection.prepare("SELECT DISTINCT channel FROM owner")?;
        let owners = select.query_map([], |row| row.get(0).map(ChannelId))?.collect::<Result<_, _>>()?;
        Ok(owners)
    }
}
