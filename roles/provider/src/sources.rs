//! Where the blobs of one request come from: the IPFS nodes that it names, in order, and last the
//! publisher. What one does not have may be at the next; one that does not answer is given up.

use crate::{BlobError, Blobs};
use apocryph_model::{Blob, ChannelId, PeerAddress, PeerId};
use std::collections::BTreeSet;

type OnBytes<'a> = &'a (dyn Fn(u64) + Send + Sync);

pub(crate) struct Sources<'a> {
    blobs: &'a dyn Blobs,
    owner: ChannelId,
    named: Vec<PeerAddress>,
    publisher: &'a PeerId,
    /// Those that were complained of: once is enough.
    blamed: BTreeSet<PeerId>,
}

impl<'a> Sources<'a> {
    pub(crate) fn new(
        blobs: &'a dyn Blobs,
        owner: ChannelId,
        named: &[PeerAddress],
        publisher: &'a PeerId,
    ) -> Self {
        Self { blobs, owner, named: named.to_vec(), publisher, blamed: BTreeSet::new() }
    }

    /// Fetches a blob from the first that gives it. `complain` is told of sources that do not.
    pub(crate) async fn fetch(
        &mut self,
        blob: &Blob,
        told: OnBytes<'_>,
        complain: &(dyn Fn(PeerAddress, String) + Send + Sync),
    ) -> Result<(), BlobError> {
        for source in self.named.clone() {
            match self.fetch_from(&source, blob, told).await {
                Ok(()) => return Ok(()),
                Err(ours @ (BlobError::Store(_) | BlobError::TooLarge { .. })) => return Err(ours),
                Err(theirs) => self.blame(source, &theirs, complain),
            }
        }
        self.blobs.fetch(self.owner, blob, self.publisher, told).await
    }

    async fn fetch_from(
        &self,
        source: &PeerAddress,
        blob: &Blob,
        told: OnBytes<'_>,
    ) -> Result<(), BlobError> {
        self.blobs.reach(source).await?;
        self.blobs.fetch(self.owner, blob, &source.peer(), told).await
    }

    fn blame(
        &mut self,
        source: PeerAddress,
        cause: &BlobError,
        complain: &(dyn Fn(PeerAddress, String) + Send + Sync),
    ) {
        if matches!(cause, BlobError::Unreachable(_) | BlobError::Stalled { .. }) {
            self.named.retain(|named| *named != source);
        }
        if self.blamed.insert(source.peer()) {
            tracing::info!(%source, %cause, "a source does not help");
            complain(source, cause.to_string());
        }
    }
}
