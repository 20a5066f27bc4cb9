//! The ledger on a real file: opened, closed and opened again.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail")]

use apocryph_ledger::{ClaimEntry, Ledger, LedgerError, Measurement, Pod, PodState, verify};
use apocryph_model::{
    Address, Amount, Bytes, ChannelId, Digest, Fault, Hash32, PodId, Tariff, Terms, Usage, Who,
};
use proptest::prelude::*;
use std::{collections::BTreeMap, path::PathBuf};
use tempfile::TempDir;

const CHANNEL: ChannelId = ChannelId([1; 32]);

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    (dir, path)
}

fn measured(source: &str, units: u64) -> Measurement {
    Measurement { channel: CHANNEL, epoch: 1, source: source.into(), time_ms: 5, total: Usage([units; 8]) }
}

fn pod(channel: u8, publisher: u8, state: PodState) -> Pod {
    Pod {
        channel: ChannelId([channel; 32]),
        publisher: Address([publisher; 20]),
        pod: PodId([3; 32]),
        epoch: 1,
        terms: Terms { tariff: Tariff::default(), meter_key: Address::ZERO, payout: Address([9; 20]) },
        state,
        settled: false,
        spec: Digest([4; 32]),
        blobs: vec![Digest([4; 32])],
        persistent: Bytes(1 << 30),
        endpoints: vec![],
        sealed: vec![1, 2, 3],
    }
}

#[test]
fn a_repeated_reading_adds_nothing_and_a_smaller_one_is_a_new_source() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    for units in [10, 10, 25, 5, 6] {
        ledger.record(&[measured("a", units)]).unwrap();
    }
    assert_eq!(ledger.total(CHANNEL, 1).unwrap(), Usage([31; 8]));
    let records = ledger.records(CHANNEL, 0, 100).unwrap();
    let used: Vec<_> = records.iter().map(|r| r.used.0[0]).collect();
    assert_eq!(used, [10, 15, 5, 1]);
    assert_eq!(ledger.records(CHANNEL, 2, 1).unwrap(), records[2..3]);
    assert_eq!(verify(CHANNEL, &records).unwrap()[&1], Usage([31; 8]));
}

#[test]
fn only_sources_that_ended_are_forgotten_and_what_they_used_stays() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let elsewhere = Measurement { channel: ChannelId([7; 32]), ..measured("a", 4) };
    ledger.record(&[measured("a", 1), measured("b", 2), measured("c", 3), elsewhere.clone()]).unwrap();
    ledger.forget_sources(&[(CHANNEL, "a".into()), (CHANNEL, "b".into())]).unwrap();
    let known = |channel, source| ledger.last_reading(channel, source).unwrap().is_some();
    assert_eq!(["a", "b", "c"].map(|source| known(CHANNEL, source)), [false, false, true]);
    assert!(known(elsewhere.channel, "a"), "another channel's");
    assert_eq!(ledger.total(CHANNEL, 1).unwrap(), Usage([6; 8]));
}

#[test]
fn a_new_epoch_counts_from_zero_but_bills_only_what_came_since() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    ledger.record(&[measured("a", 10)]).unwrap();
    ledger.record(&[Measurement { epoch: 2, ..measured("a", 14) }]).unwrap();
    assert_eq!(ledger.total(CHANNEL, 1).unwrap(), Usage([10; 8]));
    assert_eq!(ledger.total(CHANNEL, 2).unwrap(), Usage([4; 8]));
}

