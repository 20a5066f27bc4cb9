//! `fund`, `unlock`, `withdraw`, `remove`: the money and the end, each repeated.

use crate::world::{World, name, order};
use apocryph_model::{Amount, ChainError};
use apocryph_publisher::{Deployments, Error, MoneyError};

async fn deployed() -> World {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    world
}

fn deposited(world: &World) -> Amount {
    world.chain.0.lock().unwrap().channels.values().next().unwrap().deposited
}

#[tokio::test]
async fn a_deposit_needs_a_balance_and_says_so_first() {
    let world = World::one();
    world.chain.0.lock().unwrap().held = Amount(5);
    let error = world.publisher.deploy(&order()).await.unwrap_err();
    insta::assert_snapshot!(error.to_string());
    assert_eq!(world.deployments.find(&name()).unwrap(), None);
}

#[tokio::test]
async fn a_deposit_must_satisfy_the_provider() {
    let world = World::one();
    let mut order = order();
    order.fund = Some("0.01".parse().unwrap());
    insta::assert_snapshot!(world.publisher.deploy(&order).await.unwrap_err().to_string());
    order.fund = Some("0.1234567".parse().unwrap());
    insta::assert_snapshot!(world.publisher.deploy(&order).await.unwrap_err().to_string());
}

#[tokio::test]
async fn deploying_with_a_fund_tops_up_to_it_once() {
    let world = deployed().await;
    let mut order = order();
    order.fund = Some("10".parse().unwrap());
    world.publisher.deploy(&order).await.unwrap();
    world.publisher.deploy(&order).await.unwrap();
    assert_eq!(deposited(&world), Amount(10_000_000));
}

#[tokio::test]
async fn a_payment_that_was_cut_off_is_not_paid_twice() {
    let world = deployed().await;
    let before = deposited(&world);
    world.chain.0.lock().unwrap().lose_receipt = true;
    world.publisher.fund(&name(), &"1".parse().unwrap()).await.unwrap_err();
    let funded = world.publisher.fund(&name(), &"1".parse().unwrap()).await.unwrap();
    assert_eq!(funded.transaction, None);
    assert_eq!(deposited(&world), before.saturating_add(Amount(1_000_000)));
    world.publisher.fund(&name(), &"1".parse().unwrap()).await.unwrap();
    assert_eq!(deposited(&world), before.saturating_add(Amount(2_000_000)));
}

#[tokio::test]
async fn another_payment_than_the_one_that_was_cut_off_is_another_payment() {
    let world = deployed().await;
    let before = deposited(&world);
    world.chain.0.lock().unwrap().refuse = Some(ChainError::Unavailable("timed out".into()));
    world.publisher.fund(&name(), &"1".parse().unwrap()).await.unwrap_err();
    let funded = world.publisher.fund(&name(), &"2".parse().unwrap()).await.unwrap();
    assert_eq!(funded.paid.to_string(), "2 TEST");
    assert_eq!(deposited(&world), before.saturating_add(Amount(2_000_000)));
}

#[tokio::test]
async fn money_comes_back_after_the_delay_and_not_before() {
    let world = deployed().await;
    let held = world.chain.0.lock().unwrap().held;
    let error = world.publisher.withdraw(&name()).await.unwrap_err();
    assert!(matches!(error, Error::Money(MoneyError::NotUnlocking)), "{error}");
    let first = world.publisher.unlock(&name()).await.unwrap();
    let again = world.publisher.unlock(&name()).await.unwrap();
    assert!(first.transaction.is_some() && again.transaction.is_none());
    assert_eq!((again.at, again.seconds), (first.at, 3600));
    let error = world.publisher.withdraw(&name()).await.unwrap_err();
    assert!(matches!(error, Error::Money(MoneyError::Locked { seconds: 3600 })), "{error}");
    let error = world.publisher.deploy(&order()).await.unwrap_err();
    assert!(matches!(error, Error::Money(MoneyError::Unlocking)), "{error}");
    world.chain.0.lock().unwrap().now += 3600;
    let withdrawn = world.publisher.withdraw(&name()).await.unwrap().unwrap();
    assert_eq!(world.publisher.withdraw(&name()).await, Ok(None), "a repeat has nothing left to do");
    let other = world.publisher.withdraw(&"other".parse().unwrap()).await;
    assert!(matches!(other, Err(Error::NotDeployed(_))), "{other:?}");
    let books = world.chain.0.lock().unwrap();
    assert_eq!(books.held, held.saturating_add(withdrawn.refund.amount));
    assert_eq!(world.deployments.find(&name()).unwrap(), None);
}

#[tokio::test]
async fn an_unlock_is_taken_back_until_it_has_expired() {
    let world = deployed().await;
    world.publisher.unlock(&name()).await.unwrap();
    let error = world.publisher.deploy(&order()).await.unwrap_err();
    assert!(error.to_string().contains("`apocryph unlock --cancel`"), "{error}");
    let kept = world.publisher.cancel_unlock(&name()).await.unwrap();
    assert!(kept.transaction.is_some());
    assert_eq!(kept.left.amount, deposited(&world));
    assert_eq!(world.publisher.cancel_unlock(&name()).await.unwrap().transaction, None);
    world.publisher.deploy(&order()).await.unwrap();
    world.publisher.unlock(&name()).await.unwrap();
    world.chain.0.lock().unwrap().now += 3600;
    let error = world.publisher.cancel_unlock(&name()).await.unwrap_err();
    assert!(matches!(error, Error::Money(MoneyError::Expired)), "{error}");
    world.publisher.withdraw(&name()).await.unwrap();
}

#[tokio::test]
async fn removing_asks_the_provider_then_unlocks_and_repeats_harmlessly() {
    let world = deployed().await;
    let removed = world.publisher.remove(&name()).await.unwrap();
    assert_eq!(removed.provider, Ok(()));
    let unlocking = removed.unlocking.unwrap();
    let again = world.publisher.remove(&name()).await.unwrap().unlocking.unwrap();
    assert_eq!((again.at, again.transaction), (unlocking.at, None));
    world.chain.0.lock().unwrap().now += 3600;
    world.publisher.withdraw(&name()).await.unwrap();
    assert_eq!(world.publisher.remove(&name()).await.unwrap().unlocking, None);
    let error = world.publisher.remove(&"other".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.fault().code, "not-deployed");
}

#[tokio::test]
async fn removing_from_a_dead_provider_still_frees_the_money() {
    let world = deployed().await;
    world.kill(1);
    let removed = world.publisher.remove(&name()).await.unwrap();
    assert!(removed.provider.is_err() && removed.unlocking.is_some());
}

#[tokio::test]
async fn a_silent_chain_is_not_the_end_of_anything() {
    let world = deployed().await;
    world.chain.0.lock().unwrap().down = Some(ChainError::Unavailable("timed out".into()));
    for error in [
        world.publisher.withdraw(&name()).await.unwrap_err(),
        world.publisher.remove(&name()).await.unwrap_err(),
    ] {
        assert!(error.fault().retry, "{error}");
    }
    assert!(world.deployments.find(&name()).unwrap().is_some());
}
