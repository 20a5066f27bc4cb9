//! Which contracts are taken for those of this project, and how they come to a chain.

use crate::world;
use apocryph_evm::{Account, Evm, UNLOCK_DELAYS, addresses, deploy};
use apocryph_model::ChainError;
use apocryph_testbed::chain::DevChain;
use serde_json::{Value, json};

/// Puts other code where a contract stands.
async fn replace_code(chain: &DevChain, change: impl Fn(&mut String)) {
    let payment = chain.contracts().payment;
    let code = chain.call("eth_getCode", json!([payment, "latest"])).await.unwrap();
    let Value::String(mut code) = code else { panic!("no code") };
    change(&mut code);
    chain.call("anvil_setCode", json!([payment, code])).await.unwrap();
}

#[tokio::test]
async fn a_contract_with_unknown_code_is_refused_unless_its_hash_is_accepted() {
    let Some(world) = world::start().await else { return };
    replace_code(&world.chain, |code| code.push_str("00")).await;
    let evm = || Evm::new(world.chain.account(DevChain::key(0)), world.chain.contracts());
    let refused = evm().check().await.unwrap_err();
    let ChainError::UnknownCode { contract: "Payment", hash, .. } = refused else {
        panic!("{refused}");
    };
    assert!(!refused.retry() && refused.to_string().contains(&hash.to_string()), "{refused}");
    evm().accepting_code(vec![hash]).check().await.unwrap();
}

#[tokio::test]
async fn the_contracts_come_to_the_same_addresses_on_every_chain() {
    let Some(chain) = world::chain().await else { return };
    let expected = addresses(&UNLOCK_DELAYS);
    let account = chain.account(DevChain::key(3));
    let there = deploy(&account, UNLOCK_DELAYS).await.unwrap();
    assert_eq!((there.payment, there.registry), (expected.payment, expected.registry));
    assert_ne!(there.payment, chain.contracts().payment, "its unlock delays are part of it");
    let again = deploy(&account, UNLOCK_DELAYS).await.unwrap();
    assert_eq!((again.payment, again.since_block), (there.payment, 0));
    Evm::new(account, there).check().await.unwrap();
}

#[tokio::test]
async fn a_chain_without_a_deployment_proxy_gets_one() {
    let Some(chain) = world::chain().await else { return };
    let proxy = "0x4e59b44847b379578588920cA78FbF26c0B4956C";
    chain.call("anvil_setCode", json!([proxy, "0x"])).await.unwrap();
    chain.call("anvil_setNonce", json!([proxy, "0x0"])).await.unwrap();
    let account = Account::new(&[chain.url()], chain.id(), 1, DevChain::key(3));
    deploy(&account, UNLOCK_DELAYS).await.unwrap();
    let code = chain.call("eth_getCode", json!([proxy, "latest"])).await.unwrap();
    assert_eq!(code.as_str().map(str::len), Some(2 + 2 * 69));
}
