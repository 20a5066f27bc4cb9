//! What the provider needs of its block store and of the network behind it.

use apocryph_model::{Blob, ChannelId, Digest, PeerAddress, PeerId};
use async_trait::async_trait;

/// Why a blob is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The peer does not have it, or sent something else.
    #[error("{cid} cannot be had from the peer: {problem}")]
    Peer {
        /// What was asked for.
        cid: String,
        /// What came instead.
        problem: String,
    },
    /// The peer went away or stopped sending. What has come is kept; a repeat goes on from there.
    #[error("the transfer of {cid} stalled: {problem}")]
    Stalled {
        /// What was asked for.
        cid: String,
        /// What happened.
        problem: String,
    },
    /// There is no way to the peer, or it is not dialled for a stranger.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// This host cannot keep it.
    #[error("the block store cannot keep it: {0}")]
    Store(String),
    /// It is larger than the caller allows.
    #[error("{size} bytes, at most {allowed} are allowed")]
    TooLarge {
        /// As announced.
        size: u64,
        /// As allowed.
        allowed: u64,
    },
}

/// Ciphertext, by the digest of its whole content. Blobs are counted by owner: one that two
/// pods own stays until both have let go.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Makes sure that there is a connection to a node that a publisher named. A provider that
    /// is reached on the public internet dials no others for a stranger.
    async fn reach(&self, source: &PeerAddress) -> Result<(), BlobError>;

    /// Fetches what is missing from `peer`, verified block by block and as a whole, and makes
    /// `owner` an owner. `progress` is told how many bytes of this blob are there.
    async fn fetch(
        &self,
        owner: ChannelId,
        blob: &Blob,
        peer: &PeerId,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), BlobError>;

    /// The content of a small blob, whole.
    async fn read(&self, digest: Digest, at_most: u64) -> Result<Vec<u8>, BlobError>;

    /// `owner` keeps these blobs only; those without any owner are deleted. With none, all go.
    async fn keep_only(&self, owner: ChannelId, digests: &[Digest]) -> Result<(), BlobError>;

    /// Lets everyone fetch these blobs of `owner` from here, or nobody any more. What another
    /// owner shares as well stays shared.
    async fn share(&self, owner: ChannelId, digests: &[Digest], public: bool) -> Result<(), BlobError>;

    /// Everyone who owns anything.
    async fn owners(&self) -> Result<Vec<ChannelId>, BlobError>;
}

/// The provider's image registry, which the engine pulls from.
pub trait Registry: Send + Sync {
    /// Opens these blobs to whoever shows the token that comes back; replaces the pod's earlier
    /// scope, whose token stays the same.
    fn admit(&self, pod: ChannelId, digests: &[Digest]) -> String;

    /// Closes the pod's scope.
    fn dismiss(&self, pod: ChannelId);
}
