//! What the publisher needs of the chain.

use apocryph_model::{
    Address, Amount, ChainError, Channel, ChannelId, Offering, PodId, Rate, Terms, TransactionId, Usage,
};
use async_trait::async_trait;

/// A token as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its contract.
    pub address: Address,
    /// Such as `USDC`.
    pub symbol: String,
    /// How many decimals people see.
    pub decimals: u8,
}

/// What a channel is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Who will claim.
    pub provider: Address,
    /// For which pod.
    pub pod: PodId,
    /// In which token.
    pub token: Address,
    /// How much is paid in at first.
    pub deposit: Amount,
    /// The most that can be owed over time.
    pub max_rate: Rate,
    /// How long an unlock takes, in seconds.
    pub unlock_delay: u64,
    /// What claims are priced by.
    pub terms: Terms,
}

/// A claim as the chain recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// In which epoch.
    pub epoch: u32,
    /// The cumulative usage that was claimed.
    pub usage: Usage,
    /// The epoch's total after it.
    pub total: Amount,
    /// What this claim paid.
    pub paid: Amount,
    /// When, in seconds since the Unix epoch.
    pub time: u64,
    /// The transaction.
    pub transaction: TransactionId,
}

/// The Payment and Registry contracts as the publisher sees them. An error says nothing about
/// any channel.
#[async_trait]
pub trait Chain: Send + Sync {
    /// The publisher's own account.
    fn account(&self) -> Address;

    /// The chain's id (EIP-155).
    fn id(&self) -> u64;

    /// The Payment contract.
    fn payment(&self) -> Address;

    /// The time of the newest block, in seconds since the Unix epoch.
    async fn now(&self) -> Result<u64, ChainError>;

    /// Everyone who is registered, in bounded calls.
    async fn list_providers(&self) -> Result<Vec<Offering>, ChainError>;

    /// How a token describes itself.
    async fn token(&self, token: Address) -> Result<Token, ChainError>;

    /// What the publisher's account holds of a token.
    async fn balance(&self, token: Address) -> Result<Amount, ChainError>;

    /// The channel; `None` where it is not open.
    async fn channel(&self, id: ChannelId) -> Result<Option<Channel>, ChainError>;

    /// Allows what is needed and opens the channel; waits until it is mined.
    async fn open_channel(&self, opening: &Opening) -> Result<TransactionId, ChainError>;

    /// Pays more into an open channel; waits until it is mined.
    async fn fund(&self, channel: &Channel, amount: Amount) -> Result<TransactionId, ChainError>;

    /// Starts the unlock delay; waits until it is mined.
    async fn unlock(&self, channel: &Channel) -> Result<TransactionId, ChainError>;

    /// Takes an unlock back whose delay has not passed; waits until it is mined.
    async fn cancel_unlock(&self, channel: &Channel) -> Result<TransactionId, ChainError>;

    /// Takes back what is left after the delay and closes the channel; tells how much came back.
    async fn withdraw(&self, channel: &Channel) -> Result<(TransactionId, Amount), ChainError>;

    /// Every claim that the chain recorded for the channel, oldest first, of all epochs.
    async fn claims(&self, id: ChannelId) -> Result<Vec<Claimed>, ChainError>;
}
