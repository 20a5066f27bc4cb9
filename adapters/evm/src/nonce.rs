//! The nonces of an account that others may send from at the same time: which one a transaction
//! gets, and whose the one is that was used.

use crate::account::{Account, Waiting};
use crate::transaction::{Order, Sent};
use alloy::consensus::Transaction as _;
use alloy::network::TransactionResponse as _;
use alloy::primitives::B256;
use alloy::providers::Provider;
use apocryph_model::ChainError;
use k256::elliptic_curve::rand_core::{OsRng, RngCore};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The longest pause before another nonce is tried, in milliseconds.
const PAUSE: u32 = 100;

/// What an endpoint said to a transaction.
pub(crate) enum Submitted {
    /// It is in the pool, or may be: no endpoint answered.
    Perhaps,
    /// The nonce is another transaction's.
    NonceTaken,
}

impl Account {
    /// Chooses a nonce and submits, until one is free or it is time to give up.
    pub(crate) async fn submit_first(
        &self,
        order: &Order,
        give_up: Instant,
    ) -> Result<(Sent, Waiting<'_>), ChainError> {
        let fees = self.fees().await?.told_apart();
        let mut next = self.next_nonce().lock().await;
        let mut least = if self.is_waiting() { *next } else { 0 };
        loop {
            let count = self.rpc().get_transaction_count(self.address()).pending().await;
            let nonce = count.map_err(|e| self.error(&e))?.max(least);
            let sent = order.sign(self.key(), nonce, fees)?;
            match self.submit(&sent).await? {
                Submitted::Perhaps => {
                    *next = nonce + 1;
                    return Ok((sent, self.begin_waiting()));
                }
                Submitted::NonceTaken => least = nonce + 1,
            }
            if Instant::now() >= give_up {
                let taken = "the account's nonces are all taken by other transactions";
                return Err(ChainError::Unavailable(taken.into()));
            }
            // Whoever looks and sends in the same rhythm would be first again.
            sleep(Duration::from_millis((OsRng.next_u32() % PAUSE).into())).await;
        }
    }

    pub(crate) async fn submit(&self, sent: &Sent) -> Result<Submitted, ChainError> {
        let Err(error) = self.rpc().send_raw_transaction(&sent.raw).await else {
            return Ok(Submitted::Perhaps);
        };
        let said = error.as_error_resp().map(|e| e.message.to_ascii_lowercase()).unwrap_or_default();
        let says = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
        if says(&["already known", "alreadyknown", "already imported", "known transaction"]) {
            return Ok(Submitted::Perhaps);
        }
        if says(&["nonce too low", "nonce is too low", "oldnonce"])
            || says(&["replacement transaction underpriced", "replacementnotallowed"])
        {
            return Ok(Submitted::NonceTaken);
        }
        match self.error(&error) {
            ChainError::Unavailable(_) => Ok(Submitted::Perhaps),
            refused => Err(refused),
        }
    }

    /// The confirmed transaction of this account that has the nonce, if one has. That a receipt is
    /// missing says little: an endpoint may be behind the one that counted.
    pub(crate) async fn confirmed_with(&self, nonce: u64) -> Result<Option<B256>, ChainError> {
        let mut after = self.confirmed_block().await?;
        if self.count_at(after).await? <= nonce {
            return Ok(None);
        }
        // Back in steps that double, for endpoints forget the states of old blocks.
        let mut step = 1;
        let mut before = after.saturating_sub(step);
        while before > 0 && self.count_at(before).await? > nonce {
            (after, step) = (before, step * 2);
            before = after.saturating_sub(step);
        }
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.count_at(middle).await? > nonce { after = middle } else { before = middle }
        }
        self.transaction_in(after, nonce).await
    }

    /// How many transactions the account has sent up to this block.
    async fn count_at(&self, block: u64) -> Result<u64, ChainError> {
        let count = self.rpc().get_transaction_count(self.address()).block_id(block.into()).await;
        count.map_err(|e| self.error(&e))
    }

    async fn transaction_in(&self, block: u64, nonce: u64) -> Result<Option<B256>, ChainError> {
        let block = self.rpc().get_block(block.into()).full().await.map_err(|e| self.error(&e))?;
        let mut transactions = block.into_iter().flat_map(|block| block.transactions.into_transactions());
        let own = transactions.find(|tx| tx.from() == self.address() && tx.nonce() == nonce);
        Ok(own.map(|tx| tx.tx_hash()))
    }
}
