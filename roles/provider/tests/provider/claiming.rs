use crate::{
    metering::reading,
    publisher::Publisher,
    world::{Failing, Place},
};
use apocryph_model::{Amount, PodPhase};
use apocryph_provider::Reading;

/// Uses 500 units per millisecond.
async fn run_for(place: &Place, alice: &Publisher, running_ms: u64) {
    place.double.state().readings = vec![reading(alice.channel(), "r1", running_ms)];
    place.provider.meter().await.unwrap();
}

fn claimed(place: &Place, alice: &Publisher) -> Amount {
    place.double.state().channels[&alice.channel()].claimed
}

#[tokio::test]
async fn a_claim_waits_until_it_is_worth_its_fee() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    place.pass(100);
    run_for(&place, &alice, 19).await;
    place.provider.claim().await.unwrap();
    assert_eq!(claimed(&place, &alice), Amount::ZERO);
    run_for(&place, &alice, 20).await;
    place.provider.claim().await.unwrap();
    assert_eq!(claimed(&place, &alice), Amount(10_000));
    let overview = place.provider.overview().await.unwrap();
    assert_eq!(overview.pods[0].last_claim.as_ref().unwrap().paid, Amount(10_000));
    place.provider.claim().await.unwrap();
    assert_eq!(place.double.state().claims.len(), 1);
}

#[tokio::test]
async fn many_channels_are_claimed_in_one_transaction() {
    let place = Place::new();
    let pods = [Publisher::new(1, "a"), Publisher::new(2, "b")];
    for pod in &pods {
        pod.deploy(&place).await;
    }
    place.pass(100);
    let readings = pods.iter().zip(["r1", "r2"]).map(|(pod, replica)| reading(pod.channel(), replica, 1_000));
    place.double.state().readings = readings.collect();
    place.provider.meter().await.unwrap();
    place.provider.claim().await.unwrap();
    assert_eq!(place.double.state().claims.len(), 1);
    pods.iter().for_each(|pod| assert_eq!(claimed(&place, pod), Amount(500_000)));
}

#[tokio::test]
async fn a_claim_whose_receipt_is_lost_is_not_paid_twice() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    place.pass(100);
    run_for(&place, &alice, 1_000).await;
    place.double.state().failing.insert(Failing::Receipt);
    place.provider.claim().await.unwrap_err();
    place.double.state().failing.clear();
    let place = place.restart();
    place.pass(100);
    place.provider.claim().await.unwrap();
    assert_eq!(claimed(&place, &alice), Amount(500_000));
    assert_eq!(place.double.state().claims.len(), 1);
}

#[tokio::test]
async fn removing_claims_what_the_last_reading_says_and_leaves_nothing() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    place.provider.wake(alice.channel(), 1).await.unwrap();
    place.pass(100);
    place.double.state().readings = vec![Reading { last: true, ..reading(alice.channel(), "r1", 3) }];
    alice.remove(&place).await.unwrap();
    assert_eq!(claimed(&place, &alice), Amount(1_500));
    place.assert_nothing_left();
    assert_eq!(alice.status(&place).await.phase, PodPhase::Removed);
    alice.remove(&place).await.unwrap();
    place.provider.claim().await.unwrap();
    assert!(place.ledger.pods_to_look_after().unwrap().is_empty());
    assert_eq!(place.double.state().claims.len(), 1);
}

#[tokio::test]
async fn money_that_cannot_be_claimed_at_the_end_is_claimed_later() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    place.pass(100);
    run_for(&place, &alice, 3).await;
    place.double.state().failing.insert(Failing::Chain);
    alice.remove(&place).await.unwrap();
    place.assert_nothing_left();
    place.double.state().failing.clear();
    let place = place.restart();
    place.provider.claim().await.unwrap();
    assert_eq!(claimed(&place, &alice), Amount(1_500));
}

#[tokio::test]
async fn a_lagging_endpoint_does_not_make_money_look_lost() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    place.pass(100);
    run_for(&place, &alice, 3).await;
    place.provider.reconcile().await.unwrap();
    place.double.state().failing.insert(Failing::Chain);
    alice.remove(&place).await.unwrap();
    place.double.state().failing.clear();
    place.double.state().lag = 50;
    for _ in 0..3 {
        place.provider.claim().await.unwrap_err();
    }
    place.double.state().lag = 0;
    place.provider.claim().await.unwrap();
    assert_eq!(claimed(&place, &alice), Amount(1_500));
}
