//! The store's index: which blobs there are, where their blocks lie, who may read them.

use super::{BlobInfo, Reader, StoreError};
use crate::unixfs::{BlockId, Codec};
use apocryph_model::{ChannelId, Digest};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params, types::Type};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// `leaf.hash` is null for bytes that came wrapped in a node and cannot be served as a block.
/// `blob.path` is set for files that were published in place; an empty `reader.peer` stands for everyone.
const SCHEMA: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    CREATE TABLE IF NOT EXISTS blob (
        id INTEGER PRIMARY KEY, root BLOB NOT NULL UNIQUE, size INTEGER NOT NULL,
        digest BLOB NOT NULL, complete INTEGER NOT NULL, path TEXT
    ) STRICT;
    CREATE INDEX IF NOT EXISTS blob_digest ON blob (digest);
    CREATE TABLE IF NOT EXISTS leaf (
        blob INTEGER NOT NULL REFERENCES blob ON DELETE CASCADE,
        offset INTEGER NOT NULL, length INTEGER NOT NULL, hash BLOB,
        PRIMARY KEY (blob, offset)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS leaf_hash ON leaf (hash);
    CREATE TABLE IF NOT EXISTS node (
        blob INTEGER NOT NULL REFERENCES blob ON DELETE CASCADE,
        hash BLOB NOT NULL, bytes BLOB NOT NULL,
        UNIQUE (hash, blob)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS node_blob ON node (blob);
    CREATE TABLE IF NOT EXISTS reader (
        blob INTEGER NOT NULL REFERENCES blob ON DELETE CASCADE, peer BLOB NOT NULL,
        PRIMARY KEY (blob, peer)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS owner (
        blob INTEGER NOT NULL REFERENCES blob ON DELETE CASCADE, channel BLOB NOT NULL,
        PRIMARY KEY (blob, channel)
    ) STRICT, WITHOUT ROWID;
";

pub(super) struct Index {
    connection: Mutex<Connection>,
}

/// A blob as the index knows it.
#[derive(Debug, Clone)]
pub(super) struct BlobRow {
    pub(super) id: i64,
    pub(super) root: BlockId,
    pub(super) size: u64,
    /// As announced until the blob is complete, then as it is.
    pub(super) digest: Digest,
    pub(super) complete: bool,
    /// Where the file is, if it is not the store's own.
    pub(super) path: Option<PathBuf>,
}

/// Where bytes of a blob lie in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) hash: Option<[u8; 32]>,
}

/// A block that a peer may read.
pub(super) enum Located {
    /// It lies in the blob's file.
    Leaf { blob: BlobRow, offset: u64, length: u64 },
    /// It is kept whole.
    Node(Bytes),
}

/// What a stretch of a fetch adds.
#[derive(Default)]
pub(super) struct Addition {
    pub(super) leaves: Vec<Leaf>,
    pub(super) nodes: Vec<([u8; 32], Bytes)>,
}

impl BlobRow {
    pub(super) fn info(&self) -> Option<BlobInfo> {
        let Self { root, digest, size, .. } = *self;
        self.complete.then_some(BlobInfo { root, digest, size })
    }

    /// Bytes that count against the store's capacity.
    pub(super) fn own_size(&self) -> u64 {
        if self.path.is_some() { 0 } else { self.size }
    }
}

const BLOB: &str = "SELECT id, root, size, digest, complete, path FROM blob";
const MAY_READ: &str = "EXISTS (SELECT 1 FROM reader r WHERE r.blob = b.id AND r.peer IN (?2, x''))";

impl Index {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        // Who else holds it will not let go while it lives.
        connection.busy_timeout(Duration::ZERO)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn blobs(&self) -> Result<Vec<BlobRow>, StoreError> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(BLOB)?;
        let rows = select.query_map([], blob_row)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    pub(super) fn by_root(&self, root: &BlockId) -> Result<Option<BlobRow>, StoreError> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(&format!("{BLOB} WHERE root = ?1"))?;
        Ok(select.query_row([root.canonical().to_bytes()], blob_row).optional()?)
    }

    /// Complete and partial ones.
    pub(super) fn by_digest(&self, digest: &Digest) -> Result<Vec<BlobRow>, StoreError> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(&format!("{BLOB} WHERE digest = ?1"))?;
        let rows = select.query_map([digest.0], blob_row)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Complete and partial ones.
    pub(super) fn owned(&self, owner: &ChannelId) -> Result<Vec<BlobRow>, StoreError> {
        let connection = self.lock();
        let sql = format!("{BLOB} WHERE id IN (SELECT blob FROM owner WHERE channel = ?1)");
        let mut select = connection.prepare_cached(&sql)?;
        let rows = select.query_map([owner.0], blob_row)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Adds a blob and tells its id.
    pub(super) fn insert(&self, blob: BlobRow, content: &Addition) -> Result<BlobRow, StoreError> {
        let path = blob.path.as_ref().map(|path| path.to_string_lossy());
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        // One file is one content.
        transaction.execute("DELETE FROM blob WHERE path = ?1", [&path])?;
        transaction.execute(
            "INSERT INTO blob (root, size, digest, complete, path) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![blob.root.canonical().to_bytes(), integer(blob.size), blob.digest.0, blob.complete, path],
        )?;
        let id = transaction.last_insert_rowid();
        add(&transaction, id, content)?;
        transaction.commit()?;
        Ok(BlobRow { id, ..blob })
    }

    /// Adds blocks to a partial blob. `false` where the blob has been removed.
    pub(super) fn extend(&self, blob: i64, content: &Addition) -> Result<bool, StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        if !exists(&transaction, blob)? {
            return Ok(false);
        }
        add(&transaction, blob, content)?;
        transaction.commit()?;
        Ok(true)
    }

    /// Makes a partial blob complete. `false` where it has been removed.
    pub(super) fn complete(&self, blob: i64, digest: &Digest) -> Result<bool, StoreError> {
        let update = "UPDATE blob SET complete = 1, digest = ?2 WHERE id = ?1";
        Ok(self.lock().execute(update, params![blob, digest.0])? == 1)
    }

    /// The file that was published lies elsewhere now.
    pub(super) fn moved(&self, blob: i64, path: &Path) -> Result<(), StoreError> {
        let update = "UPDATE blob SET path = ?2 WHERE id = ?1";
        self.lock().execute(update, params![blob, path.to_string_lossy()])?;
        Ok(())
    }

    pub(super) fn remove(&self, blob: i64) -> Result<bool, StoreError> {
        Ok(self.lock().execute("DELETE FROM blob WHERE id = ?1", [blob])? == 1)
    }

    pub(super) fn leaves(&self, blob: i64) -> Result<Vec<Leaf>, StoreError> {
        let connection = self.lock();
        let mut select = connection.prepare("SELECT offset, length, hash FROM leaf WHERE blob = ?1")?;
        let leaf =
            |row: &Row| Ok(Leaf { offset: unsigned(row, 0)?, length: unsigned(row, 1)?, hash: row.get(2)? });
        let leaves = select.query_map([blob], leaf)?.collect::<Result<_, _>>()?;
        Ok(leaves)
    }

    pub(super) fn nodes(&self, blob: i64) -> Result<Vec<([u8; 32], Bytes)>, StoreError> {
        let connection = self.lock();
        let mut select = connection.prepare("SELECT hash, bytes FROM node WHERE blob = ?1")?;
        let node = |row: &Row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?.into()));
        let nodes = select.query_map([blob], node)?.collect::<Result<_, _>>()?;
        Ok(nodes)
    }

    pub(super) fn allow(&self, blob: i64, reader: Reader) -> Result<(), StoreError> {
        let peer = match reader {
            Reader::Peer(peer) => peer.to_bytes(),
            Reader::Everyone => Vec::new(),
        };
        let insert = "INSERT OR IGNORE INTO reader (blob, peer) VALUES (?1, ?2)";
        self.lock().execute(insert, params![blob, peer])?;
        Ok(())
    }

    pub(super) fn disallow(&self, blob: i64) -> Result<(), StoreError> {
        self.lock().execute("DELETE FROM reader WHERE blob = ?1", [blob])?;
        Ok(())
    }

    /// Finds a block in a complete blob that `peer` may read.
    pub(super) fn locate(&self, id: &BlockId, peer: &[u8]) -> Result<Option<Located>, StoreError> {
        let connection = self.lock();
        let found = match id.codec() {
            Codec::Raw => {
                let sql = format!(
                    "SELECT b.id, b.root, b.size, b.digest, b.complete, b.path, l.offset, l.length
                     FROM leaf l JOIN blob b ON b.id = l.blob
                     WHERE l.hash = ?1 AND b.complete AND {MAY_READ} LIMIT 1"
                );
                let leaf = |row: &Row| {
                    let (offset, length) = (unsigned(row, 6)?, unsigned(row, 7)?);
                    Ok(Located::Leaf { blob: blob_row(row)?, offset, length })
                };
                connection.prepare_cached(&sql)?.query_row(params![id.hash(), peer], leaf)
            }
            Codec::DagPb => {
                let sql = format!(
                    "SELECT n.bytes FROM node n JOIN blob b ON b.id = n.blob
                     WHERE n.hash = ?1 AND b.complete AND {MAY_READ} LIMIT 1"
                );
                let node = |row: &Row| Ok(Located::Node(row.get::<_, Vec<u8>>(0)?.into()));
                connection.prepare_cached(&sql)?.query_row(params![id.hash(), peer], node)
            }
        };
        Ok(found.optional()?)
    }
}

