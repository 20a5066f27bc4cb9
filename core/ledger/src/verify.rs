//! Checking a channel's records, by whoever holds them.

use crate::record_hash;
use apocryph_model::{ChannelId, Hash32, Usage, UsageRecord};
use std::collections::BTreeMap;

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It does not follow the record before by one.
    #[error("a record is missing or doubled before it")]
    Sequence,
    /// It does not name the hash of the record before.
    #[error("it does not continue the record before")]
    Previous,
    /// Its contents are not what its hash says.
    #[error("its contents were changed")]
    Hash,
    /// It goes back to an epoch that has ended.
    #[error("its epoch had ended")]
    Epoch,
}

/// Where a chain of records breaks. Everything before holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record {sequence} is not genuine: {flaw}")]
pub struct Broken {
    /// The record's number, as counted by who verifies.
    pub sequence: u64,
    /// Why.
    pub flaw: Flaw,
}

/// Checks a channel's records one by one, from the first on.
#[derive(Debug, Clone)]
pub struct Verifier {
    channel: ChannelId,
    next: u64,
    previous: Hash32,
    epoch: u32,
    totals: BTreeMap<u32, Usage>,
}

impl Verifier {
    /// Begins before the first record of `channel`.
    pub fn new(channel: ChannelId) -> Self {
        Self { channel, next: 0, previous: Hash32([0; 32]), epoch: 0, totals: BTreeMap::new() }
    }

    /// Takes the next record and tells what was used in its epoch up to and with it: the numbers
    /// that a claim made at that moment carries.
    ///
    /// # Errors
    /// The record does not belong here. It is not counted.
    pub fn push(&mut self, record: &UsageRecord) -> Result<Usage, Broken> {
        self.check(record).map_err(|flaw| Broken { sequence: self.next, flaw })?;
        self.next += 1;
        self.previous = record.hash;
        self.epoch = record.epoch;
        let total = self.totals.entry(record.epoch).or_default();
        *total = total.saturating_add(record.used);
        Ok(*total)
    }

    fn check(&self, record: &UsageRecord) -> Result<(), Flaw> {
        if record.sequence != self.next {
            Err(Flaw::Sequence)
        } else if record.previous != self.previous {
            Err(Flaw::Previous)
        } else if record.hash != record_hash(self.channel, record) {
            Err(Flaw::Hash)
        } else if record.epoch < self.epoch {
            Err(Flaw::Epoch)
        } else {
            Ok(())
        }
    }

    /// The number of the record that is expected next.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// What was used in each epoch, as far as records were taken.
    pub fn totals(&self) -> &BTreeMap<u32, Usage> {
        &self.totals
    }
}

/// Checks all records of `channel`, from the first on, and tells what was used in each epoch.
///
/// # Errors
/// The first record that does not hold.
pub fn verify<'a>(
    channel: ChannelId,
    records: impl IntoIterator<Item = &'a UsageRecord>,
) -> Result<BTreeMap<u32, Usage>, Broken> {
    let mut verifier = Verifier::new(channel);
    for record in records {
        verifier.push(record)?;
    }
    Ok(verifier.totals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHANNEL: ChannelId = ChannelId([7; 32]);

    fn chain(used: &[[u64; 8]]) -> Vec<UsageRecord> {
        let mut previous = Hash32([0; 32]);
        let seal = |(i, used): (usize, &[u64; 8])| {
            let mut record = UsageRecord {
                sequence: i as u64,
                epoch: 1 + (i / 4) as u32,
                time_ms: 1_000 * i as u64,
                source: format!("replica-{i}"),
                used: Usage(*used),
                previous,
                hash: previous,
            };
            record.hash = record_hash(CHANNEL, &record);
            previous = record.hash;
            record
        };
        used.iter().enumerate().map(seal).collect()
    }

    #[test]
    fn the_encoding_is_as_documented() {
        let record = &chain(&[[1, 2, 3, 4, 5, 6, 7, 8]])[0];
        let expected = "0xaa45e4e8a7913012f8033749cfb5008622b875b8c9de071075f578ff4fea3586";
        assert_eq!(record.hash.to_string(), expected);
    }

    #[test]
    fn each_flaw_is_told_apart() {
        let good = chain(&[[1; 8]; 6]);
        let flaw = |change: &dyn Fn(&mut Vec<UsageRecord>)| {
            let mut records = good.clone();
            change(&mut records);
            let broken = verify(CHANNEL, &records).unwrap_err();
            (broken.sequence, broken.flaw)
        };
        assert_eq!(flaw(&|r| drop(r.remove(2))), (2, Flaw::Sequence));
        assert_eq!(flaw(&|r| r[3].used.0[0] += 1), (3, Flaw::Hash));
        assert_eq!(flaw(&|r| r[3].previous = r[0].hash), (3, Flaw::Previous));
        let back = |r: &mut Vec<UsageRecord>| {
            r[5].epoch = 1;
            r[5].hash = record_hash(CHANNEL, &r[5]);
        };
        assert_eq!(flaw(&back), (5, Flaw::Epoch));
        let other = verify(ChannelId([8; 32]), &good).unwrap_err();
        assert_eq!((other.sequence, other.flaw), (0, Flaw::Hash));
    }

    proptest! {
        #[test]
        fn a_genuine_chain_sums_up(used in proptest::collection::vec(any::<[u32; 8]>(), 0..12)) {
            let used: Vec<_> = used.into_iter().map(|u| u.map(u64::from)).collect();
            let totals = verify(CHANNEL, &chain(&used)).unwrap();
            let sum = totals.values().fold(Usage::default(), |sum, total| sum.saturating_add(*total));
            let expected = used.iter().fold(Usage::default(), |sum, u| sum.saturating_add(Usage(*u)));
            prop_assert_eq!(sum, expected);
        }

        #[test]
        fn any_change_breaks_it(
            used in proptest::collection::vec(any::<[u64; 8]>(), 1..8),
            at: prop::sample::Index,
            resource in 0usize..8,
            other: u64,
        ) {
            let mut records = chain(&used);
            let at = at.index(records.len());
            prop_assume!(records[at].used.0[resource] != other);
            records[at].used.0[resource] = other;
            prop_assert_eq!(verify(CHANNEL, &records).unwrap_err().sequence, at as u64);
        }
    }
}
