//! Putting the contracts on a chain.

use crate::abi::{Payment, Registry, TestToken};
use crate::account::Account;
use crate::evm::Contracts;
use alloy::primitives::{Bytes, TxKind, U256};
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::SolConstructor;
use apocryph_model::{Address, Amount, ChainError};
use std::ops::RangeInclusive;

/// Deploys Payment, whose channels may have these unlock delays (seconds, within 1 and 2^24-1),
/// and Registry.
///
/// # Errors
/// As the chain's; [`ChainError::Reverted`] where the delays are out of bounds.
pub async fn deploy(account: &Account, unlock_delays: RangeInclusive<u32>) -> Result<Contracts, ChainError> {
    let bounds =
        Payment::constructorCall { minDelay: *unlock_delays.start(), maxDelay: *unlock_delays.end() };
    let payment = create(account, &Payment::BYTECODE, &bounds.abi_encode()).await?;
    let registry = create(account, &Registry::BYTECODE, &[]).await?;
    Ok(Contracts {
        payment: address_of(&payment)?,
        registry: address_of(&registry)?,
        since_block: payment.block_number.unwrap_or_default(),
    })
}

/// Deploys a token of 18 decimals called TEST that anyone can mint: for test chains.
///
/// # Errors
/// As the chain's.
pub async fn deploy_test_token(account: &Account) -> Result<Address, ChainError> {
    address_of(&create(account, &TestToken::BYTECODE, &[]).await?)
}

/// Makes an amount of the test token for an account.
///
/// # Errors
/// As the chain's.
pub async fn mint(account: &Account, token: Address, to: Address, amount: Amount) -> Result<(), ChainError> {
    let call = TestToken::mintCall { to: to.0.into(), amount: U256::from(amount.0) };
    account.execute(token.0.into(), &call).await.map(drop)
}

async fn create(account: &Account, code: &Bytes, arguments: &[u8]) -> Result<TransactionReceipt, ChainError> {
    let input = Bytes::from([code, arguments].concat());
    account.transact(TxKind::Create, input).await
}

fn address_of(receipt: &TransactionReceipt) -> Result<Address, ChainError> {
    let address = receipt.contract_address.map(|address| Address(address.into_array()));
    address.ok_or_else(|| ChainError::Unavailable("the endpoint does not tell the contract's address".into()))
}
