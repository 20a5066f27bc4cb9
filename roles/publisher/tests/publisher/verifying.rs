//! `usage`: ledgers and claims that agree, and those that do not.

use crate::{
    chain::START,
    world::{World, name, order},
};
use apocryph_ledger::record_hash;
use apocryph_model::{Amount, ChannelId, Hash32, Usage, UsageRecord};
use apocryph_publisher::{Claimed, Comparison, Verdict};

const HOUR: u64 = 3_600_000_000;

/// A ledger of core-microseconds used.
fn ledger(channel: ChannelId, used: &[u64]) -> Vec<UsageRecord> {
    let mut previous = Hash32([0; 32]);
    let mut records = Vec::new();
    for (i, used) in used.iter().enumerate() {
        let mut record = UsageRecord {
            sequence: i as u64,
            epoch: 1,
            time_ms: 1000 * i as u64,
            source: "r1".into(),
            used: Usage([*used, 0, 0, 0, 0, 0, 0, 0]),
            previous,
            hash: previous,
        };
        record.hash = record_hash(channel, &record);
        previous = record.hash;
        records.push(record);
    }
    records
}

fn claim(used: u64, total: u128, paid: u128) -> Claimed {
    Claimed {
        epoch: 1,
        usage: Usage([used, 0, 0, 0, 0, 0, 0, 0]),
        total: Amount(total),
        paid: Amount(paid),
        time: START + 24 * 3600,
        transaction: Hash32([1; 32]),
    }
}

/// One core-hour costs 360,000 units; the ledger holds three half hours.
async fn compared(claims: Vec<Claimed>, spoil: impl FnOnce(&mut Vec<UsageRecord>)) -> Comparison {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    {
        let mut books = world.chain.0.lock().unwrap();
        let (id, channel) = books.channels.iter_mut().next().unwrap();
        channel.claimed = claims.iter().fold(Amount::ZERO, |sum, c| sum.saturating_add(c.paid));
        let mut records = ledger(*id, &[HOUR / 2, HOUR / 2, HOUR / 2]);
        spoil(&mut records);
        world.provider(1).room.lock().unwrap().records = records;
        books.claims = claims;
    }
    world.publisher.usage(&name()).await.unwrap()
}

fn verdicts(comparison: &Comparison) -> Vec<Verdict> {
    comparison.claims.iter().map(|c| c.verdict).collect()
}

#[tokio::test]
async fn honest_claims_agree_to_the_unit() {
    let claims = vec![claim(HOUR / 2, 180_000, 180_000), claim(3 * HOUR / 2, 540_000, 360_000)];
    let comparison = compared(claims, |_| ()).await;
    assert_eq!(verdicts(&comparison), [Verdict::Agrees, Verdict::Agrees]);
    assert!(comparison.agrees());
    assert_eq!((comparison.records, comparison.paid()), (3, Amount(540_000)));
}

#[tokio::test]
async fn one_unit_too_much_is_found() {
    let comparison = compared(vec![claim(HOUR, 360_001, 360_001)], |_| ()).await;
    assert_eq!(verdicts(&comparison), [Verdict::TooMuch(Amount(360_000))]);
    assert!(!comparison.agrees());
}

#[tokio::test]
async fn usage_that_was_never_measured_is_found() {
    let comparison = compared(vec![claim(HOUR + 1, 360_000, 360_000)], |_| ()).await;
    assert_eq!(verdicts(&comparison), [Verdict::NotInLedger]);
}

#[tokio::test]
async fn a_doubled_payment_is_found() {
    let claims = vec![claim(HOUR / 2, 180_000, 180_000), claim(HOUR, 360_000, 360_000)];
    assert_eq!(verdicts(&compared(claims, |_| ()).await), [Verdict::Agrees, Verdict::Uneven]);
}

#[tokio::test]
async fn a_claim_beyond_the_rate_is_found() {
    let early = Claimed { time: START + 360, ..claim(HOUR, 360_000, 360_000) };
    let Verdict::TooMuch(due) = verdicts(&compared(vec![early], |_| ()).await)[0] else {
        panic!("a tenth of an hour pays for a tenth of an hour")
    };
    assert_eq!(due, Amount(36_000));
}

#[tokio::test]
async fn a_changed_record_is_found() {
    let claims = vec![claim(HOUR / 2, 180_000, 180_000)];
    let comparison = compared(claims, |records| records[1].used.0[0] += 1).await;
    assert_eq!(comparison.broken.unwrap().sequence, 1);
    assert!(!comparison.agrees());
    assert_eq!(verdicts(&comparison), [Verdict::Agrees], "what came before the break still counts");
}

#[tokio::test]
async fn a_claim_that_the_endpoint_hides_is_found() {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    world.chain.0.lock().unwrap().channels.values_mut().next().unwrap().claimed = Amount(1);
    let comparison = world.publisher.usage(&name()).await.unwrap();
    assert_eq!(comparison.complete, Some(false));
    assert!(!comparison.agrees());
}
