//! Putting the contracts on a chain: each at an address that follows from its code and its
//! constructor's arguments alone, the same on every chain (EIP-1014), by way of the deployment proxy
//! that most chains have at one address.

use crate::abi::{Payment, Registry, TestToken};
use crate::account::Account;
use crate::evm::Contracts;
use alloy::primitives::{self, B256, Bytes, TxKind, U256, address, hex};
use alloy::providers::Provider;
use alloy::sol_types::SolConstructor;
use apocryph_model::{Address, Amount, ChainError};
use std::ops::RangeInclusive;

/// The unlock delays that a channel may have on chains that are in use: an hour to 90 days.
pub const UNLOCK_DELAYS: RangeInclusive<u32> = 3_600..=7_776_000;

/// Deploys what it is sent: a salt of 32 bytes, then creation code.
const PROXY: primitives::Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
/// Whose only transaction puts the proxy there. Nobody has its key: the signature was made up.
const PROXY_MAKER: primitives::Address = address!("3fab184622dc19b6109349b94811493bf2a45362");
/// That transaction, good for every chain that takes transactions without a chain's id.
const PROXY_TRANSACTION: [u8; 167] = hex!(
    "f8a58085174876e800830186a08080b853604580600e600039806000f350fe7fffffffffffffffffffffffffffffffff"
    "ffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b80825250505060"
    "14600cf31ba02222222222222222222222222222222222222222222222222222222222222222a0222222222222222222"
    "2222222222222222222222222222222222222222222222"
);
/// What it costs: 100,000 gas at 100 gwei.
const PROXY_COSTS: U256 = U256::from_limbs([10_000_000_000_000_000, 0, 0, 0]);
const SALT: B256 = B256::ZERO;

/// Deploys Payment, whose channels may have these unlock delays (seconds, within 1 and 2^24-1),
/// and Registry, where they are not there yet.
///
/// # Errors
/// As the chain's; [`ChainError::Reverted`] where the delays are out of bounds.
pub async fn deploy(account: &Account, unlock_delays: RangeInclusive<u32>) -> Result<Contracts, ChainError> {
    let before = account.confirmed_block().await?;
    let new = create(account, &payment_code(&unlock_delays)).await?;
    create(account, &Registry::BYTECODE).await?;
    Ok(Contracts { since_block: if new { before } else { 0 }, ..addresses(&unlock_delays) })
}

/// Where [`deploy`] puts the contracts, on any chain; their events are looked for from its first
/// block on.
pub fn addresses(unlock_delays: &RangeInclusive<u32>) -> Contracts {
    Contracts {
        payment: address_of(&payment_code(unlock_delays)),
        registry: address_of(&Registry::BYTECODE),
        since_block: 0,
    }
}

/// Deploys a token of 18 decimals called TEST that anyone can mint, where it is not there yet: for
/// test chains.
///
/// # Errors
/// As the chain's.
pub async fn deploy_test_token(account: &Account) -> Result<Address, ChainError> {
    create(account, &TestToken::BYTECODE).await?;
    Ok(address_of(&TestToken::BYTECODE))
}

/// Makes an amount of the test token for an account.
///
/// # Errors
/// As the chain's.
pub async fn mint(account: &Account, token: Address, to: Address, amount: Amount) -> Result<(), ChainError> {
    let call = TestToken::mintCall { to: to.0.into(), amount: U256::from(amount.0) };
    account.execute(token.0.into(), &call).await.map(drop)
}

fn payment_code(unlock_delays: &RangeInclusive<u32>) -> Vec<u8> {
    let bounds =
        Payment::constructorCall { minDelay: *unlock_delays.start(), maxDelay: *unlock_delays.end() };
    [Payment::BYTECODE.as_ref(), &bounds.abi_encode()].concat()
}

fn address_of(code: &[u8]) -> Address {
    Address(PROXY.create2_from_code(SALT, code).into_array())
}

/// Whether it was not there before.
async fn create(account: &Account, code: &[u8]) -> Result<bool, ChainError> {
    let at = address_of(code).0.into();
    if account.has_code(at).await? {
        return Ok(false);
    }
    put_proxy(account).await?;
    let input = Bytes::from([SALT.as_slice(), code].concat());
    match account.transact(TxKind::Call(PROXY), U256::ZERO, input).await {
        // Someone else was first.
        Err(ChainError::Reverted(_)) if account.has_code(at).await? => Ok(false),
        sent => sent.map(|_| true),
    }
}

/// Chains in use have the proxy; a chain of one's own may lack it.
async fn put_proxy(account: &Account) -> Result<(), ChainError> {
    if account.has_code(PROXY).await? {
        return Ok(());
    }
    account.transact(TxKind::Call(PROXY_MAKER), PROXY_COSTS, Bytes::new()).await?;
    let sent = account.rpc().send_raw_transaction(&PROXY_TRANSACTION).await.map_err(|e| account.error(&e))?;
    account.wait_for_code(PROXY, *sent.tx_hash()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_those_in_the_document() {
        let document = include_str!("../../../docs/contracts.md");
        let Contracts { payment, registry, .. } = addresses(&UNLOCK_DELAYS);
        for address in [payment, registry] {
            assert!(document.contains(&address.to_string()), "{address} is not in docs/contracts.md");
        }
    }
}
