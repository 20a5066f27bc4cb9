//! What the provider needs of the chain.

use apocryph_model::{
    Address, Amount, ChainError, Channel, ChannelId, Offering, PodId, Terms, TransactionId, Usage,
};
use async_trait::async_trait;

/// A claim of all usage of one channel's epoch so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who pays.
    pub publisher: Address,
    /// For which pod.
    pub pod: PodId,
    /// In which epoch it was used.
    pub epoch: u32,
    /// What the epoch is priced by.
    pub terms: Terms,
    /// Cumulative within the epoch.
    pub usage: Usage,
}

/// What a mined claim did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimReceipt {
    /// The transaction.
    pub transaction: TransactionId,
    /// What was paid, in the order of the claims; zero where nothing was due or a claim was
    /// skipped.
    pub paid: Vec<Amount>,
}

/// The Payment and Registry contracts as the provider sees them. Only what has the configured
/// number of confirmations is told; an error says nothing about any channel.
#[async_trait]
pub trait Chain: Send + Sync {
    /// The provider's own account, which claims.
    fn account(&self) -> Address;

    /// The chain's id (EIP-155).
    fn id(&self) -> u64;

    /// The Payment contract.
    fn payment(&self) -> Address;

    /// The time of the newest block, in seconds since the Unix epoch.
    async fn now(&self) -> Result<u64, ChainError>;

    /// The channels in the order of their ids; `None` for one that is not open.
    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Option<Channel>>, ChainError>;

    /// Claims for several channels in one transaction and waits until it is mined.
    async fn claim(&self, claims: &[Claim]) -> Result<ClaimReceipt, ChainError>;

    /// What a claim transaction costs about, in units of the chain's own coin (wei).
    async fn claim_fee(&self) -> Result<Amount, ChainError>;

    /// Lists or changes the provider's entry in the Registry.
    async fn register(&self, offering: &Offering) -> Result<TransactionId, ChainError>;

    /// Takes the provider's entry out of the Registry.
    async fn unregister(&self) -> Result<TransactionId, ChainError>;

    /// The provider's entry, if there is one.
    async fn registered(&self) -> Result<Option<Offering>, ChainError>;
}