fn exists(connection: &Connection, blob: i64) -> Result<bool, StoreError> {
    let mut select = connection.prepare_cached("SELECT 1 FROM blob WHERE id = ?1")?;
    Ok(select.exists([blob])?)
}

fn add(connection: &Connection, blob: i64, content: &Addition) -> Result<(), StoreError> {
    let leaf = "INSERT OR IGNORE INTO leaf (blob, offset, length, hash) VALUES (?1, ?2, ?3, ?4)";
    let mut insert = connection.prepare_cached(leaf)?;
    for leaf in &content.leaves {
        insert.execute(params![blob, integer(leaf.offset), integer(leaf.length), leaf.hash])?;
    }
    let node = "INSERT OR IGNORE INTO node (blob, hash, bytes) VALUES (?1, ?2, ?3)";
    let mut insert = connection.prepare_cached(node)?;
    for (hash, bytes) in &content.nodes {
        insert.execute(params![blob, hash, &bytes[..]])?;
    }
    Ok(())
}

fn blob_row(row: &Row) -> Result<BlobRow, rusqlite::Error> {
    Ok(BlobRow {
        id: row.get(0)?,
        root: block_id(row, 1)?,
        size: unsigned(row, 2)?,
        digest: Digest(row.get(3)?),
        complete: row.get(4)?,
        path: row.get::<_, Option<String>>(5)?.map(PathBuf::from),
    })
}

fn block_id(row: &Row, column: usize) -> Result<BlockId, rusqlite::Error> {
    let bytes: Vec<u8> = row.get(column)?;
    BlockId::try_from(&bytes[..])
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, error.into()))
}

/// Sizes are bounded by the store's capacity, which fits SQLite's signed integers.
fn integer(size: u64) -> i64 {
    size.min(i64::MAX as u64).cast_signed()
}

fn unsigned(row: &Row, column: usize) -> Result<u64, rusqlite::Error> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
