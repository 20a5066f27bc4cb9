//! What is to be told to one peer: our wants and cancels, and answers to its wants.
//!
//! ```text
//!              ask                 taken            block arrives: cancel
//!   our want: ----> to be asked ----------> asked ------------------------> to be cancelled --> (gone)
//!                        |                                                        ^
//!                        +----- cancel before it was asked: both lapse, ----------+
//!                               but the cancel is sent
//!
//!                want             peek, answered
//!   its want: ---------> queued -------------------> (gone)
//!                          ^ |  want the block after wanting to know of it
//!                          +-+                       cancel: (gone)
//! ```

use super::message::{Inbound, Want};
use crate::unixfs::BlockId;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

/// How many wants of one peer are kept.
pub(super) const MAX_WANTS: usize = 4096;
/// How many are answered in one message.
const BATCH: usize = 256;

/// More wants than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_WANTS} wants at once")]
pub(crate) struct TooManyWants;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    asks: Vec<BlockId>,
    cancels: Vec<BlockId>,
    /// The peer's wants in the order they came.
    wants: BTreeMap<u64, Want>,
    places: HashMap<Bytes, u64>,
    next_place: u64,
}

/// What goes into the next message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) asks: Vec<BlockId>,
    pub(super) cancels: Vec<BlockId>,
    /// To be answered, as far as the message has room.
    pub(super) wants: Vec<Want>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Outbox {
    /// Adds wants of our own.
    pub(super) fn ask(&mut self, ids: &[BlockId]) {
        for id in ids {
            if !self.asks.contains(id) {
                self.asks.push(*id);
            }
        }
    }

    /// Tells the peer that a block is not wanted any more; how many such are waiting now.
    pub(super) fn cancel(&mut self, id: &BlockId) -> usize {
        self.asks.retain(|ask| ask != id);
        if !self.cancels.contains(id) {
            self.cancels.push(*id);
        }
        self.cancels.len()
    }

    /// Takes over what the peer wants.
    pub(super) fn take_wants(&mut self, inbound: &mut Inbound) -> Result<(), TooManyWants> {
        if inbound.full {
            self.wants.clear();
            self.places.clear();
        }
        for cid in inbound.cancels.drain(..) {
            self.forget(&cid);
        }
        for want in inbound.wants.drain(..) {
            self.take_want(want)?;
        }
        Ok(())
    }

    fn take_want(&mut self, want: Want) -> Result<(), TooManyWants> {
        if let Some(queued) = self.places.get(&want.cid).and_then(|place| self.wants.get_mut(place)) {
            queued.block |= want.block;
            queued.tell_absence |= want.tell_absence;
            return Ok(());
        }
        if self.wants.len() >= MAX_WANTS {
            return Err(TooManyWants);
        }
        self.places.insert(want.cid.clone(), self.next_place);
        self.wants.insert(self.next_place, want);
        self.next_place += 1;
        Ok(())
    }

    fn forget(&mut self, cid: &Bytes) {
        if let Some(place) = self.places.remove(cid) {
            self.wants.remove(&place);
        }
    }

    /// What to say next. Asks and cancels are taken; wants stay until they are [`Self::answered`].
    /// Cancels go before asks and never together: a peer that finds both of one block in one
    /// message may take them for a cancel.
    pub(super) fn plan(&mut self) -> Plan {
        let wants = self.wants.values().take(BATCH).cloned().collect();
        let cancels = std::mem::take(&mut self.cancels);
        let asks = if cancels.is_empty() { std::mem::take(&mut self.asks) } else { Vec::new() };
        Plan { asks, cancels, wants }
    }

    /// Ends wants that were answered, unless the peer has come to want more meanwhile.
    pub(super) fn answered(&mut self, wants: &[Want]) {
        for want in wants {
            let place = self.places.get(&want.cid);
            if place.and_then(|place| self.wants.get(place)) == Some(want) {
                self.forget(&want.cid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unixfs::Codec;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn id(n: u8) -> BlockId {
        BlockId::of(Codec::Raw, &[n])
    }

    fn want(n: u8, block: bool) -> Want {
        Want { cid: id(n).to_bytes().into(), block, tell_absence: true }
    }

    fn wants(wants: Vec<Want>) -> Inbound {
        Inbound { wants, ..Inbound::default() }
    }

    #[test]
    fn a_want_is_raised_and_cancelled() {
        let mut outbox = Outbox::default();
        outbox.take_wants(&mut wants(vec![want(1, false), want(2, true), want(1, true)])).unwrap();
        assert_eq!(outbox.plan().wants, [want(1, true), want(2, true)]);
        outbox.take_wants(&mut Inbound { cancels: vec![want(1, true).cid], ..Inbound::default() }).unwrap();
        assert_eq!(outbox.plan().wants, [want(2, true)]);
        outbox.answered(&[want(2, false)]);
        assert_eq!(outbox.plan().wants, [want(2, true)], "it has come to want the block");
        outbox.answered(&[want(2, true)]);
        assert!(outbox.plan().is_empty());
    }

    #[test]
    fn a_full_wantlist_replaces_the_earlier() {
        let mut outbox = Outbox::default();
        outbox.take_wants(&mut wants(vec![want(1, true)])).unwrap();
        outbox
            .take_wants(&mut Inbound { full: true, wants: vec![want(2, true)], ..Inbound::default() })
            .unwrap();
        assert_eq!(outbox.plan().wants, [want(2, true)]);
    }

    #[test]
    fn wants_are_bounded() {
        let mut outbox = Outbox::default();
        let many = |n: usize| {
            let cid = |i: usize| Bytes::copy_from_slice(&i.to_be_bytes());
            wants((0..n).map(|i| Want { cid: cid(i), block: true, tell_absence: false }).collect())
        };
        outbox.take_wants(&mut many(MAX_WANTS)).unwrap();
        outbox.take_wants(&mut many(MAX_WANTS)).unwrap();
        assert_eq!(outbox.take_wants(&mut many(MAX_WANTS + 1)), Err(TooManyWants));
    }

    proptest! {
        /// Whatever the order of asks and cancels, a peer that reads the messages in order ends
        /// with the wants that are left, and no message holds both.
        #[test]
        fn the_peer_learns_what_is_wanted(steps in proptest::collection::vec((0u8..6, 0u8..3), 0..60)) {
            let (mut outbox, mut ours, mut theirs) = (Outbox::default(), HashSet::new(), HashSet::new());
            for (n, step) in steps.into_iter().chain([(0, 2), (0, 2)]) {
                match step {
                    0 => { outbox.ask(&[id(n)]); ours.insert(id(n)); }
                    1 => { outbox.cancel(&id(n)); ours.remove(&id(n)); }
                    _ => {
                        let plan = outbox.plan();
                        prop_assert!(plan.asks.is_empty() || plan.cancels.is_empty());
                        for id in plan.cancels { theirs.remove(&id); }
                        theirs.extend(plan.asks);
                    }
                }
            }
            prop_assert_eq!(ours, theirs);
        }
    }
}
