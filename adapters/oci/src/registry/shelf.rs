//! What an endpoint has to give, and to whom.

use std::fs::File;
use std::io;
use std::sync::Arc;

use apocryph_model::Digest;
use apocryph_seal::LayerKeys;
use async_trait::async_trait;
use bytes::Bytes;

use super::BlobFiles;
use super::grants::{Grants, Token};

/// A blob that is given out.
pub(super) enum Content {
    /// As it is stored, under its own digest.
    File(File),
    /// Held in memory.
    Bytes(Bytes),
    /// Stored encrypted; `keys` open it.
    Layer { file: File, keys: LayerKeys },
}

/// The blobs of one endpoint.
#[async_trait]
pub(super) trait Shelf: Send + Sync {
    /// Whether anything is for the bearer of this token.
    fn knows(&self, token: &Token) -> bool;

    /// `None` for what is not granted and what is not there alike.
    async fn open(&self, token: &Token, digest: Digest) -> io::Result<Option<Content>>;

    /// What decrypts the layer that a ticket is for, if it is for one.
    fn layer_keys(&self, ticket: &[u8]) -> Option<LayerKeys>;
}

/// Blobs as they are stored.
pub(super) struct Stored {
    pub(super) files: Arc<dyn BlobFiles>,
    pub(super) grants: Arc<Grants>,
}

#[async_trait]
impl Shelf for Stored {
    fn knows(&self, token: &Token) -> bool {
        self.grants.knows(token)
    }

    async fn open(&self, token: &Token, digest: Digest) -> io::Result<Option<Content>> {
        if !self.grants.opens(token, &digest) {
            return Ok(None);
        }
        Ok(self.files.open(digest).await?.map(Content::File))
    }

    /// Whoever pulls from here has the keys.
    fn layer_keys(&self, _: &[u8]) -> Option<LayerKeys> {
        None
    }
}
