//! Files that are served from where they lie.

use super::{
    BlobInfo, BlobStore, Reader, StoreError,
    index::{Addition, BlobRow, Leaf},
};
use crate::unixfs::{Dag, DagBuilder, Layout};
use apocryph_model::Digest;
use std::{fs::File, io::Read as _, path::Path};

const READ: usize = 256 << 10;

impl BlobStore {
    /// Serves the file at `path`, whose SHA-256 is `digest`, to `reader`. It must stay as it is:
    /// blocks that changed are refused by whoever receives them. A content that is here already
    /// gains a reader; what was published from the same path before ends.
    pub fn publish(&self, path: &Path, digest: &Digest, reader: Reader) -> Result<BlobInfo, StoreError> {
        let path = std::path::absolute(path)?;
        if let Some(present) = self.complete(digest)? {
            self.inner.index.allow(present.id, reader)?;
            if present.path.as_ref().is_some_and(|former| *former != path) {
                self.inner.index.moved(present.id, &path)?;
            }
            let BlobRow { root, size, .. } = present;
            return Ok(BlobInfo { root, digest: *digest, size });
        }
        let dag = hash_file(&path)?;
        let Dag { root, size, .. } = dag;
        let blob = BlobRow { id: 0, root, size, digest: *digest, complete: true, path: Some(path) };
        let blob = self.inner.index.insert(blob, &content(&dag))?;
        self.inner.index.allow(blob.id, reader)?;
        Ok(BlobInfo { root, digest: *digest, size })
    }
}

fn hash_file(path: &Path) -> Result<Dag, StoreError> {
    let mut file = File::open(path)?;
    let mut dag = DagBuilder::new(Layout::STANDARD);
    let mut buffer = vec![0; READ];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(dag.finish()),
            n => dag.update(&buffer[..n]),
        }
    }
}

fn content(dag: &Dag) -> Addition {
    let leaf = |(index, hash): (usize, &[u8; 32])| {
        let offset = index as u64 * dag.chunk;
        Leaf { offset, length: dag.chunk.min(dag.size - offset), hash: Some(*hash) }
    };
    Addition {
        leaves: dag.leaves.iter().enumerate().map(leaf).collect(),
        nodes: dag.nodes.iter().map(|(id, bytes)| (*id.hash(), bytes.clone())).collect(),
    }
}
