//! The chain as the publisher needs it.

use crate::abi::{IPayment, IRegistry, Payment, Registry};
use crate::evm::{Evm, transaction};
use crate::history::decode;
use crate::{offering, packing};
use alloy::primitives::{Address, B256, U256, Uint};
use apocryph_model::{Amount, ChainError, Channel, ChannelId, Offering, TransactionId};
use apocryph_publisher::{Chain, Claimed, Opening, Token};
use async_trait::async_trait;

/// How many providers are read in one call.
const PAGE: u64 = 50;
/// How many are read at all.
const MAX_PROVIDERS: usize = 20_000;

#[async_trait]
impl Chain for Evm {
    fn account(&self) -> apocryph_model::Address {
        apocryph_model::Address(self.account.address().into_array())
    }

    fn id(&self) -> u64 {
        self.account.chain()
    }

    fn payment(&self) -> apocryph_model::Address {
        apocryph_model::Address(self.payment.into_array())
    }

    async fn now(&self) -> Result<u64, ChainError> {
        self.newest_time().await
    }

    async fn list_providers(&self) -> Result<Vec<Offering>, ChainError> {
        let block = self.block().await?;
        let mut cursor = U256::ZERO;
        let mut listed = Vec::new();
        loop {
            let call = Registry::listCall { cursor, limit: U256::from(PAGE) };
            let page = self.ask_registry(&call, block).await?;
            let entries: Vec<(Address, IRegistry::Entry)> =
                page.providers.into_iter().zip(page.entries).collect();
            listed.extend(
                entries.iter().flat_map(|(who, entry)| offering::offerings(*who, entry, self.payment)),
            );
            cursor = page.next;
            if cursor.is_zero() || entries.is_empty() || listed.len() >= MAX_PROVIDERS {
                return Ok(listed);
            }
        }
    }

    async fn token(&self, token: apocryph_model::Address) -> Result<Token, ChainError> {
        self.describe_token(Address::from(token.0)).await
    }

    async fn balance(&self, token: apocryph_model::Address) -> Result<Amount, ChainError> {
        self.token_balance(Address::from(token.0)).await
    }

    async fn channel(&self, id: ChannelId) -> Result<Option<Channel>, ChainError> {
        Ok(self.read_channels(&[id]).await?.pop().flatten())
    }

    async fn open_channel(&self, opening: &Opening) -> Result<TransactionId, ChainError> {
        self.check().await?;
        let token = Address::from(opening.token.0);
        self.expect_balance(token, opening.deposit).await?;
        let opening = call_of(opening)?;
        if let Some(opened) = self.open_signed(&opening).await? {
            return Ok(opened);
        }
        let amount = Amount(opening.amount);
        let receipt = self.pay_in(token, amount, &Payment::openCall { opening }).await?;
        Ok(transaction(&receipt))
    }

    async fn fund(&self, channel: &Channel, amount: Amount) -> Result<TransactionId, ChainError> {
        self.check().await?;
        let token = Address::from(channel.token.0);
        self.expect_balance(token, amount).await?;
        let call = Payment::topUpCall { id: B256::from(channel.id().0), amount: amount.0 };
        Ok(transaction(&self.pay_in(token, amount, &call).await?))
    }

    async fn unlock(&self, channel: &Channel) -> Result<TransactionId, ChainError> {
        self.check().await?;
        let call = Payment::unlockCall {
            provider: Address::from(channel.provider.0),
            podId: B256::from(channel.pod.0),
        };
        Ok(transaction(&self.account.execute(self.payment, &call).await?))
    }

    async fn cancel_unlock(&self, channel: &Channel) -> Result<TransactionId, ChainError> {
        self.check().await?;
        let call = Payment::cancelUnlockCall {
            provider: Address::from(channel.provider.0),
            podId: B256::from(channel.pod.0),
        };
        Ok(transaction(&self.account.execute(self.payment, &call).await?))
    }

    async fn withdraw(&self, channel: &Channel) -> Result<(TransactionId, Amount), ChainError> {
        self.check().await?;
        let call = Payment::withdrawCall {
            provider: Address::from(channel.provider.0),
            podId: B256::from(channel.pod.0),
        };
        let receipt = self.account.execute(self.payment, &call).await?;
        let closed = receipt.logs().iter().find_map(decode::<Payment::Closed>);
        Ok((transaction(&receipt), Amount(closed.map_or(0, |event| event.refunded))))
    }

    async fn claims(&self, id: ChannelId) -> Result<Vec<Claimed>, ChainError> {
        self.check().await?;
        self.claim_history(id).await
    }
}

fn call_of(opening: &Opening) -> Result<IPayment::Opening, ChainError> {
    let delay = || ChainError::Reverted(format!("an unlock delay of {} s is too long", opening.unlock_delay));
    let rate = || ChainError::Reverted(format!("a rate of {} is too high", opening.max_rate));
    Ok(IPayment::Opening {
        provider: Address::from(opening.provider.0),
        podId: B256::from(opening.pod.0),
        amount: opening.deposit.0,
        maxRate: Uint::<96, 2>::try_from(opening.max_rate.0).map_err(|_| rate())?,
        unlockDelay: u32::try_from(opening.unlock_delay).map_err(|_| delay())?,
        terms: packing::terms(opening.token, &opening.terms),
    })
}
