//! Whatever happens in whatever order, what was used is billed once and paid once.

use crate::{
    metering::reading,
    publisher::Publisher,
    world::{Failing, Place, terms},
};
use apocryph_ledger::verify;
use apocryph_model::{Amount, Channel, Resource};
use apocryph_provider::Reading;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Event {
    /// The pod runs for some seconds.
    Run(u64),
    /// Its replica ends, and another one takes over.
    Replace,
    Meter,
    Claim,
    Reconcile,
    Kill,
    Fail(Failing),
    Heal,
}

fn event() -> impl Strategy<Value = Event> {
    let failing = prop_oneof![
        Just(Failing::Chain),
        Just(Failing::Receipt),
        Just(Failing::Sample),
        Just(Failing::Forget),
    ];
    prop_oneof![
        3 => (1u64..30).prop_map(Event::Run),
        1 => Just(Event::Replace),
        3 => Just(Event::Meter),
        3 => Just(Event::Claim),
        1 => Just(Event::Reconcile),
        1 => Just(Event::Kill),
        1 => failing.prop_map(Event::Fail),
        2 => Just(Event::Heal),
    ]
}

/// The replicas as the kernel counts them.
struct Kernel {
    publisher: Publisher,
    ran_ms: Vec<u64>,
}

impl Kernel {
    fn run(&mut self, place: &Place, seconds: u64) {
        place.pass(seconds);
        if let Some(ran_ms) = self.ran_ms.last_mut() {
            *ran_ms += seconds * 1000;
        }
        self.show(place);
    }

    /// What was forgotten is not shown again.
    fn show(&self, place: &Place) {
        let mut state = place.double.state();
        let newest = self.ran_ms.len() - 1;
        let current = reading(self.publisher.channel(), &newest.to_string(), self.ran_ms[newest]);
        state.readings.retain(|reading| reading.last);
        state.readings.push(current);
    }

    fn replace(&mut self, place: &Place) {
        self.show(place);
        let mut state = place.double.state();
        state.readings.iter_mut().for_each(|reading| reading.last = true);
        drop(state);
        self.ran_ms.push(0);
        self.show(place);
    }
}

async fn happen(place: Place, kernel: &mut Kernel, event: Event) -> Place {
    // What fails is told in the end, by the sums.
    match event {
        Event::Run(seconds) => kernel.run(&place, seconds),
        Event::Replace => kernel.replace(&place),
        Event::Meter => drop(place.provider.meter().await),
        Event::Claim => drop(place.provider.claim().await),
        Event::Reconcile => drop(place.provider.reconcile().await),
        Event::Kill => return place.restart(),
        Event::Fail(failing) => drop(place.double.state().failing.insert(failing)),
        Event::Heal => place.double.state().failing.clear(),
    }
    place
}

async fn every_unit_is_paid_once(events: Vec<Event>) {
    let mut place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    let rich = Channel { deposited: Amount(u128::from(u64::MAX)), ..alice.open(&place) };
    alice.put(&place, rich);
    let mut kernel = Kernel { publisher: alice, ran_ms: vec![0] };
    for event in events {
        place = happen(place, &mut kernel, event).await;
    }
    place.double.state().failing.clear();
    place.pass(60);
    let place = place.restart();
    let alice = &kernel.publisher;
    place.double.state().readings.iter_mut().for_each(|reading: &mut Reading| reading.last = true);
    alice.remove(&place).await.unwrap();

    let ran_ms: u64 = kernel.ran_ms.iter().sum();
    let used = place.ledger.total(alice.channel(), 1).unwrap();
    assert_eq!(used[Resource::CpuReserved], ran_ms * 500);
    let records = place.ledger.records(alice.channel(), 0, usize::MAX).unwrap();
    assert_eq!(verify(alice.channel(), &records).unwrap().get(&1).copied().unwrap_or_default(), used);
    let claimed = place.double.state().channels[&alice.channel()].claimed;
    assert_eq!(claimed, terms().tariff.owed(&used));
    place.assert_nothing_left();
    assert!(place.double.state().readings.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_order_of_failures_and_kills_loses_or_doubles(events in proptest::collection::vec(event(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(every_unit_is_paid_once(events));
    }
}
