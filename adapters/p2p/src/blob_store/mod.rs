//! Blobs on disk, named by the root of their UnixFS DAG.
//!
//! A blob's content is one plain file; blocks are served straight out of it by a table of offsets,
//! so nothing is kept twice. Only the nodes above the leaves (some 0.02 % of the content) are
//! kept beside it, in an SQLite index that also holds who may read what and who owns what.
//!
//! ```text
//!              publish(path)
//!   (nothing) ---------------> published in place ---------- remove() --> (file stays)
//!
//!              begin()              finish()
//!   (nothing) --------> partial ---------------> complete -- remove() --> (nothing)
//!                        ^  |  checkpoint
//!                        +--+  (resumed after any stop)
//! ```
//!
//! The index is the truth: whatever is committed there has reached the disk before. At `open`,
//! files that it does not know are removed, and so are blobs whose file is gone.

mod blocks;
mod index;
mod owners;
mod partial;
mod publish;
mod room;

pub(crate) use partial::Partial;

use crate::unixfs::BlockId;
use apocryph_model::Digest;
use index::{BlobRow, Index};
use libp2p::PeerId;
use room::Room;
use std::{
    collections::HashSet,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A complete blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobInfo {
    /// Names it in the network.
    pub root: BlockId,
    /// Names it in OCI registries: SHA-256 of the whole content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// Who is served a blob's blocks. Nobody, until a reader is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// This peer.
    Peer(PeerId),
    /// Every peer that asks.
    Everyone,
}

/// What a blob store cannot do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The configured capacity is used up.
    #[error("no room for {needed} more bytes: {used} of the blob store's {capacity} bytes are in use")]
    Full {
        /// Bytes asked for.
        needed: u64,
        /// Bytes in use or promised to transfers under way.
        used: u64,
        /// The configured bound.
        capacity: u64,
    },
    /// The file system has no room left.
    #[error("the disk of the blob store is full")]
    DiskFull,
    /// No such blob, or one that was removed while it was being fetched.
    #[error("the blob store has no blob {0}")]
    Missing(BlockId),
    /// What was fetched block by block is not what it was said to be as a whole.
    #[error("{root} has the content digest {found}, not {expected} as announced")]
    Digest {
        /// The blob.
        root: BlockId,
        /// As announced.
        expected: Digest,
        /// As it is.
        found: Digest,
    },
    /// The file system failed otherwise.
    #[error("the blob store's files cannot be read or written")]
    Io(#[source] io::Error),
    /// The index failed.
    #[error("the blob store's index cannot be read or written")]
    Index(#[source] rusqlite::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull,
            _ => Self::Index(error),
        }
    }
}

/// A handle to a store; clones share it. Calls block on the disk.
#[derive(Clone)]
pub struct BlobStore {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    index: Index,
    room: Room,
}

impl BlobStore {
    /// Opens or creates the store in `dir`, holding at most `capacity` bytes of content. A second
    /// process that opens it is refused.
    pub fn open(dir: &Path, capacity: u64) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir.join("blobs"))?;
        let index = Index::open(&dir.join("index.sqlite"))?;
        let room = Room::new(capacity);
        let store = Self { inner: Arc::new(Inner { dir: dir.join("blobs"), index, room }) };
        store.reconcile()?;
        Ok(store)
    }

    /// A store that publishes files in place, keeps nothing itself and is forgotten at its end.
    pub fn of_files() -> Result<Self, StoreError> {
        let index = Index::open(Path::new(":memory:"))?;
        Ok(Self { inner: Arc::new(Inner { dir: PathBuf::new(), index, room: Room::new(0) }) })
    }

    /// Brings files and index together after whatever stopped the last process.
    fn reconcile(&self) -> Result<(), StoreError> {
        let mut known = HashSet::new();
        for blob in self.inner.index.blobs()? {
            let file = std::fs::metadata(self.file_of(&blob));
            if file.is_ok_and(|file| file.len() == blob.size) {
                self.inner.room.refill(blob.own_size());
                known.insert(blob.root.to_string());
            } else {
                tracing::warn!(blob = %blob.root, "the blob's file is gone: forgotten");
                self.inner.index.remove(blob.id)?;
            }
        }
        for entry in std::fs::read_dir(&self.inner.dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_none_or(|name| !known.contains(name)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn file_of(&self, blob: &BlobRow) -> PathBuf {
        match &blob.path {
            Some(path) => path.clone(),
            None => self.inner.dir.join(blob.root.canonical().to_string()),
        }
    }

    /// The complete blob with this root.
    pub fn get(&self, root: &BlockId) -> Result<Option<BlobInfo>, StoreError> {
        let row = self.inner.index.by_root(root)?;
        Ok(row.and_then(|row| row.info()))
    }

    /// The complete blob whose whole content has this SHA-256.
    pub fn by_digest(&self, digest: &Digest) -> Result<Option<BlobInfo>, StoreError> {
        Ok(self.complete(digest)?.and_then(|blob| blob.info()))
    }

    /// Every blob's root, partial ones included.
    pub fn roots(&self) -> Result<Vec<BlockId>, StoreError> {
        Ok(self.inner.index.blobs()?.into_iter().map(|blob| blob.root).collect())
    }

    /// Bytes in use or promised to transfers under way.
    pub fn used(&self) -> u64 {
        self.inner.room.used()
    }

    /// The content of the complete blob with this SHA-256.
    pub fn content(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        let path = self.path(digest)?;
        Ok(path.map(File::open).transpose()?)
    }

    fn complete(&self, digest: &Digest) -> Result<Option<BlobRow>, StoreError> {
        let blobs = self.inner.index.by_digest(digest)?;
        Ok(blobs.into_iter().find(|blob| blob.complete))
    }

    /// Where the content of the complete blob with this SHA-256 lies: to be read only.
    pub fn path(&self, digest: &Digest) -> Result<Option<PathBuf>, StoreError> {
        Ok(self.complete(digest)?.map(|blob| self.file_of(&blob)))
    }

    /// Lets `reader` fetch the blob from now on.
    pub fn allow(&self, root: &BlockId, reader: Reader) -> Result<(), StoreError> {
        let blob = self.inner.index.by_root(root)?.ok_or(StoreError::Missing(*root))?;
        self.inner.index.allow(blob.id, reader)
    }

    /// Lets nobody fetch the blob any more.
    pub fn disallow(&self, root: &BlockId) -> Result<(), StoreError> {
        let blob = self.inner.index.by_root(root)?.ok_or(StoreError::Missing(*root))?;
        self.inner.index.disallow(blob.id)
    }

    /// Removes a blob, complete or partial, with its readers and owners. A file that was
    /// published in place stays. A blob that is not there is no error.
    pub fn remove(&self, root: &BlockId) -> Result<(), StoreError> {
        let Some(blob) = self.inner.index.by_root(root)? else { return Ok(()) };
        self.discard(&blob)
    }

    fn discard(&self, blob: &BlobRow) -> Result<(), StoreError> {
        // The index first: a file without a row is swept, a row without its file would be a lie.
        if self.inner.index.remove(blob.id)? {
            self.inner.room.release(blob.own_size());
        }
        if blob.path.is_some() {
            return Ok(());
        }
        match std::fs::remove_file(self.file_of(blob)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
