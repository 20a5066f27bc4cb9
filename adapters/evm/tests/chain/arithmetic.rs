//! The contract's arithmetic against the model's, and both against integers of 256 bits.

use crate::world;
use alloy::primitives::{U256, hex};
use apocryph_model::{Price, Tariff, Usage, keccak256};
use apocryph_testbed::chain::DevChain;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

const CASES: usize = 500;

fn prices() -> impl Strategy<Value = [u128; 8]> {
    let price = prop_oneof![Just(0), Just(1), Just(u128::MAX), any::<u128>(), (0..u128::from(u64::MAX))];
    prop::array::uniform8(price)
}

fn usage() -> impl Strategy<Value = [u64; 8]> {
    prop::array::uniform8(prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()])
}

/// Asks the contract itself, by hand: prices are two in a word and usage four, the lowest first.
async fn owed(chain: &DevChain, prices: &[u128; 8], usage: &[u64; 8]) -> U256 {
    let mut words = Vec::new();
    words.extend(prices.chunks(2).map(|two| format!("{:032x}{:032x}", two[1], two[0])));
    words.extend(usage.chunks(4).map(|f| format!("{:016x}{:016x}{:016x}{:016x}", f[3], f[2], f[1], f[0])));
    let selector = &keccak256(&[b"owed(uint256[4],uint256[2])"])[..4];
    let data = format!("0x{}{}", hex::encode(selector), words.concat());
    let call = json!([{ "to": chain.contracts().payment, "data": data }, "latest"]);
    let answer = chain.call("eth_call", call).await.unwrap();
    answer.as_str().unwrap().parse().unwrap()
}

fn exact(prices: &[u128; 8], usage: &[u64; 8]) -> U256 {
    let products = prices.iter().zip(usage).map(|(p, u)| U256::from(*p) * U256::from(*u));
    products.fold(U256::ZERO, |sum, product| sum + product) / U256::from(10).pow(U256::from(18))
}

#[tokio::test]
async fn the_contract_and_the_model_price_alike() {
    let Some(chain) = world::chain().await else { return };
    let mut runner = TestRunner::deterministic();
    let strategy = (prices(), usage());
    let random = (0..CASES).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    let extremes = [([u128::MAX; 8], [u64::MAX; 8]), ([0; 8], [u64::MAX; 8]), ([u128::MAX; 8], [0; 8])];
    for (prices, usage) in random.chain(extremes) {
        let contract = owed(&chain, &prices, &usage).await;
        assert_eq!(contract, exact(&prices, &usage), "{prices:?} {usage:?}");
        let model = Tariff(prices.map(Price)).owed(&Usage(usage));
        assert_eq!(U256::from(model.0), contract.min(U256::from(u128::MAX)), "{prices:?} {usage:?}");
    }
}
