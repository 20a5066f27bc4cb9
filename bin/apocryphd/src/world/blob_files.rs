use apocryph_model::Digest;
use apocryph_oci::registry::BlobFiles;
use apocryph_p2p::BlobStore;
use async_trait::async_trait;
use std::{fs::File, io};

/// The block store, as the registry endpoint serves it.
pub(crate) struct StoredBlobs(pub(crate) BlobStore);

#[async_trait]
impl BlobFiles for StoredBlobs {
    async fn open(&self, digest: Digest) -> io::Result<Option<File>> {
        let store = self.0.clone();
        let content = tokio::task::spawn_blocking(move || store.content(&digest));
        content.await.map_err(io::Error::other)?.map_err(io::Error::other)
    }
}
