//! What can go wrong on the way to a chain. An error is "unknown", never "gone".

use crate::{Amount, Hash32};

/// The hash of a transaction that was mined.
pub type TransactionId = Hash32;

/// Why the chain did not answer, or refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No endpoint answered in time, or one answered nonsense. Nothing is known; try again.
    #[error("no chain endpoint answers: {0}")]
    Unavailable(String),
    /// The endpoint serves another chain than the one configured.
    #[error("the endpoint serves chain {found}, not chain {expected}: check the RPC address")]
    WrongChain {
        /// As configured.
        expected: u64,
        /// As answered.
        found: u64,
    },
    /// What stands at the contract's address is not the contract.
    #[error("there is no {contract} contract at {address}: check the address and the chain")]
    NoContract {
        /// "Payment", "Registry" or "token".
        contract: &'static str,
        /// Where it was looked for.
        address: crate::Address,
    },
    /// A contract stands there, but not one that is known.
    #[error(
        "the contract at {address} is not the {contract} contract that is known (its code has the hash {hash}): \
         check the address, or accept that code by its hash"
    )]
    UnknownCode {
        /// "Payment" or "Registry".
        contract: &'static str,
        /// Where it stands.
        address: crate::Address,
        /// The hash of its code (EIP-1052).
        hash: Hash32,
    },
    /// The contract refused, for the reason it gave.
    #[error("the contract refused: {0}")]
    Reverted(String),
    /// The account has too little of the token.
    #[error("the account holds {held} of the token's smallest units, {needed} are needed: fund it")]
    NoBalance {
        /// What is there.
        held: Amount,
        /// What is needed.
        needed: Amount,
    },
    /// The account cannot pay the chain's fee.
    #[error("the account cannot pay the transaction's fee: send it some of the chain's own coin")]
    NoFee,
    /// A transaction was sent and has not been mined in time. It may still be.
    #[error("transaction {0} was sent and is not mined yet: it may still be; look before you repeat it")]
    Pending(TransactionId),
}

impl ChainError {
    /// Whether the same call may succeed later without anyone changing anything.
    pub fn retry(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Pending(_))
    }
}
