//! Providers in the Registry of a real chain.

use crate::world;
use apocryph_evm::{Evm, Key, UNLOCK_DELAYS, deploy};
use apocryph_model::Offering;
use apocryph_provider::Chain as _;
use apocryph_publisher::Chain as _;
use apocryph_testbed::chain::DevChain;

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
async fn more_providers_than_a_page_are_listed() {
    let Some(world) = world::start().await else { return };
    let mut expected = Vec::new();
    for number in 0..60 {
        let key = Key::generate();
        let offering = Offering { provider: key.address(), ..world.offering(&format!("Provider {number}")) };
        world.chain.give_coin(key.address(), 10u128.pow(18)).await.unwrap();
        let evm = Evm::new(world.chain.account(key), world.chain.contracts());
        evm.register(&offering).await.unwrap();
        expected.insert(0, offering);
    }
    assert_eq!(world.publisher.list_providers().await.unwrap(), expected);
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
