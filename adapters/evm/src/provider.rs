//! The chain as the provider needs it.

use crate::abi::{IPayment, Payment, Registry};
use crate::evm::{Evm, transaction};
use crate::failure::refusal;
use crate::history::decode;
use crate::{offering, packing};
use alloy::primitives::B256;
use alloy::rpc::types::TransactionReceipt;
use apocryph_model::{Address, Amount, ChainError, Channel, ChannelId, Offering, Terms, TransactionId};
use apocryph_provider::{Chain, Claim, ClaimReceipt};
use async_trait::async_trait;
use std::collections::HashMap;

/// What a claim of one channel uses of gas, about: see `contracts/snapshots/Payment.json`.
const CLAIM_GAS: u128 = 75_000;

#[async_trait]
impl Chain for Evm {
    fn account(&self) -> Address {
        Address(self.account.address().into_array())
    }

    fn id(&self) -> u64 {
        self.account.chain()
    }

    fn payment(&self) -> Address {
        Address(self.payment.into_array())
    }

    async fn now(&self) -> Result<u64, ChainError> {
        self.newest_time().await
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Option<Channel>>, ChainError> {
        self.read_channels(ids).await
    }

    async fn claim(&self, claims: &[Claim]) -> Result<ClaimReceipt, ChainError> {
        let ids: Vec<ChannelId> = claims.iter().map(|claim| self.channel_id(claim)).collect();
        let channels = self.read_channels(&ids).await?;
        let due = claims.iter().zip(channels).filter_map(|(claim, channel)| {
            channel.filter(|channel| channel.epoch == claim.epoch).map(|channel| (channel.token, claim))
        });
        let call = self.claim_many(due.collect());
        if call.claims.is_empty() {
            return Err(ChainError::Reverted("none of the channels is open in its claim's epoch".into()));
        }
        let receipt = self.account.execute(self.payment, &call).await?;
        let mut paid = payments(&receipt);
        Ok(ClaimReceipt {
            transaction: transaction(&receipt),
            paid: ids.iter().map(|id| paid.remove(&B256::from(id.0)).unwrap_or_default()).collect(),
        })
    }

    async fn claim_fee(&self) -> Result<Amount, ChainError> {
        let fees = self.account.fees().await?;
        Ok(Amount(fees.most.saturating_mul(CLAIM_GAS)))
    }

    async fn register(&self, offering: &Offering) -> Result<TransactionId, ChainError> {
        let entry = offering::entry(offering, self.payment);
        let receipt = if self.own_entry().await?.is_some() {
            self.account.execute(self.registry, &Registry::updateCall { entry }).await?
        } else {
            self.account.execute(self.registry, &Registry::registerCall { entry }).await?
        };
        Ok(transaction(&receipt))
    }

    async fn unregister(&self) -> Result<TransactionId, ChainError> {
        self.check().await?;
        Ok(transaction(&self.account.execute(self.registry, &Registry::unregisterCall {}).await?))
    }

    async fn registered(&self) -> Result<Option<Offering>, ChainError> {
        let entry = self.own_entry().await?;
        let offerings = entry.map(|entry| offering::offerings(self.account.address(), &entry, self.payment));
        Ok(offerings.and_then(|all| all.into_iter().next()))
    }
}

impl Evm {
    fn channel_id(&self, claim: &Claim) -> ChannelId {
        ChannelId::of(claim.publisher, Address(self.account.address().into_array()), claim.pod)
    }

    /// One call for all claims, each with its channel's token. Those that share a token and a
    /// payout address stand side by side, so that they share a transfer.
    fn claim_many(&self, mut due: Vec<(Address, &Claim)>) -> Payment::claimManyCall {
        due.sort_by_key(|(token, claim)| (*token, claim.terms.payout));
        let mut different: Vec<(Address, Terms)> = Vec::new();
        let mut claims = Vec::with_capacity(due.len());
        for (token, claim) in due {
            let terms =
                different.iter().position(|known| *known == (token, claim.terms)).unwrap_or_else(|| {
                    different.push((token, claim.terms));
                    different.len() - 1
                });
            claims.push(IPayment::Claim {
                id: B256::from(self.channel_id(claim).0),
                terms: alloy::primitives::U256::from(terms),
                epoch: claim.epoch,
                usage: packing::usage_words(&claim.usage),
            });
        }
        let terms = different.iter().map(|(token, terms)| packing::terms(*token, terms)).collect();
        Payment::claimManyCall { terms, claims, signatures: Vec::new() }
    }

    async fn own_entry(&self) -> Result<Option<crate::abi::IRegistry::Entry>, ChainError> {
        let block = self.block().await?;
        let call = Registry::getCall { provider: self.account.address() };
        match self.ask_registry(&call, block).await {
            Ok(entry) => Ok(Some(entry)),
            // The only reason for which it refuses: the account is not registered.
            Err(ChainError::Reverted(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What each channel paid, by its id.
fn payments(receipt: &TransactionReceipt) -> HashMap<B256, Amount> {
    for skipped in receipt.logs().iter().filter_map(decode::<Payment::ClaimSkipped>) {
        tracing::warn!(channel = %skipped.id, reason = refusal(skipped.reason), "a claim was skipped");
    }
    let claimed = receipt.logs().iter().filter_map(decode::<Payment::Claimed>);
    claimed.map(|event| (event.id, Amount(event.paid))).collect()
}
