//! What the publisher needs of the network.

use apocryph_model::{
    Blob, ChannelId, Digest, Endpoint, Fault, LogLine, LogQuery, Offer, PeerAddress, PeerId, PodStatus,
    Progress, ProvisionRequest, UsageRecord,
};
use apocryph_statement::Signer;
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::{path::PathBuf, sync::Arc};

/// A file of ciphertext that providers may fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalBlob {
    /// SHA-256 of the whole content.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where it is; stays as it is while it is published.
    pub path: PathBuf,
}

/// Why a provider could not be talked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// None of its addresses answered in time.
    #[error("{peer} does not answer: {problem}")]
    Unreachable {
        /// Who was called.
        peer: PeerId,
        /// What happened at the last address.
        problem: String,
    },
    /// The connection broke or stalled on the way. Whether the call took effect is unknown.
    #[error("the connection to the provider broke: {0}")]
    Broken(String),
    /// The provider's answer breaks the protocol.
    #[error("the provider's answer makes no sense: {0}")]
    Nonsense(String),
    /// The provider answered with a fault.
    #[error("{0}")]
    Fault(Fault),
    /// This side could not read or publish its own data.
    #[error("{0}")]
    Local(String),
}

/// Dials providers and publishes blobs.
#[async_trait]
pub trait Network: Send + Sync {
    /// Dials a provider at its addresses and makes sure that it is who is expected there. Calls
    /// are signed by `signer`.
    async fn connect(
        &self,
        addresses: &[PeerAddress],
        signer: Arc<dyn Signer>,
    ) -> Result<Arc<dyn ProviderLink>, LinkError>;

    /// Makes files available as UnixFS blocks to `peer` alone, for as long as this network lives.
    async fn publish(&self, blobs: &[LocalBlob], peer: &PeerId) -> Result<Vec<Blob>, LinkError>;
}

/// A connection to one provider. Every call but `offer` and `attest` is signed for `channel`.
#[async_trait]
pub trait ProviderLink: Send + Sync {
    /// Who is at the other end.
    fn peer(&self) -> PeerId;

    /// On what terms it would take a pod now.
    async fn offer(&self) -> Result<Offer, LinkError>;

    /// Evidence of what it runs, bound to `nonce`; empty where there is none.
    async fn attest(&self, nonce: [u8; 32]) -> Result<Vec<u8>, LinkError>;

    /// Makes the pod, or changes it in place, and tells where it is reached.
    async fn provision(
        &self,
        channel: ChannelId,
        request: ProvisionRequest,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Vec<Endpoint>, LinkError>;

    /// Ends the pod.
    async fn remove(&self, channel: ChannelId) -> Result<(), LinkError>;

    /// What the pod is doing.
    async fn status(&self, channel: ChannelId) -> Result<PodStatus, LinkError>;

    /// The pod's log.
    async fn logs(
        &self,
        channel: ChannelId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, LinkError>>, LinkError>;

    /// A page of the ledger from `from` on, in order; empty at the end.
    async fn usage(&self, channel: ChannelId, from: u64) -> Result<Vec<UsageRecord>, LinkError>;
}
