//! What the provider needs of the network, by a [`Node`]: ciphertext, fetched and kept by owner.

use crate::{
    address,
    bitswap::{Announced, FetchError},
    blob_store::{BlobStore, StoreError},
    causes::with_causes,
    node::Node,
    unixfs::BlockId,
};
use apocryph_model::{Blob, ChannelId, Digest, PeerAddress, PeerId};
use apocryph_provider::{BlobError, Blobs};
use async_trait::async_trait;
use std::io::Read as _;

#[async_trait]
impl Blobs for Node {
    async fn reach(&self, source: &PeerAddress) -> Result<(), BlobError> {
        let unreachable = |problem: &str| BlobError::Unreachable(problem.to_owned());
        let (peer, at) = address::parse(source).ok_or_else(|| unreachable("its address is none"))?;
        if !address::may_be_dialled(&at, &self.addresses()) {
            return Err(unreachable("its address is not one of TCP or QUIC on the public internet"));
        }
        self.connect(peer, vec![at]).await.map_err(|error| unreachable(&with_causes(&error)))
    }

    async fn fetch(
        &self,
        owner: ChannelId,
        blob: &Blob,
        peer: &PeerId,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), BlobError> {
        let wrong = |problem: String| BlobError::Peer { cid: blob.cid.clone(), problem };
        let root: BlockId = blob.cid.parse().map_err(|error| wrong(with_causes(&error)))?;
        let source = address::peer_id(peer).ok_or_else(|| wrong("its peer id is none".into()))?;
        let announced = Announced { root, digest: blob.digest, size: blob.size };
        if self.own_present(owner, announced).await? {
            progress(blob.size);
            return Ok(());
        }
        let fetched = self.bitswap().fetch(&source, announced, owner, progress).await;
        fetched.map(|_| ()).map_err(|error| fetch_error(&blob.cid, &error))
    }

    async fn read(&self, digest: Digest, at_most: u64) -> Result<Vec<u8>, BlobError> {
        self.with_store(move |store| read(store, &digest, at_most)).await
    }

    async fn keep_only(&self, owner: ChannelId, digests: &[Digest]) -> Result<(), BlobError> {
        let digests = digests.to_vec();
        self.with_store(move |store| store.keep_only(&owner, &digests).map_err(store_error)).await
    }

    async fn share(&self, owner: ChannelId, digests: &[Digest], public: bool) -> Result<(), BlobError> {
        let digests = digests.to_vec();
        self.with_store(move |store| store.share(&owner, &digests, public).map_err(store_error)).await
    }

    async fn owners(&self) -> Result<Vec<ChannelId>, BlobError> {
        self.with_store(|store| store.owners().map_err(store_error)).await
    }
}

impl Node {
    /// A content that is here is not fetched again, whatever tree it was announced with.
    async fn own_present(&self, owner: ChannelId, announced: Announced) -> Result<bool, BlobError> {
        self.with_store(move |store| match store.by_digest(&announced.digest).map_err(store_error)? {
            Some(present) if present.size == announced.size => {
                store.own(&present.root, &owner).map_err(store_error)?;
                Ok(true)
            }
            _ => Ok(false),
        })
        .await
    }

    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BlobStore) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let store = self.store().clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|_| BlobError::Store("the provider is stopping".into()))?
    }
}

fn read(store: &BlobStore, digest: &Digest, at_most: u64) -> Result<Vec<u8>, BlobError> {
    let info = store.by_digest(digest).map_err(store_error)?;
    let missing = || BlobError::Store(format!("{digest} is not there"));
    let info = info.ok_or_else(missing)?;
    if info.size > at_most {
        return Err(BlobError::TooLarge { size: info.size, allowed: at_most });
    }
    let mut bytes = Vec::new();
    let mut file = store.content(digest).map_err(store_error)?.ok_or_else(missing)?;
    file.read_to_end(&mut bytes).map_err(|error| store_error(error.into()))?;
    Ok(bytes)
}

#[expect(clippy::needless_pass_by_value, reason = "maps errors")]
fn store_error(error: StoreError) -> BlobError {
    BlobError::Store(with_causes(&error))
}

fn fetch_error(cid: &str, error: &FetchError) -> BlobError {
    let (cid, problem) = (cid.to_owned(), with_causes(error));
    match error {
        FetchError::Store(StoreError::Digest { .. })
        | FetchError::Absent(_)
        | FetchError::Misbehaved(_)
        | FetchError::Invalid(_)
        | FetchError::Deaf(_) => BlobError::Peer { cid, problem },
        FetchError::Stalled { .. } | FetchError::Stopped => BlobError::Stalled { cid, problem },
        FetchError::Store(_) => BlobError::Store(problem),
    }
}
