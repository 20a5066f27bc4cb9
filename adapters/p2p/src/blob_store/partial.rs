//! Blobs that are being fetched: blocks arrive in any order, and what has arrived stays.

use super::{
    BlobInfo, BlobStore, StoreError,
    index::{Addition, BlobRow, Leaf},
};
use crate::unixfs::BlockId;
use apocryph_model::Digest;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

/// After how many bytes the disk and the index are brought up to date: what a crash may cost.
const CHECKPOINT: u64 = 16 << 20;

/// A blob under way. Dropped, it keeps what it has for the next try.
pub(crate) struct Partial {
    store: BlobStore,
    blob: BlobRow,
    file: File,
    nodes: HashMap<[u8; 32], Bytes>,
    /// Where a leaf's bytes stand already.
    places: HashMap<[u8; 32], (u64, u64)>,
    /// Offsets that are filled, with how many bytes.
    filled: HashMap<u64, u64>,
    bytes: u64,
    pending: Addition,
    pending_bytes: u64,
}

impl BlobStore {
    /// The partial blob with this root, as an earlier fetch left it.
    pub(crate) fn resume(&self, root: &BlockId) -> Result<Option<Partial>, StoreError> {
        let blob = self.inner.index.by_root(root)?.filter(|blob| !blob.complete);
        let Some(blob) = blob else { return Ok(None) };
        let file = OpenOptions::new().read(true).write(true).open(self.file_of(&blob))?;
        let mut partial = Partial::new(self.clone(), blob, file);
        partial.nodes = self.inner.index.nodes(partial.blob.id)?.into_iter().collect();
        for leaf in self.inner.index.leaves(partial.blob.id)? {
            partial.remember(&leaf);
        }
        Ok(Some(partial))
    }

    /// Begins a blob of `size` bytes, announced to have `digest`: takes room in the store and on
    /// the disk for all of it.
    pub(crate) fn begin(&self, root: &BlockId, digest: &Digest, size: u64) -> Result<Partial, StoreError> {
        let blob = BlobRow { id: 0, root: *root, size, digest: *digest, complete: false, path: None };
        self.inner.room.take(size)?;
        let path = self.file_of(&blob);
        self.create(blob, &path).inspect_err(|_| {
            self.inner.room.release(size);
            // Should this fail too, the next start sweeps the file.
            let _ = std::fs::remove_file(path);
        })
    }

    fn create(&self, blob: BlobRow, path: &Path) -> Result<Partial, StoreError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        allocate(&file, blob.size)?;
        file.sync_all()?;
        File::open(&self.inner.dir)?.sync_all()?;
        let blob = self.inner.index.insert(blob, &Addition::default())?;
        Ok(Partial::new(self.clone(), blob, file))
    }
}

/// Takes the disk's space now, so that a full disk is found before anything is transferred.
fn allocate(file: &File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    nix::fcntl::posix_fallocate(file, 0, size.cast_signed())?;
    Ok(())
}

impl Partial {
    fn new(store: BlobStore, blob: BlobRow, file: File) -> Self {
        Self {
            store,
            blob,
            file,
            nodes: HashMap::new(),
            places: HashMap::new(),
            filled: HashMap::new(),
            bytes: 0,
            pending: Addition::default(),
            pending_bytes: 0,
        }
    }

    /// The digest and size that were announced when it was begun.
    pub(crate) fn announced(&self) -> (Digest, u64) {
        (self.blob.digest, self.blob.size)
    }

    /// Bytes of the content that are here.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A node that has arrived.
    pub(crate) fn node(&self, id: &BlockId) -> Option<Bytes> {
        self.nodes.get(id.hash()).cloned()
    }

    /// Whether the leaf of `size` bytes at `offset` has arrived.
    pub(crate) fn has_leaf(&self, offset: u64, size: u64) -> bool {
        self.filled.get(&offset) == Some(&size)
    }

    /// Fills `offset` with a leaf that stands elsewhere in the blob already. `false` if none does.
    pub(crate) fn repeat_leaf(&mut self, id: &BlockId, offset: u64) -> Result<bool, StoreError> {
        let Some(&(from, length)) = self.places.get(id.hash()) else { return Ok(false) };
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, from)?;
        self.put(offset, &bytes, Some(*id.hash()))?;
        Ok(true)
    }

    /// Keeps a node.
    pub(crate) fn put_node(&mut self, id: &BlockId, bytes: Bytes) {
        self.pending.nodes.push((*id.hash(), bytes.clone()));
        self.nodes.insert(*id.hash(), bytes);
    }

    /// Keeps a leaf's bytes. `hash` is that of the block if the bytes are the block.
    pub(crate) fn put(
        &mut self,
        offset: u64,
        bytes: &[u8],
        hash: Option<[u8; 32]>,
    ) -> Result<(), StoreError> {
        self.file.write_all_at(bytes, offset)?;
        let leaf = Leaf { offset, length: bytes.len() as u64, hash };
        self.remember(&leaf);
        self.pending.leaves.push(leaf);
        self.pending_bytes += leaf.length;
        if self.pending_bytes >= CHECKPOINT {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn remember(&mut self, leaf: &Leaf) {
        if self.filled.insert(leaf.offset, leaf.length).is_some() {
            return;
        }
        self.bytes += leaf.length;
        if let Some(hash) = leaf.hash {
            self.places.insert(hash, (leaf.offset, leaf.length));
        }
    }

    /// Makes what has arrived durable.
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.file.sync_data()?;
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        match self.store.inner.index.extend(self.blob.id, &pending)? {
            true => Ok(()),
            false => Err(StoreError::Missing(self.blob.root)),
        }
    }

    /// Makes the blob complete. Every leaf must be there; a content that is not the announced one
    /// is discarded.
    pub(crate) fn finish(mut self) -> Result<BlobInfo, StoreError> {
        self.checkpoint()?;
        let BlobRow { id, root, size, digest: expected, .. } = self.blob;
        let digest = self.digest()?;
        if digest != expected {
            self.store.discard(&self.blob)?;
            return Err(StoreError::Digest { root, expected, found: digest });
        }
        if !self.store.inner.index.complete(id, &digest)? {
            return Err(StoreError::Missing(root));
        }
        Ok(BlobInfo { root, digest, size })
    }

    fn digest(&self) -> Result<Digest, StoreError> {
        let mut file = File::open(self.store.file_of(&self.blob))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Digest(hasher.finalize().into())),
                n => hasher.update(&buffer[..n]),
            }
        }
    }

    /// Gives up: nothing stays.
    pub(crate) fn discard(mut self) -> Result<(), StoreError> {
        self.pending = Addition::default();
        self.store.discard(&self.blob)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.pending.leaves.is_empty() && self.pending.nodes.is_empty() {
            return;
        }
        if let Err(error) = self.checkpoint() {
            tracing::debug!(blob = %self.blob.root, %error, "the rest of a partial blob was not kept");
        }
    }
}