#[test]
fn records_cannot_be_changed_or_deleted() {
    let (_dir, path) = place();
    Ledger::open(&path).unwrap().record(&[measured("a", 10)]).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    for sql in ["UPDATE records SET epoch = 9", "DELETE FROM records"] {
        let error = connection.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}

#[test]
fn a_nonce_counts_once_until_it_expires_also_over_a_restart() {
    let (_dir, path) = place();
    let signer = Address([1; 20]);
    let ledger = Ledger::open(&path).unwrap();
    assert!(ledger.use_nonce(signer, u128::MAX, 100, 50).unwrap());
    assert!(ledger.use_nonce(Address([2; 20]), u128::MAX, 100, 50).unwrap());
    drop(ledger);
    let ledger = Ledger::open(&path).unwrap();
    assert!(!ledger.use_nonce(signer, u128::MAX, 100, 99).unwrap());
    assert!(ledger.use_nonce(signer, u128::MAX, 200, 100).unwrap());
}

#[test]
fn pods_are_found_by_what_they_need() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let evicted = PodState::Evicted(Fault::lasting(Who::Publisher, "out-of-funds", "no money"));
    let settled = Pod { settled: true, ..pod(3, 1, PodState::Removed) };
    let pods = [
        pod(1, 1, PodState::Live),
        pod(2, 2, PodState::OutOfFunds { since_ms: 7 }),
        settled,
        pod(4, 1, evicted),
    ];
    pods.iter().for_each(|pod| ledger.put_pod(pod).unwrap());
    drop(ledger);
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.pod(pods[3].channel).unwrap().as_ref(), Some(&pods[3]));
    assert_eq!(ledger.pod(ChannelId([9; 32])).unwrap(), None);
    assert_eq!(ledger.pods_to_look_after().unwrap(), [&pods[..2], &pods[3..]].concat());
    assert_eq!(ledger.pods().unwrap(), pods);
    assert_eq!(ledger.count_live(None).unwrap(), 2);
    assert_eq!(ledger.count_live(Some(Address([1; 20]))).unwrap(), 1);
}

#[test]
fn claims_are_kept_by_epoch() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let claim = |epoch, paid| ClaimEntry {
        channel: CHANNEL,
        epoch,
        time_ms: 1,
        usage: Usage([2; 8]),
        paid: Amount(paid),
        transaction: Hash32([3; 32]),
    };
    ledger.put_claims(&[claim(1, 5), claim(1, u128::MAX), claim(2, 7)]).unwrap();
    assert_eq!(ledger.last_claim(CHANNEL, 1).unwrap(), Some(claim(1, u128::MAX)));
    assert_eq!(ledger.last_claim(CHANNEL, 3).unwrap(), None);
}

#[test]
fn a_ledger_of_a_newer_release_is_refused() {
    let (_dir, path) = place();
    drop(Ledger::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert!(matches!(Ledger::open(&path), Err(LedgerError::Newer { found: 2, known: 1 })));
}

/// What may happen between two readings.
#[derive(Debug, Clone)]
enum Event {
    /// A source used something.
    Use(u8, u32),
    /// Everything is read and written down.
    Sample,
    /// The same, but the answer is lost, so it is written again.
    SampleTwice,
    /// It is read, but the daemon is killed before it is written.
    Lose,
    /// The daemon is killed and started.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0u8..4, any::<u32>()).prop_map(|(source, units)| Event::Use(source, units)),
        2 => Just(Event::Sample),
        1 => Just(Event::SampleTwice),
        1 => Just(Event::Lose),
        1 => Just(Event::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_order_of_kills_and_repeats_loses_or_doubles(events in proptest::collection::vec(event(), 0..40)) {
        let (_dir, path) = place();
        let mut ledger = Ledger::open(&path).unwrap();
        let mut used = BTreeMap::<u8, u64>::new();
        let sample = |used: &BTreeMap<u8, u64>| -> Vec<_> {
            used.iter().map(|(source, units)| measured(&source.to_string(), *units)).collect()
        };
        for event in events {
            match event {
                Event::Use(source, units) => *used.entry(source).or_default() += u64::from(units),
                Event::Sample => ledger.record(&sample(&used)).unwrap(),
                Event::SampleTwice => (0..2).for_each(|_| ledger.record(&sample(&used)).unwrap()),
                Event::Lose => drop(sample(&used)),
                Event::Restart => {
                    drop(ledger);
                    ledger = Ledger::open(&path).unwrap();
                }
            }
        }
        ledger.record(&sample(&used)).unwrap();
        let expected = Usage([used.values().sum(); 8]);
        prop_assert_eq!(ledger.total(CHANNEL, 1).unwrap(), expected);
        let totals = verify(CHANNEL, &ledger.records(CHANNEL, 0, usize::MAX).unwrap()).unwrap();
        prop_assert_eq!(totals.get(&1).copied().unwrap_or_default(), expected);
    }
}
