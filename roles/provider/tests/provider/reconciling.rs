use crate::{
    metering::reading,
    publisher::Publisher,
    world::{Failing, Place},
};
use apocryph_model::{Amount, Channel, ChannelId, PodPhase};
use apocryph_provider::WakeRefusal;

#[tokio::test]
async fn after_a_kill_pods_are_restored_and_what_runs_is_adopted() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    place.provider.wake(alice.channel(), 1).await.unwrap();
    let before = alice.status(&place).await;
    let replicas = place.double.state().replicas.clone();
    let place = place.restart();
    assert_eq!(place.provider.wake(alice.channel(), 1).await, Err(WakeRefusal::Removed));
    place.provider.reconcile().await.unwrap();
    assert_eq!(alice.status(&place).await, before);
    assert_eq!(place.double.state().replicas, replicas);
    assert!(place.double.state().routed.contains_key(&alice.channel()));
    assert_eq!(place.provider.wake(alice.channel(), 1).await.unwrap(), replicas[&alice.channel()]);
}

#[tokio::test]
async fn what_the_engine_lost_is_prepared_again() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    place.double.state().prepared.clear();
    place.provider.reconcile().await.unwrap();
    assert!(place.double.state().prepared.contains_key(&alice.channel()));
}

#[tokio::test]
async fn a_kill_in_the_middle_of_provisioning_leaves_strays_that_are_taken_away() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    let spec = alice.spec("serve");
    let request = alice.request(&place, &spec);
    {
        let mut state = place.double.state();
        state.owned.insert(alice.channel(), [request.spec.digest].into());
        state.prepared.insert(alice.channel(), spec);
    }
    let place = place.restart();
    place.provider.reconcile().await.unwrap();
    place.assert_nothing_left();
}

#[tokio::test]
async fn a_kill_in_the_middle_of_removing_is_gone_on_with() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    place.double.state().failing.insert(Failing::Remove);
    alice.remove(&place).await.unwrap_err();
    place.double.state().failing.clear();
    let place = place.restart();
    place.provider.reconcile().await.unwrap();
    place.assert_nothing_left();
    assert_eq!(alice.status(&place).await.phase, PodPhase::Removed);
}

#[tokio::test]
async fn an_error_of_the_chain_ends_no_pod() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    place.double.state().failing.insert(Failing::Chain);
    place.reconcile_twice().await;
    place.double.state().failing.clear();
    place.provider.reconcile().await.unwrap();
    // An endpoint that lags behind, and does not know the channel yet, is not believed either.
    place.pass(10);
    place.provider.reconcile().await.unwrap();
    place.double.state().lag = 5;
    place.reconcile_twice().await;
    assert_eq!(alice.status(&place).await.phase, PodPhase::Idle);
    place.provider.wake(alice.channel(), 1).await.unwrap();
}

#[tokio::test]
async fn a_channel_that_ended_evicts_its_pod_once_that_is_sure_and_keeps_the_reason() {
    for (change, reason) in [
        ((|_| None) as fn(Channel) -> Option<Channel>, "channel-closed"),
        (|c| Some(Channel { epoch: 2, ..c }), "channel-reopened"),
        (|c| Some(Channel { unlock_at: Some(c.opened_at + 60), ..c }), "channel-unlocking"),
    ] {
        let place = Place::new();
        let alice = Publisher::new(1, "web");
        alice.deploy(&place).await;
        place.provider.wake(alice.channel(), 1).await.unwrap();
        let channel = place.double.state().channels.remove(&alice.channel()).unwrap();
        place.double.state().channels.extend(change(channel).map(|channel| (alice.channel(), channel)));
        place.provider.reconcile().await.unwrap();
        assert_eq!(alice.status(&place).await.phase, PodPhase::Running, "{reason}");
        place.provider.reconcile().await.unwrap();
        let status = alice.status(&place).await;
        assert_eq!(status.phase, PodPhase::Evicted);
        assert_eq!(status.last_error.unwrap().code, reason);
        place.assert_nothing_left();
        let place = place.restart();
        assert_eq!(alice.status(&place).await.last_error.unwrap().code, reason);
    }
}

