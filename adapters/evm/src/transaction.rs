//! Transactions as they are signed: EIP-1559.

use crate::key::Key;
use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{B256, Bytes, TxKind, U256};
use apocryph_model::ChainError;
use k256::elliptic_curve::rand_core::{OsRng, RngCore};

/// What a transaction does, whatever its nonce and fee.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) chain: u64,
    pub(crate) to: TxKind,
    pub(crate) value: U256,
    pub(crate) input: Bytes,
    pub(crate) gas: u64,
}

/// What is paid for a unit of gas, in wei: in all at most, and of that to the block's maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fees {
    pub(crate) most: u128,
    pub(crate) tip: u128,
}

/// A transaction as it was submitted.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) nonce: u64,
    pub(crate) fees: Fees,
    pub(crate) hash: B256,
    pub(crate) raw: Vec<u8>,
}

impl Order {
    pub(crate) fn sign(&self, key: &Key, nonce: u64, fees: Fees) -> Result<Sent, ChainError> {
        let transaction = TxEip1559 {
            chain_id: self.chain,
            nonce,
            gas_limit: self.gas,
            max_fee_per_gas: fees.most,
            max_priority_fee_per_gas: fees.tip,
            to: self.to,
            value: self.value,
            input: self.input.clone(),
            ..TxEip1559::default()
        };
        let signature = key
            .sign_digest(transaction.signature_hash())
            .map_err(|error| ChainError::Unavailable(error.to_string()))?;
        let signed = transaction.into_signed(signature);
        let hash = *signed.hash();
        Ok(Sent { nonce, fees, hash, raw: TxEnvelope::from(signed).encoded_2718() })
    }
}

impl Fees {
    /// A few wei more, at random: two programs that send the same with the same key must not send
    /// the very same transaction, which would be mined once and count for both.
    pub(crate) fn told_apart(self) -> Self {
        let extra = u128::from(OsRng.next_u32());
        Self { most: self.most.saturating_add(extra), tip: self.tip.saturating_add(extra) }
    }

    /// What endpoints accept in place of a transaction with these fees (an eighth more is the
    /// usual bound), and no less than what is asked `now`.
    pub(crate) fn raised(self, now: Self) -> Self {
        let more = |fee: u128| fee.saturating_add(fee / 4).saturating_add(1);
        Self { most: more(self.most).max(now.most), tip: more(self.tip).max(now.tip) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn raised_fees_replace_the_old_ones(most: u64, tip: u64, now_most: u64, now_tip: u64) {
            let before = Fees { most: most.into(), tip: tip.into() };
            let now = Fees { most: now_most.into(), tip: now_tip.into() };
            let after = before.raised(now);
            prop_assert!(after.most * 8 > before.most * 9 && after.tip * 8 > before.tip * 9);
            prop_assert!(after.most >= now.most && after.tip >= now.tip);
        }
    }
}
