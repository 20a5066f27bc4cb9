use crate::{
    publisher::Publisher,
    world::{Failing, Place},
};
use apocryph_ledger::verify;
use apocryph_model::{Bytes, ChannelId, Method, Millicores, Resource, Resources, Usage};
use apocryph_provider::{Deployments, Reading};

pub(crate) fn reading(pod: ChannelId, replica: &str, running_ms: u64) -> Reading {
    Reading {
        pod,
        replica: replica.into(),
        reserved: Resources { cpu: Millicores(500), memory: Bytes(64 << 20), storage: Bytes(0) },
        cpu_us: running_ms * 100,
        running_ms,
        ingress: 1,
        egress: 2,
        last: false,
    }
}

#[tokio::test]
async fn what_was_read_is_in_the_ledger_and_verifies() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    for running_ms in [1_000, 2_500] {
        place.double.state().readings = vec![reading(alice.channel(), "r1", running_ms)];
        place.provider.meter().await.unwrap();
    }
    let usage = alice.status(&place).await.usage;
    assert_eq!(usage, Usage([250_000, 1_250_000, 160_000, 0, 1, 2, 0, 0]));
    let call = alice.call(&place, Method::Usage);
    let records = Deployments::usage(&place.provider, call, 0).await.unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(verify(alice.channel(), &records).unwrap()[&1], usage);
    let call = alice.call(&place, Method::Usage);
    assert!(Deployments::usage(&place.provider, call, 2).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_last_reading_of_a_replica_counts_once_also_where_forgetting_it_was_cut_off() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    let last = Reading { last: true, ..reading(alice.channel(), "r1", 2_000) };
    // Written down, but killed before the engine forgot it.
    place.double.state().failing.insert(Failing::Forget);
    for _ in 0..2 {
        place.double.state().readings = vec![last.clone()];
        place.provider.meter().await.unwrap();
    }
    let place = place.restart();
    place.double.state().failing.clear();
    place.provider.meter().await.unwrap();
    assert!(place.double.state().readings.is_empty());
    let used = place.ledger.total(alice.channel(), 1).unwrap();
    assert_eq!(used[Resource::CpuReserved], 1_000_000);
}

#[tokio::test]
async fn replicas_that_end_together_are_forgotten_together_and_one_that_runs_is_not() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    let last = |replica| Reading { last: true, ..reading(alice.channel(), replica, 1_000) };
    let readings = vec![last("r1"), last("r2"), reading(alice.channel(), "r3", 1_000)];
    place.double.state().readings = readings.clone();
    place.provider.meter().await.unwrap();
    assert_eq!(place.double.state().readings, readings[2..]);
    let known = |replica| place.ledger.last_reading(alice.channel(), replica).unwrap().is_some();
    assert_eq!(["r1", "r2", "r3"].map(known), [false, false, true]);
    assert_eq!(place.ledger.total(alice.channel(), 1).unwrap()[Resource::CpuReserved], 1_500_000);
}

#[tokio::test]
async fn volumes_are_billed_for_the_time_that_was_observed() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    let storage = async |place: &Place| {
        place.provider.meter().await.unwrap();
        place.ledger.total(alice.channel(), 1).unwrap()[Resource::Storage]
    };
    assert_eq!(storage(&place).await, 0);
    place.pass(10);
    assert_eq!(storage(&place).await, 10_000);
    // Nobody was there for an hour: no more than two periods count.
    place.pass(3_600);
    let place = place.restart();
    assert_eq!(storage(&place).await, 30_000);
    // What the engine cannot read changes nothing.
    place.double.state().failing.insert(Failing::Sample);
    place.provider.meter().await.unwrap_err();
    assert_eq!(place.ledger.total(alice.channel(), 1).unwrap()[Resource::Storage], 30_000);
}

#[tokio::test]
async fn what_never_became_a_pod_is_not_billed_and_not_kept() {
    let place = Place::new();
    let stray = ChannelId([4; 32]);
    place.double.state().readings = vec![Reading { last: true, ..reading(stray, "r9", 1_000) }];
    place.provider.meter().await.unwrap();
    assert!(place.double.state().readings.is_empty());
    assert!(place.ledger.records(stray, 0, 10).unwrap().is_empty());
}
