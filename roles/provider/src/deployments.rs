//! What the provider offers to publishers: the deployment sub-protocol's methods.

use apocryph_model::{
    Endpoint, Fault, Hash32, LogLine, LogQuery, Offer, PeerId, PodStatus, Progress, ProvisionRequest,
    Statement, UsageRecord,
};
use apocryph_statement::Signature;
use async_trait::async_trait;
use futures::stream::BoxStream;

/// Proof that a publisher wants this call, as it came over the wire. Not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorisation {
    /// What was signed.
    pub statement: Statement,
    /// By whom: the key is recovered from it.
    pub signature: Signature,
    /// Keccak-256 of the payload that came with it.
    pub payload: Hash32,
    /// The peer that sent it; blobs are fetched from there.
    pub peer: PeerId,
}

/// Told how far `provision` is.
pub type OnProgress = Box<dyn Fn(Progress) + Send + Sync>;

/// The provider, as the network calls it. Everything but `offer` and `attest` is authorised by a
/// statement; without one that holds, nothing is told, not even that a pod exists.
#[async_trait]
pub trait Deployments: Send + Sync {
    /// On what terms a pod would be taken now. A refusal says why.
    async fn offer(&self) -> Result<Offer, Fault>;

    /// Evidence of what runs here, bound to `nonce`; empty where there is none.
    async fn attest(&self, nonce: [u8; 32]) -> Result<Vec<u8>, Fault>;

    /// Checks the channel, fetches, prepares and routes. Ends with the addresses. Repeating it
    /// with the same request is harmless; with another it is an `update`.
    async fn provision(
        &self,
        caller: Authorisation,
        request: ProvisionRequest,
        progress: OnProgress,
    ) -> Result<Vec<Endpoint>, Fault>;

    /// Claims what is owed, then removes the pod and everything of it.
    async fn remove(&self, caller: Authorisation) -> Result<(), Fault>;

    /// What the pod is doing, also after it was evicted.
    async fn status(&self, caller: Authorisation) -> Result<PodStatus, Fault>;

    /// The pod's log.
    async fn logs(
        &self,
        caller: Authorisation,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogLine>, Fault>;

    /// At most [`UsageRecord`]s per page from `from` on, in order.
    async fn usage(&self, caller: Authorisation, from: u64) -> Result<Vec<UsageRecord>, Fault>;
}
