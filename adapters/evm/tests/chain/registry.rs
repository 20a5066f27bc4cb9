//! Providers in the Registry of a real chain.

use crate::world::{self, World};
use apocryph_evm::{Evm, UNLOCK_DELAYS, deploy};
use apocryph_model::{Address, Offering};
use apocryph_provider::Chain as _;
use apocryph_publisher::Chain as _;
use apocryph_testbed::chain::DevChain;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test]
async fn a_provider_registers_changes_and_leaves() {
    let Some(world) = world::start().await else { return };
    let (provider, publisher) = (&world.provider, &world.publisher);
    assert_eq!(provider.registered().await.unwrap(), None);
    assert_eq!(publisher.list_providers().await.unwrap(), []);

    let first = world.offering("First");
    provider.register(&first).await.unwrap();
    assert_eq!(provider.registered().await.unwrap(), Some(first.clone()));
    let second = Offering { name: "Second".into(), ..first };
    provider.register(&second).await.unwrap();
    assert_eq!(publisher.list_providers().await.unwrap(), std::slice::from_ref(&second));

    let nameless = Offering { name: String::new(), ..second };
    let refused = provider.register(&nameless).await.unwrap_err().to_string();
    assert_eq!(refused, "the contract refused: name: 0 is given, allowed are 1 to 64");

    provider.unregister().await.unwrap();
    assert_eq!(publisher.list_providers().await.unwrap(), []);
    let refused = provider.unregister().await.unwrap_err().to_string();
    assert!(refused.ends_with("is not registered"), "{refused}");
}

#[tokio::test]
async fn ten_thousand_providers_are_listed() {
    let Some(world) = world::start().await else { return };
    let offering = world.offering("One of many");
    world.provider.register(&offering).await.unwrap();
    world.provider.unregister().await.unwrap();
    let registering = registering(&world).await;
    world.chain.mine(false).await.unwrap();
    // A block of all; the chain signs for accounts whose keys nobody has.
    world.chain.call("evm_setBlockGasLimit", json!([format!("0x{:x}", u64::MAX >> 1)])).await.unwrap();
    world.chain.call("anvil_autoImpersonateAccount", json!([true])).await.unwrap();
    let strangers: Vec<_> = (1..=10_000).map(stranger).collect();
    let each = stream::iter(&strangers).map(|who| register(&world, *who, &registering));
    each.buffer_unordered(16).collect::<Vec<()>>().await;
    world.chain.mine(true).await.unwrap();
    world.chain.advance(1).await.unwrap();

    let listed = world.publisher.list_providers().await.unwrap();
    let providers: BTreeSet<_> = listed.iter().map(|offering| offering.provider).collect();
    assert_eq!((listed.len(), providers), (10_000, BTreeSet::from_iter(strangers)), "each once");
    for listed in &listed {
        assert_eq!(*listed, Offering { provider: listed.provider, ..offering.clone() });
    }
}

/// The transaction by which the provider registered; it is the same for whoever sends it.
async fn registering(world: &World) -> Value {
    let filter = json!([{ "address": world.chain.contracts().registry, "fromBlock": "0x0" }]);
    let logs = world.chain.call("eth_getLogs", filter).await.unwrap();
    let sent =
        world.chain.call("eth_getTransactionByHash", json!([logs[0]["transactionHash"]])).await.unwrap();
    json!({ "to": sent["to"], "data": sent["input"], "gas": "0x100000" })
}

fn stranger(number: u32) -> Address {
    let mut address = [0xAB; 20];
    address[16..].copy_from_slice(&number.to_be_bytes());
    Address(address)
}

async fn register(world: &World, who: Address, registering: &Value) {
    world.chain.give_coin(who, 10u128.pow(18)).await.unwrap();
    let mut transaction = registering.clone();
    transaction["from"] = json!(who);
    world.chain.call("eth_sendTransaction", json!([transaction])).await.unwrap();
}

#[tokio::test]
async fn who_works_with_another_payment_contract_is_not_listed() {
    let Some(world) = world::start().await else { return };
    let elsewhere = deploy(&world.chain.account(DevChain::key(3)), UNLOCK_DELAYS).await.unwrap();
    assert_eq!(elsewhere.registry, world.chain.contracts().registry);
    let stranger = Evm::new(world.chain.account(DevChain::key(2)), elsewhere);
    stranger.register(&world.offering("Stranger")).await.unwrap();
    assert_eq!(world.publisher.list_providers().await.unwrap(), []);
}