#[tokio::test]
async fn a_pod_is_ending_until_nothing_of_it_is_left() {
    let place = Place::new();
    let (alice, bob) = (Publisher::new(1, "web"), Publisher::new(2, "web"));
    for publisher in [&alice, &bob] {
        publisher.deploy(&place).await;
        place.provider.wake(publisher.channel(), 1).await.unwrap();
    }
    place.double.state().channels.remove(&alice.channel());
    place.double.state().failing.insert(Failing::Remove);
    place.reconcile_twice().await;
    assert_eq!(bob.remove(&place).await.unwrap_err().code, "busy");
    let ending = alice.status(&place).await;
    assert_eq!(ending.phase, PodPhase::Ending);
    assert_eq!(ending.last_error.unwrap().code, "channel-closed", "and why");
    assert_eq!(bob.status(&place).await.phase, PodPhase::Ending);
    place.double.state().failing.clear();
    place.provider.reconcile().await.unwrap();
    assert_eq!(alice.status(&place).await.phase, PodPhase::Evicted);
    assert_eq!(bob.status(&place).await.phase, PodPhase::Removed);
    place.double.state().failing.insert(Failing::Look);
    assert_eq!(alice.status(&place).await.phase, PodPhase::Ending, "unknown is not gone");
}

/// Uses up all that the channel holds.
async fn use_up(place: &Place, channel: ChannelId) {
    place.pass(4_000);
    place.double.state().readings = vec![reading(channel, "r1", 4_000_000)];
    place.provider.meter().await.unwrap();
}

#[tokio::test]
async fn a_pod_out_of_funds_goes_to_zero_and_is_woken_again_once_it_is_funded() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    place.provider.wake(alice.channel(), 1).await.unwrap();
    use_up(&place, alice.channel()).await;
    place.provider.reconcile().await.unwrap();
    let status = alice.status(&place).await;
    assert_eq!((status.phase, status.last_error.unwrap().code.as_str()), (PodPhase::Idle, "out-of-funds"));
    assert_eq!(place.double.state().fenced, [alice.channel()]);
    assert_eq!(place.provider.wake(alice.channel(), 1).await, Err(WakeRefusal::OutOfFunds));
    // A restart does not forget it, even where the chain does not answer.
    let place = place.restart();
    place.double.state().failing.insert(Failing::Chain);
    place.provider.reconcile().await.unwrap();
    assert_eq!(place.provider.wake(alice.channel(), 1).await, Err(WakeRefusal::OutOfFunds));
    place.pass(1_000);
    place.provider.reconcile().await.unwrap();
    assert_eq!(alice.status(&place).await.phase, PodPhase::Idle);
    place.double.state().failing.clear();
    let channel = place.double.state().channels[&alice.channel()];
    alice.put(&place, Channel { deposited: Amount(3_000_000_000), ..channel });
    place.provider.reconcile().await.unwrap();
    place.provider.wake(alice.channel(), 1).await.unwrap();
    assert_eq!(alice.status(&place).await.last_error, None);
}

#[tokio::test]
async fn a_pod_that_stays_out_of_funds_is_evicted_after_the_grace_and_fully_paid() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    use_up(&place, alice.channel()).await;
    place.provider.reconcile().await.unwrap();
    place.pass(99);
    place.provider.reconcile().await.unwrap();
    assert_eq!(alice.status(&place).await.phase, PodPhase::Idle);
    place.pass(1);
    place.provider.reconcile().await.unwrap();
    let status = alice.status(&place).await;
    assert_eq!(status.phase, PodPhase::Evicted);
    assert_eq!(status.last_error.unwrap().code, "out-of-funds");
    assert_eq!(place.double.state().channels[&alice.channel()].claimed, Amount(2_000_000_000));
    place.assert_nothing_left();
}
